#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cohort.h"
#include "core/hardstop.h"
#include "core/planning.h"
#include "core/score.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "service/rollout_self.h"

/* ---- how many ---- */

static int64_t clamp_i64(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void rollout_plan_blocks(const struct rollout_live *live, int64_t planned, int64_t remaining, int64_t eligible, int64_t *blocks, int64_t *controls)
{
	*blocks = *controls = 0;
	if (live->gate_count > 0 && rollout_is_self(live)) {
		rollout_self_blocks(live, min_i64(planned, eligible), blocks, controls);
		return;
	}
	int64_t staying = remaining - planned; /* who keeps the old release through this stage */
	if (live->gate_count == 0 || !live->spec.judge.controls || staying <= 0)
		return;
	int64_t n = min_i64(min_i64(planned, ROLLOUT_BLOCKS_MAX), min_i64(staying, eligible / 2));
	if (n <= 0)
		return;
	*blocks = n;
	int64_t most = min_i64(live->spec.judge.controls_max, ROLLOUT_MEMBERS_MAX / n - 1);
	*controls = clamp_i64(min_i64(staying, eligible - n) / n, 1, most);
}

/* The default one needs somebody who counts silent canaries. */
static uint32_t hard_stop_of(const struct rollout_live *live)
{
	int64_t silent = live->spec.judge.hard_stop.silent;
	if (silent >= 0)
		return (uint32_t)silent;
	for (uint32_t g = 0; g < live->gate_count; g++)
		if (live->gates[g].kind == METRIC_SILENCE)
			return JUDGE_HARD_STOP_AUTO;
	return 0;
}

void rollout_judge_config(const struct rollout_live *live, size_t stages, int64_t stage, int64_t blocks, int64_t controls, struct judge_config *out)
{
	const struct rollout_request *q = &live->spec;
	judge_config_init(out);
	out->mode = JUDGE_COHORT;
	out->cohort_named = q->devices.count > 0 && stage == rollout_first_live(live);
	out->alpha = q->judge.alpha;
	out->beta = q->judge.beta;
	out->hold_p = q->judge.hold_p;
	out->waves = (uint32_t)(stages ? stages : 1);
	out->wave = (uint32_t)stage + 1;
	out->blocks = (uint32_t)blocks;
	out->controls = (uint32_t)controls;
	out->reports_planned = q->judge.reports_planned;
	out->on_inconclusive = strcmp(q->judge.on_inconclusive, "promote") == 0 ? INCONCLUSIVE_PROMOTE
	                       : strcmp(q->judge.on_inconclusive, "revert") == 0 ? INCONCLUSIVE_REVERT : INCONCLUSIVE_HOLD;
	out->hard_stop_silent = hard_stop_of(live);
	out->hard_stop_price = q->judge.hard_stop.price;
	out->hold_all = strcmp(q->judge.hold, "all") == 0;
	out->bounded = rollout_scale_is_fixed(q);
	out->sham = q->judge.sham;
	out->interference = q->judge.interference;
	out->silence_rate = live->silence.rate > 0 ? live->silence.rate : SILENCE_RATE_DEFAULT;
	out->gates = live->gates;
	out->gate_count = live->gate_count;
	if (rollout_is_self(live)) {
		out->mode = JUDGE_SELF;
		out->extensions_max = 0;   /* earlier windows are as long as one bake */
	}
	if (!rollout_is_shadow(live, stage))
		return;
	out->mode = JUDGE_SHADOW; /* nobody is exposed, so nobody falls silent of it */
	out->controls = 0;
	out->hard_stop_silent = 0;
	out->bounded = false; /* pairs differ by less than two halves of a baseline: their scale is found at the look */
	out->gates = live->pair_gates;
	out->gate_count = live->pair_gate_count;
}

int64_t rollout_blocks_needed(const struct rollout_live *live, size_t stages, int64_t stage, int64_t blocks, int64_t controls)
{
	struct judge_config config;
	rollout_judge_config(live, stages, stage, blocks, controls, &config);
	struct judge_plan plan;
	judge_plan(&config, NULL, &plan);
	int64_t need = 1;
	for (uint32_t i = 0; i < config.gate_count; i++)
		need = plan.gates[i].n_min > need ? plan.gates[i].n_min : need;
	return need;
}

/* Controls that the last stage leaves behind, so that it can be judged too: enough pairs for the smallest look's budget, and no more
 * than a twentieth of the fleet where that is enough. */
static int64_t holdback_size(const struct rollout_live *live, size_t stages, int64_t last)
{
	int64_t need = rollout_blocks_needed(live, stages, (int64_t)stages - 1, ROLLOUT_BLOCKS_MAX, 1);
	int64_t size = clamp_i64(last / 20, need, need > 200 ? need : 200);
	return size * 2 <= last ? size : 0;
}

/* Too few for any proof: a later stage goes without; a canary is refused instead. */
static void drop_weak(const struct rollout_live *live, int64_t stage, struct planned_stage *s)
{
	if (stage > rollout_first_live(live) && s->blocks && s->blocks < rollout_blocks_needed(live, live->spec.stages.count, stage, s->blocks, s->controls))
		s->blocks = s->controls = 0;
}

size_t rollout_plan_stages(const struct rollout_live *live, int64_t total, struct planned_stage *out)
{
	const struct rollout_stage_request *stages = live->spec.stages.items;
	size_t count = live->spec.stages.count;
	int64_t done = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t from = rollout_is_shadow(live, (int64_t)i) ? 0 : done;
		int64_t want = stages[i].has_count ? from + stages[i].count : (int64_t)ceil((double)total * stages[i].percent / 100 - 1e-9);
		if (rollout_is_shadow(live, (int64_t)i)) { /* these devices are targets of the live stages all the same */
			out[i] = (struct planned_stage){.name = stages[i].name, .planned = min_i64(want, total), .is_shadow = true};
			out[i].blocks = min_i64(out[i].planned, ROLLOUT_BLOCKS_MAX);
			continue;
		}
		if (i + 1 == count && !stages[i].has_count && stages[i].percent >= 100)
			want = total;
		want = clamp_i64(want, done, total);
		out[i] = (struct planned_stage){.name = stages[i].name, .planned = want - done};
		done = want;
	}
	int64_t held = live->gate_count && !rollout_is_self(live) && live->spec.judge.controls && done == total ? holdback_size(live, count, out[count - 1].planned) : 0;
	if (count > 1 && held) {
		out[count - 1].planned -= held;
		out[count] = (struct planned_stage){.name = "holdback", .planned = held, .is_holdback = true};
		count++;
	}
	int64_t remaining = total;
	for (size_t i = 0; i < count; i++) {
		struct planned_stage *s = &out[i];
		if (s->is_shadow)
			continue;
		if (!s->is_holdback)
			rollout_plan_blocks(live, s->planned, remaining, remaining, &s->blocks, &s->controls);
		drop_weak(live, (int64_t)i, s);
		remaining -= s->planned;
	}
	return count;
}

/* ---- what can be found ---- */

/* The change of a gate's score between the two halves of a device's own baseline, where nothing changed. */
static bool half_difference(struct call *c, const struct judge_gate *g, int64_t device, double *out)
{
	struct metric_point v[2] = {{0}};
	for (int half = 0; half < 2; half++) {
		struct metric_accum a;
		struct ddsketch s;
		if (observe_baseline_half(c, device, g->name, half, &a, &s))
			v[half] = accum_point(&a, g->kind, &s, g->quantile);
		if (v[half].reports < ROLLOUT_BASELINE_REPORTS)
			return false;
	}
	bool is_log = g->kind == METRIC_LOGMEAN || g->kind == METRIC_QUANTILE;
	if (is_log && (v[0].value <= 0 || v[1].value <= 0))
		return false;
	*out = is_log ? log(v[1].value / v[0].value) : v[1].value - v[0].value;
	return true;
}

/* The gate's value of a device's baseline, as its score sees it. */
static bool baseline_value(struct call *c, const struct judge_gate *g, int64_t device, double *out)
{
	struct metric_accum a;
	struct ddsketch s;
	struct metric_point v = {0};
	if (observe_baseline(c, device, g->name, &a, &s))
		v = accum_point(&a, g->kind, &s, g->quantile);
	bool is_log = g->kind == METRIC_LOGMEAN || g->kind == METRIC_QUANTILE;
	if (v.reports < ROLLOUT_BASELINE_REPORTS || (is_log && v.value <= 0))
		return false;
	*out = is_log ? log(v.value) : v.value;
	return true;
}

static void sample_device(struct call *c, struct rollout_plan *p, const struct judge_gate *g, int64_t device)
{
	p->half_count += half_difference(c, g, device, &p->halves[p->half_count]);
	p->value_count += baseline_value(c, g, device, &p->values[p->value_count]);
}

static struct gate_spread spread_of(struct rollout_plan *p)
{
	struct gate_spread out = {planning_sigma(p->halves, p->half_count), "change between halves of the baseline"};
	if (isnan(out.sigma)) /* a young baseline: devices differ more from each other than from themselves */
		out = (struct gate_spread){planning_sigma(p->values, p->value_count), "spread between devices: an upper bound"};
	if (isnan(out.sigma))
		out.from = NULL;
	return out;
}

bool rollout_plan_step(struct call *c, struct rollout_plan *p, const struct timebox *box)
{
	const struct rollout_targets *t = p->targets;
	size_t stride = t->count / ROLLOUT_PLAN_SAMPLE + 1;
	while (p->gate < p->live->gate_count) {
		const struct judge_gate *g = &p->live->gates[p->gate];
		bool is_sampled = rollout_gate_has_baseline(g);
		while (is_sampled && p->at < t->count && p->value_count < ROLLOUT_PLAN_SAMPLE) {
			sample_device(c, p, g, t->devices[p->at].device);
			p->at += stride;
			if (timebox_is_over(box))
				return false;
		}
		p->spreads[p->gate++] = is_sampled ? spread_of(p) : (struct gate_spread){(double)NAN, NULL};
		p->at = p->half_count = p->value_count = 0;
	}
	return true;
}

/* ---- refusing ---- */

static enum err check_metrics(struct call *c, const struct rollout_live *live, const struct rollout_targets *t)
{
	for (uint32_t i = 0; i < live->gate_count; i++)
		if (rollout_gate_has_baseline(&live->gates[i]) && t->with_metric[i] == 0)
			return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/gates/%u/metric", i),
				"none of the %zu devices of the target reports %s (at least %d reports make a baseline)", t->count, live->gates[i].name,
				ROLLOUT_BASELINE_REPORTS);
	return ERR_OK;
}

static enum err check_target(struct call *c, const struct rollout_targets *t)
{
	if (t->count)
		return ERR_OK;
	const char *words = compat_table_words(c, &t->exclusions);
	return fault_set(c->fault, ERR_INVALID, "/filter",
		"no device is left: %lld match, of which %lld run the release already, %lld are in another rollout, %lld have hardware that it has nothing for, "
		"%lld cannot run it%s%s",
		(long long)t->matched, (long long)t->already, (long long)t->busy, (long long)t->incompatible, (long long)t->excluded,
		words[0] ? ": " : "", words);
}

/* With those who cannot run the release every stage would have devices, and without them one has none: that is not what was asked for. */
static enum err check_stages(struct call *c, const struct rollout_live *live, const struct rollout_targets *t, const struct planned_stage *stages)
{
	struct planned_stage wished[ROLLOUT_STAGES_MAX + 1];
	if (!t->excluded)
		return ERR_OK;
	(void)rollout_plan_stages(live, (int64_t)t->count + t->excluded, wished);
	for (size_t i = 0; i < live->spec.stages.count; i++)
		if (stages[i].planned == 0 && wished[i].planned > 0)
			return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/stages/%zu", i),
				"stage %s would be empty: %lld of %lld devices cannot run the release: %s", stages[i].name, (long long)t->excluded,
				(long long)t->count + t->excluded, compat_table_words(c, &t->exclusions));
	return ERR_OK;
}

/* Canaries by name of whom nobody can run the release. */
static enum err check_named(struct call *c, const struct rollout_live *live)
{
	struct release_row release;
	const char *why = "", *first = "";
	size_t cannot = 0;
	enum err e = live->spec.devices.count && c->s->compats ? releases_find(c, live->spec.release, &release) : ERR_NOT_FOUND;
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	for (size_t i = 0; i < live->spec.devices.count; i++) {
		const struct device_state *d = registry_find(c->s->registry, live->spec.devices.items[i]);
		bool may = true;
		e = d ? compats_may_run(c, release.id, d, &may, &why) : ERR_OK;
		if (e || may)
			return e;
		first = cannot++ ? first : why;
	}
	return fault_set(c->fault, ERR_INVALID, "/devices", "the canary would be empty: none of the %zu devices can run the release: %s", cannot, first);
}

static enum err check_config(struct call *c, const struct rollout_live *live, const struct judge_config *config, int64_t stage, bool refuse_weak)
{
	struct fault inner = {{0}, {0}};
	enum err e = judge_check(config, refuse_weak, &inner);
	if (!e)
		return ERR_OK;
	const char *pointer = inner.pointer, *at = arena_printf(c->arena, "/stages/%lld", (long long)stage);
	if (strncmp(pointer, "/gates/", 7) == 0) {
		char *rest;
		uint32_t gate = (uint32_t)strtoul(pointer + 7, &rest, 10);
		return fault_set(c->fault, e, arena_printf(c->arena, "/gates/%u%s", rollout_gate_place(live, stage, gate), rest), "%s", inner.detail);
	}
	if (strcmp(pointer, "/canaries") == 0 || strcmp(pointer, "/blocks") == 0 || strcmp(pointer, "/controls") == 0)
		return fault_set(c->fault, e, at, "%s", inner.detail);
	return fault_set(c->fault, e, arena_printf(c->arena, "/judge%s", pointer), "%s", inner.detail);
}

/* A canary that can never revert is refused with the number that would do. */
static enum err check_canary(struct call *c, const struct rollout_live *live, const struct planned_stage *stages, size_t explicit_stages, int64_t total)
{
	int64_t first = rollout_first_live(live);
	if (!live->gate_count)
		return ERR_OK;
	struct judge_config config;
	rollout_judge_config(live, explicit_stages, first, stages[first].blocks, stages[first].controls, &config);
	if (live->spec.devices.count)
		config.blocks = (uint32_t)live->spec.devices.count;
	if (stages[first].blocks == 0 && !live->spec.devices.count)
		return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/stages/%lld", (long long)first),
			"%s takes all %lld devices: none is left to compare with", first ? "the first live stage" : "the first stage", (long long)total);
	return check_config(c, live, &config, first, live->spec.devices.count == 0);
}

/* Shadow stages take whom they can get: of those who are able, whoever is online when the stage begins. */
static enum err check_shadows(struct call *c, const struct rollout_live *live, const struct rollout_targets *t, struct planned_stage *stages, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!stages[i].is_shadow)
			continue;
		if (!t->can_shadow)
			return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/stages/%zu/mode", i),
				"none of the %zu devices of the target can run a release in shadow (capability shadow)", t->count);
		stages[i].planned = stages[i].blocks = rollout_shadow_size(stages[i].planned, t->can_shadow);
		struct judge_config config;
		rollout_judge_config(live, live->spec.stages.count, (int64_t)i, stages[i].blocks, 0, &config);
		enum err e = check_config(c, live, &config, (int64_t)i, true);
		if (e)
			return e;
	}
	return ERR_OK;
}

enum err rollout_plan_past(struct call *c, struct rollout_plan *p, const struct self_job *past, size_t asked)
{
	const struct rollout_live *live = p->live;
	int64_t total = (int64_t)p->targets->count;
	size_t with;
	p->self.windows = self_job_typical(past, &with);
	p->self.asked = (int64_t)asked;
	p->self.with = (int64_t)with;
	if (!with)
		return fault_set(c->fault, ERR_INVALID, "/judge/control",
			"none of %zu devices has an earlier window of %lld ms (the bake less its warm-up), with reports of the version that it runs: bake for a shorter time, or wait",
			asked, (long long)rollout_self_window_ms(live));
	for (size_t i = 0; i < p->stage_count; i++) {
		struct planned_stage *s = &p->stages[i];
		if (s->is_shadow || !s->blocks)
			continue;
		s->blocks = clamp_i64(total * p->self.with / p->self.asked, 1, s->blocks);
		s->controls = min_i64(s->controls, p->self.windows);
		drop_weak(live, (int64_t)i, s);
	}
	return check_canary(c, live, p->stages, live->spec.stages.count, total);
}

/* ---- writing ---- */

static void write_past(const struct rollout_plan *p, struct buf *out)
{
	json_key(out, "self");
	json_open_object(out);
	json_int(out, "window_ms", rollout_self_window_ms(p->live));
	json_int(out, "windows", p->self.windows);
	json_int(out, "devices", p->self.asked);
	json_int(out, "without_windows", p->self.asked - p->self.with);
	json_close_object(out);
}

static void write_target(const struct rollout_targets *t, struct buf *out)
{
	json_key(out, "target");
	json_open_object(out);
	json_int(out, "matched", t->matched);
	json_int(out, "devices", (int64_t)t->count);
	json_int(out, "already", t->already);
	json_int(out, "busy", t->busy);
	json_int(out, "online", t->online);
	json_int(out, "without_baseline", t->no_baseline);
	json_int(out, "can_shadow", t->can_shadow);
	json_int(out, "shadow_ready", t->shadow_ready);
	json_int(out, "unknown_release", t->no_release);
	json_key(out, "incompatible");
	json_open_array(out);
	for (size_t i = 0; i < t->gap_count; i++) {
		json_open_object(out);
		json_str(out, "hardware", t->gaps[i].hardware);
		json_str(out, "missing", t->gaps[i].missing);
		json_int(out, "devices", t->gaps[i].devices);
		json_close_object(out);
	}
	json_close_array(out);
	json_int(out, "excluded", t->excluded);
	json_key(out, "excluded_by");
	compat_table_write(&t->exclusions, true, out);
	json_close_object(out);
}

/* What the stage's verdict is worth, which is not what that of live ones is. */
static void write_shadow(const struct rollout_live *live, int64_t stage, int64_t blocks, struct buf *out)
{
	struct judge_config config;
	struct judge_plan plan;
	rollout_judge_config(live, live->spec.stages.count, stage, blocks, 0, &config);
	judge_plan(&config, NULL, &plan);
	json_int(out, "blocks_needed", rollout_blocks_needed(live, live->spec.stages.count, stage, blocks, 0));
	json_str(out, "guarantee", guarantee_name(plan.guarantee));
	json_str(out, "guarantee_text", guarantee_text(plan.guarantee));
}

static void write_stages(const struct rollout_live *live, const struct planned_stage *stages, size_t count, struct buf *out)
{
	json_key(out, "stages");
	json_open_array(out);
	for (size_t i = 0; i < count; i++) {
		json_open_object(out);
		json_str(out, "name", stages[i].name);
		json_str(out, "mode", stages[i].is_shadow ? "shadow" : "live");
		json_int(out, "devices", stages[i].planned);
		json_bool(out, "judged", stages[i].blocks > 0);
		json_int(out, "blocks", stages[i].blocks);
		json_int(out, "controls_per_block", stages[i].controls);
		if (stages[i].is_shadow)
			write_shadow(live, (int64_t)i, stages[i].blocks, out);
		json_close_object(out);
	}
	json_close_array(out);
}

static void write_rate_source(const struct silence_rate *silence, struct buf *out)
{
	char text[40] = "default";
	if (silence->days > 0)
		snprintf(text, sizeof text, "%lld day%s of history", (long long)silence->days, silence->days == 1 ? "" : "s");
	json_str(out, "silence_rate_from", text);
}

static void write_judge(const struct rollout_live *live, const struct rollout_targets *t, const struct judge_config *config,
	const struct judge_plan *plan, const struct gate_spread *spreads, struct buf *out)
{
	json_key(out, "judge");
	json_open_object(out);
	json_str(out, "guarantee", guarantee_name(plan->guarantee));
	json_str(out, "guarantee_text", guarantee_text(plan->guarantee));
	json_str(out, "bound_for", config->bounded ? "any harm up to the margins" : "harm of exactly the margins");
	json_str(out, "hold", live->spec.judge.hold);
	json_str(out, "scale", live->spec.judge.scale);
	json_num(out, "alpha", config->alpha);
	json_num(out, "alpha_hard_stop", plan->alpha_hard);
	json_num(out, "alpha_bound", plan->alpha_bound);
	json_num(out, "beta", config->beta);
	json_int(out, "looks", plan->looks);
	json_int(out, "first_look_reports", plan->first_look);
	json_int(out, "last_look_reports", plan->last_look);
	json_int(out, "hard_stop_suggested", plan->hard_stop_suggested);
	json_num(out, "silence_rate", config->silence_rate);
	write_rate_source(&live->silence, out);
	json_key(out, "gates");
	json_open_array(out);
	for (uint32_t i = 0; i < live->gate_count; i++) {
		const struct judge_gate_plan *g = &plan->gates[i];
		json_open_object(out);
		json_str(out, "metric", live->gates[i].name);
		json_str(out, "kind", metric_kind_name(live->gates[i].kind));
		json_num(out, "weight", live->gates[i].weight);
		json_num(out, "alpha_look", g->alpha_look);
		json_int(out, "n_min", g->n_min);
		json_bool(out, "can_revert", g->can_revert);
		json_num(out, "detectable", g->detectable);
		json_num(out, "detectable_percent", g->detectable_percent);
		if (spreads[i].from)
			json_str(out, "detectable_from", spreads[i].from);
		if (live->gates[i].fixed_scale > 0)
			json_num(out, "scale", live->gates[i].fixed_scale);
		if (g->blocks_for_margin > 0)
			json_int(out, "blocks_for_margin", g->blocks_for_margin);
		json_int(out, "devices_reporting", t->with_metric[i]);
		json_close_object(out);
	}
	json_close_array(out);
	json_close_object(out);
}

enum err rollout_plan_begin(struct call *c, const struct rollout_live *live, const struct rollout_targets *targets, struct rollout_plan *p)
{
	*p = (struct rollout_plan){.live = live, .targets = targets};
	enum err e = check_target(c, targets);
	if (!e)
		e = check_metrics(c, live, targets);
	if (e)
		return e;
	p->stage_count = rollout_plan_stages(live, (int64_t)targets->count, p->stages);
	e = check_stages(c, live, targets, p->stages);
	if (!e)
		e = check_named(c, live);
	if (e)
		return e;
	e = check_shadows(c, live, targets, p->stages, p->stage_count);
	return e ? e : check_canary(c, live, p->stages, live->spec.stages.count, (int64_t)targets->count);
}

void rollout_plan_write(struct rollout_plan *p, struct buf *out)
{
	const struct rollout_live *live = p->live;
	double sigma[JUDGE_GATES_MAX];
	for (uint32_t i = 0; i < live->gate_count; i++)
		sigma[i] = p->spreads[i].sigma;
	struct judge_config config;
	int64_t first = rollout_first_live(live);
	rollout_judge_config(live, live->spec.stages.count, first, p->stages[first].blocks, p->stages[first].controls, &config);
	struct judge_plan plan;
	judge_plan(&config, sigma, &plan);
	p->guarantee = live->gate_count ? judge_guarantee(&config) : GUARANTEE_NO_CONTROL;
	plan.guarantee = p->guarantee;
	json_open_object(out);
	write_target(p->targets, out);
	write_stages(live, p->stages, p->stage_count, out);
	if (p->self.asked)
		write_past(p, out);
	write_judge(live, p->targets, &config, &plan, p->spreads, out);
	json_close_object(out);
}
