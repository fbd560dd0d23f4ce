#include "core/watch.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/logbin.h"
#include "core/watch_inside.h"

_Static_assert(sizeof(struct watch) <= 512, "a device's state");
_Static_assert(offsetof(struct watch, series) == 68, "states are stored as bytes");

#define CUSUM_K 0.75f
#define CUSUM_CLIP 4.0f
#define CUSUM_CAP_MIN 50.0f
#define RECENT_STEPS 256.0f
#define RECENT_MAX 127.0f
#define CLOCK_RUN_MAX 12u      /* reports from the past in a row: the clock was set */
#define DRAIN_GAP_MIN_S 30u
#define DRAIN_GAP_MAX_S 7200u
#define BATTERY_FULL 0.995f    /* on mains there is no drain to judge */
#define CHARGING 5e-4f

const struct watch_metric_facts watch_facts[WATCH_METRICS] = {
#define X(name, wire, lowest, highest, resolution, is_log, up, down, common) \
	[WATCH_##name] = {wire, wire ".spike", wire ".cusum", lowest, highest, resolution, is_log, up, down, common},
	WATCH_METRIC_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	int role;
} other_roles[] = {
	{"latency", WATCH_LATENCY}, {"energy", WATCH_ENERGY}, {"temperature", WATCH_TEMPERATURE}, {"rssi", WATCH_RSSI},
	{"memory", WATCH_MEMORY}, {"error", WATCH_ROLE_ERRORS}, {"errors", WATCH_ROLE_ERRORS}, {"reboot", WATCH_ROLE_BOOTS},
	{"crash", WATCH_ROLE_BOOTS}, {"classes", WATCH_ROLE_CLASSES},
};

int watch_role(const char *metric)
{
	for (int m = 0; m < WATCH_METRICS; m++) {
		if (strcmp(metric, watch_facts[m].name) == 0)
			return m;
	}
	for (size_t i = 0; i < sizeof other_roles / sizeof other_roles[0]; i++) {
		if (strcmp(metric, other_roles[i].name) == 0)
			return other_roles[i].role;
	}
	return WATCH_ROLE_NONE;
}

const char *watch_metric_name(enum watch_metric m)
{
	assert((unsigned)m < WATCH_METRICS);
	return watch_facts[m].name;
}

int watch_statistic_metric(enum watch_statistic s)
{
	return s < WATCH_ERRORS_BURST ? (int)s / 2 : -1;
}

const char *watch_statistic_name(enum watch_statistic s)
{
	static const char *const names[] = {"errors.burst", "errors.cusum", "classes.distance", "confidence.dispersion"};
	assert((unsigned)s < WATCH_STATISTICS);
	if (s >= WATCH_ERRORS_BURST)
		return names[s - WATCH_ERRORS_BURST];
	return s % 2 == 0 ? watch_facts[s / 2].spike : watch_facts[s / 2].cusum;
}

bool watch_has_common_mode(enum watch_metric m)
{
	return watch_facts[m].has_common;
}

void watch_fold(struct watch_report *r, const float *counts, unsigned count)
{
	memset(r->class_counts, 0, sizeof r->class_counts);
	for (unsigned i = 0; i < count; i++)
		r->class_counts[i < WATCH_CLASS_KEPT ? i : WATCH_CLASS_KEPT - 1] += counts[i];
	r->class_count = count < WATCH_CLASS_KEPT ? count : WATCH_CLASS_KEPT;
}

/* False: the report is from the past. Twelve of these in a row are the present. */
static bool take_clock(struct watch *w, const struct watch_report *r)
{
	if (w->at_s == 0 || r->at_s > w->at_s) {
		w->clock_run = 0;
		return true;
	}
	watch_saturate(&w->refused_clocks);
	if (++w->clock_run < CLOCK_RUN_MAX)
		return false;
	w->clock_run = 0;
	w->battery = 0;
	memset(w->boot_at, 0, sizeof w->boot_at);
	return true;
}

/* The value of a metric in its own unit, or NAN; what is not in its domain is refused. */
static float take_value(struct watch *w, const struct watch_report *r, enum watch_metric m, struct watch_result *out)
{
	float v = r->value[m];
	if (!r->has[m])
		return NAN;
	if (v >= watch_facts[m].lowest && v <= watch_facts[m].highest)
		return v;
	out->refused |= (uint16_t)(1u << m);
	watch_saturate(&w->refused_values);
	return NAN;
}

/* Drain in shares an hour since the last report; NAN while charging, on mains, or when that was long ago. */
static float drain_of(struct watch *w, float level, uint32_t at_s, uint32_t before_s)
{
	float last = w->battery - 1;
	uint32_t gap_s = at_s - before_s;
	bool is_known = w->battery > 0 && at_s > before_s && gap_s >= DRAIN_GAP_MIN_S && gap_s <= DRAIN_GAP_MAX_S;
	w->battery = isnan(level) ? 0 : level + 1;
	if (isnan(level) || !is_known || level > last + CHARGING || last >= BATTERY_FULL)
		return NAN;
	return (last - level) * 3600 / (float)gap_s;
}

static float median3(float a, float b, float c)
{
	return fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
}

static float harmful(const struct watch_metric_facts *f, float up, float down)
{
	return fmaxf(f->harm_up ? up : 0, f->harm_down ? down : 0);
}

static void series_statistics(struct watch *w, enum watch_metric m, float z, const struct watch_peers *peers,
	struct watch_result *out)
{
	struct watch_series *s = &w->series[m];
	const struct watch_metric_facts *f = &watch_facts[m];
	float cap = peers != NULL && peers->slow_above[m] > 0 ? fmaxf(4 * peers->slow_above[m], CUSUM_CAP_MIN) : WATCH_CUSUM_CAP;
	float clipped = watch_clip(z, CUSUM_CLIP), second;
	cap = fminf(cap, WATCH_CUSUM_CAP);
	s->up = fminf(fmaxf(s->up + clipped - CUSUM_K, 0), cap);
	s->down = fminf(fmaxf(s->down - clipped - CUSUM_K, 0), cap);
	second = median3(watch_clip(z, RECENT_MAX), (float)s->recent[0] / RECENT_STEPS, (float)s->recent[1] / RECENT_STEPS);
	s->recent[1] = s->recent[0];
	s->recent[0] = (int16_t)(watch_clip(z, RECENT_MAX) * RECENT_STEPS);
	out->z[m] = z;
	out->statistic[2 * m] = fmaxf(harmful(f, second, -second), 0);
	out->statistic[2 * m + 1] = harmful(f, s->up, s->down);
}

static void judge_metrics(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	uint32_t before_s, struct watch_result *out)
{
	struct watch_context c;
	float values[WATCH_METRICS];
	for (int m = 0; m < WATCH_METRICS; m++)
		values[m] = take_value(w, r, m, out);
	values[WATCH_BATTERY] = drain_of(w, values[WATCH_BATTERY], r->at_s, before_s);
	if (!isnan(values[WATCH_TEMPERATURE]))
		w->temperature = values[WATCH_TEMPERATURE];
	else if (w->samples[WATCH_TEMPERATURE] == 0)
		w->temperature = 25;
	watch_context_begin(w, r, &c);
	for (int m = 0; m < WATCH_METRICS; m++) {
		bool is_log = watch_facts[m].is_log;
		if (isnan(values[m]))
			continue;
		float z = watch_context_judge(w, m, is_log ? logf(values[m]) : values[m], &c, peers, &out->expected[m]);
		out->value[m] = values[m];
		if (is_log)
			out->expected[m] = expf(out->expected[m]);
		if (!isnan(z))
			series_statistics(w, m, z, peers, out);
	}
}

static void result_clear(struct watch_result *out)
{
	memset(out, 0, sizeof *out);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		out->statistic[s] = NAN;
	for (int m = 0; m < WATCH_METRICS; m++)
		out->z[m] = out->value[m] = out->expected[m] = NAN;
}

void watch_update(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	struct watch_result *out)
{
	uint32_t before_s = w->at_s;
	result_clear(out);
	if (!(r->hour >= 0 && r->hour <= 24) || r->at_s == 0 || !take_clock(w, r)) {
		out->refused = WATCH_REFUSED_CLOCK;
		return;
	}
	w->at_s = r->at_s;
	judge_metrics(w, r, peers, before_s, out);
	watch_count_errors(w, r, out);
	watch_count_boots(w, r, out);
	watch_count_classes(w, r, out);
	watch_count_outputs(w, r, out);
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		if (isnan(out->statistic[s]))
			continue;
		uint8_t bin = logbin_of(out->statistic[s]);
		bin = bin > 0 ? bin : 1; /* 0 in a day's maxima: it had none */
		w->maxima[s] = bin > w->maxima[s] ? bin : w->maxima[s];
	}
}

bool watch_day_end(struct watch *w, float maxima[WATCH_STATISTICS])
{
	bool has_any = false;
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		maxima[s] = w->maxima[s] == 0 ? NAN : logbin_middle(w->maxima[s]);
		has_any |= w->maxima[s] != 0;
	}
	memset(w->maxima, 0, sizeof w->maxima);
	return has_any;
}
