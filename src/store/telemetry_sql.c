#include "store/telemetry_sql.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "store/db.h"
#include "store/db_native.h"
#include "store/chunk.h"
#include "store/report_log.h"

/* ---- sketches ---- */

enum err sketch_blob_add(struct sketch_blob *b, const int32_t *keys, const uint64_t *counts, size_t count, struct ddsketch *scratch)
{
	enum err e = ERR_OK;
	if (b->data != NULL)
		e = ddsketch_decode(scratch, b->data, b->len);
	else
		ddsketch_init(scratch);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = ddsketch_add_key(scratch, keys[i], counts[i]);
	if (e != ERR_OK)
		return e;
	uint8_t bytes[DDSKETCH_ENCODED_MAX];
	size_t len = ddsketch_encode(scratch, bytes);
	uint8_t *data = realloc(b->data, len);
	if (data == NULL)
		abort();
	memcpy(data, bytes, len);
	*b = (struct sketch_blob){data, len};
	return ERR_OK;
}

static bool decode_value(sqlite3_value *v, struct ddsketch *s)
{
	const void *data = sqlite3_value_blob(v);
	int len = sqlite3_value_bytes(v);
	return data != NULL && ddsketch_decode(s, data, (size_t)len) == ERR_OK;
}

static void result_sketch(sqlite3_context *ctx, const struct ddsketch *s)
{
	uint8_t bytes[DDSKETCH_ENCODED_MAX];
	sqlite3_result_blob64(ctx, bytes, ddsketch_encode(s, bytes), SQLITE_TRANSIENT);
}

struct merge {
	struct ddsketch *into, *next; /* two, so that one allocation serves the whole group */
};

static void merge_step(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return;
	struct merge *m = sqlite3_aggregate_context(ctx, sizeof *m);
	if (m != NULL && m->into == NULL) {
		m->into = malloc(2 * sizeof *m->into);
		if (m->into == NULL)
			abort();
		m->next = m->into + 1;
		ddsketch_init(m->into);
	}
	if (m == NULL || !decode_value(argv[0], m->next) || ddsketch_merge(m->into, m->next) != ERR_OK)
		sqlite3_result_error(ctx, "not a sketch", -1);
}

static void merge_final(sqlite3_context *ctx)
{
	struct merge *m = sqlite3_aggregate_context(ctx, 0);
	if (m == NULL || m->into == NULL)
		return; /* NULL */
	result_sketch(ctx, m->into);
	free(m->into);
}

static void sketch_add(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_type(argv[1]) == SQLITE_NULL) {
		sqlite3_result_value(ctx, argv[sqlite3_value_type(argv[0]) == SQLITE_NULL]);
		return;
	}
	struct ddsketch a, b;
	if (!decode_value(argv[0], &a) || !decode_value(argv[1], &b) || ddsketch_merge(&a, &b) != ERR_OK)
		sqlite3_result_error(ctx, "not a sketch", -1);
	else
		result_sketch(ctx, &a);
}

static void sketch_quantile(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	struct ddsketch s;
	if (!decode_value(argv[0], &s) || s.n == 0 || s.n != (uint64_t)sqlite3_value_int64(argv[2]))
		return;
	sqlite3_result_double(ctx, ddsketch_quantile(&s, sqlite3_value_double(argv[1])));
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void in_cohort(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	const struct telemetry_cohort *c = sqlite3_user_data(ctx);
	int64_t device = sqlite3_value_int64(argv[0]);
	bool is_in = c == NULL || c->devices == NULL || bsearch(&device, c->devices, c->count, sizeof device, compare_ids) != NULL;
	sqlite3_result_int(ctx, is_in);
}

/* ---- report_points ---- */

enum point_column {
	POINT_DEVICE, POINT_RECEIVED, POINT_TS, POINT_VERSION, POINT_BOOT, POINT_SEQ, POINT_METRIC, POINT_TYPE, POINT_REPORTS, POINT_N, POINT_SUM,
	POINT_MIN, POINT_MAX, POINT_SKETCH, POINT_VALUE, POINT_DATA, POINT_BASE
};
#define POINT_SCHEMA                                                                                                   \
	"CREATE TABLE x (device, received, ts, version, boot, seq, metric, type, reports, n, sum, min, max, sketch, value, data HIDDEN, base HIDDEN)"

struct point_cursor {
	sqlite3_vtab_cursor base;
	struct buf data; /* a copy: SQLite may move its own while we walk */
	struct report_log_reader reader;
	struct log_report report;
	struct log_metric metric;
	struct log_summary summary;
	int64_t only_device, only_metric; /* 0: any */
	int64_t rowid;
	bool is_at_end;
	bool is_summarised;
};

static int point_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out, char **error)
{
	(void)aux, (void)argc, (void)argv, (void)error;
	int rc = sqlite3_declare_vtab(db, POINT_SCHEMA);
	if (rc != SQLITE_OK)
		return rc;
	*out = sqlite3_malloc(sizeof **out);
	if (*out == NULL)
		return SQLITE_NOMEM;
	memset(*out, 0, sizeof **out);
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	return SQLITE_OK;
}

static int point_disconnect(sqlite3_vtab *table)
{
	sqlite3_free(table);
	return SQLITE_OK;
}

/* idxNum: bit 0: device is given, bit 1: metric is given. The batch and its base always are. */
static int point_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table;
	static const int wanted[] = {POINT_DATA, POINT_BASE, POINT_DEVICE, POINT_METRIC};
	int at[4] = {-1, -1, -1, -1};
	for (int i = 0; i < info->nConstraint; i++) {
		for (int w = 0; w < 4; w++) {
			if (info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ && info->aConstraint[i].iColumn == wanted[w] &&
			    info->aConstraint[i].usable)
				at[w] = i;
		}
	}
	if (at[0] < 0 || at[1] < 0)
		return SQLITE_CONSTRAINT;
	int next = 1;
	for (int w = 0; w < 4; w++) {
		if (at[w] < 0)
			continue;
		info->aConstraintUsage[at[w]].argvIndex = next++;
		info->aConstraintUsage[at[w]].omit = w < 2;
	}
	info->idxNum = (at[2] >= 0) | (at[3] >= 0) << 1;
	info->estimatedCost = 1000 - 400 * (at[2] >= 0) - 400 * (at[3] >= 0);
	info->estimatedRows = 1000;
	return SQLITE_OK;
}

static int point_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
	(void)table;
	struct point_cursor *c = sqlite3_malloc(sizeof *c);
	if (c == NULL)
		return SQLITE_NOMEM;
	memset(c, 0, sizeof *c);
	*out = &c->base;
	return SQLITE_OK;
}

static int point_close(sqlite3_vtab_cursor *cursor)
{
	struct point_cursor *c = (struct point_cursor *)cursor;
	buf_done(&c->data);
	sqlite3_free(c);
	return SQLITE_OK;
}

static int point_next(sqlite3_vtab_cursor *cursor)
{
	struct point_cursor *c = (struct point_cursor *)cursor;
	for (;;) {
		while (report_log_metric(&c->report, &c->metric)) {
			if (c->only_metric == 0 || c->metric.name == c->only_metric) {
				c->rowid++;
				c->is_summarised = false;
				return SQLITE_OK;
			}
		}
		if (!report_log_next(&c->reader, c->only_device, &c->report)) {
			c->is_at_end = true;
			return c->reader.is_broken ? SQLITE_CORRUPT_VTAB : SQLITE_OK;
		}
	}
}

static int point_filter(sqlite3_vtab_cursor *cursor, int plan, const char *text, int argc, sqlite3_value **argv)
{
	(void)text, (void)argc;
	struct point_cursor *c = (struct point_cursor *)cursor;
	size_t len = (size_t)sqlite3_value_bytes(argv[0]);
	const void *data = sqlite3_value_blob(argv[0]);
	int next = 2;
	int64_t base_ms = sqlite3_value_int64(argv[1]);
	buf_clear(&c->data);
	if (!chunk_is(data, len))
		buf_append(&c->data, data, len);
	else if (!chunk_expand(data, len, base_ms, &c->data))
		return SQLITE_CORRUPT_VTAB;
	c->only_device = plan & 1 ? sqlite3_value_int64(argv[next++]) : 0;
	c->only_metric = plan & 2 ? sqlite3_value_int64(argv[next]) : 0;
	c->is_at_end = false;
	c->rowid = 0;
	c->report.metric_count = 0;
	report_log_open(&c->reader, c->data.data, c->data.len, base_ms);
	return point_next(cursor);
}

static int point_eof(sqlite3_vtab_cursor *cursor)
{
	return ((struct point_cursor *)cursor)->is_at_end;
}

static int point_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
	*out = ((struct point_cursor *)cursor)->rowid;
	return SQLITE_OK;
}

/* The metric as the device said it. */
static void result_value(sqlite3_context *ctx, const struct log_metric *m)
{
	struct buf b = BUF_INIT;
	if (m->type == VALUE_NUMBER) {
		json_put_num(&b, m->value);
	} else {
		json_open_object(&b);
		if (m->type == VALUE_SUM || m->type == VALUE_RATIO)
			json_int(&b, "n", m->n);
		if (m->type == VALUE_SUM)
			json_num(&b, "sum", m->value);
		if (m->type == VALUE_RATIO)
			json_int(&b, "k", m->k);
		if (m->type == VALUE_SKETCH || m->type == VALUE_HIST)
			json_key(&b, value_type_text(m->type));
		if (m->type == VALUE_SKETCH) {
			json_open_object(&b);
			for (unsigned i = 0; i < m->bin_count; i++) {
				char key[16];
				sqlite3_snprintf(sizeof key, key, "%d", (int)m->keys[i]);
				json_int(&b, key, (int64_t)m->counts[i]);
			}
			json_close_object(&b);
		} else if (m->type == VALUE_HIST) {
			json_open_array(&b);
			for (unsigned i = 0; i < m->bin_count; i++)
				json_put_int(&b, (int64_t)m->counts[i]);
			json_close_array(&b);
		}
		json_close_object(&b);
	}
	sqlite3_result_text64(ctx, buf_cstr(&b), b.len, SQLITE_TRANSIENT, SQLITE_UTF8);
	buf_done(&b);
}

static void result_summary(sqlite3_context *ctx, struct point_cursor *c, int column)
{
	struct log_metric copy;
	if (!c->is_summarised || column == POINT_SKETCH) {
		copy = c->metric;
		report_log_summarise(&copy, &c->summary);
		c->is_summarised = true;
	}
	const struct log_summary *s = &c->summary;
	if (column == POINT_N)
		sqlite3_result_int64(ctx, s->n);
	else if (column == POINT_SUM)
		sqlite3_result_double(ctx, s->sum);
	else if ((column == POINT_MIN || column == POINT_MAX) && s->has_values)
		sqlite3_result_double(ctx, column == POINT_MIN ? s->min : s->max);
	else if (column == POINT_SKETCH && s->has_sketch) {
		struct ddsketch sketch;
		enum err e = ERR_OK;
		ddsketch_init(&sketch);
		for (unsigned i = 0; i < copy.bin_count && e == ERR_OK; i++)
			e = ddsketch_add_key(&sketch, copy.keys[i], copy.counts[i]);
		if (e == ERR_OK)
			result_sketch(ctx, &sketch);
	}
}

static int point_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column)
{
	struct point_cursor *c = (struct point_cursor *)cursor;
	const struct log_report *r = &c->report;
	switch ((enum point_column)column) {
	case POINT_DEVICE:
		sqlite3_result_int64(ctx, r->device);
		break;
	case POINT_RECEIVED:
		sqlite3_result_int64(ctx, r->received_ms);
		break;
	case POINT_TS:
		if (r->has_ts)
			sqlite3_result_int64(ctx, r->ts_ms);
		break;
	case POINT_VERSION:
		sqlite3_result_int64(ctx, r->version);
		break;
	case POINT_BOOT:
		sqlite3_result_text64(ctx, r->boot.data, r->boot.len, SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	case POINT_SEQ:
		sqlite3_result_int64(ctx, r->seq);
		break;
	case POINT_METRIC:
		sqlite3_result_int64(ctx, c->metric.name);
		break;
	case POINT_TYPE:
		sqlite3_result_text(ctx, value_type_text(c->metric.type), -1, SQLITE_STATIC);
		break;
	case POINT_REPORTS:
		sqlite3_result_int64(ctx, 1);
		break;
	case POINT_N:
	case POINT_SUM:
	case POINT_MIN:
	case POINT_MAX:
	case POINT_SKETCH:
		result_summary(ctx, c, column);
		break;
	case POINT_VALUE:
		result_value(ctx, &c->metric);
		break;
	case POINT_DATA:
	case POINT_BASE:
		break;
	}
	return SQLITE_OK;
}

static const sqlite3_module point_module = {
	.xConnect = point_connect, /* no xCreate: it exists without CREATE TABLE, as a table function */
	.xBestIndex = point_plan,
	.xDisconnect = point_disconnect,
	.xOpen = point_open,
	.xClose = point_close,
	.xFilter = point_filter,
	.xNext = point_next,
	.xEof = point_eof,
	.xColumn = point_column,
	.xRowid = point_rowid,
};

enum err telemetry_sql_register(struct db *db, const struct telemetry_cohort *cohort, struct fault *f)
{
	static const struct {
		const char *name;
		int argc;
		void (*call)(sqlite3_context *, int, sqlite3_value **);
		void (*step)(sqlite3_context *, int, sqlite3_value **);
		void (*final)(sqlite3_context *);
	} functions[] = {
		{"sketch_merge", 1, NULL, merge_step, merge_final},
		{"sketch_add", 2, sketch_add, NULL, NULL},
		{"sketch_quantile", 3, sketch_quantile, NULL, NULL},
		{"in_cohort", 1, in_cohort, NULL, NULL},
	};
	sqlite3 *native = db_native(db);
	int rc = sqlite3_create_module_v2(native, "report_points", &point_module, NULL, NULL);
	for (size_t i = 0; i < sizeof functions / sizeof *functions && rc == SQLITE_OK; i++)
		rc = sqlite3_create_function_v2(native, functions[i].name, functions[i].argc, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
		                                (void *)(uintptr_t)cohort, functions[i].call, functions[i].step, functions[i].final, NULL);
	return rc == SQLITE_OK ? ERR_OK : fault_set(f, ERR_INTERNAL, "", "SQL functions: %s", sqlite3_errmsg(native));
}
