#include "store/telemetry_query.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "store/db.h"
#include "store/telemetry_sql.h"
#include "store/telemetry_store.h"

#define SLACK_TEXT "60000" /* ms: a batch holds at most this much time (REPORT_LOG_RECEIVED_MAX) */

/* Parameters: ?1 metric, ?2 from, ?3 to, ?4 step, ?5 the device when it is one, else the devices as a JSON array, ?6 limit. */
#define BUCKETS(name, unit) " " name " (at) AS (SELECT " unit "_from FROM ends WHERE " unit "_from < " unit "_to" \
	" UNION ALL SELECT at + " unit "_ms FROM " name ", ends WHERE at + " unit "_ms < " unit "_to)"

static const char ends[] =
	"WITH RECURSIVE progress_of (rolled, hours, regrouped) AS (SELECT (SELECT value FROM progress WHERE name = 'rolled_batch'),"
	" (SELECT value FROM progress WHERE name = 'hours_before'), (SELECT value FROM progress WHERE name = 'regrouped_batch')),";

/* Where each source's part of the range ends: hours are complete before `hours`, minutes hold batches up to `rolled`. */
static const char ends_hour[] =
	" ends (hour_from, hour_to, hour_ms, minute_from, minute_to, minute_ms, rolled) AS (SELECT ?2, min(?3, hours), 3600000,"
	" max(?2, hours), ?3, 60000, rolled FROM progress_of),";
static const char ends_minute[] =
	" ends (hour_from, hour_to, hour_ms, minute_from, minute_to, minute_ms, rolled) AS (SELECT 0, 0, 3600000, ?2, ?3, 60000, rolled FROM progress_of),";
static const char ends_raw[] =
	" ends (hour_from, hour_to, hour_ms, minute_from, minute_to, minute_ms, rolled) AS (SELECT 0, 0, 3600000, 0, 0, 60000, -1),";

/* Of devices: chunks hold batches up to `regrouped`. */
static const char ends_devices[] =
	" ends (hour_from, hour_to, hour_ms, minute_from, minute_to, minute_ms, rolled) AS (SELECT 0, 0, 3600000, 0, 0, 60000, regrouped FROM progress_of),";

static void put_versions(const struct telemetry_select *q, struct buf *sql)
{
	if (q->versions == NULL)
		return;
	buf_str(sql, " AND version IN (-1");
	for (size_t i = 0; i < q->version_count; i++)
		buf_printf(sql, ", %lld", (long long)q->versions[i]);
	buf_str(sql, ")");
}

static void put_devices(const struct telemetry_select *q, const char *column, struct buf *sql)
{
	if (q->devices == NULL)
		return;
	if (q->device_count == 1)
		buf_printf(sql, " AND %s = ?5", column);
	else
		buf_printf(sql, " AND in_cohort(%s)", column);
}

static void put_rollup(const struct telemetry_select *q, const char *name, struct buf *sql)
{
	buf_printf(sql, "SELECT bucket AS at, version, reports, n, sum, min, max, sketch FROM %ss CROSS JOIN fleet_%s"
	           " WHERE bucket = at AND metric = ?1", name, name);
	put_versions(q, sql);
	buf_str(sql, " UNION ALL ");
}

/* The chunks of these devices: a search a period and device, in the order of the key. */
static void put_chunks_of(const struct telemetry_select *q, struct buf *sql)
{
	bool is_one = q->device_count == 1;
	buf_printf(sql, " FROM period%s CROSS JOIN chunk CROSS JOIN report_points WHERE period.last_ms >= ?2 AND period.first_ms < ?3"
	           " AND period.last_batch <= (SELECT value FROM progress WHERE name = 'regrouped_batch') AND chunk.period = period.id AND chunk.device = %s"
	           " AND report_points.data = chunk.data AND base = period.first_ms AND metric = ?1 AND received >= ?2 AND received < ?3",
	           is_one ? "" : " CROSS JOIN json_each(?5) AS named", is_one ? "?5" : "named.value");
	put_versions(q, sql);
	buf_str(sql, " UNION ALL ");
}

static void put_chunks(const struct telemetry_select *q, struct buf *sql)
{
	buf_str(sql, "SELECT received AS at, version, 1 AS reports, n, sum, min, max, sketch");
	put_chunks_of(q, sql);
}

static void put_raw(const struct telemetry_select *q, struct buf *sql)
{
	/* The log's end by its numbers, a range of it by its times: the + keeps the planner from the other. */
	buf_printf(sql, "SELECT received AS at, version, 1 AS reports, n, sum, min, max, sketch FROM ends CROSS JOIN raw CROSS JOIN report_points"
	           " WHERE %s AND first_ms < ?3 AND report_points.data = raw.data AND base = first_ms AND metric = ?1 AND received >= ?2 AND received < ?3",
	           q->source == SOURCE_RAW && q->devices == NULL ? "last_ms >= ?2 AND last_ms < ?3 + " SLACK_TEXT : "id > rolled AND +last_ms >= ?2");
	put_devices(q, "device", sql);
	put_versions(q, sql);
}

/* Few rows: one in some hundred values at most. The key begins with the time. */
static void put_scores(const struct telemetry_select *q, struct buf *sql)
{
	buf_str(sql, "SELECT at, 0 AS version, 1 AS reports, 1 AS n, score AS sum, score AS min, score AS max, NULL AS sketch FROM anomaly"
	             " WHERE at >= ?2 AND at < ?3 AND metric = ?1");
	put_devices(q, "device", sql);
}

static void build_select(const struct telemetry_select *q, struct buf *sql)
{
	buf_str(sql, ends);
	buf_str(sql, q->devices != NULL ? ends_devices : q->source == SOURCE_HOUR ? ends_hour : q->source == SOURCE_MINUTE ? ends_minute : ends_raw);
	buf_str(sql, BUCKETS("hours", "hour") "," BUCKETS("minutes", "minute"));
	buf_str(sql, " SELECT slot * ?4 + ?2");
	buf_str(sql, q->by_version ? ", (SELECT model FROM symbol WHERE id = version), (SELECT text FROM symbol WHERE id = version)" : ", NULL, NULL");
	buf_str(sql, ", reports, n, sum, min, max, sketch_quantile(sketch, 0.5, n), sketch_quantile(sketch, 0.95, n), sketch_quantile(sketch, 0.99, n)"
	             " FROM (SELECT (at - ?2) / ?4 AS slot, version, sum(reports) AS reports, sum(n) AS n, sum(sum) AS sum,"
	             " CASE WHEN count(min) = count(*) THEN min(min) END AS min, CASE WHEN count(max) = count(*) THEN max(max) END AS max,"
	             " sketch_merge(sketch) AS sketch FROM (");
	if (q->is_scores) {
		put_scores(q, sql);
	} else {
		if (q->devices != NULL)
			put_chunks(q, sql);
		else if (q->source == SOURCE_HOUR)
			put_rollup(q, "hour", sql);
		if (q->devices == NULL && q->source != SOURCE_RAW)
			put_rollup(q, "minute", sql);
		put_raw(q, sql);
	}
	buf_printf(sql, ") GROUP BY 1%s) ORDER BY 1%s LIMIT ?6", q->by_version ? ", version" : "", q->by_version ? ", version" : "");
}

static enum err open_reader(const struct telemetry_select *q, const struct telemetry_cohort *cohort, struct db **db, struct fault *f)
{
	enum err e = db_open(q->path, NULL, true, db, f);
	if (e == ERR_OK)
		e = telemetry_sql_register(*db, cohort, f);
	if (e == ERR_OK)
		db_set_deadline(*db, q->deadline_mono_ms);
	return e;
}

/* `names` has the devices as JSON where they are several; both must live until the statement is reset. */
static void bind_devices(const struct telemetry_select *q, struct stmt *st, struct buf *names)
{
	if (q->devices == NULL)
		return;
	if (q->device_count == 1) {
		stmt_bind_int(st, 5, q->devices[0]);
		return;
	}
	buf_char(names, '[');
	for (size_t i = 0; i < q->device_count; i++)
		buf_printf(names, i > 0 ? ",%lld" : "%lld", (long long)q->devices[i]);
	buf_char(names, ']');
	stmt_bind_text(st, 5, buf_cstr(names));
}

static void bind(const struct telemetry_select *q, struct stmt *st, struct buf *names)
{
	stmt_bind_int(st, 1, q->metric);
	stmt_bind_int(st, 2, q->from_ms);
	stmt_bind_int(st, 3, q->to_ms);
	stmt_bind_int(st, 4, q->step_ms);
	bind_devices(q, st, names);
	stmt_bind_int(st, 6, q->limit);
}

static double real_or_nan(struct stmt *st, int col)
{
	return stmt_is_null(st, col) ? NAN : stmt_real(st, col);
}

static enum err read_answer(const struct telemetry_select *q, struct stmt *st, struct fault *f)
{
	for (;;) {
		bool row = false;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct telemetry_answer_row r = {
			.at_ms = stmt_int(st, 0), .model = stmt_text(st, 1), .version = stmt_text(st, 2), .reports = stmt_int(st, 3), .n = stmt_int(st, 4),
			.sum = real_or_nan(st, 5), .min = real_or_nan(st, 6), .max = real_or_nan(st, 7), .p50 = real_or_nan(st, 8),
			.p95 = real_or_nan(st, 9), .p99 = real_or_nan(st, 10),
		};
		q->row(q->ctx, &r);
	}
}

enum err telemetry_select_run(const struct telemetry_select *q, struct fault *f)
{
	assert(q->step_ms >= 1 && (q->source != SOURCE_MINUTE || q->step_ms % TELEMETRY_MINUTE_MS == 0) &&
	       (q->source != SOURCE_HOUR || q->step_ms % TELEMETRY_HOUR_MS == 0));
	struct telemetry_cohort cohort = {q->devices, q->device_count};
	struct buf sql = BUF_INIT, names = BUF_INIT;
	struct db *db = NULL;
	struct stmt *st = NULL;
	build_select(q, &sql);
	enum err e = open_reader(q, &cohort, &db, f);
	if (e == ERR_OK)
		e = db_prepare_text(db, buf_cstr(&sql), &st, f);
	if (e == ERR_OK) {
		bind(q, st, &names);
		e = read_answer(q, st, f);
	}
	db_close(db);
	buf_done(&names);
	buf_done(&sql);
	return e;
}

/* ---- single points ---- */

static void build_points(const struct telemetry_select *q, struct buf *sql)
{
	if (q->is_scores) {
		buf_str(sql, "SELECT at, NULL, '', 0, NULL, NULL, 'number', CAST(score AS TEXT) FROM anomaly WHERE at >= ?2 AND at < ?3 AND device = ?5"
		             " AND metric = ?1 ORDER BY at DESC LIMIT ?6");
		return;
	}
	static const char columns[] = "SELECT received, ts, boot, seq, (SELECT model FROM symbol WHERE id = version), (SELECT text FROM symbol WHERE id = version),"
	                              " report_points.type, report_points.value, report_points.rowid AS place, %d AS source";
	buf_str(sql, "SELECT * FROM (");
	buf_printf(sql, columns, 0);
	put_chunks_of(q, sql);
	buf_printf(sql, columns, 1);
	buf_str(sql, " FROM raw CROSS JOIN report_points WHERE id > (SELECT value FROM progress WHERE name = 'regrouped_batch') AND +last_ms >= ?2"
	             " AND first_ms < ?3 AND report_points.data = raw.data AND base = first_ms AND device = ?5 AND metric = ?1 AND received >= ?2 AND received < ?3");
	put_versions(q, sql);
	buf_str(sql, ") ORDER BY source DESC, received DESC, place DESC LIMIT ?6");
}

static enum err read_points(const struct telemetry_select *q, struct stmt *st, void (*fn)(void *, const struct telemetry_point_row *), struct fault *f)
{
	for (;;) {
		bool row = false;
		enum err e = stmt_step(st, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct telemetry_point_row r = {
			.received_ms = stmt_int(st, 0), .has_ts = !stmt_is_null(st, 1), .ts_ms = stmt_int(st, 1), .boot = stmt_text(st, 2),
			.seq = stmt_int(st, 3), .model = stmt_text(st, 4), .version = stmt_text(st, 5), .type = stmt_text(st, 6), .value = stmt_text(st, 7),
		};
		fn(q->ctx, &r);
	}
}

enum err telemetry_points_run(const struct telemetry_select *q, void (*row)(void *, const struct telemetry_point_row *), struct fault *f)
{
	assert(q->devices != NULL && q->device_count == 1);
	struct buf sql = BUF_INIT;
	struct db *db = NULL;
	struct stmt *st = NULL;
	build_points(q, &sql);
	enum err e = open_reader(q, NULL, &db, f);
	if (e == ERR_OK)
		e = db_prepare_text(db, buf_cstr(&sql), &st, f);
	if (e == ERR_OK) {
		stmt_bind_int(st, 1, q->metric);
		stmt_bind_int(st, 2, q->from_ms);
		stmt_bind_int(st, 3, q->to_ms);
		stmt_bind_int(st, 5, q->devices[0]);
		stmt_bind_int(st, 6, q->limit);
		e = read_points(q, st, row, f);
	}
	db_close(db);
	buf_done(&sql);
	return e;
}

struct plan_reader {
	void (*line)(void *ctx, const char *text);
	void *ctx;
};

static void read_plan(void *ctx, const struct statement *statement, const char *text)
{
	const struct plan_reader *r = ctx;
	(void)statement;
	r->line(r->ctx, text);
}

enum err telemetry_select_plan(const struct telemetry_select *q, bool points, void (*line)(void *ctx, const char *text), void *ctx, struct fault *f)
{
	struct buf sql = BUF_INIT;
	struct db *db = NULL;
	struct stmt *st;
	if (points)
		build_points(q, &sql);
	else
		build_select(q, &sql);
	enum err e = open_reader(q, NULL, &db, f);
	if (e == ERR_OK)
		e = db_prepare_text(db, buf_cstr(&sql), &st, f);
	if (e == ERR_OK)
		db_each_plan(db, read_plan, &(struct plan_reader){line, ctx});
	db_close(db);
	buf_done(&sql);
	return e;
}
