/* One metric of one device over a window: an accumulator whose content does not depend on the order of its reports.
 *
 * Counts are integers and the sum is fixed-point (128 bits, unit 2^-50), so that adding, merging and reading it back
 * from disk are exact; the same reports give the same bits in any order. Duplicates are the caller's to drop (by
 * device, boot, seq). A baseline is an accumulator that was closed when the device was assigned. Values in range:
 * docs/protocol.md.
 */
#ifndef AVIARY_CORE_ACCUM_H
#define AVIARY_CORE_ACCUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/ddsketch.h"

#define ACCUM_VALUE_MAX 1e12                                /* |value| and |sum| of one report */
#define ACCUM_COUNT_MAX 2147483647                         /* n and k of one report */
#define ACCUM_ENCODED_MAX (64 + DDSKETCH_ENCODED_MAX)       /* with a sketch */
#define ACCUM_ENCODED_SMALL 64                              /* without */

struct metric_accum {
	int64_t reports; /* reports that carried this metric */
	int64_t n;       /* observations behind them */
	int64_t k;       /* successes, of ratios */
	int64_t ratio_n; /* observations of those reports that gave k */
	int64_t sum_hi;  /* fixed-point sum: sum_hi * 2^64 + sum_lo, in units of 2^-50 */
	uint64_t sum_lo;
	int64_t sum_n; /* observations of those reports that gave a sum */
};

/* One summary value, as the score needs it. */
struct metric_point {
	int64_t reports; /* in the window; 0 = no data */
	int64_t n;       /* observations */
	double value;    /* ratio k/n, mean, quantile, or number of events */
};

enum metric_kind { METRIC_RATIO, METRIC_MEAN, METRIC_LOGMEAN, METRIC_QUANTILE, METRIC_EVENT, METRIC_SILENCE,
	METRIC_KIND_COUNT };
const char *metric_kind_name(enum metric_kind k); /* "ratio" "mean" "logmean" "quantile" "event" "silence" */
/* also "p50" to "p99.9", which set *quantile */
bool metric_kind_parse(const char *text, enum metric_kind *k, double *quantile);

void accum_init(struct metric_accum *a);
/* ERR_INVALID, and nothing changes: not finite, outside the ranges above, n < 1, k < 0, k > n, or a total that would
 * overflow. */
AVIARY_MUST_CHECK enum err accum_add_number(struct metric_accum *a, double v);
AVIARY_MUST_CHECK enum err accum_add_mean(struct metric_accum *a, int64_t n, double sum);
AVIARY_MUST_CHECK enum err accum_add_ratio(struct metric_accum *a, int64_t n, int64_t k);
/* One report's sketch into the device's: all keys or none. */
AVIARY_MUST_CHECK enum err accum_add_sketch(struct metric_accum *a, struct ddsketch *s, const int32_t *keys,
	const uint64_t *counts, size_t count);
AVIARY_MUST_CHECK enum err accum_merge(struct metric_accum *into, const struct metric_accum *from);
double accum_sum(const struct metric_accum *a);
double accum_mean(const struct metric_accum *a); /* NAN without sums */
/* The summary of a kind: `s` and `quantile` are only for METRIC_QUANTILE. reports = 0 where the accumulator has no
 * such data. */
struct metric_point accum_point(const struct metric_accum *a, enum metric_kind kind, const struct ddsketch *s,
	double quantile);
/* Bytes for a BLOB (versioned, equal content gives equal bytes); `s` may be NULL. Returns the length: at most
 * ACCUM_ENCODED_SMALL without a sketch, ACCUM_ENCODED_MAX with one. */
size_t accum_encode(const struct metric_accum *a, const struct ddsketch *s, uint8_t *out);
/* `s` may be NULL: then the sketch in the bytes, if any, is not read. Without one in the bytes, *s becomes empty. */
AVIARY_MUST_CHECK enum err accum_decode(struct metric_accum *a, struct ddsketch *s, const uint8_t *data, size_t len);

#endif
