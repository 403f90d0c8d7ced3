/* What the files of the database gate share. Nobody else includes it.
 *
 *   db_run (db.c) -> request in a queue -> lane (db_lane.c: one pipelined connection) -> results -> fiber continues
 *
 * From the bottom up, in the order of this header: db_args, db_request, db_rows, db_conn, db_hosts, db_lane, db_group, db_pump, db_block, db. A
 * file calls only those before it (tests/checks: circles).
 * Everything here belongs to the loop's thread, except struct db_pool (db_block.c), which has a lock. */
#pragma once

#include "base/metrics.h"
#include "db/db.h"
#include "loop/resolver.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#define DB_QUEUE_MAX 1024              /* requests of one kind that may wait for a connection */
#define DB_DEFAULT_BUDGET_US 5000000LL /* when the caller gives no deadline */
#define DB_ATTEMPTS_MAX 6              /* sendings of one request: aborted by a neighbour, stale plan, lost read */
#define DB_LOST_MAX 2                  /* a read is sent again so often when its connection breaks */
#define DB_CONNECT_TIMEOUT_US 3000000LL
#define DB_RESOLVE_TIMEOUT_US 1000000LL /* then with the addresses that are known, if any */

extern const int db_binary_formats[DB_ARGS_MAX]; /* all 1 */

#define DB_KINDS 2      /* of enum db_kind */
#define DB_LANES_MAX 64 /* of one kind */

/* ---- db_args.c: parameters ---- */

/* Appends a value in Postgres's binary format; NULL = SQL NULL. copy: of at most 8 bytes, kept in the args. */
void db_arg_raw(struct db_args *args, uint32_t type, const void *value, size_t len_bytes, bool copy);

/* An array while it is built: begin (false: marked as failed), header, one put for each element, end. */
struct db_array {
	char *data, *end;
	size_t size;
};
bool db_array_begin(struct db_array *array, struct db_args *args, struct arena *arena, size_t count,
                    size_t content_bytes);
void db_array_put_header(struct db_array *array, uint32_t element, size_t count, bool has_null);
void db_array_put(struct db_array *array, const void *data, size_t len_bytes);
void db_array_end(struct db_array *array, struct db_args *args, uint32_t type);

/* ---- db_request.c: what waits and how it ends ---- */

enum db_request_state { DB_QUEUED, DB_SENT, DB_DONE };

struct db_request;
/* How a group ends: finished, or not executed (alone: its members are sent each for itself). */
struct db_group_ends {
	void (*finish)(struct db *db, struct db_request *group, enum status status, PGresult *result);
	void (*requeue)(struct db *db, struct db_request *group, bool alone);
};

struct db_request {
	const struct db_stmt *stmt;
	const struct db_args *args; /* borrowed from the waiting fiber; not looked at when abandoned */
	struct wait wait;
	enum db_request_state state;
	enum status status;
	PGresult *result; /* set when done, owned until taken */
	bool abandoned;   /* nobody waits: free it when its result comes */
	bool again;       /* was not executed and may be sent again */
	bool alone;       /* aborted by a neighbour once: now with a Sync of its own */
	unsigned lost;    /* connections that broke under it */
	unsigned attempts;
	unsigned generation; /* of the prepared statement it was sent with */
	int64_t begun_us;
	struct db_request *next;
	const struct db_group_ends *group; /* NULL: no group */
	struct db_request *members;        /* of a group, linked by next */
	struct db_shared *shared;          /* of a group: its result to be; of a member that is done: that result */
	int row;                           /* its row there, -1 = none */
};

/* The result of a group, which its members own together. */
struct db_shared {
	PGresult *result;
	atomic_int owners;
};

struct db_queue {
	struct db_request *head, *tail;
	unsigned count;
};
/* First in, first out; push_front is for what was taken out and could not be sent. pop gives NULL when empty; remove
 * does nothing when the request is not in it. */
void db_queue_push(struct db_queue *queue, struct db_request *request);
void db_queue_push_front(struct db_queue *queue, struct db_request *request);
struct db_request *db_queue_pop(struct db_queue *queue);
void db_queue_remove(struct db_queue *queue, struct db_request *request);

struct db_request *db_request_new(struct db *db);
void db_request_free(struct db *db, struct db_request *request);
/* Ends the request: result is taken over (may be NULL). */
void db_request_finish(struct db *db, struct db_request *request, enum status status, PGresult *result);
/* Puts a request that was not executed back to the front of its queue; ends it after too many attempts. */
void db_request_requeue(struct db *db, struct db_request *request);
/* What waits is sent at the end of this turn of the loop. */
void db_pump_later(struct db *db);
int64_t db_deadline(int64_t deadline_us);
void db_shared_release(void *shared); /* one owner less */

/* ---- db_rows.c: results ---- */

/* Hands a good or failed result over to rows and arena (which then own it); clears it when nobody wants it. */
MUST_USE enum status db_deliver(PGresult *result, enum status status, struct arena *arena, struct db_rows *ret_rows);
/* The same for a member of a group: one row of a shared result, or none (row -1). */
MUST_USE enum status db_deliver_shared(struct db_shared *shared, int row, struct arena *arena,
                                       struct db_rows *ret_rows);

/* ---- db_conn.c: how to connect, prepared statements of one connection, errors ---- */

/* Statements known to one connection, by name. The name on the server carries a generation, which changes when the
 * prepared statement is of no use any more (lost with an error, or its plan went stale). */
struct db_prepared {
	char *name; /* owned; NULL = free place */
	unsigned generation;
	bool ready; /* Parse was sent on this connection */
};
struct db_cache {
	struct db_prepared *places; /* open addressing, size is a power of two */
	size_t size, used;
};
void db_cache_clear(struct db_cache *cache);
/* Place of the statement, made when absent; NULL without memory. Valid until the next call. */
struct db_prepared *db_cache_find(struct db_cache *cache, const char *name);
#define DB_SERVER_NAME_SIZE 80
void db_cache_server_name(const struct db_prepared *prepared, char ret_name[DB_SERVER_NAME_SIZE]);
/* The statement of that generation is of no use: the next use prepares it anew under another name. */
void db_cache_forget(struct db_cache *cache, const char *name, unsigned generation);

/* Keywords and values for PQconnectStartParams, from the options. planned_once: statements keep one plan for all values. */
struct db_conninfo {
	char **keywords, **values; /* owned, NULL-ended */
};
MUST_USE enum status db_conninfo_new(const struct db_options *options, bool planned_once, struct db_conninfo *ret_info);
void db_conninfo_free(struct db_conninfo *info);
MUST_USE enum status db_conninfo_copy(const struct db_conninfo *info, struct db_conninfo *ret_copy);
/* Sets or replaces a value. False: too many, or no memory. */
MUST_USE bool db_conninfo_set(struct db_conninfo *info, const char *keyword, const char *value);

enum db_reaction {
	DB_REACT_NONE,
	DB_REACT_PREPARE,   /* the statement must be prepared again; nothing was executed */
	DB_REACT_RECONNECT, /* this connection is of no use any more */
};
/* What an error result means. Logs what is not the caller's doing. */
enum status db_status_of(const PGresult *result, const char *stmt_name, enum db_reaction *ret_reaction);

/* ---- db_hosts.c: where the database is ---- */

#define DB_HOSTS_MAX 16 /* of one connection string */

struct db_host {
	char name[256];   /* host, directory of a Unix socket, or "" */
	char address[64]; /* hostaddr, or "" */
	char port[16];
	bool asked; /* its name is looked up */
};

/* Who waits for the addresses; zeroed but for fn and arg. */
struct db_hosts_wait {
	void (*fn)(void *arg);
	void *arg;
	bool waits;
	struct db_hosts_wait *next;
};

struct db_hosts {
	struct db_host list[DB_HOSTS_MAX];
	unsigned count;
	unsigned asked[DB_HOSTS_MAX], asked_count; /* the question: places in list */
	struct resolver *resolver;                 /* NULL: nothing to look up */
	struct resolved known;                     /* last addresses of each name */
	int64_t answered_us;                       /* 0 = never */
	bool asking;
	struct db_hosts_wait *waiting;
};

/* Reads the hosts of a connection string. loop may be NULL: nothing is ever asked. ST_INVALID_ARGUMENT when hosts, addresses and ports
 * do not fit each other, or are too many. */
MUST_USE enum status db_hosts_init(struct db_hosts *hosts, const struct db_conninfo *info, struct loop *loop);
void db_hosts_close(struct db_hosts *hosts); /* after loop_run has returned */
/* Calls the waiter once when the addresses are known anew; at once when there is nothing to look up or it was done a moment ago. */
void db_hosts_ask(struct db_hosts *hosts, struct db_hosts_wait *wait);
void db_hosts_forget(struct db_hosts *hosts,
                     struct db_hosts_wait *wait); /* it is not called; nothing when it does not wait */
/* The connection string with each address that is known now beside its host, beginning `turn` places later and going on from the
 * start. ST_NOT_FOUND when there is no address; ST_UNAVAILABLE without memory. */
MUST_USE enum status db_hosts_conninfo(const struct db_hosts *hosts, const struct db_conninfo *info, unsigned turn,
                                       struct db_conninfo *ret_info);

/* ---- db_lane.c: one connection in pipeline mode ---- */

enum db_entry_kind { DB_ENTRY_PREPARE, DB_ENTRY_QUERY, DB_ENTRY_SYNC };
/* One result that the connection still owes, in order. */
struct db_entry {
	enum db_entry_kind kind;
	struct db_request *request; /* NULL: nobody waits for it; SYNC: what ends with it, NULL in read lanes */
};

enum db_lane_state { DB_DOWN, DB_RESOLVING, DB_CONNECTING, DB_UP };

struct db_lane {
	struct db *db;
	enum db_kind kind;
	enum db_lane_state state;
	PGconn *conn;
	struct loop_watch *watch;
	struct loop_timer *timer; /* DOWN: next attempt; RESOLVING, CONNECTING: gives up; UP: hung backend */
	struct db_hosts_wait hosts_wait;
	unsigned failures; /* connection attempts in a row */
	unsigned turn;     /* of several hosts: where the next attempt begins */
	struct db_cache cache;
	struct db_entry *owed; /* ring, size is a power of two */
	size_t owed_size, owed_head, owed_count;
	unsigned in_flight;  /* requests sent and not finished */
	unsigned syncs;      /* groups in flight */
	bool doomed;         /* takes no more requests; reconnects when empty */
	int64_t progress_us; /* something arrived, or the first request was sent */
};

void db_lane_init(struct db_lane *lane, struct db *db, enum db_kind kind);
void db_lane_start(struct db_lane *lane, int64_t delay_us); /* begins to connect, at once or later; once in its life */
void db_lane_close(struct db_lane *lane);                   /* for good; fails what is in flight */
bool db_lane_usable(const struct db_lane *lane);
/* Puts a statement on the connection; sent by db_lane_sync. False: the lane was lost, the request was not taken. */
MUST_USE bool db_lane_send(struct db_lane *lane, struct db_request *request);
/* Ends the group and sends it. The database commits here: outside of read lanes the request ends with the Sync. */
void db_lane_sync(struct db_lane *lane, struct db_request *request);
/* Breaks the connection and begins anew. */
void db_lane_lose(struct db_lane *lane, const char *reason);

/* ---- db_group.c: reads of one statement, asked together ---- */
/* A group of `first` and those behind it in the read queue, or `first` itself when none goes with it. */
struct db_request *db_group_gather(struct db *db, struct db_request *first);

/* ---- db_pump.c: who gets a connection ---- */

/* Sends what waits to the lanes that have room. */
void db_pump(void *db);

/* ---- db_block.c: blocking connections, for threads without a loop ---- */

struct db_pool {
	pthread_mutex_t lock;
	struct db_block *idle; /* list */
	unsigned idle_count;
};

/* A connection for one caller at a time; give closes it when a statement left it in no good state. */
struct db_block;
MUST_USE enum status db_block_take(struct db *db, struct db_block **ret_block);
void db_block_give(struct db *db, struct db_block **block);
MUST_USE enum status db_block_run(struct db_block *block, const struct db_stmt *stmt, const struct db_args *args,
                                  int64_t deadline_us, PGresult **ret_result);
void db_pool_free(struct db_pool *pool);

/* ---- the gate ---- */

struct db {
	struct loop *loop;
	void (*pump)(void *db); /* db_pump, which stands above those who want it run */
	struct db_conninfo info[DB_KINDS];
	struct db_hosts hosts;
	unsigned statement_timeout_ms;
	struct db_lane *lanes[DB_KINDS]; /* arrays */
	unsigned lane_count[DB_KINDS];
	atomic_uint lanes_up[DB_KINDS];
	struct db_queue queue[DB_KINDS];
	bool pumping; /* a pump is posted */
	bool closing;
	struct db_args group_args; /* of the group that is being sent */
	struct db_request *spare;  /* freed requests */
	unsigned spare_count;
	struct db_pool pool;
	int64_t down_since_us, told_us; /* connecting fails since; the log has a line about it; 0 = no */
	struct metric *latency[DB_KINDS], *lost, *reconnects;
};
