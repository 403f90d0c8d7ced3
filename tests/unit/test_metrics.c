/* Metrics: identity of a metric, buckets, text format, threads. */
#include "base/metrics.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static char *print(struct buf *out)
{
	buf_reset(out);
	metrics_print(out, "identity", "a\"1\\");
	buf_add_char(out, '\0');
	cr_assert(buf_ok(out));
	return out->data;
}

#define COMMON "process=\"identity\",instance=\"a\\\"1\\\\\""

static void expect(struct buf *out, const char *line)
{
	cr_assert_not_null(strstr(print(out), line), "no %s in\n%s", line, out->data);
}

Test(metrics, counters_and_gauges)
{
	struct buf out = {0};
	struct metric *ok = metric_counter("calls_total", "status=\"ok\"", "Calls\nby \\status.");
	char labels[] = "status=\"bad\"";
	struct metric *bad = metric_counter("calls_total", labels, "Calls\nby \\status.");
	memset(labels, 'x', sizeof(labels) - 1);
	struct metric *gauge = metric_gauge("busy", "", "Busy.");
	cr_assert_eq(ok, metric_counter("calls_total", "status=\"ok\"", ""));
	cr_assert_neq(ok, bad);
	metric_add(ok, 2);
	metric_add(ok, 3);
	metric_set(gauge, 9);
	metric_add(gauge, -10);
	cr_assert_eq(metric_value(ok), 5);
	cr_assert_eq(metric_value(gauge), -1);
	expect(&out, "# HELP calls_total Calls\\nby \\\\status.\n# TYPE calls_total counter\n"
	             "calls_total{" COMMON ",status=\"bad\"} 0\ncalls_total{" COMMON ",status=\"ok\"} 5\n");
	expect(&out, "# TYPE busy gauge\nbusy{" COMMON "} -1\n");
	buf_free(&out);
}

Test(metrics, histograms)
{
	struct buf out = {0};
	struct metric *time = metric_histogram("call_seconds", "", "Time.");
	static const int64_t observed[] = {0, 50, 51, 999, 1000, 10000000, 10000001};
	for (size_t i = 0; i < sizeof(observed) / sizeof(observed[0]); i++)
		metric_observe_us(time, observed[i]);
	cr_assert_eq(metric_value(time), 7);
	expect(&out, "# TYPE call_seconds histogram\ncall_seconds_bucket{" COMMON ",le=\"0.00005\"} 2\n");
	expect(&out, "call_seconds_bucket{" COMMON ",le=\"0.0001\"} 3\n");
	expect(&out, "call_seconds_bucket{" COMMON ",le=\"0.0005\"} 3\n");
	expect(&out, "call_seconds_bucket{" COMMON ",le=\"0.001\"} 5\n");
	expect(&out, "call_seconds_bucket{" COMMON ",le=\"10\"} 6\n");
	expect(&out, "call_seconds_bucket{" COMMON ",le=\"+Inf\"} 7\n");
	expect(&out, "call_seconds_sum{" COMMON "} 20.002101\ncall_seconds_count{" COMMON "} 7\n");
	buf_free(&out);
}

Test(metrics, many_up_to_the_bound)
{
	char labels[32];
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 4096; i++) {
			snprintf(labels, sizeof(labels), "i=\"%d\"", i);
			struct metric *metric = metric_counter("many", labels, "Many.");
			metric_add(metric, i);
			cr_assert_eq(metric_value(metric), i * (round + 1));
		}
}

Test(metrics, beyond_the_bound_aborts, .signal = SIGABRT)
{
	char labels[32];
	for (int i = 0; i < 4097; i++) {
		snprintf(labels, sizeof(labels), "i=\"%d\"", i);
		metric_counter("many", labels, "Many.");
	}
}

static void *count_up(void *unused)
{
	(void)unused;
	for (int i = 0; i < 10000; i++) {
		metric_add(metric_counter("shared", "", "Shared."), 1);
		metric_observe_us(metric_histogram("shared_seconds", "", "Shared."), i);
	}
	return NULL;
}

Test(metrics, threads)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(metric_value(metric_counter("shared", "", "")), 40000);
	cr_assert_eq(metric_value(metric_histogram("shared_seconds", "", "")), 40000);
}
