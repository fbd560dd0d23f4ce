/* Capability classes and kinds, a release against them, and devices whose capabilities change while a rollout runs. */
#include "rollout_world.h"

#include "base/clock.h"
#include "service/compats.h"
#include "service/fleet_index.h"
#include "service/rollouts.h"

#define CAN "{\"slot_bytes\":5000,\"arena_bytes\":2000,\"runtime\":\"tflm\"}"
#define SMALL "{\"slot_bytes\":5000,\"arena_bytes\":500,\"runtime\":\"tflm\"}"

static int setup(void **state)
{
	int failed = rig_setup(state);
	struct rig *r = *state;
	if (!failed)
		rig_must(r, compats_open(&r->f.w.s, NULL, &r->f.w.s.compats, &r->f.w.fault));
	return failed;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	compats_close(r->f.w.s.compats);
	r->f.w.s.compats = NULL;
	return rig_teardown(state);
}

/* One version of model kws with an artifact for each row: hardware, variant, declared. */
struct file {
	const char *hardware, *variant, *declared;
};

static int64_t make_release(struct rig *r, const char *name, const char *version, const struct file *files, size_t count)
{
	struct call *c = rig_call(r);
	struct model_row m;
	struct version_row v;
	struct release_row release;
	struct model_input model = {.name = "kws"};
	if (catalog_find_model(c, "kws", &m) != ERR_OK)
		IN_UNIT(r, catalog_create_model(c, &model, &m));
	IN_UNIT(r, catalog_create_version(c, &m, version, NULL, &v));
	for (size_t i = 0; i < count; i++) {
		struct artifact_row a;
		struct upload *u = NULL;
		struct blob_job *job = NULL;
		enum err result;
		char hex[SHA256_HEX], content[80];
		int len = snprintf(content, sizeof content, "%s %zu", name, i);
		crypto_sha256_hex(content, (size_t)len, hex);
		struct artifact_input in = {.hardware = files[i].hardware, .variant = files[i].variant, .declared = files[i].declared, .file_name = "m",
			.size_bytes = len, .sha256 = hex};
		IN_UNIT(r, catalog_declare_artifact(c, &m, &v, &in, &a));
		IN_UNIT(r, catalog_begin_upload(c, a.id, UPLOAD_WHOLE, len, &u));
		rig_must(r, catalog_write_upload(u, content, (size_t)len, &r->f.w.fault));
		rig_must(r, catalog_finish_upload(c, u, &job));
		blob_job_run(job);
		IN_UNIT(r, catalog_end_job(c, job, &a, &result));
	}
	struct component_input component = {"kws", version};
	struct release_input input = {.name = name, .components = &component, .component_count = 1};
	IN_UNIT(r, releases_create(c, &input, &release));
	return release.id;
}

static void says(struct rig *r, size_t device, const char *capabilities)
{
	char text[400];
	snprintf(text, sizeof text, ",\"capabilities\":%s", capabilities);
	rig_report(r, &r->agents[device], text);
	world_commit(&r->f.w);
}

static struct device_state *device_of(struct rig *r, size_t device)
{
	return registry_find(r->f.w.s.registry, r->agents[device].id);
}

static uint32_t class_of(struct rig *r, size_t device)
{
	return registry_kind(r->f.w.s.registry, device_of(r, device))->class;
}

static const struct file needs_1000[] = {{"*", "", "{\"requires\":{\"arena_bytes\":1000}}"}};

static void devices_with_the_same_words_are_one_class(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 5);
	says(r, 0, "{\"runtime\":\"tflm\",\"arena_bytes\":2000,\"hot_c\":70}");
	says(r, 1, "{\"arena_bytes\":2000,\"hot_c\":90,\"runtime\":\"tflm\",\"other\":[1]}");
	says(r, 2, SMALL);
	says(r, 3, "{\"hot_c\":70}");
	assert_true(class_of(r, 0) != 0);
	assert_int_equal(class_of(r, 0), class_of(r, 1));
	assert_int_not_equal(class_of(r, 0), class_of(r, 2));
	assert_int_equal(class_of(r, 3), 0);
	assert_string_equal(compats_words(r->f.w.s.compats, class_of(r, 0)), "{\"runtime\":\"tflm\",\"arena_bytes\":2000}");
	/* different hardware and the same class: two kinds */
	assert_ptr_not_equal(registry_kind(r->f.w.s.registry, device_of(r, 0)), registry_kind(r->f.w.s.registry, device_of(r, 1)));
	rig_runs(r, &r->agents[0], OLD, 1, ""); /* the same again */
	uint32_t before = class_of(r, 0);
	rig_report(r, &r->agents[0], ",\"running\":{\"release\":\"" OLD "\",\"counter\":1,\"firmware\":\"2.1\"}");
	assert_int_not_equal(class_of(r, 0), before);
}

static void classes_survive_a_kill_and_those_that_nobody_has_go(void **state)
{
	struct rig *r = *state;
	rig_devices(r, 2);
	says(r, 0, CAN);
	says(r, 1, SMALL);
	says(r, 1, CAN);
	uint32_t class = class_of(r, 0);
	compats_close(r->f.w.s.compats);
	r->f.w.s.compats = NULL;
	rig_kill(r);
	rig_must(r, compats_open(&r->f.w.s, NULL, &r->f.w.s.compats, &r->f.w.fault));
	for (size_t i = 0; i < 2; i++) /* the registry was opened without it here: as compats_settle does for old rows */
		IN_UNIT(r, registry_set_class(rig_call(r), device_of(r, i), compats_known_class(r->f.w.s.compats, class)));
	assert_int_equal(class_of(r, 0), class);
	IN_UNIT(r, compats_settle(rig_call(r)));
	assert_string_not_equal(compats_words(r->f.w.s.compats, class), "{}");
	uint32_t fresh;
	IN_UNIT(r, compats_class(rig_call(r), "{\"link\":\"lora\"}", NULL, &fresh)); /* takes the number that became free */
	assert_true(fresh <= 2);
}

static void reasons_are_counted_by_hardware(void **state)
{
	struct rig *r = *state;
	struct compat_view *v;
	struct compat_table t;
	rig_devices(r, 6); /* even: esp32s3, odd: rk3588 */
	int64_t release = make_release(r, "r1", "9.0.0", needs_1000, 1);
	says(r, 0, CAN);
	says(r, 1, CAN);
	says(r, 2, SMALL);
	says(r, 4, SMALL);
	rig_must(r, compat_view_new(rig_call(r), release, &v));
	rig_must(r, compat_view_count_fleet(rig_call(r), v));
	compat_view_table(rig_call(r), v, &t);
	assert_int_equal(t.devices[COMPAT_YES], 2);
	assert_int_equal(t.devices[COMPAT_NO], 2);
	assert_int_equal(t.devices[COMPAT_UNKNOWN], 2);
	assert_int_equal(t.excluded, 4);
	assert_string_equal(t.rows[0].hardware, "esp32s3");
	assert_int_equal(t.rows[0].verdict, COMPAT_NO);
	assert_string_equal(t.rows[0].reasons[0].reason, "arena_bytes: needs 1000");
	assert_int_equal(t.rows[0].reasons[0].devices, 2);
	assert_non_null(strstr(compat_table_words(rig_call(r), &t), "arena_bytes: needs 1000 (2)"));
	compat_view_free(v);
	bool may;
	const char *why;
	rig_must(r, compats_may_run(rig_call(r), release, device_of(r, 2), &may, &why));
	assert_false(may);
	assert_non_null(strstr(why, "needs 1000, has 500"));
	rig_must(r, compats_may_run(rig_call(r), release, device_of(r, 0), &may, &why));
	assert_true(may);
}

/* The class's own files go before those for any hardware; of the variants the first that can be run. */
static void variants_are_tried_in_turn(void **state)
{
	struct rig *r = *state;
	static const struct file files[] = {
		{"esp32s3", "big", "{\"requires\":{\"arena_bytes\":1000}}"},
		{"esp32s3", "small", "{\"requires\":{\"arena_bytes\":400}}"},
		{"*", "", NULL},
	};
	struct component_row *components;
	struct artifact_row a;
	size_t count;
	rig_devices(r, 3);
	int64_t release = make_release(r, "r1", "9.0.0", files, 3);
	says(r, 0, CAN);
	says(r, 2, SMALL);
	rig_must(r, releases_components(rig_call(r), release, &components, &count));
	rig_must(r, compats_pick(rig_call(r), release, &components[0], device_of(r, 0), &a));
	assert_string_equal(a.variant, "big");
	rig_must(r, compats_pick(rig_call(r), release, &components[0], device_of(r, 2), &a));
	assert_string_equal(a.variant, "small");
	rig_must(r, compats_pick(rig_call(r), release, &components[0], device_of(r, 1), &a)); /* the other hardware */
	assert_string_equal(a.hardware, "*");
	says(r, 2, "{\"slot_bytes\":5000,\"arena_bytes\":300}");
	bool may;
	const char *why;
	rig_must(r, compats_may_run(rig_call(r), release, device_of(r, 2), &may, &why)); /* not the file for any hardware */
	assert_false(may);
	assert_non_null(strstr(why, "big"));
	assert_non_null(strstr(why, "small"));
}

static void one_look_at_a_device_costs_nanoseconds(void **state)
{
	struct rig *r = *state;
	struct compat_view *v;
	struct compat_fit *fit;
	rig_devices(r, 60);
	for (size_t i = 0; i < 60; i++) {
		char text[80];
		snprintf(text, sizeof text, "{\"slot_bytes\":5000,\"arena_bytes\":%zu}", 500 + i * 20);
		says(r, i, text);
	}
	rig_must(r, compat_view_new(rig_call(r), make_release(r, "r1", "9.0.0", needs_1000, 1), &v));
	uint64_t start_ns = clock_mono_ns();
	size_t eligible = 0;
	for (size_t i = 0; i < 1000000; i++) {
		rig_must(r, compat_view_fit(rig_call(r), v, registry_by_row(r->f.w.s.registry, (int64_t)(1 + i % 60)), &fit));
		eligible += fit->is_eligible;
	}
	double ns = (double)(clock_mono_ns() - start_ns) / 1e6;
	print_message("%.0f ns a device with the look-up of its row\n", ns);
	assert_true(eligible > 500000 && eligible < 700000);
	assert_true(ns < 2000);
	compat_view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(devices_with_the_same_words_are_one_class, setup, teardown),
		cmocka_unit_test_setup_teardown(classes_survive_a_kill_and_those_that_nobody_has_go, setup, teardown),
		cmocka_unit_test_setup_teardown(reasons_are_counted_by_hardware, setup, teardown),
		cmocka_unit_test_setup_teardown(variants_are_tried_in_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(one_look_at_a_device_costs_nanoseconds, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
