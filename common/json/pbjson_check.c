/* Checks the strings of a message that came over the bus: protobuf-c does not. */
#include "base/utf8.h"
#include "json/pbjson_internal.h"

#include <string.h>

static enum status check_message(const ProtobufCMessage *message, struct arena *arena, struct pbjson_error *ret_error);

static enum status check_string(const char *text, struct pbjson_error *ret_error)
{
	size_t len = text ? strlen(text) : 0;

	if (len > PBJSON_STRING_MAX_BYTES)
		return pbjson_refuse(ret_error, NULL, "is longer than 65536 bytes");
	if (!utf8_valid(text, len))
		return pbjson_refuse(ret_error, NULL, "is not valid UTF-8");
	return ST_OK;
}

/* The value is a char * or ProtobufCMessage *, by the field's type. */
static enum status check_value(const ProtobufCFieldDescriptor *field, const void *value, struct arena *arena,
                               struct pbjson_error *ret_error)
{
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return check_string(value, ret_error);
	return value ? check_message(value, arena, ret_error) : ST_OK;
}

/* Puts the field's JSON name (and index, when >= 0) before the path that the refusal has so far. */
static enum status name_refusal(const ProtobufCFieldDescriptor *field, int64_t index, struct arena *arena,
                                struct pbjson_error *ret_error)
{
	const char *inside = ret_error->field, *dot = *inside ? "." : "";
	size_t name_len;

	(void)pbjson_field_shape(field, &name_len);
	if (index < 0)
		inside = arena_printf(arena, "%.*s%s%s", (int)name_len, field->name, dot, inside);
	else
		inside =
		    arena_printf(arena, "%.*s[%lld]%s%s", (int)name_len, field->name, (long long)index, dot, inside);
	return pbjson_refuse(ret_error, inside, ret_error->reason);
}

static enum status check_field(const ProtobufCFieldDescriptor *field, const char *base, struct arena *arena,
                               struct pbjson_error *ret_error)
{
	const void *const *items = (const void *const *)(base + field->offset);
	size_t count;

	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		enum status status = check_value(field, *items, arena, ret_error);

		return status == ST_OK ? ST_OK : name_refusal(field, -1, arena, ret_error);
	}
	count = *(const size_t *)(base + field->quantifier_offset);
	items = *(const void *const *const *)items;
	for (size_t i = 0; i < count; i++)
		if (check_value(field, items[i], arena, ret_error) != ST_OK)
			return name_refusal(field, (int64_t)i, arena, ret_error);
	return ST_OK;
}

static enum status check_message(const ProtobufCMessage *message, struct arena *arena, struct pbjson_error *ret_error)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (check_field(field, (const char *)message, arena, ret_error) != ST_OK)
			return ST_INVALID_ARGUMENT;
	}
	return ST_OK;
}

enum status pbjson_check_strings(const ProtobufCMessage *message, struct arena *arena, struct pbjson_error *ret_error)
{
	return check_message(message, arena, ret_error);
}
