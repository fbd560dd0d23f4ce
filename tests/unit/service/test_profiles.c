/* Profiles: learned from reports in their context, kept over kills, imported from tables. */
#include "selection_world.h"

#include <math.h>

#include "core/health.h"
#include "store/profile_store.h"

#define HARD "esp32s3"
static const struct piece two[] = {{"*", "int8", NULL, 4000}, {"*", "float", NULL, 16000}};

static void add_device(struct rig *r, const char *id, const char *hardware)
{
	registry_set_online(r->f.w.s.registry, world_device(&r->f.w, id, hardware), true, r->f.w.c.now_ms);
	world_commit(&r->f.w);
}

static double value(const struct profile_figures *f, enum profile_figure_kind kind)
{
	return f->of[kind].value;
}

static void a_report_counts_for_what_its_device_runs(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	add_device(r, "b", HARD);
	install(r, "a", release); /* nothing is known: the smaller one */
	IN_UNIT(r, selection_installed(rig_call(r), device_of(r, "b")->row, release, NULL));
	for (int i = 0; i < 10; i++)
		measure(r, "a", "2.0.0", 20, 0.5);
	struct profiled p = figures_of(r, HARD, "2.0.0", "int8", 0);
	assert_true(fabs(value(&p.any, PROFILE_LATENCY_P50) - 20) < 0.5 && fabs(value(&p.any, PROFILE_LATENCY_P95) - 20) < 0.5);
	assert_true(fabs(value(&p.any, PROFILE_ENERGY) - 500) < 1e-6); /* microjoules an inference */
	assert_true(fabs(value(&p.any, PROFILE_QUALITY) - 0.9) < 1e-9);
	assert_int_equal(p.any.of[PROFILE_LATENCY_P50].samples, 300);
	assert_int_equal(p.any.of[PROFILE_LATENCY_P50].devices, 1);
	p = figures_of(r, HARD, "2.0.0", "float", 0);
	assert_true(isnan(value(&p.any, PROFILE_LATENCY_P50)));
	measure(r, "a", "9.9.9", 700, 0.5); /* a version that is not its own counts for nothing */
	p = figures_of(r, HARD, "2.0.0", "int8", 0);
	assert_int_equal(p.any.of[PROFILE_LATENCY_P50].samples, 300);
}

static void a_device_that_was_not_installed_from_here_has_what_its_release_has(void **state)
{
	static const struct piece one[] = {{"*", "", NULL, 4000}};
	struct rig *r = *state;
	make_release(r, "single", "2.0.0", one, 1, NULL);
	make_release(r, "two", "3.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	tell(r, "a", "2.0.0", "\"latency_ms\":5");
	fleet_settle(&r->f);
	assert_int_equal(figures_of(r, HARD, "2.0.0", "", 0).any.of[PROFILE_LATENCY_P50].samples, 0); /* it runs nothing that is known */
	struct agent agent = {.id = "a"};
	rig_runs(r, &agent, "single", 1, "");
	world_commit(&r->f.w);
	tell(r, "a", "2.0.0", "\"latency_ms\":5,\"arena_used_bytes\":777");
	fleet_settle(&r->f);
	struct profiled p = figures_of(r, HARD, "2.0.0", "", 0);
	assert_int_equal(p.any.of[PROFILE_LATENCY_P50].samples, 1);
	assert_true(value(&p.any, PROFILE_MEMORY) == 777);
	rig_runs(r, &agent, "two", 2, ""); /* which of the two nobody knows */
	world_commit(&r->f.w);
	measure(r, "a", "3.0.0", 5, 1);
	assert_true(isnan(figures_of(r, HARD, "3.0.0", "int8", 0).any.of[PROFILE_LATENCY_P50].value));
	assert_true(isnan(figures_of(r, HARD, "3.0.0", "float", 0).any.of[PROFILE_LATENCY_P50].value));
}

static void contexts_are_kept_apart(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	install(r, "a", release);
	measure(r, "a", "2.0.0", 10, 1);
	tell(r, "a", "2.0.0", "\"temperature_c\":71,\"link_rssi_dbm\":-90");
	fleet_settle(&r->f);
	measure(r, "a", "2.0.0", 40, 1); /* what a report does not say stays as it was */
	tell(r, "a", "2.0.0", "\"temperature_c\":20");
	fleet_settle(&r->f);
	assert_int_equal(profiles_context(r->f.w.s.profiles, device_of(r, "a")), HEALTH_BAD_LINK);
	struct profiled cold = figures_of(r, HARD, "2.0.0", "int8", 0), hot = figures_of(r, HARD, "2.0.0", "int8", HEALTH_HOT | HEALTH_BAD_LINK);
	assert_true(fabs(value(&cold.cell, PROFILE_LATENCY_P95) - 10) < 0.3);
	assert_true(fabs(value(&hot.cell, PROFILE_LATENCY_P95) - 40) < 1);
	assert_int_equal(cold.any.of[PROFILE_LATENCY_P50].samples, 60);
}

static void change_variant(struct rig *r, const char *id, int64_t release, const char *variant)
{
	IN_UNIT(r, selection_override(rig_call(r), device_of(r, id), "kws", variant, NULL, &(struct buf)BUF_INIT));
	install(r, id, release);
}

/* The same story with kills at other places; `kills`: bits by step. Returns everything that is known at the end. */
static void tell_story(struct rig *r, unsigned kills, struct profiled out[2])
{
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	install(r, "a", release);
	for (unsigned step = 0; step < 8; step++) {
		measure(r, "a", "2.0.0", 10 + step, 1 + step);
		r->f.w.c.now_ms += 1000;
		if (step == 3) {
			change_variant(r, "a", release, "float");
			r->f.w.c.now_ms += 1000;
		}
		if (step % 2 == 1) {
			r->f.w.c.now_ms += 10000;
			rig_must(r, profiles_tick(rig_call(r)));
			if (step % 4 == 1) /* else it is lost in a kill */
				rig_commit(r);
		}
		if (kills >> step & 1)
			choice_kill(r);
	}
	out[0] = figures_of(r, HARD, "2.0.0", "int8", 0);
	out[1] = figures_of(r, HARD, "2.0.0", "float", 0);
}

static void a_kill_changes_nothing(void **state)
{
	struct profiled wanted[2], got[2];
	tell_story(*state, 0, wanted);
	assert_int_equal(wanted[0].any.of[PROFILE_LATENCY_P50].samples, 120);
	assert_int_equal(wanted[1].any.of[PROFILE_LATENCY_P50].samples, 120);
	static const unsigned kills[] = {0x01, 0x02, 0x04, 0x08, 0x20, 0x80, 0x55, 0xaa, 0xff};
	for (size_t i = 0; i < sizeof kills / sizeof kills[0]; i++) {
		void *fresh;
		choice_setup(&fresh);
		tell_story(fresh, kills[i], got);
		for (int v = 0; v < 2; v++)
			for (unsigned k = 0; k < PROFILE_FIGURES; k++) {
				const struct profile_figure *a = &wanted[v].any.of[k], *b = &got[v].any.of[k];
				if (isnan(a->value) ? !isnan(b->value) : a->value != b->value || a->samples != b->samples || a->devices != b->devices)
					fail_msg("kills %x: %s %g of %llu, not %g of %llu", kills[i], profile_figure_name(k), b->value, (unsigned long long)b->samples,
						a->value, (unsigned long long)a->samples);
			}
		choice_teardown(&fresh);
	}
}

/* A kill between two pieces of a round: rows are newer than the place from which the log is told again. */
static void what_is_in_a_row_is_not_counted_again(void **state)
{
	struct rig *r = *state;
	struct profile_store *store;
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	install(r, "a", release);
	measure(r, "a", "2.0.0", 10, 1);
	r->f.w.c.now_ms += 20000;
	rig_must(r, profiles_tick(rig_call(r)));
	rig_must(r, profile_store_open(r->f.w.s.db, &store, &r->f.w.fault));
	IN_UNIT(r, profile_set_watermark(store, 0, &r->f.w.fault));
	profile_store_close(store);
	rig_commit(r);
	measure(r, "a", "2.0.0", 10, 1);
	choice_kill(r);
	assert_int_equal(figures_of(r, HARD, "2.0.0", "int8", 0).any.of[PROFILE_LATENCY_P50].samples, 60);
}

static void profiles_are_bounded_and_counted(void **state)
{
	enum { CLASSES = PROFILE_CELLS_MAX / HEALTH_CELLS + 1 };
	struct rig *r = *state;
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL), refused = metric_get(METER_PROFILES_REFUSED);
	for (int i = 0; i < CLASSES; i++) {
		char id[16], hardware[16];
		snprintf(id, sizeof id, "d%d", i);
		snprintf(hardware, sizeof hardware, "h%d", i);
		add_device(r, id, hardware);
		install(r, id, release);
		for (int cell = 0; cell < HEALTH_CELLS; cell++) {
			char metrics[160];
			snprintf(metrics, sizeof metrics, "\"latency_ms\":5,\"temperature_c\":%d,\"battery\":%g,\"link_rssi_dbm\":%d", cell & HEALTH_HOT ? 70 : 20,
				cell & HEALTH_LOW_BATTERY ? 0.1 : 0.9, cell & HEALTH_BAD_LINK ? -95 : -50);
			tell(r, id, "2.0.0", metrics);
		}
		fleet_settle(&r->f);
	}
	assert_int_equal(metric_get(METER_PROFILE_CELLS), PROFILE_CELLS_MAX);
	assert_int_equal(metric_get(METER_PROFILES_REFUSED) - refused, HEALTH_CELLS);
}

/* ---- tables ---- */

static int64_t count_of(const char *json, const char *name)
{
	char key[40];
	snprintf(key, sizeof key, "\"%s\":", name);
	const char *at = strstr(json, key);
	assert_non_null(at);
	return strtoll(at + strlen(key), NULL, 10);
}

static void a_table_is_imported_by_its_names(void **state)
{
	struct rig *r = *state;
	static const char table[] =
		"round,org,system,bench,latency_ms,energy_uJ,auc\n"
		"1.2,bosch,CY8C_int8,ad,162.2,3000,0.86\n"
		"1.2,bosch,CY8C_float,ad,479.8,9000,0.88\n"
		"1.2,bosch,CY8C_int8,ad,minus,9000,0.88\n"
		"1.2,bosch,OTHER,ic,1,2,0.5\n";
	struct profile_import in = {.text = table, .len = sizeof table - 1, .origin = "mlperf", .hardware = "CY8C:psoc6", .model = "ad:kws",
		.variant = "bosch-1.2-int8:int8,bosch-1.2-float:float", .mapped_only = true};
	struct buf out = BUF_INIT;
	make_release(r, "two", "2.0.0", two, 2, NULL);
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	assert_int_equal(count_of(buf_cstr(&out), "rows"), 4);
	assert_int_equal(count_of(buf_cstr(&out), "taken"), 2);
	assert_int_equal(count_of(buf_cstr(&out), "skipped"), 1);
	assert_int_equal(count_of(buf_cstr(&out), "refused"), 1);
	assert_non_null(strstr(buf_cstr(&out), "line 4"));
	buf_done(&out);
	choice_kill(r); /* not committed: gone */
	assert_true(isnan(figures_of(r, "psoc6", "2.0.0", "int8", 0).published.of[PROFILE_LATENCY_P95].value));
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	rig_commit(r);
	choice_kill(r);
	struct profiled p = figures_of(r, "psoc6", "2.0.0", "float", 0);
	assert_true(value(&p.published, PROFILE_LATENCY_P95) == 479.8 && value(&p.published, PROFILE_QUALITY) == 0.88);
	assert_int_equal(p.published.of[PROFILE_QUALITY].source, PROFILE_PUBLISHED);
	struct profile_filter filter = {.learned = true, .published = true};
	const char *next = NULL;
	buf_clear(&out);
	json_open_array(&out);
	rig_must(r, profiles_list(rig_call(r), &filter, NULL, 1, &out, &next));
	assert_non_null(next);
	rig_must(r, profiles_list(rig_call(r), &filter, next, 1, &out, &next));
	json_close_array(&out);
	assert_null(next);
	assert_non_null(strstr(buf_cstr(&out), "\"variant\":\"float\""));
	assert_non_null(strstr(buf_cstr(&out), "\"variant\":\"int8\""));
	buf_done(&out);
	int64_t removed;
	IN_UNIT(r, profiles_drop(rig_call(r), "mlperf", &removed));
	assert_int_equal(removed, 2);
	enum err e = profiles_drop(rig_call(r), "mlperf", &removed);
	assert_int_equal(e, ERR_NOT_FOUND);
	in.hardware = "CY8C";
	e = profiles_import(rig_call(r), &in, &out);
	assert_int_equal(e, ERR_INVALID);
	buf_done(&out);
}

static void answers_that_are_right_are_no_auc(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "two", "2.0.0", two, 2, NULL);
	add_device(r, "a", HARD);
	install(r, "a", release);
	measure(r, "a", "2.0.0", 10, 1);
	struct profile_figures own;
	profiles_own(rig_call(r), device_of(r, "a"), "kws", "2.0.0", 0, "auc", &own);
	assert_true(isnan(value(&own, PROFILE_QUALITY)) && fabs(value(&own, PROFILE_LATENCY_P95) - 10) < 0.3);
	profiles_own(rig_call(r), device_of(r, "a"), "kws", "2.0.0", 0, NULL, &own);
	assert_true(fabs(value(&own, PROFILE_QUALITY) - 0.9) < 1e-9);
	assert_int_equal(own.of[PROFILE_QUALITY].source, PROFILE_DEVICE);
	profiles_own(rig_call(r), device_of(r, "a"), "kws", "2.0.0", r->f.w.c.now_ms + 1, NULL, &own); /* of something else, perhaps */
	assert_true(isnan(value(&own, PROFILE_LATENCY_P95)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, choice_setup, choice_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_report_counts_for_what_its_device_runs),
		TEST(a_device_that_was_not_installed_from_here_has_what_its_release_has),
		TEST(contexts_are_kept_apart),
		TEST(a_kill_changes_nothing),
		TEST(what_is_in_a_row_is_not_counted_again),
		TEST(profiles_are_bounded_and_counted),
		TEST(a_table_is_imported_by_its_names),
		TEST(answers_that_are_right_are_no_auc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
