/* The hard stop's price: the table of docs/judge.md section 7. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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

/* The rule against the definition: of all 2^12 fates of twelve canaries, those that it would have stopped. */
static void test_auto_price_is_exact(void **state) {
	(void)state;
	const double p0 = 0.03;
	double stopped = 0;
	for (unsigned fate = 0; fate < 4096; fate++) {
		uint32_t silent = 0;
		bool stops = false;
		double mass = 1;
		for (uint32_t m = 1; m <= 12; m++) {
			bool now = fate >> (m - 1) & 1;
			silent += now;
			mass *= now ? p0 : 1 - p0;
			stops |= silent >= hardstop_auto(12, m, p0, 1e-3).k;
		}
		stopped += stops ? mass : 0;
	}
	double price = hardstop_auto(12, 12, p0, 1e-3).price;
	assert_true(fabs(stopped - price) < 1e-12);
	assert_true(price > 1e-4 && price <= 1e-3);
}

static void test_auto_grows(void **state) {
	(void)state;
	assert_int_equal(hardstop_auto(50, 1, 0.002, 1e-3).k, 2);
	assert_int_equal(hardstop_auto(50, 10, 0.002, 1e-3).k, 2);
	assert_int_equal(hardstop_auto(50, 50, 0.002, 1e-3).k, 3);
	for (uint32_t m = 1; m < 2000; m += 13) {
		struct hardstop_rule now = hardstop_auto(2000, m, 0.01, 1e-3), next = hardstop_auto(2000, m + 13, 0.01, 1e-3);
		assert_true(now.k <= next.k && now.price == next.price && now.price <= 1e-3);
	}
	assert_int_equal(hardstop_auto(50, 0, 0.002, 1e-3).k, 2);
	assert_int_equal(hardstop_auto(50, 1, 0.0001, 1e-3).k, 2); /* never a single one, however cheap */
	assert_int_equal(hardstop_auto(5, 5, 1, 1e-3).k, 6); /* nothing is known: it never stops */
	assert_true(hardstop_auto(5, 5, 1, 1e-3).price == 0);
	assert_int_equal(hardstop_auto(2000, 2000, 0.5, 1e-3).k, 2001);
	assert_int_equal(hardstop_auto(5, 5, 0, 1e-3).k, 2);
	/* the default price: where 1 % of healthy devices are silent, two among the first eight, whatever is to come */
	assert_int_equal(hardstop_auto(50, 8, 0.01, HARDSTOP_PRICE / 2).k, 2);
	assert_int_equal(hardstop_auto(512, 8, 0.01, HARDSTOP_PRICE / 2).k, 2);
	assert_int_equal(hardstop_auto(50, 9, 0.01, HARDSTOP_PRICE / 2).k, 3);
	assert_int_equal(hardstop_auto(50, 8, 0.01, HARDSTOP_PRICE / 2 - 0.0005).k, 3); /* and for less it is later */
}

/* The bar of docs/judge.md: with 20 % bricks the default rule stops by the tenth canary in half of the rollouts or more, as the rule of
 * 10 % of at least ten does, and stops harmless ones by its price, not by theirs. */
static void test_default_finds_bricks_by_the_tenth(void **state) {
	(void)state;
	static const double rates[] = {0.002, 0.01};
	for (size_t i = 0; i < 2; i++) {
		double q = rates[i] + (1 - rates[i]) * 0.2, found = 0, false_stops = 0;
		for (unsigned fate = 0; fate < 1024; fate++) {
			uint32_t silent = 0;
			bool stops = false;
			for (uint32_t m = 1; m <= 10; m++) {
				silent += fate >> (m - 1) & 1;
				stops |= silent >= hardstop_auto(50, m, rates[i], HARDSTOP_PRICE / 2).k;
			}
			found += stops ? pow(q, silent) * pow(1 - q, 10.0 - silent) : 0;
			false_stops += stops ? pow(rates[i], silent) * pow(1 - rates[i], 10.0 - silent) : 0;
		}
		assert_true(found > 0.5 && false_stops <= HARDSTOP_PRICE / 2);
		assert_true(false_stops < hardstop_price(10, rates[i], 1) / 10);
	}
}

/* Against the definition: of all 2^10 fates of ten canaries the ones with the largest likelihood ratio, until they
 * have the power. */
static void test_least_price(void **state) {
	(void)state;
	assert_true(fabs(hardstop_least_price(10, 0.002, 0.1018, 0.5) - 0.0118) < 0.0001);
	const double p0 = 0.05, q = 0.4, power = 0.7;
	double found = 0, price = 0;
	for (int silent = 10; silent >= 0 && found < power; silent--) {
		for (unsigned fate = 0; fate < 1024; fate++) {
			if (__builtin_popcount(fate) != silent)
				continue;
			double harm = pow(q, silent) * pow(1 - q, 10 - silent);
			double part = found + harm > power ? (power - found) / harm : 1;
			found += part * harm;
			price += part * pow(p0, silent) * pow(1 - p0, 10 - silent);
		}
	}
	assert_true(fabs(hardstop_least_price(10, p0, q, power) - price) < 1e-9);
	assert_true(fabs(hardstop_least_price(10, p0, q, 1) - 1) < 1e-9);
	/* the default rule is close to what is possible: it stops 2 of the first 8 */
	double own = hardstop_price(8, 0.01, 2), bound = hardstop_least_price(8, 0.01, 0.208, hardstop_price(8, 0.208, 2));
	assert_true(fabs(own - bound) < 1e-12);
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
		cmocka_unit_test(test_auto_price_is_exact),
		cmocka_unit_test(test_auto_grows),
		cmocka_unit_test(test_default_finds_bricks_by_the_tenth),
		cmocka_unit_test(test_least_price),
		cmocka_unit_test(test_upper_bound_of_a_rate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
