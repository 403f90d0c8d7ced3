/* Signing keys: the public set, the list, rotation. */
#include "service.h"

#include "base/clock.h"
#include "base/token.h"
#include "claims.pb-c.h"
#include "common.pb-c.h"

#include <string.h>

#define WRITE_ATTEMPTS 3
/* How long a key is published before it signs: many libraries keep their copy of the set for ten minutes, whatever they are told, and
 * the gateway that gave it may have kept it for one. Four minutes (@cache) behind a cache that keeps it for four are less. */
#define AHEAD_SEC 660
/* A token being signed with the old key while it is rotated; far longer than any call may take. */
#define ROTATE_MARGIN_SEC 60

static Claims__Jwk *jwk_new(struct arena *arena, const struct key_row *key)
{
	Claims__Jwk *jwk = arena_alloc(arena, sizeof(*jwk));
	char *x = arena_alloc(arena, BASE64URL_SIZE(sizeof(key->x)));
	char *y = arena_alloc(arena, BASE64URL_SIZE(sizeof(key->y)));
	if (!jwk || !x || !y)
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

/* A project's published keys, read from the database. */
struct key_set {
	struct key_row *rows;
	size_t count;
};

static const struct key_row *key_in_state(const struct key_set *set, const char *state)
{
	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->rows[i].state, state) == 0)
			return &set->rows[i];
	}
	return NULL;
}

/* Reads a project's keys. A project that an earlier version made has no next key yet: it gets one before anybody is shown the
 * set. `known`: the project exists, so that it gets its keys even before the ledger has announced it. */
static enum status read_keys(struct call *call, const struct id *project, bool known, struct key_set *ret_set)
{
	struct store store = claims_store(call);
	struct key_set set;
	enum status status = store_list_keys(&store, project, clock_wall_us(), &set.rows, &set.count);
	if (status != ST_OK)
		return status;
	if (set.count == 0 ? known : !key_in_state(&set, "next")) {
		status = claims_ensure_keys(claims_state(call), &store, project);
		if (status != ST_OK)
			return status;
		status = store_list_keys(&store, project, clock_wall_us(), &set.rows, &set.count);
		if (status != ST_OK)
			return status;
	}
	*ret_set = set;
	return ST_OK;
}

/* ---- the public set and the list ---- */

enum status h_get_jwks(struct call *call, const Claims__GetJwksRequest *request, Claims__Jwks *reply)
{
	struct key_set set;
	struct id project;
	if (!id_parse("prj", request->project_id, &project))
		return call_fail(call, ST_NOT_FOUND, "project_id", "There is no such project.");
	enum status status = read_keys(call, &project, false, &set);
	if (status != ST_OK)
		return status;
	if (set.count == 0)
		return call_fail(call, ST_NOT_FOUND, "project_id", "There is no such project.");
	reply->keys = arena_alloc(call->arena, set.count * sizeof(*reply->keys));
	if (!reply->keys)
		return ST_INTERNAL;
	for (size_t i = 0; i < set.count; i++) {
		reply->keys[i] = jwk_new(call->arena, &set.rows[i]);
		if (!reply->keys[i])
			return ST_INTERNAL;
	}
	reply->n_keys = set.count;
	return ST_OK;
}

static Claims__SigningKey *signing_key_new(struct arena *arena, const struct key_row *key)
{
	Claims__SigningKey *out = arena_alloc(arena, sizeof(*out));
	if (!out)
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
	struct key_set set;
	enum status status = read_keys(call, &call->project, true, &set);
	if (status != ST_OK)
		return status;
	reply->data = arena_alloc(call->arena, (set.count + 1) * sizeof(*reply->data));
	if (!reply->data)
		return ST_INTERNAL;
	for (size_t i = 0; i < set.count; i++) {
		reply->data[i] = signing_key_new(call->arena, &set.rows[i]);
		if (!reply->data[i])
			return ST_INTERNAL;
	}
	reply->n_data = set.count;
	return ST_OK;
}

/* ---- rotation ---- */

/* A copy of the key set that is still in use must hold the next key before that signs. Keys that were made together have always been
 * published together. */
static enum status check_published(struct call *call, const struct key_row *active, const struct key_row *next)
{
	int64_t left_us = next->created_at_us + AHEAD_SEC * US_PER_SEC - clock_wall_us();
	if (next->created_at_us == active->created_at_us || left_us <= 0)
		return ST_OK;
	call->retry_after_ms = (uint32_t)(left_us / US_PER_MS) + 1;
	return call_fail(call, ST_CONFLICT, "", "The next key was published %lld seconds ago; it may sign after %d.",
	                 (long long)(AHEAD_SEC - left_us / US_PER_SEC), AHEAD_SEC);
}

/* One attempt. ST_ABORTED: another change of the keys came first. */
static enum status try_rotate(struct call *call, Claims__SigningKey *reply)
{
	const struct claims_state *state = claims_state(call);
	struct store store = claims_store(call);
	struct key_change change = {.project = call->project, .now_us = clock_wall_us()};
	Events__Event event = EVENTS__EVENT__INIT;
	struct key_set set;
	enum status status = read_keys(call, &call->project, true, &set);
	if (status != ST_OK)
		return status;
	const struct key_row *active = key_in_state(&set, "active"), *next = key_in_state(&set, "next");
	if (!active || !next)
		return ST_ABORTED;
	status = check_published(call, active, next);
	if (status != ST_OK)
		return status;
	status = keyring_generate(state->keyring, &call->project, &change.key);
	if (status != ST_OK)
		return status;
	change.next_kid = next->kid;
	change.active_kid = active->kid;
	change.retires_at_us = change.now_us + (state->lifetime_sec + TOKEN_SKEW_SEC + ROTATE_MARGIN_SEC) * US_PER_SEC;
	reply->kid = (char *)next->kid;
	reply->algorithm = (char *)next->algorithm;
	reply->state = (char *)"active";
	reply->has_created_at_us = true;
	reply->created_at_us = next->created_at_us;
	event.has_type = true;
	event.type = EVENTS__EVENT_TYPE__EVENT_TYPE_SIGNING_KEY_ROTATED;
	event.subject = reply->kid;
	change.event = call_event(call, &event);
	change.operation = call_operation(call, &reply->base);
	return store_replace_key(&store, &change);
}

enum status h_rotate_signing_key(struct call *call, const Common__Empty *request, Claims__SigningKey *reply)
{
	enum status status = ST_ABORTED;
	for (int attempt = 0; attempt < WRITE_ATTEMPTS && status == ST_ABORTED; attempt++)
		status = try_rotate(call, reply);
	if (status == ST_OK)
		call_committed(call);
	return status;
}
