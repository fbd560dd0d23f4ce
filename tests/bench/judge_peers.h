/* Other judges, re-implemented from their published rules, for a fair comparison in judge_sim.c.
 *
 * Mann-Whitney with a confidence interval as Spinnaker's Kayenta has it (its MannWhitneySuite and ClassifierSuite
 * are the tests), the anytime-valid test of GrowthBook's gbstats (Waudby-Smith et al., arXiv 2103.06476, equations
 * 9 and 161; its TestSequentialTTest is the test), plain z- and t-tests, and thresholds. They see the same reports
 * of the same fleet.
 */
#ifndef AVIARY_BENCH_JUDGE_PEERS_H
#define AVIARY_BENCH_JUDGE_PEERS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/planning.h"

struct moments {
	double n, sum, square;
};

static inline void moments_add(struct moments *m, double v) {
	m->n++;
	m->sum += v;
	m->square += v * v;
}

static inline double moments_mean(const struct moments *m) {
	return m->sum / m->n;
}

static inline double moments_variance(const struct moments *m) {
	double mean = moments_mean(m), v = (m->square - m->n * mean * mean) / (m->n - 1);
	return v > 0 ? v : 0;
}

struct interval {
	double estimate, low, high;
};

/* ---- GrowthBook ---- */

/* Two-sided anytime-valid interval of b - a, or of (b - a)/a by the delta method. */
static inline struct interval growthbook_interval(
	const struct moments *a, const struct moments *b, double alpha, double tuning, bool relative) {
	double ma = moments_mean(a), mb = moments_mean(b), va = moments_variance(a) / a->n, vb = moments_variance(b) / b->n;
	double estimate = relative ? (mb - ma) / ma : mb - ma;
	double variance = relative ? vb / (ma * ma) + va * mb * mb / (ma * ma * ma * ma) : va + vb;
	double n = a->n + b->n, rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / tuning;
	double half = sqrt(variance * n) * sqrt(2 * (n * rho2 + 1) * log(sqrt(n * rho2 + 1) / alpha) / (n * n * rho2));
	return (struct interval){estimate, estimate - half, estimate + half};
}

/* ---- z and t ---- */

static inline double z_statistic(const struct moments *a, const struct moments *b) {
	double variance = moments_variance(a) / a->n + moments_variance(b) / b->n;
	return variance > 0 ? (moments_mean(b) - moments_mean(a)) / sqrt(variance) : 0;
}

/* Upper quantile of Student's t from the normal one (Cornish and Fisher; Abramowitz and Stegun 26.7.5): good to 1 %
 * from 4 degrees up. */
static inline double t_critical(double z, double df) {
	double z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
	return z + (z3 + z) / (4 * df) + (5 * z5 + 16 * z3 + 3 * z) / (96 * df * df) +
		(3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df * df * df);
}

/* Welch's degrees of freedom. */
static inline double t_degrees(const struct moments *a, const struct moments *b) {
	double va = moments_variance(a) / a->n, vb = moments_variance(b) / b->n;
	return (va + vb) * (va + vb) / (va * va / (a->n - 1) + vb * vb / (b->n - 1));
}

/* ---- Kayenta ---- */

static inline int peers_compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Standardised rank sum of x - mu among y, continuity-corrected, ties averaged. x and y sorted. */
static inline double wilcoxon_z(const double *x, size_t nx, const double *y, size_t ny, double mu) {
	size_t i = 0, j = 0;
	double ranks = 0, ties = 0, rank = 0;
	while (i < nx || j < ny) {
		double value = i < nx && (j == ny || x[i] - mu < y[j]) ? x[i] - mu : y[j];
		size_t from_x = 0, from_y = 0;
		for (; i < nx && x[i] - mu == value; i++)
			from_x++;
		for (; j < ny && y[j] == value; j++)
			from_y++;
		double t = (double)(from_x + from_y);
		ranks += (double)from_x * (rank + (t + 1) / 2);
		rank += t;
		ties += t * t * t - t;
	}
	double n = (double)nx, m = (double)ny, d = ranks - n * (n + 1) / 2 - n * m / 2;
	double sigma = sqrt(n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1))));
	double correction = d > 0 ? 0.5 : d < 0 ? -0.5 : 0;
	return sigma > 0 ? (d - correction) / sigma : 0;
}

/* The shift at which the statistic is z; it falls with the shift. */
static inline double wilcoxon_root(const double *x, size_t nx, const double *y, size_t ny, double z) {
	double lo = x[0] - y[ny - 1], hi = x[nx - 1] - y[0];
	if (wilcoxon_z(x, nx, y, ny, lo) - z <= 0)
		return lo;
	if (wilcoxon_z(x, nx, y, ny, hi) - z >= 0)
		return hi;
	for (int i = 0; i < 60; i++) {
		double mid = (lo + hi) / 2, f = wilcoxon_z(x, nx, y, ny, mid) - z;
		if (f == 0)
			return mid;
		if (f > 0)
			lo = mid;
		else
			hi = mid;
	}
	return (lo + hi) / 2;
}

/* Interval of experiment less control; both sorted. */
static inline struct interval mann_whitney(const double *control, size_t nc, const double *experiment, size_t ne,
	double level) {
	double z = -planning_normal_quantile((1 - level) / 2);
	return (struct interval){wilcoxon_root(experiment, ne, control, nc, 0),
		wilcoxon_root(experiment, ne, control, nc, z),
		wilcoxon_root(experiment, ne, control, nc, -z)};
}

enum kayenta_class { KAYENTA_PASS, KAYENTA_HIGH, KAYENTA_LOW };

static inline enum kayenta_class kayenta_classify(const struct interval *i, double tolerance, bool increase,
	bool decrease) {
	double bound = tolerance * fabs(i->estimate);
	if (increase && i->low > bound)
		return KAYENTA_HIGH;
	return decrease && i->high < -bound ? KAYENTA_LOW : KAYENTA_PASS;
}

#endif
