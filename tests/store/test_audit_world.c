/* A database of its own for each store test of audit. */
#include "test_audit_world.h"

#include "base/clock.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern const struct migration audit_migrations[];

void audit_world_execute(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);
	cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(connection));
	PQclear(result);
}

int64_t audit_world_ask_number(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	cr_assert(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1, "%s: %s", sql,
	          PQerrorMessage(connection));
	int64_t number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return number;
}

struct db *audit_world_open_db(const struct world *world)
{
	const struct db_options options = {
	    .conninfo = world->conninfo,
	    .schema = "audit",
	    .read_lanes = 1,
	    .write_lanes = 1,
	    .statement_timeout_ms = 10000,
	};
	return db_new(&options);
}

void audit_world_open_empty(struct world *world)
{
	char sql[128];
	const char *base = getenv("DENIZEN_TEST_DB");
	if (!base)
		cr_skip_test("DENIZEN_TEST_DB is not set");
	secret_init();
	*world = (struct world){0};
	snprintf(world->name, sizeof world->name, "test_audit_%d_%llx", (int)getpid(), (long long)clock_wall_us());
	PGconn *admin = PQconnectdb(base);
	cr_assert(PQstatus(admin) == CONNECTION_OK, "%s", PQerrorMessage(admin));
	snprintf(sql, sizeof sql, "CREATE DATABASE %s", world->name);
	audit_world_execute(admin, sql);
	PQfinish(admin);
	snprintf(world->conninfo, sizeof world->conninfo, "%s dbname=%s", base, world->name);
	world->owner = PQconnectdb(world->conninfo);
	cr_assert(PQstatus(world->owner) == CONNECTION_OK, "%s", PQerrorMessage(world->owner));
	audit_world_execute(world->owner, "SET search_path = audit");
}

void audit_world_migrate(struct world *world)
{
	/* The role is the cluster's: tests that start together may both try to make it. */
	enum status status = ST_INTERNAL;
	for (int attempt = 0; attempt < 5 && status != ST_OK; attempt++)
		status = migrate_run(world->conninfo, "audit", "", audit_migrations);
	cr_assert(status == ST_OK);
	world->db = audit_world_open_db(world);
	world->arena = arena_new(WORLD_ARENA_BYTES);
	world->appender = appender_new(NULL);
}

void audit_world_open(struct world *world)
{
	audit_world_open_empty(world);
	audit_world_migrate(world);
}

void audit_world_close(struct world *world)
{
	char sql[128];
	appender_free(&world->appender);
	arena_free(&world->arena);
	db_free(&world->db);
	PQfinish(world->owner);
	PGconn *admin = PQconnectdb(getenv("DENIZEN_TEST_DB"));
	snprintf(sql, sizeof sql, "DROP DATABASE %s WITH (FORCE)", world->name);
	audit_world_execute(admin, sql);
	PQfinish(admin);
}

struct sql_scope audit_world_call(struct world *world)
{
	return (struct sql_scope){
	    .db = world->db, .arena = world->arena, .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC};
}
