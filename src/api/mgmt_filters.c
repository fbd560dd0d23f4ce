/* /rest/v1/targetfilters: dynamic groups; /rest/v1/targettags: tags (service/targets.h). */
#include <string.h>

#include "api/mgmt_rows.h"
#include "service/targets.h"

#define FILTERS MGMT "/targetfilters"
#define FILTER FILTERS "/{filter}"
#define TAGS MGMT "/targettags"
#define TAG TAGS "/{tag}"

/* ---- filters ---- */

static const char *filter_name(const struct filter_row *f)
{
	return f->title != NULL ? f->title : f->name;
}

static const char *filter_query(const struct filter_row *f)
{
	return f->query != NULL ? f->query : f->filter;
}

static enum err put_filter(struct api_request *rq, const void *row)
{
	const struct filter_row *f = row;
	json_open_object(&rq->out);
	mgmt_times(rq, f->created_at, f->updated_at);
	json_int(&rq->out, "id", f->id);
	json_str(&rq->out, "name", filter_name(f));
	json_str(&rq->out, "query", filter_query(f));
	json_raw(&rq->out, "autoAssignDistributionSet", NULL);
	json_raw(&rq->out, "autoAssignActionType", NULL);
	json_raw(&rq->out, "autoAssignWeight", NULL);
	json_raw(&rq->out, "confirmationRequired", NULL);
	mgmt_self(rq, mgmt_href(rq, "targetfilters/%lld", (long long)f->id));
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

enum { F_ID, F_NAME, F_QUERY, F_DESCRIPTION, F_COLOUR, F_CREATED, F_UPDATED };
static const struct rsql_field filter_fields[] = {{"id", false, RSQL_NUMBER, F_ID}, {"name", false, RSQL_TEXT, F_NAME},
	{"query", false, RSQL_TEXT, F_QUERY}, {"createdAt", false, RSQL_TIME, F_CREATED}, {"lastModifiedAt", false, RSQL_TIME, F_UPDATED}};
static const struct hawkbit_field filter_names[] = {
	{"id", "id"}, {"name", "name"}, {"query", "query"}, {"createdat", "createdAt"}, {"lastmodifiedat", "lastModifiedAt"}};

static bool get_filter_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct filter_row *f = row;
	(void)key;
	if (index > 0)
		return false;
	if (field->type == RSQL_TEXT)
		*out = mgmt_text_operand(field->column == F_NAME ? filter_name(f) : filter_query(f));
	else
		*out = mgmt_number_operand(field->column == F_ID ? f->id : field->column == F_CREATED ? f->created_at : f->updated_at);
	return true;
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static enum err list_filters(struct api_request *rq)
{
	static const struct mgmt_list list = {filter_names, COUNT(filter_names), filter_fields, COUNT(filter_fields), get_filter_field,
		sizeof(struct filter_row), put_filter};
	struct filter_row *rows;
	size_t count;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	enum err e = targets_filters(&c, &rows, &count);
	if (e == ERR_OK)
		e = mgmt_put_list(rq, &list, rows, count);
	arena_free(c.arena);
	return e;
}

static enum err find_filter(struct api_request *rq, struct filter_row *row)
{
	int64_t id;
	enum err e = mgmt_param(rq, 0, &id);
	return e == ERR_OK ? targets_filter(&rq->call, id, row) : e;
}

static enum err get_filter(struct api_request *rq)
{
	struct filter_row row;
	enum err e = find_filter(rq, &row);
	return e == ERR_OK ? put_filter(rq, &row) : e;
}

static enum err read_filter(struct api_request *rq, const char **name, const char **query, const char **ours)
{
	const struct json *body;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "name", name);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "query", query);
	return e == ERR_OK ? mgmt_target_filter(rq, *query, ours) : e;
}

static enum err create_filter(struct api_request *rq)
{
	struct filter_row row;
	const char *name = NULL, *query = NULL, *ours = NULL;
	enum err e = read_filter(rq, &name, &query, &ours);
	if (e == ERR_OK && (name == NULL || query == NULL))
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "name and query are wanted");
	if (e == ERR_OK)
		e = targets_make_filter(&rq->call, name, query, ours, &row);
	return e == ERR_OK ? put_filter(rq, &row) : e;
}

static enum err update_filter(struct api_request *rq)
{
	struct filter_row row;
	const char *name = NULL, *query = NULL, *ours = NULL;
	enum err e = read_filter(rq, &name, &query, &ours);
	if (e == ERR_OK)
		e = find_filter(rq, &row);
	if (e == ERR_OK)
		e = targets_edit_filter(&rq->call, &row, name, query, ours);
	return e == ERR_OK ? put_filter(rq, &row) : e;
}

static enum err delete_filter(struct api_request *rq)
{
	struct filter_row row;
	enum err e = find_filter(rq, &row);
	return e == ERR_OK ? targets_delete_filter(&rq->call, &row) : e;
}

/* ---- tags ---- */

static enum err put_tag(struct api_request *rq, const void *row)
{
	const struct tag_row *t = row;
	json_open_object(&rq->out);
	mgmt_times(rq, t->created_at, t->updated_at);
	json_str(&rq->out, "name", t->title);
	json_str(&rq->out, "description", t->description);
	json_int(&rq->out, "id", t->id);
	if (t->colour != NULL)
		json_str(&rq->out, "colour", t->colour);
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "targettags/%lld", (long long)t->id));
	mgmt_link(rq, "assignedTargets", mgmt_href(rq, "targettags/%lld/assigned?offset=0&limit=50", (long long)t->id));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

static const struct rsql_field tag_fields[] = {{"id", false, RSQL_NUMBER, F_ID}, {"name", false, RSQL_TEXT, F_NAME},
	{"description", false, RSQL_TEXT, F_DESCRIPTION}, {"colour", false, RSQL_TEXT, F_COLOUR}, {"createdAt", false, RSQL_TIME, F_CREATED},
	{"lastModifiedAt", false, RSQL_TIME, F_UPDATED}};
static const struct hawkbit_field tag_names[] = {{"id", "id"}, {"name", "name"}, {"description", "description"}, {"colour", "colour"},
	{"createdat", "createdAt"}, {"lastmodifiedat", "lastModifiedAt"}};

static bool get_tag_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct tag_row *t = row;
	(void)key;
	if (index > 0)
		return false;
	if (field->type == RSQL_TEXT)
		*out = mgmt_text_operand(field->column == F_NAME ? t->title : field->column == F_COLOUR ? t->colour : t->description);
	else
		*out = mgmt_number_operand(field->column == F_ID ? t->id : field->column == F_CREATED ? t->created_at : t->updated_at);
	return true;
}

static const struct mgmt_list tag_list_of = {tag_names, COUNT(tag_names), tag_fields, COUNT(tag_fields), get_tag_field, sizeof(struct tag_row),
	put_tag};

/* Writes: tags that devices carry and nobody numbered yet get their number. */
static enum err list_tags(struct api_request *rq)
{
	struct tag_row *rows;
	size_t count;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	enum err e = targets_tags(&c, &rows, &count);
	if (e == ERR_OK)
		e = mgmt_put_list(rq, &tag_list_of, rows, count);
	arena_free(c.arena);
	return e;
}

static enum err find_tag(struct api_request *rq, struct tag_row *row)
{
	int64_t id;
	enum err e = mgmt_param(rq, 0, &id);
	return e == ERR_OK ? targets_tag(&rq->call, id, row) : e;
}

static enum err get_tag(struct api_request *rq)
{
	struct tag_row row;
	enum err e = find_tag(rq, &row);
	return e == ERR_OK ? put_tag(rq, &row) : e;
}

static enum err read_tag(struct api_request *rq, const struct json *item, const char **name, const char **description, const char **colour)
{
	enum err e = mgmt_text(rq, item, "name", name);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "description", description);
	return e == ERR_OK ? mgmt_text(rq, item, "colour", colour) : e;
}

static enum err create_tags(struct api_request *rq)
{
	const struct json *item;
	size_t count;
	enum err e = mgmt_items(rq, &item, &count);
	json_open_array(&rq->out);
	for (size_t i = 0; e == ERR_OK && i < count; i++, item = i < count ? json_next(item) : NULL) {
		struct tag_row row;
		const char *name = NULL, *description = NULL, *colour = NULL;
		e = read_tag(rq, item, &name, &description, &colour);
		if (e == ERR_OK)
			e = targets_make_tag(&rq->call, name, description, colour, &row);
		if (e == ERR_OK)
			e = put_tag(rq, &row);
	}
	json_close_array(&rq->out);
	return e;
}

static enum err update_tag(struct api_request *rq)
{
	const struct json *body;
	struct tag_row row;
	const char *name = NULL, *description = NULL, *colour = NULL;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = find_tag(rq, &row);
	if (e == ERR_OK)
		e = read_tag(rq, body, &name, &description, &colour);
	if (e == ERR_OK)
		e = targets_edit_tag(&rq->call, &row, name, description, colour);
	return e == ERR_OK ? put_tag(rq, &row) : e;
}

static enum err delete_tag(struct api_request *rq)
{
	struct tag_row row;
	enum err e = find_tag(rq, &row);
	return e == ERR_OK ? targets_delete_tag(&rq->call, &row) : e;
}

static enum err list_tagged(struct api_request *rq)
{
	struct tag_row row;
	enum err e = find_tag(rq, &row);
	return e == ERR_OK ? mgmt_put_targets(rq, arena_printf(rq->call.arena, "tag=='%s'", row.name), 0) : e;
}

static enum err set_one(struct api_request *rq, const struct tag_row *row, const char *id, bool has)
{
	struct device_state *d = registry_find(rq->call.s->registry, id);
	return d != NULL ? targets_set_tag(&rq->call, d, row, has) : mgmt_no_such(rq, "Target", id);
}

/* The body: ["id", ...], or [{"controllerId": "id"}]; or the target in the path. */
static enum err set_tags(struct api_request *rq, bool has)
{
	struct tag_row row;
	enum err e = find_tag(rq, &row);
	if (e == ERR_OK && rq->param[1] != NULL)
		return set_one(rq, &row, rq->param[1], has);
	if (e == ERR_OK && (rq->json == NULL || json_type(rq->json) != JSON_ARRAY))
		e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "an array of controllerIds is wanted");
	for (const struct json *j = e == ERR_OK ? json_first(rq->json) : NULL; j != NULL && e == ERR_OK; j = json_next(j)) {
		const char *id = json_text(j);
		if (id == NULL && json_type(j) == JSON_OBJECT)
			e = mgmt_text(rq, j, "controllerId", &id);
		if (e == ERR_OK)
			e = id != NULL ? set_one(rq, &row, id, has) : mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "a controllerId is wanted");
	}
	return e;
}

static enum err tag_targets(struct api_request *rq)
{
	return set_tags(rq, true);
}

static enum err untag_targets(struct api_request *rq)
{
	return set_tags(rq, false);
}

/* GET targets/{id}/tags */
static enum err list_tags_of(struct api_request *rq)
{
	struct device_state *d;
	struct device_pair *pairs;
	struct tag_row *rows;
	size_t count, tags;
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = targets_pairs(&rq->call, d, DEVICE_TAGS, &pairs, &count);
	if (e == ERR_OK)
		e = targets_tags(&rq->call, &rows, &tags);
	json_open_array(&rq->out);
	for (size_t i = 0; e == ERR_OK && i < tags; i++) {
		for (size_t j = 0; j < count; j++) {
			if (strcmp(rows[i].name, pairs[j].name) == 0)
				(void)!put_tag(rq, &rows[i]);
		}
	}
	json_close_array(&rq->out);
	return e;
}

#define READ(path_, summary_, handle_) {.method = "GET", .path = path_, .role = ROLE_VIEWER, .tag = "mgmt", .summary = summary_, .handle = handle_}
#define CHANGE(method_, path_, flags_, summary_, handle_)                                                              \
	{.method = method_, .path = path_, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | (flags_), .tag = "mgmt", .body_limit = MGMT_BODY_MAX, \
	 .summary = summary_, .handle = handle_}
extern const struct route routes_mgmt_filters[];
const struct route routes_mgmt_filters[] = {
	READ(FILTERS, "target filters: dynamic groups (q, sort, offset, limit)", list_filters),
	CHANGE("POST", FILTERS, ROUTE_CREATED, "makes one", create_filter),
	READ(FILTER, "one of them", get_filter),
	CHANGE("PUT", FILTER, 0, "name and query", update_filter),
	CHANGE("DELETE", FILTER, 0, "deletes it", delete_filter),
	{.method = "GET", .path = TAGS, .role = ROLE_VIEWER, .flags = ROUTE_WRITE, .tag = "mgmt", .summary = "tags (q, sort, offset, limit)",
	 .handle = list_tags},
	CHANGE("POST", TAGS, ROUTE_CREATED, "makes several", create_tags),
	READ(TAG, "one of them", get_tag),
	CHANGE("PUT", TAG, 0, "name, description, colour", update_tag),
	CHANGE("DELETE", TAG, 0, "deletes it; targets lose it", delete_tag),
	READ(TAG "/assigned", "targets that have it", list_tagged),
	CHANGE("POST", TAG "/assigned", 0, "gives it to several targets", tag_targets),
	CHANGE("PUT", TAG "/assigned", 0, "the same", tag_targets),
	CHANGE("DELETE", TAG "/assigned", 0, "takes it from several", untag_targets),
	CHANGE("POST", TAG "/assigned/{target}", 0, "gives it to one", tag_targets),
	CHANGE("DELETE", TAG "/assigned/{target}", 0, "takes it from one", untag_targets),
	{.method = "GET", .path = MGMT "/targets/{target}/tags", .role = ROLE_VIEWER, .flags = ROUTE_WRITE, .tag = "mgmt", .summary = "its tags",
	 .handle = list_tags_of},
	{.method = NULL},
};
