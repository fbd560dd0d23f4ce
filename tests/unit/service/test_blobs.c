/* service/blobs on real files: uploads that are cut, wrong, doubled, or survive a restart; publishing; a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/blobs.h"

#define SIZE 100000
#define SYNC 10000

struct fix {
	char dir[64];
	struct blobs *b;
	struct fault f;
	char *data;
	char sha256[SHA256_HEX];
	struct blob_target t;
};

static void reopen(struct fix *x, int64_t received)
{
	blobs_close(x->b);
	assert_int_equal(blobs_open(x->dir, SYNC, 0, &x->b, &x->f), ERR_OK);
	x->t.received_bytes = received;
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof *x);
	strcpy(x->dir, "/tmp/aviary-blobs-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->data = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		x->data[i] = (char)(i * 2654435761u >> 13);
	crypto_sha256_hex(x->data, SIZE, x->sha256);
	x->t = (struct blob_target){.artifact = 7, .size_bytes = SIZE, .sha256 = x->sha256};
	reopen(x, 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	char command[128];
	blobs_close(x->b);
	snprintf(command, sizeof command, "rm -rf %s", x->dir);
	assert_int_equal(system(command), 0);
	free(x->data);
	free(x);
	return 0;
}

static struct upload *begin(struct fix *x, int64_t first, int64_t len)
{
	struct upload *u = NULL;
	enum err e = blobs_begin(x->b, &x->t, first, len, &u, &x->f);
	if (e != ERR_OK)
		fail_msg("%s: %s", err_name(e), x->f.detail);
	return u;
}

static void write_all(struct fix *x, struct upload *u, const char *data, size_t len)
{
	for (size_t at = 0; at < len; at += 777)
		assert_int_equal(blobs_write(u, data + at, len - at < 777 ? len - at : 777, &x->f), ERR_OK);
}

static enum err end(struct fix *x, struct upload *u)
{
	struct blob_job *job = NULL;
	enum err e = blobs_finish(u, &job, &x->f);
	if (e != ERR_OK || !job)
		return e;
	blob_job_run(job);
	e = job->result;
	x->f = job->fault;
	assert_true(blobs_job_done(x->b, job));
	blob_job_free(job);
	return e;
}

static void assert_published(struct fix *x)
{
	char path[256], back[SIZE + 1];
	assert_true(blobs_has(x->b, x->sha256, SIZE));
	blobs_path(x->b, x->sha256, path, sizeof path);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fread(back, 1, sizeof back, file), SIZE);
	assert_memory_equal(back, x->data, SIZE);
	fclose(file);
	snprintf(path, sizeof path, "%s/uploads/7.part", x->dir);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void whole_content_is_published(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, SIZE);
	assert_false(blobs_has(x->b, x->sha256, SIZE)); /* not before it is complete and checked */
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

static void parts_go_on_where_they_stopped(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, 0, 30000);
	write_all(x, u, x->data, 30000);
	assert_int_equal(end(x, u), ERR_OK);
	assert_int_equal(blobs_received(x->b, &x->t), 30000);
	assert_int_equal(blobs_begin(x->b, &x->t, 20000, 1000, &u, &x->f), ERR_RANGE);
	assert_non_null(strstr(x->f.detail, "30000"));
	assert_int_equal(blobs_begin(x->b, &x->t, 30000, SIZE, &u, &x->f), ERR_INVALID); /* would reach beyond the end */
	u = begin(x, 30000, SIZE - 30000);
	write_all(x, u, x->data + 30000, SIZE - 30000);
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

static void a_cut_keeps_what_came(void **state)
{
	struct fix *x = *state;
	struct blob_job *job = NULL;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 12345);
	blobs_abort(u, &job);
	assert_non_null(job);
	assert_int_equal(job->received_bytes, 12345);
	blob_job_run(job);
	assert_int_equal(job->result, ERR_OK);
	assert_true(blobs_job_done(x->b, job));
	blob_job_free(job);
	u = begin(x, 12345, SIZE - 12345);
	write_all(x, u, x->data + 12345, SIZE - 12345);
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

/* The row knew of 20000 durable bytes; the file got more before the daemon was killed. */
static void a_restart_goes_on_from_what_is_durable(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 50000);
	reopen(x, 20000); /* closes with the upload open, as a kill does */
	free(u);
	assert_int_equal(blobs_received(x->b, &x->t), 20000);
	u = begin(x, 20000, SIZE - 20000);
	write_all(x, u, x->data + 20000, SIZE - 20000);
	assert_int_equal(end(x, u), ERR_OK); /* the job hashes the whole file */
	assert_published(x);
}

static void all_came_before_a_restart(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, SIZE);
	reopen(x, SIZE);
	free(u);
	u = begin(x, UPLOAD_REST, 0);
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

static void damage_before_a_restart_is_found(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 20000);
	reopen(x, 20000);
	free(u);
	char path[128];
	snprintf(path, sizeof path, "%s/uploads/7.part", x->dir);
	FILE *file = fopen(path, "r+b");
	fputc(x->data[0] ^ 1, file);
	fclose(file);
	u = begin(x, 20000, SIZE - 20000);
	write_all(x, u, x->data + 20000, SIZE - 20000);
	assert_int_equal(end(x, u), ERR_INVALID);
	assert_false(blobs_has(x->b, x->sha256, SIZE));
	x->t.received_bytes = 0;
	assert_int_equal(blobs_received(x->b, &x->t), 0);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void wrong_bytes_are_dropped(void **state)
{
	struct fix *x = *state;
	x->data[99] ^= 1;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, SIZE);
	assert_int_equal(end(x, u), ERR_INVALID);
	assert_non_null(strstr(x->f.detail, "SHA-256"));
	assert_false(blobs_has(x->b, x->sha256, SIZE));
	assert_int_equal(blobs_received(x->b, &x->t), 0);
	x->data[99] ^= 1;
	u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, SIZE);
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

static void too_much_is_refused(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, 0, 1000);
	assert_int_equal(blobs_write(u, x->data, 1001, &x->f), ERR_TOO_LARGE);
	assert_int_equal(end(x, u), ERR_OK); /* nothing had come */
	assert_int_equal(blobs_begin(x->b, &x->t, UPLOAD_WHOLE, SIZE - 1, &u, &x->f), ERR_INVALID);
}

static void the_newer_upload_wins(void **state)
{
	struct fix *x = *state;
	struct upload *old = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, old, x->data, 5000);
	struct upload *next = begin(x, 5000, SIZE - 5000);
	assert_int_equal(blobs_write(old, "x", 1, &x->f), ERR_CONFLICT);
	write_all(x, next, x->data + 5000, SIZE - 5000);
	assert_int_equal(end(x, old), ERR_CONFLICT);
	assert_int_equal(end(x, next), ERR_OK);
	assert_published(x);
}

/* A job of bytes that were thrown away since must not tell anything about the new ones. */
static void an_overtaken_job_does_not_count(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 15000);
	struct blob_job *job = blobs_progress_job(u);
	assert_non_null(job);
	assert_null(blobs_progress_job(u)); /* one at a time */
	blob_job_run(job);
	struct upload *anew = begin(x, UPLOAD_WHOLE, SIZE);
	assert_false(blobs_job_done(x->b, job));
	blob_job_free(job);
	blobs_abort(u, &job);
	assert_null(job);
	write_all(x, anew, x->data, SIZE);
	assert_int_equal(end(x, anew), ERR_OK);
	assert_published(x);
}

static void nothing_else_while_it_is_verified(void **state)
{
	struct fix *x = *state;
	struct blob_job *job = NULL;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, SIZE);
	assert_int_equal(blobs_finish(u, &job, &x->f), ERR_OK);
	assert_true(blobs_is_busy(x->b, 7));
	assert_int_equal(blobs_begin(x->b, &x->t, UPLOAD_WHOLE, SIZE, &u, &x->f), ERR_CONFLICT);
	blob_job_run(job);
	assert_true(blobs_job_done(x->b, job));
	blob_job_free(job);
	assert_published(x);
}

/* The limit of file sizes stands for a full disk: the same short write and then an error. */
static void a_full_disk_keeps_what_fits(void **state)
{
	struct fix *x = *state;
	struct rlimit before, small;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 7770);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small = (struct rlimit){.rlim_cur = 8000, .rlim_max = before.rlim_max};
	setrlimit(RLIMIT_FSIZE, &small);
	enum err e = blobs_write(u, x->data + 7770, 777, &x->f);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(e, ERR_UNAVAILABLE); /* EFBIG; ENOSPC is ERR_FULL */
	struct stat st;
	char path[128];
	snprintf(path, sizeof path, "%s/uploads/7.part", x->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 7770);
	write_all(x, u, x->data + 7770, SIZE - 7770);
	assert_int_equal(end(x, u), ERR_OK);
	assert_published(x);
}

static void no_room_is_said_before_a_byte_comes(void **state)
{
	struct fix *x = *state;
	struct upload *u = NULL;
	blobs_close(x->b);
	assert_int_equal(blobs_open(x->dir, SYNC, INT64_C(1) << 60, &x->b, &x->f), ERR_OK);
	assert_int_equal(blobs_begin(x->b, &x->t, UPLOAD_WHOLE, SIZE, &u, &x->f), ERR_FULL);
}

static void the_idlest_is_forgotten_the_busy_are_not(void **state)
{
	struct fix *x = *state;
	struct upload *all[BLOBS_PARTS_MAX], *one = NULL;
	for (int i = 0; i < BLOBS_PARTS_MAX; i++) {
		x->t.artifact = 100 + i;
		all[i] = begin(x, 0, SIZE);
	}
	x->t.artifact = 99;
	assert_int_equal(blobs_begin(x->b, &x->t, 0, SIZE, &one, &x->f), ERR_TOO_MANY);
	struct blob_job *job = NULL;
	blobs_abort(all[5], &job);
	assert_null(job);
	one = begin(x, 0, SIZE);
	for (int i = 0; i < BLOBS_PARTS_MAX; i++) {
		if (i != 5)
			blobs_abort(all[i], &job);
	}
	blobs_abort(one, &job);
}

static void a_deleted_artifact_ends_its_upload(void **state)
{
	struct fix *x = *state;
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	write_all(x, u, x->data, 1000);
	blobs_forget(x->b, 7);
	assert_int_equal(blobs_write(u, "x", 1, &x->f), ERR_CONFLICT);
	assert_int_equal(end(x, u), ERR_CONFLICT);
}

static bool keep_seven(void *ctx, int64_t artifact)
{
	(void)ctx;
	return artifact == 7;
}

static bool keep_known(void *ctx, const char *sha256)
{
	return strcmp(sha256, ctx) == 0;
}

static void a_sweep_removes_what_nobody_knows(void **state)
{
	struct fix *x = *state;
	char path[128];
	whole_content_is_published(state);
	struct upload *u = begin(x, UPLOAD_WHOLE, SIZE);
	x->t.artifact = 8;
	struct upload *v = begin(x, UPLOAD_WHOLE, SIZE);
	struct blob_job *job;
	blobs_abort(u, &job);
	blobs_abort(v, &job);
	snprintf(path, sizeof path, "%s/uploads/8.part", x->dir);
	assert_int_equal(access(path, F_OK), 0);
	blobs_sweep(x->b, &(struct blobs_keep){.part = keep_seven, .blob = keep_known, .ctx = x->sha256});
	assert_int_not_equal(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/uploads/7.part", x->dir);
	assert_int_equal(access(path, F_OK), 0);
	assert_true(blobs_has(x->b, x->sha256, SIZE));
	char other[] = "no";
	blobs_sweep(x->b, &(struct blobs_keep){.part = keep_seven, .blob = keep_known, .ctx = other});
	assert_false(blobs_has(x->b, x->sha256, SIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_content_is_published, setup, teardown),
		cmocka_unit_test_setup_teardown(parts_go_on_where_they_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_keeps_what_came, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_goes_on_from_what_is_durable, setup, teardown),
		cmocka_unit_test_setup_teardown(all_came_before_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_before_a_restart_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_bytes_are_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_newer_upload_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(an_overtaken_job_does_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_else_while_it_is_verified, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_keeps_what_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_is_said_before_a_byte_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_idlest_is_forgotten_the_busy_are_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deleted_artifact_ends_its_upload, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sweep_removes_what_nobody_knows, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
