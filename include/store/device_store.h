/* Rows of `device` and what hangs on it: attributes, tags, reported models. Statements and nothing else: no rule, no
 * cache, no JSON. One instance a connection; functions return ERR_NOT_FOUND only where said.
 */
#ifndef AVIARY_STORE_DEVICE_STORE_H
#define AVIARY_STORE_DEVICE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct device_store;

AVIARY_MUST_CHECK enum err device_store_open(struct db *db, struct device_store **out, struct fault *f);
void device_store_close(struct device_store *s); /* NULL is allowed */

/* What the fleet index mirrors. Texts are valid only while `fn` runs. */
struct device_mirror {
	int64_t row;
	const char *device_id;
	const char *hardware;
	const char *release; /* NULL: unknown */
	int64_t running_counter, desired_rev, sent_rev;
	int64_t last_seen_at, created_at;
	int64_t deployment; /* active one, 0: none */
	bool online, can_shadow, is_ddi;
	int64_t capability_class;
};
/* Every device, in order of row; reads the whole table. */
AVIARY_MUST_CHECK enum err device_store_load(struct device_store *s, void (*fn)(void *ctx, const struct device_mirror *m), void *ctx, struct fault *f);
/* One device; *found false: no such row, and `fn` was not called. */
AVIARY_MUST_CHECK enum err device_store_mirror(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_mirror *m), void *ctx,
                                               bool *found, struct fault *f);

/* A whole device row; texts in the arena. */
struct device_record {
	int64_t row;
	const char *device_id, *name, *hardware;
	const char *capabilities; /* JSON object */
	const char *attributes, *tags, *models; /* JSON of its lists: object, array, object; see device_store_settle */
	const char *release, *firmware, *report_boot; /* NULL: unknown */
	int64_t running_counter, report_seq;
	int64_t desired_revision, reported_revision, desired_rev, sent_rev, revision;
	int64_t last_seen_at, created_at, updated_at;
	bool online, has_secret;
};
/* `fn` is called with texts that are valid while it runs; it asks this store nothing. */
AVIARY_MUST_CHECK enum err device_store_visit(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_record *record), void *ctx,
                                              struct fault *f);
AVIARY_MUST_CHECK enum err device_store_get(struct device_store *s, int64_t row, struct arena *a, struct device_record *out, struct fault *f);

/* What it can do, as far as models are matched against it: row of capability_class, 0: nothing is known. */
AVIARY_MUST_CHECK enum err device_store_set_class(struct device_store *s, int64_t row, int64_t class, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_insert(struct device_store *s, const char *device_id, const char *name, const char *hardware, int64_t now_ms,
                                               int64_t *row, struct fault *f);
/* Name and hardware; the revision grows by one. */
AVIARY_MUST_CHECK enum err device_store_update(struct device_store *s, int64_t row, const char *name, const char *hardware, int64_t now_ms, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_delete(struct device_store *s, int64_t row, struct fault *f);

/* A name and its value; tags have no value. Arrays in the arena, in order of name. */
struct device_pair {
	const char *name, *value;
};
enum device_list { DEVICE_ATTRIBUTES, DEVICE_TAGS, DEVICE_MODELS };
AVIARY_MUST_CHECK enum err device_store_list(struct device_store *s, enum device_list which, int64_t row, struct arena *a, struct device_pair **out,
                                             size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_clear(struct device_store *s, enum device_list which, int64_t row, struct fault *f);
/* Adds, or replaces the value. `value` is NULL for tags. */
AVIARY_MUST_CHECK enum err device_store_put(struct device_store *s, enum device_list which, int64_t row, const char *name, const char *value,
                                            struct fault *f);
AVIARY_MUST_CHECK enum err device_store_remove(struct device_store *s, enum device_list which, int64_t row, const char *name, struct fault *f);
/* Repeats the lists in the device's row, where device_store_get finds them: due after the last of put, remove and clear in a unit. Names, tags and
 * versions have nothing that JSON escapes, attributes no control characters: their callers check that. */
AVIARY_MUST_CHECK enum err device_store_settle(struct device_store *s, int64_t row, struct fault *f);
/* Whether two devices or more carry this value of an attribute. */
AVIARY_MUST_CHECK enum err device_store_is_shared(struct device_store *s, const char *name, const char *value, bool *is_shared,
                                                  struct fault *f);
/* One value in the arena, NULL when there is none. Not for tags. */
AVIARY_MUST_CHECK enum err device_store_value(struct device_store *s, enum device_list which, int64_t row, const char *name, struct arena *a,
                                              const char **value, struct fault *f);

/* Presence and acknowledged revision, without touching updated_at. */
AVIARY_MUST_CHECK enum err device_store_presence(struct device_store *s, int64_t row, int64_t last_seen_at, bool online, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_sent(struct device_store *s, int64_t row, int64_t rev, struct fault *f);

/* `sha256` is 32 bytes; NULL clears it. */
AVIARY_MUST_CHECK enum err device_store_set_secret(struct device_store *s, int64_t row, const uint8_t *sha256, struct fault *f);
/* *found: the device is known; *has: it has a secret, which is copied. */
AVIARY_MUST_CHECK enum err device_store_secret(struct device_store *s, const char *device_id, bool *found, bool *has, uint8_t sha256[32], struct fault *f);

/* Last report. */
AVIARY_MUST_CHECK enum err device_store_last_report(struct device_store *s, int64_t row, char boot[33], int64_t *seq, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_set_report(struct device_store *s, int64_t row, const char *boot, int64_t seq, struct fault *f);
/* What it runs; `reported` is the JSON text of the whole member. NULL release or firmware: unknown. */
AVIARY_MUST_CHECK enum err device_store_set_running(struct device_store *s, int64_t row, const char *release, int64_t counter, const char *firmware,
                                                    const char *reported, int64_t now_ms, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_set_capabilities(struct device_store *s, int64_t row, const char *json, bool can_shadow, int64_t now_ms,
	struct fault *f);

/* What only a device of protocol ddi has. Texts and the blob are valid while `fn` runs. */
struct device_ddi {
	int64_t row;
	const void *token; /* sealed; NULL: none */
	size_t token_len;
	const char *auto_confirm; /* JSON; NULL: off */
	int64_t installed_at, installed_action;
	bool wants_attributes;
};
/* Makes it one; also for another token. Attributes are asked for. */
AVIARY_MUST_CHECK enum err device_store_set_ddi(struct device_store *s, int64_t row, const void *token, size_t len, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_ddi(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_ddi *d), void *ctx,
                                            bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_each_ddi(struct device_store *s, void (*fn)(void *ctx, const struct device_ddi *d), void *ctx,
                                                 struct fault *f);
AVIARY_MUST_CHECK enum err device_store_set_wants(struct device_store *s, int64_t row, bool wants_attributes, struct fault *f);
AVIARY_MUST_CHECK enum err device_store_set_auto_confirm(struct device_store *s, int64_t row, const char *json, struct fault *f); /* NULL: off */
AVIARY_MUST_CHECK enum err device_store_set_installed(struct device_store *s, int64_t row, int64_t at, int64_t action, struct fault *f);

/* desired_rev + 1 */
AVIARY_MUST_CHECK enum err device_store_bump(struct device_store *s, int64_t row, struct fault *f);
/* Twins: the desired document and its revision; what was reported as running and its revision. */
AVIARY_MUST_CHECK enum err device_store_twin(struct device_store *s, int64_t row, bool reported, struct arena *a, const char **json, int64_t *revision,
                                             struct fault *f);
AVIARY_MUST_CHECK enum err device_store_set_desired(struct device_store *s, int64_t row, const char *json, int64_t now_ms, struct fault *f);

#endif
