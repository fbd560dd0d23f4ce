/* Checkpoints of fleet.db, off the loop: when the log is long enough a job makes a pass, and the next, until the log begins anew.
 *
 *   1000 pages not moved yet          a job makes a passive pass
 *   more than WAL_SOFT_PAGES (64 MiB) writes never paused between two passes: rollouts, who write most, pause, and once the rest is short
 *                                     the loop moves it itself
 *   more than WAL_HARD_PAGES (256 MiB) or however long it is
 *   nobody wrote for some seconds     a job cuts the file
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "service/metrics.h"
#include "store/checkpoint.h"
#include "store/db.h"

#include <stdio.h>
#include <stdlib.h>

#define PASS_PAGES 1000
#define AGAIN_MS 200      /* between two passes that a reader keeps from ending */
#define RETRY_MS 1000     /* after a failure: a full disk is not asked more often */
#define WAL_SOFT_PAGES 16384
#define WAL_HARD_PAGES 65536
#define TAIL_PAGES 100    /* moved by the loop itself: a few milliseconds */
#define TAIL_EVERY_MS 1000
#define PAUSE_MAX_MS 1000 /* of rollouts, before they go on with a longer log */
#define PAUSE_EVERY_MS 4000
#define IDLE_MS 5000
#define CUT_PAGES 256     /* a shorter file is not worth it */

struct checkpointing {
	struct daemon *d;
	struct checkpoint *c;
	/* the job's */
	bool is_running;
	enum checkpoint_mode mode;
	struct checkpoint_pass pass;
	enum err result;
	struct fault fault;
	uint64_t pass_ns;
	/* the loop's */
	int64_t pages, moved;      /* of the log: written, and in the database already */
	int64_t peak_pages;        /* what the file has room for */
	int64_t changed_ms;        /* when the log last grew */
	int64_t next_ms, tail_ms;  /* not before */
	int64_t pause_ms;          /* when the last pause began */
	bool is_failing;
};

static void note(struct checkpointing *x)
{
	int64_t now_ms = clock_mono_ms();
	metric_observe_ns(HISTOGRAM_CHECKPOINT_SECONDS, x->pass_ns);
	x->next_ms = now_ms + AGAIN_MS;
	if (x->result == ERR_OK) {
		x->moved = x->pass.pages <= x->pages ? x->pass.moved : 0; /* else the log has begun anew meanwhile */
		if (x->mode == CHECKPOINT_TRUNCATE)
			x->pages = x->moved = x->peak_pages = 0;
		if (x->is_failing)
			log_event(LOG_INFO, "checkpoint.recovered", "wal_pages=%lld", (long long)x->pages);
		x->is_failing = false;
		return;
	}
	x->next_ms = now_ms + RETRY_MS;
	if (x->result == ERR_TIMEOUT)
		return; /* somebody was there: no hurry */
	if (!x->is_failing)
		log_event(LOG_ERROR, "checkpoint.failed", "error=%s detail=%s wal_pages=%lld", err_name(x->result), log_quote(x->fault.detail),
		          (long long)x->pages);
	x->is_failing = true;
}

static void work(void *ctx)
{
	struct checkpointing *x = ctx;
	uint64_t start_ns = clock_mono_ns();
	x->result = checkpoint_run(x->c, x->mode, &x->pass, &x->fault);
	x->pass_ns = clock_mono_ns() - start_ns;
}

static void done(void *ctx)
{
	struct checkpointing *x = ctx;
	x->is_running = false;
	note(x);
}

static void submit(struct checkpointing *x, enum checkpoint_mode mode)
{
	x->mode = mode;
	x->is_running = jobs_submit(x->d->jobs, work, done, x) == ERR_OK; /* else with the next tick */
}

/* On the loop: what was written since the last pass, short or unavoidable. */
static void move_tail(struct checkpointing *x, int64_t now_ms)
{
	loop_mark(x->d->loop, "checkpoint");
	x->tail_ms = now_ms + TAIL_EVERY_MS;
	x->mode = CHECKPOINT_PASSIVE;
	work(x);
	note(x);
}

void checkpoint_tick(struct daemon *d)
{
	struct checkpointing *x = d->checkpointing;
	int64_t now_ms = clock_mono_ms(), pages;
	if (db_wal_grew(d->s.db, &pages)) {
		x->changed_ms = now_ms;
		if (pages < x->pages)
			x->moved = 0; /* it began anew */
		x->pages = pages;
		x->peak_pages = pages > x->peak_pages ? pages : x->peak_pages;
		metric_set(METER_WAL_BYTES, pages * 4120);
	}
	int64_t left = x->pages - x->moved;
	if (x->is_running || (x->is_failing && now_ms < x->next_ms))
		return;
	bool is_long = x->pages > WAL_SOFT_PAGES;
	if (is_long && left > 0 && now_ms >= x->tail_ms && (left <= TAIL_PAGES || x->pages > WAL_HARD_PAGES))
		move_tail(x, now_ms);
	else if (left >= PASS_PAGES || (left > 0 && x->pages >= PASS_PAGES && (is_long || now_ms >= x->next_ms)))
		submit(x, CHECKPOINT_PASSIVE);
}

/* A job never catches up with who writes all the time: whoever can wait is asked to, until the rest of the log is short. */
bool checkpoint_wants_pause(struct daemon *d)
{
	struct checkpointing *x = d->checkpointing;
	int64_t now_ms = clock_mono_ms();
	if (x->pages <= WAL_SOFT_PAGES || x->moved == x->pages || x->is_failing)
		return false;
	if (now_ms - x->pause_ms >= PAUSE_EVERY_MS)
		x->pause_ms = now_ms;
	if (now_ms - x->pause_ms >= PAUSE_MAX_MS)
		return false;
	checkpoint_tick(d); /* no commit may come that would */
	return true;
}

/* Called each second, since nothing else happens when nobody writes. */
void checkpoint_idle(struct daemon *d)
{
	struct checkpointing *x = d->checkpointing;
	int64_t now_ms = clock_mono_ms();
	if (!x->is_running && x->peak_pages >= CUT_PAGES && now_ms - x->changed_ms >= IDLE_MS && now_ms >= x->next_ms)
		submit(x, x->moved == x->pages ? CHECKPOINT_TRUNCATE : CHECKPOINT_PASSIVE);
}

enum err checkpoint_start(struct daemon *d, struct fault *f)
{
	char path[1100];
	struct checkpointing *x = calloc(1, sizeof *x);
	if (x == NULL)
		abort();
	x->d = d;
	d->checkpointing = x;
	snprintf(path, sizeof path, "%s/fleet.db", d->s.state_dir);
	enum err e = checkpoint_open(path, &x->c, f);
	if (e != ERR_OK)
		return e;
	db_checkpoint_elsewhere(d->s.db);
	/* What a kill or a migration left: nobody waits yet. A disk that is full now may have room later. */
	x->mode = CHECKPOINT_TRUNCATE;
	work(x);
	note(x);
	return ERR_OK;
}

void checkpoint_stop(struct daemon *d)
{
	struct checkpointing *x = d->checkpointing;
	if (x == NULL)
		return;
	checkpoint_close(x->c);
	free(x);
	d->checkpointing = NULL;
}
