#include "net/jobs.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct jobs {
	struct loop *loop;
	unsigned limit, pending;
	bool is_draining;
};

struct job {
	uv_work_t uv;
	struct jobs *jobs;
	void (*work)(void *ctx);
	void (*done)(void *ctx);
	void *ctx;
};

static void must(int ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "jobs: %s failed\n", what);
	abort();
}

struct jobs *jobs_new(struct loop *l, unsigned limit)
{
	struct jobs *j = calloc(1, sizeof *j);
	must(j != NULL, "memory");
	j->loop = l;
	j->limit = limit;
	return j;
}

void jobs_free(struct jobs *j)
{
	if (j == NULL) return;
	jobs_drain(j);
	free(j);
}

static void run_job(uv_work_t *uv)
{
	struct job *job = uv->data;
	job->work(job->ctx);
}

static void end_job(uv_work_t *uv, int status)
{
	struct job *job = uv->data;
	assert(status == 0); /* nothing is ever cancelled */
	loop_mark(job->jobs->loop, "job.done");
	job->jobs->pending--;
	if (job->done) job->done(job->ctx);
	free(job);
}

enum err jobs_submit(struct jobs *j, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	if (j->is_draining || j->pending >= j->limit) return ERR_UNAVAILABLE;
	struct job *job = calloc(1, sizeof *job);
	must(job != NULL, "memory");
	job->uv.data = job;
	job->jobs = j;
	job->work = work;
	job->done = done;
	job->ctx = ctx;
	j->pending++;
	must(uv_queue_work(loop_uv(j->loop), &job->uv, run_job, end_job) == 0, "queue");
	return ERR_OK;
}

unsigned jobs_pending(const struct jobs *j)
{
	return j->pending;
}

void jobs_drain(struct jobs *j)
{
	j->is_draining = true;
	while (j->pending > 0) uv_run(loop_uv(j->loop), UV_RUN_ONCE);
}

/* Idle, handed over, done by the thread and not yet seen by the loop; the mutex guards `stage` and `stop`. */
enum stage { IDLE, GIVEN, WORKED };

struct worker {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t given;
	uv_async_t finished;
	enum stage stage;
	bool stop;
	void (*work)(void *ctx);
	void (*done)(void *ctx);
	void *ctx;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	pthread_mutex_lock(&w->mutex);
	for (;;) {
		while (!w->stop && w->stage != GIVEN) pthread_cond_wait(&w->given, &w->mutex);
		if (w->stage != GIVEN) break;
		pthread_mutex_unlock(&w->mutex);
		w->work(w->ctx);
		pthread_mutex_lock(&w->mutex);
		w->stage = WORKED;
		uv_async_send(&w->finished);
	}
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

static void on_finished(uv_async_t *async)
{
	struct worker *w = async->data;
	pthread_mutex_lock(&w->mutex);
	bool is_worked = w->stage == WORKED;
	if (is_worked) w->stage = IDLE;
	pthread_mutex_unlock(&w->mutex);
	if (is_worked && w->done) w->done(w->ctx);
}

struct worker *worker_new(struct loop *l, const char *name)
{
	struct worker *w = calloc(1, sizeof *w);
	must(w != NULL, "memory");
	w->loop = l;
	w->finished.data = w;
	must(uv_async_init(loop_uv(l), &w->finished, on_finished) == 0, "async");
	must(pthread_mutex_init(&w->mutex, NULL) == 0 && pthread_cond_init(&w->given, NULL) == 0, "mutex");
	must(pthread_create(&w->thread, NULL, worker_main, w) == 0, "thread");
	must(pthread_setname_np(w->thread, name) == 0, "thread name");
	return w;
}

static void free_worker(uv_handle_t *handle)
{
	struct worker *w = handle->data;
	pthread_cond_destroy(&w->given);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

void worker_free(struct worker *w)
{
	if (w == NULL) return;
	worker_drain(w);
	pthread_mutex_lock(&w->mutex);
	w->stop = true;
	pthread_cond_signal(&w->given);
	pthread_mutex_unlock(&w->mutex);
	pthread_join(w->thread, NULL);
	uv_close((uv_handle_t *)&w->finished, free_worker);
}

enum err worker_submit(struct worker *w, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	enum err e = ERR_UNAVAILABLE;
	pthread_mutex_lock(&w->mutex);
	if (w->stage == IDLE && !w->stop) {
		w->work = work;
		w->done = done;
		w->ctx = ctx;
		w->stage = GIVEN;
		pthread_cond_signal(&w->given);
		e = ERR_OK;
	}
	pthread_mutex_unlock(&w->mutex);
	return e;
}

bool worker_is_busy(const struct worker *w)
{
	struct worker *self = (struct worker *)w; /* only to lock it */
	pthread_mutex_lock(&self->mutex);
	bool is_busy = self->stage != IDLE;
	pthread_mutex_unlock(&self->mutex);
	return is_busy;
}

void worker_drain(struct worker *w)
{
	while (worker_is_busy(w)) uv_run(loop_uv(w->loop), UV_RUN_ONCE);
}
