/* /rest/v1/targets: devices (service/targets.h). */
#include <string.h>
#include <strings.h>

#include "api/mgmt_rows.h"
#include "service/actions.h"
#include "service/settings.h"
#include "service/targets.h"

#define TARGETS MGMT "/targets"
#define TARGET TARGETS "/{target}"

/* hawkBit's fields of a target, as far as a device has them. */
static const struct hawkbit_field filter_names[] = {
	{"id", "id"}, {"controllerid", "id"}, {"name", "name"}, {"createdat", "createdAt"}, {"lastmodifiedat", "updatedAt"},
	{"lastcontrollerrequestat", "lastSeen"}, {"lasttargetquery", "lastSeen"}, {"attribute.", "attribute."}, {"controllerattributes.", "attribute."},
	{"tag", "tag"}, {"tag.name", "tag"},
	/* and what only we have */
	{"hardware", "hardware"}, {"online", "online"}, {"release", "release"},
};

static const char *overdue_since(struct api_request *rq)
{
	int64_t ms = 300000;
	int jitter;
	const struct settings *st = rq->call.s->settings;
	const char *polling = settings_text(st, SETTING_POLLING_TIME);
	(void)settings_parse_interval(polling, strcspn(polling, ","), &ms, &jitter);
	return arena_printf(rq->call.arena, "%lld", (long long)(rq->call.now_ms - ms - settings_ms(st, SETTING_POLLING_OVERDUE)));
}

enum err mgmt_target_filter(struct api_request *rq, const char *theirs, const char **ours)
{
	char bad[HAWKBIT_SELECTOR_MAX], *out = arena_alloc(rq->call.arena, RSQL_TEXT_BYTES + 1);
	*ours = NULL;
	if (theirs == NULL)
		return ERR_OK;
	bool ok = hawkbit_filter(filter_names, sizeof filter_names / sizeof *filter_names, theirs, overdue_since(rq), out, RSQL_TEXT_BYTES + 1, bad);
	if (!ok && bad[0] != '\0')
		return mgmt_refuse(rq, MGMT_RSQL_FIELD, ERR_BAD_REQUEST, "The given search parameter field {%s} does not exist", bad);
	if (!ok)
		return mgmt_refuse(rq, MGMT_RSQL_SYNTAX, ERR_BAD_REQUEST, "the filter is longer than %d bytes", RSQL_TEXT_BYTES);
	enum err e = registry_check_filter(&rq->call, out);
	*ours = out;
	return e == ERR_BAD_REQUEST ? mgmt_refuse_as(rq, MGMT_RSQL_SYNTAX, e) : e;
}

/* ---- one ---- */

enum err mgmt_find_target(struct api_request *rq, size_t at, struct device_state **d)
{
	*d = registry_find(rq->call.s->registry, rq->param[at]);
	return *d != NULL ? ERR_OK : mgmt_no_such(rq, "Target", rq->param[at]);
}

static void put_poll_status(struct api_request *rq, const struct target_view *v)
{
	int64_t interval_ms = 300000, seen = v->device.last_seen_at;
	int jitter;
	const struct settings *st = rq->call.s->settings;
	const char *polling = settings_text(st, SETTING_POLLING_TIME);
	if (seen == 0)
		return;
	(void)settings_parse_interval(polling, strcspn(polling, ","), &interval_ms, &jitter);
	json_key(&rq->out, "pollStatus");
	json_open_object(&rq->out);
	json_int(&rq->out, "lastRequestAt", seen);
	json_int(&rq->out, "nextExpectedRequestAt", seen + interval_ms);
	json_bool(&rq->out, "overdue", rq->call.now_ms > seen + interval_ms + settings_ms(st, SETTING_POLLING_OVERDUE));
	json_close_object(&rq->out);
}

static void put_links(struct api_request *rq, const char *id)
{
	mgmt_links_open(rq);
	mgmt_link(rq, "self", mgmt_href(rq, "targets/%s", id));
	mgmt_link(rq, "assignedDS", mgmt_href(rq, "targets/%s/assignedDS", id));
	mgmt_link(rq, "installedDS", mgmt_href(rq, "targets/%s/installedDS", id));
	mgmt_link(rq, "attributes", mgmt_href(rq, "targets/%s/attributes", id));
	mgmt_link(rq, "actions", mgmt_href(rq, "targets/%s/actions?offset=0&limit=50&sort=id%%3ADESC", id));
	mgmt_link(rq, "autoConfirm", mgmt_href(rq, "targets/%s/autoConfirm", id));
	mgmt_links_close(rq);
}

/* A token is as good as the device: it is for those who may change devices. */
static enum err put_token(struct api_request *rq, const struct device_state *d)
{
	const char *token = NULL;
	enum err e = rq->call.who->role >= ROLE_OPERATOR && d->is_ddi ? actions_token(&rq->call, d, &token) : ERR_OK;
	if (e == ERR_OK && token != NULL)
		json_str(&rq->out, "securityToken", token);
	return e;
}

enum err mgmt_put_target(struct api_request *rq, struct device_state *d)
{
	struct target_view v;
	struct auto_confirm confirm = {0};
	enum err e = targets_get(&rq->call, d, &v);
	if (e == ERR_OK && d->is_ddi)
		e = actions_auto_confirm(&rq->call, d, &confirm);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	mgmt_times(rq, v.device.created_at, v.device.updated_at);
	json_str(&rq->out, "name", v.device.name[0] != '\0' ? v.device.name : v.device.device_id);
	json_str(&rq->out, "description", v.description);
	json_str(&rq->out, "controllerId", v.device.device_id);
	json_str(&rq->out, "updateStatus", v.status);
	if (v.device.last_seen_at > 0)
		json_int(&rq->out, "lastControllerRequestAt", v.device.last_seen_at);
	if (v.installed_at > 0)
		json_int(&rq->out, "installedAt", v.installed_at);
	put_poll_status(rq, &v);
	e = put_token(rq, d);
	json_bool(&rq->out, "requestAttributes", d->is_ddi && actions_wants_attributes(&rq->call, d));
	json_bool(&rq->out, "autoConfirmActive", confirm.is_active);
	put_links(rq, v.device.device_id);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return e;
}

static enum err get_target(struct api_request *rq)
{
	struct device_state *d;
	enum err e = mgmt_find_target(rq, 0, &d);
	return e == ERR_OK ? mgmt_put_target(rq, d) : e;
}

/* ---- many ---- */

/* hawkBit's sort fields that we have an index for. */
static enum err sort_of(struct api_request *rq, const char *theirs, const char **ours)
{
	static const struct hawkbit_field sorts[] = {
		{"id", NULL}, {"controllerid", "id"}, {"name", "name"}, {"createdat", "createdAt"}, {"lastcontrollerrequestat", "lastSeen"},
		{"lasttargetquery", "lastSeen"}, {"lastmodifiedat", "createdAt"},
	};
	*ours = NULL;
	for (size_t i = 0; theirs != NULL && i < sizeof sorts / sizeof *sorts; i++) {
		if (strcasecmp(sorts[i].theirs, theirs) == 0) {
			*ours = sorts[i].ours != NULL ? sorts[i].ours : "createdAt"; /* ids are given in order of creation */
			return ERR_OK;
		}
	}
	return theirs == NULL ? ERR_OK
		: mgmt_refuse(rq, MGMT_SORT_FIELD, ERR_BAD_REQUEST, "The given sort parameter field {%.60s} does not exist", theirs);
}

enum err mgmt_put_targets(struct api_request *rq, const char *filter, int64_t group)
{
	struct mgmt_page page;
	struct device_state **devices;
	size_t count = 0;
	int64_t total = 0;
	const char *asked, *sort;
	enum err e = mgmt_page(rq, &page);
	if (e == ERR_OK)
		e = mgmt_target_filter(rq, page.query, &asked);
	if (e == ERR_OK)
		e = sort_of(rq, page.sort, &sort);
	if (e != ERR_OK)
		return e;
	const char *both = filter == NULL ? asked : asked == NULL ? filter : arena_printf(rq->call.arena, "(%s);(%s)", filter, asked);
	e = targets_page(&rq->call, both, group, sort, page.descending, page.offset, page.limit, &devices, &count, &total);
	mgmt_list_open(rq);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = mgmt_put_target(rq, devices[i]);
	mgmt_list_close(rq, count, total);
	return e;
}

static enum err list_targets(struct api_request *rq)
{
	return mgmt_put_targets(rq, NULL, 0);
}

/* ---- writing ---- */

static enum err in_their_words(struct api_request *rq, enum err e)
{
	return e == ERR_INVALID && rq->mgmt_error == MGMT_BY_ERR ? mgmt_refuse_as(rq, MGMT_CONSTRAINT, e) : e;
}

static enum err read_texts(struct api_request *rq, const struct json *item, struct device_spec *spec, const char **description)
{
	enum err e = mgmt_text(rq, item, "name", &spec->name);
	if (e == ERR_OK)
		e = mgmt_text(rq, item, "securityToken", &spec->token);
	return e == ERR_OK ? mgmt_text(rq, item, "description", description) : e;
}

static enum err create_one(struct api_request *rq, const struct json *item)
{
	struct device_spec spec = {.protocol = "ddi", .hardware = actions_hardware(&rq->call)};
	struct device_state *d;
	const char *description = NULL;
	enum err e = mgmt_text(rq, item, "controllerId", &spec.id);
	if (e == ERR_OK && spec.id == NULL)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_BAD_REQUEST, "controllerId is wanted");
	if (e == ERR_OK)
		e = read_texts(rq, item, &spec, &description);
	if (e == ERR_OK)
		e = in_their_words(rq, registry_create(&rq->call, &spec, &d));
	if (e == ERR_OK && description != NULL)
		e = in_their_words(rq, targets_describe(&rq->call, d, description));
	return e == ERR_OK ? mgmt_put_target(rq, d) : e;
}

static enum err create_targets(struct api_request *rq)
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

static enum err update_target(struct api_request *rq)
{
	const struct json *body;
	struct device_state *d;
	struct device_spec change = {0};
	const char *description = NULL;
	bool wants = false;
	enum err e = mgmt_object(rq, &body);
	if (e == ERR_OK)
		e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = read_texts(rq, body, &change, &description);
	if (e == ERR_OK)
		e = mgmt_flag(rq, body, "requestAttributes", &wants);
	const char *token = change.token;
	change.token = NULL;
	if (e == ERR_OK && change.name != NULL)
		e = in_their_words(rq, registry_update(&rq->call, d, &change, 0));
	if (e == ERR_OK && description != NULL)
		e = in_their_words(rq, targets_describe(&rq->call, d, description));
	if (e == ERR_OK && token != NULL && d->is_ddi)
		e = in_their_words(rq, actions_set_token(&rq->call, d, token));
	if (e == ERR_OK && wants && d->is_ddi)
		e = actions_request_attributes(&rq->call, d);
	return e == ERR_OK ? mgmt_put_target(rq, d) : e;
}

static enum err delete_target(struct api_request *rq)
{
	struct device_state *d;
	enum err e = mgmt_find_target(rq, 0, &d);
	return e == ERR_OK ? registry_delete(&rq->call, d, true, 0, NULL) : e;
}

/* ---- what hangs on it ---- */

static enum err get_attributes(struct api_request *rq)
{
	struct device_state *d;
	struct device_pair *pairs;
	size_t count;
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = targets_pairs(&rq->call, d, DEVICE_ATTRIBUTES, &pairs, &count);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	for (size_t i = 0; i < count; i++)
		json_str(&rq->out, pairs[i].name, pairs[i].value);
	json_close_object(&rq->out);
	return ERR_OK;
}

/* 204 where there is none. */
static enum err put_release(struct api_request *rq, int64_t release)
{
	struct set_row row;
	if (release == 0) {
		rq->status = 204;
		return ERR_OK;
	}
	enum err e = modules_get_set(&rq->call, release, &row);
	return e == ERR_OK ? mgmt_put_set(rq, &row) : e;
}

static enum err get_assigned(struct api_request *rq)
{
	struct device_state *d;
	struct target_view v;
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = targets_get(&rq->call, d, &v);
	return e == ERR_OK ? put_release(rq, v.assigned) : e;
}

static enum err get_installed(struct api_request *rq)
{
	struct device_state *d;
	struct target_view v;
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK)
		e = targets_get(&rq->call, d, &v);
	return e == ERR_OK ? put_release(rq, v.installed) : e;
}

/* ---- automatic confirmation ---- */

static enum err get_auto_confirm(struct api_request *rq)
{
	struct device_state *d;
	struct auto_confirm confirm = {0};
	enum err e = mgmt_find_target(rq, 0, &d);
	if (e == ERR_OK && d->is_ddi)
		e = actions_auto_confirm(&rq->call, d, &confirm);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_bool(&rq->out, "active", confirm.is_active);
	if (confirm.is_active && confirm.initiator != NULL)
		json_str(&rq->out, "initiator", confirm.initiator);
	if (confirm.is_active && confirm.remark != NULL)
		json_str(&rq->out, "remark", confirm.remark);
	if (confirm.is_active)
		json_int(&rq->out, "activatedAt", confirm.activated_at);
	mgmt_links_open(rq);
	mgmt_link(rq, confirm.is_active ? "deactivate" : "activate",
		mgmt_href(rq, "targets/%s/autoConfirm/%s", d->id, confirm.is_active ? "deactivate" : "activate"));
	mgmt_links_close(rq);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
	return ERR_OK;
}

static enum err find_ddi(struct api_request *rq, struct device_state **d)
{
	enum err e = mgmt_find_target(rq, 0, d);
	if (e == ERR_OK && !(*d)->is_ddi)
		e = mgmt_refuse(rq, MGMT_CONSTRAINT, ERR_INVALID, "this device does not speak DDI: nothing of it is confirmed");
	return e;
}

static enum err activate(struct api_request *rq)
{
	struct device_state *d;
	const char *initiator = NULL, *remark = NULL;
	enum err e = find_ddi(rq, &d);
	if (e == ERR_OK && rq->json != NULL)
		e = mgmt_text(rq, rq->json, "initiator", &initiator);
	if (e == ERR_OK && rq->json != NULL)
		e = mgmt_text(rq, rq->json, "remark", &remark);
	if (e == ERR_OK)
		e = actions_auto_confirm_on(&rq->call, d, initiator, remark);
	return e == ERR_CONFLICT ? mgmt_refuse_as(rq, MGMT_AUTO_CONFIRM, e) : e;
}

static enum err deactivate(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_ddi(rq, &d);
	return e == ERR_OK ? actions_auto_confirm_off(&rq->call, d) : e;
}

extern const struct route routes_mgmt_targets[];
const struct route routes_mgmt_targets[] = {
	{.method = "GET", .path = TARGETS, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "targets: devices (q, sort, offset, limit)", .handle = list_targets},
	{.method = "POST", .path = TARGETS, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "mgmt", .body_limit = MGMT_BODY_MAX,
	 .summary = "makes several, which speak DDI", .handle = create_targets},
	{.method = "GET", .path = TARGET, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one of them", .handle = get_target},
	{.method = "PUT", .path = TARGET, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "name, description, securityToken, requestAttributes", .handle = update_target},
	{.method = "DELETE", .path = TARGET, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .summary = "deletes it", .handle = delete_target},
	{.method = "GET", .path = TARGET "/attributes", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "its attributes, as one object", .handle = get_attributes},
	{.method = "GET", .path = TARGET "/assignedDS", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "what it is to run; 204: nothing", .handle = get_assigned},
	{.method = "GET", .path = TARGET "/installedDS", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "what it runs; 204: not known", .handle = get_installed},
	{.method = "GET", .path = TARGET "/autoConfirm", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "whether it confirms by itself",
	 .handle = get_auto_confirm},
	{.method = "POST", .path = TARGET "/autoConfirm/activate", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "it does from now on; what waits is confirmed", .handle = activate},
	{.method = "POST", .path = TARGET "/autoConfirm/deactivate", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .tag = "mgmt", .body_limit = 65536,
	 .summary = "it does no more", .handle = deactivate},
	{.method = NULL},
};
