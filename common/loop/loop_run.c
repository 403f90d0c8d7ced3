/* The bus thread: turns of fibers, posts, timers, sockets and descriptors. */
#include "loop/loop_internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define ROUNDS_MAX 32 /* of fibers and posts before the sockets are looked at again */

/* ---- life ---- */

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		abort();
	loop->context = zmq_ctx_new();
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	/* No watch behind it: the wake-up itself. By edge: the counter is never read, each write is a new sign. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	if (!loop->context || loop->wake_fd < 0 || pthread_mutex_init(&loop->lock, NULL) != 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0)
		abort();
	return loop;
}

void loop_free(struct loop **loop_ref)
{
	struct loop *loop = *loop_ref;
	if (!loop)
		return;
	loop_free_watches(loop);
	loop_free_fibers(loop);
	zmq_ctx_term(loop->context);
	close(loop->epoll_fd);
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop->heap);
	free(loop);
	*loop_ref = NULL;
}

/* ---- turns ---- */

static void loop_poll(struct loop *loop)
{
	loop_sweep_watches(loop);
	bool messages = loop_run_sockets(loop);
	if (messages && !loop->epoll_skipped) {
		loop->epoll_skipped = true; /* run what they brought first; look at the descriptors next time */
		return;
	}
	loop->epoll_skipped = false;
	loop_wake_sleepers(loop);
	long timeout_ms = messages ? 0 : loop_timeout_ms(loop);
	pthread_mutex_lock(&loop->lock);
	if (loop->posted_count > 0 || loop->ready_head)
		timeout_ms = 0;
	loop->sleeping = timeout_ms != 0;
	pthread_mutex_unlock(&loop->lock);
	struct epoll_event events[64];
	int ready = epoll_wait(loop->epoll_fd, events, 64, (int)timeout_ms);
	if (timeout_ms != 0) {
		pthread_mutex_lock(&loop->lock);
		loop->sleeping = false;
		pthread_mutex_unlock(&loop->lock);
	}
	for (int i = 0; i < ready; i++)
		loop_on_event(events[i].data.ptr);
}

void loop_run(struct loop *loop)
{
	loop_set_thread(loop);
	while (!atomic_load(&loop->stopping)) {
		/* Fibers first, then what they posted (flushes): all of one wake-up leaves together. */
		bool again = true;
		for (int round = 0; again && round < ROUNDS_MAX; round++) {
			again = loop_run_ready(loop);
			again = loop_run_posted(loop) || again;
		}
		loop_run_timers(loop);
		if (loop->ready_head)
			loop_wake_sleepers(loop);
		else
			loop_poll(loop);
	}
	loop_wake_sleepers(loop);
	loop_set_thread(NULL);
}
