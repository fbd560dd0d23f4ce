#include "core/maintenance.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define DAY_MS INT64_C(86400000)
#define FIELDS 7

/* ---- the calendar (Howard Hinnant's algorithms for days and civil dates) ---- */

static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400), doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static void civil_of(int64_t days, int64_t *y, unsigned *m, unsigned *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (int64_t)yoe + era * 400 + (*m <= 2);
}

/* ---- fields ---- */

struct field_kind {
	int min, max;
	const char *names; /* three letters each, from min */
	bool can_any;      /* ? */
	const char *wrong;
};
static const struct field_kind kinds[FIELDS] = {
	{0, 59, NULL, false, "seconds of the schedule"},
	{0, 59, NULL, false, "minutes of the schedule"},
	{0, 23, NULL, false, "hours of the schedule"},
	{1, 31, NULL, true, "days of the month of the schedule"},
	{1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", false, "months of the schedule"},
	{1, 7, "SUNMONTUEWEDTHUFRISAT", true, "days of the week of the schedule"},
	{MAINTENANCE_YEAR_FIRST, MAINTENANCE_YEAR_LAST, NULL, false, "years of the schedule"},
};

static bool take_number(const char **t, const char *end, const struct field_kind *k, int *out)
{
	if (k->names && end - *t >= 3)
		for (int i = 0; i <= k->max - k->min; i++)
			if (strncasecmp(*t, k->names + (ptrdiff_t)3 * i, 3) == 0) {
				*out = k->min + i;
				*t += 3;
				return true;
			}
	int digits = 0;
	for (*out = 0; *t < end && **t >= '0' && **t <= '9' && digits < 4; (*t)++, digits++)
		*out = *out * 10 + **t - '0';
	return digits > 0;
}

/* One of a list: *, a, a-b, each with /n. */
static bool take_item(const char *t, const char *end, const struct field_kind *k, uint64_t bits[3])
{
	int first = k->min, last = k->max, step = 1;
	bool has_range = false;
	if (t < end && *t == '*') {
		t++;
		has_range = true;
	} else {
		if (!take_number(&t, end, k, &first))
			return false;
		last = first;
		if (t < end && *t == '-') {
			t++;
			has_range = true;
			if (!take_number(&t, end, k, &last))
				return false;
		}
	}
	if (t < end && *t == '/') {
		const struct field_kind plain = {0, 9999, NULL, false, ""};
		t++;
		if (!take_number(&t, end, &plain, &step) || step < 1)
			return false;
		if (!has_range)
			last = k->max;
	}
	if (t != end || first < k->min || first > k->max || last < k->min || last > k->max)
		return false;
	int span = k->max - k->min + 1;
	for (int v = first, count = last >= first ? last - first : last - first + span; count >= 0; v += step, count -= step) {
		int at = (v - k->min) % span;
		bits[at / 64] |= UINT64_C(1) << at % 64;
	}
	return true;
}

static bool take_field(const char *t, const char *end, const struct field_kind *k, uint64_t bits[3], bool *is_given)
{
	*is_given = !(end - t == 1 && (*t == '*' || *t == '?'));
	if (end - t == 1 && *t == '?') {
		for (int i = 0; i <= k->max - k->min; i++)
			bits[i / 64] |= UINT64_C(1) << i % 64;
		return k->can_any;
	}
	while (t <= end) {
		const char *comma = memchr(t, ',', (size_t)(end - t));
		const char *stop = comma ? comma : end;
		if (stop == t || !take_item(t, stop, k, bits))
			return false;
		t = stop + 1;
		if (!comma)
			break;
	}
	return true;
}

static bool parse_schedule(const char *t, struct maintenance *m, const char **what)
{
	uint64_t bits[FIELDS][3] = {{0}};
	bool is_given[FIELDS] = {false};
	int n = 0;
	*what = "a schedule has six or seven fields: seconds minutes hours days months weekdays years";
	while (*(t += strspn(t, " \t"))) {
		size_t len = strcspn(t, " \t");
		if (n == FIELDS)
			return false;
		if (!take_field(t, t + len, &kinds[n], bits[n], &is_given[n])) {
			*what = kinds[n].wrong;
			return false;
		}
		n++;
		t += len;
	}
	if (n < FIELDS - 1)
		return false;
	if (n < FIELDS)
		memset(bits[6], 0xff, sizeof bits[6]);
	*m = (struct maintenance){.seconds = bits[0][0], .minutes = bits[1][0], .hours = (uint32_t)bits[2][0],
		.days = (uint32_t)(bits[3][0] << 1), .months = (uint32_t)(bits[4][0] << 1), .weekdays = (uint32_t)bits[5][0],
		.years = {bits[6][0], bits[6][1], bits[6][2]}, .has_days = is_given[3], .has_weekdays = is_given[5]};
	return true;
}

static bool parse_clock(const char *t, int64_t *ms)
{
	static const int limits[] = {100, 60, 60};
	int64_t v[3];
	for (int i = 0; i < 3; i++, t += 3) {
		if (t[0] < '0' || t[0] > '9' || t[1] < '0' || t[1] > '9' || t[2] != (i < 2 ? ':' : '\0'))
			return false;
		v[i] = (t[0] - '0') * 10 + t[1] - '0';
		if (v[i] >= limits[i])
			return false;
	}
	*ms = ((v[0] * 60 + v[1]) * 60 + v[2]) * 1000;
	return *ms > 0;
}

static bool parse_zone(const char *t, int32_t *minutes)
{
	*minutes = 0;
	if (strcmp(t, "Z") == 0)
		return true;
	if (strlen(t) != 6 || (t[0] != '+' && t[0] != '-') || t[3] != ':')
		return false;
	for (int i = 1; i < 6; i++)
		if (i != 3 && (t[i] < '0' || t[i] > '9'))
			return false;
	int hours = (t[1] - '0') * 10 + t[2] - '0', rest = (t[4] - '0') * 10 + t[5] - '0';
	*minutes = (hours * 60 + rest) * (t[0] == '-' ? -1 : 1);
	return hours <= 18 && rest < 60;
}

bool maintenance_parse(const char *schedule, const char *duration, const char *timezone, struct maintenance *out, const char **what)
{
	if (!parse_schedule(schedule, out, what))
		return false;
	*what = "a duration is HH:mm:ss, above zero";
	if (!parse_clock(duration, &out->duration_ms))
		return false;
	*what = "a time zone is an offset as +02:00";
	return parse_zone(timezone, &out->offset_min);
}

/* ---- when ---- */

static bool has_year(const struct maintenance *m, int64_t y)
{
	int64_t at = y - MAINTENANCE_YEAR_FIRST;
	return y >= MAINTENANCE_YEAR_FIRST && y <= MAINTENANCE_YEAR_LAST && (m->years[at / 64] >> at % 64 & 1);
}

static bool is_day(const struct maintenance *m, int64_t days, unsigned day)
{
	unsigned weekday = (unsigned)((days % 7 + 7 + 4) % 7);
	bool in_month = m->days >> day & 1, in_week = m->weekdays >> weekday & 1;
	return m->has_days && m->has_weekdays ? in_month || in_week : in_month && in_week;
}

static int first_bit(uint64_t bits, int from)
{
	for (int i = from; i < 64; i++)
		if (bits >> i & 1)
			return i;
	return -1;
}

/* The first second of the day at or after `from` that the schedule names; -1: none. */
static int64_t in_day(const struct maintenance *m, int64_t from)
{
	int h0 = (int)(from / 3600), m0 = (int)(from / 60 % 60), s0 = (int)(from % 60);
	for (int h = first_bit(m->hours, h0); h >= 0; h = first_bit(m->hours, h + 1)) {
		int min_from = h == h0 ? m0 : 0;
		for (int min = first_bit(m->minutes, min_from); min >= 0; min = first_bit(m->minutes, min + 1)) {
			int s = first_bit(m->seconds, h == h0 && min == m0 ? s0 : 0);
			if (s >= 0)
				return ((int64_t)h * 60 + min) * 60 + s;
		}
	}
	return -1;
}

/* The first beginning at or after at_ms (local time); false: none. */
static bool next_begin(const struct maintenance *m, int64_t at_ms, int64_t *begin_ms)
{
	int64_t at_s = at_ms >= 0 ? (at_ms + 999) / 1000 : 0, days = at_s / 86400, from = at_s % 86400, year = 0;
	unsigned month = 0, day = 0;
	while (civil_of(days, &year, &month, &day), year <= MAINTENANCE_YEAR_LAST) {
		if (!has_year(m, year)) { /* at most 130 of them */
			days = days_of(year + 1, 1, 1);
			from = 0;
			continue;
		}
		if (!(m->months >> month & 1)) {
			days = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);
			from = 0;
			continue;
		}
		int64_t second = is_day(m, days, day) ? in_day(m, from) : -1;
		if (second >= 0) {
			*begin_ms = (days * 86400 + second) * 1000;
			return true;
		}
		days++;
		from = 0;
	}
	return false;
}

bool maintenance_next(const struct maintenance *m, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms)
{
	int64_t offset_ms = (int64_t)m->offset_min * 60000, local = now_ms + offset_ms, begin;
	/* One that has begun and is not over yet began within the last duration. */
	if (!next_begin(m, local - m->duration_ms + 1, &begin))
		return false;
	*begin_ms = begin - offset_ms;
	*end_ms = *begin_ms + m->duration_ms;
	return true;
}
