/* CreateSession: throttle, password, access token, then the session in one statement. */
#include "service.h"

#include "base/utf8.h"

#include <string.h>

#define PASSWORD_MAX_BYTES 1024
#define DAY_US (86400 * US_PER_SEC) /* a known network is written so often */
#define USER_AGENT_MAX_BYTES 512

/* What a sign-in request says, checked. */
struct sign_in {
	char login[LOGIN_SIZE]; /* canonical */
	const char *password;
	struct address address;
	char ip_text[ADDRESS_TEXT_SIZE];
	const char *ip_address; /* ip_text; NULL when not told */
	const char *user_agent; /* NULL when not told */
	struct throttle_place place;
};

static enum status check_login(struct call *call, const Session__CreateSessionRequest *request, struct sign_in *sign_in)
{
	char email[LOGIN_SIZE];
	login_reason reason;

	if (!request->login_id && !request->email)
		return call_fail(call, ST_INVALID_ARGUMENT, "login_id", "Give login_id or email");
	/* What nobody can be called is a slip of the client, not a guess: it is named, and counts nowhere. */
	reason = request->login_id ? login_typed(request->login_id, sign_in->login) : NULL;
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "login_id", "%s", reason);
	reason = request->email ? login_typed(request->email, email) : NULL;
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "email", "%s", reason);
	if (request->login_id && request->email && strcmp(sign_in->login, email) != 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "email", "login_id and email name different users");
	if (!request->login_id)
		memcpy(sign_in->login, email, sizeof(email));
	return ST_OK;
}

/* What an end user's device and the proxies before it wrote is information: understood or cut, never refused. */
static enum status note_device(struct call *call, const Session__CreateSessionRequest *request, struct sign_in *sign_in)
{
	if (request->ip_address && address_read(request->ip_address, &sign_in->address)) {
		address_print(&sign_in->address, sign_in->ip_text);
		sign_in->ip_address = sign_in->ip_text;
	}
	if (!request->user_agent || !request->user_agent[0])
		return ST_OK;
	sign_in->user_agent =
	    arena_strndup(call->arena, request->user_agent, utf8_cut(request->user_agent, USER_AGENT_MAX_BYTES));
	return sign_in->user_agent ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static enum status check_request(struct call *call, const Session__CreateSessionRequest *request,
                                 struct sign_in *sign_in)
{
	enum status status = check_login(call, request, sign_in);

	if (status != ST_OK)
		return status;
	size_t len = request->password ? strnlen(request->password, PASSWORD_MAX_BYTES + 1) : 0;
	if (len == 0 || len > PASSWORD_MAX_BYTES)
		return call_fail(call, ST_INVALID_ARGUMENT, "password", "Must have 1 to %d bytes", PASSWORD_MAX_BYTES);
	sign_in->password = request->password;
	return note_device(call, request, sign_in);
}

static struct packed refusal_event(struct call *call, enum status refusal)
{
	Events__Event event = EVENTS__EVENT__INIT;

	event.has_type = true;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_SIGN_IN_FAILED;
	event.reason = (char *)status_name(refusal);
	return call_event(call, &event);
}

/* The guess has been counted since before it was hashed; its event is durable before it is told, or the call fails instead. */
static enum status refuse_credentials(struct call *call, const struct sign_in *sign_in, enum status refusal)
{
	const struct session_state *state = call->run->state;
	struct packed event = refusal_event(call, refusal);
	enum status status = throttle_record_failure(call, &sign_in->place, &event);

	if (status != ST_OK)
		return call_fail(call, status, "", "The attempt could not be recorded");
	metric_add(state->failed, 1);
	return refusal;
}

/* The password was right: who may not sign in all the same has guessed nothing. */
static enum status refuse_account(struct call *call, const struct sign_in *sign_in, enum status refusal)
{
	struct packed event = refusal_event(call, refusal);
	enum status status = throttle_give_back(call, &sign_in->place, &event);

	return status == ST_OK ? refusal : call_fail(call, status, "", "The attempt could not be recorded");
}

/* By whom and from where the attempt is counted: all login ids of a user are one. */
static enum status find_keys(struct call *call, const struct sign_in *sign_in, struct throttle_keys *ret_keys)
{
	const struct session_state *state = call->run->state;
	Identity__GetAuthorizationRequest request = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	struct throttle_who who = {.login = sign_in->login};
	ProtobufCMessage *answer = NULL;
	struct id user;

	request.login_id = (char *)sign_in->login;
	enum status status = state->peer(call, M_IDENTITY_GET_AUTHORIZATION, &request.base, &answer);
	if (status != ST_OK && status != ST_NOT_FOUND)
		return status;
	if (status == ST_OK) {
		const Identity__Authorization *auth = (const Identity__Authorization *)answer;
		if (!id_parse("usr", auth->user_id, &user))
			return ST_INTERNAL;
		who.user = &user;
		who.secret = auth->credential;
	}
	throttle_make_keys(state->keys.throttle, &call->project, &who, sign_in->ip_address ? &sign_in->address : NULL,
	                   ret_keys);
	return ST_OK;
}

/* The first sign-in of an invited user makes it active. */
static enum status ask_identity(struct call *call, struct sign_in *sign_in, Identity__Authorization **ret_auth)
{
	const struct session_state *state = call->run->state;
	Identity__VerifyPasswordRequest request = IDENTITY__VERIFY_PASSWORD_REQUEST__INIT;
	Identity__ActivateUserRequest activate = IDENTITY__ACTIVATE_USER_REQUEST__INIT;
	ProtobufCMessage *answer = NULL, *activated = NULL;

	request.login_id = sign_in->login;
	request.password = (char *)sign_in->password;
	enum status status = state->peer(call, M_IDENTITY_VERIFY_PASSWORD, &request.base, &answer);
	if (status != ST_OK)
		return status;
	*ret_auth = (Identity__Authorization *)answer;
	if ((*ret_auth)->status != IDENTITY__USER_STATUS__USER_STATUS_INVITED)
		return ST_OK;
	activate.user_id = (*ret_auth)->user_id;
	return state->peer(call, M_IDENTITY_ACTIVATE_USER, &activate.base, &activated);
}

/* On ST_OK the place is still taken: open_session settles it. */
static enum status verify_password(struct call *call, struct sign_in *sign_in, Identity__Authorization **ret_auth)
{
	struct throttle_keys keys;
	enum status status = find_keys(call, sign_in, &keys);

	if (status == ST_OK)
		status = throttle_take(call, &keys, &sign_in->place);
	if (status != ST_OK)
		return status;
	status = ask_identity(call, sign_in, ret_auth);
	if (status == ST_INVALID_CREDENTIALS)
		return refuse_credentials(call, sign_in, status);
	if (status == ST_ACCOUNT_DISABLED)
		return refuse_account(call, sign_in, status);
	if (status != ST_OK)
		throttle_give_back(call, &sign_in->place, NULL);
	return status;
}

/* A retry of the same operation must find its session, so the id comes from the operation's. A fresh operation id is a
 * UUIDv7: its time is kept and the session's id is one too. */
static struct id derive_session_id(const struct id *operation)
{
	struct id id = id_derive(operation, "session");
	bool has_time = (operation->bytes[6] & 0xf0) == 0x70 && (operation->bytes[8] & 0xc0) == 0x80;

	if (has_time)
		memcpy(id.bytes, operation->bytes, 8);
	else
		id.bytes[6] = (uint8_t)(0x80 | (id.bytes[6] & 0x0f));
	id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
	return id;
}

/* The session that a sign-in opens. */
struct opening {
	Session__Rows__Session *row; /* made, or the one of an earlier attempt */
	Session__Rows__Session made; /* its columns are below */
	struct id id, user;
	uint8_t current_hash[SHA256_SIZE], salt[REFRESH_SALT_SIZE], request_mac[SHA256_SIZE];
	struct refresh_token token;
	Claims__MintReply *access;
};

#define COLUMN(row, column, bytes)                                                                                     \
	((row)->has_##column = true, (row)->column = (ProtobufCBinaryData){sizeof(bytes), (void *)(bytes)})
#define NUMBER(row, column, value) ((row)->has_##column = true, (row)->column = (value))

static void set_times(const struct session_state *state, Session__Rows__Session *row)
{
	int64_t now_us = clock_wall_us(), dies_at_us = now_us + state->lifetime_us;
	int64_t expires_at_us = rules_expiry_us(now_us, state->idle_us, dies_at_us);

	NUMBER(row, rotated_at_us, now_us);
	NUMBER(row, created_at_us, now_us);
	NUMBER(row, last_used_at_us, now_us);
	NUMBER(row, expires_at_us, expires_at_us);
	NUMBER(row, dies_at_us, dies_at_us);
	NUMBER(row, purge_at_us, rules_purge_us(expires_at_us));
}

static enum status make_row(struct call *call, const struct sign_in *sign_in, const Identity__Authorization *auth,
                            struct opening *opening)
{
	const struct session_state *state = call->run->state;
	Session__Rows__Session *row = opening->row = &opening->made;

	session__rows__session__init(row);
	if (!id_parse("usr", auth->user_id, &opening->user))
		return ST_INTERNAL;
	opening->id = derive_session_id(&call->operation);
	secret_random(opening->salt, sizeof(opening->salt));
	/* The request's hash covers the password: only a keyed hash of it may be stored. */
	secret_hmac_sha256(state->keys.request, sizeof(state->keys.request), call->request_hash, SHA256_SIZE,
	                   opening->request_mac);
	refresh_derive_first(&state->keys, &call->project, &opening->id, opening->salt, &opening->token);
	refresh_hash(&opening->token, opening->current_hash);
	COLUMN(row, session_id, opening->id.bytes);
	COLUMN(row, user_id, opening->user.bytes);
	COLUMN(row, current_hash, opening->current_hash);
	COLUMN(row, salt, opening->salt);
	COLUMN(row, request_mac, opening->request_mac);
	NUMBER(row, epoch, auth->epoch);
	NUMBER(row, generation, 1);
	set_times(state, row);
	row->method = (char *)"password";
	row->ip_address = (char *)sign_in->ip_address;
	row->user_agent = (char *)sign_in->user_agent;
	return ST_OK;
}

/* The session of this operation exists: a retry gets the same first token as long as it was not used. */
static enum status resume_session(struct call *call, struct opening *opening)
{
	const struct session_state *state = call->run->state;
	Session__Rows__Session *stored;
	uint8_t hash[SHA256_SIZE];
	enum status status = service_find_session(call, &opening->id, &stored);

	if (status != ST_OK)
		return status == ST_NOT_FOUND ? ST_ABORTED : status;
	struct id user = id_from_bytes(stored->user_id);
	if (!service_is_hash(stored->request_mac, opening->request_mac) || !id_equal(&user, &opening->user))
		return call_fail(call, ST_CONFLICT, "", "The Idempotency-Key was used for another request");
	refresh_derive_first(&state->keys, &call->project, &opening->id, stored->salt.data, &opening->token);
	refresh_hash(&opening->token, hash);
	if (service_session_is_over(stored, clock_wall_us()) || stored->epoch != opening->made.epoch ||
	    !service_is_hash(stored->current_hash, hash))
		return call_fail(call, ST_CONFLICT, "", "The session of this Idempotency-Key was used or has ended");
	opening->row = stored;
	return ST_OK;
}

static enum status write_session(struct call *call, const struct sign_in *sign_in, const struct opening *opening,
                                 int64_t *ret_rows)
{
	const struct throttle_place *place = &sign_in->place;
	struct packed event = service_session_event(call, EVENTS__EVENT_TYPE__EVENT_TYPE_SESSION_CREATED, opening->row,
	                                            opening->row->method);
	const struct sql_session_create params = {
	    .session = opening->row,
	    .known = BLOB(place->keys.known),
	    .network = BLOB(place->keys.network),
	    .day_us = DAY_US,
	    .pair = BLOB(place->keys.pair),
	    .user = BLOB(place->keys.user),
	    .by_user = place->by_user,
	};

	return service_write(call, &sql_session_create, &params, &event, ret_rows);
}

/* Settles the place of the attempt, whatever comes of it. Signing comes before the insert: a session that was committed can then always
 * be answered. */
static enum status open_session(struct call *call, const struct sign_in *sign_in, const Identity__Authorization *auth,
                                Session__TokenReply *reply)
{
	struct opening opening = {0};
	int64_t created = 0;
	enum status status = make_row(call, sign_in, auth, &opening);

	if (status == ST_OK)
		status = service_mint(call, &opening.id, opening.row->expires_at_us, auth, &opening.access);
	if (status == ST_OK)
		status = write_session(call, sign_in, &opening, &created);
	if (status != ST_OK) {
		throttle_give_back(call, &sign_in->place, NULL);
		goto out;
	}
	if (created == 0)
		status = resume_session(call, &opening);
	if (status == ST_OK)
		status = service_answer_tokens(call, opening.row, &opening.token, opening.access, reply);
out:
	secret_wipe(&opening.token, sizeof(opening.token));
	return status;
}

enum status h_create_session(struct call *call, const Session__CreateSessionRequest *request,
                             Session__TokenReply *reply)
{
	struct sign_in *sign_in = arena_alloc(call->arena, sizeof(*sign_in));
	Identity__Authorization *auth = NULL;
	enum status status = sign_in ? check_request(call, request, sign_in) : ST_RESOURCE_EXHAUSTED;

	if (status == ST_OK)
		status = verify_password(call, sign_in, &auth);
	return status == ST_OK ? open_session(call, sign_in, auth, reply) : status;
}
