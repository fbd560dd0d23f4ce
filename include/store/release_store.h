/* Rows of releases, their parts and their signed manifests in fleet.db. Plain rows; service/releases.h has the rules.
 *
 * A release holds its artifacts, not only its versions: a variant that is added to a version later belongs to later releases, so
 * that signing an old release again gives exactly the old content.
 */
#ifndef AVIARY_STORE_RELEASE_STORE_H
#define AVIARY_STORE_RELEASE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "store/catalog_store.h"

struct release_store;

struct release_row {
	int64_t id;
	const char *name;        /* str_is_name */
	const char *description;
	const char *config;      /* JSON object, canonical */
	int64_t created_at;
	bool is_draft;           /* it has versions, and takes their artifacts when it is first sent out: service/modules.h */
	int64_t deleted_at;      /* hidden, as something refers to it; 0: it is not */
};

struct component_row {
	int64_t version;         /* version_row.id */
	const char *kind;        /* "model" or "firmware" */
	const char *model;       /* name */
	const char *version_text;
};

struct manifest_row {
	int64_t counter;
	int64_t release;
	const uint8_t *bytes;    /* exactly what was signed */
	size_t len;
	const uint8_t *signature; /* 64 bytes */
	const char *key_id;      /* 16 hex digits */
	int64_t created_at;
};

AVIARY_MUST_CHECK enum err release_store_open(struct db *db, struct release_store **out, struct fault *f);
void release_store_close(struct release_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err release_store_insert(struct release_store *s, struct release_row *row, struct fault *f); /* ERR_CONFLICT: name exists */
AVIARY_MUST_CHECK enum err release_store_find(struct release_store *s, const char *name, struct arena *a, struct release_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err release_store_get(struct release_store *s, int64_t id, struct arena *a, struct release_row *out, struct fault *f);
/* With its parts and manifests. ERR_CONFLICT: a rollout or deployment names it. */
AVIARY_MUST_CHECK enum err release_store_delete(struct release_store *s, int64_t id, struct fault *f);
/* By creation (the cursor is the id as text) or by name. */
AVIARY_MUST_CHECK enum err release_store_list(struct release_store *s, const struct page_request *page, bool by_name, struct arena *a,
	struct release_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err release_store_count(struct release_store *s, int64_t *total, struct fault *f);
/* A device reports that it runs it. */
AVIARY_MUST_CHECK enum err release_store_is_running(struct release_store *s, const char *name, bool *is, struct fault *f);

/* Adds a version and those of its artifacts that are ready now. */
AVIARY_MUST_CHECK enum err release_store_add_component(struct release_store *s, int64_t release, int64_t version, struct fault *f);
/* By model name. */
AVIARY_MUST_CHECK enum err release_store_components(struct release_store *s, int64_t release, struct arena *a, struct component_row **rows,
	size_t *count, struct fault *f);
/* The artifacts that the release holds of one of its versions, by hardware. */
AVIARY_MUST_CHECK enum err release_store_artifacts(struct release_store *s, int64_t release, int64_t version, struct arena *a,
	struct artifact_row **rows, size_t *count, struct fault *f);
/* The variant for a class: the exact one before '*'. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err release_store_pick(struct release_store *s, int64_t release, int64_t version, const char *hardware, struct arena *a,
	struct artifact_row *out, struct fault *f);

AVIARY_MUST_CHECK enum err release_store_insert_manifest(struct release_store *s, const struct manifest_row *row, struct fault *f);
/* Newest of the release that this key signed; ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err release_store_newest_manifest(struct release_store *s, int64_t release, const char *key_id, int64_t *counter,
	struct fault *f);
AVIARY_MUST_CHECK enum err release_store_manifest(struct release_store *s, int64_t counter, struct arena *a, struct manifest_row *out, struct fault *f);

#endif
