/* What the databases still know of the past: for jobs, on connections of their own that only read. */
#ifndef AVIARY_STORE_HISTORY_H
#define AVIARY_STORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* One alert as it was; texts live until the callback returns. */
struct past_alert {
	int64_t id, rule;                  /* rule 0: none */
	const char *kind, *resource, *metric, *data;
	int64_t pending_at, fired_at;      /* 0: not; one of them is */
	int64_t resolved_at;               /* 0: not yet */
	const char *resolved_by;           /* NULL: not, "cleared" "no_data" "ended" */
	int64_t delay_ms;                  /* how long it had been over when it was resolved as cleared */
};
/* Alerts of kinds from `from_kind` up to but without `to_kind` (bytewise) that were open at some time between the two; those of one condition in their
 * order. ERR_TIMEOUT behind the deadline (monotonic ms). */
AVIARY_MUST_CHECK enum err history_alerts(const char *fleet_path, const char *from_kind, const char *to_kind, int64_t from_ms, int64_t to_ms,
	int64_t deadline_mono_ms, void (*fn)(void *ctx, const struct past_alert *a), void *ctx, struct fault *f);
/* When the oldest device was made; INT64_MAX: there is none. */
AVIARY_MUST_CHECK enum err history_first_device(const char *fleet_path, int64_t *at_ms, struct fault *f);
/* The oldest report of the log; INT64_MAX: it is empty. */
AVIARY_MUST_CHECK enum err history_first_report(const char *telemetry_path, int64_t *at_ms, struct fault *f);

#endif
