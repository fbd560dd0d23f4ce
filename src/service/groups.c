#include "service/groups.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/access.h"

#define DESCRIPTION_MAX 1024

struct groups {
	struct group_store *store;
};

enum err groups_open(struct services *s, struct groups **out, struct fault *f)
{
	struct groups *g = calloc(1, sizeof *g);
	if (g == NULL)
		abort();
	enum err e = group_store_open(s->db, &g->store, f);
	if (e != ERR_OK) {
		groups_close(g);
		g = NULL;
	}
	*out = g;
	return e;
}

void groups_close(struct groups *g)
{
	if (g != NULL)
		group_store_close(g->store);
	free(g);
}

enum err groups_find(struct call *c, const char *name, struct group_row *row)
{
	return group_find(c->s->groups->store, name, c->arena, row, c->fault);
}

enum err groups_look_up(struct call *c, int64_t id, const char *name, struct group_row *row)
{
	return group_look_up(c->s->groups->store, id, name, c->arena, row, c->fault);
}

enum err groups_list(struct call *c, int64_t after, int64_t limit, struct group_row **rows, size_t *count)
{
	return group_page(c->s->groups->store, after, limit, c->arena, rows, count, c->fault);
}

void groups_encode(const struct group_row *row, struct buf *out)
{
	json_open_object(out);
	json_int(out, "id", row->id);
	json_str(out, "name", row->name);
	json_str(out, "description", row->description);
	json_str(out, "kind", row->filter != NULL ? "dynamic" : "static");
	if (row->filter != NULL)
		json_str(out, "filter", row->filter);
	else
		json_int(out, "members", row->members);
	json_int(out, "revision", row->revision);
	json_int(out, "created_at", row->created_at);
	json_int(out, "updated_at", row->updated_at);
	json_close_object(out);
}

static const char *as_text(struct call *c, const struct group_row *row)
{
	struct buf b = BUF_INIT;
	groups_encode(row, &b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static enum err check_texts(struct call *c, const char *description, const char *filter)
{
	if (description != NULL && strlen(description) > DESCRIPTION_MAX)
		return fault_set(c->fault, ERR_INVALID, "/description", "at most %d bytes", DESCRIPTION_MAX);
	if (filter == NULL)
		return ERR_OK;
	enum err e = registry_check_filter(c, filter);
	if (e != ERR_OK)
		fault_prefix(c->fault, "/filter");
	return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
}

static enum err note(struct call *c, const char *action, const char *name, const char *before, const char *after)
{
	const char *resource = arena_printf(c->arena, "groups/%s", name);
	enum err e = audit_append(c, action, resource, before, after);
	return e == ERR_OK ? event_append(c, action, resource, after != NULL ? after : "{}") : e;
}

enum err groups_create(struct call *c, struct group_row *row)
{
	if (!str_is_name(row->name))
		return fault_set(c->fault, ERR_INVALID, "/name", "a group's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit");
	if (row->description == NULL)
		row->description = "";
	enum err e = check_texts(c, row->description, row->filter);
	if (e != ERR_OK)
		return e;
	row->revision = 1;
	row->members = 0;
	row->created_at = row->updated_at = c->now_ms;
	e = group_insert(c->s->groups->store, row, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/name", "group %s exists already", row->name);
	return e == ERR_OK ? note(c, "group.created", row->name, NULL, as_text(c, row)) : e;
}

enum err groups_update(struct call *c, struct group_row *row, const char *description, const char *filter)
{
	const char *before = as_text(c, row);
	if (filter != NULL && row->filter == NULL)
		return fault_set(c->fault, ERR_CONFLICT, "/filter", "group %s is static: it has members, not a filter", row->name);
	enum err e = check_texts(c, description, filter);
	if (e != ERR_OK)
		return e;
	row->description = description != NULL ? description : row->description;
	row->filter = filter != NULL ? filter : row->filter;
	row->updated_at = c->now_ms;
	row->revision++;
	e = group_update(c->s->groups->store, row, c->fault);
	return e == ERR_OK ? note(c, "group.updated", row->name, before, as_text(c, row)) : e;
}

enum err groups_delete(struct call *c, const struct group_row *row)
{
	enum err e = group_delete(c->s->groups->store, row->id, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "", "a rollout refers to group %s", row->name);
	return e == ERR_OK ? note(c, "group.deleted", row->name, as_text(c, row), NULL) : e;
}

/* ---- members ---- */

static enum err find_member(struct call *c, const char *list, size_t at, const char *id, struct device_state **d)
{
	*d = registry_find(c->s->registry, id);
	if (*d == NULL)
		return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/%s/%zu", list, at), "no device has this id");
	return ERR_OK;
}

enum err groups_change_members(struct call *c, const struct group_row *row, const char *const *add, size_t add_count, const char *const *remove,
                               size_t remove_count, int64_t *added, int64_t *removed)
{
	struct group_store *store = c->s->groups->store;
	struct device_state *d;
	bool changed;
	enum err e = ERR_OK;
	*added = *removed = 0;
	if (row->filter != NULL)
		return fault_set(c->fault, ERR_CONFLICT, "", "group %s is dynamic: its filter says who belongs to it", row->name);
	for (size_t i = 0; e == ERR_OK && i < add_count; i++) {
		e = find_member(c, "add", i, add[i], &d);
		if (e == ERR_OK)
			e = group_add(store, row->id, d->row, &changed, c->fault);
		*added += e == ERR_OK && changed;
	}
	for (size_t i = 0; e == ERR_OK && i < remove_count; i++) {
		e = find_member(c, "remove", i, remove[i], &d);
		if (e == ERR_OK)
			e = group_remove(store, row->id, d->row, &changed, c->fault);
		*removed += e == ERR_OK && changed;
	}
	if (e != ERR_OK || *added + *removed == 0)
		return e;
	struct group_row next = *row;
	next.updated_at = c->now_ms;
	e = group_update(store, &next, c->fault);
	return e == ERR_OK ? note(c, "group.members", row->name, NULL, arena_printf(c->arena, "{\"added\":%lld,\"removed\":%lld}", (long long)*added,
	                                                                             (long long)*removed))
	                   : e;
}
