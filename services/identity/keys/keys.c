/* Making and showing keys. */
#include "keys/keys.h"

#include "identity_sql.gen.h"
#include "json/message.h"

#include <string.h>

#define SHOWN_CHARS 10 /* prefix, underscore and a few characters: recognises a secret, does not weaken it */

static const char *const secret_prefixes[] = {
    [IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT] = "dmk",
    [IDENTITY__KEY_KIND__KEY_KIND_API] = "dak",
    [IDENTITY__KEY_KIND__KEY_KIND_CLIENT] = "dcs",
};

enum status keys_make_secret(struct arena *arena, struct keys_made *made)
{
	secret_new_text(secret_prefixes[made->row.kind], made->secret);
	secret_sha256(made->secret, strlen(made->secret), made->secret_hash);
	made->row.prefix = arena_strndup(arena, made->secret, SHOWN_CHARS);
	return made->row.prefix ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

void keys_take_all_scopes(Identity__Rows__Key *row)
{
	static char all[] = "*";
	static char *scopes[] = {all};
	row->scopes = scopes;
	row->n_scopes = 1;
}

enum status keys_begin(struct arena *arena, int64_t now_us, Identity__Rows__Key *ret_row)
{
	struct id id = id_new();
	identity__rows__key__init(ret_row);
	ret_row->has_key_id = ret_row->has_kind = ret_row->has_version = ret_row->has_created_at_us = true;
	ret_row->key_id = (ProtobufCBinaryData){ID_SIZE, arena_memdup(arena, id.bytes, ID_SIZE)};
	ret_row->version = 1;
	ret_row->created_at_us = now_us;
	return ret_row->key_id.data ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

enum status keys_make_management(struct arena *arena, int64_t now_us, struct keys_made *ret_made)
{
	struct keys_made made;
	enum status status = keys_begin(arena, now_us, &made.row);
	if (status != ST_OK)
		return status;
	made.row.kind = IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT;
	made.row.name = (char *)"first management key";
	keys_take_all_scopes(&made.row);
	status = keys_make_secret(arena, &made);
	if (status == ST_OK)
		*ret_made = made;
	return status;
}

enum status keys_show(struct call *call, const Identity__Rows__Key *row, const char *secret, Identity__Key *ret_key)
{
	message_copy(&row->base, &ret_key->base);
	ret_key->id = call_bytes_id_text(call, "key", row->key_id);
	ret_key->secret = secret ? arena_strdup(call->arena, secret) : NULL;
	return ret_key->id && (ret_key->secret || !secret) ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

Identity__Key *keys_without_secret(struct call *call, const Identity__Key *key)
{
	Identity__Key *copy = arena_memdup(call->arena, key, sizeof(*key));
	if (copy)
		copy->secret = NULL;
	return copy;
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

/* Whether a scope of a key ("*", "users:*", "users:read") covers another one. */
static bool scope_covers(const char *scope, const char *wanted)
{
	size_t len = strlen(scope);
	if (strcmp(scope, "*") == 0 || strcmp(scope, wanted) == 0)
		return true;
	return len > 2 && strcmp(scope + len - 2, ":*") == 0 && strncmp(scope, wanted, len - 1) == 0;
}

static bool key_covers(const Identity__Rows__Key *key, const char *wanted)
{
	for (size_t i = 0; i < key->n_scopes; i++) {
		if (scope_covers(key->scopes[i], wanted))
			return true;
	}
	return false;
}

enum status keys_check_caller(struct call *call, char *const *scopes, size_t count)
{
	struct sql_key_get_row caller;
	struct id id;
	enum status status = call_id(call, "key", call->actor, NULL, &id);
	if (status == ST_OK)
		status = call_one(call, &sql_key_get, &(struct sql_key_get){.key_id = &id}, &caller);
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_PERMISSION_DENIED, "", "The calling key is not known any more");
	if (status != ST_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		if (!key_covers(caller.key, scopes[i]))
			return call_fail(call, ST_PERMISSION_DENIED, "scopes",
			                 "The calling key does not carry %s itself", scopes[i]);
	}
	return ST_OK;
}
