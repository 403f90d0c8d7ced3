/* How much of the machine hashing leaves to others. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Times of the whole machine since some moment, microseconds of all cores. */
struct share_times {
	int64_t busy_us, total_us;
};

struct share {
	unsigned cores;
	struct share_times at; /* at the last look */
	int64_t hashed_us;     /* processor time of hashing since then */
	int64_t next_us;       /* monotonic: when to look again */
	bool crowded;          /* others use more than two fifths of the machine */
};

/* Reads the machine's times; false when it does not tell them. Without the pool's lock: a hashing thread, which runs when nobody else
 * wants to, must not hold it longer than an instant. */
bool share_look(struct share_times *ret_times);
/* Counts processor time that hashing took; judges every 200 ms by the times just read. Under the pool's lock. */
void share_note(struct share *share, int64_t hashed_us, int64_t now_us, const struct share_times *times);
/* What a look finds: others are what is busy without hashing. For tests; share_note calls it. */
void share_judge(struct share *share, const struct share_times *now);
/* How long a thread rests after a hash that took so long and so much processor time, when `threads` hash side by side: on a crowded
 * machine all of them together get an eighth of the cores; otherwise 0. */
int64_t share_rest_us(const struct share *share, unsigned threads, int64_t took_us, int64_t cpu_us);
