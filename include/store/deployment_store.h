/* Rows of deployments (one device's part in a rollout) and the maintained counts of their states. No rules here. */
#ifndef AVIARY_STORE_DEPLOYMENT_STORE_H
#define AVIARY_STORE_DEPLOYMENT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/deployment.h"

struct db;
struct deployment_store;

AVIARY_MUST_CHECK enum err deployment_store_open(struct db *db, struct deployment_store **out, struct fault *f);
void deployment_store_close(struct deployment_store *s);

struct deployment_row {
	int64_t id, rollout, stage, device, attempt, prev_release, progress, reverts, counter;
	int64_t offered_at, deadline_at, ended_at, updated_at; /* 0: none */
	int64_t action, cancelling; /* service/actions.h; 0: none; cancelling below 0: its device refused */
	int confirm;                /* 0 not asked, 1 waits, 2 confirmed */
	bool is_closed;             /* not stored: its device itself has ended the attempt */
	bool is_canary;
	enum deployment_kind kind;
	enum deployment_status state;
	const char *reason; /* arena, or the caller's */
	/* service/selection.h; NULL: by hardware. Of the rollout's release, and of the one before. */
	const char *parts, *prev_parts;
	int64_t not_before; /* withheld until then; 0: not */
};
AVIARY_MUST_CHECK enum err deployment_insert(struct deployment_store *s, struct deployment_row *row, struct fault *f); /* sets row->id */
/* Writes everything that may change; `before` is the state that the row had: the stage's counts follow. */
AVIARY_MUST_CHECK enum err deployment_update(struct deployment_store *s, const struct deployment_row *row, enum deployment_status before,
	struct fault *f);
AVIARY_MUST_CHECK enum err deployment_get(struct deployment_store *s, int64_t id, struct deployment_row *out, struct arena *a, struct fault *f);
/* The newest of a device; ERR_NOT_FOUND when it has none. */
AVIARY_MUST_CHECK enum err deployment_newest(struct deployment_store *s, int64_t device, struct deployment_row *out, struct arena *a, struct fault *f);
/* The newest that was to change what it runs. */
AVIARY_MUST_CHECK enum err deployment_newest_install(struct deployment_store *s, int64_t device, struct deployment_row *out, struct arena *a,
	struct fault *f);
/* Whether the device has an install in this rollout. */
AVIARY_MUST_CHECK enum err deployment_exists(struct deployment_store *s, int64_t rollout, int64_t device, bool *exists, struct fault *f);
/* In one state of a stage, oldest first; installs or shadows, whichever the stage has. Not shams. */
AVIARY_MUST_CHECK enum err deployment_in_state(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state,
	int64_t limit, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* The same, with an id above `after`: where not all of them will move, who asks again goes on behind the last one. */
AVIARY_MUST_CHECK enum err deployment_in_state_after(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state,
	int64_t after, int64_t limit, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* Shadows and shams of a stage in any state, of devices above `after`, by device. */
AVIARY_MUST_CHECK enum err deployment_aside(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t after, int64_t limit,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* Shams of one block that are waiting. */
AVIARY_MUST_CHECK enum err deployment_shams_of_block(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t block,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* How many deployments of a block's members, canary and shams, are not over. */
AVIARY_MUST_CHECK enum err deployment_unfinished_of_block(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *count,
	struct fault *f);
/* Of a stage, canaries or others that wait to be offered and are not withheld now, with an id above `after`, oldest first. Not shams. */
AVIARY_MUST_CHECK enum err deployment_waiting(struct deployment_store *s, int64_t rollout, int64_t stage, bool canaries, int64_t now_ms, int64_t after,
	int64_t limit, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* Deadlines that have passed, any rollout. */
AVIARY_MUST_CHECK enum err deployment_overdue(struct deployment_store *s, int64_t now_ms, int64_t limit, struct deployment_row **rows,
	size_t *count, struct arena *a, struct fault *f);
/* A page of a rollout's, by id above `after`; state DEPLOYMENT_STATUS_COUNT: any; stage < 0: any. */
AVIARY_MUST_CHECK enum err deployment_page(struct deployment_store *s, int64_t rollout, int64_t stage, enum deployment_status state, int64_t after,
	int64_t limit, struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
AVIARY_MUST_CHECK enum err deployment_forget_device(struct deployment_store *s, int64_t device, struct fault *f); /* deletes its rows */
/* Counts by state of one stage, without shams. */
AVIARY_MUST_CHECK enum err deployment_counts(struct deployment_store *s, int64_t rollout, int64_t stage,
	uint32_t counts[DEPLOYMENT_STATUS_COUNT], struct fault *f);
/* A device takes part in one rollout at a time. ERR_CONFLICT when it already does. */
AVIARY_MUST_CHECK enum err deployment_activate(struct deployment_store *s, int64_t device, int64_t deployment, struct fault *f);
AVIARY_MUST_CHECK enum err deployment_deactivate(struct deployment_store *s, int64_t device, struct fault *f);
AVIARY_MUST_CHECK enum err deployment_active_of(struct deployment_store *s, int64_t device, int64_t *deployment, struct fault *f); /* 0: none */
/* Some of a stage's, any state and kind, in no order. */
AVIARY_MUST_CHECK enum err deployment_of_stage(struct deployment_store *s, int64_t rollout, int64_t stage, int64_t limit,
	struct deployment_row **rows, size_t *count, struct arena *a, struct fault *f);
/* Deletes one; its device takes part no more. */
AVIARY_MUST_CHECK enum err deployment_remove(struct deployment_store *s, const struct deployment_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err deployment_active_each(struct deployment_store *s, void (*fn)(void *ctx, int64_t device, int64_t deployment, int64_t rollout), void *ctx,
	struct fault *f);

#endif
