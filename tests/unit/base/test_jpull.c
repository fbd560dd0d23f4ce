#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/jpull.h"

/* Events as letters. The text is copied to the heap without NUL, so that the sanitizer sees a read past its end. */
static const char *events_of(const char *text, size_t len)
{
	static char out[4096];
	static const char letters[] = "!.{}[]ksn+-0";
	char *copy = malloc(len ? len : 1);
	struct jp p;
	size_t n = 0;
	memcpy(copy, text, len);
	jp_init(&p, copy, len);
	for (;;) {
		enum jp_event e = jp_next(&p);
		if (n < sizeof out - 1) out[n++] = letters[e];
		if (e == JP_ERROR) {
			assert_non_null(p.error);
			assert_true(p.at <= len);
		}
		if (e != JP_ERROR && e != JP_END) continue;
		assert_int_equal(jp_next(&p), e);
		break;
	}
	out[n] = '\0';
	free(copy);
	return out;
}

static void documents(void **state)
{
	(void)state;
	static const struct {
		const char *text, *events;
	} cases[] = {
	    {"1", "n."},
	    {" null ", "0."},
	    {"{}", "{}."},
	    {"[]", "[]."},
	    {"[[],[[]],{}]", "[[][[]]{}]."},
	    {"{\"a\":1,\"b\":[true,false,null,\"x\"],\"c\":{\"d\":-1.5e+3}}", "{knk[+-0s]k{kn}}."},
	    {" [ 1 , 2 ] \r\n\t", "[nn]."},
	    {"\"\\u00e9\\n\\\\\\/\\\"\"", "s."},
	    {"\"\\ud83d\\udc26\"", "s."},
	    {"", "!"},
	    {" ", "!"},
	    {"[1,]", "[n!"},
	    {"[,1]", "[!"},
	    {"[1 2]", "[n!"},
	    {"{\"a\"}", "{!"},
	    {"{\"a\":}", "{k!"},
	    {"{\"a\":1,}", "{kn!"},
	    {"{a:1}", "{!"},
	    {"{\"a\":1]", "{kn!"},
	    {"[1}", "[n!"},
	    {"{,}", "{!"},
	    {"1 2", "n!"},
	    {"{}x", "{}!"},
	    {"tru", "!"},
	    {"truex", "+!"},
	    {"nul", "!"},
	    {"01", "n!"},
	    {"-", "!"},
	    {"+1", "!"},
	    {".5", "!"},
	    {"1.", "!"},
	    {"1e", "!"},
	    {"1e+", "!"},
	    {"0x1", "n!"},
	    {"NaN", "!"},
	    {"Infinity", "!"},
	    {"\"abc", "!"},
	    {"\"a\nb\"", "!"},
	    {"\"\\x\"", "!"},
	    {"\"\\", "!"},
	    {"\"\\u12", "!"},
	    {"\"\\u12g4\"", "!"},
	    {"\"\\u0000\"", "!"},
	    {"\"\\ud800\"", "!"},
	    {"\"\\udc00\"", "!"},
	    {"\"\\ud800\\u0041\"", "!"},
	    {"\"\\ud800\\", "!"},
	    {"\"\xFF\"", "!"},
	    {"\"\xC0\x80\"", "!"},
	    {"\"\xED\xA0\x80\"", "!"},
	    {"\"\xF4\x90\x80\x80\"", "!"},
	    {"\"\xE2\x82", "!"},
	    {"\"\xE2\x82\"", "!"},
	    {"\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xA6\"", "s."},
	    {"\xEF\xBB\xBF{}", "!"},
	    {"'a'", "!"},
	    {"[", "[!"},
	    {"{", "{!"},
	    {"{\"a\"", "{!"},
	    {"{\"a\":", "{k!"},
	    {"[1", "[n!"},
	    {"// x\n1", "!"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(events_of(cases[i].text, strlen(cases[i].text)), cases[i].events);
	assert_string_equal(events_of("\"a\0b\"", 5), "!");
	assert_string_equal(events_of("1\0", 2), "n!");
}

static void every_prefix_and_every_flip_is_safe(void **state)
{
	(void)state;
	static const char text[] =
	    "{\"ts\":1700000000000,\"m\":{\"a\\u00e9\\ud83d\\udc26\":[-0.5e-3,true,null],\"\xF0\x9F\x90\xA6\":\"x\\n\"}}";
	for (size_t len = 0; len < sizeof text - 1; len++) assert_non_null(strchr(events_of(text, len), '!'));
	char flipped[sizeof text];
	for (size_t at = 0; at < sizeof text - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			memcpy(flipped, text, sizeof text);
			flipped[at] = (char)byte;
			events_of(flipped, sizeof text - 1);
		}
	}
}

static void depth_ends_where_it_says(void **state)
{
	(void)state;
	char text[2 * JP_MAX_DEPTH + 4];
	for (int depth = JP_MAX_DEPTH - 1; depth <= JP_MAX_DEPTH + 1; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		assert_int_equal(strchr(events_of(text, 2 * (size_t)depth), '!') != NULL, depth > JP_MAX_DEPTH);
	}
	/* Alternating kinds at every depth are told apart. */
	struct jp p;
	char nested[JP_MAX_DEPTH * 8] = "";
	for (int i = 0; i < JP_MAX_DEPTH; i++) strcat(nested, i % 3 ? "{\"k\":" : "[");
	strcat(nested, "1");
	for (int i = JP_MAX_DEPTH - 1; i >= 0; i--) strcat(nested, i % 3 ? "}" : "]");
	jp_init(&p, nested, strlen(nested));
	assert_true(jp_skip(&p, jp_next(&p)));
	assert_int_equal(jp_next(&p), JP_END);
}

static void skipping(void **state)
{
	(void)state;
	static const char text[] = "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":7,\"c\":[[]]}";
	struct jp p;
	int64_t v = 0;
	jp_init(&p, text, sizeof text - 1);
	assert_int_equal(jp_next(&p), JP_OBJECT);
	assert_int_equal(jp_next(&p), JP_KEY);
	assert_true(jp_is(&p, "a"));
	assert_false(jp_is(&p, "ab"));
	assert_false(jp_is(&p, ""));
	assert_true(jp_skip(&p, jp_next(&p)));
	assert_int_equal(jp_next(&p), JP_KEY);
	assert_true(jp_is(&p, "b"));
	assert_int_equal(jp_next(&p), JP_NUMBER);
	assert_true(jp_int(&p, &v));
	assert_int_equal(v, 7);
	assert_true(jp_skip(&p, jp_next(&p))); /* a key and its value */
	assert_int_equal(jp_next(&p), JP_OBJECT_END);
	assert_int_equal(jp_next(&p), JP_END);
	jp_init(&p, "[[1,x]]", 7);
	assert_false(jp_skip(&p, jp_next(&p)));
	jp_init(&p, "{\"a\\u0062\":1}", 12);
	jp_next(&p);
	jp_next(&p);
	assert_false(jp_is(&p, "ab"));
}

static bool number(const char *text, struct jp *p)
{
	jp_init(p, text, strlen(text));
	return jp_next(p) == JP_NUMBER && p->token_len == strlen(text);
}

static void integers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		int64_t value;
	} cases[] = {
	    {"0", true, 0},
	    {"-0", true, 0},
	    {"9223372036854775807", true, INT64_MAX},
	    {"9223372036854775808", false, 0},
	    {"-9223372036854775808", true, INT64_MIN},
	    {"-9223372036854775809", false, 0},
	    {"99999999999999999999999", false, 0},
	    {"18446744073709551616", false, 0},
	    {"9007199254740993", true, 9007199254740993},
	    {"1.0", false, 0},
	    {"1e3", false, 0},
	};
	struct jp p;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t v = 0;
		assert_true(number(cases[i].text, &p));
		assert_int_equal(jp_int(&p, &v), cases[i].good);
		assert_true(v == cases[i].value);
	}
}

/* Distance in representable values. */
static uint64_t ulps(double a, double b)
{
	int64_t x, y;
	memcpy(&x, &a, sizeof x);
	memcpy(&y, &b, sizeof y);
	return (x < 0) != (y < 0) ? UINT64_MAX : (uint64_t)(x > y ? x - y : y - x);
}

static uint64_t check_double(const char *text)
{
	struct jp p;
	double want = strtod(text, NULL), got = 0;
	assert_true(number(text, &p));
	assert_int_equal(jp_double(&p, &got), isfinite(want));
	if (!isfinite(want)) return 0;
	uint64_t off = ulps(got, want);
	if (off > 1) fail_msg("%s: %.17g, not %.17g", text, got, want);
	return off;
}

static void doubles_against_strtod(void **state)
{
	(void)state;
	static const char *const cases[] = {
	    "0", "-0", "-0.0", "0e999999999999", "1", "0.1", "1e22", "1e23", "9007199254740993",
	    "123456789012345678901234567890",
	    "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e309", "-1e400",
	    "1e99999999999999999999",
	    "2.2250738585072014e-308", "2.2250738585072011e-308", "4.9406564584124654e-324", "5e-324",
	    "2.4703282292062327e-324",
	    "2.4703282292062328e-324", "1e-400", "1e-99999999999999999999",
	    "0.000000000000000000000000000000000000000000000000001",
	    "8.442911973260991817129021e-309", "6.631236846766476e-316", "1e-22", "179769313486231580793728971405301e276",
	    "10000000000000000000000000000000000000000e-40", "0.30000000000000004", "9223372036854775807",
	    "18446744073709551615.5"};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_double(cases[i]);
	uint64_t x = 88172645463325252u, off = 0, checked = 0;
	for (int i = 0; i < 200000; i++) {
		char text[64];
		double v;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(&v, &x, sizeof v);
		if (!isfinite(v)) continue;
		snprintf(text, sizeof text, "%.*g", 1 + i % 20, v);
		off += check_double(text);
		checked++;
	}
	/* Half-way cases are the only ones that may be off, and they are rare. */
	assert_true(off * 100 < checked);
}

static void a_long_tail_of_digits(void **state)
{
	(void)state;
	char text[2100];
	memset(text, '0', sizeof text);
	memcpy(text, "1.5", 3);
	memcpy(text + 1990, "7e10", 5);
	check_double(text);
	memset(text, '9', 300);
	text[300] = '\0';
	check_double(text);
	memset(text, '9', 320);
	text[320] = '\0';
	check_double(text);
	text[0] = '0';
	text[1] = '.';
	memset(text + 2, '0', 320);
	strcpy(text + 322, "12345e2");
	check_double(text);
}

static void unescaping(void **state)
{
	(void)state;
	static const struct {
		const char *text, *out;
	} cases[] = {{"\"\"", ""},
	             {"\"abc\"", "abc"},
	             {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
	             {"\"\\u0041\\u00e9\\u20AC\\ud83d\\udc26z\"", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\xA6z"},
	             {"\"\\uFFFF\\u07ff\\u0800\"", "\xEF\xBF\xBF\xDF\xBF\xE0\xA0\x80"}};
	struct jp p;
	char out[64];
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int len = (int)strlen(cases[i].out);
		jp_init(&p, cases[i].text, strlen(cases[i].text));
		assert_int_equal(jp_next(&p), JP_STRING);
		assert_int_equal(jp_unescape(&p, out, sizeof out), len);
		assert_string_equal(out, cases[i].out);
		assert_int_equal(jp_unescape(&p, out, (size_t)len + 1), len);
		assert_int_equal(jp_unescape(&p, out, (size_t)len), -1);
		assert_int_equal(jp_unescape(&p, out, 0), -1);
	}
}

static void utf8(void **state)
{
	(void)state;
	assert_int_equal(jp_utf8_len("", 0), 0);
	assert_int_equal(jp_utf8_len("a", 1), 1);
	assert_int_equal(jp_utf8_len("\xC2\x80", 2), 2);
	assert_int_equal(jp_utf8_len("\xC1\xBF", 2), 0);
	assert_int_equal(jp_utf8_len("\xE0\x9F\xBF", 3), 0);
	assert_int_equal(jp_utf8_len("\xE0\xA0\x80", 3), 3);
	assert_int_equal(jp_utf8_len("\xED\x9F\xBF", 3), 3);
	assert_int_equal(jp_utf8_len("\xED\xA0\x80", 3), 0);
	assert_int_equal(jp_utf8_len("\xF0\x8F\xBF\xBF", 4), 0);
	assert_int_equal(jp_utf8_len("\xF0\x90\x80\x80", 4), 4);
	assert_int_equal(jp_utf8_len("\xF4\x8F\xBF\xBF", 4), 4);
	assert_int_equal(jp_utf8_len("\xF4\x90\x80\x80", 4), 0);
	assert_int_equal(jp_utf8_len("\xF5\x80\x80\x80", 4), 0);
	assert_int_equal(jp_utf8_len("\x80", 1), 0);
	assert_int_equal(jp_utf8_len("\xE2\x82\xAC", 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents), cmocka_unit_test(every_prefix_and_every_flip_is_safe),
	    cmocka_unit_test(depth_ends_where_it_says), cmocka_unit_test(skipping), cmocka_unit_test(integers),
	    cmocka_unit_test(doubles_against_strtod), cmocka_unit_test(a_long_tail_of_digits),
	    cmocka_unit_test(unescaping), cmocka_unit_test(utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
