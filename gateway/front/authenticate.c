/* Verification of credentials, by a table of their kinds. */
#include "front/authenticate.h"

#include "base/token.h"
#include "calls/upstream.h"
#include "dialects/dialect.h"
#include "front/gateway.h"
#include "session.pb-c.h"

#include <string.h>

static enum status verify_key(struct exchange *exchange, const struct credential *credential)
{
	return authn_check(exchange->gateway->authn, exchange, credential);
}

static enum status verify_access(struct exchange *exchange, const struct credential *credential)
{
	struct caller *caller = &exchange->caller;
	char kid[TOKEN_KID_SIZE];
	struct token_state state;
	struct buf answer = {0};
	if (!credential->project &&
	    token_peek(credential->text, strlen(credential->text), &caller->project, kid) != ST_OK)
		return ST_INVALID_TOKEN;
	enum status status = token_check(exchange->gateway->tokens, exchange, credential->text, &state, &answer);
	buf_free(&answer);
	if (status != ST_OK)
		return status;
	id_format("usr", &state.user, caller->id);
	caller->session = state.session;
	memcpy(caller->impersonator, state.actor, sizeof(state.actor));
	return ST_OK;
}

/* Only the project's session service can tell whose it is. */
static enum status verify_refresh(struct exchange *exchange, const struct credential *credential)
{
	Session__ResolveRefreshTokenRequest request = SESSION__RESOLVE_REFRESH_TOKEN_REQUEST__INIT;
	struct caller *caller = &exchange->caller;
	ProtobufCMessage *reply = NULL;
	if (!credential->project)
		return ST_INVALID_TOKEN;
	request.refresh_token = (char *)credential->text;
	enum status status = upstream_send(exchange, M_SESSION_RESOLVE_REFRESH_TOKEN, &request.base, &reply);
	if (status != ST_OK)
		return status;
	const Session__ResolveRefreshTokenReply *found = (const Session__ResolveRefreshTokenReply *)reply;
	if (!found->user_id || strlen(found->user_id) >= sizeof(caller->id) ||
	    !id_parse("ses", found->session_id, &caller->session))
		return ST_INVALID_TOKEN;
	memcpy(caller->id, found->user_id, strlen(found->user_id) + 1);
	return ST_OK;
}

static const struct {
	enum caller_kind gives;
	/* Fills caller->id and what belongs to it. caller->project is that of the credential, if it names one. */
	enum status (*verify)(struct exchange *exchange, const struct credential *credential);
} verifiers[CREDENTIAL_KINDS] = {
    [CREDENTIAL_KEY] = {CALLER_KEY, verify_key},
    [CREDENTIAL_CLIENT] = {CALLER_CLIENT, verify_key},
    [CREDENTIAL_ACCESS] = {CALLER_USER, verify_access},
    [CREDENTIAL_REFRESH] = {CALLER_USER, verify_refresh},
};

static enum status authenticate_run(struct exchange *exchange)
{
	struct caller *caller = &exchange->caller;
	struct credential credential = {0};
	struct id project = {0};
	bool found = exchange->mount->dialect->credential(exchange, &credential);
	enum caller_kind kind = verifiers[credential.kind].gives;
	if (!found || kind == CALLER_NOBODY || !(exchange->route->row.accepts & CALLER_BIT(kind)))
		return ST_UNAUTHENTICATED;
	if (credential.project && !id_parse("prj", credential.project, &project))
		return ST_UNAUTHENTICATED;
	caller->project = project;
	enum status status = verifiers[credential.kind].verify(exchange, &credential);
	if (status != ST_OK)
		return status;
	caller->kind = kind;
	return !credential.project || id_equal(&project, &caller->project) ? ST_OK : ST_UNAUTHENTICATED;
}

enum status authenticate(struct exchange *exchange)
{
	enum status status = authenticate_run(exchange);
	if (status == ST_OK)
		return ST_OK;
	exchange->caller = (struct caller){0};
	return exchange->failure.status == status ? status : http_fail(exchange, status, NULL, NULL);
}
