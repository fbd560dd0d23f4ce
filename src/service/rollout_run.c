/* Time passes: each active rollout is loaded, decided upon, and moved. */
#include <stdio.h>
#include <string.h>

#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/rollout_parts.h"
#include "service/unit.h"

#define PAGE 32               /* rows read at once, of which a piece may do only some */
#define DECISIONS_A_TICK 8    /* a stage that is empty is passed at once, and the next one too */
/* Turns of a round: first the deadlines, then rollouts by number, then those that are deleted. */
#define TURN_OVERDUE 0
#define TURN_DELETED (INT64_MAX / 2)

static enum rollout_policy policy_of(const char *text)
{
	enum rollout_policy p = ROLLOUT_ON_HOLD;
	(void)rollout_policy_parse(text, &p); /* the spec's choices are the table's */
	return p;
}

/* An alert of a canary is a verdict of its own, which holds the stage; what the judge has said stays in the row, and counts again when the
 * alert is resolved. It looks at nothing but the canary, and moves no look (docs/judge.md). */
static enum err hear_alerts(struct call *c, struct rollout_rows *x, const struct stage_row *row, struct rollout_stage *s)
{
	int64_t alert;
	if ((s->status != STAGE_RUNNING && s->status != STAGE_BAKING) || s->verdict == VERDICT_REVERT)
		return ERR_OK;
	enum err e = alerts_hold_stage(c, x->row.id, row->stage, &alert);
	if (!e && alert) {
		s->verdict = VERDICT_HOLD;
		x->live->held_by = alert;
	}
	return e;
}

static enum err gather_state(struct call *c, struct rollout_rows *x, struct rollout_state *out)
{
	x->live->held_by = 0;
	const struct rollout_request *q = &x->live->spec;
	uint32_t succeeded = 0;
	memset(out, 0, sizeof *out);
	out->now_ms = c->now_ms;
	out->status = x->status;
	out->stage_count = (unsigned)x->stage_count;
	out->error_action = policy_of(q->error.action);
	out->on_inconclusive = policy_of(q->judge.on_inconclusive);
	out->auto_revert = true;
	out->hold_all = strcmp(q->judge.hold, "all") == 0;
	out->window_is_open = window_is_open(x->live->windows, x->live->window_count, c->now_ms);
	for (size_t i = 0; i < x->stage_count; i++) {
		struct rollout_stage *s = &out->stages[i];
		const struct stage_row *row = &x->stages[i];
		enum err e = deployment_counts(c->s->rollouts->deployments, x->row.id, row->stage, s->counts, c->fault);
		if (e)
			return e;
		if (!stage_status_parse(row->status, &s->status) || !verdict_parse(row->verdict, &s->verdict))
			return fault_set(c->fault, ERR_INTERNAL, "", "stage %zu of rollout %lld has an unknown status", i, (long long)x->row.id);
		e = hear_alerts(c, x, row, s);
		if (e)
			return e;
		s->success_percent = q->success.percent;
		s->min_succeeded = (uint32_t)q->success.min_count;
		s->error_percent = q->error.percent;
		s->min_errors = (uint32_t)q->error.min_count;
		s->error_floor = (uint32_t)row->error_floor;
		s->soak_ms = q->soak_ms;
		s->baking_since_ms = row->baking_at;
		s->has_gates = row->is_judged;
		s->retry_at_ms = rollout_begin_is_open(x->live, row->stage) ? INT64_MAX : x->live->begin_at_ms;
		succeeded += s->counts[DEPLOYMENT_SUCCEEDED];
	}
	out->rate_allowance = rate_allowance(&x->live->rate, &x->live->rate_state, c->now_ms, x->live->notified, succeeded);
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

static enum err let_go(struct call *c, struct rollout_rows *x, struct rollout_piece *p, bool *is_done)
{
	enum err e = rollout_let_go(c, x, &p->box, is_done);
	p->more = p->more || (!e && !*is_done);
	return e;
}

static enum err begin_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct rollout_piece *p, bool *is_ready)
{
	char reason[200];
	enum begun begun;
	enum err e = let_go(c, x, p, is_ready); /* or who ran the stage before in shadow would be busy */
	if (e || !*is_ready)
		return e;
	e = rollout_begin_stage(c, x, stage, p, &begun, reason, sizeof reason);
	*is_ready = !e && begun == BEGUN;
	if (!e && begun == BEGUN_PARTLY)
		snprintf(reason, sizeof reason, "stage %lld begins: its devices are looked up, drawn and written", (long long)stage->stage + 1);
	if (e || *is_ready || strcmp(reason, x->row.reason) == 0)
		return e;
	return rollout_set_status(c, x, x->status, reason);
}

/* Carries out one move of a stage. *is_ready false: it cannot begin yet. */
static enum err move_stage(struct call *c, struct rollout_rows *x, const struct rollout_stage_move *m, const char *text, struct rollout_piece *p,
	bool *is_ready)
{
	struct stage_row *stage = &x->stages[m->stage];
	enum stage_status status;
	bool is_known = stage_status_parse(stage->status, &status);
	*is_ready = true;
	if (!is_known)
		return ERR_INTERNAL;
	if (m->to == STAGE_RUNNING && status == STAGE_SCHEDULED) {
		enum err e = begin_stage(c, x, stage, p, is_ready);
		if (e || !*is_ready)
			return e;
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

static bool has_begun(const struct stage_row *s)
{
	return s->started_at != 0; /* rows of one that has not are taken away, not moved */
}

/* As many as the piece has room for: what remains comes with the next one, which decides the same again. */
static enum err each_in_state(struct call *c, struct rollout_rows *x, int64_t stage, enum deployment_status state, uint32_t most,
	struct rollout_piece *p, uint32_t *moved, enum err (*fn)(struct call *c, struct rollout_rows *x, struct deployment_row *d))
{
	int64_t after = 0; /* whoever does not move is not met again */
	*moved = 0;
	for (;;) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_in_state_after(c->s->rollouts->deployments, x->row.id, stage, state, after, PAGE, &rows, &count, c->arena,
			c->fault);
		for (size_t i = 0; i < count && !e; i++, ++*moved) {
			if (*moved == most || rollout_piece_is_over(p))
				return ERR_OK;
			e = fn(c, x, &rows[i]);
			after = rows[i].id;
		}
		if (e || count < PAGE)
			return e;
	}
}

static enum err each_of_all(struct call *c, struct rollout_rows *x, enum deployment_status state, struct rollout_piece *p,
	enum err (*fn)(struct call *c, struct rollout_rows *x, struct deployment_row *d))
{
	enum err e = ERR_OK;
	uint32_t moved;
	for (size_t i = 0; i < x->stage_count && !p->more && !e; i++)
		if (has_begun(&x->stages[i]))
			e = each_in_state(c, x, (int64_t)i, state, UINT32_MAX, p, &moved, fn);
	return e;
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

static enum err carry_out_all(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, struct rollout_piece *p)
{
	enum err e = ERR_OK;
	enum deployment_status to;
	/* from the end: what runs the release goes back before what was never offered is cancelled */
	for (int s = DEPLOYMENT_STATUS_COUNT - 1; d->revert_begun && s >= 0 && !e; s--)
		if (deployment_on_revert((enum deployment_status)s, true, &to))
			e = each_of_all(c, x, (enum deployment_status)s, p, take_back_one);
	if (!e && d->cancel_waiting)
		e = each_of_all(c, x, DEPLOYMENT_WAITING, p, cancel_one);
	if (!e && d->cancel_offered)
		e = each_of_all(c, x, DEPLOYMENT_OFFERED, p, cancel_one);
	return e;
}

/* As many as may; whoever is withheld counts for nothing, and is not asked again before its time. */
static enum err offer_waiting(struct call *c, struct rollout_rows *x, int64_t stage, bool canaries, uint32_t most, struct rollout_piece *p,
	uint32_t *moved)
{
	int64_t after = 0;
	for (;;) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_waiting(c->s->rollouts->deployments, x->row.id, stage, canaries, c->now_ms, after, PAGE, &rows, &count, c->arena,
			c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			if (*moved == most || rollout_piece_is_over(p))
				return ERR_OK;
			e = deployment_offer(c, x->live, &rows[i]);
			after = rows[i].id;
			*moved += rows[i].state == DEPLOYMENT_OFFERED;
		}
		if (e || count < PAGE)
			return e;
	}
}

static enum err offer_some(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, struct rollout_piece *p)
{
	uint32_t offered = 0;
	enum err e = ERR_OK;
	for (int i = 0; i < (int)x->stage_count && !e && !p->more; i++) {
		uint32_t canaries = 0, others = 0;
		if (d->offers[i]) /* canaries first: when they begin must not depend on whether others wait */
			e = offer_waiting(c, x, i, true, d->offers[i], p, &canaries);
		if (!e && canaries < d->offers[i] && !p->more && i != d->held_stage)
			e = offer_waiting(c, x, i, false, d->offers[i] - canaries, p, &others);
		offered += canaries + others;
	}
	rate_take(&x->live->rate, &x->live->rate_state, offered);
	x->live->notified += offered;
	return e;
}

/* The rollout is about to end: its devices may take part in another one. By number, so that nobody is missed who moves meanwhile. */
static enum err free_devices(struct call *c, struct rollout_rows *x, struct rollout_piece *p, bool *is_done)
{
	struct rollouts *r = c->s->rollouts;
	*is_done = false;
	for (;;) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_page(r->deployments, x->row.id, -1, DEPLOYMENT_STATUS_COUNT, x->live->freed_after, PAGE, &rows, &count,
			c->arena, c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			if (rollout_piece_is_over(p))
				return ERR_OK;
			const struct device_state *d = registry_by_row(c->s->registry, rows[i].device);
			if (d && d->deployment == rows[i].id) {
				deployment_set_active(c, rows[i].device, 0);
				e = deployment_deactivate(r->deployments, rows[i].device, c->fault);
			}
			x->live->freed_after = rows[i].id;
			x->live->wrote = unit_newest(c->s);
		}
		if (e)
			return e;
		if (count < PAGE)
			break;
	}
	x->live->freed_after = 0;
	*is_done = true;
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

static enum err move_rollout(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, const char *text, struct rollout_piece *p,
	bool *is_ready)
{
	bool ends = d->moves && rollout_status_is_final(d->status);
	if (!ends)
		x->live->freed_after = 0;
	enum err e = ends ? let_go(c, x, p, is_ready) : ERR_OK; /* which tells them, before they are free */
	if (!e && *is_ready && ends)
		e = free_devices(c, x, p, is_ready);
	if (e || !*is_ready)
		return e;
	/* A revert keeps the words of its cause: the verdict's sentence is worth more than "devices are going back". */
	bool keeps_words = x->status == ROLLOUT_REVERTING;
	if (d->moves) {
		e = rollout_set_status(c, x, d->status, keeps_words ? x->row.reason : text);
		return e ? e : after_end(c, x, text);
	}
	bool says_nothing = d->reason == ROLLOUT_REASON_NONE || d->reason == ROLLOUT_REASON_WAITS_BEGIN || d->reason == x->live->last_reason;
	return keeps_words || says_nothing ? ERR_OK : rollout_set_status(c, x, x->status, text);
}

static enum err carry_out(struct call *c, struct rollout_rows *x, const struct rollout_decision *d, struct rollout_piece *p, bool *is_ready)
{
	char text[400];
	rollout_explain(d, text, sizeof text);
	if (d->reason == ROLLOUT_REASON_VERDICT_REVERT && x->live->verdict_text[0])
		snprintf(text, sizeof text, "%s", x->live->verdict_text);
	if (d->reason == ROLLOUT_REASON_WAITS_HOLD && x->live->held_by)
		alert_sentence(c, x->live->held_by, text, sizeof text);
	*is_ready = true;
	for (unsigned i = 0; i < d->stage_move_count; i++) {
		enum err e = move_stage(c, x, &d->stage_moves[i], text, p, is_ready);
		if (e || !*is_ready)
			return e;
	}
	enum err e = carry_out_all(c, x, d, p);
	if (!e)
		e = move_rollout(c, x, d, text, p, is_ready);
	x->live->last_reason = d->reason;
	return e || !*is_ready ? e : offer_some(c, x, d, p);
}

static struct stage_row *open_stage(struct rollout_rows *x)
{
	for (size_t i = 0; i < x->stage_count; i++)
		if (strcmp(x->stages[i].status, "running") == 0 || strcmp(x->stages[i].status, "baking") == 0)
			return &x->stages[i];
	return NULL;
}

static enum err watch(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	struct stage_row *stage = open_stage(x);
	if (!stage || (x->status != ROLLOUT_RUNNING && x->status != ROLLOUT_PAUSED))
		return ERR_OK;
	return rollout_judge_stage(c, x, stage, p);
}

/* A retry goes before all decisions: halfway through it the stage looks as if it had failed, or as if nothing were left to do. */
static enum err retry(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	if (!x->row.retry_at)
		return ERR_OK;
	bool is_harmful = false;
	for (size_t i = 0; i < x->stage_count; i++)
		is_harmful = is_harmful || strcmp(x->stages[i].verdict, verdict_name(VERDICT_REVERT)) == 0;
	enum err e = ERR_OK;
	if ((is_harmful && x->status != ROLLOUT_REVERTING) || x->status == ROLLOUT_STOPPING)
		x->row.retry_at = 0; /* what counts now is that it ends */
	else
		e = rollout_retry_some(c, x, p);
	return e || x->row.retry_at ? e : rollout_update(c->s->rollouts->store, &x->row, c->fault);
}

static enum err decide(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	for (int round = 0; round < DECISIONS_A_TICK && (round == 0 || !p->more); round++) {
		struct rollout_state state;
		struct rollout_decision d;
		bool is_ready;
		enum err e = gather_state(c, x, &state);
		if (e)
			return e;
		rollout_decide(&state, &d);
		e = carry_out(c, x, &d, p, &is_ready);
		if (e || !is_ready || !d.again)
			return e;
	}
	return ERR_OK;
}

/* Each part of a turn does something, however long the others take. */
static enum err take_part(struct call *c, struct rollout_rows *x, struct rollout_piece *p,
	enum err (*fn)(struct call *c, struct rollout_rows *x, struct rollout_piece *p))
{
	struct rollout_piece part = {.box = p->box};
	enum err e = fn(c, x, &part);
	p->more = p->more || part.more;
	return e;
}

static enum err run_one(struct call *c, int64_t id, struct rollout_piece *p)
{
	struct rollout_rows x;
	bool has_let_go = false;
	enum err e = rollout_load(c, id, &x);
	if (!e)
		e = rollout_let_go(c, &x, &p->box, &has_let_go);
	if (e || !has_let_go) {
		p->more = true;
		return e;
	}
	rollout_begin_settle(&x);
	e = take_part(c, &x, p, watch);
	if (!e)
		e = take_part(c, &x, p, retry);
	if (e || x.row.retry_at)
		return e;
	e = take_part(c, &x, p, decide);
	return e ? e : take_part(c, &x, p, rollout_begin_step);
}

static enum err run_overdue(struct call *c, struct rollout_piece *p)
{
	struct rollout_rows x = {0};
	for (int64_t first = 0;;) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_overdue(c->s->rollouts->deployments, c->now_ms, PAGE, &rows, &count, c->arena, c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			if (rollout_piece_is_over(p))
				return ERR_OK;
			if (x.row.id != rows[i].rollout)
				e = rollout_load(c, rows[i].rollout, &x);
			if (!e)
				e = deployment_timed_out(c, &x, &rows[i]);
		}
		if (e || count < PAGE || rows[0].id == first) /* nobody's deadline stays where it was; if it does, not for ever */
			return e;
		first = rows[0].id;
	}
}

/* One rollout in a unit of work of its own: what is broken in one must not stop the others. */
static enum err take_turn(struct call *c, int64_t turn, const struct timebox *box)
{
	struct rollouts *r = c->s->rollouts;
	struct rollout_piece p = {.box = *box};
	enum err e = unit_begin(c->s, c->fault);
	if (e)
		return e;
	if (turn == TURN_OVERDUE)
		e = run_overdue(c, &p);
	else if (turn > TURN_DELETED)
		e = rollout_purge_some(c, turn - TURN_DELETED, &p);
	else
		e = run_one(c, turn, &p);
	e = unit_end(c->s, e, c->fault);
	r->has_more = r->has_more || (p.more && !e);
	return e;
}

static enum err list_turns(struct call *c, int64_t **turns, size_t *count)
{
	struct rollout_store *store = c->s->rollouts->store;
	int64_t *active, *hidden;
	size_t active_count, hidden_count;
	enum err e = rollout_active_ids(store, &active, &active_count, c->arena, c->fault);
	if (!e)
		e = rollout_hidden_ids(store, &hidden, &hidden_count, c->arena, c->fault);
	if (e)
		return e;
	metric_set(METER_ROLLOUTS_ACTIVE, (int64_t)active_count);
	*turns = arena_array(c->arena, 1 + active_count + hidden_count, sizeof **turns);
	*count = 0;
	(*turns)[(*count)++] = TURN_OVERDUE;
	for (size_t i = 0; i < active_count; i++)
		(*turns)[(*count)++] = active[i];
	for (size_t i = 0; i < hidden_count; i++)
		(*turns)[(*count)++] = TURN_DELETED + hidden[i];
	return ERR_OK;
}

enum err rollouts_tick(struct call *c, bool *more)
{
	struct rollouts *r = c->s->rollouts;
	struct timebox box = timebox_begin(r->piece_ns);
	int64_t *turns;
	size_t count, i = 0;
	*more = false;
	enum err first = list_turns(c, &turns, &count);
	if (first)
		return first;
	while (i < count && turns[i] <= r->turn)
		i++;
	for (bool is_first = true; i < count && (is_first || !timebox_is_over(&box)); i++, is_first = false) {
		enum err e = take_turn(c, turns[i], &box);
		r->turn = turns[i];
		if (e && !first)
			first = e;
	}
	*more = i < count || r->has_more;
	if (i == count) { /* the round is over */
		r->turn = -1;
		r->has_more = false;
	}
	bool counts_on;
	enum err e = silence_history_tick(c, r->silence, &box, &counts_on);
	*more = *more || counts_on;
	return first ? first : e;
}
