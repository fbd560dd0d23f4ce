/* Rows of rollouts and stages, and the judge's books: blocks, starts, baselines, looks. No rules here.
 * Texts that are returned live in the arena that was given. */
#ifndef AVIARY_STORE_ROLLOUT_STORE_H
#define AVIARY_STORE_ROLLOUT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct rollout_store;

AVIARY_MUST_CHECK enum err rollout_store_open(struct db *db, struct rollout_store **out, struct fault *f);
void rollout_store_close(struct rollout_store *s);

struct rollout_row {
	int64_t id, release, device_group; /* device_group 0: none */
	const char *name, *release_name, *target_filter, *status, *reason, *spec, *guarantee, *created_by, *approved_by;
	uint8_t seed[32], seed_sha256[32];
	int64_t target, created_at, started_at, ended_at, revision; /* times 0: not yet */
	int64_t retry_at;   /* failures up to then are to be attempted again; 0: none */
	int64_t deleted_at; /* on its way out: seen by nobody, its rows go in pieces; 0: not */
};
AVIARY_MUST_CHECK enum err rollout_insert(struct rollout_store *s, const struct rollout_row *row, int64_t *id, struct fault *f);
AVIARY_MUST_CHECK enum err rollout_get(struct rollout_store *s, int64_t id, struct rollout_row *out, struct arena *a, struct fault *f);
/* Newest first, below id `before` (0: from the newest); status NULL: all. */
AVIARY_MUST_CHECK enum err rollout_page(struct rollout_store *s, const char *status, int64_t before, int64_t limit, struct rollout_row **rows,
	size_t *count, struct arena *a, struct fault *f);
/* Ids of rollouts that have not ended, oldest first. */
AVIARY_MUST_CHECK enum err rollout_active_ids(struct rollout_store *s, int64_t **ids, size_t *count, struct arena *a, struct fault *f);
/* Ids of those that are on their way out. */
AVIARY_MUST_CHECK enum err rollout_hidden_ids(struct rollout_store *s, int64_t **ids, size_t *count, struct arena *a, struct fault *f);
/* Writes status, reason, guarantee, approved_by, target, retry_at and times; the revision grows by one. */
AVIARY_MUST_CHECK enum err rollout_update(struct rollout_store *s, const struct rollout_row *row, struct fault *f);
/* Pages and lists leave it out from now on; only rollout_get and rollout_hidden_ids still find it. */
AVIARY_MUST_CHECK enum err rollout_hide(struct rollout_store *s, int64_t id, int64_t now_ms, struct fault *f);
/* Deletes at most `limit` rows of the judge's books, of one stage or (stage < 0) of all; *is_empty: there were none. */
AVIARY_MUST_CHECK enum err rollout_purge(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t limit, bool *is_empty, struct fault *f);
AVIARY_MUST_CHECK enum err rollout_delete(struct rollout_store *s, int64_t id, struct fault *f); /* when nothing else of it is left: cascades are not bounded */
/* An earlier rollout of the release that was reverted: its id, 0 when there is none. */
AVIARY_MUST_CHECK enum err rollout_reverted_of(struct rollout_store *s, int64_t release, int64_t *id, struct fault *f);

struct stage_row {
	int64_t rollout, stage;
	const char *name, *status, *verdict;
	int64_t planned, started_at, baking_at, ended_at, error_floor, blocks, controls, look, extension, extension_drawn;
	bool is_judged, held, is_shadow;
};
AVIARY_MUST_CHECK enum err stage_insert(struct rollout_store *s, const struct stage_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err stage_update(struct rollout_store *s, const struct stage_row *row, struct fault *f); /* all but planned, name and mode */
AVIARY_MUST_CHECK enum err stage_list(struct rollout_store *s, int64_t rollout, struct stage_row **rows, size_t *count, struct arena *a,
	struct fault *f);

struct block_row {
	int64_t device, block, t0; /* t0 0: not started */
	int64_t silent_since;      /* block_page: its canary was silent when it began, since when; 0: no */
	int64_t unit;              /* 0: the device alone */
	int64_t stratum;           /* as it was drawn: what a device says later does not move it */
	bool is_canary;
};
AVIARY_MUST_CHECK enum err block_insert(struct rollout_store *s, int64_t rollout, int64_t stage, const struct block_row *row, struct fault *f);
/* By block, then device. */
AVIARY_MUST_CHECK enum err block_list(struct rollout_store *s, int64_t rollout, int64_t stage, struct block_row **rows, size_t *count,
	struct arena *a, struct fault *f);
/* Members after (block, device), at most `limit`, into `rows`. */
AVIARY_MUST_CHECK enum err block_page(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t after_block, int64_t after_device,
	struct block_row *rows, size_t limit, size_t *count, struct fault *f);
/* The device's places in blocks, and its baselines: before it is deleted. */
AVIARY_MUST_CHECK enum err block_forget_device(struct rollout_store *s, int64_t device, struct fault *f);
/* The block of a canary; ERR_NOT_FOUND when the device is not one. */
AVIARY_MUST_CHECK enum err block_of_canary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t *block, struct fault *f);
/* A canary of the block; ERR_NOT_FOUND when it has none. */
AVIARY_MUST_CHECK enum err block_canary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *device, struct fault *f);
/* The block of any member, canary or control. */
AVIARY_MUST_CHECK enum err block_of_member(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t *block, struct fault *f);
/* First start wins; *is_new tells whether this one did. silent_since 0: its canary was heard. */
AVIARY_MUST_CHECK enum err block_start(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t t0, int64_t silent_since,
	bool *is_new, struct fault *f);
/* When the block began; zeros: not yet. */
AVIARY_MUST_CHECK enum err block_started(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t block, int64_t *t0,
	int64_t *silent_since, struct fault *f);

AVIARY_MUST_CHECK enum err baseline_insert(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device, int64_t gate,
	const void *accum, size_t len, struct fault *f);
/* `fn` is called for every baseline of the stage. */
AVIARY_MUST_CHECK enum err baseline_each(struct rollout_store *s, int64_t rollout, int64_t stage,
	void (*fn)(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len), void *ctx, struct fault *f);

/* The same of one device. */
AVIARY_MUST_CHECK enum err baseline_each_of(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t device,
	void (*fn)(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len), void *ctx, struct fault *f);

struct look_row {
	int64_t rollout, stage, look, gate, at, reports, blocks, devices, statistic;
	double p, p_ni, alpha_look, spent; /* p_ni NAN: none */
	const char *verdict, *data;
};
AVIARY_MUST_CHECK enum err look_insert(struct rollout_store *s, const struct look_row *row, struct fault *f);
AVIARY_MUST_CHECK enum err look_list(struct rollout_store *s, int64_t rollout, struct look_row **rows, size_t *count, struct arena *a,
	struct fault *f);
/* What a gate has spent and its smallest p, over the stage's looks; zeros without any. */
AVIARY_MUST_CHECK enum err look_summary(struct rollout_store *s, int64_t rollout, int64_t stage, int64_t gate, double *spent, double *p_min,
	struct fault *f);

#endif
