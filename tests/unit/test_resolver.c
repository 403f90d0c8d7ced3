/* Names in a thread of their own: the loop goes on while a name server is silent (test_bus.c holds the name server). */
#include "base/clock.h"
#include "loop/resolver.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct question_scene {
	struct loop *loop;
	struct loop_timer *beat;
	int64_t beat_us, longest_us; /* between two beats */
	int beats;
	struct resolved resolved;
	int answers;
};

static void on_answer(void *arg, const struct resolved *resolved)
{
	struct question_scene *scene = arg;
	scene->resolved = *resolved;
	scene->answers++;
	loop_stop(scene->loop);
}

static void on_beat(void *arg)
{
	struct question_scene *scene = arg;
	int64_t now_us = clock_monotonic_us(), apart_us = now_us - scene->beat_us;
	scene->longest_us = apart_us > scene->longest_us ? apart_us : scene->longest_us;
	scene->beat_us = now_us;
	if (++scene->beats == 50)
		loop_stop(scene->loop);
	else
		loop_timer_set(scene->beat, now_us + 10 * US_PER_MS);
}

Test(resolver, addresses_know_their_name)
{
	struct question_scene scene = {.loop = loop_new()};
	struct resolver *resolver = resolver_new(scene.loop);
	const char *names[] = {"::1", "nobody.test", "replica.test"};
	cr_assert(resolver_ask(resolver, names, 3, on_answer, &scene));
	loop_run(scene.loop);
	cr_expect_eq(scene.answers, 1);
	cr_expect_not(scene.resolved.whole, "nobody.test has no address");
	cr_assert_eq(scene.resolved.count, 2);
	cr_expect_eq(scene.resolved.found[0].name, 0);
	cr_expect(scene.resolved.found[0].v6);
	cr_expect_str_eq(scene.resolved.found[0].text, "::1");
	cr_expect_eq(scene.resolved.found[1].name, 2);
	cr_expect_str_eq(scene.resolved.found[1].text, "127.0.0.1");
	resolver_free(&resolver);
	loop_free(&scene.loop);
}

Test(resolver, a_silent_name_server_keeps_nobody)
{
	struct question_scene scene = {.loop = loop_new(), .beat_us = clock_monotonic_us()};
	struct resolver *resolver = resolver_new(scene.loop);
	const char *names[] = {"silent.test"};
	scene.beat = loop_timer_new(scene.loop, on_beat, &scene);
	loop_timer_set(scene.beat, scene.beat_us + 10 * US_PER_MS);
	cr_assert(resolver_ask(resolver, names, 1, on_answer, &scene));
	loop_run(scene.loop);
	cr_expect_eq(scene.answers, 0);
	cr_expect_eq(scene.beats, 50);
	cr_expect_lt(scene.longest_us, US_PER_SEC, "the loop waited for the name server");
	int64_t begun_us = clock_monotonic_us();
	resolver_free(&resolver);
	cr_expect_lt(clock_monotonic_us() - begun_us, US_PER_SEC, "the end waited for the name server");
	loop_timer_free(&scene.beat);
	loop_free(&scene.loop);
}

Test(resolver, a_question_has_bounds)
{
	struct question_scene scene = {.loop = loop_new()};
	struct resolver *resolver = resolver_new(scene.loop);
	const char *names[RESOLVER_NAMES_MAX + 1];
	for (unsigned i = 0; i <= RESOLVER_NAMES_MAX; i++)
		names[i] = "127.0.0.1";
	cr_expect_not(resolver_ask(resolver, names, RESOLVER_NAMES_MAX + 1, on_answer, &scene));
	cr_assert(resolver_ask(resolver, names, RESOLVER_NAMES_MAX, on_answer, &scene));
	loop_run(scene.loop);
	cr_expect_eq(scene.resolved.count, RESOLVER_NAMES_MAX);
	cr_expect(scene.resolved.whole);
	resolver_free(&resolver);
	loop_free(&scene.loop);
}
