/* Leaks are found and timed; what only looks like one is not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/leak.h"

#define MB 1048576.0f

static uint32_t noise_state = 1;

static float noise(void) /* [-1, 1) */
{
	noise_state = noise_state * 1664525u + 1013904223u;
	return (float)(noise_state >> 8) / 8388608.0f - 1;
}

/* Twelve values an hour: `level` the lowest possible, and up to 20 MB now and then. */
static void feed(struct leak *l, uint32_t hour, float level)
{
	for (unsigned i = 0; i < 12; i++) assert_true(leak_add(l, hour, level + 10 * MB * (1 + noise()), false));
}

static void a_leak_is_timed(void **state)
{
	(void)state;
	struct leak l = {0};
	struct leak_result r;
	for (uint32_t h = 0; h < 60; h++) feed(&l, 5000 + h, (200 + 3 * h) * MB);
	leak_judge(&l, 512 * MB, &r);
	assert_true(r.is_leak && r.tau > 0.9f);
	assert_int_equal(r.hours, 24);
	assert_true(fabsf(r.bytes_per_hour / MB - 3) < 0.15f);
	assert_true(fabsf(r.bytes / MB - (200 + 3 * 58)) < 4);
	assert_true(fabsf(r.hours_left - (512 - 374) / 3.0f) < 4);
	leak_judge(&l, 100 * MB, &r);
	assert_true(r.hours_left == 0); /* already beyond: not a negative time */
	leak_judge(&l, NAN, &r);
	assert_true(r.is_leak && isinf(r.hours_left));
	leak_judge(&l, 0, &r);
	assert_true(isinf(r.hours_left));
}

static void the_daily_cycle_and_noise_are_no_leak(void **state)
{
	(void)state;
	unsigned found = 0;
	for (unsigned run = 0; run < 200; run++) {
		struct leak l = {0};
		struct leak_result r;
		for (uint32_t h = 0; h < 24 + run % 24; h++) feed(&l, 5000 + h, (200 + 30 * sinf((float)h * 0.2617994f)) * MB);
		leak_judge(&l, 512 * MB, &r);
		found += r.is_leak;
		memset(&l, 0, sizeof l);
		for (uint32_t h = 0; h < 40; h++) feed(&l, 5000 + h, (200 + 3 * noise()) * MB);
		leak_judge(&l, 512 * MB, &r);
		found += r.is_leak;
		memset(&l, 0, sizeof l);
		for (uint32_t h = 0; h < 40; h++) feed(&l, 5000 + h, (400 - 3 * h) * MB); /* memory comes back */
		leak_judge(&l, 512 * MB, &r);
		found += r.is_leak || isfinite(r.hours_left);
	}
	assert_int_equal(found, 0);
}

static void one_jump_is_no_slope(void **state)
{
	(void)state;
	struct leak l = {0};
	struct leak_result r;
	for (uint32_t h = 0; h < 24; h++) feed(&l, 5000 + h, (h < 4 ? 200 : 300 + 2 * noise()) * MB);
	leak_judge(&l, 512 * MB, &r);
	assert_false(r.is_leak);
}

static void a_boot_starts_over(void **state)
{
	(void)state;
	struct leak l = {0};
	struct leak_result r;
	for (uint32_t h = 0; h < 20; h++) feed(&l, 5000 + h, (200 + 3 * h) * MB);
	assert_true(leak_add(&l, 5020, 200 * MB, true));
	leak_judge(&l, 512 * MB, &r);
	assert_int_equal(r.hours, 0);
	assert_true(isnan(r.bytes_per_hour) && isnan(r.bytes) && !r.is_leak && isinf(r.hours_left));
	for (uint32_t h = 20; h < 20 + LEAK_HOURS_MIN; h++) feed(&l, 5001 + h, (200 + 3 * h) * MB);
	leak_judge(&l, 512 * MB, &r);
	assert_true(r.is_leak && r.hours == LEAK_HOURS_MIN);
}

static void gaps_are_unknown_hours(void **state)
{
	(void)state;
	struct leak l = {0};
	struct leak_result r;
	for (uint32_t h = 0; h < 48; h++)
		if (h % 5 != 1)
			feed(&l, 5000 + h, (200 + 3 * h) * MB);
	leak_judge(&l, 512 * MB, &r);
	assert_int_equal(r.hours, 19); /* of hours 23 to 46 */
	assert_true(r.is_leak && fabsf(r.bytes_per_hour / MB - 3) < 0.2f);
	feed(&l, 5000 + 80, 200 * MB); /* a day and more away: nothing of it is known any more */
	leak_judge(&l, 512 * MB, &r);
	assert_int_equal(r.hours, 0);
}

static void nonsense_is_refused(void **state)
{
	(void)state;
	struct leak l = {0}, before;
	for (uint32_t h = 0; h < 12; h++) feed(&l, 5000 + h, (200 + 3 * h) * MB);
	before = l;
	assert_false(leak_add(&l, 5012, NAN, false));
	assert_false(leak_add(&l, 5012, INFINITY, true));
	assert_false(leak_add(&l, 5012, -5, true));
	assert_false(leak_add(&l, 5012, 0, false));
	assert_false(leak_add(&l, 5010, 100 * MB, true)); /* the past */
	assert_false(leak_add(&l, 0, 100 * MB, false));
	assert_memory_equal(&l, &before, sizeof l);
	struct leak extreme = {0};
	struct leak_result r;
	for (uint32_t h = 0; h < 30; h++) assert_true(leak_add(&extreme, UINT32_MAX - 40 + h, h % 2 ? 3e38f : 1, false));
	leak_judge(&extreme, 1e9f, &r);
	assert_false(isnan(r.bytes_per_hour) || isnan(r.hours_left) || r.is_leak);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leak_is_timed),
		cmocka_unit_test(the_daily_cycle_and_noise_are_no_leak),
		cmocka_unit_test(one_jump_is_no_slope),
		cmocka_unit_test(a_boot_starts_over),
		cmocka_unit_test(gaps_are_unknown_hours),
		cmocka_unit_test(nonsense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
