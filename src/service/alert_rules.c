/* Rules: an alert for each device whose metric stays above (or below) a threshold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "service/access.h"
#include "service/alerts_inside.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/unit.h"

#define RULES_MAX 200        /* each value of telemetry is compared with them */
#define CHANGES_MAX 500      /* alerts raised or resolved in one go */
#define FOR_MAX_MS ((int64_t)30 * 86400000)
#define RESOURCE_PREFIX "devices/"

/* ---- in memory ---- */

static char *own(const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	return copy;
}

static void drop(const char *text)
{
	free((char *)(uintptr_t)text);
}

void alerts_free_rules(struct alerts *a)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		const struct alert_rule_row *row = &a->rules[i].row;
		drop(row->name), drop(row->metric), drop(row->op), drop(row->filter), drop(row->severity);
		free(a->rules[i].breaches);
	}
	free(a->rules);
	a->rules = NULL;
	a->rule_count = 0;
}

static bool is_breach(const struct alert_rule_row *r, double value)
{
	return r->op[0] == 'g' ? value > r->threshold : value < r->threshold;
}

static size_t place_of(const struct rule *r, int64_t device)
{
	size_t low = 0, high = r->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->breaches[middle].device < device)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct breach *insert(struct rule *r, size_t at, int64_t device)
{
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : 16;
		r->breaches = realloc(r->breaches, r->room * sizeof *r->breaches);
		if (r->breaches == NULL)
			abort();
	}
	memmove(&r->breaches[at + 1], &r->breaches[at], (r->count - at) * sizeof *r->breaches);
	r->count++;
	r->breaches[at] = (struct breach){.device = device};
	return &r->breaches[at];
}

static void take(struct rule *r, size_t at)
{
	memmove(&r->breaches[at], &r->breaches[at + 1], (r->count - at - 1) * sizeof *r->breaches);
	r->count--;
}

static void look(struct rule *r, int64_t device, double value, int64_t received_ms)
{
	size_t at = place_of(r, device);
	struct breach *b = at < r->count && r->breaches[at].device == device ? &r->breaches[at] : NULL;
	if (!is_breach(&r->row, value)) {
		if (b != NULL && b->fires) {
			b->is_over = r->is_dirty = true;
			b->wants = false;
		} else if (b != NULL) {
			take(r, at);
		}
		return;
	}
	if (b == NULL) {
		b = insert(r, at, device);
		b->since_ms = received_ms;
	}
	b->value = value;
	b->is_over = false;
	b->wants = b->fires || received_ms - b->since_ms >= r->row.for_ms;
	r->is_dirty = r->is_dirty || b->wants != b->fires;
}

static void on_value(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms)
{
	struct alerts *a = ctx;
	for (size_t i = 0; i < a->rule_count; i++) {
		if (strcmp(a->rules[i].row.metric, metric) == 0)
			look(&a->rules[i], device, value, received_ms);
	}
}

enum err alerts_load_rules(struct alerts *a, struct fault *f)
{
	struct alert_rule_row *rows;
	size_t count;
	enum err e = rule_page(a->store, 0, RULES_MAX, a->arena, &rows, &count, f);
	if (e != ERR_OK)
		return e;
	alerts_free_rules(a);
	a->rules = calloc(count + 1, sizeof *a->rules);
	if (a->rules == NULL)
		abort();
	for (size_t i = 0; i < count; i++) {
		a->rules[i].row = rows[i];
		a->rules[i].row.name = own(rows[i].name);
		a->rules[i].row.metric = own(rows[i].metric);
		a->rules[i].row.op = own(rows[i].op);
		a->rules[i].row.filter = own(rows[i].filter);
		a->rules[i].row.severity = own(rows[i].severity);
	}
	a->rule_count = count;
	observe_on_values(a->s->telemetry, count > 0 ? on_value : NULL, a);
	return ERR_OK;
}

void alerts_restore_breach(struct alerts *a, const struct alert_row *row)
{
	const struct device_state *d = registry_find(a->s->registry, row->resource + strlen(RESOURCE_PREFIX));
	for (size_t i = 0; i < a->rule_count && d != NULL; i++) {
		if (a->rules[i].row.id != row->rule)
			continue;
		struct breach *b = insert(&a->rules[i], place_of(&a->rules[i], d->row), d->row);
		b->since_ms = row->fired_at;
		b->fires = b->wants = true;
	}
}

/* ---- into the database ---- */

static enum err raise(struct call *c, const struct rule *r, const struct breach *b, const struct device_state *d)
{
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_str(&data, "metric", r->row.metric);
	json_num(&data, "value", b->value);
	json_num(&data, "threshold", r->row.threshold);
	json_int(&data, "since_at", b->since_ms);
	json_close_object(&data);
	const char *summary = arena_printf(c->arena, "%s: %s of device %s is %g, %s %g", r->row.name, r->row.metric, d->id, b->value,
	                                   r->row.op[0] == 'g' ? "above" : "below", r->row.threshold);
	enum err e = alerts_raise_for(c, ALERT_KIND_THRESHOLD, arena_printf(c->arena, RESOURCE_PREFIX "%s", d->id), r->row.id, alerts_severity(r->row.severity),
	                              summary, buf_cstr(&data));
	buf_done(&data);
	return e;
}

/* Brings one breach's alert to what it should be. */
static enum err change(struct call *c, const struct rule *r, struct breach *b)
{
	const struct device_state *d = registry_by_row(c->s->registry, b->device);
	bool matches = d != NULL; /* one that was deleted has no alerts any more */
	enum err e = ERR_OK;
	if (b->wants && d != NULL)
		e = registry_matches(c, d, r->row.filter, 0, &matches);
	b->is_tried = true;
	b->is_excluded = b->wants && !matches;
	b->will_fire = b->wants && matches;
	if (e == ERR_OK && b->will_fire)
		e = raise(c, r, b, d);
	else if (e == ERR_OK && b->fires && d != NULL)
		e = alerts_resolve_for(c, ALERT_KIND_THRESHOLD, arena_printf(c->arena, RESOURCE_PREFIX "%s", d->id), r->row.id);
	return e;
}

static bool is_open(const struct breach *b)
{
	return b->wants != b->fires && !b->is_excluded;
}

static enum err change_some(struct call *c, struct alerts *a)
{
	enum err e = ERR_OK;
	size_t left = CHANGES_MAX;
	for (size_t i = 0; i < a->rule_count; i++) {
		struct rule *r = &a->rules[i];
		for (size_t k = 0; r->is_dirty && k < r->count && left > 0 && e == ERR_OK; k++) {
			if (!is_open(&r->breaches[k]))
				continue;
			left--;
			e = change(c, r, &r->breaches[k]);
		}
	}
	return e;
}

/* What was tried is so now, if the unit of work was kept. Those that are over and fire no more are forgotten. */
static void conclude(struct alerts *a, bool kept)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		struct rule *r = &a->rules[i];
		size_t open = 0;
		for (size_t k = r->is_dirty ? r->count : 0; k-- > 0;) {
			struct breach *b = &r->breaches[k];
			if (b->is_tried && kept)
				b->fires = b->will_fire;
			b->is_tried = false;
			open += is_open(b);
			if (b->is_over && !b->fires)
				take(r, k);
		}
		r->is_dirty = open > 0;
	}
}

enum err alerts_apply_rules(struct call *c)
{
	struct alerts *a = c->s->alerts;
	bool is_dirty = false;
	for (size_t i = 0; i < a->rule_count; i++)
		is_dirty = is_dirty || a->rules[i].is_dirty;
	if (!is_dirty)
		return ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, change_some(c, a), c->fault);
	conclude(a, e == ERR_OK);
	return e;
}

/* Where it cannot be written now, the next second tries again. */
void alerts_on_reports(struct call *c, void *alerts)
{
	struct alerts *a = alerts;
	enum err e = a->is_stale ? ERR_OK : alerts_apply_rules(c);
	(void)e;
}

/* ---- operators ---- */

static enum err check_rule(struct call *c, const struct alert_rule *r)
{
	if (r->name == NULL || r->name[0] == '\0' || strlen(r->name) > 64)
		return fault_set(c->fault, ERR_INVALID, "/name", "1 to 64 bytes are wanted");
	if (!str_is_metric(r->metric, strlen(r->metric)))
		return fault_set(c->fault, ERR_INVALID, "/metric", "not a metric name");
	if (strcmp(r->op, "gt") != 0 && strcmp(r->op, "lt") != 0)
		return fault_set(c->fault, ERR_INVALID, "/operator", "gt or lt is wanted");
	if (!isfinite(r->threshold))
		return fault_set(c->fault, ERR_INVALID, "/threshold", "a finite number is wanted");
	if (r->for_ms < 0 || r->for_ms > FOR_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/for_ms", "0 to 30 days are wanted");
	enum err e = registry_check_filter(c, r->filter);
	if (e == ERR_OK)
		return ERR_OK;
	str_copy(c->fault->pointer, sizeof c->fault->pointer, "/filter");
	return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
}

static struct alert_rule_row row_of(const struct alert_rule *r)
{
	return (struct alert_rule_row){r->id, r->name, r->metric, r->op, r->filter, r->severity, r->threshold, r->for_ms, r->revision, r->created_at, r->updated_at};
}

static struct alert_rule rule_of(const struct alert_rule_row *r)
{
	return (struct alert_rule){r->id, r->name, r->metric, r->op, r->filter, r->severity, r->threshold, r->for_ms, r->revision, r->created_at, r->updated_at};
}

static const char *as_json(struct call *c, const struct alert_rule_row *r)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", r->name);
	json_str(&b, "metric", r->metric);
	json_str(&b, "operator", r->op);
	json_num(&b, "threshold", r->threshold);
	json_int(&b, "for_ms", r->for_ms);
	json_str(&b, "filter", r->filter);
	json_str(&b, "severity", r->severity);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* After a change of rules: alerts of the old form end, audit, and memory is read again once this is committed or undone. */
static enum err changed(struct call *c, int64_t id, const char *action, const char *before, const char *after)
{
	c->s->alerts->is_stale = c->s->alerts->is_touched = true;
	return audit_append(c, action, arena_printf(c->arena, "alert-rules/%lld", (long long)id), before, after);
}

enum err alert_rule_create(struct call *c, const struct alert_rule *r, int64_t *id)
{
	struct alerts *a = c->s->alerts;
	struct alert_rule_row row = row_of(r);
	int64_t count = 0;
	enum err e = check_rule(c, r);
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
	struct alert_rule_row old, row = row_of(r);
	enum err e = check_rule(c, r);
	if (e == ERR_OK)
		e = rule_get(a->store, r->id, c->arena, &old, c->fault);
	row.updated_at = c->now_ms;
	if (e == ERR_OK)
		e = alerts_resolve_rule(c, r->id);
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
		e = alerts_resolve_rule(c, id);
	if (e == ERR_OK)
		e = rule_delete(a->store, id, c->fault);
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
