/* The device's side of offloading: whether this inference goes to the operator's endpoint.
 *
 * C99, integers, <stdint.h> and <stdbool.h> alone, so that the agent's own header can say the same words; core/offload_policy.h
 * makes the rule that is distributed. No clock: the caller's milliseconds, from any start, may wrap.
 */
#ifndef AVIARY_CORE_OFFLOAD_POLICY_RULE_H
#define AVIARY_CORE_OFFLOAD_POLICY_RULE_H

#include <stdbool.h>
#include <stdint.h>

#define OFFLOAD_ONE 10000u /* margins and shares count in 1/10000 */

enum offload_link { OFFLOAD_LINK_NONE, OFFLOAD_LINK_BAD, OFFLOAD_LINK_METERED, OFFLOAD_LINK_GOOD };

struct offload_rule {
	uint16_t margin;       /* below it an inference is hard; 0: nothing is */
	uint16_t audit;        /* share of the easy ones that is sent all the same, so that the margin can be judged */
	uint8_t link_least;    /* enum offload_link */
	uint8_t battery_least; /* percent; 0: any */
	uint32_t per_hour;     /* at most so many in an hour, and so many at once; 0: none */
};
struct offload_state {
	uint32_t tokens;           /* that are left */
	uint32_t parts;            /* of the next one, in 1/3600000 */
	uint32_t last_ms;
	uint32_t random;           /* of the audit; seed it with anything but 0 */
	bool is_started;
};

enum offload_verdict {
	OFFLOAD_LOCAL,       /* the device is sure */
	OFFLOAD_HARD,        /* send: the margin is small */
	OFFLOAD_AUDIT,       /* send: drawn */
	OFFLOAD_NO_LINK,     /* hard, but these keep it here */
	OFFLOAD_NO_BATTERY,
	OFFLOAD_NO_BUDGET
};
static inline bool offload_sends(enum offload_verdict v)
{
	return v == OFFLOAD_HARD || v == OFFLOAD_AUDIT;
}

/* Tokens come back evenly over the hour; the bucket holds an hour's worth, and begins full. */
static inline void offload_refill(const struct offload_rule *r, struct offload_state *s, uint32_t now_ms)
{
	uint32_t passed = now_ms - s->last_ms;
	uint64_t parts = (uint64_t)s->parts + (uint64_t)(passed > 3600000u ? 3600000u : passed) * r->per_hour;
	uint64_t whole = parts / 3600000u + s->tokens;
	if (!s->is_started) whole = r->per_hour;
	s->is_started = true;
	s->last_ms = now_ms;
	s->parts = (uint32_t)(parts % 3600000u);
	s->tokens = whole > r->per_hour ? r->per_hour : (uint32_t)whole;
}

static inline bool offload_is_audit(const struct offload_rule *r, struct offload_state *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random % OFFLOAD_ONE < r->audit;
}

/* `margin`: top-1 minus top-2 confidence in 1/10000. `battery_percent` 0..100; above 100: not known, or mains. A sent one takes
 * a token. */
static inline enum offload_verdict offload_decide(const struct offload_rule *r, struct offload_state *s, uint32_t margin,
                                                  enum offload_link link, uint32_t battery_percent, uint32_t now_ms)
{
	bool is_hard = margin < r->margin;
	offload_refill(r, s, now_ms);
	if (!is_hard && !offload_is_audit(r, s)) return OFFLOAD_LOCAL;
	if (link == OFFLOAD_LINK_NONE || (unsigned)link < r->link_least) return is_hard ? OFFLOAD_NO_LINK : OFFLOAD_LOCAL;
	if (battery_percent < r->battery_least) return is_hard ? OFFLOAD_NO_BATTERY : OFFLOAD_LOCAL;
	if (s->tokens == 0) return is_hard ? OFFLOAD_NO_BUDGET : OFFLOAD_LOCAL;
	s->tokens--;
	return is_hard ? OFFLOAD_HARD : OFFLOAD_AUDIT;
}

#endif
