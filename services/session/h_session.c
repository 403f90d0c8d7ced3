/* ListSessions, EndSession, EndUserSessions, CheckSession. */
#include "service.h"

#include "process/change.h"
#include "process/page.h"

#include <string.h>

static enum status parse_user(struct call *call, const char *text, struct id *ret_user)
{
	if (id_parse("usr", text, ret_user))
		return ST_OK;
	return call_fail(call, ST_NOT_FOUND, "user_id", "There is no such user");
}

/* ---- list ---- */

static enum status show(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message)
{
	return service_show_session(call, (const Session__Rows__Session *)row, (Session__Session *)message);
}

static struct page_key key(const ProtobufCMessage *row)
{
	const Session__Rows__Session *session = (const Session__Rows__Session *)row;

	return (struct page_key){.id = id_from_bytes(session->session_id), .number = session->created_at_us};
}

enum status h_list_sessions(struct call *call, const Session__ListSessionsRequest *request,
                            Session__ListSessionsReply *reply)
{
	struct page page = {.list = "sessions:-created_at",
	                    .limit_default = 50,
	                    .limit_max = 200,
	                    .after = {.number = INT64_MAX},
	                    .show = show,
	                    .key = key};
	Identity__Authorization *auth = NULL;
	struct page_row *rows;
	struct id user;
	size_t count;
	enum status status = parse_user(call, request->user_id, &user);

	memset(page.after.id.bytes, 0xff, ID_SIZE);
	if (status == ST_OK)
		status = page_open(call, &page, &request->base);
	if (status != ST_OK)
		return status;
	const struct sql_session_list params = {.user_id = &user,
	                                        .now_us = clock_wall_us(),
	                                        .before_us = page.after.number,
	                                        .before = &page.after.id,
	                                        .limit = page.limit + 1};
	status = call_all(call, &sql_session_list, &params, &rows, &count);
	/* Only a user without sessions needs the question whether the user exists. */
	if (status == ST_OK && (count == 0 || rows[0].total == 0))
		status = service_authorize(call, &user, &auth);
	if (status == ST_NOT_FOUND)
		return call_fail(call, ST_NOT_FOUND, "user_id", "There is no such user");
	return status == ST_OK ? page_reply(call, &page, rows, count, &reply->base) : status;
}

/* ---- end ---- */

static enum status end_try(struct change *change)
{
	const Session__EndSessionRequest *request = change->request;
	Session__Rows__Session *row;
	struct id id;
	int64_t now_us = clock_wall_us();
	enum status status = call_id(change->call, "ses", request->session_id, NULL, &id);

	if (status == ST_OK)
		status = service_find_session(change->call, &id, &row);
	if (status == ST_NOT_FOUND || (status == ST_OK && service_session_is_over(row, now_us)))
		return call_fail(change->call, ST_NOT_FOUND, "session_id", "There is no such session");
	if (status != ST_OK)
		return status;
	const struct sql_session_end params = {
	    .session_id = &id, .reason = "requested", .now_us = now_us, .purge_at_us = rules_purge_us(now_us)};
	Events__Event *event =
	    change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, request->session_id, 0);
	event->has_version = false;
	status = service_fill_event(change->call, row, params.reason, event);
	return status == ST_OK ? change_write(change, &sql_session_end, &params) : status;
}

enum status h_end_session(struct call *call, const Session__EndSessionRequest *request, Common__Empty *reply)
{
	return change_run(call, request, reply, end_try, NULL);
}

struct end_all {
	struct id user;
	int64_t epoch;
};

/* Not every user has a session to end: a second look, after a first try that found none, tells that from a lost race. */
static enum status end_all_try(struct change *change)
{
	const Session__EndUserSessionsRequest *request = change->request;
	const struct end_all *all = change->arg;
	int64_t now_us = clock_wall_us();
	struct sql_session_older_row found = {.some = true};
	enum status status = ST_OK;

	if (change->attempt > 0)
		status = call_one(change->call, &sql_session_older,
		                  &(struct sql_session_older){.user_id = &all->user, .epoch = all->epoch}, &found);
	if (status != ST_OK || !found.some)
		return status;
	const struct sql_session_end_all params = {.user_id = &all->user,
	                                           .epoch = all->epoch,
	                                           .reason = "all",
	                                           .now_us = now_us,
	                                           .purge_at_us = rules_purge_us(now_us)};
	Events__Event *event = change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, request->user_id, 0);
	event->has_version = false;
	event->user_id = request->user_id;
	event->has_epoch = true;
	event->epoch = all->epoch;
	event->reason = (char *)params.reason;
	return change_write(change, &sql_session_end_all, &params);
}

enum status h_end_user_sessions(struct call *call, const Session__EndUserSessionsRequest *request, Common__Empty *reply)
{
	const struct session_state *state = call->run->state;
	Identity__RevokeTokensRequest revoke = IDENTITY__REVOKE_TOKENS_REQUEST__INIT;
	ProtobufCMessage *answer = NULL;
	struct end_all all;
	enum status status = parse_user(call, request->user_id, &all.user);

	if (status != ST_OK)
		return status;
	/* The epoch first: from then on every older token is refused, whether or not the rows below are reached. */
	revoke.user_id = request->user_id;
	revoke.reason = (char *)"all";
	status = state->peer(call, M_IDENTITY_REVOKE_TOKENS, &revoke.base, &answer);
	if (status != ST_OK)
		return status;
	all.epoch = ((Identity__RevokeTokensReply *)answer)->epoch;
	return change_run(call, request, reply, end_all_try, &all);
}

/* ---- check ---- */

enum status h_check_session(struct call *call, const Session__CheckSessionRequest *request,
                            Session__CheckSessionReply *reply)
{
	Identity__Authorization *auth = NULL;
	Session__Rows__Session *row;
	struct id id, user;
	enum status status = call_id(call, "ses", request->session_id, NULL, &id);

	reply->has_active = true;
	reply->active = false;
	if (status == ST_OK)
		status = service_find_session(call, &id, &row);
	if (status == ST_NOT_FOUND || (status == ST_OK && service_session_is_over(row, clock_wall_us())))
		return ST_OK;
	if (status != ST_OK)
		return status;
	/* Asked while the ledger is silent: then this service's rows may be behind as well, and only identity knows. */
	user = id_from_bytes(row->user_id);
	status = service_authorize(call, &user, &auth);
	if (status == ST_NOT_FOUND)
		return ST_OK;
	if (status != ST_OK)
		return status;
	reply->active = auth->status == IDENTITY__USER_STATUS__USER_STATUS_ACTIVE && row->epoch >= auth->epoch &&
	                (!request->has_epoch || request->epoch >= auth->epoch);
	return ST_OK;
}
