/* Rows of sql/fleet/0012_health.sql: commands, and each device's part of them (errands). Texts that are returned live in the arena. */
#ifndef AVIARY_STORE_COMMAND_STORE_H
#define AVIARY_STORE_COMMAND_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/command.h"

struct command_store;
struct db;

struct command_row {
	int64_t id;
	const char *kind, *params, *filter, *created_by;
	const char *device_id;       /* NULL: group and filter */
	int64_t group, health_check; /* 0: none */
	int64_t timeout_ms, spread_ms, created_at;
	double rate;
	bool is_spreading, is_cancelled;
	int64_t counts[COMMAND_STATE_COUNT]; /* devices in each state */
};
struct errand_row {
	int64_t command, device;
	enum command_state state;
	int64_t created_at, deadline_at, sent_at, ended_at; /* 0: not */
	const char *answer;  /* JSON, or NULL */
	const char *kind, *params; /* errand_get and errand_page only */
	const char *device_id;
};

AVIARY_MUST_CHECK enum err command_store_open(struct db *db, struct command_store **out, struct fault *f);
void command_store_close(struct command_store *s); /* NULL is allowed */

AVIARY_MUST_CHECK enum err command_insert(struct command_store *s, struct command_row *row, struct fault *f); /* fills id */
AVIARY_MUST_CHECK enum err command_get(struct command_store *s, int64_t id, struct arena *a, struct command_row *row, struct fault *f);
/* Newest first, id < before (0: from the newest). */
AVIARY_MUST_CHECK enum err command_page(struct command_store *s, int64_t before, int64_t limit, struct arena *a, struct command_row **rows, size_t *count,
	struct fault *f);
/* Those whose devices are still to be found, oldest first. */
AVIARY_MUST_CHECK enum err command_spreading(struct command_store *s, int64_t limit, struct arena *a, struct command_row **rows, size_t *count,
	struct fault *f);
AVIARY_MUST_CHECK enum err command_set_spread(struct command_store *s, int64_t id, struct fault *f); /* all are found */
AVIARY_MUST_CHECK enum err command_set_cancelled(struct command_store *s, int64_t id, struct fault *f); /* and no more are looked for */
/* Adds to a counter and takes from another one (COMMAND_STATE_COUNT: none). */
AVIARY_MUST_CHECK enum err command_move(struct command_store *s, int64_t id, enum command_state from, enum command_state to, struct fault *f);
/* Deletes at most `rows` errands of the oldest command made before, and that command once it has none. */
AVIARY_MUST_CHECK enum err command_retain(struct command_store *s, int64_t made_before, int64_t rows, struct fault *f);

/* *is_new false: it was there. */
AVIARY_MUST_CHECK enum err errand_insert(struct command_store *s, const struct errand_row *row, bool *is_new, struct fault *f);
AVIARY_MUST_CHECK enum err errand_get(struct command_store *s, int64_t command, int64_t device, struct arena *a, struct errand_row *row, bool *found,
	struct fault *f);
/* state, sent_at, ended_at and answer of *row. */
AVIARY_MUST_CHECK enum err errand_update(struct command_store *s, const struct errand_row *row, struct fault *f);
/* All that are open, after (command, device), in order. */
AVIARY_MUST_CHECK enum err errand_open_page(struct command_store *s, int64_t command, int64_t device, int64_t limit, struct arena *a, struct errand_row **rows,
	size_t *count, struct fault *f);
/* Of a command, by device above `after`; or (command 0) of a device, newest command first, below `after` (0: from the newest). `state` COUNT: any. */
AVIARY_MUST_CHECK enum err errand_page(struct command_store *s, int64_t command, int64_t device, enum command_state state, int64_t after, int64_t limit,
	struct arena *a, struct errand_row **rows, size_t *count, struct fault *f);

#endif
