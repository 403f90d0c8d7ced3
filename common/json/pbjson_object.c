/* Free JSON objects: checking, compacting, merging (RFC 7396). */
#include "json/pbjson_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pbjson_add_real(struct buf *out, double value)
{
	char text[32];

	if (!isfinite(value)) {
		buf_add_str(out, "null");
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		(void)snprintf(text, sizeof text, "%.*g", precision, value);
		if (strtod(text, NULL) == value) /* exact: reads back as the same double */
			break;
	}
	buf_add_str(out, text);
	if (!strpbrk(text, ".e")) /* stays a real for the next reader */
		buf_add_str(out, ".0");
}

static void dump_object(const json_t *value, struct buf *out)
{
	char before = '{';
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)value, key, member)
	{
		buf_add_char(out, before);
		buf_add_json_string(out, key, strlen(key));
		buf_add_char(out, ':');
		pbjson_dump(member, out);
		before = ',';
	}
	if (before == '{')
		buf_add_char(out, '{');
	buf_add_char(out, '}');
}

static void dump_array(const json_t *value, struct buf *out)
{
	buf_add_char(out, '[');
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (i)
			buf_add_char(out, ',');
		pbjson_dump(json_array_get(value, i), out);
	}
	buf_add_char(out, ']');
}

void pbjson_dump(const json_t *value, struct buf *out)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		dump_object(value, out);
		break;
	case JSON_ARRAY:
		dump_array(value, out);
		break;
	case JSON_STRING:
		buf_add_json_string(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		buf_add_int(out, json_integer_value(value));
		break;
	case JSON_REAL:
		pbjson_add_real(out, json_real_value(value));
		break;
	case JSON_TRUE:
		buf_add_str(out, "true");
		break;
	case JSON_FALSE:
		buf_add_str(out, "false");
		break;
	case JSON_NULL:
		buf_add_str(out, "null");
		break;
	}
}

const char *pbjson_dump_arena(const json_t *value, struct arena *arena, size_t *ret_len)
{
	struct buf text = {0};
	const char *copy = NULL;

	pbjson_dump(value, &text);
	if (buf_ok(&text)) {
		copy = arena_strndup(arena, text.data, text.len);
		*ret_len = text.len;
	}
	buf_free(&text);
	return copy;
}

/* Prefixes the path inside the object with the name of the field that holds it. */
static const char *join_path(struct arena *arena, const char *field, const char *inside)
{
	if (!inside || !*inside)
		return field;
	return arena_printf(arena, inside[0] == '[' ? "%s%s" : "%s.%s", field, inside);
}

enum status pbjson_object(const char *text, const char *field, size_t max_bytes, struct arena *arena,
                          const char **ret_compact, struct pbjson_error *ret_error)
{
	struct pbjson_error inside = {0};
	json_t *root = NULL;
	const char *compact;
	size_t len;
	enum status status = pbjson_load(text, strlen(text), arena, &root, &inside);

	if (status != ST_OK) {
		(void)pbjson_refuse(ret_error, join_path(arena, field, inside.field), inside.reason);
		return status;
	}
	compact = pbjson_dump_arena(root, arena, &len);
	json_decref(root);
	if (!compact) {
		(void)pbjson_refuse(ret_error, field, "there is no memory left for this object");
		return ST_RESOURCE_EXHAUSTED;
	}
	if (max_bytes && len > max_bytes) {
		(void)pbjson_refuse(ret_error, field, "is larger than allowed");
		return ST_CONTENT_TOO_LARGE;
	}
	*ret_compact = compact;
	return ST_OK;
}

/* RFC 7396 section 2. target is changed and stays the caller's; patch is only read. Depth is bounded by pbjson_load. */
static bool merge_object(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)patch, key, value)
	{
		json_t *old = json_object_get(target, key);

		if (json_is_null(value)) {
			(void)json_object_del(target, key); /* absent is fine */
			continue;
		}
		if (!json_is_object(value)) {
			if (json_object_set(target, key, value) != 0)
				return false;
			continue;
		}
		if (!json_is_object(old)) {
			old = json_object();
			if (json_object_set_new(target, key, old) != 0)
				return false;
		}
		if (!merge_object(old, value))
			return false;
	}
	return true;
}

enum status pbjson_merge(const char *target, const char *patch, struct arena *arena, const char **ret_merged)
{
	struct pbjson_error error = {0};
	json_t *into = NULL, *from = NULL;
	const char *merged;
	size_t len;
	enum status status = pbjson_load(target, strlen(target), arena, &into, &error);

	if (status == ST_OK)
		status = pbjson_load(patch, strlen(patch), arena, &from, &error);
	if (status != ST_OK)
		goto out;
	status = ST_RESOURCE_EXHAUSTED;
	if (!merge_object(into, from))
		goto out;
	merged = pbjson_dump_arena(into, arena, &len);
	if (!merged)
		goto out;
	*ret_merged = merged;
	status = ST_OK;
out:
	json_decref(into);
	json_decref(from);
	return status;
}
