/* openapi.json (OpenAPI 3.1), written from the route tables: what is served is what is documented. */
#include <ctype.h>
#include <string.h>

#include "api/mgmt.h"
#include "api/state.h"
#include "service/access.h"

/* "GET /api/v1/devices/{device}" -> "get_devices_device" */
static void write_operation_id(const struct route *row, struct buf *out)
{
	struct buf id = BUF_INIT;
	for (const char *p = row->method; *p != '\0'; p++)
		buf_char(&id, (char)tolower((unsigned char)*p));
	const char *path = strncmp(row->path, "/api/v1/", 8) == 0 ? row->path + 7 : row->path;
	for (const char *p = path; *p != '\0'; p++) {
		if (isalnum((unsigned char)*p))
			buf_char(&id, *p);
		else if (*p != '}' && id.data[id.len - 1] != '_')
			buf_char(&id, '_');
	}
	json_str(out, "operationId", buf_cstr(&id));
	buf_done(&id);
}

static void write_parameter(struct buf *out, const char *name, const char *in, bool is_required, const char *doc)
{
	json_open_object(out);
	json_str(out, "name", name);
	json_str(out, "in", in);
	if (is_required)
		json_bool(out, "required", true);
	if (doc != NULL)
		json_str(out, "description", doc);
	json_raw(out, "schema", "{\"type\":\"string\"}");
	json_close_object(out);
}

static void write_path_parameters(const struct route *row, struct buf *out)
{
	for (const char *p = row->path; (p = strchr(p, '{')) != NULL; p++) {
		struct buf name = BUF_INIT;
		buf_append(&name, p + 1, strcspn(p + 1, "}"));
		write_parameter(out, name.data, "path", true, NULL);
		buf_done(&name);
	}
}

static void write_parameters(const struct route *row, struct buf *out)
{
	json_key(out, "parameters");
	json_open_array(out);
	write_path_parameters(row, out);
	for (const struct route_query *q = row->query; q != NULL && q->name != NULL; q++)
		write_parameter(out, q->name, "query", false, q->doc);
	if (row->flags & ROUTE_IF_MATCH)
		write_parameter(out, "If-Match", "header", true, "the ETag that was read");
	if ((row->flags & ROUTE_WRITE) && strcmp(row->method, "POST") == 0 && row->stream == NULL)
		write_parameter(out, "Idempotency-Key", "header", false, "makes a repeat safe: the first answer is given again for 24 hours");
	json_close_array(out);
}

static void open_content(struct buf *out, const char *type)
{
	json_key(out, "content");
	json_open_object(out);
	json_key(out, type);
	json_open_object(out);
	json_key(out, "schema");
}

static void close_content(struct buf *out)
{
	json_close_object(out);
	json_close_object(out);
}

static void write_body(const struct route *row, struct buf *out)
{
	if (row->body == NULL && row->stream == NULL && row->body_limit == 0)
		return;
	json_key(out, "requestBody");
	json_open_object(out);
	json_bool(out, "required", true);
	open_content(out, row->stream != NULL ? "*/*" : "application/json");
	if (row->body != NULL)
		json_schema(row->body, false, out);
	else
		json_put_raw(out, row->stream != NULL ? "{}" : "{\"type\":\"object\"}");
	close_content(out);
	json_close_object(out);
}

static void write_reply_schema(const struct route *row, struct buf *out)
{
	if (row->reply == NULL) {
		json_put_raw(out, row->reply_type != NULL ? "{}" : "{\"type\":\"object\"}");
		return;
	}
	if (!row->reply_is_list) {
		json_schema(row->reply, true, out);
		return;
	}
	buf_str(out, "{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\",\"items\":");
	json_schema(row->reply, true, out);
	buf_str(out, "},\"next\":{\"type\":\"string\",\"description\":\"cursor of the next page; absent on the last\"},"
	             "\"total\":{\"type\":\"integer\"}}}");
}

static void write_shown(const struct route *row, struct buf *out)
{
	json_key(out, "200");
	json_open_object(out);
	json_str(out, "description", "what would be made; nothing is stored");
	open_content(out, "application/json");
	json_schema(row->shown, true, out);
	close_content(out);
	json_close_object(out);
}

static void write_responses(const struct route *row, struct buf *out)
{
	const char *status = row->flags & ROUTE_CREATED ? "201" : row->flags & ROUTE_NO_CONTENT ? "204" : "200";
	json_key(out, "responses");
	json_open_object(out);
	json_key(out, status);
	json_open_object(out);
	json_str(out, "description", row->summary);
	if (!(row->flags & ROUTE_NO_CONTENT)) {
		open_content(out, row->reply_type != NULL ? row->reply_type : "application/json");
		write_reply_schema(row, out);
		close_content(out);
	}
	json_close_object(out);
	if (row->shown != NULL)
		write_shown(row, out);
	json_raw(out, "default", "{\"$ref\":\"#/components/responses/Problem\"}");
	json_close_object(out);
}

static void write_operation(const struct route *row, struct buf *out)
{
	char method[16];
	size_t len = 0;
	for (; row->method[len] != '\0' && len < sizeof method - 1; len++)
		method[len] = (char)tolower((unsigned char)row->method[len]);
	method[len] = '\0';
	json_key(out, method);
	json_open_object(out);
	write_operation_id(row, out);
	json_str(out, "summary", row->summary);
	json_key(out, "tags");
	json_open_array(out);
	json_put_str(out, row->tag);
	json_close_array(out);
	if (row->role == ROLE_NONE)
		json_raw(out, "security", "[]");
	else
		json_str(out, "x-role", access_role_name(row->role));
	write_parameters(row, out);
	write_body(row, out);
	write_responses(row, out);
	json_close_object(out);
}

/* Whether a row before this one has the same path: then it was written with that one. */
static bool is_repeated(const struct route *const *tables, const struct route *row)
{
	for (; *tables != NULL; tables++) {
		for (const struct route *r = *tables; r->method != NULL; r++) {
			if (r == row)
				return false;
			if (strcmp(r->path, row->path) == 0)
				return true;
		}
	}
	return false;
}

static void write_path(const struct route *const *tables, const char *path, struct buf *out)
{
	json_key(out, path);
	json_open_object(out);
	for (; *tables != NULL; tables++) {
		for (const struct route *r = *tables; r->method != NULL; r++) {
			if (strcmp(r->path, path) == 0)
				write_operation(r, out);
		}
	}
	json_close_object(out);
}

static void write_components(struct buf *out)
{
	json_raw(out, "components",
	         "{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
	         "\"schemas\":{\"Problem\":{\"type\":\"object\",\"description\":\"RFC 9457\",\"required\":[\"title\",\"status\"],\"properties\":{"
	         "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":\"string\"},"
	         "\"pointer\":{\"type\":\"string\",\"description\":\"JSON pointer of the member at fault\"}}}},"
	         "\"responses\":{\"Problem\":{\"description\":\"an error\",\"content\":{\"application/problem+json\":{\"schema\":"
	         "{\"$ref\":\"#/components/schemas/Problem\"}}}}}}");
}

void openapi_write(const struct route *const *tables, struct buf *out)
{
	json_open_object(out);
	json_str(out, "openapi", "3.1.0");
	json_raw(out, "info", "{\"title\":\"Aviary\",\"version\":\"" AVIARY_VERSION "\",\"description\":\"A fleet server for devices that run "
	         "machine-learning models. Conventions: docs/api-guide.md.\",\"license\":{\"name\":\"Apache-2.0\"}}");
	json_raw(out, "security", "[{\"token\":[]}]");
	json_key(out, "paths");
	json_open_object(out);
	for (const struct route *const *t = tables; *t != NULL; t++) {
		for (const struct route *row = *t; row->method != NULL; row++) {
			bool is_ours = !mgmt_is_path(row->path) && strcmp(row->path, "/") != 0; /* hawkBit's is described elsewhere */
			if (is_ours && !is_repeated(tables, row))
				write_path(tables, row->path, out);
		}
	}
	json_close_object(out);
	write_components(out);
	json_close_object(out);
}
