/* Timers of the loop: a binary heap by the time they are due. */
#include "base/clock.h"
#include "loop/loop_internal.h"

#include <stdlib.h>

static void heap_put(struct loop *loop, size_t place, struct loop_timer *timer)
{
	loop->heap[place] = timer;
	timer->place = place;
}

static void heap_up(struct loop *loop, struct loop_timer *timer)
{
	size_t place = timer->place;
	while (place > 1 && loop->heap[place / 2]->at_us > timer->at_us) {
		heap_put(loop, place, loop->heap[place / 2]);
		place /= 2;
	}
	heap_put(loop, place, timer);
}

static void heap_down(struct loop *loop, struct loop_timer *timer)
{
	size_t place = timer->place;
	for (;;) {
		size_t child = place * 2;
		if (child > loop->heap_count)
			break;
		if (child < loop->heap_count && loop->heap[child + 1]->at_us < loop->heap[child]->at_us)
			child++;
		if (loop->heap[child]->at_us >= timer->at_us)
			break;
		heap_put(loop, place, loop->heap[child]);
		place = child;
	}
	heap_put(loop, place, timer);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
	size_t place = timer->place;
	timer->place = 0;
	struct loop_timer *last = loop->heap[loop->heap_count--];
	if (last == timer)
		return;
	heap_put(loop, place, last);
	heap_up(loop, last);
	heap_down(loop, last);
}

static void heap_insert(struct loop *loop, struct loop_timer *timer)
{
	if (loop->heap_count + 2 > loop->heap_capacity) {
		size_t capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 64;
		struct loop_timer **heap = realloc(loop->heap, capacity * sizeof(struct loop_timer *));
		if (!heap)
			abort();
		loop->heap = heap;
		loop->heap_capacity = capacity;
	}
	heap_put(loop, ++loop->heap_count, timer);
	heap_up(loop, timer);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));
	if (!timer)
		abort();
	timer->loop = loop;
	timer->fn = fn;
	timer->arg = arg;
	return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t at_monotonic_us)
{
	if (timer->place)
		heap_remove(timer->loop, timer);
	timer->at_us = at_monotonic_us;
	if (at_monotonic_us)
		heap_insert(timer->loop, timer);
}

void loop_timer_free(struct loop_timer **timer)
{
	if (!*timer)
		return;
	loop_timer_set(*timer, 0);
	free(*timer);
	*timer = NULL;
}

void loop_run_timers(struct loop *loop)
{
	if (loop->heap_count == 0)
		return;
	int64_t now_us = clock_monotonic_us();
	while (loop->heap_count > 0 && loop->heap[1]->at_us <= now_us) {
		struct loop_timer *timer = loop->heap[1];
		heap_remove(loop, timer);
		timer->fn(timer->arg);
	}
}

long loop_timeout_ms(struct loop *loop)
{
	if (loop->heap_count == 0)
		return -1;
	int64_t left_us = loop->heap[1]->at_us - clock_monotonic_us();
	return left_us <= 0 ? 0 : (long)((left_us + US_PER_MS - 1) / US_PER_MS);
}
