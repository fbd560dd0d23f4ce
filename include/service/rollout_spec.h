/* What an operator asks for when a rollout is made: the request, its defaults, its checks, and its stored form.
 *
 * One field table binds the request, documents it in openapi.json, writes the canonical text into rollout.spec, and reads that back.
 */
#ifndef AVIARY_SERVICE_ROLLOUT_SPEC_H
#define AVIARY_SERVICE_ROLLOUT_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "core/judge.h"

/* Limits of a request: a plan is for people, who do not read the 32nd stage. */
#define ROLLOUT_STAGES_MAX 31 /* the plan may add a holdback */
#define ROLLOUT_GATES_MAX JUDGE_GATES_MAX
#define ROLLOUT_WINDOWS_MAX 16
#define ROLLOUT_NAMED_MAX 1000

struct rollout_stage_request {
	const char *name;  /* default "canary", "wave 2", ... */
	double percent;    /* cumulative, of the target; 0 when `count` is given */
	bool has_percent;
	int64_t count;     /* devices of this stage alone */
	bool has_count;
	const char *mode;  /* "live", "shadow" */
};

struct rollout_gate_request {
	const char *metric;
	const char *kind;  /* NULL: by convention of the name (accuracy: ratio, latency_ms: quantile, ...) */
	const char *worse;
	double quantile;
	double margin;
	bool has_margin;
	double ni_margin;
	bool has_ni_margin;
	double weight;
	double scale; /* > 0: fixed in advance, by the request or the plan */
	bool per_stratum;
};

struct rollout_window_request {
	struct json_strs days; /* "mon".."sun"; none = every day */
	const char *start;     /* "HH:MM" */
	int64_t duration_ms;
	int64_t utc_offset_min;
};

struct rollout_request {
	const char *name;
	const char *release;
	const char *filter;  /* RSQL, "" = every device */
	const char *group;   /* NULL: none */
	bool start;          /* at once, when no approval is asked */
	bool approval;
	struct json_objects stages; /* struct rollout_stage_request */
	struct {
		double percent;
		int64_t min_count;
	} success;
	struct {
		double percent;
		int64_t min_count;
		const char *action; /* "revert", "pause", "promote" */
	} error;
	int64_t soak_ms;
	int64_t timeout_ms; /* of one attempt of one device */
	int64_t retries;
	struct {
		int64_t per_minute; /* 0: no limit */
		struct {
			int64_t base_per_minute; /* 0: not exponential */
			double factor;
			int64_t max_per_minute;
			int64_t increase_after_succeeded;
		} exponential;
	} rate;
	struct json_objects windows; /* struct rollout_window_request */
	struct json_strs strata;     /* "hardware", "attribute.<name>" */
	const char *unit_attribute;  /* devices with the same value share fate; NULL: none */
	const char *priority_metric; /* blocks are cut along its baseline; NULL: the first gate's metric */
	struct {
		double alpha, beta, hold_p;
		int64_t warmup_ms, min_bake_ms, max_bake_ms;
		int64_t reports_planned;
		const char *on_inconclusive; /* "hold" "promote" "revert" */
		bool controls;
		int64_t controls_max;
		const char *hold;    /* "rest": the drawn canaries go on; "all" */
		const char *scale;   /* "look", "baseline" */
		const char *control; /* "cohort", "self" */
		bool sham;           /* controls re-install their release */
		bool interference;
		struct {
			int64_t silent; /* 0: none, -1: by its price */
			double price;   /* of that one, over the whole rollout */
		} hard_stop;
	} judge;
	struct json_objects gates; /* struct rollout_gate_request */
	struct json_strs devices;  /* canaries by name; none = drawn */
	struct {                   /* of devices that speak DDI (service/actions.h); others get everything at once */
		const char *type;  /* core/ddi.h */
		int64_t forced_at; /* of timeforced */
		bool confirm;      /* by the device or its user, before it begins */
		int64_t weight;    /* 0 to 1000; shown */
		bool supersede;    /* what a device is busy with in another rollout is cancelled; of any protocol */
		struct {
			const char *schedule, *duration, *timezone; /* NULL: none; core/maintenance.h */
		} maintenance;
	} delivery;
};

extern const struct field rollout_request_fields[];

bool rollout_scale_is_fixed(const struct rollout_request *q); /* judge.scale is baseline */

void rollout_request_init(struct rollout_request *q); /* the defaults */
/* Fills what depends on other members (stages, kinds, names) and refuses what cannot work, naming the member. */
AVIARY_MUST_CHECK enum err rollout_request_check(struct rollout_request *q, struct arena *a, struct fault *f);
/* Canonical JSON of a checked request, for rollout.spec; and back. */
void rollout_request_write(const struct rollout_request *q, struct buf *out);
AVIARY_MUST_CHECK enum err rollout_request_read(const char *text, struct rollout_request *q, struct arena *a, struct fault *f);
/* The gates as the judge takes them, weights normalised; names borrowed from q. Returns their number. */
uint32_t rollout_request_gates(const struct rollout_request *q, struct judge_gate gates[JUDGE_GATES_MAX]);

#endif
