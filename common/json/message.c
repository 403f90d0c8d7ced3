/* Fields of the same name in messages of different types. */
#include "json/message.h"

#include "json/pbjson_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- which fields correspond ---- */

/* Pairs of fields of two types that are the same; never freed: there are as many as there are pairs of types in the program. */
struct map {
	const ProtobufCMessageDescriptor *from, *to;
	size_t count;
	struct pair {
		const ProtobufCFieldDescriptor *from, *to;
	} pairs[];
};

#define MAPS_MAX 512 /* a power of two; when it is full, maps are made anew each time */
static _Atomic(struct map *) maps[MAPS_MAX];

/* Which C type a field has: texts, bytes, lists and numbers of one size are the same kind. */
static int field_kind(const ProtobufCFieldDescriptor *field)
{
	int repeated = field->label == PROTOBUF_C_LABEL_REPEATED ? 100 : 0;
	switch (field->type) {
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_SINT32:
		return repeated + PROTOBUF_C_TYPE_INT32;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_SINT64:
		return repeated + PROTOBUF_C_TYPE_INT64;
	default:
		return repeated + (int)field->type;
	}
}

const ProtobufCFieldDescriptor *message_field(const ProtobufCMessageDescriptor *type, const char *json_name)
{
	enum pbjson_shape shape;
	return pbjson_field_find(type, json_name, &shape);
}

static const ProtobufCFieldDescriptor *field_same(const ProtobufCMessageDescriptor *to,
                                                  const ProtobufCFieldDescriptor *from)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(to, from->name);
	char name[PBJSON_PATH_MAX_BYTES];
	size_t len;
	if (!field) {
		(void)pbjson_field_shape(from, &len);
		if (len >= sizeof(name))
			return NULL;
		memcpy(name, from->name, len);
		name[len] = '\0';
		field = message_field(to, name);
	}
	bool same = field && field_kind(field) == field_kind(from) &&
	            (field->type != PROTOBUF_C_TYPE_MESSAGE || field->descriptor == from->descriptor);
	return same ? field : NULL;
}

static struct map *map_new(const ProtobufCMessageDescriptor *from, const ProtobufCMessageDescriptor *to)
{
	struct map *map = calloc(1, sizeof(*map) + from->n_fields * sizeof(map->pairs[0]));
	if (!map)
		return NULL;
	map->from = from;
	map->to = to;
	for (unsigned i = 0; i < from->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = field_same(to, &from->fields[i]);
		if (field)
			map->pairs[map->count++] = (struct pair){&from->fields[i], field};
	}
	return map;
}

/* The map of two types; *ret_own when the caller frees it. */
static struct map *map_find(const ProtobufCMessageDescriptor *from, const ProtobufCMessageDescriptor *to, bool *ret_own)
{
	size_t at = ((uintptr_t)from / 16 * 31 + (uintptr_t)to / 16) % MAPS_MAX;
	*ret_own = false;
	for (size_t i = 0; i < MAPS_MAX; i++, at = (at + 1) % MAPS_MAX) {
		struct map *map = atomic_load_explicit(&maps[at], memory_order_acquire);
		if (!map) {
			struct map *made = map_new(from, to);
			if (made && atomic_compare_exchange_strong(&maps[at], &map, made))
				return made;
			free(made);
			if (!map)
				return NULL;
		}
		if (map->from == from && map->to == to)
			return map;
	}
	*ret_own = true;
	return map_new(from, to);
}

/* ---- values ---- */

bool message_has(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *base = (const char *)message;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(base + field->quantifier_offset) > 0;
	return pbjson_is_set(field, base);
}

static size_t field_size(const ProtobufCFieldDescriptor *field)
{
	return field->label == PROTOBUF_C_LABEL_REPEATED ? sizeof(void *) : pbjson_element_size(field);
}

static void pair_copy(const struct pair *pair, const char *from, char *to)
{
	memcpy(to + pair->to->offset, from + pair->from->offset, field_size(pair->from));
	if (pair->from->label == PROTOBUF_C_LABEL_REPEATED)
		*(size_t *)(void *)(to + pair->to->quantifier_offset) =
		    *(const size_t *)(from + pair->from->quantifier_offset);
	else
		pbjson_mark_set(pair->to, to);
}

void message_copy(const ProtobufCMessage *from, ProtobufCMessage *to)
{
	bool own;
	struct map *map = map_find(from->descriptor, to->descriptor, &own);
	for (size_t i = 0; map && i < map->count; i++) {
		if (message_has(from, map->pairs[i].from))
			pair_copy(&map->pairs[i], (const char *)from, (char *)to);
	}
	if (own)
		free(map);
}

bool message_clear(ProtobufCMessage *message, const char *json_name)
{
	const ProtobufCFieldDescriptor *field = message_field(message->descriptor, json_name);
	char *base = (char *)message;
	if (!field)
		return false;
	memset(base + field->offset, 0, field_size(field));
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		*(size_t *)(void *)(base + field->quantifier_offset) = 0;
	else if (field->quantifier_offset)
		*(protobuf_c_boolean *)(base + field->quantifier_offset) = false;
	return true;
}

/* ---- comparing and showing ---- */

/* Two values, each of which is there. */
static bool value_equal(const ProtobufCFieldDescriptor *field, const char *a, const char *b)
{
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
	if (field->type == PROTOBUF_C_TYPE_BYTES) {
		const ProtobufCBinaryData *left = (const void *)a, *right = (const void *)b;
		return left->len == right->len && memcmp(left->data, right->data, left->len) == 0;
	}
	return field->type != PROTOBUF_C_TYPE_MESSAGE && memcmp(a, b, pbjson_element_size(field)) == 0;
}

bool message_field_equal(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	bool has_a = a && message_has(a, field), has_b = b && message_has(b, field);
	const char *left = (const char *)a, *right = (const char *)b;
	size_t count, size = pbjson_element_size(field);
	if (!has_a || !has_b)
		return has_a == has_b;
	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return value_equal(field, left + field->offset, right + field->offset);
	count = *(const size_t *)(left + field->quantifier_offset);
	if (count != *(const size_t *)(right + field->quantifier_offset))
		return false;
	left = *(const char *const *)(left + field->offset);
	right = *(const char *const *)(right + field->offset);
	for (size_t i = 0; i < count; i++) {
		if (!value_equal(field, left + i * size, right + i * size))
			return false;
	}
	return true;
}

bool message_field_json(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct arena *arena,
                        char **ret_json)
{
	struct buf out = {0};
	char *json = NULL;
	bool has = message && message_has(message, field);
	if (has) {
		pbjson_print_field(field, message, &out);
		json = buf_ok(&out) ? arena_strndup(arena, out.data, out.len) : NULL;
	}
	buf_free(&out);
	*ret_json = json;
	return json || !has;
}

const char *message_json_name(const ProtobufCFieldDescriptor *field, struct arena *arena)
{
	size_t len;
	(void)pbjson_field_shape(field, &len);
	return field->name[len] ? arena_strndup(arena, field->name, len) : field->name;
}
