/* store/catalog_store and store/release_store: rows in and out, what the schema refuses, and that no statement scans a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/catalog_store.h"
#include "store/db.h"
#include "store/release_store.h"

static const char hash[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

struct fix {
	struct db *db;
	struct catalog_store *catalog;
	struct release_store *releases;
	struct arena *a;
	struct fault f;
	struct model_row model;
	struct version_row version;
};

static void must(struct fix *x, enum err e)
{
	if (e != ERR_OK)
		fail_msg("%s: %s", err_name(e), x->f.detail);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof *x);
	must(x, db_open(":memory:", migrations_fleet, false, &x->db, &x->f));
	must(x, catalog_store_open(x->db, &x->catalog, &x->f));
	must(x, release_store_open(x->db, &x->releases, &x->f));
	x->a = arena_new(1 << 20);
	must(x, db_begin(x->db, &x->f));
	x->model = (struct model_row){.name = "kws", .kind = "model", .description = "d", .created_at = 5};
	must(x, catalog_store_insert_model(x->catalog, &x->model, &x->f));
	x->version = (struct version_row){.model = x->model.id, .version = "1.0.0", .precedence = "011010010~", .notes = "n", .created_at = 6};
	must(x, catalog_store_insert_version(x->catalog, &x->version, &x->f));
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	release_store_close(x->releases);
	catalog_store_close(x->catalog);
	db_close(x->db);
	arena_free(x->a);
	free(x);
	return 0;
}

static struct artifact_row artifact(struct fix *x, const char *hardware)
{
	struct artifact_row row = {.version = x->version.id, .hardware = hardware, .file_name = "f", .size_bytes = 9, .sha256 = hash, .created_at = 7};
	must(x, catalog_store_insert_artifact(x->catalog, &row, &x->f));
	return row;
}

static void rows_come_back_as_they_went(void **state)
{
	struct fix *x = *state;
	struct model_row m;
	struct version_row v;
	struct artifact_row a;
	must(x, catalog_store_find_model(x->catalog, "kws", x->a, &m, &x->f));
	assert_int_equal(m.id, x->model.id);
	assert_string_equal(m.kind, "model");
	assert_string_equal(m.description, "d");
	assert_int_equal(m.revision, 1);
	assert_int_equal(m.created_at, 5);
	assert_int_equal(m.updated_at, 5);
	must(x, catalog_store_find_version(x->catalog, m.id, "1.0.0", x->a, &v, &x->f));
	assert_string_equal(v.precedence, "011010010~");
	assert_string_equal(v.notes, "n");
	int64_t id = artifact(x, "*").id;
	must(x, catalog_store_set_artifact(x->catalog, id, "ready", 9, 8, &x->f));
	must(x, catalog_store_find_artifact(x->catalog, id, x->a, &a, &x->f));
	assert_string_equal(a.state, "ready");
	assert_string_equal(a.sha256, hash);
	assert_int_equal(a.received_bytes, 9);
	assert_int_equal(a.created_at, 7);
	assert_int_equal(a.updated_at, 8);
	assert_string_equal(a.model_name, "kws");
	assert_string_equal(a.version_text, "1.0.0");
	assert_int_equal(catalog_store_find_artifact(x->catalog, id + 1, x->a, &a, &x->f), ERR_NOT_FOUND);
}

static void doubles_and_orphans_are_conflicts(void **state)
{
	struct fix *x = *state;
	struct model_row m = x->model;
	struct version_row v = x->version;
	struct artifact_row a = artifact(x, "*");
	assert_int_equal(catalog_store_insert_model(x->catalog, &m, &x->f), ERR_CONFLICT);
	assert_int_equal(catalog_store_insert_version(x->catalog, &v, &x->f), ERR_CONFLICT);
	assert_int_equal(catalog_store_insert_artifact(x->catalog, &a, &x->f), ERR_CONFLICT);
	v.model = 999;
	assert_int_equal(catalog_store_insert_version(x->catalog, &v, &x->f), ERR_CONFLICT);
	assert_int_equal(catalog_store_delete_model(x->catalog, x->model.id, &x->f), ERR_CONFLICT);
	assert_int_equal(catalog_store_delete_version(x->catalog, x->version.id, &x->f), ERR_CONFLICT);
}

static void numbers_of_artifacts_are_not_used_twice(void **state)
{
	struct fix *x = *state;
	int64_t first = artifact(x, "*").id;
	must(x, catalog_store_delete_artifact(x->catalog, first, &x->f));
	assert_true(artifact(x, "*").id > first);
}

static void stale_uploads_are_found_ready_ones_are_not(void **state)
{
	struct fix *x = *state;
	int64_t ids[2];
	size_t count;
	int64_t old = artifact(x, "a").id, ready = artifact(x, "b").id, fresh = artifact(x, "c").id;
	must(x, catalog_store_set_artifact(x->catalog, ready, "ready", 9, 8, &x->f));
	must(x, catalog_store_set_artifact(x->catalog, fresh, "uploading", 1, 100, &x->f));
	must(x, catalog_store_stale_artifacts(x->catalog, 50, ids, 2, &count, &x->f));
	assert_int_equal(count, 1);
	assert_int_equal(ids[0], old);
}

static void a_release_holds_what_was_ready(void **state)
{
	struct fix *x = *state;
	struct release_row r = {.name = "r", .description = "", .config = "{}", .created_at = 1};
	struct artifact_row *rows, picked;
	size_t count;
	int64_t any = artifact(x, "*").id, exact = artifact(x, "esp32s3").id, unready = artifact(x, "nrf52").id;
	must(x, catalog_store_set_artifact(x->catalog, any, "ready", 9, 8, &x->f));
	must(x, catalog_store_set_artifact(x->catalog, exact, "ready", 9, 8, &x->f));
	must(x, release_store_insert(x->releases, &r, &x->f));
	must(x, release_store_add_component(x->releases, r.id, x->version.id, &x->f));
	must(x, release_store_artifacts(x->releases, r.id, x->version.id, x->a, &rows, &count, &x->f));
	assert_int_equal(count, 2);
	must(x, release_store_pick(x->releases, r.id, x->version.id, "esp32s3", x->a, &picked, &x->f));
	assert_int_equal(picked.id, exact);
	must(x, release_store_pick(x->releases, r.id, x->version.id, "nrf52", x->a, &picked, &x->f));
	assert_int_equal(picked.id, any);
	assert_int_equal(catalog_store_delete_artifact(x->catalog, any, &x->f), ERR_CONFLICT);
	must(x, catalog_store_delete_artifact(x->catalog, unready, &x->f));
	must(x, release_store_delete(x->releases, r.id, &x->f));
	must(x, catalog_store_delete_artifact(x->catalog, any, &x->f));
}

static void manifests_come_back_bit_for_bit(void **state)
{
	struct fix *x = *state;
	struct release_row r = {.name = "r", .description = "", .config = "{}", .created_at = 1};
	static const uint8_t bytes[] = {'{', 0, 0xff, '}'}, signature[64] = {1, 2, 3};
	struct manifest_row m = {.counter = 4, .bytes = bytes, .len = sizeof bytes, .signature = signature, .key_id = "k1", .created_at = 2}, back;
	int64_t counter;
	must(x, release_store_insert(x->releases, &r, &x->f));
	m.release = r.id;
	must(x, release_store_insert_manifest(x->releases, &m, &x->f));
	assert_int_equal(release_store_insert_manifest(x->releases, &m, &x->f), ERR_CONFLICT); /* a counter is used once */
	m.counter = 9;
	m.key_id = "k2";
	must(x, release_store_insert_manifest(x->releases, &m, &x->f));
	must(x, release_store_newest_manifest(x->releases, r.id, "k1", &counter, &x->f));
	assert_int_equal(counter, 4);
	must(x, release_store_manifest(x->releases, 9, x->a, &back, &x->f));
	assert_int_equal(back.len, sizeof bytes);
	assert_memory_equal(back.bytes, bytes, sizeof bytes);
	assert_memory_equal(back.signature, signature, 64);
	assert_int_equal(release_store_newest_manifest(x->releases, r.id, "k3", &counter, &x->f), ERR_NOT_FOUND);
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	char *complaint = ctx;
	bool scans = strncmp(line, "SCAN ", 5) == 0 && !strstr(line, "USING INDEX") && !strstr(line, "USING COVERING INDEX");
	bool sorts = strstr(line, "TEMP B-TREE FOR ORDER BY") && !strstr(statement->sql, "release_"); /* a release's few rows may be sorted */
	if ((scans && !statement->scans) || sorts)
		snprintf(complaint, 512, "%s: %s", statement->sql, line);
}

static void no_statement_scans_a_table(void **state)
{
	struct fix *x = *state;
	char complaint[512] = "";
	db_each_plan(x->db, check_plan, complaint);
	assert_string_equal(complaint, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_come_back_as_they_went, setup, teardown),
		cmocka_unit_test_setup_teardown(doubles_and_orphans_are_conflicts, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_of_artifacts_are_not_used_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_uploads_are_found_ready_ones_are_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_release_holds_what_was_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(manifests_come_back_bit_for_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(no_statement_scans_a_table, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
