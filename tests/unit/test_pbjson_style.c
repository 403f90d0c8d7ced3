/* Messages in the styles of other products: names, absent values, times, numbers, bare arrays. */
#include "events.pb-c.h"
#include "identity.pb-c.h"
#include "test_pbjson.h"

#include <stddef.h>

TestSuite(pbjson_style, .init = set_up, .fini = tear_down);

static const char *print_in(const struct pbjson_style *style, const void *message)
{
	struct buf out = {0};
	const char *text;

	pbjson_print_styled(message, style, &out);
	cr_assert(buf_ok(&out));
	text = arena_strndup(arena, out.data, out.len);
	buf_free(&out);
	return text;
}

static enum status parse_in(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type, const char *json,
                            void *ret_message)
{
	const struct pbjson_rules rules = {.style = style};
	struct pbjson_error error = {.field = "", .reason = ""};
	enum status status = pbjson_parse(type, json, strlen(json), &rules, arena, ret_message, &error);

	cr_assert(status == ST_OK || (*error.reason && error.field));
	return status;
}

/* A user with a value of each kind, and much that is absent. */
static Identity__User *some_user(void)
{
	Identity__User *user = arena_alloc(arena, sizeof(*user));

	identity__user__init(user);
	user->id = "usr_1";
	user->has_status = 1;
	user->status = IDENTITY__USER_STATUS__USER_STATUS_DISABLED;
	user->has_email_verified = 1;
	user->given_name = "Ada";
	user->attributes_json = "{\"snake_case\":1e3}";
	user->has_version = 1;
	user->version = INT64_MAX;
	user->has_created_at_us = 1;
	user->created_at_us = 1790000000123456;
	return user;
}

Test(pbjson_style, the_zeroed_style_is_the_native_one)
{
	static const struct pbjson_style native = {0};
	struct buf out = {0};

	pbjson_print(&some_user()->base, &out);
	assert_text(print_in(&native, some_user()), arena_strndup(arena, out.data, out.len));
	assert_text(print_in(NULL, some_user()), arena_strndup(arena, out.data, out.len));
	buf_free(&out);
}

Test(pbjson_style, names_are_in_camel_case_but_for_exceptions)
{
	static const struct pbjson_member members[] = {
	    {"User.id", "userId", 0}, {"created_at_us", "createdTime", 0}, {0}};
	static const struct pbjson_style style = {.members = members,
	                                          .camel_case = true,
	                                          .times = PBJSON_EPOCH_SEC,
	                                          .enum_numbers = true,
	                                          .int64_text = true,
	                                          .empty_lists_omitted = true};
	static const struct pbjson_style millis = {.times = PBJSON_EPOCH_MS};
	Identity__Key key = IDENTITY__KEY__INIT;

	assert_text(
	    print_in(&style, some_user()),
	    "{\"userId\":\"usr_1\",\"status\":3,\"emailVerified\":false,\"givenName\":\"Ada\","
	    "\"attributes\":{\"snake_case\":1e3},\"version\":\"9223372036854775807\",\"createdTime\":1790000000}");
	key.id = "key_1";
	key.has_expires_at_us = 1;
	key.expires_at_us = 1790000000123456;
	assert_text(print_in(&style, &key), "{\"id\":\"key_1\",\"expiresAt\":1790000000}");
	assert_text(print_in(&millis, &key), "{\"id\":\"key_1\",\"scopes\":[],\"expires_at\":1790000000123}");
}

Test(pbjson_style, absent_values_are_shown_as_the_style_says)
{
	static const struct pbjson_member members[] = {
	    {"name", NULL, PBJSON_EMPTY}, {"Key.kind", "type", PBJSON_NULL}, {0}};
	static const struct pbjson_style nulls = {
	    .absent = PBJSON_NULL, .members = members, .empty_lists_omitted = true};
	static const struct pbjson_style some = {.members = members};
	static const struct pbjson_style empty = {
	    .absent = PBJSON_EMPTY, .times = PBJSON_EPOCH_SEC, .int64_text = true};
	Identity__Key key = IDENTITY__KEY__INIT;
	Identity__CreateProjectReply reply = IDENTITY__CREATE_PROJECT_REPLY__INIT;
	Identity__DeleteUserRequest removal = IDENTITY__DELETE_USER_REQUEST__INIT;
	Identity__AttributeDefinition attribute = IDENTITY__ATTRIBUTE_DEFINITION__INIT;
	Events__FieldChange change = EVENTS__FIELD_CHANGE__INIT;

	assert_text(print_in(&nulls, &key),
	            "{\"id\":null,\"type\":null,\"name\":\"\",\"scopes\":null,\"prefix\":null,\"created_at\":null,"
	            "\"expires_at\":null,\"last_used_at\":null,\"secret\":null}");
	assert_text(print_in(&some, &key), "{\"type\":null,\"name\":\"\",\"scopes\":[]}");
	assert_text(print_in(&empty, &reply), "{\"id\":\"\",\"name\":\"\",\"created_at\":0,\"management_key\":null}");
	assert_text(print_in(&empty, &change), "{\"field\":\"\",\"before\":{},\"after\":{}}");
	assert_text(print_in(&empty, &removal), "{\"user_id\":\"\",\"if_match_version\":\"0\"}");
	assert_text(print_in(&empty, &attribute), "{\"name\":\"\",\"type\":\"\",\"required\":false}");
}

/* What Descope's clients send: camel case, nulls, members that nobody knows, times in seconds, several names of one member. */
static const struct pbjson_member loose_members[] = {{"login_ids", "loginIds", 0},
                                                     {"login_ids", "identifiers", 0},
                                                     {"name", "displayName", 0},
                                                     {"name", "name", 0},
                                                     {0}};
static const struct pbjson_style loose = {.members = loose_members,
                                          .camel_case = true,
                                          .times = PBJSON_EPOCH_SEC,
                                          .enum_numbers = true,
                                          .int64_text = true,
                                          .nulls_ignored = true,
                                          .unknown_ignored = true};

Test(pbjson_style, what_is_printed_is_read_again)
{
	Identity__User *user = some_user(), *again = NULL;
	const char *text;

	user->created_at_us = 1790000000000000;
	text = print_in(&loose, user);
	cr_assert(parse_in(&loose, &identity__user__descriptor, text, &again) == ST_OK, "%s", text);
	assert_text(print_in(&loose, again), text);
	cr_assert(again->created_at_us == 1790000000000000 && again->version == INT64_MAX);
}

Test(pbjson_style, a_loose_style_reads_what_clients_send)
{
	Identity__ImportRow *row = NULL;

	cr_assert(parse_in(&loose, &identity__import_row__descriptor,
	                   "{\"identifiers\":[\"a\"],\"displayName\":\"Ada\",\"phone\":null,\"test\":{\"x\":[]},"
	                   "\"email_verified\":true,\"emailVerified\":false,\"status\":2,\"createdAt\":\"1790000000\"}",
	                   &row) == ST_OK);
	cr_assert(row->n_login_ids == 1 && !row->phone && row->status == IDENTITY__USER_STATUS__USER_STATUS_ACTIVE);
	cr_assert(row->has_email_verified && !row->email_verified && row->created_at_us == 1790000000000000);
	assert_text(row->name, "Ada");
	assert_text(row->login_ids[0], "a");
}

Test(pbjson_style, a_loose_style_still_refuses_what_is_wrong)
{
	static const char *const wrong[] = {
	    "{\"name\":\"a\",\"displayName\":\"b\"}", /* one member by two names */
	    "{\"status\":9}",
	    "{\"status\":\"active\"}",
	    "{\"status\":4294967297}",
	    "{\"createdAt\":9223372036855}",
	    "{\"createdAt\":\"1.5\"}",
	    "{\"createdAt\":\"\"}",
	    "{\"createdAt\":\"2026-01-01T00:00:00Z\"}",
	    "{\"emailVerified\":\"true\"}",
	    "{\"loginIds\":[null]}",
	    "{\"unknown\":1,\"unknown\":1}",
	    "[]",
	};
	Identity__ImportRow *row = NULL;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert(parse_in(&loose, &identity__import_row__descriptor, wrong[i], &row) == ST_INVALID_ARGUMENT,
		          "%s", wrong[i]);
	cr_assert(parse_in(NULL, &identity__import_row__descriptor, "{\"displayName\":\"b\"}", &row) ==
	          ST_INVALID_ARGUMENT);
}

Test(pbjson_style, a_merge_patch_records_native_names)
{
	Identity__UpdateUserRequest *update = NULL;

	cr_assert(parse_in(&loose, &identity__update_user_request__descriptor,
	                   "{\"displayName\":null,\"identifiers\":[],\"attributes\":null,\"nullFields\":[\"phone\"]}",
	                   &update) == ST_OK);
	cr_assert(update->n_null_fields == 3);
	assert_text(update->null_fields[0], "name");
	assert_text(update->null_fields[1], "login_ids");
	assert_text(update->null_fields[2], "attributes");
}

Test(pbjson_style, parameters_have_the_names_of_the_style)
{
	Identity__ListUsersRequest list = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__Key key = IDENTITY__KEY__INIT;
	struct pbjson_error error = {0};
	const struct pbjson_text status = {"status", "1"}, expiry = {"expiresAt", "5"}, native = {"expires_at", "5"};

	cr_assert(pbjson_set_styled(&list.base, &status, &loose, arena, &error) == ST_OK);
	cr_assert(list.status == IDENTITY__USER_STATUS__USER_STATUS_INVITED);
	cr_assert(pbjson_set_styled(&key.base, &expiry, &loose, arena, &error) == ST_OK);
	cr_assert(key.expires_at_us == 5000000);
	cr_assert(pbjson_set_styled(&key.base, &native, &loose, arena, &error) == ST_NOT_FOUND);
}

/* ---- bare arrays: a descriptor as protoc would make it for { repeated Key bare_array = 1; } ---- */

struct list {
	ProtobufCMessage base;
	size_t n_bare_array;
	Identity__Key **bare_array;
};

static void list_init(ProtobufCMessage *message);
static const ProtobufCFieldDescriptor list_field = {.name = "bare_array",
                                                    .id = 1,
                                                    .label = PROTOBUF_C_LABEL_REPEATED,
                                                    .type = PROTOBUF_C_TYPE_MESSAGE,
                                                    .quantifier_offset = offsetof(struct list, n_bare_array),
                                                    .offset = offsetof(struct list, bare_array),
                                                    .descriptor = &identity__key__descriptor};
static const unsigned list_by_name[] = {0};
static const ProtobufCIntRange list_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor list_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.List",
    .short_name = "List",
    .sizeof_message = sizeof(struct list),
    .n_fields = 1,
    .fields = &list_field,
    .fields_sorted_by_name = list_by_name,
    .n_field_ranges = 1,
    .field_ranges = list_ranges,
    .message_init = list_init,
};

static void list_init(ProtobufCMessage *message)
{
	*(struct list *)message = (struct list){.base = PROTOBUF_C_MESSAGE_INIT(&list_descriptor)};
}

Test(pbjson_style, a_bare_array_is_the_document)
{
	static const char text[] = "[{\"id\":\"key_1\"},{\"id\":\"key_2\"}]";
	struct list *list = NULL;

	cr_assert(parse_in(&loose, &list_descriptor, text, &list) == ST_OK && list->n_bare_array == 2);
	assert_text(print_in(&(const struct pbjson_style){.empty_lists_omitted = true}, list), text);
	cr_assert(parse_in(NULL, &list_descriptor, "[]", &list) == ST_OK && list->n_bare_array == 0);
	assert_text(print_in(&loose, list), "[]");
	cr_assert(parse_in(&loose, &list_descriptor, "{}", &list) == ST_INVALID_ARGUMENT);
	cr_assert(parse_in(&loose, &list_descriptor, "null", &list) == ST_INVALID_ARGUMENT);
	cr_assert(parse_in(NULL, &list_descriptor, "[{\"id\":1}]", &list) == ST_INVALID_ARGUMENT);
}
