/* Rows of learned and of published profiles in fleet.db. Plain rows; service/profiles.h has the rules. */
#ifndef AVIARY_STORE_PROFILE_STORE_H
#define AVIARY_STORE_PROFILE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct profile_store;

/* One context of a variant on a class of hardware. */
struct learned_row {
	int64_t artifact;
	const char *hardware;
	int64_t cell;
	const void *data; /* the cell, encoded by service/profiles.c */
	size_t len;
	int64_t batch, updated_at;
};
/* Of an imported table. NaN: not said. */
struct published_row {
	const char *hardware, *model, *version, *variant, *origin;
	double latency_ms, latency_p95_ms, energy_uj, memory_bytes, accuracy, top1, auc;
	int64_t devices, samples, imported_at;
};
/* What a profile's artifact is. Texts in the arena. */
struct profiled_row {
	int64_t artifact, version, size_bytes;
	const char *model, *version_text, *variant, *hardware;
	double macs; /* of one inference; 0: not known */
};

AVIARY_MUST_CHECK enum err profile_store_open(struct db *db, struct profile_store **out, struct fault *f);
void profile_store_close(struct profile_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err profile_each(struct profile_store *s, void (*fn)(void *ctx, const struct learned_row *row), void *ctx, struct fault *f);
/* Writes nothing where the artifact is gone. */
AVIARY_MUST_CHECK enum err profile_put(struct profile_store *s, const struct learned_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err profile_watermark(struct profile_store *s, int64_t *batch, struct fault *f); /* 0: none */
AVIARY_MUST_CHECK enum err profile_set_watermark(struct profile_store *s, int64_t batch, struct fault *f);
AVIARY_MUST_CHECK enum err profile_artifact(struct profile_store *s, int64_t artifact, struct profiled_row *out, struct arena *a, struct fault *f);

/* Which row of `version` a report means by model and version; ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err profile_find_version(struct profile_store *s, const char *model, const char *version, int64_t *model_row, int64_t *version_row,
	struct fault *f);

AVIARY_MUST_CHECK enum err published_put(struct profile_store *s, const struct published_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err published_count(struct profile_store *s, int64_t *count, struct fault *f);
/* The row of exactly this version before the one for any; ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err published_find(struct profile_store *s, const char *hardware, const char *model, const char *version, const char *variant,
	struct published_row *out, struct arena *a, struct fault *f);
/* By key, after the given one (all "" for the first page); hardware and model NULL: any. At most `limit`. */
AVIARY_MUST_CHECK enum err published_page(struct profile_store *s, const char *hardware, const char *model, const struct published_row *after,
	int64_t limit, struct published_row **rows, size_t *count, struct arena *a, struct fault *f);
AVIARY_MUST_CHECK enum err published_remove(struct profile_store *s, const char *origin, int64_t *removed, struct fault *f);

#endif
