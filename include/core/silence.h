/* When a device is silent, by its own habits: no report for longer than three intervals and longer than its usual
 * gaps.
 *
 * Usual gaps are an exponentially weighted mean plus four mean deviations (as RFC 6298 does for round trips), in
 * integers, by the server's clock of receipt. The fleet's offline rate plays no part: concurrent controls cancel
 * outages of broker and network.
 */
#ifndef AVIARY_CORE_SILENCE_H
#define AVIARY_CORE_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

struct silence_habit {
	int64_t last_ms;   /* server time of the last sign of life; 0 = never */
	int64_t gap8_ms;   /* 8 x mean gap; 0 = no gap seen yet */
	int64_t dev4_ms;   /* 4 x mean absolute deviation of gaps */
};

/* A report or a return was received. Late or equal times change nothing but never move last_ms back. */
void silence_observe(struct silence_habit *h, int64_t now_ms);
/* How long without a sign of life is silent: max(3 intervals, mean gap + 4 deviations). interval_ms >= 1. */
int64_t silence_limit_ms(const struct silence_habit *h, int64_t interval_ms);

struct silence_facts {
	int64_t now_ms;
	int64_t interval_ms;   /* expected report interval */
	/* start of the window (t0), or of installing: a device that never reported since then counts from here */
	int64_t since_ms;
	int64_t offline_ms;    /* last will received and not back: when; 0 = connected or unknown */
};
bool silence_is_silent(const struct silence_habit *h, const struct silence_facts *f);

#endif
