/* The other judges of tests/bench are what they claim to be: their own published tests, so that the comparison is
 * fair. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../bench/judge_peers.h"

/* spinnaker/kayenta, MannWhitneySuite "returns expected values". */
static void test_kayenta_interval(void **state) {
	(void)state;
	const double control[4] = {1, 2, 3, 4}, experiment[4] = {10, 20, 30, 40};
	struct interval i = mann_whitney(control, 4, experiment, 4, 0.95);
	assert_true(fabs(i.low - 6) < 1e-6);
	assert_true(fabs(i.high - 39) < 1e-6);
	assert_true(fabs(i.estimate - 22.5) < 1e-6);
}

#define N 30
/* spinnaker/kayenta, ClassifierSuite: around 10, around 10, around 20, around 20 (rounded to four digits). */
static double low_a[N] = {9.7767, 10.5871, 7.8376, 9.3243, 8.3775, 8.9359, 8.2708, 9.7484, 11.6237, 9.2753, 8.1538,
	10.5620, 13.4981,
	11.0544, 6.9539, 12.5210, 9.0216, 4.9235, 11.2514, 11.5984, 8.4352, 11.1102, 10.7006, 8.9213, 10.0862, 11.4211,
	9.3792, 7.7980,
	10.6234, 11.9096};
static double low_b[N] = {11.1454, 9.9618, 7.0686, 7.3013, 9.7945, 9.6038, 6.1868, 12.3456, 10.3719, 8.6094, 9.9132,
	10.3614, 14.2068,
	10.9462, 10.2159, 11.7398, 10.9076, 12.8234, 8.1019, 8.4982, 12.1134, 13.2722, 10.1146, 6.9464, 6.2105, 10.1604,
	8.3458, 8.3838,
	7.0020, 10.7558};
static double high_a[N] = {20.8784, 21.7855, 19.7083, 15.8599, 19.5101, 19.3920, 22.9265, 17.1565, 18.6551, 23.4226,
	24.0558, 22.6269,
	21.9795, 21.6593, 20.0677, 22.1196, 16.4404, 21.5596, 21.0002, 17.7794, 17.8060, 18.5372, 20.5556, 19.5529,
	21.7711, 21.8096,
	20.9618, 20.9776, 19.1063, 16.9769};
static double high_b[N] = {20.7581, 22.8021, 20.6123, 20.9733, 23.4692, 21.5313, 21.7674, 18.3081, 19.0621, 25.8795,
	18.9826, 19.3879,
	18.9954, 24.2284, 20.0510, 18.2340, 17.8705, 23.0581, 18.4003, 16.9714, 19.4675, 17.9047, 17.5539, 16.1046,
	24.3817, 15.9193,
	20.4796, 19.0831, 17.4558, 18.8538};

static enum kayenta_class classify(const double *control, const double *experiment, bool increase, bool decrease) {
	struct interval i = mann_whitney(control, N, experiment, N, 0.95);
	return kayenta_classify(&i, 0.10, increase, decrease);
}

static void test_kayenta_classifier(void **state) {
	(void)state;
	double *all[4] = {low_a, low_b, high_a, high_b};
	for (int i = 0; i < 4; i++)
		qsort(all[i], N, sizeof(double), peers_compare);
	assert_int_equal(classify(low_b, low_a, true, true), KAYENTA_PASS);
	assert_int_equal(classify(low_b, high_a, true, true), KAYENTA_HIGH);
	assert_int_equal(classify(high_b, low_a, true, true), KAYENTA_LOW);
	assert_int_equal(classify(high_b, low_a, true, false), KAYENTA_PASS);
	assert_int_equal(classify(low_b, high_a, false, true), KAYENTA_PASS);
	assert_int_equal(classify(low_b, high_a, true, false), KAYENTA_HIGH);
	assert_int_equal(classify(high_b, low_a, false, true), KAYENTA_LOW);
}

/* growthbook/growthbook, packages/stats/tests/frequentist/test_tests.py, TestSequentialTTest. */
static void test_growthbook_sequential(void **state) {
	(void)state;
	const struct moments a = {3000, 1396.87, 52377.9767}, b = {3461, 2422.7, 134698.29};
	struct interval i = growthbook_interval(&a, &b, 0.05, 1000, true);
	assert_true(fabs(i.estimate - 0.50336) < 6e-6 && fabs(i.low + 0.55844) < 6e-6 && fabs(i.high - 1.56516) < 6e-6);
	/* proportions: the variance there is p(1 - p), here (n - 1) is in the denominator */
	const struct moments c = {3000, 1396, 1396}, d = {3461, 2422, 2422};
	i = growthbook_interval(&c, &d, 0.05, 5000, true);
	assert_true(fabs(i.estimate - 0.50386) < 6e-6 && fabs(i.low - 0.40098) < 5e-5 && fabs(i.high - 0.60675) < 5e-5);
	struct interval below = growthbook_interval(&a, &b, 0.05, 10, true), near = growthbook_interval(&a, &b, 0.05,
		6461, true),
					above = growthbook_interval(&a, &b, 0.05, 10000, true);
	assert_true(below.low < above.low && above.low < near.low);
	assert_true(below.high > above.high && above.high > near.high);
}

static void test_z_and_t(void **state) {
	(void)state;
	const struct moments a = {100, 0, 99}, b = {100, 50, 99 + 25};
	assert_true(fabs(z_statistic(&a, &b) - 0.5 / sqrt(0.02)) < 1e-12);
	assert_true(fabs(t_degrees(&a, &b) - 198) < 1e-9);
	assert_true(fabs(t_critical(2.326348, 10) - 2.763769) < 0.003);
	assert_true(fabs(t_critical(2.326348, 5) - 3.364930) < 0.03);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kayenta_interval),
		cmocka_unit_test(test_kayenta_classifier),
		cmocka_unit_test(test_growthbook_sequential),
		cmocka_unit_test(test_z_and_t),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
