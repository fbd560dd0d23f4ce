/* Scores of each kind of metric. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/score.h"

static bool score(enum metric_kind kind, bool worse_down, double before, double after, double *y) {
	struct score_spec spec = {kind, worse_down};
	struct metric_point a = {10, 100, before}, b = {10, 100, after};
	return score_of(&spec, &a, &b, y);
}

static void test_kinds(void **state) {
	(void)state;
	static const struct {
		enum metric_kind kind;
		bool worse_down;
		double before, after, y;
	} rows[] = {
		{METRIC_RATIO, true, 0.92, 0.90, 0.02},      {METRIC_RATIO, false, 0.01, 0.04, 0.03},
		{METRIC_MEAN, false, 3, 5, 2},               {METRIC_MEAN, true, 3, 5, -2},
		{METRIC_LOGMEAN, false, 2, 4, 0.6931471806}, {METRIC_QUANTILE, false, 100, 110, 0.0953101798},
		{METRIC_QUANTILE, true, 100, 50, 0.6931471806}, {METRIC_EVENT, false, 7, 2, 2},
		{METRIC_EVENT, false, 0, 9, 3},              {METRIC_SILENCE, false, 0, 1, 1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		double y = NAN;
		assert_true(score(rows[i].kind, rows[i].worse_down, rows[i].before, rows[i].after, &y));
		assert_true(fabs(y - rows[i].y) < 1e-9);
	}
}

static void test_no_data(void **state) {
	(void)state;
	struct score_spec mean = {METRIC_MEAN, false}, event = {METRIC_EVENT, false};
	struct metric_point none = {0, 0, NAN}, one = {1, 1, 1};
	double y;
	assert_false(score_of(&mean, &none, &one, &y));
	assert_false(score_of(&mean, &one, &none, &y));
	assert_true(score_of(&event, &none, &one, &y));
	assert_false(score_of(&event, &one, &none, &y));
	assert_false(score(METRIC_LOGMEAN, false, 0, 1, &y));
	assert_false(score(METRIC_LOGMEAN, false, 1, -1, &y));
}

static void test_impossible_values(void **state) {
	(void)state;
	static const struct {
		enum metric_kind kind;
		struct metric_point p;
		bool valid;
	} rows[] = {
		{METRIC_RATIO, {1, 1, 1}, true},   {METRIC_RATIO, {1, 1, 1.01}, false}, {METRIC_RATIO, {1, 1, -0.01}, false},
		{METRIC_RATIO, {0, 0, NAN}, true}, {METRIC_MEAN, {1, 1, NAN}, false},   {METRIC_MEAN, {1, 1, INFINITY}, false},
		{METRIC_MEAN, {-1, 1, 1}, false},  {METRIC_MEAN, {1, -1, 1}, false},    {METRIC_EVENT, {1, 1, -1}, false},
		{METRIC_EVENT, {1, 1, 5}, true},   {METRIC_SILENCE, {1, 1, 2}, false},
	};
	const struct metric_point fine = {1, 1, 0.5};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(score_is_valid(rows[i].kind, &fine, &rows[i].p), rows[i].valid);
		assert_int_equal(score_is_valid(rows[i].kind, &rows[i].p, &fine), rows[i].valid);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_no_data),
		cmocka_unit_test(test_impossible_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
