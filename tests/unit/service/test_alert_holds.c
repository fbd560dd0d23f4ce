/* What a canary shows holds its stage: begun by an alert, named in the reason, over when it is resolved or a person decides. */
#include "rollout_world.h"

#include "service/alerts.h"

#define TWO_STAGES ",\"stages\":[{\"count\":4},{\"percent\":100}]"

static void corrupt(struct rig *r, const char *device, enum alert_level level)
{
	static const struct alert_policy at_once = {0};
	struct alert_signal s = {.kind = "model_corrupt", .resource = arena_printf(r->f.w.c.arena, "devices/%s", device), .severity = ALERT_CRITICAL,
		.level = level, .summary = "one class only", .policy = &at_once};
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, unit_end(&r->f.w.s, alert_signal(rig_call(r), &s), &r->f.w.fault));
}

/* A device of the first stage that runs the release. */
static const char *a_canary(struct rig *r)
{
	for (size_t i = 0; i < r->devices; i++) {
		struct deployment_row *rows, d;
		size_t count;
		const struct device_state *s = registry_find(r->f.w.s.registry, r->agents[i].id);
		rig_must(r, deployment_page(r->f.w.s.rollouts->deployments, r->rollout, 0, DEPLOYMENT_SUCCEEDED, 0, 100, &rows, &count, r->f.w.c.arena,
			&r->f.w.fault));
		for (size_t k = 0; k < count; k++) {
			d = rows[k];
			if (d.device == s->row)
				return r->agents[i].id;
		}
	}
	fail_msg("nobody");
	return NULL;
}

static void begin(struct rig *r)
{
	rig_devices(r, 20);
	rig_create(r, "good", TWO_STAGES);
	for (int i = 0; i < 60 && strcmp(rig_rows(r).stages[0].status, "baking") != 0; i++)
		rig_step(r);
	assert_string_equal(rig_rows(r).stages[0].status, "baking");
}

static void an_alert_of_a_canary_holds_its_stage(void **state)
{
	struct rig *r = *state;
	begin(r);
	const char *device = strdup(a_canary(r));
	corrupt(r, device, ALERT_LEVEL_OVER);
	rig_steps(r, 40); /* the soak is long over */
	assert_string_equal(rig_rows(r).stages[0].status, "baking");
	assert_string_equal(rig_rows(r).stages[1].status, "scheduled");
	assert_non_null(strstr(rig_rows(r).row.reason, "model_corrupt of devices/"));
	assert_non_null(strstr(rig_rows(r).row.reason, device));
	rig_commit(r);
	rig_kill(r);
	rig_steps(r, 5);
	assert_string_equal(rig_rows(r).stages[1].status, "scheduled");
	corrupt(r, device, ALERT_LEVEL_UNDER);
	rig_until(r, "finished", 200);
	free((char *)(uintptr_t)device);
}

static void others_hold_nothing(void **state)
{
	struct rig *r = *state;
	begin(r);
	const char *canary = a_canary(r);
	for (size_t i = 0; i < r->devices; i++) {
		const struct device_state *d = registry_find(r->f.w.s.registry, r->agents[i].id);
		struct deployment_row row;
		if (deployment_newest(r->f.w.s.rollouts->deployments, d->row, &row, r->f.w.c.arena, &r->f.w.fault) != ERR_OK || row.stage != 0)
			corrupt(r, r->agents[i].id, ALERT_LEVEL_OVER); /* not of this stage */
	}
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, unit_end(&r->f.w.s, alert_raise(rig_call(r), "device.silent", arena_printf(r->f.w.c.arena, "devices/%s", canary), ALERT_WARNING, "s",
		NULL), &r->f.w.fault)); /* not of that kind */
	rig_until(r, "finished", 200);
}

static void a_person_may_promote_it(void **state)
{
	struct rig *r = *state;
	begin(r);
	corrupt(r, a_canary(r), ALERT_LEVEL_OVER);
	rig_steps(r, 40);
	assert_string_equal(rig_rows(r).stages[1].status, "scheduled");
	rig_must(r, rig_act(r, ROLLOUT_DO_PROMOTE));
	rig_until(r, "finished", 200);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		CASE(an_alert_of_a_canary_holds_its_stage), CASE(others_hold_nothing), CASE(a_person_may_promote_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
