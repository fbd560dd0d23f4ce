#include "core/notify_plan.h"

#include <assert.h>

#include "core/retry.h"

void notify_note_change(struct notify_track *t, int64_t now_ms)
{
	if (t->first_ms == 0)
		t->first_ms = now_ms;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* `after` past a moment that was; where the clock went back behind it, past now. */
static int64_t past(int64_t moment_ms, int64_t after_ms, int64_t now_ms)
{
	return least(moment_ms, now_ms) + after_ms;
}

int64_t notify_due_ms(const struct notify_timing *timing, const struct notify_track *t, int64_t now_ms)
{
	int64_t due = NOTIFY_NEVER, rested = t->told_ms == 0 ? 0 : past(t->told_ms, timing->interval_ms, now_ms);
	if (t->first_ms != 0) {
		int64_t gathered = past(t->first_ms, timing->wait_ms, now_ms);
		due = gathered > rested ? gathered : rested;
	}
	if (t->was_firing)
		due = least(due, past(t->told_ms, timing->repeat_ms, now_ms));
	if (t->is_waiting)
		due = least(due, past(now_ms, timing->interval_ms, now_ms));
	return due;
}

enum notify_move notify_look(const struct notify_timing *timing, struct notify_track *t, bool changed, bool fires, bool waits, int64_t now_ms)
{
	bool is_repeat = t->was_firing && fires && past(t->told_ms, timing->repeat_ms, now_ms) <= now_ms;
	t->first_ms = 0;
	t->is_waiting = waits;
	if (!changed && !is_repeat) {
		t->was_firing = t->was_firing && fires; /* what fires no longer is not repeated */
		return NOTIFY_NOTHING;
	}
	t->told_ms = now_ms;
	t->was_firing = fires;
	t->seq++;
	return NOTIFY_TELL;
}

int64_t notify_rate_turn_ms(int64_t most, int64_t nth_ms, int64_t *slot_ms, int64_t now_ms)
{
	nth_ms = least(nth_ms, now_ms); /* the clock went back */
	if (most <= 0 || nth_ms == 0 || now_ms - nth_ms >= NOTIFY_RATE_WINDOW_MS)
		return now_ms;
	int64_t first = nth_ms + NOTIFY_RATE_WINDOW_MS, next = *slot_ms + NOTIFY_RATE_WINDOW_MS / most;
	*slot_ms = least(next > first ? next : first, now_ms + NOTIFY_RATE_AHEAD_MS);
	return *slot_ms;
}

enum notify_outcome notify_judge_http(int status)
{
	if (status >= 200 && status < 300)
		return NOTIFY_DELIVERED;
	return status < 200 || status == 408 || status == 429 || status >= 500 ? NOTIFY_RETRY : NOTIFY_REFUSED;
}

enum notify_outcome notify_judge_smtp(bool is_done, int reply)
{
	if (is_done)
		return NOTIFY_DELIVERED;
	return reply >= 500 && reply < 600 ? NOTIFY_REFUSED : NOTIFY_RETRY;
}

int64_t notify_retry_ms(int64_t attempts, int64_t retry_after_ms, uint64_t random)
{
	assert(attempts >= 1 && retry_after_ms >= 0);
	int64_t delay = retry_delay_ms((unsigned)least(attempts - 1, 30), NOTIFY_RETRY_BASE_MS, NOTIFY_RETRY_CAP_MS, random);
	int64_t asked = least(retry_after_ms, NOTIFY_GIVE_UP_MS);
	return asked > delay ? asked : delay;
}

bool notify_circuit_is_open(const struct notify_circuit *c)
{
	return c->failures >= NOTIFY_CIRCUIT_FAILURES;
}

unsigned notify_circuit_room(const struct notify_circuit *c, int64_t now_ms)
{
	unsigned limit = notify_circuit_is_open(c) ? 1 : NOTIFY_CIRCUIT_PARALLEL;
	if (c->closed_until_ms > now_ms && c->closed_until_ms <= now_ms + NOTIFY_GIVE_UP_MS)
		return 0;
	return c->running < limit ? limit - c->running : 0;
}

void notify_circuit_begin(struct notify_circuit *c)
{
	c->running++;
}

void notify_circuit_end(struct notify_circuit *c, enum notify_outcome outcome, int64_t retry_after_ms, uint64_t random, int64_t now_ms)
{
	assert(c->running > 0);
	c->running--;
	if (outcome != NOTIFY_RETRY) { /* it answers: also a refusal is an answer */
		c->failures = 0;
		c->closed_until_ms = 0;
		return;
	}
	if (c->failures < 1000)
		c->failures++;
	if (retry_after_ms > 0)
		c->closed_until_ms = now_ms + least(retry_after_ms, NOTIFY_GIVE_UP_MS);
	if (notify_circuit_is_open(c)) {
		int64_t until = now_ms + notify_retry_ms(c->failures - NOTIFY_CIRCUIT_FAILURES + 1, retry_after_ms, random);
		c->closed_until_ms = until > c->closed_until_ms ? until : c->closed_until_ms;
	}
}
