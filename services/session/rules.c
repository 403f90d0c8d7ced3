/* Lifetimes, the place of a refresh token, and who must wait after failed sign-ins. */
#include "rules.h"

#define DAY_US (86400 * US_PER_SEC)

enum rules_token rules_place_token(bool is_current, bool is_previous, int64_t rotated_at_us, int64_t now_us)
{
	if (is_current)
		return RULES_TOKEN_CURRENT;
	/* A replica whose clock is behind sees the rotation in the future: still inside the window. */
	if (is_previous && now_us - rotated_at_us <= RULES_REPLAY_WINDOW_US)
		return RULES_TOKEN_REPLAYED;
	return RULES_TOKEN_REUSED;
}

int64_t rules_expiry_us(int64_t now_us, int64_t idle_us, int64_t dies_at_us)
{
	int64_t idle_at_us = now_us + idle_us;
	return idle_at_us < dies_at_us ? idle_at_us : dies_at_us;
}

uint32_t rules_token_sec(int64_t expires_at_us, int64_t now_us)
{
	int64_t seconds = (expires_at_us - now_us) / US_PER_SEC;
	if (seconds < 1)
		return 1;
	return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
}

int64_t rules_purge_us(int64_t at_us)
{
	return ((at_us + RULES_KEEP_US + DAY_US - 1) / DAY_US) * DAY_US;
}

int64_t rules_backoff_us(int64_t failures, int64_t max_us)
{
	if (failures < RULES_FREE_FAILURES)
		return 0;
	int64_t doublings = failures - RULES_FREE_FAILURES;
	if (doublings > 20)
		return max_us;
	int64_t wait_us = US_PER_SEC << doublings;
	return wait_us < max_us ? wait_us : max_us;
}

uint32_t rules_retry_after_ms(int64_t until_us, int64_t now_us)
{
	int64_t seconds = (until_us - now_us + US_PER_SEC - 1) / US_PER_SEC;
	if (seconds < 1)
		seconds = 1;
	if (seconds > 86400)
		seconds = 86400;
	return (uint32_t)(seconds * 1000);
}
