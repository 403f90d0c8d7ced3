/* A hash table of users, open addressing. */
#include "users.h"

#include <stdlib.h>
#include <string.h>

struct user {
	char *id; /* NULL = free slot */
	int64_t version;
	bool disabled;
	bool gone; /* deleted: the slot stays, since later slots may be reached through it */
};

struct users {
	struct user *slots;
	size_t capacity; /* a power of two */
	size_t taken;    /* slots with an id, also of deleted users */
	size_t live, disabled;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

struct users *users_new(void)
{
	struct users *users = must(calloc(1, sizeof(*users)));
	users->capacity = 64;
	users->slots = must(calloc(users->capacity, sizeof(*users->slots)));
	return users;
}

void users_free(struct users **users)
{
	if (!*users)
		return;
	for (size_t i = 0; i < (*users)->capacity; i++)
		free((*users)->slots[i].id);
	free((*users)->slots);
	free(*users);
	*users = NULL;
}

static struct user *find_slot(struct user *slots, size_t capacity, const char *id)
{
	uint64_t mix = 1469598103934665603u;
	for (const char *at = id; *at; at++)
		mix = (mix ^ (uint8_t)*at) * 1099511628211u;
	size_t i = mix & (capacity - 1);
	while (slots[i].id && strcmp(slots[i].id, id) != 0)
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

static void grow(struct users *users)
{
	size_t capacity = users->capacity * 2;
	struct user *slots = must(calloc(capacity, sizeof(*slots)));
	users->taken = 0;
	for (size_t i = 0; i < users->capacity; i++) {
		struct user *user = &users->slots[i];
		if (!user->id)
			continue;
		if (user->gone) {
			free(user->id);
			continue;
		}
		*find_slot(slots, capacity, user->id) = *user;
		users->taken++;
	}
	free(users->slots);
	users->slots = slots;
	users->capacity = capacity;
}

static struct user *take_user(struct users *users, const char *id)
{
	if (users->taken * 4 >= users->capacity * 3)
		grow(users);
	struct user *user = find_slot(users->slots, users->capacity, id);
	if (!user->id) {
		user->id = must(strdup(id));
		user->gone = true;
		users->taken++;
	}
	return user;
}

static void set_user(struct users *users, struct user *user, bool live, bool disabled)
{
	users->live += (size_t)live - (size_t)!user->gone;
	users->disabled += (size_t)(live && disabled) - (size_t)(!user->gone && user->disabled);
	user->gone = !live;
	user->disabled = live && disabled;
}

void users_apply(struct users *users, const char *type_name, const char *user_id, int64_t version)
{
	if (!user_id || strncmp(type_name, "USER_", 5) != 0)
		return;
	struct user *user = take_user(users, user_id);
	if (strcmp(type_name, "USER_CREATED") == 0)
		set_user(users, user, true, false);
	else if (strcmp(type_name, "USER_DELETED") == 0)
		set_user(users, user, false, false);
	else if (strcmp(type_name, "USER_DISABLED") == 0)
		set_user(users, user, true, true);
	else if (strcmp(type_name, "USER_ENABLED") == 0)
		set_user(users, user, true, false);
	if (version)
		user->version = version;
}

size_t users_count(const struct users *users)
{
	return users->live;
}

size_t users_count_disabled(const struct users *users)
{
	return users->disabled;
}
