/* Density novelty: how unusual is this sample of this series? A score in constant memory, for ranking and for the eye.
 *
 * Each series has a histogram of its levels, whose range grows with what it has seen; a sample is as novel as its
 * neighbourhood is empty: s = ln((n + K a) / (c + a)). The full form has a second histogram, of the smoothed residual
 * from the hour-of-day mean, and its own constants. The score alone never pages: on stationary noise a series breaks its own record about
 * ln n times. Nobody may be woken by it: not at all before a series has 288 samples or a day, which the caller sees to, and
 * later only together with what core/watch.h and core/budget.h know.
 *
 * Pure and causal: the state after m samples does not depend on later ones. States are plain memory, zeroed = new; a
 * device keeps its series side by side, so that one message touches neighbouring cache lines (novelty_prefetch).
 */
#ifndef AVIARY_CORE_NOVELTY_H
#define AVIARY_CORE_NOVELTY_H

#include <stdbool.h>
#include <stdint.h>

#define NOVELTY_BINS 40
#define NOVELTY_HOURS 24

/* What both forms begin with: 56 bytes. */
struct novelty_level {
	uint32_t n;        /* effective samples: halved by ageing */
	float lo, hi;      /* range of the histogram */
	uint16_t timer;    /* since the last sample over the limit, in samples or the unit of the caller's hold; saturating */
	uint16_t events;   /* how many events there were, 8.8 fixed point, halved by ageing: who cries often is heard less */
	uint8_t bins[NOVELTY_BINS]; /* counters of one byte, see novelty.c */
};

struct novelty_compact { /* 56 bytes */
	struct novelty_level level;
};

struct novelty_full { /* 192 bytes, 172 of them used */
	struct novelty_level level;
	float residual_lo, residual_hi, residual; /* range, and smoothed residual */
	float mean;              /* of all samples: the expectation for an hour that was not seen yet */
	float expected;          /* the season's mean for the current hour, NAN: the hour was not seen yet */
	float hour_sum;          /* of the current hour ... */
	uint16_t hour_count;     /* ... and its samples */
	uint8_t hour, days;      /* the current hour + 1 (0: none yet); days seen, saturating */
	uint8_t residual_bins[NOVELTY_BINS];
	uint8_t spare[4];
	/* the third cache line: read and written when an hour begins or the range grows, not for each sample */
	uint16_t season[NOVELTY_HOURS]; /* hour-of-day means on [lo, hi], 0xffff: none */
	uint8_t spare_too[16];
};

/* How time goes for a series. A recording of unknown cadence: {.elapsed = 1}, and the hold is a share of its samples, 10 to
 * 2400 of them. A daemon: elapsed in seconds since the series' previous sample (UINT16_MAX for more), hold 14400 (four hours),
 * whatever the cadence. */
struct novelty_pace {
	uint32_t n_max;   /* effective samples at which the past is halved: 14 to 28 days' worth; 0: never */
	uint16_t elapsed; /* since the previous sample, in the unit of hold */
	uint16_t hold;    /* no second event before the score was under the limit for longer than this; 0: a share of n */
};

struct novelty_result {
	float score;    /* 0..1; above 0.5 only for events */
	bool is_event;
	bool is_refused; /* not finite: nothing was changed */
};

/* hour: of the day, local, 0..23. */
struct novelty_result novelty_update_compact(struct novelty_compact *s, float x, struct novelty_pace pace);
struct novelty_result novelty_update_full(struct novelty_full *s, float x, unsigned hour, struct novelty_pace pace);
/* A metric whose physical range is known warms up faster: sets the range of a new state. lo < hi. */
void novelty_set_range(struct novelty_level *s, float lo, float hi);

/* Time passes without a sample. The next sample's `elapsed` counts from here. */
void novelty_wait(struct novelty_level *s, uint16_t elapsed);

/* Ask for the lines that samples for `count` neighbouring states will touch: one message ahead of their updates. */
void novelty_prefetch_compact(const struct novelty_compact *states, unsigned count);
void novelty_prefetch_full(const struct novelty_full *states, unsigned count);

#endif
