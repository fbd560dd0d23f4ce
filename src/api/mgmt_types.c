/* /rest/v1/softwaremoduletypes and distributionsettypes: the ones that hawkBit has from the start; they cannot be changed. */
#include <string.h>

#include "api/mgmt.h"

struct type {
	int64_t id;
	const char *key, *name, *description;
	int64_t max_assignments;
	const char *mandatory, *optional; /* of a set: keys of its modules */
};
static const struct type module_types[] = {
	{1, "os", "OS", "Core firmware or operating system", 1, NULL, NULL},
	{2, "application", "Application", "Application Addons", 2147483647, NULL, NULL},
};
static const struct type set_types[] = {
	{1, "os", "OS only", "Default type with Firmware/OS only.", 0, "os", NULL},
	{2, "os_app", "With app(s)", "Default type with Firmware/OS and optional app(s).", 0, "os", "application"},
	{3, "app", "App(s) only", "Default type with app(s) only.", 0, "application", NULL},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool is_set_type(const struct type *t)
{
	return t->mandatory != NULL;
}

static enum err put_type(struct api_request *rq, const void *row)
{
	const struct type *t = row;
	const char *base = is_set_type(t) ? "distributionsettypes" : "softwaremoduletypes";
	json_open_object(&rq->out);
	mgmt_times(rq, 0, 0);
	json_str(&rq->out, "name", t->name);
	json_str(&rq->out, "description", t->description);
	json_int(&rq->out, "id", t->id);
	json_str(&rq->out, "key", t->key);
	json_bool(&rq->out, "deleted", false);
	if (!is_set_type(t)) {
		json_int(&rq->out, "minArtifacts", 1);
		json_int(&rq->out, "maxAssignments", t->max_assignments);
	}
	mgmt_self(rq, mgmt_href(rq, "%s/%lld", base, (long long)t->id));
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

enum { F_ID, F_KEY, F_NAME, F_DESCRIPTION };
static const struct rsql_field fields[] = {
	{"id", false, RSQL_NUMBER, F_ID}, {"key", false, RSQL_TEXT, F_KEY}, {"name", false, RSQL_TEXT, F_NAME},
	{"description", false, RSQL_TEXT, F_DESCRIPTION},
};
static const struct hawkbit_field names[] = {{"id", "id"}, {"key", "key"}, {"name", "name"}, {"description", "description"}};

static bool get(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct type *t = row;
	(void)key;
	if (index > 0)
		return false;
	*out = field->column == F_ID ? mgmt_number_operand(t->id)
		: mgmt_text_operand(field->column == F_KEY ? t->key : field->column == F_NAME ? t->name : t->description);
	return true;
}

static const struct mgmt_list list = {names, COUNT(names), fields, COUNT(fields), get, sizeof(struct type), put_type};

static enum err list_module_types(struct api_request *rq)
{
	return mgmt_put_list(rq, &list, module_types, COUNT(module_types));
}

static enum err list_set_types(struct api_request *rq)
{
	return mgmt_put_list(rq, &list, set_types, COUNT(set_types));
}

static enum err find(struct api_request *rq, const struct type *types, size_t count, const struct type **out)
{
	int64_t id;
	enum err e = mgmt_param(rq, 0, &id);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (types[i].id == id) {
			*out = &types[i];
			return ERR_OK;
		}
	}
	return e != ERR_OK ? e : mgmt_no_such(rq, is_set_type(types) ? "DistributionSetType" : "SoftwareModuleType", rq->param[0]);
}

static enum err get_module_type(struct api_request *rq)
{
	const struct type *t;
	enum err e = find(rq, module_types, COUNT(module_types), &t);
	return e == ERR_OK ? put_type(rq, t) : e;
}

static enum err get_set_type(struct api_request *rq)
{
	const struct type *t;
	enum err e = find(rq, set_types, COUNT(set_types), &t);
	return e == ERR_OK ? put_type(rq, t) : e;
}

static enum err put_module_types(struct api_request *rq, bool mandatory)
{
	const struct type *t;
	enum err e = find(rq, set_types, COUNT(set_types), &t);
	if (e != ERR_OK)
		return e;
	const char *wanted = mandatory ? t->mandatory : t->optional;
	json_open_array(&rq->out);
	for (size_t i = 0; i < COUNT(module_types); i++) {
		if (wanted != NULL && strcmp(module_types[i].key, wanted) == 0)
			(void)!put_type(rq, &module_types[i]);
	}
	json_close_array(&rq->out);
	return ERR_OK;
}

static enum err mandatory_types(struct api_request *rq)
{
	return put_module_types(rq, true);
}

static enum err optional_types(struct api_request *rq)
{
	return put_module_types(rq, false);
}

#define ROW(path_, summary_, handle_) {.method = "GET", .path = MGMT path_, .role = ROLE_VIEWER, .tag = "mgmt", .summary = summary_, .handle = handle_}
extern const struct route routes_mgmt_types[];
const struct route routes_mgmt_types[] = {
	ROW("/softwaremoduletypes", "os and application", list_module_types),
	ROW("/softwaremoduletypes/{type}", "one of them", get_module_type),
	ROW("/distributionsettypes", "os, os_app and app", list_set_types),
	ROW("/distributionsettypes/{type}", "one of them", get_set_type),
	ROW("/distributionsettypes/{type}/mandatorymoduletypes", "modules that such a set must have", mandatory_types),
	ROW("/distributionsettypes/{type}/optionalmoduletypes", "modules that it may have", optional_types),
	{.method = NULL},
};
