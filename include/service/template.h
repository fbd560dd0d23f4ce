/* Texts with {{name}} in them: checked where they are made, filled where somebody is told. Which names there are is the caller's table. */
#ifndef AVIARY_SERVICE_TEMPLATE_H
#define AVIARY_SERVICE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct template_names {
	const char *const *names;
	size_t count;
};
/* ERR_INVALID at the pointer: a {{ without a known name and }} behind it, or more than `most` bytes. */
AVIARY_MUST_CHECK enum err template_check(const struct template_names *n, const char *text, size_t most, const char *pointer, struct fault *f);
/* `values` in the order of the names. is_json: values are escaped for the inside of a JSON string. The text was checked. */
void template_fill(const struct template_names *n, const char *text, const char *const *values, bool is_json, struct buf *out);

#endif
