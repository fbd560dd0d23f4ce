/* Opening, the index, and what keeps it true. The rest of the registry: registry_devices.c, _reports.c, _desired.c, _select.c. */
#include "service/registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/access.h"
#include "service/compats.h"
#include "service/registry_internal.h"
#include "service/unit.h"
#include "store/db.h"

static void *grow(void *old, size_t used, size_t *room, size_t size)
{
	if (used < *room)
		return old;
	*room = *room == 0 ? 256 : 2 * *room;
	void *p = realloc(old, *room * size);
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

/* ---- opening ---- */

static void mirror_fields(struct registry *r, struct device_state *d, const struct device_mirror *m)
{
	d->created_at = m->created_at;
	d->running_counter = m->running_counter;
	d->desired_rev = m->desired_rev;
	d->deployment = m->deployment;
	d->can_shadow = m->can_shadow;
	d->is_ddi = m->is_ddi;
	d->is_stale = true;
	d->hardware = fleet_intern(&r->fleet, FLEET_HARDWARE, m->hardware);
	d->release = fleet_intern(&r->fleet, FLEET_RELEASE, m->release);
	fleet_set_kind(&r->fleet, d, compats_known_class(r->s->compats, m->capability_class));
	if (d->sent_rev > d->desired_rev || d->sent_rev < m->sent_rev)
		d->sent_rev = m->sent_rev;
}

static void load_one(void *ctx, const struct device_mirror *m)
{
	struct registry *r = ctx;
	struct device_state *d = fleet_add(&r->fleet, m->row, m->device_id);
	mirror_fields(r, d, m);
	d->last_seen_ms = m->last_seen_at;
	if (m->online) /* nobody knows: its retained status tells when the broker is connected */
		registry_mark_dirty(r, d, REGISTRY_DIRTY_PRESENCE);
}

static void on_committed(void *ctx)
{
	registry_committed(ctx);
}

static void on_undone(void *ctx)
{
	registry_resync(ctx);
}

static void on_lost(void *ctx)
{
	struct registry *r = ctx;
	r->lost_commits++;
	registry_resync(r);
	registry_committed(r); /* nothing is under way any more */
}

enum err registry_open(struct services *s, struct registry **out, struct fault *f)
{
	struct registry *r = calloc(1, sizeof *r);
	if (r == NULL)
		abort();
	r->s = s;
	fleet_init(&r->fleet);
	enum err e = device_store_open(s->db, &r->store, f);
	if (e == ERR_OK)
		e = device_store_load(r->store, load_one, r, f);
	if (e != ERR_OK) {
		registry_close(r);
		r = NULL;
	} else {
		units_listen(s->units, (struct unit_listener){on_committed, on_undone, on_lost, r});
	}
	*out = r;
	return e;
}

void registry_close(struct registry *r)
{
	if (r == NULL)
		return;
	uint32_t at = 0;
	for (struct device_state *d; r->forget != NULL && (d = registry_each(r, &at)) != NULL;)
		r->forget(r->forget_ctx, d);
	device_store_close(r->store);
	fleet_done(&r->fleet);
	free(r->waiting);
	free(r->touched);
	free(r->flushed);
	free(r);
}

/* ---- the index ---- */

struct device_state *registry_find(const struct registry *r, const char *device_id)
{
	return registry_findn(r, device_id, strlen(device_id));
}

struct device_state *registry_findn(const struct registry *r, const char *device_id, size_t len)
{
	return len <= DEVICE_ID_MAX ? fleet_find(&r->fleet, device_id, len) : NULL;
}

struct device_state *registry_by_row(const struct registry *r, int64_t row)
{
	return fleet_by_row(&r->fleet, row);
}

struct device_state *registry_each(const struct registry *r, uint32_t *at)
{
	while (*at < r->fleet.span) {
		struct device_state *d = fleet_at(&r->fleet, (*at)++);
		if (d != NULL)
			return d;
	}
	return NULL;
}

size_t registry_size(const struct registry *r)
{
	return r->fleet.size;
}

uint32_t registry_span(const struct registry *r)
{
	return r->fleet.span;
}

size_t registry_online(const struct registry *r)
{
	return r->online;
}

const char *registry_text(const struct registry *r, uint32_t interned)
{
	return fleet_name(&r->fleet, interned);
}

const struct fleet_kind *registry_kind(const struct registry *r, const struct device_state *d)
{
	return &r->fleet.kinds[d->kind];
}

const struct fleet_kind *registry_each_kind(const struct registry *r, uint32_t *at)
{
	while (++*at < r->fleet.kind_count) {
		if (r->fleet.kinds[*at].devices > 0)
			return &r->fleet.kinds[*at];
	}
	return NULL;
}

uint32_t registry_hardware_number(const struct registry *r, const char *hardware)
{
	return fleet_interned(&r->fleet, FLEET_HARDWARE, hardware);
}

uint32_t registry_release_number(const struct registry *r, const char *release)
{
	return fleet_interned(&r->fleet, FLEET_RELEASE, release);
}

void registry_on_forget(struct registry *r, void (*fn)(void *ctx, struct device_state *d), void *ctx)
{
	r->forget = fn;
	r->forget_ctx = ctx;
}

/* ---- keeping the mirror true ---- */

uint64_t registry_lost_commits(const struct registry *r)
{
	return r->lost_commits;
}

static void touch_row(struct registry *r, int64_t row)
{
	r->touched = grow(r->touched, r->touched_count, &r->touched_room, sizeof *r->touched);
	r->touched[r->touched_count++] = row;
}

void registry_touch(struct registry *r, struct device_state *d)
{
	if (!d->touched)
		touch_row(r, d->row);
	d->touched = true;
	d->is_stale = true;
}

enum err registry_hardware(struct call *c, const char *hardware, uint32_t *number)
{
	*number = fleet_intern(&c->s->registry->fleet, FLEET_HARDWARE, hardware);
	if (*number == 0)
		return fault_set(c->fault, ERR_TOO_MANY, "/hardware", "there are %d hardware classes already", FLEET_HARDWARE_MAX);
	return ERR_OK;
}

struct device_state *registry_mirror_new(struct call *c, int64_t row, const char *id, uint32_t hardware)
{
	struct registry *r = c->s->registry;
	struct device_state *d = fleet_add(&r->fleet, row, id);
	d->created_at = c->now_ms;
	d->hardware = hardware;
	fleet_set_kind(&r->fleet, d, 0);
	registry_touch(r, d);
	return d;
}

void registry_mirror_gone(struct registry *r, struct device_state *d)
{
	touch_row(r, d->row);
	if (r->forget != NULL)
		r->forget(r->forget_ctx, d);
	r->online -= d->online;
	fleet_remove(&r->fleet, d);
}

void registry_committed(struct registry *r)
{
	for (size_t i = 0; i < r->touched_count; i++) {
		struct device_state *d = fleet_by_row(&r->fleet, r->touched[i]);
		if (d != NULL)
			d->touched = false;
	}
	r->touched_count = 0;
	r->flushed_count = 0;
}

struct resync {
	struct registry *r;
	bool adds; /* second pass */
};

static void resync_one(void *ctx, const struct device_mirror *m)
{
	struct resync *sync = ctx;
	struct registry *r = sync->r;
	struct device_state *d = fleet_by_row(&r->fleet, m->row);
	if (d != NULL && strcmp(d->id, m->device_id) != 0) { /* the row was used again by what was rolled back */
		registry_mirror_gone(r, d);
		d = NULL;
	}
	if (!sync->adds)
		return;
	bool is_back = d == NULL;
	if (is_back)
		d = fleet_add(&r->fleet, m->row, m->device_id);
	mirror_fields(r, d, m);
	d->touched = true; /* its row stays in the list until the commit */
	if (is_back)
		d->last_seen_ms = m->last_seen_at;
	registry_mark_dirty(r, d, REGISTRY_DIRTY_PRESENCE | REGISTRY_DIRTY_SENT);
}

/* Two passes, because an id may have moved to another row: first everything that is not so leaves, then what is so comes. */
void registry_resync(struct registry *r)
{
	for (int pass = 0; pass < 2; pass++) {
		struct resync sync = {r, pass == 1};
		for (size_t i = 0, count = r->touched_count; i < count; i++) {
			bool found;
			struct device_state *d = fleet_by_row(&r->fleet, r->touched[i]);
			enum err e = device_store_mirror(r->store, r->touched[i], resync_one, &sync, &found, NULL);
			if (e != ERR_OK)
				abort(); /* the mirror would lie; the service manager starts us again from the store */
			if (!found && d != NULL)
				registry_mirror_gone(r, d);
		}
	}
	for (size_t i = 0; i < r->flushed_count; i++) {
		struct device_state *d = fleet_by_row(&r->fleet, r->flushed[i]);
		if (d != NULL)
			registry_mark_dirty(r, d, REGISTRY_DIRTY_PRESENCE | REGISTRY_DIRTY_SENT);
	}
	r->flushed_count = 0;
}

/* ---- presence ---- */

void registry_mark_dirty(struct registry *r, struct device_state *d, uint8_t what)
{
	if (d->dirty == 0) {
		r->waiting = grow(r->waiting, r->waiting_count, &r->waiting_room, sizeof *r->waiting);
		r->waiting[r->waiting_count++] = d->index;
	}
	d->dirty |= what;
}

void registry_seen(struct registry *r, struct device_state *d, int64_t now_ms)
{
	if (now_ms <= d->last_seen_ms)
		return;
	d->last_seen_ms = now_ms;
	registry_mark_dirty(r, d, REGISTRY_DIRTY_PRESENCE);
}

void registry_seen_quietly(struct device_state *d, int64_t now_ms)
{
	if (now_ms > d->last_seen_ms)
		d->last_seen_ms = now_ms;
}

void registry_set_online(struct registry *r, struct device_state *d, bool online, int64_t now_ms)
{
	if (online)
		registry_seen(r, d, now_ms);
	if (d->online == online)
		return;
	d->online = online;
	r->online = online ? r->online + 1 : r->online - 1;
	registry_mark_dirty(r, d, REGISTRY_DIRTY_PRESENCE);
}

size_t registry_waiting(const struct registry *r)
{
	return r->waiting_count;
}

static enum err flush_one(struct call *c, struct device_state *d)
{
	struct registry *r = c->s->registry;
	enum err e = ERR_OK;
	if (d->dirty & REGISTRY_DIRTY_PRESENCE)
		e = device_store_presence(r->store, d->row, d->last_seen_ms, d->online, c->fault);
	if (e == ERR_OK && d->dirty & REGISTRY_DIRTY_SENT)
		e = device_store_sent(r->store, d->row, d->sent_rev, c->fault);
	return e;
}

enum err registry_flush(struct call *c, size_t max)
{
	struct registry *r = c->s->registry;
	size_t count = max == 0 || max > r->waiting_count ? r->waiting_count : max;
	if (count == 0)
		return ERR_OK;
	enum err e = db_begin(c->s->db, c->fault);
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct device_state *d = fleet_at(&r->fleet, r->waiting[i]);
		if (d != NULL)
			e = flush_one(c, d);
	}
	enum err ended = db_end(c->s->db, e == ERR_OK, c->fault);
	if (e != ERR_OK || ended != ERR_OK)
		return e != ERR_OK ? e : ended; /* they keep waiting */
	for (size_t i = 0; i < count; i++) {
		struct device_state *d = fleet_at(&r->fleet, r->waiting[i]);
		if (d == NULL || d->dirty == 0)
			continue;
		d->dirty = 0;
		r->flushed = grow(r->flushed, r->flushed_count, &r->flushed_room, sizeof *r->flushed);
		r->flushed[r->flushed_count++] = d->row;
	}
	r->waiting_count -= count;
	memmove(r->waiting, r->waiting + count, r->waiting_count * sizeof *r->waiting);
	return ERR_OK;
}

/* ---- shared by the files of the registry ---- */

const char *registry_resource(struct call *c, const char *device_id)
{
	return arena_printf(c->arena, "devices/%s", device_id);
}

enum err registry_event(struct call *c, const char *kind, const char *device_id)
{
	return event_append(c, kind, registry_resource(c, device_id), arena_printf(c->arena, "{\"id\":\"%s\"}", device_id));
}
