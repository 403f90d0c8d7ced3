/* A user from request to row: finding it, and input in canonical form. */
#include "users/user.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/login.h"
#include "identity_sql.gen.h"
#include "rules.h"
#include "json/jvalue.h"
#include "json/message.h"

#include <stdlib.h>
#include <string.h>

static enum status refuse(struct call *call, const char *field, const char *reason)
{
	return call_fail(call, ST_INVALID_ARGUMENT, field, "%s", reason);
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts and removes what stands twice; returns the new count. */
static size_t texts_unique(char **texts, size_t count)
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

/* ---- which user ---- */

/* What stands behind the prefix; NULL when the text begins otherwise. */
static const char *reference_value(const char *reference, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(reference, prefix, len) == 0 ? reference + len : NULL;
}

enum status user_find(struct call *call, const char *reference, Identity__Rows__User **ret_user)
{
	struct sql_user_get_row found; /* the others have the same columns */
	enum status status = ST_NOT_FOUND;
	char login[LOGIN_SIZE];
	struct id id;
	const char *login_id = reference ? reference_value(reference, "login_id:") : NULL;
	const char *external_id = reference ? reference_value(reference, "external_id:") : NULL;
	if (id_parse("usr", reference, &id))
		status = call_one(call, &sql_user_get, &(struct sql_user_get){.user_id = &id}, &found);
	else if (login_id && !login_canonical(login_id, login))
		status = call_one(call, &sql_user_by_login, &(struct sql_user_by_login){.login = login}, &found);
	else if (external_id)
		status = call_one(call, &sql_user_by_external_id,
		                  &(struct sql_user_by_external_id){.external_id = external_id}, &found);
	if (status == ST_OK)
		*ret_user = found.user;
	return status;
}

enum status user_find_shown(struct call *call, const char *reference, Identity__Rows__User **ret_user)
{
	struct sql_user_show_row found;
	struct id id;
	if (!id_parse("usr", reference, &id))
		return user_find(call, reference, ret_user);
	enum status status = call_one(call, &sql_user_show, &(struct sql_user_show){.user_id = &id}, &found);
	if (status == ST_OK)
		*ret_user = found.user;
	return status;
}

/* ---- the row ---- */

enum status user_begin(struct call *call, int64_t now_us, Identity__Rows__User *ret_user)
{
	struct id id = id_new();
	identity__rows__user__init(ret_user);
	ret_user->has_user_id = ret_user->has_status = ret_user->has_version = ret_user->has_epoch = true;
	ret_user->has_email_verified = ret_user->has_phone_verified = ret_user->has_has_password = true;
	ret_user->has_created_at_us = ret_user->has_updated_at_us = true;
	ret_user->user_id = (ProtobufCBinaryData){ID_SIZE, arena_memdup(call->arena, id.bytes, ID_SIZE)};
	ret_user->status = USER_ACTIVE;
	ret_user->created_at_us = ret_user->updated_at_us = now_us;
	return ret_user->user_id.data ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

void user_set_password(Identity__Rows__User *user, char *hash)
{
	user->password_hash = hash;
	user->has_has_password = true;
	user->has_password = !!hash;
}

enum status user_set_roles(struct call *call, Identity__Rows__User *user, char *const *codes, size_t count)
{
	char **roles = arena_memdup(call->arena, count ? (const void *)codes : "", count ? count * sizeof(*codes) : 1);
	if (!roles)
		return ST_RESOURCE_EXHAUSTED;
	user->roles = roles;
	user->n_roles = texts_unique(roles, count);
	return ST_OK;
}

int16_t user_shard(const Identity__Rows__User *user)
{
	return rules_shard(user->user_id.data);
}

/* ---- input ---- */

static rules_reason external_id_check(const char *text)
{
	return rules_text_check(text, RULES_EXTERNAL_ID_MAX_BYTES);
}

static rules_reason no_check(const char *text)
{
	return NULL;
}

/* How the texts of a request are checked; all others as names. Those without a check here have a canonical form below. */
static const struct {
	const char *field;
	rules_reason (*check)(const char *text);
} text_checks[] = {
    {"phone", rules_phone_check},       {"picture", rules_picture_check},
    {"external_id", external_id_check}, {"email", no_check},
    {"attributes_json", no_check},      {"password", no_check},
    {"password_hash", no_check},        {"user_id", no_check},
};

static rules_reason text_check(const char *field, const char *text)
{
	for (size_t i = 0; i < sizeof(text_checks) / sizeof(text_checks[0]); i++) {
		if (strcmp(text_checks[i].field, field) == 0)
			return text_checks[i].check(text);
	}
	return rules_name_check(text);
}

static enum status check_texts(struct call *call, const ProtobufCMessage *request)
{
	const ProtobufCMessageDescriptor *type = request->descriptor;
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		if (field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED ||
		    !message_has(request, field))
			continue;
		const char *text = *(const char *const *)((const char *)request + field->offset);
		rules_reason reason = text_check(field->name, text);
		if (reason)
			return refuse(call, field->name, reason);
	}
	return ST_OK;
}

/* What JSON null takes away: any text of the row that the request has, the login ids, the password. */
static enum status apply_nulls(struct call *call, const ProtobufCMessage *request, Identity__Rows__User *user)
{
	const ProtobufCFieldDescriptor *nulls =
	    protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "null_fields");
	const char *base = (const char *)request;
	size_t count = nulls ? *(const size_t *)(base + nulls->quantifier_offset) : 0;
	for (size_t i = 0; i < count; i++) {
		const char *name = (*(char *const *const *)(base + nulls->offset))[i];
		const ProtobufCFieldDescriptor *own = message_field(user->base.descriptor, name);
		const ProtobufCFieldDescriptor *asked = message_field(request->descriptor, name);
		bool clears = own && asked && own->type == PROTOBUF_C_TYPE_STRING;
		if (strcmp(name, "password") == 0)
			user_set_password(user, NULL);
		else if (!clears || !message_clear(&user->base, name))
			return refuse(call, name, "It cannot be null");
	}
	return ST_OK;
}

static enum status apply_email(struct call *call, const Identity__Rows__User *before, Identity__Rows__User *user)
{
	char email[LOGIN_SIZE];
	if (!user->email || text_equal(user->email, before->email))
		return ST_OK;
	login_reason reason = login_email(user->email, email);
	if (reason)
		return refuse(call, "email", reason);
	user->email = text_equal(email, before->email) ? before->email : arena_strdup(call->arena, email);
	return user->email ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

/* The login ids as given, or those that the user has: canonical, sorted, without the e-mail address, which is one by itself. */
static enum status apply_login_ids(struct call *call, const Identity__Rows__User *before, Identity__Rows__User *user)
{
	char login[LOGIN_SIZE];
	bool given = user->login_ids != before->login_ids;
	size_t kept = 0;
	if (user->n_login_ids > RULES_LOGIN_IDS_MAX)
		return refuse(call, "login_ids", "A user has at most 20 additional login ids");
	char **own = arena_alloc(call->arena, (user->n_login_ids + 1) * sizeof(*own));
	if (!own)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < user->n_login_ids; i++) {
		login_reason reason = given ? login_canonical(user->login_ids[i], login) : NULL;
		if (reason)
			return refuse(call, arena_printf(call->arena, "login_ids[%zu]", i), reason);
		own[i] = given ? arena_strdup(call->arena, login) : user->login_ids[i];
		if (!own[i])
			return ST_RESOURCE_EXHAUSTED;
	}
	size_t count = texts_unique(own, user->n_login_ids);
	for (size_t i = 0; i < count; i++)
		if (!text_equal(own[i], user->email))
			own[kept++] = own[i];
	user->login_ids = own;
	user->n_login_ids = kept;
	return ST_OK;
}

/* A new address or number is not verified unless the request says so, and none is never verified. */
static enum status apply_verified(struct call *call, const ProtobufCMessage *request,
                                  const Identity__Rows__User *before, Identity__Rows__User *user)
{
	const ProtobufCFieldDescriptor *email = message_field(request->descriptor, "email_verified");
	const ProtobufCFieldDescriptor *phone = message_field(request->descriptor, "phone_verified");
	bool email_said = email && message_has(request, email), phone_said = phone && message_has(request, phone);
	if (email_said && user->email_verified && !user->email)
		return refuse(call, "email_verified", "There is no e-mail address to be verified");
	if (phone_said && user->phone_verified && !user->phone)
		return refuse(call, "phone_verified", "There is no phone number to be verified");
	if (!user->email || (!email_said && !text_equal(user->email, before->email)))
		user->email_verified = false;
	if (!user->phone || (!phone_said && !text_equal(user->phone, before->phone)))
		user->phone_verified = false;
	return ST_OK;
}

/* The attributes before, changed by the patch that the request brought (NULL: none): as a tree and as text, both NULL when there are none. */
static enum status merge_attributes(struct call *call, const char *before_text, const char *patch_text,
                                    const struct jvalue **ret_object, char **ret_text)
{
	struct pbjson_error error;
	const struct jvalue *before = NULL, *patch;
	size_t len;
	if (before_text && jvalue_read_object(before_text, "attributes", call->arena, &before, &error) != ST_OK)
		return ST_INTERNAL;
	*ret_object = before;
	*ret_text = (char *)before_text;
	if (!patch_text)
		return ST_OK;
	enum status status = jvalue_read_object(patch_text, "attributes", call->arena, &patch, &error);
	if (status != ST_OK)
		return call_fail(call, status, error.field, "%s", error.reason);
	*ret_object = jvalue_merge(before, patch, call->arena);
	if (!*ret_object)
		return ST_RESOURCE_EXHAUSTED;
	if (jvalue_equal(before, *ret_object))
		return ST_OK; /* the text stays, whatever its blanks and order */
	*ret_text = (char *)jvalue_text(*ret_object, call->arena, &len);
	if (!*ret_text)
		return ST_RESOURCE_EXHAUSTED;
	if (len > RULES_ATTRIBUTES_MAX_BYTES)
		return refuse(call, "attributes", "The attributes of a user have at most 16384 bytes");
	return ST_OK;
}

/* user->attributes is what the request brought, or what there was. Checked when it changes, and for a new user also when there are none. */
static enum status apply_attributes(struct call *call, const struct attributes *schema,
                                    const Identity__Rows__User *before, Identity__Rows__User *user)
{
	const char *field = NULL, *reason = NULL;
	const struct jvalue *object;
	bool patched = user->attributes && user->attributes != before->attributes;
	if (!patched && before->version > 0 && user->attributes == before->attributes)
		return ST_OK;
	const char *kept = patched ? before->attributes : NULL;
	enum status status =
	    merge_attributes(call, kept, patched ? user->attributes : NULL, &object, &user->attributes);
	if (status != ST_OK)
		return status;
	status = attributes_check(schema, object, call->arena, &field, &reason);
	if (status == ST_INVALID_ARGUMENT) /* another replica may have changed the schema */
		return schema->cached ? ST_ABORTED : refuse(call, field, reason);
	return status;
}

enum status user_derive(struct call *call, Identity__Rows__User *user)
{
	struct buf out = {0};
	rules_search_add(&out, user->email);
	for (size_t i = 0; i < user->n_login_ids; i++)
		rules_search_add(&out, user->login_ids[i]);
	rules_search_add(&out, user->name);
	rules_search_add(&out, user->given_name);
	rules_search_add(&out, user->family_name);
	rules_search_add(&out, user->phone);
	rules_search_add(&out, user->external_id);
	user->search_text = buf_ok(&out) ? arena_strndup(call->arena, out.len ? out.data : "", out.len) : NULL;
	user->email_key = user->email ? user->email : arena_strdup(call->arena, "");
	buf_free(&out);
	return user->search_text && user->email_key ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

enum status user_apply(struct call *call, const ProtobufCMessage *request, const struct attributes *schema,
                       Identity__Rows__User *user)
{
	const Identity__Rows__User before = *user;
	Identity__Rows__User next = *user;
	enum status status = apply_nulls(call, request, &next);
	if (status == ST_OK)
		status = check_texts(call, request);
	if (status != ST_OK)
		return status;
	message_copy(request, &next.base);
	if (next.status < USER_INVITED || next.status > USER_DISABLED)
		return refuse(call, "status", "It is invited, active or disabled");
	if ((status = apply_email(call, &before, &next)) != ST_OK ||
	    (status = apply_login_ids(call, &before, &next)) != ST_OK ||
	    (status = apply_verified(call, request, &before, &next)) != ST_OK ||
	    (status = apply_attributes(call, schema, &before, &next)) != ST_OK)
		return status;
	if (!next.email && !next.phone && !next.external_id && next.n_login_ids == 0)
		return refuse(call, "email", "A user needs an email, a phone, login_ids or an external_id");
	if (next.version == 0)
		next.version = 1;
	*user = next;
	return ST_OK;
}

/* ---- login values ---- */

struct logins user_logins(struct arena *arena, const Identity__Rows__User *user)
{
	struct logins logins = {arena_alloc(arena, (user->n_login_ids + 1) * sizeof(char *)), 0};
	if (!logins.list)
		return logins;
	for (size_t i = 0; i < user->n_login_ids; i++)
		logins.list[logins.count++] = user->login_ids[i];
	if (user->email)
		logins.list[logins.count++] = user->email;
	logins.count = texts_unique(logins.list, logins.count);
	return logins;
}

struct logins user_logins_minus(struct arena *arena, struct logins from, struct logins without)
{
	struct logins rest = {arena_alloc(arena, (from.count + 1) * sizeof(char *)), 0};
	for (size_t i = 0; rest.list && i < from.count; i++)
		if (without.count == 0 ||
		    !bsearch(&from.list[i], without.list, without.count, sizeof(*without.list), text_compare))
			rest.list[rest.count++] = from.list[i];
	return rest;
}

/* ---- row to message ---- */

enum status user_fill(struct call *call, const Identity__Rows__User *user, Identity__User *ret_message)
{
	struct logins logins = user_logins(call->arena, user);
	message_copy(&user->base, &ret_message->base);
	ret_message->id = call_bytes_id_text(call, "usr", user->user_id);
	ret_message->has_email_verified = !!user->email;
	ret_message->has_phone_verified = !!user->phone;
	ret_message->login_ids = logins.list;
	ret_message->n_login_ids = logins.count;
	return logins.list && ret_message->id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}
