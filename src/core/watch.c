#include "core/watch.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#pragma GCC optimize("O3", "no-trapping-math") /* loops over metrics become vector operations */

#include "core/logbin.h"
#include "core/watch_inside.h"

_Static_assert(sizeof(struct watch) == 364, "a device's state");
_Static_assert(offsetof(struct watch, level) == 68, "states are stored as bytes");

#define CUSUM_K 0.75f
#define CUSUM_CLIP 4.0f
#define CUSUM_CAP_MIN 50.0f
#define LN_LEAST 1e-30f
#define EXP_MOST 80.0f
#define RECENT_MAX 127.0f
#define RECENT_MIN 0.5f
#define RECENT_BASE (126 << 4) /* of RECENT_MIN, exponent and four digits */
#define CLOCK_RUN_MAX 12u      /* reports from the past in a row: the clock was set */
#define DRAIN_GAP_MIN_S 30u
#define DRAIN_GAP_MAX_S 7200u
#define BATTERY_FULL 0.995f    /* on mains there is no drain to judge */
#define CHARGING 5e-4f

#define X(name, wire, lowest, ...) lowest,
const float watch_lowest[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
#define X(name, wire, lowest, highest, ...) highest,
const float watch_highest[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
#define X(name, wire, lowest, highest, resolution, ...) resolution,
const float watch_resolution[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
#define X(name, wire, lowest, highest, resolution, is_log, ...) is_log,
const float watch_is_log[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
const float watch_is_heat[WATCH_METRICS] = {[WATCH_TEMPERATURE] = 1};
#define X(name, wire, lowest, highest, resolution, is_log, up, down, common) up,
const float watch_harm_up[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
#define X(name, wire, lowest, highest, resolution, is_log, up, down, common) down,
const float watch_harm_down[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X
#define X(name, wire, lowest, highest, resolution, is_log, up, down, common) common,
const float watch_common[WATCH_METRICS] = {WATCH_METRIC_TABLE(X)};
#undef X

static const char *const metric_names[WATCH_METRICS] = {
#define X(name, wire, ...) wire,
	WATCH_METRIC_TABLE(X)
#undef X
};
static const char *const statistic_names[WATCH_STATISTICS] = {
#define X(name, wire, ...) wire ".spike", wire ".cusum",
	WATCH_METRIC_TABLE(X)
#undef X
	"errors.burst", "errors.cusum", "classes.distance", "confidence.dispersion",
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
		if (strcmp(metric, metric_names[m]) == 0)
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
	return metric_names[m];
}

int watch_statistic_metric(enum watch_statistic s)
{
	return s < WATCH_ERRORS_BURST ? (int)s / 2 : -1;
}

const char *watch_statistic_name(enum watch_statistic s)
{
	assert((unsigned)s < WATCH_STATISTICS);
	return statistic_names[s];
}

bool watch_has_common_mode(enum watch_metric m)
{
	return watch_common[m] > 0;
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

/* The values that are in their domain; others are refused. */
static void take_values(struct watch *w, const struct watch_report *r, float *value, float *has,
	struct watch_result *out)
{
	unsigned refused = 0;
	int bad = 0;
	for (int m = 0; m < WATCH_METRICS; m++) {
		float v = r->value[m], said = (float)r->has[m], low = v >= watch_lowest[m] ? said : 0;
		float good = v <= watch_highest[m] ? low : 0;
		has[m] = good;
		value[m] = good > 0 ? v : watch_lowest[m];
		bad |= said > good ? 1 : 0;
	}
	if (bad == 0)
		return;
	for (int m = 0; m < WATCH_METRICS; m++)
		refused |= r->has[m] && !(has[m] > 0) ? 1u << m : 0;
	out->refused = (uint16_t)(out->refused | refused);
	for (; refused != 0; refused &= refused - 1)
		watch_saturate(&w->refused_values);
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

/* A z as a byte: its sign, and sixteen steps an octave from a half to 127; less than a half counts as that. No branches: vector operations. */
static inline int recent_code(float z)
{
	float size = watch_min(watch_max(watch_max(z, -z), RECENT_MIN), RECENT_MAX);
	int32_t bits, sign;
	memcpy(&bits, &size, sizeof bits);
	memcpy(&sign, &z, sizeof sign);
	return ((bits >> 19) - RECENT_BASE) ^ (sign >> 31);
}

static inline float recent_value(int code)
{
	int32_t sign = code >> 31, bits = (((code ^ sign) + RECENT_BASE) << 19) + (1 << 18); /* the middle */
	float v;
	bits |= sign & INT32_MIN;
	memcpy(&v, &bits, sizeof v);
	return v;
}

static float median3(float a, float b, float c)
{
	return watch_max(watch_min(a, b), watch_min(watch_max(a, b), c));
}

static void cusums(struct watch *w, const struct watch_values *v, const struct watch_peers *peers, float *statistic)
{
	for (int m = 0; m < WATCH_METRICS; m++) {
		float cap = watch_max(4 * peers->slow_above[m], CUSUM_CAP_MIN), z = watch_clip(v->z[m], CUSUM_CLIP);
		cap = watch_min(peers->slow_above[m] > 0 ? cap : WATCH_CUSUM_CAP, WATCH_CUSUM_CAP);
		float up = (float)(int)w->up[m] * (1 / WATCH_CUSUM_STEPS), down = (float)(int)w->down[m] * (1 / WATCH_CUSUM_STEPS);
		up = watch_min(watch_max(up + v->warm[m] * (z - CUSUM_K), 0), cap);
		down = watch_min(watch_max(down - v->warm[m] * (z + CUSUM_K), 0), cap);
		statistic[m] = watch_max(watch_harm_up[m] * up, watch_harm_down[m] * down);
		w->up[m] = (uint16_t)(int)(up * WATCH_CUSUM_STEPS + 0.5f);
		w->down[m] = (uint16_t)(int)(down * WATCH_CUSUM_STEPS + 0.5f);
	}
}

/* The second largest of the last three z, of those on one side: their median. */
static void spikes(struct watch *w, const struct watch_values *v, float *restrict statistic)
{
	int one[WATCH_METRICS], two[WATCH_METRICS]; /* bytes may be anything's: loops with them are no vector operations */
	for (int m = 0; m < WATCH_METRICS; m++) {
		one[m] = w->recent[0][m];
		two[m] = w->recent[1][m];
	}
	for (int m = 0; m < WATCH_METRICS; m++) {
		float z = watch_max(watch_min(v->z[m], RECENT_MAX), -RECENT_MAX), second = median3(z, recent_value(one[m]), recent_value(two[m]));
		statistic[m] = watch_max(watch_max(watch_harm_up[m] * second, -watch_harm_down[m] * second), 0);
		int now = recent_code(z), before = one[m], cold = (int)v->warm[m] - 1; /* all bits, or none */
		two[m] = (two[m] & cold) | (before & ~cold);
		one[m] = (before & cold) | (now & ~cold);
	}
	for (int m = 0; m < WATCH_METRICS; m++) {
		w->recent[0][m] = (int8_t)one[m];
		w->recent[1][m] = (int8_t)two[m];
	}
}

/* Those without a warm value stay as they are. */
static void series_statistics(struct watch *w, const struct watch_values *v, const struct watch_peers *peers,
	struct watch_result *out)
{
	static const struct watch_peers none;
	float spike[WATCH_METRICS], cusum[WATCH_METRICS];
	cusums(w, v, peers != NULL ? peers : &none, cusum);
	spikes(w, v, spike);
	for (int m = 0; m < WATCH_METRICS; m++) {
		bool is_warm = v->warm[m] > 0;
		out->z[m] = is_warm ? v->z[m] : NAN;
		out->statistic[WATCH_SPIKE(m)] = is_warm ? spike[m] : NAN;
		out->statistic[WATCH_CUSUM(m)] = is_warm ? cusum[m] : NAN;
	}
}

static void judge_metrics(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	uint32_t before_s, struct watch_result *out)
{
	struct watch_values v;
	float value[WATCH_METRICS], drain;
	take_values(w, r, value, v.has, out);
	drain = drain_of(w, v.has[WATCH_BATTERY] > 0 ? value[WATCH_BATTERY] : NAN, r->at_s, before_s);
	v.has[WATCH_BATTERY] = isnan(drain) ? 0.0f : 1.0f;
	value[WATCH_BATTERY] = isnan(drain) ? 0 : drain;
	if (v.has[WATCH_TEMPERATURE] > 0)
		w->temperature = (int16_t)lrintf(value[WATCH_TEMPERATURE] * WATCH_DEGREE_STEPS);
	else if (w->samples[WATCH_TEMPERATURE] == 0)
		w->temperature = (int16_t)(25 * WATCH_DEGREE_STEPS);
	for (int m = 0; m < WATCH_METRICS; m++)
		v.x[m] = watch_is_log[m] > 0 ? watch_ln(watch_max(value[m], LN_LEAST)) : value[m];
	watch_regress(w, r, peers, &v);
	for (int m = 0; m < WATCH_METRICS; m++) {
		out->value[m] = v.has[m] > 0 ? value[m] : NAN;
		out->regressed[m] = v.has[m] > 0 ? v.expected[m] : NAN;
	}
	series_statistics(w, &v, peers, out);
}

static void keep_maxima(struct watch *w, const struct watch_result *out)
{
	uint8_t bins[WATCH_STATISTICS], known[WATCH_STATISTICS], now[WATCH_STATISTICS];
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		bins[s] = logbin_of(out->statistic[s]);
		known[s] = out->statistic[s] >= 0; /* 0 in a day's maxima: it had none */
	}
	memcpy(now, w->maxima, sizeof now);
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		uint8_t bin = bins[s] > known[s] ? bins[s] : known[s];
		now[s] = bin > now[s] ? bin : now[s];
	}
	memcpy(w->maxima, now, sizeof now);
}

static void result_clear(struct watch_result *out)
{
	out->refused = 0;
	out->boots_in_hour = out->identical = 0;
	for (int m = 0; m < WATCH_METRICS; m++)
		out->z[m] = out->value[m] = out->regressed[m] = NAN;
	for (int s = 0; s < WATCH_STATISTICS; s++)
		out->statistic[s] = NAN;
}

WATCH_WIDE void watch_update(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	struct watch_result *out)
{
	uint32_t before_s = w->at_s;
	result_clear(out);
	if (!(r->hour >= 0 && r->hour <= 24) || r->at_s == 0 || !take_clock(w, r)) {
		out->refused = WATCH_REFUSED_CLOCK;
		return;
	}
	w->at_s = r->at_s;
	if (before_s == 0 || r->at_s - before_s >= WATCH_BOOTS_WINDOW_S)
		memset(w->boot_at, 0, sizeof w->boot_at); /* only low bits of their times are known */
	judge_metrics(w, r, peers, before_s, out);
	watch_count_errors(w, r, out);
	watch_count_boots(w, r, out);
	watch_count_classes(w, r, out);
	watch_count_outputs(w, r, out);
	keep_maxima(w, out);
}

float watch_expected(const struct watch_result *r, enum watch_metric m)
{
	assert((unsigned)m < WATCH_METRICS);
	return watch_is_log[m] > 0 ? expf(watch_clip(r->regressed[m], EXP_MOST)) : r->regressed[m];
}

float watch_heat(const struct watch *w)
{
	return watch_unpack_signed(w->slope[WATCH_LATENCY]) / 10;
}

int watch_side(const struct watch *w, enum watch_metric m)
{
	assert((unsigned)m < WATCH_METRICS);
	return (w->up[m] > w->down[m]) - (w->up[m] < w->down[m]);
}

void watch_forget(struct watch *w, enum watch_metric m)
{
	assert((unsigned)m < WATCH_METRICS);
	w->level[m] = 0;
	for (int k = 0; k < 3; k++)
		w->slope[k * WATCH_METRICS + (int)m] = 0;
	w->spread[m] = w->up[m] = w->down[m] = w->samples[m] = 0;
	w->recent[0][m] = w->recent[1][m] = 0;
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
