#include "net/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/clock.h"

/* A quarter of an octave each, from 1 us up: 100 of them reach 30 s. */
enum { LAG_BUCKETS = 100 };

struct loop {
	uv_loop_t uv;
	uv_prepare_t before_poll;
	uv_check_t after_poll;
	uv_idle_t wake; /* active: the next poll does not wait */
	void (*tick)(void *ctx);
	void *tick_ctx;
	bool is_stopping;
	uint64_t last_prepare_ns, last_idle_ns;
	uint64_t iterations, busy_ns, max_ns;
	uint64_t lag[LAG_BUCKETS];
	/* holds: what this iteration was busy with, and who hears of it */
	uint64_t last_cpu_ns;
	struct mark {
		const char *what;
		uint64_t start_ns;
	} mark;
	const char *longest_what;
	uint64_t longest_ns; /* of this iteration's marks */
	struct loop_peak since_start, since_taken;
	void (*on_hold)(void *ctx, const struct loop_hold *hold);
	void *hold_ctx;
};

/* libuv 1.44 runs a timer of 0 ms that its own function starts again within the same turn, for ever: a delay of 0 is an
 * idle handle instead, which has its turn once an iteration. */
struct loop_timer {
	uv_timer_t uv;
	uv_idle_t soon;
	int64_t repeat_ms;
	int open_handles;
	struct loop *loop;
	void (*fn)(void *ctx);
	void *ctx;
};

struct loop_signal {
	uv_signal_t uv;
	struct loop *loop;
	void (*fn)(void *ctx, int signum);
	void *ctx;
};

/* What fails here is memory or descriptors at start-up. */
static void must(int rc, const char *what)
{
	if (rc >= 0) return;
	fprintf(stderr, "loop: %s: %s\n", what, uv_strerror(rc));
	abort();
}

static void *allocate(size_t size)
{
	void *p = calloc(1, size);
	if (p == NULL) must(UV_ENOMEM, "memory");
	return p;
}

static int lag_bucket(uint64_t ns)
{
	uint64_t us = ns / 1000;
	if (us < 4) return (int)us;
	int octave = 63 - __builtin_clzll(us);
	int bucket = 4 * (octave - 1) + (int)(us >> (octave - 2) & 3);
	return bucket < LAG_BUCKETS ? bucket : LAG_BUCKETS - 1;
}

/* The upper end of a bucket. */
static uint64_t lag_bucket_ns(int bucket)
{
	if (bucket < 4) return (uint64_t)(bucket + 1) * 1000;
	return ((uint64_t)(4 + bucket % 4 + 1) << (bucket / 4 - 1)) * 1000;
}

/* ---- holds ---- */

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void end_mark(struct loop *l, uint64_t now_ns)
{
	if (l->mark.what != NULL && now_ns - l->mark.start_ns > l->longest_ns) {
		l->longest_ns = now_ns - l->mark.start_ns;
		l->longest_what = l->mark.what;
	}
	l->mark.what = NULL;
}

void loop_mark(struct loop *l, const char *what)
{
	uint64_t now_ns = clock_mono_ns();
	end_mark(l, now_ns);
	l->mark = (struct mark){what, now_ns};
}

static void note_peak(struct loop_peak *p, const struct loop_hold *h)
{
	if (h->busy_ns > p->longest.busy_ns) p->longest = *h;
	if (h->cpu_ns > p->max_cpu_ns) p->max_cpu_ns = h->cpu_ns;
}

static void note_hold(struct loop *l, uint64_t now_ns, uint64_t busy_ns, uint64_t cpu_ns)
{
	end_mark(l, now_ns);
	struct loop_hold h = {busy_ns, cpu_ns, l->longest_what != NULL ? l->longest_what : "other", l->longest_ns};
	note_peak(&l->since_start, &h);
	note_peak(&l->since_taken, &h);
	if (l->on_hold) l->on_hold(l->hold_ctx, &h);
	l->longest_what = NULL;
	l->longest_ns = 0;
}

/* Busy is what passed since the last time we were here, but for the time slept in poll. */
static void on_prepare(uv_prepare_t *handle)
{
	struct loop *l = handle->data;
	uint64_t now_ns = clock_mono_ns(), idle_ns = uv_metrics_idle_time(&l->uv), cpu_ns = thread_cpu_ns();
	if (l->last_prepare_ns > 0) {
		uint64_t passed = now_ns - l->last_prepare_ns, idle = idle_ns - l->last_idle_ns;
		uint64_t busy = passed > idle ? passed - idle : 0;
		l->iterations++;
		l->busy_ns += busy;
		if (busy > l->max_ns) l->max_ns = busy;
		l->lag[lag_bucket(busy)]++;
		note_hold(l, now_ns, busy, cpu_ns - l->last_cpu_ns);
	}
	l->last_prepare_ns = now_ns;
	l->last_idle_ns = idle_ns;
	l->last_cpu_ns = cpu_ns;
}

static void on_check(uv_check_t *handle)
{
	struct loop *l = handle->data;
	uv_idle_stop(&l->wake); /* first, so that the tick may ask for the next one */
	loop_mark(l, "tick");
	if (l->tick) l->tick(l->tick_ctx);
	if (l->is_stopping) uv_stop(&l->uv);
}

static void on_wake(uv_idle_t *handle)
{
	(void)handle;
}

struct loop *loop_new(void)
{
	struct loop *l = allocate(sizeof *l);
	signal(SIGPIPE, SIG_IGN); /* writes to a closed socket return an error; sendfile has no flag for that */
	must(uv_loop_init(&l->uv), "init");
	must(uv_loop_configure(&l->uv, UV_METRICS_IDLE_TIME), "metrics");
	must(uv_prepare_init(&l->uv, &l->before_poll), "prepare");
	must(uv_check_init(&l->uv, &l->after_poll), "check");
	must(uv_idle_init(&l->uv, &l->wake), "idle");
	l->before_poll.data = l->after_poll.data = l->uv.data = l;
	l->since_start.longest.what = l->since_taken.longest.what = "";
	must(uv_prepare_start(&l->before_poll, on_prepare), "prepare");
	must(uv_check_start(&l->after_poll, on_check), "check");
	return l;
}

static void close_leftover(uv_handle_t *handle, void *ctx)
{
	(void)ctx;
	assert(handle->type == UV_PREPARE || handle->type == UV_CHECK || handle->type == UV_IDLE || uv_is_closing(handle));
	if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void loop_free(struct loop *l)
{
	if (l == NULL) return;
	l->tick = NULL;
	uv_walk(&l->uv, close_leftover, NULL);
	while (uv_run(&l->uv, UV_RUN_DEFAULT)) {}
	must(uv_loop_close(&l->uv), "close");
	free(l);
}

void loop_run(struct loop *l)
{
	l->is_stopping = false;
	l->last_prepare_ns = 0;
	uv_run(&l->uv, UV_RUN_DEFAULT);
	l->is_stopping = false;
}

/* Not uv_stop at once: the tick of this iteration must still run, and answers of a handler that stops the loop leave
 * with it. */
void loop_stop(struct loop *l)
{
	l->is_stopping = true;
	loop_request_tick(l);
}

static void on_deadline(void *ctx)
{
	*(bool *)ctx = true;
}

bool loop_run_until(struct loop *l, bool (*done)(void *ctx), void *ctx, int64_t timeout_ms)
{
	bool is_over = false, is_done;
	struct loop_timer *deadline = loop_timer_new(l, on_deadline, &is_over);
	loop_timer_start(deadline, timeout_ms, 0);
	l->last_prepare_ns = 0;
	while (!(is_done = done(ctx)) && !is_over) uv_run(&l->uv, UV_RUN_ONCE);
	loop_timer_free(deadline);
	l->is_stopping = false;
	return is_done;
}

void loop_on_tick(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	l->tick = fn;
	l->tick_ctx = ctx;
}

void loop_request_tick(struct loop *l)
{
	uv_idle_start(&l->wake, on_wake);
}

/* Timers run before poll: without a wake-up their tick would wait for the next event. */
static void on_timer(uv_timer_t *handle)
{
	struct loop_timer *t = handle->data;
	loop_request_tick(t->loop);
	t->fn(t->ctx);
}

static void on_soon(uv_idle_t *handle)
{
	struct loop_timer *t = handle->data;
	uv_idle_stop(handle);
	if (t->repeat_ms > 0) uv_timer_start(&t->uv, on_timer, (uint64_t)t->repeat_ms, (uint64_t)t->repeat_ms);
	loop_request_tick(t->loop);
	t->fn(t->ctx);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	struct loop_timer *t = allocate(sizeof *t);
	must(uv_timer_init(&l->uv, &t->uv), "timer");
	must(uv_idle_init(&l->uv, &t->soon), "timer");
	t->uv.data = t->soon.data = t;
	t->open_handles = 2;
	t->loop = l;
	t->fn = fn;
	t->ctx = ctx;
	return t;
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms, int64_t repeat_ms)
{
	assert(delay_ms >= 0 && repeat_ms >= 0);
	loop_timer_stop(t);
	t->repeat_ms = repeat_ms;
	if (delay_ms == 0) {
		uv_idle_start(&t->soon, on_soon);
		return;
	}
	uv_update_time(&t->loop->uv); /* else a delay would count from the start of this iteration */
	uv_timer_start(&t->uv, on_timer, (uint64_t)delay_ms, (uint64_t)repeat_ms);
}

void loop_timer_stop(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
	uv_idle_stop(&t->soon);
}

bool loop_timer_is_active(const struct loop_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv) || uv_is_active((const uv_handle_t *)&t->soon);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static void free_timer(uv_handle_t *handle)
{
	struct loop_timer *t = handle->data;
	if (--t->open_handles == 0) free(t);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t == NULL) return;
	uv_close((uv_handle_t *)&t->uv, free_timer);
	uv_close((uv_handle_t *)&t->soon, free_timer);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct loop_signal *s = handle->data;
	s->fn(s->ctx, signum);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx)
{
	struct loop_signal *s = allocate(sizeof *s);
	must(uv_signal_init(&l->uv, &s->uv), "signal");
	s->uv.data = s;
	s->loop = l;
	s->fn = fn;
	s->ctx = ctx;
	must(uv_signal_start(&s->uv, on_signal, signum), "signal");
	return s;
}

void loop_signal_free(struct loop_signal *s)
{
	if (s) uv_close((uv_handle_t *)&s->uv, free_handle);
}

static uint64_t lag_quantile_ns(const struct loop *l, uint64_t rank)
{
	uint64_t seen = 0;
	for (int i = 0; i < LAG_BUCKETS; i++) {
		seen += l->lag[i];
		if (seen < rank) continue;
		uint64_t ns = lag_bucket_ns(i);
		return ns < l->max_ns ? ns : l->max_ns;
	}
	return 0;
}

void loop_lag_read(const struct loop *l, struct loop_lag *lag)
{
	*lag = (struct loop_lag){.iterations = l->iterations, .busy_ns = l->busy_ns, .max_ns = l->max_ns};
	if (l->iterations == 0) return;
	lag->p50_ns = lag_quantile_ns(l, (l->iterations + 1) / 2);
	lag->p99_ns = lag_quantile_ns(l, l->iterations - l->iterations / 100);
}

void loop_lag_reset(struct loop *l)
{
	l->iterations = l->busy_ns = l->max_ns = 0;
	memset(l->lag, 0, sizeof l->lag);
}

void loop_on_hold(struct loop *l, void (*fn)(void *ctx, const struct loop_hold *hold), void *ctx)
{
	l->on_hold = fn;
	l->hold_ctx = ctx;
}

void loop_peak_read(const struct loop *l, struct loop_peak *since_start, struct loop_peak *since_taken)
{
	*since_start = l->since_start;
	*since_taken = l->since_taken;
}

void loop_peak_take(struct loop *l)
{
	l->since_taken = (struct loop_peak){.longest = {.what = ""}};
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}
