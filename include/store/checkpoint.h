/* Checkpoints of a database by a connection of their own, so that who writes it need not wait for them.
 *
 * SQLite moves pages from the write-ahead log (WAL) into the database within COMMIT, whenever the log has 1000 pages: some ten milliseconds
 * and two syncs of whoever commits. A connection that was told db_checkpoint_elsewhere leaves that to this one, on another thread. A passive
 * pass waits for nobody and nobody waits for it; when it has moved everything, the next writer begins the log anew. What was committed
 * while it ran, or what a reader (a backup) still needs, is left for the next pass. Not here: when to run (aviaryd/checkpoint.c). */
#ifndef AVIARY_STORE_CHECKPOINT_H
#define AVIARY_STORE_CHECKPOINT_H

#include <stdint.h>

#include "base/err.h"

struct checkpoint;

/* Another connection to a database that is open already. */
AVIARY_MUST_CHECK enum err checkpoint_open(const char *path, struct checkpoint **out, struct fault *f);
void checkpoint_close(struct checkpoint *c); /* before the writer's db_close, which ends the log; NULL is allowed */

/* TRUNCATE also cuts the file to nothing. It keeps writers out meanwhile, so it is for times when nobody writes; ERR_TIMEOUT when somebody
 * writes or reads just now. */
enum checkpoint_mode { CHECKPOINT_PASSIVE, CHECKPOINT_TRUNCATE };
struct checkpoint_pass {
	int64_t pages; /* in the log when it began */
	int64_t moved; /* of them, in the database now, by this or an earlier pass; after TRUNCATE both are 0 */
};
/* One at a time, from any thread. A pass that could not move anything is no error; ERR_FULL and ERR_UNAVAILABLE: the log stays as it was. */
AVIARY_MUST_CHECK enum err checkpoint_run(struct checkpoint *c, enum checkpoint_mode mode, struct checkpoint_pass *pass, struct fault *f);

#endif
