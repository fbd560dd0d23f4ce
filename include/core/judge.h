/* The judge: when a canary is bad, and how sure we are (docs/judge.md).
 *
 * An exact randomisation test over the blocks that cohort.h drew, at looks that are scheduled on label-blind counts,
 * against a ledger that spends alpha over waves, gates and looks: P(a harmless rollout is ever reverted) <= alpha,
 * however often anyone looks. This file is the one door for services and programs: check and plan a configuration,
 * then judge one wave at a time. Pure: no clock, no memory of its own (workspace), and the same rows give the same p
 * bit for bit in any order.
 */
#ifndef AVIARY_CORE_JUDGE_H
#define AVIARY_CORE_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/accum.h"
#include "core/guarantee.h"
#include "core/hardstop.h"
#include "core/verdict.h"

#define JUDGE_GATES_MAX 16
#define JUDGE_WAVES_MAX 32
#define JUDGE_ROWS_MAX 400000
#define JUDGE_NO_GATE UINT32_MAX
#define JUDGE_FRACTION_BYTES 84
#define JUDGE_HARD_STOP_AUTO UINT32_MAX

enum judge_mode {
	JUDGE_COHORT, /* blocks of one canary and its controls */
	JUDGE_SELF,   /* blocks of one device: its window now ("canary") and its r earlier windows */
	JUDGE_SHADOW  /* blocks of one: baseline is the old version's window, window the new one's, on the same inputs */
};
enum judge_worse { JUDGE_WORSE_UP, JUDGE_WORSE_DOWN };
enum judge_inconclusive { INCONCLUSIVE_HOLD, INCONCLUSIVE_PROMOTE, INCONCLUSIVE_REVERT };

/* Margins are in units of the score: ratio: a difference of shares (0.005 = half a percentage point); mean: the
 * metric's unit; logmean and quantile: a log ratio (judge_margin_percent(5) = ln 1.05). Events and silence have
 * neither margin. */
struct judge_gate {
	const char *name;       /* metric name; borrowed */
	enum metric_kind kind;
	enum judge_worse worse;
	double quantile;        /* METRIC_QUANTILE: in (0,1) */
	double margin;          /* delta >= 0: harm up to here is tolerated */
	double ni_margin;       /* Delta: PASS needs harm >= Delta to be excluded at beta; 0 = no such test */
	double weight;          /* share of alpha; judge_config_normalise fills zeros and scales to a sum of 1 */
	double fixed_scale;     /* > 0: scale fixed in advance (from baselines), else robust and label-blind at the look */
	int64_t min_devices;    /* exposure: canaries with at least min_reports reports in the window, for PASS; 0 = half */
	int64_t min_reports;
	bool per_stratum;       /* half of the weight goes to tests of each stratum alone */
};

struct judge_config {
	enum judge_mode mode;
	bool cohort_named;      /* canaries named by hand */
	bool interference;      /* canaries and controls share units and no unit key was given */
	bool sham;              /* controls re-install the old version */
	/* A hold also stops canaries of blocks that have not begun: their course then depends on data that knows them. */
	bool hold_all;
	/* The bound is to hold for any harm up to the margins, not only for harm of exactly these (scales fixed in advance,
	 * docs/judge.md): what a look could not have spent is then lost, for what is attainable knows the canary. */
	bool bounded;
	double alpha;           /* in (0, 0.5) */
	double beta;            /* in (0, 0.5) */
	double hold_p;          /* suspicion; default 0.001; 0 = never hold */
	double release_p;       /* suspicion over when every p is above; default 0.01 */
	uint32_t waves;         /* judged waves of the rollout */
	uint32_t wave;          /* this one, from 1 */
	uint32_t blocks;        /* planned for this wave at its start (fixes K; extensions do not change it) */
	uint32_t controls;      /* r in each block */
	int64_t reports_planned; /* L: reports a device in a bake */
	uint32_t extensions_max;
	enum judge_inconclusive on_inconclusive;
	/* k canaries silent: revert at once; 0 = none; JUDGE_HARD_STOP_AUTO = hardstop_auto's rule */
	uint32_t hard_stop_silent;
	double hard_stop_price; /* of the automatic one over the whole rollout, split over waves as alpha is; 0 = none */
	/* p0: upper bound of the share of recently-online devices that fall silent; for the price */
	double silence_rate;
	const struct judge_gate *gates;
	uint32_t gate_count;
};

/* alpha 0.01, beta 0.05, hold_p 0.001, release_p 0.01, one wave, L 128, one extension, hold; no gates. */
void judge_config_init(struct judge_config *c);
/* A gate with the kind's defaults (margin, NI margin, direction up, accuracy-like ratios down, exposure minima). */
void judge_gate_init(struct judge_gate *g, const char *name, enum metric_kind kind);
/* Fills zero weights (silence .2, crash .2, the others .15 each) and scales all to a sum of 1. */
void judge_gates_normalise(struct judge_gate *gates, uint32_t count);
double judge_margin_percent(double percent); /* ln(1 + percent/100) */
/* Refuses what can never work, with the number that would do: margins of the wrong sign, alpha outside (0, 0.5), a
 * canary that can never revert (blocks < n_min), weights that exceed 1, gates named twice. The pointer is relative:
 * "/alpha", "/gates/2/margin". `refuse_weak` false skips the n_min rule (for named cohorts judged for information). */
AVIARY_MUST_CHECK enum err judge_check(const struct judge_config *c, bool refuse_weak, struct fault *f);

/* ---- planning ---- */
struct judge_gate_plan {
	double alpha_look;      /* budget of one scheduled look for this gate in this wave (unspent ones add up) */
	uint32_t n_min;         /* blocks below which no p could be within it */
	bool can_revert;        /* blocks >= n_min */
	/* smallest harm found with 90 % power by the end of the bake, in units of the score (events: share of canaries with
	 * an event); NAN where the spread is unknown */
	double detectable;
	double detectable_percent; /* logmean, quantile: as a change in percent; ratios: percentage points; else NAN */
	uint32_t blocks_for_margin; /* blocks with which harm of ni_margin would be found; 0 = unknown */
	bool ni_reachable;      /* blocks suffice for p_NI <= beta at all */
};
struct judge_plan {
	uint32_t looks;         /* K */
	int64_t first_look, last_look; /* reports of all block members */
	double alpha_wave;      /* this wave's share */
	double alpha_hard;      /* price of the hard stop in this wave, 0 without */
	double alpha_bound;     /* alpha + price of the hard stop over all waves */
	uint32_t hard_stop_suggested; /* smallest k with a price <= 0.001 */
	enum guarantee guarantee;
	struct judge_gate_plan gates[JUDGE_GATES_MAX];
};
/* `sigma`: per gate the expected standard deviation of a device's score over a bake (planning.h estimates it from two
 * halves of the baseline); NULL or NAN = unknown. Does not refuse: call judge_check first. */
void judge_plan(const struct judge_config *c, const double *sigma, struct judge_plan *out);

/* ---- judging one wave ---- */
/* One member device of a block (JUDGE_SELF: one window of it). Cells: cells[row * gate_count + gate]. */
struct judge_row {
	uint64_t device;   /* stable key; orders members inside a block. The same (block, device) twice is refused */
	uint64_t unit;     /* devices of one unit are judged as one member; 0 = the device is a unit of its own */
	uint32_t block;
	uint32_t stratum;
	int64_t reports;   /* reports since the block's t0 (any metric): label-blind exposure, drives the looks */
	bool is_canary;
};
/* A gate's data of a row. METRIC_EVENT: window.value = count since t0, reports >= 1 even when the count is 0.
 * METRIC_SILENCE: window.value 0 or 1, reports >= 1. window.reports = 0 or (except for events) baseline.reports = 0:
 * no data. */
struct judge_cell {
	struct metric_point baseline, window;
};

/* Kept by the caller between looks, one a wave: O(1). Zeroed at the start of a wave. */
struct judge_state {
	uint32_t look;      /* last executed scheduled look */
	uint32_t extension; /* extensions so far */
	/* bake ends judged: each counts once, however often the judge is asked while the operator thinks */
	uint32_t bake_ends;
	enum verdict verdict;
	bool held;
	double spent[JUDGE_GATES_MAX]; /* alpha spent by executed looks */
	double p_min[JUDGE_GATES_MAX]; /* 0 = none yet */
};

enum judge_opinion {
	OPINION_NO_DATA,
	OPINION_QUIET,      /* nothing to see */
	OPINION_SUSPECT,    /* p <= hold_p */
	OPINION_HARM,       /* p within the budget of this look */
	OPINION_NOT_WORSE,  /* p_ni <= beta's share: harm of ni_margin is excluded */
	OPINION_COUNT
};
const char *judge_opinion_name(enum judge_opinion o); /* "no_data" "quiet" "suspect" "harm" "not_worse" */

struct judge_gate_result {
	enum judge_opinion opinion;
	uint32_t blocks;            /* with a canary and a control that have data */
	uint32_t canaries, controls; /* units with data */
	uint32_t missing;           /* units without */
	uint32_t exposed;           /* canary devices that meet min_reports */
	double scale;               /* s; 0 = no spread, every x is 0 */
	int64_t score;              /* S */
	double p;                   /* exact or Chernoff; 1 without data */
	double p_error;             /* bound of p's relative rounding error; decisions use p * (1 + p_error) */
	bool is_exact;              /* not Chernoff */
	char p_fraction[JUDGE_FRACTION_BYTES]; /* "163/390625" where p is a fraction of 128-bit integers, else "" */
	/* P of at least this little harm if it were ni_margin; NAN without such a margin or data */
	double p_ni;
	double alpha_look;          /* what it may spend at this look; 0 when no look was due */
	double spent;               /* by this gate up to now, this wave; what could not be spent is left to later looks */
	/* mean over blocks of the canary's score less its controls' mean (shadow: mean score), harm-positive, the
	 * margin not taken off; NAN without data */
	double effect;
	double canary_value, control_value; /* medians of window values (events, silence: means); NAN without data */
	double canary_baseline, control_baseline; /* medians of baselines; NAN for events and silence */
	uint32_t stratum;           /* of the smallest p; JUDGE_NO_GATE = pooled */
};
struct judge_result {
	enum verdict verdict;
	enum verdict_reason reason;
	uint32_t gate;          /* the gate that decided, or JUDGE_NO_GATE */
	bool extend;            /* with INCONCLUSIVE: extend the bake and add blocks, else apply on_inconclusive */
	uint32_t look;          /* executed look, 0 = none was due (the figures are a peek and cannot revert) */
	int64_t reports;        /* of all block members */
	int64_t next_look;      /* reports at which the next look is due */
	uint32_t blocks, canaries, controls; /* blocks, and units in them */
	uint32_t silent_canaries;
	uint32_t hard_stop_at;  /* silent canaries that stop now; 0 = no hard stop */
	double beta_level;      /* what p_ni is compared with at this bake end */
	double alpha_wave, alpha_spent; /* budget of the wave; spent up to now over all gates */
	double alpha_bound;     /* alpha + price of the hard stop */
	enum guarantee guarantee;
	struct judge_gate_result gates[JUDGE_GATES_MAX];
};

size_t judge_workspace_bytes(size_t row_count, uint32_t gate_count);
/* Whether calling judge_look could execute a scheduled look: cheap, for the caller's loop. */
bool judge_is_look_due(const struct judge_config *c, const struct judge_state *s, int64_t reports);
/* Judges what is known now. `bake_over`: the bake's end, decided on time alone; it also executes the next look.
 * Changes `state` to what the caller is to store together with the result, in one transaction. ERR_INVALID: NaN or
 * infinite values, k > n (value outside 0..1 for ratios), negative counts, a block without exactly one canary unit, a
 * row twice. No rows: CONTINUE (or INCONCLUSIVE at the end of the bake), never PASS. */
AVIARY_MUST_CHECK enum err judge_look(const struct judge_config *c, struct judge_state *state,
	const struct judge_row *rows, const struct judge_cell *cells, size_t row_count, bool bake_over,
	struct judge_result *out, void *workspace, size_t workspace_bytes, struct fault *f);
/* Guarantee of a configuration, without data. */
enum guarantee judge_guarantee(const struct judge_config *c);
/* The hard stop with so many canaries started: k 0 = none. Its price is that of this wave. */
struct hardstop_rule judge_hard_stop(const struct judge_config *c, uint32_t started);
/* alpha and what the hard stop adds over all waves, at most 1. */
double judge_alpha_bound(const struct judge_config *c);

#endif
