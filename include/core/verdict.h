/* What the judge says about a wave, and the one table that says when.
 *
 * It is not the rollout's state machine: the service acts on a verdict (stop installs, next wave, revert).
 */
#ifndef AVIARY_CORE_VERDICT_H
#define AVIARY_CORE_VERDICT_H

#include <stdbool.h>

enum verdict {
	VERDICT_CONTINUE,     /* keep installing and judging */
	VERDICT_HOLD,         /* suspicion: no new installs, keep judging */
	VERDICT_PASS,         /* next wave */
	VERDICT_INCONCLUSIVE, /* the bake is over and neither harm nor harmlessness is shown */
	VERDICT_REVERT,       /* take it back; final */
	VERDICT_COUNT
};

/* X(name, text): why. Numbers go with it in struct judge_result. */
#define VERDICT_REASON_TABLE(X)                                                                                        \
	X(BAKING, "the bake is not over and nothing speaks against the version")                                      \
	X(HARM, "harm beyond the margin is shown within the error budget")                                            \
	X(HARD_STOP, "as many canaries fell silent as the hard stop allows at most")                                  \
	X(SUSPICION, "a gate is suspicious but within chance by the error budget")                                    \
	X(SUSPICION_LASTS, "an earlier suspicion is not yet cleared")                                                 \
	X(NOT_WORSE, "the bake is over and every gate is met")                                                        \
	X(NOT_SHOWN, "the bake is over and a gate could not show that the version is not worse")                      \
	X(EXPOSURE, "the bake is over and a gate has too little data")                                                \
	X(REVERTED, "the wave was reverted before")

enum verdict_reason {
#define X(name, text) REASON_##name,
	VERDICT_REASON_TABLE(X)
#undef X
	    REASON_COUNT
};

/* What the gates of one look add up to. */
struct verdict_facts {
	bool harm;        /* a gate's p is within its budget at an executed look */
	bool hard_stop;
	bool suspicion;   /* a gate's p <= hold_p at an executed look */
	bool cleared;     /* an executed look with every p > release_p */
	bool bake_over;
	bool exposure;    /* every gate has its minimum of data */
	bool not_worse;   /* every gate with a non-inferiority margin shows it */
	bool can_extend;  /* extensions are left */
};

struct verdict_step {
	enum verdict verdict;
	enum verdict_reason reason;
	bool held;   /* suspicion after this step */
	/* INCONCLUSIVE only: extend the bake once more, adding blocks; otherwise the operator's on_inconclusive applies */
	bool extend;
};

/* `before` is the verdict of the step before (CONTINUE at the start); REVERT is final. */
struct verdict_step verdict_next(enum verdict before, bool held, const struct verdict_facts *f);
const char *verdict_name(enum verdict v);          /* "continue" "hold" "pass" "inconclusive" "revert" */
bool verdict_parse(const char *text, enum verdict *v);
const char *verdict_reason_name(enum verdict_reason r); /* "hard_stop" */
const char *verdict_reason_text(enum verdict_reason r);

#endif
