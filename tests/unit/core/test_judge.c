/* The judge as services use it: configuration, plan, looks, verdicts, invariance. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/judge.h"
#include "core/looks.h"

#define ROWS_MAX 5000
#define GATES 3

static struct judge_row rows[ROWS_MAX];
static struct judge_cell cells[ROWS_MAX * GATES];
static struct judge_gate gates[GATES];
static struct judge_config config;
static struct judge_state state_now;
static struct judge_result result;
static struct fault fault;
static size_t row_count;

static double noise(void) {
	static uint64_t s = 3;
	double sum = 0;
	for (int i = 0; i < 12; i++) {
		s = s * 6364136223846793005u + 1442695040888963407u;
		sum += (double)(s >> 11) * 0x1p-53;
	}
	return sum - 6;
}

/* Accuracy, p95 latency and silence on `blocks` blocks of one canary and r controls, `reports` reports each. */
static void setup(uint32_t blocks, uint32_t controls, int64_t reports) {
	judge_config_init(&config);
	judge_gate_init(&gates[0], "accuracy", METRIC_RATIO);
	judge_gate_init(&gates[1], "latency_ms", METRIC_QUANTILE);
	judge_gate_init(&gates[2], "silence", METRIC_SILENCE);
	judge_gates_normalise(gates, GATES);
	config.gates = gates;
	config.gate_count = GATES;
	config.blocks = blocks;
	config.controls = controls;
	state_now = (struct judge_state){0};
	row_count = (size_t)blocks * (controls + 1);
	for (size_t i = 0; i < row_count; i++) {
		rows[i] = (struct judge_row){.device = 100 + i,
			.block = (uint32_t)(i / (controls + 1)),
			.stratum = (uint32_t)(i / (controls + 1)) % 2,
			.reports = reports,
			.is_canary = i % (controls + 1) == i / (controls + 1) % (controls + 1)};
		double before = 0.9 + 0.02 * noise(), latency = exp(3 + 0.3 * noise());
		cells[i * GATES] = (struct judge_cell){{64, 3200, before}, {reports, 50 * reports, before + 0.004 * noise()}};
		cells[i * GATES + 1] =
			(struct judge_cell){{64, 3200, latency}, {reports, 50 * reports, latency * exp(0.01 * noise())}};
		cells[i * GATES + 2] = (struct judge_cell){{0, 0, 0}, {1, 1, 0}};
	}
}

static void harm(uint32_t gate, double change, bool canaries) {
	for (size_t i = 0; i < row_count; i++)
		if (rows[i].is_canary == canaries)
			cells[i * GATES + gate].window.value += change;
}

static enum err look(bool bake_over) {
	size_t bytes = judge_workspace_bytes(row_count, config.gate_count);
	void *workspace = malloc(bytes);
	memset(workspace, 0xa5, bytes);
	enum err e = judge_look(&config, &state_now, rows, cells, row_count, bake_over, &result, workspace, bytes, &fault);
	free(workspace);
	return e;
}

static void test_harmless_passes(void **state) {
	(void)state;
	setup(50, 9, 100);
	assert_true(judge_is_look_due(&config, &state_now, 50000));
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	assert_int_equal(result.reports, 50000);
	assert_int_equal(result.look, looks_due(50000, 9));
	assert_false(judge_is_look_due(&config, &state_now, 50000));
	assert_int_equal(look(false), ERR_OK); /* a peek */
	assert_int_equal(result.look, 0);
	double spent = result.alpha_spent;
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_PASS);
	assert_int_equal(result.reason, REASON_NOT_WORSE);
	assert_true(result.look > 0 && result.alpha_spent > spent && result.alpha_spent <= config.alpha);
	assert_int_equal(result.gates[0].opinion, OPINION_NOT_WORSE);
	assert_int_equal(result.gates[0].blocks, 50);
	assert_int_equal(result.gates[0].exposed, 50);
	assert_int_equal(result.gates[1].controls, 450);
	assert_int_equal(result.gates[2].opinion, OPINION_QUIET);
	assert_true(isnan(result.gates[2].p_ni) && isnan(result.gates[2].canary_baseline));
	assert_true(result.gates[2].canary_value == 0);
	assert_int_equal(result.guarantee, GUARANTEE_EXACT);
	/* asked again, it stays and looks no more */
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_PASS);
	assert_int_equal(result.look, 0);
}

static void test_harm_reverts_and_stays(void **state) {
	(void)state;
	setup(50, 9, 20);
	harm(0, -0.02, true);
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_int_equal(result.reason, REASON_HARM);
	assert_int_equal(result.gate, 0);
	assert_int_equal(result.gates[0].opinion, OPINION_HARM);
	assert_true(result.gates[0].p <= result.gates[0].alpha_look);
	assert_true(fabs(result.gates[0].effect - 0.02) < 0.002);
	assert_true(fabs(result.gates[0].control_value - result.gates[0].canary_value - 0.02) < 0.015);
	harm(0, 0.02, true);
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_int_equal(result.reason, REASON_REVERTED);
	assert_int_equal(result.gate, JUDGE_NO_GATE);
}

/* The same harm found by nobody's look is a peek: seen, not acted upon. */
static void test_peek_cannot_revert(void **state) {
	(void)state;
	setup(50, 9, 20);
	state_now.look = 100;
	harm(0, -0.02, true);
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	assert_int_equal(result.gates[0].opinion, OPINION_SUSPECT);
	assert_true(result.gates[0].alpha_look == 0 && result.alpha_spent == 0);
}

static void test_harm_of_all_is_no_evidence(void **state) {
	(void)state;
	setup(50, 9, 20);
	harm(0, -0.1, true);
	harm(0, -0.1, false);
	harm(2, 1, true);
	harm(2, 1, false); /* a broker outage: everyone is silent */
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	assert_true(result.gates[2].p == 1);
	assert_int_equal(result.silent_canaries, 50);
}

static void test_same_bits_in_any_order(void **state) {
	(void)state;
	setup(40, 9, 77);
	harm(1, 1.5, true);
	assert_int_equal(look(false), ERR_OK);
	struct judge_result first = result;
	for (int round = 0; round < 5; round++) {
		for (size_t i = row_count; i-- > 1;) {
			size_t j = (size_t)(fabs(noise()) * 1e6) % (i + 1);
			struct judge_row row = rows[i];
			rows[i] = rows[j];
			rows[j] = row;
			struct judge_cell cell[GATES];
			memcpy(cell, &cells[i * GATES], sizeof cell);
			memcpy(&cells[i * GATES], &cells[j * GATES], sizeof cell);
			memcpy(&cells[j * GATES], cell, sizeof cell);
		}
		state_now = (struct judge_state){0};
		assert_int_equal(look(false), ERR_OK);
		for (int g = 0; g < GATES; g++) {
			assert_memory_equal(&result.gates[g].p, &first.gates[g].p, sizeof(double));
			assert_memory_equal(&result.gates[g].effect, &first.gates[g].effect, sizeof(double));
			assert_memory_equal(&result.gates[g].scale, &first.gates[g].scale, sizeof(double));
			assert_int_equal(result.gates[g].score, first.gates[g].score);
		}
	}
}

static void test_suspicion_holds_until_cleared(void **state) {
	(void)state;
	setup(50, 9, 50);
	config.hold_p = 0.4; /* so that a mild effect is suspicious and within the budget */
	config.release_p = 0.45;
	gates[0].margin = gates[0].ni_margin = 0;
	harm(0, -0.0004, true);
	while (look(false) == ERR_OK && result.gates[0].p > 0.3)
		harm(0, -0.0001, true);
	state_now = (struct judge_state){0};
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_HOLD);
	assert_int_equal(result.reason, REASON_SUSPICION);
	assert_true(result.gate != JUDGE_NO_GATE);
	for (size_t i = 0; i < row_count; i++)
		rows[i].reports *= 4;
	harm(0, 0.002, true);
	harm(1, -10, true); /* faster, too */
	assert_int_equal(look(false), ERR_OK);
	assert_true(result.look > 0);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
}

static void test_inconclusive_extends_once(void **state) {
	(void)state;
	setup(12, 9, 30);
	/* just short of what must be excluded; too few blocks to show it as harm beyond the margin */
	harm(0, -0.019, true);
	gates[0].margin = 0.018;
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_INCONCLUSIVE);
	assert_int_equal(result.reason, REASON_NOT_SHOWN);
	assert_int_equal(result.gate, 0);
	assert_true(result.extend);
	assert_true(fabs(result.beta_level - 0.05 * 2 / 3) < 1e-12);
	assert_int_equal(state_now.extension, 1);
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_INCONCLUSIVE);
	assert_false(result.extend);
	assert_true(fabs(result.beta_level - 0.05 / 3) < 1e-12);
	/* waiting for the operator: better figures no longer turn it into a pass, worse ones do revert */
	harm(0, 0.019, true);
	uint32_t looks = state_now.look;
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_INCONCLUSIVE);
	assert_int_equal(state_now.look, looks);
}

static void test_lack_of_data_is_no_pass(void **state) {
	(void)state;
	setup(20, 9, 40);
	for (size_t i = 0; i < row_count; i++)
		if (rows[i].block % 3 != 0)
			cells[i * GATES + 1].window.reports = 0;
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_INCONCLUSIVE);
	assert_int_equal(result.reason, REASON_EXPOSURE);
	assert_int_equal(result.gate, 1);
	assert_int_equal(result.gates[1].blocks, 7);
	assert_int_equal(result.gates[1].missing, 130);
	for (size_t i = 0; i < row_count; i++)
		cells[i * GATES + 1].window.reports = 0;
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.gates[1].opinion, OPINION_NO_DATA);
	assert_true(result.gates[1].p == 1 && isnan(result.gates[1].p_ni) && isnan(result.gates[1].effect));
	row_count = 0;
	state_now = (struct judge_state){0};
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	assert_int_equal(look(true), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_INCONCLUSIVE);
}

static void test_hard_stop(void **state) {
	(void)state;
	setup(50, 9, 0);
	config.hard_stop_silent = 3;
	config.silence_rate = 0.002;
	for (size_t i = 0, silent = 0; i < row_count && silent < 2; i++) {
		if (rows[i].is_canary) {
			cells[i * GATES + 2].window.value = 1;
			silent++;
		}
	}
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	assert_int_equal(result.silent_canaries, 2);
	assert_true(result.alpha_bound > 0.01 && result.alpha_bound < 0.0102);
	for (size_t i = row_count; i-- > 0;) {
		if (rows[i].is_canary) {
			cells[i * GATES + 2].window.value = 1;
			break;
		}
	}
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.look, 0); /* not even a look was due */
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_int_equal(result.reason, REASON_HARD_STOP);
	assert_int_equal(result.gate, 2);
	assert_int_equal(result.hard_stop_at, 3);
	/* by itself: among the first ten that started two are enough, among all fifty it takes more */
	state_now = (struct judge_state){0};
	config.hard_stop_silent = JUDGE_HARD_STOP_AUTO;
	config.silence_rate = 0.01;
	assert_int_equal(judge_check(&config, true, &fault), ERR_OK);
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.hard_stop_at, judge_hard_stop(&config, 50).k);
	assert_in_range(result.hard_stop_at, 4, 5);
	assert_int_equal(result.verdict, VERDICT_CONTINUE);
	for (size_t i = 0; i < row_count; i++)
		if (rows[i].block >= 10)
			cells[i * GATES + 2].window.reports = 0;
	state_now = (struct judge_state){0};
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.hard_stop_at, 2);
	assert_int_equal(result.silent_canaries, 2);
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_true(fabs(result.alpha_bound - 0.016) < 1e-12); /* alpha and the price of the whole rollout */
	struct judge_plan plan;
	judge_plan(&config, NULL, &plan);
	assert_true(plan.alpha_bound == result.alpha_bound);
	/* the price is split over waves as alpha is, and what the waves cost is within it */
	double sum = 0;
	config.waves = 3;
	for (config.wave = 1; config.wave <= 3; config.wave++) {
		judge_plan(&config, NULL, &plan);
		assert_true(plan.alpha_hard > 0 && plan.alpha_hard <= config.hard_stop_price * (config.wave == 1 ? 0.5 : 0.25));
		sum += plan.alpha_hard;
		assert_true(fabs(plan.alpha_bound - 0.016) < 1e-12);
	}
	assert_true(sum > 0.003 && sum <= 0.006);
	config.wave = 1;
	config.hard_stop_price = 0;
	judge_plan(&config, NULL, &plan);
	assert_true(plan.alpha_hard == 0 && plan.alpha_bound == 0.01);
	assert_int_equal(judge_hard_stop(&config, 50).k, 0);
}

/* For any harm up to the margins the ledger must not know what was attainable: each look loses what it did not spend,
 * and a canary that does better than its controls gains nothing for the looks that come. */
static void test_bounded_null_leaves_nothing(void **state) {
	(void)state;
	double spent[2];
	for (int better = 0; better < 2; better++) {
		setup(50, 9, 20);
		config.bounded = true;
		gates[0].fixed_scale = 0.004;
		gates[1].fixed_scale = 0.05;
		harm(0, better ? 0.02 : 0, true);
		assert_int_equal(look(false), ERR_OK);
		assert_true(result.gates[0].scale == 0.004 && result.gates[1].scale == 0.05);
		for (uint32_t g = 0; g < GATES; g++)
			assert_true(result.gates[g].spent == result.gates[g].alpha_look && result.gates[g].spent > 0);
		spent[better] = result.alpha_spent;
	}
	assert_true(spent[0] == spent[1]);
	/* the p of less harm is never smaller: p at the margin is valid for all of it */
	double before = 0;
	setup(50, 9, 20);
	gates[0].fixed_scale = 0.004;
	harm(0, -0.009, true);
	for (int step = 0; step <= 8; step++) {
		for (size_t i = 0; step > 0 && i < row_count; i++) /* some canaries are harmed by less and less */
			if (rows[i].is_canary && rows[i].block % 3 == 0)
				cells[i * GATES].window.value += 0.001 * (1 + rows[i].block % 5);
		state_now = (struct judge_state){0};
		assert_int_equal(look(false), ERR_OK);
		assert_true(result.gates[0].p >= before);
		before = result.gates[0].p;
	}
}

/* A look at which nothing could be shown costs nothing, and what it leaves is there when something can. */
static void test_unspendable_budget_is_kept(void **state) {
	(void)state;
	setup(50, 99, 1);
	row_count = 3000; /* 30 blocks have started */
	double share = config.alpha * gates[2].weight * 0.045;
	for (uint32_t k = 1; k <= 3; k++) {
		for (size_t i = 0; i < row_count; i++)
			rows[i].reports = k == 1 ? (i < 200) : k == 2 ? (i < 300) : (i < 450);
		assert_int_equal(look(false), ERR_OK);
		assert_int_equal(result.look, k);
		assert_true(fabs(result.gates[2].alpha_look - k * share) < 1e-12);
		assert_true(result.gates[2].spent == 0);
	}
	/* three silent devices: at least two of them canaries by chance has 3e-4, at least one 3e-2; only the first fits */
	for (size_t b = 0; b < 3; b++)
		cells[(b * 100 + 50) * GATES + 2].window.value = 1;
	for (size_t i = 0; i < row_count; i++)
		rows[i].reports = i < 675;
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.look, 4);
	assert_true(fabs(result.gates[2].alpha_look - 4 * share) < 1e-12);
	assert_true(fabs(result.gates[2].spent - (3 * 0.0001 * 0.99 + 1e-6)) < 1e-12);
	assert_true(result.gates[0].spent <= config.alpha * gates[0].weight * 4 * 0.045 + 1e-15);
}

static void test_bad_rows_are_refused(void **state) {
	(void)state;
	setup(10, 4, 30);
	cells[7 * GATES + 1].window.value = NAN;
	assert_int_equal(look(false), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "latency_ms"));
	setup(10, 4, 30);
	cells[7 * GATES].window.value = 1.5; /* k > n */
	assert_int_equal(look(false), ERR_INVALID);
	setup(10, 4, 30);
	rows[3].reports = -1;
	assert_int_equal(look(false), ERR_INVALID);
	setup(10, 4, 30);
	rows[3] = rows[4];
	assert_int_equal(look(false), ERR_INVALID);
	setup(10, 4, 30);
	for (size_t i = 0; i < 5; i++)
		rows[i].is_canary = false;
	assert_int_equal(look(false), ERR_INVALID);
	rows[1].is_canary = rows[2].is_canary = true;
	assert_int_equal(look(false), ERR_INVALID);
	rows[2].is_canary = false;
	assert_int_equal(look(false), ERR_OK);
	rows[3].unit = rows[1].unit = 8;
	assert_int_equal(look(false), ERR_INVALID); /* canary and control in one unit */
	size_t bytes = judge_workspace_bytes(JUDGE_ROWS_MAX + 1, 1);
	void *workspace = malloc(bytes);
	assert_int_equal(
		judge_look(&config, &state_now, rows, cells, JUDGE_ROWS_MAX + 1, false, &result, workspace, bytes, &fault),
		ERR_TOO_LARGE);
	free(workspace);
}

/* Ten devices behind one gateway are one member, and cannot be ten pieces of evidence. */
static void test_units_count_once(void **state) {
	(void)state;
	setup(6, 19, 40);
	for (size_t i = 0; i < row_count; i++) { /* every block: two units of ten devices */
		rows[i].unit = 1 + i / 10;
		rows[i].is_canary = i % 20 < 10;
	}
	harm(0, -0.1, true);
	harm(2, 1, true);
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.canaries, 6);
	assert_int_equal(result.controls, 6);
	assert_int_equal(result.silent_canaries, 6);
	assert_string_equal(result.gates[0].p_fraction, "1/64");
	assert_int_equal(result.gates[2].score, 18);
	assert_string_equal(result.gates[2].p_fraction, "1/64");
}

static void test_strata_find_what_hides_in_one(void **state) {
	(void)state;
	setup(60, 9, 60);
	for (size_t i = 0; i < row_count; i++)
		if (rows[i].stratum == 1 && rows[i].is_canary)
			cells[i * GATES].window.value -= 0.02;
	gates[0].per_stratum = true;
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_int_equal(result.gates[0].stratum, 1);
	assert_int_equal(result.gates[1].stratum, JUDGE_NO_GATE);
	/* the halves together cost what the whole did */
	double with = result.gates[0].alpha_look;
	gates[0].per_stratum = false;
	state_now = (struct judge_state){0};
	assert_int_equal(look(false), ERR_OK);
	assert_true(result.gates[0].alpha_look == with);
	/* one stratum only: nothing to test apart */
	gates[0].per_stratum = true;
	for (size_t i = 0; i < row_count; i++)
		rows[i].stratum = 5;
	state_now = (struct judge_state){0};
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.gates[0].stratum, JUDGE_NO_GATE);
}

/* Before and after are told of the same devices: one without a window moves neither. */
static void test_told_baseline_is_of_those_with_a_window(void **state) {
	(void)state;
	setup(20, 4, 40);
	size_t kept = 0;
	for (size_t i = 0; i < row_count; i++) {
		struct judge_cell *cell = &cells[i * GATES + 1];
		if (!rows[i].is_canary)
			continue;
		cell->baseline.value = kept == 0 ? 77 : 20;
		cell->window.reports = kept++ == 0 ? 40 : 0;
	}
	assert_int_equal(look(false), ERR_OK);
	assert_true(result.gates[1].canary_baseline == 77);
}

static void test_shadow(void **state) {
	(void)state;
	setup(30, 0, 40);
	config.mode = JUDGE_SHADOW;
	config.gate_count = 2;
	static struct judge_cell pairs[ROWS_MAX * 2];
	for (size_t i = 0; i < row_count; i++) {
		pairs[2 * i] = (struct judge_cell){{40, 2000, 0.9}, {40, 2000, 0.87 + 0.002 * noise()}};
		pairs[2 * i + 1] = (struct judge_cell){{40, 2000, 20}, {40, 2000, 20 * exp(0.01 * noise())}};
	}
	size_t bytes = judge_workspace_bytes(row_count, 2);
	void *workspace = malloc(bytes);
	assert_int_equal(judge_look(&config, &state_now, rows, pairs, row_count, false, &result, workspace, bytes,
		&fault), ERR_OK);
	assert_int_equal(result.verdict, VERDICT_REVERT);
	assert_int_equal(result.gate, 0);
	assert_int_equal(result.guarantee, GUARANTEE_SHADOW);
	assert_int_equal(result.canaries, 30);
	assert_true(result.gates[0].p == 0x1p-30);
	assert_true(fabs(result.gates[0].effect - 0.03) < 0.002);
	assert_true(result.gates[0].control_value == 0.9 && fabs(result.gates[0].canary_value - 0.87) < 0.003);
	/* counts are compared with the old version's on the same device */
	gates[0] = (struct judge_gate){.name = "crash", .kind = METRIC_EVENT, .weight = 0.5};
	for (size_t i = 0; i < row_count; i++)
		pairs[2 * i] = (struct judge_cell){{40, 40, 2}, {40, 40, 2}};
	state_now = (struct judge_state){0};
	assert_int_equal(judge_look(&config, &state_now, rows, pairs, row_count, false, &result, workspace, bytes,
		&fault), ERR_OK);
	assert_true(result.gates[0].p == 1 && result.gates[0].score == 0);
	pairs[0].baseline.reports = 0;
	state_now = (struct judge_state){0};
	assert_int_equal(judge_look(&config, &state_now, rows, pairs, row_count, false, &result, workspace, bytes,
		&fault), ERR_OK);
	assert_int_equal(result.gates[0].missing, 1);
	rows[1].block = rows[0].block;
	assert_int_equal(judge_look(&config, &state_now, rows, pairs, row_count, false, &result, workspace, bytes,
		&fault), ERR_INVALID);
	free(workspace);
}

static void test_self_counts_only_the_present_window(void **state) {
	(void)state;
	setup(30, 4, 40);
	config.mode = JUDGE_SELF;
	assert_int_equal(look(false), ERR_OK);
	assert_int_equal(result.reports, 30 * 40 * 5);
	assert_int_equal(result.guarantee, GUARANTEE_STATIONARITY);
	for (size_t i = 0; i < row_count; i++)
		rows[i].reports = INT64_MAX / 40;
	assert_int_equal(look(false), ERR_OK);
	assert_true(result.reports == INT64_MAX);
	config.mode = JUDGE_COHORT;
	assert_int_equal(look(false), ERR_OK);
	assert_true(result.reports == INT64_MAX);
}

/* ---- configuration and plan ---- */

static void refused(const char *pointer) {
	memset(&fault, 0, sizeof fault);
	assert_int_equal(judge_check(&config, true, &fault), ERR_INVALID);
	assert_string_equal(fault.pointer, pointer);
	assert_true(fault.detail[0] != '\0');
	setup(50, 9, 1);
}

static void test_check(void **state) {
	(void)state;
	setup(50, 9, 1);
	assert_int_equal(judge_check(&config, true, &fault), ERR_OK);
	config.alpha = 0.5;
	refused("/alpha");
	config.alpha = NAN;
	refused("/alpha");
	config.beta = 0;
	refused("/beta");
	config.hold_p = -0.1;
	refused("/holdP");
	config.release_p = config.hold_p / 2;
	refused("/releaseP");
	config.wave = 2;
	refused("/stages");
	config.blocks = 0;
	refused("/canaries");
	config.reports_planned = 0;
	refused("/bakeMs");
	config.extensions_max = 17;
	refused("/extensions");
	config.silence_rate = 1.1;
	refused("/silenceRate");
	config.gate_count = 0;
	refused("/gates");
	gates[0].margin = -0.01;
	refused("/gates/0/margin");
	gates[1].ni_margin = -1;
	refused("/gates/1/ni_margin");
	gates[1].ni_margin = gates[1].margin;
	refused("/gates/1/ni_margin");
	gates[2].margin = 1;
	refused("/gates/2/margin");
	gates[0].ni_margin = 2;
	refused("/gates/0/margin");
	gates[1].quantile = 1;
	refused("/gates/1/quantile");
	gates[1].weight = 0;
	refused("/gates/1/weight");
	gates[1].weight = 0.9;
	refused("/gates");
	gates[0].fixed_scale = -1;
	refused("/gates/0/scale");
	gates[0].min_devices = 51;
	refused("/gates/0/minDevices");
	gates[0].min_reports = -1;
	refused("/gates/0/minReports");
	gates[1] = gates[0];
	refused("/gates/1/name");
	config.mode = JUDGE_SHADOW;
	refused("/gates/2/kind");
	config.hard_stop_silent = 51;
	refused("/hardStop");
	config.hard_stop_silent = 3;
	config.gate_count = 2;
	refused("/hardStop");
	config.controls = 0;
	refused("/canaries");
}

/* A canary that can never revert is refused with the number that would do. */
static void test_check_says_how_many_would_do(void **state) {
	(void)state;
	setup(3, 9, 1);
	assert_int_equal(judge_check(&config, true, &fault), ERR_INVALID);
	assert_string_equal(fault.pointer, "/canaries");
	struct judge_plan plan;
	judge_plan(&config, NULL, &plan);
	assert_false(plan.gates[0].can_revert);
	char number[32];
	snprintf(number, sizeof number, "at least %u are needed", plan.gates[0].n_min);
	assert_non_null(strstr(fault.detail, number));
	config.blocks = plan.gates[0].n_min;
	/* fewer looks are planned for fewer blocks, so the plan's own number is enough or the next is */
	judge_plan(&config, NULL, &plan);
	config.blocks = plan.gates[0].n_min;
	assert_int_equal(judge_check(&config, true, &fault), ERR_OK);
	config.blocks = 3;
	assert_int_equal(judge_check(&config, false, &fault), ERR_OK);
}

static void test_plan(void **state) {
	(void)state;
	setup(50, 9, 1);
	config.waves = 4;
	config.hard_stop_silent = 3;
	config.silence_rate = 0.002;
	const double sigma[GATES] = {0.012, 0.08, NAN};
	struct judge_plan plan;
	judge_plan(&config, sigma, &plan);
	assert_int_equal(plan.looks, 20);
	assert_int_equal(plan.first_look, 20);
	assert_true(plan.alpha_wave == 0.005);
	assert_true(fabs(plan.gates[0].alpha_look - 0.005 * 0.3 * 0.045) < 1e-12);
	assert_int_equal(plan.gates[0].n_min, 5);
	assert_true(plan.gates[0].detectable > 0.005 + 0.008 && plan.gates[0].detectable < 0.005 + 0.011);
	assert_true(plan.gates[0].detectable_percent == 100 * plan.gates[0].detectable);
	assert_true(fabs(plan.gates[1].detectable_percent - 100 * (exp(plan.gates[1].detectable) - 1)) < 1e-9);
	assert_in_range(plan.gates[0].blocks_for_margin, 10, 30);
	assert_true(plan.gates[0].ni_reachable && plan.gates[0].can_revert);
	assert_true(plan.gates[2].detectable > 0.1 && plan.gates[2].detectable < 0.25);
	assert_true(fabs(plan.alpha_hard - 1.5e-4) < 1e-5);
	assert_true(fabs(plan.alpha_bound - 0.0106) < 1e-4);
	assert_int_equal(plan.hard_stop_suggested, 3);
	judge_plan(&config, NULL, &plan);
	assert_true(isnan(plan.gates[0].detectable));
	config.mode = JUDGE_SHADOW;
	config.controls = 0;
	judge_plan(&config, sigma, &plan);
	assert_true(plan.gates[0].detectable < 0.005 + 0.011);
	assert_int_equal(plan.first_look, 2);
	config.mode = JUDGE_COHORT;
	judge_plan(&config, sigma, &plan);
	assert_int_equal(plan.gates[0].n_min, 0);
	assert_int_equal(plan.guarantee, GUARANTEE_NO_CONTROL);
}

static void test_guarantee(void **state) {
	(void)state;
	setup(50, 9, 1);
	assert_int_equal(judge_guarantee(&config), GUARANTEE_EXACT);
	config.sham = true;
	assert_int_equal(judge_guarantee(&config), GUARANTEE_SHAM);
	config.hold_all = true;
	assert_int_equal(judge_guarantee(&config), GUARANTEE_HOLD);
	assert_false(guarantee_is_exact(GUARANTEE_HOLD));
	double hold_p = config.hold_p;
	config.hold_p = 0; /* which never holds */
	assert_int_equal(judge_guarantee(&config), GUARANTEE_SHAM);
	config.hold_p = hold_p;
	config.interference = true;
	assert_int_equal(judge_guarantee(&config), GUARANTEE_INTERFERENCE);
	config.cohort_named = true;
	assert_int_equal(judge_guarantee(&config), GUARANTEE_NAMED);
	config.mode = JUDGE_SELF;
	assert_int_equal(judge_guarantee(&config), GUARANTEE_STATIONARITY);
}

static void test_defaults(void **state) {
	(void)state;
	setup(50, 9, 1);
	assert_true(fabs(gates[0].weight + gates[1].weight + gates[2].weight - 1) < 1e-12);
	assert_true(gates[2].weight > gates[0].weight);
	assert_true(gates[0].worse == JUDGE_WORSE_DOWN && gates[1].worse == JUDGE_WORSE_UP);
	assert_true(fabs(gates[1].margin - log(1.05)) < 1e-15 && fabs(gates[1].ni_margin - log(1.1)) < 1e-15);
	struct judge_gate g;
	judge_gate_init(&g, "queue", METRIC_MEAN);
	assert_true(g.margin == 0 && g.ni_margin == 0);
	judge_gate_init(&g, "energy_mj", METRIC_LOGMEAN);
	assert_true(g.quantile == 0 && g.margin > 0);
	for (int o = 0; o < OPINION_COUNT; o++)
		assert_true(strlen(judge_opinion_name((enum judge_opinion)o)) > 3);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_harmless_passes),
		cmocka_unit_test(test_harm_reverts_and_stays),
		cmocka_unit_test(test_peek_cannot_revert),
		cmocka_unit_test(test_harm_of_all_is_no_evidence),
		cmocka_unit_test(test_same_bits_in_any_order),
		cmocka_unit_test(test_suspicion_holds_until_cleared),
		cmocka_unit_test(test_inconclusive_extends_once),
		cmocka_unit_test(test_lack_of_data_is_no_pass),
		cmocka_unit_test(test_hard_stop),
		cmocka_unit_test(test_unspendable_budget_is_kept),
		cmocka_unit_test(test_bounded_null_leaves_nothing),
		cmocka_unit_test(test_bad_rows_are_refused),
		cmocka_unit_test(test_units_count_once),
		cmocka_unit_test(test_strata_find_what_hides_in_one),
		cmocka_unit_test(test_told_baseline_is_of_those_with_a_window),
		cmocka_unit_test(test_shadow),
		cmocka_unit_test(test_self_counts_only_the_present_window),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_says_how_many_would_do),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_guarantee),
		cmocka_unit_test(test_defaults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
