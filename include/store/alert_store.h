/* Rows of sql/fleet/0005_alerts.sql, 0011_alert_life.sql and 0014_alert_pieces.sql: alerts, the rules that raise them, notices for delivery, silences, holds. Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_ALERT_STORE_H
#define AVIARY_STORE_ALERT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/alert_life.h"

struct alert_store;
struct db;

/* What goes on after a restart: stored as it is. */
struct alert_memory {
	struct alert_life life;
	struct alert_policy policy;
};
struct alert_row {
	int64_t id;
	const char *kind, *resource, *cohort, *metric, *severity, *status, *summary, *description, *data, *labels;
	int64_t rule; /* 0: none */
	double value, expected, score; /* NAN: not known */
	int64_t seq, flaps;
	bool is_suppressed, is_stale, is_told, holds;
	bool has_memory;
	struct alert_memory memory;
	int64_t pending_at, fired_at, resolved_at, acknowledged_at; /* 0: not */
	const char *resolved_by, *acknowledged_by; /* NULL: nobody */
};
struct alert_key { /* one is open at a time */
	const char *kind, *resource, *metric;
	int64_t rule;
};
struct alert_rule_row {
	int64_t id;
	const char *name, *metric, *op, *filter, *severity;
	double threshold;
	int64_t for_ms, revision, created_at, updated_at;
	const char *kind, *subject;
	double clear; /* NAN: the default of the kind */
	int64_t keep_ms, stale_ms, samples_over, samples_of;
	bool is_damped, holds;
	const char *labels, *annotations, *summary, *description; /* JSON objects; templates */
};
struct rule_ending_row { /* a rule whose alerts below id `below` have to end */
	int64_t rule, below;
	bool is_deleted;
};
struct rule_progress { /* all before `batch` was compared with rules, and `reports` of its first ones */
	int64_t batch, reports, at;
};
struct alert_page {
	const char *status, *kind, *severity, *resource, *cohort, *metric; /* NULL: any */
	int64_t before; /* id; 0: from the newest */
	int64_t limit;
};
struct notice_row {
	int64_t id, alert, seq, at;
	const char *transition, *group_key;
};
struct silence_row {
	int64_t id, begins_at, expires_at, created_at;
	const char *matchers, *author, *comment;
};

AVIARY_MUST_CHECK enum err alert_store_open(struct db *db, struct alert_store **out, struct fault *f);
void alert_store_close(struct alert_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err alert_insert(struct alert_store *s, struct alert_row *row, struct fault *f); /* fills id */
/* The one that is pending or fires; found = false when none does. */
AVIARY_MUST_CHECK enum err alert_find_open(struct alert_store *s, const struct alert_key *k, struct arena *a, struct alert_row *row, bool *found,
	struct fault *f);
/* Of the newest with this key, open or not. */
AVIARY_MUST_CHECK enum err alert_last_memory(struct alert_store *s, const struct alert_key *k, struct alert_memory *out, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err alert_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_row *row, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err alert_page(struct alert_store *s, const struct alert_page *q, struct arena *a, struct alert_row **rows, size_t *count,
	struct fault *f); /* newest first */
/* Those that are pending or fire: of a resource, or (NULL) all. Not more than `limit`, ids above `after`, ascending. */
AVIARY_MUST_CHECK enum err alert_open(struct alert_store *s, const char *resource, int64_t after, int64_t limit, struct arena *a,
	struct alert_row **rows, size_t *count, struct fault *f);
/* Of a rule, with that status and an id below `below`; ascending, at most `limit`. */
AVIARY_MUST_CHECK enum err alert_of_rule(struct alert_store *s, int64_t rule, const char *status, int64_t below, int64_t limit, struct arena *a,
	struct alert_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err alert_last_id(struct alert_store *s, int64_t *id, struct fault *f); /* 0: there are none */
/* At most `limit` alerts of the rule are no rule's from now on; *count: so many were. */
AVIARY_MUST_CHECK enum err alert_detach(struct alert_store *s, int64_t rule, int64_t limit, int64_t *count, struct fault *f);
/* Severity, summary, description, data, value, expected, score of row->id. */
AVIARY_MUST_CHECK enum err alert_set_content(struct alert_store *s, const struct alert_row *row, struct fault *f);
/* Status, seq, flaps, is_suppressed, is_told, memory, fired_at, resolved_at and resolved_by of row->id. */
AVIARY_MUST_CHECK enum err alert_set_state(struct alert_store *s, const struct alert_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err alert_delete(struct alert_store *s, int64_t id, struct fault *f); /* one that was pending only */
AVIARY_MUST_CHECK enum err alert_set_told(struct alert_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err alert_set_stale(struct alert_store *s, int64_t id, bool is_stale, struct fault *f);
AVIARY_MUST_CHECK enum err alert_set_acknowledged(struct alert_store *s, int64_t id, int64_t at, const char *by, struct fault *f);
AVIARY_MUST_CHECK enum err alert_count(struct alert_store *s, const char *status, int64_t *count, struct fault *f);
/* Deletes at most `rows` of those that were resolved before `older_than`, the oldest first; *count: so many. The same for notices and silences. */
AVIARY_MUST_CHECK enum err alert_retain(struct alert_store *s, int64_t older_than, int64_t rows, int64_t *count, struct fault *f);

AVIARY_MUST_CHECK enum err notice_insert(struct alert_store *s, struct notice_row *row, struct fault *f); /* fills id */
AVIARY_MUST_CHECK enum err notice_page(struct alert_store *s, int64_t after, int64_t limit, struct arena *a, struct notice_row **rows, size_t *count,
	struct fault *f); /* ascending */
AVIARY_MUST_CHECK enum err notice_delete(struct alert_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err notice_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f);

AVIARY_MUST_CHECK enum err silence_insert(struct alert_store *s, struct silence_row *row, struct fault *f); /* fills id */
AVIARY_MUST_CHECK enum err silence_get(struct alert_store *s, int64_t id, struct arena *a, struct silence_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err silence_expire(struct alert_store *s, int64_t id, int64_t at, struct fault *f);
AVIARY_MUST_CHECK enum err silence_page(struct alert_store *s, int64_t before, int64_t limit, struct arena *a, struct silence_row **rows, size_t *count,
	struct fault *f); /* newest first */
/* Not yet expired, those that expire first come first; also those that begin later. */
AVIARY_MUST_CHECK enum err silence_active(struct alert_store *s, int64_t now, int64_t limit, struct arena *a, struct silence_row **rows, size_t *count,
	struct fault *f);
AVIARY_MUST_CHECK enum err silence_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f);

AVIARY_MUST_CHECK enum err hold_insert(struct alert_store *s, int64_t rollout, int64_t stage, int64_t alert, struct fault *f);
AVIARY_MUST_CHECK enum err hold_delete(struct alert_store *s, int64_t alert, struct fault *f); /* all of the alert */
AVIARY_MUST_CHECK enum err hold_release(struct alert_store *s, int64_t rollout, int64_t stage, struct fault *f);
AVIARY_MUST_CHECK enum err hold_of_stage(struct alert_store *s, int64_t rollout, int64_t stage, int64_t *alert, struct fault *f); /* 0: none */

AVIARY_MUST_CHECK enum err rule_insert(struct alert_store *s, struct alert_rule_row *row, struct fault *f); /* fills id; ERR_CONFLICT: name */
AVIARY_MUST_CHECK enum err rule_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_rule_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err rule_update(struct alert_store *s, const struct alert_rule_row *row, struct fault *f);
/* Its open alerts below id `below` (above 0) are of an older form and have to end; they have. */
AVIARY_MUST_CHECK enum err rule_end(struct alert_store *s, int64_t id, int64_t below, struct fault *f);
AVIARY_MUST_CHECK enum err rule_ended(struct alert_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err rule_hide(struct alert_store *s, int64_t id, int64_t at, struct fault *f); /* nobody sees it from now on; its name is free */
AVIARY_MUST_CHECK enum err rule_delete(struct alert_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err rule_page(struct alert_store *s, int64_t after, int64_t limit, struct arena *a, struct alert_rule_row **rows, size_t *count,
	struct fault *f);
AVIARY_MUST_CHECK enum err rule_count(struct alert_store *s, int64_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err rule_endings(struct alert_store *s, struct arena *a, struct rule_ending_row **rows, size_t *count, struct fault *f);

AVIARY_MUST_CHECK enum err rule_progress_get(struct alert_store *s, struct rule_progress *out, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err rule_progress_put(struct alert_store *s, const struct rule_progress *p, struct fault *f);

#endif
