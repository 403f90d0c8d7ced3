/* Credentials and authorization, for the session service. */
#include "base/clock.h"
#include "base/log.h"
#include "base/login.h"
#include "record.h"
#include "rules.h"
#include "service.h"

#include <string.h>

static enum status authorization_reply(struct call *call, const struct user *user, Identity__Authorization *reply)
{
	reply->user_id = identity_id_text(call, "usr", &user->id);
	if (!reply->user_id)
		return ST_RESOURCE_EXHAUSTED;
	reply->has_status = true;
	reply->status = (Identity__UserStatus)user->status;
	reply->has_epoch = true;
	reply->epoch = user->epoch;
	reply->email = (char *)user->email;
	reply->has_email_verified = user->email != NULL;
	reply->email_verified = user->email_verified;
	reply->name = (char *)user->name;
	return ST_OK;
}

enum status h_get_authorization(struct call *call, const Identity__GetAuthorizationRequest *request,
                                Identity__Authorization *reply)
{
	struct store store = identity_store(call);
	struct id user_id;
	struct user user;
	if (!id_parse("usr", request->user_id, &user_id))
		return ST_NOT_FOUND;
	enum status status = store_user_show(&store, &user_id, &user);
	return status == ST_OK ? authorization_reply(call, &user, reply) : status;
}

/* ---- password ---- */

/* Checks the password of a user, or of nobody in the same time. */
static enum status password_check(struct call *call, const struct user *user, const char *password)
{
	struct identity_state *state = identity_state(call);
	const char *hash = user && user->password_hash ? user->password_hash : NULL;
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
static void password_renew(struct call *call, const struct user *user, const char *password)
{
	struct identity_state *state = identity_state(call);
	struct store store = identity_store(call);
	struct pool_request request = {
	    .project = call->project, .password = password, .deadline_us = call->deadline_us};
	struct pool_reply made = {0};
	if (!password_is_outdated(user->password_hash, &state->params) || strlen(password) < RULES_PASSWORD_MIN_BYTES)
		return;
	enum status status = pool_run(state->pool, &request, &made);
	if (status == ST_OK)
		status = store_user_rehash(&store, user, made.hash);
	if (status != ST_OK && status != ST_ABORTED)
		log_event(LOG_WARN, "a password hash could not be renewed", "status", status_name(status), NULL);
}

/* The first sign-in of an invited user makes it active. *user is the row as it is afterwards. */
static enum status user_activate(struct call *call, struct user *user)
{
	enum status status = ST_ABORTED;
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++) {
		struct store store = identity_store(call);
		struct store_user_write write = {.before = user, .shard = rules_shard(user->id.bytes)};
		struct attributes schema;
		struct user after = *user;
		Events__Event event;
		after.status = USER_ACTIVE;
		after.version++;
		after.updated_at_us = clock_wall_us();
		write.user = &after;
		write.search_text = record_search_text(call->arena, &after);
		if (!write.search_text)
			return ST_RESOURCE_EXHAUSTED;
		status = identity_schema(call, i > 0, &schema);
		if (status == ST_OK)
			status = record_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED, user, &after, &event);
		if (status == ST_OK)
			status = record_event_changes(call, user, &after, &event);
		if (status != ST_OK)
			return status;
		write.schema_version = schema.version;
		struct store_effects effects = identity_effects(call, NULL, &event);
		status = store_user_update(&store, &write, &effects);
		if (status == ST_OK)
			*user = after;
		if (status == ST_OK)
			call_committed(call);
		if (status == ST_ABORTED && store_user_get(&store, &user->id, user) != ST_OK)
			return ST_INVALID_CREDENTIALS; /* gone by now */
		if (status == ST_ABORTED && user->status != USER_INVITED)
			return ST_OK; /* another sign-in was faster, or it was disabled: the caller looks */
	}
	return status;
}

/* Whether what was found out about `user` holds for the row as it is now: a changed password moves the epoch, a renewed hash
 * does not. */
static bool user_unmoved(const struct user *user, const struct user *now)
{
	if (!id_equal(&user->id, &now->id))
		return false;
	return user->epoch == now->epoch ||
	       (user->password_hash && now->password_hash && strcmp(user->password_hash, now->password_hash) == 0);
}

/* The user with this canonical login id and this password, as the row is after the hash was computed, which takes its time: what
 * was revoked, disabled or changed meanwhile counts as done before. */
static enum status user_authenticate(struct call *call, const char *login, const char *password, struct user *ret_user)
{
	struct store store = identity_store(call);
	struct user user = {0}, now = {0};
	enum status status = store_user_by_login(&store, login, &user);
	for (int i = 0; i < IDENTITY_TRIES; i++) {
		if (status != ST_OK && status != ST_NOT_FOUND)
			return status;
		status = password_check(call, status == ST_OK ? &user : NULL, password);
		if (status != ST_OK)
			return status;
		if (user.status != USER_DISABLED)
			password_renew(call, &user, password);
		status = store_user_by_login(&store, login, &now);
		if (status == ST_OK && user_unmoved(&user, &now)) {
			*ret_user = now;
			return ST_OK;
		}
		user = now;
	}
	return ST_ABORTED;
}

enum status h_verify_password(struct call *call, const Identity__VerifyPasswordRequest *request,
                              Identity__Authorization *reply)
{
	char login[LOGIN_SIZE];
	struct user user;
	login_reason reason = login_canonical(request->login_id ? request->login_id : "", login);
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "login_id", "%s", reason);
	if (!request->password || !request->password[0] || strlen(request->password) > RULES_PASSWORD_MAX_BYTES)
		return call_fail(call, ST_INVALID_ARGUMENT, "password", "It has 1 to 1024 bytes");
	enum status status = user_authenticate(call, login, request->password, &user);
	if (status == ST_OK && user.status == USER_INVITED)
		status = user_activate(call, &user);
	if (status == ST_OK && user.status == USER_DISABLED)
		status = ST_ACCOUNT_DISABLED;
	return status == ST_OK ? authorization_reply(call, &user, reply) : status;
}

/* ---- revocation ---- */

static enum status revoke_try(struct call *call, const struct id *user_id, const char *reason,
                              Identity__RevokeTokensReply *reply)
{
	struct store store = identity_store(call);
	struct user user;
	Events__Event event;
	enum status status = store_user_show(&store, user_id, &user);
	if (status == ST_OK)
		status = record_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_SESSIONS_REVOKED, NULL, &user, &event);
	if (status != ST_OK)
		return status;
	event.epoch = user.epoch + 1;
	event.reason = (char *)reason;
	reply->has_epoch = true;
	reply->epoch = user.epoch + 1;
	struct store_effects effects = identity_effects(call, &reply->base, &event);
	return store_user_bump_epoch(&store, &user, &effects);
}

enum status h_revoke_tokens(struct call *call, const Identity__RevokeTokensRequest *request,
                            Identity__RevokeTokensReply *reply)
{
	struct id user_id;
	enum status status = ST_ABORTED;
	if (!id_parse("usr", request->user_id, &user_id))
		return ST_NOT_FOUND;
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++)
		status = revoke_try(call, &user_id, request->reason, reply);
	if (status == ST_OK)
		call_committed(call);
	return status;
}
