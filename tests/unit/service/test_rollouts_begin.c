/* Long work in pieces: a stage begins, devices go back, failures are retried, a rollout ends and is deleted, one item an iteration, with kills,
 * commands and others' failures between any two of them. */
#include "rollout_world.h"

#include "service/offload.h"

struct port {
	struct offload offload; /* first */
	bool is_full;
	void (*work)(void *arg);
	void (*done)(void *arg);
	struct draw_job *job; /* kept until the test runs it */
};

static struct port port;

static enum err keep_job(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct port *p = ctx;
	if (p->is_full || p->job)
		return ERR_UNAVAILABLE;
	p->work = work;
	p->done = done;
	p->job = arg;
	return ERR_OK;
}

static void run_job(void)
{
	struct draw_job *job = port.job;
	port.job = NULL;
	port.work(job);
	port.done(job);
}

static void cut_small(struct rig *r)
{
	r->f.w.s.rollouts->piece_ns = 0;
}

/* Draws are jobs, and wait for the test. */
static void keep_jobs(struct rig *r)
{
	port = (struct port){.offload = {keep_job, &port}};
	r->f.w.s.offload = &port.offload;
	r->f.w.s.rollouts->small_draw = 0;
}

static void kill_it(struct rig *r)
{
	rig_kill(r);
	cut_small(r);
}

/* One iteration of the loop: a tick and its commit. */
static bool turn(struct rig *r)
{
	bool more;
	rig_must(r, rollouts_tick(rig_call(r), &more));
	rig_commit(r);
	return more;
}

static int turns(struct rig *r, int most)
{
	int count = 0;
	while (count < most && turn(r))
		count++;
	return count;
}

static const char *stage_status(struct rig *r, size_t stage)
{
	return rig_rows(r).stages[stage].status;
}

static struct block_row *blocks(struct rig *r, size_t *count)
{
	struct block_row *rows;
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, count, rig_call(r)->arena, &r->f.w.fault));
	return rows;
}

static void sum_baseline(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len)
{
	(void)device, (void)gate, (void)accum, (void)len;
	++*(size_t *)ctx;
}

static size_t busy(struct rig *r)
{
	size_t count = 0;
	for (size_t i = 0; i < r->devices; i++) {
		int64_t rollout = 0;
		const struct device_state *d = registry_find(r->f.w.s.registry, r->agents[i].id);
		rig_must(r, rollouts_of_device(rig_call(r), d->row, &rollout));
		assert_int_equal(d->deployment != 0, rollout != 0); /* the mirror is true */
		count += rollout != 0;
	}
	return count;
}

static size_t all_deployments(struct rig *r)
{
	size_t sum = 0;
	for (int s = 0; s < DEPLOYMENT_STATUS_COUNT; s++)
		sum += (size_t)rig_count(r, (enum deployment_status)s);
	return sum;
}

static void is_begun_once(struct rig *r, size_t canaries, size_t members)
{
	size_t count, of_canaries = 0, baselines = 0;
	struct block_row *rows = blocks(r, &count);
	for (size_t i = 0; i < count; i++)
		of_canaries += rows[i].is_canary;
	rig_must(r, baseline_each(r->f.w.s.rollouts->store, r->rollout, 0, sum_baseline, &baselines, &r->f.w.fault));
	assert_int_equal(of_canaries, canaries);
	assert_int_equal(count, members);
	assert_int_equal(baselines, members);
	assert_int_equal(all_deployments(r), canaries);
	assert_int_equal(busy(r), canaries);
}

static void is_as_if_never_begun(struct rig *r)
{
	size_t count, baselines = 0;
	blocks(r, &count);
	rig_must(r, baseline_each(r->f.w.s.rollouts->store, r->rollout, 0, sum_baseline, &baselines, &r->f.w.fault));
	assert_int_equal(count, 0);
	assert_int_equal(baselines, 0);
	assert_int_equal(all_deployments(r), 0);
	assert_int_equal(busy(r), 0);
}

/* Forty devices with baselines, a rollout of eight canaries with three controls each that is about to begin. */
static void make_ready(struct rig *r)
{
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, GATE);
	cut_small(r);
}

/* ---- beginning ---- */

static void a_kill_at_any_piece_begins_the_stage_anew(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	int pieces = 0;
	for (int k = 1; strcmp(stage_status(r, 0), "scheduled") == 0; k++) {
		assert_true(k < 200);
		for (pieces = 0; pieces < k && strcmp(stage_status(r, 0), "scheduled") == 0; pieces++)
			turn(r);
		if (strcmp(stage_status(r, 0), "scheduled") == 0)
			kill_it(r);
	}
	assert_true(pieces > 40); /* it was cut, and what others left was taken away first */
	is_begun_once(r, 8, 32);
	rig_until(r, "finished", 200);
	assert_int_equal(rig_running(r, GOOD), 40);
}

static void work_of_others_that_fails_does_not_interrupt_it(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	for (int i = 0; strcmp(stage_status(r, 0), "scheduled") == 0; i++) {
		bool more;
		assert_true(i < 100);
		rig_must(r, rollouts_tick(rig_call(r), &more));
		REFUSED(&r->f.w, ERR_CONFLICT, rollouts_delete(rig_call(r), r->rollout));
		rig_commit(r);
	}
	is_begun_once(r, 8, 32);
}

static void its_own_undone_piece_begins_anew(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	for (int i = 0; i < 30; i++)
		turn(r);
	assert_true(busy(r) > 0);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	size_t before = all_deployments(r);
	for (int i = 0; i < 12; i++) { /* as far as another canary */
		bool more;
		rig_must(r, rollouts_tick(rig_call(r), &more));
	}
	assert_true(all_deployments(r) > before);
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	turns(r, 300);
	is_begun_once(r, 8, 32);
}

static void a_pause_or_an_abort_takes_everything_away(void **state)
{
	for (int k = 5; k < 45; k += 13) {
		struct rig *r = *state;
		make_ready(r);
		for (int i = 0; i < k; i++)
			turn(r);
		assert_string_equal(stage_status(r, 0), "scheduled");
		assert_int_equal(rig_act(r, ROLLOUT_DO_PAUSE), ERR_OK);
		turns(r, 300);
		is_as_if_never_begun(r);
		assert_int_equal(rig_act(r, ROLLOUT_DO_RESUME), ERR_OK);
		for (int i = 0; i < k; i++)
			turn(r);
		assert_int_equal(rig_act(r, ROLLOUT_DO_ABORT), ERR_OK);
		turns(r, 300);
		turns(r, 10); /* what is to be decided now comes with the next tick */
		assert_string_equal(rig_status(r), "stopped");
		is_as_if_never_begun(r);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
}

static void delete_device(struct rig *r, int64_t row)
{
	struct device_state *d = registry_by_row(r->f.w.s.registry, row);
	for (size_t k = 0; k < r->devices; k++)
		if (strcmp(r->agents[k].id, d->id) == 0)
			r->agents[k--] = r->agents[--r->devices];
	DO(&r->f.w, registry_delete(rig_call(r), d, true, 0, NULL));
}

static void who_left_since_the_draw_is_left_out(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	keep_jobs(r);
	for (int i = 0; !port.job && i < 100; i++)
		turn(r);
	struct draw_job *job = port.job;
	assert_non_null(job);
	assert_true(turns(r, 10) < 10); /* nobody spins meanwhile */
	port.work(job);
	assert_int_equal(job->member_count, 32);
	int64_t lost[5] = {(int64_t)job->members[0].key}, shorter = (int64_t)job->members[9].key; /* a canary; a control of the third block */
	for (int i = 0; i < 3; i++)
		lost[1 + i] = (int64_t)job->members[5 + i].key; /* all controls of the second one */
	port.job = NULL;
	port.done(job);
	for (int i = 0; i < 4; i++)
		delete_device(r, lost[i]);
	struct device_state *gone_on = registry_by_row(r->f.w.s.registry, shorter);
	for (size_t k = 0; k < r->devices; k++)
		if (strcmp(r->agents[k].id, gone_on->id) == 0)
			rig_runs(r, &r->agents[k], GOOD, 2, "");
	rig_commit(r);
	turns(r, 300);
	struct stage_row stage = rig_rows(r).stages[0];
	assert_string_equal(stage.status, "running");
	assert_int_equal(stage.blocks, 6);
	is_begun_once(r, 6, 23);
	size_t count;
	struct block_row *rows = blocks(r, &count);
	assert_int_equal(rows[0].block, 2); /* numbers stay those of the draw */
	for (size_t i = 0; i < count; i++)
		assert_int_not_equal(rows[i].device, shorter);
}

static void a_draw_that_nobody_waits_for_any_more_is_dropped(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	keep_jobs(r);
	port.is_full = true;
	for (int i = 0; i < 60; i++)
		turn(r);
	assert_null(port.job);
	assert_string_equal(rig_status(r), "running"); /* no room is no error */
	port.is_full = false;
	turns(r, 10);
	assert_non_null(port.job);
	assert_int_equal(rig_act(r, ROLLOUT_DO_PAUSE), ERR_OK);
	turns(r, 10);
	run_job();
	turns(r, 100);
	is_as_if_never_begun(r);
	assert_int_equal(rig_act(r, ROLLOUT_DO_RESUME), ERR_OK);
	for (int i = 0; !port.job && i < 100; i++)
		turn(r);
	struct draw_job *old = port.job;
	port.job = NULL;
	kill_it(r); /* its end comes after the restart of this world only: it must touch nothing of it */
	port.work(old);
	port.done(old);
	keep_jobs(r);
	for (int i = 0; !port.job && i < 100; i++)
		turn(r);
	run_job();
	turns(r, 300);
	is_begun_once(r, 8, 32);
}

/* ---- an extended bake ---- */

#define UNCLEAR ",\"gates\":[{\"metric\":\"accuracy\"}],\"stages\":[{\"count\":5},{\"percent\":100}]," \
	"\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":2,\"on_inconclusive\":\"hold\"}"

static void an_extended_bake_gets_blocks_of_its_own(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 80);
	rig_steps(r, 8);
	rig_create(r, GOOD, UNCLEAR);
	for (size_t i = 0; i < r->devices; i++)
		r->agents[i].habit = TELLS_NOTHING; /* what becomes of the canaries stays unclear */
	rig_steps(r, 2);
	size_t first;
	struct stage_row before = rig_rows(r).stages[0];
	blocks(r, &first);
	assert_int_equal(before.blocks, 5);
	cut_small(r);
	for (int i = 0; rig_rows(r).stages[0].extension == 0; i++) {
		assert_true(i < 2000);
		r->f.w.c.now_ms += 20;
		turn(r);
	}
	for (int k = 0; k < 3; k++) { /* an interrupted one goes on, and never draws more than it should */
		size_t there = all_deployments(r);
		for (int i = 0; all_deployments(r) == there; i++) {
			assert_true(i < 100);
			turn(r);
		}
		kill_it(r);
	}
	turns(r, 300);
	struct stage_row after = rig_rows(r).stages[0];
	size_t count, canaries = 0;
	int64_t last = -1, number = 0;
	struct block_row *rows = blocks(r, &count);
	assert_int_equal(after.extension_drawn, 1);
	assert_int_equal(after.blocks, before.blocks); /* the looks that were planned stay */
	for (size_t i = 0; i < count; i++) {
		number += rows[i].block != last;
		last = rows[i].block;
		canaries += rows[i].is_canary;
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(rows[i].device, rows[k].device);
	}
	assert_int_equal(number, 10);
	assert_int_equal(canaries, 10);
	rig_steps(r, 2);
	assert_int_equal(rig_running(r, GOOD), 10); /* all canaries, the new ones too */
}

/* ---- going back, ending, deleting, retrying ---- */

static void pieces_with_kills(struct rig *r, const char *end, int every)
{
	for (int i = 1; strcmp(rig_status(r), end) != 0; i++) {
		if (i == 3000)
			fail_msg("%s (%s), not %s", rig_status(r), rig_rows(r).row.reason, end);
		r->f.w.c.now_ms += 10;
		turn(r);
		rig_work(r);
		rig_commit(r);
		if (i % every == 0)
			kill_it(r);
	}
}

static void kills_between_pieces_lose_nobody_who_goes_back(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 20);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":100000");
	rig_steps(r, 3);
	assert_int_equal(rig_running(r, GOOD), 20);
	cut_small(r);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTING), 0); /* not in the request */
	turn(r);
	turn(r);
	assert_true(rig_count(r, DEPLOYMENT_REVERTING) < 4);
	pieces_with_kills(r, "reverted", 61);
	assert_int_equal(rig_running(r, OLD), 20);
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), 20);
	assert_int_equal(busy(r), 0);
}

static void devices_are_free_before_a_rollout_ends(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 20);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":1000");
	rig_steps(r, 2);
	cut_small(r);
	r->f.w.c.now_ms += 5000;
	size_t least = 20;
	while (strcmp(rig_status(r), "finished") != 0) {
		size_t now = busy(r);
		assert_true(now == least || now + 2 >= least); /* one after the other */
		least = now;
		turn(r);
	}
	assert_int_equal(busy(r), 0);
}

static void a_deleted_rollout_goes_piece_by_piece(void **state)
{
	struct rig *r = *state;
	make_ready(r);
	r->f.w.s.rollouts->piece_ns = TIMEBOX_NS;
	rig_until(r, "finished", 200);
	cut_small(r);
	DO(&r->f.w, rollouts_delete(rig_call(r), r->rollout));
	rig_commit(r);
	struct rollout_rows x;
	size_t all = 0, count;
	for (int i = 1; rollout_load(rig_call(r), r->rollout, &x) == ERR_OK; i++) {
		assert_int_equal(rollout_open(rig_call(r), r->rollout, &x), ERR_NOT_FOUND);
		assert_true(i < 500);
		all = all_deployments(r);
		turn(r);
		if (i % 5 == 0)
			kill_it(r);
		assert_true(rollout_load(rig_call(r), r->rollout, &x) != ERR_OK || all_deployments(r) + 1 >= all);
	}
	blocks(r, &count);
	assert_int_equal(count, 0);
	assert_int_equal(turns(r, 10), 0); /* and nothing is left to do */
}

static void a_retry_outlives_kills_and_what_fails_meanwhile(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 20);
	for (size_t i = 0; i < 20; i++)
		r->agents[i].habit = FAILS;
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"retries\":0,\"error\":{\"percent\":100},\"soak_ms\":1000");
	rig_steps(r, 3);
	assert_string_equal(rig_status(r), "paused");
	assert_int_equal(rig_count(r, DEPLOYMENT_FAILED), 20);
	for (size_t i = 0; i < 20; i++)
		r->agents[i].habit = WORKS;
	cut_small(r);
	assert_int_equal(rig_act(r, ROLLOUT_DO_RETRY), ERR_OK);
	assert_int_equal(rig_count(r, DEPLOYMENT_WAITING), 1); /* the first piece, with the request */
	turn(r);
	turn(r);
	kill_it(r);
	assert_int_equal(rig_act(r, ROLLOUT_DO_RESUME), ERR_OK);
	for (int i = 0; rig_rows(r).row.retry_at; i++) {
		assert_true(i < 100);
		assert_string_equal(rig_status(r), "running"); /* errors that are about to be retried pause nothing */
		turn(r);
	}
	pieces_with_kills(r, "finished", 71);
	assert_int_equal(rig_running(r, GOOD), 20);
	assert_int_equal(rig_deployment(r, "dev-7").attempt, 2);
}

/* ---- several ---- */

static void rollouts_take_turns(void **state)
{
	struct rig *r = *state;
	int64_t ids[2];
	rig_devices(r, 40);
	for (int i = 0; i < 2; i++) {
		rig_create(r, i ? BAD : GOOD, i ? ",\"stages\":[{\"percent\":100}]"
			: ",\"stages\":[{\"percent\":100}],\"filter\":\"hardware==rk3588\"");
		ids[i] = r->rollout;
		rig_tick(r);
		rig_commit(r);
	}
	rig_steps(r, 2);
	cut_small(r);
	for (int i = 0; i < 2; i++) {
		r->rollout = ids[i];
		assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	}
	for (int i = 0; i < 24; i++)
		turn(r);
	for (int i = 0; i < 2; i++) {
		r->rollout = ids[i];
		int64_t gone = rig_count(r, DEPLOYMENT_REVERTING);
		assert_true(gone >= 4 && gone <= 14);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_kill_at_any_piece_begins_the_stage_anew),
		TEST(work_of_others_that_fails_does_not_interrupt_it),
		TEST(its_own_undone_piece_begins_anew),
		TEST(a_pause_or_an_abort_takes_everything_away),
		TEST(who_left_since_the_draw_is_left_out),
		TEST(a_draw_that_nobody_waits_for_any_more_is_dropped),
		TEST(an_extended_bake_gets_blocks_of_its_own),
		TEST(kills_between_pieces_lose_nobody_who_goes_back),
		TEST(devices_are_free_before_a_rollout_ends),
		TEST(a_deleted_rollout_goes_piece_by_piece),
		TEST(a_retry_outlives_kills_and_what_fails_meanwhile),
		TEST(rollouts_take_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
