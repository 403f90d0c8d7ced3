/* The schema of custom attributes: which members a user's attributes may have. */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTRIBUTES_MAX 100
#define ATTRIBUTE_NAME_MAX 63

enum attribute_type { ATTRIBUTE_STRING = 1, ATTRIBUTE_NUMBER, ATTRIBUTE_BOOLEAN, ATTRIBUTE_STRINGS };

struct attribute {
	char name[ATTRIBUTE_NAME_MAX + 1];
	uint8_t type; /* enum attribute_type */
	bool required;
};
struct attributes {
	int64_t version; /* 0 = never set */
	size_t count;    /* 0 = any object is accepted */
	struct attribute *list;
	bool
	    cached; /* from the cache: another replica may have changed it since, so a refusal by it must be confirmed */
};

/* [a-z][a-z0-9_]{0,62} */
bool attribute_name_valid(const char *name);

/* To and from the stored form, a JSON array; results in the arena. */
MUST_USE enum status attributes_parse(const char *definitions, struct arena *arena, struct attributes *ret_attributes);
MUST_USE enum status attributes_print(const struct attributes *attributes, struct arena *arena, char **ret_definitions);

/* Whether an object (NULL = {}) follows the schema. ST_INVALID_ARGUMENT: path and sentence in the arena. */
struct jvalue;
MUST_USE enum status attributes_check(const struct attributes *attributes, const struct jvalue *object,
                                      struct arena *arena, const char **ret_field, const char **ret_reason);

/* ---- cache of schemas by project: a hint only, every write proves its version. Loop's thread only. ---- */
struct attributes_cache;
struct attributes_cache *attributes_cache_new(void); /* NULL without memory */
void attributes_cache_free(struct attributes_cache **cache);
/* A copy in the arena. ST_NOT_FOUND when the project's schema is not cached. */
MUST_USE enum status attributes_cache_get(struct attributes_cache *cache, const struct id *project, struct arena *arena,
                                          struct attributes *ret_attributes);
void attributes_cache_put(struct attributes_cache *cache, const struct id *project,
                          const struct attributes *attributes);
void attributes_cache_forget(struct attributes_cache *cache, const struct id *project);
