/* Verified tokens: a set-associative table with one lock per group of sets, bounded in entries and bytes. */
#include "tokens/token_cache.h"

#include "base/clock.h"

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
	_Atomic uint64_t generation;
	pthread_mutex_t locks[LOCKS];
	struct token_entry *sets[SETS][WAYS];
};

struct token_cache *token_cache_new(void)
{
	struct token_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return NULL;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&cache->locks[i], NULL);
	return cache;
}

void token_cache_free(struct token_cache **cache)
{
	if (!*cache)
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
		if (!entry || memcmp(entry->hash, hash, SHA256_SIZE) != 0)
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
		if (ways[way] && memcmp(ways[way]->hash, hash, SHA256_SIZE) == 0)
			return way;
		if (ways[victim] && (!ways[way] || ways[way]->until_us < ways[victim]->until_us))
			victim = way;
	}
	return victim;
}

static bool token_cache_has_room(const struct token_cache *cache, size_t size)
{
	return atomic_load(&cache->bytes) + (int64_t)size <= BYTES_MAX;
}

/* Under the lock of its set. */
static void token_cache_drop(struct token_cache *cache, struct token_entry **way)
{
	if (*way)
		atomic_fetch_sub(&cache->bytes, (int64_t)(sizeof(**way) + (*way)->len));
	free(*way);
	*way = NULL;
}

/* Nothing else removes what has had its time. Looks at the set and at those that have its lock, which is held. */
static void token_cache_make_room(struct token_cache *cache, size_t set, size_t size)
{
	for (size_t i = 0; i < SETS / LOCKS; i++) {
		struct token_entry **ways = cache->sets[(set + i * LOCKS) % SETS];
		for (size_t way = 0; way < WAYS && !token_cache_has_room(cache, size); way++)
			token_cache_drop(cache, &ways[way]);
	}
}

void token_cache_put(struct token_cache *cache, const uint8_t hash[SHA256_SIZE], const struct token_state *state,
                     const struct buf *answer)
{
	size_t set = token_cache_set(hash);
	size_t size = sizeof(struct token_entry) + answer->len;
	struct token_entry *entry = buf_ok(answer) ? malloc(size) : NULL;
	if (!entry)
		return;
	entry->state = *state;
	entry->until_us = clock_monotonic_us() + KEEP_US;
	memcpy(entry->hash, hash, SHA256_SIZE);
	entry->len = answer->len;
	memcpy(entry->answer, answer->data, answer->len);
	pthread_mutex_lock(&cache->locks[set % LOCKS]);
	struct token_entry **way = &cache->sets[set][token_cache_victim(cache->sets[set], hash)];
	token_cache_drop(cache, way);
	token_cache_make_room(cache, set, size);
	if (state->generation == atomic_load(&cache->generation) && token_cache_has_room(cache, size)) {
		atomic_fetch_add(&cache->bytes, (int64_t)size);
		*way = entry;
		entry = NULL;
	}
	pthread_mutex_unlock(&cache->locks[set % LOCKS]);
	free(entry);
}

uint64_t token_cache_generation(const struct token_cache *cache)
{
	return atomic_load(&((struct token_cache *)cache)->generation);
}

/* The generation moves first: what is checked now is either not put, or found here. */
void token_cache_forget(struct token_cache *cache, const struct id *project)
{
	atomic_fetch_add(&cache->generation, 1);
	for (size_t set = 0; set < SETS; set++) {
		pthread_mutex_lock(&cache->locks[set % LOCKS]);
		for (size_t way = 0; way < WAYS; way++) {
			struct token_entry *entry = cache->sets[set][way];
			if (entry && (!project || id_equal(&entry->state.project, project)))
				token_cache_drop(cache, &cache->sets[set][way]);
		}
		pthread_mutex_unlock(&cache->locks[set % LOCKS]);
	}
}
