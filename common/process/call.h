/* One call as its handler sees it: who asks for what until when, how to refuse it, how to ask another process. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"
#include "bus/method.h"
#include "db/sql.h"
#include "events.pb-c.h"

struct process;

/* A packed message in an arena; data NULL = none. */
struct packed {
	const uint8_t *data;
	size_t len;
	bool revokes; /* an event that takes access away */
};

/* One request being handled. Lives until the handler returns. */
struct call {
	struct process *run; /* the process: db, client, cfg, state (process.h) */
	const struct method *method;
	struct id project;                 /* tenant; zero when the caller has none */
	const char *actor;                 /* prefixed id of the key or user; "" when none */
	struct id operation;               /* writes: never zero */
	uint8_t request_hash[SHA256_SIZE]; /* of the client's request */
	bool keyed;                        /* the client chose the operation id and may send it again */
	uint8_t trace[16];
	int64_t deadline_us;      /* monotonic */
	const char *caller;       /* process name of the peer, from its CURVE key */
	struct id caller_project; /* subscribers bound to one project; else zero */
	struct arena *arena;      /* freed after the reply was packed */
	const char *field;        /* set by call_fail */
	const char *reason;
	uint32_t retry_after_ms;
	struct packed packed; /* the reply, when a change packed it already (change.c) */
};

/* Records the offending field (path; "" = none; NULL, as what did not fit the arena, is none too) and a sentence (printf), and returns
 * status. */
enum status call_fail(struct call *call, enum status status, const char *field, const char *reason, ...)
    __attribute__((format(printf, 4, 5)));

/* Calls another process on behalf of this call: same project, actor, trace, deadline; a write gets an operation id derived
 * from this call's. On failure the peer's field and reason are taken over. */
MUST_USE enum status call_peer(struct call *call, uint32_t method, const ProtobufCMessage *request,
                               ProtobufCMessage **ret_reply);

/* Packs event (actor, trace id and time are filled in when absent) into the arena, for the outbox row of a write. */
struct packed call_event(struct call *call, Events__Event *event);

/* Tells the outbox relay that a row was committed. Call after a successful write with an event. */
void call_committed(struct call *call);

/* ---- statements of .sql files, in the project and until the deadline of the call ---- */
struct sql_scope call_sql(struct call *call);
/* As sql_one, sql_all and sql_run. Writes with events or operations go through change.h. */
MUST_USE enum status call_one(struct call *call, const struct db_stmt *stmt, const void *params, void *ret_row);
MUST_USE enum status call_all(struct call *call, const struct db_stmt *stmt, const void *params, void *ret_rows,
                              size_t *ret_count);
MUST_USE enum status call_execute(struct call *call, const struct db_stmt *stmt, const void *params, int64_t *ret_rows);

/* ---- ids ---- */
/* Reads "prefix_...". field NULL: the text names the resource itself, so one that is no id is ST_NOT_FOUND; else ST_INVALID_ARGUMENT
 * for that field. */
MUST_USE enum status call_id(struct call *call, const char *prefix, const char *text, const char *field,
                             struct id *ret_id);
/* The id in a uuid column of a row message; zero when it has none. */
struct id id_from_bytes(ProtobufCBinaryData bytes);
/* In the arena; NULL when it is full. */
char *call_id_text(struct call *call, const char *prefix, const struct id *id);
/* The same of a uuid column of a row message; also NULL when it has none. */
char *call_bytes_id_text(struct call *call, const char *prefix, ProtobufCBinaryData bytes);
