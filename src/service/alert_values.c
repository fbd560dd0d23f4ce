/* Values and scores against rules: what each says of a device becomes an event in a queue, and events become signals, some in each piece.
 *
 * A batch of telemetry is durable before its values come here, and what comes of them is committed later, in fleet.db. So with the signals goes
 * how far the log was worked off, in the same transaction; a start compares what is behind that with rules again. Events stay in the queue until
 * their commit: where it fails they are worked off once more.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/alert_levels.h"
#include "service/alerts_inside.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/telemetry_inside.h"
#include "service/unit.h"
#include "store/report_log.h"
#include "store/telemetry_store.h"

#define CHANGES_LEAST 8       /* in a piece, however late it is */
#define WAITING_MAX 500000    /* events; above, whoever brings more waits: nothing is dropped */
#define PROGRESS_EVERY_MS 5000 /* where no signal takes it along */
#define PAST_MS 600000        /* of the log, read for what rules remember */

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- what a rule knows of devices: open addressing ---- */

static size_t home_of(int64_t device, size_t room)
{
	return (size_t)((uint64_t)device * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (room - 1);
}

static struct breach *find(const struct rule *r, int64_t device)
{
	for (size_t at = r->room > 0 ? home_of(device, r->room) : 0; r->room > 0; at = (at + 1) & (r->room - 1)) {
		struct breach *b = &r->breaches[at];
		if (b->device == device)
			return b;
		if (b->device == 0)
			return NULL;
	}
	return NULL;
}

static struct breach *place(struct rule *r, int64_t device)
{
	size_t at = home_of(device, r->room);
	while (r->breaches[at].device != 0)
		at = (at + 1) & (r->room - 1);
	return &r->breaches[at];
}

static struct breach *make(struct rule *r, int64_t device)
{
	if ((r->count + 1) * 4 > r->room * 3) {
		struct breach *old = r->breaches;
		size_t room = r->room;
		r->room = room > 0 ? room * 2 : 16;
		r->breaches = must(calloc(r->room, sizeof *r->breaches));
		for (size_t i = 0; i < room; i++) {
			if (old[i].device != 0)
				*place(r, old[i].device) = old[i];
		}
		free(old);
	}
	struct breach *b = place(r, device);
	*b = (struct breach){.device = device};
	r->count++;
	return b;
}

/* Those behind it move up, so that no search ends too early. */
static void drop(struct rule *r, struct breach *b)
{
	size_t mask = r->room - 1, hole = (size_t)(b - r->breaches);
	for (size_t at = (hole + 1) & mask; r->breaches[at].device != 0; at = (at + 1) & mask) {
		size_t home = home_of(r->breaches[at].device, r->room);
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		r->breaches[hole] = r->breaches[at];
		hole = at;
	}
	r->breaches[hole].device = 0;
	r->count--;
}

/* ---- the queue ---- */

static struct rule_event *event_at(const struct alerts *a, uint64_t number)
{
	return &a->events.ring[number & (a->events.room - 1)];
}

static bool waits(const struct alerts *a, const struct breach *b)
{
	return b->last >= a->events.next && b->last < a->events.end;
}

static void push(struct alerts *a, struct breach *b, const struct rule_event *event)
{
	struct rule_events *q = &a->events;
	if (q->end - q->first == q->room) {
		struct rule_events old = *q;
		q->room = old.room > 0 ? old.room * 2 : 256;
		q->ring = must(calloc(q->room, sizeof *q->ring));
		for (uint64_t n = old.first; n < old.end; n++)
			*event_at(a, n) = old.ring[n & (old.room - 1)];
		free(old.ring);
	}
	q->scores += event->is_score;
	b->last = q->end;
	*event_at(a, q->end++) = *event;
}

/* Up to where everything was worked off. */
static struct rule_progress progress_of(const struct alerts *a, int64_t now_ms)
{
	const struct rule_events *q = &a->events;
	if (a->is_starting)
		return a->floor;
	if (q->next == q->end)
		return (struct rule_progress){a->s->telemetry->settled + 1, 0, now_ms};
	return (struct rule_progress){event_at(a, q->next)->batch, event_at(a, q->next)->report - 1, now_ms};
}

static bool is_written(const struct alerts *a)
{
	struct rule_progress p = progress_of(a, 0);
	return p.batch == a->written.batch && p.reports == a->written.reports;
}

enum err alerts_write_progress(struct call *c)
{
	struct alerts *a = c->s->alerts;
	struct rule_progress p = progress_of(a, c->now_ms);
	if (is_written(a))
		return ERR_OK;
	enum err e = rule_progress_put(a->store, &p, c->fault);
	if (e == ERR_OK)
		a->written = p;
	return e;
}

void alerts_values_committed(struct alerts *a)
{
	struct rule_events *q = &a->events;
	for (; q->first < q->next; q->first++)
		q->scores -= event_at(a, q->first)->is_score;
	a->committed = a->written;
}

/* Whose newest event is which. */
static void find_newest(struct alerts *a)
{
	const struct rule_events *q = &a->events;
	for (uint64_t n = q->first; n < q->end; n++) {
		const struct rule_event *event = event_at(a, n);
		struct rule *r = event->level != ALERT_LEVEL_NONE ? &a->rules[event->rule] : NULL;
		struct breach *b = r != NULL ? find(r, event->device) : NULL;
		if (r != NULL)
			(b != NULL ? b : make(r, event->device))->last = n;
	}
}

void alerts_values_lost(struct alerts *a)
{
	a->events.next = a->events.first;
	a->written = a->committed;
	find_newest(a);
}

bool alerts_owe_scores(const struct services *s)
{
	return s->alerts != NULL && s->alerts->events.scores > 0;
}

/* ---- values and scores become events ---- */

/* Nothing of it is open, and nothing has to be remembered. */
static bool is_idle(const struct alerts *a, const struct rule *r, const struct breach *b)
{
	return !b->is_open && !b->is_excluded && !waits(a, b) && !alert_levels_remember(r->kind);
}

static void queue(struct alerts *a, struct rule *r, struct breach *b, enum alert_level level, double value, int64_t at_ms)
{
	struct rule_event *last = waits(a, b) ? event_at(a, b->last) : NULL;
	if (last != NULL && last->level == level && r->row.samples_of == 0) { /* the newest figures will do */
		last->value = value;
		last->at_ms = at_ms;
		return;
	}
	push(a, b, &(struct rule_event){.device = b->device, .value = value, .at_ms = at_ms, .batch = a->batch, .report = a->report,
		.rule = (uint32_t)(r - a->rules), .level = (uint8_t)level, .is_score = r->kind == RULE_ANOMALY});
}

static void look(struct alerts *a, struct rule *r, int64_t device, double value, int64_t at_ms)
{
	struct breach *b = find(r, device);
	double compared = value;
	if (a->is_starting && at_ms < r->row.updated_at)
		return; /* from before there was this rule */
	if (b == NULL && alert_levels_remember(r->kind))
		b = make(r, device);
	if (b != NULL && !alert_levels_value(r->kind, &b->past, value, at_ms, &compared))
		return; /* the first of two */
	enum alert_level level = r->kind == RULE_ABSENCE ? ALERT_LEVEL_UNDER : alert_levels_of(&r->row, compared);
	if (b == NULL && level != ALERT_LEVEL_OVER)
		return;
	if (b == NULL)
		b = make(r, device);
	if (level != ALERT_LEVEL_OVER)
		b->is_excluded = false;
	if (b->is_excluded)
		return;
	if (level == ALERT_LEVEL_OVER || b->is_open || waits(a, b))
		queue(a, r, b, level, compared, at_ms);
	else if (is_idle(a, r, b))
		drop(r, b);
}

static void on_begin(void *ctx, int64_t device, int64_t version, int64_t received_ms)
{
	struct alerts *a = ctx;
	(void)device;
	(void)version;
	(void)received_ms;
	int64_t batch = a->s->telemetry->settled + 1; /* the one that is being told */
	alerts_values_live(a);
	a->report = batch == a->batch ? a->report + 1 : 1; /* without those of devices that are gone: less than there are in the log, never more */
	a->batch = batch;
}

static void on_value(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms)
{
	struct alerts *a = ctx;
	for (size_t i = 0; i < a->rule_count; i++) {
		struct rule *r = &a->rules[i];
		if (alert_levels_of_values(r->kind) && strcmp(r->row.metric, metric) == 0)
			look(a, r, device, value, received_ms);
	}
}

void alerts_on_score(struct services *s, int64_t device, const char *metric, double score, int64_t at_ms)
{
	struct alerts *a = s->alerts;
	for (size_t i = 0; a != NULL && i < a->rule_count; i++) {
		struct rule *r = &a->rules[i];
		if (r->kind == RULE_ANOMALY && isfinite(score) && (r->row.metric[0] == '\0' || strcmp(r->row.metric, metric) == 0))
			look(a, r, device, score, at_ms);
	}
}

void alerts_listen_to_values(struct alerts *a)
{
	bool wants = false;
	for (size_t i = 0; i < a->rule_count; i++)
		wants = wants || alert_levels_of_values(a->rules[i].kind) || a->rules[i].kind == RULE_ANOMALY;
	observe_on_begin(a->s->telemetry, wants ? on_begin : NULL, a);
	observe_on_values(a->s->telemetry, wants ? on_value : NULL, a);
}

/* ---- rules that are read again ---- */

void alerts_keep_values(struct alerts *a, struct rule *rules, size_t count)
{
	struct rule_events *q = &a->events;
	size_t *now_at = must(calloc(a->rule_count + 1, sizeof *now_at));
	for (size_t i = 0; i < a->rule_count; i++) {
		struct rule *from = &a->rules[i];
		for (size_t k = 0; k < count; k++) {
			struct rule *to = &rules[k];
			if (to->row.id != from->row.id || to->row.revision != from->row.revision)
				continue;
			now_at[i] = k + 1;
			to->breaches = from->breaches;
			to->count = from->count;
			to->room = from->room;
			from->breaches = NULL;
		}
	}
	for (uint64_t n = q->first; n < q->end; n++) {
		struct rule_event *event = event_at(a, n);
		size_t at = event->level != ALERT_LEVEL_NONE ? now_at[event->rule] : 0;
		if (at == 0) /* of a rule that is not so any more */
			event->level = ALERT_LEVEL_NONE;
		else
			event->rule = (uint32_t)at - 1;
	}
	free(now_at);
}

void alerts_close_breaches(struct alerts *a)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		for (size_t k = 0; k < a->rules[i].room; k++)
			a->rules[i].breaches[k].is_open = false;
	}
}

void alerts_restore_breach(struct alerts *a, const struct alert_row *row)
{
	if (strncmp(row->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0)
		return;
	const struct device_state *d = registry_find(a->s->registry, row->resource + strlen(ALERT_DEVICE_PREFIX));
	for (size_t i = 0; i < a->rule_count && d != NULL; i++) {
		struct rule *r = &a->rules[i];
		if (r->row.id != row->rule)
			continue;
		struct breach *b = find(r, d->row);
		(b != NULL ? b : make(r, d->row))->is_open = true;
	}
}

void alerts_free_values(struct alerts *a)
{
	observe_on_begin(a->s->telemetry, NULL, a);
	observe_on_values(a->s->telemetry, NULL, a);
	free(a->events.ring);
}

/* ---- events become signals ---- */

static const char *data_of(struct call *c, const struct rule *r, const struct rule_event *event)
{
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_str(&data, "metric", r->row.metric);
	if (r->kind != RULE_ABSENCE) {
		json_num(&data, "value", event->value);
		json_num(&data, "threshold", r->row.threshold);
	}
	json_int(&data, "at", event->at_ms);
	json_close_object(&data);
	const char *text = arena_strdup(c->arena, buf_cstr(&data));
	buf_done(&data);
	return text;
}

static enum err signal(struct call *c, const struct rule *r, const struct rule_event *event, const struct device_state *d, const char *resource)
{
	struct alert_policy policy;
	bool is_absence = r->kind == RULE_ABSENCE;
	alerts_rule_policy(&r->row, &policy);
	struct alert_signal s = {.kind = alert_levels_alert_kind(r->kind), .resource = resource, .metric = r->row.metric,
		.severity = alerts_severity(r->row.severity), .level = (enum alert_level)event->level, .value = is_absence ? NAN : event->value,
		.expected = is_absence ? NAN : r->row.threshold, .score = r->kind == RULE_ANOMALY ? event->value : NAN, .policy = &policy,
		.rule = r->row.id, .labels = r->row.labels, .holds = r->row.holds};
	if (event->level == ALERT_LEVEL_OVER) {
		s.summary = alert_levels_summary(c->arena, &r->row, d->id, event->value);
		s.data = data_of(c, r, event);
	}
	return alert_signal(c, &s);
}

/* Where it fails, the unit is undone and all is_open are restored. */
static enum err take(struct call *c, const struct rule_event *event)
{
	struct alerts *a = c->s->alerts;
	if (event->level == ALERT_LEVEL_NONE)
		return ERR_OK;
	struct rule *r = &a->rules[event->rule];
	const struct device_state *d = registry_by_row(c->s->registry, event->device);
	if (d == NULL) /* one that was deleted has no alerts any more */
		return ERR_OK;
	struct breach *b = find(r, event->device);
	if (b == NULL)
		b = make(r, event->device);
	bool matches = true;
	enum err e = ERR_OK;
	if (event->level == ALERT_LEVEL_OVER && !b->is_open)
		e = registry_matches(c, d, r->row.filter, 0, &matches);
	b->is_excluded = event->level == ALERT_LEVEL_OVER && !matches;
	if (e != ERR_OK || !matches)
		return e;
	const char *resource = arena_printf(c->arena, ALERT_DEVICE_PREFIX "%s", d->id);
	const struct alert_key k = {alert_levels_alert_kind(r->kind), resource, r->row.metric, r->row.id};
	e = signal(c, r, event, d, resource);
	b->is_open = alerts_is_open(a, &k);
	return e;
}

/* Those that say nothing more are forgotten. */
static void forget_idle(struct alerts *a, uint64_t from)
{
	for (uint64_t n = from; n < a->events.next; n++) {
		const struct rule_event *event = event_at(a, n);
		struct rule *r = event->level != ALERT_LEVEL_NONE ? &a->rules[event->rule] : NULL;
		struct breach *b = r != NULL ? find(r, event->device) : NULL;
		if (b != NULL && is_idle(a, r, b))
			drop(r, b);
	}
}

/* One unit. What cannot be taken, and it is not the database's fault, is not tried again. */
static enum err take_some(struct call *c, const struct timebox *box)
{
	struct alerts *a = c->s->alerts;
	struct rule_events *q = &a->events;
	uint64_t from = q->next;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	while (e == ERR_OK && q->next < q->end && (q->next - from < CHANGES_LEAST || !timebox_is_over(box))) {
		e = take(c, event_at(a, q->next));
		q->next += e == ERR_OK;
	}
	if (e != ERR_OK && e != ERR_FULL && e != ERR_UNAVAILABLE)
		event_at(a, q->next)->level = ALERT_LEVEL_NONE;
	if (e == ERR_OK)
		e = alerts_write_progress(c);
	e = unit_end(c->s, e, c->fault);
	if (e == ERR_OK) {
		forget_idle(a, from);
		return ERR_OK;
	}
	q->next = from;
	a->written = a->committed; /* at the latest the next piece writes it again */
	a->is_stale = true;
	return e;
}

/* ---- absence ---- */

/* Devices that reported the metric in their baseline and do so no more. The server's own deafness is no absence. */
static bool has_reported(struct call *c, const struct rule *r, const struct device_state *d)
{
	int64_t reports = 0;
	struct observe_wanted wanted = {observe_metric(c, r->row.metric), METRIC_EVENT};
	if (wanted.metric != 0)
		observe_baseline_reports(c, d->row, &wanted, 1, &reports);
	return reports > 0;
}

static void look_absent(struct call *c, struct rule *r, const struct device_state *d)
{
	struct alerts *a = c->s->alerts;
	struct breach *b = find(r, d->row);
	if (b == NULL) {
		if (!has_reported(c, r, d))
			return;
		b = make(r, d->row);
		b->past = (struct alert_levels_past){.has = true, .at_ms = c->now_ms};
	}
	if (b->past.at_ms > c->now_ms) /* the clock was set back */
		b->past.at_ms = c->now_ms;
	int64_t heard = alerts_listening_since(c), from = b->past.at_ms > heard ? b->past.at_ms : heard;
	if (b->is_open || waits(a, b) || b->is_excluded || !b->past.has || c->now_ms - from <= r->row.for_ms)
		return;
	a->batch = a->s->telemetry->settled + 1; /* not of the log: behind all of it */
	a->report = 1;
	queue(a, r, b, ALERT_LEVEL_OVER, NAN, b->past.at_ms);
}

static void sweep_absent(struct call *c, struct alerts *a, const struct timebox *box, bool *more)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		struct rule *r = &a->rules[i];
		const struct device_state *d = NULL;
		for (size_t n = 0; r->kind == RULE_ABSENCE; n++) {
			if (n > CHANGES_LEAST && n % 64 == 0 && timebox_is_over(box)) {
				*more = true;
				break;
			}
			d = registry_each(a->s->registry, &r->at);
			if (d == NULL) { /* round */
				r->at = 0;
				break;
			}
			look_absent(c, r, d);
		}
	}
}

/* ---- time ---- */

/* Where nothing fires for long, too: a start has to read what is behind it. */
static enum err note_progress(struct call *c)
{
	struct alerts *a = c->s->alerts;
	bool is_due = c->now_ms - a->written.at >= PROGRESS_EVERY_MS || c->now_ms < a->written.at - PROGRESS_EVERY_MS;
	if (a->rule_count == 0 || !is_due || is_written(a))
		return ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, alerts_write_progress(c), c->fault);
	if (e != ERR_OK)
		a->written = a->committed;
	return e;
}

enum err alerts_apply_rules(struct call *c, const struct timebox *box, bool *more)
{
	struct alerts *a = c->s->alerts;
	alerts_values_live(a);
	sweep_absent(c, a, box, more);
	if (a->events.next == a->events.end)
		return note_progress(c);
	enum err e = take_some(c, box);
	*more = *more || (e == ERR_OK && a->events.next < a->events.end);
	return e;
}

/* Where it cannot be written now, the next second tries again; what is too much for a piece goes on with the next tick. */
void alerts_on_reports(struct call *c, void *alerts)
{
	struct alerts *a = alerts;
	enum err e = a->is_stale ? ERR_OK : alerts_fresh(c);
	while (e == ERR_OK && !a->is_stale) {
		struct timebox box = timebox_begin(TIMEBOX_NS);
		bool more = false;
		e = alerts_apply_rules(c, &box, &more);
		if (a->events.end - a->events.next <= WAITING_MAX)
			break;
	}
}

/* ---- at start: the log from where rules had got to ---- */

static int in_order_of_log(const void *x, const void *y)
{
	const struct rule_event *a = x, *b = y;
	if (a->batch != b->batch)
		return a->batch < b->batch ? -1 : 1;
	if (a->report != b->report)
		return a->report < b->report ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

/* What a start reads again comes as values first, then as scores: together they go in the order of the log. */
static void sort_events(struct alerts *a)
{
	struct rule_events *q = &a->events;
	size_t count = (size_t)(q->end - q->next);
	if (q->scores == 0)
		return;
	struct rule_event *sorted = must(calloc(count + 1, sizeof *sorted));
	for (size_t i = 0; i < count; i++) {
		sorted[i] = *event_at(a, q->next + i);
		sorted[i].number = i;
	}
	qsort(sorted, count, sizeof *sorted, in_order_of_log);
	for (size_t i = 0; i < count; i++)
		*event_at(a, q->next + i) = sorted[i];
	free(sorted);
	find_newest(a);
}

void alerts_values_live(struct alerts *a)
{
	if (!a->is_starting)
		return;
	a->is_starting = false;
	sort_events(a);
}

bool alerts_replay_scores(const struct services *s, int64_t batch)
{
	struct alerts *a = s->alerts;
	if (a == NULL || !a->is_starting || batch < a->floor.batch)
		return false;
	a->batch = batch;
	a->report = 1; /* before whatever else is in it */
	return true;
}

static void tell(struct alerts *a, struct log_report *r)
{
	struct log_metric m;
	double value;
	while (report_log_metric(r, &m)) {
		if (telemetry_value_of(&m, &value))
			on_value(a, r->device, symbols_get(a->s->telemetry->symbols, m.name)->text, value, r->received_ms);
	}
}

static void replay(void *ctx, const struct stored_batch *b)
{
	struct alerts *a = ctx;
	struct report_log_reader reader;
	struct log_report r;
	int64_t number = 0;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r)) {
		a->batch = b->id;
		a->report = ++number;
		if ((b->id > a->floor.batch || number > a->floor.reports) && registry_by_row(a->s->registry, r.device) != NULL)
			tell(a, &r);
	}
}

/* What is before: only for rules that compare a value with the one before it. */
static void remember(void *ctx, const struct stored_batch *b)
{
	struct alerts *a = ctx;
	struct report_log_reader reader;
	struct log_report r;
	int64_t number = 0;
	double value, compared;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r) && (b->id < a->floor.batch || ++number <= a->floor.reports)) {
		struct log_metric m;
		while (report_log_metric(&r, &m)) {
			for (size_t i = 0; i < a->rule_count; i++) {
				struct rule *rule = &a->rules[i];
				if (rule->kind != RULE_RATE || strcmp(rule->row.metric, symbols_get(a->s->telemetry->symbols, m.name)->text) != 0 ||
				    !telemetry_value_of(&m, &value))
					continue;
				struct breach *have = find(rule, r.device);
				(void)alert_levels_value(RULE_RATE, &(have != NULL ? have : make(rule, r.device))->past, value, r.received_ms, &compared);
			}
		}
	}
}

static bool has_kind(const struct alerts *a, int kind)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		if (a->rules[i].kind == kind)
			return true;
	}
	return false;
}

enum err alerts_replay_values(struct alerts *a, int64_t now_ms, struct fault *f)
{
	struct telemetry *t = a->s->telemetry;
	bool found;
	a->events.first = a->events.next = a->events.end = 1; /* 0: none */
	a->is_starting = true;
	enum err e = rule_progress_get(a->store, &a->floor, &found, f);
	if (e != ERR_OK)
		return e;
	a->written = a->committed = a->floor;
	if (!found || a->floor.batch > t->settled + 1) /* no rule has looked at it yet, or it is another log than it was: from its end on */
		a->floor = (struct rule_progress){t->settled + 1, 0, now_ms};
	if (a->rule_count == 0 || a->floor.batch > t->settled)
		return ERR_OK;
	if (has_kind(a, RULE_RATE))
		e = telemetry_log_since(t->path, a->floor.at - PAST_MS, a->floor.batch, remember, a, f);
	return e == ERR_OK ? telemetry_store_each_batch(t->store, a->floor.batch - 1, replay, a, f) : e;
}
