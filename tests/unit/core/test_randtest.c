/* The test of one gate: vectors V2 and V3 of docs/judge.md, relabellings, scales, sign flips. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/randtest.h"
#include "core/score.h"

#define MEMBERS_MAX 2000

static struct randtest_member members[MEMBERS_MAX];
static int32_t x[MEMBERS_MAX];

static struct randtest_result run(size_t count, struct randtest_options o) {
	struct randtest_result r;
	size_t bytes = randtest_workspace_bytes(count);
	void *workspace = malloc(bytes);
	randtest_run(members, count, &o, &r, x, workspace, bytes);
	free(workspace);
	return r;
}

/* Blocks of `size`, the canary at place 0. */
static void put(size_t blocks, uint32_t size, const double *scores) {
	for (size_t i = 0; i < blocks * size; i++)
		members[i] = (struct randtest_member){.score = scores[i],
			.reports = 64,
			.block = (uint32_t)(i / size),
			.is_canary = i % size == 0,
			.has_data = true};
}

static void expect_x(const int32_t *expected, size_t count) {
	for (size_t i = 0; i < count; i++)
		assert_int_equal(x[i], expected[i]);
}

static void test_from_counts(void **state) {
	(void)state;
	static const int counts[20][2] = {{930, 445}, {910, 456}, {950, 473}, {900, 452}, {880, 418}, {905, 455}, {870,
		436},
		{915, 452}, {960, 462}, {955, 476}, {940, 472}, {925, 465}, {890, 425}, {900, 449}, {935, 466}, {905, 455},
		{920, 441},
		{875, 440}, {930, 463}, {945, 474}};
	static const int32_t expected[20] = {32, -3, 3, -5, 32, -10, -7, 7, 32, 4, -4, -5, 32, -1, 1, -8, 32, -6, 4, -4};
	static const double y[20] = {.040, -.002, .004, -.004, .044, -.005, -.002, .011, .036, .003, -.004, -.005, .040,
		.002, .003,
		-.005, .038, -.005, .004, -.003};
	const struct score_spec accuracy = {.kind = METRIC_RATIO, .worse_down = true};
	double scores[20];
	for (int i = 0; i < 20; i++) {
		struct metric_point before = {20, 1000, counts[i][0] / 1000.0}, after = {10, 500, counts[i][1] / 500.0};
		assert_true(score_is_valid(METRIC_RATIO, &before, &after));
		assert_true(score_of(&accuracy, &before, &after, &scores[i]));
		assert_true(fabs(scores[i] - y[i]) < 1e-12);
	}
	put(5, 4, scores);
	struct randtest_result r = run(20, (struct randtest_options){0});
	assert_true(fabs(r.scale - 0.0077836500) < 1e-10);
	expect_x(expected, 20);
	assert_int_equal(r.score, 160);
	assert_string_equal(r.tail.fraction, "1/1024");
	assert_int_equal(r.informative, 5);
}

static const double vector_a[24] = {.021, .008, -.020, -.001, .018, .004, -.010, -.008, .015, -.012, -.002, -.017,
	.012, -.013, .001,
	.014, .026, .012, -.017, .006, .006, -.014, .002, .007};

static void test_vector_a(void **state) {
	(void)state;
	static const int32_t expected[24] = {
		16, 4, -21, -4, 18, 5, -7, -5, 20, -4, 4, -9, 5, -18, -5, 7, 15, 3, -23, -3, 2, -16, -2, 3};
	put(6, 4, vector_a);
	struct randtest_result r = run(24, (struct randtest_options){0});
	assert_true(fabs(r.scale - 0.008895600) < 1e-12);
	expect_x(expected, 24);
	assert_int_equal(r.score, 76);
	assert_string_equal(r.tail.fraction, "1/1024");
	assert_true(r.tail.p == 1.0 / 1024);
}

/* Every one of the 4096 canaries that could have been drawn: p never promises more than it keeps. */
static void test_all_relabellings(void **state) {
	(void)state;
	static const double level[8] = {.001, .005, .01, .02, .05, .1, .25, .5};
	static const int expected[8] = {4, 19, 40, 76, 190, 401, 1013, 2008};
	int hits[8] = {0};
	put(6, 4, vector_a);
	for (int way = 0; way < 4096; way++) {
		for (int i = 0; i < 24; i++)
			members[i].is_canary = i % 4 == (way >> (2 * (i / 4)) & 3);
		double p = run(24, (struct randtest_options){0}).tail.p;
		for (int l = 0; l < 8; l++)
			hits[l] += p <= level[l];
	}
	for (int l = 0; l < 8; l++) {
		assert_int_equal(hits[l], expected[l]);
		assert_true(hits[l] <= 4096 * level[l]);
	}
}

static double noise(void) {
	static uint64_t s = 7;
	double sum = 0;
	for (int i = 0; i < 12; i++) {
		s = s * 6364136223846793005u + 1442695040888963407u;
		sum += (double)(s >> 11) * 0x1p-53;
	}
	return sum - 6;
}

/* One wild control must not hide a regression of all canaries. */
static void test_outlier_does_not_hide_harm(void **state) {
	(void)state;
	double scores[40];
	for (int i = 0; i < 40; i++)
		scores[i] = 0.01 * noise() + (i % 5 == 0 ? 0.04 : 0);
	put(8, 5, scores);
	double without = run(40, (struct randtest_options){0}).tail.p;
	members[7].score = 0.9;
	double with = run(40, (struct randtest_options){0}).tail.p;
	assert_true(without < 1e-4 && with < 1e-3);
	assert_int_equal(x[7], 32);
}

static void test_margin_is_taken_off_canaries(void **state) {
	(void)state;
	double scores[40];
	for (int i = 0; i < 40; i++)
		scores[i] = (i % 4 == 0 ? 0.02 : 0) + 0.001 * (i % 7);
	put(10, 4, scores);
	assert_true(run(40, (struct randtest_options){0}).tail.p < 1e-4);
	assert_true(run(40, (struct randtest_options){.shift = 0.02}).tail.p > 0.01);
	/* non-inferiority: the harm is clearly below 0.05 and clearly not below 0.01 */
	assert_true(run(40, (struct randtest_options){.shift = 0.05, .negate = true}).tail.p < 1e-4);
	assert_true(run(40, (struct randtest_options){.shift = 0.01, .negate = true}).tail.p > 0.5);
}

static void test_missing_data_counts_as_nothing(void **state) {
	(void)state;
	put(6, 4, vector_a);
	for (int i = 0; i < 4; i++)
		members[i].has_data = false;
	members[5].score = NAN; /* not read */
	members[5].has_data = false;
	members[8].has_data = false; /* a canary */
	struct randtest_result r = run(24, (struct randtest_options){0});
	for (int i = 0; i < 4; i++)
		assert_int_equal(x[i], 0);
	assert_int_equal(x[5], 0);
	assert_int_equal(x[8], 0);
	assert_int_equal(r.blocks, 6);
	assert_int_equal(r.informative, 4);
	r = run(0, (struct randtest_options){0});
	assert_true(r.tail.p == 1 && r.blocks == 0 && r.score == 0);
	for (int i = 0; i < 24; i++)
		members[i].has_data = false;
	r = run(24, (struct randtest_options){0});
	assert_true(r.tail.p == 1 && r.informative == 0 && r.scale == 0);
}

static void test_no_spread_means_no_evidence(void **state) {
	(void)state;
	double same[20];
	for (int i = 0; i < 20; i++)
		same[i] = 0.25;
	put(5, 4, same);
	struct randtest_result r = run(20, (struct randtest_options){0});
	assert_true(r.scale == 0 && r.tail.p == 1);
	/* more than half are equal: the pooled deviation steps in */
	for (int b = 0; b < 5; b++)
		members[4 * b].score = 0.5;
	r = run(20, (struct randtest_options){0});
	assert_true(fabs(r.scale - sqrt(5 * 0.0625 / 15)) < 1e-12);
	assert_string_equal(r.tail.fraction, "1/1024");
}

/* Blocks with few reports are noisier: their own scale, and less weight. */
static void test_buckets_have_their_own_scale(void **state) {
	(void)state;
	double scores[200];
	for (int i = 0; i < 200; i++)
		scores[i] = noise() * (i < 100 ? 0.01 : 0.08);
	put(20, 10, scores);
	for (int i = 0; i < 200; i++)
		members[i].reports = i < 100 ? 64 : 1;
	run(200, (struct randtest_options){0});
	int32_t largest_quiet = 0, largest_noisy = 0;
	for (int i = 0; i < 200; i++) {
		int32_t *largest = i < 100 ? &largest_quiet : &largest_noisy;
		*largest = abs(x[i]) > *largest ? abs(x[i]) : *largest;
	}
	assert_in_range(largest_quiet, 12, 32);
	assert_in_range(largest_noisy, 1, 6);
	/* with a scale fixed in advance both are measured by it */
	struct randtest_result r = run(200, (struct randtest_options){.fixed_scale = 0.01});
	assert_true(r.scale == 0.01);
	for (int i = 0; i < 100; i++)
		assert_true(abs(x[i]) <= 32);
}

static void test_counts(void **state) {
	(void)state;
	double scores[40] = {0};
	scores[0] = scores[4] = scores[8] = 1;
	scores[13] = 3;
	put(10, 4, scores);
	struct randtest_result r = run(40, (struct randtest_options){.counts = true});
	assert_int_equal(r.score, 3);
	assert_int_equal(x[13], 3);
	/* 3 or more: all three, or the control's 3 with any number */
	assert_true(fabs(r.tail.p - (0.25 + 0.75 / 64)) < 1e-15);
}

static void test_sign_flips(void **state) {
	(void)state;
	double scores[12] = {.03, .02, .04, .01, .05, .02, .03, .02, .04, .03, -.001, .02};
	put(12, 1, scores);
	struct randtest_result r = run(12, (struct randtest_options){.paired = true});
	assert_int_equal(r.informative, 12);
	assert_true(r.tail.p <= 4.0 / 4096 && r.tail.p >= 1.0 / 4096);
	/* the scale does not see signs */
	double scale = r.scale;
	for (int i = 0; i < 12; i += 2)
		members[i].score = -members[i].score;
	r = run(12, (struct randtest_options){.paired = true});
	assert_true(r.scale == scale && r.tail.p > 0.1);
	/* members of one block are still pairs of their own */
	for (int i = 0; i < 12; i++)
		members[i].block = 0;
	assert_int_equal(run(12, (struct randtest_options){.paired = true}).blocks, 12);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_counts),
		cmocka_unit_test(test_vector_a),
		cmocka_unit_test(test_all_relabellings),
		cmocka_unit_test(test_outlier_does_not_hide_harm),
		cmocka_unit_test(test_margin_is_taken_off_canaries),
		cmocka_unit_test(test_missing_data_counts_as_nothing),
		cmocka_unit_test(test_no_spread_means_no_evidence),
		cmocka_unit_test(test_buckets_have_their_own_scale),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_sign_flips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
