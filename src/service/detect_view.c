/* What people and Prometheus see of detection: ranking, cohorts, a device, sums. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "service/detect_inside.h"
#include "service/registry.h"
#include "service/timebox.h"

#define LOOKED_AT_ONCE 256 /* devices between two looks at the clock */

struct ranked {
	int64_t row;
	uint32_t cohort, seen_s;
	uint16_t metric;
	uint8_t score, peak;
};
struct detect_ranking {
	struct detect *d;
	struct detect_question q;
	uint32_t at;
	struct ranked *heap; /* lowest first */
	size_t count;
};

/* ---- ranking ---- */

struct detect_ranking *detect_rank_begin(struct detect *d, const struct detect_question *q)
{
	struct detect_ranking *r = calloc(1, sizeof *r);
	assert(q->limit >= 1 && q->limit <= DETECT_RANKED);
	if (r == NULL || (r->heap = calloc(q->limit, sizeof *r->heap)) == NULL)
		abort();
	r->d = d;
	r->q = *q;
	return r;
}

void detect_rank_free(struct detect_ranking *r)
{
	if (r == NULL)
		return;
	free(r->heap);
	free(r);
}

/* Higher score first, then what came last, then by device and metric: a total order. */
static bool is_before(const struct ranked *a, const struct ranked *b)
{
	if (a->peak != b->peak)
		return a->peak > b->peak;
	if (a->score != b->score)
		return a->score > b->score;
	if (a->seen_s != b->seen_s)
		return a->seen_s > b->seen_s;
	return a->row != b->row ? a->row < b->row : a->metric < b->metric;
}

static void sink(struct ranked *heap, size_t count, size_t at)
{
	for (;;) {
		size_t last = at, left = 2 * at + 1, right = left + 1;
		if (left < count && is_before(&heap[last], &heap[left]))
			last = left;
		if (right < count && is_before(&heap[last], &heap[right]))
			last = right;
		if (last == at)
			return;
		struct ranked moved = heap[at];
		heap[at] = heap[last];
		heap[last] = moved;
		at = last;
	}
}

static void offer(struct detect_ranking *r, const struct ranked *x)
{
	if (r->count == r->q.limit) {
		if (!is_before(x, &r->heap[0]))
			return;
		r->heap[0] = *x;
		sink(r->heap, r->count, 0);
		return;
	}
	r->heap[r->count++] = *x;
	for (size_t i = r->count == r->q.limit ? r->count : 0; i-- > 0;)
		sink(r->heap, r->count, i);
}

/* When a series had its last value: exact for the last report, else within a few minutes. */
static uint32_t seen_s(const struct detect_head *h, unsigned at)
{
	return h->at_s - h->missing[at] * DETECT_MISSING_S;
}

static void look_at(struct detect_ranking *r, struct detect_state *k)
{
	const struct detect *d = r->d;
	const struct detect_head *h = &k->head;
	const struct detect_cohort *c = detect_cohort_at(d, h->cohort);
	if (h->row == 0 || (r->q.device != 0 && r->q.device != h->row) || (r->q.cohort != NULL && (c == NULL || strcmp(c->name, r->q.cohort) != 0)))
		return;
	for (unsigned i = 0; i < DETECT_SERIES && h->metric[i] != 0; i++) {
		uint8_t peak = h->peak[i] > h->peak_before[i] ? h->peak[i] : h->peak_before[i];
		const struct symbol *y = symbols_get(d->symbols, h->metric[i]);
		if (y == NULL || h->at_s == 0 || (int64_t)seen_s(h, i) * 1000 + 999 < r->q.since_ms || peak < r->q.least * 255)
			continue;
		if (r->q.metric == NULL || strcmp(y->text, r->q.metric) == 0)
			offer(r, &(struct ranked){h->row, h->cohort, seen_s(h, i), h->metric[i], h->score[i], peak});
	}
}

bool detect_rank_step(struct detect_ranking *r, const struct timebox *box)
{
	struct detect_state *one = r->q.device != 0 ? detect_find(r->d, r->q.device) : NULL;
	if (r->q.device != 0) {
		if (one != NULL)
			look_at(r, one);
		return true;
	}
	for (unsigned n = 0; r->at < r->d->used; r->at++) {
		if (n++ == LOOKED_AT_ONCE) {
			n = 0;
			if (timebox_is_over(box))
				return false;
		}
		look_at(r, detect_at(r->d, r->at));
	}
	return true;
}

static int by_rank(const void *a, const void *b)
{
	return is_before(a, b) ? -1 : 1;
}

void detect_rank_write(struct detect_ranking *r, const struct services *s, struct buf *out)
{
	if (r->count > 1)
		qsort(r->heap, r->count, sizeof *r->heap, by_rank);
	for (size_t i = 0; i < r->count; i++) {
		const struct ranked *x = &r->heap[i];
		const struct device_state *k = registry_by_row(s->registry, x->row);
		const struct detect_cohort *c = detect_cohort_at(r->d, x->cohort);
		if (k == NULL)
			continue;
		json_open_object(out);
		json_str(out, "device", k->id);
		json_str(out, "metric", symbols_get(r->d->symbols, x->metric)->text);
		json_str(out, "cohort", c != NULL ? c->name : "");
		json_num(out, "score", round(x->score / 255.0 * 1000) / 1000);
		json_num(out, "peak", round(x->peak / 255.0 * 1000) / 1000);
		json_int(out, "at", (int64_t)x->seen_s * 1000);
		json_close_object(out);
	}
}

/* ---- cohorts ---- */

static void put_thresholds(const struct detect *d, const struct detect_cohort *c, struct buf *out)
{
	(void)d;
	json_key(out, "thresholds");
	json_open_array(out);
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		json_open_object(out);
		json_str(out, "statistic", watch_statistic_name((enum watch_statistic)s));
		json_num(out, "threshold", (double)c->view.threshold[s]);
		json_str(out, "source", budget_source_name((enum budget_source)c->budget.source[s]));
		json_num(out, "device_days", (double)budget_device_days(&c->budget, (enum watch_statistic)s));
		json_close_object(out);
	}
	json_close_array(out);
}

static void put_drift(const struct detect_cohort *c, struct buf *out)
{
	const struct drift_result *r = &c->hot.last;
	json_key(out, "drift");
	json_open_object(out);
	json_int(out, "hour", (int64_t)r->hour * 3600000);
	json_int(out, "devices", r->devices);
	json_bool(out, "warm", r->is_warm);
	json_bool(out, "over", r->is_over || r->metrics != 0);
	json_num(out, "t2", r->hour != 0 ? (double)r->t2 : NAN);
	json_num(out, "threshold", r->hour != 0 ? (double)r->threshold : NAN);
	json_num(out, "psi", r->hour != 0 ? (double)r->psi : NAN);
	json_num(out, "kl", r->hour != 0 ? (double)r->kl : NAN);
	json_close_object(out);
}

void detect_cohorts_write(const struct detect *d, struct buf *out)
{
	for (uint32_t i = 0; i < d->cohort_count; i++) {
		const struct detect_cohort *c = d->cohorts[i];
		const struct detect_cohort *p = detect_cohort_at(d, c->hot.parent);
		json_open_object(out);
		json_str(out, "name", c->name);
		json_str(out, "hardware", c->hot.hardware);
		json_str(out, "model", c->hot.model);
		json_str(out, "version", c->hot.text);
		json_str(out, "parent", p != NULL ? p->name : "");
		json_int(out, "reports", c->hot.reports);
		json_int(out, "anomalies", c->hot.events);
		json_int(out, "findings", c->hot.findings);
		put_thresholds(d, c, out);
		put_drift(c, out);
		json_close_object(out);
	}
}

/* ---- a device ---- */

static void put_series(const struct detect *d, const struct detect_head *h, struct buf *out)
{
	json_key(out, "series");
	json_open_array(out);
	for (unsigned i = 0; i < DETECT_SERIES && h->metric[i] != 0; i++) {
		const struct symbol *y = symbols_get(d->symbols, h->metric[i]);
		json_open_object(out);
		json_str(out, "metric", y != NULL ? y->text : "");
		json_num(out, "score", round(h->score[i] / 255.0 * 1000) / 1000);
		json_int(out, "at", (int64_t)seen_s(h, i) * 1000);
		json_close_object(out);
	}
	json_close_array(out);
}

bool detect_device_write(const struct detect *d, int64_t device, struct buf *out)
{
	const struct detect_state *k = detect_find(d, device);
	if (k == NULL)
		return false;
	const struct detect_head *h = &k->head;
	const struct detect_cohort *c = detect_cohort_at(d, h->cohort);
	json_str(out, "cohort", c != NULL ? c->name : "");
	put_series(d, h, out);
	json_key(out, "causes");
	json_open_array(out);
	for (unsigned i = 0; i < SIGNATURE_CAUSES; i++) {
		if (h->causes >> i & 1)
			json_put_str(out, signature_cause_name((enum signature_cause)i));
	}
	json_close_array(out);
	json_key(out, "refused");
	json_open_object(out);
	json_int(out, "types", h->refused_types);
	json_int(out, "metrics", h->refused_metrics);
	json_int(out, "clocks", k->watch.refused_clocks);
	json_int(out, "values", k->watch.refused_values);
	json_close_object(out);
	return true;
}

/* ---- sums ---- */

static void put_help(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void detect_metrics(const struct detect *d, struct buf *out)
{
	const long long devices = (long long)d->device_count;
	const struct {
		const char *kind;
		long long bytes;
	} kinds[] = {
		{"novelty", devices * (long long)(d->stride - sizeof(struct detect_state))},
		{"watch", devices * (long long)sizeof(struct watch)},
		{"drift", devices * (long long)(sizeof(struct drift_device) + sizeof(struct leak))},
		{"head", devices * (long long)sizeof(struct detect_head)},
		{"spare", (long long)detect_device_bytes(d) - devices * (long long)d->stride},
		{"cohorts", (long long)(d->cohort_count * sizeof(struct detect_cohort))},
	}, refused[] = {
		{"type", d->refused_types}, {"metric", d->refused_metrics}, {"value", d->refused_values}, {"clock", d->refused_clocks},
		{"device", d->refused_devices},
	};
	put_help(out, "aviary_state_bytes", "gauge", "memory of detection's states by kind");
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		buf_printf(out, "aviary_state_bytes{kind=\"%s\"} %lld\n", kinds[i].kind, kinds[i].bytes);
	put_help(out, "aviary_detect_devices", "gauge", "devices with a state of detection");
	buf_printf(out, "aviary_detect_devices %lld\n", devices);
	put_help(out, "aviary_detect_reports_total", "counter", "reports that detection took");
	buf_printf(out, "aviary_detect_reports_total %lld\n", (long long)d->reports);
	put_help(out, "aviary_detect_refused_total", "counter",
		"what detection did not take: values of another type than the metric's, metrics above eight a device, values out of range, times that cannot be");
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		buf_printf(out, "aviary_detect_refused_total{reason=\"%s\"} %lld\n", refused[i].kind, refused[i].bytes);
	put_help(out, "aviary_detect_lost_total", "counter", "findings (told again with the next report) and scores (not kept) that found no room");
	buf_printf(out, "aviary_detect_lost_total{what=\"finding\"} %lld\naviary_detect_lost_total{what=\"score\"} %lld\n",
		(long long)d->lost_findings, (long long)d->lost_events);
	put_help(out, "aviary_anomalies_total", "counter", "samples with a score that is an event, by cohort");
	for (uint32_t i = 0; i < d->cohort_count; i++)
		buf_printf(out, "aviary_anomalies_total{cohort=\"%s\"} %lld\n", d->cohorts[i]->name, (long long)d->cohorts[i]->hot.events);
	put_help(out, "aviary_findings_total", "counter", "causes that began in a device, by cohort");
	for (uint32_t i = 0; i < d->cohort_count; i++)
		buf_printf(out, "aviary_findings_total{cohort=\"%s\"} %lld\n", d->cohorts[i]->name, (long long)d->cohorts[i]->hot.findings);
}
