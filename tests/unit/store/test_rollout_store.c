/* Rows of rollouts and deployments on a real SQLite database: maintained counts, first start wins, and no statement that scans a table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "store/db.h"
#include "store/deployment_store.h"
#include "store/rollout_store.h"

struct world {
	struct db *db;
	struct rollout_store *rollouts;
	struct deployment_store *deployments;
	struct arena *a;
	int64_t rollout;
};

static void must(enum err e, const struct fault *f)
{
	if (e)
		fail_msg("%s: %s", err_name(e), f->detail);
}

static void run_sql(struct db *db, const char *sql)
{
	struct fault f = {{0}, {0}};
	struct stmt *st;
	must(db_prepare_text(db, sql, &st, &f), &f);
	must(stmt_run(st, &f), &f);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct fault f = {{0}, {0}};
	w->a = arena_new(1 << 20);
	must(db_open(":memory:", migrations_fleet, false, &w->db, &f), &f);
	must(db_begin(w->db, &f), &f);
	must(rollout_store_open(w->db, &w->rollouts, &f), &f);
	must(deployment_store_open(w->db, &w->deployments, &f), &f);
	run_sql(w->db, "INSERT INTO release (id, name, created_at) VALUES (1, 'kws-1', 1), (2, 'kws-2', 1)");
	run_sql(w->db, "INSERT INTO device (id, device_id, hardware, created_at, updated_at) VALUES (1, 'a', 'x', 1, 1), (2, 'b', 'x', 1, 1), (3, 'c', 'x', 1, 1)");
	struct rollout_row row = {.name = "r", .release = 2, .target_filter = "", .status = "ready", .reason = "", .spec = "{}",
		.guarantee = "exact", .created_by = "me", .target = 3, .created_at = 5};
	must(rollout_insert(w->rollouts, &row, &w->rollout, &f), &f);
	for (int i = 0; i < 2; i++) {
		struct stage_row stage = {.rollout = w->rollout, .stage = i, .name = i ? "all" : "canary", .status = "scheduled", .planned = 1 + i};
		must(stage_insert(w->rollouts, &stage, &f), &f);
	}
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	rollout_store_close(w->rollouts);
	deployment_store_close(w->deployments);
	db_close(w->db);
	arena_free(w->a);
	free(w);
	return 0;
}

static struct deployment_row deploy(struct world *w, int64_t device, int64_t stage)
{
	struct fault f = {{0}, {0}};
	struct deployment_row d = {.rollout = w->rollout, .stage = stage, .device = device, .is_canary = stage == 0, .state = DEPLOYMENT_WAITING,
		.attempt = 1, .prev_release = 1, .updated_at = 7};
	must(deployment_insert(w->deployments, &d, &f), &f);
	return d;
}

static uint32_t count(struct world *w, int64_t stage, enum deployment_status state)
{
	uint32_t counts[DEPLOYMENT_STATUS_COUNT];
	struct fault f = {{0}, {0}};
	must(deployment_counts(w->deployments, w->rollout, stage, counts, &f), &f);
	return counts[state];
}

static void test_counts_follow_states(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	struct deployment_row a = deploy(w, 1, 0), b = deploy(w, 2, 1);
	assert_int_equal(count(w, 0, DEPLOYMENT_WAITING), 1);
	assert_int_equal(count(w, 1, DEPLOYMENT_WAITING), 1);
	a.state = DEPLOYMENT_OFFERED;
	a.deadline_at = 100;
	must(deployment_update(w->deployments, &a, DEPLOYMENT_WAITING, &f), &f);
	must(deployment_update(w->deployments, &a, DEPLOYMENT_OFFERED, &f), &f); /* no move: no change */
	assert_int_equal(count(w, 0, DEPLOYMENT_WAITING), 0);
	assert_int_equal(count(w, 0, DEPLOYMENT_OFFERED), 1);
	must(deployment_forget_device(w->deployments, b.device, &f), &f);
	assert_int_equal(count(w, 1, DEPLOYMENT_WAITING), 0);
	struct deployment_row *rows;
	size_t n;
	must(deployment_overdue(w->deployments, 99, 10, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 0);
	must(deployment_overdue(w->deployments, 100, 10, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].id, a.id);
}

static void test_a_device_is_deployed_to_once_and_active_once(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	struct deployment_row a = deploy(w, 1, 0), again = a;
	assert_int_equal(deployment_insert(w->deployments, &again, &f), ERR_CONFLICT);
	must(deployment_activate(w->deployments, 1, a.id, &f), &f);
	assert_int_equal(deployment_activate(w->deployments, 1, a.id, &f), ERR_CONFLICT);
	must(deployment_remove(w->deployments, &a, &f), &f); /* and takes part no more */
	assert_int_equal(count(w, 0, DEPLOYMENT_WAITING), 0);
	int64_t active;
	must(deployment_active_of(w->deployments, 1, &active, &f), &f);
	assert_int_equal(active, 0);
}

static void test_pages_and_states(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	struct deployment_row first = deploy(w, 1, 1), *rows;
	size_t n;
	deploy(w, 2, 1);
	deploy(w, 3, 0);
	must(deployment_page(w->deployments, w->rollout, -1, DEPLOYMENT_STATUS_COUNT, first.id, 10, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 2);
	must(deployment_page(w->deployments, w->rollout, 0, DEPLOYMENT_WAITING, 0, 10, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].device, 3);
	must(deployment_in_state(w->deployments, w->rollout, 1, DEPLOYMENT_WAITING, 1, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].id, first.id);
}

static void test_first_start_of_a_block_wins(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	bool is_new;
	struct block_row canary = {.device = 1, .block = 4, .is_canary = true}, control = {.device = 2, .block = 4}, *rows;
	size_t n;
	int64_t block;
	must(block_insert(w->rollouts, w->rollout, 0, &canary, &f), &f);
	must(block_insert(w->rollouts, w->rollout, 0, &control, &f), &f);
	must(block_start(w->rollouts, w->rollout, 0, 4, 1000, 0, &is_new, &f), &f);
	assert_true(is_new);
	must(block_start(w->rollouts, w->rollout, 0, 4, 2000, 0, &is_new, &f), &f);
	assert_false(is_new);
	must(block_list(w->rollouts, w->rollout, 0, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 2);
	assert_int_equal(rows[1].t0, 1000);
	must(block_of_canary(w->rollouts, w->rollout, 0, 1, &block, &f), &f);
	assert_int_equal(block, 4);
	assert_int_equal(block_of_canary(w->rollouts, w->rollout, 0, 2, &block, &f), ERR_NOT_FOUND);
}

static void test_looks_add_up(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	double spent, p_min;
	must(look_summary(w->rollouts, w->rollout, 0, 0, &spent, &p_min, &f), &f);
	assert_true(spent <= 0 && p_min <= 0);
	for (int k = 1; k <= 3; k++) {
		struct look_row look = {.rollout = w->rollout, .look = k, .p = 0.5 / k, .p_ni = (double)NAN, .spent = 0.001 * k, .verdict = "continue", .data = "{}"};
		must(look_insert(w->rollouts, &look, &f), &f);
	}
	must(look_summary(w->rollouts, w->rollout, 0, 0, &spent, &p_min, &f), &f);
	assert_true(fabs(spent - 0.003) < 1e-12 && fabs(p_min - 0.5 / 3) < 1e-12);
	struct look_row *rows;
	size_t n;
	must(look_list(w->rollouts, w->rollout, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 3);
	assert_true(isnan(rows[0].p_ni));
}

static void test_reverted_releases_are_known(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	struct rollout_row row;
	int64_t id;
	must(rollout_reverted_of(w->rollouts, 2, &id, &f), &f);
	assert_int_equal(id, 0);
	must(rollout_get(w->rollouts, w->rollout, &row, w->a, &f), &f);
	row.status = "reverted";
	must(rollout_update(w->rollouts, &row, &f), &f);
	must(rollout_reverted_of(w->rollouts, 2, &id, &f), &f);
	assert_int_equal(id, w->rollout);
	int64_t *ids;
	size_t n;
	must(rollout_active_ids(w->rollouts, &ids, &n, w->a, &f), &f);
	assert_int_equal(n, 0);
}

/* A database of schema 5 with a rollout on its way: nothing of it is lost when the deployments' table is built anew. */
static void test_deployments_survive_their_new_table(void **state)
{
	(void)state;
	static const char path[] = "/tmp/aviary-migrate-test.db";
	struct migration old[16] = {{0, 0, 0}};
	struct fault f = {{0}, {0}};
	struct db *db;
	struct arena *a = arena_new(1 << 20);
	size_t count = 0;
	for (const struct migration *m = migrations_fleet; m->number != 0 && m->number <= 5; m++)
		old[count++] = *m;
	unlink(path);
	must(db_open(path, old, false, &db, &f), &f);
	must(db_begin(db, &f), &f);
	run_sql(db, "INSERT INTO release (id, name, created_at) VALUES (1, 'kws-1', 1), (2, 'kws-2', 1)");
	run_sql(db, "INSERT INTO device (id, device_id, hardware, created_at, updated_at) VALUES (1, 'a', 'x', 1, 1), (2, 'b', 'x', 1, 1)");
	run_sql(db, "INSERT INTO rollout (id, name, release, target_filter, status, spec, seed_sha256, seed, created_by, created_at) "
		"VALUES (1, 'r', 2, '', 'running', '{}', zeroblob(32), zeroblob(32), 'me', 1)");
	run_sql(db, "INSERT INTO stage (rollout, stage, name, status, planned) VALUES (1, 0, 'canary', 'running', 1)");
	run_sql(db, "INSERT INTO deployment (id, rollout, stage, device, role, state, attempt, prev_release, progress, reason, offered_at, deadline_at, "
		"reverts, counter, updated_at) VALUES (7, 1, 0, 1, 'canary', 'downloading', 2, 1, 30, 'again', 11, 12, 1, 5, 13), "
		"(9, 1, 0, 2, 'wave', 'waiting', 1, NULL, 0, '', NULL, NULL, 0, 0, 13)");
	run_sql(db, "INSERT INTO active_deployment VALUES (1, 7), (2, 9)");
	run_sql(db, "DELETE FROM deployment WHERE id = 9"); /* its number stays used */
	must(db_end(db, true, &f), &f);
	must(db_commit(db, &f), &f);
	db_close(db);

	struct deployment_store *deployments;
	struct rollout_store *rollouts;
	struct deployment_row d;
	struct stage_row *stages;
	int64_t active = 0;
	must(db_open(path, migrations_fleet, false, &db, &f), &f);
	char text[256];
	must(db_check(db, text, sizeof text, &f), &f);
	assert_string_equal(text, "ok");
	must(db_begin(db, &f), &f);
	must(deployment_store_open(db, &deployments, &f), &f);
	must(rollout_store_open(db, &rollouts, &f), &f);
	must(deployment_active_of(deployments, 1, &active, &f), &f);
	assert_int_equal(active, 7);
	must(deployment_get(deployments, 7, &d, a, &f), &f);
	assert_true(d.is_canary && d.kind == DEPLOYMENT_INSTALL && d.state == DEPLOYMENT_DOWNLOADING);
	assert_true(d.attempt == 2 && d.prev_release == 1 && d.progress == 30 && d.offered_at == 11 && d.deadline_at == 12 && d.ended_at == 0);
	assert_true(d.reverts == 1 && d.counter == 5 && d.updated_at == 13);
	assert_string_equal(d.reason, "again");
	must(stage_list(rollouts, 1, &stages, &count, a, &f), &f);
	assert_true(count == 1 && !stages[0].is_shadow);
	struct deployment_row next = {.rollout = 1, .device = 2, .state = DEPLOYMENT_WAITING, .attempt = 1};
	must(deployment_insert(deployments, &next, &f), &f);
	assert_int_equal(next.id, 10);
	must(rollout_delete(rollouts, 1, &f), &f); /* the references hold: what belongs to it goes */
	assert_int_equal(deployment_get(deployments, 7, &d, a, &f), ERR_NOT_FOUND);
	must(deployment_active_of(deployments, 1, &active, &f), &f);
	assert_int_equal(active, 0);
	rollout_store_close(rollouts);
	deployment_store_close(deployments);
	db_close(db);
	arena_free(a);
	unlink(path);
}

static void test_shams_and_shadows_stand_beside_installs(void **state)
{
	struct world *w = *state;
	struct fault f = {{0}, {0}};
	struct deployment_row *rows, shadow = {.rollout = w->rollout, .device = 1, .kind = DEPLOYMENT_SHADOW, .state = DEPLOYMENT_WAITING, .attempt = 1};
	size_t n;
	int64_t left;
	must(deployment_insert(w->deployments, &shadow, &f), &f);
	assert_int_equal(deployment_insert(w->deployments, &(struct deployment_row){.rollout = w->rollout, .device = 1, .kind = DEPLOYMENT_SHAM,
		.state = DEPLOYMENT_WAITING, .attempt = 1}, &f), ERR_CONFLICT);
	bool exists = true;
	must(deployment_exists(w->deployments, w->rollout, 1, &exists, &f), &f);
	assert_false(exists); /* no install */
	struct deployment_row install = deploy(w, 1, 1), sham = {.rollout = w->rollout, .stage = 1, .device = 2, .kind = DEPLOYMENT_SHAM,
		.state = DEPLOYMENT_WAITING, .attempt = 1};
	must(deployment_insert(w->deployments, &sham, &f), &f);
	assert_int_equal(count(w, 0, DEPLOYMENT_WAITING), 1);
	assert_int_equal(count(w, 1, DEPLOYMENT_WAITING), 1); /* the sham is not counted */
	must(deployment_in_state(w->deployments, w->rollout, 0, DEPLOYMENT_WAITING, 10, &rows, &n, w->a, &f), &f);
	assert_true(n == 1 && rows[0].id == shadow.id && rows[0].kind == DEPLOYMENT_SHADOW);
	must(deployment_in_state(w->deployments, w->rollout, 1, DEPLOYMENT_WAITING, 10, &rows, &n, w->a, &f), &f);
	assert_true(n == 1 && rows[0].id == install.id);
	must(deployment_aside(w->deployments, w->rollout, 1, 0, 10, &rows, &n, w->a, &f), &f);
	assert_true(n == 1 && rows[0].id == sham.id && !rows[0].is_canary);
	must(deployment_aside(w->deployments, w->rollout, 1, 2, 10, &rows, &n, w->a, &f), &f);
	assert_int_equal(n, 0);
	struct block_row canary = {.device = 1, .block = 4, .is_canary = true}, control = {.device = 2, .block = 4};
	int64_t block = 0;
	must(block_insert(w->rollouts, w->rollout, 1, &canary, &f), &f);
	must(block_insert(w->rollouts, w->rollout, 1, &control, &f), &f);
	must(block_of_member(w->rollouts, w->rollout, 1, 2, &block, &f), &f);
	assert_int_equal(block, 4);
	must(deployment_shams_of_block(w->deployments, w->rollout, 1, 4, &rows, &n, w->a, &f), &f);
	assert_true(n == 1 && rows[0].id == sham.id);
	must(deployment_unfinished_of_block(w->deployments, w->rollout, 1, 4, &left, &f), &f);
	assert_int_equal(left, 2);
	sham.state = DEPLOYMENT_OFFERED;
	must(deployment_update(w->deployments, &sham, DEPLOYMENT_WAITING, &f), &f);
	assert_int_equal(count(w, 1, DEPLOYMENT_OFFERED), 0);
	sham.state = DEPLOYMENT_SUCCEEDED;
	sham.ended_at = 9;
	must(deployment_update(w->deployments, &sham, DEPLOYMENT_OFFERED, &f), &f);
	must(deployment_unfinished_of_block(w->deployments, w->rollout, 1, 4, &left, &f), &f);
	assert_int_equal(left, 1);
	must(deployment_forget_device(w->deployments, 2, &f), &f); /* no count goes below nothing */
	assert_int_equal(count(w, 1, DEPLOYMENT_WAITING), 1);
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	int *bad = ctx;
	if (statement->scans || strncmp(line, "SCAN", 4) != 0 || strstr(line, "CONSTANT ROW"))
		return;
	print_error("%s\n  %s\n", statement->sql, line);
	(*bad)++;
}

static void test_no_statement_scans(void **state)
{
	struct world *w = *state;
	int bad = 0;
	db_each_plan(w->db, check_plan, &bad);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counts_follow_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_device_is_deployed_to_once_and_active_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_and_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_start_of_a_block_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_looks_add_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reverted_releases_are_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shams_and_shadows_stand_beside_installs, setup, teardown),
		cmocka_unit_test(test_deployments_survive_their_new_table),
		cmocka_unit_test_setup_teardown(test_no_statement_scans, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
