/* Long work on the loop, in pieces: nobody else waits longer than one of them takes.
 *
 * Who has much to do (a scan of the fleet, a stage's rows, offers) does a piece, asks timebox_is_over after each item, and goes on in
 * the next tick. A timebox says nothing of what a commit costs, and messages and
 * requests of the same iteration have their own: so it is far below the 20 ms for which the loop may be held.
 */
#ifndef AVIARY_SERVICE_TIMEBOX_H
#define AVIARY_SERVICE_TIMEBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define TIMEBOX_NS 3000000u

struct timebox {
	uint64_t end_ns; /* monotonic */
};

static inline struct timebox timebox_begin(uint64_t length_ns)
{
	return (struct timebox){clock_mono_ns() + length_ns};
}

static inline bool timebox_is_over(const struct timebox *s)
{
	return clock_mono_ns() >= s->end_ns;
}

#endif
