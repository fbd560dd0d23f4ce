/* Cells, counts, and the beta-binomial: against brute force and against what a person would say. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/health.h"

static const struct health_context limits = {60, 0.2f, -85};

static void cells_by_three_limits(void **state)
{
	(void)state;
	assert_int_equal(health_cell(&limits, 25, 0.9f, -60), 0);
	assert_int_equal(health_cell(&limits, 61, 0.9f, -60), HEALTH_HOT);
	assert_int_equal(health_cell(&limits, 60, 0.2f, -85), 0);
	assert_int_equal(health_cell(&limits, 25, 0.1f, -60), HEALTH_LOW_BATTERY);
	assert_int_equal(health_cell(&limits, 25, 0.9f, -90), HEALTH_BAD_LINK);
	assert_int_equal(health_cell(&limits, 99, 0, -120), 7);
	assert_int_equal(health_cell(&limits, NAN, NAN, NAN), 0);
	struct health_context none = {NAN, NAN, NAN};
	assert_int_equal(health_cell(&none, 99, 0, -120), 0);
	assert_string_equal(health_cell_name(0), "normal");
	assert_string_equal(health_cell_name(HEALTH_HOT | HEALTH_BAD_LINK), "hot+bad_link");
	static const char *const names[] = {"normal", "hot", "low_battery", "hot+low_battery", "bad_link", "hot+bad_link", "low_battery+bad_link",
	                                    "hot+low_battery+bad_link"};
	for (unsigned i = 0; i < HEALTH_CELLS; i++)
		assert_string_equal(health_cell_name(i), names[i]);
}

static void counts_fade_and_sums_leave_nothing(void **state)
{
	(void)state;
	struct health_count c = {0, 0};
	struct health_sums s = {0};
	for (int i = 0; i < HEALTH_RESULTS_MAX; i++) health_note(&c, i % 4 != 0);
	assert_int_equal(c.results, HEALTH_RESULTS_MAX);
	assert_int_equal(c.failures, HEALTH_RESULTS_MAX / 4);
	health_add(&s, &c);
	assert_int_equal(s.devices, 1);
	assert_int_equal(s.result_pairs, 256 * 255);
	assert_int_equal(s.failure_pairs, 64 * 63);
	health_remove(&s, &c);
	health_note(&c, false);
	assert_int_equal(c.results, 129);
	assert_int_equal(c.failures, 33);
	assert_int_equal(s.devices + s.results + s.failures + s.result_pairs + s.failure_pairs, 0);
	health_add(&s, &(struct health_count){0, 0}); /* a device without results is none */
	assert_int_equal(s.devices, 0);
	health_remove(&s, &(struct health_count){0, 0});
	assert_int_equal(s.devices, 0);
}

static void prior_is(const struct health_sums *s, double a, double b)
{
	struct health_prior p = health_prior(s);
	assert_float_equal(p.a, a, 1e-9 * (1 + a));
	assert_float_equal(p.b, b, 1e-9 * (1 + b));
}

/* By hand: mean with Jeffreys' half, precision of E[k (k - 1)] = n (n - 1) E[p^2], and what bounds it. */
static void priors_by_hand(void **state)
{
	(void)state;
	prior_is(&(struct health_sums){0}, 0.5, 0.5);
	prior_is(&(struct health_sums){1, 1, 0, 0, 0}, 0.5, 1.5);
	prior_is(&(struct health_sums){1, 2, 1, 2, 0}, 1.5, 1.5);  /* no more precise than the results behind it */
	prior_is(&(struct health_sums){3, 6, 2, 6, 2}, 2.5 / 7, 4.5 / 7); /* all or nothing: as wide as it gets */
	double variance = 2900.0 / 9000 - 0.25, precision = 0.25 / variance - 1;
	prior_is(&(struct health_sums){100, 1000, 500, 9000, 2900}, precision / 2, precision / 2); /* half of them 2 of 10, half 8 of 10 */
	prior_is(&(struct health_sums){1000, 100000, 50000, 100000000, 25000100}, 5000, 5000); /* and never more precise than that */
	struct health_judgement j = health_judge(&(struct health_sums){1, 1, 0, 0, 0}, &(struct health_count){0, 0});
	assert_true(j.rate == 0 && j.p == 1 && !j.is_suspicious);
	assert_float_equal(j.cohort_rate, 0.25, 1e-12);
}

/* The mass by its definition: a product of ratios, no gamma function. */
static double brute_tail(double a, double b, int n, int k)
{
	double sum = 0;
	for (int i = k; i <= n; i++) {
		double mass = 1;
		for (int j = 0; j < i; j++) mass *= (n - j) / (double)(i - j) * (a + j) / (a + b + j);
		for (int j = 0; j < n - i; j++) mass *= (b + j) / (a + b + i + j);
		sum += mass;
	}
	return sum;
}

static void tail_is_the_definition(void **state)
{
	(void)state;
	static const double as[] = {0.02, 0.5, 1, 3.5, 40}, bs[] = {0.5, 1, 7, 200};
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 4; j++)
			for (int n = 1; n <= 40; n += 13)
				for (int k = 0; k <= n; k++) {
					struct health_prior p = {as[i], bs[j]};
					double want = brute_tail(as[i], bs[j], n, k), got = health_tail(&p, n, k);
					assert_true(fabs(got - want) < 1e-9 * want + 1e-14);
				}
	struct health_prior even = {1, 1};
	assert_true(fabs(health_tail(&even, 9, 9) - 0.1) < 1e-12);
	assert_true(health_tail(&even, HEALTH_RESULTS_MAX, 0) == 1);
	assert_true(fabs(health_tail(&even, HEALTH_RESULTS_MAX, 1) - 256.0 / 257) < 1e-9);
}

static struct health_sums cohort(int devices, int results, int failures)
{
	struct health_sums s = {0};
	struct health_count c = {(uint16_t)results, (uint16_t)failures};
	for (int i = 0; i < devices; i++) health_add(&s, &c);
	return s;
}

static void one_that_fails_among_the_sound_is_suspicious(void **state)
{
	(void)state;
	struct health_sums s = cohort(200, 10, 0);
	struct health_count bad = {4, 3}, fine = {4, 0}, unknown = {0, 0};
	health_add(&s, &bad);
	struct health_judgement j = health_judge(&s, &bad);
	assert_true(j.is_suspicious);
	assert_true(fabs(j.rate - 0.75) < 1e-12 && j.cohort_rate < 0.001 && j.p < 1e-6);
	assert_false(health_judge(&s, &fine).is_suspicious);
	assert_false(health_judge(&s, &unknown).is_suspicious);
	assert_true(health_judge(&s, &unknown).p == 1);
}

static void where_all_fail_nobody_is_suspicious(void **state)
{
	(void)state;
	struct health_sums s = cohort(50, 10, 9);
	struct health_count bad = {10, 10};
	health_add(&s, &bad);
	struct health_judgement j = health_judge(&s, &bad);
	assert_false(j.is_suspicious);
	assert_true(j.cohort_rate > 0.85);
}

static void without_a_cohort_nothing_is_claimed(void **state)
{
	(void)state;
	struct health_sums s = {0};
	struct health_count bad = {6, 6};
	health_add(&s, &bad);
	assert_false(health_judge(&s, &bad).is_suspicious);
}

/* Half of the cohort always fails, half never: the mean alone would call 8 of 8 rare, the spread says that it is not. */
static void devices_that_differ_widen_the_prior(void **state)
{
	(void)state;
	struct health_sums s = cohort(30, 20, 0), bad = cohort(30, 20, 20);
	s.devices += bad.devices, s.results += bad.results, s.failures += bad.failures;
	s.result_pairs += bad.result_pairs, s.failure_pairs += bad.failure_pairs;
	struct health_prior p = health_prior(&s);
	assert_true(fabs(p.a - 0.5) < 0.01 && fabs(p.b - 0.5) < 0.01);
	struct health_prior alike = {(double)s.failures, (double)(s.results - s.failures)};
	assert_true(health_tail(&p, 12, 12) > 0.1 && health_tail(&alike, 12, 12) < HEALTH_ALPHA);
	struct health_sums same = cohort(200, 20, 5); /* no more spread than chance: as sure as is allowed */
	struct health_prior sure = health_prior(&same);
	assert_true(sure.a + sure.b > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_by_three_limits),
		cmocka_unit_test(counts_fade_and_sums_leave_nothing),
		cmocka_unit_test(priors_by_hand),
		cmocka_unit_test(tail_is_the_definition),
		cmocka_unit_test(one_that_fails_among_the_sound_is_suspicious),
		cmocka_unit_test(where_all_fail_nobody_is_suspicious),
		cmocka_unit_test(without_a_cohort_nothing_is_claimed),
		cmocka_unit_test(devices_that_differ_widen_the_prior),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
