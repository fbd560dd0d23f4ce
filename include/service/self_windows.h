/* control: self. A device against its own past: r earlier windows of the same length as the bake, in place of control devices.
 *
 * Measured once, when a stage begins, from the durable log of reports on another thread (self_job), then frozen in the database, so that a look
 * is the same after a restart and after the raw reports are gone (self_past). An earlier window [T - jL, T - (j-1)L), T the begin of the stage,
 * counts when the device was there at its start as it has to be at T, reported nothing but the versions that it runs at T, and brought at
 * least SELF_REPORTS_MIN reports with all gates' metrics, or fell silent in it: leaving out windows in which it fell silent would
 * make every silent canary look like harm.
 *
 * The window of now grows, and a short window strays further from its mean than a long one. So earlier windows are frozen at SELF_MARKS
 * marks of their length, and a look takes them up to a mark near to how long the device's own window is: not above it for metrics
 * (the earlier ones stray as much or more), not below it for events and silence (they have as many chances or more). Both err to the
 * version's benefit: what the judge spends it may spend.
 */
#ifndef AVIARY_SERVICE_SELF_WINDOWS_H
#define AVIARY_SERVICE_SELF_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/judge.h"
#include "core/silence.h"
#include "service/call.h"
#include "store/self_store.h"

#define SELF_MARKS 10
#define SELF_REPORTS_MIN 3     /* with fewer a window says nothing; as for baselines */
#define SELF_DEVICES_MAX 512   /* judged devices of a stage */
#define SELF_WINDOWS_MAX 8192  /* earlier windows of all of them together; r gives way */

/* ---- the windows' arithmetic: pure ---- */
int64_t self_mark_ms(int mark, int64_t length_ms);     /* where it lies, 0 <= mark < SELF_MARKS; the last one is the end */
int self_mark_below(int64_t length_ms, int64_t age_ms); /* the last mark that is not after age; -1: none yet */
int self_mark_above(int64_t length_ms, int64_t age_ms); /* the first one that is not before age, or the last one */
/* Events of a window older than L, as L would have had them, rounded down. */
double self_scale_events(double events, int64_t length_ms, int64_t age_ms);

/* ---- measuring ---- */
struct self_question {
	const struct judge_gate *gates; /* borrowed until self_job_new returns */
	uint32_t gate_count;
	int64_t at_ms, length_ms; /* T and L */
	uint32_t windows;         /* r at most; fewer when many devices ask */
	const int64_t *devices;   /* row ids, each once; at most SELF_DEVICES_MAX */
	size_t device_count;
};
struct self_job;
/* Loop thread: copies all that the work needs of live state. */
struct self_job *self_job_new(struct call *c, const struct self_question *q);
void self_job_work(void *job); /* any thread */
/* After the work: whether the log could be read. */
AVIARY_MUST_CHECK enum err self_job_error(const struct self_job *j, struct fault *f);
uint32_t self_job_windows(const struct self_job *j, size_t device); /* how many of them count, by place in the question */
/* r as the judge plans with it: the geometric mean over devices that have any, rounded down; 0 when none has. *with: how many have. */
uint32_t self_job_typical(const struct self_job *j, size_t *with);
/* Freezes one device's windows. */
AVIARY_MUST_CHECK enum err self_job_write(const struct self_job *j, struct self_store *s, int64_t rollout, int64_t stage, size_t device,
	struct fault *f);
void self_job_free(struct self_job *j); /* NULL is allowed */

/* ---- judging ---- */
struct self_past;
struct self_past *self_past_new(const struct judge_gate *gates, uint32_t gate_count); /* gates are borrowed */
void self_past_free(struct self_past *p); /* NULL is allowed */
/* Adds the next device, with its windows of the stage; devices have numbers from 0 on. One with device 0 has none. */
AVIARY_MUST_CHECK enum err self_past_read(struct self_past *p, struct self_store *s, int64_t rollout, int64_t stage, int64_t device, struct fault *f);
size_t self_past_devices(const struct self_past *p);
size_t self_past_rows(const struct self_past *p);                  /* windows of all devices */
size_t self_past_count(const struct self_past *p, size_t number);  /* of one: rows that self_past_fill adds */
/* The device's row and its cells are filled in as for any canary; adds a row and cells for each earlier window behind them, with the same
 * baselines, and makes windows comparable: rows[0] is the canary, rows[1...] the controls. `data_ms`: how long the device's window is by its
 * last report, `age_ms`: by the clock. The room is for 1 + self_past_count rows. Returns the rows, the canary's included. */
size_t self_past_fill(const struct self_past *p, size_t number, int64_t data_ms, int64_t age_ms, struct judge_row *rows, struct judge_cell *cells);

#endif
