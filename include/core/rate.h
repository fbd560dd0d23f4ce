/* How many devices may be offered a deployment now: constant, or exponential as AWS IoT Jobs has it (base rate,
 * increment factor, rate increase criteria, maximum). A token bucket on milliseconds; the state is plain and may be
 * stored. */
#ifndef AVIARY_CORE_RATE_H
#define AVIARY_CORE_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum rate_criterion { RATE_CONSTANT, RATE_BY_NOTIFIED, RATE_BY_SUCCEEDED };

struct rate_config {
	double base_per_minute;    /* 0 = unlimited; else > 0, at most RATE_MAX_PER_MINUTE */
	double increment_factor;   /* 1..5; each `increase_every` multiplies the rate by it */
	double maximum_per_minute; /* 0 = RATE_MAX_PER_MINUTE; else >= base */
	enum rate_criterion criterion;
	uint32_t increase_every; /* devices notified or succeeded; >= 1 unless constant */
};
#define RATE_MAX_PER_MINUTE 1e6
#define RATE_UNLIMITED UINT32_MAX

/* Zeroed memory is the start: one token. */
struct rate_state {
	int64_t last_ms; /* 0 = never used */
	double tokens;
};

bool rate_is_valid(const struct rate_config *c);
/* Devices a minute at this point; 0 = unlimited. */
double rate_per_minute(const struct rate_config *c, uint32_t notified, uint32_t succeeded);
/* Fills the bucket up to now (at most ten seconds' worth, at least one token) and says how many may be taken. A clock
 * that goes back gives nothing and is taken as the new time. */
uint32_t rate_allowance(const struct rate_config *c, struct rate_state *s, int64_t now_ms, uint32_t notified,
                        uint32_t succeeded);
/* Takes what was really offered, at most the last allowance. */
void rate_take(const struct rate_config *c, struct rate_state *s, uint32_t count);
/* Milliseconds until the next token; 0 = now. */
int64_t rate_wait_ms(const struct rate_config *c, const struct rate_state *s, uint32_t notified, uint32_t succeeded);

#endif
