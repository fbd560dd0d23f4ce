/* A version of an upstream into the catalog: rows first, then contents, one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/compat.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/fleet_index.h"
#include "service/inspect.h"
#include "service/metrics.h"
#include "service/registry.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "service/upstreams_inside.h"

/* ---- refusals ---- */

static enum err refuse(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_fault fault, const char *reason)
{
	v->fault = upstream_fault_text(fault);
	enum err e = upstreams_move(c, row, v, UPSTREAM_REFUSED, reason);
	if (e != ERR_OK)
		return e;
	metric_add(METER_UPSTREAM_REFUSED, 1);
	return alert_raise(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", v->fault), upstreams_resource(c, row), ALERT_WARNING,
		arena_printf(c->arena, "upstream %s: version %s of model %s is refused: %s", row->name, v->version, row->model, reason), NULL);
}

/* In a unit, which may be one inside of another. */
enum err upstreams_refuse(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_fault fault, const char *reason)
{
	reason = arena_strdup(c->arena, reason);
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, refuse(c, row, v, fault, reason), c->fault) : e;
}

/* ---- the record against the catalog ---- */

struct wanted_artifact {
	const char *hardware, *variant, *file, *url, *sha256, *declared;
	int64_t size_bytes;
};

static enum err read_record(struct call *c, const struct upstream_version_row *v, struct wanted_artifact **out, size_t *count, const char **notes)
{
	struct json *root = NULL;
	*count = 0;
	if (v->record == NULL)
		return fault_set(c->fault, ERR_INTERNAL, "", "version %s has no record", v->version);
	enum err e = json_parse(v->record, strlen(v->record), &root, c->fault);
	if (e != ERR_OK)
		return e;
	const struct json *artifacts = json_get(root, "artifacts"), *said = json_get(root, "notes");
	if (notes != NULL)
		*notes = arena_strdup(c->arena, said != NULL ? json_text(said) : NULL);
	*out = arena_array(c->arena, json_count(artifacts) + 1, sizeof **out);
	for (const struct json *j = json_first(artifacts); j != NULL; j = json_next(j)) {
		struct wanted_artifact *a = &(*out)[(*count)++];
		const char **texts[] = {&a->hardware, &a->variant, &a->file, &a->url, &a->sha256};
		static const char *const names[] = {"hardware", "variant", "file", "url", "sha256"};
		for (int i = 0; i < 5; i++)
			*texts[i] = arena_strdup(c->arena, json_text(json_get(j, names[i])));
		struct buf b = BUF_INIT;
		json_print(json_get(j, "declared"), &b);
		a->declared = arena_strdup(c->arena, b.data);
		buf_done(&b);
		(void)!json_is_integer(json_get(j, "size_bytes"), &a->size_bytes);
	}
	json_free(root);
	return ERR_OK;
}

static struct artifact_row *find_artifact(struct artifact_row *rows, size_t count, const struct wanted_artifact *a)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].hardware, a->hardware) == 0 && strcmp(rows[i].variant, a->variant) == 0)
			return &rows[i];
	return NULL;
}

static enum err find_or_make(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v, const char *notes,
	struct model_row *model, struct version_row *version)
{
	struct fault none = {"", ""}, *f = c->fault;
	c->fault = &none;
	enum err e = catalog_find_model(c, row->model, model);
	c->fault = f;
	if (e == ERR_NOT_FOUND)
		e = catalog_create_model(c, &(struct model_input){.name = row->model}, model);
	if (e != ERR_OK)
		return e;
	c->fault = &none;
	e = catalog_find_version(c, model, v->version, version);
	c->fault = f;
	return e == ERR_NOT_FOUND ? catalog_create_version(c, model, v->version, notes, version) : e;
}

/* Model, version and artifacts as the record says, as far as they are not there. ERR_CONFLICT: the catalog has something else by that name. */
enum err upstreams_ensure(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v)
{
	struct wanted_artifact *wanted;
	struct model_row model;
	struct version_row version;
	struct artifact_row *there;
	size_t count = 0, have = 0;
	const char *notes = NULL;
	enum err e = read_record(c, v, &wanted, &count, &notes);
	if (e == ERR_OK)
		e = find_or_make(c, row, v, notes, &model, &version);
	if (e == ERR_OK)
		e = catalog_list_artifacts(c, &version, &there, &have);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		const struct artifact_row *a = find_artifact(there, have, &wanted[i]);
		struct artifact_row made;
		if (a != NULL && strcmp(a->sha256, wanted[i].sha256) != 0)
			return fault_set(c->fault, ERR_CONFLICT, "", "the catalog has version %s with another content for %s", v->version, a->hardware);
		if (a != NULL)
			continue;
		struct artifact_input in = {.hardware = wanted[i].hardware, .file_name = wanted[i].file, .size_bytes = wanted[i].size_bytes,
			.sha256 = wanted[i].sha256, .variant = wanted[i].variant, .declared = wanted[i].declared};
		e = catalog_declare_artifact(c, &model, &version, &in, &made);
	}
	return e;
}

enum err upstreams_missing(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v, struct upstream_missing *out)
{
	struct wanted_artifact *wanted;
	struct model_row model;
	struct version_row version;
	struct artifact_row *there;
	size_t count = 0, have = 0;
	*out = (struct upstream_missing){0};
	enum err e = read_record(c, v, &wanted, &count, NULL);
	if (e == ERR_OK)
		e = catalog_find_model(c, row->model, &model);
	if (e == ERR_OK)
		e = catalog_find_version(c, &model, v->version, &version);
	if (e == ERR_OK)
		e = catalog_list_artifacts(c, &version, &there, &have);
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < count; i++) {
		struct artifact_row *a = find_artifact(there, have, &wanted[i]);
		if (a == NULL)
			return fault_set(c->fault, ERR_NOT_FOUND, "", "the artifact for %s was deleted", wanted[i].hardware);
		if (strcmp(a->facts_state, facts_state_text(FACTS_REFUSED)) == 0)
			return fault_set(c->fault, ERR_INVALID, "", "%s: %s", a->file_name, a->facts_error != NULL ? a->facts_error : "refused");
		out->is_reading = out->is_reading || strcmp(a->facts_state, facts_state_text(FACTS_READING)) == 0;
		if (out->artifact == NULL && strcmp(a->state, "ready") != 0) {
			out->artifact = a;
			out->url = wanted[i].url;
		}
	}
	out->is_all_there = out->artifact == NULL;
	return ERR_OK;
}

/* ---- quality ---- */

static struct slice quality_of(struct call *c, const char *declared)
{
	struct json *root = NULL;
	struct fault f = {"", ""};
	struct buf b = BUF_INIT;
	if (declared == NULL || json_parse(declared, strlen(declared), &root, &f) != ERR_OK)
		return (struct slice){NULL, 0};
	const struct json *q = json_get(root, "quality");
	if (q != NULL)
		json_print(q, &b);
	const char *text = q != NULL ? arena_strdup(c->arena, b.data) : NULL;
	buf_done(&b);
	json_free(root);
	return (struct slice){text, text != NULL ? strlen(text) : 0};
}

/* Each artifact of the version that runs against the one that would follow it: of the same class and variant, else of the same class, else
 * for any. Where nothing follows there is nothing to compare. */
static const struct wanted_artifact *successor(const struct wanted_artifact *fresh, size_t count, const struct artifact_row *old)
{
	const struct wanted_artifact *best = NULL;
	int best_rank = 0;
	for (size_t i = 0; i < count; i++) {
		bool is_class = strcmp(fresh[i].hardware, old->hardware) == 0, is_variant = strcmp(fresh[i].variant, old->variant) == 0;
		bool is_any = strcmp(fresh[i].hardware, "*") == 0;
		int rank = is_class && is_variant ? 4 : is_class ? 3 : is_any && is_variant ? 2 : is_any ? 1 : 0;
		if (rank > best_rank) {
			best = &fresh[i];
			best_rank = rank;
		}
	}
	return best;
}

enum err upstreams_check_quality(struct call *c, const struct upstream_row *row, const struct upstream_policy *p, const char *record, const char **why)
{
	struct upstream_version_row v = {.record = record, .version = ""};
	struct upstream_quality_rule rule = {.margin = p->margin, .lower_is_better = p->lower_is_better.items, .lower_count = p->lower_is_better.count};
	struct wanted_artifact *fresh;
	struct model_row model;
	struct version_row version;
	struct artifact_row *old;
	size_t count = 0, have = 0;
	const char *running = NULL;
	char text[UPSTREAM_WHY_BYTES];
	*why = NULL;
	if (strcmp(p->quality, "ignore") == 0)
		return ERR_OK;
	enum err e = upstream_store_running(c->s->upstreams->store, row->id, row->model, c->arena, &running, c->fault);
	if (e != ERR_OK || running == NULL)
		return e;
	e = catalog_find_model(c, row->model, &model);
	if (e == ERR_OK)
		e = catalog_find_version(c, &model, running, &version);
	if (e == ERR_OK)
		e = catalog_list_artifacts(c, &version, &old, &have);
	if (e == ERR_OK)
		e = read_record(c, &v, &fresh, &count, NULL);
	for (size_t i = 0; i < have && e == ERR_OK && *why == NULL; i++) {
		const struct wanted_artifact *next = successor(fresh, count, &old[i]);
		if (next != NULL && !upstream_quality_holds(quality_of(c, next->declared), quality_of(c, old[i].declared), &rule, text))
			*why = arena_printf(c->arena, "against version %s on %s: %s", running, old[i].hardware, text);
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* ---- who could run it, before a byte is there ---- */

#define PREVIEW_NS 10000000u
#define PREVIEW_CLASSES 200

struct preview {
	const char *hardware;
	int64_t devices, able;
	char reason[COMPAT_TEXT_BYTES];
};
struct preview_work { /* large */
	struct capabilities can;
	struct compat_result why;
};
struct preview_need { /* of an artifact, by what its publisher declares */
	const struct wanted_artifact *artifact;
	struct requirement *requirement; /* NULL: nothing */
};

static struct preview_need *read_needs(struct call *c, const struct wanted_artifact *wanted, size_t count)
{
	struct preview_need *needs = arena_array(c->arena, count + 1, sizeof *needs);
	for (size_t i = 0; i < count; i++) {
		struct json *root = NULL;
		struct fault f = {"", ""};
		struct buf b = BUF_INIT;
		needs[i].artifact = &wanted[i];
		if (json_parse(wanted[i].declared, strlen(wanted[i].declared), &root, &f) == ERR_OK && json_get(root, "requires") != NULL) {
			needs[i].requirement = arena_alloc(c->arena, sizeof *needs[i].requirement);
			json_print(json_get(root, "requires"), &b);
			if (requirement_parse(needs[i].requirement, b.data, b.len, &f) != ERR_OK)
				needs[i].requirement = NULL; /* its version will be refused */
		}
		buf_done(&b);
		json_free(root);
	}
	return needs;
}

static bool is_able(struct preview_work *w, const char *model, const struct preview_need *needs, size_t count, const char *hardware, const char *words,
	char reason[COMPAT_TEXT_BYTES])
{
	struct compat_asked asked = {.model = model};
	bool has_own = false, is_able = false;
	struct fault f;
	if (capabilities_parse(&w->can, words, strlen(words), &f) != ERR_OK)
		capabilities_init(&w->can);
	for (size_t i = 0; i < count; i++)
		has_own = has_own || strcmp(needs[i].artifact->hardware, hardware) == 0;
	snprintf(reason, COMPAT_TEXT_BYTES, "there is no artifact for it");
	for (size_t i = 0; i < count && !is_able; i++) {
		if (strcmp(needs[i].artifact->hardware, has_own ? hardware : "*") != 0)
			continue;
		is_able = needs[i].requirement == NULL || compat_match(needs[i].requirement, &w->can, &asked, &w->why) == COMPAT_YES;
		if (!is_able && w->why.count > 0)
			compat_reason_format(&w->why.reasons[0], needs[i].requirement, NULL, reason);
	}
	return is_able;
}

/* By what is declared: what the file itself needs is known once it is there. */
enum err upstreams_preview(struct call *c, const struct upstream_row *row, const char *record, const char **json)
{
	struct upstream_version_row v = {.record = record, .version = ""};
	struct preview *rows = arena_array(c->arena, PREVIEW_CLASSES, sizeof *rows);
	struct preview_work *w = arena_alloc(c->arena, sizeof *w);
	struct timebox box = timebox_begin(PREVIEW_NS);
	struct wanted_artifact *wanted;
	const struct fleet_kind *k;
	size_t count = 0, used = 0;
	uint32_t at = 0;
	struct buf b = BUF_INIT;
	enum err e = read_record(c, &v, &wanted, &count, NULL);
	struct preview_need *needs = e == ERR_OK ? read_needs(c, wanted, count) : NULL;
	while (e == ERR_OK && c->s->compats != NULL && !timebox_is_over(&box) && (k = registry_each_kind(c->s->registry, &at)) != NULL) {
		const char *hardware = registry_text(c->s->registry, k->hardware);
		char reason[COMPAT_TEXT_BYTES];
		size_t i = 0;
		while (i < used && strcmp(rows[i].hardware, hardware) != 0)
			i++;
		if (i == PREVIEW_CLASSES)
			continue;
		used += i == used;
		rows[i].hardware = hardware;
		rows[i].devices += k->devices;
		if (is_able(w, row->model, needs, count, hardware, compats_words(c->s->compats, k->class), reason))
			rows[i].able += k->devices;
		else
			memcpy(rows[i].reason, reason, sizeof reason);
	}
	json_open_array(&b);
	for (size_t i = 0; i < used; i++) {
		json_open_object(&b);
		json_str(&b, "hardware", rows[i].hardware);
		json_int(&b, "devices", rows[i].devices);
		json_int(&b, "able", rows[i].able);
		if (rows[i].able < rows[i].devices)
			json_str(&b, "reason", rows[i].reason);
		json_close_object(&b);
	}
	json_close_array(&b);
	*json = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* ---- begin ---- */

static enum err begin(struct call *c, const struct upstream_row *row, struct upstream_version_row *v)
{
	struct upstream_row next = *row;
	enum err e = upstreams_ensure(c, row, v);
	if (e == ERR_OK)
		e = upstreams_move(c, row, v, UPSTREAM_FETCHING, "");
	for (int f = UPSTREAM_FAULT_CONTENT; f < UPSTREAM_FAULT_COUNT && e == ERR_OK; f++) /* what was said of the version before is over */
		e = alert_resolve(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", upstream_fault_text((enum upstream_fault)f)),
			upstreams_resource(c, row));
	if (e != ERR_OK || row->stopped_version[0] == '\0')
		return e;
	next.stopped_version = "";
	next.state = "ok";
	return upstream_store_note(c->s->upstreams->store, &next, c->fault);
}

enum err upstreams_begin_version(struct call *c, const struct upstream_row *before, const char *version)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_row row;
	struct upstream_version_row v;
	struct upstream_policy policy;
	const char *why = NULL;
	enum err e = upstream_store_get(u->store, before->id, c->arena, &row, c->fault); /* the look has changed it */
	if (e == ERR_OK)
		e = upstream_store_version(u->store, row.id, version, c->arena, &v, c->fault);
	if (e != ERR_OK || v.record == NULL)
		return e;
	e = upstream_policy_read(row.policy, &policy, c->arena, c->fault);
	if (e == ERR_OK)
		e = upstreams_check_quality(c, &row, &policy, v.record, &why);
	if (e == ERR_OK && why != NULL)
		return upstreams_refuse(c, &row, &v, UPSTREAM_FAULT_QUALITY, why);
	if (e == ERR_OK)
		e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	e = unit_end(c->s, begin(c, &row, &v), c->fault);
	u->next_ms = 0;
	if (e == ERR_CONFLICT)
		return upstreams_refuse(c, &row, &v, UPSTREAM_FAULT_CONFLICT, c->fault->detail);
	if (e == ERR_INVALID) {
		const char *what = arena_printf(c->arena, "%s %s", c->fault->pointer, c->fault->detail);
		bool is_size = strcmp(c->fault->pointer, "/size_bytes") == 0;
		return upstreams_refuse(c, &row, &v, is_size ? UPSTREAM_FAULT_TOO_LARGE : UPSTREAM_FAULT_POLICY, what);
	}
	return e;
}
