/* Commands and health checks: states, bounds, deadlines, lost commits, context, restarts. */
#include "health_world.h"

static int64_t command(struct fleet *t, const char *to, const char *filter, int64_t timeout_ms)
{
	struct command_spec s = {.kind = "check", .params = "{\"check\":\"storage\"}", .device = to, .filter = filter, .timeout_ms = timeout_ms};
	int64_t id = 0;
	DO(&t->w, commands_create(&t->w.c, &s, &id));
	world_commit(&t->w);
	return id;
}

static int64_t count(struct fleet *t, int64_t id, const char *state)
{
	struct buf b = BUF_INIT;
	struct json *root = NULL;
	int64_t n = -1;
	assert_int_equal(commands_show(&t->w.c, id, &b), ERR_OK);
	assert_int_equal(json_parse(b.data, b.len, &root, &t->w.fault), ERR_OK);
	assert_true(json_is_integer(json_get(root, state), &n));
	json_free(root);
	buf_done(&b);
	return n;
}

static void queued_sent_answered(void **state)
{
	struct fleet *t = *state;
	device(t, "dev-1", true);
	int64_t id = command(t, "dev-1", NULL, 30000);
	assert_int_equal(count(t, id, "queued"), 1);
	assert_int_equal(deliver(t), 1);
	tick(t, 100);
	assert_int_equal(count(t, id, "sent"), 1);
	assert_int_equal(deliver(t), 0);
	tick(t, COMMAND_RETRY_MS);
	tick(t, 100);
	assert_int_equal(deliver(t), 1); /* said again */
	answer(t, "dev-1", id + 1, "\"state\":\"done\",\"pass\":true");
	assert_int_equal(fleet_refused(t, INGEST_ANSWER), 1);
	answer(t, "dev-1", id, "\"state\":\"done\",\"pass\":true,\"value\":7");
	assert_int_equal(count(t, id, "answered"), 1);
	assert_int_equal(count(t, id, "sent"), 0);
	answer(t, "dev-1", id, "\"state\":\"failed\"");
	assert_int_equal(fleet_refused(t, INGEST_ANSWER), 2);
	assert_int_equal(count(t, id, "failed"), 0);
	assert_int_equal(commands_open_count(t->w.s.commands), 0);
}

static void away_expired_and_back(void **state)
{
	struct fleet *t = *state;
	struct device_state *d = device(t, "dev-1", false);
	device(t, "dev-2", true);
	int64_t late = command(t, "dev-1", NULL, 5000), patient = command(t, "dev-1", NULL, 60000);
	assert_int_equal(deliver(t), 0);
	tick(t, 4999);
	assert_int_equal(count(t, late, "queued"), 1);
	t->w.c.now_ms++;
	answer(t, "dev-1", late, "\"state\":\"done\""); /* before anybody looked at the clock */
	tick(t, 0);
	assert_int_equal(count(t, late, "expired"), 1);
	answer(t, "dev-2", patient, "\"state\":\"done\""); /* not its own */
	assert_int_equal(fleet_refused(t, INGEST_ANSWER), 2);
	restart(t);
	d = registry_find(t->w.s.registry, "dev-1");
	assert_int_equal(deliver(t), 0);
	assert_int_equal(ingest_status(&t->w.c, "dev-1", "{\"online\":true}", 15), ERR_OK);
	assert_int_equal(deliver(t), 1);
	tick(t, 100);
	assert_int_equal(count(t, patient, "sent"), 1);
	DO(&t->w, registry_delete(&t->w.c, d, false, 0, NULL));
	assert_int_equal(count(t, patient, "failed"), 1);
	assert_int_equal(commands_open_count(t->w.s.commands), 0);
}

static void bounds_and_wrong_ones(void **state)
{
	struct fleet *t = *state;
	int64_t id;
	device(t, "dev-1", true);
	for (int i = 0; i < COMMAND_DEVICE_MAX; i++)
		command(t, "dev-1", NULL, 60000);
	struct command_spec s = {.kind = "report_now", .device = "dev-1"};
	REFUSED(&t->w, ERR_TOO_MANY, commands_create(&t->w.c, &s, &id));
	int64_t fleet = command(t, NULL, "", 60000);
	tick(t, 100), tick(t, 1000);
	assert_int_equal(count(t, fleet, "failed"), 1);
	s.device = "nobody";
	REFUSED(&t->w, ERR_NOT_FOUND, commands_create(&t->w.c, &s, &id));
	s.device = NULL;
	REFUSED(&t->w, ERR_INVALID, commands_create(&t->w.c, &s, &id));
	s.filter = "==";
	REFUSED(&t->w, ERR_INVALID, commands_create(&t->w.c, &s, &id));
	s = (struct command_spec){.kind = "format", .filter = ""};
	REFUSED(&t->w, ERR_INVALID, commands_create(&t->w.c, &s, &id));
	s = (struct command_spec){.kind = "check", .filter = "", .params = "{\"check\":\"mood\"}"};
	REFUSED(&t->w, ERR_INVALID, commands_create(&t->w.c, &s, &id));
	assert_int_equal(commands_open_count(t->w.s.commands), COMMAND_DEVICE_MAX);
}

static void told_at_a_rate_over_a_restart(void **state)
{
	struct fleet *t = *state;
	char id[16];
	for (int i = 0; i < 50; i++) {
		snprintf(id, sizeof id, "dev-%02d", i);
		device(t, id, true);
	}
	struct command_spec s = {.kind = "report_now", .filter = "", .rate = 10};
	int64_t number;
	DO(&t->w, commands_create(&t->w.c, &s, &number));
	world_commit(&t->w);
	tick(t, 100); /* finds them */
	for (int i = 0; i < 10; i++)
		tick(t, 100);
	assert_in_range(count(t, number, "queued") + count(t, number, "sent"), 10, 12);
	restart(t);
	tick(t, 100);
	for (int i = 0; i < 50; i++)
		tick(t, 100);
	assert_int_equal(count(t, number, "queued"), 50);
	DO(&t->w, commands_cancel(&t->w.c, number));
	tick(t, 100);
	assert_int_equal(count(t, number, "failed"), 50);
}

static void undone_work_leaves_no_trace(void **state)
{
	struct fleet *t = *state;
	device(t, "dev-1", true);
	struct command_spec s = {.kind = "report_now", .device = "dev-1"};
	int64_t id;
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(commands_create(&t->w.c, &s, &id), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, ERR_CONFLICT, &t->w.fault), ERR_CONFLICT);
	assert_int_equal(deliver(t), 0);
	tick(t, 100);
	assert_int_equal(commands_open_count(t->w.s.commands), 0);
}

/* ---- health ---- */

static void limits_page_in_the_normal_cell_only(void **state)
{
	struct fleet *t = *state;
	device(t, "cool", true);
	device(t, "hot", true);
	check(t, (struct health_spec){.kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .every_ms = 1});
	report(t, "cool", 1, 40, 25);
	report(t, "hot", 1, 80, 75);
	tick(t, 100);
	assert_int_equal(firing(t), 0);
	assert_true(shows(t, "hot", "\"tagged\":true") && shows(t, "hot", "\"cell\":\"hot\""));
	report(t, "cool", 2, 80, 25);
	tick(t, 100);
	assert_int_equal(firing(t), 1);
	assert_true(shows(t, "cool", "\"firing\":true") && shows(t, "cool", "latency_ms is 80, above 50"));
	restart(t);
	assert_true(shows(t, "cool", "\"firing\":true"));
	report(t, "cool", 3, 80, 75); /* it still fails, and heat explains nothing that was there before */
	tick(t, 100);
	assert_int_equal(firing(t), 1);
	assert_true(shows(t, "cool", "\"firing\":true,"));
	report(t, "cool", 4, 40, 75);
	tick(t, 100);
	assert_int_equal(firing(t), 0);
}

static void worse_than_its_cohort_in_the_heat_pages(void **state)
{
	struct fleet *t = *state;
	char id[16];
	check(t, (struct health_spec){.kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .every_ms = 1});
	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof id, "dev-%02d", i);
		device(t, id, true);
		for (int k = 1; k <= 10; k++)
			report(t, id, k, 40, 75);
	}
	device(t, "bad", true);
	report(t, "bad", 1, 80, 75);
	report(t, "bad", 2, 80, 75);
	report(t, "bad", 3, 80, 75);
	tick(t, 100);
	assert_int_equal(firing(t), 1);
	assert_true(shows(t, "bad", "\"suspicious\":true"));
	assert_false(shows(t, "dev-00", "\"suspicious\":true"));
}

static void window_and_scope(void **state)
{
	struct fleet *t = *state;
	device(t, "dev-1", true);
	check(t, (struct health_spec){.kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50, .window_ms = 3000, .every_ms = 1});
	check(t, (struct health_spec){.name = "other", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 1, .hardware = "g"});
	report(t, "dev-1", 1, 80, 25);
	report(t, "dev-1", 2, 80, 25);
	report(t, "dev-1", 3, 40, 25);
	for (int i = 4; i < 7; i++)
		report(t, "dev-1", i, 80, 25);
	tick(t, 100);
	assert_int_equal(firing(t), 0);
	report(t, "dev-1", 7, 80, 25);
	tick(t, 100);
	assert_int_equal(firing(t), 1);
	assert_false(shows(t, "dev-1", "other"));
}

static void answers_are_judged_and_survive(void **state)
{
	struct fleet *t = *state;
	device(t, "dev-1", true);
	report(t, "dev-1", 1, 40, 75);
	int64_t hash = check(t, (struct health_spec){.name = "hash", .kind = "model_hash"}), number;
	int64_t golden = check(t, (struct health_spec){.name = "golden", .kind = "inference"}), other;
	DO(&t->w, health_run(&t->w.c, hash, "dev-1", NULL, NULL, &number));
	DO(&t->w, health_run(&t->w.c, golden, "dev-1", NULL, NULL, &other));
	answer(t, "dev-1", other, "\"state\":\"done\",\"pass\":false");
	assert_int_equal(firing(t), 0); /* the heat may be the reason */
	answer(t, "dev-1", number, "\"state\":\"done\",\"pass\":false,\"detail\":\"differs\"");
	assert_int_equal(firing(t), 1); /* of this it is none: one alert, by the name of the cause; written with the answer, no tick was needed */
	assert_true(alert_is_open(t->w.s.alerts, "model_hash_mismatch", "devices/dev-1"));
	restart(t);
	assert_true(shows(t, "dev-1", "differs"));
	assert_int_equal(firing(t), 1);
	DO(&t->w, health_delete(&t->w.c, hash));
	tick(t, 100), tick(t, 100), tick(t, 100);
	assert_int_equal(firing(t), 0);
	struct health_spec *items;
	size_t left;
	assert_int_equal(health_list(&t->w.c, &items, &left), ERR_OK);
	assert_int_equal(left, 1);
}

static void schedules_and_lost_commits(void **state)
{
	struct fleet *t = *state;
	device(t, "dev-1", true);
	check(t, (struct health_spec){.kind = "storage", .op = "lt", .threshold = 100, .every_ms = 60000});
	tick(t, 100), tick(t, 100), tick(t, 1000), tick(t, 1000);
	assert_int_equal(count(t, 1, "queued"), 1);
	tick(t, 10000);
	REFUSED(&t->w, ERR_NOT_FOUND, commands_show(&t->w.c, 2, &(struct buf)BUF_INIT));
	static const char said[] = "{\"id\":1,\"state\":\"done\",\"value\":7}";
	assert_int_equal(ingest_answer(&t->w.c, "dev-1", said, sizeof said - 1), ERR_OK);
	assert_int_equal(firing(t), 1);
	db_rollback(t->w.s.db);
	restart(t); /* nothing of it was committed: the device answers again */
	assert_int_equal(firing(t), 0);
	answer(t, "dev-1", 1, "\"state\":\"done\",\"value\":7");
	assert_int_equal(firing(t), 1);
	tick(t, 70000), tick(t, 100), tick(t, 2000);
	assert_int_equal(count(t, 2, "queued"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queued_sent_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(away_expired_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_and_wrong_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(told_at_a_rate_over_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(undone_work_leaves_no_trace, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_page_in_the_normal_cell_only, setup, teardown),
		cmocka_unit_test_setup_teardown(worse_than_its_cohort_in_the_heat_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(window_and_scope, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_are_judged_and_survive, setup, teardown),
		cmocka_unit_test_setup_teardown(schedules_and_lost_commits, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
