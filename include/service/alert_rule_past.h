/* A rule of kind signature, health or gate against history: over which alerts of the past it would have had its say.
 *
 * What those rules look at are signals, and no signal is kept; but each that was over for a moment made an alert, and alerts are kept for
 * ALERT_KEEP_MS. So the past of a condition is when its alerts were open, less the time for which they were kept open (keep_firing_for). What a
 * rule with `for` swallowed, and single samples, are not known. Work beside the loop on a connection of its own; made and asked on the loop.
 */
#ifndef AVIARY_SERVICE_ALERT_RULE_PAST_H
#define AVIARY_SERVICE_ALERT_RULE_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"

struct alert_rule_row;
struct rule_past;

#define RULE_PAST_CONDITIONS 100000 /* of the range, at most */
#define RULE_PAST_ALERTS 2000

struct would_alert {
	const char *kind, *resource;
	int64_t fired_ms, resolved_ms; /* 0: fires still */
};
/* The rule's texts are copied. to_ms is not after now. ERR_INVALID: it counts samples. */
AVIARY_MUST_CHECK enum err rule_past_new(struct call *c, const struct alert_rule_row *r, int64_t from_ms, int64_t to_ms, struct rule_past **out);
AVIARY_MUST_CHECK enum err rule_past_work(struct rule_past *p, int64_t deadline_mono_ms, struct fault *f); /* any thread */
void rule_past_free(struct rule_past *p); /* NULL is allowed */

/* Found by the work: by kind, resource and time; live as long as the past. */
const struct would_alert *rule_past_alerts(const struct rule_past *p, size_t *count);
size_t rule_past_conditions(const struct rule_past *p, size_t *resources);
int64_t rule_past_begin_ms(const struct rule_past *p); /* from when on history is there: from_ms, or later */
bool rule_past_is_complete(const struct rule_past *p);

#endif
