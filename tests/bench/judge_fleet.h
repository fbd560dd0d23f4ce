/* The simulated fleet of docs/judge.md, judged by the very code that the daemon runs (core/cohort.h, core/judge.h).
 *
 * One header, so that the bench (judge_sim.c) and the short form in the unit tests (test_judge_fleet.c) are the
 * same program. Devices differ, drift slowly (AR(1)), share the time of day and common shocks; latencies have
 * spikes. Blocks start over 16 intervals; every started device sends one report an interval at its own phase.
 */
#ifndef AVIARY_BENCH_JUDGE_FLEET_H
#define AVIARY_BENCH_JUDGE_FLEET_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cohort.h"
#include "core/judge.h"
#include "core/looks.h"
#include "core/planning.h"

#define FLEET_BASELINE 64   /* reports before the wave */
#define FLEET_WAVE 128      /* reports of a device in it */
#define FLEET_STAGGER 16.0  /* intervals over which blocks start */
#define FLEET_INFERENCES 50 /* labelled ones behind a report's accuracy */
#define FLEET_DAY 96        /* intervals */

/* ---- random numbers: xoshiro256++ (Blackman and Vigna 2019), seeded by splitmix64 ---- */

struct rng {
	uint64_t s[4];
	double spare;
	bool has_spare;
};

static inline uint64_t rng_next(struct rng *g) {
	uint64_t *s = g->s, sum = s[0] + s[3], result = (sum << 23 | sum >> 41) + s[0], t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 45 | s[3] >> 19;
	return result;
}

static inline void rng_seed(struct rng *g, uint64_t seed) {
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		g->s[i] = z ^ z >> 31;
	}
	g->has_spare = false;
}

static inline double rng_uniform(struct rng *g) { /* in (0,1) */
	return ((double)(rng_next(g) >> 12) + 0.5) * 0x1p-52;
}

static inline double rng_normal(struct rng *g) { /* Marsaglia's polar method */
	if (g->has_spare) {
		g->has_spare = false;
		return g->spare;
	}
	double u, v, q;
	do {
		u = 2 * rng_uniform(g) - 1;
		v = 2 * rng_uniform(g) - 1;
		q = u * u + v * v;
	} while (q >= 1 || q == 0);
	double f = sqrt(-2 * log(q) / q);
	g->spare = v * f;
	g->has_spare = true;
	return u * f;
}

/* Successes of n trials, by inversion over the failures (which are few). */
static inline int rng_binomial(struct rng *g, int n, double p) {
	double q = 1 - p, odds = q / p, mass = exp(n * log(p)), u = rng_uniform(g);
	int failures = 0;
	while (u > mass && failures < n) {
		u -= mass;
		failures++;
		mass *= odds * (n - failures + 1) / failures;
	}
	return n - failures;
}

/* ---- the fleet ---- */

struct fleet_options {
	uint32_t blocks, controls;
	double accuracy_drop; /* 0.02 = two percentage points, on canaries */
	double latency_rise;  /* ln, on canaries */
	bool iid;             /* reports like throws of one coin: no devices, drift, days or shocks */
	bool shadow;          /* blocks of one; the old version runs beside on the same inputs */
	double alpha;
	uint32_t waves;       /* 2: half of alpha is for this wave */
	double weight;        /* of each of the two gates */
	double accuracy_margin, latency_margin;
	bool never_hold;      /* nothing but the test at the bake's end decides on PASS */
	/* The harm is added to what the judge sees, not to what the device does: a share that cannot exceed 1 and a report
	 * that is clipped would make some canaries harmed by less. */
	bool exact_harm;
	uint32_t strata;      /* hardware classes of the fleet; 0: one */
	bool one_stratum;     /* only the canaries of one class are harmed */
	bool per_stratum;     /* gates test each class alone, too */
	bool bounded;         /* scale: baseline, and nothing is left to later looks */
};

struct fleet_device {
	double accuracy, drift;       /* own level and AR(1) state */
	double latency, latency_drift; /* ln p95 */
	double phase, start;          /* in the interval; when its block starts */
	double base_k, base_latency;  /* sums over the baseline */
	double change[2];             /* between its halves: accuracy, ln p95 */
	double clip;                  /* a report's ln p95 counts at most this */
	double k, latency_sum;        /* sums over the wave */
	double old_k, old_latency;    /* shadow: the old version's */
	int64_t reports;
	bool is_canary;
	uint32_t stratum;
	double p;                     /* behind the newest report's accuracy */
	double value[2];              /* of the newest report: accuracy, ln p95 */
};

struct fleet {
	const struct fleet_options *o;
	struct rng g;
	uint32_t count;
	struct fleet_device *devices;
	uint32_t *order; /* by phase */
	double shock, latency_shock;
	int64_t time;
	double day_phase;
	/* the judge's view; row i is order-independent */
	struct judge_row *rows;
	struct judge_cell *cells;
	struct judge_gate gates[2];
	struct judge_config config;
	struct judge_state state;
	struct judge_result result;
	void *workspace;
	size_t workspace_bytes;
	int64_t reports, canary_reports;
};

struct fleet_outcome {
	bool reverted;
	int64_t canary_reports; /* until then */
	double intervals;
	enum verdict verdict;   /* the last one */
	bool held;              /* at any time */
};

static inline void *fleet_alloc(size_t count, size_t size) {
	void *p = calloc(count, size);
	if (p == NULL)
		abort();
	return p;
}

static inline void fleet_init(struct fleet *f, const struct fleet_options *o) {
	memset(f, 0, sizeof *f);
	f->o = o;
	f->count = o->blocks * (o->shadow ? 1 : o->controls + 1);
	f->devices = fleet_alloc(f->count, sizeof *f->devices);
	f->order = fleet_alloc(f->count, sizeof *f->order);
	f->rows = fleet_alloc(f->count, sizeof *f->rows);
	f->cells = fleet_alloc((size_t)f->count * 2, sizeof *f->cells);
	f->workspace_bytes = judge_workspace_bytes(f->count, 2);
	if (cohort_workspace_bytes(f->count) > f->workspace_bytes)
		f->workspace_bytes = cohort_workspace_bytes(f->count);
	f->workspace = fleet_alloc(1, f->workspace_bytes);
}

static inline void fleet_done(struct fleet *f) {
	free(f->devices);
	free(f->order);
	free(f->rows);
	free(f->cells);
	free(f->workspace);
}

/* AR(1) with a stationary standard deviation of `sd`. */
static inline double fleet_drift(struct rng *g, double state, double sd, double phi) {
	return phi * state + sd * sqrt(1 - phi * phi) * rng_normal(g);
}

static inline void fleet_tick(struct fleet *f) {
	f->time++;
	if (f->o->iid)
		return;
	f->shock = fleet_drift(&f->g, f->shock, 0.01, 0.95);
	f->latency_shock = fleet_drift(&f->g, f->latency_shock, 0.04, 0.95);
}

/* One report of a device. `harmed`: it runs the new version. */
static inline void fleet_report(struct fleet *f, struct fleet_device *d, bool harmed) {
	double day = f->o->iid ? 0 : sin(2 * M_PI * ((double)f->time + f->day_phase) / FLEET_DAY);
	double p = d->accuracy + d->drift + 0.008 * day + f->shock - (harmed ? f->o->accuracy_drop : 0);
	double latency = d->latency + d->latency_drift + 0.04 * day + f->latency_shock;
	double spike = rng_uniform(&f->g) < 0.02 ? -log(rng_uniform(&f->g)) / 0.7 : 0;
	if (f->o->iid)
		latency += 0.06 * rng_normal(&f->g);
	p = p > 0.995 ? 0.995 : p < 0.02 ? 0.02 : p;
	d->p = p;
	d->value[0] = rng_binomial(&f->g, FLEET_INFERENCES, p) / (double)FLEET_INFERENCES;
	d->value[1] = latency + spike + (harmed ? f->o->latency_rise : 0);
	if (!f->o->iid) {
		d->drift = fleet_drift(&f->g, d->drift, 0.012, 0.97);
		d->latency_drift = fleet_drift(&f->g, d->latency_drift, 0.06, 0.90);
	}
}

static inline int fleet_compare_phase(const void *a, const void *b, void *devices) {
	const struct fleet_device *d = devices, *x = &d[*(const uint32_t *)a], *y = &d[*(const uint32_t *)b];
	return (x->phase > y->phase) - (x->phase < y->phase);
}

static inline void fleet_baselines(struct fleet *f) {
	for (uint32_t i = 0; i < f->count; i++) {
		struct fleet_device *d = &f->devices[i];
		*d = (struct fleet_device){.accuracy = 0.92, .latency = 3, .phase = rng_uniform(&f->g), .clip = INFINITY};
		if (!f->o->iid) {
			d->accuracy += 0.03 * rng_normal(&f->g);
			d->latency += 0.30 * rng_normal(&f->g);
			d->drift = 0.012 * rng_normal(&f->g);
			d->latency_drift = 0.06 * rng_normal(&f->g);
		}
	}
	for (int t = 0; t < FLEET_BASELINE; t++) {
		for (uint32_t i = 0; i < f->count; i++) {
			struct fleet_device *d = &f->devices[i];
			fleet_report(f, d, false);
			d->base_k += d->value[0] * FLEET_INFERENCES;
			d->base_latency += d->value[1];
			for (int metric = 0; metric < 2; metric++)
				d->change[metric] += d->value[metric] * (t < FLEET_BASELINE / 2 ? -1 : 1) / (FLEET_BASELINE / 2);
		}
		fleet_tick(f);
	}
	for (uint32_t i = 0; i < f->count; i++)
		f->devices[i].clip = f->devices[i].base_latency / FLEET_BASELINE + 1;
}

/* Draws the canaries as the daemon does, with a seed of this run. */
static inline void fleet_draw(struct fleet *f) {
	uint8_t seed[PRNG_SEED_BYTES];
	for (int i = 0; i < 4; i++) {
		uint64_t v = rng_next(&f->g);
		memcpy(seed + 8 * i, &v, 8);
	}
	double *starts = fleet_alloc(f->o->blocks, sizeof *starts);
	for (uint32_t b = 0; b < f->o->blocks; b++)
		starts[b] = FLEET_STAGGER * rng_uniform(&f->g);
	struct cohort_device *pool = fleet_alloc(f->count, sizeof *pool);
	struct cohort_member *members = fleet_alloc(f->count, sizeof *members);
	for (uint32_t i = 0; i < f->count; i++) {
		f->devices[i].stratum = f->o->strata > 0 ? i % f->o->strata : 0;
		pool[i] = (struct cohort_device){.key = i + 1, .stratum = f->devices[i].stratum, .baseline = f->devices[i].base_k};
		f->rows[i] = (struct judge_row){.device = i + 1, .block = i, .is_canary = f->o->shadow};
		f->devices[i].is_canary = f->o->shadow;
		f->devices[i].start = starts[i % f->o->blocks];
	}
	struct cohort_request q = {
		.seed = seed, .rollout = "bench", .wave = 1, .canaries = f->o->blocks, .controls_max = f->o->controls};
	struct cohort_plan plan;
	size_t count = 0;
	if (!f->o->shadow && (cohort_draw(&q, pool, f->count, members, &count, &plan, f->workspace, f->workspace_bytes) ||
							 plan.blocks != f->o->blocks || plan.controls != f->o->controls))
		abort();
	for (size_t i = 0; i < count; i++) {
		uint32_t d = members[i].device;
		f->rows[d].block = members[i].block;
		f->rows[d].stratum = f->devices[d].stratum;
		f->rows[d].is_canary = f->devices[d].is_canary = members[i].is_canary;
		f->devices[d].start = starts[members[i].block];
	}
	free(starts);
	free(pool);
	free(members);
}

/* How much two halves of a baseline differ, as the daemon's plan finds it. */
static inline double fleet_sigma(const struct fleet *f, int metric) {
	double *changes = fleet_alloc(f->count, sizeof *changes);
	for (uint32_t i = 0; i < f->count; i++)
		changes[i] = f->devices[i].change[metric];
	double sigma = planning_sigma(changes, f->count);
	free(changes);
	return sigma;
}

static inline void fleet_judge_init(struct fleet *f) {
	const struct fleet_options *o = f->o;
	judge_gate_init(&f->gates[0], "accuracy", METRIC_RATIO);
	judge_gate_init(&f->gates[1], "latency", METRIC_MEAN); /* a mean of ln p95 */
	f->gates[0].margin = o->accuracy_margin;
	f->gates[1].margin = o->latency_margin;
	f->gates[0].ni_margin = 0.02;
	f->gates[1].ni_margin = judge_margin_percent(10);
	f->gates[0].weight = f->gates[1].weight = o->weight;
	f->gates[0].per_stratum = f->gates[1].per_stratum = o->per_stratum;
	judge_config_init(&f->config);
	f->config.mode = o->shadow ? JUDGE_SHADOW : JUDGE_COHORT;
	f->config.alpha = o->alpha;
	f->config.hold_p = o->never_hold ? 0 : f->config.hold_p;
	f->config.waves = o->waves;
	f->config.bounded = o->bounded;
	for (int metric = 0; o->bounded && metric < 2; metric++)
		f->gates[metric].fixed_scale = fleet_sigma(f, metric);
	f->config.blocks = o->blocks;
	f->config.controls = o->shadow ? 0 : o->controls;
	f->config.reports_planned = FLEET_WAVE;
	f->config.extensions_max = 0;
	f->config.gates = f->gates;
	f->config.gate_count = 2;
	memset(&f->state, 0, sizeof f->state);
}

static inline void fleet_begin(struct fleet *f, uint64_t seed) {
	rng_seed(&f->g, seed);
	f->time = 0;
	f->reports = f->canary_reports = 0;
	f->day_phase = FLEET_DAY * rng_uniform(&f->g);
	f->shock = f->o->iid ? 0 : 0.01 * rng_normal(&f->g);
	f->latency_shock = f->o->iid ? 0 : 0.04 * rng_normal(&f->g);
	fleet_baselines(f);
	fleet_draw(f);
	fleet_judge_init(f);
	for (uint32_t i = 0; i < f->count; i++)
		f->order[i] = i;
	qsort_r(f->order, f->count, sizeof *f->order, fleet_compare_phase, f->devices);
	f->time = 0;
}

static inline void fleet_look(struct fleet *f, bool bake_over) {
	for (uint32_t i = 0; i < f->count; i++) {
		const struct fleet_device *d = &f->devices[i];
		double n = (double)d->reports * FLEET_INFERENCES;
		struct judge_cell *cell = &f->cells[2 * i];
		f->rows[i].reports = d->reports;
		memset(cell, 0, 2 * sizeof *cell);
		if (d->reports == 0)
			continue;
		int64_t wave = (int64_t)n;
		bool harm = f->o->exact_harm && d->is_canary && !f->o->shadow;
		double accuracy = d->k / n - (harm ? f->o->accuracy_drop : 0);
		double latency = d->latency_sum / (double)d->reports + (harm ? f->o->latency_rise : 0);
		cell[0].window = (struct metric_point){d->reports, wave, fmax(0, accuracy)};
		cell[1].window = (struct metric_point){d->reports, d->reports, latency};
		if (f->o->shadow) {
			cell[0].baseline = (struct metric_point){d->reports, wave, d->old_k / n};
			cell[1].baseline = (struct metric_point){d->reports, d->reports, d->old_latency / (double)d->reports};
			continue;
		}
		cell[0].baseline = (struct metric_point){
			FLEET_BASELINE, FLEET_BASELINE * FLEET_INFERENCES, d->base_k / (FLEET_BASELINE * FLEET_INFERENCES)};
		cell[1].baseline = (struct metric_point){FLEET_BASELINE, FLEET_BASELINE, d->base_latency / FLEET_BASELINE};
	}
	if (judge_look(&f->config, &f->state, f->rows, f->cells, f->count, bake_over, &f->result, f->workspace,
			f->workspace_bytes, NULL))
		abort();
}

/* Both versions on the same inputs: 6 % of the inferences are contested, and each version decides those by its own;
 * equal versions could be swapped. Latencies share drift and spikes and differ by 3 % of noise each. */
static inline void fleet_report_pair(struct fleet *f, struct fleet_device *d) {
	fleet_report(f, d, false);
	int contested = FLEET_INFERENCES - rng_binomial(&f->g, FLEET_INFERENCES, 0.94);
	int shared = rng_binomial(&f->g, FLEET_INFERENCES - contested, d->p);
	double latency = d->value[1], old = latency + 0.03 * rng_normal(&f->g);
	d->old_k += shared + rng_binomial(&f->g, contested, d->p);
	d->old_latency += old < d->clip ? old : d->clip;
	int right = shared + rng_binomial(&f->g, contested, d->p);
	if (f->o->accuracy_drop > 0)
		right = rng_binomial(&f->g, right, 1 - f->o->accuracy_drop / d->p);
	d->value[0] = right / (double)FLEET_INFERENCES;
	d->value[1] = latency + 0.03 * rng_normal(&f->g) + f->o->latency_rise;
}

/* A hook sees every report and may stop the run when it has seen enough; NULL = none. */
struct fleet_hook {
	void (*report)(void *ctx, const struct fleet *f, const struct fleet_device *d);
	void (*interval)(void *ctx, const struct fleet *f);
	bool (*is_done)(void *ctx);
	void *ctx;
};

/* One wave. Stops at the revert unless a hook wants to see more. */
static inline struct fleet_outcome fleet_run(struct fleet *f, uint64_t seed, const struct fleet_hook *hook) {
	struct fleet_outcome out = {0};
	fleet_begin(f, seed);
	int64_t next_look = looks_reports_at(1, f->config.controls);
	for (int t = 0; t < FLEET_WAVE + (int)FLEET_STAGGER + 1; t++) {
		for (uint32_t at = 0; at < f->count; at++) {
			struct fleet_device *d = &f->devices[f->order[at]];
			if (t + d->phase < d->start || d->reports == FLEET_WAVE)
				continue;
			if (f->o->shadow)
				fleet_report_pair(f, d);
			else
				fleet_report(f, d, d->is_canary && !f->o->exact_harm && (!f->o->one_stratum || d->stratum == 0));
			d->k += d->value[0] * FLEET_INFERENCES;
			d->latency_sum += d->value[1] < d->clip ? d->value[1] : d->clip;
			d->reports++;
			f->reports++;
			f->canary_reports += d->is_canary;
			if (hook != NULL)
				hook->report(hook->ctx, f, d);
			if (f->reports < next_look || out.reverted)
				continue;
			fleet_look(f, false);
			next_look = f->result.next_look;
			out.held |= f->result.verdict == VERDICT_HOLD;
			if (f->result.verdict == VERDICT_REVERT)
				out = (struct fleet_outcome){true, f->canary_reports, t + d->phase, VERDICT_REVERT, out.held};
			if (out.reverted && (hook == NULL || hook->is_done(hook->ctx)))
				return out;
		}
		if (hook != NULL)
			hook->interval(hook->ctx, f);
		fleet_tick(f);
	}
	if (!out.reverted) {
		fleet_look(f, true);
		out.verdict = f->result.verdict;
		out.reverted = out.verdict == VERDICT_REVERT;
		out.canary_reports = f->canary_reports;
		out.intervals = FLEET_WAVE + FLEET_STAGGER;
	}
	return out;
}

#endif
