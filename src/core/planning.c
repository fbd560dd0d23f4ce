#include "core/planning.h"

#include <assert.h>
#include <math.h>

#include "core/hardstop.h"
#include "core/order.h"

static double normal_below(double z) {
	return 0.5 * erfc(-z * 0.70710678118654752440);
}

/* Bisection on erfc: plain, monotone, and exact to the last digits that matter. */
double planning_normal_quantile(double p) {
	assert(p > 0 && p < 1);
	if (p > 0.5)
		return -planning_normal_quantile(1 - p);
	double lo = -39, hi = 0;
	for (int i = 0; i < 80; i++) {
		double mid = (lo + hi) / 2;
		if (normal_below(mid) < p)
			lo = mid;
		else
			hi = mid;
	}
	return (lo + hi) / 2;
}

/* z of an upper tail, without the loss of 1 - alpha. */
static double upper_quantile(double tail) {
	return -planning_normal_quantile(tail);
}

uint32_t planning_n_min(double alpha_eff, uint32_t controls) {
	assert(alpha_eff > 0 && alpha_eff < 1 && controls >= 1);
	/* the tolerance keeps 10^-3 = (9+1)^-3 a power and not a rounding error above it */
	return (uint32_t)ceil(log(1 / alpha_eff) / log(controls + 1.0) - 1e-9);
}

double planning_detectable(double alpha_eff, double power, uint32_t blocks, uint32_t controls, double sigma) {
	double z = upper_quantile(alpha_eff) + planning_normal_quantile(power);
	return z * sigma * sqrt((1 + 1.0 / controls) / blocks);
}

uint32_t planning_blocks(double alpha_eff, double power, uint32_t controls, double sigma, double delta) {
	double z = (upper_quantile(alpha_eff) + planning_normal_quantile(power)) * sigma / delta;
	double blocks = ceil(z * z * (1 + 1.0 / controls));
	uint32_t least = planning_n_min(alpha_eff, controls);
	if (!(delta > 0) || !(blocks < UINT32_MAX))
		return UINT32_MAX;
	return blocks > least ? (uint32_t)blocks : least;
}

double planning_detectable_share(double alpha_eff, double power, uint32_t blocks, uint32_t controls) {
	uint32_t hits = planning_n_min(alpha_eff, controls);
	if (hits > blocks)
		return INFINITY;
	double lo = 0, hi = 1;
	for (int i = 0; i < 50; i++) {
		double mid = (lo + hi) / 2;
		if (hardstop_price(blocks, mid, hits) < power)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}

double planning_sigma(double *scores, size_t count) {
	size_t finite = 0;
	for (size_t i = 0; i < count; i++)
		if (isfinite(scores[i]))
			scores[finite++] = scores[i];
	if (finite < 8)
		return NAN;
	double mean = 0, square = 0, middle = order_median(scores, finite);
	for (size_t i = 0; i < finite; i++)
		mean += scores[i] / (double)finite;
	for (size_t i = 0; i < finite; i++) {
		square += (scores[i] - mean) * (scores[i] - mean);
		scores[i] = fabs(scores[i] - middle);
	}
	double robust = 1.4826 * order_median(scores, finite);
	return robust > 0 ? robust : sqrt(square / (double)(finite - 1));
}
