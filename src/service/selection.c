/* What devices run: the mirror in memory, and what operators ask for. */
#include "service/selection_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/unit.h"

#define REASON_MAX 512

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- the mirror ---- */

static struct held *held_of(const struct selection *x, const struct device_state *d)
{
	struct held *h = x != NULL && d->index < x->held_count ? x->held[d->index] : NULL;
	return h != NULL && h->device == d->row ? h : NULL;
}

/* The device's place, with room for `count` models. */
static struct held *hold(struct selection *x, const struct device_state *d, uint16_t count)
{
	if (d->index >= x->held_count) {
		size_t room = registry_span(x->s->registry) + 1024;
		x->held = must(realloc(x->held, room * sizeof *x->held));
		memset(x->held + x->held_count, 0, (room - x->held_count) * sizeof *x->held);
		x->held_count = room;
	}
	struct held *h = x->held[d->index];
	if (h != NULL && h->device != d->row) { /* of a device that is gone */
		free(h);
		h = NULL;
	}
	bool is_new = h == NULL;
	if (is_new || h->count < count)
		h = must(realloc(h, sizeof *h + count * sizeof h->list[0]));
	if (is_new)
		*h = (struct held){.device = d->row};
	x->held[d->index] = h;
	return h;
}

static struct running *find_running(struct held *h, int64_t model)
{
	for (unsigned i = 0; h != NULL && i < h->count; i++)
		if (h->list[i].model == model)
			return &h->list[i];
	return NULL;
}

const struct running *selection_running(const struct selection *x, const struct device_state *d, int64_t model)
{
	return find_running(held_of(x, d), model);
}

bool selection_is_overridden(const struct selection *x, const struct device_state *d)
{
	const struct held *h = held_of(x, d);
	return h != NULL && h->is_overridden;
}

static void mirror_choice(void *ctx, const struct choice_row *row)
{
	struct selection *x = ctx;
	const struct device_state *d = registry_by_row(x->s->registry, row->device);
	if (d == NULL)
		return;
	struct running *r = find_running(held_of(x, d), row->model);
	if (r == NULL) {
		struct held *h = held_of(x, d);
		h = hold(x, d, (uint16_t)((h != NULL ? h->count : 0) + 1));
		r = &h->list[h->count++];
	}
	*r = (struct running){.model = row->model, .artifact = row->artifact, .version = row->version, .since_ms = row->since,
		.prev_artifact = row->prev_artifact, .prev_version = row->prev_version};
}

static void mirror_override(void *ctx, const struct override_row *row)
{
	struct selection *x = ctx;
	const struct device_state *d = registry_by_row(x->s->registry, row->device);
	if (d != NULL)
		hold(x, d, 0)->is_overridden = true;
}

static void touch(struct selection *x, const struct device_state *d)
{
	if (x->touched_count > 0 && x->touched[x->touched_count - 1] == d->row)
		return;
	if (x->touched_count == x->touched_room) {
		x->touched_room = x->touched_room != 0 ? x->touched_room * 2 : 64;
		x->touched = must(realloc(x->touched, x->touched_room * sizeof *x->touched));
	}
	x->touched[x->touched_count++] = d->row;
}

/* Some of what was done since the last commit was not: whoever was touched is read again. */
static void read_again(void *ctx)
{
	struct selection *x = ctx;
	struct fault f;
	struct arena *arena = x->touched_count > 0 ? arena_new(1 << 20) : NULL;
	for (size_t i = 0; i < x->touched_count; i++) {
		const struct device_state *d = registry_by_row(x->s->registry, x->touched[i]);
		struct override_row *rows = NULL;
		size_t count = 0;
		if (d == NULL)
			continue;
		free(hold(x, d, 0));
		x->held[d->index] = NULL;
		enum err e = choice_of_device(x->store, d->row, mirror_choice, x, &f);
		if (e == ERR_OK)
			e = override_of_device(x->store, d->row, &rows, &count, arena, &f);
		assert(e == ERR_OK); /* or the mirror would lie */
		if (count > 0)
			mirror_override(x, &rows[0]);
	}
	if (arena != NULL)
		arena_free(arena);
}

static void on_committed(void *ctx)
{
	((struct selection *)ctx)->touched_count = 0;
}

static void on_lost(void *ctx)
{
	read_again(ctx);
	on_committed(ctx);
}

/* ---- devices that were not installed from here ---- */

/* Of the variants that the release has for the class: the one, where there is one only. */
static int64_t only_artifact(struct selection *x, const struct device_state *d, int64_t version)
{
	struct fault f = {"", ""};
	struct arena *arena = arena_new(1 << 18);
	struct call c = {.s = x->s, .arena = arena, .fault = &f, .who = &principal_server};
	struct release_row release;
	struct candidate_row *rows = NULL;
	size_t count = 0;
	int64_t artifact = 0;
	const char *classes[] = {registry_text(x->s->registry, d->hardware), "*"};
	enum err e = releases_find(&c, registry_text(x->s->registry, d->release), &release);
	for (size_t i = 0; i < 2 && e == ERR_OK && count == 0; i++)
		e = choice_candidates(x->store, release.id, version, classes[i], &rows, &count, arena, &f);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		if (strcmp(rows[i].variant, rows[0].variant) != 0)
			artifact = -1;
		else if (artifact == 0)
			artifact = rows[i].artifact;
	}
	arena_free(arena);
	return artifact > 0 ? artifact : 0;
}

static int64_t guess_artifact(struct selection *x, const struct device_state *d, int64_t version)
{
	if (d->hardware == 0 || d->release == 0)
		return 0;
	if (x->guess_count > GUESSES - GUESSES / 4) {
		memset(x->guesses, 0, GUESSES * sizeof *x->guesses);
		x->guess_count = 0;
	}
	uint64_t hash = ((uint64_t)d->hardware << 32 ^ d->release) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)version * UINT64_C(0xd6e8feb86659fd93);
	size_t at = (size_t)(hash >> 20) & (GUESSES - 1);
	for (; x->guesses[at].hardware != 0; at = (at + 1) & (GUESSES - 1)) {
		const struct guess *g = &x->guesses[at];
		if (g->hardware == d->hardware && g->release == d->release && g->version == version)
			return g->artifact;
	}
	x->guesses[at] = (struct guess){d->hardware, d->release, version, only_artifact(x, d, version)};
	x->guess_count++;
	return x->guesses[at].artifact;
}

int64_t selection_runs(struct selection *x, const struct device_state *d, int64_t model, int64_t version, int64_t at_ms)
{
	if (x == NULL)
		return 0;
	const struct running *r = selection_running(x, d, model);
	if (r == NULL)
		return guess_artifact(x, d, version);
	if (at_ms >= r->since_ms)
		return r->version == version ? r->artifact : 0;
	return r->prev_version == version ? r->prev_artifact : 0;
}

/* ---- installed ---- */

int64_t selection_part(const char *parts, int64_t version)
{
	for (const char *at = parts; at != NULL && *at != '\0'; at = strchr(at, ',')) {
		char *end;
		at += *at == ',';
		long long v = strtoll(at, &end, 10);
		if (*end == ':' && v == version)
			return strtoll(end + 1, NULL, 10);
	}
	return 0;
}

enum err selection_model(struct call *c, const char *model, int64_t *row)
{
	struct model_row m;
	enum err e = catalog_find_model(c, model, &m);
	*row = e == ERR_OK ? m.id : 0;
	return e;
}

static enum err install_component(struct call *c, const struct device_state *d, int64_t release, const char *parts, const struct component_row *component)
{
	struct selection *x = c->s->selection;
	struct choice_row row = {.device = d->row, .version = component->version, .since = c->now_ms, .artifact = selection_part(parts, component->version)};
	struct artifact_row artifact;
	enum err e = selection_model(c, component->model, &row.model);
	if (e == ERR_OK && row.artifact == 0) {
		e = selection_artifact(c, d, NULL, release, component, &artifact);
		if (e == ERR_NOT_FOUND)
			return ERR_OK;
		row.artifact = e == ERR_OK ? artifact.id : 0;
	}
	if (e != ERR_OK)
		return e;
	const struct running *r = selection_running(x, d, row.model);
	if (r != NULL && r->artifact == row.artifact && r->version == row.version)
		return ERR_OK; /* as it was */
	row.prev_artifact = r != NULL ? r->artifact : 0;
	row.prev_version = r != NULL ? r->version : 0;
	e = choice_put(x->store, &row, c->fault);
	if (e == ERR_OK) {
		touch(x, d);
		mirror_choice(x, &row);
	}
	return e;
}

enum err selection_installed(struct call *c, int64_t device, int64_t release, const char *parts)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	struct component_row *components = NULL;
	size_t count = 0;
	if (c->s->selection == NULL || d == NULL)
		return ERR_OK;
	enum err e = releases_components(c, release, &components, &count);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = install_component(c, d, release, parts, &components[i]);
	return e;
}

enum err selection_artifact(struct call *c, const struct device_state *d, const char *parts, int64_t release, const struct component_row *component,
	struct artifact_row *out)
{
	int64_t artifact = selection_part(parts, component->version);
	if (artifact != 0)
		return catalog_find_artifact(c, artifact, out);
	int64_t model = 0;
	const struct running *r = NULL;
	if (c->s->selection != NULL && selection_model(c, component->model, &model) == ERR_OK)
		r = selection_running(c->s->selection, d, model);
	if (r != NULL && r->version == component->version && catalog_find_artifact(c, r->artifact, out) == ERR_OK)
		return ERR_OK;
	if (c->s->compats != NULL)
		return compats_pick(c, release, component, d, out);
	return releases_pick_artifact(c, release, component->version, registry_text(c->s->registry, d->hardware), out);
}

enum err selection_has_file(struct call *c, const char *parts, int64_t version, int64_t artifact, bool *has)
{
	int64_t chosen = selection_part(parts, version);
	*has = true;
	return chosen == 0 || c->s->selection == NULL ? ERR_OK : choice_same_variant(c->s->selection->store, chosen, artifact, has, c->fault);
}

/* ---- overrides ---- */

static void write_override(struct call *c, const struct override_row *o, struct buf *out)
{
	struct model_row model;
	json_open_object(out);
	json_str(out, "model", catalog_get_model(c, o->model, &model) == ERR_OK ? model.name : "");
	json_str(out, "variant", o->variant);
	json_str(out, "reason", o->reason);
	json_str(out, "made_by", o->made_by);
	json_int(out, "made_at", o->made_at);
	json_close_object(out);
}

static enum err note_override(struct call *c, const struct device_state *d, const char *action, const struct override_row *before,
	const struct override_row *after)
{
	const char *resource = arena_printf(c->arena, "devices/%s", d->id), *texts[2] = {NULL, NULL};
	const struct override_row *rows[2] = {before, after};
	for (size_t i = 0; i < 2; i++) {
		struct buf b = BUF_INIT;
		if (rows[i] == NULL)
			continue;
		write_override(c, rows[i], &b);
		texts[i] = arena_strdup(c->arena, buf_cstr(&b));
		buf_done(&b);
	}
	enum err e = audit_append(c, action, resource, texts[0], texts[1]);
	return e == ERR_OK ? event_append(c, action, resource, texts[1] != NULL ? texts[1] : texts[0]) : e;
}

enum err selection_override(struct call *c, struct device_state *d, const char *model, const char *variant, const char *reason, struct buf *out)
{
	struct selection *x = c->s->selection;
	struct override_row before, row = {.device = d->row, .made_at = c->now_ms, .variant = variant, .reason = reason != NULL ? reason : "",
		.made_by = c->who->name};
	if (!str_is_name(variant))
		return fault_set(c->fault, ERR_INVALID, "/variant", "a variant has a name, or is default");
	if (strlen(row.reason) > REASON_MAX)
		return fault_set(c->fault, ERR_INVALID, "/reason", "at most %d bytes", REASON_MAX);
	enum err e = selection_model(c, model, &row.model);
	if (e == ERR_NOT_FOUND)
		return fault_set(c->fault, ERR_INVALID, "/model", "there is no model %s", model);
	if (e != ERR_OK)
		return e;
	enum err had = override_get(x->store, d->row, row.model, &before, c->arena, c->fault);
	if (had != ERR_OK && had != ERR_NOT_FOUND)
		return had;
	e = override_put(x->store, &row, c->fault);
	if (e != ERR_OK)
		return e;
	touch(x, d);
	mirror_override(x, &row);
	write_override(c, &row, out);
	return note_override(c, d, "device.override", had == ERR_OK ? &before : NULL, &row);
}

enum err selection_end_override(struct call *c, struct device_state *d, const char *model)
{
	struct selection *x = c->s->selection;
	struct override_row before, *left = NULL;
	int64_t row;
	bool was_there = false;
	size_t count = 0;
	enum err e = selection_model(c, model, &row);
	if (e == ERR_OK)
		e = override_get(x->store, d->row, row, &before, c->arena, c->fault);
	if (e == ERR_NOT_FOUND)
		return fault_set(c->fault, e, "", "%s has no override for model %s", d->id, model);
	if (e == ERR_OK)
		e = override_remove(x->store, d->row, row, &was_there, c->fault);
	if (e == ERR_OK)
		e = override_of_device(x->store, d->row, &left, &count, c->arena, c->fault);
	if (e != ERR_OK)
		return e;
	touch(x, d);
	hold(x, d, 0)->is_overridden = count > 0;
	return note_override(c, d, "device.override_ended", &before, NULL);
}

enum err selection_overrides(struct call *c, const struct device_state *d, struct buf *out)
{
	struct override_row *rows = NULL;
	size_t count = 0;
	enum err e = override_of_device(c->s->selection->store, d->row, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		write_override(c, &rows[i], out);
	return e;
}

/* ---- opening ---- */

enum err selection_open(struct services *s, struct selection **out, struct fault *f)
{
	struct selection *x = must(calloc(1, sizeof *x));
	*out = NULL;
	x->s = s;
	x->guesses = must(calloc(GUESSES, sizeof *x->guesses));
	enum err e = choice_store_open(s->db, &x->store, f);
	if (e == ERR_OK)
		e = choice_each(x->store, mirror_choice, x, f);
	if (e == ERR_OK)
		e = override_each(x->store, mirror_override, x, f);
	if (e != ERR_OK) {
		selection_close(x);
		return e;
	}
	units_listen(s->units, (struct unit_listener){.committed = on_committed, .undone = read_again, .lost = on_lost, .ctx = x});
	*out = x;
	return ERR_OK;
}

void selection_close(struct selection *x)
{
	if (x == NULL)
		return;
	choice_store_close(x->store);
	for (size_t i = 0; i < x->held_count; i++)
		free(x->held[i]);
	for (unsigned i = 0; i < GROUPS; i++)
		free(x->groups[i]);
	free(x->held);
	free(x->touched);
	free(x->guesses);
	free(x);
}
