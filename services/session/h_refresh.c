/* RefreshSession: exchanges a refresh token for its successor and a new access token.
 *
 * Everything that may fail for long (authorization, signing) comes before the rotation. A client whose call fails holds a
 * token that is still current, and only a lost reply needs the 10 s in which the predecessor gets its successor again. */
#include "service.h"

#include <string.h>

#define ROTATE_TRIES 3

/* One presented token and what it turned out to be. */
struct refresh {
	struct store store;
	struct refresh_token token;
	uint8_t hash[SHA256_SIZE];
	struct session_row row;
	Claims__MintReply *access; /* NULL until the user was authorized */
};

static enum status end_family(struct call *call, struct refresh *refresh, Events__EventType type, const char *reason)
{
	struct session_state *state = call->run->state;
	bool reused = type == EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_REFRESH_REUSED;
	bool ended = false;
	enum status status;
	struct store_ending ending = {
	    .session = refresh->row.id,
	    .now_us = clock_wall_us(),
	    .reason = reason,
	    .event = service_session_event(call, type, &refresh->row, reason),
	};

	if (reused)
		status = store_end_reused(&refresh->store, &ending, refresh->hash, &ended);
	else
		status = store_end_session(&refresh->store, &ending, &ended);
	if (status != ST_OK)
		return status;
	if (ended) {
		call_committed(call);
		metric_add(state->reused, reused);
	}
	return ST_OK;
}

/* Ends the session for the reason and gives the refusal, or why it could not be ended. */
static enum status refuse(struct call *call, struct refresh *refresh, const char *reason, enum status refusal)
{
	enum status status = end_family(call, refresh, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_ENDED, reason);
	return status != ST_OK ? status : call_fail(call, refusal, "", "The session has ended");
}

/* Re-reads what the user may do and signs the access token for a session that will expire at expires_at_us. A user who may
 * nothing loses the session. */
static enum status authorize(struct call *call, struct refresh *refresh, int64_t expires_at_us)
{
	Identity__Authorization *auth = NULL;
	enum status status;

	if (refresh->access != NULL)
		return ST_OK;
	status = service_authorize(call, &refresh->row.user, &auth);
	if (status == ST_NOT_FOUND)
		return refuse(call, refresh, "user_deleted", ST_INVALID_TOKEN);
	if (status != ST_OK)
		return status;
	if (auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return refuse(call, refresh, "user_disabled", ST_ACCOUNT_DISABLED);
	if (refresh->row.epoch < auth->epoch)
		return refuse(call, refresh, "revoked", ST_INVALID_TOKEN);
	return service_mint(call, &refresh->row.id, expires_at_us, auth, &refresh->access);
}

/* ST_OK: *ret_next is the new current token. ST_ABORTED: another call was faster, look again. */
static enum status rotate(struct call *call, struct refresh *refresh, struct refresh_token *ret_next)
{
	const struct session_state *state = call->run->state;
	struct refresh_token next;
	bool rotated = false;
	int64_t now_us = clock_wall_us();
	struct store_rotation rotation = {
	    .session = refresh->row.id,
	    .epoch = refresh->row.epoch,
	    .now_us = now_us,
	    .expires_at_us = rules_expiry_us(now_us, state->idle_us, refresh->row.dies_at_us),
	};

	secret_random(rotation.salt, sizeof(rotation.salt));
	refresh_derive_next(&state->keys, &refresh->token, rotation.salt, &next);
	memcpy(rotation.presented_hash, refresh->hash, sizeof(rotation.presented_hash));
	refresh_hash(&next, rotation.next_hash);
	enum status status = store_rotate_token(&refresh->store, &rotation, &rotated);
	if (status == ST_OK && rotated) {
		*ret_next = next;
		refresh->row.last_used_at_us = now_us;
		refresh->row.expires_at_us = rotation.expires_at_us;
	}
	secret_wipe(&next, sizeof(next));
	/* Lost: the update may have happened. Looking again tells: then the token is the predecessor of our successor. */
	if (status == ST_LOST)
		return ST_ABORTED;
	if (status != ST_OK)
		return status;
	return rotated ? ST_OK : ST_ABORTED;
}

/* Derives the successor that the row already has. */
static enum status replay(struct call *call, struct refresh *refresh, struct refresh_token *ret_next)
{
	const struct session_state *state = call->run->state;
	struct refresh_token next;
	uint8_t hash[SHA256_SIZE];
	enum status status = ST_INVALID_TOKEN;

	refresh_derive_next(&state->keys, &refresh->token, refresh->row.salt, &next);
	refresh_hash(&next, hash);
	if (secret_equal(hash, refresh->row.current_hash, sizeof(hash))) {
		*ret_next = next;
		status = ST_OK;
	}
	secret_wipe(&next, sizeof(next));
	return status;
}

/* The session is over. The client of a disabled user hears why, whether this service or the ledger was faster. */
static enum status refuse_ended(struct call *call, const struct refresh *refresh, bool is_current)
{
	Identity__Authorization *auth = NULL;

	if (is_current && service_authorize(call, &refresh->row.user, &auth) == ST_OK &&
	    auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return call_fail(call, ST_ACCOUNT_DISABLED, "", "The session has ended");
	call->retry_after_ms = 0;
	return call_fail(call, ST_INVALID_TOKEN, "", "The session has ended");
}

/* first: false when another call was faster than this one before. A token that was current at the first look is not reused, even
 * when it has two successors by now (this process was frozen meanwhile); then only this call ends. */
static enum status exchange(struct call *call, struct refresh *refresh, bool first, struct refresh_token *ret_next)
{
	struct session_row *row = &refresh->row;
	enum status status = store_read_session(&refresh->store, &refresh->token.session, row);
	int64_t now_us = clock_wall_us();

	if (status == ST_NOT_FOUND)
		return ST_INVALID_TOKEN;
	if (status != ST_OK)
		return status;
	bool is_current = secret_equal(refresh->hash, row->current_hash, SHA256_SIZE);
	if (row->ended_at_us != 0 || row->expires_at_us <= now_us)
		return refuse_ended(call, refresh, is_current);
	bool is_previous = row->has_previous && secret_equal(refresh->hash, row->previous_hash, SHA256_SIZE);
	enum rules_token place = rules_place_token(is_current, is_previous, row->rotated_at_us, now_us);
	if (place == RULES_TOKEN_REUSED && !first)
		return call_fail(call, ST_INVALID_TOKEN, "", "The token was used at the same time");
	if (place == RULES_TOKEN_REUSED) {
		status =
		    end_family(call, refresh, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_REFRESH_REUSED, "refresh_reused");
		return status != ST_OK
		           ? status
		           : call_fail(call, ST_INVALID_TOKEN, "", "The token was used before; its session has ended");
	}
	if (place == RULES_TOKEN_REPLAYED) {
		status = authorize(call, refresh, row->expires_at_us);
		return status == ST_OK ? replay(call, refresh, ret_next) : status;
	}
	const struct session_state *state = call->run->state;
	status = authorize(call, refresh, rules_expiry_us(now_us, state->idle_us, row->dies_at_us));
	return status == ST_OK ? rotate(call, refresh, ret_next) : status;
}

enum status h_refresh_session(struct call *call, const Session__RefreshSessionRequest *request,
                              Session__TokenReply *reply)
{
	const struct session_state *state = call->run->state;
	struct refresh refresh = {.store = service_session_store(call)};
	struct refresh_token next = {0};
	enum status status;

	if (request->refresh_token == NULL || request->refresh_token[0] == '\0')
		return call_fail(call, ST_INVALID_ARGUMENT, "refresh_token", "Must be given");
	status = refresh_parse(&state->keys, &call->project, request->refresh_token, &refresh.token);
	if (status != ST_OK)
		return call_fail(call, status, "refresh_token", "Not a refresh token of this project");
	refresh_hash(&refresh.token, refresh.hash);
	status = ST_ABORTED;
	for (int i = 0; i < ROTATE_TRIES && status == ST_ABORTED; i++)
		status = exchange(call, &refresh, i == 0, &next);
	if (status == ST_OK)
		status = service_answer_tokens(call, &refresh.row, &next, refresh.access, reply);
	secret_wipe(&refresh.token, sizeof(refresh.token));
	secret_wipe(&next, sizeof(next));
	return status;
}

/* A token is believed for as long as it could be exchanged. Nothing is spent, and a spent one is only refused: whoever exchanges it is
 * judged. */
enum status h_resolve_refresh_token(struct call *call, const Session__ResolveRefreshTokenRequest *request,
                                    Session__ResolveRefreshTokenReply *reply)
{
	const struct session_state *state = call->run->state;
	struct refresh refresh = {.store = service_session_store(call)};
	struct session_row *row = &refresh.row;
	Identity__Authorization *auth = NULL;
	int64_t now_us = clock_wall_us();

	if (!request->refresh_token || request->refresh_token[0] == '\0')
		return call_fail(call, ST_INVALID_ARGUMENT, "refresh_token", "Must be given");
	enum status status = refresh_parse(&state->keys, &call->project, request->refresh_token, &refresh.token);
	if (status != ST_OK)
		return call_fail(call, status, "refresh_token", "Not a refresh token of this project");
	refresh_hash(&refresh.token, refresh.hash);
	status = store_read_session(&refresh.store, &refresh.token.session, row);
	secret_wipe(&refresh.token, sizeof(refresh.token));
	secret_wipe(request->refresh_token, strlen(request->refresh_token));
	if (status != ST_OK)
		return status == ST_NOT_FOUND ? ST_INVALID_TOKEN : status;
	bool is_current = secret_equal(refresh.hash, row->current_hash, SHA256_SIZE);
	bool is_previous = row->has_previous && secret_equal(refresh.hash, row->previous_hash, SHA256_SIZE);
	if (row->ended_at_us != 0 || row->expires_at_us <= now_us)
		return refuse_ended(call, &refresh, is_current);
	if (rules_place_token(is_current, is_previous, row->rotated_at_us, now_us) == RULES_TOKEN_REUSED)
		return call_fail(call, ST_INVALID_TOKEN, "", "The token was used before");
	status = service_authorize(call, &row->user, &auth);
	if (status == ST_NOT_FOUND || (status == ST_OK && row->epoch < auth->epoch))
		return call_fail(call, ST_INVALID_TOKEN, "", "The session has ended");
	if (status != ST_OK)
		return status;
	if (auth->status != IDENTITY__USER_STATUS__USER_STATUS_ACTIVE)
		return call_fail(call, ST_ACCOUNT_DISABLED, "", "The session has ended");
	reply->user_id = auth->user_id;
	reply->session_id = call_id_text(call, "ses", &row->id);
	return reply->session_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
