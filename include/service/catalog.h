/* The catalog: models (kind model or firmware), their versions, and the artifacts of a version, one a hardware class.
 *
 * Contents of artifacts arrive by uploads (service/blobs.h moves the bytes); releases are in service/releases.h. Rows are
 * immutable but for a model's description: a version that was published never changes its meaning.
 * Texts that are returned live in the call's arena.
 */
#ifndef AVIARY_SERVICE_CATALOG_H
#define AVIARY_SERVICE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/blobs.h"
#include "service/call.h"
#include "store/catalog_store.h"

struct catalog;
struct inspection; /* service/inspect.h */
struct module_store;
struct release_store;
struct signing;

struct catalog_limits {
	int64_t artifact_bytes_max;   /* one artifact; default 2 GiB */
	int64_t upload_age_ms;        /* an unfinished upload that got no byte for so long goes; default 7 days */
	int64_t sync_bytes;           /* durable progress of an upload is noted each so many bytes; default 8 MiB */
	int64_t reserve_bytes;        /* what uploads leave free on the disk for the database; default 64 MiB */
	int64_t manifest_life_ms;     /* devices refuse a manifest that is older; 0 (default): they never do */
};
extern const struct catalog_limits catalog_limits_default;

/* Opens stores, directories (<state>/blobs, <state>/uploads) and the release key. */
AVIARY_MUST_CHECK enum err catalog_open(struct db *db, const char *state_dir, const struct catalog_limits *limits, struct catalog **out,
	struct fault *f);
void catalog_close(struct catalog *c); /* NULL is allowed */
int64_t catalog_manifest_life_ms(const struct catalog *c);

/* When a manifest was made and when it ends (0: never). The last one that was asked for is kept: it never changes, and a rollout
 * asks for the same one for each of its devices. */
struct manifest_times {
	int64_t counter, created_at, expires_at;
};
struct manifest_times *catalog_manifest_times(struct catalog *c); /* to read and to fill; counter 0: none */

/* Periodic, about once a minute: drops stale uploads and blobs that no row names, in the running unit of work. */
AVIARY_MUST_CHECK enum err catalog_maintain(struct call *c);

/* Models. ERR_CONFLICT: the name exists; deleting: it has versions. */
struct model_input {
	const char *name, *kind, *description; /* kind NULL: "model"; description NULL: "" */
};
AVIARY_MUST_CHECK enum err catalog_create_model(struct call *c, const struct model_input *in, struct model_row *out);
AVIARY_MUST_CHECK enum err catalog_find_model(struct call *c, const char *name, struct model_row *out); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err catalog_get_model(struct call *c, int64_t id, struct model_row *out);             /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err catalog_edit_model(struct call *c, const struct model_row *row, const char *description, struct model_row *out);
AVIARY_MUST_CHECK enum err catalog_delete_model(struct call *c, const struct model_row *row);
/* A page by name; `more` tells whether rows follow. total is counted only where it is not NULL. */
AVIARY_MUST_CHECK enum err catalog_list_models(struct call *c, const struct page_request *page, struct model_row **rows, size_t *count, bool *more,
	int64_t *total);

/* Versions. Refused (ERR_INVALID /version) when it is not SemVer 2.0.0; deleting takes its artifacts along, ERR_CONFLICT when released. */
AVIARY_MUST_CHECK enum err catalog_create_version(struct call *c, const struct model_row *model, const char *version, const char *notes,
	struct version_row *out);
AVIARY_MUST_CHECK enum err catalog_find_version(struct call *c, const struct model_row *model, const char *version, struct version_row *out);
AVIARY_MUST_CHECK enum err catalog_delete_version(struct call *c, const struct model_row *model, const struct version_row *row);
/* By SemVer precedence. */
AVIARY_MUST_CHECK enum err catalog_list_versions(struct call *c, const struct model_row *model, const struct page_request *page,
	struct version_row **rows, size_t *count, bool *more, int64_t *total);
const char *catalog_version_cursor(struct call *c, const struct version_row *row); /* page_request.after for the rows behind it */

/* Artifacts. */
struct artifact_input {
	const char *hardware;    /* a hardware class or "*" */
	const char *file_name;   /* 1..128 bytes, no '/', '\\', control characters; not "." or ".." */
	int64_t size_bytes;      /* 1..artifact_bytes_max */
	const char *sha256;      /* 64 lower-case hex digits */
	bool is_one_of_several;  /* the version may have others for that hardware, by other names: hawkBit's modules */
	const char *variant;     /* name of one of several that do the same job (int8, float32); NULL: "" */
	const char *declared;    /* JSON: what the publisher says of it (service/inspect.h); NULL: nothing */
};
AVIARY_MUST_CHECK enum err catalog_declare_artifact(struct call *c, const struct model_row *model, const struct version_row *version,
	const struct artifact_input *in, struct artifact_row *out); /* ERR_CONFLICT: this version has one for that hardware and variant */
AVIARY_MUST_CHECK enum err catalog_find_artifact(struct call *c, int64_t id, struct artifact_row *out);
AVIARY_MUST_CHECK enum err catalog_list_artifacts(struct call *c, const struct version_row *version, struct artifact_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err catalog_delete_artifact(struct call *c, const struct artifact_row *row); /* ERR_CONFLICT: a release holds it */
/* What its content says, whole: JSON in the arena, NULL while it was not read (or where it cannot be). */
AVIARY_MUST_CHECK enum err catalog_artifact_facts(struct call *c, const struct artifact_row *row, const char **json);
/* Writes what an inspection found; the row is as after it. A content that is refused: ERR_OK, and row->facts_error says why. */
AVIARY_MUST_CHECK enum err catalog_note_facts(struct call *c, struct artifact_row *row, const struct inspection *found);
/* service/inspect.c's turn through what is still to be read. */
struct inspect_turn {
	bool is_busy, is_over;
	int64_t after;
};
struct inspect_turn *catalog_inspect_turn(struct catalog *c);
/* Path of the content of a ready artifact, in the arena. */
const char *catalog_blob_path(struct call *c, const char *sha256);

/* Uploading. begin checks the row and the range, write appends (loop thread, constant memory), then catalog_finish_upload gives what must
 * be done off the loop (fdatasync; or fsync, check and rename at the end) and catalog_end_job, back on the loop, notes it in the row.
 * first: UPLOAD_WHOLE, UPLOAD_REST, or an offset, which must be received_bytes (ERR_RANGE tells it). len: bytes that follow, -1: not
 * announced. UPLOAD_REST without bytes publishes what had come completely before a crash. A newer upload of the same artifact takes over: the older one's next write gets ERR_CONFLICT.
 * ERR_CONFLICT: the artifact is ready, or is being verified. ERR_TOO_MANY: too many at once. ERR_FULL: no space. */
AVIARY_MUST_CHECK enum err catalog_begin_upload(struct call *c, int64_t artifact, int64_t first, int64_t len, struct upload **out);
AVIARY_MUST_CHECK enum err catalog_write_upload(struct upload *u, const void *data, size_t len, struct fault *f);
/* The request is over (finished: its body came whole). Gives the job that makes what was received durable, and, when the content is
 * complete, checks and publishes it; NULL when there is nothing to do. `u` is gone after. */
AVIARY_MUST_CHECK enum err catalog_finish_upload(struct call *c, struct upload *u, struct blob_job **job);
/* Instead of all these: the content of an artifact that was just declared is complete in `path`, a file in <state>/uploads, and is the catalog's
 * from now on. Gives the job that checks and publishes it. */
AVIARY_MUST_CHECK enum err catalog_take_file(struct call *c, const struct artifact_row *row, const char *path, struct blob_job **job);
/* Client gone: what came stays. May give a job, too. */
void catalog_abort_upload(struct call *c, struct upload *u, struct blob_job **job);
/* Between writes: a job that is due to note progress, or NULL. */
struct blob_job *catalog_progress_job(struct upload *u);
/* Back on the loop after blob_job_run, in a unit of work of the caller: notes in the row what the job did, and frees the job. How the job
 * ended is *result, and c->fault says why: ERR_INVALID other bytes than declared (the part is gone, received_bytes is 0), or bytes that are refused, ERR_FULL,
 * ERR_UNAVAILABLE. ERR_NOT_FOUND: the artifact was deleted meanwhile. Keep the unit whatever *result is. `out` may be NULL. */
AVIARY_MUST_CHECK enum err catalog_end_job(struct call *c, struct blob_job *job, struct artifact_row *out, enum err *result);
/* Instead, where that is not possible: memory lets go of a job that could not be run (not_run), or whose end cannot be noted. */
void catalog_drop_job(struct call *c, struct blob_job *job, bool not_run);

const struct catalog_limits *catalog_limits_of(const struct catalog *c);

/* For service/releases.c. */
struct release_store *catalog_releases(struct catalog *c);
struct module_store *catalog_modules(struct catalog *c);
struct catalog_store *catalog_rows(struct catalog *c);
const struct signing *catalog_signing(const struct catalog *c);

#endif
