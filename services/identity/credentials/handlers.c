/* Credentials and authorization, for the session service. */
#include "base/clock.h"
#include "base/log.h"
#include "base/login.h"
#include "identity_sql.gen.h"
#include "rules.h"
#include "users/user.h"
#include "json/message.h"

#include <string.h>

#define CREDENTIAL_BYTES 16
#define TRIES 3 /* how often a sign-in that was overtaken looks again */

static enum status authorization_fill(struct call *call, const Identity__Rows__User *user,
                                      Identity__Authorization *reply)
{
	message_copy(&user->base, &reply->base);
	reply->user_id = call_bytes_id_text(call, "usr", user->user_id);
	reply->has_email_verified = !!user->email;
	return reply->user_id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* The user with this canonical login id; NULL when there is none. */
static enum status user_of_login(struct call *call, const char *login, Identity__Rows__User **ret_user)
{
	struct sql_user_by_login_row found;
	enum status status = call_one(call, &sql_user_by_login, &(struct sql_user_by_login){.login = login}, &found);
	if (status != ST_OK && status != ST_NOT_FOUND)
		return status;
	*ret_user = status == ST_OK ? found.user : NULL;
	return ST_OK;
}

/* With what stands for the password without telling it: failed sign-ins are counted by it. */
static enum status authorization_by_login(struct call *call, const char *login_id, Identity__Authorization *reply)
{
	char login[LOGIN_SIZE];
	uint8_t hash[SHA256_SIZE];
	Identity__Rows__User *user;
	if (login_canonical(login_id, login))
		return ST_NOT_FOUND;
	enum status status = user_of_login(call, login, &user);
	if (status == ST_OK)
		status = user ? authorization_fill(call, user, reply) : ST_NOT_FOUND;
	if (status != ST_OK || !user->password_hash)
		return status;
	secret_sha256(user->password_hash, strlen(user->password_hash), hash);
	reply->has_credential = true;
	reply->credential.len = CREDENTIAL_BYTES;
	reply->credential.data = arena_memdup(call->arena, hash, CREDENTIAL_BYTES);
	return reply->credential.data ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

enum status h_get_authorization(struct call *call, const Identity__GetAuthorizationRequest *request,
                                Identity__Authorization *reply)
{
	Identity__Rows__User *user;
	if (request->login_id)
		return authorization_by_login(call, request->login_id, reply);
	enum status status = user_find_shown(call, request->user_id, &user);
	return status == ST_OK ? authorization_fill(call, user, reply) : status;
}

/* ---- password ---- */

/* Checks the password of a user, or of nobody in the same time. */
static enum status password_check(struct call *call, const Identity__Rows__User *user, const char *password)
{
	struct identity_state *state = identity_state(call);
	const char *hash = user ? user->password_hash : NULL;
	struct pool_request request = {.project = call->project,
	                               .password = password,
	                               .hash = hash ? hash : state->dummy_hash,
	                               .deadline_us = call->deadline_us};
	struct pool_reply result = {0};
	enum status status = pool_run(state->pool, &request, &result);
	if (status == ST_RESOURCE_EXHAUSTED)
		call->retry_after_ms = result.retry_after_ms;
	return status == ST_OK && !hash ? ST_INVALID_CREDENTIALS : status;
}

/* Replaces a hash of other parameters while the password is at hand. Best effort: the sign-in does not depend on it. */
static void password_renew(struct call *call, const Identity__Rows__User *user, const char *password)
{
	struct identity_state *state = identity_state(call);
	struct pool_request request = {
	    .project = call->project, .password = password, .deadline_us = call->deadline_us};
	struct pool_reply made = {0};
	int64_t rows;
	if (!password_is_outdated(user->password_hash, &state->params) || strlen(password) < RULES_PASSWORD_MIN_BYTES)
		return;
	enum status status = pool_run(state->pool, &request, &made);
	if (status == ST_OK)
		status = call_execute(call, &sql_user_rehash,
		                      &(struct sql_user_rehash){.user = user, .new_hash = made.hash}, &rows);
	if (status != ST_OK)
		log_event(LOG_WARN, "a password hash could not be renewed", "status", status_name(status), NULL);
}

/* Whether what was found out about `user` holds for the row as it is now: a changed password moves the epoch, a renewed hash
 * does not. */
static bool user_unmoved(const Identity__Rows__User *user, const Identity__Rows__User *now)
{
	if (!user || memcmp(user->user_id.data, now->user_id.data, ID_SIZE) != 0)
		return false;
	return user->epoch == now->epoch ||
	       (user->password_hash && now->password_hash && strcmp(user->password_hash, now->password_hash) == 0);
}

/* The user with this canonical login id and this password, as the row is after the hash was computed, which takes its time: what
 * was revoked, disabled or changed meanwhile counts as done before. */
static enum status user_authenticate(struct call *call, const char *login, const char *password,
                                     Identity__Rows__User **ret_user)
{
	Identity__Rows__User *user, *now;
	enum status status = user_of_login(call, login, &user);
	for (int i = 0; i < TRIES && status == ST_OK; i++) {
		status = password_check(call, user, password);
		if (status != ST_OK)
			return status;
		if (user->status != USER_DISABLED)
			password_renew(call, user, password);
		status = user_of_login(call, login, &now);
		if (status == ST_OK && now && user_unmoved(user, now)) {
			*ret_user = now;
			return ST_OK;
		}
		user = now;
	}
	return status == ST_OK ? ST_ABORTED : status;
}

enum status h_verify_password(struct call *call, const Identity__VerifyPasswordRequest *request,
                              Identity__Authorization *reply)
{
	char login[LOGIN_SIZE];
	Identity__Rows__User *user;
	login_reason reason = login_canonical(request->login_id ? request->login_id : "", login);
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "login_id", "%s", reason);
	if (!request->password || !request->password[0] || strlen(request->password) > RULES_PASSWORD_MAX_BYTES)
		return call_fail(call, ST_INVALID_ARGUMENT, "password", "It has 1 to 1024 bytes");
	enum status status = user_authenticate(call, login, request->password, &user);
	if (status != ST_OK)
		return status;
	return user->status == USER_DISABLED ? ST_ACCOUNT_DISABLED : authorization_fill(call, user, reply);
}

/* ---- the first sign-in ---- */

static enum status activate_try(struct change *change)
{
	const Identity__ActivateUserRequest *request = change->request;
	struct user_step step = {0};
	enum status status = user_step_begin(change, request->user_id, &step);
	if (status != ST_OK)
		return status;
	if (step.before->status != USER_INVITED)
		return step.before->status == USER_DISABLED ? ST_ACCOUNT_DISABLED : ST_OK;
	step.after->status = USER_ACTIVE;
	return user_write(change, &step);
}

enum status h_activate_user(struct call *call, const Identity__ActivateUserRequest *request, Common__Empty *reply)
{
	return change_run(call, request, reply, activate_try, NULL);
}

/* ---- revocation ---- */

static enum status revoke_try(struct change *change)
{
	const Identity__RevokeTokensRequest *request = change->request;
	Identity__RevokeTokensReply *reply = change->reply;
	Identity__Rows__User *before;
	enum status status = user_find_shown(change->call, request->user_id, &before);
	if (status != ST_OK)
		return status;
	Events__Event *event = user_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_SESSIONS_REVOKED, before);
	if (!event)
		return ST_RESOURCE_EXHAUSTED;
	event->epoch = before->epoch + 1;
	event->reason = request->reason;
	reply->has_epoch = true;
	reply->epoch = before->epoch + 1;
	return change_write(change, &sql_user_bump_epoch, &(struct sql_user_bump_epoch){.before = before});
}

enum status h_revoke_tokens(struct call *call, const Identity__RevokeTokensRequest *request,
                            Identity__RevokeTokensReply *reply)
{
	return change_run(call, request, reply, revoke_try, NULL);
}
