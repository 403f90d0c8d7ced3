/* Access tokens: mint and verify. */
#include "service.h"

#include "base/clock.h"
#include "base/token.h"
#include "claims.pb-c.h"
#include "jws.h"
#include "json/jvalue.h"

#include <string.h>

/* What goes into one token. */
struct mint {
	const Claims__MintRequest *request;
	const char *document; /* custom claims or NULL */
	int64_t now_sec;
	uint32_t lifetime_sec;
};

/* ---- mint ---- */

static enum status check_mint(struct call *call, const Claims__MintRequest *in, struct id *ret_user)
{
	struct id session;
	if (!id_parse("usr", in->user_id, ret_user))
		return call_fail(call, ST_INVALID_ARGUMENT, "user_id", "This is not a user id.");
	if (!id_parse("ses", in->session_id, &session))
		return call_fail(call, ST_INVALID_ARGUMENT, "session_id", "This is not a session id.");
	if (!in->has_epoch || in->epoch < 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "epoch", "The epoch is missing or negative.");
	if (in->audience && in->audience[0] == '\0')
		return call_fail(call, ST_INVALID_ARGUMENT, "audience", "The audience must not be empty.");
	if (in->has_lifetime_sec && in->lifetime_sec == 0)
		return call_fail(call, ST_INVALID_ARGUMENT, "lifetime_sec", "The lifetime must be at least a second.");
	return ST_OK;
}

/* The registered claims. A text that is missing fails, as a full arena does. */
static bool add_registered(struct call *call, const struct mint *mint, struct jvalue *payload)
{
	const Claims__MintRequest *in = mint->request;
	struct arena *arena = call->arena;
	const struct id id = id_new();
	char *project = arena_alloc(arena, ID_TEXT_SIZE), *jti = arena_alloc(arena, ID_TEXT_SIZE);
	if (!project || !jti)
		return false;
	id_format("prj", &call->project, project);
	id_format(TOKEN_JTI_PREFIX, &id, jti);
	const char *issuer = arena_printf(arena, "%s/v1/projects/%s", claims_state(call)->issuer, project);
	bool good =
	    jvalue_add_text(payload, "iss", issuer, arena) && jvalue_add_text(payload, "sub", in->user_id, arena) &&
	    jvalue_add_text(payload, "aud", in->audience ? in->audience : project, arena) &&
	    jvalue_add_integer(payload, "iat", mint->now_sec, arena) &&
	    jvalue_add_integer(payload, "exp", mint->now_sec + mint->lifetime_sec, arena) &&
	    jvalue_add_text(payload, "jti", jti, arena) && jvalue_add_text(payload, "sid", in->session_id, arena) &&
	    jvalue_add_integer(payload, "tv", in->epoch, arena);
	if (good && in->email)
		good = jvalue_add_text(payload, "email", in->email, arena);
	if (good && in->has_email_verified)
		good = jvalue_add_bool(payload, "email_verified", in->email_verified, arena);
	if (good && in->name)
		good = jvalue_add_text(payload, "name", in->name, arena);
	return good;
}

/* Custom claims never replace a registered one, whatever the database holds. */
static bool add_custom(struct call *call, const char *document, struct jvalue *payload)
{
	struct pbjson_error error;
	const struct jvalue *custom;
	if (!document)
		return true;
	if (jvalue_read_object(document, "claims", call->arena, &custom, &error) != ST_OK)
		return false;
	for (const struct jvalue *claim = custom->first; claim; claim = claim->next) {
		if (!jvalue_get(payload, claim->name) && !jvalue_add(payload, claim->name, claim, call->arena))
			return false;
	}
	return true;
}

static enum status make_payload(struct call *call, const struct mint *mint, const char **ret_payload, size_t *ret_len)
{
	struct jvalue *payload = jvalue_new_object(call->arena);
	const char *text;
	if (!add_registered(call, mint, payload) || !add_custom(call, mint->document, payload))
		return ST_INTERNAL;
	text = jvalue_text(payload, call->arena, ret_len);
	if (!text)
		return ST_INTERNAL;
	*ret_payload = text;
	return ST_OK;
}

/* Reads key and claims; the first token of a project that the ledger has not yet announced makes its keys. */
static enum status read_mint(struct call *call, const struct id *user, struct sql_mint_read_row *ret_row)
{
	struct sql_mint_read params = {user};
	struct sql_scope scope = call_sql(call);
	enum status status = sql_one(&scope, &sql_mint_read, &params, ret_row);
	if (status != ST_NOT_FOUND)
		return status;
	status = claims_ensure_keys(claims_state(call), &scope);
	return status == ST_OK ? sql_one(&scope, &sql_mint_read, &params, ret_row) : status;
}

static bool take(struct db_blob blob, void *ret_bytes, size_t size_bytes)
{
	if (!blob.data || blob.len != size_bytes)
		return false;
	memcpy(ret_bytes, blob.data, size_bytes);
	return true;
}

static enum status open_key(struct call *call, const struct sql_mint_read_row *row, const struct jwt_key **ret_key)
{
	struct sealed_key key;
	size_t len = strlen(row->kid);
	if (len >= sizeof(key.kid) || !take(row->x, key.x, sizeof(key.x)) || !take(row->y, key.y, sizeof(key.y)) ||
	    !take(row->sealed_private, key.sealed, sizeof(key.sealed)))
		return ST_INTERNAL;
	memcpy(key.kid, row->kid, len + 1);
	enum status status = keyring_open(claims_state(call)->keyring, &call->project, &key, ret_key);
	if (status != ST_OK)
		return call_fail(call, status, "", "The signing key does not open under this key-encryption key.");
	return ST_OK;
}

enum status h_mint(struct call *call, const Claims__MintRequest *request, Claims__MintReply *reply)
{
	struct mint mint = {.request = request, .lifetime_sec = claims_state(call)->lifetime_sec};
	struct sql_mint_read_row row;
	struct id user;
	const struct jwt_key *key;
	const char *payload;
	size_t len;
	enum status status = check_mint(call, request, &user);
	if (status != ST_OK)
		return status;
	status = read_mint(call, &user, &row);
	if (status != ST_OK)
		return status;
	mint.document = row.document;
	mint.now_sec = clock_wall_us() / US_PER_SEC;
	if (request->has_lifetime_sec && request->lifetime_sec < mint.lifetime_sec)
		mint.lifetime_sec = request->lifetime_sec;
	status = make_payload(call, &mint, &payload, &len);
	if (status != ST_OK)
		return status;
	status = open_key(call, &row, &key);
	if (status != ST_OK)
		return status;
	status = jwt_sign(key, payload, len, call->arena, &reply->access_token);
	if (status != ST_OK)
		return status;
	if (strlen(reply->access_token) > TOKEN_MAX_BYTES)
		return call_fail(call, ST_CLAIMS_TOO_LARGE, "name", "The token would be longer than %d bytes.",
		                 TOKEN_MAX_BYTES);
	reply->has_expires_in = true;
	reply->expires_in = mint.lifetime_sec;
	return ST_OK;
}

/* ---- verify ---- */

static const struct token_key *find_only_key(void *arg, const struct id *project, const char *kid)
{
	return arg;
}

/* ST_INVALID_TOKEN: no such key, or it is no longer to be believed. *ret_key is for token_key_free. */
static enum status read_verify_key(struct call *call, const char *kid, struct token_key **ret_key)
{
	struct sql_signing_key_list_row *rows;
	size_t count;
	enum status status =
	    call_all(call, &sql_signing_key_list, &(struct sql_signing_key_list){clock_wall_us()}, &rows, &count);
	if (status != ST_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		const Claims__Rows__SigningKey *key = rows[i].key;
		if (strcmp(key->kid, kid) != 0)
			continue;
		*ret_key = token_key_new(key->kid, key->x.data, key->y.data);
		return *ret_key ? ST_OK : ST_INTERNAL;
	}
	return ST_INVALID_TOKEN;
}

/* A token of this project and issuer that verifies. ST_INVALID_TOKEN otherwise. */
static enum status verify(struct call *call, const char *token, struct token_claims *ret_claims)
{
	char kid[TOKEN_KID_SIZE];
	struct id project;
	struct token_key *key = NULL;
	size_t len = strlen(token);
	enum status status = token_peek(token, len, &project, kid);
	if (status != ST_OK || !id_equal(&project, &call->project))
		return ST_INVALID_TOKEN;
	status = read_verify_key(call, kid, &key);
	if (status != ST_OK)
		return status;
	status = token_verify(token, len, claims_state(call)->issuer, clock_wall_us() / US_PER_SEC, find_only_key, key,
	                      call->arena, ret_claims);
	token_key_free(&key);
	return status;
}

/* A bad token is an answer, not an error. */
enum status h_verify_token(struct call *call, const Claims__VerifyTokenRequest *request,
                           Claims__VerifyTokenReply *reply)
{
	struct token_claims claims;
	if (!request->token || request->token[0] == '\0')
		return call_fail(call, ST_INVALID_ARGUMENT, "token", "The token is missing.");
	enum status status = verify(call, request->token, &claims);
	reply->has_active = true;
	reply->active = status == ST_OK;
	if (status == ST_OK)
		reply->claims_json = (char *)claims.payload;
	return status == ST_INVALID_TOKEN ? ST_OK : status;
}
