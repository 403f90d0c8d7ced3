/* What the gateway remembers: credentials' form, rate limits, revocations, verified tokens, addresses, merged metrics. */
#include "base/clock.h"
#include "base/token.h"
#include "bus/method.h"
#include "front/authn.h"
#include "front/limiter.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/server.h"
#include "local/metrics_merge.h"
#include "tokens/revocation.h"
#include "tokens/token_cache.h"
#include "tokens/token_check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A client may send the header itself; the line that the proxy added comes after it. */
Test(gateway_memory, client_behind_a_proxy)
{
	struct address_list trusted;
	char client[ADDRESS_TEXT_SIZE];
	struct http_request request = {.peer = "10.0.0.1",
	                               .header_count = 4,
	                               .headers = {{"X-Forwarded-For", "6.6.6.6"},
	                                           {"Host", "denizen"},
	                                           {"x-forwarded-for", "203.0.113.9"},
	                                           {"Forwarded", "for=7.7.7.7"}}};
	cr_assert_eq(address_list_parse("10.0.0.0/8", &trusted), ST_OK);
	http_client(&request, &trusted, client);
	cr_assert_str_eq(client, "203.0.113.9");
	request.headers[0].name = request.headers[2].name = "X-Other";
	http_client(&request, &trusted, client);
	cr_assert_str_eq(client, "7.7.7.7", "Forwarded counts where nobody wrote the other one");
	request.peer = "11.0.0.1";
	http_client(&request, &trusted, client);
	cr_assert_str_eq(client, "11.0.0.1", "a stranger says nothing");
}

Test(gateway_memory, limiter)
{
	struct limiter *limiter = limiter_new(10, 5);
	secret_init();
	for (int i = 0; i < 5; i++)
		cr_assert_eq(limiter_take(limiter, "a", 1, 1), 0);
	cr_assert_gt(limiter_take(limiter, "a", 1, 1), 0);
	cr_assert_eq(limiter_take(limiter, "b", 1, 1), 0, "another caller has its own budget");
	cr_assert_gt(limiter_take(limiter, "a", 1, 0), 0, "asking takes nothing but tells the truth");
	struct timespec pause = {.tv_nsec = 250 * 1000 * 1000};
	nanosleep(&pause, NULL);
	cr_assert_eq(limiter_take(limiter, "a", 1, 0), 0);
	cr_assert_eq(limiter_take(limiter, "a", 1, 1), 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(limiter_take_address(limiter, "2001:db8::1", 1), 0);
	cr_assert_gt(limiter_take_address(limiter, "2001:db8::ffff:2", 1), 0, "of the same /64");
	cr_assert_eq(limiter_take_address(limiter, "2001:db8:0:1::1", 1), 0, "of another one");
	limiter_free(&limiter);
	limiter = limiter_new(0, 0);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(limiter_take(limiter, "a", 1, 1), 0);
	limiter_free(&limiter);
}

Test(gateway_memory, revocation)
{
	secret_init();
	struct revocation *revocation = revocation_new(100 * US_PER_MS);
	struct id user = id_new(), other = id_new(), session = id_new(), live = id_new();
	revocation_note_user(revocation, &user, 3);
	revocation_note_user(revocation, &user, 2);
	revocation_note_session(revocation, &session);
	cr_assert(revocation_hit(revocation, &user, &live, 2));
	cr_assert_not(revocation_hit(revocation, &user, &live, 3));
	cr_assert_not(revocation_hit(revocation, &other, &live, 1));
	cr_assert(revocation_hit(revocation, &other, &session, 100));
	cr_assert(revocation_complete(revocation));
	cr_assert_eq(revocation_count(revocation), 2);
	for (int i = 0; i < 2000; i++) {
		struct id id = id_new();
		revocation_note_session(revocation, &id);
	}
	cr_assert_eq(revocation_count(revocation), 2002);
	revocation_free(&revocation);
	cr_assert_null(revocation);
}

static struct token_state live_token(void)
{
	return (struct token_state){.project = id_new(),
	                            .user = id_new(),
	                            .session = id_new(),
	                            .epoch = 7,
	                            .expires_at_sec = clock_wall_us() / US_PER_SEC + 60};
}

Test(gateway_memory, token_cache)
{
	secret_init();
	struct token_cache *cache = token_cache_new();
	struct token_state state = live_token();
	struct token_state found;
	struct buf answer = {0}, out = {0};
	uint8_t hash[SHA256_SIZE];
	struct id stranger = id_new();
	buf_add_str(&answer, "{\"active\":true}");
	secret_sha256("token", 5, hash);
	cr_assert_not(token_cache_get(cache, hash, &state.project, &found, &out));
	token_cache_put(cache, hash, &state, &answer);
	token_cache_put(cache, hash, &state, &answer);
	cr_assert(token_cache_get(cache, hash, &state.project, &found, &out));
	cr_assert_eq(found.epoch, 7);
	cr_assert_eq(out.len, answer.len);
	cr_assert_not(token_cache_get(cache, hash, &stranger, &found, &out), "another project's token is not told");
	state.expires_at_sec = clock_wall_us() / US_PER_SEC;
	token_cache_put(cache, hash, &state, &answer);
	cr_assert_not(token_cache_get(cache, hash, &state.project, &found, &out), "expired");
	for (uint32_t i = 0; i < 100000; i++) {
		secret_sha256(&i, sizeof(i), hash);
		token_cache_put(cache, hash, &state, &answer);
	}
	token_cache_free(&cache);
	buf_free(&answer);
	buf_free(&out);
}

/* A key was withdrawn: what it signed is checked again, also what was being checked when the ledger said so. */
Test(gateway_memory, the_tokens_of_a_project_are_forgotten)
{
	secret_init();
	struct token_cache *cache = token_cache_new();
	struct token_state mine = live_token(), other = live_token(), found;
	struct buf answer = {0}, out = {0};
	uint8_t hashes[2][SHA256_SIZE];
	secret_sha256("mine", 4, hashes[0]);
	secret_sha256("other", 5, hashes[1]);
	buf_add_str(&answer, "{}");
	mine.generation = other.generation = token_cache_generation(cache);
	token_cache_put(cache, hashes[0], &mine, &answer);
	token_cache_put(cache, hashes[1], &other, &answer);
	token_cache_forget(cache, &mine.project);
	cr_assert_not(token_cache_get(cache, hashes[0], &mine.project, &found, &out));
	cr_assert(token_cache_get(cache, hashes[1], &other.project, &found, &out));
	token_cache_put(cache, hashes[0], &mine, &answer);
	cr_assert_not(token_cache_get(cache, hashes[0], &mine.project, &found, &out), "its check began before");
	mine.generation = token_cache_generation(cache);
	token_cache_put(cache, hashes[0], &mine, &answer);
	cr_assert(token_cache_get(cache, hashes[0], &mine.project, &found, &out));
	token_cache_forget(cache, NULL);
	cr_assert_not(token_cache_get(cache, hashes[1], &other.project, &found, &out));
	token_cache_free(&cache);
	buf_free(&answer);
	buf_free(&out);
}

Test(gateway_memory, a_token_names_who_acts)
{
	static const struct {
		const char *payload, *actor;
	} rows[] = {{"{\"sub\":\"usr_1\",\"act\":{\"sub\":\"opr_2\"}}", "opr_2"},
	            {"{\"sub\":\"usr_1\"}", ""},
	            {"{\"note\":\"\\\"act\\\"\",\"x\":{\"act\":{\"sub\":\"opr_2\"}}}", ""},
	            {"{\"act\":\"opr_2\"}", ""},
	            {"{\"act\":{\"sub\":7}}", ""},
	            {"{\"act\":{\"sub\":\"a name that is longer than any id may be, by far\"}}", ""}};
	struct arena *arena = arena_new(1 << 16);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char actor[ID_TEXT_SIZE] = "x";
		token_read_actor(rows[i].payload, arena, actor);
		cr_expect_str_eq(actor, rows[i].actor, "%s", rows[i].payload);
	}
	struct caller caller = {.kind = CALLER_USER, .id = "usr_1"};
	cr_expect_str_eq(caller_actor(&caller), "usr_1");
	memcpy(caller.impersonator, "opr_2", 6);
	cr_expect_str_eq(caller_actor(&caller), "opr_2", "who acts answers for it");
	arena_free(&arena);
}

/* A sign-in that read the epoch before it moved may sign its token as late as its deadline. */
Test(gateway_memory, revocations_are_kept_until_no_token_can_be_believed)
{
	int64_t longest_sec = 0;
	for (unsigned i = 0; i < method_count; i++)
		if (method_table[i].timeout_ms > longest_sec * 1000)
			longest_sec = (method_table[i].timeout_ms + 999) / 1000;
	cr_assert_geq(longest_sec, 10);
	cr_assert_geq(revocation_keep_sec(300), longest_sec + 300 + TOKEN_SKEW_SEC);
}

/* Answers with many claims fill the memory before they fill the table. */
Test(gateway_memory, a_full_token_cache_takes_the_next_token)
{
	secret_init();
	struct token_cache *cache = token_cache_new();
	struct token_state state = live_token();
	struct token_state found;
	struct buf answer = {0}, out = {0};
	uint8_t hash[SHA256_SIZE];
	for (int i = 0; i < 4000; i++)
		buf_add_char(&answer, 'x');
	for (uint32_t i = 0; i < 30000; i++) {
		secret_sha256(&i, sizeof(i), hash);
		token_cache_put(cache, hash, &state, &answer);
		cr_assert(token_cache_get(cache, hash, &state.project, &found, &out), "token %u", i);
		buf_reset(&out);
	}
	token_cache_free(&cache);
	buf_free(&answer);
	buf_free(&out);
}

Test(gateway_memory, metrics_are_grouped)
{
	static const char first[] = "# HELP a A.\n# TYPE a counter\na{p=\"1\"} 1\n# HELP b B.\n# TYPE b gauge\nb 2\n";
	static const char second[] = "# HELP a A.\n# TYPE a counter\na{p=\"2\"} 3\n";
	static const char wanted[] =
	    "# HELP a A.\n# TYPE a counter\na{p=\"1\"} 1\na{p=\"2\"} 3\n# HELP b B.\n# TYPE b gauge\nb 2\n";
	static struct metrics_merge merge;
	struct buf out = {0};
	metrics_merge_add(&merge, first, sizeof(first) - 1);
	metrics_merge_add(&merge, second, sizeof(second) - 1);
	metrics_merge_print(&merge, &out);
	cr_assert_eq(out.len, sizeof(wanted) - 1);
	cr_assert_eq(memcmp(out.data, wanted, out.len), 0);
	metrics_merge_free(&merge);
	buf_free(&out);
}

Test(gateway_memory, problem_document)
{
	static struct exchange exchange;
	exchange.arena = arena_new(1 << 16);
	exchange.failure = (struct failure){
	    .status = ST_RESOURCE_EXHAUSTED, .field = "a.b", .reason = "Too \"many\"", .retry_after_ms = 1001};
	problem_print(&exchange);
	cr_assert_eq(exchange.response.status, 429);
	cr_assert_str_eq(exchange.response.fields->name, "Retry-After");
	cr_assert_str_eq(exchange.response.fields->value, "2");
	buf_add_char(&exchange.response.body, '\0');
	cr_assert(strstr(exchange.response.body.data, "\"field\":\"a.b\"") != NULL);
	cr_assert(strstr(exchange.response.body.data, "Too \\\"many\\\"") != NULL);
	arena_free(&exchange.arena);
	buf_free(&exchange.response.body);
}

/* Descriptors must not run out before threads do: the HTTP library would look for a free one without a pause. */
Test(gateway_memory, server_has_no_more_threads_than_descriptors_are_enough_for)
{
	cr_expect_eq(http_server_threads(1100, 1 << 20), 1100);
	cr_expect_eq(http_server_threads(1100, 1100 + 256 + 128), 1100);
	cr_expect_eq(http_server_threads(1100, 1024), (1024 - 128) * 4 / 5);
	cr_expect_eq(http_server_threads(1100, 256), (256 - 128) * 4 / 5);
	cr_expect_eq(http_server_threads(1100, 100), 4);
	cr_expect_eq(http_server_threads(4, 100), 4);
}
