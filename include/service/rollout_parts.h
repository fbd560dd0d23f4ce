/* The inside of service/rollouts: what its files share. Not for other rooms.
 *
 *   rollouts.c          operators' calls, opening, closing
 *   rollout_view.c      rows as JSON
 *   rollout_scan.c      who is a target
 *   rollout_plan.c      how large the stages are, what the judge could find
 *   rollout_draw.c      a cohort is drawn, off the loop
 *   rollout_begin.c     a stage begins, is extended, is joined: its rows are written in pieces
 *   rollout_judge.c     a stage is looked at (rollout_judged.h: its blocks, its looks)
 *   rollout_aside.c     releases in shadow, and shams
 *   rollout_self.c      control self: its rules, its measuring (rollout_self.h)
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
#include "core/cohort.h"
#include "core/cohort.h"
#include "core/judge.h"
#include "core/rate.h"
#include "core/rollout.h"
#include "core/window.h"
#include "service/compats.h"
#include "service/rollout_spec.h"
#include "service/rollouts.h"
#include "service/silence_history.h"
#include "service/timebox.h"
#include "store/deployment_store.h"
#include "store/rollout_store.h"

#define ROLLOUT_BLOCKS_MAX 4096     /* judged canaries of a stage: the exact tail goes up to 512, then a bound stands in for it */
#define ROLLOUT_MEMBERS_MAX 100000  /* of a stage's blocks, controls too: what a look reads; controls give way */
#define ROLLOUT_SMALL_DRAW 4000     /* so few targets are drawn on the loop: a millisecond */
#define ROLLOUT_REVERTS_MAX 8       /* attempts to send a device back before a person has to look */
#define ROLLOUT_BASELINE_REPORTS 3  /* fewer make no baseline */

struct device_state; /* service/registry.h */
struct judged_stage; /* service/rollout_judged.h: a stage's blocks in memory */

/* What is known of a rollout besides its rows: immutable, or cheap to lose. */
struct rollout_live {
	struct rollout_live *next;
	int64_t id;
	struct arena *arena;
	struct rollout_request spec;
	struct judge_gate gates[JUDGE_GATES_MAX];
	uint32_t gate_count;
	struct judge_gate pair_gates[JUDGE_GATES_MAX]; /* of shadow stages: without those on silence */
	uint8_t pair_places[JUDGE_GATES_MAX];          /* which of gates they are */
	uint32_t pair_gate_count;
	struct window windows[WINDOW_MAX];
	size_t window_count;
	struct rate_config rate;
	struct rate_state rate_state;
	struct silence_rate silence; /* it was planned with; in all of its stages, or its hard stop would have no price */
	uint32_t notified;
	struct judged_stage *judged; /* of the running stage, or NULL */
	struct stage_begin *begin;   /* what is being written for a stage, or NULL */
	int64_t join_at_ms;          /* when late joiners are looked for again */
	int64_t begin_at_ms;         /* when a stage that could not begin may try again */
	int64_t freed_after;         /* deployments whose devices may take part elsewhere, at the end of the rollout */
	struct {
		size_t turn; /* of the states and stages that are walked through */
		int64_t after;
	} retry;
	uint64_t wrote;              /* unit_newest() when one of the four above last wrote something */
	enum rollout_reason last_reason;
	uint32_t let_go_stages;      /* bits: nobody of the stage runs in shadow or as a sham any more */
	int64_t let_go_stage, let_go_after; /* and how far another one is: up to this device */
	bool is_durable; /* committed since it was loaded: the rollout exists */
	int64_t held_by;             /* the alert that holds its stage, 0: none. Of this tick */
	char verdict_text[400];      /* of the last announced verdict: the words of a revert */
};

struct rollouts {
	struct services *s;
	struct rollout_store *store;
	struct deployment_store *deployments;
	struct self_store *self; /* earlier windows, for control self */
	struct rollout_live *live;
	int64_t turn;     /* of the round through all rollouts: who was served last; below 0: a new one begins */
	bool has_more;    /* somebody who was served in this round has more to do */
	uint64_t piece_ns; /* TIMEBOX_NS; tests take less, to stop at every piece */
	size_t small_draw; /* targets of a draw that is no job; tests take fewer */
	void *workspace; /* of the judge; grows */
	size_t workspace_bytes;
	struct silence_history *silence;
	size_t small_cells; /* rows x gates of a stage that is loaded and judged within one tick; tests take fewer */
};

/* One rollout's turn in one tick. */
struct rollout_piece {
	struct timebox box;
	unsigned done; /* items: at least one a turn, however long the rest took */
	bool more;     /* asks for another turn at once */
};
/* Before each item of something long: true when the next one has to wait for another turn, which is asked for. */
static inline bool rollout_piece_is_over(struct rollout_piece *p)
{
	bool is_over = p->done > 0 && timebox_is_over(&p->box);
	p->more = p->more || is_over;
	p->done++;
	return is_over;
}

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
/* The same for operators: one that is deleted is not found, though some of its rows are still there. */
AVIARY_MUST_CHECK enum err rollout_open(struct call *c, int64_t id, struct rollout_rows *out);
void rollout_live_forget(struct rollouts *r, int64_t id);
/* What failed up to row.retry_at waits for another attempt; row.retry_at is 0 when that is done, and not written. */
AVIARY_MUST_CHECK enum err rollout_retry_some(struct call *c, struct rollout_rows *x, struct rollout_piece *p);
/* The rest of a deleted rollout. */
AVIARY_MUST_CHECK enum err rollout_purge_some(struct call *c, int64_t id, struct rollout_piece *p);
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
	bool can_shadow; /* online, and able to run a release beside its own */
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
	int64_t excluded;    /* have hardware that it has something for, and cannot run that */
	struct compat_table exclusions; /* why, by hardware */
	int64_t can_shadow, no_release; /* able to run it in shadow, online or not; run a release that is unknown here */
	int64_t shadow_ready;           /* able and online */
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
void rollout_scan_count_only(struct rollout_scan *s); /* before the first step: no stratum, unit or baseline is wanted, which is faster */
AVIARY_MUST_CHECK enum err rollout_scan_step(struct call *c, struct rollout_scan *s, const struct timebox *box, bool *is_done);
struct rollout_targets *rollout_scan_targets(struct rollout_scan *s); /* complete when a step said is_done */
void rollout_scan_free(struct rollout_scan *s); /* NULL is allowed */
struct planned_stage {
	const char *name;
	int64_t planned;  /* devices that get the release in it */
	int64_t blocks;   /* 0: not judged */
	int64_t controls; /* in each block */
	bool is_shadow;   /* beside the old release; counts for no later percentage */
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
	struct {
		int64_t asked, with; /* devices whose past was looked at, and those who have one */
		int64_t windows;     /* earlier windows of one device, typically */
	} self;              /* control: self */
	/* where the sample is */
	uint32_t gate;
	size_t at, half_count, value_count;
	double halves[ROLLOUT_PLAN_SAMPLE + 1], values[ROLLOUT_PLAN_SAMPLE + 1];
};
/* Checks what the targets allow and divides them into stages. `live` and `targets` must outlive the plan. */
AVIARY_MUST_CHECK enum err rollout_plan_begin(struct call *c, const struct rollout_live *live, const struct rollout_targets *targets, struct rollout_plan *p);
/* Estimates what the judge could find, in pieces; true: done. */
bool rollout_plan_step(struct call *c, struct rollout_plan *p, const struct timebox *box);
/* ---- rollout_terms.c ---- */
/* After the last step: writes what the plan found out into the spec that will be stored: fixed scales, interference. */
AVIARY_MUST_CHECK enum err rollout_plan_settle(struct call *c, struct rollout_live *live, const struct rollout_plan *p);
/* ---- rollout_plan.c ---- */
/* The plan as a JSON object; sets its guarantee. */
void rollout_plan_write(struct rollout_plan *p, struct buf *out);

/* ---- rollout_begin.c ---- */
/* A stage begins: scan, draw, rows, each in pieces over as many ticks as it takes. Until all is written the stage stays scheduled, and what a
 * begin left behind that was given up (a kill, a pause) is taken away again before the next one. BEGUN: the stage has its blocks, write it. */
enum begun { BEGUN, BEGUN_PARTLY, BEGUN_NOT /* `reason` says what is waited for */ };
AVIARY_MUST_CHECK enum err rollout_begin_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct rollout_piece *p,
	enum begun *begun, char *reason, size_t reason_size);
/* The stage's begin is under way and has not come to its end. */
bool rollout_begin_is_open(const struct rollout_live *live, int64_t stage);
/* Gives up what the rollout is not in the state for any more. */
void rollout_begin_settle(struct rollout_rows *x);
/* Goes on with what was begun; draws the blocks of an extended bake; has devices that appeared late join the last stage; takes away what was
 * left behind. */
AVIARY_MUST_CHECK enum err rollout_begin_step(struct call *c, struct rollout_rows *x, struct rollout_piece *p);
void rollout_begin_free(struct rollout_live *live);
/* As if it had never been: its device is free, and told nothing. */
AVIARY_MUST_CHECK enum err rollout_remove_deployment(struct call *c, const struct deployment_row *d);

/* ---- rollout_draw.c ---- */
/* A draw, for a thread of its own: everything that it reads is its own or is not changed by anybody until it ends. */
struct draw_job {
	struct stage_begin *owner; /* NULL: nobody waits for it any more, and the scan is its own */
	struct rollout_scan *scan;
	const struct plan_device *devices; /* the scan's */
	size_t count;
	uint8_t seed[32];
	char label[48]; /* of the coins */
	uint32_t wave;
	int64_t blocks, controls; /* wanted; 0: not judged */
	int64_t want;             /* devices that get the release, as long as is_filled */
	bool is_filled;           /* up to `want` by devices outside the blocks; but a canary stage with blocks has nobody else */
	bool is_canary_stage;
	bool is_shadow;           /* `want` devices that can run it beside their own, each a block */
	bool is_self;             /* canaries alone: their controls are their own past */
	int64_t *named, *taken;   /* rows in order: canaries by hand; who is in a block already */
	size_t named_count, taken_count;
	int64_t controls_max;     /* for canaries by hand */
	/* what came of it; members ordered by block, canaries before controls */
	enum err result;
	struct cohort_member *members; /* device: place in `devices` */
	size_t member_count;
	struct cohort_plan plan;
	uint32_t *chosen; /* places of those who get the release outside of blocks, in order */
	size_t chosen_count;
	size_t named_found;
};
void draw_run(void *job);
void draw_free(struct draw_job *job); /* with the scan, when it is its own. NULL is allowed */

/* ---- rollout_judge.c ---- */
/* Looks when a look is due or the bake is over; writes look rows, the stage's verdict, events and alerts. */
AVIARY_MUST_CHECK enum err rollout_judge_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct rollout_piece *p);
/* A canary's part has come to an end one way or the other: its block's window begins. */
AVIARY_MUST_CHECK enum err rollout_start_block(struct call *c, struct rollout_live *live, const struct deployment_row *d);
void rollout_judged_free(struct rollout_live *live);
void rollout_judged_committed(struct rollout_live *live);
void rollout_judged_undone(struct rollout_live *live); /* some of what was done since the last commit was not */
/* The device is about to be deleted: no stage in memory has it any more. */
void rollout_judged_forget_device(struct call *c, int64_t device);

/* ---- rollout_aside.c ---- */
bool rollout_is_shadow(const struct rollout_live *live, int64_t stage);
int64_t rollout_first_live(const struct rollout_live *live); /* shadow stages come before it */
/* Fills pair_gates. */
void rollout_pair_gates(struct rollout_live *live);
/* The gates that the stage's judge knows. */
const struct judge_gate *rollout_stage_gates(const struct rollout_live *live, int64_t stage, uint32_t *count);
/* Place in the spec's list of the gate that the stage's judge calls `gate`. */
uint32_t rollout_gate_place(const struct rollout_live *live, int64_t stage, uint32_t gate);
/* Devices of a shadow stage when so many are able to. */
int64_t rollout_shadow_size(int64_t planned, int64_t able);
/* Draws them, of those who can_shadow: each is a block, but for devices of one unit, which are one together. `out` has room for
 * rollout_shadow_size; `device` is the place in targets. Returns their number. Touches nothing else: may run on another thread. */
size_t rollout_shadow_choose(const uint8_t seed[32], const char *rollout, int64_t stage, const struct rollout_targets *targets, int64_t planned,
	struct cohort_member *out, uint32_t *blocks);
/* With a canary its controls are told to install what they run. */
AVIARY_MUST_CHECK enum err rollout_offer_shams(struct call *c, struct rollout_live *live, const struct deployment_row *canary);
/* The deployment has come to an end one way or the other: its block begins when it was the last of its canary and its shams. */
AVIARY_MUST_CHECK enum err rollout_part_is_over(struct call *c, struct rollout_live *live, const struct deployment_row *d);
/* A control was deleted: its block may have waited for nobody else. */
AVIARY_MUST_CHECK enum err rollout_control_left(struct call *c, int64_t rollout, int64_t stage, int64_t block);
/* Shadows and shams of stages that are over, or of a rollout that is, are let go, in pieces. Not before *is_done may a stage begin (its
 * targets would be busy), or the rollout end. */
AVIARY_MUST_CHECK enum err rollout_let_go(struct call *c, struct rollout_rows *x, const struct timebox *box, bool *is_done);
void rollout_let_go_undone(struct rollout_live *live); /* what was done since the last commit was not */

/* ---- rollout_deploy.c ---- */
/* Of a shadow or a sham: its device is told to stop, if it has begun, and takes part no more. */
AVIARY_MUST_CHECK enum err deployment_let_go(struct call *c, struct deployment_row *d, bool is_revert);
/* Its device cannot run what it would be given: the deployment ends without counting for or against anything. */
AVIARY_MUST_CHECK enum err deployment_exclude(struct call *c, struct rollout_live *live, struct deployment_row *d, const char *why);
/* Moves one deployment and writes it, with event and desired revision. Does nothing when the table does not allow it. */
AVIARY_MUST_CHECK enum err deployment_set(struct call *c, struct deployment_row *d, enum deployment_status to, const char *reason);
AVIARY_MUST_CHECK enum err deployment_offer(struct call *c, struct rollout_live *live, struct deployment_row *d);
/* Sends it back to its previous release, or cancels it, as core/deployment.h says. */
AVIARY_MUST_CHECK enum err deployment_take_back(struct call *c, struct rollout_live *live, struct deployment_row *d);
AVIARY_MUST_CHECK enum err deployment_timed_out(struct call *c, struct rollout_rows *x, struct deployment_row *d);
/* Whether the device may take part in the rollout: it is in no other one, or that one gives way (delivery.supersede). */
bool deployment_is_free(struct call *c, const struct rollout_live *live, const struct device_state *d);
/* Ends its part in the other one, if it has any. */
AVIARY_MUST_CHECK enum err deployment_supersede(struct call *c, const struct rollout_live *live, const struct device_state *d);
void deployment_set_active(struct call *c, int64_t device, int64_t deployment); /* in the registry's mirror */
/* Takes part in its rollout again, after that had ended. *is_free false: the device is in another one by now. */
AVIARY_MUST_CHECK enum err deployment_rejoin(struct call *c, const struct deployment_row *d, bool *is_free);
/* A revert that failed is attempted anew; nothing happens to a device that is in another rollout by now. */
AVIARY_MUST_CHECK enum err deployment_retry_revert(struct call *c, struct rollout_live *live, struct deployment_row *d);

/* For service/actions: what the device said of its present attempt; d->is_closed where that is its end. */
AVIARY_MUST_CHECK enum err deployment_on_action(struct call *c, struct deployment_row *d, enum report_state said, int64_t progress, const char *reason);
bool deployment_is_on_offer(enum deployment_status s); /* its device is to do something */

/* ---- rollout_view.c ---- */
void rollout_write(struct call *c, const struct rollout_rows *x, struct buf *out);

#endif
