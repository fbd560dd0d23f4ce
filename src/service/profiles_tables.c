/* Published tables come in; all profiles are shown. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/profiles_inside.h"
#include "service/registry.h"
#include "core/semver.h"

#define ERRORS_MAX 100

/* ---- import ---- */

/* "THEIRS:OURS,..": the other name, or NULL where it is not in the list. */
static const char *mapped(struct arena *a, const char *list, const char *name)
{
	size_t len = strlen(name);
	for (const char *at = list; at != NULL && *at != '\0';) {
		const char *colon = strchr(at, ':'), *end = strchr(at, ',');
		if (end == NULL)
			end = at + strlen(at);
		if (colon != NULL && colon < end && (size_t)(colon - at) == len && memcmp(at, name, len) == 0)
			return arena_strndup(a, colon + 1, (size_t)(end - colon - 1));
		at = *end == ',' ? end + 1 : end;
	}
	return NULL;
}

static enum err check_list(struct call *c, const char *parameter, const char *list)
{
	for (const char *at = list; at != NULL && *at != '\0';) {
		const char *colon = strchr(at, ':'), *end = strchr(at, ',');
		if (end == NULL)
			end = at + strlen(at);
		const char *ours = colon != NULL && colon < end ? arena_strndup(c->arena, colon + 1, (size_t)(end - colon - 1)) : NULL;
		if (ours == NULL || colon == at || !str_is_name(ours))
			return fault_set(c->fault, ERR_INVALID, "", "query parameter %s: THEIRS:OURS with commas is expected, ours being a name", parameter);
		at = *end == ',' ? end + 1 : end;
	}
	return ERR_OK;
}

struct importing {
	struct call *c;
	const struct profile_import *in;
	struct buf errors;
	int64_t rows, taken, skipped, refused;
};

static void refuse(struct importing *i, const char *detail)
{
	if (++i->refused > ERRORS_MAX)
		return;
	json_open_object(&i->errors);
	json_str(&i->errors, "detail", detail);
	json_close_object(&i->errors);
}

static enum err take_row(struct importing *i, const struct profile_row *row)
{
	struct call *c = i->c;
	const char *hardware = mapped(c->arena, i->in->hardware, row->hardware), *model = mapped(c->arena, i->in->model, row->model);
	const char *variant = mapped(c->arena, i->in->variant, row->variant);
	struct profile_figures f;
	bool has_any = false;
	profile_row_figures(row, NULL, &f);
	for (unsigned k = 0; k < PROFILE_FIGURES; k++)
		has_any = has_any || !isnan(f.of[k].value);
	if (!has_any || (i->in->mapped_only && (hardware == NULL || model == NULL))) {
		i->skipped++;
		return ERR_OK;
	}
	if (variant == NULL)
		variant = row->variant[0] != '\0' ? row->variant : "default";
	struct published_row p = {.hardware = hardware != NULL ? hardware : row->hardware, .model = model != NULL ? model : row->model,
		.version = row->version[0] != '\0' || i->in->version == NULL ? row->version : i->in->version, .variant = variant,
		.origin = i->in->origin != NULL ? i->in->origin : "import", .latency_ms = row->latency_ms, .latency_p95_ms = row->latency_p95_ms,
		.energy_uj = row->energy_uj, .memory_bytes = row->memory_bytes, .accuracy = row->accuracy, .top1 = row->top1, .auc = row->auc,
		.devices = (int64_t)(row->devices < INT32_MAX ? row->devices : INT32_MAX),
		.samples = (int64_t)(row->samples < INT64_MAX / 2 ? row->samples : INT64_MAX / 2), .imported_at = c->now_ms};
	i->taken++;
	return published_put(c->s->profiles->store, &p, c->fault);
}

static enum err take_rows(struct importing *i)
{
	struct call *c = i->c;
	struct profile_csv *csv = arena_alloc(c->arena, sizeof *csv);
	enum err e = profile_csv_begin(csv, i->in->text, i->in->len, c->fault);
	while (e == ERR_OK) {
		struct profile_row row;
		struct fault f = {"", ""};
		bool is_end = false;
		e = profile_csv_next(csv, &row, &is_end, &f);
		if (e == ERR_OK && is_end)
			break;
		if (++i->rows > IMPORT_ROWS_MAX)
			return fault_set(c->fault, ERR_TOO_LARGE, "", "at most %d rows at once: split the table", IMPORT_ROWS_MAX);
		if (e == ERR_INVALID) {
			refuse(i, f.detail);
			e = ERR_OK;
		} else if (e == ERR_OK) {
			e = take_row(i, &row);
		} else {
			*c->fault = f;
		}
	}
	return e;
}

enum err profiles_import(struct call *c, const struct profile_import *in, struct buf *out)
{
	struct importing i = {.c = c, .in = in};
	int64_t stored = 0;
	struct semver version;
	if (in->origin != NULL && !str_is_name(in->origin))
		return fault_set(c->fault, ERR_INVALID, "", "query parameter origin: a name is expected");
	if (in->version != NULL && !semver_parse(in->version, strlen(in->version), &version))
		return fault_set(c->fault, ERR_INVALID, "", "query parameter version: a version as 1.4.2 is expected");
	enum err e = check_list(c, "hardware", in->hardware);
	if (e == ERR_OK)
		e = check_list(c, "model", in->model);
	if (e == ERR_OK)
		e = check_list(c, "variant", in->variant);
	if (e == ERR_OK)
		e = take_rows(&i);
	if (e == ERR_OK)
		e = published_count(c->s->profiles->store, &stored, c->fault);
	if (e == ERR_OK && stored > PUBLISHED_ROWS_MAX)
		e = fault_set(c->fault, ERR_TOO_LARGE, "", "%d published profiles are kept at most: delete a table first", PUBLISHED_ROWS_MAX);
	if (e == ERR_OK) {
		json_open_object(out);
		json_int(out, "rows", i.rows);
		json_int(out, "taken", i.taken);
		json_int(out, "skipped", i.skipped);
		json_int(out, "refused", i.refused);
		json_raw(out, "errors", arena_printf(c->arena, "[%s]", buf_cstr(&i.errors)));
		json_close_object(out);
		c->s->profiles->imports++;
		e = audit_append(c, "profiles.import", "profiles", NULL, buf_cstr(out));
	}
	buf_done(&i.errors);
	return e;
}

enum err profiles_drop(struct call *c, const char *origin, int64_t *removed)
{
	enum err e = published_remove(c->s->profiles->store, origin, removed, c->fault);
	if (e == ERR_OK && *removed == 0)
		return fault_set(c->fault, ERR_NOT_FOUND, "", "no table %.64s was imported", origin);
	c->s->profiles->imports++;
	return e == ERR_OK ? audit_append(c, "profiles.delete", arena_printf(c->arena, "profiles/%s", origin), NULL, NULL) : e;
}

/* ---- showing ---- */

static void write_figures(const struct profile_figures *f, struct buf *out)
{
	uint32_t devices = 0;
	uint64_t samples = 0;
	int64_t age_ms = -1;
	for (unsigned i = 0; i < PROFILE_FIGURES; i++) {
		const struct profile_figure *x = &f->of[i];
		if (isnan(x->value))
			continue;
		json_num(out, profile_figure_name((enum profile_figure_kind)i), x->value);
		devices = x->devices > devices ? x->devices : devices;
		if (i != PROFILE_MEMORY)
			samples = x->samples > samples ? x->samples : samples;
		age_ms = x->age_ms;
	}
	json_int(out, "devices", devices);
	json_int(out, "samples", (int64_t)samples);
	if (age_ms >= 0)
		json_int(out, "age_ms", age_ms);
}

static void write_learned(const struct profiles *p, const struct learned *l, const struct profiled_row *row, const struct profile_cell *cell,
	unsigned number, int64_t now_ms, struct buf *out)
{
	struct profile_figures f;
	profile_read(cell, number, PROFILE_CLASS, now_ms, &f);
	json_open_object(out);
	json_str(out, "source", "learned");
	json_str(out, "hardware", p->hardware[l->hardware]);
	json_str(out, "model", row->model);
	json_str(out, "version", row->version_text);
	json_str(out, "variant", row->variant[0] != '\0' ? row->variant : "default");
	json_int(out, "artifact", row->artifact);
	json_str(out, "context", number == PROFILE_CELL_ANY ? "any" : health_cell_name(number));
	write_figures(&f, out);
	json_close_object(out);
}

static bool wanted(const char *asked, const char *is)
{
	return asked == NULL || strcmp(asked, is) == 0;
}

static enum err list_one(struct call *c, const struct profile_filter *filter, const struct learned *l, struct buf *out, int64_t *written)
{
	struct profiles *p = c->s->profiles;
	struct profiled_row row;
	if (!wanted(filter->hardware, p->hardware[l->hardware]))
		return ERR_OK;
	enum err e = profile_artifact(p->store, l->artifact, &row, c->arena, c->fault);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? ERR_OK : e; /* the artifact was deleted */
	const char *variant = row.variant[0] != '\0' ? row.variant : "default";
	if (!wanted(filter->model, row.model) || !wanted(filter->version, row.version_text) || !wanted(filter->variant, variant))
		return ERR_OK;
	struct profile_cell *cell = profiles_merge_cells(l, c->now_ms);
	if (cell != NULL)
		write_learned(p, l, &row, cell, PROFILE_CELL_ANY, c->now_ms, out);
	*written += cell != NULL;
	for (unsigned i = 0; filter->by_cell && cell != NULL && i < HEALTH_CELLS; i++) {
		if (l->cells[i] == NULL)
			continue;
		*cell = *l->cells[i];
		profile_fade(cell, c->now_ms, PROFILE_HALF_LIFE_MS);
		write_learned(p, l, &row, cell, i, c->now_ms, out);
	}
	free(cell);
	return ERR_OK;
}

static void write_published(const struct published_row *r, int64_t now_ms, struct buf *out)
{
	const struct {
		const char *name;
		double value;
	} numbers[] = {{"latency_p50_ms", r->latency_ms}, {"latency_p95_ms", isnan(r->latency_p95_ms) ? r->latency_ms : r->latency_p95_ms},
		{"energy_uj", r->energy_uj}, {"memory_bytes", r->memory_bytes}, {"accuracy", r->accuracy}, {"top1", r->top1}, {"auc", r->auc}};
	json_open_object(out);
	json_str(out, "source", "published");
	json_str(out, "hardware", r->hardware);
	json_str(out, "model", r->model);
	json_str(out, "version", r->version);
	json_str(out, "variant", r->variant);
	json_str(out, "origin", r->origin);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (!isnan(numbers[i].value))
			json_num(out, numbers[i].name, numbers[i].value);
	json_int(out, "devices", r->devices);
	json_int(out, "samples", r->samples);
	json_int(out, "age_ms", now_ms - r->imported_at);
	json_close_object(out);
}

/* A cursor is "l<place>" or "p<hardware>\n<model>\n<version>\n<variant>". */
static void read_cursor(struct call *c, const char *cursor, struct published_row *after)
{
	char *text = arena_strdup(c->arena, cursor + 1);
	const char *words[4] = {"", "", "", ""};
	for (size_t i = 0; i < 4 && text != NULL; i++)
		words[i] = strsep(&text, "\n");
	*after = (struct published_row){.hardware = words[0], .model = words[1], .version = words[2], .variant = words[3]};
}

static enum err list_published(struct call *c, const struct profile_filter *filter, const char *cursor, int64_t limit, struct buf *out,
	const char **next)
{
	struct published_row after = {.hardware = "", .model = "", .version = "", .variant = ""}, *rows = NULL;
	size_t count = 0;
	if (cursor != NULL && cursor[0] == 'p')
		read_cursor(c, cursor, &after);
	enum err e = published_page(c->s->profiles->store, filter->hardware, filter->model, &after, limit + 1, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; i < count && i < (size_t)limit && e == ERR_OK; i++)
		if (wanted(filter->version, rows[i].version) && wanted(filter->variant, rows[i].variant))
			write_published(&rows[i], c->now_ms, out);
	const struct published_row *last = count > (size_t)limit ? &rows[limit - 1] : NULL;
	if (last != NULL)
		*next = arena_printf(c->arena, "p%s\n%s\n%s\n%s", last->hardware, last->model, last->version, last->variant);
	return e;
}

enum err profiles_list(struct call *c, const struct profile_filter *filter, const char *cursor, int64_t limit, struct buf *out, const char **next)
{
	struct profiles *p = c->s->profiles;
	size_t at = cursor != NULL && cursor[0] == 'l' ? strtoul(cursor + 1, NULL, 10) : 0;
	int64_t written = 0;
	enum err e = ERR_OK;
	*next = NULL;
	bool is_past = cursor != NULL && cursor[0] == 'p';
	for (; filter->learned && !is_past && at < p->count && written < limit && e == ERR_OK; at++)
		e = list_one(c, filter, p->all[at], out, &written);
	if (e == ERR_OK && filter->learned && !is_past && at < p->count) {
		*next = arena_printf(c->arena, "l%zu", at);
		return ERR_OK;
	}
	if (e != ERR_OK || !filter->published)
		return e;
	if (written < limit)
		return list_published(c, filter, cursor, limit - written, out, next);
	*next = "p";
	return ERR_OK;
}
