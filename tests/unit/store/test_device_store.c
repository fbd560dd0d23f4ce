/* Statements over devices on a real file: what is written is read, deletion takes the children along, nothing scans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/db.h"
#include "store/device_store.h"
#include "store/filter_sql.h"
#include "store/group_store.h"

struct fix {
	char path[64];
	struct db *db;
	struct device_store *devices;
	struct group_store *groups;
	struct arena *a;
	struct fault f;
};

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof *x);
	assert_non_null(x);
	strcpy(x->path, "/tmp/aviary-device-store-XXXXXX");
	int fd = mkstemp(x->path);
	assert_true(fd >= 0);
	close(fd);
	if (db_open(x->path, migrations_fleet, false, &x->db, &x->f) != ERR_OK)
		fail_msg("%s", x->f.detail);
	assert_int_equal(device_store_open(x->db, &x->devices, &x->f), ERR_OK);
	assert_int_equal(group_store_open(x->db, &x->groups, &x->f), ERR_OK);
	x->a = arena_new(1 << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	char path[80];
	device_store_close(x->devices);
	group_store_close(x->groups);
	db_close(x->db);
	arena_free(x->a);
	unlink(x->path);
	snprintf(path, sizeof path, "%s-wal", x->path);
	unlink(path);
	snprintf(path, sizeof path, "%s-shm", x->path);
	unlink(path);
	free(x);
	return 0;
}

#define OK(x, expression)                                                                 \
	do {                                                                              \
		if ((expression) != ERR_OK)                                               \
			fail_msg("%s", (x)->f.detail);                                    \
	} while (0)

static int64_t add(struct fix *x, const char *id)
{
	int64_t row = 0;
	OK(x, device_store_insert(x->devices, id, "name", "esp32", 1000, &row, &x->f));
	assert_int_not_equal(row, 0);
	return row;
}

static void test_a_row_is_read_as_written(void **state)
{
	struct fix *x = *state;
	int64_t row = add(x, "a");
	static const uint8_t secret[32] = {1, 2, 3};
	struct device_record d;
	OK(x, device_store_get(x->devices, row, x->a, &d, &x->f));
	assert_string_equal(d.device_id, "a");
	assert_string_equal(d.capabilities, "{}");
	assert_null(d.release);
	assert_null(d.report_boot);
	assert_int_equal(d.revision, 1);
	assert_int_equal(d.created_at, 1000);
	assert_false(d.has_secret);
	OK(x, device_store_update(x->devices, row, "other", "nrf52", 2000, &x->f));
	OK(x, device_store_set_secret(x->devices, row, secret, &x->f));
	OK(x, device_store_set_report(x->devices, row, "b1", 7, &x->f));
	OK(x, device_store_set_running(x->devices, row, "kws-1", 5, NULL, "{\"release\":\"kws-1\"}", 3000, &x->f));
	OK(x, device_store_set_capabilities(x->devices, row, "{\"a\":1}", true, 3000, &x->f));
	OK(x, device_store_bump(x->devices, row, &x->f));
	OK(x, device_store_sent(x->devices, row, 1, &x->f));
	OK(x, device_store_presence(x->devices, row, 4000, true, &x->f));
	OK(x, device_store_get(x->devices, row, x->a, &d, &x->f));
	assert_string_equal(d.name, "other");
	assert_string_equal(d.hardware, "nrf52");
	assert_string_equal(d.release, "kws-1");
	assert_null(d.firmware);
	assert_string_equal(d.report_boot, "b1");
	assert_int_equal(d.report_seq, 7);
	assert_int_equal(d.running_counter, 5);
	assert_string_equal(d.capabilities, "{\"a\":1}");
	assert_int_equal(d.reported_revision, 3);
	assert_int_equal(d.desired_rev, 1);
	assert_int_equal(d.sent_rev, 1);
	assert_int_equal(d.last_seen_at, 4000);
	assert_int_equal(d.updated_at, 3000); /* presence is no change */
	assert_int_equal(d.revision, 2);
	assert_true(d.online && d.has_secret);
	bool found, has;
	uint8_t read[32];
	OK(x, device_store_secret(x->devices, "a", &found, &has, read, &x->f));
	assert_true(found && has);
	assert_memory_equal(read, secret, 32);
	OK(x, device_store_secret(x->devices, "b", &found, &has, read, &x->f));
	assert_false(found || has);
	assert_int_equal(device_store_get(x->devices, row + 1, x->a, &d, &x->f), ERR_NOT_FOUND);
	assert_int_equal(device_store_insert(x->devices, "a", "", "h", 1, &row, &x->f), ERR_CONFLICT);
}

static void test_lists(void **state)
{
	struct fix *x = *state;
	int64_t row = add(x, "a"), other = add(x, "b");
	struct device_pair *pairs;
	size_t count;
	const char *value;
	char name[8];
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "n%02d", 19 - i);
		OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, name, "v", &x->f));
	}
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, "n05", "w", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, other, "n05", "x", &x->f));
	OK(x, device_store_remove(x->devices, DEVICE_ATTRIBUTES, row, "n00", &x->f));
	OK(x, device_store_list(x->devices, DEVICE_ATTRIBUTES, row, x->a, &pairs, &count, &x->f));
	assert_int_equal(count, 19);
	assert_string_equal(pairs[0].name, "n01");
	assert_string_equal(pairs[18].name, "n19");
	assert_string_equal(pairs[4].value, "w");
	OK(x, device_store_value(x->devices, DEVICE_ATTRIBUTES, other, "n05", x->a, &value, &x->f));
	assert_string_equal(value, "x");
	OK(x, device_store_put(x->devices, DEVICE_TAGS, row, "t", NULL, &x->f));
	OK(x, device_store_put(x->devices, DEVICE_TAGS, row, "t", NULL, &x->f));
	OK(x, device_store_list(x->devices, DEVICE_TAGS, row, x->a, &pairs, &count, &x->f));
	assert_int_equal(count, 1);
	OK(x, device_store_put(x->devices, DEVICE_MODELS, row, "kws", "1.0.0", &x->f));
	OK(x, device_store_clear(x->devices, DEVICE_MODELS, row, &x->f));
	OK(x, device_store_value(x->devices, DEVICE_MODELS, row, "kws", x->a, &value, &x->f));
	assert_null(value);
}

static void expect_lists(struct fix *x, int64_t row, const char *attributes, const char *tags, const char *models)
{
	struct device_record d;
	OK(x, device_store_settle(x->devices, row, &x->f));
	OK(x, device_store_get(x->devices, row, x->a, &d, &x->f));
	assert_string_equal(d.attributes, attributes);
	assert_string_equal(d.tags, tags);
	assert_string_equal(d.models, models);
}

static void test_the_row_says_what_the_lists_say(void **state)
{
	struct fix *x = *state;
	int64_t row = add(x, "a"), other = add(x, "b");
	expect_lists(x, row, "{}", "[]", "{}");
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, "z", "say \"\\\"", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, "a\\\"", "\xC3\xA9", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_TAGS, row, "t", NULL, &x->f));
	OK(x, device_store_put(x->devices, DEVICE_TAGS, row, "b", NULL, &x->f));
	OK(x, device_store_put(x->devices, DEVICE_MODELS, row, "kws", "1.0.0", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_MODELS, row, "det", "2.0.0", &x->f));
	expect_lists(x, row, "{\"a\\\\\\\"\":\"\xC3\xA9\",\"z\":\"say \\\"\\\\\\\"\"}", "[\"b\",\"t\"]",
	             "{\"det\":\"2.0.0\",\"kws\":\"1.0.0\"}");
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, "z", "", &x->f));
	OK(x, device_store_remove(x->devices, DEVICE_ATTRIBUTES, row, "a\\\"", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_MODELS, row, "kws", "1.0.1", &x->f));
	OK(x, device_store_remove(x->devices, DEVICE_TAGS, row, "b", &x->f));
	expect_lists(x, row, "{\"z\":\"\"}", "[\"t\"]", "{\"det\":\"2.0.0\",\"kws\":\"1.0.1\"}");
	for (int which = DEVICE_ATTRIBUTES; which <= DEVICE_MODELS; which++)
		OK(x, device_store_clear(x->devices, which, row, &x->f));
	expect_lists(x, row, "{}", "[]", "{}");
	expect_lists(x, other, "{}", "[]", "{}");
}

static void test_deletion_takes_the_children_along(void **state)
{
	struct fix *x = *state;
	int64_t row = add(x, "a");
	struct device_pair *pairs;
	struct group_row group = {.name = "g", .description = "", .created_at = 1};
	size_t count;
	bool changed;
	OK(x, device_store_put(x->devices, DEVICE_ATTRIBUTES, row, "n", "v", &x->f));
	OK(x, device_store_put(x->devices, DEVICE_TAGS, row, "t", NULL, &x->f));
	OK(x, device_store_put(x->devices, DEVICE_MODELS, row, "m", "1", &x->f));
	OK(x, group_insert(x->groups, &group, &x->f));
	OK(x, group_add(x->groups, group.id, row, &changed, &x->f));
	assert_true(changed);
	OK(x, group_add(x->groups, group.id, row, &changed, &x->f));
	assert_false(changed);
	OK(x, device_store_delete(x->devices, row, &x->f));
	for (int which = DEVICE_ATTRIBUTES; which <= DEVICE_MODELS; which++) {
		OK(x, device_store_list(x->devices, which, row, x->a, &pairs, &count, &x->f));
		assert_int_equal(count, 0);
	}
	OK(x, group_get(x->groups, group.id, x->a, &group, &x->f));
	assert_int_equal(group.members, 0);
	assert_int_equal(group_add(x->groups, group.id, row, &changed, &x->f), ERR_CONFLICT); /* no such device */
}

static void note_mirror(void *ctx, const struct device_mirror *m)
{
	struct device_mirror *last = ctx;
	assert_true(m->row > last->row);
	*last = *m;
}

static void test_mirror(void **state)
{
	struct fix *x = *state;
	int64_t a = add(x, "a"), b = add(x, "b");
	struct device_mirror m = {.row = 0};
	bool found;
	OK(x, device_store_load(x->devices, note_mirror, &m, &x->f));
	assert_int_equal(m.row, b);
	m.row = 0;
	OK(x, device_store_mirror(x->devices, a, note_mirror, &m, &found, &x->f));
	assert_true(found);
	assert_int_equal(m.row, a);
	OK(x, device_store_mirror(x->devices, b + 1, note_mirror, &m, &found, &x->f));
	assert_false(found);
	assert_int_equal(db_commit(x->db, &x->f), ERR_OK); /* nothing is left open */
}

static enum err refuse_second(void *ctx, int64_t row, const char *text, int64_t number)
{
	int *calls = ctx;
	(void)row;
	(void)text;
	(void)number;
	return ++*calls == 2 ? ERR_CONFLICT : ERR_OK;
}

static void test_a_selection_ends_early(void **state)
{
	struct fix *x = *state;
	int calls = 0;
	int64_t count;
	add(x, "a");
	add(x, "b");
	add(x, "c");
	struct device_select all = {.sort = "id", .descending = true};
	assert_int_equal(filter_sql_each(x->db, &all, x->a, refuse_second, &calls, &x->f), ERR_CONFLICT);
	assert_int_equal(calls, 2);
	OK(x, filter_sql_count(x->db, &all, x->a, &count, &x->f));
	assert_int_equal(count, 3);
	assert_int_equal(db_commit(x->db, &x->f), ERR_OK);
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	int *bad = ctx;
	if (!statement->scans && strstr(line, "SCAN ") != NULL) {
		print_message("%s\n    %s\n", statement->sql, line);
		++*bad;
	}
}

static void test_no_statement_scans(void **state)
{
	struct fix *x = *state;
	int bad = 0;
	db_each_plan(x->db, check_plan, &bad);
	assert_int_equal(bad, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_row_is_read_as_written),
		T(test_lists),
		T(test_the_row_says_what_the_lists_say),
		T(test_deletion_takes_the_children_along),
		T(test_mirror),
		T(test_a_selection_ends_early),
		T(test_no_statement_scans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
