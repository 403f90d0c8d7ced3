/* Signing keys: the public set, the list, rotation. */
#include "service.h"

#include "base/clock.h"
#include "base/token.h"
#include "claims.pb-c.h"
#include "common.pb-c.h"

#define ROTATE_ATTEMPTS 3
/* A token being signed with the old key while it is rotated; far longer than any call may take. */
#define ROTATE_MARGIN_SEC 60

static Claims__Jwk *jwk_new(struct arena *arena, const struct key_row *key)
{
	Claims__Jwk *jwk = arena_alloc(arena, sizeof(*jwk));
	char *x = arena_alloc(arena, BASE64URL_SIZE(sizeof(key->x)));
	char *y = arena_alloc(arena, BASE64URL_SIZE(sizeof(key->y)));
	if (jwk == NULL || x == NULL || y == NULL)
		return NULL;
	claims__jwk__init(jwk);
	base64url_encode(key->x, sizeof(key->x), x);
	base64url_encode(key->y, sizeof(key->y), y);
	jwk->kty = (char *)"EC";
	jwk->crv = (char *)"P-256";
	jwk->x = x;
	jwk->y = y;
	jwk->kid = (char *)key->kid;
	jwk->alg = (char *)key->algorithm;
	jwk->use = (char *)"sig";
	return jwk;
}

/* Read from the database each time: a verifier that meets a new kid asks here, and must not get a remembered answer. */
enum status h_get_jwks(struct call *call, const Claims__GetJwksRequest *request, Claims__Jwks *reply)
{
	struct store store = claims_store(call);
	struct key_row *keys;
	size_t count;
	struct id project;
	if (!id_parse("prj", request->project_id, &project))
		return call_fail(call, ST_NOT_FOUND, "project_id", "There is no such project.");
	enum status status = store_list_keys(&store, &project, clock_wall_us(), &keys, &count);
	if (status != ST_OK)
		return status;
	if (count == 0)
		return call_fail(call, ST_NOT_FOUND, "project_id", "There is no such project.");
	reply->keys = arena_alloc(call->arena, count * sizeof(*reply->keys));
	if (reply->keys == NULL)
		return ST_INTERNAL;
	for (size_t i = 0; i < count; i++) {
		reply->keys[i] = jwk_new(call->arena, &keys[i]);
		if (reply->keys[i] == NULL)
			return ST_INTERNAL;
	}
	reply->n_keys = count;
	return ST_OK;
}

static Claims__SigningKey *signing_key_new(struct arena *arena, const struct key_row *key)
{
	Claims__SigningKey *out = arena_alloc(arena, sizeof(*out));
	if (out == NULL)
		return NULL;
	claims__signing_key__init(out);
	out->kid = (char *)key->kid;
	out->algorithm = (char *)key->algorithm;
	out->state = (char *)key->state;
	out->has_created_at_us = true;
	out->created_at_us = key->created_at_us;
	out->has_retires_at_us = key->retires;
	out->retires_at_us = key->retires_at_us;
	return out;
}

enum status h_list_signing_keys(struct call *call, const Common__Empty *request, Claims__ListSigningKeysReply *reply)
{
	struct store store = claims_store(call);
	struct key_row *keys;
	size_t count;
	enum status status = store_list_keys(&store, &call->project, clock_wall_us(), &keys, &count);
	if (status == ST_OK && count == 0) /* the ledger has not announced the project yet */
		status = claims_ensure_key(claims_state(call), &store, &call->project);
	if (status == ST_OK && count == 0)
		status = store_list_keys(&store, &call->project, clock_wall_us(), &keys, &count);
	if (status != ST_OK)
		return status;
	reply->data = arena_alloc(call->arena, (count + 1) * sizeof(*reply->data));
	if (reply->data == NULL)
		return ST_INTERNAL;
	for (size_t i = 0; i < count; i++) {
		reply->data[i] = signing_key_new(call->arena, &keys[i]);
		if (reply->data[i] == NULL)
			return ST_INTERNAL;
	}
	reply->n_data = count;
	return ST_OK;
}

/* One attempt. ST_ABORTED: there was no active key, or another rotation came first. */
static enum status try_rotate(struct call *call, Claims__SigningKey *reply)
{
	struct claims_state *state = claims_state(call);
	struct store store = claims_store(call);
	struct key_rotation rotation = {.project = call->project, .now_us = clock_wall_us()};
	Events__Event event = EVENTS__EVENT__INIT;
	enum status status = keyring_generate(state->keyring, &call->project, &rotation.key);
	if (status != ST_OK)
		return status;
	rotation.retires_at_us =
	    rotation.now_us + (state->lifetime_sec + TOKEN_SKEW_SEC + ROTATE_MARGIN_SEC) * US_PER_SEC;
	reply->kid = arena_strdup(call->arena, rotation.key.kid);
	if (reply->kid == NULL)
		return ST_INTERNAL;
	reply->algorithm = (char *)"ES256";
	reply->state = (char *)"active";
	reply->has_created_at_us = true;
	reply->created_at_us = rotation.now_us;
	event.has_type = true;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_SIGNING_KEY_ROTATED;
	event.subject = reply->kid;
	rotation.event = call_event(call, &event);
	rotation.operation = call_operation(call, &reply->base);
	return store_rotate_key(&store, &rotation);
}

enum status h_rotate_signing_key(struct call *call, const Common__Empty *request, Claims__SigningKey *reply)
{
	struct store store = claims_store(call);
	enum status status = ST_ABORTED;
	for (int attempt = 0; attempt < ROTATE_ATTEMPTS && status == ST_ABORTED; attempt++) {
		if (attempt > 0 && (status = claims_ensure_key(claims_state(call), &store, &call->project)) != ST_OK)
			break;
		status = try_rotate(call, reply);
	}
	if (status == ST_OK)
		call_committed(call);
	return status;
}
