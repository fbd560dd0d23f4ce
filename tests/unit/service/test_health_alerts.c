/* Health checks speak by signals: patience, hysteresis, flapping, storms and rules hold for them as for everybody, and nothing is said twice. */
#include "health_world.h"

#include <math.h>

#include "service/alerts_inside.h"
#include "store/alert_store.h"

/* The tick of health, then that of alerts. */
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

static size_t count_kind(struct fleet *t, const char *status, const char *kind)
{
	struct alert_row *rows;
	size_t count;
	struct alert_page q = {.status = status, .kind = kind, .limit = 1000};
	assert_int_equal(alert_page(t->w.s.alerts->store, &q, t->w.c.arena, &rows, &count, &t->w.fault), ERR_OK);
	return count;
}

static int64_t slow(struct fleet *t)
{
	return (int64_t)count_kind(t, "firing", "health.slow");
}

static const char *shown(struct fleet *t, int64_t id)
{
	struct buf b = BUF_INIT;
	assert_int_equal(alerts_show(&t->w.c, id, &b), ERR_OK);
	const char *text = arena_strdup(t->w.c.arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

#define HAS(t, id, text) assert_non_null(strstr(shown(t, id), text))

static int64_t rule(struct fleet *t, struct alert_rule r)
{
	int64_t id;
	r.name = "rule", r.kind = r.kind != NULL ? r.kind : "health", r.op = "gt", r.filter = "", r.severity = "critical", r.clear = NAN;
	DO(&t->w, alert_rule_create(&t->w.c, &r, &id));
	world_commit(&t->w);
	pass(t, 0);
	return id;
}

static void limit(struct fleet *t)
{
	device(t, "dev-1", true);
	check(t, (struct health_spec){.name = "slow", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .every_ms = 1});
}

static void a_rule_makes_it_wait(void **state)
{
	struct fleet *t = *state;
	limit(t);
	rule(t, (struct alert_rule){.subject = "sl*", .for_ms = 60000, .labels = "{\"team\":\"edge\"}"});
	report(t, "dev-1", 1, 80, 25);
	pass(t, 100);
	assert_int_equal(count_kind(t, NULL, "health.slow"), 1); /* one alert, of the rule */
	HAS(t, 1, "\"status\":\"pending\"");
	HAS(t, 1, "\"severity\":\"critical\"");
	HAS(t, 1, "\"value\":80,\"expected\":50");
	report(t, "dev-1", 2, 40, 25);
	pass(t, 100);
	assert_int_equal(count_kind(t, NULL, "health.slow"), 0); /* nobody was told */
	report(t, "dev-1", 3, 80, 25);
	pass(t, 100);
	pass(t, 30000);
	assert_int_equal(slow(t), 0);
	report(t, "dev-1", 4, 90, 25);
	pass(t, 30000);
	assert_int_equal(slow(t), 1);
	HAS(t, 1, "\"team\":\"edge\"");
	HAS(t, 1, "latency_ms is 90");
	report(t, "dev-1", 5, 40, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 0);
}

static void each_result_is_a_sample(void **state)
{
	struct fleet *t = *state;
	limit(t);
	rule(t, (struct alert_rule){.subject = "slow", .samples_over = 3, .samples_of = 4});
	static const struct {
		double latency;
		int64_t firing;
	} steps[] = {{80, 0}, {80, 0}, {40, 0}, {80, 1}, {40, 0}};
	for (int i = 0; i < 5; i++) {
		report(t, "dev-1", i + 1, steps[i].latency, 25);
		pass(t, 100);
		assert_int_equal(slow(t), steps[i].firing);
	}
}

/* In the heat a failure says neither that it is worse nor that it is over. */
static void an_excused_failure_moves_nothing(void **state)
{
	struct fleet *t = *state;
	limit(t);
	rule(t, (struct alert_rule){.subject = "slow", .for_ms = 60000});
	report(t, "dev-1", 1, 80, 25);
	pass(t, 100);
	HAS(t, 1, "\"status\":\"pending\"");
	report(t, "dev-1", 2, 80, 75);
	pass(t, 100);
	assert_int_equal(count_kind(t, NULL, "health.slow"), 0); /* it was not over all the time */
	report(t, "dev-1", 3, 80, 25);
	pass(t, 100);
	pass(t, 60000);
	assert_int_equal(slow(t), 1);
	report(t, "dev-1", 4, 80, 75);
	pass(t, 3600000);
	assert_int_equal(slow(t), 1);
}

static void what_flaps_stays_longer_and_is_told_no_more(void **state)
{
	struct fleet *t = *state;
	int seq = 0;
	limit(t);
	for (int i = 0; i < 6; i++) {
		report(t, "dev-1", ++seq, 80, 25);
		pass(t, 100);
		assert_int_equal(slow(t), 1);
		report(t, "dev-1", ++seq, 40, 25);
		pass(t, 100);
		assert_int_equal(slow(t), i > 0); /* the first pass resolves, the others have to last */
		pass(t, 900000);
		assert_int_equal(slow(t), 0);
	}
	assert_int_equal(count_kind(t, "resolved", "health.slow"), 6);
	struct notice_row *rows;
	size_t count, told = 0;
	assert_int_equal(notice_page(t->w.s.alerts->store, 0, 100, t->w.c.arena, &rows, &count, &t->w.fault), ERR_OK);
	for (size_t i = 0; i < count; i++)
		told += strstr(shown(t, rows[i].alert), "health.slow") != NULL;
	assert_in_range(told, 6, 8); /* three or four, with their ends */
}

static void many_at_once_are_one(void **state)
{
	struct fleet *t = *state;
	char id[16];
	check(t, (struct health_spec){.name = "slow", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .every_ms = 1});
	for (int i = 0; i < 120; i++) {
		snprintf(id, sizeof id, "dev-%03d", i);
		device(t, id, true);
		char json[160];
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":1,\"model\":\"m\",\"version\":\"1.0.0\",\"metrics\":{\"latency_ms\":80,\"temperature_c\":20}}");
		fleet_telemetry(t, id, json);
	}
	fleet_settle(t);
	for (int i = 0; i < 5; i++)
		pass(t, 100);
	assert_int_equal(firing(t), 121);
	struct notice_row *rows;
	size_t count, of_cohort = 0;
	assert_int_equal(notice_page(t->w.s.alerts->store, 0, 1000, t->w.c.arena, &rows, &count, &t->w.fault), ERR_OK);
	for (size_t i = 0; i < count; i++)
		of_cohort += strstr(shown(t, rows[i].alert), "\"resource\":\"cohorts/") != NULL;
	assert_int_equal(of_cohort, 1);
	assert_in_range(count, 40, 52); /* those before the storm, and the storm */
}

/* Stored bytes that differ are critical, whatever the check says; what was said of another version says nothing of this one; surroundings grow old. */
static void versions_and_surroundings(void **state)
{
	struct fleet *t = *state;
	int64_t number, hash;
	char json[200];
	limit(t);
	hash = check(t, (struct health_spec){.name = "hash", .kind = "model_hash"});
	DO(&t->w, health_run(&t->w.c, hash, "dev-1", NULL, NULL, &number));
	world_commit(&t->w);
	answer(t, "dev-1", number, "\"state\":\"done\",\"pass\":false");
	HAS(t, 1, "\"severity\":\"critical\"");
	for (int i = 1; i <= 5; i++)
		report(t, "dev-1", i, 80, 75);
	assert_true(shows(t, "dev-1", "\"cell\":\"hot\",\"pass\":0,\"fail\":5"));
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":6,\"model\":\"m\",\"version\":\"2.0.0\",\"metrics\":{\"latency_ms\":80,\"temperature_c\":75}}");
	t->w.c.now_ms += 1000;
	fleet_telemetry(t, "dev-1", json);
	fleet_settle(t);
	assert_true(shows(t, "dev-1", "\"cell\":\"hot\",\"pass\":0,\"fail\":1"));
	pass(t, 2 * 3600000); /* two hours later nobody knows whether it is hot: the cell of its last result */
	int64_t storage = check(t, (struct health_spec){.name = "room", .kind = "storage", .op = "lt", .threshold = 100});
	DO(&t->w, health_run(&t->w.c, storage, "dev-1", NULL, NULL, &number));
	world_commit(&t->w);
	answer(t, "dev-1", number, "\"state\":\"done\",\"value\":1");
	assert_true(shows(t, "dev-1", "\"check\":\"room\",\"kind\":\"storage\",\"pass\":false,\"cell\":\"normal\""));
	pass(t, 100);
	assert_int_equal(count_kind(t, "firing", "health.room"), 1);
}

/* A change is written within a tick, not by the round that brings counts. */
static void a_change_does_not_wait_for_the_round(void **state)
{
	struct fleet *t = *state;
	limit(t);
	report(t, "dev-1", 1, 40, 25);
	tick(t, 100);
	restart(t);
	assert_true(shows(t, "dev-1", "\"pass\":true"));
	report(t, "dev-1", 2, 80, 75);
	tick(t, 100);
	restart(t);
	assert_true(shows(t, "dev-1", "\"pass\":false"));
}

static void a_rule_that_comes_later_takes_it_over(void **state)
{
	struct fleet *t = *state;
	limit(t);
	report(t, "dev-1", 1, 80, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 1);
	int64_t id = rule(t, (struct alert_rule){.subject = "slow"});
	report(t, "dev-1", 2, 80, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 1); /* not both */
	HAS(t, 1, "\"resolved_by\":\"ended\"");
	HAS(t, 2, "\"rule\":1");
	report(t, "dev-1", 3, 40, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 0); /* and ends as the rule's */
	report(t, "dev-1", 4, 80, 25);
	pass(t, 100);
	DO(&t->w, alert_rule_delete(&t->w.c, id));
	world_commit(&t->w);
	for (int i = 0; i < 20 && !(slow(t) == 1 && count_kind(t, NULL, "health.slow") == 4); i++)
		pass(t, 100); /* without another result: the round sees that nothing is open */
	assert_int_equal(slow(t), 1);
}

static void an_end_that_waits_outlives_a_restart(void **state)
{
	struct fleet *t = *state;
	limit(t);
	rule(t, (struct alert_rule){.subject = "slow", .keep_ms = 120000});
	report(t, "dev-1", 1, 80, 25);
	pass(t, 100);
	report(t, "dev-1", 2, 40, 25);
	pass(t, 60000);
	assert_int_equal(slow(t), 1);
	restart(t);
	pass(t, 100);
	pass(t, 119000);
	assert_int_equal(slow(t), 1); /* counted anew */
	pass(t, 1000);
	assert_int_equal(slow(t), 0);
}

static void without_results_it_times_out(void **state)
{
	struct fleet *t = *state;
	limit(t);
	report(t, "dev-1", 1, 80, 25);
	int64_t hash = check(t, (struct health_spec){.name = "hash", .kind = "model_hash", .every_ms = 3600000}), number;
	DO(&t->w, health_run(&t->w.c, hash, "dev-1", NULL, NULL, &number));
	world_commit(&t->w);
	answer(t, "dev-1", number, "\"state\":\"done\",\"pass\":false");
	pass(t, 100);
	assert_int_equal(slow(t), 1);
	pass(t, INT64_C(86400000));
	assert_int_equal(slow(t), 0);
	assert_int_equal(count_kind(t, "firing", "model_hash_mismatch"), 1); /* stored bytes do not heal */
	HAS(t, 2, "\"resolved_by\":\"no_data\"");
	for (int i = 0; i < 5; i++)
		pass(t, 1000);
	assert_int_equal(slow(t), 0); /* and nobody says it again */
	assert_int_equal(count_kind(t, NULL, "health.slow"), 1);
}

/* The server's clock goes back by a day: limits, schedules, repetitions go on at once, and no alert hangs. */
static void a_clock_that_goes_back_stops_nothing(void **state)
{
	struct fleet *t = *state;
	const int64_t day = 86400000;
	device(t, "dev-1", true);
	check(t, (struct health_spec){.name = "slow", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .window_ms = 3000});
	check(t, (struct health_spec){.name = "room", .kind = "storage", .op = "lt", .threshold = 100, .every_ms = 60000});
	pass(t, 100), pass(t, 100), pass(t, 1000), pass(t, 1000);
	assert_int_equal(commands_open_count(t->w.s.commands), 1);
	assert_int_equal(deliver(t), 1);
	pass(t, 100);
	report(t, "dev-1", 1, 40, 25);
	report(t, "dev-1", 2, 80, 25);
	t->w.c.now_ms -= day;
	pass(t, 100);
	assert_int_equal(deliver(t), 1); /* said again */
	for (int i = 3; i < 7; i++)
		report(t, "dev-1", i, 80, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 1);
	report(t, "dev-1", 7, 40, 25);
	pass(t, 100);
	assert_int_equal(slow(t), 0);
	answer(t, "dev-1", 1, "\"state\":\"done\",\"value\":500");
	for (int i = 0; i < 5; i++)
		pass(t, 1000);
	struct buf b = BUF_INIT;
	assert_int_equal(commands_show(&t->w.c, 2, &b), ERR_OK); /* the next run did not wait for a day */
	buf_done(&b);
}

/* The alert has the name of its cause; the rule that is about the check takes it all the same. */
static void a_rule_finds_the_hash_by_its_check(void **state)
{
	struct fleet *t = *state;
	int64_t number, hash;
	device(t, "dev-1", true);
	hash = check(t, (struct health_spec){.name = "hash", .kind = "model_hash"});
	rule(t, (struct alert_rule){.subject = "hash", .for_ms = 60000});
	DO(&t->w, health_run(&t->w.c, hash, "dev-1", NULL, NULL, &number));
	world_commit(&t->w);
	answer(t, "dev-1", number, "\"state\":\"done\",\"pass\":false");
	assert_int_equal(count_kind(t, "pending", "model_hash_mismatch"), 1);
	assert_int_equal(count_kind(t, NULL, "model_hash_mismatch"), 1);
	pass(t, 60000);
	assert_int_equal(count_kind(t, "firing", "model_hash_mismatch"), 1);
	DO(&t->w, health_delete(&t->w.c, hash));
	for (int i = 0; i < 3; i++)
		pass(t, 100);
	assert_int_equal(count_kind(t, "firing", "model_hash_mismatch"), 0);
}

static void one_cause_of_two_checks(void **state)
{
	struct fleet *t = *state;
	int64_t first, second, number;
	device(t, "dev-1", true);
	first = check(t, (struct health_spec){.name = "one", .kind = "model_hash"});
	second = check(t, (struct health_spec){.name = "two", .kind = "model_hash"});
	const struct {
		int64_t check;
		const char *answer;
		int64_t firing;
	} steps[] = {{first, "\"state\":\"done\",\"pass\":false", 1}, {second, "\"state\":\"done\",\"pass\":true", 1},
		{second, "\"state\":\"done\",\"pass\":false", 1}, {first, "\"state\":\"done\",\"pass\":true", 1}, {second, "\"state\":\"done\",\"pass\":true", 0}};
	for (int i = 0; i < 5; i++) {
		DO(&t->w, health_run(&t->w.c, steps[i].check, "dev-1", NULL, NULL, &number));
		world_commit(&t->w);
		answer(t, "dev-1", number, steps[i].answer);
		pass(t, 100);
		assert_int_equal(firing(t), steps[i].firing);
		assert_int_equal(count_kind(t, NULL, "model_hash_mismatch"), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_rule_makes_it_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(each_result_is_a_sample, setup, teardown),
		cmocka_unit_test_setup_teardown(an_excused_failure_moves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_flaps_stays_longer_and_is_told_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(many_at_once_are_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rule_that_comes_later_takes_it_over, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_that_waits_outlives_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(without_results_it_times_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_clock_that_goes_back_stops_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(versions_and_surroundings, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_does_not_wait_for_the_round, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rule_finds_the_hash_by_its_check, setup, teardown),
		cmocka_unit_test_setup_teardown(one_cause_of_two_checks, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
