/* The inside of the judge's part of service/rollouts: a stage's blocks in memory, and the looks that are under way.
 *
 *   rollout_blocks.c    which devices are compared, loaded and kept true
 *   rollout_look.c      their figures are gathered and judged
 *   rollout_judge.c     when, and what comes of it: books, verdicts, alerts
 *
 * Small stages are loaded, gathered and judged within one tick. Large ones take pieces of the tick's timebox, and judge_look runs in a job
 * on what was gathered; whoever takes its result asks look_is_stale first.
 */
#ifndef AVIARY_SERVICE_ROLLOUT_JUDGED_H
#define AVIARY_SERVICE_ROLLOUT_JUDGED_H

#include "service/rollout_parts.h"

/* Cells (rows x gates) up to which a stage is small: a fraction of a timebox. Tests lower it. */
#define JUDGED_SMALL_CELLS 2048
#define JUDGED_GONE (-1) /* t0 of a member that is no longer compared: it, its canary or all its controls were deleted */

struct look_task;
struct self_past; /* service/self_windows.h */

enum judged_step { JUDGED_NEW, JUDGED_MEMBERS, JUDGED_BASELINES, JUDGED_READY };

/* A stage's blocks, as they were drawn; rebuilt from the database when absent. Rows are ordered by block, then device. */
struct judged_stage {
	int64_t stage;
	struct judge_row *rows;
	struct judge_cell *cells; /* baselines filled in */
	int64_t *t0;              /* of each row's block; 0: not started; JUDGED_GONE */
	int64_t *silent_since;    /* from when its silence counts: t0, or earlier when the canary was silent already */
	size_t count, room;
	struct canary {
		int64_t device;
		uint32_t row;
	} *canaries;              /* by device */
	size_t canary_count;
	enum judged_step step;
	size_t done;              /* JUDGED_BASELINES: rows that have theirs */
	bool has_unfollowed;      /* some of their windows are not there yet */
	int64_t last_block, last_device; /* JUDGED_MEMBERS: the last one that was read */
	/* when the bake began, by so many canaries whose part was over; recomputed when they are others */
	int64_t bake_at_ms;
	size_t bake_started, bake_need;
	bool is_paired;           /* of a mode whose blocks are one device */
	bool is_self;
	struct self_past *past;   /* control: self: earlier windows of the device of each row, which are its controls; else NULL */
	/* what was done since the last commit, in case it is undone */
	bool is_durable;          /* all of it was there at a commit */
	bool has_lost;            /* a member went */
	int64_t *started;         /* blocks whose window began */
	size_t started_count, started_room;
	bool is_doubtful;         /* a unit was undone: these are read again */
	uint64_t changes;         /* grows with each change that makes a look worthless */
	/* looks */
	int64_t judged_at_ms, peeked_at_ms;
	struct look_task *look, *peek; /* under way */
	int brick_state;          /* where the search for silent canaries goes on */
	int64_t brick_after;
};

/* ---- rollout_blocks.c ---- */
/* *is_ready false: it is still being loaded. */
AVIARY_MUST_CHECK enum err judged_load(struct call *c, struct rollout_rows *x, const struct stage_row *stage, struct judged_stage **out,
	struct rollout_piece *p, bool *is_ready);
bool judged_is_small(const struct rollouts *r, const struct rollout_live *live, size_t rows);
size_t judged_canary(const struct judged_stage *j, int64_t device); /* place in rows; j->count when it is none */
/* Canaries that took the release and have been silent since: their blocks begin. A bounded number of them a call. */
AVIARY_MUST_CHECK enum err judged_start_bricks(struct call *c, struct rollout_rows *x, const struct stage_row *stage, struct judged_stage *j);
/* Silent by its habits, of which those of the time before since_ms count, too. */
bool judged_is_silent(struct call *c, int64_t device, int64_t since_ms);

/* ---- rollout_look.c ---- */
struct look_task {
	struct judged_stage *judged; /* NULL: nobody waits for it any more, and who has it frees it */
	bool is_peek, bake_over;
	bool is_gathered, is_submitted, is_done;
	uint64_t changes;
	size_t at;                   /* what is gathered next: a row, or a canary of a peek */
	struct judge_row *rows;
	struct judge_cell *cells;
	size_t count;
	struct judge_config config;  /* its gates are the task's own */
	struct judge_gate gates[JUDGE_GATES_MAX];
	int64_t metrics[JUDGE_GATES_MAX], beside[JUDGE_GATES_MAX]; /* of the release in shadow */
	struct judge_state before, after;
	struct judge_result result;
	struct fault fault;
	enum err err;
	struct arena *arena;         /* names */
};
/* A look at all gates; or a peek: silence alone, of canaries alone, which is what the hard stop needs. */
struct look_task *look_new(struct judged_stage *j, const struct judge_config *config, const struct judge_state *state, bool bake_over, bool is_peek);
void look_free(struct look_task *t); /* NULL is allowed; one whose job runs goes when that ends */
/* Does a piece of what is to be done; `whole` does all of it, here. t->is_done afterwards: t->err and t->result. ERR_OK otherwise. */
AVIARY_MUST_CHECK enum err look_step(struct call *c, struct rollout_rows *x, struct look_task *t, struct rollout_piece *p, bool whole);
/* Whether anything has changed since it was begun that its verdict is about. */
bool look_is_stale(const struct look_task *t, const struct judge_state *now);

#endif
