/* Fibers of the loop, and the waits that suspend them or an ordinary thread. */
#include "base/clock.h"
#include "base/log.h"
#include "loop/fiber.h"
#include "loop/loop_internal.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIBERS_MAX 4096     /* calls in progress in one process */
#define FIBERS_IDLE_MAX 256 /* finished fibers kept for reuse */

/* One fiber with what the loop knows of it. */
struct task {
	struct fiber *fiber;
	struct loop *loop;
	struct wait *waiting;
	struct loop_timer deadline;
	struct task *next; /* in the ready list or the idle list */
	void (*fn)(void *arg);
	void *arg;
	uint8_t trace[16]; /* of its log lines, kept while it is suspended */
	bool traced;
};

/* States of a wait. POSTED: completed by another thread, the loop has still to see it, so the wait must stay in scope. */
enum { WAIT_PENDING, WAIT_DONE, WAIT_SLEEPING, WAIT_POSTED };

static _Thread_local struct task *running_task;

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
	task->traced = false;
	fiber_prepare(task->fiber, task_main, task);
	task_ready(task);
	return true;
}

bool fiber_active(void)
{
	return running_task;
}

static void task_run(struct task *task)
{
	struct loop *loop = task->loop;
	running_task = task;
	log_set_trace(task->traced ? task->trace : NULL);
	int ended = fiber_enter(task->fiber);
	running_task = NULL;
	task->traced = log_trace(task->trace);
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

bool loop_run_ready(struct loop *loop)
{
	struct task *task = loop->ready_head;
	loop->ready_head = loop->ready_tail = NULL;
	bool any = task;
	while (task) {
		struct task *next = task->next;
		task_run(task);
		task = next;
	}
	return any;
}

void loop_free_fibers(struct loop *loop)
{
	while (loop->idle) {
		struct task *task = loop->idle;
		loop->idle = task->next;
		fiber_free(&task->fiber);
		free(task);
	}
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
	loop_timer_set(&task->deadline, deadline_us == WAIT_FOREVER ? 0 : deadline_us);
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
		if (deadline_us == WAIT_FOREVER) { /* spares the kernel a timer */
			futex_call(&wait->state, FUTEX_WAIT, WAIT_SLEEPING, NULL);
			continue;
		}
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

void loop_wake_sleepers(struct loop *loop)
{
	for (size_t i = 0; i < loop->sleeper_count; i++)
		futex_call(loop->sleepers[i], FUTEX_WAKE, 1, NULL);
	loop->sleeper_count = 0;
}

static void wait_done_thread(struct wait *wait)
{
	struct loop *loop = wait->loop;
	bool later = loop_on_thread(loop);
	if (atomic_exchange(&wait->state, WAIT_DONE) != WAIT_SLEEPING)
		return;
	if (!later) {
		futex_call(&wait->state, FUTEX_WAKE, 1, NULL);
		return;
	}
	if (loop->sleeper_count == SLEEPERS_MAX)
		loop_wake_sleepers(loop);
	loop->sleepers[loop->sleeper_count++] = &wait->state;
}

void wait_done(struct wait *wait)
{
	if (!wait->fiber) {
		wait_done_thread(wait);
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
