/* The simulated fleet of docs/detect.md, judged by the very code that the daemon runs (core/watch.h, core/budget.h).
 *
 * One header, so that the bench (detect_sim.c) and the short form in the unit tests (test_detect_fleet.c) are the same
 * program. Devices differ; noise is AR(1) with Student's t of four degrees of freedom; weather is common to all and of
 * each place; some devices have spikes, bursts of errors, many reboots, many gaps; batteries are charged. Reports come
 * every five minutes. Failing devices live in the same cohort and spoil its histograms as they would in the field.
 */
#ifndef AVIARY_BENCH_DETECT_FLEET_H
#define AVIARY_BENCH_DETECT_FLEET_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/watch.h"

#define FLEET_SLOTS 288u    /* reports a day */
#define FLEET_CLASSES 10
#define FLEET_HORIZON_H 48  /* a fault is to be found within */
#define FLEET_INFERENCES 33

enum fleet_fault { FAULT_CORRUPTED, FAULT_CONSTANT, FAULT_THROTTLE, FAULT_BATTERY, FAULT_ERRORS, FAULT_REBOOTS,
	FAULT_RSSI, FAULT_ACCURACY, FAULT_LEAK, FAULT_RAMP, FLEET_FAULTS, FAULT_NONE = FLEET_FAULTS };

static const char *const fleet_fault_names[FLEET_FAULTS] = {"corrupted model", "constant output", "throttle",
	"battery x3", "errors x10", "reboot loop", "RSSI -15 dB", "accuracy -0.04", "leak 0.6 %/h", "latency +12 %/day"};

enum { FLEET_NAIVE = 3 }; /* rules |z| > 3, 4, 6 */
static const float fleet_naive_limits[FLEET_NAIVE] = {3, 4, 6};

/* ---- random numbers: xoshiro128+ (Blackman and Vigna 2019), seeded by splitmix64 ---- */

struct fleet_rng {
	uint32_t s[4];
};

static inline uint32_t fleet_next(struct fleet_rng *g)
{
	uint32_t *s = g->s, sum = s[0] + s[3], t = s[1] << 9;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 11 | s[3] >> 21;
	return sum;
}

static inline void fleet_seed(struct fleet_rng *g, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		g->s[i] = (uint32_t)(z ^ z >> 31);
	}
}

static inline float fleet_uniform(struct fleet_rng *g) /* in (0, 1) */
{
	return ((float)(fleet_next(g) >> 8) + 0.5f) * 0x1p-24f;
}

static inline float fleet_between(struct fleet_rng *g, float low, float high)
{
	return low + (high - low) * fleet_uniform(g);
}

static inline float fleet_normal(struct fleet_rng *g) /* polar method (Marsaglia and Bray 1964) */
{
	for (;;) {
		float x = 2 * fleet_uniform(g) - 1, y = 2 * fleet_uniform(g) - 1, q = x * x + y * y;
		if (q < 1 && q > 0)
			return x * sqrtf(-2 * logf(q) / q);
	}
}

static inline float fleet_t4(struct fleet_rng *g) /* Student's t of 4 degrees of freedom, variance 1 */
{
	return fleet_normal(g) / sqrtf(-logf(fleet_uniform(g) * fleet_uniform(g)));
}

static inline unsigned fleet_poisson(struct fleet_rng *g, float mean)
{
	float limit = expf(-mean), p = fleet_uniform(g);
	unsigned n = 0;
	while (p > limit && n < 200) {
		p *= fleet_uniform(g);
		n++;
	}
	return n;
}

/* An AR(1) process of variance 1. */
static inline float fleet_ar(struct fleet_rng *g, float *state, float phi)
{
	*state = phi * *state + sqrtf(1 - phi * phi) * fleet_t4(g);
	return *state;
}

/* ---- devices ---- */

enum { AR_LATENCY, AR_ENERGY, AR_TEMPERATURE, AR_RSSI, AR_MEMORY, AR_CONFIDENCE, AR_ACCURACY,
	AR_PLACE, AR_CLASS, AR_COUNT };

struct fleet_device {
	struct fleet_rng rng;
	float ar[AR_COUNT];
	float zone;                       /* hours */
	float ambient, swing;             /* temperature */
	float latency, latency_heat, latency_sd, latency_load, latency_low, latency_bad, spike_rate;
	float energy, energy_heat, energy_sd;
	float drain, level, charge_at;    /* battery; drain 0: on mains */
	bool is_charging;
	float rssi, rssi_sd;
	float memory, memory_sd;
	float confidence, confidence_sd, confidence_within;
	float accuracy, accuracy_sd;
	float error_rate, burst_rate, burst;
	float reboot_rate, loss_rate, gap_rate;
	float logits[FLEET_CLASSES], class_swing;
	float class_cdf[FLEET_CLASSES];   /* of this hour */
	unsigned gap;                     /* reports still to be missed */
	enum fleet_fault fault;
	uint32_t fault_slot;
	/* what the server has */
	struct watch watch;
	bool is_firing;
	uint8_t naive_quiet[FLEET_NAIVE]; /* reports until the alert is over; 0: none */
	uint32_t fired_day;               /* + 1 */
	uint32_t found_slot;
};

static inline float fleet_lognormal(struct fleet_rng *g, float median, float sd)
{
	return median * expf(sd * fleet_normal(g));
}

static void fleet_device_traits(struct fleet_device *d)
{
	struct fleet_rng *g = &d->rng;
	bool is_spiky = fleet_uniform(g) < 0.05f, is_flaky = fleet_uniform(g) < 0.03f, is_bursty = fleet_uniform(g) < 0.05f;
	d->zone = floorf(fleet_between(g, -3, 4));
	d->ambient = 25 + 5 * fleet_normal(g);
	d->swing = fleet_between(g, 2, 8);
	d->latency = logf(40) + 0.3f * fleet_normal(g);
	d->latency_heat = 0.06f + 0.03f * fleet_normal(g);
	d->latency_sd = fleet_lognormal(g, 0.04f, 0.3f);
	d->latency_load = fleet_between(g, 0, 0.08f);
	d->latency_low = fleet_between(g, 0.1f, 0.3f);
	d->latency_bad = fleet_between(g, 0, 0.1f);
	d->spike_rate = is_spiky ? 0.02f : 0.0005f;
	d->energy = logf(80) + 0.3f * fleet_normal(g);
	d->energy_heat = 0.03f + 0.02f * fleet_normal(g);
	d->energy_sd = fleet_lognormal(g, 0.05f, 0.3f);
	d->drain = fleet_uniform(g) < 0.4f ? 0 : fleet_lognormal(g, 0.03f, 0.4f);
	d->level = d->drain > 0 ? fleet_between(g, 0.3f, 1) : 1;
	d->charge_at = fleet_between(g, 0.1f, 0.3f);
	d->rssi = -65 + 8 * fleet_normal(g);
	d->rssi_sd = fleet_lognormal(g, 4, 0.2f);
	d->memory = fleet_lognormal(g, 6e7f, 0.2f);
	d->memory_sd = fleet_lognormal(g, 0.01f, 0.3f);
	d->confidence = fleet_between(g, 0.75f, 0.9f);
	d->confidence_sd = fleet_lognormal(g, 0.012f, 0.3f);
	d->confidence_within = fleet_lognormal(g, 0.1f, 0.25f);
	d->accuracy = fleet_between(g, 0.88f, 0.95f);
	d->accuracy_sd = fleet_between(g, 0.019f, 0.026f);
	d->error_rate = fleet_lognormal(g, 0.012f, 0.4f);
	d->burst_rate = is_bursty ? 0.005f : 0.0002f;
	d->reboot_rate = (is_flaky ? 0.7f : 0.1f) / FLEET_SLOTS;
	d->loss_rate = is_flaky ? 0.05f : 0.01f;
	d->gap_rate = 0.2f / FLEET_SLOTS;
	for (int c = 0; c < FLEET_CLASSES; c++)
		d->logits[c] = 0.8f * fleet_normal(g);
	d->class_swing = fleet_between(g, 0, 0.4f);
}

static void fleet_classes_of_hour(struct fleet_device *d, float hour)
{
	float sum = 0, mood = fleet_ar(&d->rng, &d->ar[AR_CLASS], 0.7f);
	for (int c = 0; c < FLEET_CLASSES; c++) {
		float shift = c == 0 ? d->class_swing * sinf(hour * 0.2618f) + 0.15f * mood : 0;
		sum += expf(d->logits[c] + shift);
		d->class_cdf[c] = sum;
	}
	for (int c = 0; c < FLEET_CLASSES; c++)
		d->class_cdf[c] /= sum;
}

static void fleet_classes(struct fleet_device *d, struct watch_report *r, bool is_corrupted, bool is_constant)
{
	r->class_count = FLEET_CLASSES;
	for (unsigned i = 0; i < (unsigned)r->inferences; i++) {
		float u = fleet_uniform(&d->rng);
		int c = 0;
		while (c < FLEET_CLASSES - 1 && u > d->class_cdf[c])
			c++;
		if (is_corrupted && (fleet_next(&d->rng) & 3) != 0) /* mostly noise, with a favourite */
			c = (fleet_next(&d->rng) & 1) != 0 ? 7 : (int)(fleet_next(&d->rng) % FLEET_CLASSES);
		r->class_counts[is_constant ? 3 : c] += 1;
	}
}

static void fleet_battery(struct fleet_device *d, struct watch_report *r, bool is_failing)
{
	struct fleet_rng *g = &d->rng;
	r->has[WATCH_BATTERY] = true;
	if (d->drain > 0) {
		float noise = fmaxf(1 + 0.25f * fleet_t4(g), 0);
		d->is_charging = d->is_charging ? d->level < 1 : d->level < d->charge_at;
		d->level += d->is_charging ? 1 / 24.0f : -d->drain / 12 * noise * (is_failing ? 3 : 1);
		d->level = fminf(fmaxf(d->level, 0), 1);
	}
	r->value[WATCH_BATTERY] = floorf(d->level * 1000 + 0.5f) / 1000; /* the gauge */
	r->is_battery_low = d->level < 0.2f;
}

static void fleet_counts(struct fleet_device *d, struct watch_report *r, const bool *has)
{
	struct fleet_rng *g = &d->rng;
	r->has_counts = true;
	r->inferences = (float)fleet_poisson(g, FLEET_INFERENCES);
	d->burst = fleet_uniform(g) < d->burst_rate ? fleet_between(g, 1, 4) : d->burst * 0.6f;
	r->errors = (float)fleet_poisson(g, d->error_rate * r->inferences * (1 + d->burst) * (has[FAULT_ERRORS] ? 10 : 1));
	r->boots = fleet_uniform(g) < d->reboot_rate + (has[FAULT_REBOOTS] ? 0.5f : 0);
	if (r->inferences > 0)
		fleet_classes(d, r, has[FAULT_CORRUPTED], has[FAULT_CONSTANT]);
}

static void fleet_model(struct fleet_device *d, struct watch_report *r, const bool *has)
{
	struct fleet_rng *g = &d->rng;
	float confidence = d->confidence + d->confidence_sd * fleet_ar(g, &d->ar[AR_CONFIDENCE], 0.3f);
	float slow = 0.28f * fleet_ar(g, &d->ar[AR_ACCURACY], 0.97f);
	float accuracy = d->accuracy + d->accuracy_sd * (slow + 0.96f * fleet_normal(g));
	float within = d->confidence_within * (1 + 0.12f * fleet_normal(g));
	if (has[FAULT_CORRUPTED]) {
		confidence -= 0.25f;
		within *= 1.5f;
		accuracy = 0.2f + 0.04f * fleet_normal(g);
	}
	if (has[FAULT_CONSTANT]) {
		confidence = 0.71f;
		within = 0;
		accuracy = 0.1f + 0.03f * fleet_normal(g);
	}
	accuracy -= has[FAULT_ACCURACY] ? 0.04f : 0;
	r->has[WATCH_CONFIDENCE] = r->has[WATCH_ACCURACY] = true;
	r->value[WATCH_CONFIDENCE] = fminf(fmaxf(confidence, 0), 1);
	r->value[WATCH_ACCURACY] = fminf(fmaxf(accuracy, 0), 1);
	r->confidence_sd = fmaxf(within, 0);
}

static void fleet_body(struct fleet_device *d, struct watch_report *r, const bool *has, float weather, float since_h)
{
	struct fleet_rng *g = &d->rng;
	float angle = (r->hour - 9) * 0.2618f, day = sinf(angle) + 0.2f * sinf(2 * angle);
	float t = d->ambient + d->swing * day + weather + 1.0f * fleet_ar(g, &d->ar[AR_PLACE], 0.998f)
		+ 0.4f * fleet_ar(g, &d->ar[AR_TEMPERATURE], 0.5f) + (has[FAULT_THROTTLE] ? fminf(18, 60 * since_h) : 0);
	float heat = (t - 25) / 10;
	float rssi = d->rssi + d->rssi_sd * fleet_ar(g, &d->ar[AR_RSSI], 0.9f) - (has[FAULT_RSSI] ? 15 : 0);
	fleet_battery(d, r, has[FAULT_BATTERY]);
	r->is_link_bad = rssi < -80;
	float latency = d->latency + d->latency_heat * heat + d->latency_load * day
		+ d->latency_sd * fleet_ar(g, &d->ar[AR_LATENCY], 0.5f) + (r->is_battery_low ? d->latency_low : 0)
		+ (r->is_link_bad ? d->latency_bad : 0) + (has[FAULT_THROTTLE] ? 0.47f : 0)
		+ (has[FAULT_RAMP] ? logf(1 + 0.12f * fminf(since_h / 24, 1)) : 0);
	if (fleet_uniform(g) < d->spike_rate)
		latency -= 0.3f * logf(fleet_uniform(g));
	float memory = logf(d->memory) + d->memory_sd * fleet_ar(g, &d->ar[AR_MEMORY], 0.8f)
		+ (has[FAULT_LEAK] ? logf(1 + 0.006f * since_h) : 0);
	r->value[WATCH_LATENCY] = expf(latency);
	r->value[WATCH_ENERGY] = expf(d->energy + d->energy_heat * heat + d->energy_sd * fleet_ar(g, &d->ar[AR_ENERGY], 0.4f)
		+ (has[FAULT_THROTTLE] ? 0.18f : 0));
	r->value[WATCH_TEMPERATURE] = t;
	r->value[WATCH_RSSI] = rssi;
	r->value[WATCH_MEMORY] = expf(memory);
	r->has[WATCH_LATENCY] = r->has[WATCH_ENERGY] = r->has[WATCH_TEMPERATURE] = true;
	r->has[WATCH_RSSI] = r->has[WATCH_MEMORY] = true;
}

/* False: no report came. */
static bool fleet_report(struct fleet_device *d, uint32_t slot, float weather, struct watch_report *r)
{
	float utc = (float)(slot % FLEET_SLOTS) / 12, since_h = ((float)slot - (float)d->fault_slot) / 12;
	bool has[FLEET_FAULTS + 1] = {false};
	memset(r, 0, sizeof *r);
	has[d->fault] = d->fault != FAULT_NONE && slot >= d->fault_slot;
	r->at_s = 1767225600u + slot * 300 + fleet_next(&d->rng) % 20;
	r->hour = fmodf(utc + d->zone + 24, 24);
	if (slot % 12 == 0 || d->class_cdf[FLEET_CLASSES - 1] == 0)
		fleet_classes_of_hour(d, r->hour);
	fleet_body(d, r, has, weather, since_h);
	fleet_model(d, r, has);
	fleet_counts(d, r, has);
	if (d->gap == 0 && fleet_uniform(&d->rng) < d->gap_rate)
		d->gap = 1 + fleet_next(&d->rng) % 24;
	if (d->gap > 0) {
		d->gap--;
		return false;
	}
	return fleet_uniform(&d->rng) >= d->loss_rate;
}

/* ---- the run ---- */

struct fleet_options {
	uint32_t devices;      /* without a fault */
	uint32_t failing;      /* of each kind, beside them */
	uint32_t contaminating; /* of these, such that spoil the cohort's histograms; the others are only judged */
	uint32_t learn_days, days; /* before anything is counted; counted */
	uint64_t seed;
	float budget;          /* B */
};

struct fleet_outcome {
	double device_days;    /* without a fault, counted */
	uint32_t alerts;       /* raised by these: alerts end below 0.6 of the threshold */
	uint32_t alert_days;   /* device-days with an alert that fires at some time of them */
	uint32_t by_statistic[WATCH_STATISTICS], by_rule; /* what raised them */
	uint32_t naive[FLEET_NAIVE];
	uint32_t trials[FLEET_FAULTS], found[FLEET_FAULTS];
	double delay_h[FLEET_FAULTS]; /* sum over those found */
	double delay_square[FLEET_FAULTS];
	struct budget budget;  /* as it was in the end */
	float threshold[WATCH_STATISTICS];
};

struct fleet {
	struct fleet_options options;
	struct fleet_device *devices;
	uint32_t count;
	float weather;
	struct fleet_rng rng;
	struct watch_peers peers;
};

static void fleet_start(struct fleet *f, const struct fleet_options *o)
{
	f->options = *o;
	f->count = o->devices + o->failing * FLEET_FAULTS;
	f->devices = calloc(f->count, sizeof *f->devices);
	if (f->devices == NULL)
		abort();
	fleet_seed(&f->rng, o->seed * 1000003);
	for (uint32_t i = 0; i < f->count; i++) {
		struct fleet_device *d = &f->devices[i];
		fleet_seed(&d->rng, (o->seed << 32) + i);
		fleet_device_traits(d);
		d->fault = FAULT_NONE;
		if (i < o->devices)
			continue;
		d->fault = (enum fleet_fault)((i - o->devices) % FLEET_FAULTS);
		if (d->fault == FAULT_BATTERY && !(d->drain > 0)) { /* that kind needs a battery */
			d->drain = 0.03f;
			d->level = 0.8f;
		}
		uint32_t first = o->learn_days * FLEET_SLOTS, last = (o->learn_days + o->days) * FLEET_SLOTS - FLEET_HORIZON_H * 12;
		d->fault_slot = first + fleet_next(&d->rng) % (last - first);
	}
}

/* What raises an alert now: a statistic, WATCH_STATISTICS for an explicit rule, -1 for nothing; `is_clear`: all is well
 * below. */
static int fleet_verdict(const struct watch_result *r, const float *threshold, bool *is_clear)
{
	int cause = -1;
	float worst = 1;
	*is_clear = r->boots_in_hour < WATCH_BOOTS_LOOP && r->identical < WATCH_IDENTICAL_CONSTANT;
	if (!*is_clear)
		return WATCH_STATISTICS;
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		float share = r->statistic[s] / threshold[s]; /* NAN: false */
		*is_clear &= !(share > 0.6f);
		if (share > worst) {
			worst = share;
			cause = s;
		}
	}
	return cause;
}

static void fleet_count(struct fleet_device *d, uint32_t day, int cause, bool is_new, struct fleet_outcome *out)
{
	if (is_new) {
		out->alerts++;
		if (cause < WATCH_STATISTICS)
			out->by_statistic[cause]++;
		else
			out->by_rule++;
	}
	if (d->is_firing && d->fired_day != day + 1) {
		d->fired_day = day + 1;
		out->alert_days++;
	}
}

static void fleet_naive(struct fleet_device *d, const struct watch_result *r, struct fleet_outcome *out)
{
	float z = 0;
	for (int m = 0; m < WATCH_METRICS; m++)
		z = fabsf(r->z[m]) > z ? fabsf(r->z[m]) : z;
	for (int i = 0; i < FLEET_NAIVE; i++) {
		bool is_over = z > fleet_naive_limits[i];
		out->naive[i] += is_over && d->naive_quiet[i] == 0;
		d->naive_quiet[i] = (uint8_t)(is_over ? 12 : d->naive_quiet[i] - (d->naive_quiet[i] > 0));
	}
}

static void fleet_one(struct fleet *f, struct fleet_device *d, uint32_t slot, struct fleet_outcome *out)
{
	uint32_t day = slot / FLEET_SLOTS, end = d->fault_slot + FLEET_HORIZON_H * 12;
	struct watch_report report;
	struct watch_result result;
	bool is_clear, is_healthy = d->fault == FAULT_NONE;
	if (!is_healthy && slot >= end)
		return; /* repaired: out of the study */
	if (!fleet_report(d, slot, f->weather, &report))
		return;
	watch_update(&d->watch, &report, &f->peers, &result);
	budget_add_report(&out->budget, 1767225600u + slot * 300, result.z);
	int cause = fleet_verdict(&result, out->threshold, &is_clear);
	bool is_new = cause >= 0 && !d->is_firing;
	d->is_firing = cause >= 0 || (d->is_firing && !is_clear);
	if (is_healthy && day >= f->options.learn_days) {
		fleet_count(d, day, cause, is_new, out);
		fleet_naive(d, &result, out);
	}
	if (!is_healthy && slot >= d->fault_slot && cause >= 0 && d->found_slot == 0)
		d->found_slot = slot;
}

static void fleet_day_end(struct fleet *f, uint32_t day, struct fleet_outcome *out)
{
	for (uint32_t i = 0; i < f->count; i++) {
		float maxima[WATCH_STATISTICS];
		struct fleet_device *d = &f->devices[i];
		bool is_counted = i < f->options.devices + f->options.contaminating * FLEET_FAULTS;
		if (watch_day_end(&d->watch, maxima) && is_counted && day >= 2)
			budget_add_day(&out->budget, maxima, d->is_firing);
	}
	budget_roll(&out->budget, NULL, day + 1, f->options.budget);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		out->threshold[s] = budget_threshold(&out->budget, NULL, (enum watch_statistic)s);
	if (day >= f->options.learn_days)
		out->device_days += f->options.devices;
}

/* Adds to `out`; its budget is that of this run. */
static inline void fleet_run(const struct fleet_options *o, struct fleet_outcome *out)
{
	struct fleet f;
	memset(&f, 0, sizeof f);
	fleet_start(&f, o);
	memset(&out->budget, 0, sizeof out->budget);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		out->threshold[s] = budget_shipped((enum watch_statistic)s);
	for (uint32_t slot = 0; slot < (o->learn_days + o->days) * FLEET_SLOTS; slot++) {
		f.weather = 0.9995f * f.weather + 2 * sqrtf(1 - 0.9995f * 0.9995f) * fleet_normal(&f.rng);
		budget_peers(&out->budget, NULL, &f.peers);
		for (uint32_t i = 0; i < f.count; i++)
			fleet_one(&f, &f.devices[i], slot, out);
		if (slot % FLEET_SLOTS == FLEET_SLOTS - 1)
			fleet_day_end(&f, slot / FLEET_SLOTS, out);
	}
	for (uint32_t i = o->devices; i < f.count; i++) {
		const struct fleet_device *d = &f.devices[i];
		out->trials[d->fault]++;
		if (d->found_slot == 0)
			continue;
		double delay = (double)(d->found_slot - d->fault_slot) / 12;
		out->found[d->fault]++;
		out->delay_h[d->fault] += delay;
		out->delay_square[d->fault] += delay * delay;
	}
	free(f.devices);
}

#endif
