/* Names and exceptions of a style. */
#include "json/pbjson_internal.h"

#include <ctype.h>
#include <string.h>

/* Whether a row speaks of the field: by its name, or by message and name. */
static bool row_is_for(const struct pbjson_member *row, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *field)
{
	size_t len = strlen(type->short_name);

	if (strncmp(row->field, type->short_name, len) == 0 && row->field[len] == '.')
		return strcmp(row->field + len + 1, field->name) == 0;
	return strcmp(row->field, field->name) == 0;
}

/* The next row for the field, at or behind row; NULL when there is none. row may be NULL. */
static const struct pbjson_member *find_row(const struct pbjson_member *row, const ProtobufCMessageDescriptor *type,
                                            const ProtobufCFieldDescriptor *field)
{
	for (; row && row->field; row++)
		if (row_is_for(row, type, field))
			return row;
	return NULL;
}

/* The name without an exception: the native one, its underscores turned into capitals where the style has it so. */
static size_t plain_name(const struct pbjson_style *style, const ProtobufCFieldDescriptor *field,
                         char ret_name[PBJSON_NAME_MAX_BYTES])
{
	size_t len, used = 0;

	(void)pbjson_field_shape(field, &len);
	for (size_t i = 0; i < len && used < PBJSON_NAME_MAX_BYTES - 1; i++) {
		bool capital = style->camel_case && field->name[i] == '_' && i + 1 < len;

		i += capital;
		ret_name[used++] = capital ? (char)toupper((unsigned char)field->name[i]) : field->name[i];
	}
	ret_name[used] = 0;
	return used;
}

size_t pbjson_style_name(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field, char ret_name[PBJSON_NAME_MAX_BYTES])
{
	const struct pbjson_member *row = find_row(style->members, type, field);
	size_t len;

	if (!row || !row->name)
		return plain_name(style, field, ret_name);
	len = strnlen(row->name, PBJSON_NAME_MAX_BYTES - 1);
	memcpy(ret_name, row->name, len);
	ret_name[len] = 0;
	return len;
}

/* Whether the style reads the field by this name: one of its rows, or the plain one when none names it. */
static bool is_called(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type,
                      const ProtobufCFieldDescriptor *field, const char *name)
{
	char plain[PBJSON_NAME_MAX_BYTES];
	bool named = false;

	for (const struct pbjson_member *row = find_row(style->members, type, field); row;
	     row = find_row(row + 1, type, field)) {
		if (row->name && strcmp(row->name, name) == 0)
			return true;
		named = named || row->name;
	}
	if (named)
		return false;
	(void)plain_name(style, field, plain);
	return strcmp(plain, name) == 0;
}

const ProtobufCFieldDescriptor *pbjson_style_find(const struct pbjson_style *style,
                                                  const ProtobufCMessageDescriptor *type, const char *name,
                                                  enum pbjson_shape *ret_shape)
{
	if (!style || (!style->camel_case && !style->members))
		return pbjson_field_find(type, name, ret_shape);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		size_t name_len;
		enum pbjson_shape shape = pbjson_field_shape(field, &name_len);

		if (shape == PBJSON_NULLS || !is_called(style, type, field, name))
			continue;
		*ret_shape = shape;
		return field;
	}
	return NULL;
}

enum pbjson_absent pbjson_style_absent(const struct pbjson_style *style, const ProtobufCMessageDescriptor *type,
                                       const ProtobufCFieldDescriptor *field)
{
	for (const struct pbjson_member *row = find_row(style->members, type, field); row;
	     row = find_row(row + 1, type, field))
		if (row->absent != PBJSON_OMITTED)
			return row->absent;
	return style->absent;
}

bool pbjson_is_bare(const ProtobufCMessageDescriptor *type)
{
	return type->n_fields == 1 && type->fields[0].label == PROTOBUF_C_LABEL_REPEATED &&
	       strcmp(type->fields[0].name, "bare_array") == 0;
}
