/* Sign-in, listing and ending against real Postgres: throttling, exact counters, retries, the ledger's revocations. */
#include "test_session_world.h"

TestSuite(session_store, .init = world_open, .fini = world_close);

#define HOME "192.0.2.1"
#define STRANGER "198.51.100.1"

static void wait_over(void)
{
	execute(world.owner, "UPDATE throttle SET until_us = 0");
}

Test(session_store, throttles_without_hashing)
{
	for (int i = 0; i < 5; i++)
		cr_assert_eq(sign_in("ann", "wrong", STRANGER, NULL), ST_INVALID_CREDENTIALS);
	cr_assert_eq(world.verified, 5);
	int64_t events = ask_number("SELECT count(*) FROM outbox");
	cr_assert_eq(events, 5);
	struct job job = sign_in_job("ann", "right", STRANGER);
	int64_t before_us = clock_monotonic_us();
	run_jobs(&job, 1);
	cr_assert_lt(clock_monotonic_us() - before_us, 50000);
	cr_assert_eq(job.status, ST_THROTTLED);
	cr_assert_eq(job.call.retry_after_ms, 1000);
	free_job(&job);
	cr_assert_eq(world.verified, 5, "nothing was hashed");
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), events, "and nothing written");
	cr_assert_eq(sign_in("ANN ", "right", STRANGER, NULL), ST_THROTTLED, "another spelling");
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK, "the user elsewhere");
	cr_assert_eq(sign_in("bob", "right", STRANGER, NULL), ST_OK, "another user there");
	wait_over();
	cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_OK);
	cr_assert_eq(ask_number("SELECT count(*) FROM throttle WHERE kind = 1"), 0, "success forgets");
}

Test(session_store, a_flood_from_everywhere_spares_known_networks)
{
	char ip[32];

	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	for (int i = 0; i < 50; i++) {
		snprintf(ip, sizeof(ip), "203.0.%d.1", i);
		cr_assert_eq(sign_in("ann", "wrong", ip, NULL), ST_INVALID_CREDENTIALS);
	}
	cr_assert_eq(sign_in("ann", "right", "203.0.200.1", NULL), ST_THROTTLED);
	cr_assert_eq(sign_in("ann", "right", NULL, NULL), ST_THROTTLED);
	cr_assert_eq(sign_in("ann", "right", "192.0.2.99", NULL), ST_OK);
}

Test(session_store, a_stuffing_network_is_stopped_alone)
{
	char login_id[32];

	world.state.limits.network_failures = 30;
	for (int i = 0; i < 30; i++) {
		snprintf(login_id, sizeof(login_id), "user%d", i);
		cr_assert_eq(sign_in(login_id, "wrong", STRANGER, NULL), ST_INVALID_CREDENTIALS);
	}
	cr_assert_eq(sign_in("fresh", "right", STRANGER, NULL), ST_THROTTLED);
	cr_assert_eq(sign_in("fresh", "right", HOME, NULL), ST_OK);
	cr_assert_eq(sign_in("fresh", "right", NULL, NULL), ST_OK);
}

/* Signs in `ways` times at once, login ids by turns; returns how many were let through to hashing. */
static int guess_at_once(size_t ways, const char *const *logins, size_t login_count, const char *ip_address)
{
	struct job jobs[200];
	int before = world.verified, refused = 0;

	cr_assert_leq(ways, 200);
	for (size_t i = 0; i < ways; i++) {
		jobs[i] = sign_in_job(logins[i % login_count], "wrong", ip_address);
		jobs[i].call.run = i % 2 ? &world.run : &world.replica;
	}
	run_jobs(jobs, ways);
	for (size_t i = 0; i < ways; i++) {
		cr_assert(jobs[i].status == ST_THROTTLED || jobs[i].status == ST_INVALID_CREDENTIALS);
		cr_assert(jobs[i].status != ST_THROTTLED || jobs[i].call.retry_after_ms >= 1000);
		refused += jobs[i].status == ST_THROTTLED;
		free_job(&jobs[i]);
	}
	cr_assert_eq(world.verified - before, (int)ways - refused);
	return world.verified - before;
}

/* By two replicas: only the database knows of both. */
Test(session_store, guesses_at_once_get_no_more_than_guesses_in_turn)
{
	const char *ann[] = {"ann"}, *nobody[] = {"nobody"};

	cr_assert_eq(guess_at_once(200, ann, 1, STRANGER), 5);
	cr_assert_eq(guess_at_once(30, nobody, 1, STRANGER), 5, "nobody's login id alike");
	cr_assert_eq(ask_number("SELECT max(failures) FROM throttle WHERE kind = 1"), 5);
	cr_assert_eq(ask_number("SELECT max(failures) FROM throttle WHERE kind = 2"), 5);
	cr_assert_eq(ask_number("SELECT failures FROM throttle WHERE kind = 3"), 10);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 10);
	wait_over();
	cr_assert_eq(guess_at_once(30, ann, 1, STRANGER), 1, "one after each wait");
	cr_assert_gt(ask_number("SELECT max(until_us) - max(last_us) FROM throttle WHERE kind = 1"), 1000000);
}

Test(session_store, guesses_from_everywhere_at_once_stop_at_the_limit)
{
	char addresses[60][32];
	struct job jobs[60];

	for (int i = 0; i < 60; i++) {
		snprintf(addresses[i], sizeof(addresses[i]), "203.0.%d.1", i);
		jobs[i] = sign_in_job("ann", "wrong", addresses[i]);
	}
	run_jobs(jobs, 60);
	for (int i = 0; i < 60; i++)
		free_job(&jobs[i]);
	cr_assert_eq(world.verified, 50);
	cr_assert_eq(ask_number("SELECT failures FROM throttle WHERE kind = 2"), 50);
	cr_assert_eq(ask_number("SELECT sum(failures) FROM throttle WHERE kind = 1"), 50,
	             "who lost the race gave the place back");
}

Test(session_store, all_login_ids_of_a_user_have_one_count)
{
	const char *logins[] = {"ann", "ann@example.com", "ann-external"};

	cr_assert_eq(guess_at_once(30, logins, 3, STRANGER), 5);
	cr_assert_eq(sign_in("ann@example.com", "right", STRANGER, NULL), ST_THROTTLED);
	cr_assert_eq(sign_in("bob", "right", STRANGER, NULL), ST_OK);
	const char *nobodies[] = {"nobody", "nobody@example.com"};
	cr_assert_eq(guess_at_once(30, nobodies, 2, STRANGER), 10, "what is nobody's has a count of its own");
}

Test(session_store, a_changed_password_ends_the_wait)
{
	const char *ann[] = {"ann"};

	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(guess_at_once(30, ann, 1, HOME), 5);
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_THROTTLED);
	world.password++;
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(ask_number("SELECT count(*) FROM known_network"), 1, "the network stays known");
}

Test(session_store, the_first_sign_in_makes_an_invited_user_active)
{
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_INVITED;
	cr_assert_eq(sign_in("ann", "wrong", HOME, NULL), ST_INVALID_CREDENTIALS);
	cr_assert_eq(world.activated, 0);
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(world.activated, 1);
}

Test(session_store, what_is_no_wrong_password_counts_nowhere)
{
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_DISABLED;
	for (int i = 0; i < 8; i++)
		cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_ACCOUNT_DISABLED);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 8, "but it is on record");
	world.user_status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
	world.identity_busy = true;
	for (int i = 0; i < 8; i++)
		cr_assert_eq(sign_in("ann", "wrong", STRANGER, NULL), ST_RESOURCE_EXHAUSTED);
	world.identity_busy = false;
	world.claims_down = true;
	for (int i = 0; i < 8; i++)
		cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_UNAVAILABLE);
	world.claims_down = false;
	cr_assert_eq(ask_number("SELECT sum(failures) FROM throttle"), 0);
	cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_OK);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 9);
	cr_assert_eq(ask_number("SELECT sum(failures) FROM throttle"), 0);
}

Test(session_store, a_clock_that_was_ahead_shuts_nobody_out)
{
	const char *ann[] = {"ann"};

	cr_assert_eq(guess_at_once(30, ann, 1, STRANGER), 5);
	cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_THROTTLED);
	execute(world.owner, "UPDATE throttle SET last_us = last_us + 86400000000, since_us = since_us + 86400000000, "
	                     "until_us = until_us + 86400000000, purge_at_us = purge_at_us + 86400000000");
	cr_assert_eq(guess_at_once(30, ann, 1, STRANGER), 5, "the count begins again");
	cr_assert_lt(ask_number("SELECT max(until_us) - (extract(epoch FROM now()) * 1000000)::bigint FROM throttle"),
	             2000000);
	cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_THROTTLED);
	/* By less than a minute it may be two statements that crossed. */
	execute(world.owner, "UPDATE throttle SET last_us = last_us + 30000000, until_us = until_us + 30000000");
	cr_assert_eq(sign_in("ann", "right", STRANGER, NULL), ST_THROTTLED);
}

Test(session_store, waits_grow_and_windows_end)
{
	const int64_t waits[] = {0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900};
	const char *ann[] = {"ann"};

	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		cr_assert_eq(guess_at_once(1, ann, 1, STRANGER), 1);
		cr_assert_eq(
		    ask_number(
		        "SELECT CASE until_us WHEN 0 THEN 0 ELSE (until_us - last_us) / 1000000 END FROM throttle "
		        "WHERE kind = 1"),
		    waits[i], "after %zu failures", i + 1);
		wait_over();
	}
	cr_assert_eq(guess_at_once(1, ann, 1, NULL), 1);
	execute(world.owner, "UPDATE throttle SET failures = 30 WHERE kind = 1");
	cr_assert_eq(guess_at_once(1, ann, 1, NULL), 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM throttle WHERE kind = 1 AND until_us - last_us = 60000000"), 1,
	             "without an address a minute at most");
	execute(world.owner, "UPDATE throttle SET purge_at_us = 1");
	cr_assert_eq(guess_at_once(30, ann, 1, STRANGER), 5, "windows end");
	cr_assert_eq(ask_number("SELECT max(failures) FROM throttle WHERE kind = 1 AND purge_at_us > 1"), 5);
}

/* Neighbours in a known network cost a minute at most, until they are so many that it is an attack from there. */
Test(session_store, a_known_network_waits_a_minute_at_most)
{
	const char *ann[] = {"ann"};

	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(guess_at_once(1, ann, 1, HOME), 1);
	cr_assert_eq(ask_number("SELECT sum(failures) FROM throttle WHERE kind = 2"), 0,
	             "nothing that would shut strangers out");
	execute(world.owner, "UPDATE throttle SET failures = 98 WHERE kind = 1");
	cr_assert_eq(guess_at_once(1, ann, 1, HOME), 1);
	cr_assert_eq(ask_number("SELECT until_us - last_us FROM throttle WHERE kind = 1"), 60000000);
	execute(world.owner, "UPDATE throttle SET failures = 100, until_us = 0 WHERE kind = 1");
	cr_assert_eq(guess_at_once(1, ann, 1, HOME), 1);
	cr_assert_eq(ask_number("SELECT until_us - last_us FROM throttle WHERE kind = 1"), 900000000);
}

Test(session_store, a_retried_sign_in_gets_the_same_session)
{
	struct job first = sign_in_job("ann", "right", HOME), second = sign_in_job("ann", "right", HOME),
	           other = sign_in_job("ann", "right", HOME), late = sign_in_job("ann", "right", HOME);
	struct job *again[] = {&second, &other, &late};
	char token[REFRESH_TEXT_SIZE];

	for (int i = 0; i < 3; i++) {
		again[i]->call.operation = first.call.operation;
		memcpy(again[i]->call.request_hash, first.call.request_hash, SHA256_SIZE);
	}
	other.call.request_hash[0] ^= 1;
	run_jobs(&first, 1);
	run_jobs(&second, 1);
	run_jobs(&other, 1);
	cr_assert_eq(first.status, ST_OK);
	cr_assert_eq(second.status, ST_OK);
	cr_assert_eq(other.status, ST_CONFLICT);
	Session__TokenReply *a = (Session__TokenReply *)first.reply, *b = (Session__TokenReply *)second.reply;
	cr_assert_str_eq(a->refresh_token, b->refresh_token);
	cr_assert_str_eq(a->session->id, b->session->id);
	cr_assert_str_eq(a->session->user_id, world.user_id);
	cr_assert_str_eq(a->session->ip_address, HOME);
	cr_assert_str_eq(a->token_type, "Bearer");
	cr_assert_eq(ask_number("SELECT count(*) FROM session"), 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 1);
	cr_assert_eq(refresh(a->refresh_token, token), ST_OK);
	run_jobs(&late, 1);
	cr_assert_eq(late.status, ST_CONFLICT, "its first token was used");
	free_job(&first);
	free_job(&second);
	free_job(&other);
	free_job(&late);
}

Test(session_store, checks_the_request)
{
	static char long_text[2000];
	struct {
		const char *login_id, *email, *password, *field;
	} cases[] = {
	    {NULL, NULL, "right", "login_id"},
	    {"", NULL, "right", "login_id"},
	    {NULL, "", "right", "email"},
	    {"a", "b", "right", "email"},
	    {" \t", NULL, "right", "login_id"},
	    {"an\u200bn", NULL, "right", "login_id"},
	    {NULL, "an\nn@example.com", "right", "email"},
	    {"a", "a\u202e", "right", "email"},
	    {"a", NULL, NULL, "password"},
	    {"a", NULL, "", "password"},
	    {"a", NULL, long_text, "password"},
	    {long_text, NULL, "right", "login_id"},
	};
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job job = sign_in_job("a", "right", NULL);
		Session__CreateSessionRequest *request = (Session__CreateSessionRequest *)job.request;
		request->login_id = (char *)cases[i].login_id;
		request->email = (char *)cases[i].email;
		request->password = cases[i].password ? arena_strdup(job.call.arena, cases[i].password) : NULL;
		run_jobs(&job, 1);
		cr_assert_eq(job.status, ST_INVALID_ARGUMENT, "case %zu", i);
		cr_assert_str_eq(job.call.field, cases[i].field, "case %zu", i);
		free_job(&job);
	}
	cr_assert_eq(world.verified, 0);
	cr_assert_eq(ask_number("SELECT count(*) FROM throttle"), 0, "a slip counts nowhere");
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 0);
}

Test(session_store, what_a_device_sends_is_information)
{
	static char long_text[2000];
	const struct {
		const char *ip_address, *user_agent, *shown_ip, *shown_agent;
		size_t agent_bytes;
	} cases[] = {
	    {"here", "", NULL, NULL, 0},
	    {"", "x", NULL, "x", 1},
	    {"300.1.1.1", NULL, NULL, NULL, 0},
	    {"192.0.2.1:4711", NULL, HOME, NULL, 0},
	    {" [2001:DB8:0::1]:80 ", NULL, "2001:db8::1", NULL, 0},
	    {"fe80::1%eth0", NULL, "fe80::1", NULL, 0},
	    {"10.0.0.1, 192.0.2.1", NULL, HOME, NULL, 0},
	    {"for=\"192.0.2.1:80\";proto=https", NULL, HOME, NULL, 0},
	    {"::ffff:192.0.2.1", long_text, HOME, "xxx\u00fc\u00fc", 511},
	};
	memset(long_text, 'x', 3);
	for (size_t i = 3; i < sizeof(long_text) - 2; i += 2)
		memcpy(long_text + i, "\u00fc", 2); /* the 512th byte is in the middle of a letter */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job job = sign_in_job("a", "right", cases[i].ip_address);
		((Session__CreateSessionRequest *)job.request)->user_agent = (char *)cases[i].user_agent;
		run_jobs(&job, 1);
		cr_assert_eq(job.status, ST_OK, "case %zu", i);
		const Session__Session *shown = ((Session__TokenReply *)job.reply)->session;
		const char *ip = cases[i].shown_ip, *agent = cases[i].shown_agent;
		cr_assert(ip ? shown->ip_address && !strcmp(shown->ip_address, ip) : !shown->ip_address, "case %zu", i);
		cr_assert_eq(!agent, !shown->user_agent, "case %zu", i);
		cr_assert(!agent || strncmp(shown->user_agent, agent, strlen(agent)) == 0, "case %zu", i);
		cr_assert(!agent || strlen(shown->user_agent) == cases[i].agent_bytes, "case %zu", i);
		free_job(&job);
	}
}

Test(session_store, understands_white_space_around_a_login_id)
{
	struct job job = sign_in_job(" Ann\u3000", "right", HOME);
	Session__CreateSessionRequest *request = (Session__CreateSessionRequest *)job.request;

	request->email = (char *)"ann\n";
	run_jobs(&job, 1);
	cr_assert_eq(job.status, ST_OK);
	cr_assert_str_eq(world.login, "ann", "identity is asked for the canonical form");
	free_job(&job);
}

static Session__ListSessionsReply *list(struct job *job, uint32_t limit, const char *after)
{
	static Session__ListSessionsRequest request;
	session__list_sessions_request__init(&request);
	*job = make_job(M_SESSION_LIST_SESSIONS, NULL, &request.base);
	request.user_id = world.user_id;
	request.has_limit = true;
	request.limit = limit;
	request.after = (char *)after;
	run_jobs(job, 1);
	return (Session__ListSessionsReply *)job->reply;
}

Test(session_store, lists_newest_first_with_exact_total)
{
	struct job page, next;
	char seen[25][ID_TEXT_SIZE];
	size_t count = 0;
	char *after = NULL;

	list(&page, 10, NULL);
	cr_assert_eq(page.status, ST_OK);
	cr_assert_eq(((Session__ListSessionsReply *)page.reply)->total, 0);
	arena_free(&page.call.arena);
	for (int i = 0; i < 25; i++)
		cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	execute(world.owner, "UPDATE session SET created_at_us = created_at_us / 1000000 * 1000000"); /* ties */
	do {
		Session__ListSessionsReply *reply = list(&next, 10, after);
		cr_assert_eq(next.status, ST_OK);
		cr_assert_eq(reply->total, 25);
		for (size_t i = 0; i < reply->n_data; i++)
			strncpy(seen[count++], reply->data[i]->id, ID_TEXT_SIZE);
		free(after);
		after = reply->next ? strdup(reply->next) : NULL;
		arena_free(&next.call.arena);
	} while (after && count < 25);
	cr_assert_eq(count, 25);
	cr_assert_null(after);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			cr_assert_str_neq(seen[i], seen[j]);
	list(&page, 10, "nonsense");
	cr_assert_eq(page.status, ST_INVALID_ARGUMENT);
	arena_free(&page.call.arena);
	list(&page, 201, NULL);
	cr_assert_eq(page.status, ST_INVALID_ARGUMENT);
	arena_free(&page.call.arena);
	execute(world.owner, "DELETE FROM session");
	world.user_exists = false;
	list(&page, 10, NULL);
	cr_assert_eq(page.status, ST_NOT_FOUND);
	arena_free(&page.call.arena);
}

static struct job end_job(const char *session_id)
{
	static Session__EndSessionRequest request;
	session__end_session_request__init(&request);
	request.session_id = (char *)session_id;
	return make_job(M_SESSION_END_SESSION, NULL, &request.base);
}

static bool check_active(const char *session_id, int64_t epoch)
{
	Session__CheckSessionRequest request = SESSION__CHECK_SESSION_REQUEST__INIT;
	request.session_id = (char *)session_id;
	request.has_epoch = true;
	request.epoch = epoch;
	struct job job = make_job(M_SESSION_CHECK_SESSION, NULL, &request.base);
	run_jobs(&job, 1);
	cr_assert_eq(job.status, ST_OK);
	bool active = ((Session__CheckSessionReply *)job.reply)->active;
	arena_free(&job.call.arena);
	return active;
}

Test(session_store, ends_one_session_once)
{
	struct job job = sign_in_job("ann", "right", HOME), jobs[10];
	int ended = 0;

	run_jobs(&job, 1);
	const char *session_id = ((Session__TokenReply *)job.reply)->session->id;
	cr_assert(check_active(session_id, world.epoch));
	cr_assert(!check_active(session_id, world.epoch - 1));
	cr_assert(!check_active("ses_nonsense", world.epoch));
	for (int i = 0; i < 10; i++)
		jobs[i] = end_job(session_id);
	run_jobs(jobs, 10);
	for (int i = 0; i < 10; i++) {
		ended += jobs[i].status == ST_OK;
		cr_assert(jobs[i].status == ST_OK || jobs[i].status == ST_NOT_FOUND);
		arena_free(&jobs[i].call.arena);
	}
	cr_assert_eq(ended, 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 2);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox WHERE revokes"), 1);
	cr_assert_eq(ask_number("SELECT count(*) FROM operation"), 1);
	cr_assert(!check_active(session_id, world.epoch));
	free_job(&job);
}

Test(session_store, ends_all_sessions_of_a_user)
{
	static Session__EndUserSessionsRequest request;
	char token[REFRESH_TEXT_SIZE];

	for (int i = 0; i < 3; i++)
		cr_assert_eq(sign_in("ann", "right", HOME, token), ST_OK);
	session__end_user_sessions_request__init(&request);
	request.user_id = world.user_id;
	struct job job = make_job(M_SESSION_END_USER_SESSIONS, NULL, &request.base);
	run_jobs(&job, 1);
	cr_assert_eq(job.status, ST_OK);
	arena_free(&job.call.arena);
	cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), 0);
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 4, "one event for all");
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox WHERE revokes"), 1);
	cr_assert_eq(refresh(token, NULL), ST_INVALID_TOKEN);
	cr_assert_eq(sign_in("ann", "right", HOME, token), ST_OK);
	cr_assert_eq(refresh(token, NULL), ST_OK, "a new session lives");
}

Test(session_store, a_user_without_sessions_has_all_of_them_ended)
{
	static Session__EndUserSessionsRequest request;

	session__end_user_sessions_request__init(&request);
	request.user_id = world.user_id;
	for (int i = 0; i < 2; i++) {
		struct job job = make_job(M_SESSION_END_USER_SESSIONS, NULL, &request.base);
		job.call.keyed = i == 1;
		run_jobs(&job, 1);
		cr_assert_eq(job.status, ST_OK);
		arena_free(&job.call.arena);
		cr_assert_eq(ask_number("SELECT count(*) FROM operation"), i, "on record when it may come again");
	}
	cr_assert_eq(ask_number("SELECT count(*) FROM outbox"), 0);
}

static struct service_revocation revocations[3];
static int64_t revocation_next;

static enum status apply_revocations(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct sql_scope scope = call_sql(call);
	return service_revoke(&scope, revocations, 3, revocation_next);
}

Test(session_store, applies_the_ledger_any_number_of_times)
{
	struct job jobs[8];
	char token[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann", "right", HOME, token), ST_OK);
	revocations[0] = (struct service_revocation){world.project, world.user, world.epoch};
	revocations[1] = (struct service_revocation){world.project, id_new(), INT64_MAX};
	revocations[2] = (struct service_revocation){id_new(), world.user, INT64_MAX};
	for (int round = 0; round < 3; round++) {
		revocation_next = round < 2 ? 10 + round : 5; /* the last one is a replica that is behind */
		if (round == 1)
			revocations[0].epoch = world.epoch + 1;
		for (int i = 0; i < 8; i++)
			jobs[i] = make_job(M_SESSION_END_SESSION, apply_revocations, NULL);
		run_jobs(jobs, 8);
		for (int i = 0; i < 8; i++) {
			cr_assert(jobs[i].status == ST_OK || jobs[i].status == ST_ABORTED);
			arena_free(&jobs[i].call.arena);
		}
		cr_assert_eq(ask_number("SELECT count(*) FROM session WHERE ended_at_us IS NULL"), round == 0);
		cr_assert_eq(ask_number("SELECT position FROM follow_position"), round == 0 ? 10 : 11);
	}
}

static enum status purge(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct sql_scope scope = call_sql(call);
	bool more = false;
	return service_purge(&scope, &more);
}

Test(session_store, purges_what_counts_for_nothing)
{
	cr_assert_eq(sign_in("ann", "right", HOME, NULL), ST_OK);
	cr_assert_eq(sign_in("bob", "wrong", HOME, NULL), ST_INVALID_CREDENTIALS);
	for (int round = 0; round < 2; round++) {
		struct job job = make_job(M_SESSION_END_SESSION, purge, NULL);
		run_jobs(&job, 1);
		cr_assert_eq(job.status, ST_OK);
		arena_free(&job.call.arena);
		int64_t rows = ask_number("SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM throttle) + "
		                          "(SELECT count(*) FROM known_network)");
		cr_assert_eq(rows, round == 0 ? 6 : 0);
		execute(world.owner, "UPDATE session SET purge_at_us = 1");
		execute(world.owner, "UPDATE throttle SET purge_at_us = 1");
		execute(world.owner, "UPDATE known_network SET seen_at_us = 1");
	}
}

/* A dump of the schema must not help a thief. */
Test(session_store, stores_no_secret)
{
	char token[REFRESH_TEXT_SIZE];

	cr_assert_eq(sign_in("ann-login", "right", HOME, token), ST_OK);
	cr_assert_eq(refresh(token, token), ST_OK);
	cr_assert_eq(sign_in("ann-login", "wrong-password", STRANGER, NULL), ST_INVALID_CREDENTIALS);
	const char *tables[] = {"session", "throttle", "known_network", "operation", "outbox"};
	for (size_t i = 0; i < 5; i++) {
		char sql[256];
		snprintf(
		    sql, sizeof(sql),
		    "SELECT count(*) FROM %s t WHERE t::text LIKE '%%ann-login%%' OR t::text LIKE '%%wrong-pass%%' "
		    "OR t::text LIKE '%%%s%%' OR t::text LIKE '%%drt!_%%' ESCAPE '!'",
		    tables[i], STRANGER);
		cr_assert_eq(ask_number(sql), 0, "%s", tables[i]);
	}
}
