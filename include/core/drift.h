/* Fleet drift: has a cohort as a whole changed this hour, where no device alone would show it?
 *
 * Two tests, once an hour. Classes: each device's class fractions of the hour less its own baseline and less what the
 * cohort always does at this hour of the day, averaged over devices; T2 is the sum of squares over variances (paired:
 * differences between devices cancel). Metrics: how many devices are beyond half of a statistic's threshold, against
 * the cohort's own rate of it. PSI and KL divergence of the pooled histograms are for display: pooled, a hundredth of
 * the mass moving is invisible. docs/detect.md has formulas, power and null.
 *
 * Pure: plain memory, zeroed = new, stored as these bytes. The order of calls in an hour: drift_device_add with every
 * report; when the hour is over a new `struct drift_hour` with its number, drift_device_close for each device of the
 * cohort (in pieces, in any order; a device that reports in the new hour before its turn is closed first), drift_count
 * for its statistics, then drift_roll once. Hours are those of the server's clock (hours since 1970), the same for all.
 */
#ifndef AVIARY_CORE_DRIFT_H
#define AVIARY_CORE_DRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/watch.h"

#define DRIFT_CLASSES 16
#define DRIFT_HOURS 24
#define DRIFT_DEVICES_MIN 100u /* in the hour, for a verdict: below, a mean of devices is not normal far out */
#define DRIFT_COUNT_MIN 20u    /* inferences of a device in the hour, to take part */
#define DRIFT_NULL_RATE 1e-6   /* false alarms a cohort-hour, of T2 and of all shares together */
#define DRIFT_MARGIN 1.15      /* on the threshold of T2: variances are estimated */

/* A device's part, 68 bytes. */
struct drift_device {
	uint16_t hour;   /* whose counts these are, hour % 65535 + 1; 0: none */
	uint16_t hours : 10, shift : 6; /* behind the baseline, saturating; counts are halved so many times */
	uint16_t baseline[DRIFT_CLASSES]; /* shares, 1/65535; two weeks' memory */
	uint16_t counts[DRIFT_CLASSES];   /* of the hour */
};

/* A cohort's part, about 2 KB. */
struct drift {
	float common[DRIFT_HOURS][DRIFT_CLASSES]; /* usual difference from the baselines at this hour of the day */
	float wander[DRIFT_CLASSES];  /* mean square of the cohort's own mean: what devices share */
	float pooled[DRIFT_CLASSES];  /* long-run pooled shares */
	float t2_mean, t2_square;     /* of T2 itself: what devices share makes its tail longer */
	float beyond[WATCH_STATISTICS], present[WATCH_STATISTICS]; /* decayed sums of devices */
	float spread[WATCH_STATISTICS]; /* variance of the share over the binomial's, mean */
	uint16_t counted[WATCH_STATISTICS]; /* hours, saturating */
	uint16_t pooled_hours, hours, tested; /* behind pooled, wander, t2_mean; saturating */
	uint16_t over;                /* hours in a row with a T2 over its threshold */
	uint16_t classes;             /* bit c: class c was seen */
	uint8_t days[DRIFT_HOURS];    /* behind each hour of the day, saturating */
};

/* One hour of a cohort while it is being closed. Zeroed, then `hour` set. */
struct drift_hour {
	uint32_t hour;
	uint32_t devices;
	double sum[DRIFT_CLASSES], square[DRIFT_CLASSES]; /* over devices of fraction - baseline - common */
	double counts[DRIFT_CLASSES]; /* pooled */
	double inverse;               /* sum of 1/inferences */
	uint32_t beyond[WATCH_STATISTICS], present[WATCH_STATISTICS];
};

struct drift_result {
	uint32_t hour, devices;
	unsigned classes;         /* that this cohort has shown */
	bool is_warm;             /* T2 may judge: about a week after the first report */
	bool is_over;             /* T2 > threshold, warm, and enough devices */
	float t2, threshold;      /* NAN before they exist */
	float psi, kl;            /* of the hour's pooled histogram against the long-run one; NAN without either */
	float shift[DRIFT_CLASSES]; /* mean change of each class's share */
	unsigned class_up, class_down; /* that gained and lost most */
	uint32_t metrics;         /* bit s: share of devices beyond half threshold of statistic s is over */
	float share[WATCH_STATISTICS], usual[WATCH_STATISTICS]; /* NAN without devices; before a day is known */
	float p[WATCH_STATISTICS]; /* binomial tail; 1 without */
};

/* Takes the class counts of a report, folded to at most DRIFT_CLASSES (watch_fold does). False, and nothing changed:
 * not finite or negative, none, too many, or an hour that is over. Counts of an earlier hour that nobody closed are
 * dropped. */
bool drift_device_add(struct drift_device *d, uint32_t hour, const float *counts, unsigned class_count);
/* What the device has counted in an hour is taken as of a later one: it could not tell before. */
void drift_device_date(struct drift_device *d, uint32_t hour, uint32_t to);
/* The device's counts of h->hour go into it and into its baseline. False: it has none (or too few, or is new: its
 * first day only teaches the baseline). A second call does nothing. */
bool drift_device_close(struct drift_device *d, const struct drift *c, struct drift_hour *h);
/* A device of the cohort has the statistic, and whether it is beyond half of its threshold (any time in the hour). */
void drift_merge(struct drift_hour *h, const struct drift_hour *more); /* of whatever hour */
void drift_count(struct drift_hour *h, enum watch_statistic s, bool is_beyond);
/* Judges the hour and learns from it. */
void drift_roll(struct drift *c, const struct drift_hour *h, struct drift_result *out);
/* Whether stored bytes can be a state: finite, in range. One that is not is replaced by zeroes. */
bool drift_is_valid(const struct drift *c);

/* Population stability index, sum (p - q) ln(p/q), and Kullback-Leibler divergence, sum p ln(p/q), of two histograms of
 * `count` classes; shares below 1e-4 count as 1e-4. NAN when either is empty. */
float drift_psi(const double *p, const double *q, unsigned count);
float drift_kl(const double *p, const double *q, unsigned count);

#endif
