/* Custom claims: read, replace, merge. */
#include "service.h"

#include "base/clock.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "process/change.h"
#include "rules.h"
#include "json/jvalue.h"
#include "json/message.h"

/* What a write was asked to do. */
struct claims_write {
	const char *user_id;
	struct id user;
	const char *body;            /* JSON object */
	bool merge;                  /* RFC 7396; else the body replaces all */
	const struct jvalue *claims; /* the body, read */
};

/* The user's existence is identity's knowledge; a deleted user has no claims from that moment on. */
static enum status find_user(struct call *call, const char *user_id, struct id *ret_user)
{
	Identity__GetAuthorizationRequest request = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	ProtobufCMessage *reply;
	enum status status = call_id(call, "usr", user_id, NULL, ret_user);
	if (status != ST_OK)
		return status;
	request.user_id = (char *)user_id;
	return call_peer(call, M_IDENTITY_GET_AUTHORIZATION, &request.base, &reply);
}

/* A user without a row has version 0 and no claims. */
static enum status read_claims(struct call *call, const struct id *user, const Claims__Rows__UserClaims **ret_row)
{
	static const Claims__Rows__UserClaims none = {
	    .base = PROTOBUF_C_MESSAGE_INIT(&claims__rows__user_claims__descriptor),
	    .document = (char *)"{}",
	    .has_version = true};
	struct sql_claims_get_row found;
	enum status status = call_one(call, &sql_claims_get, &(struct sql_claims_get){user}, &found);
	if (status != ST_OK && status != ST_NOT_FOUND)
		return status;
	*ret_row = status == ST_OK ? found.claims : &none;
	return ST_OK;
}

static void show_claims(const char *user_id, const Claims__Rows__UserClaims *row, Claims__Claims *reply)
{
	message_copy(&row->base, &reply->base);
	reply->user_id = (char *)user_id;
	reply->claims_json = row->document;
}

enum status h_get_claims(struct call *call, const Claims__GetClaimsRequest *request, Claims__Claims *reply)
{
	const Claims__Rows__UserClaims *row;
	struct id user;
	enum status status = find_user(call, request->user_id, &user);
	if (status != ST_OK)
		return status;
	status = read_claims(call, &user, &row);
	if (status == ST_OK)
		show_claims(request->user_id, row, reply);
	return status;
}

/* ---- the event: which names changed, from what to what ---- */

/* NULL for no value, and when the arena is full. */
static char *value_text(struct arena *arena, const struct jvalue *value)
{
	size_t len;
	return value ? (char *)jvalue_text(value, arena, &len) : NULL;
}

static enum status add_change(struct arena *arena, Events__Event *event, const struct jvalue *before,
                              const struct jvalue *after)
{
	Events__FieldChange *change = arena_alloc(arena, sizeof(*change));
	if (!change)
		return ST_INTERNAL;
	events__field_change__init(change);
	change->field = arena_printf(arena, "claims.%s", before ? before->name : after->name);
	change->before_json = value_text(arena, before);
	change->after_json = value_text(arena, after);
	if (!change->field || (before && !change->before_json) || (after && !change->after_json))
		return ST_INTERNAL;
	event->changes[event->n_changes++] = change;
	return ST_OK;
}

static enum status list_changes(struct arena *arena, const struct jvalue *before, const struct jvalue *after,
                                Events__Event *event)
{
	enum status status = ST_OK;
	size_t most = (size_t)before->count + after->count;
	event->changes = arena_alloc(arena, (most + 1) * sizeof(*event->changes));
	if (!event->changes)
		return ST_INTERNAL;
	for (const struct jvalue *old = before->first; old && status == ST_OK; old = old->next) {
		const struct jvalue *now = jvalue_get(after, old->name);
		if (!jvalue_equal(old, now))
			status = add_change(arena, event, old, now);
	}
	for (const struct jvalue *now = after->first; now && status == ST_OK; now = now->next) {
		if (!jvalue_get(before, now->name))
			status = add_change(arena, event, NULL, now);
	}
	return status;
}

/* ---- writing ---- */

/* The document after the write, and what differs between the two. */
static enum status compute_document(struct call *call, const struct claims_write *write, const char *before,
                                    const char **ret_document, Events__Event *event)
{
	struct pbjson_error error;
	struct claims_fault fault;
	const struct jvalue *old, *now = write->claims;
	size_t len;
	enum status status = jvalue_read_object(before, "claims", call->arena, &old, &error);
	if (status != ST_OK)
		return ST_INTERNAL;
	if (write->merge)
		now = jvalue_merge(old, write->claims, call->arena);
	const char *document = now ? jvalue_text(now, call->arena, &len) : NULL;
	if (!document)
		return ST_RESOURCE_EXHAUSTED;
	status = rules_check_claims(now, len, &fault);
	if (status != ST_OK)
		return call_fail(call, status, fault.field, "%s", fault.reason);
	*ret_document = document;
	return list_changes(call->arena, old, now, event);
}

static enum status write_try(struct change *change)
{
	struct call *call = change->call;
	const struct claims_write *write = change->arg;
	const Claims__Rows__UserClaims *before;
	Claims__Rows__UserClaims after = CLAIMS__ROWS__USER_CLAIMS__INIT;
	enum status status = read_claims(call, &write->user, &before);
	if (status != ST_OK)
		return status;
	status = change_if_match(change, before->version);
	if (status != ST_OK)
		return status;
	after.has_user_id = after.has_version = after.has_updated_at_us = true;
	after.user_id = (ProtobufCBinaryData){ID_SIZE, (uint8_t *)write->user.bytes};
	after.version = before->version + 1;
	after.updated_at_us = clock_wall_us();
	Events__Event *event =
	    change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_CLAIMS_CHANGED, write->user_id, after.version);
	event->user_id = (char *)write->user_id;
	status = compute_document(call, write, before->document, (const char **)&after.document, event);
	if (status != ST_OK)
		return status;
	bool same = event->n_changes == 0;
	show_claims(write->user_id, same ? before : &after, change->reply);
	return same ? ST_OK : change_write(change, &sql_claims_write, &(struct sql_claims_write){&after});
}

static enum status run_write(struct call *call, struct claims_write *write, const void *request, Claims__Claims *reply)
{
	struct pbjson_error error;
	if (!write->body)
		return call_fail(call, ST_INVALID_ARGUMENT, "claims", "The claims are missing.");
	enum status status = jvalue_read_object(write->body, "claims", call->arena, &write->claims, &error);
	if (status != ST_OK)
		return call_fail(call, status, error.field, "%s", error.reason);
	status = find_user(call, write->user_id, &write->user);
	if (status != ST_OK)
		return status;
	return change_run(call, request, reply, write_try, write);
}

enum status h_put_claims(struct call *call, const Claims__PutClaimsRequest *request, Claims__Claims *reply)
{
	struct claims_write write = {
	    .user_id = request->user_id,
	    .body = request->claims_json,
	};
	return run_write(call, &write, request, reply);
}

enum status h_patch_claims(struct call *call, const Claims__PatchClaimsRequest *request, Claims__Claims *reply)
{
	struct claims_write write = {
	    .user_id = request->user_id,
	    .body = request->claims_json,
	    .merge = true,
	};
	return run_write(call, &write, request, reply);
}
