/* What the whole fleet says about the variants of a version: who is served by which, what could be retired, what should be built.
 *
 * Figures are those of classes: devices that agree in kind, context, what they run and what is asked of them get one answer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/fleet_index.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/selection_inside.h"
#include "service/timebox.h"

#define SLOTS (1u << 17)
#define IDS_MAX SELECT_VARIANTS
#define BETWEEN_LOOKS 64 /* devices between two looks at the clock */

/* Variants have one number in the survey, whatever their place among those of a class. */
struct survey_group {
	struct group g;
	uint8_t number[SELECT_VARIANTS];
};
struct kind_verdicts {
	uint64_t serial; /* 0: not judged */
	uint8_t verdict[SELECT_VARIANTS];
};
/* Devices that another variant would serve better by the gain that is asked. */
struct move {
	uint32_t hardware;
	uint8_t from, to;
	int64_t devices;
};
#define MOVES_MAX 256

struct selection_survey {
	struct arena *arena, *scratch;
	struct component_row component;
	int64_t model, release;
	const char *release_name;
	struct survey_group *(*groups)[HEALTH_CELLS]; /* by number of the hardware */
	size_t group_count;
	struct kind_verdicts *kinds;
	size_t kind_count;
	char ids[IDS_MAX][NAME_BYTES];
	unsigned id_count;
	struct select_memo memo;
	struct select_slot *slots;
	struct select_survey *sums;
	struct move moves[MOVES_MAX];
	size_t move_count;
	uint32_t at, slot_at;
	bool is_walked;
	int64_t devices, others, overridden;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- groups ---- */

static uint8_t number_of(struct selection_survey *s, const char *id)
{
	for (unsigned i = 0; i < s->id_count; i++)
		if (strcmp(s->ids[i], id) == 0)
			return (uint8_t)i;
	if (s->id_count == IDS_MAX)
		return IDS_MAX - 1; /* more names than variants of one class may have: the last ones are counted together */
	memcpy(s->ids[s->id_count], id, strlen(id) + 1);
	return (uint8_t)s->id_count++;
}

static enum err group_of(struct call *c, struct selection_survey *s, uint32_t hardware, unsigned cell, struct survey_group **out)
{
	if (hardware >= s->group_count) {
		size_t count = hardware + 64;
		s->groups = must(realloc(s->groups, count * sizeof *s->groups));
		memset(s->groups + s->group_count, 0, (count - s->group_count) * sizeof *s->groups);
		s->group_count = count;
	}
	*out = s->groups[hardware][cell];
	if (*out != NULL)
		return ERR_OK;
	struct call own = *c;
	own.arena = s->scratch;
	arena_reset(s->scratch);
	struct survey_group *g = s->groups[hardware][cell] = *out = must(calloc(1, sizeof *g));
	enum err e = selection_group_make(&own, s->release, &s->component, hardware, cell, &g->g);
	for (unsigned i = 0; i < g->g.count && e == ERR_OK; i++)
		g->number[i] = number_of(s, g->g.variants[i].id);
	return e;
}

static enum err verdicts_of(struct call *c, struct selection_survey *s, const struct device_state *d, const struct group *g,
	const struct kind_verdicts **out)
{
	uint64_t serial = registry_kind(c->s->registry, d)->serial;
	if (d->kind >= s->kind_count) {
		size_t count = d->kind * 2 + 64;
		s->kinds = must(realloc(s->kinds, count * sizeof *s->kinds));
		memset(s->kinds + s->kind_count, 0, (count - s->kind_count) * sizeof *s->kinds);
		s->kind_count = count;
	}
	struct kind_verdicts *k = &s->kinds[d->kind];
	*out = k;
	if (k->serial == serial && serial != 0)
		return ERR_OK;
	struct call own = *c;
	own.arena = s->scratch;
	arena_reset(s->scratch);
	enum err e = ERR_OK;
	for (unsigned i = 0; i < g->count && e == ERR_OK; i++) {
		enum compat verdict = COMPAT_YES;
		e = selection_compat(&own, d, g, i, &s->component, &verdict, NULL);
		k->verdict[i] = (uint8_t)verdict;
	}
	k->serial = serial;
	return e;
}

/* ---- devices ---- */

static void choose(const struct select_key *key, const struct group *g, const struct kind_verdicts *k, struct select_answer *out)
{
	struct select_candidate candidates[SELECT_VARIANTS];
	struct select_question q = {&g->objective, candidates, g->count, key->context, key->installed, key->is_dwelling ? 0 : INT64_MAX, key->wanted};
	for (unsigned i = 0; i < g->count; i++)
		candidates[i] = (struct select_candidate){g->variants[i].id, g->variants[i].bytes, (enum compat)k->verdict[i], &g->variants[i].figures};
	select_choose(&q, out);
}

static void note_move(struct selection_survey *s, uint32_t hardware, uint8_t from, uint8_t to)
{
	size_t i = 0;
	while (i < s->move_count && (s->moves[i].hardware != hardware || s->moves[i].from != from || s->moves[i].to != to))
		i++;
	if (i == MOVES_MAX)
		return;
	if (i == s->move_count)
		s->moves[s->move_count++] = (struct move){hardware, from, to, 0};
	s->moves[i].devices++;
}

/* By numbers of the survey instead of places in the group. */
static void add_answer(struct selection_survey *s, uint32_t hardware, const struct survey_group *g, const struct select_answer *a, int64_t devices)
{
	struct select_answer b = {.chosen = SELECT_NONE, .best = SELECT_NONE, .why = a->why, .is_poor = a->is_poor, .gain = a->gain};
	for (unsigned i = 0; i < SELECT_VARIANTS; i++)
		b.variants[i] = (struct select_explained){SELECT_FATE_INCOMPATIBLE, SELECT_NONE, 0};
	for (unsigned i = 0; i < g->g.count; i++) {
		unsigned n = g->number[i];
		b.variants[n] = a->variants[i];
		if (b.variants[n].other != SELECT_NONE)
			b.variants[n].other = g->number[b.variants[n].other];
		b.eligible |= (uint16_t)((a->eligible >> i & 1u) << n);
		b.dominated |= (uint16_t)((a->dominated >> i & 1u) << n);
	}
	if (a->chosen != SELECT_NONE)
		b.chosen = g->number[a->chosen];
	if (a->best != SELECT_NONE)
		b.best = g->number[a->best];
	select_survey_add(s->sums, hardware, &b, devices);
}

struct asker {
	struct select_key key;
	struct survey_group *group;
	const struct kind_verdicts *verdicts;
	bool has_model;
};

static enum err ask(struct call *c, struct selection_survey *s, const struct device_state *d, struct asker *out)
{
	struct selection *x = c->s->selection;
	unsigned cell = profiles_context(c->s->profiles, d);
	const struct running *r = selection_running(x, d, s->model);
	enum err e = group_of(c, s, d->hardware, cell, &out->group);
	if (e != ERR_OK)
		return e;
	const struct group *g = &out->group->g;
	e = verdicts_of(c, s, d, g, &out->verdicts);
	int64_t artifact = selection_runs(x, d, s->model, s->component.version, c->now_ms);
	out->has_model = r != NULL || artifact != 0;
	out->key = (struct select_key){.capability_class = d->kind, .figures = d->hardware, .context = (uint8_t)cell, .installed = SELECT_NONE,
		.wanted = SELECT_NONE};
	for (unsigned i = 0; i < g->count && artifact != 0; i++)
		if (g->variants[i].artifact == artifact)
			out->key.installed = (uint8_t)i;
	out->key.is_dwelling = out->key.installed != SELECT_NONE && r != NULL && c->now_ms - r->since_ms < g->objective.dwell_ms;
	if (e != ERR_OK || !selection_is_overridden(x, d))
		return e;
	struct override_row o;
	struct call own = *c;
	own.arena = s->scratch;
	arena_reset(s->scratch);
	e = override_get(x->store, d->row, s->model, &o, own.arena, own.fault);
	for (unsigned i = 0; i < g->count && e == ERR_OK; i++)
		if (strcmp(g->variants[i].id, o.variant) == 0)
			out->key.wanted = (uint8_t)i;
	s->overridden += e == ERR_OK;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err look_at(struct call *c, struct selection_survey *s, const struct device_state *d)
{
	struct asker a;
	struct select_answer answer;
	bool is_new = false;
	enum err e = ask(c, s, d, &a);
	if (e != ERR_OK)
		return e;
	const struct group *g = &a.group->g;
	if (g->count == 0 && !a.has_model) {
		s->others++;
		return ERR_OK;
	}
	s->devices++;
	struct select_slot *slot = select_memo_find(&s->memo, &a.key, &is_new);
	if (slot == NULL || is_new)
		choose(&a.key, g, a.verdicts, &answer);
	if (is_new)
		select_memo_fill(slot, &answer);
	if (slot == NULL)
		add_answer(s, d->hardware, a.group, &answer, 1); /* no room: not counted at the end */
	uint8_t chosen = slot != NULL ? slot->chosen : answer.chosen;
	if (a.key.installed != SELECT_NONE && chosen != SELECT_NONE && chosen != a.key.installed)
		note_move(s, d->hardware, a.group->number[a.key.installed], a.group->number[chosen]);
	return ERR_OK;
}

/* Each answer, for as many devices as got it. A kind whose number was used again meanwhile counts as the new one. */
static void add_slot(struct selection_survey *s, const struct select_slot *slot)
{
	struct select_answer a;
	const struct survey_group *g = s->groups[slot->key.figures][slot->key.context];
	choose(&slot->key, &g->g, &s->kinds[slot->key.capability_class], &a);
	add_answer(s, slot->key.figures, g, &a, slot->devices);
}

enum err selection_survey_step(struct call *c, struct selection_survey *s, const struct timebox *box, bool *is_done)
{
	*is_done = false;
	for (unsigned n = 1; !s->is_walked; n++) {
		if (n % BETWEEN_LOOKS == 0 && timebox_is_over(box))
			return ERR_OK;
		const struct device_state *d = registry_each(c->s->registry, &s->at);
		enum err e = d != NULL ? look_at(c, s, d) : ERR_OK;
		if (e != ERR_OK)
			return e;
		s->is_walked = d == NULL;
	}
	for (unsigned n = 1; s->slot_at < SLOTS; s->slot_at++, n++) {
		if (n % BETWEEN_LOOKS == 0 && timebox_is_over(box))
			return ERR_OK;
		if (s->slots[s->slot_at].devices > 0)
			add_slot(s, &s->slots[s->slot_at]);
	}
	*is_done = true;
	return ERR_OK;
}

/* ---- opening ---- */

static enum err find_component(struct call *c, struct selection_survey *s, const char *model, const char *version, const char *release)
{
	struct model_row m;
	struct version_row v;
	struct release_row row;
	struct component_row *rows = NULL;
	size_t count = 0;
	enum err e = catalog_find_model(c, model, &m);
	if (e == ERR_OK)
		e = catalog_find_version(c, &m, version, &v);
	if (e == ERR_OK && release != NULL)
		e = releases_find(c, release, &row);
	if (e == ERR_OK && release == NULL)
		e = choice_newest_release(c->s->selection->store, v.id, &row.id, c->fault);
	if (e == ERR_OK && row.id == 0)
		return fault_set(c->fault, ERR_CONFLICT, "", "no release has version %s of %s yet", version, model);
	if (e == ERR_OK)
		e = releases_get(c, row.id, &row);
	if (e == ERR_OK)
		e = releases_components(c, row.id, &rows, &count);
	if (e != ERR_OK)
		return e;
	s->model = m.id;
	s->release = row.id;
	s->release_name = arena_strdup(s->arena, row.name);
	for (size_t i = 0; i < count; i++)
		if (rows[i].version == v.id)
			s->component = (struct component_row){.version = v.id, .kind = arena_strdup(s->arena, rows[i].kind),
				.model = arena_strdup(s->arena, rows[i].model), .version_text = arena_strdup(s->arena, rows[i].version_text)};
	return s->component.version != 0 ? ERR_OK
	                                 : fault_set(c->fault, ERR_INVALID, "", "release %s has no version %s of %s", row.name, version, model);
}

enum err selection_survey_new(struct call *c, const char *model, const char *version, const char *release, struct selection_survey **out)
{
	struct selection_survey *s = must(calloc(1, sizeof *s));
	*out = NULL;
	s->arena = arena_new(1 << 16);
	s->scratch = arena_new(1 << 20);
	s->slots = must(malloc(SLOTS * sizeof *s->slots));
	s->sums = must(malloc(sizeof *s->sums));
	select_memo_init(&s->memo, s->slots, SLOTS);
	select_survey_init(s->sums, SELECT_VARIANTS);
	enum err e = find_component(c, s, model, version, release);
	if (e != ERR_OK) {
		selection_survey_free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void selection_survey_free(struct selection_survey *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->group_count; i++)
		for (unsigned k = 0; k < HEALTH_CELLS; k++)
			free(s->groups[i][k]);
	free(s->groups);
	free(s->kinds);
	free(s->slots);
	free(s->sums);
	arena_free(s->arena);
	arena_free(s->scratch);
	free(s);
}

/* ---- telling ---- */

static void write_variants(const struct selection_survey *s, struct buf *out)
{
	json_key(out, "variants");
	json_open_array(out);
	for (unsigned i = 0; i < s->id_count; i++) {
		const struct select_survey_variant *v = &s->sums->variants[i];
		json_open_object(out);
		json_str(out, "variant", s->ids[i]);
		json_int(out, "eligible_devices", v->eligible_devices);
		json_int(out, "chosen_devices", v->chosen_devices);
		json_int(out, "dominated_devices", v->dominated_devices);
		json_key(out, "dominated_by");
		json_open_array(out);
		for (unsigned k = 0; k < s->id_count; k++)
			if (v->dominated_by >> k & 1)
				json_put_str(out, s->ids[k]);
		json_close_array(out);
		json_bool(out, "retire", select_survey_retires(s->sums, i));
		json_close_object(out);
	}
	json_close_array(out);
}

/* What is missing, for people. */
static const char *what_to_build(struct call *c, const struct selection_survey *s, const struct select_gap *gap)
{
	static const struct {
		enum select_fate fate;
		const char *words;
	} rows[] = {
		{SELECT_FATE_INCOMPATIBLE, "like %s, within what these devices can do"}, {SELECT_FATE_UNKNOWN, "nothing yet: what these devices can do is not known"},
		{SELECT_FATE_QUALITY_LOW, "like %s, of better quality"}, {SELECT_FATE_QUALITY_UNKNOWN, "nothing yet: the quality of %s is not known"},
		{SELECT_FATE_TOO_SLOW, "like %s, but faster"}, {SELECT_FATE_LATENCY_UNKNOWN, "nothing yet: the latency of %s is not known"},
		{SELECT_FATE_TOO_HUNGRY, "like %s, of less energy"}, {SELECT_FATE_ENERGY_UNKNOWN, "nothing yet: the energy of %s is not known"},
		{SELECT_FATE_CHOSEN, "like %s, faster or of less energy: it serves, but above what is wished"},
	};
	if (gap->nearest == SELECT_NONE || gap->nearest >= s->id_count)
		return "a variant for this class of hardware: there is none";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *at = strstr(rows[i].words, "%s");
		if (rows[i].fate != gap->fate)
			continue;
		return at == NULL ? rows[i].words
		                  : arena_printf(c->arena, "%.*s%s%s", (int)(at - rows[i].words), rows[i].words, s->ids[gap->nearest], at + 2);
	}
	return "";
}

static void write_fates(const struct selection_survey *s, const struct select_survey_class *class, struct buf *out)
{
	json_key(out, "reasons");
	json_open_object(out);
	for (unsigned i = 0; i < s->id_count; i++) {
		bool has_any = false;
		for (unsigned f = 0; f < SELECT_FATES; f++)
			has_any = has_any || class->fates[i][f] > 0;
		if (!has_any)
			continue;
		json_key(out, s->ids[i]);
		json_open_object(out);
		for (unsigned f = 0; f < SELECT_FATES; f++)
			if (class->fates[i][f] > 0)
				json_int(out, select_fate_name((enum select_fate)f), class->fates[i][f]);
		json_close_object(out);
	}
	json_close_object(out);
}

static void write_classes(struct call *c, const struct selection_survey *s, struct buf *out)
{
	json_key(out, "classes");
	json_open_array(out);
	for (unsigned i = 0; i < s->sums->class_count; i++) {
		const struct select_survey_class *class = &s->sums->classes[i];
		struct select_gap gap = select_survey_gap(s->sums, i);
		json_open_object(out);
		json_str(out, "hardware", registry_text(c->s->registry, class->id));
		json_int(out, "devices", class->devices);
		json_int(out, "served_devices", class->served_devices);
		json_int(out, "poor_devices", class->poor_devices);
		write_fates(s, class, out);
		if (gap.is_gap)
			json_str(out, "build", what_to_build(c, s, &gap));
		json_close_object(out);
	}
	json_close_array(out);
}

enum err selection_survey_write(struct call *c, struct selection_survey *s, struct buf *out)
{
	s->sums->variant_count = s->id_count;
	json_open_object(out);
	json_str(out, "model", s->component.model);
	json_str(out, "version", s->component.version_text);
	json_str(out, "release", s->release_name);
	json_int(out, "devices", s->devices);
	json_int(out, "other_devices", s->others);
	json_int(out, "overridden", s->overridden);
	write_variants(s, out);
	write_classes(c, s, out);
	json_key(out, "moves");
	json_open_array(out);
	for (size_t i = 0; i < s->move_count; i++) {
		json_open_object(out);
		json_str(out, "hardware", registry_text(c->s->registry, s->moves[i].hardware));
		json_str(out, "from", s->ids[s->moves[i].from]);
		json_str(out, "to", s->ids[s->moves[i].to]);
		json_int(out, "devices", s->moves[i].devices);
		json_close_object(out);
	}
	json_close_array(out);
	json_close_object(out);
	return ERR_OK;
}
