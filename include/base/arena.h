/* A region allocator: one arena a request or message, freed at once.
 *
 * Allocation never returns NULL: memory exhaustion aborts the process (state is on disk, the service manager restarts
 * it). What a client sends is bounded by limits before it reaches an arena; `arena_is_over` tells when a soft cap is
 * passed, so that a request can be refused with ERR_TOO_LARGE.
 */
#ifndef AVIARY_BASE_ARENA_H
#define AVIARY_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct arena;

struct arena *arena_new(size_t cap_bytes);
void arena_free(struct arena *a); /* NULL is allowed */
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t size_bytes); /* zeroed, 16-byte aligned; size 0 gives a valid pointer */
void *arena_array(struct arena *a, size_t count, size_t size_bytes); /* aborts on overflow of the product */
char *arena_strdup(struct arena *a, const char *s);                  /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) AVIARY_PRINTF(2, 3);
size_t arena_used_bytes(const struct arena *a);
bool arena_is_over(const struct arena *a);

#endif
