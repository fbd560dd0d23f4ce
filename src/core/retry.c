#include "core/retry.h"

#include <assert.h>

/* base * 2^attempt, capped, without overflow. */
static int64_t step(unsigned attempt, int64_t base_ms, int64_t cap_ms)
{
	int64_t d = base_ms;
	for (unsigned i = 0; i < attempt && d < cap_ms; i++) d = d > cap_ms / 2 ? cap_ms : d * 2;
	return d < cap_ms ? d : cap_ms;
}

int64_t retry_delay_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random)
{
	assert(base_ms >= 1 && cap_ms >= base_ms);
	int64_t d = step(attempt, base_ms, cap_ms);
	uint64_t jitter = (uint64_t)(d / 2);
	return d - (int64_t)(random % (jitter + 1));
}

int64_t retry_spread_ms(int64_t interval_ms, unsigned percent, uint64_t random)
{
	assert(interval_ms >= 0 && interval_ms <= INT64_MAX / 200 && percent <= 100);
	int64_t reach = interval_ms * (int64_t)percent / 100;
	return interval_ms - reach + (int64_t)(random % (2 * (uint64_t)reach + 1));
}
