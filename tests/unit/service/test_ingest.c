/* What arrives from devices: admitted, refused and counted; and what a database that fails makes of it. */
#include "telemetry_world.h"

#include "base/json.h"
#include "service/symbols.h"
#include "store/telemetry_query.h"
#include "store/telemetry_store.h"

#define REPORT(seq) "{\"boot\":\"b\",\"seq\":" #seq ",\"metrics\":{\"x\":1}}"
#define SECRET "abababababababababababababababababababababababababababababababab"

static void good_reports_beside_bad_ones(void **state)
{
	struct fleet *t = *state;
	struct ingest_sample sample;
	world_device(&t->w, "dev-1", "h");
	fleet_telemetry(t, "dev-1", "[" REPORT(1) ",{\"boot\":\"b\",\"seq\":2,\"metrics\":{\"x\":\"no\"}}," REPORT(3) "]");
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 2);
	assert_int_equal(fleet_refused(t, INGEST_MALFORMED), 1);
	assert_true(ingest_next_sample(t->w.s.ingest, &sample));
	assert_string_equal(sample.device, "dev-1");
	assert_non_null(strstr(sample.detail, "report 1"));
	assert_false(ingest_next_sample(t->w.s.ingest, &sample));
	fleet_telemetry(t, "dev-1", REPORT(1));
	assert_int_equal(fleet_refused(t, INGEST_DUPLICATE), 1);
	assert_false(ingest_next_sample(t->w.s.ingest, &sample)); /* a duplicate is nothing to tell people */
	fleet_telemetry(t, "dev-2", REPORT(1));
	assert_int_equal(fleet_refused(t, INGEST_UNKNOWN_DEVICE), 1);
	assert_int_equal(telemetry_pending(t->w.s.telemetry), 2);
}

static void only_the_shadow_of_today_counts(void **state)
{
	static const char said[] = "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{\"x\":1},\"shadow\":{\"id\":\"%s\",\"metrics\":{\"x\":2,\"y\":3}}}";
	struct fleet *t = *state;
	struct registry *r = t->w.s.registry;
	struct ingest_sample sample;
	char json[256];
	int seq = 1;
	world_device(&t->w, "dev-1", "h");
	struct device_state *d = registry_find(r, "dev-1");
	registry_touch(r, d);
	d->deployment = 184;
	static const struct {
		const char *id;
		int64_t points;
	} table[] = {{"d-184", 3}, {"d-185", 1}, {"d-18", 1}, {"d-1840", 1}, {"x", 1}, {"d-", 1}, {"d-99999999999999999999", 1}};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		int64_t before = ingest_counters(t->w.s.ingest)->points;
		snprintf(json, sizeof json, said, seq++, table[i].id);
		fleet_telemetry(t, "dev-1", json);
		assert_int_equal(ingest_counters(t->w.s.ingest)->points - before, table[i].points);
	}
	d->deployment = 0;
	snprintf(json, sizeof json, said, seq++, "d-0");
	fleet_telemetry(t, "dev-1", json);
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 8); /* what runs is taken all the same */
	assert_int_equal(fleet_refused(t, INGEST_SHADOW), 7);
	assert_true(ingest_next_sample(t->w.s.ingest, &sample));
	assert_string_equal(sample.device, "dev-1");
	fleet_telemetry(t, "dev-1", "{\"boot\":\"b\",\"seq\":99,\"metrics\":{\"shadow.x\":1}}");
	assert_int_equal(fleet_refused(t, INGEST_MALFORMED), 1);
}

static void samples_are_bounded(void **state)
{
	struct fleet *t = *state;
	struct ingest_sample sample;
	int count = 0;
	for (int i = 0; i < 1000; i++)
		fleet_telemetry(t, "nobody", REPORT(1));
	while (ingest_next_sample(t->w.s.ingest, &sample))
		count++;
	assert_int_equal(count, t->limits.samples_per_minute);
	assert_int_equal(fleet_refused(t, INGEST_UNKNOWN_DEVICE), 1000);
	t->w.c.now_ms += 60000;
	fleet_telemetry(t, "nobody", REPORT(1));
	assert_true(ingest_next_sample(t->w.s.ingest, &sample));
}

static void floods_are_cut_and_forgiven(void **state)
{
	struct fleet *t = *state;
	char json[128];
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "h");
	t->limits.reports_per_second = 2;
	t->limits.reports_burst = 10;
	for (int i = 1; i <= 30; i++) {
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{\"x\":1}}", i);
		fleet_telemetry(t, "dev-1", json);
	}
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 10);
	assert_int_equal(fleet_refused(t, INGEST_FLOOD), 20);
	fleet_telemetry(t, "dev-2", REPORT(1)); /* others are not touched */
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 11);
	t->w.c.now_ms += 1500;
	fleet_telemetry(t, "dev-1", "[" REPORT(31) "," REPORT(32) "," REPORT(33) "," REPORT(34) "]");
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 14);
	t->w.c.now_ms -= 100000; /* a clock that goes back gives nothing and takes nothing */
	fleet_telemetry(t, "dev-1", REPORT(35));
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 14);
	t->w.c.now_ms += 1000;
	fleet_telemetry(t, "dev-1", REPORT(36));
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 15);
}

static void each_lie_about_numbers_is_counted_by_its_name(void **state)
{
	static const struct {
		const char *metric;
		enum telemetry_error reason;
	} lies[] = {
		{"NaN", TELEMETRY_SYNTAX}, {"1e999", TELEMETRY_BAD_NUMBER}, {"{\"n\":-1,\"sum\":3}", TELEMETRY_BAD_COUNT},
		{"{\"n\":5,\"k\":-1}", TELEMETRY_BAD_K}, {"{\"n\":5,\"k\":6}", TELEMETRY_K_ABOVE_N},
		{"{\"sketch\":{\"5\":-1}}", TELEMETRY_BAD_SKETCH_COUNT}, {"{\"hist\":[-1]}", TELEMETRY_BAD_HIST_COUNT},
		{"{\"sketch\":{\"1025\":1}}", TELEMETRY_BAD_SKETCH_KEY}, {"{\"sketch\":{\"1.5\":1}}", TELEMETRY_BAD_SKETCH_KEY},
	};
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		char json[160];
		int64_t before = ingest_counters(t->w.s.ingest)->malformed[lies[i].reason];
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%zu,\"metrics\":{\"x\":%s}}", i + 1, lies[i].metric);
		fleet_telemetry(t, "dev-1", json);
		assert_int_equal(ingest_counters(t->w.s.ingest)->malformed[lies[i].reason], before + 1);
		assert_int_equal(fleet_refused(t, INGEST_MALFORMED), (int64_t)i + 1);
	}
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 0);
}

static int64_t alerts_of(struct fleet *t, const char *resource, const char *status, const char *word)
{
	struct alert_filter q = {.kind = "device.refused", .resource = resource, .status = status, .limit = 10};
	struct buf out = BUF_INIT;
	int64_t next, count = 0;
	bool more = true;
	while (more)
		assert_int_equal(alerts_tick(&t->w.c, &more), ERR_OK);
	assert_int_equal(units_commit(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(alerts_list(&t->w.c, &q, &out, &next), ERR_OK);
	for (const char *at = out.len > 0 ? buf_cstr(&out) : ""; (at = strstr(at, "\"resource\"")) != NULL; at++)
		count++;
	if (count > 0 && word != NULL && strstr(buf_cstr(&out), word) == NULL)
		fail_msg("%s is not in %s", word, buf_cstr(&out));
	buf_done(&out);
	return count;
}

/* `count` metrics from m<first> on. */
static void send_metrics(struct fleet *t, const char *device, int seq, int first, int count)
{
	struct buf json = BUF_INIT;
	buf_printf(&json, "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{", seq);
	for (int i = 0; i < count; i++)
		buf_printf(&json, "%s\"m%d\":1", i > 0 ? "," : "", first + i);
	buf_str(&json, "}}");
	fleet_telemetry(t, device, buf_cstr(&json));
	buf_done(&json);
}

static void a_thousand_metrics_in_a_report_are_refused_and_told(void **state)
{
	struct fleet *t = *state;
	struct ingest_sample sample;
	world_device(&t->w, "dev-1", "h");
	send_metrics(t, "dev-1", 1, 0, 1000);
	send_metrics(t, "dev-1", 2, 0, TELEMETRY_METRICS + 1);
	assert_int_equal(fleet_refused(t, INGEST_TOO_LARGE), 1);
	assert_int_equal(ingest_counters(t->w.s.ingest)->malformed[TELEMETRY_TOO_MANY_METRICS], 1);
	assert_true(ingest_next_sample(t->w.s.ingest, &sample) && ingest_next_sample(t->w.s.ingest, &sample));
	assert_non_null(strstr(sample.detail, "m32"));
	assert_int_equal(alerts_of(t, "devices/dev-1", NULL, NULL), 0); /* once or twice is nothing to wake anybody for */
	send_metrics(t, "dev-1", 3, 0, TELEMETRY_METRICS);
	send_metrics(t, "dev-1", 4, 0, 1000);
	assert_int_equal(alerts_of(t, "devices/dev-1", "firing", "\"reason\":\"too_large\""), 1);
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 1);
	assert_int_equal(symbols_count_of(telemetry_symbols(t->w.s.telemetry), true), TELEMETRY_METRICS);
	for (int hour = 1; hour <= 5; hour++) { /* it goes on, after a restart too */
		t->w.c.now_ms += 3600000;
		send_metrics(t, "dev-1", 4 + hour, 0, 1000);
		if (hour == 3)
			fleet_restart(t);
		assert_int_equal(alerts_of(t, "devices/dev-1", "firing", NULL), 1);
	}
	t->w.c.now_ms += 10 * 3600000;
	assert_int_equal(alerts_of(t, "devices/dev-1", "firing", NULL), 0);
	assert_int_equal(alerts_of(t, "devices/dev-1", "resolved", "\"resolved_by\":\"no_data\""), 1);
}

static void one_device_does_not_use_up_the_names_of_all(void **state)
{
	struct fleet *t = *state;
	const struct symbols *names = telemetry_symbols(t->w.s.telemetry);
	char json[160];
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "h");
	send_metrics(t, "dev-2", 1, 5000, 10);
	for (int i = 0; i < 100; i++)
		send_metrics(t, "dev-1", i + 1, 10 * i, 10);
	assert_int_equal(symbols_count_of(names, true), 10 + t->limits.new_names);
	assert_int_equal(fleet_refused(t, INGEST_NEW_NAMES), 94); /* of the seventh report four are there, of the others none */
	assert_int_equal(fleet_refused(t, INGEST_NAMES), 0);
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 101);
	assert_int_equal(alerts_of(t, "devices/dev-1", "firing", "\"reason\":\"new_names\""), 1);
	for (int i = 0; i < 10; i++) { /* versions are names, too */
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"model\":\"kws\",\"version\":\"9.%d\",\"metrics\":{\"m1\":1}}", 200 + i, i);
		fleet_telemetry(t, "dev-1", json);
	}
	assert_int_equal(symbols_count_of(names, false), 0);
	send_metrics(t, "dev-2", 2, 6000, 30); /* the others' names find their place */
	assert_int_equal(symbols_count_of(names, true), 40 + t->limits.new_names);
	assert_int_equal(alerts_of(t, "devices/dev-2", NULL, NULL), 0);
	send_metrics(t, "dev-1", 300, 0, 32); /* and known ones are taken */
	assert_int_equal(fleet_refused(t, INGEST_NEW_NAMES), 104);
	t->w.c.now_ms += 86400000; /* another day */
	send_metrics(t, "dev-1", 301, 990, 20);
	assert_int_equal(symbols_count_of(names, true), 60 + t->limits.new_names);
	for (int i = 0; i < 5; i++) /* all of its share */
		send_metrics(t, "dev-1", 302 + i, 8000 + 10 * i, 10);
	assert_int_equal(symbols_count_of(names, true), 40 + 2 * t->limits.new_names);
	t->w.c.now_ms -= 3 * (int64_t)86400000; /* a clock that goes back takes nothing */
	send_metrics(t, "dev-1", 310, 9000, 10);
	assert_int_equal(symbols_count_of(names, true), 50 + 2 * t->limits.new_names);
	t->limits.new_names = 0; /* no limit but the table's */
	for (int i = 0; i < 100; i++)
		send_metrics(t, "dev-1", 400 + i, 10 * i + 10000, 10);
	assert_int_equal(symbols_count_of(names, true), t->limits.metrics_max);
	assert_true(fleet_refused(t, INGEST_NAMES) > 0);
}

static void a_seq_that_runs_backwards_is_told(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "h");
	for (int i = 0; i < 200; i++)
		send_metrics(t, "dev-1", 10000 - i, 0, 1);
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 64); /* out of order within the window is allowed */
	assert_int_equal(fleet_refused(t, INGEST_OUTDATED), 136);
	assert_int_equal(alerts_of(t, "devices/dev-1", NULL, NULL), 0); /* so far it may be what was sent before */
	for (int i = 0; i < 20; i++) {
		t->w.c.now_ms += 60000;
		send_metrics(t, "dev-1", 9000 - i, 0, 1);
	}
	assert_int_equal(fleet_refused(t, INGEST_OUTDATED), 156);
	assert_int_equal(alerts_of(t, "devices/dev-1", "firing", "a counter that runs backwards"), 1);
	for (int day = 0; day < 3; day++) { /* what a device sends again after each night is no such counter */
		for (int i = 1; i <= 100; i++)
			send_metrics(t, "dev-2", i, 0, 1);
		t->w.c.now_ms += 8 * 3600000;
	}
	assert_int_equal(alerts_of(t, "devices/dev-2", NULL, NULL), 0);
}

static void clocks_may_be_wrong(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	fleet_telemetry(t, "dev-1", "{\"ts\":5,\"boot\":\"b\",\"seq\":1,\"metrics\":{\"x\":1}}");
	fleet_telemetry(t, "dev-1", "{\"ts\":4102444800000,\"boot\":\"b\",\"seq\":2,\"metrics\":{\"x\":1}}");
	fleet_telemetry(t, "dev-1", "{\"ts\":1700000000000,\"boot\":\"b\",\"seq\":3,\"metrics\":{\"x\":1}}");
	assert_int_equal(ingest_counters(t->w.s.ingest)->clock_wrong, 2);
	assert_int_equal(ingest_counters(t->w.s.ingest)->reports, 3);
	fleet_settle(t);
	struct silence_habit h;
	assert_true(observe_habit(&t->w.c, registry_find(t->w.s.registry, "dev-1")->row, &h));
	assert_int_equal(h.last_ms, NOW); /* the server's time */
}

static enum err send_report(struct fleet *t, const char *device, const char *json)
{
	return ingest_report(&t->w.c, device, json, strlen(json));
}

static void devices_enrol_themselves(void **state)
{
	struct fleet *t = *state;
	struct token_row row = {.name = "factory", .kind = "enrolment", .role = "enrol", .uses_left = -1};
	char token[ACCESS_TOKEN_SIZE], json[512];
	DO(&t->w, access_create_token(&t->w.c, &row, token));
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":1,\"enrol\":{\"token\":\"%s\",\"secret_sha256\":\"" SECRET "\",\"hardware\":\"h\"},"
	         "\"running\":{\"release\":\"r1\",\"counter\":2,\"models\":{\"kws\":\"1.0.0\"}}}", token);
	assert_int_equal(send_report(t, "dev-1", json), ERR_OK);
	const struct device_state *d = registry_find(t->w.s.registry, "dev-1");
	assert_non_null(d);
	assert_string_equal(registry_text(t->w.s.registry, d->release), "r1");
	int64_t told;
	assert_true(outbox_next_device(t->w.s.outbox, &told) && told == d->row);
	assert_int_equal(send_report(t, "dev-1", json), ERR_OK);
	assert_int_equal(fleet_refused(t, INGEST_DUPLICATE), 1);
	assert_true(outbox_next_device(t->w.s.outbox, &told)); /* told again */
	const struct audit_row *audit;
	struct audit_row *rows;
	size_t count;
	assert_int_equal(audit_list(&t->w.c, &(struct audit_filter){.action = "device.enrol"}, 0, 10, &rows, &count), ERR_OK);
	audit = rows;
	assert_int_equal(count, 1);
	assert_string_equal(audit->who, "device:dev-1");
}

static void bad_commands_are_refused_and_leave_nothing(void **state)
{
	struct fleet *t = *state;
	static const char *const bad[] = {"", "{", "[]", "{\"boot\":\"b\"}", "{\"boot\":\"b\",\"seq\":0}", "{\"boot\":\"b\",\"seq\":1,\"x\":1}"};
	world_device(&t->w, "dev-1", "h");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(send_report(t, "dev-1", bad[i]), ERR_OK);
	assert_int_equal(fleet_refused(t, INGEST_MALFORMED), 6);
	assert_int_equal(send_report(t, "dev-2", "{\"boot\":\"b\",\"seq\":1}"), ERR_OK);
	assert_int_equal(fleet_refused(t, INGEST_UNKNOWN_DEVICE), 1);
	assert_int_equal(send_report(t, "dev-2", "{\"boot\":\"b\",\"seq\":1,\"enrol\":{\"token\":\"none\",\"secret_sha256\":\"" SECRET "\",\"hardware\":\"h\"}}"), ERR_OK);
	assert_int_equal(fleet_refused(t, INGEST_ENROLMENT), 1);
	assert_null(registry_find(t->w.s.registry, "dev-2"));
	assert_int_equal(ingest_status(&t->w.c, "dev-1", "yes", 3), ERR_OK);
	assert_int_equal(ingest_status(&t->w.c, "dev-1", "", 0), ERR_OK); /* an erased retained message */
	assert_int_equal(fleet_refused(t, INGEST_MALFORMED), 7);
	assert_int_equal(ingest_status(&t->w.c, "dev-1", "{\"online\":true,\"boot\":\"b\"}", 26), ERR_OK);
	assert_true(registry_find(t->w.s.registry, "dev-1")->online);
}

static void commands_of_one_device_are_limited(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	t->limits.commands_per_second = 1;
	t->limits.commands_burst = 3;
	for (int i = 1; i <= 5; i++) {
		char json[64];
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d}", i);
		assert_int_equal(send_report(t, "dev-1", json), ERR_OK);
	}
	assert_int_equal(fleet_refused(t, INGEST_FLOOD), 2);
}

static void a_database_that_fails_is_said(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	world_commit(&t->w);
	struct db *other;
	struct stmt *st;
	assert_int_equal(db_open(t->w.path, NULL, false, &other, &t->w.fault), ERR_OK);
	assert_int_equal(db_prepare_text(other, "UPDATE device SET name = 'held'", &st, &t->w.fault), ERR_OK);
	assert_int_equal(stmt_run(st, &t->w.fault), ERR_OK); /* holds the file until the writer gives up */
	assert_int_equal(send_report(t, "dev-1", "{\"boot\":\"b\",\"seq\":1}"), ERR_UNAVAILABLE);
	assert_int_equal(fleet_refused(t, INGEST_INTERNAL), 1);
	db_close(other);
	assert_int_equal(send_report(t, "dev-1", "{\"boot\":\"b\",\"seq\":1}"), ERR_OK);
	assert_int_equal(ingest_counters(t->w.s.ingest)->commands, 1);
}

static void deleted_devices_leave_no_state(void **state)
{
	struct fleet *t = *state;
	struct silence_habit h;
	struct device_state *d = world_device(&t->w, "dev-1", "h");
	int64_t row = d->row;
	fleet_value(t, "dev-1", 1, "x", 1);
	assert_true(observe_habit(&t->w.c, row, &h));
	fleet_telemetry(t, "dev-1", REPORT(2)); /* in the open batch while it is deleted */
	DO(&t->w, registry_delete(&t->w.c, d, false, 0, NULL));
	world_commit(&t->w);
	fleet_settle(t);
	assert_false(observe_habit(&t->w.c, row, &h));
	fleet_restart(t);
	assert_false(observe_habit(&t->w.c, row, &h));
}

/* ---- plans ---- */

static void no_scan(void *ctx, const struct statement *statement, const char *line)
{
	(void)ctx;
	if (strncmp(line, "SCAN", 4) == 0 && !statement->scans && strstr(line, "CONSTANT ROW") == NULL && strstr(line, "SCAN (") == NULL)
		fail_msg("%s: %s", statement->sql, line);
}

static void note_scan(void *ctx, const char *line)
{
	(void)ctx;
	static const char *const fine[] = {"SCAN report_points", "SCAN minutes", "SCAN hours", "SCAN ends", "SCAN progress_of", "SCAN named", "CONSTANT ROW", "SCAN (subquery",
	                                   "SCAN pragma"};
	if (strncmp(line, "SCAN", 4) != 0)
		return;
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
		if (strstr(line, fine[i]) != NULL)
			return;
	}
	fail_msg("%s", line);
}

static void no_statement_scans(void **state)
{
	struct fleet *t = *state;
	struct telemetry_store *store;
	int64_t device = 1, versions[] = {2, 3};
	db_each_plan(t->w.s.db, no_scan, NULL);
	assert_int_equal(telemetry_store_open(t->telemetry_path, &store, &t->w.fault), ERR_OK);
	db_each_plan(telemetry_store_db(store), no_scan, NULL);
	telemetry_store_close(store);
	for (int source = SOURCE_RAW; source <= SOURCE_HOUR; source++) {
		for (int k = 0; k < 4; k++) {
			struct telemetry_select q = {.path = t->telemetry_path, .source = (enum telemetry_source)source, .metric = 1,
			                             .devices = k & 1 ? &device : NULL, .device_count = k & 1, .versions = k & 2 ? versions : NULL,
			                             .version_count = k & 2, .to_ms = 1, .step_ms = 1, .limit = 1};
			if (telemetry_select_plan(&q, false, note_scan, NULL, &t->w.fault) != ERR_OK)
				fail_msg("%s", t->w.fault.detail);
			if (telemetry_select_plan(&q, true, note_scan, NULL, &t->w.fault) != ERR_OK)
				fail_msg("%s", t->w.fault.detail);
		}
	}
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fleet_setup, fleet_teardown)
	const struct CMUnitTest tests[] = {
		CASE(good_reports_beside_bad_ones), CASE(only_the_shadow_of_today_counts), CASE(samples_are_bounded), CASE(floods_are_cut_and_forgiven), CASE(each_lie_about_numbers_is_counted_by_its_name), CASE(a_thousand_metrics_in_a_report_are_refused_and_told), CASE(one_device_does_not_use_up_the_names_of_all),
		CASE(a_seq_that_runs_backwards_is_told), CASE(clocks_may_be_wrong),
		CASE(devices_enrol_themselves), CASE(bad_commands_are_refused_and_leave_nothing), CASE(commands_of_one_device_are_limited),
		CASE(a_database_that_fails_is_said), CASE(deleted_devices_leave_no_state), CASE(no_statement_scans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
