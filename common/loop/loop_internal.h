/* What the files of the loop share, from the bottom up: loop.c (posts, watches), loop_timer.c, loop_fiber.c, loop_run.c (life and turns).
 * Nobody else includes it; loop's thread only where nothing else is said. */
#pragma once

#include "loop/loop.h"

#include <pthread.h>

#define SLEEPERS_MAX 64

struct loop_timer {
	struct loop *loop;
	int64_t at_us;
	size_t place; /* 1-based index in the heap, 0 = not in it */
	void (*fn)(void *arg);
	void *arg;
};

struct posted; /* loop.c */
struct task;   /* loop_fiber.c */

struct loop {
	void *context;
	int wake_fd;
	atomic_bool stopping;

	pthread_mutex_t lock; /* protects posted, sleeping */
	struct posted *posted;
	size_t posted_count, posted_capacity;
	bool sleeping;
	struct posted *draining; /* the other half, owned by the loop */
	size_t draining_capacity;

	struct loop_watch **watches;
	size_t watch_count, watch_capacity;
	bool watches_changed;
	int epoll_fd;
	bool epoll_skipped; /* the last turn went without looking at the descriptors */

	struct loop_timer **heap; /* 1-based binary heap by at_us */
	size_t heap_count, heap_capacity;

	/* Threads whose waits are over. They are woken at the end of the turn: one woken earlier would take the processor from the turn,
	 * and what it could have answered together would be answered one by one. */
	atomic_int *sleepers[SLEEPERS_MAX];
	size_t sleeper_count;

	struct task *ready_head, *ready_tail;
	struct task *idle;
	size_t idle_count, task_count;
};

/* ---- loop.c ---- */
/* This thread runs the loop from now on; NULL: none. */
void loop_set_thread(struct loop *loop);
/* Runs everything posted so far. Returns whether there was anything. */
bool loop_run_posted(struct loop *loop);
/* Receives from the sockets whose descriptor gave a sign, which ZeroMQ does once for many messages, and from those used since. Returns
 * whether there was anything. */
bool loop_run_sockets(struct loop *loop);
/* The descriptor of a watch gave a sign; NULL: the wake-up. */
void loop_on_event(struct loop_watch *watch);
/* Frees the watches that have gone. */
void loop_sweep_watches(struct loop *loop);
/* Frees all watches and posts; the loop does not run any more. */
void loop_free_watches(struct loop *loop);

/* ---- loop_timer.c ---- */
/* Runs the timers that are due, the earliest first. A callback may set, move and free timers, its own as well. */
void loop_run_timers(struct loop *loop);
/* Milliseconds until the next timer, rounded up; 0 = one is due, -1 without one. */
long loop_timeout_ms(struct loop *loop);

/* ---- loop_fiber.c ---- */
/* Runs the fibers that are ready now; those that become ready meanwhile wait for the next round. Returns whether there were any. */
bool loop_run_ready(struct loop *loop);
/* Wakes the threads whose waits are over. Their waits may be out of scope by now: waking an address where nobody sleeps does nothing. */
void loop_wake_sleepers(struct loop *loop);
/* Frees the finished fibers kept for reuse; the loop does not run any more. A fiber still in progress is not freed. */
void loop_free_fibers(struct loop *loop);
