/* What a canary of a given size can and cannot find, before it starts. */
#ifndef AVIARY_CORE_PLANNING_H
#define AVIARY_CORE_PLANNING_H

#include <stddef.h>
#include <stdint.h>

/* Smallest number of blocks of r+1 whose smallest possible p, (r+1)^-n, is within alpha_eff: below it a canary can
 * never revert. alpha_eff in (0,1), r >= 1. */
uint32_t planning_n_min(double alpha_eff, uint32_t controls);
/* z with P(N(0,1) <= z) = p; p in (0,1). */
double planning_normal_quantile(double p);
/* Smallest harm found with probability `power` by one look: (z_{1-alpha_eff} + z_power) * sigma * sqrt((1 + 1/r)/n).
 * sigma: standard deviation of one device's score over the window (between devices and within: sqrt(sigma_b^2 +
 * sigma_w^2/L)). */
double planning_detectable(double alpha_eff, double power, uint32_t blocks, uint32_t controls, double sigma);
/* Blocks with which harm `delta` > 0 is found; at least n_min. UINT32_MAX where no number does. */
uint32_t planning_blocks(double alpha_eff, double power, uint32_t controls, double sigma, double delta);
/* Smallest share of canaries with an event that is found with probability `power` when no control has one; > 1 =
 * never. */
double planning_detectable_share(double alpha_eff, double power, uint32_t blocks, uint32_t controls);
/* Spread of a device's score where nothing changed: scores between two halves of the baseline, robust (1.4826 MAD,
 * else SD); NAN below 8 finite values. Sorts `scores` in place. */
double planning_sigma(double *scores, size_t count);

#endif
