#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/budget.h"

#define SPIKE WATCH_SPIKE(WATCH_LATENCY)
#define CUSUM WATCH_CUSUM(WATCH_LATENCY)

static uint64_t seed;

static float uniform(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return ((float)(seed >> 40) + 0.5f) * 0x1p-24f;
}

/* Days of a cohort with one statistic, a Pareto law of tail index 1/xi: P(max > v) = (v / scale)^(-1/xi). */
static void pareto_days(struct budget *b, enum watch_statistic s, int devices, float scale, float xi)
{
	float maxima[WATCH_STATISTICS];
	for (int i = 0; i < WATCH_STATISTICS; i++)
		maxima[i] = NAN;
	for (int i = 0; i < devices; i++) {
		maxima[s] = scale * powf(uniform(), -xi);
		budget_add_day(b, maxima, false);
	}
}

static void test_shipped_and_parent(void **state)
{
	(void)state;
	static struct budget own, parent;
	memset(&own, 0, sizeof own);
	memset(&parent, 0, sizeof parent);
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		assert_true(budget_shipped((enum watch_statistic)s) > 0);
		assert_float_equal(budget_threshold(&own, &parent, (enum watch_statistic)s), budget_shipped((enum watch_statistic)s), 0);
	}
	pareto_days(&parent, SPIKE, 20000, 3, 0.2f);
	budget_roll(&parent, NULL, 1, BUDGET_DEFAULT);
	assert_float_equal(budget_threshold(&own, &parent, SPIKE), parent.threshold[SPIKE], 0);
	pareto_days(&own, SPIKE, 50, 3, 0.2f);
	budget_roll(&own, &parent, 1, BUDGET_DEFAULT);
	assert_float_equal(own.threshold[SPIKE], parent.threshold[SPIKE], 0);
	assert_string_equal(budget_source_name(own.source[SPIKE]), "parent");
	assert_string_equal(budget_source_name(parent.source[CUSUM]), "shipped");
	pareto_days(&own, SPIKE, 1000, 6, 0.2f); /* the same law, twice as wide */
	budget_roll(&own, &parent, 2, BUDGET_DEFAULT);
	assert_string_equal(budget_source_name(own.source[SPIKE]), "scaled");
	assert_in_range((int)(100 * own.threshold[SPIKE] / parent.threshold[SPIKE]), 170, 230);
}

/* One statistic at B 1e-3: the quantile of 1/2000, true value scale * 2000^xi. */
static void test_tail_extrapolates(void **state)
{
	(void)state;
	static const struct {
		float xi;
		int low, high; /* % of the true quantile */
	} table[] = {{0.02f, 97, 103}, {0.05f, 85, 115}, {0.2f, 75, 130}, {0.4f, 60, 160}};
	static struct budget b;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		memset(&b, 0, sizeof b);
		seed = 17 + i;
		pareto_days(&b, SPIKE, 4000, 5, table[i].xi);
		budget_roll(&b, NULL, 1, BUDGET_DEFAULT);
		assert_string_equal(budget_source_name(b.source[SPIKE]), "tail");
		assert_in_range((int)(100 * b.threshold[SPIKE] / (5 * powf(2000, table[i].xi))), table[i].low, table[i].high);
	}
}

static void test_many_days_are_read_off(void **state)
{
	(void)state;
	static struct budget b;
	memset(&b, 0, sizeof b);
	seed = 23;
	pareto_days(&b, SPIKE, 60000, 5, 0.2f);
	budget_roll(&b, NULL, 1, BUDGET_DEFAULT);
	assert_string_equal(budget_source_name(b.source[SPIKE]), "empirical");
	assert_in_range((int)(100 * b.threshold[SPIKE] / (5 * powf(2000, 0.2f))), 90, 110);
}

/* The budget is shared by the statistics that the cohort has. */
static void test_statistics_share(void **state)
{
	(void)state;
	static struct budget one, two;
	memset(&one, 0, sizeof one);
	memset(&two, 0, sizeof two);
	seed = 29;
	pareto_days(&one, SPIKE, 60000, 5, 0.2f);
	seed = 29;
	pareto_days(&two, SPIKE, 60000, 5, 0.2f);
	pareto_days(&two, CUSUM, 60000, 15, 0.2f);
	budget_roll(&one, NULL, 1, BUDGET_DEFAULT);
	budget_roll(&two, NULL, 1, BUDGET_DEFAULT);
	assert_in_range((int)(100 * two.threshold[SPIKE] / one.threshold[SPIKE]), 107, 123); /* 2^.2 */
}

static void test_limits(void **state)
{
	(void)state;
	static struct budget b;
	memset(&b, 0, sizeof b);
	pareto_days(&b, SPIKE, 5000, 0.5f, 0.05f);
	pareto_days(&b, CUSUM, 5000, 500, 0.5f);
	budget_roll(&b, NULL, 1, BUDGET_DEFAULT);
	assert_float_equal(b.threshold[SPIKE], 4, 0);
	assert_float_equal(b.threshold[CUSUM], 0.9f * WATCH_CUSUM_CAP, 0.1);
}

/* Broken devices do not raise the bar, however many they are. */
static void test_firing_days_are_left_out(void **state)
{
	(void)state;
	static struct budget b;
	float maxima[WATCH_STATISTICS], quiet;
	memset(&b, 0, sizeof b);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		maxima[s] = NAN;
	maxima[SPIKE] = 100;
	seed = 31;
	for (uint32_t day = 1; day <= 10; day++) {
		pareto_days(&b, SPIKE, 1000, 5, 0.1f);
		budget_roll(&b, NULL, day, BUDGET_DEFAULT);
	}
	quiet = b.threshold[SPIKE];
	assert_string_equal(budget_source_name(b.source[SPIKE]), "tail");
	for (uint32_t day = 11; day <= 25; day++) {
		pareto_days(&b, SPIKE, 1000, 5, 0.1f);
		for (int i = 0; i < 100; i++)
			budget_add_day(&b, maxima, true);
		budget_roll(&b, NULL, day, BUDGET_DEFAULT);
	}
	assert_in_range((int)(100 * b.threshold[SPIKE] / quiet), 85, 118);
	maxima[SPIKE] = 1; /* below the threshold: something else fires; nothing is learned from it */
	float days = budget_device_days(&b, SPIKE);
	budget_add_day(&b, maxima, true);
	assert_float_equal(budget_device_days(&b, SPIKE), days, 0);
}

/* What has changed is learned in two weeks; a day counts once. */
static void test_rolling(void **state)
{
	(void)state;
	static struct budget b;
	memset(&b, 0, sizeof b);
	seed = 37;
	for (uint32_t day = 1; day <= 10; day++) {
		pareto_days(&b, SPIKE, 3000, 5, 0.1f);
		budget_roll(&b, NULL, day, BUDGET_DEFAULT);
	}
	float before = b.threshold[SPIKE], days = budget_device_days(&b, SPIKE);
	budget_roll(&b, NULL, 10, BUDGET_DEFAULT);
	budget_roll(&b, NULL, 9, BUDGET_DEFAULT);
	assert_float_equal(budget_device_days(&b, SPIKE), days, 0);
	for (uint32_t day = 11; day <= 60; day++) {
		pareto_days(&b, SPIKE, 3000, 10, 0.1f);
		budget_roll(&b, NULL, day, BUDGET_DEFAULT);
	}
	assert_in_range((int)(100 * b.threshold[SPIKE] / before), 180, 220);
	assert_in_range((int)budget_device_days(&b, SPIKE), 26000, 28000); /* nine days' worth */
}

static void test_common_mode(void **state)
{
	(void)state;
	static struct budget b;
	struct watch_peers peers;
	float z[WATCH_METRICS];
	memset(&b, 0, sizeof b);
	for (int m = 0; m < WATCH_METRICS; m++)
		z[m] = 2;
	for (int i = 0; i < 60; i++)
		budget_add_report(&b, 900000 + (uint32_t)i, z);
	budget_peers(&b, NULL, &peers);
	assert_float_equal(peers.common[WATCH_TEMPERATURE], 0, 0);
	budget_add_report(&b, 900900, z);
	budget_peers(&b, NULL, &peers);
	assert_float_equal(peers.common[WATCH_TEMPERATURE], 2, 1e-5);
	assert_float_equal(peers.common[WATCH_LATENCY], 0, 0);
	assert_float_equal(peers.slow_above[WATCH_LATENCY], budget_shipped(CUSUM) / 2, 1e-3);
	z[WATCH_TEMPERATURE] = NAN;
	budget_add_report(&b, 901800, z); /* too few in that quarter of an hour */
	budget_peers(&b, NULL, &peers);
	assert_float_equal(peers.common[WATCH_TEMPERATURE], 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped_and_parent),
		cmocka_unit_test(test_tail_extrapolates),
		cmocka_unit_test(test_many_days_are_read_off),
		cmocka_unit_test(test_statistics_share),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_firing_days_are_left_out),
		cmocka_unit_test(test_rolling),
		cmocka_unit_test(test_common_mode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
