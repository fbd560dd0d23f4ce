/* Rows of sql/fleet/0013_delivery.sql: receivers, groups of alerts and what receivers know of them, deliveries. Texts that are returned live in
 * the arena. */
#ifndef AVIARY_STORE_NOTIFY_STORE_H
#define AVIARY_STORE_NOTIFY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/notify_plan.h"

struct db;
struct notify_store;

struct receiver_row {
	int64_t id, revision, created_at, updated_at, timeout_ms;
	const char *name, *type, *matchers, *url, *secret, *settings;
	bool is_enabled;
	struct notify_timing timing;
	int64_t per_minute, delayed;
};
struct member_row {
	int64_t alert, change;
	bool is_firing, is_muted, is_told;
};
struct track_row {
	int64_t receiver, due_ms, told_change, touched_ms; /* due_ms NOTIFY_NEVER: nothing to come */
	const char *group_key, *key;
	struct notify_track state;
};
struct delivery_row {
	int64_t id, receiver, seq, created_at, expires_at, next_at, attempts, reply, done_at; /* done_at 0: pending */
	const char *key, *group_key, *status, *subject, *body, *error;
};

AVIARY_MUST_CHECK enum err notify_store_open(struct db *db, struct notify_store **out, struct fault *f);
void notify_store_close(struct notify_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err receiver_insert(struct notify_store *s, struct receiver_row *row, struct fault *f); /* fills id; ERR_CONFLICT: name */
AVIARY_MUST_CHECK enum err receiver_get(struct notify_store *s, int64_t id, struct arena *a, struct receiver_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err receiver_update(struct notify_store *s, const struct receiver_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err receiver_delete(struct notify_store *s, int64_t id, struct fault *f);
AVIARY_MUST_CHECK enum err receiver_page(struct notify_store *s, int64_t after, int64_t limit, struct arena *a, struct receiver_row **rows,
	size_t *count, struct fault *f);

AVIARY_MUST_CHECK enum err receiver_add_delayed(struct notify_store *s, int64_t id, struct fault *f);

/* `change`: numbers that only grow, of all groups together. */
AVIARY_MUST_CHECK enum err member_put(struct notify_store *s, const char *group, int64_t alert, bool is_firing, int64_t change, struct fault *f);
AVIARY_MUST_CHECK enum err member_set_muted(struct notify_store *s, const char *group, int64_t alert, struct fault *f);
AVIARY_MUST_CHECK enum err member_set_heard(struct notify_store *s, const char *group, int64_t alert, int64_t change, struct fault *f); /* no longer muted */
AVIARY_MUST_CHECK enum err member_set_told(struct notify_store *s, const char *group, int64_t alert, struct fault *f);
/* Changes above `after` first in their order, then those that fire and are known. */
AVIARY_MUST_CHECK enum err member_changed(struct notify_store *s, const char *group, int64_t after, int64_t limit, struct arena *a,
	struct member_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err member_firing(struct notify_store *s, const char *group, int64_t upto, int64_t limit, struct arena *a,
	struct member_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err member_last_change(struct notify_store *s, const char *group, int64_t *change, struct fault *f);
/* Takes those away that are resolved and of which every track of the group knows; at most `limit`. */
AVIARY_MUST_CHECK enum err member_forget(struct notify_store *s, const char *group, int64_t limit, struct fault *f);

AVIARY_MUST_CHECK enum err track_get(struct notify_store *s, int64_t receiver, const char *group, struct arena *a, struct track_row *row, bool *found,
	struct fault *f);
AVIARY_MUST_CHECK enum err track_put(struct notify_store *s, const struct track_row *row, struct fault *f);
/* One with something to come that was touched later than now: the clock was set back. */
AVIARY_MUST_CHECK enum err track_ahead(struct notify_store *s, int64_t now_ms, struct arena *a, struct track_row *row, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err track_due(struct notify_store *s, int64_t now_ms, struct arena *a, struct track_row *row, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err track_retain(struct notify_store *s, int64_t older_than, int64_t rows, struct fault *f); /* of groups that are quiet */

AVIARY_MUST_CHECK enum err delivery_insert(struct notify_store *s, struct delivery_row *row, struct fault *f); /* fills id */
/* When the receiver's n-th newest (1: the newest) was made; 0: there are not so many. */
AVIARY_MUST_CHECK enum err delivery_nth(struct notify_store *s, int64_t receiver, int64_t n, int64_t *created_at, struct fault *f);
AVIARY_MUST_CHECK enum err delivery_get(struct notify_store *s, int64_t id, struct arena *a, struct delivery_row *row, struct fault *f);
/* Pending ones of a receiver whose time has come and that are first of their key. */
AVIARY_MUST_CHECK enum err delivery_due(struct notify_store *s, int64_t receiver, int64_t now_ms, int64_t limit, struct arena *a,
	struct delivery_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err delivery_update(struct notify_store *s, const struct delivery_row *row, struct fault *f); /* status, times, attempts, reply, error */
/* Of a receiver: what waits beyond `latest_ms`, as the clock was set back, is due now and is given up at expires_ms. Not what the receiver
 * may have asked to wait (429, 503), unless `all`. */
struct delivery_haste {
	int64_t receiver, now_ms, latest_ms, expires_ms;
	bool all;
};
AVIARY_MUST_CHECK enum err delivery_hasten(struct notify_store *s, const struct delivery_haste *h, int64_t limit, int64_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err delivery_expire(struct notify_store *s, int64_t receiver, int64_t now_ms, int64_t limit, int64_t *count, struct fault *f); /* pending to dead */
/* Newest first, ids below `before` (0: from the newest); receiver 0 and status NULL: any. Without bodies. */
AVIARY_MUST_CHECK enum err delivery_page(struct notify_store *s, int64_t receiver, const char *status, int64_t before, int64_t limit, struct arena *a,
	struct delivery_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err delivery_count(struct notify_store *s, const char *status, int64_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err delivery_retain(struct notify_store *s, const char *status, int64_t older_than, int64_t rows, struct fault *f);

#endif
