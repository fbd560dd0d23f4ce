/* Rows of offload policies and of their classes in fleet.db. Plain rows; service/offloading.h has the rules. */
#ifndef AVIARY_STORE_OFFLOAD_STORE_H
#define AVIARY_STORE_OFFLOAD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct offload_store;

/* NaN: not watched. */
struct offload_policy_row {
	int64_t model;
	const char *name; /* of the model; not written */
	const char *endpoint, *link;
	double target;
	int64_t margin, audit, rssi, rate, battery, unit, budget, fit_every_ms;
	bool has_rssi;
	double rate_max, agreement_min, agreement_max, cost_max;
	int64_t rev, revision, created_at, updated_at;
};
struct offload_class_row {
	int64_t model;
	const char *hardware, *version;
	int64_t margin, rev, rev_at, fitted_at;
	const char *why;
	int64_t fits, faded_at, batch;
	const void *stats;
	size_t len;
};

AVIARY_MUST_CHECK enum err offload_store_open(struct db *db, struct offload_store **out, struct fault *f);
void offload_store_close(struct offload_store *s); /* NULL is allowed */

/* Texts are valid during the call of `fn`. */
AVIARY_MUST_CHECK enum err offload_each_policy(struct offload_store *s, void (*fn)(void *ctx, const struct offload_policy_row *row), void *ctx,
	struct fault *f);
AVIARY_MUST_CHECK enum err offload_put_policy(struct offload_store *s, const struct offload_policy_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err offload_remove_policy(struct offload_store *s, int64_t model, struct fault *f); /* its classes, too */
AVIARY_MUST_CHECK enum err offload_each_class(struct offload_store *s, void (*fn)(void *ctx, const struct offload_class_row *row), void *ctx,
	struct fault *f);
/* Writes nothing where the policy is gone. */
AVIARY_MUST_CHECK enum err offload_put_class(struct offload_store *s, const struct offload_class_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err offload_remove_class(struct offload_store *s, int64_t model, const char *hardware, const char *version, struct fault *f);
AVIARY_MUST_CHECK enum err offload_watermark(struct offload_store *s, int64_t *batch, struct fault *f); /* untouched: there is none */
AVIARY_MUST_CHECK enum err offload_set_watermark(struct offload_store *s, int64_t batch, struct fault *f);

#endif
