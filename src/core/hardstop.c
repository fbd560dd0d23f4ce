#include "core/hardstop.h"

#include <assert.h>
#include <math.h>

static double log_probability(double n, double p, double i) {
	double hits = i > 0 ? i * log(p) : 0, misses = n - i > 0 ? (n - i) * log1p(-p) : 0;
	int sign; /* lgamma_r: lgamma writes a global */
	return lgamma_r(n + 1, &sign) - lgamma_r(i + 1, &sign) - lgamma_r(n - i + 1, &sign) + hits + misses;
}

/* P(Bin(n, p) >= k), summed from the term at k outwards until the terms no longer count. */
static double upper_tail(double n, double p, double k) {
	if (k <= 0)
		return 1;
	if (p <= 0 || k > n)
		return 0;
	if (p >= 1)
		return 1;
	double term = exp(log_probability(n, p, k)), sum = 0;
	for (double i = k; i <= n; i++) {
		sum += term;
		if (i > n * p && term <= 1e-18 * sum)
			break;
		term *= (n - i) / (i + 1) * (p / (1 - p));
		if (term == 0 && i < n * p) /* underflow below the mode: all of the mass lies above */
			return 1;
	}
	return sum < 1 ? sum : 1;
}

double hardstop_price(uint32_t n, double p0, uint32_t k) {
	assert(p0 >= 0 && p0 <= 1);
	return upper_tail(n, p0, k);
}

uint32_t hardstop_smallest(uint32_t n, double p0, double limit) {
	uint32_t k = 1;
	while (k <= n && hardstop_price(n, p0, k) > limit)
		k++;
	return k;
}

double hardstop_rate_upper(uint64_t hits, uint64_t trials, double level) {
	assert(hits <= trials && level > 0 && level < 1);
	if (hits == trials)
		return 1;
	double lo = (double)hits / (double)trials, hi = 1;
	for (int i = 0; i < 60; i++) { /* the rate at which as few hits as these have probability 1 - level */
		double mid = (lo + hi) / 2;
		if (upper_tail((double)trials, mid, (double)hits + 1) < level)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}
