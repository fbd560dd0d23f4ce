/* What hawkBit's Management API shows of devices, groups and tags besides our own rows of them. Plain rows; service/targets.h has the rules. */
#ifndef AVIARY_STORE_TARGET_STORE_H
#define AVIARY_STORE_TARGET_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct target_store;

struct target_texts {
	const char *description;
	int64_t installed_at;    /* by the device's clock; 0: never */
	/* of its newest deployment that was to change what it runs; release 0: it had none */
	int64_t release, previous; /* rows; previous 0: not known */
	const char *state;         /* core/deployment.h; "" */
	int64_t rollout, stage;
};

struct filter_row { /* a dynamic group */
	int64_t id;
	const char *name, *title, *filter, *query, *description; /* title, query NULL: as name and filter */
	int64_t created_at, updated_at;
};

struct tag_row {
	int64_t id;
	const char *name, *title, *description, *colour; /* colour NULL: none */
	int64_t created_at, updated_at;
};

AVIARY_MUST_CHECK enum err target_store_open(struct db *db, struct target_store **out, struct fault *f);
void target_store_close(struct target_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err target_get_texts(struct target_store *s, int64_t device, struct arena *a, struct target_texts *out, struct fault *f);
AVIARY_MUST_CHECK enum err target_set_description(struct target_store *s, int64_t device, const char *text, struct fault *f);
/* Devices whose newest install is of this release and did not fail, or that run it, by row: those above `after`. */
AVIARY_MUST_CHECK enum err target_assigned(struct target_store *s, int64_t release, struct arena *a, int64_t **rows, size_t *count, struct fault *f);
/* Devices of one stage of a rollout. */
AVIARY_MUST_CHECK enum err target_of_stage(struct target_store *s, int64_t rollout, int64_t stage, struct arena *a, int64_t **rows, size_t *count,
	struct fault *f);

AVIARY_MUST_CHECK enum err filter_list(struct target_store *s, struct arena *a, struct filter_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err filter_get(struct target_store *s, int64_t id, struct arena *a, struct filter_row *out, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err filter_set_words(struct target_store *s, int64_t id, const char *title, const char *query, struct fault *f);
AVIARY_MUST_CHECK enum err filter_find_title(struct target_store *s, const char *title, int64_t *id, struct fault *f); /* ERR_NOT_FOUND */

AVIARY_MUST_CHECK enum err tag_list(struct target_store *s, struct arena *a, struct tag_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err tag_get(struct target_store *s, int64_t id, struct arena *a, struct tag_row *out, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err tag_insert(struct target_store *s, struct tag_row *row, struct fault *f); /* fills id; ERR_CONFLICT */
AVIARY_MUST_CHECK enum err tag_update(struct target_store *s, const struct tag_row *row, struct fault *f); /* title, description, colour, updated_at */
AVIARY_MUST_CHECK enum err tag_delete(struct target_store *s, int64_t id, struct fault *f);
/* Makes rows for tags that devices carry and that have none yet. */
AVIARY_MUST_CHECK enum err tag_adopt(struct target_store *s, int64_t now_ms, struct fault *f);

#endif
