/* Making keys: secret, message, events. */
#include "keys.h"

#include <string.h>

#define SHOWN_CHARS 10 /* prefix, underscore and a few characters: recognises a secret, does not weaken it */

static const char *const secret_prefixes[] = {
    [IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT] = "dmk",
    [IDENTITY__KEY_KIND__KEY_KIND_API] = "dak",
    [IDENTITY__KEY_KIND__KEY_KIND_CLIENT] = "dcs",
};

enum status keys_make_secret(struct arena *arena, struct keys_made *made)
{
	secret_new_text(secret_prefixes[made->key.kind], made->secret);
	secret_sha256(made->secret, strlen(made->secret), made->secret_hash);
	made->key.prefix = arena_strndup(arena, made->secret, SHOWN_CHARS);
	return made->key.prefix ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

enum status keys_make_management(struct arena *arena, int64_t now_us, struct keys_made *ret_made)
{
	struct keys_made made = {0};
	made.key.id = id_new();
	made.key.kind = IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT;
	made.key.name = "first management key";
	made.key.version = 1;
	made.key.created_at_us = now_us;
	made.key.scope_count = 1;
	made.key.scopes = arena_alloc(arena, sizeof(char *));
	if (!made.key.scopes)
		return ST_RESOURCE_EXHAUSTED;
	made.key.scopes[0] = arena_strdup(arena, "*");
	enum status status = keys_make_secret(arena, &made);
	if (status == ST_OK)
		*ret_made = made;
	return status;
}

enum status keys_reply(struct call *call, const struct key *key, const char *secret, Identity__Key *ret_reply)
{
	ret_reply->id = identity_id_text(call, "key", &key->id);
	ret_reply->has_kind = true;
	ret_reply->kind = (Identity__KeyKind)key->kind;
	ret_reply->name = (char *)key->name;
	ret_reply->scopes = key->scopes;
	ret_reply->n_scopes = key->scope_count;
	ret_reply->prefix = (char *)key->prefix;
	ret_reply->has_created_at_us = true;
	ret_reply->created_at_us = key->created_at_us;
	ret_reply->has_expires_at_us = key->expires_at_us != 0;
	ret_reply->expires_at_us = key->expires_at_us;
	ret_reply->secret = secret ? arena_strdup(call->arena, secret) : NULL;
	return ret_reply->id && (ret_reply->secret || !secret) ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

bool keys_scope_valid(const char *scope)
{
	if (strcmp(scope, "*") == 0)
		return true;
	size_t len = strlen(scope);
	bool all = len > 2 && strcmp(scope + len - 2, ":*") == 0;
	for (unsigned i = 0; i < method_count; i++) {
		const char *permission = method_table[i].permission;
		if (permission && strchr(permission, ':') &&
		    (strcmp(permission, scope) == 0 || (all && strncmp(permission, scope, len - 1) == 0)))
			return true;
	}
	return false;
}

struct store_effects keys_effects(struct call *call, Identity__Key *key, const ProtobufCMessage *reply,
                                  Events__Event *event)
{
	char *secret = key->secret;
	key->secret = NULL;
	struct store_effects effects = identity_effects(call, reply, event);
	key->secret = secret;
	return effects;
}

/* Whether a scope of a key ("*", "users:*", "users:read") covers another one. */
static bool scope_covers(const char *scope, const char *wanted)
{
	size_t len = strlen(scope);
	if (strcmp(scope, "*") == 0 || strcmp(scope, wanted) == 0)
		return true;
	return len > 2 && strcmp(scope + len - 2, ":*") == 0 && strncmp(scope, wanted, len - 1) == 0;
}

enum status keys_check_caller(struct call *call, char *const *scopes, size_t count)
{
	struct store store = identity_store(call);
	struct key caller;
	struct id caller_id;
	enum status status = call->actor && id_parse("key", call->actor, &caller_id)
	                         ? store_key_get(&store, &caller_id, &caller)
	                         : ST_NOT_FOUND;
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_PERMISSION_DENIED, "", "The calling key is not known any more");
	for (size_t i = 0; i < count && status == ST_OK; i++) {
		bool covered = false;
		for (size_t j = 0; j < caller.scope_count && !covered; j++)
			covered = scope_covers(caller.scopes[j], scopes[i]);
		if (!covered)
			status = call_fail(call, ST_PERMISSION_DENIED, "scopes",
			                   "The calling key does not carry %s itself", scopes[i]);
	}
	return status;
}
