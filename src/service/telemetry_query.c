#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "service/telemetry_inside.h"
#include "store/telemetry_query.h"

#define SCORES "anomaly." /* before a metric's name: its scores */

#define RAW_RANGE_MAX_MS ((int64_t)6 * TELEMETRY_HOUR_MS) /* steps below a minute read packed reports one by one */
#define MINUTE_RANGE_MAX_MS ((int64_t)93 * 24 * TELEMETRY_HOUR_MS) /* one search a minute: 134,000 of them */
#define EXACT_RANGE_MS 600000 /* without a step, up to here to the millisecond */

struct telemetry_query {
	struct telemetry_select select;
	char *path;
	int64_t *devices, *versions;
	int64_t deadline_ms;
	unsigned aggregates;
	bool by_version, raw;
	bool is_unknown; /* of a metric that nobody ever reported: no rows */
	struct buf out;
	size_t rows;
};

static const char *const aggregate_names[AGG_ENUM] = {
	[AGG_COUNT] = "count", [AGG_SUM] = "sum", [AGG_MEAN] = "mean", [AGG_MIN] = "min", [AGG_MAX] = "max",
	[AGG_P50] = "p50", [AGG_P95] = "p95", [AGG_P99] = "p99", [AGG_REPORTS] = "reports",
};

const char *telemetry_aggregate_name(enum telemetry_aggregate a)
{
	return aggregate_names[a];
}

/* ---- checking and planning ---- */

static enum err check_range(const struct telemetry_question *q, struct fault *f)
{
	if (!str_is_metric(q->metric, strlen(q->metric)))
		return fault_set(f, ERR_INVALID, "/metric", "not a metric name");
	if (q->from_ms < 0 || q->to_ms <= q->from_ms)
		return fault_set(f, ERR_INVALID, "/from", "from must be before to");
	if (q->step_ms < 0)
		return fault_set(f, ERR_INVALID, "/step_ms", "must not be negative");
	if (q->version != NULL && q->model == NULL)
		return fault_set(f, ERR_INVALID, "/version", "needs model");
	if (q->raw && q->device_count != 1)
		return fault_set(f, ERR_INVALID, "/raw", "single points are of one device: name it");
	if (q->step_ms > 0 && (q->to_ms - q->from_ms) / q->step_ms >= TELEMETRY_ROWS_MAX)
		return fault_set(f, ERR_INVALID, "/step_ms", "more than %d steps in the range", TELEMETRY_ROWS_MAX);
	return ERR_OK;
}

static int64_t floor_to(int64_t v, int64_t unit)
{
	return v - v % unit;
}

/* Of the fleet, the coarsest source that the step allows; ranges are widened to its unit. */
static enum err choose_source(const struct telemetry_question *q, struct telemetry_select *s, struct fault *f)
{
	int64_t range = q->to_ms - q->from_ms, unit = TELEMETRY_MINUTE_MS;
	bool is_exact = q->step_ms % TELEMETRY_MINUTE_MS != 0 || (q->step_ms == 0 && range <= EXACT_RANGE_MS);
	s->from_ms = q->from_ms;
	s->to_ms = q->to_ms;
	s->step_ms = q->step_ms > 0 ? q->step_ms : range;
	s->source = SOURCE_RAW;
	if (q->devices != NULL)
		return ERR_OK; /* from their chunks, to the millisecond */
	if (is_exact && range > RAW_RANGE_MAX_MS)
		return fault_set(f, ERR_INVALID, "/step_ms", "over more than six hours a step is whole minutes");
	if (is_exact)
		return ERR_OK;
	bool hours = q->step_ms > 0 ? q->step_ms % TELEMETRY_HOUR_MS == 0 : range >= 48 * (int64_t)TELEMETRY_HOUR_MS;
	s->source = hours ? SOURCE_HOUR : SOURCE_MINUTE;
	if (hours)
		unit = TELEMETRY_HOUR_MS;
	s->from_ms = floor_to(q->from_ms, unit);
	s->to_ms = floor_to(q->to_ms + unit - 1, unit);
	if (q->step_ms == 0)
		s->step_ms = s->to_ms - s->from_ms;
	if (!hours && range > MINUTE_RANGE_MAX_MS)
		return fault_set(f, ERR_INVALID, "/step_ms", "over more than 93 days a step is whole hours");
	return ERR_OK;
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int64_t *copy_ids(const int64_t *ids, size_t count)
{
	int64_t *copy = calloc(count + 1, sizeof *copy);
	if (copy == NULL)
		abort();
	if (count > 0)
		memcpy(copy, ids, count * sizeof *copy);
	qsort(copy, count, sizeof *copy, compare_ids);
	return copy;
}

static void collect_versions(const struct telemetry *t, const struct telemetry_question *q, struct telemetry_query *y)
{
	int64_t *found = calloc(symbols_count(t->symbols) + 1, sizeof *found);
	if (found == NULL)
		abort();
	for (size_t id = 1; id <= symbols_count(t->symbols); id++) {
		const struct symbol *s = symbols_get(t->symbols, (int64_t)id);
		if (!s->is_metric && strcmp(s->model, q->model) == 0 && (q->version == NULL || strcmp(s->text, q->version) == 0))
			found[y->select.version_count++] = s->id;
	}
	y->versions = found;
	y->select.versions = found;
}

enum err telemetry_query_new(struct telemetry *t, const struct telemetry_question *q, struct telemetry_query **out, struct fault *f)
{
	struct telemetry_select s = {.limit = q->raw && q->limit > 0 && q->limit < TELEMETRY_ROWS_MAX ? q->limit : TELEMETRY_ROWS_MAX + !q->raw};
	*out = NULL;
	enum err e = check_range(q, f);
	if (e == ERR_OK && q->raw) {
		s.from_ms = q->from_ms;
		s.to_ms = q->to_ms;
	} else if (e == ERR_OK) {
		e = choose_source(q, &s, f);
	}
	if (e != ERR_OK)
		return e;
	struct telemetry_query *y = calloc(1, sizeof *y);
	if (y == NULL)
		abort();
	const struct symbol *metric = symbols_find_metric(t->symbols, q->metric);
	if (metric == NULL && strncmp(q->metric, SCORES, strlen(SCORES)) == 0) {
		metric = symbols_find_metric(t->symbols, q->metric + strlen(SCORES));
		s.is_scores = true;
	}
	y->is_unknown = metric == NULL;
	y->select = s;
	y->select.metric = metric != NULL ? metric->id : 0;
	y->path = strdup(t->path);
	if (y->path == NULL)
		abort();
	y->select.path = y->path;
	if (q->devices != NULL) {
		y->devices = copy_ids(q->devices, q->device_count);
		y->select.devices = y->devices;
		y->select.device_count = q->device_count;
	}
	if (q->model != NULL)
		collect_versions(t, q, y);
	y->select.by_version = y->by_version = q->by_version;
	y->aggregates = q->aggregates;
	y->deadline_ms = q->deadline_ms;
	y->raw = q->raw;
	*out = y;
	return ERR_OK;
}

/* ---- running ---- */

static void put_aggregate(struct buf *out, enum telemetry_aggregate a, const struct telemetry_answer_row *r)
{
	const double figures[AGG_ENUM] = {
		[AGG_SUM] = isnan(r->min) ? NAN : r->sum, [AGG_MEAN] = isnan(r->min) || r->n == 0 ? NAN : r->sum / (double)r->n, [AGG_MIN] = r->min,
		[AGG_MAX] = r->max, [AGG_P50] = r->p50, [AGG_P95] = r->p95, [AGG_P99] = r->p99,
	};
	if (a == AGG_COUNT || a == AGG_REPORTS)
		json_int(out, aggregate_names[a], a == AGG_COUNT ? r->n : r->reports);
	else
		json_num(out, aggregate_names[a], figures[a]); /* NAN: null */
}

static void put_row(void *ctx, const struct telemetry_answer_row *r)
{
	struct telemetry_query *q = ctx;
	json_open_object(&q->out);
	json_int(&q->out, "at", r->at_ms);
	if (q->by_version) {
		json_key(&q->out, "model");
		json_put_str(&q->out, r->model);
		json_key(&q->out, "version");
		json_put_str(&q->out, r->version);
	}
	for (int a = 0; a < AGG_ENUM; a++) {
		if (q->aggregates & 1u << a)
			put_aggregate(&q->out, (enum telemetry_aggregate)a, r);
	}
	json_close_object(&q->out);
	q->rows++;
}

static void put_point(void *ctx, const struct telemetry_point_row *r)
{
	struct telemetry_query *q = ctx;
	json_open_object(&q->out);
	json_int(&q->out, "at", r->received_ms);
	if (r->has_ts)
		json_int(&q->out, "ts", r->ts_ms);
	json_str(&q->out, "boot", r->boot);
	json_int(&q->out, "seq", r->seq);
	if (r->version != NULL) {
		json_str(&q->out, "model", r->model);
		json_str(&q->out, "version", r->version);
	}
	json_str(&q->out, "kind", r->type);
	json_raw(&q->out, "value", r->value);
	json_close_object(&q->out);
	q->rows++;
}

enum err telemetry_query_run(struct telemetry_query *q, struct fault *f)
{
	enum err e = ERR_OK;
	q->select.deadline_mono_ms = q->deadline_ms > 0 ? clock_mono_ms() + q->deadline_ms : 0;
	q->select.row = put_row;
	q->select.ctx = q;
	buf_clear(&q->out);
	q->rows = 0;
	json_open_array(&q->out);
	if (!q->is_unknown)
		e = q->raw ? telemetry_points_run(&q->select, put_point, f) : telemetry_select_run(&q->select, f);
	json_close_array(&q->out);
	if (e == ERR_TIMEOUT)
		return fault_set(f, ERR_TIMEOUT, "", "the query ran longer than %lld ms: ask for a shorter range or larger steps", (long long)q->deadline_ms);
	if (e == ERR_OK && q->rows > TELEMETRY_ROWS_MAX)
		return fault_set(f, ERR_INVALID, "/step_ms", "more than %d rows: ask for larger steps", TELEMETRY_ROWS_MAX);
	return e;
}

const char *telemetry_query_json(const struct telemetry_query *q)
{
	return buf_cstr(&q->out);
}

void telemetry_query_free(struct telemetry_query *q)
{
	if (q == NULL)
		return;
	buf_done(&q->out);
	free(q->devices);
	free(q->versions);
	free(q->path);
	free(q);
}
