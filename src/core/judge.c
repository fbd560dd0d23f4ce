#include "core/judge.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/looks.h"
#include "core/order.h"
#include "core/randtest.h"
#include "core/score.h"

/* One look at work: what the caller gave, ordered, and room to compute. Units are the members of blocks; unit u
 * owns the rows index[first[u]] to index[first[u+1] - 1]. */
struct look {
	const struct judge_config *c;
	const struct judge_row *rows;
	const struct judge_cell *cells;
	size_t row_count;
	uint32_t *index, *scratch;
	uint32_t *first;
	uint32_t *stratum; /* of a unit: its block's, which is that of the block's first row */
	size_t unit_count;
	struct randtest_member *members, *subset; /* one a unit */
	double *values;
	void *test;
	size_t test_bytes;
};

static size_t aligned(size_t bytes) {
	return (bytes + 15) & ~(size_t)15;
}

size_t judge_workspace_bytes(size_t row_count, uint32_t gate_count) {
	(void)gate_count; /* gates are judged one after the other in the same room */
	return 2 * aligned(row_count * sizeof(uint32_t)) + 2 * aligned((row_count + 1) * sizeof(uint32_t)) +
		2 * aligned(row_count * sizeof(struct randtest_member)) + aligned(row_count * sizeof(double)) +
		randtest_workspace_bytes(row_count) + 16;
}

static void *take(uintptr_t *at, size_t bytes) {
	void *taken = (void *)*at;
	*at += aligned(bytes);
	return taken;
}

static void look_init(struct look *k, void *workspace, size_t workspace_bytes) {
	assert(workspace_bytes >= judge_workspace_bytes(k->row_count, k->c->gate_count));
	uintptr_t at = ((uintptr_t)workspace + 15) & ~(uintptr_t)15;
	k->index = take(&at, k->row_count * sizeof(uint32_t));
	k->scratch = take(&at, k->row_count * sizeof(uint32_t));
	k->first = take(&at, (k->row_count + 1) * sizeof(uint32_t));
	k->stratum = take(&at, (k->row_count + 1) * sizeof(uint32_t));
	k->members = take(&at, k->row_count * sizeof(struct randtest_member));
	k->subset = take(&at, k->row_count * sizeof(struct randtest_member));
	k->values = take(&at, k->row_count * sizeof(double));
	k->test = (void *)at;
	k->test_bytes = (uintptr_t)workspace + workspace_bytes - at;
}

/* ---- rows to units ---- */

static bool same_unit(const struct judge_row *a, const struct judge_row *b) {
	return a->block == b->block && a->unit == b->unit && (a->unit != 0 || a->device == b->device);
}

static bool row_before(const void *ctx, uint32_t a, uint32_t b) {
	const struct judge_row *rows = ctx, *x = &rows[a], *y = &rows[b];
	if (x->block != y->block)
		return x->block < y->block;
	if (x->unit != y->unit)
		return x->unit < y->unit;
	return x->device < y->device;
}

static const struct judge_row *row_at(const struct look *k, size_t place) {
	return &k->rows[k->index[place]];
}

static const struct judge_cell *cell_at(const struct look *k, size_t place, uint32_t gate) {
	return &k->cells[(size_t)k->index[place] * k->c->gate_count + gate];
}

static enum err check_row(const struct look *k, size_t row, struct fault *f) {
	if (k->rows[row].reports < 0)
		return fault_set(f, ERR_INVALID, "", "row %zu: a negative number of reports", row);
	for (uint32_t g = 0; g < k->c->gate_count; g++) {
		const struct judge_cell *cell = &k->cells[row * k->c->gate_count + g];
		if (!score_is_valid(k->c->gates[g].kind, &cell->baseline, &cell->window))
			return fault_set(f, ERR_INVALID, "", "row %zu, gate %s: not a possible value of a %s", row,
				k->c->gates[g].name, metric_kind_name(k->c->gates[g].kind));
	}
	return ERR_OK;
}

/* Exactly one canary unit a block, and all devices of a unit on the same side. */
static enum err check_blocks(const struct look *k, struct fault *f) {
	uint32_t canaries = 0;
	for (size_t u = 0; u < k->unit_count; u++) {
		const struct judge_row *head = row_at(k, k->first[u]);
		for (size_t i = k->first[u] + 1; i < k->first[u + 1]; i++) {
			if (row_at(k, i)->is_canary != head->is_canary)
				return fault_set(f, ERR_INVALID, "", "block %u: a unit is canary and control at once", head->block);
			if (row_at(k, i)->device == row_at(k, i - 1)->device)
				return fault_set(f, ERR_INVALID, "", "block %u: a device twice", head->block);
		}
		bool begins = u == 0 || row_at(k, k->first[u - 1])->block != head->block;
		bool ends = u + 1 == k->unit_count || row_at(k, k->first[u + 1])->block != head->block;
		canaries = (begins ? 0 : canaries) + head->is_canary;
		if (k->c->mode == JUDGE_SHADOW && !(begins && ends))
			return fault_set(f, ERR_INVALID, "", "block %u: a shadow run's blocks have one member", head->block);
		if (k->c->mode != JUDGE_SHADOW && ends && canaries != 1)
			return fault_set(f, ERR_INVALID, "", "block %u: %u canaries, not one", head->block, canaries);
	}
	return ERR_OK;
}

static enum err order_rows(struct look *k, struct fault *f) {
	if (k->row_count > JUDGE_ROWS_MAX)
		return fault_set(f, ERR_TOO_LARGE, "", "at most %d rows", JUDGE_ROWS_MAX);
	for (size_t i = 0; i < k->row_count; i++) {
		enum err e = check_row(k, i, f);
		if (e)
			return e;
		k->index[i] = (uint32_t)i;
	}
	order_sort(k->index, k->scratch, k->row_count, row_before, k->rows);
	k->unit_count = 0;
	uint32_t stratum = 0;
	for (size_t i = 0; i < k->row_count; i++) {
		if (i == 0 || row_at(k, i)->block != row_at(k, i - 1)->block)
			stratum = row_at(k, i)->stratum;
		if (i > 0 && same_unit(row_at(k, i), row_at(k, i - 1)))
			continue;
		k->stratum[k->unit_count] = stratum;
		k->first[k->unit_count++] = (uint32_t)i;
	}
	k->first[k->unit_count] = (uint32_t)k->row_count;
	return check_blocks(k, f);
}

/* ---- one gate ---- */

/* A device's score. In a shadow run the baseline is the old version on the same inputs, also of counts. */
static bool device_score(const struct look *k, size_t place, uint32_t gate, double *y) {
	const struct judge_gate *g = &k->c->gates[gate];
	const struct judge_cell *cell = cell_at(k, place, gate);
	struct score_spec spec = {.kind = g->kind, .worse_down = g->worse == JUDGE_WORSE_DOWN};
	if (!score_of(&spec, &cell->baseline, &cell->window, y))
		return false;
	if (k->c->mode == JUDGE_SHADOW && score_is_count(g->kind)) {
		double old;
		if (!score_of(&spec, &cell->baseline, &cell->baseline, &old))
			return false;
		*y -= old;
	}
	return true;
}

/* A unit's member: the mean score of its devices with data; of counts the sum, up to the same maximum. Returns how
 * many of its devices meet the gate's exposure. */
static uint32_t fill_member(const struct look *k, size_t unit, uint32_t gate, struct randtest_member *m) {
	bool counts = score_is_count(k->c->gates[gate].kind);
	double sum = 0;
	int64_t known = 0;
	uint32_t exposed = 0;
	const struct judge_row *head = row_at(k, k->first[unit]);
	*m = (struct randtest_member){.block = head->block, .is_canary = head->is_canary};
	for (size_t i = k->first[unit]; i < k->first[unit + 1]; i++) {
		double y;
		if (!device_score(k, i, gate, &y))
			continue;
		sum += y;
		int64_t reports = cell_at(k, i, gate)->window.reports;
		m->reports += reports;
		exposed += reports >= k->c->gates[gate].min_reports;
		known++;
	}
	m->has_data = known > 0;
	m->reports = known > 0 ? m->reports / known : 0;
	m->score = counts ? fmax(-SCORE_EVENTS_MAX, fmin(SCORE_EVENTS_MAX, sum)) : known > 0 ? sum / (double)known : 0;
	return exposed;
}

/* Mean over blocks of the canary's score less its controls' mean. */
static double find_effect(const struct look *k) {
	double total = 0;
	size_t blocks = 0;
	for (size_t from = 0, to; from < k->unit_count; from = to) {
		double canary = NAN, controls = 0;
		size_t known = 0;
		for (to = from; to < k->unit_count && k->members[to].block == k->members[from].block; to++) {
			const struct randtest_member *m = &k->members[to];
			if (!m->has_data)
				continue;
			if (m->is_canary || k->c->mode == JUDGE_SHADOW) {
				canary = m->score;
			} else {
				controls += m->score;
				known++;
			}
		}
		if (isnan(canary) || (known == 0 && k->c->mode != JUDGE_SHADOW))
			continue;
		total += known > 0 ? canary - controls / (double)known : canary;
		blocks++;
	}
	return blocks > 0 ? total / (double)blocks : NAN;
}

/* Median of what canaries (or controls) show, of counts the mean. The baseline is of the devices that have a window, too: else the two
 * would be medians of different devices. */
static double typical(const struct look *k, uint32_t gate, bool canary, bool baseline) {
	bool counts = score_is_count(k->c->gates[gate].kind), shadow = k->c->mode == JUDGE_SHADOW;
	size_t known = 0;
	double sum = 0;
	if (counts && baseline)
		return NAN;
	for (size_t i = 0; i < k->row_count; i++) {
		const struct judge_cell *cell = cell_at(k, i, gate);
		/* shadow: the old version is the control, measured where the new one is */
		const struct metric_point *p = baseline || (shadow && !canary) ? &cell->baseline : &cell->window;
		if ((!shadow && row_at(k, i)->is_canary != canary) || p->reports == 0 || cell->window.reports == 0)
			continue;
		k->values[known++] = p->value;
		sum += p->value;
	}
	if (counts)
		return known > 0 ? sum / (double)known : NAN;
	return order_median(k->values, known);
}

/* Fills the members and what is told about them. */
static void describe_gate(const struct look *k, uint32_t gate, struct judge_gate_result *r) {
	bool shadow = k->c->mode == JUDGE_SHADOW;
	for (size_t u = 0; u < k->unit_count; u++) {
		struct randtest_member *m = &k->members[u];
		uint32_t exposed = fill_member(k, u, gate, m);
		r->exposed += m->is_canary || shadow ? exposed : 0;
		r->missing += !m->has_data;
		r->canaries += m->has_data && (m->is_canary || shadow);
		r->controls += m->has_data && !m->is_canary && !shadow;
	}
	r->effect = find_effect(k);
	r->canary_value = typical(k, gate, true, false);
	r->control_value = typical(k, gate, false, false);
	r->canary_baseline = typical(k, gate, true, true);
	r->control_baseline = typical(k, gate, false, true);
}

/* Whether p is within a budget, with the benefit of its rounding error to the version. */
static bool is_within(const struct exact_tail *t, double budget) {
	return budget > 0 && t->p * (1 + t->error) <= budget;
}

/* The smallest stratum above `after` (from -1), or -1. */
static int64_t next_stratum(const struct look *k, int64_t after) {
	int64_t next = -1;
	for (size_t u = 0; u < k->unit_count; u++)
		if (k->stratum[u] > after && (next < 0 || k->stratum[u] < next))
			next = k->stratum[u];
	return next;
}

static void take_test(struct judge_gate_result *r, const struct randtest_result *t, uint32_t stratum) {
	r->scale = t->scale;
	r->score = t->score;
	r->p = t->tail.p;
	r->p_error = t->tail.error;
	r->is_exact = t->tail.is_exact;
	memcpy(r->p_fraction, t->tail.fraction, sizeof r->p_fraction);
	r->stratum = stratum;
}

/* Each stratum alone shares `budget` evenly; where one has a smaller p than all together, it is the one that is
 * told. */
static bool judge_strata(const struct look *k, struct randtest_options o, struct judge_gate_result *r, double *spent) {
	uint32_t strata = 0;
	bool harm = false;
	for (int64_t s = next_stratum(k, -1); s >= 0; s = next_stratum(k, s))
		strata++;
	o.budget = strata > 0 ? o.budget / strata : 0;
	for (int64_t s = next_stratum(k, -1); s >= 0 && strata > 1; s = next_stratum(k, s)) {
		size_t count = 0;
		for (size_t u = 0; u < k->unit_count; u++)
			if (k->stratum[u] == s)
				k->subset[count++] = k->members[u];
		struct randtest_result t;
		randtest_run(k->subset, count, &o, &t, NULL, k->test, k->test_bytes);
		harm |= is_within(&t.tail, o.budget);
		*spent += t.attainable;
		if (t.tail.p < r->p)
			take_test(r, &t, (uint32_t)s);
	}
	return harm;
}

static double not_worse_p(const struct look *k, const struct judge_gate *g) {
	const struct randtest_options o = {
		.shift = g->ni_margin, .negate = true, .paired = k->c->mode == JUDGE_SHADOW, .fixed_scale = g->fixed_scale};
	struct randtest_result t;
	randtest_run(k->members, k->unit_count, &o, &t, NULL, k->test, k->test_bytes);
	return t.informative > 0 ? fmin(1, t.tail.p * (1 + t.tail.error)) : NAN; /* rounding never promotes */
}

/* `budget` is what the gate may spend at this look, 0 when none is due; `beta` what p_ni must reach. Returns what it
 * has spent. */
static double judge_gate(const struct look *k, uint32_t gate, double budget, double beta, struct judge_gate_result *r) {
	const struct judge_gate *g = &k->c->gates[gate];
	const struct randtest_options o = {.shift = g->margin,
		.counts = score_is_count(g->kind),
		.paired = k->c->mode == JUDGE_SHADOW,
		.fixed_scale = g->fixed_scale,
		.budget = g->per_stratum ? budget / 2 : budget};
	*r = (struct judge_gate_result){.alpha_look = budget, .p_ni = NAN};
	describe_gate(k, gate, r);
	struct randtest_result t;
	randtest_run(k->members, k->unit_count, &o, &t, NULL, k->test, k->test_bytes);
	take_test(r, &t, JUDGE_NO_GATE);
	r->blocks = t.informative;
	double spent = t.attainable;
	bool harm = is_within(&t.tail, o.budget);
	if (g->per_stratum)
		harm |= judge_strata(k, o, r, &spent);
	if (g->ni_margin > 0)
		r->p_ni = not_worse_p(k, g);
	if (harm)
		r->opinion = OPINION_HARM;
	else if (r->p <= k->c->hold_p)
		r->opinion = OPINION_SUSPECT;
	else if (r->blocks == 0)
		r->opinion = OPINION_NO_DATA;
	else
		r->opinion = r->p_ni <= beta ? OPINION_NOT_WORSE : OPINION_QUIET;
	return spent;
}

/* ---- the wave ---- */

static uint32_t others(const struct judge_config *c) {
	return c->mode == JUDGE_SHADOW ? 0 : c->controls;
}

bool judge_is_look_due(const struct judge_config *c, const struct judge_state *s, int64_t reports) {
	return looks_due(reports, others(c)) > s->look;
}

/* Reports that drive the looks. Earlier windows of a device are there from the start, so only its present one
 * counts, for all. */
static int64_t count_reports(const struct look *k) {
	int64_t reports = 0;
	for (size_t i = 0; i < k->row_count; i++) {
		bool counted = k->c->mode != JUDGE_SELF || k->rows[i].is_canary;
		if (counted && __builtin_add_overflow(reports, k->rows[i].reports, &reports))
			return INT64_MAX;
	}
	if (k->c->mode == JUDGE_SELF && __builtin_mul_overflow(reports, (int64_t)k->c->controls + 1, &reports))
		return INT64_MAX;
	return reports;
}

/* How many silent canaries stop now, and what the rule adds to the bound. */
static void price_hard_stop(const struct judge_config *c, uint32_t started, struct judge_result *out) {
	out->hard_stop_at = judge_hard_stop(c, started).k;
	out->alpha_bound = judge_alpha_bound(c);
}

static void count_units(const struct look *k, struct judge_result *out) {
	uint32_t silence = 0, started = 0;
	while (silence < k->c->gate_count && k->c->gates[silence].kind != METRIC_SILENCE)
		silence++;
	for (size_t u = 0; u < k->unit_count; u++) {
		const struct judge_row *head = row_at(k, k->first[u]);
		bool canary = head->is_canary || k->c->mode == JUDGE_SHADOW;
		out->blocks += u == 0 || row_at(k, k->first[u - 1])->block != head->block;
		out->canaries += canary;
		out->controls += !canary;
		bool silent = false, known = false;
		for (size_t i = k->first[u]; i < k->first[u + 1] && silence < k->c->gate_count; i++) {
			const struct metric_point *p = &cell_at(k, i, silence)->window;
			known |= p->reports > 0;
			silent |= p->reports > 0 && p->value >= 1;
		}
		started += canary && known;
		out->silent_canaries += canary && silent;
	}
	price_hard_stop(k->c, started, out);
}

/* The gate that speaks loudest: the smallest p in relation to its weight. */
static uint32_t loudest(const struct judge_config *c, const struct judge_result *out, enum judge_opinion opinion) {
	uint32_t gate = JUDGE_NO_GATE;
	for (uint32_t g = 0; g < c->gate_count; g++) {
		if (out->gates[g].opinion != opinion)
			continue;
		if (gate == JUDGE_NO_GATE || out->gates[g].p / c->gates[g].weight < out->gates[gate].p / c->gates[gate].weight)
			gate = g;
	}
	return gate;
}

static bool is_exposed(const struct judge_config *c, const struct judge_gate *g, const struct judge_gate_result *r) {
	int64_t need = g->min_devices > 0 ? g->min_devices : (c->blocks + 1) / 2;
	return r->exposed >= need && r->exposed > 0;
}

/* First gate of those that keep the wave from passing, for the reason given. */
static uint32_t obstacle(const struct judge_config *c, const struct judge_result *out, enum verdict_reason reason) {
	for (uint32_t g = 0; g < c->gate_count; g++) {
		bool exposed = is_exposed(c, &c->gates[g], &out->gates[g]);
		bool shown = c->gates[g].ni_margin == 0 || out->gates[g].p_ni <= out->beta_level;
		if ((reason == REASON_EXPOSURE && !exposed) || (reason == REASON_NOT_SHOWN && !shown))
			return g;
	}
	return JUDGE_NO_GATE;
}

static uint32_t deciding_gate(const struct judge_config *c, const struct judge_result *out) {
	switch (out->reason) {
	case REASON_HARM:
		return loudest(c, out, OPINION_HARM);
	case REASON_SUSPICION:
		return loudest(c, out, OPINION_SUSPECT);
	case REASON_EXPOSURE:
	case REASON_NOT_SHOWN:
		return obstacle(c, out, out->reason);
	case REASON_HARD_STOP:
		for (uint32_t g = 0; g < c->gate_count; g++)
			if (c->gates[g].kind == METRIC_SILENCE)
				return g;
		break;
	case REASON_BAKING:
	case REASON_SUSPICION_LASTS:
	case REASON_NOT_WORSE:
	case REASON_REVERTED:
	case REASON_COUNT:
		break;
	}
	return JUDGE_NO_GATE;
}

/* Adds up the gates. A bake end counts once: asked again while the operator thinks, a PASS stays and nothing else
 * can become one. */
static struct verdict_facts gather(const struct judge_config *c, const struct judge_state *s,
	const struct judge_result *out, bool bake_over, bool fresh_end) {
	struct verdict_facts f = {
		.hard_stop = out->hard_stop_at > 0 && out->silent_canaries >= out->hard_stop_at,
		.bake_over = bake_over,
		.cleared = out->look > 0,
		.exposure = true,
		.not_worse = fresh_end || s->verdict == VERDICT_PASS,
		.can_extend = fresh_end && s->extension < c->extensions_max,
	};
	for (uint32_t g = 0; g < c->gate_count; g++) {
		const struct judge_gate_result *r = &out->gates[g];
		f.harm |= r->opinion == OPINION_HARM;
		f.suspicion |= r->opinion == OPINION_SUSPECT && out->look > 0;
		f.cleared &= r->p > c->release_p;
		if (!fresh_end)
			continue;
		f.exposure &= is_exposed(c, &c->gates[g], r);
		f.not_worse &= c->gates[g].ni_margin == 0 || r->p_ni <= out->beta_level;
	}
	return f;
}

/* Which look is executed now: the last one that is due; at a fresh end of the bake at least one. */
static uint32_t choose_look(const struct judge_config *c, const struct judge_state *s, int64_t reports,
	bool fresh_end) {
	uint32_t due = looks_due(reports, others(c));
	if (due > s->look)
		return due;
	return fresh_end ? s->look + 1 : 0;
}

static void judge_gates(const struct look *k, struct judge_state *s, struct judge_result *out) {
	const struct judge_config *c = k->c;
	uint32_t planned = looks_planned(c->blocks, c->reports_planned);
	double share = out->look > 0 ? looks_share_until(out->look, planned) : 0;
	for (uint32_t g = 0; g < c->gate_count; g++) {
		struct judge_gate_result *r = &out->gates[g];
		double budget = out->alpha_wave * c->gates[g].weight * share - s->spent[g];
		double spent = judge_gate(k, g, out->look > 0 && budget > 0 ? budget : 0, out->beta_level, r);
		if (out->look > 0) {
			s->spent[g] += c->bounded && budget > 0 ? budget : spent;
			s->p_min[g] = s->p_min[g] == 0 || r->p < s->p_min[g] ? r->p : s->p_min[g];
		}
		r->spent = s->spent[g];
		out->alpha_spent += s->spent[g];
	}
}

static void fill_budget(const struct judge_config *c, const struct judge_state *s, struct judge_result *out) {
	uint32_t extension = s->extension < c->extensions_max ? s->extension : c->extensions_max;
	out->guarantee = judge_guarantee(c);
	out->alpha_wave = c->alpha * looks_wave_share(c->wave, c->waves);
	out->beta_level = c->beta * looks_beta_share(extension, c->extensions_max);
}

enum err judge_look(const struct judge_config *c, struct judge_state *state, const struct judge_row *rows,
	const struct judge_cell *cells, size_t row_count, bool bake_over, struct judge_result *out, void *workspace,
	size_t workspace_bytes, struct fault *f) {
	assert(c->gate_count >= 1 && c->gate_count <= JUDGE_GATES_MAX && c->blocks >= 1);
	struct look k = {.c = c, .rows = rows, .cells = cells, .row_count = row_count};
	*out = (struct judge_result){.gate = JUDGE_NO_GATE};
	look_init(&k, workspace, workspace_bytes);
	enum err e = order_rows(&k, f);
	if (e)
		return e;
	bool fresh_end = bake_over && state->bake_ends <= state->extension;
	fill_budget(c, state, out);
	count_units(&k, out);
	out->reports = count_reports(&k);
	out->look = choose_look(c, state, out->reports, fresh_end);
	state->look = out->look > 0 ? out->look : state->look;
	out->next_look = looks_reports_at(state->look + 1, others(c));
	judge_gates(&k, state, out);
	struct verdict_facts facts = gather(c, state, out, bake_over, fresh_end);
	struct verdict_step step = verdict_next(state->verdict, state->held, &facts);
	state->verdict = out->verdict = step.verdict;
	state->held = step.held;
	state->bake_ends += fresh_end;
	state->extension += step.extend;
	out->extend = step.extend;
	out->reason = step.reason;
	out->gate = deciding_gate(c, out);
	return ERR_OK;
}

const char *judge_opinion_name(enum judge_opinion o) {
	static const char *const names[OPINION_COUNT] = {
		[OPINION_NO_DATA] = "no_data", [OPINION_QUIET] = "quiet",         [OPINION_SUSPECT] = "suspect",
		[OPINION_HARM] = "harm",       [OPINION_NOT_WORSE] = "not_worse",
	};
	assert(o < OPINION_COUNT);
	return names[o];
}
