/* Requirements: derived, declared, joined; capabilities; the three answers, each reason by name; counting; classes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/compat.h"

static struct requirement needs, other;
static struct capabilities has;

static void declare(struct requirement *r, const char *text)
{
	struct fault f = {{0}, {0}};
	enum err e = requirement_parse(r, text, strlen(text), &f);
	if (e) print_message("%s: %s %s\n", text, f.pointer, f.detail);
	assert_int_equal(e, ERR_OK);
}

static void report(const char *text)
{
	assert_int_equal(capabilities_parse(&has, text, strlen(text), NULL), ERR_OK);
}

/* All reasons of a match, one a line. */
static const char *reasons(const struct compat_asked *asked, bool of_device)
{
	static char out[4096];
	struct compat_result why;
	enum compat v = compat_match(&needs, &has, asked, &why);
	assert_int_equal(v, why.verdict);
	assert_int_equal(v, compat_match(&needs, &has, asked, NULL));
	out[0] = '\0';
	for (unsigned i = 0; i < why.count; i++) {
		char text[COMPAT_TEXT_BYTES];
		compat_reason_format(&why.reasons[i], &needs, of_device ? &has : NULL, text);
		strcat(strcat(out, i ? "\n" : ""), text);
	}
	return out;
}

static enum compat match(void)
{
	return compat_match(&needs, &has, NULL, NULL);
}

static int order(const char *a, const char *b)
{
	struct loose_version x, y;
	assert_true(loose_version_parse((struct slice){a, strlen(a)}, &x));
	assert_true(loose_version_parse((struct slice){b, strlen(b)}, &y));
	int forth = loose_version_compare(&x, &y);
	assert_int_equal(forth > 0, loose_version_compare(&y, &x) < 0);
	return forth < 0 ? -1 : forth > 0;
}

static void versions_as_people_write_them(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "v", "a", "1.", "1..2", ".1", "1.2.3.4.5", "1.2x", "4294967296", "1.0-", "1-rc..1",
		"1.0-0123", " 1", "-1", "1.2.3-aaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	struct loose_version v;
	assert_int_equal(order("2023.1", "2023.01"), 0);
	assert_int_equal(order("2.1", "2.1.0"), 0);
	assert_int_equal(order("v2", "2.0.0.0"), 0);
	assert_int_equal(order("2.9", "2.10"), -1);
	assert_int_equal(order("2.1.0-rc.1", "2.1"), -1);
	assert_int_equal(order("2.1.0-rc.9", "2.1.0-rc.10"), -1);
	assert_int_equal(order("2.1.0-rc.1", "2.0.9"), 1);
	assert_int_equal(order("1.0+a", "1.0+b"), 0);
	assert_int_equal(order("4294967295", "4294967294"), 1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(loose_version_parse((struct slice){bad[i], strlen(bad[i])}, &v));
}

static struct version_range range(const char *text)
{
	struct version_range r;
	assert_true(version_range_parse((struct slice){text, strlen(text)}, &r));
	return r;
}

static bool is_in(const char *in, const char *version)
{
	struct version_range r = range(in);
	struct loose_version v;
	assert_true(loose_version_parse((struct slice){version, strlen(version)}, &v));
	return version_range_has(&r, &v);
}

static void ranges_of_versions(void **state)
{
	(void)state;
	static const char *const bad[] = {"2.1", ">", ">=", "=2", ">=2,", ",", ">=x", ">=2 <3"};
	char text[VERSION_RANGE_BYTES];
	assert_true(is_in("", "0") && is_in(">=2.1", "2.1") && is_in(">=2.1", "3") && !is_in(">=2.1", "2.0.9"));
	assert_true(is_in("<=2", "2") && !is_in("<=2", "2.0.1") && !is_in("<2", "2") && is_in("<2", "1.9"));
	assert_true(is_in("==2.1", "2.1.0") && !is_in("==2.1", "2.1.1") && !is_in(">2", "2") && is_in("> 2 , < 3", "2.5"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct version_range r;
		assert_false(version_range_parse((struct slice){bad[i], strlen(bad[i])}, &r));
	}
	struct version_range a = range(">=2,<4"), b = range(">2,<=3"), both = version_range_join(&a, &b), x;
	version_range_format(&both, text);
	assert_string_equal(text, ">2,<=3");
	x = range(">2,<=3");
	assert_true(version_range_same(&both, &x) && !version_range_same(&both, &a));
	x = range(">3,<3.1"), both = version_range_join(&both, &x);
	assert_true(version_range_is_empty(&both));
	x = range(">=2,<=3"), a = version_range_join(&x, &x);
	assert_true(version_range_same(&a, &x)); /* closed bounds stay closed */
	x = range("==7");
	version_range_format(&x, text);
	assert_string_equal(text, "==7");
	x = range(">=2,<2");
	assert_true(version_range_is_empty(&x) && !version_range_is_empty(&a));
}

#define FULL                                                                                                           \
	"{\"format\":\"tflite\",\"runtime\":\"tflm>=2023.1\",\"ops\":[\"CONV_2D@3\",\"FULLY_CONNECTED@4\"],"           \
	"\"custom_ops\":[\"ethos-u\"],\"hybrid\":true,\"flash_slot_bytes\":53936,\"arena_bytes\":23412,"               \
	"\"arena_is_estimate\":true,\"accelerators\":[\"ethos-u55\"],\"firmware\":[\"audio>=2.1\",\">=1,<2\"],"        \
	"\"link\":[\"wifi\",\"lte\"],\"device_class\":[\"m4\"],\"input\":{\"shape\":[1,49,10,1],\"type\":\"int8\"}}"

static void a_requirement_reads_back_as_it_was_written(void **state)
{
	(void)state;
	struct buf out = BUF_INIT;
	declare(&needs, FULL);
	requirement_print(&needs, &out);
	assert_string_equal(buf_cstr(&out), FULL);
	buf_done(&out);
	declare(&needs, "{}");
	assert_true(requirement_is_empty(&needs));
	declare(&needs, "{\"runtime\":[\"tflm>=2023.1\",\"tflite\"],\"input\":[{\"type\":\"int8\"},{\"shape\":[]}]}");
	assert_false(requirement_is_empty(&needs));
	requirement_print(&needs, &out);
	assert_string_equal(buf_cstr(&out),
		"{\"runtime\":[\"tflm>=2023.1\",\"tflite\"],\"input\":[{\"type\":\"int8\"},{\"shape\":[]}]}");
	buf_done(&out);
}

static void what_is_no_requirement_is_refused_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *text, *pointer;
		enum err e;
	} rows[] = {
		{"[]", "", ERR_INVALID}, {"{", "", ERR_BAD_REQUEST}, {"{} x", "", ERR_BAD_REQUEST}, {"{\"x\":1}", "", ERR_INVALID},
		{"{\"ops\":\"CONV_2D\"}", "/ops", ERR_INVALID}, {"{\"ops\":[\"@3\"]}", "/ops", ERR_INVALID},
		{"{\"ops\":[\"A@\"]}", "/ops", ERR_INVALID}, {"{\"ops\":[\"A@x\"]}", "/ops", ERR_INVALID},
		{"{\"ops\":[\"A@1234567\"]}", "/ops", ERR_INVALID}, {"{\"ops\":[1]}", "/ops", ERR_INVALID},
		{"{\"runtime\":\">=2\"}", "/runtime", ERR_INVALID}, {"{\"runtime\":[\"a\",\"a>=2\"]}", "/runtime", ERR_INVALID},
		{"{\"runtime\":\"a>=2,<1\"}", "/runtime", ERR_INVALID}, {"{\"runtime\":7}", "/runtime", ERR_INVALID},
		{"{\"firmware\":\"\"}", "/firmware", ERR_INVALID}, {"{\"hybrid\":1}", "/hybrid", ERR_INVALID},
		{"{\"arena_bytes\":-1}", "/arena_bytes", ERR_INVALID}, {"{\"arena_bytes\":1.5}", "/arena_bytes", ERR_INVALID},
		{"{\"arena_bytes\":1,\"arena_bytes\":1}", "/arena_bytes", ERR_INVALID},
		{"{\"flash_slot_bytes\":\"9\"}", "/flash_slot_bytes", ERR_INVALID}, {"{\"format\":\"a b\"}", "/format", ERR_INVALID},
		{"{\"accelerators\":[\"a b\"]}", "/accelerators", ERR_INVALID}, {"{\"link\":[1]}", "/link", ERR_INVALID},
		{"{\"input\":{}}", "/input", ERR_INVALID}, {"{\"input\":{\"shape\":[1,2,3,4,5,6,7,8,9]}}", "/input", ERR_INVALID},
		{"{\"input\":{\"shape\":[-2]}}", "/input", ERR_INVALID}, {"{\"input\":[1]}", "/input", ERR_INVALID},
		{"{\"input\":{\"type\":\"int8\",\"type\":\"int8\"}}", "/input", ERR_INVALID}, {"{\"input\":3}", "/input", ERR_INVALID},
		{"{\"device_class\":7}", "/device_class", ERR_INVALID}, {"{\"arena_bytes\":tru", "", ERR_BAD_REQUEST},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fault f = {{0}, {0}};
		assert_int_equal(requirement_parse(&needs, rows[i].text, strlen(rows[i].text), &f), rows[i].e);
		assert_string_equal(f.pointer, rows[i].pointer);
	}
	static char large[REQUIREMENT_BYTES + 1];
	assert_int_equal(requirement_parse(&needs, large, sizeof large, NULL), ERR_TOO_LARGE);
}

static void too_many_operators_are_refused(void **state)
{
	(void)state;
	static char text[8192];
	size_t n = (size_t)sprintf(text, "{\"ops\":[");
	for (int i = 0; i <= REQUIREMENT_OPS; i++) n += (size_t)sprintf(text + n, "%s\"OP%d@1\"", i ? "," : "", i);
	sprintf(text + n, "]}");
	assert_int_equal(requirement_parse(&needs, text, strlen(text), NULL), ERR_INVALID);
	n -= strlen(",\"OP256@1\"");
	sprintf(text + n, "]}");
	declare(&needs, text);
	assert_int_equal(needs.op_count, REQUIREMENT_OPS);
	for (unsigned i = 1; i < needs.op_count; i++) assert_true(needs.op_key[i - 1] < needs.op_key[i]);
}

static struct model_facts *make_facts(void)
{
	struct model_facts *m = calloc(1, sizeof *m);
	m->format = MODEL_FORMAT_TFLITE;
	m->file_bytes = 53936;
	m->has_arena = true;
	m->arena_bytes = 23412;
	m->op_count = 2;
	snprintf(m->ops[0].name, sizeof m->ops[0].name, "CONV_2D");
	m->ops[0].version = 3;
	snprintf(m->ops[1].name, sizeof m->ops[1].name, "ethos-u");
	m->ops[1].version = 1;
	m->ops[1].custom = true;
	m->input_count = 1;
	m->inputs[0].type = MODEL_TYPE_INT8;
	m->inputs[0].has_shape = true;
	m->inputs[0].rank = 2;
	m->inputs[0].dims[0] = MODEL_DIM_OPEN;
	m->inputs[0].dims[1] = 490;
	return m;
}

static void requirements_come_from_the_bytes(void **state)
{
	(void)state;
	struct model_facts *m = make_facts();
	struct buf out = BUF_INIT;
	m->hybrid = true;
	assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_OK);
	requirement_print(&needs, &out);
	assert_string_equal(buf_cstr(&out), "{\"format\":\"tflite\",\"ops\":[\"CONV_2D@3\"],\"custom_ops\":[\"ethos-u\"],"
		"\"hybrid\":true,\"flash_slot_bytes\":53936,\"arena_bytes\":23412,\"arena_is_estimate\":true,"
		"\"input\":{\"shape\":[-1,490],\"type\":\"int8\"}}");
	buf_clear(&out);
	m->format = MODEL_FORMAT_ONNX;
	m->hybrid = m->has_arena = false;
	m->opset_count = 2;
	m->opsets[0].version = 13;
	snprintf(m->opsets[1].domain, sizeof m->opsets[1].domain, "com.microsoft");
	m->opsets[1].version = 1;
	m->inputs[0].type = MODEL_TYPE_UNKNOWN;
	assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_OK);
	requirement_print(&needs, &out);
	assert_string_equal(buf_cstr(&out), "{\"format\":\"onnx\",\"ops\":[\"ai.onnx@13\",\"com.microsoft@1\"],"
		"\"flash_slot_bytes\":53936,\"input\":{\"shape\":[-1,490]}}");
	m->inputs[0].has_shape = false; /* nothing is known of it but that it is there */
	assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_OK);
	buf_clear(&out);
	requirement_print(&needs, &out);
	assert_non_null(strstr(buf_cstr(&out), "\"input\":{\"type\":\"any\"}"));
	declare(&other, buf_cstr(&out));
	assert_true(other.input_count == 1 && other.inputs[0].type[0] == '\0' && !other.inputs[0].has_shape);
	m->format = MODEL_FORMAT_OPAQUE;
	assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_OK);
	assert_string_equal(needs.format, "");
	m->input_count = REQUIREMENT_INPUTS + 1;
	assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_TOO_LARGE);
	buf_done(&out);
	free(m);
}

/* Facts of one of the real models, or NULL where they are not there. To be freed. */
static struct model_facts *read_model(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "../shared/data/models/%s.tflite", name);
	FILE *file = fopen(path, "rb");
	if (file == NULL) return NULL;
	uint8_t *data = malloc(1 << 20);
	void *work = malloc(model_work_bytes());
	struct model_facts *m = malloc(sizeof *m);
	size_t size = fread(data, 1, 1 << 20, file);
	fclose(file);
	assert_int_equal(model_read(data, size, work, m, NULL), ERR_OK);
	free(work);
	free(data);
	return m;
}

/* A device with every operator of the models, but no accelerator; with one; and one that is too small. */
static void real_models_are_refused_for_what_they_are(void **state)
{
	(void)state;
	static const struct {
		const char *name, *why, *why_small;
	} rows[] = {
		{"kws_ref_model", "", "flash_slot_bytes: needs 53936, has 50000"},
		{"kws_ref_model_float32", "hybrid quantisation: not run by tflm", NULL},
		{"person_detect_vela", "custom operator ethos-u: no accelerator provides it", NULL},
		{"hello_world_int8", "", ""},
	};
	static const char small[] = "{\"slot_bytes\":50000}";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[4096];
		struct model_facts *m = read_model(rows[i].name);
		if (m == NULL) skip();
		assert_int_equal(requirement_from_model(&needs, m, NULL), ERR_OK);
		int n = sprintf(text, "{\"runtime\":\"tflm\",\"runtime_version\":\"2024\",\"slot_bytes\":1000000,\"arena_bytes\":400000,"
			"\"accelerators\":[],\"input\":{\"shape\":[-1");
		for (unsigned d = 1; d < m->inputs[0].rank; d++) n += sprintf(text + n, ",%lld", (long long)m->inputs[0].dims[d]);
		n += sprintf(text + n, "]},\"ops\":[\"NONE\"");
		for (unsigned o = 0; o < m->op_count; o++)
			if (!m->ops[o].custom) n += sprintf(text + n, ",\"%s@%lld\"", m->ops[o].name, (long long)m->ops[o].version);
		sprintf(text + n, "]}");
		assert_int_equal(capabilities_parse(&has, text, strlen(text), NULL), ERR_OK);
		assert_string_equal(reasons(NULL, true), rows[i].why);
		has.slot_bytes = 50000;
		if (rows[i].why_small != NULL) assert_string_equal(reasons(NULL, true), rows[i].why_small);
		assert_int_equal(capabilities_parse(&has, small, strlen(small), NULL), ERR_OK);
		assert_int_not_equal(compat_match(&needs, &has, NULL, NULL), COMPAT_YES);
		free(m);
	}
}

static void join(const char *derived, const char *declared, struct requirement_conflicts *c)
{
	declare(&needs, derived);
	declare(&other, declared);
	assert_int_equal(requirement_join(&needs, &other, c, NULL), ERR_OK);
}

static void the_stricter_wins_and_conflicts_have_names(void **state)
{
	(void)state;
	struct requirement_conflicts c;
	struct buf out = BUF_INIT;
	join("{\"ops\":[\"A@3\"],\"flash_slot_bytes\":100,\"arena_bytes\":23412,\"arena_is_estimate\":true,\"input\":{\"shape\":[-1,4]}}",
		"{\"runtime\":\"tflm>=2\",\"ops\":[\"A@2\",\"B@1\"],\"flash_slot_bytes\":200,\"arena_bytes\":16384,"
		"\"firmware\":\">=2\",\"accelerators\":[\"npu\"],\"link\":\"wifi\",\"input\":{\"shape\":[1,-1],\"type\":\"int8\"}}", &c);
	requirement_print(&needs, &out);
	assert_string_equal(buf_cstr(&out), "{\"runtime\":\"tflm>=2\",\"ops\":[\"A@3\",\"B@1\"],\"flash_slot_bytes\":200,"
		"\"arena_bytes\":23412,\"arena_is_estimate\":true,\"accelerators\":[\"npu\"],\"firmware\":\">=2\",\"link\":[\"wifi\"],"
		"\"input\":{\"shape\":[1,4],\"type\":\"int8\"}}");
	assert_int_equal(c.count, 2);
	assert_false(c.has_contradiction);
	assert_string_equal(c.rows[0].member, "arena_bytes");
	assert_string_equal(c.rows[0].text, "declared 16384, the file needs 23412: 23412 is asked");
	assert_string_equal(c.rows[1].member, "ops");
	assert_string_equal(c.rows[1].text, "A: declared @2, the file needs @3");
	join("{\"arena_bytes\":100,\"arena_is_estimate\":true}", "{\"arena_bytes\":200}", &c);
	assert_true(needs.arena_bytes == 200 && !needs.arena_is_estimate && c.count == 0);
	buf_done(&out);
}

static void contradictions_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *derived, *declared, *member;
	} rows[] = {
		{"{\"format\":\"tflite\"}", "{\"format\":\"onnx\"}", "format"},
		{"{\"runtime\":\"a>=2\"}", "{\"runtime\":\"a<2\"}", "runtime"},
		{"{\"runtime\":\"a\"}", "{\"runtime\":\"b\"}", "runtime"},
		{"{\"firmware\":\"audio>=2\"}", "{\"firmware\":\"audio<=1\"}", "firmware"},
		{"{\"link\":\"wifi\"}", "{\"link\":\"lte\"}", "link"},
		{"{\"device_class\":\"a\"}", "{\"device_class\":\"b\"}", "device_class"},
		{"{\"input\":{\"type\":\"int8\"}}", "{\"input\":{\"type\":\"float32\"}}", "input"},
		{"{\"input\":{\"shape\":[1,2]}}", "{\"input\":{\"shape\":[1,3]}}", "input"},
		{"{\"input\":{\"shape\":[1,2]}}", "{\"input\":[{\"shape\":[1,2]},{\"shape\":[1]}]}", "input"},
	};
	struct requirement_conflicts c;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		join(rows[i].derived, rows[i].declared, &c);
		assert_true(c.has_contradiction && c.count == 1);
		assert_string_equal(c.rows[0].member, rows[i].member);
	}
	join("{\"runtime\":[\"a>=2\",\"b\"],\"link\":[\"wifi\",\"lte\"]}", "{\"runtime\":[\"b>=3\",\"c\"],\"link\":[\"lte\",\"lora\"]}", &c);
	assert_int_equal(c.count, 0);
	assert_true(needs.runtime_count == 1 && needs.links.count == 1);
	assert_string_equal(needs.links.word[0], "lte");
}

#define DEVICE                                                                                                         \
	"{\"runtime\":\"tflm\",\"runtime_version\":\"2023.1\",\"ops\":[\"CONV_2D@3\",\"FULLY_CONNECTED@9\"],"          \
	"\"accelerators\":[\"ethos-u55-128\"],\"slot_bytes\":1048576,\"arena_bytes\":65536,"                           \
	"\"firmware\":{\"audio\":\"2.1\"},\"link\":\"wifi\",\"device_class\":\"m4\","                                 \
	"\"input\":{\"kws\":{\"shape\":[1,49,10,1],\"type\":\"int8\"}},\"shadow\":true}"

static void a_device_that_told_everything(void **state)
{
	(void)state;
	struct compat_asked kws = {"kws", 0};
	declare(&needs, "{\"format\":\"tflite\",\"runtime\":\"tflm>=2023.1\",\"ops\":[\"CONV_2D@3\",\"FULLY_CONNECTED@4\"],"
		"\"custom_ops\":[\"ethos-u\"],\"flash_slot_bytes\":53936,\"arena_bytes\":23412,\"accelerators\":[\"ethos-u\"],"
		"\"firmware\":\"audio>=2.1\",\"link\":[\"lte\",\"wifi\"],\"device_class\":\"m4\","
		"\"input\":{\"shape\":[1,49,10,1],\"type\":\"int8\"}}");
	report(DEVICE);
	assert_int_equal(has.malformed, 0);
	assert_string_equal(reasons(&kws, true), "");
	assert_int_equal(compat_match(&needs, &has, &kws, NULL), COMPAT_YES);
	assert_int_equal(match(), COMPAT_YES); /* one pipeline, and the question names no model */
	struct compat_asked vww = {"vww", 0};
	assert_string_equal(reasons(&vww, true), "unknown: input");
	report("{\"input\":{\"vww\":{\"shape\":[1,96,96,3]},\"kws\":[{\"shape\":[1,49,10,1],\"type\":\"int8\"}]}}");
	declare(&needs, "{\"input\":{\"shape\":[1,49,10,1],\"type\":\"int8\"}}");
	assert_int_equal(compat_match(&needs, &has, &kws, NULL), COMPAT_YES);
	assert_int_equal(compat_match(&needs, &has, &vww, NULL), COMPAT_NO);
	assert_int_equal(match(), COMPAT_UNKNOWN); /* two pipelines: which? */
	declare(&needs, "{}");
	report("{}");
	assert_int_equal(match(), COMPAT_YES);
}

/* One requirement against the device above, and what is said of it, with and without what the device has. */
static void each_no_has_its_reason(void **state)
{
	(void)state;
	static const struct {
		const char *needs, *device, *all;
	} rows[] = {
		{"{\"arena_bytes\":65537}", "arena_bytes: needs 65537, has 65536", "arena_bytes: needs 65537"},
		{"{\"flash_slot_bytes\":1048577}", "flash_slot_bytes: needs 1048577, has 1048576", "flash_slot_bytes: needs 1048577"},
		{"{\"ops\":[\"CONV_2D@4\"]}", "op CONV_2D@4: has 3", "op CONV_2D@4: has an older version"},
		{"{\"ops\":[\"SVDF@1\"]}", "op SVDF@1: not provided", "op SVDF@1: not provided"},
		{"{\"custom_ops\":[\"edgetpu\"]}", "custom operator edgetpu: no accelerator provides it",
			"custom operator edgetpu: no accelerator provides it"},
		{"{\"accelerators\":[\"ethos-u65\"]}", "accelerator ethos-u65: not there", "accelerator ethos-u65: not there"},
		{"{\"hybrid\":true}", "hybrid quantisation: not run by tflm", "hybrid quantisation: not run by tflm"},
		{"{\"format\":\"onnx\"}", "format: needs a runtime for onnx, has tflm", "format: needs a runtime for onnx"},
		{"{\"runtime\":\"tflm>=2023.2\"}", "runtime: needs tflm>=2023.2, has tflm 2023.1", "runtime: needs tflm>=2023.2"},
		{"{\"runtime\":[\"tflite\",\"ort>=1\"]}", "runtime: needs tflite or ort>=1, has tflm 2023.1",
			"runtime: needs tflite or ort>=1"},
		{"{\"firmware\":\"audio>=2.2\"}", "firmware: needs audio>=2.2, has 2.1", "firmware: needs audio>=2.2"},
		{"{\"link\":[\"lte\",\"lora\"]}", "link: needs lte or lora, has wifi", "link: needs lte or lora"},
		{"{\"device_class\":\"m7\"}", "device_class: needs m7, has m4", "device_class: needs m7"},
		{"{\"input\":{\"shape\":[1,49,10],\"type\":\"int8\"}}", "input: needs int8 [1,49,10], the pipeline feeds another",
			"input: needs int8 [1,49,10], the pipeline feeds another"},
		{"{\"input\":{\"type\":\"float32\"}}", "input: needs float32 [any], the pipeline feeds another",
			"input: needs float32 [any], the pipeline feeds another"},
		{"{\"input\":[{\"type\":\"int8\"},{\"type\":\"int8\"}]}", "input: needs 2 inputs, the pipeline feeds 1",
			"input: needs 2 inputs, the pipeline feeds 1"},
	};
	report(DEVICE);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		declare(&needs, rows[i].needs);
		assert_int_equal(match(), COMPAT_NO);
		assert_string_equal(reasons(NULL, true), rows[i].device);
		assert_string_equal(reasons(NULL, false), rows[i].all);
	}
}

static void unknown_is_not_yes(void **state)
{
	(void)state;
	static const struct {
		const char *needs, *why;
	} rows[] = {
		{"{\"arena_bytes\":1}", "unknown: arena_bytes"}, {"{\"flash_slot_bytes\":1}", "unknown: slot_bytes"},
		{"{\"ops\":[\"A\",\"B\"]}", "unknown: ops"}, {"{\"custom_ops\":[\"a\"]}", "unknown: ops\nunknown: accelerators"},
		{"{\"accelerators\":[\"a\"]}", "unknown: accelerators"}, {"{\"hybrid\":true}", "unknown: runtime"},
		{"{\"format\":\"onnx\"}", "unknown: runtime"}, {"{\"runtime\":\"a\"}", "unknown: runtime"},
		{"{\"firmware\":\">=1\"}", "unknown: firmware"}, {"{\"link\":\"a\"}", "unknown: link"},
		{"{\"device_class\":\"a\"}", "unknown: device_class"}, {"{\"input\":{\"type\":\"int8\"}}", "unknown: input"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		declare(&needs, rows[i].needs);
		report("{}");
		assert_int_equal(match(), COMPAT_UNKNOWN);
		assert_string_equal(reasons(NULL, true), rows[i].why);
	}
	declare(&needs, "{\"runtime\":\"x>=1\",\"format\":\"onnx\",\"firmware\":\"audio>=1\"}");
	report("{\"runtime\":\"x\",\"firmware\":\"3\"}");
	assert_string_equal(reasons(NULL, true), "unknown: runtime_version\nunknown: formats\nunknown: firmware");
	/* a certain no is a no, whatever else is unknown */
	declare(&needs, "{\"arena_bytes\":10,\"flash_slot_bytes\":5}");
	report("{\"arena_bytes\":9}");
	assert_string_equal(reasons(NULL, true), "arena_bytes: needs 10, has 9\nunknown: slot_bytes");
	assert_int_equal(match(), COMPAT_NO);
}

static void what_a_device_tells_in_another_form_is_unknown(void **state)
{
	(void)state;
	static const char *const bad[CAPABILITY_COUNT] = {
		[CAPABILITY_RUNTIME] = "{\"runtime\":7}", [CAPABILITY_RUNTIME_VERSION] = "{\"runtime_version\":\"latest\"}",
		[CAPABILITY_FORMATS] = "{\"formats\":\"onnx\"}", [CAPABILITY_OPS] = "{\"ops\":[\"A\",{\"x\":[1]}]}",
		[CAPABILITY_ACCELERATORS] = "{\"accelerators\":[\"a b\"]}", [CAPABILITY_SLOT_BYTES] = "{\"slot_bytes\":-1}",
		[CAPABILITY_ARENA_BYTES] = "{\"arena_bytes\":\"64k\"}", [CAPABILITY_FIRMWARE] = "{\"firmware\":{\"a\":\"?\"}}",
		[CAPABILITY_LINK] = "{\"link\":[\"wifi\"]}", [CAPABILITY_DEVICE_CLASS] = "{\"device_class\":\"\"}",
		[CAPABILITY_INPUT] = "{\"input\":{\"kws\":{\"shape\":\"1x2\"}}}",
	};
	for (unsigned i = 0; i < CAPABILITY_COUNT; i++) {
		report(bad[i]);
		assert_int_equal(has.known, 0);
		assert_int_equal(has.malformed, 1u << i);
		assert_true(strlen(capability_doc((enum capability)i)) > 0);
	}
	declare(&needs, "{\"arena_bytes\":1}");
	report("{\"nested\":{\"arena_bytes\":7},\"arena_bytes\":\"64k\",\"slot_bytes\":3}");
	assert_string_equal(reasons(NULL, true), "unknown: arena_bytes (reported in another form)");
	assert_int_equal(has.known, 1u << CAPABILITY_SLOT_BYTES); /* behind it: read all the same */
	report("{\"arena_bytes\":9,\"arena_bytes\":10}"); /* which one? */
	assert_int_equal(match(), COMPAT_UNKNOWN);
	static const char *const broken[] = {"", "[]", "{\"arena_bytes\":9", "{\"arena_bytes\":9}x", "7"};
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		assert_int_equal(capabilities_parse(&has, broken[i], strlen(broken[i]), NULL), ERR_BAD_REQUEST);
		assert_int_equal(has.known, 0);
	}
}

static void what_is_known_from_elsewhere(void **state)
{
	(void)state;
	struct requirement_input in = {.type = "int8", .has_shape = true, .rank = 1, .dims = {490}};
	struct compat_asked kws = {"kws", 0};
	declare(&needs, "{\"firmware\":\">=2\",\"input\":{\"shape\":[490],\"type\":\"int8\"}}");
	report("{}");
	capabilities_set_firmware(&has, "2.1.0");
	capabilities_set_input(&has, "kws", &in, 1);
	assert_int_equal(compat_match(&needs, &has, &kws, NULL), COMPAT_YES);
	/* the device's own word stays */
	report("{\"firmware\":\"1.9\",\"input\":{\"shape\":[491]}}");
	capabilities_set_firmware(&has, "2.1.0");
	capabilities_set_input(&has, "kws", &in, 1);
	assert_int_equal(compat_match(&needs, &has, &kws, NULL), COMPAT_NO);
	assert_true(has.firmware_count == 1 && has.input_count == 1);
	report("{\"firmware\":{\"audio\":\"3\"}}");
	capabilities_set_firmware(&has, "2.1.0");
	capabilities_set_firmware(&has, "unreadable");
	assert_int_equal(has.firmware_count, 2);
	report("{}");
	capabilities_set_firmware(&has, "unreadable");
	assert_int_equal(has.known, 0);
}

static void a_measured_arena_is_better_than_an_estimate(void **state)
{
	(void)state;
	struct compat_asked measured = {NULL, 9000};
	declare(&needs, "{\"arena_bytes\":10000,\"arena_is_estimate\":true}");
	report("{\"runtime\":\"tflm\",\"arena_bytes\":9500}");
	assert_int_equal(match(), COMPAT_NO);
	assert_int_equal(compat_match(&needs, &has, &measured, NULL), COMPAT_YES);
	measured.arena_used_bytes = 9501;
	assert_int_equal(compat_match(&needs, &has, &measured, NULL), COMPAT_NO);
	report("{\"runtime\":\"tflite\"}"); /* plans otherwise: the estimate is not about it */
	assert_int_equal(match(), COMPAT_YES);
	declare(&needs, "{\"arena_bytes\":10000}");
	measured.arena_used_bytes = 9000; /* what was declared stays */
	report("{\"runtime\":\"tflm\",\"arena_bytes\":9500}");
	assert_int_equal(compat_match(&needs, &has, &measured, NULL), COMPAT_NO);
}

static void reasons_are_counted(void **state)
{
	(void)state;
	static struct compat_tally t;
	struct compat_result r;
	declare(&needs, "{\"arena_bytes\":100,\"ops\":[\"A@2\"]}");
	report("{\"arena_bytes\":50,\"ops\":[]}");
	compat_match(&needs, &has, NULL, &r);
	compat_tally_add(&t, &r, 3);
	report("{\"arena_bytes\":70,\"ops\":[\"A@2\"]}");
	compat_match(&needs, &has, NULL, &r);
	compat_tally_add(&t, &r, 5);
	report("{\"arena_bytes\":100}");
	compat_match(&needs, &has, NULL, &r);
	compat_tally_add(&t, &r, 4);
	compat_tally_sort(&t);
	assert_true(t.devices[COMPAT_NO] == 8 && t.devices[COMPAT_UNKNOWN] == 4 && t.devices[COMPAT_YES] == 0);
	assert_int_equal(t.count, 3);
	assert_true(t.rows[0].reason.kind == COMPAT_REASON_ARENA && t.rows[0].devices == 8 && t.rows[0].reason.has == 70);
	assert_true(t.rows[1].reason.kind == COMPAT_REASON_UNKNOWN && t.rows[1].devices == 4);
	assert_true(t.rows[2].reason.kind == COMPAT_REASON_OP_MISSING && t.rows[2].devices == 3);
	for (int k = 0; k < COMPAT_REASON_COUNT; k++) assert_true(strlen(compat_reason_word((enum compat_reason_kind)k)) > 0);
	assert_string_equal(compat_name(COMPAT_UNKNOWN), "unknown");
}

static void more_reasons_than_fit_are_counted(void **state)
{
	(void)state;
	struct compat_result r;
	char text[2048] = "{\"ops\":[\"A\"";
	for (int i = 0; i < 30; i++) sprintf(text + strlen(text), ",\"OP%d@2\"", i);
	declare(&needs, strcat(text, "],\"arena_bytes\":1}"));
	report("{\"ops\":[]}");
	assert_int_equal(compat_match(&needs, &has, NULL, &r), COMPAT_NO);
	assert_int_equal(r.count, COMPAT_REASONS);
	assert_int_equal(r.count + r.omitted, 32);
}

/* Operators of random numbers of names against a search without order. */
static void the_walk_over_operators_is_a_search(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (int round = 0; round < 300; round++) {
		char asked[2048] = "{\"ops\":[", told[2048] = "{\"ops\":[";
		int wants[24] = {0}, gives[24] = {0};
		bool is_yes = true;
		for (int i = 0; i < 24; i++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			if (seed >> 60 < 5) wants[i] = 1 + (int)(seed >> 50 & 3);
			if (seed >> 40 & 7) gives[i] = 1 + (int)(seed >> 30 & 3) + (seed >> 20 & 1 ? 3 : 0);
			if (wants[i]) sprintf(asked + strlen(asked), "%s\"OP_%d@%d\"", asked[8] ? "," : "", i, wants[i]);
			if (gives[i]) sprintf(told + strlen(told), "%s\"OP_%d@%d\"", told[8] ? "," : "", i, gives[i]);
			is_yes &= !wants[i] || gives[i] >= wants[i];
		}
		declare(&needs, strcat(asked, "]}"));
		report(strcat(told, "]}"));
		assert_int_equal(match(), is_yes ? COMPAT_YES : COMPAT_NO);
	}
}

static void equal_words_are_one_class(void **state)
{
	(void)state;
	static struct capability_class_slot few[64], many[256];
	struct capability_classes t, larger;
	bool is_new;
	capability_classes_init(&t, few, 64);
	uint8_t key[CAPABILITY_CLASS_KEY_BYTES] = {0};
	for (int i = 0; i < 48; i++) {
		key[0] = 5, key[8] = (uint8_t)i; /* all want the same place */
		assert_int_equal(capability_classes_intern(&t, key, &is_new), i);
		assert_true(is_new);
		assert_int_equal(capability_classes_intern(&t, key, &is_new), i);
		assert_false(is_new);
	}
	key[8] = 200;
	assert_int_equal(capability_classes_intern(&t, key, &is_new), CAPABILITY_CLASS_NONE);
	capability_classes_init(&larger, many, 256);
	capability_classes_move(&t, &larger);
	assert_int_equal(capability_classes_intern(&larger, key, &is_new), 48);
	key[8] = 17;
	assert_int_equal(capability_classes_intern(&larger, key, &is_new), 17);
	assert_false(is_new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_as_people_write_them),
		cmocka_unit_test(ranges_of_versions),
		cmocka_unit_test(a_requirement_reads_back_as_it_was_written),
		cmocka_unit_test(what_is_no_requirement_is_refused_by_name),
		cmocka_unit_test(too_many_operators_are_refused),
		cmocka_unit_test(requirements_come_from_the_bytes),
		cmocka_unit_test(real_models_are_refused_for_what_they_are),
		cmocka_unit_test(the_stricter_wins_and_conflicts_have_names),
		cmocka_unit_test(contradictions_are_named),
		cmocka_unit_test(a_device_that_told_everything),
		cmocka_unit_test(each_no_has_its_reason),
		cmocka_unit_test(unknown_is_not_yes),
		cmocka_unit_test(what_a_device_tells_in_another_form_is_unknown),
		cmocka_unit_test(what_is_known_from_elsewhere),
		cmocka_unit_test(a_measured_arena_is_better_than_an_estimate),
		cmocka_unit_test(reasons_are_counted),
		cmocka_unit_test(more_reasons_than_fit_are_counted),
		cmocka_unit_test(the_walk_over_operators_is_a_search),
		cmocka_unit_test(equal_words_are_one_class),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
