/* The threads that hash passwords, with a bounded queue: one per core, always at the lowest priority, and with a rest after each hash
 * while others need the machine (share.h). */
#pragma once

#include "base/secret.h"
#include "base/status.h"
#include "credentials/password.h"
#include "loop/loop.h"

struct pool;

enum pool_priority { POOL_IDLE, POOL_NICE, POOL_NORMAL };
struct pool_options {
	struct loop *loop;  /* NULL: callers are threads (tests, commands) */
	unsigned threads;   /* 0 = number of cores */
	unsigned queue_max; /* waiting jobs, at least 4 */
	enum pool_priority priority;
	struct password_params params; /* of new hashes */
};
/* NULL when no thread could be started. */
struct pool *pool_new(const struct pool_options *options);
/* Ends the threads after their present jobs; waiting jobs get ST_UNAVAILABLE. */
void pool_free(struct pool **pool);

/* One password to hash (hash empty) or to check. */
struct pool_request {
	struct id project;    /* projects take turns, and one may fill at most 3/4 of the queue */
	const char *password; /* copied; at most RULES_PASSWORD_MAX_BYTES */
	const char *hash;     /* to check against; NULL = make a hash */
	int64_t deadline_us;  /* monotonic */
};
struct pool_reply {
	char hash[PASSWORD_HASH_SIZE]; /* made */
	uint32_t retry_after_ms;       /* with ST_RESOURCE_EXHAUSTED */
};

/* Suspends the calling fiber or thread until the job ran. ST_OK; ST_INVALID_CREDENTIALS (check); ST_RESOURCE_EXHAUSTED: the
 * queue is full or the job could not run before its deadline; ST_DEADLINE_EXCEEDED: it ran out while waiting. */
MUST_USE enum status pool_run(struct pool *pool, const struct pool_request *request, struct pool_reply *ret_reply);

/* The same for several requests at once; ret_status and ret_replies have count elements. */
void pool_run_many(struct pool *pool, const struct pool_request *requests, size_t count, enum status *ret_status,
                   struct pool_reply *ret_replies);
