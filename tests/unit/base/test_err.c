#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

static void rows_are_in_order(void **state)
{
	(void)state;
	assert_int_equal(err_http_status(ERR_OK), 200);
	assert_int_equal(err_http_status(ERR_INVALID), 422);
	assert_int_equal(err_http_status(ERR_FULL), 503);
	assert_string_equal(err_name(ERR_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(err_title(ERR_TIMEOUT), "deadline passed");
	for (int e = 0; e < ERR_COUNT; e++) assert_true(err_http_status((enum err)e) >= 200 && err_title((enum err)e)[0]);
}

static void fault_takes_all_and_cuts(void **state)
{
	(void)state;
	struct fault f;
	assert_int_equal(fault_set(&f, ERR_INVALID, "/name", "must have %d", 3), ERR_INVALID);
	assert_string_equal(f.pointer, "/name");
	assert_string_equal(f.detail, "must have 3");
	assert_int_equal(fault_set(NULL, ERR_GONE, "/x", "y"), ERR_GONE);
	fault_set(&f, ERR_INVALID, NULL, "%s", "");
	assert_string_equal(f.pointer, "");
	char many[600];
	memset(many, 'a', sizeof many);
	many[sizeof many - 1] = '\0';
	fault_set(&f, ERR_INVALID, many, "%s", many);
	assert_int_equal(strlen(f.pointer), sizeof f.pointer - 1);
	assert_int_equal(strlen(f.detail), sizeof f.detail - 1);
}

static void cut_never_splits_a_character(void **state)
{
	(void)state;
	struct fault f;
	char text[400];
	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'a', shift);
		text[shift] = '\0';
		while (strlen(text) < 300) strcat(text, "\xF0\x9F\x90\xA6");
		fault_set(&f, ERR_INVALID, text, "%s", text);
		assert_true(str_is_utf8(f.pointer, strlen(f.pointer)));
		assert_true(str_is_utf8(f.detail, strlen(f.detail)));
		assert_true(strlen(f.detail) > sizeof f.detail - 5);
	}
}

static void prefix_goes_before(void **state)
{
	(void)state;
	struct fault f;
	fault_set(&f, ERR_INVALID, "/percent", "x");
	fault_prefix(&f, "/1");
	fault_prefix(&f, "/stages");
	assert_string_equal(f.pointer, "/stages/1/percent");
	char many[400];
	memset(many, 'b', sizeof many);
	many[sizeof many - 1] = '\0';
	fault_prefix(&f, many);
	assert_int_equal(strlen(f.pointer), sizeof f.pointer - 1);
	assert_int_equal(f.pointer[0], 'b');
	fault_prefix(NULL, "/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_are_in_order), cmocka_unit_test(fault_takes_all_and_cuts),
	    cmocka_unit_test(cut_never_splits_a_character), cmocka_unit_test(prefix_goes_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
