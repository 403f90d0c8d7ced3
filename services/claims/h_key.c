/* Signing keys: the public set, the list, rotation, withdrawal. */
#include "service.h"

#include "base/clock.h"
#include "base/token.h"
#include "claims.pb-c.h"
#include "common.pb-c.h"
#include "process/change.h"
#include "json/message.h"

#include <string.h>

/* A token being signed with the old key while it is rotated; far longer than any call may take. */
#define ROTATE_MARGIN_SEC 60
/* How long a key is published before it signs: many libraries keep their copy of the set for ten minutes, whatever they are told, and
 * the gateway that gave it may have kept it for one. Four minutes (@cache) behind a cache that keeps it for four are less. */
#define AHEAD_SEC 660
/* A token being signed with the old key while it is rotated; far longer than any call may take. */
#define ROTATE_MARGIN_SEC 60

/* A project's published keys. */
struct key_set {
	struct sql_signing_key_list_row *rows;
	size_t count;
};

static const Claims__Rows__SigningKey *key_in_state(const struct key_set *set, const char *state)
{
	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->rows[i].key->state, state) == 0)
			return set->rows[i].key;
	}
	return NULL;
}

/* Reads the keys of a project. One that an earlier version made has no next key yet: it gets one before anybody is shown the
 * set. `known`: the project exists, so that it gets its keys even before the ledger has announced it. */
static enum status read_keys(struct call *call, const struct id *project, bool known, struct key_set *ret_set)
{
	struct sql_scope scope = call_sql(call);
	struct sql_signing_key_list params = {clock_wall_us()};
	struct key_set set;
	scope.project = project;
	enum status status = sql_all(&scope, &sql_signing_key_list, &params, &set.rows, &set.count);
	if (status != ST_OK)
		return status;
	if (set.count == 0 ? known : !key_in_state(&set, "next")) {
		status = claims_ensure_keys(claims_state(call), &scope);
		if (status != ST_OK)
			return status;
		status = sql_all(&scope, &sql_signing_key_list, &params, &set.rows, &set.count);
		if (status != ST_OK)
			return status;
	}
	*ret_set = set;
	return ST_OK;
}

/* ---- the public set and the list ---- */

static char *coordinate(struct arena *arena, ProtobufCBinaryData bytes)
{
	char *text = arena_alloc(arena, BASE64URL_SIZE(bytes.len));
	if (text)
		base64url_encode(bytes.data, bytes.len, text);
	return text;
}

static Claims__Jwk *jwk_new(struct arena *arena, const Claims__Rows__SigningKey *key)
{
	Claims__Jwk *jwk = arena_alloc(arena, sizeof(*jwk));
	if (!jwk)
		return NULL;
	claims__jwk__init(jwk);
	jwk->kty = (char *)"EC";
	jwk->crv = (char *)"P-256";
	jwk->x = coordinate(arena, key->x);
	jwk->y = coordinate(arena, key->y);
	jwk->kid = key->kid;
	jwk->alg = key->algorithm;
	jwk->use = (char *)"sig";
	return jwk->x && jwk->y ? jwk : NULL;
}

enum status h_get_jwks(struct call *call, const Claims__GetJwksRequest *request, Claims__Jwks *reply)
{
	struct key_set set;
	struct id project;
	enum status status = call_id(call, "prj", request->project_id, NULL, &project);
	if (status != ST_OK)
		return status;
	status = read_keys(call, &project, false, &set);
	if (status != ST_OK)
		return status;
	if (set.count == 0)
		return call_fail(call, ST_NOT_FOUND, "project_id", "There is no such project.");
	reply->keys = arena_alloc(call->arena, set.count * sizeof(*reply->keys));
	if (!reply->keys)
		return ST_RESOURCE_EXHAUSTED;
	for (; reply->n_keys < set.count; reply->n_keys++) {
		reply->keys[reply->n_keys] = jwk_new(call->arena, set.rows[reply->n_keys].key);
		if (!reply->keys[reply->n_keys])
			return ST_RESOURCE_EXHAUSTED;
	}
	return ST_OK;
}

enum status h_list_signing_keys(struct call *call, const Common__Empty *request, Claims__ListSigningKeysReply *reply)
{
	struct key_set set;
	enum status status = read_keys(call, &call->project, true, &set);
	if (status != ST_OK)
		return status;
	Claims__SigningKey *shown = arena_alloc(call->arena, set.count * sizeof(*shown));
	reply->data = arena_alloc(call->arena, set.count * sizeof(*reply->data));
	if (!shown || !reply->data)
		return ST_RESOURCE_EXHAUSTED;
	for (; reply->n_data < set.count; reply->n_data++) {
		reply->data[reply->n_data] = &shown[reply->n_data];
		claims__signing_key__init(reply->data[reply->n_data]);
		message_copy(&set.rows[reply->n_data].key->base, &reply->data[reply->n_data]->base);
	}
	return ST_OK;
}

/* ---- rotation ---- */

/* A copy of the key set that is still in use must hold the next key before that signs. Keys that were made together have always been
 * published together. */
static enum status check_published(struct call *call, const Claims__Rows__SigningKey *active,
                                   const Claims__Rows__SigningKey *next)
{
	int64_t left_us = next->created_at_us + AHEAD_SEC * US_PER_SEC - clock_wall_us();
	if (next->created_at_us == active->created_at_us || left_us <= 0)
		return ST_OK;
	call->retry_after_ms = (uint32_t)(left_us / US_PER_MS) + 1;
	return call_fail(call, ST_CONFLICT, "", "The next key was published %lld seconds ago; it may sign after %d.",
	                 (long long)(AHEAD_SEC - left_us / US_PER_SEC), AHEAD_SEC);
}

static enum status rotate_try(struct change *change)
{
	struct call *call = change->call;
	Claims__SigningKey *reply = change->reply;
	const struct claims_state *state = claims_state(call);
	struct sealed_key made;
	struct key_set set;
	enum status status = read_keys(call, &call->project, true, &set);
	if (status != ST_OK)
		return status;
	const Claims__Rows__SigningKey *active = key_in_state(&set, "active"), *next = key_in_state(&set, "next");
	if (!active || !next)
		return ST_ABORTED;
	status = check_published(call, active, next);
	if (status != ST_OK)
		return status;
	status = keyring_generate(state->keyring, &call->project, &made);
	if (status != ST_OK)
		return status;
	int64_t now_us = clock_wall_us();
	Claims__Rows__SigningKey key = claims_key_row(&made, "next", now_us);
	struct sql_signing_key_replace params = {
	    .active_kid = active->kid,
	    .next_kid = next->kid,
	    .retires_at_us = now_us + (state->lifetime_sec + TOKEN_SKEW_SEC + ROTATE_MARGIN_SEC) * US_PER_SEC,
	    .key = &key};
	message_copy(&next->base, &reply->base);
	reply->state = (char *)"active";
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_SIGNING_KEY_ROTATED, next->kid, 0)->has_version = false;
	return change_write(change, &sql_signing_key_replace, &params);
}

enum status h_rotate_signing_key(struct call *call, const Common__Empty *request, Claims__SigningKey *reply)
{
	return change_run(call, request, reply, rotate_try, NULL);
}

/* ---- withdrawal ---- */

static const Claims__Rows__SigningKey *key_named(const struct key_set *set, const char *kid)
{
	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->rows[i].key->kid, kid) == 0)
			return set->rows[i].key;
	}
	return NULL;
}

/* The next key need not be published long enough: tokens that some verifiers do not know yet are better than tokens that anyone may have
 * signed. */
static enum status withdraw_try(struct change *change)
{
	struct call *call = change->call;
	const Claims__WithdrawSigningKeyRequest *request = change->request;
	struct sealed_key made;
	struct key_set set;
	enum status status = read_keys(call, &call->project, true, &set);
	if (status != ST_OK)
		return status;
	const Claims__Rows__SigningKey *gone = key_named(&set, request->kid), *next = key_in_state(&set, "next");
	if (!gone)
		return call_fail(call, ST_NOT_FOUND, "kid", "There is no such key.");
	status = keyring_generate(claims_state(call)->keyring, &call->project, &made);
	if (status != ST_OK)
		return status;
	Claims__Rows__SigningKey key = claims_key_row(&made, "next", clock_wall_us());
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_SIGNING_KEY_WITHDRAWN, gone->kid, 0)->has_version = false;
	if (strcmp(gone->state, "active") != 0)
		return change_write(change, &sql_signing_key_drop, &(struct sql_signing_key_drop){gone->kid, &key});
	if (!next)
		return ST_ABORTED;
	/* Retired in 1970: whatever a replica's clock says, it is over. */
	return change_write(change, &sql_signing_key_replace,
	                    &(struct sql_signing_key_replace){gone->kid, next->kid, 0, &key});
}

enum status h_withdraw_signing_key(struct call *call, const Claims__WithdrawSigningKeyRequest *request,
                                   Common__Empty *reply)
{
	return change_run(call, request, reply, withdraw_try, NULL);
}
