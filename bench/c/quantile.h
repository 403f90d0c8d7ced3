/* Quantiles of a list of measured times. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline int quantile_compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

/* Sorts in place, once before quantile_of. */
static inline void quantile_sort(int64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), quantile_compare);
}

/* The value below which `share` (0..1) of the sorted values lie; 0 for an empty list. */
static inline int64_t quantile_of(const int64_t *sorted, size_t count, double share)
{
	if (count == 0)
		return 0;
	size_t at = (size_t)(share * (double)count);
	return sorted[at < count ? at : count - 1];
}
