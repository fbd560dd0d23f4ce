/* The event loop: one thread, timers, signals, and the tick. libuv underneath; what needs uv itself is inside net/.
 *
 * The tick is one function, called once at the end of each loop iteration, after every handler of that iteration has
 * run. Whatever the handlers of an iteration have in common (one COMMIT, one drain of the outbox) is done there. Not
 * thread-safe: all calls are made from the loop's thread. From another thread come only the completions of net/jobs.h.
 */
#ifndef AVIARY_NET_LOOP_H
#define AVIARY_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_timer;
struct loop_signal;
struct uv_loop_s; /* uv_loop_t */

struct loop *loop_new(void); /* SIGPIPE is ignored in the process from then on */
/* Closes what is still open on the loop and frees it. Everything made on it must have been freed before. NULL is
 * allowed. */
void loop_free(struct loop *l);
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* after the tick of this iteration */
/* Runs until done(ctx) is true (asked after each iteration) or timeout_ms has passed; returns done's last answer.
 * For start-up, shutdown and tests; not from within a handler. */
bool loop_run_until(struct loop *l, bool (*done)(void *ctx), void *ctx, int64_t timeout_ms);

/* One tick function a loop (NULL removes it). */
void loop_on_tick(struct loop *l, void (*fn)(void *ctx), void *ctx);
/* Another iteration, and so another tick, without waiting for an event. A tick may ask for the next one. */
void loop_request_tick(struct loop *l);

/* Timers. The function runs on the loop, the tick follows. delay 0 = the next iteration; repeat 0 = once. Starting
 * again moves it. Freeing within its own function is allowed. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx);
void loop_timer_start(struct loop_timer *t, int64_t delay_ms, int64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_is_active(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is allowed */

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx);
void loop_signal_free(struct loop_signal *s); /* NULL is allowed */

/* Lag: for how long an iteration's handlers and tick kept the loop from looking for new events, that is how long an
 * event may have waited. */
struct loop_lag {
	uint64_t iterations;
	uint64_t busy_ns;   /* sum */
	uint64_t max_ns;
	uint64_t p50_ns, p99_ns; /* of all iterations since loop_lag_reset, to within 25 % */
};
void loop_lag_read(const struct loop *l, struct loop_lag *lag);
void loop_lag_reset(struct loop *l);

/* Holds: the same, one iteration at a time, and what it was. A mark says what the loop is busy with from here on, until
 * the next mark or the end of the iteration; `what` is a constant (a handler, a timer). It costs a look at the clock. */
struct loop_hold {
	uint64_t busy_ns;  /* as above: what events waited, so it includes what the machine did meanwhile */
	uint64_t cpu_ns;   /* processor time of the loop's thread in it: what it was without the disk and other processes */
	const char *what;  /* the mark that took longest, "other" when nothing was marked */
	uint64_t what_ns;
};
struct loop_peak {
	struct loop_hold longest; /* by busy_ns; what is "" when there was none */
	uint64_t max_cpu_ns;      /* of any iteration */
};
void loop_mark(struct loop *l, const char *what);
/* Called at the end of each iteration, before the loop looks for events. One function; NULL removes it. */
void loop_on_hold(struct loop *l, void (*fn)(void *ctx, const struct loop_hold *hold), void *ctx);
void loop_peak_read(const struct loop *l, struct loop_peak *since_start, struct loop_peak *since_taken);
void loop_peak_take(struct loop *l); /* the second one begins anew */

/* For net/ only. */
struct uv_loop_s *loop_uv(struct loop *l);

#endif
