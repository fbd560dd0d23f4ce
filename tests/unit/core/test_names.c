#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/names.h"

static struct slice of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

#define N32 "abcdefghijklmnopqrstuvwxyz012345"
#define N64 N32 N32

static void rules(void **state)
{
	(void)state;
	static const struct {
		bool (*rule)(struct slice);
		const char *good[6], *bad[8];
	} table[] = {
		{name_is_device_id, {"a", "A9._:-", N64}, {"", ".a", ":a", "-a", N64 "x", "a/b", "a b", "\xc3\xa9"}},
		{name_is_name, {"kws", "1", "a._-", N64}, {"", "..", "_a", "a:b", N64 "x", "a+b", "a\\b"}},
		{name_is_version, {"1.4.2", "1.0.0-rc.1+b.5", "v3"}, {"", "+1", "1 2", "1:2", N64 "x"}},
		{name_is_boot, {"b3f0a1c2", "-", "._-", N32}, {"", N32 "x", "a:b", "a b"}},
		{name_is_metric, {"a", "_a", "A.b_9", N32 "0123456789abcdef"}, {"", "9a", ".a", "a-b", N32 "0123456789abcdefg"}},
	};
	for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
		for (size_t i = 0; i < 6 && table[t].good[i]; i++) assert_true(table[t].rule(of(table[t].good[i])));
		for (size_t i = 0; i < 8 && table[t].bad[i]; i++) assert_false(table[t].rule(of(table[t].bad[i])));
		assert_false(table[t].rule((struct slice){NULL, 0}));
		assert_false(table[t].rule((struct slice){"a\0b", 3}));
	}
}

static void slices(void **state)
{
	char out[4];
	(void)state;
	assert_true(slice_equals(of("abc"), "abc"));
	assert_false(slice_equals(of("abc"), "abd"));
	assert_false(slice_equals(of("abc"), "ab"));
	assert_true(slice_equals((struct slice){NULL, 0}, ""));
	assert_true(slice_same(of("abc"), (struct slice){"abcd", 3}));
	assert_true(slice_same(of(""), (struct slice){NULL, 0}));
	assert_false(slice_same(of("abc"), of("abd")));
	assert_false(slice_same(of("abc"), of("abcd")));
	assert_true(slice_copy(of("abc"), out, sizeof out));
	assert_string_equal(out, "abc");
	assert_false(slice_copy(of("abcd"), out, sizeof out));
	assert_string_equal(out, "");
	assert_true(slice_copy((struct slice){NULL, 0}, out, sizeof out));
	assert_false(slice_copy(of(""), out, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rules), cmocka_unit_test(slices)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
