/* How large is too large: thresholds of a cohort's statistics from a budget of false alarms.
 *
 * The budget is B false alerts in a device-day. Each device keeps the day's maximum of each statistic (core/watch.h);
 * the maxima of a cohort (hardware and model version) are pooled in histograms that forget, and the threshold of a
 * statistic is the quantile that B/2 leaves to it, read off the histogram where there are device-days enough, else
 * extrapolated by a generalised Pareto law. Maxima, because time dependence and the daily cycle are then inside the
 * block, and the unit of the budget is the unit of the block. A cohort that knows little borrows from its parent
 * (hardware), and that from what is shipped.
 *
 * Pure; about 21 KB a cohort.
 */
#ifndef AVIARY_CORE_BUDGET_H
#define AVIARY_CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/logbin.h"
#include "core/watch.h"

#define BUDGET_DEFAULT 1e-3f   /* B: false alerts in a device-day */
#define BUDGET_OWN_DAYS 2000.0f /* device-days from which on a cohort needs no parent */
#define BUDGET_SOME_DAYS 100.0f /* and from which on its own spread scales the parent's thresholds */

/* Plain memory, zeroed = new; stored as these bytes. */
struct budget {
	float bins[WATCH_STATISTICS][LOGBINS]; /* device-days, decayed each day */
	float firing[WATCH_STATISTICS];        /* device-days beyond the threshold of devices that fire, today */
	float settled[WATCH_STATISTICS];       /* those of earlier days that are in the bins */
	float threshold[WATCH_STATISTICS];     /* 0: not calibrated yet */
	float common[WATCH_METRICS];           /* mean z of the last quarter of an hour */
	float common_sum[WATCH_METRICS];
	uint32_t common_count[WATCH_METRICS];
	uint32_t common_slot;
	uint32_t day;                          /* of the last roll, caller's numbering */
	uint8_t source[WATCH_STATISTICS];      /* enum budget_source */
};

enum budget_source { BUDGET_SHIPPED, BUDGET_PARENT, BUDGET_SCALED, BUDGET_TAIL, BUDGET_EMPIRICAL };
const char *budget_source_name(enum budget_source s); /* "shipped" "parent" "scaled" "tail" "empirical" */

/* A device's day (watch_day_end). `is_firing`: an alert of it fires at the day's end; such a day is left out, but for
 * as many as false alarms may be: what is broken does not raise the bar, what was a false alarm does not lower it.
 * NAN: none. */
void budget_add_day(struct budget *b, const float maxima[WATCH_STATISTICS], bool is_firing);

/* The end of a day: new thresholds, and the past weighs a little less (its mean age is about ten days). Once for each
 * `day`: the same or an earlier one changes nothing. `parent` may be NULL; roll parents first. `per_device_day`: B. */
void budget_roll(struct budget *b, const struct budget *parent, uint32_t day, float per_device_day);

/* What a statistic may reach. Before the first roll: the parent's, or what is shipped. */
float budget_threshold(const struct budget *b, const struct budget *parent, enum watch_statistic s);
float budget_shipped(enum watch_statistic s);
float budget_device_days(const struct budget *b, enum watch_statistic s); /* as they weigh now */

/* A report's z go into the cohort's common mode; budget_peers says what the next report is judged with. */
void budget_add_report(struct budget *b, uint32_t at_s, const float z[WATCH_METRICS]);
void budget_peers(const struct budget *b, const struct budget *parent, struct watch_peers *out);

#endif
