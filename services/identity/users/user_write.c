/* A user's change: its event, and the one statement that writes it. */
#include "base/clock.h"
#include "identity_sql.gen.h"
#include "users/user.h"
#include "json/message.h"

#include <string.h>

enum status user_event_begin(struct call *call, Events__EventType type, const Identity__Rows__User *user,
                             Events__Event *ret_event)
{
	events__event__init(ret_event);
	ret_event->has_type = ret_event->has_version = ret_event->has_epoch = true;
	ret_event->type = type;
	ret_event->subject = ret_event->user_id = call_bytes_id_text(call, "usr", user->user_id);
	ret_event->version = user->version;
	ret_event->epoch = user->epoch;
	return ret_event->subject ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

Events__Event *user_event(struct change *change, Events__EventType type, const Identity__Rows__User *user)
{
	Events__Event *event = change_event(change, type, NULL, 0);
	return user_event_begin(change->call, type, user, event) == ST_OK ? event : NULL;
}

/* The message that events compare: as shown, but with the additional login ids only. */
static enum status event_message(struct call *call, const Identity__Rows__User *user, Identity__User *ret_message)
{
	identity__user__init(ret_message);
	enum status status = user_fill(call, user, ret_message);
	ret_message->login_ids = user->login_ids;
	ret_message->n_login_ids = user->n_login_ids;
	ret_message->has_has_password = false; /* shown as a secret */
	return status;
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

int user_event_fields(struct change *change, Events__Event *event, const Identity__Rows__User *before,
                      const Identity__Rows__User *after)
{
	Identity__User old, new;
	if (event_message(change->call, after, &new) != ST_OK ||
	    (before && event_message(change->call, before, &old) != ST_OK))
		return -1;
	int count = change_fields(change, event, before ? &old.base : NULL, &new.base);
	if (count < 0 || text_equal(before ? before->password_hash : NULL, after->password_hash))
		return count;
	return change_secret(change, event, "password") ? count + 1 : -1;
}

/* ---- what a change is called, and whether it ends every older token ---- */

static bool to_disabled(const Identity__Rows__User *before, const Identity__Rows__User *after)
{
	return after->status == USER_DISABLED && before->status != USER_DISABLED;
}

static bool from_disabled(const Identity__Rows__User *before, const Identity__Rows__User *after)
{
	return before->status == USER_DISABLED && after->status != USER_DISABLED;
}

static bool other_password(const Identity__Rows__User *before, const Identity__Rows__User *after)
{
	return !text_equal(before->password_hash, after->password_hash);
}

/* Whoever has to be invited again may do nothing until then. */
static bool to_invited(const Identity__Rows__User *before, const Identity__Rows__User *after)
{
	return before->status == USER_ACTIVE && after->status == USER_INVITED;
}

static bool other_roles(const Identity__Rows__User *before, const Identity__Rows__User *after)
{
	return !message_field_equal(message_field(before->base.descriptor, "roles"), &before->base, &after->base);
}

/* The first that applies names the event; each that applies has its say about the epoch. */
static const struct {
	bool (*applies)(const Identity__Rows__User *before, const Identity__Rows__User *after);
	Events__EventType type;
	bool epoch; /* it moves */
} kinds[] = {
    {to_disabled, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_DISABLED, true},
    {other_password, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_PASSWORD_CHANGED, true},
    {to_invited, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_SESSIONS_REVOKED, true},
    {other_roles, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_ROLES_CHANGED, true},
    {from_disabled, EVENTS__EVENT_TYPE__EVENT_TYPE_USER_ENABLED, false},
};

static Events__EventType step_kind(const Identity__Rows__User *before, const Identity__Rows__User *after,
                                   bool *ret_epoch)
{
	Events__EventType type = EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED;
	*ret_epoch = false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!kinds[i].applies(before, after))
			continue;
		*ret_epoch = *ret_epoch || kinds[i].epoch;
		if (type == EVENTS__EVENT_TYPE__EVENT_TYPE_USER_UPDATED)
			type = kinds[i].type;
	}
	return type;
}

/* ---- writing ---- */

enum status user_conflict(struct change *change, const Identity__Rows__User *user)
{
	struct call *call = change->call;
	struct sql_user_by_login_row owner;
	if (!change->conflict)
		return ST_ALREADY_EXISTS;
	if (strcmp(change->conflict, "users_external_id") == 0)
		return call_fail(call, ST_ALREADY_EXISTS, "external_id", "A user with this external id exists");
	if (strcmp(change->conflict, "login_id_pkey") != 0)
		return ST_ALREADY_EXISTS;
	struct sql_user_by_login email = {.login = user->email};
	bool taken = user->email && call_one(call, &sql_user_by_login, &email, &owner) == ST_OK &&
	             memcmp(owner.user->user_id.data, user->user_id.data, ID_SIZE) != 0;
	if (taken)
		return call_fail(call, ST_ALREADY_EXISTS, "email", "A user with this e-mail address exists");
	return call_fail(call, ST_ALREADY_EXISTS, "login_ids", "A user with one of these login ids exists");
}

static enum status step_write(struct change *change, const struct user_step *step)
{
	struct arena *arena = change->call->arena;
	struct logins old = user_logins(arena, step->before), new = user_logins(arena, step->after);
	if (!old.list || !new.list)
		return ST_RESOURCE_EXHAUSTED;
	struct logins added = user_logins_minus(arena, new, old), removed = user_logins_minus(arena, old, new);
	if (!added.list || !removed.list)
		return ST_RESOURCE_EXHAUSTED;
	struct sql_user_update params = {.user = step->after,
	                                 .before = step->before,
	                                 .shard = user_shard(step->after),
	                                 .added = {(const char *const *)added.list, added.count},
	                                 .removed = {(const char *const *)removed.list, removed.count},
	                                 .schema_version = step->schema.version};
	enum status status = change_write(change, &sql_user_update, &params);
	return status == ST_ALREADY_EXISTS ? user_conflict(change, step->after) : status;
}

enum status user_step_begin(struct change *change, const char *reference, struct user_step *step)
{
	Identity__Rows__User *before;
	struct call *call = change->call;
	enum status status = user_find(call, reference, &before);
	if (status == ST_OK)
		status = change_if_match(change, before->version);
	if (status != ST_OK)
		return status;
	step->before = before;
	step->after = arena_memdup(call->arena, before, sizeof(*before));
	return step->after ? identity_schema(call, change->attempt > 0, &step->schema) : ST_RESOURCE_EXHAUSTED;
}

enum status user_write(struct change *change, const struct user_step *step)
{
	const Identity__Rows__User *before = step->before;
	Identity__Rows__User *after = step->after;
	bool epoch;
	Events__EventType type = step_kind(before, after, &epoch);
	after->version = before->version + 1;
	after->epoch = before->epoch + epoch;
	after->updated_at_us = clock_wall_us();
	Events__Event *event = user_event(change, type, after);
	int count = event ? user_event_fields(change, event, before, after) : -1;
	if (count < 0)
		return ST_RESOURCE_EXHAUSTED;
	if (count == 0)
		*after = *before;
	enum status status = user_derive(change->call, after);
	if (status == ST_OK && step->reply)
		status = user_fill(change->call, after, step->reply);
	return status == ST_OK && count > 0 ? step_write(change, step) : status;
}
