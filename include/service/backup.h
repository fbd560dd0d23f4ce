/* Online backup into <state>/backup/<time>/: both databases, the keys, and the artifacts as hard links.
 *
 * A closed job for any thread: it opens its own read-only connections, so the daemon goes on. The directory appears
 * under its name only when it is whole. What it is not: a copy on another disk; people copy the directory away, it
 * never changes. Restore: the directory's content is a state directory (docs/man/aviaryd.8).
 */
#ifndef AVIARY_SERVICE_BACKUP_H
#define AVIARY_SERVICE_BACKUP_H

#include <stdint.h>

#include "base/err.h"

struct backup_job {
	char state_dir[512];
	int64_t now_ms;
	/* filled by backup_run */
	char name[32]; /* "20260101T120000Z": the directory */
	int64_t size_bytes, artifacts;
	enum err result;
	struct fault fault;
};

void backup_run(struct backup_job *job);

#endif
