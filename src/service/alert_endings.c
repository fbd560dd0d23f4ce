/* Rules that were changed or deleted: their open alerts end, some in each piece. It is noted in the rule's row first, so that a server that was
 * killed goes on with it; from then on these alerts are as good as over: what begins anew ends its predecessor at once (alert_lives.c). */
#include <stdlib.h>
#include <string.h>

#include "service/alerts_inside.h"
#include "service/unit.h"

#define PAGE 32          /* alerts read at once */
#define DETACH_ROWS 64   /* of a deleted rule's history, in one statement */

enum err alerts_load_endings(struct alerts *a, struct fault *f)
{
	struct rule_ending_row *rows;
	size_t count;
	enum err e = rule_endings(a->store, a->arena, &rows, &count, f);
	if (e != ERR_OK)
		return e;
	free(a->endings);
	a->endings = calloc(count + 1, sizeof *a->endings);
	if (a->endings == NULL)
		abort();
	a->ending_count = count;
	for (size_t i = 0; i < count; i++)
		a->endings[i] = (struct rule_ending){rows[i].rule, rows[i].below, rows[i].is_deleted};
	return ERR_OK;
}

int64_t alerts_ended_below(const struct alerts *a, int64_t rule)
{
	for (size_t i = 0; rule != 0 && i < a->ending_count; i++) {
		if (a->endings[i].rule == rule)
			return a->endings[i].below;
	}
	return 0;
}

/* The newest row's number is given again when that row goes (one that was pending only). */
enum err alerts_note_new_id(struct call *c, int64_t id)
{
	struct alerts *a = c->s->alerts;
	enum err e = ERR_OK;
	for (size_t i = 0; i < a->ending_count && e == ERR_OK; i++) {
		struct rule_ending *g = &a->endings[i];
		if (g->below <= id)
			continue;
		g->below = id;
		e = rule_end(a->store, g->rule, id, c->fault);
	}
	return e;
}

enum err alerts_begin_ending(struct call *c, int64_t rule, bool is_deleted)
{
	struct alerts *a = c->s->alerts;
	int64_t last;
	enum err e = alerts_fresh(c);
	if (e == ERR_OK)
		e = alert_last_id(a->store, &last, c->fault);
	if (e == ERR_OK && is_deleted)
		e = rule_hide(a->store, rule, c->now_ms, c->fault);
	if (e == ERR_OK)
		e = rule_end(a->store, rule, last + 1, c->fault);
	if (e == ERR_OK)
		alerts_end_storms(a, rule);
	alerts_touch(a);
	return e;
}

/* ---- pieces ---- */

static enum err end_one(struct call *c, struct alert_row *row)
{
	struct alerts *a = c->s->alerts;
	if (alerts_is_open(a, &(struct alert_key){row->kind, row->resource, row->metric, row->rule}))
		return alerts_end_row(c, row);
	row->status = "resolved"; /* unknown in memory, which cannot be: all the same it must not be found again */
	row->resolved_at = c->now_ms;
	row->resolved_by = "ended";
	return alert_set_state(a->store, row, c->fault);
}

/* *any: there was one. */
static enum err end_page(struct call *c, const struct rule_ending *g, const char *status, const struct timebox *box, bool *any)
{
	struct alert_row *rows;
	size_t count;
	enum err e = alert_of_rule(c->s->alerts->store, g->rule, status, g->below, PAGE, c->arena, &rows, &count, c->fault);
	for (size_t i = 0; i < count && e == ERR_OK && (i == 0 || !timebox_is_over(box)); i++)
		e = end_one(c, &rows[i]);
	*any = e == ERR_OK && count > 0;
	return e;
}

/* All of its alerts have ended: what is left of the rule goes. */
static enum err finish(struct call *c, const struct rule_ending *g, bool *done)
{
	struct alert_store *store = c->s->alerts->store;
	int64_t detached = 0;
	enum err e = g->is_deleted ? alert_detach(store, g->rule, DETACH_ROWS, &detached, c->fault) : ERR_OK;
	*done = e == ERR_OK && detached == 0;
	if (!*done)
		return e;
	return g->is_deleted ? rule_delete(store, g->rule, c->fault) : rule_ended(store, g->rule, c->fault);
}

static enum err step(struct call *c, const struct rule_ending *g, const struct timebox *box, bool *done)
{
	bool any;
	*done = false;
	enum err e = end_page(c, g, "pending", box, &any);
	if (e == ERR_OK && !any)
		e = end_page(c, g, "firing", box, &any);
	return e == ERR_OK && !any ? finish(c, g, done) : e;
}

enum err alerts_endings_tick(struct call *c, const struct timebox *box, bool *more)
{
	struct alerts *a = c->s->alerts;
	if (a->ending_count == 0)
		return ERR_OK;
	bool done = false;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	alerts_touch(a);
	do
		e = step(c, &a->endings[0], box, &done);
	while (e == ERR_OK && !done && !timebox_is_over(box));
	e = unit_end(c->s, e, c->fault);
	if (e != ERR_OK) {
		a->is_stale = true;
		return e;
	}
	if (done)
		memmove(a->endings, a->endings + 1, --a->ending_count * sizeof *a->endings);
	*more = true;
	return ERR_OK;
}
