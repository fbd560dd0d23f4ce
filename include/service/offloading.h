/* Offloading: an operator's policy for a model, the margin that each class (hardware x version) gets by it, and whether what comes of it stays
 * within bounds. core/offload_policy.h has the arithmetic, docs/models.md the rules. (Work off the loop is service/offload.h.)
 *
 * A class begins with its first report. Its figures are of reports with the margin that it has now: devices say by `offload_rev` which one they
 * had. They follow the durable log of reports (rows carry the number of the last batch that is in them, the log is told again from there after
 * a start); margins are written in the unit that changes them. Devices whose reports show another margin than theirs are told to fetch
 * their desired document.
 */
#ifndef AVIARY_SERVICE_OFFLOADING_H
#define AVIARY_SERVICE_OFFLOADING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "service/call.h"

struct device_state; /* service/registry.h */
struct offloading;

#define OFFLOADING_POLICIES_MAX 32
#define OFFLOADING_CLASSES_MAX 512 /* of all policies; 9 KiB each */

/* After telemetry, registry, catalog and alerts. Reads what is stored, and the end of the log. */
AVIARY_MUST_CHECK enum err offloading_open(struct services *s, struct offloading **out, struct fault *f);
void offloading_close(struct offloading *o); /* does not write; NULL is allowed */
/* Once a second: margins are fitted, bounds watched, rows written, some devices told. In its own units of work. */
AVIARY_MUST_CHECK enum err offloading_tick(struct call *c);

/* ---- operators ---- */
/* Numbers that are NAN are not watched; texts NULL as their defaults. */
struct offload_input {
	const char *endpoint;
	double target_rate, margin, audit;
	const char *link; /* "bad" "metered" "good" */
	bool has_rssi;
	int64_t rssi_dbm, rate_kbps, battery_percent;
	int64_t budget;
	const char *budget_unit; /* "per_hour" "per_day" "bytes_per_hour" "bytes_per_day" */
	int64_t fit_every_ms;
	double rate_max, agreement_min, agreement_max, cost_max;
};
void offload_input_init(struct offload_input *in);
/* Sets the policy of a model. Margins that classes have stay; figures begin anew. ERR_NOT_FOUND, ERR_INVALID with the member. Audited. */
AVIARY_MUST_CHECK enum err offloading_set(struct call *c, const char *model, const struct offload_input *in);
AVIARY_MUST_CHECK enum err offloading_remove(struct call *c, const char *model); /* ERR_NOT_FOUND: there is none */
/* The policy with its classes as a JSON object; *revision for the ETag. */
AVIARY_MUST_CHECK enum err offloading_show(struct call *c, const char *model, struct buf *out, int64_t *revision);

/* ---- devices ---- */
/* The member `offload` of the device's desired document; nothing is written where no policy is for it. `release`: that it should run; 0: as
 * it says itself. */
AVIARY_MUST_CHECK enum err offloading_put_document(struct call *c, const struct device_state *d, int64_t release, struct buf *out);

#endif
