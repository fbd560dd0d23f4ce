/* Cohorts: found by hardware and version; what happens to them between batches. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "service/detect_inside.h"

#define HOUR_MS 3600000
#define DAY_MS 86400000
#define CLOSE_MS (15 * 60000)  /* after the hour: whoever reports less often than each quarter of an hour counts in the next one */
#define ROLL_MS (2 * HOUR_MS)  /* after the day */
#define ROLL_EACH_BATCH 64     /* cohorts below this number are rolled with the first batch; the others spread over SPREAD of them */
#define SPREAD 16
#define DRAINS_MIN 200u        /* reports with a drain, before a cohort has a median */
#define BOOT_DAYS_MIN 100u     /* of devices, before it has usual boots */
#define BOOTS_LEAST 0.1f

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct detect_cohort *detect_cohort_at(const struct detect *d, uint32_t number_plus_one)
{
	return number_plus_one == 0 ? NULL : d->cohorts[number_plus_one - 1];
}

void detect_cohort_name(struct detect_cohort *c)
{
	const struct detect_hot *h = &c->hot;
	if (h->version == 0)
		snprintf(c->name, sizeof c->name, "%s", h->hardware);
	else
		snprintf(c->name, sizeof c->name, "%s/%s-%s", h->hardware, h->model, h->text);
}

static uint32_t find(const struct detect *d, const char *hardware, int64_t version)
{
	for (uint32_t i = 0; i < d->cohort_count; i++) {
		if (d->cohorts[i]->hot.version == version && strcmp(d->cohorts[i]->hot.hardware, hardware) == 0)
			return i + 1;
	}
	return 0;
}

static uint32_t make(struct detect *d, const char *hardware, int64_t version, uint32_t parent)
{
	if (d->cohort_count >= (uint32_t)d->o.cohorts_max)
		return 0;
	const struct symbol *y = version > 0 ? symbols_get(d->symbols, version) : NULL;
	struct detect_cohort *c = must(calloc(1, sizeof *c));
	str_copy(c->hot.hardware, sizeof c->hot.hardware, hardware);
	str_copy(c->hot.model, sizeof c->hot.model, y != NULL && y->model != NULL ? y->model : "");
	str_copy(c->hot.text, sizeof c->hot.text, y != NULL ? y->text : "");
	c->hot.version = (uint32_t)version;
	c->hot.parent = parent;
	c->hot.is_view_due = true;
	c->is_hot_dirty = c->is_cold_dirty = true;
	detect_cohort_name(c);
	d->cohorts = must(realloc(d->cohorts, (d->cohort_count + 1u) * sizeof *d->cohorts));
	c->number = d->cohort_count;
	d->cohorts[d->cohort_count++] = c;
	return d->cohort_count;
}

static void look(struct detect *d, struct detect_cohort *c);

struct detect_cohort *detect_cohort_of(struct detect *d, const char *hardware, int64_t version)
{
	uint32_t parent = find(d, hardware, 0), n;
	if (parent == 0 && (parent = make(d, hardware, 0, 0)) != 0)
		look(d, d->cohorts[parent - 1]);
	if (version == 0 || parent == 0)
		return detect_cohort_at(d, parent);
	n = find(d, hardware, version);
	if (n == 0 && (n = make(d, hardware, version, parent)) != 0)
		look(d, d->cohorts[n - 1]); /* by what its parent knows */
	return detect_cohort_at(d, n != 0 ? n : parent);
}

/* ---- views ---- */

static void keep_view(struct detect *d, uint32_t number, const struct detect_view *v)
{
	if (d->view_count == d->view_room) {
		d->view_room = d->view_room > 0 ? 2 * d->view_room : 64;
		d->views = must(realloc(d->views, d->view_room * sizeof *d->views));
	}
	d->views[d->view_count++] = (struct view_row){number, d->batch, *v};
}

/* Devices differ: what is unusual is beyond the cohort's own spread. */
static float boots_usual(const struct detect_hot *h)
{
	float variance = h->boots_square - h->boots * h->boots;
	return h->boots + 2 * sqrtf(variance > 0 ? variance : 0) + BOOTS_LEAST;
}

static void look(struct detect *d, struct detect_cohort *c)
{
	const struct detect_cohort *p = detect_cohort_at(d, c->hot.parent);
	const struct budget *parent = p != NULL ? &p->budget : NULL;
	struct detect_view v;
	memset(&v, 0, sizeof v);
	budget_peers(&c->budget, parent, &v.peers);
	for (int s = 0; s < WATCH_STATISTICS; s++)
		v.threshold[s] = budget_threshold(&c->budget, parent, (enum watch_statistic)s);
	unsigned hod = c->hot.closing.hour % DRIFT_HOURS;
	memcpy(v.common, c->drift.common[hod], sizeof v.common);
	v.days = c->drift.days[hod];
	v.hour = c->hot.closing.hour;
	v.drain = c->hot.drains >= DRAINS_MIN ? c->hot.drain : 0;
	v.boots_usual = c->hot.boot_days >= BOOT_DAYS_MIN ? boots_usual(&c->hot) : 0;
	v.over = c->drift.over;
	v.fleet = c->hot.last.hour + 1 >= c->hot.closing.hour ? signature_fleet_mask(&c->hot.last) : 0;
	c->hot.is_view_due = false;
	c->hot.view_slot = c->budget.common_slot;
	if (memcmp(&v, &c->view, sizeof v) == 0)
		return;
	c->view = v;
	c->is_hot_dirty = true;
	keep_view(d, c->number, &v);
}

/* ---- the hour and the day ---- */

static void note_drift(struct detect *d, const struct detect_cohort *c, const struct signature_finding *f, bool is_over)
{
	detect_note(d, &(struct detect_finding){.cohort = c->number, .is_over = is_over, .at_ms = (int64_t)(c->hot.closing.hour + 1) * HOUR_MS, .f = *f});
}

static unsigned drift_bit(const struct signature_finding *f)
{
	int m = f->statistics != 0 ? watch_statistic_metric((enum watch_statistic)__builtin_ctz(f->statistics)) : -1;
	return f->kind == SIGNATURE_FLEET_CLASSES || m < 0 ? WATCH_METRICS : (unsigned)m;
}

static void roll_hour(struct detect *d, struct detect_cohort *c)
{
	struct signature_finding found[SIGNATURE_COHORT_MAX];
	drift_roll(&c->drift, &c->hot.closing, &c->hot.last);
	unsigned count = signature_judge_cohort(&c->hot.last, found);
	uint32_t now = 0;
	for (unsigned i = 0; i < count; i++) {
		now |= 1u << drift_bit(&found[i]);
		note_drift(d, c, &found[i], true);
	}
	for (unsigned m = 0; m <= WATCH_METRICS; m++) {
		struct signature_finding over = {.cause = SIGNATURE_FLEET_DRIFT, .kind = m == WATCH_METRICS ? SIGNATURE_FLEET_CLASSES : SIGNATURE_FLEET_METRIC,
			.statistics = m == WATCH_METRICS ? 0 : 1u << WATCH_SPIKE(m)};
		if ((c->hot.drifting & ~now) >> m & 1)
			note_drift(d, c, &over, false);
	}
	c->hot.drifting = now;
	c->hot.is_rolled = true;
	c->hot.is_view_due = true;
	c->is_hot_dirty = c->is_cold_dirty = true;
}

/* The hour before `now_ms` is closed by its devices as they report again, and judged a quarter of an hour later. */
static void turn_hour(struct detect *d, struct detect_cohort *c, int64_t now_ms)
{
	struct detect_hot *h = &c->hot;
	uint32_t hour = (uint32_t)(now_ms / HOUR_MS);
	if (h->closing.hour != 0 && !h->is_rolled &&
	    (h->closing.hour + 1 < hour || now_ms >= (int64_t)(h->closing.hour + 1) * HOUR_MS + CLOSE_MS))
		roll_hour(d, c);
	if (h->closing.hour + 1 >= hour)
		return;
	memset(&h->closing, 0, sizeof h->closing);
	h->closing.hour = hour - 1;
	drift_merge(&h->closing, &h->late);
	memset(&h->late, 0, sizeof h->late);
	h->is_rolled = false;
	h->is_view_due = true;
	c->is_hot_dirty = true;
}

static void turn_day(struct detect *d, struct detect_cohort *c, int64_t now_ms)
{
	uint32_t day = (uint32_t)(now_ms / DAY_MS);
	const struct detect_cohort *p = detect_cohort_at(d, c->hot.parent);
	if (day <= c->hot.day || now_ms % DAY_MS < ROLL_MS)
		return;
	if (c->number >= ROLL_EACH_BATCH && c->number % SPREAD != (uint64_t)d->batch % SPREAD)
		return;
	if (p != NULL && p->hot.day < day)
		return; /* parents first */
	budget_roll(&c->budget, p != NULL ? &p->budget : NULL, day, d->per_device_day);
	c->hot.day = day;
	c->hot.is_view_due = true;
	c->is_hot_dirty = c->is_cold_dirty = true;
}

void detect_cohort_begin(struct detect *d, struct detect_cohort *c, int64_t first_ms)
{
	turn_hour(d, c, first_ms);
	turn_day(d, c, first_ms);
	if (c->hot.is_view_due || c->hot.view_slot != c->budget.common_slot)
		look(d, c);
}
