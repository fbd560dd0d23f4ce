/* The verdict table and the words of verdicts and guarantees. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/guarantee.h"
#include "core/verdict.h"

static void test_table(void **state) {
	(void)state;
	static const struct {
		enum verdict before;
		bool held;
		struct verdict_facts f;
		enum verdict verdict;
		enum verdict_reason reason;
		bool held_after, extend;
	} rows[] = {
		{VERDICT_CONTINUE, false, {0}, VERDICT_CONTINUE, REASON_BAKING, false, false},
		{VERDICT_CONTINUE, false, {.harm = true}, VERDICT_REVERT, REASON_HARM, false, false},
		{VERDICT_CONTINUE, false, {.hard_stop = true, .harm = true}, VERDICT_REVERT, REASON_HARD_STOP, false, false},
		{VERDICT_PASS, false, {.harm = true, .bake_over = true}, VERDICT_REVERT, REASON_HARM, false, false},
		{VERDICT_REVERT, false, {.bake_over = true, .exposure = true, .not_worse = true}, VERDICT_REVERT,
		REASON_REVERTED, false, false},
		{VERDICT_CONTINUE, false, {.suspicion = true}, VERDICT_HOLD, REASON_SUSPICION, true, false},
		{VERDICT_HOLD, true, {0}, VERDICT_HOLD, REASON_SUSPICION_LASTS, true, false},
		{VERDICT_HOLD, true, {.cleared = true}, VERDICT_CONTINUE, REASON_BAKING, false, false},
		{VERDICT_HOLD, true, {.bake_over = true, .exposure = true, .not_worse = true, .can_extend = true},
		VERDICT_INCONCLUSIVE,
			REASON_SUSPICION_LASTS, true, true},
		{VERDICT_CONTINUE, false, {.suspicion = true, .bake_over = true, .exposure = true, .not_worse = true},
		VERDICT_INCONCLUSIVE,
			REASON_SUSPICION, true, false},
		{VERDICT_HOLD, true, {.cleared = true, .bake_over = true, .exposure = true, .not_worse = true}, VERDICT_PASS,
		REASON_NOT_WORSE,
			false, false},
		{VERDICT_CONTINUE, false, {.bake_over = true, .exposure = true, .not_worse = true, .can_extend = true},
		VERDICT_PASS,
			REASON_NOT_WORSE, false, false},
		{VERDICT_CONTINUE, false, {.bake_over = true, .not_worse = true, .can_extend = true}, VERDICT_INCONCLUSIVE,
		REASON_EXPOSURE,
			false, true},
		{VERDICT_CONTINUE, false, {.bake_over = true, .exposure = true}, VERDICT_INCONCLUSIVE, REASON_NOT_SHOWN,
		false, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct verdict_step s = verdict_next(rows[i].before, rows[i].held, &rows[i].f);
		assert_int_equal(s.verdict, rows[i].verdict);
		assert_int_equal(s.reason, rows[i].reason);
		assert_int_equal(s.held, rows[i].held_after);
		assert_int_equal(s.extend, rows[i].extend);
	}
}

/* Over all facts: PASS only with everything shown, and harm always reverts. */
static void test_no_silent_pass(void **state) {
	(void)state;
	for (unsigned bits = 0; bits < 512; bits++) {
		struct verdict_facts f = {bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32, bits & 64, bits & 128};
		struct verdict_step s = verdict_next(VERDICT_CONTINUE, bits & 256, &f);
		if (s.verdict == VERDICT_PASS)
			assert_true(!f.harm && !f.hard_stop && !f.suspicion && f.bake_over && f.exposure && f.not_worse && !s.held);
		assert_int_equal(s.verdict == VERDICT_REVERT, f.harm || f.hard_stop);
		assert_true(!s.extend || s.verdict == VERDICT_INCONCLUSIVE);
	}
}

static void test_words(void **state) {
	(void)state;
	for (int i = 0; i < VERDICT_COUNT; i++) {
		enum verdict v;
		assert_true(verdict_parse(verdict_name((enum verdict)i), &v));
		assert_int_equal(v, i);
	}
	enum verdict v;
	assert_false(verdict_parse("maybe", &v));
	for (int i = 0; i < REASON_COUNT; i++) {
		assert_true(strlen(verdict_reason_name((enum verdict_reason)i)) > 3);
		assert_true(strlen(verdict_reason_text((enum verdict_reason)i)) > 20);
	}
	assert_string_equal(verdict_reason_name(REASON_HARD_STOP), "hard_stop");
	for (int i = 0; i < GUARANTEE_COUNT; i++) {
		assert_true(strlen(guarantee_name((enum guarantee)i)) > 3);
		assert_true(strlen(guarantee_text((enum guarantee)i)) > 40);
	}
	assert_true(guarantee_is_exact(GUARANTEE_EXACT) && guarantee_is_exact(GUARANTEE_SHAM));
	assert_false(guarantee_is_exact(GUARANTEE_NAMED));
	assert_string_equal(guarantee_name(GUARANTEE_NAMED), "none (non-random cohort)");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_no_silent_pass),
		cmocka_unit_test(test_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
