/* Tails against values of other means: closed forms, and sums of the distribution itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/tails.h"

static void assert_close(double a, double b, double relative)
{
	if (!(fabs(a - b) <= relative * fabs(b))) {
		print_error("%.12g is not %.12g\n", a, b);
		fail();
	}
}

static void chi_square_has_closed_forms(void **state)
{
	(void)state;
	for (double x = 0.01; x < 600; x *= 1.7) {
		assert_close(tails_chi2(x, 1), erfc(sqrt(x / 2)), 1e-9);
		assert_close(tails_chi2(x, 2), exp(-x / 2), 1e-9);
		assert_close(tails_chi2(x, 6), exp(-x / 2) * (1 + x / 2 + x * x / 8), 1e-9);
	}
	assert_true(tails_chi2(0, 3) == 1 && tails_chi2(-1, 3) == 1);
}

static void quantiles_are_those_of_tables(void **state)
{
	(void)state;
	static const struct {
		double p, df, x;
	} table[] = {{0.05, 1, 3.841458821}, {0.01, 9, 21.66599433}, {0.001, 15, 37.69729822}, {0.5, 4, 3.356693980}};
	for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_close(tails_chi2_quantile(table[i].p, table[i].df), table[i].x, 1e-8);
	for (double df = 0.5; df < 2000; df *= 2.3)
		for (double p = 0.9; p > 1e-12; p /= 7) assert_close(tails_chi2(tails_chi2_quantile(p, df), df), p, 1e-7);
	assert_close(1.15 * tails_chi2_quantile(1e-6, 9), 51.5, 2e-3); /* ten classes */
}

static double binomial_by_sum(int n, int k, double rate)
{
	double sum = 0;
	for (int i = n; i >= k; i--)
		sum += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(rate) + (n - i) * log1p(-rate));
	return sum;
}

static void binomial_is_its_own_sum(void **state)
{
	(void)state;
	for (int n = 1; n <= 200; n += 33)
		for (int k = 1; k <= n; k += 1 + n / 9)
			for (double rate = 1e-4; rate < 1; rate *= 3.1)
				assert_close(tails_binomial(n, k, rate), binomial_by_sum(n, k, rate), 1e-8);
	assert_true(tails_binomial(10, 0, 0.3) == 1 && tails_binomial(10, 11, 0.3) == 0);
	assert_true(tails_binomial(10, 2, 0) == 0 && tails_binomial(10, 2, 1) == 1);
	assert_close(tails_binomial(20000, 60, 1e-3), binomial_by_sum(20000, 60, 1e-3), 1e-7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chi_square_has_closed_forms),
		cmocka_unit_test(quantiles_are_those_of_tables),
		cmocka_unit_test(binomial_is_its_own_sum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
