/* Public signing keys of projects. */
#include "front/keyset.h"

#include "base/clock.h"
#include "claims.pb-c.h"
#include "front/upstream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 4096
#define KEEP_US (60 * US_PER_SEC)
#define AGAIN_US (100 * US_PER_MS)

struct keyset {
	atomic_int references;
	struct id project;
	int64_t read_at_us; /* monotonic; when the question was sent */
	size_t count;
	struct {
		char kid[TOKEN_KID_SIZE];
		struct token_key *key;
	} keys[]; /* as many as the project has: every one may still have signed a valid token */
};

struct keysets {
	pthread_mutex_t lock;
	struct keyset *slots[SLOTS]; /* by hash of the project; a collision replaces */
};

struct keysets *keysets_new(void)
{
	struct keysets *keysets = calloc(1, sizeof(*keysets));
	if (keysets == NULL)
		return NULL;
	pthread_mutex_init(&keysets->lock, NULL);
	return keysets;
}

void keysets_free(struct keysets **keysets)
{
	if (*keysets == NULL)
		return;
	keysets_forget(*keysets, NULL);
	pthread_mutex_destroy(&(*keysets)->lock);
	free(*keysets);
	*keysets = NULL;
}

void keyset_release(struct keyset **keys)
{
	struct keyset *self = *keys;
	*keys = NULL;
	if (self == NULL || atomic_fetch_sub(&self->references, 1) > 1)
		return;
	for (size_t i = 0; i < self->count; i++)
		token_key_free(&self->keys[i].key);
	free(self);
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
	if (keys != NULL && id_equal(&keys->project, project))
		atomic_fetch_add(&keys->references, 1);
	else
		keys = NULL;
	pthread_mutex_unlock(&keysets->lock);
	return keys;
}

/* Stores with a reference of its own. */
static void keysets_store(struct keysets *keysets, struct keyset *keys)
{
	atomic_fetch_add(&keys->references, 1);
	pthread_mutex_lock(&keysets->lock);
	struct keyset **slot = &keysets->slots[keysets_slot(&keys->project)];
	struct keyset *old = *slot;
	*slot = keys;
	pthread_mutex_unlock(&keysets->lock);
	keyset_release(&old);
}

void keysets_forget(struct keysets *keysets, const struct id *project)
{
	for (size_t i = 0; i < SLOTS; i++) {
		pthread_mutex_lock(&keysets->lock);
		struct keyset *keys = keysets->slots[i];
		if (keys != NULL && (project == NULL || id_equal(&keys->project, project)))
			keysets->slots[i] = NULL;
		else
			keys = NULL;
		pthread_mutex_unlock(&keysets->lock);
		keyset_release(&keys);
	}
}

/* Adds one JWK when it is an ES256 key with a point on the curve. */
static void keyset_add(struct keyset *keys, const Claims__Jwk *jwk)
{
	uint8_t x[32], y[32];
	size_t x_len = sizeof(x), y_len = sizeof(y);
	if (jwk->kid == NULL || jwk->x == NULL || jwk->y == NULL || jwk->crv == NULL ||
	    strlen(jwk->kid) >= TOKEN_KID_SIZE || strcmp(jwk->crv, "P-256") != 0)
		return;
	if (!base64url_decode(jwk->x, strlen(jwk->x), x, &x_len) || x_len != sizeof(x) ||
	    !base64url_decode(jwk->y, strlen(jwk->y), y, &y_len) || y_len != sizeof(y))
		return;
	struct token_key *key = token_key_new(jwk->kid, x, y);
	if (key == NULL)
		return;
	memcpy(keys->keys[keys->count].kid, jwk->kid, strlen(jwk->kid) + 1);
	keys->keys[keys->count++].key = key;
}

static enum status keysets_read(struct keysets *keysets, struct exchange *exchange, struct keyset **ret_keys)
{
	Claims__GetJwksRequest request = CLAIMS__GET_JWKS_REQUEST__INIT;
	char project[ID_TEXT_SIZE];
	ProtobufCMessage *reply = NULL;
	int64_t now_us = clock_monotonic_us();
	id_format("prj", &exchange->principal.project, project);
	request.project_id = project;
	enum status status = upstream_send(exchange, M_CLAIMS_GET_JWKS, &request.base, &reply);
	if (status != ST_OK)
		return status == ST_NOT_FOUND ? ST_INVALID_TOKEN : status;
	const Claims__Jwks *jwks = (const Claims__Jwks *)reply;
	struct keyset *keys = calloc(1, sizeof(*keys) + jwks->n_keys * sizeof(keys->keys[0]));
	if (keys == NULL)
		return ST_UNAVAILABLE;
	atomic_store(&keys->references, 1);
	keys->project = exchange->principal.project;
	keys->read_at_us = now_us;
	for (size_t i = 0; i < jwks->n_keys; i++)
		keyset_add(keys, jwks->keys[i]);
	keysets_store(keysets, keys);
	*ret_keys = keys;
	return ST_OK;
}

struct question {
	const struct id *project;
	const char *kid;
	int64_t asked_us; /* monotonic */
};

/* Looks into the cache. ST_OK: *ret_keys knows kid. ST_INVALID_TOKEN: keys read after the question do not. ST_NOT_FOUND: the keys
 * have to be read, but not before *ret_wait_us are over. */
static enum status keysets_look(struct keysets *keysets, const struct question *question, struct keyset **ret_keys,
                                int64_t *ret_wait_us)
{
	struct keyset *keys = keysets_cached(keysets, question->project);
	*ret_wait_us = 0;
	if (keys == NULL)
		return ST_NOT_FOUND;
	bool known = keyset_find(keys, question->project, question->kid) != NULL;
	int64_t read_at_us = keys->read_at_us;
	int64_t age_us = clock_monotonic_us() - read_at_us;
	if (known && age_us < KEEP_US) {
		*ret_keys = keys;
		return ST_OK;
	}
	keyset_release(&keys);
	if (!known && age_us < AGAIN_US)
		*ret_wait_us = AGAIN_US - age_us;
	return !known && read_at_us >= question->asked_us ? ST_INVALID_TOKEN : ST_NOT_FOUND;
}

/* An unknown kid may be that of a key made a moment ago, so only keys read after the question say that it is none; a flood of
 * made-up ones waits its turn. */
enum status keysets_get(struct keysets *keysets, struct exchange *exchange, const char *kid, struct keyset **ret_keys)
{
	struct question question = {&exchange->principal.project, kid, clock_monotonic_us()};
	struct keyset *keys = NULL;
	int64_t wait_us = 0;
	enum status status = keysets_look(keysets, &question, ret_keys, &wait_us);
	if (status == ST_NOT_FOUND && wait_us > 0) {
		struct timespec pause = {.tv_nsec = wait_us * 1000};
		nanosleep(&pause, NULL);
		status = keysets_look(keysets, &question, ret_keys, &wait_us);
	}
	if (status != ST_NOT_FOUND)
		return status;
	status = keysets_read(keysets, exchange, &keys);
	if (status != ST_OK)
		return status;
	*ret_keys = keys; /* an unknown kid fails in token_verify */
	return ST_OK;
}
