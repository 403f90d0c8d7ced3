/* Values that are no bodies: parameters, free objects and their merging, strings of received messages. */
#include "base/utf8.h"
#include "envelope.pb-c.h"
#include "identity.pb-c.h"
#include "test_pbjson.h"

#include <stdint.h>
#include <stdio.h>

TestSuite(pbjson_value, .init = set_up, .fini = tear_down);

/* ---- pbjson_set ---- */

Test(pbjson_value, parameters_are_converted)
{
	Identity__ListUsersRequest list = IDENTITY__LIST_USERS_REQUEST__INIT;
	Bus__Header header = BUS__HEADER__INIT;
	Identity__LookupUsersRequest lookup = IDENTITY__LOOKUP_USERS_REQUEST__INIT;
	Identity__Key key = IDENTITY__KEY__INIT;
	Identity__User user = IDENTITY__USER__INIT;
	struct pbjson_error error = {0};
	char text[16];

	cr_assert(pbjson_set(&list.base, "limit", "4294967295", arena, &error) == ST_OK);
	cr_assert(pbjson_set(&list.base, "search", "", arena, &error) == ST_OK);
	cr_assert(pbjson_set(&list.base, "status", "invited", arena, &error) == ST_OK);
	cr_assert(list.has_limit && list.limit == UINT32_MAX && !*list.search);
	cr_assert(list.has_status && list.status == IDENTITY__USER_STATUS__USER_STATUS_INVITED);
	cr_assert(pbjson_set(&header.base, "call_id", "9223372036854775807", arena, &error) == ST_OK);
	cr_assert(pbjson_set(&header.base, "trace_id", "AAEC", arena, &error) == ST_OK);
	cr_assert(header.call_id == INT64_MAX && header.has_trace_id && header.trace_id.len == 3);
	cr_assert(pbjson_set(&key.base, "expires_at", "2026-09-21T14:13:20Z", arena, &error) == ST_OK);
	cr_assert(key.has_expires_at_us && key.expires_at_us == 1790000000000000);
	cr_assert(pbjson_set(&user.base, "email_verified", "false", arena, &error) == ST_OK);
	cr_assert(pbjson_set(&user.base, "attributes", "{ \"a\" : 1 }", arena, &error) == ST_OK);
	cr_assert(user.has_email_verified && !user.email_verified);
	assert_text(user.attributes_json, "{\"a\":1}");
	for (int i = 0; i < 100; i++) {
		(void)snprintf(text, sizeof text, "%d", i);
		cr_assert(pbjson_set(&lookup.base, "ids", text, arena, &error) == ST_OK);
	}
	cr_assert(lookup.n_ids == 100);
	assert_text(lookup.ids[0], "0");
	assert_text(lookup.ids[99], "99");
}

Test(pbjson_value, wrong_parameters_are_refused)
{
	static const struct {
		const char *name, *text;
		enum status status;
	} cases[] = {
	    {"limit", "", ST_INVALID_ARGUMENT},
	    {"limit", "-1", ST_INVALID_ARGUMENT},
	    {"limit", "+1", ST_INVALID_ARGUMENT},
	    {"limit", " 1", ST_INVALID_ARGUMENT},
	    {"limit", "1 ", ST_INVALID_ARGUMENT},
	    {"limit", "1.0", ST_INVALID_ARGUMENT},
	    {"limit", "01", ST_INVALID_ARGUMENT},
	    {"limit", "0x1", ST_INVALID_ARGUMENT},
	    {"limit", "4294967296", ST_INVALID_ARGUMENT},
	    {"limit", "99999999999999999999", ST_INVALID_ARGUMENT},
	    {"status", "Active", ST_INVALID_ARGUMENT},
	    {"status", "act", ST_INVALID_ARGUMENT},
	    {"search", "\xff", ST_INVALID_ARGUMENT},
	    {"nope", "1", ST_NOT_FOUND},
	    {"", "1", ST_NOT_FOUND},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		Identity__ListUsersRequest list = IDENTITY__LIST_USERS_REQUEST__INIT;
		struct pbjson_error error = {0};

		cr_assert(pbjson_set(&list.base, cases[i].name, cases[i].text, arena, &error) == cases[i].status,
		          "%s=%s", cases[i].name, cases[i].text);
		assert_text(error.field, cases[i].name);
		cr_assert(!list.has_limit && !list.has_status && !list.search);
	}
}

Test(pbjson_value, a_parameter_given_twice_is_refused)
{
	Identity__ListUsersRequest list = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__UpdateUserRequest update = IDENTITY__UPDATE_USER_REQUEST__INIT;
	struct pbjson_error error = {0};

	cr_assert(pbjson_set(&list.base, "limit", "1", arena, &error) == ST_OK);
	cr_assert(pbjson_set(&list.base, "limit", "1", arena, &error) == ST_INVALID_ARGUMENT);
	cr_assert(pbjson_set(&update.base, "null_fields", "name", arena, &error) == ST_NOT_FOUND);
}

/* ---- strings of received messages ---- */

Test(pbjson_value, strings_of_a_message_are_checked)
{
	Identity__ImportRow good = IDENTITY__IMPORT_ROW__INIT, bad = IDENTITY__IMPORT_ROW__INIT;
	Identity__ImportRow *rows[] = {&good, &bad};
	Identity__ImportUsersRequest request = IDENTITY__IMPORT_USERS_REQUEST__INIT;
	char *login_ids[] = {"a", "\xe2\x82"};
	struct pbjson_error error = {0};

	request.rows = rows;
	request.n_rows = 2;
	good.name = "\xf0\x9f\x98\x80";
	cr_assert(pbjson_check_strings(&request.base, arena, &error) == ST_OK);
	bad.attributes_json = "\xff";
	cr_assert(pbjson_check_strings(&request.base, arena, &error) == ST_INVALID_ARGUMENT);
	assert_text(error.field, "rows[1].attributes");
	bad.attributes_json = NULL;
	bad.login_ids = login_ids;
	bad.n_login_ids = 2;
	cr_assert(pbjson_check_strings(&request.base, arena, &error) == ST_INVALID_ARGUMENT);
	assert_text(error.field, "rows[1].login_ids[1]");
	bad.n_login_ids = 0;
	bad.name = arena_alloc(arena, 65538);
	memset(bad.name, 'x', 65537);
	cr_assert(pbjson_check_strings(&request.base, arena, &error) == ST_INVALID_ARGUMENT);
	assert_text(error.field, "rows[1].name");
	bad.name[65536] = 0;
	cr_assert(pbjson_check_strings(&request.base, arena, &error) == ST_OK);
}

Test(pbjson_value, utf8_is_rfc_3629)
{
	static const char *const good[] = {"",
	                                   "a",
	                                   "\x7f",
	                                   "\xc2\x80",
	                                   "\xdf\xbf",
	                                   "\xe0\xa0\x80",
	                                   "\xed\x9f\xbf",
	                                   "\xee\x80\x80",
	                                   "\xef\xbf\xbf",
	                                   "\xf0\x90\x80\x80",
	                                   "\xf4\x8f\xbf\xbf",
	                                   "0123456\xc3\xa9",
	                                   "01234567\xc3\xa9"
	                                   "89"};
	static const char *const bad[] = {"\x80",
	                                  "\xbf",
	                                  "\xc0\x80",
	                                  "\xc1\xbf",
	                                  "\xc2",
	                                  "\xc2\x41",
	                                  "\xe0\x9f\xbf",
	                                  "\xed\xa0\x80",
	                                  "\xed\xbf\xbf",
	                                  "\xe2\x82",
	                                  "\xe2\x82\x41",
	                                  "\xf0\x8f\xbf\xbf",
	                                  "\xf4\x90\x80\x80",
	                                  "\xf5\x80\x80\x80",
	                                  "\xf0\x9f\x98",
	                                  "\xfe",
	                                  "\xff",
	                                  "0123456\xc3",
	                                  "01234567\xff"
	                                  "1234567"};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		cr_assert(utf8_valid(good[i], strlen(good[i])), "good %zu", i);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert(!utf8_valid(bad[i], strlen(bad[i])), "bad %zu", i);
	for (size_t at = 0; at < 24; at++) { /* NUL at every place of the eight-byte steps */
		char text[24];

		memset(text, 'a', sizeof text);
		text[at] = 0;
		cr_assert(!utf8_valid(text, sizeof text), "NUL at %zu", at);
		cr_assert(utf8_valid(text, at));
	}
}
