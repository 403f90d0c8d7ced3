/* A session service without a bus: real Postgres, the real loop and handlers, identity and claims played by this file. */
#pragma once

#include "../../services/session/service.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct migration session_migrations[];

struct world {
	char name[64];
	char conninfo[512];
	PGconn *owner;
	struct loop *loop;
	pthread_t thread;
	struct process run, replica; /* of one service, with a gate each */
	struct session_state state;
	struct id project;
	/* what identity and claims answer */
	struct id user;
	char user_id[ID_TEXT_SIZE];
	Identity__UserStatus user_status;
	int64_t epoch;
	bool user_exists, claims_down, identity_busy;
	int verified, activated, minted;
	uint8_t password;       /* stands for the present one */
	char login[LOGIN_SIZE]; /* that the last password was checked for */
	uint32_t lifetime_sec;  /* asked of the last token; 0 = none was asked */
};
static struct world world;

/* ---- peers ---- */

/* All login ids that begin with "ann" are those of world.user, with "nobody" nobody's; every other one has a user of its own. login NULL:
 * asked by id. */
static enum status answer_authorization(struct call *call, const char *login, ProtobufCMessage **ret_reply)
{
	Identity__Authorization *auth = arena_alloc(call->arena, sizeof(*auth));
	if (!world.user_exists || (login && strncmp(login, "nobody", 6) == 0))
		return ST_NOT_FOUND;
	identity__authorization__init(auth);
	auth->user_id = world.user_id;
	if (login && strncmp(login, "ann", 3) != 0) {
		struct id other = id_derive(&world.user, login);
		auth->user_id = arena_alloc(call->arena, ID_TEXT_SIZE);
		id_format("usr", &other, auth->user_id);
	}
	if (login) {
		auth->has_credential = true;
		auth->credential = (ProtobufCBinaryData){1, &world.password};
	}
	auth->has_status = auth->has_epoch = true;
	auth->status = world.user_status;
	auth->epoch = world.epoch;
	*ret_reply = &auth->base;
	return ST_OK;
}

static enum status answer_peer(struct call *call, uint32_t method, const ProtobufCMessage *request,
                               ProtobufCMessage **ret_reply)
{
	fiber_sleep_us(call->run->loop, 500); /* others run meanwhile, as during a real call */
	if (method == M_IDENTITY_VERIFY_PASSWORD) {
		const Identity__VerifyPasswordRequest *asked = (const Identity__VerifyPasswordRequest *)request;
		world.verified++;
		strncpy(world.login, asked->login_id, sizeof(world.login) - 1);
		if (world.identity_busy)
			return ST_RESOURCE_EXHAUSTED;
		if (strcmp(asked->password, "right") != 0)
			return ST_INVALID_CREDENTIALS;
		if (world.user_status == IDENTITY__USER_STATUS__USER_STATUS_DISABLED)
			return ST_ACCOUNT_DISABLED;
		enum status status = answer_authorization(call, asked->login_id, ret_reply);
		return status == ST_NOT_FOUND ? ST_INVALID_CREDENTIALS : status;
	}
	if (method == M_IDENTITY_ACTIVATE_USER) {
		world.user_status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
		world.activated++;
		return ST_OK;
	}
	if (method == M_IDENTITY_GET_AUTHORIZATION)
		return answer_authorization(call, ((const Identity__GetAuthorizationRequest *)request)->login_id,
		                            ret_reply);
	if (method == M_IDENTITY_REVOKE_TOKENS) {
		Identity__RevokeTokensReply *reply = arena_alloc(call->arena, sizeof(*reply));
		identity__revoke_tokens_reply__init(reply);
		if (!world.user_exists)
			return ST_NOT_FOUND;
		reply->has_epoch = true;
		reply->epoch = ++world.epoch;
		*ret_reply = &reply->base;
		return ST_OK;
	}
	Claims__MintReply *token = arena_alloc(call->arena, sizeof(*token));
	claims__mint_reply__init(token);
	if (world.claims_down)
		return ST_UNAVAILABLE;
	world.minted++;
	world.lifetime_sec = ((const Claims__MintRequest *)request)->lifetime_sec;
	token->access_token = (char *)"access";
	token->has_expires_in = true;
	token->expires_in = 300;
	*ret_reply = &token->base;
	return ST_OK;
}

/* ---- calls ---- */

struct job {
	handler_fn fn;
	const ProtobufCMessage *request;
	struct call call;
	ProtobufCMessage *reply; /* in the call's arena */
	enum status status;
	sem_t *done;
};

static void run_job(void *arg)
{
	struct job *job = arg;
	job->status = job->fn(&job->call, job->request, job->reply);
	sem_post(job->done);
}

struct batch {
	struct job *jobs;
	size_t count;
};

static void spawn_jobs(void *arg)
{
	struct batch *batch = arg;
	for (size_t i = 0; i < batch->count; i++)
		if (!fiber_spawn(world.loop, run_job, &batch->jobs[i]))
			abort();
}

/* Prepares a call of the method; the request must be in memory that may be wiped. */
static handler_fn find_handler(uint32_t method)
{
	const struct handler *at = session_handlers;
	while (at->method && at->method != method)
		at++;
	return at->fn;
}

/* fn NULL: the method's handler. */
static struct job make_job(uint32_t method, handler_fn fn, const ProtobufCMessage *request)
{
	const struct method *found = method_find(method);
	struct arena *arena = arena_new(1 << 20);
	struct job job = {.fn = fn ? fn : find_handler(method), .request = request};
	job.reply = arena_alloc(arena, found->reply->sizeof_message);
	protobuf_c_message_init(found->reply, job.reply);
	job.call = (struct call){
	    .run = &world.run,
	    .method = found,
	    .project = world.project,
	    .actor = "key_test",
	    .operation = id_new(),
	    .deadline_us = clock_monotonic_us() + 20 * US_PER_SEC,
	    .caller = "gateway",
	    .arena = arena,
	};
	secret_random(job.call.request_hash, SHA256_SIZE);
	return job;
}

/* Runs all at once as fibers of the loop and waits for them. */
static void run_jobs(struct job *jobs, size_t count)
{
	struct batch batch = {jobs, count};
	sem_t done;
	sem_init(&done, 0, 0);
	for (size_t i = 0; i < count; i++)
		jobs[i].done = &done;
	loop_post(world.loop, spawn_jobs, &batch);
	for (size_t i = 0; i < count; i++)
		sem_wait(&done);
	sem_destroy(&done);
}

static struct job sign_in_job(const char *login_id, const char *password, const char *ip_address)
{
	Session__CreateSessionRequest *request = malloc(sizeof(*request));
	session__create_session_request__init(request);
	struct job job = make_job(M_SESSION_CREATE_SESSION, NULL, &request->base);
	request->login_id = arena_strdup(job.call.arena, login_id);
	request->password = arena_strdup(job.call.arena, password);
	request->ip_address = ip_address ? arena_strdup(job.call.arena, ip_address) : NULL;
	return job;
}

static struct job refresh_job(const char *token)
{
	Session__RefreshSessionRequest *request = malloc(sizeof(*request));
	session__refresh_session_request__init(request);
	struct job job = make_job(M_SESSION_REFRESH_SESSION, NULL, &request->base);
	request->refresh_token = arena_strdup(job.call.arena, token);
	return job;
}

static void free_job(struct job *job)
{
	free((void *)job->request);
	arena_free(&job->call.arena);
}

/* Signs in; ret_token is the refresh token when ST_OK. */
static enum status sign_in(const char *login_id, const char *password, const char *ip_address,
                           char ret_token[REFRESH_TEXT_SIZE])
{
	struct job job = sign_in_job(login_id, password, ip_address);
	run_jobs(&job, 1);
	if (job.status == ST_OK && ret_token)
		strncpy(ret_token, ((Session__TokenReply *)job.reply)->refresh_token, REFRESH_TEXT_SIZE);
	enum status status = job.status;
	free_job(&job);
	return status;
}

/* Exchanges a token; ret_next may be the same memory. */
static enum status refresh(const char *token, char ret_next[REFRESH_TEXT_SIZE])
{
	struct job job = refresh_job(token);
	run_jobs(&job, 1);
	if (job.status == ST_OK && ret_next)
		strncpy(ret_next, ((Session__TokenReply *)job.reply)->refresh_token, REFRESH_TEXT_SIZE);
	enum status status = job.status;
	free_job(&job);
	return status;
}

/* ---- the database behind the service's back ---- */

static void execute(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);
	cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(connection));
	PQclear(result);
}

static int64_t ask_number(const char *sql)
{
	PGresult *result = PQexec(world.owner, sql);
	cr_assert(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1, "%s: %s", sql,
	          PQerrorMessage(world.owner));
	int64_t number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return number;
}

/* ---- opening and closing ---- */

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void open_service(void)
{
	world.loop = loop_new();
	const struct db_options options = {
	    .loop = world.loop,
	    .conninfo = world.conninfo,
	    .schema = "session",
	    .read_lanes = 2,
	    .write_lanes = 4,
	    .statement_timeout_ms = 10000,
	};
	world.run = (struct process){
	    .service = &session_service, .loop = world.loop, .db = db_new(&options), .state = &world.state};
	world.replica = (struct process){
	    .service = &session_service, .loop = world.loop, .db = db_new(&options), .state = &world.state};
	memset(&world.state, 0, sizeof(world.state));
	world.state.peer = answer_peer;
	world.state.idle_us = 3600 * US_PER_SEC;
	world.state.lifetime_us = 86400 * US_PER_SEC;
	world.state.limits = (struct rules_limits){.login_failures = 50, .network_failures = 300};
	world.state.throttled = metric_counter("test_throttled", "", "");
	world.state.failed = metric_counter("test_failed", "", "");
	world.state.reused = metric_counter("test_reused", "", "");
	refresh_derive_keys("test secret of at least thirty-two", &world.state.keys);
	pthread_create(&world.thread, NULL, run_loop, world.loop);
}

static void close_on_loop(void *arg)
{
	db_free(&world.run.db);
	db_free(&world.replica.db);
	loop_stop(world.loop);
}

static void close_service(void)
{
	loop_post(world.loop, close_on_loop, NULL);
	pthread_join(world.thread, NULL);
	loop_free(&world.loop);
}

static void world_open(void)
{
	char sql[128];
	const char *base = getenv("DENIZEN_TEST_DB");
	if (!base)
		cr_skip_test("DENIZEN_TEST_DB is not set");
	secret_init();
	world =
	    (struct world){.user_status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE, .epoch = 7, .user_exists = true};
	world.project = id_new();
	world.user = id_new();
	id_format("usr", &world.user, world.user_id);
	snprintf(world.name, sizeof(world.name), "test_session_%d_%llx", (int)getpid(), (long long)clock_wall_us());
	PGconn *admin = PQconnectdb(base);
	cr_assert(PQstatus(admin) == CONNECTION_OK, "%s", PQerrorMessage(admin));
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", world.name);
	execute(admin, sql);
	PQfinish(admin);
	snprintf(world.conninfo, sizeof(world.conninfo), "%s dbname=%s", base, world.name);
	world.owner = PQconnectdb(world.conninfo);
	cr_assert(PQstatus(world.owner) == CONNECTION_OK, "%s", PQerrorMessage(world.owner));
	/* The role is the cluster's: tests that start together may both try to make it. */
	enum status status = ST_INTERNAL;
	for (int attempt = 0; attempt < 5 && status != ST_OK; attempt++)
		status = migrate_run(world.conninfo, "session", "", session_migrations);
	cr_assert(status == ST_OK);
	execute(world.owner, "SET search_path = session");
	open_service();
}

static void world_close(void)
{
	char sql[128];
	if (!world.owner)
		return;
	close_service();
	PQfinish(world.owner);
	PGconn *admin = PQconnectdb(getenv("DENIZEN_TEST_DB"));
	snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", world.name);
	execute(admin, sql);
	PQfinish(admin);
}
