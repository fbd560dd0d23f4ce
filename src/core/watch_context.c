/* The regression of each metric on the device's context: recursive least squares with one gain for all metrics. */
#include <math.h>
#include <string.h>

#pragma GCC optimize("O3", "no-trapping-math") /* loops over metrics become vector operations */

#include "core/watch_inside.h"

#define MEMORY 0.9995f         /* lambda: a week of 5-minute reports */
#define MEMORY_HOUR 0.998f     /* of temperature ... */
#define WEATHER_RATE 0.05f     /* ... whose level follows the weather of two hours */
#define GAIN_NEW 100.0f        /* P of a new device: slopes are unknown */
#define TRACE_CAP 400.0f       /* beyond it nothing is forgotten: the context does not vary */
#define SPREAD_RATE 0.001f
#define OFFSET_RATE 0.01f
#define COMMON_CLIP 6.0f
#define OFFSET_SETTLED 12u     /* reports in a context before latency is judged in it */

/* P, upper triangle by rows: g = P phi / (memory + phi' P phi); P = (P - g (P phi)') / memory. */
static void rls_step(float *p, int size, const float *phi, float memory, float *g)
{
	float v[4] = {0}, q = memory, trace = 0;
	for (int i = 0, at = 0; i < size; i++) {
		for (int j = i; j < size; j++, at++) {
			v[i] += p[at] * phi[j];
			if (j > i)
				v[j] += p[at] * phi[i];
			else
				trace += p[at];
		}
	}
	for (int i = 0; i < size; i++)
		q += phi[i] * v[i];
	if (!(trace > 0) || !(q >= memory) || !isfinite(q)) { /* new, or rounding has spoilt it */
		memset(g, 0, (size_t)size * sizeof *g);
		for (int i = 0, at = 0; i < size; at += size - i, i++) {
			memset(p + at, 0, (size_t)(size - i) * sizeof *p);
			p[at] = GAIN_NEW;
		}
		g[0] = GAIN_NEW / (memory + GAIN_NEW);
		return;
	}
	float grow = trace < TRACE_CAP ? 1 / memory : 1, share = 1 / q;
	for (int i = 0; i < size; i++)
		g[i] = v[i] * share;
	for (int i = 0, at = 0; i < size; i++) {
		for (int j = i; j < size; j++, at++)
			p[at] = (p[at] - g[i] * v[j]) * grow;
	}
}

/* What the regression has for all metrics of a report. */
struct context {
	uint32_t dither;                 /* watch_dither */
	float phi[4];                    /* 1, temperature, sin, cos */
	float gain[WATCH_METRICS], gains[3 * WATCH_METRICS]; /* what a unit of residual moves level and slopes by */
	float level[WATCH_METRICS], slope[3 * WATCH_METRICS], spread[WATCH_METRICS]; /* as floats */
};

/* Sine and cosine of an hour of the day, to 1e-6: Taylor's series within a quarter of the circle. */
static void day_angle(float hour, float *sine, float *cosine)
{
	float quarters = hour * (1 / 6.0f);
	int near = (int)(quarters + 0.5f);
	float x = (quarters - (float)near) * 1.57079633f, q = x * x;
	float s = x * (1 + q * (-1 / 6.0f + q * (1 / 120.0f + q * (-1 / 5040.0f))));
	float c = 1 + q * (-0.5f + q * (1 / 24.0f + q * (-1 / 720.0f + q * (1 / 40320.0f))));
	float odd = near & 1 ? 1.0f : 0.0f, a = s + odd * (c - s), b = c + odd * (s - c);
	*sine = near & 2 ? -a : a;
	*cosine = (near + 1) & 2 ? -b : b;
}

static void context_begin(struct watch *w, const struct watch_report *r, struct context *c)
{
	float gain[4], hour_phi[3], hour_gain[3];
	c->dither = watch_dither(r->at_s);
	c->phi[0] = hour_phi[0] = 1;
	c->phi[1] = ((float)w->temperature * (1 / WATCH_DEGREE_STEPS) - 25) / 10;
	day_angle(r->hour, &hour_phi[1], &hour_phi[2]);
	c->phi[2] = hour_phi[1];
	c->phi[3] = hour_phi[2];
	rls_step(w->gain, 4, c->phi, MEMORY, gain);
	rls_step(w->gain_hour, 3, hour_phi, MEMORY_HOUR, hour_gain);
	for (int m = 0; m < WATCH_METRICS; m++) { /* a single place that is written on its own is waited for by who reads all */
		float own = watch_is_heat[m];
		c->gain[m] = gain[0] + own * (hour_gain[0] - gain[0]);
		c->gains[m] = gain[1] + own * (WEATHER_RATE - gain[1]);
		c->gains[WATCH_METRICS + m] = gain[2] + own * (hour_gain[1] - gain[2]);
		c->gains[2 * WATCH_METRICS + m] = gain[3] + own * (hour_gain[2] - gain[3]);
	}
}

static void unpack(const struct watch *w, struct context *c)
{
	for (int m = 0; m < WATCH_METRICS; m++) {
		c->level[m] = w->level[m];
		c->spread[m] = watch_unpack(w->spread[m], WATCH_SMALL_LEAST);
	}
	for (int i = 0; i < 3 * WATCH_METRICS; i++)
		c->slope[i] = watch_unpack_signed(w->slope[i]);
}

static void pack(struct watch *restrict w, const struct context *restrict c)
{
	const uint32_t dither = c->dither;
	for (int m = 0; m < WATCH_METRICS; m++) {
		w->level[m] = c->level[m];
		w->spread[m] = watch_pack(c->spread[m], WATCH_SMALL_LEAST, dither);
	}
	for (int i = 0; i < 3 * WATCH_METRICS; i++)
		w->slope[i] = watch_pack_signed(c->slope[i], dither);
}

/* A low battery or a bad link shifts latency by an amount of its own. False: the amount is not known well yet. */
static bool offsets_apply(struct watch *w, const struct watch_report *r, float limit, float rate, float *residual)
{
	const bool flags[2] = {r->is_battery_low, r->is_link_bad};
	float offset[2];
	bool is_settled = true;
	for (int i = 0; i < 2; i++) {
		offset[i] = watch_unpack_signed(w->offset[i]);
		*residual -= flags[i] ? offset[i] : 0;
	}
	float step = rate * watch_clip(*residual, limit);
	for (unsigned i = 0; i < 2; i++) {
		if (!flags[i])
			continue;
		is_settled &= w->offset_seen[i] >= OFFSET_SETTLED;
		offset[i] += watch_rate(w->offset_seen[i], OFFSET_RATE) * step;
		w->offset[i] = watch_pack_signed(offset[i], watch_dither(r->at_s));
		w->offset_seen[i] = (uint8_t)(w->offset_seen[i] + (w->offset_seen[i] < UINT8_MAX));
	}
	return is_settled;
}

static void residuals(const struct watch *w, struct context *c, const struct watch_values *v, float *e)
{
	float phi[WATCH_METRICS];
	const float *heat = c->slope, *sine = c->slope + WATCH_METRICS, *cosine = c->slope + 2 * WATCH_METRICS;
	for (int m = 0; m < WATCH_METRICS; m++) {
		float is_first = w->samples[m] == 0 ? v->has[m] : 0;
		phi[m] = c->phi[1] + watch_is_heat[m] * (1 - c->phi[1]);
		c->level[m] += is_first * (v->x[m] - c->level[m]);
	}
	for (int m = 0; m < WATCH_METRICS; m++)
		e[m] = v->x[m] - c->level[m] - heat[m] * phi[m] - sine[m] * c->phi[2] - cosine[m] * c->phi[3];
}

/* Moves weights and spreads; `learn` 0: not this metric. */
static void learn_from(const struct watch *w, struct context *c, const float *e, const float *common, const float *sd,
	const float *learn)
{
	float step[WATCH_METRICS];
	for (int m = 0; m < WATCH_METRICS; m++) {
		float n = (float)(int)w->samples[m], free = n < WATCH_SETTLED ? 1e30f : 0, rate, size;
		step[m] = learn[m] * watch_clip(e[m], watch_max(3 * sd[m], free));
		size = e[m] - common[m];
		size = watch_min(watch_max(size, -size), watch_max(4 * sd[m], free));
		rate = watch_max(2 / (n + 2), SPREAD_RATE);
		c->spread[m] += learn[m] * rate * (size - c->spread[m]);
	}
	for (int m = 0; m < WATCH_METRICS; m++) {
		c->level[m] += c->gain[m] * step[m];
		c->slope[m] += c->gains[m] * step[m];
		c->slope[WATCH_METRICS + m] += c->gains[WATCH_METRICS + m] * step[m];
		c->slope[2 * WATCH_METRICS + m] += c->gains[2 * WATCH_METRICS + m] * step[m];
	}
}

WATCH_WIDE void watch_regress(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	struct watch_values *v)
{
	static const struct watch_peers none;
	const struct watch_peers *p = peers != NULL ? peers : &none;
	struct context c;
	float e[WATCH_METRICS], sd[WATCH_METRICS], learn[WATCH_METRICS], common[WATCH_METRICS];
	bool is_settled = true;
	context_begin(w, r, &c);
	unpack(w, &c);
	residuals(w, &c, v, e);
	for (int m = 0; m < WATCH_METRICS; m++) {
		float slow_above = watch_max(p->slow_above[m], WATCH_SLOW_ABOVE) * WATCH_CUSUM_STEPS;
		int cusum = w->up[m] > w->down[m] ? w->up[m] : w->down[m];
		sd[m] = WATCH_SD_OF_MEAN * watch_max(c.spread[m], watch_resolution[m]);
		learn[m] = v->has[m] * ((float)cusum > slow_above ? WATCH_SLOW : 1);
		common[m] = watch_common[m] * sd[m] * watch_clip(p->common[m], COMMON_CLIP);
		v->warm[m] = v->has[m] * (w->samples[m] >= WATCH_WARM_REPORTS ? 1.0f : 0.0f);
	}
	if (v->has[WATCH_LATENCY] > 0 && (r->is_battery_low || r->is_link_bad))
		is_settled = offsets_apply(w, r, 12 * sd[WATCH_LATENCY], learn[WATCH_LATENCY], &e[WATCH_LATENCY]);
	if (!is_settled)
		v->warm[WATCH_LATENCY] = learn[WATCH_LATENCY] = 0;
	for (int m = 0; m < WATCH_METRICS; m++) {
		v->expected[m] = v->x[m] - e[m] + common[m];
		v->z[m] = (e[m] - common[m]) / sd[m];
	}
	learn_from(w, &c, e, common, sd, learn);
	pack(w, &c);
	for (int m = 0; m < WATCH_METRICS; m++)
		w->samples[m] = (uint16_t)(w->samples[m] + (v->has[m] > 0 && w->samples[m] < UINT16_MAX));
}
