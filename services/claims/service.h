/* The claims process: what its handlers share. */
#pragma once

#include "claims_handlers.gen.h"
#include "keyring.h"
#include "process/process.h"
#include "store.h"

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

/* The store as one call uses it. */
struct store claims_store(struct call *call);

/* Gives a project the key that signs and the next one, as far as it lacks them. */
MUST_USE enum status claims_ensure_keys(const struct claims_state *state, const struct store *store,
                                        const struct id *project);

/* ---- handlers ---- */
