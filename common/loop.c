/* The bus thread: polls, runs callbacks, timers and fibers. */
#include "loop.h"

#include "clock.h"
#include "fiber.h"
#include "log.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zmq.h>

#define FIBERS_MAX 4096     /* calls in progress in one process */
#define FIBERS_IDLE_MAX 256 /* finished fibers kept for reuse */
#define WATCHES_MAX 256
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

struct loop_timer {
	struct loop *loop;
	int64_t at_us;
	size_t place; /* 1-based index in the heap, 0 = not in it */
	void (*fn)(void *arg);
	void *arg;
};

/* One fiber with what the loop knows of it. */
struct task {
	struct fiber *fiber;
	struct loop *loop;
	struct wait *waiting;
	struct loop_timer deadline;
	struct task *next; /* in the ready list or the idle list */
	void (*fn)(void *arg);
	void *arg;
	uint8_t trace[16];
};

struct loop {
	void *context;
	int wake_fd;
	pthread_t thread;
	atomic_bool running, stopping;

	pthread_mutex_t lock; /* protects posted, sleeping */
	struct posted *posted;
	size_t posted_count, posted_capacity;
	bool sleeping;
	struct posted *draining; /* the other half, owned by the loop */
	size_t draining_capacity;

	struct loop_watch *watches[WATCHES_MAX];
	size_t watch_count;
	bool watches_changed;
	int epoll_fd;
	bool epoll_skipped; /* the last turn went without looking at the descriptors */

	struct loop_timer **heap; /* 1-based binary heap by at_us */
	size_t heap_count, heap_capacity;

	struct task *ready_head, *ready_tail;
	struct task *idle;
	size_t idle_count, task_count;
};

/* States of a wait. POSTED: completed by another thread, the loop has still to see it, so the wait must stay in scope. */
enum { WAIT_PENDING, WAIT_DONE, WAIT_SLEEPING, WAIT_POSTED };

static _Thread_local struct task *running_task;
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
	struct epoll_event event = {.events = EPOLLIN}; /* no watch behind it: the wake-up itself */
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
	while (loop->idle) {
		struct task *task = loop->idle;
		loop->idle = task->next;
		fiber_free(&task->fiber);
		free(task);
	}
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
	return thread_loop == loop;
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

static struct loop_watch *loop_watch_new(struct loop *loop, void *socket, int fd)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));
	if (!watch || loop->watch_count == WATCHES_MAX)
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

/* ---- timers: a binary heap ---- */

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

static void loop_run_timers(struct loop *loop)
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

/* ---- fibers ---- */

static void task_ready(struct task *task)
{
	struct loop *loop = task->loop;
	task->next = NULL;
	if (loop->ready_tail)
		loop->ready_tail->next = task;
	else
		loop->ready_head = task;
	loop->ready_tail = task;
}

static void task_main(void *arg)
{
	struct task *task = arg;
	task->fn(task->arg);
}

/* The deadline of the fiber's wait passed. */
static void task_deadline(void *arg)
{
	struct task *task = arg;
	struct wait *wait = task->waiting;
	if (!wait || atomic_load(&wait->state) != WAIT_PENDING)
		return; /* completed: its resumption is under way */
	wait->timed_out = true;
	task->waiting = NULL;
	task_ready(task);
}

static struct task *task_new(struct loop *loop)
{
	struct task *task = loop->idle;
	if (task) {
		loop->idle = task->next;
		loop->idle_count--;
		return task;
	}
	task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->fiber = fiber_new(FIBER_STACK_BYTES);
	if (!task->fiber) {
		free(task);
		return NULL;
	}
	task->loop = loop;
	task->deadline = (struct loop_timer){.loop = loop, .fn = task_deadline, .arg = task};
	return task;
}

bool fiber_spawn(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	if (loop->task_count == FIBERS_MAX)
		return false;
	struct task *task = task_new(loop);
	if (!task)
		return false;
	loop->task_count++;
	task->fn = fn;
	task->arg = arg;
	task->waiting = NULL;
	fiber_prepare(task->fiber, task_main, task);
	task_ready(task);
	return true;
}

bool fiber_active(void)
{
	return running_task != NULL;
}

static void task_run(struct task *task)
{
	struct loop *loop = task->loop;
	running_task = task;
	int ended = fiber_enter(task->fiber);
	running_task = NULL;
	log_set_trace(NULL);
	if (!ended)
		return;
	loop->task_count--;
	if (loop->idle_count < FIBERS_IDLE_MAX) {
		task->next = loop->idle;
		loop->idle = task;
		loop->idle_count++;
		return;
	}
	fiber_free(&task->fiber);
	free(task);
}

/* Runs the fibers that are ready now; those that become ready meanwhile wait for the next round. */
static bool loop_run_ready(struct loop *loop)
{
	struct task *task = loop->ready_head;
	loop->ready_head = loop->ready_tail = NULL;
	bool any = task != NULL;
	while (task) {
		struct task *next = task->next;
		task_run(task);
		task = next;
	}
	return any;
}

/* ---- completion ---- */

void wait_init(struct wait *wait, struct loop *loop)
{
	*wait = (struct wait){.loop = loop, .fiber = running_task};
}

static bool wait_for_fiber(struct wait *wait, int64_t deadline_us)
{
	struct task *task = wait->fiber;
	if (atomic_load(&wait->state) == WAIT_DONE)
		return true;
	wait->suspended = true;
	task->waiting = wait;
	loop_timer_set(&task->deadline, deadline_us);
	fiber_suspend(task->fiber);
	loop_timer_set(&task->deadline, 0);
	wait->suspended = false;
	return !wait->timed_out;
}

static void futex_call(atomic_int *address, int operation, int value, const struct timespec *timeout)
{
	/* A spurious return is harmless: the caller looks at the state again. */
	syscall(SYS_futex, address, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

bool wait_for(struct wait *wait, int64_t deadline_us)
{
	if (wait->fiber)
		return wait_for_fiber(wait, deadline_us);
	int pending = WAIT_PENDING;
	if (!atomic_compare_exchange_strong(&wait->state, &pending, WAIT_SLEEPING) && pending == WAIT_DONE)
		return true;
	while (atomic_load(&wait->state) != WAIT_DONE) {
		int64_t left_us = deadline_us - clock_monotonic_us();
		if (left_us <= 0)
			return false;
		struct timespec timeout = {.tv_sec = left_us / US_PER_SEC, .tv_nsec = left_us % US_PER_SEC * 1000};
		futex_call(&wait->state, FUTEX_WAIT, WAIT_SLEEPING, &timeout);
	}
	return true;
}

/* On the loop's thread: makes the waiting fiber ready. */
static void wait_resume(void *arg)
{
	struct wait *wait = arg;
	struct task *task = wait->fiber;
	atomic_store(&wait->state, WAIT_DONE);
	if (!wait->suspended || wait->timed_out)
		return; /* not waiting yet: wait_for sees the state; or waiting no more: its resumption is under way */
	task->waiting = NULL;
	task_ready(task);
}

void wait_done(struct wait *wait)
{
	if (!wait->fiber) {
		if (atomic_exchange(&wait->state, WAIT_DONE) == WAIT_SLEEPING)
			futex_call(&wait->state, FUTEX_WAKE, 1, NULL);
		return;
	}
	struct loop *loop = wait->loop;
	if (loop_on_thread(loop)) {
		wait_resume(wait);
		return;
	}
	atomic_store(&wait->state, WAIT_POSTED);
	loop_post(loop, wait_resume, wait);
}

void fiber_sleep_us(struct loop *loop, int64_t us)
{
	struct wait wait;
	wait_init(&wait, loop);
	(void)wait_for(&wait, clock_monotonic_us() + us);
}

/* ---- the loop ---- */

/* Milliseconds until the next timer, rounded up; -1 without one. */
static long loop_timeout_ms(struct loop *loop)
{
	if (loop->heap_count == 0)
		return -1;
	int64_t left_us = loop->heap[1]->at_us - clock_monotonic_us();
	return left_us <= 0 ? 0 : (long)((left_us + US_PER_MS - 1) / US_PER_MS);
}

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

static void loop_on_event(struct loop *loop, struct loop_watch *watch)
{
	if (watch) {
		watch->look = true;
		if (!watch->socket && !watch->dead)
			watch->fn(watch->arg);
		return;
	}
	uint64_t value;
	ssize_t got = read(loop->wake_fd, &value, sizeof(value));
	(void)got;
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
		loop_on_event(loop, events[i].data.ptr);
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
		if (!loop->ready_head)
			loop_poll(loop);
	}
	thread_loop = NULL;
}
