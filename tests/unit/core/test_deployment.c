#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/deployment.h"

static void texts_read_back(void **state)
{
	enum deployment_status s;
	(void)state;
	for (int i = 0; i < DEPLOYMENT_STATUS_COUNT; i++) {
		assert_true(deployment_status_parse(deployment_status_text((enum deployment_status)i), &s));
		assert_int_equal(s, i);
	}
	assert_false(deployment_status_parse("done", &s));
	assert_false(deployment_status_parse("", &s));
}

/* The table as one may read it: a row a status, a column a status, in the order of the header. */
static void every_move(void **state)
{
	static const char *const want[DEPLOYMENT_STATUS_COUNT] = {
		/*                       w o d i t S F T C r R f n */
		[DEPLOYMENT_WAITING] = "..x.............x.........",
		[DEPLOYMENT_OFFERED] = "x...x.x.x.x.x.x.x.x.....x.",
		[DEPLOYMENT_DOWNLOADING] = "x.....x.x.x.x.x.x.x.....x.",
		[DEPLOYMENT_INSTALLING] = "x...x...x.x.x.x.x.x.....x.",
		[DEPLOYMENT_TRIAL] = "x.........x.x.x.x.x.....x.",
		[DEPLOYMENT_SUCCEEDED] = "............x.....x.....x.",
		[DEPLOYMENT_FAILED] = "x.........................",
		[DEPLOYMENT_TIMED_OUT] = "x.........x.x...x.x.....x.",
		[DEPLOYMENT_CANCELLED] = "..........x.......x.....x.",
		[DEPLOYMENT_REVERTING] = "....................x.x.x.",
		[DEPLOYMENT_REVERTED] = "..........................",
		[DEPLOYMENT_REVERT_FAILED] = "..................x.x.....",
		[DEPLOYMENT_NOT_REVERTIBLE] = "..........................",
	};
	(void)state;
	for (int from = 0; from < DEPLOYMENT_STATUS_COUNT; from++) {
		for (int to = 0; to < DEPLOYMENT_STATUS_COUNT; to++) {
			bool may = want[from][2 * to] == 'x';
			enum deployment_status s = (enum deployment_status)from;
			if (may != deployment_can_move(s, (enum deployment_status)to))
				print_error("%s to %s\n", deployment_status_text(s), deployment_status_text((enum deployment_status)to));
			assert_int_equal(deployment_can_move(s, (enum deployment_status)to), may);
			if (!may) continue;
			deployment_move(&s, (enum deployment_status)to);
			assert_int_equal(s, to);
		}
	}
}

static void classes(void **state)
{
	(void)state;
	assert_int_equal(deployment_status_class(DEPLOYMENT_WAITING), DEPLOYMENT_NOT_BEGUN);
	assert_int_equal(deployment_status_class(DEPLOYMENT_OFFERED), DEPLOYMENT_ACTIVE);
	assert_int_equal(deployment_status_class(DEPLOYMENT_REVERTING), DEPLOYMENT_ACTIVE);
	assert_int_equal(deployment_status_class(DEPLOYMENT_TIMED_OUT), DEPLOYMENT_DONE);
}

/* What a device says, in each status; -1: changes nothing. */
static void what_devices_say(void **state)
{
	static const struct {
		enum deployment_status from;
		enum report_state said;
		int to;
	} table[] = {
		{DEPLOYMENT_OFFERED, REPORT_ACCEPTED, -1},
		{DEPLOYMENT_OFFERED, REPORT_DOWNLOADING, DEPLOYMENT_DOWNLOADING},
		{DEPLOYMENT_OFFERED, REPORT_SUCCEEDED, DEPLOYMENT_SUCCEEDED}, /* reports in between were lost */
		{DEPLOYMENT_OFFERED, REPORT_REJECTED, DEPLOYMENT_FAILED},
		{DEPLOYMENT_DOWNLOADING, REPORT_DOWNLOADING, -1}, /* progress only */
		{DEPLOYMENT_DOWNLOADING, REPORT_ACCEPTED, -1},
		{DEPLOYMENT_DOWNLOADING, REPORT_INSTALLING, DEPLOYMENT_INSTALLING},
		{DEPLOYMENT_INSTALLING, REPORT_DOWNLOADING, DEPLOYMENT_DOWNLOADING}, /* a power cut */
		{DEPLOYMENT_INSTALLING, REPORT_TRIAL, DEPLOYMENT_TRIAL},
		{DEPLOYMENT_TRIAL, REPORT_SUCCEEDED, DEPLOYMENT_SUCCEEDED},
		{DEPLOYMENT_TRIAL, REPORT_FAILED, DEPLOYMENT_FAILED},
		{DEPLOYMENT_TRIAL, REPORT_CANCELLED, DEPLOYMENT_CANCELLED},
		{DEPLOYMENT_SUCCEEDED, REPORT_SUCCEEDED, -1},
		{DEPLOYMENT_SUCCEEDED, REPORT_FAILED, -1},
		{DEPLOYMENT_SUCCEEDED, REPORT_TRIAL, -1}, /* an old report, late */
		{DEPLOYMENT_TIMED_OUT, REPORT_SUCCEEDED, DEPLOYMENT_SUCCEEDED},
		{DEPLOYMENT_TIMED_OUT, REPORT_FAILED, DEPLOYMENT_FAILED},
		{DEPLOYMENT_TIMED_OUT, REPORT_DOWNLOADING, -1},
		{DEPLOYMENT_CANCELLED, REPORT_SUCCEEDED, DEPLOYMENT_SUCCEEDED}, /* its trial was under way */
		{DEPLOYMENT_CANCELLED, REPORT_CANCELLED, -1},
		{DEPLOYMENT_FAILED, REPORT_SUCCEEDED, -1},
		{DEPLOYMENT_WAITING, REPORT_SUCCEEDED, -1},
		{DEPLOYMENT_WAITING, REPORT_ACCEPTED, -1},
		{DEPLOYMENT_WAITING, REPORT_CANCELLED, -1},
		{DEPLOYMENT_REVERTING, REPORT_DOWNLOADING, -1},
		{DEPLOYMENT_REVERTING, REPORT_SUCCEEDED, DEPLOYMENT_REVERTED},
		{DEPLOYMENT_REVERTING, REPORT_FAILED, DEPLOYMENT_REVERT_FAILED},
		{DEPLOYMENT_REVERTING, REPORT_REJECTED, DEPLOYMENT_REVERT_FAILED},
		{DEPLOYMENT_REVERTING, REPORT_CANCELLED, -1},
		{DEPLOYMENT_REVERT_FAILED, REPORT_SUCCEEDED, DEPLOYMENT_REVERTED},
		{DEPLOYMENT_REVERT_FAILED, REPORT_FAILED, -1},
		{DEPLOYMENT_REVERTED, REPORT_SUCCEEDED, -1},
		{DEPLOYMENT_NOT_REVERTIBLE, REPORT_SUCCEEDED, -1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		enum deployment_status to = DEPLOYMENT_WAITING;
		bool moves = deployment_on_report(table[i].from, table[i].said, &to);
		if (moves != (table[i].to >= 0)) print_error("row %zu\n", i);
		assert_int_equal(moves, table[i].to >= 0);
		if (moves) assert_int_equal(to, table[i].to);
	}
}

/* What was confirmed stays so, but for a shadow, which may crash after it succeeded. */
static void a_shadow_may_fail_later(void **state)
{
	enum deployment_status to;
	enum deployment_kind kind;
	(void)state;
	for (int said = 0; said < REPORT_STATE_COUNT; said++) {
		bool ends = said == REPORT_FAILED || said == REPORT_REJECTED;
		assert_false(deployment_on_report(DEPLOYMENT_SUCCEEDED, (enum report_state)said, &to));
		assert_int_equal(deployment_on_shadow_report(DEPLOYMENT_SUCCEEDED, (enum report_state)said, &to), ends);
		if (ends) assert_int_equal(to, DEPLOYMENT_FAILED);
	}
	assert_true(deployment_on_shadow_report(DEPLOYMENT_INSTALLING, REPORT_SUCCEEDED, &to));
	assert_int_equal(to, DEPLOYMENT_SUCCEEDED);
	for (int k = 0; k < DEPLOYMENT_KIND_COUNT; k++) {
		assert_true(deployment_kind_parse(deployment_kind_text((enum deployment_kind)k), &kind));
		assert_int_equal(kind, k);
	}
	assert_false(deployment_kind_parse("live", &kind));
}

/* Whatever a revert says, the table allows. */
static void reverts(void **state)
{
	(void)state;
	for (int from = 0; from < DEPLOYMENT_STATUS_COUNT; from++) {
		for (int has_previous = 0; has_previous < 2; has_previous++) {
			enum deployment_status to;
			if (!deployment_on_revert((enum deployment_status)from, has_previous, &to)) continue;
			assert_true(deployment_can_move((enum deployment_status)from, to));
			if (from == DEPLOYMENT_WAITING) assert_int_equal(to, DEPLOYMENT_CANCELLED);
			else assert_int_equal(to, has_previous ? DEPLOYMENT_REVERTING : DEPLOYMENT_NOT_REVERTIBLE);
		}
	}
	enum deployment_status to;
	assert_true(deployment_on_revert(DEPLOYMENT_SUCCEEDED, true, &to));
	assert_true(deployment_on_revert(DEPLOYMENT_TIMED_OUT, true, &to)); /* what it runs is not known */
	assert_true(deployment_on_revert(DEPLOYMENT_OFFERED, true, &to));
	assert_false(deployment_on_revert(DEPLOYMENT_FAILED, true, &to)); /* runs the old one */
	assert_false(deployment_on_revert(DEPLOYMENT_CANCELLED, true, &to));
	assert_false(deployment_on_revert(DEPLOYMENT_REVERTING, true, &to));
	assert_false(deployment_on_revert(DEPLOYMENT_REVERT_FAILED, true, &to));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_read_back), cmocka_unit_test(every_move), cmocka_unit_test(a_shadow_may_fail_later), cmocka_unit_test(classes),
		cmocka_unit_test(what_devices_say), cmocka_unit_test(reverts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
