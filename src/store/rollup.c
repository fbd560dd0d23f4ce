#include "store/rollup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/report_log.h"
#include "store/telemetry_store.h"

#define PLACES_MIN 64 /* a power of two, as every size */

struct rollup {
	struct rollup_row *places;
	size_t size, count;
	const struct rollup_row **sorted;
	int64_t newest;
};

static void *must_calloc(size_t count, size_t size)
{
	void *p = calloc(count, size);
	if (p == NULL)
		abort();
	return p;
}

struct rollup *rollup_new(void)
{
	struct rollup *r = must_calloc(1, sizeof *r);
	r->size = PLACES_MIN;
	r->places = must_calloc(r->size, sizeof *r->places);
	return r;
}

void rollup_free(struct rollup *r)
{
	if (r == NULL)
		return;
	rollup_clear(r);
	free(r->places);
	free(r->sorted);
	free(r);
}

static uint64_t mix(uint64_t h, int64_t v)
{
	h = (h ^ (uint64_t)v) * 0x9e3779b97f4a7c15u; /* Fibonacci hashing; the keys are our own numbers */
	return h ^ h >> 29;
}

static struct rollup_row *place_of(struct rollup_row *places, size_t size, const struct rollup_row *key)
{
	uint64_t h = mix(mix(mix(0, key->metric), key->version), key->bucket);
	for (size_t i = (size_t)h & (size - 1);; i = (i + 1) & (size - 1)) {
		struct rollup_row *p = &places[i];
		if (p->metric == 0 || (p->metric == key->metric && p->version == key->version && p->bucket == key->bucket))
			return p;
	}
}

static void grow(struct rollup *r)
{
	size_t size = r->size * 2;
	struct rollup_row *places = must_calloc(size, sizeof *places);
	for (size_t i = 0; i < r->size; i++) {
		if (r->places[i].metric != 0)
			*place_of(places, size, &r->places[i]) = r->places[i];
	}
	free(r->places);
	r->places = places;
	r->size = size;
}

static void add_sketch(struct rollup_row *row, const struct log_metric *m)
{
	if (row->sketch == NULL) {
		row->sketch = must_calloc(1, sizeof *row->sketch);
		ddsketch_init(row->sketch);
	}
	/* A sketch that would overflow (above 2^62 values a minute) stays as it is: its count then differs from n, and no quantile is told. */
	enum err e = ERR_OK;
	for (unsigned i = 0; i < m->bin_count && e == ERR_OK; i++)
		e = ddsketch_add_key(row->sketch, m->keys[i], m->counts[i]);
	(void)e;
}

static void add_point(struct rollup *r, const struct log_report *report, struct log_metric *m)
{
	struct log_summary s;
	report_log_summarise(m, &s);
	struct rollup_row key = {.bucket = report->received_ms - report->received_ms % TELEMETRY_MINUTE_MS, .metric = m->name, .version = report->version};
	struct rollup_row *row = place_of(r->places, r->size, &key);
	if (row->metric == 0) {
		*row = key;
		row->has_values = true;
		r->count++;
	}
	row->has_values = row->has_values && s.has_values;
	row->min = row->reports == 0 || s.min < row->min ? s.min : row->min;
	row->max = row->reports == 0 || s.max > row->max ? s.max : row->max;
	row->reports++;
	row->n += s.n;
	row->sum += s.sum;
	if (s.has_sketch)
		add_sketch(row, m);
	if (key.bucket > r->newest)
		r->newest = key.bucket;
}

void rollup_add(struct rollup *r, const void *data, size_t len, int64_t base_ms)
{
	struct report_log_reader reader;
	struct log_report report;
	struct log_metric metric;
	report_log_open(&reader, data, len, base_ms);
	while (report_log_next(&reader, 0, &report)) {
		while (report_log_metric(&report, &metric)) {
			if (r->count * 2 >= r->size)
				grow(r);
			add_point(r, &report, &metric);
		}
	}
	free(r->sorted);
	r->sorted = NULL;
}

size_t rollup_count(const struct rollup *r)
{
	return r->count;
}

int64_t rollup_newest(const struct rollup *r)
{
	return r->newest;
}

static int compare_rows(const void *a, const void *b)
{
	const struct rollup_row *x = *(const struct rollup_row *const *)a, *y = *(const struct rollup_row *const *)b;
	if (x->bucket != y->bucket)
		return x->bucket < y->bucket ? -1 : 1;
	if (x->metric != y->metric)
		return x->metric < y->metric ? -1 : 1;
	return (x->version > y->version) - (x->version < y->version);
}

const struct rollup_row *const *rollup_sorted(struct rollup *r)
{
	if (r->sorted == NULL) {
		r->sorted = must_calloc(r->count + 1, sizeof *r->sorted);
		size_t at = 0;
		for (size_t i = 0; i < r->size; i++) {
			if (r->places[i].metric != 0)
				r->sorted[at++] = &r->places[i];
		}
		assert(at == r->count);
		qsort(r->sorted, at, sizeof *r->sorted, compare_rows);
	}
	return r->sorted;
}

void rollup_clear(struct rollup *r)
{
	for (size_t i = 0; i < r->size; i++)
		free(r->places[i].sketch);
	memset(r->places, 0, r->size * sizeof *r->places);
	free(r->sorted);
	r->sorted = NULL;
	r->count = 0;
	r->newest = 0;
}
