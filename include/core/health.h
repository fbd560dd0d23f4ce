/* Results of health checks by context, and whether a device fails more often than its like do in the same context.
 *
 * A context is a cell of 2 x 2 x 2: hot or not, battery low or not, link bad or not. What is not known excuses nothing. Each device counts
 * its results in each cell; a cohort (hardware x model version) keeps sums over its devices, from which the spread *between*
 * devices is estimated, so a device is not called suspicious for being one of those that are always a bit worse.
 * Not here: which checks there are, where results come from, what is done about a device.
 */
#ifndef AVIARY_CORE_HEALTH_H
#define AVIARY_CORE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum { HEALTH_HOT = 1, HEALTH_LOW_BATTERY = 2, HEALTH_BAD_LINK = 4, HEALTH_CELLS = 8 };
#define HEALTH_RESULTS_MAX 256 /* counted of a device in a cell; then both counts are halved, so that old ones fade */
#define HEALTH_ALPHA 1e-3      /* a device is suspicious when its like would fail as often with this probability at most */

/* Where a check's contexts begin. A limit that is NaN excuses nothing. */
struct health_context {
	float hot_c;       /* temperature above it: hot */
	float battery_low; /* share below it: low */
	float rssi_bad;    /* dBm below it: bad */
};
/* NaN for what is not known. */
unsigned health_cell(const struct health_context *x, float temperature_c, float battery, float rssi_dbm);
/* "normal"; or "hot", "low_battery", "bad_link", joined by "+". */
const char *health_cell_name(unsigned cell);

/* One device's results of one check in one cell. */
struct health_count {
	uint16_t results, failures;
};
/* Sums over the devices of a cohort in one cell. Integers, so that what is taken out leaves nothing behind. */
struct health_sums {
	int64_t devices, results, failures;
	int64_t result_pairs, failure_pairs; /* sums of n (n - 1) and k (k - 1) */
};
void health_add(struct health_sums *s, const struct health_count *c);
void health_remove(struct health_sums *s, const struct health_count *c);
/* Adds one result. */
void health_note(struct health_count *c, bool passed);

/* Beta distribution of devices' failure rates. Mean with Jeffreys' half; the precision from the second factorial moment
 * E[k (k - 1)] = n (n - 1) E[p^2] (Skellam 1948), never above what the number of results supports. */
struct health_prior {
	double a, b;
};
struct health_prior health_prior(const struct health_sums *s);

/* P(at least k failures of n), beta-binomial. 0 <= k <= n <= HEALTH_RESULTS_MAX. */
double health_tail(const struct health_prior *p, int n, int k);

/* How a device compares with the others of its cohort in the same cell; `s` contains the device itself. */
struct health_judgement {
	double rate;        /* failures of results; 0 without any */
	double cohort_rate; /* mean of the others */
	double p;           /* health_tail of its failures; 1 without any */
	bool is_suspicious; /* rate above the cohort's, and p at most HEALTH_ALPHA */
};
struct health_judgement health_judge(const struct health_sums *s, const struct health_count *c);

#endif
