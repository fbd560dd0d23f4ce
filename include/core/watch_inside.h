/* How the files of core/watch.h share their work; nobody else includes this. */
#ifndef AVIARY_CORE_WATCH_INSIDE_H
#define AVIARY_CORE_WATCH_INSIDE_H

#include <string.h>

#include "core/watch.h"

#define WATCH_SD_OF_MEAN 1.2533f  /* standard deviation over mean |residual| of a normal law: sqrt(pi/2) */
#define WATCH_SLOW_ABOVE 12.0f    /* CUSUM from which on learning is slow, without a cohort */
#define WATCH_SLOW 0.05f
#define WATCH_CUSUM_STEPS 64.0f
#define WATCH_DEGREE_STEPS 64.0f
#define WATCH_SETTLED 36.0f       /* samples from which on residuals are clipped */

/* Columns of WATCH_METRIC_TABLE, one place a metric, so that eight metrics are a few vector operations. */
extern const float watch_lowest[WATCH_METRICS], watch_highest[WATCH_METRICS], watch_resolution[WATCH_METRICS];
extern const float watch_harm_up[WATCH_METRICS], watch_harm_down[WATCH_METRICS]; /* 1: yes, 0: no */
extern const float watch_common[WATCH_METRICS]; /* 1: has a common mode */
extern const float watch_is_log[WATCH_METRICS]; /* 1: logarithms are regressed */
extern const float watch_is_heat[WATCH_METRICS]; /* 1: is what the others are regressed on */

/* Copies of a function with all that it calls, for processors with vectors of eight, with SSE 4.1, and for others; the same
 * results (no fused operations in either). */
#if defined(WATCH_GENERIC) /* tests/bench/watch_cost.c: without those vectors */
#define WATCH_WIDE __attribute__((flatten))
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WATCH_WIDE __attribute__((target_clones("avx2", "sse4.1", "default"), flatten))
#else
#define WATCH_WIDE
#endif

/* watch_context.c: the regression of one report's values. */
struct watch_values {
	float x[WATCH_METRICS];        /* regressed unit; anything where there is none */
	float has[WATCH_METRICS];      /* 1: a value, 0: none */
	float expected[WATCH_METRICS]; /* regressed unit */
	float z[WATCH_METRICS];
	float warm[WATCH_METRICS];     /* 1: z means something */
};
/* Fills expected, z and warm; learns. */
void watch_regress(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	struct watch_values *v);

/* watch_counts.c: errors, classes, dispersion, boots, constant output. */
void watch_count_errors(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_boots(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_classes(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_outputs(struct watch *w, const struct watch_report *r, struct watch_result *out);

/* The library's have rules for NaN, and a call; these give the second where the first is NaN. */
static inline float watch_max(float a, float b)
{
	return a > b ? a : b;
}

static inline float watch_min(float a, float b)
{
	return a < b ? a : b;
}

static inline float watch_clip(float v, float limit)
{
	return watch_max(watch_min(v, limit), -limit);
}

/* Natural logarithm of a positive, normal number to 1e-6: the mantissa in [sqrt 1/2, sqrt 2) by atanh's series. */
static inline float watch_ln(float v)
{
	uint32_t bits, shifted;
	memcpy(&bits, &v, sizeof bits);
	shifted = bits - 0x3f3504f3u;
	bits = (shifted & 0x7fffffu) + 0x3f3504f3u;
	float m, s, q;
	memcpy(&m, &bits, sizeof m);
	s = (m - 1) / (m + 1);
	q = s * s;
	return (float)((int32_t)shifted >> 23) * 0.69314718f + 2 * s * (1 + q * (0.33333333f + q * (0.2f + q * 0.14285714f)));
}

/* Floats of 16 bits. Unsigned ones: 5 bits of exponent from 2 to the `least` on, 11 of mantissa. Signed ones (WATCH_SLOPE_LEAST): 10. What
 * is stored and not changed keeps its bits whatever the dither; code 0 is the least, which is as good as nothing. */
#define WATCH_SMALL_LEAST (-20) /* 1e-6 to 4095: spreads, distances */
#define WATCH_COUNT_LEAST (-12) /* 2e-4 to 1e6: counts */
#define WATCH_SLOPE_LEAST (-21) /* 5e-7 to 2046 */
#define WATCH_SLOPE_MOST 2046.0f
#define WATCH_ROUND 0x800u      /* the dither that rounds to the nearest */

static inline float watch_unpack(uint16_t code, int least)
{
	uint32_t bits = ((uint32_t)code << 12) + ((uint32_t)(127 + least) << 23);
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

/* Bits of a number within [2 to the least, below 2 to the least + 32), from the former on. Limits are taken as floats: loops with this
 * are vector operations. */
static inline uint32_t watch_bits_above(float v, int least)
{
	const uint32_t first = (uint32_t)(127 + least) << 23, last = first + (31u << 23) + 0x7ff000u;
	float low, high;
	uint32_t bits;
	memcpy(&low, &first, sizeof low);
	memcpy(&high, &last, sizeof high);
	v = watch_min(watch_max(v, low), high);
	memcpy(&bits, &v, sizeof bits);
	return bits - first;
}

/* dither: 0..0xfff */
static inline uint16_t watch_pack(float v, int least, uint32_t dither)
{
	return (uint16_t)((watch_bits_above(v, least) + dither) >> 12);
}

static inline float watch_unpack_signed(uint16_t code)
{
	uint32_t bits = (((uint32_t)code & 0x7fff) << 13) + ((uint32_t)(127 + WATCH_SLOPE_LEAST) << 23);
	bits |= ((uint32_t)code & 0x8000) << 16;
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

static inline uint16_t watch_pack_signed(float v, uint32_t dither)
{
	uint32_t sign, bits = watch_bits_above(watch_min(watch_max(v, -v), WATCH_SLOPE_MOST), WATCH_SLOPE_LEAST);
	memcpy(&sign, &v, sizeof sign);
	return (uint16_t)((bits + (dither << 1)) >> 13 | (sign >> 16 & 0x8000));
}

/* 32 bits that run evenly with the reports' times: the same report gives the same state. One draw serves all of its numbers. */
static inline uint32_t watch_chance(uint32_t at_s)
{
	uint32_t h = at_s * 2654435769u;
	h ^= h >> 15;
	h *= 2246822519u;
	return h ^ h >> 13;
}

static inline uint32_t watch_dither(uint32_t at_s)
{
	return watch_chance(at_s) >> 20;
}

static inline void watch_saturate(uint16_t *count)
{
	*count = (uint16_t)(*count + (*count < UINT16_MAX));
}

/* The share a new sample has of a mean: that of all samples so far, at least `least`. */
static inline float watch_rate(unsigned samples, float least)
{
	float rate = 1 / ((float)samples + 1);
	return rate > least ? rate : least;
}

#endif
