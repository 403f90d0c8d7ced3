/* JSON object to protobuf message by descriptor. */
#include "json/pbjson_internal.h"

#include <string.h>

static bool fits(enum pbjson_wanted wanted, const json_t *value)
{
	switch (wanted) {
	case WANT_INTEGER:
		return json_is_integer(value);
	case WANT_REAL:
		return json_is_number(value);
	case WANT_BOOL:
		return json_is_boolean(value);
	case WANT_TEXT:
		return json_is_string(value);
	case WANT_OBJECT:
	case WANT_MESSAGE:
		return json_is_object(value);
	}
	return false;
}

static enum status read_message(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const json_t *object,
                                ProtobufCMessage **ret_message);

static enum status read_object(struct pbjson_parse *parse, const struct pbjson_place *place, const json_t *value,
                               void *at)
{
	size_t len;
	const char *text = pbjson_dump_arena(value, parse->arena, &len);

	if (!text)
		return pbjson_no_memory(parse, place);
	if (len > PBJSON_STRING_MAX_BYTES)
		return pbjson_refuse_at(parse, place, "is longer than 65536 bytes");
	*(const char **)at = text;
	return ST_OK;
}

static enum status read_value(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const json_t *value, void *at)
{
	size_t name_len;
	enum pbjson_wanted wanted = pbjson_wanted(field, pbjson_field_shape(field, &name_len));

	if (!fits(wanted, value))
		return pbjson_refuse_at(parse, place,
		                        json_is_null(value) ? "must not be null" : pbjson_wanted_reasons[wanted]);
	switch (wanted) {
	case WANT_INTEGER:
		return pbjson_store_integer(parse, place, field, json_integer_value(value), at);
	case WANT_REAL:
		pbjson_store_real(field, json_number_value(value), at);
		return ST_OK;
	case WANT_BOOL:
		*(protobuf_c_boolean *)at = json_is_true(value);
		return ST_OK;
	case WANT_TEXT:
		return pbjson_store_text(parse, place, field, json_string_value(value), at);
	case WANT_OBJECT:
		return read_object(parse, place, value, at);
	case WANT_MESSAGE:
		return read_message(parse, place, field->descriptor, value, at);
	}
	return ST_INTERNAL;
}

static enum status read_array(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const json_t *array, char *base)
{
	size_t count = json_array_size(array), size = pbjson_element_size(field);
	char *items;

	if (!json_is_array(array))
		return pbjson_refuse_at(parse, place, json_is_null(array) ? "must not be null" : "must be an array");
	if (count == 0)
		return ST_OK;
	items = arena_alloc(parse->arena, count * size);
	if (!items)
		return pbjson_no_memory(parse, place);
	for (size_t i = 0; i < count; i++) {
		struct pbjson_place element = {.up = place, .index = i};
		enum status status = read_value(parse, &element, field, json_array_get(array, i), items + i * size);

		if (status != ST_OK)
			return status;
	}
	*(char **)(base + field->offset) = items;
	*(size_t *)(base + field->quantifier_offset) = count;
	return ST_OK;
}

/* Records that a member was null, when the message is a merge patch. */
static enum status read_null(struct pbjson_parse *parse, const struct pbjson_place *place,
                             const ProtobufCMessageDescriptor *type, char *base)
{
	const ProtobufCFieldDescriptor *nulls = protobuf_c_message_descriptor_get_field_by_name(type, "null_fields");
	char **at, *name;

	if (!nulls)
		return pbjson_refuse_at(parse, place, "must not be null");
	name = arena_strdup(parse->arena, place->name);
	at = name ? pbjson_append(parse, nulls, base) : NULL;
	if (!at)
		return pbjson_no_memory(parse, place);
	*at = name;
	return ST_OK;
}

static bool is_skipped(const struct pbjson_parse *parse, const struct pbjson_place *place,
                       const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; !place->up && parse->skip && parse->skip[i]; i++)
		if (strcmp(parse->skip[i], field->name) == 0)
			return true;
	return false;
}

static enum status read_member(struct pbjson_parse *parse, const struct pbjson_place *place,
                               const ProtobufCMessageDescriptor *type, const json_t *value, char *base)
{
	enum pbjson_shape shape;
	const ProtobufCFieldDescriptor *field = pbjson_field_find(type, place->name, &shape);
	enum status status;

	if (!field || is_skipped(parse, place, field))
		return pbjson_refuse_at(parse, place, "is no member of this object");
	if (json_is_null(value))
		return read_null(parse, place, type, base);
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return read_array(parse, place, field, value, base);
	status = read_value(parse, place, field, value, base + field->offset);
	if (status == ST_OK)
		pbjson_mark_set(field, base);
	return status;
}

static enum status read_message(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const json_t *object,
                                ProtobufCMessage **ret_message)
{
	ProtobufCMessage *message = arena_alloc(parse->arena, type->sizeof_message);
	const char *key;
	json_t *value;

	if (!message)
		return pbjson_no_memory(parse, place);
	protobuf_c_message_init(type, message);
	json_object_foreach((json_t *)object, key, value)
	{
		struct pbjson_place member = {.up = place, .name = key};
		enum status status = read_member(parse, &member, type, value, (char *)message);

		if (status != ST_OK)
			return status;
	}
	*ret_message = message;
	return ST_OK;
}

enum status pbjson_parse(const ProtobufCMessageDescriptor *type, const char *json, size_t len_bytes,
                         const char *const *skip, struct arena *arena, ProtobufCMessage **ret_message,
                         struct pbjson_error *ret_error)
{
	struct pbjson_parse parse = {.arena = arena, .error = ret_error, .skip = skip};
	json_t *root;
	enum status status = pbjson_load(json, len_bytes, arena, &root, ret_error);

	if (status != ST_OK)
		return status;
	status = read_message(&parse, NULL, type, root, ret_message);
	json_decref(root);
	return status;
}
