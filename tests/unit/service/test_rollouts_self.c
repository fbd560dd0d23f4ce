/* Rollouts whose devices are judged by their own past: nobody stays behind, and one stage may take everybody. */
#include "rollout_world.h"

#include "service/offload.h"
#include "service/rollout_self.h"

#define STAGES(stages) ",\"gates\":[{\"metric\":\"accuracy\"},{\"metric\":\"silence\"}],\"stages\":[" stages "]," \
	"\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"control\":\"self\",\"controls_max\":5}"
#define ALL STAGES("{\"percent\":100}")

static void has_past(struct rig *r, size_t devices, int seconds)
{
	rig_devices(r, devices);
	rig_steps(r, seconds);
}

static struct stage_row stage_of(struct rig *r, size_t stage)
{
	struct rollout_rows x = rig_rows(r);
	assert_true(stage < x.stage_count);
	return x.stages[stage];
}

static void everybody_gets_a_good_release_at_once(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, GOOD, ALL);
	assert_int_equal(rig_rows(r).stage_count, 1);
	assert_string_equal(rig_rows(r).row.guarantee, guarantee_name(GUARANTEE_STATIONARITY));
	rig_step(r);
	assert_int_equal(stage_of(r, 0).blocks, 8);
	assert_int_equal(stage_of(r, 0).controls, 5);
	assert_int_equal(rig_running(r, GOOD), 8);
	rig_until(r, "finished", 40);
	assert_string_equal(stage_of(r, 0).verdict, "pass");
	assert_int_equal(rig_running(r, GOOD), 8);
}

static void everybody_comes_back_from_a_bad_one(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, BAD, ALL);
	rig_until(r, "reverted", 40);
	assert_int_equal(rig_running(r, OLD), 8);
	char *looks = rig_looks(r);
	assert_non_null(strstr(looks, "\"canaries\":8,\"controls\":40"));
	assert_non_null(strstr(looks, "\"reports\":48")); /* the first one: a report of each, as if of its five earlier windows, too */
	assert_non_null(strstr(looks, "\"guarantee\":\"conditional on stationarity\""));
	assert_non_null(strstr(looks, "\"verdict\":\"revert\""));
	free(looks);
}

static void one_device_alone_may_be_judged_when_its_past_is_long(void **state)
{
	struct rig *r = *state;
	has_past(r, 1, 130);
	rig_create(r, BAD, ",\"soak_ms\":3000,\"gates\":[{\"metric\":\"accuracy\"}],\"stages\":[{\"percent\":100}],"
		"\"judge\":{\"alpha\":0.4,\"reports_planned\":3,\"control\":\"self\",\"controls_max\":40}");
	rig_until(r, "reverted", 30);
	assert_int_equal(rig_running(r, OLD), 1);
}

static char *looks_with_kills(struct rig *r, int every)
{
	for (int i = 0; strcmp(rig_status(r), "reverted") != 0; i++) {
		if (i == 60)
			fail_msg("%s (%s)", rig_status(r), rig_rows(r).row.reason);
		rig_step(r);
		if (every && i % every == 0)
			rig_kill(r);
	}
	return rig_looks(r);
}

static void a_kill_changes_no_p(void **state)
{
	char *looks[3];
	for (int i = 0; i < 3; i++) {
		struct rig *r = *state;
		has_past(r, 8, 70);
		rig_create(r, BAD, ALL);
		looks[i] = looks_with_kills(r, i == 0 ? 0 : 3 - i);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
	assert_string_equal(looks[1], looks[0]);
	assert_string_equal(looks[2], looks[0]);
	for (int i = 0; i < 3; i++)
		free(looks[i]);
}

/* ---- in pieces, with jobs that end later ---- */

struct port {
	struct offload offload; /* first */
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
	int taken;
};

static struct port port;

static enum err take_job(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct port *p = ctx;
	if (p->arg)
		return ERR_UNAVAILABLE;
	p->work = work;
	p->done = done;
	p->arg = arg;
	p->taken++;
	return ERR_OK;
}

static void run_job(void)
{
	void *arg = port.arg;
	port.arg = NULL;
	if (!arg)
		return;
	port.work(arg);
	port.done(arg);
}

static void make_large(struct rig *r)
{
	port = (struct port){.offload = {take_job, &port}};
	r->f.w.s.rollouts->small_cells = 0;
	r->f.w.s.rollouts->piece_ns = 0;
	r->f.w.s.offload = &port.offload;
}

/* A second whose jobs end in the next one. */
static void second(struct rig *r)
{
	bool more = true;
	run_job();
	r->f.w.c.now_ms += STEP_MS;
	for (int i = 0; more && i < 1000; i++) {
		rig_must(r, rollouts_tick(rig_call(r), &more));
		rig_commit(r);
	}
	rig_work(r);
	rig_commit(r);
	rig_telemetry(r);
	arena_reset(r->f.w.c.arena);
}

static void in_pieces_it_is_the_same(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, BAD, ALL);
	make_large(r);
	second(r);
	assert_int_equal(port.taken, 1); /* its past is measured */
	assert_string_equal(stage_of(r, 0).status, "scheduled");
	for (int i = 0; strcmp(rig_status(r), "reverted") != 0; i++) {
		assert_true(i < 60);
		second(r);
	}
	assert_true(port.taken > 2);
	assert_int_equal(rig_running(r, OLD), 8);
	run_job();
}

static void who_is_given_up_while_it_is_measured_leaves_nothing(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, BAD, ALL);
	make_large(r);
	second(r);
	assert_int_equal(port.taken, 1);
	rig_must(r, rig_act(r, ROLLOUT_DO_PAUSE));
	bool more = true;
	for (int i = 0; more && i < 1000; i++)
		rig_must(r, rollouts_tick(rig_call(r), &more)); /* gives it up; time stands still, the job is not over */
	run_job();
	assert_string_equal(stage_of(r, 0).status, "scheduled");
	assert_int_equal(rig_running(r, OLD), 8);
	rig_must(r, rig_act(r, ROLLOUT_DO_RESUME));
	for (int i = 0; strcmp(rig_status(r), "reverted") != 0; i++) {
		assert_true(i < 60);
		second(r);
	}
	run_job();
}

static void a_plan_is_freed_while_its_past_is_measured(void **state)
{
	struct rig *r = *state;
	const struct timebox box = {UINT64_MAX - 1};
	struct rollout_planning *plan;
	struct rollout_request q;
	struct json *root = NULL;
	const char text[] = "{\"name\":\"r\",\"release\":\"good\"" ALL "}";
	bool is_done = false;
	has_past(r, 8, 70);
	make_large(r);
	for (int i = 0; i < 2; i++) {
		rig_must(r, json_parse(text, strlen(text), &root, &r->f.w.fault));
		rollout_request_init(&q);
		q.soak_ms = 10000;
		rig_must(r, json_bind(rollout_request_fields, root, &q, r->f.w.c.arena, &r->f.w.fault));
		json_free(root);
		rig_must(r, rollouts_plan_new(rig_call(r), &q, true, &plan));
		for (int k = 0; k < 5 && !is_done; k++)
			rig_must(r, rollouts_plan_step(rig_call(r), plan, &box, &is_done));
		assert_false(is_done);
		if (i == 0) {
			rollouts_plan_free(plan);
			run_job();
		}
	}
	run_job();
	rig_must(r, rollouts_plan_step(rig_call(r), plan, &box, &is_done));
	assert_true(is_done);
	struct buf out = BUF_INIT;
	int64_t id;
	rig_must(r, rollouts_plan_finish(rig_call(r), plan, &out, &id));
	assert_non_null(strstr(buf_cstr(&out), "\"self\":{\"window_ms\":10000,\"windows\":5,\"devices\":8,\"without_windows\":0}"));
	assert_non_null(strstr(buf_cstr(&out), "\"guarantee\":\"conditional on stationarity\""));
	buf_done(&out);
	rollouts_plan_free(plan);
}

static void nobody_stays_behind_as_a_control(void **state)
{
	struct rig *r = *state;
	has_past(r, 60, 70);
	rig_create(r, GOOD, STAGES("{\"percent\":40},{\"percent\":100}"));
	rig_step(r);
	assert_int_equal(stage_of(r, 0).blocks, 24);
	assert_int_equal(rig_running(r, GOOD), 24);
	assert_int_equal(rig_rows(r).stage_count, 2); /* no holdback */
	rig_until(r, "finished", 80);
	assert_int_equal(stage_of(r, 1).blocks, 36);
	assert_string_equal(stage_of(r, 1).verdict, "pass");
	assert_int_equal(rig_running(r, GOOD), 60);
}

static void who_has_no_past_is_told_and_gets_the_release(void **state)
{
	struct rig *r = *state;
	char text[] = ",\"gates\":[{\"metric\":\"accuracy\"}],\"stages\":[{\"percent\":100}],\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"control\":\"self\",\"controls_max\":5}";
	has_past(r, 8, 70);
	rig_devices(r, 2);
	rig_steps(r, 5); /* enough for a baseline, not for a window of ten seconds */
	rig_create(r, GOOD, text);
	rig_step(r);
	assert_int_equal(stage_of(r, 0).blocks, 8);
	assert_int_equal(rig_running(r, GOOD), 10);
	rig_until(r, "finished", 40);
}

static void silent_ones_stop_it(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, GOOD, ALL);
	for (size_t i = 0; i < r->devices; i++)
		r->agents[i].habit = TELLS_NOTHING;
	rig_until(r, "reverting", 60);
	assert_string_equal(stage_of(r, 0).verdict, "revert");
}

static void refuses(struct rig *r, const char *rest, const char *pointer)
{
	assert_string_equal(err_name(rig_try_create(r, GOOD, rest)), "INVALID");
	assert_string_equal(r->f.w.fault.pointer, pointer);
}

static void what_makes_no_sense_is_refused(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 9); /* a window is ten seconds long */
	refuses(r, ALL, "/judge/control");
	refuses(r, ",\"judge\":{\"control\":\"self\"}", "/judge/control");
	refuses(r, ",\"gates\":[{\"metric\":\"accuracy\"}],\"judge\":{\"control\":\"self\",\"interference\":true}", "/judge/interference");
	refuses(r, ",\"gates\":[{\"metric\":\"accuracy\"}],\"judge\":{\"control\":\"self\",\"sham\":true}", "/judge/sham");
	refuses(r, ",\"gates\":[{\"metric\":\"accuracy\"}],\"unit_attribute\":\"site\",\"judge\":{\"control\":\"self\"}", "/unit_attribute");
	refuses(r, ",\"gates\":[{\"metric\":\"accuracy\"}],\"soak_ms\":5000,\"judge\":{\"control\":\"self\",\"warmup_ms\":5000}", "/soak_ms");
	rig_steps(r, 30);
	refuses(r, ",\"gates\":[{\"metric\":\"accuracy\"}],\"stages\":[{\"count\":1}],\"judge\":{\"control\":\"self\",\"alpha\":0.01}", "/stages/0");
}

static void named_devices_have_the_same_guarantee(void **state)
{
	struct rig *r = *state;
	has_past(r, 8, 70);
	rig_create(r, BAD, STAGES("{\"count\":6},{\"percent\":100}") ",\"devices\":[\"dev-1\",\"dev-2\",\"dev-3\",\"dev-4\",\"dev-5\",\"dev-6\"]");
	assert_string_equal(rig_rows(r).row.guarantee, guarantee_name(GUARANTEE_STATIONARITY));
	rig_step(r);
	assert_int_equal(stage_of(r, 0).blocks, 6);
	assert_string_equal(r->agents[6].runs, OLD);
	rig_until(r, "reverted", 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everybody_gets_a_good_release_at_once),
		TEST(everybody_comes_back_from_a_bad_one),
		TEST(one_device_alone_may_be_judged_when_its_past_is_long),
		TEST(a_kill_changes_no_p),
		TEST(in_pieces_it_is_the_same),
		TEST(who_is_given_up_while_it_is_measured_leaves_nothing),
		TEST(a_plan_is_freed_while_its_past_is_measured),
		TEST(nobody_stays_behind_as_a_control),
		TEST(who_has_no_past_is_told_and_gets_the_release),
		TEST(silent_ones_stop_it),
		TEST(what_makes_no_sense_is_refused),
		TEST(named_devices_have_the_same_guarantee),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
