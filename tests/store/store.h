/* Help for tests of stores: a database of its own for each test, the loop's thread, fibers.
 *
 *	struct store store;
 *	store_open(&store, "identity", identity_migrations);   // skips the test without DENIZEN_TEST_DB
 *	store_in_fiber(&store, my_fiber, &my_arg);                  // runs it as a fiber, returns when it has returned
 *	store_close(&store);                                   // drops the database
 *
 * DENIZEN_TEST_DB is a libpq keyword string ("host=... user=..." , not a URI) of a role that may create databases and
 * roles. Do not assert inside of fibers: write results into the argument and assert after store_in_fiber. */
#pragma once

#include "db/db.h"
#include "db/migrate.h"
#include "loop/loop.h"

#include <pthread.h>

struct store {
	char database[64];
	char owner[1024];   /* conninfo of the owner on the test's database */
	char service[1024]; /* conninfo of the service role on it */
	struct loop *loop;
	struct db *db;
	pthread_t thread;
};

/* Creates the database, migrates it, starts the loop and the gate (2 read, 3 write lanes, timeout 2 s). */
void store_open(struct store *store, const char *schema, const struct migration *migrations);
/* Only the database, without migrations, loop and gate. */
void store_open_empty(struct store *store, const char *schema);
void store_close(struct store *store);

/* Runs fn(arg) as a fiber; returns when it has returned. */
void store_in_fiber(struct store *store, void (*fn)(void *arg), void *arg);
/* Runs count fibers at the same time, each with the same arg; returns when all have returned. */
void store_in_fibers(struct store *store, unsigned count, void (*fn)(void *arg), void *arg);

/* Runs SQL as the owner on the test's database; fails the test on an error. */
void store_sql(const struct store *store, const char *sql);
/* First column of the first row as a number; -1 when there is none. */
long store_number(const struct store *store, const char *sql);
/* Whether SQL succeeds for that conninfo. */
bool store_sql_works(const char *conninfo, const char *sql);
