/* The insides of struct alerts, shared by alerts.c, alert_silence.c and alert_rules.c only. */
#ifndef AVIARY_SERVICE_ALERTS_INSIDE_H
#define AVIARY_SERVICE_ALERTS_INSIDE_H

#include "service/alerts.h"
#include "store/alert_store.h"

/* A device above or below a rule's threshold. */
struct breach {
	int64_t device;    /* row id */
	int64_t since_ms;  /* first report of this breach */
	double value;      /* last one */
	bool wants, fires; /* should fire; fires in the database */
	bool is_over;      /* the last value was on the right side again */
	bool is_excluded;  /* the rule's filter does not match it */
	bool is_tried, will_fire; /* in the unit of work that is open */
};
struct rule {
	struct alert_rule_row row; /* texts are our own */
	struct breach *breaches;   /* by device */
	size_t count, room;
	bool is_dirty;             /* some breach wants what it is not */
};
struct alerts {
	struct services *s;
	struct alert_store *store;
	struct arena *arena;
	int64_t firing;
	bool is_stale;         /* what is in memory may differ from the database: read again */
	bool is_touched;       /* since the last commit */
	/* silent devices */
	uint8_t *silent;       /* by device_state.index: the alert fires */
	size_t silent_room;
	uint32_t sweep_at;
	int64_t listening_ms;  /* since when devices could be heard */
	int64_t retain_at_ms;
	struct rule *rules;
	size_t rule_count;
};

#define ALERT_KIND_SILENT "device.silent"
#define ALERT_KIND_THRESHOLD "metric.threshold"

/* As alert_raise and alert_resolve, for a rule (0: none). */
AVIARY_MUST_CHECK enum err alerts_raise_for(struct call *c, const char *kind, const char *resource, int64_t rule, enum alert_severity severity,
	const char *summary, const char *data);
AVIARY_MUST_CHECK enum err alerts_resolve_for(struct call *c, const char *kind, const char *resource, int64_t rule);
AVIARY_MUST_CHECK enum err alerts_resolve_rule(struct call *c, int64_t rule); /* all of its alerts */
enum alert_severity alerts_severity(const char *name);

/* Once a second; each in its own unit of work. */
AVIARY_MUST_CHECK enum err alerts_sweep_silent(struct call *c);
AVIARY_MUST_CHECK enum err alerts_apply_rules(struct call *c);
/* One alert that fires, at start or after a commit was lost. */
void alerts_restore_silent(struct alerts *a, const struct alert_row *row);
void alerts_restore_breach(struct alerts *a, const struct alert_row *row);
AVIARY_MUST_CHECK enum err alerts_load_rules(struct alerts *a, struct fault *f);
void alerts_free_rules(struct alerts *a);
void alerts_on_reports(struct call *c, void *alerts);

#endif
