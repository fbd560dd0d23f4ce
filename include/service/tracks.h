/* What the server remembers of each device's telemetry: duplicates, habits, baselines, windows of rollouts. In memory, with its bytes for
 * the database. Loop thread only; service/observe.h is its reading side.
 *
 * A track is a function of the reports in the log, added in any order within a batch; its bytes are the same after a replay.
 */
#ifndef AVIARY_SERVICE_TRACKS_H
#define AVIARY_SERVICE_TRACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/accum.h"
#include "core/dedupe.h"
#include "core/silence.h"
#include "store/report_log.h"
#include "store/telemetry_sql.h"

#define TRACK_BASELINES_MAX 128 /* metrics of one device with a baseline; later ones have none */
#define TRACK_WINDOWS_MAX 8     /* rollouts' stages that follow one device at once; the oldest makes room */

struct accum_cell {
	struct metric_accum a;
	struct sketch_blob sketch;
};
struct baseline {
	int64_t metric, model; /* symbol; model number */
	int64_t version;       /* the version symbol whose reports it holds, 0 = none named */
	int64_t half;          /* number of the half that is being filled */
	struct accum_cell older, current;
};
struct window_metric {
	int64_t metric;
	struct accum_cell cell;
};
struct window {
	int64_t rollout, stage, since_ms, reports;
	bool is_pending; /* the log from since_ms on is still to be read */
	bool is_paired;  /* holds only what a report has of both the version that runs and the one in shadow */
	struct window_metric *metrics;
	size_t metric_count;
};
struct track {
	int64_t device;
	int64_t batch; /* every report up to this batch is in it */
	struct dedupe dedupe;
	struct silence_habit habit;
	struct baseline *baselines;
	struct window *windows;
	uint16_t baseline_count, window_count;
	bool is_dirty;            /* waits for the database */
	struct track *next_dirty; /* private */
};

struct tracks;

struct tracks *tracks_new(int64_t baseline_ms);
/* How pairs are told: the metric of which `metric` is the shadow's, 0 when it is none. Without it paired windows stay empty. */
void tracks_pair_by(struct tracks *t, int64_t (*pair_of)(void *ctx, int64_t metric), void *ctx);
void tracks_free(struct tracks *t); /* NULL is allowed */
struct track *tracks_find(const struct tracks *t, int64_t device); /* NULL: never heard of */
struct track *tracks_get(struct tracks *t, int64_t device);        /* made when there is none */
void tracks_drop(struct tracks *t, struct track *k);
size_t tracks_count(const struct tracks *t);
/* Iterates: size_t at = 0; while ((k = tracks_each(t, &at))). No track may be made or dropped meanwhile. */
struct track *tracks_each(const struct tracks *t, size_t *at);

/* One report of the log, `model` being the model's number of its version. Walks the metrics of *r. */
void track_apply(struct tracks *t, struct track *k, struct log_report *r, int64_t model);
/* The same into one window only, if it was received within it: for the past of a window. */
void track_backfill(struct tracks *t, struct window *w, struct log_report *r);

/* ---- windows ---- */
struct window *track_window(struct track *k, int64_t rollout, int64_t stage); /* NULL: not followed */
/* New and empty; the same window is emptied. Paired: a report counts with those of its metrics that come of the version that runs and of the one
 * in shadow (neither a histogram), and not at all without one. */
struct window *track_open_window(struct tracks *t, struct track *k, int64_t rollout, int64_t stage, int64_t since_ms, bool is_paired);
void track_close_window(struct tracks *t, struct track *k, struct window *w);
/* Devices that a stage follows, in no order; NULL and 0 when none. stage -1: the first stage of the rollout that is followed, *stage_out
 * telling which. Valid until the next change. */
const int64_t *tracks_followed(const struct tracks *t, int64_t rollout, int64_t stage, size_t *count, int64_t *stage_out);
int64_t tracks_stage_reports(const struct tracks *t, int64_t rollout, int64_t stage);

/* ---- bytes ---- */
void track_encode(struct tracks *t, const struct track *k, struct buf *out);
/* false, and the track as empty as a new one, when they are not what track_encode wrote. `model_of` turns a version symbol into its model's number. */
bool track_decode(struct tracks *t, struct track *k, const void *data, size_t len, int64_t (*model_of)(void *ctx, int64_t version), void *ctx);

/* ---- what waits for the database, oldest first ---- */
void tracks_mark_dirty(struct tracks *t, struct track *k);
size_t tracks_dirty_count(const struct tracks *t);
struct track *tracks_next_dirty(struct tracks *t); /* takes it out; NULL when none waits */

/* ---- cells ---- any thread that owns the cell: zeroed at first, its sketch.data to be freed */
/* Adds one metric of one report; one that would overflow is left out. `scratch` is room for its sketch. */
void cell_put(struct accum_cell *cell, const struct log_metric *m, struct ddsketch *scratch);
/* Merges a cell into accumulators; `s` may be NULL. */
void cell_merge(const struct accum_cell *cell, struct metric_accum *a, struct ddsketch *s);

#endif
