/* Checkpoints by a connection of their own: the log ends, begins anew, survives readers and kills, and is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/checkpoint.h"
#include "store/db.h"

static const struct migration schema[] = {
	{1, "0001_first", "CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB) STRICT;"},
	{0, 0, 0},
};
enum { ADD, COUNT, STATEMENTS };
static const struct statement statements[STATEMENTS] = {
	[ADD] = {"INSERT INTO item (data) VALUES (zeroblob(3000))", false},
	[COUNT] = {"SELECT count(*) FROM item", true},
};

struct fix {
	char dir[64], path[96], wal[112];
	struct db *db;
	struct stmt *st[STATEMENTS];
	struct checkpoint *c;
	struct fault f;
	int64_t pages;
};

static void must(struct fix *x, enum err e)
{
	if (e != ERR_OK)
		fail_msg("%s: %s", err_name(e), x->f.detail);
}

static void start(struct fix *x)
{
	must(x, db_open(x->path, schema, false, &x->db, &x->f));
	must(x, db_prepare(x->db, statements, STATEMENTS, x->st, &x->f));
	must(x, checkpoint_open(x->path, &x->c, &x->f));
	db_checkpoint_elsewhere(x->db);
}

static void stop(struct fix *x)
{
	checkpoint_close(x->c);
	db_close(x->db);
	x->c = NULL;
	x->db = NULL;
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof *x);
	strcpy(x->dir, "/tmp/aviary-wal-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	snprintf(x->path, sizeof x->path, "%s/t.db", x->dir);
	snprintf(x->wal, sizeof x->wal, "%s-wal", x->path);
	start(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	char shm[112];
	stop(x);
	snprintf(shm, sizeof shm, "%s-shm", x->path);
	unlink(x->path);
	unlink(x->wal);
	unlink(shm);
	rmdir(x->dir);
	free(x);
	return 0;
}

/* `rows` rows of a page each, in one commit. Returns the length of the log. */
static int64_t add(struct fix *x, int rows)
{
	must(x, db_begin(x->db, &x->f));
	for (int i = 0; i < rows; i++)
		must(x, stmt_run(x->st[ADD], &x->f));
	must(x, db_end(x->db, true, &x->f));
	must(x, db_commit(x->db, &x->f));
	assert_true(db_wal_grew(x->db, &x->pages));
	assert_false(db_wal_grew(x->db, &x->pages));
	return x->pages;
}

static int64_t count(struct db *db, struct stmt *st)
{
	bool row;
	assert_int_equal(stmt_step(st, &row, NULL), ERR_OK);
	int64_t n = stmt_int(st, 0);
	stmt_reset(st);
	(void)db;
	return n;
}

static int64_t wal_bytes(const struct fix *x)
{
	struct stat s;
	return stat(x->wal, &s) == 0 ? (int64_t)s.st_size : -1;
}

static struct checkpoint_pass run(struct fix *x, enum checkpoint_mode mode, enum err wanted)
{
	struct checkpoint_pass pass;
	enum err e = checkpoint_run(x->c, mode, &pass, &x->f);
	if (e != wanted)
		fail_msg("%s: %s", err_name(e), x->f.detail);
	return pass;
}

static void commits_leave_the_log_alone(void **state)
{
	struct fix *x = *state;
	for (int i = 0; i < 4; i++)
		add(x, 1000);
	assert_true(x->pages > 4000); /* SQLite by itself would have begun anew after 1000 */
}

static void a_pass_moves_everything_and_the_next_writer_begins_anew(void **state)
{
	struct fix *x = *state;
	int64_t before = add(x, 2000);
	struct checkpoint_pass pass = run(x, CHECKPOINT_PASSIVE, ERR_OK);
	assert_int_equal(pass.pages, before);
	assert_int_equal(pass.moved, before);
	int64_t bytes = wal_bytes(x);
	assert_true(add(x, 1) < 20);
	assert_int_equal(wal_bytes(x), bytes); /* the same file from its start */
	assert_int_equal(count(x->db, x->st[COUNT]), 2001);
}

static void *many_passes(void *arg)
{
	struct fix *x = arg;
	struct checkpoint_pass pass;
	enum err e = ERR_OK;
	for (int i = 0; i < 200 && e == ERR_OK; i++)
		e = checkpoint_run(x->c, CHECKPOINT_PASSIVE, &pass, &x->f);
	return (void *)(intptr_t)e;
}

/* Writers are never refused, and a log that is written all the time stays short, as long as a pass meets a pause now and then. */
static void passes_go_on_beside_writes(void **state)
{
	struct fix *x = *state;
	pthread_t thread;
	void *result;
	int64_t longest = 0;
	assert_int_equal(pthread_create(&thread, NULL, many_passes, x), 0);
	for (int i = 0; i < 300; i++) {
		int64_t pages = add(x, 10);
		longest = pages > longest ? pages : longest;
		usleep(500);
	}
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, ERR_OK);
	assert_int_equal(count(x->db, x->st[COUNT]), 3000);
	run(x, CHECKPOINT_PASSIVE, ERR_OK);
	assert_true(add(x, 1) < 20);
}

static void a_reader_keeps_its_snapshot(void **state)
{
	struct fix *x = *state;
	struct db *reader;
	struct stmt *st[STATEMENTS];
	add(x, 100);
	must(x, db_open(x->path, NULL, true, &reader, &x->f));
	must(x, db_prepare(reader, statements, STATEMENTS, st, &x->f));
	db_hold_reads(reader);
	assert_int_equal(count(reader, st[COUNT]), 100);
	int64_t pages = add(x, 100);
	struct checkpoint_pass pass = run(x, CHECKPOINT_PASSIVE, ERR_OK);
	assert_true(pass.moved < pages); /* what came after the snapshot stays in the log */
	run(x, CHECKPOINT_TRUNCATE, ERR_TIMEOUT);
	assert_int_equal(count(reader, st[COUNT]), 100);
	must(x, db_commit(reader, &x->f));
	db_close(reader);
	pass = run(x, CHECKPOINT_PASSIVE, ERR_OK);
	assert_int_equal(pass.moved, pages);
}

static void the_file_is_cut_when_nobody_writes(void **state)
{
	struct fix *x = *state;
	add(x, 3000);
	assert_true(wal_bytes(x) > 3000 * 4096);
	must(x, db_begin(x->db, &x->f)); /* a writer is there */
	must(x, stmt_run(x->st[ADD], &x->f));
	run(x, CHECKPOINT_TRUNCATE, ERR_TIMEOUT);
	must(x, db_end(x->db, true, &x->f));
	must(x, db_commit(x->db, &x->f));
	struct checkpoint_pass pass = run(x, CHECKPOINT_TRUNCATE, ERR_OK);
	assert_int_equal(pass.pages, 0);
	assert_int_equal(wal_bytes(x), 0);
	assert_int_equal(count(x->db, x->st[COUNT]), 3001);
	add(x, 1);
}

/* The kill may meet a commit, a pass, or both; every commit that was said to be one is there afterwards. */
static void a_kill_loses_nothing(void **state)
{
	struct fix *x = *state;
	int64_t promised = 0;
	for (int round = 0; round < 8; round++) {
		int said[2];
		assert_int_equal(pipe(said), 0);
		stop(x);
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			start(x);
			pthread_create(&thread, NULL, many_passes, x);
			for (;;) {
				add(x, 20);
				if (write(said[1], "x", 1) != 1)
					_exit(1);
			}
		}
		char byte;
		close(said[1]);
		for (int i = 0; i < 20 + 7 * round; i++)
			assert_int_equal(read(said[0], &byte, 1), 1);
		kill(child, SIGKILL);
		for (promised += 20 * (20 + 7 * round); read(said[0], &byte, 1) == 1;)
			promised += 20;
		close(said[0]);
		waitpid(child, NULL, 0);
		start(x);
		int64_t have = count(x->db, x->st[COUNT]);
		assert_true(have >= promised && have <= promised + 20);
		char text[100];
		must(x, db_check(x->db, text, sizeof text, &x->f));
		assert_string_equal(text, "ok");
		promised = have;
	}
	run(x, CHECKPOINT_TRUNCATE, ERR_OK);
	assert_int_equal(wal_bytes(x), 0);
}

static void the_log_is_gone_after_the_last_close(void **state)
{
	struct fix *x = *state;
	add(x, 500);
	stop(x);
	assert_int_equal(wal_bytes(x), -1);
	start(x);
	assert_int_equal(count(x->db, x->st[COUNT]), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commits_leave_the_log_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pass_moves_everything_and_the_next_writer_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_go_on_beside_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_keeps_its_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(the_file_is_cut_when_nobody_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kill_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_log_is_gone_after_the_last_close, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
