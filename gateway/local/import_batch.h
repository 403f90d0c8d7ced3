/* One batch of an import: rows parsed from lines, sent to identity while others are read, results in the order of lines. */
#pragma once

#include "front/gateway.h"

struct import_batch;

/* What all batches of one import share. */
struct import_job {
	const struct exchange *exchange;
	struct id operation; /* of the whole import; each batch derives its own */
	uint8_t hash_key
	    [SHA256_SIZE]; /* keys the hash of each batch that is kept with its reply: rows may hold passwords */
	bool fail_on_conflict;
	enum status broken; /* a batch failed for good: the rest is not sent */
};

struct import_batch *import_batch_new(void); /* NULL without memory */
void import_batch_free(struct import_batch **batch);

/* Whether it holds no row, and whether it takes no more. */
bool import_batch_empty(const struct import_batch *batch);
bool import_batch_full(const struct import_batch *batch);

/* Parses one line (NUL-terminated too) into a row, or remembers why it is none. Only when not full. */
void import_batch_add(struct import_batch *batch, uint32_t line, const char *text, size_t len);
/* Remembers a line as an error. reason is static. */
void import_batch_refuse(struct import_batch *batch, uint32_t line, const char *reason);

/* Starts sending; then only import_batch_finish may be called. */
void import_batch_start(struct import_batch *batch, const struct import_job *job);

/* Waits for a started batch, appends its result lines and empties it. False when it was not started. */
bool import_batch_finish(struct import_batch *batch, struct import_job *job, struct buf *out);
