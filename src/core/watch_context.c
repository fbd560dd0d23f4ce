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
	float grow = trace < TRACE_CAP ? 1 / memory : 1;
	for (int i = 0; i < size; i++)
		g[i] = v[i] / q;
	for (int i = 0, at = 0; i < size; i++) {
		for (int j = i; j < size; j++, at++)
			p[at] = (p[at] - g[i] * v[j]) * grow;
	}
}

/* What the regression has for all metrics of a report. */
struct context {
	float phi[4];                    /* 1, temperature, sin, cos */
	float gain[4][WATCH_METRICS];    /* what a unit of residual moves each weight by */
};

static void context_begin(struct watch *w, const struct watch_report *r, struct context *c)
{
	float angle = r->hour * (float)(3.14159265358979 / 12), gain[4], hour_phi[3], hour_gain[3];
	c->phi[0] = hour_phi[0] = 1;
	c->phi[1] = (w->temperature - 25) / 10;
	c->phi[2] = hour_phi[1] = sinf(angle);
	c->phi[3] = hour_phi[2] = cosf(angle);
	rls_step(w->gain, 4, c->phi, MEMORY, gain);
	rls_step(w->gain_hour, 3, hour_phi, MEMORY_HOUR, hour_gain);
	for (int k = 0; k < 4; k++) {
		for (int m = 0; m < WATCH_METRICS; m++)
			c->gain[k][m] = gain[k];
	}
	c->gain[0][WATCH_TEMPERATURE] = hour_gain[0];
	c->gain[1][WATCH_TEMPERATURE] = WEATHER_RATE;
	c->gain[2][WATCH_TEMPERATURE] = hour_gain[1];
	c->gain[3][WATCH_TEMPERATURE] = hour_gain[2];
}

/* A low battery or a bad link shifts latency by an amount of its own. False: the amount is not known well yet. */
static bool offsets_apply(struct watch *w, const struct watch_report *r, float limit, float rate, float *residual)
{
	const bool flags[2] = {r->is_battery_low, r->is_link_bad};
	bool is_settled = true;
	for (int i = 0; i < 2; i++)
		*residual -= flags[i] ? w->offset[i] : 0;
	float step = rate * watch_clip(*residual, limit);
	for (int i = 0; i < 2; i++) {
		if (!flags[i])
			continue;
		is_settled &= w->offset_seen[i] >= OFFSET_SETTLED;
		w->offset[i] += watch_rate(w->offset_seen[i], OFFSET_RATE) * step;
		w->offset_seen[i] = (uint8_t)(w->offset_seen[i] + (w->offset_seen[i] < UINT8_MAX));
	}
	return is_settled;
}

static void residuals(struct watch *w, const struct context *c, const struct watch_values *v, float *e)
{
	float phi[WATCH_METRICS];
	for (int m = 0; m < WATCH_METRICS; m++) {
		phi[m] = c->phi[1];
		if (w->samples[m] == 0 && v->has[m] > 0)
			w->weight[0][m] = v->x[m];
	}
	phi[WATCH_TEMPERATURE] = 1;
	for (int m = 0; m < WATCH_METRICS; m++)
		e[m] = v->x[m] - w->weight[0][m] - w->weight[1][m] * phi[m] - w->weight[2][m] * c->phi[2]
			- w->weight[3][m] * c->phi[3];
}

/* Moves weights and spreads; `learn` 0: not this metric. */
static void learn_from(struct watch *w, const struct context *c, const float *e, const float *common, const float *sd,
	const float *learn)
{
	float step[WATCH_METRICS];
	for (int m = 0; m < WATCH_METRICS; m++) {
		float n = (float)(int)w->samples[m], free = n < WATCH_SETTLED ? 1e30f : 0, rate, size;
		step[m] = learn[m] * watch_clip(e[m], watch_max(3 * sd[m], free));
		size = e[m] - common[m];
		size = watch_min(watch_max(size, -size), watch_max(4 * sd[m], free));
		rate = watch_max(2 / (n + 2), SPREAD_RATE);
		w->spread[m] += learn[m] * rate * (size - w->spread[m]);
	}
	for (int k = 0; k < 4; k++) {
		for (int m = 0; m < WATCH_METRICS; m++)
			w->weight[k][m] += c->gain[k][m] * step[m];
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
	residuals(w, &c, v, e);
	for (int m = 0; m < WATCH_METRICS; m++) {
		float slow_above = watch_max(p->slow_above[m], WATCH_SLOW_ABOVE);
		sd[m] = WATCH_SD_OF_MEAN * watch_max(w->spread[m], watch_resolution[m]);
		learn[m] = v->has[m] * (watch_max(w->up[m], w->down[m]) > slow_above ? WATCH_SLOW : 1);
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
	for (int m = 0; m < WATCH_METRICS; m++)
		w->samples[m] = (uint16_t)(w->samples[m] + (v->has[m] > 0 && w->samples[m] < UINT16_MAX));
}
