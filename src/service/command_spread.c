#include "service/command_spread.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "service/registry.h"
#include "service/timebox.h"

#define TURNS_MAX 200 /* devices of a command in a tick */
#define SCAN_NS (TIMEBOX_NS / 2)

static void drop(struct spreading *x)
{
	registry_scan_free(x->scan);
	free(x->devices);
	free(x->filter);
}

void spreads_begin(struct spreads *s, const struct command_row *row, int64_t now_ms)
{
	assert(s->count < COMMAND_SPREADING_MAX);
	struct spreading *x = &s->items[s->count++];
	*x = (struct spreading){.row = *row, .filter = strdup(row->filter), .last_ms = now_ms};
	if (x->filter == NULL)
		abort();
	x->row.kind = x->row.params = x->row.filter = x->row.created_by = x->row.device_id = NULL;
}

void spreads_clear(struct spreads *s)
{
	for (size_t i = 0; i < s->count; i++)
		drop(&s->items[i]);
	s->count = 0;
}

static void stop(struct spreads *s, size_t i)
{
	drop(&s->items[i]);
	s->items[i] = s->items[--s->count];
}

void spreads_stop(struct spreads *s, int64_t command)
{
	for (size_t i = s->count; i-- > 0;) {
		if (s->items[i].row.id == command)
			stop(s, i);
	}
}

bool spreads_have_check(const struct spreads *s, int64_t health_check)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->items[i].row.health_check == health_check)
			return true;
	}
	return false;
}

/* ---- who ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* In random order where there is time, so that a rack or a region is not asked in one go, and no device at the same time after the beginning each time.
 * Each one that is found changes places with one before it: that is as good as shuffling all of them, and no piece is long. */
static enum err find_one(void *ctx, struct device_state *d)
{
	struct spreading *x = ctx;
	if (x->count == x->room) {
		x->room = x->room > 0 ? x->room * 2 : 256;
		x->devices = reallocarray(x->devices, x->room, sizeof *x->devices);
		if (x->devices == NULL)
			abort();
	}
	size_t at = x->row.spread_ms > 0 ? (size_t)(mix((uint64_t)x->row.id * 0x9e3779b97f4a7c15u + x->count) % (x->count + 1)) : x->count;
	if (at < x->count)
		x->devices[x->count] = x->devices[at];
	x->devices[at] = d->row;
	x->count++;
	return ERR_OK;
}

static void begin_pace(struct spreading *x, int64_t now_ms)
{
	x->is_found = true;
	x->last_ms = now_ms;
	x->tokens = 1;
	if (x->row.spread_ms > 0)
		x->row.rate = fmin(fmax((double)x->count * 1000 / (double)x->row.spread_ms, 1), COMMAND_RATE_MAX);
}

/* Looks for the devices of one command, for a timebox. */
static enum err look_for(struct call *c, struct spreading *x, bool *is_gone)
{
	const struct timebox box = timebox_begin(SCAN_NS);
	bool is_done = false;
	enum err e = ERR_OK;
	if (x->scan == NULL)
		e = registry_scan_new(c, x->filter, x->row.group, &x->scan);
	if (e == ERR_OK)
		e = registry_scan_step(c, x->scan, &box, find_one, x, &is_done);
	*is_gone = e == ERR_NOT_FOUND || e == ERR_INVALID || e == ERR_BAD_REQUEST;
	if (e == ERR_OK && is_done) {
		registry_scan_free(x->scan);
		x->scan = NULL;
		begin_pace(x, c->now_ms);
	}
	return *is_gone ? ERR_OK : e;
}

enum err spreads_look(struct call *c, struct spreads *s, int64_t *gone)
{
	bool is_gone = false;
	*gone = 0;
	for (size_t i = s->count; i-- > 0;) {
		if (s->items[i].is_found)
			continue;
		enum err e = look_for(c, &s->items[i], &is_gone);
		*gone = is_gone ? s->items[i].row.id : 0;
		return e; /* one timebox a tick */
	}
	return ERR_OK;
}

/* ---- when ---- */

static enum err tell_some(struct call *c, struct spreading *x, const struct spread_port *port)
{
	double passed_ms = (double)(c->now_ms > x->last_ms ? c->now_ms - x->last_ms : 0);
	enum err e = ERR_OK;
	x->tokens = fmin(x->tokens + x->row.rate * passed_ms / 1000, fmax(x->row.rate, 1));
	x->last_ms = c->now_ms;
	for (int turns = 0; e == ERR_OK && turns < TURNS_MAX && x->at < x->count && x->tokens >= 1 && port->has_room(c); turns++) {
		struct device_state *d = registry_by_row(c->s->registry, x->devices[x->at]);
		bool is_new = false;
		if (d != NULL)
			e = port->tell(c, x->row.id, x->row.timeout_ms, d, &is_new);
		x->tokens -= is_new;
		x->at++;
	}
	return e;
}

enum err spreads_tell(struct call *c, struct spreads *s, const struct spread_port *port)
{
	enum err e = ERR_OK;
	for (size_t i = s->count; e == ERR_OK && i-- > 0;) {
		struct spreading *x = &s->items[i];
		if (x->is_found)
			e = tell_some(c, x, port);
		if (e != ERR_OK || !x->is_found || x->at < x->count)
			continue;
		e = port->end(c, x->row.id);
		if (e == ERR_OK)
			stop(s, i);
	}
	return e;
}
