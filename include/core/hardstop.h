/* The operator's right to stop at k silent canaries, and its price in false reverts. Outside the theorem, but said. */
#ifndef AVIARY_CORE_HARDSTOP_H
#define AVIARY_CORE_HARDSTOP_H

#include <stdint.h>

#define HARDSTOP_LIMIT 1e-3  /* what a suggested fixed one may cost a wave */
#define HARDSTOP_PRICE 0.006 /* what the default one may cost a whole rollout: the smallest round number with which the median
                              * of canaries that a version with 20 % bricks reaches is 10 or fewer (docs/judge.md, bricks) */

/* P(Bin(n, p0) >= k). p0 in [0,1]. */
double hardstop_price(uint32_t n, double p0, uint32_t k);
/* Smallest k in 1..n with a price <= limit; n+1 when none. */
uint32_t hardstop_smallest(uint32_t n, double p0, double limit);
/* The default hard stop: the number of silent canaries that stops grows with the number of canaries that have started,
 * so that two bricks among the first few are enough. Spends at most `limit` of probability over the whole wave, nine
 * tenths of it as early as it can: bricks show in the first canaries or not at all; the price is exact for canaries that start one after the other. */
struct hardstop_rule {
	uint32_t k;   /* silent canaries that stop once `started` have started, 2 or more; above `started` = none */
	double price; /* P(a harmless wave of n canaries is ever stopped) */
};
struct hardstop_rule hardstop_auto(uint32_t n, uint32_t started, double p0, double limit);
/* 95 % (level 0.95) one-sided upper bound of a rate of which `hits` of `trials` were seen (Clopper and Pearson 1934);
 * 1 without trials. */
double hardstop_rate_upper(uint64_t hits, uint64_t trials, double level);

/* The least false stops that any rule can have which looks at who of the first n canaries is silent and stops with at
 * least probability `power` where a share `q` of them is (q > p0): the likelihood ratio test (Neyman and Pearson 1933),
 * with a toss-up at its edge. */
double hardstop_least_price(uint32_t n, double p0, double q, double power);

#endif
