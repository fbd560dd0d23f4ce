/* States of devices under their checks: fed by reports and answers, judged, written, alerted. */
#include "service/health_inside.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/commands.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/timebox.h"
#include "service/unit.h"

#define ARENA_BYTES (16u << 20)
#define PAGE 500
#define WRITES_MAX 200           /* rows a tick writes because something changed */
#define QUEUE_SLACK 10000        /* entries that are through and still in the queue */
#define ROUND_LOOKS 2000         /* states a tick looks at in the round that brings counts into rows */
#define ROUND_WRITES 20
#define APPLIES_MS 3600000       /* how long a filter's answer is believed */
#define MATCHES_MAX 100          /* filters asked in one batch; others wait for the device's next report */
#define FRESH_MS 3600000         /* surroundings older than that are not known */

static void *grown(void *p, size_t count, size_t bytes)
{
	p = reallocarray(p, count, bytes);
	if (p == NULL)
		abort();
	return p;
}

static void push_change(struct change_list *l, int64_t check, int64_t device)
{
	if (l->count == l->room) {
		l->room = l->room > 0 ? l->room * 2 : 64;
		l->items = grown(l->items, l->room, sizeof *l->items);
	}
	l->items[l->count++] = (struct changed){check, device};
}

void health_touch(struct health *h)
{
	h->touched = unit_newest(h->s);
}

struct health_check *health_find(struct health *h, int64_t id)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->checks[i]->row.id == id)
			return h->checks[i];
	}
	return NULL;
}

/* ---- cohorts and surroundings ---- */

static char *own(const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	return copy;
}

const struct cohort_name *health_cohort(const struct health *h, uint16_t cohort)
{
	assert(cohort < h->cohort_count);
	return &h->cohorts[cohort];
}

static uint16_t cohort_of(struct health *h, const char *hardware, const char *model, const char *version)
{
	for (size_t i = 0; i < h->cohort_count; i++) {
		const struct cohort_name *n = &h->cohorts[i];
		if (strcmp(n->version, version) == 0 && strcmp(n->hardware, hardware) == 0 && strcmp(n->model, model) == 0)
			return (uint16_t)i;
	}
	if (h->cohort_count == HEALTH_COHORTS_MAX)
		return 0;
	h->cohorts = grown(h->cohorts, h->cohort_count + 1, sizeof *h->cohorts);
	h->cohorts[h->cohort_count] = (struct cohort_name){own(hardware), own(model), own(version)};
	return (uint16_t)h->cohort_count++;
}

static struct surroundings *around_of(struct health *h, const struct device_state *d)
{
	struct surroundings *a = blocks_at(&h->around, d->index, sizeof *a);
	if (a->device != d->row)
		*a = (struct surroundings){.device = d->row, .temperature_c = NAN, .battery = NAN, .rssi_dbm = NAN};
	return a;
}

struct health_state *health_state_find(const struct health_check *k, const struct device_state *d)
{
	struct health_state *st = blocks_find(&k->states, d->index);
	return st != NULL && st->device == d->row ? st : NULL;
}

struct health_state *health_state_of(struct health_check *k, const struct device_state *d)
{
	struct health_state *st = blocks_at(&k->states, d->index, sizeof *st);
	if (st->device != d->row)
		*st = (struct health_state){.device = d->row};
	return st;
}

static struct health_cell *cells_of(const struct health *h, struct health_check *k, uint16_t cohort)
{
	if (k->cells_room < h->cohort_count) {
		size_t room = h->cohort_count + h->cohort_count / 2 + 8;
		k->cells = grown(k->cells, room, sizeof *k->cells);
		memset(k->cells + k->cells_room, 0, (room - k->cells_room) * sizeof *k->cells);
		k->cells_room = room;
	}
	return k->cells[cohort];
}

/* What a device is, out of its cohort's figures (-1) before it changes and into them (1) afterwards. */
static void tally(const struct health *h, struct health_check *k, const struct health_state *st, int sign)
{
	struct health_cell *cells = cells_of(h, k, st->cohort);
	cells[st->cell].failing += sign * (st->has_result && !st->passed);
	cells[st->cell].firing += sign * st->wants;
	for (int i = 0; st->suspicious != 0 && i < HEALTH_CELLS; i++)
		cells[i].suspicious += sign * (st->suspicious >> i & 1);
	for (int i = 0; i < HEALTH_CELLS; i++) {
		if (sign > 0)
			health_add(&cells[i].sums, &st->counts[i]);
		else
			health_remove(&cells[i].sums, &st->counts[i]);
	}
}

struct health_judgement health_judge_state(const struct health_check *k, const struct health_state *st, unsigned cell)
{
	static const struct health_sums none;
	const struct health_sums *sums = st->cohort < k->cells_room ? &k->cells[st->cohort][cell].sums : &none;
	return health_judge(sums, &st->counts[cell]);
}

/* ---- one result ---- */

static void mark_dirty(struct health *h, const struct health_check *k, struct health_state *st)
{
	if (st->is_dirty)
		return;
	st->is_dirty = true;
	push_change(&h->queue, k->row.id, st->device);
}

/* Failures in a cell that may explain them page only when the device is worse there than its like; for an alert that is open they are between the
 * thresholds: it stays what it is until a pass. */
static void note_result(struct health *h, struct health_check *k, struct health_state *st, const struct surroundings *a, bool passed, int64_t at_ms)
{
	bool is_fresh = a->at_ms > 0 && at_ms - a->at_ms <= FRESH_MS, had = st->has_result, was = st->passed;
	unsigned cell = is_fresh ? health_cell(&k->context, a->temperature_c, a->battery, a->rssi_dbm) : st->cell;
	uint8_t bit = (uint8_t)(1u << cell);
	tally(h, k, st, -1);
	if (a->cohort != st->cohort) { /* what it did under another version says nothing of this one */
		memset(st->counts, 0, sizeof st->counts);
		st->suspicious = 0;
		st->cohort = a->cohort;
	}
	health_note(&st->counts[cell], passed);
	struct health_sums with = cells_of(h, k, st->cohort)[cell].sums;
	health_add(&with, &st->counts[cell]);
	bool is_suspicious = st->counts[cell].failures > 0 && health_judge(&with, &st->counts[cell]).is_suspicious;
	st->suspicious = (uint8_t)(is_suspicious ? st->suspicious | bit : st->suspicious & ~bit);
	st->cell = (uint8_t)cell;
	st->has_result = true;
	st->passed = passed;
	st->at_ms = at_ms;
	st->is_behind = true;
	bool pages = cell == 0 || !k->is_excusable || is_suspicious, wanted = st->wants;
	st->level = passed ? ALERT_LEVEL_UNDER : pages ? ALERT_LEVEL_OVER : ALERT_LEVEL_BETWEEN;
	st->wants = !passed && (pages || st->wants);
	tally(h, k, st, 1);
	st->is_forced = st->is_forced || !had; /* an alert of a state that was lost, where a device's deletion was undone */
	st->is_changed = st->is_changed || !had || was != passed || st->wants != wanted;
	if (st->is_changed || health_has_news(st))
		mark_dirty(h, k, st);
}

/* ---- reports ---- */

static void on_begin(void *ctx, int64_t device, int64_t version, int64_t received_ms)
{
	struct health *h = ctx;
	if (h->report_count == h->report_room) {
		h->report_room = h->report_room > 0 ? h->report_room * 2 : 256;
		h->reports = grown(h->reports, h->report_room, sizeof *h->reports);
	}
	h->reports[h->report_count++] = (struct taken_report){.device = device, .version = version, .received_ms = received_ms,
	                                                      .context = {NAN, NAN, NAN}, .first = h->value_count};
}

static const struct metric_link *link_of(struct health *h, const char *metric)
{
	static const char *const contexts[3] = {"temperature_c", "battery", "link_rssi_dbm"};
	struct metric_link *l = &h->links[((uintptr_t)metric >> 3) % HEALTH_LINKS];
	if (l->text == metric)
		return l;
	*l = (struct metric_link){.text = metric, .context = -1};
	for (int i = 0; i < 3; i++) {
		if (strcmp(contexts[i], metric) == 0)
			l->context = i;
	}
	for (size_t i = 0; i < h->count; i++) {
		if (h->checks[i]->is_limit && strcmp(h->checks[i]->row.metric, metric) == 0)
			l->checks |= UINT32_C(1) << i;
	}
	return l;
}

static void on_value(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms)
{
	struct health *h = ctx;
	const struct metric_link *l = link_of(h, metric);
	(void)device, (void)received_ms;
	assert(h->report_count > 0); /* on_begin came first */
	struct taken_report *r = &h->reports[h->report_count - 1];
	if (l->context >= 0)
		r->context[l->context] = (float)value;
	for (uint32_t i = 0, left = l->checks; left != 0; i++, left >>= 1) {
		if (!(left & 1))
			continue;
		if (h->value_count == h->value_room) {
			h->value_room = h->value_room > 0 ? h->value_room * 2 : 256;
			h->values = grown(h->values, h->value_room, sizeof *h->values);
		}
		h->values[h->value_count++] = (struct taken_value){i, value};
		r->count++;
	}
}

static void look_around(struct call *c, struct health *h, const struct device_state *d, const struct taken_report *r, struct surroundings *a)
{
	const char *model, *version;
	bool is_known = a->at_ms > 0;
	a->temperature_c = isnan(r->context[0]) ? a->temperature_c : r->context[0];
	a->battery = isnan(r->context[1]) ? a->battery : r->context[1];
	a->rssi_dbm = isnan(r->context[2]) ? a->rssi_dbm : r->context[2];
	a->at_ms = r->received_ms;
	if (is_known && a->version == r->version)
		return;
	(void)observe_version(c, r->version, &model, &version);
	a->version = r->version;
	a->cohort = cohort_of(h, registry_text(c->s->registry, d->hardware), model, version);
}

/* Whether the check is for this device. Only a filter costs SQL, once an hour. */
static bool is_for(struct call *c, const struct health *h, const struct health_check *k, const struct device_state *d, const struct surroundings *a,
	struct health_state *st, int *matches)
{
	const struct health_check_row *row = &k->row;
	if (row->is_deleted || (row->hardware[0] != '\0' && strcmp(row->hardware, registry_text(c->s->registry, d->hardware)) != 0))
		return false;
	if (row->model[0] != '\0' && strcmp(row->model, health_cohort(h, a->cohort)->model) != 0)
		return false;
	if (row->filter[0] == '\0')
		return true;
	bool is_believed = c->now_ms < st->applies_until_ms && st->applies_until_ms - c->now_ms <= APPLIES_MS;
	if (!is_believed && *matches < MATCHES_MAX) {
		bool applies = false;
		(*matches)++;
		if (registry_matches(c, d, row->filter, 0, &applies) != ERR_OK)
			applies = false;
		st->applies = applies;
		st->applies_until_ms = c->now_ms + APPLIES_MS;
	}
	return st->applies;
}

static void take_value(struct health *h, struct health_check *k, struct health_state *st, const struct surroundings *a, double value, int64_t at_ms)
{
	const struct health_check_row *row = &k->row;
	bool is_broken = row->op[0] == 'g' ? value > row->threshold : value < row->threshold;
	st->value = (float)value;
	st->has_value = true;
	if (!is_broken)
		st->breach_ms = 0;
	else if (st->breach_ms == 0 || st->breach_ms > at_ms) /* it begins, or the clock went back behind its beginning */
		st->breach_ms = at_ms;
	if (is_broken && at_ms - st->breach_ms < row->window_ms)
		return; /* not long enough to be a failure, no pass either */
	int64_t every_ms = row->every_ms > 0 ? row->every_ms : HEALTH_EVERY_MS;
	bool is_soon = at_ms >= st->at_ms && at_ms - st->at_ms < every_ms;
	if (st->has_result && st->passed == !is_broken && is_soon && st->cohort == a->cohort)
		return;
	note_result(h, k, st, a, !is_broken, at_ms);
}

static void on_reports(struct call *c, void *ctx)
{
	struct health *h = ctx;
	int matches = 0;
	for (size_t i = 0; i < h->report_count; i++) {
		const struct taken_report *r = &h->reports[i];
		const struct device_state *d = registry_by_row(c->s->registry, r->device);
		if (d == NULL)
			continue;
		struct surroundings *a = around_of(h, d);
		look_around(c, h, d, r, a);
		for (size_t v = r->first; v < r->first + r->count; v++) {
			struct health_check *k = h->checks[h->values[v].check];
			struct health_state *st = health_state_of(k, d);
			if (is_for(c, h, k, d, a, st, &matches))
				take_value(h, k, st, a, h->values[v].value, r->received_ms);
		}
	}
	h->report_count = h->value_count = 0;
}

/* ---- answers ---- */

/* A limit of the check, where it has one, decides by the value; else the device does. */
static bool has_passed(const struct health_check *k, const struct command_answer *a)
{
	if (k->row.op[0] == '\0' || !a->has_value)
		return a->has_passed && a->passed;
	return k->row.op[0] == 'g' ? a->value <= k->row.threshold : a->value >= k->row.threshold;
}

enum err health_answered(struct call *c, struct device_state *d, int64_t check, const struct command_answer *a)
{
	struct health *h = c->s->health;
	struct health_check *k = health_find(h, check);
	if (k == NULL || k->row.is_deleted || k->is_limit || !a->is_done || (!a->has_passed && !a->has_value))
		return ERR_OK; /* nothing was found out */
	struct surroundings *around = around_of(h, d);
	if (around->at_ms == 0) /* before its first telemetry */
		around->cohort = cohort_of(h, registry_text(c->s->registry, d->hardware), k->row.model, registry_text(c->s->registry, d->release));
	struct health_state *st = health_state_of(k, d);
	st->has_value = a->has_value;
	st->value = (float)a->value;
	note_result(h, k, st, around, has_passed(k, a), c->now_ms);
	return health_write(c, k, st, a->detail);
}

/* ---- writing ---- */

enum err health_write(struct call *c, struct health_check *k, struct health_state *st, const char *detail)
{
	struct health *h = c->s->health;
	const struct device_state *d = registry_by_row(c->s->registry, st->device);
	const struct cohort_name *n = health_cohort(h, st->cohort);
	if (d == NULL || !st->has_result)
		return ERR_OK;
	detail = health_describe(c, k, st, detail);
	struct health_result_row row = {.check = k->row.id, .device = st->device, .at = st->at_ms, .passed = st->passed, .firing = st->wants,
	                                .has_value = st->has_value, .cell = st->cell, .value = (double)st->value, .detail = detail, .model = n->model,
	                                .version = n->version};
	memcpy(row.counts, st->counts, sizeof row.counts);
	health_touch(h);
	push_change(&h->uncommitted, k->row.id, st->device);
	enum err e = st->is_behind || st->is_forced ? health_result_put(h->store, &row, c->fault) : ERR_OK;
	if (e == ERR_OK && health_has_news(st))
		e = health_tell(c, k, st, d, detail);
	if (e == ERR_OK)
		st->is_behind = st->is_changed = st->is_forced = st->is_dirty = false; /* its place in the queue is passed over */
	return e;
}

static struct health_state *state_at(struct health *h, const struct changed *x, struct health_check **k)
{
	const struct device_state *d = registry_by_row(h->s->registry, x->device);
	*k = health_find(h, x->check);
	return d != NULL && *k != NULL ? health_state_find(*k, d) : NULL;
}

static enum err write_changed(struct call *c, struct health *h, size_t *done)
{
	enum err e = ERR_OK;
	struct timebox box = timebox_begin(TIMEBOX_NS);
	size_t waiting = h->queue.count - h->queue_head;
	for (*done = 0; e == ERR_OK && *done < waiting && *done < WRITES_MAX && (*done % 16 != 0 || *done == 0 || !timebox_is_over(&box)); (*done)++) {
		struct health_check *k;
		struct health_state *st = state_at(h, &h->queue.items[h->queue_head + *done], &k);
		if (st != NULL && st->is_dirty && !k->row.is_deleted)
			e = health_write(c, k, st, NULL);
	}
	return e;
}

/* Counts reach their rows in rounds: a kill costs the newest of them, and no verdict. Where an alert was ended by others (its rule was changed), and
 * the failure goes on, it is said again. */
static enum err write_round(struct call *c, struct health *h)
{
	enum err e = ERR_OK;
	int writes = 0;
	for (int looks = 0; e == ERR_OK && h->count > 0 && looks < ROUND_LOOKS && writes < ROUND_WRITES; looks++) {
		if (h->round_check >= h->count || h->round_at >= blocks_places(&h->checks[h->round_check]->states)) {
			h->round_check = h->round_check + 1 < h->count ? h->round_check + 1 : 0;
			h->round_at = 0;
			continue;
		}
		struct health_check *k = h->checks[h->round_check];
		struct health_state *st = blocks_find(&k->states, h->round_at++);
		if (st == NULL || st->device == 0 || k->row.is_deleted || !(st->is_behind || health_is_untold(c, k, st)))
			continue;
		writes++;
		e = health_write(c, k, st, NULL);
	}
	return e;
}

/* ---- undone work ---- */

static void on_committed(void *ctx)
{
	struct health *h = ctx;
	h->touched = 0;
	h->uncommitted.count = 0;
}

static void write_again(struct health *h)
{
	h->is_stale = true;
	for (size_t i = 0; i < h->uncommitted.count; i++) {
		struct health_check *k;
		struct health_state *st = state_at(h, &h->uncommitted.items[i], &k);
		if (st == NULL)
			continue;
		st->is_forced = true;
		st->is_dirty = false;
		mark_dirty(h, k, st);
	}
	h->uncommitted.count = 0;
}

static void on_undone(void *ctx)
{
	struct health *h = ctx;
	if (h->touched != 0 && unit_undone_from(h->s) <= h->touched)
		write_again(h);
}

static void on_lost(void *ctx)
{
	struct health *h = ctx;
	if (h->touched != 0)
		write_again(h);
	h->touched = 0;
}

/* ---- time ---- */

static enum err work(struct call *c, struct health *h, size_t *done)
{
	enum err e = write_changed(c, h, done);
	if (e == ERR_OK)
		e = write_round(c, h);
	for (size_t i = 0; e == ERR_OK && i < h->count; i++) {
		struct health_check *k = h->checks[i];
		if (k->row.is_deleted)
			e = health_delete_some(c, k);
		else if (!k->is_limit && k->row.every_ms > 0 && (c->now_ms >= k->row.next_at || k->row.next_at - c->now_ms > 2 * k->row.every_ms))
			e = health_run_due(c, k);
	}
	return e;
}

enum err health_tick(struct call *c)
{
	struct health *h = c->s->health;
	size_t done = 0;
	enum err e = h->is_stale ? health_load_checks(h, c->fault) : ERR_OK;
	if (e != ERR_OK || h->count == 0)
		return e;
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, work(c, h, &done), c->fault);
	if (e != ERR_OK)
		return e;
	h->queue_head += done;
	if (h->queue_head == h->queue.count || h->queue_head > QUEUE_SLACK + h->queue.count / 2) { /* moved seldom: it may have an entry a device */
		memmove(h->queue.items, h->queue.items + h->queue_head, (h->queue.count - h->queue_head) * sizeof *h->queue.items);
		h->queue.count -= h->queue_head;
		h->queue_head = 0;
	}
	return ERR_OK;
}

/* ---- opening ---- */

static enum err load_states(struct health *h, struct health_check *k, struct fault *f)
{
	int64_t after = 0;
	for (;;) {
		struct health_result_row *rows;
		size_t count;
		arena_reset(h->arena);
		enum err e = health_result_page(h->store, k->row.id, after, PAGE, h->arena, &rows, &count, f);
		if (e != ERR_OK || count == 0)
			return e;
		for (size_t i = 0; i < count; i++) {
			const struct health_result_row *row = &rows[i];
			const struct device_state *d = registry_by_row(h->s->registry, row->device);
			if (d == NULL)
				continue;
			struct health_state *st = health_state_of(k, d);
			st->at_ms = row->at;
			st->value = (float)row->value;
			st->has_value = row->has_value;
			st->has_result = true;
			st->passed = row->passed;
			st->wants = row->firing;
			st->cell = (uint8_t)row->cell;
			st->cohort = cohort_of(h, registry_text(h->s->registry, d->hardware), row->model, row->version);
			memcpy(st->counts, row->counts, sizeof st->counts);
			tally(h, k, st, 1);
			health_recall(h, k, st, d);
			if (health_has_news(st) && !k->row.is_deleted)
				mark_dirty(h, k, st);
		}
		after = rows[count - 1].device;
	}
}

enum err health_open(struct services *s, struct health **out, struct fault *f)
{
	struct health *h = calloc(1, sizeof *h);
	if (h == NULL)
		abort();
	h->s = s;
	h->arena = arena_new(ARENA_BYTES);
	(void)cohort_of(h, "", "", ""); /* the first is nobody's */
	enum err e = health_store_open(s->db, &h->store, f);
	if (e == ERR_OK)
		e = health_load_checks(h, f);
	for (size_t i = 0; e == ERR_OK && i < h->count; i++)
		e = load_states(h, h->checks[i], f);
	if (e != ERR_OK) {
		health_close(h);
		h = NULL;
	} else {
		units_listen(s->units, (struct unit_listener){on_committed, on_undone, on_lost, h});
		observe_on_begin(s->telemetry, on_begin, h);
		observe_on_values(s->telemetry, on_value, h);
		observe_on_reports(s->telemetry, on_reports, h);
	}
	*out = h;
	return e;
}

static void free_text(const char *text)
{
	free((char *)(uintptr_t)text);
}

static void free_check(struct health_check *k)
{
	const struct health_check_row *row = &k->row;
	const char *texts[] = {row->name, row->kind, row->hardware, row->model, row->filter, row->metric, row->op, row->severity};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free_text(texts[i]);
	blocks_free(&k->states);
	free(k->cells);
	free(k);
}

void health_close(struct health *h)
{
	if (h == NULL)
		return;
	observe_on_begin(h->s->telemetry, NULL, h);
	observe_on_values(h->s->telemetry, NULL, h);
	for (size_t i = 0; i < h->count; i++)
		free_check(h->checks[i]);
	for (size_t i = 0; i < h->cohort_count; i++) {
		free(h->cohorts[i].hardware);
		free(h->cohorts[i].model);
		free(h->cohorts[i].version);
	}
	health_store_close(h->store);
	arena_free(h->arena);
	free(h->cohorts);
	blocks_free(&h->around);
	free(h->reports);
	free(h->values);
	free(h->queue.items);
	free(h->uncommitted.items);
	free(h);
}

static struct health_check *make_check(const struct health_check_row *row)
{
	struct health_check *k = calloc(1, sizeof *k);
	enum command_check what;
	if (k == NULL)
		abort();
	k->row = *row;
	k->row.name = own(row->name), k->row.kind = own(row->kind), k->row.hardware = own(row->hardware), k->row.model = own(row->model);
	k->row.filter = own(row->filter), k->row.metric = own(row->metric), k->row.op = own(row->op), k->row.severity = own(row->severity);
	k->is_limit = strcmp(row->kind, HEALTH_LIMIT) == 0;
	k->is_excusable = k->is_limit || (command_check_of(row->kind, &what) && command_check_is_excusable(what));
	k->is_hash = !k->is_limit && command_check_of(row->kind, &what) && what == COMMAND_CHECK_MODEL_HASH;
	k->context = (struct health_context){(float)row->hot_c, (float)row->battery_low, (float)row->rssi_bad};
	return k;
}

/* The checks as the rows have them; states of those that were there stay. */
enum err health_load_checks(struct health *h, struct fault *f)
{
	struct health_check_row *rows;
	size_t count, old_count = h->count;
	struct health_check *old[HEALTH_CHECKS_MAX];
	arena_reset(h->arena);
	enum err e = health_check_all(h->store, HEALTH_CHECKS_MAX, h->arena, &rows, &count, f);
	if (e != ERR_OK)
		return e;
	assert(h->report_count == 0); /* numbers of checks are only used within a batch */
	memcpy(old, h->checks, sizeof old);
	h->count = count;
	for (size_t i = 0; i < count; i++) {
		h->checks[i] = make_check(&rows[i]);
		for (size_t j = 0; j < old_count; j++) {
			if (old[j] == NULL || old[j]->row.id != rows[i].id)
				continue;
			struct health_check *k = h->checks[i];
			k->states = old[j]->states;
			k->cells = old[j]->cells, k->cells_room = old[j]->cells_room;
			k->deleted_upto = old[j]->deleted_upto;
			old[j]->states = (struct blocks){.items = NULL}, old[j]->cells = NULL;
		}
	}
	for (size_t j = 0; j < old_count; j++)
		free_check(old[j]);
	memset(h->links, 0, sizeof h->links);
	h->is_stale = false;
	return ERR_OK;
}

void health_forget(struct health *h, struct device_state *d)
{
	for (size_t i = 0; i < h->count; i++) {
		struct health_check *k = h->checks[i];
		struct health_state *st = health_state_find(k, d);
		if (st == NULL)
			continue;
		tally(h, k, st, -1);
		*st = (struct health_state){.device = 0};
	}
}

int64_t health_state_bytes(const struct health *h)
{
	int64_t bytes = blocks_bytes(&h->around);
	for (size_t i = 0; i < h->count; i++)
		bytes += blocks_bytes(&h->checks[i]->states);
	return bytes;
}
