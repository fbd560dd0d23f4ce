#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "core/rate.h"

static void validity(void **state)
{
	(void)state;
	static const struct {
		struct rate_config c;
		bool ok;
	} table[] = {
		{{.base_per_minute = 0}, true},
		{{.base_per_minute = 50}, true},
		{{.base_per_minute = -1}, false},
		{{.base_per_minute = NAN}, false},
		{{.base_per_minute = 2e6}, false},
		{{50, 2, 1000, RATE_BY_NOTIFIED, 100}, true},
		{{50, 2, 0, RATE_BY_SUCCEEDED, 100}, true},
		{{50, 2, 49, RATE_BY_NOTIFIED, 100}, false},
		{{50, 2, 2e6, RATE_BY_NOTIFIED, 100}, false},
		{{50, 0.5, 1000, RATE_BY_NOTIFIED, 100}, false},
		{{50, 5.1, 1000, RATE_BY_NOTIFIED, 100}, false},
		{{50, NAN, 1000, RATE_BY_NOTIFIED, 100}, false},
		{{50, 2, 1000, RATE_BY_NOTIFIED, 0}, false},
		{{50, 2, 1000, (enum rate_criterion)9, 100}, false},
	};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) assert_int_equal(rate_is_valid(&table[i].c), table[i].ok);
}

static void exponential_steps(void **state)
{
	const struct rate_config by_notified = {50, 2, 1000, RATE_BY_NOTIFIED, 100};
	const struct rate_config by_succeeded = {50, 1.5, 0, RATE_BY_SUCCEEDED, 10};
	(void)state;
	assert_true(rate_per_minute(&by_notified, 0, 999) == 50);
	assert_true(rate_per_minute(&by_notified, 99, 0) == 50);
	assert_true(rate_per_minute(&by_notified, 100, 0) == 100);
	assert_true(rate_per_minute(&by_notified, 399, 0) == 400);
	assert_true(rate_per_minute(&by_notified, 500, 0) == 1000); /* 1600 is above the maximum */
	assert_true(rate_per_minute(&by_notified, UINT32_MAX, 0) == 1000);
	assert_true(rate_per_minute(&by_succeeded, 999, 9) == 50);
	assert_true(rate_per_minute(&by_succeeded, 0, 20) == 112.5);
	assert_true(rate_per_minute(&by_succeeded, 0, UINT32_MAX) == RATE_MAX_PER_MINUTE);
}

/* Takes all that is allowed every step_ms; returns how many in the whole time. */
static uint32_t run(const struct rate_config *c, struct rate_state *s, int64_t from_ms, int64_t span_ms, int64_t step_ms)
{
	uint32_t sum = 0;
	for (int64_t t = from_ms; t < from_ms + span_ms; t += step_ms) {
		uint32_t n = rate_allowance(c, s, t, 0, 0);
		rate_take(c, s, n);
		sum += n;
	}
	return sum;
}

static void constant_rate_is_kept(void **state)
{
	static const int64_t steps[] = {1, 100, 777, 5000, 10000};
	const struct rate_config c = {.base_per_minute = 120};
	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct rate_state s = {0};
		uint32_t n = run(&c, &s, 1000, 600000, steps[i]);
		assert_in_range(n, 1180, 1201);
	}
	const struct rate_config slow = {.base_per_minute = 0.5};
	struct rate_state s = {0};
	assert_in_range(run(&slow, &s, 1000, 600000, 100), 5, 6);
}

static void bursts_are_bounded(void **state)
{
	const struct rate_config c = {.base_per_minute = 600};
	struct rate_state s = {0};
	(void)state;
	assert_int_equal(rate_allowance(&c, &s, 1000, 0, 0), 1);
	assert_int_equal(rate_allowance(&c, &s, 1000 + 86400000, 0, 0), 100); /* a day away gives ten seconds' worth */
	assert_int_equal(rate_allowance(&c, &s, 1000 + 86400000, 0, 0), 100); /* asking is not taking */
	rate_take(&c, &s, 100);
	assert_int_equal(rate_allowance(&c, &s, 1000 + 86400000, 0, 0), 0);
	assert_int_equal(rate_wait_ms(&c, &s, 0, 0), 100);
	assert_int_equal(rate_allowance(&c, &s, 5, 0, 0), 0); /* the clock went back */
	assert_int_equal(rate_allowance(&c, &s, 105, 0, 0), 1);
	assert_int_equal(rate_wait_ms(&c, &s, 0, 0), 0);
}

static void no_limit(void **state)
{
	const struct rate_config c = {0};
	struct rate_state s = {0};
	(void)state;
	assert_true(rate_allowance(&c, &s, 1, 0, 0) == RATE_UNLIMITED);
	rate_take(&c, &s, 1000000);
	assert_true(rate_allowance(&c, &s, 1, 0, 0) == RATE_UNLIMITED);
	assert_int_equal(rate_wait_ms(&c, &s, 0, 0), 0);
}

static void waiting_as_told_gives_a_token(void **state)
{
	const struct rate_config c = {.base_per_minute = 7};
	struct rate_state s = {0};
	int64_t now = 1;
	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(rate_allowance(&c, &s, now, 0, 0), 1);
		rate_take(&c, &s, 1);
		now += rate_wait_ms(&c, &s, 0, 0);
	}
	assert_in_range(now, 1000 * 60000 / 7, 1000 * 60000 / 7 + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(validity),         cmocka_unit_test(exponential_steps), cmocka_unit_test(constant_rate_is_kept),
		cmocka_unit_test(bursts_are_bounded), cmocka_unit_test(no_limit),        cmocka_unit_test(waiting_as_told_gives_a_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
