/* The hard stop's price: the table of docs/judge.md section 7. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hardstop.h"

static void test_table(void **state) {
	(void)state;
	static const double rate[4] = {0.002, 0.005, 0.01, 0.02};
	static const struct {
		uint32_t n, k[4];
	} rows[] = {
		{5, {2, 2, 2, 3}},  {10, {2, 3, 3, 3}},  {20, {2, 3, 4, 4}},
		{50, {3, 4, 5, 6}}, {100, {4, 5, 6, 8}}, {200, {4, 6, 9, 12}},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int j = 0; j < 4; j++)
			assert_int_equal(hardstop_smallest(rows[i].n, rate[j], 1e-3), rows[i].k[j]);
}

static void test_price(void **state) {
	(void)state;
	assert_true(fabs(hardstop_price(50, 0.002, 3) - 1.5e-4) < 1e-5);
	assert_true(fabs(hardstop_price(2, 0.5, 1) - 0.75) < 1e-12);
	assert_true(fabs(hardstop_price(2, 0.5, 2) - 0.25) < 1e-12);
	assert_true(hardstop_price(50, 0.1, 0) == 1);
	assert_true(hardstop_price(50, 0.1, 51) == 0);
	assert_true(hardstop_price(50, 0, 1) == 0);
	assert_true(hardstop_price(50, 1, 50) == 1);
	assert_true(hardstop_price(1000000, 0.9, 3) == 1);
	assert_true(hardstop_price(1000000, 1e-9, 30) < 1e-100);
	assert_int_equal(hardstop_smallest(5, 1, 1e-3), 6); /* none */
}

static void test_upper_bound_of_a_rate(void **state) {
	(void)state;
	/* rule of three: no hit in n trials, 95 %: 1 - 0.05^(1/n) */
	assert_true(fabs(hardstop_rate_upper(0, 100, 0.95) - (1 - pow(0.05, 0.01))) < 1e-9);
	assert_true(fabs(hardstop_rate_upper(5, 1000, 0.95) - 0.010486) < 1e-5);
	assert_true(hardstop_rate_upper(0, 0, 0.95) == 1);
	assert_true(hardstop_rate_upper(7, 7, 0.95) == 1);
	double large = hardstop_rate_upper(200, 1000000, 0.95);
	assert_true(large > 0.0002 && large < 0.00023);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_price),
		cmocka_unit_test(test_upper_bound_of_a_rate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
