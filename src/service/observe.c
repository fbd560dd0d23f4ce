#include "service/observe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/telemetry_inside.h"

#define HALVES_REMEMBERED 2 /* a baseline's older half is so old at most (service/tracks.c) */

static bool empty(struct metric_accum *a, struct ddsketch *s)
{
	accum_init(a);
	if (s != NULL)
		ddsketch_init(s);
	return false;
}

/* ---- baselines ---- */

enum halves { OLDER = 1, CURRENT = 2 };

static bool merge_baseline(struct call *c, int64_t device, const char *metric, unsigned halves, struct metric_accum *a, struct ddsketch *s)
{
	const struct telemetry *t = c->s->telemetry;
	const struct track *k = tracks_find(t->tracks, device);
	const struct symbol *y = symbols_find_metric(t->symbols, metric);
	empty(a, s);
	for (size_t i = 0; k != NULL && y != NULL && i < k->baseline_count; i++) {
		const struct baseline *b = &k->baselines[i];
		if (b->metric != y->id)
			continue;
		if (halves & OLDER)
			cell_merge(&b->older, a, s);
		if (halves & CURRENT)
			cell_merge(&b->current, a, s);
	}
	return a->reports > 0;
}

bool observe_baseline(struct call *c, int64_t device, const char *metric, struct metric_accum *a, struct ddsketch *s)
{
	return merge_baseline(c, device, metric, OLDER | CURRENT, a, s);
}

bool observe_baseline_half(struct call *c, int64_t device, const char *metric, int half, struct metric_accum *a, struct ddsketch *s)
{
	assert(half == 0 || half == 1);
	return merge_baseline(c, device, metric, half == 0 ? OLDER : CURRENT, a, s);
}

bool observe_version_baseline(struct call *c, const struct observe_of_version *of, const char *metric, struct metric_accum *a, struct ddsketch *s)
{
	const struct telemetry *t = c->s->telemetry;
	const struct track *k = tracks_find(t->tracks, of->device);
	const struct symbol *y = symbols_find_metric(t->symbols, metric);
	int64_t half_ms = t->o.baseline_ms > 1 ? t->o.baseline_ms / 2 : 1;
	empty(a, s);
	for (size_t i = 0; k != NULL && y != NULL && i < k->baseline_count; i++) {
		const struct baseline *b = &k->baselines[i];
		const struct symbol *version = symbols_get(t->symbols, b->version);
		if (b->metric != y->id || version == NULL || strcmp(version->text, of->version) != 0 || strcmp(version->model, of->model) != 0)
			continue;
		if (b->half * half_ms >= of->since_ms)
			cell_merge(&b->current, a, s);
		if ((b->half - HALVES_REMEMBERED) * half_ms >= of->since_ms)
			cell_merge(&b->older, a, s);
	}
	return a->reports > 0;
}

int64_t observe_metric(struct call *c, const char *metric)
{
	const struct symbol *y = symbols_find_metric(c->s->telemetry->symbols, metric);
	return y != NULL ? y->id : 0;
}

static bool cell_has(const struct accum_cell *cell, enum metric_kind kind)
{
	switch (kind) {
	case METRIC_RATIO:
		return cell->a.ratio_n > 0;
	case METRIC_MEAN:
	case METRIC_LOGMEAN:
		return cell->a.sum_n > 0;
	case METRIC_QUANTILE:
		return cell->sketch.data != NULL;
	case METRIC_EVENT:
	case METRIC_SILENCE:
	case METRIC_KIND_COUNT:
		break;
	}
	return cell->a.reports > 0;
}

void observe_baseline_reports(struct call *c, int64_t device, const struct observe_wanted *wanted, size_t count, int64_t *reports)
{
	const struct track *k = tracks_find(c->s->telemetry->tracks, device);
	uint64_t has = 0;
	assert(count <= 64);
	for (size_t i = 0; i < count; i++)
		reports[i] = 0;
	for (size_t b = 0; k != NULL && b < k->baseline_count; b++) {
		const struct baseline *base = &k->baselines[b];
		for (size_t i = 0; i < count; i++) {
			if (wanted[i].metric != base->metric)
				continue;
			reports[i] += base->older.a.reports + base->current.a.reports;
			if (cell_has(&base->older, wanted[i].kind) || cell_has(&base->current, wanted[i].kind))
				has |= UINT64_C(1) << i;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!(has >> i & 1))
			reports[i] = 0;
	}
}

/* ---- windows ---- */

static void follow(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms, bool is_paired)
{
	assert(stage >= 0 && since_ms >= 0);
	struct telemetry *t = c->s->telemetry;
	struct track *k = tracks_get(t->tracks, device);
	const struct window *have = track_window(k, rollout, stage);
	if (have != NULL && have->since_ms == since_ms && have->is_paired == is_paired)
		return;
	struct window *w = track_open_window(t->tracks, k, rollout, stage, since_ms, is_paired);
	w->is_pending = since_ms <= t->newest_ms && t->settled > 0;
	if (!w->is_pending)
		return;
	t->pending = realloc(t->pending, (t->pending_count + 1) * sizeof *t->pending);
	if (t->pending == NULL)
		abort();
	t->pending[t->pending_count++] = (struct pending_window){device, rollout, stage};
}

void observe_follow(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms)
{
	follow(c, rollout, stage, device, since_ms, false);
}

void observe_follow_pairs(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms)
{
	follow(c, rollout, stage, device, since_ms, true);
}

static struct window *window_of(const struct telemetry *t, int64_t device, int64_t rollout, int64_t stage)
{
	struct track *k = tracks_find(t->tracks, device);
	return k != NULL ? track_window(k, rollout, stage) : NULL;
}

static void backfill(void *ctx, const struct stored_batch *b)
{
	struct telemetry *t = ctx;
	struct report_log_reader reader;
	struct log_report r;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r)) {
		struct track *k = tracks_find(t->tracks, r.device);
		for (size_t i = 0; k != NULL && i < k->window_count; i++) {
			struct log_report copy = r; /* each window walks the metrics */
			if (k->windows[i].is_pending)
				track_backfill(t->tracks, &k->windows[i], &copy);
		}
	}
}

static void restart_pending(struct telemetry *t, int64_t *since_ms)
{
	*since_ms = INT64_MAX;
	for (size_t i = 0; i < t->pending_count; i++) {
		const struct pending_window *p = &t->pending[i];
		struct window *w = window_of(t, p->device, p->rollout, p->stage);
		if (w == NULL || !w->is_pending)
			continue;
		if (w->reports > 0) { /* a reading that broke off */
			struct window was = *w;
			w = track_open_window(t->tracks, tracks_find(t->tracks, p->device), p->rollout, p->stage, was.since_ms, was.is_paired);
			w->is_pending = true;
		}
		*since_ms = w->since_ms < *since_ms ? w->since_ms : *since_ms;
	}
}

void telemetry_catch_up(struct telemetry *t)
{
	struct fault f;
	int64_t since_ms;
	if (t->pending_count == 0)
		return;
	restart_pending(t, &since_ms);
	if (since_ms < INT64_MAX && telemetry_log_since(t->path, since_ms, t->settled, backfill, t, &f) != ERR_OK)
		return; /* the next call reads again */
	for (size_t i = 0; i < t->pending_count; i++) {
		struct window *w = window_of(t, t->pending[i].device, t->pending[i].rollout, t->pending[i].stage);
		if (w != NULL)
			w->is_pending = false;
	}
	t->pending_count = 0;
}

void observe_unfollow(struct call *c, int64_t rollout)
{
	struct telemetry *t = c->s->telemetry;
	size_t count;
	int64_t stage;
	const int64_t *devices;
	while ((devices = tracks_followed(t->tracks, rollout, -1, &count, &stage)) != NULL)
		observe_unfollow_device(c, rollout, stage, devices[count - 1]);
}

void observe_unfollow_device(struct call *c, int64_t rollout, int64_t stage, int64_t device)
{
	struct telemetry *t = c->s->telemetry;
	struct track *k = tracks_find(t->tracks, device);
	struct window *w = k != NULL ? track_window(k, rollout, stage) : NULL;
	if (w != NULL)
		track_close_window(t->tracks, k, w);
}

const struct window *observe_find_window(struct call *c, int64_t rollout, int64_t stage, int64_t device)
{
	telemetry_catch_up(c->s->telemetry);
	return window_of(c->s->telemetry, device, rollout, stage);
}

int64_t observe_window_reports(const struct window *w)
{
	return w != NULL ? w->reports : 0;
}

bool observe_window_cell(const struct window *w, int64_t metric, struct metric_accum *a, struct ddsketch *s)
{
	empty(a, s);
	for (size_t i = 0; w != NULL && metric != 0 && i < w->metric_count; i++) {
		if (w->metrics[i].metric == metric)
			cell_merge(&w->metrics[i].cell, a, s);
	}
	return a->reports > 0;
}

bool observe_is_followed(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms)
{
	const struct window *w = window_of(c->s->telemetry, device, rollout, stage);
	return w != NULL && w->since_ms == since_ms;
}

bool observe_window(struct call *c, int64_t rollout, int64_t stage, int64_t device, const char *metric, struct metric_accum *a, struct ddsketch *s)
{
	return observe_window_cell(observe_find_window(c, rollout, stage, device), observe_metric(c, metric), a, s);
}

int64_t observe_device_reports(struct call *c, int64_t rollout, int64_t stage, int64_t device)
{
	return observe_window_reports(observe_find_window(c, rollout, stage, device));
}

int64_t observe_report_count(struct call *c, int64_t rollout, int64_t stage)
{
	telemetry_catch_up(c->s->telemetry);
	return tracks_stage_reports(c->s->telemetry->tracks, rollout, stage);
}

/* ---- habits, hooks ---- */

bool observe_habit(struct call *c, int64_t device, struct silence_habit *h)
{
	const struct track *k = tracks_find(c->s->telemetry->tracks, device);
	*h = k != NULL ? k->habit : (struct silence_habit){0, 0, 0};
	return h->last_ms > 0;
}

void observe_on_reports(struct telemetry *t, void (*fn)(struct call *c, void *ctx), void *ctx)
{
	assert(t->hook_count < TELEMETRY_HOOKS_MAX);
	t->hooks[t->hook_count++] = (struct telemetry_hook){fn, ctx};
}

static struct value_listener *listener_of(struct telemetry *t, void *ctx)
{
	for (size_t i = 0; i < t->listener_count; i++) {
		if (t->listeners[i].ctx == ctx)
			return &t->listeners[i];
	}
	assert(t->listener_count < TELEMETRY_LISTENERS_MAX);
	t->listeners[t->listener_count] = (struct value_listener){.ctx = ctx};
	return &t->listeners[t->listener_count++];
}

static void drop_silent(struct telemetry *t)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->listener_count; i++) {
		if (t->listeners[i].on_begin != NULL || t->listeners[i].on_value != NULL)
			t->listeners[kept++] = t->listeners[i];
	}
	t->listener_count = kept;
}

void observe_on_values(struct telemetry *t, void (*fn)(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms), void *ctx)
{
	listener_of(t, ctx)->on_value = fn;
	drop_silent(t);
}

void observe_on_begin(struct telemetry *t, void (*fn)(void *ctx, int64_t device, int64_t version, int64_t received_ms), void *ctx)
{
	listener_of(t, ctx)->on_begin = fn;
	drop_silent(t);
}

bool observe_version(struct call *c, int64_t version, const char **model, const char **text)
{
	const struct symbol *y = version > 0 ? symbols_get(c->s->telemetry->symbols, version) : NULL;
	*model = y != NULL && y->model != NULL ? y->model : "";
	*text = y != NULL ? y->text : "";
	return y != NULL;
}
