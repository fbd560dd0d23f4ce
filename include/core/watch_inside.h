/* How the files of core/watch.h share their work; nobody else includes this. */
#ifndef AVIARY_CORE_WATCH_INSIDE_H
#define AVIARY_CORE_WATCH_INSIDE_H

#include <string.h>

#include "core/watch.h"

#define WATCH_SD_OF_MEAN 1.2533f  /* standard deviation over mean |residual| of a normal law: sqrt(pi/2) */
#define WATCH_SLOW_ABOVE 12.0f    /* CUSUM from which on learning is slow, without a cohort */
#define WATCH_SLOW 0.05f
#define WATCH_SETTLED 36.0f       /* samples from which on residuals are clipped */

/* Columns of WATCH_METRIC_TABLE, one place a metric, so that eight metrics are a few vector operations. */
extern const float watch_lowest[WATCH_METRICS], watch_highest[WATCH_METRICS], watch_resolution[WATCH_METRICS];
extern const float watch_harm_up[WATCH_METRICS], watch_harm_down[WATCH_METRICS]; /* 1: yes, 0: no */
extern const float watch_common[WATCH_METRICS]; /* 1: has a common mode */
extern const float watch_is_log[WATCH_METRICS]; /* 1: logarithms are regressed */

/* Two copies of a function with all that it calls, for processors with vectors of eight and for others; the same
 * results (no fused operations in either). */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WATCH_WIDE __attribute__((target_clones("avx2", "default"), flatten))
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
	return v > limit ? limit : v < -limit ? -limit : v;
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

/* e to the v, |v| < 80, to 1e-6: 2 to the whole part by the exponent's bits, the rest by Taylor's series. */
static inline float watch_exp(float v)
{
	float t = v * 1.44269504f, whole = (float)(int)(t + 200.5f) - 200, f = (t - whole) * 0.69314718f, power;
	int32_t bits = ((int32_t)whole + 127) * (1 << 23);
	memcpy(&power, &bits, sizeof power);
	float high = 0.04166667f + f * (0.00833333f + f * 0.00138889f);
	return power * (1 + f * (1 + f * (0.5f + f * (0.16666667f + f * high))));
}

#endif
