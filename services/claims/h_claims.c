/* Custom claims: read, replace, merge. */
#include "service.h"

#include "base/clock.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "rules.h"
#include "json/pbjson.h"

#include <jansson.h>

#define BODY_MAX_BYTES (64 * 1024) /* of a merge patch, which may be longer than its result */
#define WRITE_ATTEMPTS 3

/* What a write was asked to do. */
struct claims_change {
	const char *user_id;
	struct id user;
	const char *body; /* compact JSON object */
	bool merge;       /* RFC 7396; else the body replaces all */
	bool has_if_match;
	int64_t if_match_version;
};

/* The user's existence is identity's knowledge; a deleted user has no claims from that moment on. */
static enum status find_user(struct call *call, const char *user_id, struct id *ret_user)
{
	Identity__GetAuthorizationRequest request = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	ProtobufCMessage *reply;
	if (!id_parse("usr", user_id, ret_user))
		return call_fail(call, ST_NOT_FOUND, "user_id", "There is no such user.");
	request.user_id = (char *)user_id;
	return call_peer(call, M_IDENTITY_GET_AUTHORIZATION, &request.base, &reply);
}

static enum status fill_reply(struct call *call, const char *user_id, const struct claims_row *row,
                              Claims__Claims *reply)
{
	reply->user_id = arena_strdup(call->arena, user_id);
	reply->claims_json = (char *)row->document;
	reply->has_version = true;
	reply->version = row->version;
	reply->has_updated_at_us = row->version > 0;
	reply->updated_at_us = row->updated_at_us;
	return reply->user_id != NULL ? ST_OK : ST_INTERNAL;
}

enum status h_get_claims(struct call *call, const Claims__GetClaimsRequest *request, Claims__Claims *reply)
{
	struct store store = claims_store(call);
	struct claims_row row;
	struct id user;
	enum status status = find_user(call, request->user_id, &user);
	if (status == ST_OK)
		status = store_read_claims(&store, &call->project, &user, &row);
	if (status == ST_OK)
		status = fill_reply(call, request->user_id, &row, reply);
	return status;
}

/* ---- the event: which names changed, from what to what ---- */

/* NULL for no value, and when the arena is full. */
static char *value_text(struct arena *arena, const json_t *value)
{
	size_t len;
	return value != NULL ? (char *)pbjson_dump_arena(value, arena, &len) : NULL;
}

static enum status add_change(struct arena *arena, Events__Event *event, const char *name, json_t *before,
                              json_t *after)
{
	Events__FieldChange *change = arena_alloc(arena, sizeof(*change));
	if (change == NULL)
		return ST_INTERNAL;
	events__field_change__init(change);
	change->field = arena_printf(arena, "claims.%s", name);
	change->before_json = value_text(arena, before);
	change->after_json = value_text(arena, after);
	if (change->field == NULL || (before != NULL) != (change->before_json != NULL) ||
	    (after != NULL) != (change->after_json != NULL))
		return ST_INTERNAL;
	event->changes[event->n_changes++] = change;
	return ST_OK;
}

static enum status list_changes(struct arena *arena, json_t *before, json_t *after, Events__Event *event)
{
	enum status status = ST_OK;
	const char *name;
	json_t *value;
	size_t most = json_object_size(before) + json_object_size(after);
	event->changes = arena_alloc(arena, (most + 1) * sizeof(*event->changes));
	if (event->changes == NULL)
		return ST_INTERNAL;
	json_object_foreach(before, name, value)
	{
		if (status == ST_OK && !json_equal(value, json_object_get(after, name)))
			status = add_change(arena, event, name, value, json_object_get(after, name));
	}
	json_object_foreach(after, name, value)
	{
		if (status == ST_OK && json_object_get(before, name) == NULL)
			status = add_change(arena, event, name, NULL, value);
	}
	return status;
}

static enum status fill_event(struct call *call, const struct claims_change *change, const struct claims_row *before,
                              const struct claims_row *after, Events__Event *event)
{
	enum status status = ST_INTERNAL;
	json_t *old = json_loads(before->document, 0, NULL);
	json_t *new = json_loads(after->document, 0, NULL);
	event->has_type = true;
	event->type = EVENTS__EVENT_TYPE__EVENT_TYPE_CLAIMS_CHANGED;
	event->subject = (char *)change->user_id;
	event->user_id = (char *)change->user_id;
	event->has_version = true;
	event->version = after->version;
	if (old != NULL && new != NULL)
		status = list_changes(call->arena, old, new, event);
	json_decref(old);
	json_decref(new);
	return status;
}

/* ---- writing ---- */

/* The document after the change. */
static enum status compute_document(struct call *call, const struct claims_change *change, const char *before,
                                    const char **ret_document)
{
	struct claims_fault fault;
	const char *document = change->body;
	enum status status = ST_OK;
	if (change->merge)
		status = pbjson_merge(before, change->body, call->arena, &document);
	if (status != ST_OK)
		return status;
	status = rules_check_claims(document, &fault);
	if (status != ST_OK)
		return call_fail(call, status, fault.field, "%s", fault.reason);
	*ret_document = document;
	return ST_OK;
}

/* Nothing changes: no event, no version, only the answer is remembered. */
static enum status keep_claims(struct call *call, const struct claims_change *change, const struct claims_row *row,
                               Claims__Claims *reply)
{
	struct store store = claims_store(call);
	enum status status = fill_reply(call, change->user_id, row, reply);
	if (status != ST_OK)
		return status;
	struct operation operation = call_operation(call, &reply->base);
	return store_note_operation(&store, &call->project, &operation);
}

/* One attempt. ST_ABORTED: another write came between reading and writing. */
static enum status try_change(struct call *call, const struct claims_change *change, Claims__Claims *reply)
{
	struct store store = claims_store(call);
	struct claims_row before;
	struct claims_write write = {.project = call->project, .user = change->user};
	Events__Event event = EVENTS__EVENT__INIT;
	enum status status = store_read_claims(&store, &call->project, &change->user, &before);
	if (status != ST_OK)
		return status;
	if (change->has_if_match && change->if_match_version != before.version)
		return call_fail(call, ST_PRECONDITION_FAILED, "", "The claims have version %lld.",
		                 (long long)before.version);
	write.row.version = before.version + 1;
	write.row.updated_at_us = clock_wall_us();
	status = compute_document(call, change, before.document, &write.row.document);
	if (status != ST_OK)
		return status;
	status = fill_event(call, change, &before, &write.row, &event);
	if (status != ST_OK)
		return status;
	if (event.n_changes == 0)
		return keep_claims(call, change, &before, reply);
	status = fill_reply(call, change->user_id, &write.row, reply);
	if (status != ST_OK)
		return status;
	write.event = call_event(call, &event);
	write.operation = call_operation(call, &reply->base);
	status = store_write_claims(&store, &write);
	if (status == ST_OK)
		call_committed(call);
	return status;
}

static enum status change_claims(struct call *call, struct claims_change *change, ProtobufCMessage *reply)
{
	struct pbjson_error error;
	if (change->body == NULL)
		return call_fail(call, ST_INVALID_ARGUMENT, "claims", "The claims are missing.");
	enum status status = pbjson_object(change->body, "claims", BODY_MAX_BYTES, call->arena, &change->body, &error);
	if (status == ST_CONTENT_TOO_LARGE)
		status = ST_CLAIMS_TOO_LARGE;
	if (status != ST_OK)
		return call_fail(call, status, error.field, "%s", error.reason);
	status = find_user(call, change->user_id, &change->user);
	if (status != ST_OK)
		return status;
	status = ST_ABORTED;
	for (int attempt = 0; attempt < WRITE_ATTEMPTS && status == ST_ABORTED; attempt++)
		status = try_change(call, change, (Claims__Claims *)reply);
	return status;
}

enum status h_put_claims(struct call *call, const Claims__PutClaimsRequest *request, Claims__Claims *reply)
{
	struct claims_change change = {
	    .user_id = request->user_id,
	    .body = request->claims_json,
	    .has_if_match = request->has_if_match_version,
	    .if_match_version = request->if_match_version,
	};
	return change_claims(call, &change, &reply->base);
}

enum status h_patch_claims(struct call *call, const Claims__PatchClaimsRequest *request, Claims__Claims *reply)
{
	struct claims_change change = {
	    .user_id = request->user_id,
	    .body = request->claims_json,
	    .merge = true,
	    .has_if_match = request->has_if_match_version,
	    .if_match_version = request->if_match_version,
	};
	return change_claims(call, &change, &reply->base);
}
