/* Actions over real rollouts: polls from memory, what was undone, numbers, cancelling, retries, reverts; statements use their indexes. */
#include "rollout_world.h"

#include "service/actions.h"
#include "service/registry.h"
#include "store/db.h"

static const struct action_options options = {.hardware = "ddi", .hardware_attribute = "hardware", .release_attribute = "release",
	.closed_window = "skip", .downloads_max = 2, .busy_polls = 0};

static int setup(void **state)
{
	rig_setup(state);
	struct rig *r = *state;
	rig_must(r, actions_open(&r->f.w.s, &options, &r->f.w.s.actions, &r->f.w.fault));
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	actions_close(r->f.w.s.actions);
	r->f.w.s.actions = NULL;
	return rig_teardown(state);
}

static struct device_state *add(struct rig *r, const char *id)
{
	const struct device_spec spec = {.id = id, .hardware = "ddi", .protocol = "ddi", .token = "secret"};
	struct device_state *d = NULL;
	IN_UNIT(r, registry_create(rig_call(r), &spec, &d));
	rig_commit(r);
	return d;
}

static struct action_offer poll(struct rig *r, struct device_state *d)
{
	struct action_offer offer;
	rig_must(r, actions_poll(rig_call(r), d, &offer));
	return offer;
}

static void say(struct rig *r, struct device_state *d, int64_t action, enum ddi_execution x, enum ddi_finished finished)
{
	const struct action_feedback fb = {.execution = x, .finished = finished};
	IN_UNIT(r, actions_feedback(rig_call(r), d, action, &fb));
	rig_commit(r);
}

static void create(struct rig *r, const char *release, const char *rest)
{
	char text[300];
	snprintf(text, sizeof text, ",\"stages\":[{\"percent\":100}],\"error\":{\"percent\":90,\"min_count\":50,\"action\":\"pause\"}%s", rest);
	rig_create(r, release, text);
	rig_tick(r);
	rig_tick(r);
	rig_commit(r);
}

static void test_idle_polls_make_no_statement(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	assert_true(d->is_ddi);
	assert_true(actions_check_token(rig_call(r), d, "secret", 6));
	poll(r, d);
	uint64_t before = db_steps(r->f.w.s.db);
	for (int i = 0; i < 100; i++) {
		r->f.w.c.now_ms += 1000;
		assert_true(actions_is_ready(rig_call(r), d));
		assert_true(actions_check_token(rig_call(r), d, "secret", 6));
		assert_false(actions_check_token(rig_call(r), d, "Secret", 6));
		assert_false(actions_check_token(rig_call(r), d, "secret", 5));
		assert_int_equal(poll(r, d).kind, OFFER_NOTHING);
	}
	assert_int_equal(db_steps(r->f.w.s.db), before);
	assert_true(d->online);
	assert_int_equal(d->last_seen_ms, r->f.w.c.now_ms);
}

static void test_what_was_undone_is_not_shown(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	create(r, OLD, "");
	assert_int_equal(poll(r, d).action, 11);
	const struct action_feedback done = {.execution = DDI_CLOSED, .finished = DDI_SUCCESS};
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, actions_feedback(rig_call(r), d, 11, &done));
	assert_int_equal(poll(r, d).kind, OFFER_NOTHING);
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	assert_int_equal(poll(r, d).kind, OFFER_DEPLOYMENT);
	assert_int_equal(poll(r, d).installed, 0);
	assert_string_equal(registry_text(r->f.w.s.registry, d->release), "");
}

static void test_a_restart_finds_everything(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	create(r, OLD, "");
	actions_close(r->f.w.s.actions);
	rig_must(r, actions_open(&r->f.w.s, &options, &r->f.w.s.actions, &r->f.w.fault));
	assert_true(actions_check_token(rig_call(r), d, "secret", 6));
	struct action_offer offer = poll(r, d);
	assert_int_equal(offer.kind, OFFER_DEPLOYMENT);
	assert_int_equal(offer.action, 11);
	assert_true(offer.wants_attributes);
}

static void test_an_operator_cancels(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	struct action_view view;
	const struct action_feedback stopped = {.execution = DDI_CLOSED, .finished = DDI_SUCCESS};
	create(r, OLD, "");
	IN_UNIT(r, actions_cancel(rig_call(r), d, 11, false));
	rig_must(r, actions_get(rig_call(r), d, 11, &view));
	assert_int_equal(view.status, ACTION_CANCELING);
	assert_true(view.is_active && view.is_cancelling);
	assert_int_equal(actions_cancel(rig_call(r), d, 11, false), ERR_METHOD);
	assert_int_equal(poll(r, d).kind, OFFER_CANCEL);
	IN_UNIT(r, actions_cancel_feedback(rig_call(r), d, 11, &stopped));
	rig_must(r, actions_get(rig_call(r), d, 11, &view));
	assert_int_equal(view.status, ACTION_CANCELED);
	assert_false(view.is_active);
	assert_int_equal(rig_deployment(r, "ddi-1").state, DEPLOYMENT_CANCELLED);
	assert_int_equal(actions_cancel(rig_call(r), d, 11, true), ERR_METHOD);
	assert_int_equal(poll(r, d).kind, OFFER_NOTHING);
}

static void test_force_quits_at_once(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	const struct action_feedback late = {.execution = DDI_CLOSED, .finished = DDI_SUCCESS};
	create(r, OLD, "");
	IN_UNIT(r, actions_cancel(rig_call(r), d, 11, true));
	assert_int_equal(poll(r, d).kind, OFFER_NOTHING);
	assert_int_equal(actions_feedback(rig_call(r), d, 11, &late), ERR_GONE);
	assert_int_equal(rig_deployment(r, "ddi-1").state, DEPLOYMENT_CANCELLED);
}

static void test_attempts_have_numbers_of_their_own(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	struct action_view *views;
	size_t count;
	int64_t total;
	create(r, OLD, ",\"retries\":3");
	say(r, d, 11, DDI_CLOSED, DDI_FAILURE);
	rig_tick(r);
	assert_int_equal(poll(r, d).action, 12);
	say(r, d, 12, DDI_CLOSED, DDI_FAILURE);
	rig_tick(r);
	say(r, d, 13, DDI_CLOSED, DDI_SUCCESS);
	rig_must(r, actions_page(rig_call(r), d, 0, false, 10, &views, &count));
	rig_must(r, actions_count(rig_call(r), NULL, &total));
	assert_int_equal(count, 3);
	assert_int_equal(total, 3);
	static const enum action_status wanted[] = {ACTION_ERROR, ACTION_ERROR, ACTION_FINISHED};
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(views[i].id, 11 + (int64_t)i);
		assert_int_equal(views[i].status, wanted[i]);
		assert_false(views[i].is_active);
		assert_string_equal(views[i].release_name, OLD);
	}
	assert_int_equal(poll(r, d).installed, 13);
	assert_string_equal(registry_text(r->f.w.s.registry, d->release), OLD);
}

/* Nobody hears from it: the attempt is cancelled, and the next one waits until the device has heard that. */
static void test_time_runs_out(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	const struct action_feedback stopped = {.execution = DDI_CLOSED, .finished = DDI_SUCCESS};
	create(r, OLD, ",\"retries\":5");
	for (int i = 0; i < 25; i++)
		rig_tick(r);
	struct action_offer offer = poll(r, d);
	assert_int_equal(offer.kind, OFFER_CANCEL);
	assert_int_equal(offer.action, 11);
	for (int i = 0; i < 25; i++) /* the next one runs out, too, and was never seen */
		rig_tick(r);
	assert_int_equal(poll(r, d).action, 11);
	IN_UNIT(r, actions_cancel_feedback(rig_call(r), d, 11, &stopped));
	offer = poll(r, d);
	assert_int_equal(offer.kind, OFFER_DEPLOYMENT);
	assert_int_equal(offer.action, 13);
	assert_int_equal(rig_deployment(r, "ddi-1").action, 13);
}

static void test_no_shams_and_no_shadows(void **state)
{
	struct rig *r = *state;
	struct device_state *d = add(r, "ddi-1");
	assert_false(d->can_shadow);
	int64_t rev = d->desired_rev;
	create(r, OLD, "");
	assert_true(d->desired_rev > rev);
	assert_int_equal(d->sent_rev, 0); /* nothing is sent to it */
}

static bool scans_a_table(const char *line)
{
	return strncmp(line, "SCAN ", 5) == 0 && strncmp(line, "SCAN (", 6) != 0 && strstr(line, "CONSTANT ROW") == NULL;
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	if (!scans_a_table(line) || statement->scans)
		return;
	print_message("%s\n    %s\n", statement->sql, line);
	++*(int *)ctx;
}

static void test_statements_use_their_indexes(void **state)
{
	struct rig *r = *state;
	int bad = 0;
	db_each_plan(r->f.w.s.db, check_plan, &bad);
	assert_int_equal(bad, 0);
}

#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_RIG(test_idle_polls_make_no_statement), IN_RIG(test_what_was_undone_is_not_shown), IN_RIG(test_a_restart_finds_everything),
		IN_RIG(test_an_operator_cancels), IN_RIG(test_force_quits_at_once), IN_RIG(test_attempts_have_numbers_of_their_own),
		IN_RIG(test_time_runs_out), IN_RIG(test_no_shams_and_no_shadows), IN_RIG(test_statements_use_their_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
