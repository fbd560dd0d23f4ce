/* An array by device_state.index that grows by a block of places at a time: what is there stays where it is, and no piece of the loop copies a whole fleet.
 * Header only; zeroed = empty, places begin zeroed. */
#ifndef AVIARY_SERVICE_BLOCKS_H
#define AVIARY_SERVICE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_PLACES 1024u

struct blocks {
	void **items;    /* NULL: nobody was there yet */
	uint32_t count;
	uint32_t made;
	size_t bytes;    /* of a place; the same in every call */
};

/* NULL: nobody asked for one near it yet. */
static inline void *blocks_find(const struct blocks *b, uint32_t index)
{
	uint32_t at = index / BLOCK_PLACES;
	return at < b->count && b->items[at] != NULL ? (char *)b->items[at] + index % BLOCK_PLACES * b->bytes : NULL;
}

static inline void *blocks_at(struct blocks *b, uint32_t index, size_t bytes)
{
	uint32_t at = index / BLOCK_PLACES;
	if (at >= b->count) {
		uint32_t count = at + at / 2 + 16;
		void **items = reallocarray((void *)b->items, count, sizeof *items);
		if (items == NULL)
			abort();
		memset((void *)(items + b->count), 0, (count - b->count) * sizeof *items);
		b->items = items;
		b->count = count;
	}
	if (b->items[at] == NULL) {
		b->items[at] = calloc(BLOCK_PLACES, bytes);
		if (b->items[at] == NULL)
			abort();
		b->made++;
		b->bytes = bytes;
	}
	return blocks_find(b, index);
}

static inline uint32_t blocks_places(const struct blocks *b)
{
	return b->count * BLOCK_PLACES;
}

static inline int64_t blocks_bytes(const struct blocks *b)
{
	return (int64_t)(b->made * BLOCK_PLACES * b->bytes + b->count * sizeof *b->items);
}

static inline void blocks_free(struct blocks *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		free(b->items[i]);
	free((void *)b->items);
	*b = (struct blocks){.items = NULL};
}

#endif
