#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"

#define SCRATCH_BYTES 65536         /* one device's attributes */
#define TEXTS_BYTES (1u << 30)      /* strata of every device, should each be one of its own */
#define STRATA_ROOM 256             /* of the table of strata at first */

struct hardware_fit {
	uint32_t hardware; /* 0: not asked yet */
	bool is_covered;
	uint32_t stratum; /* + 1, when the hardware alone makes it; 0: not known */
	const char *missing;
	int64_t devices;
};
struct stratum_slot {
	uint64_t hash;
	const char *text; /* NULL: empty */
	uint32_t number;
};
struct rollout_scan {
	const struct rollout_live *live;
	struct registry_scan *walk;
	int64_t release;
	uint32_t release_text; /* its number in the registry; 0: nobody runs it */
	struct arena *texts, *scratch;
	struct rollout_targets targets; /* devices by malloc */
	size_t room;
	struct compat_view *compat; /* NULL in tests without it */
	struct hardware_fit *fits; /* by number of the hardware */
	size_t fit_room;
	uint8_t *releases; /* by number of the release that a device runs */
	size_t release_room;
	struct stratum_slot *strata;
	size_t strata_room; /* a power of two */
	bool is_by_hardware; /* no attribute takes part in strata */
	bool is_counting;    /* nobody will be drawn from it */
	/* gates that need a baseline */
	struct observe_wanted wanted[JUDGE_GATES_MAX];
	uint32_t wanted_gates[JUDGE_GATES_MAX];
	size_t wanted_count;
	struct call *c; /* of the step that is running */
};

static void *must(void *p)
{
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

bool rollout_gate_has_baseline(const struct judge_gate *g)
{
	return g->kind != METRIC_EVENT && g->kind != METRIC_SILENCE;
}

/* ---- what hardware the release is for ---- */

static enum err fit_of(struct rollout_scan *s, uint32_t hardware, struct hardware_fit **out)
{
	if (hardware >= s->fit_room) {
		size_t room = hardware + 64;
		s->fits = must(realloc(s->fits, room * sizeof *s->fits));
		memset(s->fits + s->fit_room, 0, (room - s->fit_room) * sizeof *s->fits);
		s->fit_room = room;
	}
	struct hardware_fit *fit = &s->fits[hardware];
	*out = fit;
	if (fit->hardware)
		return ERR_OK;
	struct call own = *s->c;
	own.arena = s->texts;
	enum err e = releases_covers(&own, s->release, registry_text(s->c->s->registry, hardware), &fit->is_covered, &fit->missing);
	if (!e)
		fit->hardware = hardware;
	return e;
}

/* ---- what runs now ---- */

enum { NOT_ASKED, IS_KNOWN, IS_UNKNOWN };

/* Whether this server has the release that the device runs: a revert, or a sham, could bring it again. */
static enum err knows_release(struct rollout_scan *s, uint32_t release, bool *is_known)
{
	if (release >= s->release_room) {
		size_t room = release + 64;
		s->releases = must(realloc(s->releases, room));
		memset(s->releases + s->release_room, NOT_ASKED, room - s->release_room);
		s->release_room = room;
	}
	enum err e = ERR_OK;
	if (s->releases[release] == NOT_ASKED) {
		struct release_row row;
		struct call own = *s->c;
		own.arena = s->texts;
		const char *name = registry_text(s->c->s->registry, release);
		e = name[0] ? releases_find(&own, name, &row) : ERR_NOT_FOUND;
		if (!e || e == ERR_NOT_FOUND)
			s->releases[release] = e ? IS_UNKNOWN : IS_KNOWN;
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	*is_known = s->releases[release] == IS_KNOWN;
	return e;
}

/* ---- strata and units ---- */

static enum err attribute_of(struct rollout_scan *s, const struct device_state *d, const char *name, const char **out)
{
	struct call own = *s->c;
	own.arena = s->scratch;
	return registry_attribute(&own, d, name, out);
}

/* The device's stratum as text: values of the spec's strata. In scratch. */
static enum err stratum_text(struct rollout_scan *s, const struct device_state *d, const char **out)
{
	const char *text = "";
	for (size_t i = 0; i < s->live->spec.strata.count; i++) {
		const char *by = s->live->spec.strata.items[i];
		const char *value = registry_text(s->c->s->registry, d->hardware);
		if (str_starts(by, "attribute.")) {
			enum err e = attribute_of(s, d, by + 10, &value);
			if (e)
				return e;
		}
		text = i ? arena_printf(s->scratch, "%s|%s", text, value ? value : "") : (value ? value : "");
	}
	*out = text;
	return ERR_OK;
}

static struct stratum_slot *stratum_place(struct stratum_slot *slots, size_t room, uint64_t hash, const char *text)
{
	size_t at = hash & (room - 1);
	while (slots[at].text && (slots[at].hash != hash || strcmp(slots[at].text, text) != 0))
		at = (at + 1) & (room - 1);
	return &slots[at];
}

static void strata_grow(struct rollout_scan *s)
{
	size_t room = s->strata_room ? s->strata_room * 2 : STRATA_ROOM;
	struct stratum_slot *slots = must(calloc(room, sizeof *slots));
	for (size_t i = 0; i < s->strata_room; i++)
		if (s->strata[i].text)
			*stratum_place(slots, room, s->strata[i].hash, s->strata[i].text) = s->strata[i];
	free(s->strata);
	s->strata = slots;
	s->strata_room = room;
}

static enum err stratum_of(struct rollout_scan *s, const struct device_state *d, struct hardware_fit *fit, uint32_t *out)
{
	if (s->is_by_hardware && fit->stratum) {
		*out = fit->stratum - 1;
		return ERR_OK;
	}
	const char *text;
	enum err e = stratum_text(s, d, &text);
	if (e)
		return e;
	if (((size_t)s->targets.strata + 1) * 2 > s->strata_room)
		strata_grow(s);
	uint64_t hash = str_hash(text, strlen(text));
	struct stratum_slot *slot = stratum_place(s->strata, s->strata_room, hash, text);
	if (!slot->text)
		*slot = (struct stratum_slot){hash, arena_strdup(s->texts, text), s->targets.strata++};
	*out = slot->number;
	fit->stratum = slot->number + 1;
	return ERR_OK;
}

static enum err unit_of(struct rollout_scan *s, const struct device_state *d, uint64_t *out)
{
	*out = 0;
	if (!s->live->spec.unit_attribute)
		return ERR_OK;
	const char *value;
	enum err e = attribute_of(s, d, s->live->spec.unit_attribute, &value);
	if (!e && value)
		/* FNV-1a: must be the same after a restart, so not the keyed hash of tables */
		for (*out = 14695981039346656037u; *value; value++)
			*out = (*out ^ (unsigned char)*value) * 1099511628211u;
	return e;
}

/* ---- baselines ---- */

static bool has_priority(const struct rollout_live *live, const struct judge_gate *g)
{
	return live->spec.priority_metric && strcmp(live->spec.priority_metric, g->name) == 0;
}

static double baseline_value(struct call *c, int64_t device, const struct judge_gate *g)
{
	struct metric_accum a;
	struct ddsketch sketch;
	bool is_sketch = g->kind == METRIC_QUANTILE;
	if (!observe_baseline(c, device, g->name, &a, is_sketch ? &sketch : NULL))
		return (double)NAN;
	return accum_point(&a, g->kind, is_sketch ? &sketch : NULL, g->quantile).value;
}

/* Whether every gate that needs a baseline has one; and the value of one of them only, of the priority metric if it can be. */
static void baseline_of(struct rollout_scan *s, const struct device_state *d, struct plan_device *p)
{
	const struct rollout_live *live = s->live;
	int64_t reports[JUDGE_GATES_MAX];
	const struct judge_gate *of = NULL;
	bool has_all = true;
	observe_baseline_reports(s->c, p->device, s->wanted, s->wanted_count, reports);
	for (size_t i = 0; i < s->wanted_count; i++) {
		const struct judge_gate *g = &live->gates[s->wanted_gates[i]];
		if (reports[i] < ROLLOUT_BASELINE_REPORTS) {
			has_all = false;
			continue;
		}
		s->targets.with_metric[s->wanted_gates[i]]++;
		if (!of || has_priority(live, g))
			of = g;
	}
	for (uint32_t i = 0; i < live->gate_count; i++)
		if (!rollout_gate_has_baseline(&live->gates[i]))
			s->targets.with_metric[i]++;
	/* only events and silence: any order of neighbours is as good */
	p->baseline = of && !s->is_counting ? baseline_value(s->c, p->device, of) : has_all && !of ? 0 : (double)NAN;
	if (!has_all)
		s->targets.no_baseline++;
	p->is_eligible = has_all && d->online;
}

/* ---- the scan ---- */

/* Room for everybody from the beginning: what is never written costs nothing, but a growing array would be copied in one go. */
static void targets_reserve(struct rollout_scan *s, size_t room)
{
	s->room = room;
	s->targets.devices = must(realloc(s->targets.devices, room * sizeof *s->targets.devices));
}

static struct plan_device *targets_add(struct rollout_scan *s)
{
	if (s->targets.count == s->room)
		targets_reserve(s, s->room * 2); /* a rolled back deletion brought devices back */
	return &s->targets.devices[s->targets.count++];
}

static enum err scan_one(void *ctx, struct device_state *d)
{
	struct rollout_scan *s = ctx;
	s->targets.matched++;
	if (s->release_text && d->release == s->release_text) {
		s->targets.already++;
		return ERR_OK;
	}
	struct hardware_fit *fit;
	enum err e = fit_of(s, d->hardware, &fit);
	if (e)
		return e;
	if (!fit->is_covered) {
		fit->devices++;
		s->targets.incompatible++;
		return ERR_OK;
	}
	struct compat_fit *run = NULL;
	if (s->compat)
		e = compat_view_fit(s->c, s->compat, d, &run);
	if (e)
		return e;
	if (run && !run->is_eligible) {
		run->devices++;
		s->targets.excluded++;
		return ERR_OK;
	}
	if (!deployment_is_free(s->c, s->live, d)) {
		s->targets.busy++;
		return ERR_OK;
	}
	struct plan_device *p = targets_add(s);
	*p = (struct plan_device){.device = d->row, .can_shadow = d->can_shadow && d->online};
	s->targets.online += d->online;
	s->targets.can_shadow += d->can_shadow;
	s->targets.shadow_ready += p->can_shadow;
	bool is_known = true;
	e = knows_release(s, d->release, &is_known);
	if (e)
		return e;
	s->targets.no_release += !is_known;
	if (arena_used_bytes(s->scratch))
		arena_reset(s->scratch);
	if (!s->is_counting)
		e = stratum_of(s, d, fit, &p->stratum);
	if (!e && !s->is_counting)
		e = unit_of(s, d, &p->unit);
	if (!e)
		baseline_of(s, d, p);
	return e;
}

static void prepare(struct call *c, struct rollout_scan *s)
{
	const struct rollout_live *live = s->live;
	s->is_by_hardware = true;
	for (size_t i = 0; i < live->spec.strata.count; i++)
		s->is_by_hardware = s->is_by_hardware && !str_starts(live->spec.strata.items[i], "attribute.");
	for (uint32_t i = 0; i < live->gate_count; i++) {
		const struct judge_gate *g = &live->gates[i];
		if (!rollout_gate_has_baseline(g))
			continue;
		s->wanted[s->wanted_count] = (struct observe_wanted){observe_metric(c, g->name), g->kind};
		s->wanted_gates[s->wanted_count++] = i;
	}
}

enum err rollout_scan_new(struct call *c, const struct rollout_live *live, int64_t release, int64_t group, struct rollout_scan **out)
{
	struct release_row row;
	*out = NULL;
	enum err e = releases_get(c, release, &row);
	if (e)
		return e;
	struct rollout_scan *s = must(calloc(1, sizeof *s));
	s->live = live;
	s->release = release;
	s->release_text = registry_release_number(c->s->registry, row.name);
	s->texts = arena_new(TEXTS_BYTES);
	s->scratch = arena_new(SCRATCH_BYTES);
	prepare(c, s);
	targets_reserve(s, registry_size(c->s->registry) + 1);
	if (c->s->compats)
		e = compat_view_new(c, release, &s->compat);
	if (!e)
		e = registry_scan_new(c, live->spec.filter, group, &s->walk);
	if (e)
		rollout_scan_free(s);
	else
		*out = s;
	return e;
}

void rollout_scan_count_only(struct rollout_scan *s)
{
	s->is_counting = true;
}

static void write_gaps(struct rollout_scan *s)
{
	struct rollout_targets *out = &s->targets;
	size_t gaps = 0;
	for (size_t i = 0; i < s->fit_room; i++)
		gaps += s->fits[i].devices > 0;
	out->gaps = arena_array(s->texts, gaps + 1, sizeof *out->gaps);
	for (size_t i = 0; i < s->fit_room; i++)
		if (s->fits[i].devices > 0)
			out->gaps[out->gap_count++] = (struct plan_gap){
				registry_text(s->c->s->registry, (uint32_t)i), s->fits[i].missing, s->fits[i].devices};
}

enum err rollout_scan_step(struct call *c, struct rollout_scan *s, const struct timebox *box, bool *is_done)
{
	s->c = c;
	enum err e = registry_scan_step(c, s->walk, box, scan_one, s, is_done);
	if (!e && *is_done)
		write_gaps(s);
	if (!e && *is_done && s->compat) {
		struct call own = *c;
		own.arena = s->texts;
		compat_view_table(&own, s->compat, &s->targets.exclusions);
	}
	s->c = NULL;
	return e;
}

struct rollout_targets *rollout_scan_targets(struct rollout_scan *s)
{
	return &s->targets;
}

void rollout_scan_free(struct rollout_scan *s)
{
	if (!s)
		return;
	registry_scan_free(s->walk);
	compat_view_free(s->compat);
	arena_free(s->texts);
	arena_free(s->scratch);
	free(s->targets.devices);
	free(s->fits);
	free(s->releases);
	free(s->strata);
	free(s);
}

enum err rollout_targets(struct call *c, const struct rollout_live *live, int64_t release, int64_t group, struct rollout_targets *out)
{
	struct rollout_scan *s;
	const struct timebox never = {UINT64_MAX};
	bool is_done = false;
	*out = (struct rollout_targets){0};
	enum err e = rollout_scan_new(c, live, release, group, &s);
	while (!e && !is_done)
		e = rollout_scan_step(c, s, &never, &is_done);
	if (!e) {
		*out = s->targets;
		out->devices = arena_array(c->arena, out->count, sizeof *out->devices);
		if (out->count)
			memcpy(out->devices, s->targets.devices, out->count * sizeof *out->devices);
		out->gaps = arena_array(c->arena, out->gap_count, sizeof *out->gaps);
		for (size_t i = 0; i < out->gap_count; i++) {
			out->gaps[i] = s->targets.gaps[i];
			out->gaps[i].missing = arena_strdup(c->arena, out->gaps[i].missing);
		}
		if (s->compat)
			compat_view_table(c, s->compat, &out->exclusions);
	}
	rollout_scan_free(s);
	return e;
}
