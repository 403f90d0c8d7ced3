/* The one bus thread of a process: ZeroMQ sockets, file descriptors, timers, and fibers.
 *
 * A fiber is a handler with its own stack that runs on the loop's thread. Where a handler would block (database, bus call,
 * password pool) it waits on a `struct wait`; the loop runs others meanwhile. Code above this header is written as plain
 * synchronous functions and works the same on an ordinary thread, where waiting sleeps on a futex.
 *
 * Rules: never block the loop's thread otherwise; sockets belong to the loop's thread; loop_post is the only way in. */
#pragma once

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* One loop per process and one ZeroMQ context within it. Aborts without memory. */
struct loop *loop_new(void);
void loop_free(struct loop **loop);
void *loop_zmq_context(struct loop *loop);
void loop_run(struct loop *loop);             /* on the calling thread until loop_stop */
void loop_stop(struct loop *loop);            /* any thread */
bool loop_on_thread(const struct loop *loop); /* the caller is the loop's thread */

/* Runs fn(arg) on the loop's thread soon, in order of posting. Any thread. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* ---- watches: loop's thread only ---- */
struct loop_watch;
/* fn runs whenever there may be something to receive: it receives until there is nothing left and returns whether there was
 * anything. */
struct loop_watch *loop_watch_socket(struct loop *loop, void *zmq_socket, bool (*fn)(void *arg), void *arg);
/* To be called after any other use of the socket (sending, connecting, closing a monitor): it can swallow ZeroMQ's sign that
 * messages came. fn runs again before the loop sleeps. */
void loop_watch_used(struct loop_watch *watch);
/* fn runs whenever the descriptor is readable. */
struct loop_watch *loop_watch_fd(struct loop *loop, int fd, void (*fn)(void *arg), void *arg);
void loop_watch_writable(struct loop_watch *watch, bool wanted); /* fd only: also wake when writable */
void loop_unwatch(struct loop *loop, struct loop_watch **watch); /* safe inside a callback */

/* ---- timers: loop's thread only ---- */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *timer, int64_t at_monotonic_us); /* one shot; 0 = off; setting again moves it */
void loop_timer_free(struct loop_timer **timer);

/* ---- fibers ---- */
#define FIBER_STACK_BYTES (128 * 1024)
/* Starts fn(arg) as a fiber on the loop's thread; loop's thread only. False when the limit of fibers is reached. */
MUST_USE bool fiber_spawn(struct loop *loop, void (*fn)(void *arg), void *arg);
bool fiber_active(void); /* the caller runs inside a fiber */
/* Sleeps the calling fiber or thread. */
void fiber_sleep_us(struct loop *loop, int64_t us);

/* ---- one-shot completion ---- */
struct wait {
	struct loop *loop;
	void *fiber; /* the waiting fiber, NULL for a thread */
	atomic_int state;
	bool suspended;
	bool timed_out;
};
void wait_init(struct wait *wait, struct loop *loop); /* by the one who will wait */
/* Waits until wait_done or the monotonic deadline. True when done. After false the caller must make sure (on the loop's
 * thread, or by the completer's own lock) that wait_done is not called any more before *wait goes out of scope. */
bool wait_for(struct wait *wait, int64_t deadline_us);
#define WAIT_FOREVER INT64_MAX
void wait_done(struct wait *wait); /* any thread, once */
