/* JSON names of protobuf fields and enum values, by the conventions of pbjson.h. */
#include "json/pbjson_internal.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_BYTES 64

static bool ends_with(const char *text, size_t len, const char *tail, size_t tail_len)
{
	return len > tail_len && memcmp(text + len - tail_len, tail, tail_len) == 0;
}

enum pbjson_shape pbjson_field_shape(const ProtobufCFieldDescriptor *field, size_t *ret_name_len)
{
	size_t len = strlen(field->name);

	*ret_name_len = len;
	if (field->type == PROTOBUF_C_TYPE_INT64 &&
	    (ends_with(field->name, len, "_at_us", 6) || strcmp(field->name, "at_us") == 0)) {
		*ret_name_len = len - 3;
		return PBJSON_TIME;
	}
	if (field->type != PROTOBUF_C_TYPE_STRING)
		return PBJSON_PLAIN;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return strcmp(field->name, "null_fields") == 0 ? PBJSON_NULLS : PBJSON_PLAIN;
	if (!ends_with(field->name, len, "_json", 5))
		return PBJSON_PLAIN;
	*ret_name_len = len - 5;
	return PBJSON_OBJECT;
}

const ProtobufCFieldDescriptor *pbjson_field_find(const ProtobufCMessageDescriptor *type, const char *name,
                                                  enum pbjson_shape *ret_shape)
{
	static const char *const tails[] = {"", "_json", "_us"};
	char full[NAME_MAX_BYTES + 8];
	size_t len = strlen(name);

	if (len > NAME_MAX_BYTES)
		return NULL;
	memcpy(full, name, len);
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		const ProtobufCFieldDescriptor *field;
		enum pbjson_shape shape;
		size_t name_len;

		memcpy(full + len, tails[i], strlen(tails[i]) + 1);
		field = protobuf_c_message_descriptor_get_field_by_name(type, full);
		if (!field)
			continue;
		shape = pbjson_field_shape(field, &name_len);
		if (name_len != len || shape == PBJSON_NULLS)
			continue; /* the proto name itself is no member: "created_at_us" */
		*ret_shape = shape;
		return field;
	}
	return NULL;
}

size_t pbjson_enum_prefix(const ProtobufCEnumDescriptor *type)
{
	size_t len = 1; /* the underscore behind the last word */

	for (const char *at = type->short_name; *at; at++)
		len += isupper((unsigned char)*at) && at != type->short_name ? 2 : 1;
	return len;
}

const ProtobufCEnumValue *pbjson_enum_find(const ProtobufCEnumDescriptor *type, const char *text, size_t len_bytes)
{
	size_t prefix = pbjson_enum_prefix(type);

	for (unsigned i = 0; i < type->n_values; i++) {
		const char *name = type->values[i].name + prefix;
		size_t at = 0;

		while (at < len_bytes && name[at] && tolower((unsigned char)name[at]) == text[at])
			at++;
		if (at == len_bytes && !name[at])
			return &type->values[i];
	}
	return NULL;
}

enum status pbjson_refuse(struct pbjson_error *ret_error, const char *field, const char *reason)
{
	ret_error->field = field ? field : "";
	ret_error->reason = reason;
	return ST_INVALID_ARGUMENT;
}
