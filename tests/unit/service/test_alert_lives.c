/* Signals: patience, hysteresis, notices in the unit of their transition, storms, silences, inhibition; rules of all kinds; history. */
#include "telemetry_world.h"

#include <math.h>

#include "base/json.h"
#include "service/alerts_inside.h"
#include "store/alert_store.h"
#include "store/db.h"

static void tick(struct fleet *t, int64_t passed_ms)
{
	bool more = true;
	t->w.c.now_ms += passed_ms;
	for (int i = 0; more && i < 200; i++) {
		if (alerts_tick(&t->w.c, &more) != ERR_OK)
			fail_msg("%s", t->w.fault.detail);
	}
}

static struct alert_signal drift(const char *resource, enum alert_level level)
{
	return (struct alert_signal){.kind = "model_drift", .resource = resource, .cohort = "h/r1", .metric = "confidence", .severity = ALERT_WARNING,
		.level = level, .value = 0.5, .expected = 0.9, .score = 12, .summary = "it drifts"};
}

static void send(struct fleet *t, struct alert_signal s)
{
	DO(&t->w, alert_signal(&t->w.c, &s));
}

static size_t count_status(struct fleet *t, const char *status)
{
	struct alert_row *rows;
	size_t count;
	struct alert_page q = {.status = status, .limit = 2000};
	assert_int_equal(alert_page(t->w.s.alerts->store, &q, t->w.c.arena, &rows, &count, &t->w.fault), ERR_OK);
	return count;
}

/* How many notices there are of a transition (NULL: any), and that their numbers grow by alert. */
static size_t notices(struct fleet *t, const char *transition)
{
	struct notice_row *rows;
	size_t count, found = 0;
	assert_int_equal(notice_page(t->w.s.alerts->store, 0, 10000, t->w.c.arena, &rows, &count, &t->w.fault), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		found += transition == NULL || strcmp(rows[i].transition, transition) == 0;
		for (size_t k = 0; k < i; k++)
			assert_true(rows[k].alert != rows[i].alert || rows[k].seq < rows[i].seq);
	}
	return found;
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
#define HAS_NOT(t, id, text) assert_null(strstr(shown(t, id), text))

static void signal_fires_and_is_resolved_with_patience(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	send(t, drift("devices/dev-1", ALERT_LEVEL_UNDER));
	send(t, drift("devices/dev-1", ALERT_LEVEL_BETWEEN));
	assert_int_equal(count_status(t, NULL), 0);
	send(t, drift("devices/dev-1", ALERT_LEVEL_OVER));
	assert_int_equal(count_status(t, "firing"), 1);
	HAS(t, 1, "\"cohort\":\"h/r1\"");
	HAS(t, 1, "\"metric\":\"confidence\"");
	HAS(t, 1, "\"score\":12");
	HAS(t, 1, "\"group\":\"h/r1|model_drift\"");
	send(t, drift("devices/dev-1", ALERT_LEVEL_BETWEEN));
	tick(t, 3600000);
	assert_int_equal(count_status(t, "firing"), 1);
	send(t, drift("devices/dev-1", ALERT_LEVEL_UNDER));
	tick(t, 299000);
	assert_int_equal(count_status(t, "firing"), 1);
	tick(t, 1000);
	assert_int_equal(count_status(t, "resolved"), 1);
	assert_int_equal(notices(t, "firing"), 1);
	assert_int_equal(notices(t, "resolved"), 1);
	HAS(t, 1, "\"resolved_by\":\"cleared\"");
}

static void pending_is_a_row_and_no_notice(void **state)
{
	struct fleet *t = *state;
	struct alert_policy patient = {.for_ms = 60000};
	struct alert_signal s = drift("devices/x", ALERT_LEVEL_OVER), under = drift("devices/x", ALERT_LEVEL_UNDER);
	s.policy = under.policy = &patient;
	send(t, s);
	assert_int_equal(count_status(t, "pending"), 1);
	assert_int_equal(alerts_firing(t->w.s.alerts), 0);
	send(t, under);
	assert_int_equal(count_status(t, NULL), 0);
	send(t, s);
	world_commit(&t->w);
	int64_t at = t->w.c.now_ms;
	fleet_restart(t);
	assert_int_equal(t->w.c.now_ms, at);
	tick(t, 59000);
	assert_int_equal(count_status(t, "pending"), 1);
	assert_int_equal(notices(t, NULL), 0);
	tick(t, 1000);
	assert_int_equal(count_status(t, "firing"), 1);
	assert_int_equal(notices(t, NULL), 1);
}

static void undone_with_its_unit(void **state)
{
	struct fleet *t = *state;
	struct alert_signal s = drift("devices/x", ALERT_LEVEL_OVER);
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(alert_signal(&t->w.c, &s), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, ERR_CONFLICT, &t->w.fault), ERR_CONFLICT);
	assert_int_equal(notices(t, NULL), 0);
	assert_int_equal(count_status(t, NULL), 0);
	send(t, s); /* memory knows that it is gone */
	assert_int_equal(count_status(t, "firing"), 1);
	assert_int_equal(notices(t, NULL), 1);
	world_commit(&t->w);
	/* a unit that others lose later does not make us forget */
	assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
	assert_int_equal(unit_end(&t->w.s, ERR_CONFLICT, &t->w.fault), ERR_CONFLICT);
	assert_false(t->w.s.alerts->is_stale);
}

static void flapping_is_told_of_three_times(void **state)
{
	struct fleet *t = *state;
	for (int i = 0; i < 6; i++) {
		DO(&t->w, alert_raise(&t->w.c, "k", "devices/a", ALERT_INFO, "s", NULL));
		t->w.c.now_ms += 1000;
		DO(&t->w, alert_resolve(&t->w.c, "k", "devices/a"));
		t->w.c.now_ms += 1000;
	}
	assert_int_equal(count_status(t, "resolved"), 6); /* every transition is there */
	assert_int_equal(notices(t, "firing"), 3);
	assert_int_equal(notices(t, "resolved"), 3);
	DO(&t->w, alert_raise(&t->w.c, "k", "devices/a", ALERT_INFO, "s", NULL));
	HAS(t, 7, "\"suppressed\":true");
	HAS(t, 7, "\"flaps\":7");
	tick(t, 3600000);
	assert_int_equal(notices(t, "firing"), 3);
	tick(t, INT64_C(24) * 3600000); /* it lasts: now it is worth telling */
	assert_int_equal(notices(t, "firing"), 4);
	tick(t, 1000);
	assert_int_equal(notices(t, "firing"), 4);
}

/* Not by its kind, of which there are a hundred thousand in a storm. */
static void check_memory_plan(void *ctx, const struct statement *statement, const char *line)
{
	if (strncmp(statement->sql, "SELECT life FROM alert", 22) == 0 && strstr(line, "SEARCH") != NULL)
		*(int *)ctx += strstr(line, "alert_resource") != NULL ? 1 : -100;
}

static void flapping_is_looked_up_by_resource(void **state)
{
	struct fleet *t = *state;
	int found = 0;
	db_each_plan(t->w.s.db, check_memory_plan, &found);
	assert_int_equal(found, 1);
}

static void missing_data_is_shown_and_times_out(void **state)
{
	struct fleet *t = *state;
	send(t, drift("devices/x", ALERT_LEVEL_OVER));
	t->w.c.now_ms += 60000;
	send(t, drift("devices/x", ALERT_LEVEL_STALE));
	HAS(t, 1, "\"stale\":true");
	send(t, drift("devices/x", ALERT_LEVEL_OVER));
	HAS(t, 1, "\"stale\":false");
	tick(t, 86400000);
	HAS(t, 1, "\"resolved_by\":\"no_data\"");
}

/* ---- storms ---- */

static void storm(struct fleet *t, int from, int to, enum alert_level level)
{
	char id[40];
	for (int i = from; i < to; i++) {
		snprintf(id, sizeof id, "devices/dev-%d", i);
		struct alert_signal s = drift(id, level);
		s.cohort_devices = 2000;
		send(t, s);
	}
}

static void storm_is_told_of_once(void **state)
{
	struct fleet *t = *state;
	storm(t, 0, 1500, ALERT_LEVEL_OVER);
	tick(t, 1000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 1501);
	assert_int_equal(notices(t, "firing"), 50 + 1);
	storm(t, 1500, 1600, ALERT_LEVEL_OVER);
	tick(t, 61000);
	assert_int_equal(notices(t, "firing"), 51);
	HAS(t, 1501, "\"devices\":1600"); /* its count goes on */
	HAS(t, 1501, "\"resource\":\"cohorts/h/r1\"");
	HAS(t, 1, "\"inhibited_by\":1501");
	HAS_NOT(t, 1501, "inhibited_by");
	world_commit(&t->w);
	fleet_restart(t);
	tick(t, 1000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 1601);
	storm(t, 1600, 1700, ALERT_LEVEL_OVER); /* it is one still */
	tick(t, 1000);
	assert_int_equal(notices(t, "firing"), 51);
	storm(t, 0, 1700, ALERT_LEVEL_UNDER);
	tick(t, 3600000);
	tick(t, 600000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 0);
	assert_int_equal(notices(t, "resolved"), 51); /* of each that was told of */
}

static void a_storm_is_counted_over_a_restart(void **state)
{
	struct fleet *t = *state;
	storm(t, 0, 40, ALERT_LEVEL_OVER);
	world_commit(&t->w);
	fleet_restart(t);
	storm(t, 40, 80, ALERT_LEVEL_OVER);
	tick(t, 1000);
	assert_int_equal(notices(t, "firing"), 50 + 1);
}

static void survivors_of_a_storm_are_told_of(void **state)
{
	struct fleet *t = *state;
	storm(t, 0, 100, ALERT_LEVEL_OVER);
	tick(t, 1000);
	assert_int_equal(notices(t, "firing"), 51);
	storm(t, 0, 90, ALERT_LEVEL_UNDER);
	tick(t, 300000);
	tick(t, 600000);
	tick(t, 1000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 10);
	assert_int_equal(notices(t, "firing"), 61);
}

static void nobody_is_missed_when_many_go_at_once(void **state)
{
	struct fleet *t = *state;
	char id[40];
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 400; i++) {
			snprintf(id, sizeof id, "devices/dev-%d", i);
			struct alert_signal s = drift(id, round == 0 ? ALERT_LEVEL_OVER : ALERT_LEVEL_UNDER);
			s.cohort_devices = 100000;
			send(t, s);
		}
	}
	tick(t, 300000);
	assert_int_equal(alerts_firing(t->w.s.alerts), 0);
}

/* ---- silences and inhibition ---- */

static int64_t mute(struct fleet *t, const char *name, const char *value, bool negate, int64_t from_ms, int64_t to_ms)
{
	struct silence_matcher m = {name, value, negate};
	struct silence s = {.matchers = &m, .matcher_count = 1, .comment = "work", .begins_at = t->w.c.now_ms + from_ms, .expires_at = t->w.c.now_ms + to_ms};
	int64_t id = 0;
	DO(&t->w, silence_create(&t->w.c, &s, &id));
	return id;
}

static void silences_match_while_they_last(void **state)
{
	struct fleet *t = *state;
	send(t, drift("devices/dev-1", ALERT_LEVEL_OVER));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "bad", NULL));
	int64_t id = mute(t, "resource", "devices/*-1", false, 60000, 120000);
	HAS_NOT(t, 1, "silenced_by");
	t->w.c.now_ms += 60000;
	HAS(t, 1, "\"silenced_by\":1");
	HAS_NOT(t, 2, "silenced_by");
	world_commit(&t->w);
	fleet_restart(t);
	HAS(t, 1, "\"silenced_by\":1");
	struct alert_fate fate;
	assert_int_equal(alert_fate(&t->w.c, 1, &fate), ERR_OK);
	assert_int_equal(fate.silenced_by, id);
	t->w.c.now_ms += 60000;
	HAS_NOT(t, 1, "silenced_by");
	id = mute(t, "severity", "warning", true, 0, 60000);
	HAS_NOT(t, 1, "silenced_by");
	HAS(t, 2, "silenced_by");
	DO(&t->w, silence_end(&t->w.c, id));
	HAS_NOT(t, 2, "silenced_by");
}

static void silences_are_checked(void **state)
{
	struct fleet *t = *state;
	struct silence_matcher m = {"kind", "x", false};
	struct silence s = {.matchers = &m, .matcher_count = 1, .comment = "", .expires_at = t->w.c.now_ms + 1000};
	int64_t id;
	m.name = "colour";
	REFUSED(&t->w, ERR_INVALID, silence_create(&t->w.c, &s, &id));
	assert_string_equal(t->w.fault.pointer, "/matchers/0/name");
	m = (struct silence_matcher){"kind", "*", false};
	REFUSED(&t->w, ERR_INVALID, silence_create(&t->w.c, &s, &id));
	m.value = "x";
	s.expires_at = t->w.c.now_ms;
	REFUSED(&t->w, ERR_INVALID, silence_create(&t->w.c, &s, &id));
	assert_string_equal(t->w.fault.pointer, "/expires_at");
	REFUSED(&t->w, ERR_NOT_FOUND, silence_end(&t->w.c, 9));
}

static void fleet_drift_inhibits_drift_of_its_devices(void **state)
{
	struct fleet *t = *state;
	struct alert_signal other = drift("devices/dev-2", ALERT_LEVEL_OVER), fleet = drift("cohorts/h/r1", ALERT_LEVEL_OVER);
	send(t, drift("devices/dev-1", ALERT_LEVEL_OVER));
	other.cohort = "h/r2";
	send(t, other);
	fleet.kind = "fleet_drift";
	fleet.cohort = NULL;
	fleet.policy = &(struct alert_policy){0};
	send(t, fleet);
	HAS(t, 1, "\"inhibited_by\":3");
	HAS_NOT(t, 2, "inhibited_by");
	struct alert_filter q = {.inhibited = ALERT_YES, .limit = 10};
	struct buf b = BUF_INIT;
	int64_t next;
	json_open_array(&b);
	assert_int_equal(alerts_list(&t->w.c, &q, &b, &next), ERR_OK);
	assert_non_null(strstr(b.data, "devices/dev-1"));
	assert_null(strstr(b.data, "devices/dev-2"));
	buf_done(&b);
	fleet.level = ALERT_LEVEL_UNDER;
	send(t, fleet);
	HAS_NOT(t, 1, "inhibited_by");
}

/* ---- rules ---- */

static int64_t add_rule(struct fleet *t, struct alert_rule r)
{
	int64_t id = 0;
	r.name = r.name != NULL ? r.name : "rule";
	r.op = r.op != NULL ? r.op : "gt";
	r.filter = r.filter != NULL ? r.filter : "";
	r.severity = r.severity != NULL ? r.severity : "warning";
	r.clear = r.clear != 0 ? r.clear : NAN;
	DO(&t->w, alert_rule_create(&t->w.c, &r, &id));
	tick(t, 0);
	return id;
}

static void threshold_with_hysteresis_and_message(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.metric = "x", .threshold = 10, .clear = 5, .summary = "{{device}} shows {{value}} > {{threshold}}",
		.description = "{{name}}: {{summary}}; see {{resource}} of {{cohort}}", .labels = "{\"team\":\"a\"}"});
	fleet_value(t, "dev-1", 1, "x", 11);
	HAS(t, 1, "dev-1 shows 11 > 10");
	HAS(t, 1, "\"labels\":{\"team\":\"a\"}");
	fleet_value(t, "dev-1", 2, "x", 7);
	assert_int_equal(count_status(t, "firing"), 1);
	mute(t, "label.team", "a", false, 0, 1000);
	HAS(t, 1, "silenced_by");
	fleet_value(t, "dev-1", 3, "x", 5);
	assert_int_equal(count_status(t, "firing"), 0);
}

static void a_dip_within_a_batch_counts(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.metric = "x", .threshold = 10, .for_ms = 5000});
	fleet_value(t, "dev-1", 1, "x", 11);
	t->w.c.now_ms += 4000;
	fleet_telemetry(t, "dev-1", "{\"boot\":\"b\",\"seq\":2,\"metrics\":{\"x\":1}}");
	fleet_value(t, "dev-1", 3, "x", 11);
	t->w.c.now_ms += 4000;
	fleet_value(t, "dev-1", 4, "x", 11);
	assert_int_equal(count_status(t, "firing"), 0);
	t->w.c.now_ms += 1000;
	fleet_value(t, "dev-1", 5, "x", 11);
	assert_int_equal(count_status(t, "firing"), 1);
}

static void two_of_three_reports(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.metric = "x", .threshold = 10, .samples_over = 2, .samples_of = 3});
	static const double values[] = {11, 1, 1, 11, 1, 11};
	for (int i = 0; i < 6; i++) {
		assert_int_equal(count_status(t, "firing"), 0);
		fleet_value(t, "dev-1", i + 1, "x", values[i]);
	}
	assert_int_equal(count_status(t, "firing"), 1);
}

static void rate_is_change_a_minute(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.kind = "rate", .metric = "x", .threshold = 5});
	fleet_value(t, "dev-1", 1, "x", 1000);
	t->w.c.now_ms += 120000;
	fleet_value(t, "dev-1", 2, "x", 1010); /* 5 a minute: not above */
	assert_int_equal(count_status(t, "firing"), 0);
	t->w.c.now_ms += 60000;
	fleet_value(t, "dev-1", 3, "x", 1016);
	assert_int_equal(count_status(t, "firing"), 1);
	HAS(t, 1, "metric.rate");
	t->w.c.now_ms += 60000;
	fleet_value(t, "dev-1", 4, "x", 1016);
	assert_int_equal(count_status(t, "firing"), 0);
}

static void rules_go_on_after_the_clock_was_set_back(void **state)
{
	const int64_t day = 86400000;
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "h");
	tick(t, 0);
	fleet_value(t, "dev-1", 1, "x", 1000);
	fleet_value(t, "dev-2", 1, "y", 1);
	add_rule(t, (struct alert_rule){.name = "rate", .kind = "rate", .metric = "x", .threshold = 5});
	add_rule(t, (struct alert_rule){.name = "absence", .kind = "absence", .metric = "y", .for_ms = 60000});
	t->w.c.now_ms += 60000;
	fleet_value(t, "dev-1", 2, "x", 1001);
	fleet_value(t, "dev-2", 2, "y", 1);
	tick(t, 1000);
	t->w.c.now_ms -= day;
	tick(t, 1000);
	fleet_value(t, "dev-1", 3, "x", 1001); /* nothing is known of a minute that went backwards */
	assert_int_equal(count_status(t, "firing"), 0);
	t->w.c.now_ms += 60000;
	fleet_value(t, "dev-1", 4, "x", 1100);
	tick(t, 30000);
	assert_int_equal(count_status(t, "firing"), 2);
}

/* A timer alone: what its owner says no more about ends in its time, not a day later. */
static void timers_go_on_after_the_clock_was_set_back(void **state)
{
	static const struct alert_policy policy = {.stale_ms = 3600000};
	struct fleet *t = *state;
	struct alert_signal s = drift("devices/x", ALERT_LEVEL_OVER);
	s.policy = &policy;
	send(t, s);
	assert_int_equal(count_status(t, "firing"), 1);
	t->w.c.now_ms -= 86400000;
	tick(t, 1000);
	assert_int_equal(count_status(t, "firing"), 1);
	tick(t, 3600000);
	assert_int_equal(count_status(t, "resolved"), 1);
}

static void absence_of_a_metric(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "h");
	tick(t, 0);
	fleet_value(t, "dev-1", 1, "x", 1);
	add_rule(t, (struct alert_rule){.kind = "absence", .metric = "x", .for_ms = 60000}); /* it was reported before the rule was made */
	tick(t, 60000);
	assert_int_equal(count_status(t, "firing"), 0);
	fleet_value(t, "dev-2", 1, "y", 1);
	tick(t, 1);
	tick(t, 1);
	assert_int_equal(count_status(t, "firing"), 1);
	HAS(t, 1, "devices/dev-1");
	fleet_value(t, "dev-1", 2, "x", 1);
	assert_int_equal(count_status(t, "firing"), 0);
}

static void anomaly_looks_at_scores(void **state)
{
	struct fleet *t = *state;
	struct device_state *d = world_device(&t->w, "dev-1", "h");
	add_rule(t, (struct alert_rule){.kind = "anomaly", .metric = "x", .threshold = 0.8});
	alerts_on_score(&t->w.s, d->row, "y", 0.99, t->w.c.now_ms);
	alerts_on_score(&t->w.s, d->row, "x", NAN, t->w.c.now_ms);
	alerts_on_score(&t->w.s, d->row, "x", 0.8, t->w.c.now_ms);
	tick(t, 1);
	assert_int_equal(count_status(t, "firing"), 0);
	alerts_on_score(&t->w.s, d->row, "x", 0.9, t->w.c.now_ms);
	tick(t, 1);
	HAS(t, 1, "\"score\":0.9");
	alerts_on_score(&t->w.s, d->row, "x", 0.5, t->w.c.now_ms); /* above 0.6 of it */
	tick(t, 1);
	assert_int_equal(count_status(t, "firing"), 1);
	alerts_on_score(&t->w.s, d->row, "x", 0.4, t->w.c.now_ms);
	tick(t, 1);
	assert_int_equal(count_status(t, "firing"), 0);
}

static void signature_rule_takes_over(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "g");
	send(t, drift("devices/dev-1", ALERT_LEVEL_OVER)); /* before the rule */
	add_rule(t, (struct alert_rule){.kind = "signature", .subject = "model_*", .severity = "critical", .filter = "hardware==h", .for_ms = 60000});
	send(t, drift("devices/dev-2", ALERT_LEVEL_OVER));
	HAS(t, 2, "\"severity\":\"warning\""); /* not one of its devices */
	struct alert_signal corrupt = drift("devices/dev-1", ALERT_LEVEL_OVER);
	corrupt.kind = "model_corrupt";
	send(t, corrupt);
	HAS(t, 3, "\"status\":\"pending\"");
	HAS(t, 3, "\"severity\":\"critical\"");
	HAS(t, 3, "\"rule\":1");
	tick(t, 60000);
	HAS(t, 3, "\"status\":\"firing\"");
	corrupt.level = ALERT_LEVEL_UNDER;
	send(t, corrupt);
	HAS(t, 3, "\"status\":\"resolved\"");
	tick(t, 300000);
	send(t, drift("devices/dev-1", ALERT_LEVEL_UNDER));
	tick(t, 300000);
	HAS(t, 1, "\"status\":\"resolved\"");
	DO(&t->w, alert_raise(&t->w.c, "install.failed", "devices/dev-1", ALERT_INFO, "s", NULL));
	HAS_NOT(t, 4, "\"rule\"");
}

static void gate_and_health_rules(void **state)
{
	struct fleet *t = *state;
	add_rule(t, (struct alert_rule){.name = "g", .kind = "gate", .subject = "rollouts/7", .severity = "info"});
	add_rule(t, (struct alert_rule){.name = "h", .kind = "health", .subject = "self*", .severity = "info"});
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_CRITICAL, "s", NULL));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/8", ALERT_CRITICAL, "s", NULL));
	DO(&t->w, alert_raise(&t->w.c, "health.selftest", "devices/a", ALERT_CRITICAL, "s", NULL));
	HAS(t, 1, "\"rule\":1");
	HAS_NOT(t, 2, "\"rule\"");
	HAS(t, 3, "\"rule\":2");
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/7"));
	DO(&t->w, alert_resolve(&t->w.c, "health.selftest", "devices/a"));
	assert_int_equal(count_status(t, "firing"), 1);
}

static void bad_rules_are_refused(void **state)
{
	struct fleet *t = *state;
	const struct alert_rule good = {.name = "n", .metric = "x", .op = "gt", .filter = "", .severity = "info", .threshold = 1, .clear = NAN};
	static const struct {
		const char *pointer, *kind, *metric, *subject, *labels, *summary;
		double clear;
		int64_t for_ms, over, of;
	} bad[] = {
		{"/kind", "feeling", "x", NULL, NULL, NULL, NAN, 0, 0, 0},
		{"/metric", "threshold", "", NULL, NULL, NULL, NAN, 0, 0, 0},
		{"/metric", "signature", "x", NULL, NULL, NULL, NAN, 0, 0, 0},
		{"/subject", "rate", "x", "y", NULL, NULL, NAN, 0, 0, 0},
		{"/clear", "threshold", "x", NULL, NULL, NULL, 2, 0, 0, 0},
		{"/for_ms", "absence", "x", NULL, NULL, NULL, NAN, 0, 0, 0},
		{"/samples_over", "threshold", "x", NULL, NULL, NULL, NAN, 0, 3, 2},
		{"/samples_over", "threshold", "x", NULL, NULL, NULL, NAN, 5, 1, 2},
		{"/labels", "threshold", "x", NULL, "{\"a\":1}", NULL, NAN, 0, 0, 0},
		{"/summary", "threshold", "x", NULL, NULL, "{{who}}", NAN, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct alert_rule r = good;
		int64_t id;
		r.kind = bad[i].kind;
		r.metric = bad[i].metric;
		r.subject = bad[i].subject;
		r.labels = bad[i].labels;
		r.summary = bad[i].summary;
		r.clear = bad[i].clear;
		r.for_ms = bad[i].for_ms;
		r.samples_over = bad[i].over;
		r.samples_of = bad[i].of;
		REFUSED(&t->w, ERR_INVALID, alert_rule_create(&t->w.c, &r, &id));
		assert_string_equal(t->w.fault.pointer, bad[i].pointer);
	}
}

/* ---- history ---- */

static const char *test_rule(struct fleet *t, struct alert_rule r, int64_t from_ms, int64_t to_ms)
{
	struct rule_test *test;
	struct buf b = BUF_INIT;
	r.name = "n";
	r.op = "gt";
	r.filter = r.filter != NULL ? r.filter : "";
	r.severity = "info";
	r.clear = NAN;
	if (rule_test_new(&t->w.c, &r, from_ms, to_ms, &test) != ERR_OK)
		fail_msg("%s %s", t->w.fault.pointer, t->w.fault.detail);
	rule_test_work(test);
	json_open_object(&b);
	assert_int_equal(rule_test_result(&t->w.c, test, &b), ERR_OK);
	json_close_object(&b);
	const char *text = arena_strdup(t->w.c.arena, buf_cstr(&b));
	buf_done(&b);
	rule_test_free(test);
	return text;
}

static void rules_are_tried_on_history(void **state)
{
	struct fleet *t = *state;
	char expected[128];
	world_device(&t->w, "dev-1", "h");
	world_device(&t->w, "dev-2", "g");
	for (int i = 0; i < 60; i++) { /* an hour; ten bad minutes in it */
		fleet_value(t, "dev-1", i + 1, "x", i >= 20 && i < 30 ? 9 : 1);
		fleet_value(t, "dev-2", i + 1, "x", i >= 20 && i < 30 ? 9 : 1);
		t->w.c.now_ms += 60000;
	}
	const char *r = test_rule(t, (struct alert_rule){.metric = "x", .threshold = 5, .filter = "hardware==g", .for_ms = 120000}, NOW, NOW + 3600000);
	snprintf(expected, sizeof expected, "{\"device\":\"dev-2\",\"fired_at\":%lld,\"resolved_at\":%lld,\"value\":9}", (long long)(NOW + 22 * 60000),
	         (long long)(NOW + 30 * 60000));
	assert_non_null(strstr(r, expected));
	assert_non_null(strstr(r, "\"fired\":1,\"devices_fired\":1,\"devices_seen\":2,\"samples\":120"));
	assert_non_null(strstr(r, "\"complete\":true"));
	snprintf(expected, sizeof expected, "\"fired_at\":%lld", (long long)(NOW + 20 * 60000 + 90000)); /* between two reports */
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.metric = "x", .threshold = 5, .for_ms = 90000}, NOW, NOW + 3600000), expected));
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.metric = "x", .threshold = 5}, NOW, NOW + 20 * 60000), "\"fired\":0"));
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.metric = "x", .threshold = 5, .for_ms = 900000}, NOW, NOW + 3600000), "\"fired\":0"));
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.kind = "rate", .metric = "x", .threshold = 7}, NOW, NOW + 3600000), "\"fired\":2"));
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.kind = "absence", .metric = "x", .for_ms = 61000}, NOW, NOW + 3600000), "\"fired\":0"));
	t->w.c.now_ms += 600000;
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.kind = "absence", .metric = "x", .for_ms = 300000}, NOW, NOW + 3600000 + 600000), "\"fired\":2"));
	assert_non_null(strstr(test_rule(t, (struct alert_rule){.metric = "never", .threshold = 5}, NOW, NOW + 3600000), "\"samples\":0"));
	assert_int_equal(count_status(t, NULL), 0); /* nothing was raised */
}

static void anomalies_are_tried_on_history(void **state)
{
	struct fleet *t = *state;
	world_device(&t->w, "dev-1", "h");
	for (int i = 0; i < 600; i++) {
		char json[128];
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{\"x\":%g}}", i + 1, i == 550 ? 50.0 : 10 + (i * 7 % 11) * 0.1);
		fleet_telemetry(t, "dev-1", json);
		fleet_settle(t);
		t->w.c.now_ms += 300000;
	}
	const char *r = test_rule(t, (struct alert_rule){.kind = "anomaly", .metric = "x", .threshold = 0.5}, NOW, t->w.c.now_ms);
	assert_non_null(strstr(r, "\"fired\":1"));
	char expected[64];
	snprintf(expected, sizeof expected, "\"fired_at\":%lld", (long long)(NOW + 550 * INT64_C(300000)));
	assert_non_null(strstr(r, expected));
	struct alert_rule any = {.name = "n", .kind = "anomaly", .op = "gt", .threshold = 0.5, .filter = "", .severity = "info", .clear = NAN};
	struct rule_test *test;
	assert_int_equal(rule_test_new(&t->w.c, &any, NOW, NOW + 1, &test), ERR_INVALID);
	assert_string_equal(t->w.fault.pointer, "/rule/metric");
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fleet_setup, fleet_teardown)
	const struct CMUnitTest tests[] = {
		CASE(signal_fires_and_is_resolved_with_patience), CASE(pending_is_a_row_and_no_notice), CASE(undone_with_its_unit),
		CASE(flapping_is_told_of_three_times), CASE(flapping_is_looked_up_by_resource), CASE(missing_data_is_shown_and_times_out), CASE(storm_is_told_of_once),
		CASE(survivors_of_a_storm_are_told_of), CASE(a_storm_is_counted_over_a_restart), CASE(silences_match_while_they_last), CASE(silences_are_checked),
		CASE(fleet_drift_inhibits_drift_of_its_devices), CASE(threshold_with_hysteresis_and_message), CASE(two_of_three_reports), CASE(a_dip_within_a_batch_counts), CASE(nobody_is_missed_when_many_go_at_once),
		CASE(rate_is_change_a_minute), CASE(rules_go_on_after_the_clock_was_set_back), CASE(timers_go_on_after_the_clock_was_set_back),
		CASE(absence_of_a_metric), CASE(anomaly_looks_at_scores), CASE(signature_rule_takes_over),
		CASE(gate_and_health_rules), CASE(bad_rules_are_refused), CASE(rules_are_tried_on_history), CASE(anomalies_are_tried_on_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
