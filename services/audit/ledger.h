/* Appending: numbers the events of a batch, chains them, commits them in one statement, remembers the heads for the next. */
#pragma once

#include "loop/loop.h"
#include "store.h"

struct ledger;

/* loop may be NULL where no loop runs (tests); then one thread at a time may use it. Free with ledger_free. NULL without
 * memory. */
struct ledger *ledger_new(struct loop *loop);
void ledger_free(struct ledger **ledger);

/* Puts an empty batch for up to count items into the arena. ST_RESOURCE_EXHAUSTED when it is full. */
MUST_USE enum status ledger_start_batch(struct arena *arena, const char *source, size_t count, struct batch *ret_batch);

/* Adds an item whose project, outbox_id and event are set and which rules_describe_entry has described. The batch must have
 * room (assert). */
void ledger_add_item(struct batch *batch, const struct entry *entry);

/* Gives every item that is new the next number of its project and of the stream and commits; on ST_OK the items carry their
 * numbers and hashes (not the duplicates), batch->heads and batch->position are the newest. *ret_appended counts the new
 * ones. ST_CONFLICT: an outbox id was used before for another event; nothing was appended. ST_LOST: unknown, send the same
 * batch again. ST_ABORTED: too many other replicas at once. Waits for its turn within the process. */
MUST_USE enum status ledger_append(struct ledger *ledger, const struct store_call *call, struct batch *batch,
                                   size_t *ret_appended);
