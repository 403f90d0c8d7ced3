/* Clocks, and the two text forms of an instant. Calendar arithmetic is proleptic Gregorian, without leap seconds. */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#define DAY_SEC 86400LL
#define YEAR_0000_US (-62167219200LL * US_PER_SEC)
#define YEAR_9999_END_US (253402300800LL * US_PER_SEC - 1)

struct civil {
	int64_t days; /* since 1970-01-01 */
	int year, month, day, hour, minute, second, micro;
};

static int64_t clock_read_us(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * US_PER_SEC + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return clock_read_us(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

/* Years begin in March here, so that the leap day is the last day of a year; eras have 400 years. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_from_days(int64_t days, struct civil *ret_civil)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t day_of_era = z - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day_of_year + 2) / 153;
	ret_civil->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
	ret_civil->month = (int)(month < 10 ? month + 3 : month - 9);
	ret_civil->year = (int)(year_of_era + era * 400 + (ret_civil->month <= 2));
}

/* Instants outside the years 0000 to 9999 have no text form and are shown as the nearest that has one. */
static struct civil civil_from_us(int64_t wall_us)
{
	struct civil civil = {0};
	if (wall_us < YEAR_0000_US)
		wall_us = YEAR_0000_US;
	if (wall_us > YEAR_9999_END_US)
		wall_us = YEAR_9999_END_US;
	int64_t seconds = wall_us / US_PER_SEC, micro = wall_us % US_PER_SEC;
	if (micro < 0) {
		micro += US_PER_SEC;
		seconds--;
	}
	int64_t days = seconds / DAY_SEC, rest = seconds % DAY_SEC;
	if (rest < 0) {
		rest += DAY_SEC;
		days--;
	}
	civil.days = days;
	civil.hour = (int)(rest / 3600);
	civil.minute = (int)(rest / 60 % 60);
	civil.second = (int)(rest % 60);
	civil.micro = (int)micro;
	date_from_days(days, &civil);
	return civil;
}

/* Writes value with leading zeros and returns the place behind it. */
static char *put_digits(char *to, int value, int width)
{
	for (int i = width - 1; i >= 0; i--, value /= 10)
		to[i] = (char)('0' + value % 10);
	return to + width;
}

static char *put_number(char *to, int value, int width, char after)
{
	to = put_digits(to, value, width);
	*to = after;
	return to + 1;
}

void clock_format_rfc3339(int64_t wall_us, char ret_text[CLOCK_RFC3339_SIZE])
{
	struct civil civil = civil_from_us(wall_us);
	char *to = put_number(ret_text, civil.year, 4, '-');
	to = put_number(to, civil.month, 2, '-');
	to = put_number(to, civil.day, 2, 'T');
	to = put_number(to, civil.hour, 2, ':');
	to = put_number(to, civil.minute, 2, ':');
	to = put_number(to, civil.second, 2, '.');
	to = put_number(to, civil.micro / 1000, 3, 'Z');
	*to = '\0';
}

void clock_format_http_date(int64_t wall_us, char ret_text[CLOCK_HTTP_DATE_SIZE])
{
	static const char day_names[7][4] = {"Thu", "Fri", "Sat", "Sun",
	                                     "Mon", "Tue", "Wed"}; /* 1970-01-01: Thursday */
	static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct civil civil = civil_from_us(wall_us);
	char *to = ret_text;
	memcpy(to, day_names[(civil.days % 7 + 7) % 7], 3);
	memcpy(to + 3, ", ", 2);
	to = put_number(to + 5, civil.day, 2, ' ');
	memcpy(to, month_names[civil.month - 1], 3);
	to[3] = ' ';
	to = put_number(to + 4, civil.year, 4, ' ');
	to = put_number(to, civil.hour, 2, ':');
	to = put_number(to, civil.minute, 2, ':');
	to = put_number(to, civil.second, 2, ' ');
	memcpy(to, "GMT", 4);
}

struct reader {
	const char *at, *end;
	bool bad;
};

static int read_digits(struct reader *reader, int width)
{
	int value = 0;
	for (int i = 0; i < width; i++) {
		if (reader->at == reader->end || *reader->at < '0' || *reader->at > '9') {
			reader->bad = true;
			return 0;
		}
		value = value * 10 + (*reader->at++ - '0');
	}
	return value;
}

/* Takes one of the two characters and says which one it was; '\0' when neither stands there. */
static char read_char(struct reader *reader, char one, char other)
{
	if (reader->at != reader->end && (*reader->at == one || *reader->at == other))
		return *reader->at++;
	return '\0';
}

static void expect_char(struct reader *reader, char one, char other)
{
	if (!read_char(reader, one, other))
		reader->bad = true;
}

/* At least one digit; digits beyond microseconds are dropped. */
static int read_fraction(struct reader *reader)
{
	int micro = 0, digits = 0;
	for (; reader->at != reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++, digits++)
		if (digits < 6)
			micro = micro * 10 + (*reader->at - '0');
	reader->bad |= digits == 0;
	for (; digits < 6; digits++)
		micro *= 10;
	return micro;
}

static int64_t read_offset_sec(struct reader *reader)
{
	if (read_char(reader, 'Z', 'z'))
		return 0;
	char sign = read_char(reader, '+', '-');
	int hours = read_digits(reader, 2);
	expect_char(reader, ':', ':');
	int minutes = read_digits(reader, 2);
	reader->bad |= !sign || hours > 23 || minutes > 59;
	return (sign == '-' ? -60LL : 60LL) * (hours * 60 + minutes);
}

static int days_in_month(int year, int month)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

bool clock_parse_rfc3339(const char *text, size_t len_bytes, int64_t *ret_wall_us)
{
	struct reader reader = {text, text + len_bytes, false};
	struct civil civil = {0};
	civil.year = read_digits(&reader, 4);
	expect_char(&reader, '-', '-');
	civil.month = read_digits(&reader, 2);
	expect_char(&reader, '-', '-');
	civil.day = read_digits(&reader, 2);
	expect_char(&reader, 'T', 't');
	civil.hour = read_digits(&reader, 2);
	expect_char(&reader, ':', ':');
	civil.minute = read_digits(&reader, 2);
	expect_char(&reader, ':', ':');
	civil.second = read_digits(&reader, 2);
	if (read_char(&reader, '.', '.'))
		civil.micro = read_fraction(&reader);
	int64_t offset_sec = read_offset_sec(&reader);
	if (reader.bad || reader.at != reader.end)
		return false;
	/* A leap second is no instant of our clock: 60 is refused. */
	if (civil.month < 1 || civil.month > 12 || civil.day < 1 ||
	    civil.day > days_in_month(civil.year, civil.month) || civil.hour > 23 || civil.minute > 59 ||
	    civil.second > 59)
		return false;
	int64_t seconds = days_from_date(civil.year, civil.month, civil.day) * DAY_SEC + civil.hour * 3600 +
	                  civil.minute * 60 + civil.second - offset_sec;
	*ret_wall_us = seconds * US_PER_SEC + civil.micro;
	return true;
}
