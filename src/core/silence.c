#include "core/silence.h"

#include <assert.h>

#define CLOCK_BACK_MS 60000
#define GAP_MAX_MS ((int64_t)1 << 48) /* keeps the sums below far from overflow whatever the clocks say */

void silence_observe(struct silence_habit *h, int64_t now_ms) {
	if (h->last_ms == 0) {
		h->last_ms = now_ms;
		return;
	}
	int64_t gap = now_ms - h->last_ms;
	if (gap < -CLOCK_BACK_MS) /* the clock was set back: how long it was is not known */
		h->last_ms = now_ms;
	if (gap <= 0)
		return;
	h->last_ms = now_ms;
	if (gap > GAP_MAX_MS)
		gap = GAP_MAX_MS;
	if (h->gap8_ms == 0) { /* the first gap: RFC 6298 takes half of it as the deviation */
		h->gap8_ms = 8 * gap;
		h->dev4_ms = 2 * gap;
		return;
	}
	int64_t error = gap - h->gap8_ms / 8, distance = error < 0 ? -error : error;
	h->gap8_ms += error;
	h->dev4_ms += distance - h->dev4_ms / 4;
}

int64_t silence_limit_ms(const struct silence_habit *h, int64_t interval_ms) {
	assert(interval_ms >= 1);
	int64_t habit = h->gap8_ms / 8 + h->dev4_ms; /* dev4 is four deviations already */
	int64_t floor = interval_ms > GAP_MAX_MS ? GAP_MAX_MS : 3 * interval_ms;
	return habit > floor ? habit : floor;
}

bool silence_is_silent(const struct silence_habit *h, const struct silence_facts *f) {
	int64_t last = h->last_ms > f->since_ms ? h->last_ms : f->since_ms;
	int64_t limit = silence_limit_ms(h, f->interval_ms);
	if (f->now_ms - last > limit)
		return true;
	return f->offline_ms != 0 && f->offline_ms >= last && f->now_ms - f->offline_ms > limit;
}
