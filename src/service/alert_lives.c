/* Alerts that are pending or fire: a table in memory, moved by core/alert_life.c; each move is written down in the unit of work that brought it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "service/alert_texts.h"
#include "service/alerts_inside.h"
#include "service/registry.h"
#include "service/unit.h"

#define PAGE 500
#define CONTENT_EVERY_MS 60000   /* figures of a signal that goes on are written so often */
#define STORM_EVERY_MS 60000     /* and the count of a storm */
#define MEMORY_MS ((int64_t)3 * 86400000) /* older flapping is forgotten without a look */
#define LIMIT_EVERY_MS 600000    /* how large a cohort is, is asked so often */
#define SAMPLE_DEVICES 8192      /* and of so many devices: each is a cache miss, and all of them one piece */
#define LIVE_SLAB 1024           /* alerts in a slab */
#define LOOK_AT_LEAST 256        /* alerts looked at in a piece, however late it is */

static const struct alert_policy of_signals = {.keep_ms = 300000, .stale_ms = 86400000, .is_damped = true};

/* ---- the table ---- */

static uint64_t mix(uint64_t h, const char *text)
{
	for (; *text != '\0'; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

#define HASH_SEED UINT64_C(0xcbf29ce484222325)

static uint64_t key_of(const struct alert_key *k)
{
	uint64_t h = mix(mix(mix(HASH_SEED, k->kind), k->resource), k->metric);
	h = (h ^ (uint64_t)k->rule) * UINT64_C(0x9e3779b97f4a7c15);
	h ^= h >> 29;
	return h != 0 ? h : 1;
}

static uint64_t content_of(const struct alert_row *row)
{
	const char *description = row->description != NULL ? row->description : "";
	return mix(mix(mix(mix(HASH_SEED, row->severity), row->summary), row->data), description);
}

static struct live *live_at(const struct alerts *a, uint32_t place)
{
	return &a->live_slabs[place / LIVE_SLAB][place % LIVE_SLAB];
}

/* Where it is in the index, or the free place where it would be. */
static size_t index_of(const struct alerts *a, uint64_t key)
{
	size_t mask = a->live_room - 1, at = key & mask;
	while (a->lives[at].key != 0 && a->lives[at].key != key)
		at = (at + 1) & mask;
	return at;
}

static struct live *find(const struct alerts *a, uint64_t key)
{
	if (a->live_room == 0)
		return NULL;
	const struct live_index *i = &a->lives[index_of(a, key)];
	return i->key != 0 ? live_at(a, i->place) : NULL;
}

static void grow(struct alerts *a)
{
	struct live_index *old = a->lives;
	size_t room = a->live_room;
	a->live_room = room > 0 ? room * 2 : 64;
	a->lives = calloc(a->live_room, sizeof *a->lives);
	if (a->lives == NULL)
		abort();
	for (size_t i = 0; i < room; i++) {
		if (old[i].key != 0)
			a->lives[index_of(a, old[i].key)] = old[i];
	}
	free(old);
}

static uint32_t new_place(struct alerts *a)
{
	if (a->live_free != 0) {
		uint32_t place = a->live_free - 1;
		a->live_free = (uint32_t)live_at(a, place)->alert;
		return place;
	}
	if (a->live_used == a->live_slab_count * LIVE_SLAB) {
		a->live_slabs = realloc((void *)a->live_slabs, (a->live_slab_count + 1) * sizeof *a->live_slabs);
		struct live *slab = calloc(LIVE_SLAB, sizeof *slab);
		if (a->live_slabs == NULL || slab == NULL)
			abort();
		a->live_slabs[a->live_slab_count++] = slab;
	}
	return a->live_used++;
}

static void put(struct alerts *a, const struct live *l)
{
	struct live *have = find(a, l->key);
	if (have != NULL) {
		*have = *l;
		return;
	}
	if ((a->live_count + 1) * 4 > a->live_room * 3)
		grow(a);
	uint32_t place = new_place(a);
	*live_at(a, place) = *l;
	a->lives[index_of(a, l->key)] = (struct live_index){l->key, place};
	a->live_count++;
}

/* Those behind it in the index move up, so that no search ends too early. */
static void drop(struct alerts *a, uint64_t key)
{
	if (find(a, key) == NULL)
		return;
	size_t mask = a->live_room - 1, hole = index_of(a, key);
	uint32_t place = a->lives[hole].place;
	*live_at(a, place) = (struct live){.alert = a->live_free};
	a->live_free = place + 1;
	for (size_t at = (hole + 1) & mask; a->lives[at].key != 0; at = (at + 1) & mask) {
		size_t home = a->lives[at].key & mask;
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		a->lives[hole] = a->lives[at];
		hole = at;
	}
	a->lives[hole].key = 0;
	a->live_count--;
}

bool alerts_is_open(const struct alerts *a, const struct alert_key *k)
{
	return find(a, key_of(k)) != NULL;
}

/* Its rule was changed or deleted, and it waits for its end. */
static bool is_ending(const struct alerts *a, const struct live *l)
{
	return a->ending_count > 0 && l->alert < alerts_ended_below(a, l->rule);
}

void alerts_note_acknowledged(struct alerts *a, const struct alert_row *row)
{
	struct live *l = find(a, key_of(&(struct alert_key){row->kind, row->resource, row->metric, row->rule}));
	if (l != NULL && l->alert == row->id)
		l->seq = row->seq;
}

/* ---- storms ---- */

static bool is_of_device(const struct alert_row *row)
{
	return strncmp(row->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) == 0;
}

static char *own(const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	return copy;
}

static uint64_t storm_key(const char *kind, const char *cohort, const char *metric, int64_t rule)
{
	return key_of(&(struct alert_key){kind, cohort, metric, rule});
}

/* The place of its storm; 0: none. */
static uint32_t storm_of(struct alerts *a, const struct alert_row *row)
{
	if (!is_of_device(row) || row->cohort[0] == '\0')
		return 0;
	uint64_t key = storm_key(row->kind, row->cohort, row->metric, row->rule);
	if (a->storm_last < a->storm_count && a->storms[a->storm_last].key == key)
		return (uint32_t)a->storm_last + 1;
	size_t at = a->storm_count;
	for (size_t i = 0; i < a->storm_count; i++) {
		if (a->storms[i].key == key)
			return (uint32_t)(a->storm_last = i) + 1;
		if (a->storms[i].key == 0)
			at = i;
	}
	if (at == a->storm_count) {
		a->storms = realloc(a->storms, (a->storm_count + 1) * sizeof *a->storms);
		if (a->storms == NULL)
			abort();
		a->storm_count++;
	}
	a->storms[at] = (struct storm){.key = key, .kind = own(row->kind), .cohort = own(row->cohort), .metric = own(row->metric), .rule = row->rule,
		.limit = alert_storm_limit(0)};
	a->storm_last = at;
	return (uint32_t)at + 1;
}

static void free_storm(struct storm *s)
{
	free(s->kind);
	free(s->cohort);
	free(s->metric);
	*s = (struct storm){0};
}

/* How many devices are like this one, from the first ones of the fleet: right where it matters, in large cohorts. */
static uint32_t sample_cohort(const struct registry *r, const struct device_state *like)
{
	size_t seen = 0, same = 0;
	uint32_t at = 0;
	const struct device_state *d;
	while (seen < SAMPLE_DEVICES && (d = registry_each(r, &at)) != NULL) {
		seen++;
		same += d->hardware == like->hardware && d->release == like->release;
	}
	return seen == 0 ? 0 : (uint32_t)((double)same / (double)seen * (double)registry_size(r));
}

/* Less than `every_ms` ago; not so when the clock was set back behind it. */
static bool is_within(int64_t at_ms, int64_t every_ms, int64_t now_ms)
{
	return now_ms >= at_ms && now_ms - at_ms < every_ms;
}

static void learn_limit(const struct alerts *a, struct storm *s, const struct alert_row *row, uint32_t cohort_devices, int64_t now_ms)
{
	if (cohort_devices > 0)
		s->limit = alert_storm_limit(cohort_devices);
	if (cohort_devices > 0 || s->core.firing < ALERT_STORM_LEAST || (s->limit_at_ms != 0 && is_within(s->limit_at_ms, LIMIT_EVERY_MS, now_ms)))
		return; /* a few are no storm, whatever the size */
	const struct device_state *d = registry_find(a->s->registry, row->resource + strlen(ALERT_DEVICE_PREFIX));
	s->limit_at_ms = now_ms;
	if (d != NULL)
		s->limit = alert_storm_limit(sample_cohort(a->s->registry, d));
}

static enum err tell_storm(struct call *c, struct storm *s)
{
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_bool(&data, "storm", true);
	json_int(&data, "devices", s->core.firing);
	json_int(&data, "limit", s->limit);
	json_close_object(&data);
	const char *summary = arena_printf(c->arena, "%s on %u devices of %s at once: they are told of together", s->kind, s->core.firing, s->cohort);
	struct alert_signal signal = {.kind = s->kind, .resource = arena_printf(c->arena, ALERT_COHORT_PREFIX "%s", s->cohort),
		.cohort = arena_strdup(c->arena, s->cohort), .metric = s->metric, .severity = (enum alert_severity)s->severity, .level = ALERT_LEVEL_OVER,
		.value = s->core.firing, .expected = s->limit, .score = NAN, .summary = summary, .data = buf_cstr(&data), .rule = s->rule,
		.policy = &(struct alert_policy){0}, .is_storm = true};
	enum err e = alert_signal(c, &signal);
	buf_done(&data);
	s->is_raised = s->is_raised || e == ERR_OK;
	s->told_ms = c->now_ms;
	return e;
}

static enum err end_storm(struct call *c, struct storm *s)
{
	const struct alert_key k = {s->kind, arena_printf(c->arena, ALERT_COHORT_PREFIX "%s", s->cohort), s->metric, s->rule};
	s->is_raised = false;
	return alerts_resolve_for(c, &k);
}

void alerts_end_storms(struct alerts *a, int64_t rule)
{
	for (size_t i = 0; i < a->storm_count; i++) {
		if (a->storms[i].key == 0 || a->storms[i].rule != rule)
			continue;
		a->storms[i].is_ended = true; /* as long as its alerts point at it */
		a->storms[i].key = UINT64_MAX; /* nothing that begins now belongs to it */
	}
}

static enum err tick_storms(struct call *c, struct alerts *a)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < a->storm_count && e == ERR_OK; i++) {
		struct storm *s = &a->storms[i];
		if (s->is_ended && s->core.firing == 0)
			free_storm(s);
		if (s->key == 0 || s->is_ended)
			continue;
		bool is_over = alert_storm_tick(&s->core, s->limit, c->now_ms);
		if (s->core.is_on && (!s->is_raised || !is_within(s->told_ms, STORM_EVERY_MS, c->now_ms)))
			e = tell_storm(c, s);
		else if (is_over && s->is_raised)
			e = end_storm(c, s);
		else if (!s->core.is_on && s->core.firing == 0 && alert_storm_recent(&s->core, c->now_ms) == 0)
			free_storm(s);
	}
	return e;
}

/* ---- what a move writes ---- */

const char *alerts_group_key(struct arena *arena, const struct alert_row *row)
{
	const char *of = row->cohort[0] != '\0' ? row->cohort : row->resource;
	return row->rule != 0 ? arena_printf(arena, "%s|rule:%lld", of, (long long)row->rule) : arena_printf(arena, "%s|%s", of, row->kind);
}

static enum err tell(struct call *c, const struct alert_row *row, const char *transition)
{
	return notice_insert(c->s->alerts->store, &(struct notice_row){.alert = row->id, .seq = row->seq, .transition = transition, .at = c->now_ms,
		.group_key = alerts_group_key(c->arena, row)}, c->fault);
}

static void take_life(const struct live *l, struct alert_row *row)
{
	row->memory = (struct alert_memory){l->life, l->policy};
	row->seq = l->seq;
	row->flaps = l->life.flaps;
	row->is_suppressed = l->life.is_suppressed;
	row->is_told = l->is_told;
	row->holds = l->holds;
}

static enum err fire(struct call *c, struct live *l, struct alert_row *row, uint32_t cohort_devices)
{
	struct alerts *a = c->s->alerts;
	struct storm *storm = NULL;
	l->storm = storm_of(a, row);
	if (l->storm != 0) {
		storm = &a->storms[l->storm - 1];
		learn_limit(a, storm, row, cohort_devices, c->now_ms);
		(void)alert_storm_fire(&storm->core, storm->limit, c->now_ms);
		storm->severity = storm->severity > l->severity ? storm->severity : l->severity;
	}
	l->seq++;
	l->is_told = !l->life.is_suppressed && (storm == NULL || !storm->core.is_on);
	row->status = "firing";
	row->fired_at = c->now_ms;
	take_life(l, row);
	bool is_new = row->id == 0;
	enum err e = is_new ? alert_insert(a->store, row, c->fault) : alert_set_state(a->store, row, c->fault);
	l->alert = row->id;
	a->firing++;
	if (e == ERR_OK && is_new)
		e = alerts_note_new_id(c, row->id);
	if (e == ERR_OK)
		e = alerts_note(c, row, "firing");
	if (e == ERR_OK && l->is_told)
		e = tell(c, row, "firing");
	if (e == ERR_OK && row->holds)
		e = alerts_hold(c, row);
	alerts_note_cohort(a, row);
	return e;
}

static enum err wait(struct call *c, struct live *l, struct alert_row *row)
{
	l->seq++;
	l->is_told = false;
	row->status = "pending";
	row->pending_at = c->now_ms;
	take_life(l, row);
	enum err e = alert_insert(c->s->alerts->store, row, c->fault);
	l->alert = row->id;
	return e == ERR_OK ? alerts_note_new_id(c, row->id) : e;
}

static enum err resolve(struct call *c, struct live *l, struct alert_row *row, const char *why)
{
	struct alerts *a = c->s->alerts;
	l->seq++;
	row->status = "resolved";
	row->resolved_at = c->now_ms;
	row->resolved_by = why;
	take_life(l, row);
	if (l->storm != 0)
		alert_storm_resolve(&a->storms[l->storm - 1].core);
	a->firing--;
	a->resolved++;
	alerts_drop_cohort(a, row->id);
	enum err e = alert_set_state(a->store, row, c->fault);
	if (e == ERR_OK)
		e = alerts_note(c, row, "resolved");
	if (e == ERR_OK && l->is_told)
		e = tell(c, row, "resolved");
	return e == ERR_OK && row->holds ? hold_delete(a->store, row->id, c->fault) : e;
}

/* `row` has the texts of one that begins; of one that is open they are read. */
static enum err carry_out(struct call *c, struct live *l, const struct alert_step *step, struct alert_row *row, const char *why, uint32_t cohort_devices)
{
	struct alerts *a = c->s->alerts;
	enum err e = ERR_OK;
	alerts_touch(a);
	if (l->alert != 0 && step->to != ALERT_STATE_INACTIVE && (step->from != ALERT_STATE_PENDING || step->to == ALERT_STATE_FIRING))
		e = alert_get(a->store, l->alert, c->arena, row, c->fault);
	if (e != ERR_OK)
		return e;
	if (step->to == ALERT_STATE_FIRING)
		e = fire(c, l, row, cohort_devices);
	else if (step->to == ALERT_STATE_PENDING)
		e = wait(c, l, row);
	else if (step->from == ALERT_STATE_FIRING)
		e = resolve(c, l, row, why);
	else if (l->alert != 0)
		e = alert_delete(a->store, l->alert, c->fault); /* it never fired */
	if (e == ERR_OK && (step->to == ALERT_STATE_FIRING || step->to == ALERT_STATE_PENDING))
		put(a, l);
	else if (e == ERR_OK)
		drop(a, l->key);
	return e;
}

/* ---- signals ---- */

const char *alert_cohort(struct call *c, const struct device_state *d)
{
	return arena_printf(c->arena, "%s/%s", registry_text(c->s->registry, d->hardware), registry_text(c->s->registry, d->release));
}

static const char *cohort_of(struct call *c, const struct alert_signal *s)
{
	if (s->cohort != NULL)
		return s->cohort;
	if (strncmp(s->resource, ALERT_COHORT_PREFIX, strlen(ALERT_COHORT_PREFIX)) == 0)
		return s->resource + strlen(ALERT_COHORT_PREFIX);
	if (strncmp(s->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0)
		return "";
	const struct device_state *d = registry_find(c->s->registry, s->resource + strlen(ALERT_DEVICE_PREFIX));
	return d != NULL ? alert_cohort(c, d) : "";
}

static void make_row(struct call *c, const struct alert_signal *s, const struct alert_key *k, struct alert_row *row)
{
	*row = (struct alert_row){.kind = k->kind, .resource = k->resource, .metric = k->metric, .rule = k->rule, .cohort = cohort_of(c, s),
		.severity = alerts_severity_name(s->severity), .data = s->data != NULL ? s->data : "{}", .labels = s->labels != NULL ? s->labels : "{}",
		.value = s->value, .expected = s->expected, .score = s->score, .has_memory = true};
	row->summary = s->summary != NULL ? s->summary : arena_printf(c->arena, "%s of %s", k->kind, k->resource);
	const struct rule *r = k->rule != 0 ? alerts_rule_by_id(c->s->alerts, k->rule) : NULL;
	if (r != NULL && !s->is_storm)
		alert_texts_fill(c->arena, &r->row, row);
}

static enum err update_content(struct call *c, struct live *l, const struct alert_signal *s, const struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	uint64_t content = content_of(row);
	bool is_patient = l->policy.is_damped && l->severity == s->severity && is_within(l->written_ms, CONTENT_EVERY_MS, c->now_ms);
	if (content == l->content || is_patient)
		return ERR_OK;
	struct alert_row now = *row;
	now.id = l->alert;
	l->content = content;
	l->written_ms = c->now_ms;
	l->severity = (uint8_t)s->severity;
	alerts_touch(a);
	return alert_set_content(a->store, &now, c->fault);
}

static enum err note_stale(struct call *c, struct live *l)
{
	if (l->life.is_stale == l->is_stale_written)
		return ERR_OK;
	l->is_stale_written = l->life.is_stale;
	alerts_touch(c->s->alerts);
	return alert_set_stale(c->s->alerts->store, l->alert, l->life.is_stale, c->fault);
}

/* One that begins goes on with what is remembered of its flapping. */
static enum err begin_life(struct call *c, const struct alert_signal *s, const struct alert_key *k, struct live *l)
{
	struct alert_memory memory;
	bool found;
	*l = (struct live){.key = key_of(k), .rule = k->rule, .severity = (uint8_t)s->severity, .holds = s->holds || alerts_is_holding(k->kind, k->resource)};
	enum err e = alert_last_memory(c->s->alerts->store, k, &memory, &found, c->fault);
	if (e == ERR_OK && found && memory.life.state == ALERT_STATE_RESOLVED && c->now_ms - memory.life.since_ms < MEMORY_MS)
		l->life = memory.life;
	return e;
}

/* The one that is open; not one of a rule as it was before: that ends now. */
static enum err find_current(struct call *c, const struct alert_key *k, struct live **out)
{
	struct alerts *a = c->s->alerts;
	struct alert_row row;
	*out = find(a, key_of(k));
	if (*out == NULL || !is_ending(a, *out))
		return ERR_OK;
	enum err e = alert_get(a->store, (*out)->alert, c->arena, &row, c->fault);
	*out = NULL;
	return e == ERR_OK ? alerts_end_row(c, &row) : e;
}

static enum err apply(struct call *c, const struct alert_signal *s, const struct alert_key *k)
{
	struct live *have, l;
	struct alert_row row;
	enum err e = find_current(c, k, &have);
	if (e != ERR_OK || (have == NULL && s->level != ALERT_LEVEL_OVER))
		return e;
	if (have != NULL)
		l = *have;
	else
		e = begin_life(c, s, k, &l);
	if (e != ERR_OK)
		return e;
	l.policy = s->policy != NULL ? *s->policy : of_signals;
	struct alert_step step = alert_life_step(&l.policy, &l.life, s->level, c->now_ms);
	if (have == NULL || s->level == ALERT_LEVEL_OVER)
		make_row(c, s, k, &row);
	if (step.moves) {
		if (have == NULL) {
			l.content = content_of(&row);
			l.written_ms = c->now_ms;
		} else if (s->level == ALERT_LEVEL_OVER) { /* what fires says what is so now, not when it began to wait */
			l.written_ms = 0;
			e = update_content(c, &l, s, &row);
		}
		return e != ERR_OK ? e : carry_out(c, &l, &step, &row, alert_reason_name(step.reason), s->cohort_devices);
	}
	if (have == NULL) /* nothing to keep */
		return ERR_OK;
	e = s->level == ALERT_LEVEL_OVER ? update_content(c, &l, s, &row) : ERR_OK;
	if (e == ERR_OK)
		e = note_stale(c, &l);
	*have = l;
	return e;
}

enum err alerts_resolve_for(struct call *c, const struct alert_key *k)
{
	return apply(c, &(struct alert_signal){.kind = k->kind, .resource = k->resource, .metric = k->metric, .rule = k->rule,
		.level = ALERT_LEVEL_UNDER, .value = NAN, .expected = NAN, .score = NAN, .policy = &(struct alert_policy){0}}, k);
}

/* A rule of kind signature, health or gate takes what it matches over: its severity, its patience, its labels. */
static enum err by_rule(struct call *c, const struct alert_signal *s, struct alert_key *k, bool *is_taken)
{
	enum err e = ERR_OK;
	const struct rule *r = alerts_rule_for(c, s, &e);
	*is_taken = e == ERR_OK && r != NULL;
	if (!*is_taken)
		return e;
	struct alert_signal mine = *s;
	struct alert_policy policy;
	alerts_rule_policy(&r->row, &policy);
	mine.rule = k->rule = r->row.id;
	mine.policy = &policy;
	mine.severity = alerts_severity(r->row.severity);
	mine.labels = r->row.labels;
	mine.holds = r->row.holds;
	return apply(c, &mine, k);
}

static enum err end_base(struct call *c, const struct alert_key *k)
{
	struct live l = *find(c->s->alerts, key_of(k));
	struct alert_row row;
	struct alert_step step = alert_life_end(&l.life, c->now_ms);
	return carry_out(c, &l, &step, &row, "ended", 0);
}

enum err alert_signal(struct call *c, const struct alert_signal *s)
{
	struct alert_key k = {s->kind, s->resource, s->metric != NULL ? s->metric : "", s->rule}, base = k;
	enum err e = alerts_fresh(c);
	bool is_taken = false;
	if (e == ERR_OK && s->rule == 0 && c->s->alerts->rule_count > 0)
		e = by_rule(c, s, &k, &is_taken);
	if (e != ERR_OK || !is_taken)
		return e == ERR_OK ? apply(c, s, &base) : e;
	return alerts_is_open(c->s->alerts, &base) ? end_base(c, &base) : ERR_OK; /* one from before the rule: no two of the same */
}

bool alert_is_open(const struct alerts *a, const char *kind, const char *resource)
{
	bool is_open = a->live_count > 0 && find(a, key_of(&(struct alert_key){kind, resource, "", 0})) != NULL;
	for (size_t i = 0; !is_open && a->live_count > 0 && i < a->rule_count; i++)
		is_open = alert_levels_of_signals(a->rules[i].kind) && find(a, key_of(&(struct alert_key){kind, resource, "", a->rules[i].row.id})) != NULL;
	return is_open;
}

/* ---- endings from outside ---- */

enum err alerts_end_row(struct call *c, struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	struct live *have = find(a, key_of(&(struct alert_key){row->kind, row->resource, row->metric, row->rule})), l;
	if (have == NULL || have->alert != row->id)
		return ERR_OK;
	l = *have;
	struct alert_step step = alert_life_end(&l.life, c->now_ms);
	return carry_out(c, &l, &step, row, "ended", 0);
}

enum err alerts_end_resource(struct call *c, const char *resource)
{
	int64_t after = 0;
	enum err fresh = alerts_fresh(c);
	if (fresh != ERR_OK)
		return fresh;
	for (;;) {
		struct alert_row *rows;
		size_t count;
		enum err e = alert_open(c->s->alerts->store, resource, after, PAGE, c->arena, &rows, &count, c->fault);
		for (size_t i = 0; i < count && e == ERR_OK; i++)
			e = alerts_end_row(c, &rows[i]);
		if (e != ERR_OK || count < PAGE)
			return e;
		after = rows[count - 1].id;
	}
}

/* ---- time ---- */

/* One that was kept quiet, and is worth telling now: it stopped flapping, or the storm is over, and it fires still. */
static bool is_worth_telling(const struct alerts *a, const struct live *l, int64_t now_ms)
{
	if (l->is_told || l->life.state != ALERT_STATE_FIRING || (l->storm != 0 && a->storms[l->storm - 1].core.is_on))
		return false;
	return !l->life.is_suppressed || alert_life_penalty(&l->life, now_ms) < ALERT_PENALTY_REUSE;
}

static enum err tell_late(struct call *c, struct live *l)
{
	struct alerts *a = c->s->alerts;
	struct alert_row row;
	enum err e = alert_get(a->store, l->alert, c->arena, &row, c->fault);
	if (e == ERR_OK)
		e = alert_set_told(a->store, l->alert, c->fault);
	if (e == ERR_OK)
		e = tell(c, &row, "firing");
	alerts_touch(a);
	l->is_told = true;
	l->life.is_suppressed = false;
	return e;
}

static enum err visit(struct call *c, struct live *l)
{
	if (is_ending(c->s->alerts, l))
		return ERR_OK;
	alert_life_follow_clock(&l->life, c->now_ms);
	if (alert_life_wake_ms(&l->policy, &l->life) <= c->now_ms) {
		struct live copy = *l;
		struct alert_row row;
		struct alert_step step = alert_life_step(&copy.policy, &copy.life, ALERT_LEVEL_NONE, c->now_ms);
		if (step.moves)
			return carry_out(c, &copy, &step, &row, alert_reason_name(step.reason), 0);
	}
	return is_worth_telling(c->s->alerts, l, c->now_ms) ? tell_late(c, l) : ERR_OK;
}

static enum err walk(struct call *c, struct alerts *a, const struct timebox *box, bool *more)
{
	for (size_t seen = 0, all = a->live_used; seen < all; seen++) {
		if (seen >= LOOK_AT_LEAST && seen % 64 == 0 && timebox_is_over(box)) {
			*more = *more || a->wrote != 0;
			return ERR_OK;
		}
		struct live *l = live_at(a, (uint32_t)(a->live_at++ % a->live_used));
		enum err e = l->key != 0 ? visit(c, l) : ERR_OK;
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

enum err alerts_lives_tick(struct call *c, const struct timebox *box, bool *more)
{
	struct alerts *a = c->s->alerts;
	if (a->live_count == 0 && a->storm_count == 0)
		return ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	e = tick_storms(c, a);
	if (e == ERR_OK)
		e = walk(c, a, box, more);
	e = unit_end(c->s, e, c->fault);
	if (e != ERR_OK)
		a->is_stale = true;
	return e;
}

/* ---- at start ---- */

void alerts_restore_live(struct alerts *a, const struct alert_row *row)
{
	struct live l = {.key = key_of(&(struct alert_key){row->kind, row->resource, row->metric, row->rule}), .alert = row->id, .rule = row->rule, .seq = row->seq,
		.content = content_of(row), .is_told = row->is_told, .holds = row->holds,
		.is_stale_written = row->is_stale, .severity = (uint8_t)alerts_severity(row->severity)};
	bool fires = strcmp(row->status, "firing") == 0;
	if (row->has_memory && alert_policy_is_valid(&row->memory.policy) && row->memory.life.state < ALERT_STATES) {
		l.life = row->memory.life;
		l.policy = row->memory.policy;
	} else { /* from before alerts had a life */
		l.life.since_ms = l.life.data_ms = l.life.over_ms = row->fired_at;
	}
	l.life.state = fires ? ALERT_STATE_FIRING : ALERT_STATE_PENDING;
	l.life.under_ms = 0; /* nobody knows since when */
	if (fires) {
		a->firing++;
		l.storm = is_ending(a, &l) ? 0 : storm_of(a, row);
		alerts_note_cohort(a, row);
	}
	if (l.storm != 0) { /* what began lately counts still, and is a storm if it was one: the kill may have come before anybody was told so */
		struct storm *storm = &a->storms[l.storm - 1];
		learn_limit(a, storm, row, 0, row->fired_at);
		(void)alert_storm_fire(&storm->core, storm->limit, row->fired_at);
	}
	put(a, &l);
	if (fires && !is_ending(a, &l) && strncmp(row->resource, ALERT_COHORT_PREFIX, strlen(ALERT_COHORT_PREFIX)) == 0 && strstr(row->data, "\"storm\":true") != NULL) {
		struct alert_row member = *row;
		member.resource = ALERT_DEVICE_PREFIX; /* its storm is that of the devices */
		uint32_t at = storm_of(a, &member); /* may move them all */
		struct storm *s = &a->storms[at - 1];
		s->core.is_on = s->is_raised = true;
		s->severity = l.severity;
	}
}

void alerts_free_lives(struct alerts *a)
{
	for (size_t i = 0; i < a->storm_count; i++)
		free_storm(&a->storms[i]);
	for (uint32_t i = 0; i < a->live_slab_count; i++)
		free(a->live_slabs[i]);
	free((void *)a->live_slabs);
	a->live_slabs = NULL;
	a->live_slab_count = a->live_used = a->live_free = 0;
	free(a->storms);
	free(a->lives);
	a->storms = NULL;
	a->lives = NULL;
	a->storm_count = a->storm_last = a->live_room = a->live_count = 0;
	while (a->cohort_count > 0)
		alerts_drop_cohort(a, a->cohorts[a->cohort_count - 1].alert);
	free(a->cohorts);
	a->cohorts = NULL;
}
