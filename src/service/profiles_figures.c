/* What is known of a variant on a class of hardware, from which source. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "service/observe.h"
#include "service/profiles_inside.h"
#include "service/registry.h"
#include "service/symbols.h"
#include "service/telemetry.h"
#include "core/accum.h"

#define RATES_MAX 64 /* variants that a rate of multiply-accumulates is made of */

static bool is_share_of_right(const char *quality)
{
	return quality == NULL || strcmp(quality, "auc") != 0;
}

static void drop_quality(struct profile_figures *f)
{
	f->of[PROFILE_QUALITY] = (struct profile_figure){.value = NAN, .cell = PROFILE_CELL_ANY, .age_ms = -1};
}

struct profile_cell *profiles_merge_cells(const struct learned *l, int64_t now_ms)
{
	struct profile_cell *sum = NULL;
	struct profile_cell *one = malloc(sizeof *one);
	if (one == NULL)
		abort();
	for (unsigned cell = 0; l != NULL && cell < HEALTH_CELLS; cell++) {
		if (l->cells[cell] == NULL)
			continue;
		*one = *l->cells[cell];
		profile_fade(one, now_ms, PROFILE_HALF_LIFE_MS);
		if (sum == NULL) {
			sum = one;
			one = malloc(sizeof *one);
			if (one == NULL)
				abort();
		} else {
			profile_merge(sum, one);
		}
	}
	free(one);
	return sum;
}

static void find_learned(struct call *c, const struct profile_question *q, struct profiled *out)
{
	const struct learned *l = profiles_learned(c->s->profiles, q->hardware, q->artifact);
	struct profile_cell *any = profiles_merge_cells(l, c->now_ms);
	if (any == NULL)
		return;
	profile_read(any, PROFILE_CELL_ANY, PROFILE_CLASS, c->now_ms, &out->any);
	if (q->cell < HEALTH_CELLS && l->cells[q->cell] != NULL) {
		*any = *l->cells[q->cell];
		profile_fade(any, c->now_ms, PROFILE_HALF_LIFE_MS);
		profile_read(any, q->cell, PROFILE_CLASS, c->now_ms, &out->cell);
	}
	free(any);
}

enum err profiles_find(struct call *c, const struct profile_question *q, struct profiled *out)
{
	struct published_row row;
	struct profile_row published = {.line = 0};
	profile_figures_init(&out->cell);
	profile_figures_init(&out->any);
	profile_figures_init(&out->published);
	if (c->s->profiles == NULL)
		return ERR_OK;
	find_learned(c, q, out);
	if (!is_share_of_right(q->quality)) {
		drop_quality(&out->cell);
		drop_quality(&out->any);
	}
	enum err e = published_find(c->s->profiles->store, q->hardware, q->model, q->version, q->variant, &row, c->arena, c->fault);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	published.latency_ms = row.latency_ms;
	published.latency_p95_ms = row.latency_p95_ms;
	published.energy_uj = row.energy_uj;
	published.memory_bytes = row.memory_bytes;
	published.accuracy = row.accuracy;
	published.top1 = row.top1;
	published.auc = row.auc;
	published.devices = (uint64_t)row.devices;
	published.samples = (uint64_t)row.samples;
	profile_row_figures(&published, q->quality, &out->published);
	for (unsigned i = 0; i < PROFILE_FIGURES; i++)
		if (!isnan(out->published.of[i].value))
			out->published.of[i].age_ms = c->now_ms - row.imported_at;
	return ERR_OK;
}

enum err profiles_macs_rate(struct call *c, const char *hardware, double *rate)
{
	struct profiles *p = c->s->profiles;
	double macs[RATES_MAX], latency_ms[RATES_MAX];
	unsigned count = 0;
	*rate = 0;
	for (size_t i = 0; p != NULL && i < p->count && count < RATES_MAX; i++) {
		const struct learned *l = p->all[i];
		struct profiled_row row;
		struct profile_figures f;
		if (strcmp(p->hardware[l->hardware], hardware) != 0)
			continue;
		enum err e = profile_artifact(p->store, l->artifact, &row, c->arena, c->fault);
		if (e != ERR_OK && e != ERR_NOT_FOUND)
			return e;
		struct profile_cell *any = e == ERR_OK && row.macs > 0 ? profiles_merge_cells(l, c->now_ms) : NULL;
		if (any == NULL)
			continue;
		profile_read(any, PROFILE_CELL_ANY, PROFILE_CLASS, c->now_ms, &f);
		free(any);
		if (f.of[PROFILE_LATENCY_P50].samples < PROFILE_CLASS_SAMPLES)
			continue;
		macs[count] = row.macs;
		latency_ms[count++] = f.of[PROFILE_LATENCY_P50].value;
	}
	*rate = profile_macs_rate(macs, latency_ms, count);
	return ERR_OK;
}

/* ---- a device's own ---- */

static void put_own(struct profile_figures *out, enum profile_figure_kind kind, double value, int64_t samples)
{
	if (samples > 0 && isfinite(value))
		out->of[kind] = (struct profile_figure){.value = value, .source = PROFILE_DEVICE, .cell = PROFILE_CELL_ANY, .devices = 1,
			.samples = (uint64_t)samples, .age_ms = -1};
}

void profiles_own(struct call *c, const struct device_state *d, const char *model, const char *version, int64_t since_ms, const char *quality,
	struct profile_figures *out)
{
	struct metric_accum a;
	struct ddsketch *s = malloc(sizeof *s);
	if (s == NULL)
		abort();
	profile_figures_init(out);
	struct observe_of_version want = {.device = d->row, .model = model, .version = version, .since_ms = since_ms};
	if (observe_version_baseline(c, &want, "latency_ms", &a, s) && s->n > 0) {
		put_own(out, PROFILE_LATENCY_P50, ddsketch_quantile(s, 0.5), (int64_t)s->n);
		put_own(out, PROFILE_LATENCY_P95, ddsketch_quantile(s, 0.95), (int64_t)s->n);
	}
	if (observe_version_baseline(c, &want, "energy_mj", &a, NULL) && a.sum_n > 0)
		put_own(out, PROFILE_ENERGY, 1000 * accum_mean(&a), a.sum_n);
	if (is_share_of_right(quality) && observe_version_baseline(c, &want, "accuracy", &a, NULL) && a.ratio_n > 0)
		put_own(out, PROFILE_QUALITY, (double)a.k / (double)a.ratio_n, a.ratio_n);
	free(s);
}
