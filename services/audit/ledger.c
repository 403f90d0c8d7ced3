/* Appending to the ledger: compare-and-set on the stream's position, with remembered heads as the fast path.
 *
 * A remembered head may be stale when another replica appended; then the position is stale too, the compare-and-set fails, and
 * the heads are read again. So the memory saves a round trip and decides nothing. */
#include "ledger.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_SLOTS 512 /* heads remembered, a power of two */
#define ATTEMPTS_MAX 50

/* A fiber in the queue for its turn; lives on its stack. */
struct waiter {
	struct wait wait;
	struct waiter *next;
	bool granted;
};

struct ledger {
	struct loop *loop;
	bool busy;
	struct waiter *first, *last;
	bool known; /* position and memory are those after our own last append */
	int64_t position;
	struct head memory[MEMORY_SLOTS];
};

struct ledger *ledger_new(struct loop *loop)
{
	struct ledger *ledger = calloc(1, sizeof *ledger);
	if (ledger)
		ledger->loop = loop;
	return ledger;
}

void ledger_free(struct ledger **ledger)
{
	if (!ledger)
		return;
	free(*ledger);
	*ledger = NULL;
}

/* ---- one append at a time within the process; a second would only lose the compare-and-set ---- */

static void leave_queue(struct ledger *ledger, struct waiter *waiter)
{
	struct waiter *before = NULL;
	for (struct waiter **at = &ledger->first; *at; before = *at, at = &(*at)->next) {
		if (*at != waiter)
			continue;
		*at = waiter->next;
		if (ledger->last == waiter)
			ledger->last = before;
		return;
	}
}

static bool take_turn(struct ledger *ledger, int64_t deadline_us)
{
	struct waiter waiter = {0};
	if (!ledger->busy) {
		ledger->busy = true;
		return true;
	}
	wait_init(&waiter.wait, ledger->loop);
	if (ledger->last)
		ledger->last->next = &waiter;
	else
		ledger->first = &waiter;
	ledger->last = &waiter;
	if (wait_for(&waiter.wait, deadline_us) || waiter.granted)
		return true;
	leave_queue(ledger, &waiter);
	return false;
}

static void pass_turn(struct ledger *ledger)
{
	struct waiter *waiter = ledger->first;
	if (!waiter) {
		ledger->busy = false;
		return;
	}
	ledger->first = waiter->next;
	if (!ledger->first)
		ledger->last = NULL;
	waiter->granted = true;
	wait_done(&waiter->wait);
}

/* ---- memory of heads ---- */

static struct head *memory_slot(struct ledger *ledger, const struct id *project)
{
	uint32_t mix = 2166136261u;
	for (size_t i = 0; i < ID_SIZE; i++)
		mix = (mix ^ project->bytes[i]) * 16777619u;
	return &ledger->memory[mix & (MEMORY_SLOTS - 1)];
}

static bool recall_heads(struct ledger *ledger, struct batch *batch)
{
	if (!ledger->known)
		return false;
	for (size_t i = 0; i < batch->head_count; i++) {
		const struct head *slot = memory_slot(ledger, &batch->heads[i].project);
		if (slot->seq == 0 || !id_equal(&slot->project, &batch->heads[i].project))
			return false;
		batch->heads[i] = *slot;
	}
	batch->position = ledger->position;
	return true;
}

static void forget_heads(struct ledger *ledger)
{
	ledger->known = false;
	memset(ledger->memory, 0, sizeof ledger->memory);
}

static void remember_heads(struct ledger *ledger, const struct batch *batch, int64_t old_position)
{
	if (!ledger->known || ledger->position != old_position)
		forget_heads(ledger);
	for (size_t i = 0; i < batch->head_count; i++)
		*memory_slot(ledger, &batch->heads[i].project) = batch->heads[i];
	ledger->position = batch->position;
	ledger->known = true;
}

/* ---- batches ---- */

enum status ledger_start_batch(struct arena *arena, const char *source, size_t count, struct batch *ret_batch)
{
	struct batch batch = {.source = source};
	batch.items = arena_alloc(arena, (count + 1) * sizeof *batch.items);
	batch.heads = arena_alloc(arena, (count + 1) * sizeof *batch.heads);
	if (!batch.items || !batch.heads)
		return ST_RESOURCE_EXHAUSTED;
	*ret_batch = batch;
	return ST_OK;
}

void ledger_add_item(struct batch *batch, const struct entry *entry)
{
	size_t head = 0;
	assert(batch->count < AUDIT_BATCH_MAX);
	while (head < batch->head_count && !id_equal(&batch->heads[head].project, &entry->project))
		head++;
	if (head == batch->head_count)
		batch->heads[batch->head_count++] = (struct head){.project = entry->project};
	batch->items[batch->count] = (struct item){.entry = *entry, .head = head};
	batch->items[batch->count].entry.source = batch->source;
	batch->count++;
}

/* The second of two items with one outbox id is a duplicate of the first. Batches are short and mostly one project's. */
static void mark_repetitions(struct batch *batch)
{
	for (size_t i = 1; i < batch->count; i++)
		for (size_t j = 0; j < i && !batch->items[i].duplicate; j++)
			batch->items[i].duplicate =
			    batch->items[i].entry.outbox_id == batch->items[j].entry.outbox_id &&
			    batch->items[i].head == batch->items[j].head;
}

static size_t number_items(struct batch *batch)
{
	size_t appended = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct entry *entry = &batch->items[i].entry;
		struct head *head = &batch->heads[batch->items[i].head];
		if (batch->items[i].duplicate)
			continue;
		entry->seq = ++head->seq;
		entry->position = ++batch->position;
		rules_hash_entry(head->hash, entry, entry->hash);
		memcpy(head->hash, entry->hash, SHA256_SIZE);
		appended++;
	}
	return appended;
}

/* One try. *ret_won is false when another replica was faster or an item was there already: read and try again. */
MUST_USE static enum status try_append(struct ledger *ledger, const struct store_call *call, struct batch *batch,
                                       size_t *ret_appended, bool *ret_won)
{
	bool recalled, won = false;
	for (size_t i = 0; i < batch->count; i++)
		batch->items[i].duplicate = false;
	recalled = recall_heads(ledger, batch);
	enum status status = recalled ? ST_OK : store_load_heads(call, batch);
	if (status != ST_OK)
		return status;
	mark_repetitions(batch);
	int64_t old_position = batch->position;
	size_t appended = number_items(batch);
	if (appended)
		status = store_append_batch(call, batch, old_position, &won);
	else
		won = true;
	if (status == ST_ALREADY_EXISTS && recalled) /* redelivered: see which ones */
		status = ST_OK;
	if (status == ST_OK && won)
		remember_heads(ledger, batch, old_position);
	else
		forget_heads(ledger);
	if (status != ST_OK)
		return status;
	*ret_appended = appended;
	*ret_won = won;
	return ST_OK;
}

enum status ledger_append(struct ledger *ledger, const struct store_call *call, struct batch *batch,
                          size_t *ret_appended)
{
	enum status status = ST_OK;
	bool won = false;
	if (!take_turn(ledger, call->deadline_us))
		return ST_DEADLINE_EXCEEDED;
	for (int attempt = 0; attempt < ATTEMPTS_MAX && status == ST_OK && !won; attempt++)
		status = clock_monotonic_us() >= call->deadline_us
		             ? ST_DEADLINE_EXCEEDED
		             : try_append(ledger, call, batch, ret_appended, &won);
	pass_turn(ledger);
	if (status == ST_OK && !won)
		return ST_ABORTED;
	/* Read and inserted under the same position, and yet there: somebody inserts beside us. */
	return status == ST_ALREADY_EXISTS ? ST_ABORTED : status;
}
