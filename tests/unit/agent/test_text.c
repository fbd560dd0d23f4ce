/* The small things under the agent: hex, base64, numbers and strings as JSON, binding of members, hints, telemetry. */
#include "world.h"

#include "agent/codec.h"
#include "agent/document.h"
#include "agent/inside.h"
#include "agent/json.h"
#include "agent/writer.h"
#include "base/jpull.h"

static void test_hex(void **unused)
{
	(void)unused;
	uint8_t out[2];
	char text[5];
	assert_true(agent_hex_decode("0aff", 4, out, 2));
	assert_int_equal(out[1], 255);
	assert_false(agent_hex_decode("0aFF", 4, out, 2));
	assert_false(agent_hex_decode("0aff0", 5, out, 2));
	assert_false(agent_hex_decode("0a", 2, out, 2));
	assert_false(agent_hex_decode("0a-1", 4, out, 2));
	agent_hex_encode((const uint8_t *)"\x01\xfe", 2, text);
	assert_string_equal(text, "01fe");
}

static void assert_base64(const char *text, const char *want)
{
	char buffer[64];
	size_t len = 0;
	snprintf(buffer, sizeof(buffer), "%s", text);
	bool ok = agent_base64_decode(buffer, strlen(text), (uint8_t *)buffer, sizeof(buffer), &len); /* in place */
	assert_int_equal(ok, want != NULL);
	if (!want)
		return;
	assert_int_equal(len, strlen(want));
	assert_memory_equal(buffer, want, len);
}

static void test_base64(void **unused)
{
	(void)unused;
	assert_base64("", "");
	assert_base64("Zg==", "f");
	assert_base64("Zm8=", "fo");
	assert_base64("Zm9v", "foo");
	assert_base64("Zm9vYmFy", "foobar");
	assert_base64("\\/\\/\\/\\/", "\xff\xff\xff");
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9*", "Zm 9", "=m9v", "Zg=g"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_base64(bad[i], NULL);
	uint8_t small[2];
	size_t len;
	assert_false(agent_base64_decode("Zm9v", 4, small, sizeof(small), &len));
}

static void test_base64_agrees_with_the_server(void **unused)
{
	(void)unused;
	uint8_t data[100], back[100];
	char text[200];
	for (size_t n = 0; n < sizeof(data); n++) {
		size_t len;
		data[n] = (uint8_t)(n * 37);
		base64_encode(data, n, text);
		assert_true(agent_base64_decode(text, strlen(text), back, sizeof(back), &len));
		assert_int_equal(len, n);
		assert_memory_equal(back, data, n);
	}
}

static void assert_number(double v, const char *want)
{
	char text[64];
	struct agent_writer w;
	agent_writer_init(&w, text, sizeof(text));
	agent_writer_number(&w, v);
	assert_false(w.failed);
	assert_string_equal(text, want);
}

static void test_numbers(void **unused)
{
	(void)unused;
	assert_number(0, "0");
	assert_number(-0.0, "0");
	assert_number(-3, "-3");
	assert_number(0.83, "0.83");
	assert_number(81.5, "81.5");
	assert_number(-0.05, "-0.05");
	assert_number(1e12, "1000000000000");
	assert_number(123456789.125, "123456789");
	assert_number(1.0 / 3, "0.333333333");
	assert_number(0.999999999999, "1");
	assert_number(1.5e-12, "15e-13");
	assert_number(1e-308, "0");
	assert_number(9007199254740991.0, "9007199254740991");
	assert_number(1.25e300, "125e298");
}

static void test_numbers_read_back(void **unused)
{
	(void)unused;
	struct world *w = w_new(3);
	for (int i = 0; i < 20000; i++) {
		double v = ((double)w_random(w) - 2147483648.0) / (double)(1 + w_random(w) % 1000000), back = 0;
		for (unsigned k = w_random(w) % 20; k > 0; k--)
			v *= i & 1 ? 0.1 : 3.7;
		char text[64];
		struct agent_writer out;
		struct jp p;
		agent_writer_init(&out, text, sizeof(text));
		agent_writer_number(&out, v);
		jp_init(&p, text, out.len);
		assert_int_equal(jp_next(&p), JP_NUMBER);
		assert_true(jp_double(&p, &back));
		assert_int_equal(jp_next(&p), JP_END);
		double error = back > v ? back - v : v - back, size = v < 0 ? -v : v;
		assert_true(error <= size * 5.1e-9);
	}
	w_free(w);
}

static void test_strings(void **unused)
{
	(void)unused;
	char text[64];
	struct agent_writer w;
	agent_writer_init(&w, text, sizeof(text));
	agent_writer_string(&w, "a\"b\\c\nd\xc3\xa9\xff\xe0\x80\x80\xf0\x9f\x90\xa6");
	assert_string_equal(text, "\"a\\\"b\\\\c d\xc3\xa9????\xf0\x9f\x90\xa6\"");
	agent_writer_init(&w, text, 8);
	agent_writer_string(&w, "1234567");
	assert_true(w.failed);
	assert_true(strlen(text) < 8);
}

static void test_copy_cuts_between_characters(void **unused)
{
	(void)unused;
	char out[6];
	agent_copy(out, sizeof(out), "abcd\xc3\xa9");
	assert_string_equal(out, "abcd");
	agent_copy(out, sizeof(out), "abc\xc3\xa9");
	assert_string_equal(out, "abc\xc3\xa9");
}

struct bound {
	char name[9], path[20], label[12];
	int64_t count;
	uint8_t hex[2];
	struct agent_slice text, object, array;
};

static const char *bind(const char *json, struct bound *b)
{
	static const struct agent_member members[] = {
		{"name", AGENT_MEMBER_NAME, true, offsetof(struct bound, name), 9},
		{"path", AGENT_MEMBER_PATH, false, offsetof(struct bound, path), 20},
		{"label", AGENT_MEMBER_LABEL, false, offsetof(struct bound, label), 12},
		{"count", AGENT_MEMBER_COUNT, false, offsetof(struct bound, count), 0},
		{"hex", AGENT_MEMBER_HEX, false, offsetof(struct bound, hex), 2},
		{"text", AGENT_MEMBER_TEXT, false, offsetof(struct bound, text), 0},
		{"object", AGENT_MEMBER_OBJECT, false, offsetof(struct bound, object), 0},
		{"array", AGENT_MEMBER_ARRAY, false, offsetof(struct bound, array), 0},
	};
	struct agent_slice s = {json, strlen(json)};
	memset(b, 0, sizeof(*b));
	return agent_json_bind(s, members, 8, b);
}

static void test_binding(void **unused)
{
	(void)unused;
	struct bound b;
	assert_null(bind(" { \"name\" : \"abc-1\" , \"count\":12,\"hex\":\"00ff\", \"unknown\":[{\"name\":1}],\"text\":\"t\\n\","
	                 "\"object\": {\"a\":[1,{}]} ,\"array\":[1, \"x]\" ],\"path\":\"/a?b=1\",\"label\":\"1.0+x\" } ", &b));
	assert_string_equal(b.name, "abc-1");
	assert_string_equal(b.path, "/a?b=1");
	assert_string_equal(b.label, "1.0+x");
	assert_int_equal(b.count, 12);
	assert_int_equal(b.hex[1], 255);
	assert_true(agent_slice_equals(b.text, "t\\n"));
	assert_true(agent_slice_equals(b.object, "{\"a\":[1,{}]}"));
	assert_true(agent_slice_equals(b.array, "[1, \"x]\" ]"));

	struct agent_items items;
	struct agent_slice item;
	agent_items_open(&items, b.array);
	assert_true(agent_items_next(&items, &item) && agent_slice_equals(item, "1"));
	assert_true(agent_items_next(&items, &item) && agent_slice_equals(item, "\"x]\""));
	assert_false(agent_items_next(&items, &item));
	assert_false(items.failed);
}

static void test_binding_refuses(void **unused)
{
	(void)unused;
	static const struct {
		const char *json, *fault;
	} bad[] = {
		{"{}", "name"},
		{"{\"name\":\"a\",\"name\":\"a\"}", "name"},
		{"{\"name\":\"123456789\"}", "name"},
		{"{\"name\":\"\"}", "name"},
		{"{\"name\":\"-a\"}", "name"},
		{"{\"name\":1}", "name"},
		{"{\"name\":\"a\",\"count\":-1}", "count"},
		{"{\"name\":\"a\",\"count\":1.5}", "count"},
		{"{\"name\":\"a\",\"count\":99999999999999999999}", "count"},
		{"{\"name\":\"a\",\"hex\":\"00FF\"}", "hex"},
		{"{\"name\":\"a\",\"path\":\"a/b\"}", "path"},
		{"{\"name\":\"a\",\"path\":\"/a b\"}", "path"},
		{"{\"name\":\"a\",\"path\":\"/a\\\\u0000\"}", "path"},
		{"{\"name\":\"a\",\"object\":[]}", "object"},
		{"{\"name\":\"a\",\"array\":{}}", "array"},
		{"{\"name\":\"a\",\"text\":null}", "text"},
		{"{\"name\":\"a\"", "malformed JSON"},
		{"{\"name\":\"a\"}x", "malformed JSON"},
		{"[]", "not an object"},
		{"", "not an object"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bound b;
		const char *fault = bind(bad[i].json, &b);
		assert_non_null(fault);
		assert_string_equal(fault, bad[i].fault);
	}
}

static void test_topics(void **unused)
{
	(void)unused;
	char out[96];
	assert_int_equal(agent_topic_name(AGENT_TOPIC_REPORT, "dev-1", out, sizeof(out)), 22);
	assert_string_equal(out, "aviary/v1/dev-1/report");
	assert_int_equal(agent_topic_name(AGENT_TOPIC_REPORT, "dev-1", out, 22), 0);
}

static void test_telemetry(void **unused)
{
	(void)unused;
	struct world *w = w_new(1);
	w_power_up(w);
	struct agent_telemetry t;
	char out[AGENT_TELEMETRY_BYTES], want[512];
	volatile double zero = 0;
	static const int16_t keys[] = {57, -3, 75};
	static const uint32_t counts[] = {3, 0, 2}, classes[] = {10, 3, 37};
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), "kws", "1.4.2");
	agent_telemetry_number(&t, "battery", 0.83);
	agent_telemetry_ratio(&t, "accuracy", 50, 46);
	agent_telemetry_mean(&t, "energy_mj", 50, 81.5);
	agent_telemetry_sketch(&t, "latency_ms", keys, counts, 3);
	agent_telemetry_histogram(&t, "classes", classes, 3);
	assert_true(agent_telemetry_send(&t));
	snprintf(want, sizeof(want),
	         "{\"ts\":1700000000000,\"boot\":\"%s\",\"seq\":1,\"model\":\"kws\",\"version\":\"1.4.2\",\"metrics\":{\"battery\":0.83,"
	         "\"accuracy\":{\"n\":50,\"k\":46},\"energy_mj\":{\"n\":50,\"sum\":81.5},\"latency_ms\":{\"sketch\":{\"57\":3,\"75\":2}},"
	         "\"classes\":{\"hist\":[10,3,37]}}}", agent_boot_id(&w->agent));
	assert_string_equal(out, want);
	assert_int_equal(t.len, strlen(want));

	/* what the protocol forbids is left out, and said */
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), NULL, NULL);
	agent_telemetry_number(&t, "temperature_c", 20);
	agent_telemetry_number(&t, "9lives", 1);
	agent_telemetry_number(&t, "huge", 1e13);
	agent_telemetry_number(&t, "nan", 0.0 / zero);
	agent_telemetry_ratio(&t, "accuracy", 3, 4);
	agent_telemetry_mean(&t, "confidence", 0, 1);
	agent_telemetry_sketch(&t, "latency_ms", (const int16_t[]){1025}, (const uint32_t[]){1}, 1);
	assert_false(agent_telemetry_send(&t));
	assert_non_null(strstr(out, "\"seq\":2,\"metrics\":{\"temperature_c\":20}}"));

	/* what a model says that is no number is counted */
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), NULL, NULL);
	agent_telemetry_mean(&t, "confidence", 50, 0.0 / zero);
	agent_telemetry_number(&t, "accuracy", 0.5);
	assert_true(agent_telemetry_send(&t));
	assert_non_null(strstr(out, "\"metrics\":{\"accuracy\":0.5,\"nan_outputs\":{\"n\":51,\"k\":50}}}"));
	w->agent.telemetry_seq--;

	agent_on_mqtt_disconnected(&w->agent);
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), NULL, NULL);
	agent_telemetry_number(&t, "battery", 1);
	assert_false(agent_telemetry_send(&t));
	assert_non_null(strstr(out, "\"seq\":3,"));
	agent_telemetry_begin(&t, &w->agent, out, 80, NULL, NULL); /* a buffer that is too small */
	for (int i = 0; i < 5; i++)
		agent_telemetry_number(&t, "battery", 1);
	assert_true(t.failed);
	assert_true(strlen(out) < 80);
	w_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_agrees_with_the_server),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_read_back),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_copy_cuts_between_characters),
		cmocka_unit_test(test_binding),
		cmocka_unit_test(test_binding_refuses),
		cmocka_unit_test(test_topics),
		cmocka_unit_test(test_telemetry),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
