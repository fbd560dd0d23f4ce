#include "store/alert_store.h"

#include <stdlib.h>

#include "store/db.h"

enum {
	INSERT, FIND_FIRING, GET, PAGE, PAGE_STATUS, PAGE_KIND, PAGE_RESOURCE, FIRING, FIRING_RESOURCE, FIRING_RULE, SET_CONTENT, SET_RESOLVED,
	SET_ACKNOWLEDGED, COUNT_FIRING, RETAIN, RULE_INSERT, RULE_GET, RULE_UPDATE, RULE_DELETE, RULE_PAGE, RULE_COUNT,
	STATEMENTS
};

#define COLUMNS "id, kind, resource, severity, status, summary, data, rule, fired_at, resolved_at, acknowledged_at, acknowledged_by"
#define CONDITIONS                                                                                                        \
	" AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR kind = ?3) AND (?4 IS NULL OR severity = ?4)"                   \
	" AND (?5 IS NULL OR resource = ?5) ORDER BY id DESC LIMIT ?6"
#define RULE_COLUMNS "id, name, metric, operator, filter, severity, threshold, for_ms, revision, created_at, updated_at"

static const struct statement table[STATEMENTS] = {
	[INSERT] = {"INSERT INTO alert (kind, resource, severity, status, summary, data, rule, fired_at) VALUES (?1, ?2, ?3, 'firing', ?4, ?5, ?6, ?7)", false},
	[FIND_FIRING] = {"SELECT " COLUMNS " FROM alert WHERE kind = ?1 AND resource = ?2 AND coalesce(rule, 0) = ?3 AND status = 'firing'", false},
	[GET] = {"SELECT " COLUMNS " FROM alert WHERE id = ?1", false},
	[PAGE] = {"SELECT " COLUMNS " FROM alert WHERE id < ?1" CONDITIONS, false},
	[PAGE_STATUS] = {"SELECT " COLUMNS " FROM alert WHERE status = ?7 AND id < ?1" CONDITIONS, false},
	[PAGE_KIND] = {"SELECT " COLUMNS " FROM alert WHERE kind = ?7 AND id < ?1" CONDITIONS, false},
	[PAGE_RESOURCE] = {"SELECT " COLUMNS " FROM alert WHERE resource = ?7 AND id < ?1" CONDITIONS, false},
	[FIRING] = {"SELECT " COLUMNS " FROM alert WHERE status = 'firing' AND id > ?2 ORDER BY id LIMIT ?3", false},
	[FIRING_RESOURCE] = {"SELECT " COLUMNS " FROM alert WHERE resource = ?1 AND +status = 'firing' AND id > ?2 ORDER BY id LIMIT ?3", false},
	[FIRING_RULE] = {"SELECT " COLUMNS " FROM alert WHERE rule = ?1 AND status = 'firing' AND id > ?2 ORDER BY id LIMIT ?3", false},
	[SET_CONTENT] = {"UPDATE alert SET severity = ?2, summary = ?3, data = ?4 WHERE id = ?1", false},
	[SET_RESOLVED] = {"UPDATE alert SET status = 'resolved', resolved_at = ?2 WHERE id = ?1", false},
	[SET_ACKNOWLEDGED] = {"UPDATE alert SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE id = ?1", false},
	[COUNT_FIRING] = {"SELECT count(*) FROM alert WHERE status = 'firing'", false},
	/* Resolved about in the order of their ids: the walk looks at the oldest only. */
	[RETAIN] = {"DELETE FROM alert WHERE id IN (SELECT id FROM (SELECT id, resolved_at FROM alert WHERE status = 'resolved' ORDER BY id LIMIT ?2)"
	            " WHERE resolved_at < ?1)", false},
	[RULE_INSERT] = {"INSERT INTO alert_rule (name, metric, operator, filter, severity, threshold, for_ms, created_at, updated_at)"
	                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)", false},
	[RULE_GET] = {"SELECT " RULE_COLUMNS " FROM alert_rule WHERE id = ?1", false},
	[RULE_UPDATE] = {"UPDATE alert_rule SET name = ?1, metric = ?2, operator = ?3, filter = ?4, severity = ?5, threshold = ?6, for_ms = ?7,"
	                 " updated_at = ?8, revision = revision + 1 WHERE id = ?9", false},
	[RULE_DELETE] = {"DELETE FROM alert_rule WHERE id = ?1", false},
	[RULE_PAGE] = {"SELECT " RULE_COLUMNS " FROM alert_rule WHERE id > ?1 ORDER BY id LIMIT ?2", false},
	[RULE_COUNT] = {"SELECT count(*) FROM alert_rule", true}, /* a few hundred at most, when one is made */
};

struct alert_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err alert_store_open(struct db *db, struct alert_store **out, struct fault *f)
{
	*out = NULL;
	struct alert_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, table, STATEMENTS, s->st, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void alert_store_close(struct alert_store *s)
{
	free(s);
}

static enum err one_int(struct stmt *st, int64_t *value, struct fault *f)
{
	bool row;
	enum err e = stmt_step(st, &row, f);
	if (e == ERR_OK && row)
		*value = stmt_int(st, 0);
	stmt_reset(st);
	return e;
}

/* ---- alerts ---- */

static void read_alert(struct stmt *st, struct arena *a, struct alert_row *row)
{
	*row = (struct alert_row){
		.id = stmt_int(st, 0), .kind = arena_strdup(a, stmt_text(st, 1)), .resource = arena_strdup(a, stmt_text(st, 2)),
		.severity = arena_strdup(a, stmt_text(st, 3)), .status = arena_strdup(a, stmt_text(st, 4)), .summary = arena_strdup(a, stmt_text(st, 5)),
		.data = arena_strdup(a, stmt_text(st, 6)), .rule = stmt_int(st, 7), .fired_at = stmt_int(st, 8), .resolved_at = stmt_int(st, 9),
		.acknowledged_at = stmt_int(st, 10), .acknowledged_by = arena_strdup(a, stmt_text(st, 11)),
	};
}

static enum err read_alerts(struct stmt *st, int64_t limit, struct arena *a, struct alert_row **rows, size_t *count, struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_alert(st, a, &(*rows)[(*count)++]);
	}
}

enum err alert_insert(struct alert_store *s, struct alert_row *row, struct fault *f)
{
	struct stmt *st = s->st[INSERT];
	stmt_bind_text(st, 1, row->kind);
	stmt_bind_text(st, 2, row->resource);
	stmt_bind_text(st, 3, row->severity);
	stmt_bind_text(st, 4, row->summary);
	stmt_bind_text(st, 5, row->data);
	if (row->rule != 0)
		stmt_bind_int(st, 6, row->rule);
	stmt_bind_int(st, 7, row->fired_at);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err alert_find_firing(struct alert_store *s, const char *kind, const char *resource, int64_t rule, struct arena *a, struct alert_row *row,
	bool *found, struct fault *f)
{
	struct stmt *st = s->st[FIND_FIRING];
	stmt_bind_text(st, 1, kind);
	stmt_bind_text(st, 2, resource);
	stmt_bind_int(st, 3, rule);
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_alert(st, a, row);
	stmt_reset(st);
	return e;
}

enum err alert_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_row *row, struct fault *f)
{
	struct stmt *st = s->st[GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_alert(st, a, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such alert") : e;
}

enum err alert_page(struct alert_store *s, const struct alert_page *q, struct arena *a, struct alert_row **rows, size_t *count, struct fault *f)
{
	const char *key = q->resource != NULL ? q->resource : q->status != NULL ? q->status : q->kind;
	struct stmt *st = s->st[q->resource != NULL ? PAGE_RESOURCE : q->status != NULL ? PAGE_STATUS : q->kind != NULL ? PAGE_KIND : PAGE];
	stmt_bind_int(st, 1, q->before > 0 ? q->before : INT64_MAX);
	stmt_bind_text(st, 2, q->status);
	stmt_bind_text(st, 3, q->kind);
	stmt_bind_text(st, 4, q->severity);
	stmt_bind_text(st, 5, q->resource);
	stmt_bind_int(st, 6, q->limit);
	if (key != NULL)
		stmt_bind_text(st, 7, key);
	return read_alerts(st, q->limit, a, rows, count, f);
}

enum err alert_firing(struct alert_store *s, const char *resource, int64_t rule, int64_t after, int64_t limit, struct arena *a,
	struct alert_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[resource != NULL ? FIRING_RESOURCE : rule != 0 ? FIRING_RULE : FIRING];
	if (resource != NULL)
		stmt_bind_text(st, 1, resource);
	else if (rule != 0)
		stmt_bind_int(st, 1, rule);
	stmt_bind_int(st, 2, after);
	stmt_bind_int(st, 3, limit);
	return read_alerts(st, limit, a, rows, count, f);
}

enum err alert_set_content(struct alert_store *s, int64_t id, const char *severity, const char *summary, const char *data, struct fault *f)
{
	struct stmt *st = s->st[SET_CONTENT];
	stmt_bind_int(st, 1, id);
	stmt_bind_text(st, 2, severity);
	stmt_bind_text(st, 3, summary);
	stmt_bind_text(st, 4, data);
	return stmt_run(st, f);
}

enum err alert_set_resolved(struct alert_store *s, int64_t id, int64_t at, struct fault *f)
{
	stmt_bind_int(s->st[SET_RESOLVED], 1, id);
	stmt_bind_int(s->st[SET_RESOLVED], 2, at);
	return stmt_run(s->st[SET_RESOLVED], f);
}

enum err alert_set_acknowledged(struct alert_store *s, int64_t id, int64_t at, const char *by, struct fault *f)
{
	stmt_bind_int(s->st[SET_ACKNOWLEDGED], 1, id);
	stmt_bind_int(s->st[SET_ACKNOWLEDGED], 2, at);
	stmt_bind_text(s->st[SET_ACKNOWLEDGED], 3, by);
	return stmt_run(s->st[SET_ACKNOWLEDGED], f);
}

enum err alert_count_firing(struct alert_store *s, int64_t *count, struct fault *f)
{
	return one_int(s->st[COUNT_FIRING], count, f);
}

enum err alert_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f)
{
	stmt_bind_int(s->st[RETAIN], 1, older_than);
	stmt_bind_int(s->st[RETAIN], 2, rows);
	return stmt_run(s->st[RETAIN], f);
}

/* ---- rules ---- */

static void read_rule(struct stmt *st, struct arena *a, struct alert_rule_row *row)
{
	*row = (struct alert_rule_row){
		.id = stmt_int(st, 0), .name = arena_strdup(a, stmt_text(st, 1)), .metric = arena_strdup(a, stmt_text(st, 2)),
		.op = arena_strdup(a, stmt_text(st, 3)), .filter = arena_strdup(a, stmt_text(st, 4)), .severity = arena_strdup(a, stmt_text(st, 5)),
		.threshold = stmt_real(st, 6), .for_ms = stmt_int(st, 7), .revision = stmt_int(st, 8), .created_at = stmt_int(st, 9),
		.updated_at = stmt_int(st, 10),
	};
}

static void bind_rule(struct stmt *st, const struct alert_rule_row *row)
{
	stmt_bind_text(st, 1, row->name);
	stmt_bind_text(st, 2, row->metric);
	stmt_bind_text(st, 3, row->op);
	stmt_bind_text(st, 4, row->filter);
	stmt_bind_text(st, 5, row->severity);
	stmt_bind_real(st, 6, row->threshold);
	stmt_bind_int(st, 7, row->for_ms);
	stmt_bind_int(st, 8, row->updated_at);
}

static enum err name_is_taken(enum err e, const struct alert_rule_row *row, struct fault *f)
{
	return e == ERR_CONFLICT ? fault_set(f, e, "/name", "there is a rule %.64s already", row->name) : e;
}

enum err rule_insert(struct alert_store *s, struct alert_rule_row *row, struct fault *f)
{
	bind_rule(s->st[RULE_INSERT], row);
	enum err e = stmt_run(s->st[RULE_INSERT], f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return name_is_taken(e, row, f);
}

enum err rule_get(struct alert_store *s, int64_t id, struct arena *a, struct alert_rule_row *row, struct fault *f)
{
	struct stmt *st = s->st[RULE_GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_rule(st, a, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such rule") : e;
}

enum err rule_update(struct alert_store *s, const struct alert_rule_row *row, struct fault *f)
{
	bind_rule(s->st[RULE_UPDATE], row);
	stmt_bind_int(s->st[RULE_UPDATE], 9, row->id);
	return name_is_taken(stmt_run(s->st[RULE_UPDATE], f), row, f);
}

enum err rule_delete(struct alert_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[RULE_DELETE], 1, id);
	return stmt_run(s->st[RULE_DELETE], f);
}

enum err rule_page(struct alert_store *s, int64_t after, int64_t limit, struct arena *a, struct alert_rule_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[RULE_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, after);
	stmt_bind_int(st, 2, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_rule(st, a, &(*rows)[(*count)++]);
	}
}

enum err rule_count(struct alert_store *s, int64_t *count, struct fault *f)
{
	return one_int(s->st[RULE_COUNT], count, f);
}
