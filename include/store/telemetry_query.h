/* Questions to telemetry.db: aggregates over time, or single points. A closed job on a read-only connection of its own, with a deadline.
 *
 * Aggregates of the whole fleet come from hours, minutes or raw reports, whichever is coarse enough for the step; those of named devices from their
 * chunks, whatever the step. What is not rolled up or regrouped yet is taken from the finer one, so an answer always ends at the last committed
 * report. All of it is one SELECT.
 */
#ifndef AVIARY_STORE_TELEMETRY_QUERY_H
#define AVIARY_STORE_TELEMETRY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum telemetry_source { SOURCE_RAW, SOURCE_MINUTE, SOURCE_HOUR };

struct telemetry_answer_row {
	int64_t at_ms;
	const char *model, *version;  /* by_version; NULL: reported without one */
	int64_t reports, n;
	double sum, min, max, p50, p95, p99;
};
struct telemetry_select {
	const char *path;
	enum telemetry_source source;
	int64_t metric;               /* symbol */
	const int64_t *devices;       /* sorted row ids; NULL: all */
	size_t device_count;
	const int64_t *versions;      /* symbols; NULL: any */
	size_t version_count;
	int64_t from_ms, to_ms;       /* whole minutes or hours for those sources */
	int64_t step_ms;              /* >= 1; a multiple of the source's unit */
	bool by_version;
	bool is_scores;               /* of the metric's values the anomaly scores that were events; no versions */
	int64_t limit;                /* rows */
	int64_t deadline_mono_ms;
	/* a row; a sketch's figures are NAN where they are not known */
	void (*row)(void *ctx, const struct telemetry_answer_row *row);
	void *ctx;
};
AVIARY_MUST_CHECK enum err telemetry_select_run(const struct telemetry_select *q, struct fault *f);

/* For the test of query plans: the plan's lines of the statement that would answer `q`. */
AVIARY_MUST_CHECK enum err telemetry_select_plan(const struct telemetry_select *q, bool points, void (*line)(void *ctx, const char *text), void *ctx,
	struct fault *f);

/* Single points of one device (devices[0]), newest first. */
struct telemetry_point_row {
	int64_t received_ms, ts_ms, seq;
	bool has_ts;
	const char *boot, *model, *version, *type;
	const char *value; /* JSON */
};
AVIARY_MUST_CHECK enum err telemetry_points_run(const struct telemetry_select *q, void (*row)(void *ctx, const struct telemetry_point_row *row),
	struct fault *f);

#endif
