/* Key authentication: SHA-256 of the presented secret -> project, scopes; a bounded, set-associative cache. */
#include "front/authn.h"

#include "base/clock.h"
#include "front/gateway.h"
#include "identity.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SETS 2048
#define WAYS 5
#define LOCKS 64
#define FRESH_US (30 * US_PER_SEC)
#define NEGATIVE_US (1 * US_PER_SEC)
#define UNSURE_US (300 * US_PER_MS) /* instead of both, while nothing would tell of a key that was revoked */
#define FAILURE_COST 1

struct authn_entry {
	uint8_t hash[SHA256_SIZE];
	int64_t asked_us;       /* monotonic, as all here */
	int64_t fresh_until_us; /* 0 = empty */
	bool known;             /* false: the secret belongs to no key */
	struct caller caller;
};

struct authn {
	struct limiter *failures;
	const char *permissions[AUTHN_PERMISSIONS_MAX];
	size_t permission_count;
	_Atomic uint64_t generation; /* moves when something is forgotten */
	pthread_mutex_t locks[LOCKS];
	struct authn_entry sets[SETS][WAYS];
};

struct authn *authn_new(struct limiter *failures)
{
	struct authn *authn = calloc(1, sizeof(*authn));
	if (!authn)
		return NULL;
	authn->failures = failures;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&authn->locks[i], NULL);
	return authn;
}

void authn_free(struct authn **authn)
{
	if (!*authn)
		return;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&(*authn)->locks[i]);
	free(*authn);
	*authn = NULL;
}

bool authn_permission_bit(struct authn *authn, const char *permission, uint64_t *ret_bit)
{
	size_t i = 0;
	if (strcmp(permission, "none") == 0) {
		*ret_bit = 0;
		return true;
	}
	while (i < authn->permission_count && strcmp(authn->permissions[i], permission) != 0)
		i++;
	if (i == AUTHN_PERMISSIONS_MAX)
		return false;
	if (i == authn->permission_count)
		authn->permissions[authn->permission_count++] = permission;
	*ret_bit = 1ULL << i;
	return true;
}

/* Whether a scope of a key ("*", "users:*", "users:read") covers a permission. */
static bool authn_scope_covers(const char *scope, const char *permission)
{
	size_t len = strlen(scope);
	if (strcmp(scope, "*") == 0 || strcmp(scope, permission) == 0)
		return true;
	return len >= 2 && strcmp(scope + len - 2, ":*") == 0 && strncmp(scope, permission, len - 1) == 0;
}

static uint64_t authn_permissions(const struct authn *authn, const Identity__ResolveKeyReply *reply)
{
	uint64_t bits = 0;
	for (size_t i = 0; i < authn->permission_count; i++) {
		const char *permission = authn->permissions[i];
		if (strncmp(permission, "projects:", 9) == 0 && !reply->platform)
			continue;
		for (size_t s = 0; s < reply->n_scopes; s++) {
			if (authn_scope_covers(reply->scopes[s], permission))
				bits |= 1ULL << i;
		}
	}
	return bits;
}

static size_t authn_set(const uint8_t hash[SHA256_SIZE])
{
	uint64_t word;
	memcpy(&word, hash, sizeof(word));
	return word % SETS;
}

/* Looks an entry up. Returns whether it is there and fresh; ret_seen tells that it was known at all, even if stale. */
static bool authn_cache_get(struct authn *authn, const uint8_t hash[SHA256_SIZE], struct authn_entry *ret_entry,
                            bool *ret_seen)
{
	size_t set = authn_set(hash);
	bool fresh = false;
	int64_t now_us = clock_monotonic_us();
	pthread_mutex_lock(&authn->locks[set % LOCKS]);
	for (size_t i = 0; i < WAYS; i++) {
		struct authn_entry *entry = &authn->sets[set][i];
		if (entry->fresh_until_us == 0 || memcmp(entry->hash, hash, SHA256_SIZE) != 0)
			continue;
		*ret_entry = *entry;
		*ret_seen = entry->known;
		fresh = entry->fresh_until_us > now_us;
		break;
	}
	pthread_mutex_unlock(&authn->locks[set % LOCKS]);
	return fresh;
}

/* Stores an entry in place of itself, an empty one or the one that ends first; unless something was forgotten since the
 * look-up began. */
static void authn_cache_put(struct authn *authn, const struct authn_entry *entry, uint64_t generation)
{
	size_t set = authn_set(entry->hash);
	pthread_mutex_lock(&authn->locks[set % LOCKS]);
	struct authn_entry *slot = &authn->sets[set][0];
	for (size_t i = 0; i < WAYS; i++) {
		struct authn_entry *other = &authn->sets[set][i];
		if (memcmp(other->hash, entry->hash, SHA256_SIZE) == 0) {
			slot = other;
			break;
		}
		if (other->fresh_until_us < slot->fresh_until_us)
			slot = other;
	}
	if (atomic_load(&authn->generation) == generation)
		*slot = *entry;
	pthread_mutex_unlock(&authn->locks[set % LOCKS]);
}

void authn_forget(struct authn *authn, const char *key_id)
{
	atomic_fetch_add(&authn->generation, 1);
	for (size_t set = 0; set < SETS; set++) {
		pthread_mutex_lock(&authn->locks[set % LOCKS]);
		for (size_t i = 0; i < WAYS; i++) {
			struct authn_entry *entry = &authn->sets[set][i];
			if (entry->fresh_until_us == 0)
				continue;
			if (!key_id || strcmp(entry->caller.id, key_id) == 0)
				*entry = (struct authn_entry){0};
		}
		pthread_mutex_unlock(&authn->locks[set % LOCKS]);
	}
}

/* Turns identity's answer into a cache entry. */
static void authn_entry_fill(const struct authn *authn, const Identity__ResolveKeyReply *reply,
                             struct authn_entry *ret_entry)
{
	int64_t now_us = clock_monotonic_us();
	ret_entry->fresh_until_us = now_us + FRESH_US;
	ret_entry->known =
	    reply->project_id.len == ID_SIZE && reply->key_id && strlen(reply->key_id) < sizeof(ret_entry->caller.id);
	if (reply->has_expires_at_us) {
		int64_t left_us = reply->expires_at_us - clock_wall_us();
		if (left_us <= 0)
			ret_entry->known = false;
		else if (left_us < FRESH_US)
			ret_entry->fresh_until_us = now_us + left_us;
	}
	if (!ret_entry->known) {
		ret_entry->fresh_until_us = now_us + NEGATIVE_US;
		return;
	}
	memcpy(ret_entry->caller.project.bytes, reply->project_id.data, ID_SIZE);
	memcpy(ret_entry->caller.id, reply->key_id, strlen(reply->key_id) + 1);
	ret_entry->caller.platform = reply->platform;
	ret_entry->caller.permissions = authn_permissions(authn, reply);
}

static enum status authn_resolve(struct authn *authn, struct exchange *exchange, struct authn_entry *entry)
{
	Identity__ResolveKeyRequest request = IDENTITY__RESOLVE_KEY_REQUEST__INIT;
	struct client_call call = {0};
	ProtobufCMessage *reply = NULL;
	uint64_t generation = atomic_load(&authn->generation);
	entry->asked_us = clock_monotonic_us();
	request.has_secret_hash = 1;
	request.secret_hash = (ProtobufCBinaryData){SHA256_SIZE, entry->hash};
	memcpy(call.trace, exchange->trace, sizeof(call.trace));
	enum status status = client_send(exchange->gateway->client, &call, M_IDENTITY_RESOLVE_KEY, &request.base,
	                                 exchange->arena, &reply);
	if (status == ST_OK) {
		authn_entry_fill(authn, (const Identity__ResolveKeyReply *)reply, entry);
	} else if (status == ST_NOT_FOUND) {
		entry->fresh_until_us = clock_monotonic_us() + NEGATIVE_US;
	} else {
		(void)http_fail(exchange, status, NULL, call.ret_reason);
		exchange->failure.retry_after_ms = call.ret_retry_after_ms;
		return status;
	}
	authn_cache_put(authn, entry, generation);
	return ST_OK;
}

static enum status authn_refuse(struct authn *authn, struct exchange *exchange)
{
	(void)limiter_take_address(authn->failures, exchange->client, FAILURE_COST);
	return http_fail(exchange, ST_UNAUTHENTICATED, NULL, NULL);
}

/* The entry for a well-formed secret: from the cache, else from identity. A flood of wrong keys from one address stops the
 * look-ups of keys never seen, not those of keys that were good a moment ago. */
static enum status authn_look_up(struct authn *authn, struct exchange *exchange, struct authn_entry *entry)
{
	bool seen = false;
	struct authn_entry cached;
	if (authn_cache_get(authn, entry->hash, &cached, &seen) &&
	    (follow_live(exchange->gateway->follow) || clock_monotonic_us() - cached.asked_us <= UNSURE_US)) {
		*entry = cached;
		return ST_OK;
	}
	uint32_t wait_ms = seen ? 0 : limiter_take_address(authn->failures, exchange->client, 0);
	if (wait_ms > 0) {
		(void)http_fail(exchange, ST_THROTTLED, NULL, NULL);
		exchange->failure.retry_after_ms = wait_ms;
		return ST_THROTTLED;
	}
	return authn_resolve(authn, exchange, entry);
}

enum status authn_check(struct authn *authn, struct exchange *exchange, const struct credential *credential)
{
	struct authn_entry entry = {0};
	secret_sha256(credential->text, strlen(credential->text), entry.hash);
	enum status status = authn_look_up(authn, exchange, &entry);
	if (status != ST_OK)
		return status;
	if (!entry.known || (credential->name && strcmp(credential->name, entry.caller.id) != 0))
		return authn_refuse(authn, exchange);
	exchange->caller = entry.caller;
	return ST_OK;
}
