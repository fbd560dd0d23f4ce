#include "service/unit.h"

#include <assert.h>
#include <stdlib.h>

#include "service/metrics.h"
#include "service/outbox.h"
#include "base/clock.h"
#include "store/db.h"

#define DEPTH_MAX 8

struct units {
	struct unit_listener listeners[UNIT_LISTENERS_MAX];
	size_t count;
	struct outbox_mark marks[DEPTH_MAX]; /* of the units that are open */
	uint64_t numbers[DEPTH_MAX];
	size_t depth;
	uint64_t newest, undone_from;
};

struct units *units_new(void)
{
	struct units *u = calloc(1, sizeof *u);
	if (u == NULL)
		abort();
	return u;
}

void units_free(struct units *u)
{
	free(u);
}

void units_listen(struct units *u, struct unit_listener listener)
{
	assert(u->count < UNIT_LISTENERS_MAX);
	u->listeners[u->count++] = listener;
}

enum err unit_begin(struct services *s, struct fault *f)
{
	struct units *u = s->units;
	assert(u->depth < DEPTH_MAX);
	enum err e = db_begin(s->db, f);
	if (e == ERR_OK) {
		u->numbers[u->depth] = ++u->newest;
		u->marks[u->depth++] = outbox_mark(s->outbox);
	}
	return e;
}

uint64_t unit_newest(const struct services *s)
{
	return s->units->newest;
}

uint64_t unit_undone_from(const struct services *s)
{
	return s->units->undone_from;
}

enum err unit_end(struct services *s, enum err e, struct fault *f)
{
	struct units *u = s->units;
	assert(u->depth > 0);
	struct outbox_mark mark = u->marks[--u->depth];
	enum err end = db_end(s->db, e == ERR_OK, e == ERR_OK ? f : NULL);
	if (e == ERR_OK && end == ERR_OK)
		return ERR_OK;
	outbox_undo(s->outbox, mark);
	u->undone_from = u->numbers[u->depth];
	for (size_t i = 0; i < u->count; i++) {
		if (u->listeners[i].undone != NULL)
			u->listeners[i].undone(u->listeners[i].ctx);
	}
	return e != ERR_OK ? e : end;
}

bool unit_is_pending(const struct services *s)
{
	return db_is_dirty(s->db);
}

bool unit_has_changes(const struct services *s)
{
	return db_is_changed(s->db);
}

enum err units_commit(struct services *s, struct fault *f)
{
	struct units *u = s->units;
	assert(u->depth == 0);
	bool was_dirty = db_is_dirty(s->db), was_changed = db_is_changed(s->db);
	uint64_t start_ns = clock_mono_ns();
	enum err e = db_commit(s->db, f);
	if (was_changed) { /* an empty commit costs nothing and says nothing */
		metric_add(e == ERR_OK ? METER_COMMITS : METER_COMMITS_FAILED, 1);
		metric_observe_ns(HISTOGRAM_COMMIT_SECONDS, clock_mono_ns() - start_ns);
	}
	if (e != ERR_OK)
		outbox_drop(s->outbox);
	for (size_t i = 0; was_dirty && i < u->count; i++) {
		void (*fn)(void *) = e == ERR_OK ? u->listeners[i].committed : u->listeners[i].lost;
		if (fn != NULL)
			fn(u->listeners[i].ctx);
	}
	return e;
}
