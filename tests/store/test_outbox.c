/* The relay against a real Postgres: order, nothing lost when the ledger is away, one leader, take-over, purge. */
#include "store.h"

#include "audit.pb-c.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "ledger/outbox.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEEN_MAX 10000

static const char schema_sql[] =
    "CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id uuid NOT NULL,"
    " event bytea NOT NULL, revokes boolean NOT NULL DEFAULT true);"
    "CREATE INDEX outbox_revoking ON outbox (id) WHERE revokes;"
    "CREATE TABLE relay_lease (name text PRIMARY KEY, holder uuid, epoch bigint NOT NULL DEFAULT 0,"
    " expires_at timestamptz NOT NULL DEFAULT '-infinity');"
    "INSERT INTO relay_lease (name) VALUES ('outbox');"
    "CREATE TABLE operation (project_id uuid NOT NULL, operation_id uuid NOT NULL, method int NOT NULL,"
    " request_hash bytea NOT NULL, reply bytea NOT NULL, at_us bigint NOT NULL,"
    " PRIMARY KEY (project_id, operation_id));"
    "CREATE INDEX operation_at ON operation (at_us);";
static const struct migration migrations[] = {{1, "0001_init.sql", schema_sql}, {0}};

/* A ledger that remembers what it was sent. Only the loop's thread writes. */
static struct {
	int64_t ids[SEEN_MAX];
	atomic_int count;
	atomic_int refusals_left;
	enum status refusal;
	atomic_int calls, nudges;
	struct loop *loop; /* where it takes its time */
	atomic_int slow_us;
} ledger;

static enum status ledger_append(struct client *client, struct client_call *call, uint32_t method,
                                 const ProtobufCMessage *message, struct arena *arena, ProtobufCMessage **ret_reply)
{
	const Audit__AppendRequest *request = (const Audit__AppendRequest *)message;
	(void)client, (void)call, (void)arena;
	atomic_fetch_add(&ledger.calls, 1);
	if (method != M_AUDIT_APPEND || request->n_items > 500)
		return ST_INTERNAL;
	if (request->n_items == 0)
		atomic_fetch_add(&ledger.nudges, 1);
	if (ledger.slow_us > 0)
		fiber_sleep_us(ledger.loop, ledger.slow_us);
	if (atomic_load(&ledger.refusals_left) > 0) {
		atomic_fetch_sub(&ledger.refusals_left, 1);
		return ledger.refusal;
	}
	size_t bytes = 0;
	for (size_t i = 0; i < request->n_items; i++)
		bytes += request->items[i]->event.len;
	if (bytes > 2u * 1024 * 1024)
		return ST_CONTENT_TOO_LARGE; /* as the bus does, at its bound */
	for (size_t i = 0; i < request->n_items && atomic_load(&ledger.count) < SEEN_MAX; i++) {
		int at = atomic_load(&ledger.count);
		ledger.ids[at] = request->items[i]->outbox_id;
		atomic_store(&ledger.count, at + 1);
	}
	*ret_reply = NULL;
	return ST_OK;
}

static struct outbox *relay_start(struct store *store)
{
	struct outbox *outbox = outbox_start(store->loop, store->db, NULL, "testoutbox");
	outbox_set_sender(outbox, ledger_append);
	return outbox;
}

static bool wait_count(int wanted, int ms)
{
	for (int i = 0; i < ms && atomic_load(&ledger.count) < wanted; i++)
		usleep(1000);
	return atomic_load(&ledger.count) >= wanted;
}

static bool wait_empty(struct store *store)
{
	for (int i = 0; i < 200; i++) {
		if (store_number(store, "SELECT count(*) FROM testoutbox.outbox") == 0)
			return true;
		usleep(10000);
	}
	return false;
}

static void stop_fiber(void *arg)
{
	outbox_stop(arg);
}

#define INSERT_ROWS(n)                                                                                                 \
	"INSERT INTO testoutbox.outbox (project_id, event) SELECT gen_random_uuid(), '\\x00'::bytea"                   \
	" FROM generate_series(1, " #n ")"

static void relay_close(struct store *store, struct outbox *outbox)
{
	store_in_fiber(store, stop_fiber, outbox);
	store_close(store);
	outbox_free(&outbox);
}

Test(outbox, rows_arrive_in_order_and_are_deleted)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	store_sql(&store, INSERT_ROWS(1700));
	store_sql(&store, "INSERT INTO testoutbox.operation SELECT gen_random_uuid(), gen_random_uuid(), 1, '', '', 0");
	struct outbox *outbox = relay_start(&store);
	cr_assert(wait_count(1700, 5000));
	cr_assert(wait_empty(&store));
	for (int i = 0; i < 1700; i++)
		cr_assert_eq(ledger.ids[i], i + 1);
	store_sql(&store, INSERT_ROWS(1)); /* another replica's row: found by looking */
	cr_assert(wait_count(1701, 1000));
	store_sql(&store, INSERT_ROWS(1));
	outbox_poke(outbox);
	cr_assert(wait_count(1702, 1000));
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testoutbox.relay_lease WHERE holder IS NOT NULL"), 1);
	store_in_fiber(&store, stop_fiber, outbox);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testoutbox.relay_lease WHERE holder IS NULL"), 1);
	store_close(&store);
	outbox_free(&outbox);
}

Test(outbox, large_events_go_in_several_batches)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	store_sql(&store, "INSERT INTO testoutbox.outbox (project_id, event) SELECT gen_random_uuid(),"
	                  " decode(repeat('00', 100000), 'hex') FROM generate_series(1, 90)");
	struct outbox *outbox = relay_start(&store);
	cr_assert(wait_count(90, 5000));
	cr_assert(wait_empty(&store));
	for (int i = 0; i < 90; i++)
		cr_assert_eq(ledger.ids[i], i + 1);
	cr_assert_leq(atomic_load(&ledger.calls), 20);
	relay_close(&store, outbox);
}

Test(outbox, nothing_is_lost_while_the_ledger_or_the_database_is_away)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	ledger.refusal = ST_UNAVAILABLE;
	atomic_store(&ledger.refusals_left, 4);
	store_sql(&store, INSERT_ROWS(20));
	struct outbox *outbox = relay_start(&store);
	cr_assert(wait_count(20, 5000));
	ledger.refusal = ST_INVALID_ARGUMENT; /* a damaged item: said loudly, tried again, not skipped */
	atomic_store(&ledger.refusals_left, 3);
	store_sql(&store, INSERT_ROWS(20));
	cr_assert(wait_count(40, 5000));
	store_sql(&store, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'testoutbox'"
	                  " AND datname = current_database()");
	store_sql(&store, INSERT_ROWS(20));
	cr_assert(wait_count(60, 8000));
	cr_assert(wait_empty(&store));
	relay_close(&store, outbox);
}

Test(outbox, another_leader_is_respected_until_its_lease_runs_out)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	store_sql(&store, "UPDATE testoutbox.relay_lease SET holder = gen_random_uuid(), epoch = 7,"
	                  " expires_at = now() + interval '1 second'");
	store_sql(&store, INSERT_ROWS(5));
	struct outbox *outbox = relay_start(&store);
	usleep(300000);
	cr_assert_eq(atomic_load(&ledger.nudges), 0);
	outbox_poke(outbox); /* rows of this replica: it tells the leader */
	usleep(200000);
	cr_assert_eq(atomic_load(&ledger.nudges), 1);
	cr_assert_eq(atomic_load(&ledger.count), 0);
	cr_assert(wait_count(5, 5000));
	cr_assert_eq(store_number(&store, "SELECT epoch FROM testoutbox.relay_lease"), 8);
	outbox_poke(outbox);
	usleep(50000);
	cr_assert_eq(atomic_load(&ledger.nudges), 1); /* who leads tells nobody */
	/* Fenced: the lease is taken away between sending and deleting, so the rows stay for the new leader. */
	cr_assert(wait_empty(&store));
	store_sql(&store, "UPDATE testoutbox.relay_lease SET holder = gen_random_uuid(), epoch = 9,"
	                  " expires_at = now() + interval '1 minute'");
	store_sql(&store, INSERT_ROWS(5));
	usleep(700000);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testoutbox.outbox"), 5);
	relay_close(&store, outbox);
}

/* Under heavy creates a batch takes longer than the lease lasts: that is no reason to change leaders. */
Test(outbox, a_batch_that_takes_longer_than_the_lease_keeps_it)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	ledger.loop = store.loop;
	ledger.slow_us = 1500000;
	struct outbox *outbox = relay_start(&store);
	for (int i = 0; i < 100 && store_number(&store, "SELECT epoch FROM testoutbox.relay_lease") == 0; i++)
		usleep(10000);
	struct outbox *other = relay_start(&store);
	for (int i = 1; i <= 2; i++) {
		store_sql(&store, INSERT_ROWS(10));
		cr_expect(wait_count(i * 10, 5000));
	}
	cr_expect(wait_empty(&store));
	cr_expect_eq(atomic_load(&ledger.count), 20, "rows were sent again");
	cr_expect_eq(store_number(&store, "SELECT epoch FROM testoutbox.relay_lease"), 1, "the leader changed");
	ledger.slow_us = 0;
	store_in_fiber(&store, stop_fiber, other);
	relay_close(&store, outbox);
	outbox_free(&other);
}

static const struct db_stmt stmt_slow_write = {"t_slow_write", "SELECT pg_sleep(0.1)::text", DB_WRITE};

static void slow_write_fiber(void *arg)
{
	if (db_run(arg, &stmt_slow_write, NULL, NULL, clock_monotonic_us() + 10 * US_PER_SEC, NULL) != ST_OK)
		abort();
}

Test(outbox, the_lease_does_not_wait_behind_writes)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	struct outbox *outbox = relay_start(&store);
	for (int i = 0; i < 100 && store_number(&store, "SELECT epoch FROM testoutbox.relay_lease") == 0; i++)
		usleep(10000);
	store_in_fibers(&store, 60, slow_write_fiber, store.db); /* 2 s on 3 connections */
	cr_expect_eq(store_number(&store, "SELECT epoch FROM testoutbox.relay_lease"), 1, "the lease ran out");
	relay_close(&store, outbox);
}

static bool wait_depth(int64_t wanted)
{
	struct metric *depth = metric_gauge("denizen_outbox_depth", "", "");
	for (int i = 0; i < 400 && metric_value(depth) != wanted; i++)
		usleep(10000);
	return metric_value(depth) == wanted;
}

Test(outbox, who_leads_no_more_tells_no_depth)
{
	struct store store;
	store_open(&store, "testoutbox", migrations);
	ledger.refusal = ST_UNAVAILABLE;
	atomic_store(&ledger.refusals_left, 1000000);
	store_sql(&store, INSERT_ROWS(50));
	struct outbox *outbox = relay_start(&store);
	cr_expect(wait_depth(50));
	store_sql(&store, "UPDATE testoutbox.relay_lease SET holder = gen_random_uuid(), epoch = 9,"
	                  " expires_at = now() + interval '1 minute'");
	cr_expect(wait_depth(0), "the last value stays");
	relay_close(&store, outbox);
}

struct waiting {
	struct store *store;
	struct arena *arena;
	enum status status;
	Common__ReadOutboxReply reply;
};

static void read_waiting(void *arg)
{
	struct waiting *waiting = arg;
	common__read_outbox_reply__init(&waiting->reply);
	waiting->status =
	    outbox_read_waiting(waiting->store->db, waiting->arena, clock_monotonic_us() + US_PER_SEC, &waiting->reply);
}

/* Behind any backlog, and bounded: more than one reply holds is said. */
Test(outbox, what_waits_and_takes_access_away_is_read_at_its_source)
{
	struct store store;
	struct waiting waiting = {.store = &store, .arena = arena_new(64 << 20)};
	store_open(&store, "testoutbox", migrations);
	store_in_fiber(&store, read_waiting, &waiting);
	cr_assert(waiting.status == ST_OK && waiting.reply.n_events == 0 && waiting.reply.complete);
	store_sql(&store,
	          "INSERT INTO testoutbox.outbox (project_id, event, revokes) SELECT gen_random_uuid(), '\\x00',"
	          " false FROM generate_series(1, 20000)");
	store_sql(&store, INSERT_ROWS(2)); /* a program that does not say so */
	store_sql(&store, "INSERT INTO testoutbox.outbox (project_id, event, revokes)"
	                  " VALUES ('00000000-0000-0000-0000-0000000000ff', '\\x0102', true)");
	store_in_fiber(&store, read_waiting, &waiting);
	cr_assert(waiting.status == ST_OK && waiting.reply.n_events == 3 && waiting.reply.complete);
	const Common__WaitingEvent *last = waiting.reply.events[2];
	cr_assert(last->outbox_id == 20003 && last->project_id.len == ID_SIZE && last->project_id.data[15] == 0xff);
	cr_assert(last->event.len == 2 && last->event.data[1] == 2);
	store_sql(&store, INSERT_ROWS(600));
	store_in_fiber(&store, read_waiting, &waiting);
	cr_assert(waiting.status == ST_OK && waiting.reply.n_events == 500 && !waiting.reply.complete);
	store_sql(&store, "DELETE FROM testoutbox.outbox; INSERT INTO testoutbox.outbox (project_id, event)"
	                  " SELECT gen_random_uuid(), decode(repeat('00', 100000), 'hex') FROM generate_series(1, 40)");
	store_in_fiber(&store, read_waiting, &waiting);
	cr_assert(waiting.status == ST_OK && waiting.reply.n_events == 11 && !waiting.reply.complete);
	arena_free(&waiting.arena);
	store_close(&store);
}
