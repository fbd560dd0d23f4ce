/* hawkBit's names, versions and filters in ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/hawkbit.h"
#include "core/semver.h"

static void names_are_ours_and_tell_what_they_were(void **state)
{
	static const char *const rows[][2] = {
		{"plain-1.0", "plain-1.0"}, {"Test Module 1", "Test-Module-1"}, {"distribution 1.0 (123.45)", "distribution-1.0-123.45"},
		{"__x__", "x__"}, {"...", "x"}, {"", "x"}, {"übung", "bung"}, {"a  b", "a-b"}, {"-", "x"},
	};
	char name[NAME_BYTES];
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		hawkbit_name(rows[i][0], 1, name);
		assert_string_equal(name, rows[i][1]);
		assert_true(str_is_name(name));
	}
	hawkbit_name("same", 12, name);
	assert_string_equal(name, "same-12");
	char longest[300];
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	for (unsigned number = 0; number < 2000; number += 999) {
		hawkbit_name(longest, number, name);
		assert_true(str_is_name(name) && strlen(name) == NAME_BYTES - 1);
	}
}

static void versions_are_semantic(void **state)
{
	static const char *const rows[][2] = {
		{"1.2.3", "1.2.3"}, {"1.2.3-rc.1+b", "1.2.3-rc.1+b"}, {"1.0", "1.0.0"}, {"7", "7.0.0"}, {"01.2", "0.0.0-v01-2"}, {"1.2.3.4", "0.0.0-v1-2-3-4"},
		{"latest", "0.0.0-latest"}, {"2024-01-31 build", "0.0.0-v2024-01-31-build"}, {"", "0.0.0-x"}, {"1.", "0.0.0-v1"}, {"1234567890", "0.0.0-v1234567890"},
	};
	char version[NAME_BYTES];
	struct semver v;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		hawkbit_version(rows[i][0], 1, version);
		assert_string_equal(version, rows[i][1]);
		assert_true(semver_parse(version, strlen(version), &v));
	}
	hawkbit_version("1.0", 2, version);
	assert_string_equal(version, "0.0.0-v1-0.2");
	hawkbit_version("1.0.0", 30, version);
	assert_string_equal(version, "0.0.0-v1-0-0.30");
	char longest[300];
	memset(longest, 'z', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	hawkbit_version(longest, 1000, version);
	assert_true(semver_parse(version, strlen(version), &v) && strlen(version) < NAME_BYTES);
}

static const struct hawkbit_field fields[] = {{"controllerid", "id"}, {"name", "name"}, {"attribute.", "attribute."}, {"lastcontrollerrequestat", "lastSeen"}};

static bool rewrite(const char *text, char *out, size_t size, char *bad)
{
	return hawkbit_filter(fields, sizeof fields / sizeof *fields, text, "now-10m", out, size, bad);
}

static void filters_get_our_selectors(void **state)
{
	static const char *const rows[][2] = {
		{"controllerId==a*", "id==a*"}, {"CONTROLLERID=IN=(a,'b c')", "id=in=(a,'b c')"}, {"name==controllerId", "name==controllerId"},
		{"name=='name==x;controllerid==y' and controllerId!=z", "name=='name==x;controllerid==y' and id!=z"},
		{"(controllerId==a,controllerId==b);name!=c", "(id==a,id==b);name!=c"}, {"attribute.Site==x or name==\"a\\\"b\"", "attribute.Site==x or name==\"a\\\"b\""},
		{"lastControllerRequestAt=le=${NOW_TS}", "lastSeen=le=now"}, {"lastcontrollerrequestat<'${OVERDUE_TS}'", "lastSeen<now-10m"},
		{" ( name == a ) ", " ( name==a ) "}, {"name>=a;name<=b", "name>=a;name<=b"}, {"name=out=('a)',b)", "name=out=('a)',b)"}, {"", ""},
		{"name=", "name="}, {"name=='open", "name=='open"}, {"name=in=(a", "name=in=(a"}, {"name and name", "nameand name"},
	};
	char out[200], bad[HAWKBIT_SELECTOR_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!rewrite(rows[i][0], out, sizeof out, bad))
			fail_msg("%s: %s", rows[i][0], bad);
		assert_string_equal(out, rows[i][1]);
	}
}

static void what_is_in_no_row_is_named(void **state)
{
	char out[200], bad[HAWKBIT_SELECTOR_MAX];
	(void)state;
	assert_false(rewrite("name==a;assignedds.name==b", out, sizeof out, bad));
	assert_string_equal(bad, "assignedds.name");
	assert_false(rewrite("attribute.==a", out, sizeof out, bad)); /* a prefix alone is no field */
	assert_string_equal(bad, "attribute.");
	assert_false(rewrite("==a", out, sizeof out, bad));
	assert_string_equal(bad, "?");
	assert_false(rewrite("name==aaaaaaaa", out, 8, bad)); /* too long: no selector is to blame */
	assert_string_equal(bad, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_ours_and_tell_what_they_were),
		cmocka_unit_test(versions_are_semantic),
		cmocka_unit_test(filters_get_our_selectors),
		cmocka_unit_test(what_is_in_no_row_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
