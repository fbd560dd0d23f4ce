/* What operators see: the matrix of checks by cohort and context, and one device's results. Out of memory, but for the texts. */
#include <string.h>

#include "service/health_inside.h"
#include "service/registry.h"

#define ROWS_MAX 1000

/* ---- the matrix ---- */

static void write_row(struct call *c, const struct health_check *k, uint16_t cohort, int cell, struct buf *out)
{
	const struct cohort_name *name = health_cohort(c->s->health, cohort);
	const struct health_cell *n = &k->cells[cohort][cell];
	const struct health_sums *s = &n->sums;
	struct health_prior p = health_prior(s);
	json_open_object(out);
	json_str(out, "check", k->row.name);
	json_str(out, "hardware", name->hardware);
	json_str(out, "model", name->model);
	json_str(out, "version", name->version);
	json_str(out, "cell", health_cell_name((unsigned)cell));
	json_int(out, "devices", s->devices);
	json_int(out, "pass", s->results - s->failures);
	json_int(out, "fail", s->failures);
	json_num(out, "rate", s->results > 0 ? (double)s->failures / (double)s->results : 0);
	json_num(out, "cohort_rate", p.a / (p.a + p.b));
	json_int(out, "failing", n->failing);
	json_int(out, "suspicious", n->suspicious);
	json_int(out, "firing", n->firing);
	json_close_object(out);
}

enum err health_matrix(struct call *c, const char *check, const char *hardware, int cell, struct buf *out, bool *is_cut)
{
	const struct health *h = c->s->health;
	size_t rows = 0;
	*is_cut = false;
	for (size_t i = 0; i < h->count; i++) {
		const struct health_check *k = h->checks[i];
		if (k->row.is_deleted || (check != NULL && strcmp(check, k->row.name) != 0))
			continue;
		for (size_t n = 0; n < h->cohort_count && n < k->cells_room; n++) {
			for (int at = 0; at < HEALTH_CELLS; at++) {
				bool is_wanted = (cell < 0 || cell == at) && (hardware == NULL || strcmp(hardware, h->cohorts[n].hardware) == 0);
				if (!is_wanted || k->cells[n][at].sums.results == 0)
					continue;
				if (rows++ == ROWS_MAX) {
					*is_cut = true;
					return ERR_OK;
				}
				write_row(c, k, (uint16_t)n, at, out);
			}
		}
	}
	return ERR_OK;
}

/* ---- one device ---- */

static void write_cells(const struct health_check *k, const struct health_state *st, struct buf *out)
{
	json_key(out, "cells");
	json_open_array(out);
	for (unsigned cell = 0; cell < HEALTH_CELLS; cell++) {
		if (st->counts[cell].results == 0)
			continue;
		struct health_judgement j = health_judge_state(k, st, cell);
		json_open_object(out);
		json_str(out, "cell", health_cell_name(cell));
		json_int(out, "pass", st->counts[cell].results - st->counts[cell].failures);
		json_int(out, "fail", st->counts[cell].failures);
		json_num(out, "rate", j.rate);
		json_num(out, "cohort_rate", j.cohort_rate);
		json_num(out, "p", j.p);
		json_bool(out, "suspicious", j.is_suspicious);
		json_close_object(out);
	}
	json_close_array(out);
}

static enum err write_state(struct call *c, const struct health_check *k, const struct health_state *st, struct buf *out)
{
	struct health_result_row row;
	bool found;
	enum err e = health_result_get(c->s->health->store, k->row.id, st->device, c->arena, &row, &found, c->fault);
	if (e != ERR_OK)
		return e;
	json_open_object(out);
	json_str(out, "check", k->row.name);
	json_str(out, "kind", k->row.kind);
	json_bool(out, "pass", st->passed);
	json_str(out, "cell", health_cell_name(st->cell));
	json_bool(out, "tagged", !st->passed && st->cell != 0 && !st->wants);
	json_bool(out, "suspicious", st->suspicious != 0);
	json_bool(out, "firing", st->wants);
	json_int(out, "at", st->at_ms);
	if (st->has_value)
		json_num(out, "value", (double)st->value);
	if (found && row.detail[0] != '\0')
		json_str(out, "detail", row.detail);
	write_cells(k, st, out);
	json_close_object(out);
	return ERR_OK;
}

enum err health_of_device(struct call *c, const struct device_state *d, struct buf *out)
{
	const struct health *h = c->s->health;
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < h->count; i++) {
		const struct health_check *k = h->checks[i];
		const struct health_state *st = health_state_find(k, d);
		if (!k->row.is_deleted && st != NULL && st->has_result)
			e = write_state(c, k, st, out);
	}
	return e;
}
