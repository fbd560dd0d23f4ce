#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/semver.h"

/* Ascending; from semver.org sections 9 to 11 and more. */
static const char *const ascending[] = {
	"0.0.0", "0.0.1", "0.1.0", "1.0.0-0.3.7", "1.0.0--", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
	"1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "1.11.0", "2.0.0", "2.1.0", "2.1.1-1",
	"2.1.1-2", "2.1.1-10", "2.1.1-10.0", "2.1.1-1a", "2.1.1", "10.0.0", "99999999999999999999.0.0", "100000000000000000000.0.0",
};

static int compare(const char *a, const char *b)
{
	struct semver va, vb;
	assert_true(semver_parse(a, strlen(a), &va));
	assert_true(semver_parse(b, strlen(b), &vb));
	return semver_compare(&va, &vb);
}

static void precedence(void **state)
{
	const int n = sizeof ascending / sizeof ascending[0];
	(void)state;
	for (int i = 0; i < n; i++) {
		for (int j = 0; j < n; j++) {
			int want = (i > j) - (i < j);
			if (compare(ascending[i], ascending[j]) != want) print_error("%s %s\n", ascending[i], ascending[j]);
			assert_int_equal(compare(ascending[i], ascending[j]), want);
			assert_int_equal(semver_compare_texts(ascending[i], ascending[j]), want);
		}
	}
	assert_int_equal(compare("1.0.0+a", "1.0.0+b"), 0);
	assert_int_equal(compare("1.0.0-a+1", "1.0.0-a"), 0);
}

/* From the test texts of semver.org's regular expression. */
static void what_is_a_version(void **state)
{
	static const char *const good[] = {
		"0.0.4", "1.2.3", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta", "1.1.2+meta-valid", "1.0.0-alpha",
		"1.0.0-alpha.beta.1", "1.0.0-alpha.0valid", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay",
		"1.0.0-rc.1+build.123", "2.0.0+build.1848", "1.0.0+0.build.1-rc.10000aaa-kk-0.1", "1.0.0-0A.is.legal",
		"1.2.3----RC-SNAPSHOT.12.9.1--.12+788", "99999999999999999999999.999999999999999999.99999999999999999", "1.0.0+001",
	};
	static const char *const bad[] = {
		"", "1", "1.2", "1.2.3-0123", "1.2.3-0123.0123", "1.1.2+.123", "+invalid", "-invalid", "alpha", "1.2.3.DEV",
		"1.2-SNAPSHOT", "1.2.31.2.3", "1.2.3-", "1.2.3+", "1.2.3-+b", "01.1.1", "1.01.1", "1.1.01", "1.2.3-a..b", "1.2.3-a.",
		"1.2.3-.a", "v1.2.3", " 1.2.3", "1.2.3 ", "-1.0.3", "1.2.3-a_b", "1.2.3+a+b", "1.2.3-\xc3\xa9", "a.1.1", "1.a.1", "1.1.",
	};
	struct semver v;
	char lengthy[300];
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_true(semver_parse(good[i], strlen(good[i]), &v));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (semver_parse(bad[i], strlen(bad[i]), &v)) print_error("taken: %s\n", bad[i]);
		assert_false(semver_parse(bad[i], strlen(bad[i]), &v));
	}
	memset(lengthy, '1', sizeof lengthy);
	memcpy(lengthy, "1.1.", 4);
	assert_true(semver_parse(lengthy, SEMVER_BYTES, &v));
	assert_false(semver_parse(lengthy, SEMVER_BYTES + 1, &v));
	assert_false(semver_parse("1.2.3+a\0b", 9, &v));
}

static void parts(void **state)
{
	struct semver v;
	(void)state;
	assert_true(semver_parse("1.20.3-rc.1+b.7", 15, &v));
	assert_true(slice_equals(v.major, "1") && slice_equals(v.minor, "20") && slice_equals(v.patch, "3"));
	assert_true(slice_equals(v.pre, "rc.1") && slice_equals(v.build, "b.7"));
}

static void any_two_texts_have_an_order(void **state)
{
	(void)state;
	assert_int_equal(semver_compare_texts("v1", "0.0.0-0"), -1);
	assert_int_equal(semver_compare_texts("0.0.0-0", "v1"), 1);
	assert_int_equal(semver_compare_texts("v1", "v2"), -1);
	assert_int_equal(semver_compare_texts("v2", "v1"), 1);
	assert_int_equal(semver_compare_texts("v1", "v1"), 0);
	assert_int_equal(semver_compare_texts("1.0.0+a", "1.0.0+b"), -1); /* the same precedence, yet one order */
	assert_int_equal(semver_compare_texts("1.0.0", "1.0.0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(precedence),
		cmocka_unit_test(what_is_a_version),
		cmocka_unit_test(parts),
		cmocka_unit_test(any_two_texts_have_an_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
