/* A stage is looked at: windows and baselines go to core/judge, its verdict into the books, with alerts for people. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/rollout_parts.h"

/* A peek cannot revert but may see the hard stop; more often than once a second finds nothing sooner. */
#define PEEK_MS 1000
#define DEFAULT_INTERVAL_MS 60000

void rollout_judged_free(struct rollout_live *live)
{
	if (!live->judged)
		return;
	arena_free(live->judged->arena);
	free(live->judged);
	live->judged = NULL;
}

/* ---- a stage's blocks in memory ---- */

/* Members by device, for the baselines, which come in that order. */
struct place {
	uint64_t device;
	size_t row;
};

struct fill {
	const struct rollout_live *live;
	struct judged_stage *judged;
	const struct place *places;
};

static int by_device(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return x->device < y->device ? -1 : x->device > y->device;
}

static const struct place *place_of(const struct fill *x, int64_t device)
{
	struct place key = {.device = (uint64_t)device};
	return bsearch(&key, x->places, x->judged->count, sizeof key, by_device);
}

static void fill_baseline(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len)
{
	struct fill *x = ctx;
	const struct place *place = place_of(x, device);
	struct metric_accum a;
	struct ddsketch s;
	if (!place || gate >= x->live->gate_count || accum_decode(&a, &s, accum, len))
		return;
	const struct judge_gate *g = &x->live->gates[gate];
	x->judged->cells[place->row * x->live->gate_count + (size_t)gate].baseline = accum_point(&a, g->kind, &s, g->quantile);
}

/* Strata of members are asked again from the registry: they do not change the draw, only the report by stratum. */
static struct judged_stage *judged_new(struct call *c, const struct rollout_rows *x, int64_t stage, const struct block_row *rows, size_t count)
{
	struct judged_stage *j = calloc(1, sizeof *j);
	if (!j)
		abort();
	j->stage = stage;
	j->arena = arena_new(64 << 20);
	j->rows = arena_array(j->arena, count + 1, sizeof *j->rows);
	j->cells = arena_array(j->arena, (count + 1) * (x->live->gate_count + 1), sizeof *j->cells);
	j->t0 = arena_array(j->arena, count + 1, sizeof *j->t0);
	j->count = count;
	for (size_t i = 0; i < count; i++) {
		const struct device_state *d = registry_by_row(c->s->registry, rows[i].device);
		j->rows[i] = (struct judge_row){.device = (uint64_t)rows[i].device, .block = (uint32_t)rows[i].block,
			.unit = (uint64_t)rows[i].unit, .stratum = d ? d->hardware : 0, .is_canary = rows[i].is_canary};
		j->t0[i] = rows[i].t0;
		if (rows[i].t0)
			observe_follow(c, x->row.id, stage, rows[i].device, rows[i].t0);
	}
	return j;
}

/* Members were deleted: a block that has lost its canary, or all controls, compares nothing. Returns how many rows stay. */
static size_t keep_whole_blocks(struct block_row *rows, size_t count)
{
	size_t kept = 0;
	for (size_t from = 0, to; from < count; from = to) {
		size_t canaries = 0;
		for (to = from; to < count && rows[to].block == rows[from].block; to++)
			canaries += rows[to].is_canary;
		if (!canaries || canaries == to - from)
			continue;
		memmove(&rows[kept], &rows[from], (to - from) * sizeof *rows);
		kept += to - from;
	}
	return kept;
}

void rollout_judged_forget_device(struct call *c, int64_t device)
{
	for (struct rollout_live *live = c->s->rollouts->live; live; live = live->next)
		for (size_t i = 0; live->judged && i < live->judged->count; i++)
			if (live->judged->rows[i].device == (uint64_t)device) {
				observe_unfollow_device(c, live->id, live->judged->stage, device);
				rollout_judged_free(live); /* loaded anew at the next look, without it */
			}
}

static enum err judged_load(struct call *c, struct rollout_rows *x, const struct stage_row *stage, struct judged_stage **out)
{
	struct rollout_live *live = x->live;
	*out = live->judged;
	if (live->judged && live->judged->stage == stage->stage)
		return ERR_OK;
	rollout_judged_free(live);
	struct block_row *rows;
	size_t count;
	enum err e = block_list(c->s->rollouts->store, x->row.id, stage->stage, &rows, &count, c->arena, c->fault);
	if (e)
		return e;
	count = keep_whole_blocks(rows, count);
	*out = live->judged = judged_new(c, x, stage->stage, rows, count);
	struct place *places = arena_array(c->arena, count + 1, sizeof *places);
	for (size_t i = 0; i < count; i++)
		places[i] = (struct place){live->judged->rows[i].device, i};
	qsort(places, count, sizeof *places, by_device);
	struct fill fill = {live, live->judged, places};
	return baseline_each(c->s->rollouts->store, x->row.id, stage->stage, fill_baseline, &fill, c->fault);
}

enum err rollout_start_block(struct call *c, struct rollout_live *live, const struct deployment_row *d)
{
	struct rollouts *r = c->s->rollouts;
	int64_t block;
	enum err e = block_of_canary(r->store, d->rollout, d->stage, d->device, &block, c->fault);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	bool is_new = false;
	int64_t t0 = c->now_ms + live->spec.judge.warmup_ms;
	if (!e)
		e = block_start(r->store, d->rollout, d->stage, block, t0, &is_new, c->fault);
	if (e || !is_new)
		return e;
	if (live->judged && live->judged->stage == d->stage)
		for (size_t i = 0; i < live->judged->count; i++)
			if (live->judged->rows[i].block == (uint32_t)block) {
				live->judged->t0[i] = t0;
				live->judged->is_durable = false;
				observe_follow(c, d->rollout, d->stage, (int64_t)live->judged->rows[i].device, t0);
			}
	return ERR_OK;
}

/* ---- the data of a look ---- */

static struct metric_point silence_point(struct call *c, int64_t device, int64_t t0)
{
	struct silence_habit habit = {0};
	(void)observe_habit(c, device, &habit); /* one that never reported counts from t0 */
	const struct device_state *d = registry_by_row(c->s->registry, device);
	int64_t interval = habit.gap8_ms / 8;
	struct silence_facts facts = {.now_ms = c->now_ms,
		.interval_ms = interval > 0 ? interval : DEFAULT_INTERVAL_MS,
		.since_ms = t0,
		.offline_ms = d && !d->online ? d->last_seen_ms : 0};
	return (struct metric_point){.reports = 1, .n = 1, .value = silence_is_silent(&habit, &facts)};
}

static struct metric_point window_point(struct call *c, const struct rollout_rows *x, int64_t stage, const struct judge_gate *g, int64_t device,
	int64_t t0, int64_t reports)
{
	if (g->kind == METRIC_SILENCE)
		return silence_point(c, device, t0);
	struct metric_accum a;
	struct ddsketch s;
	struct metric_point v = {0};
	if (observe_window(c, x->row.id, stage, device, g->name, &a, &s))
		v = accum_point(&a, g->kind, &s, g->quantile);
	if (g->kind == METRIC_EVENT && v.reports == 0)
		v.reports = reports; /* an event that nobody tells of did not happen, as long as there are reports */
	return v;
}

/* Rows of blocks whose window has begun, compacted to the front of *rows. */
static size_t gather(struct call *c, const struct rollout_rows *x, const struct judged_stage *j, struct judge_row *rows, struct judge_cell *cells)
{
	uint32_t gates = x->live->gate_count;
	size_t count = 0;
	for (size_t i = 0; i < j->count; i++) {
		if (!j->t0[i] || j->t0[i] > c->now_ms)
			continue;
		int64_t device = (int64_t)j->rows[i].device;
		rows[count] = j->rows[i];
		rows[count].reports = observe_device_reports(c, x->row.id, j->stage, device);
		for (uint32_t g = 0; g < gates; g++) {
			struct judge_cell *cell = &cells[count * gates + g];
			*cell = j->cells[i * gates + g];
			cell->window = window_point(c, x, j->stage, &x->live->gates[g], device, j->t0[i], rows[count].reports);
		}
		count++;
	}
	return count;
}

/* ---- the books ---- */

static enum err load_state(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, struct judge_state *out)
{
	*out = (struct judge_state){.look = (uint32_t)stage->look, .extension = (uint32_t)stage->extension, .held = stage->held};
	bool is_known = verdict_parse(stage->verdict, &out->verdict);
	assert(is_known);
	/* Each end of the bake was judged and extended it, but for the last one, which left its verdict. */
	out->bake_ends = out->extension + (out->verdict == VERDICT_INCONCLUSIVE || out->verdict == VERDICT_PASS);
	for (uint32_t g = 0; g < x->live->gate_count; g++) {
		enum err e = look_summary(c->s->rollouts->store, x->row.id, stage->stage, g, &out->spent[g], &out->p_min[g], c->fault);
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
	for (uint32_t i = 0; i < x->live->gate_count; i++) {
		const struct judge_gate_result *g = &res->gates[i];
		struct buf b = BUF_INIT;
		json_open_object(&b);
		write_gate(&x->live->gates[i], g, &b);
		json_str(&b, "reason", verdict_reason_text(res->reason));
		json_num(&b, "alpha_wave", res->alpha_wave);
		json_num(&b, "alpha_bound", res->alpha_bound);
		json_num(&b, "beta_level", res->beta_level);
		json_str(&b, "guarantee", guarantee_name(res->guarantee));
		json_int(&b, "next_look_reports", res->next_look);
		json_close_object(&b);
		struct look_row row = {.rollout = x->row.id, .stage = stage->stage, .look = res->look, .gate = i, .at = c->now_ms,
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
static const char *verdict_sentence(struct call *c, const struct rollout_rows *x, const struct judge_result *res)
{
	if (res->gate == JUDGE_NO_GATE)
		return arena_printf(c->arena, "%s (%u silent canaries)", verdict_reason_text(res->reason), res->silent_canaries);
	const struct judge_gate_result *g = &res->gates[res->gate];
	return arena_printf(c->arena, "%s: %u canaries at %.4g against %u controls at %.4g (before: %.4g and %.4g); by chance alone with p = %.3g, the budget of this look is %.3g",
		x->live->gates[res->gate].name, g->canaries, g->canary_value, g->controls, g->control_value, g->canary_baseline, g->control_baseline,
		g->p, g->alpha_look);
}

static enum err announce(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct judge_result *res)
{
	const char *sentence = verdict_sentence(c, x, res);
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
		write_gate(&x->live->gates[res->gate], &res->gates[res->gate], &b);
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

/* The bake ends when the soak is over, and not before min_bake_ms; each extension adds as much again, up to max_bake_ms. */
static bool bake_is_over(struct call *c, const struct rollout_rows *x, const struct stage_row *stage)
{
	const struct rollout_request *q = &x->live->spec;
	if (!stage->baking_at)
		return false;
	int64_t first = stage->baking_at + q->soak_ms, least = stage->started_at + q->judge.min_bake_ms;
	if (least > first)
		first = least;
	int64_t end = first + (first - stage->baking_at) * stage->extension, most = stage->baking_at + q->judge.max_bake_ms;
	if (end > most)
		end = most > first ? most : first;
	return c->now_ms >= end;
}

static enum err judge_now(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct judged_stage *j, const struct judge_config *config,
	struct judge_state *state, bool bake_over)
{
	uint32_t gates = x->live->gate_count;
	struct judge_row *rows = arena_array(c->arena, j->count + 1, sizeof *rows);
	struct judge_cell *cells = arena_array(c->arena, (j->count + 1) * gates, sizeof *cells);
	size_t count = gather(c, x, j, rows, cells);
	size_t bytes = judge_workspace_bytes(count, gates);
	struct judge_result *res = arena_alloc(c->arena, sizeof *res);
	enum verdict before = state->verdict;
	enum err e = judge_look(config, state, rows, cells, count, bake_over, res, rollout_workspace(c->s->rollouts, bytes), bytes, c->fault);
	if (e)
		return e;
	j->judged_at_ms = c->now_ms;
	if (res->look)
		e = write_looks(c, x, stage, res);
	/* An inconclusive end that extends the bake is no verdict yet: nobody is to act on it. */
	if (res->extend)
		res->verdict = state->verdict = state->held ? VERDICT_HOLD : VERDICT_CONTINUE;
	if (!res->look && state->verdict == before && state->held == stage->held)
		return e; /* a peek that saw nothing writes nothing */
	stage->verdict = verdict_name(state->verdict);
	stage->look = state->look;
	stage->extension = state->extension;
	stage->held = state->held;
	if (!e)
		e = stage_update(c->s->rollouts->store, stage, c->fault);
	if (!e && state->verdict != before)
		e = announce(c, x, stage, res);
	return e;
}

enum err rollout_judge_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage)
{
	if (!stage->is_judged || strcmp(stage->verdict, "revert") == 0 || strcmp(stage->verdict, "pass") == 0)
		return ERR_OK;
	struct judged_stage *j;
	struct judge_state state;
	enum err e = judged_load(c, x, stage, &j);
	if (!e)
		e = load_state(c, x, stage, &state);
	if (e)
		return e;
	struct judge_config config;
	rollout_judge_config(x->live, x->live->spec.stages.count, stage->stage, stage->blocks, stage->controls, &config);
	bool bake_over = bake_is_over(c, x, stage);
	bool is_bake_end = bake_over && state.bake_ends <= state.extension;
	bool is_due = judge_is_look_due(&config, &state, observe_report_count(c, x->row.id, stage->stage));
	bool is_peek = config.hard_stop_silent > 0 && c->now_ms - j->judged_at_ms >= PEEK_MS;
	if (!is_bake_end && !is_due && !is_peek)
		return ERR_OK;
	return judge_now(c, x, stage, j, &config, &state, bake_over);
}
