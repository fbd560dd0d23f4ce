/* Drawing a canary: blocks, strata, units, and independence of input order. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cohort.h"

#define DEVICES_MAX 70000

static uint8_t seed[PRNG_SEED_BYTES] = {7};
static struct cohort_device devices[DEVICES_MAX];
static struct cohort_member members[DEVICES_MAX], again[DEVICES_MAX];
static struct cohort_plan plan;
static size_t member_count;

static uint32_t next(void) {
	static uint32_t s = 5;
	return (s = s * 1664525 + 1013904223) >> 8;
}

static enum err draw_into(size_t count, uint32_t canaries, struct cohort_member *out) {
	struct cohort_request q = {.seed = seed, .rollout = "r-1", .wave = 1, .canaries = canaries};
	size_t bytes = cohort_workspace_bytes(count);
	void *workspace = malloc(bytes);
	enum err e = cohort_draw(&q, devices, count, out, &member_count, &plan, workspace, bytes);
	free(workspace);
	return e;
}

static void fill(size_t count, uint32_t strata) {
	for (size_t i = 0; i < count; i++)
		devices[i] = (struct cohort_device){
			.key = 1000 + i, .stratum = (uint32_t)(i % strata), .baseline = (double)(next() % 10000) / 10000};
}

/* What must hold of every draw: whole blocks of one stratum, one canary unit each, nobody twice. */
static void check_blocks(size_t count) {
	static bool seen[DEVICES_MAX];
	memset(seen, 0, sizeof seen);
	uint32_t canaries = 0, controls = 0;
	for (size_t i = 0; i < member_count; i++) {
		const struct cohort_member *m = &members[i];
		assert_true(m->device < count && !seen[m->device]);
		seen[m->device] = true;
		assert_true(m->key == devices[m->device].key);
		assert_true(i == 0 || m->block == members[i - 1].block || m->block == members[i - 1].block + 1);
		assert_true(i == 0 || m->block != members[i - 1].block || m->stratum == members[i - 1].stratum);
		canaries += m->is_canary;
		controls += !m->is_canary;
	}
	assert_int_equal(canaries, plan.canary_devices);
	assert_int_equal(controls, plan.control_devices);
	assert_int_equal(member_count + plan.left_over + plan.no_baseline, count);
	assert_true(member_count == 0 || members[member_count - 1].block + 1 == plan.blocks);
}

static void test_one_stratum(void **state) {
	(void)state;
	fill(500, 1);
	assert_int_equal(draw_into(500, 50, members), ERR_OK);
	assert_int_equal(plan.blocks, 50);
	assert_int_equal(plan.controls, 9);
	assert_int_equal(plan.left_over, 0);
	check_blocks(500);
	/* blocks are neighbours: no baseline of a block lies beyond the next block's smallest */
	for (uint32_t b = 0; b + 1 < 50; b++)
		assert_true(devices[members[b * 10 + 9].device].baseline <= devices[members[b * 10 + 10].device].baseline);
	/* and canaries are not at one place in them */
	int places[10] = {0};
	for (size_t i = 0; i < member_count; i++)
		places[i % 10] += members[i].is_canary;
	for (int i = 0; i < 10; i++)
		assert_in_range(places[i], 0, 15);
}

static void test_order_does_not_matter(void **state) {
	(void)state;
	fill(777, 4);
	for (size_t i = 0; i < 777; i += 3)
		devices[i].baseline = 0.5; /* ties */
	assert_int_equal(draw_into(777, 40, members), ERR_OK);
	size_t count = member_count;
	check_blocks(777);
	for (size_t i = 777; i-- > 1;) {
		size_t j = next() % (i + 1);
		struct cohort_device swap = devices[i];
		devices[i] = devices[j];
		devices[j] = swap;
	}
	assert_int_equal(draw_into(777, 40, again), ERR_OK);
	assert_int_equal(member_count, count);
	for (size_t i = 0; i < count; i++) {
		assert_true(again[i].key == members[i].key && again[i].block == members[i].block);
		assert_int_equal(again[i].is_canary, members[i].is_canary);
	}
	/* another seed draws other canaries */
	seed[1] ^= 1;
	assert_int_equal(draw_into(777, 40, again), ERR_OK);
	seed[1] ^= 1;
	size_t same = 0;
	for (size_t i = 0; i < count; i++)
		same += again[i].key == members[i].key;
	assert_true(same < count);
}

static void test_strata_and_remainders(void **state) {
	(void)state;
	fill(500, 3); /* 167, 167, 166: with nine controls each only 48 blocks exist */
	assert_int_equal(draw_into(500, 50, members), ERR_OK);
	assert_int_equal(plan.blocks, 50);
	assert_int_equal(plan.controls, 8);
	assert_int_equal(plan.left_over, 50);
	assert_int_equal(plan.strata, 3);
	check_blocks(500);
	uint32_t blocks[3] = {0};
	for (size_t i = 0; i < member_count; i++)
		blocks[members[i].stratum] += members[i].is_canary;
	for (int s = 0; s < 3; s++)
		assert_in_range(blocks[s], 16, 17);
	/* a stratum of one cannot have a block */
	devices[0].stratum = 99;
	assert_int_equal(draw_into(500, 50, members), ERR_OK);
	assert_int_equal(plan.strata_uncovered, 1);
	check_blocks(500);
}

static void test_large_pool_is_sampled(void **state) {
	(void)state;
	fill(60000, 2);
	assert_int_equal(draw_into(60000, 20, members), ERR_OK);
	assert_int_equal(plan.blocks, 20);
	assert_int_equal(plan.controls, 99);
	assert_int_equal(plan.left_over, 58000);
	check_blocks(60000);
	struct cohort_request few = {.seed = seed, .rollout = "r-1", .wave = 1, .canaries = 20, .controls_max = 4};
	size_t bytes = cohort_workspace_bytes(60000);
	void *workspace = malloc(bytes);
	assert_int_equal(cohort_draw(&few, devices, 60000, members, &member_count, &plan, workspace, bytes), ERR_OK);
	free(workspace);
	assert_int_equal(plan.controls, 4);
}

static void test_units_share_fate(void **state) {
	(void)state;
	fill(300, 2);
	for (size_t i = 0; i < 300; i++) {
		devices[i].unit = i < 200 ? 1 + i / 4 : 0; /* 50 gateways of four, 100 devices alone */
		devices[i].stratum = i < 200 ? 1 : 2;
	}
	devices[0].stratum = 0; /* one gateway has a device of another kind */
	assert_int_equal(draw_into(300, 10, members), ERR_OK);
	assert_int_equal(plan.pool_units, 150);
	assert_int_equal(plan.mixed_units, 1);
	assert_int_equal(plan.blocks, 10);
	assert_true(plan.canary_devices > 10);
	check_blocks(300);
	for (size_t i = 0; i < member_count; i++)
		for (size_t j = 0; j < member_count; j++)
			if (devices[members[i].device].unit != 0 &&
			devices[members[i].device].unit == devices[members[j].device].unit)
				assert_true(members[i].block == members[j].block && members[i].is_canary == members[j].is_canary);
}

static void test_too_few(void **state) {
	(void)state;
	fill(10, 1);
	devices[3].baseline = NAN;
	assert_int_equal(draw_into(10, 50, members), ERR_OK);
	assert_int_equal(plan.no_baseline, 1);
	assert_int_equal(plan.blocks, 4);
	assert_int_equal(plan.controls, 1);
	assert_int_equal(plan.short_of, 46);
	assert_int_equal(plan.left_over, 1);
	check_blocks(10);
	assert_int_equal(draw_into(1, 1, members), ERR_OK);
	assert_int_equal(plan.blocks, 0);
	assert_int_equal(plan.controls, 0);
	assert_int_equal(draw_into(0, 1, members), ERR_OK);
	assert_int_equal(plan.blocks + member_count, 0);
}

static void test_refusals(void **state) {
	(void)state;
	fill(20, 1);
	assert_int_equal(draw_into(20, 0, members), ERR_INVALID);
	devices[5].key = devices[6].key;
	assert_int_equal(draw_into(20, 2, members), ERR_INVALID);
	devices[5].unit = devices[6].unit = 9;
	assert_int_equal(draw_into(20, 2, members), ERR_INVALID);
	struct cohort_request q = {.seed = seed, .rollout = "r", .wave = 1, .canaries = 1};
	assert_int_equal(cohort_draw(&q, devices, COHORT_DEVICES_MAX + 1, members, &member_count, &plan, NULL, 0),
		ERR_TOO_LARGE);
	for (size_t i = 0; i < DEVICES_MAX; i++)
		devices[i] = (struct cohort_device){.key = i, .stratum = (uint32_t)i};
	assert_int_equal(draw_into(DEVICES_MAX, 10, members), ERR_TOO_LARGE);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_stratum),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_strata_and_remainders),
		cmocka_unit_test(test_large_pool_is_sampled),
		cmocka_unit_test(test_units_share_fate),
		cmocka_unit_test(test_too_few),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
