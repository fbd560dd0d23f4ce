/* Rollouts: a release goes out in stages, is judged on its canary, and is taken back when it is worse.
 *
 * Everything lives in the database; what is in memory here is a cache of immutable plans. rollouts_tick is the only place where time
 * passes: it loads each active rollout, asks core/rollout what is to be done, and writes that. So a kill at any point loses nothing:
 * the next tick decides again from the rows.
 */
#ifndef AVIARY_SERVICE_ROLLOUTS_H
#define AVIARY_SERVICE_ROLLOUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/rollout.h"
#include "service/call.h"

struct rollouts;
struct rollout_request; /* service/rollout_spec.h */
struct timebox;         /* service/timebox.h */

AVIARY_MUST_CHECK struct rollouts *rollouts_open(struct services *s, struct fault *f); /* NULL on failure */
void rollouts_close(struct rollouts *r);
/* COMMIT failed: forget everything that is not on disk. */
void rollouts_reload(struct rollouts *r);

/* ---- operators ---- */
/* A rollout is planned over every device of its target, in pieces: new checks the request, which must outlive it; steps until is_done find out
 * who and what (outside of any unit, or in one); finish, in a unit, looks whether the release and the group are still the same, then stores
 * and writes the rollout as JSON, or the plan when it is a dry run. `start` of the request starts it at once. After an error: free. */
struct rollout_planning;
AVIARY_MUST_CHECK enum err rollouts_plan_new(struct call *c, const struct rollout_request *q, bool dry_run, struct rollout_planning **out);
AVIARY_MUST_CHECK enum err rollouts_plan_step(struct call *c, struct rollout_planning *p, const struct timebox *box, bool *is_done);
AVIARY_MUST_CHECK enum err rollouts_plan_finish(struct call *c, struct rollout_planning *p, struct buf *out, int64_t *id); /* id 0: dry run */
void rollouts_plan_free(struct rollout_planning *p); /* NULL is allowed */
/* All of it at once. */
AVIARY_MUST_CHECK enum err rollouts_create(struct call *c, const struct rollout_request *q, bool dry_run, struct buf *out, int64_t *id);
/* ERR_CONFLICT with the status in the detail when the action is not allowed now; the same action again is no error where the goal is
 * already reached. Writes the rollout as JSON. */
AVIARY_MUST_CHECK enum err rollouts_act(struct call *c, int64_t id, enum rollout_command command, struct buf *out);
/* Only one that has ended, or never started. Nobody sees it from then on; its rows are deleted in pieces. */
AVIARY_MUST_CHECK enum err rollouts_delete(struct call *c, int64_t id);

/* ---- reads, as JSON ---- */
AVIARY_MUST_CHECK enum err rollouts_show(struct call *c, int64_t id, struct buf *out, int64_t *revision);
/* Pages: items newest first, `after` = 0 for the first page; *next = 0 at the end. */
AVIARY_MUST_CHECK enum err rollouts_list(struct call *c, const char *status, int64_t after, int64_t limit, struct buf *out, int64_t *next);
AVIARY_MUST_CHECK enum err rollouts_stages(struct call *c, int64_t id, struct buf *out);
AVIARY_MUST_CHECK enum err rollouts_deployments(struct call *c, int64_t id, const char *state, int64_t stage, int64_t after, int64_t limit,
	struct buf *out, int64_t *next);
AVIARY_MUST_CHECK enum err rollouts_verdicts(struct call *c, int64_t id, struct buf *out);
/* Members by block and device; `cursor` is NULL or the *next of the page before, which is NULL at the end. */
AVIARY_MUST_CHECK enum err rollouts_blocks(struct call *c, int64_t id, int64_t stage, const char *cursor, int64_t limit, struct buf *out,
	const char **next);

/* ---- devices ---- */
/* What a device should run now, for its desired document. */
struct desired_target {
	int64_t release;     /* row id; 0: nothing is known */
	int64_t counter;     /* of the manifest to hand out */
	int64_t deployment;  /* row id, when has_deployment */
	int attempt;
	const char *action;  /* "install" or "revert" */
	int64_t timeout_ms;
	bool has_deployment; /* something is to be done */
	const char *parts;   /* artifacts of the release, for selection_artifact; NULL: as it runs them, or by hardware */
	struct {             /* what it should run beside that, without acting on it */
		int64_t release;    /* row id; 0: nothing */
		int64_t counter, deployment, timeout_ms;
		int attempt;
		const char *parts;
	} shadow;
};
AVIARY_MUST_CHECK enum err rollouts_desired(struct call *c, int64_t device, struct desired_target *out);
/* A device's word about its deployment (protocol.md, /report); unknown, old or doubled ones change nothing. `state` as in the message. */
AVIARY_MUST_CHECK enum err rollouts_on_progress(struct call *c, int64_t device, int64_t deployment, int64_t attempt, const char *state,
	int64_t progress, const char *reason);
/* What the device can do, or what is known of the release, may have changed: what it cannot run any more is not offered to it any longer. */
AVIARY_MUST_CHECK enum err rollouts_recheck_device(struct call *c, int64_t device);
/* A device is about to be deleted: its part in rollouts is cancelled; says in plain words what was done ("" = nothing). */
AVIARY_MUST_CHECK enum err rollouts_forget_device(struct call *c, int64_t device, struct buf *what);
/* Whether the device takes part in a rollout that has not ended; its id, or 0. */
AVIARY_MUST_CHECK enum err rollouts_of_device(struct call *c, int64_t device, int64_t *rollout);

/* Time passes: every 100 ms, or at once when *more says so. Works for one timebox at most, in turn for all rollouts. */
AVIARY_MUST_CHECK enum err rollouts_tick(struct call *c, bool *more);

#endif
