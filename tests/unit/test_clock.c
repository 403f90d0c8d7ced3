/* Clock: RFC 3339 both ways against the C library's calendar, refusals, HTTP dates. */
#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t parse(const char *text)
{
	int64_t us = -42;
	cr_assert(clock_parse_rfc3339(text, strlen(text), &us), "%s", text);
	return us;
}

Test(clock, runs)
{
	int64_t wall = clock_wall_us(), monotonic = clock_monotonic_us();
	cr_assert_leq(wall / US_PER_SEC - time(NULL), 1);
	cr_assert_geq(clock_monotonic_us(), monotonic);
}

Test(clock, formats_like_the_c_library)
{
	char ours[CLOCK_RFC3339_SIZE], date[CLOCK_HTTP_DATE_SIZE], theirs[64];
	for (int64_t sec = -62167219200LL; sec <= 253402300799LL; sec += 86400LL * 13 + 12345) {
		struct tm tm;
		time_t at = sec;
		gmtime_r(&at, &tm);
		clock_format_rfc3339(sec * US_PER_SEC + 987654, ours);
		snprintf(theirs, sizeof(theirs), "%04d-%02d-%02dT%02d:%02d:%02d.987Z", tm.tm_year + 1900, tm.tm_mon + 1,
		         tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		cr_assert_str_eq(ours, theirs);
		cr_assert_eq(parse(ours), sec * US_PER_SEC + 987000);
		clock_format_http_date(sec * US_PER_SEC, date);
		strftime(theirs, sizeof(theirs), "%a, %d %b ", &tm);
		snprintf(theirs + 12, sizeof(theirs) - 12, "%04d %02d:%02d:%02d GMT", tm.tm_year + 1900, tm.tm_hour,
		         tm.tm_min, tm.tm_sec);
		cr_assert_str_eq(date, theirs);
	}
}

Test(clock, beyond_four_digit_years)
{
	char text[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(INT64_MAX, text);
	cr_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
	clock_format_rfc3339(INT64_MIN, text);
	cr_assert_str_eq(text, "0000-01-01T00:00:00.000Z");
	clock_format_rfc3339(-1, text);
	cr_assert_str_eq(text, "1969-12-31T23:59:59.999Z");
	clock_format_http_date(784111777LL * US_PER_SEC, text);
	cr_assert_str_eq(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}

Test(clock, parses)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"1970-01-01t00:00:00z", 0},
	    {"1970-01-01T00:00:00.1Z", 100000},
	    {"1970-01-01T00:00:00.000001Z", 1},
	    {"1970-01-01T00:00:00.0000019Z", 1},
	    {"1970-01-01T01:00:00+01:00", 0},
	    {"1969-12-31T19:30:00-04:30", 0},
	    {"1970-01-01T00:00:00-00:00", 0},
	    {"2000-02-29T00:00:00Z", 951782400LL * US_PER_SEC},
	    {"1996-12-19T16:39:57-08:00", 851042397LL * US_PER_SEC},
	    {"0000-01-01T00:00:00+23:59", (-62167219200LL - 86340) * US_PER_SEC},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(parse(cases[i].text), cases[i].us, "%s", cases[i].text);
}

Test(clock, refuses)
{
	static const char *const cases[] = {
	    "",
	    "1970",
	    "1970-01-01",
	    "1970-01-01T00:00:00",
	    "1970-01-01 00:00:00Z",
	    "1970-01-01T00:00:00.Z",
	    "1970-01-01T00:00:00,1Z",
	    "1970-01-01T00:00:60Z",
	    "1970-01-01T24:00:00Z",
	    "1970-01-01T00:60:00Z",
	    "1970-00-01T00:00:00Z",
	    "1970-13-01T00:00:00Z",
	    "1970-02-29T00:00:00Z",
	    "1900-02-29T00:00:00Z",
	    "1970-04-31T00:00:00Z",
	    "1970-01-00T00:00:00Z",
	    "1970-01-01T00:00:00ZZ",
	    "1970-01-01T00:00:00+24:00",
	    "1970-01-01T00:00:00+00:60",
	    "1970-01-01T00:00:00+0000",
	    "1970-01-01T00:00:00+00",
	    "+970-01-01T00:00:00Z",
	    "1970-1-01T00:00:00Z",
	    " 1970-01-01T00:00:00Z",
	    "1970-01-01T00:00:00Z ",
	    "19700101T000000Z",
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t us = 7;
		cr_assert_not(clock_parse_rfc3339(cases[i], strlen(cases[i]), &us), "%s", cases[i]);
		cr_assert_eq(us, 7);
	}
	const char *whole = "1970-01-01T00:00:00.123456Z";
	for (size_t len = 0; len < strlen(whole); len++) {
		int64_t us;
		char *cut = strndup(whole, len);
		cr_assert_not(clock_parse_rfc3339(cut, len, &us), "%s", cut);
		free(cut);
	}
}
