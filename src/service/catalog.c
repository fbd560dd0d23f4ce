#include "service/catalog.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/names.h"
#include "core/semver.h"
#include "service/access.h"
#include "service/compats.h"
#include "service/inspect.h"
#include "service/signing.h"
#include "store/module_store.h"
#include "store/release_store.h"

#define TEXT_MAX 1024          /* a description or notes: for people, shown in lists */
#define FILE_NAME_MAX 128      /* devices keep it */
#define VARIANTS_MAX 64        /* artifacts of a version: all are in each manifest, which has 16 KiB */
#define PRECEDENCE_MAX 512     /* of a version of 64 bytes: each identifier grows by 4 */
#define MAINTAIN_ROWS 100      /* rows of each kind a round */
#define GARBAGE_AGE_MS 60000   /* by then the change is durable, or the daemon ended and swept */
#define BLOB_PATH_TAIL 80
#define PART_PATH_BYTES 1100

const struct catalog_limits catalog_limits_default = {
	.artifact_bytes_max = INT64_C(2) << 30,
	.upload_age_ms = INT64_C(7) * 24 * 3600 * 1000,
	.sync_bytes = 8 << 20,
	.reserve_bytes = 64 << 20,
};

struct catalog {
	char *state_dir;
	struct catalog_limits limits;
	struct manifest_times manifest_times;
	struct inspect_turn inspect_turn;
	struct catalog_store *store;
	struct release_store *releases;
	struct module_store *modules;
	struct blobs *blobs;
	struct signing *signing;
};

/* ---- opening ---- */

static bool keep_part(void *ctx, int64_t artifact)
{
	struct catalog *c = ctx;
	struct arena *a = arena_new(1 << 16);
	struct artifact_row row;
	enum err e = catalog_store_find_artifact(c->store, artifact, a, &row, NULL);
	bool keep = e == ERR_OK ? strcmp(row.state, "ready") != 0 : e != ERR_NOT_FOUND;
	arena_free(a);
	return keep;
}

static bool keep_blob(void *ctx, const char *sha256)
{
	struct catalog *c = ctx;
	bool used = true;
	return catalog_store_blob_is_used(c->store, sha256, &used, NULL) != ERR_OK || used;
}

enum err catalog_open(struct db *db, const char *state_dir, const struct catalog_limits *limits, struct catalog **out, struct fault *f)
{
	struct catalog *c = calloc(1, sizeof *c);
	if (!c)
		abort();
	c->limits = limits ? *limits : catalog_limits_default;
	c->state_dir = strdup(state_dir);
	if (!c->state_dir)
		abort();
	enum err e = catalog_store_open(db, &c->store, f);
	if (e == ERR_OK)
		e = release_store_open(db, &c->releases, f);
	if (e == ERR_OK)
		e = module_store_open(db, &c->modules, f);
	if (e == ERR_OK)
		e = signing_open(state_dir, &c->signing, f);
	if (e == ERR_OK)
		e = blobs_open(state_dir, c->limits.sync_bytes, c->limits.reserve_bytes, &c->blobs, f);
	if (e != ERR_OK) {
		catalog_close(c);
		return e;
	}
	blobs_sweep(c->blobs, &(struct blobs_keep){.part = keep_part, .blob = keep_blob, .ctx = c});
	*out = c;
	return ERR_OK;
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	blobs_close(c->blobs);
	signing_close(c->signing);
	module_store_close(c->modules);
	release_store_close(c->releases);
	catalog_store_close(c->store);
	free(c->state_dir);
	free(c);
}

const struct catalog_limits *catalog_limits_of(const struct catalog *c)
{
	return &c->limits;
}

int64_t catalog_manifest_life_ms(const struct catalog *c)
{
	return c->limits.manifest_life_ms;
}

struct manifest_times *catalog_manifest_times(struct catalog *c)
{
	return &c->manifest_times;
}

struct inspect_turn *catalog_inspect_turn(struct catalog *c)
{
	return &c->inspect_turn;
}

struct release_store *catalog_releases(struct catalog *c)
{
	return c->releases;
}

struct module_store *catalog_modules(struct catalog *c)
{
	return c->modules;
}

struct catalog_store *catalog_rows(struct catalog *c)
{
	return c->store;
}

const struct signing *catalog_signing(const struct catalog *c)
{
	return c->signing;
}

/* ---- words of refusal, and the books ---- */

static enum err not_found(struct call *c, enum err e, const char *what, const char *name)
{
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no %s %s", what, name) : e;
}

static enum err text_check(struct call *c, const char *pointer, const char *text)
{
	size_t len = strlen(text);
	if (len > TEXT_MAX)
		return fault_set(c->fault, ERR_INVALID, pointer, "longer than %d bytes", TEXT_MAX);
	if (!str_is_utf8(text, len))
		return fault_set(c->fault, ERR_INVALID, pointer, "not valid UTF-8");
	return ERR_OK;
}

static const char *resource_of(struct call *c, const char *fmt, ...) AVIARY_PRINTF(2, 3);
static const char *resource_of(struct call *c, const char *fmt, ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return arena_strdup(c->arena, text);
}

static const char *model_json(struct call *c, const struct model_row *m)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", m->name);
	json_str(&b, "kind", m->kind);
	json_str(&b, "description", m->description);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static const char *artifact_json(struct call *c, const struct artifact_row *r)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "id", r->id);
	json_str(&b, "hardware", r->hardware);
	if (r->variant != NULL && r->variant[0] != '\0')
		json_str(&b, "variant", r->variant);
	json_str(&b, "file_name", r->file_name);
	json_int(&b, "size_bytes", r->size_bytes);
	json_str(&b, "sha256", r->sha256);
	json_str(&b, "state", r->state);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* ---- models ---- */

enum err catalog_create_model(struct call *c, const struct model_input *in, struct model_row *out)
{
	struct catalog *cat = c->s->catalog;
	*out = (struct model_row){.name = in->name, .kind = in->kind ? in->kind : "model", .description = in->description ? in->description : "",
	                          .revision = 1, .created_at = c->now_ms, .updated_at = c->now_ms};
	if (!str_is_name(out->name))
		return fault_set(c->fault, ERR_INVALID, "/name", "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit");
	if (strcmp(out->kind, "model") != 0 && strcmp(out->kind, "firmware") != 0)
		return fault_set(c->fault, ERR_INVALID, "/kind", "model or firmware is expected");
	enum err e = text_check(c, "/description", out->description);
	if (e != ERR_OK)
		return e;
	e = catalog_store_insert_model(cat->store, out, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/name", "there is a model %s already", out->name);
	return e == ERR_OK ? audit_append(c, "model.create", resource_of(c, "models/%s", out->name), NULL, model_json(c, out)) : e;
}

enum err catalog_find_model(struct call *c, const char *name, struct model_row *out)
{
	return not_found(c, catalog_store_find_model(c->s->catalog->store, name, c->arena, out, c->fault), "model", name);
}

enum err catalog_get_model(struct call *c, int64_t id, struct model_row *out)
{
	enum err e = catalog_store_get_model(c->s->catalog->store, id, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no model %lld", (long long)id) : e;
}

enum err catalog_edit_model(struct call *c, const struct model_row *row, const char *description, struct model_row *out)
{
	struct model_row next = *row;
	next.description = description ? description : row->description;
	next.revision++;
	next.updated_at = c->now_ms;
	enum err e = text_check(c, "/description", next.description);
	if (e == ERR_OK)
		e = catalog_store_update_model(c->s->catalog->store, &next, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "model.update", resource_of(c, "models/%s", row->name), model_json(c, row), model_json(c, &next));
	*out = next;
	return e;
}

enum err catalog_delete_model(struct call *c, const struct model_row *row)
{
	enum err e = catalog_store_delete_model(c->s->catalog->store, row->id, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "", "model %s has versions: delete them first", row->name);
	return e == ERR_OK ? audit_append(c, "model.delete", resource_of(c, "models/%s", row->name), model_json(c, row), NULL) : e;
}

/* Asks the store for one row more than the page has, which tells whether there is a next page. */
static struct page_request one_more(const struct page_request *page)
{
	struct page_request q = *page;
	assert(q.limit >= 1);
	q.limit++;
	return q;
}

static bool cut(const struct page_request *page, size_t *count)
{
	bool more = *count > (size_t)page->limit;
	if (more)
		*count = (size_t)page->limit;
	return more;
}

enum err catalog_list_models(struct call *c, const struct page_request *page, struct model_row **rows, size_t *count, bool *more, int64_t *total)
{
	struct catalog_store *store = c->s->catalog->store;
	struct page_request q = one_more(page);
	enum err e = catalog_store_list_models(store, &q, c->arena, rows, count, c->fault);
	if (e == ERR_OK && total)
		e = catalog_store_count_models(store, total, c->fault);
	*more = e == ERR_OK && cut(page, count);
	return e;
}

/* ---- versions ---- */

/* A text whose byte order is SemVer precedence (section 11). A numeric identifier is its length in two digits and its digits; one
 * with letters begins with 'a' (above all numeric ones) and ends with a space, below everything it may contain. The list ends with
 * '!', below every identifier ("more fields win"); no list at all is '~', above every list. */
static void precedence_of(const struct semver *v, char out[PRECEDENCE_MAX])
{
	struct buf b = BUF_INIT;
	const struct slice numbers[] = {v->major, v->minor, v->patch};
	for (size_t i = 0; i < 3; i++)
		buf_printf(&b, "%02zu%.*s", numbers[i].len, (int)numbers[i].len, numbers[i].data);
	for (size_t at = 0; v->pre.len > 0 && at <= v->pre.len;) {
		const char *id = v->pre.data + at, *dot = memchr(id, '.', v->pre.len - at);
		int len = (int)(dot ? (size_t)(dot - id) : v->pre.len - at);
		if (strspn(id, "0123456789") >= (size_t)len)
			buf_printf(&b, "%02d%.*s", len, len, id);
		else
			buf_printf(&b, "a%.*s ", len, id);
		at += (size_t)len + 1;
	}
	buf_str(&b, v->pre.len > 0 ? "!" : "~");
	bool fits = str_copy(out, PRECEDENCE_MAX, buf_cstr(&b));
	assert(fits);
	buf_done(&b);
}

enum err catalog_create_version(struct call *c, const struct model_row *model, const char *version, const char *notes, struct version_row *out)
{
	struct semver v;
	size_t len = strlen(version);
	if (len >= NAME_BYTES || !semver_parse(version, len, &v))
		return fault_set(c->fault, ERR_INVALID, "/version", "a semantic version of at most 64 bytes is expected, as 1.4.2 or 2.0.0-rc.1");
	char precedence[PRECEDENCE_MAX];
	precedence_of(&v, precedence);
	*out = (struct version_row){.model = model->id, .version = version, .precedence = arena_strdup(c->arena, precedence),
	                            .notes = notes ? notes : "", .created_at = c->now_ms};
	enum err e = text_check(c, "/notes", out->notes);
	if (e == ERR_OK)
		e = catalog_store_insert_version(c->s->catalog->store, out, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/version", "model %s has a version %s already", model->name, version);
	if (e != ERR_OK)
		return e;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "version", version);
	json_str(&b, "notes", out->notes);
	json_close_object(&b);
	e = audit_append(c, "version.create", resource_of(c, "models/%s/versions/%s", model->name, version), NULL, buf_cstr(&b));
	buf_done(&b);
	return e;
}

enum err catalog_find_version(struct call *c, const struct model_row *model, const char *version, struct version_row *out)
{
	enum err e = catalog_store_find_version(c->s->catalog->store, model->id, version, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "model %s has no version %s", model->name, version) : e;
}

static enum err drop_artifact(struct call *c, const struct artifact_row *row)
{
	struct catalog *cat = c->s->catalog;
	enum err e = catalog_store_delete_artifact(cat->store, row->id, c->fault);
	if (e == ERR_OK)
		e = catalog_store_add_garbage(cat->store, row->sha256, c->now_ms, c->fault);
	if (e == ERR_OK)
		blobs_forget(cat->blobs, row->id);
	return e;
}

enum err catalog_delete_version(struct call *c, const struct model_row *model, const struct version_row *row)
{
	struct catalog *cat = c->s->catalog;
	bool released = false;
	struct artifact_row *artifacts = NULL;
	size_t count = 0;
	enum err e = catalog_store_version_is_released(cat->store, row->id, &released, c->fault);
	if (e == ERR_OK && released)
		return fault_set(c->fault, ERR_CONFLICT, "", "a release holds version %s of model %s", row->version, model->name);
	if (e == ERR_OK)
		e = catalog_store_list_artifacts(cat->store, row->id, c->arena, &artifacts, &count, c->fault);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = drop_artifact(c, &artifacts[i]);
	if (e == ERR_OK)
		e = catalog_store_delete_version(cat->store, row->id, c->fault);
	if (e != ERR_OK)
		return e;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "version", row->version);
	json_int(&b, "artifacts", (int64_t)count);
	json_close_object(&b);
	e = audit_append(c, "version.delete", resource_of(c, "models/%s/versions/%s", model->name, row->version), buf_cstr(&b), NULL);
	buf_done(&b);
	return e;
}

enum err catalog_list_versions(struct call *c, const struct model_row *model, const struct page_request *page, struct version_row **rows,
	size_t *count, bool *more, int64_t *total)
{
	struct catalog_store *store = c->s->catalog->store;
	struct page_request q = one_more(page);
	enum err e = catalog_store_list_versions(store, model->id, &q, c->arena, rows, count, c->fault);
	if (e == ERR_OK && total)
		e = catalog_store_count_versions(store, model->id, total, c->fault);
	*more = e == ERR_OK && cut(page, count);
	return e;
}

const char *catalog_version_cursor(struct call *c, const struct version_row *row)
{
	return arena_printf(c->arena, "%s %s", row->precedence, row->version);
}

/* ---- artifacts ---- */

static bool is_file_name(const char *s)
{
	size_t len = strlen(s);
	if (len < 1 || len > FILE_NAME_MAX || strcmp(s, ".") == 0 || strcmp(s, "..") == 0 || !str_is_utf8(s, len))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)s[i];
		if (ch < 0x20 || ch == 0x7f || ch == '/' || ch == '\\')
			return false;
	}
	return true;
}

static enum err check_artifact(struct call *c, const struct artifact_input *in)
{
	int64_t max = c->s->catalog->limits.artifact_bytes_max;
	if (strcmp(in->hardware, "*") != 0 && !str_is_name(in->hardware))
		return fault_set(c->fault, ERR_INVALID, "/hardware", "a hardware class (1 to 64 letters, digits, '.', '_', '-') or * is expected");
	if (!is_file_name(in->file_name))
		return fault_set(c->fault, ERR_INVALID, "/file_name", "1 to %d bytes of UTF-8 without slashes and control characters are expected",
		                 FILE_NAME_MAX);
	if (in->variant != NULL && in->variant[0] != '\0' && !str_is_name(in->variant))
		return fault_set(c->fault, ERR_INVALID, "/variant", "a name (1 to 64 letters, digits, '.', '_', '-') is expected, as int8");
	if (in->size_bytes < 1 || in->size_bytes > max)
		return fault_set(c->fault, ERR_INVALID, "/size_bytes", "1 to %lld is expected", (long long)max);
	if (!str_is_hex(in->sha256, SHA256_HEX - 1))
		return fault_set(c->fault, ERR_INVALID, "/sha256", "64 lower-case hex digits are expected");
	return ERR_OK;
}

enum err catalog_declare_artifact(struct call *c, const struct model_row *model, const struct version_row *version,
	const struct artifact_input *in, struct artifact_row *out)
{
	struct catalog *cat = c->s->catalog;
	struct artifact_row *there = NULL;
	size_t count = 0;
	const char *variant = in->variant != NULL ? in->variant : "", *declared = NULL;
	enum err e = check_artifact(c, in);
	if (e == ERR_OK)
		e = inspect_check_declared(in->declared, c->arena, &declared, c->fault);
	if (e == ERR_OK)
		e = catalog_store_list_artifacts(cat->store, version->id, c->arena, &there, &count, c->fault);
	if (e == ERR_OK && count >= VARIANTS_MAX)
		return fault_set(c->fault, ERR_CONFLICT, "", "a version has at most %d artifacts", VARIANTS_MAX);
	if (e != ERR_OK)
		return e;
	*out = (struct artifact_row){.version = version->id, .hardware = in->hardware, .file_name = in->file_name, .size_bytes = in->size_bytes,
		.sha256 = in->sha256, .state = "uploading", .created_at = c->now_ms, .updated_at = c->now_ms, .model_name = model->name,
		.version_text = version->version, .model_kind = model->kind, .variant = variant, .declared = declared, .facts_state = "none"};
	for (size_t i = 0; i < count; i++) {
		bool is_same = in->is_one_of_several ? strcmp(there[i].file_name, in->file_name) == 0 :
			strcmp(there[i].hardware, in->hardware) == 0 && strcmp(there[i].variant, variant) == 0;
		if (is_same)
			return fault_set(c->fault, ERR_CONFLICT, in->is_one_of_several ? "/file_name" : "/hardware",
				"version %s of model %s has an artifact for %s%s%s already", version->version, model->name, in->hardware,
				variant[0] != '\0' ? ", variant " : "", variant);
	}
	e = catalog_store_insert_artifact(cat->store, out, c->fault);
	return e == ERR_OK ? audit_append(c, "artifact.create", resource_of(c, "artifacts/%lld", (long long)out->id), NULL, artifact_json(c, out)) : e;
}

static struct blob_target target_of(const struct artifact_row *row)
{
	return (struct blob_target){.artifact = row->id, .size_bytes = row->size_bytes, .received_bytes = row->received_bytes, .sha256 = row->sha256};
}

/* Memory and the file know better than the row how far an upload is; the row knows what is surely durable. */
static void note_received(const struct catalog *cat, struct artifact_row *row)
{
	struct blob_target t = target_of(row);
	if (strcmp(row->state, "ready") != 0)
		row->received_bytes = blobs_received(cat->blobs, &t);
}

static enum err read_artifact(struct call *c, int64_t id, struct artifact_row *out)
{
	enum err e = catalog_store_find_artifact(c->s->catalog->store, id, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no artifact %lld", (long long)id) : e;
}

enum err catalog_find_artifact(struct call *c, int64_t id, struct artifact_row *out)
{
	enum err e = read_artifact(c, id, out);
	if (e == ERR_OK)
		note_received(c->s->catalog, out);
	return e;
}

enum err catalog_list_artifacts(struct call *c, const struct version_row *version, struct artifact_row **rows, size_t *count)
{
	enum err e = catalog_store_list_artifacts(c->s->catalog->store, version->id, c->arena, rows, count, c->fault);
	for (size_t i = 0; e == ERR_OK && i < *count; i++)
		note_received(c->s->catalog, &(*rows)[i]);
	return e;
}

enum err catalog_delete_artifact(struct call *c, const struct artifact_row *row)
{
	bool released = false;
	enum err e = catalog_store_artifact_is_released(c->s->catalog->store, row->id, &released, c->fault);
	if (e == ERR_OK && released)
		return fault_set(c->fault, ERR_CONFLICT, "", "a release holds artifact %lld", (long long)row->id);
	if (e == ERR_OK)
		e = drop_artifact(c, row);
	return e == ERR_OK ? audit_append(c, "artifact.delete", resource_of(c, "artifacts/%lld", (long long)row->id), artifact_json(c, row), NULL) : e;
}

const char *catalog_blob_path(struct call *c, const char *sha256)
{
	const struct catalog *cat = c->s->catalog;
	size_t size = strlen(cat->state_dir) + BLOB_PATH_TAIL;
	char *path = arena_alloc(c->arena, size);
	blobs_path(cat->blobs, sha256, path, size);
	return path;
}

/* ---- uploads ---- */

enum err catalog_begin_upload(struct call *c, int64_t artifact, int64_t first, int64_t len, struct upload **out)
{
	struct catalog *cat = c->s->catalog;
	struct artifact_row row;
	enum err e = read_artifact(c, artifact, &row);
	if (e != ERR_OK)
		return e;
	if (strcmp(row.state, "ready") == 0)
		return fault_set(c->fault, ERR_CONFLICT, "", "the artifact is complete, and contents never change");
	if (first == UPLOAD_WHOLE || strcmp(row.state, "failed") == 0) {
		e = catalog_store_set_artifact(cat->store, row.id, "uploading", first == UPLOAD_WHOLE ? 0 : row.received_bytes, c->now_ms, c->fault);
		if (e != ERR_OK)
			return e;
	}
	struct blob_target t = target_of(&row);
	return blobs_begin(cat->blobs, &t, first, len, out, c->fault);
}

enum err catalog_write_upload(struct upload *u, const void *data, size_t len, struct fault *f)
{
	return blobs_write(u, data, len, f);
}

/* What is published is read, too. */
static enum err add_inspection(struct call *c, struct blob_job *job)
{
	struct artifact_row row;
	if (job == NULL || job->kind != BLOB_PUBLISH)
		return ERR_OK;
	enum err e = read_artifact(c, job->artifact, &row);
	if (e == ERR_OK)
		job->inspection = inspection_new(row.declared, strcmp(row.model_kind, "firmware") == 0);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err catalog_finish_upload(struct call *c, struct upload *u, struct blob_job **job)
{
	enum err e = blobs_finish(u, job, c->fault);
	if (e != ERR_OK)
		return e;
	e = add_inspection(c, *job);
	if (e == ERR_OK)
		return e;
	catalog_drop_job(c, *job, true);
	*job = NULL;
	return e;
}

/* As an upload that was cut after its last byte: what is still to be done is what the end of one does. */
enum err catalog_take_file(struct call *c, const struct artifact_row *row, const char *path, struct blob_job **job)
{
	struct catalog *cat = c->s->catalog;
	struct upload *u;
	char part[PART_PATH_BYTES];
	*job = NULL;
	snprintf(part, sizeof part, "%s/uploads/%lld.part", cat->state_dir, (long long)row->id);
	if (rename(path, part) != 0)
		return fault_set(c->fault, ERR_UNAVAILABLE, "", "cannot take over an upload: %s", strerror(errno));
	struct artifact_row whole = *row;
	whole.received_bytes = row->size_bytes;
	enum err e = catalog_store_set_artifact(cat->store, row->id, "uploading", row->size_bytes, c->now_ms, c->fault);
	struct blob_target t = target_of(&whole);
	if (e == ERR_OK)
		e = blobs_begin(cat->blobs, &t, UPLOAD_REST, 0, &u, c->fault);
	return e == ERR_OK ? catalog_finish_upload(c, u, job) : e;
}

void catalog_abort_upload(struct call *c, struct upload *u, struct blob_job **job)
{
	(void)c;
	blobs_abort(u, job);
}

struct blob_job *catalog_progress_job(struct upload *u)
{
	return blobs_progress_job(u);
}

static enum err note_ready(struct call *c, struct artifact_row *row)
{
	enum err e = catalog_store_set_artifact(c->s->catalog->store, row->id, "ready", row->size_bytes, c->now_ms, c->fault);
	row->state = "ready";
	row->received_bytes = row->size_bytes;
	row->updated_at = c->now_ms;
	const char *resource = resource_of(c, "artifacts/%lld", (long long)row->id);
	if (e == ERR_OK)
		e = audit_append(c, "artifact.publish", resource, NULL, artifact_json(c, row));
	if (e == ERR_OK)
		e = event_append(c, "artifact.ready", resource, artifact_json(c, row));
	return e;
}

enum err catalog_artifact_facts(struct call *c, const struct artifact_row *row, const char **json)
{
	*json = NULL;
	return catalog_store_facts(c->s->catalog->store, row->id, c->arena, json, c->fault);
}

static const char *copy_of(struct call *c, const char *text)
{
	return text != NULL ? arena_strdup(c->arena, text) : NULL;
}

enum err catalog_note_facts(struct call *c, struct artifact_row *row, const struct inspection *found)
{
	bool is_refused = found->state == FACTS_REFUSED;
	compats_forget(c->s->compats);
	row->facts_state = facts_state_text(found->state);
	row->facts_summary = copy_of(c, found->summary);
	row->facts_error = is_refused ? copy_of(c, found->error) : NULL;
	row->requires = is_refused ? NULL : copy_of(c, found->requires);
	struct artifact_facts facts = {.state = row->facts_state, .facts = is_refused ? NULL : found->facts, .summary = row->facts_summary,
		.error = row->facts_error, .requires = row->requires};
	enum err e = catalog_store_set_facts(c->s->catalog->store, row->id, &facts, c->fault);
	if (e != ERR_OK || !is_refused)
		return e;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "id", row->id);
	json_str(&b, "model", row->model_name);
	json_str(&b, "version", row->version_text);
	json_str(&b, "reason", row->facts_error);
	json_close_object(&b);
	e = event_append(c, "artifact.refused", resource_of(c, "artifacts/%lld", (long long)row->id), buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* The bytes are those that were declared, but no model that anything could run: the artifact stays for people to see why. */
static enum err note_refused(struct call *c, struct blob_job *job, struct artifact_row *row)
{
	row->received_bytes = 0;
	row->updated_at = c->now_ms;
	job->result = fault_set(&job->fault, ERR_INVALID, "", "the content is refused: %s", job->inspection->error);
	return catalog_store_set_artifact(c->s->catalog->store, row->id, row->state = "failed", 0, c->now_ms, c->fault);
}

/* Into the row what the job has done. `counts`: the job was not overtaken by a new beginning. */
static enum err note_job(struct call *c, struct blob_job *job, bool counts, struct artifact_row *row)
{
	struct catalog *cat = c->s->catalog;
	bool published = job->kind == BLOB_PUBLISH && job->result == ERR_OK;
	enum err e = read_artifact(c, job->artifact, row);
	if (e == ERR_OK && published && job->sha1[0] != '\0')
		e = catalog_store_set_digests(cat->store, job->sha256, job->sha1, job->md5, c->fault);
	if (e == ERR_OK && published && job->inspection != NULL) {
		e = catalog_note_facts(c, row, job->inspection);
		if (e == ERR_OK && job->inspection->state == FACTS_REFUSED)
			return note_refused(c, job, row);
		c->s->catalog->inspect_turn.is_over = false; /* a file that could not be mapped is read later */
	}
	if (e == ERR_OK && published)
		return note_ready(c, row);
	if (e == ERR_OK && counts && job->result == ERR_INVALID)
		return catalog_store_set_artifact(cat->store, row->id, row->state = "failed", row->received_bytes = 0, c->now_ms, c->fault);
	if (e == ERR_OK && counts && job->result == ERR_OK && job->received_bytes > row->received_bytes)
		return catalog_store_set_artifact(cat->store, row->id, "uploading", job->received_bytes, c->now_ms, c->fault);
	return e;
}

enum err catalog_end_job(struct call *c, struct blob_job *job, struct artifact_row *out, enum err *result)
{
	struct catalog *cat = c->s->catalog;
	struct artifact_row row = {0};
	bool counts = blobs_job_done(cat->blobs, job);
	bool published = job->kind == BLOB_PUBLISH && job->result == ERR_OK;
	enum err e = note_job(c, job, counts, &row);
	*result = job->result;
	if (e == ERR_NOT_FOUND) { /* deleted while the job ran: the content, if it was published, has no row now */
		e = published ? catalog_store_add_garbage(cat->store, job->sha256, c->now_ms, c->fault) : ERR_OK;
		*result = ERR_NOT_FOUND;
	} else if (e == ERR_OK && job->result != ERR_OK) {
		*result = job->result;
		*c->fault = job->fault;
	} else if (e == ERR_OK) {
		note_received(cat, &row);
	}
	if (out)
		*out = row;
	blob_job_free(job);
	return e;
}

void catalog_drop_job(struct call *c, struct blob_job *job, bool not_run)
{
	if (not_run && job->result == ERR_OK)
		job->result = ERR_UNAVAILABLE;
	(void)blobs_job_done(c->s->catalog->blobs, job);
	blob_job_free(job);
}

/* ---- upkeep ---- */

static enum err drop_stale(struct call *c)
{
	struct catalog *cat = c->s->catalog;
	int64_t ids[MAINTAIN_ROWS];
	size_t count = 0;
	enum err e = catalog_store_stale_artifacts(cat->store, c->now_ms - cat->limits.upload_age_ms, ids, MAINTAIN_ROWS, &count, c->fault);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		struct artifact_row row;
		if (blobs_is_busy(cat->blobs, ids[i]))
			continue;
		e = read_artifact(c, ids[i], &row);
		if (e == ERR_OK)
			e = drop_artifact(c, &row);
		if (e == ERR_OK)
			e = audit_append(c, "artifact.expire", resource_of(c, "artifacts/%lld", (long long)row.id), artifact_json(c, &row), NULL);
	}
	return e;
}

static enum err drop_garbage(struct call *c)
{
	struct catalog *cat = c->s->catalog;
	char hashes[MAINTAIN_ROWS][SHA256_HEX];
	size_t count = 0;
	enum err e = catalog_store_list_garbage(cat->store, c->now_ms - GARBAGE_AGE_MS, hashes, MAINTAIN_ROWS, &count, c->fault);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		bool used = true;
		e = catalog_store_blob_is_used(cat->store, hashes[i], &used, c->fault);
		if (e == ERR_OK && !used)
			blobs_remove(cat->blobs, hashes[i]);
		if (e == ERR_OK)
			e = catalog_store_drop_garbage(cat->store, hashes[i], c->fault);
	}
	return e;
}

enum err catalog_maintain(struct call *c)
{
	enum err e = drop_stale(c);
	return e == ERR_OK ? drop_garbage(c) : e;
}
