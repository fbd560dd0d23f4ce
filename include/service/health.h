/* Health checks: declared by operators, fed by reports and by devices' answers to commands, judged in context. Loop thread only.
 *
 * Two kinds. A `limit` compares a metric of each durable report. The others (core/command.h) are carried out by the devices: on a
 * schedule that is paced over the fleet, or on demand. Each result falls into a context cell (core/health.h) of the device's cohort (hardware x
 * model version). A failure in the normal cell pages; one in the heat, on a low battery or a bad link is kept, shown, and pages only
 * when the device fails more often there than its cohort does (unless nothing excuses this kind, as a wrong hash). The alert is
 * health.<name of the check> on devices/<id>; a result that passes resolves it.
 *
 * Reports cost no SQL: states are in memory; what pages or changes is written within a tick or two, counts in rounds. After a kill the next
 * report brings a state that was not written yet.
 */
#ifndef AVIARY_SERVICE_HEALTH_H
#define AVIARY_SERVICE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/command.h"
#include "service/call.h"

#define HEALTH_CHECKS_MAX 32
#define HEALTH_LIMIT "limit"              /* kind of a check on a metric */
#define HEALTH_EVERY_MS 60000             /* of a limit: a device's result counts at most this often, unless it changes */
#define HEALTH_SCHEDULE_LEAST_MS 60000    /* of other kinds; half of it is for telling the fleet */

struct health;
struct device_state;

/* After commands, alerts and telemetry. */
AVIARY_MUST_CHECK enum err health_open(struct services *s, struct health **out, struct fault *f);
void health_close(struct health *h); /* NULL is allowed */

/* ---- operators ---- */
struct health_spec {
	int64_t id, revision, created_at, updated_at, next_at;
	const char *name, *kind, *hardware, *model, *filter, *metric, *op, *severity; /* "": any; op "gt" or "lt" is the bad side */
	double threshold, hot_c, battery_low, rssi_bad; /* NaN: that context excuses nothing */
	int64_t window_ms;  /* of a limit: how long it must be broken */
	int64_t every_ms;   /* of a limit: see HEALTH_EVERY_MS; of others: the schedule, 0: on demand only */
	int64_t timeout_ms; /* of the command */
};
AVIARY_MUST_CHECK enum err health_create(struct call *c, const struct health_spec *s, int64_t *id);
AVIARY_MUST_CHECK enum err health_show(struct call *c, int64_t id, struct health_spec *out); /* texts in the arena */
/* Replaces limits, contexts, schedule and severity; not name, kind, metric or scope. */
AVIARY_MUST_CHECK enum err health_update(struct call *c, const struct health_spec *s);
AVIARY_MUST_CHECK enum err health_delete(struct call *c, int64_t id); /* its alerts are resolved, its results deleted, in pieces */
AVIARY_MUST_CHECK enum err health_list(struct call *c, struct health_spec **items, size_t *count);
/* Runs it now on one device, on a group and a filter, or (all NULL) on everybody it is for. A limit is asked by report_now. */
AVIARY_MUST_CHECK enum err health_run(struct call *c, int64_t id, const char *device, const char *group, const char *filter, int64_t *command);
/* Rows check x hardware x model version x cell that have results; check "" and cell < 0: all. At most 1000, truncated says so. */
AVIARY_MUST_CHECK enum err health_matrix(struct call *c, const char *check, const char *hardware, int cell, struct buf *out, bool *is_cut);
AVIARY_MUST_CHECK enum err health_of_device(struct call *c, const struct device_state *d, struct buf *out);

/* ---- devices ---- */
AVIARY_MUST_CHECK enum err health_answered(struct call *c, struct device_state *d, int64_t check, const struct command_answer *a);
void health_forget(struct health *h, struct device_state *d); /* it leaves the index */

/* Ten times a second: alerts and rows that changed, schedules, checks that are being deleted. */
AVIARY_MUST_CHECK enum err health_tick(struct call *c);
int64_t health_state_bytes(const struct health *h); /* memory of all states */

#endif
