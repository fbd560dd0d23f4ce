/* /api/v1/alerts, /api/v1/alert-rules and /api/v1/silences */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "base/json.h"
#include "net/jobs.h"
#include "service/alerts.h"

/* ---- alerts ---- */

struct alert_body {
	bool none, suppressed, stale;
	int64_t id, rule, fired_at, resolved_at, acknowledged_at, pending_at, seq, flaps, silenced_by, inhibited_by;
	double value, expected, score;
	const char *kind, *resource, *severity, *status, *summary, *description, *data, *acknowledged_by, *cohort, *metric, *labels, *group, *resolved_by;
};
#define AT(member) .offset = offsetof(struct alert_body, member)
static const struct field alert_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .doc = "number of the alert"},
	{.name = "kind", .type = FIELD_STR, AT(kind), .doc = "device.silent, install.failed, gate.verdict, metric.threshold, model_corrupt, ..."},
	{.name = "resource", .type = FIELD_STR, AT(resource), .doc = "what it is about: devices/dev-1, cohorts/esp32s3/kws-1.4.2, rollouts/7"},
	{.name = "severity", .type = FIELD_ENUM, AT(severity), .choices = "info warning critical", .doc = "how bad it is"},
	{.name = "status", .type = FIELD_ENUM, AT(status), .choices = "pending firing resolved", .doc = "pending until it has lasted, firing until the condition ends"},
	{.name = "summary", .type = FIELD_STR, AT(summary), .doc = "one sentence"},
	{.name = "description", .type = FIELD_STR, AT(description), .doc = "more words, of a rule that has some"},
	{.name = "data", .type = FIELD_DOC, AT(data), .doc = "figures, by kind"},
	{.name = "rule", .type = FIELD_INT, AT(rule), .flags = FIELD_OMIT_ZERO, .doc = "the rule that raised it"},
	{.name = "cohort", .type = FIELD_STR, AT(cohort), .doc = "of the device when it began: hardware/release"},
	{.name = "metric", .type = FIELD_STR, AT(metric), .doc = "which one, where it is about one"},
	{.name = "value", .type = FIELD_NUM, AT(value), .flags = FIELD_OMIT_ZERO, .doc = "what was seen"},
	{.name = "expected", .type = FIELD_NUM, AT(expected), .flags = FIELD_OMIT_ZERO, .doc = "what was expected, or the threshold"},
	{.name = "score", .type = FIELD_NUM, AT(score), .flags = FIELD_OMIT_ZERO, .doc = "how far out it is"},
	{.name = "labels", .type = FIELD_DOC, AT(labels), .doc = "of the rule"},
	{.name = "group", .type = FIELD_STR, AT(group), .doc = "alerts with the same one are told of together"},
	{.name = "seq", .type = FIELD_INT, AT(seq), .doc = "transitions so far"},
	{.name = "flaps", .type = FIELD_INT, AT(flaps), .doc = "how often it fired while it was remembered"},
	{.name = "suppressed", .type = FIELD_BOOL, AT(suppressed), .doc = "it flaps too much to tell anybody"},
	{.name = "stale", .type = FIELD_BOOL, AT(stale), .doc = "its data is missing"},
	{.name = "silenced_by", .type = FIELD_INT, AT(silenced_by), .flags = FIELD_OMIT_ZERO, .doc = "the silence that matches now"},
	{.name = "inhibited_by", .type = FIELD_INT, AT(inhibited_by), .flags = FIELD_OMIT_ZERO, .doc = "the alert of the whole cohort that says it already"},
	{.name = "pending_at", .type = FIELD_INT, AT(pending_at), .flags = FIELD_OMIT_ZERO, .doc = "when it began to wait"},
	{.name = "fired_at", .type = FIELD_INT, AT(fired_at), .flags = FIELD_OMIT_ZERO, .doc = "when it fired"},
	{.name = "resolved_at", .type = FIELD_INT, AT(resolved_at), .flags = FIELD_OMIT_ZERO, .doc = "when it ended"},
	{.name = "resolved_by", .type = FIELD_ENUM, AT(resolved_by), .choices = "cleared no_data ended", .doc = "the condition, the time-out of its data, or somebody"},
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

static enum err query_only(struct api_request *rq, const char *name, enum alert_only *out)
{
	bool value = false;
	enum err e = api_query_bool(rq, name, &value);
	*out = api_query(rq, name) == NULL ? ALERT_ANY : value ? ALERT_YES : ALERT_NO;
	return e;
}

static enum err list_alerts(struct api_request *rq)
{
	static const char *const statuses[] = {"pending", "firing", "resolved", NULL}, *const severities[] = {"info", "warning", "critical", NULL};
	struct alert_filter q = {.kind = api_query(rq, "kind"), .resource = api_query(rq, "resource"), .cohort = api_query(rq, "cohort"),
	                         .metric = api_query(rq, "metric")};
	int64_t next = 0;
	enum err e = check_choice(rq, "status", statuses, &q.status);
	if (e == ERR_OK)
		e = check_choice(rq, "severity", severities, &q.severity);
	if (e == ERR_OK)
		e = query_only(rq, "silenced", &q.silenced);
	if (e == ERR_OK)
		e = query_only(rq, "inhibited", &q.inhibited);
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
	bool has_operator, has_threshold, has_for, has_severity, has_filter, has_clear, has_keep, has_stale, has_over, has_of, has_damped, has_hold;
	bool damped, hold;
	int64_t id, for_ms, keep_ms, stale_ms, over, of, revision, created_at, updated_at;
	double threshold, clear;
	const char *name, *metric, *operator, *filter, *severity, *kind, *subject, *labels, *annotations, *summary, *description;
};
#define AT(member) .offset = offsetof(struct rule_body, member)
#define SEEN(member) .present_offset = offsetof(struct rule_body, member)
#define RULE_FIELDS(required)                                                                                                              \
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the rule"},                                        \
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = required, .doc = "for people; no two rules share one"},     \
	{.name = "kind", .type = FIELD_ENUM, AT(kind), .choices = "threshold rate absence anomaly signature health gate",                      \
	 .doc = "threshold (when absent): of a value; rate: of its change a minute; absence: of reports with it; anomaly: of its score; the others take over alerts of that kind"}, \
	{.name = "metric", .type = FIELD_STR, AT(metric), .max = 48,                                                                           \
	 .doc = "compared report by report: a number, a mean, a share, or the 95th percentile of a sketch"},                                   \
	{.name = "subject", .type = FIELD_STR, AT(subject), .max = 128,                                                                        \
	 .doc = "of signature, health and gate: which cause, check or rollout (rollouts/7); * stands for any characters"},                     \
	{.name = "operator", .type = FIELD_ENUM, AT(operator), SEEN(has_operator), .choices = "gt lt", .doc = "gt (when absent): above is bad; lt: below"}, \
	{.name = "threshold", .type = FIELD_NUM, AT(threshold), SEEN(has_threshold), .min = -1e12, .max = 1e12,                                \
	 .doc = "in the metric's unit; of threshold, rate and anomaly"},                                                                       \
	{.name = "clear", .type = FIELD_NUM, AT(clear), SEEN(has_clear), .min = -1e12, .max = 1e12, .flags = FIELD_NULLABLE,                   \
	 .doc = "it is over only on the good side of this one; when absent the threshold, of anomalies 0.6 of it"},                            \
	{.name = "for_ms", .type = FIELD_INT, AT(for_ms), SEEN(has_for), .max = 2592000000, .doc = "how long it must hold before the alert fires; 0 when absent"}, \
	{.name = "keep_firing_for_ms", .type = FIELD_INT, AT(keep_ms), SEEN(has_keep), .max = 2592000000, .doc = "how long it must be over before it is resolved"}, \
	{.name = "stale_ms", .type = FIELD_INT, AT(stale_ms), SEEN(has_stale), .max = 2592000000, .doc = "without data for so long it is resolved; 0: never"}, \
	{.name = "samples_over", .type = FIELD_INT, AT(over), SEEN(has_over), .max = 16, .doc = "instead of for_ms: so many ..."},              \
	{.name = "samples_of", .type = FIELD_INT, AT(of), SEEN(has_of), .max = 16, .doc = "... of the last so many reports"},                   \
	{.name = "damped", .type = FIELD_BOOL, AT(damped), SEEN(has_damped), .doc = "keep_firing_for_ms grows each time it fires again soon"},  \
	{.name = "filter", .type = FIELD_STR, AT(filter), SEEN(has_filter), .max = 2048, .doc = "RSQL over devices; empty: all"},              \
	{.name = "severity", .type = FIELD_ENUM, AT(severity), SEEN(has_severity), .choices = "info warning critical", .doc = "warning when absent"}, \
	{.name = "hold", .type = FIELD_BOOL, AT(hold), SEEN(has_hold), .doc = "an alert of it on a canary holds the stage"},                    \
	{.name = "labels", .type = FIELD_DOC, AT(labels), .max = 2048, .doc = "texts by name; silences and receivers match them"},             \
	{.name = "annotations", .type = FIELD_DOC, AT(annotations), .max = 2048, .doc = "texts by name for those who are told: a runbook"},     \
	{.name = "summary", .type = FIELD_STR, AT(summary), .max = 512,                                                                        \
	 .doc = "template of the summary: {{device}} shows {{value}}; variables in docs/alerts.md; empty: the kind's own words"},               \
	{.name = "description", .type = FIELD_STR, AT(description), .max = 2048,                                                               \
	 .doc = "template of the description, for those who are told"},                                                                        \
	{.name = "revision", .type = FIELD_INT, AT(revision), .flags = FIELD_READONLY, .doc = "grows with each change; the ETag"},             \
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},                         \
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .flags = FIELD_READONLY, .doc = "when it was changed last"},                 \
	{.name = NULL}
static const struct field rule_fields[] = {RULE_FIELDS(FIELD_REQUIRED)};
static const struct field rule_changes[] = {RULE_FIELDS(0)};
#undef AT
#undef SEEN

static void encode_rule(struct api_request *rq, const struct alert_rule *r)
{
	struct rule_body b = {.id = r->id, .for_ms = r->for_ms, .revision = r->revision, .created_at = r->created_at, .updated_at = r->updated_at,
	                      .threshold = r->threshold, .name = r->name, .metric = r->metric, .operator = r->op, .filter = r->filter, .severity = r->severity,
	                      .kind = r->kind, .subject = r->subject, .clear = r->clear, .keep_ms = r->keep_ms, .stale_ms = r->stale_ms,
	                      .over = r->samples_over, .of = r->samples_of, .damped = r->is_damped, .hold = r->holds, .labels = r->labels,
	                      .annotations = r->annotations, .summary = r->summary, .description = r->description};
	json_encode(rule_fields, &b, &rq->out);
}

static void merge_rule(struct alert_rule *r, const struct rule_body *b)
{
	r->name = b->name != NULL ? b->name : r->name;
	r->kind = b->kind != NULL ? b->kind : r->kind;
	r->metric = b->metric != NULL ? b->metric : r->metric;
	r->subject = b->subject != NULL ? b->subject : r->subject;
	r->op = b->has_operator ? b->operator : r->op;
	r->threshold = b->has_threshold ? b->threshold : r->threshold;
	r->clear = b->has_clear ? b->clear : r->clear;
	r->for_ms = b->has_for ? b->for_ms : r->for_ms;
	r->keep_ms = b->has_keep ? b->keep_ms : r->keep_ms;
	r->stale_ms = b->has_stale ? b->stale_ms : r->stale_ms;
	r->samples_over = b->has_over ? b->over : r->samples_over;
	r->samples_of = b->has_of ? b->of : r->samples_of;
	r->is_damped = b->has_damped ? b->damped : r->is_damped;
	r->holds = b->has_hold ? b->hold : r->holds;
	r->filter = b->has_filter ? b->filter : r->filter;
	r->severity = b->has_severity ? b->severity : r->severity;
	r->labels = b->labels != NULL ? b->labels : r->labels;
	r->annotations = b->annotations != NULL ? b->annotations : r->annotations;
	r->summary = b->summary != NULL ? b->summary : r->summary;
	r->description = b->description != NULL ? b->description : r->description;
}

static const char *kind_of(const struct rule_body *b)
{
	return b->kind != NULL ? b->kind : "threshold";
}

/* What each kind cannot do without. */
static enum err check_new(struct api_request *rq, const struct rule_body *b, const char *prefix)
{
	bool of_metric = strcmp(kind_of(b), "threshold") == 0 || strcmp(kind_of(b), "rate") == 0;
	if (b->metric == NULL && (of_metric || strcmp(kind_of(b), "absence") == 0))
		return fault_set(rq->call.fault, ERR_INVALID, arena_printf(rq->call.arena, "%s/metric", prefix), "a metric is wanted");
	if (!b->has_threshold && (of_metric || strcmp(kind_of(b), "anomaly") == 0))
		return fault_set(rq->call.fault, ERR_INVALID, arena_printf(rq->call.arena, "%s/threshold", prefix), "a threshold is wanted");
	return ERR_OK;
}

static const struct alert_rule blank_rule = {.op = "gt", .filter = "", .severity = "warning", .kind = "threshold", .clear = NAN, .metric = "",
	.subject = "", .labels = "{}", .annotations = "{}", .summary = "", .description = ""};

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
	struct alert_rule r = blank_rule;
	int64_t id;
	enum err e = check_new(rq, rq->body, "");
	if (e != ERR_OK)
		return e;
	merge_rule(&r, rq->body);
	e = alert_rule_create(&rq->call, &r, &id);
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

/* ---- a rule against history ---- */

struct test_body {
	bool none;
	struct rule_body rule;
	int64_t from, to;
};
static const struct field test_fields[] = {
	{.name = "rule", .type = FIELD_OBJECT, .offset = offsetof(struct test_body, rule), .fields = rule_fields, .flags = FIELD_REQUIRED,
	 .doc = "as it would be made"},
	{.name = "from", .type = FIELD_INT, .offset = offsetof(struct test_body, from), .flags = FIELD_REQUIRED, .max = 9e15, .doc = "beginning, ms since 1970"},
	{.name = "to", .type = FIELD_INT, .offset = offsetof(struct test_body, to), .flags = FIELD_REQUIRED, .max = 9e15, .doc = "end; 31 days later at most"},
	{.name = NULL},
};
struct would_body {
	bool none;
	const char *device, *resource, *kind;
	int64_t fired_at, resolved_at;
	double value;
};
static const struct field would_fields[] = {
	{.name = "device", .type = FIELD_STR, .offset = offsetof(struct would_body, device), .flags = FIELD_NULLABLE, .doc = "for which it would have fired"},
	{.name = "resource", .type = FIELD_STR, .offset = offsetof(struct would_body, resource), .doc = "of signature, health and gate: the device, rollout or cohort"},
	{.name = "kind", .type = FIELD_STR, .offset = offsetof(struct would_body, kind), .doc = "and the kind of the alert that it would have taken over"},
	{.name = "fired_at", .type = FIELD_INT, .offset = offsetof(struct would_body, fired_at), .doc = "when"},
	{.name = "resolved_at", .type = FIELD_INT, .offset = offsetof(struct would_body, resolved_at), .flags = FIELD_OMIT_ZERO, .doc = "absent: it would fire still"},
	{.name = "value", .type = FIELD_NUM, .offset = offsetof(struct would_body, value), .flags = FIELD_OMIT_ZERO, .doc = "what was compared then"},
	{.name = NULL},
};
struct result_body {
	bool none, complete;
	struct json_objects alerts;
	int64_t fired, devices_fired, devices_seen, samples, from, to, history_from;
};
#define AT(member) .offset = offsetof(struct result_body, member)
static const struct field result_fields[] = {
	{.name = "alerts", .type = FIELD_OBJECTS, AT(alerts), .fields = would_fields, .item_bytes = sizeof(struct would_body), .doc = "by device and time, 2000 at most"},
	{.name = "fired", .type = FIELD_INT, AT(fired), .doc = "how many those are"},
	{.name = "devices_fired", .type = FIELD_INT, AT(devices_fired), .doc = "of how many devices"},
	{.name = "devices_seen", .type = FIELD_INT, AT(devices_seen), .doc = "how many reported the metric, whether the filter matches them or not"},
	{.name = "samples", .type = FIELD_INT, AT(samples), .doc = "values that were compared; of signature, health and gate: conditions that were over"},
	{.name = "from", .type = FIELD_INT, AT(from), .doc = "beginning of what was looked at"},
	{.name = "to", .type = FIELD_INT, AT(to), .doc = "its end: not later than now"},
	{.name = "history_from", .type = FIELD_INT, AT(history_from), .doc = "from when on there is history; later than from: it does not reach back to it"},
	{.name = "complete", .type = FIELD_BOOL, AT(complete), .doc = "false: the deadline of 10 s or a limit cut it off"},
	{.name = NULL},
};
#undef AT

struct trial {
	struct api_request *rq;
	struct rule_test *test;
};

static void trial_work(void *ctx)
{
	rule_test_work(((struct trial *)ctx)->test);
}

static void trial_done(void *ctx)
{
	struct trial *t = ctx;
	struct api_request *rq = t->rq;
	json_open_object(&rq->out);
	enum err e = rule_test_result(&rq->call, t->test, &rq->out);
	json_close_object(&rq->out);
	rule_test_free(t->test);
	free(t);
	api_finish(rq, e);
}

static enum err test_rule(struct api_request *rq)
{
	const struct test_body *b = rq->body;
	struct alert_rule r = blank_rule;
	struct rule_test *test;
	enum err e = check_new(rq, &b->rule, "/rule");
	if (e != ERR_OK)
		return e;
	merge_rule(&r, &b->rule);
	e = rule_test_new(&rq->call, &r, b->from, b->to, &test);
	if (e != ERR_OK)
		return e;
	struct trial *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	*t = (struct trial){rq, test};
	e = jobs_submit(api_jobs(rq), trial_work, trial_done, t);
	if (e != ERR_OK) {
		rule_test_free(test);
		free(t);
		return fault_set(rq->call.fault, e, "", "too many queries at once: try again");
	}
	rq->deferred = true;
	return ERR_OK;
}

/* ---- silences ---- */

struct matcher_body {
	bool none, negate;
	const char *name, *value;
};
static const struct field matcher_fields[] = {
	{.name = "name", .type = FIELD_STR, .offset = offsetof(struct matcher_body, name), .min = 1, .max = 80, .flags = FIELD_REQUIRED,
	 .doc = "kind, resource, severity, cohort, metric, rule (its number), or label.<name>"},
	{.name = "value", .type = FIELD_STR, .offset = offsetof(struct matcher_body, value), .max = 256, .flags = FIELD_REQUIRED,
	 .doc = "equal to this; * stands for any characters"},
	{.name = "negate", .type = FIELD_BOOL, .offset = offsetof(struct matcher_body, negate), .doc = "not equal to it"},
	{.name = NULL},
};
struct silence_body {
	bool none;
	struct json_objects matchers;
	const char *author, *comment, *status;
	int64_t id, begins_at, expires_at, created_at;
};
#define AT(member) .offset = offsetof(struct silence_body, member)
static const struct field silence_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the silence"},
	{.name = "matchers", .type = FIELD_OBJECTS, AT(matchers), .fields = matcher_fields, .item_bytes = sizeof(struct matcher_body), .min = 1,
	 .max = SILENCE_MATCHERS, .flags = FIELD_REQUIRED, .doc = "an alert is silenced when all of them match"},
	{.name = "comment", .type = FIELD_STR, AT(comment), .max = 1024, .doc = "why"},
	{.name = "begins_at", .type = FIELD_INT, AT(begins_at), .max = 9e15, .doc = "now when absent"},
	{.name = "expires_at", .type = FIELD_INT, AT(expires_at), .max = 9e15, .flags = FIELD_REQUIRED, .doc = "a year from now at most"},
	{.name = "author", .type = FIELD_STR, AT(author), .flags = FIELD_READONLY, .doc = "who made it"},
	{.name = "status", .type = FIELD_ENUM, AT(status), .choices = "waiting active expired", .flags = FIELD_READONLY, .doc = "now"},
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},
	{.name = NULL},
};
#undef AT

static void encode_silence(struct api_request *rq, const struct silence *s)
{
	struct matcher_body *items = arena_array(rq->call.arena, s->matcher_count, sizeof *items);
	for (size_t i = 0; i < s->matcher_count; i++)
		items[i] = (struct matcher_body){.name = s->matchers[i].name, .value = s->matchers[i].value, .negate = s->matchers[i].negate};
	struct silence_body b = {.id = s->id, .matchers = {items, s->matcher_count}, .author = s->author, .comment = s->comment,
		.begins_at = s->begins_at, .expires_at = s->expires_at, .created_at = s->created_at,
		.status = rq->call.now_ms >= s->expires_at ? "expired" : rq->call.now_ms < s->begins_at ? "waiting" : "active"};
	json_encode(silence_fields, &b, &rq->out);
}

static enum err answer_silence(struct api_request *rq, int64_t id)
{
	struct silence s;
	enum err e = silence_show(&rq->call, id, &s);
	if (e == ERR_OK)
		encode_silence(rq, &s);
	return e;
}

static enum err create_silence(struct api_request *rq)
{
	const struct silence_body *b = rq->body;
	const struct matcher_body *items = b->matchers.items;
	struct silence_matcher *matchers = arena_array(rq->call.arena, b->matchers.count, sizeof *matchers);
	int64_t id;
	for (size_t i = 0; i < b->matchers.count; i++)
		matchers[i] = (struct silence_matcher){items[i].name, items[i].value, items[i].negate};
	struct silence s = {.begins_at = b->begins_at, .expires_at = b->expires_at, .comment = b->comment != NULL ? b->comment : "", .matchers = matchers,
		.matcher_count = b->matchers.count};
	enum err e = silence_create(&rq->call, &s, &id);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/silences/%lld", (long long)id);
	return answer_silence(rq, id);
}

static enum err show_silence(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? answer_silence(rq, id) : e;
}

static enum err expire_silence(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = silence_end(&rq->call, id);
	return e == ERR_OK ? answer_silence(rq, id) : e;
}

static enum err list_silences(struct api_request *rq)
{
	int64_t limit, after, next = 0;
	struct silence *items;
	size_t count;
	bool only_active = false;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = api_query_bool(rq, "active", &only_active);
	if (e == ERR_OK)
		e = silences_list(&rq->call, only_active, after, limit, &items, &count, &next);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		encode_silence(rq, &items[i]);
	api_list_close(rq, api_cursor_of(rq, next), -1);
	return ERR_OK;
}

static const struct route_query alert_query[] = {
	{"status", "pending, firing or resolved"},
	{"kind", "exactly this kind"},
	{"severity", "info, warning or critical"},
	{"resource", "exactly this resource: devices/dev-1"},
	{"cohort", "exactly this cohort: esp32s3/kws-1.4.2"},
	{"metric", "exactly this metric"},
	{"silenced", "true: only those that a silence matches now; false: only the others"},
	{"inhibited", "true: only those that an alert of their cohort speaks for; false: only the others. With these two a page may have fewer items"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};
static const struct route_query page_query[] = {
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};

static const struct route_query silence_query[] = {
	{"active", "true: only those that have not expired, all of them"},
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
	 .summary = "makes a rule: when somebody is to be told of a device", .tag = "alerts", .body = rule_fields,
	 .body_bytes = sizeof(struct rule_body), .reply = rule_fields, .handle = create_rule},
	{.method = "POST", .path = "/api/v1/alert-rules/test", .role = ROLE_OPERATOR, .summary = "tells when, and for which devices, a rule would have fired",
	 .tag = "alerts", .body = test_fields, .body_bytes = sizeof(struct test_body), .reply = result_fields, .handle = test_rule},
	{.method = "GET", .path = "/api/v1/alert-rules/{id}", .role = ROLE_VIEWER, .summary = "shows a rule", .tag = "alerts", .reply = rule_fields,
	 .handle = show_rule},
	{.method = "PATCH", .path = "/api/v1/alert-rules/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH,
	 .summary = "changes a rule; its alerts are resolved and raised anew", .tag = "alerts", .body = rule_changes,
	 .body_bytes = sizeof(struct rule_body), .reply = rule_fields, .handle = update_rule},
	{.method = "DELETE", .path = "/api/v1/alert-rules/{id}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "deletes a rule and resolves its alerts", .tag = "alerts", .handle = delete_rule},
	{.method = "GET", .path = "/api/v1/silences", .role = ROLE_VIEWER, .summary = "lists silences, newest first", .tag = "alerts",
	 .reply = silence_fields, .reply_is_list = true, .query = silence_query, .handle = list_silences},
	{.method = "POST", .path = "/api/v1/silences", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "tells nobody of the alerts that match, for a time", .tag = "alerts", .body = silence_fields, .body_bytes = sizeof(struct silence_body),
	 .reply = silence_fields, .handle = create_silence},
	{.method = "GET", .path = "/api/v1/silences/{id}", .role = ROLE_VIEWER, .summary = "shows a silence", .tag = "alerts", .reply = silence_fields,
	 .handle = show_silence},
	{.method = "POST", .path = "/api/v1/silences/{id}/expire", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .summary = "ends a silence now",
	 .tag = "alerts", .reply = silence_fields, .handle = expire_silence},
	{.method = NULL},
};
