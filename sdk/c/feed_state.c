/* The feed's state machine. */
#include "feed_state.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_LAST_MS 5000

void feed_state_start(struct feed_state *state, int64_t cursor, unsigned poll_ms, int64_t now_ms)
{
	*state = (struct feed_state){.cursor = cursor, .head = cursor, .due_ms = now_ms, .poll_ms = poll_ms};
}

int64_t feed_state_wait_ms(const struct feed_state *state, int64_t now_ms)
{
	return state->due_ms > now_ms ? state->due_ms - now_ms : 0;
}

bool feed_state_due(const struct feed_state *state, int64_t now_ms)
{
	return !state->reading && now_ms >= state->due_ms;
}

bool feed_state_expired(const struct feed_state *state, int64_t now_ms)
{
	return state->reading && now_ms >= state->due_ms;
}

void feed_state_sent(struct feed_state *state, unsigned timeout_ms, int64_t now_ms)
{
	state->reading = true;
	state->due_ms = now_ms + timeout_ms;
}

void feed_state_hint(struct feed_state *state, int64_t seq, int64_t now_ms)
{
	if (seq <= state->head)
		return;
	state->head = seq;
	/* While a read is on its way its answer looks at head; after a failure the pause is kept. */
	if (!state->reading && state->failures == 0 && seq > state->cursor)
		state->due_ms = now_ms;
}

bool feed_state_accept(const struct feed_state *state, const int64_t *seqs, size_t count, int64_t next,
                       struct feed_slice *ret_slice)
{
	struct feed_slice slice = {.next = state->cursor};
	while (slice.first < count && seqs[slice.first] <= state->cursor) {
		if (slice.first > 0 && seqs[slice.first] <= seqs[slice.first - 1])
			return false;
		slice.first++;
	}
	for (size_t i = slice.first; i < count; i++) {
		if (seqs[i] != slice.next + 1)
			return false;
		slice.next = seqs[i];
		slice.count++;
	}
	if (next != slice.next && !(slice.count == 0 && next < slice.next))
		return false;
	*ret_slice = slice;
	return true;
}

void feed_state_applied(struct feed_state *state, int64_t next, int64_t head, int64_t now_ms)
{
	state->cursor = next;
	if (head > state->head)
		state->head = head;
	state->reading = false;
	state->failures = 0;
	state->due_ms = state->head > state->cursor ? now_ms : now_ms + state->poll_ms;
}

void feed_state_failed(struct feed_state *state, int64_t now_ms)
{
	int64_t pause = BACKOFF_FIRST_MS;
	for (unsigned i = 0; i < state->failures && pause < BACKOFF_LAST_MS; i++)
		pause *= 2;
	state->reading = false;
	state->failures++;
	state->due_ms = now_ms + (pause < BACKOFF_LAST_MS ? pause : BACKOFF_LAST_MS);
	/* A hint may have told of a head that never comes (a restored server): believe the next answer. */
	state->head = state->cursor;
}
