/* Every statement of every store, prepared as the daemon prepares them: none scans a table of fleet.db unless its row says that it may. */
#include "selection_world.h"

#include "service/offloading.h"

struct seen {
	size_t statements, scans, bad;
	const struct statement *last;
};

static bool scans_a_table(const char *line)
{
	return strncmp(line, "SCAN ", 5) == 0 && strncmp(line, "SCAN (", 6) != 0 && strstr(line, "CONSTANT ROW") == NULL;
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	struct seen *seen = ctx;
	seen->statements += statement != seen->last;
	seen->last = statement;
	if (!scans_a_table(line))
		return;
	seen->scans++;
	if (statement->scans)
		return;
	print_message("%s\n    %s\n", statement->sql, line);
	seen->bad++;
}

static void test_no_statement_of_the_daemon_scans(void **state)
{
	struct rig *r = *state;
	struct seen seen = {0};
	rig_must(r, offloading_open(&r->f.w.s, &r->f.w.s.offloading, &r->f.w.fault));
	db_each_plan(r->f.w.s.db, check_plan, &seen);
	assert_true(seen.statements > 100); /* all stores are there */
	assert_true(seen.scans > 0);        /* the list is not empty: the check sees scans */
	assert_int_equal(seen.bad, 0);
	offloading_close(r->f.w.s.offloading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_statement_of_the_daemon_scans, choice_setup, choice_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
