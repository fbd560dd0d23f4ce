/* /api/v1/groups */
#include <stddef.h>

#include "api/devices.h"
#include "api/route.h"
#include "service/groups.h"

struct group_body {
	const char *name, *description, *filter;
};
struct members_body {
	struct json_strs add, remove;
};

#define AT(member) .offset = offsetof(struct group_body, member)
static const struct field create_fields[] = {
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "unique"},
	{.name = "description", .type = FIELD_STR, AT(description), .max = 1024, .doc = "for people"},
	{.name = "filter", .type = FIELD_STR, AT(filter), .min = 1, .max = 2048, .flags = FIELD_NULLABLE,
	 .doc = "RSQL over devices: a dynamic group; absent: a static one"},
	{.name = NULL},
};
static const struct field patch_fields[] = {
	{.name = "description", .type = FIELD_STR, AT(description), .max = 1024, .doc = "for people"},
	{.name = "filter", .type = FIELD_STR, AT(filter), .min = 1, .max = 2048, .doc = "of a dynamic group"},
	{.name = NULL},
};
static const struct field reply_fields[] = {
	{.name = "id", .type = FIELD_INT, .doc = "number"},
	{.name = "name", .type = FIELD_STR, .doc = "unique"},
	{.name = "description", .type = FIELD_STR, .doc = "for people"},
	{.name = "kind", .type = FIELD_ENUM, .choices = "static dynamic", .doc = "by members, or by a filter"},
	{.name = "filter", .type = FIELD_STR, .doc = "of a dynamic group"},
	{.name = "members", .type = FIELD_INT, .doc = "of a static group: how many"},
	{.name = "revision", .type = FIELD_INT, .doc = "ETag"},
	{.name = "created_at", .type = FIELD_INT, .doc = "when it was made"},
	{.name = "updated_at", .type = FIELD_INT, .doc = "last change, of members too"},
	{.name = NULL},
};
static const struct field members_fields[] = {
	{.name = "add", .type = FIELD_STRS, .offset = offsetof(struct members_body, add), .max = GROUP_MEMBERS_MAX, .doc = "device ids"},
	{.name = "remove", .type = FIELD_STRS, .offset = offsetof(struct members_body, remove), .max = GROUP_MEMBERS_MAX, .doc = "device ids"},
	{.name = NULL},
};
static const struct field changed_fields[] = {
	{.name = "added", .type = FIELD_INT, .doc = "devices that were no members before"},
	{.name = "removed", .type = FIELD_INT, .doc = "devices that were members before"},
	{.name = NULL},
};

static enum err show(struct api_request *rq, const struct group_row *row)
{
	rq->etag_revision = row->revision;
	groups_encode(row, &rq->out);
	return ERR_OK;
}

static enum err find_matching(struct api_request *rq, struct group_row *row)
{
	enum err e = groups_find(&rq->call, rq->param[0], row);
	return e == ERR_OK ? api_if_match(rq, row->revision) : e;
}

static enum err list_groups(struct api_request *rq)
{
	int64_t limit, after;
	struct group_row *rows;
	size_t count;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = groups_list(&rq->call, after, limit + 1, &rows, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		groups_encode(&rows[i], &rq->out);
	api_list_close(rq, more ? api_cursor_of(rq, rows[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static enum err create_group(struct api_request *rq)
{
	const struct group_body *b = rq->body;
	struct group_row row = {.name = b->name, .description = b->description, .filter = b->filter};
	enum err e = groups_create(&rq->call, &row);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/groups/%s", row.name);
	return show(rq, &row);
}

static enum err get_group(struct api_request *rq)
{
	struct group_row row;
	enum err e = groups_find(&rq->call, rq->param[0], &row);
	return e == ERR_OK ? show(rq, &row) : e;
}

static enum err patch_group(struct api_request *rq)
{
	const struct group_body *b = rq->body;
	struct group_row row;
	enum err e = find_matching(rq, &row);
	if (e == ERR_OK)
		e = groups_update(&rq->call, &row, b->description, b->filter);
	return e == ERR_OK ? show(rq, &row) : e;
}

static enum err delete_group(struct api_request *rq)
{
	struct group_row row;
	enum err e = find_matching(rq, &row);
	return e == ERR_OK ? groups_delete(&rq->call, &row) : e;
}

static enum err list_members(struct api_request *rq)
{
	struct group_row row;
	enum err e = groups_find(&rq->call, rq->param[0], &row);
	return e == ERR_OK ? api_list_devices(rq, row.id) : e;
}

static enum err change_members(struct api_request *rq)
{
	const struct members_body *b = rq->body;
	struct group_row row;
	int64_t added, removed;
	enum err e = groups_find(&rq->call, rq->param[0], &row);
	if (e == ERR_OK)
		e = groups_change_members(&rq->call, &row, b->add.items, b->add.count, b->remove.items, b->remove.count, &added, &removed);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_int(&rq->out, "added", added);
	json_int(&rq->out, "removed", removed);
	json_close_object(&rq->out);
	return ERR_OK;
}

static const struct route_query page_query[] = {
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};
static const struct route_query members_query[] = {
	{"filter", "RSQL: only these of the members"},
	{"sort", "as of /devices"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{"total", "true: count all matches, too"},
	{NULL, NULL},
};

#define MEMBERS_LIMIT ((size_t)2 << 20) /* two lists of 10,000 ids */

extern const struct route routes_groups[];
const struct route routes_groups[] = {
	{.method = "GET", .path = "/api/v1/groups", .role = ROLE_VIEWER, .summary = "lists groups", .tag = "groups", .reply = reply_fields,
	 .reply_is_list = true, .query = page_query, .handle = list_groups},
	{.method = "POST", .path = "/api/v1/groups", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .summary = "makes a group",
	 .tag = "groups", .body = create_fields, .body_bytes = sizeof(struct group_body), .reply = reply_fields, .handle = create_group},
	{.method = "GET", .path = "/api/v1/groups/{group}", .role = ROLE_VIEWER, .summary = "shows a group", .tag = "groups", .reply = reply_fields,
	 .handle = get_group},
	{.method = "PATCH", .path = "/api/v1/groups/{group}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH, .summary = "changes a group",
	 .tag = "groups", .body = patch_fields, .body_bytes = sizeof(struct group_body), .reply = reply_fields, .handle = patch_group},
	{.method = "DELETE", .path = "/api/v1/groups/{group}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "deletes a group; its devices stay", .tag = "groups", .handle = delete_group},
	{.method = "GET", .path = "/api/v1/groups/{group}/members", .role = ROLE_VIEWER, .summary = "lists the devices of a group", .tag = "groups",
	 .reply = device_reply_fields, .reply_is_list = true, .query = members_query, .handle = list_members},
	{.method = "POST", .path = "/api/v1/groups/{group}/members", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE,
	 .summary = "adds and removes members of a static group, all or none", .tag = "groups", .body = members_fields,
	 .body_bytes = sizeof(struct members_body), .body_limit = MEMBERS_LIMIT, .reply = changed_fields, .handle = change_members},
	{.method = NULL},
};
