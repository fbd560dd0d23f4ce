/* A device's state and what a report does to it. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/ddsketch.h"
#include "service/alerts.h"
#include "service/detect_inside.h"

#define ROW_MAX ((int64_t)1 << 28)
#define HOUR_S 3600u
#define DAY_S 86400u
#define DAY_MS 86400000
#define CLOCK_AHEAD_MS (5 * 60000)      /* a device's own time is believed so far ahead of ours, */
#define CLOCK_BEHIND_MS (7 * (int64_t)DAY_MS) /* and so far behind: reports that waited in it */
#define NOVEL_HOLD_S 14400
#define NOVEL_SAMPLES_MAX 6048          /* three weeks at five minutes */
#define NOVEL_SPEAKS 288                /* samples before which a series is not heard */
#define RULED_SCORE 64                  /* 1/255: rules look at scores from here on, and at the next one below */
#define CLEAR_SHARE 0.6f                /* of the threshold, below which what was over is not any more */
#define HUGE_PAGE ((size_t)2 << 20)
#define STATISTICS_MASK ((1u << DETECT_STATISTIC_BITS) - 1)
#define GAPS_NOW (1 / 16.0f)            /* of a message, in the share of those that are missing */
#define GAPS_USUAL (1 / 1024.0f)
#define BOOTS_RATE 1e-4f                /* of a device's day, in what is usual for its cohort */
#define DRAIN_LEAST 1e-5f               /* share an hour */
#define DRAIN_STEP 1.02f                /* by which the cohort's median drain follows a device's */
#define LATE_HOURS 24
#define GAPS_MAX 64u                    /* more messages at once are somebody's own numbering */
#define ROLE_NAN_OUTPUTS (WATCH_ROLE_NONE + 1) /* roles that are nothing to core/watch.h */
#define ROLE_EVENTS (WATCH_ROLE_NONE + 2)
#define ROLE_OFFLOADING (WATCH_ROLE_NONE + 3)
#define COUNT_MAX 1e6                   /* of a thing in an interval: core/watch.h believes no more either */
#define BOOTS_MAX 100
#define TAIL 0.05                       /* latency: the 95th percentile */

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- places ---- */

struct detect_state *detect_at(const struct detect *d, uint32_t place)
{
	return (struct detect_state *)(void *)(d->slabs[place / DETECT_SLAB] + (size_t)(place % DETECT_SLAB) * d->stride);
}

struct novelty_level *detect_series(const struct detect *d, struct detect_state *k, unsigned at)
{
	return (struct novelty_level *)(void *)((uint8_t *)(k + 1) + at * (d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact)));
}

struct detect_state *detect_find(const struct detect *d, int64_t row)
{
	uint32_t place = row > 0 && row < d->place_room ? d->place_of[row] : 0;
	return place != 0 ? detect_at(d, place - 1) : NULL;
}

static uint8_t *new_slab(const struct detect *d)
{
	size_t bytes = (DETECT_SLAB * d->stride + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	uint8_t *slab = must(aligned_alloc(HUGE_PAGE, bytes));
	if (d->slab_count > 0) /* a small fleet takes what it needs */
		(void)madvise(slab, bytes, MADV_HUGEPAGE);
	return slab;
}

static uint32_t take_place(struct detect *d)
{
	if (d->free_count > 0)
		return d->free_places[--d->free_count];
	if (d->used == d->slab_count * DETECT_SLAB) {
		size_t words = DETECT_SLAB / 64, before = d->slab_count * words;
		d->slabs = must(realloc(d->slabs, (d->slab_count + 1u) * sizeof *d->slabs));
		d->dirty = must(realloc(d->dirty, (before + words) * sizeof *d->dirty));
		memset(d->dirty + before, 0, words * sizeof *d->dirty);
		d->slabs[d->slab_count] = new_slab(d);
		d->slab_count++;
	}
	return d->used++;
}

struct detect_state *detect_get(struct detect *d, int64_t row)
{
	struct detect_state *k = detect_find(d, row);
	if (k != NULL || row <= 0 || row >= ROW_MAX)
		return k;
	if (row >= d->place_room) {
		int64_t room = d->place_room > 0 ? d->place_room : 1024;
		while (room <= row)
			room *= 2;
		d->place_of = must(realloc(d->place_of, (size_t)room * sizeof *d->place_of));
		memset(d->place_of + d->place_room, 0, (size_t)(room - d->place_room) * sizeof *d->place_of);
		d->place_room = room;
	}
	uint32_t place = take_place(d);
	d->place_of[row] = place + 1;
	d->device_count++;
	k = detect_at(d, place);
	memset((void *)k, 0, d->stride);
	k->head.row = (uint32_t)row;
	return k;
}

static void undirty(struct detect *d, uint32_t place)
{
	uint64_t bit = (uint64_t)1 << place % 64, *word = &d->dirty[place / 64];
	d->dirty_count -= (*word & bit) != 0;
	*word &= ~bit;
}

void detect_drop(struct detect *d, int64_t row)
{
	struct detect_state *k = detect_find(d, row);
	if (k == NULL)
		return;
	uint32_t place = d->place_of[row] - 1;
	undirty(d, place);
	if (d->loaded_of != NULL && place < d->loaded_room)
		d->loaded_of[place] = 0;
	k->head.row = 0;
	d->place_of[row] = 0;
	d->device_count--;
	if (d->free_count == d->free_room) {
		d->free_room = d->free_room > 0 ? 2 * d->free_room : 64;
		d->free_places = must(realloc(d->free_places, d->free_room * sizeof *d->free_places));
	}
	d->free_places[d->free_count++] = place;
}

void detect_dirty(struct detect *d, uint32_t place)
{
	uint64_t bit = (uint64_t)1 << place % 64, *word = &d->dirty[place / 64];
	d->dirty_count += (*word & bit) == 0;
	*word |= bit;
}

void detect_drop_loaded(struct detect *d)
{
	free(d->loaded_of);
	d->loaded_of = NULL;
}

int64_t detect_device_bytes(const struct detect *d)
{
	return (int64_t)d->slab_count * (DETECT_SLAB * (int64_t)d->stride + DETECT_SLAB / 8) + d->place_room * (int64_t)sizeof *d->place_of;
}

void detect_prefetch(void *ctx, int64_t device)
{
	const struct detect *d = ctx;
	const uint8_t *k = (const uint8_t *)detect_find(d, device);
	for (size_t at = 0; k != NULL && at < d->stride; at += 64)
		__builtin_prefetch(k + at, 1);
}

/* ---- what a report says ---- */

struct reading {
	const struct log_report *r;
	struct detect_head *head;
	struct detect_state *k;
	struct detect_cohort *cohort;
	struct watch_report w;
	struct watch_result out;
	bool counts;          /* the cohort has not had this report yet */
	bool is_new_boot;
	uint32_t before_s;    /* receipt of the report before; 0: none */
	uint32_t elapsed_s;   /* since then, by the device's own time when that says more */
	uint32_t scored;      /* series that have a value in this report: a bit each */
	float outputs, nan_outputs;
	float class_counts[DRIFT_CLASSES];
};

static void count_up(uint16_t *n)
{
	*n = (uint16_t)(*n + (*n < UINT16_MAX));
}

/* The value that TAIL of the sketch is above: from the largest key down, which is a few steps. */
static double tail_of(const struct log_metric *m, double *spread)
{
	uint64_t total = 0, above = 0;
	double sum = 0, square = 0;
	for (unsigned i = 0; i < m->bin_count; i++) {
		double v = ddsketch_key_value(m->keys[i]);
		total += m->counts[i];
		sum += v * (double)m->counts[i];
		square += v * v * (double)m->counts[i];
	}
	if (total == 0)
		return NAN;
	double mean = sum / (double)total, variance = square / (double)total - mean * mean;
	*spread = variance > 0 ? sqrt(variance) : 0;
	for (int64_t key = INT32_MAX;;) {
		int best = -1;
		for (unsigned i = 0; i < m->bin_count; i++) {
			if (m->keys[i] < key && (best < 0 || m->keys[i] > m->keys[best]))
				best = (int)i;
		}
		if (best < 0)
			return ddsketch_key_value((int)key);
		above += m->counts[best];
		key = m->keys[best];
		if ((double)above >= TAIL * (double)total)
			return ddsketch_key_value((int)key);
	}
}

static double value_of(const struct log_metric *m, double *spread)
{
	*spread = -1;
	switch (m->type) {
	case VALUE_NUMBER:
		return m->value;
	case VALUE_SUM:
	case VALUE_RATIO:
		return m->n > 0 ? m->value / (double)m->n : NAN;
	case VALUE_SKETCH:
		return tail_of(m, spread);
	case VALUE_HIST:
	case VALUE_TYPE_COUNT:
		break;
	}
	return NAN;
}

static int role_of(struct detect *d, int64_t metric)
{
	if ((size_t)metric >= d->role_count)
		return WATCH_ROLE_NONE;
	uint8_t *role = &d->roles[metric];
	if (*role == 0) {
		const struct symbol *y = symbols_get(d->symbols, metric);
		*role = (uint8_t)((y != NULL && y->is_metric ? watch_role(y->text) : WATCH_ROLE_NONE) + 1);
		if (y != NULL && strcmp(y->text, "nan_outputs") == 0)
			*role = ROLE_NAN_OUTPUTS + 1;
		if (y != NULL && strcmp(y->text, "oom") == 0)
			*role = ROLE_EVENTS + 1;
		if (y != NULL && strncmp(y->text, "offload_", 8) == 0)
			*role = ROLE_OFFLOADING + 1;
	}
	return *role - 1;
}

/* The series of a metric; a watched metric takes the last place of one that is not. DETECT_SERIES: there is no room. */
static unsigned series_of(struct detect *d, struct reading *x, int64_t metric, int role)
{
	struct detect_head *h = x->head;
	unsigned at = 0;
	while (at < DETECT_SERIES && h->metric[at] != metric && h->metric[at] != 0)
		at++;
	if (at == DETECT_SERIES && role < WATCH_METRICS) {
		for (unsigned i = 0; i < DETECT_SERIES; i++)
			at = role_of(d, h->metric[i]) >= WATCH_METRICS ? i : at;
	}
	if (at == DETECT_SERIES || h->metric[at] == metric)
		return at;
	if (metric > UINT16_MAX)
		return DETECT_SERIES;
	h->metric[at] = (uint16_t)metric;
	h->type[at] = h->missing[at] = h->score[at] = h->peak[at] = h->peak_before[at] = h->novel[at] = 0;
	memset((void *)detect_series(d, x->k, at), 0, d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact));
	return at;
}

/* A metric keeps its type: others are refused, until there was nothing else for a while. Then the series begins anew. */
static bool check_type(struct detect *d, struct reading *x, unsigned at, enum value_type type)
{
	struct detect_head *h = x->head;
	unsigned known = h->type[at] & 0xf, run = h->type[at] >> 4;
	if (known == 0 || known == (unsigned)type + 1) {
		h->type[at] = (uint8_t)(type + 1u);
		return true;
	}
	count_up(&h->refused_types);
	d->refused_types++;
	if (++run < DETECT_TYPE_RUN) {
		h->type[at] = (uint8_t)(known | run << 4);
		return false;
	}
	h->type[at] = (uint8_t)(type + 1u);
	memset((void *)detect_series(d, x->k, at), 0, d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact));
	return true;
}

static void note_event(struct detect *d, struct reading *x, unsigned at, double score, double value)
{
	struct detect_head *h = x->head;
	h->novel[at] = DETECT_NOVEL_STEPS;
	d->series_events++;
	if (x->counts)
		x->cohort->hot.events++;
	if (d->event_count == d->event_room) { /* written with the next batch; a start that reads much tells less */
		d->lost_events++;
		return;
	}
	d->events[d->event_count++] = (struct stored_detect){.kind = DETECT_EVENT, .key = h->row, .batch = x->r->received_ms, .metric = h->metric[at],
		.score = score, .value = value};
}

static void score_value(struct detect *d, struct reading *x, unsigned at, double value)
{
	struct detect_head *h = x->head;
	struct novelty_pace pace = {.n_max = NOVEL_SAMPLES_MAX, .elapsed = (uint16_t)x->elapsed_s, .hold = NOVEL_HOLD_S};
	struct novelty_level *s = detect_series(d, x->k, at);
	struct novelty_result n = d->is_full ? novelty_update_full((struct novelty_full *)(void *)s, (float)value, (unsigned)x->w.hour % 24, pace)
	                                     : novelty_update_compact((struct novelty_compact *)(void *)s, (float)value, pace);
	if (n.is_refused) {
		d->refused_values++;
		return;
	}
	h->missing[at] = 0;
	x->scored |= 1u << at;
	if (s->n < NOVEL_SPEAKS)
		return;
	uint8_t before = h->score[at];
	h->score[at] = (uint8_t)lroundf(n.score * 255);
	if ((d->is_live || (d->s != NULL && alerts_replay_scores(d->s, d->batch))) && (h->score[at] >= RULED_SCORE || before >= RULED_SCORE))
		alerts_on_score(d->s, h->row, symbols_get(d->symbols, h->metric[at])->text, (double)n.score, x->r->received_ms);
	h->peak[at] = h->score[at] > h->peak[at] ? h->score[at] : h->peak[at];
	if (n.is_event)
		note_event(d, x, at, (double)n.score, value);
}

static void take_classes(struct reading *x, const struct log_metric *m)
{
	float counts[TELEMETRY_HIST_BINS];
	for (unsigned i = 0; i < m->bin_count; i++)
		counts[i] = (float)m->counts[i];
	watch_fold(&x->w, counts, m->bin_count);
}

/* How often something happened since the last report. What is below nothing (a counter that ran backwards, and of which the device took the
 * difference), or beyond what can be, is no count: neither its series nor any rate learns it. */
static bool is_no_count(const struct log_metric *m, int role)
{
	bool counts = role == WATCH_ROLE_ERRORS || role == WATCH_ROLE_BOOTS || role == ROLE_NAN_OUTPUTS || role == ROLE_EVENTS;
	double most = role == WATCH_ROLE_BOOTS ? BOOTS_MAX : COUNT_MAX;
	bool has_one = m->type == VALUE_NUMBER || m->type == VALUE_SUM || m->type == VALUE_RATIO;
	return counts && !(has_one && m->value >= 0 && m->value <= most);
}

static void take_metric(struct detect *d, struct reading *x, const struct log_metric *m)
{
	int role = role_of(d, m->name);
	if (role == ROLE_OFFLOADING) /* moves whenever the server gives another margin (service/offloading.h watches it) */
		return;
	if (is_no_count(m, role)) {
		count_up(&x->k->watch.refused_values);
		d->refused_values++;
		return;
	}
	if (role == WATCH_ROLE_CLASSES && m->type == VALUE_HIST)
		take_classes(x, m);
	if (m->type == VALUE_HIST)
		return;
	double spread, value = value_of(m, &spread);
	unsigned at = series_of(d, x, m->name, role);
	if (at == DETECT_SERIES) {
		count_up(&x->head->refused_metrics);
		d->refused_metrics++;
	} else if (!check_type(d, x, at, m->type)) {
		return;
	} else {
		score_value(d, x, at, value);
	}
	if (role < WATCH_METRICS) {
		x->w.value[role] = (float)value;
		x->w.has[role] = true;
		if (role == WATCH_CONFIDENCE)
			x->w.confidence_sd = (float)spread;
	} else if (role == WATCH_ROLE_ERRORS) {
		x->w.has_counts = true;
		x->w.errors = (float)m->value; /* of a ratio: k */
		x->w.inferences = m->type == VALUE_RATIO ? (float)m->n : 0;
	} else if (role == WATCH_ROLE_BOOTS) {
		x->w.boots += (uint32_t)m->value;
	} else if (role == ROLE_NAN_OUTPUTS) {
		x->nan_outputs = (float)m->value;
		x->outputs = m->type == VALUE_RATIO ? (float)m->n : NAN;
	}
}

static uint32_t fingerprint(struct slice text)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	for (size_t i = 0; i < text.len; i++)
		h = (h ^ (uint8_t)text.data[i]) * 16777619u;
	return h != 0 ? h : 1;
}

/* What is not counted as one by one: the share of messages that are missing, of the last ones and of many. */
static void count_gap(struct detect_head *h, unsigned missing, uint32_t at_s)
{
	const float rates[2] = {GAPS_NOW, GAPS_USUAL};
	uint16_t *shares[2] = {&h->gaps_now, &h->gaps_usual};
	uint32_t chance = (at_s ^ h->seq) * 2654435769u;
	for (unsigned i = 0; i < 2; i++) {
		float g = (float)*shares[i] / UINT16_MAX;
		for (unsigned n = 0; n < missing; n++)
			g += rates[i] * (1 - g);
		g -= rates[i] * g;
		float steps = g * UINT16_MAX + (float)(chance >> 8) * 0x1p-24f; /* up or down by chance: small steps are not lost */
		*shares[i] = (uint16_t)(steps < UINT16_MAX ? steps : UINT16_MAX);
	}
}

/* Reports that waited in the device may come after those of its next boot. */
static void take_boot(struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t boot = fingerprint(x->r->boot), seq = (uint32_t)x->r->seq;
	bool is_same = boot == h->boot;
	if (!is_same && h->boot != 0 && (uint16_t)boot == h->boot_before)
		return;
	if (!is_same) {
		x->is_new_boot = h->boot != 0;
		h->boot_before = (uint16_t)h->boot;
		h->boot = boot;
		h->boots_today = (uint8_t)(h->boots_today + (x->is_new_boot && h->boots_today < UINT8_MAX));
	}
	/* what was lost around a boot is not told from what was never sent */
	uint32_t step = is_same ? seq - h->seq : 1;
	if (step == 0 || step > INT32_MAX)
		return; /* it comes late: that it seemed lost is forgotten in an hour */
	h->seq = seq;
	if (step <= GAPS_MAX)
		count_gap(h, step - 1, h->at_s);
}

static uint32_t time_of(struct detect *d, struct reading *x)
{
	const struct log_report *r = x->r;
	if (!r->has_ts)
		return x->head->at_s;
	if (r->ts_ms <= r->received_ms + CLOCK_AHEAD_MS && r->ts_ms >= r->received_ms - CLOCK_BEHIND_MS)
		return (uint32_t)(r->ts_ms / 1000);
	count_up(&x->k->watch.refused_clocks);
	d->refused_clocks++;
	return x->head->at_s;
}

/* ---- the hour, the day, the version ---- */

/* What another model may need is learned anew. What it says is not: a model that says other things than the one before is to be noticed. */
static void turn_version(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	int64_t version = x->r->version != 0 ? x->r->version : h->version;
	bool is_other = h->version != 0 && version != h->version;
	if (h->cohort != 0 && !is_other && version == h->version)
		return;
	const char *hardware = d->hardware_of(d->hardware_ctx, h->row);
	const struct detect_cohort *c = hardware != NULL ? detect_cohort_of(d, hardware, version) : NULL;
	h->version = (uint32_t)version & 0xfffff;
	h->cohort = (c != NULL ? c->number + 1 : 0) & 0xfff;
	if (!is_other)
		return;
	watch_forget(&x->k->watch, WATCH_LATENCY);
	watch_forget(&x->k->watch, WATCH_ENERGY);
	watch_forget(&x->k->watch, WATCH_MEMORY);
	memset(&x->k->drift, 0, sizeof x->k->drift);
	memset(&x->k->leak, 0, sizeof x->k->leak);
}

/* How often devices of the cohort boot in a day; one that is in a loop does not make that usual. */
static void count_boots(struct detect_hot *hot, const struct detect_head *h)
{
	if ((h->causes | h->lately) >> SIGNATURE_REBOOT_LOOP & 1)
		return;
	float boots = h->boots_today, rate = 1 / (float)(hot->boot_days + 1);
	rate = rate > BOOTS_RATE ? rate : BOOTS_RATE;
	hot->boots += rate * (boots - hot->boots);
	hot->boots_square += rate * (boots * boots - hot->boots_square);
	hot->boot_days += hot->boot_days < UINT32_MAX;
}

static void turn_day(struct reading *x, struct detect_cohort *parent)
{
	float maxima[WATCH_STATISTICS];
	struct detect_head *h = x->head;
	if (watch_day_end(&x->k->watch, maxima) && x->counts) {
		bool is_firing = (h->causes | h->lately) != 0;
		budget_add_day(&x->cohort->budget, maxima, is_firing);
		x->cohort->is_cold_dirty = true;
		count_boots(&x->cohort->hot, h);
		if (parent != NULL) {
			budget_add_day(&parent->budget, maxima, is_firing);
			parent->is_cold_dirty = true;
		}
	}
	h->boots_before = h->boots_today;
	h->boots_today = 0;
}

/* Where the device's hour counts: in the cohort's hour that is being closed, or, when that has been judged, in the next one. Who reports
 * less often than each hour tells what it has as of then. What the device itself learns depends on the view alone. */
static struct drift_hour *hour_of(struct detect *d, struct reading *x, uint32_t hour)
{
	struct detect_hot *hot = &x->cohort->hot;
	const struct detect_view *v = &x->cohort->view;
	bool is_known = v->hour >= hour && v->hour - hour <= LATE_HOURS;
	uint32_t to = is_known ? v->hour : hour;
	d->lens.over = v->over;
	d->lens.days[to % DRIFT_HOURS] = (uint8_t)(is_known ? v->days : 0);
	memcpy(d->lens.common[to % DRIFT_HOURS], v->common, sizeof v->common);
	drift_device_date(&x->k->drift, hour, to);
	struct drift_hour *into = hot->is_rolled ? &hot->late : &hot->closing;
	if (!is_known || !x->counts || hot->closing.hour != to)
		into = &d->scrap;
	into->hour = to;
	return into;
}

/* The device's own baseline learns in any case. */
static void turn_hour(struct detect *d, struct reading *x, uint32_t before, uint32_t hour)
{
	struct detect_head *h = x->head;
	if (x->cohort != NULL) {
		struct drift_hour *into = hour_of(d, x, before);
		(void)drift_device_close(&x->k->drift, &d->lens, into);
		for (uint32_t left = h->present; left != 0; left &= left - 1) {
			unsigned s = (unsigned)__builtin_ctz(left);
			drift_count(into, (enum watch_statistic)s, h->beyond >> s & 1);
		}
	}
	bool is_next = hour == before + 1;
	for (unsigned i = 0; i < DETECT_SERIES; i++) {
		h->peak_before[i] = is_next ? h->peak[i] : 0;
		h->peak[i] = 0;
	}
	h->beyond = h->present = 0;
}

/* ---- what is wrong ---- */

void detect_note(struct detect *d, const struct detect_finding *f)
{
	if (d->finding_count == d->finding_room) {
		d->lost_findings++;
		return;
	}
	d->findings[(d->finding_first + d->finding_count++) % d->finding_room] = *f;
}

static uint32_t note_statistics(struct reading *x)
{
	struct detect_head *h = x->head;
	const struct detect_view *v = &x->cohort->view;
	uint32_t over = 0;
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
		float now = x->out.statistic[s], limit = v->threshold[s];
		if (!(now >= 0) || !(limit > 0))
			continue;
		h->present = (h->present | 1u << s) & STATISTICS_MASK;
		if (now >= limit / 2)
			h->beyond = (h->beyond | 1u << s) & STATISTICS_MASK;
		if (now >= (h->over >> s & 1 ? CLEAR_SHARE * limit : limit))
			over |= 1u << s;
	}
	return over;
}

static unsigned novel_of(struct detect *d, const struct reading *x, struct signature_novel out[DETECT_SERIES])
{
	const struct detect_head *h = x->head;
	unsigned count = 0;
	for (unsigned i = 0; i < DETECT_SERIES; i++) {
		uint32_t age_s = (DETECT_NOVEL_STEPS - h->novel[i]) * DETECT_NOVEL_S;
		if (h->metric[i] == 0 || h->novel[i] == 0 || age_s > SIGNATURE_NOVEL_WINDOW_S)
			continue;
		const struct symbol *y = symbols_get(d->symbols, h->metric[i]);
		uint8_t score = h->peak[i] > h->peak_before[i] ? h->peak[i] : h->peak_before[i]; /* that event's, or a larger one's of then */
		if (y != NULL)
			out[count++] = (struct signature_novel){y->text, (float)score / 255, age_s};
	}
	return count;
}

static void fill_facts(const struct reading *x, uint32_t over, struct signature_facts *f)
{
	const struct detect_view *v = &x->cohort->view;
	const struct detect_head *h = x->head;
	const struct watch *w = &x->k->watch;
	unsigned top = 0;
	signature_facts_init(f);
	memcpy(f->statistic, x->out.statistic, sizeof f->statistic);
	for (unsigned s = 0; s < WATCH_STATISTICS; s++)
		f->threshold[s] = over >> s & 1 && f->statistic[s] < v->threshold[s] ? CLEAR_SHARE * v->threshold[s] : v->threshold[s];
	memcpy(f->z, x->out.z, sizeof f->z);
	memcpy(f->value, x->out.value, sizeof f->value);
	for (unsigned m = 0; m < WATCH_METRICS; m++) {
		f->expected[m] = watch_expected(&x->out, (enum watch_metric)m);
		f->side[m] = (int8_t)watch_side(w, (enum watch_metric)m);
	}
	f->fleet = v->fleet;
	f->outputs = x->outputs;
	f->nan_outputs = x->nan_outputs;
	f->identical = x->out.identical;
	for (unsigned i = 1; i < WATCH_CLASS_KEPT; i++)
		top = w->class_short[i] > w->class_short[top] ? i : top;
	if (w->classes_seen > 0) {
		f->top_share = (float)w->class_short[top] / 65535;
		f->top_usual = (float)w->class_long[top] / 65535;
	}
	f->heat_effect = watch_heat(w) * (f->value[WATCH_TEMPERATURE] - f->expected[WATCH_TEMPERATURE]);
	f->hot_c = h->hot_c != 0 ? (float)h->hot_c : f->hot_c;
	f->battery = x->w.has[WATCH_BATTERY] ? x->w.value[WATCH_BATTERY] : NAN;
	f->drain_cohort = v->drain > 0 ? v->drain : NAN;
	f->gaps = (float)h->gaps_now / UINT16_MAX;
	f->gaps_usual = (float)h->gaps_usual / UINT16_MAX;
	f->boots_in_hour = x->out.boots_in_hour;
	f->boots_in_day = h->boots_today > f->boots_in_hour ? h->boots_today : f->boots_in_hour;
	f->boots_usual_day = v->boots_usual > (float)h->boots_before ? v->boots_usual : v->boots_usual > 0 ? (float)h->boots_before : NAN;
	leak_judge(&x->k->leak, h->memory != 0 ? (float)exp2(h->memory / DETECT_MEMORY_STEPS) : NAN, &f->leak);
}

static void tell(struct detect *d, struct reading *x, const struct signature_finding *found, unsigned count, uint32_t causes)
{
	struct detect_head *h = x->head;
	struct detect_finding f = {.row = h->row, .cohort = h->cohort - 1, .at_ms = x->r->received_ms};
	for (unsigned i = 0; i < count; i++) {
		if (!(causes >> found[i].cause & 1))
			continue;
		f.is_over = true;
		f.f = found[i];
		detect_note(d, &f);
		if (x->counts && !(h->causes >> found[i].cause & 1))
			x->cohort->hot.findings++;
	}
	for (uint32_t gone = h->lately & ~causes; gone != 0; gone &= gone - 1) {
		f.is_over = false;
		f.f = (struct signature_finding){.cause = (enum signature_cause)__builtin_ctz(gone)};
		detect_note(d, &f);
	}
	h->quiet = (causes != 0 ? 0 : h->quiet + 1u) & 15;
	h->causes = (uint16_t)causes;
	h->lately = (uint16_t)(h->lately | causes);
	if (h->quiet >= DETECT_LATELY)
		h->lately = h->quiet = 0;
}

static void judge(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	struct signature_novel novel[DETECT_SERIES];
	struct signature_finding found[SIGNATURE_CAUSES];
	uint32_t over = note_statistics(x), causes = 0;
	unsigned novel_count = novel_of(d, x, novel), count = 0;
	h->over = over & STATISTICS_MASK;
	bool is_loop = h->boots_today >= WATCH_BOOTS_LOOP && (x->is_new_boot || h->causes >> SIGNATURE_REBOOT_LOOP & 1);
	bool is_explicit = is_loop || x->out.boots_in_hour >= WATCH_BOOTS_LOOP || x->out.identical >= WATCH_IDENTICAL_CONSTANT || x->nan_outputs >= 1;
	if (over == 0 && !is_explicit && novel_count < SIGNATURE_NOVEL_METRICS && (h->causes | h->lately) == 0)
		return; /* nearly always */
	if (over != 0 || is_explicit || novel_count >= SIGNATURE_NOVEL_METRICS) {
		struct signature_facts facts;
		fill_facts(x, over, &facts);
		facts.novel = novel;
		facts.novel_count = novel_count;
		count = signature_judge(&facts, found);
	}
	for (unsigned i = 0; i < count; i++) /* a low battery is context: told by whoever it explains something to */
		causes |= found[i].cause != SIGNATURE_BATTERY_LOW ? 1u << found[i].cause : 0;
	tell(d, x, found, count, causes);
}

/* ---- a report ---- */

/* Series without a value in this report: time passes for them as well. */
static void pass_time(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t steps = h->at_s / DETECT_MISSING_S - x->before_s / DETECT_MISSING_S;
	for (unsigned i = 0; i < DETECT_SERIES && h->metric[i] != 0; i++) {
		if (x->scored >> i & 1)
			continue;
		novelty_wait(detect_series(d, x->k, i), (uint16_t)x->elapsed_s);
		h->missing[i] = (uint8_t)(h->missing[i] + steps < UINT8_MAX ? h->missing[i] + steps : UINT8_MAX);
	}
}

static void begin_time(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t steps = h->at_s / DETECT_NOVEL_S - x->before_s / DETECT_NOVEL_S, last_s = x->k->watch.at_s;
	x->w.at_s = time_of(d, x);
	x->w.hour = (float)((x->w.at_s + (uint32_t)(h->utc_quarters * 900 + 86400)) % 86400) / 3600;
	x->elapsed_s = x->before_s != 0 ? h->at_s - x->before_s : 0;
	if (last_s != 0 && x->w.at_s > last_s && x->w.at_s - last_s > x->elapsed_s)
		x->elapsed_s = x->w.at_s - last_s; /* reports that waited in the device come all at once */
	x->elapsed_s = x->elapsed_s < UINT16_MAX ? x->elapsed_s : UINT16_MAX;
	for (unsigned i = 0; i < DETECT_SERIES; i++)
		h->novel[i] = (uint8_t)(h->novel[i] > steps ? h->novel[i] - steps : 0);
}

static void read_metrics(struct detect *d, struct reading *x)
{
	struct log_report r = *x->r;
	struct log_metric m;
	begin_time(d, x);
	x->w.confidence_sd = -1;
	x->outputs = x->nan_outputs = NAN;
	take_boot(x);
	while (report_log_metric(&r, &m))
		take_metric(d, x, &m);
	pass_time(d, x);
	if (x->is_new_boot && x->w.boots == 0)
		x->w.boots = 1;
	x->w.is_battery_low = x->w.has[WATCH_BATTERY] && x->w.value[WATCH_BATTERY] < 0.15f;
	x->w.is_link_bad = x->w.has[WATCH_RSSI] && x->w.value[WATCH_RSSI] < -85;
}

/* A median that follows: a step up for what is above, a step down for what is below. */
static void follow_drain(struct detect_hot *hot, float drain)
{
	if (isnan(drain))
		return;
	if (hot->drains == 0)
		hot->drain = drain;
	hot->drain = drain > hot->drain ? hot->drain * DRAIN_STEP : hot->drain / DRAIN_STEP;
	hot->drain = fminf(fmaxf(hot->drain, DRAIN_LEAST), 1e3f);
	hot->drains += hot->drains < UINT32_MAX;
}

static void count_in_cohort(struct reading *x)
{
	budget_add_report(&x->cohort->budget, x->head->at_s, x->out.z);
	follow_drain(&x->cohort->hot, x->out.value[WATCH_BATTERY]);
	x->cohort->hot.reports++;
	x->cohort->is_hot_dirty = true;
}

static void update(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t hour = h->at_s / HOUR_S, before = x->before_s / HOUR_S;
	x->cohort = detect_cohort_at(d, h->cohort);
	x->counts = x->cohort != NULL && d->batch > d->loaded;
	if (x->before_s != 0 && h->at_s / DAY_S > x->before_s / DAY_S)
		turn_day(x, x->cohort != NULL ? detect_cohort_at(d, x->cohort->hot.parent) : NULL);
	if (x->before_s != 0 && hour > before)
		turn_hour(d, x, before, hour);
	turn_version(d, x);
	x->cohort = detect_cohort_at(d, h->cohort);
	x->counts = x->cohort != NULL && d->batch > d->loaded;
	read_metrics(d, x);
	watch_update(&x->k->watch, &x->w, x->cohort != NULL ? &x->cohort->view.peers : NULL, &x->out);
	if ((x->out.refused & WATCH_REFUSED_CLOCK) != 0)
		d->refused_clocks++;
	d->refused_values += __builtin_popcount(x->out.refused & ~(unsigned)WATCH_REFUSED_CLOCK);
	if (x->w.class_count > 0 && !(x->out.refused & WATCH_REFUSED_CLASSES))
		(void)drift_device_add(&x->k->drift, hour, x->w.class_counts, x->w.class_count);
	if (x->w.has[WATCH_MEMORY])
		(void)leak_add(&x->k->leak, hour, x->w.value[WATCH_MEMORY], x->is_new_boot);
	if (x->counts)
		count_in_cohort(x);
	if (x->cohort != NULL)
		judge(d, x);
}

void detect_update(struct detect *d, const struct log_report *r)
{
	struct reading x;
	struct detect_state *k = detect_get(d, r->device);
	if (k == NULL) {
		d->refused_devices++;
		return;
	}
	uint32_t place = d->place_of[r->device] - 1;
	if (d->loaded_of != NULL && place < d->loaded_room && d->loaded_of[place] >= d->batch)
		return; /* its state has it already */
	memset(&x, 0, sizeof x);
	x.r = r;
	x.k = k;
	x.head = &k->head;
	x.before_s = k->head.at_s;
	uint32_t at_s = (uint32_t)(r->received_ms / 1000);
	k->head.at_s = at_s > k->head.at_s ? at_s : k->head.at_s; /* a clock of ours that went back stands still */
	update(d, &x);
	d->reports++;
	detect_dirty(d, place);
}
