/* The end of each loop iteration: commit, then tell the world. And what time brings: rollouts, alerts, retention, signs
 * of life. */
#include "api/mqtt_out.h"
#include "api/notify_out.h"
#include "api/server.h"
#include "api/topics.h"
#include "api/upstream_in.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/notify.h"
#include "service/access.h"
#include "service/actions.h"
#include "service/alerts.h"
#include "service/commands.h"
#include "service/detect.h"
#include "service/health.h"
#include "service/inspect.h"
#include "service/metrics.h"
#include "service/offloading.h"
#include "service/outbox.h"
#include "service/profiles.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/telemetry.h"
#include "service/unit.h"

#define ROLLOUTS_EVERY_MS 100
#define PAUSE_MS 5 /* of rollouts, for the log of fleet.db */
#define PRESENCE_EVERY_MS 100
#define NOTIFY_EVERY_MS 100
#define UPSTREAMS_EVERY_MS 100
#define PRESENCE_ROWS 200        /* devices whose presence is written in one go: a millisecond of the loop, as much of its commit */
#define RETAIN_ROWS 250          /* outdated rows of each kind deleted in one go: 10 ms where they are not in the cache */
#define RETAIN_AGAIN_MS 25
#define MINUTE_MS 60000
#define COMMIT_LOG_EVERY_MS 10000
#define HOLD_SLOW_NS UINT64_C(20000000) /* what nobody should wait longer for */
#define HOLD_LOG_EVERY_MS 10000

/* ---- holds ---- */

/* One line each ten seconds, of the worst that was not said yet. */
static void note_hold(void *ctx, const struct loop_hold *h)
{
	struct daemon *d = ctx;
	metric_observe_ns(HISTOGRAM_HOLD_SECONDS, h->busy_ns);
	if (h->busy_ns < HOLD_SLOW_NS)
		return;
	d->holds++;
	if (h->busy_ns > d->worst_hold.busy_ns)
		d->worst_hold = *h;
	int64_t now_ms = clock_mono_ms();
	if (d->hold_logged_ms != 0 && now_ms - d->hold_logged_ms < HOLD_LOG_EVERY_MS)
		return;
	h = &d->worst_hold;
	log_event(LOG_WARN, "loop.held", "ms=%.1f cpu_ms=%.1f what=%s what_ms=%.1f times=%u", (double)h->busy_ns / 1e6,
	          (double)h->cpu_ns / 1e6, log_quote(h->what), (double)h->what_ns / 1e6, d->holds);
	d->hold_logged_ms = now_ms;
	d->worst_hold = (struct loop_hold){.what = ""};
	d->holds = 0;
}

/* ---- commits ---- */

static void note_commit(struct daemon *d, enum err e, const struct fault *f)
{
	int64_t now_ms = clock_mono_ms();
	if (e != ERR_OK && (d->commit == ERR_OK || now_ms - d->commit_logged_ms > COMMIT_LOG_EVERY_MS)) {
		log_event(LOG_ERROR, "commit.failed", "error=%s detail=%s", err_name(e), log_quote(f->detail));
		d->commit_logged_ms = now_ms;
	} else if (e == ERR_OK && d->commit != ERR_OK) {
		log_event(LOG_INFO, "commit.recovered", "after=%s", err_name(d->commit));
	}
	d->commit = e;
	api_note_commit(d->api, e);
}

static void fail_tick(struct daemon *d, enum err e)
{
	struct buf body = BUF_INIT;
	struct fault shown = {"", "nothing of this request was stored: try again"};
	api_problem(&body, e == ERR_FULL ? e : ERR_UNAVAILABLE, &shown);
	if (d->http != NULL)
		http_fail_held(d->http, 503, "application/problem+json", buf_cstr(&body));
	if (d->http_before != NULL)
		http_fail_held(d->http_before, 503, "application/problem+json", buf_cstr(&body));
	buf_done(&body);
	if (d->topics != NULL)
		topics_commit_failed(d->topics);
}

void daemon_tick(void *ctx)
{
	struct daemon *d = ctx;
	struct fault f = {"", ""};
	bool had_changes = unit_has_changes(&d->s);
	uint64_t start_ns = clock_mono_ns();
	loop_mark(d->loop, "commit");
	enum err e = units_commit(&d->s, &f);
	loop_mark(d->loop, "tick");
	if (had_changes || e != ERR_OK)
		note_commit(d, e, &f);
	if (e != ERR_OK) {
		fail_tick(d, e);
		return;
	}
	int64_t newest_event = outbox_last_event(d->s.outbox);
	outbox_committed(d->s.outbox);
	checkpoint_tick(d);
	if (d->out != NULL) {
		loop_mark(d->loop, "mqtt.out");
		mqtt_out_drain(d->out);
	}
	loop_mark(d->loop, "events");
	api_after_commit(d->api, newest_event);
	/* From here on new units may begin: batches that were written are applied, and requests that follow on a connection
	 * are handled. So nothing below may take what it finds for committed. */
	if (d->topics != NULL) {
		loop_mark(d->loop, "telemetry.seal");
		topics_after_commit(d->topics);
	}
	loop_mark(d->loop, "http.release");
	if (d->http != NULL)
		http_release_held(d->http);
	if (d->http_before != NULL)
		http_release_held(d->http_before);
	if (unit_is_pending(&d->s))
		loop_request_tick(d->loop);
	metric_observe_ns(HISTOGRAM_TICK_SECONDS, clock_mono_ns() - start_ns);
}

/* ---- timers ---- */

static void call_init(struct daemon *d, struct call *c, struct fault *f)
{
	arena_reset(d->arena);
	*f = (struct fault){"", ""};
	*c = (struct call){.s = &d->s, .arena = d->arena, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
}

static void report(const char *what, enum err e, const struct fault *f)
{
	if (e != ERR_OK && e != ERR_FULL && e != ERR_UNAVAILABLE) /* those two are said once, by the commit */
		log_event(LOG_ERROR, what, "error=%s detail=%s", err_name(e), log_quote(f->detail));
}

static void on_rollouts(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	loop_mark(d->loop, "rollouts.tick");
	bool more = false;
	if (checkpoint_wants_pause(d)) {
		loop_timer_start(d->rollouts_timer, PAUSE_MS, 0);
		return;
	}
	call_init(d, &c, &f);
	report("rollouts.tick", rollouts_tick(&c, &more), &f);
	bool more_found = false;
	loop_mark(d->loop, "detect.tick");
	call_init(d, &c, &f);
	report("detect.tick", detect_tick(&c, &more_found), &f);
	more = more || more_found;
	loop_timer_start(d->rollouts_timer, more && d->commit == ERR_OK ? 0 : ROLLOUTS_EVERY_MS, 0);
}

/* After a failed commit something has to be written, or nobody would notice that there is room again. */
static void probe_commit(struct call *c)
{
	int64_t n;
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, counter_next(c, "commit_probe", &n), c->fault);
	report("commit.probe", e, c->fault);
}

static void on_second(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	call_init(d, &c, &f);
	checkpoint_idle(d);
	if (d->commit != ERR_OK) {
		probe_commit(&c);
		return;
	}
	loop_mark(d->loop, "commands.tick");
	call_init(d, &c, &f);
	report("commands.tick", commands_tick(&c), &f);
	loop_mark(d->loop, "ddi.tick");
	call_init(d, &c, &f);
	report("ddi.tick", actions_tick(&c), &f);
	loop_mark(d->loop, "inspect.tick");
	call_init(d, &c, &f);
	inspect_tick(&c);
	loop_mark(d->loop, "health.tick");
	call_init(d, &c, &f);
	report("health.tick", health_tick(&c), &f);
	loop_mark(d->loop, "profiles.tick");
	call_init(d, &c, &f);
	report("profiles.tick", profiles_tick(&c), &f);
	loop_mark(d->loop, "offloading.tick");
	call_init(d, &c, &f);
	report("offloading.tick", offloading_tick(&c), &f);
}

/* Once a second, or at once where there is more to do than fits into a piece: a storm is worked off within its minute. */
static void on_alerts(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	bool more = false;
	call_init(d, &c, &f);
	loop_mark(d->loop, "alerts.tick");
	if (d->commit == ERR_OK)
		report("alerts.tick", alerts_tick(&c, &more), &f);
	loop_timer_start(d->alerts_timer, more ? 1 : 1000, 0);
}

static void on_notify(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	bool more = false;
	call_init(d, &c, &f);
	loop_mark(d->loop, "notify.step");
	if (d->commit == ERR_OK)
		report("notify.step", notify_out_step(d->notify_out, &c, &more), &f);
	loop_timer_start(d->notify_timer, more ? 1 : NOTIFY_EVERY_MS, 0);
}

static void on_upstreams(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	bool more = false;
	call_init(d, &c, &f);
	loop_mark(d->loop, "upstreams.step");
	if (d->commit == ERR_OK)
		report("upstreams.step", upstream_in_step(d->upstream_in, &c, &more), &f);
	loop_timer_start(d->upstreams_timer, more ? 1 : UPSTREAMS_EVERY_MS, 0);
}

static void on_presence(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	if (d->commit != ERR_OK)
		return;
	loop_mark(d->loop, "registry.flush");
	call_init(d, &c, &f);
	report("registry.flush", registry_flush(&c, PRESENCE_ROWS), &f);
}

static enum err retain(struct call *c, bool *more)
{
	*more = false;
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, access_retain(c, RETAIN_ROWS, more), c->fault) : e;
}

static enum err maintain_catalog(struct call *c)
{
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, catalog_maintain(c), c->fault) : e;
}

/* A rollout over a large fleet makes events faster than one step a minute could take away. */
static void on_retain(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	bool more;
	loop_mark(d->loop, "access.retain");
	call_init(d, &c, &f);
	enum err e = retain(&c, &more);
	report("access.retain", e, &f);
	loop_timer_start(d->retain_timer, e == ERR_OK && more ? RETAIN_AGAIN_MS : MINUTE_MS, 0);
}

static void on_minute(void *ctx)
{
	struct daemon *d = ctx;
	struct call c;
	struct fault f;
	loop_mark(d->loop, "catalog.maintain");
	call_init(d, &c, &f);
	report("catalog.maintain", maintain_catalog(&c), &f);
}

static void on_watchdog(void *ctx)
{
	(void)ctx;
	notify_watchdog();
}

enum err daemon_start_timers(struct daemon *d)
{
	d->rollouts_timer = loop_timer_new(d->loop, on_rollouts, d);
	d->second_timer = loop_timer_new(d->loop, on_second, d);
	d->alerts_timer = loop_timer_new(d->loop, on_alerts, d);
	d->notify_timer = loop_timer_new(d->loop, on_notify, d);
	d->upstreams_timer = loop_timer_new(d->loop, on_upstreams, d);
	d->presence_timer = loop_timer_new(d->loop, on_presence, d);
	d->retain_timer = loop_timer_new(d->loop, on_retain, d);
	d->minute_timer = loop_timer_new(d->loop, on_minute, d);
	d->watchdog_timer = loop_timer_new(d->loop, on_watchdog, d);
	loop_on_hold(d->loop, note_hold, d);
	loop_timer_start(d->rollouts_timer, ROLLOUTS_EVERY_MS, 0);
	loop_timer_start(d->second_timer, 1000, 1000);
	loop_timer_start(d->alerts_timer, 1000, 0);
	loop_timer_start(d->notify_timer, NOTIFY_EVERY_MS, 0);
	loop_timer_start(d->upstreams_timer, UPSTREAMS_EVERY_MS, 0);
	loop_timer_start(d->presence_timer, PRESENCE_EVERY_MS, PRESENCE_EVERY_MS);
	loop_timer_start(d->retain_timer, 10000, 0);
	loop_timer_start(d->minute_timer, MINUTE_MS, MINUTE_MS);
	int64_t watchdog_ms = notify_watchdog_interval_ms();
	if (watchdog_ms > 0)
		loop_timer_start(d->watchdog_timer, 0, watchdog_ms);
	return ERR_OK;
}

void daemon_stop_timers(struct daemon *d)
{
	loop_timer_free(d->rollouts_timer);
	loop_timer_free(d->second_timer);
	loop_timer_free(d->alerts_timer);
	loop_timer_free(d->notify_timer);
	loop_timer_free(d->upstreams_timer);
	loop_timer_free(d->presence_timer);
	loop_timer_free(d->retain_timer);
	loop_timer_free(d->minute_timer);
	loop_timer_free(d->watchdog_timer);
	d->rollouts_timer = d->second_timer = d->alerts_timer = d->notify_timer = d->upstreams_timer = d->presence_timer = d->retain_timer = d->minute_timer = d->watchdog_timer = NULL;
}

void daemon_flush(struct daemon *d)
{
	struct call c;
	struct fault f;
	call_init(d, &c, &f);
	enum err e = registry_flush(&c, 0);
	if (e == ERR_OK)
		e = units_commit(&d->s, &f);
	if (e != ERR_OK)
		log_event(LOG_ERROR, "stop.flush", "error=%s detail=%s", err_name(e), log_quote(f.detail));
}
