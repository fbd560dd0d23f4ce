/* Silence by a device's own habits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/silence.h"

#define MINUTE 60000

static void test_regular_device(void **state) {
	(void)state;
	struct silence_habit h = {0};
	int64_t now = 1000;
	for (int i = 0; i < 200; i++)
		silence_observe(&h, now += MINUTE);
	assert_int_equal(silence_limit_ms(&h, MINUTE), 3 * MINUTE);
	struct silence_facts f = {.now_ms = now + 3 * MINUTE, .interval_ms = MINUTE, .since_ms = 1000};
	assert_false(silence_is_silent(&h, &f));
	f.now_ms++;
	assert_true(silence_is_silent(&h, &f));
}

static void test_irregular_device_is_given_time(void **state) {
	(void)state;
	struct silence_habit h = {0};
	int64_t now = 1000;
	for (int i = 0; i < 200; i++)
		silence_observe(&h, now += i % 5 == 0 ? 10 * MINUTE : MINUTE);
	int64_t limit = silence_limit_ms(&h, MINUTE);
	assert_true(limit > 8 * MINUTE && limit < 30 * MINUTE);
}

static void test_last_will(void **state) {
	(void)state;
	struct silence_habit h = {.last_ms = 100 * MINUTE};
	struct silence_facts f = {.now_ms = 103 * MINUTE, .interval_ms = MINUTE, .offline_ms = 100 * MINUTE};
	assert_false(silence_is_silent(&h, &f));
	f.now_ms = 103 * MINUTE + 1;
	assert_true(silence_is_silent(&h, &f));
	/* long habits do not excuse one that said goodbye and reported again since */
	h.last_ms = 102 * MINUTE;
	assert_false(silence_is_silent(&h, &f));
}

/* A brick never reports again: the window's start counts, also where nothing was ever heard. */
static void test_brick(void **state) {
	(void)state;
	struct silence_habit h = {0};
	struct silence_facts f = {.now_ms = 50 * MINUTE, .interval_ms = MINUTE, .since_ms = 48 * MINUTE};
	assert_false(silence_is_silent(&h, &f));
	f.now_ms = 52 * MINUTE;
	assert_true(silence_is_silent(&h, &f));
}

static void test_clocks_that_jump(void **state) {
	(void)state;
	struct silence_habit h = {0}, before;
	silence_observe(&h, 10 * MINUTE);
	silence_observe(&h, 11 * MINUTE);
	before = h;
	silence_observe(&h, 11 * MINUTE);
	silence_observe(&h, 11 * MINUTE - 1000);
	assert_memory_equal(&h, &before, sizeof h);
	silence_observe(&h, 5 * MINUTE); /* set back: its habits stay, and it was heard now */
	before.last_ms = 5 * MINUTE;
	assert_memory_equal(&h, &before, sizeof h);
	silence_observe(&h, INT64_MAX); /* no overflow */
	assert_true(silence_limit_ms(&h, INT64_MAX) > 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regular_device),
		cmocka_unit_test(test_irregular_device_is_given_time),
		cmocka_unit_test(test_last_will),
		cmocka_unit_test(test_brick),
		cmocka_unit_test(test_clocks_that_jump),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
