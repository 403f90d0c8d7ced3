/* Which user has a value: login ids, external ids and ids of many users at once, in the arena of a call. */
#pragma once

#include "base/arena.h"

enum value_kind { VALUE_ID, VALUE_LOGIN, VALUE_EXTERNAL };

struct value_slot {
	enum value_kind kind;
	const char *value; /* NULL = free; borrowed */
	const void *owner; /* what the caller put there */
};
struct value_map {
	struct value_slot *slots;
	size_t mask;
};

/* Room for so many values; false when the arena is full. */
bool value_map_init(struct arena *arena, size_t values, struct value_map *ret_map);
/* The slot of the value, or the free one where it belongs. Never NULL. */
struct value_slot *value_map_slot(const struct value_map *map, enum value_kind kind, const char *value);
/* Owner replaces an earlier one. */
void value_map_put(const struct value_map *map, enum value_kind kind, const char *value, const void *owner);
