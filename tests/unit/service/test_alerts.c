/* Alerts: one at a time, from the beginning of a condition to its end, over restarts and lost commits. */
#include "telemetry_world.h"

#include <math.h>

#include "base/json.h"
#include "store/db.h"

static size_t list(struct fleet *t, const char *status, struct buf *out)
{
	struct alert_filter q = {.status = status, .limit = 100};
	int64_t next;
	buf_clear(out);
	json_open_array(out);
	assert_int_equal(alerts_list(&t->w.c, &q, out, &next), ERR_OK);
	json_close_array(out);
	struct json *root = NULL;
	assert_int_equal(json_parse(out->data, out->len, &root, &t->w.fault), ERR_OK);
	size_t count = json_count(root);
	json_free(root);
	return count;
}

static size_t firing(struct fleet *t)
{
	struct buf b = BUF_INIT;
	size_t count = list(t, "firing", &b);
	buf_done(&b);
	assert_int_equal(alerts_firing(t->w.s.alerts), count);
	return count;
}

static size_t events(struct fleet *t)
{
	struct event_row *rows;
	size_t count, alerts = 0;
	assert_int_equal(event_list(&t->w.c, NULL, 0, 1000, &rows, &count), ERR_OK);
	for (size_t i = 0; i < count; i++)
		alerts += strcmp(rows[i].kind, "alert") == 0;
	return alerts;
}

static void tick(struct fleet *t, int64_t passed_ms)
{
	t->w.c.now_ms += passed_ms;
	bool more = true;
	for (int i = 0; more && i < 100; i++) {
		if (alerts_tick(&t->w.c, &more) != ERR_OK)
			fail_msg("%s", t->w.fault.detail);
	}
}

static void one_fires_at_a_time(void **state)
{
	struct fleet *t = *state;
	struct buf b = BUF_INIT;
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "bad", "{\"p\":0.001}"));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "bad", "{\"p\":0.001}"));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/8", ALERT_WARNING, "bad", NULL));
	assert_int_equal(firing(t), 2);
	assert_int_equal(events(t), 2);
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "worse", NULL));
	assert_int_equal(firing(t), 2);
	assert_int_equal(events(t), 2);
	assert_int_equal(list(t, NULL, &b), 2);
	assert_non_null(strstr(b.data, "\"worse\""));
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/7"));
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/7"));
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/9"));
	assert_int_equal(firing(t), 1);
	assert_int_equal(events(t), 3);
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "again", NULL));
	assert_int_equal(list(t, NULL, &b), 3);
	buf_done(&b);
}

static void acknowledging_is_noted_once(void **state)
{
	struct fleet *t = *state;
	struct buf b = BUF_INIT;
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/a", ALERT_INFO, "s", NULL));
	DO(&t->w, alerts_acknowledge(&t->w.c, 1, &b));
	assert_non_null(strstr(b.data, "\"acknowledged_by\":\"aviary\""));
	size_t had = events(t);
	t->w.c.now_ms += 5;
	buf_clear(&b);
	DO(&t->w, alerts_acknowledge(&t->w.c, 1, &b));
	char at[64];
	snprintf(at, sizeof at, "\"acknowledged_at\":%lld", (long long)NOW);
	assert_non_null(strstr(b.data, at));
	assert_int_equal(events(t), had);
	REFUSED(&t->w, ERR_NOT_FOUND, alerts_acknowledge(&t->w.c, 9, &b));
	buf_done(&b);
}

static void lost_commits_are_forgotten(void **state)
{
	struct fleet *t = *state;
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/a", ALERT_INFO, "s", NULL));
	world_commit(&t->w);
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(alert_raise(&t->w.c, "k", "devices/b", ALERT_INFO, "s", NULL), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, ERR_CONFLICT, &t->w.fault), ERR_CONFLICT); /* the work around it was refused */
	tick(t, 1000);
	assert_int_equal(firing(t), 1);
	fleet_restart(t);
	assert_int_equal(firing(t), 1);
}

static void device_that_goes_takes_its_alerts(void **state)
{
	struct fleet *t = *state;
	struct device_state *d = world_device(&t->w, "dev-1", "h");
	DO(&t->w, alert_install_failed(&t->w.c, "dev-1", 7, "bad signature"));
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/dev-2", ALERT_INFO, "s", NULL));
	DO(&t->w, registry_delete(&t->w.c, d, false, 0, NULL));
	assert_int_equal(firing(t), 1);
}

static void resolved_ones_go_after_a_while(void **state)
{
	struct fleet *t = *state;
	struct buf b = BUF_INIT;
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/a", ALERT_INFO, "s", NULL));
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/b", ALERT_INFO, "s", NULL));
	DO(&t->w, alert_resolve(&t->w.c, "k", "devices/a"));
	tick(t, INT64_C(89) * 86400000);
	assert_int_equal(list(t, NULL, &b), 2);
	tick(t, INT64_C(2) * 86400000);
	assert_int_equal(list(t, NULL, &b), 1);
	buf_done(&b);
}

static void note_sort(void *ctx, const struct statement *statement, const char *line)
{
	if (strstr(statement->sql, " alert ") == NULL || strstr(line, "TEMP B-TREE") == NULL)
		return;
	print_message("%s\n%s\n", statement->sql, line);
	*(int *)ctx += 1;
}

/* There may be half a million: 30 ms for each hundred thousand, every ten seconds. */
static void nothing_sorts_all_alerts(void **state)
{
	struct fleet *t = *state;
	int sorts = 0;
	db_each_plan(t->w.s.db, note_sort, &sorts);
	assert_int_equal(sorts, 0);
}

/* ---- silence ---- */

static void talk(struct fleet *t, const char *device, int from, int to, int64_t every_ms)
{
	for (int i = from; i < to; i++) {
		fleet_value(t, device, i, "x", 1);
		t->w.c.now_ms += every_ms;
	}
}

static void silence_by_own_habits(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "fast", "h");
	world_device(&t->w, "slow", "h");
	world_device(&t->w, "never", "h");
	tick(t, 0);
	talk(t, "slow", 1, 20, 60000);
	talk(t, "fast", 1, 20, 2000);
	tick(t, 0);
	assert_int_equal(firing(t), 0);
	tick(t, 15000); /* three intervals of the fast one */
	assert_int_equal(firing(t), 1);
	tick(t, 200000);
	assert_int_equal(firing(t), 2);
	fleet_value(t, "fast", 20, "x", 1);
	tick(t, 1);
	assert_int_equal(firing(t), 1);
}

static void nobody_is_silent_while_the_broker_is_away(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	tick(t, 0);
	talk(t, "dev-1", 1, 20, 2000);
	metric_set(METER_MQTT_CONNECTED, 0);
	tick(t, 1000000);
	assert_int_equal(firing(t), 0);
	metric_set(METER_MQTT_CONNECTED, 1);
	tick(t, 1000);
	assert_int_equal(firing(t), 0); /* it gets its time to come back */
	tick(t, 1000000);
	assert_int_equal(firing(t), 1);
}

static void a_clock_that_was_set_back_hides_no_silence(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "talks", "h");
	world_device(&t->w, "stops", "h");
	tick(t, 0);
	tick(t, 2 * 86400000); /* the server runs for longer than the clock goes back */
	talk(t, "talks", 1, 20, 2000);
	talk(t, "stops", 1, 20, 2000);
	fleet_value(t, "talks", 20, "x", 1);
	tick(t, 1000);
	assert_int_equal(firing(t), 0);
	t->w.c.now_ms -= 86400000;
	for (int i = 0; i < 3; i++) {
		tick(t, 1000);
		fleet_value(t, "talks", 21 + i, "x", 1);
		assert_int_equal(firing(t), 0); /* both get their time */
	}
	for (int i = 0; i < 60; i++) {
		tick(t, 2000);
		fleet_value(t, "talks", 26 + i, "x", 1);
	}
	assert_int_equal(firing(t), 1);
	tick(t, 300000);
	assert_int_equal(firing(t), 2);
}

static void silence_survives_a_restart(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	tick(t, 0);
	talk(t, "dev-1", 1, 20, 2000);
	tick(t, 100000);
	assert_int_equal(firing(t), 1);
	world_commit(&t->w);
	size_t had = events(t);
	fleet_restart(t);
	tick(t, 0);
	fleet_value(t, "dev-1", 20, "x", 1);
	tick(t, 1);
	assert_int_equal(firing(t), 0);
	assert_int_equal(events(t), had + 1);
}

/* ---- rules ---- */

static int64_t add_rule(struct fleet *t, struct alert_rule r)
{
	int64_t id = 0;
	r.name = r.name != NULL ? r.name : "rule";
	r.op = r.op != NULL ? r.op : "gt";
	r.filter = r.filter != NULL ? r.filter : "";
	r.severity = "warning";
	r.metric = r.metric != NULL ? r.metric : "x";
	r.clear = r.clear != 0 ? r.clear : NAN;
	DO(&t->w, alert_rule_create(&t->w.c, &r, &id));
	tick(t, 0);
	return id;
}

static void rule_fires_and_ends(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.threshold = 10});
	fleet_value(t, "dev-1", 1, "x", 10);
	assert_int_equal(firing(t), 0); /* above, not at */
	fleet_value(t, "dev-1", 2, "y", 99);
	assert_int_equal(firing(t), 0);
	fleet_value(t, "dev-1", 3, "x", 10.5);
	assert_int_equal(firing(t), 1);
	fleet_value(t, "dev-1", 4, "x", 11);
	assert_int_equal(events(t), 1);
	fleet_value(t, "dev-1", 5, "x", 3);
	assert_int_equal(firing(t), 0);
	assert_int_equal(events(t), 2);
	fleet_value(t, "dev-1", 6, "x", 12);
	assert_int_equal(firing(t), 1);
}

static void rule_waits_for_its_time(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.threshold = 0.5, .op = "lt", .for_ms = 5000});
	fleet_value(t, "dev-1", 1, "x", 0.1);
	t->w.c.now_ms += 4999;
	fleet_value(t, "dev-1", 2, "x", 0.1);
	assert_int_equal(firing(t), 0);
	fleet_value(t, "dev-1", 3, "x", 0.6); /* interrupted */
	t->w.c.now_ms += 1;
	fleet_value(t, "dev-1", 4, "x", 0.1);
	assert_int_equal(firing(t), 0);
	t->w.c.now_ms += 5000;
	fleet_value(t, "dev-1", 5, "x", 0.1);
	assert_int_equal(firing(t), 1);
}

static void rule_looks_at_its_devices_only(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "esp");
	world_device(&t->w, "dev-2", "nrf");
	add_rule(t, (struct alert_rule){.threshold = 1, .filter = "hardware==nrf"});
	add_rule(t, (struct alert_rule){.threshold = 1, .name = "all"});
	fleet_value(t, "dev-1", 1, "x", 5);
	assert_int_equal(firing(t), 1);
	fleet_value(t, "dev-2", 1, "x", 5);
	assert_int_equal(firing(t), 3);
	fleet_value(t, "dev-1", 2, "x", 0);
	fleet_value(t, "dev-2", 2, "x", 0);
	assert_int_equal(firing(t), 0);
}

static void rule_alerts_come_back_after_a_restart(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.threshold = 1});
	fleet_value(t, "dev-1", 1, "x", 5);
	world_commit(&t->w);
	size_t had = events(t);
	fleet_restart(t);
	fleet_value(t, "dev-1", 2, "x", 6);
	assert_int_equal(events(t), had);
	fleet_value(t, "dev-1", 3, "x", 0);
	assert_int_equal(firing(t), 0);
}

static void rule_changes_end_its_alerts(void **state)
{
	struct fleet *t = *state;
	struct alert_rule r;
	world_device(&t->w, "dev-1", "h");
	int64_t id = add_rule(t, (struct alert_rule){.threshold = 1});
	fleet_value(t, "dev-1", 1, "x", 5);
	assert_int_equal(alert_rule_show(&t->w.c, id, &r), ERR_OK);
	r.threshold = 3;
	DO(&t->w, alert_rule_update(&t->w.c, &r));
	tick(t, 1000);
	assert_int_equal(firing(t), 0);
	fleet_value(t, "dev-1", 2, "x", 2);
	assert_int_equal(firing(t), 0);
	fleet_value(t, "dev-1", 3, "x", 5);
	assert_int_equal(firing(t), 1);
	assert_int_equal(alert_rule_show(&t->w.c, id, &r), ERR_OK);
	assert_int_equal(r.revision, 2);
	DO(&t->w, alert_rule_delete(&t->w.c, id));
	tick(t, 1000);
	assert_int_equal(firing(t), 0);
	fleet_value(t, "dev-1", 4, "x", 5);
	assert_int_equal(firing(t), 0);
	REFUSED(&t->w, ERR_NOT_FOUND, alert_rule_delete(&t->w.c, id));
}

static void rule_that_was_undone_is_no_rule(void **state)
{
	struct fleet *t = *state;
	int64_t id;
	struct alert_rule r = {.name = "n", .metric = "x", .op = "gt", .filter = "", .severity = "info", .threshold = 1, .clear = NAN};
	world_device(&t->w, "dev-1", "h");
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(alert_rule_create(&t->w.c, &r, &id), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, ERR_CONFLICT, &t->w.fault), ERR_CONFLICT);
	tick(t, 1000);
	fleet_value(t, "dev-1", 1, "x", 5);
	assert_int_equal(firing(t), 0);
}

static void many_breaches_are_worked_off(void **state)
{
	struct fleet *t = *state;
	char id[32];
	add_rule(t, (struct alert_rule){.threshold = 1});
	for (int i = 0; i < 1200; i++) {
		snprintf(id, sizeof id, "dev-%d", i);
		world_device(&t->w, id, "h");
		fleet_telemetry(t, id, "{\"boot\":\"b\",\"seq\":1,\"metrics\":{\"x\":5}}");
	}
	fleet_settle(t);
	for (int i = 0; i < 3; i++)
		tick(t, 1);
	assert_int_equal(alerts_firing(t->w.s.alerts), 1201); /* and that of the cohort: it is a storm */
	for (int i = 0; i < 1200; i++) {
		snprintf(id, sizeof id, "dev-%d", i);
		fleet_telemetry(t, id, "{\"boot\":\"b\",\"seq\":2,\"metrics\":{\"x\":0}}");
	}
	fleet_settle(t);
	tick(t, 1);
	assert_int_equal(alerts_firing(t->w.s.alerts), 1);
	metric_set(METER_MQTT_CONNECTED, 0); /* or all of them would be silent by then */
	tick(t, 400000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fleet_setup, fleet_teardown)
	const struct CMUnitTest tests[] = {
		CASE(one_fires_at_a_time), CASE(acknowledging_is_noted_once), CASE(lost_commits_are_forgotten), CASE(device_that_goes_takes_its_alerts),
		CASE(resolved_ones_go_after_a_while), CASE(nothing_sorts_all_alerts), CASE(silence_by_own_habits), CASE(nobody_is_silent_while_the_broker_is_away), CASE(a_clock_that_was_set_back_hides_no_silence),

		CASE(silence_survives_a_restart), CASE(rule_fires_and_ends), CASE(rule_waits_for_its_time), CASE(rule_looks_at_its_devices_only),
		CASE(rule_alerts_come_back_after_a_restart), CASE(rule_changes_end_its_alerts), CASE(rule_that_was_undone_is_no_rule),
		CASE(many_breaches_are_worked_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
