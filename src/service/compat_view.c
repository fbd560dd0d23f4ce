/* A release against kinds of devices: compiled requirements, what became of each kind, and the table of it. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/compat_inside.h"
#include "service/fleet_index.h"
#include "service/registry.h"
#include "service/releases.h"

#define VIEW_BYTES (256u << 20) /* requirements of every variant, and what became of every kind */
#define SCRATCH_BYTES (1u << 20)
#define REASON_ROWS 512         /* different ones of one table */
#define WHY_BYTES 200           /* of a deployment's reason */
#define WORDS_MAX 3             /* reasons in a sentence */

struct piece { /* one artifact */
	int64_t id;
	const char *hardware, *variant;
	uint8_t number;                /* of its variant within the component */
	struct requirement *requires;  /* NULL: nothing */
};
struct part { /* one component */
	int64_t version;
	const char *model;
	struct piece *pieces; /* by hardware and id */
	size_t count;
	const char **variants;
	uint8_t variant_count;
};
struct compat_view {
	struct arena *arena, *scratch;
	struct part *parts;
	size_t part_count;
	const char *firmware; /* version that the release brings; NULL: none */
	struct compat_fit *fits;
	size_t fit_count, fit_room;
	uint32_t *by_kind;    /* place in fits + 1 */
	uint32_t kind_room;
	struct capabilities *caps; /* of the kind that is being judged */
	uint32_t caps_kind;
	uint64_t caps_serial;
};

static void *must(void *p)
{
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

/* ---- compiling ---- */

static uint8_t number_of(struct part *part, const char *variant)
{
	uint8_t i = 0;
	while (i < part->variant_count && strcmp(part->variants[i], variant) != 0)
		i++;
	if (i == part->variant_count)
		part->variants[part->variant_count++] = variant;
	return i;
}

static enum err compile_part(struct call *own, struct compat_view *v, int64_t release, const struct component_row *component, struct part *part)
{
	struct artifact_row *rows;
	enum err e = releases_artifacts(own, release, component->version, &rows, &part->count);
	part->version = component->version;
	part->model = component->model;
	if (e != ERR_OK)
		return e;
	part->pieces = arena_array(v->arena, part->count, sizeof *part->pieces);
	part->variants = arena_array(v->arena, part->count, sizeof *part->variants);
	for (size_t i = 0; i < part->count && e == ERR_OK; i++) {
		struct piece *p = &part->pieces[i];
		*p = (struct piece){.id = rows[i].id, .hardware = rows[i].hardware, .variant = rows[i].variant, .number = number_of(part, rows[i].variant)};
		if (rows[i].requires == NULL)
			continue;
		p->requires = arena_alloc(v->arena, sizeof *p->requires);
		e = requirement_parse(p->requires, rows[i].requires, strlen(rows[i].requires), own->fault);
	}
	return e;
}

enum err compat_view_new(struct call *c, int64_t release, struct compat_view **out)
{
	struct compat_view *v = must(calloc(1, sizeof *v));
	struct component_row *rows;
	struct call own = *c;
	v->arena = own.arena = arena_new(VIEW_BYTES);
	v->scratch = arena_new(SCRATCH_BYTES);
	v->caps = must(malloc(sizeof *v->caps));
	enum err e = releases_components(&own, release, &rows, &v->part_count);
	if (e == ERR_OK)
		v->parts = arena_array(v->arena, v->part_count, sizeof *v->parts);
	for (size_t i = 0; e == ERR_OK && i < v->part_count; i++) {
		if (strcmp(rows[i].kind, "firmware") == 0)
			v->firmware = rows[i].version_text;
		e = compile_part(&own, v, release, &rows[i], &v->parts[i]);
	}
	if (e != ERR_OK) {
		compat_view_free(v);
		v = NULL;
	}
	*out = v;
	return e;
}

void compat_view_free(struct compat_view *v)
{
	if (v == NULL)
		return;
	arena_free(v->arena);
	arena_free(v->scratch);
	free(v->caps);
	free(v->fits);
	free(v->by_kind);
	free(v);
}

/* ---- what a kind can do ---- */

/* What the pipeline of those who run `release` feeds `model`: what the model that they have takes. */
static enum err add_input(struct call *own, struct compat_view *v, const struct fleet_kind *kind, const char *model)
{
	struct release_row running;
	struct component_row *rows;
	struct artifact_row artifact;
	size_t count = 0;
	const char *name = registry_text(own->s->registry, kind->release);
	enum err e = name[0] != '\0' ? releases_find(own, name, &running) : ERR_NOT_FOUND;
	if (e == ERR_OK)
		e = releases_components(own, running.id, &rows, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (strcmp(rows[i].model, model) != 0)
			continue;
		e = releases_pick_artifact(own, running.id, rows[i].version, registry_text(own->s->registry, kind->hardware), &artifact);
		if (e != ERR_OK || artifact.requires == NULL)
			continue;
		struct requirement *r = must(malloc(sizeof *r));
		e = requirement_parse(r, artifact.requires, strlen(artifact.requires), own->fault);
		if (e == ERR_OK && r->input_count > 0)
			capabilities_set_input(v->caps, model, r->inputs, r->input_count);
		free(r);
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* The release brings a firmware: its version counts, whatever runs now. */
static void replace_firmware(struct capabilities *caps, const char *version)
{
	for (unsigned i = 0; caps->known >> CAPABILITY_FIRMWARE & 1 && i < caps->firmware_count; i++) {
		if (caps->firmware[i].name[0] != '\0')
			continue;
		caps->firmware[i] = caps->firmware[--caps->firmware_count];
		break;
	}
	capabilities_set_firmware(caps, version);
}

static enum err load_caps(struct call *own, struct compat_view *v, const struct fleet_kind *kind)
{
	const char *words = compats_words(own->s->compats, kind->class);
	struct json *root = NULL;
	capabilities_init(v->caps);
	enum err e = capabilities_parse(v->caps, words, strlen(words), own->fault);
	if (e == ERR_OK)
		e = json_parse(words, strlen(words), &root, own->fault);
	const char *running = e == ERR_OK ? json_text(json_get(root, "running_firmware")) : NULL;
	if (running != NULL)
		capabilities_set_firmware(v->caps, running);
	if (v->firmware != NULL)
		replace_firmware(v->caps, v->firmware);
	json_free(root);
	for (size_t i = 0; e == ERR_OK && i < v->part_count; i++)
		e = add_input(own, v, kind, v->parts[i].model);
	return e;
}

/* ---- judging ---- */

struct judging {
	const struct compat_view *view;
	bool allow_unknown;
	struct compat_why whys[COMPATS_FIT_REASONS];
	unsigned count;
};

static bool allows_unknown(struct call *c, const struct fleet_kind *kind)
{
	return compats_allow_unknown(c->s->compats) || kind->class == FLEET_CLASS_MUTE;
}

static bool is_enough(const struct judging *j, enum compat verdict)
{
	return verdict == COMPAT_YES || (verdict == COMPAT_UNKNOWN && j->allow_unknown);
}

static void add_reasons(struct judging *j, size_t part, uint8_t variant, const struct compat_result *r)
{
	for (unsigned i = 0; i < r->count && j->count < COMPATS_FIT_REASONS; i++)
		j->whys[j->count++] = (struct compat_why){(uint8_t)part, variant, false, r->reasons[i]};
}

/* Whether the files of one variant for one class of hardware can be run: all of them have to. */
static enum compat judge_variant(struct judging *j, size_t at, const char *hardware, uint8_t variant, bool wants_reasons)
{
	const struct part *part = &j->view->parts[at];
	enum compat worst = COMPAT_YES;
	const struct compat_asked asked = {.model = part->model};
	for (size_t i = 0; i < part->count; i++) {
		struct compat_result why;
		const struct piece *p = &part->pieces[i];
		if (p->requires == NULL || p->number != variant || strcmp(p->hardware, hardware) != 0)
			continue;
		enum compat verdict = compat_match(p->requires, j->view->caps, &asked, &why);
		if (verdict != COMPAT_YES && wants_reasons)
			add_reasons(j, at, variant, &why);
		worst = verdict < worst ? verdict : worst;
	}
	return worst;
}

/* The class of hardware whose artifacts count: the device's own goes before any; NULL: there are none. */
static const char *pool_of(const struct part *part, const char *hardware)
{
	const char *pool = NULL;
	for (size_t i = 0; i < part->count; i++) {
		if (strcmp(part->pieces[i].hardware, hardware) == 0)
			return part->pieces[i].hardware;
		if (strcmp(part->pieces[i].hardware, "*") == 0)
			pool = part->pieces[i].hardware;
	}
	return pool;
}

/* The best variant's verdict; its first artifact in *artifact, where it is enough. */
static enum compat judge_part(struct judging *j, size_t at, const char *hardware, int64_t *artifact)
{
	const struct part *part = &j->view->parts[at];
	const char *pool = pool_of(part, hardware);
	enum compat best = COMPAT_NO;
	*artifact = 0;
	if (pool == NULL) {
		if (j->count < COMPATS_FIT_REASONS)
			j->whys[j->count++] = (struct compat_why){.component = (uint8_t)at, .is_missing = true};
		return COMPAT_NO;
	}
	for (int pass = 0; pass < 2 && *artifact == 0; pass++) { /* who can run it first; of the others, all reasons */
		for (size_t i = 0; i < part->count && *artifact == 0; i++) {
			const struct piece *p = &part->pieces[i];
			bool is_first = strcmp(p->hardware, pool) == 0;
			for (size_t k = 0; k < i && is_first; k++)
				is_first = strcmp(part->pieces[k].hardware, pool) != 0 || part->pieces[k].number != p->number;
			if (!is_first)
				continue;
			enum compat verdict = judge_variant(j, at, pool, p->number, pass == 1);
			best = verdict > best ? verdict : best;
			if (verdict == COMPAT_YES || (pass == 1 && is_enough(j, verdict)))
				*artifact = p->id;
		}
	}
	return best;
}

static enum err judge_kind(struct call *c, struct compat_view *v, uint32_t number, const struct fleet_kind *kind, struct compat_fit *fit)
{
	struct judging j = {.view = v, .allow_unknown = allows_unknown(c, kind)};
	struct call own = *c;
	const char *hardware = registry_text(c->s->registry, kind->hardware);
	int64_t artifact;
	own.arena = v->scratch;
	arena_reset(v->scratch);
	enum err e = load_caps(&own, v, kind);
	v->caps_kind = e == ERR_OK ? number : 0;
	v->caps_serial = kind->serial;
	*fit = (struct compat_fit){.serial = kind->serial, .verdict = COMPAT_YES, .hardware = kind->hardware};
	for (size_t i = 0; e == ERR_OK && i < v->part_count; i++) {
		enum compat verdict = judge_part(&j, i, hardware, &artifact);
		fit->verdict = verdict < fit->verdict ? verdict : fit->verdict;
	}
	fit->is_eligible = is_enough(&j, fit->verdict);
	fit->reason_count = fit->verdict == COMPAT_YES ? 0 : (uint8_t)j.count;
	fit->reasons = arena_array(v->arena, fit->reason_count, sizeof *fit->reasons);
	if (fit->reason_count > 0)
		memcpy(fit->reasons, j.whys, fit->reason_count * sizeof *fit->reasons);
	return e;
}

static enum err fit_of_kind(struct call *c, struct compat_view *v, uint32_t number, const struct fleet_kind *kind, struct compat_fit **out)
{
	if (number >= v->kind_room) {
		uint32_t room = number * 2 + 64;
		v->by_kind = must(reallocarray(v->by_kind, room, sizeof *v->by_kind));
		memset(v->by_kind + v->kind_room, 0, (room - v->kind_room) * sizeof *v->by_kind);
		v->kind_room = room;
	}
	uint32_t at = v->by_kind[number];
	if (at != 0 && v->fits[at - 1].serial == kind->serial) {
		*out = &v->fits[at - 1];
		return ERR_OK;
	}
	if (v->fit_count == v->fit_room) {
		v->fit_room = v->fit_room * 2 + 16;
		v->fits = must(reallocarray(v->fits, v->fit_room, sizeof *v->fits));
	}
	const struct fleet_kind copy = *kind; /* what is asked for below must not move it */
	enum err e = judge_kind(c, v, number, &copy, &v->fits[v->fit_count]);
	if (e != ERR_OK)
		return e;
	v->by_kind[number] = (uint32_t)++v->fit_count;
	*out = &v->fits[v->fit_count - 1];
	return ERR_OK;
}

enum err compat_view_fit(struct call *c, struct compat_view *v, const struct device_state *d, struct compat_fit **out)
{
	return fit_of_kind(c, v, d->kind, registry_kind(c->s->registry, d), out);
}

enum err compat_view_count(struct call *c, struct compat_view *v, const struct device_state *d)
{
	struct compat_fit *fit;
	enum err e = compat_view_fit(c, v, d, &fit);
	if (e == ERR_OK)
		fit->devices++;
	return e;
}

enum err compat_view_count_fleet(struct call *c, struct compat_view *v)
{
	uint32_t at = 0;
	enum err e = ERR_OK;
	for (const struct fleet_kind *k; e == ERR_OK && (k = registry_each_kind(c->s->registry, &at)) != NULL;) {
		struct compat_fit *fit;
		int64_t devices = k->devices;
		e = fit_of_kind(c, v, at, k, &fit);
		if (e == ERR_OK)
			fit->devices += devices;
	}
	return e;
}

/* ---- words ---- */

static const char *text_of(struct call *c, const struct compat_view *v, const struct compat_why *w, const struct capabilities *caps)
{
	char text[COMPAT_TEXT_BYTES];
	const struct part *part = &v->parts[w->component];
	if (w->is_missing)
		return "nothing for its hardware";
	for (size_t i = 0; i < part->count; i++) {
		/* of several files of a variant the indexes of a reason may mean another one: they have the same requirements but in odd cases */
		if (part->pieces[i].number != w->variant || part->pieces[i].requires == NULL)
			continue;
		compat_reason_format(&w->reason, part->pieces[i].requires, caps, text);
		return arena_strdup(c->arena, text);
	}
	return "";
}

/* Of the device's kind, where it is not the last one that was judged. */
static enum err know_caps(struct call *c, struct compat_view *v, const struct device_state *d)
{
	const struct fleet_kind kind = *registry_kind(c->s->registry, d);
	struct call own = *c;
	if (v->caps_kind == d->kind && v->caps_serial == kind.serial)
		return ERR_OK;
	own.arena = v->scratch;
	arena_reset(v->scratch);
	v->caps_kind = d->kind;
	v->caps_serial = kind.serial;
	enum err e = load_caps(&own, v, &kind);
	v->caps_kind = e == ERR_OK ? v->caps_kind : 0;
	return e;
}

enum err compat_view_why(struct call *c, struct compat_view *v, const struct device_state *d, const char **why)
{
	struct compat_fit *fit;
	enum err e = compat_view_fit(c, v, d, &fit);
	if (e == ERR_OK)
		e = know_caps(c, v, d);
	if (e != ERR_OK)
		return e;
	struct buf b = BUF_INIT;
	for (unsigned i = 0; i < fit->reason_count; i++) {
		const struct compat_why *w = &fit->reasons[i];
		const struct part *part = &v->parts[w->component];
		const char *text = text_of(c, v, w, v->caps), *variant = w->is_missing ? "" : part->variants[w->variant];
		bool names_model = v->part_count > 1 || w->is_missing;
		size_t room = strlen(text) + strlen(variant) + strlen(part->model) + 8;
		if (b.len + room > WHY_BYTES && i > 0) {
			buf_str(&b, "; ...");
			break;
		}
		buf_printf(&b, "%s%s%s%s%s%s", i > 0 ? "; " : "", names_model ? part->model : "", names_model && variant[0] != '\0' ? " " : "", variant,
			names_model || variant[0] != '\0' ? ": " : "", text);
	}
	*why = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return ERR_OK;
}

enum err compat_view_pick(struct call *c, struct compat_view *v, const struct device_state *d, int64_t version, int64_t *artifact)
{
	const struct fleet_kind kind = *registry_kind(c->s->registry, d);
	struct judging j = {.view = v, .allow_unknown = allows_unknown(c, &kind)};
	enum err e = know_caps(c, v, d);
	*artifact = 0;
	for (size_t i = 0; e == ERR_OK && i < v->part_count; i++)
		if (v->parts[i].version == version)
			(void)judge_part(&j, i, registry_text(c->s->registry, kind.hardware), artifact);
	return e;
}

/* Reasons of a variant's files, as words. */
static const char *words_of(struct call *c, const struct compat_view *v, const struct judging *j)
{
	struct buf b = BUF_INIT;
	for (unsigned i = 0; i < j->count && b.len < WHY_BYTES; i++)
		buf_printf(&b, "%s%s", i > 0 ? "; " : "", text_of(c, v, &j->whys[i], v->caps));
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err compat_view_variant(struct call *c, struct compat_view *v, const struct device_state *d, int64_t artifact, enum compat *verdict,
	const char **why)
{
	const struct fleet_kind kind = *registry_kind(c->s->registry, d);
	struct judging j = {.view = v, .allow_unknown = allows_unknown(c, &kind)};
	enum err e = know_caps(c, v, d);
	*verdict = COMPAT_NO;
	for (size_t i = 0; e == ERR_OK && i < v->part_count; i++) {
		for (size_t k = 0; k < v->parts[i].count; k++) {
			const struct piece *p = &v->parts[i].pieces[k];
			if (p->id == artifact)
				*verdict = judge_variant(&j, i, p->hardware, p->number, why != NULL);
		}
	}
	if (e == ERR_OK && is_enough(&j, *verdict))
		*verdict = COMPAT_YES;
	if (e == ERR_OK && why != NULL)
		*why = words_of(c, v, &j);
	return e;
}

/* ---- the table ---- */

struct row_builder {
	struct compat_row *row;
	struct compat_row_reason *reasons;
	size_t count, room;
	uint64_t *hashes;
};

static int by_reason_devices(const void *a, const void *b)
{
	const struct compat_row_reason *x = a, *y = b;
	return x->devices != y->devices ? (x->devices < y->devices) - (x->devices > y->devices) : strcmp(x->reason, y->reason);
}

static int by_row_devices(const void *a, const void *b)
{
	const struct compat_row *x = a, *y = b;
	int order = (x->devices < y->devices) - (x->devices > y->devices);
	if (order == 0)
		order = strcmp(x->hardware, y->hardware);
	return order != 0 ? order : (int)x->verdict - (int)y->verdict;
}

static void add_reason(struct row_builder *r, const struct compat_row_reason *reason)
{
	size_t len = strlen(reason->reason);
	uint64_t hash = str_hash(reason->reason, len) ^ str_hash(reason->variant, strlen(reason->variant)) * 3;
	for (size_t i = 0; i < r->count; i++) {
		if (r->hashes[i] != hash || strcmp(r->reasons[i].reason, reason->reason) != 0 || strcmp(r->reasons[i].variant, reason->variant) != 0 ||
			strcmp(r->reasons[i].model, reason->model) != 0)
			continue;
		r->reasons[i].devices += reason->devices;
		return;
	}
	if (r->count == REASON_ROWS) {
		r->row->other += reason->devices;
		return;
	}
	if (r->count == r->room) {
		r->room = r->room * 2 + 8;
		r->reasons = must(reallocarray(r->reasons, r->room, sizeof *r->reasons));
		r->hashes = must(reallocarray(r->hashes, r->room, sizeof *r->hashes));
	}
	r->hashes[r->count] = hash;
	r->reasons[r->count++] = *reason;
}

/* The row of a kind's hardware and verdict. */
static struct row_builder *builder_of(struct call *c, const struct compat_fit *fit, struct row_builder **all, size_t *count, size_t *room)
{
	const char *hardware = registry_text(c->s->registry, fit->hardware);
	for (size_t i = 0; i < *count; i++)
		if ((*all)[i].row->verdict == fit->verdict && strcmp((*all)[i].row->hardware, hardware) == 0)
			return &(*all)[i];
	if (*count == *room) {
		*room = *room * 2 + 16;
		*all = must(reallocarray(*all, *room, sizeof **all));
	}
	struct row_builder *r = &(*all)[(*count)++];
	*r = (struct row_builder){.row = arena_alloc(c->arena, sizeof *r->row)};
	*r->row = (struct compat_row){.hardware = hardware, .verdict = fit->verdict, .is_eligible = fit->is_eligible};
	return r;
}

static void end_row(struct call *c, struct row_builder *r, struct compat_row *out)
{
	*out = *r->row;
	out->reason_count = r->count;
	out->reasons = arena_array(c->arena, r->count, sizeof *out->reasons);
	if (r->count > 0) {
		memcpy(out->reasons, r->reasons, r->count * sizeof *out->reasons);
		qsort(out->reasons, r->count, sizeof *out->reasons, by_reason_devices);
	}
	free(r->reasons);
	free(r->hashes);
}

void compat_view_table(struct call *c, const struct compat_view *v, struct compat_table *out)
{
	struct row_builder *all = NULL;
	size_t count = 0, room = 0;
	*out = (struct compat_table){0};
	for (size_t i = 0; i < v->fit_count; i++) {
		const struct compat_fit *fit = &v->fits[i];
		if (fit->devices == 0)
			continue;
		struct row_builder *r = builder_of(c, fit, &all, &count, &room);
		r->row->devices += fit->devices;
		out->devices[fit->verdict] += fit->devices;
		out->excluded += fit->is_eligible ? 0 : fit->devices;
		for (unsigned k = 0; k < fit->reason_count; k++) {
			const struct compat_why *w = &fit->reasons[k];
			const struct part *part = &v->parts[w->component];
			add_reason(r, &(struct compat_row_reason){part->model, w->is_missing ? "" : part->variants[w->variant], text_of(c, v, w, NULL), fit->devices});
		}
	}
	out->rows = arena_array(c->arena, count, sizeof *out->rows);
	for (size_t i = 0; i < count; i++)
		end_row(c, &all[i], &out->rows[i]);
	free(all);
	out->count = count;
	if (count > 0)
		qsort(out->rows, count, sizeof *out->rows, by_row_devices);
	/* texts of the view: its arena may go before the table does */
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < out->rows[i].reason_count; k++) {
			struct compat_row_reason *r = &out->rows[i].reasons[k];
			r->model = arena_strdup(c->arena, r->model);
			r->variant = arena_strdup(c->arena, r->variant);
		}
	}
}

void compat_table_write(const struct compat_table *t, bool excluded_only, struct buf *out)
{
	json_open_array(out);
	for (size_t i = 0; i < t->count; i++) {
		const struct compat_row *r = &t->rows[i];
		if (excluded_only && r->is_eligible)
			continue;
		json_open_object(out);
		json_str(out, "hardware", r->hardware);
		json_str(out, "verdict", compat_name(r->verdict));
		json_int(out, "devices", r->devices);
		json_key(out, "reasons");
		json_open_array(out);
		for (size_t k = 0; k < r->reason_count; k++) {
			json_open_object(out);
			json_str(out, "model", r->reasons[k].model);
			json_str(out, "variant", r->reasons[k].variant);
			json_str(out, "reason", r->reasons[k].reason);
			json_int(out, "devices", r->reasons[k].devices);
			json_close_object(out);
		}
		json_close_array(out);
		if (r->other > 0)
			json_int(out, "other", r->other);
		json_close_object(out);
	}
	json_close_array(out);
}

const char *compat_table_words(struct call *c, const struct compat_table *t)
{
	struct row_builder sum = {.row = &(struct compat_row){0}};
	struct compat_row row;
	const char *text = "";
	for (size_t i = 0; i < t->count; i++)
		for (size_t k = 0; !t->rows[i].is_eligible && k < t->rows[i].reason_count; k++) {
			struct compat_row_reason r = t->rows[i].reasons[k];
			r.variant = "";
			add_reason(&sum, &r);
		}
	end_row(c, &sum, &row);
	for (size_t i = 0; i < row.reason_count && i < WORDS_MAX; i++)
		text = arena_printf(c->arena, "%s%s%s (%lld)", text, i > 0 ? "; " : "", row.reasons[i].reason, (long long)row.reasons[i].devices);
	return text;
}
