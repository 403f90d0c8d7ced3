/* Users: create, read, update, delete. */
#include "base/clock.h"
#include "identity_sql.gen.h"
#include "users/user.h"

/* ---- create ---- */

static enum status create_write(struct change *change, const Identity__Rows__User *user, int64_t schema_version)
{
	struct logins logins = user_logins(change->call->arena, user);
	Events__Event *event = user_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED, user);
	if (!logins.list || !event || user_event_fields(change, event, NULL, user) < 0)
		return ST_RESOURCE_EXHAUSTED;
	struct sql_user_create params = {.user = user,
	                                 .shard = user_shard(user),
	                                 .logins = {(const char *const *)logins.list, logins.count},
	                                 .schema_version = schema_version};
	enum status status = change_write(change, &sql_user_create, &params);
	return status == ST_ALREADY_EXISTS ? user_conflict(change, user) : status;
}

static enum status create_try(struct change *change)
{
	const Identity__CreateUserRequest *request = change->request;
	struct call *call = change->call;
	char **hash = change->arg; /* of the password, made once */
	Identity__Rows__User user;
	struct attributes schema;
	enum status status = identity_schema(call, change->attempt > 0, &schema);
	if (status == ST_OK)
		status = user_begin(call, clock_wall_us(), &user);
	if (status == ST_OK)
		status = user_apply(call, &request->base, &schema, &user);
	if (status == ST_OK && request->password && !*hash)
		status = identity_hash_password(call, "password", request->password, hash);
	if (status != ST_OK)
		return status;
	user_set_password(&user, *hash);
	status = user_derive(call, &user);
	if (status == ST_OK)
		status = user_fill(call, &user, change->reply);
	return status == ST_OK ? create_write(change, &user, schema.version) : status;
}

enum status h_create_user(struct call *call, const Identity__CreateUserRequest *request, Identity__User *reply)
{
	char *hash = NULL;
	return change_run(call, request, reply, create_try, &hash);
}

/* ---- read ---- */

enum status h_get_user(struct call *call, const Identity__GetUserRequest *request, Identity__User *reply)
{
	Identity__Rows__User *user;
	enum status status = user_find_shown(call, request->user_id, &user);
	return status == ST_OK ? user_fill(call, user, reply) : status;
}

/* ---- update ---- */

static enum status update_try(struct change *change)
{
	const Identity__UpdateUserRequest *request = change->request;
	struct call *call = change->call;
	char **hash = change->arg;
	struct user_step step = {.reply = change->reply};
	enum status status = user_step_begin(change, request->user_id, &step);
	if (status == ST_OK)
		status = user_apply(call, &request->base, &step.schema, step.after);
	if (status == ST_OK && request->password && !*hash)
		status = identity_hash_password(call, "password", request->password, hash);
	if (status != ST_OK)
		return status;
	if (*hash)
		user_set_password(step.after, *hash);
	return user_write(change, &step);
}

enum status h_update_user(struct call *call, const Identity__UpdateUserRequest *request, Identity__User *reply)
{
	char *hash = NULL;
	return change_run(call, request, reply, update_try, &hash);
}

/* ---- delete ---- */

static enum status delete_try(struct change *change)
{
	const Identity__DeleteUserRequest *request = change->request;
	Identity__Rows__User *before;
	enum status status = user_find_shown(change->call, request->user_id, &before);
	if (status == ST_OK)
		status = change_if_match(change, before->version);
	if (status != ST_OK)
		return status;
	Events__Event *event = user_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED, before);
	if (!event)
		return ST_RESOURCE_EXHAUSTED;
	event->version = before->version + 1;
	event->epoch = before->epoch + 1; /* above every token that was issued */
	struct sql_user_delete params = {.before = before, .shard = user_shard(before)};
	return change_write(change, &sql_user_delete, &params);
}

enum status h_delete_user(struct call *call, const Identity__DeleteUserRequest *request, Common__Empty *reply)
{
	return change_run(call, request, reply, delete_try, NULL);
}
