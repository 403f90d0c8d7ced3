/* Trees of JSON: finding, comparing, merging (RFC 7396), making, printing. */
#include "json/pbjson_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEW_MEMBERS 8 /* are searched one by one */

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct jvalue *const *)a)->name, (*(struct jvalue *const *)b)->name);
}

static const char *find_twice(const struct jvalue *object)
{
	for (const struct jvalue *a = object->first; a; a = a->next)
		for (const struct jvalue *b = a->next; b; b = b->next)
			if (strcmp(a->name, b->name) == 0)
				return a->name;
	return NULL;
}

bool jvalue_sort(struct jvalue *object, struct arena *arena, const char **ret_twice)
{
	struct jvalue **sorted;
	size_t used = 0;

	*ret_twice = NULL;
	if (object->count <= FEW_MEMBERS) {
		*ret_twice = find_twice(object);
		return true;
	}
	sorted = arena_alloc(arena, object->count * sizeof(struct jvalue *));
	if (!sorted)
		return false;
	for (struct jvalue *member = object->first; member; member = member->next)
		sorted[used++] = member;
	qsort((void *)sorted, used, sizeof(*sorted), compare_names);
	for (size_t i = 1; i < used && !*ret_twice; i++)
		if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
			*ret_twice = sorted[i]->name;
	object->sorted = sorted;
	return true;
}

const struct jvalue *jvalue_get(const struct jvalue *object, const char *name)
{
	const struct jvalue key = {.name = name}, *wanted = &key;
	const struct jvalue *const *found;

	if (!object || object->kind != JVALUE_OBJECT)
		return NULL;
	if (object->sorted) {
		found = bsearch((const void *)&wanted, (const void *)object->sorted, object->count,
		                sizeof(*object->sorted), compare_names);
		return found ? *found : NULL;
	}
	for (const struct jvalue *member = object->first; member; member = member->next)
		if (strcmp(member->name, name) == 0)
			return member;
	return NULL;
}

/* The number's text ended by NUL; the reader has bounded it. */
static const char *number_text(const struct jvalue *value, char ret_text[JVALUE_NUMBER_MAX_BYTES + 1])
{
	memcpy(ret_text, value->text, value->len);
	ret_text[value->len] = 0;
	return ret_text;
}

bool jvalue_integer(const struct jvalue *value, int64_t *ret_integer)
{
	char text[JVALUE_NUMBER_MAX_BYTES + 1];

	if (value->kind != JVALUE_NUMBER || memchr(value->text, '.', value->len) ||
	    memchr(value->text, 'e', value->len) || memchr(value->text, 'E', value->len))
		return false;
	*ret_integer = strtoll(number_text(value, text), NULL, 10);
	return true;
}

double jvalue_real(const struct jvalue *value)
{
	char text[JVALUE_NUMBER_MAX_BYTES + 1];

	return strtod(number_text(value, text), NULL);
}

static bool equal_members(const struct jvalue *a, const struct jvalue *b)
{
	for (const struct jvalue *member = a->first; member; member = member->next)
		if (!jvalue_equal(member, jvalue_get(b, member->name)))
			return false;
	return true; /* as many on both sides */
}

static bool equal_elements(const struct jvalue *a, const struct jvalue *b)
{
	const struct jvalue *left = a->first, *right = b->first;

	for (; left && right; left = left->next, right = right->next)
		if (!jvalue_equal(left, right))
			return false;
	return true;
}

bool jvalue_equal(const struct jvalue *a, const struct jvalue *b)
{
	if (!a || !b || a == b)
		return a == b;
	if (a->kind != b->kind || a->count != b->count)
		return false;
	switch (a->kind) {
	case JVALUE_OBJECT:
		return equal_members(a, b);
	case JVALUE_ARRAY:
		return equal_elements(a, b);
	case JVALUE_NUMBER:
	case JVALUE_STRING:
		return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
	default:
		return true;
	}
}

/* ---- making ---- */

struct jvalue *jvalue_append(struct jvalue *parent, struct arena *arena)
{
	struct jvalue *item = arena_alloc(arena, sizeof(*item));

	if (!item)
		return NULL;
	if (parent->last)
		parent->last->next = item;
	else
		parent->first = item;
	parent->last = item;
	parent->count++;
	return item;
}

struct jvalue *jvalue_new_object(struct arena *arena)
{
	struct jvalue *object = arena_alloc(arena, sizeof(*object));

	if (object)
		object->kind = JVALUE_OBJECT;
	return object;
}

bool jvalue_add(struct jvalue *object, const char *name, const struct jvalue *value, struct arena *arena)
{
	struct jvalue *member = object && value ? jvalue_append(object, arena) : NULL;

	if (!member)
		return false;
	*member = *value;
	member->name = name;
	member->next = NULL;
	return true;
}

bool jvalue_add_text(struct jvalue *object, const char *name, const char *text, struct arena *arena)
{
	const struct jvalue value = {.kind = JVALUE_STRING, .text = text, .len = text ? strlen(text) : 0};

	return text && jvalue_add(object, name, &value, arena);
}

bool jvalue_add_integer(struct jvalue *object, const char *name, int64_t integer, struct arena *arena)
{
	struct jvalue value = {.kind = JVALUE_NUMBER, .text = arena_printf(arena, "%lld", (long long)integer)};

	if (!value.text)
		return false;
	value.len = strlen(value.text);
	return jvalue_add(object, name, &value, arena);
}

bool jvalue_add_bool(struct jvalue *object, const char *name, bool truth, struct arena *arena)
{
	const struct jvalue value = {.kind = truth ? JVALUE_TRUE : JVALUE_FALSE};

	return jvalue_add(object, name, &value, arena);
}

/* One member of the merged object: patch (not null) over old, which may be NULL. */
static bool merge_member(struct jvalue *merged, const struct jvalue *old, const struct jvalue *patch,
                         struct arena *arena)
{
	if (patch->kind != JVALUE_OBJECT)
		return jvalue_add(merged, patch->name, patch, arena);
	return jvalue_add(merged, patch->name, jvalue_merge(old, patch, arena), arena);
}

const struct jvalue *jvalue_merge(const struct jvalue *target, const struct jvalue *patch, struct arena *arena)
{
	struct jvalue *merged = jvalue_new_object(arena);
	const struct jvalue *first = target && target->kind == JVALUE_OBJECT ? target->first : NULL;
	const char *twice;
	bool good = merged;

	for (const struct jvalue *old = first; old && good; old = old->next) {
		const struct jvalue *change = jvalue_get(patch, old->name);

		if (!change)
			good = jvalue_add(merged, old->name, old, arena);
		else if (change->kind != JVALUE_NULL)
			good = merge_member(merged, old, change, arena);
	}
	for (const struct jvalue *change = patch->first; change && good; change = change->next)
		if (change->kind != JVALUE_NULL && !jvalue_get(target, change->name))
			good = merge_member(merged, NULL, change, arena);
	return good && jvalue_sort(merged, arena, &twice) ? merged : NULL;
}

/* ---- printing ---- */

static void print_items(const struct jvalue *parent, struct buf *out)
{
	for (const struct jvalue *item = parent->first; item; item = item->next) {
		if (item != parent->first)
			buf_add_char(out, ',');
		if (item->name) {
			buf_add_json_string(out, item->name, strlen(item->name));
			buf_add_char(out, ':');
		}
		jvalue_print(item, out);
	}
}

void jvalue_print(const struct jvalue *value, struct buf *out)
{
	switch (value->kind) {
	case JVALUE_NULL:
		buf_add_str(out, "null");
		break;
	case JVALUE_FALSE:
		buf_add_str(out, "false");
		break;
	case JVALUE_TRUE:
		buf_add_str(out, "true");
		break;
	case JVALUE_NUMBER:
		buf_add(out, value->text, value->len);
		break;
	case JVALUE_STRING:
		buf_add_json_string(out, value->text, value->len);
		break;
	case JVALUE_ARRAY:
		buf_add_char(out, '[');
		print_items(value, out);
		buf_add_char(out, ']');
		break;
	case JVALUE_OBJECT:
		buf_add_char(out, '{');
		print_items(value, out);
		buf_add_char(out, '}');
		break;
	}
}

const char *jvalue_text(const struct jvalue *value, struct arena *arena, size_t *ret_len)
{
	struct buf text = {0};
	const char *copy = NULL;

	jvalue_print(value, &text);
	if (buf_ok(&text)) {
		copy = arena_strndup(arena, text.data, text.len);
		*ret_len = text.len;
	}
	buf_free(&text);
	return copy;
}
