/* Users: create, read, update, delete. */
#include "base/clock.h"
#include "record.h"
#include "rules.h"
#include "service.h"

#include <string.h>

/* Whether another user has the e-mail address that a write wanted. */
static bool email_is_taken(struct call *call, const struct user *user)
{
	struct store store = identity_store(call);
	struct user_lookup lookup = {.logins = &user->email, .login_count = user->email ? 1 : 0};
	struct id none = {0};
	struct import_found found;
	return user->email && store_import_find(&store, &lookup, &none, &found) == ST_OK && found.count > 0 &&
	       !id_equal(&found.matches[0].user, &user->id);
}

/* Says which field a unique value that is taken belongs to. Other failures pass. */
static enum status user_conflict(struct call *call, const struct store *store, const struct user *user)
{
	if (!store->conflict)
		return ST_ALREADY_EXISTS;
	if (strcmp(store->conflict, "users_external_id") == 0)
		return call_fail(call, ST_ALREADY_EXISTS, "external_id", "A user with this external id exists");
	if (strcmp(store->conflict, "login_id_pkey") != 0)
		return ST_ALREADY_EXISTS;
	if (email_is_taken(call, user))
		return call_fail(call, ST_ALREADY_EXISTS, "email", "A user with this e-mail address exists");
	return call_fail(call, ST_ALREADY_EXISTS, "login_ids", "A user with one of these login ids exists");
}

/* ---- create ---- */

static enum status user_prepare_write(struct call *call, const struct user *user, struct store_user_write *ret_write)
{
	ret_write->user = user;
	ret_write->shard = rules_shard(user->id.bytes);
	ret_write->search_text = record_search_text(call->arena, user);
	struct logins logins = record_logins(call->arena, user);
	ret_write->logins_added = logins.list;
	ret_write->logins_added_count = logins.count;
	return ret_write->search_text && ret_write->logins_added ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static enum status user_insert(struct call *call, const struct user *user, int64_t schema_version,
                               Identity__User *reply)
{
	struct store_user_write write = {.schema_version = schema_version};
	struct store store = identity_store(call);
	Events__Event event;
	enum status status = user_prepare_write(call, user, &write);
	if (status == ST_OK)
		status = record_reply(call, user, reply);
	if (status == ST_OK)
		status = record_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_CREATED, NULL, user, &event);
	if (status == ST_OK)
		status = record_event_changes(call, NULL, user, &event);
	if (status != ST_OK)
		return status;
	struct store_effects effects = identity_effects(call, &reply->base, &event);
	status = store_user_create(&store, &write, &effects);
	return status == ST_ALREADY_EXISTS ? user_conflict(call, &store, write.user) : status;
}

/* Checks the input, hashes the password once, and gives the complete row. */
static enum status user_from_request(struct call *call, const Identity__CreateUserRequest *request,
                                     const struct attributes *schema, const char **hash, struct user *ret_user)
{
	struct record_input input = RECORD_INPUT(request);
	struct user user = {.id = id_new(), .status = USER_ACTIVE, .created_at_us = clock_wall_us()};
	enum status status = record_apply(call, &input, schema, &user);
	if (status == ST_OK && request->password && !*hash)
		status = identity_hash_password(call, "password", request->password, hash);
	if (status != ST_OK)
		return status;
	user.password_hash = *hash;
	user.has_password = *hash != NULL;
	user.version = 1;
	user.updated_at_us = user.created_at_us;
	*ret_user = user;
	return ST_OK;
}

enum status h_create_user(struct call *call, const Identity__CreateUserRequest *request, Identity__User *reply)
{
	struct attributes schema;
	const char *hash = NULL;
	enum status status = ST_ABORTED;
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++) {
		struct user user;
		status = identity_schema(call, i > 0, &schema);
		if (status == ST_OK)
			status = user_from_request(call, request, &schema, &hash, &user);
		if (status == ST_OK)
			status = user_insert(call, &user, schema.version, reply);
	}
	if (status == ST_OK)
		call_committed(call);
	return status;
}

/* ---- read ---- */

enum status h_get_user(struct call *call, const Identity__GetUserRequest *request, Identity__User *reply)
{
	struct store store = identity_store(call);
	struct id user_id;
	struct user user;
	if (!id_parse("usr", request->user_id, &user_id))
		return ST_NOT_FOUND;
	enum status status = store_user_show(&store, &user_id, &user);
	return status == ST_OK ? record_reply(call, &user, reply) : status;
}

/* ---- update ---- */

struct update {
	const Identity__UpdateUserRequest *request;
	struct id user_id;
	const char *hash; /* of the new password, or NULL */
};

/* The most important change names the event; all changes are in it. Some also end every older token. */
static Events__EventType update_event_type(const struct user *before, struct user *after)
{
	bool password = after->password_hash != before->password_hash;
	bool disabled = after->status == USER_DISABLED && before->status != USER_DISABLED;
	if (password || disabled)
		after->epoch = before->epoch + 1;
	if (disabled)
		return EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED;
	if (password)
		return EVENTS__EVENT_TYPE__EVENT_TYPE_USER_PASSWORD_CHANGED;
	if (before->status == USER_DISABLED && after->status != USER_DISABLED)
		return EVENTS__EVENT_TYPE__EVENT_TYPE_USER_ENABLED;
	return EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED;
}

static enum status update_prepare_write(struct call *call, const struct user *before, const struct user *after,
                                        struct store_user_write *ret_write)
{
	struct logins old = record_logins(call->arena, before);
	struct logins new = record_logins(call->arena, after);
	enum status status = user_prepare_write(call, after, ret_write);
	if (status != ST_OK || !old.list || !new.list)
		return ST_RESOURCE_EXHAUSTED;
	ret_write->before = before;
	struct logins added = record_logins_minus(call->arena, new, old);
	struct logins removed = record_logins_minus(call->arena, old, new);
	ret_write->logins_added = added.list;
	ret_write->logins_added_count = added.count;
	ret_write->logins_removed = removed.list;
	ret_write->logins_removed_count = removed.count;
	return ret_write->logins_added && ret_write->logins_removed ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* Writes the step from before to after, unless they are the same. */
static enum status update_write(struct call *call, const struct user *before, struct user *after,
                                int64_t schema_version, Identity__User *reply)
{
	struct store_user_write write = {.schema_version = schema_version};
	struct store store = identity_store(call);
	Events__Event event;
	Events__EventType type = update_event_type(before, after);
	after->version = before->version + 1;
	after->updated_at_us = clock_wall_us();
	enum status status = record_event(call, type, before, after, &event);
	if (status == ST_OK)
		status = record_event_changes(call, before, after, &event);
	if (status == ST_OK && event.n_changes == 0)
		return record_reply(call, before, reply);
	if (status == ST_OK)
		status = update_prepare_write(call, before, after, &write);
	if (status == ST_OK)
		status = record_reply(call, after, reply);
	if (status != ST_OK)
		return status;
	struct store_effects effects = identity_effects(call, &reply->base, &event);
	status = store_user_update(&store, &write, &effects);
	if (status == ST_OK)
		call_committed(call);
	return status == ST_ALREADY_EXISTS ? user_conflict(call, &store, write.user) : status;
}

static enum status update_try(struct call *call, const struct update *update, bool fresh, Identity__User *reply)
{
	struct record_input input = RECORD_INPUT(update->request);
	struct store store = identity_store(call);
	struct attributes schema;
	struct user before, after;
	input.null_fields = update->request->null_fields;
	input.null_field_count = update->request->n_null_fields;
	enum status status = store_user_get(&store, &update->user_id, &before);
	if (status == ST_OK && update->request->has_if_match_version &&
	    update->request->if_match_version != before.version)
		return call_fail(call, ST_PRECONDITION_FAILED, "", "The user has version %lld by now",
		                 (long long)before.version);
	if (status == ST_OK)
		status = identity_schema(call, fresh, &schema);
	after = before;
	if (status == ST_OK)
		status = record_apply(call, &input, &schema, &after);
	if (status != ST_OK)
		return status;
	if (update->hash) {
		after.password_hash = update->hash;
		after.has_password = true;
	}
	return update_write(call, &before, &after, schema.version, reply);
}

enum status h_update_user(struct call *call, const Identity__UpdateUserRequest *request, Identity__User *reply)
{
	struct update update = {.request = request};
	struct store store = identity_store(call);
	enum status status = ST_OK;
	if (!id_parse("usr", update.request->user_id, &update.user_id))
		return ST_NOT_FOUND;
	if (update.request->password) {
		struct user user; /* hash only for a user that exists */
		status = store_user_show(&store, &update.user_id, &user);
		if (status == ST_OK)
			status = identity_hash_password(call, "password", update.request->password, &update.hash);
		if (status != ST_OK)
			return status;
	}
	status = ST_ABORTED;
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++) {
		identity__user__init(reply);
		status = update_try(call, &update, i > 0, reply);
	}
	return status;
}

/* ---- delete ---- */

static enum status delete_try(struct call *call, const Identity__DeleteUserRequest *request, const struct id *user_id,
                              const ProtobufCMessage *reply)
{
	struct store store = identity_store(call);
	struct user before;
	Events__Event event;
	enum status status = store_user_show(&store, user_id, &before);
	if (status != ST_OK)
		return status;
	if (request->has_if_match_version && request->if_match_version != before.version)
		return call_fail(call, ST_PRECONDITION_FAILED, "", "The user has version %lld by now",
		                 (long long)before.version);
	status = record_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DELETED, &before, NULL, &event);
	if (status != ST_OK)
		return status;
	event.version = before.version + 1;
	event.epoch = before.epoch + 1; /* above every token that was issued */
	struct store_effects effects = identity_effects(call, reply, &event);
	return store_user_delete(&store, &before, rules_shard(before.id.bytes), &effects);
}

enum status h_delete_user(struct call *call, const Identity__DeleteUserRequest *request, Common__Empty *reply)
{
	struct id user_id;
	enum status status = ST_ABORTED;
	if (!id_parse("usr", request->user_id, &user_id))
		return ST_NOT_FOUND;
	for (int i = 0; i < IDENTITY_TRIES && status == ST_ABORTED; i++)
		status = delete_try(call, request, &user_id, &reply->base);
	if (status == ST_OK)
		call_committed(call);
	return status;
}
