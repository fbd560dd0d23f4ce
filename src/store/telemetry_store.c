#include "store/telemetry_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/db.h"
#include "store/regroup.h"
#include "store/rollup.h"
#include "store/telemetry_sql.h"

#define MINUTE_GRACE_MS 2000   /* a batch takes this long from its last report to its commit, at most, when nothing fails */
#define ROLLUP_ROWS_MAX 4000   /* of the open minute, with sketches 64 MB; more are written before the minute ends */
#define RAW_STEP 64            /* batches deleted in one step */

#define ROLLUP_UPSERT                                                                                                  \
	" (bucket, metric, version, reports, n, sum, min, max, sketch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"     \
	" ON CONFLICT (bucket, metric, version) DO UPDATE SET reports = reports + excluded.reports, n = n + excluded.n,"\
	" sum = sum + excluded.sum, min = min(min, excluded.min), max = max(max, excluded.max), sketch = sketch_add(sketch, excluded.sketch)"

enum {
	S_LAST, S_GET, S_SET, S_SYMBOL_ADD, S_SYMBOLS, S_PAGE_PUT, S_PAGE_DELETE, S_PAGES, S_STATES, S_STATES_DROP, S_RAW_ADD, S_RAW_AFTER, S_RAW_OLDEST,
	S_RAW_DELETE, S_MINUTE_ADD, S_MINUTE_FIRST, S_MINUTE_DELETE, S_HOUR_ADD, S_HOUR_PART, S_HOUR_FIRST, S_HOUR_DELETE, S_METRIC_AFTER, S_SIZE,
	S_DETECT_PUT, S_DETECTS, S_VIEW_PUT, S_VIEWS, S_VIEW_DROP, S_EVENT_PUT, S_EVENT_DELETE,
	S_COUNT
};
static const struct statement statements[S_COUNT] = {
	[S_LAST] = {"SELECT coalesce(max(id), 0) FROM raw", false},
	[S_GET] = {"SELECT value FROM progress WHERE name = ?1", false},
	[S_SET] = {"UPDATE progress SET value = ?2 WHERE name = ?1", false},
	[S_SYMBOL_ADD] = {"INSERT INTO symbol (id, kind, model, text) VALUES (?1, ?2, ?3, ?4)", false},
	[S_SYMBOLS] = {"SELECT id, kind, model, text FROM symbol ORDER BY id", true}, /* at start */
	[S_PAGE_PUT] = {"INSERT INTO state_page (id, batch, data) VALUES (?1, ?2, ?3)", false},
	[S_PAGE_DELETE] = {"DELETE FROM state_page WHERE id = ?1", false},
	[S_PAGES] = {"SELECT id, batch, data FROM state_page WHERE id % 2 = ?1 ORDER BY id", true}, /* at start */
	[S_STATES] = {"SELECT device, batch, state FROM device_state ORDER BY device", true}, /* at the start of an older database */
	[S_STATES_DROP] = {"DELETE FROM device_state", true},
	[S_RAW_ADD] = {"INSERT INTO raw (id, first_ms, last_ms, reports, data) VALUES (?1, ?2, ?3, ?4, ?5)", false},
	[S_RAW_AFTER] = {"SELECT id, first_ms, last_ms, reports, data FROM raw WHERE id > ?1 ORDER BY id", false},
	[S_RAW_OLDEST] = {"SELECT id, last_ms FROM raw WHERE id > 0 ORDER BY id LIMIT 1", false},
	[S_RAW_DELETE] = {"DELETE FROM raw WHERE id BETWEEN ?1 AND ?2 AND last_ms < ?3", false},
	[S_MINUTE_ADD] = {"INSERT INTO fleet_minute" ROLLUP_UPSERT, false},
	[S_MINUTE_FIRST] = {"SELECT bucket, metric FROM fleet_minute WHERE bucket >= ?1 ORDER BY bucket, metric LIMIT 1", false},
	[S_MINUTE_DELETE] = {"DELETE FROM fleet_minute WHERE bucket = ?1 AND metric = ?2", false},
	[S_HOUR_ADD] = {"INSERT INTO fleet_hour" ROLLUP_UPSERT, false},
	[S_HOUR_PART] = {"WITH RECURSIVE minutes (at) AS (VALUES (?1) UNION ALL SELECT at + 60000 FROM minutes WHERE at + 60000 < ?1 + 3600000)"
	                 " INSERT OR REPLACE INTO fleet_hour (bucket, metric, version, reports, n, sum, min, max, sketch)"
	                 " SELECT ?1, ?2, version, sum(reports), sum(n), sum(sum), CASE WHEN count(min) = count(*) THEN min(min) END,"
	                 " CASE WHEN count(max) = count(*) THEN max(max) END, sketch_merge(sketch)"
	                 " FROM minutes CROSS JOIN fleet_minute WHERE bucket = at AND metric = ?2 GROUP BY version", true}, /* of the 60 generated rows */
	[S_HOUR_FIRST] = {"SELECT bucket, metric FROM fleet_hour WHERE bucket >= ?1 ORDER BY bucket, metric LIMIT 1", false},
	[S_HOUR_DELETE] = {"DELETE FROM fleet_hour WHERE bucket = ?1 AND metric = ?2", false},
	[S_METRIC_AFTER] = {"SELECT id FROM symbol WHERE id > ?1 AND kind = 'metric' ORDER BY id LIMIT 1", false},
	[S_SIZE] = {"SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count),"
	            " (SELECT page_size FROM pragma_page_size)", true}, /* of the pragmas' single rows */
	[S_DETECT_PUT] = {"INSERT INTO detect_state (id, batch, state) VALUES (?1, ?2, ?3)"
	                  " ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, state = excluded.state", false},
	[S_DETECTS] = {"SELECT id, batch, state FROM detect_state ORDER BY id", true}, /* at start */
	[S_VIEW_PUT] = {"INSERT OR REPLACE INTO detect_view (cohort, batch, view) VALUES (?1, ?2, ?3)", false},
	[S_VIEWS] = {"SELECT cohort, batch, view FROM detect_view ORDER BY cohort, batch", true}, /* at start */
	[S_VIEW_DROP] = {"DELETE FROM detect_view WHERE batch < (SELECT max(v.batch) FROM detect_view AS v"
	                 " WHERE v.cohort = detect_view.cohort AND v.batch <= ?1)", true}, /* some rows a cohort, at the end of a round */
	[S_EVENT_PUT] = {"INSERT OR IGNORE INTO anomaly (at, device, metric, score, value) VALUES (?1, ?2, ?3, ?4, ?5)", false},
	[S_EVENT_DELETE] = {"DELETE FROM anomaly WHERE at < ?1", false},
};

struct telemetry_store {
	struct db *db;
	struct stmt *s[S_COUNT];
	struct rollup *open; /* batches above rolled_batch */
	struct regroup *regroup;
	bool has_old_states; /* there were rows of device_state at the start */
	int64_t last_batch, rolled_batch, states_batch, detect_batch, hours_before;
	int64_t hour, hour_metric; /* the hour that is being rolled up, and the metric up to which it is */
};

/* ---- small statements ---- */

static enum err get_int(struct telemetry_store *s, int statement, const char *name, int64_t *value, struct fault *f)
{
	bool row = false;
	if (name != NULL)
		stmt_bind_text(s->s[statement], 1, name);
	enum err e = stmt_step(s->s[statement], &row, f);
	if (e == ERR_OK && row)
		*value = stmt_int(s->s[statement], 0);
	stmt_reset(s->s[statement]);
	return e;
}

static enum err set_progress(struct telemetry_store *s, const char *name, int64_t value, struct fault *f)
{
	stmt_bind_text(s->s[S_SET], 1, name);
	stmt_bind_int(s->s[S_SET], 2, value);
	return stmt_run(s->s[S_SET], f);
}

/* ---- opening ---- */

static void reopen_minute(void *ctx, const struct stored_batch *b)
{
	struct telemetry_store *s = ctx;
	rollup_add(s->open, b->data, b->len, b->first_ms);
}

static enum err load(struct telemetry_store *s, struct fault *f)
{
	enum err e = get_int(s, S_LAST, NULL, &s->last_batch, f);
	if (e == ERR_OK)
		e = get_int(s, S_GET, "rolled_batch", &s->rolled_batch, f);
	if (e == ERR_OK)
		e = get_int(s, S_GET, "states_batch", &s->states_batch, f);
	if (e == ERR_OK)
		e = get_int(s, S_GET, "detect_batch", &s->detect_batch, f);
	if (e == ERR_OK)
		e = get_int(s, S_GET, "hours_before", &s->hours_before, f);
	if (e == ERR_OK)
		e = telemetry_store_each_batch(s, s->rolled_batch, reopen_minute, s, f);
	return e;
}

enum err telemetry_store_open(const char *path, struct telemetry_store **out, struct fault *f)
{
	*out = NULL;
	struct telemetry_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->open = rollup_new();
	enum err e = db_open(path, migrations_telemetry, false, &s->db, f);
	if (e == ERR_OK)
		e = telemetry_sql_register(s->db, NULL, f);
	if (e == ERR_OK)
		e = db_prepare(s->db, statements, S_COUNT, s->s, f);
	if (e == ERR_OK)
		e = regroup_open(s->db, 0, &s->regroup, f);
	if (e == ERR_OK)
		e = load(s, f);
	if (e != ERR_OK) {
		telemetry_store_close(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void telemetry_store_close(struct telemetry_store *s)
{
	if (s == NULL)
		return;
	regroup_free(s->regroup);
	db_close(s->db);
	rollup_free(s->open);
	free(s);
}

/* ---- writing ---- */

static enum err write_rollup_row(struct stmt *st, const struct rollup_row *r, int64_t bucket, struct fault *f)
{
	uint8_t bytes[DDSKETCH_ENCODED_MAX];
	stmt_bind_int(st, 1, bucket);
	stmt_bind_int(st, 2, r->metric);
	stmt_bind_int(st, 3, r->version);
	stmt_bind_int(st, 4, r->reports);
	stmt_bind_int(st, 5, r->n);
	stmt_bind_real(st, 6, r->sum);
	if (r->has_values) {
		stmt_bind_real(st, 7, r->min);
		stmt_bind_real(st, 8, r->max);
	}
	if (r->sketch != NULL)
		stmt_bind_blob(st, 9, bytes, ddsketch_encode(r->sketch, bytes));
	return stmt_run(st, f);
}

/* Writes the open minute inside the running transaction; the caller clears it once that is committed. */
static enum err flush_minute(struct telemetry_store *s, struct fault *f)
{
	const struct rollup_row *const *rows = rollup_sorted(s->open);
	enum err e = ERR_OK;
	for (size_t i = 0; i < rollup_count(s->open) && e == ERR_OK; i++) {
		e = write_rollup_row(s->s[S_MINUTE_ADD], rows[i], rows[i]->bucket, f);
		/* The clock went back: that hour was complete already. */
		if (e == ERR_OK && rows[i]->bucket < s->hours_before)
			e = write_rollup_row(s->s[S_HOUR_ADD], rows[i], rows[i]->bucket - rows[i]->bucket % TELEMETRY_HOUR_MS, f);
	}
	return e == ERR_OK ? set_progress(s, "rolled_batch", s->last_batch, f) : e;
}

static enum err write_symbols(struct telemetry_store *s, const struct stored_batch *b, struct fault *f)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < b->symbol_count && e == ERR_OK; i++) {
		struct stmt *st = s->s[S_SYMBOL_ADD];
		stmt_bind_int(st, 1, b->symbols[i].id);
		stmt_bind_text(st, 2, b->symbols[i].kind);
		stmt_bind_text(st, 3, b->symbols[i].model);
		stmt_bind_text(st, 4, b->symbols[i].text);
		e = stmt_run(st, f);
	}
	return e;
}

static enum err write_detect(struct telemetry_store *s, const struct stored_detect *d, struct fault *f)
{
	struct stmt *st;
	if (d->kind == DETECT_EVENT) {
		st = s->s[S_EVENT_PUT];
		stmt_bind_int(st, 1, d->batch);
		stmt_bind_int(st, 2, d->key);
		stmt_bind_int(st, 3, d->metric);
		stmt_bind_real(st, 4, d->score);
		stmt_bind_real(st, 5, d->value);
		return stmt_run(st, f);
	}
	bool is_view = d->kind == DETECT_VIEW;
	st = s->s[is_view ? S_VIEW_PUT : S_DETECT_PUT];
	stmt_bind_int(st, 1, is_view ? d->key : 4 * d->key + d->kind);
	stmt_bind_int(st, 2, d->batch);
	stmt_bind_blob(st, 3, d->data, d->len);
	return stmt_run(st, f);
}

static enum err write_detects(struct telemetry_store *s, const struct stored_batch *b, struct fault *f)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < b->detect_count && e == ERR_OK; i++)
		e = write_detect(s, &b->detects[i], f);
	if (e != ERR_OK || b->detect_batch <= s->detect_batch)
		return e;
	e = set_progress(s, "detect_batch", b->detect_batch, f);
	stmt_bind_int(s->s[S_VIEW_DROP], 1, b->detect_batch);
	return e == ERR_OK ? stmt_run(s->s[S_VIEW_DROP], f) : e;
}

static enum err write_pages(struct telemetry_store *s, const struct stored_pages *p, struct fault *f)
{
	enum err e = ERR_OK;
	struct stmt *st = s->s[S_PAGE_PUT];
	if (p->page.data != NULL) {
		stmt_bind_int(st, 1, p->page.id);
		stmt_bind_int(st, 2, p->page.batch);
		stmt_bind_blob(st, 3, p->page.data, p->page.len);
		e = stmt_run(st, f);
	}
	for (size_t i = 0; i < p->dead_count && e == ERR_OK; i++) {
		stmt_bind_int(s->s[S_PAGE_DELETE], 1, p->dead[i]);
		e = stmt_run(s->s[S_PAGE_DELETE], f);
	}
	return e;
}

static enum err write_states(struct telemetry_store *s, const struct stored_batch *b, struct fault *f)
{
	enum err e = ERR_OK;
	for (int kind = 0; kind < PAGE_KINDS && e == ERR_OK; kind++)
		e = write_pages(s, &b->pages[kind], f);
	if (e != ERR_OK || b->states_batch <= 0)
		return e;
	e = set_progress(s, "states_batch", b->states_batch, f);
	if (e == ERR_OK && s->has_old_states)
		e = stmt_run(s->s[S_STATES_DROP], f);
	return e;
}

static enum err write_raw(struct telemetry_store *s, const struct stored_batch *b, struct fault *f)
{
	struct stmt *st = s->s[S_RAW_ADD];
	stmt_bind_int(st, 1, b->id);
	stmt_bind_int(st, 2, b->first_ms);
	stmt_bind_int(st, 3, b->last_ms);
	stmt_bind_int(st, 4, b->reports);
	stmt_bind_blob(st, 5, b->data, b->len);
	return stmt_run(st, f);
}

static bool is_minute_over(const struct telemetry_store *s, const struct stored_batch *b)
{
	return rollup_count(s->open) > 0 &&
	       (b->first_ms - b->first_ms % TELEMETRY_MINUTE_MS != rollup_newest(s->open) || rollup_count(s->open) > ROLLUP_ROWS_MAX);
}

enum err telemetry_store_write(struct telemetry_store *s, const struct stored_batch *b, struct fault *f)
{
	assert(b->id == s->last_batch + 1);
	bool flush = is_minute_over(s, b);
	enum err e = flush ? flush_minute(s, f) : ERR_OK;
	if (e == ERR_OK)
		e = write_symbols(s, b, f);
	if (e == ERR_OK)
		e = write_states(s, b, f);
	if (e == ERR_OK)
		e = write_detects(s, b, f);
	if (e == ERR_OK)
		e = write_raw(s, b, f);
	if (e == ERR_OK)
		e = db_commit(s->db, f);
	if (e != ERR_OK) {
		db_rollback(s->db);
		return e;
	}
	if (flush) {
		rollup_clear(s->open);
		s->rolled_batch = s->last_batch;
	}
	s->last_batch = b->id;
	if (b->states_batch > 0) {
		s->states_batch = b->states_batch;
		s->has_old_states = false;
	}
	if (b->detect_batch > s->detect_batch)
		s->detect_batch = b->detect_batch;
	rollup_add(s->open, b->data, b->len, b->first_ms);
	return ERR_OK;
}

/* ---- maintenance ---- */

static enum err finish(struct telemetry_store *s, enum err e, struct fault *f)
{
	if (e == ERR_OK)
		e = db_commit(s->db, f);
	if (e != ERR_OK)
		db_rollback(s->db);
	return e;
}

static enum err step_minute(struct telemetry_store *s, int64_t now_ms, bool *did, struct fault *f)
{
	if (rollup_count(s->open) == 0 || now_ms < rollup_newest(s->open) + TELEMETRY_MINUTE_MS + MINUTE_GRACE_MS)
		return ERR_OK;
	enum err e = finish(s, flush_minute(s, f), f);
	if (e == ERR_OK) {
		rollup_clear(s->open);
		s->rolled_batch = s->last_batch;
		*did = true;
	}
	return e;
}

/* The first row of a roll-up at `from` or later; *bucket is -1 when there is none. */
static enum err first_of(struct telemetry_store *s, int statement, int64_t from, int64_t *bucket, int64_t *metric, struct fault *f)
{
	struct stmt *st = s->s[statement];
	bool row = false;
	*bucket = -1;
	stmt_bind_int(st, 1, from);
	enum err e = stmt_step(st, &row, f);
	if (e == ERR_OK && row) {
		*bucket = stmt_int(st, 0);
		*metric = stmt_int(st, 1);
	}
	stmt_reset(st);
	return e;
}

/* Finds the next hour that is over and not rolled up. */
static enum err begin_hour(struct telemetry_store *s, int64_t now_ms, struct fault *f)
{
	int64_t bucket, metric;
	enum err e = first_of(s, S_MINUTE_FIRST, s->hours_before, &bucket, &metric, f);
	if (e != ERR_OK || bucket < 0)
		return e;
	int64_t hour = bucket - bucket % TELEMETRY_HOUR_MS, end = hour + TELEMETRY_HOUR_MS;
	bool is_written = rollup_count(s->open) == 0 || rollup_newest(s->open) >= end;
	if (is_written && now_ms >= end + TELEMETRY_MINUTE_MS + MINUTE_GRACE_MS) {
		s->hour = hour;
		s->hour_metric = 0;
	}
	return ERR_OK;
}

static enum err roll_hour_part(struct telemetry_store *s, struct fault *f)
{
	struct stmt *st = s->s[S_HOUR_PART];
	stmt_bind_int(st, 1, s->hour);
	stmt_bind_int(st, 2, s->hour_metric);
	return finish(s, stmt_run(st, f), f);
}

/* One part of an hour: INSERT OR REPLACE, so that an hour which a restart broke off begins again from its first part. */
static enum err step_hour(struct telemetry_store *s, int64_t now_ms, bool *did, struct fault *f)
{
	enum err e = s->hour == 0 ? begin_hour(s, now_ms, f) : ERR_OK;
	if (e != ERR_OK || s->hour == 0)
		return e;
	*did = true;
	int64_t metric = 0;
	stmt_bind_int(s->s[S_METRIC_AFTER], 1, s->hour_metric);
	e = get_int(s, S_METRIC_AFTER, NULL, &metric, f);
	if (e != ERR_OK)
		return e;
	if (metric != 0) {
		s->hour_metric = metric;
		return roll_hour_part(s, f);
	}
	e = finish(s, set_progress(s, "hours_before", s->hour + TELEMETRY_HOUR_MS, f), f);
	if (e == ERR_OK) {
		s->hours_before = s->hour + TELEMETRY_HOUR_MS;
		s->hour = 0;
	}
	return e;
}

/* Deletes some of the oldest batches if they are from before `before_ms`; never what is still to be replayed, rolled up or regrouped. */
static enum err drop_raw(struct telemetry_store *s, int64_t before_ms, bool *did, struct fault *f)
{
	struct stmt *st = s->s[S_RAW_OLDEST];
	bool row = false;
	int64_t id = 0, last_ms = 0;
	enum err e = stmt_step(st, &row, f);
	if (e == ERR_OK && row) {
		id = stmt_int(st, 0);
		last_ms = stmt_int(st, 1);
	}
	stmt_reset(st);
	int64_t upto = s->rolled_batch < s->states_batch ? s->rolled_batch : s->states_batch;
	if (upto > s->detect_batch)
		upto = s->detect_batch;
	if (upto > regroup_upto(s->regroup))
		upto = regroup_upto(s->regroup);
	if (upto >= s->last_batch)
		upto = s->last_batch - 1; /* the newest one keeps the number line */
	if (e != ERR_OK || !row || last_ms >= before_ms || id > upto)
		return e;
	st = s->s[S_RAW_DELETE];
	stmt_bind_int(st, 1, id);
	stmt_bind_int(st, 2, id + RAW_STEP < upto ? id + RAW_STEP : upto);
	stmt_bind_int(st, 3, before_ms);
	e = stmt_run(st, f);
	*did = e == ERR_OK;
	return e;
}

static enum err drop_rollup(struct telemetry_store *s, int first, int delete, int64_t before_ms, bool *did, struct fault *f)
{
	int64_t bucket, metric;
	enum err e = first_of(s, first, 0, &bucket, &metric, f);
	if (e != ERR_OK || bucket < 0 || bucket >= before_ms)
		return e;
	stmt_bind_int(s->s[delete], 1, bucket);
	stmt_bind_int(s->s[delete], 2, metric);
	e = stmt_run(s->s[delete], f);
	*did = e == ERR_OK;
	return e;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static enum err step_retention(struct telemetry_store *s, const struct telemetry_retention *r, bool is_full, bool *did, struct fault *f)
{
	enum err e = drop_raw(s, is_full ? INT64_MAX : r->raw_before_ms, did, f);
	if (e == ERR_OK && !*did)
		e = regroup_drop(s->regroup, is_full ? INT64_MAX : r->device_before_ms, did, f);
	/* Minutes of an hour that is not rolled up yet stay, whatever their age. */
	if (e == ERR_OK && !*did)
		e = drop_rollup(s, S_MINUTE_FIRST, S_MINUTE_DELETE, earlier(is_full ? INT64_MAX : r->minute_before_ms, s->hours_before), did, f);
	if (e == ERR_OK && !*did)
		e = drop_rollup(s, S_HOUR_FIRST, S_HOUR_DELETE, earlier(is_full ? INT64_MAX : r->hour_before_ms, s->hours_before), did, f);
	if (e == ERR_OK && r->minute_before_ms > 0) {
		stmt_bind_int(s->s[S_EVENT_DELETE], 1, r->minute_before_ms);
		e = stmt_run(s->s[S_EVENT_DELETE], f);
	}
	return finish(s, e, f);
}

enum err telemetry_store_maintain(struct telemetry_store *s, const struct telemetry_retention *r, int64_t now_ms, bool *more, struct fault *f)
{
	int64_t used = 0;
	*more = false;
	enum err e = r->max_bytes > 0 ? telemetry_store_bytes(s, &used, f) : ERR_OK;
	bool is_full = r->max_bytes > 0 && used > r->max_bytes;
	if (e == ERR_OK)
		e = step_minute(s, now_ms, more, f);
	if (e == ERR_OK && !*more)
		e = step_hour(s, now_ms, more, f);
	if (e == ERR_OK && !*more)
		e = regroup_step(s->regroup, now_ms, is_full, more, f);
	if (e == ERR_OK && !*more)
		e = step_retention(s, r, is_full, more, f);
	return e;
}

enum err telemetry_store_bytes(struct telemetry_store *s, int64_t *used, struct fault *f)
{
	bool row = false;
	enum err e = stmt_step(s->s[S_SIZE], &row, f);
	if (e == ERR_OK && row)
		*used = stmt_int(s->s[S_SIZE], 0) * stmt_int(s->s[S_SIZE], 1);
	stmt_reset(s->s[S_SIZE]);
	return e;
}

struct db *telemetry_store_db(struct telemetry_store *s)
{
	return s->db;
}

/* ---- reading back ---- */

enum err telemetry_store_last(struct telemetry_store *s, int64_t *batch, int64_t *states_batch, struct fault *f)
{
	(void)f;
	*batch = s->last_batch;
	*states_batch = s->states_batch;
	return ERR_OK;
}

enum err telemetry_store_each_symbol(struct telemetry_store *s, void (*fn)(void *, const struct stored_symbol *), void *ctx, struct fault *f)
{
	struct stmt *st = s->s[S_SYMBOLS];
	for (;;) {
		bool row = false;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		fn(ctx, &(struct stored_symbol){stmt_int(st, 0), stmt_text(st, 1), stmt_text(st, 2), stmt_text(st, 3)});
	}
}

enum err telemetry_store_each_state(struct telemetry_store *s, void (*fn)(void *, const struct stored_state *), void *ctx, struct fault *f)
{
	struct stmt *st = s->s[S_STATES];
	for (;;) {
		bool row = false;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct stored_state state = {.device = stmt_int(st, 0), .batch = stmt_int(st, 1)};
		state.data = stmt_blob(st, 2, &state.len);
		s->has_old_states = true;
		fn(ctx, &state);
	}
}

enum err telemetry_store_each_page(struct telemetry_store *s, enum stored_page_kind kind, void (*fn)(void *, const struct stored_page *), void *ctx,
	struct fault *f)
{
	struct stmt *st = s->s[S_PAGES];
	stmt_bind_int(st, 1, kind);
	for (;;) {
		bool row = false;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct stored_page page = {.id = stmt_int(st, 0), .batch = stmt_int(st, 1)};
		page.data = stmt_blob(st, 2, &page.len);
		fn(ctx, &page);
	}
}

static void tell_detect(struct stmt *st, struct stored_detect *d, int data, void (*fn)(void *, const struct stored_detect *), void *ctx)
{
	d->batch = stmt_int(st, 1);
	d->data = stmt_blob(st, data, &d->len);
	fn(ctx, d);
}

enum err telemetry_store_each_detect(struct telemetry_store *s, int64_t *detect_batch, void (*fn)(void *, const struct stored_detect *), void *ctx,
	struct fault *f)
{
	*detect_batch = s->detect_batch;
	bool row = true;
	enum err e = ERR_OK;
	while (row && (e = stmt_step(s->s[S_DETECTS], &row, f)) == ERR_OK && row) {
		int64_t id = stmt_int(s->s[S_DETECTS], 0);
		struct stored_detect d = {.kind = (enum stored_detect_kind)(id % 4), .key = id / 4};
		tell_detect(s->s[S_DETECTS], &d, 2, fn, ctx);
	}
	stmt_reset(s->s[S_DETECTS]);
	for (row = true; e == ERR_OK && row;) {
		e = stmt_step(s->s[S_VIEWS], &row, f);
		struct stored_detect d = {.kind = DETECT_VIEW};
		if (e == ERR_OK && row) {
			d.key = stmt_int(s->s[S_VIEWS], 0);
			tell_detect(s->s[S_VIEWS], &d, 2, fn, ctx);
		}
	}
	stmt_reset(s->s[S_VIEWS]);
	return e;
}

static enum err each_batch(struct stmt *st, int64_t deadline_mono_ms, void (*fn)(void *, const struct stored_batch *), void *ctx, struct fault *f)
{
	for (;;) {
		bool row = false;
		if (deadline_mono_ms != 0 && clock_mono_ms() >= deadline_mono_ms) {
			stmt_reset(st);
			return fault_set(f, ERR_TIMEOUT, "", "the log is longer than what can be read in this time");
		}
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct stored_batch b = {.id = stmt_int(st, 0), .first_ms = stmt_int(st, 1), .last_ms = stmt_int(st, 2), .reports = stmt_int(st, 3)};
		b.data = stmt_blob(st, 4, &b.len);
		fn(ctx, &b);
	}
}

enum err telemetry_store_each_batch(struct telemetry_store *s, int64_t after, void (*fn)(void *, const struct stored_batch *), void *ctx,
	struct fault *f)
{
	stmt_bind_int(s->s[S_RAW_AFTER], 1, after);
	return each_batch(s->s[S_RAW_AFTER], 0, fn, ctx, f);
}

enum err telemetry_log_since(const char *path, int64_t from_ms, int64_t upto, void (*fn)(void *, const struct stored_batch *), void *ctx,
	struct fault *f)
{
	return telemetry_log_until(path, from_ms, upto, 0, fn, ctx, f);
}

enum err telemetry_log_until(const char *path, int64_t from_ms, int64_t upto, int64_t deadline_mono_ms,
	void (*fn)(void *, const struct stored_batch *), void *ctx, struct fault *f)
{
	struct db *db;
	struct stmt *st;
	enum err e = db_open(path, NULL, true, &db, f);
	if (e != ERR_OK)
		return e;
	e = db_prepare_text(db, "SELECT id, first_ms, last_ms, reports, data FROM raw WHERE last_ms >= ?1 AND id <= ?2", &st, f);
	if (e == ERR_OK) {
		stmt_bind_int(st, 1, from_ms);
		stmt_bind_int(st, 2, upto);
		e = each_batch(st, deadline_mono_ms, fn, ctx, f);
	}
	db_close(db);
	return e;
}
