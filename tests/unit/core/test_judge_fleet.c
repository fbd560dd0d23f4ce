/* The bars of docs/judge.md in short form, with fixed seeds, through the code that the daemon runs; `make
 * bench-judge` is the long form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../bench/judge_fleet.h"

#define RUNS_MAX 200
#define FIRST_SEED 3000000

static const struct fleet_options full_bill = {.blocks = 50, .controls = 9, .alpha = 0.01, .waves = 2, .weight = 0.15};

struct tally {
	int reverts, passes;
	int64_t median; /* canary reports until the revert */
};

static int compare(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static struct tally run(struct fleet_options o, int runs) {
	struct tally t = {0};
	int64_t found[RUNS_MAX];
	struct fleet f;
	fleet_init(&f, &o);
	for (int i = 0; i < runs; i++) {
		struct fleet_outcome out = fleet_run(&f, FIRST_SEED + (uint64_t)i, NULL);
		found[i] = out.reverted ? out.canary_reports : INT64_MAX;
		t.reverts += out.reverted;
		t.passes += out.verdict == VERDICT_PASS;
	}
	qsort(found, (size_t)runs, sizeof *found, compare);
	t.median = found[runs / 2];
	fleet_done(&f);
	return t;
}

/* All of alpha .05 spent on one wave: 2.5 % is usual, and more than 10 of 120 has a chance of 5 in 100,000. */
static void test_harmless_is_not_reverted(void **state) {
	(void)state;
	struct fleet_options o = full_bill;
	o.alpha = 0.05;
	o.waves = 1;
	o.weight = 0.5;
	struct tally t = run(o, 120);
	assert_in_range(t.reverts, 0, 8);
	assert_in_range(t.passes, 110, 120);
}

static void test_harm_is_found_in_time(void **state) {
	(void)state;
	struct fleet_options o = full_bill;
	o.accuracy_drop = 0.02;
	struct tally t = run(o, 150);
	assert_int_equal(t.reverts, 150);
	assert_in_range(t.median, 1, 133 * 115 / 100);
	o = full_bill;
	o.latency_rise = judge_margin_percent(10);
	t = run(o, 200);
	assert_in_range(t.reverts, 195, 200);
	assert_in_range(t.median, 1, 48 * 115 / 100);
}

/* A canary that is worse by exactly the non-inferiority margin, and nothing but that test to stop it: beta is 5 %, and
 * more than 17 of 200 has a chance of 1 % (the long form holds the upper limit of 8000 runs against 7 %). */
static void test_harm_is_not_promoted(void **state) {
	(void)state;
	struct fleet_options o = full_bill;
	o.alpha = 1e-200;
	o.never_hold = true;
	o.exact_harm = true;
	o.accuracy_drop = 0.02;
	assert_in_range(run(o, 200).passes, 1, 17);
	o.accuracy_drop = 0;
	o.latency_rise = judge_margin_percent(10);
	assert_in_range(run(o, 200).passes, 1, 17);
}

/* With scales from the baselines harm is found as well, a little later. */
static void test_scale_of_baselines_finds_it_too(void **state) {
	(void)state;
	struct fleet_options o = full_bill;
	o.bounded = true;
	assert_in_range(run(o, 40).reverts, 0, 1);
	o.accuracy_drop = 0.02;
	struct tally t = run(o, 60);
	assert_int_equal(t.reverts, 60);
	assert_in_range(t.median, 1, 2 * 133);
}

/* Harm to one hardware class alone is found sooner where each is tested alone, too. */
static void test_harm_to_one_class_is_found_sooner(void **state) {
	(void)state;
	int64_t median[2];
	for (int alone = 0; alone < 2; alone++) {
		struct fleet_options o = full_bill;
		o.strata = 5;
		o.one_stratum = true;
		o.per_stratum = alone;
		o.accuracy_drop = 0.05;
		median[alone] = run(o, 40).median;
	}
	assert_true(median[1] < median[0]);
}

static void test_shadow_finds_it_unexposed(void **state) {
	(void)state;
	struct fleet_options o = full_bill;
	o.shadow = true;
	assert_in_range(run(o, 100).reverts, 0, 2);
	o.accuracy_drop = 0.02;
	struct tally t = run(o, 100);
	assert_int_equal(t.reverts, 100);
	assert_in_range(t.median, 1, 133);
}

/* The same wave again is the same wave, bit for bit. */
static void test_replay(void **state) {
	(void)state;
	struct fleet f;
	fleet_init(&f, &full_bill);
	struct fleet_outcome first = fleet_run(&f, 99, NULL);
	struct judge_gate_result gate = f.result.gates[0];
	struct fleet_outcome again = fleet_run(&f, 99, NULL);
	assert_int_equal(first.verdict, again.verdict);
	assert_int_equal(first.canary_reports, again.canary_reports);
	assert_memory_equal(&f.result.gates[0].p, &gate.p, sizeof gate.p);
	assert_memory_equal(&f.result.gates[0].p_ni, &gate.p_ni, sizeof gate.p_ni);
	fleet_done(&f);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_harmless_is_not_reverted),
		cmocka_unit_test(test_harm_is_found_in_time),
		cmocka_unit_test(test_harm_is_not_promoted),
		cmocka_unit_test(test_scale_of_baselines_finds_it_too),
		cmocka_unit_test(test_harm_to_one_class_is_found_sooner),
		cmocka_unit_test(test_shadow_finds_it_unexposed),
		cmocka_unit_test(test_replay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
