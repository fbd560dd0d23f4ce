/* The insides of struct alerts, shared by alerts.c and alert_*.c only. */
#ifndef AVIARY_SERVICE_ALERTS_INSIDE_H
#define AVIARY_SERVICE_ALERTS_INSIDE_H

#include "service/alert_levels.h"
#include "service/alerts.h"
#include "service/timebox.h"
#include "store/alert_store.h"

/* A condition that is pending or fires. */
struct live {
	uint64_t key;      /* hash of kind, resource, metric, rule; 0: free place */
	int64_t alert;     /* row; of a free place: the next one's */
	int64_t rule;
	uint64_t content;  /* hash of severity, summary, data as they were written */
	int64_t written_ms;
	int64_t seq;
	struct alert_policy policy;
	struct alert_life life;
	uint32_t storm;    /* 1 + place of its storm; 0: it is not counted in one */
	bool is_told, holds, is_stale_written;
	uint8_t severity;
};
struct live_index {
	uint64_t key;      /* 0: free */
	uint32_t place;
};
/* Alerts of devices of one cohort with the same kind, metric and rule. */
struct storm {
	uint64_t key;      /* 0: free place */
	struct alert_storm core;
	char *kind, *cohort, *metric;
	int64_t rule;
	uint32_t limit;
	int64_t limit_at_ms, told_ms;
	uint8_t severity;
	bool is_raised;    /* the cohort's alert fires */
	bool is_ended;     /* its rule was changed or deleted: it waits for its alerts to end */
};
/* An alert of a whole cohort that fires: inhibits those of its devices. */
struct cohort_alert {
	int64_t alert, rule;
	char *kind, *cohort, *metric;
};

/* What a rule knows of a device. */
struct breach {
	int64_t device;    /* row id; 0: free place */
	struct alert_levels_past past;
	uint64_t last;     /* number of its newest event; 0: none */
	bool is_open;      /* an alert of it is pending or fires */
	bool is_excluded;  /* the rule's filter does not match it */
};
struct rule {
	struct alert_rule_row row; /* texts are our own */
	int kind;                  /* enum rule_kind */
	struct breach *breaches;   /* open addressing */
	size_t count, room;
	uint32_t at;               /* of the sweep through the fleet, for absence */
};
/* What a report says to a rule: waits to become a signal, then for the commit of what came of it. */
struct rule_event {
	int64_t device;    /* row id */
	double value;
	int64_t at_ms;     /* when it came */
	int64_t batch, report; /* where it is in the log: number of the batch, and in it, from 1 */
	uint32_t rule;     /* place in `rules` */
	uint8_t level;     /* enum alert_level; NONE: its rule is not so any more */
	bool is_score;
	uint64_t number;   /* while they are sorted */
};
struct rule_events { /* numbered; a ring */
	struct rule_event *ring;
	size_t room;
	uint64_t first, next, end; /* first: not committed yet; next: the first one that waits */
	size_t scores;     /* from `first` on */
};
/* A rule that was changed or deleted: its open alerts below id `below` have to end. */
struct rule_ending {
	int64_t rule, below;
	bool is_deleted;
};
struct alerts {
	struct services *s;
	struct alert_store *store;
	struct arena *arena;
	int64_t firing, resolved; /* rows */
	bool is_old_rules;     /* rules were changed in the unit of work that is open or was kept: read them again */
	bool is_stale;         /* what is in memory may differ from the database: read again */
	uint64_t wrote;        /* number of the newest unit in which something changed, 0: none since the last commit */
	/* open alerts, in slabs, so that a table of a hundred thousand grows without moving them; and where they are, by key: open addressing */
	struct live **live_slabs;
	struct live_index *lives;
	size_t live_room, live_count, live_at;
	uint32_t live_slab_count, live_used, live_free; /* places ever used; 1 + the first one that is free again */
	struct storm *storms;
	size_t storm_count, storm_last;
	struct cohort_alert *cohorts;
	size_t cohort_count;
	/* silences that have not expired */
	struct silence_set *silences;
	/* silent devices */
	uint8_t *silent;       /* by device_state.index: the alert fires */
	size_t silent_room;
	uint32_t sweep_at;
	int64_t listening_ms;  /* since when devices could be heard */
	int64_t swept_ms;      /* when it was looked for silent ones */
	int64_t retain_at_ms;
	struct rule *rules;
	size_t rule_count;
	struct rule_ending *endings;
	size_t ending_count;
	/* values */
	struct rule_events events;
	int64_t batch, report; /* where the values that are being told are in the log */
	bool is_starting;      /* nothing new came since the start */
	struct rule_progress floor, written, committed; /* at the start; by the newest unit; durable */
};

#define ALERT_KIND_SILENT "device.silent"
#define ALERT_KIND_THRESHOLD "metric.threshold"
#define ALERT_DEVICE_PREFIX "devices/"
#define ALERT_COHORT_PREFIX "cohorts/"

enum alert_severity alerts_severity(const char *name);
const char *alerts_severity_name(enum alert_severity s);
bool alerts_kind_is(const char *kind, const char *cause); /* the whole kind, or what follows its last dot */
bool alerts_glob(const char *pattern, const char *text);
void alerts_touch(struct alerts *a); /* something is about to be written */
AVIARY_MUST_CHECK enum err alerts_fresh(struct call *c); /* reads memory again where it is stale */
AVIARY_MUST_CHECK enum err alerts_note(struct call *c, const struct alert_row *row, const char *status);

/* ---- alert_lives.c ---- */
AVIARY_MUST_CHECK enum err alerts_resolve_for(struct call *c, const struct alert_key *k);
AVIARY_MUST_CHECK enum err alerts_end_row(struct call *c, struct alert_row *row); /* one that is open is over */
void alerts_end_storms(struct alerts *a, int64_t rule); /* nobody is told of them any more; their alerts are going to end */
AVIARY_MUST_CHECK enum err alerts_end_resource(struct call *c, const char *resource);
void alerts_note_acknowledged(struct alerts *a, const struct alert_row *row);
bool alerts_is_open(const struct alerts *a, const struct alert_key *k);
AVIARY_MUST_CHECK enum err alerts_lives_tick(struct call *c, const struct timebox *box, bool *more);
void alerts_restore_live(struct alerts *a, const struct alert_row *row);
void alerts_free_lives(struct alerts *a);
const char *alerts_group_key(struct arena *arena, const struct alert_row *row);

/* ---- alert_quiet.c ---- */
AVIARY_MUST_CHECK enum err alerts_load_silences(struct alerts *a, int64_t now_ms, struct fault *f);
void alerts_free_silences(struct alerts *a);
struct alert_fate alerts_fate_of(struct call *c, const struct alert_row *row);
void alerts_note_cohort(struct alerts *a, const struct alert_row *row); /* one of a cohort fires */
void alerts_drop_cohort(struct alerts *a, int64_t alert);

/* ---- alert_holds.c ---- */
bool alerts_is_holding(const char *kind, const char *resource);
AVIARY_MUST_CHECK enum err alerts_hold(struct call *c, const struct alert_row *row);

/* ---- alert_rules.c ---- */
bool alerts_takes(int rule_kind, const char *subject, const struct alert_signal *s); /* whether a rule of this kind looks at it */
/* The rule that takes a signal of `kind` over, 0: none. */
const struct rule *alerts_rule_for(struct call *c, const struct alert_signal *s, enum err *e);
const struct rule *alerts_rule_by_id(const struct alerts *a, int64_t id); /* NULL: there is none in memory */
AVIARY_MUST_CHECK enum err alert_rule_check(struct call *c, const struct alert_rule *r);
struct alert_rule_row alert_rule_row_of(const struct alert_rule *r); /* with what was left out */
void alerts_rule_policy(const struct alert_rule_row *r, struct alert_policy *out);

AVIARY_MUST_CHECK enum err alerts_load_rules(struct alerts *a, struct fault *f);
void alerts_free_rules(struct alerts *a);

/* ---- alert_endings.c ---- */
AVIARY_MUST_CHECK enum err alerts_load_endings(struct alerts *a, struct fault *f);
int64_t alerts_ended_below(const struct alerts *a, int64_t rule); /* its open alerts below this id are of an older form; 0: none */
AVIARY_MUST_CHECK enum err alerts_note_new_id(struct call *c, int64_t id); /* of an alert that begins: it may have been another's before */
AVIARY_MUST_CHECK enum err alerts_begin_ending(struct call *c, int64_t rule, bool is_deleted);
AVIARY_MUST_CHECK enum err alerts_endings_tick(struct call *c, const struct timebox *box, bool *more);

/* ---- alert_values.c ---- */
AVIARY_MUST_CHECK enum err alerts_replay_values(struct alerts *a, int64_t now_ms, struct fault *f);
AVIARY_MUST_CHECK enum err alerts_write_progress(struct call *c); /* how far the log was compared, with what came of it */
void alerts_values_live(struct alerts *a); /* the start is over */
void alerts_values_committed(struct alerts *a);
void alerts_values_lost(struct alerts *a);
void alerts_listen_to_values(struct alerts *a);
void alerts_keep_values(struct alerts *a, struct rule *rules, size_t count); /* for rules that did not change, before they replace the others */
void alerts_close_breaches(struct alerts *a); /* none is open: those that are, are restored */
void alerts_free_values(struct alerts *a);

/* Once a second; each in its own unit of work. */
AVIARY_MUST_CHECK enum err alerts_sweep_silent(struct call *c, const struct timebox *box, bool *more);
AVIARY_MUST_CHECK enum err alerts_apply_rules(struct call *c, const struct timebox *box, bool *more);
/* One alert that fires, at start or after a commit was lost. */
void alerts_restore_silent(struct alerts *a, const struct alert_row *row);
void alerts_restore_breach(struct alerts *a, const struct alert_row *row);
void alerts_on_reports(struct call *c, void *alerts);

#endif
