#include "service/tracks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/varint.h"

#define FORMAT 2
#define FORMAT_UNPAIRED 1 /* of before windows could be paired: still read */
#define HALVES_MISSED_MAX 2 /* a device that was away longer begins a new baseline */

/* A stage that follows devices: its list and its total, so that nobody walks the fleet for it. */
struct followed {
	int64_t rollout, stage, reports;
	int64_t *devices;
	size_t count, room;
};
struct tracks {
	struct track **places; /* by device; size is a power of two */
	size_t size, count;
	int64_t half_ms;
	struct followed *stages;
	size_t stage_count;
	struct track *first_dirty, **last_dirty;
	size_t dirty_count;
	struct ddsketch scratch, other;
	int64_t (*pair_of)(void *ctx, int64_t metric);
	void *pair_ctx;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct tracks *tracks_new(int64_t baseline_ms)
{
	struct tracks *t = must(calloc(1, sizeof *t));
	t->size = 1024;
	t->places = must(calloc(t->size, sizeof(struct track *)));
	t->half_ms = baseline_ms > 1 ? baseline_ms / 2 : 1;
	t->last_dirty = &t->first_dirty;
	return t;
}

void tracks_pair_by(struct tracks *t, int64_t (*pair_of)(void *ctx, int64_t metric), void *ctx)
{
	t->pair_of = pair_of;
	t->pair_ctx = ctx;
}

static void free_windows(struct track *k)
{
	for (size_t i = 0; i < k->window_count; i++) {
		for (size_t m = 0; m < k->windows[i].metric_count; m++)
			free(k->windows[i].metrics[m].cell.sketch.data);
		free(k->windows[i].metrics);
	}
	free(k->windows);
	k->windows = NULL;
	k->window_count = 0;
}

static void free_baselines(struct track *k)
{
	for (size_t i = 0; i < k->baseline_count; i++) {
		free(k->baselines[i].older.sketch.data);
		free(k->baselines[i].current.sketch.data);
	}
	free(k->baselines);
	k->baselines = NULL;
	k->baseline_count = 0;
}

void tracks_free(struct tracks *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->size; i++) {
		if (t->places[i] == NULL)
			continue;
		free_windows(t->places[i]);
		free_baselines(t->places[i]);
		free(t->places[i]);
	}
	for (size_t i = 0; i < t->stage_count; i++)
		free(t->stages[i].devices);
	free(t->stages);
	free(t->places);
	free(t);
}

/* ---- the table ---- */

static size_t home_of(int64_t device, size_t size)
{
	return (size_t)((uint64_t)device * 0x9e3779b97f4a7c15u >> 20) & (size - 1);
}

static struct track **place_of(struct track **places, size_t size, int64_t device)
{
	for (size_t i = home_of(device, size);; i = (i + 1) & (size - 1)) {
		if (places[i] == NULL || places[i]->device == device)
			return &places[i];
	}
}

struct track *tracks_find(const struct tracks *t, int64_t device)
{
	return *place_of(t->places, t->size, device);
}

static void grow(struct tracks *t)
{
	size_t size = t->size * 2;
	struct track **places = must(calloc(size, sizeof(struct track *)));
	for (size_t i = 0; i < t->size; i++) {
		if (t->places[i] != NULL)
			*place_of(places, size, t->places[i]->device) = t->places[i];
	}
	free(t->places);
	t->places = places;
	t->size = size;
}

struct track *tracks_get(struct tracks *t, int64_t device)
{
	assert(device > 0);
	struct track *k = tracks_find(t, device);
	if (k != NULL)
		return k;
	if ((t->count + 1) * 2 > t->size)
		grow(t);
	k = must(calloc(1, sizeof *k));
	k->device = device;
	*place_of(t->places, t->size, device) = k;
	t->count++;
	return k;
}

size_t tracks_count(const struct tracks *t)
{
	return t->count;
}

struct track *tracks_each(const struct tracks *t, size_t *at)
{
	while (*at < t->size) {
		struct track *k = t->places[(*at)++];
		if (k != NULL)
			return k;
	}
	return NULL;
}

/* Takes a key out of an open-addressed table: those behind it that probed over it move up. */
static void remove_place(struct tracks *t, struct track **place)
{
	size_t mask = t->size - 1, hole = (size_t)(place - t->places);
	t->places[hole] = NULL;
	for (size_t i = (hole + 1) & mask; t->places[i] != NULL; i = (i + 1) & mask) {
		size_t home = home_of(t->places[i]->device, t->size);
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		t->places[hole] = t->places[i];
		t->places[i] = NULL;
		hole = i;
	}
	t->count--;
}

static void remove_dirty(struct tracks *t, struct track *k)
{
	if (!k->is_dirty)
		return;
	for (struct track **at = &t->first_dirty; *at != NULL; at = &(*at)->next_dirty) {
		if (*at != k)
			continue;
		*at = k->next_dirty;
		if (*at == NULL)
			t->last_dirty = at;
		t->dirty_count--;
		break;
	}
	k->is_dirty = false;
}

void tracks_drop(struct tracks *t, struct track *k)
{
	while (k->window_count > 0)
		track_close_window(t, k, &k->windows[0]);
	remove_dirty(t, k);
	remove_place(t, place_of(t->places, t->size, k->device));
	free_windows(k);
	free_baselines(k);
	free(k);
}

/* ---- cells ---- */

static void cell_clear(struct accum_cell *c)
{
	free(c->sketch.data);
	*c = (struct accum_cell){.sketch = {NULL, 0}};
	accum_init(&c->a);
}

static void load_sketch(const struct accum_cell *c, struct ddsketch *s)
{
	if (c->sketch.data == NULL || ddsketch_decode(s, c->sketch.data, c->sketch.len) != ERR_OK)
		ddsketch_init(s);
}

static void save_sketch(struct accum_cell *c, const struct ddsketch *s)
{
	uint8_t bytes[DDSKETCH_ENCODED_MAX];
	size_t len = ddsketch_encode(s, bytes);
	c->sketch.data = must(realloc(c->sketch.data, len));
	c->sketch.len = len;
	memcpy(c->sketch.data, bytes, len);
}

/* A value that would overflow the accumulator is left out, which is the same after a replay. */
void cell_put(struct accum_cell *c, const struct log_metric *m, struct ddsketch *scratch)
{
	enum err e = ERR_OK;
	switch (m->type) {
	case VALUE_NUMBER:
		e = accum_add_number(&c->a, m->value);
		break;
	case VALUE_SUM:
		e = accum_add_mean(&c->a, m->n, m->value);
		break;
	case VALUE_RATIO:
		e = accum_add_ratio(&c->a, m->n, m->k);
		break;
	case VALUE_SKETCH:
		load_sketch(c, scratch);
		e = accum_add_sketch(&c->a, scratch, m->keys, m->counts, m->bin_count);
		if (e == ERR_OK)
			save_sketch(c, scratch);
		break;
	case VALUE_HIST:
	case VALUE_TYPE_COUNT:
		break; /* no gate reads histograms */
	}
	(void)e;
}

static void cell_add(struct tracks *t, struct accum_cell *c, const struct log_metric *m)
{
	cell_put(c, m, &t->scratch);
}

void cell_merge(const struct accum_cell *cell, struct metric_accum *a, struct ddsketch *s)
{
	enum err e = accum_merge(a, &cell->a);
	if (e == ERR_OK && s != NULL && cell->sketch.data != NULL) {
		struct ddsketch mine;
		load_sketch(cell, &mine);
		e = ddsketch_merge(s, &mine);
	}
	(void)e;
}

/* ---- applying ---- */

static struct baseline *baseline_of(struct track *k, int64_t metric, int64_t model)
{
	for (size_t i = 0; i < k->baseline_count; i++) {
		if (k->baselines[i].metric == metric && k->baselines[i].model == model)
			return &k->baselines[i];
	}
	if (k->baseline_count == TRACK_BASELINES_MAX)
		return NULL;
	k->baselines = must(realloc(k->baselines, (k->baseline_count + 1u) * sizeof *k->baselines));
	struct baseline *b = &k->baselines[k->baseline_count++];
	*b = (struct baseline){.metric = metric, .model = model, .half = -1};
	accum_init(&b->older.a);
	accum_init(&b->current.a);
	return b;
}

/* Makes `half` the one that is filled. A half in the past (the clock went back) is taken for the current one. */
static void turn_baseline(struct baseline *b, int64_t version, int64_t half)
{
	bool is_new = b->half < 0 || b->version != version || half > b->half + HALVES_MISSED_MAX;
	if (!is_new && half <= b->half)
		return;
	if (is_new) {
		cell_clear(&b->older);
		cell_clear(&b->current);
	} else {
		free(b->older.sketch.data);
		b->older = b->current;
		b->current.sketch = (struct sketch_blob){NULL, 0};
		accum_init(&b->current.a);
	}
	b->version = version;
	b->half = half;
}

static struct window_metric *window_metric_of(struct window *w, int64_t metric)
{
	for (size_t i = 0; i < w->metric_count; i++) {
		if (w->metrics[i].metric == metric)
			return &w->metrics[i];
	}
	w->metrics = must(realloc(w->metrics, (w->metric_count + 1) * sizeof *w->metrics));
	struct window_metric *m = &w->metrics[w->metric_count++];
	*m = (struct window_metric){.metric = metric};
	accum_init(&m->cell.a);
	return m;
}

static struct followed *stage_of(const struct tracks *t, int64_t rollout, int64_t stage)
{
	for (size_t i = 0; i < t->stage_count; i++) {
		if (t->stages[i].rollout == rollout && (t->stages[i].stage == stage || stage < 0))
			return &t->stages[i];
	}
	return NULL;
}

static void count_report(struct tracks *t, struct window *w)
{
	w->reports++;
	stage_of(t, w->rollout, w->stage)->reports++;
}

/* Bit i: the report's metric i has its partner in the same report. */
static uint32_t pairs_of(const struct tracks *t, struct log_report r)
{
	int64_t names[TELEMETRY_METRICS];
	unsigned count = 0;
	uint32_t pairs = 0;
	struct log_metric m;
	while (count < TELEMETRY_METRICS && report_log_metric(&r, &m))
		names[count++] = m.type != VALUE_HIST ? m.name : 0;
	for (unsigned i = 0; i < count && t->pair_of != NULL; i++) {
		int64_t partner = names[i] != 0 ? t->pair_of(t->pair_ctx, names[i]) : 0;
		for (unsigned j = 0; j < count && partner != 0; j++) {
			if (names[j] == partner)
				pairs |= (uint32_t)1 << i | (uint32_t)1 << j;
		}
	}
	return pairs;
}

_Static_assert(TELEMETRY_METRICS <= 32, "a bit each");

/* Which metrics of the report count in a window: a bit each. */
static uint32_t counted(const struct window *w, const struct log_report *r, uint32_t pairs)
{
	if (r->received_ms < w->since_ms)
		return 0;
	return w->is_paired ? pairs : UINT32_MAX;
}

static bool has_paired(const struct track *k)
{
	for (size_t i = 0; i < k->window_count; i++) {
		if (k->windows[i].is_paired)
			return true;
	}
	return false;
}

void track_apply(struct tracks *t, struct track *k, struct log_report *r, int64_t model)
{
	uint32_t pairs = has_paired(k) ? pairs_of(t, *r) : 0;
	silence_observe(&k->habit, r->received_ms);
	for (size_t i = 0; i < k->window_count; i++) {
		if (counted(&k->windows[i], r, pairs) != 0)
			count_report(t, &k->windows[i]);
	}
	struct log_metric m;
	for (unsigned at = 0; report_log_metric(r, &m); at++) {
		struct baseline *b = m.type != VALUE_HIST ? baseline_of(k, m.name, model) : NULL;
		if (b != NULL) {
			turn_baseline(b, r->version, r->received_ms / t->half_ms);
			cell_add(t, &b->current, &m);
		}
		for (size_t i = 0; i < k->window_count; i++) {
			if (counted(&k->windows[i], r, pairs) >> at & 1 && m.type != VALUE_HIST)
				cell_add(t, &window_metric_of(&k->windows[i], m.name)->cell, &m);
		}
	}
	tracks_mark_dirty(t, k);
}

void track_backfill(struct tracks *t, struct window *w, struct log_report *r)
{
	uint32_t mask = counted(w, r, w->is_paired ? pairs_of(t, *r) : 0);
	if (mask == 0)
		return;
	count_report(t, w);
	struct log_metric m;
	for (unsigned at = 0; report_log_metric(r, &m); at++) {
		if (mask >> at & 1 && m.type != VALUE_HIST)
			cell_add(t, &window_metric_of(w, m.name)->cell, &m);
	}
}

/* ---- windows ---- */

struct window *track_window(struct track *k, int64_t rollout, int64_t stage)
{
	for (size_t i = 0; i < k->window_count; i++) {
		if (k->windows[i].rollout == rollout && k->windows[i].stage == stage)
			return &k->windows[i];
	}
	return NULL;
}

static void join_stage(struct tracks *t, int64_t rollout, int64_t stage, int64_t device)
{
	struct followed *f = stage_of(t, rollout, stage);
	if (f == NULL) {
		t->stages = must(realloc(t->stages, (t->stage_count + 1) * sizeof *t->stages));
		f = &t->stages[t->stage_count++];
		*f = (struct followed){.rollout = rollout, .stage = stage};
	}
	if (f->count == f->room) {
		f->room = f->room ? f->room * 2 : 16;
		f->devices = must(realloc(f->devices, f->room * sizeof *f->devices));
	}
	f->devices[f->count++] = device;
}

static void leave_stage(struct tracks *t, const struct window *w, int64_t device)
{
	struct followed *f = stage_of(t, w->rollout, w->stage);
	assert(f != NULL);
	f->reports -= w->reports;
	for (size_t i = f->count; i-- > 0;) { /* those that leave together come from the end */
		if (f->devices[i] == device) {
			f->devices[i] = f->devices[--f->count];
			break;
		}
	}
	if (f->count > 0)
		return;
	assert(f->reports == 0);
	free(f->devices);
	*f = t->stages[--t->stage_count];
}

static struct window *add_window(struct tracks *t, struct track *k, int64_t rollout, int64_t stage, int64_t since_ms, bool is_paired)
{
	k->windows = must(realloc(k->windows, (k->window_count + 1u) * sizeof *k->windows));
	struct window *w = &k->windows[k->window_count++];
	*w = (struct window){.rollout = rollout, .stage = stage, .since_ms = since_ms, .is_paired = is_paired};
	join_stage(t, rollout, stage, k->device);
	return w;
}

struct window *track_open_window(struct tracks *t, struct track *k, int64_t rollout, int64_t stage, int64_t since_ms, bool is_paired)
{
	struct window *have = track_window(k, rollout, stage);
	if (have == NULL && k->window_count == TRACK_WINDOWS_MAX)
		have = &k->windows[0]; /* they are in order of opening */
	if (have != NULL)
		track_close_window(t, k, have);
	tracks_mark_dirty(t, k);
	return add_window(t, k, rollout, stage, since_ms, is_paired);
}

void track_close_window(struct tracks *t, struct track *k, struct window *w)
{
	leave_stage(t, w, k->device);
	for (size_t m = 0; m < w->metric_count; m++)
		free(w->metrics[m].cell.sketch.data);
	free(w->metrics);
	size_t at = (size_t)(w - k->windows);
	memmove(w, w + 1, (k->window_count - at - 1) * sizeof *w);
	k->window_count--;
	tracks_mark_dirty(t, k);
}

const int64_t *tracks_followed(const struct tracks *t, int64_t rollout, int64_t stage, size_t *count, int64_t *stage_out)
{
	const struct followed *f = stage_of(t, rollout, stage);
	*count = f != NULL ? f->count : 0;
	if (stage_out != NULL)
		*stage_out = f != NULL ? f->stage : -1;
	return f != NULL ? f->devices : NULL;
}

int64_t tracks_stage_reports(const struct tracks *t, int64_t rollout, int64_t stage)
{
	const struct followed *f = stage_of(t, rollout, stage);
	return f != NULL ? f->reports : 0;
}

/* ---- bytes ---- */

static void put_int(struct buf *out, int64_t v)
{
	uint8_t bytes[VARINT_MAX];
	buf_append(out, bytes, varint_put(bytes, v));
}

static void put_cell(struct tracks *t, const struct accum_cell *c, struct buf *out)
{
	uint8_t bytes[ACCUM_ENCODED_MAX];
	bool has_sketch = c->sketch.data != NULL;
	if (has_sketch)
		load_sketch(c, &t->scratch);
	size_t len = accum_encode(&c->a, has_sketch ? &t->scratch : NULL, bytes);
	put_int(out, (int64_t)len);
	buf_append(out, bytes, len);
}

void track_encode(struct tracks *t, const struct track *k, struct buf *out)
{
	uint8_t dedupe[DEDUPE_BYTES];
	put_int(out, FORMAT);
	dedupe_encode(&k->dedupe, dedupe);
	buf_append(out, dedupe, sizeof dedupe);
	put_int(out, k->habit.last_ms);
	put_int(out, k->habit.gap8_ms);
	put_int(out, k->habit.dev4_ms);
	put_int(out, k->baseline_count);
	for (size_t i = 0; i < k->baseline_count; i++) {
		const struct baseline *b = &k->baselines[i];
		put_int(out, b->metric);
		put_int(out, b->version);
		put_int(out, b->half + 1);
		put_cell(t, &b->older, out);
		put_cell(t, &b->current, out);
	}
	put_int(out, k->window_count);
	for (size_t i = 0; i < k->window_count; i++) {
		const struct window *w = &k->windows[i];
		put_int(out, w->rollout);
		put_int(out, w->stage);
		put_int(out, w->since_ms);
		put_int(out, w->is_paired);
		put_int(out, w->reports);
		put_int(out, (int64_t)w->metric_count);
		for (size_t m = 0; m < w->metric_count; m++) {
			put_int(out, w->metrics[m].metric);
			put_cell(t, &w->metrics[m].cell, out);
		}
	}
}

struct reader {
	const uint8_t *at, *end;
	bool ok;
	int64_t format;
};

static int64_t get_int(struct reader *r)
{
	int64_t v = 0;
	r->ok = r->ok && varint_get(&r->at, r->end, &v);
	return r->ok ? v : 0;
}

static void get_cell(struct tracks *t, struct reader *r, struct accum_cell *c)
{
	int64_t len = get_int(r);
	cell_clear(c);
	if (!r->ok || len > r->end - r->at || accum_decode(&c->a, &t->scratch, r->at, (size_t)len) != ERR_OK) {
		r->ok = false;
		return;
	}
	r->at += len;
	if (t->scratch.n > 0)
		save_sketch(c, &t->scratch);
}

static void get_baseline(struct tracks *t, struct reader *r, struct track *k, int64_t (*model_of)(void *, int64_t), void *ctx)
{
	int64_t metric = get_int(r), version = get_int(r), half = get_int(r) - 1;
	struct baseline *b = r->ok ? baseline_of(k, metric, model_of(ctx, version)) : NULL;
	if (b == NULL) {
		r->ok = false;
		return;
	}
	b->version = version;
	b->half = half;
	get_cell(t, r, &b->older);
	get_cell(t, r, &b->current);
}

static void get_window(struct tracks *t, struct reader *r, struct track *k)
{
	int64_t rollout = get_int(r), stage = get_int(r), since_ms = get_int(r), is_paired = r->format > FORMAT_UNPAIRED ? get_int(r) : 0;
	int64_t reports = get_int(r), count = get_int(r);
	r->ok = r->ok && is_paired <= 1;
	if (!r->ok)
		return;
	add_window(t, k, rollout, stage, since_ms, is_paired)->reports = reports;
	stage_of(t, rollout, stage)->reports += reports;
	for (int64_t i = 0; i < count && r->ok; i++) {
		int64_t metric = get_int(r);
		struct window *w = &k->windows[k->window_count - 1];
		if (r->ok)
			get_cell(t, r, &window_metric_of(w, metric)->cell);
	}
}

bool track_decode(struct tracks *t, struct track *k, const void *data, size_t len, int64_t (*model_of)(void *, int64_t), void *ctx)
{
	struct reader r = {data, (const uint8_t *)data + len, true, 0};
	r.format = get_int(&r);
	r.ok = (r.format == FORMAT || r.format == FORMAT_UNPAIRED) && r.end - r.at >= DEDUPE_BYTES;
	if (r.ok) {
		dedupe_decode(&k->dedupe, r.at);
		r.at += DEDUPE_BYTES;
	}
	k->habit.last_ms = get_int(&r);
	k->habit.gap8_ms = get_int(&r);
	k->habit.dev4_ms = get_int(&r);
	for (int64_t left = get_int(&r); left > 0 && r.ok; left--)
		get_baseline(t, &r, k, model_of, ctx);
	for (int64_t left = get_int(&r); left > 0 && r.ok; left--)
		get_window(t, &r, k);
	if (r.ok && r.at == r.end)
		return true;
	while (k->window_count > 0)
		track_close_window(t, k, &k->windows[0]);
	free_windows(k);
	free_baselines(k);
	k->dedupe = (struct dedupe){.boots = {{0, 0, 0}}};
	k->habit = (struct silence_habit){0, 0, 0};
	return false;
}

/* ---- waiting for the database ---- */

void tracks_mark_dirty(struct tracks *t, struct track *k)
{
	if (k->is_dirty)
		return;
	k->is_dirty = true;
	k->next_dirty = NULL;
	*t->last_dirty = k;
	t->last_dirty = &k->next_dirty;
	t->dirty_count++;
}

size_t tracks_dirty_count(const struct tracks *t)
{
	return t->dirty_count;
}

struct track *tracks_next_dirty(struct tracks *t)
{
	struct track *k = t->first_dirty;
	if (k == NULL)
		return NULL;
	t->first_dirty = k->next_dirty;
	if (t->first_dirty == NULL)
		t->last_dirty = &t->first_dirty;
	t->dirty_count--;
	k->is_dirty = false;
	return k;
}
