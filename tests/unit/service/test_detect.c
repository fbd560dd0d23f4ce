/* Detection on the ingest path: states are functions of the log; causes become alerts; bad input harms nobody. */
#include "telemetry_world.h"

#include <math.h>

#include "base/json.h"
#include "service/detect.h"
#include "service/detect_inside.h"
#include "service/timebox.h"

#define DEVICES 4
#define STEP_MS 300000
#define TRAINED 320 /* steps: more than core/watch.h wants before it speaks */

struct detecting {
	struct fleet *t;
	struct detect_options o;
	uint32_t noise;
	int64_t seq;
	int boot[DEVICES];
	int64_t step_ms;
	bool twice; /* each message is sent twice */
};

static const char *const ids[DEVICES] = {"dev-0", "dev-1", "dev-2", "dev-3"};

static void open_detect(struct detecting *x)
{
	struct world *w = &x->t->w;
	if (detect_open(&w->s, &x->o, &w->s.detect, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
}

static void restart(struct detecting *x)
{
	world_commit(&x->t->w);
	detect_close(x->t->w.s.detect);
	x->t->w.s.detect = NULL;
	fleet_restart(x->t);
	open_detect(x);
}

static struct detecting *begin(void **state, const char *form, int64_t checkpoint_ms)
{
	struct detecting *x = calloc(1, sizeof *x);
	assert_non_null(x);
	assert_int_equal(fleet_setup(state), 0);
	x->t = *state;
	x->noise = 12345;
	x->step_ms = STEP_MS;
	detect_options_init(&x->o);
	x->o.state = form;
	x->o.checkpoint_ms = checkpoint_ms;
	x->o.states_a_batch = 1; /* a round takes some batches: devices on disk are of different age */
	for (int i = 0; i < DEVICES; i++)
		world_device(&x->t->w, ids[i], i < 3 ? "esp32s3" : "rp2040");
	world_commit(&x->t->w);
	open_detect(x);
	return x;
}

static void end(struct detecting *x, void **state)
{
	detect_close(x->t->w.s.detect);
	x->t->w.s.detect = NULL;
	free(x);
	fleet_teardown(state);
}

static double noise(struct detecting *x) /* -1..1, no tails */
{
	double sum = 0;
	for (int i = 0; i < 3; i++) {
		x->noise = x->noise * 1664525u + 1013904223u;
		sum += (double)(x->noise >> 8) / (1 << 24);
	}
	return sum / 1.5 - 1;
}

static void send(struct detecting *x, int device, const char *metrics)
{
	char json[1024];
	snprintf(json, sizeof json, "{\"boot\":\"b%d\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"1.4.%d\",\"metrics\":{%s}}", x->boot[device],
	         (long long)++x->seq, device == 2 ? 2 : 1, metrics);
	for (int i = 0; i <= x->twice; i++)
		fleet_telemetry(x->t, ids[device], json);
}

static void send_healthy(struct detecting *x, int device)
{
	char metrics[512];
	int a = 200 + (int)(20 * noise(x)), b = 120 + (int)(15 * noise(x));
	snprintf(metrics, sizeof metrics,
	         "\"latency_ms\":{\"n\":400,\"sum\":%.6f},\"temperature_c\":%.6f,\"battery\":0.9,\"link_rssi_dbm\":%.6f,\"confidence\":{\"n\":400,\"sum\":%.6f},"
	         "\"classes\":{\"hist\":[%d,%d,%d]}",
	         400 * (20 + noise(x)), 30 + noise(x), -60 + 2 * noise(x), 400 * (0.8 + 0.02 * noise(x)), a, b, 400 - a - b);
	send(x, device, metrics);
}

static void settle(struct detecting *x)
{
	fleet_settle(x->t);
	x->t->w.c.now_ms += x->step_ms;
}

static void tick(struct detecting *x)
{
	bool more = true;
	while (more) {
		if (detect_tick(&x->t->w.c, &more) != ERR_OK)
			fail_msg("%s", x->t->w.fault.detail);
	}
	world_commit(&x->t->w);
}

static void live(struct detecting *x, int steps)
{
	for (int i = 0; i < steps; i++) {
		for (int device = 0; device < DEVICES; device++)
			send_healthy(x, device);
		settle(x);
	}
}

/* All that is to be the same, one after the other. */
static void gather(const struct detecting *x, struct buf *out)
{
	const struct detect *d = x->t->w.s.detect;
	for (int64_t row = 1; row <= DEVICES; row++) {
		const struct detect_state *k = detect_find(d, row);
		assert_non_null(k);
		buf_append(out, k, d->stride);
	}
	for (uint32_t i = 0; i < d->cohort_count; i++) {
		struct detect_cohort *c = d->cohorts[i];
		buf_append(out, c->name, sizeof c->name);
		buf_append(out, &c->view, sizeof c->view);
		buf_append(out, &c->budget, sizeof c->budget);
		buf_append(out, &c->drift, sizeof c->drift);
		struct detect_hot hot = c->hot;
		memset(hot.common, 0, sizeof hot - offsetof(struct detect_hot, common)); /* the budget's own, copied when written */
		buf_append(out, &hot, sizeof hot);
	}
}

/* One run with restarts at some steps (0: none), after which all is gathered. */
static void run(const char *form, int64_t step_ms, int64_t checkpoint_ms, int restart_every, bool twice, struct buf *out)
{
	void *state = NULL;
	struct detecting *x = begin(&state, form, checkpoint_ms);
	x->twice = twice;
	x->step_ms = step_ms;
	for (int i = 0; i < 400; i += 25) { /* 33 hours: a day's end, hours that close */
		live(x, 25);
		if (restart_every > 0 && i / 25 % restart_every == 0)
			restart(x);
	}
	gather(x, out);
	end(x, &state);
}

static void compare(const char *form, int64_t step_ms, int64_t checkpoint_ms, int restart_every, bool twice, const struct buf *expected)
{
	struct buf other = BUF_INIT;
	run(form, step_ms, checkpoint_ms, restart_every, twice, &other);
	assert_int_equal(other.len, expected->len);
	for (size_t i = 0; i < other.len; i++) {
		if (other.data[i] != expected->data[i])
			fail_msg("byte %zu of %zu differs (a device has %zu)", i, other.len, sizeof(struct detect_state) + 512);
	}
	buf_done(&other);
}

static void states_are_functions_of_the_log(void **state)
{
	struct buf expected = BUF_INIT;
	(void)state;
	run("compact", STEP_MS, 600000, 0, false, &expected);
	compare("compact", STEP_MS, 600000, 0, true, &expected);       /* duplicates */
	compare("compact", STEP_MS, 1000, 1, false, &expected);        /* everything is on disk */
	compare("compact", STEP_MS, 7 * STEP_MS, 1, false, &expected); /* a part of it */
	compare("compact", STEP_MS, 3600000 * 24, 3, true, &expected); /* nothing, the log alone */
	buf_clear(&expected);
	run("compact", 60000, 600000, 0, false, &expected); /* reports enough for what a cohort has in common */
	compare("compact", 60000, 7 * 60000, 1, false, &expected);
	buf_clear(&expected);
	run("full", STEP_MS, 600000, 0, false, &expected);
	compare("full", STEP_MS, 7 * STEP_MS, 2, false, &expected);
	buf_done(&expected);
}

/* ---- causes ---- */

static bool has_alert(struct detecting *x, const char *kind, const char *resource)
{
	struct alert_filter q = {.kind = kind, .resource = resource, .status = "firing", .limit = 10};
	struct buf out = BUF_INIT;
	int64_t next;
	assert_int_equal(alerts_list(&x->t->w.c, &q, &out, &next), ERR_OK);
	bool has = out.len > 0;
	buf_done(&out);
	return has;
}

static int64_t alert_count(struct detecting *x)
{
	struct alert_filter q = {.limit = 100};
	struct buf out = BUF_INIT;
	int64_t next, count = 0;
	assert_int_equal(alerts_list(&x->t->w.c, &q, &out, &next), ERR_OK);
	for (const char *at = out.len > 0 ? buf_cstr(&out) : ""; (at = strstr(at, "\"resource\"")) != NULL; at++)
		count++;
	buf_done(&out);
	return count;
}

static void a_healthy_fleet_raises_nothing(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	live(x, TRAINED + 100);
	tick(x);
	assert_int_equal(alert_count(x), 0);
	assert_int_equal(x->t->w.s.detect->reports, DEVICES * (TRAINED + 100));
	end(x, state);
}

static void a_reboot_loop_is_named(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	live(x, TRAINED);
	for (int i = 0; i < 4; i++) {
		x->boot[1]++;
		live(x, 1);
		tick(x);
	}
	assert_true(has_alert(x, "reboot_loop", "devices/dev-1"));
	assert_false(has_alert(x, "reboot_loop", "devices/dev-0"));
	assert_int_equal(alert_count(x), 1);
	end(x, state);
}

static void a_corrupt_model_is_named(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	live(x, TRAINED);
	int needed = 0;
	while (!has_alert(x, "model_corrupt", "devices/dev-0") && needed < 12) {
		char metrics[256];
		snprintf(metrics, sizeof metrics, "\"latency_ms\":{\"n\":400,\"sum\":%.6f},\"temperature_c\":30,\"confidence\":{\"n\":400,\"sum\":%.6f},"
		         "\"classes\":{\"hist\":[0,%d,0]}", 400 * (20 + noise(x)), 400 * (0.4 + 0.01 * noise(x)), 400 + (int)(9 * noise(x)));
		send(x, 0, metrics);
		send_healthy(x, 1);
		settle(x);
		tick(x);
		needed++;
	}
	assert_in_range(needed, 1, 11);
	assert_false(has_alert(x, "model_corrupt", "devices/dev-1"));
	end(x, state);
}

static void a_finding_survives_a_restart(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	live(x, TRAINED);
	for (int i = 0; i < 4; i++) {
		x->boot[1]++;
		live(x, 1);
	}
	restart(x); /* before anybody was told */
	live(x, 1);
	tick(x);
	assert_true(has_alert(x, "reboot_loop", "devices/dev-1"));
	end(x, state);
}

#define COHORT 120

static void hour_of_cohort(struct detecting *x, int moved)
{
	char id[16], json[256];
	for (int i = 0; i < COHORT; i++) {
		int a = 400 + (int)(20 * noise(x)), b = 300 + (int)(15 * noise(x));
		snprintf(id, sizeof id, "c-%d", i);
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"2.0.0\",\"metrics\":{\"classes\":{\"hist\":[%d,%d,%d]}}}",
		         (long long)++x->seq, a - moved, b + moved, 1000 - a - b);
		fleet_telemetry(x->t, id, json);
	}
	fleet_settle(x->t);
	x->t->w.c.now_ms += 1200000;
	tick(x);
}

static void a_drifting_cohort_is_named(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	char id[16];
	for (int i = 0; i < COHORT; i++) {
		snprintf(id, sizeof id, "c-%d", i);
		world_device(&x->t->w, id, "drifter");
	}
	world_commit(&x->t->w);
	for (int i = 0; i < 3 * 24 * 10; i++)
		hour_of_cohort(x, 0);
	assert_int_equal(alert_count(x), 0);
	struct detect_cohort *c = x->t->w.s.detect->cohorts[x->t->w.s.detect->cohort_count - 1];
	assert_string_equal(c->name, "drifter/kws-2.0.0");
	assert_true(c->hot.last.is_warm);
	assert_int_equal(c->hot.last.devices, COHORT);
	for (int i = 0; i < 9; i++)
		hour_of_cohort(x, 30); /* three of a hundred outputs */
	assert_true(has_alert(x, "fleet_drift", "cohorts/drifter/kws-2.0.0"));
	end(x, state);
}

static void devices_that_report_seldom_take_part_in_drift(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	char id[16], json[256];
	unsigned most = 0;
	for (int i = 0; i < COHORT; i++) {
		snprintf(id, sizeof id, "c-%d", i);
		world_device(&x->t->w, id, "drifter");
	}
	world_commit(&x->t->w);
	for (int n = 0; n < 40; n++) { /* each two hours and twenty minutes, never in the first quarter of one */
		for (int i = 0; i < COHORT; i++) {
			snprintf(id, sizeof id, "c-%d", i);
			snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"2.0.0\",\"metrics\":{\"classes\":{\"hist\":[%d,300]}}}",
			         (long long)++x->seq, 400 + (int)(20 * noise(x)));
			fleet_telemetry(x->t, id, json);
		}
		fleet_settle(x->t);
		struct detect_cohort *c = x->t->w.s.detect->cohorts[x->t->w.s.detect->cohort_count - 1];
		most = c->hot.last.devices > most ? c->hot.last.devices : most;
		x->t->w.c.now_ms += 8400000;
	}
	assert_int_equal(most, COHORT);
	end(x, state);
}

static void a_bad_link_is_named(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	char json[512];
	long long seq = 0;
	bool is_named = false;
	for (int i = 0; i < TRAINED + 80 && !is_named; i++) {
		bool is_bad = i >= TRAINED;
		seq += is_bad ? 1 + i % 3 : 1;
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"1.4.1\",\"metrics\":{\"link_rssi_dbm\":%.3f,\"latency_ms\":{\"n\":9,\"sum\":%.3f}}}",
		         seq, -60 + 2 * noise(x) - (is_bad ? 25 : 0), 9 * (20 + noise(x)));
		fleet_telemetry(x->t, ids[0], json);
		settle(x);
		tick(x);
		is_named = has_alert(x, "network_degraded", "devices/dev-0");
	}
	assert_true(is_named);
	const struct detect_head *h = &detect_find(x->t->w.s.detect, 1)->head;
	assert_true(h->gaps_usual < h->gaps_now / 2 && h->gaps_now > UINT16_MAX / 20);
	end(x, state);
}

static void others_live(struct detecting *x, int steps)
{
	for (int i = 0; i < steps; i++) {
		for (int device = 1; device < DEVICES; device++)
			send_healthy(x, device);
		settle(x);
	}
}

static void what_devices_say_they_are_is_kept(void **state)
{
	struct detecting *x = begin(state, "compact", 1000);
	struct json *said = NULL;
	const char *text = "{\"utc_offset_minutes\":-330,\"memory_bytes\":512000,\"hot_c\":95,\"x\":1}";
	live(x, 3);
	others_live(x, 5);
	assert_int_equal(json_parse(text, strlen(text), &said, &x->t->w.fault), ERR_OK);
	detect_on_capabilities(x->t->w.s.detect, 1, said);
	json_free(said);
	others_live(x, 5); /* it says nothing else: what it said is written by itself */
	restart(x);
	const struct detect_head *h = &detect_find(x->t->w.s.detect, 1)->head, *other = &detect_find(x->t->w.s.detect, 2)->head;
	assert_int_equal(h->utc_quarters, -22);
	assert_int_equal(h->hot_c, 95);
	assert_true(fabs(exp2(h->memory / DETECT_MEMORY_STEPS) / 512000 - 1) < 1e-3);
	assert_true(other->utc_quarters == 0 && other->memory == 0 && other->hot_c == 0);
	end(x, state);
}

/* ---- bad input ---- */

static void what_is_bad_harms_nobody(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	struct detect *d = x->t->w.s.detect;
	char metrics[256];
	live(x, TRAINED);
	x->t->limits.new_names = 0;
	const struct detect_state *k = detect_find(d, 1);
	struct watch before = k->watch;
	/* another type: refused while it is the exception */
	for (int i = 0; i < DETECT_TYPE_RUN - 1; i++) {
		send(x, 0, "\"temperature_c\":{\"n\":10,\"sum\":9000000}");
		settle(x);
	}
	assert_int_equal(d->refused_types, DETECT_TYPE_RUN - 1);
	assert_int_equal(k->head.refused_types, DETECT_TYPE_RUN - 1);
	assert_memory_equal(&k->watch.level[WATCH_TEMPERATURE], &before.level[WATCH_TEMPERATURE], sizeof(float));
	/* out of the metric's domain */
	send(x, 0, "\"temperature_c\":1e11,\"battery\":-4");
	settle(x);
	assert_true(d->refused_values >= 2);
	assert_memory_equal(&k->watch.level[WATCH_TEMPERATURE], &before.level[WATCH_TEMPERATURE], sizeof(float));
	/* a thousand metrics: the first eight have a score, none takes more room */
	int64_t bytes = detect_device_bytes(d);
	for (int i = 0; i < 900; i++) {
		snprintf(metrics, sizeof metrics, "\"m%d\":%d", i, i);
		send(x, 1, metrics);
		if (i % 100 == 99)
			settle(x);
	}
	assert_int_equal(detect_device_bytes(d), bytes);
	assert_int_equal(detect_find(d, 2)->head.refused_metrics, 900 - 3);
	assert_int_equal(d->refused_metrics, 900 - 3);
	/* clocks that jump */
	char json[256];
	for (int i = 0; i < 3; i++) {
		snprintf(json, sizeof json, "{\"boot\":\"b0\",\"seq\":%lld,\"ts\":%lld,\"metrics\":{\"temperature_c\":30}}", (long long)++x->seq,
		         (long long)(i % 2 == 0 ? 1000 : 4102444800000));
		fleet_telemetry(x->t, ids[0], json);
		settle(x);
	}
	assert_int_equal(k->watch.refused_clocks, 3);
	for (int m = 0; m < WATCH_METRICS; m++)
		assert_true(isfinite(k->watch.level[m]));
	tick(x);
	end(x, state);
}

/* The series of a metric of a device; NULL: it has none. */
static const struct novelty_level *series_named(const struct detect *d, int64_t row, const char *metric)
{
	struct detect_state *k = detect_find(d, row);
	const struct symbol *y = symbols_find_metric(d->symbols, metric);
	for (unsigned i = 0; i < DETECT_SERIES; i++) {
		if (y != NULL && k->head.metric[i] == y->id)
			return detect_series(d, k, i);
	}
	return NULL;
}

static void what_was_offloaded_is_no_series(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	struct detect *d = x->t->w.s.detect;
	send(x, 0, "\"offload_rev\":3,\"offload_rate\":{\"n\":9,\"k\":1},\"offload_cost\":{\"n\":1,\"sum\":2},\"humidity\":3");
	settle(x);
	assert_non_null(series_named(d, 1, "humidity"));
	assert_null(series_named(d, 1, "offload_rev"));
	assert_null(series_named(d, 1, "offload_rate"));
	assert_int_equal(d->refused_metrics, 0);
	end(x, state);
}

static void counts_below_nothing_are_refused(void **state)
{
	static const char *const bad[] = {
		"\"errors\":-50000", "\"errors\":{\"n\":9,\"sum\":-1}", "\"errors\":1e9", "\"reboot\":-4294967295", "\"reboot\":4294967296", "\"crash\":-3",
		"\"oom\":-1", "\"nan_outputs\":-7",
	};
	struct detecting *x = begin(state, "compact", 60000);
	struct detect *d = x->t->w.s.detect;
	char metrics[160];
	for (int i = 0; i < TRAINED; i++) {
		snprintf(metrics, sizeof metrics, "\"errors\":%d,\"reboot\":0,\"oom\":0,\"temperature_c\":%.6f", (int)(2 + 2 * noise(x)), 30 + noise(x));
		send(x, 0, metrics);
		settle(x);
	}
	const struct detect_state *k = detect_find(d, 1);
	struct watch before = k->watch;
	unsigned errors = series_named(d, 1, "errors")->n, oom = series_named(d, 1, "oom")->n;
	assert_true(before.counts_seen == TRAINED && before.refused_values == 0);
	for (int i = 0; i < 80; i++) {
		send(x, 0, bad[i % 8]);
		settle(x);
	}
	assert_int_equal(k->watch.refused_values, 80); /* said of the device ... */
	assert_int_equal(d->refused_values, 80);       /* ... and of all */
	assert_memory_equal(&k->watch.errors, &before.errors, sizeof before.errors);
	assert_memory_equal(&k->watch.exposure, &before.exposure, sizeof before.exposure);
	assert_int_equal(k->watch.counts_seen, before.counts_seen);
	assert_int_equal(k->head.boots_today, 0);
	assert_true(k->watch.boot_at[0] == 0 && k->watch.boot_at[1] == 0);
	assert_int_equal(series_named(d, 1, "errors")->n, errors);
	assert_int_equal(series_named(d, 1, "oom")->n, oom);
	tick(x);
	assert_int_equal(alert_count(x), 0);
	for (int i = 0; i < 6; i++) { /* and real errors are found still */
		send(x, 0, "\"errors\":40,\"temperature_c\":30");
		settle(x);
	}
	tick(x);
	assert_true(alert_count(x) > 0);
	end(x, state);
}

/* Running totals are no counts of an interval, but people send them; at each boot they begin anew. */
static void running_totals_page_nobody(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	struct detect *d = x->t->w.s.detect;
	static const int lives[] = {250, 700, 1 << 20}; /* reports from boot to boot, of each device */
	int up[] = {0, 0, 0};
	char metrics[256];
	for (int i = 0; i < 5 * TRAINED; i++) {
		for (int device = 0; device < 3; device++) {
			if (++up[device] == lives[device]) {
				up[device] = 0;
				x->boot[device]++;
			}
			snprintf(metrics, sizeof metrics, "\"uptime_s\":%d,\"inferences_total\":%d,\"bytes_total\":%lld,\"temperature_c\":%.6f", up[device] * 300,
			         up[device] * 1700 + 5, up[device] * 100000LL + 7, 30 + noise(x));
			send(x, device, metrics);
		}
		settle(x);
		tick(x);
	}
	assert_int_equal(alert_count(x), 0);
	assert_true(d->series_events < 10); /* an edge now and then, of 14,400 values */
	assert_int_equal(d->refused_values, 0);
	end(x, state);
}

/* ---- what is shown ---- */

static void unusual_values_are_ranked(void **state)
{
	struct detecting *x = begin(state, "compact", 60000);
	struct detect *d = x->t->w.s.detect;
	live(x, TRAINED);
	send(x, 2, "\"link_rssi_dbm\":-97");
	settle(x);
	struct detect_question q = {.metric = "link_rssi_dbm", .limit = 3};
	struct detect_ranking *r = detect_rank_begin(d, &q);
	struct timebox box = timebox_begin(TIMEBOX_NS);
	struct buf out = BUF_INIT;
	assert_true(detect_rank_step(r, &box));
	json_open_array(&out);
	detect_rank_write(r, &x->t->w.s, &out);
	json_close_array(&out);
	detect_rank_free(r);
	assert_non_null(strstr(buf_cstr(&out), "[{\"device\":\"dev-2\",\"metric\":\"link_rssi_dbm\",\"cohort\":\"esp32s3/kws-1.4.2\",\"score\":"));
	assert_true(d->series_events >= 1);
	buf_clear(&out);
	detect_metrics(d, &out);
	assert_non_null(strstr(buf_cstr(&out), "aviary_state_bytes{kind=\"novelty\"} 1792\n"));
	buf_clear(&out);
	json_open_array(&out);
	detect_cohorts_write(d, &out);
	json_close_array(&out);
	struct json *root = NULL;
	assert_int_equal(json_parse(out.data, out.len, &root, &x->t->w.fault), ERR_OK);
	assert_int_equal(json_count(root), 5); /* two hardware classes; three versions of models on them */
	json_free(root);
	buf_done(&out);
	end(x, state);
}

static void a_deleted_device_is_forgotten(void **state)
{
	struct detecting *x = begin(state, "compact", 1000);
	live(x, 30);
	struct world *w = &x->t->w;
	DO(w, registry_delete(&w->c, registry_find(w->s.registry, "dev-3"), true, 0, NULL));
	world_commit(w);
	assert_null(detect_find(w->s.detect, 4));
	live(x, 2);
	restart(x);
	assert_null(detect_find(w->s.detect, 4));
	assert_non_null(detect_find(w->s.detect, 3));
	end(x, state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_are_functions_of_the_log), cmocka_unit_test(a_healthy_fleet_raises_nothing),
		cmocka_unit_test(a_reboot_loop_is_named), cmocka_unit_test(a_corrupt_model_is_named), cmocka_unit_test(a_finding_survives_a_restart),
		cmocka_unit_test(a_drifting_cohort_is_named), cmocka_unit_test(devices_that_report_seldom_take_part_in_drift),
		cmocka_unit_test(a_bad_link_is_named), cmocka_unit_test(what_devices_say_they_are_is_kept),
		cmocka_unit_test(what_is_bad_harms_nobody), cmocka_unit_test(what_was_offloaded_is_no_series),
		cmocka_unit_test(counts_below_nothing_are_refused), cmocka_unit_test(running_totals_page_nobody),
		cmocka_unit_test(unusual_values_are_ranked), cmocka_unit_test(a_deleted_device_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
