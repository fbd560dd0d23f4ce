/* Stages in shadow, and shams: what devices are told, what is judged, and that nothing of it stays. */
#include "rollout_world.h"

/* What an agent does beside its work. */
struct shadows {
	int64_t deployment[DEVICES_MAX];
	int attempt[DEVICES_MAX];
	const char *runs[DEVICES_MAX]; /* in shadow; NULL: nothing */
	bool fails[DEVICES_MAX];       /* cannot bring it to run */
	int64_t seen_rev[DEVICES_MAX]; /* a document is fetched when its number is new */
	bool has_hard_times;           /* between the reports with both, each sends one without, of inputs on which nobody is right */
	int64_t ran;                   /* times that some device began one */
};
static struct shadows shadows;

static void say_can_shadow(struct rig *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		rig_report(r, &r->agents[i], ",\"capabilities\":{\"shadow\":true}");
	rig_commit(r);
}

static void shadow_report(struct rig *r, size_t i, const char *state)
{
	char rest[160];
	snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":%d,\"state\":\"%s\"}", (long long)shadows.deployment[i],
		shadows.attempt[i], state);
	rig_report(r, &r->agents[i], rest);
}

static void shadow_work(struct rig *r)
{
	static const char *const names[] = {OLD, GOOD, BAD};
	for (size_t i = 0; i < r->devices; i++) {
		struct agent *a = &r->agents[i];
		struct desired_target t;
		struct device_state *d = registry_find(r->f.w.s.registry, a->id);
		if (a->habit == IS_AWAY || d == NULL)
			continue;
		if (d->desired_rev == shadows.seen_rev[i])
			continue;
		shadows.seen_rev[i] = d->desired_rev;
		rig_must(r, rollouts_desired(rig_call(r), d->row, &t));
		assert_false(t.shadow.release && t.has_deployment); /* a device has one or the other */
		if (!t.shadow.release) {
			shadows.runs[i] = NULL;
			continue;
		}
		if (t.shadow.deployment == shadows.deployment[i] && t.shadow.attempt == shadows.attempt[i])
			continue;
		assert_true(d->can_shadow);
		struct release_row release;
		rig_must(r, releases_get(rig_call(r), t.shadow.release, &release));
		shadows.deployment[i] = t.shadow.deployment;
		shadows.attempt[i] = t.shadow.attempt;
		shadow_report(r, i, shadows.fails[i] ? "failed" : "succeeded");
		for (size_t k = 0; k < 3 && !shadows.fails[i]; k++)
			if (strcmp(names[k], release.name) == 0)
				shadows.runs[i] = names[k];
		shadows.ran += !shadows.fails[i];
	}
}

/* Both versions on the same inputs: what the inputs do to one, they do to the other. */
static void shadow_telemetry(struct rig *r)
{
	for (size_t i = 0; i < r->devices; i++) {
		struct agent *a = &r->agents[i];
		char json[400], beside[160] = "";
		if (a->habit == IS_AWAY || a->habit == TELLS_NOTHING)
			continue;
		int64_t n = ++a->telemetry_seq;
		int64_t inputs = 44 + (a->id[4] * 7 + a->id[5] * 3 + n * 5) % 5;
		if (shadows.runs[i])
			snprintf(beside, sizeof beside, ",\"shadow\":{\"id\":\"d-%lld\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%lld}}}",
				(long long)shadows.deployment[i], (long long)(inputs - (shadows.runs[i] == (const char *)BAD ? 12 : n * 7 % 3 == 0)));
		snprintf(json, sizeof json,
			"{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%lld}}%s}",
			(long long)n, a->runs, (long long)(inputs - (a->runs == (const char *)BAD ? 12 : n * 11 % 3 == 0)), beside);
		fleet_telemetry(&r->f, a->id, json);
		if (!shadows.has_hard_times || !shadows.runs[i])
			continue;
		snprintf(json, sizeof json,
			"{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":{\"accuracy\":{\"n\":500,\"k\":5}}}",
			(long long)++a->telemetry_seq, a->runs);
		fleet_telemetry(&r->f, a->id, json);
	}
	if (telemetry_pending(r->f.w.s.telemetry) > 0)
		fleet_settle(&r->f);
}

static void step(struct rig *r)
{
	rig_tick(r);
	rig_commit(r);
	rig_work(r);
	shadow_work(r);
	rig_commit(r);
	shadow_telemetry(r);
	arena_reset(r->f.w.c.arena);
}

static void until(struct rig *r, const char *status, int steps)
{
	while (strcmp(rig_status(r), status) != 0) {
		if (steps-- == 0)
			fail_msg("is %s (%s), not %s", rig_status(r), rig_rows(r).row.reason, status);
		step(r);
	}
}

static const char *stage_status(struct rig *r, size_t stage)
{
	return rig_rows(r).stages[stage].status;
}

static void until_stage(struct rig *r, size_t stage, const char *status, int steps)
{
	while (strcmp(stage_status(r, stage), status) != 0) {
		if (steps-- == 0)
			fail_msg("stage %zu is %s (%s), not %s", stage, stage_status(r, stage), rig_rows(r).row.reason, status);
		step(r);
	}
}

/* The server alone: devices have not seen yet what they are to do. */
static void tick_until_running(struct rig *r)
{
	for (int i = 0; strcmp(stage_status(r, 0), "running") != 0; i++) {
		assert_true(i < 20);
		rig_tick(r);
		rig_commit(r);
	}
}

static size_t running_shadows(struct rig *r)
{
	size_t count = 0;
	for (size_t i = 0; i < r->devices; i++)
		count += shadows.runs[i] != NULL;
	return count;
}

static void settle(struct rig *r, size_t devices, size_t able, int baseline)
{
	shadows = (struct shadows){0};
	rig_devices(r, devices);
	say_can_shadow(r, 0, able);
	while (baseline-- > 0)
		step(r);
}

#define JUDGE ",\"gates\":[{\"metric\":\"silence\"},{\"metric\":\"accuracy\"}],\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3}"
#define STAGES ",\"stages\":[{\"mode\":\"shadow\",\"count\":20},{\"percent\":20},{\"percent\":100}]"

static void a_bad_version_is_found_in_shadow(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	rig_create(r, BAD, JUDGE STAGES);
	until_stage(r, 0, "running", 5);
	assert_int_equal(rig_count(r, DEPLOYMENT_OFFERED) + rig_count(r, DEPLOYMENT_WAITING) + rig_count(r, DEPLOYMENT_SUCCEEDED), 20);
	until(r, "reverted", 100);
	assert_true(shadows.ran >= 20);
	step(r);
	assert_int_equal(running_shadows(r), 0);
	assert_int_equal(rig_running(r, OLD), 60);
	for (size_t i = 0; i < r->devices; i++) {
		assert_int_equal(r->agents[i].deployment, 0); /* no device was ever told to install it, nor to go back */
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
	}
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), 20);
	assert_true(rig_fires(r, "gate.verdict") || strstr(rig_rows(r).row.reason, "in shadow"));
	assert_non_null(strstr(rig_rows(r).row.reason, "in shadow"));
	char *looks = rig_looks(r);
	assert_non_null(strstr(looks, "\"gate\":1")); /* the place in the request, though silence is not judged */
	assert_null(strstr(looks, "\"gate\":0"));
	assert_non_null(strstr(looks, guarantee_name(GUARANTEE_SHADOW)));
	free(looks);
}

static void a_good_version_passes_and_goes_live(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	rig_create(r, GOOD, JUDGE STAGES);
	for (int i = 0; i < 100 && strcmp(stage_status(r, 0), "finished") != 0; i++) {
		assert_int_equal(rig_running(r, GOOD), 0);
		step(r);
	}
	assert_string_equal(rig_rows(r).stages[0].verdict, "pass");
	assert_string_equal(stage_status(r, 1), "running");
	assert_int_equal(running_shadows(r), 0); /* let go before anybody got it */
	assert_true(rig_running(r, GOOD) > 0);
	until(r, "finished", 300);
	assert_int_equal(rig_running(r, GOOD), 60); /* also those who had it in shadow */
	uint32_t counts[DEPLOYMENT_STATUS_COUNT];
	rig_must(r, deployment_counts(r->f.w.s.rollouts->deployments, r->rollout, 0, counts, &r->f.w.fault));
	assert_int_equal(counts[DEPLOYMENT_SUCCEEDED], 20);
}

/* What only one of the versions measured says nothing about the other. */
static void only_pairs_count(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	shadows.has_hard_times = true;
	rig_create(r, BAD, JUDGE STAGES);
	until(r, "reverted", 100);
	assert_string_equal(rig_rows(r).stages[0].verdict, "revert"); /* not on the canary, later */
	assert_int_equal(rig_rows(r).stages[1].started_at, 0);
}

static void only_who_can_is_chosen(void **state)
{
	struct rig *r = *state;
	settle(r, 40, 12, 10);
	rig_create(r, GOOD, JUDGE STAGES);
	assert_int_equal(rig_rows(r).stages[0].planned, 12);
	until_stage(r, 0, "running", 5);
	step(r);
	assert_int_equal(running_shadows(r), 12); /* shadow_work asserts that each is able */
	until(r, "finished", 300);
	assert_int_equal(rig_running(r, GOOD), 40);
}

static void too_few_who_can_are_refused(void **state)
{
	struct rig *r = *state;
	settle(r, 40, 0, 10);
	assert_int_equal(rig_try_create(r, GOOD, JUDGE STAGES), ERR_INVALID);
	assert_string_equal(r->f.w.fault.pointer, "/stages/0/mode");
	say_can_shadow(r, 0, 2); /* a coin that falls twice proves nothing */
	assert_int_equal(rig_try_create(r, GOOD, JUDGE STAGES), ERR_INVALID);
	assert_string_equal(r->f.w.fault.pointer, "/stages/0");
	rig_report(r, &r->agents[0], ",\"capabilities\":{\"shadow\":1}");
	rig_commit(r);
	assert_false(registry_find(r->f.w.s.registry, r->agents[0].id)->can_shadow);
	assert_true(registry_find(r->f.w.s.registry, r->agents[1].id)->can_shadow);
	rig_kill(r);
	assert_false(registry_find(r->f.w.s.registry, r->agents[0].id)->can_shadow);
	assert_true(registry_find(r->f.w.s.registry, r->agents[1].id)->can_shadow);
}

static void a_kill_in_the_middle_loses_nothing(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	rig_create(r, BAD, JUDGE STAGES);
	for (int i = 0; strcmp(rig_status(r), "reverted") != 0 && i < 120; i++) {
		step(r);
		rig_kill(r);
	}
	assert_string_equal(rig_status(r), "reverted");
	step(r);
	assert_int_equal(running_shadows(r), 0);
	assert_int_equal(rig_running(r, OLD), 60);
}

static void a_shadow_that_crashes_is_tried_again_and_then_failed(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	rig_create(r, GOOD, JUDGE STAGES ",\"retries\":1,\"soak_ms\":600000");
	until_stage(r, 0, "baking", 30);
	size_t i = 0;
	while (!shadows.runs[i])
		i++;
	int64_t first = shadows.deployment[i];
	shadow_report(r, i, "failed");
	rig_commit(r);
	assert_int_equal(rig_deployment(r, r->agents[i].id).attempt, 2);
	step(r);
	step(r);
	assert_ptr_equal(shadows.runs[i], GOOD); /* the second attempt of the same deployment */
	assert_int_equal(shadows.deployment[i], first);
	shadow_report(r, i, "failed");
	rig_commit(r);
	assert_int_equal(rig_deployment(r, r->agents[i].id).state, DEPLOYMENT_FAILED);
	step(r);
	assert_null(shadows.runs[i]); /* the document does not have it any more */
	assert_true(rig_fires(r, "install.failed"));
}

static void an_operator_ends_it(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 50, 10);
	rig_create(r, GOOD, JUDGE STAGES ",\"soak_ms\":600000");
	until_stage(r, 0, "baking", 30);
	assert_int_equal(running_shadows(r), 20);
	rig_must(r, rig_act(r, ROLLOUT_DO_ABORT));
	until(r, "stopped", 20);
	step(r);
	assert_int_equal(running_shadows(r), 0);
	shadow_report(r, 0, "succeeded"); /* words that come late count for nothing */
	for (size_t i = 0; i < r->devices; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
	rig_create(r, GOOD, JUDGE STAGES); /* and they are free for another one */
	until(r, "finished", 300);
}

static void expect(struct rig *r, const char *rest, const char *pointer)
{
	assert_int_equal(rig_try_create(r, GOOD, rest), ERR_INVALID);
	if (strcmp(r->f.w.fault.pointer, pointer) != 0)
		fail_msg("%s: %s, not %s", r->f.w.fault.pointer, r->f.w.fault.detail, pointer);
}

static void requests_that_cannot_work_are_refused(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 60, 10);
	expect(r, JUDGE ",\"stages\":[{\"mode\":\"shadow\",\"count\":20}]", "/stages");
	expect(r, JUDGE ",\"stages\":[{\"percent\":20},{\"mode\":\"shadow\",\"count\":20},{\"percent\":100}]", "/stages/1/mode");
	expect(r, ",\"stages\":[{\"mode\":\"shadow\",\"count\":20},{\"percent\":20},{\"percent\":100}]", "/stages/0/mode");
	expect(r, ",\"gates\":[{\"metric\":\"silence\"}],\"stages\":[{\"mode\":\"shadow\",\"count\":20},{\"percent\":20},{\"percent\":100}]",
		"/stages/0/mode");
	expect(r, ",\"judge\":{\"sham\":true}", "/judge/sham");
	/* a share of a shadow stage is one of its own */
	rig_create(r, GOOD, JUDGE ",\"stages\":[{\"mode\":\"shadow\",\"percent\":50},{\"percent\":20},{\"percent\":100}]");
	assert_int_equal(rig_rows(r).stages[0].planned, 30);
	assert_int_equal(rig_rows(r).stages[1].planned, 12);
	assert_string_equal(rig_rows(r).stages[0].name, "shadow");
	assert_string_equal(rig_rows(r).stages[1].name, "canary");
	assert_true(rig_rows(r).stages[0].is_shadow && !rig_rows(r).stages[1].is_shadow);
}

/* ---- shams ---- */

#define SHAM ",\"gates\":[{\"metric\":\"accuracy\"}],\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3,\"sham\":true}," \
	"\"stages\":[{\"percent\":20},{\"percent\":100}]"

static struct agent *agent_of(struct rig *r, int64_t device)
{
	for (size_t i = 0; i < r->devices; i++)
		if (strcmp(registry_by_row(r->f.w.s.registry, device)->id, r->agents[i].id) == 0)
			return &r->agents[i];
	return NULL;
}

static void controls_install_what_they_run(void **state)
{
	struct rig *r = *state;
	struct block_row *rows;
	size_t count, controls = 0;
	settle(r, 60, 0, 10);
	rig_create(r, GOOD, SHAM);
	until_stage(r, 0, "baking", 30);
	struct rollout_rows x = rig_rows(r);
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	for (size_t i = 0; i < count; i++) {
		struct agent *a = agent_of(r, rows[i].device);
		struct deployment_row d = rig_deployment(r, a->id);
		assert_int_equal(d.kind, rows[i].is_canary ? DEPLOYMENT_INSTALL : DEPLOYMENT_SHAM);
		assert_int_equal(d.state, DEPLOYMENT_SUCCEEDED);
		assert_string_equal(a->runs, rows[i].is_canary ? GOOD : OLD);
		if (!rows[i].is_canary)
			assert_true(a->counter > 1); /* a manifest signed anew: it was an install */
		assert_true(rows[i].t0 > 0);
		controls += !rows[i].is_canary;
	}
	assert_true(controls > 0);
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), x.stages[0].planned < 12 ? x.stages[0].planned : 12); /* shams are not counted */
	until(r, "finished", 300);
	assert_int_equal(rig_running(r, GOOD), 60); /* the controls were free for the next stage */
}

static void a_block_begins_when_its_shams_are_done(void **state)
{
	struct rig *r = *state;
	struct block_row *rows;
	size_t count;
	settle(r, 60, 0, 10);
	rig_create(r, GOOD, SHAM ",\"retries\":0");
	tick_until_running(r);
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	int64_t block = rows[0].block, late = 0, gone = 0;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].block == block && !rows[i].is_canary)
			late = rows[i].device;
		if (rows[i].block != block && !rows[i].is_canary && !gone)
			gone = rows[i].device;
	}
	int64_t gone_block = block;
	for (size_t i = 0; i < count; i++)
		if (rows[i].device == gone)
			gone_block = rows[i].block;
	agent_of(r, late)->habit = ONLY_ACCEPTS;
	agent_of(r, gone)->habit = ONLY_ACCEPTS;
	for (int i = 0; i < 5; i++)
		step(r);
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	for (size_t i = 0; i < count; i++)
		assert_int_equal(rows[i].t0 > 0, rows[i].block != block && rows[i].block != gone_block);
	/* one is deleted: nobody waits for it any more */
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	struct buf what = BUF_INIT;
	rig_must(r, unit_end(&r->f.w.s, rollouts_forget_device(rig_call(r), gone, &what), &r->f.w.fault));
	buf_done(&what);
	rig_commit(r);
	/* the other one is given up after its attempt */
	for (int i = 0; i < 25; i++)
		step(r);
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	for (size_t i = 0; i < count; i++)
		assert_true(rows[i].t0 > 0);
	assert_false(rig_fires(r, "install.failed")); /* nobody has to look at a sham */
}

/* Every canary fails, so nothing has to go back and the rollout is over at once: whoever is still at it is told. */
static void a_sham_that_takes_long_is_let_go_at_the_end(void **state)
{
	struct rig *r = *state;
	struct block_row *rows;
	size_t count;
	int64_t slow = 0;
	settle(r, 60, 0, 10);
	rig_create(r, GOOD, SHAM ",\"retries\":0");
	tick_until_running(r);
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	for (size_t i = 0; i < count; i++) {
		agent_of(r, rows[i].device)->habit = rows[i].is_canary ? FAILS : ONLY_ACCEPTS;
		slow = rows[i].is_canary ? slow : rows[i].device;
	}
	until(r, "reverted", 10); /* before any attempt times out */
	struct desired_target t;
	assert_int_equal(rig_deployment(r, agent_of(r, slow)->id).state, DEPLOYMENT_CANCELLED);
	rig_must(r, rollouts_desired(rig_call(r), slow, &t));
	assert_false(t.has_deployment);
	assert_int_equal(registry_by_row(r->f.w.s.registry, slow)->deployment, 0);
}

static void a_revert_lets_shams_go(void **state)
{
	struct rig *r = *state;
	settle(r, 60, 0, 10);
	rig_create(r, BAD, SHAM);
	until(r, "reverted", 100);
	assert_int_equal(rig_running(r, OLD), 60);
	for (size_t i = 0; i < r->devices; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(a_bad_version_is_found_in_shadow), T(a_good_version_passes_and_goes_live), T(only_who_can_is_chosen), T(too_few_who_can_are_refused),
		T(only_pairs_count), T(a_kill_in_the_middle_loses_nothing), T(a_shadow_that_crashes_is_tried_again_and_then_failed), T(an_operator_ends_it),
		T(requests_that_cannot_work_are_refused), T(controls_install_what_they_run), T(a_block_begins_when_its_shams_are_done),
		T(a_sham_that_takes_long_is_let_go_at_the_end), T(a_revert_lets_shams_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
