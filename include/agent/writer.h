/* JSON text into a fixed buffer. The caller writes punctuation; what does not fit marks the writer failed and is
 * dropped. */
#ifndef AVIARY_AGENT_WRITER_H
#define AVIARY_AGENT_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_writer {
	char *out;
	size_t size, len; /* room for a NUL is kept: len < size */
	bool failed;
};

void agent_writer_init(struct agent_writer *w, char *out, size_t size);
void agent_writer_bytes(struct agent_writer *w, const char *text, size_t len);
void agent_writer_text(struct agent_writer *w, const char *text);
void agent_writer_int(struct agent_writer *w, int64_t v);
/* Nine significant digits; integers up to 2^53 exactly. The value must be finite. */
void agent_writer_number(struct agent_writer *w, double v);
/* "text" with quotes and escapes. The text must be UTF-8; bytes that are none are written as '?'. */
void agent_writer_string(struct agent_writer *w, const char *text);
/* ,"key": or "key": when the last byte opened an object. */
void agent_writer_key(struct agent_writer *w, const char *key);

#endif
