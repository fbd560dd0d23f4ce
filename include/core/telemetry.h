/* One telemetry message (docs/protocol.md, "/telemetry"): bytes in, checked reports out. No tree, no allocation, no
 * clock.
 *
 * A message is one report or an array of at most 64. A report is taken whole or refused whole; a refused one never
 * harms those beside it. Where the JSON itself breaks, the reports before that place are kept and the rest is lost:
 * `error` says so. Not here: duplicates (core/dedupe.h), who the device is, what to do with the values.
 */
#ifndef AVIARY_CORE_TELEMETRY_H
#define AVIARY_CORE_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/names.h"

#define TELEMETRY_MESSAGE_BYTES 65536 /* as in the topic table */
#define TELEMETRY_REPORT_BYTES 8192
#define TELEMETRY_REPORTS 64
#define TELEMETRY_METRICS 32         /* in one report, its shadow's counted too */
#define TELEMETRY_SHADOW "shadow."   /* in front of the names of what a release in shadow measured; reserved */
#define TELEMETRY_SKETCH_BINS 334    /* covers 0.1 ms to 60 s at accuracy 0.02 */
#define TELEMETRY_SKETCH_KEY 1024    /* keys are -1024..1024 */
#define TELEMETRY_HIST_BINS 256
#define TELEMETRY_COUNT_MAX 2147483647 /* n, k and every count */
#define TELEMETRY_VALUE_MAX 1e12       /* numbers and sums, either sign */
#define TELEMETRY_SEQ_MAX 9007199254740992 /* 2^53: exact in every JSON reader */

/* Why a report or a message was refused. X(NAME, metric label, text). The label names the reason at /metrics. */
#define TELEMETRY_ERROR_TABLE(X)                                                                                       \
	X(OK, "ok", "taken")                                                                                           \
	/* of a whole message */                                                                                       \
	X(MESSAGE_TOO_LARGE, "message_too_large", "the message is larger than 65536 bytes")                            \
	X(SYNTAX, "syntax", "not valid JSON in UTF-8")                                                                 \
	X(NOT_A_REPORT, "not_a_report", "neither an object nor an array")                                              \
	X(TOO_MANY_REPORTS, "too_many_reports", "more than 64 reports in one message")                                 \
	/* of one report */                                                                                            \
	X(REPORT_NOT_OBJECT, "report_not_object", "an element of the array is not an object")                          \
	X(REPORT_TOO_LARGE, "report_too_large", "the report is larger than 8192 bytes")                                \
	X(UNKNOWN_MEMBER, "unknown_member", "unknown member")                                                          \
	X(DUPLICATE_MEMBER, "duplicate_member", "the member occurs twice")                                             \
	X(MISSING_MEMBER, "missing_member", "boot, seq and metrics are required")                                      \
	X(BAD_SHADOW, "bad_shadow", "shadow is not an object of id and metrics")                                       \
	X(BAD_SHADOW_ID, "bad_shadow_id", "the id of shadow is not that of a deployment")                              \
	X(RESERVED_METRIC, "reserved_metric", "a metric's name begins with shadow.")                                   \
	X(BAD_TS, "bad_ts", "ts is not an integer")                                                                    \
	X(BAD_BOOT, "bad_boot", "boot is not a boot id")                                                               \
	X(BAD_SEQ, "bad_seq", "seq is not an integer from 1 to 2^53")                                                  \
	X(BAD_MODEL, "bad_model", "model is not a name")                                                               \
	X(BAD_VERSION, "bad_version", "version is not a version text")                                                 \
	X(MODEL_WITHOUT_VERSION, "model_without_version", "model and version go together")                             \
	X(METRICS_NOT_OBJECT, "metrics_not_object", "metrics is not an object")                                        \
	X(TOO_MANY_METRICS, "too_many_metrics", "more than 32 metrics in one report")                                  \
	X(BAD_METRIC_NAME, "bad_metric_name", "not a metric name")                                                     \
	X(DUPLICATE_METRIC, "duplicate_metric", "the metric occurs twice in one report")                               \
	X(BAD_METRIC_FORM, "bad_metric_form", "neither a number nor {n,sum}, {n,k}, {sketch} or {hist}")               \
	X(BAD_NUMBER, "bad_number", "not a finite number within 1e12")                                                 \
	X(BAD_COUNT, "bad_count", "n is not an integer from 1 to 2147483647")                                          \
	X(BAD_K, "bad_k", "k is not an integer from 0 to 2147483647")                                                  \
	X(K_ABOVE_N, "k_above_n", "k is larger than n")                                                                \
	X(BAD_SUM, "bad_sum", "sum is not a finite number within 1e12")                                                \
	X(BAD_SKETCH, "bad_sketch", "sketch is not an object of 1 to 334 bins")                                        \
	X(BAD_SKETCH_KEY, "bad_sketch_key", "a sketch key is not an integer from -1024 to 1024")                       \
	X(DUPLICATE_SKETCH_KEY, "duplicate_sketch_key", "a sketch key occurs twice")                                   \
	X(BAD_SKETCH_COUNT, "bad_sketch_count", "a sketch count is not an integer from 1 to 2147483647")               \
	X(BAD_HIST, "bad_hist", "hist is not an array of 1 to 256 counts")                                             \
	X(BAD_HIST_COUNT, "bad_hist_count", "a hist count is not an integer from 0 to 2147483647")

enum telemetry_error {
#define X(name, label, text) TELEMETRY_##name,
	TELEMETRY_ERROR_TABLE(X)
#undef X
	    TELEMETRY_ERROR_COUNT
};
const char *telemetry_error_label(enum telemetry_error e);
const char *telemetry_error_text(enum telemetry_error e);

enum value_type {
	VALUE_NUMBER, /* value; n is 1 */
	VALUE_SUM,    /* value is the sum of n */
	VALUE_RATIO,  /* k of n */
	VALUE_SKETCH, /* keys and counts of a DDSketch; n is the sum of the counts */
	VALUE_HIST,   /* counts by class; n is their sum, which may be 0 */
	VALUE_TYPE_COUNT
};
const char *value_type_text(enum value_type type); /* "number" "sum" "ratio" "sketch" "hist" */

struct metric_value {
	struct slice name; /* 1..48 bytes, needs no unescaping; of the message, or with TELEMETRY_SHADOW in front of the workspace */
	enum value_type type;
	unsigned bin_count; /* VALUE_SKETCH: 1..334; VALUE_HIST: 1..256; else 0 */
	int64_t n;          /* how many values stand behind this one */
	int64_t k;          /* VALUE_RATIO: 0..n */
	double value;       /* VALUE_NUMBER, VALUE_SUM; VALUE_RATIO: k */
	const int32_t *keys;    /* VALUE_SKETCH: -1024..1024, distinct, in any order: ceil(ln v / ln(1.02/0.98)) */
	const uint64_t *counts; /* VALUE_SKETCH: 1..2^31-1 each; VALUE_HIST: 0..2^31-1 each */
};

struct telemetry_report {
	bool has_ts;
	int64_t ts_ms; /* the device's own clock: may be any nonsense */
	int64_t seq;   /* 1..2^53 */
	struct slice boot;
	struct slice model, version; /* both or neither */
	struct slice shadow;         /* deployment id of the release in shadow; empty: the report has no such part */
	unsigned metric_count;       /* 0..32, the shadow's among them; none at all is a sign of life */
	const struct metric_value *metrics;
	struct slice text; /* the report's own JSON */
};

struct telemetry_reject {
	enum telemetry_error reason;
	unsigned index;      /* of the report in the message */
	size_t at;           /* byte offset in the message */
	struct slice member; /* the name at fault as the device wrote it (untrusted, still escaped), or empty */
};

/* The caller's workspace: about 900 KiB, of which a message touches what it needs. Needs no initialisation, is
 * overwritten by each parse. The pools are as large as 64 KiB of JSON can ask for: "1":1, is the shortest bin and 1,
 * the shortest count. */
struct telemetry_message { /* `struct telemetry` is the service */
	enum telemetry_error error; /* of the message as a whole; reports before the fault are kept */
	size_t error_at;            /* byte offset */
	unsigned seen;              /* reports met: taken and refused */
	unsigned report_count, reject_count;
	struct telemetry_report reports[TELEMETRY_REPORTS];
	struct telemetry_reject rejects[TELEMETRY_REPORTS];
	/* private */
	unsigned metric_used, key_used, count_used, name_used;
	struct metric_value metrics[TELEMETRY_REPORTS * TELEMETRY_METRICS];
	int32_t keys[TELEMETRY_MESSAGE_BYTES / 6 + 1];
	uint64_t counts[TELEMETRY_MESSAGE_BYTES / 2 + 1];
	char names[TELEMETRY_REPORTS * TELEMETRY_METRICS * (NAME_METRIC_BYTES - 1)]; /* of shadows' metrics */
};

/* Parses a message; all slices and arrays live as long as both `text` and `t`. Returns t->error == TELEMETRY_OK &&
 * t->reject_count == 0. */
bool telemetry_parse(struct telemetry_message *t, const char *text, size_t len);

/* Copies the metrics of *r that are not its shadow's into `room`, and makes it a report without a shadow of them. */
void telemetry_drop_shadow(struct telemetry_report *r, struct metric_value room[TELEMETRY_METRICS]);

#endif
