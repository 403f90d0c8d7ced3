/* Counters, gauges and latency histograms in Prometheus text format. Registered at start, updated with atomics. */
#pragma once

#include "base/buf.h"

#include <stdint.h>

struct metric;

/* name and help are static; labels is "" or e.g. "method=\"GetUser\",status=\"ok\"" (copied). The same name and labels
 * give the same metric. Any thread; never NULL (aborts when 4096 metrics exist: label sets must be bounded). */
struct metric *metric_counter(const char *name, const char *labels, const char *help);
struct metric *metric_gauge(const char *name, const char *labels, const char *help);
struct metric *metric_histogram(const char *name, const char *labels,
                                const char *help); /* microseconds in, seconds out */

/* Adds to a counter or gauge. Any thread. */
void metric_add(struct metric *metric, int64_t by);
/* Sets a gauge. Any thread. */
void metric_set(struct metric *metric, int64_t value);
/* Adds an observation to a histogram. Any thread. */
void metric_observe_us(struct metric *metric, int64_t us);
/* Value of a counter or gauge; number of observations of a histogram. */
int64_t metric_value(const struct metric *metric);

/* Appends all metrics, with process and instance labels. */
void metrics_print(struct buf *out, const char *process, const char *instance);
