/* The identity service without a bus: real Postgres, the real handlers, called on the test's thread. */
#pragma once

#include "../../services/identity/service.h"
#include "../../services/identity/users/user.h"
#include "base/clock.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct identity_world {
	char name[64], conninfo[512];
	PGconn *owner; /* on the test's own database, search_path identity */
	struct process run;
	struct identity_state state;
	struct arena *arena;
	struct id project;
	struct id operation;      /* of the next call; zero = a fresh one */
	char actor[ID_TEXT_SIZE]; /* the calling key; "" = none */
	struct call call;         /* the last one: field, reason */
};
static struct identity_world world __attribute__((unused));

static PGconn *world_connect(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);
	if (PQstatus(conn) != CONNECTION_OK)
		cr_assert(false, "Postgres: %s", PQerrorMessage(conn));
	return conn;
}

/* First column of the first row, or "" (static). */
__attribute__((unused)) static const char *world_sql(const char *sql)
{
	static char text[4096];
	PGresult *result = PQexec(world.owner, sql);
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		cr_assert(false, "%s: %s", sql, PQerrorMessage(world.owner));
	snprintf(text, sizeof(text), "%s",
	         status == PGRES_TUPLES_OK && PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return text;
}

static struct db *world_db(void)
{
	struct db_options options = {.conninfo = world.conninfo,
	                             .schema = "identity",
	                             .read_lanes = 1,
	                             .write_lanes = 1,
	                             .statement_timeout_ms = 10000};
	return db_new(&options);
}

__attribute__((unused)) static void world_start(void)
{
	const char *base = getenv("DENIZEN_TEST_DB");
	if (!base)
		cr_skip_test("DENIZEN_TEST_DB is not set");
	char sql[256];
	PGconn *conn = world_connect(base);
	snprintf(world.name, sizeof(world.name), "test_identity_%d", (int)getpid());
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", world.name);
	PQclear(PQexec(conn, sql));
	snprintf(world.conninfo, sizeof(world.conninfo), "%s dbname=%s", base, world.name);
	PQfinish(conn);
	cr_assert_eq(migrate_run(world.conninfo, "identity", "", identity_migrations), ST_OK);
	world.owner = world_connect(world.conninfo);
	world_sql("SET search_path = identity, public");
	secret_init();
	cr_assert(password_init());
	world.state.params = (struct password_params){8192, 1};
	snprintf(world.state.dummy_hash, sizeof(world.state.dummy_hash), "%s",
	         "$argon2id$v=19$m=8192,t=1,p=1$ZGVuaXplbi1ub2JvZHkhIQ$bm9ib2R5J3MgcGFzc3dvcmQgaGFzIHRoaXMgaGFzaC4");
	struct pool_options options = {
	    .threads = 2, .queue_max = 8, .priority = POOL_NORMAL, .params = world.state.params};
	world.state.pool = pool_new(&options);
	world.state.schemas = attributes_cache_new();
	world.run.state = &world.state;
	world.run.db = world_db();
	world.run.service = &identity_service;
	world.arena = arena_new(32 * 1024 * 1024);
	world.project = id_new();
	world.operation = (struct id){0};
}

__attribute__((unused)) static void world_stop(void)
{
	char sql[256];
	pool_free(&world.state.pool);
	attributes_cache_free(&world.state.schemas);
	db_free(&world.run.db);
	arena_free(&world.arena);
	PQfinish(world.owner);
	PGconn *conn = world_connect(getenv("DENIZEN_TEST_DB"));
	snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s", world.name);
	PQclear(PQexec(conn, sql));
	PQfinish(conn);
}

/* Calls the handler of a method; *ret_reply is valid until world_forget. */
__attribute__((unused)) static enum status world_call(uint32_t method, const void *request, void *ret_reply)
{
	static uint8_t hash[SHA256_SIZE];
	const struct handler *handler = identity_service.handlers;
	while (handler->method && handler->method != method)
		handler++;
	cr_assert(handler->fn);
	const struct method *info = method_find(method);
	ProtobufCMessage *reply = arena_alloc(world.arena, info->reply->sizeof_message);
	info->reply->message_init(reply);
	world.call = (struct call){.run = &world.run,
	                           .method = info,
	                           .project = world.project,
	                           .actor = world.actor,
	                           .operation = id_is_zero(&world.operation) ? id_new() : world.operation,
	                           .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC,
	                           .caller = "gateway",
	                           .arena = world.arena};
	world.operation = (struct id){0};
	memcpy(world.call.request_hash, hash, sizeof(hash));
	enum status status = handler->fn(&world.call, request, reply);
	*(void **)ret_reply = reply;
	return status;
}

__attribute__((unused)) static void world_forget(void)
{
	arena_reset(world.arena);
}

/* Status and refused field of the last call in one text. */
__attribute__((unused)) static const char *world_outcome(enum status status)
{
	static char text[256];
	snprintf(text, sizeof(text), "%s %s", status_name(status), world.call.field ? world.call.field : "");
	return text;
}

/* The sum of the counters, by status (0 = all), must be what the table holds. */
__attribute__((unused)) static void world_check_counts(void)
{
	cr_assert_str_eq(
	    world_sql("SELECT count(*) FROM (SELECT project_id, status, sum(n) n FROM user_count GROUP BY 1, 2 "
	              "HAVING sum(n) <> 0 EXCEPT SELECT project_id, status, count(*) FROM users GROUP BY 1, 2) x"),
	    "0");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM login_id l WHERE NOT EXISTS (SELECT 1 FROM users u WHERE "
	                           "u.project_id = l.project_id AND u.user_id = l.user_id AND "
	                           "(l.value = u.email OR l.value = ANY (u.login_ids)))"),
	                 "0");
}
