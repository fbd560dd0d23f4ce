/* How often devices of this fleet fall silent by themselves: counted once an hour, kept for 30 days. The hard stop is priced with it.
 *
 * A trial is a device-hour of a device that could be heard when the hour began, or was heard in it; a hit is one of these that is silent, by
 * its own habits, when it ends. Left out are devices in a rollout (what a release does is not the fleet's habit) and hours in which the
 * server could not hear all the time. Loop thread only; a pass that a stop interrupts is not counted.
 */
#ifndef AVIARY_SERVICE_SILENCE_HISTORY_H
#define AVIARY_SERVICE_SILENCE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "service/timebox.h"

#define SILENCE_RATE_DEFAULT 0.01
#define SILENCE_DAYS 30

struct silence_history;
struct silence_store;

AVIARY_MUST_CHECK enum err silence_history_open(struct services *s, struct silence_history **out, struct fault *f);
void silence_history_close(struct silence_history *h); /* NULL is allowed */
struct silence_store *silence_history_store(struct silence_history *h);

/* Time passes: does a piece when an hour is being counted. In its own unit of work. *more: there is another piece to do. */
AVIARY_MUST_CHECK enum err silence_history_tick(struct call *c, struct silence_history *h, const struct timebox *box, bool *more);

/* P(a device falls silent within a day), at 95 % certainty at most this; `days`: of history, 0: the default. */
struct silence_rate {
	double rate;
	int64_t days;
};
AVIARY_MUST_CHECK enum err silence_history_rate(struct call *c, struct silence_history *h, struct silence_rate *out);

#endif
