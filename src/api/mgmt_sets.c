/* /rest/v1/distributionsets: releases (service/modules.h). */
#include <string.h>

#include "api/mgmt_rows.h"
#include "service/targets.h"

#define SETS MGMT "/distributionsets"
#define SET SETS "/{set}"

static int64_t type_id(const char *type)
{
	return strcmp(type, "os") == 0 ? 1 : strcmp(type, "os_app") == 0 ? 2 : 3;
}

static const char *type_name(const char *type)
{
	return strcmp(type, "os") == 0 ? "OS only" : strcmp(type, "os_app") == 0 ? "With app(s)" : "App(s) only";
}

static enum err put_set(struct api_request *rq, const struct set_row *s)
{
	struct module_row *modules;
	size_t count;
	enum err e = modules_of_set(&rq->call, s, &modules, &count);
	if (e != ERR_OK)
		return e;
	const char *type = modules_set_type(s, modules, count);
	json_open_object(&rq->out);
	mgmt_times(rq, s->created_at, s->created_at);
	json_str(&rq->out, "name", modules_set_name(s));
	json_str(&rq->out, "description", s->description);
	json_int(&rq->out, "id", s->id);
	json_str(&rq->out, "version", modules_set_version(s));
	json_str(&rq->out, "type", type);
	json_str(&rq->out, "typeName", type_name(type));
	json_bool(&rq->out, "complete", modules_set_is_complete(type, modules, count));
	json_bool(&rq->out, "locked", !s->is_draft);
	json_bool(&rq->out, "deleted", s->deleted_at != 0);
	json_bool(&rq->out, "valid", true);
	json_bool(&rq->out, "requiredMigrationStep", false);
	json_key(&rq->out, "modules");
	json_open_array(&rq->out);
	for (size_t i = 0; i < count; i++)
		(void)!mgmt_put_module(rq, &modules[i]);
	json_close_array(&rq->out);
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "distributionsets/%lld", (long long)s->id));
	mgmt_link(rq, "modules", mgmt_href(rq, "distributionsets/%lld/assignedSM?offset=0&limit=50&sort=id%%3AASC", (long long)s->id));
	mgmt_link(rq, "type", mgmt_href(rq, "distributionsettypes/%lld", (long long)type_id(type)));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

enum err mgmt_put_set(struct api_request *rq, const void *set_row)
{
	return put_set(rq, set_row);
}

/* Rows with their type, which is known by their modules only. */
struct listed {
	struct set_row row;
	const char *type;
	bool is_complete;
};

enum { F_ID, F_NAME, F_DESCRIPTION, F_VERSION, F_TYPE, F_COMPLETE, F_VALID, F_CREATED };
static const struct rsql_field fields[] = {
	{"id", false, RSQL_NUMBER, F_ID}, {"name", false, RSQL_TEXT, F_NAME}, {"description", false, RSQL_TEXT, F_DESCRIPTION},
	{"version", false, RSQL_TEXT, F_VERSION}, {"type", false, RSQL_TEXT, F_TYPE}, {"complete", false, RSQL_BOOL, F_COMPLETE},
	{"valid", false, RSQL_BOOL, F_VALID}, {"createdAt", false, RSQL_TIME, F_CREATED},
};
static const struct hawkbit_field names[] = {
	{"id", "id"}, {"name", "name"}, {"description", "description"}, {"version", "version"}, {"type", "type"}, {"type.key", "type"},
	{"complete", "complete"}, {"valid", "valid"}, {"createdat", "createdAt"}, {"lastmodifiedat", "createdAt"},
};

static bool get_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct listed *l = row;
	(void)key;
	if (index > 0)
		return false;
	switch (field->column) {
	case F_ID:
		*out = mgmt_number_operand(l->row.id);
		break;
	case F_CREATED:
		*out = mgmt_number_operand(l->row.created_at);
		break;
	case F_COMPLETE:
	case F_VALID:
		*out = mgmt_bool_operand(field->column == F_VALID || l->is_complete);
		break;
	case F_NAME:
		*out = mgmt_text_operand(modules_set_name(&l->row));
		break;
	case F_VERSION:
		*out = mgmt_text_operand(modules_set_version(&l->row));
		break;
	case F_TYPE:
		*out = mgmt_text_operand(l->type);
		break;
	default:
		*out = mgmt_text_operand(l->row.description);
		break;
	}
	return true;
}

static enum err put_listed(struct api_request *rq, const void *row)
{
	return put_set(rq, &((const struct listed *)row)->row);
}

static enum err list_sets(struct api_request *rq)
{
	static const struct mgmt_list list = {names, sizeof names / sizeof *names, fields, sizeof fields / sizeof *fields, get_field,
		sizeof(struct listed), put_listed};
	struct set_row *rows = NULL;
	struct listed *all = NULL;
	size_t count = 0;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	enum err e = modules_list_sets(&c, &rows, &count);
	if (e == ERR_OK)
		all = arena_array(c.arena, count + 1, sizeof *all);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		struct module_row *modules;
		size_t n;
		e = modules_of_set(&c, &rows[i], &modules, &n);
		if (e == ERR_OK) {
			all[i] = (struct listed){rows[i], modules_set_type(&rows[i], modules, n), false};
			all[i].is_complete = modules_set_is_complete(all[i].type, modules, n);
		}
	}
	if (e == ERR_OK)
		e = mgmt_put_list(rq, &list, all, count);
	arena_free(c.arena);
	return e;
}

enum err mgmt_find_set(struct api_request *rq, size_t at, struct set_row *row)
{
	int64_t id;
	enum err e = mgmt_param(rq, at, &id);
	return e == ERR_OK ? modules_get_set(&rq->call, id, row) : e;
}

static enum err find_present(struct api_request *rq, struct set_row *row)
{
	enum err e = mgmt_find_set(rq, 0, row);
	return e == ERR_OK && row->deleted_at != 0 ? mgmt_no_such(rq, "DistributionSet", rq->param[0]) : e;
}

static enum err get_set(struct api_request *rq)
{
	struct set_row row;
	enum err e = mgmt_find_set(rq, 0, &row);
	return e == ERR_OK ? put_set(rq, &row) : e;
}

static enum err read_modules(struct api_request *rq, const struct json *item, struct set_input *in)
{
	const struct json *list = json_get(item, "modules");
	if (list == NULL || json_type(list) == JSON_NULL)
		return ERR_OK;
	if (json_type(list) != JSON_ARRAY)
		return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "modules: an array is wanted");
	int64_t *ids = arena_array(rq->call.arena, json_count(list) + 1, sizeof *ids);
	for (const struct json *j = json_first(list); j != NULL; j = json_next(j)) {
		ids[in->module_count] = 0;
		enum err e = json_type(j) == JSON_OBJECT ? mgmt_number(rq, j, "id", &ids[in->module_count]) : ERR_OK;
		if (e != ERR_OK || ids[in->module_count++] < 1)
			return e != ERR_OK ? e : mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "modules: objects with an id are wanted");
	}
	in->modules = ids;
	return ERR_OK;
}

/* What does not fit a set has an error of its own. */
static enum err in_their_words(struct api_request *rq, enum err e)
{
	if (rq->mgmt_error != MGMT_BY_ERR || e == ERR_OK)
		return e;
	if (e == ERR_FORBIDDEN)
		return mgmt_refuse_as(rq, MGMT_LOCKED, e);
	if (e == ERR_BAD_REQUEST && strcmp(rq->call.fault->pointer, "/modules") == 0)
		return mgmt_refuse_as(rq, MGMT_UNSUPPORTED_MODULE, e);
	return e == ERR_BAD_REQUEST ? mgmt_refuse_as(rq, MGMT_CONSTRAINT, e) : e;
}

static enum err create_one(struct api_request *rq, const struct json *item)
{
	struct set_input in = {0};
	struct set_row row;
	enum err e = mgmt_text(rq, item, "name", &in.name);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "version", &in.version);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "description", &in.description);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "type", &in.type);
	if (e == ERR_OK)
		e = read_modules(rq, item, &in);
	if (e == ERR_OK)
		e = in_their_words(rq, modules_create_set(&rq->call, &in, &row));
	return e == ERR_OK ? put_set(rq, &row) : e;
}

static enum err create_sets(struct api_request *rq)
{
	const struct json *item;
	size_t count;
	enum err e = mgmt_items(rq, &item, &count);
	json_open_array(&rq->out);
	for (size_t i = 0; e == ERR_OK && i < count; i++, item = i < count ? json_next(item) : NULL)
		e = create_one(rq, item);
	json_close_array(&rq->out);
	return e;
}

static enum err update_set(struct api_request *rq)
{
	const struct json *body;
	struct set_row row;
	const char *name = NULL, *version = NULL, *description = NULL;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = find_present(rq, &row);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "name", &name);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "version", &version);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "description", &description);
	if (e == ERR_OK)
		e = in_their_words(rq, modules_update_set(&rq->call, &row, name, version, description));
	return e == ERR_OK ? put_set(rq, &row) : e;
}

static enum err delete_set(struct api_request *rq)
{
	struct set_row row;
	enum err e = mgmt_find_set(rq, 0, &row);
	return e == ERR_OK ? modules_delete_set(&rq->call, &row) : e;
}

/* ---- its modules ---- */

static enum err list_assigned_modules(struct api_request *rq)
{
	struct set_row row;
	struct module_row *modules;
	size_t count;
	enum err e = mgmt_find_set(rq, 0, &row);
	if (e == ERR_OK)
		e = modules_of_set(&rq->call, &row, &modules, &count);
	return e == ERR_OK ? mgmt_put_list(rq, &mgmt_module_list, modules, count) : e;
}

static enum err assign_modules(struct api_request *rq)
{
	struct set_row row;
	int64_t *ids;
	size_t count;
	enum err e = find_present(rq, &row);
	if (e == ERR_OK)
		e = mgmt_ids(rq, &ids, &count);
	return e == ERR_OK ? in_their_words(rq, modules_add_to_set(&rq->call, &row, ids, count)) : e;
}

static enum err unassign_module(struct api_request *rq)
{
	struct set_row row;
	int64_t module;
	enum err e = find_present(rq, &row);
	if (e == ERR_OK)
		e = mgmt_param(rq, 1, &module);
	return e == ERR_OK ? in_their_words(rq, modules_remove_from_set(&rq->call, &row, module)) : e;
}

/* ---- its targets ---- */

static enum err list_assigned_targets(struct api_request *rq)
{
	struct set_row row;
	struct device_state **devices;
	size_t count, size = 0;
	struct mgmt_page page;
	enum err e = mgmt_find_set(rq, 0, &row);
	if (e == ERR_OK)
		e = mgmt_page(rq, &page);
	if (e != ERR_OK)
		return e;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	e = targets_assigned(&c, row.id, &devices, &count);
	mgmt_list_open(rq);
	for (size_t i = (size_t)page.offset; e == ERR_OK && i < count && size < (size_t)page.limit; i++, size++)
		e = mgmt_put_target(rq, devices[i]);
	mgmt_list_close(rq, size, (int64_t)count);
	arena_free(c.arena);
	return e;
}

static enum err list_installed_targets(struct api_request *rq)
{
	struct set_row row;
	enum err e = mgmt_find_set(rq, 0, &row);
	return e == ERR_OK ? mgmt_put_targets(rq, arena_printf(rq->call.arena, "release==%s", row.name), 0) : e;
}

extern const struct route routes_mgmt_sets[];
const struct route routes_mgmt_sets[] = {
	{.method = "GET", .path = SETS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "distribution sets: releases (q, sort, offset, limit)",
	 .handle = list_sets},
	{.method = "POST", .path = SETS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "mgmt", .body_limit = MGMT_BODY_MAX,
	 .summary = "makes several, as drafts", .handle = create_sets},
	{.method = "GET", .path = SET, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_set},
	{.method = "PUT", .path = SET, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "name, version, description", .handle = update_set},
	{.method = "DELETE", .path = SET, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt",
	 .summary = "deletes it; hides it where it was sent out", .handle = delete_set},
	{.method = "GET", .path = SET "/assignedSM", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its modules", .handle = list_assigned_modules},
	{.method = "POST", .path = SET "/assignedSM", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "adds modules to a draft", .handle = assign_modules},
	{.method = "DELETE", .path = SET "/assignedSM/{module}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt",
	 .summary = "takes one out of a draft", .handle = unassign_module},
	{.method = "GET", .path = SET "/assignedTargets", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "targets that are to have it",
	 .handle = list_assigned_targets},
	{.method = "GET", .path = SET "/installedTargets", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "targets that run it",
	 .handle = list_installed_targets},
	{.method = NULL},
};
