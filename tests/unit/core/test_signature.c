/* Each cause on its pattern, and not on the pattern that looks like it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/signature.h"

/* ---- facts, piece by piece ---- */

static struct signature_facts facts;
static struct signature_finding found[SIGNATURE_CAUSES];
static unsigned count;

/* A healthy device: all known, nothing over. */
static int healthy(void **state)
{
	(void)state;
	static const float usual[WATCH_METRICS] = {[WATCH_LATENCY] = 20, [WATCH_ENERGY] = 5, [WATCH_TEMPERATURE] = 45, [WATCH_BATTERY] = 0.02f,
		[WATCH_RSSI] = -60, [WATCH_MEMORY] = 2e8f, [WATCH_CONFIDENCE] = 0.8f, [WATCH_ACCURACY] = 0.9f};
	signature_facts_init(&facts);
	for (unsigned m = 0; m < WATCH_METRICS; m++) {
		facts.value[m] = facts.expected[m] = usual[m];
		facts.z[m] = 0.1f;
	}
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
		facts.statistic[s] = 2;
		facts.threshold[s] = 10;
	}
	facts.outputs = 400;
	facts.nan_outputs = 0;
	facts.identical = 1;
	facts.top_share = facts.top_usual = 0.3f;
	facts.battery = 0.8f;
	facts.drain_cohort = 0.02f;
	facts.gaps = facts.gaps_usual = 0.01f;
	facts.silent_s = 60;
	facts.silent_limit_s = 900;
	facts.boots_usual_day = 0.01f;
	facts.heat_effect = 0.02f;
	return 0;
}

static void move(enum watch_metric m, float value, bool is_spike)
{
	facts.value[m] = value;
	facts.z[m] = value > facts.expected[m] ? 8 : -8;
	facts.side[m] = value > facts.expected[m] ? 1 : -1;
	facts.statistic[2 * m + 1] = 40;
	if (is_spike)
		facts.statistic[2 * m] = 25;
}

static void judge(void)
{
	count = signature_judge(&facts, found);
	for (unsigned i = 0; i < count; i++) {
		char text[SIGNATURE_SENTENCE_BYTES];
		signature_sentence(&found[i], text, sizeof text);
		assert_true(strlen(text) > 20 && !strchr(text, '{') && text[strlen(text) - 1] == '.');
		assert_true(found[i].score >= 1 && found[i].score <= 100 && found[i].evidence_count >= 1);
		for (unsigned k = 0; k < found[i].evidence_count; k++) assert_true(isfinite(found[i].evidence[k].value));
		if (i > 0)
			assert_true(found[i].cause > found[i - 1].cause && !(found[i].statistics & found[i - 1].statistics));
	}
}

static const struct signature_finding *cause(enum signature_cause c)
{
	for (unsigned i = 0; i < count; i++)
		if (found[i].cause == c)
			return &found[i];
	return NULL;
}

static void assert_only(enum signature_cause c, enum signature_kind kind)
{
	judge();
	if (count != 1 || found[0].cause != c || found[0].kind != kind) {
		for (unsigned i = 0; i < count; i++)
			print_error("found %s %s\n", signature_cause_name(found[i].cause), signature_kind_name(found[i].kind));
		fail_msg("not only %s %s", signature_cause_name(c), signature_kind_name(kind));
	}
}

static float evidence_of(const struct signature_finding *f, const char *name)
{
	for (unsigned i = 0; i < f->evidence_count; i++)
		if (strcmp(f->evidence[i].name, name) == 0)
			return f->evidence[i].value;
	fail_msg("no evidence %s", name);
	return NAN;
}

static void assert_sentence(const char *part)
{
	char text[SIGNATURE_SENTENCE_BYTES];
	signature_sentence(&found[0], text, sizeof text);
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* ---- nothing ---- */

static void a_healthy_device_has_no_signature(void **state)
{
	(void)state;
	judge();
	assert_int_equal(count, 0);
	signature_facts_init(&facts); /* nor has one of which nothing is known */
	judge();
	assert_int_equal(count, 0);
}

static void what_is_not_known_fires_nothing(void **state)
{
	(void)state;
	static const float nonsense[] = {NAN, INFINITY, -INFINITY};
	for (unsigned i = 0; i < 3; i++) {
		float x = nonsense[i];
		for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
			facts.statistic[s] = i == 0 ? NAN : INFINITY;
			facts.threshold[s] = x;
		}
		for (unsigned m = 0; m < WATCH_METRICS; m++) facts.z[m] = facts.value[m] = facts.expected[m] = NAN;
		facts.nan_outputs = facts.outputs = facts.top_share = facts.hot_c = facts.heat_effect = NAN;
		facts.battery = facts.drain_cohort = facts.gaps = facts.silent_s = facts.silent_limit_s = facts.boots_usual_day = NAN;
		judge();
		assert_int_equal(count, 0);
	}
	/* infinite statistics are over, and give finite evidence */
	healthy(NULL);
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) facts.statistic[s] = INFINITY;
	judge();
	assert_true(count > 0);
}

/* ---- the model ---- */

static void a_foreign_hash_is_critical(void **state)
{
	(void)state;
	facts.is_hash_mismatch = true;
	assert_only(SIGNATURE_MODEL_HASH_MISMATCH, SIGNATURE_PLAIN);
	assert_int_equal(found[0].severity, SIGNATURE_CRITICAL);
}

static void corrupt_in_four_ways(void **state)
{
	(void)state;
	facts.nan_outputs = 40;
	assert_only(SIGNATURE_MODEL_CORRUPT, SIGNATURE_NAN);
	assert_sentence("40 of 400 outputs are NaN");
	facts.nan_outputs = 1;
	facts.outputs = 1e6f; /* one in a million is the input's */
	judge();
	assert_int_equal(count, 0);

	healthy(NULL);
	facts.identical = WATCH_IDENTICAL_CONSTANT;
	assert_only(SIGNATURE_MODEL_CORRUPT, SIGNATURE_CONSTANT);
	facts.identical--;
	judge();
	assert_int_equal(count, 0);
	facts.statistic[WATCH_DISPERSION] = 12;
	assert_only(SIGNATURE_MODEL_CORRUPT, SIGNATURE_CONSTANT);

	healthy(NULL);
	facts.statistic[WATCH_CLASSES] = 30;
	facts.top_share = 0.97f;
	facts.top_usual = 0.12f;
	assert_only(SIGNATURE_MODEL_CORRUPT, SIGNATURE_COLLAPSE);
	assert_sentence("97 % of its outputs are one class, usually 12 %");
	assert_true(fabsf(found[0].score - 3) < 1e-6f);

	healthy(NULL);
	facts.statistic[WATCH_CLASSES] = 30;
	move(WATCH_CONFIDENCE, 0.4f, true);
	move(WATCH_ACCURACY, 0.2f, true);
	assert_only(SIGNATURE_MODEL_CORRUPT, SIGNATURE_SCRAMBLED);
	assert_int_equal(found[0].severity, SIGNATURE_CRITICAL);
	assert_sentence("confidence 0.4 instead of 0.8");
	facts.statistic[WATCH_ERRORS_BURST] = 50; /* its errors are explained with it, and are no failing hardware */
	move(WATCH_ENERGY, 9, true);
	judge();
	assert_true(count == 2 && found[1].cause == SIGNATURE_METRIC_ANOMALY && found[1].evidence_count == 2);
	move(WATCH_LATENCY, 40, true); /* a model that is merely wrong takes as long as ever */
	judge();
	assert_null(cause(SIGNATURE_MODEL_CORRUPT));
	assert_non_null(cause(SIGNATURE_HARDWARE_DEGRADED));
	assert_non_null(cause(SIGNATURE_MODEL_DRIFT));
}

static void drift_is_not_corruption(void **state)
{
	(void)state;
	facts.statistic[WATCH_CLASSES] = 30; /* other classes, as sure as ever */
	assert_only(SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN);
	move(WATCH_CONFIDENCE, 0.9f, false); /* or surer */
	assert_only(SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN);
	healthy(NULL);
	facts.statistic[WATCH_CLASSES] = 30; /* mostly one class, as always here */
	facts.top_share = 0.95f;
	facts.top_usual = 0.85f;
	assert_only(SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN);
	healthy(NULL);
	move(WATCH_CONFIDENCE, 0.7f, false);
	assert_only(SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN);
	healthy(NULL);
	move(WATCH_ACCURACY, 0.8f, false);
	assert_only(SIGNATURE_MODEL_DRIFT, SIGNATURE_PLAIN);
	healthy(NULL);
	move(WATCH_ACCURACY, 0.99f, false); /* better is no drift, but it is not hidden either */
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
}

/* ---- heat and hardware ---- */

static void throttling_is_not_failing(void **state)
{
	(void)state;
	move(WATCH_LATENCY, 35, true);
	move(WATCH_TEMPERATURE, 62, true); /* unusual for this device */
	assert_only(SIGNATURE_THERMAL_THROTTLE, SIGNATURE_PLAIN);
	assert_sentence("35 ms at 62 C");
	healthy(NULL);
	move(WATCH_LATENCY, 35, true);
	facts.value[WATCH_TEMPERATURE] = 84; /* where this hardware throttles */
	assert_only(SIGNATURE_THERMAL_THROTTLE, SIGNATURE_PLAIN);
	healthy(NULL);
	facts.value[WATCH_TEMPERATURE] = 84; /* the regression has explained it: no latency statistic is over */
	facts.heat_effect = 0.3f;
	assert_only(SIGNATURE_THERMAL_THROTTLE, SIGNATURE_PLAIN);
	facts.heat_effect = 0.1f; /* hot, and as fast as ever */
	judge();
	assert_int_equal(count, 0);
}

static void failing_is_not_throttling(void **state)
{
	(void)state;
	move(WATCH_LATENCY, 35, true);
	assert_only(SIGNATURE_HARDWARE_DEGRADED, SIGNATURE_PLAIN);
	assert_sentence("latency 35 ms instead of 20 ms");
	assert_true(evidence_of(&found[0], "temperature_c") == 45);
	healthy(NULL);
	move(WATCH_LATENCY, 35, true);
	move(WATCH_TEMPERATURE, 30, true); /* cold is not heat */
	judge();
	assert_non_null(cause(SIGNATURE_HARDWARE_DEGRADED));
	assert_null(cause(SIGNATURE_THERMAL_THROTTLE));
	healthy(NULL);
	facts.statistic[WATCH_ERRORS_BURST] = 50; /* errors alone are not hardware ... */
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	move(WATCH_ENERGY, 9, true); /* ... with more energy they are */
	assert_only(SIGNATURE_HARDWARE_DEGRADED, SIGNATURE_PLAIN);
	facts.value[WATCH_TEMPERATURE] = 84; /* unless it is the heat */
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	healthy(NULL);
	move(WATCH_LATENCY, 12, true); /* faster is not failing */
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	healthy(NULL);
	facts.statistic[2 * WATCH_LATENCY] = 25; /* a spike that passed */
	facts.z[WATCH_LATENCY] = 9;
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
}

/* ---- battery ---- */

static void drain_is_not_low(void **state)
{
	(void)state;
	move(WATCH_BATTERY, 0.08f, true);
	assert_only(SIGNATURE_BATTERY_DRAIN, SIGNATURE_PLAIN);
	assert_true(fabsf(evidence_of(&found[0], "hours_left") - 10) < 1e-3f);
	facts.battery = 0.05f; /* and low: the drain is the cause */
	assert_only(SIGNATURE_BATTERY_DRAIN, SIGNATURE_PLAIN);
	facts.is_charging = true;
	judge();
	assert_null(cause(SIGNATURE_BATTERY_DRAIN));
	facts.is_charging = false;
	facts.drain_cohort = 0.07f; /* a cold night: all drain so */
	judge();
	assert_null(cause(SIGNATURE_BATTERY_DRAIN));

	healthy(NULL);
	facts.battery = 0.1f;
	assert_only(SIGNATURE_BATTERY_LOW, SIGNATURE_PLAIN);
	assert_int_equal(found[0].severity, SIGNATURE_INFO);
	move(WATCH_LATENCY, 30, true); /* who saves power may be slow */
	assert_only(SIGNATURE_BATTERY_LOW, SIGNATURE_PLAIN);
	facts.is_charging = true;
	assert_only(SIGNATURE_HARDWARE_DEGRADED, SIGNATURE_PLAIN);
}

/* ---- network ---- */

static void a_bad_link_is_not_silence(void **state)
{
	(void)state;
	move(WATCH_RSSI, -88, false);
	facts.gaps = 0.2f;
	assert_only(SIGNATURE_NETWORK_DEGRADED, SIGNATURE_PLAIN);
	assert_sentence("-88 dBm instead of -60, and 20 % of its messages are missing");
	facts.gaps_usual = 0.15f; /* this one always loses some */
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	healthy(NULL);
	move(WATCH_RSSI, -40, false); /* better */
	facts.gaps = 0.2f;
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	healthy(NULL);
	facts.gaps = 0.2f; /* the radio is fine */
	judge();
	assert_int_equal(count, 0);

	facts.silent_s = 901;
	assert_only(SIGNATURE_DEVICE_SILENT, SIGNATURE_PLAIN);
	move(WATCH_RSSI, -88, false); /* its last words were faint */
	judge();
	assert_non_null(cause(SIGNATURE_DEVICE_SILENT));
	assert_null(cause(SIGNATURE_NETWORK_DEGRADED));
	facts.silent_s = 900;
	judge();
	assert_null(cause(SIGNATURE_DEVICE_SILENT));
}

/* ---- memory, boots ---- */

static void growth_is_a_leak_only_when_it_is_one_way(void **state)
{
	(void)state;
	move(WATCH_MEMORY, 4e8f, false);
	facts.leak = (struct leak_result){.hours = 24, .bytes_per_hour = 2e6f, .tau = 0.95f, .bytes = 4e8f, .hours_left = 60, .is_leak = true};
	assert_only(SIGNATURE_MEMORY_LEAK, SIGNATURE_PLAIN);
	assert_int_equal(found[0].severity, SIGNATURE_WARNING);
	assert_sentence("2000000 bytes an hour; hours until there is none left: 60");
	move(WATCH_LATENCY, 40, true); /* swapping */
	assert_only(SIGNATURE_MEMORY_LEAK, SIGNATURE_PLAIN);
	facts.value[WATCH_TEMPERATURE] = 84; /* and hot: the latency is explained once */
	judge();
	assert_true(count == 2 && found[1].statistics == 1u << (2 * WATCH_MEMORY + 1));
	facts.value[WATCH_TEMPERATURE] = 45;
	facts.leak.hours_left = 5;
	judge();
	assert_int_equal(found[0].severity, SIGNATURE_CRITICAL);
	facts.leak.hours_left = INFINITY; /* no limit known */
	judge();
	assert_int_equal(found[0].severity, SIGNATURE_WARNING);
	assert_sentence("unknown");
	healthy(NULL);
	move(WATCH_MEMORY, 4e8f, false); /* a step: a larger model, say */
	facts.leak = (struct leak_result){.hours = 24, .bytes_per_hour = 1e3f, .tau = 0.3f, .bytes = 4e8f, .hours_left = 1e5f};
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	healthy(NULL);
	facts.leak = (struct leak_result){.hours = 24, .bytes_per_hour = 2e3f, .tau = 0.9f, .bytes = 2e8f, .hours_left = 1e5f, .is_leak = true};
	judge(); /* creeping, and not unusual */
	assert_int_equal(count, 0);
}

static void boots(void **state)
{
	(void)state;
	facts.boots_in_hour = facts.boots_in_day = WATCH_BOOTS_LOOP;
	assert_only(SIGNATURE_REBOOT_LOOP, SIGNATURE_PLAIN);
	assert_sentence("3 boots within an hour, 3 within a day");
	facts.boots_in_hour = 1; /* spread over the day: unlikely for hardware that never reboots ... */
	facts.boots_in_day = 4;
	assert_only(SIGNATURE_REBOOT_LOOP, SIGNATURE_PLAIN);
	facts.boots_usual_day = 1.5f; /* ... and usual for one that does */
	judge();
	assert_int_equal(count, 0);
	facts.boots_usual_day = NAN;
	judge();
	assert_int_equal(count, 0);
}

/* ---- anomalies ---- */

static void three_novel_metrics_corroborate(void **state)
{
	(void)state;
	struct signature_novel novel[5] = {{"a", 0.8f, 100}, {"b", 0.6f, 900}, {"c", 0.5f, 10}, {"d", 0.9f, 901}, {"e", NAN, 5}};
	facts.novel = novel;
	facts.novel_count = 5;
	judge();
	assert_int_equal(count, 0); /* c is no event, d is too long ago, e is nothing */
	novel[3].age_s = 900;
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_CORROBORATED);
	assert_int_equal(found[0].novel, 3);
	assert_int_equal(found[0].evidence_count, 4);
	assert_sentence("3 metrics became unusual");
	facts.boots_in_hour = 3; /* beside a cause it is corroboration, not a second alert */
	assert_only(SIGNATURE_REBOOT_LOOP, SIGNATURE_PLAIN);
	assert_int_equal(found[0].novel, 3);
}

static void what_nobody_explains_is_not_lost(void **state)
{
	(void)state;
	move(WATCH_ENERGY, 9, false);
	facts.statistic[2 * WATCH_RSSI] = 11;
	assert_only(SIGNATURE_METRIC_ANOMALY, SIGNATURE_STATISTIC);
	assert_string_equal(found[0].evidence[0].name, "energy_mj.cusum"); /* the strongest first */
	assert_int_equal(found[0].evidence_count, 2);
	assert_sentence("energy_mj.cusum is 40, and 10 is the limit");
	uint32_t all = 0, over = 0;
	healthy(NULL);
	for (unsigned s = 0; s < WATCH_STATISTICS; s += 3) {
		facts.statistic[s] = 20;
		over |= 1u << s;
	}
	judge();
	for (unsigned i = 0; i < count; i++) all |= found[i].statistics;
	assert_int_equal(all, over);
}

/* ---- the fleet ---- */

static struct drift_result quiet_hour(void)
{
	struct drift_result r = {.devices = 1000, .classes = 10, .is_warm = true, .t2 = 9, .threshold = 51.5f, .psi = 0.01f, .kl = 0.005f,
		.class_up = 4, .class_down = 7};
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
		r.share[s] = 0.01f;
		r.usual[s] = 0.01f;
		r.p[s] = 0.5f;
	}
	return r;
}

static void a_drifting_cohort_speaks_for_its_devices(void **state)
{
	(void)state;
	struct signature_finding fleet[SIGNATURE_COHORT_MAX];
	struct drift_result r = quiet_hour();
	assert_int_equal(signature_judge_cohort(&r, fleet), 0);
	assert_int_equal(signature_fleet_mask(&r), 0);
	r.is_over = true;
	r.t2 = 103;
	r.metrics = 1u << (2 * WATCH_LATENCY + 1) | 1u << (2 * WATCH_LATENCY) | 1u << WATCH_ERRORS_CUSUM | 1u << WATCH_CLASSES;
	r.p[2 * WATCH_LATENCY + 1] = 1e-12f;
	r.share[2 * WATCH_LATENCY + 1] = 0.2f;
	assert_int_equal(signature_judge_cohort(&r, fleet), 3); /* classes once, latency once, errors */
	assert_true(fleet[0].kind == SIGNATURE_FLEET_CLASSES && fleet[0].score == 2);
	found[0] = fleet[0];
	assert_sentence("from class 7 to class 4 (T2 103, limit 51.5; 1000 devices)");
	found[0] = fleet[1];
	assert_sentence("20 % of the cohort's devices are half way to the limit of latency_ms.cusum, usually 1 %");

	r.metrics &= ~(1u << 2 * WATCH_LATENCY);
	facts.fleet = signature_fleet_mask(&r);
	assert_true(facts.fleet & 1u << WATCH_ERRORS_BURST && facts.fleet & 1u << 2 * WATCH_LATENCY); /* all of a metric */
	move(WATCH_LATENCY, 35, true);
	judge();
	assert_true(cause(SIGNATURE_HARDWARE_DEGRADED)->is_inhibited);
	move(WATCH_ENERGY, 9, true); /* this device has something of its own besides */
	judge();
	assert_false(cause(SIGNATURE_HARDWARE_DEGRADED)->is_inhibited);
	healthy(NULL);
	facts.fleet = signature_fleet_mask(&r);
	facts.statistic[WATCH_CLASSES] = 20;
	judge();
	assert_true(cause(SIGNATURE_MODEL_DRIFT)->is_inhibited);
	facts.identical = 12; /* an explicit rule is not the fleet's */
	facts.statistic[WATCH_CLASSES] = 1;
	judge();
	assert_false(cause(SIGNATURE_MODEL_CORRUPT)->is_inhibited);
}

static void every_statistic_of_a_cohort_has_room(void **state)
{
	(void)state;
	struct signature_finding fleet[SIGNATURE_COHORT_MAX];
	struct drift_result r = quiet_hour();
	r.metrics = (1u << WATCH_STATISTICS) - 1;
	unsigned n = signature_judge_cohort(&r, fleet);
	assert_int_equal(n, WATCH_METRICS + 3);
	uint32_t all = 0;
	for (unsigned i = 0; i < n; i++) all |= fleet[i].statistics;
	assert_int_equal(all, r.metrics);
}

static void names_and_short_rooms(void **state)
{
	(void)state;
	assert_string_equal(signature_cause_name(SIGNATURE_FLEET_DRIFT), "fleet_drift");
	assert_string_equal(signature_kind_name(SIGNATURE_PLAIN), "");
	assert_string_equal(signature_kind_name(SIGNATURE_FLEET_METRIC), "metric");
	assert_string_equal(signature_severity_name(SIGNATURE_CRITICAL), "critical");
	move(WATCH_RSSI, -88, false);
	facts.gaps = 0.2f;
	judge();
	for (size_t size = 1; size < 120; size++) {
		char room[128];
		memset(room, 'x', sizeof room);
		signature_sentence(&found[0], room, size);
		assert_true(strlen(room) < size && room[size] == 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_healthy_device_has_no_signature, healthy),
		cmocka_unit_test_setup(what_is_not_known_fires_nothing, healthy),
		cmocka_unit_test_setup(a_foreign_hash_is_critical, healthy),
		cmocka_unit_test_setup(corrupt_in_four_ways, healthy),
		cmocka_unit_test_setup(drift_is_not_corruption, healthy),
		cmocka_unit_test_setup(throttling_is_not_failing, healthy),
		cmocka_unit_test_setup(failing_is_not_throttling, healthy),
		cmocka_unit_test_setup(drain_is_not_low, healthy),
		cmocka_unit_test_setup(a_bad_link_is_not_silence, healthy),
		cmocka_unit_test_setup(growth_is_a_leak_only_when_it_is_one_way, healthy),
		cmocka_unit_test_setup(boots, healthy),
		cmocka_unit_test_setup(three_novel_metrics_corroborate, healthy),
		cmocka_unit_test_setup(what_nobody_explains_is_not_lost, healthy),
		cmocka_unit_test_setup(a_drifting_cohort_speaks_for_its_devices, healthy),
		cmocka_unit_test_setup(every_statistic_of_a_cohort_has_room, healthy),
		cmocka_unit_test_setup(names_and_short_rooms, healthy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
