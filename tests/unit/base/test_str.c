#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"

static char *repeat(char c, size_t n)
{
	static char text[200];
	memset(text, c, n);
	text[n] = '\0';
	return text;
}

static void names(void **state)
{
	(void)state;
	assert_true(str_is_device_id("dev-1.a:b_C"));
	assert_true(str_is_device_id(repeat('a', 64)));
	assert_false(str_is_device_id(repeat('a', 65)));
	assert_false(str_is_device_id(""));
	assert_false(str_is_device_id("-a"));
	assert_false(str_is_device_id("_a"));
	assert_false(str_is_device_id("a/b"));
	assert_false(str_is_device_id("a+"));
	assert_false(str_is_device_id("a\xC3\xA9"));
	assert_true(str_is_name("kws-1.4.2_x"));
	assert_false(str_is_name("a:b"));
	assert_false(str_is_name(".."));
	assert_false(str_is_name("."));
	assert_false(str_is_name("a b"));
	assert_true(str_is_boot("..-_"));
	assert_true(str_is_boot(repeat('0', 32)));
	assert_false(str_is_boot(repeat('0', 33)));
	assert_false(str_is_boot(""));
	assert_false(str_is_boot("a:b"));
}

static void metrics_and_hex(void **state)
{
	(void)state;
	assert_true(str_is_metric("_a.b9", 5));
	assert_true(str_is_metric("latency_msXX", 10)); /* a slice */
	assert_false(str_is_metric("9a", 2));
	assert_false(str_is_metric(".a", 2));
	assert_false(str_is_metric("a-b", 3));
	assert_false(str_is_metric("", 0));
	assert_true(str_is_metric(repeat('m', 48), 48));
	assert_false(str_is_metric(repeat('m', 49), 49));
	assert_true(str_is_hex("00ff", 4));
	assert_false(str_is_hex("00fF", 4));
	assert_false(str_is_hex("00f", 4));
	assert_false(str_is_hex("00ff0", 4));
	assert_true(str_is_hex("", 0));
}

static void utf8(void **state)
{
	(void)state;
	assert_true(str_is_utf8("", 0));
	assert_true(str_is_utf8("a\xC3\xA9\xF0\x9F\x90\xA6", 7));
	assert_false(str_is_utf8("a\0b", 3));
	assert_false(str_is_utf8("a\xC3", 2));
}

static void copies_and_prefixes(void **state)
{
	(void)state;
	char out[4] = "zzz";
	assert_true(str_copy(out, sizeof out, "abc"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, sizeof out, "abcd"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, 0, "x"));
	assert_true(str_copy(out, 1, ""));
	assert_true(str_starts("abc", "ab") && str_starts("abc", "") && !str_starts("ab", "abc"));
}

static void durations_and_sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		int64_t ms;
	} durations[] = {{"250ms", true, 250}, {"30s", true, 30000}, {"15m", true, 900000}, {"24h", true, 86400000},
	                 {"7d", true, 604800000}, {"0", true, 0}, {"0s", true, 0}, {"", false, 0}, {"s", false, 0},
	                 {"10", false, 0},
	                 {"-1s", false, 0}, {"1.5s", false, 0}, {"1 s", false, 0}, {" 1s", false, 0}, {"1s ", false, 0},
	                 {"1S", false, 0}, {"9223372036854775807ms", true, INT64_MAX}, {"9223372036854775808ms", false, 0},
	                 {"9223372036854775807s", false, 0}, {"1h30m", false, 0}};
	static const struct {
		const char *text;
		bool good;
		int64_t bytes;
	} sizes[] = {{"512", true, 512}, {"64KiB", true, 65536}, {"1GiB", true, 1073741824}, {"2MiB", true, 2097152},
	             {"1B", true, 1}, {"1KB", false, 0}, {"1kib", false, 0}, {"", false, 0}, {"8388608TiB", false, 0},
	             {"8388607TiB", true, 8388607LL << 40}};
	for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
		int64_t v = 0;
		assert_int_equal(str_parse_duration_ms(durations[i].text, &v), durations[i].good);
		assert_true(v == durations[i].ms);
	}
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		int64_t v = 0;
		assert_int_equal(str_parse_size(sizes[i].text, &v), sizes[i].good);
		assert_true(v == sizes[i].bytes);
	}
}

static void hash_is_stable_and_spreads(void **state)
{
	(void)state;
	assert_true(str_hash("dev-1", 5) == str_hash("dev-1xxx", 5));
	assert_true(str_hash("dev-1", 5) != str_hash("dev-2", 5));
	assert_true(str_hash("", 0) != str_hash("\0", 1));
	unsigned buckets[64] = {0}, worst = 0;
	for (unsigned i = 0; i < 64000; i++) buckets[str_hash((const char *)&i, sizeof i) % 64]++;
	for (int i = 0; i < 64; i++)
		if (buckets[i] > worst) worst = buckets[i];
	assert_true(worst < 1300); /* 1000 expected, standard deviation 31 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names), cmocka_unit_test(metrics_and_hex), cmocka_unit_test(utf8),
	    cmocka_unit_test(copies_and_prefixes), cmocka_unit_test(durations_and_sizes),
	    cmocka_unit_test(hash_is_stable_and_spreads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
