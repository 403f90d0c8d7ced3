/* The database gate: named prepared statements over a few pipelined connections. Handlers wait as fibers.
 *
 * Single statements of many calls share connections: reads on the read lanes (all that wait at the end of a turn
 * of the loop go behind one Sync; those a neighbour's error aborts are sent again), writes on the write lanes (each is one
 * statement, one transaction, one Sync). db_begin takes a blocking connection for commands that need several.
 * All values are bound parameters in binary format. Only db_*.c and migrate.c know libpq. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"
#include "loop/loop.h"

struct db;
struct db_tx;

struct db_options {
	struct loop *loop;    /* NULL: no loop runs (commands, tests): calls use blocking connections */
	const char *conninfo; /* libpq connection string or URI */
	const char *schema;   /* search_path */
	unsigned read_lanes;  /* pipelined connections for DB_READ, 1..8 */
	unsigned write_lanes; /* for DB_WRITE */
	unsigned statement_timeout_ms;
};
/* Connects in the background and reconnects for ever; calls made meanwhile wait up to their deadline. Names of hosts are looked up beside
 * the loop; while no name server answers, the last addresses serve. NULL (logged) when the connection string is malformed, names a
 * service file or more than 16 hosts. db_free: after loop_run has returned. */
struct db *db_new(const struct db_options *options);
void db_free(struct db **db);
bool db_ready(const struct db *db); /* at least one connection of each kind is up */

enum db_kind { DB_READ, DB_WRITE };
struct db_param;
struct db_column;
#define DB_TOGETHER 8
struct db_stmt {
	const char *name; /* unique within the process */
	const char *sql;  /* $1.. ; one statement */
	enum db_kind kind;
	/* The same read for DB_TOGETHER at once, when many wait; NULL = none. Only for reads of at most one row. Its parameters are
	 * those of this statement DB_TOGETHER times (NULL where fewer wait), its first column is the number (int4, from 0) of the
	 * one whom the row answers, then the columns of this statement. */
	const struct db_stmt *together;
	/* Of statements from .sql files (sql.h). */
	const struct db_param *params;
	unsigned param_count;
	const struct db_column *columns;
	unsigned column_count;
	size_t row_size_bytes;
	bool ahead; /* goes before those that wait: for the few that must not wait behind load */
};

#define DB_ARGS_MAX 64 /* proto/gen/statements.py refuses more */
struct db_args {
	int count;
	uint32_t types[DB_ARGS_MAX]; /* Oid */
	const char *values[DB_ARGS_MAX];
	int lengths[DB_ARGS_MAX];
	uint64_t scratch[DB_ARGS_MAX]; /* network-order integers */
	bool failed;                   /* too many, or an array did not fit the arena */
};
/* Each appends the next parameter. Pointers are borrowed until the statement returns. NULL text or data = SQL NULL. */
void db_arg_id(struct db_args *args, const struct id *id);                   /* uuid; NULL = SQL NULL */
void db_arg_text(struct db_args *args, const char *text);                    /* text */
void db_arg_bytes(struct db_args *args, const void *data, size_t len_bytes); /* bytea */
void db_arg_int8(struct db_args *args, int64_t value);
void db_arg_int8_or_null(struct db_args *args, bool present, int64_t value);
void db_arg_int4(struct db_args *args, int32_t value);
void db_arg_int2(struct db_args *args, int16_t value);
void db_arg_bool(struct db_args *args, bool value);
void db_arg_jsonb(struct db_args *args, struct arena *arena, const char *json); /* jsonb; NULL = SQL NULL */
/* Arrays, built in the arena. A NULL element of texts is SQL NULL. */
void db_arg_ids(struct db_args *args, struct arena *arena, const struct id *ids, size_t count);       /* uuid[] */
void db_arg_texts(struct db_args *args, struct arena *arena, const char *const *texts, size_t count); /* text[] */
void db_arg_int8s(struct db_args *args, struct arena *arena, const int64_t *values, size_t count);    /* int8[] */
void db_arg_int2s(struct db_args *args, struct arena *arena, const int16_t *values, size_t count);    /* int2[] */
void db_arg_bools(struct db_args *args, struct arena *arena, const bool *values, size_t count);       /* bool[] */
struct db_blob {
	const void *data; /* NULL = SQL NULL */
	size_t len;
};
void db_arg_bytes_array(struct db_args *args, struct arena *arena, const struct db_blob *values,
                        size_t count); /* bytea[] */

/* Result of one statement; lives as long as the arena given to db_run. */
struct db_rows {
	int count;                   /* rows returned */
	int64_t affected;            /* rows of an INSERT, UPDATE or DELETE at top level */
	void *result;                /* PGresult, released with the arena */
	int first_row, first_column; /* where this caller's part of it begins */
	const char *constraint;      /* violated constraint when ST_ALREADY_EXISTS, else NULL */
};
bool db_null(const struct db_rows *rows, int row, int column);
struct id db_id(const struct db_rows *rows, int row, int column);     /* zero id for NULL */
const char *db_text(const struct db_rows *rows, int row, int column); /* NUL-terminated; NULL for NULL */
const void *db_bytes(const struct db_rows *rows, int row, int column, size_t *ret_len); /* NULL for NULL */
int64_t db_int(const struct db_rows *rows, int row, int column); /* int2, int4, int8; 0 for NULL */
bool db_bool(const struct db_rows *rows, int row, int column);
const char *db_json(const struct db_rows *rows, int row, int column); /* jsonb or json as text; NULL for NULL */
/* Elements of a text[] column, in the arena; *ret_count 0 for NULL. */
MUST_USE enum status db_text_array(const struct db_rows *rows, int row, int column, struct arena *arena,
                                   char ***ret_texts, size_t *ret_count);

/* Runs one statement by itself (autocommit). deadline_us: monotonic, 0 = 5 s. ret_rows may be NULL.
 * ST_ALREADY_EXISTS unique violation (see constraint); ST_ABORTED serialisation failure or deadlock; ST_DEADLINE_EXCEEDED;
 * ST_UNAVAILABLE not executed; ST_LOST sent, outcome unknown; ST_INVALID_ARGUMENT a value the database refuses (22xxx);
 * ST_INTERNAL otherwise (logged). Reads that were lost are sent again inside the deadline, twice at most. */
MUST_USE enum status db_run(struct db *db, const struct db_stmt *stmt, const struct db_args *args, struct arena *arena,
                            int64_t deadline_us, struct db_rows *ret_rows);

/* A transaction on a connection of its own, for commands: it blocks, so never in a fiber. Each db_tx_run is one round trip. Rolls back
 * unless committed: always call db_end. After a failed statement only db_end is useful. Statuses as db_run. */
MUST_USE enum status db_begin(struct db *db, int64_t deadline_us, struct db_tx **ret_tx);
MUST_USE enum status db_tx_run(struct db_tx *tx, const struct db_stmt *stmt, const struct db_args *args,
                               struct arena *arena, struct db_rows *ret_rows);
MUST_USE enum status db_commit(struct db_tx *tx);
void db_end(struct db_tx **tx);
