/* Custom claims: read, replace, merge. */
#include "service.h"

#include "base/clock.h"
#include "claims.pb-c.h"
#include "identity.pb-c.h"
#include "rules.h"
#include "json/jvalue.h"

#define WRITE_ATTEMPTS 3

/* What a write was asked to do. */
struct claims_change {
	const char *user_id;
	struct id user;
	const char *body;            /* JSON object */
	bool merge;                  /* RFC 7396; else the body replaces all */
	const struct jvalue *claims; /* the body, read */
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
		const struct jvalue *new = jvalue_get(after, old->name);
		if (!jvalue_equal(old, new))
			status = add_change(arena, event, old, new);
	}
	for (const struct jvalue *new = after->first; new &&status == ST_OK; new = new->next) {
		if (!jvalue_get(before, new->name))
			status = add_change(arena, event, NULL, new);
	}
	return status;
}

static void fill_event(const struct claims_change *change, int64_t version, Events__Event *event)
{
	event->has_type = true;
	event->type = EVENTS__EVENT_TYPE__EVENT_TYPE_CLAIMS_CHANGED;
	event->subject = (char *)change->user_id;
	event->user_id = (char *)change->user_id;
	event->has_version = true;
	event->version = version;
}

/* ---- writing ---- */

/* The document after the change, and what differs between the two. */
static enum status compute_document(struct call *call, const struct claims_change *change, const char *before,
                                    const char **ret_document, Events__Event *ret_event)
{
	struct pbjson_error error;
	struct claims_fault fault;
	const struct jvalue *old, *new = change->claims;
	size_t len;
	enum status status = jvalue_read_object(before, "claims", call->arena, &old, &error);
	if (status != ST_OK)
		return ST_INTERNAL;
	if (change->merge)
		new = jvalue_merge(old, change->claims, call->arena);
	const char *document = new ? jvalue_text(new, call->arena, &len) : NULL;
	if (!document)
		return ST_RESOURCE_EXHAUSTED;
	status = rules_check_claims(new, len, &fault);
	if (status != ST_OK)
		return call_fail(call, status, fault.field, "%s", fault.reason);
	*ret_document = document;
	return list_changes(call->arena, old, new, ret_event);
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
	fill_event(change, write.row.version, &event);
	status = compute_document(call, change, before.document, &write.row.document, &event);
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
	enum status status = jvalue_read_object(change->body, "claims", call->arena, &change->claims, &error);
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
