/* Time passes: each active rollout is loaded, decided upon, and moved. */
#include <stdio.h>
#include <string.h>

#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/rollout_parts.h"
#include "service/unit.h"

#define JOIN_EVERY_MS 5000    /* late joiners: a scan of the filter */
#define DRAW_EVERY_MS 5000    /* a stage that could not begin: a scan of the filter, too */
#define OVERDUE_A_TICK 1000   /* bounds one tick; the rest comes with the next */
#define OFFERS_A_TICK 2000
#define MOVES_A_TICK 2000     /* taken back or cancelled: 60 ms; 100,000 at once held everybody for 3 s */
#define DECISIONS_A_TICK 8    /* a stage that is empty is passed at once, and the next one too */

static enum rollout_policy policy_of(const char *text)
{
	enum rollout_policy p = ROLLOUT_ON_HOLD;
	(void)rollout_policy_parse(text, &p); /* the spec's choices are the table's */
	return p;
}

static enum err gather_state(struct call *c, struct rollout_rows *x, struct rollout_state *out)
{
	const struct rollout_request *q = &x->live->spec;
	uint32_t succeeded = 0;
	memset(out, 0, sizeof *out);
	out->now_ms = c->now_ms;
	out->status = x->status;
	out->stage_count = (unsigned)x->stage_count;
	out->error_action = policy_of(q->error.action);
	out->on_inconclusive = policy_of(q->judge.on_inconclusive);
	out->auto_revert = true;
	out->window_is_open = window_is_open(x->live->windows, x->live->window_count, c->now_ms);
	for (size_t i = 0; i < x->stage_count; i++) {
		struct rollout_stage *s = &out->stages[i];
		const struct stage_row *row = &x->stages[i];
		enum err e = deployment_counts(c->s->rollouts->deployments, x->row.id, row->stage, s->counts, c->fault);
		if (e)
			return e;
		if (!stage_status_parse(row->status, &s->status) || !verdict_parse(row->verdict, &s->verdict))
			return fault_set(c->fault, ERR_INTERNAL, "", "stage %zu of rollout %lld has an unknown status", i, (long long)x->row.id);
		s->success_percent = q->success.percent;
		s->min_succeeded = (uint32_t)q->success.min_count;
		s->error_percent = q->error.percent;
		s->min_errors = (uint32_t)q->error.min_count;
		s->error_floor = (uint32_t)row->error_floor;
		s->soak_ms = q->soak_ms;
		s->baking_since_ms = row->baking_at;
		s->has_gates = row->is_judged;
		/* One that could not begin is tried again later; what waits in the stages before it is offered meanwhile. */
		s->needs_approval = s->status == STAGE_SCHEDULED && c->now_ms - x->live->drawn_at_ms < DRAW_EVERY_MS;
		succeeded += s->counts[DEPLOYMENT_SUCCEEDED];
	}
	out->rate_allowance = rate_allowance(&x->live->rate, &x->live->rate_state, c->now_ms, x->live->notified, succeeded);
	if (out->rate_allowance > OFFERS_A_TICK)
		out->rate_allowance = OFFERS_A_TICK;
	return ERR_OK;
}

static enum err note_stage(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const char *text)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", x->row.id);
	json_int(&b, "stage", stage->stage);
	json_str(&b, "name", stage->name);
	json_str(&b, "status", stage->status);
	json_str(&b, "reason", text);
	json_close_object(&b);
	enum err e = event_append(c, "rollout.stage", rollout_resource(c, x->row.id), buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* Carries out one move of a stage. *is_ready false: it cannot begin yet. */
static enum err move_stage(struct call *c, struct rollout_rows *x, const struct rollout_stage_move *m, const char *text, bool *is_ready)
{
	struct stage_row *stage = &x->stages[m->stage];
	enum stage_status status;
	bool is_known = stage_status_parse(stage->status, &status);
	*is_ready = true;
	if (!is_known)
		return ERR_INTERNAL;
	if (m->to == STAGE_RUNNING && status == STAGE_SCHEDULED) {
		char reason[200];
		enum err e = rollout_draw_stage(c, x, stage, is_ready, reason, sizeof reason);
		if (e)
			return e;
		if (!*is_ready) {
			x->live->drawn_at_ms = c->now_ms;
			if (strcmp(reason, x->row.reason) == 0)
				return ERR_OK;
			return rollout_set_status(c, x, x->status, reason);
		}
		stage->started_at = c->now_ms;
		stage->verdict = verdict_name(VERDICT_CONTINUE);
	}
	stage_move(&status, m->to);
	stage->status = stage_status_text(status);
	if (m->to == STAGE_BAKING)
		stage->baking_at = c->now_ms;
	if (m->to == STAGE_FINISHED || m->to == STAGE_CANCELLED || m->to == STAGE_REVERTED)
		stage->ended_at = c->now_ms;
	if (m->to == STAGE_FINISHED) { /* nobody looks at it any more: its devices' windows cost with each report */
		observe_unfollow(c, x->row.id);
		rollout_judged_free(x->live);
	}
	if (m->to == STAGE_RUNNING)
		stage->error_floor = m->error_floor;
	enum err e = stage_update(c->s->rollouts->store, stage, c->fault);
	return e ? e : note_stage(c, x, stage, text);
}

/* Of at most *left, which goes down: what remains comes with the next tick, which decides the same again. */
static enum err each_in_state(struct call *c, struct rollout_rows *x, enum deployment_status state, int64_t *left,
	enum err (*fn)(struct call *c, struct rollout_rows *x, struct deployment_row *d))
{
	for (size_t i = 0; i < x->stage_count && *left > 0; i++) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_in_state(c->s->rollouts->deployments, x->row.id, (int64_t)i, state, *left, &rows, &count, c->arena,
			c->fault);
		*left -= e ? 0 : (int64_t)count;
		for (size_t n = 0; n < count && !e; n++)
			e = fn(c, x, &rows[n]);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err cancel_one(struct call *c, struct rollout_rows *x, struct deployment_row *d)
{
	(void)x;
	return deployment_set(c, d, DEPLOYMENT_CANCELLED, "the rollout was ended before it began");
}

static enum err take_back_one(struct call *c, struct rollout_rows *x, struct deployment_row *d)
{
	return deployment_take_back(c, x->live, d);
}

static enum err carry_out_all(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, int64_t *left)
{
	enum err e = ERR_OK;
	enum deployment_status to;
	/* from the end: what runs the release goes back before what was never offered is cancelled */
	for (int s = DEPLOYMENT_STATUS_COUNT - 1; d->revert_begun && s >= 0 && !e; s--)
		if (deployment_on_revert((enum deployment_status)s, true, &to))
			e = each_in_state(c, x, (enum deployment_status)s, left, take_back_one);
	if (!e && d->cancel_waiting)
		e = each_in_state(c, x, DEPLOYMENT_WAITING, left, cancel_one);
	if (!e && d->cancel_offered)
		e = each_in_state(c, x, DEPLOYMENT_OFFERED, left, cancel_one);
	return e;
}

static enum err offer_some(struct call *c, struct rollout_rows *x, const struct rollout_decision *d)
{
	uint32_t offered = 0;
	for (size_t i = 0; i < x->stage_count; i++) {
		struct deployment_row *rows;
		size_t count;
		if (!d->offers[i])
			continue;
		enum err e = deployment_in_state(c->s->rollouts->deployments, x->row.id, (int64_t)i, DEPLOYMENT_WAITING, d->offers[i], &rows,
			&count, c->arena, c->fault);
		for (size_t n = 0; n < count && !e; n++)
			e = deployment_offer(c, x->live, &rows[n]);
		if (e)
			return e;
		offered += (uint32_t)count;
	}
	rate_take(&x->live->rate, &x->live->rate_state, offered);
	x->live->notified += offered;
	return ERR_OK;
}

static enum err after_end(struct call *c, struct rollout_rows *x, const char *text)
{
	const char *resource = rollout_resource(c, x->row.id);
	if (x->status == ROLLOUT_PAUSED)
		return alert_raise(c, "rollout.paused", resource, ALERT_WARNING,
			arena_printf(c->arena, "rollout %s is paused: %s", x->row.name, text), NULL);
	return ERR_OK;
}

static enum err carry_out(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, int64_t *left, bool *is_ready)
{
	char text[400];
	rollout_explain(d, text, sizeof text);
	if (d->reason == ROLLOUT_REASON_VERDICT_REVERT && x->live->verdict_text[0])
		snprintf(text, sizeof text, "%s", x->live->verdict_text);
	*is_ready = true;
	for (unsigned i = 0; i < d->stage_move_count; i++) {
		enum err e = move_stage(c, x, &d->stage_moves[i], text, is_ready);
		if (e || !*is_ready)
			return e;
	}
	enum err e = carry_out_all(c, x, d, left);
	/* A revert keeps the words of its cause: the verdict's sentence is worth more than "devices are going back". */
	bool keeps_words = x->status == ROLLOUT_REVERTING;
	if (!e && d->moves) {
		e = rollout_set_status(c, x, d->status, keeps_words ? x->row.reason : text);
		if (!e)
			e = after_end(c, x, text);
	} else if (!e && !keeps_words && d->reason != ROLLOUT_REASON_WAITS_APPROVAL && d->reason != ROLLOUT_REASON_NONE && d->reason != x->live->last_reason) {
		e = rollout_set_status(c, x, x->status, text);
	}
	x->live->last_reason = d->reason;
	return e ? e : offer_some(c, x, d);
}

static struct stage_row *open_stage(struct rollout_rows *x)
{
	for (size_t i = 0; i < x->stage_count; i++)
		if (strcmp(x->stages[i].status, "running") == 0 || strcmp(x->stages[i].status, "baking") == 0)
			return &x->stages[i];
	return NULL;
}

static enum err watch(struct call *c, struct rollout_rows *x)
{
	struct stage_row *stage = open_stage(x);
	if (!stage || (x->status != ROLLOUT_RUNNING && x->status != ROLLOUT_PAUSED))
		return ERR_OK;
	enum err e = rollout_judge_stage(c, x, stage);
	bool is_last = (size_t)stage->stage + 1 == x->stage_count;
	if (e || !is_last || x->status != ROLLOUT_RUNNING || c->now_ms - x->live->joined_at_ms < JOIN_EVERY_MS)
		return e;
	x->live->joined_at_ms = c->now_ms;
	return rollout_join_late(c, x, stage);
}

static enum err run_one(struct call *c, int64_t id)
{
	struct rollout_rows x;
	int64_t left = MOVES_A_TICK;
	enum err e = rollout_load(c, id, &x);
	if (!e)
		e = watch(c, &x);
	for (int round = 0; round < DECISIONS_A_TICK && left > 0 && !e; round++) {
		struct rollout_state state;
		struct rollout_decision d;
		bool is_ready;
		e = gather_state(c, &x, &state);
		if (e)
			return e;
		rollout_decide(&state, &d);
		e = carry_out(c, &x, &d, &left, &is_ready);
		if (e || !is_ready || !d.again)
			return e;
	}
	return e;
}

static enum err run_overdue(struct call *c)
{
	struct deployment_row *rows;
	size_t count;
	enum err e = deployment_overdue(c->s->rollouts->deployments, c->now_ms, OVERDUE_A_TICK, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; i < count && !e; i++) {
		struct rollout_rows x;
		e = rollout_load(c, rows[i].rollout, &x);
		if (!e)
			e = deployment_timed_out(c, &x, &rows[i]);
	}
	return e;
}

/* One rollout in a unit of work of its own: what is broken in one must not stop the others. */
static enum err in_unit(struct call *c, int64_t id, enum err (*fn)(struct call *c, int64_t id))
{
	enum err e = unit_begin(c->s, c->fault);
	return e ? e : unit_end(c->s, fn(c, id), c->fault);
}

static enum err overdue_unit(struct call *c, int64_t id)
{
	(void)id;
	return run_overdue(c);
}

enum err rollouts_tick(struct call *c)
{
	int64_t *ids;
	size_t count;
	enum err first = in_unit(c, 0, overdue_unit);
	enum err e = rollout_active_ids(c->s->rollouts->store, &ids, &count, c->arena, c->fault);
	if (e)
		return e;
	metric_set(METER_ROLLOUTS_ACTIVE, (int64_t)count);
	for (size_t i = 0; i < count; i++) {
		e = in_unit(c, ids[i], run_one);
		if (e && !first)
			first = e;
	}
	return first;
}
