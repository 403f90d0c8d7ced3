/* The schema of custom attributes: which members a user's attributes may have. */
#include "attributes/attributes.h"

#include "json/jvalue.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_SLOTS 1024

bool attribute_name_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
	return len >= 1 && len <= ATTRIBUTE_NAME_MAX && !name[len] && name[0] >= 'a' && name[0] <= 'z';
}

enum status attributes_parse(const char *definitions, struct arena *arena, struct attributes *ret_attributes)
{
	enum status status = ST_INTERNAL;
	json_t *array = json_loads(definitions, JSON_REJECT_DUPLICATES, NULL), *item;
	size_t count = json_array_size(array), i;
	struct attribute *list = arena_alloc(arena, (count + 1) * sizeof(*list));
	if (!json_is_array(array) || count > ATTRIBUTES_MAX || !list)
		goto out;
	json_array_foreach(array, i, item)
	{
		const char *name;
		int type, required;
		if (json_unpack(item, "{s:s, s:i, s:b}", "name", &name, "type", &type, "required", &required) != 0 ||
		    strlen(name) > ATTRIBUTE_NAME_MAX)
			goto out;
		memcpy(list[i].name, name, strlen(name) + 1);
		list[i].type = (uint8_t)type;
		list[i].required = required;
	}
	ret_attributes->list = list;
	ret_attributes->count = count;
	status = ST_OK;
out:
	json_decref(array);
	return status;
}

enum status attributes_print(const struct attributes *attributes, struct arena *arena, char **ret_definitions)
{
	enum status status = ST_RESOURCE_EXHAUSTED;
	json_t *array = json_array();
	char *text = NULL;
	for (size_t i = 0; i < attributes->count; i++) {
		const struct attribute *attribute = &attributes->list[i];
		json_t *item = json_pack("{s:s, s:i, s:b}", "name", attribute->name, "type", (int)attribute->type,
		                         "required", (int)attribute->required);
		if (json_array_append_new(array, item) != 0)
			goto out;
	}
	text = json_dumps(array, JSON_COMPACT);
	char *copy = text ? arena_strdup(arena, text) : NULL;
	if (copy) {
		*ret_definitions = copy;
		status = ST_OK;
	}
out:
	free(text);
	json_decref(array);
	return status;
}

static bool value_is_strings(const struct jvalue *value)
{
	if (value->kind != JVALUE_ARRAY)
		return false;
	for (const struct jvalue *item = value->first; item; item = item->next)
		if (item->kind != JVALUE_STRING)
			return false;
	return true;
}

/* NULL when the value has the attribute's type. */
static const char *value_refusal(const struct attribute *attribute, const struct jvalue *value)
{
	switch (attribute->type) {
	case ATTRIBUTE_STRING:
		return value->kind == JVALUE_STRING ? NULL : "It must be a string";
	case ATTRIBUTE_NUMBER:
		return value->kind == JVALUE_NUMBER ? NULL : "It must be a number";
	case ATTRIBUTE_BOOLEAN:
		return value->kind == JVALUE_TRUE || value->kind == JVALUE_FALSE ? NULL : "It must be true or false";
	default:
		return value_is_strings(value) ? NULL : "It must be an array of strings";
	}
}

static bool attributes_name(const struct attributes *attributes, const char *name)
{
	for (size_t i = 0; i < attributes->count; i++)
		if (strcmp(attributes->list[i].name, name) == 0)
			return true;
	return false;
}

/* The first member that does not fit: its name in *ret_name, and why. NULL when all fit. */
static const char *object_refusal(const struct attributes *attributes, const struct jvalue *object,
                                  const char **ret_name)
{
	for (const struct jvalue *member = object ? object->first : NULL; member; member = member->next) {
		*ret_name = member->name;
		if (!attributes_name(attributes, member->name))
			return "The attribute schema does not have it";
	}
	for (size_t i = 0; i < attributes->count; i++) {
		const struct attribute *attribute = &attributes->list[i];
		const struct jvalue *value = jvalue_get(object, attribute->name);
		*ret_name = attribute->name;
		if (!value && attribute->required)
			return "The attribute schema requires it";
		const char *refusal = value ? value_refusal(attribute, value) : NULL;
		if (refusal)
			return refusal;
	}
	return NULL;
}

enum status attributes_check(const struct attributes *attributes, const struct jvalue *object, struct arena *arena,
                             const char **ret_field, const char **ret_reason)
{
	const char *name = "";
	if (attributes->count == 0)
		return ST_OK;
	const char *refusal = object_refusal(attributes, object, &name);
	if (!refusal)
		return ST_OK;
	*ret_field = attribute_name_valid(name) ? arena_printf(arena, "attributes.%s", name) : "attributes";
	*ret_reason = refusal;
	return ST_INVALID_ARGUMENT;
}

/* ---- cache ---- */

struct slot {
	struct id project;
	bool used;
	struct attributes attributes; /* list is owned */
};
struct attributes_cache {
	struct slot slots[CACHE_SLOTS];
};

struct attributes_cache *attributes_cache_new(void)
{
	return calloc(1, sizeof(struct attributes_cache));
}

void attributes_cache_free(struct attributes_cache **cache)
{
	for (size_t i = 0; *cache && i < CACHE_SLOTS; i++)
		free((*cache)->slots[i].attributes.list);
	free(*cache);
	*cache = NULL;
}

static struct slot *cache_slot(struct attributes_cache *cache, const struct id *project)
{
	unsigned hash = (unsigned)project->bytes[15] << 8 | project->bytes[14]; /* random bits of the id */
	return &cache->slots[hash % CACHE_SLOTS];
}

enum status attributes_cache_get(struct attributes_cache *cache, const struct id *project, struct arena *arena,
                                 struct attributes *ret_attributes)
{
	const struct slot *slot = cache_slot(cache, project);
	if (!slot->used || !id_equal(&slot->project, project))
		return ST_NOT_FOUND;
	struct attributes copy = slot->attributes;
	if (copy.count > 0)
		copy.list = arena_memdup(arena, copy.list, copy.count * sizeof(*copy.list));
	if (copy.count > 0 && !copy.list)
		return ST_RESOURCE_EXHAUSTED;
	copy.cached = true;
	*ret_attributes = copy;
	return ST_OK;
}

void attributes_cache_put(struct attributes_cache *cache, const struct id *project, const struct attributes *attributes)
{
	struct slot *slot = cache_slot(cache, project);
	struct attributes copy = {.version = attributes->version, .count = attributes->count};
	if (copy.count > 0) {
		copy.list = malloc(copy.count * sizeof(*copy.list));
		if (!copy.list)
			return;
		memcpy(copy.list, attributes->list, copy.count * sizeof(*copy.list));
	}
	free(slot->attributes.list);
	*slot = (struct slot){.project = *project, .used = true, .attributes = copy};
}

void attributes_cache_forget(struct attributes_cache *cache, const struct id *project)
{
	struct slot *slot = cache_slot(cache, project);
	free(slot->attributes.list);
	*slot = (struct slot){0};
}
