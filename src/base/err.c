#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int http_status;
	const char *name, *title;
} rows[ERR_COUNT] = {
#define X(name, status, title) {status, #name, title},
    ERR_TABLE(X)
#undef X
};

int err_http_status(enum err e)
{
	assert(e >= 0 && e < ERR_COUNT);
	return rows[e].http_status;
}

const char *err_title(enum err e)
{
	assert(e >= 0 && e < ERR_COUNT);
	return rows[e].title;
}

const char *err_name(enum err e)
{
	assert(e >= 0 && e < ERR_COUNT);
	return rows[e].name;
}

/* Where a text of `size` bytes was cut, drop the UTF-8 sequence that the cut may have split: these texts go into
 * JSON. */
static void trim_split_sequence(char *text, size_t size)
{
	size_t len = strlen(text), start = len;
	if (len + 1 < size) return; /* was not cut */
	while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
	if (start == 0) return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
	if (want > 1 && len - (start - 1) < want) text[start - 1] = '\0';
}

enum err fault_set(struct fault *f, enum err e, const char *pointer, const char *fmt, ...)
{
	if (f == NULL) return e;
	snprintf(f->pointer, sizeof f->pointer, "%s", pointer ? pointer : "");
	trim_split_sequence(f->pointer, sizeof f->pointer);
	va_list args;
	va_start(args, fmt);
	vsnprintf(f->detail, sizeof f->detail, fmt, args);
	va_end(args);
	trim_split_sequence(f->detail, sizeof f->detail);
	return e;
}

void fault_prefix(struct fault *f, const char *prefix)
{
	if (f == NULL) return;
	char joined[sizeof f->pointer];
	size_t prefix_len = strnlen(prefix, sizeof joined - 1);
	size_t rest_len = strnlen(f->pointer, sizeof joined - 1 - prefix_len);
	memcpy(joined, prefix, prefix_len);
	memcpy(joined + prefix_len, f->pointer, rest_len);
	joined[prefix_len + rest_len] = '\0';
	memcpy(f->pointer, joined, prefix_len + rest_len + 1);
	trim_split_sequence(f->pointer, sizeof f->pointer);
}
