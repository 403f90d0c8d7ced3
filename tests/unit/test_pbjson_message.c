/* JSON <-> messages: every convention, every bound, and the path that a refusal names. */
#include "common.pb-c.h"
#include "events.pb-c.h"
#include "identity.pb-c.h"
#include "test_pbjson.h"

#include <stddef.h>
#include <stdint.h>

TestSuite(pbjson_message, .init = set_up, .fini = tear_down);

static enum status parse_as(const ProtobufCMessageDescriptor *type, const char *json, void *ret_message,
                            struct pbjson_error *ret_error)
{
	return pbjson_parse(type, json, strlen(json), NULL, arena, ret_message, ret_error);
}

static const char *print_of(const void *message)
{
	struct buf out = {0};
	const char *text;

	pbjson_print(message, &out);
	cr_assert(buf_ok(&out));
	text = arena_strndup(arena, out.data, out.len);
	buf_free(&out);
	return text;
}

/* ---- a message with the types that the contract does not use yet ---- */

struct types {
	ProtobufCMessage base;
	protobuf_c_boolean has_i32, has_u64, has_real, has_single;
	int32_t i32;
	uint64_t u64;
	double real;
	float single;
	size_t n_ints, n_blobs, n_bools, n_bigs;
	int32_t *ints;
	ProtobufCBinaryData *blobs;
	protobuf_c_boolean *bools;
	int64_t *bigs;
};

#define FIELD(number, member, kind, label_, counter)                                                                   \
	.name = #member, .id = (number), .type = (kind), .label = (label_), .offset = offsetof(struct types, member),  \
	.quantifier_offset = offsetof(struct types, counter)
#define OPTIONAL(number, name, kind) FIELD(number, name, kind, PROTOBUF_C_LABEL_OPTIONAL, has_##name)
#define REPEATED(number, name, kind) FIELD(number, name, kind, PROTOBUF_C_LABEL_REPEATED, n_##name)

static const ProtobufCFieldDescriptor types_fields[] = {
    {OPTIONAL(1, i32, PROTOBUF_C_TYPE_INT32)},   {OPTIONAL(2, u64, PROTOBUF_C_TYPE_UINT64)},
    {OPTIONAL(3, real, PROTOBUF_C_TYPE_DOUBLE)}, {OPTIONAL(4, single, PROTOBUF_C_TYPE_FLOAT)},
    {REPEATED(5, ints, PROTOBUF_C_TYPE_SINT32)}, {REPEATED(6, blobs, PROTOBUF_C_TYPE_BYTES)},
    {REPEATED(7, bools, PROTOBUF_C_TYPE_BOOL)},  {REPEATED(8, bigs, PROTOBUF_C_TYPE_INT64)},
};
static const unsigned types_by_name[] = {7, 5, 6, 0, 4, 2, 3, 1};
static const ProtobufCIntRange types_ranges[] = {{1, 0}, {0, 8}};
static void types_init(ProtobufCMessage *message);
static const ProtobufCMessageDescriptor types_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.Types",
    .short_name = "Types",
    .sizeof_message = sizeof(struct types),
    .n_fields = 8,
    .fields = types_fields,
    .fields_sorted_by_name = types_by_name,
    .n_field_ranges = 1,
    .field_ranges = types_ranges,
    .message_init = types_init,
};

static void types_init(ProtobufCMessage *message)
{
	*(struct types *)message = (struct types){.base = PROTOBUF_C_MESSAGE_INIT(&types_descriptor)};
}

Test(pbjson_message, types_round_trip)
{
	static const char json[] = "{\"i32\":-2147483648,\"u64\":9223372036854775807,\"real\":0.1,\"single\":0.5,"
	                           "\"ints\":[1,-2,3],\"blobs\":[\"AAEC\",\"\"],\"bools\":[true,false],"
	                           "\"bigs\":[9223372036854775807,-9223372036854775808]}";
	struct pbjson_error error = {0};
	struct types *message = NULL;

	cr_assert(parse_as(&types_descriptor, json, &message, &error) == ST_OK, "%s %s", error.field, error.reason);
	cr_assert(message->n_blobs == 2 && message->blobs[0].len == 3 && !memcmp(message->blobs[0].data, "\0\1\2", 3));
	assert_text(print_of(message), json);
	message->u64 = UINT64_MAX;
	message->real = 1e300;
	message->single = 3;
	message->n_ints = message->n_blobs = message->n_bools = message->n_bigs = 0;
	assert_text(print_of(message),
	            "{\"i32\":-2147483648,\"u64\":18446744073709551615,\"real\":1e+300,\"single\":3.0,"
	            "\"ints\":[],\"blobs\":[],\"bools\":[],\"bigs\":[]}");
}

Test(pbjson_message, numbers_out_of_range_are_refused)
{
	static const struct {
		const char *json, *field;
	} cases[] = {
	    {"{\"i32\":2147483648}", "i32"},
	    {"{\"i32\":-2147483649}", "i32"},
	    {"{\"i32\":1.0}", "i32"},
	    {"{\"i32\":1e2}", "i32"},
	    {"{\"u64\":-1}", "u64"},
	    {"{\"ints\":[0,4294967296]}", "ints[1]"},
	    {"{\"bigs\":[9223372036854775808]}", "bigs[0]"},
	    {"{\"real\":1e400}", "real"},
	    {"{\"real\":\"1\"}", "real"},
	    {"{\"bools\":[1]}", "bools[0]"},
	    {"{\"blobs\":[\"A\"]}", "blobs[0]"},
	    {"{\"blobs\":[\"AA==\"]}", "blobs[0]"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pbjson_error error = {0};
		struct types *message = NULL;

		cr_assert(parse_as(&types_descriptor, cases[i].json, &message, &error) == ST_INVALID_ARGUMENT, "%s",
		          cases[i].json);
		cr_assert(message == NULL);
		assert_text(error.field, cases[i].field);
	}
}

/* ---- conventions ---- */

Test(pbjson_message, user_prints_by_the_conventions)
{
	char *login_ids[] = {"a@example.org", "\"q\"\n"};
	Identity__User user = IDENTITY__USER__INIT;

	assert_text(print_of(&user), "{\"login_ids\":[],\"roles\":[]}");
	user.id = "usr_1";
	user.has_status = 1;
	user.status = IDENTITY__USER_STATUS__USER_STATUS_ACTIVE;
	user.has_email_verified = 1;
	user.attributes_json = "{\"plan\":\"pro\"}";
	user.login_ids = login_ids;
	user.n_login_ids = 2;
	user.has_version = 1;
	user.version = INT64_MAX;
	user.has_created_at_us = 1;
	user.created_at_us = 1790000000123456;
	assert_text(print_of(&user),
	            "{\"id\":\"usr_1\",\"status\":\"active\",\"email_verified\":false,"
	            "\"login_ids\":[\"a@example.org\",\"\\\"q\\\"\\n\"],\"attributes\":{\"plan\":\"pro\"},"
	            "\"version\":9223372036854775807,\"created_at\":\"2026-09-21T14:13:20.123Z\",\"roles\":[]}");
}

Test(pbjson_message, empty_and_nested_messages_print)
{
	Common__Empty empty = COMMON__EMPTY__INIT;
	Identity__Key key = IDENTITY__KEY__INIT;
	Identity__CreateProjectReply reply = IDENTITY__CREATE_PROJECT_REPLY__INIT;
	Events__Event event = EVENTS__EVENT__INIT;
	Events__FieldChange change = EVENTS__FIELD_CHANGE__INIT, *changes[] = {&change};

	assert_text(print_of(&empty), "{}");
	key.id = "key_1";
	reply.management_key = &key;
	assert_text(print_of(&reply), "{\"management_key\":{\"id\":\"key_1\",\"scopes\":[]}}");
	event.has_type = 1;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_USER_SESSIONS_REVOKED;
	change.field = "name";
	change.before_json = "\"Ada\"";
	event.changes = changes;
	event.n_changes = 1;
	assert_text(print_of(&event),
	            "{\"type\":\"user_sessions_revoked\",\"changes\":[{\"field\":\"name\",\"before\":\"Ada\"}]}");
	event.type = 4711;
	event.n_changes = 0;
	assert_text(print_of(&event), "{\"type\":\"unknown_4711\",\"changes\":[]}");
}

Test(pbjson_message, body_is_parsed_by_the_conventions)
{
	static const char json[] = " {\"status\": \"disabled\", \"email\": \"\xc3\xa9@example.org\", "
	                           "\"email_verified\": true, \"login_ids\": [],\n"
	                           "  \"attributes\": {\"z\": 1, \"a\": [1.5, 9007199254740993, {\"t\\u00e9\\n\": "
	                           "null}], \"r\": 0.1, \"e\": 1e10}} ";
	struct pbjson_error error = {0};
	Identity__CreateUserRequest *request = NULL;

	cr_assert(parse_as(&identity__create_user_request__descriptor, json, &request, &error) == ST_OK, "%s: %s",
	          error.field, error.reason);
	cr_assert(request->has_status && request->status == IDENTITY__USER_STATUS__USER_STATUS_DISABLED);
	cr_assert(request->has_email_verified && request->email_verified);
	assert_text(request->email, "\xc3\xa9@example.org");
	assert_text(request->attributes_json,
	            "{\"z\":1,\"a\":[1.5,9007199254740993,{\"t\xc3\xa9\\n\":null}],\"r\":0.1,\"e\":1e10}");
	cr_assert(request->n_login_ids == 0 && !request->name);
}

Test(pbjson_message, times_are_rfc_3339)
{
	struct pbjson_error error = {0};
	Identity__CreateKeyRequest *request = NULL;

	cr_assert(parse_as(&identity__create_key_request__descriptor,
	                   "{\"expires_at\":\"2026-09-21T16:13:20.5+02:00\",\"kind\":\"client\"}", &request,
	                   &error) == ST_OK);
	cr_assert(request->has_expires_at_us && request->expires_at_us == 1790000000500000);
	cr_assert(request->kind == IDENTITY__KEY_KIND__KEY_KIND_CLIENT);
}

Test(pbjson_message, null_is_recorded_in_a_merge_patch)
{
	struct pbjson_error error = {0};
	Identity__UpdateUserRequest *request = NULL;

	cr_assert(parse_as(&identity__update_user_request__descriptor,
	                   "{\"name\":null,\"email\":\"a@b\",\"attributes\":null,\"login_ids\":[]}", &request,
	                   &error) == ST_OK,
	          "%s: %s", error.field, error.reason);
	cr_assert(request->n_null_fields == 3 && !request->name && request->email);
	assert_text(request->null_fields[0], "name");
	assert_text(request->null_fields[1], "attributes");
	assert_text(request->null_fields[2], "login_ids");
}

/* ---- refusals ---- */

struct refusal {
	const char *json, *field;
};

static void assert_refused(const ProtobufCMessageDescriptor *type, const struct refusal *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct pbjson_error error = {0};
		ProtobufCMessage *message = NULL;
		enum status status = parse_as(type, cases[i].json, &message, &error);

		cr_assert(status == ST_INVALID_ARGUMENT, "%s gave %s", cases[i].json, status_name(status));
		cr_assert(message == NULL, "%s", cases[i].json);
		cr_assert(error.reason && *error.reason, "%s", cases[i].json);
		cr_assert(!strcmp(error.field, cases[i].field), "%s named %s, expected %s", cases[i].json, error.field,
		          cases[i].field);
	}
}

Test(pbjson_message, wrong_bodies_are_refused_with_their_path)
{
	static const struct refusal cases[] = {
	    {"", ""},
	    {" ", ""},
	    {"null", ""},
	    {"[]", ""},
	    {"\"x\"", ""},
	    {"1", ""},
	    {"{", ""},
	    {"{}{}", ""},
	    {"{} x", ""},
	    {"\xef\xbb\xbf{}", ""},
	    {"{\"email\"", "email"},
	    {"{\"email\":1}", "email"},
	    {"{\"email\":null}", "email"},
	    {"{\"email\":{}}", "email"},
	    {"{\"email\":'x'}", "email"},
	    {"{\"email_verified\":1}", "email_verified"},
	    {"{\"email_verified\":\"true\"}", "email_verified"},
	    {"{\"status\":\"ACTIVE\"}", "status"},
	    {"{\"status\":\"\"}", "status"},
	    {"{\"status\":\"USER_STATUS_ACTIVE\"}", "status"},
	    {"{\"status\":2}", "status"},
	    {"{\"login_ids\":\"x\"}", "login_ids"},
	    {"{\"login_ids\":null}", "login_ids"},
	    {"{\"login_ids\":[\"a\",2]}", "login_ids[1]"},
	    {"{\"login_ids\":[\"a\",null]}", "login_ids[1]"},
	    {"{\"attributes\":[]}", "attributes"},
	    {"{\"attributes\":\"{}\"}", "attributes"},
	    {"{\"attributes_json\":\"{}\"}", "attributes_json"},
	    {"{\"Email\":\"x\"}", "Email"},
	    {"{\"emai\":\"x\"}", "emai"},
	    {"{\"\":1}", ""},
	    {"{\"id\":\"usr_1\"}", "id"},
	    {"{\"email\":\"a\",\"email\":\"b\"}", "email"},
	    {"{\"attributes\":{\"a\":{\"b\":1,\"b\":2}}}", "attributes.a.b"},
	    {"{\"email\":\"a\\u0000b\"}", "email"},
	    {"{\"email\":\"\\ud800\"}", "email"},
	    {"{\"email\":\"a\x01\"}", "email"},
	    {"{\"email\":\"\xc0\x80\"}", "email"},
	    {"{\"attributes\":{\"x\":[1,\"\xed\xa0\x80\"]}}", "attributes.x[1]"},
	    {"{\"attributes\":{\"x\":1e400}}", "attributes.x"},
	    {"{\"attributes\":{\"x\":9223372036854775808}}", "attributes.x"},
	    {"{\"attributes\":{\"x\":NaN}}", "attributes.x"},
	    {"{\"attributes\":{\"x\":01}}", "attributes.x"},
	};

	assert_refused(&identity__create_user_request__descriptor, cases, sizeof cases / sizeof cases[0]);
}

Test(pbjson_message, refusals_in_nested_messages_name_the_whole_path)
{
	static const struct refusal cases[] = {
	    {"{\"attributes\":[{\"name\":\"a\"},{\"name\":3}]}", "attributes[1].name"},
	    {"{\"attributes\":[{\"nam\":\"a\"}]}", "attributes[0].nam"},
	    {"{\"attributes\":[null]}", "attributes[0]"},
	    {"{\"attributes\":[{\"type\":\"float\"}]}", "attributes[0].type"},
	    {"{\"version\":\"1\"}", "version"},
	};

	assert_refused(&identity__attribute_schema__descriptor, cases, sizeof cases / sizeof cases[0]);
	assert_refused(&identity__update_user_request__descriptor,
	               (const struct refusal[]){{"{\"null_fields\":[\"name\"]}", "null_fields"}}, 1);
	assert_refused(&identity__create_key_request__descriptor,
	               (const struct refusal[]){{"{\"expires_at\":\"tomorrow\"}", "expires_at"},
	                                        {"{\"expires_at\":1}", "expires_at"},
	                                        {"{\"expires_at_us\":1}", "expires_at_us"}},
	               3);
}

Test(pbjson_message, nul_byte_in_the_text_is_refused)
{
	static const char json[] = "{\"email\":\"a\0b\"}";
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;

	cr_assert(pbjson_parse(&identity__create_user_request__descriptor, json, sizeof json - 1, NULL, arena, &message,
	                       &error) == ST_INVALID_ARGUMENT);
	assert_text(error.field, "email");
	cr_assert(pbjson_parse(&identity__create_user_request__descriptor, "{}\0", 3, NULL, arena, &message, &error) ==
	          ST_INVALID_ARGUMENT);
}

Test(pbjson_message, skipped_fields_are_no_members)
{
	static const char *const skip[] = {"user_id", "if_match_version", NULL};
	static const struct pbjson_rules rules = {.skip = skip};
	static const char *const bodies[] = {"{\"user_id\":\"usr_1\"}", "{\"if_match_version\":1}",
	                                     "{\"user_id\":null}"};
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;

	for (size_t i = 0; i < 3; i++)
		cr_assert(pbjson_parse(&identity__update_user_request__descriptor, bodies[i], strlen(bodies[i]), &rules,
		                       arena, &message, &error) == ST_INVALID_ARGUMENT,
		          "%s", bodies[i]);
	cr_assert(pbjson_parse(&identity__update_user_request__descriptor, "{\"name\":\"x\"}", 12, &rules, arena,
	                       &message, &error) == ST_OK);
}

Test(pbjson_message, required_members_are_asked_for_by_name)
{
	static const char *const required[] = {"attributes", "name", NULL};
	static const struct pbjson_rules rules = {.required = required};
	static const char *const cases[][2] = {{"{}", "attributes"},
	                                       {"{\"name\":\"x\"}", "attributes"},
	                                       {"{\"attributes\":{}}", "name"},
	                                       {"{\"attributes\":{},\"name\":null}", "name"}};
	static const char good[] = "{\"attributes\":{},\"name\":\"\"}";
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert(pbjson_parse(&identity__create_user_request__descriptor, cases[i][0], strlen(cases[i][0]),
		                       &rules, arena, &message, &error) == ST_INVALID_ARGUMENT);
		assert_text(error.field, cases[i][1]);
	}
	cr_assert(pbjson_parse(&identity__create_user_request__descriptor, good, sizeof(good) - 1, &rules, arena,
	                       &message, &error) == ST_OK);
}

Test(pbjson_message, depth_is_bounded)
{
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;
	char *wide = arena_alloc(arena, 200001);

	cr_assert(parse_as(&identity__create_user_request__descriptor, nested(PBJSON_DEPTH_MAX), &message, &error) ==
	              ST_OK,
	          "%s %s", error.field, error.reason);
	cr_assert(parse_as(&identity__create_user_request__descriptor, nested(PBJSON_DEPTH_MAX + 1), &message,
	                   &error) == ST_INVALID_ARGUMENT);
	cr_assert(!strncmp(error.field, "attributes.a.a", 14), "%s", error.field);
	memset(wide, '[', 200000);
	cr_assert(parse_as(&identity__create_user_request__descriptor, wide, &message, &error) == ST_INVALID_ARGUMENT);
	/* brackets inside strings do not count */
	cr_assert(parse_as(&identity__create_user_request__descriptor,
	                   "{\"name\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\"}", &message,
	                   &error) == ST_OK);
}

Test(pbjson_message, strings_are_bounded)
{
	struct buf json = {0};
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;

	for (size_t size = 65536; size <= 65537; size++) {
		buf_reset(&json);
		buf_add_str(&json, "{\"name\":\"");
		memset(buf_reserve(&json, size), 'x', size);
		json.len += size;
		buf_add_str(&json, "\"}");
		cr_assert(pbjson_parse(&identity__create_user_request__descriptor, json.data, json.len, NULL, arena,
		                       &message, &error) == (size == 65536 ? ST_OK : ST_INVALID_ARGUMENT));
	}
	assert_text(error.field, "name");
	buf_free(&json);
}

Test(pbjson_message, a_full_arena_is_a_status)
{
	struct arena *small = arena_new(4096);
	struct pbjson_error error = {0};
	ProtobufCMessage *message = NULL;
	struct buf json = {0};

	buf_add_str(&json, "{\"login_ids\":[\"x\"");
	for (int i = 0; i < 1000; i++)
		buf_add_str(&json, ",\"x\"");
	buf_add_str(&json, "]}");
	cr_assert(pbjson_parse(&identity__create_user_request__descriptor, json.data, json.len, NULL, small, &message,
	                       &error) == ST_RESOURCE_EXHAUSTED);
	buf_free(&json);
	arena_free(&small);
}
