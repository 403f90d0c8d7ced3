/* The revocation memory: sharded chained hash tables of ids with the time when they may be forgotten. */
#include "tokens/revocation.h"

#include "base/clock.h"
#include "base/token.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 64
#define BUCKETS 1024
#define ENTRIES_MAX 1000000 /* about 50 MB; beyond, the session service is asked */
#define MARGIN_SEC 60       /* calls under way, and clocks that differ; far longer than any call may take */

struct revocation_entry {
	struct revocation_entry *next;
	struct id id;
	int64_t min_epoch; /* users; sessions: INT64_MAX */
	int64_t forget_at_us;
};

struct revocation_shard {
	pthread_mutex_t lock;
	struct revocation_entry *buckets[BUCKETS];
	int64_t sweep_at_us;
};

struct revocation {
	int64_t keep_us;
	_Atomic int64_t count;
	_Atomic int64_t incomplete_until_us;
	struct revocation_shard shards[SHARDS];
};

int64_t revocation_keep_sec(int64_t token_lifetime_sec)
{
	return token_lifetime_sec + TOKEN_SKEW_SEC + MARGIN_SEC;
}

struct revocation *revocation_new(int64_t keep_us)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation));
	if (!revocation)
		return NULL;
	revocation->keep_us = keep_us;
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&revocation->shards[i].lock, NULL);
	return revocation;
}

/* Drops entries of a chain that may be forgotten at now_us. */
static void revocation_sweep_chain(struct revocation *revocation, struct revocation_entry **link, int64_t now_us)
{
	while (*link) {
		struct revocation_entry *entry = *link;
		if (entry->forget_at_us > now_us) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		free(entry);
		atomic_fetch_sub(&revocation->count, 1);
	}
}

void revocation_free(struct revocation **revocation)
{
	if (!*revocation)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		for (size_t b = 0; b < BUCKETS; b++)
			revocation_sweep_chain(*revocation, &(*revocation)->shards[i].buckets[b], INT64_MAX);
		pthread_mutex_destroy(&(*revocation)->shards[i].lock);
	}
	free(*revocation);
	*revocation = NULL;
}

/* The last bytes of a UUIDv7 are random. */
static uint64_t revocation_hash(const struct id *id)
{
	uint64_t word;
	memcpy(&word, id->bytes + 8, sizeof(word));
	return (word * 0x9e3779b97f4a7c15ULL) >> 16;
}

static void revocation_sweep(struct revocation *revocation, struct revocation_shard *shard, int64_t now_us)
{
	if (shard->sweep_at_us > now_us)
		return;
	shard->sweep_at_us = now_us + 30 * US_PER_SEC;
	for (size_t b = 0; b < BUCKETS; b++)
		revocation_sweep_chain(revocation, &shard->buckets[b], now_us);
}

static void revocation_note(struct revocation *revocation, const struct id *id, int64_t min_epoch)
{
	uint64_t hash = revocation_hash(id);
	struct revocation_shard *shard = &revocation->shards[hash % SHARDS];
	struct revocation_entry **bucket = &shard->buckets[hash / SHARDS % BUCKETS];
	int64_t now_us = clock_monotonic_us();
	pthread_mutex_lock(&shard->lock);
	revocation_sweep(revocation, shard, now_us);
	struct revocation_entry *entry = *bucket;
	while (entry && !id_equal(&entry->id, id))
		entry = entry->next;
	if (!entry && atomic_load(&revocation->count) < ENTRIES_MAX) {
		entry = calloc(1, sizeof(*entry));
		if (entry) {
			entry->id = *id;
			entry->next = *bucket;
			*bucket = entry;
			atomic_fetch_add(&revocation->count, 1);
		}
	}
	if (entry) {
		entry->min_epoch = min_epoch > entry->min_epoch ? min_epoch : entry->min_epoch;
		entry->forget_at_us = now_us + revocation->keep_us;
	} else {
		atomic_store(&revocation->incomplete_until_us, now_us + revocation->keep_us);
	}
	pthread_mutex_unlock(&shard->lock);
}

void revocation_note_user(struct revocation *revocation, const struct id *user, int64_t min_epoch)
{
	revocation_note(revocation, user, min_epoch);
}

void revocation_note_session(struct revocation *revocation, const struct id *session)
{
	revocation_note(revocation, session, INT64_MAX);
}

static bool revocation_find(struct revocation *revocation, const struct id *id, int64_t epoch)
{
	uint64_t hash = revocation_hash(id);
	struct revocation_shard *shard = &revocation->shards[hash % SHARDS];
	bool hit = false;
	pthread_mutex_lock(&shard->lock);
	for (struct revocation_entry *entry = shard->buckets[hash / SHARDS % BUCKETS]; entry; entry = entry->next) {
		if (id_equal(&entry->id, id)) {
			hit = epoch < entry->min_epoch;
			break;
		}
	}
	pthread_mutex_unlock(&shard->lock);
	return hit;
}

bool revocation_hit(struct revocation *revocation, const struct id *user, const struct id *session, int64_t epoch)
{
	return revocation_find(revocation, user, epoch) || revocation_find(revocation, session, epoch);
}

bool revocation_complete(const struct revocation *revocation)
{
	return atomic_load(&revocation->incomplete_until_us) <= clock_monotonic_us();
}

int64_t revocation_count(const struct revocation *revocation)
{
	return atomic_load(&revocation->count);
}
