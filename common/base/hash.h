/* FNV-1a, 64 bits: spreads keys over tables in memory. Not for secrets and not against an attacker who chooses keys. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HASH_START 0xcbf29ce484222325ULL

/* Goes on from HASH_START or an earlier result. */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t len_bytes)
{
	const unsigned char *at = data;
	for (size_t i = 0; i < len_bytes; i++)
		hash = (hash ^ at[i]) * 0x100000001b3ULL;
	return hash;
}

static inline uint64_t hash_text(uint64_t hash, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		hash = (hash ^ *at) * 0x100000001b3ULL;
	return hash;
}
