/* Running the named statements of .sql files (README.md of this room): parameters from a struct by name, rows into structs and messages.
 *
 * For a statement `user_get` the generator (proto/gen/statements.py) makes `sql_user_get`, `struct sql_user_get` (its parameters) and
 * `struct sql_user_get_row` (its columns). A row message is bound and read field by field, by descriptor: an absent optional field is
 * SQL NULL, a repeated text is text[]; in an array of messages a repeated text is one text with line ends between its elements. */
#pragma once

#include "db/db.h"

/* Arrays as parameters; borrowed until the statement returns. */
struct db_ids {
	const struct id *list;
	size_t count;
};
struct db_texts {
	const char *const *list;
	size_t count;
};
struct db_int8s {
	const int64_t *list;
	size_t count;
};
struct db_int2s {
	const int16_t *list;
	size_t count;
};
struct db_bools {
	const bool *list;
	size_t count;
};
struct db_blobs {
	const struct db_blob *list;
	size_t count;
};
/* Row messages of one type: each used column is bound as an array. */
struct db_messages {
	const ProtobufCMessage *const *list;
	size_t count;
};

/* What is committed with a change (common/ledger/effects.sql). Filled by process/change.c. */
struct db_effects {
	struct db_blobs events;     /* packed, in their order */
	bool revokes;               /* one of them takes access away: they overtake others on their way to the ledger */
	const struct id *operation; /* NULL: none is recorded */
	int32_t method;
	struct db_blob request_hash;
	struct db_blob reply; /* packed */
	int64_t at_us;
};

/* On whose behalf statements run. */
struct sql_scope {
	struct db *db;
	struct db_tx *tx; /* NULL: statements run by themselves */
	struct arena *arena;
	int64_t deadline_us; /* monotonic; 0 = 5 s */
	const struct id *project;
	const struct db_effects *effects; /* for statements that use them */
	const char *conflict;             /* set with ST_ALREADY_EXISTS: the violated constraint */
};

/* params: the statement's struct, NULL when it has none. Statuses as db_run; ST_RESOURCE_EXHAUSTED when the arena is full. */

/* The number of rows that came back, or, without RETURNING or SELECT at the top, that were changed. */
MUST_USE enum status sql_run(struct sql_scope *scope, const struct db_stmt *stmt, const void *params,
                             int64_t *ret_rows);
/* Its one row into the statement's row struct. ST_NOT_FOUND when there is none. */
MUST_USE enum status sql_one(struct sql_scope *scope, const struct db_stmt *stmt, const void *params, void *ret_row);
/* All rows, as an array of the statement's row structs in the arena. */
MUST_USE enum status sql_all(struct sql_scope *scope, const struct db_stmt *stmt, const void *params, void *ret_rows,
                             size_t *ret_count);

/* ---- what the generator writes ---- */

enum db_type {
	DB_UUID = 1,
	DB_TEXT,
	DB_BYTEA,
	DB_JSONB,
	DB_INT8,
	DB_INT4,
	DB_INT2,
	DB_BOOL,
	DB_UUIDS,
	DB_TEXTS,
	DB_INT8S,
	DB_INT2S,
	DB_BOOLS,
	DB_BYTEAS,
};
enum db_param_source { DB_FROM_SCOPE, DB_FROM_EFFECTS, DB_FROM_PARAMS };
/* Where the value of $n comes from. */
struct db_param {
	uint8_t source; /* enum db_param_source */
	uint8_t type;   /* enum db_type; of one row's column */
	bool nullable;  /* the member is a pointer, NULL = SQL NULL */
	bool many;      /* the member is struct db_messages */
	uint16_t offset;
	int16_t field; /* index in the row message's descriptor; -1 = no message */
	const ProtobufCMessageDescriptor *message;
};
/* Where a column goes. */
struct db_column {
	uint8_t type;
	bool first; /* of a row message: when it is NULL there is no message */
	uint16_t offset;
	int16_t field;
	const ProtobufCMessageDescriptor *message;
};
