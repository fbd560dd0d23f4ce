#include "service/errands.h"

#include <stdlib.h>
#include <string.h>

#include "service/registry.h"
#include "store/command_store.h"

static void *grown(void *p, size_t count, size_t bytes)
{
	p = reallocarray(p, count, bytes);
	if (p == NULL)
		abort();
	return p;
}

static uint32_t *head_of(struct errands *e, const struct device_state *d)
{
	if (d->index >= e->heads_room) {
		uint32_t room = d->index + d->index / 2 + 64;
		e->heads = grown(e->heads, room, sizeof *e->heads);
		memset(e->heads + e->heads_room, 0, (room - e->heads_room) * sizeof *e->heads);
		e->heads_room = room;
	}
	return &e->heads[d->index];
}

static uint32_t take_place(struct errands *e)
{
	uint32_t at = e->free;
	if (at != 0) {
		e->free = e->pool[at].next;
		return at;
	}
	if (e->pool_used + 1 >= e->pool_room) {
		e->pool_room = e->pool_room > 0 ? e->pool_room * 2 : 64;
		e->pool = grown(e->pool, e->pool_room, sizeof *e->pool);
	}
	return ++e->pool_used;
}

void errands_done(struct errands *e)
{
	free(e->pool);
	free(e->heads);
	free(e->ready);
	*e = (struct errands){0};
}

void errands_clear(struct errands *e)
{
	e->pool_used = e->free = 0;
	e->open = 0;
	e->ready_head = e->ready_tail = 0;
	if (e->heads != NULL)
		memset(e->heads, 0, e->heads_room * sizeof *e->heads);
}

struct errand *errands_at(struct errands *e, uint32_t at)
{
	return &e->pool[at];
}

uint32_t errands_keep(struct errands *e, const struct device_state *d, const struct errand_row *row)
{
	uint32_t at = take_place(e), *head = head_of(e, d);
	e->pool[at] = (struct errand){.command = row->command, .device = row->device, .deadline_ms = row->deadline_at, .next = *head,
	                              .state = (uint8_t)row->state};
	*head = at;
	e->open++;
	return at;
}

void errands_release(struct errands *e, const struct device_state *d, uint32_t at)
{
	for (uint32_t *link = head_of(e, d); *link != 0; link = &e->pool[*link].next) {
		if (*link != at)
			continue;
		*link = e->pool[at].next;
		break;
	}
	e->pool[at] = (struct errand){.next = e->free};
	e->free = at;
	e->open--;
}

uint32_t errands_first(struct errands *e, const struct device_state *d)
{
	return *head_of(e, d);
}

uint32_t errands_find(struct errands *e, const struct device_state *d, int64_t command)
{
	uint32_t at = d != NULL ? *head_of(e, d) : 0;
	while (at != 0 && e->pool[at].command != command)
		at = e->pool[at].next;
	return at;
}

size_t errands_count(struct errands *e, const struct device_state *d)
{
	size_t count = 0;
	for (uint32_t at = *head_of(e, d); at != 0; at = e->pool[at].next)
		count++;
	return count;
}

void errands_cancel(struct errands *e, int64_t command)
{
	for (uint32_t at = 1; at <= e->pool_used; at++) {
		if (e->pool[at].device != 0 && e->pool[at].command == command)
			e->pool[at].deadline_ms = 0;
	}
}

/* ---- the queue ---- */

void errands_make_ready(struct errands *e, uint32_t at)
{
	if (e->pool[at].is_ready)
		return;
	if (e->ready_tail == e->ready_room && e->ready_head > e->ready_room / 2) {
		memmove(e->ready, e->ready + e->ready_head, (e->ready_tail - e->ready_head) * sizeof *e->ready);
		e->ready_tail -= e->ready_head;
		e->ready_head = 0;
	}
	if (e->ready_tail == e->ready_room) {
		e->ready_room = e->ready_room > 0 ? e->ready_room * 2 : 64;
		e->ready = grown(e->ready, e->ready_room, sizeof *e->ready);
	}
	e->pool[at].is_ready = true;
	e->ready[e->ready_tail++] = at;
}

uint32_t errands_next_ready(struct errands *e)
{
	while (e->ready_head < e->ready_tail) {
		uint32_t at = e->ready[e->ready_head++];
		struct errand *x = &e->pool[at];
		if (e->ready_head == e->ready_tail)
			e->ready_head = e->ready_tail = 0;
		if (x->device == 0 || !x->is_ready)
			continue; /* over meanwhile */
		x->is_ready = false;
		return at;
	}
	return 0;
}
