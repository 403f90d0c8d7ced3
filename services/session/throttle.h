/* Throttling of sign-in: what failures are counted by, and who must wait (README.md, "Throttling").
 *
 * Counters live in the database, so they hold across replicas and restarts. Keys are keyed hashes: the database holds no
 * login id and no address of a stranger. */
#pragma once

#include "base/address.h"
#include "base/login.h"
#include "base/secret.h"
#include "process/process.h"
#include "rules.h"

struct store;

#define THROTTLE_KEY_SIZE 16
enum throttle_kind { THROTTLE_PAIR = 1, THROTTLE_LOGIN = 2, THROTTLE_NETWORK = 3 };

struct throttle_keys {
	uint8_t pair[THROTTLE_KEY_SIZE];    /* login id and network */
	uint8_t login[THROTTLE_KEY_SIZE];   /* login id, any network */
	uint8_t network[THROTTLE_KEY_SIZE]; /* network, any login id */
	bool has_address;                   /* false: the caller did not say where the end user is */
};

/* login: canonical (base/login.h). address: of the end user, NULL = not told. Pure, any thread. */
void throttle_make_keys(const uint8_t key[SHA256_SIZE], const struct id *project, const char *login,
                        const struct address *address, struct throttle_keys *ret_keys);

/* Attempts being hashed now in this process: bounds how many guesses run ahead of their counter. Loop's thread only. */
#define THROTTLE_FLIGHTS_MAX 1024
#define THROTTLE_PAIR_FLIGHTS_MAX 64U
struct throttle_flights {
	struct {
		uint8_t pair[THROTTLE_KEY_SIZE];
		uint32_t count; /* 0 = free */
	} slots[THROTTLE_FLIGHTS_MAX];
};

/* Reads the counters and lets the attempt through, or refuses it with ST_THROTTLED (retry hint set) without any hashing.
 * On ST_OK *ret_slot is to be given to throttle_leave when the password was checked. */
MUST_USE enum status throttle_enter(struct call *call, const struct store *store, const struct throttle_keys *keys,
                                    size_t *ret_slot);
void throttle_leave(struct throttle_flights *flights, size_t slot);
