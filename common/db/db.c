/* The database gate: queues of requests, their distribution over pipelined lanes, db_run. */
#include "db/db_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 1024
/* A lane takes a group of up to READ_GROUP requests behind one Sync, and a second group while the first is in work. */
#define READ_GROUP 64
#define READ_GROUPS 2
/* A write is a group of its own: its commit is one flush of the log. A second one waits in the server, not here. */
#define WRITE_DEPTH 2
#define LANE_APART_US (30 * US_PER_MS) /* between the first connections of a process */

/* ---- queues ---- */

void db_queue_push(struct db_queue *queue, struct db_request *request)
{
	request->next = NULL;
	if (queue->tail)
		queue->tail->next = request;
	else
		queue->head = request;
	queue->tail = request;
	queue->count++;
}

void db_queue_push_front(struct db_queue *queue, struct db_request *request)
{
	request->next = queue->head;
	queue->head = request;
	if (!queue->tail)
		queue->tail = request;
	queue->count++;
}

struct db_request *db_queue_pop(struct db_queue *queue)
{
	struct db_request *request = queue->head;
	if (!request)
		return NULL;
	queue->head = request->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	return request;
}

void db_queue_remove(struct db_queue *queue, struct db_request *request)
{
	struct db_request *before = NULL;
	for (struct db_request *at = queue->head; at; before = at, at = at->next) {
		if (at != request)
			continue;
		*(before ? &before->next : &queue->head) = at->next;
		if (queue->tail == at)
			queue->tail = before;
		queue->count--;
		return;
	}
}

/* ---- requests ---- */

struct db_request *db_request_new(struct db *db)
{
	struct db_request *request = db->spare;
	if (request) {
		db->spare = request->next;
		db->spare_count--;
		memset(request, 0, sizeof(*request));
	} else {
		request = calloc(1, sizeof(*request));
	}
	if (request)
		request->begun_us = clock_monotonic_us();
	return request;
}

void db_request_free(struct db *db, struct db_request *request)
{
	while (request->members) {
		struct db_request *member = request->members;
		request->members = member->next;
		db_request_free(db, member);
	}
	if (request->shared)
		db_shared_release(request->shared);
	PQclear(request->result);
	if (db->spare_count == SPARE_MAX) {
		free(request);
		return;
	}
	request->next = db->spare;
	db->spare = request;
	db->spare_count++;
}

void db_request_finish(struct db *db, struct db_request *request, enum status status, PGresult *result)
{
	if (request->members) {
		db_group_finish(db, request, status, result);
		return;
	}
	if (request->abandoned) {
		PQclear(result);
		db_request_free(db, request);
		return;
	}
	request->state = DB_DONE;
	request->status = status;
	request->result = result;
	if (!request->wait.timed_out) /* then its fiber is on its way already and looks at the state */
		wait_done(&request->wait);
}

void db_request_requeue(struct db *db, struct db_request *request)
{
	if (request->members) {
		db_group_requeue(db, request, request->alone);
		return;
	}
	if (request->abandoned || request->attempts >= DB_ATTEMPTS_MAX) {
		db_request_finish(db, request, request->status == ST_OK ? ST_UNAVAILABLE : request->status, NULL);
		return;
	}
	request->state = DB_QUEUED;
	db_queue_push_front(&db->queue[request->stmt->kind], request);
	db_pump_later(db);
}

/* ---- distribution ---- */

static struct db_lane *db_pick_lane(struct db *db, enum db_kind kind)
{
	struct db_lane *best = NULL;
	for (unsigned i = 0; i < db->lane_count[kind]; i++) {
		struct db_lane *lane = &db->lanes[kind][i];
		if (!db_lane_usable(lane))
			continue;
		bool busy = kind == DB_READ ? lane->syncs >= READ_GROUPS && !db->queue[DB_READ].head->alone
		                            : lane->in_flight >= WRITE_DEPTH;
		if (busy)
			continue;
		if (!best || lane->in_flight < best->in_flight)
			best = lane;
	}
	return best;
}

/* One group of reads: all that wait, behind one Sync. A request that was aborted by a neighbour goes alone. */
static void db_send_reads(struct db *db, struct db_lane *lane)
{
	struct db_queue *queue = &db->queue[DB_READ];
	for (unsigned sent = 0; sent < READ_GROUP && queue->head; sent++) {
		bool alone = queue->head->alone;
		if (alone && sent > 0)
			break;
		struct db_request *request = db_group_gather(db, db_queue_pop(queue));
		if (!db_lane_send(lane, request)) {
			db_request_requeue(db, request);
			return;
		}
		if (alone)
			break;
	}
	db_lane_sync(lane, NULL);
}

static void db_send_write(struct db *db, struct db_lane *lane)
{
	struct db_request *request = db_queue_pop(&db->queue[DB_WRITE]);
	if (db_lane_send(lane, request))
		db_lane_sync(lane, request);
	else
		db_request_requeue(db, request);
}

static void db_pump(void *arg)
{
	struct db *db = arg;
	struct db_lane *lane;
	db->pumping = false;
	if (db->closing)
		return;
	while (db->queue[DB_READ].head && (lane = db_pick_lane(db, DB_READ)))
		db_send_reads(db, lane);
	while (db->queue[DB_WRITE].head && (lane = db_pick_lane(db, DB_WRITE)))
		db_send_write(db, lane);
}

void db_pump_later(struct db *db)
{
	if (db->pumping || db->closing)
		return;
	db->pumping = true;
	loop_post(db->loop, db_pump, db);
}

int64_t db_deadline(int64_t deadline_us)
{
	return deadline_us ? deadline_us : clock_monotonic_us() + DB_DEFAULT_BUDGET_US;
}

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
	if (db->closing || db->queue[stmt->kind].count >= DB_QUEUE_MAX)
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
