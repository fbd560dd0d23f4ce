/* When somebody is told: alerts of one cohort and rule together, not at once, not often, and again while they fire. And when a receiver that
 * fails is left alone. Pure: the time is an argument. Not here: texts, rows, sending (service/notify.h). */
#ifndef AVIARY_CORE_NOTIFY_PLAN_H
#define AVIARY_CORE_NOTIFY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_WAIT_MS 30000
#define NOTIFY_INTERVAL_MS 300000
#define NOTIFY_REPEAT_MS INT64_C(14400000)
#define NOTIFY_NEVER INT64_MAX

struct notify_timing {
	int64_t wait_ms;     /* from a group's first change to its telling, so that what belongs together gathers */
	int64_t interval_ms; /* least time between two tellings of a group */
	int64_t repeat_ms;   /* told again while it fires and nothing changes */
};
/* What one receiver knows of one group. */
struct notify_track {
	int64_t first_ms;  /* oldest change that is not told; 0: none */
	int64_t told_ms;   /* 0: never */
	int64_t seq;       /* tellings so far */
	bool was_firing;   /* as it was told */
	bool is_waiting;   /* something that fires is silenced or inhibited: looked at again */
};
void notify_note_change(struct notify_track *t, int64_t now_ms);
/* When the group is to be looked at next. Clocks that went back do not hold anything up for longer than the timing says. */
int64_t notify_due_ms(const struct notify_timing *timing, const struct notify_track *t, int64_t now_ms);
enum notify_move { NOTIFY_NOTHING, NOTIFY_TELL };
/* A look at a group at now_ms, when it is due: changed: so many changes can be told; fires: something that can be told fires; waits: something is muted. */
enum notify_move notify_look(const struct notify_timing *timing, struct notify_track *t, bool changed, bool fires, bool waits, int64_t now_ms);

/* ---- how many a receiver is told ---- */
#define NOTIFY_RATE_WINDOW_MS 60000
#define NOTIFY_RATE_AHEAD_MS 3600000 /* no turn is given for later than that: it is asked again then */
/* When a receiver may be told again that is told at most `most` times in a window (0: always): now_ms or later. nth_ms: when it was told for the most-th
 * time before now, 0: not so often. *slot_ms: the last turn that was given away, 0: none; those who wait get turns one behind the other. */
int64_t notify_rate_turn_ms(int64_t most, int64_t nth_ms, int64_t *slot_ms, int64_t now_ms);

/* ---- how an attempt ended, and what follows ---- */
enum notify_outcome { NOTIFY_DELIVERED, NOTIFY_RETRY, NOTIFY_REFUSED };
/* HTTP: 2xx delivered; 408, 429, 5xx and no answer (0) retried; all else, also redirects, is refused for good. */
enum notify_outcome notify_judge_http(int status);
/* SMTP: `is_done` the message was taken; 5xx is refused for good, all else is retried. */
enum notify_outcome notify_judge_smtp(bool is_done, int reply);
#define NOTIFY_RETRY_BASE_MS 1000
#define NOTIFY_RETRY_CAP_MS 300000
#define NOTIFY_GIVE_UP_MS INT64_C(86400000)
/* The next try after `attempts` (>= 1) failed ones; retry_after_ms: what the receiver asked for, 0: nothing; at most NOTIFY_GIVE_UP_MS of it. */
int64_t notify_retry_ms(int64_t attempts, int64_t retry_after_ms, uint64_t random);

/* ---- a receiver's circuit: after some failures in a row only one attempt at a time, seldom ---- */
#define NOTIFY_CIRCUIT_FAILURES 3
#define NOTIFY_CIRCUIT_PARALLEL 2
struct notify_circuit {
	int64_t closed_until_ms; /* nothing is sent before */
	unsigned failures;       /* in a row */
	unsigned running;
};
unsigned notify_circuit_room(const struct notify_circuit *c, int64_t now_ms); /* how many may be started */
bool notify_circuit_is_open(const struct notify_circuit *c);                  /* it fails */
void notify_circuit_begin(struct notify_circuit *c);
void notify_circuit_end(struct notify_circuit *c, enum notify_outcome outcome, int64_t retry_after_ms, uint64_t random, int64_t now_ms);

#endif
