/* /api/v1/audit */
#include <stddef.h>

#include "api/route.h"
#include "service/access.h"

#define AT(member) .offset = offsetof(struct audit_row, member), .flags = FIELD_READONLY
static const struct field fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .doc = "grows with time"},
	{.name = "at", .type = FIELD_INT, AT(at), .doc = "when"},
	{.name = "who", .type = FIELD_STR, AT(who),
		.doc = "name of the token, device:<id>, or aviary for what the server did by itself"},
	{.name = "role", .type = FIELD_STR, AT(role), .doc = "role of the token"},
	{.name = "action", .type = FIELD_STR, AT(action), .doc = "what, as device.create"},
	{.name = "resource", .type = FIELD_STR, AT(resource), .doc = "to what, as devices/dev-1"},
	{.name = "before", .type = FIELD_DOC, AT(before), .doc = "absent when it was created"},
	{.name = "after", .type = FIELD_DOC, AT(after), .doc = "absent when it was deleted"},
	{.name = NULL},
};

static enum err list_audit(struct api_request *rq)
{
	int64_t limit, before;
	struct audit_row *rows;
	size_t count;
	struct audit_filter filter = {api_query(rq, "resource"), api_query(rq, "who"), api_query(rq, "action"), 0, 0};
	enum err e = api_query_page(rq, &limit, &before);
	if (e == ERR_OK)
		e = api_query_int(rq, "from", 0, INT64_MAX, &filter.from);
	if (e == ERR_OK)
		e = api_query_int(rq, "to", 1, INT64_MAX, &filter.to);
	if (e == ERR_OK)
		e = audit_list(&rq->call, &filter, before, limit + 1, &rows, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		json_encode(fields, &rows[i], &rq->out);
	api_list_close(rq, more ? api_cursor_of(rq, rows[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static const struct route_query query[] = {
	{"resource", "exactly this one, as devices/dev-1"},
	{"who", "exactly this name"},
	{"action", "exactly this one, as device.create"},
	{"from", "at this time or later, ms since 1970"},
	{"to", "at this time or earlier"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};

extern const struct route routes_audit[];
const struct route routes_audit[] = {
	{.method = "GET", .path = "/api/v1/audit", .role = ROLE_OPERATOR, .summary = "lists who changed what, newest first",
		.tag = "audit", .reply = fields,
	 .reply_is_list = true, .query = query, .handle = list_audit},
	{.method = NULL},
};
