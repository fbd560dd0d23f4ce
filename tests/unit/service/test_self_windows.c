/* Earlier windows of a device: measured from the log of reports, frozen, and cut to what can be compared with the window of now. */
#include "rollout_world.h"

#include "service/self_windows.h"
#include "service/self_windows_inside.h"

#define SECOND 1000
#define LENGTH ((int64_t)32 * SECOND) /* so that a mark is a whole number of seconds */
#define WINDOWS 3
#define T (NOW + 1000 * SECOND)
#define ROLLOUT 1

enum { ACCURACY, CRASH, SILENCE, GATES };

static struct judge_gate gates[GATES];
static struct self_store *store;
static int64_t seqs[DEVICES_MAX];

static void open_store(struct rig *r)
{
	rig_must(r, self_store_open(r->f.w.s.db, &store, &r->f.w.fault));
}

static int setup(void **state)
{
	struct rollout_row row = {.release = 1, .name = "r", .release_name = OLD, .target_filter = "", .status = "running", .reason = "", .spec = "{}",
		.guarantee = "x", .created_by = "me"};
	int64_t id = 0;
	assert_int_equal(rig_setup(state), 0);
	struct rig *r = *state;
	judge_gate_init(&gates[ACCURACY], "accuracy", METRIC_RATIO);
	judge_gate_init(&gates[CRASH], "crash", METRIC_EVENT);
	judge_gate_init(&gates[SILENCE], "silence", METRIC_SILENCE);
	memset(seqs, 0, sizeof seqs);
	rig_devices(r, 4);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, unit_end(&r->f.w.s, rollout_insert(r->f.w.s.rollouts->store, &row, &id, &r->f.w.fault), &r->f.w.fault));
	world_commit(&r->f.w);
	assert_int_equal(id, ROLLOUT);
	open_store(r);
	return 0;
}

static int teardown(void **state)
{
	self_store_close(store);
	return rig_teardown(state);
}

static void restart(struct rig *r)
{
	self_store_close(store);
	rig_kill(r);
	open_store(r);
}

/* ---- reports ---- */

static void say(struct rig *r, size_t device, int64_t at_ms, const char *version, int64_t right, int64_t crashes)
{
	char json[300];
	r->f.w.c.now_ms = at_ms;
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%lld},\"crash\":%lld}}",
		(long long)++seqs[device], version, (long long)right, (long long)crashes);
	fleet_telemetry(&r->f, r->agents[device].id, json);
}

static void settle(struct rig *r)
{
	if (telemetry_pending(r->f.w.s.telemetry) > 0)
		fleet_settle(&r->f);
}

/* Second by second, `windows` lengths up to T and half of one before; every 20 s a crash. */
static void says_all(struct rig *r, size_t device, int windows)
{
	for (int64_t at = T - windows * LENGTH - LENGTH / 2; at < T; at += SECOND) {
		say(r, device, at, "1.0.0", 40 + (at / SECOND * 7 + (int64_t)device) % 5, at / SECOND % 20 == 0);
		settle(r);
	}
}

/* ---- questions ---- */

static struct self_job *measure(struct rig *r, size_t devices)
{
	int64_t rows[DEVICES_MAX];
	struct self_question q = {.gates = gates, .gate_count = GATES, .at_ms = T, .length_ms = LENGTH, .windows = WINDOWS, .devices = rows,
		.device_count = devices};
	for (size_t i = 0; i < devices; i++) /* not in order of rows */
		rows[i] = registry_find(r->f.w.s.registry, r->agents[devices - 1 - i].id)->row;
	struct self_job *j = self_job_new(rig_call(r), &q);
	self_job_work(j);
	rig_must(r, self_job_error(j, &r->f.w.fault));
	return j;
}

static uint32_t windows_of(struct rig *r, size_t device)
{
	struct self_job *j = measure(r, r->devices);
	uint32_t count = self_job_windows(j, r->devices - 1 - device);
	self_job_free(j);
	return count;
}

static void freeze(struct rig *r, size_t devices)
{
	struct self_job *j = measure(r, devices);
	for (size_t i = 0; i < devices; i++)
		IN_UNIT(r, self_job_write(j, store, ROLLOUT, 0, i, &r->f.w.fault));
	self_job_free(j);
	world_commit(&r->f.w);
}

static void add_bytes(void *ctx, const struct self_row *row)
{
	buf_printf(ctx, "%lld.%lld@%lld+%lld:", (long long)row->device, (long long)row->place, (long long)row->from_ms, (long long)row->length_ms);
	for (size_t i = 0; i < row->len; i++)
		buf_printf(ctx, "%02x", ((const uint8_t *)row->points)[i]);
	buf_char(ctx, '\n');
}

static char *frozen(struct rig *r)
{
	struct buf out = BUF_INIT;
	for (size_t i = 0; i < r->devices; i++)
		rig_must(r, self_each(store, ROLLOUT, 0, registry_find(r->f.w.s.registry, r->agents[i].id)->row, add_bytes, &out, &r->f.w.fault));
	char *text = strdup(buf_cstr(&out));
	buf_done(&out);
	return text;
}

/* One device's canary row with its earlier windows, as a look has them. */
struct block {
	struct judge_row rows[WINDOWS + 1];
	struct judge_cell cells[(WINDOWS + 1) * GATES];
	size_t count;
};

static struct block block_of(struct rig *r, size_t device, int64_t data_ms, int64_t age_ms, struct metric_point accuracy, double crashes)
{
	struct block b = {.rows = {{.device = (uint64_t)registry_find(r->f.w.s.registry, r->agents[device].id)->row, .block = 7, .is_canary = true, .reports = 5}}};
	struct self_past *p = self_past_new(gates, GATES);
	b.cells[ACCURACY] = (struct judge_cell){.baseline = {10, 500, 0.9}, .window = accuracy};
	b.cells[CRASH].window = (struct metric_point){5, 5, crashes};
	b.cells[SILENCE].window = (struct metric_point){1, 1, 0};
	rig_must(r, self_past_read(p, store, ROLLOUT, 0, 0, &r->f.w.fault)); /* one of whom nothing is known comes first */
	rig_must(r, self_past_read(p, store, ROLLOUT, 0, (int64_t)b.rows[0].device, &r->f.w.fault));
	assert_int_equal(self_past_count(p, 0), 0);
	assert_int_equal(self_past_rows(p), self_past_count(p, 1));
	b.count = self_past_fill(p, 1, data_ms, age_ms, b.rows, b.cells);
	self_past_free(p);
	return b;
}

static const struct metric_point SOME = {5, 250, 0.8};

/* ---- tests ---- */

static void marks_lie_in_the_window(void **state)
{
	(void)state;
	assert_int_equal(self_mark_ms(SELF_MARKS - 1, LENGTH), LENGTH);
	assert_int_equal(self_mark_ms(SELF_MARKS - 1, 1000003), 1000003);
	assert_int_equal(self_mark_below(LENGTH, 999), -1);
	assert_int_equal(self_mark_below(LENGTH, 1000), 0);
	assert_int_equal(self_mark_ms(self_mark_below(LENGTH, 11999), LENGTH), 8000);
	assert_int_equal(self_mark_below(LENGTH, 9 * LENGTH), SELF_MARKS - 1);
	assert_int_equal(self_mark_above(LENGTH, 0), 0);
	assert_int_equal(self_mark_ms(self_mark_above(LENGTH, 8001), LENGTH), 12000);
	assert_int_equal(self_mark_above(LENGTH, 9 * LENGTH), SELF_MARKS - 1);
	assert_true(self_scale_events(3, LENGTH, LENGTH) == 3);
	assert_true(self_scale_events(3, LENGTH, LENGTH + 1) == 2);
	for (int m = 1; m < SELF_MARKS; m++)
		assert_true(self_mark_ms(m, 64) > self_mark_ms(m - 1, 64));
}

static void windows_are_what_the_log_has(void **state)
{
	struct rig *r = *state;
	for (size_t i = 0; i < 2; i++)
		says_all(r, i, WINDOWS);
	assert_int_equal(windows_of(r, 0), WINDOWS);
	assert_int_equal(windows_of(r, 2), 0); /* one that never reported */
	freeze(r, 2);
	struct block b = block_of(r, 1, LENGTH, LENGTH, SOME, 2);
	assert_int_equal(b.count, WINDOWS + 1);
	for (size_t i = 1; i < b.count; i++) {
		int64_t from = T - (int64_t)i * LENGTH, right = 0, crashes = 0;
		for (int64_t at = from; at < from + LENGTH; at += SECOND) {
			right += 40 + (at / SECOND * 7 + 1) % 5;
			crashes += at / SECOND % 20 == 0;
		}
		const struct judge_cell *cell = &b.cells[i * GATES];
		assert_false(b.rows[i].is_canary);
		assert_int_equal(b.rows[i].block, 7);
		assert_int_equal(b.rows[i].reports, 32);
		assert_int_equal(cell[ACCURACY].window.reports, 32);
		assert_true(cell[ACCURACY].window.value == (double)right / (32 * 50));
		assert_true(cell[ACCURACY].baseline.value == 0.9);
		assert_true(cell[CRASH].window.value == (double)crashes);
		assert_true(cell[SILENCE].window.reports == 1 && cell[SILENCE].window.value == 0);
		for (size_t k = 0; k < i; k++)
			assert_true(b.rows[k].device != b.rows[i].device);
	}
}

static void says_some(struct rig *r, bool backwards, bool repeats, int batch_seconds)
{
	for (int64_t at = T - WINDOWS * LENGTH - LENGTH / 2, n = 0; at < T; at += SECOND, n++) {
		for (size_t k = 0; k < 4; k++) {
			size_t i = backwards ? 3 - k : k;
			say(r, i, at, "1.0.0", 40 + (at / SECOND * 7 + (int64_t)i) % 5, at / SECOND % 9 == 0);
			if (repeats) {
				seqs[i]--;
				say(r, i, at + 300, "1.0.0", 0, 3); /* the same report again, delivered late */
			}
		}
		if (n % batch_seconds == 0)
			settle(r);
	}
	settle(r);
}

static void the_same_reports_make_the_same_windows(void **state)
{
	char *texts[4];
	for (int i = 0; i < 4; i++) {
		struct rig *r = *state;
		says_some(r, i == 1, i == 2, i == 0 ? 1 : 7);
		if (i == 3)
			restart(r);
		freeze(r, 4);
		texts[i] = frozen(r);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
	assert_int_equal(strlen(texts[0]) > 1000, true);
	for (int i = 1; i < 4; i++)
		assert_string_equal(texts[i], texts[0]);
	for (int i = 0; i < 4; i++)
		free(texts[i]);
}

static void purge(struct rig *r)
{
	for (bool is_empty = false; !is_empty;)
		IN_UNIT(r, rollout_purge(r->f.w.s.rollouts->store, ROLLOUT, 0, 2, &is_empty, &r->f.w.fault));
}

static void frozen_windows_stay(void **state)
{
	struct rig *r = *state;
	says_all(r, 0, WINDOWS);
	freeze(r, 1);
	char *before = frozen(r);
	say(r, 0, T + SECOND, "2.0.0", 0, 3); /* what comes later, and a restart, change nothing */
	settle(r);
	restart(r);
	char *after = frozen(r);
	assert_string_equal(after, before);
	free(before);
	free(after);
	purge(r);
	after = frozen(r);
	assert_string_equal(after, "");
	free(after);
}

static void reports_from_t_on_are_not_the_past(void **state)
{
	struct rig *r = *state;
	says_all(r, 0, WINDOWS);
	freeze(r, 1);
	char *before = frozen(r);
	purge(r);
	say(r, 0, T, "1.0.0", 0, 3);
	settle(r);
	freeze(r, 1);
	char *after = frozen(r);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

static void a_young_log_has_fewer_windows(void **state)
{
	struct rig *r = *state;
	size_t with;
	says_all(r, 0, 1);
	says_all(r, 1, 2);
	says_all(r, 2, 3);
	assert_int_equal(windows_of(r, 0), 1);
	assert_int_equal(windows_of(r, 1), 2);
	assert_int_equal(windows_of(r, 2), 3);
	struct self_job *j = measure(r, 4);
	assert_int_equal(self_job_typical(j, &with), 1); /* (2 * 3 * 4)^(1/3) = 2.88 */
	assert_int_equal(with, 3);
	self_job_free(j);
}

static void an_earlier_version_is_not_the_past(void **state)
{
	struct rig *r = *state;
	for (int64_t at = T - 3 * LENGTH - LENGTH / 2; at < T; at += SECOND) {
		say(r, 0, at, at < T - LENGTH - 5 * SECOND ? "0.9.0" : "1.0.0", 45, 0); /* changed five seconds before the newest window */
		say(r, 1, at, at == T - LENGTH - 5 * SECOND ? "0.9.0" : "1.0.0", 45, 0); /* one report of another one in the second */
		settle(r);
	}
	assert_int_equal(windows_of(r, 0), 1);
	assert_int_equal(windows_of(r, 1), 2);
}

static void silence_counts_and_absence_does_not(void **state)
{
	struct rig *r = *state;
	int64_t start = T - 2 * LENGTH; /* of the second window */
	for (int64_t at = T - WINDOWS * LENGTH - LENGTH / 2; at < T; at += SECOND) {
		if (at <= start || at >= start + LENGTH - 10 * SECOND)
			say(r, 0, at, "1.0.0", 45, 0); /* goes at once, comes back before the end */
		if (at <= start + SECOND || at >= start + LENGTH)
			say(r, 1, at, "1.0.0", 45, 0); /* falls silent in it: there at its start, and at that of the next one */
		if (at < start - 15 * SECOND || at >= start + 2 * SECOND)
			say(r, 2, at, "1.0.0", 45, 0); /* was not there when it began */
		settle(r);
	}
	for (int64_t at = T; at < T + 100 * SECOND; at += SECOND) { /* so that all have the habit of reporting each second */
		for (size_t i = 0; i < 3; i++)
			say(r, i, at, "1.0.0", 45, 0);
		settle(r);
	}
	assert_int_equal(windows_of(r, 0), 3);
	assert_int_equal(windows_of(r, 1), 2); /* but not at the start of the first one: it had been silent */
	assert_int_equal(windows_of(r, 2), 2);
	freeze(r, 4);
	struct block b = block_of(r, 1, 4 * SECOND, LENGTH, SOME, 0);
	assert_int_equal(b.count, 3);
	assert_true(b.cells[1 * GATES + SILENCE].window.value == 1);
	assert_true(b.cells[2 * GATES + SILENCE].window.value == 0);
	b = block_of(r, 1, SECOND, SECOND, SOME, 0);
	assert_true(b.cells[1 * GATES + SILENCE].window.value == 0); /* not yet after a second */
	b = block_of(r, 0, LENGTH, LENGTH, SOME, 0);
	assert_true(b.cells[2 * GATES + SILENCE].window.value == 0); /* it had come back by then */
	assert_int_equal(b.cells[2 * GATES + ACCURACY].window.reports, 11);
}

static void a_young_window_is_compared_with_young_windows(void **state)
{
	struct rig *r = *state;
	says_all(r, 0, WINDOWS);
	freeze(r, 1);
	struct block b = block_of(r, 0, SECOND - 1, SECOND, SOME, 1);
	for (size_t i = 0; i < b.count; i++) /* nothing to compare with yet, but events */
		assert_int_equal(b.cells[i * GATES + ACCURACY].window.reports, 0);
	assert_int_equal(b.cells[GATES + CRASH].window.reports, 1);
	assert_true(b.cells[CRASH].window.value == 1);
	b = block_of(r, 0, 7 * SECOND, 7 * SECOND, SOME, 1);
	assert_int_equal(b.cells[ACCURACY].window.reports, SOME.reports);
	for (size_t i = 1; i < b.count; i++) {
		assert_int_equal(b.cells[i * GATES + ACCURACY].window.reports, 4); /* the mark below */
		assert_int_equal(b.cells[i * GATES + CRASH].window.reports, 8);    /* the mark above */
	}
	b = block_of(r, 0, 3 * LENGTH, 3 * LENGTH, SOME, 8);
	assert_int_equal(b.cells[GATES + ACCURACY].window.reports, 32);
	assert_true(b.cells[CRASH].window.value == 2); /* of three lengths: 8/3 */
}

static void a_gate_that_a_window_lacks_waits_for_its_mark(void **state)
{
	struct rig *r = *state;
	for (int64_t at = T - WINDOWS * LENGTH - LENGTH / 2; at < T; at += SECOND) {
		bool has_gap = at >= T - LENGTH && at < T - LENGTH + 2 * SECOND; /* its habit allows that */
		if (!has_gap)
			say(r, 0, at, "1.0.0", 45, 0);
		settle(r);
	}
	freeze(r, 1);
	struct block b = block_of(r, 0, 2 * SECOND, 2 * SECOND, SOME, 0);
	for (size_t i = 0; i < b.count; i++)
		assert_int_equal(b.cells[i * GATES + ACCURACY].window.reports, 0);
	b = block_of(r, 0, 4 * SECOND, 4 * SECOND, SOME, 0);
	assert_int_equal(b.cells[1 * GATES + ACCURACY].window.reports, 2);
	assert_int_equal(b.cells[2 * GATES + ACCURACY].window.reports, 4);
}

/* ---- what it is for: a world that stays the same is no harm, at any age of the window ---- */

#define FLEET 10
#define PAST 9

#define RUNS 300
#define ALPHA 0.2

static double noise(uint64_t *state)
{
	double sum = 0;
	for (int i = 0; i < 12; i++) {
		uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		sum += (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
	}
	return sum - 6;
}

/* A window of 32 reports, one a second: its sums so far. */
static void add_up(uint64_t *random, double level, double sums[32])
{
	double sum = 0;
	for (int i = 0; i < 32; i++)
		sums[i] = sum += level + noise(random);
}

static void freeze_sums(struct rig *r, int64_t device, int64_t place, const double sums[32])
{
	struct metric_point points[SELF_MARKS];
	struct self_shape shape = {.points = points};
	struct buf b = BUF_INIT;
	for (int m = 0; m < SELF_MARKS; m++) {
		int64_t n = shape.reports[m] = self_mark_ms(m, 32);
		points[m] = (struct metric_point){n, n, sums[n - 1] / (double)n};
	}
	self_shape_encode(&shape, 1, &b);
	struct self_row row = {.rollout = ROLLOUT, .device = device, .place = place, .length_ms = 32, .points = b.data, .len = b.len};
	rig_must(r, self_insert(store, &row, &r->f.w.fault));
	buf_done(&b);
}

/* Whether the judge reverts at any second of the bake; `harm` is added to each report of now. */
static bool reverts(struct rig *r, const struct judge_config *c, uint64_t *random, double harm)
{
	static uint8_t workspace[1 << 20];
	double now[FLEET][32], past[32];
	struct self_past *p = self_past_new(c->gates, 1);
	struct judge_state state = {0};
	struct judge_result res = {0};
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	for (int64_t device = 1; device <= FLEET; device++) {
		double level = 5 * noise(random);
		for (int64_t place = 1; place <= PAST; place++) {
			add_up(random, level, past);
			freeze_sums(r, device, place, past);
		}
		add_up(random, level + harm, now[device - 1]);
		rig_must(r, self_past_read(p, store, ROLLOUT, 0, device, &r->f.w.fault));
	}
	for (int second = 1; second <= 32 && res.verdict != VERDICT_REVERT; second++) {
		struct judge_row rows[FLEET * (PAST + 1)] = {{0}};
		struct judge_cell cells[FLEET * (PAST + 1)] = {{{0}, {0}}};
		size_t count = 0;
		for (uint32_t device = 1; device <= FLEET; device++) {
			rows[count] = (struct judge_row){.device = device, .block = device, .reports = second, .is_canary = true};
			cells[count].baseline = (struct metric_point){1, 1, 0};
			cells[count].window = (struct metric_point){second, second, now[device - 1][second - 1] / second};
			count += self_past_fill(p, device - 1, second, second, &rows[count], &cells[count]);
		}
		assert_int_equal(count, FLEET * (PAST + 1));
		assert_true(judge_workspace_bytes(count, 1) <= sizeof workspace);
		rig_must(r, judge_look(c, &state, rows, cells, count, second == 32, &res, workspace, sizeof workspace, &r->f.w.fault));
	}
	self_past_free(p);
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT); /* no trace */
	return res.verdict == VERDICT_REVERT;
}

static void a_world_that_stays_the_same_is_no_harm(void **state)
{
	struct rig *r = *state;
	struct judge_gate gate;
	struct judge_config c;
	uint64_t random = 42;
	int wrong = 0, found = 0;
	rig_devices(r, FLEET - r->devices);
	judge_gate_init(&gate, "heat", METRIC_MEAN);
	judge_gates_normalise(&gate, 1);
	judge_config_init(&c);
	c.mode = JUDGE_SELF;
	c.alpha = ALPHA;
	c.hold_p = 0;
	c.blocks = FLEET;
	c.controls = PAST;
	c.reports_planned = 32;
	c.extensions_max = 0;
	c.hard_stop_silent = 0;
	c.gates = &gate;
	c.gate_count = 1;
	for (int i = 0; i < RUNS; i++)
		wrong += reverts(r, &c, &random, 0);
	for (int i = 0; i < RUNS / 10; i++)
		found += reverts(r, &c, &random, 1);
	print_message("%d of %d harmless reverted at alpha %g, %d of %d harmful\n", wrong, RUNS, ALPHA, found, RUNS / 10);
	assert_true(wrong <= RUNS * ALPHA);
	assert_true(found >= RUNS / 10 * 9 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_lie_in_the_window),
		cmocka_unit_test_setup_teardown(windows_are_what_the_log_has, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_reports_make_the_same_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(frozen_windows_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(reports_from_t_on_are_not_the_past, setup, teardown),
		cmocka_unit_test_setup_teardown(a_young_log_has_fewer_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(an_earlier_version_is_not_the_past, setup, teardown),
		cmocka_unit_test_setup_teardown(silence_counts_and_absence_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_young_window_is_compared_with_young_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(a_gate_that_a_window_lacks_waits_for_its_mark, setup, teardown),
		cmocka_unit_test_setup_teardown(a_world_that_stays_the_same_is_no_harm, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
