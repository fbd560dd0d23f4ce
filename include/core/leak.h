/* A memory leak, seen from outside: the lowest use of each of the last 24 hours, its slope, and when memory ends.
 *
 * Theil-Sen (Sen 1968): the median slope of all pairs of hours; Kendall's tau of the same pairs says whether the way is
 * one way. Minima, because what a process needs now and then is not lost. Whether the use is unusual is not asked here
 * (the CUSUM of core/watch.h), and one device's series alone is never an alarm.
 */
#ifndef AVIARY_CORE_LEAK_H
#define AVIARY_CORE_LEAK_H

#include <stdbool.h>
#include <stdint.h>

#define LEAK_HOURS 24
#define LEAK_HOURS_MIN 8  /* known, for a slope */
#define LEAK_TAU 0.7f     /* and above it the way is one way: for 24 hours 4.8 standard deviations */

/* 32 bytes. Plain memory, zeroed = new. Uses of memory are logarithmic codes of a twentieth of a percent; minima are a byte each, as exact as
 * 254 steps over what they span, which is a code a step up to 15 %. */
struct leak {
	uint16_t hour;            /* of the last value, hour % 65520 + 1; 0: none */
	uint16_t base;            /* code that a minimum of 1 stands for */
	uint16_t current;         /* code of the running hour's minimum */
	uint8_t shift;            /* of a step */
	uint8_t spare;
	uint8_t minima[LEAK_HOURS]; /* by hour % 24: (code - base >> shift) + 1, 0: none */
};

struct leak_result {
	unsigned hours;           /* with a minimum, without the running one */
	float bytes_per_hour;     /* median slope; NAN with too few hours */
	float tau;                /* -1..1; 0 with too few */
	float bytes;              /* the last known minimum; NAN without */
	float hours_left;         /* until `limit`; INFINITY when it does not grow or no limit is known */
	bool is_leak;             /* enough hours, grows, one way */
};

/* Takes a use of memory in bytes at an hour (since 1970, server's clock). A new boot starts over: the old process is
 * gone. False, and nothing changed: not a number, below 1, or an hour that is over. */
bool leak_add(struct leak *l, uint32_t hour, float bytes, bool is_new_boot);
/* limit: memory of the device in bytes; 0 or NAN: unknown. */
void leak_judge(const struct leak *l, float limit, struct leak_result *out);

#endif
