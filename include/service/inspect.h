/* What the content of an artifact says about itself: read off the loop when an upload ends, by core/model_file.h, and joined with what
 * its publisher declared.
 *
 * An inspection is closed work: it is made on the loop, run on any thread over a file that does not change any more, and looked at on
 * the loop again. It neither knows rows (service/catalog.h writes them) nor devices (service/compat.h).
 */
#ifndef AVIARY_SERVICE_INSPECT_H
#define AVIARY_SERVICE_INSPECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/model_file.h"

struct call;
struct model_facts;

#define DECLARED_BYTES_MAX 65536
#define INSPECT_ERROR_BYTES 384

/* X(NAME, text as in the row) */
#define FACTS_STATE_TABLE(X)                                                                                                                   \
	X(NONE, "none")       /* the content is not there yet */                                                                               \
	X(READING, "reading") /* it is, and is still to be read */                                                                             \
	X(READ, "read")                                                                                                                        \
	X(OPAQUE, "opaque")   /* of no format that is read, or a firmware */                                                                   \
	X(REFUSED, "refused")
enum facts_state {
#define X(name, text) FACTS_##name,
	FACTS_STATE_TABLE(X)
#undef X
};
const char *facts_state_text(enum facts_state s);

struct inspection {
	char *declared;     /* JSON text or NULL */
	bool is_firmware;   /* nothing is derived from its bytes */
	/* what came of it */
	enum facts_state state;
	char *facts, *summary, *requires; /* JSON texts; NULL: there is none */
	char error[INSPECT_ERROR_BYTES];  /* of one that is refused */
};

struct inspection *inspection_new(const char *declared, bool is_firmware); /* declared: a copy is made */
void inspection_free(struct inspection *i); /* NULL is allowed */
/* Any thread. A file that cannot be opened or mapped leaves READING: it is tried again. */
void inspection_run(struct inspection *i, const char *path);
/* The same over bytes in memory. */
void inspection_read(struct inspection *i, const void *data, size_t size);

/* A publisher's words: {"format": text, "requires": {..}, "quality": {name: number or text}}, all optional. *canonical gets them in one
 * form, in the arena; NULL when they say nothing. ERR_INVALID with the pointer from /declared on. */
AVIARY_MUST_CHECK enum err inspect_check_declared(const char *text, struct arena *a, const char **canonical, struct fault *f);

/* Goes on with what was not read yet (contents from before facts were known, or cut off by a kill): one at a time, in a job. */
void inspect_tick(struct call *c);

#endif
