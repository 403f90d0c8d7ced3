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

/* An integer, also as text where the style has it so. */
static bool read_integer(const struct pbjson_style *style, const ProtobufCFieldDescriptor *field,
                         const struct jvalue *value, int64_t *ret_integer)
{
	if (style && style->int64_text && pbjson_is_64_bit(field) && value->kind == JVALUE_STRING)
		return pbjson_text_to_integer(value->text, ret_integer);
	return jvalue_integer(value, ret_integer);
}

static enum status read_value(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const struct jvalue *value, void *at)
{
	enum pbjson_wanted wanted = pbjson_wanted(parse, field);
	int64_t integer;

	switch (wanted) {
	case WANT_INTEGER:
		if (!read_integer(pbjson_style_of(parse), field, value, &integer))
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
		return read_message(parse, place, field->descriptor, value, at);
	}
	return pbjson_refuse_at(parse, place,
	                        value->kind == JVALUE_NULL ? "must not be null" : pbjson_wanted_reasons[wanted]);
}

/* Records by its native name that the member is to be removed; nulls is null_fields. */
static enum status read_removal(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCFieldDescriptor *field, const ProtobufCFieldDescriptor *nulls,
                                char *base)
{
	char **at, *name;
	size_t name_len;

	(void)pbjson_field_shape(field, &name_len);
	name = arena_strndup(parse->arena, field->name, name_len);
	at = name ? pbjson_append(parse, nulls, base) : NULL;
	if (!at)
		return pbjson_no_memory(parse, place);
	*at = name;
	return ST_OK;
}

/* The field that records what a merge patch removes; NULL in other messages. */
static const ProtobufCFieldDescriptor *nulls_of(const char *base)
{
	const ProtobufCMessage *message = (const ProtobufCMessage *)base;

	return protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "null_fields");
}

static enum status read_null(struct pbjson_parse *parse, const struct pbjson_place *place,
                             const ProtobufCFieldDescriptor *field, char *base)
{
	const struct pbjson_style *style = pbjson_style_of(parse);
	const ProtobufCFieldDescriptor *nulls = nulls_of(base);

	if (nulls)
		return read_removal(parse, place, field, nulls, base);
	return style && style->nulls_ignored ? ST_OK : pbjson_refuse_at(parse, place, "must not be null");
}

static enum status read_array(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const struct jvalue *array, char *base)
{
	const ProtobufCFieldDescriptor *nulls = nulls_of(base);
	size_t size = pbjson_element_size(field), i = 0;
	char *items;

	if (array->kind != JVALUE_ARRAY)
		return pbjson_refuse_at(parse, place, "must be an array");
	if (array->count == 0)
		return nulls ? read_removal(parse, place, field, nulls, base) : ST_OK;
	items = arena_alloc(parse->arena, array->count * size);
	if (!items)
		return pbjson_no_memory(parse, place);
	for (const struct jvalue *value = array->first; value; value = value->next, i++) {
		struct pbjson_place element = {.up = place, .index = i};
		enum status status = read_value(parse, &element, field, value, items + i * size);

		if (status != ST_OK)
			return status;
	}
	*(char **)(base + field->offset) = items;
	*(size_t *)(base + field->quantifier_offset) = array->count;
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

/* Whether the field was read already, by another of its names. */
static bool is_given(const ProtobufCFieldDescriptor *field, const char *base)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(base + field->quantifier_offset) > 0;
	return pbjson_is_set(field, base);
}

static enum status read_member(struct pbjson_parse *parse, const struct pbjson_place *place,
                               const ProtobufCMessageDescriptor *type, const struct jvalue *value, char *base)
{
	const struct pbjson_style *style = pbjson_style_of(parse);
	enum pbjson_shape shape;
	const ProtobufCFieldDescriptor *field = pbjson_style_find(style, type, place->name, &shape);
	enum status status;

	if (!field || is_skipped(parse, place, field))
		return style && style->unknown_ignored ? ST_OK
		                                       : pbjson_refuse_at(parse, place, "is no member of this object");
	if (value->kind == JVALUE_NULL)
		return read_null(parse, place, field, base);
	if (is_given(field, base))
		return pbjson_refuse_at(parse, place, "is given more than once");
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return read_array(parse, place, field, value, base);
	status = read_value(parse, place, field, value, base + field->offset);
	if (status == ST_OK)
		pbjson_mark_set(field, base);
	return status;
}

static enum status read_members(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const struct jvalue *object, char *base)
{
	if (object->kind != JVALUE_OBJECT)
		return pbjson_refuse_at(
		    parse, place, object->kind == JVALUE_NULL && place ? "must not be null" : "must be a JSON object");
	for (const struct jvalue *value = object->first; value; value = value->next) {
		struct pbjson_place member = {.up = place, .name = value->name};
		enum status status = read_member(parse, &member, type, value, base);

		if (status != ST_OK)
			return status;
	}
	return ST_OK;
}

static enum status read_message(struct pbjson_parse *parse, const struct pbjson_place *place,
                                const ProtobufCMessageDescriptor *type, const struct jvalue *value,
                                ProtobufCMessage **ret_message)
{
	ProtobufCMessage *message = arena_alloc(parse->arena, type->sizeof_message);
	enum status status;

	if (!message)
		return pbjson_no_memory(parse, place);
	protobuf_c_message_init(type, message);
	status = pbjson_is_bare(type) ? read_array(parse, place, &type->fields[0], value, (char *)message)
	                              : read_members(parse, place, type, value, (char *)message);
	if (status == ST_OK)
		*ret_message = message;
	return status;
}

/* Whether all members are there that the rules require. */
static enum status check_required(struct pbjson_parse *parse, const struct jvalue *root)
{
	for (const char *const *name = parse->rules ? parse->rules->required : NULL; name && *name; name++)
		if (!jvalue_get(root, *name))
			return pbjson_refuse(parse->error, *name, "is missing");
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
	status = read_message(&parse, NULL, type, root, &message);
	if (status != ST_OK)
		return status;
	status = check_required(&parse, root);
	if (status == ST_OK)
		*ret_message = message;
	return status;
}
