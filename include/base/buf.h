/* A growable byte buffer and a writer of JSON text onto it. Aborts when memory is exhausted.
 *
 * The JSON writer keeps the commas itself: call json_key before a value inside an object, and nothing inside an array.
 * It looks at the last byte written, so text before a document must end in a blank, a line feed or a colon.
 */
#ifndef AVIARY_BASE_BUF_H
#define AVIARY_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
	char *data; /* NUL-terminated whenever it is not NULL */
	size_t len, cap;
};
#define BUF_INIT {NULL, 0, 0}

void buf_done(struct buf *b); /* frees and returns to the initial state */
void buf_clear(struct buf *b);
void buf_reserve(struct buf *b, size_t extra_bytes);
void buf_append(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) AVIARY_PRINTF(2, 3);
char *buf_take(struct buf *b); /* ownership of data moves to the caller (free()); b is empty after */
const char *buf_cstr(const struct buf *b); /* "" when empty */

/* JSON text. Strings must be UTF-8; invalid bytes are written as U+FFFD, so the output is always valid JSON. */
void json_open_object(struct buf *b);
void json_close_object(struct buf *b);
void json_open_array(struct buf *b);
void json_close_array(struct buf *b);
void json_key(struct buf *b, const char *key);
void json_put_str(struct buf *b, const char *s); /* NULL writes null */
void json_put_strn(struct buf *b, const char *s, size_t len);
void json_put_int(struct buf *b, int64_t v);
void json_put_num(struct buf *b, double v); /* shortest text that reads back equal; NaN and infinities write null */
void json_put_bool(struct buf *b, bool v);
void json_put_null(struct buf *b);
void json_put_raw(struct buf *b, const char *json); /* already JSON; NULL writes null */
/* key and value in one call */
void json_str(struct buf *b, const char *key, const char *s);
void json_int(struct buf *b, const char *key, int64_t v);
void json_num(struct buf *b, const char *key, double v);
void json_bool(struct buf *b, const char *key, bool v);
void json_raw(struct buf *b, const char *key, const char *json);

#endif
