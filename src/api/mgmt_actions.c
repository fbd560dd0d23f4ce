/* /rest/v1/targets/{id}/actions and /rest/v1/actions: attempts of deployments (service/actions.h). */
#include <string.h>

#include "api/mgmt_rows.h"
#include "core/ddi.h"
#include "core/maintenance.h"
#include "service/actions.h"
#include "service/rollouts.h"

#define ACTIONS MGMT "/targets/{target}/actions"
#define ACTION ACTIONS "/{action}"
#define ALL MGMT "/actions"
#define LIST_MAX 100000 /* actions that a filter or a sort looks at */

/* hawkBit tells what an action is about by two words only. */
static const char *type_of(const struct action_view *v)
{
	return v->is_cancelling || v->status == ACTION_CANCELING || v->status == ACTION_CANCELED ? "cancel" : "update";
}

static void put_window(struct api_request *rq, const struct action_view *v)
{
	struct maintenance m;
	const char *why;
	int64_t begin, end;
	if (v->schedule == NULL)
		return;
	json_key(&rq->out, "maintenanceWindow");
	json_open_object(&rq->out);
	json_str(&rq->out, "schedule", v->schedule);
	json_str(&rq->out, "duration", v->duration);
	json_str(&rq->out, "timezone", v->timezone);
	bool is_known = maintenance_parse(v->schedule, v->duration, v->timezone, &m, &why) && maintenance_next(&m, rq->call.now_ms, &begin, &end);
	json_int(&rq->out, "nextStartAt", is_known ? begin : 0);
	json_close_object(&rq->out);
}

static enum err put_action(struct api_request *rq, const void *row)
{
	const struct action_view *v = row;
	json_open_object(&rq->out);
	mgmt_times(rq, v->created_at, v->updated_at);
	json_int(&rq->out, "id", v->id);
	json_str(&rq->out, "type", type_of(v));
	json_bool(&rq->out, "active", v->is_active);
	json_str(&rq->out, "status", action_status_text(v->status));
	if (v->type == DELIVERY_TIMEFORCED)
		json_int(&rq->out, "forceTime", v->forced_at);
	json_str(&rq->out, "forceType", delivery_text(v->type));
	json_int(&rq->out, "weight", v->weight);
	put_window(rq, v);
	json_int(&rq->out, "rollout", v->rollout);
	if (v->has_code)
		json_int(&rq->out, "lastStatusCode", v->code);
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "targets/%s/actions/%lld", v->device_id, (long long)v->id));
	if (strcmp(type_of(v), "cancel") == 0)
		mgmt_link(rq, "canceledaction", mgmt_href(rq, "targets/%s/actions/%lld", v->device_id, (long long)v->id));
	mgmt_link(rq, "target", mgmt_href(rq, "targets/%s", v->device_id));
	mgmt_link(rq, "distributionset", mgmt_href(rq, "distributionsets/%lld", (long long)v->release));
	mgmt_link(rq, "status", mgmt_href(rq, "targets/%s/actions/%lld/status?offset=0&limit=50&sort=id%%3ADESC", v->device_id, (long long)v->id));
	mgmt_link(rq, "rollout", mgmt_href(rq, "rollouts/%lld", (long long)v->rollout));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

/* ---- lists ---- */

enum { F_ID, F_STATUS, F_ACTIVE, F_DETAIL, F_CREATED, F_UPDATED, F_TARGET, F_ROLLOUT, F_WEIGHT };
static const struct rsql_field fields[] = {
	{"id", false, RSQL_NUMBER, F_ID}, {"status", false, RSQL_TEXT, F_STATUS}, {"active", false, RSQL_BOOL, F_ACTIVE},
	{"detailStatus", false, RSQL_TEXT, F_DETAIL}, {"createdAt", false, RSQL_TIME, F_CREATED}, {"lastModifiedAt", false, RSQL_TIME, F_UPDATED},
	{"target.controllerId", false, RSQL_TEXT, F_TARGET}, {"rollout.id", false, RSQL_NUMBER, F_ROLLOUT}, {"weight", false, RSQL_NUMBER, F_WEIGHT},
};
static const struct hawkbit_field names[] = {
	{"id", "id"}, {"status", "status"}, {"active", "active"}, {"detailstatus", "detailStatus"}, {"createdat", "createdAt"},
	{"lastmodifiedat", "lastModifiedAt"}, {"target.controllerid", "target.controllerId"}, {"rollout.id", "rollout.id"}, {"weight", "weight"},
};

static bool get_field(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct action_view *v = row;
	(void)key;
	if (index > 0)
		return false;
	switch (field->column) {
	case F_STATUS:
		*out = mgmt_text_operand(v->is_active ? "pending" : "finished");
		break;
	case F_ACTIVE:
		*out = mgmt_bool_operand(v->is_active);
		break;
	case F_DETAIL:
		*out = mgmt_text_operand(action_status_text(v->status));
		break;
	case F_TARGET:
		*out = mgmt_text_operand(v->device_id);
		break;
	default:
		*out = mgmt_number_operand(field->column == F_ID ? v->id : field->column == F_CREATED ? v->created_at : field->column == F_UPDATED
			? v->updated_at : field->column == F_ROLLOUT ? v->rollout : v->weight);
		break;
	}
	return true;
}

static const struct mgmt_list list = {names, sizeof names / sizeof *names, fields, sizeof fields / sizeof *fields, get_field,
	sizeof(struct action_view), put_action};

/* Of one device all; of all devices as many as may be looked at, newest first. */
static enum err put_actions(struct api_request *rq, const struct device_state *d)
{
	struct action_view *rows;
	size_t count;
	struct call c = rq->call;
	c.arena = arena_new(MGMT_LIST_ARENA);
	enum err e = actions_page(&c, d, 0, api_query(rq, "sort") == NULL, LIST_MAX, &rows, &count);
	if (e == ERR_OK)
		e = mgmt_put_list(rq, &list, rows, count);
	arena_free(c.arena);
	return e;
}

static enum err list_actions(struct api_request *rq)
{
	struct device_state *d;
	enum err e = mgmt_find_target(rq, 0, &d);
	return e == ERR_OK ? put_actions(rq, d) : e;
}

static enum err list_all(struct api_request *rq)
{
	return put_actions(rq, NULL);
}

/* ---- one ---- */

static enum err find(struct api_request *rq, struct device_state **d, struct action_view *v)
{
	int64_t id;
	enum err e = mgmt_find_target(rq, 0, d);
	if (e == ERR_OK)
		e = mgmt_param(rq, 1, &id);
	if (e == ERR_OK)
		e = actions_get(&rq->call, *d, id, v);
	return e == ERR_NOT_FOUND && rq->mgmt_error == MGMT_BY_ERR ? mgmt_no_such(rq, "Action", rq->param[1]) : e;
}

static enum err get_action(struct api_request *rq)
{
	struct device_state *d;
	struct action_view v;
	enum err e = find(rq, &d, &v);
	return e == ERR_OK ? put_action(rq, &v) : e;
}

static enum err get_any(struct api_request *rq)
{
	int64_t id;
	struct action_view v;
	enum err e = mgmt_param(rq, 0, &id);
	if (e == ERR_OK)
		e = actions_get(&rq->call, NULL, id, &v);
	if (e == ERR_NOT_FOUND)
		return mgmt_no_such(rq, "Action", rq->param[0]);
	return e == ERR_OK ? put_action(rq, &v) : e;
}

static enum err cancel(struct api_request *rq)
{
	struct device_state *d;
	struct action_view v;
	const char *text = api_query(rq, "force");
	bool force = text != NULL && strcmp(text, "true") == 0;
	enum err e = find(rq, &d, &v);
	if (e == ERR_OK)
		e = actions_cancel(&rq->call, d, v.id, force);
	return e == ERR_METHOD || e == ERR_CONFLICT ? mgmt_refuse_as(rq, force ? MGMT_NOT_FORCE_QUITABLE : MGMT_NOT_CANCELABLE, ERR_METHOD) : e;
}

/* {"forceType":"forced"} */
static enum err update(struct api_request *rq)
{
	const struct json *body;
	struct device_state *d;
	struct action_view v;
	const char *type = NULL;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = find(rq, &d, &v);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "forceType", &type);
	if (e == ERR_OK && (type == NULL || strcmp(type, "forced") != 0))
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "forceType: only forced is possible");
	if (e == ERR_OK)
		e = actions_force(&rq->call, d, v.id);
	if (e == ERR_OK)
		e = find(rq, &d, &v);
	if (e == ERR_CONFLICT)
		return mgmt_refuse_as(rq, MGMT_CONSTRAINT, e);
	return e == ERR_OK ? put_action(rq, &v) : e == ERR_METHOD ? mgmt_refuse_as(rq, MGMT_NOT_CANCELABLE, e) : e;
}

/* {"confirmation":"confirmed"|"denied", "code":n, "details":[]} */
static enum err confirm(struct api_request *rq)
{
	const struct json *body;
	struct device_state *d;
	struct action_view v;
	const char *word = NULL;
	struct action_feedback fb = {.at = rq->call.now_ms};
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = find(rq, &d, &v);
	if (e == ERR_OK)
		e = mgmt_text(rq, body, "confirmation", &word);
	bool yes = word != NULL && strcmp(word, "confirmed") == 0;
	if (e == ERR_OK && !yes && (word == NULL || strcmp(word, "denied") != 0))
		e = mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "confirmation: confirmed or denied is wanted");
	return e == ERR_OK ? actions_confirm(&rq->call, d, v.id, yes, &fb) : e;
}

/* ---- what was said ---- */

static void put_note(struct api_request *rq, const struct action_note *n)
{
	json_open_object(&rq->out);
	json_int(&rq->out, "id", n->id);
	json_str(&rq->out, "type", action_status_text(n->status));
	json_key(&rq->out, "messages");
	json_open_array(&rq->out);
	for (size_t i = 0; i < n->messages.count; i++)
		json_put_str(&rq->out, n->messages.items[i]);
	json_close_array(&rq->out);
	json_int(&rq->out, "reportedAt", n->at);
	json_int(&rq->out, "timestamp", n->at);
	if (n->has_code)
		json_int(&rq->out, "code", n->code);
	json_close_object(&rq->out);
}

static enum err list_status(struct api_request *rq)
{
	struct device_state *d;
	struct action_view v;
	struct action_note *notes;
	size_t count;
	int64_t total;
	struct mgmt_page page;
	enum err e = find(rq, &d, &v);
	if (e == ERR_OK)
		e = mgmt_page(rq, &page);
	bool newest_first = page.sort == NULL || page.descending;
	if (e == ERR_OK)
		e = actions_notes(&rq->call, v.id, page.offset, page.limit, newest_first, &notes, &count, &total);
	if (e != ERR_OK)
		return e;
	mgmt_list_open(rq);
	for (size_t i = 0; i < count; i++)
		put_note(rq, &notes[i]);
	mgmt_list_close(rq, count, total);
	return ERR_OK;
}

extern const struct route routes_mgmt_actions[];
const struct route routes_mgmt_actions[] = {
	{.method = "GET", .path = ACTIONS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its actions: attempts of deployments", .handle = list_actions},
	{.method = "GET", .path = ACTION, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_action},
	{.method = "PUT", .path = ACTION, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "makes it forced", .handle = update},
	{.method = "DELETE", .path = ACTION, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "mgmt",
	 .summary = "asks the device to stop; force=true: it is over at once", .handle = cancel},
	{.method = "GET", .path = ACTION "/status", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "what was said about it", .handle = list_status},
	{.method = "PUT", .path = ACTION "/confirmation", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "mgmt",
	 .body_limit = 65536, .summary = "confirms or denies it", .handle = confirm},
	{.method = "GET", .path = ALL, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "actions of all targets", .handle = list_all},
	{.method = "GET", .path = ALL "/{action}", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_any},
	{.method = NULL},
};
