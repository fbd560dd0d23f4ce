/* Rows of models, versions and artifacts in fleet.db. Plain rows in and out; no rules (service/catalog.h has them).
 *
 * Texts of rows that are returned are copied into the arena. A look-up that finds nothing is ERR_NOT_FOUND without a fault text:
 * the caller knows what was asked for.
 */
#ifndef AVIARY_STORE_CATALOG_STORE_H
#define AVIARY_STORE_CATALOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct catalog_store;

struct model_row {
	int64_t id;
	const char *name;        /* str_is_name */
	const char *kind;        /* "model" or "firmware" */
	const char *description;
	int64_t revision;        /* of the ETag */
	int64_t created_at, updated_at; /* ms since 1970 */
};

struct version_row {
	int64_t id;
	int64_t model;           /* model_row.id */
	const char *version;     /* SemVer 2.0.0 */
	const char *precedence;  /* sort key: byte order is SemVer precedence */
	const char *notes;
	int64_t created_at;
};

struct artifact_row {
	int64_t id;
	int64_t version;         /* version_row.id */
	const char *hardware;    /* class, or "*" */
	const char *file_name;
	int64_t size_bytes;
	const char *sha256;      /* 64 hex digits, lower case */
	const char *state;       /* "uploading", "ready", "failed" (the last upload had other bytes; it may be tried again) */
	int64_t received_bytes;  /* durable; equals size_bytes when ready */
	int64_t created_at, updated_at;
	const char *model_name, *version_text; /* of its parents */
	const char *sha1, *md5;  /* NULL: not known (yet) */
	const char *model_kind;  /* of its model; NULL where release_store read it */
	const char *variant;     /* "" */
	const char *declared;    /* JSON by its publisher, NULL: nothing */
	const char *facts_state; /* service/inspect.h */
	const char *facts_summary, *facts_error; /* NULL: none */
	const char *requires;    /* JSON, core/requirement.h; NULL: nothing beyond the hardware */
};

/* One page: rows after the cursor in the wanted order. */
struct page_request {
	const char *after;       /* key of the last row of the page before; NULL: from the start */
	int64_t limit;           /* rows wanted */
	bool descending;
};

AVIARY_MUST_CHECK enum err catalog_store_open(struct db *db, struct catalog_store **out, struct fault *f);
void catalog_store_close(struct catalog_store *s); /* NULL is allowed */

/* Inserts fill row->id. ERR_CONFLICT: the name exists (kind of conflict is the table's only UNIQUE). */
AVIARY_MUST_CHECK enum err catalog_store_insert_model(struct catalog_store *s, struct model_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_find_model(struct catalog_store *s, const char *name, struct arena *a, struct model_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_get_model(struct catalog_store *s, int64_t id, struct arena *a, struct model_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_update_model(struct catalog_store *s, const struct model_row *row, struct fault *f); /* description, revision, updated_at */
AVIARY_MUST_CHECK enum err catalog_store_delete_model(struct catalog_store *s, int64_t id, struct fault *f); /* ERR_CONFLICT: has versions */
/* By name. At most page->limit rows into an arena array. */
AVIARY_MUST_CHECK enum err catalog_store_list_models(struct catalog_store *s, const struct page_request *page, struct arena *a,
	struct model_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_count_models(struct catalog_store *s, int64_t *total, struct fault *f);

AVIARY_MUST_CHECK enum err catalog_store_insert_version(struct catalog_store *s, struct version_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_find_version(struct catalog_store *s, int64_t model, const char *version, struct arena *a,
	struct version_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_delete_version(struct catalog_store *s, int64_t id, struct fault *f); /* ERR_CONFLICT: in use */
/* By precedence; the cursor is precedence of the last row, a space, its version text. */
AVIARY_MUST_CHECK enum err catalog_store_list_versions(struct catalog_store *s, int64_t model, const struct page_request *page, struct arena *a,
	struct version_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_count_versions(struct catalog_store *s, int64_t model, int64_t *total, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_version_is_released(struct catalog_store *s, int64_t version, bool *is, struct fault *f);

AVIARY_MUST_CHECK enum err catalog_store_insert_artifact(struct catalog_store *s, struct artifact_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_find_artifact(struct catalog_store *s, int64_t id, struct arena *a, struct artifact_row *out, struct fault *f);
/* All artifacts of a version by hardware; there are at most as many as hardware classes (limited by the service). */
AVIARY_MUST_CHECK enum err catalog_store_list_artifacts(struct catalog_store *s, int64_t version, struct arena *a, struct artifact_row **rows,
	size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_set_artifact(struct catalog_store *s, int64_t id, const char *state, int64_t received_bytes,
	int64_t now_ms, struct fault *f);
/* Digests of a content, for all artifacts that have it. */
AVIARY_MUST_CHECK enum err catalog_store_set_digests(struct catalog_store *s, const char *sha256, const char *sha1, const char *md5, struct fault *f);
/* The content of one that is ready and has none; *found false: there is none such. */
AVIARY_MUST_CHECK enum err catalog_store_undigested(struct catalog_store *s, char sha256[65], bool *found, struct fault *f);
/* What is known of its content, once it was read; NULL members become NULL. */
struct artifact_facts {
	const char *state, *facts, *summary, *error, *requires;
};
AVIARY_MUST_CHECK enum err catalog_store_set_facts(struct catalog_store *s, int64_t id, const struct artifact_facts *facts, struct fault *f);
/* The whole JSON of an artifact's facts, NULL: there is none. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err catalog_store_facts(struct catalog_store *s, int64_t id, struct arena *a, const char **facts, struct fault *f);
/* The first artifact above `after` that is still to be read; 0: none. */
AVIARY_MUST_CHECK enum err catalog_store_unread(struct catalog_store *s, int64_t after, int64_t *id, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_delete_artifact(struct catalog_store *s, int64_t id, struct fault *f); /* ERR_CONFLICT: in a release */
AVIARY_MUST_CHECK enum err catalog_store_artifact_is_released(struct catalog_store *s, int64_t id, bool *is, struct fault *f);
/* Unfinished uploads that no byte reached since before_ms; at most `max` ids. */
AVIARY_MUST_CHECK enum err catalog_store_stale_artifacts(struct catalog_store *s, int64_t before_ms, int64_t *ids, size_t max, size_t *count,
	struct fault *f);

/* Blobs that lost their last row wait here until the change is durable: the file may only go after the COMMIT. */
AVIARY_MUST_CHECK enum err catalog_store_add_garbage(struct catalog_store *s, const char *sha256, int64_t now_ms, struct fault *f);
/* At most `max` hashes that were added before before_ms. */
AVIARY_MUST_CHECK enum err catalog_store_list_garbage(struct catalog_store *s, int64_t before_ms, char (*sha256)[65], size_t max, size_t *count,
	struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_drop_garbage(struct catalog_store *s, const char *sha256, struct fault *f);
AVIARY_MUST_CHECK enum err catalog_store_blob_is_used(struct catalog_store *s, const char *sha256, bool *is, struct fault *f);

#endif
