/* Rows of deployment_note, and what actions are found by: attempts of deployments of devices that speak DDI. No rules here. */
#ifndef AVIARY_STORE_ACTION_STORE_H
#define AVIARY_STORE_ACTION_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/ddi.h"

struct db;
struct action_store;

AVIARY_MUST_CHECK enum err action_store_open(struct db *db, struct action_store **out, struct fault *f);
void action_store_close(struct action_store *s); /* NULL is allowed */

struct note_row {
	int64_t id, deployment, action, at;
	enum action_status status;
	bool has_code;
	int64_t code;
	const char *messages; /* JSON array of texts */
	int64_t release;      /* of an attempt's first entry; 0: of others */
	bool is_revert;
};
AVIARY_MUST_CHECK enum err note_insert(struct action_store *s, const struct note_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err note_count(struct action_store *s, int64_t action, int64_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err note_page(struct action_store *s, int64_t action, bool newest_first, int64_t offset, int64_t limit,
	struct note_row **rows, size_t *count, struct arena *a, struct fault *f);
/* ERR_NOT_FOUND: there is none. */
AVIARY_MUST_CHECK enum err note_last(struct action_store *s, int64_t action, struct note_row *out, struct arena *a, struct fault *f);
AVIARY_MUST_CHECK enum err note_last_code(struct action_store *s, int64_t action, bool *has, int64_t *code, struct fault *f);

AVIARY_MUST_CHECK enum err note_has(struct action_store *s, int64_t action, enum action_status status, bool *has, struct fault *f);

/* An action by its first entry. */
struct action_row {
	int64_t action, deployment, device, rollout, release, at;
	bool is_revert;
};
/* ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err action_find(struct action_store *s, int64_t action, struct action_row *out, struct fault *f);
/* Above `after`, ascending; or below it (0: from the end), descending. device 0: of all. */
AVIARY_MUST_CHECK enum err action_page(struct action_store *s, int64_t device, int64_t after, bool is_descending, int64_t limit,
	struct action_row **rows, size_t *count, struct arena *a, struct fault *f);
AVIARY_MUST_CHECK enum err action_count(struct action_store *s, int64_t device, int64_t *count, struct fault *f);
/* The oldest deployment of the device that has something to be cancelled, or that refused to be; 0: none. */
AVIARY_MUST_CHECK enum err action_cancelling(struct action_store *s, int64_t device, int64_t *deployment, struct fault *f);
/* Calls fn with the row of each device that has one. */
AVIARY_MUST_CHECK enum err action_each_busy(struct action_store *s, void (*fn)(void *ctx, int64_t device), void *ctx, struct fault *f);

/* A file of a release for a hardware class: those of the exact class where there are any, else those of any class. */
struct file_row {
	int64_t id, version, size_bytes, created_at;
	const char *file_name, *sha256, *sha1, *md5; /* the last two NULL: not computed yet */
};
AVIARY_MUST_CHECK enum err action_files(struct action_store *s, int64_t release, int64_t version, const char *hardware, struct file_row **rows,
	size_t *count, struct arena *a, struct fault *f);
/* What hawkBit's clients are shown of a version: the names that it was given, where they are none of ours. Untouched where there is none. */
AVIARY_MUST_CHECK enum err action_title(struct action_store *s, int64_t version, const char **name, const char **label, struct arena *a,
	struct fault *f);
/* A release by the names that hawkBit's distribution sets have; 0: none. */
AVIARY_MUST_CHECK enum err action_find_set(struct action_store *s, const char *title, const char *label, int64_t *release, struct fault *f);

#endif
