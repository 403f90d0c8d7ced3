/* Set-Cookie as browsers take it, and forms that another site made. */
#include "base/secret.h"
#include "http/cookie.h"
#include "http/pairs.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void set_up(void)
{
	secret_init();
	arena = arena_new(1 << 20);
}

static void tear_down(void)
{
	arena_free(&arena);
}

TestSuite(gateway_cookie, .init = set_up, .fini = tear_down);

Test(gateway_cookie, careful_attributes_are_the_default)
{
	static const struct {
		struct cookie cookie;
		const char *text;
	} cases[] = {
	    {{.name = "__Host-s", .value = "abc"}, "__Host-s=abc; Path=/; Secure; HttpOnly; SameSite=Lax"},
	    {{.name = "s", .value = "", .path = "/sign-in", .same_site = COOKIE_STRICT, .max_age_sec = 60},
	     "s=; Path=/sign-in; Max-Age=60; Secure; HttpOnly; SameSite=Strict"},
	    {{.name = "__Secure-s", .value = "a", .domain = "example.com", .same_site = COOKIE_NONE, .scripted = true},
	     "__Secure-s=a; Path=/; Domain=example.com; Secure; SameSite=None"},
	    {{.name = "s", .value = "a", .insecure = true}, "s=a; Path=/; HttpOnly; SameSite=Lax"},
	    {{.name = "s", .value = "a", .max_age_sec = UINT32_MAX},
	     "s=a; Path=/; Max-Age=34560000; Secure; HttpOnly; SameSite=Lax"},
	    {{.name = "__Host-s"}, "__Host-s=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = NULL;
		cr_assert_eq(cookie_print(&cases[i].cookie, arena, &text), ST_OK, "%s", cases[i].text);
		cr_assert_str_eq(text, cases[i].text);
	}
}

Test(gateway_cookie, what_a_browser_would_drop_or_misread_is_refused)
{
	static const struct cookie cases[] = {
	    {.name = "", .value = "a"},
	    {.name = "a b", .value = "a"},
	    {.name = "a=b", .value = "a"},
	    {.name = "a;b", .value = "a"},
	    {.name = "\xc3\xa9", .value = "a"},
	    {.name = "a", .value = "a;b"},
	    {.name = "a", .value = "a b"},
	    {.name = "a", .value = "a\r\nSet-Cookie: x=1"},
	    {.name = "a", .value = "\"a\""},
	    {.name = "a", .value = "a,b"},
	    {.name = "a", .value = "a", .path = "x"},
	    {.name = "a", .value = "a", .path = ""},
	    {.name = "a", .value = "a", .path = "/; Domain=evil.example"},
	    {.name = "a", .value = "a", .path = "/\n"},
	    {.name = "a", .value = "a", .domain = ""},
	    {.name = "a", .value = "a", .domain = "a; b"},
	    {.name = "a", .value = "a", .insecure = true, .same_site = COOKIE_NONE},
	    {.name = "__Secure-a", .value = "a", .insecure = true},
	    {.name = "__Host-a", .value = "a", .insecure = true},
	    {.name = "__Host-a", .value = "a", .path = "/x"},
	    {.name = "__Host-a", .value = "a", .domain = "example.com"},
	    {.name = "__hOST-a", .value = "a", .domain = "example.com"},
	};
	struct cookie longest = {.name = "a", .value = arena_alloc(arena, 4097)};
	struct arena *small = arena_new(16);
	const char *text = "untouched";

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(cookie_print(&cases[i], arena, &text), ST_INVALID_ARGUMENT, "case %zu", i);
	memset((char *)longest.value, 'x', 4096);
	cr_assert_eq(cookie_print(&longest, arena, &text), ST_INVALID_ARGUMENT);
	cr_assert_eq(cookie_print(&(struct cookie){.name = "abcdefgh", .value = "a"}, small, &text),
	             ST_RESOURCE_EXHAUSTED);
	cr_assert_str_eq(text, "untouched");
	arena_free(&small);
}

Test(gateway_cookie, what_is_printed_is_read_again)
{
	const struct cookie cookie = {.name = "__Host-s", .value = "!#$%&'()*+-./:<=>?@[]^_`{|}~09azAZ"};
	struct http_request request = {.header_count = 1};
	struct pairs pairs;
	struct pbjson_error error;
	const char *text, *value;

	cr_assert_eq(cookie_print(&cookie, arena, &text), ST_OK);
	request.headers[0] = (struct http_header){"Cookie", arena_strndup(arena, text, strcspn(text, ";"))};
	cr_assert_eq(pairs_read_cookies(&request, arena, &pairs, &error), ST_OK);
	cr_assert_eq(pairs_find(&pairs, cookie.name, &value), ST_OK);
	cr_assert_str_eq(value, cookie.value);
}

Test(gateway_cookie, one_answer_sets_several)
{
	struct exchange exchange = {.arena = arena, .response = {.status = 204}};
	struct buf head = {0};
	const char *text;

	cr_assert_eq(cookie_set(&exchange, &(struct cookie){.name = "__Host-a", .value = "1"}), ST_OK);
	cr_assert_eq(cookie_set(&exchange, &(struct cookie){.name = "__Host-b"}), ST_OK);
	cr_assert_eq(cookie_set(&exchange, &(struct cookie){.name = "c", .value = "\r\n"}), ST_INVALID_ARGUMENT);
	http_print_head(&exchange, 0, &head);
	text = arena_strndup(arena, head.data, head.len);
	buf_free(&head);
	cr_assert_not_null(strstr(text, "\r\nSet-Cookie: __Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax\r\n"), "%s",
	                   text);
	cr_assert_not_null(strstr(text, "\r\nSet-Cookie: __Host-b=; Path=/; Max-Age=0; Secure"), "%s", text);
}

/* ---- forms ---- */

TestSuite(gateway_csrf, .init = set_up, .fini = tear_down);

static const uint8_t key[SHA256_SIZE] = "a key of thirty-two bytes or so", other_key[SHA256_SIZE] = "another";
static const struct http_request no_headers;

static enum status check(const char *session, const char *cookie, const char *field)
{
	const struct csrf_proof proof = {session, cookie, field, "https://sign-in.example"};
	return csrf_check(&no_headers, key, &proof);
}

Test(gateway_csrf, a_token_is_good_for_its_session_and_key_only)
{
	char token[CSRF_TOKEN_SIZE], second[CSRF_TOKEN_SIZE], foreign[CSRF_TOKEN_SIZE];
	csrf_token(key, "session-1", token);
	csrf_token(key, "session-1", second);
	csrf_token(other_key, "session-1", foreign);

	cr_assert_eq(strlen(token), CSRF_TOKEN_SIZE - 1);
	cr_assert_str_neq(token, second, "no two tokens are alike");
	cr_assert_eq(check("session-1", token, token), ST_OK);
	cr_assert_eq(check("session-1", second, second), ST_OK);
	cr_assert_eq(check("session-2", token, token), ST_PERMISSION_DENIED, "a token of one session in another");
	cr_assert_eq(check("session-1", foreign, foreign), ST_PERMISSION_DENIED, "a token made with another key");
	cr_assert_eq(check("session-1", token, second), ST_PERMISSION_DENIED, "cookie and field differ");
	cr_assert_eq(check(NULL, token, token), ST_PERMISSION_DENIED);
	cr_assert_eq(check("session-1", NULL, token), ST_PERMISSION_DENIED);
	cr_assert_eq(check("session-1", token, NULL), ST_PERMISSION_DENIED);
	cr_assert_eq(check("session-1", "", ""), ST_PERMISSION_DENIED);
}

Test(gateway_csrf, every_changed_character_is_seen)
{
	char token[CSRF_TOKEN_SIZE], changed[CSRF_TOKEN_SIZE];
	csrf_token(key, "session-1", token);
	for (size_t i = 0; i < CSRF_TOKEN_SIZE - 1; i++) {
		memcpy(changed, token, sizeof(token));
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		cr_assert_eq(check("session-1", changed, changed), ST_PERMISSION_DENIED, "character %zu", i);
		changed[i] = '\0';
		cr_assert_eq(check("session-1", changed, changed), ST_PERMISSION_DENIED, "cut at %zu", i);
	}
}

Test(gateway_csrf, the_browser_is_believed_about_where_a_form_came_from)
{
	static const struct {
		const char *site, *origin;
		bool allowed;
	} cases[] = {
	    {NULL, NULL, true},
	    {"same-origin", NULL, true},
	    {"same-origin", "https://sign-in.example", true},
	    {"none", NULL, true},
	    {"same-site", "https://other.example", false},
	    {"cross-site", "https://sign-in.example", false},
	    {"Same-Origin", NULL, false},
	    {"", NULL, false},
	    {NULL, "https://sign-in.example", true},
	    {NULL, "http://sign-in.example", false},
	    {NULL, "https://sign-in.example:444", false},
	    {NULL, "https://sign-in.example.evil", false},
	    {NULL, "null", false},
	    {NULL, "", false},
	};
	char token[CSRF_TOKEN_SIZE];
	csrf_token(key, "session-1", token);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct csrf_proof proof = {"session-1", token, token, "https://sign-in.example"};
		struct http_request request = {.header_count = 0};
		if (cases[i].site)
			request.headers[request.header_count++] = (struct http_header){"Sec-Fetch-Site", cases[i].site};
		if (cases[i].origin)
			request.headers[request.header_count++] = (struct http_header){"Origin", cases[i].origin};
		cr_assert_eq(csrf_check(&request, key, &proof), cases[i].allowed ? ST_OK : ST_PERMISSION_DENIED,
		             "case %zu", i);
	}
}
