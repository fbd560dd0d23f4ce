/* Rows of which variant a device has, overrides by operators, and what there is to choose from. No rules here (service/selection.h). */
#ifndef AVIARY_STORE_CHOICE_STORE_H
#define AVIARY_STORE_CHOICE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct choice_store;
struct db;

AVIARY_MUST_CHECK enum err choice_store_open(struct db *db, struct choice_store **out, struct fault *f);
void choice_store_close(struct choice_store *s); /* NULL is allowed */

/* What a device runs of a model. */
struct choice_row {
	int64_t device, model, artifact, version, since;
	int64_t prev_artifact, prev_version; /* before `since`; 0: none known */
};
AVIARY_MUST_CHECK enum err choice_each(struct choice_store *s, void (*fn)(void *ctx, const struct choice_row *row), void *ctx, struct fault *f);
AVIARY_MUST_CHECK enum err choice_of_device(struct choice_store *s, int64_t device, void (*fn)(void *ctx, const struct choice_row *row), void *ctx,
	struct fault *f);
AVIARY_MUST_CHECK enum err choice_get(struct choice_store *s, int64_t device, int64_t model, struct choice_row *out, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err choice_put(struct choice_store *s, const struct choice_row *row, struct fault *f);

struct override_row {
	int64_t device, model, made_at;
	const char *variant, *reason, *made_by; /* arena; in override_each until the next row */
};
AVIARY_MUST_CHECK enum err override_each(struct choice_store *s, void (*fn)(void *ctx, const struct override_row *row), void *ctx, struct fault *f);
AVIARY_MUST_CHECK enum err override_get(struct choice_store *s, int64_t device, int64_t model, struct override_row *out, struct arena *a,
	struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err override_put(struct choice_store *s, const struct override_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err override_remove(struct choice_store *s, int64_t device, int64_t model, bool *was_there, struct fault *f);
AVIARY_MUST_CHECK enum err override_of_device(struct choice_store *s, int64_t device, struct override_row **rows, size_t *count, struct arena *a,
	struct fault *f);

/* Bytes that were handed out to a device on a day. */
AVIARY_MUST_CHECK enum err traffic_get(struct choice_store *s, int64_t device, int64_t day, int64_t *bytes, struct fault *f); /* 0: none */
AVIARY_MUST_CHECK enum err traffic_put(struct choice_store *s, int64_t device, int64_t day, int64_t bytes, struct fault *f);

/* An artifact that a release holds of one of its versions. */
struct candidate_row {
	int64_t artifact, size_bytes;
	const char *hardware, *variant, *sha256;
	const char *declared; /* JSON by the publisher; NULL: nothing */
	double macs;          /* of one inference; 0: not known */
};
/* For exactly this hardware class, by variant and number; ask for "*" where there are none. */
AVIARY_MUST_CHECK enum err choice_candidates(struct choice_store *s, int64_t release, int64_t version, const char *hardware,
	struct candidate_row **rows, size_t *count, struct arena *a, struct fault *f);
/* The newest release that has the version; 0: none. */
AVIARY_MUST_CHECK enum err choice_newest_release(struct choice_store *s, int64_t version, int64_t *release, struct fault *f);
/* Whether both are of one variant (and version, and hardware). */
AVIARY_MUST_CHECK enum err choice_same_variant(struct choice_store *s, int64_t artifact, int64_t other, bool *is_same, struct fault *f);
/* What a release wants; NULL: nothing particular. */
AVIARY_MUST_CHECK enum err objective_get(struct choice_store *s, int64_t release, const char **json, struct arena *a, struct fault *f);
AVIARY_MUST_CHECK enum err objective_set(struct choice_store *s, int64_t release, const char *json, struct fault *f);

#endif
