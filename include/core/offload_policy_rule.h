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

/* What the budget counts, and over which time. */
enum offload_unit { OFFLOAD_PER_HOUR, OFFLOAD_PER_DAY, OFFLOAD_BYTES_PER_HOUR, OFFLOAD_BYTES_PER_DAY };
#define OFFLOAD_ANY_RSSI INT16_MIN

struct offload_rule {
	uint16_t margin;       /* below it an inference is hard; 0: nothing is */
	uint16_t audit;        /* share of the easy ones that is sent all the same, so that the margin can be judged */
	uint8_t link_least;    /* enum offload_link */
	uint8_t battery_least; /* percent; 0: any */
	int16_t rssi_least;    /* dBm; OFFLOAD_ANY_RSSI: any */
	uint32_t rate_least;   /* kbit/s; 0: any */
	uint8_t unit;          /* enum offload_unit */
	uint32_t budget;       /* at most so many in that time, and so many at once; 0: none */
};
struct offload_state {
	uint32_t tokens;           /* that are left */
	uint32_t parts;            /* of the next one: milliseconds of the hour or the day */
	uint32_t last_ms;
	uint32_t random;           /* of the audit; seed it with anything but 0 */
	bool is_started;
};
/* The device, at this moment. What it does not know it does not have: a rule about it holds the inference back. */
struct offload_now {
	enum offload_link link;
	int16_t rssi_dbm;         /* OFFLOAD_ANY_RSSI: not known */
	uint32_t rate_kbps;       /* 0: not known */
	uint32_t battery_percent; /* 0..100; above: not known, or mains */
	uint32_t size_bytes;      /* of what would be sent */
	uint32_t ms;
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

static inline uint32_t offload_window_ms(const struct offload_rule *r)
{
	return r->unit == OFFLOAD_PER_DAY || r->unit == OFFLOAD_BYTES_PER_DAY ? 86400000u : 3600000u;
}

/* Tokens come back evenly over the hour or the day; the bucket holds as much as one of them has, and begins full. */
static inline void offload_refill(const struct offload_rule *r, struct offload_state *s, uint32_t now_ms)
{
	uint32_t passed = now_ms - s->last_ms, window = offload_window_ms(r);
	uint64_t parts = (uint64_t)s->parts + (uint64_t)(passed > window ? window : passed) * r->budget;
	uint64_t whole = parts / window + s->tokens;
	if (!s->is_started) whole = r->budget;
	s->is_started = true;
	s->last_ms = now_ms;
	s->parts = (uint32_t)(parts % window);
	s->tokens = whole > r->budget ? r->budget : (uint32_t)whole;
}

static inline bool offload_is_audit(const struct offload_rule *r, struct offload_state *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random % OFFLOAD_ONE < r->audit;
}

static inline bool offload_has_link(const struct offload_rule *r, const struct offload_now *now)
{
	if (now->link == OFFLOAD_LINK_NONE || (unsigned)now->link < r->link_least) return false;
	if (r->rssi_least != OFFLOAD_ANY_RSSI && (now->rssi_dbm == OFFLOAD_ANY_RSSI || now->rssi_dbm < r->rssi_least)) return false;
	return now->rate_kbps >= r->rate_least;
}

/* `margin`: top-1 minus top-2 confidence in 1/10000. A sent one takes a token, or its bytes. */
static inline enum offload_verdict offload_decide(const struct offload_rule *r, struct offload_state *s, uint32_t margin,
                                                  const struct offload_now *now)
{
	bool is_hard = margin < r->margin;
	uint32_t price = r->unit >= OFFLOAD_BYTES_PER_HOUR ? now->size_bytes : 1;
	offload_refill(r, s, now->ms);
	if (!is_hard && !offload_is_audit(r, s)) return OFFLOAD_LOCAL;
	if (!offload_has_link(r, now)) return is_hard ? OFFLOAD_NO_LINK : OFFLOAD_LOCAL;
	if (now->battery_percent < r->battery_least) return is_hard ? OFFLOAD_NO_BATTERY : OFFLOAD_LOCAL;
	if (s->tokens == 0 || s->tokens < price) return is_hard ? OFFLOAD_NO_BUDGET : OFFLOAD_LOCAL;
	s->tokens -= price;
	return is_hard ? OFFLOAD_HARD : OFFLOAD_AUDIT;
}

#endif
