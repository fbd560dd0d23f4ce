/* SQL functions and the table function of telemetry.db, so that aggregation happens inside the database.
 *
 *   sketch_merge(blob)                aggregate: one sketch of all, NULL when there is none
 *   sketch_add(a, b)                  the same of two
 *   sketch_quantile(blob, q, n)       NULL unless the sketch holds exactly n values
 *   in_cohort(device)                 whether a device belongs to the question (telemetry_sql_cohort)
 *   report_points(data, base)         the packed reports of a batch or a chunk as rows: device, received, ts, version, boot, seq, metric, type, reports,
 *                                     n, sum, min, max, sketch, value (as JSON, in the form in which it was reported)
 */
#ifndef AVIARY_STORE_TELEMETRY_SQL_H
#define AVIARY_STORE_TELEMETRY_SQL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/ddsketch.h"

struct db;

/* The devices of in_cohort: sorted row ids, borrowed; NULL: every device. */
struct telemetry_cohort {
	const int64_t *devices;
	size_t count;
};
/* Registers all of it on a connection. `cohort` may be NULL and must outlive the connection. */
AVIARY_MUST_CHECK enum err telemetry_sql_register(struct db *db, const struct telemetry_cohort *cohort, struct fault *f);

/* An encoded sketch that grows: freed with free(data). `scratch` is working memory, overwritten. */
struct sketch_blob {
	uint8_t *data;
	size_t len;
};
/* ERR_INVALID, and nothing changes, for keys out of range or a total that would overflow. */
AVIARY_MUST_CHECK enum err sketch_blob_add(struct sketch_blob *b, const int32_t *keys, const uint64_t *counts, size_t count, struct ddsketch *scratch);

#endif
