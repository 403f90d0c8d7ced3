/* Look-up of many users by their values. */
#include "base/login.h"
#include "identity_sql.gen.h"
#include "users/user.h"
#include "users/value_map.h"

#define LOOKUP_MAX 500
#define REPLY_MAX_BYTES (3u * 1024 * 1024)

/* One asked value in its stored form; NULL = cannot exist. */
struct wanted {
	enum value_kind kind;
	const char *given, *value;
};

struct lookup {
	struct call *call;
	struct wanted *wanted;
	size_t count;
	struct id *ids;
	const char **logins, **external_ids;
	size_t id_count, login_count, external_id_count;
};

static bool lookup_alloc(struct lookup *lookup, size_t count)
{
	struct arena *arena = lookup->call->arena;
	lookup->wanted = arena_alloc(arena, (count + 1) * sizeof(*lookup->wanted));
	lookup->ids = arena_alloc(arena, (count + 1) * sizeof(*lookup->ids));
	lookup->logins = arena_alloc(arena, (count + 1) * sizeof(*lookup->logins));
	lookup->external_ids = arena_alloc(arena, (count + 1) * sizeof(*lookup->external_ids));
	return lookup->wanted && lookup->ids && lookup->logins && lookup->external_ids;
}

static void lookup_add_id(struct lookup *lookup, const char *text)
{
	struct id id;
	bool valid = id_parse("usr", text, &id);
	lookup->wanted[lookup->count++] = (struct wanted){VALUE_ID, text, valid ? text : NULL};
	if (valid)
		lookup->ids[lookup->id_count++] = id;
}

/* canonical: login_email or login_typed, which gives the stored form or the reason why there is none. */
static enum status lookup_add_login(struct lookup *lookup, const char *text,
                                    login_reason (*canonical)(const char *text, char ret_login[LOGIN_SIZE]))
{
	char login[LOGIN_SIZE];
	struct wanted *wanted = &lookup->wanted[lookup->count++];
	*wanted = (struct wanted){VALUE_LOGIN, text, NULL};
	if (canonical(text, login))
		return ST_OK;
	wanted->value = lookup->logins[lookup->login_count++] = arena_strdup(lookup->call->arena, login);
	return wanted->value ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static void lookup_add_external_id(struct lookup *lookup, const char *text)
{
	lookup->wanted[lookup->count++] = (struct wanted){VALUE_EXTERNAL, text, text};
	lookup->external_ids[lookup->external_id_count++] = text;
}

/* ---- which value found whom ---- */

/* Everything that names one of the users. */
static enum status found_fill(struct call *call, const struct sql_user_lookup_row *users, size_t count,
                              struct value_map *ret_map)
{
	size_t values = 0;
	for (size_t i = 0; i < count; i++)
		values += users[i].user->n_login_ids + 3;
	if (!value_map_init(call->arena, values, ret_map))
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < count; i++) {
		const Identity__Rows__User *user = users[i].user;
		const char *id = call_bytes_id_text(call, "usr", user->user_id);
		if (!id)
			return ST_RESOURCE_EXHAUSTED;
		value_map_put(ret_map, VALUE_ID, id, &users[i]);
		if (user->email)
			value_map_put(ret_map, VALUE_LOGIN, user->email, &users[i]);
		if (user->external_id)
			value_map_put(ret_map, VALUE_EXTERNAL, user->external_id, &users[i]);
		for (size_t j = 0; j < user->n_login_ids; j++)
			value_map_put(ret_map, VALUE_LOGIN, user->login_ids[j], &users[i]);
	}
	return ST_OK;
}

/* ---- the reply ---- */

static enum status reply_add(struct call *call, const Identity__Rows__User *user, Identity__LookupUsersReply *reply,
                             size_t *bytes)
{
	Identity__User *message = arena_alloc(call->arena, sizeof(*message));
	if (!message)
		return ST_RESOURCE_EXHAUSTED;
	identity__user__init(message);
	enum status status = user_fill(call, user, message);
	reply->data[reply->n_data++] = message;
	if (status == ST_OK && *bytes >= REPLY_MAX_BYTES)
		return call_fail(call, ST_INVALID_ARGUMENT, "",
		                 "These users are too large for one reply: look up fewer");
	*bytes += identity__user__get_packed_size(message);
	return status;
}

/* Users in the order in which they were asked for, each once; the values that found none. */
static enum status lookup_reply(const struct lookup *lookup, const struct sql_user_lookup_row *users, size_t count,
                                Identity__LookupUsersReply *reply)
{
	struct arena *arena = lookup->call->arena;
	struct value_map map;
	bool *taken = arena_alloc(arena, count + 1);
	size_t bytes = 0;
	reply->data = arena_alloc(arena, (count + 1) * sizeof(*reply->data));
	reply->not_found = arena_alloc(arena, (lookup->count + 1) * sizeof(*reply->not_found));
	if (!taken || !reply->data || !reply->not_found)
		return ST_RESOURCE_EXHAUSTED;
	enum status status = found_fill(lookup->call, users, count, &map);
	for (size_t i = 0; i < lookup->count && status == ST_OK; i++) {
		const struct wanted *wanted = &lookup->wanted[i];
		const struct value_slot *slot =
		    wanted->value ? value_map_slot(&map, wanted->kind, wanted->value) : NULL;
		const struct sql_user_lookup_row *found = slot ? slot->owner : NULL;
		if (!found) {
			reply->not_found[reply->n_not_found++] = (char *)wanted->given;
		} else if (!taken[found - users]) {
			taken[found - users] = true;
			status = reply_add(lookup->call, found->user, reply, &bytes);
		}
	}
	return status;
}

enum status h_lookup_users(struct call *call, const Identity__LookupUsersRequest *request,
                           Identity__LookupUsersReply *reply)
{
	struct lookup lookup = {.call = call};
	struct sql_user_lookup_row *users;
	size_t count = request->n_ids + request->n_emails + request->n_external_ids + request->n_login_ids;
	enum status status = ST_OK;
	if (count > LOOKUP_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "", "At most 500 values may be looked up at once");
	if (!lookup_alloc(&lookup, count))
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < request->n_login_ids && status == ST_OK; i++)
		status = lookup_add_login(&lookup, request->login_ids[i], login_typed);
	for (size_t i = 0; i < request->n_ids; i++)
		lookup_add_id(&lookup, request->ids[i]);
	for (size_t i = 0; i < request->n_emails && status == ST_OK; i++)
		status = lookup_add_login(&lookup, request->emails[i], login_email);
	for (size_t i = 0; i < request->n_external_ids; i++)
		lookup_add_external_id(&lookup, request->external_ids[i]);
	if (status != ST_OK)
		return status;
	struct sql_user_lookup params = {.ids = {lookup.ids, lookup.id_count},
	                                 .logins = {lookup.logins, lookup.login_count},
	                                 .external_ids = {lookup.external_ids, lookup.external_id_count}};
	status = call_all(call, &sql_user_lookup, &params, &users, &count);
	return status == ST_OK ? lookup_reply(&lookup, users, count, reply) : status;
}
