/* Who is not told: silences, made by people; inhibition, where an alert of the whole cohort says it already. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/alerts_inside.h"
#include "service/unit.h"

#define COMMENT_MAX 1024
#define SILENCE_MAX_MS ((int64_t)366 * 86400000)
#define LABEL_PREFIX "label."

/* Those that have not expired, also those to come. Texts are in an arena of their own. */
struct silence_set {
	struct arena *arena;
	struct silence *items;
	size_t count;
	int64_t loaded_ms;
};

/* ---- between rows and structures ---- */

static enum err parse(struct arena *arena, const struct silence_row *row, struct silence *out, struct fault *f)
{
	struct json *root = NULL;
	enum err e = json_parse(row->matchers, strlen(row->matchers), &root, f);
	if (e != ERR_OK)
		return ERR_INTERNAL;
	struct silence_matcher *matchers = arena_array(arena, json_count(root), sizeof *matchers);
	size_t count = 0;
	for (const struct json *j = json_first(root); j != NULL; j = json_next(j)) {
		const char *name = json_text(json_get(j, "name")), *value = json_text(json_get(j, "value"));
		const struct json *negate = json_get(j, "negate");
		matchers[count++] = (struct silence_matcher){arena_strdup(arena, name != NULL ? name : ""), arena_strdup(arena, value != NULL ? value : ""),
			negate != NULL && json_is_true(negate)};
	}
	json_free(root);
	*out = (struct silence){row->id, row->begins_at, row->expires_at, row->created_at, arena_strdup(arena, row->author),
		arena_strdup(arena, row->comment), matchers, count};
	return ERR_OK;
}

static const char *print(struct arena *arena, const struct silence *s)
{
	struct buf b = BUF_INIT;
	json_open_array(&b);
	for (size_t i = 0; i < s->matcher_count; i++) {
		json_open_object(&b);
		json_str(&b, "name", s->matchers[i].name);
		json_str(&b, "value", s->matchers[i].value);
		json_bool(&b, "negate", s->matchers[i].negate);
		json_close_object(&b);
	}
	json_close_array(&b);
	const char *text = arena_strdup(arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

void alerts_free_silences(struct alerts *a)
{
	if (a->silences != NULL)
		arena_free(a->silences->arena);
	free(a->silences);
	a->silences = NULL;
}

enum err alerts_load_silences(struct alerts *a, int64_t now_ms, struct fault *f)
{
	struct silence_row *rows;
	size_t count;
	arena_reset(a->arena);
	enum err e = silence_active(a->store, now_ms, SILENCES_MAX, a->arena, &rows, &count, f);
	if (e != ERR_OK)
		return e;
	alerts_free_silences(a);
	struct silence_set *set = calloc(1, sizeof *set);
	if (set == NULL)
		abort();
	set->arena = arena_new(4u << 20);
	set->loaded_ms = now_ms;
	set->items = arena_array(set->arena, count, sizeof *set->items);
	a->silences = set;
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = parse(set->arena, &rows[i], &set->items[set->count++], f);
	return e;
}

/* ---- matching ---- */

static bool label_matches(const struct silence_matcher *m, const char *labels)
{
	struct json *root = NULL;
	struct fault f;
	if (json_parse(labels, strlen(labels), &root, &f) != ERR_OK)
		return false;
	const struct json *j = json_get(root, m->name + strlen(LABEL_PREFIX));
	const char *text = j != NULL ? json_text(j) : NULL;
	bool matches = alerts_glob(m->value, text != NULL ? text : "");
	json_free(root);
	return matches;
}

static bool matches(struct arena *arena, const struct silence_matcher *m, const struct alert_row *row)
{
	const struct {
		const char *name, *text;
	} fields[] = {
		{"kind", row->kind}, {"resource", row->resource}, {"severity", row->severity}, {"cohort", row->cohort}, {"metric", row->metric},
		{"rule", arena_printf(arena, "%lld", (long long)row->rule)},
	};
	if (strncmp(m->name, LABEL_PREFIX, strlen(LABEL_PREFIX)) == 0)
		return label_matches(m, row->labels) != m->negate;
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (strcmp(fields[i].name, m->name) == 0)
			return alerts_glob(m->value, fields[i].text) != m->negate;
	}
	return false;
}

static bool is_silenced_by(struct call *c, const struct silence *s, const struct alert_row *row)
{
	if (c->now_ms < s->begins_at || c->now_ms >= s->expires_at)
		return false;
	for (size_t i = 0; i < s->matcher_count; i++) {
		if (!matches(c->arena, &s->matchers[i], row))
			return false;
	}
	return s->matcher_count > 0;
}

static bool inhibits(const struct cohort_alert *by, const struct alert_row *row)
{
	if (by->alert == row->id || strcmp(by->cohort, row->cohort) != 0)
		return false;
	if (alerts_kind_is(by->kind, "fleet_drift") && alerts_kind_is(row->kind, "model_drift"))
		return true;
	return by->rule == row->rule && strcmp(by->kind, row->kind) == 0 && strcmp(by->metric, row->metric) == 0;
}

struct alert_fate alerts_fate_of(struct call *c, const struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	struct alert_fate fate = {0};
	if (strcmp(row->status, "resolved") == 0)
		return fate;
	if (c->now_ms < a->silences->loaded_ms && alerts_load_silences(a, c->now_ms, c->fault) != ERR_OK) /* the clock was set back */
		return fate;
	for (size_t i = 0; i < a->silences->count && fate.silenced_by == 0; i++) {
		if (is_silenced_by(c, &a->silences->items[i], row))
			fate.silenced_by = a->silences->items[i].id;
	}
	if (strncmp(row->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0 || row->cohort[0] == '\0')
		return fate;
	for (size_t i = 0; i < a->cohort_count && fate.inhibited_by == 0; i++) {
		if (inhibits(&a->cohorts[i], row))
			fate.inhibited_by = a->cohorts[i].alert;
	}
	return fate;
}

static char *own(const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	return copy;
}

void alerts_note_cohort(struct alerts *a, const struct alert_row *row)
{
	if (strncmp(row->resource, ALERT_COHORT_PREFIX, strlen(ALERT_COHORT_PREFIX)) != 0)
		return;
	a->cohorts = realloc(a->cohorts, (a->cohort_count + 1) * sizeof *a->cohorts);
	if (a->cohorts == NULL)
		abort();
	a->cohorts[a->cohort_count++] = (struct cohort_alert){row->id, row->rule, own(row->kind), own(row->cohort), own(row->metric)};
}

void alerts_drop_cohort(struct alerts *a, int64_t alert)
{
	for (size_t i = 0; i < a->cohort_count; i++) {
		struct cohort_alert *k = &a->cohorts[i];
		if (k->alert != alert)
			continue;
		free(k->kind);
		free(k->cohort);
		free(k->metric);
		*k = a->cohorts[--a->cohort_count];
		return;
	}
}

/* ---- operators ---- */

static enum err check_matcher(struct call *c, const struct silence_matcher *m, size_t at)
{
	static const char *const names[] = {"kind", "resource", "severity", "cohort", "metric", "rule"};
	size_t label = strlen(LABEL_PREFIX);
	bool known = strncmp(m->name, LABEL_PREFIX, label) == 0 && m->name[label] != '\0';
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		known = known || strcmp(names[i], m->name) == 0;
	if (known)
		return ERR_OK;
	return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/matchers/%zu/name", at),
		"kind, resource, severity, cohort, metric, rule or label.<name> is wanted");
}

static enum err check_silence(struct call *c, const struct silence *s)
{
	if (s->matcher_count == 0 || s->matcher_count > SILENCE_MATCHERS)
		return fault_set(c->fault, ERR_INVALID, "/matchers", "1 to %d are wanted", SILENCE_MATCHERS);
	bool says = false;
	for (size_t i = 0; i < s->matcher_count; i++) {
		enum err e = check_matcher(c, &s->matchers[i], i);
		if (e != ERR_OK)
			return e;
		says = says || s->matchers[i].negate || strspn(s->matchers[i].value, "*") != strlen(s->matchers[i].value);
	}
	if (!says)
		return fault_set(c->fault, ERR_INVALID, "/matchers", "these match every alert: say which are meant");
	if (strlen(s->comment) > COMMENT_MAX)
		return fault_set(c->fault, ERR_INVALID, "/comment", "at most %d bytes", COMMENT_MAX);
	if (s->expires_at <= c->now_ms || s->expires_at <= s->begins_at)
		return fault_set(c->fault, ERR_INVALID, "/expires_at", "it must end after it begins, and not in the past");
	if (s->expires_at - c->now_ms > SILENCE_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/expires_at", "at most a year from now");
	return ERR_OK;
}

static enum err changed(struct call *c, int64_t id, const char *action, const char *before, const char *after)
{
	struct alerts *a = c->s->alerts;
	alerts_touch(a);
	enum err e = alerts_load_silences(a, c->now_ms, c->fault);
	return e == ERR_OK ? audit_append(c, action, arena_printf(c->arena, "silences/%lld", (long long)id), before, after) : e;
}

enum err silence_create(struct call *c, const struct silence *s, int64_t *id)
{
	struct alerts *a = c->s->alerts;
	enum err e = check_silence(c, s);
	if (e == ERR_OK)
		e = alerts_load_silences(a, c->now_ms, c->fault); /* without those that have expired */
	if (e == ERR_OK && a->silences->count >= SILENCES_MAX)
		return fault_set(c->fault, ERR_CONFLICT, "", "there are %d silences already, which is the limit", SILENCES_MAX);
	struct silence_row row = {.matchers = print(c->arena, s), .author = c->who->name, .comment = s->comment, .created_at = c->now_ms,
		.begins_at = s->begins_at > 0 ? s->begins_at : c->now_ms, .expires_at = s->expires_at};
	if (e == ERR_OK)
		e = silence_insert(a->store, &row, c->fault);
	*id = row.id;
	return e == ERR_OK ? changed(c, row.id, "silence.create", NULL, arena_printf(c->arena, "{\"matchers\":%s}", row.matchers)) : e;
}

enum err silence_show(struct call *c, int64_t id, struct silence *out)
{
	struct silence_row row;
	enum err e = silence_get(c->s->alerts->store, id, c->arena, &row, c->fault);
	return e == ERR_OK ? parse(c->arena, &row, out, c->fault) : e;
}

enum err silence_end(struct call *c, int64_t id)
{
	struct alerts *a = c->s->alerts;
	struct silence_row row;
	enum err e = silence_get(a->store, id, c->arena, &row, c->fault);
	if (e != ERR_OK || row.expires_at <= c->now_ms)
		return e;
	e = silence_expire(a->store, id, c->now_ms, c->fault);
	return e == ERR_OK ? changed(c, id, "silence.expire", arena_printf(c->arena, "{\"expires_at\":%lld}", (long long)row.expires_at),
		arena_printf(c->arena, "{\"expires_at\":%lld}", (long long)c->now_ms)) : e;
}

enum err silences_list(struct call *c, bool only_active, int64_t after, int64_t limit, struct silence **items, size_t *count, int64_t *next)
{
	struct silence_row *rows;
	size_t found;
	*count = 0;
	*next = 0;
	enum err e = only_active ? silence_active(c->s->alerts->store, c->now_ms, SILENCES_MAX, c->arena, &rows, &found, c->fault)
	                         : silence_page(c->s->alerts->store, after, limit + 1, c->arena, &rows, &found, c->fault);
	if (e != ERR_OK)
		return e;
	if (!only_active && found > (size_t)limit) {
		found--;
		*next = rows[found - 1].id;
	}
	*items = arena_array(c->arena, found, sizeof **items);
	for (size_t i = 0; i < found && e == ERR_OK; i++)
		e = parse(c->arena, &rows[i], &(*items)[(*count)++], c->fault);
	return e;
}
