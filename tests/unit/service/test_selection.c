/* Which variant a device gets: by class, objective, what is installed, an operator's wish, the link; and what the fleet says about variants. */
#include "selection_world.h"

#include <math.h>

#define QUICK "esp32s3"
#define SLOW "nrf52"
#define DAY_MS INT64_C(86400000)

static const struct piece both[] = {
	{"*", "int8", "{\"quality\":{\"top1\":0.85}}", 4000},
	{"*", "float", "{\"quality\":{\"top1\":0.90}}", 16000},
};

static void add_device(struct rig *r, const char *id, const char *hardware)
{
	registry_set_online(r->f.w.s.registry, world_device(&r->f.w, id, hardware), true, r->f.w.c.now_ms);
	world_commit(&r->f.w);
}

/* Figures of a class by a table: so many milliseconds and microjoules for each variant. */
static void publish(struct rig *r, const char *hardware, double int8_ms, double float_ms)
{
	char table[400];
	struct buf out = BUF_INIT;
	snprintf(table, sizeof table, "hardware,model,variant,latency_ms,energy_uj\n%s,kws,int8,%g,100\n%s,kws,float,%g,100\n", hardware, int8_ms, hardware,
		float_ms);
	struct profile_import in = {.text = table, .len = strlen(table)};
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	buf_done(&out);
	rig_commit(r);
}

static struct selection_objective objective(void)
{
	struct selection_objective o;
	selection_objective_init(&o);
	return o;
}

static void classes_get_what_is_faster_there(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "both", "2.0.0", both, 2, NULL);
	add_device(r, "q", QUICK);
	add_device(r, "s", SLOW);
	publish(r, QUICK, 30, 10); /* no rule says that one kind is faster */
	publish(r, SLOW, 10, 30);
	assert_string_equal(variant_for(r, "q", release), "float");
	assert_string_equal(variant_for(r, "s", release), "int8");
}

static void telemetry_overrules_a_table(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "both", "2.0.0", both, 2, NULL);
	add_device(r, "a", QUICK);
	add_device(r, "b", QUICK);
	publish(r, QUICK, 10, 30);
	install(r, "a", release); /* int8 */
	measure(r, "a", "2.0.0", 50, 1);
	r->f.w.c.now_ms += 2000; /* figures of a class are kept for a second */
	assert_string_equal(variant_for(r, "b", release), "float");
}

static void the_objective_counts(void **state)
{
	struct rig *r = *state;
	struct selection_objective o = objective();
	add_device(r, "a", QUICK);
	publish(r, QUICK, 10, 30);
	o.min_quality = 0.88;
	int64_t good = make_release(r, "better", "2.0.0", both, 2, &o);
	assert_string_equal(variant_for(r, "a", good), "float");
	o = objective();
	const char *order[] = {"size"};
	o.order = (struct json_strs){order, 1};
	publish(r, QUICK, 30, 10);
	int64_t small = make_release(r, "small", "2.1.0", both, 2, &o), fast = make_release(r, "fast", "2.2.0", both, 2, NULL);
	assert_string_equal(variant_for(r, "a", small), "int8");
	assert_string_equal(variant_for(r, "a", fast), "float");
	o.min_quality = 0.95;
	int64_t none = make_release(r, "none", "2.3.0", both, 2, &o);
	struct deployment_row d;
	enum selection_outcome outcome;
	(void)offered(r, "a", none, &d, &outcome);
	assert_int_equal(outcome, SELECTION_NOTHING);
	assert_non_null(strstr(d.reason, "no variant of kws serves"));
	assert_non_null(strstr(d.reason, "quality_low"));
}

static void an_objective_is_checked_and_kept(void **state)
{
	struct rig *r = *state;
	struct call *c = rig_call(r);
	struct selection_objective o = objective();
	const char *twice[] = {"size", "size"}, *odd[] = {"speed"}, *json;
	int64_t release = make_release(r, "both", "2.0.0", both, 2, NULL);
	rig_must(r, selection_get_objective(c, release, &json));
	assert_null(json);
	o.order = (struct json_strs){twice, 2};
	assert_int_equal(selection_set_objective(c, release, &o), ERR_INVALID);
	assert_string_equal(r->f.w.fault.pointer, "/objective/order/1");
	o.order = (struct json_strs){odd, 1};
	assert_int_equal(selection_set_objective(c, release, &o), ERR_INVALID);
	o.order = (struct json_strs){twice, 1};
	o.weights.size = 1;
	assert_int_equal(selection_set_objective(c, release, &o), ERR_INVALID);
	o.weights.size = 0;
	o.transfer.window_from = "25:00";
	o.transfer.window_until = "05:00";
	assert_int_equal(selection_set_objective(c, release, &o), ERR_INVALID);
	o.transfer.window_from = "01:00";
	IN_UNIT(r, selection_set_objective(c, release, &o));
	rig_must(r, selection_get_objective(c, release, &json));
	assert_non_null(strstr(json, "\"order\":[\"size\"]"));
	assert_non_null(strstr(json, "\"window_from\":\"01:00\""));
}

static void an_installed_variant_stays_for_small_gains_and_its_time(void **state)
{
	struct rig *r = *state;
	int64_t release = make_release(r, "both", "2.0.0", both, 2, NULL), again = make_release(r, "again", "2.0.0", NULL, 0, NULL);
	add_device(r, "a", QUICK);
	publish(r, QUICK, 10, 30);
	install(r, "a", release);
	publish(r, QUICK, 10, 5); /* half the time, but it was installed just now */
	assert_string_equal(variant_for(r, "a", again), "int8");
	r->f.w.c.now_ms += 2 * DAY_MS;
	assert_string_equal(variant_for(r, "a", again), "float");
	publish(r, QUICK, 10, 9.5); /* 5 % */
	assert_string_equal(variant_for(r, "a", again), "int8");
	choice_kill(r);
	assert_string_equal(variant_for(r, "a", again), "int8");
	add_device(r, "b", QUICK); /* runs nothing yet */
	assert_string_equal(variant_for(r, "b", again), "float");
}

static void an_operator_may_ask_for_one(void **state)
{
	struct rig *r = *state;
	struct call *c = rig_call(r);
	struct buf out = BUF_INIT;
	struct selection_objective o = objective();
	o.min_quality = 0.88;
	int64_t release = make_release(r, "both", "2.0.0", both, 2, &o);
	add_device(r, "a", QUICK);
	assert_string_equal(variant_for(r, "a", release), "float");
	assert_int_equal(selection_override(c, device_of(r, "a"), "nothing", "int8", NULL, &out), ERR_INVALID);
	IN_UNIT(r, selection_override(c, device_of(r, "a"), "kws", "int8", "trial", &out));
	assert_string_equal(variant_for(r, "a", release), "int8");
	rig_commit(r);
	choice_kill(r);
	assert_string_equal(variant_for(r, "a", release), "int8");
	buf_clear(&out);
	rig_must(r, selection_explain(c, device_of(r, "a"), "both", &out));
	assert_non_null(strstr(buf_cstr(&out), "asked for by an operator"));
	assert_non_null(strstr(buf_cstr(&out), "\"reason\":\"trial\""));
	IN_UNIT(r, selection_end_override(c, device_of(r, "a"), "kws"));
	assert_string_equal(variant_for(r, "a", release), "float");
	assert_int_equal(selection_end_override(c, device_of(r, "a"), "kws"), ERR_NOT_FOUND);
	buf_done(&out);
}

static void what_is_undone_was_never_installed(void **state)
{
	struct rig *r = *state;
	struct call *c = rig_call(r);
	struct deployment_row d;
	enum selection_outcome outcome;
	struct buf out = BUF_INIT;
	int64_t first = make_release(r, "both", "2.0.0", both, 2, NULL), second = make_release(r, "next", "3.0.0", both, 2, NULL);
	add_device(r, "a", QUICK);
	install(r, "a", first);
	(void)offered(r, "a", second, &d, &outcome);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, selection_installed(c, d.device, second, d.parts));
	rig_must(r, selection_override(c, device_of(r, "a"), "kws", "float", NULL, &out));
	assert_int_equal(unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault), ERR_CONFLICT);
	buf_done(&out);
	struct model_row m;
	struct version_row v;
	rig_must(r, catalog_find_model(c, "kws", &m));
	rig_must(r, catalog_find_version(c, &m, "2.0.0", &v));
	assert_int_not_equal(selection_runs(r->f.w.s.selection, device_of(r, "a"), m.id, v.id, c->now_ms), 0);
	rig_must(r, catalog_find_version(c, &m, "3.0.0", &v));
	assert_int_equal(selection_runs(r->f.w.s.selection, device_of(r, "a"), m.id, v.id, c->now_ms), 0);
	assert_string_equal(variant_for(r, "a", second), "int8");
}

static void going_back_means_the_same_bytes(void **state)
{
	struct rig *r = *state;
	int64_t first = make_release(r, "both", "2.0.0", both, 2, NULL), second = make_release(r, "next", "3.0.0", both, 2, NULL);
	struct deployment_row d = {.kind = DEPLOYMENT_INSTALL, .prev_release = first};
	struct component_row *components;
	struct artifact_row a;
	enum selection_outcome outcome;
	size_t count;
	add_device(r, "a", QUICK);
	publish(r, QUICK, 30, 10);
	install(r, "a", first); /* float */
	publish(r, QUICK, 10, 30);
	d.device = device_of(r, "a")->row;
	IN_UNIT(r, selection_offer(rig_call(r), &d, second, &outcome));
	IN_UNIT(r, selection_installed(rig_call(r), d.device, second, d.parts)); /* and then it is found to be bad */
	rig_must(r, releases_components(rig_call(r), first, &components, &count));
	rig_must(r, selection_artifact(rig_call(r), device_of(r, "a"), d.prev_parts, first, &components[0], &a));
	assert_string_equal(a.variant, "float");
	rig_must(r, releases_components(rig_call(r), second, &components, &count));
	rig_must(r, selection_artifact(rig_call(r), device_of(r, "a"), d.parts, second, &components[0], &a));
	assert_string_equal(a.variant, "int8");
}

/* ---- when ---- */

static int64_t wait_of(struct rig *r, int64_t release, const char *words)
{
	struct deployment_row d;
	enum selection_outcome outcome;
	(void)offered(r, "a", release, &d, &outcome);
	assert_int_equal(outcome, SELECTION_WAIT);
	assert_non_null(strstr(d.reason, words));
	return d.not_before - r->f.w.c.now_ms;
}

static void bytes_wait_for_their_window(void **state)
{
	struct rig *r = *state;
	struct selection_objective o = objective();
	o.transfer.window_from = "23:00";
	o.transfer.window_until = "01:00";
	o.transfer.small_bytes = 4000;
	const char *order[] = {"size"};
	o.order = (struct json_strs){order, 1};
	add_device(r, "a", QUICK);
	int64_t small = make_release(r, "small", "2.0.0", both, 2, &o);
	o.min_quality = 0.88;
	int64_t large = make_release(r, "large", "2.1.0", both, 2, &o);
	r->f.w.c.now_ms -= r->f.w.c.now_ms % DAY_MS;
	r->f.w.c.now_ms += DAY_MS / 2; /* noon */
	assert_string_equal(variant_for(r, "a", small), "int8"); /* 4000 bytes go at once */
	assert_int_equal(wait_of(r, large, "window"), DAY_MS / 24 * 11);
	r->f.w.c.now_ms += DAY_MS / 24 * 11;
	assert_string_equal(variant_for(r, "a", large), "float");
	r->f.w.c.now_ms += DAY_MS / 24 + DAY_MS / 48; /* half past twelve in the night */
	assert_string_equal(variant_for(r, "a", large), "float");
	r->f.w.c.now_ms += DAY_MS / 48;
	assert_int_equal(wait_of(r, large, "window"), DAY_MS / 24 * 22);
}

static void a_metered_link_has_a_budget(void **state)
{
	struct rig *r = *state;
	struct selection_objective o = objective();
	const char *links[] = {"lte"}, *order[] = {"size"};
	o.transfer.metered_links = (struct json_strs){links, 1};
	o.transfer.budget_bytes = 6000;
	o.order = (struct json_strs){order, 1};
	struct agent agent = {.id = "a"};
	add_device(r, "a", QUICK);
	int64_t first = make_release(r, "one", "2.0.0", both, 2, &o), second = make_release(r, "two", "2.1.0", both, 2, &o);
	r->f.w.c.now_ms -= r->f.w.c.now_ms % DAY_MS;
	install(r, "a", first);
	assert_string_equal(variant_for(r, "a", second), "int8"); /* nobody said that the link is metered */
	rig_report(r, &agent, ",\"capabilities\":{\"link\":\"lte\"}");
	assert_string_equal(variant_for(r, "a", second), "int8"); /* 4000 of 6000 */
	assert_int_equal(wait_of(r, second, "budget"), DAY_MS);
	rig_commit(r);
	choice_kill(r);
	assert_int_equal(wait_of(r, second, "budget"), DAY_MS);
	r->f.w.c.now_ms += DAY_MS;
	assert_string_equal(variant_for(r, "a", second), "int8");
}

static void a_bad_link_gets_the_smaller_one_or_waits(void **state)
{
	struct rig *r = *state;
	struct selection_objective o = objective();
	o.follows_link = true;
	add_device(r, "a", QUICK);
	publish(r, QUICK, 30, 10);
	int64_t follows = make_release(r, "follows", "2.0.0", both, 2, &o);
	o = objective();
	o.transfer.waits_for_link = true;
	int64_t waits = make_release(r, "waits", "2.1.0", both, 2, &o);
	assert_string_equal(variant_for(r, "a", follows), "float");
	assert_string_equal(variant_for(r, "a", waits), "float");
	tell(r, "a", "1.0.0", "\"link_rssi_dbm\":-97");
	fleet_settle(&r->f);
	assert_string_equal(variant_for(r, "a", follows), "int8");
	(void)wait_of(r, waits, "link is bad");
	tell(r, "a", "1.0.0", "\"link_rssi_dbm\":-50");
	fleet_settle(&r->f);
	assert_string_equal(variant_for(r, "a", follows), "float");
	assert_string_equal(variant_for(r, "a", waits), "float");
}

/* ---- why, and what next ---- */

static void an_explanation_names_figures_and_sources(void **state)
{
	struct rig *r = *state;
	struct buf out = BUF_INIT;
	make_release(r, "both", "2.0.0", both, 2, NULL);
	add_device(r, "a", QUICK);
	publish(r, QUICK, 10, 30);
	rig_must(r, selection_explain(rig_call(r), device_of(r, "a"), "both", &out));
	assert_non_null(strstr(buf_cstr(&out), "\"chosen\":\"int8\""));
	assert_non_null(strstr(buf_cstr(&out), "costlier than int8 by latency"));
	assert_non_null(strstr(buf_cstr(&out), "\"source\":\"published\""));
	assert_non_null(strstr(buf_cstr(&out), "\"source\":\"declared\""));
	buf_done(&out);
	assert_int_equal(selection_explain(rig_call(r), device_of(r, "a"), NULL, &out), ERR_NOT_FOUND);
	assert_int_equal(selection_explain(rig_call(r), device_of(r, "a"), "nothing", &out), ERR_NOT_FOUND);
}

static const char *survey(struct rig *r, const char *version, struct buf *out)
{
	struct selection_survey *s;
	bool is_done = false;
	rig_must(r, selection_survey_new(rig_call(r), "kws", version, NULL, &s));
	for (int i = 0; i < 100000 && !is_done; i++) {
		struct timebox box = timebox_begin(0); /* over at once: the smallest pieces */
		rig_must(r, selection_survey_step(rig_call(r), s, &box, &is_done));
	}
	assert_true(is_done);
	buf_clear(out);
	rig_must(r, selection_survey_write(rig_call(r), s, out));
	selection_survey_free(s);
	return buf_cstr(out);
}

static void the_report_says_what_to_retire_and_to_build(void **state)
{
	static const struct piece three[] = {{QUICK, "int8", "{\"quality\":{\"top1\":0.9}}", 4000}, {QUICK, "float", "{\"quality\":{\"top1\":0.9}}", 16000},
		{QUICK, "tiny", "{\"quality\":{\"top1\":0.8}}", 1000}};
	struct rig *r = *state;
	struct selection_objective o = objective();
	struct buf out = BUF_INIT;
	o.max_latency_ms = 25;
	int64_t release = make_release(r, "three", "2.0.0", three, 3, &o);
	add_device(r, "lonely", SLOW); /* nothing for it, and it does not run the model */
	char table[300] = "hardware,model,variant,latency_ms,energy_uj\n" QUICK ",kws,int8,10,100\n" QUICK ",kws,float,20,200\n" QUICK ",kws,tiny,5,50\n";
	struct profile_import in = {.text = table, .len = strlen(table)};
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	for (int i = 0; i < 200; i++) {
		char id[16];
		snprintf(id, sizeof id, "d%d", i);
		add_device(r, id, QUICK);
	}
	const char *text = survey(r, "2.0.0", &out);
	assert_non_null(strstr(text, "\"devices\":200,\"other_devices\":1"));
	assert_non_null(strstr(text, "{\"variant\":\"float\",\"eligible_devices\":200,\"chosen_devices\":0,\"dominated_devices\":200,\"dominated_by\":[\"int8\"],"
		"\"retire\":true}"));
	assert_non_null(strstr(text, "\"chosen_devices\":200"));
	assert_null(strstr(text, "\"build\""));
	install(r, "d7", release);
	r->f.w.c.now_ms += 2 * DAY_MS;
	in.text = "hardware,model,variant,latency_ms,energy_uj\n" QUICK ",kws,tiny,40,50\n" QUICK ",kws,int8,30,100\n" QUICK ",kws,float,28,200\n";
	in.len = strlen(in.text);
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	text = survey(r, "2.0.0", &out);
	assert_non_null(strstr(text, "\"served_devices\":0"));
	assert_non_null(strstr(text, "but faster\"")); /* what to build */
	in.text = "hardware,model,variant,latency_ms,energy_uj\n" QUICK ",kws,tiny,20,50\n" QUICK ",kws,int8,10,100\n";
	in.len = strlen(in.text);
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	text = survey(r, "2.0.0", &out);
	assert_non_null(strstr(text, "\"moves\":[{\"hardware\":\"" QUICK "\",\"from\":\"tiny\",\"to\":\"int8\",\"devices\":1}]"));
	buf_done(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, choice_setup, choice_teardown)
	const struct CMUnitTest tests[] = {
		TEST(classes_get_what_is_faster_there),
		TEST(telemetry_overrules_a_table),
		TEST(the_objective_counts),
		TEST(an_objective_is_checked_and_kept),
		TEST(an_installed_variant_stays_for_small_gains_and_its_time),
		TEST(an_operator_may_ask_for_one),
		TEST(what_is_undone_was_never_installed),
		TEST(going_back_means_the_same_bytes),
		TEST(bytes_wait_for_their_window),
		TEST(a_metered_link_has_a_budget),
		TEST(a_bad_link_gets_the_smaller_one_or_waits),
		TEST(an_explanation_names_figures_and_sources),
		TEST(the_report_says_what_to_retire_and_to_build),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
