/* Whose connection ends when the server has no place left. */
#include "http/crowd.h"

#include <stdlib.h>
#include <string.h>

/* The members of a site together, the longest idle of them first. */
static int crowd_by_site(const void *left, const void *right)
{
	const struct crowd_member *a = left, *b = right;
	int order = memcmp(&a->site, &b->site, sizeof(a->site));
	return order != 0 ? order : (a->idle_ms < b->idle_ms) - (a->idle_ms > b->idle_ms);
}

static int crowd_by_idle(const void *left, const void *right)
{
	const struct crowd_member *a = left, *b = right;
	return (a->idle_ms < b->idle_ms) - (a->idle_ms > b->idle_ms);
}

static size_t crowd_site_size(const struct crowd_member *members, size_t count)
{
	size_t size = 1;
	while (size < count && memcmp(&members[size].site, &members[0].site, sizeof(members[0].site)) == 0)
		size++;
	return size;
}

/* Takes up to `most` of the idle ones, which stand in front. Returns how many. */
static size_t crowd_take(struct crowd_member *members, size_t count, size_t most, int64_t idle_min_ms)
{
	size_t taken = 0;
	for (size_t i = 0; i < count && taken < most && members[i].idle_ms >= idle_min_ms; i++) {
		taken += !members[i].leaves;
		members[i].leaves = true;
	}
	return taken;
}

void crowd_choose(struct crowd *crowd, size_t need)
{
	qsort(crowd->members, crowd->count, sizeof(crowd->members[0]), crowd_by_site);
	crowd->site_count = 0;
	for (size_t at = 0, size; at < crowd->count; at += size) {
		struct crowd_member *site = crowd->members + at;
		size = crowd_site_size(site, crowd->count - at);
		if (size <= crowd->share || site->exempt)
			continue;
		size_t surplus = size - crowd->share;
		size_t taken = crowd_take(site, size, surplus < need ? surplus : need, CROWD_SHARE_GRACE_MS);
		need -= taken;
		if (taken < surplus && crowd->site_count < CROWD_SITES_MAX)
			crowd->sites[crowd->site_count++] = site->site;
	}
	qsort(crowd->members, crowd->count, sizeof(crowd->members[0]), crowd_by_idle);
	crowd_take(crowd->members, crowd->count, need, CROWD_GRACE_MS);
}
