/* Making keys: secret, message, events. For h_key.c, h_project.c and bootstrap.c. */
#pragma once

#include "service.h"

/* A key with a fresh secret. */
struct keys_made {
	struct key key;
	char secret[SECRET_TEXT_SIZE]; /* shown once */
	uint8_t secret_hash[SHA256_SIZE];
};

/* Gives made->key.kind's secret and its prefix; made->key.prefix is in the arena. */
MUST_USE enum status keys_make_secret(struct arena *arena, struct keys_made *made);

/* A management key with all scopes for a new project. */
MUST_USE enum status keys_make_management(struct arena *arena, int64_t now_us, struct keys_made *ret_made);

/* Fills an initialised message; secret may be NULL. */
MUST_USE enum status keys_reply(struct call *call, const struct key *key, const char *secret, Identity__Key *ret_reply);

/* Whether a scope is `*`, names a permission of the method table, or is all of one resource ("users:*"). */
bool keys_scope_valid(const char *scope);

/* Whether the calling key carries all these scopes itself: nobody hands out more than they have. ST_PERMISSION_DENIED says which
 * one is missing. A call that names no key hands out nothing. */
MUST_USE enum status keys_check_caller(struct call *call, char *const *scopes, size_t count);

/* As identity_effects, but the recorded reply lacks the key's secret: secrets are never stored. A repeated call is answered
 * with the key alone; rotating it gives another secret. */
struct store_effects keys_effects(struct call *call, Identity__Key *key, const ProtobufCMessage *reply,
                                  Events__Event *event);
