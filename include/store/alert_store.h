/* Rows of sql/fleet/0005_alerts.sql: alerts and the rules that raise them. Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_ALERT_STORE_H
#define AVIARY_STORE_ALERT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct alert_store;
struct db;

struct alert_row {
	int64_t id;
	const char *kind, *resource, *severity, *status, *summary, *data;
	int64_t rule; /* 0: none */
	int64_t fired_at, resolved_at, acknowledged_at; /* 0: not */
	const char *acknowledged_by; /* NULL: nobody */
};
struct alert_rule_row {
	int64_t id;
	const char *name, *metric, *op, *filter, *severity;
	double threshold;
	int64_t for_ms, revision, created_at, updated_at;
};
struct alert_page {
	const char *status, *kind, *severity, *resource; /* NULL: any */
	int64_t before; /* id; 0: from the newest */
	int64_t limit;
};

AVIARY_MUST_CHECK enum err alert_store_open(struct db *db, struct alert_store **out, struct fault *f);
void alert_store_close(struct alert_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err alert_insert(struct alert_store *s, struct alert_row *row, struct fault *f); /* fills id; status firing */
/* The one that fires; found = false when none does. */
AVIARY_MUST_CHECK enum err alert_find_firing(struct alert_store *s, const char *kind, const char *resource, int64_t rule, struct arena *a,
	struct alert_row *row, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err alert_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_row *row, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err alert_page(struct alert_store *s, const struct alert_page *q, struct arena *a, struct alert_row **rows, size_t *count,
	struct fault *f); /* newest first */
/* Those that fire: of a resource, of a rule, or (both none) all. Not more than `limit`, ids above `after`, ascending. */
AVIARY_MUST_CHECK enum err alert_firing(struct alert_store *s, const char *resource, int64_t rule, int64_t after, int64_t limit, struct arena *a,
	struct alert_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err alert_set_content(struct alert_store *s, int64_t id, const char *severity, const char *summary, const char *data,
	struct fault *f);
AVIARY_MUST_CHECK enum err alert_set_resolved(struct alert_store *s, int64_t id, int64_t at, struct fault *f);
AVIARY_MUST_CHECK enum err alert_set_acknowledged(struct alert_store *s, int64_t id, int64_t at, const char *by, struct fault *f);
AVIARY_MUST_CHECK enum err alert_count_firing(struct alert_store *s, int64_t *count, struct fault *f);
/* Deletes at most `rows` of the oldest that were resolved before `older_than`. */
AVIARY_MUST_CHECK enum err alert_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f);

AVIARY_MUST_CHECK enum err rule_insert(struct alert_store *s, struct alert_rule_row *row, struct fault *f); /* fills id; ERR_CONFLICT: name */
AVIARY_MUST_CHECK enum err rule_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_rule_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err rule_update(struct alert_store *s, const struct alert_rule_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err rule_delete(struct alert_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err rule_page(struct alert_store *s, int64_t after, int64_t limit, struct arena *a, struct alert_rule_row **rows, size_t *count,
	struct fault *f);
AVIARY_MUST_CHECK enum err rule_count(struct alert_store *s, int64_t *count, struct fault *f);

#endif
