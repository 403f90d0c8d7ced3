/* How much of the machine hashing leaves to others. The lowest priority alone does not do: hashing fills every gap between two
 * steps of the others, and the caches with its memory. */
#include "credentials/share.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define LOOK_EVERY_US (200 * US_PER_MS)
#define REST_MAX_US (250 * US_PER_MS)
#define PARTS 8 /* hashing gets one of so many on a crowded machine */

/* The first line of proc(5) stat: user nice system idle iowait irq softirq, in ticks. */
bool share_look(struct share_times *ret_times)
{
	long long field[7];
	FILE *file = fopen("/proc/stat", "re");
	if (!file)
		return false;
	int got = fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld", &field[0], &field[1], &field[2], &field[3],
	                 &field[4], &field[5], &field[6]);
	fclose(file);
	if (got != 7)
		return false;
	int64_t tick_us = US_PER_SEC / sysconf(_SC_CLK_TCK), total = 0;
	for (int i = 0; i < 7; i++) /* what the hypervisor took was nobody's */
		total += field[i];
	ret_times->total_us = total * tick_us;
	ret_times->busy_us = (total - field[3] - field[4]) * tick_us;
	return true;
}

void share_judge(struct share *share, const struct share_times *now)
{
	int64_t total_us = now->total_us - share->at.total_us;
	int64_t others_us = now->busy_us - share->at.busy_us - share->hashed_us;
	/* Once crowded, until others use clearly less: hashing itself is what made them slower. */
	share->crowded = others_us * 10 > total_us * (share->crowded ? 3 : 4);
	share->at = *now;
	share->hashed_us = 0;
}

void share_note(struct share *share, int64_t hashed_us, int64_t now_us, const struct share_times *times)
{
	share->hashed_us += hashed_us;
	if (now_us < share->next_us)
		return;
	/* After a pause the last look says nothing of now. */
	if (now_us > share->next_us + LOOK_EVERY_US) {
		share->at = *times;
		share->hashed_us = 0;
		share->crowded = false;
	} else {
		share_judge(share, times);
	}
	share->next_us = now_us + LOOK_EVERY_US;
}

int64_t share_rest_us(const struct share *share, unsigned threads, int64_t took_us, int64_t cpu_us)
{
	if (!share->crowded || share->cores == 0)
		return 0;
	int64_t rest_us = cpu_us * PARTS * threads / share->cores - took_us;
	return rest_us < 0 ? 0 : rest_us < REST_MAX_US ? rest_us : REST_MAX_US;
}
