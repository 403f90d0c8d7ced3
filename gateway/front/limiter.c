/* Rate limits: a fixed table of slots {caller, theoretical arrival time}, updated by compare-and-swap.
 *
 * A caller whose time lies in the past owes nothing, so its slot may be taken by another; when all slots that a caller may
 * use are busy it is allowed, since a limit must not turn into an outage. */
#include "front/limiter.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/secret.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 16384
#define PROBES 8

struct limiter_slot {
	_Atomic uint64_t caller;
	_Atomic int64_t busy_until_us; /* the theoretical arrival time of the next unit */
};

struct limiter {
	int64_t unit_ns; /* time that one unit pays for; 0 = no limit */
	int64_t burst;
	uint64_t seed; /* keeps callers from choosing their slot */
	struct limiter_slot slots[SLOTS];
};

struct limiter *limiter_new(int64_t rate_per_sec, int64_t burst)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));
	if (!limiter)
		return NULL;
	limiter->unit_ns = rate_per_sec > 0 ? 1000 * US_PER_SEC / rate_per_sec : 0;
	limiter->burst = burst > 0 ? burst : 1;
	secret_random(&limiter->seed, sizeof(limiter->seed));
	return limiter;
}

void limiter_free(struct limiter **limiter)
{
	free(*limiter);
	*limiter = NULL;
}

static uint64_t limiter_hash(const struct limiter *limiter, const void *caller, size_t caller_len)
{
	const unsigned char *bytes = caller;
	uint64_t hash = limiter->seed ^ 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < caller_len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15ULL;
	hash ^= hash >> 29;
	return hash != 0 ? hash : 1;
}

/* The caller's slot, or a free one made its own; NULL when all are busy. */
static struct limiter_slot *limiter_slot(struct limiter *limiter, uint64_t hash, int64_t now_us)
{
	for (size_t i = 0; i < PROBES; i++) {
		struct limiter_slot *slot = &limiter->slots[(hash + i) % SLOTS];
		if (atomic_load_explicit(&slot->caller, memory_order_relaxed) == hash)
			return slot;
	}
	for (size_t i = 0; i < PROBES; i++) {
		struct limiter_slot *slot = &limiter->slots[(hash + i) % SLOTS];
		uint64_t owner = atomic_load_explicit(&slot->caller, memory_order_relaxed);
		if (atomic_load_explicit(&slot->busy_until_us, memory_order_relaxed) <= now_us &&
		    atomic_compare_exchange_strong(&slot->caller, &owner, hash))
			return slot;
	}
	return NULL;
}

uint32_t limiter_take(struct limiter *limiter, const void *caller, size_t caller_len, int64_t cost)
{
	if (limiter->unit_ns == 0)
		return 0;
	int64_t now_us = clock_monotonic_us();
	struct limiter_slot *slot = limiter_slot(limiter, limiter_hash(limiter, caller, caller_len), now_us);
	if (!slot)
		return 0;
	int64_t depth_us = limiter->burst * limiter->unit_ns / 1000;
	int64_t busy = atomic_load_explicit(&slot->busy_until_us, memory_order_relaxed);
	for (;;) {
		int64_t from_us = busy > now_us ? busy : now_us;
		int64_t next_us = from_us + (cost > 0 ? cost : 1) * limiter->unit_ns / 1000;
		int64_t wait_us = next_us - now_us - depth_us;
		if (wait_us > 0)
			return (uint32_t)((wait_us + US_PER_MS - 1) / US_PER_MS);
		if (cost == 0 || atomic_compare_exchange_weak(&slot->busy_until_us, &busy, next_us))
			return 0;
	}
}

uint32_t limiter_take_address(struct limiter *limiter, const char *client, int64_t cost)
{
	struct address address;
	if (!address_read(client, &address))
		return limiter_take(limiter, client, strlen(client), cost);
	address_mask(&address, 32, 64);
	return limiter_take(limiter, address.bytes, sizeof(address.bytes), cost);
}
