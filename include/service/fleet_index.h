/* The fleet in memory: device states found by public id, by row and by dense index; and interned names.
 *
 * Pure data structure, made for a million devices: states in slabs (stable addresses), ids in pooled chunks, two open-addressing
 * tables of 8 bytes an entry. Knows nothing of the store. Belongs to service/registry; others use registry_find and friends.
 */
#ifndef AVIARY_SERVICE_FLEET_INDEX_H
#define AVIARY_SERVICE_FLEET_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/registry.h"

#define FLEET_SLAB 4096      /* states in a slab */
#define FLEET_ID_CLASSES 5   /* ids are kept in pieces of 16, 32, ... 80 bytes */
#define FLEET_HARDWARE_MAX 4096  /* distinct hardware classes; one more is refused */
#define FLEET_RELEASES_MAX 61439 /* distinct release names: devices choose them, so there must be an end */

#define FLEET_CLASS_MUTE UINT32_MAX /* in place of class 0, of a device whose protocol has no words for what it can do */

/* Two kinds of names, numbered in one range: hardware 1 .. FLEET_HARDWARE_MAX, releases above. */
enum fleet_name { FLEET_HARDWARE, FLEET_RELEASE, FLEET_NAME_KINDS };

/* Linear probing; entries carry their hash, so that growing and deleting need not look at the devices. */
struct fleet_slot {
	uint32_t hash;
	uint32_t value; /* index + 1; 0: empty */
};
struct fleet_table {
	struct fleet_slot *slots;
	uint32_t mask, used;
};

/* Devices that are the same for questions about models: hardware, release in use, capability class. Numbers are used again: `serial` tells. */
struct fleet_kind {
	uint32_t hardware, release, class;
	uint32_t devices; /* 0: a free place; `class` is the next one then */
	uint64_t serial;
};

struct fleet_id_piece {
	struct fleet_id_piece *next;
};

struct fleet_index {
	struct device_state **slabs;
	uint32_t slab_count, span, size;
	int64_t last_row; /* the highest that was ever added */
	uint32_t *free_indices;
	uint32_t free_count, free_room;
	struct fleet_table by_id, by_row, by_name[FLEET_NAME_KINDS];
	struct fleet_id_piece *free_ids[FLEET_ID_CLASSES];
	char **chunks; /* id memory */
	size_t chunk_count, chunk_used;
	struct fleet_kind *kinds; /* [0] is nobody's */
	uint32_t kind_count, kind_room, kind_free;
	uint64_t kind_serial;
	struct fleet_table by_kind;
	char **names; /* by number; [0] is "" */
	uint32_t name_next[FLEET_NAME_KINDS];
};

void fleet_init(struct fleet_index *x);
void fleet_done(struct fleet_index *x);
/* A new state, zeroed but for row, id and index. The id must be new and at most DEVICE_ID_MAX bytes. */
struct device_state *fleet_add(struct fleet_index *x, int64_t row, const char *id);
void fleet_remove(struct fleet_index *x, struct device_state *d);
struct device_state *fleet_find(const struct fleet_index *x, const char *id, size_t len);
struct device_state *fleet_by_row(const struct fleet_index *x, int64_t row);
struct device_state *fleet_at(const struct fleet_index *x, uint32_t index); /* NULL: free */
/* `class` 0 of a ddi device is FLEET_CLASS_MUTE. After its hardware or release changed, or with another capability class: the device counts among its likes. */
void fleet_set_kind(struct fleet_index *x, struct device_state *d, uint32_t class);
/* Number of a text, made when new; 0 for "" and NULL, and for a new text when there is no number left for its kind. */
uint32_t fleet_intern(struct fleet_index *x, enum fleet_name kind, const char *text);
uint32_t fleet_interned(const struct fleet_index *x, enum fleet_name kind, const char *text); /* 0: not known */
const char *fleet_name(const struct fleet_index *x, uint32_t number);

#endif
