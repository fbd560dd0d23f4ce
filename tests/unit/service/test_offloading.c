/* Offloading: policies, classes that follow the log, margins that survive kills, who is told, alerts. */
#include "rollout_world.h"

#include <math.h>

#include "service/offloading.h"

#define HARD "esp32s3"

static void open_it(struct rig *r)
{
	rig_must(r, offloading_open(&r->f.w.s, &r->f.w.s.offloading, &r->f.w.fault));
}

static int setup(void **state)
{
	int failed = rig_setup(state);
	struct rig *r = *state;
	open_it(r);
	rig_devices(r, 4); /* esp32s3 and rk3588 in turn */
	return failed;
}

static void close_it(struct rig *r)
{
	offloading_close(r->f.w.s.offloading);
	r->f.w.s.offloading = NULL;
}

static int teardown(void **state)
{
	close_it(*state);
	return rig_teardown(state);
}

/* What was not committed is gone, as is all memory. */
static void kill9(struct rig *r)
{
	close_it(r);
	rig_kill(r);
	open_it(r);
}

static struct offload_input policy(void)
{
	struct offload_input in;
	offload_input_init(&in);
	in.endpoint = "https://e/x";
	in.target_rate = 0.1;
	in.margin = 0.2;
	in.fit_every_ms = 5000;
	return in;
}

static void set(struct rig *r, const struct offload_input *in)
{
	IN_UNIT(r, offloading_set(rig_call(r), "kws", in));
	rig_commit(r);
}

/* Seconds pass, with the work of each. */
static void pass(struct rig *r, int seconds)
{
	for (int i = 0; i < seconds; i++) {
		r->f.w.c.now_ms += 1000;
		rig_must(r, offloading_tick(rig_call(r)));
		rig_commit(r);
	}
}

static const char *show(struct rig *r)
{
	static char text[8192];
	struct buf b = BUF_INIT;
	int64_t revision;
	enum err e = offloading_show(rig_call(r), "kws", &b, &revision);
	snprintf(text, sizeof text, "%s", e == ERR_OK ? buf_cstr(&b) : err_name(e));
	buf_done(&b);
	return text;
}

/* A number of the class; NAN where there is none. */
static double figure(struct rig *r, const char *hardware, const char *key)
{
	struct json *root = NULL;
	double v = NAN;
	const char *text = show(r);
	if (json_parse(text, strlen(text), &root, NULL) != ERR_OK)
		return v;
	for (const struct json *k = json_first(json_get(root, "classes")); k != NULL; k = json_next(k))
		if (strcmp(json_text(json_get(k, "hardware")), hardware) == 0 && json_get(k, key) != NULL)
			v = json_number(json_get(k, key));
	json_free(root);
	return v;
}

static const char *document(struct rig *r, const char *device)
{
	static char text[1024];
	struct buf b = BUF_INIT;
	rig_must(r, offloading_put_document(rig_call(r), registry_find(r->f.w.s.registry, device), 0, &b));
	snprintf(text, sizeof text, "%s", buf_cstr(&b));
	buf_done(&b);
	return text;
}

static int64_t rev_of(struct rig *r, const char *device)
{
	const char *at = strstr(document(r, device), "\"rev\":");
	return at != NULL ? atoll(at + 6) : 0;
}

/* Device dev-`number` looked at `inferences`, of which the share `rate` lies evenly below its margin; `more` metrics. */
static void tell_rev(struct rig *r, int number, int64_t rev, int inferences, double rate, const char *more)
{
	char json[600], id[16];
	struct agent *a = &r->agents[number - 1];
	int sent = (int)(inferences * rate);
	snprintf(id, sizeof id, "dev-%d", number);
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"1.0.0\",\"metrics\":{\"offload_rev\":%lld,"
		"\"offload_rate\":{\"n\":%d,\"k\":%d}%s}}", (long long)++a->telemetry_seq, (long long)rev, inferences, sent, more);
	fleet_telemetry(&r->f, id, json);
	fleet_settle(&r->f);
}

static void tell(struct rig *r, int number, int inferences, double rate, const char *more)
{
	char id[16];
	snprintf(id, sizeof id, "dev-%d", number);
	tell_rev(r, number, rev_of(r, id), inferences, rate, more);
}

static void runs_model(struct rig *r, int number)
{
	struct agent *a = &r->agents[number - 1];
	rig_report(r, a, ",\"running\":{\"release\":\"old\",\"counter\":1,\"models\":{\"kws\":\"1.0.0\"}}");
	rig_commit(r);
}

/* ---- */

static void a_class_is_fitted_on_its_own(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	set(r, &in);
	for (int i = 1; i <= 4; i++)
		runs_model(r, i);
	assert_non_null(strstr(document(r, "dev-1"), "{\"kws\":{\"margin\":0.2,\"audit\":0.01,\"link\":\"metered\",\"battery\":0,\"per_hour\":60,"
		"\"endpoint\":\"https://e/x\",\"rev\":"));
	int64_t before = rev_of(r, "dev-1");
	tell(r, 1, 5000, 0.4, "");
	tell(r, 3, 5000, 0.4, "");
	tell(r, 2, 5000, 0.02, "");
	assert_true(figure(r, HARD, "inferences") == 10000 && figure(r, HARD, "rate") == 0.4 && figure(r, "rk3588", "rate") == 0.02);
	pass(r, 4);
	assert_true(figure(r, HARD, "margin") == 0.2); /* at most every five seconds */
	pass(r, 2);
	assert_true(fabs(figure(r, HARD, "margin") - 0.05) < 0.002 && figure(r, HARD, "inferences") == 0);
	assert_true(figure(r, "rk3588", "margin") == 0.3); /* a step */
	assert_true(rev_of(r, "dev-1") > before && rev_of(r, "dev-1") != rev_of(r, "dev-2"));
	tell_rev(r, 1, before, 5000, 0.4, ""); /* of the margin before: says nothing of this one */
	assert_true(figure(r, HARD, "inferences") == 0);
	tell(r, 1, 5000, 0.1, "");
	pass(r, 6);
	assert_true(figure(r, HARD, "fits") == 1 && figure(r, HARD, "rate") == 0.1);
}

static int64_t desired_rev(struct rig *r, const char *device)
{
	return registry_find(r->f.w.s.registry, device)->desired_rev;
}

static void who_has_another_margin_is_told_once(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	runs_model(r, 1);
	set(r, &in);
	int64_t before = desired_rev(r, "dev-1");
	tell_rev(r, 1, 0, 100, 0.1, "");
	pass(r, 1);
	assert_int_equal(desired_rev(r, "dev-1"), before + 1);
	tell_rev(r, 1, 0, 100, 0.1, ""); /* it does not know of such things, perhaps */
	pass(r, 1);
	assert_int_equal(desired_rev(r, "dev-1"), before + 1);
	tell(r, 1, 100, 0.1, "");
	pass(r, 1);
	assert_int_equal(desired_rev(r, "dev-1"), before + 1);
	in.budget = 5;
	set(r, &in); /* another rule */
	tell_rev(r, 1, 1, 100, 0.1, "");
	pass(r, 1);
	assert_int_equal(desired_rev(r, "dev-1"), before + 2);
	IN_UNIT(r, offloading_remove(rig_call(r), "kws"));
	rig_commit(r);
	assert_string_equal(document(r, "dev-1"), "");
	tell_rev(r, 1, 2, 100, 0.1, "");
	tell_rev(r, 1, 2, 100, 0.1, "");
	pass(r, 2);
	assert_int_equal(desired_rev(r, "dev-1"), before + 3);
	kill9(r);
	tell_rev(r, 1, 2, 100, 0.1, ""); /* nobody remembers whom it told: once more */
	pass(r, 2);
	assert_int_equal(desired_rev(r, "dev-1"), before + 4);
}

#define PAIRS ",\"offload_agree\":{\"n\":20,\"k\":12},\"offload_margin\":{\"hist\":[9,11]},\"offload_audit\":{\"n\":4,\"k\":3}," \
	"\"offload_cost\":{\"n\":24,\"sum\":1.5},\"offload_kept\":{\"n\":400,\"k\":7}"

/* Kills where bits of `kills` are set: after a batch was durable, or after a commit of the rows. */
static void tell_story(struct rig *r, unsigned kills, char out[8192])
{
	struct offload_input in = policy();
	set(r, &in);
	runs_model(r, 1);
	runs_model(r, 2);
	for (unsigned step = 0; step < 10; step++) {
		tell(r, 1 + (int)(step % 2), 400, step < 3 ? 0.3 : 0.1, PAIRS); /* first it moves, then it stays */
		if (kills >> (2 * step) & 1)
			kill9(r);
		pass(r, 3);
		if (kills >> (2 * step + 1) & 1)
			kill9(r);
	}
	tell(r, 1, 400, 0.1, PAIRS);
	snprintf(out, 8192, "%s", show(r));
}

static void a_kill_changes_nothing(void **state)
{
	char wanted[8192], got[8192];
	tell_story(*state, 0, wanted);
	assert_true(figure(*state, HARD, "fits") >= 1 && figure(*state, HARD, "sent") > 0);
	static const unsigned kills[] = {0x1, 0x2, 0x4, 0x10, 0x200, 0x40000, 0x55555, 0xaaaaa, 0xfffff};
	for (size_t i = 0; i < sizeof kills / sizeof kills[0]; i++) {
		void *fresh;
		setup(&fresh);
		tell_story(fresh, kills[i], got);
		assert_string_equal(got, wanted);
		teardown(&fresh);
	}
}

static void what_is_undone_is_undone(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	set(r, &in);
	runs_model(r, 1);
	tell(r, 1, 1000, 0.4, "");
	char before[8192], document_before[1024];
	pass(r, 1);
	snprintf(before, sizeof before, "%s", show(r));
	snprintf(document_before, sizeof document_before, "%s", document(r, "dev-1"));
	in.endpoint = "https://other";
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	rig_must(r, offloading_set(rig_call(r), "kws", &in));
	assert_non_null(strstr(document(r, "dev-1"), "https://other"));
	enum err e = unit_end(&r->f.w.s, ERR_CONFLICT, &r->f.w.fault);
	assert_int_equal(e, ERR_CONFLICT);
	rig_commit(r);
	rig_must(r, offloading_tick(rig_call(r)));
	rig_commit(r);
	assert_string_equal(document(r, "dev-1"), document_before);
	assert_true(figure(r, HARD, "rev") == rev_of(r, "dev-1"));
	kill9(r);
	assert_string_equal(show(r), before);
	in = policy();
	in.endpoint = "ftp://x";
	e = offloading_set(rig_call(r), "kws", &in);
	assert_true(e == ERR_INVALID && strcmp(r->f.w.fault.pointer, "/endpoint") == 0);
	in = policy();
	e = offloading_set(rig_call(r), "none", &in);
	assert_int_equal(e, ERR_NOT_FOUND);
}

static bool is_open(struct rig *r, const char *kind)
{
	return alert_is_open(r->f.w.s.alerts, kind, "models/kws/offload/" HARD "/1.0.0");
}

static void bounds_are_watched(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	in.rate_max = 0.2;
	in.agreement_min = 0.8;
	in.fit_every_ms = 3600000;
	set(r, &in);
	runs_model(r, 1);
	tell(r, 1, 1000, 0.1, ",\"offload_audit\":{\"n\":300,\"k\":100}");
	pass(r, 1);
	assert_true(is_open(r, "offload.agreement") && !is_open(r, "offload.rate")); /* a fit has its chance first */
	assert_non_null(strstr(show(r), "\"alerts\":[\"offload.agreement\"]"));
	r->f.w.c.now_ms += 3600000;
	pass(r, 1);
	assert_true(is_open(r, "offload.rate"));
	for (int i = 0; i < 20; i++)
		tell(r, 1, 1000, 0.1, ",\"offload_audit\":{\"n\":300,\"k\":300}");
	pass(r, 1);
	assert_true(!is_open(r, "offload.agreement") && is_open(r, "offload.rate"));
	kill9(r);
	assert_true(is_open(r, "offload.rate"));
	IN_UNIT(r, offloading_remove(rig_call(r), "kws"));
	rig_commit(r);
	assert_false(is_open(r, "offload.rate"));
}

static void reports_that_contradict_themselves_count_for_nothing(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	set(r, &in);
	runs_model(r, 1);
	tell(r, 1, 100, 0.1, ",\"offload_kept\":{\"n\":100,\"k\":95}");
	tell(r, 1, 100, 0.1, ",\"offload_agree\":{\"n\":50,\"k\":5}");
	tell(r, 1, 100, 0.1, ",\"offload_margin\":{\"hist\":[1,2,3]}");
	tell(r, 1, 100, 0.1, ",\"offload_cost\":{\"n\":3,\"sum\":-4}");
	tell_rev(r, 1, -7, 100, 0.1, "");
	assert_true(figure(r, HARD, "inferences") == 0);
	tell(r, 1, 100, 0.1, PAIRS);
	assert_true(figure(r, HARD, "inferences") == 0); /* twenty answers to ten that were sent */
	tell(r, 1, 400, 0.1, PAIRS);
	assert_true(figure(r, HARD, "inferences") == 400 && figure(r, HARD, "kept") == 7 && figure(r, HARD, "cost") == 1.5);
	assert_true(figure(r, HARD, "agreement") == 0.6 && figure(r, HARD, "sure_agreement") == 0.75);
}

static void classes_are_bounded(void **state)
{
	struct rig *r = *state;
	struct offload_input in = policy();
	char id[16], hardware[16], json[300];
	set(r, &in);
	for (int i = 0; i < OFFLOADING_CLASSES_MAX + 3; i++) {
		snprintf(id, sizeof id, "x%d", i);
		snprintf(hardware, sizeof hardware, "hw%d", i);
		world_device(&r->f.w, id, hardware);
		world_commit(&r->f.w);
		snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":1,\"model\":\"kws\",\"version\":\"1.0.0\",\"metrics\":{\"offload_rev\":%d,"
			"\"offload_rate\":{\"n\":9,\"k\":1}}}", 1);
		fleet_telemetry(&r->f, id, json);
	}
	fleet_settle(&r->f);
	char key[16];
	snprintf(key, sizeof key, "hw%d", OFFLOADING_CLASSES_MAX - 1);
	struct buf b = BUF_INIT;
	int64_t revision;
	rig_must(r, offloading_show(rig_call(r), "kws", &b, &revision));
	assert_non_null(strstr(buf_cstr(&b), key));
	snprintf(key, sizeof key, "hw%d", OFFLOADING_CLASSES_MAX);
	assert_null(strstr(buf_cstr(&b), key));
	buf_done(&b);
	pass(r, 11);
	kill9(r);
	assert_true(figure(r, "hw0", "inferences") == 9 || strlen(show(r)) == 8191); /* the text is cut */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_class_is_fitted_on_its_own),
		TEST(who_has_another_margin_is_told_once),
		TEST(a_kill_changes_nothing),
		TEST(what_is_undone_is_undone),
		TEST(bounds_are_watched),
		TEST(reports_that_contradict_themselves_count_for_nothing),
		TEST(classes_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
