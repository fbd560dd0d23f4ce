/* A file that is received before anybody knows how long it will be, or what its digest is: a part of an upload in a form. Written and
 * hashed as it comes, in constant memory, in the uploads directory; service/modules.h takes it over, or it goes.
 */
#ifndef AVIARY_SERVICE_SPOOL_H
#define AVIARY_SERVICE_SPOOL_H

#include <stdint.h>

#include "base/crypto.h"
#include "base/err.h"
#include "service/call.h"

struct spool;

AVIARY_MUST_CHECK enum err spool_open(struct call *c, struct spool **out);
/* ERR_TOO_LARGE: more than an artifact may have; ERR_FULL: the disk's reserve begins. */
AVIARY_MUST_CHECK enum err spool_write(struct spool *s, const void *data, size_t len, struct fault *f);
int64_t spool_size(const struct spool *s);
/* After the last byte. */
void spool_digest(struct spool *s, char sha256[SHA256_HEX]);
const char *spool_path(const struct spool *s);
/* is_taken: the file has a new owner; else it is removed. NULL is allowed. */
void spool_close(struct spool *s, bool is_taken);

#endif
