/* The example's table of users in memory, kept up to date by events. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct users;

struct users *users_new(void); /* aborts without memory, as all functions here */
void users_free(struct users **users);

/* Applies one event: type_name as in denizen_feed_event, user_id may be NULL. Other types are ignored. */
void users_apply(struct users *users, const char *type_name, const char *user_id, int64_t version);

/* Users that are not deleted, and those among them that are disabled. */
size_t users_count(const struct users *users);
size_t users_count_disabled(const struct users *users);
