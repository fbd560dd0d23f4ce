/* The open minute of the whole fleet: what its reports add up to, by (minute, metric, version), in memory until it is written. One thread.
 *
 * Single devices are not in it: they have chunks (store/chunk.h). So its size is that of the fleet's vocabulary, not of the fleet. */
#ifndef AVIARY_STORE_ROLLUP_H
#define AVIARY_STORE_ROLLUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ddsketch.h"

struct rollup_row {
	int64_t bucket, metric, version; /* the key; metric 0 marks a free place */
	int64_t reports, n;
	double sum, min, max;
	bool has_values;         /* min and max are known of every report */
	struct ddsketch *sketch; /* of those values that quantiles are known of; NULL: of none */
};

struct rollup; /* a hash table */

struct rollup *rollup_new(void);
void rollup_free(struct rollup *r); /* NULL is allowed */
/* Adds every point of a packed batch. */
void rollup_add(struct rollup *r, const void *data, size_t len, int64_t base_ms);
size_t rollup_count(const struct rollup *r);
/* Start of the newest minute in it; 0 when it is empty. */
int64_t rollup_newest(const struct rollup *r);
/* The rows in the order of their key; valid until the next rollup_add or rollup_clear. */
const struct rollup_row *const *rollup_sorted(struct rollup *r);
void rollup_clear(struct rollup *r);

#endif
