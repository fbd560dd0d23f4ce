#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "net/notify.h"

struct seen {
	struct loop *loop;
	struct loop_timer *timer;
	struct worker *worker;
	int ticks, timers, signals, works, dones, ticks_wanted;
	int ticks_at_timer;
};

static void tick(void *ctx)
{
	struct seen *s = ctx;
	s->ticks++;
	if (s->ticks_wanted > 0) {
		s->ticks_wanted--;
		loop_request_tick(s->loop);
	}
}

static void count_timer(void *ctx)
{
	struct seen *s = ctx;
	s->timers++;
	s->ticks_at_timer = s->ticks;
}

static bool ticked_after_timer(void *ctx)
{
	struct seen *s = ctx;
	return s->timers > 0 && s->ticks > s->ticks_at_timer;
}

/* A timer far away would keep poll asleep: the tick after the near one must not wait for it. */
static void a_timer_is_followed_by_a_tick(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	loop_on_tick(s.loop, tick, &s);
	struct loop_timer *t = loop_timer_new(s.loop, count_timer, &s);
	loop_timer_start(t, 10, 0);
	int64_t start = clock_mono_ms();
	assert_true(loop_run_until(s.loop, ticked_after_timer, &s, 3000));
	assert_true(clock_mono_ms() - start < 2000);
	assert_int_equal(s.timers, 1);
	assert_false(loop_timer_is_active(t));
	loop_timer_free(t);
	loop_free(s.loop);
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void ticks_are_asked_for(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new(), .ticks_wanted = 5};
	loop_on_tick(s.loop, tick, &s);
	loop_request_tick(s.loop);
	assert_false(loop_run_until(s.loop, never, NULL, 50));
	/* The first, five more, and those of the deadline: no busy loop. */
	assert_in_range(s.ticks, 6, 9);
	loop_free(s.loop);
}

static void stop_from_timer(void *ctx)
{
	struct seen *s = ctx;
	if (++s->timers < 3) return;
	loop_stop(s->loop);
	loop_timer_free(s->timer);
}

static void repeats_and_stops_after_the_tick(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	loop_on_tick(s.loop, tick, &s);
	s.timer = loop_timer_new(s.loop, stop_from_timer, &s);
	loop_timer_start(s.timer, 1, 1);
	loop_run(s.loop);
	assert_int_equal(s.timers, 3);
	assert_true(s.ticks >= 3);
	loop_free(s.loop);
	loop_free(NULL);
}

static void start_again(void *ctx)
{
	struct seen *s = ctx;
	s->timers++;
	loop_timer_start(s->timer, 0, 0);
	if (s->timers == 20) loop_stop(s->loop);
}

/* Each in an iteration of its own, with its tick; others have their turn. */
static void zero_delays_do_not_starve_the_loop(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	loop_on_tick(s.loop, tick, &s);
	s.timer = loop_timer_new(s.loop, start_again, &s);
	loop_timer_start(s.timer, 0, 0);
	loop_run(s.loop);
	assert_int_equal(s.timers, 20);
	assert_int_equal(s.ticks, 20);
	assert_true(loop_timer_is_active(s.timer));
	loop_timer_free(s.timer);
	loop_free(s.loop);
}

static void on_signal(void *ctx, int signum)
{
	struct seen *s = ctx;
	assert_int_equal(signum, SIGUSR1);
	s->signals++;
	loop_stop(s->loop);
}

static void signals(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	struct loop_signal *signal = loop_signal_new(s.loop, SIGUSR1, on_signal, &s);
	kill(getpid(), SIGUSR1);
	loop_run(s.loop);
	assert_int_equal(s.signals, 1);
	loop_signal_free(signal);
	loop_free(s.loop);
}

static void sleep_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&ts, NULL);
}

static void slow_timer(void *ctx)
{
	struct seen *s = ctx;
	s->timers++;
	sleep_ms(30);
}

static void lag_is_what_handlers_took(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	struct loop_lag lag;
	s.timer = loop_timer_new(s.loop, slow_timer, &s);
	loop_timer_start(s.timer, 20, 0);
	loop_run_until(s.loop, never, NULL, 100);
	loop_lag_read(s.loop, &lag);
	assert_true(lag.max_ns >= 30000000 && lag.busy_ns >= lag.max_ns);
	assert_true(lag.busy_ns < 90000000); /* sleeping in poll is no lag */
	assert_true(lag.p99_ns <= lag.max_ns && lag.p50_ns <= lag.p99_ns && lag.p50_ns > 0);
	loop_lag_reset(s.loop);
	loop_lag_read(s.loop, &lag);
	assert_int_equal(lag.iterations, 0);
	loop_timer_free(s.timer);
	loop_free(s.loop);
}

static void marked_timer(void *ctx)
{
	struct seen *s = ctx;
	loop_mark(s->loop, "short");
	sleep_ms(2);
	loop_mark(s->loop, "long");
	sleep_ms(20);
	loop_mark(s->loop, "shorter");
}

static void keep_longest(void *ctx, const struct loop_hold *hold)
{
	struct loop_hold *kept = ctx;
	if (hold->busy_ns > kept->busy_ns) *kept = *hold;
}

static void a_hold_says_what_it_was(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	struct loop_hold heard = {0, 0, NULL, 0};
	struct loop_peak start, taken;
	loop_peak_read(s.loop, &start, &taken);
	assert_string_equal(start.longest.what, "");
	s.timer = loop_timer_new(s.loop, marked_timer, &s);
	loop_on_hold(s.loop, keep_longest, &heard);
	loop_timer_start(s.timer, 1, 0);
	loop_run_until(s.loop, never, NULL, 60);
	loop_peak_read(s.loop, &start, &taken);
	assert_string_equal(heard.what, "long");
	assert_true(heard.what_ns >= 20000000 && heard.busy_ns >= heard.what_ns + 2000000);
	assert_true(heard.cpu_ns < 20000000); /* it slept */
	assert_int_equal(start.longest.busy_ns, heard.busy_ns);
	assert_int_equal(taken.longest.busy_ns, heard.busy_ns);
	assert_true(start.max_cpu_ns > 0);
	loop_peak_take(s.loop);
	loop_run_until(s.loop, never, NULL, 10);
	loop_peak_read(s.loop, &start, &taken);
	assert_int_equal(start.longest.busy_ns, heard.busy_ns);
	assert_true(taken.longest.busy_ns < start.longest.busy_ns);
	assert_string_not_equal(taken.longest.what, "long"); /* a mark ends with its iteration */
	loop_timer_free(s.timer);
	loop_free(s.loop);
}

static void work(void *ctx)
{
	struct seen *s = ctx;
	sleep_ms(5);
	__atomic_add_fetch(&s->works, 1, __ATOMIC_SEQ_CST);
}

static void done(void *ctx)
{
	struct seen *s = ctx;
	s->dones++;
}

static void pool_is_bounded_and_drains(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	struct jobs *jobs = jobs_new(s.loop, 3);
	for (int i = 0; i < 3; i++) assert_int_equal(jobs_submit(jobs, work, done, &s), ERR_OK);
	assert_int_equal(jobs_submit(jobs, work, done, &s), ERR_UNAVAILABLE);
	assert_int_equal(jobs_pending(jobs), 3);
	jobs_drain(jobs);
	assert_int_equal(s.works, 3);
	assert_int_equal(s.dones, 3);
	assert_int_equal(jobs_submit(jobs, work, done, &s), ERR_UNAVAILABLE);
	jobs_free(jobs);
	jobs_free(NULL);
	loop_free(s.loop);
}

static void again(void *ctx)
{
	struct seen *s = ctx;
	s->dones++;
	assert_false(worker_is_busy(s->worker));
	if (s->dones < 5) assert_int_equal(worker_submit(s->worker, work, again, s), ERR_OK);
	else loop_stop(s->loop);
}

static void worker_takes_one_at_a_time(void **state)
{
	(void)state;
	struct seen s = {.loop = loop_new()};
	loop_on_tick(s.loop, tick, &s);
	s.worker = worker_new(s.loop, "test-writer");
	assert_int_equal(worker_submit(s.worker, work, again, &s), ERR_OK);
	assert_int_equal(worker_submit(s.worker, work, again, &s), ERR_UNAVAILABLE);
	assert_true(worker_is_busy(s.worker));
	loop_run(s.loop);
	assert_int_equal(s.works, 5);
	assert_int_equal(s.dones, 5);
	assert_true(s.ticks >= 5);
	assert_int_equal(worker_submit(s.worker, work, NULL, &s), ERR_OK);
	worker_free(s.worker); /* the last job is not lost */
	assert_int_equal(s.works, 6);
	worker_free(NULL);
	loop_free(s.loop);
}

static void systemd_is_told(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[200] = "", path[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "aviary-notify-%d", (int)getpid());
	snprintf(path, sizeof path, "@aviary-notify-%d", (int)getpid());
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	notify_ready(); /* without systemd: nothing happens */
	assert_int_equal(notify_watchdog_interval_ms(), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	notify_status("%d devices", 3);
	assert_true(recv(fd, text, sizeof text - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "STATUS=3 devices");
	notify_watchdog();
	memset(text, 0, sizeof text);
	assert_true(recv(fd, text, sizeof text - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "WATCHDOG=1");
	setenv("WATCHDOG_USEC", "3000000", 1);
	assert_int_equal(notify_watchdog_interval_ms(), 1500);
	unsetenv("WATCHDOG_USEC");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_timer_is_followed_by_a_tick), cmocka_unit_test(ticks_are_asked_for),
	    cmocka_unit_test(repeats_and_stops_after_the_tick), cmocka_unit_test(zero_delays_do_not_starve_the_loop),
	    cmocka_unit_test(signals), cmocka_unit_test(lag_is_what_handlers_took),
	    cmocka_unit_test(a_hold_says_what_it_was),
	    cmocka_unit_test(pool_is_bounded_and_drains), cmocka_unit_test(worker_takes_one_at_a_time),
	    cmocka_unit_test(systemd_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
