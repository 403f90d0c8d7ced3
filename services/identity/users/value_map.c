/* Which user has a value: an open hash table, at most half full. */
#include "users/value_map.h"

#include "base/hash.h"

#include <string.h>

bool value_map_init(struct arena *arena, size_t values, struct value_map *ret_map)
{
	size_t slots = 64;
	while (slots < 2 * values)
		slots *= 2;
	*ret_map = (struct value_map){arena_alloc(arena, slots * sizeof(struct value_slot)), slots - 1};
	return ret_map->slots;
}

struct value_slot *value_map_slot(const struct value_map *map, enum value_kind kind, const char *value)
{
	size_t i = hash_text(HASH_START + kind, value) & map->mask;
	while (map->slots[i].value && (map->slots[i].kind != kind || strcmp(map->slots[i].value, value) != 0))
		i = (i + 1) & map->mask;
	return &map->slots[i];
}

void value_map_put(const struct value_map *map, enum value_kind kind, const char *value, const void *owner)
{
	*value_map_slot(map, kind, value) = (struct value_slot){kind, value, owner};
}
