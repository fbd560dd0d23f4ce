/* /rest/v1/softwaremodules: versions of models (service/modules.h), and their files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/mgmt.h"
#include "api/mgmt_rows.h"
#include "net/http.h"
#include "service/modules.h"

#define MODULES MGMT "/softwaremodules"
#define MODULE MODULES "/{module}"
#define ARTIFACTS MODULE "/artifacts"
#define ARTIFACT ARTIFACTS "/{artifact}"

/* ---- modules ---- */

enum err mgmt_put_module(struct api_request *rq, const void *row)
{
	const struct module_row *m = row;
	json_open_object(&rq->out);
	mgmt_times(rq, m->created_at, m->created_at);
	json_str(&rq->out, "name", modules_name(m));
	json_str(&rq->out, "description", m->description);
	json_int(&rq->out, "id", m->id);
	json_str(&rq->out, "version", modules_version(m));
	json_str(&rq->out, "type", modules_type(m));
	json_str(&rq->out, "typeName", strcmp(modules_type(m), "os") == 0 ? "OS" : "Application");
	json_str(&rq->out, "vendor", m->vendor);
	json_bool(&rq->out, "encrypted", false);
	json_bool(&rq->out, "locked", m->is_released);
	json_bool(&rq->out, "deleted", m->deleted_at != 0);
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "softwaremodules/%lld", (long long)m->id));
	mgmt_link(rq, "artifacts", mgmt_href(rq, "softwaremodules/%lld/artifacts", (long long)m->id));
	mgmt_link(rq, "type", mgmt_href(rq, "softwaremoduletypes/%d", strcmp(modules_type(m), "os") == 0 ? 1 : 2));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

enum { F_ID, F_NAME, F_DESCRIPTION, F_VERSION, F_TYPE, F_VENDOR, F_CREATED, F_UPDATED };
static const struct rsql_field fields[] = {
	{"id", false, RSQL_NUMBER, F_ID}, {"name", false, RSQL_TEXT, F_NAME}, {"description", false, RSQL_TEXT, F_DESCRIPTION},
	{"version", false, RSQL_TEXT, F_VERSION}, {"type", false, RSQL_TEXT, F_TYPE}, {"vendor", false, RSQL_TEXT, F_VENDOR},
	{"createdAt", false, RSQL_TIME, F_CREATED}, {"lastModifiedAt", false, RSQL_TIME, F_UPDATED},
};
static const struct hawkbit_field names[] = {
	{"id", "id"}, {"name", "name"}, {"description", "description"}, {"version", "version"}, {"type", "type"}, {"type.key", "type"},
	{"vendor", "vendor"}, {"createdat", "createdAt"}, {"lastmodifiedat", "lastModifiedAt"},
};

static bool get_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct module_row *m = row;
	(void)key;
	if (index > 0)
		return false;
	switch (field->column) {
	case F_ID:
		*out = mgmt_number_operand(m->id);
		break;
	case F_CREATED:
	case F_UPDATED:
		*out = mgmt_number_operand(m->created_at);
		break;
	case F_NAME:
		*out = mgmt_text_operand(modules_name(m));
		break;
	case F_DESCRIPTION:
		*out = mgmt_text_operand(m->description);
		break;
	case F_VERSION:
		*out = mgmt_text_operand(modules_version(m));
		break;
	case F_TYPE:
		*out = mgmt_text_operand(modules_type(m));
		break;
	default:
		*out = mgmt_text_operand(m->vendor);
		break;
	}
	return true;
}

const struct mgmt_list mgmt_module_list = {names, sizeof names / sizeof *names, fields, sizeof fields / sizeof *fields, get_field,
	sizeof(struct module_row), mgmt_put_module};

/* All rows of a catalog: in memory of its own, as a request's is made for a page. */
static enum err list_modules(struct api_request *rq)
{
	struct module_row *rows = NULL;
	size_t count = 0;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	enum err e = modules_list(&c, &rows, &count);
	if (e == ERR_OK)
		e = mgmt_put_list(rq, &mgmt_module_list, rows, count);
	arena_free(c.arena);
	return e;
}

enum err mgmt_find_module(struct api_request *rq, size_t at, struct module_row *row)
{
	int64_t id;
	enum err e = mgmt_param(rq, at, &id);
	return e == ERR_OK ? modules_get(&rq->call, id, row) : e;
}

static enum err find_present(struct api_request *rq, struct module_row *row)
{
	enum err e = mgmt_find_module(rq, 0, row);
	return e == ERR_OK && row->deleted_at != 0 ? mgmt_no_such(rq, "SoftwareModule", rq->param[0]) : e;
}

static enum err get_module(struct api_request *rq)
{
	struct module_row row;
	enum err e = mgmt_find_module(rq, 0, &row);
	return e == ERR_OK ? mgmt_put_module(rq, &row) : e;
}

static enum err create_one(struct api_request *rq, const struct json *item)
{
	struct module_input in = {0};
	struct module_row row;
	enum err e = mgmt_text(rq, item, "name", &in.name);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "version", &in.version);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "type", &in.type);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "vendor", &in.vendor);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "description", &in.description);
	if (e == ERR_OK)
		e = modules_create(&rq->call, &in, &row);
	if (e == ERR_BAD_REQUEST && rq->mgmt_error == MGMT_BY_ERR)
		return mgmt_refuse_as(rq, MGMT_CONSTRAINT, e);
	return e == ERR_OK ? mgmt_put_module(rq, &row) : e;
}

static enum err create_modules(struct api_request *rq)
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

static enum err update_module(struct api_request *rq)
{
	const struct json *body;
	struct module_row row;
	const char *description = NULL, *vendor = NULL;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = find_present(rq, &row);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "description", &description);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "vendor", &vendor);
	if (e == ERR_OK)
		e = modules_update(&rq->call, &row, description, vendor);
	return e == ERR_OK ? mgmt_put_module(rq, &row) : e;
}

/* Deleting it again is no error: clients delete a module once for each of its files. */
static enum err delete_module(struct api_request *rq)
{
	struct module_row row;
	enum err e = mgmt_find_module(rq, 0, &row);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	return e == ERR_OK ? modules_delete(&rq->call, &row) : e;
}

/* ---- files ---- */

void mgmt_put_artifact(struct api_request *rq, int64_t module, const struct artifact_row *row)
{
	long long id = (long long)row->id, of = (long long)module;
	json_open_object(&rq->out);
	mgmt_times(rq, row->created_at, row->updated_at);
	json_key(&rq->out, "hashes");
	json_open_object(&rq->out);
	if (row->sha1 != NULL)
		json_str(&rq->out, "sha1", row->sha1);
	if (row->md5 != NULL)
		json_str(&rq->out, "md5", row->md5);
	json_str(&rq->out, "sha256", row->sha256);
	json_close_object(&rq->out);
	json_str(&rq->out, "providedFilename", row->file_name);
	json_int(&rq->out, "size", row->size_bytes);
	json_int(&rq->out, "id", row->id);
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "softwaremodules/%lld/artifacts/%lld", of, id));
	mgmt_link(rq, "download", mgmt_href(rq, "softwaremodules/%lld/artifacts/%lld/download", of, id));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
}

static enum err list_artifacts(struct api_request *rq)
{
	struct module_row module;
	struct artifact_row *rows;
	size_t count;
	enum err e = mgmt_find_module(rq, 0, &module);
	if (e == ERR_OK)
		e = modules_artifacts(&rq->call, &module, &rows, &count);
	if (e != ERR_OK)
		return e;
	json_open_array(&rq->out);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].state, "ready") == 0)
			mgmt_put_artifact(rq, module.id, &rows[i]);
	}
	json_close_array(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

static enum err find_artifact(struct api_request *rq, struct module_row *module, struct artifact_row *row)
{
	int64_t id;
	enum err e = mgmt_find_module(rq, 0, module);
	if (e == ERR_OK)
		e = mgmt_param(rq, 1, &id);
	if (e == ERR_OK)
		e = catalog_find_artifact(&rq->call, id, row);
	if (e == ERR_NOT_FOUND && rq->mgmt_error == MGMT_BY_ERR && rq->call.fault->detail[0] == 't')
		return mgmt_no_such(rq, "Artifact", rq->param[1]);
	if (e == ERR_OK && (row->version != module->id || strcmp(row->state, "ready") != 0))
		return mgmt_no_such(rq, "Artifact", rq->param[1]);
	return e;
}

static enum err get_artifact(struct api_request *rq)
{
	struct module_row module;
	struct artifact_row row;
	enum err e = find_artifact(rq, &module, &row);
	if (e == ERR_OK)
		mgmt_put_artifact(rq, module.id, &row);
	return e;
}

/* What a set took when it was sent out stays, as in hawkBit (locked). */
static enum err delete_artifact(struct api_request *rq)
{
	struct module_row module;
	struct artifact_row row;
	enum err e = find_artifact(rq, &module, &row);
	if (e == ERR_OK)
		e = catalog_delete_artifact(&rq->call, &row);
	return e == ERR_CONFLICT ? mgmt_refuse_as(rq, MGMT_LOCKED, e) : e;
}

static enum err download(struct api_request *rq)
{
	struct module_row module;
	struct artifact_row row;
	enum err e = find_artifact(rq, &module, &row);
	if (e != ERR_OK)
		return e;
	int fd = open(catalog_blob_path(&rq->call, row.sha256), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return mgmt_refuse(rq, MGMT_BINARY_DELETED, ERR_GONE, "The artifact binary does not exist anymore.");
	if (fd < 0)
		return fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "cannot open the content: %s", strerror(errno));
	http_set_header(rq->http, "Content-Disposition", "attachment");
	http_reply_file(rq->http, fd, (uint64_t)row.size_bytes, row.sha1 != NULL ? row.sha1 : row.sha256, "application/octet-stream");
	rq->taken = true;
	return ERR_OK;
}

extern const struct route_stream mgmt_upload_stream;

extern const struct route routes_mgmt_modules[];
const struct route routes_mgmt_modules[] = {
	{.method = "GET", .path = MODULES, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "software modules: versions of models (q, sort, offset, limit)",
	 .handle = list_modules},
	{.method = "POST", .path = MODULES, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "mgmt", .body_limit = MGMT_BODY_MAX,
	 .summary = "makes several", .handle = create_modules},
	{.method = "GET", .path = MODULE, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_module},
	{.method = "PUT", .path = MODULE, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "description and vendor", .handle = update_module},
	{.method = "DELETE", .path = MODULE, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt",
	 .summary = "deletes it; hides it where a set has it", .handle = delete_module},
	{.method = "GET", .path = ARTIFACTS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its files", .handle = list_artifacts},
	{.method = "POST", .path = ARTIFACTS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_STREAM | ROUTE_CREATED, .tag = "mgmt",
	 .summary = "uploads a file (multipart, field file; filename, md5sum, sha1sum, sha256sum)", .stream = &mgmt_upload_stream},
	{.method = "GET", .path = ARTIFACT, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one file", .handle = get_artifact},
	{.method = "DELETE", .path = ARTIFACT, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt",
	 .summary = "deletes it; 423 where a set took it", .handle = delete_artifact},
	{.method = "GET", .path = ARTIFACT "/download", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its content (Range, ETag)", .handle = download},
	{.method = NULL},
};
