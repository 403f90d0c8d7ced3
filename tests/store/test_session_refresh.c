/* Refresh families against real Postgres: one rotation of a hundred, replay window, reuse, revocation, restart. */
#include "test_session_world.h"

TestSuite(session_refresh_store, .init = world_open, .fini = world_close);

#define WAYS 100
#define HOUR "3600000000"

Test(session_refresh_store, a_hundred_at_once_rotate_once)
{
	char token[REFRESH_TEXT_SIZE];
	static char answers[WAYS][REFRESH_TEXT_SIZE];
	struct job jobs[WAYS];

	cr_assert_eq(sign_in("ann", "right", "192.0.2.1", token), ST_OK);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < WAYS; i++)
			jobs[i] = refresh_job(token);
		run_jobs(jobs, WAYS);
		for (int i = 0; i < WAYS; i++) {
			cr_assert_eq(jobs[i].status, ST_OK, "round %d way %d: %s", round, i,
			             status_name((int)jobs[i].status));
			strncpy(answers[i], ((Session__TokenReply *)jobs[i].reply)->refresh_token, REFRESH_TEXT_SIZE);
			free_job(&jobs[i]);
		}
		for (int i = 0; i < WAYS; i++)
			cr_assert_str_eq(answers[i], answers[0], "everybody gets the same successor");
		cr_assert_str_neq(answers[0], token);
		cr_assert_eq(ask_number("SELECT generation FROM session"), round + 2, "exactly one rotation");
		memcpy(token, answers[0], sizeof(token));
	}
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 1);
}

Test(session_refresh_store, a_spent_token_ends_the_family_once)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE], again[REFRESH_TEXT_SIZE];
	struct job jobs[20];

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	cr_assert_eq(refresh(first, second), ST_OK);
	cr_assert_eq(refresh(first, again), ST_OK, "within ten seconds");
	cr_assert_str_eq(second, again);
	execute(world.owner, "UPDATE session SET rotated_at_us = rotated_at_us - 11000000");
	int64_t events = ask_number("SELECT count(*) FROM outbox");
	for (int i = 0; i < 20; i++)
		jobs[i] = refresh_job(first);
	run_jobs(jobs, 20);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(jobs[i].status, ST_INVALID_TOKEN);
		free_job(&jobs[i]);
	}
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), events + 1, "one event");
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox WHERE revokes"), 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE end_reason = 'refresh_reused'"), 1);
	cr_assert_eq(refresh(second, NULL), ST_INVALID_TOKEN, "the thief and the owner are both out");
}

Test(session_refresh_store, two_generations_back_is_reuse_even_within_the_window)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE], third[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	cr_assert_eq(refresh(first, second), ST_OK);
	cr_assert_eq(refresh(second, third), ST_OK);
	cr_assert_eq(refresh(first, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(refresh(third, NULL), ST_INVALID_TOKEN);
}

Test(session_refresh_store, a_restored_backup_does_not_revive_old_tokens)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	execute(world.owner, "CREATE TABLE public.backup AS SELECT * FROM session");
	cr_assert_eq(refresh(first, second), ST_OK);
	execute(world.owner, "DELETE FROM session");
	execute(world.owner, "INSERT INTO session SELECT * FROM public.backup");
	cr_assert_eq(refresh(second, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 0);
}

Test(session_refresh_store, a_restart_changes_nothing)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE], again[REFRESH_TEXT_SIZE], third[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	cr_assert_eq(refresh(first, second), ST_OK);
	close_service();
	open_service();
	cr_assert_eq(refresh(first, again), ST_OK);
	cr_assert_str_eq(again, second);
	cr_assert_eq(refresh(second, third), ST_OK);
	execute(world.owner, "UPDATE session SET rotated_at_us = rotated_at_us - 11000000");
	close_service();
	open_service();
	cr_assert_eq(refresh(second, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(refresh(third, NULL), ST_INVALID_TOKEN);
}

Test(session_refresh_store, a_failure_of_claims_spends_no_token)
{
	char first[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	world.claims_down = true;
	cr_assert_eq(refresh(first, NULL), ST_UNAVAILABLE);
	execute(world.owner, "UPDATE session SET rotated_at_us = rotated_at_us - 60000000");
	world.claims_down = false;
	cr_assert_eq(refresh(first, NULL), ST_OK, "a minute later");
}

Test(session_refresh_store, users_who_may_nothing_lose_the_session)
{
	char token[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_DISABLED;
	cr_assert_eq(refresh(token, NULL), ST_ACCOUNT_DISABLED);
	cr_assert_eq(refresh(token, NULL), ST_ACCOUNT_DISABLED, "the same answer when the session has ended");
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN, "ended for good");

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	world.epoch++;
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN, "its epoch is over");

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	world.user_exists = false;
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 0);
}

/* Whose token it is; ret_user may be NULL. */
static enum status resolve(const char *token, char ret_user[ID_TEXT_SIZE])
{
	Session__ResolveRefreshTokenRequest request = SESSION__RESOLVE_REFRESH_TOKEN_REQUEST__INIT;
	struct job job = make_job(M_SESSION_RESOLVE_REFRESH_TOKEN, NULL, &request.base);
	request.refresh_token = arena_strdup(job.call.arena, token);
	run_jobs(&job, 1);
	const Session__ResolveRefreshTokenReply *reply = (const Session__ResolveRefreshTokenReply *)job.reply;
	if (job.status == ST_OK && ret_user)
		strncpy(ret_user, reply->user_id, ID_TEXT_SIZE);
	if (job.status == ST_OK)
		cr_assert_eq(strncmp(reply->session_id, "ses_", 4), 0);
	arena_free(&job.call.arena);
	return job.status;
}

/* A credential is believed as long as it could be exchanged, and asking spends nothing. */
Test(session_refresh_store, a_token_names_its_user)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE], user[ID_TEXT_SIZE] = "";

	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(resolve(first, user), ST_OK);
	cr_assert_str_eq(user, world.user_id);
	cr_assert_eq(ask_number("SELECT generation FROM session"), 1);
	cr_assert_eq(refresh(first, second), ST_OK);
	cr_assert_eq(resolve(second, NULL), ST_OK);
	cr_assert_eq(resolve(first, NULL), ST_OK, "its successor may still be on its way");
	execute(world.owner, "UPDATE session SET rotated_at_us = rotated_at_us - 11000000");
	cr_assert_eq(resolve(first, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(resolve(second, NULL), ST_OK, "a spent one that is shown ends nothing");
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_DISABLED;
	cr_assert_eq(resolve(second, NULL), ST_ACCOUNT_DISABLED);
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
	world.epoch++;
	cr_assert_eq(resolve(second, NULL), ST_INVALID_TOKEN);
	world.epoch--;
	execute(world.owner, "UPDATE session SET expires_at_us = 1");
	cr_assert_eq(resolve(second, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(resolve("drt_nonsense", NULL), ST_INVALID_TOKEN);
	cr_assert_eq(resolve("", NULL), ST_INVALID_ARGUMENT);
}

Test(session_refresh_store, lifetimes)
{
	char token[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	execute(world.owner, "UPDATE session SET dies_at_us = last_used_at_us + 60000000");
	cr_assert_eq(refresh(token, token), ST_OK);
	cr_assert_eq(ask_number("SELECT (expires_at_us = dies_at_us)::int FROM session"), 1);
	execute(world.owner, "UPDATE session SET expires_at_us = 1");
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN);
}

Test(session_refresh_store, a_token_does_not_outlive_its_session)
{
	char first[REFRESH_TEXT_SIZE], second[REFRESH_TEXT_SIZE];

	world.state.idle_us = 100 * US_PER_SEC;
	cr_assert_eq(sign_in("ann", "right", NULL, first), ST_OK);
	cr_assert(world.lifetime_sec > 90 && world.lifetime_sec <= 100, "%u s", world.lifetime_sec);
	execute(world.owner, "UPDATE session SET expires_at_us = expires_at_us - 50000000");
	cr_assert_eq(refresh(first, second), ST_OK);
	cr_assert(world.lifetime_sec > 90 && world.lifetime_sec <= 100, "it slid by the refresh: %u s",
	          world.lifetime_sec);
	execute(world.owner, "UPDATE session SET expires_at_us = expires_at_us - 50000000");
	cr_assert_eq(refresh(first, NULL), ST_OK);
	cr_assert(world.lifetime_sec > 40 && world.lifetime_sec <= 50, "the same answer slides nothing: %u s",
	          world.lifetime_sec);
	execute(world.owner, "UPDATE session SET dies_at_us = expires_at_us - 20000000");
	cr_assert_eq(refresh(second, NULL), ST_OK);
	cr_assert(world.lifetime_sec > 20 && world.lifetime_sec <= 30, "the end of its life: %u s", world.lifetime_sec);
}

Test(session_refresh_store, another_project_is_refused)
{
	char token[REFRESH_TEXT_SIZE];
	struct id own = world.project;

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	world.project = id_new();
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN);
	world.project = own;
	cr_assert_eq(refresh(token, NULL), ST_OK);
	cr_assert_eq(refresh("drt_nonsense", NULL), ST_INVALID_TOKEN);
	cr_assert_eq(refresh("", NULL), ST_INVALID_ARGUMENT);
}

Test(session_refresh_store, rotation_stays_heap_only)
{
	char token[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", NULL, token), ST_OK);
	for (int i = 0; i < 30; i++)
		cr_assert_eq(refresh(token, token), ST_OK);
	close_service(); /* statistics are sent when a connection ends */
	open_service();
	cr_assert_eq(refresh(token, token), ST_OK);
	int64_t updated = 0;
	for (int i = 0; i < 50 && updated < 30; i++) {
		usleep(100000);
		updated = ask_number("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'session'");
	}
	cr_assert_geq(updated, 30);
	cr_assert_leq(ask_number("SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'session'"),
	              2);
}
