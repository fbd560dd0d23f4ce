#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/decimal.h"

static bool same(double a, double b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

static void numbers_of_few_digits(void **state)
{
	(void)state;
	static const struct {
		double v;
		int64_t mantissa;
		unsigned places;
	} cases[] = {{0, 0, 0}, {21.35, 2135, 2}, {-61, -61, 0}, {0.83, 83, 2}, {-0.001, -1, 3}, {1e9, 1000000000, 0}, {0.123456789, 123456789, 9}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t m;
		unsigned p;
		assert_true(decimal_of(cases[i].v, &m, &p));
		assert_int_equal(m, cases[i].mantissa);
		assert_int_equal(p, cases[i].places);
		assert_true(same(decimal_value(m, p), cases[i].v));
	}
}

static void others_are_refused(void **state)
{
	(void)state;
	static const double none[] = {-0.0, 1.0 / 3, M_PI, 1e300, DBL_MIN, 1e-10, INFINITY, -INFINITY, NAN, 9007199254740993.0 * 4};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		int64_t m;
		unsigned p;
		assert_false(decimal_of(none[i], &m, &p));
	}
}

/* What a parser makes of a text comes back, bit by bit. */
static void every_text_comes_back(void **state)
{
	(void)state;
	unsigned long long seed = 88172645463325252u;
	for (int i = 0; i < 200000; i++) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		char text[40];
		int places = (int)(seed % 10);
		long long m = (long long)(seed >> 20) % 1000000000000LL;
		snprintf(text, sizeof text, "%s%llde-%d", seed & 1024 ? "-" : "", m, places);
		double v = strtod(text, NULL);
		int64_t mantissa;
		unsigned p;
		if (m == 0)
			continue;
		assert_true(decimal_of(v, &mantissa, &p));
		assert_true(p <= (unsigned)places);
		assert_true(same(decimal_value(mantissa, p), v));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_few_digits),
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(every_text_comes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
