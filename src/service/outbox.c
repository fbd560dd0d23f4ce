#include "service/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* Devices to tell: a queue of row ids with a set beside it (open addressing, 0 = free), so that a device waits once. */
struct outbox {
	int64_t *queue;
	size_t head, tail, queue_cap;
	int64_t *set;
	size_t set_cap; /* power of two, at least twice the number waiting */
	char (*clear)[65];
	size_t clear_head, clear_tail, clear_cap;
	int64_t last_event;
	size_t committed, clear_committed; /* tails at the last commit: what a failed one may not take away */
};

static void *grown(void *p, size_t count, size_t item_bytes)
{
	p = reallocarray(p, count, item_bytes);
	if (p == NULL)
		abort();
	return p;
}

struct outbox *outbox_new(void)
{
	struct outbox *o = calloc(1, sizeof *o);
	if (o == NULL)
		abort();
	return o;
}

void outbox_free(struct outbox *o)
{
	if (o == NULL)
		return;
	free(o->queue);
	free(o->set);
	free(o->clear);
	free(o);
}

static size_t set_home(const struct outbox *o, int64_t device)
{
	return (size_t)(((uint64_t)device * 0x9e3779b97f4a7c15u) >> 20) & (o->set_cap - 1);
}

static bool set_add(struct outbox *o, int64_t device)
{
	size_t at = set_home(o, device);
	for (; o->set[at] != 0; at = (at + 1) & (o->set_cap - 1)) {
		if (o->set[at] == device)
			return false;
	}
	o->set[at] = device;
	return true;
}

/* Everything that waits, entered anew into a table of that size. */
static void set_rebuild(struct outbox *o, size_t cap)
{
	free(o->set);
	o->set = calloc(cap, sizeof *o->set);
	if (o->set == NULL)
		abort();
	o->set_cap = cap;
	for (size_t i = o->head; i < o->tail; i++)
		set_add(o, o->queue[i]);
}

/* Linear probing: what stands behind the hole and belongs before it moves up. */
static void set_remove(struct outbox *o, int64_t device)
{
	size_t mask = o->set_cap - 1, hole = set_home(o, device);
	while (o->set[hole] != device)
		hole = (hole + 1) & mask;
	for (size_t at = (hole + 1) & mask; o->set[at] != 0; at = (at + 1) & mask) {
		size_t home = set_home(o, o->set[at]);
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			o->set[hole] = o->set[at];
			hole = at;
		}
	}
	o->set[hole] = 0;
}

void outbox_tell_device(struct outbox *o, int64_t device)
{
	if ((o->tail - o->head + 1) * 2 > o->set_cap)
		set_rebuild(o, o->set_cap > 0 ? o->set_cap * 2 : 64);
	if (!set_add(o, device))
		return;
	if (o->tail == o->queue_cap && o->head > o->queue_cap / 2) {
		memmove(o->queue, o->queue + o->head, (o->tail - o->head) * sizeof *o->queue);
		o->committed -= o->head;
		o->tail -= o->head;
		o->head = 0;
	}
	if (o->tail == o->queue_cap) {
		o->queue_cap = o->queue_cap > 0 ? o->queue_cap * 2 : 64;
		o->queue = grown(o->queue, o->queue_cap, sizeof *o->queue);
	}
	o->queue[o->tail++] = device;
}

void outbox_note_event(struct outbox *o, int64_t event_id)
{
	if (event_id > o->last_event)
		o->last_event = event_id;
}

void outbox_clear_retained(struct outbox *o, const char *device_id)
{
	if (o->clear_tail == o->clear_cap) {
		o->clear_cap = o->clear_cap > 0 ? o->clear_cap * 2 : 16;
		o->clear = grown(o->clear, o->clear_cap, sizeof *o->clear);
	}
	(void)!str_copy(o->clear[o->clear_tail++], sizeof *o->clear, device_id);
}

bool outbox_is_empty(const struct outbox *o)
{
	return o->head == o->tail && o->clear_head == o->clear_tail && o->last_event == 0;
}

bool outbox_next_device(struct outbox *o, int64_t *device)
{
	if (o->head == o->tail)
		return false;
	*device = o->queue[o->head++];
	set_remove(o, *device);
	if (o->head > o->committed)
		o->committed = o->head;
	if (o->head == o->tail)
		o->head = o->tail = o->committed = 0;
	return true;
}

bool outbox_next_clear(struct outbox *o, char device_id[65])
{
	if (o->clear_head == o->clear_tail)
		return false;
	memcpy(device_id, o->clear[o->clear_head++], 65);
	if (o->clear_head > o->clear_committed)
		o->clear_committed = o->clear_head;
	if (o->clear_head == o->clear_tail)
		o->clear_head = o->clear_tail = o->clear_committed = 0;
	return true;
}

int64_t outbox_last_event(const struct outbox *o)
{
	return o->last_event;
}

size_t outbox_waiting(const struct outbox *o)
{
	return o->tail - o->head;
}

void outbox_committed(struct outbox *o)
{
	o->committed = o->tail;
	o->clear_committed = o->clear_tail;
	o->last_event = 0;
}

struct outbox_mark outbox_mark(const struct outbox *o)
{
	return (struct outbox_mark){o->tail - o->head, o->clear_tail - o->clear_head, o->last_event};
}

void outbox_undo(struct outbox *o, struct outbox_mark mark)
{
	while (o->tail - o->head > mark.devices)
		set_remove(o, o->queue[--o->tail]);
	if (o->clear_tail - o->clear_head > mark.clears)
		o->clear_tail = o->clear_head + mark.clears;
	o->last_event = mark.last_event;
}

void outbox_drop(struct outbox *o)
{
	outbox_undo(o, (struct outbox_mark){o->committed - o->head, o->clear_committed - o->clear_head, 0});
}
