/* Rollouts: statuses and allowed moves, what an operator may do in which status, and the pure decision that drives one
 * forward.
 *
 * rollout_decide looks at numbers and says at most one move of the rollout, moves of its stages, and how many
 * deployments may be offered now. It keeps nothing: the same input gives the same answer, so a crash between deciding
 * and storing costs nothing. After carrying out a decision with `again` set, call it once more with the new state.
 * Not here: choosing devices (cohort), statistics (judge), storage, messages.
 */
#ifndef AVIARY_CORE_ROLLOUT_H
#define AVIARY_CORE_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/deployment.h"
#include "core/verdict.h"

#define ROLLOUT_STAGES 32

/* X(NAME, text, nothing more will happen by itself) */
#define ROLLOUT_STATUS_TABLE(X)                                                                                        \
	X(CREATING, "creating", 0)                                                                                     \
	X(WAITING_FOR_APPROVAL, "waiting_for_approval", 0)                                                             \
	X(READY, "ready", 0)                                                                                           \
	X(STARTING, "starting", 0)                                                                                     \
	X(RUNNING, "running", 0)                                                                                       \
	X(PAUSED, "paused", 0)                                                                                         \
	X(FINISHED, "finished", 1)                                                                                     \
	X(STOPPING, "stopping", 0)                                                                                     \
	X(STOPPED, "stopped", 1)                                                                                       \
	X(REVERTING, "reverting", 0)                                                                                   \
	X(REVERTED, "reverted", 1)

enum rollout_status {
#define X(name, text, final) ROLLOUT_##name,
	ROLLOUT_STATUS_TABLE(X)
#undef X
	    ROLLOUT_STATUS_COUNT
};
const char *rollout_status_text(enum rollout_status s);
bool rollout_status_parse(const char *text, enum rollout_status *out);
bool rollout_status_is_final(enum rollout_status s);
bool rollout_can_move(enum rollout_status from, enum rollout_status to);
void rollout_move(enum rollout_status *status, enum rollout_status to); /* asserts */

/* X(NAME, text) */
#define STAGE_STATUS_TABLE(X)                                                                                          \
	X(SCHEDULED, "scheduled")                                                                                      \
	X(RUNNING, "running")     /* its deployments are offered */                                                    \
	X(BAKING, "baking")       /* the success condition is met; soak and gates are waited for */                    \
	X(FINISHED, "finished")   /* stragglers may still be under way and are still offered */                        \
	X(ERROR, "error")         /* its error condition was met, or its success cannot be reached any more */         \
	X(CANCELLED, "cancelled") /* the rollout was stopped or reverted before it finished */                         \
	X(REVERTED, "reverted")

enum stage_status {
#define X(name, text) STAGE_##name,
	STAGE_STATUS_TABLE(X)
#undef X
	    STAGE_STATUS_COUNT
};
const char *stage_status_text(enum stage_status s);
bool stage_status_parse(const char *text, enum stage_status *out);
bool stage_can_move(enum stage_status from, enum stage_status to);
void stage_move(enum stage_status *status, enum stage_status to); /* asserts */

/* What an operator can ask for. X(NAME, text) */
#define ROLLOUT_COMMAND_TABLE(X)                                                                                       \
	X(PLAN, "plan")       /* draw the cohorts */                                                                   \
	X(APPROVE, "approve")                                                                                          \
	X(START, "start")                                                                                              \
	X(PAUSE, "pause")                                                                                              \
	X(RESUME, "resume")                                                                                            \
	X(ABORT, "abort")     /* stop; what was installed stays */                                                     \
	X(REVERT, "revert")   /* stop; what was installed goes back */                                                 \
	X(RETRY, "retry")     /* failed and timed out deployments wait again */                                        \
	X(PROMOTE, "promote") /* the running stage counts as judged: its verdict becomes pass */

enum rollout_command {
#define X(name, text) ROLLOUT_DO_##name,
	ROLLOUT_COMMAND_TABLE(X)
#undef X
	    ROLLOUT_COMMAND_COUNT
};
const char *rollout_command_text(enum rollout_command c);
bool rollout_command_parse(const char *text, enum rollout_command *out);
/* True and the status it leads to (which may be the same). A plan leads to ready, or to waiting_for_approval when
 * approval is needed. */
bool rollout_command_allowed(enum rollout_command c, enum rollout_status from, bool needs_approval,
                             enum rollout_status *to);

/* What to do when an error condition is met, or when a verdict stays inconclusive. X(NAME, text) */
#define ROLLOUT_POLICY_TABLE(X)                                                                                        \
	X(PAUSE, "pause")                                                                                              \
	X(REVERT, "revert")                                                                                            \
	X(HOLD, "hold") /* inconclusive only: wait for an operator, offer nothing (pause is read as this) */           \
	X(PROMOTE, "promote") /* inconclusive only: go on */

enum rollout_policy {
#define X(name, text) ROLLOUT_ON_##name,
	ROLLOUT_POLICY_TABLE(X)
#undef X
	    ROLLOUT_POLICY_COUNT
};
const char *rollout_policy_text(enum rollout_policy p);
bool rollout_policy_parse(const char *text, enum rollout_policy *out);

struct rollout_stage {
	enum stage_status status;
	uint32_t counts[DEPLOYMENT_STATUS_COUNT]; /* its deployments; the total leaves the cancelled ones out */
	double success_percent; /* met when succeeded * 100 >= it * total, 0..100 */
	uint32_t min_succeeded; /* and at least so many (capped by the total); 0 = none */
	/* Met when errors * 100 > it * total; below 0 = no error condition. An error is a deployment that is over and
	 * neither succeeded nor cancelled. */
	double error_percent;
	uint32_t min_errors;    /* and at least so many */
	uint32_t error_floor;   /* errors an operator resumed past: only more are news. A retry sets it to 0 */
	int64_t soak_ms;
	int64_t baking_since_ms; /* when it became STAGE_BAKING */
	bool needs_approval, is_approved; /* before it begins */
	int64_t retry_at_ms; /* scheduled: could not begin, or is on its way; not before then. What waits in earlier stages is offered meanwhile */
	bool has_gates;
	enum verdict verdict; /* VERDICT_CONTINUE: nothing said yet. An alert may HOLD it, gates or not */
};

struct rollout_state {
	int64_t now_ms;
	enum rollout_status status;
	unsigned stage_count; /* 1..ROLLOUT_STAGES when past creating */
	struct rollout_stage stages[ROLLOUT_STAGES];
	enum rollout_policy error_action;    /* ROLLOUT_ON_PAUSE, ROLLOUT_ON_REVERT, or ROLLOUT_ON_PROMOTE: errors change nothing */
	enum rollout_policy on_inconclusive;
	bool auto_revert;         /* carry out a revert verdict; else pause, until an operator reverts or promotes */
	bool window_is_open;
	uint32_t rate_allowance;  /* rate_allowance(); RATE_UNLIMITED */
	uint32_t max_active;      /* deployments under way at once; 0 = no limit */
	bool hold_all;            /* a hold stops the canaries that were drawn, too (core/guarantee.h: HOLD) */
};

/* Why. X(NAME, label, text for people); the numbers stand beside it in the decision. */
#define ROLLOUT_REASON_TABLE(X)                                                                                        \
	X(NONE, "none", "nothing to do")                                                                               \
	X(STARTED, "started", "the first stage begins")                                                                \
	X(STAGE_SUCCEEDED, "stage_succeeded", "the success condition of the stage is met")                             \
	X(STAGE_ACCEPTED, "stage_accepted", "an operator resumed past the failures of the stage")                      \
	X(STAGE_FINISHED, "stage_finished", "the stage is finished and the next one begins")                           \
	X(FINISHED, "finished", "the last stage is finished")                                                          \
	X(RESUMED, "resumed", "a stage in error was resumed by an operator")                                           \
	X(ERROR_CONDITION, "error_condition", "the error condition of the stage is met")                               \
	X(STALLED, "stalled", "every deployment of the stage is over and its success condition is not met")            \
	X(VERDICT_REVERT, "verdict_revert", "a gate of the stage failed")                                              \
	X(VERDICT_INCONCLUSIVE, "verdict_inconclusive", "the gates of the stage stay inconclusive")                    \
	X(WAITS_DEPLOYMENTS, "waits_deployments", "deployments of the stage are under way")                            \
	X(WAITS_SOAK, "waits_soak", "the stage soaks")                                                                 \
	X(WAITS_GATES, "waits_gates", "the gates of the stage have not passed yet")                                    \
	X(WAITS_HOLD, "waits_hold", "an alert or the judge holds the stage")                                           \
	X(WAITS_APPROVAL, "waits_approval", "the next stage waits for approval")                                       \
	X(WAITS_BEGIN, "waits_begin", "the next stage cannot begin yet")                                               \
	X(WAITS_WINDOW, "waits_window", "no maintenance window is open")                                               \
	X(WAITS_RATE, "waits_rate", "the rate limit allows no more now")                                               \
	X(WAITS_STRAGGLERS, "waits_stragglers", "all stages are finished; late deployments are under way")             \
	X(PAUSED, "paused", "the rollout is paused")                                                                   \
	X(STOPPING, "stopping", "what has begun is waited for")                                                        \
	X(STOPPED, "stopped", "nothing is under way any more")                                                         \
	X(REVERTING, "reverting", "devices are going back")                                                            \
	X(REVERTED, "reverted", "no device is left to go back")

enum rollout_reason {
#define X(name, label, text) ROLLOUT_REASON_##name,
	ROLLOUT_REASON_TABLE(X)
#undef X
	    ROLLOUT_REASON_COUNT
};
const char *rollout_reason_label(enum rollout_reason r); /* "error_condition" */
const char *rollout_reason_text(enum rollout_reason r);

struct rollout_stage_move {
	unsigned stage;
	enum stage_status to;
	uint32_t error_floor; /* to store with the move to STAGE_RUNNING from STAGE_ERROR, else the stage's own */
};

struct rollout_decision {
	bool moves;                 /* the rollout goes to `status` */
	enum rollout_status status; /* the status after */
	enum rollout_reason reason;
	int stage;       /* the reason's stage, -1 = none */
	uint32_t count;  /* the reason's numbers: errors, succeeded or still under way ... */
	uint32_t total;  /* ... of so many */
	double percent;  /* ... held against this threshold */
	unsigned stage_move_count;
	struct rollout_stage_move stage_moves[ROLLOUT_STAGES]; /* in order; to BAKING: baking_since_ms becomes now_ms */
	uint32_t offer_total;
	/* So many waiting deployments of each stage may be offered now, canaries first: when those of a judged stage begin must not
	 * depend on whether others wait (docs/judge.md, why alpha holds). */
	uint32_t offers[ROLLOUT_STAGES];
	int held_stage;        /* of this stage only canaries may be offered; -1 = of none */
	bool cancel_waiting;   /* all waiting deployments become cancelled */
	bool cancel_offered;   /* and all that were offered and have not begun */
	bool revert_begun;     /* apply deployment_on_revert to every deployment */
	bool again;            /* something moves: decide once more after carrying it out */
	int64_t wake_ms;       /* time alone (soak) changes the answer then; 0 = never */
};

void rollout_decide(const struct rollout_state *in, struct rollout_decision *out);
/* One sentence with the numbers, for events and alerts. */
void rollout_explain(const struct rollout_decision *d, char *out, size_t out_size);

#endif
