/* Actions and what was said about them, for people; an action's document, for its device. */
#include <stdlib.h>
#include <string.h>

#include "service/actions_inside.h"
#include "service/releases.h"
#include "service/selection.h"
#include "service/unit.h"

/* ---- one action ---- */

static enum err unknown(struct call *c)
{
	return fault_set(c->fault, ERR_NOT_FOUND, "", "the device has no such action");
}

enum err action_load(struct call *c, const struct device_state *d, int64_t action, struct action_here *out)
{
	struct rollout_rows x;
	*out = (struct action_here){.spec = NULL};
	enum err e = action_find(c->s->actions->store, action, &out->row, c->fault);
	if (e || (d && out->row.device != d->row))
		return e && e != ERR_NOT_FOUND ? e : unknown(c);
	e = deployment_get(c->s->rollouts->deployments, out->row.deployment, &out->d, c->arena, c->fault);
	if (!e)
		e = rollout_load(c, out->d.rollout, &x);
	if (e)
		return e;
	out->spec = &x.live->spec;
	out->is_cancelling = out->d.cancelling == action;
	out->is_refused = out->d.cancelling == -action;
	out->is_present = out->d.action == action && deployment_is_on_offer(out->d.state);
	out->is_waiting = out->is_present && out->d.confirm == 1 && !out->is_cancelling;
	out->is_active = out->is_present || out->is_cancelling || out->is_refused;
	return ERR_OK;
}

enum delivery_type action_type(const struct action_here *h)
{
	enum delivery_type type = DELIVERY_FORCED;
	if (!h->row.is_revert)
		(void)delivery_parse(h->spec->delivery.type, &type); /* the spec's choices are the table's */
	return type;
}

enum err action_has_status(struct call *c, int64_t action, enum action_status status, bool *has)
{
	return note_has(c->s->actions->store, action, status, has, c->fault);
}

/* What was said last decides, but for what only the deployment knows. */
static enum action_status status_of(const struct action_here *h, enum action_status last)
{
	if (h->is_cancelling)
		return ACTION_CANCELING;
	if (h->is_waiting)
		return ACTION_WAIT_FOR_CONFIRMATION;
	bool is_over = last == ACTION_FINISHED || last == ACTION_ERROR || last == ACTION_CANCELED;
	bool is_step = last == ACTION_RETRIEVED || last == ACTION_DOWNLOAD || last == ACTION_DOWNLOADED || last == ACTION_WARNING;
	if (h->is_active)
		return is_step ? last : ACTION_RUNNING; /* a cancellation that failed or was rejected leaves it running */
	if (is_over)
		return last;
	return last == ACTION_DOWNLOADED && action_type(h) == DELIVERY_DOWNLOADONLY ? ACTION_DOWNLOADED : ACTION_CANCELED;
}

static enum err view_of(struct call *c, const struct action_here *h, struct action_view *out)
{
	struct action_store *store = c->s->actions->store;
	struct note_row last;
	struct release_row release;
	const struct device_state *d = registry_by_row(c->s->registry, h->row.device);
	bool has_plan = !h->row.is_revert;
	*out = (struct action_view){.id = h->row.action, .deployment = h->row.deployment, .device = h->row.device,
		.device_id = d ? d->id : "?", .rollout = h->row.rollout, .release = h->row.release, .is_active = h->is_active,
		.is_cancelling = h->is_cancelling, .is_revert = h->row.is_revert, .type = action_type(h), .created_at = h->row.at,
		.forced_at = has_plan ? h->spec->delivery.forced_at : 0, .weight = has_plan ? h->spec->delivery.weight : 1000};
	if (has_plan && h->spec->delivery.maintenance.schedule) {
		out->schedule = h->spec->delivery.maintenance.schedule;
		out->duration = h->spec->delivery.maintenance.duration;
		out->timezone = h->spec->delivery.maintenance.timezone;
	}
	enum err e = note_last(store, h->row.action, &last, c->arena, c->fault);
	if (!e)
		e = note_last_code(store, h->row.action, &out->has_code, &out->code, c->fault);
	if (!e)
		e = releases_get(c, h->row.release, &release);
	if (e)
		return e;
	out->release_name = release.name;
	out->updated_at = last.at;
	out->status = status_of(h, last.status);
	return ERR_OK;
}

enum err actions_get(struct call *c, const struct device_state *device, int64_t action, struct action_view *out)
{
	struct action_here h;
	enum err e = action_load(c, device, action, &h);
	return e ? e : view_of(c, &h, out);
}

enum err actions_page(struct call *c, const struct device_state *device, int64_t after, bool is_descending, int64_t limit, struct action_view **out,
	size_t *count)
{
	struct action_row *rows;
	enum err e = action_page(c->s->actions->store, device ? device->row : 0, after, is_descending, limit, &rows, count, c->arena, c->fault);
	if (e)
		return e;
	*out = arena_array(c->arena, *count, sizeof **out);
	for (size_t i = 0; i < *count && !e; i++) {
		struct action_here h;
		e = action_load(c, NULL, rows[i].action, &h);
		if (!e)
			e = view_of(c, &h, &(*out)[i]);
	}
	return e;
}

enum err actions_count(struct call *c, const struct device_state *device, int64_t *total)
{
	return action_count(c->s->actions->store, device ? device->row : 0, total, c->fault);
}

enum err actions_of_deployment(struct call *c, int64_t deployment, int64_t *action)
{
	struct deployment_row d;
	*action = 0;
	enum err e = deployment_get(c->s->rollouts->deployments, deployment, &d, c->arena, c->fault);
	if (!e)
		*action = d.action;
	return e;
}

/* ---- entries ---- */

static enum err read_messages(struct call *c, const char *text, struct json_strs *out)
{
	struct json *list = NULL;
	enum err e = json_parse(text, strlen(text), &list, c->fault);
	if (e)
		return e;
	size_t n = 0;
	out->items = arena_array(c->arena, json_count(list), sizeof *out->items);
	for (const struct json *m = json_first(list); m; m = json_next(m))
		if (json_type(m) == JSON_STRING)
			out->items[n++] = arena_strdup(c->arena, json_text(m));
	out->count = n;
	json_free(list);
	return ERR_OK;
}

enum err actions_notes(struct call *c, int64_t action, int64_t offset, int64_t limit, bool newest_first, struct action_note **out, size_t *count,
	int64_t *total)
{
	struct action_store *store = c->s->actions->store;
	struct note_row *rows;
	enum err e = note_page(store, action, newest_first, offset, limit, &rows, count, c->arena, c->fault);
	if (!e && total)
		e = note_count(store, action, total, c->fault);
	if (e)
		return e;
	*out = arena_array(c->arena, *count, sizeof **out);
	for (size_t i = 0; i < *count && !e; i++) {
		(*out)[i] = (struct action_note){.id = rows[i].id, .at = rows[i].at, .status = rows[i].status, .has_code = rows[i].has_code,
			.code = rows[i].code};
		e = read_messages(c, rows[i].messages, &(*out)[i].messages);
	}
	return e;
}

/* ---- documents ---- */

static const char *known(const char *digest)
{
	return digest && digest[0] ? digest : NULL;
}

/* Those of the variant that was chosen for the device; all that there are for its hardware where none was. */
static enum err read_files(struct call *c, const struct device_state *d, const struct action_here *h, int64_t version, struct action_file **out,
	size_t *count)
{
	struct file_row *rows;
	size_t found = 0;
	const char *parts = h->row.is_revert ? h->d.prev_parts : h->d.parts;
	enum err e = action_files(c->s->actions->store, h->row.release, version, registry_text(c->s->registry, d->hardware), &rows, &found, c->arena,
		c->fault);
	*count = 0;
	if (e)
		return e;
	*out = arena_array(c->arena, found, sizeof **out);
	for (size_t i = 0; i < found; i++) {
		bool is_part;
		e = selection_has_file(c, parts, version, rows[i].id, &is_part);
		if (e)
			return e;
		if (!is_part)
			continue;
		(*out)[(*count)++] = (struct action_file){.id = rows[i].id, .name = rows[i].file_name, .sha256 = rows[i].sha256, .sha1 = known(rows[i].sha1),
			.md5 = known(rows[i].md5), .size_bytes = rows[i].size_bytes, .created_at = rows[i].created_at};
	}
	return ERR_OK;
}

static enum err read_chunks(struct call *c, const struct device_state *d, const struct action_here *h, struct action_document *out)
{
	struct component_row *rows = NULL;
	enum err e = releases_components(c, h->row.release, &rows, &out->count);
	if (e)
		return e;
	out->chunks = arena_array(c->arena, out->count, sizeof *out->chunks);
	for (size_t i = 0; i < out->count && !e; i++) {
		struct action_chunk *k = &out->chunks[i];
		*k = (struct action_chunk){.part = strcmp(rows[i].kind, "firmware") == 0 ? "os" : "bApp", .name = rows[i].model,
			.version = rows[i].version_text, .module = rows[i].version};
		e = action_title(c->s->actions->store, k->module, &k->name, &k->version, c->arena, c->fault);
		if (!e)
			e = read_files(c, d, h, k->module, &k->files, &k->count);
	}
	return e;
}

/* hawkBit's words for how it is to be taken (c.3). */
static void set_handling(const struct action_here *h, struct ddi_state *st, int64_t now_ms, struct action_document *out)
{
	static const char forced[] = "forced", attempt[] = "attempt", skip[] = "skip";
	enum delivery_type type = action_type(h);
	bool is_open = true;
	bool is_soft = type == DELIVERY_SOFT || (type == DELIVERY_TIMEFORCED && now_ms < h->spec->delivery.forced_at);
	out->download = is_soft ? attempt : forced;
	out->update = type == DELIVERY_DOWNLOADONLY ? skip : out->download;
	out->window = ACTION_WINDOW_NONE;
	if (h->row.is_revert || !st->window || st->action != h->row.action)
		return;
	if (!ddi_window(st, now_ms, &is_open))
		is_open = false;
	out->window = is_open ? ACTION_WINDOW_OPEN : ACTION_WINDOW_CLOSED;
	if (!is_open)
		out->update = skip;
}

static bool is_shown(const struct action_here *h, enum action_base base, enum action_status status)
{
	switch (base) {
	case ACTION_BASE_DEPLOYMENT:
		return h->is_active && !h->is_cancelling && !h->is_waiting;
	case ACTION_BASE_CONFIRMATION:
		return h->is_waiting;
	default:
		return !h->is_active && status != ACTION_CANCELED;
	}
}

static enum err note_retrieved(struct call *c, const struct action_here *h)
{
	bool has = false;
	enum err e = action_has_status(c, h->row.action, ACTION_RETRIEVED, &has);
	if (e || has)
		return e;
	return action_note(c, h->row.deployment, h->row.action, ACTION_RETRIEVED,
		DDI_SERVER_PREFIX "Target retrieved update action and should start now the download.", NULL, NULL);
}

enum err actions_document(struct call *c, struct device_state *d, int64_t action, enum action_base base, struct action_document *out)
{
	struct action_here h;
	struct ddi_state *st;
	bool is_open;
	*out = (struct action_document){.count = 0};
	enum err e = action_load(c, d, action, &h);
	if (!e)
		e = ddi_refresh(c, d, &st);
	if (!e && base != ACTION_BASE_INSTALLED && h.is_active && !h.is_cancelling && st->action == action && !ddi_window(st, c->now_ms, &is_open)) {
		e = actions_cancel(c, d, action, false); /* its last window is over */
		if (!e)
			e = action_load(c, d, action, &h);
	}
	if (!e)
		e = view_of(c, &h, &out->view);
	if (e)
		return e;
	if (!is_shown(&h, base, out->view.status))
		return unknown(c);
	if (base == ACTION_BASE_DEPLOYMENT)
		e = note_retrieved(c, &h);
	if (!e)
		e = read_chunks(c, d, &h, out);
	set_handling(&h, st, c->now_ms, out);
	return e;
}

enum err actions_files(struct call *c, struct device_state *d, int64_t module, int64_t *action, struct action_file **out, size_t *count)
{
	struct ddi_state *st;
	struct action_here h;
	struct component_row *rows = NULL;
	size_t n = 0;
	*count = 0;
	enum err e = ddi_refresh(c, d, &st);
	if (!e && (st->kind == OFFER_NOTHING || st->kind == OFFER_CANCEL))
		e = ERR_NOT_FOUND;
	if (!e)
		e = action_load(c, d, *action = st->action, &h);
	if (!e)
		e = releases_components(c, h.row.release, &rows, &n);
	bool is_part = false;
	for (size_t i = 0; i < n && !e; i++)
		is_part = is_part || rows[i].version == module;
	if (e == ERR_NOT_FOUND || (!e && !is_part))
		return fault_set(c->fault, ERR_NOT_FOUND, "", "no active action of the device has this module");
	return e ? e : read_files(c, d, &h, module, out, count);
}
