#include "core/offload_policy.h"

#include <math.h>
#include <string.h>

#define Z 3.2905       /* two-sided 99.9 % */
#define STEP 1.5       /* a margin grows by this at most */
#define STEP_LEAST 40u /* or by a bin's width */
#define BIN (OFFLOAD_ONE / (double)OFFLOAD_BINS)

/* ---- what came back ---- */

static unsigned bin_of(uint32_t margin)
{
	unsigned bin = margin * OFFLOAD_BINS / OFFLOAD_ONE;
	return bin < OFFLOAD_BINS ? bin : OFFLOAD_BINS - 1;
}

enum err offload_note(struct offload_stats *s, uint32_t margin, bool is_audit, bool agreed, double cost)
{
	if (margin > OFFLOAD_ONE || !(cost >= 0) || !isfinite(cost)) return ERR_INVALID;
	unsigned bin = bin_of(margin);
	if (is_audit) s->audited[bin]++, s->audit_agreed[bin] += agreed;
	else s->sent[bin]++, s->agreed[bin] += agreed;
	s->cost += cost;
	return ERR_OK;
}

void offload_count(struct offload_stats *s, uint64_t inferences, uint64_t blocked)
{
	s->inferences += inferences;
	s->blocked += blocked;
}

static bool is_step(unsigned bins)
{
	return bins > 0 && bins <= OFFLOAD_BINS && OFFLOAD_BINS % bins == 0;
}

/* Where a device's histogram puts its pairs, within bins [from, to]: what it counts in a bin that the margin cuts lies on this side of it.
 * Without one, evenly. */
static void weigh(double weight[OFFLOAD_BINS], const uint64_t *hist, unsigned bins, unsigned from, unsigned to)
{
	static const uint64_t flat[1] = {1};
	unsigned wide = OFFLOAD_BINS / (hist != NULL ? bins : 1);
	if (hist == NULL) hist = flat;
	memset(weight, 0, OFFLOAD_BINS * sizeof *weight);
	for (unsigned first = 0; first < OFFLOAD_BINS; first += wide) {
		unsigned lo = first > from ? first : from, hi = first + wide - 1 < to ? first + wide - 1 : to;
		if (first > to) lo = hi = to;
		if (first + wide - 1 < from) lo = hi = from;
		for (unsigned i = lo; i <= hi; i++) weight[i] += (double)hist[first / wide] / (hi - lo + 1);
	}
}

/* Sums stay whole. */
static void spread(uint64_t into[OFFLOAD_BINS], uint64_t n, const double weight[OFFLOAD_BINS], unsigned to)
{
	double all = 0, seen = 0;
	uint64_t given = 0;
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) all += weight[i];
	for (unsigned i = 0; i < OFFLOAD_BINS && all > 0; i++) {
		seen += weight[i];
		uint64_t upto = (uint64_t)((double)n * fmin(seen / all, 1) + 0.5);
		into[i] += upto - given;
		given = upto;
	}
	into[to] += n - given;
}

enum err offload_take(struct offload_stats *s, const struct offload_report *r, uint16_t margin)
{
	double weight[OFFLOAD_BINS];
	unsigned edge = bin_of(margin);
	bool is_sound = r->sent <= r->inferences && r->blocked <= r->inferences - r->sent && r->audited <= r->inferences - r->sent - r->blocked;
	is_sound = is_sound && r->answered <= r->sent && r->agreed <= r->answered && r->audit_agreed <= r->audited;
	is_sound = is_sound && (r->margins == NULL || is_step(r->margin_bins)) && (r->sure == NULL || is_step(r->sure_bins));
	if (!is_sound || !(r->cost >= 0) || !isfinite(r->cost)) return ERR_INVALID;
	uint64_t agreed = r->answered > 0 ? (uint64_t)((double)r->agreed / (double)r->answered * (double)r->sent + 0.5) : 0;
	weigh(weight, r->margins, r->margin_bins, 0, edge);
	spread(s->sent, r->sent, weight, edge);
	spread(s->agreed, agreed, weight, edge);
	weigh(weight, r->sure, r->sure_bins, edge, OFFLOAD_BINS - 1);
	spread(s->audited, r->audited, weight, edge);
	spread(s->audit_agreed, r->audit_agreed, weight, edge);
	s->cost += r->cost;
	offload_count(s, r->inferences, r->blocked);
	return ERR_OK;
}

void offload_merge(struct offload_stats *into, const struct offload_stats *from)
{
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) {
		into->sent[i] += from->sent[i], into->agreed[i] += from->agreed[i];
		into->audited[i] += from->audited[i], into->audit_agreed[i] += from->audit_agreed[i];
	}
	offload_count(into, from->inferences, from->blocked);
	into->cost += from->cost;
}

void offload_halve(struct offload_stats *s)
{
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) {
		s->sent[i] /= 2, s->agreed[i] /= 2;
		s->audited[i] /= 2, s->audit_agreed[i] /= 2;
	}
	s->inferences /= 2, s->blocked /= 2, s->cost /= 2;
}

static uint64_t total(const uint64_t bins[OFFLOAD_BINS])
{
	uint64_t n = 0;
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) n += bins[i];
	return n;
}

static double share(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : NAN;
}

/* ---- the margin ---- */

const char *offload_fit_why_name(enum offload_fit_why w)
{
	static const char *const names[] = {"wait", "stays", "quantile", "step", "cost"};
	return w <= OFFLOAD_FIT_COST ? names[w] : "";
}

/* Wilson's interval (1927). */
static void wilson(double k, double n, double *lo, double *hi)
{
	double p = k / n, z2 = Z * Z, middle = p + z2 / (2 * n), half = Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
	*lo = (middle - half) / (1 + z2 / n);
	*hi = (middle + half) / (1 + z2 / n);
}

struct fitting {
	const struct offload_stats *s;
	uint16_t margin;  /* in use */
	double hard;      /* inferences below it, sent or blocked */
	double all;
	double blocked;   /* of the hard, weight of one that was sent */
	double audited_to; /* easy ones that one of the audit stands for */
};

/* How many of the inferences lie below `margin`; within a bin they are spread evenly. Blocked ones are like those that were sent:
 * link and budget do not ask how hard it was. */
static double below(const struct fitting *f, double margin)
{
	double sent = 0, easy = 0;
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) {
		double from = i * BIN, to = from + BIN;
		double seen_to = fmin(to, f->margin), part = seen_to > from ? (fmin(margin, seen_to) - from) / (seen_to - from) : 0;
		sent += (double)f->s->sent[i] * fmin(fmax(part, 0), 1);
		double easy_from = fmax(from, f->margin), wide = to - easy_from;
		easy += wide > 0 ? (double)f->s->audited[i] * fmin(fmax((margin - easy_from) / wide, 0), 1) : 0;
	}
	return sent * f->blocked + easy * f->audited_to;
}

/* The largest margin, in whole steps, that is expected to send at most `wanted` inferences, up to `most`. */
static unsigned quantile(const struct fitting *f, double wanted, unsigned most)
{
	unsigned lo = 0, hi = most;
	while (lo < hi) {
		unsigned middle = (lo + hi + 1) / 2;
		if (below(f, middle) <= wanted) lo = middle;
		else hi = middle - 1;
	}
	return lo;
}

static unsigned largest_step(unsigned margin)
{
	unsigned by_share = (unsigned)(margin * STEP), by_bin = margin + STEP_LEAST;
	unsigned most = by_share > by_bin ? by_share : by_bin;
	return most < OFFLOAD_ONE ? most : OFFLOAD_ONE;
}

static struct fitting make_fitting(const struct offload_stats *s, uint16_t margin)
{
	double sent = (double)total(s->sent), audited = (double)total(s->audited);
	struct fitting f = {.s = s, .margin = margin, .hard = sent + (double)s->blocked, .blocked = 1};
	f.all = fmax((double)s->inferences, f.hard + audited);
	if (sent > 0) f.blocked = f.hard / sent;
	if (audited > 0) f.audited_to = (f.all - f.hard) / audited;
	return f;
}

/* What is expected with the margin that is to be distributed. */
static void expect(const struct fitting *f, struct offload_fit *out)
{
	uint64_t sent = total(f->s->sent), audited = total(f->s->audited);
	bool is_seen = out->margin <= f->margin || f->audited_to > 0;
	out->rate = is_seen && f->all > 0 ? below(f, out->margin) / f->all : NAN;
	out->agreement = share(total(f->s->agreed), sent);
	out->audit_agreement = share(total(f->s->audit_agreed), audited);
	out->cost = sent + audited > 0 ? out->rate * f->s->cost / (double)(sent + audited) : NAN;
}

void offload_fit(const struct offload_stats *s, uint16_t margin, const struct offload_target *target, struct offload_fit *out)
{
	struct fitting f = make_fitting(s, margin);
	double sends = (double)(total(s->sent) + total(s->audited)), rate = target->rate, lo, hi;
	*out = (struct offload_fit){.margin = margin, .why = OFFLOAD_FIT_WAIT};
	if (f.all >= OFFLOAD_FIT_LEAST) {
		double each = sends > 0 ? s->cost / sends : 0;
		bool is_cost = !isnan(target->cost_max) && each > 0 && rate * each > target->cost_max;
		if (is_cost) rate = target->cost_max / each;
		wilson(f.hard, f.all, &lo, &hi);
		out->why = OFFLOAD_FIT_STAYS;
		if (rate < lo || rate > hi) {
			unsigned most = rate > hi ? largest_step(margin) : margin;
			out->margin = (uint16_t)quantile(&f, rate * f.all, most);
			bool is_step = out->margin > margin && (out->margin == most || f.audited_to <= 0);
			out->why = is_cost ? OFFLOAD_FIT_COST : is_step ? OFFLOAD_FIT_STEP : OFFLOAD_FIT_QUANTILE;
		}
	}
	expect(&f, out);
}

/* ---- watching ---- */

/* `is_above`: the bound is one from above. */
static enum offload_watch watch_share(uint64_t k, uint64_t n, double bound, bool is_above)
{
	double lo, hi;
	if (isnan(bound)) return OFFLOAD_FINE;
	if (n == 0) return OFFLOAD_FEW;
	wilson((double)k, (double)n, &lo, &hi);
	if (is_above ? lo > bound : hi < bound) return OFFLOAD_BREACH;
	/* fine is what would still be fine at the other end of the interval, or what was looked at often enough */
	return n >= OFFLOAD_FIT_LEAST || (is_above ? hi <= bound : lo >= bound) ? OFFLOAD_FINE : OFFLOAD_FEW;
}

void offload_watch(const struct offload_stats *s, const struct offload_bounds *b, struct offload_seen *out)
{
	uint64_t sent = total(s->sent), audited = total(s->audited), agreed = total(s->agreed), right = total(s->audit_agreed);
	uint64_t all = s->inferences > sent + audited ? s->inferences : sent + audited;
	out->rate_is = share(sent + audited, all);
	out->agreement_is = share(right, audited);
	out->needless_is = share(agreed, sent);
	out->cost_is = all > 0 ? s->cost / (double)all : NAN;
	out->rate = watch_share(sent + audited, all, b->rate_max, true);
	out->agreement = watch_share(right, audited, b->agreement_min, false);
	out->needless = watch_share(agreed, sent, b->agreement_max, true);
	out->cost = isnan(b->cost_max) ? OFFLOAD_FINE : all < OFFLOAD_FIT_LEAST ? OFFLOAD_FEW :
		out->cost_is > b->cost_max ? OFFLOAD_BREACH : OFFLOAD_FINE;
}
