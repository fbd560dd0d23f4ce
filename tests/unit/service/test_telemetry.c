/* The log of reports on a real database: what is durable, what is seen, what comes back after a kill. A "kill" closes nothing properly: the
 * service is dropped and opened again on the same files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/telemetry.h"
#include "core/varint.h"
#include "service/ingest.h"
#include "service/observe.h"
#include "service/telemetry.h"
#include "service/telemetry_inside.h"
#include "store/db.h"
#include "store/telemetry_store.h"

#define T0 1700000040000 /* a whole minute */
#define MINUTE 60000
#define HOUR 3600000

struct world {
	char dir[64], path[96];
	struct telemetry_options options;
	struct ingest_limits limits;
	struct services services;
	struct fault fault;
	struct call call;
	int64_t now;
};
static struct telemetry_message message;

static void open_service(struct world *w)
{
	w->services.telemetry = telemetry_open(&w->options, w->now, &w->fault);
	if (w->services.telemetry == NULL)
		fail_msg("%s", w->fault.detail);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	strcpy(w->dir, "/tmp/aviary-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/telemetry.db", w->dir);
	telemetry_options_init(&w->options);
	w->options.path = w->path;
	w->limits = (struct ingest_limits){.metrics_max = 100, .versions_max = 100, .batch_reports = 1000, .batch_window_ms = 20};
	w->now = T0;
	w->call = (struct call){.s = &w->services, .fault = &w->fault};
	open_service(w);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char command[128];
	telemetry_close(w->services.telemetry);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void kill_and_restart(struct world *w)
{
	telemetry_close(w->services.telemetry); /* writes nothing */
	open_service(w);
}

static enum telemetry_admission admit(struct world *w, int64_t device, const char *json)
{
	assert_true(telemetry_parse(&message, json, strlen(json)));
	return telemetry_admit(w->services.telemetry, device, &message.reports[0], w->now, &w->limits, NULL);
}

static void report(struct world *w, int64_t device, int64_t seq, const char *version, const char *metrics)
{
	char json[2048];
	snprintf(json, sizeof json, "{\"boot\":\"b1\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":%s}", (long long)seq, version, metrics);
	assert_int_equal(admit(w, device, json), TELEMETRY_ADMITTED);
}

static struct telemetry_batch *write_batch(struct world *w)
{
	struct telemetry_batch *b = telemetry_seal(w->services.telemetry, w->now);
	assert_non_null(b);
	if (telemetry_write(b, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
	return b;
}

static void commit(struct world *w)
{
	w->call.now_ms = w->now;
	telemetry_settle(&w->call, write_batch(w));
}

static void maintain(struct world *w)
{
	for (bool more = true; more;)
		assert_int_equal(telemetry_maintain(w->services.telemetry, w->now, &more, &w->fault), ERR_OK);
}

/* ---- durability ---- */

static void visible_only_when_durable(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	report(w, 1, 1, "1.0.0", "{\"accuracy\":{\"n\":50,\"k\":46}}");
	assert_false(observe_baseline(&w->call, 1, "accuracy", &a, NULL));
	struct telemetry_batch *b = write_batch(w);
	assert_false(observe_baseline(&w->call, 1, "accuracy", &a, NULL));
	telemetry_settle(&w->call, b);
	assert_true(observe_baseline(&w->call, 1, "accuracy", &a, NULL));
	assert_int_equal(a.n, 50);
	assert_int_equal(a.k, 46);
}

static void repeated_reports_are_dropped_after_a_kill(void **state)
{
	struct world *w = *state;
	static const char one[] = "{\"boot\":\"b1\",\"seq\":7,\"metrics\":{\"x\":1}}", two[] = "{\"boot\":\"b1\",\"seq\":8,\"metrics\":{\"x\":1}}";
	assert_int_equal(admit(w, 3, one), TELEMETRY_ADMITTED);
	assert_int_equal(admit(w, 3, one), TELEMETRY_REPEATED);
	commit(w);
	assert_int_equal(admit(w, 3, two), TELEMETRY_ADMITTED); /* not committed: lost with the process, so it must be new again */
	kill_and_restart(w);
	assert_int_equal(admit(w, 3, one), TELEMETRY_REPEATED);
	assert_int_equal(admit(w, 3, two), TELEMETRY_ADMITTED);
	assert_int_equal(admit(w, 4, one), TELEMETRY_ADMITTED); /* another device */
}

static void names_have_a_limit(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	w->limits.metrics_max = 2;
	w->limits.versions_max = 0;
	assert_int_equal(admit(w, 1, "{\"boot\":\"b\",\"seq\":1,\"metrics\":{\"a\":1,\"b\":2,\"c\":3}}"), TELEMETRY_NAMELESS);
	assert_int_equal(admit(w, 1, "{\"boot\":\"b\",\"seq\":2,\"model\":\"m\",\"version\":\"1\",\"metrics\":{\"a\":1}}"), TELEMETRY_NAMELESS);
	commit(w);
	assert_true(observe_baseline(&w->call, 1, "b", &a, NULL));
	assert_false(observe_baseline(&w->call, 1, "c", &a, NULL));
}

static void batch_is_due_by_count_and_by_time(void **state)
{
	struct world *w = *state;
	w->limits.batch_reports = 2;
	assert_false(telemetry_is_due(w->services.telemetry, &w->limits, w->now));
	report(w, 1, 1, "1", "{\"x\":1}");
	assert_false(telemetry_is_due(w->services.telemetry, &w->limits, w->now + 19));
	assert_true(telemetry_is_due(w->services.telemetry, &w->limits, w->now + 20));
	assert_true(telemetry_is_due(w->services.telemetry, &w->limits, w->now - 1)); /* the clock went back: do not wait for it */
	report(w, 1, 2, "1", "{\"x\":1}");
	assert_true(telemetry_is_due(w->services.telemetry, &w->limits, w->now));
	commit(w);
	assert_false(telemetry_is_due(w->services.telemetry, &w->limits, w->now + 20));
}

/* ---- observation, against a fleet that is never killed ---- */

static void drive(struct world *w, unsigned from, unsigned to, bool kills)
{
	for (unsigned i = from; i < to; i++) {
		char metrics[256];
		int64_t device = 1 + i * 7 % 10;
		unsigned noise = i * 2654435761u >> 20;
		w->now += 997;
		if (i == 300) {
			for (int64_t d = 1; d <= 10; d++)
				observe_follow(&w->call, 5, 0, d, T0 + 250000); /* in the past */
		}
		snprintf(metrics, sizeof metrics, "{\"accuracy\":{\"n\":50,\"k\":%u},\"latency_ms\":{\"sketch\":{\"%u\":3,\"%u\":1}},\"energy\":{\"n\":3,\"sum\":%u.125},\"t\":%u}",
		         noise % 51, 50 + noise % 20, 80 + noise % 7, noise, noise % 40);
		report(w, device, i + 1, i < 400 ? "1.0.0" : "1.1.0", metrics);
		if (i % 3 == 2 || i + 1 == to)
			commit(w);
		if (kills && i % 60 == 59)
			kill_and_restart(w);
		if (kills && i % 60 == 59 && i >= 300) {
			for (int64_t d = 1; d <= 10; d++)
				observe_follow(&w->call, 5, 0, d, T0 + 250000);
		}
	}
}

static void digest(struct world *w, struct buf *out)
{
	static const char *const metrics[] = {"accuracy", "latency_ms", "energy", "t"};
	struct ddsketch s;
	struct metric_accum a;
	uint8_t bytes[ACCUM_ENCODED_MAX];
	for (int64_t d = 1; d <= 10; d++) {
		for (size_t m = 0; m < 4; m++) {
			observe_baseline(&w->call, d, metrics[m], &a, &s);
			buf_append(out, bytes, accum_encode(&a, &s, bytes));
			observe_window(&w->call, 5, 0, d, metrics[m], &a, &s);
			buf_append(out, bytes, accum_encode(&a, &s, bytes));
		}
		buf_printf(out, "reports %lld;", (long long)observe_device_reports(&w->call, 5, 0, d));
		struct silence_habit h;
		assert_true(observe_habit(&w->call, d, &h));
		buf_append(out, &h, sizeof h);
	}
	buf_printf(out, "all %lld", (long long)observe_report_count(&w->call, 5, 0));
}

static void kills_change_no_figure(void **state)
{
	struct world *w = *state;
	struct world *other;
	struct buf mine = BUF_INIT, theirs = BUF_INIT;
	set_up((void **)&other);
	other->options.baseline_ms = w->options.baseline_ms = 240000; /* so that halves turn */
	other->options.checkpoint_ms = w->options.checkpoint_ms = 20000;
	kill_and_restart(w);
	kill_and_restart(other);
	drive(w, 0, 600, false);
	drive(other, 0, 600, true);
	digest(w, &mine);
	digest(other, &theirs);
	assert_int_equal(mine.len, theirs.len);
	assert_memory_equal(mine.data, theirs.data, mine.len);
	assert_true(observe_report_count(&w->call, 5, 0) > 300);
	buf_done(&mine);
	buf_done(&theirs);
	tear_down((void **)&other);
}

static void baseline_follows_the_version(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	report(w, 1, 1, "1.0.0", "{\"accuracy\":{\"n\":50,\"k\":46}}");
	report(w, 1, 2, "1.0.0", "{\"accuracy\":{\"n\":50,\"k\":40}}");
	report(w, 1, 3, "1.1.0", "{\"accuracy\":{\"n\":10,\"k\":5}}");
	commit(w);
	assert_true(observe_baseline(&w->call, 1, "accuracy", &a, NULL));
	assert_int_equal(a.n, 10);
}

static void baseline_is_one_half_to_the_whole(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	int64_t half = w->options.baseline_ms / 2, start = (T0 / half + 1) * half;
	for (int i = 0; i < 3; i++) {
		w->now = start + i * half;
		report(w, 1, i + 1, "1", "{\"x\":1}");
		commit(w);
	}
	assert_true(observe_baseline(&w->call, 1, "x", &a, NULL));
	assert_int_equal(a.n, 2);
	assert_true(observe_baseline_half(&w->call, 1, "x", 0, &a, NULL));
	assert_int_equal(a.n, 1);
	w->now += 10 * half;
	report(w, 1, 9, "1", "{\"x\":1}");
	commit(w);
	assert_true(observe_baseline(&w->call, 1, "x", &a, NULL));
	assert_int_equal(a.n, 1);
	assert_false(observe_baseline_half(&w->call, 1, "x", 0, &a, NULL));
}

static void windows_begin_when_told_and_end(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	report(w, 1, 1, "1", "{\"x\":1}");
	commit(w);
	observe_follow(&w->call, 9, 1, 1, w->now + 1000);
	w->now += 999;
	report(w, 1, 2, "1", "{\"x\":1}");
	commit(w);
	assert_false(observe_window(&w->call, 9, 1, 1, "x", &a, NULL));
	w->now += 1;
	report(w, 1, 3, "1", "{\"x\":4}");
	commit(w);
	assert_true(observe_window(&w->call, 9, 1, 1, "x", &a, NULL));
	assert_true(accum_sum(&a) == 4);
	assert_int_equal(observe_report_count(&w->call, 9, 1), 1);
	observe_follow(&w->call, 9, 1, 1, T0); /* from the log */
	assert_true(observe_window(&w->call, 9, 1, 1, "x", &a, NULL));
	assert_true(accum_sum(&a) == 6);
	assert_int_equal(observe_report_count(&w->call, 9, 1), 3);
	observe_unfollow(&w->call, 9);
	assert_int_equal(observe_report_count(&w->call, 9, 1), 0);
	assert_false(observe_window(&w->call, 9, 1, 1, "x", &a, NULL));
}

/* A report with both parts; NULL: without the shadow's. */
static void paired_report(struct world *w, int64_t seq, const char *metrics, const char *shadow)
{
	char json[1024];
	int len = snprintf(json, sizeof json, "{\"boot\":\"b1\",\"seq\":%lld,\"metrics\":%s", (long long)seq, metrics);
	if (shadow != NULL)
		len += snprintf(json + len, sizeof json - (size_t)len, ",\"shadow\":{\"id\":\"d-1\",\"metrics\":%s}", shadow);
	snprintf(json + len, sizeof json - (size_t)len, "}");
	(void)admit(w, 1, json);
}

/* "<sum>/<n>" of a metric and of its shadow in a window, "-" where there is none, and the count of reports. */
static void assert_pairs(struct world *w, int64_t rollout, const char *metric, const char *expected)
{
	struct metric_accum a;
	char name[64], found[128];
	int len = 0;
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "%s%s", i ? "shadow." : "", metric);
		if (observe_window(&w->call, rollout, 0, 1, name, &a, NULL))
			len += snprintf(found + len, sizeof found - (size_t)len, "%g/%lld ", accum_sum(&a), (long long)a.n);
		else
			len += snprintf(found + len, sizeof found - (size_t)len, "- ");
	}
	snprintf(found + len, sizeof found - (size_t)len, "%lld", (long long)observe_device_reports(&w->call, rollout, 0, 1));
	assert_string_equal(found, expected);
	assert_int_equal(observe_report_count(&w->call, rollout, 0), observe_device_reports(&w->call, rollout, 0, 1));
}

static void only_pairs_count_in_a_paired_window(void **state)
{
	struct world *w = *state;
	observe_follow_pairs(&w->call, 7, 0, 1, T0);
	observe_follow(&w->call, 8, 0, 1, T0);
	paired_report(w, 1, "{\"x\":1,\"y\":5}", NULL);                    /* no shadow at all */
	paired_report(w, 2, "{\"x\":2}", "{\"y\":100}");                   /* both sides, no pair */
	paired_report(w, 3, "{\"y\":3,\"x\":4}", "{\"x\":40,\"z\":1}");    /* one pair; y and z stand alone */
	paired_report(w, 4, "{\"x\":8,\"y\":7}", "{\"y\":70,\"x\":80}");   /* two, in another order */
	paired_report(w, 4, "{\"x\":8,\"y\":7}", "{\"y\":70,\"x\":80}");   /* a duplicate */
	paired_report(w, 5, "{\"x\":{\"hist\":[1]}}", "{\"x\":1}");        /* histograms make no pairs */
	commit(w);
	assert_pairs(w, 7, "x", "12/2 120/2 2");
	assert_pairs(w, 7, "y", "7/1 70/1 2");
	assert_pairs(w, 7, "z", "- - 2");
	assert_pairs(w, 8, "x", "15/4 121/3 5"); /* an unpaired window takes everything */
}

static void paired_windows_survive_restarts(void **state)
{
	struct world *w = *state;
	w->options.checkpoint_ms = 1;
	kill_and_restart(w);
	observe_follow_pairs(&w->call, 7, 0, 1, T0);
	paired_report(w, 1, "{\"x\":1}", "{\"x\":10}");
	paired_report(w, 2, "{\"x\":2}", NULL);
	commit(w);
	w->now += 10;
	commit(w); /* the state's row */
	kill_and_restart(w);
	observe_follow_pairs(&w->call, 7, 0, 1, T0); /* changes nothing */
	assert_pairs(w, 7, "x", "1/1 10/1 1");
	paired_report(w, 3, "{\"x\":4}", "{\"x\":40}");
	paired_report(w, 4, "{\"x\":8}", NULL);
	commit(w);
	kill_and_restart(w); /* the window from its row, the last batch from the log */
	assert_pairs(w, 7, "x", "5/2 50/2 2");
	observe_follow_pairs(&w->call, 6, 0, 1, T0); /* all of it from the log */
	assert_pairs(w, 6, "x", "5/2 50/2 2");
	observe_follow(&w->call, 6, 0, 1, T0); /* the other way: anew */
	assert_pairs(w, 6, "x", "15/4 50/2 4");
}

static int64_t no_model(void *ctx, int64_t version)
{
	(void)ctx;
	return version;
}

static void windows_of_older_servers_are_read(void **state)
{
	static const int64_t rest[] = {5, 6, 7, 0, 1, 42, 3, T0, 9, 0}; /* habit, no baseline, one window of nine reports */
	uint8_t bytes[64 + DEDUPE_BYTES] = {0};
	struct dedupe none = {.boots = {{0, 0, 0}}};
	struct tracks *t = tracks_new(1000);
	(void)state;
	size_t len = varint_put(bytes, 1);
	dedupe_encode(&none, bytes + len);
	len += DEDUPE_BYTES;
	for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
		len += varint_put(bytes + len, rest[i]);
	struct track *k = tracks_get(t, 1);
	assert_true(track_decode(t, k, bytes, len, no_model, NULL));
	const struct window *w = track_window(k, 42, 3);
	assert_non_null(w);
	assert_true(w->since_ms == T0 && w->reports == 9 && !w->is_paired);
	bytes[0] = 9; /* of a newer one: rebuilt from the log instead */
	assert_false(track_decode(t, k, bytes, len, no_model, NULL));
	tracks_free(t);
}

static void forgotten_devices_are_gone(void **state)
{
	struct world *w = *state;
	struct silence_habit h;
	w->options.checkpoint_ms = 1;
	kill_and_restart(w);
	report(w, 1, 1, "1", "{\"x\":1}");
	observe_follow(&w->call, 9, 0, 1, 0);
	commit(w);
	w->now += 10;
	commit(w); /* the state's row */
	telemetry_forget_device(w->services.telemetry, 1);
	assert_false(observe_habit(&w->call, 1, &h));
	w->now += 10;
	commit(w);
	kill_and_restart(w);
	assert_false(observe_habit(&w->call, 1, &h));
	assert_int_equal(observe_report_count(&w->call, 9, 0), 0);
}

/* ---- queries ---- */

struct figures {
	struct json *root;
	size_t count;
};

static struct figures ask(struct world *w, struct telemetry_question q)
{
	struct telemetry_query *query;
	struct figures out = {NULL, 0};
	if (q.metric == NULL)
		q.metric = "lat";
	if (q.aggregates == 0)
		q.aggregates = (1u << AGG_ENUM) - 1;
	if (telemetry_query_new(w->services.telemetry, &q, &query, &w->fault) != ERR_OK || telemetry_query_run(query, &w->fault) != ERR_OK)
		fail_msg("%s %s", w->fault.pointer, w->fault.detail);
	const char *json = telemetry_query_json(query);
	if (json_parse(json, strlen(json), &out.root, &w->fault) != ERR_OK)
		fail_msg("%s: %s", w->fault.detail, json);
	out.count = json_count(out.root);
	telemetry_query_free(query);
	return out;
}

static const struct json *item(const struct figures *f, size_t at)
{
	const struct json *j = json_first(f->root);
	while (at-- > 0)
		j = json_next(j);
	return j;
}

static double figure(const struct figures *f, size_t at, const char *name)
{
	const struct json *j = json_get(item(f, at), name);
	assert_non_null(j);
	return json_type(j) == JSON_NULL ? NAN : json_number(j);
}

/* Three devices, each a report every 10 s for `minutes`; seconds of latency, a number, a ratio. */
static void fill(struct world *w, int minutes)
{
	int64_t seq = 0;
	for (int i = 0; i < minutes * 6; i++, w->now += 10000) {
		seq++;
		for (int64_t d = 1; d <= 3; d++) {
			char metrics[256];
			snprintf(metrics, sizeof metrics, "{\"lat\":{\"sketch\":{\"%d\":2,\"%d\":1}},\"t\":%d,\"acc\":{\"n\":10,\"k\":%d},\"e\":{\"n\":4,\"sum\":8}}",
			         (int)d, 100 + i % 6, i % 6, 5 + i % 6);
			report(w, d, seq, d == 3 ? "2" : "1", metrics);
		}
		commit(w);
	}
}

static void aggregates_add_up(void **state)
{
	struct world *w = *state;
	fill(w, 3);
	struct figures f = ask(w, (struct telemetry_question){.metric = "t", .from_ms = T0, .to_ms = w->now, .step_ms = MINUTE});
	assert_int_equal(f.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(figure(&f, i, "at") == (double)(T0 + (int64_t)i * MINUTE));
		assert_true(figure(&f, i, "count") == 18);
		assert_true(figure(&f, i, "sum") == 45);
		assert_true(figure(&f, i, "mean") == 2.5);
		assert_true(figure(&f, i, "min") == 0);
		assert_true(figure(&f, i, "max") == 5);
	}
	json_free(f.root);
	f = ask(w, (struct telemetry_question){.metric = "acc", .from_ms = T0, .to_ms = w->now});
	assert_int_equal(f.count, 1);
	assert_true(figure(&f, 0, "mean") == 0.75 && figure(&f, 0, "count") == 540);
	assert_true(isnan(figure(&f, 0, "p95")));
	json_free(f.root);
}

static void quantiles_merge_sketches(void **state)
{
	struct world *w = *state;
	fill(w, 2);
	struct ddsketch s;
	ddsketch_init(&s);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(ddsketch_add_key(&s, 2, 2), ERR_OK);
		assert_int_equal(ddsketch_add_key(&s, 100 + i % 6, 1), ERR_OK);
	}
	int64_t devices[] = {2};
	struct figures f = ask(w, (struct telemetry_question){.from_ms = T0, .to_ms = w->now, .devices = devices, .device_count = 1});
	assert_int_equal(f.count, 1);
	assert_true(fabs(figure(&f, 0, "p95") - ddsketch_quantile(&s, 0.95)) < 1e-9);
	assert_true(fabs(figure(&f, 0, "p50") - ddsketch_quantile(&s, 0.50)) < 1e-9);
	json_free(f.root);
}

static void cohorts_and_versions_are_told_apart(void **state)
{
	struct world *w = *state;
	int64_t devices[] = {3, 1};
	fill(w, 2);
	for (int round = 0; round < 2; round++) {
		struct figures f = ask(w, (struct telemetry_question){.from_ms = T0, .to_ms = w->now, .step_ms = MINUTE, .devices = devices, .device_count = 2});
		assert_int_equal(f.count, 2);
		assert_true(figure(&f, 0, "reports") == 12);
		json_free(f.root);
		f = ask(w, (struct telemetry_question){.from_ms = T0, .to_ms = w->now, .step_ms = MINUTE, .model = "kws", .version = "2"});
		assert_true(f.count == 2 && figure(&f, 1, "reports") == 6);
		json_free(f.root);
		f = ask(w, (struct telemetry_question){.from_ms = T0, .to_ms = w->now, .step_ms = 2 * MINUTE, .by_version = true});
		assert_int_equal(f.count, 2);
		assert_string_equal(json_text(json_get(item(&f, 0), "version")), "1");
		assert_true(figure(&f, 0, "reports") == 24 && figure(&f, 1, "reports") == 12);
		json_free(f.root);
		f = ask(w, (struct telemetry_question){.from_ms = T0, .to_ms = w->now, .step_ms = MINUTE, .model = "kws", .version = "3"});
		assert_int_equal(f.count, 0);
		json_free(f.root);
		w->now += 5 * MINUTE; /* now once more from roll-ups alone */
		maintain(w);
		w->now -= 5 * MINUTE;
	}
}

static void every_source_gives_the_same_sum(void **state)
{
	struct world *w = *state;
	int64_t start = T0 - T0 % HOUR + HOUR;
	w->now = start;
	fill(w, 130);
	int64_t end = w->now;
	static const int64_t steps[] = {10 * HOUR, 20 * MINUTE, 0};
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 3; i++) {
			struct figures f = ask(w, (struct telemetry_question){.metric = "e", .from_ms = start, .to_ms = end, .step_ms = steps[i]});
			double sum = 0;
			for (size_t k = 0; k < f.count; k++)
				sum += figure(&f, k, "sum");
			assert_true(sum == 3 * 130 * 6 * 8);
			json_free(f.root);
		}
		struct figures f = ask(w, (struct telemetry_question){.metric = "e", .from_ms = end - 20 * MINUTE + 3000, .to_ms = end, .step_ms = 10000});
		assert_int_equal(f.count, 119);
		json_free(f.root);
		if (round == 0)
			w->now += HOUR;
		maintain(w);
		if (round == 1)
			kill_and_restart(w);
	}
}

static void clock_that_goes_back_loses_nothing(void **state)
{
	struct world *w = *state;
	w->now = T0 - T0 % HOUR + HOUR;
	int64_t start = w->now;
	fill(w, 61);
	w->now = start + 3 * HOUR;
	maintain(w); /* the first hour is complete */
	w->now = start + 10 * MINUTE;
	report(w, 7, 1, "1", "{\"e\":{\"n\":4,\"sum\":1000}}");
	commit(w);
	w->now = start + 3 * HOUR;
	maintain(w);
	struct figures f = ask(w, (struct telemetry_question){.metric = "e", .from_ms = start, .to_ms = start + 2 * HOUR, .step_ms = HOUR});
	assert_int_equal(f.count, 2);
	assert_true(figure(&f, 0, "sum") == 3 * 60 * 6 * 8 + 1000);
	json_free(f.root);
	f = ask(w, (struct telemetry_question){.metric = "e", .from_ms = start, .to_ms = start + 2 * HOUR, .step_ms = 30 * MINUTE});
	assert_true(figure(&f, 0, "sum") == 3 * 30 * 6 * 8 + 1000);
	json_free(f.root);
}

static void single_points_come_newest_first(void **state)
{
	struct world *w = *state;
	int64_t devices[] = {2};
	fill(w, 2);
	struct figures f = ask(w, (struct telemetry_question){.metric = "acc", .from_ms = T0, .to_ms = w->now, .devices = devices, .device_count = 1, .raw = true, .limit = 5});
	assert_int_equal(f.count, 5);
	assert_true(figure(&f, 0, "seq") == 12 && figure(&f, 4, "seq") == 8);
	assert_true(json_number(json_get(json_get(item(&f, 0), "value"), "k")) == 10);
	assert_string_equal(json_text(json_get(item(&f, 0), "boot")), "b1");
	assert_string_equal(json_text(json_get(item(&f, 0), "kind")), "ratio");
	json_free(f.root);
}

static void questions_are_checked(void **state)
{
	struct world *w = *state;
	static const struct {
		struct telemetry_question q;
		const char *pointer;
	} cases[] = {
		{{.metric = "1x", .from_ms = 0, .to_ms = 1}, "/metric"},
		{{.metric = "x", .from_ms = 5, .to_ms = 5}, "/from"},
		{{.metric = "x", .from_ms = 0, .to_ms = 100 * (int64_t)HOUR, .step_ms = 1000}, "/step_ms"},
		{{.metric = "x", .from_ms = 0, .to_ms = 7 * (int64_t)HOUR, .step_ms = 10000}, "/step_ms"},
		{{.metric = "x", .from_ms = 0, .to_ms = 10, .raw = true}, "/raw"},
		{{.metric = "x", .from_ms = 0, .to_ms = 10, .version = "1"}, "/version"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct telemetry_query *query;
		assert_int_equal(telemetry_query_new(w->services.telemetry, &cases[i].q, &query, &w->fault), ERR_INVALID);
		assert_string_equal(w->fault.pointer, cases[i].pointer);
	}
	struct figures f = ask(w, (struct telemetry_question){.metric = "never", .from_ms = 0, .to_ms = 10});
	assert_int_equal(f.count, 0);
	json_free(f.root);
}

static void deadline_ends_a_query(void **state)
{
	struct world *w = *state;
	struct telemetry_query *query;
	fill(w, 30);
	struct telemetry_question q = {.metric = "lat", .from_ms = T0 - 92 * 24 * (int64_t)HOUR, .to_ms = w->now, .step_ms = 24 * 60 * MINUTE - MINUTE, .aggregates = 1, .deadline_ms = 1};
	assert_int_equal(telemetry_query_new(w->services.telemetry, &q, &query, &w->fault), ERR_OK);
	int64_t start = clock_mono_ms();
	assert_int_equal(telemetry_query_run(query, &w->fault), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - start < 1000);
	telemetry_query_free(query);
}

/* ---- retention ---- */

static void count_batch(void *ctx, const struct stored_batch *b)
{
	*(int64_t *)ctx += b->id > 0;
}

/* The log goes first; single points and a device's aggregates then come from its chunks, until these go, too. */
static void old_reports_go_by_age(void **state)
{
	struct world *w = *state;
	w->options.raw_keep_ms = HOUR;
	w->options.device_keep_ms = w->options.minute_keep_ms = 3 * HOUR;
	w->options.checkpoint_ms = 1;
	kill_and_restart(w);
	int64_t start = w->now, devices[] = {1}, batches = 0;
	fill(w, 5);
	w->now += 2 * HOUR;
	report(w, 1, 1000, "1", "{\"lat\":{\"sketch\":{\"1\":1}}}");
	commit(w);
	maintain(w);
	assert_int_equal(telemetry_log_since(w->path, 0, 1, count_batch, &batches, &w->fault), ERR_OK);
	assert_int_equal(batches, 0);
	struct telemetry_question q = {.from_ms = start, .to_ms = start + 5 * MINUTE, .devices = devices, .device_count = 1, .raw = true, .limit = 100};
	struct figures f = ask(w, q);
	assert_int_equal(f.count, 30);
	assert_true(figure(&f, 0, "seq") == 30 && figure(&f, 29, "seq") == 1);
	json_free(f.root);
	q.raw = false;
	q.step_ms = MINUTE;
	f = ask(w, q);
	assert_int_equal(f.count, 5);
	json_free(f.root);
	w->now += 4 * HOUR;
	maintain(w);
	f = ask(w, q);
	assert_int_equal(f.count, 0);
	json_free(f.root);
	q.devices = NULL;
	f = ask(w, q);
	assert_int_equal(f.count, 0);
	json_free(f.root);
	q.step_ms = HOUR;
	f = ask(w, q);
	assert_true(f.count >= 1 && figure(&f, 0, "reports") == 90);
	json_free(f.root);
}

/* A device's points are the same from the log, from chunks, and from both; also after a kill in the middle of the work. */
static void chunks_give_what_the_log_gave(void **state)
{
	struct world *w = *state;
	int64_t devices[] = {1, 2, 3}, start = w->now;
	fill(w, 90);
	for (size_t count = 1; count <= 3; count++) {
		struct telemetry_question q = {.metric = "lat", .from_ms = start + 5000, .to_ms = w->now, .step_ms = 7 * MINUTE, .devices = devices, .device_count = count};
		struct figures before = ask(w, q);
		int64_t was = w->now;
		bool more = true;
		w->now += HOUR;
		for (int i = 0; i < (count == 1 ? 3 : 1000) && more; i++) { /* at first not to the end */
			struct fault f;
			assert_int_equal(telemetry_maintain(w->services.telemetry, w->now, &more, &f), ERR_OK);
		}
		kill_and_restart(w);
		struct figures after = ask(w, q);
		assert_true(before.count == after.count && before.count >= 12);
		for (size_t i = 0; i < before.count; i++)
			assert_true(figure(&before, i, "reports") == figure(&after, i, "reports") && fabs(figure(&before, i, "sum") - figure(&after, i, "sum")) < 1e-6);
		json_free(before.root);
		json_free(after.root);
		w->now = was;
	}
}

static void old_reports_go_by_size(void **state)
{
	struct world *w = *state;
	w->options.max_bytes = 600000;
	w->options.checkpoint_ms = 1;
	kill_and_restart(w);
	for (int i = 0; i < 3000; i++, w->now += 100) {
		char metrics[2100] = "{\"h\":{\"hist\":[1";
		for (int k = 0; k < 250; k++)
			strcat(metrics, ",1");
		strcat(metrics, "]}}");
		report(w, 1 + i % 5, i + 1, "1", metrics);
		if (i % 10 == 9)
			commit(w);
		if (i % 100 == 99)
			maintain(w);
	}
	int64_t used = telemetry_counters(w->services.telemetry).log_bytes;
	assert_true(used > 100000 && used <= 600000);
	assert_int_equal(telemetry_counters(w->services.telemetry).reports, 3000);
}

static void full_disk_is_survived(void **state)
{
	struct world *w = *state;
	struct metric_accum a;
	struct db *db = NULL;
	struct stmt *st = NULL;
	bool row;
	report(w, 1, 1, "1", "{\"x\":1}");
	commit(w);
	/* Another process holds the file: the writer cannot, and gives up after its busy timeout. */
	assert_int_equal(db_open(w->path, NULL, false, &db, &w->fault), ERR_OK);
	assert_int_equal(db_begin(db, &w->fault), ERR_OK);
	assert_int_equal(db_prepare_text(db, "UPDATE progress SET value = value WHERE name = 'hours_before'", &st, &w->fault), ERR_OK);
	assert_int_equal(stmt_step(st, &row, &w->fault), ERR_OK);
	report(w, 1, 2, "2", "{\"y\":1}");
	struct telemetry_batch *b = telemetry_seal(w->services.telemetry, w->now);
	assert_int_equal(telemetry_write(b, &w->fault), ERR_UNAVAILABLE);
	assert_int_equal(db_end(db, false, &w->fault), ERR_OK);
	db_close(db);
	assert_int_equal(telemetry_write(b, &w->fault), ERR_OK);
	telemetry_settle(&w->call, b);
	assert_true(observe_baseline(&w->call, 1, "y", &a, NULL));
	kill_and_restart(w);
	assert_true(observe_baseline(&w->call, 1, "y", &a, NULL));
	assert_int_equal(telemetry_counters(w->services.telemetry).failures, 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(visible_only_when_durable), CASE(repeated_reports_are_dropped_after_a_kill), CASE(names_have_a_limit),
		CASE(batch_is_due_by_count_and_by_time), CASE(kills_change_no_figure), CASE(baseline_follows_the_version),
		CASE(baseline_is_one_half_to_the_whole), CASE(windows_begin_when_told_and_end), CASE(only_pairs_count_in_a_paired_window),
		CASE(paired_windows_survive_restarts), CASE(windows_of_older_servers_are_read), CASE(forgotten_devices_are_gone),
		CASE(aggregates_add_up), CASE(quantiles_merge_sketches), CASE(cohorts_and_versions_are_told_apart),
		CASE(every_source_gives_the_same_sum), CASE(clock_that_goes_back_loses_nothing), CASE(single_points_come_newest_first),
		CASE(questions_are_checked), CASE(deadline_ends_a_query), CASE(old_reports_go_by_age), CASE(chunks_give_what_the_log_gave), CASE(old_reports_go_by_size),
		CASE(full_disk_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
