/* The session service as data: handlers, configuration, state; and what several handlers share. */
#include "service.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/migrate.h"

#include <stdlib.h>
#include <string.h>

#define PURGE_EVERY_US (60 * US_PER_SEC)
#define PURGE_ROUNDS_MAX 100
#define SECRET_MIN_BYTES 32

extern const struct migration session_migrations[];

static const struct cfg_item cfg_items[] = {
    {"DENIZEN_SESSION_SECRET", CFG_SECRET, NULL, 0, 0,
     "Key of refresh tokens and failure counters, at least 32 characters; the same on every replica."},
    {"DENIZEN_SESSION_IDLE_SEC", CFG_INT, "2592000", 60, 31536000,
     "A session ends when it was not refreshed for so many seconds."},
    {"DENIZEN_SESSION_LIFETIME_SEC", CFG_INT, "7776000", 60, 63072000,
     "A session ends so many seconds after sign-in however much it is used."},
    {"DENIZEN_THROTTLE_LOGIN_FAILURES", CFG_INT, "50", 5, 1000000,
     "Failed sign-ins of one user from unknown networks in an hour beyond which only networks that signed in before "
     "are let through."},
    {"DENIZEN_THROTTLE_NETWORK_FAILURES", CFG_INT, "300", 5, 1000000,
     "Failed sign-ins from one network in ten minutes beyond which the network waits."},
    {NULL, CFG_TEXT, NULL, 0, 0, NULL},
};

struct store service_session_store(const struct call *call)
{
	return (struct store){call->run->db, call->arena, call->deadline_us, call->project};
}

Session__Session *service_show_session(struct call *call, const struct session_row *row)
{
	Session__Session *shown = arena_alloc(call->arena, sizeof(*shown));
	char *texts = arena_alloc(call->arena, 2 * ID_TEXT_SIZE);

	if (shown == NULL || texts == NULL)
		return NULL;
	session__session__init(shown);
	id_format("ses", &row->id, texts);
	id_format("usr", &row->user, texts + ID_TEXT_SIZE);
	shown->id = texts;
	shown->user_id = texts + ID_TEXT_SIZE;
	shown->has_created_at_us = true;
	shown->created_at_us = row->created_at_us;
	shown->has_last_used_at_us = true;
	shown->last_used_at_us = row->last_used_at_us;
	shown->has_expires_at_us = true;
	shown->expires_at_us = row->expires_at_us;
	shown->ip_address = (char *)row->ip_address;
	shown->user_agent = (char *)row->user_agent;
	shown->method = (char *)row->method;
	return shown;
}

enum status service_authorize(struct call *call, const struct id *user, Identity__Authorization **ret_auth)
{
	const struct session_state *state = call->run->state;
	Identity__GetAuthorizationRequest request = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	ProtobufCMessage *answer = NULL;
	char user_id[ID_TEXT_SIZE];

	id_format("usr", user, user_id);
	request.user_id = user_id;
	enum status status = state->peer(call, M_IDENTITY_GET_AUTHORIZATION, &request.base, &answer);
	if (status == ST_OK)
		*ret_auth = (Identity__Authorization *)answer;
	return status;
}

enum status service_mint(struct call *call, const struct id *session, int64_t expires_at_us,
                         const Identity__Authorization *auth, Claims__MintReply **ret_token)
{
	const struct session_state *state = call->run->state;
	Claims__MintRequest request = CLAIMS__MINT_REQUEST__INIT;
	ProtobufCMessage *answer = NULL;
	char session_id[ID_TEXT_SIZE];

	id_format("ses", session, session_id);
	request.user_id = auth->user_id;
	request.session_id = session_id;
	request.has_epoch = true;
	request.epoch = auth->epoch;
	request.email = auth->email;
	request.has_email_verified = auth->has_email_verified;
	request.email_verified = auth->email_verified;
	request.name = auth->name;
	request.has_lifetime_sec = true;
	request.lifetime_sec = rules_token_sec(expires_at_us, clock_wall_us());
	enum status status = state->peer(call, M_CLAIMS_MINT, &request.base, &answer);
	if (status == ST_OK)
		*ret_token = (Claims__MintReply *)answer;
	return status;
}

enum status service_answer_tokens(struct call *call, const struct session_row *row, const struct refresh_token *token,
                                  const Claims__MintReply *access, Session__TokenReply *reply)
{
	struct session_state *state = call->run->state;
	char *text = arena_alloc(call->arena, REFRESH_TEXT_SIZE);
	Session__Session *shown = service_show_session(call, row);

	if (text == NULL || shown == NULL)
		return ST_RESOURCE_EXHAUSTED;
	refresh_format(&state->keys, &call->project, token, text);
	reply->access_token = access->access_token;
	reply->has_expires_in = access->has_expires_in;
	reply->expires_in = access->expires_in;
	reply->refresh_token = text;
	reply->token_type = (char *)"Bearer";
	reply->session = shown;
	return ST_OK;
}

enum status service_write(struct call *call, const struct db_stmt *stmt, const void *params, const struct packed *event)
{
	struct sql_scope scope = call_sql(call);
	struct db_blob blob = {event ? event->data : NULL, event ? event->len : 0};
	const struct db_effects effects = {.events = {&blob, event ? 1 : 0}, .revokes = event && event->revokes};
	int64_t rows;

	scope.effects = &effects;
	if (event && !event->data)
		return ST_RESOURCE_EXHAUSTED;
	enum status status = sql_run(&scope, stmt, params, &rows);
	if (status == ST_OK && event)
		call_committed(call);
	return status;
}

struct packed service_session_event(struct call *call, Events__EventType type, const struct session_row *row,
                                    const char *reason)
{
	Events__Event event = EVENTS__EVENT__INIT;
	char session_id[ID_TEXT_SIZE];
	char user_id[ID_TEXT_SIZE];

	id_format("ses", &row->id, session_id);
	id_format("usr", &row->user, user_id);
	event.has_type = true;
	event.type = type;
	event.subject = session_id;
	event.user_id = user_id;
	event.has_epoch = true;
	event.epoch = row->epoch;
	event.reason = (char *)reason;
	return call_event(call, &event);
}

/* ---- house-keeping: every replica purges; rows another one holds are skipped ---- */

static void purge(void *arg)
{
	struct process *run = arg;
	struct session_state *state = run->state;
	struct arena *arena = arena_new(1 << 20);
	bool more = arena != NULL;

	for (int round = 0; more && !state->stopping && round < PURGE_ROUNDS_MAX; round++) {
		struct store store = {.db = run->db, .arena = arena};
		enum status status = store_purge_sessions(&store, &more);
		if (status != ST_OK) {
			log_event(LOG_WARN, "purge of expired rows failed", "status", status_name(status), NULL);
			break;
		}
		arena_reset(arena);
	}
	arena_free(&arena);
	state->purging = false;
}

static void on_purge_timer(void *arg)
{
	struct process *run = arg;
	struct session_state *state = run->state;

	if (!state->purging && !state->stopping)
		state->purging = fiber_spawn(run->loop, purge, run);
	loop_timer_set(state->purge_timer, clock_monotonic_us() + PURGE_EVERY_US);
}

static void start_purging(void *arg)
{
	struct process *run = arg;
	struct session_state *state = run->state;

	state->purge_timer = loop_timer_new(run->loop, on_purge_timer, run);
	loop_timer_set(state->purge_timer, clock_monotonic_us() + PURGE_EVERY_US);
}

/* The state lives as long as the process: a fiber that outlives the drain may still look at it. */
static struct session_state state_of_process;

static enum status start(struct process *run)
{
	struct session_state *state = &state_of_process;
	const char *secret = cfg_text(run->cfg, "DENIZEN_SESSION_SECRET");

	if (strlen(secret) < SECRET_MIN_BYTES) {
		log_event(LOG_ERROR, "DENIZEN_SESSION_SECRET must have at least 32 characters", NULL);
		return ST_INVALID_ARGUMENT;
	}
	state->peer = call_peer;
	refresh_derive_keys(secret, &state->keys);
	state->idle_us = cfg_int(run->cfg, "DENIZEN_SESSION_IDLE_SEC") * US_PER_SEC;
	state->lifetime_us = cfg_int(run->cfg, "DENIZEN_SESSION_LIFETIME_SEC") * US_PER_SEC;
	state->limits.login_failures = cfg_int(run->cfg, "DENIZEN_THROTTLE_LOGIN_FAILURES");
	state->limits.network_failures = cfg_int(run->cfg, "DENIZEN_THROTTLE_NETWORK_FAILURES");
	state->throttled = metric_counter("denizen_sign_in_throttled_total", "", "Sign-ins refused without hashing");
	state->failed = metric_counter("denizen_sign_in_failed_total", "", "Sign-ins with a wrong credential");
	state->reused =
	    metric_counter("denizen_refresh_reused_total", "", "Sessions ended because a spent token came back");
	run->state = state;
	loop_post(run->loop, start_purging, run);
	return follow_users_start(run);
}

static void stop(struct process *run)
{
	struct session_state *state = run->state;

	if (state == NULL)
		return;
	state->stopping = true;
	loop_timer_free(&state->purge_timer);
	secret_wipe(&state->keys, sizeof(state->keys));
}

const struct service session_service = {
    .name = "session",
    .handlers = session_handlers,
    .cfg_items = cfg_items,
    .migrations = session_migrations,
    .start = start,
    .stop = stop,
};
