/* Alerts: a condition that somebody should know of, from when it begins to when it ends. Loop thread; rows are in fleet.db.
 *
 * One alert is open at a time for a (kind, resource, metric, rule). Two ways in: alert_raise and alert_resolve for conditions that
 * their owner sees begin and end; alert_signal for levels that pass through `for`, hysteresis and keep_firing_for (core/alert_life.h).
 * Whatever fires or is resolved goes into table `event`, and in the same unit of work into table `notice`, from which delivery tells
 * people: but not of what flaps, and of single devices not while a storm is on. Silences and inhibition are asked for when somebody is to
 * be told (alert_fate). Not here: receivers, texts, retries (service/notify.h).
 */
#ifndef AVIARY_SERVICE_ALERTS_H
#define AVIARY_SERVICE_ALERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/alert_life.h"
#include "service/call.h"

struct alerts;
struct device_state; /* service/registry.h */

AVIARY_MUST_CHECK struct alerts *alerts_open(struct services *s, struct fault *f); /* NULL on failure; after registry and telemetry */
void alerts_close(struct alerts *a);

enum alert_severity { ALERT_INFO, ALERT_WARNING, ALERT_CRITICAL };

/* kind: 'device.silent' 'install.failed' 'gate.verdict' 'metric.threshold' 'deployment.not_revertible' ...; resource: 'devices/dev-1'
 * 'rollouts/7'; `data` a JSON object as text, NULL for {}. Call inside a unit of work (db_begin). */
AVIARY_MUST_CHECK enum err alert_raise(struct call *c, const char *kind, const char *resource, enum alert_severity severity, const char *summary,
	const char *data);
/* Resolves it if it fires; nothing happens otherwise. */
AVIARY_MUST_CHECK enum err alert_resolve(struct call *c, const char *kind, const char *resource);
/* What is known of a condition now; most calls, of conditions that are quiet, cost a look-up in memory. Inside a unit of work. */
struct alert_signal {
	const char *kind, *resource;  /* as above; of a whole cohort: 'cohorts/<cohort>' */
	const char *cohort;           /* NULL: the device's own (alert_cohort), "" where there is none */
	const char *metric;           /* or NULL */
	enum alert_severity severity;
	enum alert_level level;       /* ALERT_LEVEL_OVER, BETWEEN, UNDER; STALE: data is missing */
	double value, expected, score; /* NAN: not known */
	const char *summary, *data;   /* used when over; NULL: made from the rest, {} */
	const struct alert_policy *policy; /* NULL: fires at once, resolved after 5 minutes under the clear threshold, damped */
	uint32_t cohort_devices;      /* how many there are, for the storm guard; 0: it asks the registry */
	const char *check;            /* the health check that says so, for rules of kind health; NULL: as the kind says */
	/* of rules; 0 and NULL otherwise */
	int64_t rule;
	const char *labels;
	bool holds;
	bool is_storm; /* many at once: the rule's texts are about one */
};
AVIARY_MUST_CHECK enum err alert_signal(struct call *c, const struct alert_signal *s);
/* Whether one of this kind and resource, of whichever rule, without a metric, is pending or fires. A look-up in memory. */
bool alert_is_open(const struct alerts *a, const char *kind, const char *resource);
/* "esp32s3/kws-1.4.2": hardware and release. In the arena. */
const char *alert_cohort(struct call *c, const struct device_state *d);
/* A score of service/detect for a value (0..1): rules of kind anomaly look at it. In memory; what it leads to is written by the next tick. */
void alerts_on_score(struct services *s, int64_t device, const char *metric, double score, int64_t at_ms);

/* For who makes the scores, and stores what they come from: at the start scores of this batch are wanted again; rules have scores whose
 * effects are not committed, so that nothing newer may be stored. */
bool alerts_replay_scores(const struct services *s, int64_t batch);
bool alerts_owe_scores(const struct services *s);

/* Why somebody is not told of an alert; both 0: they are. Asked at the time of telling. */
struct alert_fate {
	int64_t silenced_by;  /* id of a silence */
	int64_t inhibited_by; /* id of an alert */
};
AVIARY_MUST_CHECK enum err alert_fate(struct call *c, int64_t id, struct alert_fate *out);
/* The alert that holds a stage of a rollout, 0: none. Model and drift alerts of canaries, and those of rules that say so. */
AVIARY_MUST_CHECK enum err alerts_hold_stage(struct call *c, int64_t rollout, int64_t stage, int64_t *alert);
AVIARY_MUST_CHECK enum err alerts_release_stage(struct call *c, int64_t rollout, int64_t stage); /* somebody promotes it all the same */
void alert_sentence(struct call *c, int64_t id, char *out, size_t size); /* "alert 12 (model_corrupt of devices/dev-3) holds the stage: ..." */

/* Convenience of the rollout service. */
AVIARY_MUST_CHECK enum err alert_install_failed(struct call *c, const char *device_id, int64_t rollout, const char *reason);
/* A device is deleted: its alerts are resolved. */
AVIARY_MUST_CHECK enum err alerts_forget_device(struct call *c, const char *device_id);

/* Since when devices could be heard: nobody is silent for longer. 0: always. */
int64_t alerts_listening_since(const struct call *c);

/* Time passes (about once a second): silent devices, alerts whose time has run out, storms. In its own units of work, in pieces. *more: call
 * again soon. */
AVIARY_MUST_CHECK enum err alerts_tick(struct call *c, bool *more);

/* ---- operators ---- */
enum alert_only { ALERT_ANY, ALERT_YES, ALERT_NO };
struct alert_filter {
	const char *status;   /* "pending" "firing" "resolved" or NULL */
	const char *kind;     /* or NULL */
	const char *severity; /* or NULL */
	const char *resource; /* or NULL */
	const char *cohort;   /* or NULL */
	const char *metric;   /* or NULL */
	enum alert_only silenced, inhibited;
	int64_t after;        /* id to continue below; 0 = newest */
	int64_t limit;
};
/* Items newest first, as JSON objects; *next = 0 at the end. With `silenced` or `inhibited` a page may have fewer items than asked for. */
AVIARY_MUST_CHECK enum err alerts_list(struct call *c, const struct alert_filter *q, struct buf *out, int64_t *next);
AVIARY_MUST_CHECK enum err alerts_show(struct call *c, int64_t id, struct buf *out);
AVIARY_MUST_CHECK enum err alerts_acknowledge(struct call *c, int64_t id, struct buf *out); /* again: no change */
int64_t alerts_firing(const struct alerts *a); /* how many, for /metrics and /stats */

/* ---- silences: nobody is told of the alerts that match ---- */
#define SILENCES_MAX 500   /* not yet expired */
#define SILENCE_MATCHERS 16
struct silence_matcher {
	const char *name;  /* kind resource severity cohort metric rule, or label.<name> */
	const char *value; /* * stands for any run of characters */
	bool negate;
};
struct silence {
	int64_t id, begins_at, expires_at, created_at;
	const char *author, *comment;
	const struct silence_matcher *matchers; /* all must match */
	size_t matcher_count;
};
AVIARY_MUST_CHECK enum err silence_create(struct call *c, const struct silence *s, int64_t *id); /* author: who calls */
AVIARY_MUST_CHECK enum err silence_show(struct call *c, int64_t id, struct silence *out); /* texts in the arena */
AVIARY_MUST_CHECK enum err silence_end(struct call *c, int64_t id); /* expires now; one that has expired: no change */
AVIARY_MUST_CHECK enum err silences_list(struct call *c, bool only_active, int64_t after, int64_t limit, struct silence **items, size_t *count,
	int64_t *next);

/* ---- rules ---- */
struct alert_rule {
	int64_t id;
	const char *name, *metric, *op, *filter, *severity; /* op "gt" or "lt" */
	double threshold;
	int64_t for_ms;
	int64_t revision, created_at, updated_at;
	const char *kind;    /* "threshold" "rate" "absence" "anomaly" "signature" "health" "gate" */
	const char *subject; /* which cause, check or rollout: a glob; "" any */
	double clear;        /* NAN: 0.6 x the threshold for anomalies, the threshold itself otherwise */
	int64_t keep_ms, stale_ms, samples_over, samples_of;
	bool is_damped, holds;
	const char *labels, *annotations;   /* JSON objects of texts */
	const char *summary, *description; /* templates (service/alert_texts.h); "": the kind's words, nothing */
};
AVIARY_MUST_CHECK enum err alert_rule_create(struct call *c, const struct alert_rule *r, int64_t *id);
AVIARY_MUST_CHECK enum err alert_rule_show(struct call *c, int64_t id, struct alert_rule *out); /* texts in c->arena */
/* Replaces what may change (all but id); `revision` is the one that the caller compared with If-Match. */
AVIARY_MUST_CHECK enum err alert_rule_update(struct call *c, const struct alert_rule *r);
AVIARY_MUST_CHECK enum err alert_rule_delete(struct call *c, int64_t id); /* its alerts are resolved, in pieces */
/* A rule against history: which devices it would have fired for, and when. Work beside the loop; done once on the loop. */
struct rule_test;
#define RULE_TEST_RANGE_MS ((int64_t)31 * 86400000)
#define ALERT_KEEP_MS ((int64_t)90 * 86400000) /* how long a resolved alert is kept */
#define RULE_TEST_MS 10000 /* how long the work may take; what it had found by then is the answer, which says so */
AVIARY_MUST_CHECK enum err rule_test_new(struct call *c, const struct alert_rule *r, int64_t from_ms, int64_t to_ms, struct rule_test **out);
void rule_test_limit(struct rule_test *t, int64_t allowed_ms); /* before the work; else RULE_TEST_MS */
void rule_test_work(void *test);  /* any thread */
AVIARY_MUST_CHECK enum err rule_test_result(struct call *c, struct rule_test *t, struct buf *out); /* members of an open JSON object */
void rule_test_free(struct rule_test *t); /* NULL is allowed */

AVIARY_MUST_CHECK enum err alert_rules_list(struct call *c, int64_t after, int64_t limit, struct alert_rule **items, size_t *count);

#endif
