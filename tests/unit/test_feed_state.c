/* The feed's state machine against a bad network and a consumer that dies, by seed. */
#include "../../sdk/c/feed_state.c"

#include <criterion/criterion.h>
#include <stdlib.h>

#define EVENTS 400
#define BATCH 16

Test(feed_state, reads_at_once_and_then_by_hint_or_poll)
{
	struct feed_state state;
	feed_state_start(&state, 5, 1000, 0);
	cr_assert(feed_state_due(&state, 0));
	feed_state_sent(&state, 300, 0);
	cr_assert_not(feed_state_due(&state, 200));
	cr_assert_not(feed_state_expired(&state, 299));
	cr_assert(feed_state_expired(&state, 300));
	feed_state_applied(&state, 5, 5, 10);
	cr_assert_not(feed_state_due(&state, 1009));
	cr_assert(feed_state_due(&state, 1010) && feed_state_wait_ms(&state, 10) == 1000);
	feed_state_hint(&state, 5, 20);
	cr_assert_not(feed_state_due(&state, 20), "a hint of what is known");
	feed_state_hint(&state, 6, 20);
	cr_assert(feed_state_due(&state, 20) && feed_state_wait_ms(&state, 20) == 0);
	/* a hint while the read is on its way is not forgotten */
	feed_state_sent(&state, 300, 20);
	feed_state_hint(&state, 7, 25);
	cr_assert_not(feed_state_due(&state, 25));
	feed_state_applied(&state, 6, 6, 30);
	cr_assert(feed_state_due(&state, 30));
}

Test(feed_state, pauses_grow_and_hints_do_not_shorten_them)
{
	struct feed_state state;
	int64_t now = 0, last = 0;
	feed_state_start(&state, 0, 1000, now);
	for (int i = 0; i < 20; i++) {
		feed_state_sent(&state, 300, now);
		feed_state_failed(&state, now);
		feed_state_hint(&state, 100 + i, now);
		int64_t pause = feed_state_wait_ms(&state, now);
		cr_assert(pause >= last && pause >= 50 && pause <= 5000);
		last = pause;
		now += pause;
	}
	cr_assert(last == 5000);
	feed_state_applied(&state, 100, 100, now);
	feed_state_failed(&state, now);
	cr_assert(feed_state_wait_ms(&state, now) == 50);
}

struct accept_case {
	int64_t cursor, seqs[5];
	size_t count;
	int64_t next;
	bool good;
	size_t first, taken;
	int64_t after;
};

static const struct accept_case accept_cases[] = {
    {0, {1, 2, 3}, 3, 3, true, 0, 3, 3},  {0, {0}, 0, 0, true, 0, 0, 0},
    {5, {0}, 0, 5, true, 0, 0, 5},        {5, {4, 5, 6, 7}, 4, 7, true, 2, 2, 7}, /* repetition */
    {5, {3, 4}, 2, 4, true, 2, 0, 5},                                             /* an old answer */
    {0, {2, 3}, 2, 3, false, 0, 0, 0},                                            /* gap at the start */
    {0, {1, 3}, 2, 3, false, 0, 0, 0},                                            /* gap inside */
    {0, {2, 1}, 2, 2, false, 0, 0, 0},                                            /* inversion */
    {0, {1, 1, 2}, 3, 2, false, 0, 0, 0},                                         /* twice */
    {5, {5, 4, 6}, 3, 6, false, 0, 0, 0},                                         /* inversion among the old */
    {0, {1, 2}, 2, 3, false, 0, 0, 0},                                            /* next skips */
    {0, {1, 2}, 2, 1, false, 0, 0, 0},                                            /* next lags */
    {5, {0}, 0, 9, false, 0, 0, 0},                                               /* next without entries */
};

Test(feed_state, accepts_only_what_continues_the_cursor)
{
	for (size_t i = 0; i < sizeof(accept_cases) / sizeof(*accept_cases); i++) {
		const struct accept_case *at = &accept_cases[i];
		struct feed_state state;
		struct feed_slice slice = {99, 99, 99};
		feed_state_start(&state, at->cursor, 1000, 0);
		cr_assert(feed_state_accept(&state, at->seqs, at->count, at->next, &slice) == at->good, "case %zu", i);
		if (at->good)
			cr_assert(slice.first == at->first && slice.count == at->taken && slice.next == at->after,
			          "case %zu", i);
		else
			cr_assert(slice.next == 99, "case %zu: untouched", i);
	}
}

/* ---- a whole life, with everything that can go wrong ---- */

struct world {
	unsigned seed;
	int64_t head;                /* of the ledger */
	int64_t applied[EVENTS * 2]; /* the consumer's durable effects, with the cursor as their number */
	size_t applied_count;
	int64_t answer[BATCH]; /* the answer on its way */
	size_t answer_count;
	int64_t answer_next, answer_head;
};

static unsigned chance(struct world *world, unsigned of)
{
	return (unsigned)rand_r(&world->seed) % of;
}

/* The server's answer, damaged in one of some ways. */
static void answer_read(struct world *world, int64_t after)
{
	world->answer_count = 0;
	world->answer_head = world->head;
	for (int64_t seq = after + 1; seq <= world->head && world->answer_count < BATCH; seq++)
		world->answer[world->answer_count++] = seq;
	world->answer_next = world->answer_count ? world->answer[world->answer_count - 1] : after;
	size_t count = world->answer_count;
	switch (chance(world, 12)) {
	case 0: /* an entry is lost */
		if (count > 1) {
			for (size_t i = chance(world, (unsigned)count); i + 1 < count; i++)
				world->answer[i] = world->answer[i + 1];
			world->answer_count--;
		}
		break;
	case 1: /* two change places */
		if (count > 1) {
			size_t i = chance(world, (unsigned)count - 1);
			int64_t seq = world->answer[i];
			world->answer[i] = world->answer[i + 1];
			world->answer[i + 1] = seq;
		}
		break;
	case 2: /* an entry comes twice */
		if (count > 0 && count < BATCH)
			world->answer[world->answer_count++] = world->answer[count - 1];
		break;
	case 3: /* the answer to an older question */
		for (size_t i = 0; i < count; i++)
			world->answer[i] -= world->answer[0] > 3 ? 3 : 0;
		break;
	default:
		break;
	}
}

/* True when the consumer lived on. A crash before the write leaves nothing, one after it leaves all: the write is atomic. */
static bool apply_slice(struct world *world, const struct feed_slice *slice)
{
	if (chance(world, 15) == 0)
		return false;
	for (size_t i = 0; i < slice->count; i++)
		world->applied[world->applied_count++] = world->answer[slice->first + i];
	return chance(world, 15) != 0;
}

static int64_t durable_cursor(const struct world *world)
{
	return world->applied_count ? world->applied[world->applied_count - 1] : 0;
}

static void run_world(unsigned seed)
{
	struct world world = {.seed = seed};
	struct feed_state state;
	struct feed_slice slice;
	int64_t now = 0;
	feed_state_start(&state, 0, 1000, now);
	for (int step = 0; step < 100000 && durable_cursor(&world) < EVENTS; step++) {
		if (world.head < EVENTS && chance(&world, 3) == 0) {
			world.head++;
			if (chance(&world, 2) == 0)
				feed_state_hint(&state, world.head, now);
		}
		now += chance(&world, 40);
		if (feed_state_expired(&state, now))
			feed_state_failed(&state, now);
		if (!feed_state_due(&state, now))
			continue;
		feed_state_sent(&state, 300, now);
		if (chance(&world, 10) == 0)
			continue; /* question or answer lost */
		answer_read(&world, state.cursor);
		if (!feed_state_accept(&state, world.answer, world.answer_count, world.answer_next, &slice))
			feed_state_failed(&state, now);
		else if (slice.count == 0 || apply_slice(&world, &slice))
			feed_state_applied(&state, slice.next, world.answer_head, now);
		else if (chance(&world, 2) == 0 && state.cursor == durable_cursor(&world))
			feed_state_failed(&state, now); /* apply refused */
		else
			feed_state_start(&state, durable_cursor(&world), 1000,
			                 now); /* died: starts again at its cursor */
	}
	cr_assert(world.applied_count == EVENTS, "seed %u: %zu", seed, world.applied_count);
	for (size_t i = 0; i < world.applied_count; i++)
		cr_assert(world.applied[i] == (int64_t)i + 1, "seed %u: event %zu", seed, i + 1);
}

Test(feed_state, every_event_once_and_in_order_whatever_happens)
{
	for (unsigned seed = 1; seed <= 300; seed++)
		run_world(seed);
}
