/* What a canary can find: vector V5 of docs/judge.md, quantiles, detectable effects. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/planning.h"

static void test_n_min_vector(void **state) {
	(void)state;
	static const uint32_t controls[11] = {1, 2, 3, 4, 7, 9, 15, 19, 31, 63, 99};
	static const struct {
		double alpha;
		uint32_t n_min[11];
	} rows[] = {
		{1e-3, {10, 7, 5, 5, 4, 3, 3, 3, 2, 2, 2}},
		{2.5e-4, {12, 8, 6, 6, 4, 4, 3, 3, 3, 2, 2}},
		{5e-5, {15, 10, 8, 7, 5, 5, 4, 4, 3, 3, 3}},
		{1e-5, {17, 11, 9, 8, 6, 5, 5, 4, 4, 3, 3}},
	};
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 11; j++)
			assert_int_equal(planning_n_min(rows[i].alpha, controls[j]), rows[i].n_min[j]);
}

static void test_normal_quantile(void **state) {
	(void)state;
	assert_true(fabs(planning_normal_quantile(0.975) - 1.959963984540054) < 1e-12);
	assert_true(fabs(planning_normal_quantile(4.2e-5) + 3.93) < 0.005);
	assert_true(fabs(planning_normal_quantile(0.5)) < 1e-12);
	assert_true(fabs(planning_normal_quantile(1e-20) + 9.262340089798408) < 1e-9);
}

static void test_detectable_and_blocks_agree(void **state) {
	(void)state;
	double found = planning_detectable(4.2e-5, 0.9, 50, 9, 0.02);
	assert_true(fabs(found - (3.93 + 1.28155) * 0.02 * sqrt((1 + 1.0 / 9) / 50)) < 2e-5);
	assert_int_equal(planning_blocks(4.2e-5, 0.9, 9, 0.02, found * 1.0001), 50);
	assert_int_equal(planning_blocks(4.2e-5, 0.9, 9, 0.02, 1), planning_n_min(4.2e-5, 9));
	assert_int_equal(planning_blocks(4.2e-5, 0.9, 9, 0.02, 0), UINT32_MAX);
	assert_int_equal(planning_blocks(4.2e-5, 0.9, 9, 0.02, 1e-9), UINT32_MAX);
	double share = planning_detectable_share(4.2e-5, 0.9, 50, 99);
	assert_true(share > 0.09 && share < 0.12); /* three of 50 must fall silent */
	assert_true(planning_detectable_share(4.2e-5, 0.9, 3, 1) > 1);
}

static void test_sigma(void **state) {
	(void)state;
	double scores[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, NAN, 1000, 5};
	double sigma = planning_sigma(scores, 12);
	assert_true(fabs(sigma - 1.4826 * 2) < 1e-9); /* one wild device and one unknown do not matter */
	double few[7] = {1, 2, 3, 4, 5, 6, 7};
	assert_true(isnan(planning_sigma(few, 7)));
	double flat[9] = {1, 1, 1, 1, 1, 1, 1, 1, 10};
	assert_true(fabs(planning_sigma(flat, 9) - 3) < 1e-12);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_n_min_vector),
		cmocka_unit_test(test_normal_quantile),
		cmocka_unit_test(test_detectable_and_blocks_agree),
		cmocka_unit_test(test_sigma),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
