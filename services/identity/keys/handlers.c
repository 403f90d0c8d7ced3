/* Keys: create, list, delete, rotate, resolve. */
#include "base/clock.h"
#include "identity_sql.gen.h"
#include "keys/keys.h"
#include "process/change.h"
#include "process/page.h"
#include "rules.h"

#include <string.h>

#define SCOPES_MAX 50
#define NAME_MAX_BYTES 100
#define OVERLAP_DEFAULT_SEC 3600
#define OVERLAP_MAX_SEC 604800

/* ---- create ---- */

/* A management key and a client may do everything unless they are narrowed; an API key names what it may. */
static enum status key_scopes(struct call *call, Identity__Rows__Key *row)
{
	if (row->n_scopes > SCOPES_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "scopes", "A key has at most %d scopes", SCOPES_MAX);
	for (size_t i = 0; i < row->n_scopes; i++) {
		if (!keys_scope_valid(row->scopes[i]))
			return call_fail(
			    call, ST_INVALID_ARGUMENT, arena_printf(call->arena, "scopes[%zu]", i),
			    "It is *, a permission such as users:read, or all of a resource such as users:*");
	}
	if (row->n_scopes > 0)
		return ST_OK;
	if (row->kind == IDENTITY__KEY_KIND__KEY_KIND_API)
		return call_fail(call, ST_INVALID_ARGUMENT, "scopes", "An API key needs at least one scope");
	keys_take_all_scopes(row);
	return ST_OK;
}

static enum status key_from_request(struct call *call, const Identity__CreateKeyRequest *request,
                                    struct keys_made *made)
{
	Identity__Rows__Key *row = &made->row;
	if (keys_begin(call->arena, clock_wall_us(), row) != ST_OK)
		return ST_RESOURCE_EXHAUSTED;
	row->kind = request->has_kind ? request->kind : IDENTITY__KEY_KIND__KEY_KIND_API;
	row->name = request->name ? request->name : (char *)"";
	row->n_scopes = request->n_scopes;
	row->scopes = request->scopes;
	row->has_expires_at_us = request->has_expires_at_us;
	row->expires_at_us = request->expires_at_us;
	if (row->kind < IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT || row->kind > IDENTITY__KEY_KIND__KEY_KIND_CLIENT)
		return call_fail(call, ST_INVALID_ARGUMENT, "kind", "It is management, api or client");
	rules_reason reason = row->name[0] ? rules_text_check(row->name, NAME_MAX_BYTES) : NULL;
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "name", "%s", reason);
	if (row->has_expires_at_us && row->expires_at_us <= row->created_at_us)
		return call_fail(call, ST_INVALID_ARGUMENT, "expires_at", "It must be in the future");
	enum status status = key_scopes(call, row);
	if (status != ST_OK)
		return status;
	status = keys_check_caller(call, row->scopes, row->n_scopes);
	return status == ST_OK ? keys_make_secret(call->arena, made) : status;
}

static enum status create_try(struct change *change)
{
	struct call *call = change->call;
	Identity__Key *reply = change->reply;
	struct keys_made made = {0};
	enum status status = key_from_request(call, change->request, &made);
	if (status == ST_OK)
		status = keys_show(call, &made.row, made.secret, reply);
	secret_wipe(made.secret, sizeof(made.secret));
	if (status != ST_OK)
		return status;
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, reply->id, made.row.version);
	change_record(change, &keys_without_secret(call, reply)->base);
	return change_write(change, &sql_key_create,
	                    &(struct sql_key_create){.key = &made.row, .secret_hash = {made.secret_hash, SHA256_SIZE}});
}

enum status h_create_key(struct call *call, const Identity__CreateKeyRequest *request, Identity__Key *reply)
{
	return change_run(call, request, reply, create_try, NULL);
}

/* ---- list ---- */

static enum status key_show(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message)
{
	return keys_show(call, (const Identity__Rows__Key *)row, NULL, (Identity__Key *)message);
}

static struct page_key key_place(const ProtobufCMessage *row)
{
	return (struct page_key){.id = id_from_bytes(((const Identity__Rows__Key *)row)->key_id)};
}

enum status h_list_keys(struct call *call, const Identity__ListKeysRequest *request, Identity__ListKeysReply *reply)
{
	struct page page = {
	    .list = "keys:-id", .limit_default = 50, .limit_max = 200, .show = key_show, .key = key_place};
	struct page_row *rows;
	size_t count;
	memset(page.after.id.bytes, 0xff, ID_SIZE);
	enum status status = page_open(call, &page, &request->base);
	if (status != ST_OK)
		return status;
	struct sql_key_list params = {.before = &page.after.id, .limit = page.limit + 1};
	status = call_all(call, &sql_key_list, &params, &rows, &count);
	return status == ST_OK ? page_reply(call, &page, rows, count, &reply->base) : status;
}

/* ---- delete ---- */

static enum status delete_try(struct change *change)
{
	const Identity__DeleteKeyRequest *request = change->request;
	struct sql_key_get_row found;
	struct id id;
	enum status status = call_id(change->call, "key", request->key_id, NULL, &id);
	if (status == ST_OK)
		status = call_one(change->call, &sql_key_get, &(struct sql_key_get){.key_id = &id}, &found);
	if (status != ST_OK)
		return status;
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_REVOKED, request->key_id, found.key->version + 1);
	return change_write(
	    change, &sql_key_revoke,
	    &(struct sql_key_revoke){.key_id = &id, .version = found.key->version, .at_us = clock_wall_us()});
}

enum status h_delete_key(struct call *call, const Identity__DeleteKeyRequest *request, Common__Empty *reply)
{
	return change_run(call, request, reply, delete_try, NULL);
}

/* ---- rotate ---- */

/* The key as it is, with a new secret. */
static enum status rotate_prepare(struct call *call, const struct id *id, struct keys_made *made)
{
	struct sql_key_get_row found;
	enum status status = call_one(call, &sql_key_get, &(struct sql_key_get){.key_id = id}, &found);
	if (status == ST_OK)
		status = keys_check_caller(call, found.key->scopes, found.key->n_scopes);
	if (status != ST_OK)
		return status;
	if (found.key->has_expires_at_us && found.key->expires_at_us <= clock_wall_us())
		return call_fail(call, ST_CONFLICT, "key_id",
		                 "The key has expired, and a new secret would be too: make a new key");
	made->row = *found.key;
	return keys_make_secret(call->arena, made);
}

static enum status rotate_try(struct change *change)
{
	const Identity__RotateKeyRequest *request = change->request;
	Identity__Key *reply = change->reply;
	struct call *call = change->call;
	struct keys_made made;
	struct id id;
	uint32_t overlap_sec = request->has_overlap_sec ? request->overlap_sec : OVERLAP_DEFAULT_SEC;
	enum status status = call_id(call, "key", request->key_id, NULL, &id);
	if (status == ST_OK)
		status = rotate_prepare(call, &id, &made);
	if (status != ST_OK)
		return status;
	status = keys_show(call, &made.row, made.secret, reply);
	secret_wipe(made.secret, sizeof(made.secret));
	if (status != ST_OK)
		return status;
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_ROTATED, reply->id, made.row.version + 1);
	change_record(change, &keys_without_secret(call, reply)->base);
	struct sql_key_rotate params = {.key = &made.row,
	                                .secret_hash = {made.secret_hash, SHA256_SIZE},
	                                .old_until_us = clock_wall_us() + (int64_t)overlap_sec * US_PER_SEC};
	return change_write(change, &sql_key_rotate, &params);
}

enum status h_rotate_key(struct call *call, const Identity__RotateKeyRequest *request, Identity__Key *reply)
{
	if (request->has_overlap_sec && request->overlap_sec > OVERLAP_MAX_SEC)
		return call_fail(call, ST_INVALID_ARGUMENT, "overlap_sec", "It is at most %d", OVERLAP_MAX_SEC);
	return change_run(call, request, reply, rotate_try, NULL);
}

/* ---- resolve ---- */

enum status h_resolve_key(struct call *call, const Identity__ResolveKeyRequest *request,
                          Identity__ResolveKeyReply *reply)
{
	struct sql_key_resolve_row found;
	if (request->secret_hash.len != SHA256_SIZE)
		return ST_NOT_FOUND;
	struct sql_key_resolve params = {.secret_hash = {request->secret_hash.data, SHA256_SIZE},
	                                 .now_us = clock_wall_us()};
	enum status status = call_one(call, &sql_key_resolve, &params, &found);
	if (status != ST_OK)
		return status;
	reply->has_project_id = true;
	reply->project_id.len = ID_SIZE;
	reply->project_id.data = arena_memdup(call->arena, found.project_id.bytes, ID_SIZE);
	reply->key_id = call_id_text(call, "key", &found.key_id);
	reply->scopes = (char **)found.scopes.list;
	reply->n_scopes = found.scopes.count;
	reply->has_expires_at_us = found.expires_at_us != 0;
	reply->expires_at_us = found.expires_at_us;
	reply->has_platform = true;
	reply->platform = found.platform;
	return reply->project_id.data && reply->key_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
