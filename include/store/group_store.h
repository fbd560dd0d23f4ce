/* Rows of `device_group` and `group_member`. Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_GROUP_STORE_H
#define AVIARY_STORE_GROUP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct group_store;

struct group_row {
	int64_t id;
	const char *name, *description;
	const char *filter; /* RSQL; NULL: static */
	int64_t revision, created_at, updated_at;
	int64_t members; /* of a static group; -1: not counted */
};

AVIARY_MUST_CHECK enum err group_store_open(struct db *db, struct group_store **out, struct fault *f);
void group_store_close(struct group_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err group_insert(struct group_store *s, struct group_row *row, struct fault *f); /* fills id; ERR_CONFLICT: the name is taken */
AVIARY_MUST_CHECK enum err group_update(struct group_store *s, const struct group_row *row, struct fault *f); /* description, filter, revision, updated_at */
AVIARY_MUST_CHECK enum err group_delete(struct group_store *s, int64_t id, struct fault *f); /* ERR_CONFLICT: something refers to it */
AVIARY_MUST_CHECK enum err group_get(struct group_store *s, int64_t id, struct arena *a, struct group_row *row, struct fault *f);        /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err group_find(struct group_store *s, const char *name, struct arena *a, struct group_row *row, struct fault *f); /* ERR_NOT_FOUND */
/* By name, or by id where `name` is NULL; members are not counted (-1), which takes its time in a large group. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err group_look_up(struct group_store *s, int64_t id, const char *name, struct arena *a, struct group_row *row, struct fault *f);
/* id > after, ascending; *count <= limit. */
AVIARY_MUST_CHECK enum err group_page(struct group_store *s, int64_t after, int64_t limit, struct arena *a, struct group_row **rows, size_t *count,
                                      struct fault *f);
/* *changed false: it was so already. */
AVIARY_MUST_CHECK enum err group_add(struct group_store *s, int64_t id, int64_t device, bool *changed, struct fault *f);
AVIARY_MUST_CHECK enum err group_remove(struct group_store *s, int64_t id, int64_t device, bool *changed, struct fault *f);

#endif
