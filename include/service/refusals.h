/* Devices whose messages are refused again and again: somebody should know, and why.
 *
 * A message or two that is refused is a sample in the log and a count at /metrics. A device of which REFUSALS_LEAST are refused within a day
 * is an alert, 'device.refused' of 'devices/<device>', with the reason and the newest message's fault; it ends when nothing was
 * refused for REFUSALS_STALE_MS. Loop thread, in memory: after a restart a device is counted anew. Not here: what is refused (service/ingest.h).
 */
#ifndef AVIARY_SERVICE_REFUSALS_H
#define AVIARY_SERVICE_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "service/call.h"
#include "service/ingest.h"
#include "service/timebox.h"

#define REFUSALS_LEAST 3
#define REFUSALS_WINDOW_MS ((int64_t)86400000)
#define REFUSALS_AGAIN_MS ((int64_t)300000)        /* the alert is told of the newest refusal so often */
#define REFUSALS_STALE_MS ((int64_t)6 * 3600000)
#define REFUSALS_QUEUE 512                          /* devices that wait to be told of; others are with their next refusal */

/* What is remembered of a device; zeroed: nothing. */
struct refusal_note {
	int64_t since_ms; /* of the window */
	int64_t told_ms;  /* 0: not yet */
	int64_t count;    /* in the window */
};

struct refusals;
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r); /* NULL is allowed */
/* One more of this device; `device` is its row. `at_once`: the first one is told, too. */
void refusals_note(struct refusals *r, struct refusal_note *note, int64_t device, enum ingest_refusal reason, const char *detail, bool at_once,
	int64_t now_ms);
/* Tells of those that wait, in units of work of its own. *more: call again soon. */
AVIARY_MUST_CHECK enum err refusals_tick(struct call *c, struct refusals *r, const struct timebox *box, bool *more);

#endif
