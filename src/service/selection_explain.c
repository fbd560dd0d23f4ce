/* Why a device gets which variant. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "core/health.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollouts.h"
#include "service/selection_inside.h"

static void write_figures(const struct profile_figures *f, struct buf *out)
{
	json_key(out, "figures");
	json_open_object(out);
	for (unsigned i = 0; i < PROFILE_FIGURES; i++) {
		const struct profile_figure *x = &f->of[i];
		if (isnan(x->value))
			continue;
		json_key(out, profile_figure_name((enum profile_figure_kind)i));
		json_open_object(out);
		json_num(out, "value", x->value);
		json_str(out, "source", profile_source_name((enum profile_source)x->source));
		if (x->cell != PROFILE_CELL_ANY)
			json_str(out, "context", health_cell_name(x->cell));
		if (x->devices > 0)
			json_int(out, "devices", x->devices);
		if (x->samples > 0)
			json_int(out, "samples", (int64_t)x->samples);
		if (x->age_ms >= 0)
			json_int(out, "age_ms", x->age_ms);
		json_close_object(out);
	}
	json_close_object(out);
}

static void write_variant(const struct group *g, const struct asked *asked, const struct select_answer *a, unsigned i, struct buf *out)
{
	char text[SELECT_TEXT_BYTES];
	const struct variant *v = &g->variants[i];
	const struct select_explained *x = &a->variants[i];
	select_explain(&asked->q, a, i, text);
	json_open_object(out);
	json_str(out, "variant", v->id);
	json_int(out, "artifact", v->artifact);
	json_str(out, "hardware", v->hardware);
	json_num(out, "size_bytes", v->bytes);
	json_str(out, "fate", select_fate_name((enum select_fate)x->fate));
	if (x->other != SELECT_NONE)
		json_str(out, "other", g->variants[x->other].id);
	json_str(out, "why", text);
	if (asked->reasons[i] != NULL && asked->reasons[i][0] != '\0')
		json_str(out, "incompatible", asked->reasons[i]);
	json_bool(out, "installed", asked->q.installed == i);
	write_figures(asked->candidates[i].figures, out);
	json_close_object(out);
}

static void write_component(const struct component_row *component, const struct group *g, const struct asked *asked, const struct select_answer *a,
	const char *now, struct buf *out)
{
	json_open_object(out);
	json_str(out, "model", component->model);
	json_str(out, "version", component->version_text);
	json_str(out, "chosen", a->chosen != SELECT_NONE ? g->variants[a->chosen].id : NULL);
	json_str(out, "why", select_why_name((enum select_why)a->why));
	if (a->best != SELECT_NONE && a->best != a->chosen)
		json_str(out, "best", g->variants[a->best].id);
	if (!isnan(a->gain))
		json_num(out, "gain", a->gain);
	if (now != NULL)
		json_str(out, "handed_out", now);
	if (asked->has_override) {
		json_key(out, "override");
		json_open_object(out);
		json_str(out, "variant", asked->override.variant);
		json_str(out, "reason", asked->override.reason);
		json_str(out, "made_by", asked->override.made_by);
		json_int(out, "made_at", asked->override.made_at);
		json_bool(out, "there_is_such", asked->q.wanted != SELECT_NONE);
		json_close_object(out);
	}
	if (g->omitted > 0)
		json_int(out, "omitted", g->omitted);
	json_key(out, "variants");
	json_open_array(out);
	for (unsigned i = 0; i < g->count; i++)
		write_variant(g, asked, a, i, out);
	json_close_array(out);
	json_close_object(out);
}

static enum err explain_component(struct call *c, const struct device_state *d, int64_t release, const struct component_row *component,
	const char *parts, struct buf *out)
{
	const struct group *g;
	struct select_answer answer;
	struct asked *asked = arena_alloc(c->arena, sizeof *asked);
	const char *now = NULL;
	enum err e = selection_group(c, release, component, d->hardware, profiles_context(c->s->profiles, d), &g);
	if (e == ERR_OK)
		e = selection_ask(c, d, g, component, true, asked);
	if (e != ERR_OK)
		return e;
	select_choose(&asked->q, &answer);
	int64_t part = selection_part(parts, component->version);
	for (unsigned i = 0; i < g->count; i++)
		if (g->variants[i].artifact == part)
			now = g->variants[i].id;
	write_component(component, g, asked, &answer, now, out);
	return ERR_OK;
}

/* The release that it is to run, or says that it runs. */
static enum err find_release(struct call *c, const struct device_state *d, const char *name, struct release_row *row)
{
	struct desired_target t;
	enum err e = name == NULL ? rollouts_desired(c, d->row, &t) : ERR_OK;
	if (e != ERR_OK)
		return e;
	if (name == NULL && (t.release != 0 || t.shadow.release != 0))
		return releases_get(c, t.release != 0 ? t.release : t.shadow.release, row);
	if (name == NULL)
		name = registry_text(c->s->registry, d->release);
	return name[0] != '\0' ? releases_find(c, name, row)
	                       : fault_set(c->fault, ERR_NOT_FOUND, "", "%s runs no release that is known here: say which one", d->id);
}

enum err selection_explain(struct call *c, const struct device_state *d, const char *release, struct buf *out)
{
	struct release_row row;
	struct component_row *components = NULL;
	size_t count = 0;
	const char *parts = NULL, *objective = NULL;
	enum err e = find_release(c, d, release, &row);
	if (e == ERR_OK)
		e = releases_components(c, row.id, &components, &count);
	if (e == ERR_OK)
		e = selection_parts(c, d->row, row.id, &parts);
	if (e == ERR_OK)
		e = selection_get_objective(c, row.id, &objective);
	if (e != ERR_OK)
		return e;
	json_open_object(out);
	json_str(out, "device", d->id);
	json_str(out, "hardware", registry_text(c->s->registry, d->hardware));
	json_str(out, "release", row.name);
	json_str(out, "context", health_cell_name(profiles_context(c->s->profiles, d)));
	if (objective != NULL)
		json_raw(out, "objective", objective);
	json_key(out, "components");
	json_open_array(out);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		if (strcmp(components[i].kind, "model") == 0)
			e = explain_component(c, d, row.id, &components[i], parts, out);
	json_close_array(out);
	json_close_object(out);
	return e;
}
