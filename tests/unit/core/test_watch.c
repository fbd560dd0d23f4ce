#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/logbin.h"
#include "core/watch.h"

#define START_S 1767225600u

struct world {
	struct watch w;
	struct watch_result out;
	uint64_t random;
	uint32_t slot;
	struct watch_peers *peers;
};

static float noise(struct world *u) /* about normal, variance 1 */
{
	float sum = -6;
	for (int i = 0; i < 12; i++) {
		u->random = u->random * 6364136223846793005u + 1442695040888963407u;
		sum += (float)(u->random >> 40) * 0x1p-24f;
	}
	return sum;
}

/* A device's usual report: every metric, errors, classes. */
static struct watch_report usual(struct world *u)
{
	struct watch_report r;
	memset(&r, 0, sizeof r);
	u->slot++;
	r.at_s = START_S + u->slot * 300;
	r.hour = (float)(u->slot % 288) / 12;
	for (int m = 0; m < WATCH_METRICS; m++)
		r.has[m] = true;
	float day = sinf(r.hour * 0.2618f), t = 25 + 5 * day + 0.5f * noise(u);
	r.value[WATCH_LATENCY] = 40 * expf(0.02f * (t - 25) + 0.04f * noise(u));
	r.value[WATCH_ENERGY] = 80 * expf(0.05f * noise(u));
	r.value[WATCH_TEMPERATURE] = t;
	r.value[WATCH_BATTERY] = 0.95f - 0.003f * (float)(u->slot % 200) - 0.0003f * (1 + noise(u) / 4);
	r.value[WATCH_RSSI] = -65 + 4 * noise(u);
	r.value[WATCH_MEMORY] = 6e7f * expf(0.01f * noise(u));
	r.value[WATCH_CONFIDENCE] = 0.8f + 0.012f * noise(u);
	r.value[WATCH_ACCURACY] = 0.9f + 0.02f * noise(u);
	r.has_counts = true;
	r.inferences = 33;
	r.errors = noise(u) > 0.6f ? 1 : 0;
	r.class_count = 3;
	for (int c = 0; c < 3; c++)
		r.class_counts[c] = fmaxf(0, 11 + 2 * noise(u));
	r.confidence_sd = 0.1f * (1 + 0.1f * noise(u));
	return r;
}

static void tell(struct world *u, const struct watch_report *r)
{
	watch_update(&u->w, r, u->peers, &u->out);
}

static void pass(struct world *u, int reports)
{
	for (int i = 0; i < reports; i++) {
		struct watch_report r = usual(u);
		tell(u, &r);
	}
}

static struct world warm_world(void)
{
	struct world u;
	memset(&u, 0, sizeof u);
	u.random = 11;
	pass(&u, 3 * 288);
	return u;
}

/* Reports with one value changed, from now on: the largest value of a statistic. */
static float shifted(struct world *u, enum watch_metric m, float factor, float plus, enum watch_statistic s, int reports)
{
	float most = 0;
	for (int i = 0; i < reports; i++) {
		struct watch_report r = usual(u);
		r.value[m] = r.value[m] * factor + plus;
		tell(u, &r);
		most = fmaxf(most, u->out.statistic[s]);
	}
	return most;
}

static void test_names_and_roles(void **state)
{
	(void)state;
	assert_true(sizeof(struct watch) <= 512);
	assert_int_equal(watch_role("latency_ms"), WATCH_LATENCY);
	assert_int_equal(watch_role("battery"), WATCH_BATTERY);
	assert_int_equal(watch_role("error"), WATCH_ROLE_ERRORS);
	assert_int_equal(watch_role("crash"), WATCH_ROLE_BOOTS);
	assert_int_equal(watch_role("classes"), WATCH_ROLE_CLASSES);
	assert_int_equal(watch_role("humidity"), WATCH_ROLE_NONE);
	assert_string_equal(watch_metric_name(WATCH_RSSI), "link_rssi_dbm");
	assert_string_equal(watch_statistic_name(WATCH_SPIKE(WATCH_LATENCY)), "latency_ms.spike");
	assert_string_equal(watch_statistic_name(WATCH_CUSUM(WATCH_ACCURACY)), "accuracy.cusum");
	assert_string_equal(watch_statistic_name(WATCH_CLASSES), "classes.distance");
	assert_int_equal(watch_statistic_metric(WATCH_CUSUM(WATCH_MEMORY)), WATCH_MEMORY);
	assert_int_equal(watch_statistic_metric(WATCH_DISPERSION), -1);
	assert_true(watch_has_common_mode(WATCH_TEMPERATURE));
	assert_false(watch_has_common_mode(WATCH_LATENCY));
}

static void test_bins(void **state)
{
	(void)state;
	assert_int_equal(logbin_of(NAN), 0);
	assert_int_equal(logbin_of(-3), 0);
	assert_int_equal(logbin_of(1e9f), LOGBINS - 1);
	for (unsigned i = 1; i < LOGBINS; i++) {
		assert_int_equal(logbin_of(logbin_low(i)), i);
		assert_int_equal(logbin_of(logbin_middle(i)), i);
	}
}

static void test_silent_until_warm(void **state)
{
	(void)state;
	struct world u = {.random = 5};
	float maxima[WATCH_STATISTICS];
	pass(&u, 288);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		assert_true(isnan(u.out.statistic[s]));
	assert_false(watch_day_end(&u.w, maxima));
	pass(&u, 2);
	assert_false(isnan(u.out.statistic[WATCH_SPIKE(WATCH_LATENCY)]));
	assert_false(isnan(u.out.statistic[WATCH_ERRORS_CUSUM]));
	assert_true(watch_day_end(&u.w, maxima));
}

static void test_usual_days_are_quiet(void **state)
{
	(void)state;
	struct world u = warm_world();
	float maxima[WATCH_STATISTICS];
	watch_day_end(&u.w, maxima);
	pass(&u, 2 * 288);
	assert_true(watch_day_end(&u.w, maxima));
	for (int m = 0; m < WATCH_METRICS; m++) {
		assert_true(maxima[WATCH_SPIKE(m)] < 5);
		assert_true(maxima[WATCH_CUSUM(m)] < 20);
	}
	assert_false(watch_day_end(&u.w, maxima));
	assert_true(isnan(maxima[0]));
}

/* Latency that follows temperature is no news; the same latency at a usual temperature is. */
static void test_context(void **state)
{
	(void)state;
	struct world u = warm_world();
	for (int i = 0; i < 12; i++) {
		struct watch_report r = usual(&u);
		float was = r.value[WATCH_TEMPERATURE];
		r.value[WATCH_TEMPERATURE] = 38;
		r.value[WATCH_LATENCY] *= expf(0.02f * (38 - was));
		tell(&u, &r);
		assert_true(fabsf(u.out.z[WATCH_LATENCY]) < 5);
	}
	assert_true(shifted(&u, WATCH_LATENCY, 1.5f, 0, WATCH_SPIKE(WATCH_LATENCY), 3) > 6);
	assert_true(watch_expected(&u.out, WATCH_LATENCY) > 30 && watch_expected(&u.out, WATCH_LATENCY) < 50);
}

static void test_one_odd_sample_is_nothing(void **state)
{
	(void)state;
	struct world u = warm_world();
	assert_true(shifted(&u, WATCH_LATENCY, 3, 0, WATCH_SPIKE(WATCH_LATENCY), 1) < 4);
	assert_true(shifted(&u, WATCH_LATENCY, 1, 0, WATCH_SPIKE(WATCH_LATENCY), 3) < 4);
	assert_true(shifted(&u, WATCH_LATENCY, 3, 0, WATCH_SPIKE(WATCH_LATENCY), 2) > 10);
}

static void test_cusum_finds_what_stays(void **state)
{
	(void)state;
	struct world u = warm_world();
	assert_true(shifted(&u, WATCH_ACCURACY, 1, -0.04f, WATCH_CUSUM(WATCH_ACCURACY), 96) > 50);
	u = warm_world(); /* better is no harm */
	assert_true(shifted(&u, WATCH_ACCURACY, 1, 0.04f, WATCH_CUSUM(WATCH_ACCURACY), 96) < 10);
	assert_true(shifted(&u, WATCH_MEMORY, 0.9f, 0, WATCH_CUSUM(WATCH_MEMORY), 96) < 10);
	assert_true(shifted(&u, WATCH_RSSI, 1, 15, WATCH_SPIKE(WATCH_RSSI), 96) < 4);
	assert_true(shifted(&u, WATCH_RSSI, 1, -25, WATCH_SPIKE(WATCH_RSSI), 96) > 4);
}

/* A fault is not learned: after a day of it the expectation is still the old one. */
static void test_a_fault_is_not_learned(void **state)
{
	(void)state;
	struct world u = warm_world();
	shifted(&u, WATCH_MEMORY, 1.2f, 0, WATCH_CUSUM(WATCH_MEMORY), 288);
	assert_true(watch_expected(&u.out, WATCH_MEMORY) < 6.2e7f);
	assert_true(u.out.statistic[WATCH_CUSUM(WATCH_MEMORY)] > 500);
	struct watch_peers peers = {{0}, {0}};
	for (int m = 0; m < WATCH_METRICS; m++)
		peers.slow_above[m] = 25;
	u = warm_world(); /* with a cohort the CUSUM stops at twice the threshold, so that it comes down in time */
	u.peers = &peers;
	assert_true(shifted(&u, WATCH_MEMORY, 1.2f, 0, WATCH_CUSUM(WATCH_MEMORY), 288) <= 100);
}

static void test_common_mode(void **state)
{
	(void)state;
	struct world u = warm_world(), alone = u;
	struct watch_peers peers = {{0}, {0}};
	peers.common[WATCH_TEMPERATURE] = 5;
	u.peers = &peers;
	pass(&u, 1);
	pass(&alone, 1);
	assert_float_equal(u.out.z[WATCH_TEMPERATURE], alone.out.z[WATCH_TEMPERATURE] - 5, 1e-2);
	assert_float_equal(u.out.z[WATCH_LATENCY], alone.out.z[WATCH_LATENCY], 1e-4);
}

/* A low battery slows devices down: that is judged only when it is known by how much, and then against it. */
static void test_low_battery_has_an_offset(void **state)
{
	(void)state;
	struct world u = warm_world();
	for (int i = 0; i < 100; i++) {
		struct watch_report r = usual(&u);
		r.is_battery_low = true;
		r.value[WATCH_LATENCY] *= 1.25f;
		tell(&u, &r);
		assert_true(i < 12 ? isnan(u.out.z[WATCH_LATENCY]) : fabsf(u.out.z[WATCH_LATENCY]) < 5);
	}
	pass(&u, 3);
	assert_true(fabsf(u.out.z[WATCH_LATENCY]) < 4);
}

static void test_drain(void **state)
{
	(void)state;
	struct world u = warm_world();
	struct watch_report r = usual(&u);
	r.value[WATCH_BATTERY] = 0.6f;
	tell(&u, &r);
	r = usual(&u);
	r.value[WATCH_BATTERY] = 0.59f;
	tell(&u, &r);
	assert_float_equal(u.out.value[WATCH_BATTERY], 0.12f, 1e-3);
	r = usual(&u);
	r.value[WATCH_BATTERY] = 0.7f;
	tell(&u, &r);
	assert_true(isnan(u.out.value[WATCH_BATTERY])); /* charging */
	r = usual(&u);
	u.slot += 36;
	r.at_s += 36 * 300;
	r.value[WATCH_BATTERY] = 0.5f;
	tell(&u, &r);
	assert_true(isnan(u.out.value[WATCH_BATTERY])); /* long ago */
}

static void test_bad_values_change_nothing(void **state)
{
	(void)state;
	static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f};
	struct world u = warm_world(), before = u;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct watch_report r = usual(&u);
		for (int m = 0; m < WATCH_METRICS; m++)
			r.value[m] = bad[i];
		r.errors = bad[i];
		r.class_counts[1] = bad[i];
		r.confidence_sd = bad[i];
		tell(&u, &r);
		assert_int_equal(u.out.refused, 0xff | WATCH_REFUSED_COUNTS | WATCH_REFUSED_CLASSES);
	}
	assert_int_equal(u.w.refused_values, before.w.refused_values + 5 * (WATCH_METRICS + 2));
	assert_memory_equal(u.w.level, before.w.level, sizeof u.w.level);
	assert_memory_equal(u.w.slope, before.w.slope, sizeof u.w.slope);
	assert_memory_equal(u.w.spread, before.w.spread, sizeof u.w.spread);
	assert_memory_equal(u.w.up, before.w.up, sizeof u.w.up);
	assert_memory_equal(u.w.class_long, before.w.class_long, sizeof u.w.class_long);
	assert_float_equal(u.w.errors, before.w.errors, 0);
	pass(&u, 288);
	for (int m = 0; m < WATCH_METRICS; m++)
		assert_true(isnan(u.out.z[m]) || fabsf(u.out.z[m]) < 6);
}

/* Whatever the domain allows, in any order: the state stays finite. */
static void test_wild_values_stay_finite(void **state)
{
	(void)state;
	struct world u = {.random = 3};
	for (int i = 0; i < 3000; i++) {
		struct watch_report r = usual(&u);
		bool is_high = noise(&u) > 0;
		r.value[WATCH_LATENCY] = is_high ? 1e9f : 1e-6f;
		r.value[WATCH_TEMPERATURE] = is_high ? 250 : -90;
		r.value[WATCH_MEMORY] = is_high ? 1e15f : 1;
		r.value[WATCH_RSSI] = -200;
		r.errors = is_high ? 1e6f : 0;
		r.inferences = 0;
		r.class_counts[0] = is_high ? 1e6f : 0;
		r.hour = is_high ? 3 : 4;
		tell(&u, &r);
		for (int s = 0; s < WATCH_STATISTICS; s++)
			assert_false(isinf(u.out.statistic[s]));
	}
	for (int m = 0; m < WATCH_METRICS; m++) {
		assert_true(isfinite(u.w.level[m]));
		assert_true(isfinite(watch_heat(&u.w)));
	}
}

static void test_clock(void **state)
{
	(void)state;
	struct world u = warm_world();
	struct watch before = u.w;
	struct watch_report r = usual(&u);
	r.at_s = START_S;
	tell(&u, &r);
	assert_int_equal(u.out.refused, WATCH_REFUSED_CLOCK);
	assert_int_equal(u.w.refused_clocks, before.refused_clocks + 1);
	assert_memory_equal(u.w.level, before.level, sizeof before.level);
	assert_memory_equal(u.w.slope, before.slope, sizeof before.slope);
	assert_int_equal(u.w.at_s, before.at_s);
	for (uint32_t i = 1; i < 12; i++) {
		r.at_s = START_S + i;
		tell(&u, &r);
	}
	assert_int_equal(u.out.refused, 0); /* the twelfth in a row */
	assert_int_equal(u.w.at_s, START_S + 11);
	r = usual(&u);
	r.hour = NAN;
	tell(&u, &r);
	assert_int_equal(u.out.refused, WATCH_REFUSED_CLOCK);
}

static void test_boots(void **state)
{
	(void)state;
	static const struct {
		uint32_t after_s, boots;
		unsigned in_hour;
	} table[] = {{300, 1, 1}, {300, 0, 1}, {1200, 1, 2}, {1200, 1, 3}, {300, 0, 2}, {3000, 1, 2}, {300, 7, 3}, {7200, 0, 0}};
	struct world u = warm_world();
	uint32_t at_s = u.w.at_s;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct watch_report r = usual(&u);
		r.at_s = at_s += table[i].after_s;
		r.boots = table[i].boots;
		tell(&u, &r);
		assert_int_equal(u.out.boots_in_hour, table[i].in_hour);
	}
}

static void test_outputs(void **state)
{
	(void)state;
	struct world u = warm_world();
	for (unsigned i = 1; i <= 14; i++) {
		struct watch_report r = usual(&u);
		r.value[WATCH_CONFIDENCE] = 0.71f;
		r.confidence_sd = 0;
		tell(&u, &r);
		assert_int_equal(u.out.identical, i);
	}
	assert_true(u.out.statistic[WATCH_DISPERSION] > 2);
	pass(&u, 1);
	assert_int_equal(u.out.identical, 1);
	pass(&u, 60);
	assert_true(u.out.statistic[WATCH_DISPERSION] < 0.5f);
}

static void test_errors(void **state)
{
	(void)state;
	struct world u = warm_world();
	assert_true(u.out.statistic[WATCH_ERRORS_BURST] < 6);
	for (int i = 0; i < 12; i++) {
		struct watch_report r = usual(&u);
		r.errors = 4;
		tell(&u, &r);
	}
	assert_true(u.out.statistic[WATCH_ERRORS_BURST] > 15);
	assert_true(u.out.statistic[WATCH_ERRORS_CUSUM] > 35);
}

static void test_classes(void **state)
{
	(void)state;
	struct world u = warm_world();
	float quiet = u.out.statistic[WATCH_CLASSES];
	for (int i = 0; i < 3; i++) {
		struct watch_report r = usual(&u);
		r.class_counts[0] = 33;
		r.class_counts[1] = r.class_counts[2] = 0;
		tell(&u, &r);
	}
	assert_true(quiet < 10);
	assert_true(u.out.statistic[WATCH_CLASSES] > 40);
	struct watch_report r = usual(&u);
	r.class_count = WATCH_CLASS_KEPT + 1;
	tell(&u, &r);
	assert_int_equal(u.out.refused, WATCH_REFUSED_CLASSES);
	r = usual(&u);
	memset(r.class_counts, 0, sizeof r.class_counts);
	tell(&u, &r); /* nothing was classified */
	assert_int_equal(u.out.refused, 0);
	assert_true(isnan(u.out.statistic[WATCH_CLASSES]));
}

static void test_fold(void **state)
{
	(void)state;
	float counts[20];
	struct watch_report r;
	for (int i = 0; i < 20; i++)
		counts[i] = (float)i;
	watch_fold(&r, counts, 20);
	assert_int_equal(r.class_count, WATCH_CLASS_KEPT);
	assert_float_equal(r.class_counts[14], 14, 0);
	assert_float_equal(r.class_counts[15], 15 + 16 + 17 + 18 + 19, 0);
	watch_fold(&r, counts, 3);
	assert_int_equal(r.class_count, 3);
	assert_float_equal(r.class_counts[15], 0, 0);
}

/* Without some metrics: the others are judged, these have no statistic and no maximum. */
static void test_absent_metrics(void **state)
{
	(void)state;
	struct world u = {.random = 9};
	float maxima[WATCH_STATISTICS];
	for (int i = 0; i < 400; i++) {
		struct watch_report r = usual(&u);
		memset(r.has, 0, sizeof r.has);
		r.has[WATCH_LATENCY] = true;
		r.has_counts = false;
		r.class_count = 0;
		r.confidence_sd = -1;
		tell(&u, &r);
	}
	assert_true(watch_day_end(&u.w, maxima));
	assert_false(isnan(maxima[WATCH_SPIKE(WATCH_LATENCY)]));
	assert_true(isnan(maxima[WATCH_SPIKE(WATCH_ENERGY)]));
	assert_true(isnan(maxima[WATCH_ERRORS_BURST]) && isnan(maxima[WATCH_CLASSES]) && isnan(maxima[WATCH_DISPERSION]));
	assert_int_equal(u.out.identical, 0);
	assert_int_equal(u.out.refused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_roles),
		cmocka_unit_test(test_bins),
		cmocka_unit_test(test_silent_until_warm),
		cmocka_unit_test(test_usual_days_are_quiet),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_one_odd_sample_is_nothing),
		cmocka_unit_test(test_cusum_finds_what_stays),
		cmocka_unit_test(test_a_fault_is_not_learned),
		cmocka_unit_test(test_common_mode),
		cmocka_unit_test(test_low_battery_has_an_offset),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_bad_values_change_nothing),
		cmocka_unit_test(test_wild_values_stay_finite),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_boots),
		cmocka_unit_test(test_outputs),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_absent_metrics),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
