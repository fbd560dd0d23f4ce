/* A device's state and what a report does to it. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/ddsketch.h"
#include "service/alerts.h"
#include "service/detect_inside.h"

#define ROW_MAX ((int64_t)1 << 28)
#define HOUR_MS 3600000
#define DAY_MS 86400000
#define CLOCK_AHEAD_MS (5 * 60000)      /* a device's own time is believed so far ahead of ours, */
#define CLOCK_BEHIND_MS (7 * (int64_t)DAY_MS) /* and so far behind: reports that waited in it */
#define NOVEL_HOLD_S 14400
#define NOVEL_SAMPLES_MAX 6048          /* three weeks at five minutes */
#define NOVEL_SPEAKS 288                /* samples before which a series is not heard */
#define RULED_SCORE 64                  /* 1/255: rules look at scores from here on, and at the next one below */
#define CLEAR_SHARE 0.6f                /* of the threshold, below which what was over is not any more */
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

struct detect_slot *detect_slot(const struct detect *d, uint32_t place)
{
	return &d->slots[place / DETECT_SLAB][place % DETECT_SLAB];
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

static uint32_t take_place(struct detect *d)
{
	if (d->free_count > 0)
		return d->free_places[--d->free_count];
	if (d->used == d->slab_count * DETECT_SLAB) {
		size_t bytes = (DETECT_SLAB * d->stride + 63) / 64 * 64;
		d->slabs = must(realloc(d->slabs, (d->slab_count + 1u) * sizeof *d->slabs));
		d->slots = must(realloc(d->slots, (d->slab_count + 1u) * sizeof *d->slots));
		d->slabs[d->slab_count] = must(aligned_alloc(64, bytes));
		memset(d->slabs[d->slab_count], 0, bytes);
		d->slots[d->slab_count++] = must(calloc(DETECT_SLAB, sizeof **d->slots));
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
	k->head.row = row;
	return k;
}

static void undirty(struct detect *d, uint32_t place)
{
	struct detect_slot *s = detect_slot(d, place);
	uint32_t before = 0;
	if (!s->is_dirty)
		return;
	for (uint32_t at = d->first_dirty; at != place + 1; at = detect_slot(d, at - 1)->next_dirty)
		before = at;
	if (before == 0)
		d->first_dirty = s->next_dirty;
	else
		detect_slot(d, before - 1)->next_dirty = s->next_dirty;
	if (d->last_dirty == place + 1)
		d->last_dirty = before;
	d->dirty_count--;
}

void detect_drop(struct detect *d, int64_t row)
{
	struct detect_state *k = detect_find(d, row);
	if (k == NULL)
		return;
	uint32_t place = d->place_of[row] - 1;
	undirty(d, place);
	*detect_slot(d, place) = (struct detect_slot){.loaded = 0};
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
	struct detect_slot *s = detect_slot(d, place);
	if (s->is_dirty)
		return;
	s->is_dirty = true;
	s->next_dirty = 0;
	if (d->last_dirty != 0)
		detect_slot(d, d->last_dirty - 1)->next_dirty = place + 1;
	else
		d->first_dirty = place + 1;
	d->last_dirty = place + 1;
	d->dirty_count++;
}

int64_t detect_device_bytes(const struct detect *d)
{
	return (int64_t)d->slab_count * DETECT_SLAB * (int64_t)(d->stride + sizeof(struct detect_slot)) + d->place_room * (int64_t)sizeof *d->place_of;
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
			*role = WATCH_ROLE_NONE + 2;
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
	h->metric[at] = (uint16_t)metric;
	h->type[at] = UINT8_MAX;
	h->type_run[at] = 0;
	h->score[at] = h->peak[at] = h->peak_before[at] = h->novel[at] = 0;
	h->seen_s[at] = h->novel_s[at] = 0;
	memset((void *)detect_series(d, x->k, at), 0, d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact));
	return at;
}

/* A metric keeps its type: others are refused, until there was nothing else for a while. Then the series begins anew. */
static bool check_type(struct detect *d, struct reading *x, unsigned at, enum value_type type)
{
	struct detect_head *h = x->head;
	if (h->type[at] == UINT8_MAX || h->type[at] == type) {
		h->type[at] = (uint8_t)type;
		h->type_run[at] = 0;
		return true;
	}
	count_up(&h->refused_types);
	d->refused_types++;
	if (++h->type_run[at] < DETECT_TYPE_RUN)
		return false;
	h->type[at] = (uint8_t)type;
	h->type_run[at] = 0;
	memset((void *)detect_series(d, x->k, at), 0, d->is_full ? sizeof(struct novelty_full) : sizeof(struct novelty_compact));
	return true;
}

static void note_event(struct detect *d, struct reading *x, unsigned at, double score, double value)
{
	struct detect_head *h = x->head;
	h->novel[at] = (uint8_t)lround(score * 255);
	h->novel_s[at] = h->at_s;
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
	uint32_t passed = h->seen_s[at] != 0 ? h->at_s - h->seen_s[at] : 0, before_s = x->k->watch.at_s;
	if (before_s != 0 && x->w.at_s > before_s && x->w.at_s - before_s > passed)
		passed = x->w.at_s - before_s; /* reports that waited in the device come all at once */
	struct novelty_pace pace = {.n_max = NOVEL_SAMPLES_MAX, .elapsed = passed < UINT16_MAX ? (uint16_t)passed : UINT16_MAX, .hold = NOVEL_HOLD_S};
	struct novelty_level *s = detect_series(d, x->k, at);
	struct novelty_result n = d->is_full ? novelty_update_full((struct novelty_full *)(void *)s, (float)value, (unsigned)x->w.hour % 24, pace)
	                                     : novelty_update_compact((struct novelty_compact *)(void *)s, (float)value, pace);
	if (n.is_refused) {
		d->refused_values++;
		return;
	}
	h->seen_s[at] = h->at_s;
	if (s->n < NOVEL_SPEAKS)
		return;
	uint8_t before = h->score[at];
	h->score[at] = (uint8_t)lroundf(n.score * 255);
	if (d->is_live && (h->score[at] >= RULED_SCORE || before >= RULED_SCORE))
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

static void take_metric(struct detect *d, struct reading *x, const struct log_metric *m)
{
	int role = role_of(d, m->name);
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
		x->w.boots += m->value >= 1 && m->value < 100 ? (uint32_t)m->value : 0;
	} else if (role == WATCH_ROLE_NONE + 1) {
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

/* Reports that waited in the device may come after those of its next boot. */
static void take_boot(struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t boot = fingerprint(x->r->boot);
	if (boot == h->boot[0] || boot == h->boot[1])
		return;
	x->is_new_boot = h->boot[0] != 0;
	h->boot[1] = h->boot[0];
	h->boot[0] = boot;
}

static uint32_t time_of(struct detect *d, struct reading *x)
{
	const struct log_report *r = x->r;
	if (!r->has_ts)
		return x->head->at_s;
	if (r->ts_ms <= r->received_ms + CLOCK_AHEAD_MS && r->ts_ms >= r->received_ms - CLOCK_BEHIND_MS)
		return (uint32_t)(r->ts_ms / 1000);
	count_up(&x->head->refused_clocks);
	d->refused_clocks++;
	return x->head->at_s;
}

/* ---- the hour, the day, the version ---- */

static void forget_metric(struct watch *w, enum watch_metric m)
{
	for (int i = 0; i < 4; i++)
		w->weight[i][m] = 0;
	w->spread[m] = w->up[m] = w->down[m] = 0;
	w->recent[0][m] = w->recent[1][m] = 0;
	w->samples[m] = 0;
}

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
	h->version = (uint32_t)version;
	h->cohort = c != NULL ? c->number + 1 : 0;
	if (!is_other)
		return;
	forget_metric(&x->k->watch, WATCH_LATENCY);
	forget_metric(&x->k->watch, WATCH_ENERGY);
	forget_metric(&x->k->watch, WATCH_MEMORY);
	memset(&x->k->side, 0, sizeof x->k->side);
}

static void turn_day(struct detect *d, struct reading *x, uint32_t day)
{
	float maxima[WATCH_STATISTICS];
	struct detect_head *h = x->head;
	if (h->day != 0 && watch_day_end(&x->k->watch, maxima) && x->counts) {
		struct detect_cohort *p = detect_cohort_at(d, x->cohort->hot.parent);
		bool is_firing = (h->causes | h->lately) != 0;
		budget_add_day(&x->cohort->budget, maxima, is_firing);
		x->cohort->is_cold_dirty = true;
		if (p != NULL) {
			budget_add_day(&p->budget, maxima, is_firing);
			p->is_cold_dirty = true;
		}
	}
	h->day = day;
}

/* The device's hour goes to its cohort while that is still being closed; its own baseline learns in any case. */
static void turn_hour(struct detect *d, struct reading *x, uint32_t hour)
{
	struct detect_head *h = x->head;
	if (h->hour != 0 && x->cohort != NULL) {
		struct detect_hot *hot = &x->cohort->hot;
		bool is_open = x->counts && hot->closing.hour == h->hour && !hot->is_rolled;
		struct drift_hour *into = is_open ? &hot->closing : &d->scrap;
		unsigned hod = h->hour % DRIFT_HOURS;
		d->scrap.hour = h->hour;
		d->lens.over = x->cohort->view.over;
		d->lens.days[hod] = x->cohort->view.days;
		memcpy(d->lens.common[hod], x->cohort->view.common, sizeof x->cohort->view.common);
		(void)drift_device_close(&x->k->side.drift, &d->lens, into);
		for (uint32_t left = h->present; left != 0; left &= left - 1) {
			unsigned s = (unsigned)__builtin_ctz(left);
			drift_count(into, (enum watch_statistic)s, h->beyond >> s & 1);
		}
	}
	bool is_next = hour == h->hour + 1;
	for (unsigned i = 0; i < DETECT_SERIES; i++) {
		h->peak_before[i] = is_next ? h->peak[i] : 0;
		h->peak[i] = 0;
	}
	h->beyond = h->present = 0;
	h->hour = hour;
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
		h->present |= 1u << s;
		if (now >= limit / 2)
			h->beyond |= 1u << s;
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
		if (h->metric[i] == 0 || h->novel_s[i] == 0 || h->at_s - h->novel_s[i] > SIGNATURE_NOVEL_WINDOW_S)
			continue;
		const struct symbol *y = symbols_get(d->symbols, h->metric[i]);
		if (y != NULL)
			out[count++] = (struct signature_novel){y->text, (float)h->novel[i] / 255, h->at_s - h->novel_s[i]};
	}
	return count;
}

static void fill_facts(const struct reading *x, uint32_t over, struct signature_facts *f)
{
	const struct detect_view *v = &x->cohort->view;
	const struct watch *w = &x->k->watch;
	unsigned top = 0;
	signature_facts_init(f);
	memcpy(f->statistic, x->out.statistic, sizeof f->statistic);
	for (unsigned s = 0; s < WATCH_STATISTICS; s++)
		f->threshold[s] = over >> s & 1 && f->statistic[s] < v->threshold[s] ? CLEAR_SHARE * v->threshold[s] : v->threshold[s];
	memcpy(f->z, x->out.z, sizeof f->z);
	memcpy(f->value, x->out.value, sizeof f->value);
	memcpy(f->expected, x->out.expected, sizeof f->expected);
	for (unsigned m = 0; m < WATCH_METRICS; m++)
		f->side[m] = (int8_t)((w->up[m] > w->down[m]) - (w->up[m] < w->down[m]));
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
	f->heat_effect = w->weight[1][WATCH_LATENCY] * (f->value[WATCH_TEMPERATURE] - f->expected[WATCH_TEMPERATURE]) / 10;
	f->battery = x->w.has[WATCH_BATTERY] ? x->w.value[WATCH_BATTERY] : NAN;
	f->boots_in_hour = f->boots_in_day = x->out.boots_in_hour;
	leak_judge(&x->k->side.leak, 0, &f->leak);
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
	h->quiet = causes != 0 ? 0 : (uint8_t)(h->quiet + 1);
	h->causes = causes;
	h->lately |= causes;
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
	h->over = over;
	bool is_explicit = x->out.boots_in_hour >= WATCH_BOOTS_LOOP || x->out.identical >= WATCH_IDENTICAL_CONSTANT || x->nan_outputs >= 1;
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

static void read_metrics(struct detect *d, struct reading *x)
{
	struct log_report r = *x->r;
	struct log_metric m;
	x->w.at_s = time_of(d, x);
	x->w.hour = (float)(x->w.at_s % 86400) / 3600;
	x->w.confidence_sd = -1;
	x->outputs = x->nan_outputs = NAN;
	take_boot(x);
	while (report_log_metric(&r, &m))
		take_metric(d, x, &m);
	if (x->is_new_boot && x->w.boots == 0)
		x->w.boots = 1;
	x->w.is_battery_low = x->w.has[WATCH_BATTERY] && x->w.value[WATCH_BATTERY] < 0.15f;
	x->w.is_link_bad = x->w.has[WATCH_RSSI] && x->w.value[WATCH_RSSI] < -85;
}

static void update(struct detect *d, struct reading *x)
{
	struct detect_head *h = x->head;
	uint32_t hour = (uint32_t)(x->r->received_ms / HOUR_MS), day = (uint32_t)(x->r->received_ms / DAY_MS);
	x->cohort = detect_cohort_at(d, h->cohort);
	x->counts = x->cohort != NULL && d->batch > d->loaded;
	if (day > h->day)
		turn_day(d, x, day);
	if (hour > h->hour)
		turn_hour(d, x, hour);
	turn_version(d, x);
	x->cohort = detect_cohort_at(d, h->cohort);
	x->counts = x->cohort != NULL && d->batch > d->loaded;
	read_metrics(d, x);
	watch_update(&x->k->watch, &x->w, x->cohort != NULL ? &x->cohort->view.peers : NULL, &x->out);
	if ((x->out.refused & WATCH_REFUSED_CLOCK) != 0)
		d->refused_clocks++;
	d->refused_values += __builtin_popcount(x->out.refused & ~(unsigned)WATCH_REFUSED_CLOCK);
	if (x->w.class_count > 0 && !(x->out.refused & WATCH_REFUSED_CLASSES))
		(void)drift_device_add(&x->k->side.drift, hour, x->w.class_counts, x->w.class_count);
	if (x->w.has[WATCH_MEMORY])
		(void)leak_add(&x->k->side.leak, hour, x->w.value[WATCH_MEMORY], x->is_new_boot);
	if (x->counts) {
		budget_add_report(&x->cohort->budget, h->at_s, x->out.z);
		x->cohort->hot.reports++;
		x->cohort->is_hot_dirty = true;
	}
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
	if (detect_slot(d, place)->loaded >= d->batch)
		return; /* its state has it already */
	memset(&x, 0, sizeof x);
	x.r = r;
	x.k = k;
	x.head = &k->head;
	uint32_t at_s = (uint32_t)(r->received_ms / 1000);
	k->head.at_s = at_s > k->head.at_s ? at_s : k->head.at_s; /* a clock of ours that went back stands still */
	update(d, &x);
	d->reports++;
	detect_dirty(d, place);
}
