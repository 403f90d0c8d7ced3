/* Messages of different types that have fields of the same name. */
#include "identity.pb-c.h"
#include "json/message.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void setup(void)
{
	arena = arena_new(1 << 20);
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(message, .init = setup, .fini = teardown);

Test(message, copies_what_is_there_by_name)
{
	char *logins[] = {(char *)"ada", (char *)"lovelace"};
	Identity__UpdateUserRequest from = IDENTITY__UPDATE_USER_REQUEST__INIT;
	Identity__User to = IDENTITY__USER__INIT;
	from.name = (char *)"Ada";
	from.attributes_json = (char *)"{\"a\":1}";
	from.login_ids = logins;
	from.n_login_ids = 2;
	from.has_email_verified = true;
	from.email_verified = true;
	from.has_status = true;
	from.status = IDENTITY__USER_STATUS__USER_STATUS_DISABLED;
	to.phone = (char *)"+4912345678";
	for (int i = 0; i < 2; i++) { /* the second time with the remembered map */
		message_copy(&from.base, &to.base);
		cr_assert_str_eq(to.name, "Ada");
		cr_assert_str_eq(to.attributes_json, "{\"a\":1}");
		cr_assert(to.n_login_ids == 2 && to.login_ids == logins);
		cr_assert(to.has_email_verified && to.email_verified);
		cr_assert(to.has_status && to.status == IDENTITY__USER_STATUS__USER_STATUS_DISABLED);
		cr_assert_str_eq(to.phone, "+4912345678", "what the source lacks stays");
		cr_assert_null(to.email);
	}
}

Test(message, clears_by_json_name)
{
	Identity__User user = IDENTITY__USER__INIT;
	char *logins[] = {(char *)"ada"};
	user.attributes_json = (char *)"{}";
	user.has_version = true;
	user.version = 3;
	user.n_login_ids = 1;
	user.login_ids = logins;
	cr_assert(message_clear(&user.base, "attributes"));
	cr_assert(message_clear(&user.base, "version"));
	cr_assert(message_clear(&user.base, "login_ids"));
	cr_assert(!message_clear(&user.base, "attributes_json") && !message_clear(&user.base, "nothing"));
	cr_assert(!user.attributes_json && !user.has_version && user.n_login_ids == 0);
}

static bool equal(const char *name, const Identity__User *a, const Identity__User *b)
{
	return message_field_equal(message_field(&identity__user__descriptor, name), a ? &a->base : NULL, &b->base);
}

Test(message, compares_fields)
{
	char *one[] = {(char *)"ada"}, *other[] = {(char *)"ida"};
	Identity__User a = IDENTITY__USER__INIT, b = IDENTITY__USER__INIT;
	a.attributes_json = (char *)"{\"a\":1,\"b\":[2]}";
	b.attributes_json = (char *)"{\"a\":1,\"b\":[2]}";
	cr_assert(equal("attributes", &a, &b));
	b.attributes_json = (char *)"{\"a\":1}";
	cr_assert(!equal("attributes", &a, &b));
	cr_assert(equal("name", &a, &b) && equal("name", NULL, &b));
	b.name = (char *)"Ada";
	cr_assert(!equal("name", &a, &b) && !equal("name", NULL, &b));
	a.login_ids = one, a.n_login_ids = 1;
	b.login_ids = other, b.n_login_ids = 1;
	cr_assert(!equal("login_ids", &a, &b));
	b.login_ids = one;
	cr_assert(equal("login_ids", &a, &b));
	a.has_status = b.has_status = true;
	a.status = 1, b.status = 2;
	cr_assert(!equal("status", &a, &b));
}

Test(message, shows_a_field_as_json)
{
	const ProtobufCFieldDescriptor *status = message_field(&identity__user__descriptor, "status");
	const ProtobufCFieldDescriptor *attributes = message_field(&identity__user__descriptor, "attributes");
	const ProtobufCFieldDescriptor *logins = message_field(&identity__user__descriptor, "login_ids");
	Identity__User user = IDENTITY__USER__INIT;
	char *json = NULL, *list[] = {(char *)"a\"b"};
	user.has_status = true;
	user.status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
	user.attributes_json = (char *)"{\"n\":1e3}";
	cr_assert(message_field_json(status, &user.base, arena, &json));
	cr_assert_str_eq(json, "\"active\"");
	cr_assert(message_field_json(attributes, &user.base, arena, &json));
	cr_assert_str_eq(json, "{\"n\":1e3}");
	cr_assert(message_field_json(logins, &user.base, arena, &json));
	cr_assert_null(json);
	user.login_ids = list, user.n_login_ids = 1;
	cr_assert(message_field_json(logins, &user.base, arena, &json));
	cr_assert_str_eq(json, "[\"a\\\"b\"]");
	cr_assert(message_field_json(logins, NULL, arena, &json));
	cr_assert_null(json);
	cr_assert_str_eq(message_json_name(attributes, arena), "attributes");
}
