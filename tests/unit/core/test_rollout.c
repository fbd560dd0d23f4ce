#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/rate.h"
#include "core/rollout.h"

#define NOW INT64_C(1700000000000)

static struct rollout_state in;
static struct rollout_decision d;

/* A running rollout of `stages` stages of ten waiting deployments each; the first is running. */
static void start(unsigned stages)
{
	memset(&in, 0, sizeof in);
	in.now_ms = NOW;
	in.status = ROLLOUT_RUNNING;
	in.stage_count = stages;
	in.error_action = ROLLOUT_ON_REVERT;
	in.on_inconclusive = ROLLOUT_ON_HOLD;
	in.auto_revert = true;
	in.window_is_open = true;
	in.rate_allowance = RATE_UNLIMITED;
	for (unsigned i = 0; i < stages; i++) {
		in.stages[i].status = i == 0 ? STAGE_RUNNING : STAGE_SCHEDULED;
		in.stages[i].counts[DEPLOYMENT_WAITING] = 10;
		in.stages[i].success_percent = 50;
		in.stages[i].error_percent = 20;
		in.stages[i].soak_ms = 1000;
	}
}

static void counts(unsigned stage, uint32_t waiting, uint32_t active, uint32_t succeeded, uint32_t failed)
{
	uint32_t *c = in.stages[stage].counts;
	memset(c, 0, sizeof in.stages[stage].counts);
	c[DEPLOYMENT_WAITING] = waiting;
	c[DEPLOYMENT_TRIAL] = active;
	c[DEPLOYMENT_SUCCEEDED] = succeeded;
	c[DEPLOYMENT_FAILED] = failed / 2;
	c[DEPLOYMENT_TIMED_OUT] = failed - failed / 2;
}

static void decide(void)
{
	rollout_decide(&in, &d);
	assert_int_equal(d.again, d.moves || d.stage_move_count > 0 || d.cancel_waiting || d.cancel_offered || d.revert_begun);
	if (!d.moves) assert_int_equal(d.status, in.status);
	if (d.again) assert_int_equal(d.offer_total, 0);
}

static void expect(enum rollout_reason reason, int stage)
{
	if (d.reason != reason) print_error("reason %s\n", rollout_reason_label(d.reason));
	assert_string_equal(rollout_reason_label(d.reason), rollout_reason_label(reason));
	assert_int_equal(d.stage, stage);
}

static void expect_move(enum rollout_status to, enum rollout_reason reason, int stage)
{
	expect(reason, stage);
	assert_true(d.moves);
	assert_int_equal(d.status, to);
}

static void expect_stage(unsigned at, unsigned stage, enum stage_status to)
{
	assert_true(at < d.stage_move_count);
	assert_int_equal(d.stage_moves[at].stage, stage);
	assert_int_equal(d.stage_moves[at].to, to);
}

/* ---- tables ---- */

static void texts_read_back(void **state)
{
	enum rollout_status s;
	enum stage_status t;
	enum rollout_command c;
	enum rollout_policy p;
	(void)state;
	for (int i = 0; i < ROLLOUT_STATUS_COUNT; i++)
		assert_true(rollout_status_parse(rollout_status_text((enum rollout_status)i), &s) && s == (enum rollout_status)i);
	for (int i = 0; i < STAGE_STATUS_COUNT; i++)
		assert_true(stage_status_parse(stage_status_text((enum stage_status)i), &t) && t == (enum stage_status)i);
	for (int i = 0; i < ROLLOUT_COMMAND_COUNT; i++)
		assert_true(rollout_command_parse(rollout_command_text((enum rollout_command)i), &c) && c == (enum rollout_command)i);
	for (int i = 0; i < ROLLOUT_POLICY_COUNT; i++)
		assert_true(rollout_policy_parse(rollout_policy_text((enum rollout_policy)i), &p) && p == (enum rollout_policy)i);
	for (int i = 0; i < ROLLOUT_REASON_COUNT; i++) assert_true(strlen(rollout_reason_text((enum rollout_reason)i)) > 0);
	assert_false(rollout_status_parse("done", &s) || stage_status_parse("", &t));
	assert_false(rollout_command_parse("stop", &c) || rollout_policy_parse("PAUSE", &p));
	assert_true(rollout_status_is_final(ROLLOUT_FINISHED) && rollout_status_is_final(ROLLOUT_REVERTED));
	assert_false(rollout_status_is_final(ROLLOUT_REVERTING));
}

/* Rows and columns in the order of the header. */
static void every_move_of_a_rollout(void **state)
{
	static const char *const want[ROLLOUT_STATUS_COUNT] = {
		".xx.....x..", /* creating */
		"..x.....x..", /* waiting_for_approval */
		".x.x....x..", /* ready */
		"....xx.x.x.", /* starting */
		".....xxx.x.", /* running */
		"....x..x.x.", /* paused */
		"....x....x.", /* finished */
		"........xx.", /* stopping */
		".........x.", /* stopped */
		"..........x", /* reverting */
		".........x.", /* reverted */
	};
	(void)state;
	for (int from = 0; from < ROLLOUT_STATUS_COUNT; from++) {
		for (int to = 0; to < ROLLOUT_STATUS_COUNT; to++) {
			enum rollout_status s = (enum rollout_status)from;
			bool may = want[from][to] == 'x';
			assert_int_equal(rollout_can_move(s, (enum rollout_status)to), may);
			if (may) rollout_move(&s, (enum rollout_status)to);
			if (may) assert_int_equal(s, to);
		}
	}
}

static void every_move_of_a_stage(void **state)
{
	static const char *const want[STAGE_STATUS_COUNT] = {
		".x...x.", /* scheduled */
		"..x.xxx", /* running */
		"...xxxx", /* baking */
		"....x.x", /* finished */
		".x...xx", /* error */
		"......x", /* cancelled */
		".......", /* reverted */
	};
	(void)state;
	for (int from = 0; from < STAGE_STATUS_COUNT; from++) {
		for (int to = 0; to < STAGE_STATUS_COUNT; to++) {
			enum stage_status s = (enum stage_status)from;
			bool may = want[from][to] == 'x';
			assert_int_equal(stage_can_move(s, (enum stage_status)to), may);
			if (may) stage_move(&s, (enum stage_status)to);
			if (may) assert_int_equal(s, to);
		}
	}
}

/* Which command may be given in which status; whatever it leads to is a move of the table, or none. */
static void commands(void **state)
{
	static const char *const want[ROLLOUT_COMMAND_COUNT] = {
		/* creating, waiting, ready, starting, running, paused, finished, stopping, stopped, reverting, reverted */
		[ROLLOUT_DO_PLAN] = "xxx........",    [ROLLOUT_DO_APPROVE] = ".x..xx.....", [ROLLOUT_DO_START] = "..x........",
		[ROLLOUT_DO_PAUSE] = "...xx......",   [ROLLOUT_DO_RESUME] = ".....x.....",  [ROLLOUT_DO_ABORT] = "xxxxxx.....",
		[ROLLOUT_DO_REVERT] = "...xxxxxx..",  [ROLLOUT_DO_RETRY] = "....xxx..xx",   [ROLLOUT_DO_PROMOTE] = "....xx.....",
	};
	enum rollout_status to;
	(void)state;
	for (int c = 0; c < ROLLOUT_COMMAND_COUNT; c++) {
		for (int s = 0; s < ROLLOUT_STATUS_COUNT; s++) {
			bool may = rollout_command_allowed((enum rollout_command)c, (enum rollout_status)s, false, &to);
			assert_int_equal(may, want[c][s] == 'x');
			if (may && to != (enum rollout_status)s) assert_true(rollout_can_move((enum rollout_status)s, to));
		}
	}
	assert_true(rollout_command_allowed(ROLLOUT_DO_PLAN, ROLLOUT_CREATING, true, &to));
	assert_int_equal(to, ROLLOUT_WAITING_FOR_APPROVAL);
	assert_true(rollout_command_allowed(ROLLOUT_DO_PLAN, ROLLOUT_CREATING, false, &to));
	assert_int_equal(to, ROLLOUT_READY);
	assert_true(rollout_command_allowed(ROLLOUT_DO_ABORT, ROLLOUT_READY, true, &to));
	assert_int_equal(to, ROLLOUT_STOPPED);
	assert_true(rollout_command_allowed(ROLLOUT_DO_ABORT, ROLLOUT_RUNNING, true, &to));
	assert_int_equal(to, ROLLOUT_STOPPING);
}

/* ---- starting and going on ---- */

static void nothing_moves_before_the_start(void **state)
{
	static const enum rollout_status quiet[] = {
		ROLLOUT_CREATING, ROLLOUT_WAITING_FOR_APPROVAL, ROLLOUT_READY, ROLLOUT_STOPPED,
	};
	(void)state;
	start(2);
	for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++) {
		in.status = quiet[i];
		decide();
		expect(ROLLOUT_REASON_NONE, -1);
		assert_false(d.again);
		assert_int_equal(d.offer_total, 0);
	}
}

static void starting(void **state)
{
	(void)state;
	start(2);
	in.status = ROLLOUT_STARTING;
	in.stages[0].status = STAGE_SCHEDULED;
	decide();
	expect_move(ROLLOUT_RUNNING, ROLLOUT_REASON_STARTED, 0);
	assert_int_equal(d.stage_move_count, 0);
	in.status = ROLLOUT_RUNNING;
	decide();
	expect(ROLLOUT_REASON_STARTED, 0);
	assert_int_equal(d.stage_move_count, 1);
	expect_stage(0, 0, STAGE_RUNNING);
	in.stages[0].needs_approval = true;
	decide();
	expect(ROLLOUT_REASON_WAITS_APPROVAL, 0);
	assert_false(d.again);
	assert_int_equal(d.offer_total, 0);
}

/* hawkBit: met when succeeded * 100 >= threshold * total, so exactly half is enough at 50 %. */
static void success_condition(void **state)
{
	static const struct {
		uint32_t active, succeeded, minimum;
		double percent;
		bool met;
	} table[] = {
		{6, 4, 0, 50, false}, {5, 5, 0, 50, true}, {5, 5, 6, 50, false}, {4, 6, 6, 50, true}, {1, 9, 0, 100, false},
		{0, 10, 0, 100, true}, {0, 10, 99, 100, true}, /* the minimum is capped by the stage */
		{10, 0, 0, 0, true}, {10, 0, 1, 0, false}, {0, 0, 5, 100, true}, /* an empty stage holds nothing up */
		{2, 1, 0, 33.4, false}, {2, 1, 0, 33.3, true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		start(2);
		counts(0, 0, table[i].active, table[i].succeeded, 0);
		in.stages[0].success_percent = table[i].percent;
		in.stages[0].min_succeeded = table[i].minimum;
		decide();
		expect(table[i].met ? ROLLOUT_REASON_STAGE_SUCCEEDED : ROLLOUT_REASON_WAITS_DEPLOYMENTS, 0);
		if (table[i].met) expect_stage(0, 0, STAGE_BAKING);
		assert_int_equal(d.count, table[i].succeeded);
	}
	start(1);
	counts(0, 0, 1, 9, 0);
	in.stages[0].counts[DEPLOYMENT_CANCELLED] = 90; /* deleted devices are no part of it */
	in.stages[0].success_percent = 90;
	decide();
	expect(ROLLOUT_REASON_STAGE_SUCCEEDED, 0);
	assert_int_equal(d.total, 10);
}

/* hawkBit: met when errors * 100 > threshold * total, so exactly a fifth is not enough at 20 %. */
static void error_condition(void **state)
{
	static const struct {
		uint32_t failed, minimum, floor;
		double percent;
		bool met;
	} table[] = {
		{2, 0, 0, 20, false}, {3, 0, 0, 20, true}, {3, 4, 0, 20, false}, {4, 4, 0, 20, true}, {3, 0, 3, 20, false},
		{4, 0, 3, 20, true}, {0, 0, 0, 0, false}, {1, 0, 0, 0, true}, {10, 0, 0, -1, false}, {10, 0, 0, 100, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		start(2);
		counts(0, 0, 10 - table[i].failed, 0, table[i].failed);
		in.stages[0].error_percent = table[i].percent;
		in.stages[0].min_errors = table[i].minimum;
		in.stages[0].error_floor = table[i].floor;
		decide();
		if (d.moves != table[i].met && d.reason != ROLLOUT_REASON_STALLED) print_error("row %zu\n", i);
		if (table[i].met) {
			expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_ERROR_CONDITION, 0);
			assert_true(d.count == table[i].failed && d.total == 10 && d.percent == table[i].percent);
			assert_int_equal(d.stage_move_count, 0);
		} else {
			assert_int_not_equal(d.reason, ROLLOUT_REASON_ERROR_CONDITION);
		}
	}
}

static void an_error_may_pause(void **state)
{
	(void)state;
	start(2);
	in.error_action = ROLLOUT_ON_PAUSE;
	counts(0, 3, 4, 0, 3);
	decide();
	expect_move(ROLLOUT_PAUSED, ROLLOUT_REASON_ERROR_CONDITION, 0);
	expect_stage(0, 0, STAGE_ERROR);
	in.status = ROLLOUT_PAUSED;
	in.stages[0].status = STAGE_ERROR;
	decide();
	expect(ROLLOUT_REASON_PAUSED, -1);
	assert_false(d.again);
	in.status = ROLLOUT_RUNNING; /* an operator resumes */
	decide();
	expect(ROLLOUT_REASON_RESUMED, 0);
	expect_stage(0, 0, STAGE_RUNNING);
	assert_int_equal(d.stage_moves[0].error_floor, 3);
	in.stages[0].status = STAGE_RUNNING;
	in.stages[0].error_floor = 3;
	decide();
	expect(ROLLOUT_REASON_WAITS_DEPLOYMENTS, 0);
	assert_int_equal(d.offer_total, 3);
	counts(0, 3, 3, 0, 4); /* one more is news */
	decide();
	expect_move(ROLLOUT_PAUSED, ROLLOUT_REASON_ERROR_CONDITION, 0);
}

/* Assignments: whatever fails, the others go on, and the rollout ends when nothing is left to do. */
static void errors_may_change_nothing(void **state)
{
	(void)state;
	start(2);
	in.error_action = ROLLOUT_ON_PROMOTE;
	in.stages[0].success_percent = 100;
	counts(0, 0, 4, 0, 6);
	decide();
	expect(ROLLOUT_REASON_WAITS_DEPLOYMENTS, 0);
	assert_false(d.moves);
	counts(0, 0, 0, 0, 10);
	decide();
	expect(ROLLOUT_REASON_STAGE_ACCEPTED, 0);
	expect_stage(0, 0, STAGE_BAKING);
	assert_false(d.moves);
}

static void a_paused_rollout_still_reverts(void **state)
{
	(void)state;
	start(2);
	in.status = ROLLOUT_PAUSED;
	counts(0, 0, 6, 0, 4);
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_ERROR_CONDITION, 0);
	in.error_action = ROLLOUT_ON_PAUSE;
	decide();
	expect(ROLLOUT_REASON_PAUSED, -1);
	assert_int_equal(d.count, 6);
	in.stages[0].verdict = VERDICT_REVERT;
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_VERDICT_REVERT, 0);
	in.auto_revert = false;
	decide();
	expect(ROLLOUT_REASON_PAUSED, -1);
	counts(0, 10, 0, 0, 0);
	in.stages[0].verdict = VERDICT_CONTINUE;
	decide();
	assert_int_equal(d.offer_total, 0);
}

static void soak_and_gates(void **state)
{
	(void)state;
	start(2);
	in.stages[0].status = STAGE_BAKING;
	in.stages[0].baking_since_ms = NOW - 999;
	counts(0, 0, 0, 10, 0);
	decide();
	expect(ROLLOUT_REASON_WAITS_SOAK, 0);
	assert_int_equal(d.wake_ms, NOW + 1);
	assert_false(d.again);
	in.now_ms = NOW + 1;
	decide();
	expect(ROLLOUT_REASON_STAGE_FINISHED, 0);
	assert_int_equal(d.stage_move_count, 2);
	expect_stage(0, 0, STAGE_FINISHED);
	expect_stage(1, 1, STAGE_RUNNING);
	assert_false(d.moves);
	in.stages[0].has_gates = true;
	decide();
	expect(ROLLOUT_REASON_WAITS_GATES, 0);
	in.stages[0].verdict = VERDICT_PASS;
	decide();
	expect_stage(0, 0, STAGE_FINISHED);
	in.stages[1].needs_approval = true;
	decide();
	assert_int_equal(d.stage_move_count, 1);
	expect_stage(0, 0, STAGE_FINISHED);
	in.stages[0].status = STAGE_FINISHED;
	decide();
	expect(ROLLOUT_REASON_WAITS_APPROVAL, 1);
	in.stages[1].is_approved = true;
	in.stages[1].retry_at_ms = in.now_ms + 1; /* it could not begin: those who wait in the first one are not kept waiting */
	in.stages[0].counts[DEPLOYMENT_WAITING] = 1;
	decide();
	expect(ROLLOUT_REASON_WAITS_BEGIN, 1);
	assert_false(d.again);
	assert_int_equal(d.offers[0], 1);
	in.stages[0].counts[DEPLOYMENT_WAITING] = 0;
	in.stages[1].retry_at_ms = in.now_ms;
	decide();
	expect(ROLLOUT_REASON_STAGE_FINISHED, 0);
	expect_stage(0, 1, STAGE_RUNNING);
}

static void verdicts(void **state)
{
	(void)state;
	start(2);
	in.stages[0].has_gates = true;
	counts(0, 5, 2, 3, 0);
	in.stages[0].verdict = VERDICT_REVERT;
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_VERDICT_REVERT, 0);
	assert_int_equal(d.count, 5);
	in.auto_revert = false;
	decide();
	expect_move(ROLLOUT_PAUSED, ROLLOUT_REASON_VERDICT_REVERT, 0);

	start(2);
	in.stages[0].has_gates = true;
	in.stages[0].verdict = VERDICT_HOLD;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	assert_int_equal(d.held_stage, 0); /* canaries alone */
	in.hold_all = true;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	assert_int_equal(d.offer_total, 0);
	in.stages[0].verdict = VERDICT_CONTINUE;
	decide();
	assert_int_equal(d.offer_total, 10);
	in.stages[0].has_gates = false;
	in.stages[0].verdict = VERDICT_HOLD; /* an alert holds a stage without gates too */
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	in.stages[0].status = STAGE_BAKING;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	assert_false(d.again);
}

static void inconclusive(void **state)
{
	(void)state;
	start(2);
	in.stages[0].status = STAGE_BAKING;
	in.stages[0].has_gates = true;
	in.stages[0].verdict = VERDICT_INCONCLUSIVE;
	counts(0, 0, 0, 10, 0);
	in.on_inconclusive = ROLLOUT_ON_HOLD;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	in.on_inconclusive = ROLLOUT_ON_PAUSE;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	in.on_inconclusive = ROLLOUT_ON_REVERT;
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_VERDICT_INCONCLUSIVE, 0);
	in.on_inconclusive = ROLLOUT_ON_PROMOTE;
	decide();
	expect(ROLLOUT_REASON_STAGE_FINISHED, 0);
	in.stages[0].status = STAGE_FINISHED; /* decided before: not again */
	in.on_inconclusive = ROLLOUT_ON_REVERT;
	decide();
	expect_stage(0, 1, STAGE_RUNNING);
}

static void harm_in_an_earlier_stage_counts(void **state)
{
	(void)state;
	start(2);
	in.stages[0].status = STAGE_FINISHED;
	in.stages[1].status = STAGE_RUNNING;
	counts(0, 0, 0, 10, 0);
	in.stages[0].verdict = VERDICT_REVERT;
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_VERDICT_REVERT, 0);
	in.stages[0].verdict = VERDICT_PASS;
	counts(0, 0, 0, 6, 4); /* stragglers failed */
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_ERROR_CONDITION, 0);
	in.status = ROLLOUT_FINISHED;
	in.stages[1].status = STAGE_FINISHED;
	in.stages[0].verdict = VERDICT_REVERT;
	counts(0, 0, 0, 10, 0);
	decide();
	expect_move(ROLLOUT_REVERTING, ROLLOUT_REASON_VERDICT_REVERT, 0);
	in.stages[0].verdict = VERDICT_PASS;
	decide();
	expect(ROLLOUT_REASON_NONE, -1);
}

static void a_stage_that_cannot_succeed(void **state)
{
	(void)state;
	start(2);
	in.stages[0].success_percent = 90;
	counts(0, 0, 0, 8, 2);
	decide();
	expect_move(ROLLOUT_PAUSED, ROLLOUT_REASON_STALLED, 0);
	expect_stage(0, 0, STAGE_ERROR);
	assert_true(d.count == 8 && d.total == 10 && d.percent == 90);
	in.stages[0].status = STAGE_ERROR;
	decide(); /* resumed as it is */
	expect(ROLLOUT_REASON_RESUMED, 0);
	in.stages[0].status = STAGE_RUNNING;
	in.stages[0].error_floor = d.stage_moves[0].error_floor;
	decide();
	expect(ROLLOUT_REASON_STAGE_ACCEPTED, 0);
	expect_stage(0, 0, STAGE_BAKING);
	assert_false(d.moves);
}

static void the_end(void **state)
{
	(void)state;
	start(2);
	in.stages[0].status = in.stages[1].status = STAGE_FINISHED;
	counts(0, 0, 1, 9, 0);
	counts(1, 2, 0, 8, 0);
	decide();
	expect(ROLLOUT_REASON_WAITS_STRAGGLERS, 1);
	assert_int_equal(d.count, 3);
	assert_int_equal(d.offers[1], 2); /* the last ones are not forgotten */
	counts(0, 0, 0, 9, 1);
	counts(1, 0, 0, 10, 0);
	decide();
	expect_move(ROLLOUT_FINISHED, ROLLOUT_REASON_FINISHED, 1);
}

/* ---- offers ---- */

static void offers(void **state)
{
	(void)state;
	start(3);
	in.stages[0].status = STAGE_FINISHED;
	in.stages[1].status = STAGE_RUNNING;
	counts(0, 2, 0, 8, 0);
	decide();
	assert_true(d.offer_total == 12 && d.offers[0] == 2 && d.offers[1] == 10 && d.offers[2] == 0);
	in.rate_allowance = 5;
	decide();
	assert_true(d.offer_total == 5 && d.offers[0] == 2 && d.offers[1] == 3);
	in.rate_allowance = 0;
	decide();
	expect(ROLLOUT_REASON_WAITS_RATE, 0);
	assert_int_equal(d.count, 2);
	in.rate_allowance = 100;
	in.window_is_open = false;
	decide();
	expect(ROLLOUT_REASON_WAITS_WINDOW, 0);
	assert_int_equal(d.offer_total, 0);
	in.window_is_open = true;
	in.max_active = 4;
	decide();
	assert_int_equal(d.offer_total, 4);
	counts(1, 7, 3, 0, 0);
	decide();
	assert_int_equal(d.offer_total, 1);
	in.max_active = 2;
	decide();
	expect(ROLLOUT_REASON_WAITS_DEPLOYMENTS, 0);
	assert_int_equal(d.offer_total, 0);
	in.max_active = 0;
	in.stages[0].verdict = VERDICT_HOLD; /* holds what comes after it too */
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 0);
	assert_int_equal(d.offer_total, 0);
}

/* The judged canaries go on as if nothing was suspected, in their stage alone; hold: all stops them too. */
static void a_hold_leaves_the_canaries(void **state)
{
	(void)state;
	start(3);
	in.stages[0].status = STAGE_FINISHED;
	in.stages[1].status = STAGE_RUNNING;
	in.stages[1].has_gates = true;
	counts(0, 2, 0, 8, 0);
	counts(1, 7, 0, 3, 0);
	in.rate_allowance = 6;
	decide();
	assert_int_equal(d.held_stage, -1);
	in.stages[1].verdict = VERDICT_HOLD;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 1);
	assert_int_equal(d.held_stage, 1);
	assert_true(d.offers[0] == 2 && d.offers[1] == 4 && d.offers[2] == 0 && d.offer_total == 6);
	in.hold_all = true;
	decide();
	expect(ROLLOUT_REASON_WAITS_HOLD, 1);
	assert_true(d.held_stage == -1 && d.offers[0] == 2 && d.offers[1] == 0);
	/* undecided is no other thing */
	in.hold_all = false;
	in.stages[1].verdict = VERDICT_INCONCLUSIVE;
	in.on_inconclusive = ROLLOUT_ON_HOLD;
	decide();
	assert_true(d.held_stage == 1 && d.offers[1] == 4);
}

/* ---- stopping and reverting ---- */

static void stopping(void **state)
{
	(void)state;
	start(3);
	in.status = ROLLOUT_STOPPING;
	in.stages[0].status = STAGE_FINISHED;
	in.stages[1].status = STAGE_RUNNING;
	counts(0, 0, 0, 10, 0);
	counts(1, 4, 3, 2, 0);
	in.stages[1].counts[DEPLOYMENT_OFFERED] = 1;
	decide();
	expect(ROLLOUT_REASON_STOPPING, -1);
	assert_true(d.cancel_waiting && d.cancel_offered && !d.revert_begun && !d.moves);
	assert_int_equal(d.stage_move_count, 1);
	expect_stage(0, 2, STAGE_CANCELLED);
	in.stages[2].status = STAGE_CANCELLED;
	counts(2, 0, 0, 0, 0);
	counts(1, 0, 3, 2, 0);
	decide();
	expect(ROLLOUT_REASON_STOPPING, -1);
	assert_true(d.count == 3 && !d.again);
	counts(1, 0, 0, 5, 0);
	decide();
	expect_move(ROLLOUT_STOPPED, ROLLOUT_REASON_STOPPED, -1);
	assert_int_equal(d.stage_move_count, 1);
	expect_stage(0, 1, STAGE_CANCELLED); /* what was finished stays so */
}

static void reverting(void **state)
{
	(void)state;
	start(3);
	in.status = ROLLOUT_REVERTING;
	in.stages[0].status = STAGE_FINISHED;
	in.stages[1].status = STAGE_RUNNING;
	counts(0, 0, 0, 9, 1); /* one timed out: it may run the new release */
	counts(1, 4, 6, 0, 0);
	decide();
	expect(ROLLOUT_REASON_REVERTING, -1);
	assert_true(d.cancel_waiting && d.revert_begun && !d.cancel_offered && !d.moves);
	assert_int_equal(d.count, 16);
	expect_stage(0, 2, STAGE_CANCELLED);
	in.stages[2].status = STAGE_CANCELLED;
	for (unsigned i = 0; i < 3; i++) counts(i, 0, 0, 0, 0);
	in.stages[0].counts[DEPLOYMENT_REVERTING] = 10;
	in.stages[1].counts[DEPLOYMENT_CANCELLED] = 4;
	decide();
	expect(ROLLOUT_REASON_REVERTING, -1);
	assert_false(d.again);
	in.stages[0].counts[DEPLOYMENT_REVERTING] = 0;
	in.stages[0].counts[DEPLOYMENT_REVERTED] = 8;
	in.stages[0].counts[DEPLOYMENT_REVERT_FAILED] = 1;
	in.stages[0].counts[DEPLOYMENT_NOT_REVERTIBLE] = 1;
	decide();
	expect_move(ROLLOUT_REVERTED, ROLLOUT_REASON_REVERTED, -1);
	assert_int_equal(d.stage_move_count, 3);
	expect_stage(0, 0, STAGE_REVERTED);
	in.status = ROLLOUT_REVERTED;
	decide();
	expect(ROLLOUT_REASON_REVERTED, -1);
	assert_false(d.again);
	in.stages[1].counts[DEPLOYMENT_SUCCEEDED] = 1; /* came back after a month with the new release */
	decide();
	assert_true(d.revert_begun && !d.moves);
}

/* ---- a whole life ---- */

/* Carries a decision out as the service does. Returns how many deployments were offered. */
static uint32_t carry_out(void)
{
	if (d.moves) rollout_move(&in.status, d.status);
	for (unsigned i = 0; i < d.stage_move_count; i++) {
		struct rollout_stage *s = &in.stages[d.stage_moves[i].stage];
		stage_move(&s->status, d.stage_moves[i].to);
		s->error_floor = d.stage_moves[i].error_floor;
		if (s->status == STAGE_BAKING) s->baking_since_ms = in.now_ms;
	}
	for (unsigned i = 0; i < in.stage_count; i++) {
		uint32_t *c = in.stages[i].counts;
		c[DEPLOYMENT_WAITING] -= d.offers[i];
		c[DEPLOYMENT_OFFERED] += d.offers[i];
		for (int s = 0; s < DEPLOYMENT_STATUS_COUNT; s++) {
			enum deployment_status to = DEPLOYMENT_CANCELLED;
			bool cancels = (d.cancel_waiting && s == DEPLOYMENT_WAITING) || (d.cancel_offered && s == DEPLOYMENT_OFFERED);
			if (d.revert_begun) cancels = deployment_on_revert((enum deployment_status)s, true, &to);
			if (!cancels || c[s] == 0) continue;
			assert_true(deployment_can_move((enum deployment_status)s, to));
			c[to] += c[s];
			c[s] = 0;
		}
	}
	return d.offer_total;
}

/* One tick: decide until nothing moves; a bounded number of times. */
static void tick(void)
{
	for (int i = 0; i < 100; i++) {
		decide();
		uint32_t offered = carry_out();
		in.rate_allowance -= offered;
		if (!d.again) return;
	}
	fail_msg("the decisions go round in circles");
}

/* Devices do their part: everything offered succeeds, everything reverting is reverted; every `bad`-th fails. */
static void devices_act(uint32_t bad)
{
	for (unsigned i = 0; i < in.stage_count; i++) {
		uint32_t *c = in.stages[i].counts, n = c[DEPLOYMENT_OFFERED], failed = bad ? n / bad : 0;
		c[DEPLOYMENT_OFFERED] = 0;
		c[DEPLOYMENT_FAILED] += failed;
		c[DEPLOYMENT_SUCCEEDED] += n - failed;
		c[DEPLOYMENT_REVERTED] += c[DEPLOYMENT_REVERTING];
		c[DEPLOYMENT_REVERTING] = 0;
	}
}

static int live(uint32_t bad, int64_t abort_at, int64_t verdict_at)
{
	int ticks = 0;
	in.status = ROLLOUT_STARTING;
	in.stages[0].status = STAGE_SCHEDULED;
	while (!rollout_status_is_final(in.status) && in.status != ROLLOUT_PAUSED) {
		if (ticks == abort_at) rollout_move(&in.status, ROLLOUT_STOPPING);
		if (ticks == verdict_at) in.stages[0].verdict = VERDICT_REVERT;
		in.rate_allowance = 3;
		tick();
		devices_act(bad);
		in.now_ms += 400;
		assert_true(++ticks < 1000);
	}
	return ticks;
}

static void a_good_release_goes_all_the_way(void **state)
{
	(void)state;
	start(4);
	in.stages[2].counts[DEPLOYMENT_WAITING] = 0; /* an empty stage */
	int ticks = live(0, -1, -1);
	assert_int_equal(in.status, ROLLOUT_FINISHED);
	assert_in_range(ticks, 12, 40);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(in.stages[i].status, STAGE_FINISHED);
		assert_int_equal(in.stages[i].counts[DEPLOYMENT_SUCCEEDED], i == 2 ? 0 : 10);
	}
}

static void a_bad_release_comes_back(void **state)
{
	(void)state;
	start(3);
	live(3, -1, -1); /* a third fails */
	assert_int_equal(in.status, ROLLOUT_REVERTED);
	assert_int_equal(in.stages[0].counts[DEPLOYMENT_SUCCEEDED], 0);
	assert_true(in.stages[0].counts[DEPLOYMENT_REVERTED] > 0);
	assert_int_equal(in.stages[1].counts[DEPLOYMENT_CANCELLED], 10);
	assert_int_equal(in.stages[0].status, STAGE_REVERTED);

	start(3);
	live(0, -1, 6); /* the judge speaks in the middle of the second stage or of the first one's soak */
	assert_int_equal(in.status, ROLLOUT_REVERTED);
	for (unsigned i = 0; i < 3; i++) assert_int_equal(in.stages[i].counts[DEPLOYMENT_SUCCEEDED], 0);
	assert_int_equal(in.stages[0].counts[DEPLOYMENT_REVERTED], 10);
}

static void an_abort_leaves_what_is_installed(void **state)
{
	(void)state;
	for (int64_t at = 1; at < 9; at++) {
		start(3);
		live(0, at, -1);
		assert_int_equal(in.status, ROLLOUT_STOPPED);
		uint32_t sum = 0;
		for (unsigned i = 0; i < 3; i++)
			sum += in.stages[i].counts[DEPLOYMENT_SUCCEEDED] + in.stages[i].counts[DEPLOYMENT_CANCELLED];
		assert_int_equal(sum, 30);
		assert_true(in.stages[2].counts[DEPLOYMENT_CANCELLED] > 0);
	}
}

static void sentences(void **state)
{
	char text[200], small[10];
	(void)state;
	start(2);
	counts(0, 0, 7, 0, 3);
	decide();
	rollout_explain(&d, text, sizeof text);
	assert_string_equal(text, "the error condition of the stage is met: stage 1, 3 of 10 (threshold 20 %)");
	rollout_explain(&d, small, sizeof small);
	assert_string_equal(small, "the error");
	start(1);
	in.status = ROLLOUT_PAUSED;
	decide();
	rollout_explain(&d, text, sizeof text);
	assert_string_equal(text, "the rollout is paused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_read_back),
		cmocka_unit_test(every_move_of_a_rollout),
		cmocka_unit_test(every_move_of_a_stage),
		cmocka_unit_test(commands),
		cmocka_unit_test(nothing_moves_before_the_start),
		cmocka_unit_test(starting),
		cmocka_unit_test(success_condition),
		cmocka_unit_test(error_condition),
		cmocka_unit_test(an_error_may_pause),
		cmocka_unit_test(errors_may_change_nothing),
		cmocka_unit_test(a_paused_rollout_still_reverts),
		cmocka_unit_test(soak_and_gates),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(inconclusive),
		cmocka_unit_test(harm_in_an_earlier_stage_counts),
		cmocka_unit_test(a_stage_that_cannot_succeed),
		cmocka_unit_test(the_end),
		cmocka_unit_test(offers),
		cmocka_unit_test(a_hold_leaves_the_canaries),
		cmocka_unit_test(stopping),
		cmocka_unit_test(reverting),
		cmocka_unit_test(a_good_release_goes_all_the_way),
		cmocka_unit_test(a_bad_release_comes_back),
		cmocka_unit_test(an_abort_leaves_what_is_installed),
		cmocka_unit_test(sentences),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
