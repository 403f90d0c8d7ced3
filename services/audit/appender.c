/* Appending to the ledger: compare-and-set on the stream's position, with remembered heads as the fast path.
 *
 * A remembered head may be stale when another replica appended; then the position is stale too, the compare-and-set fails, and
 * the heads are read again. So the memory saves a round trip and decides nothing. */
#include "appender.h"

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

struct appender {
	struct loop *loop;
	bool busy;
	struct waiter *first, *last;
	bool known; /* position and memory are those after our own last append */
	int64_t position;
	struct head memory[MEMORY_SLOTS];
};

struct appender *appender_new(struct loop *loop)
{
	struct appender *appender = calloc(1, sizeof(*appender));
	if (appender)
		appender->loop = loop;
	return appender;
}

void appender_free(struct appender **appender)
{
	if (!appender)
		return;
	free(*appender);
	*appender = NULL;
}

/* ---- one append at a time within the process; a second would only lose the compare-and-set ---- */

static void leave_queue(struct appender *appender, struct waiter *waiter)
{
	struct waiter *before = NULL;
	for (struct waiter **at = &appender->first; *at; before = *at, at = &(*at)->next) {
		if (*at != waiter)
			continue;
		*at = waiter->next;
		if (appender->last == waiter)
			appender->last = before;
		return;
	}
}

static bool take_turn(struct appender *appender, int64_t deadline_us)
{
	struct waiter waiter = {0};
	if (!appender->busy) {
		appender->busy = true;
		return true;
	}
	wait_init(&waiter.wait, appender->loop);
	if (appender->last)
		appender->last->next = &waiter;
	else
		appender->first = &waiter;
	appender->last = &waiter;
	if (wait_for(&waiter.wait, deadline_us) || waiter.granted)
		return true;
	leave_queue(appender, &waiter);
	return false;
}

static void pass_turn(struct appender *appender)
{
	struct waiter *waiter = appender->first;
	if (!waiter) {
		appender->busy = false;
		return;
	}
	appender->first = waiter->next;
	if (!appender->first)
		appender->last = NULL;
	waiter->granted = true;
	wait_done(&waiter->wait);
}

/* ---- memory of heads ---- */

static struct head *memory_slot(struct appender *appender, const struct id *project)
{
	uint32_t mix = 2166136261u;
	for (size_t i = 0; i < ID_SIZE; i++)
		mix = (mix ^ project->bytes[i]) * 16777619u;
	return &appender->memory[mix & (MEMORY_SLOTS - 1)];
}

static bool recall_heads(struct appender *appender, struct batch *batch)
{
	if (!appender->known)
		return false;
	for (size_t i = 0; i < batch->head_count; i++) {
		const struct head *slot = memory_slot(appender, &batch->heads[i].project);
		if (slot->seq == 0 || !id_equal(&slot->project, &batch->heads[i].project))
			return false;
		batch->heads[i] = *slot;
	}
	batch->position = appender->position;
	return true;
}

static void forget_heads(struct appender *appender)
{
	appender->known = false;
	memset(appender->memory, 0, sizeof(appender->memory));
}

static void remember_heads(struct appender *appender, const struct batch *batch, int64_t old_position)
{
	if (!appender->known || appender->position != old_position)
		forget_heads(appender);
	for (size_t i = 0; i < batch->head_count; i++)
		*memory_slot(appender, &batch->heads[i].project) = batch->heads[i];
	appender->position = batch->position;
	appender->known = true;
}

/* ---- batches ---- */

enum status batch_start(struct arena *arena, const char *source, size_t count, struct batch *ret_batch)
{
	struct batch batch = {.source = source};
	batch.items = arena_alloc(arena, (count + 1) * sizeof(*batch.items));
	batch.heads = arena_alloc(arena, (count + 1) * sizeof(*batch.heads));
	if (!batch.items || !batch.heads)
		return ST_RESOURCE_EXHAUSTED;
	*ret_batch = batch;
	return ST_OK;
}

static size_t batch_find_head(const struct batch *batch, const void *project)
{
	size_t head = 0;
	while (head < batch->head_count && memcmp(batch->heads[head].project.bytes, project, ID_SIZE) != 0)
		head++;
	return head;
}

void batch_add(struct batch *batch, const Audit__Rows__Entry *entry)
{
	assert(batch->count < AUDIT_BATCH_MAX);
	struct item *item = &batch->items[batch->count++];
	*item = (struct item){.entry = *entry, .head = batch_find_head(batch, entry->project_id.data)};
	item->entry.source = (char *)batch->source;
	item->entry.has_seq = item->entry.has_position = item->entry.has_hash = true;
	item->entry.hash = (ProtobufCBinaryData){SHA256_SIZE, item->hash};
	if (item->head == batch->head_count)
		memcpy(batch->heads[batch->head_count++].project.bytes, entry->project_id.data, ID_SIZE);
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
		Audit__Rows__Entry *entry = &batch->items[i].entry;
		struct head *head = &batch->heads[batch->items[i].head];
		if (batch->items[i].duplicate)
			continue;
		entry->seq = ++head->seq;
		entry->position = ++batch->position;
		rules_hash_entry(head->hash, entry, batch->items[i].hash);
		memcpy(head->hash, batch->items[i].hash, SHA256_SIZE);
		appended++;
	}
	return appended;
}

/* ---- statements ---- */

enum load_kind { LOAD_POSITION, LOAD_HEAD, LOAD_DUPLICATE };

static void mark_duplicate(struct batch *batch, const struct id *project, int64_t outbox_id)
{
	size_t head = batch_find_head(batch, project->bytes);
	for (size_t i = 0; i < batch->count; i++)
		if (batch->items[i].head == head && batch->items[i].entry.outbox_id == outbox_id)
			batch->items[i].duplicate = true;
}

MUST_USE static enum status take_loaded(const struct sql_load_heads_row *rows, size_t count, struct batch *batch)
{
	batch->position = -1;
	for (size_t i = 0; i < count; i++) {
		const struct sql_load_heads_row *row = &rows[i];
		size_t head = batch_find_head(batch, row->project_id.bytes);
		if (row->kind == LOAD_POSITION) {
			batch->position = row->number;
		} else if (row->kind == LOAD_DUPLICATE) {
			if (!row->same)
				return ST_CONFLICT;
			mark_duplicate(batch, &row->project_id, row->number);
		} else if (row->hash.len == SHA256_SIZE && head < batch->head_count) {
			batch->heads[head].seq = row->number;
			memcpy(batch->heads[head].hash, row->hash.data, SHA256_SIZE);
		} else {
			return ST_INTERNAL;
		}
	}
	return batch->position < 0 ? ST_INTERNAL : ST_OK;
}

/* Reads in one snapshot the stream's position, the projects' heads and which items are already there. An item whose outbox id is taken by
 * another event gives ST_CONFLICT. */
MUST_USE static enum status load_heads(struct sql_scope *scope, struct batch *batch)
{
	size_t count = batch->count, loaded = 0;
	struct id *heads = arena_alloc(scope->arena, batch->head_count * sizeof(*heads));
	struct id *projects = arena_alloc(scope->arena, count * sizeof(*projects));
	int64_t *outbox_ids = arena_alloc(scope->arena, count * sizeof(*outbox_ids));
	struct db_blob *sums = arena_alloc(scope->arena, count * sizeof(*sums));
	uint8_t *digests = arena_alloc(scope->arena, count * SHA256_SIZE);
	struct sql_load_heads_row *rows;
	if (!heads || !projects || !outbox_ids || !sums || !digests)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < batch->head_count; i++) {
		heads[i] = batch->heads[i].project;
		batch->heads[i] = (struct head){.project = heads[i]};
	}
	for (size_t i = 0; i < count; i++) {
		const Audit__Rows__Entry *entry = &batch->items[i].entry;
		projects[i] = heads[batch->items[i].head];
		outbox_ids[i] = entry->outbox_id;
		sums[i] = (struct db_blob){digests + i * SHA256_SIZE, SHA256_SIZE};
		secret_sha256(entry->event.data, entry->event.len, digests + i * SHA256_SIZE);
	}
	const struct sql_load_heads params = {
	    .heads = {heads, batch->head_count},
	    .projects = {projects, count},
	    .outbox_ids = {outbox_ids, count},
	    .sums = {sums, count},
	    .source = batch->source,
	};
	enum status status = sql_all(scope, &sql_load_heads, &params, &rows, &loaded);
	return status == ST_OK ? take_loaded(rows, loaded, batch) : status;
}

/* Inserts the items that are no duplicates with the numbers they carry and moves heads and stream, if the stream's position still is
 * old_position; *ret_won says so. ST_ALREADY_EXISTS: some outbox id is already there. */
MUST_USE static enum status append_batch(struct sql_scope *scope, const struct batch *batch, int64_t old_position,
                                         bool *ret_won)
{
	Audit__Rows__Head *heads = arena_alloc(scope->arena, batch->head_count * sizeof(*heads));
	const ProtobufCMessage **head_list = arena_alloc(scope->arena, batch->head_count * sizeof(*head_list));
	const ProtobufCMessage **entry_list = arena_alloc(scope->arena, batch->count * sizeof(*entry_list));
	int64_t changed = 0;
	size_t count = 0;
	if (!heads || !head_list || !entry_list)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < batch->head_count; i++) {
		struct head *head = &batch->heads[i];
		audit__rows__head__init(&heads[i]);
		heads[i].has_project_id = heads[i].has_seq = heads[i].has_hash = true;
		heads[i].project_id = (ProtobufCBinaryData){ID_SIZE, head->project.bytes};
		heads[i].seq = head->seq;
		heads[i].hash = (ProtobufCBinaryData){SHA256_SIZE, head->hash};
		head_list[i] = &heads[i].base;
	}
	for (size_t i = 0; i < batch->count; i++)
		if (!batch->items[i].duplicate)
			entry_list[count++] = &batch->items[i].entry.base;
	const struct sql_append params = {.old_position = old_position,
	                                  .position = batch->position,
	                                  .heads = {head_list, batch->head_count},
	                                  .entries = {entry_list, count}};
	enum status status = sql_run(scope, &sql_append, &params, &changed);
	if (status == ST_OK)
		*ret_won = changed == 1;
	return status;
}

/* One try. *ret_won is false when another replica was faster or an item was there already: read and try again. */
MUST_USE static enum status try_append(struct appender *appender, struct sql_scope *scope, struct batch *batch,
                                       size_t *ret_appended, bool *ret_won)
{
	bool recalled, won = false;
	for (size_t i = 0; i < batch->count; i++)
		batch->items[i].duplicate = false;
	recalled = recall_heads(appender, batch);
	enum status status = recalled ? ST_OK : load_heads(scope, batch);
	if (status != ST_OK)
		return status;
	mark_repetitions(batch);
	int64_t old_position = batch->position;
	size_t appended = number_items(batch);
	if (appended)
		status = append_batch(scope, batch, old_position, &won);
	else
		won = true;
	if (status == ST_ALREADY_EXISTS && recalled) /* redelivered: see which ones */
		status = ST_OK;
	if (status == ST_OK && won)
		remember_heads(appender, batch, old_position);
	else
		forget_heads(appender);
	if (status != ST_OK)
		return status;
	*ret_appended = appended;
	*ret_won = won;
	return ST_OK;
}

enum status appender_run(struct appender *appender, struct sql_scope *scope, struct batch *batch, size_t *ret_appended)
{
	enum status status = ST_OK;
	bool won = false;
	if (!take_turn(appender, scope->deadline_us))
		return ST_DEADLINE_EXCEEDED;
	for (int attempt = 0; attempt < ATTEMPTS_MAX && status == ST_OK && !won; attempt++)
		status = clock_monotonic_us() >= scope->deadline_us
		             ? ST_DEADLINE_EXCEEDED
		             : try_append(appender, scope, batch, ret_appended, &won);
	pass_turn(appender);
	if (status == ST_OK && !won)
		return ST_ABORTED;
	/* Read and inserted under the same position, and yet there: somebody inserts beside us. */
	return status == ST_ALREADY_EXISTS ? ST_ABORTED : status;
}
