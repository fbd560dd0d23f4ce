/* Rules: what operators want to know of; and signals of other rooms that they take over. Values and scores: alert_values.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/alert_levels.h"
#include "service/alert_texts.h"
#include "service/alerts_inside.h"
#include "service/registry.h"
#include "service/unit.h"

#define RULES_MAX 200        /* each value of telemetry is compared with them */
#define FOR_MAX_MS ((int64_t)30 * 86400000)
#define TEXTS_MAX 2048       /* bytes of labels or annotations */
#define SIGNATURE_PREFIX "signature."
#define HEALTH_PREFIX "health."

/* ---- in memory ---- */

static char *own(const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	return copy;
}

/* All texts of a row, for those who copy and free them. */
#define TEXTS_OF(row) {&(row)->name, &(row)->metric, &(row)->op, &(row)->filter, &(row)->severity, &(row)->kind, &(row)->subject, &(row)->labels, \
	&(row)->annotations, &(row)->summary, &(row)->description}
#define TEXTS 11

static void free_rule(struct rule *r)
{
	const char **texts[TEXTS] = TEXTS_OF(&r->row);
	for (size_t i = 0; i < TEXTS; i++)
		free((char *)(uintptr_t)*texts[i]);
	free(r->breaches);
}

void alerts_free_rules(struct alerts *a)
{
	for (size_t i = 0; i < a->rule_count; i++)
		free_rule(&a->rules[i]);
	free(a->rules);
	a->rules = NULL;
	a->rule_count = 0;
}

enum err alerts_load_rules(struct alerts *a, struct fault *f)
{
	struct alert_rule_row *rows;
	size_t count;
	enum err e = rule_page(a->store, 0, RULES_MAX, a->arena, &rows, &count, f);
	if (e != ERR_OK)
		return e;
	struct rule *rules = calloc(count + 1, sizeof *rules);
	if (rules == NULL)
		abort();
	for (size_t i = 0; i < count; i++) {
		struct rule *r = &rules[i];
		r->row = rows[i];
		const char **texts[TEXTS] = TEXTS_OF(&r->row);
		for (size_t k = 0; k < TEXTS; k++)
			*texts[k] = own(*texts[k]);
		r->kind = alert_levels_kind(r->row.kind);
	}
	alerts_keep_values(a, rules, count);
	alerts_free_rules(a);
	a->rules = rules;
	a->rule_count = count;
	alerts_listen_to_values(a);
	return alerts_load_endings(a, f);
}

void alerts_rule_policy(const struct alert_rule_row *r, struct alert_policy *out)
{
	*out = (struct alert_policy){.for_ms = strcmp(r->kind, "absence") == 0 ? 0 : r->for_ms, .keep_ms = r->keep_ms, .stale_ms = r->stale_ms,
		.k = (uint8_t)r->samples_over, .n = (uint8_t)r->samples_of, .is_damped = r->is_damped};
}

/* ---- signals of other rooms that a rule takes over ---- */

bool alerts_takes(int rule_kind, const char *subject, const struct alert_signal *s)
{
	const char *cause = strncmp(s->kind, SIGNATURE_PREFIX, strlen(SIGNATURE_PREFIX)) == 0 ? s->kind + strlen(SIGNATURE_PREFIX) : s->kind;
	subject = subject[0] != '\0' ? subject : "*";
	if (rule_kind == RULE_SIGNATURE)
		return strchr(cause, '.') == NULL && alerts_glob(subject, cause);
	const char *named = strncmp(s->kind, HEALTH_PREFIX, strlen(HEALTH_PREFIX)) == 0 ? s->kind + strlen(HEALTH_PREFIX) : NULL;
	const char *check = s->check != NULL ? s->check : named;
	if (rule_kind == RULE_HEALTH)
		return check != NULL && alerts_glob(subject, check);
	return rule_kind == RULE_GATE && strcmp(s->kind, "gate.verdict") == 0 && alerts_glob(subject, s->resource);
}

static bool is_of_its_devices(struct call *c, const struct rule *r, const struct alert_signal *s, enum err *e)
{
	bool matches = true;
	if (r->row.filter[0] == '\0' || strncmp(s->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0)
		return true;
	const struct device_state *d = registry_find(c->s->registry, s->resource + strlen(ALERT_DEVICE_PREFIX));
	*e = d != NULL ? registry_matches(c, d, r->row.filter, 0, &matches) : ERR_OK;
	return d != NULL && *e == ERR_OK && matches;
}

const struct rule *alerts_rule_by_id(const struct alerts *a, int64_t id)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		if (a->rules[i].row.id == id)
			return &a->rules[i];
	}
	return NULL;
}

const struct rule *alerts_rule_for(struct call *c, const struct alert_signal *s, enum err *e)
{
	const struct alerts *a = c->s->alerts;
	for (size_t i = 0; i < a->rule_count && *e == ERR_OK; i++) {
		const struct rule *r = &a->rules[i];
		if (!alerts_takes(r->kind, r->row.subject, s))
			continue;
		const struct alert_key k = {s->kind, s->resource, s->metric != NULL ? s->metric : "", r->row.id};
		if (alerts_is_open(a, &k) || (s->level == ALERT_LEVEL_OVER && is_of_its_devices(c, r, s, e)))
			return r;
	}
	return NULL;
}

/* ---- operators ---- */

static enum err check_numbers(struct call *c, const struct alert_rule *r, int kind)
{
	bool is_lt = strcmp(r->op, "lt") == 0;
	if (!is_lt && strcmp(r->op, "gt") != 0)
		return fault_set(c->fault, ERR_INVALID, "/operator", "gt or lt is wanted");
	if (!isfinite(r->threshold))
		return fault_set(c->fault, ERR_INVALID, "/threshold", "a finite number is wanted");
	if (kind == RULE_ANOMALY && (is_lt || r->threshold <= 0 || r->threshold > 1))
		return fault_set(c->fault, ERR_INVALID, is_lt ? "/operator" : "/threshold", "a score is above a threshold within 0 and 1");
	if (!isnan(r->clear) && (is_lt ? r->clear < r->threshold : r->clear > r->threshold))
		return fault_set(c->fault, ERR_INVALID, "/clear", "the clear threshold is beyond the one that fires");
	return ERR_OK;
}

static enum err check_times(struct call *c, const struct alert_rule *r, int kind)
{
	if (r->for_ms < 0 || r->for_ms > FOR_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/for_ms", "0 to 30 days are wanted");
	if (kind == RULE_ABSENCE && r->for_ms == 0)
		return fault_set(c->fault, ERR_INVALID, "/for_ms", "how long it must be absent is wanted");
	if (r->keep_ms < 0 || r->keep_ms > FOR_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/keep_firing_for_ms", "0 to 30 days are wanted");
	if (r->stale_ms < 0 || r->stale_ms > FOR_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/stale_ms", "0 to 30 days are wanted");
	if (r->samples_of < 0 || r->samples_of > ALERT_WINDOW_MAX || r->samples_over < 0 || r->samples_over > r->samples_of ||
	    (r->samples_of > 0 && r->samples_over == 0))
		return fault_set(c->fault, ERR_INVALID, "/samples_over", "k of the last n samples: 1 <= k <= n <= %d", ALERT_WINDOW_MAX);
	if (r->samples_of > 0 && r->for_ms > 0)
		return fault_set(c->fault, ERR_INVALID, "/samples_over", "for_ms, or k of n samples, not both");
	return ERR_OK;
}

/* An object of texts. */
static enum err check_texts(struct call *c, const char *json, const char *pointer)
{
	struct json *root = NULL;
	bool is_good = strlen(json) <= TEXTS_MAX && json_parse(json, strlen(json), &root, c->fault) == ERR_OK && json_type(root) == JSON_OBJECT;
	for (const struct json *j = is_good ? json_first(root) : NULL; j != NULL; j = json_next(j))
		is_good = is_good && json_text(j) != NULL && json_name(j)[0] != '\0';
	json_free(root);
	return is_good ? ERR_OK : fault_set(c->fault, ERR_INVALID, pointer, "an object of texts is wanted, at most %d bytes", TEXTS_MAX);
}

static enum err check_subject(struct call *c, const struct alert_rule *r, int kind)
{
	bool has_values = alert_levels_of_values(kind) || kind == RULE_ANOMALY;
	if (has_values && r->subject[0] != '\0')
		return fault_set(c->fault, ERR_INVALID, "/subject", "only rules of kind signature, health and gate have one");
	if (!has_values && r->metric[0] != '\0')
		return fault_set(c->fault, ERR_INVALID, "/metric", "rules of this kind look at signals, not at a metric: see subject");
	bool may_be_any = kind == RULE_ANOMALY && r->metric[0] == '\0';
	if (has_values && !may_be_any && !str_is_metric(r->metric, strlen(r->metric)))
		return fault_set(c->fault, ERR_INVALID, "/metric", "not a metric name");
	return ERR_OK;
}

static enum err check_rule(struct call *c, const struct alert_rule *r)
{
	int kind = alert_levels_kind(r->kind);
	if (r->name == NULL || r->name[0] == '\0' || strlen(r->name) > 64)
		return fault_set(c->fault, ERR_INVALID, "/name", "1 to 64 bytes are wanted");
	if (kind < 0)
		return fault_set(c->fault, ERR_INVALID, "/kind", "threshold, rate, absence, anomaly, signature, health or gate is wanted");
	enum err e = check_subject(c, r, kind);
	if (e == ERR_OK)
		e = check_numbers(c, r, kind);
	if (e == ERR_OK)
		e = check_times(c, r, kind);
	if (e == ERR_OK)
		e = check_texts(c, r->labels, "/labels");
	if (e == ERR_OK)
		e = check_texts(c, r->annotations, "/annotations");
	if (e == ERR_OK)
		e = alert_texts_check(r->summary, r->description, c->fault);
	if (e != ERR_OK)
		return e;
	e = registry_check_filter(c, r->filter);
	if (e == ERR_OK)
		return ERR_OK;
	str_copy(c->fault->pointer, sizeof c->fault->pointer, "/filter");
	return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
}

/* What is left out is as it was before rules had kinds. */
static struct alert_rule complete(const struct alert_rule *r)
{
	struct alert_rule full = *r;
	full.kind = r->kind != NULL ? r->kind : "threshold";
	full.subject = r->subject != NULL ? r->subject : "";
	full.metric = r->metric != NULL ? r->metric : "";
	full.labels = r->labels != NULL ? r->labels : "{}";
	full.annotations = r->annotations != NULL ? r->annotations : "{}";
	full.summary = r->summary != NULL ? r->summary : "";
	full.description = r->description != NULL ? r->description : "";
	return full;
}

enum err alert_rule_check(struct call *c, const struct alert_rule *r)
{
	struct alert_rule full = complete(r);
	return check_rule(c, &full);
}

#define COPY_RULE(r) {.id = (r)->id, .name = (r)->name, .metric = (r)->metric, .op = (r)->op, .filter = (r)->filter, .severity = (r)->severity, \
	.threshold = (r)->threshold, .for_ms = (r)->for_ms, .revision = (r)->revision, .created_at = (r)->created_at, .updated_at = (r)->updated_at, \
	.kind = (r)->kind, .subject = (r)->subject, .clear = (r)->clear, .keep_ms = (r)->keep_ms, .stale_ms = (r)->stale_ms, \
	.samples_over = (r)->samples_over, .samples_of = (r)->samples_of, .is_damped = (r)->is_damped, .holds = (r)->holds, .labels = (r)->labels, \
	.annotations = (r)->annotations, .summary = (r)->summary, .description = (r)->description}

struct alert_rule_row alert_rule_row_of(const struct alert_rule *r)
{
	struct alert_rule full = complete(r);
	return (struct alert_rule_row)COPY_RULE(&full);
}

static struct alert_rule rule_of(const struct alert_rule_row *r)
{
	return (struct alert_rule)COPY_RULE(r);
}

static const char *as_json(struct call *c, const struct alert_rule_row *r)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", r->name);
	json_str(&b, "kind", r->kind);
	json_str(&b, "metric", r->metric);
	json_str(&b, "subject", r->subject);
	json_str(&b, "operator", r->op);
	json_num(&b, "threshold", r->threshold);
	json_num(&b, "clear", r->clear);
	json_int(&b, "for_ms", r->for_ms);
	json_int(&b, "keep_firing_for_ms", r->keep_ms);
	json_int(&b, "stale_ms", r->stale_ms);
	json_str(&b, "filter", r->filter);
	json_str(&b, "severity", r->severity);
	json_bool(&b, "hold", r->holds);
	json_raw(&b, "labels", r->labels);
	json_str(&b, "summary", r->summary);
	json_str(&b, "description", r->description);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* After a change of rules: audit, and they are read again at once: what comes next is compared with the new ones. What was compared up to now was compared with the old ones. */
static enum err changed(struct call *c, int64_t id, const char *action, const char *before, const char *after)
{
	c->s->alerts->is_old_rules = true;
	alerts_touch(c->s->alerts);
	enum err e = alerts_write_progress(c);
	if (e == ERR_OK)
		e = alerts_fresh(c);
	return e == ERR_OK ? audit_append(c, action, arena_printf(c->arena, "alert-rules/%lld", (long long)id), before, after) : e;
}

enum err alert_rule_create(struct call *c, const struct alert_rule *r, int64_t *id)
{
	struct alerts *a = c->s->alerts;
	struct alert_rule_row row = alert_rule_row_of(r);
	int64_t count = 0;
	enum err e = alert_rule_check(c, r);
	if (e == ERR_OK)
		e = rule_count(a->store, &count, c->fault);
	if (e == ERR_OK && count >= RULES_MAX)
		return fault_set(c->fault, ERR_CONFLICT, "", "there are %d rules already, which is the limit", RULES_MAX);
	row.created_at = row.updated_at = c->now_ms;
	if (e == ERR_OK)
		e = rule_insert(a->store, &row, c->fault);
	*id = row.id;
	return e == ERR_OK ? changed(c, row.id, "alert_rule.create", NULL, as_json(c, &row)) : e;
}

enum err alert_rule_show(struct call *c, int64_t id, struct alert_rule *out)
{
	struct alert_rule_row row;
	enum err e = rule_get(c->s->alerts->store, id, c->arena, &row, c->fault);
	if (e == ERR_OK)
		*out = rule_of(&row);
	return e;
}

enum err alert_rule_update(struct call *c, const struct alert_rule *r)
{
	struct alerts *a = c->s->alerts;
	struct alert_rule_row old, row = alert_rule_row_of(r);
	enum err e = alert_rule_check(c, r);
	if (e == ERR_OK)
		e = rule_get(a->store, r->id, c->arena, &old, c->fault);
	row.updated_at = c->now_ms;
	if (e == ERR_OK)
		e = alerts_begin_ending(c, r->id, false);
	if (e == ERR_OK)
		e = rule_update(a->store, &row, c->fault);
	return e == ERR_OK ? changed(c, r->id, "alert_rule.update", as_json(c, &old), as_json(c, &row)) : e;
}

enum err alert_rule_delete(struct call *c, int64_t id)
{
	struct alerts *a = c->s->alerts;
	struct alert_rule_row old;
	enum err e = rule_get(a->store, id, c->arena, &old, c->fault);
	if (e == ERR_OK)
		e = alerts_begin_ending(c, id, true);
	return e == ERR_OK ? changed(c, id, "alert_rule.delete", as_json(c, &old), NULL) : e;
}

enum err alert_rules_list(struct call *c, int64_t after, int64_t limit, struct alert_rule **items, size_t *count)
{
	struct alert_rule_row *rows;
	enum err e = rule_page(c->s->alerts->store, after, limit, c->arena, &rows, count, c->fault);
	if (e != ERR_OK)
		return e;
	*items = arena_array(c->arena, *count, sizeof **items);
	for (size_t i = 0; i < *count; i++)
		(*items)[i] = rule_of(&rows[i]);
	return ERR_OK;
}
