/* Signatures: the cause behind statistics that are over their thresholds, by name and with the numbers that say so.
 *
 * Rules, one function a cause, in an order in which the earlier explains what the later would also see (heat before
 * failing hardware, a corrupted model before a drifting one). Each finding has a cause, a sub-kind, evidence (name,
 * value, expected) and a sentence made of it. What no rule explains is a metric anomaly: nothing that the paging layer
 * found is lost. Not here: how thresholds come about (core/budget.h), how long a condition lasts (core/alert_life.h).
 *
 * Pure. Facts are plain numbers; NAN is "not known", and no rule fires on it.
 */
#ifndef AVIARY_CORE_SIGNATURE_H
#define AVIARY_CORE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/drift.h"
#include "core/leak.h"
#include "core/watch.h"

#define SIGNATURE_EVIDENCE 8
#define SIGNATURE_NOVEL_SCORE 0.5f  /* novelty scores above it are events */
#define SIGNATURE_NOVEL_WINDOW_S 900u
#define SIGNATURE_NOVEL_METRICS 3u  /* metrics of one device within the window that make an anomaly of their own */
#define SIGNATURE_SENTENCE_BYTES 240

/* X(cause, wire name). Order: who explains first. */
#define SIGNATURE_CAUSE_TABLE(X) \
	X(MODEL_HASH_MISMATCH, "model_hash_mismatch") \
	X(MODEL_CORRUPT, "model_corrupt") \
	X(DEVICE_SILENT, "device_silent") \
	X(REBOOT_LOOP, "reboot_loop") \
	X(THERMAL_THROTTLE, "thermal_throttle") \
	X(MEMORY_LEAK, "memory_leak") \
	X(BATTERY_DRAIN, "battery_drain") \
	X(BATTERY_LOW, "battery_low") \
	X(HARDWARE_DEGRADED, "hardware_degraded") \
	X(NETWORK_DEGRADED, "network_degraded") \
	X(MODEL_DRIFT, "model_drift") \
	X(METRIC_ANOMALY, "metric_anomaly") \
	X(FLEET_DRIFT, "fleet_drift") /* of cohorts only */

enum signature_cause {
#define X(cause, name) SIGNATURE_##cause,
	SIGNATURE_CAUSE_TABLE(X)
#undef X
	SIGNATURE_CAUSES
};
#define SIGNATURE_COHORT_MAX (WATCH_METRICS + 4) /* findings of a cohort: one a metric, and counts and classes */

enum signature_kind {
	SIGNATURE_PLAIN,
	SIGNATURE_NAN, SIGNATURE_CONSTANT, SIGNATURE_COLLAPSE, SIGNATURE_SCRAMBLED, /* of MODEL_CORRUPT */
	SIGNATURE_STATISTIC, SIGNATURE_CORROBORATED,                                /* of METRIC_ANOMALY */
	SIGNATURE_FLEET_CLASSES, SIGNATURE_FLEET_METRIC,                            /* of FLEET_DRIFT */
	SIGNATURE_KINDS
};
enum signature_severity { SIGNATURE_INFO, SIGNATURE_WARNING, SIGNATURE_CRITICAL };

/* A metric of the device whose novelty score was an event. */
struct signature_novel {
	const char *metric;
	float score;
	uint32_t age_s;
};

/* What is known of a device now. signature_facts_init makes everything unknown. */
struct signature_facts {
	/* core/watch.h and core/budget.h; a statistic is over when it is at or above a positive threshold */
	float statistic[WATCH_STATISTICS], threshold[WATCH_STATISTICS];
	float z[WATCH_METRICS], value[WATCH_METRICS], expected[WATCH_METRICS]; /* BATTERY: drain, share an hour */
	int8_t side[WATCH_METRICS]; /* which CUSUM is larger: 1 up, -1 down, 0 not known (z decides) */
	uint32_t fleet;             /* signature_fleet_mask of the cohort's last hour */
	/* the model */
	bool is_hash_mismatch;      /* reported hash is not the manifest's */
	float outputs, nan_outputs; /* since the last report */
	unsigned identical;         /* outputs in a row that do not differ */
	float top_share, top_usual; /* the most frequent class now, and the usual share of that class */
	/* heat */
	float hot_c;                /* where this hardware throttles */
	float heat_effect;          /* ln latency that the device's own regression puts down to temperature now */
	/* battery */
	bool is_charging;
	float battery, battery_low; /* level and limit, 0..1 */
	float drain_cohort;         /* median drain of the cohort now, share an hour */
	/* network */
	float gaps, gaps_usual;     /* share of messages that did not come (sequence numbers), the last hour and usually */
	float silent_s, silent_limit_s; /* since the last sign of life; max of three own median gaps and cohort's q999 */
	/* memory */
	struct leak_result leak;
	/* boots */
	unsigned boots_in_hour, boots_in_day;
	float boots_usual_day;      /* the cohort's rate */
	/* novelty scores: borrowed */
	const struct signature_novel *novel;
	unsigned novel_count;
};
/* Unknown: numbers NAN, counts 0; hot_c 80 and battery_low 0.15, for hardware that does not say. */
void signature_facts_init(struct signature_facts *f);

struct signature_evidence {
	const char *name;      /* static, or of the facts */
	float value, expected; /* expected: NAN where there is none */
};
struct signature_finding {
	enum signature_cause cause;
	enum signature_kind kind;
	enum signature_severity severity;
	bool is_inhibited;      /* the whole cohort shows it: its fleet_drift speaks */
	uint32_t statistics;    /* bit s: explained by this cause */
	float score;            /* largest statistic over its threshold, 1..100; explicit rules 1 */
	unsigned novel;         /* metrics with a novelty event within the window: corroboration */
	unsigned evidence_count;
	struct signature_evidence evidence[SIGNATURE_EVIDENCE];
};

/* Causes of a device's facts, at most one of each, in the table's order. Returns how many. */
unsigned signature_judge(const struct signature_facts *f, struct signature_finding out[SIGNATURE_CAUSES]);
/* A cohort's hour (core/drift.h). Returns how many. */
unsigned signature_judge_cohort(const struct drift_result *r, struct signature_finding out[SIGNATURE_COHORT_MAX]);
/* Statistics on which the cohort as a whole drifts: both of a metric when either does. */
uint32_t signature_fleet_mask(const struct drift_result *r);

const char *signature_cause_name(enum signature_cause cause);
const char *signature_kind_name(enum signature_kind kind); /* "" for SIGNATURE_PLAIN, "nan", "constant", ... */
const char *signature_severity_name(enum signature_severity severity); /* as in the API: "info" "warning" "critical" */
/* One sentence for people, cut to the room. */
void signature_sentence(const struct signature_finding *f, char *out, size_t size);

#endif
