/* The bus thread: polls, runs callbacks, timers and fibers. */
#include "loop/loop_internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define ROUNDS_MAX 32 /* of fibers and posts before the sockets are looked at again */

struct posted {
	void (*fn)(void *arg);
	void *arg;
};

struct loop_watch {
	void *socket; /* ZeroMQ, or NULL */
	int fd;       /* its descriptor, or the watched one */
	int epoll_fd;
	bool look;                  /* a socket: there may be messages */
	bool (*receive)(void *arg); /* of a socket */
	void (*fn)(void *arg);      /* of a descriptor */
	void *arg;
	bool dead;
};

static _Thread_local struct loop *thread_loop;

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
	loop->thread = pthread_self();
	return loop;
}

void loop_free(struct loop **loop_ref)
{
	struct loop *loop = *loop_ref;
	if (!loop)
		return;
	for (size_t i = 0; i < loop->watch_count; i++)
		free(loop->watches[i]);
	free(loop->watches);
	loop_free_fibers(loop);
	zmq_ctx_term(loop->context);
	close(loop->epoll_fd);
	close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop->posted);
	free(loop->draining);
	free(loop->heap);
	free(loop);
	*loop_ref = NULL;
}

void *loop_zmq_context(struct loop *loop)
{
	return loop->context;
}

bool loop_on_thread(const struct loop *loop)
{
	return loop && thread_loop == loop;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopping, true);
	uint64_t one = 1;
	ssize_t written = write(loop->wake_fd, &one, sizeof(one));
	(void)written; /* a full counter wakes as well */
}

/* ---- posting ---- */

static bool posted_grow(struct posted **list, size_t *capacity)
{
	size_t wanted = *capacity ? *capacity * 2 : 256;
	struct posted *grown = realloc(*list, wanted * sizeof(*grown));
	if (!grown)
		return false;
	*list = grown;
	*capacity = wanted;
	return true;
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&loop->lock);
	if (loop->posted_count == loop->posted_capacity && !posted_grow(&loop->posted, &loop->posted_capacity))
		abort(); /* a lost post is a call that never ends */
	loop->posted[loop->posted_count++] = (struct posted){fn, arg};
	bool wake = loop->sleeping;
	loop->sleeping = false;
	pthread_mutex_unlock(&loop->lock);
	if (wake) {
		uint64_t one = 1;
		ssize_t written = write(loop->wake_fd, &one, sizeof(one));
		(void)written;
	}
}

/* Runs everything posted so far. Returns whether there was anything. */
static bool loop_run_posted(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct posted *batch = loop->posted;
	size_t count = loop->posted_count, capacity = loop->posted_capacity;
	loop->posted = loop->draining;
	loop->posted_capacity = loop->draining_capacity;
	loop->posted_count = 0;
	pthread_mutex_unlock(&loop->lock);
	loop->draining = batch;
	loop->draining_capacity = capacity;
	for (size_t i = 0; i < count; i++)
		batch[i].fn(batch[i].arg);
	return count > 0;
}

/* ---- watches ---- */

static bool watches_grow(struct loop *loop)
{
	size_t wanted = loop->watch_capacity ? loop->watch_capacity * 2 : 64;
	struct loop_watch **grown = realloc(loop->watches, wanted * sizeof(struct loop_watch *));
	if (!grown)
		return false;
	loop->watches = grown;
	loop->watch_capacity = wanted;
	return true;
}

static struct loop_watch *loop_watch_new(struct loop *loop, void *socket, int fd)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));
	if (!watch || (loop->watch_count == loop->watch_capacity && !watches_grow(loop)))
		abort();
	watch->socket = socket;
	watch->fd = fd;
	watch->epoll_fd = loop->epoll_fd;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		abort(); /* only a descriptor that is none is refused */
	loop->watches[loop->watch_count++] = watch;
	return watch;
}

struct loop_watch *loop_watch_socket(struct loop *loop, void *zmq_socket, bool (*fn)(void *arg), void *arg)
{
	int fd = -1;
	size_t size = sizeof(fd);
	if (zmq_getsockopt(zmq_socket, ZMQ_FD, &fd, &size) != 0)
		abort();
	struct loop_watch *watch = loop_watch_new(loop, zmq_socket, fd);
	watch->look = true; /* messages may have come before */
	watch->receive = fn;
	watch->arg = arg;
	return watch;
}

void loop_watch_used(struct loop_watch *watch)
{
	watch->look = true;
}

struct loop_watch *loop_watch_fd(struct loop *loop, int fd, void (*fn)(void *arg), void *arg)
{
	struct loop_watch *watch = loop_watch_new(loop, NULL, fd);
	watch->fn = fn;
	watch->arg = arg;
	return watch;
}

void loop_watch_writable(struct loop_watch *watch, bool wanted)
{
	struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = watch};
	epoll_ctl(watch->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_unwatch(struct loop *loop, struct loop_watch **watch)
{
	if (!*watch)
		return;
	/* The owner closes the descriptor right after; a closed one may already have left the set by itself. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, (*watch)->fd, NULL);
	(*watch)->dead = true;
	loop->watches_changed = true;
	*watch = NULL;
}

static void loop_sweep_watches(struct loop *loop)
{
	if (!loop->watches_changed)
		return;
	size_t kept = 0;
	for (size_t i = 0; i < loop->watch_count; i++) {
		if (loop->watches[i]->dead)
			free(loop->watches[i]);
		else
			loop->watches[kept++] = loop->watches[i];
	}
	loop->watch_count = kept;
	loop->watches_changed = false;
}

/* ---- the loop ---- */

/* Receives from the sockets whose descriptor gave a sign, which ZeroMQ does once for many messages, and from those used since.
 * Asking a socket for its state would cost the same system calls as an attempt to receive. Returns whether there was anything. */
static bool loop_run_sockets(struct loop *loop)
{
	bool any = false;
	size_t count = loop->watch_count; /* those added meanwhile wait for the next turn */
	for (size_t i = 0; i < count; i++) {
		struct loop_watch *watch = loop->watches[i];
		if (!watch->socket || watch->dead || !watch->look)
			continue;
		watch->look = false;
		any = watch->receive(watch->arg) || any;
	}
	return any;
}

static void loop_on_event(struct loop_watch *watch)
{
	if (!watch)
		return; /* the wake-up */
	watch->look = true;
	if (!watch->socket && !watch->dead)
		watch->fn(watch->arg);
}

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
	loop->thread = pthread_self();
	thread_loop = loop;
	atomic_store(&loop->running, true);
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
	thread_loop = NULL;
}
