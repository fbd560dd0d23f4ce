/* What the judge's numbers are worth: every guarantee as plans and verdicts tell it, and what keeps the bound. */
#include <math.h>

#include "rollout_world.h"

#include "service/rollout_judged.h"

#define STAGES ",\"stages\":[{\"percent\":20},{\"percent\":100}]"
#define GATES ",\"gates\":[{\"metric\":\"accuracy\"}]"
#define JUDGE(more) ",\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3" more "}"

/* The plan of a request, as JSON; NULL with r->f.w.fault when it is refused. */
static char *plan_of(struct rig *r, const char *rest)
{
	char text[1200];
	struct json *root = NULL;
	struct rollout_request q;
	struct buf out = BUF_INIT;
	int64_t id;
	snprintf(text, sizeof text, "{\"name\":\"r\",\"release\":\"%s\"%s}", GOOD, rest);
	rig_must(r, json_parse(text, strlen(text), &root, &r->f.w.fault));
	rollout_request_init(&q);
	rig_must(r, json_bind(rollout_request_fields, root, &q, r->f.w.c.arena, &r->f.w.fault));
	json_free(root);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	enum err e = rollouts_create(rig_call(r), &q, true, &out, &id);
	e = unit_end(&r->f.w.s, e, &r->f.w.fault);
	char *plan = e ? NULL : strdup(buf_cstr(&out));
	buf_done(&out);
	return plan;
}

static void expect_in_plan(struct rig *r, const char *rest, const char *words)
{
	char *plan = plan_of(r, rest);
	if (!plan)
		fail_msg("%s: refused: %s %s", rest, r->f.w.fault.pointer, r->f.w.fault.detail);
	if (!strstr(plan, words))
		fail_msg("%s: no %s in %s", rest, words, plan);
	free(plan);
}

static void set_attribute(struct rig *r, size_t device, const char *name, const char *value)
{
	struct device_attribute a = {name, value};
	struct device_spec change = {.attributes = &a, .attribute_count = 1};
	DO(&r->f.w, registry_update(rig_call(r), registry_find(r->f.w.s.registry, r->agents[device].id), &change, 0));
}

/* Stationarity needs a log of earlier windows: test_rollouts_self.c. */
static void plans_say_what_alpha_is_worth(void **state)
{
	static const struct {
		const char *rest, *words;
	} rows[] = {
		{GATES STAGES JUDGE(""), "\"guarantee\":\"exact\""},
		{GATES STAGES JUDGE(",\"sham\":true"), "\"guarantee\":\"exact (sham installs)\""},
		{GATES STAGES JUDGE(",\"hold\":\"all\""), "\"guarantee\":\"exact until a hold\""},
		{GATES STAGES JUDGE(",\"hold\":\"all\",\"hold_p\":0"), "\"guarantee\":\"exact\""},
		{GATES STAGES JUDGE(",\"interference\":true"), "\"guarantee\":\"conditional on no interference\""},
		{GATES STAGES JUDGE("") ",\"devices\":[\"dev-1\",\"dev-2\",\"dev-3\"]", "\"guarantee\":\"none (non-random cohort)\""},
		{STAGES, "\"guarantee\":\"none (no control)\""},
		{GATES ",\"stages\":[{\"count\":20,\"mode\":\"shadow\"},{\"percent\":20},{\"percent\":100}]" JUDGE(""),
			"\"guarantee\":\"conditional on exchangeable pairs\""},
		{GATES STAGES JUDGE(""), "\"bound_for\":\"harm of exactly the margins\""},
		{GATES STAGES JUDGE(",\"scale\":\"baseline\""), "\"bound_for\":\"any harm up to the margins\""},
		{GATES STAGES JUDGE(""), "\"hold\":\"rest\""},
	};
	struct rig *r = *state;
	rig_devices(r, 40);
	for (size_t i = 0; i < r->devices; i++)
		rig_report(r, &r->agents[i], ",\"capabilities\":{\"shadow\":true}");
	rig_steps(r, 8);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		expect_in_plan(r, rows[i].rest, rows[i].words);
}

/* Two devices behind one gateway, and nobody said that they share fate. */
static void shared_gateways_are_found(void **state)
{
	static const char *const names[] = {"gateway", "site"};
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	for (size_t i = 0; i < 40; i++) { /* each its own: nothing is shared */
		char value[16];
		snprintf(value, sizeof value, "g%zu", i);
		set_attribute(r, i, "gateway", value);
	}
	expect_in_plan(r, GATES STAGES JUDGE(""), "\"guarantee\":\"exact\"");
	for (size_t n = 0; n < 2; n++) {
		set_attribute(r, 7, names[n], "shared");
		set_attribute(r, 9, names[n], "shared");
		expect_in_plan(r, GATES STAGES JUDGE(""), "conditional on no interference");
		expect_in_plan(r, GATES STAGES JUDGE("") ",\"unit_attribute\":\"gateway\"", "\"guarantee\":\"exact\"");
		if (n == 0)
			set_attribute(r, 9, names[n], "own");
	}
	/* and it stays said: in the rollout, and with its verdicts after a restart */
	rig_create(r, GOOD, GATES STAGES JUDGE(""));
	rig_kill(r);
	assert_string_equal(rig_rows(r).row.guarantee, "conditional on no interference");
	rig_steps(r, 12);
	char *looks = rig_looks(r);
	assert_non_null(strstr(looks, "conditional on no interference"));
	free(looks);
}

/* ---- hold ---- */

static void hold_stage(struct rig *r, int64_t stage, bool held)
{
	struct rollout_rows x = rig_rows(r);
	x.stages[stage].verdict = held ? "hold" : "continue";
	x.stages[stage].held = held;
	IN_UNIT(r, stage_update(r->f.w.s.rollouts->store, &x.stages[stage], &r->f.w.fault));
	rig_commit(r);
}

/* Waiting deployments of the second stage: canaries and others. */
static void count_waiting(struct rig *r, int64_t *canaries, int64_t *others)
{
	struct deployment_row *rows;
	size_t count;
	*canaries = *others = 0;
	rig_must(r, deployment_in_state(r->f.w.s.rollouts->deployments, r->rollout, 1, DEPLOYMENT_WAITING, 1000, &rows, &count,
		r->f.w.c.arena, &r->f.w.fault));
	for (size_t i = 0; i < count; i++)
		*(rows[i].is_canary ? canaries : others) += 1;
}

/* Half of the stage is in blocks, half is not; one install a second. */
#define SLOW GATES ",\"stages\":[{\"percent\":20},{\"percent\":70},{\"percent\":100}],\"rate\":{\"per_minute\":60},\"soak_ms\":1000"

static void until_second_stage(struct rig *r, const char *rest)
{
	rig_devices(r, 80);
	rig_steps(r, 8);
	rig_create(r, GOOD, rest);
	for (int i = 0; i < 200 && strcmp(rig_rows(r).stages[1].status, "running") != 0; i++)
		rig_step(r);
	assert_string_equal(rig_rows(r).stages[1].status, "running");
	assert_true(rig_rows(r).stages[1].is_judged);
}

/* Nobody reports any more, so no look clears a suspicion. */
static void until_second_stage_without_looks(struct rig *r, const char *rest)
{
	until_second_stage(r, rest);
	for (size_t i = 0; i < r->devices; i++)
		r->agents[i].habit = TELLS_NOTHING;
	rig_step(r);
}

static void a_hold_leaves_the_drawn_canaries_alone(void **state)
{
	struct rig *r = *state;
	int64_t canaries, others, all;
	until_second_stage_without_looks(r, SLOW JUDGE(""));
	count_waiting(r, &canaries, &others);
	all = others;
	assert_true(canaries > 3 && others > 3);
	rig_steps(r, 2);
	count_waiting(r, &canaries, &others);
	assert_int_equal(others, all); /* canaries come first, held or not */
	hold_stage(r, 1, true);
	for (int i = 0; i < 100 && canaries > 0; i++) {
		rig_step(r);
		count_waiting(r, &canaries, &others);
		hold_stage(r, 1, true); /* whatever a look has said meanwhile */
	}
	assert_int_equal(canaries, 0);
	rig_steps(r, 3);
	count_waiting(r, &canaries, &others);
	assert_int_equal(others, all);
}

static void hold_all_stops_canaries_too(void **state)
{
	struct rig *r = *state;
	int64_t canaries, others, before;
	until_second_stage_without_looks(r, SLOW JUDGE(",\"hold\":\"all\""));
	hold_stage(r, 1, true);
	count_waiting(r, &before, &others);
	assert_true(before > 3);
	for (int i = 0; i < 3; i++) {
		hold_stage(r, 1, true);
		rig_tick(r);
		rig_commit(r);
	}
	count_waiting(r, &canaries, &others);
	assert_int_equal(canaries, before);
}

/* When the bake ends is decided by the judged canaries alone: that everybody else waits moves no look. */
static void a_hold_does_not_move_the_end_of_the_bake(void **state)
{
	int64_t ended[2] = {0};
	char *looks[2];
	for (int held = 0; held < 2; held++) {
		struct rig *r = *state;
		int64_t canaries, others;
		until_second_stage(r, SLOW JUDGE(""));
		for (int i = 0; i < 60 && strcmp(rig_rows(r).stages[1].verdict, "pass") != 0; i++) {
			if (held)
				hold_stage(r, 1, true);
			rig_tick(r);
			rig_commit(r);
			if (held && strcmp(rig_rows(r).stages[1].verdict, "pass") == 0)
				break;
			if (held && strcmp(rig_rows(r).stages[1].verdict, "inconclusive") == 0)
				break; /* held to the end: it is an end all the same */
			rig_work(r);
			rig_commit(r);
			rig_telemetry(r);
		}
		count_waiting(r, &canaries, &others);
		assert_int_equal(canaries, 0);
		assert_true(held ? others > 10 : others < 32);
		ended[held] = r->f.w.c.now_ms;
		struct look_row *rows;
		size_t count;
		rig_must(r, look_list(r->f.w.s.rollouts->store, r->rollout, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
		struct buf out = BUF_INIT;
		for (size_t i = 0; i < count; i++)
			if (rows[i].stage == 1)
				buf_printf(&out, "%lld: at %lld, %lld reports, p %a\n", (long long)rows[i].look, (long long)rows[i].at,
					(long long)rows[i].reports, rows[i].p);
		looks[held] = strdup(buf_cstr(&out));
		buf_done(&out);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
	assert_string_equal(looks[0], looks[1]);
	assert_int_equal(ended[0], ended[1]);
	assert_true(strlen(looks[0]) > 20);
	free(looks[0]);
	free(looks[1]);
}

#define FEW ",\"stages\":[{\"percent\":10},{\"percent\":100}]" /* others are left to draw from */

/* An extension's blocks are drawn at the end of the bake, held or not. */
static void a_hold_does_not_put_off_an_extension(void **state)
{
	for (int all = 0; all < 2; all++) {
		struct rig *r = *state;
		rig_devices(r, 80);
		rig_steps(r, 8);
		rig_create(r, GOOD, all ? GATES FEW JUDGE(",\"hold\":\"all\"") : GATES FEW JUDGE(""));
		rig_steps(r, 2);
		int64_t before = rig_rows(r).stages[0].blocks;
		assert_true(before > 0);
		for (size_t k = 0; k < r->devices; k++)
			r->agents[k].habit = TELLS_NOTHING; /* no look clears what follows */
		rig_step(r);
		for (int i = 0; i < 4; i++) {
			struct rollout_rows x = rig_rows(r);
			x.stages[0].extension = 1; /* an end of the bake showed nothing, and a gate is suspicious */
			x.stages[0].verdict = "hold";
			x.stages[0].held = true;
			IN_UNIT(r, stage_update(r->f.w.s.rollouts->store, &x.stages[0], &r->f.w.fault));
			rig_commit(r);
			rig_tick(r);
			rig_commit(r);
		}
		assert_int_equal(rig_rows(r).stages[0].extension_drawn, !all);
		assert_int_equal(rig_rows(r).stages[0].blocks, before); /* which plan the looks */
		struct block_row *rows;
		size_t count;
		int64_t last = -1;
		rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
		for (size_t i = 0; i < count; i++)
			last = rows[i].block > last ? rows[i].block : last;
		assert_true(all ? last == before - 1 : last >= before);
		assert_int_equal(rig_teardown(state), 0);
		assert_int_equal(rig_setup(state), 0);
	}
}

/* ---- scales and strata ---- */

static double fixed_scale(struct rig *r)
{
	return rig_rows(r).live->gates[0].fixed_scale;
}

static void scales_of_baselines_stay_what_they_were(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, GATES STAGES JUDGE(",\"scale\":\"baseline\""));
	double scale = fixed_scale(r);
	assert_true(scale > 0);
	rig_steps(r, 4); /* baselines grow */
	rig_kill(r);
	double again = fixed_scale(r);
	assert_memory_equal(&again, &scale, sizeof scale);
	rig_steps(r, 8);
	struct look_row *rows;
	size_t count;
	rig_must(r, look_list(r->f.w.s.rollouts->store, r->rollout, &rows, &count, r->f.w.c.arena, &r->f.w.fault));
	char words[40];
	snprintf(words, sizeof words, "\"scale\":%.6g", scale);
	words[12] = '\0'; /* the first digits */
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		if (!strstr(rows[i].data, words))
			fail_msg("no %s in %s", words, rows[i].data);
		assert_true(rows[i].look == 0 || rows[i].alpha_look > 0);
	}
	/* by the request's own word; and where nobody has a baseline it cannot be */
	free(plan_of(r, ",\"filter\":\"id==dev-1\""));
	assert_null(plan_of(r, ",\"gates\":[{\"metric\":\"accuracy\",\"scale\":0.01}]" STAGES JUDGE("")));
	assert_string_equal(r->f.w.fault.pointer, "/judge/scale");
}

static void strata_stay_as_they_were_drawn(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 80);
	for (size_t i = 0; i < 80; i++)
		set_attribute(r, i, "region", i % 4 < 2 ? "north" : "south");
	rig_steps(r, 8);
	rig_create(r, GOOD, ",\"gates\":[{\"metric\":\"accuracy\",\"per_stratum\":true}],\"strata\":[\"attribute.region\"]" STAGES JUDGE(""));
	rig_steps(r, 3);
	struct block_row *listed, rows[80];
	size_t count;
	rig_must(r, block_list(r->f.w.s.rollouts->store, r->rollout, 0, &listed, &count, r->f.w.c.arena, &r->f.w.fault));
	assert_true(count <= 80);
	memcpy(rows, listed, count * sizeof *rows); /* a commit empties the arena */
	int64_t of[2] = {-1, -1};
	assert_true(count > 30);
	for (int turn = 0; turn < 2; turn++) {
		const struct judged_stage *j = rig_rows(r).live->judged;
		assert_non_null(j);
		for (size_t i = 0; i < count; i++) {
			const struct device_state *d = registry_by_row(r->f.w.s.registry, rows[i].device);
			int region = (atoi(d->id + 4) - 1) % 4 < 2 ? 0 : 1;
			of[region] = of[region] < 0 ? rows[i].stratum : of[region];
			assert_int_equal(rows[i].stratum, of[region]);
			for (size_t k = 0; k < j->count; k++)
				if (j->rows[k].device == (uint64_t)rows[i].device)
					assert_int_equal(j->rows[k].stratum, of[region]);
		}
		assert_true(of[0] != of[1]);
		if (turn)
			break;
		for (size_t i = 0; i < 80; i += 3)
			set_attribute(r, i, "region", "elsewhere"); /* and a restart: where they were drawn is where they are judged */
		rig_kill(r);
		rig_step(r);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plans_say_what_alpha_is_worth),
		TEST(shared_gateways_are_found),
		TEST(a_hold_leaves_the_drawn_canaries_alone),
		TEST(hold_all_stops_canaries_too),
		TEST(a_hold_does_not_move_the_end_of_the_bake),
		TEST(a_hold_does_not_put_off_an_extension),
		TEST(scales_of_baselines_stay_what_they_were),
		TEST(strata_stay_as_they_were_drawn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
