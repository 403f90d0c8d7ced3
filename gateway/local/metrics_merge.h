/* Joins several Prometheus texts into one: the samples of one metric stand together under one HELP and TYPE. */
#pragma once

#include "base/buf.h"

#define METRICS_MERGE_FAMILIES 512

struct metrics_family {
	char *name; /* owned */
	struct buf head, samples;
};
/* A zeroed struct is empty. */
struct metrics_merge {
	struct metrics_family families[METRICS_MERGE_FAMILIES];
	size_t count;
};

/* Adds a text; families beyond the table are left out. */
void metrics_merge_add(struct metrics_merge *merge, const char *text, size_t len_bytes);
void metrics_merge_print(const struct metrics_merge *merge, struct buf *out);
void metrics_merge_free(struct metrics_merge *merge);
