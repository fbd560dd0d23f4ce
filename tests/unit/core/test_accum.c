/* Accumulators: the same bits in any order, exact sums, refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/accum.h"

static struct ddsketch s, t;
static uint8_t bytes[ACCUM_ENCODED_MAX], other[ACCUM_ENCODED_MAX];

static void add(struct metric_accum *a, struct ddsketch *sketch, int i) {
	const int32_t keys[2] = {i - 50, i};
	const uint64_t counts[2] = {1, 1 + (uint64_t)i};
	switch (i % 4) {
	case 0:
		assert_int_equal(accum_add_number(a, 1e12 / (i + 1)), ERR_OK);
		break;
	case 1:
		assert_int_equal(accum_add_mean(a, 1 + i, -1e-7 * i), ERR_OK);
		break;
	case 2:
		assert_int_equal(accum_add_ratio(a, 100, i % 100), ERR_OK);
		break;
	default:
		assert_int_equal(accum_add_sketch(a, sketch, keys, counts, 2), ERR_OK);
	}
}

static void test_any_order_gives_the_same_bytes(void **state) {
	(void)state;
	struct metric_accum a, b, half[2];
	accum_init(&a);
	accum_init(&b);
	accum_init(&half[0]);
	accum_init(&half[1]);
	ddsketch_init(&s);
	ddsketch_init(&t);
	struct ddsketch *unused = malloc(sizeof *unused);
	ddsketch_init(unused);
	for (int i = 0; i < 200; i++) {
		add(&a, &s, i);
		add(&b, &t, i * 77 % 200); /* 77 and 200 have no common divisor: a permutation */
		add(&half[i % 2], unused, i);
	}
	free(unused);
	size_t len = accum_encode(&a, &s, bytes);
	assert_int_equal(accum_encode(&b, &t, other), len);
	assert_memory_equal(bytes, other, len);
	assert_int_equal(accum_merge(&half[1], &half[0]), ERR_OK);
	assert_memory_equal(&half[1], &a, sizeof a);
	assert_int_equal(a.reports, 200);
	assert_int_equal(a.ratio_n, 5000);
}

static void test_sums_are_exact(void **state) {
	(void)state;
	struct metric_accum a;
	accum_init(&a);
	assert_true(isnan(accum_mean(&a)) && accum_sum(&a) == 0);
	assert_int_equal(accum_add_number(&a, 1e12), ERR_OK);
	assert_int_equal(accum_add_number(&a, 0x1p-50), ERR_OK);
	assert_int_equal(accum_add_number(&a, -1e12), ERR_OK);
	assert_true(accum_sum(&a) == 0x1p-50);
	assert_int_equal(accum_add_mean(&a, 7, -3.5), ERR_OK);
	assert_int_equal(accum_add_number(&a, -0x1p-50), ERR_OK);
	assert_true(accum_mean(&a) == -0.35 || fabs(accum_mean(&a) + 3.5 / 11) < 1e-15);
	assert_int_equal(a.sum_n, 11);
}

static void test_points(void **state) {
	(void)state;
	struct metric_accum a;
	accum_init(&a);
	ddsketch_init(&s);
	for (int k = 0; k < METRIC_KIND_COUNT; k++)
		assert_int_equal(accum_point(&a, (enum metric_kind)k, &s, 0.95).reports, 0);
	assert_int_equal(accum_add_ratio(&a, 50, 46), ERR_OK);
	struct metric_point p = accum_point(&a, METRIC_RATIO, NULL, 0);
	assert_true(p.reports == 1 && p.n == 50 && p.value == 0.92);
	assert_int_equal(accum_point(&a, METRIC_MEAN, NULL, 0).reports, 0); /* k of n is no sum */
	assert_int_equal(accum_add_mean(&a, 10, 25), ERR_OK);
	p = accum_point(&a, METRIC_LOGMEAN, NULL, 0);
	assert_true(p.reports == 2 && p.n == 10 && p.value == 2.5);
	p = accum_point(&a, METRIC_EVENT, NULL, 0);
	assert_true(p.value == 25);
	assert_int_equal(accum_point(&a, METRIC_QUANTILE, NULL, 0.95).reports, 0);
	const int32_t key = 116;
	const uint64_t count = 3;
	assert_int_equal(accum_add_sketch(&a, &s, &key, &count, 1), ERR_OK);
	p = accum_point(&a, METRIC_QUANTILE, &s, 0.95);
	assert_true(p.reports == 3 && p.n == 3 && fabs(p.value - 100) < 2);
}

static void test_refusals_change_nothing(void **state) {
	(void)state;
	struct metric_accum a, before;
	const int32_t keys[2] = {1, 1025};
	const uint64_t counts[2] = {1, 1}, zero[1] = {0}, large[1] = {(uint64_t)ACCUM_COUNT_MAX + 1};
	accum_init(&a);
	ddsketch_init(&s);
	assert_int_equal(accum_add_ratio(&a, 5, 5), ERR_OK);
	before = a;
	assert_int_equal(accum_add_number(&a, NAN), ERR_INVALID);
	assert_int_equal(accum_add_number(&a, -INFINITY), ERR_INVALID);
	assert_int_equal(accum_add_number(&a, 1.0001e12), ERR_INVALID);
	assert_int_equal(accum_add_mean(&a, 0, 1), ERR_INVALID);
	assert_int_equal(accum_add_mean(&a, (int64_t)ACCUM_COUNT_MAX + 1, 1), ERR_INVALID);
	assert_int_equal(accum_add_ratio(&a, 5, 6), ERR_INVALID);
	assert_int_equal(accum_add_ratio(&a, 5, -1), ERR_INVALID);
	assert_int_equal(accum_add_ratio(&a, 0, 0), ERR_INVALID);
	assert_int_equal(accum_add_sketch(&a, &s, keys, counts, 2), ERR_INVALID);
	assert_int_equal(accum_add_sketch(&a, &s, keys, zero, 1), ERR_INVALID);
	assert_int_equal(accum_add_sketch(&a, &s, keys, large, 1), ERR_INVALID);
	assert_int_equal(accum_add_sketch(&a, &s, keys, counts, 0), ERR_INVALID);
	assert_int_equal(s.n, 0);
	assert_memory_equal(&a, &before, sizeof a);
	a.reports = before.reports = INT64_MAX;
	assert_int_equal(accum_add_number(&a, 1), ERR_INVALID);
	assert_memory_equal(&a, &before, sizeof a);
}

static void test_bytes(void **state) {
	(void)state;
	struct metric_accum a, b;
	accum_init(&a);
	ddsketch_init(&s);
	for (int i = 0; i < 20; i++)
		add(&a, &s, i);
	size_t len = accum_encode(&a, NULL, bytes);
	assert_in_range(len, 1, ACCUM_ENCODED_SMALL);
	assert_int_equal(accum_decode(&b, &t, bytes, len), ERR_OK);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(t.n, 0);
	assert_int_equal(accum_decode(&b, NULL, bytes, len + 1), ERR_INVALID);
	len = accum_encode(&a, &s, bytes);
	assert_int_equal(accum_decode(&b, &t, bytes, len), ERR_OK);
	assert_memory_equal(&t, &s, sizeof s);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(accum_decode(&b, &t, bytes, cut), ERR_INVALID);
	assert_int_equal(accum_decode(&b, NULL, bytes, len), ERR_OK); /* a sketch that nobody wants */
	bytes[0] = 9;
	assert_int_equal(accum_decode(&b, &t, bytes, len), ERR_INVALID);
	static const uint8_t more_hits_than_trials[23] = {1, 0, 1, 1, 2, 1, 0};
	assert_int_equal(accum_decode(&b, &t, more_hits_than_trials, 23), ERR_INVALID);
	a = (struct metric_accum){INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MIN, UINT64_MAX, INT64_MAX};
	assert_in_range(accum_encode(&a, NULL, bytes), 1, ACCUM_ENCODED_SMALL);
}

static void test_kinds(void **state) {
	(void)state;
	enum metric_kind k;
	double q = 0;
	for (int i = 0; i < METRIC_KIND_COUNT; i++) {
		assert_true(metric_kind_parse(metric_kind_name((enum metric_kind)i), &k, &q));
		assert_int_equal(k, i);
	}
	assert_true(q == 0);
	assert_true(metric_kind_parse("p95", &k, &q) && k == METRIC_QUANTILE && q == 0.95);
	assert_true(metric_kind_parse("p99.9", &k, &q) && fabs(q - 0.999) < 1e-15);
	assert_true(metric_kind_parse("p5", &k, &q) && q == 0.05);
	static const char *const wrong[] = {"", "p", "p0", "p100", "p9x", "p99.", "p99.9.9", "p99.999999", "mean ", "q95"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_false(metric_kind_parse(wrong[i], &k, &q));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_gives_the_same_bytes),
		cmocka_unit_test(test_sums_are_exact),
		cmocka_unit_test(test_points),
		cmocka_unit_test(test_refusals_change_nothing),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
