/* A simple noun: rows of a table that are created, read, listed, merged and deleted by a key that their creator chooses (a code). The noun is data;
 * its handlers are these five. What is more than that has handlers of its own, on change.h and page.h. */
#pragma once

#include "process/change.h"
#include "process/page.h"

/* How a text of a request is checked: one sentence, or NULL when it is acceptable. */
struct noun_check {
	const char *field;
	const char *(*check)(const char *text);
};

struct noun {
	const char *name; /* "role": in sentences, in events (role:CODE) and cursors */
	const char *key;  /* field of the row, the message and the requests: "code" */
	/* The row: the key, version, created_at_us, updated_at_us, and fields of the same name as the messages. */
	const ProtobufCMessageDescriptor *row;
	const struct noun_check *checks; /* the key's first; ended by one without field */
	const struct db_stmt *get;       /* (key text) -> row Row */
	const struct db_stmt *list;      /* (after text, limit int8) -> total int8, row Row; by key */
	const struct db_stmt *create;    /* (row Row) */
	const struct db_stmt *update;    /* (row Row, before Row): the row as it was read, or none */
	const struct db_stmt *remove;    /* (before Row): the same */
	Events__EventType created, updated, deleted;
	/* May refuse a deletion with call_fail; NULL = nothing stands in its way. */
	enum status (*may_delete)(struct call *call, const ProtobufCMessage *row);
};

/* Requests and replies are messages of the call's method. Statuses: ST_INVALID_ARGUMENT and ST_ALREADY_EXISTS name the field, ST_NOT_FOUND,
 * ST_PRECONDITION_FAILED (a request with if_match_version), those of change_run. */
MUST_USE enum status noun_create(struct call *call, const struct noun *noun, const void *request, void *reply);
MUST_USE enum status noun_get(struct call *call, const struct noun *noun, const void *request, void *reply);
MUST_USE enum status noun_list(struct call *call, const struct noun *noun, const void *request, void *reply);
MUST_USE enum status noun_update(struct call *call, const struct noun *noun, const void *request, void *reply);
MUST_USE enum status noun_delete(struct call *call, const struct noun *noun, const void *request, void *reply);
