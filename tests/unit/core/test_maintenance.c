#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "core/maintenance.h"

static int64_t at(int year, int month, int day, int hour, int minute, int second)
{
	struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_sec = second};
	return (int64_t)timegm(&tm) * 1000;
}

static struct maintenance parsed(const char *schedule, const char *duration, const char *timezone)
{
	struct maintenance m;
	const char *what = "";
	if (!maintenance_parse(schedule, duration, timezone, &m, &what))
		fail_msg("%s %s %s: %s", schedule, duration, timezone, what);
	return m;
}

static void test_refuses(void **state)
{
	static const char *const wrong[][3] = {
		{"", "01:00:00", "Z"}, {"0 0 1 * *", "01:00:00", "Z"}, {"0 0 1 * * ? * *", "01:00:00", "Z"}, {"60 0 1 * * ?", "01:00:00", "Z"},
		{"0 60 1 * * ?", "01:00:00", "Z"}, {"0 0 24 * * ?", "01:00:00", "Z"}, {"0 0 1 0 * ?", "01:00:00", "Z"}, {"0 0 1 32 * ?", "01:00:00", "Z"},
		{"0 0 1 * 13 ?", "01:00:00", "Z"}, {"0 0 1 ? * 8", "01:00:00", "Z"}, {"0 0 1 ? * 0", "01:00:00", "Z"}, {"0 0 1 ? * FOO", "01:00:00", "Z"},
		{"? 0 1 * * ?", "01:00:00", "Z"}, {"0 0 1 L * ?", "01:00:00", "Z"}, {"0 0 1 * * ? 1969", "01:00:00", "Z"}, {"0 0 1 * * ? 2100", "01:00:00", "Z"},
		{"0 0 1, * * ?", "01:00:00", "Z"}, {"0 0 1-", "01:00:00", "Z"}, {"0 0/0 1 * * ?", "01:00:00", "Z"}, {"0 0 1 * * ?", "00:00:00", "Z"},
		{"0 0 1 * * ?", "1:00:00", "Z"}, {"0 0 1 * * ?", "00:60:00", "Z"}, {"0 0 1 * * ?", "01:00:00 ", "Z"}, {"0 0 1 * * ?", "01:00:00", ""},
		{"0 0 1 * * ?", "01:00:00", "+2:00"}, {"0 0 1 * * ?", "01:00:00", "+02:60"}, {"0 0 1 * * ?", "01:00:00", "+19:00"},
		{"0 0 1 * * ?", "01:00:00", "Europe/Berlin"}, {"0 0 1 * * ?", "01:00:00", "+0a:00"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct maintenance m;
		const char *what = NULL;
		if (maintenance_parse(wrong[i][0], wrong[i][1], wrong[i][2], &m, &what))
			fail_msg("taken: %s %s %s", wrong[i][0], wrong[i][1], wrong[i][2]);
		assert_non_null(what);
	}
}

/* What comes when: now, the schedule, and the beginning that is expected. */
static void test_next(void **state)
{
	static const struct {
		const char *schedule, *zone;
		int now[6], begin[6];
	} cases[] = {
		{"0 30 2 * * ?", "Z", {2026, 8, 1, 0, 0, 0}, {2026, 8, 1, 2, 30, 0}},
		{"0 30 2 * * ?", "Z", {2026, 8, 1, 4, 0, 0}, {2026, 8, 2, 2, 30, 0}},
		{"0 30 2 * * ?", "+02:00", {2026, 8, 1, 0, 0, 0}, {2026, 8, 1, 0, 30, 0}},
		{"0 30 2 * * ?", "-05:30", {2026, 8, 1, 0, 0, 0}, {2026, 8, 1, 8, 0, 0}},
		{"15 10 22 ? 11 * 2026", "Z", {2026, 8, 1, 0, 0, 0}, {2026, 11, 1, 22, 10, 15}}, /* rauc-hawkbit-updater's test writes it so */
		{"0 0 12 29 2 ?", "Z", {2026, 1, 1, 0, 0, 0}, {2028, 2, 29, 12, 0, 0}},
		{"0 0 12 31 DEC ?", "Z", {2026, 12, 31, 14, 0, 0}, {2027, 12, 31, 12, 0, 0}},
		{"0 0 12 ? * MON", "Z", {2026, 8, 5, 0, 0, 0}, {2026, 8, 10, 12, 0, 0}},
		{"0 0 12 ? * 2-6", "Z", {2026, 8, 8, 0, 0, 0}, {2026, 8, 10, 12, 0, 0}},
		{"0 0 12 ? * FRI-MON", "Z", {2026, 8, 4, 0, 0, 0}, {2026, 8, 7, 12, 0, 0}},
		{"0 0 12 15 * WED", "Z", {2026, 8, 13, 0, 0, 0}, {2026, 8, 15, 12, 0, 0}}, /* either of them */
		{"0 0/20 * * * ?", "Z", {2026, 8, 1, 10, 55, 0}, {2026, 8, 1, 11, 0, 0}},
		{"0 10,40 8-10/2 * * ?", "Z", {2026, 8, 1, 10, 41, 0}, {2026, 8, 1, 10, 40, 0}}, /* open still */
		{"*/30 * * * * ?", "Z", {2026, 8, 1, 10, 0, 31}, {2026, 8, 1, 10, 0, 0}},
		{"0 0 12 1 1 ? 2030-2031", "Z", {2026, 8, 1, 0, 0, 0}, {2030, 1, 1, 12, 0, 0}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const int *n = cases[i].now, *b = cases[i].begin;
		struct maintenance m = parsed(cases[i].schedule, "00:10:00", cases[i].zone);
		int64_t begin, end;
		if (cases[i].schedule[0] == '*')
			m.duration_ms = 60000;
		assert_true(maintenance_next(&m, at(n[0], n[1], n[2], n[3], n[4], n[5]), &begin, &end));
		if (begin != at(b[0], b[1], b[2], b[3], b[4], b[5]))
			fail_msg("case %zu: %lld", i, (long long)begin);
		assert_int_equal(end - begin, m.duration_ms);
	}
}

static void test_edges_of_a_window(void **state)
{
	struct maintenance m = parsed("0 0 12 1 8 ? 2026", "01:00:00", "Z");
	int64_t noon = at(2026, 8, 1, 12, 0, 0), begin, end;
	(void)state;
	assert_true(maintenance_next(&m, noon - 1, &begin, &end));
	assert_int_equal(begin, noon);
	assert_true(maintenance_next(&m, noon, &begin, &end));
	assert_int_equal(begin, noon);
	assert_true(maintenance_next(&m, noon + 3599999, &begin, &end));
	assert_int_equal(begin, noon);
	assert_false(maintenance_next(&m, noon + 3600000, &begin, &end)); /* it has lapsed */
}

static void test_never(void **state)
{
	struct maintenance m = parsed("0 0 12 30 2 ?", "01:00:00", "Z");
	int64_t begin, end;
	(void)state;
	assert_false(maintenance_next(&m, 0, &begin, &end));
	m = parsed("0 0 12 * * ? 2020", "01:00:00", "Z");
	assert_false(maintenance_next(&m, at(2026, 1, 1, 0, 0, 0), &begin, &end));
}

/* Against the C library's calendar, day by day over a leap century. */
static void test_every_day_once(void **state)
{
	struct maintenance m = parsed("0 0 0 * * ?", "00:00:01", "Z");
	int64_t begin, end, days = 0;
	(void)state;
	for (int64_t now = at(1999, 12, 31, 12, 0, 0); now < at(2099, 12, 30, 0, 0, 0); now += INT64_C(86400000), days++) {
		assert_true(maintenance_next(&m, now, &begin, &end));
		assert_int_equal(begin, now + 43200000);
	}
	assert_int_equal(days, 36524);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses), cmocka_unit_test(test_next), cmocka_unit_test(test_edges_of_a_window), cmocka_unit_test(test_never),
		cmocka_unit_test(test_every_day_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
