/* Tokens whose signature was checked a moment ago: SHA-256 of the token -> who it is for, and the answer. Bounded; any thread. */
#pragma once

#include "base/buf.h"
#include "base/secret.h"

#include <stdbool.h>

struct token_cache;

struct token_state {
	struct id project, user, session;
	int64_t epoch;
	int64_t expires_at_sec;   /* since 1970 */
	uint64_t generation;      /* of the cache when the check began */
	char actor[ID_TEXT_SIZE]; /* of the claim act: who acts in the user's name; "" = nobody */
};

struct token_cache *token_cache_new(void); /* NULL without memory */
void token_cache_free(struct token_cache **cache);

/* A token of this project that is cached and has not expired: fills ret_state and appends the answer to out. */
bool token_cache_get(struct token_cache *cache, const uint8_t hash[SHA256_SIZE], const struct id *project,
                     struct token_state *ret_state, struct buf *out);

/* Changes when something is forgotten. Ask before the token is checked. */
uint64_t token_cache_generation(const struct token_cache *cache);

/* Remembers an answer (copied) for at most 60 s, unless something was forgotten since state->generation. Drops an older one when
 * there is no room. */
void token_cache_put(struct token_cache *cache, const uint8_t hash[SHA256_SIZE], const struct token_state *state,
                     const struct buf *answer);

/* Forgets all tokens of a project: its keys are not what they were. NULL = of all. */
void token_cache_forget(struct token_cache *cache, const struct id *project);
