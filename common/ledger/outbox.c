/* The relay of a process: a fiber that keeps the lease, and one that moves outbox rows to the ledger while it is held. A batch may take longer than
 * the lease lasts, so neither waits for the other; and both go before the calls that wait for the database, or load would hold up revocations. */
#include "ledger/outbox.h"

#include "audit.pb-c.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "common_sql.gen.h"
#include "db/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 500
#define BATCH_MAX_BYTES (1024u * 1024) /* of events, about: far below what a message of the bus may have */
#define BATCH_ARENA_BYTES (64u << 20)
/* A revocation must be in the ledger within a second, also when the leader dies just before it. */
#define LEASE_RENEW_US 200000LL   /* the lease itself lasts 0.75 s by the database's clock */
#define LEASE_TRUSTED_US 600000LL /* without a renewal we stop to believe in it */
#define LEASE_TRY_US 100000LL     /* others look whether it has run out */
#define LEASE_AGAIN_US 50000LL    /* the database is away */
#define POLL_US 100000LL          /* a nudge may be lost: so often the leader looks by itself */
#define NUDGE_PAUSE_US 3000LL     /* between two nudges */
#define NUDGE_BUDGET_US 50000LL
#define BACKOFF_FIRST_US 20000LL
#define BACKOFF_MAX_US 250000LL
#define PURGE_INTERVAL_US 60000000LL
#define OPERATION_LIFE_US (24LL * 3600 * US_PER_SEC)
#define CALL_BUDGET_US 5000000LL
#define WAITING_MAX 500 /* events of one reply, and about so many bytes of them */
#define WAITING_MAX_BYTES (1024u * 1024)

/* A fiber that sleeps and may be woken. */
struct nap {
	struct wait wait;
	bool sleeps;
};

struct outbox {
	struct loop *loop;
	struct db *db;
	struct client *client;
	outbox_send_fn send;
	char *source;
	struct id holder; /* this process as leader */
	bool leader;
	int64_t epoch;      /* of the lease we hold */
	int64_t renewed_us; /* monotonic, before the renewal was sent */
	int64_t purged_us, measured_us;
	int64_t backoff_us;
	unsigned refusals; /* of the same batch in a row */
	struct nap relay, lease;
	atomic_bool poked;
	atomic_bool stopping;
	bool relay_ended, ended; /* the relay's fiber has returned; the lease was given back */
	struct metric *depth, *lag, *rows, *batches, *failures, *is_leader, *nudges_sent, *nudges_taken;
};

/* One batch between reading and deleting. */
struct batch {
	struct arena *arena;
	struct sql_outbox_read_row *rows;
	size_t row_count;
	int64_t *ids;
	size_t count;  /* rows that it takes */
	int64_t epoch; /* of the lease when it was read */
	Audit__AppendRequest request;
};

/* ---- sleeping and waking ---- */

static void nap_take(struct outbox *outbox, struct nap *nap, int64_t us)
{
	wait_init(&nap->wait, outbox->loop);
	nap->sleeps = true;
	(void)wait_for(&nap->wait, clock_monotonic_us() + us);
	nap->sleeps = false;
}

static void nap_end(struct nap *nap)
{
	if (!nap->sleeps || nap->wait.timed_out)
		return;
	nap->sleeps = false;
	wait_done(&nap->wait);
}

static void outbox_wake(void *arg)
{
	struct outbox *outbox = arg;
	nap_end(&outbox->relay);
}

void outbox_poke(struct outbox *outbox)
{
	if (atomic_exchange(&outbox->poked, true))
		return; /* it knows */
	if (loop_on_thread(outbox->loop))
		outbox_wake(outbox);
	else
		loop_post(outbox->loop, outbox_wake, outbox);
}

/* Until a poke or the time. A poke that came before counts. */
static void outbox_sleep(struct outbox *outbox, int64_t us, bool ends_on_poke)
{
	if (atomic_load(&outbox->stopping) || (ends_on_poke && atomic_load(&outbox->poked)))
		return;
	if (ends_on_poke)
		nap_take(outbox, &outbox->relay, us);
	else
		fiber_sleep_us(outbox->loop, us);
}

/* ---- nudges ---- */

void outbox_topic(const char *source, uint8_t ret_topic[OUTBOX_TOPIC_SIZE])
{
	char topic[OUTBOX_TOPIC_SIZE + 1] = {0};
	snprintf(topic, sizeof(topic), "outbox:%s", source);
	memcpy(ret_topic, topic, OUTBOX_TOPIC_SIZE);
}

/* A nudge came. To a replica that does not lead it says nothing: it must not answer with one of its own. */
static void outbox_on_nudge(void *arg, const void *data, size_t len_bytes)
{
	struct outbox *outbox = arg;
	(void)data, (void)len_bytes;
	if (!outbox->leader)
		return;
	metric_add(outbox->nudges_taken, 1);
	outbox_poke(outbox);
}

/* Tells the leader that this process has committed rows. Lost, it costs at most the leader's next look. */
static void outbox_nudge(struct outbox *outbox)
{
	Audit__AppendRequest nothing = AUDIT__APPEND_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	struct client_call call = {.deadline_us = clock_monotonic_us() + NUDGE_BUDGET_US};
	struct arena *arena = arena_new(64 * 1024);
	nothing.source = outbox->source;
	metric_add(outbox->nudges_sent, 1);
	if (arena)
		(void)outbox->send(outbox->client, &call, M_AUDIT_APPEND, &nothing.base, arena, &reply);
	arena_free(&arena);
	outbox_sleep(outbox, NUDGE_PAUSE_US, false);
}

/* ---- the lease ---- */

static void outbox_set_leader(struct outbox *outbox, bool leader)
{
	if (outbox->leader != leader)
		log_event(LOG_INFO, leader ? "outbox relay leads" : "outbox relay leads no more", "source",
		          outbox->source, NULL);
	outbox->leader = leader;
	metric_set(outbox->is_leader, leader);
	if (leader)
		nap_end(&outbox->relay);
	else
		metric_set(outbox->depth, 0); /* another one tells it */
}

/* Takes or renews the lease. Returns how long after that the next time is. */
static int64_t outbox_keep_lease(struct outbox *outbox)
{
	int64_t now_us = clock_monotonic_us();
	int64_t until_us = (outbox->leader ? outbox->renewed_us : now_us) + LEASE_TRUSTED_US;
	struct arena *arena = arena_new(64 * 1024);
	struct sql_scope scope = {.db = outbox->db, .arena = arena, .deadline_us = until_us};
	struct sql_outbox_lease_row row;
	enum status status = ST_UNAVAILABLE;
	if (arena)
		status =
		    sql_one(&scope, &sql_outbox_lease, &(struct sql_outbox_lease){.holder = &outbox->holder}, &row);
	bool answered = status == ST_OK || status == ST_NOT_FOUND;
	if (status == ST_OK) {
		outbox->renewed_us = now_us;
		outbox->epoch = row.epoch;
		outbox_set_leader(outbox, true);
	} else if (answered || clock_monotonic_us() - outbox->renewed_us >= LEASE_TRUSTED_US) {
		outbox_set_leader(outbox, false);
	}
	arena_free(&arena);
	if (!answered)
		return LEASE_AGAIN_US;
	return outbox->leader ? LEASE_RENEW_US : LEASE_TRY_US;
}

static void outbox_release(struct outbox *outbox)
{
	if (!outbox->leader)
		return;
	struct arena *arena = arena_new(64 * 1024);
	struct sql_scope scope = {.db = outbox->db, .arena = arena, .deadline_us = clock_monotonic_us() + US_PER_SEC};
	int64_t rows;
	/* Failure only means that the others wait until the lease runs out. */
	enum status status = ST_UNAVAILABLE;
	if (arena)
		status = sql_run(&scope, &sql_outbox_release, &(struct sql_outbox_release){.holder = &outbox->holder},
		                 &rows);
	arena_free(&arena);
	if (status != ST_OK)
		log_event(LOG_WARN, "outbox lease was not given back", "source", outbox->source, "status",
		          status_name(status), NULL);
	outbox_set_leader(outbox, false);
}

/* ---- a batch ---- */

static enum status batch_read(struct outbox *outbox, struct batch *batch)
{
	struct sql_scope scope = {.db = outbox->db, .arena = batch->arena};
	batch->epoch = outbox->epoch;
	return sql_all(&scope, &sql_outbox_read, &(struct sql_outbox_read){.limit = BATCH_MAX}, &batch->rows,
	               &batch->row_count);
}

static enum status batch_build(struct outbox *outbox, struct batch *batch)
{
	size_t count = batch->row_count, bytes = 0;
	Audit__AppendItem *items = arena_alloc(batch->arena, count * sizeof(*items));
	Audit__AppendItem **list = arena_alloc(batch->arena, count * sizeof(*list));
	batch->ids = arena_alloc(batch->arena, count * sizeof(*batch->ids));
	if (!items || !list || !batch->ids)
		return ST_RESOURCE_EXHAUSTED;
	size_t i;
	for (i = 0; i < count && bytes < BATCH_MAX_BYTES; i++) {
		struct sql_outbox_read_row *row = &batch->rows[i];
		audit__append_item__init(&items[i]);
		batch->ids[i] = items[i].outbox_id = row->id;
		items[i].has_outbox_id = items[i].has_project_id = items[i].has_event = true;
		items[i].project_id = (ProtobufCBinaryData){ID_SIZE, row->project_id.bytes};
		items[i].event = (ProtobufCBinaryData){row->event.len, (uint8_t *)row->event.data};
		bytes += row->event.len;
		list[i] = &items[i];
	}
	batch->count = i;
	audit__append_request__init(&batch->request);
	batch->request.source = outbox->source;
	batch->request.items = list;
	batch->request.n_items = batch->count;
	return ST_OK;
}

/* Hands the batch to the ledger. A refusal is our bug or a damaged row: said loudly, tried again, never skipped, because
 * an order with a hole cannot be repaired. */
static enum status batch_send(struct outbox *outbox, struct batch *batch)
{
	ProtobufCMessage *reply = NULL;
	struct client_call call = {.deadline_us = clock_monotonic_us() + CALL_BUDGET_US};
	enum status status =
	    outbox->send(outbox->client, &call, M_AUDIT_APPEND, &batch->request.base, batch->arena, &reply);
	if (status == ST_OK) {
		outbox->refusals = 0;
		return ST_OK;
	}
	metric_add(outbox->failures, 1);
	bool retryable = status_info(status)->retryable;
	if (outbox->refusals++ % 60 == 0)
		log_event(retryable ? LOG_WARN : LOG_ERROR,
		          retryable ? "ledger cannot be reached, events wait in the outbox"
		                    : "LEDGER REFUSES EVENTS: the outbox is stuck at its oldest rows",
		          "source", outbox->source, "status", status_name(status), "field",
		          call.ret_field ? call.ret_field : "", "reason", call.ret_reason ? call.ret_reason : "",
		          "first_id", LOG_NUM(batch->ids[0]), "rows", LOG_NUM(batch->count), NULL);
	return status;
}

static enum status batch_delete(struct outbox *outbox, struct batch *batch)
{
	struct sql_scope scope = {.db = outbox->db, .arena = batch->arena};
	struct sql_outbox_delete params = {
	    .ids = {batch->ids, batch->count}, .holder = &outbox->holder, .epoch = batch->epoch};
	int64_t rows;
	enum status status = sql_run(&scope, &sql_outbox_delete, &params, &rows);
	if (status == ST_OK && rows == 0) { /* another one led: it sends them again, the ledger drops them */
		if (batch->epoch == outbox->epoch)
			outbox_set_leader(outbox, false);
		return ST_ABORTED;
	}
	return status;
}

/* Lag by the writer's clock: events carry their time. */
static void outbox_measure_lag(struct outbox *outbox, const struct batch *batch)
{
	const Audit__AppendItem *oldest = batch->request.items[0];
	Events__Event *event =
	    events__event__unpack(arena_protobuf(batch->arena), oldest->event.len, oldest->event.data);
	if (event && event->has_at_us)
		metric_observe_us(outbox->lag, clock_wall_us() - event->at_us);
}

/* Moves one batch. *ret_more: there may be further rows. */
static enum status outbox_move(struct outbox *outbox, bool *ret_more)
{
	struct batch batch = {.arena = arena_new(BATCH_ARENA_BYTES)};
	enum status status = ST_UNAVAILABLE;
	if (!batch.arena)
		goto out;
	status = batch_read(outbox, &batch);
	if (status != ST_OK || batch.row_count == 0)
		goto out;
	status = batch_build(outbox, &batch);
	if (status == ST_OK)
		status = batch_send(outbox, &batch);
	if (status == ST_OK) {
		outbox_measure_lag(outbox, &batch);
		status = batch_delete(outbox, &batch);
	}
	if (status == ST_OK) {
		metric_add(outbox->batches, 1);
		metric_add(outbox->rows, (int64_t)batch.count);
	}
out:
	if (status == ST_OK)
		*ret_more = batch.row_count == BATCH_MAX || batch.count < batch.row_count;
	arena_free(&batch.arena);
	return status;
}

/* ---- what waits ---- */

enum status outbox_read_waiting(struct db *db, struct arena *arena, int64_t deadline_us, Common__ReadOutboxReply *reply)
{
	struct sql_scope scope = {.db = db, .arena = arena, .deadline_us = deadline_us};
	struct sql_outbox_waiting_row *rows;
	size_t count, bytes = 0, i;
	enum status status =
	    sql_all(&scope, &sql_outbox_waiting, &(struct sql_outbox_waiting){.limit = WAITING_MAX + 1}, &rows, &count);
	if (status != ST_OK)
		return status;
	Common__WaitingEvent *events = arena_alloc(arena, (count + 1) * sizeof(*events));
	reply->events = arena_alloc(arena, (count + 1) * sizeof(*reply->events));
	if (!events || !reply->events)
		return ST_RESOURCE_EXHAUSTED;
	for (i = 0; i < count && i < WAITING_MAX && bytes < WAITING_MAX_BYTES; i++) {
		Common__WaitingEvent *event = reply->events[i] = &events[i];
		common__waiting_event__init(event);
		event->has_outbox_id = event->has_project_id = event->has_event = true;
		event->outbox_id = rows[i].id;
		event->project_id = (ProtobufCBinaryData){ID_SIZE, rows[i].project_id.bytes};
		event->event = (ProtobufCBinaryData){rows[i].event.len, (uint8_t *)rows[i].event.data};
		bytes += rows[i].event.len;
	}
	reply->n_events = i;
	reply->has_complete = true;
	reply->complete = i == count;
	return ST_OK;
}

/* ---- housekeeping ---- */

static void outbox_purge(struct outbox *outbox)
{
	int64_t now_us = clock_monotonic_us();
	if (now_us - outbox->purged_us < PURGE_INTERVAL_US)
		return;
	outbox->purged_us = now_us;
	struct arena *arena = arena_new(64 * 1024);
	struct sql_scope scope = {.db = outbox->db, .arena = arena};
	struct sql_outbox_purge params = {.before_us = clock_wall_us() - OPERATION_LIFE_US};
	int64_t rows;
	if (arena && sql_run(&scope, &sql_outbox_purge, &params, &rows) == ST_OK && rows > 0)
		outbox->purged_us = 0; /* there may be more: goes on after the next batch */
	arena_free(&arena);
}

static void outbox_measure_depth(struct outbox *outbox)
{
	int64_t now_us = clock_monotonic_us();
	if (now_us - outbox->measured_us < US_PER_SEC)
		return;
	outbox->measured_us = now_us;
	struct arena *arena = arena_new(64 * 1024);
	struct sql_scope scope = {.db = outbox->db, .arena = arena};
	struct sql_outbox_depth_row row;
	if (arena && sql_one(&scope, &sql_outbox_depth, NULL, &row) == ST_OK && outbox->leader)
		metric_set(outbox->depth, row.depth);
	arena_free(&arena);
}

/* ---- the fibers ---- */

static void outbox_back_off(struct outbox *outbox)
{
	outbox_sleep(outbox, outbox->backoff_us, false);
	outbox->backoff_us *= 2;
	if (outbox->backoff_us > BACKOFF_MAX_US)
		outbox->backoff_us = BACKOFF_MAX_US;
}

static void outbox_turn(struct outbox *outbox)
{
	bool more = false;
	if (!outbox->leader) {
		if (atomic_exchange(&outbox->poked, false))
			outbox_nudge(outbox);
		else
			outbox_sleep(outbox, US_PER_SEC, true); /* or until it leads */
		return;
	}
	/* Rows that are committed from here on are seen by the read or by a new poke. */
	atomic_store(&outbox->poked, false);
	enum status status = outbox_move(outbox, &more);
	outbox_measure_depth(outbox);
	if (status != ST_OK) {
		outbox_back_off(outbox);
		return;
	}
	outbox->backoff_us = BACKOFF_FIRST_US;
	if (more)
		return;
	outbox_purge(outbox);
	outbox_sleep(outbox, POLL_US, true);
}

static void outbox_fiber(void *arg)
{
	struct outbox *outbox = arg;
	while (!atomic_load(&outbox->stopping))
		outbox_turn(outbox);
	outbox->relay_ended = true;
	nap_end(&outbox->lease);
}

/* Keeps the lease until the last batch is done, then gives it back. */
static void outbox_lease_fiber(void *arg)
{
	struct outbox *outbox = arg;
	while (!outbox->relay_ended) {
		int64_t pause_us = outbox_keep_lease(outbox);
		if (!outbox->relay_ended)
			nap_take(outbox, &outbox->lease, pause_us);
	}
	outbox_release(outbox);
	outbox->ended = true;
}

static void outbox_begin(void *arg)
{
	struct outbox *outbox = arg;
	if (!fiber_spawn(outbox->loop, outbox_lease_fiber, outbox) || !fiber_spawn(outbox->loop, outbox_fiber, outbox))
		abort(); /* at start there are no others; a process without it would fail silently */
}

struct outbox *outbox_start(struct loop *loop, struct db *db, struct client *client, const char *source)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));
	if (!outbox || !(outbox->source = strdup(source)))
		abort();
	outbox->loop = loop;
	outbox->db = db;
	outbox->client = client;
	outbox->send = client_send;
	outbox->holder = id_new();
	outbox->backoff_us = BACKOFF_FIRST_US;
	outbox->purged_us = clock_monotonic_us();
	outbox->depth = metric_gauge("denizen_outbox_depth", "",
	                             "Events that wait for the ledger; 0 where another replica relays.");
	outbox->lag =
	    metric_histogram("denizen_outbox_lag_seconds", "", "From an event's time to its place in the ledger.");
	outbox->rows = metric_counter("denizen_outbox_events_total", "", "Events handed to the ledger.");
	outbox->batches = metric_counter("denizen_outbox_batches_total", "", "Batches handed to the ledger.");
	outbox->failures = metric_counter("denizen_outbox_failures_total", "", "Batches that the ledger did not take.");
	outbox->is_leader = metric_gauge("denizen_outbox_leader", "", "1 when this replica relays for its schema.");
	outbox->nudges_sent =
	    metric_counter("denizen_outbox_nudges_sent_total", "", "Hints to the replica that relays.");
	outbox->nudges_taken = metric_counter("denizen_outbox_nudges_taken_total", "", "Hints from other replicas.");
	uint8_t topic[OUTBOX_TOPIC_SIZE];
	outbox_topic(source, topic);
	if (client) /* none in tests without a bus */
		client_subscribe(client, PROCESS_AUDIT, topic, sizeof(topic), outbox_on_nudge, outbox);
	loop_post(loop, outbox_begin, outbox);
	return outbox;
}

void outbox_set_sender(struct outbox *outbox, outbox_send_fn send)
{
	outbox->send = send;
}

void outbox_stop(struct outbox *outbox)
{
	atomic_store(&outbox->stopping, true);
	atomic_store(&outbox->poked, true);
	if (!loop_on_thread(outbox->loop)) {
		loop_post(outbox->loop, outbox_wake, outbox);
		return;
	}
	outbox_wake(outbox);
	/* A fiber waits until the lease is given back. */
	for (int i = 0; fiber_active() && !outbox->ended && i < 200; i++)
		fiber_sleep_us(outbox->loop, 10000);
}

void outbox_free(struct outbox **outbox)
{
	if (!*outbox)
		return;
	free((*outbox)->source);
	free(*outbox);
	*outbox = NULL;
}
