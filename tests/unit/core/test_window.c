#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/window.h"

enum { MINUTE = 60000, HOUR = 3600000, DAY = 86400000 };
/* 2024-01-01 00:00 UTC, a Monday. */
#define MONDAY INT64_C(1704067200000)

static void validity(void **state)
{
	(void)state;
	static const struct {
		struct window w;
		bool ok;
	} table[] = {
		{{1, 0, 1, 0}, true},         {{WINDOW_EVERY_DAY, 1439, 10080, 840}, true}, {{0, 0, 1, 0}, false},
		{{0x80, 0, 1, 0}, false},     {{1, 1440, 1, 0}, false},                     {{1, 0, 0, 0}, false},
		{{1, 0, 10081, 0}, false},    {{1, 0, 1, 841}, false},                      {{1, 0, 1, -841}, false},
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) assert_int_equal(window_is_valid(&table[i].w), table[i].ok);
}

static void edges(void **state)
{
	const struct window w = {1 << 1, 120, 90, 0}; /* Tuesday 02:00 to 03:30 */
	const int64_t start = MONDAY + DAY + 2 * HOUR, end = start + 90 * MINUTE;
	int64_t t;
	(void)state;
	assert_false(window_is_open(&w, 1, start - 1));
	assert_true(window_is_open(&w, 1, start));
	assert_true(window_is_open(&w, 1, end - 1));
	assert_false(window_is_open(&w, 1, end));
	assert_false(window_is_open(&w, 1, start + DAY));
	assert_true(window_is_open(&w, 1, start + 7 * (int64_t)DAY));
	assert_true(window_next_change(&w, 1, MONDAY, &t));
	assert_int_equal(t, start);
	assert_true(window_next_change(&w, 1, start, &t));
	assert_int_equal(t, end);
	assert_true(window_next_change(&w, 1, end, &t));
	assert_int_equal(t, start + 7 * (int64_t)DAY);
}

static void across_midnight_and_offsets(void **state)
{
	const struct window night = {1 << 6, 23 * 60, 180, 0}; /* Sunday 23:00 to Monday 02:00 */
	const struct window east = {1, 0, 60, 330};            /* Monday 00:00 at +05:30 is Sunday 18:30 UTC */
	const struct window west = {1, 0, 60, -300};           /* Monday 05:00 UTC */
	(void)state;
	assert_true(window_is_open(&night, 1, MONDAY));
	assert_true(window_is_open(&night, 1, MONDAY - HOUR));
	assert_false(window_is_open(&night, 1, MONDAY - HOUR - 1));
	assert_false(window_is_open(&night, 1, MONDAY + 2 * HOUR));
	assert_true(window_is_open(&east, 1, MONDAY - 330 * MINUTE));
	assert_false(window_is_open(&east, 1, MONDAY));
	assert_true(window_is_open(&west, 1, MONDAY + 5 * HOUR));
	assert_false(window_is_open(&west, 1, MONDAY));
}

static void lists(void **state)
{
	const struct window pair[] = {{WINDOW_EVERY_DAY, 60, 60, 0}, {WINDOW_EVERY_DAY, 90, 60, 0}};
	const struct window always[] = {{WINDOW_EVERY_DAY, 0, 1440, 0}};
	const struct window week[] = {{1, 0, 10080, 0}};
	int64_t t;
	(void)state;
	assert_true(window_is_open(NULL, 0, MONDAY));
	assert_false(window_next_change(NULL, 0, MONDAY, &t));
	assert_true(window_next_change(pair, 2, MONDAY + HOUR, &t));
	assert_int_equal(t, MONDAY + 150 * MINUTE); /* the end of the first lies within the second */
	assert_false(window_next_change(always, 1, MONDAY, &t));
	assert_false(window_next_change(week, 1, MONDAY + 5, &t));
	assert_true(window_is_open(week, 1, MONDAY + 6 * (int64_t)DAY));
}

/* Every minute of two weeks, at several offsets: next_change is where is_open changes; also before 1970. */
static void change_is_where_open_changes(void **state)
{
	static const int64_t weeks[] = {MONDAY, MONDAY - 3000 * (int64_t)DAY * 7};
	(void)state;
	for (int offset = -840; offset <= 840; offset += 420) {
		const struct window list[] = {{0x15, 1380, 200, (int16_t)offset}, {0x22, 30, 3000, 60}};
		for (size_t k = 0; k < 2; k++) {
			int64_t from = weeks[k], next = from;
			for (int64_t t = from; t < from + 10 * (int64_t)DAY; t += MINUTE) {
				bool changed = t > from && window_is_open(list, 2, t) != window_is_open(list, 2, t - MINUTE);
				if (t > from) assert_int_equal(changed, t == next);
				if (t == from || changed) assert_true(window_next_change(list, 2, t, &next));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(validity),
		cmocka_unit_test(edges),
		cmocka_unit_test(across_midnight_and_offsets),
		cmocka_unit_test(lists),
		cmocka_unit_test(change_is_where_open_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
