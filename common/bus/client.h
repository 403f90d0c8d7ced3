/* Calls to other processes: one DEALER per replica, discovered by DNS, power of two choices, retries (docs/architecture.md). */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"
#include "bus/method.h"
#include "loop/loop.h"

struct client;

struct client_options {
	struct loop *loop;
	const char *self; /* process name in processes.txt: decides the peers */
	const char *const
	    *endpoints; /* by PROCESS_ number: "identity:7001" or "127.0.0.1:7001,127.0.0.1:7011"; NULL = not a peer */
	const char *curve_public, *curve_secret; /* Z85, own pair; NULL = no CURVE (tests only) */
	const char *const *server_keys;          /* by PROCESS_ number: Z85 public key of that service */
};
/* Starts discovery. Call before loop_run, from the thread that will run the loop. */
struct client *client_new(const struct client_options *options);
void client_free(struct client **client);

/* What a call carries besides its message. A zeroed struct is valid. */
struct client_call {
	struct id project;
	const char *actor;             /* borrowed */
	struct id operation;           /* writes: same for all attempts; zero = a fresh one */
	const uint8_t *operation_hash; /* SHA256_SIZE bytes or NULL */
	uint8_t trace[16];
	int64_t deadline_us; /* monotonic; 0 = the method's default */
	unsigned process;    /* PROCESS_ that is asked, for a method that every service answers (common.proto) */
	/* filled on return */
	const char *ret_field; /* in the arena or NULL */
	const char *ret_reason;
	uint32_t ret_retry_after_ms;
};

/* Sends request to a replica of the method's service and waits, as a fiber or a thread. ST_UNAVAILABLE, ST_UNIMPLEMENTED and ST_LOST are
 * tried again on another replica, three attempts in all: a write is protected by its operation id. On ST_OK *ret_reply is in the arena. */
MUST_USE enum status client_send(struct client *client, struct client_call *call, uint32_t method,
                                 const ProtobufCMessage *request, struct arena *arena, ProtobufCMessage **ret_reply);

/* One of several calls side by side. A zeroed struct with method, request and arena is valid. */
struct client_part {
	struct client_call call;
	uint32_t method;
	const ProtobufCMessage *request; /* borrowed until client_begin returns */
	struct arena *arena;             /* used by nobody else until client_end */
	struct pending *pending;         /* the client's */
	/* filled by client_end, as client_send would */
	enum status status;
	ProtobufCMessage *reply;
};
/* Sends without waiting. Each part that was begun must be ended, by the same thread or fiber, in any order. */
void client_begin(struct client *client, struct client_part *part);
void client_end(struct client_part *part);
/* Sends all and waits for all. */
void client_send_many(struct client *client, struct client_part *parts, size_t count);

/* Replicas of a process that are up now. Any thread. */
unsigned client_replicas_up(struct client *client, unsigned process);
/* Asks replica number `index` (0..up-1): for metrics and status. */
MUST_USE enum status client_send_replica(struct client *client, unsigned process, unsigned index, uint32_t method,
                                         struct arena *arena, ProtobufCMessage **ret_reply);

/* Subscribes to a process's PUB port on all its replicas; fn runs on the loop's thread with what stands behind each topic.
 * topic_len 0 = all. Call before loop_run. */
void client_subscribe(struct client *client, unsigned process, const void *topic, size_t topic_len,
                      void (*fn)(void *arg, const void *data, size_t len_bytes), void *arg);
