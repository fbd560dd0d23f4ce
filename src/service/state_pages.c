/* A page: (device, length, bytes)..., integers as core/varint.h has them. */
#include "service/state_pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "core/varint.h"

#define SLACK 2000 /* states out of date that are always allowed */

struct page { /* one that is on disk, or on its way there */
	uint32_t *devices;
	uint32_t count, live; /* live: devices whose newest state is here */
};

struct state_pages {
	enum stored_page_kind kind;
	int64_t first;        /* number of pages[0] */
	struct page *pages;   /* by number; without devices: gone */
	size_t count, room;
	uint32_t *page_of;    /* by device: number + 1; 0: none */
	size_t device_room;
	size_t stored, live;  /* states */
	/* being gathered */
	struct buf data, sealed;
	uint32_t *devices;
	size_t gathered, device_list_room;
	int64_t *dead, *told; /* pages to be deleted with the next seal; those of the last one */
	size_t dead_count, dead_room, told_room;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct state_pages *state_pages_new(enum stored_page_kind kind)
{
	struct state_pages *p = must(calloc(1, sizeof *p));
	p->kind = kind;
	return p;
}

void state_pages_free(struct state_pages *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->count; i++)
		free(p->pages[i].devices);
	free(p->pages);
	free(p->page_of);
	free(p->devices);
	free(p->dead);
	free(p->told);
	buf_done(&p->data);
	buf_done(&p->sealed);
	free(p);
}

static int64_t id_of(const struct state_pages *p, size_t index)
{
	return 2 * (p->first + (int64_t)index) + (int64_t)p->kind;
}

/* ---- the book ---- */

static uint32_t *place_of(struct state_pages *p, int64_t device)
{
	assert(device > 0);
	if ((size_t)device >= p->device_room) {
		size_t room = p->device_room > 0 ? p->device_room : 1024;
		while (room <= (size_t)device)
			room *= 2;
		p->page_of = must(realloc(p->page_of, room * sizeof *p->page_of));
		memset(p->page_of + p->device_room, 0, (room - p->device_room) * sizeof *p->page_of);
		p->device_room = room;
	}
	return &p->page_of[device];
}

/* Pages that hold nothing at the front are forgotten. */
static void drop_front(struct state_pages *p)
{
	size_t gone = 0;
	while (gone < p->count && p->pages[gone].devices == NULL)
		gone++;
	if (gone == 0 || (gone < 64 && gone < p->count)) /* moving the rest is for many at once */
		return;
	memmove(p->pages, p->pages + gone, (p->count - gone) * sizeof *p->pages);
	p->count -= gone;
	p->first += (int64_t)gone;
}

static void note_dead(struct state_pages *p, size_t index)
{
	struct page *page = &p->pages[index];
	if (p->dead_count == p->dead_room) {
		p->dead_room = p->dead_room > 0 ? 2 * p->dead_room : 16;
		p->dead = must(realloc(p->dead, p->dead_room * sizeof *p->dead));
	}
	p->dead[p->dead_count++] = id_of(p, index);
	p->stored -= page->count;
	free(page->devices);
	*page = (struct page){NULL, 0, 0};
}

void state_pages_forget(struct state_pages *p, int64_t device)
{
	uint32_t *place = place_of(p, device);
	if (*place == 0)
		return;
	size_t index = (size_t)((int64_t)*place - 1 - p->first);
	*place = 0;
	p->live--;
	if (--p->pages[index].live == 0)
		note_dead(p, index);
}

/* The newest page has these devices from now on; takes `devices`. */
static void add_page(struct state_pages *p, uint32_t *devices, size_t count)
{
	if (p->count == p->room) {
		p->room = p->room > 0 ? 2 * p->room : 64;
		p->pages = must(realloc(p->pages, p->room * sizeof *p->pages));
	}
	for (size_t i = 0; i < count; i++)
		state_pages_forget(p, devices[i]);
	struct page *page = &p->pages[p->count++];
	*page = (struct page){devices, (uint32_t)count, 0};
	for (size_t i = 0; i < count; i++) {
		uint32_t *place = place_of(p, devices[i]);
		page->live += *place == 0; /* twice in a page is what a damaged one may hold */
		*place = (uint32_t)(p->first + (int64_t)p->count);
	}
	p->stored += count;
	p->live += page->live;
}

void state_pages_outdated(const struct state_pages *p, void (*fn)(void *ctx, int64_t device), void *ctx)
{
	size_t allowed = 2 * p->live + SLACK, over = p->stored > allowed ? p->stored - allowed : 0;
	for (size_t i = 0, seen = 0; i < p->count && seen < over; i++) {
		const struct page *page = &p->pages[i];
		seen += page->count;
		for (uint32_t k = 0; k < page->count; k++)
			if ((int64_t)p->page_of[page->devices[k]] == p->first + (int64_t)i + 1)
				fn(ctx, page->devices[k]);
	}
}

/* ---- gathering ---- */

static void put_int(struct buf *out, int64_t v)
{
	uint8_t bytes[VARINT_MAX];
	buf_append(out, bytes, varint_put(bytes, v));
}

void state_pages_put(struct state_pages *p, int64_t device, const void *bytes, size_t len)
{
	assert(device > 0 && device <= UINT32_MAX);
	if (p->gathered == p->device_list_room) {
		p->device_list_room = p->device_list_room > 0 ? 2 * p->device_list_room : 256;
		p->devices = must(realloc(p->devices, p->device_list_room * sizeof *p->devices));
	}
	p->devices[p->gathered++] = (uint32_t)device;
	put_int(&p->data, device);
	put_int(&p->data, (int64_t)len);
	buf_append(&p->data, bytes, len);
}

bool state_pages_has_dead(const struct state_pages *p)
{
	return p->dead_count > 0;
}

void state_pages_seal(struct state_pages *p, int64_t batch, struct stored_pages *out)
{
	struct buf sealed = p->sealed;
	p->sealed = p->data;
	p->data = sealed;
	buf_clear(&p->data);
	*out = (struct stored_pages){0};
	if (p->gathered > 0) {
		uint32_t *devices = must(malloc(p->gathered * sizeof *devices));
		memcpy(devices, p->devices, p->gathered * sizeof *devices);
		add_page(p, devices, p->gathered);
		out->page = (struct stored_page){.id = id_of(p, p->count - 1), .batch = batch, .data = p->sealed.data, .len = p->sealed.len};
	}
	p->gathered = 0;
	out->dead = p->dead;
	out->dead_count = p->dead_count;
	int64_t *list = p->told;
	size_t room = p->told_room;
	p->told = p->dead;
	p->told_room = p->dead_room;
	p->dead = list;
	p->dead_room = room;
	p->dead_count = 0;
	drop_front(p);
}

/* ---- reading ---- */

void state_pages_load(struct state_pages *p, const struct stored_page *page, void (*fn)(void *ctx, int64_t device, int64_t batch, const void *bytes, size_t len),
	void *ctx)
{
	int64_t number = page->id / 2;
	const uint8_t *at = page->data, *end = at + page->len;
	uint32_t *devices = NULL;
	size_t count = 0, room = 0;
	if (p->count == 0)
		p->first = number;
	for (int64_t device, len; at < end && varint_get(&at, end, &device) && varint_get(&at, end, &len) && len <= end - at; at += len) {
		if (device <= 0 || device > UINT32_MAX)
			break;
		if (count == room) {
			room = room > 0 ? 2 * room : 256;
			devices = must(realloc(devices, room * sizeof *devices));
		}
		devices[count++] = (uint32_t)device;
		fn(ctx, device, page->batch, at, (size_t)len);
	}
	while (p->first + (int64_t)p->count < number) /* numbers that were deleted */
		add_page(p, NULL, 0);
	add_page(p, devices, count);
	if (count == 0)
		note_dead(p, p->count - 1);
}

/* ---- pace ---- */

int64_t state_pace_left(const struct state_pace *p, int64_t now_ms)
{
	int64_t passed = now_ms - p->at_ms, left = p->left + passed * STATE_BYTES_PER_S / 1000;
	if (passed < 0 || passed > 1000 || left > STATE_BYTES_BURST) /* also the first time, and where the clock was set */
		left = STATE_BYTES_BURST;
	return left;
}

void state_pace_spend(struct state_pace *p, size_t bytes, int64_t now_ms)
{
	p->left = state_pace_left(p, now_ms) - (int64_t)bytes;
	p->at_ms = now_ms;
}
