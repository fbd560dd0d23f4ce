/* Which variant of a model serves a device best, and why.
 *
 * Hard filter (core/compat.h and the objective's limits), then what is dominated goes, then the lowest cost; an installed
 * variant is only left for a gain, and not too often. Every step is told in an explanation. Nothing in here believes that one
 * kind of model is faster than another: only figures count (core/profile.h), and each brings its source.
 *
 * Devices that agree in capability class, figures and context get the same answer: a memo over the caller's memory makes a million
 * of them cheap. Pure.
 */
#ifndef AVIARY_CORE_SELECT_H
#define AVIARY_CORE_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/compat.h"
#include "core/profile.h"

enum {
	SELECT_VARIANTS = 16, /* of one model version */
	SELECT_NONE = 255,    /* no variant */
};

/* What costs. X(NAME, name in an objective) */
#define SELECT_COST_TABLE(X)                                                                                           \
	X(LATENCY, "latency") /* 95th percentile, ms */                                                                    \
	X(ENERGY, "energy")   /* microjoules an inference */                                                               \
	X(SIZE, "size")       /* bytes of the artifact */
enum select_cost {
#define X(name, text) SELECT_##name,
	SELECT_COST_TABLE(X)
#undef X
	    SELECT_COSTS
};
const char *select_cost_name(enum select_cost c);
bool select_cost_from_name(struct slice name, enum select_cost *out);

/* What a release wants. select_objective_init gives: no minimum, latency then energy then size, no limits, 10 %, a day. */
struct select_objective {
	double quality_min;   /* NaN: any, also unknown; else unknown is not enough */
	bool is_weighted;     /* else lexicographic by `order` */
	unsigned order_count; /* 1 to SELECT_COSTS */
	enum select_cost order[SELECT_COSTS];
	double weights[SELECT_COSTS]; /* not negative, one positive: exponents of a product of the costs, so units do not matter */
	double latency_max_ms, energy_max_uj; /* NaN: none; else above it a variant is out, and an unknown figure too */
	double latency_wish_ms, energy_wish_uj; /* NaN: none; a class whose best is above it is served poorly (select_survey) */
	double gain_min;      /* share of the cost that a switch must save, 0.10 */
	int64_t dwell_ms;     /* that an installed variant stays at least */
	bool follows_link;    /* on a bad link the smallest counts first, and what is installed stays while it serves */
	bool follows_battery; /* on a low battery energy counts first */
};
void select_objective_init(struct select_objective *o);

/* One variant, as this device (or class) sees it. */
struct select_candidate {
	const char *id;                        /* ties go to the smaller by bytes; unique */
	double size_bytes;
	enum compat compat;
	const struct profile_figures *figures; /* picked by profile_pick */
};

struct select_question {
	const struct select_objective *objective;
	const struct select_candidate *candidates;
	unsigned count;        /* at most SELECT_VARIANTS */
	unsigned context;      /* bits of core/health.h */
	unsigned installed;    /* index of what the device runs of this model version, or SELECT_NONE */
	int64_t installed_for_ms;
	unsigned wanted;       /* override by an operator: this one and no other, or SELECT_NONE */
};

/* What became of a variant. X(NAME, name) */
#define SELECT_FATE_TABLE(X)                                                                                           \
	X(CHOSEN, "chosen")                                                                                                \
	X(COSTLIER, "costlier")           /* than `other`, by `cost` */                                                    \
	X(TIE, "tie")                     /* equal to `other` in all that counts; the id decides */                        \
	X(BETTER, "better")               /* than `other`, which is installed and stays */                                 \
	X(DOMINATED, "dominated")         /* by `other`: nowhere better, somewhere worse */                                \
	X(INCOMPATIBLE, "incompatible")   /* the reasons are core/compat.h's */                                            \
	X(UNKNOWN, "unknown")             /* compatible as far as known: not enough */                                     \
	X(QUALITY_LOW, "quality_low")                                                                                      \
	X(QUALITY_UNKNOWN, "quality_unknown")                                                                              \
	X(TOO_SLOW, "too_slow")                                                                                            \
	X(LATENCY_UNKNOWN, "latency_unknown")                                                                              \
	X(TOO_HUNGRY, "too_hungry")       /* energy */                                                                     \
	X(ENERGY_UNKNOWN, "energy_unknown")                                                                                \
	X(NOT_WANTED, "not_wanted")       /* an operator asked for another one */
enum select_fate {
#define X(name, text) SELECT_FATE_##name,
	SELECT_FATE_TABLE(X)
#undef X
	    SELECT_FATES
};
const char *select_fate_name(enum select_fate f);

/* Why this one. X(NAME, name) */
#define SELECT_WHY_TABLE(X)                                                                                            \
	X(NOTHING, "nothing serves")                                                                                       \
	X(BEST, "best")                                                                                                    \
	X(ONLY, "only one that serves")                                                                                    \
	X(WANTED, "asked for by an operator")                                                                              \
	X(INSTALLED, "installed and best")                                                                                 \
	X(KEPT_GAIN, "kept: the gain is too small")                                                                        \
	X(KEPT_DWELL, "kept: installed too recently")                                                                      \
	X(KEPT_LINK, "kept: the link is bad")                                                                              \
	X(KEPT_UNMEASURED, "kept: the gain is not measured")
enum select_why {
#define X(name, text) SELECT_WHY_##name,
	SELECT_WHY_TABLE(X)
#undef X
	    SELECT_WHYS
};
const char *select_why_name(enum select_why w);

struct select_explained {
	uint8_t fate;   /* enum select_fate */
	uint8_t other;  /* the variant that dominates or beats it, or SELECT_NONE */
	uint8_t cost;   /* enum select_cost by which it is costlier; SELECT_COSTS: by the weighted product */
};
struct select_answer {
	uint8_t chosen;  /* index or SELECT_NONE */
	uint8_t best;    /* without regard to what is installed; differs from chosen where it was kept */
	uint8_t why;     /* enum select_why */
	bool is_poor;    /* the chosen one is above a wish of the objective, or not known to be below it */
	uint16_t eligible;  /* bits: passed the hard filter */
	uint16_t dominated; /* bits: of those, dominated */
	double gain;     /* share of the cost that `best` would save over what is installed; NaN: nothing to compare */
	struct select_explained variants[SELECT_VARIANTS];
};
void select_choose(const struct select_question *q, struct select_answer *a);
/* One sentence about a variant: "dominated by int8: quality 0.870 < 0.875, latency_p95_ms 479.8 > 162.2", with sources. */
#define SELECT_TEXT_BYTES 320
void select_explain(const struct select_question *q, const struct select_answer *a, unsigned variant,
                    char out[SELECT_TEXT_BYTES]);

/* ---- the same for many: a memo by what the answer depends on ---- */

struct select_key {
	uint32_t capability_class; /* core/compat.h */
	uint32_t figures;          /* the caller's number of the figures of all variants: of the hardware class, or of a device that
	                            * has figures of its own */
	uint8_t context;
	uint8_t installed;         /* index or SELECT_NONE */
	uint8_t wanted;            /* index or SELECT_NONE */
	bool is_dwelling;          /* installed for less than dwell_ms */
};
struct select_slot {
	struct select_key key;
	uint8_t chosen, best, why; /* of the answer */
	bool is_poor;
	uint16_t eligible, dominated;
	uint32_t devices;          /* that asked; 0: the slot is free */
};
struct select_memo {
	struct select_slot *slots;
	uint32_t slot_count;       /* a power of two */
	uint32_t used;
};
void select_memo_init(struct select_memo *m, struct select_slot *slots, uint32_t slot_count);
/* The slot of the key; counts the device. *is_new: the caller fills it by select_memo_fill. NULL: the memo is full (at three
 * quarters): choose without. */
struct select_slot *select_memo_find(struct select_memo *m, const struct select_key *key, bool *is_new);
void select_memo_fill(struct select_slot *slot, const struct select_answer *a);

/* ---- what a fleet says about the variants ---- */

#define SELECT_CLASSES 256 /* device classes in one survey */
struct select_survey_variant {
	int64_t eligible_devices, chosen_devices, dominated_devices;
	uint16_t dominated_by;   /* bits: variants that dominate it somewhere */
	uint32_t groups, dominated_groups;
};
struct select_survey_class {
	uint32_t id;             /* the caller's number of the device class */
	int64_t devices, served_devices, poor_devices;
	int64_t fates[SELECT_VARIANTS][SELECT_FATES]; /* devices: why not each variant */
};
struct select_survey {
	unsigned variant_count;
	struct select_survey_variant variants[SELECT_VARIANTS];
	unsigned class_count;
	bool more;               /* classes than fit */
	struct select_survey_class classes[SELECT_CLASSES];
};
/* About 440 KiB: on the heap. */
void select_survey_init(struct select_survey *s, unsigned variant_count);
/* A group of devices of one class with one answer. */
void select_survey_add(struct select_survey *s, uint32_t class_id, const struct select_answer *a, int64_t devices);
/* A candidate to retire: eligible somewhere, dominated wherever it is, chosen nowhere (not even kept). */
bool select_survey_retires(const struct select_survey *s, unsigned variant);

/* What to build next for a class in which a device is not served, or only poorly. */
struct select_gap {
	bool is_gap;
	int64_t unserved_devices, poor_devices;
	uint8_t nearest;         /* the variant that fails for the fewest kinds of reasons; SELECT_NONE without variants */
	uint8_t fate;            /* what it fails by for most devices of the class; SELECT_FATE_CHOSEN: it serves, but poorly */
};
struct select_gap select_survey_gap(const struct select_survey *s, unsigned class_index);

/* ---- when to send it ---- */

/* The link decides how and when bytes go, not which variant can run. */
struct select_transfer {
	double size_bytes;
	double rate_bytes_per_s;    /* 0: not known */
	bool is_metered;
	double budget_left_bytes;   /* of the metered budget; NaN: no budget */
	int64_t budget_renews_ms;   /* when it is full again */
	bool is_link_bad, is_battery_low;
	double small_bytes;         /* up to this a transfer goes at once in any case */
	int64_t window_from_ms, window_until_ms; /* the next window, or the one that is open; both 0: any time */
	double longest_ms;          /* that a transfer may take; 0: any */
};
enum select_when { SELECT_NOW, SELECT_WAIT_WINDOW, SELECT_WAIT_BUDGET, SELECT_WAIT_LINK, SELECT_WAIT_BATTERY, SELECT_TOO_LONG };
const char *select_when_name(enum select_when w);
/* `until_ms`: when to ask again; 0 where only an event (link, battery) changes the answer. */
enum select_when select_transfer_when(const struct select_transfer *t, int64_t now_ms, int64_t *until_ms);

#endif
