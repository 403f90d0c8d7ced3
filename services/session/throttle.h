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

#define THROTTLE_KEY_SIZE 16
enum throttle_kind { THROTTLE_PAIR = 1, THROTTLE_USER = 2, THROTTLE_NETWORK = 3 };

struct throttle_keys {
	uint8_t pair[THROTTLE_KEY_SIZE];    /* user and network */
	uint8_t user[THROTTLE_KEY_SIZE];    /* user, any network */
	uint8_t network[THROTTLE_KEY_SIZE]; /* network, any user */
	uint8_t known[THROTTLE_KEY_SIZE];   /* by which networks of the user are known: not by the password of today */
	bool has_address;                   /* false: the caller did not say where the end user is */
};

/* Whom a sign-in is for: the user with all login ids, or a login id that is nobody's. */
struct throttle_who {
	const struct id *user;      /* NULL = nobody */
	ProtobufCBinaryData secret; /* stands for the password: with another one the count begins again */
	const char *login;          /* canonical; counts when there is no user */
};

/* address: of the end user, NULL = not told; addresses of one IPv4 /24 or IPv6 /48 are one network. Pure, any thread. */
void throttle_make_keys(const uint8_t key[SHA256_SIZE], const struct id *project, const struct throttle_who *who,
                        const struct address *address, struct throttle_keys *ret_keys);

/* A place of an attempt in the counters: the failure, counted in advance. */
struct throttle_place {
	struct throttle_keys keys;
	bool by_user; /* counted under keys.user as well: the network is not known */
};

/* Takes a place for keys, or refuses the attempt with ST_THROTTLED (retry hint set) without any hashing and without counting it. The
 * place stays taken when the attempt fails; a success forgets it (store_create_session). */
MUST_USE enum status throttle_take(struct call *call, const struct throttle_keys *keys,
                                   struct throttle_place *ret_place);

/* Gives the place of an attempt back that was no wrong guess, also when the call's time is over. event (NULL = none) is written with
 * it. A failure is logged; the place then counts until it is forgotten. */
enum status throttle_give_back(struct call *call, const struct throttle_place *place, const struct packed *event);

/* The attempt was a wrong guess: counts it for its network, too, and writes the event. */
MUST_USE enum status throttle_record_failure(struct call *call, const struct throttle_place *place,
                                             const struct packed *event);
