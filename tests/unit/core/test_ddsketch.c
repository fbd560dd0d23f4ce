/* DDSketch: vector V6 of docs/judge.md, the 2 % promise, exact merges, refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/ddsketch.h"

static struct ddsketch s, t, u;
static uint8_t bytes[DDSKETCH_ENCODED_MAX], other[DDSKETCH_ENCODED_MAX];

static uint32_t next(void) {
	static uint32_t state = 99;
	return (state = state * 1664525 + 1013904223) >> 8;
}

static void test_vector(void **state) {
	(void)state;
	static const struct {
		double v;
		int key;
	} keys[] = {{0.1, -57}, {1, 0}, {5, 41}, {20, 75}, {100, 116}, {1000, 173}, {60000, 276}};
	assert_true(fabs((1 + DDSKETCH_ALPHA) / (1 - DDSKETCH_ALPHA) - 1.040816326531) < 1e-12);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		assert_int_equal(ddsketch_key(keys[i].v), keys[i].key);
	ddsketch_init(&s);
	for (int v = 1; v <= 100; v++)
		assert_int_equal(ddsketch_add_value(&s, v), ERR_OK);
	static const struct {
		double q;
		int key;
		double value;
	} quantiles[] = {{0.50, 98, 49.418264611}, {0.95, 114, 93.728793692}, {0.99, 115, 97.554458741}};
	for (size_t i = 0; i < 3; i++) {
		double value = ddsketch_quantile(&s, quantiles[i].q);
		assert_true(value == ddsketch_key_value(quantiles[i].key));
		assert_true(fabs(value - quantiles[i].value) < 1e-8);
	}
	assert_true(fabs(ddsketch_share_above(&s, 50) - 0.5) < 0.03);
	assert_true(ddsketch_share_above(&s, 1e9) == 0);
}

static void test_two_percent(void **state) {
	(void)state;
	double sorted[1001];
	ddsketch_init(&s);
	for (int i = 0; i < 1001; i++) {
		sorted[i] = 0.01 * pow(1.013, i);
		assert_int_equal(ddsketch_add_value(&s, sorted[i]), ERR_OK);
	}
	for (int percent = 0; percent <= 100; percent++) {
		double true_value = sorted[percent * 10], value = ddsketch_quantile(&s, percent / 100.0);
		assert_true(fabs(value - true_value) <= 0.0200001 * true_value);
	}
}

static void test_merging_is_exact_in_any_order(void **state) {
	(void)state;
	ddsketch_init(&s);
	ddsketch_init(&t);
	ddsketch_init(&u);
	for (int i = 0; i < 500; i++) {
		int64_t key = (int64_t)(next() % 400) - 200;
		assert_int_equal(ddsketch_add_key(&s, key, 1 + i % 3), ERR_OK);
		assert_int_equal(ddsketch_add_key(i % 2 ? &t : &u, key, 1 + i % 3), ERR_OK);
	}
	struct ddsketch *copy = malloc(sizeof *copy);
	*copy = u;
	assert_int_equal(ddsketch_merge(copy, &t), ERR_OK);
	assert_memory_equal(copy, &s, sizeof s);
	assert_int_equal(ddsketch_merge(&t, &u), ERR_OK);
	assert_memory_equal(&t, &s, sizeof s);
	ddsketch_init(copy);
	assert_int_equal(ddsketch_merge(&t, copy), ERR_OK); /* an empty one changes nothing */
	assert_int_equal(ddsketch_merge(copy, &t), ERR_OK);
	assert_memory_equal(copy, &s, sizeof s);
	free(copy);
}

static void test_bytes(void **state) {
	(void)state;
	ddsketch_init(&s);
	size_t len = ddsketch_encode(&s, bytes);
	assert_int_equal(len, 2);
	assert_int_equal(ddsketch_decode(&t, bytes, len), ERR_OK);
	assert_true(t.n == 0 && isnan(ddsketch_quantile(&t, 0.5)) && isnan(ddsketch_share_above(&t, 1)));
	assert_int_equal(ddsketch_add_key(&s, DDSKETCH_KEY_MIN, 1), ERR_OK);
	assert_int_equal(ddsketch_add_key(&s, DDSKETCH_KEY_MAX, (uint64_t)1 << 61), ERR_OK);
	assert_int_equal(ddsketch_add_key(&s, 57, 3), ERR_OK);
	len = ddsketch_encode(&s, bytes);
	assert_int_equal(ddsketch_decode(&t, bytes, len), ERR_OK);
	assert_memory_equal(&t, &s, sizeof s);
	assert_int_equal(ddsketch_encode(&t, other), len);
	assert_memory_equal(bytes, other, len);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(ddsketch_decode(&t, bytes, cut), ERR_INVALID);
	bytes[len] = 0; /* trailing byte */
	assert_int_equal(ddsketch_decode(&t, bytes, len + 1), ERR_INVALID);
	assert_true(t.n == 0);
	static const uint8_t foreign[][8] = {
		{2, 0},                         /* another format */
		{1, 1, 5, 0},                   /* a count of 0 */
		{1, 2, 5, 1, 0, 1},             /* a key twice */
		{1, 2, 0xff, 0x0f, 1, 0x05, 1}, /* a key beyond the range */
		{1, 1, 0x81, 0x10, 1},          /* a step beyond the range */
		{1, 0xff, 0x7f},                /* more keys than there are */
	};
	static const size_t lens[] = {2, 4, 6, 7, 5, 3};
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
		assert_int_equal(ddsketch_decode(&t, foreign[i], lens[i]), ERR_INVALID);
}

static void test_refusals(void **state) {
	(void)state;
	ddsketch_init(&s);
	assert_int_equal(ddsketch_add_key(&s, DDSKETCH_KEY_MIN - 1, 1), ERR_INVALID);
	assert_int_equal(ddsketch_add_key(&s, DDSKETCH_KEY_MAX + 1, 1), ERR_INVALID);
	assert_int_equal(ddsketch_add_key(&s, 0, 0), ERR_INVALID);
	assert_int_equal(ddsketch_add_value(&s, NAN), ERR_INVALID);
	assert_int_equal(ddsketch_add_value(&s, INFINITY), ERR_INVALID);
	assert_int_equal(ddsketch_add_value(&s, -1), ERR_INVALID);
	assert_true(s.n == 0);
	assert_int_equal(ddsketch_add_key(&s, 0, DDSKETCH_COUNT_MAX), ERR_OK);
	assert_int_equal(ddsketch_add_key(&s, 0, 1), ERR_INVALID);
	ddsketch_init(&t);
	assert_int_equal(ddsketch_add_value(&t, 0), ERR_OK); /* zero counts under the lowest key */
	assert_int_equal(t.lo, DDSKETCH_KEY_MIN);
	assert_int_equal(ddsketch_merge(&s, &t), ERR_INVALID);
	assert_true(s.n == DDSKETCH_COUNT_MAX);
	assert_int_equal(ddsketch_key(1e300), DDSKETCH_KEY_MAX);
	assert_int_equal(ddsketch_key(1e-300), DDSKETCH_KEY_MIN);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_two_percent),
		cmocka_unit_test(test_merging_is_exact_in_any_order),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
