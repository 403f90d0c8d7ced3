/* RefreshSession: exchanges a refresh token for its successor and a new access token.
 *
 * Everything that may fail for long (authorization, signing) comes before the rotation. A client whose call fails holds a
 * token that is still current, and only a lost reply needs the 10 s in which the predecessor gets its successor again. */
#include "service.h"

#include <string.h>

#define ROTATE_TRIES 3

/* One presented token and what it turned out to be. */
struct refresh {
	struct refresh_token token;
	uint8_t hash[SHA256_SIZE];
	struct id user;
	Session__Rows__Session *row;
	Claims__MintReply *access; /* NULL until the user was authorized */
};

/* Reads the session of the token. */
static enum status find(struct call *call, struct refresh *refresh)
{
	enum status status = service_find_session(call, &refresh->token.session, &refresh->row);

	if (status == ST_OK)
		refresh->user = id_from_bytes(refresh->row->user_id);
	return status == ST_NOT_FOUND ? ST_INVALID_TOKEN : status;
}

static enum status end_reused(struct call *call, const struct refresh *refresh)
{
	struct session_state *state = call->run->state;
	int64_t now_us = clock_wall_us(), ended;
	const struct sql_session_end_reused params = {
	    .session_id = &refresh->token.session,
	    .reason = "refresh_reused",
	    .now_us = now_us,
	    .purge_at_us = rules_purge_us(now_us),
	    .presented = BLOB(refresh->hash),
	    .replay_us = now_us - RULES_REPLAY_WINDOW_US,
	};
	struct packed event = service_session_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_REFRESH_REUSED,
	                                            refresh->row, params.reason);
	enum status status = service_write(call, &sql_session_end_reused, &params, &event, &ended);

	if (status != ST_OK)
		return status;
	metric_add(state->reused, ended > 0);
	return call_fail(call, ST_INVALID_TOKEN, "", "The token was used before; its session has ended");
}

/* Ends the session for the reason and gives the refusal, or why it could not be ended. */
static enum status refuse(struct call *call, struct refresh *refresh, const char *reason, enum status refusal)
{
	int64_t now_us = clock_wall_us(), ended;
	const struct sql_session_close params = {.session_id = &refresh->token.session,
	                                         .reason = reason,
	                                         .now_us = now_us,
	                                         .purge_at_us = rules_purge_us(now_us)};
	struct packed event =
	    service_session_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, refresh->row, reason);
	enum status status = service_write(call, &sql_session_close, &params, &event, &ended);

	return status != ST_OK ? status : call_fail(call, refusal, "", "The session has ended");
}

/* Re-reads what the user may do and signs the access token for a session that will expire at expires_at_us. A user who may
 * nothing loses the session. */
static enum status authorize(struct call *call, struct refresh *refresh, int64_t expires_at_us)
{
	Identity__Authorization *auth = NULL;
	enum status status;

	if (refresh->access)
		return ST_OK;
	status = service_authorize(call, &refresh->user, &auth);
	if (status == ST_NOT_FOUND)
		return refuse(call, refresh, "user_deleted", ST_INVALID_TOKEN);
	if (status != ST_OK)
		return status;
	if (auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return refuse(call, refresh, "user_disabled", ST_ACCOUNT_DISABLED);
	if (refresh->row->epoch < auth->epoch)
		return refuse(call, refresh, "revoked", ST_INVALID_TOKEN);
	return service_mint(call, &refresh->token.session, expires_at_us, auth, &refresh->access);
}

/* ST_OK: *ret_next is the new current token. ST_ABORTED: another call was faster, look again. */
static enum status rotate(struct call *call, struct refresh *refresh, struct refresh_token *ret_next)
{
	const struct session_state *state = call->run->state;
	struct refresh_token next;
	uint8_t next_hash[SHA256_SIZE], salt[REFRESH_SALT_SIZE];
	int64_t now_us = clock_wall_us(), rotated = 0;
	int64_t expires_at_us = rules_expiry_us(now_us, state->idle_us, refresh->row->dies_at_us);

	secret_random(salt, sizeof(salt));
	refresh_derive_next(&state->keys, &refresh->token, salt, &next);
	refresh_hash(&next, next_hash);
	const struct sql_session_rotate params = {
	    .session_id = &refresh->token.session,
	    .presented = BLOB(refresh->hash),
	    .next = BLOB(next_hash),
	    .salt = BLOB(salt),
	    .now_us = now_us,
	    .expires_at_us = expires_at_us,
	    .purge_at_us = rules_purge_us(expires_at_us),
	    .epoch = refresh->row->epoch,
	};
	enum status status = call_execute(call, &sql_session_rotate, &params, &rotated);
	if (status == ST_OK && rotated > 0) {
		*ret_next = next;
		refresh->row->last_used_at_us = now_us;
		refresh->row->expires_at_us = expires_at_us;
	}
	secret_wipe(&next, sizeof(next));
	/* Lost: the update may have happened. Looking again tells: then the token is the predecessor of our successor. */
	if (status == ST_LOST)
		return ST_ABORTED;
	if (status != ST_OK)
		return status;
	return rotated > 0 ? ST_OK : ST_ABORTED;
}

/* Derives the successor that the row already has. */
static enum status replay(struct call *call, struct refresh *refresh, struct refresh_token *ret_next)
{
	const struct session_state *state = call->run->state;
	struct refresh_token next;
	uint8_t hash[SHA256_SIZE];
	enum status status = ST_INVALID_TOKEN;

	refresh_derive_next(&state->keys, &refresh->token, refresh->row->salt.data, &next);
	refresh_hash(&next, hash);
	if (service_is_hash(refresh->row->current_hash, hash)) {
		*ret_next = next;
		status = ST_OK;
	}
	secret_wipe(&next, sizeof(next));
	return status;
}

/* The session is over. The client of a disabled user hears why, whether this service or the ledger was faster. */
static enum status refuse_ended(struct call *call, const struct refresh *refresh)
{
	Identity__Authorization *auth = NULL;

	if (service_is_hash(refresh->row->current_hash, refresh->hash) &&
	    service_authorize(call, &refresh->user, &auth) == ST_OK &&
	    auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return call_fail(call, ST_ACCOUNT_DISABLED, "", "The session has ended");
	call->retry_after_ms = 0;
	return call_fail(call, ST_INVALID_TOKEN, "", "The session has ended");
}

static enum rules_token place(const struct refresh *refresh, int64_t now_us)
{
	const Session__Rows__Session *row = refresh->row;

	return rules_place_token(service_is_hash(row->current_hash, refresh->hash),
	                         service_is_hash(row->previous_hash, refresh->hash), row->rotated_at_us, now_us);
}

/* first: false when another call was faster than this one before. A token that was current at the first look is not reused, even
 * when it has two successors by now (this process was frozen meanwhile); then only this call ends. */
static enum status exchange(struct call *call, struct refresh *refresh, bool first, struct refresh_token *ret_next)
{
	const struct session_state *state = call->run->state;
	int64_t now_us = clock_wall_us();
	enum status status = find(call, refresh);

	if (status != ST_OK)
		return status;
	if (service_session_is_over(refresh->row, now_us))
		return refuse_ended(call, refresh);
	switch (place(refresh, now_us)) {
	case RULES_TOKEN_REUSED:
		return first ? end_reused(call, refresh)
		             : call_fail(call, ST_INVALID_TOKEN, "", "The token was used at the same time");
	case RULES_TOKEN_REPLAYED:
		status = authorize(call, refresh, refresh->row->expires_at_us);
		return status == ST_OK ? replay(call, refresh, ret_next) : status;
	default:
		status = authorize(call, refresh, rules_expiry_us(now_us, state->idle_us, refresh->row->dies_at_us));
		return status == ST_OK ? rotate(call, refresh, ret_next) : status;
	}
}

/* Reads the token of a request. */
static enum status present(struct call *call, const char *text, struct refresh *refresh)
{
	const struct session_state *state = call->run->state;

	if (!text || !text[0])
		return call_fail(call, ST_INVALID_ARGUMENT, "refresh_token", "Must be given");
	enum status status = refresh_parse(&state->keys, &call->project, text, &refresh->token);
	if (status != ST_OK)
		return call_fail(call, status, "refresh_token", "Not a refresh token of this project");
	refresh_hash(&refresh->token, refresh->hash);
	return ST_OK;
}

enum status h_refresh_session(struct call *call, const Session__RefreshSessionRequest *request,
                              Session__TokenReply *reply)
{
	struct refresh refresh = {0};
	struct refresh_token next = {0};
	enum status status = present(call, request->refresh_token, &refresh);

	if (status != ST_OK)
		return status;
	status = ST_ABORTED;
	for (int i = 0; i < ROTATE_TRIES && status == ST_ABORTED; i++)
		status = exchange(call, &refresh, i == 0, &next);
	if (status == ST_OK)
		status = service_answer_tokens(call, refresh.row, &next, refresh.access, reply);
	secret_wipe(&refresh.token, sizeof(refresh.token));
	secret_wipe(&next, sizeof(next));
	return status;
}

/* A token is believed for as long as it could be exchanged. Nothing is spent, and a spent one is only refused: whoever exchanges it is
 * judged. */
enum status h_resolve_refresh_token(struct call *call, const Session__ResolveRefreshTokenRequest *request,
                                    Session__ResolveRefreshTokenReply *reply)
{
	struct refresh refresh = {0};
	Identity__Authorization *auth = NULL;
	int64_t now_us = clock_wall_us();
	enum status status = present(call, request->refresh_token, &refresh);

	if (status == ST_OK)
		status = find(call, &refresh);
	secret_wipe(refresh.token.secret, sizeof(refresh.token.secret));
	if (status != ST_OK)
		return status;
	if (service_session_is_over(refresh.row, now_us))
		return refuse_ended(call, &refresh);
	if (place(&refresh, now_us) == RULES_TOKEN_REUSED)
		return call_fail(call, ST_INVALID_TOKEN, "", "The token was used before");
	status = service_authorize(call, &refresh.user, &auth);
	if (status == ST_NOT_FOUND || (status == ST_OK && refresh.row->epoch < auth->epoch))
		return call_fail(call, ST_INVALID_TOKEN, "", "The session has ended");
	if (status != ST_OK)
		return status;
	if (auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return call_fail(call, ST_ACCOUNT_DISABLED, "", "The session has ended");
	reply->user_id = auth->user_id;
	reply->session_id = call_id_text(call, "ses", &refresh.token.session);
	return reply->session_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
