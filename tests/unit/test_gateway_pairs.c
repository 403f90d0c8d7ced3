/* Queries, forms and cookies: what is read, what is refused, and how it becomes a message. */
#include "http/pairs.h"
#include "identity.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void set_up(void)
{
	arena = arena_new(8 << 20);
}

static void tear_down(void)
{
	arena_free(&arena);
}

TestSuite(gateway_pairs, .init = set_up, .fini = tear_down);

/* name=text|name=text */
static const char *shown(const struct pairs *pairs)
{
	const char *text = "";
	for (size_t i = 0; i < pairs->count; i++)
		text = arena_printf(arena, "%s%s%s=%s", text, i ? "|" : "", pairs->list[i].name, pairs->list[i].text);
	return text;
}

Test(gateway_pairs, queries_are_decoded)
{
	static const char *const cases[][2] = {
	    {"", ""},
	    {"a=1", "a=1"},
	    {"a", "a="},
	    {"a=", "a="},
	    {"a=1&b=2&a=3", "a=1|b=2|a=3"},
	    {"&&a=1&&", "a=1"},
	    {"a=b=c", "a=b=c"},
	    {"a%3Db=%26", "a=b=&"},
	    {"a+b=c+d%2B", "a b=c d+"},
	    {"%c3%A9=%F0%9F%98%80", "\xc3\xa9=\xf0\x9f\x98\x80"},
	    {"a=1;b=2", "a=1;b=2"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pairs pairs = {0};
		struct pbjson_error error = {0};
		cr_assert_eq(pairs_read(cases[i][0], strlen(cases[i][0]), arena, &pairs, &error), ST_OK, "%s",
		             cases[i][0]);
		cr_assert_str_eq(shown(&pairs), cases[i][1]);
	}
}

Test(gateway_pairs, what_is_not_a_query_is_refused)
{
	static const char *const cases[][2] = {
	    {"=1", ""},      {"a=1&=", ""},      {"a=%", "a"},     {"a=%4", "a"},     {"a=%zz", "a"},
	    {"%=1", ""},     {"a=%00", "a"},     {"a%00=1", ""},   {"a=%c0%80", "a"}, {"a=%ed%a0%80", "a"},
	    {"a=\xff", "a"}, {"a=%ff&b=1", "a"}, {"b=1&a=%", "a"},
	};
	struct pairs pairs = {0};
	struct pbjson_error error = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(pairs_read(cases[i][0], strlen(cases[i][0]), arena, &pairs, &error), ST_INVALID_ARGUMENT,
		             "%s", cases[i][0]);
		cr_assert_str_eq(error.field, cases[i][1], "%s named %s", cases[i][0], error.field);
		cr_assert_not_null(error.reason);
	}
	cr_assert_eq(pairs_read("a\0b=1", 5, arena, &pairs, &error), ST_INVALID_ARGUMENT);
	cr_assert_eq(pairs.count, 0);
}

/* `count` times `piece`, then `last`. */
static const char *repeated(const char *piece, size_t count, const char *last)
{
	struct buf text = {0};
	const char *copy;
	for (size_t i = 0; i < count; i++)
		buf_add_str(&text, piece);
	buf_add_str(&text, last);
	copy = arena_strndup(arena, text.data, text.len);
	buf_free(&text);
	return copy;
}

Test(gateway_pairs, numbers_and_sizes_are_bounded)
{
	const struct {
		const char *text;
		enum status status;
	} cases[] = {
	    {repeated("a=1&", PAIRS_MAX - 1, "b=2"), ST_OK},
	    {repeated("a=1&", PAIRS_MAX, "b=2"), ST_INVALID_ARGUMENT},
	    {repeated("n", PAIRS_NAME_MAX_BYTES, "=1"), ST_OK},
	    {repeated("n", PAIRS_NAME_MAX_BYTES + 1, "=1"), ST_INVALID_ARGUMENT},
	    {arena_printf(arena, "a=%s", repeated("v", PAIRS_VALUE_MAX_BYTES, "")), ST_OK},
	    {arena_printf(arena, "a=%s", repeated("v", PAIRS_VALUE_MAX_BYTES + 1, "")), ST_INVALID_ARGUMENT},
	};
	struct arena *small = arena_new(256);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pairs pairs;
		struct pbjson_error error;
		cr_assert_eq(pairs_read(cases[i].text, strlen(cases[i].text), arena, &pairs, &error), cases[i].status,
		             "%zu", i);
	}
	struct pairs pairs = {0};
	struct pbjson_error error = {0};
	cr_assert_eq(pairs_read(cases[0].text, strlen(cases[0].text), small, &pairs, &error), ST_RESOURCE_EXHAUSTED);
	cr_assert(error.field && error.reason && pairs.count == 0);
	arena_free(&small);
}

Test(gateway_pairs, cookies_of_all_headers_are_read_and_strange_ones_left_out)
{
	const struct http_request request = {
	    .headers = {{"Cookie", "a=1; b=\"two\";c=;\t d=4 ; e"},
	                {"X-Cookie", "no=1"},
	                {"cookie", "{odd}=1; f=a b; g={\"x\":1}; =h; i=\xc3\xa9; a=5;; j=%41"}},
	    .header_count = 3};
	struct pairs pairs = {0};
	struct pbjson_error error = {0};
	const char *text = "untouched";

	cr_assert_eq(pairs_read_cookies(&request, arena, &pairs, &error), ST_OK);
	cr_assert_str_eq(shown(&pairs), "a=1|b=two|c=|d=4|a=5|j=%41");
	cr_assert_eq(pairs_find(&pairs, "b", &text), ST_OK);
	cr_assert_str_eq(text, "two");
	cr_assert_eq(pairs_find(&pairs, "a", &text), ST_INVALID_ARGUMENT,
	             "a neighbour of our domain may have set the second");
	cr_assert_eq(pairs_find(&pairs, "B", &text), ST_NOT_FOUND);
	cr_assert_str_eq(text, "two");
}

Test(gateway_pairs, too_many_cookies_are_refused)
{
	const struct http_request request = {
	    .headers = {{"Cookie", repeated("a=1;", PAIRS_MAX - 1, "")}, {"Cookie", "b=1;c=1"}}, .header_count = 2};
	struct pairs pairs = {0};
	struct pbjson_error error = {0};
	cr_assert_eq(pairs_read_cookies(&request, arena, &pairs, &error), ST_INVALID_ARGUMENT);
	cr_assert_eq(pairs.count, 0);
}

static enum status to_message(const char *query, const struct pbjson_rules *rules, ProtobufCMessage *message,
                              struct pbjson_error *ret_error)
{
	struct pairs pairs = {0};
	enum status status = pairs_read(query, strlen(query), arena, &pairs, ret_error);
	return status == ST_OK ? pairs_to_message(&pairs, rules, message, arena, ret_error) : status;
}

Test(gateway_pairs, a_message_is_filled_by_the_rules)
{
	static const char *const skip[] = {"after", NULL}, *const required[] = {"search", NULL};
	static const struct pbjson_style camel = {.camel_case = true, .unknown_ignored = true};
	static const struct pbjson_rules rules = {.skip = skip, .required = required};
	static const struct pbjson_rules loose = {.style = &camel};
	static const char *const wrong[][2] = {{"search=a&limit=x", "limit"}, {"search=a&search=b", "search"},
	                                       {"search=a&after=x", "after"}, {"search=a&no=1", "no"},
	                                       {"limit=1", "search"},         {"search=a&status=gone", "status"}};
	Identity__ListUsersRequest list = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__LookupUsersRequest lookup = IDENTITY__LOOKUP_USERS_REQUEST__INIT;
	struct pbjson_error error = {0};

	cr_assert_eq(to_message("search=a+b&limit=5&status=invited", &rules, &list.base, &error), ST_OK);
	cr_assert(list.limit == 5 && list.status == IDENTITY__USER_STATUS__USER_STATUS_INVITED);
	cr_assert_str_eq(list.search, "a b");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		Identity__ListUsersRequest fresh = IDENTITY__LIST_USERS_REQUEST__INIT;
		cr_assert_eq(to_message(wrong[i][0], &rules, &fresh.base, &error), ST_INVALID_ARGUMENT, "%s",
		             wrong[i][0]);
		cr_assert_str_eq(error.field, wrong[i][1]);
	}
	cr_assert_eq(to_message("ids=a&externalIds=x&ids=b&unknown=1", &loose, &lookup.base, &error), ST_OK);
	cr_assert(lookup.n_ids == 2 && lookup.n_external_ids == 1);
}

Test(gateway_pairs, media_types_are_compared_whole)
{
	static const char form[] = "application/x-www-form-urlencoded";
	static const char *const good[] = {"application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded",
	                                   "application/x-www-form-urlencoded;charset=UTF-8",
	                                   "application/x-www-form-urlencoded ; charset=\"utf-8\""};
	static const char *const bad[] = {"application/x-www-form-urlencodedx", "application/json", "",
	                                  "application/x-www-form-urlencoded; charset=latin1",
	                                  "application/x-www-form-urlencoded, application/json"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_assert(pairs_type_is(good[i], form), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(!pairs_type_is(bad[i], form), "%s", bad[i]);
	cr_assert(!pairs_type_is(NULL, form));
}
