/* Lists: how many, behind what, and the reply with data, total and next.
 *
 * A cursor is sealed (AES-256-GCM) and bound to its project, its list and the list's order: it shows nothing of the row that it stands for, and one
 * that was changed, or comes from elsewhere, is refused. */
#pragma once

#include "process/call.h"

/* Where a page begins: behind this row. Which of number and text counts is the list's affair. */
struct page_key {
	struct id id;
	int64_t number;
	const char *text; /* NULL = none */
};

/* A row of the statement behind a list, `-> total int8, row Row`: the total comes with every row, and alone (row NULL) when the page is empty. */
struct page_row {
	int64_t total;
	ProtobufCMessage *row;
};

struct page {
	/* Set by the handler. */
	const char *list; /* name and order, such as "users:-created_at": cursors are bound to it */
	uint32_t limit_default, limit_max;
	size_t max_bytes;      /* of all of data; one more may begin below it; 0 = no bound */
	struct page_key after; /* where the list begins without a cursor */
	/* Fills the initialised public message of a row. */
	enum status (*show)(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message);
	/* The place of a row in the list: a function, or the name of the text that it is ordered by. */
	struct page_key (*key)(const ProtobufCMessage *row);
	const char *key_field;
	/* Set by page_open. */
	int64_t limit;
	bool has_after;
};

/* Reads `limit` and `after` of a list request. ST_INVALID_ARGUMENT names the field. Ask the database for limit + 1 rows behind `after`. */
MUST_USE enum status page_open(struct call *call, struct page *page, const ProtobufCMessage *request);
/* Fills `data`, `total` and `next` of a list reply. */
MUST_USE enum status page_reply(struct call *call, const struct page *page, const struct page_row *rows, size_t count,
                                ProtobufCMessage *reply);

/* The cursor of a place in a list, base64url in the arena; NULL when it is full. */
char *page_cursor(struct call *call, const char *list, const struct page_key *key);
/* ST_INVALID_ARGUMENT for the field `after` when it is no cursor of this list; the text is in the arena. */
MUST_USE enum status page_after(struct call *call, const char *list, const char *cursor, struct page_key *ret_key);
