/* The session service's rules as pure functions: lifetimes, refresh tokens, throttling. No I/O, any thread. */
#pragma once

#include "base/clock.h"
#include "base/status.h"

/* A spent refresh token presented within this time after its rotation gets its successor again. */
#define RULES_REPLAY_WINDOW_US (10 * US_PER_SEC)
/* Ended and expired rows are kept so long, in whole days. */
#define RULES_KEEP_US (86400 * US_PER_SEC)

/* What a presented refresh token is to its session. */
enum rules_token {
	RULES_TOKEN_CURRENT,  /* may be exchanged */
	RULES_TOKEN_REPLAYED, /* the predecessor, within the window: its successor is given again */
	RULES_TOKEN_REUSED,   /* spent: the family ends */
};
enum rules_token rules_place_token(bool is_current, bool is_previous, int64_t rotated_at_us, int64_t now_us);

/* When a session used now expires: now + idle_us, never later than dies_at_us. */
int64_t rules_expiry_us(int64_t now_us, int64_t idle_us, int64_t dies_at_us);
/* Seconds that a token may live which is made now for a session that expires then: whole ones, at least 1. */
uint32_t rules_token_sec(int64_t expires_at_us, int64_t now_us);
/* When the row of a session that expires or ended at at_us may be removed: rounded up to a whole day. */
int64_t rules_purge_us(int64_t at_us);

/* ---- throttling: docs in README.md ---- */
#define RULES_FREE_FAILURES 5                     /* typing errors that cost nothing */
#define RULES_BACKOFF_MAX_US (900 * US_PER_SEC)   /* longest wait of a network that never signed in */
#define RULES_BACKOFF_GENTLE_US (60 * US_PER_SEC) /* longest wait of a known or an undisclosed network */
#define RULES_KNOWN_FAILURES_MAX 100              /* a known network with so many is a stranger again */
#define RULES_LOGIN_WINDOW_US (3600 * US_PER_SEC)
#define RULES_NETWORK_WINDOW_US (600 * US_PER_SEC)
#define RULES_PAIR_SHORT_US (3600 * US_PER_SEC)  /* quiet time that forgets up to RULES_FREE_FAILURES - 1 failures */
#define RULES_PAIR_LONG_US (86400 * US_PER_SEC)  /* quiet time that forgets more */
#define RULES_KNOWN_US (30 * 86400 * US_PER_SEC) /* a network stays known so long after its last success */
#define RULES_CLOCK_US (60 * US_PER_SEC) /* a counter that was written later than this from now on had a wrong clock */

/* Wait after the first, second ... failure in a row; the last holds from then on. */
#define RULES_WAITS 15
struct rules_limits {
	int64_t login_failures; /* of one user in RULES_LOGIN_WINDOW_US; beyond: only known networks */
	int64_t
	    network_failures; /* of one network in RULES_NETWORK_WINDOW_US; beyond: only users who are known there */
};

/* Wait after the given number of failures: 0 below RULES_FREE_FAILURES, then 1 s, 2 s, 4 s ... max_us. */
int64_t rules_backoff_us(int64_t failures, int64_t max_us);
/* Milliseconds for Retry-After, at least 1000, rounded up to whole seconds. */
uint32_t rules_retry_after_ms(int64_t until_us, int64_t now_us);
