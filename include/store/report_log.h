/* Reports packed in the order in which they came: the bytes of one batch of the log in telemetry.db.
 *
 * Writing takes a parsed report (core/telemetry.h) and the numbers of its names; reading walks the records, and the metrics of one record,
 * without allocation. Readers skip a record by its length, so that a search for one device costs little for the others.
 * Format, all integers as core/varint.h has them unless said otherwise:
 *   record: u16 length of the rest (little-endian), device, received - base, flags (1: has ts), zigzag(ts - received), version,
 *           seq, length of boot, boot, number of metrics, metrics
 *   metric: name, type (1 byte, see below), then number: value; sum: n, value; ratio: n, k; sketch: bins, (key + 1024, count)...;
 *           hist: classes, counts...
 *   type:   enum value_type in the low three bits; above them how a value is written: 0: IEEE 754, eight bytes, little-endian;
 *           p + 1: zigzag(mantissa) of a decimal of p places (core/decimal.h)
 */
#ifndef AVIARY_STORE_REPORT_LOG_H
#define AVIARY_STORE_REPORT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/telemetry.h"

#define REPORT_LOG_RECEIVED_MAX 60000 /* ms between a batch's base and its last report; the queries' search by time counts on it */

struct log_report {
	int64_t device;      /* row id */
	int64_t received_ms; /* by the server's clock */
	bool has_ts;
	int64_t ts_ms;       /* by the device's; nonsense beyond +-2^60 is cut to it */
	int64_t version;     /* symbol of model and version, 0 = none */
	int64_t seq;
	struct slice boot;   /* of the batch's bytes */
	int64_t metric_count;
	const uint8_t *metrics, *end; /* private: where they are */
};

struct log_metric {
	int64_t name; /* symbol */
	enum value_type type;
	int64_t n, k;
	double value; /* number, sum; k for a ratio */
	unsigned bin_count;
	int32_t keys[TELEMETRY_SKETCH_BINS];       /* sketch */
	uint64_t counts[TELEMETRY_SKETCH_BINS];    /* sketch and hist */
};

/* Appends one record. `names` has the symbol of each metric of `r`; a metric with symbol 0 is left out. received_ms must not be before base_ms;
 * in a batch, it is at most REPORT_LOG_RECEIVED_MAX behind. Returns the number of metrics written. */
unsigned report_log_put(struct buf *out, int64_t base_ms, int64_t device, int64_t received_ms, int64_t version, const int64_t *names,
	const struct telemetry_report *r);

struct report_log_reader {
	const uint8_t *at, *end;
	int64_t base_ms;
	bool is_broken; /* the bytes are not what report_log_put writes */
};
void report_log_open(struct report_log_reader *l, const void *data, size_t len, int64_t base_ms);
/* The next record; `device` > 0 skips those of others. false at the end. */
bool report_log_next(struct report_log_reader *l, int64_t device, struct log_report *out);
/* The next metric of the record; false at its end or when it is broken. */
bool report_log_metric(struct log_report *r, struct log_metric *out);

/* What aggregates need of a metric. A ratio's sum is k, a sketch's the one of its bins' middles; a histogram has a count only. */
struct log_summary {
	int64_t n;
	double sum, min, max; /* of numbers, or of the report's mean or share; bins' middles of a sketch */
	bool has_values;      /* sum, min and max say something */
	bool has_sketch;      /* keys and counts of the metric make a sketch of n values: quantiles can be told */
};
/* A number that is not negative becomes a sketch of one value in m->keys and m->counts. */
void report_log_summarise(struct log_metric *m, struct log_summary *out);

#endif
