#include "service/targets.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/deployment.h"
#include "core/hawkbit.h"
#include "core/rsql.h"
#include "service/access.h"
#include "service/groups.h"
#include "service/registry_internal.h"
#include "service/releases.h"
#include "store/filter_sql.h"

#define NUMBERS_MAX 1000
#define TITLE_MAX 128
#define TEXT_MAX 512

struct targets {
	struct target_store *store;
};

enum err targets_open(struct services *s, struct targets **out, struct fault *f)
{
	struct targets *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	enum err e = target_store_open(s->db, &t->store, f);
	if (e != ERR_OK) {
		free(t);
		t = NULL;
	}
	*out = t;
	return e;
}

void targets_close(struct targets *t)
{
	if (t != NULL)
		target_store_close(t->store);
	free(t);
}

static struct target_store *store_of(const struct call *c)
{
	return c->s->targets->store;
}

static enum err check_text(struct call *c, const char *member, const char *text, size_t min, size_t max)
{
	size_t len = text != NULL ? strlen(text) : 0;
	if (len < min || len > max || (text != NULL && !str_is_utf8(text, len)))
		return fault_set(c->fault, ERR_INVALID, member, "%s: %zu to %zu bytes of UTF-8 are wanted", member + 1, min, max);
	return ERR_OK;
}

/* ---- devices ---- */

static enum err running_release(struct call *c, const struct device_record *r, int64_t *release)
{
	struct release_row row;
	*release = 0;
	if (r->release == NULL || r->release[0] == '\0')
		return ERR_OK;
	enum err e = releases_find(c, r->release, &row);
	if (e == ERR_OK)
		*release = row.id;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* hawkBit's words: what is assigned after an error is nothing, after a cancellation or a revert what is installed. */
static void judge_status(const struct target_texts *t, struct target_view *v)
{
	enum deployment_status s;
	v->status = v->installed != 0 ? "in_sync" : v->device.last_seen_at > 0 ? "registered" : "unknown";
	v->assigned = v->installed;
	if (t->release == 0 || !deployment_status_parse(t->state, &s))
		return;
	switch (s) {
	case DEPLOYMENT_FAILED:
	case DEPLOYMENT_TIMED_OUT:
	case DEPLOYMENT_REVERT_FAILED:
	case DEPLOYMENT_NOT_REVERTIBLE:
		v->status = "error";
		v->assigned = 0;
		break;
	case DEPLOYMENT_SUCCEEDED:
		v->assigned = t->release;
		v->status = v->installed == t->release ? "in_sync" : "pending"; /* a download that is not installed, or other news came since */
		break;
	case DEPLOYMENT_REVERTING:
		v->status = "pending";
		v->assigned = t->previous;
		break;
	case DEPLOYMENT_CANCELLED:
	case DEPLOYMENT_REVERTED:
		break;
	default:
		v->status = "pending";
		v->assigned = t->release;
		break;
	}
}

enum err targets_get(struct call *c, const struct device_state *d, struct target_view *out)
{
	struct target_texts t;
	*out = (struct target_view){0};
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &out->device, c->fault);
	if (e == ERR_OK)
		e = target_get_texts(store_of(c), d->row, c->arena, &t, c->fault);
	if (e == ERR_OK)
		e = running_release(c, &out->device, &out->installed);
	if (e != ERR_OK)
		return e;
	if (d->last_seen_ms > out->device.last_seen_at)
		out->device.last_seen_at = d->last_seen_ms; /* memory is ahead of the row */
	out->description = t.description;
	out->installed_at = t.installed_at;
	judge_status(&t, out);
	return ERR_OK;
}

enum err targets_describe(struct call *c, const struct device_state *d, const char *description)
{
	enum err e = check_text(c, "/description", description, 0, TEXT_MAX);
	return e == ERR_OK ? target_set_description(store_of(c), d->row, description, c->fault) : e;
}

enum err targets_pairs(struct call *c, const struct device_state *d, enum device_list which, struct device_pair **out, size_t *count)
{
	return device_store_list(c->s->registry->store, which, d->row, c->arena, out, count, c->fault);
}

struct paging {
	struct call *c;
	struct device_state **items;
	int64_t skip, limit;
	size_t count;
};

static enum err take_row(void *ctx, int64_t row, const char *text, int64_t number)
{
	struct paging *p = ctx;
	(void)text;
	(void)number;
	if (p->skip > 0) {
		p->skip--;
		return ERR_OK;
	}
	struct device_state *d = registry_by_row(p->c->s->registry, row);
	if (d != NULL && (int64_t)p->count < p->limit)
		p->items[p->count++] = d;
	return ERR_OK;
}

enum err targets_page(struct call *c, const char *filter, int64_t group, const char *sort, bool descending, int64_t offset, int64_t limit,
	struct device_state ***out, size_t *count, int64_t *total)
{
	struct paging p = {.c = c, .skip = offset, .limit = limit, .items = arena_array(c->arena, (size_t)limit + 1, sizeof *p.items)};
	enum err e = registry_count(c, filter, group, total);
	if (e == ERR_OK)
		e = registry_each_sorted(c, filter, group, sort, descending, offset + limit, take_row, &p);
	*out = p.items;
	*count = p.count;
	return e;
}

static enum err states_of(struct call *c, const int64_t *rows, size_t count, struct device_state ***out, size_t *found)
{
	struct device_state **items = arena_array(c->arena, count + 1, sizeof *items);
	*found = 0;
	for (size_t i = 0; i < count; i++) {
		struct device_state *d = registry_by_row(c->s->registry, rows[i]);
		if (d != NULL)
			items[(*found)++] = d;
	}
	*out = items;
	return ERR_OK;
}

enum err targets_assigned(struct call *c, int64_t release, struct device_state ***out, size_t *count)
{
	int64_t *rows;
	size_t n;
	enum err e = target_assigned(store_of(c), release, c->arena, &rows, &n, c->fault);
	return e == ERR_OK ? states_of(c, rows, n, out, count) : e;
}

enum err targets_of_stage(struct call *c, int64_t rollout, int64_t stage, struct device_state ***out, size_t *count)
{
	int64_t *rows;
	size_t n;
	enum err e = target_of_stage(store_of(c), rollout, stage, c->arena, &rows, &n, c->fault);
	return e == ERR_OK ? states_of(c, rows, n, out, count) : e;
}

/* ---- filters ---- */

enum err targets_filters(struct call *c, struct filter_row **rows, size_t *count)
{
	return filter_list(store_of(c), c->arena, rows, count, c->fault);
}

enum err targets_filter(struct call *c, int64_t id, struct filter_row *out)
{
	enum err e = filter_get(store_of(c), id, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "TargetFilterQuery with given identifier {%lld} does not exist.", (long long)id) : e;
}

static enum err check_title(struct call *c, const char *title, int64_t own)
{
	int64_t there;
	enum err e = check_text(c, "/name", title, 1, TITLE_MAX);
	if (e != ERR_OK)
		return e;
	e = filter_find_title(store_of(c), title, &there, c->fault);
	if (e == ERR_OK && there != own)
		return fault_set(c->fault, ERR_CONFLICT, "/name", "there is a filter or group %.80s already", title);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err free_group_name(struct call *c, const char *title, char name[NAME_BYTES])
{
	struct group_row row;
	enum err e = ERR_OK;
	for (unsigned number = 1; e == ERR_OK && number <= NUMBERS_MAX; number++) {
		hawkbit_name(title, number, name);
		e = groups_look_up(c, 0, name, &row);
	}
	if (e == ERR_OK)
		return fault_set(c->fault, ERR_CONFLICT, "/name", "%d groups have names like %.80s", NUMBERS_MAX, title);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err targets_make_filter(struct call *c, const char *name, const char *query, const char *filter, struct filter_row *out)
{
	char ours[NAME_BYTES];
	enum err e = check_title(c, name, 0);
	if (e == ERR_OK)
		e = free_group_name(c, name, ours);
	if (e != ERR_OK)
		return e;
	struct group_row group = {.name = arena_strdup(c->arena, ours), .description = "", .filter = filter};
	e = groups_create(c, &group);
	if (e == ERR_OK)
		e = filter_set_words(store_of(c), group.id, name, query, c->fault);
	return e == ERR_OK ? targets_filter(c, group.id, out) : e;
}

enum err targets_edit_filter(struct call *c, struct filter_row *row, const char *name, const char *query, const char *filter)
{
	struct group_row group;
	const char *title = name != NULL ? name : row->title;
	enum err e = name != NULL ? check_title(c, name, row->id) : ERR_OK;
	if (e == ERR_OK)
		e = groups_look_up(c, row->id, NULL, &group);
	if (e == ERR_OK)
		e = groups_update(c, &group, NULL, filter);
	if (e == ERR_OK)
		e = filter_set_words(store_of(c), row->id, title, query != NULL ? query : row->query, c->fault);
	return e == ERR_OK ? targets_filter(c, row->id, row) : e;
}

enum err targets_delete_filter(struct call *c, const struct filter_row *row)
{
	struct group_row group;
	enum err e = groups_look_up(c, row->id, NULL, &group);
	return e == ERR_OK ? groups_delete(c, &group) : e;
}

/* ---- tags ---- */

enum err targets_tags(struct call *c, struct tag_row **rows, size_t *count)
{
	enum err e = tag_adopt(store_of(c), c->now_ms, c->fault);
	return e == ERR_OK ? tag_list(store_of(c), c->arena, rows, count, c->fault) : e;
}

enum err targets_tag(struct call *c, int64_t id, struct tag_row *out)
{
	enum err e = tag_get(store_of(c), id, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "TargetTag with given identifier {%lld} does not exist.", (long long)id) : e;
}

static enum err note_tag(struct call *c, const char *action, const struct tag_row *row)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", row->name);
	json_str(&b, "title", row->title);
	json_str(&b, "description", row->description);
	json_str(&b, "colour", row->colour);
	json_close_object(&b);
	enum err e = audit_append(c, action, arena_printf(c->arena, "tags/%s", row->name), NULL, buf_cstr(&b));
	buf_done(&b);
	return e;
}

static enum err check_tag(struct call *c, const struct tag_row *row)
{
	struct tag_row *rows;
	size_t count;
	enum err e = check_text(c, "/name", row->title, 1, TITLE_MAX);
	if (e == ERR_OK)
		e = check_text(c, "/description", row->description, 0, TEXT_MAX);
	if (e == ERR_OK)
		e = check_text(c, "/colour", row->colour, 0, 64);
	if (e == ERR_OK)
		e = targets_tags(c, &rows, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (rows[i].id != row->id && strcmp(rows[i].title, row->title) == 0)
			e = fault_set(c->fault, ERR_CONFLICT, "/name", "there is a tag %.80s already", row->title);
	}
	return e;
}

enum err targets_make_tag(struct call *c, const char *name, const char *description, const char *colour, struct tag_row *out)
{
	char ours[NAME_BYTES];
	*out = (struct tag_row){.title = name, .description = description != NULL ? description : "", .colour = colour, .created_at = c->now_ms,
		.updated_at = c->now_ms};
	enum err e = check_tag(c, out);
	if (e != ERR_OK)
		return e;
	e = ERR_CONFLICT;
	for (unsigned number = 1; e == ERR_CONFLICT && number <= NUMBERS_MAX; number++) {
		hawkbit_name(name, number, ours);
		out->name = arena_strdup(c->arena, ours);
		e = tag_insert(store_of(c), out, c->fault);
	}
	return e == ERR_OK ? note_tag(c, "tag.create", out) : e;
}

enum err targets_edit_tag(struct call *c, struct tag_row *row, const char *name, const char *description, const char *colour)
{
	row->title = name != NULL ? name : row->title;
	row->description = description != NULL ? description : row->description;
	row->colour = colour != NULL ? colour : row->colour;
	row->updated_at = c->now_ms;
	enum err e = check_tag(c, row);
	if (e == ERR_OK)
		e = tag_update(store_of(c), row, c->fault);
	return e == ERR_OK ? note_tag(c, "tag.update", row) : e;
}

enum err targets_set_tag(struct call *c, struct device_state *d, const struct tag_row *row, bool has)
{
	struct device_pair *pairs;
	size_t count, kept = 0;
	bool had = false;
	enum err e = targets_pairs(c, d, DEVICE_TAGS, &pairs, &count);
	if (e != ERR_OK)
		return e;
	const char **tags = arena_array(c->arena, count + 1, sizeof *tags);
	for (size_t i = 0; i < count; i++) {
		bool is_it = strcmp(pairs[i].name, row->name) == 0;
		had = had || is_it;
		if (!is_it)
			tags[kept++] = pairs[i].name;
	}
	if (had == has)
		return ERR_OK;
	if (has)
		tags[kept++] = row->name;
	struct device_spec change = {.tags = tags, .tag_count = kept};
	return registry_update(c, d, &change, 0);
}

struct untagging {
	struct call *c;
	struct device_state **devices;
	size_t count, room;
};

static enum err gather(void *ctx, struct device_state *d)
{
	struct untagging *u = ctx;
	if (u->count == u->room) {
		u->room = u->room > 0 ? 2 * u->room : 64;
		u->devices = reallocarray(u->devices, u->room, sizeof *u->devices);
		if (u->devices == NULL)
			abort();
	}
	u->devices[u->count++] = d;
	return ERR_OK;
}

enum err targets_delete_tag(struct call *c, const struct tag_row *row)
{
	struct untagging u = {.c = c};
	enum err e = registry_select(c, arena_printf(c->arena, "tag==%s", row->name), 0, gather, &u);
	for (size_t i = 0; i < u.count && e == ERR_OK; i++)
		e = targets_set_tag(c, u.devices[i], row, false);
	free(u.devices);
	if (e == ERR_OK)
		e = tag_delete(store_of(c), row->id, c->fault);
	return e == ERR_OK ? note_tag(c, "tag.delete", row) : e;
}
