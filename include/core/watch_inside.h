/* How the files of core/watch.h share their work; nobody else includes this. */
#ifndef AVIARY_CORE_WATCH_INSIDE_H
#define AVIARY_CORE_WATCH_INSIDE_H

#include "core/watch.h"

#define WATCH_SD_OF_MEAN 1.2533f  /* standard deviation over mean |residual| of a normal law: sqrt(pi/2) */
#define WATCH_SLOW_ABOVE 12.0f    /* CUSUM from which on learning is slow, without a cohort */
#define WATCH_SLOW 0.05f
#define WATCH_SETTLED 36u         /* samples from which on residuals are clipped */

struct watch_metric_facts {
	const char *name, *spike, *cusum; /* wire names */
	float lowest, highest, resolution;
	bool is_log, harm_up, harm_down, has_common;
};
extern const struct watch_metric_facts watch_facts[WATCH_METRICS];

/* watch_context.c: the regression. */
struct watch_context {
	float phi[4];       /* 1, temperature, sin, cos */
	float gain[4];      /* what a unit of residual moves the weights by */
	float gain_hour[4]; /* of temperature, whose second weight is the level of some hours */
	bool flags[2];      /* low battery, bad link */
};
void watch_context_begin(struct watch *w, const struct watch_report *r, struct watch_context *c);
/* The expectation, the residual and the z of one value in its regressed unit; learns. NAN while z is not known. */
float watch_context_judge(struct watch *w, enum watch_metric m, float x, const struct watch_context *c,
	const struct watch_peers *peers, float *expected);

/* watch_counts.c: errors, classes, dispersion, boots, constant output. */
void watch_count_errors(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_boots(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_classes(struct watch *w, const struct watch_report *r, struct watch_result *out);
void watch_count_outputs(struct watch *w, const struct watch_report *r, struct watch_result *out);

static inline float watch_clip(float v, float limit)
{
	return v > limit ? limit : v < -limit ? -limit : v;
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
