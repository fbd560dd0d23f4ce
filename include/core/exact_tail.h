/* P(S* >= S), where S* adds one member of each block, drawn uniformly: exact by convolution of small integers.
 *
 * Blocks whose members are all equal only shift the sum and cost nothing. Up to 512 other blocks the whole
 * distribution is convolved, in 128-bit integers where the denominator fits (then p is known as a fraction), else
 * in doubles with a bound of the rounding error. Above, the Chernoff bound: never smaller than p, so still valid as
 * a p-value.
 */
#ifndef AVIARY_CORE_EXACT_TAIL_H
#define AVIARY_CORE_EXACT_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXACT_TAIL_BLOCKS_MAX 512
#define EXACT_TAIL_X_MAX 10000 /* |x| */
#define EXACT_TAIL_K_MAX 5.0    /* largest exponent that the Chernoff bound tries */
#define EXACT_TAIL_FRACTION_BYTES 84

struct exact_tail {
	double p;
	double error;  /* bound of p's relative rounding error */
	bool is_exact; /* not the Chernoff bound */
	char fraction[EXACT_TAIL_FRACTION_BYTES]; /* "163/390625" in lowest terms, or "" */
};

/* span: largest difference between two members of one block. */
size_t exact_tail_workspace_bytes(size_t blocks, uint32_t span);
/* x: members block after block; sizes[b] >= 1 members each, |x| <= EXACT_TAIL_X_MAX. No blocks: S* is 0. */
void exact_tail(const int32_t *x, const uint32_t *sizes, size_t blocks, int64_t s, struct exact_tail *out,
	void *workspace, size_t workspace_bytes);
/* What a test of this data can spend of `budget`: the largest p of any draw that is within it, 0 when none is (Tarone
 * 1990). It does not depend on S. With a `span` too wide to try every sum, budget itself where it is within reach. */
double exact_tail_attainable(const int32_t *x, const uint32_t *sizes, size_t blocks, double budget, void *workspace,
	size_t workspace_bytes);
/* min over 0 < k <= EXACT_TAIL_K_MAX of prod_b mean_i e^{k x_bi} / e^{k s}, at most 1. Any number of blocks. */
double exact_tail_chernoff(const int32_t *x, const uint32_t *sizes, size_t blocks, int64_t s, void *workspace,
	size_t workspace_bytes);

#endif
