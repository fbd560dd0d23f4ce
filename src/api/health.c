/* /api/v1/commands, /api/v1/health, and both of one device */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "core/health.h"
#include "service/commands.h"
#include "service/health.h"
#include "service/registry.h"

static enum err find_device(struct api_request *rq, struct device_state **d)
{
	*d = registry_find(rq->call.s->registry, rq->param[0]);
	return *d != NULL ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no device has this id");
}

/* ---- commands ---- */

struct command_body {
	bool none;
	int64_t id, timeout_ms, queued, sent, answered, failed, expired, health_check, created_at;
	double rate;
	const char *kind, *params, *device, *group, *filter, *progress, *created_by;
};
#define AT(member) .offset = offsetof(struct command_body, member)
static const struct field command_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the command, as devices know it"},
	{.name = "kind", .type = FIELD_ENUM, AT(kind), .choices = "check report_now", .flags = FIELD_REQUIRED, .doc = "what devices are to do"},
	{.name = "params", .type = FIELD_DOC, AT(params), .max = 768, .doc = "sent as it is; of check: {\"check\":\"model_hash\"}"},
	{.name = "device", .type = FIELD_STR, AT(device), .min = 1, .max = 64, .doc = "one device; else group and filter"},
	{.name = "group", .type = FIELD_STR, AT(group), .min = 1, .max = 64, .doc = "name of a group"},
	{.name = "filter", .type = FIELD_STR, AT(filter), .max = 2048, .doc = "RSQL over devices; empty: the whole fleet (or group)"},
	{.name = "timeout_ms", .type = FIELD_INT, AT(timeout_ms), .max = 2592000000, .doc = "for the answer, from a device's turn on; 60000 when absent"},
	{.name = "rate", .type = FIELD_NUM, AT(rate), .max = COMMAND_RATE_MAX, .doc = "devices a second that are told; 100 when absent"},
	{.name = "progress", .type = FIELD_ENUM, AT(progress), .choices = "spreading waiting done cancelled", .flags = FIELD_READONLY,
	 .doc = "spreading: devices are still to be told; waiting: for answers"},
	{.name = "health_check", .type = FIELD_INT, AT(health_check), .flags = FIELD_READONLY, .doc = "the health check that asked; absent: none"},
	{.name = "queued", .type = FIELD_INT, AT(queued), .flags = FIELD_READONLY, .doc = "devices that were not reached yet"},
	{.name = "sent", .type = FIELD_INT, AT(sent), .flags = FIELD_READONLY, .doc = "devices that have not answered"},
	{.name = "answered", .type = FIELD_INT, AT(answered), .flags = FIELD_READONLY, .doc = "devices that did it"},
	{.name = "failed", .type = FIELD_INT, AT(failed), .flags = FIELD_READONLY, .doc = "devices that could not"},
	{.name = "expired", .type = FIELD_INT, AT(expired), .flags = FIELD_READONLY, .doc = "devices that did not answer in time"},
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},
	{.name = "created_by", .type = FIELD_STR, AT(created_by), .flags = FIELD_READONLY, .doc = "who made it"},
	{.name = NULL},
};
#undef AT
static const struct field answer_fields[] = {
	{.name = "pass", .type = FIELD_BOOL, .doc = "of a check"},
	{.name = "value", .type = FIELD_NUM, .doc = "what it measured"},
	{.name = "detail", .type = FIELD_STR, .doc = "in words"},
	{.name = NULL},
};
static const struct field errand_fields[] = {
	{.name = "command", .type = FIELD_INT, .doc = "number of the command"},
	{.name = "device", .type = FIELD_STR, .doc = "public id"},
	{.name = "kind", .type = FIELD_STR, .doc = "what it is to do"},
	{.name = "params", .type = FIELD_DOC, .doc = "of the command"},
	{.name = "state", .type = FIELD_ENUM, .choices = "queued sent answered failed expired", .doc = "how far it is"},
	{.name = "answer", .type = FIELD_OBJECT, .fields = answer_fields, .doc = "what the device said; absent: nothing"},
	{.name = "created_at", .type = FIELD_INT, .doc = "when it was the device's turn"},
	{.name = "deadline_at", .type = FIELD_INT, .doc = "later answers do not count"},
	{.name = "sent_at", .type = FIELD_INT, .doc = "when the broker took it; absent: not"},
	{.name = "ended_at", .type = FIELD_INT, .doc = "when it was answered, failed or expired; absent: not yet"},
	{.name = NULL},
};

static enum err answer_command(struct api_request *rq, int64_t id)
{
	rq->location = arena_printf(rq->call.arena, "/api/v1/commands/%lld", (long long)id);
	return commands_show(&rq->call, id, &rq->out);
}

static enum err create_command(struct api_request *rq)
{
	const struct command_body *b = rq->body;
	struct command_spec s = {.kind = b->kind, .params = b->params, .device = b->device, .group = b->group, .filter = b->filter,
	                         .timeout_ms = b->timeout_ms, .rate = b->rate};
	int64_t id;
	enum err e = commands_create(&rq->call, &s, &id);
	return e == ERR_OK ? answer_command(rq, id) : e;
}

static enum err show_command(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? commands_show(&rq->call, id, &rq->out) : e;
}

static enum err cancel_command(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = commands_cancel(&rq->call, id);
	return e == ERR_OK ? commands_show(&rq->call, id, &rq->out) : e;
}

static enum err list_commands(struct api_request *rq)
{
	int64_t limit, before, next = 0;
	enum err e = api_query_page(rq, &limit, &before);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = commands_list(&rq->call, before, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

static enum err list_devices(struct api_request *rq)
{
	int64_t id, limit, after, next = 0;
	const char *text = api_query(rq, "state");
	enum command_state state = COMMAND_STATE_COUNT;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK && text != NULL && !command_state_of(text, &state))
		e = fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter state: %.64s is not known", text);
	if (e == ERR_OK)
		e = api_query_page(rq, &limit, &after);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = commands_devices(&rq->call, id, state, after, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

static enum err list_of_device(struct api_request *rq)
{
	int64_t limit, before, next = 0;
	struct device_state *d;
	enum err e = find_device(rq, &d);
	if (e == ERR_OK)
		e = api_query_page(rq, &limit, &before);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = commands_of_device(&rq->call, d, before, limit, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

/* ---- health checks ---- */

struct contexts_body {
	bool none, has_hot, has_battery, has_rssi;
	double hot_c, battery_low, rssi_bad;
};
#define AT(member) .offset = offsetof(struct contexts_body, member)
#define SEEN(member) .present_offset = offsetof(struct contexts_body, member)
static const struct field contexts_fields[] = {
	{.name = "temperature_c", .type = FIELD_NUM, AT(hot_c), SEEN(has_hot), .min = -1000, .max = 1000, .doc = "above it a device is hot"},
	{.name = "battery", .type = FIELD_NUM, AT(battery_low), SEEN(has_battery), .max = 1, .doc = "below it its battery is low"},
	{.name = "link_rssi_dbm", .type = FIELD_NUM, AT(rssi_bad), SEEN(has_rssi), .min = -1000, .max = 1000, .doc = "below it its link is bad"},
	{.name = NULL},
};
#undef AT
#undef SEEN
struct check_body {
	bool none, has_op, has_threshold, has_window, has_every, has_timeout, has_severity, has_contexts;
	int64_t id, window_ms, every_ms, timeout_ms, next_at, revision, created_at, updated_at;
	double threshold;
	const char *name, *kind, *hardware, *model, *filter, *metric, *operator, *severity;
	struct contexts_body contexts;
};
#define AT(member) .offset = offsetof(struct check_body, member)
#define SEEN(member) .present_offset = offsetof(struct check_body, member)
#define CHANGEABLE                                                                                                                                \
	{.name = "operator", .type = FIELD_ENUM, AT(operator), SEEN(has_op), .choices = "gt lt", .doc = "the bad side of the threshold"},                \
	{.name = "threshold", .type = FIELD_NUM, AT(threshold), SEEN(has_threshold), .min = -1e12, .max = 1e12,                                         \
	 .doc = "of the metric, or (with operator) of the value that a device answers"},                                                             \
	{.name = "window_ms", .type = FIELD_INT, AT(window_ms), SEEN(has_window), .max = 2592000000, .doc = "how long a limit must be broken"},         \
	{.name = "every_ms", .type = FIELD_INT, AT(every_ms), SEEN(has_every), .max = 31536000000,                                                      \
	 .doc = "the schedule, 0: on demand only; of a limit: results count at most this often, 60000 when 0"},                                       \
	{.name = "timeout_ms", .type = FIELD_INT, AT(timeout_ms), SEEN(has_timeout), .min = 1, .max = 2592000000, .doc = "for a device's answer; 60000 when absent"}, \
	{.name = "contexts", .type = FIELD_OBJECT, AT(contexts), SEEN(has_contexts), .fields = contexts_fields,                                         \
	 .doc = "where failures are excused as long as others fail there, too; a member that is absent excuses nothing; when absent: 60, 0.2, -85"},  \
	{.name = "severity", .type = FIELD_ENUM, AT(severity), SEEN(has_severity), .choices = "info warning critical", .doc = "of the alert; warning when absent"}
static const struct field check_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the check"},
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 48, .flags = FIELD_REQUIRED, .doc = "its alerts are health.<name>"},
	{.name = "kind", .type = FIELD_ENUM, AT(kind), .choices = "limit model_hash inference storage memory connectivity custom", .flags = FIELD_REQUIRED,
	 .doc = "limit: on a metric of reports; the others are carried out by devices"},
	{.name = "hardware", .type = FIELD_STR, AT(hardware), .max = 64, .doc = "only this class"},
	{.name = "model", .type = FIELD_STR, AT(model), .max = 64, .doc = "only devices that run this model"},
	{.name = "filter", .type = FIELD_STR, AT(filter), .max = 1024, .doc = "only these devices, RSQL"},
	{.name = "metric", .type = FIELD_STR, AT(metric), .max = 48, .doc = "of a limit"},
	CHANGEABLE,
	{.name = "next_at", .type = FIELD_INT, AT(next_at), .flags = FIELD_READONLY | FIELD_OMIT_ZERO, .doc = "when the schedule runs next"},
	{.name = "revision", .type = FIELD_INT, AT(revision), .flags = FIELD_READONLY, .doc = "grows with each change; the ETag"},
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .flags = FIELD_READONLY, .doc = "when it was changed last"},
	{.name = NULL},
};
static const struct field check_changes[] = {CHANGEABLE, {.name = NULL}};
#undef AT
#undef SEEN

static void encode_check(struct api_request *rq, const struct health_spec *s)
{
	struct buf *out = &rq->out;
	bool is_scheduled = strcmp(s->kind, HEALTH_LIMIT) != 0 && s->every_ms > 0;
	json_open_object(out);
	json_int(out, "id", s->id);
	json_str(out, "name", s->name);
	json_str(out, "kind", s->kind);
	json_str(out, "hardware", s->hardware);
	json_str(out, "model", s->model);
	json_str(out, "filter", s->filter);
	if (s->metric[0] != '\0')
		json_str(out, "metric", s->metric);
	if (s->op[0] != '\0') {
		json_str(out, "operator", s->op);
		json_num(out, "threshold", s->threshold);
	}
	json_int(out, "window_ms", s->window_ms);
	json_int(out, "every_ms", s->every_ms);
	json_int(out, "timeout_ms", s->timeout_ms);
	json_key(out, "contexts");
	json_open_object(out);
	if (!isnan(s->hot_c))
		json_num(out, "temperature_c", s->hot_c);
	if (!isnan(s->battery_low))
		json_num(out, "battery", s->battery_low);
	if (!isnan(s->rssi_bad))
		json_num(out, "link_rssi_dbm", s->rssi_bad);
	json_close_object(out);
	json_str(out, "severity", s->severity);
	if (is_scheduled)
		json_int(out, "next_at", s->next_at);
	json_int(out, "revision", s->revision);
	json_int(out, "created_at", s->created_at);
	json_int(out, "updated_at", s->updated_at);
	json_close_object(out);
}

static void merge_check(struct health_spec *s, const struct check_body *b)
{
	s->op = b->has_op ? b->operator : s->op;
	s->threshold = b->has_threshold ? b->threshold : s->threshold;
	s->window_ms = b->has_window ? b->window_ms : s->window_ms;
	s->every_ms = b->has_every ? b->every_ms : s->every_ms;
	s->timeout_ms = b->has_timeout ? b->timeout_ms : s->timeout_ms;
	s->severity = b->has_severity ? b->severity : s->severity;
	if (!b->has_contexts)
		return;
	s->hot_c = b->contexts.has_hot ? b->contexts.hot_c : NAN;
	s->battery_low = b->contexts.has_battery ? b->contexts.battery_low : NAN;
	s->rssi_bad = b->contexts.has_rssi ? b->contexts.rssi_bad : NAN;
}

static enum err reply_check(struct api_request *rq, int64_t id)
{
	struct health_spec s;
	enum err e = health_show(&rq->call, id, &s);
	if (e != ERR_OK)
		return e;
	encode_check(rq, &s);
	rq->etag_revision = s.revision;
	return ERR_OK;
}

static enum err create_check(struct api_request *rq)
{
	const struct check_body *b = rq->body;
	struct health_spec s = {.name = b->name, .kind = b->kind, .hardware = b->hardware != NULL ? b->hardware : "", .model = b->model != NULL ? b->model : "",
	                        .filter = b->filter != NULL ? b->filter : "", .metric = b->metric != NULL ? b->metric : "", .op = "", .severity = "warning",
	                        .hot_c = 60, .battery_low = 0.2, .rssi_bad = -85, .timeout_ms = COMMAND_TIMEOUT_MS};
	int64_t id;
	merge_check(&s, b);
	enum err e = health_create(&rq->call, &s, &id);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/health/checks/%lld", (long long)id);
	return reply_check(rq, id);
}

static enum err show_check(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? reply_check(rq, id) : e;
}

static enum err update_check(struct api_request *rq)
{
	int64_t id;
	struct health_spec s;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = health_show(&rq->call, id, &s);
	if (e == ERR_OK)
		e = api_if_match(rq, s.revision);
	if (e != ERR_OK)
		return e;
	merge_check(&s, rq->body);
	e = health_update(&rq->call, &s);
	return e == ERR_OK ? reply_check(rq, id) : e;
}

static enum err delete_check(struct api_request *rq)
{
	int64_t id;
	struct health_spec s;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = health_show(&rq->call, id, &s);
	if (e == ERR_OK)
		e = api_if_match(rq, s.revision);
	return e == ERR_OK ? health_delete(&rq->call, id) : e;
}

static enum err list_checks(struct api_request *rq)
{
	struct health_spec *items;
	size_t count;
	enum err e = health_list(&rq->call, &items, &count);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		encode_check(rq, &items[i]);
	api_list_close(rq, NULL, -1);
	return ERR_OK;
}

struct run_body {
	bool none;
	const char *device, *group, *filter;
};
#define AT(member) .offset = offsetof(struct run_body, member)
static const struct field run_fields[] = {
	{.name = "device", .type = FIELD_STR, AT(device), .min = 1, .max = 64, .doc = "only this one"},
	{.name = "group", .type = FIELD_STR, AT(group), .min = 1, .max = 64, .doc = "only this group"},
	{.name = "filter", .type = FIELD_STR, AT(filter), .max = 1024, .doc = "only these"},
	{.name = NULL},
};
#undef AT

static enum err run_check(struct api_request *rq)
{
	const struct run_body *b = rq->body;
	int64_t id, command;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = health_run(&rq->call, id, b->device, b->group, b->filter, &command);
	return e == ERR_OK ? answer_command(rq, command) : e;
}

/* ---- results ---- */

static const struct field matrix_fields[] = {
	{.name = "check", .type = FIELD_STR, .doc = "name of the check"},
	{.name = "hardware", .type = FIELD_STR, .doc = "with model and version: the cohort"},
	{.name = "model", .type = FIELD_STR, .doc = "as the devices' telemetry names it"},
	{.name = "version", .type = FIELD_STR, .doc = "likewise"},
	{.name = "cell", .type = FIELD_STR, .doc = "context: normal, hot, low_battery, bad_link, or some joined by +"},
	{.name = "devices", .type = FIELD_INT, .doc = "that have results here"},
	{.name = "pass", .type = FIELD_INT, .doc = "results"},
	{.name = "fail", .type = FIELD_INT, .doc = "results"},
	{.name = "rate", .type = FIELD_NUM, .doc = "of failures"},
	{.name = "cohort_rate", .type = FIELD_NUM, .doc = "what is expected of a device here"},
	{.name = "failing", .type = FIELD_INT, .doc = "devices whose newest result is a failure here"},
	{.name = "suspicious", .type = FIELD_INT, .doc = "devices that fail more often here than the cohort explains"},
	{.name = "firing", .type = FIELD_INT, .doc = "devices with an alert whose newest result is here"},
	{.name = NULL},
};
static const struct field cell_fields[] = {
	{.name = "cell", .type = FIELD_STR, .doc = "context"},
	{.name = "pass", .type = FIELD_INT, .doc = "results"},
	{.name = "fail", .type = FIELD_INT, .doc = "results"},
	{.name = "rate", .type = FIELD_NUM, .doc = "of failures"},
	{.name = "cohort_rate", .type = FIELD_NUM, .doc = "of the other devices of its cohort here"},
	{.name = "p", .type = FIELD_NUM, .doc = "that one of them fails as often, beta-binomial"},
	{.name = "suspicious", .type = FIELD_BOOL, .doc = "rate above the cohort's, and p at most 0.001"},
	{.name = NULL},
};
static const struct field result_fields[] = {
	{.name = "check", .type = FIELD_STR, .doc = "name of the check"},
	{.name = "kind", .type = FIELD_STR, .doc = "of the check"},
	{.name = "pass", .type = FIELD_BOOL, .doc = "the newest result"},
	{.name = "cell", .type = FIELD_STR, .doc = "its context"},
	{.name = "tagged", .type = FIELD_BOOL, .doc = "a failure that the context excuses: it does not page"},
	{.name = "suspicious", .type = FIELD_BOOL, .doc = "in some context it fails more often than its cohort"},
	{.name = "firing", .type = FIELD_BOOL, .doc = "its alert fires"},
	{.name = "at", .type = FIELD_INT, .doc = "when the result came"},
	{.name = "value", .type = FIELD_NUM, .doc = "what was measured; absent: nothing"},
	{.name = "detail", .type = FIELD_STR, .doc = "in words; absent: none"},
	{.name = "cells", .type = FIELD_OBJECTS, .fields = cell_fields, .doc = "by context"},
	{.name = NULL},
};

static enum err show_matrix(struct api_request *rq)
{
	const char *text = api_query(rq, "cell");
	int cell = -1;
	bool is_cut;
	for (unsigned i = 0; text != NULL && i < HEALTH_CELLS; i++) {
		if (strcmp(text, health_cell_name(i)) == 0)
			cell = (int)i;
	}
	if (text != NULL && cell < 0)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter cell: %.64s is no context", text);
	api_list_open(rq);
	enum err e = health_matrix(&rq->call, api_query(rq, "check"), api_query(rq, "hardware"), cell, &rq->out, &is_cut);
	if (e == ERR_OK && is_cut)
		return fault_set(rq->call.fault, ERR_TOO_LARGE, "", "more than 1000 rows: name a check, a hardware class or a cell");
	api_list_close(rq, NULL, -1);
	return e;
}

static enum err show_results(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_device(rq, &d);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = health_of_device(&rq->call, d, &rq->out);
	api_list_close(rq, NULL, -1);
	return e;
}

#define PAGE_ROWS {"limit", "1 to 1000, 100 when absent"}, {"cursor", "of the page before"}, {NULL, NULL}
static const struct route_query page_query[] = {PAGE_ROWS};
static const struct route_query errand_query[] = {{"state", "queued, sent, answered, failed or expired"}, PAGE_ROWS};
static const struct route_query matrix_query[] = {
	{"check", "name of a check"}, {"hardware", "a hardware class"}, {"cell", "a context: normal, hot, hot+bad_link, ..."}, {NULL, NULL}};

extern const struct route routes_health[];
const struct route routes_health[] = {
	{.method = "GET", .path = "/api/v1/commands", .role = ROLE_VIEWER, .summary = "lists commands to devices, newest first", .tag = "health",
	 .reply = command_fields, .reply_is_list = true, .query = page_query, .handle = list_commands},
	{.method = "POST", .path = "/api/v1/commands", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "asks a device, a group or a filter's devices to do something at once", .tag = "health", .body = command_fields,
	 .body_bytes = sizeof(struct command_body), .reply = command_fields, .handle = create_command},
	{.method = "GET", .path = "/api/v1/commands/{id}", .role = ROLE_VIEWER, .summary = "shows a command", .tag = "health", .reply = command_fields,
	 .handle = show_command},
	{.method = "POST", .path = "/api/v1/commands/{id}/cancel", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE,
	 .summary = "tells no more devices; what is open fails", .tag = "health", .reply = command_fields, .handle = cancel_command},
	{.method = "GET", .path = "/api/v1/commands/{id}/devices", .role = ROLE_VIEWER, .summary = "lists what the devices of a command did", .tag = "health",
	 .reply = errand_fields, .reply_is_list = true, .query = errand_query, .handle = list_devices},
	{.method = "GET", .path = "/api/v1/devices/{device}/commands", .role = ROLE_VIEWER, .summary = "lists a device's commands, newest first",
	 .tag = "health", .reply = errand_fields, .reply_is_list = true, .query = page_query, .handle = list_of_device},
	{.method = "GET", .path = "/api/v1/health/checks", .role = ROLE_VIEWER, .summary = "lists health checks", .tag = "health", .reply = check_fields,
	 .reply_is_list = true, .handle = list_checks},
	{.method = "POST", .path = "/api/v1/health/checks", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "declares a health check", .tag = "health", .body = check_fields, .body_bytes = sizeof(struct check_body), .reply = check_fields,
	 .handle = create_check},
	{.method = "GET", .path = "/api/v1/health/checks/{id}", .role = ROLE_VIEWER, .summary = "shows a health check", .tag = "health",
	 .reply = check_fields, .handle = show_check},
	{.method = "PATCH", .path = "/api/v1/health/checks/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH,
	 .summary = "changes limits, contexts or schedule", .tag = "health", .body = check_changes, .body_bytes = sizeof(struct check_body),
	 .reply = check_fields, .handle = update_check},
	{.method = "DELETE", .path = "/api/v1/health/checks/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "deletes a health check and what it found, and resolves its alerts", .tag = "health", .handle = delete_check},
	{.method = "POST", .path = "/api/v1/health/checks/{id}/run", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "runs a health check now: the command that does it", .tag = "health", .body = run_fields, .body_bytes = sizeof(struct run_body),
	 .reply = command_fields, .handle = run_check},
	{.method = "GET", .path = "/api/v1/health/matrix", .role = ROLE_VIEWER, .summary = "shows results by check, cohort and context", .tag = "health",
	 .reply = matrix_fields, .reply_is_list = true, .query = matrix_query, .handle = show_matrix},
	{.method = "GET", .path = "/api/v1/devices/{device}/health", .role = ROLE_VIEWER, .summary = "shows a device's newest results", .tag = "health",
	 .reply = result_fields, .reply_is_list = true, .handle = show_results},
	{.method = NULL},
};
