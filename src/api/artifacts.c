/* Artifacts: declared under their version, uploaded and downloaded by their id. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/route.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/http.h"
#include "net/jobs.h"
#include "service/catalog.h"
#include "service/inspect.h"
#include "service/unit.h"

#define ARTIFACT "/api/v1/artifacts/{artifact}"
#define CONTENT ARTIFACT "/content"
#define OF_VERSION "/api/v1/models/{model}/versions/{version}/artifacts"
#define JOB_ARENA_BYTES 65536

static const struct field artifact_body[] = {
	{"hardware", FIELD_STR, offsetof(struct artifact_input, hardware), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "Hardware class that it is for, * for any."},
	{"file_name", FIELD_STR, offsetof(struct artifact_input, file_name), .min = 1, .max = 128, .flags = FIELD_REQUIRED,
	 .doc = "Name of the file, without a path."},
	{"size_bytes", FIELD_INT, offsetof(struct artifact_input, size_bytes), .min = 1, .max = 1099511627776.0, .flags = FIELD_REQUIRED,
	 .doc = "Size of the content."},
	{"sha256", FIELD_STR, offsetof(struct artifact_input, sha256), .min = 64, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "SHA-256 of the content, 64 lower-case hex digits."},
	{"variant", FIELD_STR, offsetof(struct artifact_input, variant), .max = 64,
	 .doc = "Name of one of several artifacts for a hardware class that do the same job, as int8; a device gets one of them. Empty: there is one."},
	{"declared", FIELD_DOC, offsetof(struct artifact_input, declared), .max = DECLARED_BYTES_MAX,
	 .doc = "What the publisher says of it: format (another one in the file is refused), requires (joined with what the file needs), quality."},
	{0},
};

struct artifact_view {
	struct artifact_row row;
	const char *facts_url;
	const char *upload, *content; /* URLs; NULL where it makes no sense */
};
static const struct field artifact_reply[] = {
	{"id", FIELD_INT, offsetof(struct artifact_view, row.id), .doc = "Number of the artifact."},
	{"model", FIELD_STR, offsetof(struct artifact_view, row.model_name), .doc = "Name of its model."},
	{"version", FIELD_STR, offsetof(struct artifact_view, row.version_text), .doc = "Its version."},
	{"hardware", FIELD_STR, offsetof(struct artifact_view, row.hardware), .doc = "Hardware class, * for any."},
	{"variant", FIELD_STR, offsetof(struct artifact_view, row.variant), .doc = "Which of several that do the same job; empty: there is one."},
	{"file_name", FIELD_STR, offsetof(struct artifact_view, row.file_name), .doc = "Name of the file."},
	{"size_bytes", FIELD_INT, offsetof(struct artifact_view, row.size_bytes), .doc = "Size of the content."},
	{"sha256", FIELD_STR, offsetof(struct artifact_view, row.sha256), .doc = "SHA-256 of the content."},
	{"state", FIELD_ENUM, offsetof(struct artifact_view, row.state), .choices = "uploading ready failed",
	 .doc = "uploading until the content is complete and checked; failed: other bytes came, or they are refused."},
	{"facts_state", FIELD_ENUM, offsetof(struct artifact_view, row.facts_state), .choices = "none reading read opaque refused",
	 .doc = "What is known of the content: none before it is there; opaque: it is of no format that is read, or a firmware."},
	{"facts_error", FIELD_STR, offsetof(struct artifact_view, row.facts_error), .doc = "Why the content is refused, with the place in the file."},
	{"summary", FIELD_ANY, offsetof(struct artifact_view, row.facts_summary),
	 .doc = "Of its facts: format, operators (how many different), head_bytes, arena_bytes, macs, hybrid, inputs, custom_operators, conflicts with what was declared."},
	{"requires", FIELD_ANY, offsetof(struct artifact_view, row.requires),
	 .doc = "What it needs of a device: derived from the bytes and joined with what was declared. Absent: nothing beyond the hardware class."},
	{"declared", FIELD_ANY, offsetof(struct artifact_view, row.declared), .doc = "What its publisher said of it."},
	{"facts", FIELD_STR, offsetof(struct artifact_view, facts_url), .doc = "URL of all facts, once they are known."},
	{"received_bytes", FIELD_INT, offsetof(struct artifact_view, row.received_bytes), .doc = "Where an upload goes on."},
	{"upload", FIELD_STR, offsetof(struct artifact_view, upload), .doc = "URL for PUT, while it is not ready."},
	{"content", FIELD_STR, offsetof(struct artifact_view, content), .doc = "URL for GET, once it is ready."},
	{"created_at", FIELD_INT, offsetof(struct artifact_view, row.created_at), .doc = "When it was declared."},
	{"updated_at", FIELD_INT, offsetof(struct artifact_view, row.updated_at), .doc = "When its state or received_bytes changed last."},
	{0},
};

/* What openapi.json says of it; core/model_json.c writes it. */
static const struct field facts_reply[] = {
	{.name = "format", .type = FIELD_ENUM, .choices = "opaque tflite onnx executorch", .doc = "told from the bytes"},
	{.name = "file_bytes", .type = FIELD_INT, .doc = "size of the file"},
	{.name = "identifier", .type = FIELD_STR, .flags = FIELD_NULLABLE, .doc = "of a FlatBuffer, as TFL3; null: it has none"},
	{.name = "schema_version", .type = FIELD_INT, .doc = "of TensorFlow Lite"},
	{.name = "ir_version", .type = FIELD_INT, .doc = "of ONNX"},
	{.name = "opset_imports", .type = FIELD_ANY, .doc = "of ONNX: array of domain and version"},
	{.name = "external_tensors", .type = FIELD_INT, .doc = "of ONNX: initializers whose bytes are in another file"},
	{.name = "external_bytes", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "of ONNX: as far as they say how long"},
	{.name = "producer", .type = FIELD_STR, .flags = FIELD_NULLABLE, .doc = "who wrote it, or its description; null: not said"},
	{.name = "inputs", .type = FIELD_ANY, .doc = "array: name, type, shape, quantization"},
	{.name = "outputs", .type = FIELD_ANY, .doc = "array: name, type, shape, quantization"},
	{.name = "operators", .type = FIELD_ANY, .doc = "array: name, version, count, custom, macs"},
	{.name = "operator_uses", .type = FIELD_INT, .doc = "sum of the counts"},
	{.name = "custom_operators", .type = FIELD_STRS, .doc = "names of those that no standard defines"},
	{.name = "subgraphs", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "how many; null: not read"},
	{.name = "constant_bytes", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "weights; null: not known"},
	{.name = "head_bytes", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "planned part of TensorFlow Lite Micro's arena; null: not known"},
	{.name = "tail_bytes", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "an estimate from above of the rest; null: not known"},
	{.name = "arena_bytes", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "both; null: not known"},
	{.name = "arena_unknown", .type = FIELD_STR, .flags = FIELD_NULLABLE, .doc = "why the arena is not known; null: it is"},
	{.name = "macs", .type = FIELD_INT, .flags = FIELD_NULLABLE, .doc = "multiply-accumulates of one inference; null: not known"},
	{.name = "hybrid", .type = FIELD_BOOL, .doc = "float activations with integer filters"},
	{.name = "hybrid_at", .type = FIELD_STR, .flags = FIELD_NULLABLE, .doc = "where; null: nowhere"},
	{.name = "dynamic", .type = FIELD_BOOL, .doc = "a shape is only known at run time"},
	{0},
};

static void put_artifact(struct api_request *rq, const struct artifact_row *row)
{
	const char *url = arena_printf(rq->call.arena, "/api/v1/artifacts/%lld/content", (long long)row->id);
	bool ready = strcmp(row->state, "ready") == 0;
	struct artifact_view view = {.row = *row, .upload = ready ? NULL : url, .content = ready ? url : NULL};
	if (row->facts_summary != NULL)
		view.facts_url = arena_printf(rq->call.arena, "/api/v1/artifacts/%lld/facts", (long long)row->id);
	json_encode(artifact_reply, &view, &rq->out);
}

static enum err find_version(struct api_request *rq, struct model_row *model, struct version_row *version)
{
	enum err e = catalog_find_model(&rq->call, rq->param[0], model);
	return e == ERR_OK ? catalog_find_version(&rq->call, model, rq->param[1], version) : e;
}

static const struct route_query artifacts_query[] = {
	{"limit", "Items on a page, 1 to 1000 (100)."},
	{"cursor", "`next` of the page before."},
	{"total", "true: count them all."},
	{0},
};

static const char *place_of(struct api_request *rq, const struct artifact_row *row)
{
	return arena_printf(rq->call.arena, "%s %lld", row->hardware, (long long)row->id);
}

/* Whether a row comes behind the place of a cursor, in order of hardware and number. */
static bool is_behind(const struct artifact_row *row, const char *place)
{
	const char *blank = strrchr(place, ' ');
	size_t len = blank != NULL ? (size_t)(blank - place) : strlen(place), own = strlen(row->hardware);
	int order = memcmp(row->hardware, place, own < len ? own : len);
	if (order == 0)
		order = (own > len) - (own < len);
	return order != 0 ? order > 0 : blank != NULL && row->id > strtoll(blank, NULL, 10);
}

/* By hardware. A version has few variants, so a page is cut from all of them. */
static enum err list_artifacts(struct api_request *rq)
{
	struct model_row model;
	struct version_row version;
	struct artifact_row *rows = NULL;
	size_t count = 0, at = 0;
	int64_t limit = 100;
	const char *after = NULL;
	bool wants_total = false;
	enum err e = api_query_int(rq, "limit", 1, 1000, &limit);
	if (e == ERR_OK)
		e = api_query_cursor(rq, &after);
	if (e == ERR_OK)
		e = api_query_bool(rq, "total", &wants_total);
	if (e == ERR_OK)
		e = find_version(rq, &model, &version);
	if (e == ERR_OK)
		e = catalog_list_artifacts(&rq->call, &version, &rows, &count);
	if (e != ERR_OK)
		return e;
	while (after && at < count && !is_behind(&rows[at], after))
		at++;
	size_t end = count - at > (size_t)limit ? at + (size_t)limit : count;
	api_list_open(rq);
	for (size_t i = at; i < end; i++)
		put_artifact(rq, &rows[i]);
	api_list_close(rq, end < count ? api_cursor_of_text(rq, place_of(rq, &rows[end - 1])) : NULL, wants_total ? (int64_t)count : -1);
	return ERR_OK;
}

static enum err declare_artifact(struct api_request *rq)
{
	struct model_row model;
	struct version_row version;
	struct artifact_row row;
	enum err e = find_version(rq, &model, &version);
	if (e == ERR_OK)
		e = catalog_declare_artifact(&rq->call, &model, &version, rq->body, &row);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/artifacts/%lld", (long long)row.id);
	put_artifact(rq, &row);
	return ERR_OK;
}

static enum err find_artifact(struct api_request *rq, struct artifact_row *row)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? catalog_find_artifact(&rq->call, id, row) : e;
}

static enum err get_artifact(struct api_request *rq)
{
	struct artifact_row row;
	enum err e = find_artifact(rq, &row);
	if (e == ERR_OK)
		put_artifact(rq, &row);
	return e;
}

/* The same JSON as aviaryctl model inspect --json prints of the file. */
static enum err get_facts(struct api_request *rq)
{
	struct artifact_row row;
	const char *facts = NULL;
	enum err e = find_artifact(rq, &row);
	if (e == ERR_OK)
		e = catalog_artifact_facts(&rq->call, &row, &facts);
	if (e == ERR_OK && facts == NULL)
		e = fault_set(rq->call.fault, ERR_NOT_FOUND, "", "%s%s", row.facts_error != NULL ? "the content is refused: " : "the content was not read yet",
			row.facts_error != NULL ? row.facts_error : "");
	if (e == ERR_OK)
		buf_str(&rq->out, facts);
	return e;
}

static enum err delete_artifact(struct api_request *rq)
{
	struct artifact_row row;
	enum err e = find_artifact(rq, &row);
	return e == ERR_OK ? catalog_delete_artifact(&rq->call, &row) : e;
}

/* ---- download ---- */

/* RFC 6266 and 8187: any file name, in a header that knows only ASCII. */
static const char *disposition(struct arena *a, const char *file_name)
{
	struct buf b = BUF_INIT;
	buf_str(&b, "attachment; filename*=UTF-8''");
	for (const unsigned char *p = (const unsigned char *)file_name; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || strchr("._-", *p);
		buf_printf(&b, plain ? "%c" : "%%%02X", *p);
	}
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static enum err get_content(struct api_request *rq)
{
	struct artifact_row row;
	enum err e = find_artifact(rq, &row);
	if (e != ERR_OK)
		return e;
	if (strcmp(row.state, "ready") != 0)
		return fault_set(rq->call.fault, ERR_NOT_FOUND, "", "the content has not come completely yet");
	int fd = open(catalog_blob_path(&rq->call, row.sha256), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fault_set(rq->call.fault, errno == ENOENT ? ERR_INTERNAL : ERR_UNAVAILABLE, "", "cannot open the content: %s", strerror(errno));
	http_set_header(rq->http, "Content-Disposition", disposition(rq->call.arena, row.file_name));
	http_set_header(rq->http, "Cache-Control", "private, no-cache");
	http_reply_file(rq->http, fd, (uint64_t)row.size_bytes, row.sha256, "application/octet-stream");
	rq->taken = true;
	return ERR_OK;
}

/* ---- upload ---- */

struct upload_job {
	struct blob_job *job;
	struct services *s;
	struct api_request *rq; /* waits for it; NULL: nobody does */
};

static void run_job(void *ctx)
{
	struct upload_job *j = ctx;
	blob_job_run(j->job);
}

/* In a unit of its own: what the job did is noted whatever its result. */
static enum err end_job(struct call *c, struct blob_job *job, struct artifact_row *row)
{
	enum err result = ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK) {
		e = catalog_end_job(c, job, row, &result);
		e = unit_end(c->s, e, c->fault);
	} else {
		catalog_drop_job(c, job, false); /* no database: the row stays behind, which a later upload bears */
	}
	return e == ERR_OK ? result : e;
}

static void job_done(void *ctx)
{
	struct upload_job *j = ctx;
	struct artifact_row row;
	struct api_request *rq = j->rq;
	if (rq) {
		rq->call.now_ms = clock_wall_ms();
		enum err e = end_job(&rq->call, j->job, &row);
		if (e == ERR_OK)
			put_artifact(rq, &row);
		api_finish(rq, e);
	} else {
		struct fault f = {"", ""};
		struct call c = {.s = j->s, .arena = arena_new(JOB_ARENA_BYTES), .fault = &f, .who = &principal_server, .now_ms = clock_wall_ms()};
		enum err e = end_job(&c, j->job, &row);
		if (e != ERR_OK && e != ERR_NOT_FOUND)
			log_event(LOG_WARN, "artifact.sync", "error=%s detail=%s", err_name(e), log_quote(f.detail));
		arena_free(c.arena);
	}
	free(j);
}

/* Hands a job to the pool; rq NULL: nobody waits. When the pool is full, it is as if the job had failed. */
static enum err submit(struct api_request *rq, struct blob_job *job, bool waits)
{
	struct upload_job *j = calloc(1, sizeof *j);
	if (!j)
		abort();
	*j = (struct upload_job){.job = job, .s = rq->call.s, .rq = waits ? rq : NULL};
	if (jobs_submit(api_jobs(rq), run_job, job_done, j) == ERR_OK) {
		rq->deferred = rq->deferred || waits;
		return ERR_OK;
	}
	free(j);
	catalog_drop_job(&rq->call, job, true);
	return waits ? fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "too much work is waiting for the disk") : ERR_UNAVAILABLE;
}

/* Content-Range: bytes a-b/total, or bytes * /total for "nothing more, finish". Absent: the whole content. */
static enum err read_range(struct api_request *rq, const struct artifact_row *row, int64_t *first, int64_t *len)
{
	const char *text = http_header(rq->http, "Content-Range");
	*len = http_content_length(rq->http);
	*first = UPLOAD_WHOLE;
	if (!text)
		return ERR_OK;
	long long a = 0, b = -1, total = 0;
	int end = 0;
	bool rest = sscanf(text, "bytes */%lld%n", &total, &end) == 1 && text[end] == '\0';
	bool range = !rest && sscanf(text, "bytes %lld-%lld/%lld%n", &a, &b, &total, &end) == 3 && text[end] == '\0';
	if (!rest && (!range || a < 0 || b < a || b >= total))
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "Content-Range: bytes first-last/total is wanted");
	if (total != row->size_bytes)
		return fault_set(rq->call.fault, ERR_INVALID, "", "Content-Range tells %lld bytes, the artifact was declared with %lld", total,
		                 (long long)row->size_bytes);
	if ((range && *len >= 0 && *len != b - a + 1) || (rest && *len > 0))
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "Content-Range and Content-Length do not agree");
	*first = rest ? UPLOAD_REST : a;
	*len = rest ? 0 : b - a + 1;
	return ERR_OK;
}

static enum err begin_upload(struct api_request *rq, void **state)
{
	struct artifact_row row;
	struct upload *u = NULL;
	int64_t first, len;
	enum err e = find_artifact(rq, &row);
	if (e == ERR_OK)
		e = read_range(rq, &row, &first, &len);
	if (e == ERR_OK)
		e = catalog_begin_upload(&rq->call, row.id, first, len, &u);
	*state = u;
	return e;
}

static enum err chunk_upload(struct api_request *rq, void *state, const void *data, size_t len)
{
	enum err e = catalog_write_upload(state, data, len, rq->call.fault);
	struct blob_job *job = e == ERR_OK ? catalog_progress_job(state) : NULL;
	if (job && submit(rq, job, false) != ERR_OK)
		return ERR_OK; /* only progress is not noted; the next one may be */
	return e;
}

static enum err finish_upload(struct api_request *rq, void *state)
{
	struct blob_job *job = NULL;
	struct artifact_row row;
	enum err e = catalog_finish_upload(&rq->call, state, &job);
	if (e != ERR_OK || job)
		return e == ERR_OK ? submit(rq, job, true) : e;
	e = find_artifact(rq, &row);
	if (e == ERR_OK)
		put_artifact(rq, &row);
	return e;
}

static void abort_upload(struct api_request *rq, void *state)
{
	struct blob_job *job = NULL;
	catalog_abort_upload(&rq->call, state, &job);
	if (job && submit(rq, job, false) != ERR_OK)
		return; /* a later part tells where it stopped */
}

static const struct route_stream upload_stream = {.begin = begin_upload, .chunk = chunk_upload, .finish = finish_upload, .abort = abort_upload};

const struct route routes_artifacts[] = {
	{.method = "GET", .path = OF_VERSION, .role = ROLE_VIEWER, .tag = "artifacts", .summary = "List a version's artifacts",
	 .reply = artifact_reply, .reply_is_list = true, .query = artifacts_query, .handle = list_artifacts},
	{.method = "POST", .path = OF_VERSION, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "artifacts",
	 .summary = "Declare an artifact; its content is uploaded by PUT", .body = artifact_body, .body_bytes = sizeof(struct artifact_input),
	 .reply = artifact_reply, .handle = declare_artifact},
	{.method = "GET", .path = ARTIFACT, .role = ROLE_VIEWER, .tag = "artifacts", .summary = "Show an artifact", .reply = artifact_reply,
	 .handle = get_artifact},
	{.method = "GET", .path = ARTIFACT "/facts", .role = ROLE_VIEWER, .tag = "artifacts",
	 .summary = "What the content says about itself (docs/models.md)", .reply = facts_reply, .handle = get_facts},
	{.method = "DELETE", .path = ARTIFACT, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "artifacts",
	 .summary = "Delete an artifact that no release holds", .handle = delete_artifact},
	{.method = "GET", .path = CONTENT, .role = ROLE_VIEWER, .tag = "artifacts", .summary = "Download the content (Range, ETag)",
	 .reply_type = "application/octet-stream",
	 .handle = get_content},
	{.method = "PUT", .path = CONTENT, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_STREAM, .tag = "artifacts",
	 .summary = "Upload the content, whole or from received_bytes (Content-Range)", .reply = artifact_reply, .stream = &upload_stream},
	{.method = NULL},
};
