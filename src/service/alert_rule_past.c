#include "service/alert_rule_past.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "core/alert_life.h"
#include "service/alerts_inside.h"
#include "service/health.h"
#include "store/db.h"
#include "store/history.h"

#define ARENA_BYTES (64u << 20)
#define NEXT_MS 60000 /* one that was ended from outside (its rule was changed) goes on in what begins that soon */

/* A condition that was over, as one of its alerts tells. */
struct past_condition {
	const char *kind, *resource, *metric;
	int64_t begin_ms, end_ms; /* end INT64_MAX: it is over still */
	bool was_cut;             /* ended from outside */
};
struct rule_past {
	struct arena *arena;
	struct alert_rule_row row;
	struct alert_policy policy;
	const char *path;
	int kind;
	int64_t from_ms, to_ms, begin_ms, kept_ms;
	int64_t known_ms; /* when a check was made that the rule looks at; INT64_MAX: none was, or it is another kind */
	struct past_condition *conditions;
	size_t count, room, resources;
	struct would_alert *alerts;
	size_t alert_count;
	bool is_late, is_full;
};

/* Ranges of kinds: what each kind of rule may look at. Of signatures: all, and those with a dot are others'. */
static const struct {
	int rule;
	const char *from, *to;
} ranges[] = {
	{RULE_SIGNATURE, "", "\x7f"},
	{RULE_HEALTH, "health.", "health/"},
	{RULE_HEALTH, "model_hash_mismatch", "model_hash_mismatch\x01"},
	{RULE_GATE, "gate.verdict", "gate.verdict\x01"},
};

static int64_t check_known_ms(struct call *c, const struct alert_rule_row *r)
{
	struct health_spec *items;
	size_t count = 0;
	int64_t known = INT64_MAX;
	if (c->s->health == NULL || health_list(c, &items, &count) != ERR_OK)
		return known;
	for (size_t i = 0; i < count; i++) {
		if (alerts_glob(r->subject[0] != '\0' ? r->subject : "*", items[i].name) && items[i].created_at < known)
			known = items[i].created_at;
	}
	return known;
}

enum err rule_past_new(struct call *c, const struct alert_rule_row *r, int64_t from_ms, int64_t to_ms, struct rule_past **out)
{
	*out = NULL;
	if (r->samples_of > 0)
		return fault_set(c->fault, ERR_INVALID, "/rule/samples_over", "of signals no samples are kept: for_ms can be tested");
	struct rule_past *p = calloc(1, sizeof *p);
	if (p == NULL)
		abort();
	p->arena = arena_new(ARENA_BYTES);
	p->kind = alert_levels_kind(r->kind);
	p->row = (struct alert_rule_row){.subject = arena_strdup(p->arena, r->subject)};
	alerts_rule_policy(r, &p->policy);
	p->policy.stale_ms = 0; /* an alert that timed out tells so itself */
	p->path = arena_strdup(p->arena, db_path(c->s->db));
	p->from_ms = from_ms;
	p->to_ms = to_ms;
	p->kept_ms = c->now_ms - ALERT_KEEP_MS;
	p->known_ms = p->kind == RULE_HEALTH ? check_known_ms(c, r) : INT64_MAX;
	p->alerts = arena_array(p->arena, RULE_PAST_ALERTS, sizeof *p->alerts);
	*out = p;
	return ERR_OK;
}

void rule_past_free(struct rule_past *p)
{
	if (p == NULL)
		return;
	arena_free(p->arena);
	free(p->conditions);
	free(p);
}

/* ---- reading ---- */

static const char *check_of(struct arena *a, const char *data)
{
	struct json *root = NULL;
	struct fault f;
	const char *check = json_parse(data, strlen(data), &root, &f) == ERR_OK ? json_text(json_get(root, "check")) : NULL;
	check = check != NULL ? arena_strdup(a, check) : NULL;
	json_free(root);
	return check;
}

static bool is_wanted(struct rule_past *p, const struct past_alert *a)
{
	struct alert_signal s = {.kind = a->kind, .resource = a->resource};
	if (strstr(a->data, "\"storm\":true") != NULL) /* of many that are here by themselves */
		return false;
	if (p->kind == RULE_HEALTH)
		s.check = check_of(p->arena, a->data);
	return alerts_takes(p->kind, p->row.subject, &s);
}

static void take_alert(void *ctx, const struct past_alert *a)
{
	struct rule_past *p = ctx;
	if (p->is_full || !is_wanted(p, a))
		return;
	if (p->count == RULE_PAST_CONDITIONS) {
		p->is_full = true;
		return;
	}
	if (p->count == p->room) {
		p->room = p->room > 0 ? p->room * 2 : 256;
		p->conditions = reallocarray(p->conditions, p->room, sizeof *p->conditions);
		if (p->conditions == NULL)
			abort();
	}
	struct past_condition *x = &p->conditions[p->count++];
	bool has_cleared = a->resolved_by == NULL || strcmp(a->resolved_by, "cleared") == 0;
	*x = (struct past_condition){.kind = arena_strdup(p->arena, a->kind), .resource = arena_strdup(p->arena, a->resource),
		.metric = arena_strdup(p->arena, a->metric), .begin_ms = a->pending_at > 0 ? a->pending_at : a->fired_at,
		.end_ms = a->resolved_at == 0 ? INT64_MAX : a->resolved_at - (has_cleared ? a->delay_ms : 0)};
	if (x->end_ms < x->begin_ms)
		x->end_ms = x->begin_ms;
	x->was_cut = a->resolved_by != NULL && strcmp(a->resolved_by, "ended") == 0;
}

static int of_one_then_by_time(const void *a, const void *b)
{
	const struct past_condition *x = a, *y = b;
	int order = strcmp(x->kind, y->kind);
	if (order == 0)
		order = strcmp(x->resource, y->resource);
	if (order == 0)
		order = strcmp(x->metric, y->metric);
	return order != 0 ? order : x->begin_ms < y->begin_ms ? -1 : x->begin_ms > y->begin_ms;
}

static bool are_of_one(const struct past_condition *x, const struct past_condition *y)
{
	return strcmp(x->kind, y->kind) == 0 && strcmp(x->resource, y->resource) == 0 && strcmp(x->metric, y->metric) == 0;
}

/* ---- what the rule would have made of them ---- */

struct would { /* of one condition */
	struct alert_life life;
	const struct past_condition *of;
	size_t open; /* 1 + place of the alert that fires */
};

static void record(struct rule_past *p, struct would *w, const struct alert_step *step, int64_t at_ms)
{
	if (step->moves && step->to == ALERT_STATE_FIRING && at_ms >= p->from_ms) {
		if (p->alert_count == RULE_PAST_ALERTS) {
			p->is_full = true;
			return;
		}
		p->alerts[p->alert_count++] = (struct would_alert){.kind = w->of->kind, .resource = w->of->resource, .fired_ms = at_ms};
		w->open = p->alert_count;
	} else if (step->moves && step->from == ALERT_STATE_FIRING && w->open != 0) {
		p->alerts[w->open - 1].resolved_ms = at_ms;
		w->open = 0;
	}
}

static void pass(struct rule_past *p, struct would *w, int64_t until_ms)
{
	for (bool moves = true; moves;) {
		int64_t wake = alert_life_wake_ms(&p->policy, &w->life);
		if (wake > until_ms)
			return;
		struct alert_step step = alert_life_step(&p->policy, &w->life, ALERT_LEVEL_NONE, wake);
		record(p, w, &step, wake);
		moves = step.moves;
	}
}

static void take(struct rule_past *p, struct would *w, enum alert_level level, int64_t at_ms)
{
	pass(p, w, at_ms);
	struct alert_step step = alert_life_step(&p->policy, &w->life, level, at_ms);
	record(p, w, &step, at_ms);
}

/* All of one condition, from `at` on; where the next ones begin. */
static size_t live_through(struct rule_past *p, size_t at)
{
	struct would w = {.of = &p->conditions[at]};
	while (at < p->count && are_of_one(w.of, &p->conditions[at])) {
		struct past_condition x = p->conditions[at++];
		for (; at < p->count && are_of_one(&x, &p->conditions[at]); at++) { /* one that goes on under another rule */
			const struct past_condition *y = &p->conditions[at];
			int64_t near = x.was_cut && x.end_ms < INT64_MAX - NEXT_MS ? x.end_ms + NEXT_MS : x.end_ms;
			if (y->begin_ms > near)
				break;
			x.was_cut = y->end_ms >= x.end_ms ? y->was_cut : x.was_cut;
			x.end_ms = y->end_ms > x.end_ms ? y->end_ms : x.end_ms;
		}
		take(p, &w, ALERT_LEVEL_OVER, x.begin_ms);
		if (x.end_ms <= p->to_ms)
			take(p, &w, ALERT_LEVEL_UNDER, x.end_ms);
	}
	pass(p, &w, p->to_ms);
	return at;
}

static enum err find_begin(struct rule_past *p, struct fault *f)
{
	int64_t first;
	enum err e = history_first_device(p->path, &first, f);
	if (p->kind == RULE_HEALTH)
		first = p->known_ms;
	for (size_t i = 0; i < p->count; i++)
		first = p->conditions[i].begin_ms < first ? p->conditions[i].begin_ms : first;
	first = first > p->kept_ms ? first : p->kept_ms;
	p->begin_ms = first < p->from_ms ? p->from_ms : first > p->to_ms ? p->to_ms : first;
	return e;
}

enum err rule_past_work(struct rule_past *p, int64_t deadline_mono_ms, struct fault *f)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < sizeof ranges / sizeof ranges[0]; i++) {
		if (ranges[i].rule == p->kind)
			e = history_alerts(p->path, ranges[i].from, ranges[i].to, p->from_ms, p->to_ms, deadline_mono_ms, take_alert, p, f);
	}
	p->is_late = e == ERR_TIMEOUT;
	if (p->is_late)
		e = ERR_OK; /* what was found up to here is the answer */
	if (p->count > 0)
		qsort(p->conditions, p->count, sizeof *p->conditions, of_one_then_by_time);
	for (size_t i = 0; i < p->count; i++)
		p->resources += i == 0 || strcmp(p->conditions[i].resource, p->conditions[i - 1].resource) != 0;
	for (size_t at = 0; at < p->count;)
		at = live_through(p, at);
	return e == ERR_OK ? find_begin(p, f) : e;
}

const struct would_alert *rule_past_alerts(const struct rule_past *p, size_t *count)
{
	*count = p->alert_count;
	return p->alerts;
}

size_t rule_past_conditions(const struct rule_past *p, size_t *resources)
{
	*resources = p->resources;
	return p->count;
}

int64_t rule_past_begin_ms(const struct rule_past *p)
{
	return p->begin_ms;
}

bool rule_past_is_complete(const struct rule_past *p)
{
	return !p->is_late && !p->is_full;
}
