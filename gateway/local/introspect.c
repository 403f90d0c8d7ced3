/* POST /v1/tokens/introspect (RFC 7662), answered here: signature once per token, revocation on every call. */
#include "local/local.h"

#include "base/clock.h"
#include "base/token.h"
#include "front/keyset.h"
#include "front/token_cache.h"
#include "front/upstream.h"
#include "gateway.pb-c.h"
#include "session.pb-c.h"
#include "json/pbjson.h"

#include <stdlib.h>
#include <string.h>

struct introspect {
	struct gateway *gateway;
	struct token_cache *tokens;
};

struct introspect *introspect_new(struct gateway *gateway)
{
	struct introspect *introspect = calloc(1, sizeof(*introspect));
	if (introspect == NULL)
		return NULL;
	introspect->gateway = gateway;
	introspect->tokens = token_cache_new();
	if (!introspect->tokens)
		introspect_free(&introspect);
	return introspect;
}

void introspect_free(struct introspect **introspect)
{
	if (*introspect == NULL)
		return;
	token_cache_free(&(*introspect)->tokens);
	free(*introspect);
	*introspect = NULL;
}

void introspect_forget_keys(struct introspect *introspect, const struct id *project)
{
	keysets_forget(introspect->gateway->keysets, project);
	token_cache_forget(introspect->tokens, project);
}

/* The reply of a valid token, as it is cached and sent. */
static void introspect_print(const struct token_claims *claims, struct buf *out)
{
	Gateway__IntrospectReply reply = GATEWAY__INTROSPECT_REPLY__INIT;
	char user[ID_TEXT_SIZE], session[ID_TEXT_SIZE];
	id_format("usr", &claims->user, user);
	id_format("ses", &claims->session, session);
	reply.has_active = 1;
	reply.active = 1;
	reply.sub = user;
	reply.sid = session;
	reply.iss = (char *)claims->issuer;
	reply.aud = (char *)claims->audience;
	reply.has_exp = 1;
	reply.exp = claims->expires_at_sec;
	reply.has_iat = 1;
	reply.iat = claims->issued_at_sec;
	reply.token_type = (char *)"Bearer";
	reply.claims_json = (char *)claims->payload;
	pbjson_print(&reply.base, out);
}

/* Checks a token that is not cached. ST_INVALID_TOKEN = inactive; other failures leave it undecided. */
static enum status introspect_verify(struct introspect *introspect, struct exchange *exchange, const char *token,
                                     bool live, struct token_claims *ret_claims)
{
	struct id project;
	char kid[TOKEN_KID_SIZE];
	struct keysets_want want = {.kid = kid, .now = !live};
	size_t len = strlen(token);
	enum status status = token_peek(token, len, &project, kid);
	if (status != ST_OK || !id_equal(&project, &exchange->principal.project))
		return ST_INVALID_TOKEN;
	struct keyset *keys = NULL;
	status = keysets_get(introspect->gateway->keysets, exchange, &want, &keys);
	if (status != ST_OK)
		return status == ST_NOT_FOUND ? ST_INVALID_TOKEN : status;
	status = token_verify(token, len, introspect->gateway->issuer, clock_wall_us() / US_PER_SEC, keyset_find, keys,
	                      exchange->arena, ret_claims);
	keyset_release(&keys);
	/* It would outlive the memory of its revocation: claims and this gateway are configured differently. */
	if (status == ST_OK &&
	    ret_claims->expires_at_sec - ret_claims->issued_at_sec > introspect->gateway->token_lifetime_sec)
		return ST_INVALID_TOKEN;
	return status;
}

/* Fills state and the answer's body from cache or by verification. While the ledger is not followed, nothing tells that a key was
 * withdrawn: then each signature is checked anew. */
static enum status introspect_state(struct introspect *introspect, struct exchange *exchange, const char *token,
                                    struct token_state *ret_state)
{
	uint8_t hash[SHA256_SIZE];
	struct token_claims claims;
	struct buf *body = &exchange->response.body;
	bool live = follow_live(introspect->gateway->follow);
	uint64_t generation = token_cache_generation(introspect->tokens);
	secret_sha256(token, strlen(token), hash);
	if (live && token_cache_get(introspect->tokens, hash, &exchange->principal.project, ret_state, body))
		return ST_OK;
	enum status status = introspect_verify(introspect, exchange, token, live, &claims);
	if (status != ST_OK)
		return status;
	introspect_print(&claims, body);
	*ret_state = (struct token_state){.project = claims.project,
	                                  .user = claims.user,
	                                  .session = claims.session,
	                                  .epoch = claims.epoch,
	                                  .expires_at_sec = claims.expires_at_sec,
	                                  .generation = generation};
	token_cache_put(introspect->tokens, hash, ret_state, body);
	return ST_OK;
}

/* The feed is silent or the memory overflowed: the session service knows. */
static enum status introspect_ask_session(struct exchange *exchange, const struct token_state *state)
{
	Session__CheckSessionRequest request = SESSION__CHECK_SESSION_REQUEST__INIT;
	ProtobufCMessage *reply = NULL;
	char session[ID_TEXT_SIZE];
	id_format("ses", &state->session, session);
	request.session_id = session;
	request.has_epoch = 1;
	request.epoch = state->epoch;
	enum status status = upstream_send(exchange, M_SESSION_CHECK_SESSION, &request.base, &reply);
	if (status == ST_NOT_FOUND)
		return ST_INVALID_TOKEN;
	if (status != ST_OK)
		return status;
	return ((const Session__CheckSessionReply *)reply)->active ? ST_OK : ST_INVALID_TOKEN;
}

static enum status introspect_revoked(struct gateway *gateway, struct exchange *exchange,
                                      const struct token_state *state)
{
	if (revocation_hit(gateway->revocation, &state->user, &state->session, state->epoch))
		return ST_INVALID_TOKEN;
	if (follow_live(gateway->follow) && revocation_complete(gateway->revocation))
		return ST_OK;
	return introspect_ask_session(exchange, state);
}

static enum status introspect_run(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	ProtobufCMessage *message = NULL;
	struct token_state state;
	enum status status = exchange->route->row.map_in(exchange, &message);
	if (status != ST_OK)
		return status;
	const char *token = ((const Gateway__IntrospectRequest *)message)->token;
	if (token == NULL || token[0] == '\0')
		return http_fail(exchange, ST_INVALID_ARGUMENT, "token", "The token to check is missing");
	status = introspect_state(gateway->introspect, exchange, token, &state);
	if (status == ST_OK)
		status = introspect_revoked(gateway, exchange, &state);
	return status;
}

void introspect_serve(struct exchange *exchange)
{
	enum status status = introspect_run(exchange);
	if (status == ST_INVALID_TOKEN) {
		Gateway__IntrospectReply inactive = GATEWAY__INTROSPECT_REPLY__INIT;
		inactive.has_active = 1;
		buf_reset(&exchange->response.body);
		pbjson_print(&inactive.base, &exchange->response.body);
		exchange->failure = (struct failure){0};
		status = ST_OK;
	}
	if (status == ST_OK) {
		exchange->response.status = 200;
		exchange->response.content_type = "application/json";
	} else if (exchange->failure.status == ST_OK) {
		(void)http_fail(exchange, status, NULL, NULL);
	}
}
