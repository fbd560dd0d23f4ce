/* What pages: one device's state between reports, 364 bytes, and the statistics that a report gives.
 *
 * Each watched metric is regressed on its context (temperature, hour of the day; latency also on a low battery and a
 * bad link), the residual is divided by its own spread, and two statistics are kept of it: the spike (second largest
 * of the last three, so that one odd sample is nothing) and a CUSUM (what is small but stays). Errors, the class
 * histogram and the dispersion of confidence have statistics of their own. None of them is an alarm: how large is too
 * large is learned from the cohort's device-days (core/budget.h). Next to the statistics stand two explicit counts,
 * where a statistic is the wrong tool: boots within an hour and reports in a row with the same output.
 *
 * Pure: no clock, no memory of its own, no input that poisons it. What is not a number, not in the metric's domain, or
 * from the past is refused and counted. docs/detect.md has the formulas and what they cost and find.
 */
#ifndef AVIARY_CORE_WATCH_H
#define AVIARY_CORE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_CLASS_KEPT 16
#define WATCH_WARM_REPORTS 288u /* before so many reports of a metric its statistics are silent: a day at 5 minutes */
#define WATCH_CUSUM_CAP 1000.0f
#define WATCH_BOOTS_LOOP 3u     /* explicit rule: so many boots within WATCH_BOOTS_WINDOW_S */
#define WATCH_BOOTS_WINDOW_S 3600u
#define WATCH_IDENTICAL_CONSTANT 12u /* explicit rule: so many outputs in a row that do not differ */

/* X(name, wire name, lowest, highest, resolution, is logarithmic, harm is up, harm is down, has peers' common mode).
 * Resolution: the least mean residual that is believed, in the unit that is regressed (logarithms where they are).
 * BATTERY is a level, 0..1; what is watched is its drain, in shares an hour, while it is not being charged. */
#define WATCH_METRIC_TABLE(X) \
	X(LATENCY, "latency_ms", 1e-6f, 1e9f, 1e-3f, true, true, true, false) \
	X(ENERGY, "energy_mj", 1e-6f, 1e9f, 1e-3f, true, true, true, false) \
	X(TEMPERATURE, "temperature_c", -90.0f, 250.0f, 0.05f, false, true, false, true) \
	X(BATTERY, "battery", 0.0f, 1.0f, 0.001f, false, true, false, false) \
	X(RSSI, "link_rssi_dbm", -200.0f, 50.0f, 0.25f, false, false, true, false) \
	X(MEMORY, "memory_bytes", 1.0f, 1e15f, 1e-4f, true, true, false, false) \
	X(CONFIDENCE, "confidence", 0.0f, 1.0f, 5e-4f, false, true, true, false) \
	X(ACCURACY, "accuracy", 0.0f, 1.0f, 1e-3f, false, false, true, false)

enum watch_metric {
#define X(name, ...) WATCH_##name,
	WATCH_METRIC_TABLE(X)
#undef X
	WATCH_METRICS
};

/* What a metric of a report is for. Values below WATCH_METRICS are watched metrics. */
enum watch_role { WATCH_ROLE_ERRORS = WATCH_METRICS, WATCH_ROLE_BOOTS, WATCH_ROLE_CLASSES, WATCH_ROLE_NONE };

/* A spike and a CUSUM of each metric, then those of counts and classes. The order is part of stored states. */
#define WATCH_SPIKE(metric) ((enum watch_statistic)(2 * (metric)))
#define WATCH_CUSUM(metric) ((enum watch_statistic)(2 * (metric) + 1))
enum watch_statistic {
	WATCH_ERRORS_BURST = 2 * WATCH_METRICS, /* deviance of the last five reports' errors from the device's rate */
	WATCH_ERRORS_CUSUM, /* Poisson CUSUM against three times the rate */
	WATCH_CLASSES,      /* short class histogram against the long one, over what is usual for the device */
	WATCH_DISPERSION,   /* ln(usual / present) spread of confidence within a report, smoothed: collapse */
	WATCH_STATISTICS
};

struct watch_report {
	uint32_t at_s;          /* device time, seconds since 1970 (or any epoch that lasts) */
	float hour;             /* of the day, local, [0, 24) */
	float value[WATCH_METRICS]; /* latency: p95 of the report's sketch; others means of the report */
	int has[WATCH_METRICS]; /* 1 or 0; as wide as a value, for vector operations */
	bool has_counts;        /* errors and inferences are meant */
	float errors;           /* since the last report */
	float inferences;       /* exposure of errors; 0: unknown, the report counts as one */
	uint32_t boots;         /* since the last report */
	float class_counts[WATCH_CLASS_KEPT]; /* since the last report; watch_fold puts the rest into the last */
	unsigned class_count;   /* 0: none */
	float confidence_sd;    /* within the report; negative or NaN: unknown */
	bool is_battery_low, is_link_bad; /* contexts of latency */
};

/* What is known from the cohort when the report is judged. NULL: nothing. */
struct watch_peers {
	float common[WATCH_METRICS]; /* mean z of the cohort now, for metrics with a common mode (budget_common) */
	/* CUSUM from which on a baseline learns slowly: half of the cohort's threshold; below 12 counts as 12 */
	float slow_above[WATCH_METRICS];
};

struct watch_result {
	float statistic[WATCH_STATISTICS]; /* NAN: none now */
	float z[WATCH_METRICS];     /* residual over spread; NAN: no value, or not warm yet */
	float value[WATCH_METRICS]; /* what was judged: the metric, for BATTERY its drain an hour; NAN: no value */
	float regressed[WATCH_METRICS]; /* expected given the context, in the unit that is regressed; NAN with value. watch_expected() */
	uint16_t refused;           /* bit m: metric m was refused; bits 8..: see below */
	uint8_t boots_in_hour;      /* saturates at WATCH_BOOTS_LOOP */
	uint8_t identical;          /* outputs in a row that do not differ, this one included; 0: no output known */
};
enum { WATCH_REFUSED_CLOCK = 1u << 8, WATCH_REFUSED_COUNTS = 1u << 9, WATCH_REFUSED_CLASSES = 1u << 10 };

/* Plain memory, zeroed = new; stored as these bytes. Numbers of 16 bits are floats with fewer digits, rounded up or down by chance so
 * that small steps are not lost (watch_inside.h). */
struct watch {
	uint32_t at_s;     /* of the last report; 0: none */
	float gain[10];    /* P of all metrics but temperature, upper triangle of 4x4 */
	float gain_hour[6]; /* P of temperature: 1, sin, cos */
	/* of each metric, side by side: weights of 1, and of temperature (its own: the weather), sin and cos of the hour; */
	float level[WATCH_METRICS];
	uint16_t slope[3 * WATCH_METRICS];
	uint16_t spread[WATCH_METRICS];    /* mean |residual| */
	uint16_t up[WATCH_METRICS], down[WATCH_METRICS]; /* CUSUMs, 1/64 */
	int8_t recent[2][WATCH_METRICS];   /* the last two z, sixteen steps an octave */
	uint16_t samples[WATCH_METRICS];   /* saturating */
	float battery;                     /* last level + 1, 0: none */
	float errors, exposure;            /* decayed sums: the rate */
	float sd_usual;                    /* of confidence within a report ... */
	uint16_t sd_short;
	uint16_t errors_now, expected_now; /* decayed over five reports */
	uint16_t errors_cusum;             /* 1/64 */
	uint16_t class_usual;              /* mean of the histogram's distance */
	uint16_t offset[2];                /* of latency on a low battery, on a bad link */
	int16_t temperature;               /* last, 1/64 degree */
	uint16_t boot_at[2];               /* of the last two boots, newest first: their seconds, low bits, odd; 0: none within the window */
	uint16_t output;                   /* fingerprint of the last output */
	uint16_t class_short[WATCH_CLASS_KEPT], class_long[WATCH_CLASS_KEPT]; /* shares, 1/65535 */
	uint16_t classes_seen, counts_seen, sd_seen; /* reports, saturating */
	uint16_t refused_values, refused_clocks;     /* saturating */
	uint8_t offset_seen[2];
	uint8_t clock_run;  /* reports in a row that were from the past */
	uint8_t identical;
	uint8_t maxima[WATCH_STATISTICS]; /* of this day, logbin.h */
};

/* The role of a metric by its name ("latency_ms", "error", "classes", ...); WATCH_ROLE_NONE for others. */
int watch_role(const char *metric);
const char *watch_metric_name(enum watch_metric m);           /* "latency_ms" */
const char *watch_statistic_name(enum watch_statistic s);     /* "latency_ms.spike", "errors.burst", ... */
/* The metric of a statistic, or -1 for those of counts and classes. */
int watch_statistic_metric(enum watch_statistic s);
bool watch_has_common_mode(enum watch_metric m);

/* Copies a histogram of any length into a report: classes from the fifteenth on share the last place. */
void watch_fold(struct watch_report *r, const float *counts, unsigned count);

/* What was expected of a metric, in its own unit; NAN without a value. */
float watch_expected(const struct watch_result *r, enum watch_metric m);
/* ln latency that the device's own regression puts down to a degree of temperature. */
float watch_heat(const struct watch *w);
/* Which CUSUM of the metric is larger: 1 up, -1 down, 0 neither. */
int watch_side(const struct watch *w, enum watch_metric m);
/* What is usual of the metric is learned anew. */
void watch_forget(struct watch *w, enum watch_metric m);

/* Takes a report; O(1), about 200 ns. A report from the past is refused as a whole, unless a dozen in a row are: then
 * the clock was set and its time is the new one. */
void watch_update(struct watch *w, const struct watch_report *r, const struct watch_peers *peers,
	struct watch_result *out);

/* The day's maximum of each statistic (NAN: it had none), and a new day. False when there was none at all. */
bool watch_day_end(struct watch *w, float maxima[WATCH_STATISTICS]);

#endif
