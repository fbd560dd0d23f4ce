/* Detection and the log: a batch is told, states go out with batches, and come back at start.
 *
 * A round writes each device that has changed, some with each batch. With every piece go all cohorts that have changed and all new views, so
 * that what is stored of cohorts is never older than what is stored of a device. A device alone may be newer than the round's begin: the
 * log from there on is told again, to each device from its own batch on, to cohorts from theirs.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/alerts.h"
#include "service/detect_inside.h"
#include "service/telemetry.h"

/* What the bytes mean depends on these. */
#define FORMAT 2u
#define LAYOUT (FORMAT + ((uint32_t)sizeof(struct detect_state) << 8))

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- a batch ---- */

static void look_up_roles(struct detect *d)
{
	size_t count = symbols_count(d->symbols) + 1;
	if (count <= d->role_count)
		return;
	d->roles = must(realloc(d->roles, count));
	memset(d->roles + d->role_count, 0, count - d->role_count);
	d->role_count = count;
}

static void see_past(struct detect *d, int64_t batch)
{
	for (; d->past_at < d->past_count && d->past[d->past_at].batch <= batch; d->past_at++) {
		const struct view_row *v = &d->past[d->past_at];
		if (v->cohort < d->cohort_count)
			d->cohorts[v->cohort]->view = v->view;
	}
}

void detect_begin(void *ctx, int64_t batch, int64_t first_ms)
{
	struct detect *d = ctx;
	d->batch = batch;
	look_up_roles(d);
	see_past(d, batch < d->loaded ? batch : d->loaded);
	for (uint32_t i = 0; i < d->cohort_count && batch > d->loaded; i++)
		detect_cohort_begin(d, d->cohorts[i], first_ms);
}

void detect_report(void *ctx, const struct log_report *r)
{
	detect_update(ctx, r);
}

void detect_forget(void *ctx, int64_t device)
{
	struct detect *d = ctx;
	detect_drop(d, device);
	if (device > 0)
		state_pages_forget(d->pages, device);
}

/* ---- sealing ---- */

static void put_header(struct buf *b)
{
	const uint32_t layout = LAYOUT;
	buf_append(b, &layout, sizeof layout);
}

static struct stored_detect *add_row(struct detect *d, struct stored_batch *b, enum stored_detect_kind kind, int64_t key, int64_t batch)
{
	if (b->detect_count == d->row_room) {
		d->row_room = d->row_room > 0 ? 2 * d->row_room : 1024;
		d->rows = must(realloc(d->rows, d->row_room * sizeof *d->rows));
	}
	struct stored_detect *row = &d->rows[b->detect_count++];
	*row = (struct stored_detect){.kind = kind, .key = key, .batch = batch, .len = d->bytes.len};
	put_header(&d->bytes);
	return row; /* len is where its bytes begin, for now */
}

static void seal_cohort(struct detect *d, struct detect_cohort *c, int64_t settled, struct stored_batch *b)
{
	if (c->is_hot_dirty || c->is_cold_dirty) {
		memcpy(c->hot.common, c->budget.common, sizeof c->hot.common);
		memcpy(c->hot.common_sum, c->budget.common_sum, sizeof c->hot.common_sum);
		memcpy(c->hot.common_count, c->budget.common_count, sizeof c->hot.common_count);
		c->hot.common_slot = c->budget.common_slot;
		(void)add_row(d, b, DETECT_COHORT, c->number + 1, settled);
		buf_append(&d->bytes, &c->hot, sizeof c->hot);
	}
	if (c->is_cold_dirty) {
		(void)add_row(d, b, DETECT_BUDGET, c->number + 1, settled);
		buf_append(&d->bytes, &c->budget, sizeof c->budget);
		buf_append(&d->bytes, &c->drift, sizeof c->drift);
	}
	c->is_hot_dirty = c->is_cold_dirty = false;
}

/* The next place from `at` on that has changed; `end` when there is none. */
static uint32_t next_dirty(const struct detect *d, uint32_t at, uint32_t end)
{
	while (at < end) {
		uint64_t word = d->dirty[at / 64] >> at % 64;
		if (word != 0)
			at += (uint32_t)__builtin_ctzll(word);
		if (word != 0 || at / 64 == end / 64)
			break;
		at = (at / 64 + 1) * 64;
	}
	return at < end ? at : end;
}

static void mark_outdated(void *ctx, int64_t device)
{
	struct detect *d = ctx;
	uint32_t place = device < d->place_room ? d->place_of[device] : 0;
	if (place != 0)
		detect_dirty(d, place - 1);
}

static void begin_round(struct detect *d, int64_t settled, int64_t now_ms)
{
	state_pages_outdated(d->pages, mark_outdated, d);
	d->round_place = 0;
	d->round_end = d->used;
	d->round_batch = settled;
	d->round_at_ms = now_ms + d->o.checkpoint_ms;
}

static void seal_devices(struct detect *d, int64_t now_ms, struct stored_batch *b)
{
	const uint32_t layout = LAYOUT;
	uint32_t at = d->round_place;
	for (int64_t left = d->o.states_a_batch; left > 0 && state_pace_left(&d->pace, now_ms) > 0; left--) {
		at = next_dirty(d, at, d->round_end);
		if (at == d->round_end)
			break;
		const struct detect_state *k = detect_at(d, at);
		d->dirty[at / 64] &= ~((uint64_t)1 << at % 64);
		d->dirty_count--;
		buf_clear(&d->state);
		buf_append(&d->state, &layout, sizeof layout);
		buf_append(&d->state, k, d->stride);
		state_pages_put(d->pages, k->head.row, d->state.data, d->state.len);
		state_pace_spend(&d->pace, d->state.len, now_ms);
		at++;
	}
	d->round_place = next_dirty(d, at, d->round_end);
	if (d->round_place == d->round_end) /* all that had changed when the round began is written */
		b->detect_batch = d->round_batch;
}

static void seal_views(struct detect *d, struct stored_batch *b)
{
	for (size_t i = 0; i < d->view_count; i++) {
		(void)add_row(d, b, DETECT_VIEW, d->views[i].cohort, d->views[i].batch);
		buf_append(&d->bytes, &d->views[i].view, sizeof d->views[i].view);
	}
	d->view_count = 0;
}

static bool is_round_due(const struct detect *d, int64_t now_ms)
{
	bool is_time = now_ms >= d->round_at_ms || now_ms < d->round_at_ms - 2 * d->o.checkpoint_ms; /* or the clock went back */
	return (d->round_place < d->round_end || (is_time && d->dirty_count > 0)) && state_pace_is_due(&d->pace, now_ms);
}

/* The bytes moved while they were gathered: now each row learns where its own are. */
static void point_rows(struct detect *d, struct stored_batch *b, size_t events)
{
	size_t end = d->bytes.len;
	for (size_t i = b->detect_count; i-- > events;) {
		size_t start = d->rows[i].len;
		d->rows[i].data = (const uint8_t *)d->bytes.data + start;
		d->rows[i].len = end - start;
		end = start;
	}
	b->detects = d->rows;
}

void detect_seal(void *ctx, int64_t settled, int64_t now_ms, struct stored_batch *b)
{
	struct detect *d = ctx;
	b->detect_count = 0;
	d->bytes.len = 0;
	for (size_t i = 0; i < d->event_count; i++) {
		struct stored_detect *row = add_row(d, b, DETECT_EVENT, 0, 0);
		d->bytes.len = 0;
		*row = d->events[i];
	}
	size_t without = b->detect_count;
	d->event_count = 0;
	b->detects = d->rows;
	/* What was found but not told yet has to be found again after a kill. */
	bool is_due = is_round_due(d, now_ms) && d->finding_count == 0 && (d->s == NULL || !alerts_owe_scores(d->s));
	if (is_due) {
		if (d->round_place == d->round_end)
			begin_round(d, settled, now_ms);
		seal_views(d, b);
		for (uint32_t i = 0; i < d->cohort_count; i++)
			seal_cohort(d, d->cohorts[i], settled, b);
		seal_devices(d, now_ms, b);
		point_rows(d, b, without);
	}
	state_pages_seal(d->pages, settled, &b->pages[PAGE_DETECT]);
}

/* ---- reading back ---- */

static const uint8_t *body_of(const void *data, size_t len, size_t size)
{
	uint32_t layout = 0;
	if (data == NULL || len < sizeof layout)
		return NULL;
	memcpy(&layout, data, sizeof layout);
	return layout == LAYOUT && len == sizeof layout + size ? (const uint8_t *)data + sizeof layout : NULL;
}

static void note_loaded(struct detect *d, uint32_t place, int64_t batch)
{
	if (place >= d->loaded_room) {
		uint32_t room = d->loaded_room > 0 ? d->loaded_room : 1024;
		while (room <= place)
			room *= 2;
		d->loaded_of = must(realloc(d->loaded_of, room * sizeof *d->loaded_of));
		memset(d->loaded_of + d->loaded_room, 0, (room - d->loaded_room) * sizeof *d->loaded_of);
		d->loaded_room = room;
	}
	d->loaded_of[place] = batch;
}

static void load_device(void *ctx, int64_t device, int64_t batch, const void *data, size_t len)
{
	struct detect *d = ctx;
	/* in the other form only the series are of no use */
	const size_t known = sizeof(struct detect_state), other = known + DETECT_SERIES * (d->is_full ? sizeof(struct novelty_compact) : sizeof(struct novelty_full));
	const uint8_t *same = body_of(data, len, d->stride), *bytes = same != NULL ? same : body_of(data, len, other);
	struct detect_state *k = bytes != NULL ? detect_get(d, device) : NULL;
	if (k == NULL)
		return; /* of another layout: learned anew from the log's end on */
	memcpy((void *)k, bytes, same != NULL ? d->stride : known);
	k->head.row = (uint32_t)device;
	k->head.cohort = k->head.cohort <= DETECT_COHORTS ? k->head.cohort : 0;
	note_loaded(d, d->place_of[device] - 1, batch);
}

void detect_load_page(void *ctx, const struct stored_page *page)
{
	struct detect *d = ctx;
	state_pages_load(d->pages, page, load_device, d);
}

static void load_cohort(struct detect *d, const struct stored_detect *row)
{
	const uint8_t *bytes = body_of(row->data, row->len, sizeof(struct detect_hot));
	if (bytes == NULL || row->key != (int64_t)d->cohort_count + 1 || d->cohort_count == DETECT_COHORTS)
		return;
	struct detect_cohort *c = must(calloc(1, sizeof *c));
	memcpy(&c->hot, bytes, sizeof c->hot);
	c->hot.hardware[sizeof c->hot.hardware - 1] = c->hot.model[sizeof c->hot.model - 1] = c->hot.text[sizeof c->hot.text - 1] = '\0';
	c->hot.parent = c->hot.parent <= d->cohort_count ? c->hot.parent : 0;
	c->number = d->cohort_count;
	detect_cohort_name(c);
	d->cohorts = must(realloc(d->cohorts, (d->cohort_count + 1u) * sizeof *d->cohorts));
	d->cohorts[d->cohort_count++] = c;
	d->loaded = row->batch > d->loaded ? row->batch : d->loaded;
}

static void load_budget(struct detect *d, const struct stored_detect *row)
{
	struct detect_cohort *c = row->key >= 1 && row->key <= d->cohort_count ? d->cohorts[row->key - 1] : NULL;
	const uint8_t *bytes = body_of(row->data, row->len, sizeof c->budget + sizeof c->drift);
	if (bytes == NULL || c == NULL)
		return;
	memcpy(&c->budget, bytes, sizeof c->budget);
	memcpy(&c->drift, bytes + sizeof c->budget, sizeof c->drift);
	if (!drift_is_valid(&c->drift))
		memset(&c->drift, 0, sizeof c->drift);
}

static void load_view(struct detect *d, const struct stored_detect *row)
{
	const uint8_t *bytes = body_of(row->data, row->len, sizeof(struct detect_view));
	if (bytes == NULL)
		return;
	if (d->past_count == d->past_room) {
		d->past_room = d->past_room > 0 ? 2 * d->past_room : 256;
		d->past = must(realloc(d->past, d->past_room * sizeof *d->past));
	}
	struct view_row *v = &d->past[d->past_count++];
	v->cohort = (uint32_t)row->key;
	v->batch = row->batch;
	memcpy(&v->view, bytes, sizeof v->view);
}

void detect_load_row(void *ctx, const struct stored_detect *row)
{
	static void (*const load[])(struct detect *, const struct stored_detect *) = {
		[DETECT_COHORT] = load_cohort, [DETECT_BUDGET] = load_budget, [DETECT_VIEW] = load_view};
	if (row->kind >= DETECT_COHORT && row->kind <= DETECT_VIEW)
		load[row->kind](ctx, row);
}

static int by_batch(const void *a, const void *b)
{
	const struct view_row *x = a, *y = b;
	if (x->batch != y->batch)
		return x->batch < y->batch ? -1 : 1;
	return x->cohort < y->cohort ? -1 : x->cohort > y->cohort;
}

static void load_common(struct detect_cohort *c)
{
	memcpy(c->budget.common, c->hot.common, sizeof c->hot.common);
	memcpy(c->budget.common_sum, c->hot.common_sum, sizeof c->hot.common_sum);
	memcpy(c->budget.common_count, c->hot.common_count, sizeof c->hot.common_count);
	c->budget.common_slot = c->hot.common_slot;
}

static void after_rows(void *ctx)
{
	struct detect *d = ctx;
	if (d->past_count > 0)
		qsort(d->past, d->past_count, sizeof *d->past, by_batch);
	for (uint32_t i = 0; i < d->cohort_count; i++)
		load_common(d->cohorts[i]);
}

void detect_start(struct detect *d, struct telemetry *t)
{
	d->symbols = telemetry_symbols(t);
	telemetry_accompany(t, &(struct telemetry_companion){.ctx = d, .prefetch = detect_prefetch, .begin = detect_begin, .report = detect_report,
	                                                    .seal = detect_seal, .forget = detect_forget});
}

enum err detect_read(struct detect *d, struct telemetry *t, struct fault *f)
{
	enum err e = telemetry_companion_load(t, detect_load_row, detect_load_page, after_rows, f);
	see_past(d, INT64_MAX);
	detect_drop_loaded(d);
	free(d->past);
	d->past = NULL;
	d->past_count = d->past_room = d->past_at = 0;
	return e;
}
