/* What hawkBit calls software modules and distribution sets: rows of `version` and `release` by number, with the names they were given,
 * and whole lists of them (catalogs are small). Plain rows; service/modules.h has the rules.
 */
#ifndef AVIARY_STORE_MODULE_STORE_H
#define AVIARY_STORE_MODULE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct module_store;

struct module_row { /* a version with its model */
	int64_t id, model;
	const char *model_name, *kind;   /* "model", "firmware" */
	const char *title;               /* NULL: model_name */
	const char *version, *label;     /* label NULL: version */
	const char *vendor, *description;
	int64_t created_at, deleted_at;  /* 0: not deleted */
	bool is_released;                /* a release that is no draft holds it */
};

struct set_row { /* a release */
	int64_t id;
	const char *name, *title, *label; /* title and label NULL: it was made by our own API */
	const char *description, *kind;   /* kind NULL: by its components */
	int64_t created_at, deleted_at;
	bool is_draft;
};

AVIARY_MUST_CHECK enum err module_store_open(struct db *db, struct module_store **out, struct fault *f);
void module_store_close(struct module_store *s); /* NULL is allowed */

/* Texts in the arena. ERR_NOT_FOUND without a fault text. */
AVIARY_MUST_CHECK enum err module_get(struct module_store *s, int64_t id, struct arena *a, struct module_row *out, struct fault *f);
/* Everything that is not deleted, by id; of one release (deleted ones too) where `release` is not 0. */
AVIARY_MUST_CHECK enum err module_list(struct module_store *s, int64_t release, struct arena *a, struct module_row **rows, size_t *count,
	struct fault *f);
/* The model that bears this title (or this name, without a title); ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err module_find_model(struct module_store *s, const char *title, const char *kind, int64_t *model, struct fault *f);
AVIARY_MUST_CHECK enum err module_model_name_is_used(struct module_store *s, const char *name, bool *is, struct fault *f);
/* The version of a model that bears this label, deleted or not; ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err module_find_label(struct module_store *s, int64_t model, const char *label, int64_t *id, struct fault *f);
AVIARY_MUST_CHECK enum err module_version_is_used(struct module_store *s, int64_t model, const char *version, bool *is, struct fault *f);
AVIARY_MUST_CHECK enum err module_set_title(struct module_store *s, int64_t model, const char *title, struct fault *f);
AVIARY_MUST_CHECK enum err module_set_label(struct module_store *s, int64_t id, const char *label, const char *vendor, struct fault *f);
AVIARY_MUST_CHECK enum err module_set_texts(struct module_store *s, int64_t id, const char *description, const char *vendor, struct fault *f);
AVIARY_MUST_CHECK enum err module_set_deleted(struct module_store *s, int64_t id, int64_t at, struct fault *f);
AVIARY_MUST_CHECK enum err module_is_in_release(struct module_store *s, int64_t id, bool *is, struct fault *f);

AVIARY_MUST_CHECK enum err set_get(struct module_store *s, int64_t id, struct arena *a, struct set_row *out, struct fault *f);
AVIARY_MUST_CHECK enum err set_list(struct module_store *s, struct arena *a, struct set_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err set_find(struct module_store *s, const char *title, const char *label, int64_t *id, struct fault *f); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err set_name_is_used(struct module_store *s, const char *name, bool *is, struct fault *f);
/* What the columns besides the release's own are; of a row that was just inserted, or is edited. */
AVIARY_MUST_CHECK enum err set_write(struct module_store *s, const struct set_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err set_add_module(struct module_store *s, int64_t set, int64_t module, struct fault *f);
AVIARY_MUST_CHECK enum err set_remove_module(struct module_store *s, int64_t set, int64_t module, bool *was, struct fault *f);
/* The artifacts of its versions that are ready become its own, and it is no draft any more. *bare: versions that have none. */
AVIARY_MUST_CHECK enum err set_take_artifacts(struct module_store *s, int64_t set, int64_t *bare, struct fault *f);
/* How many rollouts name it (deleted ones too), and devices run it. */
AVIARY_MUST_CHECK enum err set_is_used(struct module_store *s, int64_t id, const char *name, bool *is, struct fault *f);

#endif
