/* /api/v1/telemetry */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "net/jobs.h"
#include "service/registry.h"
#include "service/rollout_cohort.h"
#include "service/telemetry.h"

#define HOUR_MS 3600000
#define TIME_MAX INT64_C(4102444800000) /* 2100 */
#define STEP_MAX (INT64_C(366) * 24 * HOUR_MS)
#define DEADLINE_MS 10000               /* a query that runs longer is refused with 504 */
#define POINTS_DEFAULT 100
#define AGGREGATES_DEFAULT "mean,count"

/* What rows look like; which members are there depends on the question. */
struct row {
	bool none;
	int64_t at, ts, seq, count, reports;
	double sum, mean, min, max, p50, p95, p99;
	const char *model, *version, *boot, *kind, *value;
};
#define AT(member) .offset = offsetof(struct row, member)
static const struct field row_fields[] = {
	{.name = "at", .type = FIELD_INT, AT(at), .doc = "start of the step; of a single point: when it was received"},
	{.name = "model", .type = FIELD_STR, AT(model), .flags = FIELD_NULLABLE,
	 .doc = "with by=version or raw=true; null for reports without one"},
	{.name = "version", .type = FIELD_STR, AT(version), .flags = FIELD_NULLABLE,
	 .doc = "likewise"},
	{.name = "count", .type = FIELD_INT, AT(count), .flags = FIELD_OMIT_ZERO, .doc = "values behind the reports"},
	{.name = "sum", .type = FIELD_NUM, AT(sum), .doc = "of values; of successes for a ratio"},
	{.name = "mean", .type = FIELD_NUM, AT(mean), .flags = FIELD_NULLABLE,
	 .doc = "sum / count; of a sketch within 2 %"},
	{.name = "min", .type = FIELD_NUM, AT(min), .flags = FIELD_NULLABLE,
	 .doc = "smallest value, or mean or share of one report"},
	{.name = "max", .type = FIELD_NUM, AT(max), .flags = FIELD_NULLABLE,
	 .doc = "largest likewise"},
	{.name = "p50", .type = FIELD_NUM, AT(p50), .flags = FIELD_NULLABLE,
	 .doc = "median within 2 %; null where only means or shares are reported"},
	{.name = "p95", .type = FIELD_NUM, AT(p95), .flags = FIELD_NULLABLE,
	 .doc = "95th percentile likewise"},
	{.name = "p99", .type = FIELD_NUM, AT(p99), .flags = FIELD_NULLABLE,
	 .doc = "99th percentile likewise"},
	{.name = "reports", .type = FIELD_INT, AT(reports), .flags = FIELD_OMIT_ZERO, .doc = "how many reports"},
	{.name = "ts", .type = FIELD_INT, AT(ts), .flags = FIELD_OMIT_ZERO, .doc = "raw: the device's own time, if it told one"},
	{.name = "boot", .type = FIELD_STR, AT(boot), .doc = "raw: boot id"},
	{.name = "seq", .type = FIELD_INT, AT(seq), .flags = FIELD_OMIT_ZERO, .doc = "raw: number of the report"},
	{.name = "kind", .type = FIELD_STR, AT(kind), .doc = "raw: number, sum, ratio, sketch, hist"},
	{.name = "value", .type = FIELD_ANY, AT(value), .doc = "raw: as it was reported"},
	{.name = NULL},
};

static const struct field metric_fields[] = {
	{.name = "name", .type = FIELD_STR, AT(model), .doc = "of the metric"},
	{.name = "kind", .type = FIELD_STR, AT(kind), .doc = "of its last value since the daemon's start; absent before the first"},
	{.name = "last_at", .type = FIELD_INT, AT(at), .flags = FIELD_OMIT_ZERO, .doc = "when that came"},
	{.name = NULL},
};

static const struct route_query questions[] = {
	{"metric", "name of the metric; required"},
	{"device", "one device"},
	{"filter", "or a cohort: RSQL over devices"},
	{"rollout", "or the devices of a rollout"},
	{"stage", "of this stage of it; 0 is the canary stage"},
	{"role", "deployed (when absent), canary, or control (needs stage)"},
	{"model", "only of this model"},
	{"version", "and of this version of it"},
	{"from", "ms since 1970, by the server's time of receipt; an hour before `to` when absent"},
	{"to", "ms since 1970, exclusive; now when absent. Whole minutes or hours are answered where the step is such"},
	{"step_ms", "a row for each step; 0 or absent: one row. Below a minute for at most six hours"},
	{"aggregate", "comma-separated: count sum mean min max p50 p95 p99 reports; " AGGREGATES_DEFAULT " when absent"},
	{"by", "version: a row for each version"},
	{"raw", "true: single points of one device, newest first"},
	{"limit", "of raw: 1 to 1000, 100 when absent"},
	{NULL, NULL},
};

/* ---- the question ---- */

static enum err refuse(struct api_request *rq, const char *name, const char *why)
{
	return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter %s: %s", name, why);
}

static enum err parse_aggregates(struct api_request *rq, const char *text, unsigned *out)
{
	*out = 0;
	for (const char *at = text; *at != '\0';) {
		size_t len = strcspn(at, ",");
		int a = 0;
		while (a < AGG_ENUM && (strlen(telemetry_aggregate_name((enum telemetry_aggregate)a)) != len ||
		                        strncmp(telemetry_aggregate_name((enum telemetry_aggregate)a), at, len) != 0))
			a++;
		if (a == AGG_ENUM)
			return refuse(rq, "aggregate", "count sum mean min max p50 p95 p99 reports are known");
		*out |= 1u << a;
		at += len + (at[len] == ',');
	}
	return *out != 0 ? ERR_OK : refuse(rq, "aggregate", "at least one is wanted");
}

struct devices {
	int64_t *rows;
	size_t count, room;
};

static enum err add_device(void *ctx, struct device_state *d)
{
	struct devices *list = ctx;
	if (list->count == list->room) {
		list->room = list->room ? list->room * 2 : 256;
		list->rows = realloc(list->rows, list->room * sizeof *list->rows);
		if (list->rows == NULL)
			abort();
	}
	list->rows[list->count++] = d->row;
	return ERR_OK;
}

/* From here on nobody is not everybody. */
static void make_list(struct devices *list)
{
	list->rows = calloc(1, sizeof *list->rows);
	if (list->rows == NULL)
		abort();
	list->room = 1;
}

static enum err collect_rollout(struct api_request *rq, struct devices *list)
{
	static const char *const roles[] = {[COHORT_DEPLOYED] = "deployed", [COHORT_CANARY] = "canary", [COHORT_CONTROL] = "control"};
	const char *role = api_query(rq, "role");
	int64_t rollout = 0, stage = -1;
	int cohort = 0;
	while (role != NULL && cohort <= COHORT_CONTROL && strcmp(roles[cohort], role) != 0)
		cohort++;
	if (cohort > COHORT_CONTROL)
		return refuse(rq, "role", "deployed, canary and control are known");
	enum err e = api_query_int(rq, "rollout", 1, INT64_MAX, &rollout);
	if (e == ERR_OK)
		e = api_query_int(rq, "stage", 0, 1000, &stage);
	if (e != ERR_OK)
		return e;
	if (cohort == COHORT_CONTROL && stage < 0)
		return refuse(rq, "stage", "controls are of one stage: name it");
	make_list(list);
	return rollout_cohort_each(&rq->call, rollout, stage, (enum rollout_cohort)cohort, add_device, list);
}

/* rows stays NULL when every device is meant. */
static enum err collect_devices(struct api_request *rq, struct devices *list)
{
	const char *device = api_query(rq, "device"), *filter = api_query(rq, "filter"), *rollout = api_query(rq, "rollout");
	if ((device != NULL) + (filter != NULL) + (rollout != NULL) > 1)
		return refuse(rq, "filter", "one of device, filter and rollout");
	if (rollout == NULL && (api_query(rq, "stage") != NULL || api_query(rq, "role") != NULL))
		return refuse(rq, "rollout", "stage and role are of a rollout");
	if (rollout != NULL)
		return collect_rollout(rq, list);
	if (device != NULL) {
		struct device_state *d = registry_find(rq->call.s->registry, device);
		return d != NULL ? add_device(list, d) : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no device %.64s", device);
	}
	if (filter == NULL || filter[0] == '\0')
		return ERR_OK;
	make_list(list);
	return registry_select(&rq->call, filter, 0, add_device, list);
}

static enum err bind_question(struct api_request *rq, struct telemetry_question *q)
{
	const char *by = api_query(rq, "by"), *aggregates = api_query(rq, "aggregate");
	*q = (struct telemetry_question){.metric = api_query(rq, "metric"), .model = api_query(rq, "model"), .version = api_query(rq, "version"),
	                                 .to_ms = rq->call.now_ms + 1, .limit = POINTS_DEFAULT, .deadline_ms = DEADLINE_MS};
	if (q->metric == NULL)
		return refuse(rq, "metric", "is required");
	if (by != NULL && strcmp(by, "version") != 0)
		return refuse(rq, "by", "version is known");
	q->by_version = by != NULL;
	enum err e = api_query_int(rq, "to", 1, TIME_MAX, &q->to_ms);
	q->from_ms = q->to_ms > HOUR_MS ? q->to_ms - HOUR_MS : 0;
	if (e == ERR_OK)
		e = api_query_int(rq, "from", 0, TIME_MAX, &q->from_ms);
	if (e == ERR_OK)
		e = api_query_int(rq, "step_ms", 0, STEP_MAX, &q->step_ms);
	if (e == ERR_OK)
		e = api_query_bool(rq, "raw", &q->raw);
	if (e == ERR_OK)
		e = api_query_int(rq, "limit", 1, 1000, &q->limit);
	return e == ERR_OK ? parse_aggregates(rq, aggregates != NULL ? aggregates : AGGREGATES_DEFAULT, &q->aggregates) : e;
}

/* ---- the job ---- */

struct ask {
	struct api_request *rq;
	struct telemetry_query *query;
	enum err result;
	struct fault fault;
};

static void work(void *ctx)
{
	struct ask *a = ctx;
	a->result = telemetry_query_run(a->query, &a->fault);
}

static enum err as_parameter(struct fault *f, enum err e)
{
	if (e != ERR_INVALID || f->pointer[0] == '\0')
		return e;
	struct fault why = *f;
	return fault_set(f, ERR_BAD_REQUEST, "", "query parameter %s: %s", why.pointer + 1, why.detail);
}

static void done(void *ctx)
{
	struct ask *a = ctx;
	struct api_request *rq = a->rq;
	enum err e = as_parameter(&a->fault, a->result);
	if (e == ERR_OK) {
		json_open_object(&rq->out);
		json_raw(&rq->out, "items", telemetry_query_json(a->query));
		json_close_object(&rq->out);
	} else {
		*rq->call.fault = a->fault;
	}
	telemetry_query_free(a->query);
	free(a);
	api_finish(rq, e);
}

static enum err submit(struct api_request *rq, struct telemetry_query *query)
{
	struct ask *a = calloc(1, sizeof *a);
	if (a == NULL)
		abort();
	a->rq = rq;
	a->query = query;
	enum err e = jobs_submit(api_jobs(rq), work, done, a);
	if (e != ERR_OK) {
		telemetry_query_free(query);
		free(a);
		return fault_set(rq->call.fault, e, "", "too many queries at once: try again");
	}
	rq->deferred = true;
	return ERR_OK;
}

static enum err ask(struct api_request *rq)
{
	struct telemetry_question q;
	struct telemetry_query *query = NULL;
	struct devices list = {NULL, 0, 0};
	enum err e = bind_question(rq, &q);
	if (e == ERR_OK)
		e = collect_devices(rq, &list);
	q.devices = list.rows;
	q.device_count = list.count;
	if (e == ERR_OK)
		e = as_parameter(rq->call.fault, telemetry_query_new(rq->call.s->telemetry, &q, &query, rq->call.fault));
	free(list.rows);
	return e == ERR_OK ? submit(rq, query) : e;
}

static enum err list_metrics(struct api_request *rq)
{
	struct buf items = BUF_INIT;
	telemetry_metrics_json(rq->call.s->telemetry, &items);
	json_open_object(&rq->out);
	json_raw(&rq->out, "items", buf_cstr(&items));
	json_close_object(&rq->out);
	buf_done(&items);
	return ERR_OK;
}

extern const struct route routes_telemetry[];
const struct route routes_telemetry[] = {
	{.method = "GET", .path = "/api/v1/telemetry", .role = ROLE_VIEWER, .summary = "aggregates of a metric over time, or single points of a device",
	 .tag = "telemetry", .reply = row_fields, .reply_is_list = true, .query = questions, .handle = ask},
	{.method = "GET", .path = "/api/v1/telemetry/metrics", .role = ROLE_VIEWER, .summary = "lists the metrics that were ever reported", .tag = "telemetry",
	 .reply = metric_fields, .reply_is_list = true, .handle = list_metrics},
	{.method = NULL},
};
