/* Work off the loop thread: a bounded pool of closed jobs, and one dedicated worker with one job in flight.
 *
 * A job is closed: `work` runs on another thread and touches nothing but its ctx (no pointer into live state, no call
 * into net/); `done` runs on the loop thread afterwards, and the tick follows. Every job that was accepted gets its
 * `done`, exactly once.
 */
#ifndef AVIARY_NET_JOBS_H
#define AVIARY_NET_JOBS_H

#include <stdbool.h>

#include "base/err.h"
#include "net/loop.h"

/* The pool has libuv's threads (UV_THREADPOOL_SIZE, 4 by default), shared with name resolution. */
struct jobs;
struct jobs *jobs_new(struct loop *l, unsigned limit); /* limit: jobs queued and running together */
void jobs_free(struct jobs *j);                        /* drains first; NULL is allowed */
/* ERR_UNAVAILABLE when the limit is reached or the pool is draining: nothing was queued. done may be NULL. */
AVIARY_MUST_CHECK enum err jobs_submit(struct jobs *j, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);
unsigned jobs_pending(const struct jobs *j);
/* Accepts nothing more and runs the loop until all jobs are done. At shutdown, when loop_run has returned. */
void jobs_drain(struct jobs *j);

/* A thread of its own, so that its latency does not depend on the pool: the batch writer. */
struct worker;
struct worker *worker_new(struct loop *l, const char *name); /* name: of the thread, at most 15 bytes */
void worker_free(struct worker *w);                          /* drains first, joins; NULL is allowed */
/* ERR_UNAVAILABLE while a job is in flight: nothing was queued. A done function may submit the next job. */
AVIARY_MUST_CHECK enum err worker_submit(struct worker *w, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);
bool worker_is_busy(const struct worker *w); /* from submit until done has been called */
void worker_drain(struct worker *w);         /* runs the loop until idle; not from within a handler */

#endif
