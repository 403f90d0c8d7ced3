/* The database gate: running one statement, and the life of the gate. */
#include "db/db_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define LANE_APART_US (30 * US_PER_MS) /* between the first connections of a process */

/* ---- running ---- */

/* The fiber gave up waiting. */
static enum status db_abandon(struct db *db, struct db_request *request)
{
	if (request->state == DB_SENT) {
		enum status status = request->stmt->kind == DB_WRITE ? ST_LOST : ST_DEADLINE_EXCEEDED;
		request->abandoned = true;
		request->args = NULL;
		return status;
	}
	enum db_kind kind = request->stmt->kind;
	db_queue_remove(&db->queue[kind], request);
	db_request_free(db, request);
	return atomic_load_explicit(&db->lanes_up[kind], memory_order_relaxed) > 0 ? ST_DEADLINE_EXCEEDED
	                                                                           : ST_UNAVAILABLE;
}

static enum status db_run_fiber(struct db *db, struct db_request *request, struct arena *arena, int64_t deadline_us,
                                struct db_rows *ret_rows)
{
	enum db_kind kind = request->stmt->kind;
	wait_init(&request->wait, db->loop);
	if (request->stmt->ahead)
		db_queue_push_front(&db->queue[kind], request);
	else
		db_queue_push(&db->queue[kind], request);
	db_pump_later(db);
	if (!wait_for(&request->wait, deadline_us) && request->state != DB_DONE)
		return db_abandon(db, request);
	PGresult *result = request->result;
	struct db_shared *shared = request->shared;
	enum status status = request->status;
	int row = request->row;
	request->result = NULL;
	request->shared = NULL;
	metric_observe_us(db->latency[kind], clock_monotonic_us() - request->begun_us);
	db_request_free(db, request);
	return shared ? db_deliver_shared(shared, row, arena, ret_rows) : db_deliver(result, status, arena, ret_rows);
}

static enum status db_run_block(struct db *db, const struct db_stmt *stmt, const struct db_args *args,
                                int64_t deadline_us, PGresult **ret_result)
{
	struct db_block *block = NULL;
	enum status status = db_block_take(db, &block);
	if (status != ST_OK)
		return status;
	status = db_block_run(block, stmt, args, deadline_us, ret_result);
	db_block_give(db, &block);
	return status;
}

enum status db_run(struct db *db, const struct db_stmt *stmt, const struct db_args *args, struct arena *arena,
                   int64_t deadline_us, struct db_rows *ret_rows)
{
	if (args && args->failed) {
		log_event(LOG_ERROR, "parameters of a statement do not fit", "stmt", stmt->name, NULL);
		return ST_INTERNAL;
	}
	deadline_us = db_deadline(deadline_us);
	if (!db->loop || !fiber_active()) {
		PGresult *result = NULL;
		enum status status = db_run_block(db, stmt, args, deadline_us, &result);
		return db_deliver(result, status, arena, ret_rows);
	}
	if (db->closing || (db->queue[stmt->kind].count >= DB_QUEUE_MAX && !stmt->ahead))
		return ST_UNAVAILABLE;
	struct db_request *request = db_request_new(db);
	if (!request)
		return ST_UNAVAILABLE;
	request->stmt = stmt;
	request->args = args;
	return db_run_fiber(db, request, arena, deadline_us, ret_rows);
}

/* ---- life ---- */

static void db_start(void *arg)
{
	struct db *db = arg;
	int64_t delay_us = 0;
	/* A connection of each kind first: logging in costs both sides milliseconds of computing (SCRAM), and calls wait. */
	for (int kind = 0; kind < DB_KINDS; kind++) {
		for (unsigned i = 0; i < db->lane_count[kind]; i++) {
			delay_us += i == 0 ? 0 : LANE_APART_US;
			db_lane_start(&db->lanes[kind][i], i == 0 ? 0 : delay_us);
		}
	}
}

static void db_init_metrics(struct db *db)
{
	db->latency[DB_READ] = metric_histogram("denizen_db_seconds", "kind=\"read\"", "Time of a database statement.");
	db->latency[DB_WRITE] =
	    metric_histogram("denizen_db_seconds", "kind=\"write\"", "Time of a database statement.");
	db->lost = metric_counter("denizen_db_lost_total", "", "Writes whose outcome is unknown.");
	db->reconnects = metric_counter("denizen_db_reconnects_total", "", "Database connections that were lost.");
}

struct db *db_new(const struct db_options *options)
{
	struct db *db = calloc(1, sizeof(*db));
	if (!db)
		return NULL;
	db->loop = options->loop;
	db->pump = db_pump;
	db->statement_timeout_ms = options->statement_timeout_ms;
	pthread_mutex_init(&db->pool.lock, NULL);
	db_init_metrics(db);
	for (int kind = 0; kind < DB_KINDS; kind++) {
		/* Writes are keyed by ids: planning one anew for each value costs as much as running it. */
		if (db_conninfo_new(options, kind != DB_READ, &db->info[kind]) == ST_OK)
			continue;
		log_event(LOG_ERROR, "the database connection string is not valid", NULL);
		goto fail;
	}
	if (db_hosts_init(&db->hosts, &db->info[DB_READ], db->loop) != ST_OK) {
		log_event(LOG_ERROR, "hosts and ports of the database connection string do not fit each other", NULL);
		goto fail;
	}
	if (!db->loop)
		return db;
	const unsigned counts[DB_KINDS] = {options->read_lanes, options->write_lanes};
	for (int kind = 0; kind < DB_KINDS; kind++) {
		unsigned count = counts[kind] > DB_LANES_MAX ? DB_LANES_MAX : counts[kind];
		db->lanes[kind] = calloc(count ? count : 1, sizeof(struct db_lane));
		if (!db->lanes[kind])
			goto fail;
		db->lane_count[kind] = count;
		for (unsigned i = 0; i < count; i++)
			db_lane_init(&db->lanes[kind][i], db, kind);
	}
	loop_post(db->loop, db_start, db);
	return db;
fail:
	db_free(&db);
	return NULL;
}

void db_free(struct db **db_ref)
{
	struct db *db = *db_ref;
	if (!db)
		return;
	db->closing = true;
	for (int kind = 0; kind < DB_KINDS; kind++) {
		for (unsigned i = 0; i < db->lane_count[kind]; i++)
			db_lane_close(&db->lanes[kind][i]);
		free(db->lanes[kind]);
	}
	struct db_request *request;
	while ((request = db_queue_pop(&db->queue[DB_READ])) || (request = db_queue_pop(&db->queue[DB_WRITE])))
		db_request_free(db, request);
	while (db->spare) {
		request = db->spare;
		db->spare = request->next;
		free(request);
	}
	db_pool_free(&db->pool);
	db_hosts_close(&db->hosts);
	for (int kind = 0; kind < DB_KINDS; kind++)
		db_conninfo_free(&db->info[kind]);
	free(db);
	*db_ref = NULL;
}

bool db_ready(const struct db *db)
{
	for (int kind = 0; kind < DB_KINDS; kind++) {
		if (db->lane_count[kind] > 0 && atomic_load(&((struct db *)db)->lanes_up[kind]) == 0)
			return false;
	}
	return true;
}
