/* POST /rest/v1/softwaremodules/{id}/artifacts: a form with a file, which is received into a spool in constant memory, checked against the
 * digests that were given with it, and becomes an artifact. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/mgmt_rows.h"
#include "base/clock.h"
#include "base/str.h"
#include "core/multipart.h"
#include "net/http.h"
#include "net/jobs.h"
#include "service/spool.h"
#include "service/unit.h"

#define VALUE_MAX 256 /* of a field of the form that is no file */

/* Fields besides the file; also taken from the query. */
enum { FILE_NAME, MD5, SHA1, SHA256, VALUES };
static const char *const value_names[VALUES] = {"filename", "md5sum", "sha1sum", "sha256sum"};

struct uploading {
	struct api_request *rq;
	struct multipart form;
	struct spool *spool; /* NULL: the file has not come */
	bool is_in_file, has_file;
	int value;           /* the field that comes; -1: none that is known */
	size_t value_len;
	char values[VALUES][VALUE_MAX + 1];
	char file_name[MULTIPART_NAME_MAX];
	enum err error;      /* of a callback */
	int64_t module;
	/* after the last byte */
	struct blob_job *job;
	int64_t artifact;
};

/* ---- the form ---- */

static bool stop(struct uploading *u, enum err e)
{
	u->error = e;
	return false;
}

/* What stands behind the last slash: some clients send paths. */
static const char *base_name(const char *name)
{
	const char *slash = strrchr(name, '/'), *back = strrchr(name, '\\');
	const char *last = slash > back ? slash : back;
	return last != NULL ? last + 1 : name;
}

static bool on_part(void *ctx, const struct multipart_part *part)
{
	struct uploading *u = ctx;
	u->value = -1;
	u->is_in_file = strcmp(part->name, "file") == 0;
	if (u->is_in_file && u->has_file)
		return stop(u, mgmt_refuse(u->rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "the form has two fields named file"));
	if (u->is_in_file) {
		u->has_file = true;
		(void)!str_copy(u->file_name, sizeof u->file_name, base_name(part->file_name));
		enum err e = spool_open(&u->rq->call, &u->spool);
		return e == ERR_OK || stop(u, e);
	}
	for (int i = 0; i < VALUES; i++) {
		if (strcmp(part->name, value_names[i]) == 0)
			u->value = i;
	}
	u->value_len = 0;
	return true;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
	struct uploading *u = ctx;
	if (u->is_in_file) {
		enum err e = spool_write(u->spool, data, len, u->rq->call.fault);
		return e == ERR_OK || stop(u, e);
	}
	if (u->value < 0)
		return true;
	if (len > VALUE_MAX - u->value_len)
		return stop(u, mgmt_refuse(u->rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "field %s is longer than %d bytes", value_names[u->value], VALUE_MAX));
	memcpy(u->values[u->value] + u->value_len, data, len);
	u->value_len += len;
	u->values[u->value][u->value_len] = '\0';
	return true;
}

static bool on_part_end(void *ctx)
{
	(void)ctx;
	return true;
}

/* ---- the stream ---- */

static void uploading_free(struct uploading *u)
{
	spool_close(u->spool, false);
	free(u);
}

static enum err begin(struct api_request *rq, void **state)
{
	struct module_row module;
	enum err e = mgmt_find_module(rq, 0, &module);
	if (e == ERR_OK && module.deleted_at != 0)
		e = mgmt_no_such(rq, "SoftwareModule", rq->param[0]);
	if (e != ERR_OK)
		return e;
	struct uploading *u = calloc(1, sizeof *u);
	if (u == NULL)
		abort();
	u->rq = rq;
	u->module = module.id;
	if (!multipart_init(&u->form, http_header(rq->http, "Content-Type"))) {
		free(u);
		return mgmt_refuse(rq, MGMT_MEDIA_TYPE, ERR_MEDIA_TYPE, "Content-Type: multipart/form-data with a boundary is wanted");
	}
	for (int i = 0; i < VALUES; i++) {
		const char *value = api_query(rq, value_names[i]);
		if (value != NULL)
			(void)!str_copy(u->values[i], sizeof u->values[i], value);
	}
	*state = u;
	return ERR_OK;
}

static enum err chunk(struct api_request *rq, void *state, const void *data, size_t len)
{
	struct uploading *u = state;
	const struct multipart_handler h = {on_part, on_data, on_part_end, u};
	u->rq = rq;
	if (multipart_feed(&u->form, data, len, &h))
		return ERR_OK;
	if (u->error != ERR_OK)
		return u->error;
	return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "the form is broken: %s", u->form.error != NULL ? u->form.error : "it goes on");
}

static void abandon(struct api_request *rq, void *state)
{
	(void)rq;
	uploading_free(state);
}

/* ---- the end ---- */

static enum err check_digest(struct api_request *rq, const struct uploading *u, int which, enum mgmt_error error, const char *is)
{
	if (u->values[which][0] == '\0' || is == NULL || strcasecmp(u->values[which], is) == 0)
		return ERR_OK;
	return mgmt_refuse(rq, error, ERR_INVALID, "Upload of artifact failed as the provided %s checksum did not match with the provided artifact.",
		which == MD5 ? "MD5" : which == SHA1 ? "SHA1" : "SHA256");
}

/* Published: what was declared is compared; an artifact with other digests goes again. In a unit of its own. */
static enum err note_published(struct api_request *rq, struct uploading *u)
{
	struct artifact_row row;
	enum err result = ERR_OK;
	enum err e = unit_begin(rq->call.s, rq->call.fault);
	if (e != ERR_OK) {
		catalog_drop_job(&rq->call, u->job, false);
		return e;
	}
	e = catalog_end_job(&rq->call, u->job, &row, &result);
	if (e == ERR_OK && result == ERR_OK)
		e = catalog_find_artifact(&rq->call, u->artifact, &row);
	if (e == ERR_OK && result == ERR_OK) {
		result = check_digest(rq, u, MD5, MGMT_MD5, row.md5);
		if (result == ERR_OK)
			result = check_digest(rq, u, SHA1, MGMT_SHA1, row.sha1);
		if (result != ERR_OK)
			e = catalog_delete_artifact(&rq->call, &row);
	}
	e = unit_end(rq->call.s, e, rq->call.fault);
	if (e == ERR_OK && result == ERR_OK)
		mgmt_put_artifact(rq, u->module, &row);
	return e == ERR_OK ? result : e;
}

static void run(void *ctx)
{
	struct uploading *u = ctx;
	blob_job_run(u->job);
}

static void done(void *ctx)
{
	struct uploading *u = ctx;
	struct api_request *rq = u->rq;
	rq->call.now_ms = clock_wall_ms();
	enum err e = note_published(rq, u);
	uploading_free(u);
	api_finish(rq, e);
}

static enum err take_file(struct api_request *rq, struct uploading *u)
{
	char sha256[SHA256_HEX];
	struct module_row module;
	struct artifact_row row;
	const char *name = u->values[FILE_NAME][0] != '\0' ? u->values[FILE_NAME] : u->file_name;
	spool_digest(u->spool, sha256);
	enum err e = check_digest(rq, u, SHA256, MGMT_SHA256, sha256);
	if (e == ERR_OK)
		e = modules_get(&rq->call, u->module, &module);
	if (e == ERR_OK)
		e = modules_take_file(&rq->call, &module, arena_strdup(rq->call.arena, name), spool_path(u->spool), spool_size(u->spool),
			arena_strdup(rq->call.arena, sha256), &row, &u->job);
	if (e != ERR_OK)
		return e;
	u->artifact = row.id;
	return ERR_OK;
}

static enum err finish(struct api_request *rq, void *state)
{
	struct uploading *u = state;
	enum err e = ERR_OK;
	if (!multipart_is_complete(&u->form) || !u->has_file)
		e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "a complete form with a field named file is wanted");
	else if (spool_size(u->spool) == 0)
		e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "the file is empty");
	if (e == ERR_OK)
		e = take_file(rq, u);
	if (e == ERR_OK && jobs_submit(api_jobs(rq), run, done, u) != ERR_OK) {
		catalog_drop_job(&rq->call, u->job, true);
		e = fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "too much work is waiting for the disk");
	}
	if (e != ERR_OK) {
		uploading_free(u);
		return e;
	}
	spool_close(u->spool, true);
	u->spool = NULL;
	rq->deferred = true;
	return ERR_OK;
}

extern const struct route_stream mgmt_upload_stream;
const struct route_stream mgmt_upload_stream = {.begin = begin, .chunk = chunk, .finish = finish, .abort = abandon};
