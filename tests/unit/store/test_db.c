/* store/db on real files: migrations, units of work, a tick that fails, a disk that is full, backup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/db.h"

static const struct migration two[] = {
	{1, "0001_first", "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"},
	{2, "0002_second",
		"CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent (id), data BLOB) "
		"STRICT;"},
	{0, 0, 0},
};
static const struct migration one[] = {
	{1, "0001_first", "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"},
	{0, 0, 0},
};

enum { ADD_PARENT, ADD_CHILD, COUNT_PARENTS, COUNT_CHILDREN, ONE_PARENT, STATEMENTS };
static const struct statement statements[STATEMENTS] = {
	[ADD_PARENT] = {"INSERT INTO parent (id, name) VALUES (?, ?)", false},
	[ADD_CHILD] = {"INSERT INTO child (parent, data) VALUES (?, ?)", false},
	[COUNT_PARENTS] = {"SELECT count(*) FROM parent", true},
	[COUNT_CHILDREN] = {"SELECT count(*) FROM child", true},
	[ONE_PARENT] = {"SELECT name FROM parent WHERE id = ?", false},
};

struct fix {
	char dir[64], path[96];
	struct db *db;
	struct stmt *st[STATEMENTS];
};

static void reopen(struct fix *x)
{
	struct fault f = {"", ""};
	db_close(x->db);
	if (db_open(x->path, two, false, &x->db, &f) != ERR_OK)
		fail_msg("%s", f.detail);
	assert_int_equal(db_prepare(x->db, statements, STATEMENTS, x->st, &f), ERR_OK);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof *x);
	strcpy(x->dir, "/tmp/aviary-db-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	snprintf(x->path, sizeof x->path, "%s/t.db", x->dir);
	reopen(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	db_close(x->db);
	static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm", "copy.db", "copy.db-wal", "copy.db-shm",
		"one.db", "one.db-wal", "one.db-shm"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s/%s", x->dir, names[i]);
		unlink(path);
	}
	rmdir(x->dir);
	free(x);
	return 0;
}

static enum err add_parent(struct fix *x, int64_t id, const char *name)
{
	struct fault f = {"", ""};
	stmt_bind_int(x->st[ADD_PARENT], 1, id);
	stmt_bind_text(x->st[ADD_PARENT], 2, name);
	return stmt_run(x->st[ADD_PARENT], &f);
}

static int64_t count(struct fix *x, int which)
{
	bool row;
	assert_int_equal(stmt_step(x->st[which], &row, NULL), ERR_OK);
	assert_true(row);
	int64_t n = stmt_int(x->st[which], 0);
	stmt_reset(x->st[which]);
	return n;
}

static void commit_survives_reopen(void **state)
{
	struct fix *x = *state;
	assert_int_equal(db_begin(x->db, NULL), ERR_OK);
	assert_int_equal(add_parent(x, 1, "a"), ERR_OK);
	assert_int_equal(db_end(x->db, true, NULL), ERR_OK);
	assert_true(db_is_dirty(x->db));
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	assert_false(db_is_dirty(x->db));
	reopen(x);
	assert_int_equal(count(x, COUNT_PARENTS), 1);
}

static void what_was_not_committed_is_gone(void **state)
{
	struct fix *x = *state;
	assert_int_equal(add_parent(x, 1, "a"), ERR_OK); /* outside of a unit: still not committed by itself */
	assert_true(db_is_dirty(x->db));
	reopen(x);
	assert_int_equal(count(x, COUNT_PARENTS), 0);
}

static void a_refused_unit_leaves_its_neighbours(void **state)
{
	struct fix *x = *state;
	assert_int_equal(db_begin(x->db, NULL), ERR_OK);
	assert_int_equal(add_parent(x, 1, "kept"), ERR_OK);
	assert_int_equal(db_begin(x->db, NULL), ERR_OK);
	assert_int_equal(add_parent(x, 2, "nested, undone"), ERR_OK);
	assert_int_equal(db_end(x->db, false, NULL), ERR_OK);
	assert_int_equal(db_end(x->db, true, NULL), ERR_OK);
	assert_int_equal(db_begin(x->db, NULL), ERR_OK);
	assert_int_equal(add_parent(x, 3, "undone"), ERR_OK);
	assert_int_equal(db_end(x->db, false, NULL), ERR_OK);
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	reopen(x);
	assert_int_equal(count(x, COUNT_PARENTS), 1);
}

static void constraints_are_conflicts(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	assert_int_equal(add_parent(x, 1, "a"), ERR_OK);
	assert_int_equal(add_parent(x, 2, "a"), ERR_CONFLICT);
	assert_int_equal(add_parent(x, 1, "b"), ERR_CONFLICT);
	stmt_bind_int(x->st[ADD_CHILD], 1, 77);
	assert_int_equal(stmt_run(x->st[ADD_CHILD], &f), ERR_CONFLICT);
	assert_non_null(strstr(f.detail, "FOREIGN KEY"));
	assert_int_equal(add_parent(x, 3, NULL), ERR_INTERNAL); /* NOT NULL: the caller's mistake, not the client's */
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	assert_int_equal(count(x, COUNT_PARENTS), 1);
}

static void a_newer_schema_is_refused(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	db_close(x->db);
	x->db = NULL;
	struct db *old;
	assert_int_equal(db_open(x->path, one, false, &old, &f), ERR_CONFLICT);
	assert_null(old);
	assert_non_null(strstr(f.detail, "schema 2"));
	assert_int_equal(db_open(x->path, one, true, &old, &f), ERR_CONFLICT);
}

static void a_failing_migration_leaves_the_old_schema(void **state)
{
	struct fix *x = *state;
	char path[128];
	snprintf(path, sizeof path, "%s/one.db", x->dir);
	static const struct migration broken[] = {
		{1, "0001_first", "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"},
		{2, "0002_bad",
			"CREATE TABLE half (id INTEGER PRIMARY KEY) STRICT; CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;"},
		{0, 0, 0},
	};
	struct fault f = {"", ""};
	struct db *db;
	assert_int_equal(db_open(path, broken, false, &db, &f), ERR_INTERNAL);
	assert_non_null(strstr(f.detail, "0002_bad"));
	assert_int_equal(db_open(path, one, false, &db, &f), ERR_OK); /* version 1 was kept, 2 left no trace */
	struct stmt *s;
	assert_int_equal(db_prepare_text(db, "SELECT count(*) FROM half", &s, &f), ERR_INTERNAL);
	db_close(db);
}

/* Fills the file up to its page limit. SQLite may undo the statement or the whole transaction: either way the tick says
 * so and what was committed before stays. */
static void a_full_disk_refuses_and_recovers(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	assert_int_equal(add_parent(x, 1, "before"), ERR_OK);
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	struct stmt *limit;
	bool row;
	assert_int_equal(db_prepare_text(x->db, "PRAGMA max_page_count = 12", &limit, &f), ERR_OK);
	assert_int_equal(stmt_step(limit, &row, &f), ERR_OK);
	stmt_reset(limit);
	static char blob[100000];
	assert_int_equal(db_begin(x->db, NULL), ERR_OK);
	stmt_bind_int(x->st[ADD_CHILD], 1, 1);
	stmt_bind_blob(x->st[ADD_CHILD], 2, blob, sizeof blob);
	assert_int_equal(stmt_run(x->st[ADD_CHILD], &f), ERR_FULL);
	assert_int_equal(db_end(x->db, false, &f), ERR_OK);
	(void)!db_commit(x->db, &f);
	assert_int_equal(count(x, COUNT_PARENTS), 1); /* reads go on */
	assert_int_equal(count(x, COUNT_CHILDREN), 0);
	assert_int_equal(db_prepare_text(x->db, "PRAGMA max_page_count = 100000", &limit, &f), ERR_OK);
	assert_int_equal(stmt_step(limit, &row, &f), ERR_OK);
	stmt_reset(limit);
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
	assert_int_equal(db_begin(x->db, &f), ERR_OK);
	stmt_bind_int(x->st[ADD_CHILD], 1, 1);
	stmt_bind_blob(x->st[ADD_CHILD], 2, blob, sizeof blob);
	assert_int_equal(stmt_run(x->st[ADD_CHILD], &f), ERR_OK);
	assert_int_equal(db_end(x->db, true, &f), ERR_OK);
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
	assert_int_equal(count(x, COUNT_CHILDREN), 1);
}

static void a_transaction_lost_in_the_middle_voids_the_tick(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	struct stmt *undo;
	assert_int_equal(db_prepare_text(x->db, "INSERT OR ROLLBACK INTO parent (id, name) VALUES (9, 'a')", &undo, &f),
		ERR_OK);
	assert_int_equal(db_begin(x->db, &f), ERR_OK);
	assert_int_equal(add_parent(x, 1, "a"), ERR_OK);
	assert_int_equal(stmt_run(undo, &f), ERR_CONFLICT); /* ends the whole transaction, as a full disk may */
	assert_int_equal(add_parent(x, 2, "late"), ERR_CONFLICT);
	assert_int_equal(db_end(x->db, true, &f), ERR_CONFLICT);
	assert_int_equal(db_begin(x->db, &f), ERR_CONFLICT);
	assert_true(db_is_dirty(x->db));
	assert_int_equal(db_commit(x->db, &f), ERR_CONFLICT);
	assert_false(db_is_dirty(x->db));
	assert_int_equal(count(x, COUNT_PARENTS), 0);
	assert_int_equal(add_parent(x, 2, "next tick"), ERR_OK);
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
}

static void statements_by_text_are_cached_and_bounded(void **state)
{
	struct fix *x = *state;
	struct stmt *a, *b;
	assert_int_equal(db_prepare_text(x->db, "SELECT 1", &a, NULL), ERR_OK);
	assert_int_equal(db_prepare_text(x->db, "SELECT 1", &b, NULL), ERR_OK);
	assert_ptr_equal(a, b);
	bool row;
	assert_int_equal(stmt_step(a, &row, NULL), ERR_OK); /* in use: must outlive the flood below */
	for (int i = 0; i < 400; i++) {
		char sql[64];
		snprintf(sql, sizeof sql, "SELECT %d FROM parent WHERE id = ?", i);
		assert_int_equal(db_prepare_text(x->db, sql, &b, NULL), ERR_OK);
	}
	assert_int_equal(stmt_int(a, 0), 1);
	stmt_reset(a);
	struct fault f = {"", ""};
	assert_int_equal(db_prepare_text(x->db, "SELECT nonsense", &b, &f), ERR_INTERNAL);
	assert_non_null(strstr(f.detail, "nonsense"));
}

static void values_come_back(void **state)
{
	struct fix *x = *state;
	struct stmt *s;
	bool row;
	size_t len;
	assert_int_equal(db_prepare_text(x->db, "SELECT ?, ?, ?, ?, ?", &s, NULL), ERR_OK);
	stmt_bind_int(s, 1, INT64_MIN);
	stmt_bind_real(s, 2, 0.1);
	stmt_bind_textn(s, 3, "abcdef", 3);
	stmt_bind_blob(s, 4, "\0\1", 2);
	stmt_bind_null(s, 5);
	assert_int_equal(stmt_step(s, &row, NULL), ERR_OK);
	assert_true(stmt_int(s, 0) == INT64_MIN);
	assert_true(stmt_real(s, 1) == 0.1);
	assert_string_equal(stmt_text(s, 2), "abc");
	assert_memory_equal(stmt_blob(s, 3, &len), "\0\1", 2);
	assert_int_equal(len, 2);
	assert_true(stmt_is_null(s, 4));
	assert_null(stmt_text(s, 4));
	assert_int_equal(stmt_step(s, &row, NULL), ERR_OK);
	assert_false(row);
	assert_int_equal(stmt_step(s, &row, NULL), ERR_OK); /* parameters were cleared */
	assert_true(stmt_is_null(s, 0));
	stmt_reset(s);
}

static void a_deadline_ends_a_query(void **state)
{
	struct fix *x = *state;
	struct stmt *s;
	bool row;
	static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) "
		"FROM n";
	assert_int_equal(db_prepare_text(x->db, endless, &s, NULL), ERR_OK);
	db_set_deadline(x->db, clock_mono_ms() + 20);
	assert_int_equal(stmt_step(s, &row, NULL), ERR_TIMEOUT);
	db_set_deadline(x->db, 0);
	assert_int_equal(count(x, COUNT_PARENTS), 0);
}

static void a_backup_is_whole_while_writing_goes_on(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	char path[128], text[256];
	snprintf(path, sizeof path, "%s/copy.db", x->dir);
	assert_int_equal(add_parent(x, 1, "a"), ERR_OK);
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	assert_int_equal(add_parent(x, 2, "not yet committed"), ERR_OK);
	struct db *reader, *copy;
	assert_int_equal(db_open(x->path, two, true, &reader, &f), ERR_OK);
	assert_int_equal(db_backup(reader, path, &f), ERR_OK);
	assert_int_equal(db_backup(reader, path, &f), ERR_CONFLICT); /* never over an older one */
	db_close(reader);
	assert_int_equal(db_commit(x->db, NULL), ERR_OK);
	assert_int_equal(db_open(path, two, false, &copy, &f), ERR_OK);
	assert_int_equal(db_check(copy, text, sizeof text, &f), ERR_OK);
	assert_string_equal(text, "ok");
	struct stmt *s;
	bool row;
	assert_int_equal(db_prepare_text(copy, "SELECT count(*) FROM parent", &s, &f), ERR_OK);
	assert_int_equal(stmt_step(s, &row, &f), ERR_OK);
	assert_int_equal(stmt_int(s, 0), 1);
	stmt_reset(s);
	db_close(copy);
}

static void reads_of_a_tick_share_a_snapshot(void **state)
{
	struct fix *x = *state;
	struct fault f = {"", ""};
	struct db *other;
	struct stmt *st[STATEMENTS];
	assert_int_equal(db_open(x->path, two, false, &other, &f), ERR_OK);
	assert_int_equal(db_prepare(other, statements, STATEMENTS, st, &f), ERR_OK);
	db_hold_reads(x->db);
	assert_int_equal(count(x, COUNT_PARENTS), 0);
	assert_false(db_is_dirty(x->db)); /* nothing to lose */
	stmt_bind_int(st[ADD_PARENT], 1, 1);
	stmt_bind_text(st[ADD_PARENT], 2, "by another connection");
	assert_int_equal(stmt_run(st[ADD_PARENT], &f), ERR_OK);
	assert_int_equal(db_commit(other, &f), ERR_OK);
	assert_int_equal(count(x, COUNT_PARENTS), 0);
	assert_int_equal(db_commit(x->db, &f), ERR_OK); /* the tick's end: the next one sees it */
	assert_int_equal(count(x, COUNT_PARENTS), 1);
	assert_int_equal(db_begin(x->db, &f), ERR_OK); /* rises from reading to writing */
	assert_int_equal(add_parent(x, 2, "b"), ERR_OK);
	assert_int_equal(db_end(x->db, true, &f), ERR_OK);
	assert_true(db_is_changed(x->db));
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
	assert_int_equal(count(x, COUNT_PARENTS), 2);
	/* A snapshot that is not the newest any more cannot rise: the tick is refused, the next one works. */
	stmt_bind_int(st[ADD_PARENT], 1, 3);
	stmt_bind_text(st[ADD_PARENT], 2, "c");
	assert_int_equal(stmt_run(st[ADD_PARENT], &f), ERR_OK);
	assert_int_equal(db_commit(other, &f), ERR_OK);
	assert_int_equal(db_begin(x->db, &f), ERR_OK);
	assert_int_equal(add_parent(x, 4, "d"), ERR_UNAVAILABLE);
	assert_int_equal(db_end(x->db, false, &f), ERR_OK);
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
	assert_int_equal(add_parent(x, 4, "d"), ERR_OK);
	assert_int_equal(db_commit(x->db, &f), ERR_OK);
	assert_int_equal(count(x, COUNT_PARENTS), 4);
	db_close(other);
}

static void a_reader_never_writes(void **state)
{
	struct fix *x = *state;
	struct db *reader;
	struct stmt *s;
	assert_int_equal(db_open(x->path, two, true, &reader, NULL), ERR_OK);
	assert_int_equal(db_prepare_text(reader, "DELETE FROM parent", &s, NULL), ERR_OK);
	assert_int_equal(stmt_run(s, NULL), ERR_UNAVAILABLE);
	db_close(reader);
}

static void collect_scans(void *ctx, const struct statement *statement, const char *line)
{
	if (strncmp(line, "SCAN", 4) == 0 && !statement->scans)
		++*(int *)ctx;
}

static void plans_show_scans(void **state)
{
	struct fix *x = *state;
	int scans = 0;
	db_each_plan(x->db, collect_scans, &scans);
	assert_int_equal(scans, 0);
	struct stmt *s;
	assert_int_equal(db_prepare_text(x->db, "SELECT id FROM child WHERE data IS NULL", &s, NULL), ERR_OK);
	db_each_plan(x->db, collect_scans, &scans);
	assert_int_equal(scans, 1);
}

static void the_shipped_schemas_open(void **state)
{
	(void)state;
	struct fault f = {"", ""};
	struct db *db;
	if (db_open(":memory:", migrations_fleet, false, &db, &f) != ERR_OK)
		fail_msg("%s", f.detail);
	char text[256];
	assert_int_equal(db_check(db, text, sizeof text, &f), ERR_OK);
	assert_string_equal(text, "ok");
	db_close(db);
	if (db_open(":memory:", migrations_telemetry, false, &db, &f) != ERR_OK)
		fail_msg("%s", f.detail);
	db_close(db);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(commit_survives_reopen), T(what_was_not_committed_is_gone), T(a_refused_unit_leaves_its_neighbours),
			T(constraints_are_conflicts),
		T(a_newer_schema_is_refused), T(a_failing_migration_leaves_the_old_schema), T(a_full_disk_refuses_and_recovers),
		T(a_transaction_lost_in_the_middle_voids_the_tick), T(statements_by_text_are_cached_and_bounded),
			T(values_come_back),
		T(a_deadline_ends_a_query), T(a_backup_is_whole_while_writing_goes_on), T(reads_of_a_tick_share_a_snapshot), T(a_reader_never_writes),
			T(plans_show_scans),
		T(the_shipped_schemas_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
