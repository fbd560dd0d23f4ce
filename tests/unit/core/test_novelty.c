/* Density novelty: what it must see, what it must not do, and that it is a function of the past alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/novelty.h"

#define DAY 288 /* samples of five minutes */

static const struct novelty_pace recording = {.elapsed = 1};

/* Reproducible noise in [-1, 1). */
static float noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (float)(*state >> 8) / 8388608.0f - 1;
}

static float daily(unsigned i, uint32_t *state)
{
	return 20 + 5 * sinf((float)(i % DAY) / DAY * 6.2831853f) + noise(state);
}

static unsigned hour_of(unsigned i)
{
	return i % DAY * 24 / DAY;
}

static void a_spike_is_an_event(void **state)
{
	(void)state;
	struct novelty_full full = {0};
	struct novelty_compact compact = {0};
	uint32_t seed = 1;
	unsigned events = 0;
	for (unsigned i = 0; i < 14 * DAY; i++) {
		float x = daily(i, &seed);
		events += novelty_update_full(&full, x, hour_of(i), recording).is_event && i > DAY;
		novelty_update_compact(&compact, x, recording);
	}
	assert_in_range(events, 0, 3); /* it ranks; it does not page */
	struct novelty_result a = novelty_update_full(&full, 60, 0, recording), b = novelty_update_compact(&compact, 60, recording);
	assert_true(a.is_event && a.score > 0.5f && a.score <= 1);
	assert_true(b.is_event && b.score > 0.5f && b.score <= 1);
}

/* The level is one that it has every day, but not at this hour: only the form with seasons can know. */
static void a_day_that_stands_still_is_an_event(void **state)
{
	(void)state;
	struct novelty_full full = {0};
	uint32_t seed = 2;
	bool seen = false;
	for (unsigned i = 0; i < 14 * DAY; i++)
		novelty_update_full(&full, daily(i, &seed), hour_of(i), recording);
	for (unsigned i = 0; i < DAY; i++)
		seen |= novelty_update_full(&full, 15.5f + noise(&seed), hour_of(i), recording).is_event;
	assert_true(seen);
}

static void nothing_is_said_of_few_samples(void **state)
{
	(void)state;
	struct novelty_compact s = {0};
	for (int i = 0; i < 11; i++)
		assert_true(novelty_update_compact(&s, i % 2 ? 1e6f : -1e6f, recording).score == 0);
}

static void what_is_not_finite_changes_nothing(void **state)
{
	(void)state;
	struct novelty_full full = {0}, before;
	struct novelty_compact compact = {0}, compact_before;
	uint32_t seed = 3;
	for (unsigned i = 0; i < 500; i++) {
		float x = daily(i, &seed);
		novelty_update_full(&full, x, hour_of(i), recording);
		novelty_update_compact(&compact, x, recording);
	}
	const float bad[] = {NAN, INFINITY, -INFINITY};
	before = full;
	compact_before = compact;
	for (int i = 0; i < 3; i++) {
		assert_true(novelty_update_full(&full, bad[i], 3, recording).is_refused);
		assert_true(novelty_update_compact(&compact, bad[i], recording).is_refused);
	}
	assert_memory_equal(&full, &before, sizeof full);
	assert_memory_equal(&compact, &compact_before, sizeof compact);
}

static void extremes_do_not_break_it(void **state)
{
	(void)state;
	struct novelty_full s = {0};
	const float values[] = {0, 3e38f, -3e38f, 1e-40f, -0.0f, 3.4e38f, 1};
	for (unsigned i = 0; i < 5000; i++) {
		struct novelty_result r = novelty_update_full(&s, values[i * 7919u % 7], i / 12 % 24, (struct novelty_pace){2000, 1, 0});
		assert_true(r.score >= 0 && r.score <= 1);
	}
}

static void a_constant_series_is_dull_and_a_change_of_it_is_not(void **state)
{
	(void)state;
	struct novelty_compact s = {0};
	for (unsigned i = 0; i < 5000; i++)
		assert_false(novelty_update_compact(&s, 42, recording).is_event);
	assert_true(novelty_update_compact(&s, 43, recording).is_event);
}

static void who_cries_wolf_is_heard_less(void **state)
{
	(void)state;
	struct novelty_compact quiet = {0}, loud = {0};
	uint32_t a = 5, b = 5;
	for (unsigned i = 0; i < 6000; i++) {
		float x = noise(&a);
		novelty_update_compact(&quiet, x, recording);
		novelty_update_compact(&loud, i % 500 == 499 ? 3 + (float)i : noise(&b), recording);
	}
	assert_true(loud.level.events > quiet.level.events);
}

static void the_past_is_halved(void **state)
{
	(void)state;
	struct novelty_full s = {0};
	uint32_t seed = 6;
	for (unsigned i = 0; i < 20 * DAY; i++) {
		novelty_update_full(&s, daily(i, &seed), hour_of(i), (struct novelty_pace){4 * DAY, 1, 0});
		assert_true(s.level.n < 4 * DAY);
	}
	assert_true(s.level.n >= 2 * DAY);
}

static void a_known_range_is_kept(void **state)
{
	(void)state;
	struct novelty_compact s = {0};
	novelty_set_range(&s.level, 0, 1);
	for (unsigned i = 0; i < 400; i++)
		novelty_update_compact(&s, 0.5f, recording);
	assert_true(s.level.lo == 0 && s.level.hi == 1);
}

static void units_do_not_matter(void **state)
{
	(void)state;
	struct novelty_full a = {0}, b = {0};
	uint32_t seed = 7;
	unsigned differ = 0;
	for (unsigned i = 0; i < 10 * DAY; i++) {
		float x = daily(i, &seed);
		float s = novelty_update_full(&a, x, hour_of(i), recording).score, t = novelty_update_full(&b, 4 * x + 1024, hour_of(i), recording).score;
		differ += fabsf(s - t) > 0.05f;
	}
	assert_in_range(differ, 0, 10 * DAY / 50);
}

/* What a counter of one byte stands for: the definition, to hold the table against. */
static float worth(uint8_t code)
{
	return code < 16 ? code : ldexpf((float)(8 + (code - 16) % 8), (code - 16) / 8 + 1);
}

static void counters_count(void **state)
{
	(void)state;
	float sum = 0;
	for (uint32_t first = 0; first < 100; first++) {
		struct novelty_compact s = {.level = {.n = first * 1000003, .lo = 7, .hi = 7}};
		for (unsigned n = 1; n <= 2000; n++) {
			novelty_update_compact(&s, 7, recording);
			float counted = worth(s.level.bins[0]);
			if (n <= 16)
				assert_true(counted == (float)n);
			else
				assert_true(counted > 0.3f * (float)n && counted < 3 * (float)n);
		}
		sum += worth(s.level.bins[0]);
	}
	assert_float_equal(sum / 100, 2000, 200); /* each errs by a fifth, all together by none */
	struct novelty_compact full = {.level = {.n = 1, .lo = 7, .hi = 7, .bins = {255}}};
	for (unsigned n = 0; n < 1000; n++)
		novelty_update_compact(&full, 7, recording);
	assert_int_equal(full.level.bins[0], 255);
}

/* A series at its usual value for `quiet` samples, between two spikes: whether the second one is an event too. */
static bool is_second_event(const struct novelty_compact *past, uint16_t elapsed, unsigned quiet)
{
	const struct novelty_pace pace = {.elapsed = elapsed, .hold = 4 * 3600};
	struct novelty_compact s = *past;
	for (unsigned i = 0; i < 20000; i++)
		assert_false(novelty_update_compact(&s, 0, pace).is_event);
	assert_true(novelty_update_compact(&s, 90, pace).is_event);
	for (unsigned i = 0; i < quiet; i++)
		assert_false(novelty_update_compact(&s, 0, pace).is_event);
	return novelty_update_compact(&s, -90, pace).is_event;
}

static void a_hold_is_in_time(void **state)
{
	(void)state;
	struct novelty_compact past = {0};
	uint32_t seed = 8;
	for (unsigned i = 0; i < 5000; i++)
		novelty_update_compact(&past, noise(&seed), recording);
	const uint16_t cadences[] = {5, 300, 3600};
	for (unsigned i = 0; i < 3; i++) {
		unsigned hold = 4 * 3600 / cadences[i];
		assert_false(is_second_event(&past, cadences[i], hold - 1)); /* after four hours to the second */
		assert_true(is_second_event(&past, cadences[i], hold));
	}
	assert_true(is_second_event(&past, UINT16_MAX, 0)); /* a device that was away for longer than can be said */
	assert_true(is_second_event(&past, UINT16_MAX / 2 + 1, 1)); /* nothing wraps */
}

static void a_range_that_grows_leaves_the_season(void **state)
{
	(void)state;
	struct novelty_full s = {0};
	uint32_t seed = 9;
	for (unsigned i = 0; i < 5 * DAY + DAY / 2; i++)
		novelty_update_full(&s, daily(i, &seed), hour_of(i), recording);
	float lo = s.level.lo, hi = s.level.hi, expected[2] = {s.expected, 0};
	novelty_update_full(&s, 60, hour_of(DAY / 2 - 1), recording);
	assert_true(s.level.lo == lo && s.level.hi > hi);
	expected[1] = s.expected;
	assert_float_equal(expected[0], expected[1], 0.01f);
	assert_float_equal(expected[0], 20, 2); /* what daily() is at noon */
	float morning = s.level.lo + (float)s.season[6] / 65534 * (s.level.hi - s.level.lo);
	assert_float_equal(morning, 25, 1.5f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spike_is_an_event),
		cmocka_unit_test(a_day_that_stands_still_is_an_event),
		cmocka_unit_test(nothing_is_said_of_few_samples),
		cmocka_unit_test(what_is_not_finite_changes_nothing),
		cmocka_unit_test(extremes_do_not_break_it),
		cmocka_unit_test(a_constant_series_is_dull_and_a_change_of_it_is_not),
		cmocka_unit_test(who_cries_wolf_is_heard_less),
		cmocka_unit_test(the_past_is_halved),
		cmocka_unit_test(a_known_range_is_kept),
		cmocka_unit_test(units_do_not_matter),
		cmocka_unit_test(counters_count),
		cmocka_unit_test(a_hold_is_in_time),
		cmocka_unit_test(a_range_that_grows_leaves_the_season),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
