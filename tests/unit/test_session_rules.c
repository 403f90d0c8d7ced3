/* The session service's rules: lifetimes, the place of a token, back-off and who is let through. */
#include "../../services/session/rules.h"

#include <criterion/criterion.h>

#define NOW (1000000 * US_PER_SEC)

Test(session_rules, places_a_token)
{
	const struct {
		bool current, previous;
		int64_t rotated_at_us;
		enum rules_token place;
	} cases[] = {
	    {true, false, 0, RULES_TOKEN_CURRENT},
	    {true, true, 0, RULES_TOKEN_CURRENT},
	    {false, true, NOW, RULES_TOKEN_REPLAYED},
	    {false, true, NOW + 5 * US_PER_SEC, RULES_TOKEN_REPLAYED}, /* our clock is behind */
	    {false, true, NOW - RULES_REPLAY_WINDOW_US, RULES_TOKEN_REPLAYED},
	    {false, true, NOW - RULES_REPLAY_WINDOW_US - 1, RULES_TOKEN_REUSED},
	    {false, false, NOW, RULES_TOKEN_REUSED},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(rules_place_token(cases[i].current, cases[i].previous, cases[i].rotated_at_us, NOW),
		             cases[i].place, "case %zu", i);
}

Test(session_rules, expires_by_idling_and_never_later_than_it_dies)
{
	cr_assert_eq(rules_expiry_us(100, 50, 1000), 150);
	cr_assert_eq(rules_expiry_us(990, 50, 1000), 1000);
	int64_t day_us = 86400 * US_PER_SEC;
	cr_assert_eq(rules_purge_us(5 * day_us), 5 * day_us + RULES_KEEP_US);
	cr_assert_eq(rules_purge_us(5 * day_us + 1) % day_us, 0);
	cr_assert_geq(rules_purge_us(5 * day_us + 1), 5 * day_us + 1 + RULES_KEEP_US);
}

Test(session_rules, backs_off_exponentially)
{
	cr_assert_eq(rules_backoff_us(0, RULES_BACKOFF_MAX_US), 0);
	cr_assert_eq(rules_backoff_us(4, RULES_BACKOFF_MAX_US), 0);
	cr_assert_eq(rules_backoff_us(5, RULES_BACKOFF_MAX_US), 1 * US_PER_SEC);
	cr_assert_eq(rules_backoff_us(6, RULES_BACKOFF_MAX_US), 2 * US_PER_SEC);
	cr_assert_eq(rules_backoff_us(14, RULES_BACKOFF_MAX_US), 512 * US_PER_SEC);
	cr_assert_eq(rules_backoff_us(15, RULES_BACKOFF_MAX_US), RULES_BACKOFF_MAX_US);
	cr_assert_eq(rules_backoff_us(INT64_MAX, RULES_BACKOFF_MAX_US), RULES_BACKOFF_MAX_US);
	cr_assert_eq(rules_backoff_us(40, RULES_BACKOFF_GENTLE_US), RULES_BACKOFF_GENTLE_US);
}

Test(session_rules, retry_after_is_whole_seconds)
{
	cr_assert_eq(rules_retry_after_ms(NOW + 1, NOW), 1000);
	cr_assert_eq(rules_retry_after_ms(NOW + US_PER_SEC, NOW), 1000);
	cr_assert_eq(rules_retry_after_ms(NOW + US_PER_SEC + 1, NOW), 2000);
	cr_assert_eq(rules_retry_after_ms(NOW - US_PER_SEC, NOW), 1000);
	cr_assert_eq(rules_retry_after_ms(INT64_MAX / 2, 0), 86400000);
}
