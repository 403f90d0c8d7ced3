/* What reaches the loop: posts of other threads, sockets and descriptors. */
#include "loop/loop_internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

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

static _Thread_local struct loop *thread_loop; /* that runs on this thread */

void *loop_zmq_context(struct loop *loop)
{
	return loop->context;
}

void loop_set_thread(struct loop *loop)
{
	thread_loop = loop;
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

bool loop_run_posted(struct loop *loop)
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

void loop_sweep_watches(struct loop *loop)
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

/* Asking a socket for its state would cost the same system calls as an attempt to receive. */
bool loop_run_sockets(struct loop *loop)
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

void loop_on_event(struct loop_watch *watch)
{
	if (!watch)
		return; /* the wake-up */
	watch->look = true;
	if (!watch->socket && !watch->dead)
		watch->fn(watch->arg);
}

void loop_free_watches(struct loop *loop)
{
	for (size_t i = 0; i < loop->watch_count; i++)
		free(loop->watches[i]);
	free(loop->watches);
	free(loop->posted);
	free(loop->draining);
}
