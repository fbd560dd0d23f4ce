/* Where in a file a reader is, and the first thing it found wrong there: "subgraphs[0].operators[3].inputs at byte 1234:
 * ...". The first failure sticks; readers ask for it at the end of a step. */
#ifndef AVIARY_CORE_PLACE_H
#define AVIARY_CORE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PLACE_DEPTH = 80 };

struct place {
	enum err error; /* ERR_INVALID, or ERR_TOO_LARGE where a limit was passed */
	char why[256];
	unsigned depth;
	struct place_step {
		const char *name; /* a literal */
		int64_t index;    /* -1: none */
	} steps[PLACE_DEPTH];
};

void place_enter(struct place *p, const char *name, int64_t index);
void place_leave(struct place *p);
/* `name` (may be NULL) is the last part of the path. */
void place_print(const struct place *p, const char *name, char *out, size_t out_size);
/* Does nothing after a failure. */
void place_fail(struct place *p, enum err error, const char *name, size_t at, const char *fmt, ...) AVIARY_PRINTF(5, 6);

#endif
