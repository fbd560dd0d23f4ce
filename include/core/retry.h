/* How long to wait before the next try: exponential, capped, with jitter in the upper half ("equal jitter"), so that
 * many who failed together do not return together, and none returns at once. The random value is the caller's. */
#ifndef AVIARY_CORE_RETRY_H
#define AVIARY_CORE_RETRY_H

#include <stdint.h>

/* attempt from 0; base_ms >= 1; cap_ms >= base_ms. With d = min(cap, base * 2^attempt) the result is in [d - d/2, d].
 * */
int64_t retry_delay_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random);
/* Spreads a fixed interval by +-percent (0..100) of itself. */
int64_t retry_spread_ms(int64_t interval_ms, unsigned percent, uint64_t random);

#endif
