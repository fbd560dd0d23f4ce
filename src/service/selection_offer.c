/* What a deployment hands out, and when its bytes go. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/compats.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "service/selection_inside.h"

#define DAY_MS INT64_C(86400000)
#define LOOK_AGAIN_MS INT64_C(60000) /* where only an event ends the waiting */
#define REASON_BYTES 200

/* ---- which ---- */

/* Nothing serves: what is wrong with each, as far as it fits. */
static const char *why_nothing(struct call *c, const struct component_row *component, const struct group *g, const struct asked *asked,
	const struct select_answer *answer)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "no variant of %s serves: ", component->model);
	for (unsigned i = 0; i < g->count && b.len < REASON_BYTES; i++) {
		char text[SELECT_TEXT_BYTES];
		select_explain(&asked->q, answer, i, text);
		buf_printf(&b, "%s%s %s", i > 0 ? "; " : "", g->variants[i].id, text);
	}
	const char *text = arena_strndup(c->arena, buf_cstr(&b), b.len < REASON_BYTES ? b.len : REASON_BYTES);
	buf_done(&b);
	return text;
}

struct chosen {
	const char *parts;
	double bytes;        /* that the device does not have */
	const char *nothing; /* why nothing serves; NULL: something does */
	bool has_objective;
};

/* *artifact 0: nothing to choose from, or nothing that serves. */
static enum err choose_part(struct call *c, const struct device_state *d, int64_t release, const struct component_row *component, int64_t *artifact,
	struct chosen *out)
{
	const struct group *g;
	struct select_answer answer;
	struct asked *asked = arena_alloc(c->arena, sizeof *asked);
	bool is_model = strcmp(component->kind, "model") == 0;
	*artifact = 0;
	enum err e = selection_group(c, release, component, d->hardware, profiles_context(c->s->profiles, d), &g);
	if (e != ERR_OK || g->count == 0)
		return e;
	e = selection_ask(c, d, g, component, false, asked);
	if (e != ERR_OK)
		return e;
	out->has_objective = out->has_objective || g->has_objective;
	bool is_free = is_model && (g->count > 1 || g->has_objective);
	if (is_free)
		select_choose(&asked->q, &answer);
	if (is_free && answer.chosen == SELECT_NONE) {
		out->nothing = why_nothing(c, component, g, asked, &answer);
		return ERR_OK;
	}
	const struct variant *v = &g->variants[is_free ? answer.chosen : 0];
	*artifact = v->artifact;
	out->bytes += asked->q.installed == (is_free ? answer.chosen : 0) ? 0 : v->bytes;
	return ERR_OK;
}

static void add_part(struct buf *b, int64_t version, int64_t artifact)
{
	buf_printf(b, "%s%lld:%lld", b->len > 0 ? "," : "", (long long)version, (long long)artifact);
}

static enum err choose_parts(struct call *c, const struct device_state *d, int64_t release, struct chosen *out)
{
	struct component_row *components = NULL;
	size_t count = 0;
	struct buf b = BUF_INIT;
	enum err e = releases_components(c, release, &components, &count);
	for (size_t i = 0; i < count && e == ERR_OK && out->nothing == NULL; i++) {
		int64_t artifact;
		e = choose_part(c, d, release, &components[i], &artifact, out);
		if (e == ERR_OK && artifact != 0)
			add_part(&b, components[i].version, artifact);
	}
	out->parts = b.len > 0 ? arena_strdup(c->arena, buf_cstr(&b)) : NULL;
	buf_done(&b);
	return e;
}

/* What it runs of the release before, so that it goes back to the same bytes. */
static enum err keep_parts(struct call *c, const struct device_state *d, int64_t release, const char **parts)
{
	struct component_row *components = NULL;
	size_t count = 0;
	struct buf b = BUF_INIT;
	enum err e = release != 0 ? releases_components(c, release, &components, &count) : ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		int64_t model, artifact;
		e = selection_model(c, components[i].model, &model);
		if (e != ERR_OK)
			break;
		artifact = selection_runs(c->s->selection, d, model, components[i].version, c->now_ms);
		if (artifact != 0)
			add_part(&b, components[i].version, artifact);
	}
	*parts = b.len > 0 ? arena_strdup(c->arena, buf_cstr(&b)) : NULL;
	buf_done(&b);
	return e;
}

enum err selection_parts(struct call *c, int64_t device, int64_t release, const char **parts)
{
	struct deployment_row d;
	struct rollout_row row;
	int64_t active = 0;
	struct deployment_store *store = c->s->rollouts->deployments;
	*parts = NULL;
	enum err e = deployment_active_of(store, device, &active, c->fault);
	if (e == ERR_OK)
		e = active != 0 ? deployment_get(store, active, &d, c->arena, c->fault) : deployment_newest(store, device, &d, c->arena, c->fault);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (e == ERR_OK)
		e = rollout_get(c->s->rollouts->store, d.rollout, &row, c->arena, c->fault);
	if (e != ERR_OK)
		return e;
	*parts = row.release == release ? d.parts : d.prev_release == release ? d.prev_parts : NULL;
	return ERR_OK;
}

/* ---- when ---- */

static int64_t minutes(const char *hh_mm)
{
	return (hh_mm[0] - '0') * 600 + (hh_mm[1] - '0') * 60 + (hh_mm[3] - '0') * 10 + (hh_mm[4] - '0');
}

/* The window that is open, or the next one. */
static void find_window(const struct selection_transfer *t, int64_t now_ms, struct select_transfer *out)
{
	int64_t day = now_ms - now_ms % DAY_MS, from = minutes(t->window_from) * 60000, until = minutes(t->window_until) * 60000;
	if (until <= from)
		until += DAY_MS;
	for (int64_t begin = day - DAY_MS + from; ; begin += DAY_MS) {
		if (begin + until - from <= now_ms)
			continue;
		out->window_from_ms = begin;
		out->window_until_ms = begin + until - from;
		return;
	}
}

static enum err is_metered(struct call *c, const struct device_state *d, const struct selection_transfer *t, bool *is)
{
	const char *text;
	struct json *root = NULL;
	*is = false;
	if (t->metered_links.count == 0)
		return ERR_OK;
	enum err e = registry_capabilities(c, d, &text);
	if (e != ERR_OK || json_parse(text, strlen(text), &root, c->fault) != ERR_OK)
		return e;
	const char *link = json_text(json_get(root, "link"));
	for (size_t i = 0; link != NULL && i < t->metered_links.count; i++)
		*is = *is || strcmp(link, t->metered_links.items[i]) == 0;
	json_free(root);
	return ERR_OK;
}

static const char *words_of(enum select_when when)
{
	switch (when) {
	case SELECT_WAIT_WINDOW:
		return "withheld until the transfer window opens";
	case SELECT_WAIT_BUDGET:
		return "withheld: the day's budget of a metered link is used up";
	case SELECT_WAIT_LINK:
		return "withheld while the link is bad";
	case SELECT_WAIT_BATTERY:
		return "withheld while the battery is low";
	case SELECT_TOO_LONG:
	case SELECT_NOW:
		break;
	}
	return "";
}

static enum err decide_when(struct call *c, const struct device_state *d, int64_t release, double bytes, enum select_when *when, int64_t *until_ms)
{
	struct select_objective objective;
	struct selection_transfer t;
	const char *quality;
	bool has_one, is_metered_link = false;
	int64_t used = 0, day = c->now_ms / DAY_MS;
	unsigned cell = profiles_context(c->s->profiles, d);
	*when = SELECT_NOW;
	*until_ms = 0;
	enum err e = selection_read_objective(c, release, &objective, &quality, &t, &has_one);
	if (e != ERR_OK || !has_one)
		return e;
	struct select_transfer x = {.size_bytes = bytes, .budget_left_bytes = NAN, .small_bytes = (double)t.small_bytes,
		.is_link_bad = t.waits_for_link && (cell & HEALTH_BAD_LINK) != 0, .is_battery_low = t.waits_for_battery && (cell & HEALTH_LOW_BATTERY) != 0};
	e = is_metered(c, d, &t, &is_metered_link);
	if (e == ERR_OK && is_metered_link && t.budget_bytes > 0) {
		e = traffic_get(c->s->selection->store, d->row, day, &used, c->fault);
		x.is_metered = true;
		x.budget_left_bytes = used == 0 ? NAN /* what is larger than a budget has a day of its own */ : (double)(t.budget_bytes - used);
		x.budget_renews_ms = (day + 1) * DAY_MS;
	}
	if (t.window_from != NULL)
		find_window(&t, c->now_ms, &x);
	if (e != ERR_OK)
		return e;
	*when = select_transfer_when(&x, c->now_ms, until_ms);
	if (*when == SELECT_NOW && x.is_metered && bytes > 0)
		e = traffic_put(c->s->selection->store, d->row, day, used + (int64_t)bytes, c->fault);
	return e;
}

enum err selection_offer(struct call *c, struct deployment_row *d, int64_t release, enum selection_outcome *outcome)
{
	const struct device_state *device = registry_by_row(c->s->registry, d->device);
	struct chosen chosen = {.parts = NULL};
	enum select_when when = SELECT_NOW;
	int64_t until_ms = 0;
	*outcome = SELECTION_GO;
	if (c->s->selection == NULL || device == NULL)
		return ERR_OK;
	enum err e = keep_parts(c, device, d->prev_release, &d->prev_parts);
	if (e == ERR_OK && d->kind != DEPLOYMENT_SHAM)
		e = choose_parts(c, device, release, &chosen);
	d->parts = chosen.parts;
	d->not_before = 0;
	if (e == ERR_OK && chosen.nothing != NULL) {
		*outcome = SELECTION_NOTHING;
		d->reason = chosen.nothing;
		return ERR_OK;
	}
	if (e == ERR_OK && chosen.has_objective)
		e = decide_when(c, device, release, chosen.bytes, &when, &until_ms);
	if (e != ERR_OK || when == SELECT_NOW || when == SELECT_TOO_LONG)
		return e;
	*outcome = SELECTION_WAIT;
	d->not_before = until_ms > c->now_ms ? until_ms : c->now_ms + LOOK_AGAIN_MS;
	d->reason = words_of(when);
	return ERR_OK;
}
