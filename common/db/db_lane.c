/* A lane: one Postgres connection in pipeline mode. Connects, sends groups of requests, reads results, reconnects.
 *
 * A group is what stands before one Sync: an error aborts the rest of its group. A write is a group of its own. Reads
 * share a group, which costs the server one transaction and one reply for all; those that a neighbour's error aborted
 * were not executed and are sent again. */
#include "db/db_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_FIRST_US 50000LL
#define BACKOFF_MAX_US 1000000LL
#define BACKOFF_PATIENT 8           /* attempts before the doubling begins */
#define CHECK_INTERVAL_US 1000000LL /* how often a lane looks whether its backend is alive */
#define HUNG_GRACE_US 1000000LL     /* beyond the statement timeout */
#define TELL_AFTER_US 1000000LL
#define TELL_AGAIN_US 10000000LL

static void lane_event(void *arg);
static void lane_timer(void *arg);
static void lane_resolve(struct db_lane *lane);
static void lane_connect(void *arg);

void db_lane_init(struct db_lane *lane, struct db *db, enum db_kind kind)
{
	*lane = (struct db_lane){.db = db, .kind = kind, .hosts_wait = {.fn = lane_connect, .arg = lane}};
}

bool db_lane_usable(const struct db_lane *lane)
{
	return lane->state == DB_UP && !lane->doomed;
}

/* ---- results still owed ---- */

static bool owed_push(struct db_lane *lane, enum db_entry_kind kind, struct db_request *request)
{
	if (lane->owed_count == lane->owed_size) {
		size_t size = lane->owed_size ? lane->owed_size * 2 : 256;
		struct db_entry *owed = calloc(size, sizeof(*owed));
		if (!owed)
			return false;
		for (size_t i = 0; i < lane->owed_count; i++)
			owed[i] = lane->owed[(lane->owed_head + i) & (lane->owed_size - 1)];
		free(lane->owed);
		lane->owed = owed;
		lane->owed_size = size;
		lane->owed_head = 0;
	}
	size_t at = (lane->owed_head + lane->owed_count++) & (lane->owed_size - 1);
	lane->owed[at] = (struct db_entry){kind, request};
	return true;
}

static void owed_pop(struct db_lane *lane)
{
	lane->owed_head = (lane->owed_head + 1) & (lane->owed_size - 1);
	lane->owed_count--;
}

/* ---- down and up ---- */

/* Ends a request whose connection broke before its end. */
static void lane_fail_request(struct db_lane *lane, struct db_request *request)
{
	struct db *db = lane->db;
	PGresult *result = request->result;
	request->result = NULL;
	if (db->closing) {
		PQclear(result);
		db_request_free(db, request);
		return;
	}
	if (request->status != ST_OK && !request->again) { /* an error came: certainly not executed */
		db_request_finish(db, request, request->status, result);
		return;
	}
	PQclear(result);
	if (request->again || (lane->kind == DB_READ && request->lost < DB_LOST_MAX)) {
		request->lost++;
		db_request_requeue(db, request);
		return;
	}
	bool unknown = lane->kind == DB_WRITE;
	if (unknown)
		metric_add(db->lost, 1);
	db_request_finish(db, request, unknown ? ST_LOST : ST_UNAVAILABLE, NULL);
}

/* Newest first, because those that are sent again go to the front of the queue. */
static void lane_fail_owed(struct db_lane *lane)
{
	struct db_entry *owed = lane->owed;
	size_t head = lane->owed_head, count = lane->owed_count, mask = lane->owed_size - 1;
	enum db_entry_kind ends = lane->kind == DB_READ ? DB_ENTRY_QUERY : DB_ENTRY_SYNC;
	lane->owed = NULL;
	lane->owed_size = lane->owed_head = lane->owed_count = 0;
	lane->in_flight = lane->syncs = 0;
	for (size_t i = count; i > 0; i--) {
		struct db_entry *entry = &owed[(head + i - 1) & mask];
		if (entry->kind == ends && entry->request)
			lane_fail_request(lane, entry->request);
	}
	free(owed);
}

static void lane_disconnect(struct db_lane *lane)
{
	db_hosts_forget(&lane->db->hosts, &lane->hosts_wait);
	if (lane->watch)
		loop_unwatch(lane->db->loop, &lane->watch);
	PQfinish(lane->conn);
	lane->conn = NULL;
	db_cache_clear(&lane->cache);
	if (lane->state == DB_UP)
		atomic_fetch_sub(&lane->db->lanes_up[lane->kind], 1);
	lane->state = DB_DOWN;
	lane->doomed = false;
}

/* Between half and the whole of 50 ms, some times (a server that starts takes so long), then 100 ms ... 1 s; not the whole, so that
 * many processes do not come back at the same moment. */
static int64_t lane_backoff_us(struct db_lane *lane)
{
	unsigned beyond = lane->failures < BACKOFF_PATIENT ? 0 : lane->failures - BACKOFF_PATIENT;
	int64_t most_us = BACKOFF_FIRST_US << (beyond < 5 ? beyond : 5);
	if (most_us > BACKOFF_MAX_US)
		most_us = BACKOFF_MAX_US;
	uint32_t random;
	secret_random(&random, sizeof(random));
	lane->failures++;
	return most_us / 2 + (int64_t)(random % (uint32_t)(most_us / 2));
}

/* One line for all lanes: at once when connections are lost; when none can be made, after a time that a server needs to start; then
 * now and again. */
static void lane_tell(struct db_lane *lane, bool was_up, const char *reason)
{
	struct db *db = lane->db;
	int64_t now_us = clock_monotonic_us();
	if (!db->down_since_us)
		db->down_since_us = now_us;
	if (db->told_us ? now_us - db->told_us < TELL_AGAIN_US : !was_up && now_us - db->down_since_us < TELL_AFTER_US)
		return;
	db->told_us = now_us;
	log_event(LOG_WARN, was_up ? "database connection lost" : "database cannot be reached", "reason", reason,
	          "for_ms", LOG_NUM((now_us - db->down_since_us) / US_PER_MS), NULL);
}

static void lane_tell_up(struct db_lane *lane)
{
	if (lane->db->told_us)
		log_event(LOG_INFO, "database is reached again", NULL);
	lane->db->told_us = lane->db->down_since_us = 0;
}

void db_lane_lose(struct db_lane *lane, const char *reason)
{
	if (lane->state == DB_DOWN)
		return;
	bool was_up = lane->state == DB_UP;
	lane_tell(lane, was_up, reason);
	if (was_up)
		metric_add(lane->db->reconnects, 1);
	lane_disconnect(lane);
	loop_timer_set(lane->timer, clock_monotonic_us() + lane_backoff_us(lane));
	lane_fail_owed(lane);
}

void db_lane_close(struct db_lane *lane)
{
	if (lane->timer)
		loop_timer_free(&lane->timer);
	lane_disconnect(lane);
	lane_fail_owed(lane);
}

/* Notices and what arrives on an idle connection are not for stderr. */
static void lane_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static void lane_up(struct db_lane *lane)
{
	if (PQsetnonblocking(lane->conn, 1) != 0 || PQenterPipelineMode(lane->conn) != 1) {
		db_lane_lose(lane, "pipeline mode refused");
		return;
	}
	PQsetNoticeProcessor(lane->conn, lane_notice, NULL);
	lane->state = DB_UP;
	lane->failures = 0;
	lane->progress_us = clock_monotonic_us();
	atomic_fetch_add(&lane->db->lanes_up[lane->kind], 1);
	lane_tell_up(lane);
	lane->watch = loop_watch_fd(lane->db->loop, PQsocket(lane->conn), lane_event, lane);
	loop_timer_set(lane->timer, lane->progress_us + CHECK_INTERVAL_US);
	db_pump_later(lane->db);
}

/* libpq may change its socket in each step, so it is watched anew. */
static void lane_connect_step(struct db_lane *lane)
{
	if (lane->watch)
		loop_unwatch(lane->db->loop, &lane->watch);
	PostgresPollingStatusType step = PQconnectPoll(lane->conn);
	if (step == PGRES_POLLING_OK) {
		lane_up(lane);
		return;
	}
	if (step == PGRES_POLLING_FAILED) {
		db_lane_lose(lane, PQerrorMessage(lane->conn));
		return;
	}
	lane->watch = loop_watch_fd(lane->db->loop, PQsocket(lane->conn), lane_event, lane);
	loop_watch_writable(lane->watch, step == PGRES_POLLING_WRITING);
}

void db_lane_start(struct db_lane *lane, int64_t delay_us)
{
	lane->timer = loop_timer_new(lane->db->loop, lane_timer, lane);
	if (delay_us > 0)
		loop_timer_set(lane->timer, clock_monotonic_us() + delay_us); /* DOWN until then */
	else
		lane_resolve(lane);
}

static void lane_resolve(struct db_lane *lane)
{
	lane->state = DB_RESOLVING;
	loop_timer_set(lane->timer, clock_monotonic_us() + DB_RESOLVE_TIMEOUT_US);
	db_hosts_ask(&lane->db->hosts, &lane->hosts_wait); /* goes on in lane_connect, or in lane_timer */
}

static void lane_connect(void *arg)
{
	struct db_lane *lane = arg;
	struct db *db = lane->db;
	struct db_conninfo info = {0};
	enum status status = db_hosts_conninfo(&db->hosts, &db->info[lane->kind], lane->turn, &info);
	if (status != ST_OK) {
		db_lane_lose(lane, status == ST_NOT_FOUND ? "no address of the host is known" : "out of memory");
		return;
	}
	lane->conn = PQconnectStartParams((const char *const *)info.keywords, (const char *const *)info.values, 0);
	db_conninfo_free(&info);
	lane->state = DB_CONNECTING;
	if (!lane->conn || PQstatus(lane->conn) == CONNECTION_BAD) {
		db_lane_lose(lane, lane->conn ? PQerrorMessage(lane->conn) : "out of memory");
		return;
	}
	loop_timer_set(lane->timer, clock_monotonic_us() + DB_CONNECT_TIMEOUT_US);
	lane->watch = loop_watch_fd(db->loop, PQsocket(lane->conn), lane_event, lane);
	loop_watch_writable(lane->watch, true);
}

static void lane_timer(void *arg)
{
	struct db_lane *lane = arg;
	if (lane->state == DB_DOWN) {
		lane_resolve(lane);
		return;
	}
	if (lane->state == DB_RESOLVING) { /* the resolver is silent: with what is known */
		db_hosts_forget(&lane->db->hosts, &lane->hosts_wait);
		lane_connect(lane);
		return;
	}
	if (lane->state == DB_CONNECTING) {
		lane->turn++; /* libpq leaves a silent host only in its blocking calls */
		db_lane_lose(lane, "no answer to the connection attempt");
		return;
	}
	int64_t now_us = clock_monotonic_us();
	int64_t patience_us = lane->db->statement_timeout_ms * US_PER_MS + HUNG_GRACE_US;
	if (lane->owed_count > 0 && now_us - lane->progress_us > patience_us)
		db_lane_lose(lane, "no answer within the statement timeout");
	else
		loop_timer_set(lane->timer, now_us + CHECK_INTERVAL_US);
}

/* ---- sending ---- */

static void lane_flush(struct db_lane *lane)
{
	int left = PQflush(lane->conn);
	if (left < 0)
		db_lane_lose(lane, "sending failed");
	else
		loop_watch_writable(lane->watch, left > 0);
}

static bool lane_prepare(struct db_lane *lane, struct db_request *request, const char *name)
{
	const struct db_args *args = request->args;
	return PQsendPrepare(lane->conn, name, request->stmt->sql, args ? args->count : 0,
	                     args ? (const Oid *)args->types : NULL) &&
	       owed_push(lane, DB_ENTRY_PREPARE, request);
}

static bool lane_query(struct db_lane *lane, struct db_request *request)
{
	const struct db_args *args = request->args;
	struct db_prepared *prepared = db_cache_find(&lane->cache, request->stmt->name);
	char name[DB_SERVER_NAME_SIZE];
	if (!prepared)
		return false;
	db_cache_server_name(prepared, name);
	if (!prepared->ready && !lane_prepare(lane, request, name))
		return false;
	prepared->ready = true;
	request->generation = prepared->generation;
	if (!args)
		return PQsendQueryPrepared(lane->conn, name, 0, NULL, NULL, NULL, 1);
	return PQsendQueryPrepared(lane->conn, name, args->count, args->values, args->lengths, db_binary_formats, 1);
}

static void lane_sent(struct db_lane *lane, struct db_request *request)
{
	if (lane->in_flight++ == 0)
		lane->progress_us = clock_monotonic_us();
	request->state = DB_SENT;
}

bool db_lane_send(struct db_lane *lane, struct db_request *request)
{
	request->attempts++;
	request->status = ST_OK;
	request->again = false;
	if (!lane_query(lane, request) || !owed_push(lane, DB_ENTRY_QUERY, request)) {
		db_lane_lose(lane, PQerrorMessage(lane->conn));
		return false;
	}
	lane_sent(lane, request);
	return true;
}

void db_lane_sync(struct db_lane *lane, struct db_request *request)
{
	if (lane->state != DB_UP)
		return;
	if (!owed_push(lane, DB_ENTRY_SYNC, request)) {
		/* without memory: the request cannot be found in the ring */
		db_lane_lose(lane, "out of memory");
		if (request)
			lane_fail_request(lane, request);
		return;
	}
	lane->syncs++;
	if (!PQpipelineSync(lane->conn)) /* libpq 15 sends here */
		db_lane_lose(lane, PQerrorMessage(lane->conn));
	else
		lane_flush(lane);
}

/* ---- receiving ---- */

static bool result_is_fatal(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* Writes down what an error means for its request. */
static void lane_note_error(struct db_lane *lane, struct db_request *request, PGresult *result)
{
	enum db_reaction reaction;
	const char *name = request ? request->stmt->name : "";
	enum status status = db_status_of(result, name, &reaction);
	if (reaction == DB_REACT_RECONNECT)
		lane->doomed = true;
	if (reaction == DB_REACT_PREPARE && request) {
		db_cache_forget(&lane->cache, name, request->generation);
		request->again = true;
	}
	if (!request) {
		PQclear(result);
		return;
	}
	PQclear(request->result);
	request->result = result;
	request->status = status;
}

static void lane_note_aborted(struct db_lane *lane, const struct db_entry *entry)
{
	struct db_request *request = entry->request;
	if (!request)
		return;
	if (entry->kind == DB_ENTRY_PREPARE)
		db_cache_forget(&lane->cache, request->stmt->name, request->generation);
	else if (request->status == ST_OK)
		request->again = request->alone = true; /* a neighbour failed */
}

/* Takes one result for the oldest entry. False: the connection is of no use any more. */
static bool lane_take(struct db_lane *lane, struct db_entry *entry, PGresult *result)
{
	struct db_request *request = entry->request;
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (entry->kind == DB_ENTRY_QUERY && request)
			request->result = result;
		else
			PQclear(result);
		return true;
	case PGRES_PIPELINE_ABORTED:
		lane_note_aborted(lane, entry);
		PQclear(result);
		return true;
	case PGRES_PIPELINE_SYNC:
		PQclear(result);
		return entry->kind == DB_ENTRY_SYNC;
	default:
		if (PQstatus(lane->conn) == CONNECTION_BAD || result_is_fatal(result)) {
			PQclear(result);
			return false;
		}
		lane_note_error(lane, request, result);
		return true;
	}
}

static void lane_end_request(struct db_lane *lane, struct db_request *request)
{
	PGresult *result = request->result;
	request->result = NULL;
	if (request->again) {
		PQclear(result);
		db_request_requeue(lane->db, request);
	} else {
		db_request_finish(lane->db, request, request->status, result);
	}
}

/* The oldest entry has all its results. */
static void lane_end_entry(struct db_lane *lane)
{
	struct db_entry entry = lane->owed[lane->owed_head];
	owed_pop(lane);
	if (entry.kind == DB_ENTRY_QUERY)
		lane->in_flight--;
	if (entry.kind == DB_ENTRY_SYNC)
		lane->syncs--;
	enum db_entry_kind ends = lane->kind == DB_READ ? DB_ENTRY_QUERY : DB_ENTRY_SYNC;
	if (entry.kind == ends && entry.request)
		lane_end_request(lane, entry.request);
}

/* Takes all results that have arrived. False: the connection is of no use any more. */
static bool lane_drain(struct db_lane *lane)
{
	unsigned empty = 0;
	while (lane->owed_count > 0 && !PQisBusy(lane->conn)) {
		struct db_entry *entry = &lane->owed[lane->owed_head];
		PGresult *result = PQgetResult(lane->conn);
		if (!result) {
			/* the end of a statement; at a Sync, of an error that the commit met */
			if (entry->kind != DB_ENTRY_SYNC)
				lane_end_entry(lane);
			else if (++empty > 2)
				return false;
			continue;
		}
		empty = 0;
		bool synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		if (!lane_take(lane, entry, result))
			return false;
		if (synced)
			lane_end_entry(lane);
	}
	if (lane->owed_count == 0)
		(void)PQisBusy(lane->conn); /* parses what an idle connection was told */
	return PQstatus(lane->conn) == CONNECTION_OK;
}

static void lane_event(void *arg)
{
	struct db_lane *lane = arg;
	if (lane->state == DB_CONNECTING) {
		lane_connect_step(lane);
		return;
	}
	bool alive = PQconsumeInput(lane->conn);
	lane->progress_us = clock_monotonic_us();
	if (!lane_drain(lane) || !alive) {
		db_lane_lose(lane, "closed by the server");
		return;
	}
	if (lane->doomed && lane->owed_count == 0) {
		db_lane_lose(lane, "the server cannot serve this connection");
		return;
	}
	lane_flush(lane);
	db_pump_later(lane->db);
}
