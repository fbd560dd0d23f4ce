#include "core/select.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- names ---- */

const char *select_cost_name(enum select_cost c)
{
	static const char *const names[SELECT_COSTS] = {
#define X(name, text) text,
		SELECT_COST_TABLE(X)
#undef X
	};
	return c < SELECT_COSTS ? names[c] : "";
}

bool select_cost_from_name(struct slice name, enum select_cost *out)
{
	for (unsigned c = 0; c < SELECT_COSTS; c++) {
		if (!slice_equals(name, select_cost_name((enum select_cost)c))) continue;
		*out = (enum select_cost)c;
		return true;
	}
	return false;
}

const char *select_fate_name(enum select_fate f)
{
	static const char *const names[SELECT_FATES] = {
#define X(name, text) text,
		SELECT_FATE_TABLE(X)
#undef X
	};
	return f < SELECT_FATES ? names[f] : "";
}

const char *select_why_name(enum select_why w)
{
	static const char *const names[SELECT_WHYS] = {
#define X(name, text) text,
		SELECT_WHY_TABLE(X)
#undef X
	};
	return w < SELECT_WHYS ? names[w] : "";
}

void select_objective_init(struct select_objective *o)
{
	*o = (struct select_objective){
		.quality_min = NAN, .order_count = 3, .order = {SELECT_LATENCY, SELECT_ENERGY, SELECT_SIZE},
		.latency_max_ms = NAN, .energy_max_uj = NAN, .latency_wish_ms = NAN, .energy_wish_uj = NAN,
		.gain_min = 0.10, .dwell_ms = INT64_C(24) * 3600 * 1000,
	};
}

/* ---- one variant's numbers ---- */

/* What is compared: costs, then quality turned around, so that smaller is better everywhere. NaN: not known. An estimate from
 * MACs may rule out (latency_bound) and is no number to compare by. */
enum { QUALITY = SELECT_COSTS, DIMENSIONS };

struct numbers {
	double of[DIMENSIONS];
	double latency_bound; /* the measured latency, or twice the estimate; NaN */
	unsigned known;       /* bits */
};

static struct numbers read_numbers(const struct select_candidate *c)
{
	const struct profile_figure *latency = &c->figures->of[PROFILE_LATENCY_P95];
	struct numbers n = {.latency_bound = latency->value};
	n.of[SELECT_LATENCY] = latency->source == PROFILE_MACS ? NAN : latency->value;
	n.of[SELECT_ENERGY] = c->figures->of[PROFILE_ENERGY].value;
	n.of[SELECT_SIZE] = c->size_bytes;
	n.of[QUALITY] = -c->figures->of[PROFILE_QUALITY].value;
	for (unsigned d = 0; d < DIMENSIONS; d++) n.known |= (unsigned)!isnan(n.of[d]) << d;
	return n;
}

/* ---- hard filter ---- */

static enum select_fate check_limits(const struct select_objective *o, const struct numbers *n)
{
	double quality = -n->of[QUALITY], energy = n->of[SELECT_ENERGY];
	if (!isnan(o->quality_min)) {
		if (isnan(quality)) return SELECT_FATE_QUALITY_UNKNOWN;
		if (quality < o->quality_min) return SELECT_FATE_QUALITY_LOW;
	}
	if (!isnan(o->latency_max_ms)) {
		if (isnan(n->latency_bound)) return SELECT_FATE_LATENCY_UNKNOWN;
		if (n->latency_bound > o->latency_max_ms) return SELECT_FATE_TOO_SLOW;
	}
	if (!isnan(o->energy_max_uj)) {
		if (isnan(energy)) return SELECT_FATE_ENERGY_UNKNOWN;
		if (energy > o->energy_max_uj) return SELECT_FATE_TOO_HUNGRY;
	}
	return SELECT_FATE_CHOSEN;
}

static enum select_fate filter(const struct select_question *q, unsigned i, const struct numbers *n)
{
	if (q->wanted != SELECT_NONE && q->wanted != i) return SELECT_FATE_NOT_WANTED;
	if (q->candidates[i].compat == COMPAT_NO) return SELECT_FATE_INCOMPATIBLE;
	if (q->candidates[i].compat == COMPAT_UNKNOWN) return SELECT_FATE_UNKNOWN;
	/* who asks for one by name has seen its figures */
	return q->wanted == i ? SELECT_FATE_CHOSEN : check_limits(q->objective, n);
}

/* ---- domination ---- */

/* Only what is known of both alike is comparable; so the relation is transitive, and somebody is always left. */
static bool dominates(const struct numbers *a, const struct numbers *b)
{
	bool is_better = false;
	if (a->known != b->known) return false;
	for (unsigned d = 0; d < DIMENSIONS; d++) {
		if (!(a->known >> d & 1)) continue;
		if (a->of[d] > b->of[d]) return false;
		is_better |= a->of[d] < b->of[d];
	}
	return is_better;
}

/* ---- cost ---- */

struct order {
	bool is_weighted;
	unsigned count;
	enum select_cost by[SELECT_COSTS + 1]; /* may name one twice: the second changes nothing */
	const double *weights;
};

/* What counts first on a bad link or a low battery goes before what the release wants. */
static struct order make_order(const struct select_question *q)
{
	const struct select_objective *o = q->objective;
	struct order order = {.is_weighted = o->is_weighted, .weights = o->weights};
	bool is_link = o->follows_link && (q->context & HEALTH_BAD_LINK);
	bool is_battery = o->follows_battery && (q->context & HEALTH_LOW_BATTERY);
	if (is_link) order.by[order.count++] = SELECT_SIZE;
	else if (is_battery) order.by[order.count++] = SELECT_ENERGY;
	if (o->is_weighted) return order;
	for (unsigned i = 0; i < o->order_count; i++) order.by[order.count++] = o->order[i];
	return order;
}

/* ln of the product of the costs, each to its weight; *missing: how many weighted ones are not known. */
static double weigh(const struct order *order, const struct numbers *n, unsigned *missing)
{
	double sum = 0, weights = 0;
	*missing = 0;
	for (unsigned c = 0; c < SELECT_COSTS; c++) {
		if (!(order->weights[c] > 0)) continue;
		weights += order->weights[c];
		if (isnan(n->of[c])) ++*missing;
		else sum += order->weights[c] * log(fmax(n->of[c], 1e-9));
	}
	return weights > 0 ? sum / weights : 0;
}

/* How two compare: negative, the first is cheaper. By what, and the share that the cheaper one saves (NaN: one of the two is not
 * known; what is known goes first). */
struct comparison {
	int sign;
	unsigned cost;
	double gain;
};

static struct comparison compare_one(double a, double b, unsigned cost)
{
	if (isnan(a) || isnan(b)) return (struct comparison){isnan(a) - isnan(b), cost, NAN};
	if (a == b) return (struct comparison){0, cost, 0};
	return (struct comparison){a < b ? -1 : 1, cost, a < b ? (b - a) / b : (a - b) / a};
}

static struct comparison compare(const struct order *order, const struct numbers *a, const struct numbers *b)
{
	for (unsigned i = 0; i < order->count; i++) {
		struct comparison c = compare_one(a->of[order->by[i]], b->of[order->by[i]], order->by[i]);
		if (c.sign != 0) return c;
	}
	if (!order->is_weighted) return (struct comparison){0, SELECT_COSTS, 0};
	unsigned missing[2];
	double x = weigh(order, a, &missing[0]), y = weigh(order, b, &missing[1]);
	if (missing[0] != missing[1]) return (struct comparison){missing[0] < missing[1] ? -1 : 1, SELECT_COSTS, NAN};
	if (x == y) return (struct comparison){0, SELECT_COSTS, 0};
	return (struct comparison){x < y ? -1 : 1, SELECT_COSTS, -expm1(-fabs(x - y))};
}

/* ---- the choice ---- */

struct choice {
	const struct select_question *q;
	struct select_answer *a;
	struct order order;
	struct numbers numbers[SELECT_VARIANTS];
};

static void drop_dominated(struct choice *c)
{
	for (unsigned i = 0; i < c->q->count; i++) {
		if (!(c->a->eligible >> i & 1)) continue;
		for (unsigned k = 0; k < c->q->count; k++) {
			if (!(c->a->eligible >> k & 1) || !dominates(&c->numbers[k], &c->numbers[i])) continue;
			/* told is the best of those that dominate: one that nobody dominates */
			bool is_told = c->a->variants[i].other != SELECT_NONE &&
				!dominates(&c->numbers[k], &c->numbers[c->a->variants[i].other]);
			if (!is_told) c->a->variants[i].other = (uint8_t)k;
			c->a->variants[i].fate = SELECT_FATE_DOMINATED;
			c->a->dominated |= (uint16_t)(1u << i);
		}
	}
}

/* Among those that are left: lowest cost, then id. */
static unsigned find_best(const struct choice *c)
{
	unsigned best = SELECT_NONE;
	for (unsigned i = 0; i < c->q->count; i++) {
		if (!((c->a->eligible & ~c->a->dominated) >> i & 1)) continue;
		if (best == SELECT_NONE) {
			best = i;
			continue;
		}
		int sign = compare(&c->order, &c->numbers[i], &c->numbers[best]).sign;
		if (sign == 0) sign = strcmp(c->q->candidates[i].id, c->q->candidates[best].id);
		if (sign < 0) best = i;
	}
	return best;
}

/* Whether what is installed stays although another one is better. */
static enum select_why keep(const struct choice *c, unsigned best)
{
	const struct select_question *q = c->q;
	if (q->wanted == best) return SELECT_WHY_WANTED;
	if (q->installed == best) return SELECT_WHY_INSTALLED;
	enum select_why change = c->a->eligible == 1u << best ? SELECT_WHY_ONLY : SELECT_WHY_BEST;
	if (q->installed >= q->count || !(c->a->eligible >> q->installed & 1)) return change;
	struct comparison gain = compare(&c->order, &c->numbers[best], &c->numbers[q->installed]);
	c->a->gain = gain.gain;
	if (q->objective->follows_link && (q->context & HEALTH_BAD_LINK)) return SELECT_WHY_KEPT_LINK;
	if (q->installed_for_ms < q->objective->dwell_ms) return SELECT_WHY_KEPT_DWELL;
	if (isnan(gain.gain)) return SELECT_WHY_KEPT_UNMEASURED;
	/* a hair for sums of decimals: 10 % is 10 % */
	return gain.gain < q->objective->gain_min - 1e-9 || gain.gain <= 0 ? SELECT_WHY_KEPT_GAIN : change;
}

static bool is_above(double wish, double value)
{
	return !isnan(wish) && !(value <= wish);
}

/* Losers lose to the best, also where an installed one is kept in its place. */
static void tell_losers(struct choice *c)
{
	struct select_answer *a = c->a;
	for (unsigned i = 0; i < c->q->count; i++) {
		if (i == a->best || !((a->eligible & ~a->dominated) >> i & 1)) continue;
		struct comparison x = compare(&c->order, &c->numbers[a->best], &c->numbers[i]);
		a->variants[i] = (struct select_explained){
			x.sign == 0 ? SELECT_FATE_TIE : SELECT_FATE_COSTLIER, a->best, (uint8_t)x.cost};
	}
	if (a->best != a->chosen) a->variants[a->best] = (struct select_explained){SELECT_FATE_BETTER, a->chosen, 0};
	a->variants[a->chosen] = (struct select_explained){SELECT_FATE_CHOSEN, SELECT_NONE, 0};
}

void select_choose(const struct select_question *q, struct select_answer *a)
{
	struct choice c = {.q = q, .a = a};
	assert(q->count <= SELECT_VARIANTS);
	*a = (struct select_answer){.chosen = SELECT_NONE, .best = SELECT_NONE, .why = SELECT_WHY_NOTHING, .gain = NAN};
	for (unsigned i = 0; i < q->count; i++) {
		c.numbers[i] = read_numbers(&q->candidates[i]);
		enum select_fate fate = filter(q, i, &c.numbers[i]);
		a->variants[i] = (struct select_explained){(uint8_t)fate, SELECT_NONE, 0};
		if (fate == SELECT_FATE_CHOSEN) a->eligible |= (uint16_t)(1u << i);
	}
	c.order = make_order(q);
	drop_dominated(&c);
	a->best = (uint8_t)find_best(&c);
	if (a->best == SELECT_NONE) return;
	a->why = (uint8_t)keep(&c, a->best);
	a->chosen = (uint8_t)(a->why >= SELECT_WHY_KEPT_GAIN ? q->installed : a->best);
	a->is_poor = is_above(q->objective->latency_wish_ms, c.numbers[a->chosen].of[SELECT_LATENCY]) ||
		is_above(q->objective->energy_wish_uj, c.numbers[a->chosen].of[SELECT_ENERGY]);
	tell_losers(&c);
}
