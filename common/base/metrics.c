/* Metrics: a fixed table found by hash, values in relaxed atomics, text made on demand. */
#include "base/metrics.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METRICS_MAX 4096
#define SLOTS (2 * METRICS_MAX) /* open addressing, at most half full */
#define US_PER_SECOND 1000000

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };
static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* Upper bounds of the latency buckets in microseconds and as printed, in seconds. */
static const struct bucket {
	int64_t up_to_us;
	const char *label;
} buckets[] = {
    {50, "0.00005"}, {100, "0.0001"}, {250, "0.00025"}, {500, "0.0005"}, {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"}, {10000, "0.01"}, {25000, "0.025"}, {50000, "0.05"}, {100000, "0.1"},  {250000, "0.25"},
    {500000, "0.5"}, {1000000, "1"},  {2500000, "2.5"}, {5000000, "5"},  {10000000, "10"},
};
#define BUCKETS (sizeof(buckets) / sizeof(buckets[0]))

struct metric {
	enum kind kind;
	const char *name, *help;
	char *labels;
	atomic_llong value;    /* histogram: sum of microseconds */
	atomic_llong counts[]; /* histogram only: per bucket, the last one beyond all bounds */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *slots[SLOTS];
static unsigned metrics_count;

static void die(const char *why, const char *name)
{
	fprintf(stderr, "fatal: metric %s: %s\n", name, why);
	abort();
}

static struct metric *metric_new(enum kind kind, const char *name, const char *labels, const char *help)
{
	size_t counts = kind == KIND_HISTOGRAM ? BUCKETS + 1 : 0;
	struct metric *metric = calloc(1, sizeof(*metric) + counts * sizeof(metric->counts[0]));
	if (metric)
		metric->labels = strdup(labels);
	if (!metric || !metric->labels)
		die("out of memory", name);
	metric->kind = kind;
	metric->name = name;
	metric->help = help;
	return metric;
}

static struct metric *metric_get(enum kind kind, const char *name, const char *labels, const char *help)
{
	uint32_t slot = (uint32_t)(hash_text(hash_text(HASH_START, name), labels) % SLOTS);
	pthread_mutex_lock(&lock);
	while (slots[slot] && (strcmp(slots[slot]->name, name) != 0 || strcmp(slots[slot]->labels, labels) != 0))
		slot = (slot + 1) % SLOTS;
	if (!slots[slot]) {
		if (metrics_count == METRICS_MAX)
			die("too many metrics: a label set is unbounded", name);
		slots[slot] = metric_new(kind, name, labels, help);
		metrics_count++;
	}
	struct metric *metric = slots[slot];
	pthread_mutex_unlock(&lock);
	if (metric->kind != kind)
		die("registered with two kinds", name);
	return metric;
}

struct metric *metric_counter(const char *name, const char *labels, const char *help)
{
	return metric_get(KIND_COUNTER, name, labels, help);
}

struct metric *metric_gauge(const char *name, const char *labels, const char *help)
{
	return metric_get(KIND_GAUGE, name, labels, help);
}

struct metric *metric_histogram(const char *name, const char *labels, const char *help)
{
	return metric_get(KIND_HISTOGRAM, name, labels, help);
}

void metric_add(struct metric *metric, int64_t by)
{
	atomic_fetch_add_explicit(&metric->value, by, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t us)
{
	size_t bucket = 0;
	if (metric->kind != KIND_HISTOGRAM)
		die("is no histogram", metric->name);
	while (bucket < BUCKETS && us > buckets[bucket].up_to_us)
		bucket++;
	atomic_fetch_add_explicit(&metric->counts[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metric->value, us, memory_order_relaxed);
}

/* A histogram's value is its number of observations. */
int64_t metric_value(const struct metric *metric)
{
	int64_t count = 0;
	if (metric->kind != KIND_HISTOGRAM)
		return atomic_load_explicit(&metric->value, memory_order_relaxed);
	for (size_t i = 0; i <= BUCKETS; i++)
		count += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
	return count;
}

/* Escapes as the text format wants: help knows \\ and \n, label values also \". */
static void add_escaped(struct buf *out, const char *text, bool label)
{
	for (; *text; text++) {
		if (*text == '\n')
			buf_add_str(out, "\\n");
		else if (*text == '\\' || (label && *text == '"'))
			buf_printf(out, "\\%c", *text);
		else
			buf_add_char(out, *text);
	}
}

/* name_suffix{common labels,own labels,le="..."} and a space. */
static void add_series(struct buf *out, const struct metric *metric, const char *suffix, const struct buf *common,
                       const char *le)
{
	buf_add_str(out, metric->name);
	buf_add_str(out, suffix);
	buf_add_char(out, '{');
	buf_add(out, common->data, common->len);
	if (*metric->labels)
		buf_printf(out, ",%s", metric->labels);
	if (le)
		buf_printf(out, ",le=\"%s\"", le);
	buf_add_str(out, "} ");
}

static void add_histogram(struct buf *out, const struct metric *metric, const struct buf *common)
{
	int64_t total = 0;
	for (size_t i = 0; i <= BUCKETS; i++) {
		total += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
		add_series(out, metric, "_bucket", common, i < BUCKETS ? buckets[i].label : "+Inf");
		buf_add_int(out, total);
		buf_add_char(out, '\n');
	}
	long long sum_us = atomic_load_explicit(&metric->value, memory_order_relaxed);
	add_series(out, metric, "_sum", common, NULL);
	buf_printf(out, "%lld.%06lld\n", sum_us / US_PER_SECOND, sum_us < 0 ? 0 : sum_us % US_PER_SECOND);
	add_series(out, metric, "_count", common, NULL);
	buf_add_int(out, total);
	buf_add_char(out, '\n');
}

static int compare_metrics(const void *a, const void *b)
{
	const struct metric *one = *(struct metric *const *)a, *other = *(struct metric *const *)b;
	int order = strcmp(one->name, other->name);
	return order ? order : strcmp(one->labels, other->labels);
}

/* A sorted copy of the table (metrics are never removed); NULL without memory. */
static struct metric **metrics_sorted(size_t *ret_count)
{
	size_t count = 0;
	struct metric **sorted = malloc(METRICS_MAX * sizeof(struct metric *));
	if (!sorted)
		return NULL;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i])
			sorted[count++] = slots[i];
	pthread_mutex_unlock(&lock);
	qsort(sorted, count, sizeof(sorted[0]), compare_metrics);
	*ret_count = count;
	return sorted;
}

void metrics_print(struct buf *out, const char *process, const char *instance)
{
	size_t count = 0;
	struct buf common = {0};
	struct metric **sorted = metrics_sorted(&count);
	buf_add_str(&common, "process=\"");
	add_escaped(&common, process, true);
	buf_add_str(&common, "\",instance=\"");
	add_escaped(&common, instance, true);
	buf_add_char(&common, '"');
	for (size_t i = 0; i < count; i++) {
		const struct metric *metric = sorted[i];
		if (i == 0 || strcmp(metric->name, sorted[i - 1]->name) != 0) {
			buf_printf(out, "# HELP %s ", metric->name);
			add_escaped(out, metric->help, false);
			buf_printf(out, "\n# TYPE %s %s\n", metric->name, kind_names[metric->kind]);
		}
		if (metric->kind == KIND_HISTOGRAM) {
			add_histogram(out, metric, &common);
			continue;
		}
		add_series(out, metric, "", &common, NULL);
		buf_add_int(out, metric_value(metric));
		buf_add_char(out, '\n');
	}
	if (!sorted || !buf_ok(&common))
		out->failed = true;
	buf_free(&common);
	free(sorted);
}
