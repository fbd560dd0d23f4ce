/* The variants of a release for a class of hardware, with their figures, and one device's question to them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/compats.h"
#include "service/registry.h"
#include "service/selection_inside.h"
#include "store/release_store.h"

#define KEPT_MS 1000 /* figures of a class are so old at most, where telemetry comes in all the time */

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- declared ---- */

static double declared_number(const struct json *quality, const char *name)
{
	const struct json *n = json_get(quality, name);
	return n != NULL && json_type(n) == JSON_NUMBER ? json_number(n) : NAN;
}

/* "quality": {"top1": 0.902} of what the publisher declared. */
static void read_declared(const char *text, const char *wanted, struct profile_figures *out)
{
	static const char *const names[] = {"accuracy", "top1", "auc"};
	struct json *root = NULL;
	struct fault f;
	double value = NAN;
	profile_figures_init(out);
	if (text == NULL || json_parse(text, strlen(text), &root, &f) != ERR_OK)
		return;
	const struct json *quality = json_get(root, "quality");
	if (wanted != NULL)
		value = declared_number(quality, wanted);
	for (size_t i = 0; wanted == NULL && i < sizeof names / sizeof names[0] && isnan(value); i++)
		value = declared_number(quality, names[i]);
	json_free(root);
	if (!isnan(value))
		out->of[PROFILE_QUALITY] = (struct profile_figure){.value = value, .source = PROFILE_DECLARED, .cell = PROFILE_CELL_ANY, .age_ms = -1};
}

/* ---- the variants ---- */

static void add_candidate(struct group *g, const struct candidate_row *row)
{
	const char *id = row->variant[0] != '\0' ? row->variant : "default";
	struct variant *last = g->count > 0 ? &g->variants[g->count - 1] : NULL;
	if (last != NULL && strcmp(last->id, id) == 0) { /* another file of it: rows are in order of variants */
		last->bytes += (double)row->size_bytes;
		return;
	}
	if (g->count == SELECT_VARIANTS) {
		g->omitted++;
		return;
	}
	struct variant *v = &g->variants[g->count++];
	*v = (struct variant){.artifact = row->artifact, .bytes = (double)row->size_bytes};
	(void)!str_copy(v->id, sizeof v->id, id);
	(void)!str_copy(v->hardware, sizeof v->hardware, row->hardware);
	read_declared(row->declared, g->quality, &v->declared);
}

static void pick_figures(const struct variant *v, const struct profile_figures *own, struct profile_figures *out)
{
	profile_pick(&(struct profile_known){.device_any = own, .cell = &v->learned.cell, .any = &v->learned.any, .declared = &v->declared,
		.published = &v->learned.published, .macs_latency_ms = v->macs_latency_ms}, out);
}

static enum err find_figures(struct call *c, const struct component_row *component, const char *hardware, struct group *g, struct variant *v,
	double macs)
{
	struct profile_question q = {.hardware = hardware, .model = component->model, .version = component->version_text, .variant = v->id,
		.artifact = v->artifact, .cell = g->cell, .quality = g->quality};
	double rate = 0;
	enum err e = profiles_find(c, &q, &v->learned);
	bool is_measured = !isnan(v->learned.any.of[PROFILE_LATENCY_P95].value) || !isnan(v->learned.published.of[PROFILE_LATENCY_P95].value);
	if (e == ERR_OK && macs > 0 && !is_measured)
		e = profiles_macs_rate(c, hardware, &rate);
	v->macs_latency_ms = profile_macs_latency_ms(macs, rate);
	pick_figures(v, NULL, &v->figures);
	return e;
}

enum err selection_group_make(struct call *c, int64_t release, const struct component_row *component, uint32_t hardware, unsigned cell,
	struct group *out)
{
	const char *name = registry_text(c->s->registry, hardware), *classes[] = {name, "*"};
	struct candidate_row *rows = NULL;
	size_t count = 0;
	*out = (struct group){.release = release, .version = component->version, .hardware = hardware, .cell = cell, .made_ms = c->now_ms,
		.generation = profiles_generation(c->s->profiles), .imports = profiles_imports(c->s->profiles)};
	enum err e = selection_read_objective(c, release, &out->objective, &out->quality, NULL, &out->has_objective);
	for (size_t i = 0; i < 2 && e == ERR_OK && count == 0; i++)
		e = choice_candidates(c->s->selection->store, release, component->version, classes[i], &rows, &count, c->arena, c->fault);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		add_candidate(out, &rows[i]);
	for (unsigned i = 0; i < out->count && e == ERR_OK; i++) {
		double macs = 0;
		for (size_t k = 0; k < count && macs <= 0; k++)
			macs = rows[k].artifact == out->variants[i].artifact ? rows[k].macs : 0;
		e = find_figures(c, component, name, out, &out->variants[i], macs);
	}
	return e;
}

static bool is_fresh(struct call *c, const struct group *g)
{
	if (g->imports != profiles_imports(c->s->profiles))
		return false;
	return g->generation == profiles_generation(c->s->profiles) || (c->now_ms >= g->made_ms && c->now_ms < g->made_ms + KEPT_MS);
}

enum err selection_group(struct call *c, int64_t release, const struct component_row *component, uint32_t hardware, unsigned cell,
	const struct group **out)
{
	struct selection *x = c->s->selection;
	struct group *g = NULL;
	for (unsigned i = 0; i < GROUPS && g == NULL; i++) {
		struct group *have = x->groups[i];
		if (have != NULL && have->release == release && have->version == component->version && have->hardware == hardware && have->cell == cell)
			g = have;
	}
	if (g != NULL && is_fresh(c, g)) {
		*out = g;
		return ERR_OK;
	}
	if (g == NULL) {
		struct group **place = &x->groups[x->next_group++ % GROUPS];
		if (*place == NULL)
			*place = must(malloc(sizeof **place));
		g = *place;
	}
	enum err e = selection_group_make(c, release, component, hardware, cell, g);
	if (e != ERR_OK)
		g->release = 0; /* nobody's */
	*out = g;
	return e;
}

/* ---- one device ---- */

enum err selection_compat(struct call *c, const struct device_state *d, const struct group *g, unsigned variant, const struct component_row *component,
	enum compat *verdict, const char **why)
{
	(void)component;
	return compats_variant(c, g->release, d, g->variants[variant].artifact, verdict, why);
}

static enum err ask_override(struct call *c, const struct device_state *d, const struct group *g, int64_t model, struct asked *out)
{
	if (!selection_is_overridden(c->s->selection, d))
		return ERR_OK;
	enum err e = override_get(c->s->selection->store, d->row, model, &out->override, c->arena, c->fault);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	out->has_override = true;
	for (unsigned i = 0; i < g->count; i++)
		if (strcmp(g->variants[i].id, out->override.variant) == 0)
			out->q.wanted = i;
	return ERR_OK;
}

static void ask_installed(struct call *c, const struct device_state *d, const struct group *g, const struct component_row *component, int64_t model,
	struct asked *out)
{
	int64_t artifact = selection_runs(c->s->selection, d, model, g->version, c->now_ms);
	const struct running *r = selection_running(c->s->selection, d, model);
	for (unsigned i = 0; i < g->count && artifact != 0; i++)
		if (g->variants[i].artifact == artifact)
			out->q.installed = i;
	out->q.installed_for_ms = r != NULL ? c->now_ms - r->since_ms : INT64_MAX;
	if (out->q.installed == SELECT_NONE)
		return;
	struct profile_figures own;
	/* of another variant of the same version, until the change is older than what is remembered */
	int64_t since_ms = r != NULL && r->prev_version == r->version ? r->since_ms : 0;
	profiles_own(c, d, component->model, component->version_text, since_ms, g->quality, &own);
	pick_figures(&g->variants[out->q.installed], &own, &out->own);
	out->candidates[out->q.installed].figures = &out->own;
}

enum err selection_ask(struct call *c, const struct device_state *d, const struct group *g, const struct component_row *component, bool with_reasons,
	struct asked *out)
{
	int64_t model;
	memset(out, 0, sizeof *out);
	out->q = (struct select_question){.objective = &g->objective, .candidates = out->candidates, .count = g->count, .context = g->cell,
		.installed = SELECT_NONE, .wanted = SELECT_NONE, .installed_for_ms = INT64_MAX};
	enum err e = selection_model(c, component->model, &model);
	for (unsigned i = 0; i < g->count && e == ERR_OK; i++) {
		enum compat verdict = COMPAT_YES;
		e = selection_compat(c, d, g, i, component, &verdict, with_reasons ? &out->reasons[i] : NULL);
		out->candidates[i] = (struct select_candidate){g->variants[i].id, g->variants[i].bytes, verdict, &g->variants[i].figures};
	}
	if (e == ERR_OK)
		e = ask_override(c, d, g, model, out);
	if (e == ERR_OK)
		ask_installed(c, d, g, component, model, out);
	return e;
}
