/* Who is a target, in pieces: the same as at once, whatever happens meanwhile, and no piece is long. */
#include "rollout_world.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "service/timebox.h"

#define BOX_NS 2000000u

static void sql(struct rig *r, const char *text)
{
	struct stmt *q;
	rig_must(r, db_prepare_text(r->f.w.s.db, text, &q, &r->f.w.fault));
	rig_must(r, stmt_run(q, &r->f.w.fault));
}

/* Devices d1 .. dN straight into the store: four hardware classes, a region each, a serial number each hundredth's neighbours share. */
static void fill(struct rig *r, int64_t count)
{
	struct call *c = rig_call(r);
	char text[600];
#define NUMBERS "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %lld) "
	snprintf(text, sizeof text, "INSERT INTO device (device_id, hardware, created_at, updated_at) " NUMBERS
		"SELECT 'd' || i, 'hw' || (i %% 4), 1, 1 FROM n", (long long)count);
	sql(r, text);
	sql(r, "INSERT INTO device_attribute (device, name, value) SELECT id, 'region', 'r' || (id % 5) FROM device");
	sql(r, "INSERT INTO device_attribute (device, name, value) SELECT id, 'serial', id / 2 FROM device");
	sql(r, "INSERT INTO device_tag (device, tag) SELECT id, 'rare' FROM device WHERE id % 1000 = 7");
	sql(r, "INSERT INTO device_tag (device, tag) SELECT id, 'common' FROM device WHERE id % 10 <> 3");
	world_commit(&r->f.w);
	rig_kill(r);
	*c = r->f.w.c;
}

static struct rollout_live live_of(struct rig *r, const char *text)
{
	struct rollout_live live = {.id = 0};
	struct json *root = NULL;
	rig_must(r, json_parse(text, strlen(text), &root, &r->f.w.fault));
	rollout_request_init(&live.spec);
	rig_must(r, json_bind(rollout_request_fields, root, &live.spec, r->f.w.c.arena, &r->f.w.fault));
	json_free(root);
	rig_must(r, rollout_request_check(&live.spec, r->f.w.c.arena, &r->f.w.fault));
	live.gate_count = rollout_request_gates(&live.spec, live.gates);
	return live;
}

static int64_t release_of(struct rig *r, const char *name)
{
	struct release_row row;
	rig_must(r, releases_find(rig_call(r), name, &row));
	return row.id;
}

struct cost {
	int64_t steps;
	uint64_t all_ns, longest_ns; /* of the processor */
};

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(struct cost *cost, uint64_t begin_ns)
{
	uint64_t ns = cpu_ns() - begin_ns;
	cost->steps++;
	cost->all_ns += ns;
	cost->longest_ns = ns > cost->longest_ns ? ns : cost->longest_ns;
}

/* To its end, in steps of `box_ns` each; 0: the smallest steps. */
static struct rollout_scan *scan(struct rig *r, const struct rollout_live *live, int64_t group, uint64_t box_ns, struct cost *cost)
{
	struct rollout_scan *s;
	bool is_done = false;
	*cost = (struct cost){0};
	rig_must(r, rollout_scan_new(rig_call(r), live, release_of(r, GOOD), group, &s));
	while (!is_done) {
		uint64_t begin_ns = cpu_ns();
		const struct timebox box = box_ns ? timebox_begin(box_ns) : (struct timebox){0};
		rig_must(r, rollout_scan_step(rig_call(r), s, &box, &is_done));
		note(cost, begin_ns);
	}
	return s;
}

static void same(const struct rollout_targets *a, const struct rollout_targets *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->matched, b->matched);
	assert_int_equal(a->already, b->already);
	assert_int_equal(a->busy, b->busy);
	assert_int_equal(a->incompatible, b->incompatible);
	assert_int_equal(a->online, b->online);
	assert_int_equal(a->no_baseline, b->no_baseline);
	assert_int_equal(a->strata, b->strata);
	assert_int_equal(a->gap_count, b->gap_count);
	assert_memory_equal(a->with_metric, b->with_metric, sizeof a->with_metric);
	for (size_t i = 0; i < a->count; i++) {
		const struct plan_device *x = &a->devices[i], *y = &b->devices[i];
		assert_int_equal(x->device, y->device);
		assert_int_equal(x->stratum, y->stratum);
		assert_int_equal(x->unit, y->unit);
		assert_int_equal(x->is_eligible, y->is_eligible);
		assert_true(x->baseline == y->baseline || (isnan(x->baseline) && isnan(y->baseline)));
	}
}

static const char *const requests[] = {
	"{\"name\":\"r\",\"release\":\"good\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"hardware==hw1\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"tag==rare\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"tag==common;attribute.region=in=(r1,r2)\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"tag!=common,id==d5*\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"online==true\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"filter\":\"id==nobody\"}",
	"{\"name\":\"r\",\"release\":\"good\",\"strata\":[\"hardware\",\"attribute.region\"],\"unit_attribute\":\"serial\"}",
};
#define REQUESTS (sizeof requests / sizeof requests[0])

static void pieces_are_the_whole(void **state)
{
	struct rig *r = *state;
	struct group_row group = {.name = "some"};
	static const char *const add[] = {"d3", "d70", "d400"};
	int64_t added, removed;
	fill(r, 600);
	struct registry *registry = r->f.w.s.registry;
	IN_UNIT(r, groups_create(rig_call(r), &group));
	IN_UNIT(r, groups_change_members(rig_call(r), &group, add, 3, NULL, 0, &added, &removed));
	for (int64_t row = 10; row < 300; row++) /* known in memory only: a filter on presence writes it first */
		registry_set_online(registry, registry_by_row(registry, row), true, NOW);
	for (int with_group = 0; with_group < 2; with_group++) {
		for (size_t i = 0; i < REQUESTS; i++) {
			struct rollout_live live = live_of(r, requests[i]);
			struct rollout_targets whole;
			struct cost cost;
			struct rollout_scan *s = scan(r, &live, with_group ? group.id : 0, 0, &cost);
			rig_must(r, rollout_targets(rig_call(r), &live, release_of(r, GOOD), with_group ? group.id : 0, &whole));
			same(&whole, rollout_scan_targets(s));
			if (whole.count > 100)
				assert_true(cost.steps > 5);
			if (strstr(requests[i], "online") && !with_group)
				assert_int_equal(whole.matched, 290);
			if (strstr(requests[i], "strata") && !with_group)
				assert_int_equal(whole.strata, 20);
			rollout_scan_free(s);
			rig_commit(r);
		}
	}
}

/* What a plan asks is the same without what only a draw needs. */
static void counting_finds_the_same_devices(void **state)
{
	struct rig *r = *state;
	struct rollout_scan *s;
	struct rollout_targets whole;
	const struct timebox never = {UINT64_MAX};
	bool is_done;
	fill(r, 300);
	struct rollout_live live = live_of(r, requests[REQUESTS - 1]);
	rig_must(r, rollout_targets(rig_call(r), &live, release_of(r, GOOD), 0, &whole));
	rig_must(r, rollout_scan_new(rig_call(r), &live, release_of(r, GOOD), 0, &s));
	rollout_scan_count_only(s);
	rig_must(r, rollout_scan_step(rig_call(r), s, &never, &is_done));
	const struct rollout_targets *t = rollout_scan_targets(s);
	assert_true(is_done);
	assert_int_equal(t->count, 300);
	assert_int_equal(t->strata, 0);
	for (size_t i = 0; i < t->count; i++) {
		assert_int_equal(t->devices[i].device, whole.devices[i].device);
		assert_int_equal(t->devices[i].is_eligible, whole.devices[i].is_eligible);
	}
	rollout_scan_free(s);
}

/* Rows go up, nobody comes twice; who was there all the time is in it, who left before it came by is not, nor is who came later. */
static void devices_come_and_go_meanwhile(void **state)
{
	struct rig *r = *state;
	struct world *w = &r->f.w;
	fill(r, 400);
	for (size_t i = 0; i < REQUESTS; i++) {
		if (strstr(requests[i], "online") || strstr(requests[i], "nobody"))
			continue;
		struct rollout_live live = live_of(r, requests[i]);
		struct rollout_targets before;
		rig_must(r, rollout_targets(rig_call(r), &live, release_of(r, GOOD), 0, &before));
		struct rollout_scan *s;
		const struct timebox over = {0};
		bool is_done;
		rig_must(r, rollout_scan_new(rig_call(r), &live, release_of(r, GOOD), 0, &s));
		rig_must(r, rollout_scan_step(rig_call(r), s, &over, &is_done));
		int64_t first = before.devices[0].device, last = before.devices[before.count - 1].device;
		char id[32];
		snprintf(id, sizeof id, "late-%zu", i);
		struct device_state *late = world_device(w, id, "hw1");
		DO(w, registry_delete(&w->c, registry_by_row(w->s.registry, first), true, 0, NULL));
		bool is_gone = !is_done && last != first;
		if (is_gone)
			DO(w, registry_delete(&w->c, registry_by_row(w->s.registry, last), true, 0, NULL));
		while (!is_done)
			rig_must(r, rollout_scan_step(rig_call(r), s, &over, &is_done));
		const struct rollout_targets *t = rollout_scan_targets(s);
		assert_int_equal(t->count, before.count - is_gone); /* the first one had been passed already */
		for (size_t n = 0; n < t->count; n++) {
			assert_int_equal(t->devices[n].device, before.devices[n].device);
			assert_int_not_equal(t->devices[n].device, late->row);
		}
		rollout_scan_free(s);
		rig_commit(r);
	}
}

/* A metric of the wrong kind, too few reports, nothing at all: what merging everything would say. */
static void baselines_are_what_they_were(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 30);
	for (size_t i = 0; i < 10; i++)
		r->agents[i].habit = TELLS_NOTHING;
	rig_steps(r, 2);
	for (size_t i = 10; i < 20; i++)
		r->agents[i].habit = TELLS_NOTHING; /* two reports */
	rig_steps(r, 6);
	struct rollout_live live = live_of(r, "{\"name\":\"r\",\"release\":\"good\",\"gates\":[{\"metric\":\"accuracy\"}]}");
	struct cost cost;
	struct rollout_scan *s = scan(r, &live, 0, 0, &cost);
	const struct rollout_targets *t = rollout_scan_targets(s);
	assert_int_equal(t->count, 30);
	assert_int_equal(t->no_baseline, 20);
	assert_int_equal(t->with_metric[0], 10);
	for (size_t i = 0; i < t->count; i++) {
		struct metric_accum a;
		const struct plan_device *d = &t->devices[i];
		assert_int_equal(d->is_eligible, i >= 20);
		if (i < 20) {
			assert_true(isnan(d->baseline));
			continue;
		}
		assert_true(observe_baseline(rig_call(r), d->device, "accuracy", &a, NULL));
		assert_true(d->baseline == accum_point(&a, METRIC_RATIO, NULL, 0).value);
	}
	rollout_scan_free(s);
	/* as latencies, the same reports are nothing */
	live = live_of(r, "{\"name\":\"r\",\"release\":\"good\",\"gates\":[{\"metric\":\"accuracy\",\"kind\":\"quantile\",\"quantile\":0.9,\"worse\":\"up\"}]}");
	s = scan(r, &live, 0, 0, &cost);
	assert_int_equal(rollout_scan_targets(s)->with_metric[0], 0);
	assert_int_equal(rollout_scan_targets(s)->no_baseline, 30);
	rollout_scan_free(s);
}

/* The processor's time, so that a busy machine says nothing. A piece more than its timebox is a bounded number of rows. */
static void no_step_is_long(void **state)
{
	struct rig *r = *state;
	fill(r, 100000);
	for (size_t i = 0; i < REQUESTS; i++) {
		struct rollout_live live = live_of(r, requests[i]);
		struct cost cost;
		rollout_scan_free(scan(r, &live, 0, BOX_NS, &cost));
		print_message("%s: %lld steps, %.1f ms, the longest %.2f ms\n", requests[i], (long long)cost.steps, (double)cost.all_ns / 1e6,
			(double)cost.longest_ns / 1e6);
		if (cost.longest_ns > 10000000)
			fail_msg("%s: a step took %.1f ms", requests[i], (double)cost.longest_ns / 1e6);
		assert_true(cost.steps > 2);
		rig_commit(r);
	}
}

/* 50,000 strata: were each device compared with all of them, this would take a minute. */
static void many_strata_cost_no_more(void **state)
{
	struct rig *r = *state;
	struct cost cost;
	fill(r, 100000);
	struct rollout_live live = live_of(r, "{\"name\":\"r\",\"release\":\"good\",\"strata\":[\"attribute.serial\"]}");
	struct rollout_scan *s = scan(r, &live, 0, BOX_NS, &cost);
	const struct rollout_targets *t = rollout_scan_targets(s);
	assert_int_equal(t->strata, 50001);
	for (size_t i = 0; i < t->count; i++)
		assert_int_equal(t->devices[i].stratum, t->devices[i].device / 2);
	assert_true(cost.all_ns < 2000000000u);
	assert_true(cost.longest_ns < 15000000);
	rollout_scan_free(s);
}

/* ---- planning ---- */

static struct rollout_planning *planning(struct rig *r, const char *text)
{
	struct rollout_live live = live_of(r, text);
	struct rollout_request *q = arena_alloc(r->f.w.c.arena, sizeof *q);
	struct rollout_planning *p;
	const struct timebox over = {0};
	bool is_done = false;
	int steps = 0;
	*q = live.spec;
	rig_must(r, rollouts_plan_new(rig_call(r), q, false, &p));
	while (!is_done) {
		rig_must(r, rollouts_plan_step(rig_call(r), p, &over, &is_done));
		steps++;
	}
	assert_true(steps > 3);
	return p;
}

static enum err finish(struct rig *r, struct rollout_planning *p)
{
	struct buf out = BUF_INIT;
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	enum err e = unit_end(&r->f.w.s, rollouts_plan_finish(rig_call(r), p, &out, &r->rollout), &r->f.w.fault);
	rollouts_plan_free(p);
	buf_done(&out);
	return e;
}

/* What the request named may have gone, or been made anew, while the plan was made. */
static void the_plan_is_looked_at_again(void **state)
{
	struct rig *r = *state;
	struct call *c = rig_call(r);
	struct group_row group = {.name = "some"}, found;
	static const char *const add[] = {"d3", "d70", "d400"};
	static const char text[] = "{\"name\":\"r\",\"release\":\"good\",\"group\":\"some\"}";
	int64_t added, removed;
	fill(r, 500);
	assert_int_equal(finish(r, planning(r, requests[0])), ERR_OK);
	assert_int_equal(rig_rows(r).row.target, 500);
	IN_UNIT(r, groups_create(c, &group));
	IN_UNIT(r, groups_change_members(c, &group, add, 3, NULL, 0, &added, &removed));
	rig_must(r, groups_find(c, "some", &found));

	struct rollout_live live = live_of(r, text);
	struct rollout_planning *p;
	const struct timebox never = {UINT64_MAX};
	bool is_done = false;
	rig_must(r, rollouts_plan_new(c, &live.spec, false, &p));
	rig_must(r, rollouts_plan_step(c, p, &never, &is_done));
	assert_true(is_done);
	IN_UNIT(r, groups_delete(c, &found));
	assert_int_equal(finish(r, p), ERR_INVALID);
	assert_string_equal(r->f.w.fault.pointer, "/group");
}

/* A later stage that is too small for any proof goes without a judge: the plan says so, as the stage does when it begins. */
static void the_plan_says_what_the_draw_decides(void **state)
{
	struct rig *r = *state;
	struct planned_stage planned[ROLLOUT_STAGES_MAX + 1];
	rig_devices(r, 40);
	rig_steps(r, 8);
	rig_create(r, GOOD, ",\"gates\":[{\"metric\":\"accuracy\"}],\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3},"
		"\"stages\":[{\"percent\":20},{\"percent\":25},{\"percent\":60},{\"percent\":100}]");
	struct rollout_rows x = rig_rows(r);
	size_t count = rollout_plan_stages(x.live, 40, planned);
	rig_until(r, "finished", 200);
	x = rig_rows(r);
	assert_int_equal(x.stage_count, count);
	size_t judged = 0;
	for (size_t i = 0; i < count; i++) {
		if (x.stages[i].is_judged != (planned[i].blocks > 0))
			fail_msg("stage %zu of %lld devices: planned %lld blocks, begun with %lld", i, (long long)planned[i].planned, (long long)planned[i].blocks,
				(long long)x.stages[i].blocks);
		judged += x.stages[i].is_judged;
	}
	assert_false(x.stages[1].is_judged); /* two devices */
	assert_true(judged >= 2 && judged < count);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(pieces_are_the_whole),
		T(counting_finds_the_same_devices),
		T(devices_come_and_go_meanwhile),
		T(baselines_are_what_they_were),
		T(no_step_is_long),
		T(many_strata_cost_no_more),
		T(the_plan_is_looked_at_again),
		T(the_plan_says_what_the_draw_decides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
