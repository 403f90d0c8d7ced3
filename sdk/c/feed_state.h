/* When to read and what to accept: the feed without sockets, clock and memory, so that tests can drive it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed_state {
	int64_t cursor; /* last applied event */
	int64_t head;   /* newest event heard of */
	int64_t due_ms; /* next read; while reading: when the answer is given up */
	unsigned poll_ms;
	unsigned failures; /* in a row */
	bool reading;      /* a read is on its way */
};

/* Begins after `cursor` with a read that is due at once. poll_ms: pause between reads when nothing is heard. */
void feed_state_start(struct feed_state *state, int64_t cursor, unsigned poll_ms, int64_t now_ms);

/* Time until feed_state_due or feed_state_expired may become true; never negative. */
int64_t feed_state_wait_ms(const struct feed_state *state, int64_t now_ms);
/* A read should be sent now. */
bool feed_state_due(const struct feed_state *state, int64_t now_ms);
/* The answer did not come in time: treat as a failure. */
bool feed_state_expired(const struct feed_state *state, int64_t now_ms);

/* A read was sent; it is given up after timeout_ms. */
void feed_state_sent(struct feed_state *state, unsigned timeout_ms, int64_t now_ms);
/* The ledger said that entry `seq` exists. */
void feed_state_hint(struct feed_state *state, int64_t seq, int64_t now_ms);

/* What to do with the entries of an answer. */
struct feed_slice {
	size_t first, count; /* apply these */
	int64_t next;        /* cursor after them */
};
/* Accepts only what continues the cursor without a gap: entries that were applied before are skipped; false when the rest does
 * not begin at cursor + 1, is not in order, or next does not fit. */
bool feed_state_accept(const struct feed_state *state, const int64_t *seqs, size_t count, int64_t next,
                       struct feed_slice *ret_slice);
/* The slice was applied and its cursor stored. */
void feed_state_applied(struct feed_state *state, int64_t next, int64_t head, int64_t now_ms);
/* No answer, a bad answer, or apply failed: the next read waits 50 ms, doubled up to 5 s. */
void feed_state_failed(struct feed_state *state, int64_t now_ms);
