#include "core/place.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void place_enter(struct place *p, const char *name, int64_t index)
{
	assert(p->depth < PLACE_DEPTH);
	p->steps[p->depth++] = (struct place_step){name, index};
}

void place_leave(struct place *p)
{
	assert(p->depth > 0);
	p->depth--;
}

void place_print(const struct place *p, const char *name, char *out, size_t out_size)
{
	size_t len = 0;
	out[0] = '\0';
	for (unsigned i = 0; i < p->depth && len < out_size; i++) {
		const struct place_step *step = &p->steps[i];
		const char *dot = i > 0 ? "." : "";
		if (step->index < 0)
			len += (size_t)snprintf(out + len, out_size - len, "%s%s", dot, step->name);
		else
			len += (size_t)snprintf(out + len, out_size - len, "%s%s[%lld]", dot, step->name, (long long)step->index);
	}
	if (name != NULL && len < out_size) snprintf(out + len, out_size - len, "%s%s", len > 0 ? "." : "", name);
}

void place_fail(struct place *p, enum err error, const char *name, size_t at, const char *fmt, ...)
{
	char path[128], text[96];
	va_list args;
	if (p->error != ERR_OK) return;
	p->error = error;
	place_print(p, name, path, sizeof path);
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	snprintf(p->why, sizeof p->why, "%s at byte %zu: %s", path[0] != '\0' ? path : "the file", at, text);
}
