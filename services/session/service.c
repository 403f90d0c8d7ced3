/* The session service as data: handlers, configuration, state; and what several handlers share. */
#include "service.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/migrate.h"
#include "json/message.h"

#include <stdlib.h>
#include <string.h>

#define PURGE_EVERY_US (60 * US_PER_SEC)
#define PURGE_ROUNDS_MAX 100
#define PURGE_ROWS 1000 /* of each kind, in one statement */
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

enum status service_find_session(struct call *call, const struct id *session, Session__Rows__Session **ret_row)
{
	struct sql_session_get_row found;
	enum status status = call_one(call, &sql_session_get, &(struct sql_session_get){.session_id = session}, &found);

	if (status != ST_OK)
		return status;
	if (found.session->salt.len != REFRESH_SALT_SIZE)
		return ST_INTERNAL;
	*ret_row = found.session;
	return ST_OK;
}

bool service_session_is_over(const Session__Rows__Session *row, int64_t now_us)
{
	return row->has_ended_at_us || row->expires_at_us <= now_us;
}

bool service_is_hash(ProtobufCBinaryData column, const uint8_t hash[SHA256_SIZE])
{
	return column.len == SHA256_SIZE && secret_equal(column.data, hash, SHA256_SIZE);
}

enum status service_show_session(struct call *call, const Session__Rows__Session *row, Session__Session *ret_session)
{
	message_copy(&row->base, &ret_session->base);
	ret_session->id = call_bytes_id_text(call, "ses", row->session_id);
	ret_session->user_id = call_bytes_id_text(call, "usr", row->user_id);
	return ret_session->id && ret_session->user_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
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

enum status service_answer_tokens(struct call *call, const Session__Rows__Session *row,
                                  const struct refresh_token *token, const Claims__MintReply *access,
                                  Session__TokenReply *reply)
{
	struct session_state *state = call->run->state;
	char *text = arena_alloc(call->arena, REFRESH_TEXT_SIZE);

	reply->session = arena_alloc(call->arena, sizeof(*reply->session));
	if (!text || !reply->session)
		return ST_RESOURCE_EXHAUSTED;
	session__session__init(reply->session);
	refresh_format(&state->keys, &call->project, token, text);
	message_copy(&access->base, &reply->base);
	reply->refresh_token = text;
	reply->token_type = (char *)"Bearer";
	return service_show_session(call, row, reply->session);
}

enum status service_write(struct call *call, const struct db_stmt *stmt, const void *params, const struct packed *event,
                          int64_t *ret_rows)
{
	struct sql_scope scope = call_sql(call);
	struct db_blob blob = {event ? event->data : NULL, event ? event->len : 0};
	const struct db_effects effects = {.events = {&blob, event ? 1 : 0}, .revokes = event && event->revokes};

	scope.effects = &effects;
	if (event && !event->data)
		return ST_RESOURCE_EXHAUSTED;
	enum status status = sql_run(&scope, stmt, params, ret_rows);
	if (status == ST_OK && event && *ret_rows > 0)
		call_committed(call);
	return status;
}

enum status service_fill_event(struct call *call, const Session__Rows__Session *row, const char *reason,
                               Events__Event *ret_event)
{
	ret_event->subject = call_bytes_id_text(call, "ses", row->session_id);
	ret_event->user_id = call_bytes_id_text(call, "usr", row->user_id);
	ret_event->has_epoch = true;
	ret_event->epoch = row->epoch;
	ret_event->reason = (char *)reason;
	return ret_event->subject && ret_event->user_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

struct packed service_session_event(struct call *call, Events__EventType type, const Session__Rows__Session *row,
                                    const char *reason)
{
	Events__Event event = EVENTS__EVENT__INIT;

	event.has_type = true;
	event.type = type;
	if (service_fill_event(call, row, reason, &event) != ST_OK)
		return (struct packed){0};
	return call_event(call, &event);
}

/* ---- house-keeping: every replica purges; rows another one holds are skipped ---- */

enum status service_purge(struct sql_scope *scope, bool *ret_more)
{
	const struct sql_purge_session sessions = {PURGE_ROWS};
	const struct sql_purge_throttle counters = {PURGE_ROWS};
	const struct sql_purge_known_network networks = {PURGE_ROWS, RULES_KNOWN_US};
	const struct {
		const struct db_stmt *stmt;
		const void *params;
	} purges[] = {
	    {&sql_purge_session, &sessions}, {&sql_purge_throttle, &counters}, {&sql_purge_known_network, &networks}};
	bool more = false;
	int64_t rows;

	for (size_t i = 0; i < sizeof(purges) / sizeof(purges[0]); i++) {
		enum status status = sql_run(scope, purges[i].stmt, purges[i].params, &rows);
		if (status != ST_OK)
			return status;
		more = more || rows >= PURGE_ROWS;
	}
	*ret_more = more;
	return ST_OK;
}

static void purge(void *arg)
{
	struct process *run = arg;
	struct session_state *state = run->state;
	struct arena *arena = arena_new(1 << 20);
	bool more = arena;

	for (int round = 0; more && round < PURGE_ROUNDS_MAX; round++) {
		struct sql_scope scope = {.db = run->db, .arena = arena};
		enum status status = service_purge(&scope, &more);
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

	if (!state->purging)
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

const struct service session_service = {
    .name = "session",
    .handlers = session_handlers,
    .cfg_items = cfg_items,
    .migrations = session_migrations,
    .start = start,
};
