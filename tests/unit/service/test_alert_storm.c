/* What a hundred thousand alerts must not do: be lost by a kill, hold the loop, or stay for ever. */
#include "telemetry_world.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "service/alerts_inside.h"
#include "store/alert_store.h"
#include "store/db.h"

#ifdef __SANITIZE_ADDRESS__
#define PIECE_NS UINT64_C(200000000)
#else
#define PIECE_NS UINT64_C(20000000) /* of processor time: nobody waits longer */
#endif
#define ODD_SHARE 0.01 /* of pieces that may be longer: another process, or SQLite's own checkpoint, which the daemon has elsewhere */

static uint64_t cpu_ns(void)
{
	struct timespec now;
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool tick_once(struct fleet *t)
{
	bool more = false;
	if (alerts_tick(&t->w.c, &more) != ERR_OK)
		fail_msg("%s", t->w.fault.detail);
	return more;
}

static void tick(struct fleet *t)
{
	t->w.c.now_ms += 1000;
	for (int i = 0; tick_once(t) && i < 10000; i++) {
		world_commit(&t->w);
		arena_reset(t->w.c.arena);
	}
	world_commit(&t->w);
}

static int64_t count(struct fleet *t, const char *sql)
{
	struct stmt *st;
	int64_t n = -1;
	assert_int_equal(db_prepare_text(t->w.s.db, sql, &st, &t->w.fault), ERR_OK);
	assert_int_equal(stmt_read_int(st, &n, &t->w.fault), ERR_OK);
	return n;
}

#define OPEN "SELECT count(*) FROM alert WHERE status <> 'resolved'"
#define DEVICES_OPEN "SELECT count(*) FROM alert WHERE status <> 'resolved' AND resource LIKE 'devices/%'"
#define ALL "SELECT count(*) FROM alert"

static int64_t add_rule(struct fleet *t, struct alert_rule r)
{
	int64_t id = 0;
	r.name = r.name != NULL ? r.name : "rule";
	r.metric = r.metric != NULL ? r.metric : "x";
	r.op = "gt";
	r.filter = r.filter != NULL ? r.filter : "";
	r.severity = "warning";
	r.clear = NAN;
	r.threshold = r.threshold != 0 ? r.threshold : 1;
	DO(&t->w, alert_rule_create(&t->w.c, &r, &id));
	world_commit(&t->w);
	t->w.c.now_ms++;
	return id;
}

static void report(struct fleet *t, int device, int seq, double value)
{
	char id[32], json[128];
	snprintf(id, sizeof id, "dev-%d", device);
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{\"x\":%g}}", seq, value);
	fleet_telemetry(t, id, json);
}

static void devices(struct fleet *t, int many)
{
	char id[32];
	for (int i = 0; i < many; i++) {
		snprintf(id, sizeof id, "dev-%d", i);
		world_device(&t->w, id, "h");
		if (i % 1000 == 0)
			arena_reset(t->w.c.arena);
	}
	world_commit(&t->w);
}

/* ---- a kill between the two commits ---- */

static void report_before_a_kill_is_compared_again(void **state)
{
	struct fleet *t = *state;
	devices(t, 3);
	add_rule(t, (struct alert_rule){0});
	report(t, 0, 1, 5);
	fleet_settle(t);
	world_commit(&t->w);
	report(t, 0, 2, 0);
	report(t, 1, 1, 5);
	report(t, 2, 1, 5);
	report(t, 2, 2, 0);
	fleet_settle(t); /* in the log; what came of it is not committed */
	assert_int_equal(count(t, OPEN), 1);
	fleet_restart(t);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'devices/dev-0' AND status = 'firing'"), 1);
	assert_int_equal(count(t, ALL), 1);
	tick(t);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'devices/dev-0' AND status = 'resolved'"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'devices/dev-1' AND status = 'firing'"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'devices/dev-2' AND status = 'resolved'"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM notice"), 5);
	for (int i = 0; i < 3; i++) { /* nothing happens twice */
		fleet_restart(t);
		tick(t);
	}
	assert_int_equal(count(t, ALL), 3);
	assert_int_equal(count(t, "SELECT count(*) FROM notice"), 5);
}

/* Killed at any point of a long queue: each device fires and is resolved once, in each case. */
static void kills_within_a_batch_lose_and_repeat_nothing(void **state)
{
	struct fleet *t = *state;
	enum { DEVICES = 1500 };
	devices(t, DEVICES);
	add_rule(t, (struct alert_rule){0});
	for (int i = 0; i < DEVICES; i++) {
		report(t, i, 1, 5);
		report(t, i, 2, 0);
	}
	fleet_settle(t);
	int kills = 0;
	bool more = true;
	while (more && kills < 200) {
		world_commit(&t->w);
		more = tick_once(t); /* taken, and lost in each second round */
		if (++kills % 2 == 0)
			world_commit(&t->w);
		fleet_restart(t);
		more = more || t->w.s.alerts->events.next < t->w.s.alerts->events.end;
	}
	tick(t);
	assert_true(kills > 3);
	assert_int_equal(count(t, "SELECT count(DISTINCT resource) FROM alert WHERE resource LIKE 'devices/%' AND status = 'resolved'"), DEVICES);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource LIKE 'devices/%'"), DEVICES);
	print_message("[          ] %d kills in a batch of %d reports\n", kills, 2 * DEVICES);
}

static void rates_go_on_over_a_restart(void **state)
{
	struct fleet *t = *state;
	devices(t, 1);
	add_rule(t, (struct alert_rule){.kind = "rate", .threshold = 5});
	report(t, 0, 1, 100);
	fleet_settle(t);
	tick(t);
	t->w.c.now_ms += 60000;
	tick(t); /* the value is compared, and it is written that it is */
	report(t, 0, 2, 110);
	fleet_settle(t);
	fleet_restart(t);
	tick(t);
	assert_int_equal(count(t, OPEN), 1);
}

static void scores_are_owed_until_their_commit(void **state)
{
	struct fleet *t = *state;
	struct device_state *d;
	devices(t, 1);
	d = registry_find(t->w.s.registry, "dev-0");
	add_rule(t, (struct alert_rule){.kind = "anomaly", .threshold = 0.8});
	tick(t);
	assert_false(alerts_owe_scores(&t->w.s));
	alerts_on_score(&t->w.s, d->row, "x", 0.9, t->w.c.now_ms);
	assert_true(alerts_owe_scores(&t->w.s));
	tick_once(t);
	assert_true(alerts_owe_scores(&t->w.s));
	world_commit(&t->w);
	assert_false(alerts_owe_scores(&t->w.s));
	assert_false(alerts_replay_scores(&t->w.s, 1000));
	fleet_restart(t);
	assert_true(alerts_replay_scores(&t->w.s, 1000));
	assert_false(alerts_replay_scores(&t->w.s, 0));
	tick(t);
	assert_false(alerts_replay_scores(&t->w.s, 1000));
}

static void reports_from_before_a_rule_are_not_its(void **state)
{
	struct fleet *t = *state;
	devices(t, 1);
	add_rule(t, (struct alert_rule){.name = "other", .threshold = 100});
	report(t, 0, 1, 5);
	fleet_settle(t);
	t->w.c.now_ms += 1000;
	add_rule(t, (struct alert_rule){0});
	fleet_restart(t);
	tick(t);
	assert_int_equal(count(t, OPEN), 0);
}

/* A commit that fails takes the signals away, and not what led to them. */
static void lost_commit_is_worked_off_again(void **state)
{
	struct fleet *t = *state;
	devices(t, 2);
	add_rule(t, (struct alert_rule){0});
	report(t, 0, 1, 5);
	report(t, 1, 1, 5);
	fleet_settle(t);
	assert_int_equal(count(t, OPEN), 2);
	db_rollback(t->w.s.db); /* as where the disk is full: COMMIT then says so */
	enum err e = units_commit(&t->w.s, &t->w.fault);
	(void)e;
	if (t->w.s.alerts->events.next != t->w.s.alerts->events.first) { /* SQLite had nothing to commit */
		alerts_values_lost(t->w.s.alerts);
		t->w.s.alerts->is_stale = true;
	}
	assert_int_equal(count(t, OPEN), 0);
	tick(t);
	assert_int_equal(count(t, OPEN), 2);
}

/* Its devices are in the database, that it is a storm is not yet: nobody is told of them one by one after the start. */
static void storm_before_a_kill_is_one_after_it(void **state)
{
	struct fleet *t = *state;
	devices(t, 100);
	add_rule(t, (struct alert_rule){0});
	for (int i = 0; i < 100; i++)
		report(t, i, 1, 5);
	fleet_settle(t);
	for (int i = 0; i < 1000 && t->w.s.alerts->events.next < t->w.s.alerts->events.end; i++) {
		struct timebox box = timebox_begin(TIMEBOX_NS);
		bool more;
		assert_int_equal(alerts_apply_rules(&t->w.c, &box, &more), ERR_OK);
	}
	world_commit(&t->w);
	assert_int_equal(count(t, OPEN), 100);
	fleet_restart(t);
	tick(t);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'cohorts/h/' AND status = 'firing'"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM notice"), 51);
}

/* ---- rules with very many alerts ---- */

static double odd_share;

/* Ticks until nothing is left, and how long the longest piece took with its commit. */
static int pieces(struct fleet *t, const char *what)
{
	uint64_t longest = 0, longest_wall = 0, longest_cpu = 0, begin = clock_mono_ns();
	int n = 0, odd = 0;
	for (bool more = true; more && n < 100000; n++) {
		uint64_t cpu = cpu_ns(), wall = clock_mono_ns();
		more = tick_once(t);
		uint64_t worked = cpu_ns() - cpu;
		world_commit(&t->w);
		uint64_t all = cpu_ns() - cpu, all_wall = clock_mono_ns() - wall;
		arena_reset(t->w.c.arena);
		longest = worked > longest ? worked : longest;
		odd += all > PIECE_NS;
		longest_cpu = all > longest_cpu ? all : longest_cpu;
		longest_wall = all_wall > longest_wall ? all_wall : longest_wall;
	}
	print_message("[          ] %s: %d pieces in %.1f s, the longest %.1f ms of the processor, with its commit %.1f ms, %.1f ms by the clock\n", what, n,
		(double)(clock_mono_ns() - begin) / 1e9, (double)longest / 1e6, (double)longest_cpu / 1e6, (double)longest_wall / 1e6);
	odd_share = (double)odd / n;
	return n;
}

static double timed(struct fleet *t, enum err e, uint64_t begin_ns)
{
	if (e != ERR_OK)
		fail_msg("%s %s", t->w.fault.pointer, t->w.fault.detail);
	return (double)(cpu_ns() - begin_ns) / 1e6;
}

static int how_many(void)
{
	const char *n = getenv("AVIARY_STORM_DEVICES");
	return n != NULL ? atoi(n) : 20000;
}

static void rule_with_very_many_alerts(void **state)
{
	struct fleet *t = *state;
	int many = how_many();
	struct alert_rule r;
	devices(t, many);
	int64_t id = add_rule(t, (struct alert_rule){0});
	for (int i = 0; i < many; i++) {
		report(t, (int)((int64_t)i * 7919 % many), 1, 5);
		if (i % 2000 == 1999) {
			fleet_settle(t);
			arena_reset(t->w.c.arena);
		}
	}
	pieces(t, "a storm");
	assert_true(odd_share <= ODD_SHARE);
	assert_int_equal(count(t, DEVICES_OPEN), many);

	assert_int_equal(alert_rule_show(&t->w.c, id, &r), ERR_OK);
	r.threshold = 3;
	uint64_t begin = cpu_ns();
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	double ms = timed(t, unit_end(&t->w.s, alert_rule_update(&t->w.c, &r), &t->w.fault), begin);
	print_message("[          ] the change of a rule with %d alerts: %.1f ms\n", many, ms);
	assert_true(ms < 20);
	tick_once(t);
	report(t, 5, 2, 6); /* fires anew, and the old one is over: whichever comes first */
	report(t, many - 1, 2, 2);
	fleet_settle(t);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE resource = 'devices/dev-5' AND status = 'firing' AND value = 6"), 1);
	world_commit(&t->w);
	fleet_restart(t); /* and it goes on after a kill */
	pieces(t, "its alerts end");
	assert_true(odd_share <= ODD_SHARE);
	assert_int_equal(count(t, OPEN), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM alert_rule WHERE ended_below > 0"), 0);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE status = 'resolved' AND resource LIKE 'devices/%' AND resolved_by = 'ended'"), many);

	begin = cpu_ns();
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	ms = timed(t, unit_end(&t->w.s, alert_rule_delete(&t->w.c, id), &t->w.fault), begin);
	print_message("[          ] its deletion: %.1f ms\n", ms);
	assert_true(ms < 20);
	assert_int_equal(alert_rule_show(&t->w.c, id, &r), ERR_NOT_FOUND);
	assert_int_equal(add_rule(t, (struct alert_rule){.threshold = 1000}), id + 1); /* its name is free */
	pieces(t, "its history is nobody's");
	assert_true(odd_share <= ODD_SHARE);
	assert_int_equal(count(t, OPEN), 0);
	assert_int_equal(count(t, "SELECT count(*) FROM alert_rule"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE rule IS NOT NULL"), 0);
}

static void alerts_of_a_deleted_rule_end(void **state)
{
	struct fleet *t = *state;
	devices(t, 200);
	int64_t id = add_rule(t, (struct alert_rule){0}), patient = add_rule(t, (struct alert_rule){.name = "patient", .for_ms = 60000});
	for (int i = 0; i < 200; i++)
		report(t, i, 1, 5);
	fleet_settle(t);
	tick(t);
	assert_int_equal(count(t, DEVICES_OPEN), 400);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE status = 'firing' AND resource LIKE 'cohorts/%'"), 1);
	DO(&t->w, alert_rule_delete(&t->w.c, id));
	DO(&t->w, alert_rule_delete(&t->w.c, patient));
	REFUSED(&t->w, ERR_NOT_FOUND, alert_rule_delete(&t->w.c, id));
	world_commit(&t->w);
	report(t, 0, 2, 6);
	fleet_settle(t);
	metric_set(METER_MQTT_CONNECTED, 0); /* nobody is silent */
	t->w.c.now_ms += 70000; /* a storm is told of again each minute: not this one */
	tick(t);
	tick(t);
	assert_int_equal(count(t, OPEN), 0);
	assert_int_equal(count(t, "SELECT count(*) FROM alert_rule"), 0);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE status = 'resolved' AND resource LIKE 'cohorts/%'"), 1);
	assert_int_equal(count(t, "SELECT count(*) FROM notice WHERE transition = 'resolved'"), 51); /* who was told that it fires is told that it is over */
	assert_int_equal(alerts_firing(t->w.s.alerts), 0);
}

/* The number of a row that was pending only is given again. */
static void new_alert_with_an_old_number_stays(void **state)
{
	struct fleet *t = *state;
	struct alert_rule r;
	devices(t, 2);
	int64_t id = add_rule(t, (struct alert_rule){.for_ms = 60000});
	report(t, 0, 1, 5);
	fleet_settle(t);
	assert_int_equal(alert_rule_show(&t->w.c, id, &r), ERR_OK);
	DO(&t->w, alert_rule_update(&t->w.c, &r));
	report(t, 0, 2, 6); /* ends the old one, which was number 1 */
	fleet_settle(t);
	assert_int_equal(count(t, "SELECT max(id) FROM alert"), 1);
	world_commit(&t->w);
	tick(t);
	assert_int_equal(count(t, OPEN), 1);
	t->w.c.now_ms += 60000;
	tick(t);
	assert_int_equal(count(t, "SELECT count(*) FROM alert WHERE status = 'firing'"), 1);
}

/* ---- what stays ---- */

static void insert_resolved(struct fleet *t, int64_t many, int64_t at)
{
	char sql[400];
	struct stmt *st;
	snprintf(sql, sizeof sql, "INSERT INTO alert (kind, resource, severity, status, summary, fired_at, resolved_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT"
		" i + 1 FROM n WHERE i < %lld) SELECT 'k', 'devices/' || i, 'info', 'resolved', 's', 1, %lld + i FROM n", (long long)many, (long long)at);
	assert_int_equal(db_prepare_text(t->w.s.db, sql, &st, &t->w.fault), ERR_OK);
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, stmt_run(st, &t->w.fault), &t->w.fault), ERR_OK);
	world_commit(&t->w);
}

static void resolved_alerts_do_not_pile_up(void **state)
{
	struct fleet *t = *state;
	const int64_t day = 86400000;
	insert_resolved(t, 300, t->w.c.now_ms - day); /* numbers do not say who is old */
	insert_resolved(t, 3000, t->w.c.now_ms - 91 * day);
	fleet_restart(t);
	assert_int_equal(t->w.s.alerts->resolved, 3300);
	tick(t);
	assert_int_equal(count(t, ALL), 300);
	assert_int_equal(t->w.s.alerts->resolved, 300);
	t->w.s.alerts->resolved += 500000 - 100; /* as if there were so many */
	t->w.c.now_ms += 20000;
	tick(t);
	assert_int_equal(count(t, ALL), 100); /* the oldest went */
	assert_int_equal(count(t, "SELECT min(id) FROM alert"), 201);
}

static void history_stops_at_its_deadline(void **state)
{
	struct fleet *t = *state;
	devices(t, 100);
	for (int i = 0; i < 200; i++) {
		for (int k = 0; k < 100; k++)
			report(t, k, i + 1, 5);
		fleet_settle(t);
		t->w.c.now_ms += 60000;
		arena_reset(t->w.c.arena);
	}
	for (int late = 0; late < 2; late++) {
		struct alert_rule r = {.name = "n", .metric = "x", .op = "gt", .filter = "", .severity = "info", .threshold = 1, .clear = NAN};
		struct rule_test *test;
		struct buf b = BUF_INIT;
		assert_int_equal(rule_test_new(&t->w.c, &r, NOW - 1, t->w.c.now_ms, &test), ERR_OK);
		rule_test_limit(test, late ? 0 : 60000);
		uint64_t begin = clock_mono_ns();
		rule_test_work(test);
		double ms = (double)(clock_mono_ns() - begin) / 1e6;
		json_open_object(&b);
		assert_int_equal(rule_test_result(&t->w.c, test, &b), ERR_OK);
		assert_non_null(strstr(buf_cstr(&b), late ? "\"complete\":false" : "\"samples\":20000"));
		assert_non_null(strstr(buf_cstr(&b), late ? "\"samples\":0" : "\"complete\":true"));
		print_message("[          ] 20,000 reports, %s: %.1f ms\n", late ? "no time" : "time", ms);
		buf_done(&b);
		rule_test_free(test);
	}
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fleet_setup, fleet_teardown)
	const struct CMUnitTest tests[] = {
		CASE(report_before_a_kill_is_compared_again), CASE(kills_within_a_batch_lose_and_repeat_nothing), CASE(rates_go_on_over_a_restart),
		CASE(scores_are_owed_until_their_commit), CASE(reports_from_before_a_rule_are_not_its), CASE(lost_commit_is_worked_off_again),
		CASE(storm_before_a_kill_is_one_after_it), CASE(rule_with_very_many_alerts), CASE(alerts_of_a_deleted_rule_end), CASE(new_alert_with_an_old_number_stays),
		CASE(resolved_alerts_do_not_pile_up), CASE(history_stops_at_its_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
