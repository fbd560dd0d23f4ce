/* /api/v1/alerts and /api/v1/alert-rules */
#include <stddef.h>
#include <string.h>

#include "api/route.h"
#include "service/alerts.h"

/* ---- alerts ---- */

struct alert_body {
	bool none;
	int64_t id, rule, fired_at, resolved_at, acknowledged_at;
	const char *kind, *resource, *severity, *status, *summary, *data, *acknowledged_by;
};
#define AT(member) .offset = offsetof(struct alert_body, member)
static const struct field alert_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .doc = "number of the alert"},
	{.name = "kind", .type = FIELD_STR, AT(kind), .doc = "device.silent, install.failed, gate.verdict, metric.threshold, ..."},
	{.name = "resource", .type = FIELD_STR, AT(resource), .doc = "what it is about: devices/dev-1, rollouts/7"},
	{.name = "severity", .type = FIELD_ENUM, AT(severity), .choices = "info warning critical", .doc = "how bad it is"},
	{.name = "status", .type = FIELD_ENUM, AT(status), .choices = "firing resolved", .doc = "firing until the condition ends"},
	{.name = "summary", .type = FIELD_STR, AT(summary), .doc = "one sentence"},
	{.name = "data", .type = FIELD_DOC, AT(data), .doc = "figures, by kind"},
	{.name = "rule", .type = FIELD_INT, AT(rule), .flags = FIELD_OMIT_ZERO, .doc = "the rule that raised it"},
	{.name = "fired_at", .type = FIELD_INT, AT(fired_at), .doc = "when it began"},
	{.name = "resolved_at", .type = FIELD_INT, AT(resolved_at), .flags = FIELD_OMIT_ZERO, .doc = "when it ended"},
	{.name = "acknowledged_at", .type = FIELD_INT, AT(acknowledged_at), .flags = FIELD_OMIT_ZERO, .doc = "when somebody took it on"},
	{.name = "acknowledged_by", .type = FIELD_STR, AT(acknowledged_by), .doc = "who did"},
	{.name = NULL},
};
#undef AT

static enum err check_choice(struct api_request *rq, const char *name, const char *const *choices, const char **out)
{
	*out = api_query(rq, name);
	for (size_t i = 0; *out != NULL && choices[i] != NULL; i++) {
		if (strcmp(*out, choices[i]) == 0)
			return ERR_OK;
	}
	return *out == NULL ? ERR_OK : fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter %s: %.64s is not known", name, *out);
}

static enum err list_alerts(struct api_request *rq)
{
	static const char *const statuses[] = {"firing", "resolved", NULL}, *const severities[] = {"info", "warning", "critical", NULL};
	struct alert_filter q = {.kind = api_query(rq, "kind"), .resource = api_query(rq, "resource")};
	int64_t next = 0;
	enum err e = check_choice(rq, "status", statuses, &q.status);
	if (e == ERR_OK)
		e = check_choice(rq, "severity", severities, &q.severity);
	if (e == ERR_OK)
		e = api_query_page(rq, &q.limit, &q.after);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = alerts_list(&rq->call, &q, &rq->out, &next);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return e;
}

static enum err show_alert(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? alerts_show(&rq->call, id, &rq->out) : e;
}

static enum err acknowledge_alert(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? alerts_acknowledge(&rq->call, id, &rq->out) : e;
}

/* ---- rules ---- */

struct rule_body {
	bool none;
	bool has_operator, has_threshold, has_for, has_severity, has_filter;
	int64_t id, for_ms, revision, created_at, updated_at;
	double threshold;
	const char *name, *metric, *operator, *filter, *severity;
};
#define AT(member) .offset = offsetof(struct rule_body, member)
#define SEEN(member) .present_offset = offsetof(struct rule_body, member)
#define RULE_FIELDS(required)                                                                                                              \
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the rule"},                                        \
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = required, .doc = "for people; no two rules share one"},     \
	{.name = "metric", .type = FIELD_STR, AT(metric), .min = 1, .max = 48, .flags = required,                                              \
	 .doc = "compared report by report: a number, a mean, a share, or the 95th percentile of a sketch"},                                   \
	{.name = "operator", .type = FIELD_ENUM, AT(operator), SEEN(has_operator), .choices = "gt lt", .doc = "gt (when absent): above is bad; lt: below"}, \
	{.name = "threshold", .type = FIELD_NUM, AT(threshold), SEEN(has_threshold), .min = -1e12, .max = 1e12, .flags = required,              \
	 .doc = "in the metric's unit"},                                                                                                       \
	{.name = "for_ms", .type = FIELD_INT, AT(for_ms), SEEN(has_for), .max = 2592000000, .doc = "how long it must hold before the alert fires; 0 when absent"}, \
	{.name = "filter", .type = FIELD_STR, AT(filter), SEEN(has_filter), .max = 2048, .doc = "RSQL over devices; empty: all"},              \
	{.name = "severity", .type = FIELD_ENUM, AT(severity), SEEN(has_severity), .choices = "info warning critical", .doc = "warning when absent"}, \
	{.name = "revision", .type = FIELD_INT, AT(revision), .flags = FIELD_READONLY, .doc = "grows with each change; the ETag"},             \
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},                         \
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .flags = FIELD_READONLY, .doc = "when it was changed last"},                 \
	{.name = NULL}
static const struct field rule_fields[] = {RULE_FIELDS(FIELD_REQUIRED)};
static const struct field rule_changes[] = {RULE_FIELDS(0)};

static void encode_rule(struct api_request *rq, const struct alert_rule *r)
{
	struct rule_body b = {.id = r->id, .for_ms = r->for_ms, .revision = r->revision, .created_at = r->created_at, .updated_at = r->updated_at,
	                      .threshold = r->threshold, .name = r->name, .metric = r->metric, .operator = r->op, .filter = r->filter, .severity = r->severity};
	json_encode(rule_fields, &b, &rq->out);
}

static void merge_rule(struct alert_rule *r, const struct rule_body *b)
{
	r->name = b->name != NULL ? b->name : r->name;
	r->metric = b->metric != NULL ? b->metric : r->metric;
	r->op = b->has_operator ? b->operator : r->op;
	r->threshold = b->has_threshold ? b->threshold : r->threshold;
	r->for_ms = b->has_for ? b->for_ms : r->for_ms;
	r->filter = b->has_filter ? b->filter : r->filter;
	r->severity = b->has_severity ? b->severity : r->severity;
}

static enum err answer_rule(struct api_request *rq, int64_t id)
{
	struct alert_rule r;
	enum err e = alert_rule_show(&rq->call, id, &r);
	if (e != ERR_OK)
		return e;
	encode_rule(rq, &r);
	rq->etag_revision = r.revision;
	return ERR_OK;
}

static enum err create_rule(struct api_request *rq)
{
	struct alert_rule r = {.op = "gt", .filter = "", .severity = "warning"};
	int64_t id;
	merge_rule(&r, rq->body);
	enum err e = alert_rule_create(&rq->call, &r, &id);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/alert-rules/%lld", (long long)id);
	return answer_rule(rq, id);
}

static enum err show_rule(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? answer_rule(rq, id) : e;
}

static enum err update_rule(struct api_request *rq)
{
	int64_t id;
	struct alert_rule r;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = alert_rule_show(&rq->call, id, &r);
	if (e == ERR_OK)
		e = api_if_match(rq, r.revision);
	if (e != ERR_OK)
		return e;
	merge_rule(&r, rq->body);
	e = alert_rule_update(&rq->call, &r);
	return e == ERR_OK ? answer_rule(rq, id) : e;
}

static enum err delete_rule(struct api_request *rq)
{
	int64_t id;
	struct alert_rule r;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = alert_rule_show(&rq->call, id, &r);
	if (e == ERR_OK)
		e = api_if_match(rq, r.revision);
	return e == ERR_OK ? alert_rule_delete(&rq->call, id) : e;
}

static enum err list_rules(struct api_request *rq)
{
	int64_t limit, after;
	struct alert_rule *rules;
	size_t count;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = alert_rules_list(&rq->call, after, limit + 1, &rules, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		encode_rule(rq, &rules[i]);
	api_list_close(rq, more ? api_cursor_of(rq, rules[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static const struct route_query alert_query[] = {
	{"status", "firing or resolved"},
	{"kind", "exactly this kind"},
	{"severity", "info, warning or critical"},
	{"resource", "exactly this resource: devices/dev-1"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};
static const struct route_query page_query[] = {
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};

extern const struct route routes_alerts[];
const struct route routes_alerts[] = {
	{.method = "GET", .path = "/api/v1/alerts", .role = ROLE_VIEWER, .summary = "lists alerts, newest first", .tag = "alerts", .reply = alert_fields,
	 .reply_is_list = true, .query = alert_query, .handle = list_alerts},
	{.method = "GET", .path = "/api/v1/alerts/{id}", .role = ROLE_VIEWER, .summary = "shows an alert", .tag = "alerts", .reply = alert_fields,
	 .handle = show_alert},
	{.method = "POST", .path = "/api/v1/alerts/{id}/acknowledge", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE,
	 .summary = "says that somebody takes care of it", .tag = "alerts", .reply = alert_fields, .handle = acknowledge_alert},
	{.method = "GET", .path = "/api/v1/alert-rules", .role = ROLE_VIEWER, .summary = "lists rules", .tag = "alerts", .reply = rule_fields,
	 .reply_is_list = true, .query = page_query, .handle = list_rules},
	{.method = "POST", .path = "/api/v1/alert-rules", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "makes a rule: an alert for each device whose metric passes a threshold", .tag = "alerts", .body = rule_fields,
	 .body_bytes = sizeof(struct rule_body), .reply = rule_fields, .handle = create_rule},
	{.method = "GET", .path = "/api/v1/alert-rules/{id}", .role = ROLE_VIEWER, .summary = "shows a rule", .tag = "alerts", .reply = rule_fields,
	 .handle = show_rule},
	{.method = "PATCH", .path = "/api/v1/alert-rules/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH,
	 .summary = "changes a rule; its alerts are resolved and raised anew", .tag = "alerts", .body = rule_changes,
	 .body_bytes = sizeof(struct rule_body), .reply = rule_fields, .handle = update_rule},
	{.method = "DELETE", .path = "/api/v1/alert-rules/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "deletes a rule and resolves its alerts", .tag = "alerts", .handle = delete_rule},
	{.method = NULL},
};
