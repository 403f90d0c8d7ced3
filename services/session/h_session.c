/* ListSessions, EndSession, EndUserSessions, CheckSession. */
#include "service.h"

#include <string.h>

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 200
#define CURSOR_SIZE (8 + ID_SIZE) /* created_at_us big-endian, session id */

static enum status parse_user(struct call *call, const char *text, struct id *ret_user)
{
	if (id_parse("usr", text, ret_user))
		return ST_OK;
	return call_fail(call, ST_NOT_FOUND, "user_id", "There is no such user");
}

/* ---- list ---- */

static char *format_cursor(struct call *call, const struct session_row *last)
{
	uint8_t bytes[CURSOR_SIZE];
	char *text = arena_alloc(call->arena, BASE64URL_SIZE(CURSOR_SIZE));

	if (text == NULL)
		return NULL;
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)last->created_at_us >> (56 - 8 * i));
	memcpy(bytes + 8, last->id.bytes, ID_SIZE);
	base64url_encode(bytes, sizeof(bytes), text);
	return text;
}

static bool parse_cursor(const char *text, struct store_list *list)
{
	uint8_t bytes[CURSOR_SIZE + 3];
	size_t len = sizeof(bytes);
	uint64_t at_us = 0;

	if (strnlen(text, BASE64URL_SIZE(CURSOR_SIZE)) != BASE64URL_SIZE(CURSOR_SIZE) - 1)
		return false;
	if (!base64url_decode(text, strlen(text), bytes, &len) || len != CURSOR_SIZE)
		return false;
	for (int i = 0; i < 8; i++)
		at_us = at_us << 8 | bytes[i];
	if (at_us > INT64_MAX)
		return false;
	list->before_at_us = (int64_t)at_us;
	memcpy(list->before.bytes, bytes + 8, ID_SIZE);
	return true;
}

static enum status read_list_request(struct call *call, const Session__ListSessionsRequest *asked,
                                     struct store_list *list)
{
	enum status status = parse_user(call, asked->user_id, &list->user);

	if (status != ST_OK)
		return status;
	list->now_us = clock_wall_us();
	list->limit = asked->has_limit ? asked->limit : LIMIT_DEFAULT;
	if (list->limit < 1 || list->limit > LIMIT_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "limit", "Must be 1 to %d", LIMIT_MAX);
	list->before_at_us = INT64_MAX;
	memset(list->before.bytes, 0xff, ID_SIZE);
	if (asked->after != NULL && !parse_cursor(asked->after, list))
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "Not a cursor of this list");
	return ST_OK;
}

static enum status show_list(struct call *call, const struct session_row *rows, size_t count,
                             Session__ListSessionsReply *reply)
{
	reply->data = arena_alloc(call->arena, (count + 1) * sizeof(*reply->data));
	if (reply->data == NULL)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count; i++) {
		reply->data[i] = service_show_session(call, &rows[i]);
		if (reply->data[i] == NULL)
			return ST_RESOURCE_EXHAUSTED;
		reply->n_data = i + 1;
	}
	return ST_OK;
}

enum status h_list_sessions(struct call *call, const Session__ListSessionsRequest *request,
                            Session__ListSessionsReply *reply)
{
	struct store store = service_session_store(call);
	Identity__Authorization *auth = NULL;
	struct store_list list = {0};
	struct session_row *rows = NULL;
	size_t count = 0;
	int64_t total = 0;
	enum status status = read_list_request(call, request, &list);

	if (status != ST_OK)
		return status;
	uint32_t limit = list.limit++; /* one more row tells whether there is a next page */
	status = store_list_sessions(&store, &list, &rows, &count, &total);
	/* Only a user without sessions needs the question whether the user exists. */
	if (status == ST_OK && total == 0)
		status = service_authorize(call, &list.user, &auth);
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_NOT_FOUND, "user_id", "There is no such user");
	if (status != ST_OK)
		return status;
	if (count > limit) {
		count = limit;
		reply->next = format_cursor(call, &rows[count - 1]);
		if (reply->next == NULL)
			return ST_RESOURCE_EXHAUSTED;
	}
	reply->has_total = true;
	reply->total = total;
	return show_list(call, rows, count, reply);
}

/* ---- end ---- */

enum status h_end_session(struct call *call, const Session__EndSessionRequest *request, Common__Empty *reply)
{
	struct store store = service_session_store(call);
	struct session_row row = {0};
	bool ended = false;
	struct id id;
	enum status status = ST_NOT_FOUND;

	if (id_parse("ses", request->session_id, &id))
		status = store_read_session(&store, &id, &row);
	if (status == ST_OK && (row.ended_at_us != 0 || row.expires_at_us <= clock_wall_us()))
		status = ST_NOT_FOUND;
	if (status == ST_OK) {
		struct operation operation = call_operation(call, &reply->base);
		struct store_ending ending = {
		    .session = id,
		    .now_us = clock_wall_us(),
		    .reason = "requested",
		    .event =
		        service_session_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, &row, "requested"),
		    .operation = &operation,
		};
		status = store_end_session(&store, &ending, &ended);
	}
	/* Not ended by this call although it lived a moment ago: another call was faster. */
	if (status == ST_OK && ended)
		call_committed(call);
	else if (status == ST_OK || status == ST_NOT_FOUND)
		return call_fail(call, ST_NOT_FOUND, "session_id", "There is no such session");
	return status;
}

/* The one event of "all": its subject is the user. */
static struct packed end_all_event(struct call *call, char *user_id, int64_t epoch)
{
	Events__Event event = EVENTS__EVENT__INIT;

	event.has_type = true;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED;
	event.subject = user_id;
	event.user_id = user_id;
	event.has_epoch = true;
	event.epoch = epoch;
	event.reason = (char *)"all";
	return call_event(call, &event);
}

enum status h_end_user_sessions(struct call *call, const Session__EndUserSessionsRequest *request, Common__Empty *reply)
{
	const struct session_state *state = call->run->state;
	Identity__RevokeTokensRequest revoke = IDENTITY__REVOKE_TOKENS_REQUEST__INIT;
	struct store store = service_session_store(call);
	ProtobufCMessage *answer = NULL;
	int64_t ended = 0;
	struct id user;
	enum status status = parse_user(call, request->user_id, &user);

	if (status != ST_OK)
		return status;
	/* The epoch first: from then on every older token is refused, whether or not the rows below are reached. */
	revoke.user_id = request->user_id;
	revoke.reason = (char *)"all";
	status = state->peer(call, M_IDENTITY_REVOKE_TOKENS, &revoke.base, &answer);
	if (status != ST_OK)
		return status;
	int64_t epoch = ((Identity__RevokeTokensReply *)answer)->epoch;
	struct operation operation = call_operation(call, &reply->base);
	struct store_ending ending = {
	    .now_us = clock_wall_us(),
	    .reason = "all",
	    .event = end_all_event(call, request->user_id, epoch),
	    .operation = &operation,
	};
	status = store_end_user(&store, &user, epoch, &ending, &ended);
	if (status == ST_OK && ended > 0)
		call_committed(call);
	return status;
}

/* ---- check ---- */

enum status h_check_session(struct call *call, const Session__CheckSessionRequest *request,
                            Session__CheckSessionReply *reply)
{
	struct store store = service_session_store(call);
	Identity__Authorization *auth = NULL;
	struct session_row row;
	struct id id;
	enum status status = ST_NOT_FOUND;

	reply->has_active = true;
	reply->active = false;
	if (id_parse("ses", request->session_id, &id))
		status = store_read_session(&store, &id, &row);
	if (status == ST_OK && (row.ended_at_us != 0 || row.expires_at_us <= clock_wall_us()))
		return ST_OK;
	/* Asked while the ledger is silent: then this service's rows may be behind as well, and only identity knows. */
	if (status == ST_OK)
		status = service_authorize(call, &row.user, &auth);
	if (status == ST_NOT_FOUND)
		return ST_OK;
	if (status != ST_OK)
		return status;
	reply->active = auth->status == IDENTITY__USER_STATUS__USER_STATUS_ACTIVE && row.epoch >= auth->epoch &&
	                (!request->has_epoch || request->epoch >= auth->epoch);
	return ST_OK;
}
