/* From Descope's shapes to ours and back. What has one name in both is copied by it. */
#include "dialects/descope/descope.h"

#include "calls/upstream.h"
#include "identity.pb-c.h"
#include "session.pb-c.h"
#include "json/jvalue.h"
#include "json/message.h"

#include <string.h>

#define HISTORY_USERS_MAX 100
#define HISTORY_LOGINS 200

static const struct pbjson_rules rules = {.style = &descope_style};

/* ---- users out ---- */

static Descope__User *user_of(struct exchange *exchange, const Identity__User *user)
{
	Descope__User *wire = document_new(exchange, &descope__user__descriptor);
	if (!wire)
		return NULL;
	message_copy(&user->base, &wire->base);
	wire->external_ids = wire->login_ids;
	wire->n_external_ids = wire->n_login_ids;
	wire->has_editable = wire->editable = true;
	return wire;
}

void descope_user_out(struct exchange *exchange, const ProtobufCMessage *reply)
{
	Descope__UserReply wrapped = DESCOPE__USER_REPLY__INIT;
	wrapped.user = user_of(exchange, (const Identity__User *)reply);
	if (wrapped.user)
		document_print(exchange, 200, &wrapped.base, &descope_style);
}

void descope_me_out(struct exchange *exchange, const ProtobufCMessage *reply)
{
	const Descope__User *user = user_of(exchange, (const Identity__User *)reply);
	if (user)
		document_print(exchange, 200, &user->base, &descope_style);
}

/* ---- who is meant ---- */

static bool is_given(const char *text)
{
	return text && text[0] != '\0';
}

/* A login id, or else a user id: one look-up finds either, login ids first. */
static enum status lookup_of(struct exchange *exchange, char **login_id, char **id, ProtobufCMessage **ret_request)
{
	Identity__LookupUsersRequest *request = document_new(exchange, &identity__lookup_users_request__descriptor);
	if (!request)
		return exchange->failure.status;
	if (!is_given(*login_id) && !is_given(*id))
		return http_fail(exchange, ST_INVALID_ARGUMENT, "loginId", "is missing");
	if (is_given(*login_id)) {
		request->n_login_ids = 1;
		request->login_ids = login_id;
	}
	request->n_ids = 1;
	request->ids = is_given(*id) ? id : login_id;
	*ret_request = &request->base;
	return ST_OK;
}

enum status descope_load_in(struct exchange *exchange, ProtobufCMessage **ret_request)
{
	ProtobufCMessage *message = NULL;
	enum status status = document_read_query(exchange, &descope__user_query__descriptor, &rules, &message);
	if (status != ST_OK)
		return status;
	Descope__UserQuery *query = (Descope__UserQuery *)message;
	return lookup_of(exchange, &query->login_id, &query->id, ret_request);
}

void descope_load_out(struct exchange *exchange, const ProtobufCMessage *reply)
{
	const Identity__LookupUsersReply *found = (const Identity__LookupUsersReply *)reply;
	if (found->n_data > 0)
		descope_user_out(exchange, &found->data[0]->base);
	else
		(void)http_fail(exchange, ST_NOT_FOUND, NULL, "Cannot find user");
}

enum status descope_me_in(struct exchange *exchange, ProtobufCMessage **ret_request)
{
	Identity__GetUserRequest *request = document_new(exchange, &identity__get_user_request__descriptor);
	if (!request)
		return exchange->failure.status;
	request->user_id = exchange->caller.id;
	*ret_request = &request->base;
	return ST_OK;
}

/* ---- users in ---- */

/* An empty text is none. */
static void drop_empty(ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		char **text = (char **)((char *)message + field->offset);
		if (field->type == PROTOBUF_C_TYPE_STRING && field->label == PROTOBUF_C_LABEL_OPTIONAL &&
		    !is_given(*text))
			*text = NULL;
	}
}

/* The body of create and update: its login id is one of the login ids, and an address that is not said to be unverified is verified. */
static enum status user_request(struct exchange *exchange, Descope__UserRequest **ret_request)
{
	ProtobufCMessage *message = NULL;
	enum status status = document_read(exchange, &descope__user_request__descriptor, &rules, &message);
	if (status != ST_OK)
		return status;
	Descope__UserRequest *request = (Descope__UserRequest *)message;
	drop_empty(message);
	if (!request->login_id)
		return http_fail(exchange, ST_INVALID_ARGUMENT, "loginId", "is missing");
	char **login_ids = arena_alloc(exchange->arena, (request->n_login_ids + 1) * sizeof(*login_ids));
	if (!login_ids)
		return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	login_ids[0] = request->login_id;
	for (size_t i = 0; i < request->n_login_ids; i++)
		login_ids[i + 1] = request->login_ids[i];
	request->login_ids = login_ids;
	request->n_login_ids++;
	if (!request->has_email_verified)
		request->has_email_verified = request->email_verified = !!request->email;
	if (!request->has_phone_verified)
		request->has_phone_verified = request->phone_verified = !!request->phone;
	*ret_request = request;
	return ST_OK;
}

enum status descope_create_in(struct exchange *exchange, ProtobufCMessage **ret_request)
{
	Descope__UserRequest *wire = NULL;
	enum status status = user_request(exchange, &wire);
	Identity__CreateUserRequest *request =
	    status == ST_OK ? document_new(exchange, &identity__create_user_request__descriptor) : NULL;
	if (!request)
		return exchange->failure.status;
	if (!wire->email && strchr(wire->login_id, '@')) {
		wire->email = wire->login_id;
		wire->has_email_verified = wire->email_verified = true;
	}
	message_copy(&wire->base, &request->base);
	if (!request->has_status)
		request->status = IDENTITY__USER_STATUS__USER_STATUS_INVITED;
	request->has_status = true;
	*ret_request = &request->base;
	return ST_OK;
}

/* What an overwrite takes away: every text that the request does not have. */
static char *const overwritten[] = {(char *)"email",      (char *)"phone",       (char *)"name",
                                    (char *)"given_name", (char *)"family_name", (char *)"picture"};
#define OVERWRITTEN_COUNT (sizeof(overwritten) / sizeof(overwritten[0]))

static enum status overwrite_texts(struct exchange *exchange, Identity__UpdateUserRequest *request)
{
	request->null_fields = arena_alloc(exchange->arena, OVERWRITTEN_COUNT * sizeof(*request->null_fields));
	if (!request->null_fields)
		return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	for (size_t i = 0; i < OVERWRITTEN_COUNT; i++) {
		const ProtobufCFieldDescriptor *field = message_field(request->base.descriptor, overwritten[i]);
		if (!message_has(&request->base, field))
			request->null_fields[request->n_null_fields++] = overwritten[i];
	}
	return ST_OK;
}

/* Attributes are merged by the service: what the new ones lack is null. */
static enum status overwrite_attributes(struct exchange *exchange, const Identity__User *before,
                                        Identity__UpdateUserRequest *request)
{
	const struct jvalue *old = NULL, *new = NULL;
	struct pbjson_error error = {0};
	struct jvalue *patch = jvalue_new_object(exchange->arena);
	const struct jvalue null = {.kind = JVALUE_NULL};
	size_t len;
	bool ok = patch;
	const char *given = request->attributes_json ? request->attributes_json : "{}";
	enum status status = jvalue_read_object(given, "customAttributes", exchange->arena, &new, &error);
	if (status == ST_OK && before->attributes_json)
		status = jvalue_read_object(before->attributes_json, "customAttributes", exchange->arena, &old, &error);
	if (status != ST_OK)
		return http_fail(exchange, status, error.field, error.reason);
	for (const struct jvalue *at = new->first; at &&ok; at = at->next)
		ok = jvalue_add(patch, at->name, at, exchange->arena);
	for (const struct jvalue *at = old ? old->first : NULL; at && ok; at = at->next)
		ok = jvalue_get(new, at->name) || jvalue_add(patch, at->name, &null, exchange->arena);
	request->attributes_json = ok ? (char *)jvalue_text(patch, exchange->arena, &len) : NULL;
	return request->attributes_json ? ST_OK
	                                : http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
}

/* The user that a login id or user id names. */
static enum status find_user(struct exchange *exchange, char *login_id, const Identity__User **ret_user)
{
	ProtobufCMessage *request = NULL, *reply = NULL;
	char *none = NULL;
	enum status status = lookup_of(exchange, &login_id, &none, &request);
	if (status == ST_OK)
		status = upstream_send(exchange, M_IDENTITY_LOOKUP_USERS, request, &reply);
	if (status != ST_OK)
		return status;
	const Identity__LookupUsersReply *found = (const Identity__LookupUsersReply *)reply;
	if (found->n_data == 0)
		return http_fail(exchange, ST_NOT_FOUND, NULL, "Cannot find user");
	*ret_user = found->data[0];
	return ST_OK;
}

static enum status update_request(struct exchange *exchange, Identity__UpdateUserRequest *request)
{
	Descope__UserRequest *wire = NULL;
	const Identity__User *user = NULL;
	enum status status = user_request(exchange, &wire);
	if (status == ST_OK)
		status = find_user(exchange, wire->login_id, &user);
	if (status != ST_OK)
		return status;
	wire->has_status = false;
	wire->password = NULL;
	message_copy(&wire->base, &request->base);
	request->user_id = user->id;
	if (strcmp(wire->login_id, user->id) == 0) { /* named by its id: keeps the login ids that it has */
		request->login_ids = user->login_ids;
		request->n_login_ids = user->n_login_ids;
	}
	status = overwrite_texts(exchange, request);
	return status == ST_OK ? overwrite_attributes(exchange, user, request) : status;
}

/* Two steps: who is meant, and the change. */
void descope_answer_update(struct exchange *exchange)
{
	Identity__UpdateUserRequest request = IDENTITY__UPDATE_USER_REQUEST__INIT;
	struct upstream_step step = {.method = M_IDENTITY_UPDATE_USER, .number = 1, .request = &request.base};
	if (update_request(exchange, &request) == ST_OK && upstream_step(exchange, &step) == ST_OK)
		descope_user_out(exchange, step.reply);
}

/* ---- history ---- */

static void add_logins(struct exchange *exchange, const char *user_id, const Session__ListSessionsReply *sessions,
                       Descope__History *history)
{
	for (size_t i = 0; i < sessions->n_data; i++) {
		Descope__Login *login = document_new(exchange, &descope__login__descriptor);
		if (!login)
			return;
		message_copy(&sessions->data[i]->base, &login->base);
		login->user_id = (char *)user_id;
		history->bare_array[history->n_bare_array++] = login;
	}
}

static size_t count_logins(const struct upstream_step *steps, size_t count)
{
	size_t logins = 0;
	for (size_t i = 0; i < count; i++)
		logins += steps[i].status == ST_OK ? ((const Session__ListSessionsReply *)steps[i].reply)->n_data : 0;
	return logins;
}

/* Unknown users contribute nothing. */
static void print_history(struct exchange *exchange, const Descope__UserIds *users, const struct upstream_step *steps)
{
	Descope__History history = DESCOPE__HISTORY__INIT;
	size_t count = users->n_bare_array;
	history.bare_array =
	    arena_alloc(exchange->arena, (count_logins(steps, count) + 1) * sizeof(*history.bare_array));
	for (size_t i = 0; i < count && history.bare_array; i++) {
		if (steps[i].status == ST_OK) {
			add_logins(exchange, users->bare_array[i], (const Session__ListSessionsReply *)steps[i].reply,
			           &history);
		} else if (steps[i].status != ST_NOT_FOUND) {
			(void)http_fail(exchange, steps[i].status, NULL, NULL);
			return;
		}
	}
	exchange->failure = (struct failure){0};
	document_print(exchange, 200, &history.base, &descope_style);
}

/* One call for each user, side by side. */
void descope_answer_history(struct exchange *exchange)
{
	ProtobufCMessage *message = NULL;
	if (document_read(exchange, &descope__user_ids__descriptor, &rules, &message) != ST_OK)
		return;
	const Descope__UserIds *users = (const Descope__UserIds *)message;
	size_t count = users->n_bare_array;
	struct upstream_step *steps = arena_alloc(exchange->arena, (count + 1) * sizeof(*steps));
	Session__ListSessionsRequest *requests = arena_alloc(exchange->arena, (count + 1) * sizeof(*requests));
	if (count > HISTORY_USERS_MAX) {
		(void)http_fail(exchange, ST_INVALID_ARGUMENT, "userIds", "At most 100 users may be asked for at once");
		return;
	}
	if (!steps || !requests) {
		(void)http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		session__list_sessions_request__init(&requests[i]);
		requests[i].user_id = users->bare_array[i];
		requests[i].has_limit = 1;
		requests[i].limit = HISTORY_LOGINS;
		steps[i] = (struct upstream_step){
		    .method = M_SESSION_LIST_SESSIONS, .number = (unsigned)i, .request = &requests[i].base};
	}
	enum status status = upstream_steps(exchange, steps, count);
	if (status == ST_OK || status == ST_NOT_FOUND)
		print_history(exchange, users, steps);
}

/* ---- the first request of every client ---- */

void descope_answer_license(struct exchange *exchange)
{
	Descope__License license = DESCOPE__LICENSE__INIT;
	license.rate_limit_tier = (char *)"tier4";
	document_print(exchange, 200, &license.base, &descope_style);
}
