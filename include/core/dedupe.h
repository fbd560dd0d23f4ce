/* Which numbered reports of a device have been seen: for its last two boots, the highest seq and the 64 below it.
 *
 * A redelivered message (QoS 1) is a DUPLICATE; one further back than the window is TOO_OLD, as it cannot be told from
 * a duplicate. A third boot makes the oldest one forgotten. Boots are kept as 64-bit FNV-1a hashes: a collision would
 * need one device to collide with itself, and harms nobody else. Zeroed memory is the empty state. Not thread-safe, not
 * keyed by device: the caller has one each.
 */
#ifndef AVIARY_CORE_DEDUPE_H
#define AVIARY_CORE_DEDUPE_H

#include <stddef.h>
#include <stdint.h>

#include "core/names.h"

#define DEDUPE_BOOTS 2
#define DEDUPE_WINDOW 64
#define DEDUPE_BYTES (DEDUPE_BOOTS * 24) /* of dedupe_encode */

struct dedupe_boot {
	uint64_t boot;    /* hash, 0 = unused */
	uint64_t highest; /* seq */
	uint64_t mask;    /* bit i: highest - i was seen */
};
struct dedupe {
	struct dedupe_boot boots[DEDUPE_BOOTS]; /* newest first */
};

enum dedupe_result { DEDUPE_NEW, DEDUPE_DUPLICATE, DEDUPE_TOO_OLD };

/* Telemetry: seq may arrive out of order within the window. seq >= 1. */
enum dedupe_result dedupe_check(const struct dedupe *d, struct slice boot, int64_t seq);
enum dedupe_result dedupe_check_and_set(struct dedupe *d, struct slice boot, int64_t seq);
/* `/report`: only what is above the highest seq of the newest boot is NEW; at or below it DUPLICATE. The boot before
 * the newest is TOO_OLD: words of an earlier life must not replace newer ones. */
enum dedupe_result dedupe_check_and_set_ordered(struct dedupe *d, struct slice boot, int64_t seq);

/* The same bytes on every machine (little-endian). */
void dedupe_encode(const struct dedupe *d, uint8_t out[DEDUPE_BYTES]);
void dedupe_decode(struct dedupe *d, const uint8_t in[DEDUPE_BYTES]);

#endif
