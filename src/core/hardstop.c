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

#define AT_ONCE 0.9    /* of the price, as soon as it can be spent; the rest over the wave */
#define LEAST 2       /* one silent device is an accident; what it would cost finds more when spent on two */
#define SILENT_MAX 511 /* beyond, the rule no longer stops: such a fleet is silent by itself */

/* alive[j]: j canaries are silent and nothing was stopped yet. Only one canary starts at a time, so only j = k can
 * stop. */
struct hardstop_rule hardstop_auto(uint32_t n, uint32_t started, double p0, double limit) {
	assert(p0 >= 0 && p0 <= 1);
	double alive[SILENT_MAX + 2] = {1};
	struct hardstop_rule rule = {.k = started == 0 ? LEAST : 0, .price = 0};
	uint32_t k = LEAST;
	for (uint32_t m = 1; m <= n; m++) {
		for (uint32_t j = k; j > 0; j--) /* k itself was stopped or never reached */
			alive[j] = alive[j] * (1 - p0) + alive[j - 1] * p0;
		alive[0] *= 1 - p0;
		if (rule.price + alive[k] <= limit * (AT_ONCE + (1 - AT_ONCE) * m / n)) {
			rule.price += alive[k];
			alive[k] = 0;
		} else if (k < SILENT_MAX) {
			k++;
			alive[k] = 0;
		} else {
			alive[k] = 0; /* lost from sight */
			k = n + 1;
		}
		if (m == started)
			rule.k = k < started + 1 ? k : started + 1;
		if (k > SILENT_MAX)
			break;
	}
	if (rule.k == 0)
		rule.k = started + 1;
	return rule;
}

double hardstop_least_price(uint32_t n, double p0, double q, double power) {
	assert(p0 >= 0 && p0 < q && q <= 1 && power > 0 && power <= 1);
	uint32_t k = 0;
	while (k < n && upper_tail(n, q, k + 1) >= power)
		k++;
	/* k or more stop too often, k + 1 or more too seldom: of those with just k silent a share stops */
	double sure = upper_tail(n, q, k + 1), edge = upper_tail(n, q, k) - sure;
	double share = edge > 0 ? fmin(1, (power - sure) / edge) : 1;
	double sure0 = upper_tail(n, p0, k + 1);
	return sure0 + share * (upper_tail(n, p0, k) - sure0);
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
