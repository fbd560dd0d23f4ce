#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/telemetry.h"

static struct telemetry_message t;
static char big[TELEMETRY_MESSAGE_BYTES + 64];

static bool parse(const char *text)
{
	return telemetry_parse(&t, text, strlen(text));
}

#define HEAD "{\"boot\":\"b\",\"seq\":1,\"metrics\":"
#define METRIC(value) HEAD "{\"m\":" value "}}"
#define SHADOW(value) HEAD "{\"m\":1},\"shadow\":" value "}"

static void the_protocols_example(void **state)
{
	static const char text[] =
		"{\"ts\":1700000000000,\"boot\":\"b3f0a1c2\",\"seq\":1042,\"model\":\"kws\",\"version\":\"1.4.2\","
		"\"metrics\":{\"battery\":0.83,\"accuracy\":{\"n\":50,\"k\":46},\"energy_mj\":{\"n\":50,\"sum\":81.5},"
		"\"latency_ms\":{\"sketch\":{\"57\":3,\"58\":30,\"-75\":2}},\"classes\":{\"hist\":[10,3,37,0]}}}";
	(void)state;
	assert_true(parse(text));
	assert_int_equal(t.seen, 1);
	assert_int_equal(t.report_count, 1);
	const struct telemetry_report *r = &t.reports[0];
	assert_true(r->has_ts);
	assert_int_equal(r->ts_ms, 1700000000000);
	assert_int_equal(r->seq, 1042);
	assert_true(slice_equals(r->boot, "b3f0a1c2"));
	assert_true(slice_equals(r->model, "kws"));
	assert_true(slice_equals(r->version, "1.4.2"));
	assert_true(slice_equals(r->text, text));
	assert_int_equal(r->metric_count, 5);
	const struct metric_value *m = r->metrics;
	assert_true(slice_equals(m[0].name, "battery"));
	assert_int_equal(m[0].type, VALUE_NUMBER);
	assert_true(m[0].value == 0.83 && m[0].n == 1);
	assert_int_equal(m[1].type, VALUE_RATIO);
	assert_true(m[1].n == 50 && m[1].k == 46 && m[1].value == 46);
	assert_int_equal(m[2].type, VALUE_SUM);
	assert_true(m[2].n == 50 && m[2].value == 81.5);
	assert_int_equal(m[3].type, VALUE_SKETCH);
	assert_int_equal(m[3].bin_count, 3);
	assert_int_equal(m[3].n, 35);
	assert_int_equal(m[3].keys[2], -75);
	assert_int_equal(m[3].counts[1], 30);
	assert_int_equal(m[4].type, VALUE_HIST);
	assert_int_equal(m[4].bin_count, 4);
	assert_int_equal(m[4].n, 50);
	assert_int_equal(m[4].counts[2], 37);
}

/* One report each, and what it is refused for; `member` is the name shown, NULL = not looked at. */
static void refusals(void **state)
{
	static const struct {
		const char *text;
		enum telemetry_error reason;
		const char *member;
	} table[] = {
		{"[7]", TELEMETRY_REPORT_NOT_OBJECT, ""},
		{"[[]]", TELEMETRY_REPORT_NOT_OBJECT, ""},
		{"{}", TELEMETRY_MISSING_MEMBER, "boot"},
		{"{\"boot\":\"b\",\"metrics\":{}}", TELEMETRY_MISSING_MEMBER, "seq"},
		{"{\"boot\":\"b\",\"seq\":1}", TELEMETRY_MISSING_MEMBER, "metrics"},
		{"{\"boot\":\"b\",\"boot\":\"b\"}", TELEMETRY_DUPLICATE_MEMBER, "boot"},
		{"{\"extra\":{\"deep\":[1,2,{}]}}", TELEMETRY_UNKNOWN_MEMBER, "extra"},
		{"{\"b\\u006fot\":\"b\"}", TELEMETRY_UNKNOWN_MEMBER, "b\\u006fot"},
		{"{\"ts\":1.5}", TELEMETRY_BAD_TS, "ts"},
		{"{\"ts\":\"now\"}", TELEMETRY_BAD_TS, "ts"},
		{"{\"ts\":99999999999999999999}", TELEMETRY_BAD_TS, "ts"},
		{"{\"boot\":7}", TELEMETRY_BAD_BOOT, "boot"},
		{"{\"boot\":\"\"}", TELEMETRY_BAD_BOOT, "boot"},
		{"{\"boot\":\"a/b\"}", TELEMETRY_BAD_BOOT, "boot"},
		{"{\"boot\":{\"x\":1}}", TELEMETRY_BAD_BOOT, "boot"},
		{"{\"seq\":0}", TELEMETRY_BAD_SEQ, "seq"},
		{"{\"seq\":-1}", TELEMETRY_BAD_SEQ, "seq"},
		{"{\"seq\":1e3}", TELEMETRY_BAD_SEQ, "seq"},
		{"{\"seq\":9007199254740993}", TELEMETRY_BAD_SEQ, "seq"},
		{"{\"model\":\"a b\"}", TELEMETRY_BAD_MODEL, "model"},
		{"{\"version\":\"\"}", TELEMETRY_BAD_VERSION, "version"},
		{"{\"model\":\"m\",\"boot\":\"b\",\"seq\":1,\"metrics\":{}}", TELEMETRY_MODEL_WITHOUT_VERSION, NULL},
		{"{\"version\":\"1\",\"boot\":\"b\",\"seq\":1,\"metrics\":{}}", TELEMETRY_MODEL_WITHOUT_VERSION, NULL},
		{HEAD "[]}", TELEMETRY_METRICS_NOT_OBJECT, "metrics"},
		{HEAD "{\"9\":1}}", TELEMETRY_BAD_METRIC_NAME, "9"},
		{HEAD "{\"a\":1,\"b\":2,\"a\":3}}", TELEMETRY_DUPLICATE_METRIC, "a"},
		{METRIC("\"x\""), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("null"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("[1]"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"n\":1}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"k\":1}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"n\":1,\"k\":1,\"sum\":1}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"n\":1,\"hist\":[1]}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"p95\":1}"), TELEMETRY_BAD_METRIC_FORM, "m"},
		{METRIC("{\"n\":1,\"n\":1}"), TELEMETRY_DUPLICATE_MEMBER, "m"},
		{METRIC("1e400"), TELEMETRY_BAD_NUMBER, "m"},
		{METRIC("1.0000001e12"), TELEMETRY_BAD_NUMBER, "m"},
		{METRIC("-1.0000001e12"), TELEMETRY_BAD_NUMBER, "m"},
		{METRIC("{\"n\":0,\"sum\":0}"), TELEMETRY_BAD_COUNT, "m"},
		{METRIC("{\"n\":-1,\"sum\":0}"), TELEMETRY_BAD_COUNT, "m"},
		{METRIC("{\"n\":2147483648,\"sum\":0}"), TELEMETRY_BAD_COUNT, "m"},
		{METRIC("{\"n\":1.0,\"sum\":0}"), TELEMETRY_BAD_COUNT, "m"},
		{METRIC("{\"n\":1,\"sum\":\"1\"}"), TELEMETRY_BAD_SUM, "m"},
		{METRIC("{\"n\":1,\"sum\":2e12}"), TELEMETRY_BAD_SUM, "m"},
		{METRIC("{\"n\":1,\"k\":-1}"), TELEMETRY_BAD_K, "m"},
		{METRIC("{\"n\":5,\"k\":6}"), TELEMETRY_K_ABOVE_N, "m"},
		{METRIC("{\"k\":6,\"n\":5}"), TELEMETRY_K_ABOVE_N, "m"},
		{METRIC("{\"sketch\":{}}"), TELEMETRY_BAD_SKETCH, "m"},
		{METRIC("{\"sketch\":[1]}"), TELEMETRY_BAD_SKETCH, "m"},
		{METRIC("{\"sketch\":{\"1025\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"-1025\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"01\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"-0\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"-\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"+1\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"inf\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"10000\":1}}"), TELEMETRY_BAD_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"1\":1,\"1\":1}}"), TELEMETRY_DUPLICATE_SKETCH_KEY, "m"},
		{METRIC("{\"sketch\":{\"1\":0}}"), TELEMETRY_BAD_SKETCH_COUNT, "m"},
		{METRIC("{\"sketch\":{\"1\":-1}}"), TELEMETRY_BAD_SKETCH_COUNT, "m"},
		{METRIC("{\"sketch\":{\"1\":2147483648}}"), TELEMETRY_BAD_SKETCH_COUNT, "m"},
		{METRIC("{\"hist\":[]}"), TELEMETRY_BAD_HIST, "m"},
		{METRIC("{\"hist\":3}"), TELEMETRY_BAD_HIST, "m"},
		{METRIC("{\"hist\":[-1]}"), TELEMETRY_BAD_HIST_COUNT, "m"},
		{METRIC("{\"hist\":[1.5]}"), TELEMETRY_BAD_HIST_COUNT, "m"},
		{METRIC("{\"hist\":[\"1\"]}"), TELEMETRY_BAD_HIST_COUNT, "m"},
		{METRIC("{\"hist\":[2147483648]}"), TELEMETRY_BAD_HIST_COUNT, "m"},
		{HEAD "{\"shadow.a\":1}}", TELEMETRY_RESERVED_METRIC, "shadow.a"},
		{HEAD "{\"shadow.\":1}}", TELEMETRY_RESERVED_METRIC, "shadow."},
		{SHADOW("[]"), TELEMETRY_BAD_SHADOW, "shadow"},
		{SHADOW("{}"), TELEMETRY_BAD_SHADOW, "shadow"},
		{SHADOW("{\"id\":\"d-1\"}"), TELEMETRY_BAD_SHADOW, "id"},
		{SHADOW("{\"metrics\":{}}"), TELEMETRY_BAD_SHADOW, "metrics"},
		{SHADOW("{\"id\":7}"), TELEMETRY_BAD_SHADOW_ID, "id"},
		{SHADOW("{\"id\":\"\"}"), TELEMETRY_BAD_SHADOW_ID, "id"},
		{SHADOW("{\"id\":\"d-1\",\"id\":\"d-1\"}"), TELEMETRY_DUPLICATE_MEMBER, "id"},
		{SHADOW("{\"metrics\":{},\"metrics\":{}}"), TELEMETRY_DUPLICATE_MEMBER, "metrics"},
		{SHADOW("{\"id\":\"d-1\",\"extra\":{}}"), TELEMETRY_UNKNOWN_MEMBER, "extra"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":[]}"), TELEMETRY_METRICS_NOT_OBJECT, "metrics"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":{\"9\":1}}"), TELEMETRY_BAD_METRIC_NAME, "9"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":{\"a\":1,\"a\":1}}"), TELEMETRY_DUPLICATE_METRIC, "a"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":{\"shadow.a\":1}}"), TELEMETRY_RESERVED_METRIC, "shadow.a"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":{\"a\":\"1\"}}"), TELEMETRY_BAD_METRIC_FORM, "a"},
		{SHADOW("{\"id\":\"d-1\",\"metrics\":{\"a12345678901234567890123456789012345678901\":1}}"), TELEMETRY_BAD_METRIC_NAME, NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_false(parse(table[i].text));
		if (t.reject_count != 1 || t.rejects[0].reason != table[i].reason) print_error("%s\n", table[i].text);
		assert_int_equal(t.error, TELEMETRY_OK);
		assert_int_equal(t.report_count, 0);
		assert_int_equal(t.reject_count, 1);
		assert_string_equal(telemetry_error_label(t.rejects[0].reason), telemetry_error_label(table[i].reason));
		if (table[i].member) assert_true(slice_equals(t.rejects[0].member, table[i].member));
		assert_in_range(t.rejects[0].at, 0, strlen(table[i].text));
	}
}

static void what_a_shadow_measured(void **state)
{
	static const char longest[] = "a1234567890123456789012345678901234567890";
	static const char text[] =
		"[{\"boot\":\"b\",\"seq\":1,\"shadow\":{\"metrics\":{\"accuracy\":{\"n\":50,\"k\":44},"
		"\"a1234567890123456789012345678901234567890\":2},\"id\":\"d-185\"},"
		"\"metrics\":{\"accuracy\":{\"n\":50,\"k\":46},\"shadow\":3}},"
		"{\"boot\":\"b\",\"seq\":2,\"metrics\":{\"x\":1},\"shadow\":{\"id\":\"d-1\",\"metrics\":{\"x\":2}}}]";
	struct metric_value room[TELEMETRY_METRICS];
	(void)state;
	assert_true(parse(text));
	struct telemetry_report *r = &t.reports[0];
	assert_true(slice_equals(r->shadow, "d-185"));
	assert_int_equal(r->metric_count, 4);
	assert_true(slice_equals(r->metrics[0].name, "shadow.accuracy"));
	assert_int_equal(r->metrics[0].k, 44);
	assert_int_equal(r->metrics[1].name.len, NAME_METRIC_BYTES - 1);
	assert_memory_equal(r->metrics[1].name.data + 7, longest, sizeof longest - 1);
	assert_true(slice_equals(r->metrics[2].name, "accuracy"));
	assert_int_equal(r->metrics[2].k, 46);
	assert_true(slice_equals(r->metrics[3].name, "shadow")); /* the prefix has a dot */
	telemetry_drop_shadow(r, room);
	assert_int_equal(r->metric_count, 2);
	assert_int_equal(r->shadow.len, 0);
	assert_true(slice_equals(r->metrics[0].name, "accuracy") && slice_equals(r->metrics[1].name, "shadow"));
	assert_true(slice_equals(t.reports[1].metrics[0].name, "x") && slice_equals(t.reports[1].metrics[1].name, "shadow.x"));
	assert_true(t.reports[1].metrics[1].value == 2 && slice_equals(t.reports[1].shadow, "d-1"));
	assert_true(parse(METRIC("1")));
	assert_int_equal(t.reports[0].shadow.len, 0);
}

static void messages_that_are_none(void **state)
{
	static const struct {
		const char *text;
		enum telemetry_error error;
	} table[] = {
		{"", TELEMETRY_SYNTAX},
		{"7", TELEMETRY_NOT_A_REPORT},
		{"\"x\"", TELEMETRY_NOT_A_REPORT},
		{"null", TELEMETRY_NOT_A_REPORT},
		{"{", TELEMETRY_SYNTAX},
		{"[", TELEMETRY_SYNTAX},
		{"[{\"boot\":\"b\"", TELEMETRY_SYNTAX},
		{METRIC("NaN"), TELEMETRY_SYNTAX},
		{METRIC("Infinity"), TELEMETRY_SYNTAX},
		{METRIC("-"), TELEMETRY_SYNTAX},
		{METRIC("{\"hist\":[1"), TELEMETRY_SYNTAX},
		{METRIC("{\"sketch\":{\"1\""), TELEMETRY_SYNTAX},
		{METRIC("{\"n\":1,"), TELEMETRY_SYNTAX},
		{HEAD "{\"\xff\":1}}", TELEMETRY_SYNTAX},
		{"{\"extra\":[}", TELEMETRY_SYNTAX},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_false(parse(table[i].text));
		assert_string_equal(telemetry_error_label(t.error), telemetry_error_label(table[i].error));
		assert_int_equal(t.report_count, 0);
		assert_in_range(t.error_at, 0, strlen(table[i].text));
	}
	memset(big, ' ', sizeof big);
	assert_false(telemetry_parse(&t, big, TELEMETRY_MESSAGE_BYTES + 1));
	assert_int_equal(t.error, TELEMETRY_MESSAGE_TOO_LARGE);
}

static void good_ones_beside_bad_ones(void **state)
{
	(void)state;
	assert_false(parse("[" METRIC("1") "," METRIC("{\"hist\":[1,2,-3]}") ",5," METRIC("{\"hist\":[8,9]}") ",{\"x\":[{}]}]"));
	assert_int_equal(t.error, TELEMETRY_OK);
	assert_int_equal(t.seen, 5);
	assert_int_equal(t.report_count, 2);
	assert_int_equal(t.reject_count, 3);
	assert_int_equal(t.rejects[0].index, 1);
	assert_int_equal(t.rejects[1].index, 2);
	assert_int_equal(t.rejects[2].index, 4);
	assert_true(t.reports[0].metrics[0].value == 1);
	assert_int_equal(t.reports[1].metrics[0].counts[0], 8);
	assert_int_equal(t.count_used, 2); /* what the refused one took was given back */
	assert_false(t.reports[1].has_ts);
	assert_int_equal(t.reports[1].model.len, 0);
}

static void a_broken_end_keeps_what_came_before(void **state)
{
	(void)state;
	assert_false(parse("[" METRIC("1") "," METRIC("2") ",{\"boot\":\"b"));
	assert_int_equal(t.error, TELEMETRY_SYNTAX);
	assert_int_equal(t.report_count, 2);
	assert_false(parse(METRIC("1") "x"));
	assert_int_equal(t.error, TELEMETRY_SYNTAX);
	assert_int_equal(t.report_count, 1);
}

static void edges_that_are_good(void **state)
{
	(void)state;
	assert_true(parse("[]"));
	assert_int_equal(t.seen, 0);
	assert_true(parse(HEAD "{}}"));
	assert_int_equal(t.reports[0].metric_count, 0);
	assert_true(parse("{\"ts\":-5,\"metrics\":{},\"seq\":9007199254740992,\"boot\":\"b\"}"));
	assert_int_equal(t.reports[0].ts_ms, -5);
	assert_true(parse(METRIC("1e12")));
	assert_true(parse(METRIC("{\"sum\":-1e12,\"n\":2147483647}")));
	assert_true(parse(METRIC("{\"k\":0,\"n\":1}")));
	assert_true(parse(METRIC("{\"sketch\":{\"-1024\":2147483647,\"1024\":1,\"0\":1}}")));
	assert_int_equal(t.reports[0].metrics[0].n, 2147483649);
	assert_true(parse(METRIC("{\"hist\":[0]}")));
	assert_int_equal(t.reports[0].metrics[0].n, 0);
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* Writes the message in `big` from parts repeated; returns its length. */
static size_t repeat(const char *head, const char *format, int from, int count, const char *tail)
{
	size_t n = (size_t)sprintf(big, "%s", head);
	for (int i = 0; i < count; i++) {
		if (i > 0) big[n++] = ',';
		n += (size_t)snprintf(big + n, sizeof big - n, format, from + i);
		assert_true(n < sizeof big);
	}
	return n + (size_t)snprintf(big + n, sizeof big - n, "%s", tail);
}

static void limits(void **state)
{
	(void)state;
	assert_true(telemetry_parse(&t, big, repeat(HEAD "{", "\"m%d\":1", 0, 32, "}}")));
	assert_int_equal(t.reports[0].metric_count, 32);
	assert_false(telemetry_parse(&t, big, repeat(HEAD "{", "\"m%d\":1", 0, 33, "}}")));
	assert_int_equal(t.rejects[0].reason, TELEMETRY_TOO_MANY_METRICS);
	static const char one[] = HEAD "{\"m0\":1},\"shadow\":{\"id\":\"d-1\",\"metrics\":{";
	assert_true(telemetry_parse(&t, big, repeat(one, "\"m%d\":1", 0, 31, "}}}")));
	assert_int_equal(t.reports[0].metric_count, 32);
	assert_false(telemetry_parse(&t, big, repeat(one, "\"m%d\":1", 0, 32, "}}}")));
	assert_int_equal(t.rejects[0].reason, TELEMETRY_TOO_MANY_METRICS);
	assert_int_equal(t.name_used, 0); /* given back */

	assert_true(telemetry_parse(&t, big, repeat(HEAD "{\"m\":{\"sketch\":{", "\"%d\":1", -300, 334, "}}}}")));
	assert_int_equal(t.reports[0].metrics[0].bin_count, 334);
	assert_false(telemetry_parse(&t, big, repeat(HEAD "{\"m\":{\"sketch\":{", "\"%d\":1", -300, 335, "}}}}")));
	assert_int_equal(t.rejects[0].reason, TELEMETRY_BAD_SKETCH);

	assert_true(telemetry_parse(&t, big, repeat(HEAD "{\"m\":{\"hist\":[", "%d", 1000, 256, "]}}}")));
	assert_int_equal(t.reports[0].metrics[0].counts[255], 1255);
	assert_false(telemetry_parse(&t, big, repeat(HEAD "{\"m\":{\"hist\":[", "%d", 1000, 257, "]}}}")));
	assert_int_equal(t.rejects[0].reason, TELEMETRY_BAD_HIST);

	assert_true(telemetry_parse(&t, big, repeat("[", "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{}}", 1, 64, "]")));
	assert_int_equal(t.report_count, 64);
	assert_int_equal(t.reports[63].seq, 64);
	assert_false(telemetry_parse(&t, big, repeat("[", "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{}}", 1, 65, "]")));
	assert_int_equal(t.error, TELEMETRY_TOO_MANY_REPORTS);
	assert_int_equal(t.report_count, 64); /* those within the limit are good */
}

static void a_report_has_at_most_8_kib(void **state)
{
	static const char head[] = HEAD "{}", tail[] = "}";
	(void)state;
	for (int over = 0; over < 2; over++) {
		size_t len = TELEMETRY_REPORT_BYTES + (size_t)over;
		memset(big, ' ', sizeof big);
		memcpy(big, head, sizeof head - 1);
		big[len - 1] = tail[0];
		assert_int_equal(telemetry_parse(&t, big, len), !over);
		if (over) assert_int_equal(t.rejects[0].reason, TELEMETRY_REPORT_TOO_LARGE);
	}
}

/* The largest messages that the limits allow must not run out of the pools. */
static void pools_hold_the_densest_message(void **state)
{
	size_t n = 0;
	(void)state;
	big[n++] = '[';
	for (int r = 0; r < 8; r++) { /* each of 15 histograms of 256 one-digit counts: nearly 8 KiB */
		if (r > 0) big[n++] = ',';
		n += (size_t)sprintf(big + n, HEAD "{");
		for (int m = 0; m < 15; m++) {
			n += (size_t)sprintf(big + n, "%s\"m%d\":{\"hist\":[", m ? "," : "", m);
			for (int b = 0; b < 256; b++) {
				if (b > 0) big[n++] = ',';
				big[n++] = '1';
			}
			n += (size_t)sprintf(big + n, "]}");
		}
		n += (size_t)sprintf(big + n, "}}");
	}
	big[n++] = ']';
	assert_true(n < TELEMETRY_MESSAGE_BYTES);
	assert_true(telemetry_parse(&t, big, n));
	assert_int_equal(t.report_count, 8);
	assert_int_equal(t.count_used, 8 * 15 * 256);
}

static void every_cut_and_every_flip_is_survived(void **state)
{
	static const char text[] = "[" METRIC("{\"sketch\":{\"57\":3,\"-8\":1}}") "," METRIC("{\"hist\":[1,2]}") ","
	                           SHADOW("{\"id\":\"d-1\",\"metrics\":{\"m\":2}}") "]";
	char copy[sizeof text];
	(void)state;
	for (size_t n = 0; n < sizeof text - 1; n++) assert_false(telemetry_parse(&t, text, n));
	for (size_t i = 0; i < sizeof text - 1; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, text, sizeof text);
			copy[i] = (char)(copy[i] ^ (1 << bit));
			telemetry_parse(&t, copy, sizeof text - 1);
			assert_true(t.report_count + t.reject_count <= t.seen);
		}
	}
}

static void every_error_has_a_label_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < TELEMETRY_ERROR_COUNT; i++) {
		assert_true(strlen(telemetry_error_text((enum telemetry_error)i)) > 0);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(telemetry_error_label((enum telemetry_error)i), telemetry_error_label((enum telemetry_error)j));
	}
	assert_string_equal(value_type_text(VALUE_HIST), "hist");
	assert_string_equal(value_type_text(VALUE_NUMBER), "number");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_protocols_example),
		cmocka_unit_test(refusals),
		cmocka_unit_test(what_a_shadow_measured),
		cmocka_unit_test(messages_that_are_none),
		cmocka_unit_test(good_ones_beside_bad_ones),
		cmocka_unit_test(a_broken_end_keeps_what_came_before),
		cmocka_unit_test(edges_that_are_good),
		cmocka_unit_test(limits),
		cmocka_unit_test(a_report_has_at_most_8_kib),
		cmocka_unit_test(pools_hold_the_densest_message),
		cmocka_unit_test(every_cut_and_every_flip_is_survived),
		cmocka_unit_test(every_error_has_a_label_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
