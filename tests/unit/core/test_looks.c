/* Schedule of looks and the ledger: docs/judge.md section 4. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/looks.h"

static void test_planned(void **state) {
	(void)state;
	assert_int_equal(looks_planned(10, 128), 16);
	assert_int_equal(looks_planned(50, 128), 20);
	assert_int_equal(looks_planned(200, 128), 24);
	assert_int_equal(looks_planned(1, 1), 1);
	assert_int_equal(looks_planned(1, 3), 1);
	assert_int_equal(looks_planned(UINT32_MAX, INT64_MAX), LOOKS_MAX);
}

static void test_schedule(void **state) {
	(void)state;
	static const int64_t expected[] = {20, 30, 45, 68, 102};
	for (uint32_t k = 1; k <= 5; k++) {
		assert_int_equal(looks_reports_at(k, 9), expected[k - 1]);
		assert_int_equal(looks_due(expected[k - 1], 9), k);
		assert_int_equal(looks_due(expected[k - 1] - 1, 9), k - 1);
	}
	assert_int_equal(looks_reports_at(1, 0), 2); /* shadow: blocks of one */
	assert_true(looks_reports_at(200, 9) == INT64_MAX);
	assert_in_range(looks_due(INT64_MAX, 9), LOOKS_MAX, 2 * LOOKS_MAX);
}

/* Nothing that can be spent is spent twice: shares of looks, waves and bake ends sum to at most 1. */
static void test_shares_sum_to_one(void **state) {
	(void)state;
	double sum = 0;
	for (uint32_t k = 1; k <= 100000; k++) {
		sum += looks_share(k, 20);
		assert_true(fabs(looks_share_until(k, 20) - sum) < 1e-9);
	}
	assert_true(looks_share_until(0, 20) == 0 && looks_share_until(UINT32_MAX, 20) <= 1);
	assert_true(sum <= 1 + 1e-9 && sum > 0.9999);
	assert_true(looks_share(1, 20) == 0.045 && looks_share(21, 20) == 0.05);
	for (uint32_t waves = 1; waves <= 5; waves++) {
		sum = 0;
		for (uint32_t w = 1; w <= waves; w++)
			sum += looks_wave_share(w, waves);
		assert_true(fabs(sum - 1) < 1e-12);
	}
	assert_true(looks_wave_share(1, 4) == 0.5);
	for (uint32_t most = 0; most <= 3; most++) {
		sum = 0;
		for (uint32_t t = 0; t <= most; t++)
			sum += looks_beta_share(t, most);
		assert_true(fabs(sum - 1) < 1e-12);
	}
	assert_true(looks_beta_share(0, 1) == 2 * looks_beta_share(1, 1));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_planned),
		cmocka_unit_test(test_schedule),
		cmocka_unit_test(test_shares_sum_to_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
