/* The identity process: what its handlers share. */
#pragma once

#include "attributes.h"
#include "db/migrate.h"
#include "identity.pb-c.h"
#include "identity_handlers.gen.h"
#include "pool.h"
#include "process/process.h"
#include "store.h"

struct identity_state {
	struct pool *pool;
	struct attributes_cache *schemas;
	struct password_params params;       /* of new hashes */
	char dummy_hash[PASSWORD_HASH_SIZE]; /* checked when there is no user, so that the time does not tell */
};

extern const struct service identity_service;
extern const struct migration identity_migrations[];

/* How often a write reads again and tries again when its row moved. */
#define IDENTITY_TRIES 3

struct identity_state *identity_state(struct call *call);
/* The store as one call uses it. */
struct store identity_store(struct call *call);

/* What is committed with a change. reply NULL: a write inside a read, which records no operation. */
struct store_effects identity_effects(struct call *call, const ProtobufCMessage *reply, Events__Event *event);

/* The schema of custom attributes, from the cache or (fresh, or not cached) the database. */
MUST_USE enum status identity_schema(struct call *call, bool fresh, struct attributes *ret_attributes);

/* Hashes a new password after checking its length; field names it in errors. *ret_hash in the arena. */
MUST_USE enum status identity_hash_password(struct call *call, const char *field, const char *password,
                                            const char **ret_hash);

/* Checks limit (1..max, `otherwise` when absent). */
MUST_USE enum status identity_limit(struct call *call, bool present, uint32_t limit, const uint32_t bounds[2],
                                    int *ret_limit);

char *identity_id_text(struct call *call, const char *prefix, const struct id *id); /* in the arena */

/* ---- handlers ---- */

/* `bootstrap --name NAME --out FILE [--new-key]` (bootstrap.c). Returns the exit status. */
int identity_bootstrap(struct cfg *cfg, int argc, char **argv);
