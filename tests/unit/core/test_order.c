/* Sorting and selection against plain reference code. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/order.h"

static bool smaller(const void *ctx, uint32_t a, uint32_t b) {
	const int *values = ctx;
	return values[a] < values[b];
}

static uint32_t next(void) {
	static uint32_t s = 12345;
	return (s = s * 1664525 + 1013904223) >> 8;
}

static void test_sort_is_stable(void **state) {
	(void)state;
	int values[300] = {0};
	uint32_t index[300] = {0}, scratch[300];
	for (size_t count = 0; count <= 300; count += count < 20 ? 1 : 37) {
		for (size_t i = 0; i < count; i++) {
			values[i] = (int)(next() % 40);
			index[i] = (uint32_t)i;
		}
		order_sort(index, scratch, count, smaller, values);
		for (size_t i = 1; i < count; i++) {
			assert_true(values[index[i - 1]] <= values[index[i]]);
			assert_true(values[index[i - 1]] < values[index[i]] || index[i - 1] < index[i]);
		}
		order_sort(index, scratch, count, smaller, values); /* already sorted */
	}
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void test_select_and_median(void **state) {
	(void)state;
	double values[101], sorted[101];
	for (int trial = 0; trial < 500; trial++) {
		size_t count = 1 + next() % 101;
		for (size_t i = 0; i < count; i++)
			values[i] = sorted[i] = next() % (trial % 3 == 0 ? 5 : 1000);
		qsort(sorted, count, sizeof *sorted, compare);
		size_t k = next() % count;
		assert_true(order_select(values, count, k) == sorted[k]);
		double median = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
		assert_true(order_median(values, count) == median);
	}
	assert_true(isnan(order_median(values, 0)));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sort_is_stable),
		cmocka_unit_test(test_select_and_median),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
