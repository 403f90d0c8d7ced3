/* Keys: create, list, delete, rotate, resolve. */
#include "base/clock.h"
#include "keys.h"
#include "rules.h"
#include "service.h"

#include <string.h>

#define SCOPES_MAX 50
#define NAME_MAX_BYTES 100
#define OVERLAP_DEFAULT_SEC 3600
#define OVERLAP_MAX_SEC 604800

static enum status key_event(struct call *call, Events__EventType type, const struct key *key, Events__Event *ret_event)
{
	events__event__init(ret_event);
	ret_event->has_type = true;
	ret_event->type = type;
	ret_event->subject = identity_id_text(call, "key", &key->id);
	ret_event->has_version = true;
	ret_event->version = key->version;
	return ret_event->subject ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* A management key and a client may do everything unless they are narrowed; an API key names what it may. */
static enum status key_scopes(struct call *call, const Identity__CreateKeyRequest *request, struct key *key)
{
	key->scopes = request->scopes;
	key->scope_count = request->n_scopes;
	if (key->scope_count > SCOPES_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "scopes", "A key has at most %d scopes", SCOPES_MAX);
	for (size_t i = 0; i < key->scope_count; i++)
		if (!keys_scope_valid(key->scopes[i]))
			return call_fail(
			    call, ST_INVALID_ARGUMENT, arena_printf(call->arena, "scopes[%zu]", i),
			    "It is *, a permission such as users:read, or all of a resource such as users:*");
	if (key->scope_count > 0)
		return ST_OK;
	if (key->kind == IDENTITY__KEY_KIND__KEY_KIND_API)
		return call_fail(call, ST_INVALID_ARGUMENT, "scopes", "An API key needs at least one scope");
	key->scopes = arena_alloc(call->arena, sizeof(char *));
	if (!key->scopes || !(key->scopes[0] = arena_strdup(call->arena, "*")))
		return ST_RESOURCE_EXHAUSTED;
	key->scope_count = 1;
	return ST_OK;
}

static enum status key_from_request(struct call *call, const Identity__CreateKeyRequest *request,
                                    struct keys_made *made)
{
	struct key *key = &made->key;
	key->id = id_new();
	key->kind = request->has_kind ? (int16_t)request->kind : IDENTITY__KEY_KIND__KEY_KIND_API;
	key->name = request->name ? request->name : "";
	key->version = 1;
	key->created_at_us = clock_wall_us();
	key->expires_at_us = request->has_expires_at_us ? request->expires_at_us : 0;
	if (key->kind < IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT || key->kind > IDENTITY__KEY_KIND__KEY_KIND_CLIENT)
		return call_fail(call, ST_INVALID_ARGUMENT, "kind", "It is management, api or client");
	rules_reason reason = key->name[0] ? rules_text_check(key->name, NAME_MAX_BYTES) : NULL;
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "name", "%s", reason);
	if (request->has_expires_at_us && key->expires_at_us <= key->created_at_us)
		return call_fail(call, ST_INVALID_ARGUMENT, "expires_at", "It must be in the future");
	enum status status = key_scopes(call, request, key);
	if (status == ST_OK)
		status = keys_check_caller(call, key->scopes, key->scope_count);
	return status == ST_OK ? keys_make_secret(call->arena, made) : status;
}

enum status h_create_key(struct call *call, const Identity__CreateKeyRequest *request, Identity__Key *reply)
{
	struct store store = identity_store(call);
	struct keys_made made = {0};
	Events__Event event;
	enum status status = key_from_request(call, request, &made);
	if (status == ST_OK)
		status = keys_reply(call, &made.key, made.secret, reply);
	if (status == ST_OK)
		status = key_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, &made.key, &event);
	if (status == ST_OK) {
		struct store_effects effects = keys_effects(call, reply, &reply->base, &event);
		status = store_key_create(&store, &made.key, made.secret_hash, &effects);
	}
	secret_wipe(made.secret, sizeof(made.secret));
	if (status == ST_OK)
		call_committed(call);
	return status;
}

enum status h_list_keys(struct call *call, const Identity__ListKeysRequest *request, Identity__ListKeysReply *reply)
{
	static const uint32_t bounds[] = {50, 200};
	struct store store = identity_store(call);
	struct id before;
	struct key_page page;
	int limit;
	memset(before.bytes, 0xff, sizeof(before.bytes));
	if (request->after && !id_parse("key", request->after, &before))
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "It is not a cursor of this list");
	enum status status = identity_limit(call, request->has_limit, request->limit, bounds, &limit);
	if (status == ST_OK)
		status = store_key_list(&store, &before, limit + 1, &page);
	if (status != ST_OK)
		return status;
	reply->has_total = true;
	reply->total = page.total;
	reply->n_data = page.count > (size_t)limit ? (size_t)limit : page.count;
	reply->data = arena_alloc(call->arena, (reply->n_data + 1) * sizeof(*reply->data));
	Identity__Key *messages = arena_alloc(call->arena, (reply->n_data + 1) * sizeof(*messages));
	if (!reply->data || !messages)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < reply->n_data && status == ST_OK; i++) {
		identity__key__init(&messages[i]);
		reply->data[i] = &messages[i];
		status = keys_reply(call, &page.keys[i], NULL, &messages[i]);
	}
	if (status == ST_OK && page.count > (size_t)limit)
		reply->next = messages[limit - 1].id;
	return status;
}

enum status h_delete_key(struct call *call, const Identity__DeleteKeyRequest *request, Common__Empty *reply)
{
	struct store store = identity_store(call);
	struct key key;
	Events__Event event;
	struct id key_id;
	if (!id_parse("key", request->key_id, &key_id))
		return ST_NOT_FOUND;
	enum status status = store_key_get(&store, &key_id, &key);
	if (status == ST_OK) {
		key.version++;
		status = key_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_REVOKED, &key, &event);
	}
	if (status != ST_OK)
		return status;
	struct store_effects effects = identity_effects(call, &reply->base, &event);
	status = store_key_revoke(&store, &key_id, clock_wall_us(), &effects);
	if (status == ST_OK)
		call_committed(call);
	return status;
}

static enum status rotate_try(struct call *call, const struct id *key_id, uint32_t overlap_sec, Identity__Key *reply)
{
	struct store store = identity_store(call);
	struct keys_made made = {0};
	Events__Event event;
	enum status status = store_key_get(&store, key_id, &made.key);
	if (status == ST_OK)
		status = keys_check_caller(call, made.key.scopes, made.key.scope_count);
	if (status == ST_OK && made.key.expires_at_us != 0 && made.key.expires_at_us <= clock_wall_us())
		status = call_fail(call, ST_CONFLICT, "key_id",
		                   "The key has expired, and a new secret would be too: make a new key");
	if (status == ST_OK)
		status = keys_make_secret(call->arena, &made);
	if (status == ST_OK)
		status = keys_reply(call, &made.key, made.secret, reply);
	if (status == ST_OK)
		status = key_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_ROTATED, &made.key, &event);
	if (status == ST_OK) {
		event.version++;
		struct store_effects effects = keys_effects(call, reply, &reply->base, &event);
		int64_t old_until_us = effects.at_us + (int64_t)overlap_sec * US_PER_SEC;
		status = store_key_rotate(&store, &made.key, made.secret_hash, old_until_us, &effects);
	}
	secret_wipe(made.secret, sizeof(made.secret));
	return status;
}

enum status h_rotate_key(struct call *call, const Identity__RotateKeyRequest *request, Identity__Key *reply)
{
	uint32_t overlap_sec = request->has_overlap_sec ? request->overlap_sec : OVERLAP_DEFAULT_SEC;
	struct id key_id;
	enum status status = ST_ABORTED;
	if (!id_parse("key", request->key_id, &key_id))
		return ST_NOT_FOUND;
	if (overlap_sec > OVERLAP_MAX_SEC)
		return call_fail(call, ST_INVALID_ARGUMENT, "overlap_sec", "It is at most %d", OVERLAP_MAX_SEC);
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++)
		status = rotate_try(call, &key_id, overlap_sec, reply);
	if (status == ST_OK)
		call_committed(call);
	return status;
}

enum status h_resolve_key(struct call *call, const Identity__ResolveKeyRequest *request,
                          Identity__ResolveKeyReply *reply)
{
	struct store store = identity_store(call);
	struct key_owner owner;
	if (request->secret_hash.len != SHA256_SIZE)
		return ST_NOT_FOUND;
	enum status status = store_key_resolve(&store, request->secret_hash.data, clock_wall_us(), &owner);
	if (status != ST_OK)
		return status;
	reply->has_project_id = true;
	reply->project_id.len = ID_SIZE;
	reply->project_id.data = arena_memdup(call->arena, owner.project.bytes, ID_SIZE);
	reply->key_id = identity_id_text(call, "key", &owner.key);
	reply->scopes = owner.scopes;
	reply->n_scopes = owner.scope_count;
	reply->has_expires_at_us = owner.expires_at_us != 0;
	reply->expires_at_us = owner.expires_at_us;
	reply->has_platform = true;
	reply->platform = owner.platform;
	return reply->project_id.data && reply->key_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
