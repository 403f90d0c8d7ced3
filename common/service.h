/* A service process: ROUTER, dispatch, drain, operation ids. Each service declares one `struct service` and calls service_main. */
#pragma once

#include "arena.h"
#include "cfg.h"
#include "client.h"
#include "db.h"
#include "events.pb-c.h"
#include "loop.h"
#include "method.h"
#include "outbox.h"
#include "secret.h"
#include "status.h"

struct service;

/* One request being handled. Lives until the handler returns. */
struct call {
	struct service_run *run; /* the process: db, client, cfg, state */
	const struct method *method;
	struct id project;                 /* tenant; zero when the caller has none */
	const char *actor;                 /* prefixed id of the key or user; "" when none */
	struct id operation;               /* writes: never zero */
	uint8_t request_hash[SHA256_SIZE]; /* of the client's request */
	uint8_t trace[16];
	int64_t deadline_us;      /* monotonic */
	const char *caller;       /* process name of the peer, from its CURVE key */
	struct id caller_project; /* subscribers bound to one project; else zero */
	struct arena *arena;      /* freed after the reply was packed */
	const char *field;        /* set by call_fail */
	const char *reason;
	uint32_t retry_after_ms;
};

/* request and reply are messages of the method's types; reply is initialised, its pointers must live in call->arena. */
typedef enum status (*handler_fn)(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);

struct handler {
	uint32_t method;
	handler_fn fn;
};

/* Shared objects of a running process, the same for all calls. */
struct service_run {
	const struct service *service;
	struct loop *loop;
	struct db *db;
	struct client *client;
	struct cfg *cfg;
	struct outbox *outbox;
	struct server *server; /* the bus side, private to common/ */
	void *state;           /* the service's own, from service->start */
};

struct service_command {
	const char *name;
	int (*fn)(struct cfg *cfg, int argc, char **argv);
};

struct service {
	const char *name;               /* in processes.txt */
	const struct handler *handlers; /* ended by method 0; every method of the service must be there */
	const struct cfg_item
	    *cfg_items; /* the service's own configuration, ended by an item without name; may be NULL */
	const struct migration *migrations; /* ended by one without sql; generated from schema/ */
	/* Optional. Called once before the loop runs; may spawn fibers through loop_post. Sets run->state. */
	enum status (*start)(struct service_run *run);
	void (*stop)(struct service_run *run);
	/* Optional extra sub-commands: name, function over the loaded configuration; ended by a NULL name. */
	const struct service_command *commands;
};

/* main of a service: `run` (default), `migrate`, `health`, `config`, `config --reference`, and the service's own commands.
 * Returns the exit status. SIGTERM drains: GOAWAY, finish, leave. */
int service_main(const struct service *service, int argc, char **argv);

/* Records the offending field (path; "" = none) and a sentence (printf), and returns status. */
enum status call_fail(struct call *call, enum status status, const char *field, const char *reason, ...)
    __attribute__((format(printf, 4, 5)));

/* Calls another process on behalf of this call: same project, actor, trace, deadline; a write gets an operation id derived
 * from this call's. On failure the peer's field and reason are taken over. */
MUST_USE enum status call_peer(struct call *call, uint32_t method, const ProtobufCMessage *request,
                               ProtobufCMessage **ret_reply);

/* The record of a write: stored in the same transaction as its effect so that a retry is answered, not repeated.
 * Packs reply into the arena. Bind with db_args_operation; the statement inserts it into `operation` (see db.h). */
struct operation {
	struct id id;
	uint32_t method;
	const uint8_t *request_hash;
	const uint8_t *reply;
	size_t reply_len;
	int64_t at_us;
};
struct operation call_operation(struct call *call, const ProtobufCMessage *reply);

/* Packs event (actor, trace id and time are filled in when absent) into the arena, for the outbox row of a write. */
struct packed {
	const uint8_t *data;
	size_t len;
};
struct packed call_event(struct call *call, Events__Event *event);

/* Tells the outbox relay that a row was committed. Call after a successful write with an event. */
void call_committed(struct call *call);

/* Publishes data on the service's PUB port under topic (16 bytes). Loop's thread or a fiber. */
void service_publish(struct service_run *run, const uint8_t topic[16], const void *data, size_t len_bytes);

/* Publishing is lossy by design: subscribers read the ledger. */
