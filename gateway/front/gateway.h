/* The gateway process: its shared objects and the loop around all routes. */
#pragma once

#include "base/address.h"
#include "bus/client.h"
#include "front/authn.h"
#include "front/limiter.h"
#include "front/limits.h"
#include "front/mount.h"
#include "front/route.h"
#include "ledger/follow.h"
#include "tokens/token_check.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

struct keysets;
/* A method that the gateway answers itself or in its own way. */
struct local_method {
	uint32_t method;
	void (*answer)(struct exchange *exchange);
};
struct feed;

/* Everything is set before the server starts and immutable afterwards, but for the atomics. */
struct gateway {
	struct client *client;
	struct follow *follow;
	struct authn *authn;
	struct limits *limits;
	struct limiter *failure_limiter;
	struct revocation *revocation;
	struct keysets *keysets;
	struct token_checker *tokens;
	struct feed *feed;
	struct address_list trusted_proxies;
	struct mounts *mounts;
	int64_t body_max_bytes, import_max_bytes;
	sem_t large_bodies;         /* room for requests with large bodies */
	int64_t token_lifetime_sec; /* so long revocations are remembered: a token that lives longer is not believed */
	char instance[ID_TEXT_SIZE];
	atomic_bool draining;
};

/* What is served besides the routes of the dialects. */
struct pipeline_options {
	const struct local_method *methods; /* answer native routes of methods of the contract; ended by method 0 */
	const struct dialect_route *const *tables; /* further native rows; ended by NULL */
	const struct dialect *const *dialects;     /* those that can be served, the native one first; ended by NULL */
	struct mount_settings mounts;
};

/* Compiles mounts and routes. ST_INTERNAL and a sentence in ret_error when they collide or need more permissions than there are bits. */
MUST_USE enum status pipeline_init(struct gateway *gateway, const struct pipeline_options *options,
                                   char ret_error[ROUTE_ERROR_SIZE]);
void pipeline_end(struct gateway *gateway);

/* The loop around a route: finds it, authenticates, checks permission and rate, reads the body, calls, prints the answer or the
 * failure, counts. Any thread. */
void pipeline_serve(struct exchange *exchange);

/* As http_server_options.refuse: in the shape of the mount's dialect, with the verbs of the path; answers CORS preflights. Any thread. */
void pipeline_refuse(struct exchange *exchange, enum status status, const char *reason);
