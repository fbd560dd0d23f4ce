/* /api/v1/anomalies and /api/v1/detect: what is unusual now, and how large is too large. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "service/detect.h"
#include "service/registry.h"

static enum err need_detect(struct api_request *rq)
{
	return rq->call.s->detect != NULL ? ERR_OK : fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "detection is off ([detect] state = off)");
}

static enum err need_device(struct api_request *rq, const char *id, const struct device_state **out)
{
	*out = registry_find(rq->call.s->registry, id);
	return *out != NULL ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no device %.64s", id);
}

/* ---- ranking ---- */

struct anomaly_body {
	int64_t at;
	double score, peak;
	const char *device, *metric, *cohort;
};
#define AT(member) .offset = offsetof(struct anomaly_body, member)
static const struct field anomaly_fields[] = {
	{.name = "device", .type = FIELD_STR, AT(device), .doc = "its id"},
	{.name = "metric", .type = FIELD_STR, AT(metric), .doc = "which of its first eight"},
	{.name = "cohort", .type = FIELD_STR, AT(cohort), .doc = "hardware/model-version"},
	{.name = "score", .type = FIELD_NUM, AT(score), .doc = "of the last value: 0..1, above 0.5 an event"},
	{.name = "peak", .type = FIELD_NUM, AT(peak), .doc = "highest score of this hour and the one before; the order of the list"},
	{.name = "at", .type = FIELD_INT, AT(at), .doc = "receipt of the last value"},
	{.name = NULL},
};
#undef AT

static const struct route_query anomaly_query[] = {
	{"device", "only of this device"},
	{"metric", "only of this metric"},
	{"cohort", "only of this cohort: hardware/model-version"},
	{"since", "only series with a value received since then, ms since 1970"},
	{"least", "only peaks of at least so many hundredths; 0 when absent"},
	{"limit", "1..1000, 100 when absent"},
	{NULL, NULL},
};

static enum err rank_step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	(void)rq;
	*is_done = detect_rank_step(state, box);
	return ERR_OK;
}

static enum err rank_finish(struct api_request *rq, void *state)
{
	api_list_open(rq);
	detect_rank_write(state, rq->call.s, &rq->out);
	api_list_close(rq, NULL, -1);
	return ERR_OK;
}

static void rank_free(void *state)
{
	detect_rank_free(state);
}

static enum err list_anomalies(struct api_request *rq)
{
	static const struct api_steps steps = {rank_step, rank_finish, rank_free};
	struct detect_question q = {.metric = api_query(rq, "metric"), .cohort = api_query(rq, "cohort")};
	const char *id = api_query(rq, "device");
	const struct device_state *device = NULL;
	int64_t limit = 100, least = 0;
	enum err e = need_detect(rq);
	if (e == ERR_OK && id != NULL)
		e = need_device(rq, id, &device);
	if (e == ERR_OK)
		e = api_query_int(rq, "since", 0, INT64_MAX, &q.since_ms);
	if (e == ERR_OK)
		e = api_query_int(rq, "least", 0, 100, &least);
	if (e == ERR_OK)
		e = api_query_int(rq, "limit", 1, DETECT_RANKED, &limit);
	if (e != ERR_OK)
		return e;
	q.device = device != NULL ? device->row : 0;
	q.least = (double)least / 100;
	q.limit = (size_t)limit;
	return api_in_steps(rq, &steps, detect_rank_begin(rq->call.s->detect, &q));
}

/* ---- cohorts ---- */

struct cohort_body {
	int64_t reports, anomalies, findings;
	const char *name, *hardware, *model, *version, *parent, *thresholds, *drift;
};
#define AT(member) .offset = offsetof(struct cohort_body, member)
static const struct field cohort_fields[] = {
	{.name = "name", .type = FIELD_STR, AT(name), .doc = "hardware/model-version; the hardware alone for the parent of its versions"},
	{.name = "hardware", .type = FIELD_STR, AT(hardware), .doc = "hardware class"},
	{.name = "model", .type = FIELD_STR, AT(model), .doc = "model that its reports name"},
	{.name = "version", .type = FIELD_STR, AT(version), .doc = "version of it"},
	{.name = "parent", .type = FIELD_STR, AT(parent), .doc = "whose thresholds it takes while it knows little"},
	{.name = "reports", .type = FIELD_INT, AT(reports), .doc = "that were judged by it"},
	{.name = "anomalies", .type = FIELD_INT, AT(anomalies), .doc = "samples with a score that is an event"},
	{.name = "findings", .type = FIELD_INT, AT(findings), .doc = "causes that began in one of its devices"},
	{.name = "thresholds", .type = FIELD_ANY, AT(thresholds),
	 .doc = "of each statistic: statistic, threshold, source (shipped parent scaled tail empirical), device_days"},
	{.name = "drift", .type = FIELD_DOC, AT(drift), .doc = "the last hour judged: hour, devices, warm, over, t2, threshold, psi, kl"},
	{.name = NULL},
};
#undef AT

static enum err list_cohorts(struct api_request *rq)
{
	enum err e = need_detect(rq);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	detect_cohorts_write(rq->call.s->detect, &rq->out);
	api_list_close(rq, NULL, -1);
	return ERR_OK;
}

/* ---- a device ---- */

struct state_body {
	const char *device, *cohort, *series, *causes, *refused;
};
#define AT(member) .offset = offsetof(struct state_body, member)
static const struct field state_fields[] = {
	{.name = "device", .type = FIELD_STR, AT(device), .doc = "its id"},
	{.name = "cohort", .type = FIELD_STR, AT(cohort), .doc = "hardware/model-version"},
	{.name = "series", .type = FIELD_ANY, AT(series), .doc = "metrics that have a score: metric, score, at"},
	{.name = "causes", .type = FIELD_ANY, AT(causes), .doc = "what is found wrong now"},
	{.name = "refused", .type = FIELD_DOC, AT(refused),
	 .doc = "what was not taken: types (of another type than the metric's), metrics (above eight), clocks (times that cannot be), values (out of range)"},
	{.name = NULL},
};
#undef AT

static enum err show_device(struct api_request *rq)
{
	const struct device_state *device = NULL;
	enum err e = need_detect(rq);
	if (e == ERR_OK)
		e = need_device(rq, rq->param[0], &device);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_str(&rq->out, "device", device->id);
	bool is_known = detect_device_write(rq->call.s->detect, device->row, &rq->out);
	json_close_object(&rq->out);
	return is_known ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "%.64s has sent no telemetry yet", device->id);
}

extern const struct route routes_detect[];
const struct route routes_detect[] = {
	{.method = "GET", .path = "/api/v1/anomalies", .role = ROLE_VIEWER, .summary = "what is most unusual now, highest score first", .tag = "detect",
	 .reply = anomaly_fields, .reply_is_list = true, .query = anomaly_query, .handle = list_anomalies},
	{.method = "GET", .path = "/api/v1/detect/cohorts", .role = ROLE_VIEWER, .summary = "thresholds of each cohort, and its drift", .tag = "detect",
	 .reply = cohort_fields, .reply_is_list = true, .handle = list_cohorts},
	{.method = "GET", .path = "/api/v1/detect/devices/{device}", .role = ROLE_VIEWER, .summary = "what detection knows of a device", .tag = "detect",
	 .reply = state_fields, .handle = show_device},
	{.method = NULL},
};
