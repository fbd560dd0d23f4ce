#include "store/health_store.h"

#include <math.h>
#include <stdlib.h>

#include "store/db.h"

enum { INSERT, UPDATE, SET_NEXT, SET_DELETED, DELETE, ALL, PUT, RESULT_DELETE, RESULT_PAGE, RESULT_GET, STATEMENTS };

#define COLUMNS "id, window_ms, every_ms, timeout_ms, next_at, revision, created_at, updated_at, name, kind, hardware, model, filter, metric, operator," \
	" severity, threshold, hot_c, battery_low, rssi_bad, deleted_at"
#define RESULT "health_check, device, at, passed, firing, cell, value, detail, model, version, counts"

static const struct statement table[STATEMENTS] = {
	[INSERT] = {"INSERT INTO health_check (window_ms, every_ms, timeout_ms, threshold, hot_c, battery_low, rssi_bad, severity, updated_at, next_at, name,"
	            " kind, hardware, model, filter, metric, operator, created_at)"
	            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?9)", false},
	[UPDATE] = {"UPDATE health_check SET window_ms = ?1, every_ms = ?2, timeout_ms = ?3, threshold = ?4, hot_c = ?5, battery_low = ?6, rssi_bad = ?7,"
	            " severity = ?8, updated_at = ?9, next_at = ?10, revision = revision + 1 WHERE id = ?11", false},
	[SET_NEXT] = {"UPDATE health_check SET next_at = ?2 WHERE id = ?1", false},
	[SET_DELETED] = {"UPDATE health_check SET deleted_at = ?2 WHERE id = ?1", false},
	[DELETE] = {"DELETE FROM health_check WHERE id = ?1", false},
	[ALL] = {"SELECT " COLUMNS " FROM health_check WHERE id > 0 ORDER BY id LIMIT ?1", false},
	[PUT] = {"INSERT INTO health_result (" RESULT ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, coalesce(?8, ''), ?9, ?10, ?11)"
	         " ON CONFLICT (health_check, device) DO UPDATE SET at = ?3, passed = ?4, firing = ?5, cell = ?6, value = ?7, detail = coalesce(?8, detail),"
	         " model = ?9, version = ?10, counts = ?11", false},
	[RESULT_DELETE] = {"DELETE FROM health_result WHERE health_check = ?1 AND device = ?2", false},
	[RESULT_PAGE] = {"SELECT " RESULT " FROM health_result WHERE health_check = ?1 AND device > ?2 ORDER BY device LIMIT ?3", false},
	[RESULT_GET] = {"SELECT " RESULT " FROM health_result WHERE health_check = ?1 AND device = ?2", false},
};

struct health_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err health_store_open(struct db *db, struct health_store **out, struct fault *f)
{
	*out = NULL;
	struct health_store *s = calloc(1, sizeof *s);
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

void health_store_close(struct health_store *s)
{
	free(s);
}

static void bind_real(struct stmt *st, int at, double v) /* NaN: NULL */
{
	if (isnan(v))
		stmt_bind_null(st, at);
	else
		stmt_bind_real(st, at, v);
}

static double real_of(struct stmt *st, int at)
{
	return stmt_is_null(st, at) ? NAN : stmt_real(st, at);
}

/* ---- checks ---- */

static void bind_changeable(struct stmt *st, const struct health_check_row *row)
{
	stmt_bind_int(st, 1, row->window_ms);
	stmt_bind_int(st, 2, row->every_ms);
	stmt_bind_int(st, 3, row->timeout_ms);
	stmt_bind_real(st, 4, row->threshold);
	bind_real(st, 5, row->hot_c);
	bind_real(st, 6, row->battery_low);
	bind_real(st, 7, row->rssi_bad);
	stmt_bind_text(st, 8, row->severity);
	stmt_bind_int(st, 9, row->updated_at);
	stmt_bind_int(st, 10, row->next_at);
}

enum err health_check_insert(struct health_store *s, struct health_check_row *row, struct fault *f)
{
	struct stmt *st = s->st[INSERT];
	bind_changeable(st, row);
	stmt_bind_text(st, 11, row->name);
	stmt_bind_text(st, 12, row->kind);
	stmt_bind_text(st, 13, row->hardware);
	stmt_bind_text(st, 14, row->model);
	stmt_bind_text(st, 15, row->filter);
	stmt_bind_text(st, 16, row->metric);
	stmt_bind_text(st, 17, row->op);
	enum err e = stmt_run(st, f);
	if (e == ERR_CONFLICT)
		return fault_set(f, e, "/name", "there is a health check %.64s already, or what it found is still being deleted", row->name);
	row->id = e == ERR_OK ? db_last_id(s->db) : 0;
	return e;
}

enum err health_check_update(struct health_store *s, const struct health_check_row *row, struct fault *f)
{
	bind_changeable(s->st[UPDATE], row);
	stmt_bind_int(s->st[UPDATE], 11, row->id);
	return stmt_run(s->st[UPDATE], f);
}

static enum err run_with(struct stmt *st, int64_t id, int64_t value, struct fault *f)
{
	stmt_bind_int(st, 1, id);
	stmt_bind_int(st, 2, value);
	return stmt_run(st, f);
}

enum err health_check_set_next(struct health_store *s, int64_t id, int64_t next_at, struct fault *f)
{
	return run_with(s->st[SET_NEXT], id, next_at, f);
}

enum err health_check_set_deleted(struct health_store *s, int64_t id, int64_t at, struct fault *f)
{
	return run_with(s->st[SET_DELETED], id, at, f);
}

enum err health_check_delete(struct health_store *s, int64_t id, struct fault *f)
{
	stmt_bind_int(s->st[DELETE], 1, id);
	return stmt_run(s->st[DELETE], f);
}

static const char *text_of(struct stmt *st, int at, struct arena *a)
{
	return arena_strdup(a, stmt_text(st, at));
}

static void read_check(struct stmt *st, struct arena *a, struct health_check_row *row)
{
	*row = (struct health_check_row){
		.id = stmt_int(st, 0), .window_ms = stmt_int(st, 1), .every_ms = stmt_int(st, 2), .timeout_ms = stmt_int(st, 3), .next_at = stmt_int(st, 4),
		.revision = stmt_int(st, 5), .created_at = stmt_int(st, 6), .updated_at = stmt_int(st, 7), .name = text_of(st, 8, a), .kind = text_of(st, 9, a),
		.hardware = text_of(st, 10, a), .model = text_of(st, 11, a), .filter = text_of(st, 12, a), .metric = text_of(st, 13, a),
		.op = text_of(st, 14, a), .severity = text_of(st, 15, a), .threshold = stmt_real(st, 16), .hot_c = real_of(st, 17),
		.battery_low = real_of(st, 18), .rssi_bad = real_of(st, 19), .is_deleted = !stmt_is_null(st, 20),
	};
}

enum err health_check_all(struct health_store *s, int64_t limit, struct arena *a, struct health_check_row **rows, size_t *count, struct fault *f)
{
	struct stmt *st = s->st[ALL];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_check(st, a, &(*rows)[(*count)++]);
	}
}

/* ---- results ---- */

enum { COUNTS_BYTES = HEALTH_CELLS * 4 };

static void put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v & 0xff);
	at[1] = (uint8_t)(v >> 8);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

enum err health_result_put(struct health_store *s, const struct health_result_row *row, struct fault *f)
{
	struct stmt *st = s->st[PUT];
	uint8_t counts[COUNTS_BYTES];
	for (int i = 0; i < HEALTH_CELLS; i++) {
		put16(counts + (size_t)i * 4, row->counts[i].results);
		put16(counts + (size_t)i * 4 + 2, row->counts[i].failures);
	}
	stmt_bind_int(st, 1, row->check);
	stmt_bind_int(st, 2, row->device);
	stmt_bind_int(st, 3, row->at);
	stmt_bind_int(st, 4, row->passed);
	stmt_bind_int(st, 5, row->firing);
	stmt_bind_int(st, 6, row->cell);
	bind_real(st, 7, row->has_value ? row->value : NAN);
	stmt_bind_text(st, 8, row->detail);
	stmt_bind_text(st, 9, row->model);
	stmt_bind_text(st, 10, row->version);
	stmt_bind_blob(st, 11, counts, sizeof counts);
	return stmt_run(st, f);
}

enum err health_result_delete(struct health_store *s, int64_t check, int64_t device, struct fault *f)
{
	return run_with(s->st[RESULT_DELETE], check, device, f);
}

static void read_counts(struct stmt *st, struct health_count counts[HEALTH_CELLS])
{
	size_t len;
	const uint8_t *data = stmt_blob(st, 10, &len);
	for (size_t i = 0; i < HEALTH_CELLS && len == COUNTS_BYTES; i++) {
		unsigned results = get16(data + i * 4), failures = get16(data + i * 4 + 2);
		if (results <= HEALTH_RESULTS_MAX && failures <= results) /* else: not ours */
			counts[i] = (struct health_count){(uint16_t)results, (uint16_t)failures};
	}
}

static void read_result(struct stmt *st, struct arena *a, struct health_result_row *row)
{
	*row = (struct health_result_row){
		.check = stmt_int(st, 0), .device = stmt_int(st, 1), .at = stmt_int(st, 2), .passed = stmt_int(st, 3) != 0, .firing = stmt_int(st, 4) != 0,
		.cell = (unsigned)stmt_int(st, 5), .has_value = !stmt_is_null(st, 6), .value = stmt_real(st, 6), .detail = text_of(st, 7, a),
		.model = text_of(st, 8, a), .version = text_of(st, 9, a),
	};
	read_counts(st, row->counts);
}

enum err health_result_page(struct health_store *s, int64_t check, int64_t after, int64_t limit, struct arena *a, struct health_result_row **rows,
	size_t *count, struct fault *f)
{
	struct stmt *st = s->st[RESULT_PAGE];
	*rows = arena_array(a, (size_t)limit, sizeof **rows);
	*count = 0;
	stmt_bind_int(st, 1, check);
	stmt_bind_int(st, 2, after);
	stmt_bind_int(st, 3, limit);
	for (;;) {
		bool row;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		read_result(st, a, &(*rows)[(*count)++]);
	}
}

enum err health_result_get(struct health_store *s, int64_t check, int64_t device, struct arena *a, struct health_result_row *row, bool *found,
	struct fault *f)
{
	struct stmt *st = s->st[RESULT_GET];
	stmt_bind_int(st, 1, check);
	stmt_bind_int(st, 2, device);
	enum err e = stmt_step(st, found, f);
	if (e == ERR_OK && *found)
		read_result(st, a, row);
	stmt_reset(st);
	return e;
}
