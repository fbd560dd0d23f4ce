/* Rows of self_window: the frozen earlier windows of devices that are judged against their own past. No rules here; the bytes are
 * service/self_windows.c's. They go with their device, and with their rollout (rollout_purge). */
#ifndef AVIARY_STORE_SELF_STORE_H
#define AVIARY_STORE_SELF_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct self_store;

AVIARY_MUST_CHECK enum err self_store_open(struct db *db, struct self_store **out, struct fault *f);
void self_store_close(struct self_store *s); /* NULL is allowed */

struct self_row {
	int64_t rollout, stage, device, place, from_ms, length_ms;
	const void *points;
	size_t len;
};
AVIARY_MUST_CHECK enum err self_insert(struct self_store *s, const struct self_row *row, struct fault *f);
/* `fn` is called for each of the device's windows of the stage, by place. */
AVIARY_MUST_CHECK enum err self_each(struct self_store *s, int64_t rollout, int64_t stage, int64_t device, void (*fn)(void *ctx, const struct self_row *row),
	void *ctx, struct fault *f);

#endif
