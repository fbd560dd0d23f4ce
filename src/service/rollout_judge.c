/* When a stage is looked at, and what comes of it: look rows, the stage's verdict, events, alerts for people. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/rollout_judged.h"
#include "service/rollout_self.h"

/* A peek cannot revert but may see the hard stop; more often than once a second finds nothing sooner. */
#define PEEK_MS 1000

/* ---- the books ---- */

/* What the stage's row says: enough to know whether a look is due. */
static void read_state(const struct stage_row *stage, struct judge_state *out)
{
	*out = (struct judge_state){.look = (uint32_t)stage->look, .extension = (uint32_t)stage->extension, .held = stage->held};
	bool is_known = verdict_parse(stage->verdict, &out->verdict);
	assert(is_known);
	/* Each end of the bake was judged and extended it, but for the last one, which left its verdict. */
	out->bake_ends = out->extension + (out->verdict == VERDICT_INCONCLUSIVE || out->verdict == VERDICT_PASS);
}

static enum err load_state(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, struct judge_state *out)
{
	uint32_t gates;
	read_state(stage, out);
	(void)rollout_stage_gates(x->live, stage->stage, &gates);
	for (uint32_t g = 0; g < gates; g++) {
		uint32_t place = rollout_gate_place(x->live, stage->stage, g);
		enum err e = look_summary(c->s->rollouts->store, x->row.id, stage->stage, place, &out->spent[g], &out->p_min[g], c->fault);
		if (e)
			return e;
	}
	return ERR_OK;
}

static void write_gate(const struct judge_gate *gate, const struct judge_gate_result *g, struct buf *b)
{
	json_str(b, "metric", gate->name);
	json_str(b, "opinion", judge_opinion_name(g->opinion));
	json_num(b, "effect", g->effect);
	json_num(b, "canary", g->canary_value);
	json_num(b, "control", g->control_value);
	json_num(b, "canary_before", g->canary_baseline);
	json_num(b, "control_before", g->control_baseline);
	json_int(b, "canaries", g->canaries);
	json_int(b, "controls", g->controls);
	json_int(b, "blocks", g->blocks);
	json_int(b, "without_data", g->missing);
	json_num(b, "scale", g->scale);
	json_bool(b, "exact", g->is_exact);
	json_str(b, "p_fraction", g->p_fraction);
	json_num(b, "margin", gate->margin);
}

static enum err write_looks(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct judge_result *res)
{
	uint32_t gates;
	const struct judge_gate *gate = rollout_stage_gates(x->live, stage->stage, &gates);
	for (uint32_t i = 0; i < gates; i++) {
		const struct judge_gate_result *g = &res->gates[i];
		struct buf b = BUF_INIT;
		json_open_object(&b);
		write_gate(&gate[i], g, &b);
		json_str(&b, "reason", verdict_reason_text(res->reason));
		json_num(&b, "alpha_wave", res->alpha_wave);
		json_num(&b, "alpha_bound", res->alpha_bound);
		json_num(&b, "beta_level", res->beta_level);
		json_str(&b, "guarantee", guarantee_name(res->guarantee));
		json_int(&b, "next_look_reports", res->next_look);
		json_close_object(&b);
		struct look_row row = {.rollout = x->row.id, .stage = stage->stage, .look = res->look,
			.gate = rollout_gate_place(x->live, stage->stage, i), .at = c->now_ms,
			.reports = res->reports, .blocks = res->blocks, .devices = (int64_t)g->canaries + g->controls, .statistic = g->score,
			.p = g->p, .p_ni = g->p_ni, .alpha_look = g->alpha_look, .spent = g->spent, .verdict = verdict_name(res->verdict),
			.data = buf_cstr(&b)};
		enum err e = look_insert(c->s->rollouts->store, &row, c->fault);
		buf_done(&b);
		if (e)
			return e;
	}
	return ERR_OK;
}

/* "accuracy: canary 0.861 against 0.921 of its controls; chance alone does this with p = 2.4e-05, allowed were 3.1e-05" */
static const char *verdict_sentence(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct judge_result *res)
{
	uint32_t gates;
	const struct judge_gate *gate = rollout_stage_gates(x->live, stage->stage, &gates);
	if (res->reason == REASON_HARD_STOP)
		return arena_printf(c->arena, "%s: %u of %u canaries are silent, %u stop the rollout", verdict_reason_text(res->reason),
			res->silent_canaries, res->canaries, res->hard_stop_at);
	if (res->gate == JUDGE_NO_GATE)
		return arena_printf(c->arena, "%s (%u silent canaries)", verdict_reason_text(res->reason), res->silent_canaries);
	const struct judge_gate_result *g = &res->gates[res->gate];
	if (stage->is_shadow)
		return arena_printf(c->arena, "%s: on the same inputs %u devices show %.4g in shadow and %.4g with what they run; by chance alone with p = %.3g, the budget of this look is %.3g",
			gate[res->gate].name, g->canaries, g->canary_value, g->control_value, g->p, g->alpha_look);
	if (rollout_is_self(x->live))
		return arena_printf(c->arena, "%s: %u devices at %.4g against %u earlier windows of theirs at %.4g; by chance alone with p = %.3g if the world stayed the same, the budget of this look is %.3g",
			gate[res->gate].name, g->canaries, g->canary_value, g->controls, g->control_value, g->p, g->alpha_look);
	return arena_printf(c->arena, "%s: %u canaries at %.4g against %u controls at %.4g (before: %.4g and %.4g); by chance alone with p = %.3g, the budget of this look is %.3g",
		gate[res->gate].name, g->canaries, g->canary_value, g->controls, g->control_value, g->canary_baseline, g->control_baseline,
		g->p, g->alpha_look);
}

static enum err announce(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct judge_result *res)
{
	const char *sentence = verdict_sentence(c, x, stage, res);
	uint32_t gates;
	const struct judge_gate *gate = rollout_stage_gates(x->live, stage->stage, &gates);
	snprintf(x->live->verdict_text, sizeof x->live->verdict_text, "%s", sentence);
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", x->row.id);
	json_int(&b, "stage", stage->stage);
	json_str(&b, "verdict", verdict_name(res->verdict));
	json_str(&b, "reason", verdict_reason_text(res->reason));
	json_str(&b, "text", sentence);
	json_int(&b, "look", res->look);
	json_int(&b, "reports", res->reports);
	json_num(&b, "alpha_spent", res->alpha_spent);
	json_num(&b, "alpha_bound", res->alpha_bound);
	json_str(&b, "guarantee", guarantee_name(res->guarantee));
	if (res->gate != JUDGE_NO_GATE) {
		json_num(&b, "p", res->gates[res->gate].p);
		write_gate(&gate[res->gate], &res->gates[res->gate], &b);
	}
	json_close_object(&b);
	const char *resource = rollout_resource(c, x->row.id);
	enum err e = event_append(c, "verdict", resource, buf_cstr(&b));
	if (res->verdict == VERDICT_REVERT)
		metric_add(METER_VERDICTS_REVERT, 1);
	if (!e && res->verdict == VERDICT_REVERT)
		e = alert_raise(c, "gate.verdict", resource, ALERT_CRITICAL,
			arena_printf(c->arena, "rollout %s is reverted: %s", x->row.name, sentence), buf_cstr(&b));
	else if (!e && (res->verdict == VERDICT_HOLD || res->verdict == VERDICT_INCONCLUSIVE))
		e = alert_raise(c, "gate.verdict", resource, ALERT_WARNING,
			arena_printf(c->arena, "rollout %s: %s: %s", x->row.name, verdict_name(res->verdict), sentence), buf_cstr(&b));
	else if (!e)
		e = alert_resolve(c, "gate.verdict", resource);
	buf_done(&b);
	return e;
}

/* ---- the look ---- */

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int64_t nth_start(struct call *c, const struct stage_row *stage, const struct judged_stage *j, size_t n)
{
	int64_t *starts = arena_array(c->arena, j->canary_count + 1, sizeof *starts);
	size_t started = 0;
	for (size_t i = 0; i < j->canary_count; i++)
		if (j->t0[j->canaries[i].row] > 0 && (int64_t)j->rows[j->canaries[i].row].block < stage->blocks)
			starts[started++] = j->t0[j->canaries[i].row];
	qsort(starts, started, sizeof *starts, by_time);
	return starts[n - 1];
}

/* The bake begins when as many of the stage's canaries are done as a stage needs to succeed. Who else gets the release in this stage does
 * not count: a hold keeps them waiting, and when the judge looks must not depend on what it saw (docs/judge.md). 0: not yet. */
static int64_t bake_begin(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, struct judged_stage *j)
{
	const struct rollout_request *q = &x->live->spec;
	size_t alive = 0, started = 0;
	for (size_t i = 0; i < j->canary_count; i++) {
		size_t row = j->canaries[i].row;
		if (j->t0[row] == JUDGED_GONE || (int64_t)j->rows[row].block >= stage->blocks) /* an extension's come later */
			continue;
		alive++;
		started += j->t0[row] > 0;
	}
	if (!alive)
		return stage->baking_at; /* all of them were deleted */
	size_t need = (size_t)ceil(q->success.percent * (double)alive / 100 - 1e-9), least = (size_t)q->success.min_count;
	need = need > least ? need : least < alive ? least : alive;
	need = need ? need : 1;
	if (started < need)
		return 0;
	if (j->bake_started != started || j->bake_need != need) {
		j->bake_started = started;
		j->bake_need = need;
		j->bake_at_ms = nth_start(c, stage, j, need) - q->judge.warmup_ms;
	}
	return j->bake_at_ms;
}

/* The bake ends when the soak is over, and not before min_bake_ms; each extension adds as much again, up to max_bake_ms. */
static bool bake_is_over(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, struct judged_stage *j)
{
	const struct rollout_request *q = &x->live->spec;
	int64_t begin = bake_begin(c, x, stage, j);
	if (!begin)
		return false;
	int64_t first = begin + q->soak_ms, least = stage->started_at + q->judge.min_bake_ms;
	if (least > first)
		first = least;
	int64_t end = first + (first - begin) * stage->extension, most = begin + q->judge.max_bake_ms;
	if (end > most)
		end = most > first ? most : first;
	return c->now_ms >= end;
}

/* Writes what a look found: all of it, in the unit of this tick. */
static enum err write_result(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct judge_state *state,
	enum verdict before, struct judge_result *res)
{
	enum err e = res->look ? write_looks(c, x, stage, res) : ERR_OK;
	/* An inconclusive end that extends the bake is no verdict yet: nobody is to act on it. */
	if (res->extend)
		res->verdict = state->verdict = state->held ? VERDICT_HOLD : VERDICT_CONTINUE;
	if (e || (!res->look && state->verdict == before && state->held == stage->held))
		return e;
	stage->verdict = verdict_name(state->verdict);
	stage->look = state->look;
	stage->extension = state->extension;
	stage->held = state->held;
	e = stage_update(c->s->rollouts->store, stage, c->fault);
	return e || state->verdict == before ? e : announce(c, x, stage, res);
}

/* A peek knows one gate, silence, and of that the canaries: only its hard stop counts. */
static enum err apply_peek(struct call *c, struct rollout_rows *x, struct stage_row *stage, const struct look_task *t)
{
	struct judge_result res = t->result;
	struct judge_state state;
	if (res.verdict != VERDICT_REVERT || res.reason != REASON_HARD_STOP)
		return ERR_OK;
	enum err e = load_state(c, x, stage, &state);
	if (e)
		return e;
	uint32_t silence = 0;
	while (x->live->gates[silence].kind != METRIC_SILENCE)
		silence++;
	res.gates[silence] = t->result.gates[0];
	res.gate = silence;
	res.look = 0;
	res.alpha_spent = 0;
	for (uint32_t g = 0; g < x->live->gate_count; g++)
		res.alpha_spent += state.spent[g];
	enum verdict before = state.verdict;
	state.verdict = VERDICT_REVERT;
	return write_result(c, x, stage, &state, before, &res);
}

static enum err apply_look(struct call *c, struct rollout_rows *x, struct stage_row *stage, const struct look_task *t)
{
	struct judge_result res = t->result;
	struct judge_state state = t->after;
	return write_result(c, x, stage, &state, t->before.verdict, &res);
}

/* Goes on with the look or peek that is under way. */
static enum err step(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct look_task **at,
	struct rollout_piece *p, bool whole)
{
	struct look_task *t = *at;
	enum err e = look_step(c, x, t, p, whole);
	if (e || !t->is_done)
		return e;
	struct judge_state now;
	e = load_state(c, x, stage, &now);
	if (!e && !look_is_stale(t, &now)) {
		if (t->err)
			e = fault_set(c->fault, t->err, t->fault.pointer, "%s", t->fault.detail);
		else
			e = t->is_peek ? apply_peek(c, x, stage, t) : apply_look(c, x, stage, t);
	}
	*at = NULL; /* thrown away, it is begun anew */
	look_free(t);
	return e;
}

/* Once a second: a peek that finds nothing, or a look whose reports are of devices that are no longer compared, finds nothing sooner. */
static bool is_time(int64_t now_ms, int64_t last_ms)
{
	return now_ms - last_ms >= PEEK_MS || now_ms < last_ms;
}

static enum err peek(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct judged_stage *j, const struct judge_config *config,
	const struct judge_state *state, struct rollout_piece *p)
{
	bool has_silence = false;
	for (uint32_t g = 0; g < config->gate_count; g++)
		has_silence |= config->gates[g].kind == METRIC_SILENCE;
	if (!j->peek && (!config->hard_stop_silent || !has_silence || !is_time(c->now_ms, j->peeked_at_ms)))
		return ERR_OK;
	if (!j->peek) {
		j->peek = look_new(j, config, state, false, true);
		j->peeked_at_ms = c->now_ms;
	}
	return step(c, x, stage, &j->peek, p, judged_is_small(c->s->rollouts, x->live, j->canary_count));
}

/* Earlier windows are there from the start, so that only a device's present one counts, for all of them. */
static bool is_scheduled(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct judge_config *config,
	const struct judge_state *state)
{
	int64_t reports = observe_report_count(c, x->row.id, stage->stage);
	return judge_is_look_due(config, state, config->mode == JUDGE_SELF ? reports * (config->controls + 1) : reports);
}

static enum err look(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct judged_stage *j, const struct judge_config *config,
	const struct judge_state *state, struct rollout_piece *p)
{
	size_t rows = j->count + (j->past ? self_past_rows(j->past) : 0);
	bool whole = judged_is_small(c->s->rollouts, x->live, rows);
	bool bake_over = bake_is_over(c, x, stage, j);
	bool is_due = (bake_over && state->bake_ends <= state->extension) || is_scheduled(c, x, stage, config, state);
	if (!j->look && (!is_due || (!whole && !is_time(c->now_ms, j->judged_at_ms))))
		return ERR_OK;
	if (!j->look) {
		struct judge_state full;
		enum err e = load_state(c, x, stage, &full);
		if (e)
			return e;
		j->look = look_new(j, config, &full, bake_over, false);
		j->judged_at_ms = c->now_ms;
	}
	return step(c, x, stage, &j->look, p, whole);
}

static bool is_settled(const struct stage_row *stage)
{
	return strcmp(stage->verdict, "revert") == 0 || strcmp(stage->verdict, "pass") == 0;
}

enum err rollout_judge_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct rollout_piece *p)
{
	if (!stage->is_judged || is_settled(stage))
		return ERR_OK;
	struct judged_stage *j;
	bool is_ready;
	enum err e = judged_load(c, x, stage, &j, p, &is_ready);
	if (e || !is_ready)
		return e;
	struct judge_state state;
	struct judge_config config;
	read_state(stage, &state);
	rollout_judge_config(x->live, x->live->spec.stages.count, stage->stage, stage->blocks, stage->controls, &config);
	if (config.mode != JUDGE_SHADOW) /* what runs beside the old release makes nobody silent */
		e = judged_start_bricks(c, x, stage, j);
	if (!e)
		e = look(c, x, stage, j, &config, &state, p);
	if (e || is_settled(stage))
		return e;
	read_state(stage, &state);
	return peek(c, x, stage, j, &config, &state, p);
}
