/* The claims process: what its handlers share. */
#pragma once

#include "claims_handlers.gen.h"
#include "claims_sql.gen.h"
#include "keyring.h"
#include "process/process.h"

/* Made at start, the same for all calls. */
struct claims_state {
	struct process *run;
	struct keyring *keyring;
	const char *issuer;                  /* base URL without a slash at its end, owned */
	uint32_t lifetime_sec;               /* of access tokens */
	int64_t next_save_us, next_purge_us; /* monotonic */
};

/* The service of main.c. */
extern const struct service claims_service;

/* The state of the process that the call runs in; never NULL. */
struct claims_state *claims_state(struct call *call);

/* A key as it is stored; borrows from `key`. */
Claims__Rows__SigningKey claims_key_row(const struct sealed_key *key, const char *state, int64_t now_us);

/* Gives the scope's project the key that signs and the next one, as far as it lacks them. */
MUST_USE enum status claims_ensure_keys(const struct claims_state *state, struct sql_scope *scope);

/* The command `rekey --old FILE --new FILE` (rekey.c). */
int claims_rekey(struct cfg *cfg, int argc, char **argv);
/* Seals the private part of every signing key under the key-encryption key in new_file; what opens under it already stays. All or nothing,
 * said on standard error. Returns the exit status. */
int claims_rekey_run(const char *conninfo, const char *old_file, const char *new_file);
