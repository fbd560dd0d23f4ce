#include "core/judge.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/looks.h"
#include "core/planning.h"
#include "core/score.h"

#define POWER 0.9

void judge_config_init(struct judge_config *c) {
	*c = (struct judge_config){
		.mode = JUDGE_COHORT,
		.alpha = 0.01,
		.beta = 0.05,
		.hold_p = 0.001,
		.release_p = 0.01,
		.waves = 1,
		.wave = 1,
		.reports_planned = 128,
		.extensions_max = 1,
		.on_inconclusive = INCONCLUSIVE_HOLD,
		.hard_stop_price = HARDSTOP_PRICE,
	};
}

double judge_margin_percent(double percent) {
	return log1p(percent / 100);
}

void judge_gate_init(struct judge_gate *g, const char *name, enum metric_kind kind) {
	*g = (struct judge_gate){.name = name, .kind = kind, .worse = JUDGE_WORSE_UP, .min_reports = 1};
	switch (kind) {
	case METRIC_RATIO:
		g->worse = JUDGE_WORSE_DOWN;
		g->margin = 0.005;
		g->ni_margin = 0.02;
		break;
	case METRIC_LOGMEAN:
	case METRIC_QUANTILE:
		g->quantile = kind == METRIC_QUANTILE ? 0.95 : 0;
		g->margin = judge_margin_percent(5);
		g->ni_margin = judge_margin_percent(10);
		break;
	case METRIC_MEAN:
	case METRIC_EVENT:
	case METRIC_SILENCE:
	case METRIC_KIND_COUNT:
		break;
	}
}

void judge_gates_normalise(struct judge_gate *gates, uint32_t count) {
	double sum = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (gates[i].weight == 0)
			gates[i].weight = score_is_count(gates[i].kind) ? 0.2 : 0.15;
		sum += gates[i].weight;
	}
	for (uint32_t i = 0; i < count; i++)
		gates[i].weight /= sum;
}

struct hardstop_rule judge_hard_stop(const struct judge_config *c, uint32_t started) {
	if (c->hard_stop_silent == JUDGE_HARD_STOP_AUTO && c->hard_stop_price > 0)
		return hardstop_auto(c->blocks, started < c->blocks ? started : c->blocks, c->silence_rate,
			c->hard_stop_price * looks_wave_share(c->wave, c->waves));
	if (c->hard_stop_silent == JUDGE_HARD_STOP_AUTO || c->hard_stop_silent == 0)
		return (struct hardstop_rule){0, 0};
	return (struct hardstop_rule){
		.k = c->hard_stop_silent, .price = hardstop_price(c->blocks, c->silence_rate, c->hard_stop_silent)};
}

/* The automatic one costs what it was allowed, over all waves; a fixed one in each wave what it costs in this. */
double judge_alpha_bound(const struct judge_config *c) {
	double hard = c->hard_stop_silent == JUDGE_HARD_STOP_AUTO ? c->hard_stop_price : judge_hard_stop(c, 0).price * c->waves;
	return fmin(1, c->alpha + hard);
}

enum guarantee judge_guarantee(const struct judge_config *c) {
	if (c->mode == JUDGE_COHORT && c->controls == 0)
		return GUARANTEE_NO_CONTROL;
	if (c->mode == JUDGE_SHADOW)
		return GUARANTEE_SHADOW; /* no device is exposed, so who they are matters not */
	if (c->mode == JUDGE_SELF)
		return GUARANTEE_STATIONARITY;
	if (c->cohort_named)
		return GUARANTEE_NAMED;
	if (c->interference)
		return GUARANTEE_INTERFERENCE;
	if (c->hold_all && c->hold_p > 0)
		return GUARANTEE_HOLD;
	return c->sham ? GUARANTEE_SHAM : GUARANTEE_EXACT;
}

/* In a block of one the two signs are what two members are elsewhere. */
static uint32_t test_controls(const struct judge_config *c) {
	return c->mode == JUDGE_SHADOW ? 1 : c->controls;
}

static uint32_t planned_looks(const struct judge_config *c) {
	return looks_planned(c->blocks, c->reports_planned);
}

static double look_budget(const struct judge_config *c, const struct judge_gate *g) {
	return c->alpha * looks_wave_share(c->wave, c->waves) * g->weight * looks_share(1, planned_looks(c)) *
		(g->per_stratum ? 0.5 : 1);
}

static enum err check_gate(const struct judge_config *c, uint32_t at, struct fault *f) {
	const struct judge_gate *g = &c->gates[at];
	char where[32];
	__builtin_snprintf(where, sizeof where, "/gates/%u", at);
	enum err e = ERR_OK;
	if (!(isfinite(g->margin) && g->margin >= 0))
		e = fault_set(f, ERR_INVALID, "/margin", "a margin is the harm that is tolerated: 0 or more");
	else if (!(isfinite(g->ni_margin) && g->ni_margin >= 0))
		e = fault_set(f, ERR_INVALID, "/ni_margin", "a non-inferiority margin is a harm: 0 (no such test) or more");
	else if (g->ni_margin > 0 && g->ni_margin <= g->margin)
		e = fault_set(f, ERR_INVALID, "/ni_margin", "must be more than the margin %g, which is tolerated", g->margin);
	else if (score_is_count(g->kind) && (g->margin > 0 || g->ni_margin > 0))
		e = fault_set(f, ERR_INVALID, "/margin", "%s gates have no margin", metric_kind_name(g->kind));
	else if (g->kind == METRIC_RATIO && (g->margin >= 1 || g->ni_margin >= 1))
		e = fault_set(f, ERR_INVALID, "/margin", "a ratio's margins are below 1 (0.02 is two percentage points)");
	else if (g->kind == METRIC_QUANTILE && !(g->quantile > 0 && g->quantile < 1))
		e = fault_set(f, ERR_INVALID, "/quantile", "must lie between 0 and 1");
	else if (!(g->weight > 0 && g->weight <= 1))
		e = fault_set(f, ERR_INVALID, "/weight", "must be above 0 and at most 1");
	else if (!(isfinite(g->fixed_scale) && g->fixed_scale >= 0))
		e = fault_set(f, ERR_INVALID, "/scale", "must be 0 or more");
	else if (g->min_devices < 0 || g->min_devices > c->blocks)
		e = fault_set(f, ERR_INVALID, "/minDevices", "must be at most the %u canaries", c->blocks);
	else if (g->min_reports < 0)
		e = fault_set(f, ERR_INVALID, "/minReports", "must be 0 or more");
	else if (g->kind == METRIC_SILENCE && c->mode == JUDGE_SHADOW)
		e = fault_set(f, ERR_INVALID, "/kind", "both versions of a shadow run fall silent together");
	for (uint32_t i = 0; e == ERR_OK && i < at; i++)
		if (strcmp(g->name, c->gates[i].name) == 0 && g->kind == c->gates[i].kind &&
			g->quantile == c->gates[i].quantile)
			e = fault_set(f, ERR_INVALID, "/name", "the same gate is listed before");
	if (e != ERR_OK && f != NULL)
		fault_prefix(f, where);
	return e;
}

static enum err check_numbers(const struct judge_config *c, struct fault *f) {
	if (!(c->alpha > 0 && c->alpha < 0.5))
		return fault_set(f, ERR_INVALID, "/alpha", "must lie between 0 and 0.5");
	if (!(c->beta > 0 && c->beta < 0.5))
		return fault_set(f, ERR_INVALID, "/beta", "must lie between 0 and 0.5");
	if (!(c->hold_p >= 0 && c->hold_p < 0.5))
		return fault_set(f, ERR_INVALID, "/holdP", "must be 0 (never hold) or more and below 0.5");
	if (!(c->release_p >= c->hold_p && c->release_p < 1))
		return fault_set(f, ERR_INVALID, "/releaseP", "must be at least holdP and below 1");
	if (c->waves < 1 || c->waves > JUDGE_WAVES_MAX || c->wave < 1 || c->wave > c->waves)
		return fault_set(f, ERR_INVALID, "/stages", "1 to %d judged stages", JUDGE_WAVES_MAX);
	if (c->blocks < 1)
		return fault_set(f, ERR_INVALID, "/canaries", "no canary could be drawn");
	if (c->reports_planned < 1)
		return fault_set(f, ERR_INVALID, "/bakeMs", "the bake is shorter than one report interval");
	if (c->extensions_max > 16)
		return fault_set(f, ERR_INVALID, "/extensions", "at most 16");
	if (!(c->hard_stop_price >= 0 && c->hard_stop_price < 0.5))
		return fault_set(f, ERR_INVALID, "/hardStopPrice", "must be 0 (none) or more and below 0.5");
	if (!(c->silence_rate >= 0 && c->silence_rate <= 1))
		return fault_set(f, ERR_INVALID, "/silenceRate", "must lie between 0 and 1");
	if (c->gate_count < 1 || c->gate_count > JUDGE_GATES_MAX)
		return fault_set(f, ERR_INVALID, "/gates", "1 to %d gates", JUDGE_GATES_MAX);
	return ERR_OK;
}

static enum err check_hard_stop(const struct judge_config *c, struct fault *f) {
	if (c->hard_stop_silent == 0)
		return ERR_OK;
	if (c->hard_stop_silent != JUDGE_HARD_STOP_AUTO && c->hard_stop_silent > c->blocks)
		return fault_set(f, ERR_INVALID, "/hardStop", "there are only %u canaries", c->blocks);
	for (uint32_t i = 0; i < c->gate_count; i++)
		if (c->gates[i].kind == METRIC_SILENCE)
			return ERR_OK;
	return fault_set(f, ERR_INVALID, "/hardStop", "needs a gate of kind silence, which counts silent canaries");
}

static enum err check_power(const struct judge_config *c, struct fault *f) {
	uint32_t controls = test_controls(c);
	if (controls == 0)
		return fault_set(f, ERR_INVALID, "/canaries",
			"no control is left: with one control each, fewer canaries are needed");
	for (uint32_t i = 0; i < c->gate_count; i++) {
		uint32_t n_min = planning_n_min(look_budget(c, &c->gates[i]), controls);
		if (c->blocks < n_min)
			return fault_set(f, ERR_INVALID, "/canaries",
				"%u canaries with %u controls each cannot show harm on %s within a look's share of alpha: at least %u are "
				"needed", c->blocks, controls, c->gates[i].name, n_min);
	}
	return ERR_OK;
}

enum err judge_check(const struct judge_config *c, bool refuse_weak, struct fault *f) {
	enum err e = check_numbers(c, f);
	double weights = 0;
	for (uint32_t i = 0; e == ERR_OK && i < c->gate_count; i++) {
		e = check_gate(c, i, f);
		weights += c->gates[i].weight;
	}
	if (e == ERR_OK && weights > 1 + 1e-9)
		e = fault_set(f, ERR_INVALID, "/gates", "weights add up to %g, more than the whole alpha", weights);
	if (e == ERR_OK)
		e = check_hard_stop(c, f);
	return e == ERR_OK && refuse_weak ? check_power(c, f) : e;
}

static void plan_gate(const struct judge_config *c, const struct judge_gate *g, double sigma,
	struct judge_gate_plan *out) {
	uint32_t controls = test_controls(c);
	*out = (struct judge_gate_plan){.alpha_look = look_budget(c, g), .detectable = NAN, .detectable_percent = NAN};
	if (controls == 0 || c->blocks == 0)
		return;
	out->n_min = planning_n_min(out->alpha_look, controls);
	out->can_revert = c->blocks >= out->n_min;
	if (score_is_count(g->kind)) {
		out->detectable = planning_detectable_share(out->alpha_look, POWER, c->blocks, controls);
		return;
	}
	double beta = c->beta * looks_beta_share(0, c->extensions_max);
	out->ni_reachable = g->ni_margin == 0 || c->blocks >= planning_n_min(beta, controls);
	if (!(sigma > 0))
		return;
	/* a pair of one device varies by sigma once, not by sqrt(1 + 1/r) */
	double spread = c->mode == JUDGE_SHADOW ? sigma / sqrt(2) : sigma;
	if (out->can_revert)
		out->detectable = g->margin + planning_detectable(out->alpha_look, POWER, c->blocks, controls, spread);
	if (g->kind == METRIC_LOGMEAN || g->kind == METRIC_QUANTILE)
		out->detectable_percent = 100 * expm1(out->detectable);
	else if (g->kind == METRIC_RATIO)
		out->detectable_percent = 100 * out->detectable;
	if (g->ni_margin > 0)
		out->blocks_for_margin = planning_blocks(out->alpha_look, POWER, controls, spread, g->ni_margin - g->margin);
}

void judge_plan(const struct judge_config *c, const double *sigma, struct judge_plan *out) {
	assert(c->gate_count <= JUDGE_GATES_MAX);
	*out = (struct judge_plan){.guarantee = judge_guarantee(c)};
	out->looks = planned_looks(c);
	uint32_t others = c->mode == JUDGE_SHADOW ? 0 : c->controls;
	out->first_look = looks_reports_at(1, others);
	out->last_look = looks_reports_at(out->looks, others);
	out->alpha_wave = c->alpha * looks_wave_share(c->wave, c->waves);
	out->alpha_hard = judge_hard_stop(c, c->blocks).price;
	out->alpha_bound = judge_alpha_bound(c);
	out->hard_stop_suggested = hardstop_smallest(c->blocks, c->silence_rate, HARDSTOP_LIMIT);
	for (uint32_t i = 0; i < c->gate_count; i++)
		plan_gate(c, &c->gates[i], sigma != NULL ? sigma[i] : NAN, &out->gates[i]);
}
