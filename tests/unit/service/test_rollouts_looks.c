/* Looks at large stages: in pieces and jobs, with everything that may happen between two of them. Every stage is large here, a piece is one
 * item, and jobs run when the test says so. */
#include "rollout_world.h"

#include "service/offload.h"
#include "service/rollout_judged.h"

#define JOBS_MAX 16

struct port {
	struct offload offload; /* first */
	bool keeps, is_full;
	struct {
		void (*work)(void *arg);
		void (*done)(void *arg);
		void *arg;
	} jobs[JOBS_MAX];
	size_t count, taken;
};

static struct port port;

static enum err take_job(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct port *p = ctx;
	if (p->is_full)
		return ERR_UNAVAILABLE;
	p->taken++;
	if (!p->keeps) {
		work(arg);
		done(arg);
		return ERR_OK;
	}
	assert_true(p->count < JOBS_MAX);
	p->jobs[p->count].work = work;
	p->jobs[p->count].done = done;
	p->jobs[p->count++].arg = arg;
	return ERR_OK;
}

static void run_jobs(void)
{
	while (port.count > 0) {
		port.count--;
		port.jobs[port.count].work(port.jobs[port.count].arg);
		port.jobs[port.count].done(port.jobs[port.count].arg);
	}
}

static void make_large(struct rig *r)
{
	r->f.w.s.rollouts->small_cells = 0;
	r->f.w.s.rollouts->piece_ns = 0;
	r->f.w.s.offload = &port.offload;
}

static int setup(void **state)
{
	memset(&port, 0, sizeof port);
	port.offload = (struct offload){take_job, &port};
	int failed = rig_setup(state);
	make_large(*state);
	return failed;
}

static int teardown(void **state)
{
	run_jobs();
	return rig_teardown(state);
}

/* One iteration of the loop: a tick and its commit. */
static bool turn(struct rig *r)
{
	bool more;
	rig_must(r, rollouts_tick(rig_call(r), &more));
	rig_commit(r);
	return more;
}

/* Time stands still until everything that can be done is done. */
static void settle(struct rig *r)
{
	for (int i = 0; turn(r); i++)
		assert_true(i < 5000);
	turn(r);
}

static void second(struct rig *r)
{
	r->f.w.c.now_ms += STEP_MS;
	settle(r);
	rig_work(r);
	rig_commit(r);
	rig_telemetry(r);
	arena_reset(r->f.w.c.arena);
}

static void seconds(struct rig *r, int count)
{
	while (count-- > 0)
		second(r);
}

static void begin(struct rig *r, const char *release, const char *rest)
{
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, release, rest);
	settle(r);
	seconds(r, 2);
	assert_non_null(rig_rows(r).live->judged);
}

static struct judged_stage *judged(struct rig *r)
{
	return rig_rows(r).live->judged;
}

/* Until a look waits in the port. */
static void until_kept(struct rig *r)
{
	port.keeps = true;
	for (int i = 0; port.count == 0; i++) {
		assert_true(i < 20);
		second(r);
	}
	assert_true(judged(r)->look != NULL && judged(r)->look->is_submitted);
}

static int64_t looks(struct rig *r)
{
	return rig_rows(r).stages[0].look;
}

static void kill_rig(struct rig *r)
{
	rig_kill(r);
	make_large(r);
}

/* ---- what comes of it ---- */

static void a_bad_release_is_reverted(void **state)
{
	struct rig *r = *state;
	begin(r, BAD, GATE);
	for (int i = 0; strcmp(rig_status(r), "reverted") != 0; i++) {
		assert_true(i < 60);
		second(r);
	}
	assert_int_equal(rig_running(r, OLD), 40);
	assert_true(port.taken > 0);
}

static void a_good_release_arrives(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE);
	for (int i = 0; strcmp(rig_status(r), "finished") != 0; i++) {
		assert_true(i < 150);
		second(r);
	}
	assert_int_equal(rig_running(r, GOOD), 40);
}

/* The looks of twelve seconds on a copy of the world. */
static char *looks_of_a_copy(struct rig *r, bool is_large, bool backwards, int kill_at)
{
	char command[200], copy[60];
	kill_rig(r); /* closes the files */
	struct rig *twin = calloc(1, sizeof *twin);
	assert_non_null(twin);
	*twin = *r;
	memset(&twin->f.w.s, 0, sizeof twin->f.w.s);
	snprintf(copy, sizeof copy, "%.50s-copy", r->f.w.dir);
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
		if (is_large)
			make_large(twin);
		rig_telemetry(twin);
		if (i == kill_at)
			rig_kill(twin);
		if (is_large)
			make_large(twin);
		twin->f.w.c.now_ms += STEP_MS;
		settle(twin);
	}
	char *text = rig_looks(twin);
	void *state = twin;
	assert_int_equal(rig_teardown(&state), 0);
	return text;
}

static void pieces_order_and_restarts_do_not_change_a_bit(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE ",\"soak_ms\":60000");
	char *small = looks_of_a_copy(r, false, false, -1);
	assert_non_null(strstr(small, "\"look\":4"));
	char *large = looks_of_a_copy(r, true, false, -1);
	char *backwards = looks_of_a_copy(r, true, true, -1);
	char *restarted = looks_of_a_copy(r, true, true, 5);
	assert_string_equal(small, large);
	assert_string_equal(small, backwards);
	assert_string_equal(small, restarted);
	free(small);
	free(large);
	free(backwards);
	free(restarted);
}

/* ---- what may happen meanwhile ---- */

static void a_look_waits_for_its_job(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE ",\"soak_ms\":60000");
	until_kept(r);
	int64_t before = looks(r);
	size_t taken = port.taken;
	seconds(r, 5);
	assert_int_equal(looks(r), before);
	assert_int_equal(port.taken, taken); /* not looked at again meanwhile */
	run_jobs();
	assert_int_equal(looks(r), before); /* the port's call writes nothing */
	turn(r);
	assert_true(looks(r) > before);
}

static void a_result_of_another_state_is_thrown_away(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE ",\"soak_ms\":60000");
	until_kept(r);
	struct rollout_rows x = rig_rows(r);
	size_t taken = port.taken;
	int64_t look = x.stages[0].look + 40; /* as if somebody had looked meanwhile */
	x.stages[0].look = look;
	IN_UNIT(r, stage_update(r->f.w.s.rollouts->store, &x.stages[0], &r->f.w.fault));
	rig_commit(r);
	run_jobs();
	seconds(r, 3);
	assert_int_equal(looks(r), look);
	assert_int_equal(port.taken, taken); /* none is due for long */
	assert_null(judged(r)->look);
}

static void a_full_port_is_asked_again(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE ",\"soak_ms\":60000");
	port.is_full = true;
	int64_t before = looks(r);
	seconds(r, 6);
	assert_int_equal(looks(r), before);
	port.is_full = false;
	seconds(r, 1);
	assert_true(looks(r) > before);
}

static void a_kill_before_the_result_is_written_loses_no_look(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE ",\"soak_ms\":60000");
	until_kept(r);
	int64_t before = looks(r);
	kill_rig(r);
	run_jobs(); /* of one that nobody waits for any more */
	port.keeps = false;
	r->f.w.c.now_ms += STEP_MS;
	settle(r);
	assert_true(looks(r) > before); /* of what had come meanwhile, too */
}

static void a_deleted_device_is_in_no_result(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE);
	until_kept(r);
	const struct judged_stage *j = judged(r);
	int64_t before = looks(r), control = 0, other = 0;
	for (size_t i = 0; i < j->count; i++)
		if (!j->rows[i].is_canary)
			other = control ? other : (int64_t)j->rows[i].device, control = control ? control : other;
	struct device_state *d = registry_by_row(r->f.w.s.registry, control);
	for (size_t k = 0; k < r->devices; k++)
		if (strcmp(r->agents[k].id, d->id) == 0)
			r->agents[k].habit = IS_AWAY;
	DO(&r->f.w, registry_delete(rig_call(r), d, true, 0, NULL));
	run_jobs();
	turn(r);
	assert_int_equal(looks(r), before);
	port.keeps = false;
	seconds(r, 2);
	assert_true(looks(r) > before);
	char *text = rig_looks(r);
	assert_non_null(strstr(text, "\"controls\":23")); /* of 24 */
	free(text);
}

static void an_operator_may_end_it_while_it_is_judged(void **state)
{
	static const enum rollout_command commands[] = {ROLLOUT_DO_ABORT, ROLLOUT_DO_REVERT};
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct rig *r = *state;
		begin(r, GOOD, GATE ",\"soak_ms\":60000");
		until_kept(r);
		assert_int_equal(rig_act(r, commands[i]), ERR_OK);
		port.keeps = false;
		int64_t before = looks(r);
		seconds(r, 10);
		run_jobs();
		seconds(r, 10);
		assert_int_equal(looks(r), before);
		assert_null(judged(r));
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void an_undone_unit_takes_what_it_did_and_no_more(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE);
	until_kept(r);
	const struct judged_stage *j = judged(r);
	int64_t t0 = j->t0[0];
	struct deployment_row d = {.rollout = r->rollout, .stage = 0};
	for (size_t i = 0; i < j->count; i++)
		if (j->rows[i].is_canary)
			d.device = (int64_t)j->rows[i].device;
	assert_true(t0 > 0);
	/* a unit that begins nothing new: its end changes nothing, and the look stays */
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, rollout_start_block(rig_call(r), rig_rows(r).live, &d));
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	assert_ptr_equal(judged(r), j);
	assert_non_null(j->look);
	assert_int_equal(j->t0[0], t0);
}

static void an_undone_beginning_of_a_block_is_undone_in_memory(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	for (size_t i = 0; i < 40; i++)
		r->agents[i].habit = ONLY_ACCEPTS; /* no block begins */
	rig_create(r, GOOD, GATE ",\"timeout_ms\":3600000");
	settle(r);
	seconds(r, 2);
	const struct judged_stage *j = judged(r);
	assert_int_equal(j->step, JUDGED_READY);
	struct deployment_row d = {.rollout = r->rollout, .stage = 0};
	size_t canary = 0;
	while (!j->rows[canary].is_canary)
		canary++;
	d.device = (int64_t)j->rows[canary].device;
	assert_int_equal(j->t0[canary], 0);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, rollout_start_block(rig_call(r), rig_rows(r).live, &d));
	assert_true(j->t0[canary] > 0);
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	second(r);
	assert_ptr_equal(judged(r), j); /* not all of it was loaded anew */
	assert_int_equal(j->t0[canary], 0);
	assert_false(observe_is_followed(rig_call(r), r->rollout, 0, d.device, r->f.w.c.now_ms - STEP_MS));
	IN_UNIT(r, rollout_start_block(rig_call(r), rig_rows(r).live, &d));
	rig_commit(r);
	assert_true(j->t0[canary] > 0);
}

static void devices_may_be_deleted_while_it_is_loaded(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, GATE);
	struct block_row *rows;
	size_t count;
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	int64_t first = rows[0].device, last = rows[count - 1].device;
	kill_rig(r);
	r->f.w.c.now_ms += STEP_MS;
	for (int i = 0; i < 6; i++)
		turn(r);
	assert_int_equal(judged(r)->step, JUDGED_BASELINES);
	const int64_t gone[] = {first, last};
	for (size_t i = 0; i < 2; i++) {
		struct device_state *d = registry_by_row(r->f.w.s.registry, gone[i]);
		for (size_t k = 0; k < r->devices; k++)
			if (strcmp(r->agents[k].id, d->id) == 0) {
				r->agents[k].habit = IS_AWAY;
				r->agents[k].runs = "";
			}
		DO(&r->f.w, registry_delete(rig_call(r), d, true, 0, NULL));
	}
	rig_commit(r);
	for (int i = 0; strcmp(rig_status(r), "finished") != 0; i++) {
		assert_true(i < 150);
		second(r);
	}
	assert_int_equal(rig_running(r, GOOD), 38);
}

/* ---- the hard stop ---- */

#define SILENT(more)                                                                                                     \
	",\"gates\":[{\"metric\":\"accuracy\"},{\"metric\":\"silence\"}],\"stages\":[{\"percent\":20},{\"percent\":100}],"      \
	"\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3,\"hard_stop\":{\"silent\":2}" more                   \
	"},\"soak_ms\":600000,\"timeout_ms\":3600000"

static int bricks(struct rig *r, int most)
{
	int count = 0;
	for (size_t i = 0; i < r->devices && count < most; i++)
		if (r->agents[i].deployment != 0) {
			r->agents[i].habit = IS_AWAY;
			count++;
		}
	return count;
}

static void silent_canaries_stop_it_while_a_look_is_under_way(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, SILENT(""));
	until_kept(r);
	assert_int_equal(bricks(r, 3), 3);
	for (int i = 0; strcmp(rig_status(r), "running") == 0; i++) {
		assert_true(i < 30);
		/* a peek is judged in the port, too: only the look stays there */
		while (port.count > 1) {
			port.count--;
			port.jobs[port.count].work(port.jobs[port.count].arg);
			port.jobs[port.count].done(port.jobs[port.count].arg);
		}
		second(r);
	}
	assert_string_equal(rig_status(r), "reverting");
	assert_non_null(strstr(rig_rows(r).row.reason, "canaries are silent"));
	run_jobs();
	seconds(r, 2);
}

static void bricks_stop_it_long_before_their_time_is_out(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	for (size_t i = 0; i < 40; i++)
		r->agents[i].habit = ONLY_ACCEPTS;
	rig_create(r, GOOD, SILENT(",\"warmup_ms\":600000"));
	settle(r);
	seconds(r, 1);
	assert_true(bricks(r, 2) == 2);
	for (int i = 0; strcmp(rig_status(r), "running") == 0; i++) {
		assert_true(i < 10); /* reports come each second: three of them missed, and a little */
		second(r);
	}
	assert_string_equal(rig_status(r), "reverting");
	assert_non_null(strstr(rig_rows(r).row.reason, "canaries are silent"));
}

static void who_talks_on_while_it_installs_is_no_brick(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	for (size_t i = 0; i < 40; i++)
		r->agents[i].habit = ONLY_ACCEPTS;
	rig_create(r, GOOD, SILENT(",\"warmup_ms\":600000"));
	settle(r);
	seconds(r, 1);
	assert_true(bricks(r, 1) == 1);
	seconds(r, 20);
	assert_string_equal(rig_status(r), "running");
	size_t started = 0;
	const struct judged_stage *j = judged(r);
	for (size_t i = 0; i < j->count; i++)
		started += j->rows[i].is_canary && j->t0[i] > 0;
	assert_int_equal(started, 1);
	kill_rig(r); /* that its silence counts from before its block is known after a restart, too */
	seconds(r, 1);
	assert_string_equal(rig_status(r), "running");
	assert_int_equal(bricks(r, 2), 2);
	seconds(r, 8);
	assert_string_equal(rig_status(r), "reverting");
}

static void nobody_is_silent_while_nobody_can_be_heard(void **state)
{
	struct rig *r = *state;
	begin(r, GOOD, SILENT(""));
	for (size_t i = 0; i < 40; i++)
		r->agents[i].habit = IS_AWAY;
	metric_set(METER_MQTT_CONNECTED, 0); /* the broker is gone */
	for (int i = 0; i < 30; i++) {
		rig_must(r, alerts_tick(rig_call(r), &(bool){false}));
		rig_commit(r);
		second(r);
	}
	metric_set(METER_MQTT_CONNECTED, 1);
	assert_string_equal(rig_status(r), "running");
	for (int i = 0; strcmp(rig_status(r), "running") == 0; i++) { /* it is back, and they are not */
		assert_true(i < 10);
		rig_must(r, alerts_tick(rig_call(r), &(bool){false}));
		rig_commit(r);
		second(r);
	}
	assert_string_equal(rig_status(r), "reverting");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bad_release_is_reverted),
		TEST(a_good_release_arrives),
		TEST(pieces_order_and_restarts_do_not_change_a_bit),
		TEST(a_look_waits_for_its_job),
		TEST(a_result_of_another_state_is_thrown_away),
		TEST(a_full_port_is_asked_again),
		TEST(a_kill_before_the_result_is_written_loses_no_look),
		TEST(a_deleted_device_is_in_no_result),
		TEST(an_operator_may_end_it_while_it_is_judged),
		TEST(an_undone_unit_takes_what_it_did_and_no_more),
		TEST(an_undone_beginning_of_a_block_is_undone_in_memory),
		TEST(devices_may_be_deleted_while_it_is_loaded),
		TEST(silent_canaries_stop_it_while_a_look_is_under_way),
		TEST(bricks_stop_it_long_before_their_time_is_out),
		TEST(who_talks_on_while_it_installs_is_no_brick),
		TEST(nobody_is_silent_while_nobody_can_be_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
