/* Rollouts and their judge: blocks, looks, ends of the bake; kills and undone work between any two ticks. */
#include "rollout_world.h"

enum accident { KILL_AFTER_COMMIT, KILL_BEFORE_COMMIT, UNDO };

static void tick_with(struct rig *r, enum accident accident)
{
	if (accident == UNDO) { /* the whole tick is part of a unit that fails */
		rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
		rig_tick(r);
		assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
		return;
	}
	rig_tick(r);
	if (accident == KILL_BEFORE_COMMIT)
		rig_kill(r);
}

static void runs_through(struct rig *r, const char *end, int every, int offset, enum accident accident)
{
	for (int i = 0; strcmp(rig_status(r), end) != 0; i++) {
		bool is_hit = i % every == offset;
		if (i == 150)
			fail_msg("%d, every %d from %d: %s (%s), not %s", accident, every, offset, rig_status(r), rig_rows(r).row.reason, end);
		if (is_hit)
			tick_with(r, accident);
		else
			rig_tick(r);
		rig_commit(r);
		rig_work(r);
		rig_commit(r);
		if (is_hit && accident == KILL_AFTER_COMMIT)
			rig_kill(r);
		rig_telemetry(r);
	}
}

static void ends_the_same(void **state, const char *release, const char *end, const char *runs)
{
	static const struct {
		int every, offset;
		enum accident accident;
	} plans[] = {{1, 0, KILL_AFTER_COMMIT}, {2, 0, KILL_BEFORE_COMMIT}, {2, 1, KILL_BEFORE_COMMIT}, {3, 2, KILL_BEFORE_COMMIT},
		{2, 0, UNDO}, {3, 1, UNDO}};
	for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
		struct rig *r = *state;
		rig_devices(r, 40);
		rig_steps(r, 8);
		rig_create(r, release, GATE);
		runs_through(r, end, plans[i].every, plans[i].offset, plans[i].accident);
		assert_int_equal(rig_running(r, runs), 40);
		bool is_back = strcmp(end, "reverted") == 0;
		assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), is_back ? 8 : 0);
		assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), is_back ? 0 : 40);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
}

static void a_good_release_arrives_whatever_happens_to_the_server(void **state)
{
	ends_the_same(state, GOOD, "finished", GOOD);
}

static void a_bad_release_is_reverted_whatever_happens_to_the_server(void **state)
{
	ends_the_same(state, BAD, "reverted", OLD);
}

/* ---- the same p ---- */

static char *looks_of_a_copy(struct rig *r, const char *copy, bool backwards, int kill_at)
{
	char command[200];
	rig_kill(r); /* closes the files */
	struct rig *twin = calloc(1, sizeof *twin);
	assert_non_null(twin);
	*twin = *r;
	memset(&twin->f.w.s, 0, sizeof twin->f.w.s);
	snprintf(command, sizeof command, "cp -r %s %s", r->f.w.dir, copy);
	assert_int_equal(system(command), 0);
	snprintf(twin->f.w.dir, sizeof twin->f.w.dir, "%s", copy);
	snprintf(twin->f.w.path, sizeof twin->f.w.path, "%s/fleet.db", copy);
	snprintf(twin->f.telemetry_path, sizeof twin->f.telemetry_path, "%s/telemetry.db", copy);
	int64_t now_ms = r->f.w.c.now_ms;
	world_start(&twin->f.w);
	rig_open(twin);
	twin->f.w.c.now_ms = now_ms;
	twin->backwards = backwards;
	for (int i = 0; i < 12; i++) {
		rig_telemetry(twin);
		if (i == kill_at)
			rig_kill(twin);
		rig_tick(twin);
		rig_commit(twin);
	}
	char *looks = rig_looks(twin);
	void *state = twin;
	assert_int_equal(rig_teardown(&state), 0);
	return looks;
}

static void order_of_reports_and_restarts_do_not_change_a_bit(void **state)
{
	struct rig *r = *state;
	char copy[100];
	snprintf(copy, sizeof copy, "%s-copy", r->f.w.dir);
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, GATE ",\"soak_ms\":60000");
	rig_steps(r, 2);
	char *forwards = looks_of_a_copy(r, copy, false, -1);
	assert_non_null(strstr(forwards, "\"look\":4"));
	char *backwards = looks_of_a_copy(r, copy, true, -1);
	char *restarted = looks_of_a_copy(r, copy, true, 5);
	assert_string_equal(forwards, backwards);
	assert_string_equal(forwards, restarted);
	free(forwards);
	free(backwards);
	free(restarted);
}

/* ---- ends of the bake ---- */

#define UNCLEAR(then)                                                                                                  \
	",\"gates\":[{\"metric\":\"accuracy\"}],\"stages\":[{\"percent\":20},{\"percent\":100}],"                             \
	"\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3,\"on_inconclusive\":\"" then "\"}"

/* The stage begins; its canaries tell nothing about themselves, so that nobody can say how they do. */
static void begin_unclear(struct rig *r)
{
	for (size_t i = 0; i < r->devices; i++)
		r->agents[i].habit = TELLS_NOTHING;
	rig_step(r);
	for (size_t i = 0; i < r->devices; i++)
		if (strcmp(r->agents[i].runs, GOOD) != 0)
			r->agents[i].habit = WORKS;
}

static void everybody_talks_again(struct rig *r)
{
	for (size_t i = 0; i < r->devices; i++)
		r->agents[i].habit = WORKS;
}

static void an_unclear_end_extends_the_bake_once(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		struct rig *r = *state;
		rig_devices(r, 40);
		rig_steps(r, 8);
		rig_create(r, GOOD, i == 0 ? UNCLEAR("promote") : UNCLEAR("revert"));
		begin_unclear(r);
		while (rig_rows(r).stages[0].baking_at == 0)
			rig_step(r);
		rig_steps(r, 12);
		assert_int_equal(rig_rows(r).stages[0].extension, 1);
		assert_string_equal(rig_rows(r).stages[0].verdict, "continue");
		assert_string_equal(rig_status(r), "running");
		assert_string_equal(rig_rows(r).stages[0].status, "baking");
		if (i == 0)
			rig_kill(r); /* the end that was judged is not judged again */
		rig_steps(r, 4);
		assert_int_equal(rig_rows(r).stages[0].extension, 1);
		rig_steps(r, 6);
		assert_int_equal(rig_rows(r).stages[0].extension, 1);
		assert_string_equal(rig_rows(r).stages[0].verdict, "inconclusive");
		assert_string_not_equal(rig_rows(r).stages[0].status, "baking");
		everybody_talks_again(r);
		rig_until(r, i == 0 ? "finished" : "reverted", 200);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
}

static void an_unclear_end_waits_for_a_person(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, UNCLEAR("hold"));
	begin_unclear(r);
	rig_steps(r, 30);
	int64_t got = rig_running(r, GOOD);
	assert_string_equal(rig_rows(r).stages[0].verdict, "inconclusive");
	assert_true(rig_fires(r, "gate.verdict"));
	rig_kill(r);
	everybody_talks_again(r);
	rig_steps(r, 20); /* looks go on; what was unclear at the end is not made clear by looking more often */
	assert_string_equal(rig_rows(r).stages[0].verdict, "inconclusive");
	assert_int_equal(rig_running(r, GOOD), got);
	assert_int_equal(rig_act(r, ROLLOUT_DO_PROMOTE), ERR_OK);
	assert_false(rig_fires(r, "gate.verdict"));
	rig_steps(r, 3);
	assert_true(rig_running(r, GOOD) > got);
}

/* ---- who is judged ---- */

static void devices_of_a_block_may_be_deleted(void **state)
{
	struct rig *r = *state;
	struct buf out = BUF_INIT;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, BAD, GATE);
	rig_steps(r, 2);
	struct block_row *rows;
	size_t count;
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	int deleted = 0;
	bool had_canary = false, had_control = false;
	for (size_t i = 0; i < count; i++) {
		bool *had = rows[i].is_canary ? &had_canary : &had_control;
		if (*had)
			continue;
		*had = true;
		deleted++;
		struct device_state *d = registry_by_row(r->f.w.s.registry, rows[i].device);
		for (size_t k = 0; k < r->devices; k++)
			if (strcmp(r->agents[k].id, d->id) == 0) {
				r->agents[k].runs = "";
				r->agents[k].habit = IS_AWAY;
			}
		DO(&r->f.w, registry_delete(rig_call(r), d, true, 0, NULL));
	}
	assert_int_equal(deleted, 2);
	rig_commit(r);
	rig_until(r, "reverted", 60);
	assert_int_equal(rig_running(r, OLD), 38);
	json_open_array(&out);
	const char *next = NULL;
	size_t pages = 0;
	do {
		rig_must(r, rollouts_blocks(rig_call(r), r->rollout, 0, next, 7, &out, &next));
		pages++;
	} while (next);
	assert_in_range(pages, 5, 6); /* 38 members */
	json_close_array(&out);
	buf_done(&out);
}

static void devices_that_share_fate_are_judged_as_one(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 80);
	for (size_t i = 0; i < 80; i++) {
		char gateway[16];
		snprintf(gateway, sizeof gateway, "g%zu", i / 4 * 2 + i % 2); /* two of the same hardware */
		struct device_attribute a = {"gateway", gateway};
		struct device_spec change = {.attributes = &a, .attribute_count = 1};
		DO(&r->f.w, registry_update(rig_call(r), registry_find(r->f.w.s.registry, r->agents[i].id), &change, 0));
	}
	rig_steps(r, 8);
	rig_create(r, BAD, GATE ",\"unit_attribute\":\"gateway\"");
	rig_step(r);
	int64_t canaries = rig_running(r, BAD);
	assert_true(canaries > rig_rows(r).stages[0].blocks);
	rig_kill(r);
	rig_until(r, "reverted", 60);
	assert_int_equal(rig_running(r, OLD), 80);
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), canaries);
}

static void a_stage_waits_for_devices_that_can_be_compared(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, GATE);
	for (size_t i = 0; i < 40; i++)
		registry_set_online(r->f.w.s.registry, registry_find(r->f.w.s.registry, r->agents[i].id), false, r->f.w.c.now_ms);
	rig_tick(r);
	rig_commit(r);
	assert_non_null(strstr(rig_rows(r).row.reason, "waits for devices"));
	assert_string_equal(rig_rows(r).stages[0].status, "scheduled");
	for (size_t i = 0; i < 40; i++)
		registry_set_online(r->f.w.s.registry, registry_find(r->f.w.s.registry, r->agents[i].id), true, r->f.w.c.now_ms);
	rig_steps(r, 8);
	assert_int_equal(rig_running(r, GOOD), 8);
}

static void late_canaries_are_retried_while_the_next_stage_waits(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	r->f.w.c.now_ms += 1;
	rig_create(r, GOOD, GATE ",\"success\":{\"percent\":20},\"error\":{\"percent\":100}");
	rig_tick(r);
	rig_commit(r);
	for (size_t i = 0, slow = 0; i < 40 && slow < 3; i++) { /* whoever was drawn */
		struct desired_target t;
		rig_must(r, rollouts_desired(rig_call(r), registry_find(r->f.w.s.registry, r->agents[i].id)->row, &t));
		r->agents[i].habit = t.has_deployment ? ONLY_ACCEPTS : WORKS;
		slow += t.has_deployment;
	}
	rig_work(r);
	rig_commit(r);
	while (strcmp(rig_rows(r).stages[0].status, "finished") != 0 && r->f.w.c.now_ms < NOW + 60000) {
		for (size_t i = 0; i < 40; i++)
			if (strcmp(r->agents[i].runs, OLD) == 0)
				registry_set_online(r->f.w.s.registry, registry_find(r->f.w.s.registry, r->agents[i].id), false, r->f.w.c.now_ms);
		rig_step(r);
	}
	assert_string_equal(rig_rows(r).stages[0].status, "finished");
	assert_null(rig_rows(r).live->judged);
	assert_int_equal(rig_count(r, DEPLOYMENT_DOWNLOADING), 3);
	everybody_talks_again(r);
	for (int i = 0; i < 25; i++) {
		for (size_t k = 0; k < 40; k++)
			registry_set_online(r->f.w.s.registry, registry_find(r->f.w.s.registry, r->agents[k].id), false, r->f.w.c.now_ms);
		rig_tick(r);
		rig_commit(r);
		rig_work(r);
		rig_commit(r);
	}
	assert_string_equal(rig_rows(r).stages[1].status, "scheduled");
	assert_non_null(strstr(rig_rows(r).row.reason, "waits for devices"));
	assert_int_equal(rig_count(r, DEPLOYMENT_DOWNLOADING), 0); /* their time was out, and the second attempt did it */
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 8);
}

static void named_canaries_that_are_gone_are_waited_for(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	rig_create(r, GOOD, ",\"devices\":[\"dev-9\"],\"stages\":[{\"count\":1},{\"percent\":100}]");
	rig_steps(r, 3); /* no tick fails */
	assert_string_equal(rig_status(r), "running");
	assert_non_null(strstr(rig_rows(r).row.reason, "named"));
}

static void canaries_that_fall_silent_stop_it_at_once(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, ",\"gates\":[{\"metric\":\"accuracy\"},{\"metric\":\"silence\"}],\"stages\":[{\"percent\":20},{\"percent\":100}],"
		"\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3,\"hard_stop\":{\"silent\":2}},\"soak_ms\":600000");
	rig_steps(r, 3);
	int bricks = 0;
	for (size_t i = 0; i < 40 && bricks < 3; i++)
		if (strcmp(r->agents[i].runs, GOOD) == 0) {
			r->agents[i].habit = IS_AWAY;
			bricks++;
		}
	for (int i = 0; i < 300 && strcmp(rig_status(r), "running") == 0; i++)
		rig_step(r);
	assert_string_equal(rig_status(r), "reverting");
	assert_non_null(strstr(rig_rows(r).row.reason, "silen"));
	assert_int_equal(rig_try_create(r, OLD, ",\"judge\":{\"hard_stop\":{\"silent\":2}}"), ERR_INVALID);
	assert_string_equal(r->f.w.fault.pointer, "/judge/hard_stop/silent");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_release_arrives_whatever_happens_to_the_server),
		TEST(a_bad_release_is_reverted_whatever_happens_to_the_server),
		TEST(order_of_reports_and_restarts_do_not_change_a_bit),
		TEST(an_unclear_end_extends_the_bake_once),
		TEST(an_unclear_end_waits_for_a_person),
		TEST(devices_of_a_block_may_be_deleted),
		TEST(devices_that_share_fate_are_judged_as_one),
		TEST(a_stage_waits_for_devices_that_can_be_compared),
		TEST(late_canaries_are_retried_while_the_next_stage_waits),
		TEST(named_canaries_that_are_gone_are_waited_for),
		TEST(canaries_that_fall_silent_stop_it_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
