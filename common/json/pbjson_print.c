/* Protobuf message to JSON text by descriptor, straight into a buffer: the hot half of pbjson. */
#include "base/clock.h"
#include "base/secret.h"
#include "json/pbjson_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_message(const ProtobufCMessage *message, struct buf *out);

static void add_uint(struct buf *out, uint64_t value)
{
	char digits[20];
	size_t at = sizeof digits;

	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	buf_add(out, digits + at, sizeof digits - at);
}

/* As a JSON number with a point or exponent; null when it is not finite. */
static void add_real(struct buf *out, double value)
{
	char text[32];

	if (!isfinite(value)) {
		buf_add_str(out, "null");
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		(void)snprintf(text, sizeof(text), "%.*g", precision, value);
		if (strtod(text, NULL) == value) /* exact: reads back as the same double */
			break;
	}
	buf_add_str(out, text);
	if (!strpbrk(text, ".e")) /* stays a real for the next reader */
		buf_add_str(out, ".0");
}

static void print_enum(const ProtobufCEnumDescriptor *type, int value, struct buf *out)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

	buf_add_char(out, '"');
	if (known) {
		for (const char *at = known->name + pbjson_enum_prefix(type); *at; at++)
			buf_add_char(out, (char)tolower((unsigned char)*at));
	} else { /* a newer process wrote it */
		buf_add_str(out, "unknown_");
		buf_add_int(out, value);
	}
	buf_add_char(out, '"');
}

static void print_bytes(const ProtobufCBinaryData *bytes, struct buf *out)
{
	char *at;

	buf_add_char(out, '"');
	at = buf_reserve(out, BASE64URL_SIZE(bytes->len));
	if (at)
		out->len += base64url_encode(bytes->data, bytes->len, at);
	buf_add_char(out, '"');
}

static void print_string(const char *text, enum pbjson_shape shape, struct buf *out)
{
	if (shape == PBJSON_OBJECT)
		buf_add_str(out, *text ? text : "{}"); /* checked when it was stored */
	else
		buf_add_json_string(out, text, strlen(text));
}

static void print_int64(int64_t value, enum pbjson_shape shape, struct buf *out)
{
	char text[CLOCK_RFC3339_SIZE];

	if (shape != PBJSON_TIME) {
		buf_add_int(out, value);
		return;
	}
	clock_format_rfc3339(value, text);
	buf_add_char(out, '"');
	buf_add_str(out, text);
	buf_add_char(out, '"');
}

/* Prints the value at `at`, which has the type of the field (an element when the field is repeated). */
static void print_value(const ProtobufCFieldDescriptor *field, enum pbjson_shape shape, const void *at, struct buf *out)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		buf_add_int(out, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		buf_add_int(out, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		print_int64(*(const int64_t *)at, shape, out);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		add_uint(out, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_add_str(out, *(const protobuf_c_boolean *)at ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(field->descriptor, *(const int *)at, out);
		break;
	case PROTOBUF_C_TYPE_STRING:
		print_string(*(const char *const *)at, shape, out);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(at, out);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(*(const ProtobufCMessage *const *)at, out);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		add_real(out, (double)*(const float *)at);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		add_real(out, *(const double *)at);
		break;
	}
}

static void print_array(const ProtobufCFieldDescriptor *field, const char *base, struct buf *out)
{
	size_t count = *(const size_t *)(base + field->quantifier_offset), size = pbjson_element_size(field);
	const char *items = *(const char *const *)(base + field->offset);

	buf_add_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_add_char(out, ',');
		print_value(field, PBJSON_PLAIN, items + i * size, out);
	}
	buf_add_char(out, ']');
}

static void print_message(const ProtobufCMessage *message, struct buf *out)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	const char *base = (const char *)message;
	char before = '{';

	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		enum pbjson_shape shape;
		size_t name_len;
		char *at;

		if (field->label != PROTOBUF_C_LABEL_REPEATED && !pbjson_is_set(field, base))
			continue;
		shape = pbjson_field_shape(field, &name_len);
		at = buf_reserve(out, name_len + 4);
		if (!at)
			return;
		at[0] = before;
		at[1] = '"';
		memcpy(at + 2, field->name, name_len); /* identifiers need no escape */
		memcpy(at + 2 + name_len, "\":", 2);
		out->len += name_len + 4;
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			print_array(field, base, out);
		else
			print_value(field, shape, base + field->offset, out);
		before = ',';
	}
	if (before == '{')
		buf_add_char(out, '{');
	buf_add_char(out, '}');
}

void pbjson_print(const ProtobufCMessage *message, struct buf *out)
{
	print_message(message, out);
}

void pbjson_print_field(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct buf *out)
{
	const char *base = (const char *)message;
	size_t name_len;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		print_array(field, base, out);
	else
		print_value(field, pbjson_field_shape(field, &name_len), base + field->offset, out);
}
