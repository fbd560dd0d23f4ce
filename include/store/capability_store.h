/* Rows of capability_class in fleet.db: what devices say that they can do, each wording once. service/compats.h has the rules. */
#ifndef AVIARY_STORE_CAPABILITY_STORE_H
#define AVIARY_STORE_CAPABILITY_STORE_H

#include <stdint.h>

#include "base/err.h"

struct db;
struct capability_store;

AVIARY_MUST_CHECK enum err capability_store_open(struct db *db, struct capability_store **out, struct fault *f);
void capability_store_close(struct capability_store *s); /* NULL is allowed */

/* In order of id; texts are valid only while `fn` runs. */
AVIARY_MUST_CHECK enum err capability_store_load(struct capability_store *s, void (*fn)(void *ctx, int64_t id, const char *words), void *ctx,
	struct fault *f);
/* Inserts, or makes it these words. */
AVIARY_MUST_CHECK enum err capability_store_put(struct capability_store *s, int64_t id, const char *words, struct fault *f);
AVIARY_MUST_CHECK enum err capability_store_delete(struct capability_store *s, int64_t id, struct fault *f);
/* The first device above `after` that has said something and is in no class; texts are valid only while `fn` runs, which is not called
 * where there is none. */
AVIARY_MUST_CHECK enum err capability_store_unclassed(struct capability_store *s, int64_t after,
	void (*fn)(void *ctx, int64_t device, const char *capabilities, const char *firmware), void *ctx, struct fault *f);

#endif
