#include "daemon.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

#include "api/mqtt_out.h"
#include "api/notify_out.h"
#include "api/server.h"
#include "api/topics.h"
#include "api/upstream_in.h"
#include "base/clock.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "net/mqtt.h"
#include "net/notify.h"
#include "service/actions.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/commands.h"
#include "service/compats.h"
#include "service/detect.h"
#include "service/groups.h"
#include "service/health.h"
#include "service/metrics.h"
#include "service/notify.h"
#include "service/offloading.h"
#include "service/outbox.h"
#include "service/profiles.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/selection.h"
#include "service/settings.h"
#include "service/targets.h"
#include "service/unit.h"
#include "service/upstreams.h"
#include "store/db.h"

#define CALL_ARENA_BYTES (64u << 20) /* a rollout's plan over a large fleet is made in one call */

/* ---- services ---- */

static enum err open_databases(struct daemon *d, struct fault *f)
{
	char path[1100];
	snprintf(path, sizeof path, "%s/fleet.db", d->s.state_dir);
	enum err e = db_open(path, migrations_fleet, false, &d->s.db, f);
	if (e != ERR_OK)
		return e;
	snprintf(path, sizeof path, "%s/telemetry.db", d->s.state_dir);
	d->config->telemetry.path = path;
	d->s.telemetry = telemetry_open(&d->config->telemetry, clock_wall_ms(), f);
	d->config->telemetry.path = NULL;
	return d->s.telemetry != NULL ? ERR_OK : ERR_UNAVAILABLE;
}

static enum err settle_compats(struct services *s, struct fault *f)
{
	struct arena *a = arena_new(1 << 20);
	struct call c = {.s = s, .arena = a, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
	enum err e = unit_begin(s, f);
	if (e == ERR_OK)
		e = unit_end(s, compats_settle(&c), f);
	arena_free(a);
	return e;
}

/* The order is that of who needs whom: books, catalog, devices, then what watches and moves devices. */
static enum err open_services(struct daemon *d, struct fault *f)
{
	struct services *s = &d->s;
	s->units = units_new();
	s->outbox = outbox_new();
	s->limits = &d->config->ingest;
	s->report_interval_ms = d->config->report_interval_ms;
	enum err e = access_open(s, &d->config->access, &s->access, f);
	if (e == ERR_OK)
		e = settings_open(s, NULL, &s->settings, f);
	if (e == ERR_OK)
		e = catalog_open(s->db, s->state_dir, &d->config->catalog, &s->catalog, f);
	if (e == ERR_OK)
		e = compats_open(s, &d->config->compats, &s->compats, f);
	if (e == ERR_OK)
		e = registry_open(s, &s->registry, f);
	if (e == ERR_OK)
		e = settle_compats(s, f);
	if (e == ERR_OK)
		e = selection_open(s, &s->selection, f);
	if (e == ERR_OK)
		e = profiles_open(s, &s->profiles, f);
	if (e == ERR_OK)
		e = groups_open(s, &s->groups, f);
	if (e == ERR_OK)
		e = targets_open(s, &s->targets, f);
	if (e == ERR_OK && (s->alerts = alerts_open(s, f)) == NULL)
		e = ERR_UNAVAILABLE;
	if (e == ERR_OK)
		e = offloading_open(s, &s->offloading, f);
	if (e == ERR_OK && (s->notify = notify_open(s, f)) == NULL)
		e = ERR_UNAVAILABLE;
	if (e == ERR_OK)
		e = commands_open(s, &s->commands, f);
	if (e == ERR_OK)
		e = health_open(s, &s->health, f);
	if (e == ERR_OK)
		e = detect_open(s, &d->config->detect, &s->detect, f);
	if (e == ERR_OK && (s->rollouts = rollouts_open(s, f)) == NULL)
		e = ERR_UNAVAILABLE;
	if (e == ERR_OK && (s->ingest = ingest_open(s, f)) == NULL)
		e = ERR_UNAVAILABLE;
	if (e == ERR_OK)
		e = actions_open(s, &d->config->actions, &s->actions, f);
	if (e == ERR_OK)
		e = upstreams_open(s, &d->config->upstreams, &s->upstreams, f);
	return e == ERR_OK ? units_commit(s, f) : e;
}

static void close_services(struct services *s)
{
	upstreams_close(s->upstreams);
	actions_close(s->actions);
	ingest_close(s->ingest);
	rollouts_close(s->rollouts);
	detect_close(s->detect);
	health_close(s->health);
	commands_close(s->commands);
	notify_close(s->notify);
	offloading_close(s->offloading);
	alerts_close(s->alerts);
	targets_close(s->targets);
	groups_close(s->groups);
	profiles_close(s->profiles);
	selection_close(s->selection);
	registry_close(s->registry);
	compats_close(s->compats);
	catalog_close(s->catalog);
	settings_close(s->settings);
	access_close(s->access);
	telemetry_close(s->telemetry);
	outbox_free(s->outbox);
	units_free(s->units);
	db_close(s->db);
}

/* ---- MQTT ---- */

static const char *or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static enum err open_mqtt(struct daemon *d, struct fault *f)
{
	const struct config *c = d->config;
	char in[64], out[64];
	if (c->mqtt.host[0] == '\0')
		return ERR_OK;
	snprintf(in, sizeof in, "%s-in", c->mqtt.client_id);
	snprintf(out, sizeof out, "%s-out", c->mqtt.client_id);
	struct mqtt_config m = {.host = c->mqtt.host, .port = (uint16_t)c->mqtt.port, .username = or_null(c->mqtt.username),
	                        .password = or_null(c->mqtt.password), .ca_file = or_null(c->mqtt.tls_ca),
		.cert_file = or_null(c->mqtt.tls_certificate),
	                        .key_file = or_null(c->mqtt.tls_key),
		.keepalive_s = (unsigned)(c->mqtt.keepalive_ms / 1000),
	                        .backoff_max_ms = (unsigned)c->mqtt.backoff_max_ms,
		.read_pause_ms = (unsigned)c->mqtt.read_pause_ms};
	m.client_id = out;
	enum err e = mqtt_out_open(&d->s, d->loop, &m, &d->out, f);
	m.client_id = in;
	if (e == ERR_OK)
		e = topics_open(&d->s, d->loop, &m, &d->topics, f);
	return e;
}

/* ---- signals ---- */

/* The configuration has looked at it. */
static void take_allowed(struct daemon *d)
{
	bool ok = ip_networks_parse(d->config->notify_allow, &d->notify_allow);
	assert(ok);
	d->s.notify_allow = &d->notify_allow;
	ok = ip_networks_parse(d->config->upstream_allow, &d->upstream_allow);
	assert(ok);
	(void)ok;
	d->s.upstream_allow = &d->upstream_allow;
}

static void reload(struct daemon *d)
{
	struct config fresh;
	struct buf problems = BUF_INIT, kept = BUF_INIT;
	notify_reloading();
	if (d->config_path == NULL)
		config_init(&fresh);
	else if (config_read(&fresh, d->config_path, &problems) != ERR_OK) {
		log_event(LOG_ERROR, "reload.refused", "problems=%s", log_quote(buf_cstr(&problems)));
		goto out;
	}
	config_reload(d->config, &fresh, &kept);
	take_allowed(d);
	d->s.report_interval_ms = d->config->report_interval_ms;
	log_set_level(d->config->log_level);
	listen_reload(d);
	log_event(LOG_INFO, "reload.done", "needs_restart=%s", log_quote(buf_cstr(&kept)));
out:
	config_done(&fresh);
	buf_done(&problems);
	buf_done(&kept);
	notify_ready();
}

static void on_signal(void *ctx, int signum)
{
	struct daemon *d = ctx;
	if (signum == SIGHUP) {
		reload(d);
		return;
	}
	d->is_hurried = d->is_stopping; /* the second time: no more waiting */
	d->is_stopping = true;
	loop_stop(d->loop);
}

/* ---- life ---- */

static enum err submit_job(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct daemon *d = ctx;
	return jobs_submit(d->jobs, work, done, arg);
}

enum err daemon_open(struct daemon *d, struct fault *f)
{
	static const int signums[] = {SIGTERM, SIGINT, SIGHUP};
	log_set_level(d->config->log_level);
	signal(SIGPIPE, SIG_IGN);
	take_allowed(d);
	enum err e = state_dir_open(d->s.state_dir, &d->lock_fd, f);
	if (e == ERR_OK)
		e = open_databases(d, f);
	if (e == ERR_OK)
		e = open_services(d, f);
	if (e == ERR_OK)
		e = checkpoint_start(d, f);
	if (e != ERR_OK)
		return e;
	metric_set(METER_START_SECONDS, clock_wall_ms() / 1000);
	d->loop = loop_new();
	for (size_t i = 0; i < 3; i++)
		d->signals[i] = loop_signal_new(d->loop, signums[i], on_signal, d);
	d->jobs = jobs_new(d->loop, (unsigned)d->config->jobs);
	d->offload = (struct offload){submit_job, d};
	d->s.offload = &d->offload;
	d->arena = arena_new(CALL_ARENA_BYTES);
	d->notify_out = notify_out_open(&d->s, d->loop);
	d->upstream_in = upstream_in_open(&d->s, d->loop, d->jobs);
	d->api = api_open(&d->s, d->loop, d->jobs, &d->config->api);
	e = listen_open(d, f);
	if (e == ERR_OK)
		e = open_mqtt(d, f);
	if (e == ERR_OK)
		e = listen_tell(d, f);
	return e == ERR_OK ? daemon_start_timers(d) : e;
}

static bool has_requests(const struct http_server *server)
{
	struct http_stats h = {0};
	if (server != NULL)
		http_stats_read(server, &h);
	return h.waiting > 0 || h.held > 0;
}

static bool is_drained(void *ctx)
{
	struct daemon *d = ctx;
	return d->is_hurried || (!has_requests(d->http) && !has_requests(d->http_before) && jobs_pending(d->jobs) == 0 &&
		!unit_is_pending(&d->s));
}

void daemon_run(struct daemon *d)
{
	loop_on_tick(d->loop, daemon_tick, d);
	if (d->topics != NULL) {
		topics_start(d->topics);
		mqtt_out_start(d->out);
	}
	api_set_ready(d->api, true, NULL);
	notify_ready();
	db_hold_reads(d->s.db);
	log_event(LOG_INFO, "ready", "version=%s state=%s devices=%zu", AVIARY_VERSION, log_quote(d->s.state_dir),
		registry_size(d->s.registry));
	loop_run(d->loop);

	log_event(LOG_INFO, "stopping", "drain_ms=%lld", (long long)d->config->drain_ms);
	notify_stopping();
	api_set_ready(d->api, false, "stopping");
	http_server_quiesce(d->http);
	upstream_in_stop(d->upstream_in);
	api_end_streams(d->api);
	bool drained = loop_run_until(d->loop, is_drained, d, d->config->drain_ms);
	if (d->topics != NULL)
		topics_stop(d->topics);
	daemon_flush(d);
	log_event(drained ? LOG_INFO : LOG_WARN, "stopped", "drained=%s", drained ? "yes" : "no");
}

void daemon_close(struct daemon *d)
{
	if (d->loop != NULL) {
		daemon_stop_timers(d);
		listen_close(d); /* an upload that is cut here notes by a job how far it came */
		if (d->jobs != NULL)
			jobs_drain(d->jobs); /* ticks as ever: what a tick uses goes after it */
		topics_close(d->topics);
		d->topics = NULL;
		mqtt_out_close(d->out);
		d->out = NULL;
		jobs_free(d->jobs);
		notify_out_close(d->notify_out);
		upstream_in_close(d->upstream_in);
		api_close(d->api);
		for (size_t i = 0; i < 3; i++)
			loop_signal_free(d->signals[i]);
		loop_free(d->loop);
	}
	checkpoint_stop(d);
	close_services(&d->s);
	arena_free(d->arena);
	state_dir_close(d->lock_fd);
}
