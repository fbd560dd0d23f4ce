/* What a receiver is told, in words: templates with {{name}}, the standard JSON of webhooks, Alertmanager's API. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "service/notify_inside.h"
#include "service/template.h"

#define TEXT_ALERTS 20       /* lines of {{alerts}} */
#define TEMPLATE_BYTES 16384 /* each has a narrower limit at the API */

/* X(name): documented in docs/notifications.md */
#define VARIABLES(X) X(status) X(severity) X(kind) X(cohort) X(resource) X(metric) X(value) X(summary) X(description) X(firing) X(resolved) X(silenced) X(inhibited) \
	X(group) X(receiver) X(key) X(seq) X(at) X(alerts)
enum variable {
#define X(name) VARIABLE_##name,
	VARIABLES(X)
#undef X
	VARIABLE_COUNT
};
static const char *const variable_names[] = {
#define X(name) #name,
	VARIABLES(X)
#undef X
};
static const struct template_names table = {variable_names, VARIABLE_COUNT};
struct values {
	const char *text[VARIABLE_COUNT];
};

static const char standard_title[] = "[{{status}}] {{severity}} {{kind}} {{cohort}}: {{firing}} firing, {{resolved}} resolved";
static const char standard_text[] = "{{summary}}\n{{description}}\n\n{{alerts}}\nGroup {{group}}, notification {{seq}} of {{at}}. Left out: {{silenced}} silenced, {{inhibited}} inhibited.\n";

enum err notify_check_template(const char *text, bool is_json, const char *pointer, struct fault *f)
{
	enum err e = template_check(&table, text, TEMPLATE_BYTES, pointer, f);
	if (e != ERR_OK || !is_json || text[0] == '\0')
		return e;
	struct values v;
	struct buf b = BUF_INIT;
	struct json *root = NULL;
	struct fault why = {"", ""};
	for (int i = 0; i < VARIABLE_COUNT; i++)
		v.text[i] = i == VARIABLE_value || i == VARIABLE_seq || i == VARIABLE_firing || i == VARIABLE_resolved || i == VARIABLE_silenced ||
			i == VARIABLE_inhibited ? "1" : "a \"quoted\"\ntext";
	template_fill(&table, text, v.text, true, &b);
	e = json_parse(buf_cstr(&b), b.len, &root, &why);
	json_free(root);
	buf_done(&b);
	return e == ERR_OK ? ERR_OK : fault_set(f, ERR_INVALID, pointer, "is no JSON when its variables are filled in: %.120s", why.detail);
}

static int rank(const char *severity)
{
	return severity[0] == 'c' ? 2 : severity[0] == 'w' ? 1 : 0;
}

static const char *format_time(struct arena *a, int64_t at_ms)
{
	char text[40];
	return arena_strdup(a, clock_format(at_ms, text, sizeof text));
}

static const char *list_alerts(struct arena *a, const struct telling *t)
{
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < t->count && i < TEXT_ALERTS; i++)
		buf_printf(&b, "%s %s %s: %s\n", t->alerts[i].status, t->alerts[i].severity, t->alerts[i].resource, t->alerts[i].summary);
	if (t->count > TEXT_ALERTS || t->has_more)
		buf_printf(&b, "and more: %zu in all\n", t->firing + t->resolved);
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static void gather(struct arena *a, const struct telling *t, struct values *v)
{
	static const struct alert_row none = {.severity = "info", .kind = "", .cohort = "", .resource = "", .metric = "", .summary = "", .description = "", .value = NAN};
	const struct alert_row *first = t->count > 0 ? &t->alerts[0] : &none;
	const char *severity = first->severity;
	for (size_t i = 1; i < t->count; i++) {
		if (rank(t->alerts[i].severity) > rank(severity))
			severity = t->alerts[i].severity;
	}
	*v = (struct values){{[VARIABLE_status] = t->is_test ? "test" : t->fires ? "firing" : "resolved", [VARIABLE_severity] = severity,
		[VARIABLE_kind] = first->kind, [VARIABLE_cohort] = first->cohort, [VARIABLE_resource] = first->resource, [VARIABLE_metric] = first->metric,
		[VARIABLE_value] = isfinite(first->value) ? arena_printf(a, "%.6g", first->value) : "",
		[VARIABLE_summary] = t->is_test ? "a test of this receiver" : first->summary, [VARIABLE_description] = t->is_test ? "" : first->description,
		[VARIABLE_firing] = arena_printf(a, "%zu", t->firing),
		[VARIABLE_resolved] = arena_printf(a, "%zu", t->resolved), [VARIABLE_silenced] = arena_printf(a, "%zu", t->silenced),
		[VARIABLE_inhibited] = arena_printf(a, "%zu", t->inhibited), [VARIABLE_group] = t->group, [VARIABLE_receiver] = t->receiver->name,
		[VARIABLE_key] = t->key, [VARIABLE_seq] = arena_printf(a, "%lld", (long long)t->seq), [VARIABLE_at] = format_time(a, t->at_ms),
		[VARIABLE_alerts] = list_alerts(a, t)}};
}

static void put_alert(struct buf *b, const struct alert_row *r)
{
	json_open_object(b);
	json_int(b, "id", r->id);
	json_int(b, "seq", r->seq);
	json_str(b, "status", r->status);
	json_str(b, "severity", r->severity);
	json_str(b, "kind", r->kind);
	json_str(b, "resource", r->resource);
	json_str(b, "cohort", r->cohort);
	json_str(b, "metric", r->metric);
	json_str(b, "summary", r->summary);
	if (r->description[0] != '\0')
		json_str(b, "description", r->description);
	if (isfinite(r->value))
		json_num(b, "value", r->value);
	if (isfinite(r->expected))
		json_num(b, "expected", r->expected);
	json_raw(b, "labels", r->labels);
	json_int(b, "fired_at", r->fired_at);
	if (r->resolved_at != 0)
		json_int(b, "resolved_at", r->resolved_at);
	if (r->acknowledged_at != 0)
		json_str(b, "acknowledged_by", r->acknowledged_by);
	json_close_object(b);
}

static void write_webhook(const struct telling *t, const struct values *v, const char *title, const char *text, struct buf *b)
{
	json_open_object(b);
	json_int(b, "version", 1);
	json_str(b, "key", t->key);
	json_int(b, "seq", t->seq);
	json_str(b, "group", t->group);
	json_str(b, "receiver", t->receiver->name);
	json_str(b, "status", v->text[VARIABLE_status]);
	json_str(b, "severity", v->text[VARIABLE_severity]);
	json_int(b, "at", t->at_ms);
	json_str(b, "title", title);
	json_str(b, "text", text);
	json_int(b, "firing", (int64_t)t->firing);
	json_int(b, "resolved", (int64_t)t->resolved);
	json_int(b, "silenced", (int64_t)t->silenced);
	json_int(b, "inhibited", (int64_t)t->inhibited);
	json_bool(b, "has_more", t->has_more);
	json_key(b, "alerts");
	json_open_array(b);
	for (size_t i = 0; i < t->count; i++)
		put_alert(b, &t->alerts[i]);
	json_close_array(b);
	json_close_object(b);
}

/* Label names are [a-zA-Z_][a-zA-Z0-9_]*: other characters become _. */
static void put_labels(struct buf *b, const char *labels)
{
	struct json *root = NULL;
	struct fault f;
	if (json_parse(labels, strlen(labels), &root, &f) != ERR_OK)
		return;
	for (const struct json *j = json_first(root); j != NULL; j = json_next(j)) {
		char name[72];
		size_t n = (size_t)snprintf(name, sizeof name, "label_%.64s", json_name(j));
		for (size_t i = 0; i < n && i < sizeof name; i++) {
			bool ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9');
			name[i] = ok || name[i] == '\0' ? name[i] : '_';
		}
		if (json_text(j) != NULL)
			json_str(b, name, json_text(j));
	}
	json_free(root);
}

/* POST /api/v2/alerts: one that fires ends by itself unless it is sent again, so its end is after two repeats. */
static void write_alertmanager(struct arena *a, const struct telling *t, const char *title, struct buf *b)
{
	json_open_array(b);
	for (size_t i = 0; i < t->count; i++) {
		const struct alert_row *r = &t->alerts[i];
		int64_t ends = r->resolved_at != 0 ? r->resolved_at : t->at_ms + 2 * t->receiver->timing.repeat_ms + t->receiver->timing.interval_ms;
		json_open_object(b);
		json_key(b, "labels");
		json_open_object(b);
		json_str(b, "alertname", r->kind);
		json_str(b, "severity", r->severity);
		json_str(b, "resource", r->resource);
		if (r->cohort[0] != '\0')
			json_str(b, "cohort", r->cohort);
		if (r->metric[0] != '\0')
			json_str(b, "metric", r->metric);
		json_str(b, "aviary_alert", arena_printf(a, "%lld", (long long)r->id));
		put_labels(b, r->labels);
		json_close_object(b);
		json_key(b, "annotations");
		json_open_object(b);
		json_str(b, "summary", r->summary);
		if (r->description[0] != '\0')
			json_str(b, "description", r->description);
		json_str(b, "title", title);
		json_close_object(b);
		json_str(b, "startsAt", format_time(a, r->fired_at != 0 ? r->fired_at : t->at_ms));
		json_str(b, "endsAt", format_time(a, ends));
		json_close_object(b);
	}
	json_close_array(b);
}

static const char *filled(struct arena *a, const char *template, const char *standard, const struct values *v)
{
	struct buf b = BUF_INIT;
	template_fill(&table, template[0] != '\0' ? template : standard, v->text, false, &b);
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

void notify_write(struct arena *a, const struct telling *t, const char **subject, const char **body)
{
	struct values v;
	struct buf b = BUF_INIT;
	gather(a, t, &v);
	*subject = filled(a, t->receiver->title, standard_title, &v);
	const char *text = filled(a, t->receiver->text, standard_text, &v);
	if (t->receiver->type[0] == 'e')
		buf_str(&b, text);
	else if (t->receiver->type[0] == 'a')
		write_alertmanager(a, t, *subject, &b);
	else if (t->receiver->body[0] != '\0')
		template_fill(&table, t->receiver->body, v.text, true, &b);
	else
		write_webhook(t, &v, *subject, text, &b);
	*body = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
}
