/* Rules of kind signature, health and gate against history: what is known of the past, and what the answer says where it is not. */
#include "health_world.h"

#include <math.h>

#include "service/alert_rule_past.h"
#include "service/alerts_inside.h"

#define MINUTE INT64_C(60000)

static void pass(struct fleet *t, int64_t passed_ms)
{
	bool more = true;
	tick(t, passed_ms);
	for (int i = 0; more && i < 50; i++) {
		if (alerts_tick(&t->w.c, &more) != ERR_OK)
			fail_msg("%s", t->w.fault.detail);
	}
	world_commit(&t->w);
}

static const char *tried(struct fleet *t, struct alert_rule r, int64_t from_ms, int64_t to_ms)
{
	struct rule_test *test;
	struct buf b = BUF_INIT;
	r.name = "n", r.op = "gt", r.severity = "info", r.clear = NAN;
	r.filter = r.filter != NULL ? r.filter : "";
	if (rule_test_new(&t->w.c, &r, from_ms, to_ms, &test) != ERR_OK)
		fail_msg("%s %s", t->w.fault.pointer, t->w.fault.detail);
	rule_test_work(test);
	json_open_object(&b);
	if (rule_test_result(&t->w.c, test, &b) != ERR_OK)
		fail_msg("%s", t->w.fault.detail);
	json_close_object(&b);
	rule_test_free(test);
	const char *text = arena_strdup(t->w.c.arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static bool has(struct fleet *t, const char *answer, const char *name, int64_t value)
{
	bool found = strstr(answer, arena_printf(t->w.c.arena, "\"%s\":%lld", name, (long long)value)) != NULL;
	if (!found)
		print_message("%s: %s\n", name, answer);
	return found;
}

static void signal_is(struct fleet *t, const char *kind, const char *resource, enum alert_level level)
{
	DO(&t->w, alert_signal(&t->w.c, &(struct alert_signal){.kind = kind, .resource = resource, .severity = ALERT_WARNING, .level = level, .value = NAN,
		.expected = NAN, .score = NAN}));
	world_commit(&t->w);
}

/* dev-1 drifts for 20 minutes and for 2, dev-2 for an hour and still. */
static void signatures_from_their_alerts(void **state)
{
	struct fleet *t = *state;
	int64_t begun = t->w.c.now_ms;
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "g");
	world_commit(&t->w);
	pass(t, 0);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_OVER);
	signal_is(t, "model_drift", "devices/dev-2", ALERT_LEVEL_OVER);
	signal_is(t, "net_degraded", "devices/dev-2", ALERT_LEVEL_OVER);
	pass(t, 20 * MINUTE);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_UNDER); /* resolved five minutes later */
	pass(t, 5 * MINUTE);
	pass(t, 5 * MINUTE);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_OVER);
	pass(t, 2 * MINUTE);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_UNDER);
	pass(t, 8 * MINUTE);
	pass(t, 20 * MINUTE);
	int64_t now = t->w.c.now_ms;
	const char *r = tried(t, (struct alert_rule){.kind = "signature", .subject = "model_*"}, begun, now);
	assert_true(has(t, r, "fired", 3) && has(t, r, "devices_fired", 2) && has(t, r, "samples", 3) && has(t, r, "history_from", begun));
	assert_true(has(t, r, "resolved_at", begun + 20 * MINUTE)); /* when it was over: not when its alert was */
	r = tried(t, (struct alert_rule){.kind = "signature", .subject = "model_*", .for_ms = 10 * MINUTE}, begun, now);
	assert_true(has(t, r, "fired", 2) && has(t, r, "fired_at", begun + 10 * MINUTE) && strstr(r, "\"complete\":true") != NULL);
	r = tried(t, (struct alert_rule){.kind = "signature", .subject = "model_*", .keep_ms = 12 * MINUTE}, begun, now);
	assert_true(has(t, r, "fired", 2)); /* the two of dev-1 are one */
	r = tried(t, (struct alert_rule){.kind = "signature", .subject = "*", .filter = "hardware==g"}, begun, now);
	assert_true(has(t, r, "fired", 2) && has(t, r, "devices_fired", 1));
	r = tried(t, (struct alert_rule){.kind = "signature"}, begun + 26 * MINUTE, begun + 29 * MINUTE);
	assert_true(has(t, r, "fired", 0)); /* what fired before, fires still */
	r = tried(t, (struct alert_rule){.kind = "signature"}, begun - 60 * MINUTE, now);
	assert_true(has(t, r, "history_from", begun)); /* before there was a device there was nothing to find */
	assert_int_equal(rule_test_new(&t->w.c, &(struct alert_rule){.name = "n", .kind = "signature", .op = "gt", .filter = "", .severity = "info", .clear = NAN,
		.samples_over = 2, .samples_of = 3}, begun, now, &(struct rule_test *){NULL}), ERR_INVALID);
	assert_string_equal(t->w.fault.pointer, "/rule/samples_over");
}

/* A rule that was made in the middle splits the alert, not the condition. */
static void a_rule_of_then_splits_nothing(void **state)
{
	struct fleet *t = *state;
	int64_t begun = t->w.c.now_ms, id;
	world_device(&t->w, "dev-1", "h");
	world_commit(&t->w);
	pass(t, 0);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_OVER);
	pass(t, 10 * MINUTE);
	DO(&t->w, alert_rule_create(&t->w.c, &(struct alert_rule){.name = "n", .kind = "signature", .op = "gt", .filter = "", .severity = "info", .clear = NAN}, &id));
	world_commit(&t->w);
	pass(t, 0);
	signal_is(t, "model_drift", "devices/dev-1", ALERT_LEVEL_OVER);
	pass(t, 10 * MINUTE);
	const char *r = tried(t, (struct alert_rule){.kind = "signature", .for_ms = 15 * MINUTE}, begun, t->w.c.now_ms);
	assert_true(has(t, r, "samples", 2) && has(t, r, "fired", 1) && has(t, r, "fired_at", begun + 15 * MINUTE));
}

static void health_from_when_its_check_was_made(void **state)
{
	struct fleet *t = *state;
	int64_t begun = t->w.c.now_ms, number;
	device(t, "dev-1", true);
	pass(t, 10 * MINUTE);
	int64_t made = t->w.c.now_ms;
	check(t, (struct health_spec){.name = "slow", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .every_ms = 1});
	report(t, "dev-1", 1, 80, 25);
	int64_t failed = t->w.c.now_ms;
	pass(t, 0);
	pass(t, 5 * MINUTE);
	report(t, "dev-1", 2, 40, 25);
	int64_t passed = t->w.c.now_ms;
	pass(t, 0);
	const char *r = tried(t, (struct alert_rule){.kind = "health", .subject = "sl*"}, begun, t->w.c.now_ms + MINUTE);
	assert_true(has(t, r, "fired", 1) && has(t, r, "fired_at", failed) && has(t, r, "resolved_at", passed) && has(t, r, "history_from", made));
	assert_non_null(strstr(r, "\"kind\":\"health.slow\""));
	r = tried(t, (struct alert_rule){.kind = "health", .subject = "quick"}, begun, passed);
	assert_true(has(t, r, "fired", 0) && has(t, r, "history_from", passed)); /* of what there never was nothing is known */
	int64_t hash = check(t, (struct health_spec){.name = "hash", .kind = "model_hash"});
	DO(&t->w, health_run(&t->w.c, hash, "dev-1", NULL, NULL, &number));
	world_commit(&t->w);
	answer(t, "dev-1", number, "\"state\":\"done\",\"pass\":false");
	pass(t, MINUTE);
	r = tried(t, (struct alert_rule){.kind = "health", .subject = "hash"}, made, t->w.c.now_ms);
	assert_true(has(t, r, "fired", 1));
	assert_non_null(strstr(r, "\"kind\":\"model_hash_mismatch\"")); /* by the name of its check */
	r = tried(t, (struct alert_rule){.kind = "signature", .subject = "model_hash_mismatch"}, made, t->w.c.now_ms);
	assert_true(has(t, r, "fired", 1)); /* and by its own */
}

static void gates_and_what_was_forgotten(void **state)
{
	struct fleet *t = *state;
	const int64_t day = 86400000;
	world_device(&t->w, "dev-1", "h");
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "s", NULL));
	world_commit(&t->w);
	pass(t, MINUTE);
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/7"));
	world_commit(&t->w);
	pass(t, 80 * day);
	int64_t second = t->w.c.now_ms;
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/8", ALERT_CRITICAL, "s", NULL));
	world_commit(&t->w);
	pass(t, MINUTE);
	const char *r = tried(t, (struct alert_rule){.kind = "gate", .subject = "rollouts/8"}, second - day, t->w.c.now_ms);
	assert_true(has(t, r, "fired", 1) && has(t, r, "fired_at", second) && has(t, r, "devices_fired", 0) && has(t, r, "history_from", second - day));
	assert_non_null(strstr(r, "\"resource\":\"rollouts/8\""));
	r = tried(t, (struct alert_rule){.kind = "gate", .subject = "rollouts/7"}, second - day, t->w.c.now_ms);
	assert_true(has(t, r, "fired", 0));
	pass(t, 20 * day); /* the first is forgotten, and what was before cannot be known */
	r = tried(t, (struct alert_rule){.kind = "gate"}, t->w.c.now_ms - 101 * day, t->w.c.now_ms - 75 * day);
	assert_true(has(t, r, "fired", 0) && has(t, r, "history_from", t->w.c.now_ms - 90 * day));
}

static void logs_say_where_they_begin(void **state)
{
	struct fleet *t = *state;
	int64_t begun = t->w.c.now_ms;
	world_device(&t->w, "dev-1", "h");
	const char *r = tried(t, (struct alert_rule){.metric = "x", .threshold = 1}, begun - 60 * MINUTE, begun);
	assert_true(has(t, r, "history_from", begun)); /* there is no log */
	t->w.c.now_ms += 10 * MINUTE;
	int64_t first = t->w.c.now_ms;
	fleet_value(t, "dev-1", 1, "x", 9);
	t->w.c.now_ms += 10 * MINUTE;
	r = tried(t, (struct alert_rule){.metric = "x", .threshold = 1}, begun, t->w.c.now_ms);
	assert_true(has(t, r, "history_from", first) && has(t, r, "fired", 1));
	r = tried(t, (struct alert_rule){.metric = "x", .threshold = 1}, first + MINUTE, t->w.c.now_ms);
	assert_true(has(t, r, "history_from", first + MINUTE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(signatures_from_their_alerts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rule_of_then_splits_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(health_from_when_its_check_was_made, setup, teardown),
		cmocka_unit_test_setup_teardown(gates_and_what_was_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(logs_say_where_they_begin, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
