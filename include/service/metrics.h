/* The daemon's counters, gauges and histograms: one table, one row a time series, written as Prometheus text.
 * ("Meters", because a metric is what devices report.) What a service counts for itself (service/ingest.h,
 * service/telemetry.h) is read there by /metrics.
 *
 * Everything is process-global on purpose: a meter is a fact about this process. Adding is one relaxed atomic addition,
 * so jobs may do it, too. Rows of one name stand together; `labels` are constants. Units are Prometheus' base units:
 * seconds, bytes.
 */
#ifndef AVIARY_SERVICE_METRICS_H
#define AVIARY_SERVICE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

/* X(enum name, type, metric name, labels, help) */
#define METER_TABLE(X) \
	X(HTTP_2XX, "counter", "aviary_http_requests_total", "code=\"2xx\"", "HTTP requests answered") \
	X(HTTP_3XX, "counter", "aviary_http_requests_total", "code=\"3xx\"", "HTTP requests answered") \
	X(HTTP_4XX, "counter", "aviary_http_requests_total", "code=\"4xx\"", "HTTP requests answered") \
	X(HTTP_5XX, "counter", "aviary_http_requests_total", "code=\"5xx\"", "HTTP requests answered") \
	X(SSE_CLIENTS, "gauge", "aviary_event_listeners", "", "open streams of /api/v1/events") \
	X(MQTT_CONNECTED, "gauge", "aviary_mqtt_connected", "", "1 while the broker is connected (ingest client)") \
	X(MQTT_OUT, "counter", "aviary_mqtt_published_total", "", "messages to devices that the broker acknowledged") \
	X(MQTT_OUT_WAITING, "gauge", "aviary_mqtt_waiting", "", "devices that wait to be told") \
	X(TELEMETRY_QUEUED, "gauge", "aviary_telemetry_queued_reports", "", "reports that wait for the writer") \
	X(DEVICES, "gauge", "aviary_devices", "", "registered devices") \
	X(DEVICES_ONLINE, "gauge", "aviary_devices_online", "", "devices that are connected") \
	X(ALERTS_FIRING, "gauge", "aviary_alerts_firing", "", "alerts that fire") \
	X(COMMANDS_OPEN, "gauge", "aviary_commands_open", "", "devices that have not answered a command yet") \
	X(HEALTH_STATE_BYTES, "gauge", "aviary_health_state_bytes", "", "memory of health checks' states") \
	X(ROLLOUTS_ACTIVE, "gauge", "aviary_rollouts_active", "", "rollouts that have not ended") \
	X(DEPLOYMENTS_OFFERED, "counter", "aviary_deployments_total", "event=\"offered\"", "deployments by event") \
	X(DEPLOYMENTS_SUCCEEDED, "counter", "aviary_deployments_total", "event=\"succeeded\"", "deployments by event") \
	X(DEPLOYMENTS_FAILED, "counter", "aviary_deployments_total", "event=\"failed\"", "deployments by event") \
	X(DEPLOYMENTS_TIMED_OUT, "counter", "aviary_deployments_total", "event=\"timed_out\"", "deployments by event") \
	X(DEPLOYMENTS_REVERTED, "counter", "aviary_deployments_total", "event=\"reverted\"", "deployments by event") \
	X(VERDICTS_REVERT, "counter", "aviary_verdicts_total", "verdict=\"revert\"", "stages that the judge ended") \
	X(COMMITS, "counter", "aviary_commits_total", "result=\"ok\"", "commits of fleet.db") \
	X(COMMITS_FAILED, "counter", "aviary_commits_total", "result=\"failed\"", "commits of fleet.db") \
	X(WAL_BYTES, "gauge", "aviary_fleet_wal_bytes", "", "write-ahead log of fleet.db in use") \
	X(NOTIFICATIONS, "counter", "aviary_notifications_total", "", "notifications written for receivers") \
	X(NOTIFICATIONS_DELAYED, "counter", "aviary_notifications_delayed_total", "", "groups that had to wait as their receiver is told no more often") \
	X(DELIVERIES_SENT, "counter", "aviary_delivery_attempts_total", "result=\"sent\"", "attempts to hand notifications over") \
	X(DELIVERIES_FAILED, "counter", "aviary_delivery_attempts_total", "result=\"failed\"", "attempts to hand notifications over") \
	X(DELIVERIES_PENDING, "gauge", "aviary_deliveries", "status=\"pending\"", "notifications by status") \
	X(DELIVERIES_DEAD, "gauge", "aviary_deliveries", "status=\"dead\"", "notifications by status") \
	X(RECEIVERS_FAILING, "gauge", "aviary_receivers_failing", "", "receivers whose last attempts failed in a row") \
	X(DDI_POLLS, "counter", "aviary_ddi_polls_total", "", "polls of DDI devices") \
	X(DDI_REFRESHED, "counter", "aviary_ddi_refreshed_total", "", "DDI devices whose answer was worked out anew from the database") \
	X(DDI_STRETCH, "gauge", "aviary_ddi_stretch_percent", "", "how much longer than set the intervals of polls are, for load") \
	X(DDI_REFUSED, "counter", "aviary_ddi_refused_total", "", "requests of DDI devices that did not prove who they are") \
	X(PROFILE_CELLS, "gauge", "aviary_profile_cells", "", "contexts of variants on classes of hardware that have a learned profile") \
	X(PROFILES_REFUSED, "counter", "aviary_profiles_refused_total", "", "reports that found no room for a profile") \
	X(UPSTREAM_POLLS, "counter", "aviary_upstream_polls_total", "", "looks at upstreams of models") \
	X(UPSTREAM_POLLS_FAILED, "counter", "aviary_upstream_failures_total", "", "looks at upstreams that ended with a fault") \
	X(UPSTREAM_BYTES, "counter", "aviary_upstream_received_bytes_total", "", "bytes of contents fetched from upstreams") \
	X(UPSTREAM_REFUSED, "counter", "aviary_upstream_refused_total", "", "versions of upstreams that were refused") \
	X(UPSTREAMS_FAILING, "gauge", "aviary_upstreams_failing", "", "upstreams whose last look ended with a fault") \
	X(OFFLOAD_CLASSES, "gauge", "aviary_offload_classes", "", "classes of hardware and version that have a margin of their own") \
	X(OFFLOAD_FITS, "counter", "aviary_offload_fits_total", "", "margins of offloading that were changed") \
	X(OFFLOAD_REFUSED, "counter", "aviary_offload_refused_total", "", "reports about offloading that contradict themselves or found no room") \
	X(EVENTS, "counter", "aviary_events_total", "", "events appended") \
	X(JOBS_RUNNING, "gauge", "aviary_jobs_running", "", "jobs in the pool, waiting ones included") \
	X(RESIDENT_BYTES, "gauge", "process_resident_memory_bytes", "", "resident memory") \
	X(START_SECONDS, "gauge", "process_start_time_seconds", "", "start time since 1970")

enum meter {
#define X(name, type, metric, labels, help) METER_##name,
	METER_TABLE(X)
#undef X
	    METER_COUNT
};

/* X(enum name, metric name, help): seconds, buckets 0.1 ms to 10 s, 20 ms among them */
#define HISTOGRAM_TABLE(X) \
	X(HTTP_SECONDS, "aviary_http_request_seconds", "from the request's last byte to its reply") \
	X(COMMIT_SECONDS, "aviary_commit_seconds", "COMMIT of a tick") \
	X(CHECKPOINT_SECONDS, "aviary_checkpoint_seconds", "one pass over the write-ahead log of fleet.db, off the loop") \
	X(TICK_SECONDS, "aviary_tick_seconds", "work of one loop iteration") \
	X(HOLD_SECONDS, "aviary_loop_hold_seconds", "how long one iteration of the loop let events wait") \
	X(TELEMETRY_COMMIT_SECONDS, "aviary_telemetry_commit_seconds", "one batch of the telemetry writer")

enum histogram {
#define X(name, metric, help) HISTOGRAM_##name,
	HISTOGRAM_TABLE(X)
#undef X
	    HISTOGRAM_COUNT
};

void metric_add(enum meter m, int64_t n);
void metric_set(enum meter m, int64_t value);
int64_t metric_get(enum meter m);
void metric_observe_ns(enum histogram h, uint64_t ns);
/* Prometheus text format 0.0.4. */
void metrics_write(struct buf *out);

#endif
