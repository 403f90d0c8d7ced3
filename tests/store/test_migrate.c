/* Migrations against a real Postgres: once, in order, refused when changed, roles confined to their schema. */
#include "store.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct migration first[] = {{1, "0001_init.sql", "CREATE TABLE thing (id int PRIMARY KEY);"}, {0}};
static const struct migration second[] = {
    {1, "0001_init.sql", "CREATE TABLE thing (id int PRIMARY KEY);"},
    {2, "0002_more.sql", "ALTER TABLE thing ADD COLUMN name text; INSERT INTO thing VALUES (1, 'one');"},
    {0},
};
static const struct migration changed[] = {{1, "0001_init.sql", "CREATE TABLE thing (id bigint PRIMARY KEY);"}, {0}};
static const struct migration broken[] = {
    {1, "0001_init.sql", "CREATE TABLE thing (id int PRIMARY KEY);"},
    {2, "0002_more.sql", "ALTER TABLE thing ADD COLUMN name text; INSERT INTO thing VALUES (1, 'one');"},
    {3, "0003_bad.sql", "CREATE TABLE half (id int); SELECT 1 / 0;"},
    {0},
};

Test(migrate, files_are_applied_once_and_never_changed)
{
	struct store store;
	store_open_empty(&store, "testone");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", first), ST_OK);
	cr_assert_eq(migrate_run(store.owner, "testone", "test", changed), ST_CONFLICT, "the file was changed");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", second), ST_OK);
	cr_assert_eq(migrate_run(store.owner, "testone", "", second), ST_OK);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testone.thing"), 1);
	cr_assert_eq(migrate_run(store.owner, "testone", "test", first), ST_CONFLICT, "the database is newer");
	cr_assert_neq(migrate_run(store.owner, "testone", "test", broken), ST_OK);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM pg_tables WHERE tablename = 'half'"), 0);
	cr_assert_eq(store_number(&store, "SELECT max(number) FROM testone.schema_migration"), 2);
	cr_assert_eq(migrate_run(store.owner, "bad\"name", "", first), ST_INVALID_ARGUMENT);
	cr_assert_eq(migrate_run("host=/nonexistent", "testone", "", first), ST_UNAVAILABLE);
	store_close(&store);
}

struct racer {
	const char *conninfo, *schema;
	enum status status;
};

static void *racer_thread(void *arg)
{
	struct racer *racer = arg;
	racer->status = migrate_run(racer->conninfo, racer->schema, "test", second);
	return NULL;
}

Test(migrate, replicas_at_once)
{
	struct store store;
	store_open_empty(&store, "testone");
	struct racer racers[6];
	pthread_t threads[6];
	for (int i = 0; i < 6; i++) {
		racers[i] = (struct racer){store.owner, i % 2 ? "testone" : "testtwo", ST_INTERNAL};
		cr_assert_eq(pthread_create(&threads[i], NULL, racer_thread, &racers[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		cr_assert_eq(racers[i].status, ST_OK);
	}
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testone.thing"), 1);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM testtwo.thing"), 1);
	store_close(&store);
}

static const struct migration outside[] = {
    {1, "0001_init.sql", "CREATE TABLE thing (id int PRIMARY KEY);"},
    {2, "0002_index.sql",
     "-- outside a transaction\nDROP INDEX CONCURRENTLY IF EXISTS thing_id;\nCREATE INDEX CONCURRENTLY thing_id ON "
     "thing (id);\n"},
    {0},
};

static void *outside_thread(void *arg)
{
	struct racer *racer = arg;
	racer->status = migrate_run(racer->conninfo, racer->schema, "test", outside);
	return NULL;
}

/* Somebody has written and has not committed: an index that is made beside the writers waits for that one and holds up nobody else. */
Test(migrate, an_index_is_made_beside_the_writers_by_one_of_the_replicas)
{
	struct store store;
	store_open_empty(&store, "testone");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", first), ST_OK);
	PGconn *writer = PQconnectdb(store.owner);
	PQclear(PQexec(writer, "BEGIN; INSERT INTO testone.thing VALUES (1)"));
	struct racer racers[4];
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) {
		racers[i] = (struct racer){store.owner, "testone", ST_INTERNAL};
		cr_assert_eq(pthread_create(&threads[i], NULL, outside_thread, &racers[i]), 0);
	}
	for (int i = 0; i < 500 && !store_number(&store, "SELECT count(*) FROM pg_class WHERE relname = 'thing_id'");
	     i++)
		usleep(10000);
	cr_assert(store_sql_works(store.owner, "SET statement_timeout = 2000; INSERT INTO testone.thing VALUES (2)"));
	PQclear(PQexec(writer, "COMMIT"));
	PQfinish(writer);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		cr_assert_eq(racers[i].status, ST_OK);
	}
	cr_assert_eq(store_number(&store,
	                          "SELECT count(*) FROM pg_index WHERE indexrelid = 'testone.thing_id'::regclass"
	                          " AND indisvalid"),
	             1);
	cr_assert_eq(store_number(&store, "SELECT max(number) FROM testone.schema_migration"), 2);
	store_close(&store);
}

/* What was cut off leaves an index that is not valid; the file runs again and makes a good one. */
Test(migrate, a_file_outside_a_transaction_runs_again_when_it_was_cut_off)
{
	struct store store;
	store_open_empty(&store, "testone");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", first), ST_OK);
	store_sql(&store,
	          "INSERT INTO testone.thing VALUES (1); ALTER TABLE testone.thing ADD COLUMN twice int DEFAULT 1");
	store_sql(&store, "INSERT INTO testone.thing VALUES (2)");
	cr_assert_not(
	    store_sql_works(store.owner, "CREATE UNIQUE INDEX CONCURRENTLY thing_id ON testone.thing (twice)"));
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 1);
	cr_assert_eq(migrate_run(store.owner, "testone", "test", outside), ST_OK);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
	cr_assert_eq(store_number(&store, "SELECT count(*) FROM pg_class WHERE relname = 'thing_id'"), 1);
	store_close(&store);
}

Test(migrate, a_role_is_confined_to_its_schema)
{
	static const char *const refused[] = {
	    "SELECT * FROM testtwo.thing",
	    "INSERT INTO testtwo.thing VALUES (9)",
	    "CREATE TABLE testtwo.mine (id int)",
	    "CREATE TABLE testone.mine (id int)",
	    "CREATE TABLE public.mine (id int)",
	    "DROP TABLE testone.thing",
	    "TRUNCATE testone.thing",
	    "DELETE FROM testone.schema_migration",
	    "SET ROLE postgres",
	};
	struct store store;
	store_open_empty(&store, "testone");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", second), ST_OK);
	cr_assert_eq(migrate_run(store.owner, "testtwo", "test", second), ST_OK);
	cr_assert(store_sql_works(store.service, "INSERT INTO testone.thing VALUES (5, 'five')"));
	cr_assert(store_sql_works(store.service, "SELECT public.similarity('ab', 'abc')"));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		cr_assert_not(store_sql_works(store.service, refused[i]), "%s", refused[i]);
	store_close(&store);
}

Test(migrate, an_append_only_table_stays_so)
{
	static const struct migration ledger[] = {
	    {1, "0001_init.sql", "CREATE TABLE thing (id int PRIMARY KEY); COMMENT ON TABLE thing IS 'append only';"},
	    {0}};
	struct store store;
	store_open_empty(&store, "testone");
	cr_assert_eq(migrate_run(store.owner, "testone", "test", ledger), ST_OK);
	cr_assert(store_sql_works(store.service, "UPDATE testone.thing SET id = 1"), "the file did not take it away");
	for (int again = 0; again < 2; again++) { /* each run gives the rights anew */
		cr_assert_eq(migrate_run(store.owner, "testone", "test", ledger), ST_OK);
		cr_assert(
		    store_sql_works(store.service, "INSERT INTO testone.thing SELECT count(*) FROM testone.thing"));
		cr_assert_not(store_sql_works(store.service, "UPDATE testone.thing SET id = 1"));
		cr_assert_not(store_sql_works(store.service, "DELETE FROM testone.thing"));
	}
	store_close(&store);
}
