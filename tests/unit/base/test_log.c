#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"

/* What one call writes to stderr. */
static char written[8192];
static int saved, ends[2];

static void catch_begin(void)
{
	assert_int_equal(pipe(ends), 0);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
}

static void catch_end(void)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	ssize_t n = read(ends[0], written, sizeof written - 1);
	written[n > 0 ? n : 0] = '\0';
	close(ends[0]);
}

static void one_line(void **state)
{
	(void)state;
	catch_begin();
	log_event(LOG_WARN, "mqtt.lost", "reason=%s n=%d", log_quote("gone \"away\"\n"), 3);
	catch_end();
	assert_non_null(strstr(written, " level=warn event=mqtt.lost reason=\"gone \\\"away\\\"\\x0a\" n=3\n"));
	assert_memory_equal(written, "time=2", 6);
	catch_begin();
	log_event(LOG_INFO, "up", "%s", "");
	catch_end();
	assert_ptr_equal(strchr(written, '\n'), written + strlen(written) - 1);
}

static void no_line_can_be_forged_and_long_ones_are_cut(void **state)
{
	(void)state;
	char many[5000];
	memset(many, 'x', sizeof many);
	many[sizeof many - 1] = '\0';
	catch_begin();
	log_event(LOG_ERROR, "a", "v=%s", "1\nlevel=error event=b");
	catch_end();
	assert_ptr_equal(strchr(written, '\n'), written + strlen(written) - 1);
	catch_begin();
	log_event(LOG_ERROR, "a", "v=%s", many);
	catch_end();
	assert_int_equal(strlen(written), 2047);
	assert_int_equal(written[2046], '\n');
}

static void levels(void **state)
{
	(void)state;
	enum log_level level = LOG_ERROR;
	assert_true(log_parse_level("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_false(log_parse_level("Debug", &level));
	log_set_level(LOG_WARN);
	catch_begin();
	log_event(LOG_INFO, "quiet", "a=1");
	log_event(LOG_ERROR, "loud", "a=1");
	catch_end();
	assert_null(strstr(written, "quiet"));
	assert_non_null(strstr(written, "loud"));
	log_set_level(LOG_INFO);
}

static void quotes(void **state)
{
	(void)state;
	char many[1000];
	memset(many, '\x01', sizeof many);
	many[sizeof many - 1] = '\0';
	assert_int_equal(strlen(log_quote(many)), 2 + 200 * 4);
	assert_string_equal(log_quote(NULL), "\"\"");
	const char *first = log_quote("first");
	for (int i = 0; i < 7; i++) log_quote("other");
	assert_string_equal(first, "\"first\"");
	log_quote("eighth");
	assert_string_equal(first, "\"eighth\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_line), cmocka_unit_test(no_line_can_be_forged_and_long_ones_are_cut),
	    cmocka_unit_test(levels), cmocka_unit_test(quotes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
