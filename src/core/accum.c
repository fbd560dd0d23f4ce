#include "core/accum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/varint.h"

#define FORMAT 1
#define HAS_SKETCH 1
#define SUM_BITS 50 /* the unit of sums is 2^-50: 1e12 in 2^90, so 2^37 reports fit into 128 bits */

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

static const char *const kind_names[METRIC_KIND_COUNT] = {
	[METRIC_RATIO] = "ratio",       [METRIC_MEAN] = "mean",   [METRIC_LOGMEAN] = "logmean",
	[METRIC_QUANTILE] = "quantile", [METRIC_EVENT] = "event", [METRIC_SILENCE] = "silence",
};

const char *metric_kind_name(enum metric_kind k) {
	return kind_names[k];
}

/* "p95", "p99.9": digits with at most one point, between 0 and 100. */
static bool parse_percentile(const char *text, double *quantile) {
	size_t digits = strspn(text, "0123456789"), len = digits;
	if (digits == 0 || digits > 2)
		return false;
	if (text[digits] == '.')
		len += 1 + strspn(text + digits + 1, "0123456789");
	if (text[len] != '\0' || len > 8 || text[len - 1] == '.')
		return false;
	double value = 0, unit = 1;
	for (size_t i = 0; i < len; i++) {
		if (i == digits)
			continue;
		value = value * 10 + (text[i] - '0');
		unit = i > digits ? unit * 10 : unit;
	}
	*quantile = value / unit / 100;
	return *quantile > 0 && *quantile < 1;
}

bool metric_kind_parse(const char *text, enum metric_kind *k, double *quantile) {
	for (int i = 0; i < METRIC_KIND_COUNT; i++) {
		if (strcmp(text, kind_names[i]) == 0) {
			*k = (enum metric_kind)i;
			return true;
		}
	}
	if (text[0] != 'p' || !parse_percentile(text + 1, quantile))
		return false;
	*k = METRIC_QUANTILE;
	return true;
}

void accum_init(struct metric_accum *a) {
	memset(a, 0, sizeof *a);
}

static int128 sum_get(const struct metric_accum *a) {
	return (int128)((uint128)(uint64_t)a->sum_hi << 64 | a->sum_lo);
}

static void sum_put(struct metric_accum *a, int128 sum) {
	a->sum_hi = (int64_t)(uint64_t)((uint128)sum >> 64);
	a->sum_lo = (uint64_t)(uint128)sum;
}

static int128 sum_fixed(double v) {
	return (int128)rint(ldexp(v, SUM_BITS));
}

/* All members at once or none: merging is the one place where totals grow. */
enum err accum_merge(struct metric_accum *into, const struct metric_accum *from) {
	struct metric_accum next;
	int128 sum;
	if (__builtin_add_overflow(into->reports, from->reports, &next.reports) ||
		__builtin_add_overflow(into->n, from->n, &next.n) || __builtin_add_overflow(into->k, from->k, &next.k) ||
		__builtin_add_overflow(into->ratio_n, from->ratio_n, &next.ratio_n) ||
		__builtin_add_overflow(into->sum_n, from->sum_n, &next.sum_n) ||
		__builtin_add_overflow(sum_get(into), sum_get(from), &sum))
		return ERR_INVALID;
	sum_put(&next, sum);
	*into = next;
	return ERR_OK;
}

enum err accum_add_number(struct metric_accum *a, double v) {
	return accum_add_mean(a, 1, v);
}

enum err accum_add_mean(struct metric_accum *a, int64_t n, double sum) {
	if (n < 1 || n > ACCUM_COUNT_MAX || !isfinite(sum) || fabs(sum) > ACCUM_VALUE_MAX)
		return ERR_INVALID;
	struct metric_accum one = {.reports = 1, .n = n, .sum_n = n};
	sum_put(&one, sum_fixed(sum));
	return accum_merge(a, &one);
}

enum err accum_add_ratio(struct metric_accum *a, int64_t n, int64_t k) {
	if (n < 1 || n > ACCUM_COUNT_MAX || k < 0 || k > n)
		return ERR_INVALID;
	return accum_merge(a, &(struct metric_accum){.reports = 1, .n = n, .k = k, .ratio_n = n});
}

enum err accum_add_sketch(struct metric_accum *a, struct ddsketch *s, const int32_t *keys, const uint64_t *counts,
	size_t count) {
	uint64_t total = 0;
	for (size_t i = 0; i < count; i++) {
		if (keys[i] < DDSKETCH_KEY_MIN || keys[i] > DDSKETCH_KEY_MAX || counts[i] < 1 || counts[i] > ACCUM_COUNT_MAX)
			return ERR_INVALID;
		total += counts[i];
	}
	if (count == 0 || count > DDSKETCH_BINS || total > DDSKETCH_COUNT_MAX - s->n ||
		accum_merge(a, &(struct metric_accum){.reports = 1, .n = (int64_t)total}))
		return ERR_INVALID;
	for (size_t i = 0; i < count; i++)
		if (ddsketch_add_key(s, keys[i], counts[i]))
			abort(); /* checked above */
	return ERR_OK;
}

double accum_sum(const struct metric_accum *a) {
	return ldexp((double)sum_get(a), -SUM_BITS);
}

double accum_mean(const struct metric_accum *a) {
	return a->sum_n > 0 ? accum_sum(a) / (double)a->sum_n : NAN;
}

struct metric_point accum_point(const struct metric_accum *a, enum metric_kind kind, const struct ddsketch *s,
	double quantile) {
	static const struct metric_point none = {0, 0, 0};
	switch (kind) {
	case METRIC_RATIO:
		if (a->ratio_n == 0)
			return none;
		return (struct metric_point){a->reports, a->ratio_n, (double)a->k / (double)a->ratio_n};
	case METRIC_MEAN:
	case METRIC_LOGMEAN:
		return a->sum_n == 0 ? none : (struct metric_point){a->reports, a->sum_n, accum_mean(a)};
	case METRIC_QUANTILE:
		if (s == NULL || s->n == 0)
			return none;
		return (struct metric_point){a->reports, (int64_t)s->n, ddsketch_quantile(s, quantile)};
	case METRIC_EVENT:
	case METRIC_SILENCE:
	case METRIC_KIND_COUNT:
		break;
	}
	return a->reports == 0 ? none : (struct metric_point){a->reports, a->n, accum_sum(a)};
}

/* Format byte, flags, the five counts as varints, the sum as 16 bytes big-endian, the sketch if there is one. */
size_t accum_encode(const struct metric_accum *a, const struct ddsketch *s, uint8_t *out) {
	const int64_t counts[5] = {a->reports, a->n, a->k, a->ratio_n, a->sum_n};
	size_t len = 0;
	out[len++] = FORMAT;
	out[len++] = s != NULL && s->n > 0 ? HAS_SKETCH : 0;
	for (int i = 0; i < 5; i++)
		len += varint_put(out + len, counts[i]);
	uint128 sum = (uint128)sum_get(a);
	for (int shift = 120; shift >= 0; shift -= 8)
		out[len++] = (uint8_t)(sum >> shift);
	if (s != NULL && s->n > 0)
		len += ddsketch_encode(s, out + len);
	return len;
}

enum err accum_decode(struct metric_accum *a, struct ddsketch *s, const uint8_t *data, size_t len) {
	const uint8_t *at = data, *end = data + len;
	int64_t counts[5];
	accum_init(a);
	if (s != NULL)
		ddsketch_init(s);
	if (len < 2 || at[0] != FORMAT || at[1] > HAS_SKETCH)
		return ERR_INVALID;
	bool has_sketch = at[1] == HAS_SKETCH;
	at += 2;
	for (int i = 0; i < 5; i++)
		if (!varint_get(&at, end, &counts[i]))
			return ERR_INVALID;
	if (end - at < 16 || (!has_sketch && end - at != 16) || counts[2] > counts[3])
		return ERR_INVALID;
	uint128 sum = 0;
	for (int i = 0; i < 16; i++)
		sum = sum << 8 | *at++;
	if (has_sketch && s != NULL && ddsketch_decode(s, at, (size_t)(end - at)))
		return ERR_INVALID;
	*a = (struct metric_accum){.reports = counts[0], .n = counts[1], .k = counts[2], .ratio_n = counts[3],
		.sum_n = counts[4]};
	sum_put(a, (int128)sum);
	return ERR_OK;
}
