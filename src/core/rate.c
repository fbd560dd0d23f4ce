#include "core/rate.h"

#include <assert.h>
#include <math.h>

bool rate_is_valid(const struct rate_config *c)
{
	/* written so that NaN fails */
	if (!(c->base_per_minute >= 0 && c->base_per_minute <= RATE_MAX_PER_MINUTE)) return false;
	if (c->base_per_minute == 0 || c->criterion == RATE_CONSTANT) return true;
	if (c->criterion != RATE_BY_NOTIFIED && c->criterion != RATE_BY_SUCCEEDED) return false;
	if (!(c->increment_factor >= 1 && c->increment_factor <= 5) || c->increase_every == 0) return false;
	if (c->maximum_per_minute == 0) return true;
	return c->maximum_per_minute >= c->base_per_minute && c->maximum_per_minute <= RATE_MAX_PER_MINUTE;
}

double rate_per_minute(const struct rate_config *c, uint32_t notified, uint32_t succeeded)
{
	assert(rate_is_valid(c));
	if (c->base_per_minute == 0 || c->criterion == RATE_CONSTANT) return c->base_per_minute;
	uint32_t steps = (c->criterion == RATE_BY_NOTIFIED ? notified : succeeded) / c->increase_every;
	double maximum = c->maximum_per_minute > 0 ? c->maximum_per_minute : RATE_MAX_PER_MINUTE;
	return fmin(c->base_per_minute * pow(c->increment_factor, steps), maximum); /* pow may be infinite */
}

uint32_t rate_allowance(const struct rate_config *c, struct rate_state *s, int64_t now_ms, uint32_t notified,
                        uint32_t succeeded)
{
	double rate = rate_per_minute(c, notified, succeeded);
	if (rate == 0) return RATE_UNLIMITED;
	double capacity = fmax(1, rate / 6);
	if (s->last_ms == 0) s->tokens = 1;
	else if (now_ms > s->last_ms) s->tokens += (double)(now_ms - s->last_ms) * rate / 60000;
	s->tokens = fmin(s->tokens, capacity);
	s->last_ms = now_ms;
	return (uint32_t)(s->tokens + 1e-9); /* a whole token may have come in parts that do not add up to 1 */
}

void rate_take(const struct rate_config *c, struct rate_state *s, uint32_t count)
{
	if (c->base_per_minute == 0) return;
	assert(count <= (uint32_t)(s->tokens + 1e-9));
	s->tokens = fmax(0, s->tokens - count);
}

int64_t rate_wait_ms(const struct rate_config *c, const struct rate_state *s, uint32_t notified, uint32_t succeeded)
{
	double rate = rate_per_minute(c, notified, succeeded);
	if (rate == 0 || s->last_ms == 0 || s->tokens + 1e-9 >= 1) return 0;
	return (int64_t)ceil((1 - s->tokens) * 60000 / rate);
}
