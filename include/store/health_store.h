/* Rows of sql/fleet/0012_health.sql: health checks and the newest result of each device. Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_HEALTH_STORE_H
#define AVIARY_STORE_HEALTH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/health.h"

struct db;
struct health_store;

struct health_check_row {
	int64_t id, window_ms, every_ms, timeout_ms, next_at, revision, created_at, updated_at;
	const char *name, *kind, *hardware, *model, *filter, *metric, *op, *severity;
	double threshold, hot_c, battery_low, rssi_bad; /* NaN: NULL */
	bool is_deleted;
};
struct health_result_row {
	int64_t check, device, at;
	bool passed, firing, has_value;
	unsigned cell;
	double value;
	const char *detail, *model, *version;
	struct health_count counts[HEALTH_CELLS];
};

AVIARY_MUST_CHECK enum err health_store_open(struct db *db, struct health_store **out, struct fault *f);
void health_store_close(struct health_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err health_check_insert(struct health_store *s, struct health_check_row *row, struct fault *f); /* fills id; ERR_CONFLICT: name */
AVIARY_MUST_CHECK enum err health_check_update(struct health_store *s, const struct health_check_row *row, struct fault *f); /* revision grows */
AVIARY_MUST_CHECK enum err health_check_set_next(struct health_store *s, int64_t id, int64_t next_at, struct fault *f);
AVIARY_MUST_CHECK enum err health_check_set_deleted(struct health_store *s, int64_t id, int64_t at, struct fault *f);
AVIARY_MUST_CHECK enum err health_check_delete(struct health_store *s, int64_t id, struct fault *f);
/* All, those that are being deleted too, by id. */
AVIARY_MUST_CHECK enum err health_check_all(struct health_store *s, int64_t limit, struct arena *a, struct health_check_row **rows, size_t *count,
	struct fault *f);

AVIARY_MUST_CHECK enum err health_result_put(struct health_store *s, const struct health_result_row *row, struct fault *f);
/* detail NULL in health_result_put keeps the one that is there. */
AVIARY_MUST_CHECK enum err health_result_delete(struct health_store *s, int64_t check, int64_t device, struct fault *f);
/* Of a check, by device above `after`. */
AVIARY_MUST_CHECK enum err health_result_page(struct health_store *s, int64_t check, int64_t after, int64_t limit, struct arena *a,
	struct health_result_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err health_result_get(struct health_store *s, int64_t check, int64_t device, struct arena *a, struct health_result_row *row,
	bool *found, struct fault *f);

#endif
