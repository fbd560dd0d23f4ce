/* Turns the log, which is in order of arrival, into chunks by device (store/chunk.h), a period of the log at a time.
 *
 * A period is an hour of the log, or less where more than REGROUP_REPORTS_MAX reports came. It is read as often as its reports fill the working
 * memory: each pass takes the next devices that fit, and writes their chunks in order. All in bounded steps on the writer's thread. The
 * range of a period is written down before its first pass, so what a kill leaves half done is done again with the same result.
 */
#ifndef AVIARY_STORE_REGROUP_H
#define AVIARY_STORE_REGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define REGROUP_PERIOD_MS INT64_C(3600000)
#define REGROUP_REPORTS_MAX 8000000 /* half a gigabyte of log; a pass over it takes a second */

struct db;
struct regroup;

/* Statements on the writer's connection, which must outlive it. pass_bytes: working memory of a pass; 0: 24 MiB. */
AVIARY_MUST_CHECK enum err regroup_open(struct db *db, size_t pass_bytes, struct regroup **out, struct fault *f);
void regroup_free(struct regroup *r); /* NULL is allowed */
int64_t regroup_upto(const struct regroup *r); /* chunks hold every batch up to this one */

/* One bounded step (some ten milliseconds), committed; *did: there was something to do. Outside of a transaction. hurry: whatever there is makes a
 * period, for a log that is to shrink. */
AVIARY_MUST_CHECK enum err regroup_step(struct regroup *r, int64_t now_ms, bool hurry, bool *did, struct fault *f);
/* Deletes some chunks of the oldest period, if it ended before before_ms; in the running transaction. */
AVIARY_MUST_CHECK enum err regroup_drop(struct regroup *r, int64_t before_ms, bool *did, struct fault *f);

#endif
