/* FlatBuffers, read with every offset checked.
 *
 * The format: https://flatbuffers.dev/internals - tables of optional fields behind vtables, vectors, strings, all by
 * relative offset. This is a reader of a window of bytes and knows no schema: its callers name fields by number. The
 * first thing that is wrong sticks, with its place; after that every read gives nothing, so that a caller may ask at the
 * end of a step whether all was well.
 */
#ifndef AVIARY_CORE_FLATBUF_H
#define AVIARY_CORE_FLATBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/names.h"
#include "core/place.h"

struct flatbuf_field {
	uint16_t id;
	const char *name;
};

struct flatbuf {
	const uint8_t *data;
	size_t size;
	struct place place;
	/* Where tables lie, when not NULL: each is noted when it is read, for flatbuf_overlap. */
	uint64_t *spans;
	size_t span_count, span_cap;
};

struct flatbuf_table {
	size_t at;       /* of its first byte; 0: there is none, and every field of it is absent */
	size_t vtable;
	uint16_t bytes, vtable_bytes;
};

struct flatbuf_vector {
	size_t at;       /* of its first element; 0: there is none */
	uint32_t count;
};

/* The data must outlive the reader. */
void flatbuf_init(struct flatbuf *fb, const uint8_t *data, size_t size);
bool flatbuf_is_good(const struct flatbuf *fb);
struct flatbuf_table flatbuf_root(struct flatbuf *fb);
/* `width` is 1, 2, 4 or 8 bytes. */
uint64_t flatbuf_uint(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width,
                      uint64_t absent);
int64_t flatbuf_int(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width,
                    int64_t absent);
struct flatbuf_table flatbuf_child(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field);
struct flatbuf_vector flatbuf_vector(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field,
                                     unsigned width);
struct slice flatbuf_text(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field);
/* Element `i`, which must be below the count. */
struct flatbuf_table flatbuf_item(struct flatbuf *fb, struct flatbuf_vector v, uint32_t i);
int32_t flatbuf_item_i32(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i);
int64_t flatbuf_item_i64(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i);
float flatbuf_item_f32(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i);

/* Tables noted so far lie side by side; one table that is referred to twice is none that overlaps. Sorts the notes. */
void flatbuf_check_overlap(struct flatbuf *fb);

void sort_keys(uint64_t *keys, size_t count); /* ascending, in place, n log n whatever the order was */

#endif
