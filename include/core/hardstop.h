/* The operator's right to stop at k silent canaries, and its price in false reverts. Outside the theorem, but said. */
#ifndef AVIARY_CORE_HARDSTOP_H
#define AVIARY_CORE_HARDSTOP_H

#include <stdint.h>

/* P(Bin(n, p0) >= k). p0 in [0,1]. */
double hardstop_price(uint32_t n, double p0, uint32_t k);
/* Smallest k in 1..n with a price <= limit; n+1 when none. */
uint32_t hardstop_smallest(uint32_t n, double p0, double limit);
/* 95 % (level 0.95) one-sided upper bound of a rate of which `hits` of `trials` were seen (Clopper and Pearson 1934);
 * 1 without trials. */
double hardstop_rate_upper(uint64_t hits, uint64_t trials, double level);

#endif
