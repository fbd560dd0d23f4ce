/* /models: models and firmware, and their versions. */
#include <stddef.h>
#include <string.h>

#include "api/route.h"
#include "service/catalog.h"

static const struct field model_reply[] = {
	{"name", FIELD_STR, offsetof(struct model_row, name), .min = 1, .max = 64, .doc = "Unique name."},
	{"kind", FIELD_ENUM, offsetof(struct model_row, kind), .choices = "model firmware", .doc = "What it is."},
	{"description", FIELD_STR, offsetof(struct model_row, description), .doc = "For people."},
	{"revision", FIELD_INT, offsetof(struct model_row, revision), .doc = "Grows with each change; the ETag."},
	{"created_at", FIELD_INT, offsetof(struct model_row, created_at), .doc = "When it was registered."},
	{"updated_at", FIELD_INT, offsetof(struct model_row, updated_at), .doc = "When it was changed last."},
	{0},
};

static const struct field model_body[] = {
	{"name", FIELD_STR, offsetof(struct model_input, name), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "Letters, digits, '.', '_', '-'; begins with a letter or digit."},
	{"kind", FIELD_ENUM, offsetof(struct model_input, kind), .choices = "model firmware", .doc = "model when absent."},
	{"description", FIELD_STR, offsetof(struct model_input, description), .max = 1024, .doc = "For people."},
	{0},
};

struct model_change {
	const char *description;
};
static const struct field model_change_body[] = {
	{"description", FIELD_STR, offsetof(struct model_change, description), .max = 1024, .flags = FIELD_REQUIRED, .doc = "For people."},
	{0},
};

struct version_input {
	const char *version, *notes;
};
static const struct field version_body[] = {
	{"version", FIELD_STR, offsetof(struct version_input, version), .min = 5, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "Semantic version (semver.org 2.0.0)."},
	{"notes", FIELD_STR, offsetof(struct version_input, notes), .max = 1024, .doc = "For people."},
	{0},
};
static const struct field version_reply[] = {
	{"version", FIELD_STR, offsetof(struct version_row, version), .min = 5, .max = 64, .doc = "Semantic version."},
	{"notes", FIELD_STR, offsetof(struct version_row, notes), .doc = "For people."},
	{"created_at", FIELD_INT, offsetof(struct version_row, created_at), .doc = "When it was registered."},
	{0},
};

static const struct route_query models_query[] = {
	{"limit", "Items on a page, 1 to 1000 (100)."},
	{"cursor", "`next` of the page before."},
	{"sort", "name or -name."},
	{"total", "true: count them all."},
	{0},
};
static const struct route_query versions_query[] = {
	{"limit", "Items on a page, 1 to 1000 (100)."},
	{"cursor", "`next` of the page before."},
	{"sort", "version or -version (highest first), by precedence; -version when absent."},
	{"total", "true: count them all."},
	{0},
};

/* Reads limit, cursor, sort (`up` and `down` are its two values; `page->descending` is the default) and total. */
static enum err read_page(struct api_request *rq, const char *up, const char *down, struct page_request *page, bool *total)
{
	const char *sort = api_query(rq, "sort");
	page->limit = 100;
	enum err e = api_query_int(rq, "limit", 1, 1000, &page->limit);
	if (e == ERR_OK)
		e = api_query_cursor(rq, &page->after);
	if (e == ERR_OK)
		e = api_query_bool(rq, "total", total);
	if (e == ERR_OK && sort && strcmp(sort, up) != 0 && strcmp(sort, down) != 0)
		e = fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter sort: %s or %s is wanted", up, down);
	if (sort)
		page->descending = strcmp(sort, down) == 0;
	return e;
}

/* ---- models ---- */

static enum err show_model(struct api_request *rq, const struct model_row *row)
{
	rq->etag_revision = row->revision;
	json_encode(model_reply, row, &rq->out);
	return ERR_OK;
}

static enum err list_models(struct api_request *rq)
{
	struct page_request page = {0};
	struct model_row *rows = NULL;
	size_t count = 0;
	bool more = false, wants_total = false;
	int64_t total = -1;
	enum err e = read_page(rq, "name", "-name", &page, &wants_total);
	if (e == ERR_OK)
		e = catalog_list_models(&rq->call, &page, &rows, &count, &more, wants_total ? &total : NULL);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		json_encode(model_reply, &rows[i], &rq->out);
	api_list_close(rq, more ? api_cursor_of_text(rq, rows[count - 1].name) : NULL, total);
	return ERR_OK;
}

static enum err create_model(struct api_request *rq)
{
	struct model_row row;
	enum err e = catalog_create_model(&rq->call, rq->body, &row);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/models/%s", row.name);
	return show_model(rq, &row);
}

static enum err get_model(struct api_request *rq)
{
	struct model_row row;
	enum err e = catalog_find_model(&rq->call, rq->param[0], &row);
	return e == ERR_OK ? show_model(rq, &row) : e;
}

static enum err edit_model(struct api_request *rq)
{
	const struct model_change *change = rq->body;
	struct model_row row, after;
	enum err e = catalog_find_model(&rq->call, rq->param[0], &row);
	if (e == ERR_OK)
		e = api_if_match(rq, row.revision);
	if (e == ERR_OK)
		e = catalog_edit_model(&rq->call, &row, change->description, &after);
	return e == ERR_OK ? show_model(rq, &after) : e;
}

static enum err delete_model(struct api_request *rq)
{
	struct model_row row;
	enum err e = catalog_find_model(&rq->call, rq->param[0], &row);
	if (e == ERR_OK)
		e = api_if_match(rq, row.revision);
	return e == ERR_OK ? catalog_delete_model(&rq->call, &row) : e;
}

/* ---- versions ---- */

static enum err list_versions(struct api_request *rq)
{
	struct page_request page = {.descending = true};
	struct model_row model;
	struct version_row *rows = NULL;
	size_t count = 0;
	bool more = false, wants_total = false;
	int64_t total = -1;
	enum err e = read_page(rq, "version", "-version", &page, &wants_total);
	if (e == ERR_OK)
		e = catalog_find_model(&rq->call, rq->param[0], &model);
	if (e == ERR_OK)
		e = catalog_list_versions(&rq->call, &model, &page, &rows, &count, &more, wants_total ? &total : NULL);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		json_encode(version_reply, &rows[i], &rq->out);
	api_list_close(rq, more ? api_cursor_of_text(rq, catalog_version_cursor(&rq->call, &rows[count - 1])) : NULL, total);
	return ERR_OK;
}

static enum err find_version(struct api_request *rq, struct model_row *model, struct version_row *row)
{
	enum err e = catalog_find_model(&rq->call, rq->param[0], model);
	return e == ERR_OK ? catalog_find_version(&rq->call, model, rq->param[1], row) : e;
}

static enum err create_version(struct api_request *rq)
{
	const struct version_input *in = rq->body;
	struct model_row model;
	struct version_row row;
	enum err e = catalog_find_model(&rq->call, rq->param[0], &model);
	if (e == ERR_OK)
		e = catalog_create_version(&rq->call, &model, in->version, in->notes, &row);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/models/%s/versions/%s", model.name, row.version);
	json_encode(version_reply, &row, &rq->out);
	return ERR_OK;
}

static enum err get_version(struct api_request *rq)
{
	struct model_row model;
	struct version_row row;
	enum err e = find_version(rq, &model, &row);
	if (e == ERR_OK)
		json_encode(version_reply, &row, &rq->out);
	return e;
}

static enum err delete_version(struct api_request *rq)
{
	struct model_row model;
	struct version_row row;
	enum err e = find_version(rq, &model, &row);
	return e == ERR_OK ? catalog_delete_version(&rq->call, &model, &row) : e;
}

#define MODELS "/api/v1/models"
#define MODEL MODELS "/{model}"
#define VERSIONS MODEL "/versions"
#define VERSION VERSIONS "/{version}"

const struct route routes_models[] = {
	{.method = "GET", .path = MODELS, .role = ROLE_VIEWER, .tag = "models", .summary = "List models", .reply = model_reply,
	 .reply_is_list = true, .query = models_query, .handle = list_models},
	{.method = "POST", .path = MODELS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "models",
	 .summary = "Register a model or a firmware", .body = model_body, .body_bytes = sizeof(struct model_input), .reply = model_reply,
	 .handle = create_model},
	{.method = "GET", .path = MODEL, .role = ROLE_VIEWER, .tag = "models", .summary = "Show a model", .reply = model_reply, .handle = get_model},
	{.method = "PATCH", .path = MODEL, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH, .tag = "models",
	 .summary = "Change a model's description", .body = model_change_body, .body_bytes = sizeof(struct model_change), .reply = model_reply,
	 .handle = edit_model},
	{.method = "DELETE", .path = MODEL, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "models",
	 .summary = "Delete a model without versions", .handle = delete_model},
	{.method = "GET", .path = VERSIONS, .role = ROLE_VIEWER, .tag = "models", .summary = "List a model's versions by precedence",
	 .reply = version_reply, .reply_is_list = true, .query = versions_query, .handle = list_versions},
	{.method = "POST", .path = VERSIONS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "models",
	 .summary = "Register a version", .body = version_body, .body_bytes = sizeof(struct version_input), .reply = version_reply,
	 .handle = create_version},
	{.method = "GET", .path = VERSION, .role = ROLE_VIEWER, .tag = "models", .summary = "Show a version", .reply = version_reply,
	 .handle = get_version},
	{.method = "DELETE", .path = VERSION, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "models",
	 .summary = "Delete a version that no release holds, with its artifacts", .handle = delete_version},
	{.method = NULL},
};
