/* Maintenance windows as hawkBit writes them: a Quartz cron expression for when they open, a duration, an offset from UTC.
 *
 * The subset: seven fields "second minute hour day-of-month month day-of-week [year]"; each is `*`, `?` (days only), or a list of numbers,
 * ranges a-b and steps a/n, a-b/n, `*`/n; months JAN to DEC, days of the week SUN to SAT or 1 (Sunday) to 7. Not: L, W, #.
 * Pure; the offset has no daylight saving, as hawkBit's has none.
 */
#ifndef AVIARY_CORE_MAINTENANCE_H
#define AVIARY_CORE_MAINTENANCE_H

#include <stdbool.h>
#include <stdint.h>

#define MAINTENANCE_YEAR_FIRST 1970
#define MAINTENANCE_YEAR_LAST 2099

struct maintenance {
	uint64_t seconds, minutes;
	uint32_t hours, days, months, weekdays; /* bits; days from bit 1, months from bit 1, weekdays from bit 0: Sunday */
	uint64_t years[3];                      /* bits from MAINTENANCE_YEAR_FIRST */
	bool has_days, has_weekdays;            /* given by more than * or ?: then one of them has to match */
	int64_t duration_ms;                    /* above 0 */
	int32_t offset_min;                     /* east of UTC */
};

/* false: `what` (a constant) says which of the three is wrong and why. timezone: "+02:00", "-05:30", "Z". */
bool maintenance_parse(const char *schedule, const char *duration, const char *timezone, struct maintenance *out, const char **what);
/* The window that is open at now_ms, or else the next one; false: none will ever open again. `end` is exclusive. */
bool maintenance_next(const struct maintenance *m, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms);

#endif
