/* The identity process: what its handlers share. */
#pragma once

#include "attributes/attributes.h"
#include "credentials/pool.h"
#include "db/migrate.h"
#include "identity.pb-c.h"
#include "identity_handlers.gen.h"
#include "process/process.h"

struct identity_state {
	struct pool *pool;
	struct attributes_cache *schemas;
	struct password_params params;       /* of new hashes */
	char dummy_hash[PASSWORD_HASH_SIZE]; /* checked when there is no user, so that the time does not tell */
};

extern const struct service identity_service;
extern const struct migration identity_migrations[];

struct identity_state *identity_state(struct call *call);
/* The schema of custom attributes, from the cache or (fresh, or not cached) the database. */
MUST_USE enum status identity_schema(struct call *call, bool fresh, struct attributes *ret_attributes);

/* Hashes a new password after checking its length; field names it in errors. *ret_hash in the arena. */
MUST_USE enum status identity_hash_password(struct call *call, const char *field, const char *password,
                                            char **ret_hash);

/* `bootstrap --name NAME --out FILE [--new-key]` (bootstrap.c). Returns the exit status. */
int identity_bootstrap(struct cfg *cfg, int argc, char **argv);
