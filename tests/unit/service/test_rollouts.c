/* Rollouts as an operator and devices meet them: how they go forward, how they end, what happens to each device. */
#include "rollout_world.h"

static void a_good_release_reaches_everybody(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, GATE);
	assert_string_equal(rig_status(r), "starting");
	rig_step(r);
	assert_string_equal(rig_status(r), "running");
	struct rollout_rows x = rig_rows(r);
	assert_true(x.stages[0].is_judged);
	assert_int_equal(x.stages[0].blocks, 8);
	assert_int_equal(rig_running(r, GOOD), 8);
	rig_until(r, "finished", 90);
	assert_int_equal(rig_running(r, GOOD), 40);
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 40);
	for (size_t i = 0; i < r->devices; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
}

static void a_bad_release_is_taken_back_by_its_canaries(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, BAD, GATE);
	rig_until(r, "reverted", 60);
	assert_int_equal(rig_running(r, OLD), 40);
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), 8);
	struct rollout_rows x = rig_rows(r);
	assert_string_equal(x.stages[0].verdict, "revert");
	assert_non_null(strstr(x.row.reason, "accuracy"));
	char *looks = rig_looks(r);
	assert_non_null(strstr(looks, "\"verdict\":\"revert\""));
	free(looks);
	/* and it is not offered again */
	assert_int_equal(rig_try_create(r, BAD, GATE), ERR_CONFLICT);
}

static void the_verdict_its_books_and_its_alert_come_together(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, BAD, GATE);
	for (int i = 0; i < 60; i++) {
		rig_tick(r);
		struct rollout_rows x = rig_rows(r);
		if (strcmp(x.stages[0].verdict, "revert") == 0) {
			char *looks = rig_looks(r);
			assert_non_null(strstr(looks, "\"verdict\":\"revert\""));
			assert_true(rig_fires(r, "gate.verdict"));
			assert_string_equal(rig_status(r), "reverting");
			free(looks);
			rig_kill(r); /* before the commit: nothing of it happened */
			looks = rig_looks(r);
			assert_null(strstr(looks, "\"verdict\":\"revert\""));
			assert_false(rig_fires(r, "gate.verdict"));
			assert_string_equal(rig_status(r), "running");
			free(looks);
			rig_until(r, "reverted", 20);
			assert_int_equal(rig_running(r, OLD), 40);
			return;
		}
		rig_commit(r);
		rig_work(r);
		rig_commit(r);
		rig_telemetry(r);
	}
	fail_msg("no verdict");
}

#define PLAIN ",\"stages\":[{\"percent\":25},{\"percent\":100}],\"soak_ms\":2000"

static void an_attempt_that_fails_is_tried_again(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	r->agents[2].habit = FAILS;
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"retries\":1,\"success\":{\"percent\":50}");
	rig_step(r);
	struct deployment_row d = rig_deployment(r, "dev-3");
	assert_int_equal(d.state, DEPLOYMENT_WAITING);
	assert_int_equal(d.attempt, 2);
	rig_steps(r, 2);
	assert_int_equal(rig_deployment(r, "dev-3").state, DEPLOYMENT_FAILED);
	assert_true(rig_fires(r, "install.failed"));
	rig_until(r, "finished", 30);
	/* a person tries it once more: what failed waits again, and everybody else is left alone */
	r->agents[2].habit = WORKS;
	assert_int_equal(rig_act(r, ROLLOUT_DO_RETRY), ERR_OK);
	assert_int_equal(rig_deployment(r, "dev-3").state, DEPLOYMENT_WAITING);
	assert_int_not_equal(registry_find(r->f.w.s.registry, "dev-3")->deployment, 0);
	rig_until(r, "finished", 30);
	assert_int_equal(rig_running(r, GOOD), 4);
	assert_false(rig_fires(r, "install.failed"));
}

static void silence_of_a_device_is_a_timeout_and_a_late_success_counts(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	r->agents[0].habit = ONLY_ACCEPTS;
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"retries\":0,\"success\":{\"percent\":50},\"soak_ms\":60000");
	rig_steps(r, 10);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_DOWNLOADING);
	rig_steps(r, 15);
	struct deployment_row d = rig_deployment(r, "dev-1");
	assert_int_equal(d.state, DEPLOYMENT_TIMED_OUT);
	assert_int_equal(d.deadline_at, 0);
	char rest[120];
	snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":1,\"state\":\"succeeded\"}", (long long)d.id);
	rig_runs(r, &r->agents[0], GOOD, 2, rest);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_SUCCEEDED);
	rig_report(r, &r->agents[0], rest); /* said twice */
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 4);
	assert_int_equal(rig_count(r, DEPLOYMENT_TIMED_OUT), 0);
}

static void an_error_condition_pauses_and_tells_until_it_is_resumed(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	r->agents[0].habit = r->agents[1].habit = FAILS;
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"retries\":0,\"soak_ms\":2000,"
		"\"error\":{\"percent\":20,\"min_count\":1,\"action\":\"pause\"}");
	rig_until(r, "paused", 10);
	assert_true(rig_fires(r, "rollout.paused"));
	assert_string_equal(rig_rows(r).stages[0].status, "error");
	assert_int_equal(rig_act(r, ROLLOUT_DO_RESUME), ERR_OK);
	assert_false(rig_fires(r, "rollout.paused"));
	rig_until(r, "finished", 20); /* past the errors that were seen */
	assert_int_equal(rig_count(r, DEPLOYMENT_FAILED), 2);
}

static void what_the_operator_takes_back_goes_back_from_every_state(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 6);
	r->agents[0].habit = FAILS;
	r->agents[1].habit = ONLY_ACCEPTS;
	r->agents[2].habit = IS_AWAY;
	rig_create(r, GOOD, ",\"stages\":[{\"count\":5},{\"percent\":100}],\"retries\":0,\"error\":{\"percent\":100}");
	rig_steps(r, 3);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK); /* again: no error */
	for (size_t i = 0; i < 3; i++)
		r->agents[i].habit = WORKS;
	rig_until(r, "reverted", 10);
	assert_int_equal(rig_running(r, OLD), 6);
	assert_int_equal(rig_count(r, DEPLOYMENT_OFFERED) + rig_count(r, DEPLOYMENT_WAITING) + rig_count(r, DEPLOYMENT_REVERTING), 0);
	assert_int_equal(rig_act(r, ROLLOUT_DO_ABORT), ERR_CONFLICT);
}

static void a_device_without_a_known_past_cannot_go_back(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 2);
	struct device_state *d = world_device(&r->f.w, "new", "esp32s3");
	struct agent *a = &r->agents[r->devices++];
	*a = (struct agent){.id = "new", .runs = ""};
	registry_set_online(r->f.w.s.registry, d, true, NOW);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}]");
	rig_steps(r, 3);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 10);
	assert_int_equal(rig_deployment(r, "new").state, DEPLOYMENT_NOT_REVERTIBLE);
	assert_true(rig_fires(r, "deployment.not_revertible"));
	assert_string_equal(a->runs, GOOD);
	assert_int_equal(rig_running(r, OLD), 2);
}

static void a_device_that_was_away_goes_back_when_it_returns(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 3);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":60000");
	rig_steps(r, 3);
	r->agents[0].habit = IS_AWAY;
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 400);
	struct deployment_row d = rig_deployment(r, "dev-1");
	assert_int_equal(d.state, DEPLOYMENT_REVERT_FAILED);
	assert_int_equal(d.reverts, ROLLOUT_REVERTS_MAX);
	assert_true(rig_fires(r, "deployment.revert_failed"));
	rig_kill(r);
	/* a person asks for more attempts */
	assert_int_equal(rig_act(r, ROLLOUT_DO_RETRY), ERR_OK);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_REVERTING);
	rig_until(r, "reverted", 400);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_REVERT_FAILED);
	r->agents[0].habit = WORKS;
	rig_steps(r, 2);
	assert_string_equal(r->agents[0].runs, OLD);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_REVERTED);
	assert_false(rig_fires(r, "deployment.revert_failed"));
}

static void a_success_that_comes_after_the_revert_is_taken_back_too(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 3);
	r->agents[0].habit = ONLY_ACCEPTS;
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":60000");
	rig_steps(r, 2);
	struct deployment_row d = rig_deployment(r, "dev-1");
	char rest[120];
	snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":1,\"state\":\"cancelled\"}", (long long)d.id);
	rig_report(r, &r->agents[0], rest);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_CANCELLED);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 10);
	snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":1,\"state\":\"succeeded\"}", (long long)d.id);
	rig_runs(r, &r->agents[0], GOOD, 2, rest);
	r->agents[0].habit = WORKS;
	rig_steps(r, 2);
	assert_string_equal(r->agents[0].runs, OLD);
	assert_int_equal(rig_deployment(r, "dev-1").state, DEPLOYMENT_REVERTED);
}

static void paused_rollouts_offer_nothing_and_aborted_ones_leave_what_is_there(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 8);
	rig_create(r, GOOD, PLAIN);
	rig_steps(r, 2);
	assert_int_equal(rig_act(r, ROLLOUT_DO_PAUSE), ERR_OK);
	rig_steps(r, 10);
	assert_int_equal(rig_running(r, GOOD), 2);
	assert_int_equal(rig_act(r, ROLLOUT_DO_RESUME), ERR_OK);
	r->agents[0].habit = r->agents[1].habit = ONLY_ACCEPTS;
	for (size_t i = 2; i < 8; i++)
		if (strcmp(r->agents[i].runs, OLD) == 0)
			r->agents[i].habit = IS_AWAY;
	rig_steps(r, 6);
	assert_int_equal(rig_act(r, ROLLOUT_DO_ABORT), ERR_OK);
	rig_until(r, "stopped", 40);
	assert_int_equal(rig_count(r, DEPLOYMENT_OFFERED), 0);
	assert_int_equal(rig_count(r, DEPLOYMENT_WAITING), 0);
	assert_true(rig_running(r, GOOD) >= 2);
	for (size_t i = 0; i < r->devices; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
}

static void somebody_else_approves(void **state)
{
	static const struct principal other = {.name = "other", .role = ROLE_OPERATOR};
	struct rig *r = *state;
	rig_devices(r, 4);
	rig_create(r, GOOD, PLAIN ",\"approval\":true");
	assert_string_equal(rig_status(r), "waiting_for_approval");
	assert_int_equal(rig_act(r, ROLLOUT_DO_START), ERR_CONFLICT);
	assert_int_equal(rig_act(r, ROLLOUT_DO_APPROVE), ERR_FORBIDDEN);
	r->f.w.c.who = &other;
	assert_int_equal(rig_act(r, ROLLOUT_DO_APPROVE), ERR_OK);
	r->f.w.c.who = &principal_server;
	assert_string_equal(rig_status(r), "ready");
	assert_string_equal(rig_rows(r).row.approved_by, "other");
	assert_int_equal(rig_act(r, ROLLOUT_DO_START), ERR_OK);
	rig_until(r, "finished", 30);
}

static void a_release_that_was_reverted_elsewhere_does_not_start_any_more(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	rig_create(r, GOOD, PLAIN ",\"start\":false,\"filter\":\"hardware==rk3588\"");
	int64_t ready = r->rollout;
	rig_create(r, GOOD, PLAIN ",\"filter\":\"hardware==esp32s3\"");
	rig_steps(r, 3);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 10);
	r->rollout = ready;
	assert_int_equal(rig_act(r, ROLLOUT_DO_START), ERR_CONFLICT);
	assert_string_equal(rig_status(r), "ready");
}

static void one_device_alone_gets_it(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 1);
	rig_create(r, GOOD, ",\"soak_ms\":1000");
	rig_until(r, "finished", 30);
	assert_int_equal(rig_running(r, GOOD), 1);
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 1);
}

static void devices_that_come_and_go_meanwhile_are_counted(void **state)
{
	struct rig *r = *state;
	struct buf what = BUF_INIT;
	rig_devices(r, 8);
	rig_create(r, GOOD, PLAIN);
	rig_steps(r, 2);
	rig_devices(r, 2);
	for (size_t i = 0; i < 8; i++)
		if (strcmp(r->agents[i].runs, OLD) == 0) {
			DO(&r->f.w, registry_delete(rig_call(r), registry_find(r->f.w.s.registry, r->agents[i].id), false, 0, NULL));
			r->agents[i].runs = "";
			break;
		}
	for (size_t i = 0; i < 8; i++)
		if (strcmp(r->agents[i].runs, GOOD) == 0) { /* its deployment goes with it */
			struct device_state *d = registry_find(r->f.w.s.registry, r->agents[i].id);
			REFUSED(&r->f.w, ERR_CONFLICT, registry_delete(rig_call(r), d, false, 0, NULL));
			json_open_object(&what);
			DO(&r->f.w, registry_delete(rig_call(r), d, true, 0, &what));
			json_close_object(&what);
			assert_non_null(strstr(buf_cstr(&what), "cancelled"));
			r->agents[i].runs = "";
			break;
		}
	buf_done(&what);
	rig_until(r, "finished", 60);
	assert_int_equal(rig_running(r, GOOD), 8);
	assert_int_equal(rig_running(r, OLD), 0);
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 8);
}

static void late_joiners_get_it_with_the_last_stage(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":30000");
	rig_steps(r, 10);
	rig_devices(r, 1);
	rig_steps(r, 8);
	assert_string_equal(r->agents[4].runs, GOOD);
	rig_until(r, "finished", 40);
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 5);
}

static void nothing_is_offered_outside_of_windows_but_reverts_are(void **state)
{
	struct rig *r = *state; /* NOW is a Tuesday, 22:13 UTC */
	rig_devices(r, 4);
	rig_create(r, GOOD, PLAIN ",\"windows\":[{\"start\":\"22:14\",\"duration_ms\":60000}]");
	rig_steps(r, 5);
	assert_int_equal(rig_running(r, GOOD), 0);
	rig_steps(r, 45);
	int64_t got = rig_running(r, GOOD);
	assert_true(got > 0);
	r->f.w.c.now_ms += 300000; /* closed again */
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 10);
	assert_int_equal(rig_running(r, OLD), 4);
}

static void the_rate_is_kept(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"rate\":{\"per_minute\":6}");
	int64_t before = 0;
	for (int i = 0; i < 60; i++) {
		rig_step(r);
		assert_true(rig_running(r, GOOD) - before <= 6);
		before = i % 30 == 0 ? rig_running(r, GOOD) : before;
	}
	assert_in_range(rig_running(r, GOOD), 5, 12);
}

static void named_canaries_are_taken_and_said_to_prove_nothing(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 8);
	rig_create(r, GOOD, PLAIN ",\"devices\":[\"dev-3\",\"dev-5\"]");
	rig_steps(r, 2);
	assert_int_equal(rig_running(r, GOOD), 2);
	assert_string_equal(r->agents[2].runs, GOOD);
	assert_string_equal(r->agents[4].runs, GOOD);
	rig_until(r, "finished", 30);
	rig_kill(r);
	assert_int_equal(rig_running(r, GOOD), 8);
}

static void an_undone_creation_leaves_nothing_behind(void **state)
{
	struct rig *r = *state;
	struct rollout_request q;
	struct buf out = BUF_INIT;
	rig_devices(r, 4);
	rollout_request_init(&q);
	q.name = "gone";
	q.release = GOOD;
	q.timeout_ms = 77777;
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, rollouts_create(rig_call(r), &q, false, &out, &r->rollout));
	int64_t gone = r->rollout;
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	buf_done(&out);
	rig_create(r, GOOD, PLAIN); /* may get the same number: must not get the other one's plan */
	assert_int_equal(r->rollout, gone);
	assert_int_equal(rig_rows(r).live->spec.timeout_ms, 20000);
}

static void a_device_that_went_on_is_not_sent_back_by_the_rollout_before(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 4);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":1000");
	int64_t first = r->rollout;
	rig_until(r, "finished", 20);
	rig_create(r, BAD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":1000,\"filter\":\"hardware==rk3588\"");
	int64_t second = r->rollout;
	rig_until(r, "finished", 20);
	r->rollout = first;
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 20);
	assert_int_equal(rig_running(r, OLD), 2);
	assert_int_equal(rig_running(r, BAD), 2);
	assert_int_equal(rig_count(r, DEPLOYMENT_NOT_REVERTIBLE), 2);
	assert_int_equal(rig_count(r, DEPLOYMENT_REVERTED), 2);
	assert_int_equal(rig_deployment(r, "dev-2").rollout, second);
	assert_int_equal(rig_deployment(r, "dev-2").state, DEPLOYMENT_SUCCEEDED);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
	rig_kill(r);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(registry_find(r->f.w.s.registry, r->agents[i].id)->deployment, 0);
}

static void a_failed_later_rollout_does_not_keep_a_device_from_going_back(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 2);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":1000");
	int64_t first = r->rollout;
	rig_until(r, "finished", 20);
	r->agents[0].habit = FAILS;
	rig_create(r, BAD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":1000,\"retries\":0,\"success\":{\"percent\":50},"
		"\"filter\":\"id==dev-1\"");
	rig_steps(r, 3);
	assert_int_equal(rig_act(r, ROLLOUT_DO_ABORT), ERR_OK);
	rig_until(r, "stopped", 20);
	assert_int_equal(rig_count(r, DEPLOYMENT_FAILED), 1);
	r->agents[0].habit = WORKS;
	r->rollout = first;
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	rig_until(r, "reverted", 20);
	assert_int_equal(rig_running(r, OLD), 2);
}

static void only_what_has_ended_is_deleted(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 2);
	rig_create(r, GOOD, PLAIN);
	rig_steps(r, 1);
	REFUSED(&r->f.w, ERR_CONFLICT, rollouts_delete(rig_call(r), r->rollout));
	rig_until(r, "finished", 30);
	DO(&r->f.w, rollouts_delete(rig_call(r), r->rollout));
	rig_commit(r);
	struct rollout_rows x;
	struct buf out = BUF_INIT;
	int64_t next;
	assert_int_equal(rollout_open(rig_call(r), r->rollout, &x), ERR_NOT_FOUND);
	rig_must(r, rollouts_list(rig_call(r), NULL, 0, 10, &out, &next));
	assert_int_equal(out.len, 0);
	REFUSED(&r->f.w, ERR_NOT_FOUND, rollouts_delete(rig_call(r), r->rollout));
	/* a device may still talk of it, before its rows are gone and after */
	rig_report(r, &r->agents[1], ",\"deployment\":{\"id\":\"d-2\",\"attempt\":1,\"state\":\"failed\"}");
	rig_steps(r, 3);
	assert_int_equal(rollout_load(rig_call(r), r->rollout, &x), ERR_NOT_FOUND);
	rig_report(r, &r->agents[0], ",\"deployment\":{\"id\":\"d-1\",\"attempt\":1,\"state\":\"failed\"}");
}

static void words_that_are_late_doubled_or_of_others_change_nothing(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 2);
	rig_create(r, GOOD, ",\"stages\":[{\"percent\":100}],\"soak_ms\":60000");
	rig_steps(r, 2);
	struct deployment_row d = rig_deployment(r, "dev-1");
	assert_int_equal(d.state, DEPLOYMENT_SUCCEEDED);
	static const char *const said[] = {"failed", "downloading", "rejected", "cancelled", "accepted", "succeeded"};
	for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
		char rest[120];
		for (int attempt = 0; attempt < 3; attempt++) {
			snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":%d,\"state\":\"%s\"}", (long long)d.id,
				attempt + 1, said[i]);
			rig_report(r, &r->agents[0], rest);
			rig_report(r, &r->agents[1], rest); /* not its own */
		}
	}
	assert_int_equal(rig_count(r, DEPLOYMENT_SUCCEEDED), 2);
	assert_int_equal(rig_deployment(r, "dev-1").attempt, 1);
	assert_int_equal(rig_deployment(r, "dev-1").ended_at, d.ended_at);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_release_reaches_everybody),
		TEST(a_bad_release_is_taken_back_by_its_canaries),
		TEST(the_verdict_its_books_and_its_alert_come_together),
		TEST(an_attempt_that_fails_is_tried_again),
		TEST(silence_of_a_device_is_a_timeout_and_a_late_success_counts),
		TEST(an_error_condition_pauses_and_tells_until_it_is_resumed),
		TEST(what_the_operator_takes_back_goes_back_from_every_state),
		TEST(a_device_without_a_known_past_cannot_go_back),
		TEST(a_device_that_was_away_goes_back_when_it_returns),
		TEST(a_success_that_comes_after_the_revert_is_taken_back_too),
		TEST(paused_rollouts_offer_nothing_and_aborted_ones_leave_what_is_there),
		TEST(somebody_else_approves),
		TEST(a_release_that_was_reverted_elsewhere_does_not_start_any_more),
		TEST(one_device_alone_gets_it),
		TEST(devices_that_come_and_go_meanwhile_are_counted),
		TEST(late_joiners_get_it_with_the_last_stage),
		TEST(nothing_is_offered_outside_of_windows_but_reverts_are),
		TEST(the_rate_is_kept),
		TEST(named_canaries_are_taken_and_said_to_prove_nothing),
		TEST(an_undone_creation_leaves_nothing_behind),
		TEST(a_device_that_went_on_is_not_sent_back_by_the_rollout_before),
		TEST(a_failed_later_rollout_does_not_keep_a_device_from_going_back),
		TEST(only_what_has_ended_is_deleted),
		TEST(words_that_are_late_doubled_or_of_others_change_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
