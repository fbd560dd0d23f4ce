/* /api/v1/tokens */
#include <stddef.h>

#include "api/route.h"
#include "service/access.h"

struct token_body {
	bool none; /* offset 0 means "no present flag" */
	bool has_role, has_expiry, has_uses;
	const char *name, *kind, *role, *token;
	int64_t id, created_at, expires_at, uses_left, revoked_at;
};

#define AT(member) .offset = offsetof(struct token_body, member)
#define SEEN(member) .present_offset = offsetof(struct token_body, member)
static const struct field fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the token"},
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
		.doc = "for people, and for the audit log"},
	{.name = "kind", .type = FIELD_ENUM, AT(kind), .choices = "api enrolment",
		.doc = "api (when absent), or enrolment: devices register themselves with it"},
	{.name = "role", .type = FIELD_ENUM, AT(role), SEEN(has_role), .choices = "viewer operator admin enrol",
	 .doc = "viewer (when absent) < operator < admin; enrol for enrolment tokens"},
	{.name = "expires_at", .type = FIELD_INT, AT(expires_at), SEEN(has_expiry), .min = 1, .max = 9e15,
		.flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
	 .doc = "from then on it is refused; absent: never"},
	{.name = "uses_left", .type = FIELD_INT, AT(uses_left), SEEN(has_uses), .min = 1, .max = 1e9,
		.flags = FIELD_NULLABLE,
	 .doc = "of an enrolment token: how many devices may still register; absent or -1: unlimited"},
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},
	{.name = "revoked_at", .type = FIELD_INT, AT(revoked_at), .flags = FIELD_READONLY | FIELD_OMIT_ZERO,
		.doc = "when it was revoked"},
	{.name = "token", .type = FIELD_STR, AT(token), .flags = FIELD_READONLY,
		.doc = "the text; only in the answer that makes it"},
	{.name = NULL},
};

static struct token_body body_of(const struct token_row *row)
{
	return (struct token_body){.name = row->name, .kind = row->kind, .role = row->role, .id = row->id,
		.created_at = row->created_at,
	                           .expires_at = row->expires_at, .uses_left = row->uses_left,
		.revoked_at = row->revoked_at};
}

static enum err create_token(struct api_request *rq)
{
	const struct token_body *b = rq->body;
	const char *kind = b->kind != NULL ? b->kind : "api";
	struct token_row row = {.name = b->name, .kind = kind, .role = b->has_role ? b->role : kind[0] == 'a' ? "viewer"
		: "enrol",
	                        .expires_at = b->has_expiry ? b->expires_at : 0,
		.uses_left = b->has_uses ? b->uses_left : -1};
	char text[ACCESS_TOKEN_SIZE];
	enum err e = access_create_token(&rq->call, &row, text);
	if (e != ERR_OK)
		return e;
	struct token_body reply = body_of(&row);
	reply.token = text;
	json_encode(fields, &reply, &rq->out);
	rq->location = arena_printf(rq->call.arena, "/api/v1/tokens/%lld", (long long)row.id);
	return ERR_OK;
}

static enum err list_tokens(struct api_request *rq)
{
	int64_t limit, after;
	struct token_row *rows;
	size_t count;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = access_list_tokens(&rq->call, after, limit + 1, &rows, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++) {
		struct token_body b = body_of(&rows[i]);
		json_encode(fields, &b, &rq->out);
	}
	api_list_close(rq, more ? api_cursor_of(rq, rows[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static enum err get_token(struct api_request *rq)
{
	int64_t id;
	struct token_row row;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = access_get_token(&rq->call, id, &row);
	if (e != ERR_OK)
		return e;
	struct token_body b = body_of(&row);
	json_encode(fields, &b, &rq->out);
	return ERR_OK;
}

static enum err revoke_token(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? access_revoke_token(&rq->call, id) : e;
}

static const struct route_query page_query[] = {
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};

extern const struct route routes_tokens[];
const struct route routes_tokens[] = {
	{.method = "GET", .path = "/api/v1/tokens", .role = ROLE_ADMIN, .summary = "lists tokens", .tag = "tokens",
		.reply = fields, .reply_is_list = true,
	 .query = page_query, .handle = list_tokens},
	{.method = "POST", .path = "/api/v1/tokens", .role = ROLE_ADMIN,
		.flags = ROUTE_WRITE | ROUTE_CREATED | ROUTE_SECRET,
	 .summary = "makes a token; its text is shown once", .tag = "tokens", .body = fields,
		.body_bytes = sizeof(struct token_body), .reply = fields,
	 .handle = create_token},
	{.method = "GET", .path = "/api/v1/tokens/{id}", .role = ROLE_ADMIN, .summary = "shows a token", .tag = "tokens",
		.reply = fields, .handle = get_token},
	{.method = "DELETE", .path = "/api/v1/tokens/{id}", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "revokes a token: it is refused from now on", .tag = "tokens", .handle = revoke_token},
	{.method = NULL},
};
