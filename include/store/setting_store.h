/* Rows of settings: key and text. No rules; service/settings.h has them. */
#ifndef AVIARY_STORE_SETTING_STORE_H
#define AVIARY_STORE_SETTING_STORE_H

#include <stdint.h>

#include "base/err.h"

struct db;
struct setting_store;

AVIARY_MUST_CHECK enum err setting_store_open(struct db *db, struct setting_store **out, struct fault *f);
void setting_store_close(struct setting_store *s); /* NULL is allowed */
/* Every row; texts live while `fn` runs. */
AVIARY_MUST_CHECK enum err setting_store_each(struct setting_store *s, void (*fn)(void *ctx, const char *key, const char *value), void *ctx,
	struct fault *f);
AVIARY_MUST_CHECK enum err setting_store_put(struct setting_store *s, const char *key, const char *value, int64_t now_ms, struct fault *f);
AVIARY_MUST_CHECK enum err setting_store_delete(struct setting_store *s, const char *key, struct fault *f);

#endif
