/* The server's side of offloading: the policy that is distributed as configuration, the margin that reaches a target, and
 * whether rate, agreement and cost stay within bounds.
 *
 * Devices report pairs: the margin of an inference, whether the endpoint agreed with the device, what it cost. Of those that
 * they kept, they report only how many there were, and some margins (of the audit). So what lies above the margin in use is only
 * known by its audit: a margin is raised in bounded steps, and lowered at once. One class of hardware at a time. Pure.
 */
#ifndef AVIARY_CORE_OFFLOAD_POLICY_H
#define AVIARY_CORE_OFFLOAD_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/names.h"
#include "core/offload_policy_rule.h"

/* The member `offload` of a desired document, by model:
 *   {"kws":{"margin":0.12,"audit":0.01,"link":"metered","battery":20,"per_hour":60,"endpoint":"https://...","rev":3}}
 * margin and audit from 0 to 1, in steps of 1/10000; battery in percent. The budget is one of per_hour, per_day (inferences),
 * bytes_per_hour, bytes_per_day; rssi (dBm) and rate (kbit/s) are there where the link's rule has them. */
enum { OFFLOAD_ENDPOINT_BYTES = 256, OFFLOAD_POLICY_BYTES = 1024 };
struct offload_policy {
	struct offload_rule rule;
	char endpoint[OFFLOAD_ENDPOINT_BYTES]; /* "": nothing is offloaded */
	int64_t rev;
};
const char *offload_link_name(enum offload_link l); /* "none" "bad" "metered" "good" */
const char *offload_unit_name(enum offload_unit u); /* "per_hour" "per_day" "bytes_per_hour" "bytes_per_day" */
/* One model's object. Strict: unknown members, wrong types and bounds are refused with their pointer. `margin` and `endpoint` are
 * required; else: no audit, link metered or better, any rssi, rate and battery, 60 an hour, rev 0. An endpoint begins with https://. */
AVIARY_MUST_CHECK enum err offload_policy_parse(struct offload_policy *p, const char *text, size_t len, struct fault *f);
void offload_policy_print(const struct offload_policy *p, struct buf *out); /* reads back equal */

/* ---- what came back ---- */

#define OFFLOAD_BINS 256
struct offload_stats {
	uint64_t sent[OFFLOAD_BINS];    /* hard ones, by margin; bin i holds [i, i+1)/256 */
	uint64_t agreed[OFFLOAD_BINS];
	uint64_t audited[OFFLOAD_BINS]; /* easy ones that were sent all the same */
	uint64_t audit_agreed[OFFLOAD_BINS];
	uint64_t inferences;            /* all of them, sent or kept; at least the sent */
	uint64_t blocked;               /* hard, but kept by link, battery or budget */
	double cost;                    /* of what was sent, in the operator's unit */
};
/* One pair. `margin` in 1/10000, at most OFFLOAD_ONE; ERR_INVALID: above, or a cost that is negative or not finite. Inferences are
 * counted by themselves (offload_count). */
AVIARY_MUST_CHECK enum err offload_note(struct offload_stats *s, uint32_t margin, bool is_audit, bool agreed, double cost);
void offload_count(struct offload_stats *s, uint64_t inferences, uint64_t blocked);
/* What a device reports (docs/protocol.md, "Offloading"). Counts of pairs by margin, in `bins` equal steps from 0 to 1. */
struct offload_report {
	uint64_t inferences, sent, blocked;   /* sent: hard ones, whether or not an answer came */
	uint64_t answered, agreed;            /* of hard ones */
	uint64_t audited, audit_agreed;
	double cost;                          /* sum */
	const uint64_t *margins, *sure;       /* of hard pairs, of audits; NULL: none */
	unsigned margin_bins, sure_bins;      /* each divides OFFLOAD_BINS, or is OFFLOAD_BINS */
};
/* Takes it whole, or refuses it: ERR_INVALID where its numbers contradict each other. The pairs stand for all that were sent, also for those
 * that no answer came to. */
AVIARY_MUST_CHECK enum err offload_take(struct offload_stats *s, const struct offload_report *r, uint16_t margin);
void offload_merge(struct offload_stats *into, const struct offload_stats *from);
void offload_halve(struct offload_stats *s); /* so that old ones weigh less; each period */

/* ---- the margin ---- */

#define OFFLOAD_FIT_LEAST 200 /* inferences; fewer move nothing */
enum offload_fit_why {
	OFFLOAD_FIT_WAIT,   /* too few inferences: the margin stays */
	OFFLOAD_FIT_STAYS,  /* the rate is what chance makes of the target */
	OFFLOAD_FIT_QUANTILE, /* read off the margins that were seen */
	OFFLOAD_FIT_STEP,   /* the target lies above what was seen: a bounded step up */
	OFFLOAD_FIT_COST    /* the cost's bound asks for less than the target */
};
const char *offload_fit_why_name(enum offload_fit_why w);
struct offload_target {
	double rate;     /* share of inferences to send, hard ones */
	double cost_max; /* mean cost of an inference, sent or not; NaN: none */
};
struct offload_fit {
	uint16_t margin;      /* to distribute; the one in use where nothing is to change */
	enum offload_fit_why why;
	double rate;          /* expected with it; above the seen range as the audit has it; NaN where nobody knows */
	double agreement;     /* of hard ones: how often the device was right anyway; NaN: none */
	double audit_agreement; /* of easy ones */
	double cost;          /* expected of an inference; NaN */
};
/* `margin`: in use while the stats were made (drop older ones when it changes). The new one expects at most the target rate. */
void offload_fit(const struct offload_stats *s, uint16_t margin, const struct offload_target *target, struct offload_fit *out);

/* ---- watching ---- */

struct offload_bounds {
	double rate_max;       /* NaN: not watched, as all of these */
	double agreement_min;  /* of audited easy ones: the device is right where it is sure */
	double agreement_max;  /* of hard ones: above it, offloading buys nothing */
	double cost_max;       /* mean of an inference */
};
enum offload_watch { OFFLOAD_FINE, OFFLOAD_FEW, OFFLOAD_BREACH };
struct offload_seen {
	enum offload_watch rate, agreement, needless, cost;
	double rate_is, agreement_is, needless_is, cost_is; /* NaN: nothing seen */
};
/* A breach is one that chance does not explain: Wilson's interval of 99.9 % lies beyond the bound. `cost`: the mean lies beyond
 * it, from OFFLOAD_FIT_LEAST inferences on. */
void offload_watch(const struct offload_stats *s, const struct offload_bounds *b, struct offload_seen *out);

#endif
