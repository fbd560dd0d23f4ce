#include "service/telemetry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/telemetry.h"
#include "service/ingest.h"
#include "service/metrics.h"
#include "service/telemetry_inside.h"

#define DAY_MS 86400000

struct telemetry_batch {
	struct telemetry_store *store;
	struct stored_batch b;
	struct buf data;
	struct stored_symbol *symbols;
	_Atomic int64_t *failures; /* of the telemetry it belongs to */
	int64_t commit_ns;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

void telemetry_options_init(struct telemetry_options *o)
{
	*o = (struct telemetry_options){
		.path = NULL,
		.baseline_ms = DAY_MS,
		.raw_keep_ms = (int64_t)7 * DAY_MS,
		.device_keep_ms = (int64_t)30 * DAY_MS,
		.minute_keep_ms = (int64_t)30 * DAY_MS,
		.hour_keep_ms = (int64_t)730 * DAY_MS,
		.max_bytes = 0,
		.checkpoint_ms = 30000,
	};
}

/* ---- opening: names, device states, then the log's end ---- */

int64_t telemetry_model_of(void *symbols, int64_t version)
{
	const struct symbol *y = symbols_get(symbols, version);
	return y != NULL ? y->model_number : 0;
}

static void load_symbol(void *ctx, const struct stored_symbol *row)
{
	symbols_load(((struct telemetry *)ctx)->symbols, row);
}

static void load_state(void *ctx, int64_t device, int64_t batch, const void *bytes, size_t len)
{
	struct telemetry *t = ctx;
	struct track *k = tracks_get(t->tracks, device);
	k->batch = track_decode(t->tracks, k, bytes, len, telemetry_model_of, t->symbols) ? batch : 0;
}

static void load_page(void *ctx, const struct stored_page *page)
{
	struct telemetry *t = ctx;
	state_pages_load(t->pages, page, load_state, t);
}

/* Of a database from before there were pages: written into one with the first round. */
static void load_row(void *ctx, const struct stored_state *row)
{
	struct telemetry *t = ctx;
	load_state(t, row->device, row->batch, row->data, row->len);
	tracks_mark_dirty(t->tracks, tracks_get(t->tracks, row->device));
}

/* The metric of which this one is the shadow's. */
static int64_t pair_of(void *ctx, int64_t metric)
{
	const struct telemetry *t = ctx;
	const size_t prefix = sizeof TELEMETRY_SHADOW - 1;
	const struct symbol *y = symbols_get(t->symbols, metric);
	if (y == NULL || strncmp(y->text, TELEMETRY_SHADOW, prefix) != 0)
		return 0;
	const struct symbol *partner = symbols_find_metric(t->symbols, y->text + prefix);
	return partner != NULL ? partner->id : 0;
}

/* Notes when each metric came last and in which form. */
static void note_metrics(struct telemetry *t, struct log_report r)
{
	struct log_metric m;
	while (report_log_metric(&r, &m))
		symbols_note(t->symbols, m.name, r.received_ms, (int)m.type);
}

static void replay(void *ctx, const struct stored_batch *b)
{
	struct telemetry *t = ctx;
	struct report_log_reader reader;
	struct log_report r;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r)) {
		struct track *k = tracks_get(t->tracks, r.device);
		note_metrics(t, r);
		if (k->batch >= b->id)
			continue;
		(void)dedupe_check_and_set(&k->dedupe, r.boot, r.seq); /* duplicates never reach the log */
		track_apply(t->tracks, k, &r, telemetry_model_of(t->symbols, r.version));
	}
	t->newest_ms = b->last_ms;
}

static enum err measure(struct telemetry *t, struct fault *f)
{
	int64_t bytes = 0;
	enum err e = telemetry_store_bytes(t->store, &bytes, f);
	if (e == ERR_OK)
		atomic_store(&t->log_bytes, bytes);
	return e;
}

static enum err load(struct telemetry *t, int64_t now_ms, struct fault *f)
{
	int64_t states_batch = 0;
	enum err e = telemetry_store_last(t->store, &t->settled, &states_batch, f);
	if (e == ERR_OK)
		e = telemetry_store_each_symbol(t->store, load_symbol, t, f);
	if (e == ERR_OK)
		e = telemetry_store_each_state(t->store, load_row, t, f);
	if (e == ERR_OK)
		e = telemetry_store_each_page(t->store, PAGE_TRACKS, load_page, t, f);
	if (e == ERR_OK)
		e = telemetry_store_each_batch(t->store, states_batch, replay, t, f);
	if (e == ERR_OK)
		e = measure(t, f);
	/* Whatever was received before this start is in the log, also where the clock has gone back since. */
	t->newest_ms = now_ms > t->newest_ms ? now_ms : t->newest_ms;
	t->round_at_ms = now_ms + t->o.checkpoint_ms;
	return e;
}

struct telemetry *telemetry_open(const struct telemetry_options *o, int64_t now_ms, struct fault *f)
{
	struct telemetry *t = must(calloc(1, sizeof *t));
	t->o = *o;
	t->path = must(strdup(o->path));
	t->symbols = symbols_new();
	t->tracks = tracks_new(o->baseline_ms);
	tracks_pair_by(t->tracks, pair_of, t);
	t->pages = state_pages_new(PAGE_TRACKS);
	enum err e = telemetry_store_open(t->path, &t->store, f);
	if (e == ERR_OK)
		e = load(t, now_ms, f);
	if (e == ERR_OK)
		return t;
	telemetry_close(t);
	return NULL;
}

void telemetry_close(struct telemetry *t)
{
	if (t == NULL)
		return;
	telemetry_store_close(t->store);
	tracks_free(t->tracks);
	symbols_free(t->symbols);
	buf_done(&t->open);
	state_pages_free(t->pages);
	free(t->pending);
	free(t->path);
	free(t);
}

/* ---- the open batch ---- */

static int64_t time_in_batch(const struct telemetry *t, int64_t now_ms)
{
	/* A clock that is set while a batch is open must not tear it apart. */
	if (now_ms < t->first_ms)
		return t->first_ms;
	return now_ms > t->first_ms + REPORT_LOG_RECEIVED_MAX ? t->first_ms + REPORT_LOG_RECEIVED_MAX : now_ms;
}

static bool name_metrics(struct telemetry *t, const struct telemetry_report *r, int64_t now_ms, int64_t max, int64_t names[TELEMETRY_METRICS])
{
	bool all = true;
	for (unsigned i = 0; i < r->metric_count; i++) {
		const struct symbol *y = symbols_metric(t->symbols, r->metrics[i].name, max);
		names[i] = y != NULL ? y->id : 0;
		all = all && y != NULL;
		if (y != NULL)
			symbols_note(t->symbols, y->id, now_ms, (int)r->metrics[i].type);
	}
	return all;
}

enum telemetry_admission telemetry_admit(struct telemetry *t, int64_t device, const struct telemetry_report *r, int64_t now_ms,
	const struct ingest_limits *l, unsigned *points)
{
	struct track *k = tracks_get(t->tracks, device);
	if (points != NULL)
		*points = 0;
	if (dedupe_check_and_set(&k->dedupe, r->boot, r->seq) != DEDUPE_NEW)
		return TELEMETRY_REPEATED;
	int64_t names[TELEMETRY_METRICS];
	bool all = name_metrics(t, r, now_ms, l->metrics_max, names);
	const struct symbol *version = r->model.len > 0 ? symbols_version(t->symbols, r->model, r->version, l->versions_max) : NULL;
	all = all && (version != NULL || r->model.len == 0);
	if (t->reports == 0)
		t->first_ms = t->last_ms = now_ms;
	int64_t received_ms = time_in_batch(t, now_ms);
	if (received_ms > t->last_ms)
		t->last_ms = received_ms;
	unsigned written = report_log_put(&t->open, t->first_ms, device, received_ms, version != NULL ? version->id : 0, names, r);
	if (points != NULL)
		*points = written;
	t->reports++;
	return all ? TELEMETRY_ADMITTED : TELEMETRY_NAMELESS;
}

size_t telemetry_pending(const struct telemetry *t)
{
	return (size_t)t->reports;
}

static bool is_round_due(const struct telemetry *t, int64_t now_ms)
{
	bool is_time = now_ms >= t->round_at_ms || now_ms < t->round_at_ms - 2 * t->o.checkpoint_ms; /* or the clock went back */
	if (state_pages_has_dead(t->pages))
		return true;
	return (t->round_left > 0 || (is_time && tracks_dirty_count(t->tracks) > 0)) && state_pace_is_due(&t->pace, now_ms);
}

bool telemetry_is_due(const struct telemetry *t, const struct ingest_limits *l, int64_t now_ms)
{
	if (t->is_in_flight)
		return false;
	if (t->reports == 0)
		return is_round_due(t, now_ms);
	return t->reports >= l->batch_reports || now_ms >= t->first_ms + l->batch_window_ms || now_ms < t->first_ms;
}

/* ---- sealing ---- */

static void seal_symbols(struct telemetry *t, struct telemetry_batch *b)
{
	int64_t from = symbols_saved_upto(t->symbols), count = (int64_t)symbols_count(t->symbols);
	b->symbols = must(calloc((size_t)(count - from) + 1, sizeof *b->symbols));
	for (int64_t id = from + 1; id <= count; id++) {
		const struct symbol *y = symbols_get(t->symbols, id);
		b->symbols[b->b.symbol_count++] = (struct stored_symbol){id, y->is_metric ? "metric" : "version", y->model, y->text};
	}
	b->b.symbols = b->symbols;
}

static void mark_outdated(void *ctx, int64_t device)
{
	struct telemetry *t = ctx;
	struct track *k = tracks_find(t->tracks, device);
	if (k != NULL)
		tracks_mark_dirty(t->tracks, k);
}

static void begin_round(struct telemetry *t, int64_t now_ms)
{
	state_pages_outdated(t->pages, mark_outdated, t);
	t->round_left = tracks_dirty_count(t->tracks);
	t->round_batch = t->settled;
	t->round_at_ms = now_ms + t->o.checkpoint_ms;
}

/* Some of this round's device states. Each holds what is durable up to now and says so (its batch), but its duplicates may already hold reports
 * of the batch that it goes with: both land in one transaction. */
static void seal_states(struct telemetry *t, struct telemetry_batch *b, int64_t now_ms)
{
	struct buf bytes = BUF_INIT;
	struct track *k;
	bool wrote = false;
	if (is_round_due(t, now_ms) && t->pending_count == 0) { /* a window whose past could not be read must not go out as complete */
		if (t->round_left == 0 && tracks_dirty_count(t->tracks) > 0)
			begin_round(t, now_ms);
		while (t->round_left > 0 && state_pace_left(&t->pace, now_ms) > 0) {
			k = tracks_next_dirty(t->tracks);
			t->round_left = k != NULL ? t->round_left - 1 : 0;
			if (k == NULL)
				break;
			buf_clear(&bytes);
			track_encode(t->tracks, k, &bytes);
			state_pages_put(t->pages, k->device, bytes.data, bytes.len);
			state_pace_spend(&t->pace, bytes.len, now_ms);
			wrote = true;
		}
	}
	buf_done(&bytes);
	state_pages_seal(t->pages, t->settled, &b->b.pages[PAGE_TRACKS]);
	if (wrote && t->round_left == 0)
		b->b.states_batch = t->round_batch;
}

static void seal_companion(struct telemetry *t, struct telemetry_batch *b, int64_t now_ms);

struct telemetry_batch *telemetry_seal(struct telemetry *t, int64_t now_ms)
{
	assert(!t->is_in_flight);
	if (t->reports == 0 && !is_round_due(t, now_ms))
		return NULL;
	telemetry_catch_up(t);
	struct telemetry_batch *b = must(calloc(1, sizeof *b));
	b->store = t->store;
	b->failures = &t->failures;
	b->data = t->open;
	t->open = (struct buf)BUF_INIT;
	if (t->reports == 0)
		t->first_ms = t->last_ms = now_ms;
	b->b = (struct stored_batch){.id = t->settled + 1, .first_ms = t->first_ms, .last_ms = t->last_ms, .reports = t->reports,
	                             .data = buf_cstr(&b->data), .len = b->data.len};
	t->reports = 0;
	seal_symbols(t, b);
	seal_states(t, b, now_ms);
	seal_companion(t, b, now_ms);
	t->is_in_flight = true;
	return b;
}

enum err telemetry_write(struct telemetry_batch *b, struct fault *f)
{
	uint64_t start = clock_mono_ns();
	enum err e = telemetry_store_write(b->store, &b->b, f);
	b->commit_ns += (int64_t)(clock_mono_ns() - start);
	if (e != ERR_OK)
		atomic_fetch_add(b->failures, 1);
	return e;
}

/* ---- settling ---- */

#define TOLD_QUANTILE 0.95

bool telemetry_value_of(const struct log_metric *m, double *value)
{
	struct ddsketch s;
	switch (m->type) {
	case VALUE_NUMBER:
		*value = m->value;
		return true;
	case VALUE_SUM:
	case VALUE_RATIO:
		*value = m->value / (double)m->n;
		return m->n > 0;
	case VALUE_SKETCH:
		ddsketch_init(&s);
		for (unsigned i = 0; i < m->bin_count; i++) {
			if (ddsketch_add_key(&s, m->keys[i], m->counts[i]) != ERR_OK)
				return false;
		}
		*value = ddsketch_quantile(&s, TOLD_QUANTILE);
		return s.n > 0;
	case VALUE_HIST:
	case VALUE_TYPE_COUNT:
		break;
	}
	return false;
}

static void tell_values(struct telemetry *t, struct log_report r)
{
	struct log_metric m;
	double value;
	for (size_t i = 0; i < t->listener_count; i++) {
		const struct value_listener *l = &t->listeners[i];
		if (l->on_begin != NULL)
			l->on_begin(l->ctx, r.device, r.version, r.received_ms);
	}
	while (report_log_metric(&r, &m)) {
		if (!telemetry_value_of(&m, &value))
			continue;
		const char *name = symbols_get(t->symbols, m.name)->text;
		for (size_t i = 0; i < t->listener_count; i++) {
			const struct value_listener *l = &t->listeners[i];
			if (l->on_value != NULL)
				l->on_value(l->ctx, r.device, name, value, r.received_ms);
		}
	}
}

/* ---- the companion ---- */

#define PREFETCH_AHEAD 6 /* reports: some hundred nanoseconds each, more than memory takes */

void telemetry_accompany(struct telemetry *t, const struct telemetry_companion *c)
{
	t->companion = c != NULL ? *c : (struct telemetry_companion){.ctx = NULL};
}

const struct symbols *telemetry_symbols(const struct telemetry *t)
{
	return t->symbols;
}

static void prefetch(struct telemetry *t, struct report_log_reader *ahead, unsigned count)
{
	struct log_report r;
	while (count-- > 0 && report_log_next(ahead, 0, &r))
		t->companion.prefetch(t->companion.ctx, r.device);
}

static void replay_companion(void *ctx, const struct stored_batch *b)
{
	struct telemetry *t = ctx;
	struct report_log_reader reader;
	struct log_report r;
	if (b->reports > 0)
		t->companion.begin(t->companion.ctx, b->id, b->first_ms);
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r))
		t->companion.report(t->companion.ctx, &r);
}

enum err telemetry_companion_load(struct telemetry *t, void (*row)(void *, const struct stored_detect *), void (*page)(void *, const struct stored_page *),
	void (*rows_end)(void *), struct fault *f)
{
	int64_t from = 0;
	enum err e = telemetry_store_each_detect(t->store, &from, row, t->companion.ctx, f);
	if (e == ERR_OK)
		e = telemetry_store_each_page(t->store, PAGE_DETECT, page, t->companion.ctx, f);
	if (e != ERR_OK)
		return e;
	rows_end(t->companion.ctx);
	return telemetry_store_each_batch(t->store, from, replay_companion, t, f);
}

/* ---- the listeners ---- */

static struct log_listener *find_listener(struct telemetry *t, const void *ctx)
{
	for (size_t i = 0; i < t->log_listener_count; i++)
		if (t->log_listeners[i].ctx == ctx)
			return &t->log_listeners[i];
	return NULL;
}

void telemetry_listen(struct telemetry *t, void (*fn)(void *ctx, int64_t batch, const struct log_report *r), void *ctx)
{
	struct log_listener *l = find_listener(t, ctx);
	if (fn == NULL && l == NULL)
		return;
	if (fn == NULL) {
		*l = t->log_listeners[--t->log_listener_count];
		return;
	}
	assert(l != NULL || t->log_listener_count < TELEMETRY_LISTENERS_MAX);
	if (l == NULL)
		l = &t->log_listeners[t->log_listener_count++];
	*l = (struct log_listener){fn, ctx};
}

static void tell_batch_again(void *listener, const struct stored_batch *b)
{
	const struct log_listener *l = listener;
	struct report_log_reader reader;
	struct log_report r;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	while (report_log_next(&reader, 0, &r))
		l->fn(l->ctx, b->id, &r);
}

enum err telemetry_tell_again(struct telemetry *t, void *ctx, int64_t after, struct fault *f)
{
	struct log_listener *l = find_listener(t, ctx);
	return l != NULL ? telemetry_store_each_batch(t->store, after, tell_batch_again, l, f) : ERR_OK;
}

int64_t telemetry_settled(const struct telemetry *t)
{
	return t->settled;
}

static void seal_companion(struct telemetry *t, struct telemetry_batch *b, int64_t now_ms)
{
	if (t->companion.seal != NULL)
		t->companion.seal(t->companion.ctx, t->settled, now_ms, &b->b);
	else
		b->b.detect_batch = b->b.states_batch; /* nobody needs what is before */
}

static void apply(struct telemetry *t, const struct stored_batch *b)
{
	struct report_log_reader reader, ahead;
	struct log_report r;
	report_log_open(&reader, b->data, b->len, b->first_ms);
	ahead = reader;
	if (t->companion.report != NULL && b->reports > 0) {
		t->companion.begin(t->companion.ctx, b->id, b->first_ms);
		prefetch(t, &ahead, PREFETCH_AHEAD);
	}
	while (report_log_next(&reader, 0, &r)) {
		if (t->companion.report != NULL)
			prefetch(t, &ahead, 1);
		struct track *k = tracks_find(t->tracks, r.device);
		if (k == NULL)
			continue; /* it was deleted meanwhile */
		if (t->listener_count > 0)
			tell_values(t, r);
		if (t->companion.report != NULL)
			t->companion.report(t->companion.ctx, &r);
		for (size_t i = 0; i < t->log_listener_count; i++)
			t->log_listeners[i].fn(t->log_listeners[i].ctx, b->id, &r);
		track_apply(t->tracks, k, &r, telemetry_model_of(t->symbols, r.version));
	}
	assert(!reader.is_broken); /* we wrote it ourselves */
}

static void free_batch(struct telemetry_batch *b)
{
	buf_done(&b->data);
	free(b->symbols);
	free(b);
}

void telemetry_settle(struct call *c, struct telemetry_batch *b)
{
	struct telemetry *t = c->s->telemetry;
	assert(t->is_in_flight && b->b.id == t->settled + 1);
	telemetry_catch_up(t); /* windows that were opened while it was being written: their past ends before it */
	t->is_in_flight = false;
	apply(t, &b->b);
	t->settled = b->b.id;
	if (b->b.last_ms > t->newest_ms)
		t->newest_ms = b->b.last_ms;
	if (b->b.symbol_count > 0)
		symbols_saved(t->symbols, b->b.symbols[b->b.symbol_count - 1].id);
	t->counters.batches++;
	t->counters.reports += b->b.reports;
	t->counters.bytes += (int64_t)b->b.len;
	t->counters.commit_ns += b->commit_ns;
	metric_observe_ns(HISTOGRAM_TELEMETRY_COMMIT_SECONDS, (uint64_t)b->commit_ns);
	bool has_reports = b->b.reports > 0;
	free_batch(b);
	for (size_t i = 0; i < t->hook_count && has_reports; i++)
		t->hooks[i].fn(c, t->hooks[i].ctx);
}

void telemetry_abandon(struct telemetry *t, struct telemetry_batch *b)
{
	assert(t->is_in_flight);
	free_batch(b);
}

enum err telemetry_maintain(struct telemetry *t, int64_t now_ms, bool *more, struct fault *f)
{
	struct telemetry_retention r = {
		.raw_before_ms = t->o.raw_keep_ms > 0 ? now_ms - t->o.raw_keep_ms : 0,
		.device_before_ms = t->o.device_keep_ms > 0 ? now_ms - t->o.device_keep_ms : 0,
		.minute_before_ms = t->o.minute_keep_ms > 0 ? now_ms - t->o.minute_keep_ms : 0,
		.hour_before_ms = t->o.hour_keep_ms > 0 ? now_ms - t->o.hour_keep_ms : 0,
		.max_bytes = t->o.max_bytes,
	};
	enum err e = telemetry_store_maintain(t->store, &r, now_ms, more, f);
	return e == ERR_OK ? measure(t, f) : e;
}

struct telemetry_counters telemetry_counters(const struct telemetry *t)
{
	struct telemetry_counters c = t->counters;
	c.log_bytes = atomic_load(&t->log_bytes);
	c.failures = atomic_load(&t->failures);
	return c;
}

/* ---- devices that go ---- */

void telemetry_forget_device(struct telemetry *t, int64_t device)
{
	struct track *k = tracks_find(t->tracks, device);
	if (t->companion.forget != NULL)
		t->companion.forget(t->companion.ctx, device);
	if (k == NULL)
		return;
	tracks_drop(t->tracks, k);
	state_pages_forget(t->pages, device);
}

void telemetry_forget_unknown(struct telemetry *t, bool (*is_known)(void *ctx, int64_t device), void *ctx)
{
	int64_t *unknown = must(calloc(tracks_count(t->tracks) + 1, sizeof *unknown));
	size_t count = 0, at = 0;
	for (struct track *k; (k = tracks_each(t->tracks, &at)) != NULL;) {
		if (!is_known(ctx, k->device))
			unknown[count++] = k->device;
	}
	for (size_t i = 0; i < count; i++)
		telemetry_forget_device(t, unknown[i]);
	free(unknown);
}

/* ---- names ---- */

void telemetry_metrics_json(const struct telemetry *t, struct buf *out)
{
	json_open_array(out);
	for (size_t id = 1; id <= symbols_count(t->symbols); id++) {
		const struct symbol *y = symbols_get(t->symbols, (int64_t)id);
		if (!y->is_metric)
			continue;
		json_open_object(out);
		json_str(out, "name", y->text);
		if (y->type >= 0) {
			json_str(out, "kind", value_type_text((enum value_type)y->type));
			json_int(out, "last_at", y->last_ms);
		}
		json_close_object(out);
	}
	json_close_array(out);
}
