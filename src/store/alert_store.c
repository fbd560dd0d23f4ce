#include "store/alert_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

enum {
	INSERT, FIND_OPEN, LAST_LIFE, GET, PAGE, PAGE_STATUS, PAGE_KIND, PAGE_RESOURCE, PAGE_COHORT, OPEN, OPEN_RESOURCE, OF_RULE, LAST_ID, SET_CONTENT,
	SET_STATE, DELETE, DETACH, SET_TOLD, SET_STALE, SET_ACKNOWLEDGED, COUNT_STATUS, RETAIN,
	NOTICE_INSERT, NOTICE_PAGE, NOTICE_DELETE, NOTICE_RETAIN,
	SILENCE_INSERT, SILENCE_GET, SILENCE_EXPIRE, SILENCE_PAGE, SILENCE_ACTIVE, SILENCE_RETAIN,
	HOLD_INSERT, HOLD_DELETE, HOLD_RELEASE, HOLD_OF_STAGE,
	RULE_INSERT, RULE_GET, RULE_UPDATE, RULE_END, RULE_ENDED, RULE_HIDE, RULE_DELETE, RULE_PAGE, RULE_COUNT, RULE_ENDINGS,
	PROGRESS_GET, PROGRESS_PUT,
	STATEMENTS
};

#define COLUMNS "id, kind, resource, cohort, metric, severity, status, summary, data, labels, rule, value, expected, score, seq, flaps," \
	" is_suppressed, is_stale, is_told, holds, life, pending_at, fired_at, resolved_at, resolved_by, acknowledged_at, acknowledged_by, description"
#define CONDITIONS                                                                                                        \
	" AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR kind = ?3) AND (?4 IS NULL OR severity = ?4)"                   \
	" AND (?5 IS NULL OR resource = ?5) AND (?8 IS NULL OR cohort = ?8) AND (?9 IS NULL OR metric = ?9) ORDER BY id DESC LIMIT ?6"
#define RULE_COLUMNS "id, name, metric, operator, filter, severity, threshold, for_ms, revision, created_at, updated_at, kind, subject, clear," \
	" keep_ms, stale_ms, samples_over, samples_of, is_damped, holds, labels, annotations, template, description"
#define SILENCE_COLUMNS "id, matchers, author, comment, begins_at, expires_at, created_at"

static const struct statement table[STATEMENTS] = {
	[INSERT] = {"INSERT INTO alert (kind, resource, cohort, metric, severity, status, summary, data, labels, rule, value, expected, score, seq, flaps,"
	            " is_suppressed, is_told, holds, life, pending_at, fired_at, description)"
	            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)", false},
	[FIND_OPEN] = {"SELECT " COLUMNS " FROM alert WHERE resource = ?2 AND kind = ?1 AND metric = ?4 AND coalesce(rule, 0) = ?3 AND status <> 'resolved'",
	               false},
	[LAST_LIFE] = {"SELECT life FROM alert WHERE resource = ?2 AND +kind = ?1 AND +metric = ?4 AND coalesce(rule, 0) = ?3 ORDER BY id DESC LIMIT 1", false},
	[GET] = {"SELECT " COLUMNS " FROM alert WHERE id = ?1", false},
	[PAGE] = {"SELECT " COLUMNS " FROM alert WHERE id < ?1" CONDITIONS, false},
	[PAGE_STATUS] = {"SELECT " COLUMNS " FROM alert WHERE status = ?7 AND id < ?1" CONDITIONS, false},
	[PAGE_KIND] = {"SELECT " COLUMNS " FROM alert WHERE kind = ?7 AND id < ?1" CONDITIONS, false},
	[PAGE_RESOURCE] = {"SELECT " COLUMNS " FROM alert WHERE resource = ?7 AND id < ?1" CONDITIONS, false},
	[PAGE_COHORT] = {"SELECT " COLUMNS " FROM alert WHERE cohort = ?7 AND cohort <> '' AND id < ?1" CONDITIONS, false},
	[OPEN] = {"SELECT " COLUMNS " FROM alert WHERE status <> 'resolved' AND id > ?2 ORDER BY id LIMIT ?3", false},
	[OPEN_RESOURCE] = {"SELECT " COLUMNS " FROM alert WHERE resource = ?1 AND +status <> 'resolved' AND id > ?2 ORDER BY id LIMIT ?3", false},
	[OF_RULE] = {"SELECT " COLUMNS " FROM alert WHERE rule = ?1 AND status = ?2 AND id < ?4 ORDER BY id LIMIT ?3", false},
	[LAST_ID] = {"SELECT id FROM alert WHERE id > 0 ORDER BY id DESC LIMIT 1", false},
	[SET_CONTENT] = {"UPDATE alert SET severity = ?2, summary = ?3, data = ?4, value = ?5, expected = ?6, score = ?7, description = ?8 WHERE id = ?1", false},
	[SET_STATE] = {"UPDATE alert SET status = ?2, seq = ?3, flaps = ?4, is_suppressed = ?5, is_told = ?6, life = ?7, fired_at = ?8, resolved_at = ?9,"
	               " resolved_by = ?10 WHERE id = ?1", false},
	[DELETE] = {"DELETE FROM alert WHERE id = ?1", false},
	[DETACH] = {"UPDATE alert SET rule = NULL WHERE id IN (SELECT id FROM alert WHERE rule = ?1 LIMIT ?2)", false},
	[SET_TOLD] = {"UPDATE alert SET is_told = 1, is_suppressed = 0 WHERE id = ?1", false},
	[SET_STALE] = {"UPDATE alert SET is_stale = ?2 WHERE id = ?1", false},
	[SET_ACKNOWLEDGED] = {"UPDATE alert SET acknowledged_at = ?2, acknowledged_by = ?3, seq = seq + 1 WHERE id = ?1", false},
	[COUNT_STATUS] = {"SELECT count(*) FROM alert WHERE status = ?1", false},
	[RETAIN] = {"DELETE FROM alert WHERE id IN (SELECT id FROM alert INDEXED BY alert_resolved WHERE status = 'resolved'"
	            " AND resolved_at < ?1 ORDER BY resolved_at LIMIT ?2)", false}, /* or all that are resolved would be sorted each time */
	[NOTICE_INSERT] = {"INSERT INTO notice (alert, seq, transition, at, group_key) VALUES (?1, ?2, ?3, ?4, ?5)", false},
	[NOTICE_PAGE] = {"SELECT id, alert, seq, transition, at, group_key FROM notice WHERE id > ?1 ORDER BY id LIMIT ?2", false},
	[NOTICE_DELETE] = {"DELETE FROM notice WHERE id = ?1", false},
	[NOTICE_RETAIN] = {"DELETE FROM notice WHERE id IN (SELECT id FROM (SELECT id, at FROM notice WHERE id > 0 ORDER BY id LIMIT ?2) WHERE at < ?1)", false},
	[SILENCE_INSERT] = {"INSERT INTO silence (matchers, author, comment, begins_at, expires_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", false},
	[SILENCE_GET] = {"SELECT " SILENCE_COLUMNS " FROM silence WHERE id = ?1", false},
	[SILENCE_EXPIRE] = {"UPDATE silence SET begins_at = min(begins_at, ?2), expires_at = ?2 WHERE id = ?1", false},
	[SILENCE_PAGE] = {"SELECT " SILENCE_COLUMNS " FROM silence WHERE id < ?1 ORDER BY id DESC LIMIT ?2", false},
	[SILENCE_ACTIVE] = {"SELECT " SILENCE_COLUMNS " FROM silence WHERE expires_at > ?1 ORDER BY expires_at LIMIT ?2", false},
	[SILENCE_RETAIN] = {"DELETE FROM silence WHERE id IN (SELECT id FROM silence WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)", false},
	[HOLD_INSERT] = {"INSERT OR IGNORE INTO stage_hold (rollout, stage, alert) VALUES (?1, ?2, ?3)", false},
	[HOLD_DELETE] = {"DELETE FROM stage_hold WHERE alert = ?1", false},
	[HOLD_RELEASE] = {"DELETE FROM stage_hold WHERE rollout = ?1 AND stage = ?2", false},
	[HOLD_OF_STAGE] = {"SELECT alert FROM stage_hold WHERE rollout = ?1 AND stage = ?2 ORDER BY alert LIMIT 1", false},
	[RULE_INSERT] = {"INSERT INTO alert_rule (name, metric, operator, filter, severity, threshold, for_ms, created_at, updated_at, kind, subject, clear,"
	                 " keep_ms, stale_ms, samples_over, samples_of, is_damped, holds, labels, annotations, template, description)"
	                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)", false},
	[RULE_GET] = {"SELECT " RULE_COLUMNS " FROM alert_rule WHERE id = ?1 AND deleted_at IS NULL", false},
	[RULE_UPDATE] = {"UPDATE alert_rule SET name = ?1, metric = ?2, operator = ?3, filter = ?4, severity = ?5, threshold = ?6, for_ms = ?7,"
	                 " updated_at = ?8, revision = revision + 1, kind = ?10, subject = ?11, clear = ?12, keep_ms = ?13, stale_ms = ?14, samples_over = ?15,"
	                 " samples_of = ?16, is_damped = ?17, holds = ?18, labels = ?19, annotations = ?20, template = ?21, description = ?22 WHERE id = ?9", false},
	[RULE_END] = {"UPDATE alert_rule SET ended_below = ?2 WHERE id = ?1", false},
	[RULE_ENDED] = {"UPDATE alert_rule SET ended_below = 0 WHERE id = ?1", false},
	/* its name is free: no name is as long as what it has now */
	[RULE_HIDE] = {"UPDATE alert_rule SET deleted_at = ?2, name = 'deleted ' || id || hex(zeroblob(64)) WHERE id = ?1", false},
	[RULE_DELETE] = {"DELETE FROM alert_rule WHERE id = ?1", false},
	[RULE_PAGE] = {"SELECT " RULE_COLUMNS " FROM alert_rule WHERE id > ?1 AND deleted_at IS NULL ORDER BY id LIMIT ?2", false},
	[RULE_COUNT] = {"SELECT count(*) FROM alert_rule WHERE deleted_at IS NULL", true}, /* a few hundred at most, when one is made */
	[RULE_ENDINGS] = {"SELECT id, ended_below, deleted_at FROM alert_rule WHERE ended_below > 0 ORDER BY id", true}, /* of a few hundred rules */
	[PROGRESS_GET] = {"SELECT batch, reports, at FROM rule_progress WHERE one = 1", false},
	[PROGRESS_PUT] = {"INSERT INTO rule_progress (one, batch, reports, at) VALUES (1, ?1, ?2, ?3)"
	                  " ON CONFLICT (one) DO UPDATE SET batch = excluded.batch, reports = excluded.reports, at = excluded.at", false},
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

/* ---- alerts ---- */

static double real_or_nan(struct stmt *st, int col)
{
	return stmt_is_null(st, col) ? NAN : stmt_real(st, col);
}

static void bind_finite(struct stmt *st, int at, double v)
{
	if (isfinite(v))
		stmt_bind_real(st, at, v);
	else
		stmt_bind_null(st, at);
}

static void bind_time(struct stmt *st, int at, int64_t v)
{
	if (v != 0)
		stmt_bind_int(st, at, v);
	else
		stmt_bind_null(st, at);
}

static void read_life(struct stmt *st, int col, struct alert_memory *out, bool *has)
{
	size_t len;
	const void *data = stmt_blob(st, col, &len);
	*has = data != NULL && len == sizeof *out;
	if (*has)
		memcpy(out, data, sizeof *out);
}

static void read_alert(struct stmt *st, struct arena *a, struct alert_row *row)
{
	*row = (struct alert_row){
		.id = stmt_int(st, 0), .kind = arena_strdup(a, stmt_text(st, 1)), .resource = arena_strdup(a, stmt_text(st, 2)),
		.cohort = arena_strdup(a, stmt_text(st, 3)), .metric = arena_strdup(a, stmt_text(st, 4)), .severity = arena_strdup(a, stmt_text(st, 5)),
		.status = arena_strdup(a, stmt_text(st, 6)), .summary = arena_strdup(a, stmt_text(st, 7)), .data = arena_strdup(a, stmt_text(st, 8)),
		.labels = arena_strdup(a, stmt_text(st, 9)), .rule = stmt_int(st, 10), .value = real_or_nan(st, 11), .expected = real_or_nan(st, 12),
		.score = real_or_nan(st, 13), .seq = stmt_int(st, 14), .flaps = stmt_int(st, 15), .is_suppressed = stmt_int(st, 16) != 0,
		.is_stale = stmt_int(st, 17) != 0, .is_told = stmt_int(st, 18) != 0, .holds = stmt_int(st, 19) != 0, .pending_at = stmt_int(st, 21),
		.fired_at = stmt_int(st, 22), .resolved_at = stmt_int(st, 23), .resolved_by = arena_strdup(a, stmt_text(st, 24)),
		.acknowledged_at = stmt_int(st, 25), .acknowledged_by = arena_strdup(a, stmt_text(st, 26)),
		.description = arena_strdup(a, stmt_text(st, 27)),
	};
	read_life(st, 20, &row->memory, &row->has_memory);
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

static void bind_rule_id(struct stmt *st, int at, int64_t rule)
{
	bind_time(st, at, rule); /* 0: NULL */
}

enum err alert_insert(struct alert_store *s, struct alert_row *row, struct fault *f)
{
	struct stmt *st = s->st[INSERT];
	const char *const texts[] = {row->kind, row->resource, row->cohort, row->metric, row->severity, row->status, row->summary, row->data, row->labels};
	for (int i = 0; i < 9; i++)
		stmt_bind_text(st, i + 1, texts[i]);
	bind_rule_id(st, 10, row->rule);
	bind_finite(st, 11, row->value);
	bind_finite(st, 12, row->expected);
	bind_finite(st, 13, row->score);
	stmt_bind_int(st, 14, row->seq);
	stmt_bind_int(st, 15, row->flaps);
	stmt_bind_int(st, 16, row->is_suppressed);
	stmt_bind_int(st, 17, row->is_told);
	stmt_bind_int(st, 18, row->holds);
	stmt_bind_blob(st, 19, &row->memory, sizeof row->memory);
	bind_time(st, 20, row->pending_at);
	stmt_bind_int(st, 21, row->fired_at);
	stmt_bind_text(st, 22, row->description != NULL ? row->description : "");
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

static void bind_key(struct stmt *st, const struct alert_key *k)
{
	stmt_bind_text(st, 1, k->kind);
	stmt_bind_text(st, 2, k->resource);
	stmt_bind_int(st, 3, k->rule);
	stmt_bind_text(st, 4, k->metric);
}

enum err alert_find_open(struct alert_store *s, const struct alert_key *k, struct arena *a, struct alert_row *row, bool *found, struct fault *f)
{
	struct stmt *st = s->st[FIND_OPEN];
	bind_key(st, k);
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_alert(st, a, row);
	stmt_reset(st);
	return e;
}

enum err alert_last_memory(struct alert_store *s, const struct alert_key *k, struct alert_memory *out, bool *found, struct fault *f)
{
	struct stmt *st = s->st[LAST_LIFE];
	bind_key(st, k);
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_life(st, 0, out, found);
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
	const char *key = NULL;
	struct stmt *st = s->st[PAGE];
	if ((key = q->resource) != NULL)
		st = s->st[PAGE_RESOURCE];
	else if ((key = q->cohort) != NULL)
		st = s->st[PAGE_COHORT];
	else if ((key = q->status) != NULL)
		st = s->st[PAGE_STATUS];
	else if ((key = q->kind) != NULL)
		st = s->st[PAGE_KIND];
	stmt_bind_int(st, 1, q->before > 0 ? q->before : INT64_MAX);
	stmt_bind_text(st, 2, q->status);
	stmt_bind_text(st, 3, q->kind);
	stmt_bind_text(st, 4, q->severity);
	stmt_bind_text(st, 5, q->resource);
	stmt_bind_int(st, 6, q->limit);
	if (key != NULL)
		stmt_bind_text(st, 7, key);
	stmt_bind_text(st, 8, q->cohort);
	stmt_bind_text(st, 9, q->metric);
	return read_alerts(st, q->limit, a, rows, count, f);
}

enum err alert_open(struct alert_store *s, const char *resource, int64_t after, int64_t limit, struct arena *a, struct alert_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[resource != NULL ? OPEN_RESOURCE : OPEN];
	if (resource != NULL)
		stmt_bind_text(st, 1, resource);
	stmt_bind_int(st, 2, after);
	stmt_bind_int(st, 3, limit);
	return read_alerts(st, limit, a, rows, count, f);
}

enum err alert_of_rule(struct alert_store *s, int64_t rule, const char *status, int64_t below, int64_t limit, struct arena *a, struct alert_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[OF_RULE];
	stmt_bind_int(st, 1, rule);
	stmt_bind_text(st, 2, status);
	stmt_bind_int(st, 3, limit);
	stmt_bind_int(st, 4, below);
	return read_alerts(st, limit, a, rows, count, f);
}

enum err alert_last_id(struct alert_store *s, int64_t *id, struct fault *f)
{
	*id = 0;
	return stmt_read_int(s->st[LAST_ID], id, f);
}

enum err alert_detach(struct alert_store *s, int64_t rule, int64_t limit, int64_t *count, struct fault *f)
{
	stmt_bind_int(s->st[DETACH], 1, rule);
	stmt_bind_int(s->st[DETACH], 2, limit);
	enum err e = stmt_run(s->st[DETACH], f);
	*count = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

enum err alert_set_content(struct alert_store *s, const struct alert_row *row, struct fault *f)
{
	struct stmt *st = s->st[SET_CONTENT];
	stmt_bind_int(st, 1, row->id);
	stmt_bind_text(st, 2, row->severity);
	stmt_bind_text(st, 3, row->summary);
	stmt_bind_text(st, 4, row->data);
	bind_finite(st, 5, row->value);
	bind_finite(st, 6, row->expected);
	bind_finite(st, 7, row->score);
	stmt_bind_text(st, 8, row->description != NULL ? row->description : "");
	return stmt_run(st, f);
}

enum err alert_set_state(struct alert_store *s, const struct alert_row *row, struct fault *f)
{
	struct stmt *st = s->st[SET_STATE];
	stmt_bind_int(st, 1, row->id);
	stmt_bind_text(st, 2, row->status);
	stmt_bind_int(st, 3, row->seq);
	stmt_bind_int(st, 4, row->flaps);
	stmt_bind_int(st, 5, row->is_suppressed);
	stmt_bind_int(st, 6, row->is_told);
	stmt_bind_blob(st, 7, &row->memory, sizeof row->memory);
	stmt_bind_int(st, 8, row->fired_at);
	bind_time(st, 9, row->resolved_at);
	stmt_bind_text(st, 10, row->resolved_by);
	return stmt_run(st, f);
}

enum err alert_delete(struct alert_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[DELETE], 1, id);
	return stmt_run(s->st[DELETE], f);
}

enum err alert_set_told(struct alert_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[SET_TOLD], 1, id);
	return stmt_run(s->st[SET_TOLD], f);
}

enum err alert_set_stale(struct alert_store *s, int64_t id, bool is_stale, struct fault *f)
{
	stmt_bind_int(s->st[SET_STALE], 1, id);
	stmt_bind_int(s->st[SET_STALE], 2, is_stale);
	return stmt_run(s->st[SET_STALE], f);
}

enum err alert_set_acknowledged(struct alert_store *s, int64_t id, int64_t at, const char *by, struct fault *f)
{
	stmt_bind_int(s->st[SET_ACKNOWLEDGED], 1, id);
	stmt_bind_int(s->st[SET_ACKNOWLEDGED], 2, at);
	stmt_bind_text(s->st[SET_ACKNOWLEDGED], 3, by);
	return stmt_run(s->st[SET_ACKNOWLEDGED], f);
}

enum err alert_count(struct alert_store *s, const char *status, int64_t *count, struct fault *f)
{
	stmt_bind_text(s->st[COUNT_STATUS], 1, status);
	return stmt_read_int(s->st[COUNT_STATUS], count, f);
}

static enum err retain(struct stmt *st, int64_t older_than, int64_t rows, struct fault *f)
{
	stmt_bind_int(st, 1, older_than);
	stmt_bind_int(st, 2, rows);
	return stmt_run(st, f);
}

enum err alert_retain(struct alert_store *s, int64_t older_than, int64_t rows, int64_t *count, struct fault *f)
{
	enum err e = retain(s->st[RETAIN], older_than, rows, f);
	*count = e == ERR_OK ? db_changes(s->db) : 0;
	return e;
}

/* ---- notices ---- */

enum err notice_insert(struct alert_store *s, struct notice_row *row, struct fault *f)
{
	struct stmt *st = s->st[NOTICE_INSERT];
	stmt_bind_int(st, 1, row->alert);
	stmt_bind_int(st, 2, row->seq);
	stmt_bind_text(st, 3, row->transition);
	stmt_bind_int(st, 4, row->at);
	stmt_bind_text(st, 5, row->group_key);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err notice_page(struct alert_store *s, int64_t after, int64_t limit, struct arena *a, struct notice_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[NOTICE_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, after);
	stmt_bind_int(st, 2, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		(*rows)[(*count)++] = (struct notice_row){
			.id = stmt_int(st, 0), .alert = stmt_int(st, 1), .seq = stmt_int(st, 2), .transition = arena_strdup(a, stmt_text(st, 3)),
			.at = stmt_int(st, 4), .group_key = arena_strdup(a, stmt_text(st, 5)),
		};
	}
}

enum err notice_delete(struct alert_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[NOTICE_DELETE], 1, id);
	return stmt_run(s->st[NOTICE_DELETE], f);
}

enum err notice_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f)
{
	return retain(s->st[NOTICE_RETAIN], older_than, rows, f);
}

/* ---- silences ---- */

static void read_silence(struct stmt *st, struct arena *a, struct silence_row *row)
{
	*row = (struct silence_row){
		.id = stmt_int(st, 0), .matchers = arena_strdup(a, stmt_text(st, 1)), .author = arena_strdup(a, stmt_text(st, 2)),
		.comment = arena_strdup(a, stmt_text(st, 3)), .begins_at = stmt_int(st, 4), .expires_at = stmt_int(st, 5), .created_at = stmt_int(st, 6),
	};
}

static enum err read_silences(struct stmt *st, int64_t limit, struct arena *a, struct silence_row **rows, size_t *count, struct fault *f)
{
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 2, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_silence(st, a, &(*rows)[(*count)++]);
	}
}

enum err silence_insert(struct alert_store *s, struct silence_row *row, struct fault *f)
{
	struct stmt *st = s->st[SILENCE_INSERT];
	stmt_bind_text(st, 1, row->matchers);
	stmt_bind_text(st, 2, row->author);
	stmt_bind_text(st, 3, row->comment);
	stmt_bind_int(st, 4, row->begins_at);
	stmt_bind_int(st, 5, row->expires_at);
	stmt_bind_int(st, 6, row->created_at);
	enum err e = stmt_run(st, f);
	if (e == ERR_OK)
		row->id = db_last_id(s->db);
	return e;
}

enum err silence_get(struct alert_store *s, int64_t id, struct arena *a, struct silence_row *row, struct fault *f)
{
	struct stmt *st = s->st[SILENCE_GET];
	bool found;
	stmt_bind_int(st, 1, id);
	enum err e = stmt_step(st, &found, f);
	if (e == ERR_OK && found)
		read_silence(st, a, row);
	stmt_reset(st);
	return e == ERR_OK && !found ? fault_set(f, ERR_NOT_FOUND, "", "no such silence") : e;
}

enum err silence_expire(struct alert_store *s, int64_t id, int64_t at, struct fault *f)
{
	stmt_bind_int(s->st[SILENCE_EXPIRE], 1, id);
	stmt_bind_int(s->st[SILENCE_EXPIRE], 2, at);
	return stmt_run(s->st[SILENCE_EXPIRE], f);
}

enum err silence_page(struct alert_store *s, int64_t before, int64_t limit, struct arena *a, struct silence_row **rows, size_t *count, struct fault *f)
{
	stmt_bind_int(s->st[SILENCE_PAGE], 1, before > 0 ? before : INT64_MAX);
	return read_silences(s->st[SILENCE_PAGE], limit, a, rows, count, f);
}

enum err silence_active(struct alert_store *s, int64_t now, int64_t limit, struct arena *a, struct silence_row **rows, size_t *count, struct fault *f)
{
	stmt_bind_int(s->st[SILENCE_ACTIVE], 1, now);
	return read_silences(s->st[SILENCE_ACTIVE], limit, a, rows, count, f);
}

enum err silence_retain(struct alert_store *s, int64_t older_than, int64_t rows, struct fault *f)
{
	return retain(s->st[SILENCE_RETAIN], older_than, rows, f);
}

/* ---- stages that are held ---- */

enum err hold_insert(struct alert_store *s, int64_t rollout, int64_t stage, int64_t alert, struct fault *f)
{
	struct stmt *st = s->st[HOLD_INSERT];
	stmt_bind_int(st, 1, rollout);
	stmt_bind_int(st, 2, stage);
	stmt_bind_int(st, 3, alert);
	return stmt_run(st, f);
}

enum err hold_delete(struct alert_store *s, int64_t alert, struct fault *f)
{
	stmt_bind_int(s->st[HOLD_DELETE], 1, alert);
	return stmt_run(s->st[HOLD_DELETE], f);
}

enum err hold_release(struct alert_store *s, int64_t rollout, int64_t stage, struct fault *f)
{
	stmt_bind_int(s->st[HOLD_RELEASE], 1, rollout);
	stmt_bind_int(s->st[HOLD_RELEASE], 2, stage);
	return stmt_run(s->st[HOLD_RELEASE], f);
}

enum err hold_of_stage(struct alert_store *s, int64_t rollout, int64_t stage, int64_t *alert, struct fault *f)
{
	*alert = 0;
	stmt_bind_int(s->st[HOLD_OF_STAGE], 1, rollout);
	stmt_bind_int(s->st[HOLD_OF_STAGE], 2, stage);
	return stmt_read_int(s->st[HOLD_OF_STAGE], alert, f);
}

/* ---- rules ---- */

static void read_rule(struct stmt *st, struct arena *a, struct alert_rule_row *row)
{
	*row = (struct alert_rule_row){
		.id = stmt_int(st, 0), .name = arena_strdup(a, stmt_text(st, 1)), .metric = arena_strdup(a, stmt_text(st, 2)),
		.op = arena_strdup(a, stmt_text(st, 3)), .filter = arena_strdup(a, stmt_text(st, 4)), .severity = arena_strdup(a, stmt_text(st, 5)),
		.threshold = stmt_real(st, 6), .for_ms = stmt_int(st, 7), .revision = stmt_int(st, 8), .created_at = stmt_int(st, 9),
		.updated_at = stmt_int(st, 10), .kind = arena_strdup(a, stmt_text(st, 11)), .subject = arena_strdup(a, stmt_text(st, 12)),
		.clear = real_or_nan(st, 13), .keep_ms = stmt_int(st, 14), .stale_ms = stmt_int(st, 15), .samples_over = stmt_int(st, 16),
		.samples_of = stmt_int(st, 17), .is_damped = stmt_int(st, 18) != 0, .holds = stmt_int(st, 19) != 0,
		.labels = arena_strdup(a, stmt_text(st, 20)), .annotations = arena_strdup(a, stmt_text(st, 21)), .summary = arena_strdup(a, stmt_text(st, 22)),
		.description = arena_strdup(a, stmt_text(st, 23)),
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
	stmt_bind_text(st, 10, row->kind);
	stmt_bind_text(st, 11, row->subject);
	bind_finite(st, 12, row->clear);
	stmt_bind_int(st, 13, row->keep_ms);
	stmt_bind_int(st, 14, row->stale_ms);
	stmt_bind_int(st, 15, row->samples_over);
	stmt_bind_int(st, 16, row->samples_of);
	stmt_bind_int(st, 17, row->is_damped);
	stmt_bind_int(st, 18, row->holds);
	stmt_bind_text(st, 19, row->labels);
	stmt_bind_text(st, 20, row->annotations);
	stmt_bind_text(st, 21, row->summary);
	stmt_bind_text(st, 22, row->description);
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

enum err rule_end(struct alert_store *s, int64_t id, int64_t below, struct fault *f)
{
	stmt_bind_int(s->st[RULE_END], 1, id);
	stmt_bind_int(s->st[RULE_END], 2, below);
	return stmt_run(s->st[RULE_END], f);
}

enum err rule_ended(struct alert_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[RULE_ENDED], 1, id);
	return stmt_run(s->st[RULE_ENDED], f);
}

enum err rule_hide(struct alert_store *s, int64_t id, int64_t at, struct fault *f)
{
	stmt_bind_int(s->st[RULE_HIDE], 1, id);
	stmt_bind_int(s->st[RULE_HIDE], 2, at);
	return stmt_run(s->st[RULE_HIDE], f);
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
	return stmt_read_int(s->st[RULE_COUNT], count, f);
}

enum err rule_endings(struct alert_store *s, struct arena *a, struct rule_ending_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[RULE_ENDINGS];
	size_t room = 0;
	*rows = NULL;
	*count = 0;
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		if (*count == room) {
			struct rule_ending_row *more = arena_array(a, room + 64, sizeof *more);
			if (room > 0)
				memcpy(more, *rows, room * sizeof *more);
			*rows = more;
			room += 64;
		}
		(*rows)[(*count)++] = (struct rule_ending_row){.rule = stmt_int(st, 0), .below = stmt_int(st, 1), .is_deleted = !stmt_is_null(st, 2)};
	}
}

/* ---- how far the log was compared with rules ---- */

enum err rule_progress_get(struct alert_store *s, struct rule_progress *out, bool *found, struct fault *f)
{
	struct stmt *st = s->st[PROGRESS_GET];
	*out = (struct rule_progress){0};
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		*out = (struct rule_progress){stmt_int(st, 0), stmt_int(st, 1), stmt_int(st, 2)};
	stmt_reset(st);
	return e;
}

enum err rule_progress_put(struct alert_store *s, const struct rule_progress *p, struct fault *f)
{
	struct stmt *st = s->st[PROGRESS_PUT];
	stmt_bind_int(st, 1, p->batch);
	stmt_bind_int(st, 2, p->reports);
	stmt_bind_int(st, 3, p->at);
	return stmt_run(st, f);
}
