/* The operator's right to stop at k silent canaries, and its price in false reverts. Outside the theorem, but said. */
#ifndef AVIARY_CORE_HARDSTOP_H
#define AVIARY_CORE_HARDSTOP_H

#include <stdint.h>

#define HARDSTOP_LIMIT 1e-3 /* what the default hard stop may cost */

/* P(Bin(n, p0) >= k). p0 in [0,1]. */
double hardstop_price(uint32_t n, double p0, uint32_t k);
/* Smallest k in 1..n with a price <= limit; n+1 when none. */
uint32_t hardstop_smallest(uint32_t n, double p0, double limit);
/* The default hard stop: the number of silent canaries that stops grows with the number of canaries that have started,
 * so that two bricks among the first few are enough. Spends at most `limit` of probability over the whole wave, half of
 * it as early as it can; the price is exact for canaries that start one after the other. */
struct hardstop_rule {
	uint32_t k;   /* silent canaries that stop once `started` have started; started + 1 = none */
	double price; /* P(a harmless wave of n canaries is ever stopped) */
};
struct hardstop_rule hardstop_auto(uint32_t n, uint32_t started, double p0, double limit);
/* 95 % (level 0.95) one-sided upper bound of a rate of which `hits` of `trials` were seen (Clopper and Pearson 1934);
 * 1 without trials. */
double hardstop_rate_upper(uint64_t hits, uint64_t trials, double level);

#endif
