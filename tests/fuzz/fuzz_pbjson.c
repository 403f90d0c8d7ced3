/* Fuzzes pbjson: what is accepted must print, parse again and print the same. Byte 0 chooses what is tried; its highest bit, in which style. */
#include "base/utf8.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "session.pb-c.h"
#include "json/jvalue.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static const struct pbjson_member members[] = {{"login_ids", "loginIds", PBJSON_NULL},
                                               {"login_ids", "identifiers", 0},
                                               {"Key.id", NULL, PBJSON_EMPTY},
                                               {"name", "displayName", 0},
                                               {0}};
static const struct pbjson_style loose = {.members = members,
                                          .absent = PBJSON_NULL,
                                          .times = PBJSON_EPOCH_MS,
                                          .camel_case = true,
                                          .empty_lists_omitted = true,
                                          .enum_numbers = true,
                                          .int64_text = true,
                                          .nulls_ignored = true,
                                          .unknown_ignored = true};

static struct buf print(const ProtobufCMessage *message, const struct pbjson_style *style)
{
	struct buf out = {0};

	pbjson_print_styled(message, style, &out);
	require(buf_ok(&out) && utf8_valid(out.data, out.len));
	return out;
}

static void try_parse(const ProtobufCMessageDescriptor *type, const struct pbjson_style *style, const char *json,
                      size_t len, struct arena *arena)
{
	const struct pbjson_rules rules = {.style = style};
	ProtobufCMessage *first = NULL, *second = NULL;
	struct pbjson_error error = {NULL, NULL};
	enum status status = pbjson_parse(type, json, len, &rules, arena, &first, &error);
	struct buf one, two;

	if (status != ST_OK) {
		require(!first && error.field && error.reason && utf8_valid(error.field, strlen(error.field)));
		return;
	}
	require(pbjson_check_strings(first, arena, &error) == ST_OK);
	one = print(first, style);
	if (protobuf_c_message_descriptor_get_field_by_name(type, "null_fields")) {
		buf_free(&one); /* null_fields is printed but is no member of a body */
		return;
	}
	status = pbjson_parse(type, one.data, one.len, &rules, arena, &second, &error);
	if (status == ST_OK) {
		two = print(second, style);
		require(one.len == two.len && !memcmp(one.data, two.data, one.len));
		buf_free(&two);
	} else {
		require(status == ST_RESOURCE_EXHAUSTED);
	}
	buf_free(&one);
}

/* What is read prints as text that reads back as the same tree, and merging with itself changes nothing but nulls. */
static void try_objects(const char *text, struct arena *arena)
{
	struct pbjson_error error = {NULL, NULL};
	const struct jvalue *read = NULL, *again = NULL, *merged;
	const char *compact, *printed;
	size_t len;

	if (jvalue_read_object(text, "claims", arena, &read, &error) != ST_OK) {
		require(!read && error.field && error.reason && utf8_valid(error.field, strlen(error.field)));
		return;
	}
	compact = jvalue_text(read, arena, &len);
	require(compact && len == strlen(compact));
	require(jvalue_read_object(compact, "claims", arena, &again, &error) == ST_OK && jvalue_equal(read, again));
	printed = jvalue_text(again, arena, &len);
	require(printed && !strcmp(compact, printed));
	merged = jvalue_merge(again, read, arena);
	require(merged && jvalue_equal(merged, jvalue_merge(merged, read, arena)));
}

static void try_set(const char *text, struct arena *arena)
{
	static const char *const names[] = {"limit", "after", "page", "search", "sort", "status"};
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__Key key = IDENTITY__KEY__INIT;
	struct pbjson_error error = {NULL, NULL};
	struct buf out;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (pbjson_set(&request.base, names[i], text, arena, &error) != ST_OK)
			require(error.field && error.reason);
	if (pbjson_set(&key.base, "expires_at", text, arena, &error) != ST_OK)
		require(error.field && error.reason);
	out = print(&request.base, NULL);
	buf_free(&out);
	out = print(&key.base, NULL);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
	    &identity__create_user_request__descriptor,
	    &identity__update_user_request__descriptor,
	    &identity__attribute_schema__descriptor,
	    &identity__import_users_request__descriptor,
	    &identity__key__descriptor,
	    &claims__put_claims_request__descriptor,
	    &session__create_session_request__descriptor,
	};
	const size_t count = sizeof types / sizeof types[0];
	struct arena *arena;
	char *text;
	size_t choice;

	if (size == 0)
		return 0;
	arena = arena_new(4 << 20);
	require(arena);
	text = malloc(size); /* its own block, so that a read behind the end is seen */
	require(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	choice = (size_t)(data[0] & 0x7f) % (count + 2);
	if (choice < count)
		try_parse(types[choice], data[0] & 0x80 ? &loose : NULL, text, size - 1, arena);
	else if (choice == count)
		try_objects(text, arena);
	else
		try_set(text, arena);
	free(text);
	arena_free(&arena);
	return 0;
}
