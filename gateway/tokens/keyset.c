/* Public signing keys of projects. */
#include "tokens/keyset.h"

#include "base/clock.h"
#include "calls/upstream.h"
#include "claims.pb-c.h"
#include "json/pbjson.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 4096
#define KEEP_US (60 * US_PER_SEC)
#define STALE_US (600 * US_PER_SEC) /* so long while claims cannot be reached */
#define NOW_US (500 * US_PER_MS)
#define AGAIN_US (100 * US_PER_MS)
#define NAP_US (2 * US_PER_MS)
#define PATIENCE_US (1 * US_PER_SEC) /* with somebody else's reading */

struct keyset {
	atomic_int references;
	atomic_flag refreshing; /* somebody reads its successor */
	atomic_bool forgotten;  /* good for nothing any more */
	struct id project;
	int64_t read_at_us; /* monotonic; when the question was sent */
	struct buf document;
	char tag[KEYSET_TAG_SIZE];
	size_t count;
	struct {
		char kid[TOKEN_KID_SIZE];
		struct token_key *key;
	} keys[]; /* as many as the project has: every one may still have signed a valid token */
};

struct keysets {
	pthread_mutex_t lock;
	uint64_t generation;         /* moves when something is forgotten */
	struct keyset *slots[SLOTS]; /* by hash of the project; a collision replaces */
};

struct keysets *keysets_new(void)
{
	struct keysets *keysets = calloc(1, sizeof(*keysets));
	if (keysets)
		pthread_mutex_init(&keysets->lock, NULL);
	return keysets;
}

void keysets_free(struct keysets **keysets)
{
	if (!*keysets)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		keyset_release(&(*keysets)->slots[i]);
	pthread_mutex_destroy(&(*keysets)->lock);
	free(*keysets);
	*keysets = NULL;
}

void keyset_release(struct keyset **keys)
{
	struct keyset *self = *keys;
	*keys = NULL;
	if (!self || atomic_fetch_sub(&self->references, 1) > 1)
		return;
	for (size_t i = 0; i < self->count; i++)
		token_key_free(&self->keys[i].key);
	buf_free(&self->document);
	free(self);
}

const struct buf *keyset_document(const struct keyset *keys)
{
	return &keys->document;
}

const char *keyset_tag(const struct keyset *keys)
{
	return keys->tag;
}

const struct token_key *keyset_find(void *arg, const struct id *project, const char *kid)
{
	const struct keyset *keys = arg;
	if (!id_equal(&keys->project, project))
		return NULL;
	for (size_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->keys[i].kid, kid) == 0)
			return keys->keys[i].key;
	}
	return NULL;
}

static size_t keysets_slot(const struct id *project)
{
	uint64_t word;
	memcpy(&word, project->bytes + 8, sizeof(word));
	return word % SLOTS;
}

/* The cached keys with one more reference, or NULL. */
static struct keyset *keysets_cached(struct keysets *keysets, const struct id *project)
{
	pthread_mutex_lock(&keysets->lock);
	struct keyset *keys = keysets->slots[keysets_slot(project)];
	if (keys && id_equal(&keys->project, project))
		atomic_fetch_add(&keys->references, 1);
	else
		keys = NULL;
	pthread_mutex_unlock(&keysets->lock);
	return keys;
}

static uint64_t keysets_generation(struct keysets *keysets)
{
	pthread_mutex_lock(&keysets->lock);
	uint64_t generation = keysets->generation;
	pthread_mutex_unlock(&keysets->lock);
	return generation;
}

/* Stores with a reference of its own, unless something was forgotten since the generation: it may be older than that. */
static void keysets_store(struct keysets *keysets, struct keyset *keys, uint64_t generation)
{
	struct keyset *old = NULL;
	pthread_mutex_lock(&keysets->lock);
	if (keysets->generation == generation) {
		struct keyset **slot = &keysets->slots[keysets_slot(&keys->project)];
		old = *slot;
		*slot = keys;
		atomic_fetch_add(&keys->references, 1);
	}
	pthread_mutex_unlock(&keysets->lock);
	keyset_release(&old);
}

/* They stay where they are, so that one request reads their successor and the others wait for it. */
void keysets_forget(struct keysets *keysets, const struct id *project)
{
	size_t first = project ? keysets_slot(project) : 0, end = project ? first + 1 : SLOTS;
	pthread_mutex_lock(&keysets->lock);
	keysets->generation++;
	for (size_t i = first; i < end; i++) {
		struct keyset *keys = keysets->slots[i];
		if (keys && (!project || id_equal(&keys->project, project)))
			atomic_store(&keys->forgotten, true);
	}
	pthread_mutex_unlock(&keysets->lock);
}

/* Adds one JWK when it is an ES256 key with a point on the curve. */
static void keyset_add(struct keyset *keys, const Claims__Jwk *jwk)
{
	uint8_t x[32], y[32];
	size_t x_len = sizeof(x), y_len = sizeof(y);
	if (!jwk->kid || !jwk->x || !jwk->y || !jwk->crv || strlen(jwk->kid) >= TOKEN_KID_SIZE ||
	    strcmp(jwk->crv, "P-256") != 0)
		return;
	if (!base64url_decode(jwk->x, strlen(jwk->x), x, &x_len) || x_len != sizeof(x) ||
	    !base64url_decode(jwk->y, strlen(jwk->y), y, &y_len) || y_len != sizeof(y))
		return;
	struct token_key *key = token_key_new(jwk->kid, x, y);
	if (!key)
		return;
	memcpy(keys->keys[keys->count].kid, jwk->kid, strlen(jwk->kid) + 1);
	keys->keys[keys->count++].key = key;
}

/* With one reference; NULL without memory. The tag is the document's hash, so that all gateways give the same. */
static struct keyset *keyset_new(const struct id *project, const Claims__Jwks *jwks)
{
	uint8_t hash[SHA256_SIZE];
	char text[BASE64URL_SIZE(SHA256_SIZE)];
	struct keyset *keys = calloc(1, sizeof(*keys) + jwks->n_keys * sizeof(keys->keys[0]));
	if (!keys)
		return NULL;
	atomic_store(&keys->references, 1);
	keys->project = *project;
	for (size_t i = 0; i < jwks->n_keys; i++)
		keyset_add(keys, jwks->keys[i]);
	pbjson_print(&jwks->base, &keys->document);
	if (!buf_ok(&keys->document)) {
		keyset_release(&keys);
		return NULL;
	}
	secret_sha256(keys->document.data, keys->document.len, hash);
	base64url_encode(hash, sizeof(hash), text);
	snprintf(keys->tag, sizeof(keys->tag), "\"%.22s\"", text);
	return keys;
}

static enum status keysets_read(struct keysets *keysets, struct exchange *exchange, struct keyset **ret_keys)
{
	Claims__GetJwksRequest request = CLAIMS__GET_JWKS_REQUEST__INIT;
	char project[ID_TEXT_SIZE];
	ProtobufCMessage *reply = NULL;
	uint64_t generation = keysets_generation(keysets);
	int64_t now_us = clock_monotonic_us();
	id_format("prj", &exchange->caller.project, project);
	request.project_id = project;
	enum status status = upstream_send(exchange, M_CLAIMS_GET_JWKS, &request.base, &reply);
	if (status != ST_OK)
		return status;
	struct keyset *keys = keyset_new(&exchange->caller.project, (const Claims__Jwks *)reply);
	if (!keys)
		return http_fail(exchange, ST_UNAVAILABLE, NULL, "The gateway is out of memory");
	keys->read_at_us = now_us;
	keysets_store(keysets, keys, generation);
	*ret_keys = keys;
	return ST_OK;
}

/* What the held keys are good for. */
enum keysets_state {
	KEYSETS_GOOD,   /* they answer the question */
	KEYSETS_STALE,  /* they do if they must, but somebody should read them again */
	KEYSETS_LACKING /* they have to be read first */
};

/* An unknown kid may be that of a key made a moment ago, so only keys read after the question say that it is none. */
static enum keysets_state keysets_judge(const struct keyset *keys, const struct keysets_want *want, int64_t asked_us)
{
	int64_t age_us = asked_us - keys->read_at_us;
	if (atomic_load(&keys->forgotten))
		return KEYSETS_LACKING;
	if (want->kid && !keyset_find((void *)keys, &keys->project, want->kid))
		return age_us <= 0 ? KEYSETS_GOOD : KEYSETS_LACKING;
	if (want->now)
		return age_us < NOW_US ? KEYSETS_GOOD : KEYSETS_LACKING;
	if (age_us < KEEP_US)
		return KEYSETS_GOOD;
	return age_us < STALE_US ? KEYSETS_STALE : KEYSETS_LACKING;
}

bool keysets_holds(struct keysets *keysets, const struct id *project)
{
	struct keysets_want want = {0};
	struct keyset *keys = keysets_cached(keysets, project);
	bool holds = keys && keysets_judge(keys, &want, clock_monotonic_us()) != KEYSETS_LACKING;
	keyset_release(&keys);
	return holds;
}

static void keysets_nap(int64_t us)
{
	struct timespec pause = {.tv_sec = us / US_PER_SEC, .tv_nsec = us % US_PER_SEC * 1000};
	nanosleep(&pause, NULL);
}

/* Reads the successor of keys, which the caller has marked as refreshing. */
static enum status keysets_succeed(struct keysets *keysets, struct exchange *exchange, struct keyset *keys,
                                   struct keyset **ret_keys)
{
	enum status status = keysets_read(keysets, exchange, ret_keys);
	atomic_flag_clear(&keys->refreshing); /* they stay when there is no successor, or it is too old already */
	return status;
}

/* Stale keys stay good while one request reads their successor, and when it fails. */
static enum status keysets_refresh(struct keysets *keysets, struct exchange *exchange, struct keyset **keys)
{
	struct keyset *fresh = NULL;
	if (atomic_flag_test_and_set(&(*keys)->refreshing))
		return ST_OK;
	if (keysets_succeed(keysets, exchange, *keys, &fresh) != ST_OK) {
		exchange->failure = (struct failure){0};
		return ST_OK;
	}
	keyset_release(keys);
	*keys = fresh;
	return ST_OK;
}

/* Held keys that do not answer the question are read again by one request, at most every 100 ms: a flood of made-up kids, or of tokens of
 * a key that was withdrawn, waits for it. ST_ABORTED: look again. */
static enum status keysets_replace(struct keysets *keysets, struct exchange *exchange, struct keyset **keys)
{
	struct keyset *fresh = NULL;
	int64_t left_us = atomic_load(&(*keys)->forgotten) ? 0 : (*keys)->read_at_us + AGAIN_US - clock_monotonic_us();
	if (left_us > 0 || atomic_flag_test_and_set(&(*keys)->refreshing)) {
		keysets_nap(left_us > 0 ? left_us : NAP_US);
		return ST_ABORTED;
	}
	enum status status = keysets_succeed(keysets, exchange, *keys, &fresh);
	if (status != ST_OK)
		return status;
	keyset_release(keys);
	*keys = fresh;
	return ST_OK;
}

enum status keysets_get(struct keysets *keysets, struct exchange *exchange, const struct keysets_want *want,
                        struct keyset **ret_keys)
{
	const struct id *project = &exchange->caller.project;
	int64_t asked_us = clock_monotonic_us();
	for (;;) {
		struct keyset *keys = keysets_cached(keysets, project);
		if (!keys || clock_monotonic_us() - asked_us > PATIENCE_US) {
			keyset_release(&keys);
			return keysets_read(keysets, exchange, ret_keys);
		}
		enum keysets_state state = keysets_judge(keys, want, asked_us);
		enum status status = ST_OK;
		if (state == KEYSETS_STALE)
			status = keysets_refresh(keysets, exchange, &keys);
		else if (state == KEYSETS_LACKING)
			status = keysets_replace(keysets, exchange, &keys);
		if (status == ST_OK) {
			*ret_keys = keys;
			return ST_OK;
		}
		keyset_release(&keys);
		if (status != ST_ABORTED)
			return status;
	}
}
