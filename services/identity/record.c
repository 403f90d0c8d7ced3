/* A user record between the messages and the store: input to a checked row, row to reply, difference to event. */
#include "record.h"

#include "base/buf.h"
#include "base/login.h"
#include "rules.h"
#include "json/jvalue.h"

#include <stdlib.h>
#include <string.h>

/* ---- input to row ---- */

static enum status refuse(struct call *call, const char *field, const char *reason)
{
	return call_fail(call, ST_INVALID_ARGUMENT, field, "%s", reason);
}

static rules_reason name_check(const char *text)
{
	return rules_text_check(text, RULES_NAME_MAX_BYTES);
}

static rules_reason external_id_check(const char *text)
{
	return rules_text_check(text, RULES_EXTERNAL_ID_MAX_BYTES);
}

/* Texts that are stored as they come, once checked. Offsets into struct record_input and struct user. */
static const struct text_field {
	const char *name;
	size_t input, user;
	rules_reason (*check)(const char *text);
} text_fields[] = {
    {"phone", offsetof(struct record_input, phone), offsetof(struct user, phone), rules_phone_check},
    {"name", offsetof(struct record_input, name), offsetof(struct user, name), name_check},
    {"given_name", offsetof(struct record_input, given_name), offsetof(struct user, given_name), name_check},
    {"family_name", offsetof(struct record_input, family_name), offsetof(struct user, family_name), name_check},
    {"picture", offsetof(struct record_input, picture), offsetof(struct user, picture), rules_picture_check},
    {"external_id", offsetof(struct record_input, external_id), offsetof(struct user, external_id), external_id_check},
};
#define TEXT_FIELDS (sizeof(text_fields) / sizeof(text_fields[0]))

static const char **text_at(void *record, size_t offset)
{
	return (const char **)((char *)record + offset);
}

static const char *text_of(const void *record, size_t offset)
{
	return *(const char *const *)((const char *)record + offset);
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static enum status apply_texts(struct call *call, const struct record_input *input, struct user *user)
{
	const char *phone_before = user->phone;
	for (size_t i = 0; i < TEXT_FIELDS; i++) {
		const struct text_field *field = &text_fields[i];
		const char *text = text_of(input, field->input);
		rules_reason reason = text ? field->check(text) : NULL;
		if (reason)
			return refuse(call, field->name, reason);
		if (text)
			*text_at(user, field->user) = text;
	}
	if (!text_equal(phone_before, user->phone))
		user->phone_verified = false;
	return ST_OK;
}

static enum status apply_email(struct call *call, const struct record_input *input, struct user *user)
{
	char email[LOGIN_SIZE];
	if (!input->email)
		return ST_OK;
	login_reason reason = login_email(input->email, email);
	if (reason)
		return refuse(call, "email", reason);
	if (text_equal(user->email, email))
		return ST_OK;
	user->email = arena_strdup(call->arena, email);
	user->email_verified = false;
	return user->email ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts and removes what stands twice; returns the new count. */
static size_t texts_unique(const char **texts, size_t count)
{
	size_t unique = 0;
	if (count == 0)
		return 0;
	qsort(texts, count, sizeof(*texts), text_compare);
	for (size_t i = 0; i < count; i++)
		if (unique == 0 || strcmp(texts[unique - 1], texts[i]) != 0)
			texts[unique++] = texts[i];
	return unique;
}

static enum status apply_login_ids(struct call *call, const struct record_input *input, struct user *user)
{
	char login[LOGIN_SIZE];
	size_t kept_count = input->login_id_count > 0 ? 0 : user->login_id_count;
	if (input->login_id_count > RULES_LOGIN_IDS_MAX)
		return refuse(call, "login_ids", "A user has at most 20 additional login ids");
	/* A list of its own: the record before the change has the same one. */
	char **own = arena_alloc(call->arena, (input->login_id_count + kept_count + 1) * sizeof(*own));
	if (!own)
		return ST_RESOURCE_EXHAUSTED;
	if (kept_count > 0)
		memcpy(own, user->login_ids, kept_count * sizeof(*own));
	user->login_ids = own;
	user->login_id_count = kept_count;
	for (size_t i = 0; i < input->login_id_count; i++) {
		login_reason reason = login_canonical(input->login_ids[i], login);
		if (reason)
			return call_fail(call, ST_INVALID_ARGUMENT, arena_printf(call->arena, "login_ids[%zu]", i),
			                 "%s", reason);
		char *copy = arena_strdup(call->arena, login);
		if (!copy)
			return ST_RESOURCE_EXHAUSTED;
		user->login_ids[user->login_id_count++] = copy;
	}
	user->login_id_count = texts_unique((const char **)user->login_ids, user->login_id_count);
	/* The e-mail address is a login id by itself. */
	size_t kept = 0;
	for (size_t i = 0; i < user->login_id_count; i++)
		if (!text_equal(user->login_ids[i], user->email))
			user->login_ids[kept++] = user->login_ids[i];
	user->login_id_count = kept;
	return ST_OK;
}

/* The attributes as they were, changed by the input: as a tree and as text; both NULL when there are none. */
static enum status merge_attributes(struct call *call, const struct record_input *input, const struct user *user,
                                    const struct jvalue **ret_object, const char **ret_text)
{
	struct pbjson_error error;
	const struct jvalue *before = NULL, *patch;
	size_t len;
	if (user->attributes &&
	    jvalue_read_object(user->attributes, "attributes", call->arena, &before, &error) != ST_OK)
		return ST_INTERNAL;
	*ret_object = before;
	*ret_text = user->attributes;
	if (!input->attributes)
		return ST_OK;
	enum status status = jvalue_read_object(input->attributes, "attributes", call->arena, &patch, &error);
	if (status != ST_OK)
		return call_fail(call, status, error.field, "%s", error.reason);
	*ret_object = jvalue_merge(before, patch, call->arena);
	if (!*ret_object)
		return ST_RESOURCE_EXHAUSTED;
	if (jvalue_equal(before, *ret_object))
		return ST_OK; /* the text stays, whatever its blanks and order */
	*ret_text = jvalue_text(*ret_object, call->arena, &len);
	if (!*ret_text)
		return ST_RESOURCE_EXHAUSTED;
	if (len > RULES_ATTRIBUTES_MAX_BYTES)
		return refuse(call, "attributes", "The attributes of a user have at most 16384 bytes");
	return ST_OK;
}

/* must_check: also when the input has no attributes. */
static enum status apply_attributes(struct call *call, const struct record_input *input,
                                    const struct attributes *schema, bool must_check, struct user *user)
{
	const char *field = NULL, *reason = NULL, *text;
	const struct jvalue *object;
	if (!input->attributes && !must_check)
		return ST_OK;
	enum status status = merge_attributes(call, input, user, &object, &text);
	if (status != ST_OK)
		return status;
	status = attributes_check(schema, object, call->arena, &field, &reason);
	if (status == ST_INVALID_ARGUMENT) /* another replica may have changed the schema */
		return schema->cached ? ST_ABORTED : refuse(call, field, reason);
	user->attributes = text;
	return status;
}

static enum status apply_nulls(struct call *call, const struct record_input *input, struct user *user)
{
	for (size_t i = 0; i < input->null_field_count; i++) {
		const char *name = input->null_fields[i];
		bool known = true;
		if (strcmp(name, "email") == 0) {
			user->email = NULL;
			user->email_verified = false;
		} else if (strcmp(name, "login_ids") == 0) {
			user->login_id_count = 0;
		} else if (strcmp(name, "attributes") == 0) {
			user->attributes = NULL;
		} else if (strcmp(name, "password") == 0) {
			user->password_hash = NULL;
			user->has_password = false;
		} else {
			known = false;
		}
		for (size_t j = 0; j < TEXT_FIELDS && !known; j++)
			if (strcmp(name, text_fields[j].name) == 0) {
				*text_at(user, text_fields[j].user) = NULL;
				known = true;
			}
		if (!known)
			return refuse(call, name, "It cannot be null");
	}
	if (!user->phone)
		user->phone_verified = false;
	return ST_OK;
}

static enum status apply_flags(struct call *call, const struct record_input *input, struct user *user)
{
	if (input->has_status && (input->status < USER_INVITED || input->status > USER_DISABLED))
		return refuse(call, "status", "It is invited, active or disabled");
	if (input->has_status)
		user->status = input->status;
	if (input->has_email_verified && input->email_verified && !user->email)
		return refuse(call, "email_verified", "There is no e-mail address to be verified");
	if (input->has_phone_verified && input->phone_verified && !user->phone)
		return refuse(call, "phone_verified", "There is no phone number to be verified");
	if (input->has_email_verified)
		user->email_verified = input->email_verified;
	if (input->has_phone_verified)
		user->phone_verified = input->phone_verified;
	return ST_OK;
}

enum status record_apply(struct call *call, const struct record_input *input, const struct attributes *schema,
                         struct user *user)
{
	struct user next = *user;
	enum status status = apply_nulls(call, input, &next);
	if (status == ST_OK)
		status = apply_texts(call, input, &next);
	if (status == ST_OK)
		status = apply_email(call, input, &next);
	if (status == ST_OK)
		status = apply_login_ids(call, input, &next);
	if (status == ST_OK)
		status = apply_flags(call, input, &next);
	if (status == ST_OK)
		status = apply_attributes(call, input, schema,
		                          user->version == 0 || (user->attributes && !next.attributes), &next);
	if (status == ST_OK && !next.email && !next.phone && !next.external_id && next.login_id_count == 0)
		status = refuse(call, "email", "A user needs an email, a phone, login_ids or an external_id");
	if (status == ST_OK)
		*user = next;
	return status;
}

/* ---- login values and search text ---- */

struct logins record_logins(struct arena *arena, const struct user *user)
{
	struct logins logins = {arena_alloc(arena, (user->login_id_count + 1) * sizeof(char *)), 0};
	if (!logins.list)
		return logins;
	for (size_t i = 0; i < user->login_id_count; i++)
		logins.list[logins.count++] = user->login_ids[i];
	if (user->email)
		logins.list[logins.count++] = user->email;
	logins.count = texts_unique(logins.list, logins.count);
	return logins;
}

struct logins record_logins_minus(struct arena *arena, struct logins from, struct logins without)
{
	struct logins rest = {arena_alloc(arena, (from.count + 1) * sizeof(char *)), 0};
	for (size_t i = 0; rest.list && i < from.count; i++)
		if (without.count == 0 ||
		    !bsearch(&from.list[i], without.list, without.count, sizeof(*without.list), text_compare))
			rest.list[rest.count++] = from.list[i];
	return rest;
}

const char *record_search_text(struct arena *arena, const struct user *user)
{
	struct buf out = {0};
	const char *text = NULL;
	rules_search_add(&out, user->email);
	for (size_t i = 0; i < user->login_id_count; i++)
		rules_search_add(&out, user->login_ids[i]);
	rules_search_add(&out, user->name);
	rules_search_add(&out, user->given_name);
	rules_search_add(&out, user->family_name);
	rules_search_add(&out, user->phone);
	rules_search_add(&out, user->external_id);
	if (buf_ok(&out))
		text = arena_strndup(arena, out.len ? out.data : "", out.len);
	buf_free(&out);
	return text;
}

/* ---- row to reply ---- */

enum status record_reply(struct call *call, const struct user *user, Identity__User *ret_reply)
{
	struct logins logins = record_logins(call->arena, user);
	ret_reply->id = identity_id_text(call, "usr", &user->id);
	if (!logins.list || !ret_reply->id)
		return ST_RESOURCE_EXHAUSTED;
	ret_reply->has_status = true;
	ret_reply->status = (Identity__UserStatus)user->status;
	ret_reply->email = (char *)user->email;
	ret_reply->has_email_verified = user->email != NULL;
	ret_reply->email_verified = user->email_verified;
	ret_reply->phone = (char *)user->phone;
	ret_reply->has_phone_verified = user->phone != NULL;
	ret_reply->phone_verified = user->phone_verified;
	ret_reply->name = (char *)user->name;
	ret_reply->given_name = (char *)user->given_name;
	ret_reply->family_name = (char *)user->family_name;
	ret_reply->picture = (char *)user->picture;
	ret_reply->external_id = (char *)user->external_id;
	ret_reply->login_ids = (char **)logins.list;
	ret_reply->n_login_ids = logins.count;
	ret_reply->attributes_json = (char *)user->attributes;
	ret_reply->has_has_password = true;
	ret_reply->has_password = user->has_password;
	ret_reply->has_version = true;
	ret_reply->version = user->version;
	ret_reply->has_created_at_us = true;
	ret_reply->created_at_us = user->created_at_us;
	ret_reply->has_updated_at_us = true;
	ret_reply->updated_at_us = user->updated_at_us;
	return ST_OK;
}

/* ---- difference to event ---- */

enum status record_event(struct call *call, Events__EventType type, const struct user *before, const struct user *after,
                         Events__Event *ret_event)
{
	const struct user *user = after ? after : before;
	char *id = identity_id_text(call, "usr", &user->id);
	if (!id)
		return ST_RESOURCE_EXHAUSTED;
	events__event__init(ret_event);
	ret_event->has_type = true;
	ret_event->type = type;
	ret_event->subject = id;
	ret_event->user_id = id;
	ret_event->has_version = true;
	ret_event->version = user->version;
	ret_event->has_epoch = true;
	ret_event->epoch = user->epoch;
	return ST_OK;
}

/* The values of a user's fields as JSON, in one order; NULL = has none. */
enum {
	VALUE_STATUS,
	VALUE_EMAIL,
	VALUE_EMAIL_VERIFIED,
	VALUE_PHONE_VERIFIED,
	VALUE_LOGIN_IDS,
	VALUE_ATTRIBUTES,
	VALUE_PASSWORD,
	VALUE_TEXTS,
	VALUES = VALUE_TEXTS + TEXT_FIELDS
};
static const char *const value_names[VALUE_TEXTS] = {[VALUE_STATUS] = "status",
                                                     [VALUE_EMAIL] = "email",
                                                     [VALUE_EMAIL_VERIFIED] = "email_verified",
                                                     [VALUE_PHONE_VERIFIED] = "phone_verified",
                                                     [VALUE_LOGIN_IDS] = "login_ids",
                                                     [VALUE_ATTRIBUTES] = "attributes",
                                                     [VALUE_PASSWORD] = "password"};

static const char *json_text(struct arena *arena, const char *text)
{
	struct buf out = {0};
	const char *json = NULL;
	if (!text)
		return NULL;
	buf_add_json_string(&out, text, strlen(text));
	if (buf_ok(&out))
		json = arena_strndup(arena, out.data, out.len);
	buf_free(&out);
	return json;
}

static const char *json_texts(struct arena *arena, char *const *texts, size_t count)
{
	struct buf out = {0};
	const char *json = NULL;
	if (count == 0)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		buf_add_char(&out, i == 0 ? '[' : ',');
		buf_add_json_string(&out, texts[i], strlen(texts[i]));
	}
	buf_add_char(&out, ']');
	if (buf_ok(&out))
		json = arena_strndup(arena, out.data, out.len);
	buf_free(&out);
	return json;
}

static void values_of(struct arena *arena, const struct user *user, const char *ret_values[VALUES])
{
	static const char *const statuses[] = {
	    [USER_INVITED] = "\"invited\"", [USER_ACTIVE] = "\"active\"", [USER_DISABLED] = "\"disabled\""};
	memset(ret_values, 0, VALUES * sizeof(*ret_values));
	if (!user)
		return;
	ret_values[VALUE_STATUS] = statuses[user->status];
	ret_values[VALUE_EMAIL] = json_text(arena, user->email);
	ret_values[VALUE_EMAIL_VERIFIED] = !user->email ? NULL : user->email_verified ? "true" : "false";
	ret_values[VALUE_PHONE_VERIFIED] = !user->phone ? NULL : user->phone_verified ? "true" : "false";
	ret_values[VALUE_LOGIN_IDS] = json_texts(arena, user->login_ids, user->login_id_count);
	ret_values[VALUE_ATTRIBUTES] = user->attributes;
	ret_values[VALUE_PASSWORD] = user->password_hash; /* compared, never shown */
	for (size_t i = 0; i < TEXT_FIELDS; i++)
		ret_values[VALUE_TEXTS + i] = json_text(arena, text_of(user, text_fields[i].user));
}

enum status record_event_changes(struct call *call, const struct user *before, const struct user *after,
                                 Events__Event *event)
{
	const char *old[VALUES], *new[VALUES];
	values_of(call->arena, before, old);
	values_of(call->arena, after, new);
	Events__FieldChange *changes = arena_alloc(call->arena, VALUES * sizeof(*changes));
	event->changes = arena_alloc(call->arena, VALUES * sizeof(*event->changes));
	if (!changes || !event->changes)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < VALUES; i++) {
		if (text_equal(old[i], new[i]))
			continue;
		Events__FieldChange *change = &changes[event->n_changes];
		events__field_change__init(change);
		change->field = (char *)(i < VALUE_TEXTS ? value_names[i] : text_fields[i - VALUE_TEXTS].name);
		change->before_json = i == VALUE_PASSWORD ? NULL : (char *)old[i];
		change->after_json = i == VALUE_PASSWORD ? NULL : (char *)new[i];
		event->changes[event->n_changes++] = change;
	}
	return ST_OK;
}
