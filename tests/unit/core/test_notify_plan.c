/* When somebody is told, and when a receiver is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/notify_plan.h"

static const struct notify_timing timing = {NOTIFY_WAIT_MS, NOTIFY_INTERVAL_MS, NOTIFY_REPEAT_MS};
#define T0 INT64_C(1700000000000)

static void a_group_waits_then_rests_then_repeats(void **state)
{
	(void)state;
	struct notify_track t = {0};
	assert_int_equal(notify_due_ms(&timing, &t, T0), NOTIFY_NEVER);
	notify_note_change(&t, T0);
	notify_note_change(&t, T0 + 20000); /* the first one counts */
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 20000), T0 + 30000);
	assert_int_equal(notify_look(&timing, &t, true, true, false, T0 + 30000), NOTIFY_TELL);
	assert_int_equal(t.seq, 1);
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 30000), T0 + 30000 + NOTIFY_REPEAT_MS);
	notify_note_change(&t, T0 + 40000);
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 40000), T0 + 30000 + NOTIFY_INTERVAL_MS);
	assert_int_equal(notify_look(&timing, &t, true, false, false, T0 + 330000), NOTIFY_TELL); /* resolved: told, not repeated */
	assert_int_equal(t.seq, 2);
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 330000), NOTIFY_NEVER);
	notify_note_change(&t, T0 + 900000); /* long after: the wait alone */
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 900000), T0 + 930000);
}

static void what_fires_is_told_again_and_only_that(void **state)
{
	(void)state;
	struct notify_track t = {.told_ms = T0, .seq = 1, .was_firing = true};
	assert_int_equal(notify_look(&timing, &t, false, true, false, T0 + NOTIFY_REPEAT_MS - 1), NOTIFY_NOTHING);
	assert_int_equal(notify_look(&timing, &t, false, true, false, T0 + NOTIFY_REPEAT_MS), NOTIFY_TELL);
	assert_int_equal(t.told_ms, T0 + NOTIFY_REPEAT_MS);
	assert_int_equal(notify_look(&timing, &t, false, false, false, T0 + 2 * NOTIFY_REPEAT_MS), NOTIFY_NOTHING);
	assert_false(t.was_firing);
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 2 * NOTIFY_REPEAT_MS), NOTIFY_NEVER);
	assert_int_equal(t.seq, 2);
}

static void what_is_muted_is_looked_at_again(void **state)
{
	(void)state;
	struct notify_track t = {0};
	notify_note_change(&t, T0);
	assert_int_equal(notify_look(&timing, &t, false, false, true, T0 + 30000), NOTIFY_NOTHING);
	assert_int_equal(t.seq, 0);
	assert_int_equal(notify_due_ms(&timing, &t, T0 + 30000), T0 + 30000 + NOTIFY_INTERVAL_MS);
	assert_int_equal(notify_look(&timing, &t, true, true, false, T0 + 330000), NOTIFY_TELL);
}

static void a_clock_that_went_back_holds_nothing_up(void **state)
{
	(void)state;
	struct notify_track t = {.told_ms = T0 + 86400000, .first_ms = T0 + 86400000, .was_firing = true};
	assert_int_equal(notify_due_ms(&timing, &t, T0), T0 + NOTIFY_INTERVAL_MS);
}

/* 100,000 changes of a group in 60 s, and 10 minutes after them, looked at each 100 ms. */
static void a_storm_is_one_notification_and_one_more(void **state)
{
	(void)state;
	struct notify_track t = {0};
	unsigned in_a_minute = 0, in_all = 0, changed = 0;
	for (int64_t ms = 0; ms < 660000; ms += 100) {
		for (int i = 0; i < 167 && ms < 60000; i++, changed++)
			notify_note_change(&t, T0 + ms);
		if (notify_due_ms(&timing, &t, T0 + ms) > T0 + ms)
			continue;
		in_all += notify_look(&timing, &t, changed > 0, true, false, T0 + ms) == NOTIFY_TELL;
		in_a_minute += ms <= 60000 && in_all > in_a_minute;
		changed = 0;
	}
	assert_int_equal(in_a_minute, 1);
	assert_int_equal(in_all, 2);
}

static void answers_are_judged(void **state)
{
	(void)state;
	for (int status = 0; status < 700; status++) {
		enum notify_outcome wanted = status >= 200 && status < 300 ? NOTIFY_DELIVERED : NOTIFY_REFUSED;
		if (status < 200 || status == 408 || status == 429 || status >= 500)
			wanted = NOTIFY_RETRY;
		assert_int_equal(notify_judge_http(status), wanted);
	}
	assert_int_equal(notify_judge_smtp(true, 250), NOTIFY_DELIVERED);
	assert_int_equal(notify_judge_smtp(false, 0), NOTIFY_RETRY);
	assert_int_equal(notify_judge_smtp(false, 250), NOTIFY_RETRY);
	assert_int_equal(notify_judge_smtp(false, 451), NOTIFY_RETRY);
	assert_int_equal(notify_judge_smtp(false, 550), NOTIFY_REFUSED);
}

static void retries_grow_to_five_minutes_and_honour_what_is_asked(void **state)
{
	(void)state;
	for (int64_t n = 1; n < 200; n++) {
		int64_t most = n > 9 ? NOTIFY_RETRY_CAP_MS : (int64_t)1000 << (n - 1);
		if (most > NOTIFY_RETRY_CAP_MS)
			most = NOTIFY_RETRY_CAP_MS;
		for (uint64_t random = 0; random < 5000; random += 499)
			assert_in_range(notify_retry_ms(n, 0, random * 7919), most / 2, most);
	}
	assert_int_equal(notify_retry_ms(1, 7000, 0), 7000);
	assert_in_range(notify_retry_ms(9, 7000, 0), 128000, 256000); /* not sooner than by itself */
	assert_int_equal(notify_retry_ms(1, INT64_MAX, 0), NOTIFY_GIVE_UP_MS);
}

static void a_circuit_opens_lets_one_try_and_closes(void **state)
{
	(void)state;
	struct notify_circuit c = {0};
	int64_t now = T0;
	assert_int_equal(notify_circuit_room(&c, now), 2);
	notify_circuit_begin(&c);
	assert_int_equal(notify_circuit_room(&c, now), 1);
	notify_circuit_begin(&c);
	assert_int_equal(notify_circuit_room(&c, now), 0);
	notify_circuit_end(&c, NOTIFY_RETRY, 0, 0, now);
	notify_circuit_end(&c, NOTIFY_RETRY, 0, 0, now);
	assert_false(notify_circuit_is_open(&c));
	assert_int_equal(notify_circuit_room(&c, now), 2);
	for (int i = 0; i < 30; i++) {
		notify_circuit_begin(&c);
		notify_circuit_end(&c, NOTIFY_RETRY, 0, 0, now);
		assert_true(notify_circuit_is_open(&c));
		assert_int_equal(notify_circuit_room(&c, now), 0);
		assert_in_range(c.closed_until_ms, now + 500, now + NOTIFY_RETRY_CAP_MS);
		now = c.closed_until_ms;
		assert_int_equal(notify_circuit_room(&c, now), 1);
	}
	assert_int_equal(notify_circuit_room(&c, now - 10 * NOTIFY_GIVE_UP_MS), 1); /* a clock far behind */
	notify_circuit_begin(&c);
	assert_int_equal(notify_circuit_room(&c, now), 0);
	notify_circuit_end(&c, NOTIFY_REFUSED, 0, 0, now);
	assert_false(notify_circuit_is_open(&c));
	assert_int_equal(notify_circuit_room(&c, now), 2);
	notify_circuit_begin(&c);
	notify_circuit_end(&c, NOTIFY_RETRY, 9000, 0, now); /* the first failure, but it asked for time */
	assert_int_equal(notify_circuit_room(&c, now + 8999), 0);
	assert_int_equal(notify_circuit_room(&c, now + 9000), 2);
}

static void a_receiver_is_told_so_often_and_the_others_have_turns(void **state)
{
	(void)state;
	int64_t slot = 0, now = 1000000;
	assert_int_equal(notify_rate_turn_ms(0, now, &slot, now), now);
	assert_int_equal(notify_rate_turn_ms(4, 0, &slot, now), now);
	assert_int_equal(notify_rate_turn_ms(4, now - 60000, &slot, now), now);
	assert_int_equal(slot, 0);
	assert_int_equal(notify_rate_turn_ms(4, now - 59999, &slot, now), now + 1);
	assert_int_equal(notify_rate_turn_ms(4, now - 59999, &slot, now), now + 15001);
	assert_int_equal(notify_rate_turn_ms(4, now - 59999, &slot, now), now + 30001);
	assert_int_equal(notify_rate_turn_ms(4, now + 90000, &slot, now + 100000), now + 150000); /* turns that nobody took are gone */
	slot = now + INT64_C(86400000);
	assert_int_equal(notify_rate_turn_ms(4, now + 500000, &slot, now), now + NOTIFY_RATE_AHEAD_MS); /* clocks that went back */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_waits_then_rests_then_repeats),
		cmocka_unit_test(what_fires_is_told_again_and_only_that),
		cmocka_unit_test(what_is_muted_is_looked_at_again),
		cmocka_unit_test(a_clock_that_went_back_holds_nothing_up),
		cmocka_unit_test(a_storm_is_one_notification_and_one_more),
		cmocka_unit_test(a_receiver_is_told_so_often_and_the_others_have_turns),
		cmocka_unit_test(answers_are_judged),
		cmocka_unit_test(retries_grow_to_five_minutes_and_honour_what_is_asked),
		cmocka_unit_test(a_circuit_opens_lets_one_try_and_closes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
