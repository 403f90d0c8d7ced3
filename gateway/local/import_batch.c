/* One batch of an import. */
#include "local/import_batch.h"

#include "base/clock.h"
#include "identity.pb-c.h"
#include "json/pbjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX 500
#define BYTES_MAX (192UL * 1024) /* the bus carries messages of bounded size */
#define ARENA_BYTES (32UL * 1024 * 1024)
#define ATTEMPTS 6
#define PAUSE_US (250 * US_PER_MS)
#define DEADLINE_US (60 * US_PER_SEC)

struct import_entry {
	uint32_t line;
	bool sent;         /* a row; else refused here */
	const char *field; /* in the arena */
	const char *reason;
};

struct import_batch {
	struct arena *arena;
	struct import_entry entries[ROWS_MAX];
	size_t count;
	Identity__ImportRow *rows[ROWS_MAX];
	size_t row_count;
	size_t bytes;
	uint8_t hash[SHA256_SIZE]; /* over the lines, chained */
	/* while sending */
	const struct import_job *job;
	bool started, begun;
	int64_t begun_us; /* monotonic */
	struct client_part part;
	uint8_t part_hash[SHA256_SIZE]; /* for the part */
	Identity__ImportUsersRequest request;
	enum status status;
	const char *reason;
	Identity__ImportUsersReply *reply;
};

struct import_batch *import_batch_new(void)
{
	struct import_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return NULL;
	batch->arena = arena_new(ARENA_BYTES);
	if (!batch->arena) {
		free(batch);
		return NULL;
	}
	return batch;
}

void import_batch_free(struct import_batch **batch)
{
	if (!*batch)
		return;
	if ((*batch)->begun)
		client_end(&(*batch)->part);
	arena_free(&(*batch)->arena);
	free(*batch);
	*batch = NULL;
}

bool import_batch_empty(const struct import_batch *batch)
{
	return batch->count == 0;
}

bool import_batch_full(const struct import_batch *batch)
{
	return batch->count == ROWS_MAX || batch->bytes >= BYTES_MAX;
}

void import_batch_refuse(struct import_batch *batch, uint32_t line, const char *reason)
{
	batch->entries[batch->count++] = (struct import_entry){.line = line, .reason = reason};
}

void import_batch_add(struct import_batch *batch, uint32_t line, const char *text, size_t len)
{
	struct pbjson_error error = {0};
	ProtobufCMessage *row = NULL;
	const struct secret_piece pieces[] = {{batch->hash, sizeof(batch->hash)}, {text, len}};
	secret_sha256_pieces(pieces, 2, batch->hash);
	batch->bytes += len; /* of refused lines too: what was read of them stays in the arena */
	enum status status =
	    pbjson_parse(&identity__import_row__descriptor, text, len, NULL, batch->arena, &row, &error);
	if (status != ST_OK) {
		import_batch_refuse(batch, line, error.reason);
		batch->entries[batch->count - 1].field = error.field;
		return;
	}
	batch->rows[batch->row_count++] = (Identity__ImportRow *)row;
	batch->entries[batch->count++] = (struct import_entry){.line = line, .sent = true};
}

static bool import_may_retry(enum status status)
{
	return status == ST_DEADLINE_EXCEEDED || (status_info((int)status)->retryable && status != ST_THROTTLED);
}

/* The same operation id in every attempt, so that no row is written twice. */
static void import_batch_prepare(struct import_batch *batch)
{
	const struct exchange *exchange = batch->job->exchange;
	struct client_part *part = &batch->part;
	char label[32];
	identity__import_users_request__init(&batch->request);
	batch->request.rows = batch->rows;
	batch->request.n_rows = batch->row_count;
	batch->request.has_first_line = 1;
	batch->request.first_line = batch->entries[0].line;
	snprintf(label, sizeof(label), "import-%u", batch->entries[0].line);
	secret_hmac_sha256(batch->job->hash_key, SHA256_SIZE, batch->hash, SHA256_SIZE, batch->part_hash);
	*part = (struct client_part){
	    .call = {.project = exchange->caller.project,
	             .actor = caller_actor(&exchange->caller),
	             .operation = id_derive(&batch->job->operation, label),
	             .operation_hash = batch->part_hash}, /* each attempt looks for the reply of an earlier one */
	    .method = M_IDENTITY_IMPORT_USERS,
	    .request = &batch->request.base,
	    .arena = batch->arena};
	memcpy(part->call.trace, exchange->trace, sizeof(part->call.trace));
}

/* Waits for the first attempt; while it may help, makes further ones. */
static void import_batch_wait(struct import_batch *batch)
{
	struct client_part *part = &batch->part;
	int64_t deadline_us = batch->begun_us + DEADLINE_US;
	client_end(part);
	for (int attempt = 1;
	     import_may_retry(part->status) && attempt < ATTEMPTS && clock_monotonic_us() <= deadline_us; attempt++) {
		struct timespec pause = {.tv_nsec = PAUSE_US * 1000};
		for (int i = 0; i < attempt; i++)
			nanosleep(&pause, NULL);
		client_send_many(batch->job->exchange->services, part, 1);
	}
	batch->status = part->status;
	batch->reason = part->call.ret_reason;
	batch->reply = (Identity__ImportUsersReply *)part->reply;
}

void import_batch_start(struct import_batch *batch, const struct import_job *job)
{
	batch->started = true;
	batch->job = job;
	batch->status = job->broken;
	if (batch->row_count == 0 || job->broken != ST_OK)
		return;
	import_batch_prepare(batch);
	batch->begun = true;
	batch->begun_us = clock_monotonic_us();
	client_begin(job->exchange->services, &batch->part);
}

static void import_print(const Identity__ImportResult *result, struct buf *out)
{
	pbjson_print(&result->base, out);
	buf_add_char(out, '\n');
}

/* The result of one entry: what identity said, or why it was never asked. */
static void import_print_entry(const struct import_batch *batch, const struct import_job *job,
                               const struct import_entry *entry, const Identity__ImportResult *answer, struct buf *out)
{
	Identity__ImportResult result = IDENTITY__IMPORT_RESULT__INIT;
	if (answer)
		result = *answer;
	else
		result.status = (char *)"error";
	result.has_line = 1;
	result.line = entry->line;
	if (!entry->sent) {
		result.code = (char *)status_name(ST_INVALID_ARGUMENT);
		result.field = entry->field && entry->field[0] != '\0' ? (char *)entry->field : NULL;
		result.detail = (char *)entry->reason;
	} else if (!answer) {
		enum status status = batch->status == ST_OK ? ST_INTERNAL : batch->status;
		result.code = (char *)status_name((int)status);
		result.detail = (char *)(batch->reason ? batch->reason : status_info((int)status)->text);
	} else if (job->fail_on_conflict && result.status && strcmp(result.status, "exists") == 0) {
		result.status = (char *)"error";
		result.code = (char *)status_name(ST_ALREADY_EXISTS);
		result.detail = (char *)status_info(ST_ALREADY_EXISTS)->text;
	}
	import_print(&result, out);
}

static void import_batch_reset(struct import_batch *batch)
{
	struct arena *arena = batch->arena;
	arena_reset(arena);
	memset(batch, 0, sizeof(*batch));
	batch->arena = arena;
}

bool import_batch_finish(struct import_batch *batch, struct import_job *job, struct buf *out)
{
	if (!batch->started)
		return false;
	if (batch->begun)
		import_batch_wait(batch);
	if (import_may_retry(batch->status))
		job->broken = batch->status; /* the services stay away: the rest is not even tried */
	size_t sent = 0;
	for (size_t i = 0; i < batch->count; i++) {
		const Identity__ImportResult *answer = NULL;
		if (batch->entries[i].sent) {
			if (batch->status == ST_OK && batch->reply && sent < batch->reply->n_results)
				answer = batch->reply->results[sent];
			sent++;
		}
		import_print_entry(batch, job, &batch->entries[i], answer, out);
	}
	import_batch_reset(batch);
	return true;
}
