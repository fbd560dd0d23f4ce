#include "base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ALIGN = 16,
	FIRST_CHUNK = 4096 - 64, /* with malloc's and our header still within a page */
	LARGEST_STEP = 64 * 1024 /* chunks double up to this; a larger request gets a chunk of its own size */
};

struct chunk {
	struct chunk *older;
	size_t size, used;
	_Alignas(ALIGN) unsigned char bytes[];
};

struct arena {
	struct chunk *newest;
	size_t cap_bytes, used_bytes, next_size;
};

static void *must(void *p)
{
	if (p == NULL) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

struct arena *arena_new(size_t cap_bytes)
{
	struct arena *a = must(calloc(1, sizeof *a));
	a->cap_bytes = cap_bytes;
	a->next_size = FIRST_CHUNK;
	return a;
}

void arena_free(struct arena *a)
{
	if (a == NULL) return;
	for (struct chunk *c = a->newest, *older; c != NULL; c = older) {
		older = c->older;
		free(c);
	}
	free(a);
}

/* Keeps the first chunk: the usual message fits in it, so a reused arena does not call malloc at all. */
void arena_reset(struct arena *a)
{
	while (a->newest != NULL && a->newest->older != NULL) {
		struct chunk *older = a->newest->older;
		free(a->newest);
		a->newest = older;
	}
	if (a->newest != NULL && a->newest->size > FIRST_CHUNK) {
		free(a->newest);
		a->newest = NULL;
	}
	if (a->newest != NULL) a->newest->used = 0;
	a->used_bytes = 0;
	a->next_size = FIRST_CHUNK;
}

static struct chunk *grow(struct arena *a, size_t need)
{
	size_t size = need > a->next_size ? need : a->next_size;
	struct chunk *c = must(malloc(sizeof *c + size));
	c->older = a->newest;
	c->size = size;
	c->used = 0;
	a->newest = c;
	if (a->next_size < LARGEST_STEP) a->next_size *= 2;
	return c;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
	if (size_bytes > SIZE_MAX / 2) must(NULL);
	size_t need = (size_bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (need == 0) need = ALIGN;
	struct chunk *c = a->newest;
	if (c == NULL || c->size - c->used < need) c = grow(a, need);
	void *p = c->bytes + c->used;
	c->used += need;
	a->used_bytes += need;
	return memset(p, 0, need);
}

void *arena_array(struct arena *a, size_t count, size_t size_bytes)
{
	size_t total;
	if (__builtin_mul_overflow(count, size_bytes, &total)) must(NULL);
	return arena_alloc(a, total);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy = arena_alloc(a, len + 1);
	if (len > 0) memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	assert(len >= 0);
	char *text = arena_alloc(a, (size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

size_t arena_used_bytes(const struct arena *a)
{
	return a->used_bytes;
}

bool arena_is_over(const struct arena *a)
{
	return a->used_bytes > a->cap_bytes;
}
