/* Making and showing keys. For the handlers of keys and projects and for bootstrap. */
#pragma once

#include "identity/rows.pb-c.h"
#include "service.h"

/* A key with a fresh secret. Wipe secret after use. */
struct keys_made {
	Identity__Rows__Key row;
	char secret[SECRET_TEXT_SIZE]; /* shown once */
	uint8_t secret_hash[SHA256_SIZE];
};

/* Begins the row of a new key: id, version 1, created now. */
MUST_USE enum status keys_begin(struct arena *arena, int64_t now_us, Identity__Rows__Key *ret_row);

/* Gives it the one scope that covers all. */
void keys_take_all_scopes(Identity__Rows__Key *row);

/* Gives made->row.kind's secret and its prefix; made->row.prefix is in the arena. */
MUST_USE enum status keys_make_secret(struct arena *arena, struct keys_made *made);

/* A management key with all scopes for a new project. */
MUST_USE enum status keys_make_management(struct arena *arena, int64_t now_us, struct keys_made *ret_made);

/* Fills an initialised message; secret may be NULL. */
MUST_USE enum status keys_show(struct call *call, const Identity__Rows__Key *row, const char *secret,
                               Identity__Key *ret_key);

/* Whether a scope is `*`, names a permission of the method table, or is all of one resource ("users:*"). */
bool keys_scope_valid(const char *scope);

/* Whether the calling key carries all these scopes itself: nobody hands out more than they have. ST_PERMISSION_DENIED says which
 * one is missing. A call that names no key hands out nothing. */
MUST_USE enum status keys_check_caller(struct call *call, char *const *scopes, size_t count);

/* The reply without the secret, for change_record: secrets are never stored. A repeated call is answered with the key alone; rotating it
 * gives another secret. NULL when the arena is full. */
Identity__Key *keys_without_secret(struct call *call, const Identity__Key *key);
