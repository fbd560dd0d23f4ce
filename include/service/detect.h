/* Detection in the daemon: what the fleet's reports say about each device and each cohort, as anomalies and as alerts with a cause.
 *
 * Each device has a state of fixed size (struct detect_state in detect_inside.h): novelty of its first eight metrics (core/novelty.h), what
 * pages (core/watch.h), classes for drift, memory. Each cohort (hardware and version of the model) has a budget and a drift. All of it
 * is a function of the durable log of reports, told in order by service/telemetry.h: after a kill and a restart it is the same, bit for bit.
 * No allocation and no SQL for a report. Alerts are raised by detect_tick, from findings that wait in memory; what a lost one was about
 * is found again with the device's next report. Not here: how alerts live (service/alerts.h), devices that are silent (likewise).
 */
#ifndef AVIARY_SERVICE_DETECT_H
#define AVIARY_SERVICE_DETECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "service/call.h"

struct detect;
struct json;
struct timebox;

struct detect_options {
	const char *state;     /* "compact" (56 bytes a series), "full" (192) or "off" */
	int64_t budget;        /* false alerts in a million device-days that a cohort's thresholds aim at */
	int64_t checkpoint_ms; /* how often changed states are written */
	int64_t states_a_batch; /* devices that go with one batch */
	int64_t cohorts_max;   /* more share the one of their hardware; at most DETECT_COHORTS */
};
#define DETECT_COHORTS 1000
void detect_options_init(struct detect_options *o);
bool detect_is_state(const char *text); /* one of the three */

/* After telemetry, registry and alerts, before ingest. Reads the states and the log's end. NULL in *out with ERR_OK: off. */
AVIARY_MUST_CHECK enum err detect_open(struct services *s, const struct detect_options *o, struct detect **out, struct fault *f);
void detect_close(struct detect *d); /* NULL is allowed */
/* Tells alerts what was found, in pieces, in its own units of work. *more: call again soon. */
AVIARY_MUST_CHECK enum err detect_tick(struct call *c, bool *more);
/* What a device says it can (docs/protocol.md: utc_offset_minutes, memory_bytes, hot_c), as a JSON object. Not of the log: it counts from here on,
 * and is kept with the device's state. */
void detect_on_capabilities(struct detect *d, int64_t device, const struct json *capabilities); /* d NULL: nothing */
/* Sums for /metrics, in Prometheus' text. */
void detect_metrics(const struct detect *d, struct buf *out);

/* ---- what is unusual ---- */
struct detect_question {
	int64_t device;        /* row; 0: any */
	const char *metric;    /* NULL: any */
	const char *cohort;    /* "hardware/model-version"; NULL: any */
	int64_t since_ms;      /* only series whose last value is not older; 0: any */
	double least;          /* score */
	size_t limit;          /* at most DETECT_RANKED */
};
#define DETECT_RANKED 1000
struct detect_ranking;
struct detect_ranking *detect_rank_begin(struct detect *d, const struct detect_question *q); /* texts must live as long */
bool detect_rank_step(struct detect_ranking *r, const struct timebox *box); /* true: all were looked at */
void detect_rank_write(struct detect_ranking *r, const struct services *s, struct buf *out); /* items of an array, highest score first */
void detect_rank_free(struct detect_ranking *r); /* NULL is allowed */

void detect_cohorts_write(const struct detect *d, struct buf *out); /* items: thresholds and where they come from, drift */
/* What is known of a device, as members of an open object; false: nothing. */
bool detect_device_write(const struct detect *d, int64_t device, struct buf *out);

#endif
