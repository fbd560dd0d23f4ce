/* The life of an alert: each move by hand, then random walks against what must always be true; storms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alert_life.h"

#define START INT64_C(1700000000000)
#define MINUTE 60000
#define HOUR ((int64_t)3600000)

static struct alert_life life;
static struct alert_policy policy;
static int64_t now;

static int fresh(void **state)
{
	(void)state;
	memset(&life, 0, sizeof life);
	policy = (struct alert_policy){0};
	now = START;
	return 0;
}

/* The state after the level, `passed` ms later. */
static enum alert_state feed(int64_t passed, enum alert_level level)
{
	now += passed;
	(void)alert_life_step(&policy, &life, level, now);
	return (enum alert_state)life.state;
}
#define OVER ALERT_LEVEL_OVER
#define UNDER ALERT_LEVEL_UNDER
#define BETWEEN ALERT_LEVEL_BETWEEN
#define STALE ALERT_LEVEL_STALE
#define TIME ALERT_LEVEL_NONE

static void at_once_without_for(void **state)
{
	(void)state;
	struct alert_step s = alert_life_step(&policy, &life, OVER, now);
	assert_true(s.moves && s.from == ALERT_STATE_INACTIVE && s.to == ALERT_STATE_FIRING && s.reason == ALERT_REASON_OVER);
	s = alert_life_step(&policy, &life, OVER, now + 1);
	assert_false(s.moves);
	s = alert_life_step(&policy, &life, UNDER, now + 2);
	assert_true(s.moves && s.to == ALERT_STATE_RESOLVED && s.reason == ALERT_REASON_CLEARED);
	assert_int_equal(life.fired_ms, START);
}

static void waits_for_its_time(void **state)
{
	(void)state;
	policy.for_ms = 5 * MINUTE;
	assert_int_equal(feed(0, OVER), ALERT_STATE_PENDING);
	assert_int_equal(alert_life_wake_ms(&policy, &life), START + 5 * MINUTE);
	assert_int_equal(feed(5 * MINUTE - 1, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(1, TIME), ALERT_STATE_FIRING);
}

static void interrupted_begins_anew(void **state)
{
	(void)state;
	policy.for_ms = 5 * MINUTE;
	feed(0, OVER);
	assert_int_equal(feed(4 * MINUTE, BETWEEN), ALERT_STATE_INACTIVE); /* not over any more, though not cleared either */
	feed(1, OVER);
	assert_int_equal(feed(4 * MINUTE, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(MINUTE, OVER), ALERT_STATE_FIRING);
}

static void k_of_the_last_n(void **state)
{
	(void)state;
	policy.k = 2;
	policy.n = 3;
	assert_int_equal(feed(0, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(1, UNDER), ALERT_STATE_PENDING);
	assert_int_equal(feed(1, UNDER), ALERT_STATE_PENDING);
	assert_int_equal(feed(1, UNDER), ALERT_STATE_INACTIVE);
	feed(1, OVER);
	feed(1, UNDER);
	assert_int_equal(feed(HOUR, TIME), ALERT_STATE_PENDING); /* time is no sample */
	assert_int_equal(feed(1, OVER), ALERT_STATE_FIRING);
	feed(1, UNDER);
	assert_int_equal(life.state, ALERT_STATE_RESOLVED);
	assert_int_equal(feed(1, OVER), ALERT_STATE_PENDING); /* the window began anew */
}

static void keeps_firing_between_thresholds(void **state)
{
	(void)state;
	policy.keep_ms = 2 * MINUTE;
	feed(0, OVER);
	assert_int_equal(feed(10 * HOUR, BETWEEN), ALERT_STATE_FIRING);
	assert_int_equal(feed(0, UNDER), ALERT_STATE_FIRING);
	assert_int_equal(alert_life_wake_ms(&policy, &life), now + 2 * MINUTE);
	assert_int_equal(feed(MINUTE, BETWEEN), ALERT_STATE_FIRING); /* which starts the time anew */
	feed(0, UNDER);
	assert_int_equal(feed(2 * MINUTE - 1, UNDER), ALERT_STATE_FIRING);
	assert_int_equal(feed(1, TIME), ALERT_STATE_RESOLVED);
}

static void missing_data_changes_nothing_until_it_times_out(void **state)
{
	(void)state;
	policy.keep_ms = MINUTE;
	policy.stale_ms = HOUR;
	feed(0, OVER);
	feed(0, UNDER);
	assert_int_equal(feed(30000, STALE), ALERT_STATE_FIRING);
	assert_true(life.is_stale);
	assert_int_equal(feed(30000, TIME), ALERT_STATE_FIRING); /* nobody knows whether it stayed under */
	now = START + HOUR;
	struct alert_step s = alert_life_step(&policy, &life, TIME, now);
	assert_true(s.moves && s.to == ALERT_STATE_RESOLVED && s.reason == ALERT_REASON_NO_DATA);
	assert_false(alert_life_step(&policy, &life, TIME, now).moves); /* and does not fire again by what was known before */
	assert_int_equal(feed(0, OVER), ALERT_STATE_FIRING);
	assert_false(life.is_stale);
}

static void pending_without_data_ends_too(void **state)
{
	(void)state;
	policy.for_ms = HOUR;
	policy.stale_ms = 10 * MINUTE;
	feed(0, OVER);
	assert_int_equal(feed(MINUTE, STALE), ALERT_STATE_PENDING);
	assert_int_equal(feed(9 * MINUTE, TIME), ALERT_STATE_INACTIVE);
}

static void without_a_time_out_it_stays(void **state)
{
	(void)state;
	feed(0, OVER);
	assert_int_equal(feed(1000 * HOUR, STALE), ALERT_STATE_FIRING);
	assert_int_equal(alert_life_wake_ms(&policy, &life), INT64_MAX);
}

static void flapping_is_suppressed_and_forgiven(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(feed(1000, OVER), ALERT_STATE_FIRING);
		assert_false(life.is_suppressed);
		assert_int_equal(feed(1000, UNDER), ALERT_STATE_RESOLVED);
	}
	feed(1000, OVER);
	assert_true(life.is_suppressed);
	assert_int_equal(life.flaps, 4);
	feed(1000, UNDER);
	feed(6 * HOUR, TIME); /* about 2: not yet below 1 */
	assert_true(life.is_suppressed);
	feed(6 * HOUR + MINUTE, TIME);
	assert_false(life.is_suppressed);
	assert_int_equal(life.state, ALERT_STATE_RESOLVED);
	int64_t wake = alert_life_wake_ms(&policy, &life);
	now = wake - MINUTE;
	assert_int_equal(feed(0, TIME), ALERT_STATE_RESOLVED);
	assert_int_equal(feed(MINUTE, TIME), ALERT_STATE_INACTIVE);
	struct alert_life zero = {0};
	assert_memory_equal(&life, &zero, sizeof life);
}

static void penalty_halves_in_six_hours(void **state)
{
	(void)state;
	feed(0, OVER);
	assert_float_equal(alert_life_penalty(&life, now), 1, 1e-6f);
	assert_float_equal(alert_life_penalty(&life, now + 6 * HOUR), 0.5f, 1e-6f);
	feed(6 * HOUR, UNDER); /* kept as of the move, and not halved twice */
	assert_float_equal(alert_life_penalty(&life, now), 0.5f, 1e-6f);
	assert_float_equal(alert_life_penalty(&life, now + 6 * HOUR), 0.25f, 1e-6f);
}

static void delay_grows_with_flapping(void **state)
{
	(void)state;
	static const int64_t expected[] = {120000, 180000, 270000, 405000};
	policy = (struct alert_policy){.keep_ms = 2 * MINUTE, .is_damped = true};
	for (int i = 0; i < 4; i++) {
		feed(1, OVER);
		assert_int_equal(life.delay_ms, expected[i]);
		feed(1, UNDER);
		assert_int_equal(feed(expected[i] - 1, TIME), ALERT_STATE_FIRING);
		assert_int_equal(feed(1, TIME), ALERT_STATE_RESOLVED);
	}
	for (int i = 0; i < 20; i++) {
		feed(1, OVER);
		feed(1, UNDER);
		feed(HOUR, TIME);
	}
	feed(1, OVER);
	assert_int_equal(life.delay_ms, HOUR);
	feed(1, UNDER);
	feed(HOUR, TIME);
	feed(60 * HOUR, TIME);
	feed(1, OVER);
	assert_int_equal(life.delay_ms, 2 * MINUTE); /* forgiven */
}

static void ended_from_outside(void **state)
{
	(void)state;
	struct alert_step s = alert_life_end(&life, now);
	assert_false(s.moves);
	feed(0, OVER);
	s = alert_life_end(&life, now + 5);
	assert_true(s.moves && s.from == ALERT_STATE_FIRING && s.to == ALERT_STATE_RESOLVED);
	s = alert_life_end(&life, now + 6);
	assert_true(s.moves && s.to == ALERT_STATE_INACTIVE);
	policy.for_ms = 10;
	feed(0, OVER);
	s = alert_life_end(&life, now);
	assert_true(s.from == ALERT_STATE_PENDING && s.to == ALERT_STATE_INACTIVE && life.over_ms == 0);
}

static void a_clock_that_jumps_back_moves_nothing(void **state)
{
	(void)state;
	policy = (struct alert_policy){.for_ms = MINUTE, .keep_ms = MINUTE};
	feed(0, OVER);
	assert_int_equal(feed(-MINUTE, OVER), ALERT_STATE_PENDING);
	assert_int_equal(life.over_ms, START);
	now = START + MINUTE;
	assert_int_equal(feed(0, TIME), ALERT_STATE_FIRING);
}

/* Nothing waits until the clock is there again: what has passed of each time stays passed. */
static void a_clock_that_is_set_back_is_followed(void **state)
{
	(void)state;
	policy = (struct alert_policy){.for_ms = 10 * MINUTE, .keep_ms = 10 * MINUTE, .stale_ms = 2 * HOUR, .is_damped = true};
	assert_int_equal(feed(0, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(6 * MINUTE, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(-24 * HOUR, TIME), ALERT_STATE_PENDING);
	assert_int_equal(alert_life_wake_ms(&policy, &life), now + 4 * MINUTE);
	assert_int_equal(feed(3 * MINUTE, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(MINUTE, OVER), ALERT_STATE_FIRING);
	feed(MINUTE, UNDER);
	assert_int_equal(feed(-24 * HOUR, UNDER), ALERT_STATE_FIRING);
	assert_int_equal(feed(10 * MINUTE, UNDER), ALERT_STATE_RESOLVED);
	float penalty = alert_life_penalty(&life, now);
	feed(-24 * HOUR, TIME);
	assert_true(alert_life_penalty(&life, now) == penalty); /* flapping is forgotten at the same pace */
	assert_int_equal(feed(10 * MINUTE, OVER), ALERT_STATE_PENDING);
	assert_int_equal(feed(10 * MINUTE, OVER), ALERT_STATE_FIRING);
	now -= 24 * HOUR;
	alert_life_follow_clock(&life, now); /* nothing is heard of it any more */
	assert_int_equal(alert_life_wake_ms(&policy, &life), now + 2 * HOUR);
	assert_int_equal(feed(2 * HOUR, TIME), ALERT_STATE_RESOLVED);
}

static void moves_are_the_table_s(void **state)
{
	(void)state;
	int allowed = 0;
	for (int f = 0; f < ALERT_STATES; f++)
		for (int t = 0; t < ALERT_STATES; t++)
			allowed += alert_can_move((enum alert_state)f, (enum alert_state)t);
	assert_int_equal(allowed, 9);
	assert_false(alert_can_move(ALERT_STATE_FIRING, ALERT_STATE_INACTIVE)); /* nobody would be told that it is over */
	assert_false(alert_can_move(ALERT_STATE_FIRING, ALERT_STATE_PENDING));
	assert_string_equal(alert_state_name(ALERT_STATE_PENDING), "pending");
	assert_string_equal(alert_reason_name(ALERT_REASON_NO_DATA), "no_data");
}

static void policies_are_checked(void **state)
{
	(void)state;
	assert_true(alert_policy_is_valid(&(struct alert_policy){.k = 2, .n = 3}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.k = 4, .n = 3}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.k = 0, .n = 3}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.k = 2, .n = 17}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.k = 2, .n = 3, .for_ms = 1}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.for_ms = -1}));
	assert_false(alert_policy_is_valid(&(struct alert_policy){.keep_ms = -1}));
}

/* ---- random walks ---- */

static uint32_t random_state = 1;
static uint32_t draw(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

static struct alert_policy any_policy(void)
{
	struct alert_policy p = {.keep_ms = (int64_t)draw(4) * MINUTE, .stale_ms = (int64_t)draw(3) * 20 * MINUTE, .is_damped = draw(2) == 1};
	if (draw(2) == 1) {
		p.n = (uint8_t)(1 + draw(ALERT_WINDOW_MAX));
		p.k = (uint8_t)(1 + draw(p.n));
	} else {
		p.for_ms = (int64_t)draw(4) * MINUTE;
	}
	return p;
}

static void check_step(const struct alert_life *before, const struct alert_step *s, enum alert_level level)
{
	if (!s->moves) {
		assert_int_equal(before->state, life.state);
		return;
	}
	assert_true(alert_can_move(s->from, s->to));
	assert_int_equal(before->state, s->from);
	assert_int_equal(life.state, s->to);
	if (s->to == ALERT_STATE_FIRING) {
		assert_true(life.level == ALERT_LEVEL_OVER || policy.n > 0);
		assert_true(level == OVER || level == TIME || policy.n > 0);
		assert_true(policy.n > 0 || now - life.over_ms >= policy.for_ms);
		assert_int_equal(life.flaps, before->flaps + 1);
	}
	if (s->from == ALERT_STATE_FIRING && s->reason == ALERT_REASON_CLEARED)
		assert_true(before->under_ms > 0 ? now - before->under_ms >= policy.keep_ms : policy.keep_ms == 0);
	if (s->from == ALERT_STATE_FIRING && s->reason == ALERT_REASON_NO_DATA)
		assert_true(policy.stale_ms > 0);
}

static void check_state(void)
{
	assert_true(life.state < ALERT_STATES);
	assert_true(life.penalty >= 0 && life.penalty < 200);
	assert_true(life.over_ms == 0 || life.under_ms == 0);
	assert_true(life.delay_ms <= ALERT_DELAY_MAX_MS);
	assert_true(life.is_suppressed <= (alert_life_penalty(&life, now) >= ALERT_PENALTY_REUSE));
	if (life.state == ALERT_STATE_INACTIVE)
		assert_true(life.flaps == 0 && life.over_ms == 0);
}

static void random_walks(void **state)
{
	(void)state;
	int fired = 0, resolved = 0, suppressed = 0;
	for (int walk = 0; walk < 400; walk++) {
		fresh(NULL);
		policy = any_policy();
		for (int i = 0; i < 500; i++) {
			static const enum alert_level levels[] = {TIME, UNDER, BETWEEN, OVER, STALE, OVER, UNDER, OVER};
			enum alert_level level = levels[draw(8)];
			now += (int64_t)draw(3) * draw(2 * MINUTE) + (draw(100) == 0 ? (int64_t)draw(30) * HOUR : 0);
			struct alert_life before = life;
			/* What wakes nobody must not move. */
			int64_t slack = life.state == ALERT_STATE_RESOLVED ? 20000 : 0; /* it is woken a little late, for rounding's sake */
			if (level == TIME && now < alert_life_wake_ms(&policy, &life) - slack && life.state != ALERT_STATE_INACTIVE) {
				struct alert_step quiet = alert_life_step(&policy, &life, TIME, now);
				assert_true(!quiet.moves);
			}
			struct alert_step s = alert_life_step(&policy, &life, level, now);
			check_step(&before, &s, level);
			check_state();
			fired += s.moves && s.to == ALERT_STATE_FIRING;
			resolved += s.moves && s.from == ALERT_STATE_FIRING;
			suppressed += life.is_suppressed;
		}
	}
	assert_true(fired > 1000 && resolved > 1000 && suppressed > 1000);
	assert_true(fired - resolved >= 0 && fired - resolved <= 400);
}

/* ---- storms ---- */

static void storm_begins_above_its_limit(void **state)
{
	(void)state;
	struct alert_storm s = {0};
	assert_int_equal(alert_storm_limit(100), 50);
	assert_int_equal(alert_storm_limit(100000), 1000);
	for (int i = 0; i < 50; i++)
		assert_false(alert_storm_fire(&s, 50, now + i));
	assert_true(alert_storm_fire(&s, 50, now + 60));
	assert_false(alert_storm_fire(&s, 50, now + 61)); /* once */
	assert_true(s.is_on);
	assert_int_equal(s.firing, 52);
}

static void slow_alerts_are_no_storm(void **state)
{
	(void)state;
	struct alert_storm s = {0};
	for (int i = 0; i < 1000; i++)
		assert_false(alert_storm_fire(&s, 50, now + i * (int64_t)7000)); /* 43 in five minutes */
	assert_true(alert_storm_recent(&s, now + 999 * (int64_t)7000) <= 50);
	assert_int_equal(alert_storm_recent(&s, now + 999 * (int64_t)7000 + HOUR), 0);
}

static void storm_counts_go_on_after_the_clock_was_set_back(void **state)
{
	(void)state;
	struct alert_storm s = {0};
	for (int i = 0; i < 40; i++)
		(void)alert_storm_fire(&s, 50, now);
	now -= 24 * (int64_t)HOUR;
	assert_int_equal(alert_storm_recent(&s, now), 40);
	for (int i = 0; i < 40; i++)
		(void)alert_storm_fire(&s, 100, now + i * (int64_t)60000); /* five in five minutes: those from before are forgotten */
	assert_true(alert_storm_recent(&s, now + 40 * (int64_t)60000) <= 6);
}

static void storm_ends_when_devices_recover(void **state)
{
	(void)state;
	struct alert_storm s = {0};
	for (int i = 0; i < 60; i++)
		(void)alert_storm_fire(&s, 50, now);
	assert_false(alert_storm_tick(&s, 50, now + MINUTE)); /* they are new */
	for (int i = 0; i < 40; i++)
		alert_storm_resolve(&s);
	assert_false(alert_storm_tick(&s, 50, now + 2 * MINUTE)); /* so they are still, though most are over */
	assert_true(alert_storm_tick(&s, 50, now + HOUR));
	assert_false(alert_storm_tick(&s, 50, now + HOUR));
	for (int i = 0; i < 40; i++)
		alert_storm_resolve(&s);
	assert_int_equal(s.firing, 0);
}

static void storm_lasts_while_its_devices_fire(void **state)
{
	(void)state;
	struct alert_storm s = {0};
	for (int i = 0; i < 60; i++)
		(void)alert_storm_fire(&s, 50, now);
	assert_false(alert_storm_tick(&s, 50, now + 10 * HOUR));
	assert_true(s.is_on);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup(fn, fresh)
	const struct CMUnitTest tests[] = {
		CASE(at_once_without_for), CASE(waits_for_its_time), CASE(interrupted_begins_anew), CASE(k_of_the_last_n),
		CASE(keeps_firing_between_thresholds), CASE(missing_data_changes_nothing_until_it_times_out), CASE(pending_without_data_ends_too),
		CASE(without_a_time_out_it_stays), CASE(flapping_is_suppressed_and_forgiven), CASE(penalty_halves_in_six_hours),
		CASE(delay_grows_with_flapping), CASE(ended_from_outside), CASE(a_clock_that_jumps_back_moves_nothing),
		CASE(a_clock_that_is_set_back_is_followed), CASE(moves_are_the_table_s),
		CASE(policies_are_checked), CASE(random_walks), CASE(storm_begins_above_its_limit), CASE(slow_alerts_are_no_storm),
		CASE(storm_counts_go_on_after_the_clock_was_set_back), CASE(storm_ends_when_devices_recover), CASE(storm_lasts_while_its_devices_fire),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
