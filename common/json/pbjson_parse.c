/* JSON object to protobuf message by descriptor. */
#include "json/pbjson_internal.h"

#include <string.h>

static enum status read_message(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const struct jvalue *object,
                                ProtobufCMessage **ret_message);

static enum status read_object(struct pbjson_parse *parse, const struct pbjson_place *place, const struct jvalue *value,
                               void *at)
{
	size_t len;
	const char *text = jvalue_text(value, parse->arena, &len);

	if (!text)
		return pbjson_no_memory(parse, place);
	if (len > PBJSON_STRING_MAX_BYTES)
		return pbjson_refuse_at(parse, place, "is longer than 65536 bytes");
	*(const char **)at = text;
	return ST_OK;
}

static enum status read_value(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const struct jvalue *value, void *at)
{
	size_t name_len;
	enum pbjson_wanted wanted = pbjson_wanted(field, pbjson_field_shape(field, &name_len));
	int64_t integer;

	switch (wanted) {
	case WANT_INTEGER:
		if (!jvalue_integer(value, &integer))
			break;
		return pbjson_store_integer(parse, place, field, integer, at);
	case WANT_REAL:
		if (value->kind != JVALUE_NUMBER)
			break;
		return pbjson_store_real(parse, place, field, jvalue_real(value), at);
	case WANT_BOOL:
		if (value->kind != JVALUE_TRUE && value->kind != JVALUE_FALSE)
			break;
		*(protobuf_c_boolean *)at = value->kind == JVALUE_TRUE;
		return ST_OK;
	case WANT_TEXT:
		if (value->kind != JVALUE_STRING)
			break;
		return pbjson_store_text(parse, place, field, value->text, at);
	case WANT_OBJECT:
		if (value->kind != JVALUE_OBJECT)
			break;
		return read_object(parse, place, value, at);
	case WANT_MESSAGE:
		if (value->kind != JVALUE_OBJECT)
			break;
		return read_message(parse, place, field->descriptor, value, at);
	}
	return pbjson_refuse_at(parse, place,
	                        value->kind == JVALUE_NULL ? "must not be null" : pbjson_wanted_reasons[wanted]);
}

/* The field that records what a merge patch removes; NULL in other messages. */
static const ProtobufCFieldDescriptor *nulls_of(const ProtobufCMessage *message)
{
	return protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "null_fields");
}

/* Records that the member is to be removed. */
static enum status read_removal(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCFieldDescriptor *nulls, char *base)
{
	char **at, *name;

	name = arena_strdup(parse->arena, place->name);
	at = name ? pbjson_append(parse, nulls, base) : NULL;
	if (!at)
		return pbjson_no_memory(parse, place);
	*at = name;
	return ST_OK;
}

static enum status read_array(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const struct jvalue *array, char *base)
{
	const ProtobufCFieldDescriptor *nulls = nulls_of((const ProtobufCMessage *)base);
	size_t count = array->count, size = pbjson_element_size(field), i = 0;
	char *items;

	if (array->kind != JVALUE_ARRAY)
		return pbjson_refuse_at(parse, place,
		                        array->kind == JVALUE_NULL ? "must not be null" : "must be an array");
	if (count == 0 && nulls)
		return read_removal(parse, place, nulls, base);
	if (count == 0)
		return ST_OK;
	items = arena_alloc(parse->arena, count * size);
	if (!items)
		return pbjson_no_memory(parse, place);
	for (const struct jvalue *value = array->first; value; value = value->next, i++) {
		struct pbjson_place element = {.up = place, .index = i};
		enum status status = read_value(parse, &element, field, value, items + i * size);

		if (status != ST_OK)
			return status;
	}
	*(char **)(base + field->offset) = items;
	*(size_t *)(base + field->quantifier_offset) = count;
	return ST_OK;
}

static bool is_skipped(const struct pbjson_parse *parse, const struct pbjson_place *place,
                       const ProtobufCFieldDescriptor *field)
{
	const char *const *skip = parse->rules ? parse->rules->skip : NULL;

	for (; !place->up && skip && *skip; skip++)
		if (strcmp(*skip, field->name) == 0)
			return true;
	return false;
}

static enum status read_member(struct pbjson_parse *parse, const struct pbjson_place *place,
                               const ProtobufCMessageDescriptor *type, const struct jvalue *value, char *base)
{
	enum pbjson_shape shape;
	const ProtobufCFieldDescriptor *field = pbjson_field_find(type, place->name, &shape);
	const ProtobufCFieldDescriptor *nulls;
	enum status status;

	if (!field || is_skipped(parse, place, field))
		return pbjson_refuse_at(parse, place, "is no member of this object");
	if (value->kind == JVALUE_NULL) {
		nulls = nulls_of((const ProtobufCMessage *)base);
		return nulls ? read_removal(parse, place, nulls, base)
		             : pbjson_refuse_at(parse, place, "must not be null");
	}
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return read_array(parse, place, field, value, base);
	status = read_value(parse, place, field, value, base + field->offset);
	if (status == ST_OK)
		pbjson_mark_set(field, base);
	return status;
}

static enum status read_message(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const struct jvalue *object,
                                ProtobufCMessage **ret_message)
{
	ProtobufCMessage *message = arena_alloc(parse->arena, type->sizeof_message);

	if (!message)
		return pbjson_no_memory(parse, place);
	protobuf_c_message_init(type, message);
	for (const struct jvalue *value = object->first; value; value = value->next) {
		struct pbjson_place member = {.up = place, .name = value->name};
		enum status status = read_member(parse, &member, type, value, (char *)message);

		if (status != ST_OK)
			return status;
	}
	*ret_message = message;
	return ST_OK;
}

enum status pbjson_parse(const ProtobufCMessageDescriptor *type, const char *json, size_t len_bytes,
                         const struct pbjson_rules *rules, struct arena *arena, ProtobufCMessage **ret_message,
                         struct pbjson_error *ret_error)
{
	struct pbjson_parse parse = {.arena = arena, .error = ret_error, .rules = rules};
	const struct jvalue *root;
	ProtobufCMessage *message;
	enum status status = jvalue_read(json, len_bytes, arena, &root, ret_error);

	if (status != ST_OK)
		return status;
	if (root->kind != JVALUE_OBJECT)
		return pbjson_refuse(ret_error, "", "must be a JSON object");
	status = read_message(&parse, NULL, type, root, &message);
	if (status != ST_OK)
		return status;
	for (const char *const *name = rules ? rules->required : NULL; name && *name; name++)
		if (!jvalue_get(root, *name))
			return pbjson_refuse(ret_error, *name, "is missing");
	*ret_message = message;
	return ST_OK;
}
