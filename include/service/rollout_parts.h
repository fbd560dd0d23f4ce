/* The inside of service/rollouts: what its files share. Not for other rooms.
 *
 *   rollouts.c          operators' calls, opening, closing
 *   rollout_view.c      rows as JSON
 *   rollout_scan.c      who is a target
 *   rollout_plan.c      how large the stages are, what the judge could find
 *   rollout_draw.c      a stage begins: its cohort is drawn, its deployments are written
 *   rollout_judge.c     a stage is looked at
 *   rollout_deploy.c    one deployment moves; what a device says and should run
 *   rollout_run.c       time passes
 */
#ifndef AVIARY_SERVICE_ROLLOUT_PARTS_H
#define AVIARY_SERVICE_ROLLOUT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "core/judge.h"
#include "core/rate.h"
#include "core/rollout.h"
#include "core/window.h"
#include "service/rollout_spec.h"
#include "service/rollouts.h"
#include "service/timebox.h"
#include "store/deployment_store.h"
#include "store/rollout_store.h"

#define ROLLOUT_BLOCKS_MAX 512      /* judged canaries of a stage: the exact tail goes so far, and more find nothing sooner */
#define ROLLOUT_REVERTS_MAX 8       /* attempts to send a device back before a person has to look */
#define ROLLOUT_BASELINE_REPORTS 3  /* fewer make no baseline */

/* A stage's blocks in memory, as they were drawn; rebuilt from the database when absent. */
struct judged_stage {
	int64_t stage;
	struct arena *arena;
	struct judge_row *rows;
	struct judge_cell *cells; /* baselines filled in */
	int64_t *t0;              /* of each row's block, 0 = not started */
	size_t count;
	int64_t judged_at_ms;     /* last look or peek */
	bool is_durable;          /* committed since it was loaded or changed: an undone unit takes nothing of it away */
};

/* What is known of a rollout besides its rows: immutable, or cheap to lose. */
struct rollout_live {
	struct rollout_live *next;
	int64_t id;
	struct arena *arena;
	struct rollout_request spec;
	struct judge_gate gates[JUDGE_GATES_MAX];
	uint32_t gate_count;
	struct window windows[WINDOW_MAX];
	size_t window_count;
	struct rate_config rate;
	struct rate_state rate_state;
	uint32_t notified;
	struct judged_stage *judged; /* of the running stage, or NULL */
	int64_t joined_at_ms;        /* when late joiners were last looked for */
	int64_t drawn_at_ms;         /* when a stage last could not begin */
	enum rollout_reason last_reason;
	bool is_durable; /* committed since it was loaded: the rollout exists */
	char verdict_text[400];      /* of the last announced verdict: the words of a revert */
};

struct rollouts {
	struct services *s;
	struct rollout_store *store;
	struct deployment_store *deployments;
	struct rollout_live *live;
	void *workspace; /* of the judge and the draw; grows */
	size_t workspace_bytes;
};

/* A rollout with its rows, loaded for one call. */
struct rollout_rows {
	struct rollout_row row;
	enum rollout_status status;
	struct stage_row *stages;
	size_t stage_count;
	struct rollout_live *live;
};

/* ---- rollouts.c ---- */
AVIARY_MUST_CHECK enum err rollout_load(struct call *c, int64_t id, struct rollout_rows *out);
void rollout_live_forget(struct rollouts *r, int64_t id);
/* Moves the rollout and writes the row and an event; `reason` for people. */
AVIARY_MUST_CHECK enum err rollout_set_status(struct call *c, struct rollout_rows *x, enum rollout_status to, const char *reason);
void *rollout_workspace(struct rollouts *r, size_t bytes);
const char *rollout_resource(struct call *c, int64_t id); /* "rollouts/7" */

/* ---- rollout_plan.c ---- */
struct plan_device {
	int64_t device; /* row: a scan takes several ticks, and who is deleted meanwhile has no state any more */
	uint32_t stratum;
	uint64_t unit;
	double baseline; /* of the priority metric; NAN: none */
	bool is_eligible; /* online, and with a baseline for every gate that needs one */
};
struct plan_gap { /* a hardware class that the release has nothing for */
	const char *hardware, *missing;
	int64_t devices;
};
struct rollout_targets {
	struct plan_device *devices; /* compatible, not yet on the release, free */
	size_t count;
	int64_t matched, already, busy, incompatible, online, no_baseline;
	int64_t with_metric[JUDGE_GATES_MAX]; /* devices that report the gate's metric */
	struct plan_gap *gaps;
	size_t gap_count;
	uint32_t strata;
};
/* ---- rollout_scan.c ---- */
bool rollout_gate_has_baseline(const struct judge_gate *g); /* its metric is reported before the update, too */
/* Everybody who could still get the release, at once; texts and devices in the call's arena. */
AVIARY_MUST_CHECK enum err rollout_targets(struct call *c, const struct rollout_live *live, int64_t release, int64_t group, struct rollout_targets *out);
/* The same in pieces, in order of row. What it found is what was so when it passed by: who uses it looks at a device again before
 * writing anything about it. Owns its memory; `live` must outlive it. */
struct rollout_scan;
AVIARY_MUST_CHECK enum err rollout_scan_new(struct call *c, const struct rollout_live *live, int64_t release, int64_t group, struct rollout_scan **out);
AVIARY_MUST_CHECK enum err rollout_scan_step(struct call *c, struct rollout_scan *s, const struct timebox *box, bool *is_done);
struct rollout_targets *rollout_scan_targets(struct rollout_scan *s); /* complete when a step said is_done */
void rollout_scan_free(struct rollout_scan *s); /* NULL is allowed */
struct planned_stage {
	const char *name;
	int64_t planned;  /* devices that get the release in it */
	int64_t blocks;   /* 0: not judged */
	int64_t controls; /* in each block */
	bool is_holdback; /* made by the plan: the last controls, upgraded without a judge */
};
/* Sizes of the stages for `total` devices; `out` has room for ROLLOUT_STAGES_MAX + 1. Returns their number. */
size_t rollout_plan_stages(const struct rollout_live *live, int64_t total, struct planned_stage *out);
/* Blocks and controls for a stage of `planned` devices out of `remaining`, of whom `eligible` can be in blocks. */
void rollout_plan_blocks(const struct rollout_live *live, int64_t planned, int64_t remaining, int64_t eligible, int64_t *blocks, int64_t *controls);
/* The judge's configuration for one stage; gates are live's. */
void rollout_judge_config(const struct rollout_live *live, size_t stages, int64_t stage, int64_t blocks, int64_t controls, struct judge_config *out);
/* Fewest blocks with which the judge could ever revert in that stage, over all gates. */
int64_t rollout_blocks_needed(const struct rollout_live *live, size_t stages, int64_t stage, int64_t blocks, int64_t controls);
/* Devices asked for the spread of a gate's score: more change the estimate by less than its own error. */
#define ROLLOUT_PLAN_SAMPLE 400
struct gate_spread {
	double sigma;     /* NAN: unknown */
	const char *from; /* how it is known, for people; NULL: unknown */
};
struct rollout_plan {
	const struct rollout_live *live;
	const struct rollout_targets *targets;
	struct planned_stage stages[ROLLOUT_STAGES_MAX + 1];
	size_t stage_count;
	enum guarantee guarantee;
	struct gate_spread spreads[JUDGE_GATES_MAX];
	/* where the sample is */
	uint32_t gate;
	size_t at, half_count, value_count;
	double halves[ROLLOUT_PLAN_SAMPLE + 1], values[ROLLOUT_PLAN_SAMPLE + 1];
};
/* Checks what the targets allow and divides them into stages. `live` and `targets` must outlive the plan. */
AVIARY_MUST_CHECK enum err rollout_plan_begin(struct call *c, const struct rollout_live *live, const struct rollout_targets *targets, struct rollout_plan *p);
/* Estimates what the judge could find, in pieces; true: done. */
bool rollout_plan_step(struct call *c, struct rollout_plan *p, const struct timebox *box);
/* The plan as a JSON object; sets its guarantee. */
void rollout_plan_write(struct rollout_plan *p, struct buf *out);

/* ---- rollout_draw.c ---- */
/* The stage begins. *is_ready false: not yet, `reason` says what is waited for; nothing was written. */
AVIARY_MUST_CHECK enum err rollout_draw_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, bool *is_ready, char *reason,
	size_t reason_size);
/* Devices that appeared after the last stage began join it. */
AVIARY_MUST_CHECK enum err rollout_join_late(struct call *c, struct rollout_rows *x, struct stage_row *stage);

/* ---- rollout_judge.c ---- */
/* Looks when a look is due or the bake is over; writes look rows, the stage's verdict, events and alerts. */
AVIARY_MUST_CHECK enum err rollout_judge_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage);
/* A canary's part has come to an end one way or the other: its block's window begins. */
AVIARY_MUST_CHECK enum err rollout_start_block(struct call *c, struct rollout_live *live, const struct deployment_row *d);
void rollout_judged_free(struct rollout_live *live);
/* The device is about to be deleted: no stage in memory has it any more. */
void rollout_judged_forget_device(struct call *c, int64_t device);

/* ---- rollout_deploy.c ---- */
/* Moves one deployment and writes it, with event and desired revision. Does nothing when the table does not allow it. */
AVIARY_MUST_CHECK enum err deployment_set(struct call *c, struct deployment_row *d, enum deployment_status to, const char *reason);
AVIARY_MUST_CHECK enum err deployment_offer(struct call *c, struct rollout_live *live, struct deployment_row *d);
/* Sends it back to its previous release, or cancels it, as core/deployment.h says. */
AVIARY_MUST_CHECK enum err deployment_take_back(struct call *c, struct rollout_live *live, struct deployment_row *d);
AVIARY_MUST_CHECK enum err deployment_timed_out(struct call *c, struct rollout_rows *x, struct deployment_row *d);
void deployment_set_active(struct call *c, int64_t device, int64_t deployment); /* in the registry's mirror */
/* Takes part in its rollout again, after that had ended. *is_free false: the device is in another one by now. */
AVIARY_MUST_CHECK enum err deployment_rejoin(struct call *c, const struct deployment_row *d, bool *is_free);
/* A revert that failed is attempted anew; nothing happens to a device that is in another rollout by now. */
AVIARY_MUST_CHECK enum err deployment_retry_revert(struct call *c, struct rollout_live *live, struct deployment_row *d);

/* ---- rollout_view.c ---- */
void rollout_write(struct call *c, const struct rollout_rows *x, struct buf *out);

#endif
