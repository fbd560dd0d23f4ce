/* telemetry.db: the log of reports, roll-ups, retention, and queries. The log is the truth; everything else is derived from it.
 *
 * Reports gather in one open batch on the loop. telemetry_seal closes it; the writer thread commits it (telemetry_write, one in flight);
 * back on the loop telemetry_settle makes its reports visible to observe.h and alerts. So what anybody can see is durable, and a
 * kill at any point leaves the same numbers as no kill. A batch that could not be written is written again, never dropped: its
 * messages stay unacknowledged meanwhile, and the caller stops reading.
 */
#ifndef AVIARY_SERVICE_TELEMETRY_H
#define AVIARY_SERVICE_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "service/call.h"

struct ingest_limits; /* service/ingest.h */
struct telemetry;
struct telemetry_batch;
struct telemetry_query;
struct telemetry_report; /* core/telemetry.h */
struct stored_detect;    /* store/telemetry_store.h */
struct symbols;          /* service/symbols.h */

struct telemetry_options {
	const char *path;            /* of telemetry.db */
	int64_t baseline_ms;         /* how far back a device's baseline reaches, about; default 24 h */
	int64_t raw_keep_ms;         /* age at which the log, in order of arrival, is dropped; 0 = never */
	int64_t device_keep_ms;      /* of single devices' chunks */
	int64_t minute_keep_ms;      /* of the fleet's minute roll-ups */
	int64_t hour_keep_ms;        /* of hour roll-ups */
	int64_t max_bytes;           /* size of the database above which the oldest raw reports go; 0 = no bound */
	int64_t checkpoint_ms;       /* how often changed device states are written; bounds the replay at start */
};
void telemetry_options_init(struct telemetry_options *o);

/* Opens (and migrates) the database, reads names and device states back, replays the log's end. `now_ms` is the wall clock. */
AVIARY_MUST_CHECK struct telemetry *telemetry_open(const struct telemetry_options *o, int64_t now_ms, struct fault *f);
void telemetry_close(struct telemetry *t); /* no batch may be in flight; NULL is allowed */

/* ---- writing: loop thread, except telemetry_write and telemetry_maintain ---- */
enum telemetry_admission {
	TELEMETRY_ADMITTED,
	TELEMETRY_REPEATED,  /* (device, boot, seq) was admitted before, or is so old that nobody can tell */
	TELEMETRY_NAMELESS   /* admitted, but without those metrics, or that version, whose names found no room */
};
/* Puts a report into the open batch. *points (may be NULL): how many metrics it brought. */
enum telemetry_admission telemetry_admit(struct telemetry *t, int64_t device, const struct telemetry_report *r, int64_t now_ms,
	const struct ingest_limits *l, unsigned *points);
size_t telemetry_pending(const struct telemetry *t); /* reports in the open batch */
bool telemetry_is_due(const struct telemetry *t, const struct ingest_limits *l, int64_t now_ms); /* a batch should be written now */
/* Closes the open batch, together with some device states whose turn it is. NULL when there is nothing to write. One at a time. */
struct telemetry_batch *telemetry_seal(struct telemetry *t, int64_t now_ms);
/* On the writer thread. ERR_FULL and ERR_UNAVAILABLE: call again later with the same batch. */
AVIARY_MUST_CHECK enum err telemetry_write(struct telemetry_batch *b, struct fault *f);
/* The batch is durable: applies it, calls the hooks, frees it. */
void telemetry_settle(struct call *c, struct telemetry_batch *b);
/* At shutdown only: frees a batch that could not be written. Its messages were never acknowledged. */
void telemetry_abandon(struct telemetry *t, struct telemetry_batch *b);
/* On the writer thread, while no batch is being written: one bounded step of hour roll-ups and retention. *more: call again soon. */
AVIARY_MUST_CHECK enum err telemetry_maintain(struct telemetry *t, int64_t now_ms, bool *more, struct fault *f);

struct telemetry_counters {
	int64_t batches, reports, bytes; /* written */
	int64_t failures;                /* of telemetry_write */
	int64_t commit_ns;               /* total time of commits */
	int64_t log_bytes;               /* size of the database */
};
struct telemetry_counters telemetry_counters(const struct telemetry *t);

/* ---- what else is a function of the log: service/detect.h ---- */
struct log_report;      /* store/report_log.h */
struct stored_batch;    /* store/telemetry_store.h */
struct stored_page;
struct telemetry_companion {
	void *ctx;
	void (*prefetch)(void *ctx, int64_t device);                  /* a report of this device comes soon */
	void (*begin)(void *ctx, int64_t batch, int64_t first_ms);    /* a durable batch, before its reports */
	void (*report)(void *ctx, const struct log_report *r);        /* one that is no duplicate, in order; does not walk *r itself */
	/* Rows that go with a batch: fills b->detects, detect_count and detect_batch; arrays and bytes live until the next call. `settled`: every
	 * report up to this batch has been told. */
	void (*seal)(void *ctx, int64_t settled, int64_t now_ms, struct stored_batch *b);
	void (*forget)(void *ctx, int64_t device);
};
void telemetry_accompany(struct telemetry *t, const struct telemetry_companion *c); /* one; NULL: none; after the open, before anything comes */
/* For the companion's start: its rows, then the log from where they end (begin and report are called). */
AVIARY_MUST_CHECK enum err telemetry_companion_load(struct telemetry *t, void (*row)(void *ctx, const struct stored_detect *row),
	void (*page)(void *ctx, const struct stored_page *page), void (*rows_end)(void *ctx), struct fault *f);
const struct symbols *telemetry_symbols(const struct telemetry *t);

/* ---- and service/profiles.h and service/offloading.h, which keep their rows in fleet.db ---- */
/* Called on the loop for each durable report that is no duplicate, in order, with the number of its batch; does not walk *r itself. One for each
 * `ctx`, at most four; NULL: none any more. */
void telemetry_listen(struct telemetry *t, void (*fn)(void *ctx, int64_t batch, const struct log_report *r), void *ctx);
/* Tells the listener with this `ctx` what the log has behind batch `after`. Before anything comes. */
AVIARY_MUST_CHECK enum err telemetry_tell_again(struct telemetry *t, void *ctx, int64_t after, struct fault *f);
int64_t telemetry_settled(const struct telemetry *t); /* number of the last batch whose reports were told */

/* ---- queries ---- */
enum telemetry_aggregate { AGG_COUNT, AGG_SUM, AGG_MEAN, AGG_MIN, AGG_MAX, AGG_P50, AGG_P95, AGG_P99, AGG_REPORTS, AGG_ENUM };
const char *telemetry_aggregate_name(enum telemetry_aggregate a);

struct telemetry_question {
	const char *metric;          /* "anomaly.<metric>": its scores above one half, without versions (service/detect.h) */
	const int64_t *devices;      /* row ids; NULL: every device */
	size_t device_count;
	const char *model, *version; /* NULL: any; version needs model */
	int64_t from_ms, to_ms;      /* [from, to) by time of receipt */
	int64_t step_ms;             /* 0: one row for the whole range */
	bool by_version;             /* a row for each version too */
	bool raw;                    /* single points, newest first, at most `limit`, instead of aggregates */
	int64_t limit;
	unsigned aggregates;         /* bits 1u << enum telemetry_aggregate */
	int64_t deadline_ms;         /* how long it may run */
};
#define TELEMETRY_ROWS_MAX 10000 /* rows of an answer */

/* Checks and copies the question; the query then has no pointer into live state. ERR_INVALID with the query parameter in the fault. */
AVIARY_MUST_CHECK enum err telemetry_query_new(struct telemetry *t, const struct telemetry_question *q, struct telemetry_query **out,
	struct fault *f);
/* Any one thread, on a read-only connection of its own. ERR_TIMEOUT at the deadline. */
AVIARY_MUST_CHECK enum err telemetry_query_run(struct telemetry_query *q, struct fault *f);
/* The rows as one JSON array: [{"at":..,"version":..,"count":..},...]; raw: [{"at":..,"ts":..,"boot":..,"seq":..,"value":...},...]. The array
 * is valid after a successful run, until telemetry_query_free. */
const char *telemetry_query_json(const struct telemetry_query *q);
void telemetry_query_free(struct telemetry_query *q);
/* Known metric names as a JSON array of {"name","kind","last_at"}. */
void telemetry_metrics_json(const struct telemetry *t, struct buf *out);

/* A device was deleted: its state in memory and its row go; its history stays until retention. */
void telemetry_forget_device(struct telemetry *t, int64_t device);
/* After the start: forgets devices that do not exist any more. */
void telemetry_forget_unknown(struct telemetry *t, bool (*is_known)(void *ctx, int64_t device), void *ctx);

#endif
