/* Work off the loop, for services, which do not see net/: a port that the program fills with net/jobs.
 *
 * Work is closed: `work` runs on another thread and touches nothing but `arg`; `done` runs on the loop afterwards, exactly once, in a
 * tick of its own. What `arg` was made from may have changed meanwhile: `done` looks again before it writes.
 */
#ifndef AVIARY_SERVICE_OFFLOAD_H
#define AVIARY_SERVICE_OFFLOAD_H

#include "base/err.h"

struct offload {
	enum err (*submit)(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg);
	void *ctx;
};

/* Without a port (o or o->submit NULL: pure tests) both run here and now. ERR_UNAVAILABLE: no room, nothing was queued; try again with the next tick. */
AVIARY_MUST_CHECK enum err offload_submit(const struct offload *o, void (*work)(void *arg), void (*done)(void *arg), void *arg);

#endif
