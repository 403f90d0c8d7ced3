/* A write: its handler states what changes; effects (events, the record of the operation), retries of a lost race and the relay's nudge are here.
 *
 * An attempt reads what it needs, computes the new rows, fills the reply, states the events, and ends with one change_write (or with none, when
 * nothing changes). Everything that the statement writes is committed together. When the rows moved meanwhile, the attempt is made again. */
#pragma once

#include "process/call.h"

#define CHANGE_EVENTS_MAX 4

struct change {
	struct call *call;
	const void *request;  /* of the call's method */
	void *reply;          /* of the call's method; initialised and empty when an attempt begins */
	void *arg;            /* what the attempts of one call share */
	unsigned attempt;     /* 0: caches may be trusted; later: read anew what a cache said */
	const char *conflict; /* after ST_ALREADY_EXISTS of change_write: the violated constraint */
	/* Private. */
	const ProtobufCMessage *recorded;
	Events__Event events[CHANGE_EVENTS_MAX];
	const struct db_blob *more_events;
	size_t event_count, more_count;
	bool written, failed;
};

/* Makes attempts until one does not end with ST_ABORTED, or until the call's deadline: with pauses of some milliseconds at random, so that
 * many who change one row all get their turn. The only place that repeats a lost race. In a fiber, or on a thread in tests. */
MUST_USE enum status change_run(struct call *call, const void *request, void *reply,
                                enum status (*attempt)(struct change *change), void *arg);

/* States an event of this change: type, subject (a prefixed id, borrowed) and version are set, the caller adds the rest. They are written in this
 * order. At most CHANGE_EVENTS_MAX. */
Events__Event *change_event(struct change *change, Events__EventType type, const char *subject, int64_t version);
/* Packed events (call_event) of a change of many things, behind the others. */
void change_events(struct change *change, const struct db_blob *events, size_t count);

/* Adds the fields in which two messages of one type differ to the event, as JSON. before NULL: all that after has. What identifies or counts
 * (id, version, created_at, updated_at) is no change. Returns the number of fields that differ; -1 when the arena is full. */
int change_fields(struct change *change, Events__Event *event, const ProtobufCMessage *before,
                  const ProtobufCMessage *after);
/* Adds a field whose values are secret. */
MUST_USE bool change_secret(struct change *change, Events__Event *event, const char *field);

/* What a repeated request is answered with instead of the reply: without secrets that are shown once. Borrowed until the attempt ends; NULL
 * (the arena is full) makes change_write fail. */
void change_record(struct change *change, const ProtobufCMessage *reply);

/* If-Match: ST_PRECONDITION_FAILED when the request has an if_match_version and what it is about has another version by now. */
MUST_USE enum status change_if_match(struct change *change, int64_t version);

/* Runs a statement that commits its change with {effects} (common/ledger/effects.sql). No row: somebody was faster, ST_ABORTED.
 * ST_ALREADY_EXISTS: change->conflict. Otherwise as sql_run. */
MUST_USE enum status change_write(struct change *change, const struct db_stmt *stmt, const void *params);
