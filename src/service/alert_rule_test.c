/* A rule against history: the same levels and the same life as live (alert_levels.c, core/alert_life.c), over the log of reports. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/novelty.h"
#include "service/alert_rule_past.h"
#include "service/alerts_inside.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/telemetry_inside.h"
#include "store/history.h"
#include "store/report_log.h"
#include "store/telemetry_store.h"

#define LOOK_EVERY 256 /* reports between two looks at the clock */
#define DEVICES_MAX 200000
#define ALERTS_MAX 2000
#define WARM_MS ((int64_t)3 * 86400000) /* of scores, before the range */
#define WARM_SAMPLES 288
#define SCORE_HOLD_S 14400
#define SCORE_SAMPLES 8064 /* 28 days of reports five minutes apart */
#define HOUR_MS 3600000

struct tested {
	int64_t device;
	struct alert_levels_past past;
	struct alert_life life;
	struct novelty_full *series; /* of anomaly rules */
	int64_t sample_ms;
	double value;
	size_t alert; /* 1 + place of the one that fires */
};
struct tested_alert {
	int64_t device, fired_ms, resolved_ms; /* 0: fires still */
	double value;
};
struct rule_test {
	struct arena *arena;
	struct alert_rule_row row;
	struct alert_policy policy;
	const char *path;
	struct rule_past *past; /* of rules that look at signals: all of the work is its */
	int kind;
	int64_t metric, from_ms, to_ms;
	int64_t allowed_ms, end_ms; /* monotonic */
	struct tested *devices; /* in order of appearance */
	uint32_t *index;        /* 1 + place, by hash */
	size_t count, room;
	struct tested_alert *alerts;
	size_t alert_count;
	int64_t samples, begin_ms; /* begin: from when on the log is there */
	bool is_late, is_full;
	enum err e;
	struct fault fault;
};

/* ---- devices ---- */

static size_t slot_of(const struct rule_test *t, int64_t device)
{
	size_t at = (size_t)((uint64_t)device * UINT64_C(0x9e3779b97f4a7c15) >> 20);
	while (t->index[at & (2 * t->room - 1)] != 0 && t->devices[t->index[at & (2 * t->room - 1)] - 1].device != device)
		at++;
	return at & (2 * t->room - 1);
}

static void grow(struct rule_test *t)
{
	t->room = t->room > 0 ? t->room * 2 : 256;
	t->devices = realloc(t->devices, t->room * sizeof *t->devices);
	free(t->index);
	t->index = calloc(2 * t->room, sizeof *t->index);
	if (t->devices == NULL || t->index == NULL)
		abort();
	for (size_t i = 0; i < t->count; i++)
		t->index[slot_of(t, t->devices[i].device)] = (uint32_t)i + 1;
}

static struct tested *device_of(struct rule_test *t, int64_t device)
{
	if (t->count == t->room && t->count < DEVICES_MAX)
		grow(t);
	size_t at = slot_of(t, device);
	if (t->index[at] != 0)
		return &t->devices[t->index[at] - 1];
	if (t->count == t->room) {
		t->is_full = true;
		return NULL;
	}
	t->devices[t->count] = (struct tested){.device = device};
	t->index[at] = (uint32_t)++t->count;
	return &t->devices[t->count - 1];
}

/* ---- the rule ---- */

static void record(struct rule_test *t, struct tested *d, const struct alert_step *step, int64_t at_ms)
{
	if (step->moves && step->to == ALERT_STATE_FIRING) {
		if (at_ms < t->from_ms || t->alert_count == ALERTS_MAX) {
			t->is_full = t->is_full || at_ms >= t->from_ms;
			return;
		}
		t->alerts[t->alert_count++] = (struct tested_alert){.device = d->device, .fired_ms = at_ms, .value = d->value};
		d->alert = t->alert_count;
	} else if (step->moves && step->from == ALERT_STATE_FIRING && d->alert != 0) {
		t->alerts[d->alert - 1].resolved_ms = at_ms;
		d->alert = 0;
	}
}

/* Time alone moves it, as the tick would. */
static void pass(struct rule_test *t, struct tested *d, int64_t until_ms)
{
	for (;;) {
		int64_t wake = alert_life_wake_ms(&t->policy, &d->life);
		if (wake > until_ms)
			return;
		struct alert_step step = alert_life_step(&t->policy, &d->life, ALERT_LEVEL_NONE, wake);
		record(t, d, &step, wake);
		if (!step.moves)
			return;
	}
}

static void take(struct rule_test *t, struct tested *d, enum alert_level level, int64_t at_ms)
{
	pass(t, d, at_ms);
	struct alert_step step = alert_life_step(&t->policy, &d->life, level, at_ms);
	record(t, d, &step, at_ms);
}

static void take_absence(struct rule_test *t, struct tested *d, int64_t until_ms)
{
	if (d->past.has && until_ms - d->past.at_ms > t->row.for_ms && d->life.state != ALERT_STATE_FIRING)
		take(t, d, ALERT_LEVEL_OVER, d->past.at_ms + t->row.for_ms);
}

static bool score_of(struct tested *d, double value, int64_t at_ms, double *score)
{
	if (d->series == NULL)
		d->series = calloc(1, sizeof *d->series);
	if (d->series == NULL)
		abort();
	int64_t elapsed = d->sample_ms > 0 ? (at_ms - d->sample_ms) / 1000 : 0;
	struct novelty_pace pace = {.n_max = SCORE_SAMPLES, .elapsed = (uint16_t)(elapsed < 0 ? 0 : elapsed < UINT16_MAX ? elapsed : UINT16_MAX),
		.hold = SCORE_HOLD_S};
	struct novelty_result r = novelty_update_full(d->series, (float)value, (unsigned)(at_ms / HOUR_MS % 24), pace);
	*score = (double)r.score;
	return !r.is_refused && d->series->level.n >= WARM_SAMPLES;
}

static void sample(struct rule_test *t, int64_t device, double value, int64_t at_ms)
{
	struct tested *d = device_of(t, device);
	double compared;
	if (d == NULL)
		return;
	t->samples += at_ms >= t->from_ms;
	if (t->kind == RULE_ABSENCE)
		take_absence(t, d, at_ms);
	bool counts = t->kind == RULE_ANOMALY ? score_of(d, value, at_ms, &compared) : alert_levels_value(t->kind, &d->past, value, at_ms, &compared);
	d->sample_ms = at_ms;
	if (!counts)
		return;
	d->value = compared;
	take(t, d, t->kind == RULE_ABSENCE ? ALERT_LEVEL_UNDER : alert_levels_of(&t->row, compared), at_ms);
}

/* ---- the work ---- */

static void each_batch(void *ctx, const struct stored_batch *b)
{
	struct rule_test *t = ctx;
	struct report_log_reader reader;
	struct log_report r;
	if (b->first_ms >= t->to_ms)
		return;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	for (size_t n = 1; !t->is_late && report_log_next(&reader, 0, &r); n++) {
		struct log_metric m;
		double value;
		while (r.received_ms < t->to_ms && report_log_metric(&r, &m)) {
			if (m.name == t->metric && telemetry_value_of(&m, &value))
				sample(t, r.device, value, r.received_ms);
		}
		t->is_late = n % LOOK_EVERY == 0 && clock_mono_ms() >= t->end_ms;
	}
}

static bool is_time_over(struct rule_test *t, size_t n)
{
	t->is_late = t->is_late || (n % LOOK_EVERY == 0 && clock_mono_ms() >= t->end_ms);
	return t->is_late;
}

void rule_test_work(void *test)
{
	struct rule_test *t = test;
	t->end_ms = clock_mono_ms() + t->allowed_ms;
	if (t->past != NULL) {
		t->e = rule_past_work(t->past, t->end_ms, &t->fault);
		return;
	}
	t->e = history_first_report(t->path, &t->begin_ms, &t->fault);
	int64_t begin = t->from_ms - (t->kind == RULE_ANOMALY ? WARM_MS : t->kind == RULE_ABSENCE ? t->row.for_ms : 0);
	if (t->metric != 0 && t->e == ERR_OK)
		t->e = telemetry_log_until(t->path, begin > 0 ? begin : 0, INT64_MAX, t->end_ms, each_batch, t, &t->fault);
	if (t->e == ERR_TIMEOUT) { /* what was found up to here is the answer */
		t->is_late = true;
		t->e = ERR_OK;
	}
	for (size_t i = 0; i < t->count && t->e == ERR_OK && !is_time_over(t, i); i++) { /* where the log was not read to its end, nobody is absent */
		if (t->kind == RULE_ABSENCE)
			take_absence(t, &t->devices[i], t->to_ms);
		pass(t, &t->devices[i], t->to_ms);
	}
}

void rule_test_limit(struct rule_test *t, int64_t allowed_ms)
{
	t->allowed_ms = allowed_ms;
}

enum err rule_test_new(struct call *c, const struct alert_rule *r, int64_t from_ms, int64_t to_ms, struct rule_test **out)
{
	*out = NULL;
	enum err e = alert_rule_check(c, r);
	if (e != ERR_OK) {
		fault_prefix(c->fault, "/rule");
		return e;
	}
	struct alert_rule_row row = alert_rule_row_of(r);
	int kind = alert_levels_kind(row.kind);
	bool is_of_signals = alert_levels_of_signals(kind);
	if (row.metric[0] == '\0' && !is_of_signals)
		return fault_set(c->fault, ERR_INVALID, "/rule/metric", "name one metric to test with");
	if (from_ms < 0 || to_ms <= from_ms || to_ms - from_ms > RULE_TEST_RANGE_MS)
		return fault_set(c->fault, ERR_INVALID, "/from", "from must be before to, by 31 days at most");
	struct rule_past *past = NULL;
	e = is_of_signals ? rule_past_new(c, &row, from_ms, to_ms < c->now_ms ? to_ms : c->now_ms, &past) : ERR_OK;
	if (e != ERR_OK)
		return e;
	struct rule_test *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	t->past = past;
	t->arena = arena_new(1u << 20);
	t->row = row;
	const char **texts[] = {&t->row.name, &t->row.metric, &t->row.op, &t->row.filter, &t->row.severity, &t->row.kind, &t->row.subject, &t->row.labels,
		&t->row.annotations, &t->row.summary, &t->row.description};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		*texts[i] = arena_strdup(t->arena, *texts[i]);
	alerts_rule_policy(&t->row, &t->policy);
	t->path = arena_strdup(t->arena, c->s->telemetry->path);
	t->kind = kind;
	t->allowed_ms = RULE_TEST_MS;
	t->metric = observe_metric(c, row.metric);
	t->from_ms = from_ms;
	t->to_ms = to_ms < c->now_ms ? to_ms : c->now_ms;
	t->alerts = arena_array(t->arena, ALERTS_MAX, sizeof *t->alerts);
	*out = t;
	return ERR_OK;
}

/* ---- the answer ---- */

static void write_alert(const struct device_state *d, const struct tested_alert *a, int kind, struct buf *out)
{
	json_open_object(out);
	json_str(out, "device", d->id);
	json_int(out, "fired_at", a->fired_ms);
	if (a->resolved_ms != 0)
		json_int(out, "resolved_at", a->resolved_ms);
	if (kind != RULE_ABSENCE)
		json_num(out, "value", a->value);
	json_close_object(out);
}

static int64_t begin_of(const struct rule_test *t)
{
	int64_t begin = t->begin_ms < t->to_ms ? t->begin_ms : t->to_ms;
	return begin > t->from_ms ? begin : t->from_ms;
}

static void write_would(const struct would_alert *a, const struct device_state *d, struct buf *out)
{
	json_open_object(out);
	json_str(out, "resource", a->resource);
	json_str(out, "kind", a->kind);
	if (d != NULL)
		json_str(out, "device", d->id);
	json_int(out, "fired_at", a->fired_ms);
	if (a->resolved_ms != 0)
		json_int(out, "resolved_at", a->resolved_ms);
	json_close_object(out);
}

static void write_figures(const struct rule_test *t, int64_t alerts, int64_t devices, size_t seen, int64_t samples, int64_t begin_ms, bool is_complete,
	struct buf *out)
{
	json_int(out, "fired", alerts);
	json_int(out, "devices_fired", devices);
	json_int(out, "devices_seen", (int64_t)seen);
	json_int(out, "samples", samples);
	json_int(out, "from", t->from_ms);
	json_int(out, "to", t->to_ms);
	json_int(out, "history_from", begin_ms);
	json_bool(out, "complete", is_complete);
}

/* The filter is about devices: what is of a rollout or a cohort passes. */
static enum err answer_past(struct call *c, struct rule_test *t, struct buf *out)
{
	size_t count, resources, conditions = rule_past_conditions(t->past, &resources);
	const struct would_alert *a = rule_past_alerts(t->past, &count);
	const char *last = "";
	int64_t alerts = 0, devices = 0;
	bool matches = true;
	json_key(out, "alerts");
	json_open_array(out);
	for (size_t i = 0; i < count; last = a[i++].resource) {
		bool is_device = strncmp(a[i].resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) == 0, is_new = strcmp(last, a[i].resource) != 0;
		const struct device_state *d = is_device ? registry_find(c->s->registry, a[i].resource + strlen(ALERT_DEVICE_PREFIX)) : NULL;
		enum err e = ERR_OK;
		if (is_new)
			matches = !is_device || (d != NULL && t->row.filter[0] == '\0');
		if (is_new && d != NULL && t->row.filter[0] != '\0')
			e = registry_matches(c, d, t->row.filter, 0, &matches);
		if (e != ERR_OK)
			return e;
		devices += matches && is_new && is_device;
		alerts += matches;
		if (matches)
			write_would(&a[i], d, out);
	}
	json_close_array(out);
	write_figures(t, alerts, devices, resources, (int64_t)conditions, rule_past_begin_ms(t->past), rule_past_is_complete(t->past), out);
	return ERR_OK;
}

static int by_device(const void *a, const void *b)
{
	const struct tested_alert *x = a, *y = b;
	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->fired_ms < y->fired_ms ? -1 : x->fired_ms > y->fired_ms;
}

enum err rule_test_result(struct call *c, struct rule_test *t, struct buf *out)
{
	int64_t alerts = 0, devices = 0, last = 0;
	bool matches = false;
	if (t->e != ERR_OK)
		return fault_set(c->fault, t->e, "", "%s", t->fault.detail);
	if (t->past != NULL)
		return answer_past(c, t, out);
	qsort(t->alerts, t->alert_count, sizeof *t->alerts, by_device);
	json_key(out, "alerts");
	json_open_array(out);
	for (size_t i = 0; i < t->alert_count; i++) {
		const struct device_state *d = registry_by_row(c->s->registry, t->alerts[i].device);
		if (t->alerts[i].device != last) {
			enum err e = d != NULL ? registry_matches(c, d, t->row.filter, 0, &matches) : ERR_OK;
			if (e != ERR_OK)
				return e;
			matches = matches && d != NULL;
			devices += matches;
		}
		last = t->alerts[i].device;
		if (!matches || d == NULL)
			continue;
		write_alert(d, &t->alerts[i], t->kind, out);
		alerts++;
	}
	json_close_array(out);
	write_figures(t, alerts, devices, t->count, t->samples, begin_of(t), !t->is_late && !t->is_full, out);
	return ERR_OK;
}

void rule_test_free(struct rule_test *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->devices[i].series);
	rule_past_free(t->past);
	free(t->devices);
	free(t->index);
	arena_free(t->arena);
	free(t);
}
