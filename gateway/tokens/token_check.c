/* The check of access tokens. */
#include "tokens/token_check.h"

#include "base/clock.h"
#include "base/token.h"
#include "calls/upstream.h"
#include "gateway.pb-c.h"
#include "ledger/follow.h"
#include "session.pb-c.h"
#include "tokens/keyset.h"
#include "json/jvalue.h"

#include <stdlib.h>
#include <string.h>

struct token_checker {
	const char *issuer;
	int64_t lifetime_sec;
	struct revocation *revocation;
	struct follow *follow;
	struct keysets *keysets;
	struct token_cache *tokens;
};

struct token_checker *token_checker_new(const char *issuer, int64_t lifetime_sec, struct revocation *revocation,
                                        struct keysets *keysets)
{
	struct token_checker *checker = calloc(1, sizeof(*checker));
	if (!checker)
		return NULL;
	checker->issuer = issuer;
	checker->lifetime_sec = lifetime_sec;
	checker->revocation = revocation;
	checker->keysets = keysets;
	checker->tokens = token_cache_new();
	if (!checker->tokens)
		token_checker_free(&checker);
	return checker;
}

void token_checker_free(struct token_checker **checker)
{
	if (!*checker)
		return;
	token_cache_free(&(*checker)->tokens);
	free(*checker);
	*checker = NULL;
}

void token_checker_follow(struct token_checker *checker, struct follow *follow)
{
	checker->follow = follow;
}

void token_checker_forget_keys(struct token_checker *checker, const struct id *project)
{
	keysets_forget(checker->keysets, project);
	token_cache_forget(checker->tokens, project);
}

/* The reply of a valid token, as it is cached and sent. */
static void token_print(const struct token_claims *claims, struct buf *out)
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

void token_read_actor(const char *payload, struct arena *arena, char ret_actor[ID_TEXT_SIZE])
{
	const struct jvalue *root = NULL;
	struct pbjson_error error = {0};
	ret_actor[0] = '\0';
	if (!strstr(payload, "\"act\"") || jvalue_read(payload, strlen(payload), arena, &root, &error) != ST_OK)
		return;
	const struct jvalue *actor = jvalue_get(jvalue_get(root, "act"), "sub");
	if (actor && actor->kind == JVALUE_STRING && actor->len < ID_TEXT_SIZE)
		memcpy(ret_actor, actor->text, actor->len + 1);
}

/* Checks a token that is not cached. ST_INVALID_TOKEN = inactive; other failures leave it undecided. */
static enum status token_verify_new(struct token_checker *checker, struct exchange *exchange, const char *token,
                                    bool live, struct token_claims *ret_claims)
{
	struct id project;
	char kid[TOKEN_KID_SIZE];
	struct keysets_want want = {.kid = kid, .now = !live};
	size_t len = strlen(token);
	enum status status = token_peek(token, len, &project, kid);
	if (status != ST_OK || !id_equal(&project, &exchange->caller.project))
		return ST_INVALID_TOKEN;
	struct keyset *keys = NULL;
	status = keysets_get(checker->keysets, exchange, &want, &keys);
	if (status != ST_OK)
		return status == ST_NOT_FOUND ? ST_INVALID_TOKEN : status;
	status = token_verify(token, len, checker->issuer, clock_wall_us() / US_PER_SEC, keyset_find, keys,
	                      exchange->arena, ret_claims);
	keyset_release(&keys);
	/* It would outlive the memory of its revocation: claims and this gateway are configured differently. */
	if (status == ST_OK && ret_claims->expires_at_sec - ret_claims->issued_at_sec > checker->lifetime_sec)
		return ST_INVALID_TOKEN;
	return status;
}

/* Fills state and the answer from cache or by verification. While the ledger is not followed, nothing tells that a key was withdrawn: then
 * each signature is checked anew. */
static enum status token_read(struct token_checker *checker, struct exchange *exchange, const char *token,
                              struct token_state *ret_state, struct buf *out)
{
	uint8_t hash[SHA256_SIZE];
	struct token_claims claims;
	bool live = follow_live(checker->follow);
	uint64_t generation = token_cache_generation(checker->tokens);
	secret_sha256(token, strlen(token), hash);
	if (live && token_cache_get(checker->tokens, hash, &exchange->caller.project, ret_state, out))
		return ST_OK;
	enum status status = token_verify_new(checker, exchange, token, live, &claims);
	if (status != ST_OK)
		return status;
	token_print(&claims, out);
	*ret_state = (struct token_state){.project = claims.project,
	                                  .user = claims.user,
	                                  .session = claims.session,
	                                  .epoch = claims.epoch,
	                                  .expires_at_sec = claims.expires_at_sec,
	                                  .generation = generation};
	token_read_actor(claims.payload, exchange->arena, ret_state->actor);
	token_cache_put(checker->tokens, hash, ret_state, out);
	return ST_OK;
}

/* The feed is silent or the memory overflowed: the session service knows. */
static enum status token_ask_session(struct exchange *exchange, const struct token_state *state)
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

enum status token_check(struct token_checker *checker, struct exchange *exchange, const char *token,
                        struct token_state *ret_state, struct buf *out)
{
	enum status status = token_read(checker, exchange, token, ret_state, out);
	if (status != ST_OK)
		return status;
	if (revocation_hit(checker->revocation, &ret_state->user, &ret_state->session, ret_state->epoch))
		return ST_INVALID_TOKEN;
	if (follow_live(checker->follow) && revocation_complete(checker->revocation))
		return ST_OK;
	return token_ask_session(exchange, ret_state);
}
