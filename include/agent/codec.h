/* Hex, base64 and little-endian integers for the device side. No other encodings. */
#ifndef AVIARY_AGENT_CODEC_H
#define AVIARY_AGENT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void agent_hex_encode(const uint8_t *data, size_t len, char *out); /* 2*len+1 bytes, lower case */
/* Exactly out_len bytes from lower-case digits: one text for one value, so that identities cannot be spelled in two
 * ways. */
bool agent_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t out_len);
/* RFC 4648 section 4 with padding; "\/" as JSON writers may write a slash is taken as a slash. `out` may be the text
 * itself: the result is never longer than what was read. False when malformed or longer than out_size. */
bool agent_base64_decode(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *out_len);

/* A cursor over a fixed record; running over its end is a bug of the caller and asserts. */
struct agent_cursor {
	uint8_t *at, *end;
};
void agent_put_uint(struct agent_cursor *c, uint64_t v, size_t bytes);
void agent_put_bytes(struct agent_cursor *c, const void *data, size_t len);
uint64_t agent_get_uint(struct agent_cursor *c, size_t bytes);
void agent_get_bytes(struct agent_cursor *c, void *data, size_t len);

#endif
