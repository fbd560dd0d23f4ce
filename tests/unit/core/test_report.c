#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/report.h"

static struct device_report r;
static struct fault f;

static enum err parse(const char *text)
{
	memset(&f, 0, sizeof f);
	return report_parse(&r, text, strlen(text), &f);
}

#define HASH "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static void the_protocols_example(void **state)
{
	(void)state;
	assert_int_equal(parse(
		"{\"boot\":\"b3f0a1c2\",\"seq\":57,\"ts\":1700000000000,\"desired_rev\":12,"
		"\"enrol\":{\"token\":\"t\\u00f6ken\",\"secret_sha256\":\"" HASH "\",\"name\":\"Door 7\",\"hardware\":\"esp32s3\","
		"\"attributes\":{\"region\":\"eu\",\"floor\":3,\"lab\":true},\"tags\":[\"beta\",\"x\",\"beta\"]},"
		"\"running\":{\"release\":\"kws-1.4.1\",\"counter\":6,\"models\":{\"kws\":\"1.4.1\",\"vad\":\"2.0.0+b\"},\"hashes\":{\"vad\":\"" HASH "\"},\"firmware\":\"2.1.0\"},"
		"\"capabilities\":{\"runtime\":\"tflm\",\"slot_bytes\":1048576,\"ops\":[\"CONV_2D\",{\"a\":1},{\"a\":2}]},"
		"\"deployment\":{\"id\":\"d-184\",\"attempt\":2,\"state\":\"downloading\",\"progress\":42,\"reason\":\"so\\nso\"}}"), ERR_OK);
	assert_string_equal(r.boot, "b3f0a1c2");
	assert_int_equal(r.seq, 57);
	assert_true(r.has_ts && r.ts_ms == 1700000000000 && r.has_desired_rev && r.desired_rev == 12);
	assert_true(r.has_enrol && r.has_running && r.has_deployment);
	assert_string_equal(r.enrol.token, "t\xc3\xb6ken");
	assert_string_equal(r.enrol.secret_sha256, HASH);
	assert_string_equal(r.enrol.name, "Door 7");
	assert_string_equal(r.enrol.hardware, "esp32s3");
	assert_true(slice_equals(r.enrol.attributes, "{\"region\":\"eu\",\"floor\":3,\"lab\":true}"));
	assert_int_equal(r.enrol.tag_count, 2);
	assert_string_equal(r.enrol.tags[1], "x");
	assert_string_equal(r.running.release, "kws-1.4.1");
	assert_int_equal(r.running.counter, 6);
	assert_int_equal(r.running.model_count, 2);
	assert_string_equal(r.running.models[1].name, "vad");
	assert_string_equal(r.running.models[1].version, "2.0.0+b");
	assert_string_equal(r.running.firmware, "2.1.0");
	assert_int_equal(r.running.hash_count, 1);
	assert_string_equal(r.running.hashes[0].model, "vad");
	assert_string_equal(r.running.hashes[0].sha256, HASH);
	assert_true(r.running.text.data[0] == '{' && r.running.text.data[r.running.text.len - 1] == '}');
	assert_true(slice_equals(r.capabilities,
		"{\"runtime\":\"tflm\",\"slot_bytes\":1048576,\"ops\":[\"CONV_2D\",{\"a\":1},{\"a\":2}]}"));
	assert_string_equal(r.deployment.id, "d-184");
	assert_int_equal(r.deployment.attempt, 2);
	assert_int_equal(r.deployment.state, REPORT_DOWNLOADING);
	assert_int_equal(r.deployment.progress, 42);
	assert_string_equal(r.deployment.reason, "so\nso");
}

static void only_boot_and_seq_are_required(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"seq\":1,\"boot\":\"b\"}"), ERR_OK);
	assert_false(r.has_ts || r.has_desired_rev || r.has_enrol || r.has_running || r.has_deployment);
	assert_int_equal(r.capabilities.len, 0);
	assert_int_equal(r.deployment.progress, -1);
	assert_int_equal(r.deployment.attempt, 1);
	assert_int_equal(parse("{\"seq\":1,\"boot\":\"b\",\"running\":{},\"capabilities\":{}}"), ERR_OK);
	assert_true(r.has_running && r.running.release[0] == '\0');
	assert_true(slice_equals(r.capabilities, "{}"));
}

#define B "{\"boot\":\"b\",\"seq\":1,"
#define ENROL(more) B "\"enrol\":{\"token\":\"t\",\"secret_sha256\":\"" HASH "\",\"hardware\":\"h\"" more "}}"
#define DEPLOYMENT(more) B "\"deployment\":{\"id\":\"d\"" more "}}"
#define X16 "0123456789abcdef"
#define X128 X16 X16 X16 X16 X16 X16 X16 X16

static void refusals_name_the_member(void **state)
{
	static const struct {
		const char *text, *pointer;
	} table[] = {
		{"[]", ""},
		{"7", ""},
		{"{}", ""},
		{"{\"boot\":\"b\"}", ""},
		{"{\"boot\":1}", "/boot"},
		{"{\"boot\":\"a b\"}", "/boot"},
		{"{\"boot\":\"b\",\"boot\":\"b\"}", "/boot"},
		{"{\"seq\":0}", "/seq"},
		{"{\"seq\":1.0}", "/seq"},
		{"{\"seq\":9007199254740993}", "/seq"},
		{"{\"ts\":\"x\"}", "/ts"},
		{"{\"desired_rev\":-1}", "/desired_rev"},
		{"{\"other\":1}", "/other"},
		{"{\"a/b~c\":1}", "/a~1b~0c"},
		{B "\"enrol\":7}", "/enrol"},
		{B "\"enrol\":{}}", "/enrol"},
		{B "\"enrol\":{\"token\":\"\"}}", "/enrol/token"},
		{B "\"enrol\":{\"token\":\"" X128 "x\"}}", "/enrol/token"},
		{B "\"enrol\":{\"token\":5}}", "/enrol/token"},
		{B "\"enrol\":{\"secret_sha256\":\"abc\"}}", "/enrol/secret_sha256"},
		{B "\"enrol\":{\"secret_sha256\":\"" X128 "\"}}", "/enrol/secret_sha256"},
		{B "\"enrol\":{\"secret_sha256\":\"Z" X16 X16 X16 "123456789abcdef\"}}", "/enrol/secret_sha256"},
		{B "\"enrol\":{\"hardware\":\"a b\"}}", "/enrol/hardware"},
		{ENROL(",\"name\":\"" X128 "x\""), "/enrol/name"},
		{ENROL(",\"attributes\":[]"), "/enrol/attributes"},
		{ENROL(",\"attributes\":{\"a\":{}}"), "/enrol/attributes/a"},
		{ENROL(",\"attributes\":{\"a\":null}"), "/enrol/attributes/a"},
		{ENROL(",\"attributes\":{\"a\":\"" X128 X128 "x\"}"), "/enrol/attributes/a"},
		{ENROL(",\"attributes\":{\"a b\":1}"), "/enrol/attributes/a b"},
		{ENROL(",\"attributes\":{\"a\":1,\"a\":1}"), "/enrol/attributes/a"},
		{ENROL(",\"tags\":{}"), "/enrol/tags"},
		{ENROL(",\"tags\":[1]"), "/enrol/tags"},
		{ENROL(",\"tags\":[\"a b\"]"), "/enrol/tags"},
		{B "\"running\":[]}", "/running"},
		{B "\"running\":{\"release\":\"a/b\"}}", "/running/release"},
		{B "\"running\":{\"counter\":-1}}", "/running/counter"},
		{B "\"running\":{\"models\":[]}}", "/running/models"},
		{B "\"running\":{\"models\":{\"m\":1}}}", "/running/models/m"},
		{B "\"running\":{\"models\":{\"m m\":\"1\"}}}", "/running/models/m m"},
		{B "\"running\":{\"models\":{\"m\":\"1\",\"m\":\"1\"}}}", "/running/models/m"},
		{B "\"running\":{\"firmware\":\"\"}}", "/running/firmware"},
		{B "\"running\":{\"hashes\":[]}}", "/running/hashes"},
		{B "\"running\":{\"hashes\":{\"m\":\"9F\"}}}", "/running/hashes/m"},
		{B "\"running\":{\"hashes\":{\"m\":\"" HASH "\",\"m\":\"" HASH "\"}}}", "/running/hashes/m"},
		{B "\"capabilities\":[]}", "/capabilities"},
		{B "\"capabilities\":{\"a\":1,\"a\":2}}", "/capabilities/a"},
		{B "\"capabilities\":{\"a\":[{\"b\":1,\"b\":2}]}}", "/capabilities/a/b"},
		{B "\"capabilities\":{\"\\u0061\":1}}", "/capabilities"},
		{B "\"deployment\":1}", "/deployment"},
		{DEPLOYMENT(""), "/deployment"},
		{DEPLOYMENT(",\"id\":\"d\""), "/deployment/id"},
		{DEPLOYMENT(",\"state\":\"done\""), "/deployment/state"},
		{DEPLOYMENT(",\"state\":1"), "/deployment/state"},
		{DEPLOYMENT(",\"attempt\":0"), "/deployment/attempt"},
		{DEPLOYMENT(",\"progress\":101"), "/deployment/progress"},
		{DEPLOYMENT(",\"reason\":\"" X128 X128 "\""), "/deployment/reason"},
		{B "\"deployment\":{\"id\":\"a b\"}}", "/deployment/id"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		enum err e = parse(table[i].text);
		if (e != ERR_INVALID || strcmp(f.pointer, table[i].pointer) != 0) print_error("%s: %s %s\n", table[i].text, f.pointer, f.detail);
		assert_int_equal(e, ERR_INVALID);
		assert_string_equal(f.pointer, table[i].pointer);
		assert_true(strlen(f.detail) > 0);
		assert_int_equal(report_parse(&r, table[i].text, strlen(table[i].text), NULL), ERR_INVALID);
	}
}

static void broken_texts(void **state)
{
	static const char good[] = ENROL(",\"name\":\"n\",\"attributes\":{\"a\":1},\"tags\":[\"t\"]");
	static const char other[] = B "\"running\":{\"models\":{\"m\":\"1\"}},\"capabilities\":{\"a\":[1,{\"b\":2}]},"
		"\"deployment\":{\"id\":\"d\",\"state\":\"failed\"}}";
	static char big[REPORT_BYTES + 1];
	(void)state;
	assert_int_equal(parse(good), ERR_OK);
	assert_int_equal(parse(other), ERR_OK);
	assert_int_equal(r.deployment.state, REPORT_FAILED);
	for (size_t n = 0; n < sizeof good - 1; n++) assert_int_equal(report_parse(&r, good, n, &f), ERR_BAD_REQUEST);
	for (size_t n = 0; n < sizeof other - 1; n++) assert_int_equal(report_parse(&r, other, n, &f), ERR_BAD_REQUEST);
	assert_int_equal(parse("{\"boot\":\"b\",\"seq\":1}x"), ERR_BAD_REQUEST);
	assert_non_null(strstr(f.detail, "at byte"));
	assert_int_equal(parse("{\"boot\":\"\xff\"}"), ERR_BAD_REQUEST);
	memset(big, ' ', sizeof big);
	assert_int_equal(report_parse(&r, big, sizeof big, &f), ERR_TOO_LARGE);
	memcpy(big, "{\"boot\":\"b\",\"seq\":1}", 20);
	assert_int_equal(report_parse(&r, big, REPORT_BYTES, &f), ERR_OK);
}

/* head, count members, tail */
static enum err parse_many(const char *head, const char *before, const char *after, int count, const char *tail)
{
	char text[4096];
	size_t n = (size_t)snprintf(text, sizeof text, "%s", head);
	for (int i = 0; i < count; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%sx%d\"%s", i ? "," : "", before, i, after);
	snprintf(text + n, sizeof text - n, "%s", tail);
	return parse(text);
}

static void limits(void **state)
{
	const char *enrol = "{\"boot\":\"b\",\"seq\":1,\"enrol\":{\"token\":\"t\",\"secret_sha256\":\"" HASH "\",\"hardware\":\"h\",";
	char head[256];
	(void)state;
	snprintf(head, sizeof head, "%s\"tags\":[", enrol);
	assert_int_equal(parse_many(head, "", "", REPORT_TAGS, "]}}"), ERR_OK);
	assert_int_equal(r.enrol.tag_count, REPORT_TAGS);
	assert_int_equal(parse_many(head, "", "", REPORT_TAGS + 1, "]}}"), ERR_INVALID);
	snprintf(head, sizeof head, "%s\"attributes\":{", enrol);
	assert_int_equal(parse_many(head, "", ":1", REPORT_ATTRIBUTES, "}}}"), ERR_OK);
	assert_int_equal(parse_many(head, "", ":1", REPORT_ATTRIBUTES + 1, "}}}"), ERR_INVALID);
	assert_int_equal(parse_many(B "\"running\":{\"models\":{", "", ":\"1\"", REPORT_MODELS, "}}}"), ERR_OK);
	assert_int_equal(parse_many(B "\"running\":{\"models\":{", "", ":\"1\"", REPORT_MODELS + 1, "}}}"), ERR_INVALID);
	assert_int_equal(parse_many(B "\"capabilities\":{", "", ":[]", REPORT_CAPABILITIES, "}}"), ERR_OK);
	assert_int_equal(parse_many(B "\"capabilities\":{", "", ":[]", REPORT_CAPABILITIES + 1, "}}"), ERR_INVALID);
}

static void a_long_unknown_name_is_cut(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"" X128 "\":1}"), ERR_INVALID);
	assert_true(strlen(f.pointer) < 80 && strncmp(f.pointer, "/" X16, 17) == 0);
}

static void status(void **state)
{
	struct device_status s;
	static const struct {
		const char *text;
		enum err e;
	} bad[] = {
		{"", ERR_BAD_REQUEST},
		{"{", ERR_BAD_REQUEST},
		{"{}", ERR_INVALID},
		{"true", ERR_INVALID},
		{"{\"online\":1}", ERR_INVALID},
		{"{\"online\":true,\"boot\":\"\"}", ERR_INVALID},
		{"{\"online\":true,\"x\":1}", ERR_INVALID},
		{"{\"online\":", ERR_BAD_REQUEST},
	};
	char big[STATUS_BYTES + 1];
	(void)state;
	assert_int_equal(status_parse(&s, "{\"online\":true,\"boot\":\"id\"}", 27, &f), ERR_OK);
	assert_true(s.online);
	assert_string_equal(s.boot, "id");
	assert_int_equal(status_parse(&s, "{\"online\":false}", 16, &f), ERR_OK);
	assert_false(s.online);
	assert_string_equal(s.boot, "");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(status_parse(&s, bad[i].text, strlen(bad[i].text), &f), bad[i].e);
	memset(big, ' ', sizeof big);
	assert_int_equal(status_parse(&s, big, sizeof big, &f), ERR_TOO_LARGE);
}

static void states(void **state)
{
	(void)state;
	assert_string_equal(report_state_text(REPORT_ACCEPTED), "accepted");
	assert_string_equal(report_state_text(REPORT_CANCELLED), "cancelled");
	for (int s = 0; s < REPORT_STATE_COUNT; s++) assert_int_equal(report_state_is_final((enum report_state)s), s >= REPORT_SUCCEEDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_protocols_example),
		cmocka_unit_test(only_boot_and_seq_are_required),
		cmocka_unit_test(refusals_name_the_member),
		cmocka_unit_test(broken_texts),
		cmocka_unit_test(limits),
		cmocka_unit_test(a_long_unknown_name_is_cut),
		cmocka_unit_test(status),
		cmocka_unit_test(states),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
