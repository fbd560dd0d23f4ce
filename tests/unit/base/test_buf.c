#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void grows_and_terminates(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	assert_string_equal(buf_cstr(&b), "");
	for (int i = 0; i < 1000; i++) buf_printf(&b, "%d,", i);
	assert_int_equal(b.len, strlen(b.data));
	assert_memory_equal(b.data, "0,1,2,", 6);
	buf_clear(&b);
	assert_string_equal(buf_cstr(&b), "");
	buf_append(&b, "a\0b", 3);
	buf_char(&b, 'c');
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "a\0bc", 5);
	char *mine = buf_take(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	free(mine);
	mine = buf_take(&b);
	assert_string_equal(mine, "");
	free(mine);
	buf_done(&b);
}

static void printf_at_every_boundary(void **state)
{
	(void)state;
	for (size_t n = 0; n < 300; n++) {
		struct buf b = BUF_INIT;
		for (size_t i = 0; i < n; i++) buf_char(&b, 'x');
		buf_printf(&b, "%0*d", 150, 7);
		assert_int_equal(b.len, n + 150);
		assert_int_equal(b.data[b.len - 1], '7');
		assert_int_equal(b.data[b.len], 0);
		buf_done(&b);
	}
}

static void commas_by_itself(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "a", "x");
	json_str(&b, "n", NULL);
	json_key(&b, "o");
	json_open_object(&b);
	json_close_object(&b);
	json_key(&b, "l");
	json_open_array(&b);
	json_put_int(&b, INT64_MIN);
	json_put_bool(&b, true);
	json_put_bool(&b, false);
	json_put_null(&b);
	json_open_array(&b);
	json_close_array(&b);
	json_put_raw(&b, "{\"r\":1} \n");
	json_put_raw(&b, NULL);
	json_close_array(&b);
	json_int(&b, "i", INT64_MAX);
	json_bool(&b, "t", true);
	json_raw(&b, "w", "[1]");
	json_num(&b, "z", 0.1);
	json_close_object(&b);
	assert_string_equal(b.data,
	                    "{\"a\":\"x\",\"n\":null,\"o\":{},\"l\":[-9223372036854775808,true,false,"
	                    "null,[],{\"r\":1},null],"
	                            "\"i\":9223372036854775807,\"t\":true,\"w\":[1],\"z\":0.1}");
	buf_clear(&b);
	buf_str(&b, "data: ");
	json_open_object(&b);
	json_close_object(&b);
	buf_char(&b, '\n');
	json_put_int(&b, 1);
	assert_string_equal(b.data, "data: {}\n1");
	buf_done(&b);
}

static void strings_are_always_valid(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"", "\"\""},
	    {"a\"\\/\b\f\n\r\t\x01\x1f\x7f", "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\""},
	    {"gr\xC3\xBC\xC3\x9F", "\"gr\xC3\xBC\xC3\x9F\""},
	    {"\xF0\x9F\x90\xA6", "\"\xF0\x9F\x90\xA6\""},
	    {"a\xFFz", "\"a\xEF\xBF\xBDz\""},
	    {"\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
	    {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
	    {"x\xE2\x82", "\"x\xEF\xBF\xBD\xEF\xBF\xBD\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b = BUF_INIT;
		json_put_str(&b, cases[i].in);
		assert_string_equal(b.data, cases[i].out);
		buf_done(&b);
	}
	struct buf b = BUF_INIT;
	json_put_strn(&b, "a\0b", 3);
	assert_string_equal(b.data, "\"a\\u0000b\"");
	buf_done(&b);
}

static void numbers_read_back_equal(void **state)
{
	(void)state;
	static const struct {
		double in;
		const char *out;
	} cases[] = {{0, "0"},       {-0.0, "-0"},   {1, "1"},           {-5, "-5"},     {0.1, "0.1"},
	             {1e15, "1e+15"}, 	             {1e300, "1e+300"}, {NAN, "null"}, {INFINITY, "null"}, {1.5, "1.5"},
	             {9007199254740993.0, "9007199254740992"},
	             {5e-324, "4.94065645841247e-324"}};
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_clear(&b);
		json_put_num(&b, cases[i].in);
		assert_string_equal(b.data, cases[i].out);
	}
	uint64_t x = 88172645463325252u;
	for (int i = 0; i < 20000; i++) {
		double v;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(&v, &x, sizeof v);
		if (!isfinite(v)) continue;
		buf_clear(&b);
		json_put_num(&b, v);
		double back = strtod(b.data, NULL);
		assert_memory_equal(&back, &v, sizeof v);
	}
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(grows_and_terminates), cmocka_unit_test(printf_at_every_boundary),
	    cmocka_unit_test(commas_by_itself), cmocka_unit_test(strings_are_always_valid),
	    cmocka_unit_test(numbers_read_back_equal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
