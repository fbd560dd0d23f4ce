#include "service/detect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "service/alerts.h"
#include "service/detect_inside.h"
#include "service/registry.h"
#include "service/telemetry.h"
#include "service/timebox.h"
#include "service/unit.h"

#define EVENTS_ROOM 10000  /* scores that wait for the next batch */
#define SIGNALS_A_UNIT 64

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

void detect_options_init(struct detect_options *o)
{
	*o = (struct detect_options){.state = "compact", .budget = 1000, .checkpoint_ms = 60000, .states_a_batch = 250, /* some 350 kB: a millisecond of the loop, some of the writer */
		.cohorts_max = DETECT_COHORTS};
}

bool detect_is_state(const char *text)
{
	return strcmp(text, "compact") == 0 || strcmp(text, "full") == 0 || strcmp(text, "off") == 0;
}

/* ---- life ---- */

struct detect *detect_new(const struct detect_options *o)
{
	struct detect *d = must(calloc(1, sizeof *d));
	d->o = *o;
	d->is_full = strcmp(o->state, "full") == 0;
	d->stride = sizeof(struct detect_state) + DETECT_SERIES * (d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact));
	d->per_device_day = (float)o->budget * 1e-6f;
	d->finding_room = DETECT_FINDINGS_MAX;
	d->findings = must(calloc(d->finding_room, sizeof *d->findings));
	d->event_room = EVENTS_ROOM;
	d->events = must(calloc(d->event_room, sizeof *d->events));
	d->pages = state_pages_new(PAGE_DETECT);
	return d;
}

void detect_close(struct detect *d)
{
	if (d == NULL)
		return;
	if (d->s != NULL && d->s->telemetry != NULL)
		telemetry_accompany(d->s->telemetry, NULL);
	for (uint32_t i = 0; i < d->slab_count; i++)
		free(d->slabs[i]);
	for (uint32_t i = 0; i < d->cohort_count; i++)
		free(d->cohorts[i]);
	free((void *)d->slabs);
	free(d->dirty);
	detect_drop_loaded(d);
	free((void *)d->cohorts);
	free(d->free_places);
	free(d->place_of);
	free(d->roles);
	free(d->findings);
	free(d->events);
	free(d->views);
	free(d->past);
	free(d->rows);
	buf_done(&d->state);
	state_pages_free(d->pages);
	buf_done(&d->bytes);
	free(d);
}

static const char *hardware_of(void *ctx, int64_t row)
{
	const struct services *s = ctx;
	const struct device_state *k = registry_by_row(s->registry, row);
	return k != NULL ? registry_text(s->registry, k->hardware) : NULL;
}

/* What was stored of devices that were deleted since. */
static void forget_unknown(struct detect *d)
{
	for (int64_t row = 1; row < d->place_room; row++) {
		if (d->place_of[row] != 0 && registry_by_row(d->s->registry, row) == NULL)
			detect_forget(d, row);
	}
}

enum err detect_open(struct services *s, const struct detect_options *o, struct detect **out, struct fault *f)
{
	*out = NULL;
	if (!detect_is_state(o->state))
		return fault_set(f, ERR_INVALID, "", "[detect] state: compact, full or off is wanted");
	if (strcmp(o->state, "off") == 0)
		return ERR_OK;
	struct detect *d = detect_new(o);
	d->s = s;
	d->hardware_of = hardware_of;
	d->hardware_ctx = s;
	detect_start(d, s->telemetry);
	enum err e = detect_read(d, s->telemetry, f);
	if (e != ERR_OK) {
		detect_close(d);
		return e;
	}
	forget_unknown(d);
	d->is_live = true;
	*out = d;
	return ERR_OK;
}

/* ---- what devices say they are ---- */

void detect_on_capabilities(struct detect *d, int64_t device, const struct json *capabilities)
{
	double offset = json_number(json_get(capabilities, "utc_offset_minutes")), memory = json_number(json_get(capabilities, "memory_bytes"));
	double hot = json_number(json_get(capabilities, "hot_c"));
	bool has_offset = fabs(offset) <= 14 * 60, has_memory = memory >= 1 && memory <= 1e15, has_hot = hot >= 1 && hot <= UINT8_MAX;
	struct detect_state *k = d != NULL ? detect_find(d, device) : NULL;
	if (d == NULL || (k == NULL && !has_offset && !has_memory && !has_hot))
		return;
	k = k != NULL ? k : detect_get(d, device);
	if (k == NULL)
		return;
	int8_t quarters = (int8_t)(has_offset ? lround(offset / 15) : 0);
	uint16_t limit = (uint16_t)(has_memory ? lround(log2(memory) * DETECT_MEMORY_STEPS) : 0);
	uint8_t hot_c = (uint8_t)(has_hot ? lround(hot) : 0);
	if (k->head.utc_quarters == quarters && k->head.memory == limit && k->head.hot_c == hot_c)
		return;
	k->head.utc_quarters = quarters;
	k->head.memory = limit;
	k->head.hot_c = hot_c;
	detect_dirty(d, d->place_of[device] - 1);
}

/* ---- findings become alerts ---- */

static void put_evidence(struct buf *out, const struct signature_finding *f)
{
	json_key(out, "evidence");
	json_open_array(out);
	for (unsigned i = 0; i < f->evidence_count; i++) {
		json_open_object(out);
		json_str(out, "name", f->evidence[i].name);
		json_num(out, "value", (double)f->evidence[i].value);
		if (isfinite(f->evidence[i].expected))
			json_num(out, "expected", (double)f->evidence[i].expected);
		json_close_object(out);
	}
	json_close_array(out);
}

static void put_data(struct buf *out, const struct signature_finding *f)
{
	json_open_object(out);
	json_str(out, "cause", signature_cause_name(f->cause));
	if (f->kind != SIGNATURE_PLAIN)
		json_str(out, "kind", signature_kind_name(f->kind));
	if (f->is_inhibited)
		json_bool(out, "cohort_drifts", true);
	if (f->novel > 0)
		json_int(out, "novel_metrics", f->novel);
	put_evidence(out, f);
	json_close_object(out);
}

static const char *metric_of(const struct detect_finding *w)
{
	if (w->row != 0)
		return NULL;
	int m = w->f.statistics != 0 ? watch_statistic_metric((enum watch_statistic)__builtin_ctz(w->f.statistics)) : -1;
	return w->f.kind == SIGNATURE_FLEET_CLASSES || m < 0 ? "classes" : watch_metric_name((enum watch_metric)m);
}

static enum err signal_one(struct call *c, const struct detect *d, const struct detect_finding *w, struct buf *data)
{
	char resource[320], sentence[SIGNATURE_SENTENCE_BYTES];
	const struct device_state *k = w->row != 0 ? registry_by_row(c->s->registry, w->row) : NULL;
	const char *cohort = d->cohorts[w->cohort]->name;
	if (w->row != 0 && k == NULL)
		return ERR_OK; /* deleted meanwhile */
	snprintf(resource, sizeof resource, "%s/%s", k != NULL ? "devices" : "cohorts", k != NULL ? k->id : cohort);
	buf_clear(data);
	struct alert_signal s = {.kind = signature_cause_name(w->f.cause), .resource = resource, .cohort = cohort, .metric = metric_of(w),
		.severity = (enum alert_severity)w->f.severity, .level = w->is_over ? ALERT_LEVEL_OVER : ALERT_LEVEL_UNDER,
		.value = NAN, .expected = NAN, .score = NAN};
	if (w->is_over) {
		signature_sentence(&w->f, sentence, sizeof sentence);
		put_data(data, &w->f);
		s.summary = sentence;
		s.data = buf_cstr(data);
		s.score = (double)w->f.score;
		s.value = w->f.evidence_count > 0 ? (double)w->f.evidence[0].value : NAN;
		s.expected = w->f.evidence_count > 0 ? (double)w->f.evidence[0].expected : NAN;
	}
	return alert_signal(c, &s);
}

static enum err signal_some(struct call *c, struct detect *d, size_t count, struct buf *data)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = signal_one(c, d, &d->findings[(d->finding_first + i) % d->finding_room], data);
	return e;
}

enum err detect_tick(struct call *c, bool *more)
{
	struct detect *d = c->s->detect;
	struct buf data = BUF_INIT;
	enum err e = ERR_OK;
	*more = false;
	if (d == NULL)
		return ERR_OK;
	struct timebox box = timebox_begin(TIMEBOX_NS);
	while (d->finding_count > 0 && e == ERR_OK && !timebox_is_over(&box)) {
		size_t count = d->finding_count < SIGNALS_A_UNIT ? d->finding_count : SIGNALS_A_UNIT;
		e = unit_begin(c->s, c->fault);
		if (e == ERR_OK)
			e = unit_end(c->s, signal_some(c, d, count, &data), c->fault);
		if (e == ERR_FULL || e == ERR_UNAVAILABLE)
			break; /* again later */
		d->finding_first = (d->finding_first + count) % d->finding_room;
		d->finding_count -= count;
	}
	*more = d->finding_count > 0;
	buf_done(&data);
	return e;
}
