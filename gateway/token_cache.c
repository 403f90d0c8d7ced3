/* Verified tokens: a set-associative table with one lock per group of sets, bounded in entries and bytes. */
#include "token_cache.h"

#include "clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SETS 16384
#define WAYS 4
#define LOCKS 256
#define KEEP_US (60 * US_PER_SEC)
#define BYTES_MAX (64LL * 1024 * 1024)

struct token_entry {
	struct token_state state;
	int64_t until_us; /* monotonic */
	uint8_t hash[SHA256_SIZE];
	size_t len;
	char answer[];
};

struct token_cache {
	_Atomic int64_t bytes;
	pthread_mutex_t locks[LOCKS];
	struct token_entry *sets[SETS][WAYS];
};

struct token_cache *token_cache_new(void)
{
	struct token_cache *cache = calloc(1, sizeof(*cache));
	if (cache == NULL)
		return NULL;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&cache->locks[i], NULL);
	return cache;
}

void token_cache_free(struct token_cache **cache)
{
	if (*cache == NULL)
		return;
	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < WAYS; way++)
			free((*cache)->sets[set][way]);
	}
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&(*cache)->locks[i]);
	free(*cache);
	*cache = NULL;
}

static size_t token_cache_set(const uint8_t hash[SHA256_SIZE])
{
	uint64_t word;
	memcpy(&word, hash, sizeof(word));
	return word % SETS;
}

bool token_cache_get(struct token_cache *cache, const uint8_t hash[SHA256_SIZE], const struct id *project,
                     struct token_state *ret_state, struct buf *out)
{
	size_t set = token_cache_set(hash);
	bool found = false;
	int64_t now_us = clock_monotonic_us();
	int64_t now_sec = clock_wall_us() / US_PER_SEC;
	pthread_mutex_lock(&cache->locks[set % LOCKS]);
	for (size_t way = 0; way < WAYS && !found; way++) {
		const struct token_entry *entry = cache->sets[set][way];
		if (entry == NULL || memcmp(entry->hash, hash, SHA256_SIZE) != 0)
			continue;
		if (entry->until_us <= now_us || entry->state.expires_at_sec <= now_sec ||
		    !id_equal(&entry->state.project, project))
			break;
		*ret_state = entry->state;
		buf_add(out, entry->answer, entry->len);
		found = true;
	}
	pthread_mutex_unlock(&cache->locks[set % LOCKS]);
	return found;
}

/* The way for a new entry: its own, an empty one, else the one that ends first. */
static size_t token_cache_victim(struct token_entry *const ways[WAYS], const uint8_t hash[SHA256_SIZE])
{
	size_t victim = 0;
	for (size_t way = 0; way < WAYS; way++) {
		if (ways[way] != NULL && memcmp(ways[way]->hash, hash, SHA256_SIZE) == 0)
			return way;
		if (ways[victim] != NULL && (ways[way] == NULL || ways[way]->until_us < ways[victim]->until_us))
			victim = way;
	}
	return victim;
}

void token_cache_put(struct token_cache *cache, const uint8_t hash[SHA256_SIZE], const struct token_state *state,
                     const struct buf *answer)
{
	size_t set = token_cache_set(hash);
	int64_t size = (int64_t)(sizeof(struct token_entry) + answer->len);
	if (!buf_ok(answer) || atomic_load(&cache->bytes) + size > BYTES_MAX)
		return;
	struct token_entry *entry = malloc((size_t)size);
	if (entry == NULL)
		return;
	entry->state = *state;
	entry->until_us = clock_monotonic_us() + KEEP_US;
	memcpy(entry->hash, hash, SHA256_SIZE);
	entry->len = answer->len;
	memcpy(entry->answer, answer->data, answer->len);
	pthread_mutex_lock(&cache->locks[set % LOCKS]);
	size_t way = token_cache_victim(cache->sets[set], hash);
	struct token_entry *old = cache->sets[set][way];
	cache->sets[set][way] = entry;
	pthread_mutex_unlock(&cache->locks[set % LOCKS]);
	atomic_fetch_add(&cache->bytes, size - (old != NULL ? (int64_t)(sizeof(*old) + old->len) : 0));
	free(old);
}
