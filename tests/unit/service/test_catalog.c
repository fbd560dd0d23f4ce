/* service/catalog: models, versions in SemVer order, artifacts and their uploads, upkeep; on a real database and real files. */
#include "catalog_world.h"

#include "base/str.h"
#include "core/semver.h"

static struct model_row model(struct world *w, const char *name)
{
	struct model_row m;
	struct model_input in = {.name = name};
	world_must(w, UNIT(w, catalog_create_model(&w->c, &in, &m)));
	return m;
}

static void models_are_made_edited_listed_deleted(void **state)
{
	struct world *w = *state;
	struct model_row m = model(w, "kws"), again;
	assert_string_equal(m.kind, "model");
	assert_int_equal(m.revision, 1);
	world_must(w, UNIT(w, catalog_edit_model(&w->c, &m, "finds keywords", &again)));
	world_must(w, catalog_find_model(&w->c, "kws", &again));
	assert_string_equal(again.description, "finds keywords");
	assert_int_equal(again.revision, 2);
	world_must(w, UNIT(w, catalog_delete_model(&w->c, &again)));
	assert_int_equal(catalog_find_model(&w->c, "kws", &again), ERR_NOT_FOUND);
	assert_non_null(strstr(w->fault.detail, "kws"));
}

static void bad_models_are_refused(void **state)
{
	struct world *w = *state;
	struct model_row m = model(w, "kws");
	static const struct {
		struct model_input in;
		enum err e;
		const char *pointer;
	} cases[] = {
		{{.name = "kws"}, ERR_CONFLICT, "/name"},
		{{.name = ""}, ERR_INVALID, "/name"},
		{{.name = "../etc"}, ERR_INVALID, "/name"},
		{{.name = "a/b"}, ERR_INVALID, "/name"},
		{{.name = "a", .kind = "music"}, ERR_INVALID, "/kind"},
		{{.name = "a", .description = "\xff"}, ERR_INVALID, "/description"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(UNIT(w, catalog_create_model(&w->c, &cases[i].in, &m)), cases[i].e);
		assert_string_equal(w->fault.pointer, cases[i].pointer);
	}
}

static void pages_of_models_meet_without_gaps(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 25; i++)
		model(w, arena_printf(w->c.arena, "m%02d", i));
	for (int down = 0; down < 2; down++) {
		struct page_request page = {.limit = 10, .descending = down};
		int seen = 0;
		bool more = true;
		while (more) {
			struct model_row *rows;
			size_t count;
			int64_t total = 0;
			world_must(w, catalog_list_models(&w->c, &page, &rows, &count, &more, &total));
			assert_int_equal(total, 25);
			for (size_t i = 0; i < count; i++, seen++)
				assert_string_equal(rows[i].name, arena_printf(w->c.arena, "m%02d", down ? 24 - seen : seen));
			page.after = rows[count - 1].name;
		}
		assert_int_equal(seen, 25);
	}
}

/* semver.org section 11, and what it says about numbers, letters, prefixes. */
static const char *const in_order[] = {
	"0.0.1", "0.9.99", "0.10.0", "1.0.0-0", "1.0.0-2", "1.0.0-10", "1.0.0-10.0", "1.0.0-A", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.1.0",
	"1.0.0-alpha.beta", "1.0.0-alpha-", "1.0.0-alpha-1", "1.0.0-alphabet", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
	"1.0.0+build.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0", "99999999999999999999.0.0",
};
#define VERSIONS (sizeof in_order / sizeof *in_order)

static void versions_are_listed_by_precedence(void **state)
{
	struct world *w = *state;
	struct model_row m = model(w, "kws");
	for (size_t i = 1; i < VERSIONS; i++)
		assert_true(semver_compare_texts(in_order[i - 1], in_order[i]) < 0); /* the sort key and the rule agree */
	for (size_t i = 0; i < VERSIONS; i++) { /* in another order than they will come */
		struct version_row v;
		world_must(w, UNIT(w, catalog_create_version(&w->c, &m, in_order[i * 7 % VERSIONS], "", &v)));
	}
	struct page_request page = {.limit = 4};
	size_t seen = 0;
	for (bool more = true; more;) {
		struct version_row *rows;
		size_t count;
		world_must(w, catalog_list_versions(&w->c, &m, &page, &rows, &count, &more, NULL));
		for (size_t i = 0; i < count; i++)
			assert_string_equal(rows[i].version, in_order[seen++]);
		page.after = catalog_version_cursor(&w->c, &rows[count - 1]);
	}
	assert_int_equal(seen, VERSIONS);
	page = (struct page_request){.limit = 2, .descending = true};
	for (bool more = true; more;) {
		struct version_row *rows;
		size_t count;
		world_must(w, catalog_list_versions(&w->c, &m, &page, &rows, &count, &more, NULL));
		for (size_t i = 0; i < count; i++)
			assert_string_equal(rows[i].version, in_order[--seen]);
		page.after = catalog_version_cursor(&w->c, &rows[count - 1]);
	}
	assert_int_equal(seen, 0);
}

static void bad_versions_are_refused(void **state)
{
	struct world *w = *state;
	struct model_row m = model(w, "kws");
	struct version_row v;
	static const char *const bad[] = {"", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3 ", "1.2.3-a_b",
		"1.2.3-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(UNIT(w, catalog_create_version(&w->c, &m, bad[i], "", &v)), ERR_INVALID);
		assert_string_equal(w->fault.pointer, "/version");
	}
	world_must(w, UNIT(w, catalog_create_version(&w->c, &m, "1.2.3", "", &v)));
	assert_int_equal(UNIT(w, catalog_create_version(&w->c, &m, "1.2.3", "", &v)), ERR_CONFLICT);
	assert_int_equal(UNIT(w, catalog_delete_model(&w->c, &m)), ERR_CONFLICT); /* has versions */
}

static void bad_artifacts_are_refused(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	static const char hash[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
	char long_name[131];
	memset(long_name, 'a', 130);
	long_name[130] = '\0';
	const struct {
		struct artifact_input in;
		const char *pointer;
	} cases[] = {
		{{.hardware = "", .file_name = "f", .size_bytes = 1, .sha256 = hash}, "/hardware"},
		{{.hardware = "a b", .file_name = "f", .size_bytes = 1, .sha256 = hash}, "/hardware"},
		{{.hardware = "**", .file_name = "f", .size_bytes = 1, .sha256 = hash}, "/hardware"},
		{{.hardware = "*", .file_name = "", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "../f", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "a\\b", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "..", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "a\nb", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "\xc0\x80", .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = long_name, .size_bytes = 1, .sha256 = hash}, "/file_name"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 0, .sha256 = hash}, "/size_bytes"},
		{{.hardware = "*", .file_name = "f", .size_bytes = -1, .sha256 = hash}, "/size_bytes"},
		{{.hardware = "*", .file_name = "f", .size_bytes = (INT64_C(2) << 30) + 1, .sha256 = hash}, "/size_bytes"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"}, "/sha256"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = "../../../../../../../../../../../../../../../../../../etc/passwd"}, "/sha256"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .variant = "a b"}, "/variant"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "[]"}, "/declared"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "{\"formats\":\"tflite\"}"}, "/declared/formats"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "{\"format\":7}"}, "/declared/format"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "{\"requires\":{\"arena_bytes\":-1}}"}, "/declared/requires/arena_bytes"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "{\"quality\":{\"top 1\":0.9}}"}, "/declared/quality/top 1"},
		{{.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = hash, .declared = "{\"quality\":{\"top1\":[]}}"}, "/declared/quality/top1"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct artifact_row row;
		assert_int_equal(UNIT(w, catalog_declare_artifact(&w->c, &m, &v, &cases[i].in, &row)), ERR_INVALID);
		assert_string_equal(w->fault.pointer, cases[i].pointer);
	}
}

static void an_upload_makes_an_artifact_ready_and_final(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7), found;
	assert_string_equal(row.state, "uploading");
	world_must(w, world_put(w, row.id, "con", 3, 0, &found));
	assert_string_equal(found.state, "uploading");
	assert_int_equal(found.received_bytes, 3);
	world_must(w, world_put(w, row.id, "tent", 4, 3, &found));
	assert_string_equal(found.state, "ready");
	world_commit(w);
	world_must(w, catalog_find_artifact(&w->c, row.id, &found));
	assert_string_equal(found.state, "ready");
	assert_int_equal(found.received_bytes, 7);
	assert_int_equal(access(catalog_blob_path(&w->c, found.sha256), R_OK), 0);
	assert_int_equal(world_put(w, row.id, "content", 7, UPLOAD_WHOLE, NULL), ERR_CONFLICT);
	struct artifact_input again = {.hardware = "*", .file_name = "f", .size_bytes = 1, .sha256 = found.sha256};
	assert_int_equal(UNIT(w, catalog_declare_artifact(&w->c, &m, &v, &again, &row)), ERR_CONFLICT);
}

static void wrong_bytes_fail_and_may_be_sent_again(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7);
	assert_int_equal(world_put(w, row.id, "cOntent", 7, UPLOAD_WHOLE, NULL), ERR_INVALID);
	assert_non_null(strstr(w->fault.detail, "SHA-256"));
	world_must(w, catalog_find_artifact(&w->c, row.id, &row));
	assert_string_equal(row.state, "failed");
	assert_int_equal(row.received_bytes, 0);
	world_must(w, world_put(w, row.id, "content", 7, 0, &row));
	assert_string_equal(row.state, "ready");
}

/* The daemon is killed: nothing after the last commit is in the rows, everything written is in the file. */
static void a_restart_goes_on_from_the_row(void **state)
{
	struct world *w = *state;
	struct model_row m;
	enum { SIZE = 50000 };
	char *data = calloc(1, SIZE);
	data[SIZE - 1] = 1;
	w->limits.sync_bytes = 10000;
	world_close(w);
	world_open(w);
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", data, SIZE);
	struct upload *u = NULL;
	world_must(w, UNIT(w, catalog_begin_upload(&w->c, row.id, UPLOAD_WHOLE, SIZE, &u)));
	for (int at = 0; at < 25000; at += 1000) {
		world_must(w, catalog_write_upload(u, data + at, 1000, &w->fault));
		world_must(w, world_end_job(w, catalog_progress_job(u), NULL));
		world_commit(w);
	}
	world_close(w); /* as a kill: the request never ended */
	free(u);
	world_open(w);
	world_must(w, catalog_find_artifact(&w->c, row.id, &row));
	assert_int_equal(row.received_bytes, 20000);
	assert_int_equal(world_put(w, row.id, data, 1000, 25000, NULL), ERR_RANGE);
	world_must(w, world_put(w, row.id, data + 20000, SIZE - 20000, 20000, &row));
	assert_string_equal(row.state, "ready");
	free(data);
}

/* Killed after the content was renamed into the store and before the row was committed. */
static void a_kill_between_rename_and_commit(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7);
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	world_commit(w);
	world_must(w, UNIT(w, catalog_begin_upload(&w->c, row.id, UPLOAD_WHOLE, 7, &u)));
	world_must(w, catalog_write_upload(u, "content", 7, &w->fault));
	world_must(w, catalog_finish_upload(&w->c, u, &job));
	blob_job_run(job);
	assert_int_equal(job->result, ERR_OK);
	blob_job_free(job);
	world_close(w);
	world_open(w);
	world_must(w, catalog_find_artifact(&w->c, row.id, &row));
	assert_string_equal(row.state, "uploading");
	assert_int_equal(row.received_bytes, 0);
	world_must(w, world_put(w, row.id, "content", 7, 0, &row));
	assert_string_equal(row.state, "ready");
}

static void rows_that_were_rolled_back_leave_nothing(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	world_commit(w);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7);
	world_must(w, world_put(w, row.id, "con", 3, 0, &row));
	db_rollback(w->s.db); /* COMMIT failed */
	struct artifact_row other = world_declare(w, &m, &v, "*", "another one", 11);
	assert_int_equal(other.id, row.id); /* the number is used again */
	world_must(w, world_put(w, other.id, "another one", 11, 0, &other));
	assert_string_equal(other.state, "ready");
}

static void upkeep_drops_stale_uploads_and_unused_contents(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m), other = world_version(w, "kws", "model", "2.0.0", &m);
	struct artifact_row stale = world_declare(w, &m, &v, "a", "content", 7), gone;
	world_must(w, world_put(w, stale.id, "con", 3, 0, &stale));
	struct artifact_row one = world_artifact(w, &m, &v, "b", "same"), two = world_artifact(w, &m, &other, "b", "same");
	const char *path = catalog_blob_path(&w->c, one.sha256);
	world_must(w, UNIT(w, catalog_delete_artifact(&w->c, &one)));
	w->c.now_ms += 120000;
	world_must(w, UNIT(w, catalog_maintain(&w->c)));
	assert_int_equal(access(path, F_OK), 0); /* another artifact has it */
	world_must(w, UNIT(w, catalog_delete_version(&w->c, &m, &other)));
	assert_int_equal(catalog_find_artifact(&w->c, two.id, &gone), ERR_NOT_FOUND);
	world_must(w, UNIT(w, catalog_maintain(&w->c)));
	assert_int_equal(access(path, F_OK), 0); /* not before the deletion is durable */
	w->c.now_ms += 120000;
	world_must(w, UNIT(w, catalog_maintain(&w->c)));
	assert_int_not_equal(access(path, F_OK), 0);
	world_must(w, catalog_find_artifact(&w->c, stale.id, &gone));
	w->c.now_ms += w->limits.upload_age_ms;
	world_must(w, UNIT(w, catalog_maintain(&w->c)));
	assert_int_equal(catalog_find_artifact(&w->c, stale.id, &gone), ERR_NOT_FOUND);
}

static void deleted_while_it_is_verified(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7);
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	world_must(w, UNIT(w, catalog_begin_upload(&w->c, row.id, UPLOAD_WHOLE, 7, &u)));
	world_must(w, catalog_write_upload(u, "content", 7, &w->fault));
	world_must(w, catalog_finish_upload(&w->c, u, &job));
	blob_job_run(job);
	world_must(w, UNIT(w, catalog_delete_artifact(&w->c, &row)));
	enum err result;
	world_must(w, UNIT(w, catalog_end_job(&w->c, job, NULL, &result)));
	assert_int_equal(result, ERR_NOT_FOUND);
	w->c.now_ms += 120000;
	world_must(w, UNIT(w, catalog_maintain(&w->c)));
	assert_int_not_equal(access(catalog_blob_path(&w->c, row.sha256), F_OK), 0);
}

static void a_job_that_could_not_run_lets_go(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	struct artifact_row row = world_declare(w, &m, &v, "*", "content", 7);
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	world_must(w, UNIT(w, catalog_begin_upload(&w->c, row.id, UPLOAD_WHOLE, 7, &u)));
	world_must(w, catalog_write_upload(u, "content", 7, &w->fault));
	world_must(w, catalog_finish_upload(&w->c, u, &job));
	catalog_drop_job(&w->c, job, true);
	world_must(w, world_put(w, row.id, "", 0, UPLOAD_REST, &row)); /* every byte is there: only the end is repeated */
	assert_string_equal(row.state, "ready");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(models_are_made_edited_listed_deleted, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(bad_models_are_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(pages_of_models_meet_without_gaps, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(versions_are_listed_by_precedence, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(bad_versions_are_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(bad_artifacts_are_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(an_upload_makes_an_artifact_ready_and_final, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(wrong_bytes_fail_and_may_be_sent_again, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_restart_goes_on_from_the_row, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_kill_between_rename_and_commit, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(rows_that_were_rolled_back_leave_nothing, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(upkeep_drops_stale_uploads_and_unused_contents, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(deleted_while_it_is_verified, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_job_that_could_not_run_lets_go, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
