/* The regression of each metric on the device's context: recursive least squares with one gain for all metrics. */
#include <math.h>
#include <string.h>

#include "core/watch_inside.h"

#define MEMORY 0.9995f         /* lambda: a week of 5-minute reports */
#define MEMORY_HOUR 0.998f     /* of temperature ... */
#define WEATHER_RATE 0.02f     /* ... whose level follows the weather of some hours */
#define GAIN_NEW 100.0f        /* P of a new device: slopes are unknown */
#define TRACE_CAP 400.0f       /* beyond it nothing is forgotten: the context does not vary */
#define SPREAD_RATE 0.001f
#define OFFSET_RATE 0.01f
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

void watch_context_begin(struct watch *w, const struct watch_report *r, struct watch_context *c)
{
	float angle = r->hour * (float)(3.14159265358979 / 12), hour_phi[3], hour_gain[3];
	c->phi[0] = 1;
	c->phi[1] = (w->temperature - 25) / 10;
	c->phi[2] = sinf(angle);
	c->phi[3] = cosf(angle);
	rls_step(w->gain, 4, c->phi, MEMORY, c->gain);
	hour_phi[0] = 1;
	hour_phi[1] = c->phi[2];
	hour_phi[2] = c->phi[3];
	rls_step(w->gain_hour, 3, hour_phi, MEMORY_HOUR, hour_gain);
	c->gain_hour[0] = hour_gain[0];
	c->gain_hour[1] = WEATHER_RATE;
	c->gain_hour[2] = hour_gain[1];
	c->gain_hour[3] = hour_gain[2];
	c->flags[0] = r->is_battery_low;
	c->flags[1] = r->is_link_bad;
}

/* A low battery or a bad link shifts latency by an amount of its own. True: the amount is not known well yet. */
static bool offsets_apply(struct watch *w, const struct watch_context *c, float limit, float rate, float *residual)
{
	bool is_unsettled = false;
	for (int i = 0; i < 2; i++)
		*residual -= c->flags[i] ? w->offset[i] : 0;
	float step = rate * watch_clip(*residual, limit);
	for (int i = 0; i < 2; i++) {
		if (!c->flags[i])
			continue;
		is_unsettled |= w->offset_seen[i] < OFFSET_SETTLED;
		w->offset[i] += watch_rate(w->offset_seen[i], OFFSET_RATE) * step;
		w->offset_seen[i] = (uint8_t)(w->offset_seen[i] + (w->offset_seen[i] < UINT8_MAX));
	}
	return is_unsettled;
}

float watch_context_judge(struct watch *w, enum watch_metric m, float x, const struct watch_context *c,
	const struct watch_peers *peers, float *expected)
{
	struct watch_series *s = &w->series[m];
	const struct watch_metric_facts *f = &watch_facts[m];
	const float *gain = m == WATCH_TEMPERATURE ? c->gain_hour : c->gain;
	unsigned n = w->samples[m];
	if (n == 0)
		s->weight[0] = x;
	float e = x, high = s->up > s->down ? s->up : s->down, common = 0;
	float slow_above = peers != NULL && peers->slow_above[m] > WATCH_SLOW_ABOVE ? peers->slow_above[m] : WATCH_SLOW_ABOVE;
	float rate = high > slow_above ? WATCH_SLOW : 1;
	for (int i = 0; i < 4; i++)
		e -= s->weight[i] * (m == WATCH_TEMPERATURE && i == 1 ? 1 : c->phi[i]);
	float sd = WATCH_SD_OF_MEAN * fmaxf(s->spread, f->resolution);
	bool is_unsettled = m == WATCH_LATENCY && (c->flags[0] || c->flags[1])
		&& offsets_apply(w, c, 12 * sd, rate, &e);
	if (peers != NULL && f->has_common)
		common = watch_clip(peers->common[m], 6) * sd;
	*expected = x - e + common;
	float clipped = n < WATCH_SETTLED ? e : watch_clip(e, 3 * sd);
	for (int i = 0; i < 4 && !is_unsettled; i++)
		s->weight[i] += gain[i] * clipped * rate;
	watch_saturate(&w->samples[m]);
	if (is_unsettled)
		return NAN;
	float size = fabsf(n < WATCH_SETTLED ? e - common : watch_clip(e - common, 4 * sd));
	s->spread += rate * watch_rate(n / 2, SPREAD_RATE) * (size - s->spread);
	return n < WATCH_WARM_REPORTS ? NAN : (e - common) / sd;
}
