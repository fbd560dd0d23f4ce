/* How often devices fall silent: hours that are counted, days that are kept, what a rollout takes of it. */
#include <math.h>

#include "rollout_world.h"

#include "service/alerts_inside.h"
#include "store/silence_store.h"

#define HOUR_MS 3600000
#define REPORT_EVERY_MS 600000 /* ten minutes: silent after thirty */

static void report(struct rig *r, struct agent *a)
{
	char json[160];
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"metrics\":{\"accuracy\":{\"n\":50,\"k\":45}}}", (long long)++a->telemetry_seq);
	fleet_telemetry(&r->f, a->id, json);
}

static void tick(struct rig *r)
{
	bool more = true;
	for (int i = 0; more && i < 10000; i++)
		rig_must(r, rollouts_tick(rig_call(r), &more));
	assert_false(more);
	rig_commit(r);
}

/* Ends a second after a full hour. */
static void hours(struct rig *r, int count)
{
	for (int i = 0; i < count * 6; i++) {
		int64_t from_ms = r->f.w.c.now_ms;
		for (size_t k = 0; k < r->devices; k++)
			if (r->agents[k].habit != IS_AWAY)
				report(r, &r->agents[k]);
		if (telemetry_pending(r->f.w.s.telemetry) > 0)
			fleet_settle(&r->f);
		r->f.w.c.now_ms = from_ms + REPORT_EVERY_MS;
		tick(r);
	}
}

static void begin(struct rig *r, size_t devices)
{
	rig_devices(r, devices);
	r->f.w.c.now_ms = (r->f.w.c.now_ms / (24 * (int64_t)HOUR_MS) + 1) * 24 * HOUR_MS + 1000; /* of a day's first hour */
	tick(r);
}

static struct silence_sum sum(struct rig *r)
{
	struct silence_sum s;
	rig_must(r, silence_sum_since(silence_history_store(r->f.w.s.rollouts->silence), 0, &s, &r->f.w.fault));
	return s;
}

static struct silence_rate rate(struct rig *r)
{
	struct silence_rate s;
	rig_must(r, silence_history_rate(rig_call(r), r->f.w.s.rollouts->silence, &s));
	return s;
}

static void each_device_that_falls_silent_is_a_hit_once(void **state)
{
	struct rig *r = *state;
	begin(r, 40);
	hours(r, 2);
	assert_int_equal(sum(r).hours, 2);
	assert_int_equal(sum(r).trials, 80);
	assert_int_equal(sum(r).hits, 0);
	r->agents[0].habit = r->agents[1].habit = IS_AWAY;
	hours(r, 3);
	assert_int_equal(sum(r).hits, 2);
	assert_int_equal(sum(r).trials, 80 + 40 + 38 + 38); /* who was silent already is no trial */
	r->agents[0].habit = WORKS;
	hours(r, 1);
	assert_int_equal(sum(r).trials, 80 + 40 + 38 + 38 + 39);
	assert_int_equal(sum(r).hits, 2);
}

static void it_is_the_default_until_there_is_a_day(void **state)
{
	struct rig *r = *state;
	begin(r, 40);
	hours(r, 23);
	assert_true(rate(r).rate == SILENCE_RATE_DEFAULT && rate(r).days == 0);
	hours(r, 2);
	assert_int_equal(rate(r).days, 2); /* the last hour ends with the next day */
	/* no hit in 41 device-days: 1 - 0.05^(1/41) */
	assert_true(fabs(rate(r).rate - (1 - pow(0.05, 1.0 / 41))) < 1e-6);
	r->agents[0].habit = IS_AWAY;
	hours(r, 23);
	double once = rate(r).rate; /* one in 80 device-days */
	assert_true(once > 1.0 / 80 && once < 0.06);
}

static void thirty_days_are_kept(void **state)
{
	struct rig *r = *state;
	begin(r, 2);
	for (int i = 0; i < 34 * 24; i++) {
		report(r, &r->agents[0]);
		fleet_settle(&r->f);
		r->f.w.c.now_ms += HOUR_MS;
		tick(r);
	}
	assert_true(sum(r).days <= SILENCE_DAYS + 1);
	assert_true(sum(r).hours >= SILENCE_DAYS * 24);
	assert_int_equal(rate(r).days, SILENCE_DAYS);
}

static void hours_in_which_nobody_could_be_heard_are_not_counted(void **state)
{
	struct rig *r = *state;
	begin(r, 40);
	hours(r, 1);
	for (size_t i = 0; i < 40; i++)
		r->agents[i].habit = IS_AWAY; /* nothing arrives */
	r->f.w.s.alerts->listening_ms = r->f.w.c.now_ms + HOUR_MS / 2; /* the broker is away for half an hour */
	hours(r, 1);
	assert_int_equal(sum(r).hours, 1);
	metric_set(METER_MQTT_CONNECTED, 0);
	hours(r, 2);
	metric_set(METER_MQTT_CONNECTED, 1);
	assert_int_equal(sum(r).hours, 1);
	assert_int_equal(sum(r).hits, 0);
}

static void devices_in_a_rollout_are_left_out(void **state)
{
	struct rig *r = *state;
	begin(r, 40);
	for (size_t i = 0; i < 10; i++)
		registry_find(r->f.w.s.registry, r->agents[i].id)->deployment = 1;
	hours(r, 1);
	assert_int_equal(sum(r).trials, 30);
}

static void a_rollout_keeps_the_rate_that_it_was_planned_with(void **state)
{
	struct rig *r = *state;
	begin(r, 40);
	hours(r, 25);
	double planned = rate(r).rate;
	rig_create(r, GOOD, ",\"gates\":[{\"metric\":\"silence\"}],\"judge\":{\"alpha\":0.4,\"reports_planned\":16}");
	assert_true(rig_rows(r).live->silence.rate == planned);
	for (size_t i = 0; i < 20; i++)
		r->agents[i].habit = IS_AWAY;
	hours(r, 3);
	rig_kill(r);
	assert_true(rig_rows(r).live->silence.rate == planned);
	assert_int_equal(rig_rows(r).live->silence.days, 2);
	struct judge_config config;
	rollout_judge_config(rig_rows(r).live, 2, 0, 8, 3, &config);
	assert_true(config.silence_rate == planned);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_device_that_falls_silent_is_a_hit_once),
		TEST(it_is_the_default_until_there_is_a_day),
		TEST(thirty_days_are_kept),
		TEST(hours_in_which_nobody_could_be_heard_are_not_counted),
		TEST(devices_in_a_rollout_are_left_out),
		TEST(a_rollout_keeps_the_rate_that_it_was_planned_with),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
