/* Appending: numbers the events of a batch, chains them, commits them in one statement, remembers the heads for the next. */
#pragma once

#include "audit_sql.gen.h"
#include "loop/loop.h"
#include "rules.h"

struct appender;

/* loop may be NULL where no loop runs (tests); then one thread at a time may use it. Free with appender_free. NULL without
 * memory. */
struct appender *appender_new(struct loop *loop);
void appender_free(struct appender **appender);

struct item {
	Audit__Rows__Entry entry;
	uint8_t hash[SHA256_SIZE]; /* what entry.hash points to */
	size_t head;               /* index into the batch's heads */
	bool duplicate;            /* already in the ledger, or twice in the batch */
};

/* Items of an Append and the projects that they touch. */
struct batch {
	const char *source;
	struct item *items;
	size_t count;
	struct head *heads;
	size_t head_count;
	int64_t position; /* of the stream */
};

/* Puts an empty batch for up to count items into the arena. ST_RESOURCE_EXHAUSTED when it is full. */
MUST_USE enum status batch_start(struct arena *arena, const char *source, size_t count, struct batch *ret_batch);

/* Adds an entry whose project, outbox_id and event are set and which rules_describe_entry has described; what it points to is borrowed. The batch
 * must have room (assert). */
void batch_add(struct batch *batch, const Audit__Rows__Entry *entry);

/* Gives every item that is new the next number of its project and of the stream and commits; on ST_OK the items carry their
 * numbers and hashes (not the duplicates), batch->heads and batch->position are the newest. *ret_appended counts the new
 * ones. ST_CONFLICT: an outbox id was used before for another event; nothing was appended. ST_LOST: unknown, send the same
 * batch again. ST_ABORTED: too many other replicas at once. Waits for its turn within the process. */
MUST_USE enum status appender_run(struct appender *appender, struct sql_scope *scope, struct batch *batch,
                                  size_t *ret_appended);
