/* Rows of upstreams and of the versions that they publish. No rules here (service/upstreams.h). Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_UPSTREAM_STORE_H
#define AVIARY_STORE_UPSTREAM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct upstream_store;

struct upstream_row {
	int64_t id;
	const char *name, *model, *kind, *url, *prefix;
	const char *public_key;  /* base64; "" */
	const char *auth, *user; /* none basic bearer header */
	const void *secret;      /* sealed; NULL: none */
	size_t secret_len;
	const char *ca_file, *policy;
	int64_t interval_ms, alert_after;
	bool is_enabled;
	int64_t revision, created_at, updated_at;
	/* how it goes */
	const char *etag, *state, *fault, *reason, *stopped_version;
	int64_t published, failures, checked_at, succeeded_at, next_at; /* times 0: never */
};

struct upstream_version_row {
	int64_t id, upstream;
	const char *version, *digest, *record; /* record NULL: not read */
	bool is_withdrawn;
	const char *status, *fault, *reason, *table_json;
	int64_t attempts, next_at, release, rollout, seen_at, updated_at; /* release, rollout 0: none */
};

AVIARY_MUST_CHECK enum err upstream_store_open(struct db *db, struct upstream_store **out, struct fault *f);
void upstream_store_close(struct upstream_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err upstream_store_insert(struct upstream_store *s, struct upstream_row *row, struct fault *f); /* ERR_CONFLICT: the name */
/* What operators set, and next_at; the revision is the row's. ERR_CONFLICT: the name. */
AVIARY_MUST_CHECK enum err upstream_store_update(struct upstream_store *s, const struct upstream_row *row, struct fault *f);
/* How it goes. */
AVIARY_MUST_CHECK enum err upstream_store_note(struct upstream_store *s, const struct upstream_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err upstream_store_delete(struct upstream_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err upstream_store_find(struct upstream_store *s, const char *name, struct arena *a, struct upstream_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err upstream_store_get(struct upstream_store *s, int64_t id, struct arena *a, struct upstream_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err upstream_store_list(struct upstream_store *s, int64_t after, int64_t limit, struct arena *a, struct upstream_row **rows,
	size_t *count, struct fault *f);

/* All versions of one, newest row first; without records. */
AVIARY_MUST_CHECK enum err upstream_store_versions(struct upstream_store *s, int64_t upstream, struct arena *a, struct upstream_version_row **rows,
	size_t *count, struct fault *f);
/* With its record. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err upstream_store_version(struct upstream_store *s, int64_t upstream, const char *version, struct arena *a,
	struct upstream_version_row *out, struct fault *f);
/* The one that is under way, with its record. ERR_NOT_FOUND: none is. */
AVIARY_MUST_CHECK enum err upstream_store_busy(struct upstream_store *s, int64_t upstream, struct arena *a, struct upstream_version_row *out,
	struct fault *f);
AVIARY_MUST_CHECK enum err upstream_store_insert_version(struct upstream_store *s, const struct upstream_version_row *row, struct fault *f);
/* All but upstream, version, and seen_at; a record that is NULL stays as it is. */
AVIARY_MUST_CHECK enum err upstream_store_set_version(struct upstream_store *s, const struct upstream_version_row *row, struct fault *f);
/* Those that were refused by a fault are seen again. */
AVIARY_MUST_CHECK enum err upstream_store_forgive(struct upstream_store *s, int64_t upstream, const char *fault, struct fault *f);
/* The version of a model in the newest release that a device runs, but for those that this upstream's rollouts took back; NULL: none. */
AVIARY_MUST_CHECK enum err upstream_store_running(struct upstream_store *s, int64_t upstream, const char *model, struct arena *a,
	const char **version, struct fault *f);

#endif
