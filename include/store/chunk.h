/* The reports of one device over some time, packed small: what regrouping (store/regroup.h) makes of the log, and what queries of single devices read.
 *
 * Each report is told as what differs from the one before: a sensor that reports every minute needs two or three bytes a metric. Nothing
 * is lost: chunk_expand gives the log's own records again (store/report_log.h), which all readers know.
 * A chunk begins with two zero bytes, which no batch of the log does, and the number of its format.
 */
#ifndef AVIARY_STORE_CHUNK_H
#define AVIARY_STORE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/report_log.h"

struct chunk_writer;
struct chunk_writer *chunk_writer_new(void); /* some 80 KB; used for one chunk after the other */
void chunk_writer_free(struct chunk_writer *w); /* NULL is allowed */

/* Begins a chunk at the end of `out`, which must live until the last report was added. base_ms: no report was received before. */
void chunk_begin(struct chunk_writer *w, struct buf *out, int64_t device, int64_t base_ms);
/* Of that device, in order of arrival. *r is walked to its end. */
void chunk_add(struct chunk_writer *w, struct log_report *r);

bool chunk_is(const void *data, size_t len); /* a chunk, and not a batch of the log */
/* Appends the chunk's reports as records of the log with the same base. False when the bytes are no chunk: what is in `out` is then to be
 * thrown away. */
bool chunk_expand(const void *data, size_t len, int64_t base_ms, struct buf *out);

#endif
