/* Storing values in protobuf fields. */
#include "base/clock.h"
#include "base/secret.h"
#include "json/pbjson_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct pbjson_style *pbjson_style_of(const struct pbjson_parse *parse)
{
	return parse->rules ? parse->rules->style : NULL;
}

/* A time in the units of the style. */
static enum status store_epoch(struct pbjson_parse *parse, const struct pbjson_place *place, int64_t value, void *at)
{
	int64_t unit_us = pbjson_style_of(parse)->times == PBJSON_EPOCH_MS ? US_PER_MS : US_PER_SEC;

	if (__builtin_mul_overflow(value, unit_us, (int64_t *)at))
		return pbjson_refuse_at(parse, place, "is a number out of range");
	return ST_OK;
}

static enum status store_enum_number(struct pbjson_parse *parse, const struct pbjson_place *place,
                                     const ProtobufCFieldDescriptor *field, int64_t value, void *at)
{
	if (value < INT32_MIN || value > INT32_MAX ||
	    !protobuf_c_enum_descriptor_get_value(field->descriptor, (int)value))
		return pbjson_refuse_at(parse, place, "is none of the values that this field takes");
	*(int *)at = (int)value;
	return ST_OK;
}

enum status pbjson_store_integer(struct pbjson_parse *parse, const struct pbjson_place *place,
                                 const ProtobufCFieldDescriptor *field, int64_t value, void *at)
{
	int64_t low = INT64_MIN, high = INT64_MAX;
	size_t name_len;

	if (field->type == PROTOBUF_C_TYPE_ENUM)
		return store_enum_number(parse, place, field, value, at);
	if (pbjson_field_shape(field, &name_len) == PBJSON_TIME)
		return store_epoch(parse, place, value, at);
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		low = INT32_MIN;
		high = INT32_MAX;
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		low = 0;
		high = UINT32_MAX;
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		low = 0;
		break;
	default:
		break;
	}
	if (value < low || value > high)
		return pbjson_refuse_at(parse, place, "is a number out of range");
	if (low == INT64_MIN || high == INT64_MAX)
		*(int64_t *)at = value;
	else
		*(uint32_t *)at = (uint32_t)value;
	return ST_OK;
}

static enum status store_bytes(struct pbjson_parse *parse, const struct pbjson_place *place, const char *text, void *at)
{
	size_t len = strlen(text), size = len * 3 / 4 + 1;
	uint8_t *data = arena_alloc(parse->arena, size);

	if (!data)
		return pbjson_no_memory(parse, place);
	if (!base64url_decode(text, len, data, &size))
		return pbjson_refuse_at(parse, place, "must be base64url without padding");
	*(ProtobufCBinaryData *)at = (ProtobufCBinaryData){.len = size, .data = data};
	return ST_OK;
}

static enum status store_enum(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const char *text, void *at)
{
	const ProtobufCEnumValue *value = pbjson_enum_find(field->descriptor, text, strlen(text));

	if (!value)
		return pbjson_refuse_at(parse, place, "is none of the values that this field takes");
	*(int *)at = value->value;
	return ST_OK;
}

enum status pbjson_store_text(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, const char *text, void *at)
{
	enum pbjson_shape shape;
	size_t name_len, len = strlen(text);

	if (len > PBJSON_STRING_MAX_BYTES)
		return pbjson_refuse_at(parse, place, "is longer than 65536 bytes");
	if (field->type == PROTOBUF_C_TYPE_ENUM)
		return store_enum(parse, place, field, text, at);
	if (field->type == PROTOBUF_C_TYPE_BYTES)
		return store_bytes(parse, place, text, at);
	shape = pbjson_field_shape(field, &name_len);
	if (shape == PBJSON_TIME) {
		if (!clock_parse_rfc3339(text, len, at))
			return pbjson_refuse_at(parse, place, "must be a time such as 2026-01-31T12:00:00Z");
		return ST_OK;
	}
	*(const char **)at = text;
	return ST_OK;
}

enum status pbjson_store_real(struct pbjson_parse *parse, const struct pbjson_place *place,
                              const ProtobufCFieldDescriptor *field, double value, void *at)
{
	if (field->type == PROTOBUF_C_TYPE_DOUBLE) {
		*(double *)at = value;
		return ST_OK;
	}
	if (!isfinite((float)value))
		return pbjson_refuse_at(parse, place, "is a number out of range");
	*(float *)at = (float)value;
	return ST_OK;
}

enum pbjson_wanted pbjson_wanted(const struct pbjson_parse *parse, const ProtobufCFieldDescriptor *field)
{
	const struct pbjson_style *style = pbjson_style_of(parse);
	size_t name_len;
	enum pbjson_shape shape = pbjson_field_shape(field, &name_len);

	if (shape == PBJSON_OBJECT)
		return WANT_OBJECT;
	if (shape == PBJSON_TIME)
		return style && style->times != PBJSON_RFC3339 ? WANT_INTEGER : WANT_TEXT;
	if (field->type == PROTOBUF_C_TYPE_ENUM && style && style->enum_numbers)
		return WANT_INTEGER;
	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return WANT_BOOL;
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WANT_REAL;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_ENUM:
		return WANT_TEXT;
	case PROTOBUF_C_TYPE_MESSAGE:
		return WANT_MESSAGE;
	default:
		return WANT_INTEGER;
	}
}

const char *const pbjson_wanted_reasons[] = {
    [WANT_INTEGER] = "must be an integer",   [WANT_REAL] = "must be a number",
    [WANT_BOOL] = "must be true or false",   [WANT_TEXT] = "must be a string",
    [WANT_OBJECT] = "must be a JSON object", [WANT_MESSAGE] = "must be a JSON object",
};

size_t pbjson_element_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

bool pbjson_is_64_bit(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return true;
	default:
		return false;
	}
}

bool pbjson_text_to_integer(const char *text, int64_t *ret_value)
{
	size_t len = strlen(text);
	bool integer = false;

	if (len == 0 || jvalue_number_len(text, len, &integer) != len || !integer ||
	    !jvalue_number_fits(text, len, true))
		return false;
	*ret_value = strtoll(text, NULL, 10);
	return true;
}

bool pbjson_is_set(const ProtobufCFieldDescriptor *field, const char *base)
{
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(base + field->offset);
	return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

void pbjson_mark_set(const ProtobufCFieldDescriptor *field, char *base)
{
	if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
		*(protobuf_c_boolean *)(base + field->quantifier_offset) = 1;
}

/* Appends one element to a repeated field, whose array doubles at each power of two. */
void *pbjson_append(struct pbjson_parse *parse, const ProtobufCFieldDescriptor *field, char *base)
{
	size_t *count = (size_t *)(base + field->quantifier_offset), size = pbjson_element_size(field);
	char **items = (char **)(base + field->offset), *grown = *items;

	if ((*count & (*count - 1)) == 0) { /* 0, 1, 2, 4, 8 ... */
		grown = arena_alloc(parse->arena, (*count ? *count * 2 : 1) * size);
		if (!grown)
			return NULL;
		if (*count)
			memcpy(grown, *items, *count * size);
		*items = grown;
	}
	return grown + (*count)++ * size;
}
