/* Learning: from reports to classes, from classes to rows; and who is told. */
#include "service/offloading.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/telemetry.h"
#include "core/varint.h"
#include "service/metrics.h"
#include "service/offloading_inside.h"
#include "service/registry.h"
#include "service/symbols.h"
#include "service/telemetry.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "store/report_log.h"

#define FADE_MS 3600000   /* figures weigh half after this */
#define UNUSED_MS ((int64_t)7 * 86400000) /* classes that nobody reported for so long make room */
#define ROUND_EVERY_MS 10000
#define MARK_EVERY_MS 60000 /* where no class has anything new: so that a start has little to read */

/* What is read of a report. X(NAME, metric) */
#define NOTED_TABLE(X)                                                                                                 \
	X(REV, "offload_rev")                                                                                              \
	X(RATE, "offload_rate")                                                                                            \
	X(KEPT, "offload_kept")                                                                                            \
	X(AGREE, "offload_agree")                                                                                          \
	X(AUDIT, "offload_audit")                                                                                          \
	X(MARGIN, "offload_margin")                                                                                        \
	X(SURE, "offload_sure")                                                                                            \
	X(COST, "offload_cost")
enum noted {
#define X(name, metric) NOTED_##name,
	NOTED_TABLE(X)
#undef X
	    NOTED_COUNT
};
static const char *const noted_metrics[NOTED_COUNT] = {
#define X(name, metric) metric,
	NOTED_TABLE(X)
#undef X
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- the tables ---- */

struct policy *offloading_policy(struct offloading *o, const char *model)
{
	for (size_t i = 0; i < o->policy_count; i++)
		if (strcmp(o->policies[i].row.name, model) == 0)
			return &o->policies[i];
	return NULL;
}

struct policy *offloading_policy_of(struct offloading *o, int64_t model)
{
	for (size_t i = 0; i < o->policy_count; i++)
		if (o->policies[i].row.model == model)
			return &o->policies[i];
	return NULL;
}

struct offload_class *offloading_class(struct offloading *o, int64_t model, const char *hardware, const char *version)
{
	for (size_t i = 0; i < o->class_count; i++) {
		struct offload_class *k = o->classes[i];
		if (k->model == model && strcmp(k->hardware, hardware) == 0 && strcmp(k->version, version) == 0)
			return k;
	}
	return NULL;
}

static void forget_class(struct offloading *o, size_t at)
{
	free(o->classes[at]->hardware);
	free(o->classes[at]->version);
	free(o->classes[at]);
	o->classes[at] = o->classes[--o->class_count];
	metric_set(METER_OFFLOAD_CLASSES, (int64_t)o->class_count);
}

static void forget_classes(struct offloading *o, int64_t model)
{
	for (size_t i = o->class_count; i-- > 0;)
		if (o->classes[i]->model == model)
			forget_class(o, i);
}

/* NULL: no room. One that makes room keeps its row, which is overwritten when it comes back; it is read at the next start only. */
static struct offload_class *add_class(struct offloading *o, int64_t model, const char *hardware, const char *version, int64_t now_ms)
{
	size_t oldest = 0;
	for (size_t i = 1; i < o->class_count; i++)
		if (o->classes[i]->faded_at < o->classes[oldest]->faded_at)
			oldest = i;
	if (o->class_count == OFFLOADING_CLASSES_MAX && now_ms - o->classes[oldest]->faded_at < UNUSED_MS)
		return NULL;
	if (o->class_count == OFFLOADING_CLASSES_MAX)
		forget_class(o, oldest);
	struct offload_class *k = must(calloc(1, sizeof *k));
	k->model = model;
	k->hardware = must(strdup(hardware));
	k->version = must(strdup(version));
	o->classes[o->class_count++] = k;
	metric_set(METER_OFFLOAD_CLASSES, (int64_t)o->class_count);
	return k;
}

static void drop_policy(struct policy *p)
{
	free((char *)p->row.name);
	free((char *)p->row.endpoint);
	free((char *)p->row.link);
}

/* ---- rows ---- */

#define STATS_FORMAT 1
#define ARRAYS 4
#define STATS_BYTES_MAX (1 + 2 * VARINT_MAX + 8 + ARRAYS * (VARINT_MAX + OFFLOAD_BINS * 2 * VARINT_MAX))

static size_t put_bins(uint8_t *out, const uint64_t bins[OFFLOAD_BINS])
{
	int64_t used = 0;
	size_t len;
	for (unsigned i = 0; i < OFFLOAD_BINS; i++)
		used += bins[i] != 0;
	len = varint_put(out, used);
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) {
		if (bins[i] == 0)
			continue;
		len += varint_put(out + len, i);
		len += varint_put(out + len, (int64_t)bins[i]);
	}
	return len;
}

static bool get_bins(const uint8_t **at, const uint8_t *end, uint64_t bins[OFFLOAD_BINS])
{
	int64_t used, bin, count;
	if (!varint_get(at, end, &used) || used > OFFLOAD_BINS)
		return false;
	for (; used > 0; used--) {
		if (!varint_get(at, end, &bin) || bin >= OFFLOAD_BINS || !varint_get(at, end, &count))
			return false;
		bins[bin] = (uint64_t)count;
	}
	return true;
}

static size_t encode_stats(const struct offload_stats *s, uint8_t out[STATS_BYTES_MAX])
{
	const uint64_t *const arrays[ARRAYS] = {s->sent, s->agreed, s->audited, s->audit_agreed};
	size_t len = 1;
	out[0] = STATS_FORMAT;
	len += varint_put(out + len, (int64_t)s->inferences);
	len += varint_put(out + len, (int64_t)s->blocked);
	memcpy(out + len, &s->cost, sizeof s->cost);
	len += sizeof s->cost;
	for (unsigned i = 0; i < ARRAYS; i++)
		len += put_bins(out + len, arrays[i]);
	return len;
}

static bool decode_stats(struct offload_stats *s, const uint8_t *data, size_t len)
{
	uint64_t *const arrays[ARRAYS] = {s->sent, s->agreed, s->audited, s->audit_agreed};
	const uint8_t *at = data + 1, *end = data + len;
	int64_t inferences, blocked;
	if (len < 1 || data[0] != STATS_FORMAT || !varint_get(&at, end, &inferences) || !varint_get(&at, end, &blocked))
		return false;
	if ((size_t)(end - at) < sizeof s->cost)
		return false;
	memcpy(&s->cost, at, sizeof s->cost);
	at += sizeof s->cost;
	s->inferences = (uint64_t)inferences;
	s->blocked = (uint64_t)blocked;
	for (unsigned i = 0; i < ARRAYS; i++)
		if (!get_bins(&at, end, arrays[i]))
			return false;
	return at == end;
}

struct loading {
	struct offloading *o;
	int64_t model; /* only this one's; 0: all */
};

static void load_class(void *ctx, const struct offload_class_row *row)
{
	const struct loading *l = ctx;
	if (l->model != 0 && row->model != l->model)
		return;
	struct offload_class *k = add_class(l->o, row->model, row->hardware, row->version, INT64_MAX / 2);
	k->margin = (uint16_t)row->margin;
	k->rev = row->rev;
	k->rev_at = row->rev_at;
	k->fitted_at = row->fitted_at;
	k->fits = row->fits;
	k->faded_at = row->faded_at;
	k->batch = row->batch;
	k->changed = l->o->generation;
	for (int w = OFFLOAD_FIT_WAIT; w <= OFFLOAD_FIT_COST; w++)
		if (strcmp(row->why, offload_fit_why_name((enum offload_fit_why)w)) == 0)
			k->why = (enum offload_fit_why)w;
	if (!decode_stats(&k->stats, row->stats, row->len)) /* of another version of the program: learned anew */
		memset(&k->stats, 0, sizeof k->stats);
}

enum err offloading_write(struct call *c, struct offload_class *k)
{
	static uint8_t bytes[STATS_BYTES_MAX]; /* the loop's thread alone */
	struct offloading *o = c->s->offloading;
	k->batch = telemetry_settled(o->s->telemetry);
	struct offload_class_row row = {.model = k->model, .hardware = k->hardware, .version = k->version, .margin = k->margin, .rev = k->rev,
		.rev_at = k->rev_at, .fitted_at = k->fitted_at, .why = offload_fit_why_name(k->why), .fits = k->fits, .faded_at = k->faded_at,
		.batch = k->batch, .stats = bytes};
	row.len = encode_stats(&k->stats, bytes);
	enum err e = offload_put_class(o->store, &row, c->fault);
	if (e == ERR_OK)
		k->dirty = false;
	return e;
}

/* ---- policies as the rows have them ---- */

struct refreshing {
	struct offloading *o;
	int64_t changed[OFFLOADING_POLICIES_MAX];
	size_t changed_count;
};

static void see_policy(void *ctx, const struct offload_policy_row *row)
{
	struct refreshing *r = ctx;
	struct offloading *o = r->o;
	struct policy *p = offloading_policy_of(o, row->model);
	if (p != NULL && p->row.revision == row->revision && p->row.rev == row->rev) {
		p->is_seen = true;
		return;
	}
	if (p == NULL && o->policy_count == OFFLOADING_POLICIES_MAX)
		return;
	if (p == NULL)
		p = &o->policies[o->policy_count++];
	else
		drop_policy(p);
	p->row = *row;
	p->row.name = must(strdup(row->name));
	p->row.endpoint = must(strdup(row->endpoint));
	p->row.link = must(strdup(row->link));
	p->changed = ++o->generation;
	p->is_seen = true;
	r->changed[r->changed_count++] = row->model;
}

static enum err read_classes(struct refreshing *r, struct fault *f)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < r->changed_count && e == ERR_OK; i++) {
		struct loading l = {r->o, r->changed[i]};
		forget_classes(r->o, l.model);
		e = offload_each_class(r->o->store, load_class, &l, f);
	}
	return e;
}

enum err offloading_refresh(struct offloading *o, struct fault *f)
{
	struct refreshing r = {.o = o};
	for (size_t i = 0; i < o->policy_count; i++)
		o->policies[i].is_seen = false;
	enum err e = offload_each_policy(o->store, see_policy, &r, f);
	if (e != ERR_OK)
		return e;
	for (size_t i = o->policy_count; i-- > 0;) {
		if (o->policies[i].is_seen)
			continue;
		forget_classes(o, o->policies[i].row.model);
		drop_policy(&o->policies[i]);
		o->policies[i] = o->policies[--o->policy_count];
		o->removed = ++o->generation;
	}
	return read_classes(&r, f);
}

/* ---- who is told ---- */

/* Devices that pass the member over would ask for ever: each is told once of a change. */
static void want_told(struct offloading *o, const struct device_state *d, uint32_t changed)
{
	if (o->is_replaying || d->is_ddi)
		return;
	if (d->index >= o->told_count) {
		size_t count = registry_span(o->s->registry) + 1024;
		o->told = must(realloc(o->told, count * sizeof *o->told));
		memset(o->told + o->told_count, 0, (count - o->told_count) * sizeof *o->told);
		o->told_count = count;
	}
	struct told *t = &o->told[d->index];
	if (t->row == (uint32_t)d->row && t->generation >= changed)
		return;
	*t = (struct told){o->generation, (uint32_t)d->row};
	if (o->queue_count == o->queue_room) {
		o->queue_room = o->queue_room != 0 ? o->queue_room * 2 : 256;
		o->queue = must(realloc(o->queue, o->queue_room * sizeof *o->queue));
	}
	o->queue[o->queue_count++] = d->row;
}

static enum err tell_some(struct call *c, struct offloading *o)
{
	struct timebox box = timebox_begin(TIMEBOX_NS);
	enum err e = ERR_OK;
	for (bool is_first = true; o->queue_at < o->queue_count && e == ERR_OK && (is_first || !timebox_is_over(&box)); is_first = false) {
		struct device_state *d = registry_by_row(o->s->registry, o->queue[o->queue_at++]);
		if (d != NULL && !d->is_ddi)
			e = registry_bump_desired(c, d);
	}
	if (o->queue_at == o->queue_count)
		o->queue_at = o->queue_count = 0;
	return e;
}

/* ---- from a report to a class ---- */

static enum noted noted_of(struct offloading *o, int64_t symbol)
{
	for (unsigned i = 0; i < NOTED_COUNT; i++)
		if (o->metrics[i] == symbol)
			return (enum noted)i;
	const struct symbol *y = symbols_get(telemetry_symbols(o->s->telemetry), symbol);
	if (y == NULL || strncmp(y->text, "offload_", 8) != 0)
		return NOTED_COUNT;
	for (unsigned i = 0; i < NOTED_COUNT; i++) {
		if (o->metrics[i] != 0 || strcmp(y->text, noted_metrics[i]) != 0)
			continue;
		o->metrics[i] = symbol;
		return (enum noted)i;
	}
	return NOTED_COUNT;
}

struct gathered {
	struct offload_report report;
	uint64_t margins[TELEMETRY_HIST_BINS], sure[TELEMETRY_HIST_BINS];
	int64_t rev; /* -1: the device has no policy */
};

static void take_hist(const struct log_metric *m, uint64_t *room, const uint64_t **hist, unsigned *bins)
{
	if (m->type != VALUE_HIST)
		return;
	memcpy(room, m->counts, m->bin_count * sizeof *room);
	*hist = room;
	*bins = m->bin_count;
}

static void take_ratio(const struct log_metric *m, uint64_t *n, uint64_t *k)
{
	if (m->type != VALUE_RATIO)
		return;
	*n = (uint64_t)m->n;
	*k = (uint64_t)m->k;
}

static void take_metric(struct gathered *g, enum noted which, const struct log_metric *m)
{
	struct offload_report *r = &g->report;
	uint64_t same;
	switch (which) {
	case NOTED_REV:
		if (m->type == VALUE_NUMBER && m->value >= 0 && m->value < 9007199254740992.0)
			g->rev = (int64_t)m->value;
		break;
	case NOTED_RATE: take_ratio(m, &r->inferences, &r->sent); break;
	case NOTED_KEPT: take_ratio(m, &same, &r->blocked); break;
	case NOTED_AGREE: take_ratio(m, &r->answered, &r->agreed); break;
	case NOTED_AUDIT: take_ratio(m, &r->audited, &r->audit_agreed); break;
	case NOTED_MARGIN: take_hist(m, g->margins, &r->margins, &r->margin_bins); break;
	case NOTED_SURE: take_hist(m, g->sure, &r->sure, &r->sure_bins); break;
	case NOTED_COST:
		if (m->type == VALUE_SUM)
			r->cost = m->value;
		break;
	case NOTED_COUNT: break;
	}
}

static void gather(struct offloading *o, struct log_report r, struct gathered *g)
{
	struct log_metric m;
	g->report = (struct offload_report){.inferences = 0};
	g->rev = -1;
	while (report_log_metric(&r, &m)) {
		enum noted which = noted_of(o, m.name);
		if (which != NOTED_COUNT)
			take_metric(g, which, &m);
	}
}

static void note(struct offloading *o, struct policy *p, struct offload_class *k, const struct device_state *d, const char *version, int64_t batch,
	const struct log_report *r, const struct gathered *g)
{
	if (k == NULL && (k = add_class(o, p->row.model, registry_text(o->s->registry, d->hardware), version, r->received_ms)) == NULL) {
		metric_add(METER_OFFLOAD_REFUSED, 1);
		return;
	}
	if (k->rev == 0) { /* new */
		k->margin = (uint16_t)p->row.margin;
		k->rev = p->row.rev;
		k->rev_at = k->fitted_at = k->faded_at = r->received_ms;
		k->changed = p->changed;
		k->dirty = true;
	}
	if (batch <= k->batch)
		return; /* told again, and in the row already */
	if (r->received_ms - k->faded_at >= FADE_MS) {
		offload_halve(&k->stats);
		k->faded_at = r->received_ms;
	}
	if (offload_take(&k->stats, &g->report, k->margin) != ERR_OK)
		metric_add(METER_OFFLOAD_REFUSED, 1);
	k->dirty = true;
}

static void on_report(void *ctx, int64_t batch, const struct log_report *r)
{
	static struct gathered g; /* the loop's thread alone */
	struct offloading *o = ctx;
	const struct symbols *symbols = telemetry_symbols(o->s->telemetry);
	const struct symbol *y = r->version != 0 ? symbols_get(symbols, r->version) : NULL;
	const struct device_state *d = y != NULL ? registry_by_row(o->s->registry, r->device) : NULL;
	struct policy *p = d != NULL ? offloading_policy(o, y->model) : NULL;
	if (d == NULL || (p == NULL && o->metrics[NOTED_REV] == 0 && symbols_find_metric(symbols, noted_metrics[NOTED_REV]) == NULL))
		return; /* most fleets offload nothing */
	gather(o, *r, &g);
	if (p == NULL) {
		if (g.rev >= 0) /* it goes on as if there were one */
			want_told(o, d, o->removed);
		return;
	}
	struct offload_class *k = offloading_class(o, p->row.model, registry_text(o->s->registry, d->hardware), y->text);
	int64_t rev = k != NULL ? k->rev : p->row.rev;
	if (g.rev == rev)
		note(o, p, k, d, y->text, batch, r, &g);
	else
		want_told(o, d, k != NULL && k->changed > p->changed ? k->changed : p->changed);
}

/* ---- time passes ---- */

static void on_lost(void *ctx)
{
	((struct offloading *)ctx)->is_lost = true;
}

static void begin_again(struct offloading *o)
{
	for (size_t i = 0; i < o->class_count; i++)
		o->classes[i]->dirty = true;
	memset(o->told, 0, o->told_count * sizeof *o->told);
	o->queue_at = o->queue_count = 0;
	o->round_due_ms = 0;
	o->is_lost = false;
}

enum err offloading_write_all(struct call *c)
{
	struct offloading *o = c->s->offloading;
	enum err e = ERR_OK;
	for (size_t i = 0; i < o->class_count && e == ERR_OK; i++)
		if (o->classes[i]->dirty)
			e = offloading_write(c, o->classes[i]);
	o->marked_ms = c->now_ms;
	return e == ERR_OK ? offload_set_watermark(o->store, telemetry_settled(o->s->telemetry), c->fault) : e;
}

static enum err write_round(struct call *c, struct offloading *o)
{
	bool has_any = o->policy_count > 0 && (c->now_ms - o->marked_ms >= MARK_EVERY_MS || c->now_ms < o->marked_ms);
	if (c->now_ms < o->round_due_ms && c->now_ms >= o->round_due_ms - 2 * ROUND_EVERY_MS) /* unless the clock went back */
		return ERR_OK;
	o->round_due_ms = c->now_ms + ROUND_EVERY_MS;
	for (size_t i = 0; i < o->class_count; i++)
		has_any = has_any || o->classes[i]->dirty;
	return has_any ? offloading_write_all(c) : ERR_OK;
}

static enum err work(struct call *c, struct offloading *o)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < o->class_count && e == ERR_OK; i++) {
		struct offload_class *k = o->classes[i];
		struct policy *p = offloading_policy_of(o, k->model);
		e = offloading_fit(c, p, k);
		if (e == ERR_OK)
			e = offloading_watch(c, p, k);
	}
	if (e == ERR_OK)
		e = write_round(c, o);
	return e == ERR_OK ? tell_some(c, o) : e;
}

enum err offloading_tick(struct call *c)
{
	struct offloading *o = c->s->offloading;
	if (o == NULL)
		return ERR_OK;
	if (o->is_lost)
		begin_again(o);
	enum err e = offloading_refresh(o, c->fault);
	if (e != ERR_OK || (o->policy_count == 0 && o->queue_count == 0))
		return e;
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, work(c, o), c->fault);
	if (e != ERR_OK)
		o->is_lost = true;
	return e;
}

/* ---- opening ---- */

enum err offloading_open(struct services *s, struct offloading **out, struct fault *f)
{
	struct offloading *o = must(calloc(1, sizeof *o));
	int64_t watermark = telemetry_settled(s->telemetry);
	*out = NULL;
	o->s = s;
	o->told_count = 1024;
	o->told = must(calloc(o->told_count, sizeof *o->told));
	o->is_replaying = true;
	o->generation = o->removed = 1;
	enum err e = offload_store_open(s->db, &o->store, f);
	if (e == ERR_OK)
		e = offloading_refresh(o, f);
	if (e == ERR_OK)
		e = offload_watermark(o->store, &watermark, f);
	if (e == ERR_OK) {
		telemetry_listen(s->telemetry, on_report, o);
		e = o->policy_count > 0 ? telemetry_tell_again(s->telemetry, o, watermark, f) : ERR_OK;
	}
	if (e != ERR_OK) {
		offloading_close(o);
		return e;
	}
	o->is_replaying = false;
	units_listen(s->units, (struct unit_listener){.lost = on_lost, .ctx = o});
	*out = o;
	return ERR_OK;
}

void offloading_close(struct offloading *o)
{
	if (o == NULL)
		return;
	telemetry_listen(o->s->telemetry, NULL, o);
	while (o->class_count > 0)
		forget_class(o, o->class_count - 1);
	for (size_t i = 0; i < o->policy_count; i++)
		drop_policy(&o->policies[i]);
	offload_store_close(o->store);
	free(o->told);
	free(o->queue);
	free(o);
}
