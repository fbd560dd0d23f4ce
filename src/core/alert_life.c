#include "core/alert_life.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

_Static_assert(sizeof(struct alert_life) == 64, "one cache line, stored as it is");

const char *alert_state_name(enum alert_state s)
{
	static const char *const names[ALERT_STATES] = {
#define X(name, text) [ALERT_STATE_##name] = text,
		ALERT_STATE_TABLE(X)
#undef X
	};
	return s < ALERT_STATES ? names[s] : "";
}

const char *alert_reason_name(enum alert_reason r)
{
	static const char *const names[] = {
		[ALERT_REASON_NONE] = "none", [ALERT_REASON_OVER] = "over", [ALERT_REASON_CLEARED] = "cleared", [ALERT_REASON_NO_DATA] = "no_data",
	};
	return names[r];
}

static const bool moves[ALERT_STATES][ALERT_STATES] = {
	[ALERT_STATE_INACTIVE] = {[ALERT_STATE_PENDING] = true, [ALERT_STATE_FIRING] = true},
	[ALERT_STATE_PENDING] = {[ALERT_STATE_FIRING] = true, [ALERT_STATE_INACTIVE] = true, [ALERT_STATE_RESOLVED] = true},
	[ALERT_STATE_FIRING] = {[ALERT_STATE_RESOLVED] = true},
	[ALERT_STATE_RESOLVED] = {[ALERT_STATE_PENDING] = true, [ALERT_STATE_FIRING] = true, [ALERT_STATE_INACTIVE] = true},
};

bool alert_can_move(enum alert_state from, enum alert_state to)
{
	return from < ALERT_STATES && to < ALERT_STATES && moves[from][to];
}

bool alert_policy_is_valid(const struct alert_policy *p)
{
	return p->for_ms >= 0 && p->keep_ms >= 0 && p->stale_ms >= 0 && p->k <= p->n && p->n <= ALERT_WINDOW_MAX && (p->k > 0) == (p->n > 0) &&
	       (p->k == 0 || p->for_ms == 0);
}

/* ---- flapping ---- */

static float decayed(float penalty, int64_t passed_ms)
{
	return passed_ms <= 0 ? penalty : penalty * exp2f(-(float)passed_ms / (float)ALERT_PENALTY_HALF_LIFE_MS);
}

/* The penalty is kept as of the beginning of the state: that is when it is read and changed. */
float alert_life_penalty(const struct alert_life *life, int64_t now_ms)
{
	return decayed(life->penalty, now_ms - life->since_ms);
}

static int64_t longer_delay(const struct alert_policy *p, int64_t delay_ms)
{
	int64_t base = delay_ms > ALERT_DELAY_LEAST_MS ? delay_ms : ALERT_DELAY_LEAST_MS;
	int64_t grown = (int64_t)((float)base * ALERT_DELAY_GROWTH);
	int64_t most = p->keep_ms > ALERT_DELAY_MAX_MS ? p->keep_ms : ALERT_DELAY_MAX_MS;
	return grown < most ? grown : most;
}

static void note_fire(const struct alert_policy *p, struct alert_life *life, int64_t now_ms)
{
	float penalty = alert_life_penalty(life, now_ms);
	if (penalty < ALERT_PENALTY_REUSE) /* one in six hours is no flapping */
		life->is_suppressed = false;
	bool again = p->is_damped && life->flaps > 0 && penalty >= 0.5f;
	life->delay_ms = again ? longer_delay(p, life->delay_ms) : p->keep_ms;
	life->penalty = penalty + 1;
	life->flaps++;
	if (life->penalty > ALERT_PENALTY_SUPPRESS)
		life->is_suppressed = true;
}

/* ---- moving ---- */

static struct alert_step move(const struct alert_policy *p, struct alert_life *life, enum alert_state to, enum alert_reason reason, int64_t now_ms)
{
	struct alert_step step = {true, (enum alert_state)life->state, to, reason};
	assert(alert_can_move(step.from, to));
	if (to == ALERT_STATE_INACTIVE) {
		*life = (struct alert_life){0};
		return step;
	}
	if (to == ALERT_STATE_FIRING)
		note_fire(p, life, now_ms);
	else
		life->penalty = alert_life_penalty(life, now_ms);
	if (to == ALERT_STATE_RESOLVED) {
		life->window = 0;
		life->samples = 0;
		life->over_ms = life->under_ms = 0;
	}
	if (to == ALERT_STATE_FIRING)
		life->fired_ms = now_ms;
	life->state = (uint8_t)to;
	life->since_ms = now_ms;
	return step;
}

static int popcount16(uint16_t bits)
{
	int count = 0;
	for (; bits != 0; bits &= (uint16_t)(bits - 1))
		count++;
	return count;
}

static void note_level(const struct alert_policy *p, struct alert_life *life, enum alert_level level, int64_t now_ms)
{
	if (level == ALERT_LEVEL_STALE) {
		life->is_stale = true;
		life->over_ms = life->under_ms = 0; /* nobody knows whether it lasted */
		return;
	}
	life->is_stale = false;
	life->level = (uint8_t)level;
	life->data_ms = now_ms;
	if (p->n > 0) {
		life->window = (uint16_t)((life->window << 1 | (level == ALERT_LEVEL_OVER)) & ((1u << p->n) - 1));
		life->samples = life->samples < p->n ? (uint8_t)(life->samples + 1) : p->n;
	}
	if (level != ALERT_LEVEL_OVER)
		life->over_ms = 0;
	else if (life->over_ms == 0)
		life->over_ms = now_ms;
	if (level != ALERT_LEVEL_UNDER)
		life->under_ms = 0;
	else if (life->under_ms == 0)
		life->under_ms = now_ms;
}

static bool is_due(const struct alert_policy *p, const struct alert_life *life, int64_t now_ms)
{
	if (p->n > 0)
		return popcount16(life->window) >= p->k;
	return life->over_ms > 0 && now_ms - life->over_ms >= p->for_ms;
}

static bool is_without_data(const struct alert_policy *p, const struct alert_life *life, int64_t now_ms)
{
	return p->stale_ms > 0 && now_ms - life->data_ms >= p->stale_ms;
}

static bool is_calling(const struct alert_policy *p, const struct alert_life *life)
{
	return p->n > 0 ? life->window != 0 : life->over_ms > 0;
}

static bool is_remembered(const struct alert_life *life, int64_t now_ms)
{
	return life->flaps > 0 && alert_life_penalty(life, now_ms) >= 0.5f;
}

static struct alert_step step_quiet(const struct alert_policy *p, struct alert_life *life, int64_t now_ms)
{
	if (is_due(p, life, now_ms))
		return move(p, life, ALERT_STATE_FIRING, ALERT_REASON_OVER, now_ms);
	if (is_calling(p, life))
		return move(p, life, ALERT_STATE_PENDING, ALERT_REASON_OVER, now_ms);
	if (life->state == ALERT_STATE_RESOLVED && !is_remembered(life, now_ms))
		return move(p, life, ALERT_STATE_INACTIVE, ALERT_REASON_NONE, now_ms);
	return (struct alert_step){false, (enum alert_state)life->state, (enum alert_state)life->state, ALERT_REASON_NONE};
}

static struct alert_step step_pending(const struct alert_policy *p, struct alert_life *life, int64_t now_ms)
{
	enum alert_state back = is_remembered(life, now_ms) ? ALERT_STATE_RESOLVED : ALERT_STATE_INACTIVE;
	if (is_due(p, life, now_ms))
		return move(p, life, ALERT_STATE_FIRING, ALERT_REASON_OVER, now_ms);
	if (is_without_data(p, life, now_ms))
		return move(p, life, back, ALERT_REASON_NO_DATA, now_ms);
	if (!is_calling(p, life) && !life->is_stale)
		return move(p, life, back, ALERT_REASON_CLEARED, now_ms);
	return (struct alert_step){false, ALERT_STATE_PENDING, ALERT_STATE_PENDING, ALERT_REASON_NONE};
}

static struct alert_step step_firing(const struct alert_policy *p, struct alert_life *life, int64_t now_ms)
{
	if (life->under_ms > 0 && now_ms - life->under_ms >= life->delay_ms)
		return move(p, life, ALERT_STATE_RESOLVED, ALERT_REASON_CLEARED, now_ms);
	if (is_without_data(p, life, now_ms))
		return move(p, life, ALERT_STATE_RESOLVED, ALERT_REASON_NO_DATA, now_ms);
	return (struct alert_step){false, ALERT_STATE_FIRING, ALERT_STATE_FIRING, ALERT_REASON_NONE};
}

static int64_t back_by(int64_t at_ms, int64_t back_ms)
{
	return at_ms == 0 ? 0 : at_ms - back_ms > 1 ? at_ms - back_ms : 1; /* 0 is never */
}

void alert_life_follow_clock(struct alert_life *life, int64_t now_ms)
{
	int64_t newest_ms = life->since_ms > life->data_ms ? life->since_ms : life->data_ms, back_ms = newest_ms - now_ms;
	if (back_ms <= ALERT_CLOCK_BACK_MS)
		return;
	life->since_ms = back_by(life->since_ms, back_ms);
	life->data_ms = back_by(life->data_ms, back_ms);
	life->fired_ms = back_by(life->fired_ms, back_ms);
	life->over_ms = back_by(life->over_ms, back_ms);
	life->under_ms = back_by(life->under_ms, back_ms);
}

struct alert_step alert_life_step(const struct alert_policy *p, struct alert_life *life, enum alert_level level, int64_t now_ms)
{
	assert(alert_policy_is_valid(p) && life->state < ALERT_STATES);
	alert_life_follow_clock(life, now_ms);
	if (now_ms < life->since_ms)
		now_ms = life->since_ms;
	if (now_ms < life->data_ms)
		now_ms = life->data_ms;
	if (level != ALERT_LEVEL_NONE)
		note_level(p, life, level, now_ms);
	if (life->is_suppressed && alert_life_penalty(life, now_ms) < ALERT_PENALTY_REUSE)
		life->is_suppressed = false;
	struct alert_step step;
	if (life->state == ALERT_STATE_FIRING)
		step = step_firing(p, life, now_ms);
	else if (life->state == ALERT_STATE_PENDING)
		step = step_pending(p, life, now_ms);
	else
		step = step_quiet(p, life, now_ms);
	if (!step.moves && life->state == ALERT_STATE_INACTIVE)
		*life = (struct alert_life){0};
	return step;
}

/* Halving from `from` down to `to` takes this long; a little more, so that it is below then. */
static int64_t decay_ms(float from, float to)
{
	return from <= to ? 0 : (int64_t)(log2f(from / to) * (float)ALERT_PENALTY_HALF_LIFE_MS) + 10000;
}

int64_t alert_life_wake_ms(const struct alert_policy *p, const struct alert_life *life)
{
	int64_t wake = INT64_MAX, at;
	switch ((enum alert_state)life->state) {
	case ALERT_STATE_PENDING:
		if (p->n == 0 && life->over_ms > 0)
			wake = life->over_ms + p->for_ms;
		break;
	case ALERT_STATE_FIRING:
		if (life->under_ms > 0)
			wake = life->under_ms + life->delay_ms;
		break;
	case ALERT_STATE_RESOLVED:
		return life->since_ms + decay_ms(life->penalty, 0.5f);
	case ALERT_STATE_INACTIVE:
	case ALERT_STATES:
		return INT64_MAX;
	}
	at = p->stale_ms > 0 ? life->data_ms + p->stale_ms : INT64_MAX;
	return at < wake ? at : wake;
}

struct alert_step alert_life_end(struct alert_life *life, int64_t now_ms)
{
	static const struct alert_policy none = {0};
	struct alert_step step = {false, (enum alert_state)life->state, ALERT_STATE_INACTIVE, ALERT_REASON_NONE};
	if (life->state == ALERT_STATE_FIRING)
		return move(&none, life, ALERT_STATE_RESOLVED, ALERT_REASON_CLEARED, now_ms > life->since_ms ? now_ms : life->since_ms);
	step.moves = life->state != ALERT_STATE_INACTIVE;
	*life = (struct alert_life){0};
	return step;
}

/* ---- storms ---- */

uint32_t alert_storm_limit(uint32_t cohort_devices)
{
	double share = ALERT_STORM_SHARE * cohort_devices;
	return share > ALERT_STORM_LEAST ? (uint32_t)share : ALERT_STORM_LEAST;
}

static void turn(struct alert_storm *s, int64_t now_ms)
{
	int64_t at = now_ms / (ALERT_STORM_WINDOW_MS / ALERT_STORM_SLOTS);
	if (s->slot_at - at > ALERT_STORM_SLOTS) /* the clock was set back: what is recent stays so */
		s->slot_at = at;
	if (at - s->slot_at > ALERT_STORM_SLOTS)
		s->slot_at = at - ALERT_STORM_SLOTS;
	while (s->slot_at < at)
		s->slot[++s->slot_at % ALERT_STORM_SLOTS] = 0;
}

uint32_t alert_storm_recent(const struct alert_storm *s, int64_t now_ms)
{
	struct alert_storm copy = *s;
	uint32_t sum = 0;
	turn(&copy, now_ms);
	for (int i = 0; i < ALERT_STORM_SLOTS; i++)
		sum += copy.slot[i];
	return sum;
}

bool alert_storm_fire(struct alert_storm *s, uint32_t limit, int64_t now_ms)
{
	turn(s, now_ms);
	s->slot[s->slot_at % ALERT_STORM_SLOTS]++;
	s->firing++;
	if (s->is_on || alert_storm_recent(s, now_ms) <= limit)
		return false;
	s->is_on = true;
	return true;
}

void alert_storm_resolve(struct alert_storm *s)
{
	if (s->firing > 0)
		s->firing--;
}

bool alert_storm_tick(struct alert_storm *s, uint32_t limit, int64_t now_ms)
{
	turn(s, now_ms);
	if (!s->is_on || s->firing > limit / 2 || alert_storm_recent(s, now_ms) > limit / 2)
		return false;
	s->is_on = false;
	return true;
}
