/* What arrives from devices: parsed, admitted or refused, and handed on. Loop thread only; nothing here waits or sends.
 *
 * Telemetry: device look-up, flood limit, duplicates, symbols, then the open batch of service/telemetry.h. A message with a bad report
 * keeps its good ones. Nothing here returns an error to the caller: what is refused is counted by reason and sampled, because the
 * broker must get its acknowledgement for a bad message too, or it would send it for ever.
 */
#ifndef AVIARY_SERVICE_INGEST_H
#define AVIARY_SERVICE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/telemetry.h"
#include "service/call.h"

struct timebox;

/* Every quantity that a device controls. The defaults are those of ingest_limits_init. */
struct ingest_limits {
	int64_t reports_per_second; /* of one device, on average; 0 = unlimited */
	int64_t reports_burst;      /* how many may come at once */
	int64_t commands_per_second; /* /report messages of one device; /status is always taken */
	int64_t commands_burst;
	int64_t metrics_max;        /* metric names known to the server: a device may not fill the table of names */
	int64_t versions_max;       /* model and version pairs seen in telemetry */
	int64_t new_names;          /* metrics and versions new to the server that one device may bring in a day; 0 = unlimited */
	int64_t batch_reports;      /* a batch is written when it has as many */
	int64_t batch_window_ms;    /* or when its first report has waited as long */
	int64_t samples_per_minute; /* refused messages that are kept for the log, over all devices */
};
void ingest_limits_init(struct ingest_limits *l);

/* X(name, reason as in the metric's label) */
#define INGEST_REFUSALS(X)                                                                                             \
	X(TOO_LARGE, "too_large")       /* message or report above its limit */                                        \
	X(MALFORMED, "malformed")       /* not the JSON that docs/protocol.md describes */                             \
	X(UNKNOWN_DEVICE, "unknown_device")                                                                            \
	X(FLOOD, "flood")               /* above the device's rate */                                                  \
	X(DUPLICATE, "duplicate")       /* (device, boot, seq) was there already: normal after a reconnection */       \
	X(OUTDATED, "outdated")         /* seq far below what came before in this boot: repeated, or a counter that runs backwards */ \
	X(NAMES, "names")               /* the table of metric names or versions is full */                            \
	X(NEW_NAMES, "new_names")       /* more new metrics and versions than one device may bring in a day */         \
	X(SHADOW, "shadow")             /* metrics of a release in shadow that is not the device's deployment now */   \
	X(ENROLMENT, "enrolment")       /* token or secret refused */                                                  \
	X(ANSWER, "answer")             /* of a command that is not open: too late, given before, or not this device's */ \
	X(INTERNAL, "internal")         /* our own failure, of the database above all */

enum ingest_refusal {
#define X(name, text) INGEST_##name,
	INGEST_REFUSALS(X)
#undef X
	INGEST_REFUSAL_COUNT
};
const char *ingest_refusal_name(enum ingest_refusal r);

struct ingest_counters {
	int64_t messages, reports, points; /* admitted */
	int64_t commands;                  /* /report and /status that were taken */
	int64_t refused[INGEST_REFUSAL_COUNT];
	int64_t malformed[TELEMETRY_ERROR_COUNT]; /* telemetry alone: what was wrong with it */
	int64_t clock_wrong;               /* reports whose own time is more than a day off */
};

/* A refused message, for the log. */
struct ingest_sample {
	enum ingest_refusal reason;
	char device[65];
	char detail[160];
};

struct ingest;
AVIARY_MUST_CHECK struct ingest *ingest_open(struct services *s, struct fault *f); /* after telemetry and registry; NULL on failure */
void ingest_close(struct ingest *i);

/* One message each, as it came. `device_id` is the topic's level, valid by core/topic.h. */
void ingest_telemetry(struct call *c, const char *device_id, const char *payload, size_t len);
/* A command changes fleet.db inside the tick's transaction (its own savepoint); the answer leaves by the outbox. ERR_OK also for refused
 * messages; an error only when the database failed, so that the message must not be acknowledged. */
AVIARY_MUST_CHECK enum err ingest_report(struct call *c, const char *device_id, const char *payload, size_t len);
AVIARY_MUST_CHECK enum err ingest_status(struct call *c, const char *device_id, const char *payload, size_t len);
/* How a command went (service/commands.h); one that is not open for this device, because it is over or was never its own, is refused. */
AVIARY_MUST_CHECK enum err ingest_answer(struct call *c, const char *device_id, const char *payload, size_t len);

const struct ingest_counters *ingest_counters(const struct ingest *i);
/* Tells of devices whose messages are refused again and again (service/refusals.h). About once a second; *more: call again soon. */
AVIARY_MUST_CHECK enum err ingest_tell_refused(struct call *c, const struct timebox *box, bool *more);
/* The next sample for the log; false when there is none. */
bool ingest_next_sample(struct ingest *i, struct ingest_sample *out);

#endif
