/* Time. Wall clock for what people and tokens see, monotonic clock for deadlines. Microseconds everywhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define US_PER_MS 1000LL
#define US_PER_SEC 1000000LL

int64_t clock_wall_us(void);      /* since 1970-01-01T00:00:00Z */
int64_t clock_monotonic_us(void); /* since some fixed moment */

#define CLOCK_RFC3339_SIZE 32
/* Writes RFC 3339 in UTC with milliseconds, "2026-11-21T20:15:00.123Z", NUL-terminated. */
void clock_format_rfc3339(int64_t wall_us, char ret_text[CLOCK_RFC3339_SIZE]);

/* Parses RFC 3339 (any offset, up to 6 fraction digits kept). False when the text is not a valid instant. */
bool clock_parse_rfc3339(const char *text, size_t len_bytes, int64_t *ret_wall_us);

#define CLOCK_HTTP_DATE_SIZE 32
/* IMF-fixdate of RFC 9110 section 5.6.7. */
void clock_format_http_date(int64_t wall_us, char ret_text[CLOCK_HTTP_DATE_SIZE]);
