/* telemetry.db as its writer sees it: batches in, minute and hour roll-ups of the fleet, chunks of single devices, device states, retention.
 *
 * One thread at a time. A batch is one transaction: packed reports, new names, device states whose turn it is, and, when a minute has ended,
 * its roll-ups. The open minute is in memory only and comes back from the log. Queries: store/telemetry_query.h.
 */
#ifndef AVIARY_STORE_TELEMETRY_STORE_H
#define AVIARY_STORE_TELEMETRY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct telemetry_store;

#define TELEMETRY_MINUTE_MS 60000
#define TELEMETRY_HOUR_MS 3600000

struct stored_symbol {
	int64_t id;
	const char *kind; /* "metric" "version" */
	const char *model, *text;
};
/* States of devices, many in a row (service/state_pages.h). */
enum stored_page_kind { PAGE_TRACKS, PAGE_DETECT, PAGE_KINDS };
struct stored_page {
	int64_t id;       /* 2 x number + kind */
	int64_t batch;    /* the states hold every report up to this one */
	const void *data; /* NULL: no page */
	size_t len;
};
struct stored_pages {
	struct stored_page page;
	const int64_t *dead; /* ids of pages that go */
	size_t dead_count;
};
struct stored_state { /* of a database from before there were pages: a row a device */
	int64_t device, batch;
	const void *data;
	size_t len;
};
/* A row of what detection remembers (service/detect.h). */
enum stored_detect_kind { DETECT_COHORT = 1, DETECT_BUDGET, DETECT_VIEW, DETECT_EVENT };
struct stored_detect {
	enum stored_detect_kind kind;
	int64_t key;          /* number of the cohort; device of an event */
	int64_t batch;        /* the state holds every report up to this one; DETECT_VIEW: holds from this one on; DETECT_EVENT: time of receipt */
	const void *data;
	size_t len;
	int64_t metric;       /* the last three: of DETECT_EVENT */
	double score, value;
};
struct stored_batch {
	int64_t id;       /* one above the last one written */
	int64_t first_ms, last_ms, reports;
	const void *data; /* store/report_log.h */
	size_t len;
	const struct stored_symbol *symbols;
	size_t symbol_count;
	struct stored_pages pages[PAGE_KINDS];
	int64_t states_batch; /* > 0: now every track on disk holds every report up to this batch */
	const struct stored_detect *detects;
	size_t detect_count;
	int64_t detect_batch; /* > 0: the same of detection's states */
};

AVIARY_MUST_CHECK enum err telemetry_store_open(const char *path, struct telemetry_store **out, struct fault *f);
void telemetry_store_close(struct telemetry_store *s); /* NULL is allowed */

/* Writes and commits. On failure nothing has changed, and the same call may be made again. */
AVIARY_MUST_CHECK enum err telemetry_store_write(struct telemetry_store *s, const struct stored_batch *b, struct fault *f);

struct telemetry_retention {
	int64_t raw_before_ms, device_before_ms, minute_before_ms, hour_before_ms; /* what is older goes; 0 = keep */
	int64_t max_bytes; /* 0 = no bound; above it the oldest raw batches go, then roll-ups, then chunks */
};
/* One bounded step, committed: the roll-ups of a minute that has ended without a batch after it, or a part of an hour's, of
 * regrouping, or of retention. */
AVIARY_MUST_CHECK enum err telemetry_store_maintain(struct telemetry_store *s, const struct telemetry_retention *r, int64_t now_ms, bool *more,
	struct fault *f);
AVIARY_MUST_CHECK enum err telemetry_store_bytes(struct telemetry_store *s, int64_t *used, struct fault *f); /* pages in use */

struct db *telemetry_store_db(struct telemetry_store *s); /* for the test of query plans */

/* ---- reading back, at start ---- */
AVIARY_MUST_CHECK enum err telemetry_store_last(struct telemetry_store *s, int64_t *batch, int64_t *states_batch, struct fault *f);
AVIARY_MUST_CHECK enum err telemetry_store_each_symbol(struct telemetry_store *s, void (*fn)(void *ctx, const struct stored_symbol *symbol),
	void *ctx, struct fault *f);
/* Pages of that kind, in order of id. */
AVIARY_MUST_CHECK enum err telemetry_store_each_page(struct telemetry_store *s, enum stored_page_kind kind,
	void (*fn)(void *ctx, const struct stored_page *page), void *ctx, struct fault *f);
/* Of an older database; they go with the first states_batch that is written. */
AVIARY_MUST_CHECK enum err telemetry_store_each_state(struct telemetry_store *s, void (*fn)(void *ctx, const struct stored_state *state), void *ctx,
	struct fault *f);
/* Detection's states and views (no events), views of a cohort in order; and the batch from which on its log is to be read. */
AVIARY_MUST_CHECK enum err telemetry_store_each_detect(struct telemetry_store *s, int64_t *detect_batch,
	void (*fn)(void *ctx, const struct stored_detect *row), void *ctx, struct fault *f);
/* Batches with id > after, in order; id, times, reports and data are filled. */
AVIARY_MUST_CHECK enum err telemetry_store_each_batch(struct telemetry_store *s, int64_t after,
	void (*fn)(void *ctx, const struct stored_batch *batch), void *ctx, struct fault *f);
/* Batches whose last report was received at from_ms or later, up to batch `upto`; on a connection of its own, so from any thread. */
AVIARY_MUST_CHECK enum err telemetry_log_since(const char *path, int64_t from_ms, int64_t upto,
	void (*fn)(void *ctx, const struct stored_batch *batch), void *ctx, struct fault *f);
/* The same, until a monotonic time: ERR_TIMEOUT when there was more. What one batch takes is up to `fn`. */
AVIARY_MUST_CHECK enum err telemetry_log_until(const char *path, int64_t from_ms, int64_t upto, int64_t deadline_mono_ms,
	void (*fn)(void *ctx, const struct stored_batch *batch), void *ctx, struct fault *f);

#endif
