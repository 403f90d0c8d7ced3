/* Blocking connections for commands, tests and threads that are not fibers, and transactions of several statements on one. */
#include "db/db_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_MAX 8

struct db_block {
	PGconn *conn;
	struct db_cache cache;
	struct db_block *next;
};

static void block_free(struct db_block *block)
{
	PQfinish(block->conn);
	db_cache_clear(&block->cache);
	free(block);
}

static void block_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* An idle connection has nothing to say: when it is readable, the server closed it. */
static bool block_alive(struct db_block *block)
{
	struct pollfd item = {.fd = PQsocket(block->conn), .events = POLLIN};
	return poll(&item, 1, 0) == 0;
}

static struct db_block *block_take_idle(struct db *db)
{
	for (;;) {
		pthread_mutex_lock(&db->pool.lock);
		struct db_block *block = db->pool.idle;
		if (block) {
			db->pool.idle = block->next;
			db->pool.idle_count--;
		}
		pthread_mutex_unlock(&db->pool.lock);
		if (!block || block_alive(block))
			return block;
		block_free(block);
	}
}

enum status db_block_take(struct db *db, struct db_block **ret_block)
{
	struct db_block *block = block_take_idle(db);
	if (block) {
		*ret_block = block;
		return ST_OK;
	}
	block = calloc(1, sizeof(*block));
	if (!block)
		return ST_UNAVAILABLE;
	const struct db_conninfo *info = &db->info[DB_READ];
	block->conn = PQconnectdbParams((const char *const *)info->keywords, (const char *const *)info->values, 0);
	if (PQstatus(block->conn) != CONNECTION_OK) {
		log_event(LOG_WARN, "database cannot be reached", "reason", PQerrorMessage(block->conn), NULL);
		block_free(block);
		return ST_UNAVAILABLE;
	}
	PQsetNoticeProcessor(block->conn, block_notice, NULL);
	*ret_block = block;
	return ST_OK;
}

void db_block_give(struct db *db, struct db_block **block_ref)
{
	struct db_block *block = *block_ref;
	*block_ref = NULL;
	bool clean = PQstatus(block->conn) == CONNECTION_OK && PQtransactionStatus(block->conn) == PQTRANS_IDLE;
	pthread_mutex_lock(&db->pool.lock);
	bool keep = clean && db->pool.idle_count < IDLE_MAX;
	if (keep) {
		block->next = db->pool.idle;
		db->pool.idle = block;
		db->pool.idle_count++;
	}
	pthread_mutex_unlock(&db->pool.lock);
	if (!keep)
		block_free(block);
}

void db_pool_free(struct db_pool *pool)
{
	while (pool->idle) {
		struct db_block *block = pool->idle;
		pool->idle = block->next;
		block_free(block);
	}
	pthread_mutex_destroy(&pool->lock);
}

/* Waits for the result of what was sent. NULL: the deadline passed or the connection broke. */
static PGresult *block_wait(struct db_block *block, int64_t deadline_us)
{
	while (PQisBusy(block->conn)) {
		struct pollfd item = {.fd = PQsocket(block->conn), .events = POLLIN};
		int64_t left_us = deadline_us - clock_monotonic_us();
		int ready = left_us <= 0 ? 0 : poll(&item, 1, (int)((left_us + US_PER_MS - 1) / US_PER_MS));
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0 || !PQconsumeInput(block->conn))
			return NULL;
	}
	PGresult *result = PQgetResult(block->conn), *more;
	while ((more = PQgetResult(block->conn))) {
		PQclear(result); /* a second result is an error that came at the end */
		result = more;
	}
	return result;
}

static enum status block_prepare(struct db_block *block, struct db_prepared *prepared, const struct db_stmt *stmt,
                                 const struct db_args *args)
{
	char name[DB_SERVER_NAME_SIZE];
	enum db_reaction reaction;
	db_cache_server_name(prepared, name);
	PGresult *result =
	    PQprepare(block->conn, name, stmt->sql, args ? args->count : 0, args ? (const Oid *)args->types : NULL);
	enum status status = db_status_of(result, stmt->name, &reaction);
	prepared->ready = status == ST_OK;
	PQclear(result);
	return PQstatus(block->conn) == CONNECTION_OK ? status : ST_UNAVAILABLE;
}

/* One attempt; prepares first when needed. */
static enum status block_attempt(struct db_block *block, const struct db_stmt *stmt, const struct db_args *args,
                                 int64_t deadline_us, PGresult **ret_result)
{
	struct db_prepared *prepared = db_cache_find(&block->cache, stmt->name);
	enum db_reaction reaction = DB_REACT_NONE;
	char name[DB_SERVER_NAME_SIZE];
	if (!prepared)
		return ST_UNAVAILABLE;
	enum status status = prepared->ready ? ST_OK : block_prepare(block, prepared, stmt, args);
	if (status != ST_OK)
		return status;
	db_cache_server_name(prepared, name);
	if (!PQsendQueryPrepared(block->conn, name, args ? args->count : 0, args ? args->values : NULL,
	                         args ? args->lengths : NULL, db_binary_formats, 1))
		return ST_UNAVAILABLE;
	PGresult *result = block_wait(block, deadline_us);
	if (!result || PQstatus(block->conn) != CONNECTION_OK) {
		PQclear(result);
		return stmt->kind == DB_WRITE ? ST_LOST : ST_DEADLINE_EXCEEDED;
	}
	status = db_status_of(result, stmt->name, &reaction);
	if (reaction == DB_REACT_PREPARE)
		db_cache_forget(&block->cache, stmt->name, prepared->generation);
	*ret_result = result;
	return status;
}

enum status db_block_run(struct db_block *block, const struct db_stmt *stmt, const struct db_args *args,
                         int64_t deadline_us, PGresult **ret_result)
{
	PGresult *result = NULL;
	enum status status = block_attempt(block, stmt, args, deadline_us, &result);
	struct db_prepared *prepared = db_cache_find(&block->cache, stmt->name);
	bool stale = status != ST_OK && result && prepared && !prepared->ready;
	if (stale && PQtransactionStatus(block->conn) == PQTRANS_IDLE) {
		PQclear(result);
		result = NULL;
		status = block_attempt(block, stmt, args, deadline_us, &result);
	}
	*ret_result = result;
	return status;
}

static enum status block_control(struct db_block *block, const char *sql)
{
	enum db_reaction reaction;
	PGresult *result = PQexec(block->conn, sql);
	enum status status = db_status_of(result, sql, &reaction);
	bool commit = strcmp(sql, "COMMIT") == 0;
	if (status == ST_OK && commit && strcmp(PQcmdStatus(result), "COMMIT") != 0)
		status = ST_ABORTED; /* the server rolled back */
	PQclear(result);
	if (PQstatus(block->conn) != CONNECTION_OK)
		return commit ? ST_LOST : ST_UNAVAILABLE;
	return status;
}

/* ---- transactions ---- */

struct db_tx {
	struct db *db;
	struct db_block *block;
	int64_t deadline_us;
	bool failed, ended; /* a statement failed; COMMIT succeeded */
};

enum status db_begin(struct db *db, int64_t deadline_us, struct db_tx **ret_tx)
{
	assert(!fiber_active());
	struct db_tx *tx = calloc(1, sizeof(*tx));
	if (!tx)
		return ST_UNAVAILABLE;
	tx->db = db;
	tx->deadline_us = db_deadline(deadline_us);
	enum status status = db_block_take(db, &tx->block);
	if (status != ST_OK)
		goto fail;
	status = block_control(tx->block, "BEGIN");
	if (status != ST_OK)
		goto fail;
	*ret_tx = tx;
	return ST_OK;
fail:
	if (tx->block)
		db_block_give(db, &tx->block);
	free(tx);
	return status;
}

enum status db_tx_run(struct db_tx *tx, const struct db_stmt *stmt, const struct db_args *args, struct arena *arena,
                      struct db_rows *ret_rows)
{
	PGresult *result = NULL;
	enum status status = ST_INTERNAL;
	if (args && args->failed)
		log_event(LOG_ERROR, "parameters of a statement do not fit", "stmt", stmt->name, NULL);
	else if (tx->failed || tx->ended)
		status = ST_ABORTED;
	else
		status = db_block_run(tx->block, stmt, args, tx->deadline_us, &result);
	if (status != ST_OK)
		tx->failed = true;
	/* Nothing of a transaction whose connection broke was executed. */
	return db_deliver(result, status == ST_LOST ? ST_UNAVAILABLE : status, arena, ret_rows);
}

enum status db_commit(struct db_tx *tx)
{
	if (tx->failed || tx->ended)
		return ST_ABORTED;
	enum status status = block_control(tx->block, "COMMIT");
	tx->ended = status == ST_OK;
	tx->failed = !tx->ended;
	return status;
}

void db_end(struct db_tx **tx_ref)
{
	struct db_tx *tx = *tx_ref;
	if (!tx)
		return;
	if (!tx->ended)
		(void)block_control(tx->block, "ROLLBACK"); /* give looks at the connection */
	db_block_give(tx->db, &tx->block);
	free(tx);
	*tx_ref = NULL;
}
