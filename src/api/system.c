/* What the daemon says of itself: /healthz, /readyz, /metrics, /openapi.json, /api/v1/stats. */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "api/state.h"
#include "net/http.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "service/alerts.h"
#include "service/detect.h"
#include "service/commands.h"
#include "service/health.h"
#include "service/ingest.h"
#include "service/metrics.h"
#include "service/outbox.h"
#include "service/registry.h"
#include "service/telemetry.h"

/* ---- health ---- */

static const struct field health_fields[] = {{.name = "status", .type = FIELD_STR, .doc = "ok"}, {.name = NULL}};
static const struct field readiness_fields[] = {
	{.name = "status", .type = FIELD_STR, .doc = "ready or not ready"},
	{.name = "reason", .type = FIELD_STR, .doc = "why it is not ready; absent when it is"},
	{.name = "mqtt", .type = FIELD_STR, .doc = "connected or disconnected: the broker"},
	{.name = NULL},
};

static enum err health(struct api_request *rq)
{
	buf_str(&rq->out, "{\"status\":\"ok\"}");
	return ERR_OK;
}

static enum err readiness(struct api_request *rq)
{
	const struct api *api = rq->api;
	const char *why = !api->is_ready ? api->why_not_ready : api->commit != ERR_OK ? err_title(api->commit) : NULL;
	json_open_object(&rq->out);
	json_str(&rq->out, "status", why == NULL ? "ready" : "not ready");
	if (why != NULL)
		json_str(&rq->out, "reason", why);
	json_str(&rq->out, "mqtt", metric_get(METER_MQTT_CONNECTED) ? "connected" : "disconnected"); /* REST works without the broker */
	json_close_object(&rq->out);
	rq->status = why == NULL ? 200 : 503;
	return ERR_OK;
}

static enum err openapi(struct api_request *rq)
{
	buf_append(&rq->out, rq->api->openapi.data, rq->api->openapi.len);
	return ERR_OK;
}

/* ---- figures ---- */

static void read_gauges(const struct api *api)
{
	const struct services *s = api->s;
	metric_set(METER_DEVICES, (int64_t)registry_size(s->registry));
	metric_set(METER_DEVICES_ONLINE, (int64_t)registry_online(s->registry));
	metric_set(METER_MQTT_OUT_WAITING, (int64_t)outbox_waiting(s->outbox));
	if (s->alerts != NULL)
		metric_set(METER_ALERTS_FIRING, alerts_firing(s->alerts));
	if (s->commands != NULL)
		metric_set(METER_COMMANDS_OPEN, commands_open_count(s->commands));
	if (s->health != NULL)
		metric_set(METER_HEALTH_STATE_BYTES, health_state_bytes(s->health));
	if (s->telemetry != NULL)
		metric_set(METER_TELEMETRY_QUEUED, (int64_t)telemetry_pending(s->telemetry));
	metric_set(METER_JOBS_RUNNING, jobs_pending(api->jobs));
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	if (statm != NULL) {
		if (fscanf(statm, "%*d %ld", &pages) != 1)
			pages = 0;
		fclose(statm);
	}
	metric_set(METER_RESIDENT_BYTES, pages * sysconf(_SC_PAGESIZE));
}

static void write_lag(const struct api *api, struct buf *out)
{
	struct loop_lag lag;
	loop_lag_read(api->loop, &lag);
	buf_printf(out,
	           "# HELP aviary_loop_lag_seconds how long one iteration kept the loop from looking for new events\n"
	           "# TYPE aviary_loop_lag_seconds summary\n"
	           "aviary_loop_lag_seconds{quantile=\"0.5\"} %.9f\naviary_loop_lag_seconds{quantile=\"0.99\"} %.9f\n"
	           "aviary_loop_lag_seconds{quantile=\"1\"} %.9f\naviary_loop_lag_seconds_sum %.9f\naviary_loop_lag_seconds_count %llu\n",
	           (double)lag.p50_ns / 1e9, (double)lag.p99_ns / 1e9, (double)lag.max_ns / 1e9, (double)lag.busy_ns / 1e9,
	           (unsigned long long)lag.iterations);
}

/* The longest hold and its processor time, since the start and since /metrics was asked last; by what, for people. */
static void write_peak(struct api *api, struct buf *out)
{
	struct loop_peak p[2];
	static const char *const since[] = {"start", "scrape"};
	loop_peak_read(api->loop, &p[0], &p[1]);
	loop_peak_take(api->loop);
	buf_str(out, "# HELP aviary_loop_longest_hold_seconds the longest time for which one iteration let events wait\n"
	             "# TYPE aviary_loop_longest_hold_seconds gauge\n");
	for (int i = 0; i < 2; i++)
		buf_printf(out, "aviary_loop_longest_hold_seconds{since=\"%s\",what=\"%s\"} %.9f\n", since[i], p[i].longest.what,
		           (double)p[i].longest.busy_ns / 1e9);
	buf_str(out, "# HELP aviary_loop_longest_cpu_seconds the most processor time of the loop in one iteration\n"
	             "# TYPE aviary_loop_longest_cpu_seconds gauge\n");
	for (int i = 0; i < 2; i++)
		buf_printf(out, "aviary_loop_longest_cpu_seconds{since=\"%s\"} %.9f\n", since[i], (double)p[i].max_cpu_ns / 1e9);
}

static void write_counter(struct buf *out, const char *name, const char *help, int64_t value)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %lld\n", name, help, name, name, (long long)value);
}

static void write_ingest(const struct services *s, struct buf *out)
{
	const struct ingest_counters *n = ingest_counters(s->ingest);
	write_counter(out, "aviary_ingest_messages_total", "telemetry messages admitted", n->messages);
	write_counter(out, "aviary_ingest_reports_total", "telemetry reports admitted", n->reports);
	write_counter(out, "aviary_ingest_points_total", "values of metrics admitted", n->points);
	write_counter(out, "aviary_ingest_commands_total", "messages on /report and /status", n->commands);
	write_counter(out, "aviary_ingest_clock_wrong_total", "reports whose own time is more than a day off", n->clock_wrong);
	buf_str(out, "# HELP aviary_ingest_refused_total messages and reports refused\n# TYPE aviary_ingest_refused_total counter\n");
	for (int i = 0; i < INGEST_REFUSAL_COUNT; i++)
		buf_printf(out, "aviary_ingest_refused_total{reason=\"%s\"} %lld\n", ingest_refusal_name((enum ingest_refusal)i), (long long)n->refused[i]);
	buf_str(out, "# HELP aviary_telemetry_malformed_total telemetry refused for what it says\n# TYPE aviary_telemetry_malformed_total counter\n");
	for (int i = TELEMETRY_OK + 1; i < TELEMETRY_ERROR_COUNT; i++)
		buf_printf(out, "aviary_telemetry_malformed_total{reason=\"%s\"} %lld\n", telemetry_error_label((enum telemetry_error)i),
			(long long)n->malformed[i]);
}

static void write_telemetry(const struct services *s, struct buf *out)
{
	struct telemetry_counters n = telemetry_counters(s->telemetry);
	write_counter(out, "aviary_telemetry_batches_total", "batches written", n.batches);
	write_counter(out, "aviary_telemetry_written_reports_total", "reports written", n.reports);
	write_counter(out, "aviary_telemetry_written_bytes_total", "bytes of reports written", n.bytes);
	write_counter(out, "aviary_telemetry_write_failures_total", "batches that had to be tried again", n.failures);
	buf_printf(out,
	           "# HELP aviary_telemetry_commit_seconds_total time spent in commits of telemetry.db\n# TYPE aviary_telemetry_commit_seconds_total counter\n"
	           "aviary_telemetry_commit_seconds_total %.6f\n# HELP aviary_telemetry_db_bytes size of telemetry.db\n"
	           "# TYPE aviary_telemetry_db_bytes gauge\naviary_telemetry_db_bytes %lld\n",
	           (double)n.commit_ns / 1e9, (long long)n.log_bytes);
}

static enum err prometheus(struct api_request *rq)
{
	struct api *api = rq->api;
	read_gauges(api);
	metrics_write(&rq->out);
	write_lag(api, &rq->out);
	write_peak(api, &rq->out);
	if (api->s->ingest != NULL)
		write_ingest(api->s, &rq->out);
	if (api->s->telemetry != NULL)
		write_telemetry(api->s, &rq->out);
	if (api->s->detect != NULL)
		detect_metrics(api->s->detect, &rq->out);
	rq->content_type = "text/plain; version=0.0.4; charset=utf-8";
	return ERR_OK;
}

struct stats {
	int64_t devices, devices_online, rollouts_active, alerts_firing, reports, telemetry_bytes, resident_bytes;
	bool mqtt_connected;
	const char *version;
};

#define AT(member) .offset = offsetof(struct stats, member), .flags = FIELD_READONLY
static const struct field stats_fields[] = {
	{.name = "version", .type = FIELD_STR, AT(version), .doc = "of the daemon"},
	{.name = "devices", .type = FIELD_INT, AT(devices), .doc = "registered"},
	{.name = "devices_online", .type = FIELD_INT, AT(devices_online), .doc = "connected"},
	{.name = "rollouts_active", .type = FIELD_INT, AT(rollouts_active), .doc = "not ended"},
	{.name = "alerts_firing", .type = FIELD_INT, AT(alerts_firing), .doc = "firing now"},
	{.name = "reports", .type = FIELD_INT, AT(reports), .doc = "telemetry reports admitted since start"},
	{.name = "telemetry_bytes", .type = FIELD_INT, AT(telemetry_bytes), .doc = "size of telemetry.db"},
	{.name = "resident_bytes", .type = FIELD_INT, AT(resident_bytes), .doc = "memory of the daemon"},
	{.name = "mqtt_connected", .type = FIELD_BOOL, AT(mqtt_connected), .doc = "the broker is there"},
	{.name = NULL},
};

static enum err show_stats(struct api_request *rq)
{
	const struct services *s = rq->call.s;
	read_gauges(rq->api);
	struct stats v = {
		.devices = metric_get(METER_DEVICES), .devices_online = metric_get(METER_DEVICES_ONLINE), .rollouts_active = metric_get(METER_ROLLOUTS_ACTIVE),
		.alerts_firing = metric_get(METER_ALERTS_FIRING), .resident_bytes = metric_get(METER_RESIDENT_BYTES),
		.mqtt_connected = metric_get(METER_MQTT_CONNECTED) != 0, .version = AVIARY_VERSION,
		.reports = s->ingest != NULL ? ingest_counters(s->ingest)->reports : 0,
		.telemetry_bytes = s->telemetry != NULL ? telemetry_counters(s->telemetry).log_bytes : 0};
	json_encode(stats_fields, &v, &rq->out);
	return ERR_OK;
}

extern const struct route routes_system[];
const struct route routes_system[] = {
	{.method = "GET", .path = "/healthz", .summary = "the process answers", .tag = "system", .reply = health_fields,
	 .handle = health},
	{.method = "GET", .path = "/readyz", .summary = "requests will be served: 200, else 503 with the reason", .tag = "system",
	 .reply = readiness_fields, .handle = readiness},
	{.method = "GET", .path = "/metrics", .role = ROLE_VIEWER, .flags = ROUTE_METRICS, .summary = "counters in Prometheus text", .tag = "system",
	 .reply_type = "text/plain",
	 .handle = prometheus},
	{.method = "GET", .path = "/openapi.json", .summary = "this description", .tag = "system", .handle = openapi},
	{.method = "GET", .path = "/api/v1/stats", .role = ROLE_VIEWER, .summary = "counts for dashboards", .tag = "system", .reply = stats_fields,
	 .handle = show_stats},
	{.method = NULL},
};
