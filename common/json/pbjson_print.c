/* Protobuf message to JSON text by descriptor, straight into a buffer: the hot half of pbjson. */
#include "base/clock.h"
#include "base/secret.h"
#include "json/pbjson_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_message(const ProtobufCMessage *message, const struct pbjson_style *style, struct buf *out);

static void add_uint(struct buf *out, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	buf_add(out, digits + at, sizeof(digits) - at);
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

static void print_enum(const ProtobufCEnumDescriptor *type, int value, const struct pbjson_style *style,
                       struct buf *out)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

	if (style && style->enum_numbers) {
		buf_add_int(out, value);
		return;
	}
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

static void print_time(int64_t value_us, const struct pbjson_style *style, struct buf *out)
{
	char text[CLOCK_RFC3339_SIZE];

	if (style && style->times != PBJSON_RFC3339) {
		buf_add_int(out, value_us / (style->times == PBJSON_EPOCH_MS ? US_PER_MS : US_PER_SEC));
		return;
	}
	clock_format_rfc3339(value_us, text);
	buf_add_char(out, '"');
	buf_add_str(out, text);
	buf_add_char(out, '"');
}

static void print_64_bit(const ProtobufCFieldDescriptor *field, const void *at, const struct pbjson_style *style,
                         struct buf *out)
{
	bool quoted = style && style->int64_text;

	if (quoted)
		buf_add_char(out, '"');
	if (field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_FIXED64)
		add_uint(out, *(const uint64_t *)at);
	else
		buf_add_int(out, *(const int64_t *)at);
	if (quoted)
		buf_add_char(out, '"');
}

/* Prints the value at `at`, which has the type of the field (an element when the field is repeated). */
static void print_value(const ProtobufCFieldDescriptor *field, enum pbjson_shape shape, const void *at,
                        const struct pbjson_style *style, struct buf *out)
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
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		if (shape == PBJSON_TIME)
			print_time(*(const int64_t *)at, style, out);
		else
			print_64_bit(field, at, style, out);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_add_str(out, *(const protobuf_c_boolean *)at ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(field->descriptor, *(const int *)at, style, out);
		break;
	case PROTOBUF_C_TYPE_STRING:
		print_string(*(const char *const *)at, shape, out);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(at, out);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(*(const ProtobufCMessage *const *)at, style, out);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		add_real(out, (double)*(const float *)at);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		add_real(out, *(const double *)at);
		break;
	}
}

static void print_array(const ProtobufCFieldDescriptor *field, const char *base, const struct pbjson_style *style,
                        struct buf *out)
{
	size_t count = *(const size_t *)(base + field->quantifier_offset), size = pbjson_element_size(field);
	const char *items = *(const char *const *)(base + field->offset);

	buf_add_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_add_char(out, ',');
		print_value(field, PBJSON_PLAIN, items + i * size, style, out);
	}
	buf_add_char(out, ']');
}

/* Comma or brace, name and colon. Identifiers need no escape. False when the buffer is full. */
static bool print_name(char before, const char *name, size_t name_len, struct buf *out)
{
	char *at = buf_reserve(out, name_len + 4);

	if (!at)
		return false;
	at[0] = before;
	at[1] = '"';
	memcpy(at + 2, name, name_len);
	memcpy(at + 2 + name_len, "\":", 2);
	out->len += name_len + 4;
	return true;
}

/* What stands for a field that has no value and is not left out. */
static void print_absent(const ProtobufCFieldDescriptor *field, enum pbjson_shape shape, enum pbjson_absent absent,
                         const struct pbjson_style *style, struct buf *out)
{
	bool time = shape == PBJSON_TIME && style->times == PBJSON_RFC3339;

	if (absent == PBJSON_NULL || field->type == PROTOBUF_C_TYPE_MESSAGE || time)
		buf_add_str(out, "null");
	else if (shape == PBJSON_OBJECT)
		buf_add_str(out, "{}");
	else if (field->type == PROTOBUF_C_TYPE_BOOL)
		buf_add_str(out, "false");
	else if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
	         (field->type == PROTOBUF_C_TYPE_ENUM && !style->enum_numbers))
		buf_add_str(out, "\"\"");
	else if (pbjson_is_64_bit(field) && style->int64_text && shape != PBJSON_TIME)
		buf_add_str(out, "\"0\"");
	else
		buf_add_char(out, '0');
}

/* One member in a style of its own. False when it is left out or the buffer is full. */
static bool print_styled(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, char before,
                         const struct pbjson_style *style, struct buf *out)
{
	const char *base = (const char *)message;
	bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
	bool there = repeated ? *(const size_t *)(base + field->quantifier_offset) > 0 || !style->empty_lists_omitted
	                      : pbjson_is_set(field, base);
	enum pbjson_absent absent = there ? PBJSON_OMITTED : pbjson_style_absent(style, message->descriptor, field);
	size_t name_len;
	enum pbjson_shape shape = pbjson_field_shape(field, &name_len);
	char name[PBJSON_NAME_MAX_BYTES];

	if (shape == PBJSON_NULLS || (!there && absent == PBJSON_OMITTED))
		return false;
	name_len = pbjson_style_name(style, message->descriptor, field, name);
	if (!print_name(before, name, name_len, out))
		return false;
	if (repeated && absent != PBJSON_NULL)
		print_array(field, base, style, out);
	else if (there)
		print_value(field, shape, base + field->offset, style, out);
	else
		print_absent(field, shape, absent, style, out);
	return true;
}

/* One member in the native style. False when it is left out or the buffer is full. */
static bool print_native(const ProtobufCFieldDescriptor *field, const char *base, char before, struct buf *out)
{
	enum pbjson_shape shape;
	size_t name_len;

	if (field->label != PROTOBUF_C_LABEL_REPEATED && !pbjson_is_set(field, base))
		return false;
	shape = pbjson_field_shape(field, &name_len);
	if (!print_name(before, field->name, name_len, out))
		return false;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		print_array(field, base, NULL, out);
	else
		print_value(field, shape, base + field->offset, NULL, out);
	return true;
}

static void print_message(const ProtobufCMessage *message, const struct pbjson_style *style, struct buf *out)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	const char *base = (const char *)message;
	char before = '{';

	if (pbjson_is_bare(type)) {
		print_array(&type->fields[0], base, style, out);
		return;
	}
	for (unsigned i = 0; i < type->n_fields; i++) {
		bool printed = style ? print_styled(&type->fields[i], message, before, style, out)
		                     : print_native(&type->fields[i], base, before, out);

		if (printed)
			before = ',';
	}
	if (before == '{')
		buf_add_char(out, '{');
	buf_add_char(out, '}');
}

void pbjson_print(const ProtobufCMessage *message, struct buf *out)
{
	print_message(message, NULL, out);
}

void pbjson_print_styled(const ProtobufCMessage *message, const struct pbjson_style *style, struct buf *out)
{
	print_message(message, style, out);
}

void pbjson_print_field(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct buf *out)
{
	const char *base = (const char *)message;
	size_t name_len;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		print_array(field, base, NULL, out);
	else
		print_value(field, pbjson_field_shape(field, &name_len), base + field->offset, NULL, out);
}
