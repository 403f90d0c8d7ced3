/* Help for tests of stores: databases, loop thread, fibers. */
#include "store.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *store_server(void)
{
	const char *server = getenv("DENIZEN_TEST_DB");
	if (!server || !server[0])
		cr_skip_test("DENIZEN_TEST_DB is not set");
	return server;
}

bool store_sql_works(const char *conninfo, const char *sql)
{
	PGconn *conn = PQconnectdb(conninfo);
	bool works = false;
	if (PQstatus(conn) == CONNECTION_OK) {
		PGresult *result = PQexec(conn, sql);
		works = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
		PQclear(result);
	}
	PQfinish(conn);
	return works;
}

void store_sql(const struct store *store, const char *sql)
{
	cr_assert(store_sql_works(store->owner, sql), "%s", sql);
}

long store_number(const struct store *store, const char *sql)
{
	PGconn *conn = PQconnectdb(store->owner);
	PGresult *result = PQexec(conn, sql);
	long number = PQntuples(result) > 0 ? strtol(PQgetvalue(result, 0, 0), NULL, 10) : -1;
	PQclear(result);
	PQfinish(conn);
	return number;
}

void store_open_empty(struct store *store, const char *schema)
{
	const char *server = store_server();
	char sql[256];
	uint32_t random;
	*store = (struct store){0};
	secret_init();
	secret_random(&random, sizeof(random));
	snprintf(store->database, sizeof(store->database), "denizen_test_%d_%08x", (int)getpid(), random);
	snprintf(store->owner, sizeof(store->owner), "%s dbname=%s", server, store->database);
	snprintf(store->service, sizeof(store->service), "%s dbname=%s user=%s password=test", server, store->database,
	         schema);
	snprintf(sql, sizeof(sql), "CREATE DATABASE \"%s\" TEMPLATE template0", store->database);
	cr_assert(store_sql_works(server, sql), "%s", sql);
}

static void *store_thread(void *arg)
{
	struct store *store = arg;
	loop_run(store->loop);
	return NULL;
}

void store_open(struct store *store, const char *schema, const struct migration *migrations)
{
	store_open_empty(store, schema);
	cr_assert_eq(migrate_run(store->owner, schema, "test", migrations), ST_OK);
	store->loop = loop_new();
	struct db_options options = {
	    .loop = store->loop,
	    .conninfo = store->service,
	    .schema = schema,
	    .read_lanes = 2,
	    .write_lanes = 3,
	    .statement_timeout_ms = 2000,
	};
	store->db = db_new(&options);
	cr_assert_not_null(store->db);
	cr_assert_eq(pthread_create(&store->thread, NULL, store_thread, store), 0);
	for (int i = 0; i < 500 && !db_ready(store->db); i++)
		usleep(10000);
	cr_assert(db_ready(store->db));
}

void store_close(struct store *store)
{
	if (store->loop) {
		loop_stop(store->loop);
		pthread_join(store->thread, NULL);
		db_free(&store->db);
		loop_free(&store->loop);
	}
	char sql[256];
	snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)", store->database);
	(void)store_sql_works(store_server(), sql);
}

struct fiber_run {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	unsigned count, left;
	struct wait wait;
};

static void store_fiber(void *arg)
{
	struct fiber_run *run = arg;
	run->fn(run->arg);
	if (--run->left == 0)
		wait_done(&run->wait);
}

static void store_begin(void *arg)
{
	struct fiber_run *run = arg;
	for (unsigned i = 0; i < run->count; i++) {
		if (!fiber_spawn(run->loop, store_fiber, run))
			abort();
	}
}

void store_in_fibers(struct store *store, unsigned count, void (*fn)(void *arg), void *arg)
{
	struct fiber_run run = {.loop = store->loop, .fn = fn, .arg = arg, .count = count, .left = count};
	wait_init(&run.wait, store->loop);
	loop_post(store->loop, store_begin, &run);
	cr_assert(wait_for(&run.wait, clock_monotonic_us() + 60 * US_PER_SEC), "fibers did not end within 60 s");
}

void store_in_fiber(struct store *store, void (*fn)(void *arg), void *arg)
{
	store_in_fibers(store, 1, fn, arg);
}
