/* POST /v1/users/import: NDJSON in, NDJSON out, in batches; memory is bounded by the batches in flight. */
#include "local/local.h"

#include "calls/upstream.h"
#include "identity.pb-c.h"
#include "local/import_batch.h"
#include "json/pbjson.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_MAX_BYTES 65536
#define WINDOW_BYTES (2 * LINE_MAX_BYTES)
#define BATCHES 3
/* Answers are held back up to here, so that a client which reads only after it has sent everything gets through. */
#define HOLD_BYTES (16UL * 1024 * 1024)

struct import {
	struct exchange *exchange;
	struct import_batch *ring[BATCHES];
	size_t head;       /* the batch being filled */
	uint32_t line;     /* number of the line being read, from 1 */
	char *window;      /* bytes read and not yet split */
	size_t start, end; /* within window */
	bool skipping;     /* the rest of an over-long line */
	struct import_job job;
};

/* Moves results on: held back, or sent when there are too many or sending has begun. */
static void import_emit(struct import *import)
{
	struct exchange *exchange = import->exchange;
	struct buf *body = &exchange->response.body;
	if (!exchange->response.started && body->len < HOLD_BYTES)
		return;
	if (!exchange->response.started)
		http_send_head(exchange);
	http_send_piece(exchange, body->data, body->len);
	buf_reset(body);
}

static void import_collect(struct import *import, struct import_batch *batch)
{
	if (import_batch_finish(batch, &import->job, &import->exchange->response.body))
		import_emit(import);
}

/* Sends the batch being filled and takes the next of the ring, waiting for it if it is still on its way. */
static void import_flush(struct import *import)
{
	if (import_batch_empty(import->ring[import->head]))
		return;
	import_batch_start(import->ring[import->head], &import->job);
	import->head = (import->head + 1) % BATCHES;
	import_collect(import, import->ring[import->head]);
}

/* Editors and spreadsheets begin a file with it; it belongs to no line. */
static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};

static void import_line(struct import *import, const char *text, size_t len)
{
	size_t mark = sizeof(byte_order_mark);
	if (import->line == 1 && len >= mark && memcmp(text, byte_order_mark, mark) == 0) {
		text += mark;
		len -= mark;
	}
	if (len > 0 && text[len - 1] == '\r')
		len--;
	if (strspn(text, " \t") >= len)
		return; /* blank lines are only counted */
	import_batch_add(import->ring[import->head], import->line, text, len);
	if (import_batch_full(import->ring[import->head]))
		import_flush(import);
}

static void import_too_long(struct import *import)
{
	import_batch_refuse(import->ring[import->head], import->line, "The line is longer than 65536 bytes");
	if (import_batch_full(import->ring[import->head]))
		import_flush(import);
}

/* Splits what the window holds into lines; at the end of the body the rest is the last line. */
static void import_split(struct import *import, bool at_end)
{
	while (import->start < import->end) {
		char *text = import->window + import->start;
		size_t held = import->end - import->start;
		char *newline = memchr(text, '\n', held);
		size_t len = newline ? (size_t)(newline - text) : held;
		if (!newline && !at_end && held <= LINE_MAX_BYTES && !import->skipping)
			return;
		if (!import->skipping) {
			if (len > LINE_MAX_BYTES) {
				import_too_long(import);
			} else {
				text[len] = '\0'; /* the window has room for it */
				import_line(import, text, len);
			}
		}
		import->skipping = !newline && !at_end;
		import->start += newline ? len + 1 : len;
		if (newline)
			import->line++;
	}
}

/* Reads more of the body behind what the window holds. Returns the bytes read, 0 at its end, or -1. */
static int import_fill(struct import *import)
{
	memmove(import->window, import->window + import->start, import->end - import->start);
	import->end -= import->start;
	import->start = 0;
	size_t room = WINDOW_BYTES - import->end;
	int got = http_read_piece(import->exchange, import->window + import->end,
	                          room < LINE_MAX_BYTES ? room : LINE_MAX_BYTES);
	if (got > 0)
		import->end += (size_t)got;
	return got;
}

/* Reads the whole body. False when it broke off. */
static bool import_read(struct import *import)
{
	int got;
	while ((got = import_fill(import)) > 0 && !import->exchange->response.broken)
		import_split(import, false);
	import_split(import, got == 0);
	return got == 0;
}

static void import_run(struct import *import)
{
	struct exchange *exchange = import->exchange;
	exchange->response.status = 200;
	exchange->response.content_type = "application/x-ndjson";
	bool whole = import_read(import);
	import_flush(import);
	for (size_t i = 0; i < BATCHES; i++)
		import_collect(import, import->ring[(import->head + i) % BATCHES]);
	exchange->response.close = exchange->response.close || !whole;
	if (!whole && !exchange->response.started) {
		const char *why = exchange->failure.reason;
		exchange->failure.reason = arena_printf(exchange->arena, "%s; complete batches were imported",
		                                        why ? why : status_info((int)exchange->failure.status)->text);
	} else if (whole && exchange->response.started) {
		http_send_piece(exchange, exchange->response.body.data, exchange->response.body.len);
		http_send_end(exchange);
	}
}

static enum status import_check(struct exchange *exchange, bool *ret_fail_on_conflict)
{
	static const char *const types[] = {"application/x-ndjson", "application/ndjson", "application/jsonl"};
	const char *type = http_header_find(&exchange->request, "Content-Type");
	const char *query = exchange->request.query ? exchange->request.query : "";
	bool known = false;
	for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++) {
		size_t len = strlen(types[i]);
		known = known || (strncasecmp(type, types[i], len) == 0 && strchr(" ;", type[len]));
	}
	if (!known)
		return http_fail(exchange, ST_UNSUPPORTED_MEDIA_TYPE, NULL,
		                 "The Content-Type must be application/x-ndjson");
	if (http_limit_body(exchange, exchange->gateway->import_max_bytes) != ST_OK)
		return ST_CONTENT_TOO_LARGE;
	*ret_fail_on_conflict = strcmp(query, "on_conflict=fail") == 0;
	if (query[0] != '\0' && !*ret_fail_on_conflict && strcmp(query, "on_conflict=skip") != 0)
		return http_fail(exchange, ST_INVALID_ARGUMENT, "on_conflict",
		                 "The only parameter is on_conflict, skip or fail");
	return ST_OK;
}

/* With an Idempotency-Key a repeated import must come to the same hashes; without one only this import looks at them. */
static void import_hash_key(struct import_job *job, bool keyed)
{
	const char *key = keyed ? http_header_find(&job->exchange->request, "Idempotency-Key") : NULL;
	if (key)
		secret_sha256(key, strlen(key), job->hash_key);
	else
		secret_random(job->hash_key, sizeof(job->hash_key));
}

void import_serve(struct exchange *exchange)
{
	struct import import = {.exchange = exchange, .line = 1};
	bool ok = true;
	bool keyed = false;
	const struct upstream_step step = {.method = M_IDENTITY_IMPORT_USERS};
	import.job.exchange = exchange;
	if (import_check(exchange, &import.job.fail_on_conflict) != ST_OK)
		return;
	if (upstream_operation(exchange, &step, &import.job.operation, &keyed) != ST_OK)
		return;
	import_hash_key(&import.job, keyed);
	import.window = malloc(WINDOW_BYTES + 1);
	for (size_t i = 0; i < BATCHES; i++) {
		import.ring[i] = import_batch_new();
		ok = ok && import.ring[i];
	}
	if (ok && import.window)
		import_run(&import);
	else
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	for (size_t i = 0; i < BATCHES; i++)
		import_batch_free(&import.ring[i]);
	if (import.window)
		secret_wipe(import.window, WINDOW_BYTES);
	free(import.window);
}
