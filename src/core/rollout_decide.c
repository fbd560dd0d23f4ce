/* One look at a rollout: what is to be done now, and why. Pure: the same state gives the same decision. */
#include "core/rollout.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *label, *text;
} reasons[ROLLOUT_REASON_COUNT] = {
#define X(name, label, text) {label, text},
	ROLLOUT_REASON_TABLE(X)
#undef X
};

const char *rollout_reason_label(enum rollout_reason r)
{
	assert(r < ROLLOUT_REASON_COUNT);
	return reasons[r].label;
}

const char *rollout_reason_text(enum rollout_reason r)
{
	assert(r < ROLLOUT_REASON_COUNT);
	return reasons[r].text;
}

/* ---- what the counts of a stage say ---- */

static uint32_t count_of(const struct rollout_stage *s, enum deployment_class class)
{
	uint32_t sum = 0;
	for (int i = 0; i < DEPLOYMENT_STATUS_COUNT; i++)
		if (deployment_status_class((enum deployment_status)i) == class) sum += s->counts[i];
	return sum;
}

/* Cancelled ones (a device was deleted) are no part of it any more. */
static uint32_t total_of(const struct rollout_stage *s)
{
	uint32_t sum = 0;
	for (int i = 0; i < DEPLOYMENT_STATUS_COUNT; i++) sum += s->counts[i];
	return sum - s->counts[DEPLOYMENT_CANCELLED];
}

static uint32_t errors_of(const struct rollout_stage *s)
{
	return count_of(s, DEPLOYMENT_DONE) - s->counts[DEPLOYMENT_SUCCEEDED] - s->counts[DEPLOYMENT_CANCELLED];
}

static uint32_t unfinished_of(const struct rollout_stage *s)
{
	return count_of(s, DEPLOYMENT_NOT_BEGUN) + count_of(s, DEPLOYMENT_ACTIVE);
}

/* What a revert sends back. */
static uint32_t revertible_of(const struct rollout_stage *s)
{
	uint32_t sum = 0;
	enum deployment_status to;
	for (int i = 0; i < DEPLOYMENT_STATUS_COUNT; i++) {
		bool moves = deployment_on_revert((enum deployment_status)i, true, &to);
		if (moves && to == DEPLOYMENT_REVERTING) sum += s->counts[i];
	}
	return sum;
}

static bool has_succeeded(const struct rollout_stage *s)
{
	uint32_t total = total_of(s), succeeded = s->counts[DEPLOYMENT_SUCCEEDED];
	uint32_t minimum = s->min_succeeded < total ? s->min_succeeded : total;
	return succeeded >= minimum && succeeded * 100.0 >= s->success_percent * total;
}

static bool has_failed(const struct rollout_stage *s)
{
	uint32_t errors = errors_of(s);
	if (s->error_percent < 0 || errors <= s->error_floor || errors < s->min_errors) return false;
	return errors * 100.0 > s->error_percent * total_of(s);
}

static bool has_begun(const struct rollout_stage *s)
{
	return s->status == STAGE_RUNNING || s->status == STAGE_BAKING || s->status == STAGE_FINISHED;
}

static bool is_held(const struct rollout_state *in, const struct rollout_stage *s)
{
	if (s->verdict == VERDICT_HOLD) return true;
	bool undecided = s->verdict == VERDICT_INCONCLUSIVE && s->has_gates;
	return undecided && (in->on_inconclusive == ROLLOUT_ON_HOLD || in->on_inconclusive == ROLLOUT_ON_PAUSE);
}

static bool has_passed(const struct rollout_state *in, const struct rollout_stage *s)
{
	if (!s->has_gates || s->verdict == VERDICT_PASS) return true;
	return s->verdict == VERDICT_INCONCLUSIVE && in->on_inconclusive == ROLLOUT_ON_PROMOTE;
}

/* ---- writing the decision ---- */

static void explain(struct rollout_decision *d, enum rollout_reason reason, int stage, uint32_t count, uint32_t total,
                    double percent)
{
	d->reason = reason;
	d->stage = stage;
	d->count = count;
	d->total = total;
	d->percent = percent;
}

static void go(const struct rollout_state *in, struct rollout_decision *d, enum rollout_status to)
{
	assert(!d->moves && rollout_can_move(in->status, to));
	d->moves = true;
	d->again = true;
	d->status = to;
}

static void go_stage(const struct rollout_state *in, struct rollout_decision *d, unsigned stage, enum stage_status to,
                     uint32_t error_floor)
{
	assert(d->stage_move_count < ROLLOUT_STAGES && stage_can_move(in->stages[stage].status, to));
	d->stage_moves[d->stage_move_count++] = (struct rollout_stage_move){stage, to, error_floor};
	d->again = true;
}

/* ---- trouble: verdicts and error conditions ---- */

/* Pauses or reverts. In a rollout that does not run, only a revert means anything. */
static bool act(const struct rollout_state *in, struct rollout_decision *d, bool revert)
{
	if (revert) {
		go(in, d, ROLLOUT_REVERTING);
		return true;
	}
	if (in->status != ROLLOUT_RUNNING) return false;
	go(in, d, ROLLOUT_PAUSED);
	return true;
}

static bool act_on_verdict(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	uint32_t active = count_of(s, DEPLOYMENT_ACTIVE) + s->counts[DEPLOYMENT_SUCCEEDED];
	if (s->verdict == VERDICT_REVERT && act(in, d, in->auto_revert)) {
		explain(d, ROLLOUT_REASON_VERDICT_REVERT, (int)i, active, total_of(s), 0);
		return true;
	}
	bool undecided = s->verdict == VERDICT_INCONCLUSIVE && s->has_gates && s->status != STAGE_FINISHED;
	if (undecided && in->on_inconclusive == ROLLOUT_ON_REVERT && act(in, d, true)) {
		explain(d, ROLLOUT_REASON_VERDICT_INCONCLUSIVE, (int)i, active, total_of(s), 0);
		return true;
	}
	return false;
}

static bool act_on_errors(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	bool revert = in->error_action == ROLLOUT_ON_REVERT;
	if (in->error_action == ROLLOUT_ON_PROMOTE) return false;
	if (!has_failed(s) || !act(in, d, revert)) return false;
	explain(d, ROLLOUT_REASON_ERROR_CONDITION, (int)i, errors_of(s), total_of(s), s->error_percent);
	if (!revert) go_stage(in, d, i, STAGE_ERROR, s->error_floor);
	return true;
}

/* Every stage that has begun is watched for as long as the rollout is not taken back. True when something is to be
 * done. */
static bool act_on_trouble(const struct rollout_state *in, struct rollout_decision *d)
{
	for (unsigned i = 0; i < in->stage_count; i++) {
		const struct rollout_stage *s = &in->stages[i];
		if (!has_begun(s) && s->status != STAGE_ERROR) continue;
		if (act_on_verdict(in, d, i)) return true;
		if (has_begun(s) && act_on_errors(in, d, i)) return true;
	}
	return false;
}

/* ---- running ---- */

/* Over without success: an operator who resumed past these very errors has accepted them, or said so from the start; else it is for one to
 * see. */
static void settle_stalled(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	uint32_t errors = errors_of(s);
	bool accepted = errors <= s->error_floor || in->error_action == ROLLOUT_ON_PROMOTE;
	explain(d, accepted ? ROLLOUT_REASON_STAGE_ACCEPTED : ROLLOUT_REASON_STALLED, (int)i,
	        s->counts[DEPLOYMENT_SUCCEEDED], total_of(s), s->success_percent);
	go_stage(in, d, i, accepted ? STAGE_BAKING : STAGE_ERROR, s->error_floor);
	if (!accepted) go(in, d, ROLLOUT_PAUSED);
}

static void step_running(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	uint32_t succeeded = s->counts[DEPLOYMENT_SUCCEEDED], total = total_of(s);
	if (has_succeeded(s)) {
		explain(d, ROLLOUT_REASON_STAGE_SUCCEEDED, (int)i, succeeded, total, s->success_percent);
		go_stage(in, d, i, STAGE_BAKING, s->error_floor);
	} else if (unfinished_of(s) == 0) {
		settle_stalled(in, d, i);
	} else {
		explain(d, ROLLOUT_REASON_WAITS_DEPLOYMENTS, (int)i, succeeded, total, s->success_percent);
	}
}

static void step_baking(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	int64_t end_ms = s->baking_since_ms + s->soak_ms;
	uint32_t succeeded = s->counts[DEPLOYMENT_SUCCEEDED], total = total_of(s);
	if (is_held(in, s)) {
		explain(d, ROLLOUT_REASON_WAITS_HOLD, (int)i, succeeded, total, 0);
	} else if (in->now_ms < end_ms) {
		explain(d, ROLLOUT_REASON_WAITS_SOAK, (int)i, succeeded, total, 0);
		if (d->wake_ms == 0 || end_ms < d->wake_ms) d->wake_ms = end_ms;
	} else if (!has_passed(in, s)) {
		explain(d, ROLLOUT_REASON_WAITS_GATES, (int)i, succeeded, total, 0);
	} else {
		explain(d, ROLLOUT_REASON_STAGE_FINISHED, (int)i, succeeded, total, 0);
		go_stage(in, d, i, STAGE_FINISHED, s->error_floor);
	}
}

/* A stage begins when all before it are finished. */
static void step_scheduled(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	uint32_t total = total_of(s);
	if (s->needs_approval && !s->is_approved) {
		explain(d, ROLLOUT_REASON_WAITS_APPROVAL, (int)i, 0, total, 0);
		return;
	}
	if (in->now_ms < s->retry_at_ms) {
		explain(d, ROLLOUT_REASON_WAITS_BEGIN, (int)i, 0, total, 0);
		return;
	}
	if (i == 0) explain(d, ROLLOUT_REASON_STARTED, 0, 0, total, 0);
	else if (d->reason != ROLLOUT_REASON_STAGE_FINISHED)
		explain(d, ROLLOUT_REASON_STAGE_FINISHED, (int)i - 1, 0, total, 0);
	go_stage(in, d, i, STAGE_RUNNING, s->error_floor);
}

/* True when the stage is, or becomes by this decision, finished, so that the next one may begin. */
static bool step_stage(const struct rollout_state *in, struct rollout_decision *d, unsigned i)
{
	const struct rollout_stage *s = &in->stages[i];
	switch (s->status) {
	case STAGE_FINISHED: return true;
	case STAGE_RUNNING: step_running(in, d, i); return false;
	case STAGE_SCHEDULED: step_scheduled(in, d, i); return false;
	case STAGE_BAKING:
		step_baking(in, d, i);
		return d->reason == ROLLOUT_REASON_STAGE_FINISHED;
	case STAGE_ERROR:
		explain(d, ROLLOUT_REASON_RESUMED, (int)i, errors_of(s), total_of(s), s->error_percent);
		go_stage(in, d, i, STAGE_RUNNING, errors_of(s));
		return false;
	case STAGE_CANCELLED:
	case STAGE_REVERTED:
	case STAGE_STATUS_COUNT: break;
	}
	assert(!"a running rollout has no cancelled or reverted stage");
	return false;
}

static uint32_t sum_unfinished(const struct rollout_state *in)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < in->stage_count; i++) sum += unfinished_of(&in->stages[i]);
	return sum;
}

static void step_stages(const struct rollout_state *in, struct rollout_decision *d)
{
	bool may_begin = true;
	for (unsigned i = 0; i < in->stage_count && !d->moves; i++) {
		if (in->stages[i].status == STAGE_SCHEDULED && !may_begin) break;
		may_begin = step_stage(in, d, i) && may_begin;
	}
	if (!may_begin || d->again) return;
	uint32_t unfinished = sum_unfinished(in);
	if (unfinished > 0) {
		explain(d, ROLLOUT_REASON_WAITS_STRAGGLERS, (int)in->stage_count - 1, unfinished, unfinished, 0);
		return;
	}
	explain(d, ROLLOUT_REASON_FINISHED, (int)in->stage_count - 1, 0, 0, 0);
	go(in, d, ROLLOUT_FINISHED);
}

/* ---- offers ---- */

static uint32_t sum_active(const struct rollout_state *in)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < in->stage_count; i++) sum += count_of(&in->stages[i], DEPLOYMENT_ACTIVE);
	return sum;
}

/* How many more may be under way, and what stands in the way when it is none. */
static uint32_t room(const struct rollout_state *in, enum rollout_reason *obstacle)
{
	*obstacle = ROLLOUT_REASON_WAITS_WINDOW;
	if (!in->window_is_open) return 0;
	*obstacle = ROLLOUT_REASON_WAITS_RATE;
	uint32_t allowed = in->rate_allowance;
	if (in->max_active == 0) return allowed;
	uint32_t active = sum_active(in), places = active < in->max_active ? in->max_active - active : 0;
	if (places == 0) *obstacle = ROLLOUT_REASON_WAITS_DEPLOYMENTS;
	return allowed < places ? allowed : places;
}

/* Earlier stages first; a held stage holds the later ones too, and of its own all but the canaries. */
static void offer(const struct rollout_state *in, struct rollout_decision *d)
{
	enum rollout_reason obstacle;
	uint32_t left = room(in, &obstacle);
	for (unsigned i = 0; i < in->stage_count; i++) {
		const struct rollout_stage *s = &in->stages[i];
		uint32_t waiting = s->counts[DEPLOYMENT_WAITING];
		if (!has_begun(s)) return;
		if (is_held(in, s)) {
			explain(d, ROLLOUT_REASON_WAITS_HOLD, (int)i, waiting, total_of(s), 0);
			if (in->hold_all || !s->has_gates) return;
			d->held_stage = (int)i;
			d->offers[i] = waiting < left ? waiting : left;
			d->offer_total += d->offers[i];
			return;
		}
		if (waiting > 0 && left == 0 && d->offer_total == 0) {
			explain(d, obstacle, (int)i, waiting, total_of(s), 0);
			return;
		}
		d->offers[i] = waiting < left ? waiting : left;
		d->offer_total += d->offers[i];
		left -= d->offers[i];
	}
}

static void decide_running(const struct rollout_state *in, struct rollout_decision *d)
{
	if (act_on_trouble(in, d)) return;
	step_stages(in, d);
	if (!d->again) offer(in, d);
}

static void decide_starting(const struct rollout_state *in, struct rollout_decision *d)
{
	go(in, d, ROLLOUT_RUNNING);
	explain(d, ROLLOUT_REASON_STARTED, 0, 0, total_of(&in->stages[0]), 0);
}

static void decide_paused(const struct rollout_state *in, struct rollout_decision *d)
{
	if (!act_on_trouble(in, d)) explain(d, ROLLOUT_REASON_PAUSED, -1, sum_active(in), 0, 0);
}

static void decide_finished(const struct rollout_state *in, struct rollout_decision *d)
{
	(void)act_on_trouble(in, d); /* harm may be seen late */
}

/* ---- endings ---- */

static void end_stages(const struct rollout_state *in, struct rollout_decision *d, bool over, enum stage_status to)
{
	for (unsigned i = 0; i < in->stage_count; i++) {
		const struct rollout_stage *s = &in->stages[i];
		if (s->status == STAGE_SCHEDULED) go_stage(in, d, i, STAGE_CANCELLED, s->error_floor);
		else if (over && stage_can_move(s->status, to)) go_stage(in, d, i, to, s->error_floor);
	}
}

static uint32_t sum_status(const struct rollout_state *in, enum deployment_status status)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < in->stage_count; i++) sum += in->stages[i].counts[status];
	return sum;
}

static void decide_stopping(const struct rollout_state *in, struct rollout_decision *d)
{
	uint32_t active = sum_active(in);
	d->cancel_waiting = sum_status(in, DEPLOYMENT_WAITING) > 0;
	d->cancel_offered = sum_status(in, DEPLOYMENT_OFFERED) > 0;
	d->again = d->cancel_waiting || d->cancel_offered;
	bool over = active == 0 && !d->cancel_waiting;
	end_stages(in, d, over, STAGE_CANCELLED);
	explain(d, over ? ROLLOUT_REASON_STOPPED : ROLLOUT_REASON_STOPPING, -1, active, 0, 0);
	if (over) go(in, d, ROLLOUT_STOPPED);
}

/* Also of a rollout that is reverted already: a device that comes back later and says it runs the new release is sent
 * back too. */
static void decide_reverting(const struct rollout_state *in, struct rollout_decision *d)
{
	uint32_t revertible = 0, reverting = sum_status(in, DEPLOYMENT_REVERTING);
	for (unsigned i = 0; i < in->stage_count; i++) revertible += revertible_of(&in->stages[i]);
	d->cancel_waiting = sum_status(in, DEPLOYMENT_WAITING) > 0;
	d->revert_begun = revertible > 0;
	d->again = d->cancel_waiting || d->revert_begun;
	bool over = revertible == 0 && reverting == 0 && !d->cancel_waiting;
	explain(d, over ? ROLLOUT_REASON_REVERTED : ROLLOUT_REASON_REVERTING, -1, revertible + reverting, 0, 0);
	if (in->status == ROLLOUT_REVERTED) return;
	end_stages(in, d, over, STAGE_REVERTED);
	if (over) go(in, d, ROLLOUT_REVERTED);
}

void rollout_decide(const struct rollout_state *in, struct rollout_decision *out)
{
	static void (*const deciders[ROLLOUT_STATUS_COUNT])(const struct rollout_state *, struct rollout_decision *) = {
		[ROLLOUT_STARTING] = decide_starting,   [ROLLOUT_RUNNING] = decide_running,
		[ROLLOUT_PAUSED] = decide_paused,       [ROLLOUT_FINISHED] = decide_finished,
		[ROLLOUT_STOPPING] = decide_stopping,   [ROLLOUT_REVERTING] = decide_reverting,
		[ROLLOUT_REVERTED] = decide_reverting,
	};
	assert(in->status < ROLLOUT_STATUS_COUNT && in->stage_count <= ROLLOUT_STAGES);
	*out = (struct rollout_decision){.status = in->status, .stage = -1, .held_stage = -1};
	if (deciders[in->status] != NULL) deciders[in->status](in, out);
}

void rollout_explain(const struct rollout_decision *d, char *out, size_t out_size)
{
	int n = snprintf(out, out_size, "%s", rollout_reason_text(d->reason));
	if (d->stage >= 0 && n >= 0 && (size_t)n < out_size)
		n += snprintf(out + n, out_size - (size_t)n, ": stage %d", d->stage + 1);
	if (d->total > 0 && n >= 0 && (size_t)n < out_size)
		n += snprintf(out + n, out_size - (size_t)n, ", %u of %u", (unsigned)d->count, (unsigned)d->total);
	if (d->percent > 0 && n >= 0 && (size_t)n < out_size)
		n += snprintf(out + n, out_size - (size_t)n, " (threshold %g %%)", d->percent);
}
