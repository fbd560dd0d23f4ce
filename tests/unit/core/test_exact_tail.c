/* Exact tails: vectors V1 and V4 of docs/judge.md, comparison with enumeration, limits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exact_tail.h"

#define MEMBERS_MAX 60000

static double workspace[400000];
static int32_t x[MEMBERS_MAX];
static uint32_t sizes[2100];

static struct exact_tail tail(size_t blocks, int64_t s) {
	struct exact_tail t;
	exact_tail(x, sizes, blocks, s, &t, workspace, sizeof workspace);
	return t;
}

static double bound(size_t blocks, int64_t s) {
	return exact_tail_chernoff(x, sizes, blocks, s, workspace, sizeof workspace);
}

static void put(size_t blocks, uint32_t size, const int32_t *values) {
	memcpy(x, values, blocks * size * sizeof *x);
	for (size_t b = 0; b < blocks; b++)
		sizes[b] = size;
}

static void test_vectors(void **state) {
	(void)state;
	static const struct {
		size_t blocks;
		uint32_t size;
		int32_t x[24];
		int64_t s;
		const char *fraction;
		double p, chernoff;
	} rows[] = {
		{3, 4, {5, 1, 0, 2, 3, 3, 1, 0, 7, 2, 2, 4}, 15, "1/32", 0.03125, 0.03125},
		{3, 5, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 3, "1/125", 0.008, 0.00866},
		{4, 5, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0}, 3, "17/625", 0.0272, 0.0607},
		{4, 3, {2, -1, -1, 1, 1, -2, 0, 0, 0, 3, -3, 0}, 6, "2/27", 2.0 / 27, 0.0741},
		{5, 3, {0}, 0, "1/1", 1, 1},
		{2, 4, {-3, 1, 1, 1, -3, 1, 1, 1}, -6, "1/1", 1, 1},
		{6, 4, {16, 4, -21, -4, 18, 5, -7, -5, 20, -4, 4, -9, 5, -18, -5, 7, 15, 3, -23, -3, 2, -16, -2, 3}, 76,
		"1/1024",
			1.0 / 1024, 0.00204042},
		{5, 4, {32, -3, 3, -5, 32, -10, -7, 7, 32, 4, -4, -5, 32, -1, 1, -8, 32, -6, 4, -4}, 160, "1/1024",
		1.0 / 1024, 1.0 / 1024},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		put(rows[i].blocks, rows[i].size, rows[i].x);
		struct exact_tail t = tail(rows[i].blocks, rows[i].s);
		assert_true(t.is_exact);
		assert_true(t.p == rows[i].p);
		assert_string_equal(t.fraction, rows[i].fraction);
		double b = bound(rows[i].blocks, rows[i].s);
		assert_true(b >= t.p && fabs(b - rows[i].chernoff) < 0.006 * rows[i].chernoff);
	}
}

/* n blocks of r+1; `canaries` blocks with a silent canary, `controls` others with a silent control. */
static double silence(size_t n, uint32_t r, size_t canaries, size_t controls) {
	memset(x, 0, sizeof x);
	for (size_t b = 0; b < n; b++) {
		sizes[b] = r + 1;
		x[b * (r + 1)] = b < canaries;
		x[b * (r + 1) + 1] = b >= canaries && b < canaries + controls;
	}
	return tail(n, (int64_t)canaries).p;
}

static void test_silence_vectors(void **state) {
	(void)state;
	assert_true(fabs(silence(20, 9, 3, 0) - 0.001) < 1e-18);
	assert_true(fabs(silence(20, 31, 3, 0) - 3.0517578125e-5) < 1e-18);
	assert_true(fabs(silence(50, 99, 3, 0) - 1e-6) < 1e-20);
	assert_true(fabs(silence(50, 99, 3, 5) - 5.39333e-5) < 5e-11);
}

static uint32_t random_below(uint32_t bound_) {
	static uint64_t s = 42;
	s = s * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(s >> 33) % bound_;
}

/* All ways, one by one. */
static double enumerate(size_t blocks, int64_t s) {
	uint64_t ways = 1, hits = 0;
	for (size_t b = 0; b < blocks; b++)
		ways *= sizes[b];
	for (uint64_t way = 0; way < ways; way++) {
		uint64_t rest = way;
		int64_t sum = 0;
		const int32_t *at = x;
		for (size_t b = 0; b < blocks; at += sizes[b++]) {
			sum += at[rest % sizes[b]];
			rest /= sizes[b];
		}
		hits += sum >= s;
	}
	return (double)hits / (double)ways;
}

static void test_against_enumeration(void **state) {
	(void)state;
	for (int trial = 0; trial < 300; trial++) {
		size_t blocks = 1 + random_below(6), members = 0;
		int64_t s = 0;
		for (size_t b = 0; b < blocks; b++) {
			sizes[b] = 1 + random_below(5);
			uint32_t span = 1 + random_below(20);
			for (uint32_t i = 0; i < sizes[b]; i++)
				x[members + i] = (int32_t)random_below(span) - 10;
			s += x[members + random_below(sizes[b])];
			members += sizes[b];
		}
		s += random_below(3);
		double p = enumerate(blocks, s);
		struct exact_tail t = tail(blocks, s);
		assert_true(fabs(t.p - p) <= 1e-15);
		assert_true(bound(blocks, s) >= p * (1 - 1e-9));
	}
}

/* Too many outcomes for a fraction: doubles. The same blocks with less of them agree with the integers within the
 * error bound. */
static void test_doubles_agree(void **state) {
	(void)state;
	for (size_t b = 0; b < 30; b++) {
		sizes[b] = 10;
		for (uint32_t i = 0; i < 10; i++)
			x[b * 10 + i] = (int32_t)random_below(40) - 20;
	}
	struct exact_tail wide = tail(30, 100);
	assert_true(wide.fraction[0] != '\0');
	/* blocks that only ever add one of 0 and 0 with a hundred others: constant, so still a fraction */
	sizes[30] = 7;
	memset(x + 300, 0, 7 * sizeof *x);
	assert_string_equal(tail(31, 100).fraction, wide.fraction);
	/* 20 blocks of 97 members with one -1000 each make the denominator too large; the tail changes by what they can
	 * take away */
	size_t at = 300;
	for (size_t b = 30; b < 50; b++) {
		sizes[b] = 97;
		for (uint32_t i = 0; i < 97; i++)
			x[at++] = i == 0 ? -1000 : 0;
	}
	struct exact_tail t = tail(50, 100);
	assert_true(t.is_exact && t.fraction[0] == '\0');
	double expected = wide.p * pow(96.0 / 97, 20); /* one -1000 is out of reach of the rest */
	assert_true(fabs(t.p - expected) <= (t.error + wide.error + 1e-13) * expected);
	assert_true(t.error < 1e-10);
}

static void test_above_512_blocks(void **state) {
	(void)state;
	int64_t s = 1000;
	for (size_t b = 0; b < 600; b++) {
		sizes[b] = 10;
		for (uint32_t i = 0; i < 10; i++)
			x[b * 10 + i] = (int32_t)random_below(41) - 20;
	}
	struct exact_tail t = tail(600, s), half = tail(512, s);
	assert_false(t.is_exact);
	assert_true(half.is_exact);
	assert_true(t.p < 0.01 && t.p > 0);
	assert_true(t.p == bound(600, s));
	assert_true(tail(600, -1000).p == 1);
	assert_true(tail(600, 600 * 20 + 1).p == 0);
	/* constant blocks do not count towards the 512 */
	for (size_t b = 0; b < 600; b++)
		for (uint32_t i = 0; i < 10 && b >= 5; i++)
			x[b * 10 + i] = 3;
	assert_true(tail(600, 595 * 3).is_exact);
}

/* What can be spent is a value that p takes, within the budget, and the next larger one is not. */
static void test_attainable(void **state) {
	(void)state;
	for (int trial = 0; trial < 200; trial++) {
		size_t blocks = 1 + random_below(5), members = 0;
		int64_t most = 0;
		for (size_t b = 0; b < blocks; b++) {
			int32_t max = 0;
			sizes[b] = 2 + random_below(4);
			for (uint32_t i = 0; i < sizes[b]; i++) {
				x[members + i] = (int32_t)random_below(4);
				max = x[members + i] > max ? x[members + i] : max;
			}
			most += max;
			members += sizes[b];
		}
		double budget = (1.3 + random_below(400)) / 1000.0, expected = 0;
		for (int64_t s = most; s >= 0 && enumerate(blocks, s) <= budget; s--)
			expected = enumerate(blocks, s);
		double spent = exact_tail_attainable(x, sizes, blocks, budget, workspace, sizeof workspace);
		assert_true(fabs(spent - expected) < 1e-12);
	}
	/* scores: all of it, or nothing where even the most extreme draw is too likely */
	put(3, 4, (const int32_t[]){20, 1, 0, 2, 30, 3, 1, 0, 17, 2, 2, 4});
	assert_true(exact_tail_attainable(x, sizes, 3, 0.02, workspace, sizeof workspace) == 0.02);
	assert_true(exact_tail_attainable(x, sizes, 3, 0.01, workspace, sizeof workspace) == 0);
	memset(x, 0, sizeof x); /* nobody is silent: nothing is spent */
	assert_true(exact_tail_attainable(x, sizes, 3, 0.4, workspace, sizeof workspace) == 0);
	assert_true(exact_tail_attainable(x, sizes, 0, 0.4, workspace, sizeof workspace) == 0);
}

static void test_limits(void **state) {
	(void)state;
	assert_true(tail(0, 0).p == 1);
	assert_true(tail(0, 1).p == 0);
	assert_true(bound(0, 0) == 1 && bound(0, 1) == 0);
	put(1, 3, (const int32_t[]){EXACT_TAIL_X_MAX, -EXACT_TAIL_X_MAX, 0});
	assert_string_equal(tail(1, EXACT_TAIL_X_MAX).fraction, "1/3");
	put(2, 2, (const int32_t[]){4, 4, 4, 4});
	assert_string_equal(tail(2, 8).fraction, "1/1");
	assert_true(bound(2, 8) == 1 && bound(2, 9) == 0);
	/* a target above every sum */
	put(2, 2, (const int32_t[]){4, 1, 4, 2});
	assert_true(tail(2, 9).p == 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_silence_vectors),
		cmocka_unit_test(test_against_enumeration),
		cmocka_unit_test(test_doubles_agree),
		cmocka_unit_test(test_above_512_blocks),
		cmocka_unit_test(test_attainable),
		cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
