/* Units of work and the tick's commit, for those who may not see the store: a request or a message is one unit, it
 * leaves everything or nothing; all units of a tick become durable together.
 *
 * Mirrors in memory listen: `undone` after a unit was rolled back, `committed` after COMMIT, `lost` when COMMIT failed
 * and everything since the last one is gone. Services call it with db_begin and db_end directly only for parts of a
 * unit.
 */
#ifndef AVIARY_SERVICE_UNIT_H
#define AVIARY_SERVICE_UNIT_H

#include <stdbool.h>

#include "base/err.h"
#include "service/call.h"

struct unit_listener {
	void (*committed)(void *ctx); /* any of the three may be NULL */
	void (*undone)(void *ctx);
	void (*lost)(void *ctx);
	void *ctx;
};
#define UNIT_LISTENERS_MAX 16

struct units *units_new(void);
void units_free(struct units *u); /* NULL is allowed */
void units_listen(struct units *u, struct unit_listener listener); /* called in order of registration */

/* Units are numbered as they begin. What was written when unit_newest said n is gone when a unit from number <= n was undone, and only then:
 * for those who remember over several ticks what they have written. */
uint64_t unit_newest(const struct services *s);
uint64_t unit_undone_from(const struct services *s); /* in `undone`: the number of the unit that was rolled back */

AVIARY_MUST_CHECK enum err unit_begin(struct services *s, struct fault *f);
/* Keeps or undoes what was done since unit_begin. `e` of the work itself decides and is returned, unless keeping fails.
 * The fault of the work is left as it is. */
AVIARY_MUST_CHECK enum err unit_end(struct services *s, enum err e, struct fault *f);
bool unit_is_pending(const struct services *s); /* something waits for a commit */
bool unit_has_changes(const struct services *s); /* rows were changed: an empty COMMIT proves nothing of the disk */
/* Once a tick. On failure nothing since the last commit happened: listeners and the outbox have been told. */
AVIARY_MUST_CHECK enum err units_commit(struct services *s, struct fault *f);

#endif
