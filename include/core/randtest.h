/* The exact randomisation test of one gate: from scores in blocks to S and p.
 *
 * Scores are centred on their block's median and scaled by a robust spread, both without looking at who is the
 * canary, clamped and rounded to small integers; S is the canaries' sum and p its exact tail over all ways in which
 * canaries could have been drawn. `paired` is the sign-flip form for blocks of one (shadow runs, Fisher 1935): the
 * score is a difference of the new version to the old on the same device, and each could as well have had the other
 * sign.
 */
#ifndef AVIARY_CORE_RANDTEST_H
#define AVIARY_CORE_RANDTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/exact_tail.h"

#define RANDTEST_X_UNIT 8   /* x counts eighths of s */
#define RANDTEST_CLAMP 4.0  /* in s */
#define RANDTEST_X_MAX 32
/* Within-block degrees of freedom from which a bucket of report counts has its own scale. */
#define RANDTEST_BUCKET_DF 24

/* Members must be ordered by block, and inside a block in an order that does not depend on input order. */
struct randtest_member {
	double score;    /* harm-positive; read only with has_data */
	int64_t reports; /* behind the score: chooses the scale's bucket */
	uint32_t block;
	bool is_canary;  /* exactly one in each block; not read when paired */
	bool has_data;   /* without, x = 0 */
};

struct randtest_options {
	double shift;       /* taken off the canary's score: delta, or Delta for non-inferiority */
	bool negate;        /* test the other direction: non-inferiority */
	bool counts;        /* scores are small counts: x = score, no standardisation */
	bool paired;
	double fixed_scale; /* > 0: s */
	double budget;      /* of alpha, for `attainable`; 0 = not asked */
};

struct randtest_result {
	double scale; /* s of all blocks together; 0 = no spread or counts */
	int64_t score; /* S */
	struct exact_tail tail;
	double attainable;    /* what this test spends of the budget (exact_tail_attainable) */
	uint32_t blocks;      /* given */
	uint32_t informative; /* with a canary and a control that have data (paired: with data) */
};

size_t randtest_workspace_bytes(size_t member_count);
/* x (may be NULL) receives a member's integer each. Without members: S = 0, p = 1. */
void randtest_run(const struct randtest_member *members, size_t member_count, const struct randtest_options *o,
	struct randtest_result *out, int32_t *x, void *workspace, size_t workspace_bytes);

#endif
