/* DDSketch (Masson, Rim, Lee; VLDB 2019) with relative accuracy 0.02 and a fixed range of keys, no collapsing.
 *
 * A value v > 0 is counted under key ceil(ln v / ln gamma), gamma = 1.02/0.98; every quantile comes back within 2 % of
 * the true one. Counts are integers, so merging is exact: any order of reports gives the same sketch, bit for bit.
 * Values below the range (zero included) count under the lowest key, values above under the highest. About 16 KiB
 * dense; 3 to 6 bytes a key encoded.
 */
#ifndef AVIARY_CORE_DDSKETCH_H
#define AVIARY_CORE_DDSKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DDSKETCH_ALPHA 0.02
#define DDSKETCH_KEY_MIN (-1024)
#define DDSKETCH_KEY_MAX 1024
#define DDSKETCH_BINS (DDSKETCH_KEY_MAX - DDSKETCH_KEY_MIN + 1)
#define DDSKETCH_COUNT_MAX ((uint64_t)1 << 62) /* all counts together */
#define DDSKETCH_ENCODED_MAX (16 + DDSKETCH_BINS * 12) /* bytes; the worst case of ddsketch_encode */

struct ddsketch {
	uint64_t n;     /* all counts */
	int lo, hi;     /* keys in use, meaningless when n is 0 */
	uint64_t bins[DDSKETCH_BINS]; /* only [lo..hi] can be other than 0 */
};

void ddsketch_init(struct ddsketch *s); /* empty */
int ddsketch_key(double v);             /* v finite; clamped to the range */
double ddsketch_key_value(int key);     /* 2 gamma^key / (1 + gamma): the middle of a bin */
/* ERR_INVALID: key outside the range, count 0 or the total above DDSKETCH_COUNT_MAX; nothing changes then. */
AVIARY_MUST_CHECK enum err ddsketch_add_key(struct ddsketch *s, int64_t key, uint64_t count);
AVIARY_MUST_CHECK enum err ddsketch_add_value(struct ddsketch *s, double v); /* ERR_INVALID: not finite or negative */
AVIARY_MUST_CHECK enum err ddsketch_merge(struct ddsketch *into, const struct ddsketch *from);
/* Middle of the first bin whose running count exceeds q*(n-1); q in [0,1]; NAN when empty. */
double ddsketch_quantile(const struct ddsketch *s, double q);
/* The share of values above `v`'s bin; NAN when empty. */
double ddsketch_share_above(const struct ddsketch *s, double v);
/* Sparse text-free form for a BLOB: equal sketches give equal bytes. Returns the length (at most
 * DDSKETCH_ENCODED_MAX). */
size_t ddsketch_encode(const struct ddsketch *s, uint8_t *out);
/* ERR_INVALID: not what ddsketch_encode writes (foreign keys, zero counts, wrong order, trailing bytes). */
AVIARY_MUST_CHECK enum err ddsketch_decode(struct ddsketch *s, const uint8_t *data, size_t len);

#endif
