#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t clock_mono_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t clock_mono_ms(void)
{
	return (int64_t)(clock_mono_ns() / 1000000u);
}

int64_t clock_wall_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define DAY_MS INT64_C(86400000)
#define FIRST_MS (-INT64_C(62167219200000)) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS INT64_C(253402300799999)    /* 9999-12-31T23:59:59.999Z */

/* Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that the leap day is
 * last. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t era = (y >= 0 ? y : y - 399) / 400, year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Years outside 0000..9999, which RFC 3339 cannot write, come out as the nearest instant it can. */
char *clock_format(int64_t wall_ms, char *out, size_t out_size)
{
	if (wall_ms < FIRST_MS) wall_ms = FIRST_MS;
	if (wall_ms > LAST_MS) wall_ms = LAST_MS;
	int64_t ms = (wall_ms % 1000 + 1000) % 1000;
	time_t seconds = (time_t)((wall_ms - ms) / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	snprintf(out, out_size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	         tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
	return out;
}

/* Exactly `digits` digits, and moves on. */
static bool take_number(const char **s, int digits, int low, int high, int *value)
{
	int v = 0;
	for (int i = 0; i < digits; i++, (*s)++) {
		if (**s < '0' || **s > '9') return false;
		v = v * 10 + (**s - '0');
	}
	*value = v;
	return v >= low && v <= high;
}

static bool take_char(const char **s, const char *allowed)
{
	if (**s == '\0' || !strchr(allowed, **s)) return false;
	(*s)++;
	return true;
}

static bool take_fraction(const char **s, int *ms)
{
	*ms = 0;
	if (**s != '.') return true;
	(*s)++;
	if (**s < '0' || **s > '9') return false;
	for (int scale = 100; **s >= '0' && **s <= '9'; (*s)++, scale /= 10) *ms += (**s - '0') * scale;
	return true;
}

static bool take_offset(const char **s, int *minutes)
{
	int hour, minute;
	*minutes = 0;
	if (take_char(s, "Zz")) return true;
	bool west = **s == '-';
	if (!take_char(s, "+-") || !take_number(s, 2, 0, 23, &hour) || !take_char(s, ":") ||
	    !take_number(s, 2, 0, 59, &minute))
		return false;
	*minutes = (hour * 60 + minute) * (west ? -1 : 1);
	return true;
}

/* A leap second (:60) is read as the first instant of the next minute. Digits past the millisecond are cut off. */
bool clock_parse(const char *text, int64_t *wall_ms)
{
	const char *s = text;
	int year, month, day, hour, minute, second, ms, offset_minutes;
	if (!take_number(&s, 4, 0, 9999, &year) || !take_char(&s, "-") || !take_number(&s, 2, 1, 12, &month) ||
	    !take_char(&s, "-") || !take_number(&s, 2, 1, days_in_month(year, month), &day))
		return false;
	if (!take_char(&s, "Tt ") || !take_number(&s, 2, 0, 23, &hour) || !take_char(&s, ":") ||
	    !take_number(&s, 2, 0, 59, &minute) || !take_char(&s, ":") || !take_number(&s, 2, 0, 60, &second))
		return false;
	if (!take_fraction(&s, &ms) || !take_offset(&s, &offset_minutes) || *s != '\0') return false;
	int64_t minutes = (int64_t)hour * 60 + minute - offset_minutes;
	*wall_ms = days_from_date(year, month, day) * DAY_MS + (minutes * 60 + second) * 1000 + ms;
	return true;
}
