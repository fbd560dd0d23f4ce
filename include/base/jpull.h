/* A pull parser for JSON: no tree, no allocation, no recursion. For hot paths and for devices (C99, freestanding).
 *
 * The caller walks: jp_next gives one event at a time. Strings are slices of the input, still escaped; jp_unescape
 * decodes one.
 */
#ifndef AVIARY_BASE_JPULL_H
#define AVIARY_BASE_JPULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum jp_event { JP_ERROR, JP_END, JP_OBJECT, JP_OBJECT_END, JP_ARRAY, JP_ARRAY_END, JP_KEY, JP_STRING, JP_NUMBER,
               JP_TRUE, JP_FALSE, JP_NULL };

#define JP_MAX_DEPTH 32

struct jp {
	const char *text;
	size_t len, at;
	/* the token of the last event: for JP_KEY and JP_STRING without the quotes */
	const char *token;
	size_t token_len;
	const char *error;   /* reason after JP_ERROR, a constant; `at` is its byte offset */
	uint8_t depth;
	uint8_t state;     /* private */
	uint32_t objects;  /* private: bit d is set when the container at depth d is an object */
};

/* The text must outlive the parser. Refused: invalid UTF-8, control characters and \u0000 and lone surrogates in
 * strings, nesting deeper than JP_MAX_DEPTH, trailing bytes. After JP_ERROR and JP_END every call returns the same
 * again. */
void jp_init(struct jp *p, const char *text, size_t len);
enum jp_event jp_next(struct jp *p);
/* Skips the value that starts with `event` (already returned by jp_next); false on error. */
bool jp_skip(struct jp *p, enum jp_event event);
/* The last token equals `name` (only for tokens without escapes; an escaped key never equals). */
bool jp_is(const struct jp *p, const char *name);
/* The last JP_NUMBER. jp_int: exact integers only, within int64; no exponent or fraction. jp_double: finite only,
 * correctly rounded to within 1 ulp; locale-independent. */
bool jp_int(const struct jp *p, int64_t *value);
bool jp_double(const struct jp *p, double *value);
/* Decodes the last string token into out (NUL-terminated, valid UTF-8, no NUL inside). Returns length, or -1 when it
 * does not fit or is refused. */
int jp_unescape(const struct jp *p, char *out, size_t out_size);

/* Length (1..4) of the valid UTF-8 sequence at s (RFC 3629: no surrogates, no overlong forms), 0 when there is none. */
size_t jp_utf8_len(const char *s, size_t len);

#endif
