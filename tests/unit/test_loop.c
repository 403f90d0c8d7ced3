/* The loop: fibers, waits, timers, posts from other threads. */
#include "base/clock.h"
#include "base/log.h"
#include "loop/loop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct scene {
	struct loop *loop;
	struct wait waits[64];
	int order[128], count, finished;
	pthread_t threads[4];
};

static void scene_note(struct scene *scene, int value)
{
	scene->order[scene->count++] = value;
}

static void end_when(struct scene *scene, int wanted)
{
	if (++scene->finished == wanted)
		loop_stop(scene->loop);
}

static void sleeper(void *arg)
{
	struct scene *scene = arg;
	int mine = scene->count;
	scene_note(scene, mine);
	fiber_sleep_us(scene->loop, (4 - mine) * 5 * US_PER_MS);
	scene_note(scene, 10 + mine);
	end_when(scene, 4);
}

static void spawn_sleepers(void *arg)
{
	struct scene *scene = arg;
	for (int i = 0; i < 4; i++)
		cr_assert(fiber_spawn(scene->loop, sleeper, scene));
}

Test(loop, fibers_interleave_and_wake_by_deadline)
{
	struct scene scene = {.loop = loop_new()};
	loop_post(scene.loop, spawn_sleepers, &scene);
	loop_run(scene.loop);
	int expected[] = {0, 1, 2, 3, 13, 12, 11, 10};
	for (int i = 0; i < 8; i++)
		cr_expect_eq(scene.order[i], expected[i], "place %d is %d", i, scene.order[i]);
	loop_free(&scene.loop);
	cr_expect_null(scene.loop);
}

/* A thread completes a fiber's wait; a fiber that waits too short times out and is not resumed twice. */
static void *completer(void *arg)
{
	struct scene *scene = arg;
	for (int i = 0; i < 32; i++)
		wait_done(&scene->waits[i]);
	return NULL;
}

struct waiting {
	struct scene *scene;
	int index;
};

static void waiter(void *arg)
{
	struct waiting *waiting = arg;
	struct scene *scene = waiting->scene;
	struct wait *wait = &scene->waits[waiting->index];
	bool done = wait_for(wait, clock_monotonic_us() + (waiting->index < 32 ? 5000 : 20) * US_PER_MS);
	cr_expect_eq(done, waiting->index < 32);
	end_when(scene, 64);
}

static struct waiting waitings[64];

static void waiter_init(void *arg)
{
	struct waiting *waiting = arg;
	struct wait local;
	wait_init(&local, waiting->scene->loop);
	waiting->scene->waits[waiting->index] = local;
	if (waiting->index == 63) /* all of them wait, or are about to */
		pthread_create(&waiting->scene->threads[0], NULL, completer, waiting->scene);
	waiter(arg);
}

static void spawn_initialised(void *arg)
{
	struct scene *scene = arg;
	for (int i = 0; i < 64; i++) {
		waitings[i] = (struct waiting){scene, i};
		cr_assert(fiber_spawn(scene->loop, waiter_init, &waitings[i]));
	}
}

Test(loop, threads_complete_fibers)
{
	struct scene scene = {.loop = loop_new()};
	loop_post(scene.loop, spawn_initialised, &scene);
	loop_run(scene.loop);
	pthread_join(scene.threads[0], NULL);
	cr_expect_eq(scene.finished, 64);
	loop_free(&scene.loop);
}

static void *runner(void *arg)
{
	loop_run(((struct scene *)arg)->loop);
	return NULL;
}

static void complete_first(void *arg)
{
	wait_done(&((struct scene *)arg)->waits[0]);
}

Test(loop, a_thread_waits_for_the_loop)
{
	struct scene scene = {.loop = loop_new()};
	pthread_create(&scene.threads[0], NULL, runner, &scene);
	for (int i = 0; i < 1000; i++) {
		wait_init(&scene.waits[0], scene.loop);
		loop_post(scene.loop, complete_first, &scene);
		cr_assert(wait_for(&scene.waits[0], clock_monotonic_us() + 5 * US_PER_SEC));
	}
	wait_init(&scene.waits[1], scene.loop);
	cr_expect_not(wait_for(&scene.waits[1], clock_monotonic_us() + 10 * US_PER_MS), "nobody completes it");
	loop_stop(scene.loop);
	pthread_join(scene.threads[0], NULL);
	loop_free(&scene.loop);
}

static void timer_fired(void *arg)
{
	struct scene *scene = arg;
	scene_note(scene, scene->count);
	if (scene->count == 3)
		loop_stop(scene->loop);
}

static void timer_never(void *arg)
{
	cr_assert_fail("a timer that was switched off fired");
}

Test(loop, timers_fire_in_order_and_can_be_moved)
{
	struct scene scene = {.loop = loop_new()};
	struct loop_timer *timers[3], *off = loop_timer_new(scene.loop, timer_never, NULL);
	int64_t now_us = clock_monotonic_us();
	for (int i = 0; i < 3; i++) {
		timers[i] = loop_timer_new(scene.loop, timer_fired, &scene);
		loop_timer_set(timers[i], now_us + (i + 1) * 3 * US_PER_MS);
	}
	loop_timer_set(off, now_us + 1);
	loop_timer_set(off, 0);
	loop_timer_set(timers[0], now_us + 20 * US_PER_MS);
	loop_run(scene.loop);
	cr_expect_geq(clock_monotonic_us() - now_us, 20 * US_PER_MS);
	for (int i = 0; i < 3; i++)
		loop_timer_free(&timers[i]);
	loop_timer_free(&off);
	loop_free(&scene.loop);
}

struct pipe_scene {
	struct loop *loop;
	struct loop_watch *watch;
	int fd;
};

static void pipe_readable(void *arg)
{
	struct pipe_scene *scene = arg;
	loop_unwatch(scene->loop, &scene->watch); /* inside its own callback */
	close(scene->fd);
	loop_stop(scene->loop);
}

Test(loop, a_watch_may_go_inside_its_callback)
{
	struct pipe_scene scene = {.loop = loop_new(), .fd = eventfd(1, EFD_NONBLOCK)};
	scene.watch = loop_watch_fd(scene.loop, scene.fd, pipe_readable, &scene);
	loop_run(scene.loop);
	cr_expect_null(scene.watch);
	loop_free(&scene.loop);
}

/* ---- log lines of a fiber ---- */

struct trace_scene {
	struct loop *loop;
	int right, running;
};

static void fiber_traced(void *arg)
{
	struct trace_scene *scene = arg;
	uint8_t number = (uint8_t)++scene->running, mine[16] = {number}, got[16] = {0};
	bool clean = !log_trace(got); /* nothing of a fiber before it, although stacks are used again */
	if (number % 2)
		log_set_trace(mine);
	fiber_sleep_us(scene->loop, number * 1000);
	scene->right += clean && log_trace(got) == (number % 2 == 1) && got[0] == (number % 2 ? number : 0);
	if (number == 8)
		loop_stop(scene->loop);
}

static void fiber_spawns_traced(void *arg)
{
	struct trace_scene *scene = arg;
	for (int i = 0; i < 8; i++)
		cr_assert(fiber_spawn(scene->loop, fiber_traced, scene));
}

Test(loop, a_fiber_keeps_its_trace_over_a_wait)
{
	struct trace_scene scene = {.loop = loop_new()};
	loop_post(scene.loop, fiber_spawns_traced, &scene);
	loop_run(scene.loop);
	cr_expect_eq(scene.right, 8);
	cr_expect_not(log_trace((uint8_t[16]){0}));
	loop_free(&scene.loop);
}

static void watched(void *arg)
{
	struct scene *scene = arg;
	if (++scene->count == 1)
		loop_stop(scene->loop);
}

/* As many as a gateway has that sees 32 replicas of each service: a DEALER and its monitor each, and some more. */
Test(loop, watches_are_not_bounded)
{
	enum { WATCHES = 300 };
	struct scene scene = {.loop = loop_new()};
	struct loop_watch *watches[WATCHES];
	int fds[WATCHES];
	for (int i = 0; i < WATCHES; i++) {
		fds[i] = eventfd(i == WATCHES - 1, EFD_NONBLOCK | EFD_CLOEXEC);
		watches[i] = loop_watch_fd(scene.loop, fds[i], watched, &scene);
	}
	loop_run(scene.loop);
	cr_expect_eq(scene.count, 1, "the last one is looked at as well");
	for (int i = 0; i < WATCHES; i++) {
		loop_unwatch(scene.loop, &watches[i]);
		close(fds[i]);
	}
	loop_free(&scene.loop);
}
