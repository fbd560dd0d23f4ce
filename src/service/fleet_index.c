#include "service/fleet_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define TABLE_START 1024u
#define ID_GRAIN 16u
#define ID_CHUNK 65536u
#define NAME_NUMBERS (1 + FLEET_HARDWARE_MAX + FLEET_RELEASES_MAX)

/* The numbers of a kind are [first, end). */
static const struct {
	uint32_t first, end;
} name_range[FLEET_NAME_KINDS] = {
	[FLEET_HARDWARE] = {1, 1 + FLEET_HARDWARE_MAX},
	[FLEET_RELEASE] = {1 + FLEET_HARDWARE_MAX, NAME_NUMBERS},
};

static void *must_grow(void *old, size_t count, size_t size)
{
	assert(count < SIZE_MAX / size);
	void *p = realloc(old, count * size);
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

/* ---- tables ---- */

static void table_put(struct fleet_table *t, uint32_t hash, uint32_t value)
{
	uint32_t i = hash & t->mask;
	while (t->slots[i].value != 0)
		i = (i + 1) & t->mask;
	t->slots[i] = (struct fleet_slot){hash, value};
}

static void table_resize(struct fleet_table *t, uint32_t room)
{
	struct fleet_table grown = {calloc(room, sizeof *grown.slots), room - 1, t->used};
	if (grown.slots == NULL)
		abort();
	for (uint32_t i = 0; t->slots != NULL && i <= t->mask; i++) {
		if (t->slots[i].value != 0)
			table_put(&grown, t->slots[i].hash, t->slots[i].value);
	}
	free(t->slots);
	*t = grown;
}

static void table_add(struct fleet_table *t, uint32_t hash, uint32_t value)
{
	if ((t->used + 1) * UINT64_C(8) > (t->mask + UINT64_C(1)) * 5) /* at most 5/8 full */
		table_resize(t, 2 * (t->mask + 1));
	table_put(t, hash, value);
	t->used++;
}

/* Deletion without tombstones: what follows in the run moves back where its own place allows (Knuth, TAOCP 3, 6.4 R). */
static void table_remove(struct fleet_table *t, uint32_t hash, uint32_t value)
{
	uint32_t hole = hash & t->mask;
	while (t->slots[hole].value != value) {
		assert(t->slots[hole].value != 0);
		hole = (hole + 1) & t->mask;
	}
	for (uint32_t i = (hole + 1) & t->mask; t->slots[i].value != 0; i = (i + 1) & t->mask) {
		uint32_t home = t->slots[i].hash & t->mask;
		if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole] = (struct fleet_slot){0, 0};
	t->used--;
}

static uint32_t hash_text(const char *text, size_t len)
{
	uint64_t h = str_hash(text, len);
	return (uint32_t)(h ^ (h >> 32));
}

static uint32_t hash_row(int64_t row) /* rows are dense numbers: Fibonacci hashing spreads them */
{
	return (uint32_t)(((uint64_t)row * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* ---- memory of ids ---- */

static unsigned id_class(size_t len)
{
	return (unsigned)(len / ID_GRAIN); /* with the NUL: len 0..15 takes 16 bytes */
}

static char *id_new(struct fleet_index *x, const char *id, size_t len)
{
	unsigned class = id_class(len);
	size_t size = (class + 1) * ID_GRAIN;
	char *p = (char *)x->free_ids[class];
	if (p != NULL) {
		x->free_ids[class] = x->free_ids[class]->next;
	} else {
		if (x->chunk_count == 0 || x->chunk_used + size > ID_CHUNK) {
			x->chunks = must_grow(x->chunks, x->chunk_count + 1, sizeof *x->chunks);
			x->chunks[x->chunk_count++] = must_grow(NULL, ID_CHUNK, 1);
			x->chunk_used = 0;
		}
		p = x->chunks[x->chunk_count - 1] + x->chunk_used;
		x->chunk_used += size;
	}
	memcpy(p, id, len + 1);
	return p;
}

static void id_free(struct fleet_index *x, const char *id)
{
	unsigned class = id_class(strlen(id));
	struct fleet_id_piece *piece = (void *)(uintptr_t)id; /* pieces are 16-byte aligned */
	piece->next = x->free_ids[class];
	x->free_ids[class] = piece;
}

/* ---- kinds ---- */

static uint32_t hash_kind(uint32_t hardware, uint32_t release, uint32_t class)
{
	uint64_t h = ((uint64_t)hardware << 32 | release) * UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ (h >> 29) ^ class) * UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(h >> 32);
}

static uint32_t kind_take(struct fleet_index *x)
{
	uint32_t at = x->kind_free;
	if (at != 0) {
		x->kind_free = x->kinds[at].class;
		return at;
	}
	if (x->kind_count == x->kind_room) {
		x->kind_room = x->kind_room == 0 ? 64 : 2 * x->kind_room;
		x->kinds = must_grow(x->kinds, x->kind_room, sizeof *x->kinds);
	}
	return x->kind_count++;
}

static uint32_t kind_of(struct fleet_index *x, uint32_t hardware, uint32_t release, uint32_t class)
{
	uint32_t hash = hash_kind(hardware, release, class);
	for (uint32_t i = hash & x->by_kind.mask; x->by_kind.slots[i].value != 0; i = (i + 1) & x->by_kind.mask) {
		const struct fleet_kind *k = &x->kinds[x->by_kind.slots[i].value];
		if (k->hardware == hardware && k->release == release && k->class == class)
			return x->by_kind.slots[i].value;
	}
	uint32_t at = kind_take(x);
	x->kinds[at] = (struct fleet_kind){.hardware = hardware, .release = release, .class = class, .serial = ++x->kind_serial};
	table_add(&x->by_kind, hash, at);
	return at;
}

static void kind_leave(struct fleet_index *x, struct device_state *d)
{
	struct fleet_kind *k = &x->kinds[d->kind];
	if (d->kind == 0 || --k->devices > 0)
		return;
	table_remove(&x->by_kind, hash_kind(k->hardware, k->release, k->class), d->kind);
	*k = (struct fleet_kind){.class = x->kind_free};
	x->kind_free = d->kind;
}

void fleet_set_kind(struct fleet_index *x, struct device_state *d, uint32_t class)
{
	uint32_t kind = kind_of(x, d->hardware, d->release, class == 0 && d->is_ddi ? FLEET_CLASS_MUTE : class);
	if (kind == d->kind)
		return;
	x->kinds[kind].devices++;
	kind_leave(x, d);
	d->kind = kind;
}

/* ---- the index ---- */

void fleet_init(struct fleet_index *x)
{
	memset(x, 0, sizeof *x);
	table_resize(&x->by_id, TABLE_START);
	table_resize(&x->by_row, TABLE_START);
	table_resize(&x->by_kind, TABLE_START);
	x->kinds = must_grow(NULL, 64, sizeof *x->kinds);
	x->kind_room = 64;
	x->kind_count = 1;
	x->kinds[0] = (struct fleet_kind){0};
	x->names = calloc(NAME_NUMBERS, sizeof *x->names);
	if (x->names == NULL)
		abort();
	for (int kind = 0; kind < FLEET_NAME_KINDS; kind++) {
		table_resize(&x->by_name[kind], TABLE_START);
		x->name_next[kind] = name_range[kind].first;
	}
}

void fleet_done(struct fleet_index *x)
{
	for (uint32_t i = 0; i < x->slab_count; i++)
		free(x->slabs[i]);
	for (size_t i = 0; i < x->chunk_count; i++)
		free(x->chunks[i]);
	for (uint32_t i = 0; i < NAME_NUMBERS; i++)
		free(x->names[i]);
	for (int kind = 0; kind < FLEET_NAME_KINDS; kind++)
		free(x->by_name[kind].slots);
	free(x->slabs);
	free(x->chunks);
	free(x->names);
	free(x->free_indices);
	free(x->by_id.slots);
	free(x->by_row.slots);
	free(x->by_kind.slots);
	free(x->kinds);
	memset(x, 0, sizeof *x);
}

static struct device_state *state_at(const struct fleet_index *x, uint32_t index)
{
	return &x->slabs[index / FLEET_SLAB][index % FLEET_SLAB];
}

struct device_state *fleet_at(const struct fleet_index *x, uint32_t index)
{
	struct device_state *d = index < x->span ? state_at(x, index) : NULL;
	return d != NULL && d->row != 0 ? d : NULL;
}

static uint32_t new_index(struct fleet_index *x)
{
	if (x->free_count > 0)
		return x->free_indices[--x->free_count];
	if (x->span == x->slab_count * FLEET_SLAB) {
		x->slabs = must_grow(x->slabs, x->slab_count + 1, sizeof *x->slabs);
		x->slabs[x->slab_count++] = must_grow(NULL, FLEET_SLAB, sizeof **x->slabs);
	}
	return x->span++;
}

struct device_state *fleet_add(struct fleet_index *x, int64_t row, const char *id)
{
	size_t len = strlen(id);
	assert(row > 0 && len > 0 && len <= DEVICE_ID_MAX);
	assert(fleet_find(x, id, len) == NULL && fleet_by_row(x, row) == NULL);
	uint32_t index = new_index(x);
	struct device_state *d = state_at(x, index);
	*d = (struct device_state){.row = row, .id = id_new(x, id, len), .index = index};
	table_add(&x->by_id, hash_text(id, len), index + 1);
	table_add(&x->by_row, hash_row(row), index + 1);
	x->size++;
	if (row > x->last_row)
		x->last_row = row;
	return d;
}

void fleet_remove(struct fleet_index *x, struct device_state *d)
{
	assert(d->row > 0 && state_at(x, d->index) == d);
	table_remove(&x->by_id, hash_text(d->id, strlen(d->id)), d->index + 1);
	table_remove(&x->by_row, hash_row(d->row), d->index + 1);
	if (x->free_count == x->free_room) {
		x->free_room = x->free_room == 0 ? 64 : 2 * x->free_room;
		x->free_indices = must_grow(x->free_indices, x->free_room, sizeof *x->free_indices);
	}
	x->free_indices[x->free_count++] = d->index;
	id_free(x, d->id);
	kind_leave(x, d);
	*d = (struct device_state){.index = d->index};
	x->size--;
}

struct device_state *fleet_find(const struct fleet_index *x, const char *id, size_t len)
{
	uint32_t hash = hash_text(id, len);
	for (uint32_t i = hash & x->by_id.mask; x->by_id.slots[i].value != 0; i = (i + 1) & x->by_id.mask) {
		if (x->by_id.slots[i].hash != hash)
			continue;
		struct device_state *d = state_at(x, x->by_id.slots[i].value - 1);
		if (strncmp(d->id, id, len) == 0 && d->id[len] == '\0')
			return d;
	}
	return NULL;
}

struct device_state *fleet_by_row(const struct fleet_index *x, int64_t row)
{
	uint32_t hash = hash_row(row);
	for (uint32_t i = hash & x->by_row.mask; x->by_row.slots[i].value != 0; i = (i + 1) & x->by_row.mask) {
		if (x->by_row.slots[i].hash != hash)
			continue;
		struct device_state *d = state_at(x, x->by_row.slots[i].value - 1);
		if (d->row == row)
			return d;
	}
	return NULL;
}

/* ---- names ---- */

const char *fleet_name(const struct fleet_index *x, uint32_t number)
{
	assert(number < NAME_NUMBERS);
	return x->names[number] != NULL ? x->names[number] : "";
}

uint32_t fleet_interned(const struct fleet_index *x, enum fleet_name kind, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return 0;
	const struct fleet_table *t = &x->by_name[kind];
	uint32_t hash = hash_text(text, strlen(text));
	for (uint32_t i = hash & t->mask; t->slots[i].value != 0; i = (i + 1) & t->mask) {
		if (t->slots[i].hash == hash && strcmp(x->names[t->slots[i].value], text) == 0)
			return t->slots[i].value;
	}
	return 0;
}

uint32_t fleet_intern(struct fleet_index *x, enum fleet_name kind, const char *text)
{
	uint32_t known = fleet_interned(x, kind, text);
	if (known != 0 || text == NULL || text[0] == '\0' || x->name_next[kind] == name_range[kind].end)
		return known;
	size_t len = strlen(text);
	uint32_t number = x->name_next[kind]++;
	x->names[number] = must_grow(NULL, len + 1, 1);
	memcpy(x->names[number], text, len + 1);
	table_add(&x->by_name[kind], hash_text(text, len), number);
	return number;
}
