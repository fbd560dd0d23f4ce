/* The life of an alert: pending, firing, resolved; hysteresis, flap damping, missing data; and the guard against storms.
 *
 * Pure: levels and times go in, transitions come out. Who keeps the state (one struct alert_life for each condition that is not
 * inactive), writes transitions down and tells people is service/alerts. Times are ms of the wall clock: where it is set back,
 * a life goes back with it (alert_life_follow_clock); up to a minute earlier counts as the newest time known. Not here: silences and inhibition, which are looked up when somebody is told.
 */
#ifndef AVIARY_CORE_ALERT_LIFE_H
#define AVIARY_CORE_ALERT_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* X(NAME, wire name) */
#define ALERT_STATE_TABLE(X)                                                                                           \
	X(INACTIVE, "inactive") /* nothing to remember */                                                                  \
	X(PENDING, "pending")   /* the condition holds, not yet for long enough */                                         \
	X(FIRING, "firing")                                                                                                \
	X(RESOLVED, "resolved") /* over; remembered until its flapping is forgotten */

enum alert_state {
#define X(name, text) ALERT_STATE_##name,
	ALERT_STATE_TABLE(X)
#undef X
	    ALERT_STATES
};
const char *alert_state_name(enum alert_state s);
bool alert_can_move(enum alert_state from, enum alert_state to);

/* What is known of the condition now. Between: over the clear threshold and not over the one that fires. */
enum alert_level { ALERT_LEVEL_NONE, ALERT_LEVEL_UNDER, ALERT_LEVEL_BETWEEN, ALERT_LEVEL_OVER, ALERT_LEVEL_STALE };

#define ALERT_CLEAR_SHARE 0.6           /* the clear threshold where none is given, as a share of the one that fires */
#define ALERT_PENALTY_SUPPRESS 3.0f     /* above: people are told no more ... */
#define ALERT_PENALTY_REUSE 1.0f        /* ... until below this */
#define ALERT_PENALTY_HALF_LIFE_MS ((int64_t)6 * 3600000)
#define ALERT_DELAY_GROWTH 1.5f         /* of keep_firing_for, each time it fires while not forgotten */
#define ALERT_DELAY_LEAST_MS 60000      /* what grows where keep_firing_for is shorter */
#define ALERT_DELAY_MAX_MS 3600000
#define ALERT_CLOCK_BACK_MS 60000
#define ALERT_WINDOW_MAX 16             /* n of "k of the last n" */

struct alert_policy {
	int64_t for_ms;    /* how long it must be over before it fires; 0: at once */
	int64_t keep_ms;   /* how long it must be under the clear threshold before it is resolved; 0: at once */
	int64_t stale_ms;  /* without data for so long it is resolved; 0: never */
	uint8_t k, n;      /* fires when k of the last n samples are over, instead of for_ms; 0, 0: not so. k <= n <= ALERT_WINDOW_MAX */
	bool is_damped;    /* keep_ms grows with flapping */
};
bool alert_policy_is_valid(const struct alert_policy *p);

struct alert_life { /* 64 bytes; zeroed = inactive */
	uint8_t state;         /* enum alert_state */
	uint8_t level;         /* enum alert_level: the last one that data said */
	bool is_stale;         /* data is missing; the state is kept */
	bool is_suppressed;    /* flaps: transitions are noted, nobody is told */
	uint16_t window;       /* the last samples, newest in bit 0: over */
	uint8_t samples;       /* of them, at most n */
	uint8_t reserved;
	uint32_t flaps;        /* how often it fired while it was remembered */
	float penalty;         /* as of penalty_at_ms */
	int64_t delay_ms;      /* keep_ms as it is for this firing */
	int64_t since_ms;      /* of the state */
	int64_t fired_ms;      /* when it fired last; 0: never */
	int64_t over_ms;       /* since when it is over without a break; 0: it is not */
	int64_t under_ms;      /* since when it is under without a break; 0: it is not */
	int64_t data_ms;       /* when data came last */
};

enum alert_reason { ALERT_REASON_NONE, ALERT_REASON_OVER, ALERT_REASON_CLEARED, ALERT_REASON_NO_DATA };
const char *alert_reason_name(enum alert_reason r); /* "cleared", "no_data" */

struct alert_step {
	bool moves;
	enum alert_state from, to;
	enum alert_reason reason;
};
/* A sample, or ALERT_LEVEL_NONE: only time has passed. ALERT_LEVEL_STALE: data is known to be missing. At most one move; after one call again
 * with ALERT_LEVEL_NONE. */
struct alert_step alert_life_step(const struct alert_policy *p, struct alert_life *life, enum alert_level level, int64_t now_ms);
/* The clock was set back by more than ALERT_CLOCK_BACK_MS since this life was looked at: what has passed of its times stays, so that nothing waits
 * until the clock is there again. alert_life_step does it by itself; whoever asks alert_life_wake_ms has to do it before. */
void alert_life_follow_clock(struct alert_life *life, int64_t now_ms);
/* When time alone may move it, at the earliest; INT64_MAX: never. */
int64_t alert_life_wake_ms(const struct alert_policy *p, const struct alert_life *life);
/* From outside (the rule is gone, the device was deleted): firing is resolved, pending is inactive, a memory is dropped. */
struct alert_step alert_life_end(struct alert_life *life, int64_t now_ms);
float alert_life_penalty(const struct alert_life *life, int64_t now_ms); /* decayed */

/* ---- storms: many devices of a cohort, the same condition, at once ---- */

#define ALERT_STORM_LEAST 50
#define ALERT_STORM_SHARE 0.01
#define ALERT_STORM_WINDOW_MS 300000
#define ALERT_STORM_SLOTS 10

struct alert_storm { /* zeroed = calm */
	uint32_t slot[ALERT_STORM_SLOTS]; /* new alerts, by time */
	int64_t slot_at;                  /* number of the newest slot */
	uint32_t firing;                  /* device alerts that fire now */
	bool is_on;
};
uint32_t alert_storm_limit(uint32_t cohort_devices); /* more new alerts than this in the window are a storm */
uint32_t alert_storm_recent(const struct alert_storm *s, int64_t now_ms);
/* One device's alert fires. True: this one begins the storm. While is_on nobody is told of single devices. */
bool alert_storm_fire(struct alert_storm *s, uint32_t limit, int64_t now_ms);
/* One of them is over. */
void alert_storm_resolve(struct alert_storm *s);
/* Time passes. True: the storm is over (no more than half of the limit are new, and no more than half fire still). */
bool alert_storm_tick(struct alert_storm *s, uint32_t limit, int64_t now_ms);

#endif
