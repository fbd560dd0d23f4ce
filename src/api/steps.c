/* Handlers that go on in later iterations of the loop: round robin, one timebox an iteration for all of them together. */
#include <stdlib.h>

#include "api/state.h"
#include "base/clock.h"
#include "net/http.h"
#include "net/loop.h"
#include "service/timebox.h"

#define STEPS_MAX 4         /* requests under way at once: each may hold a scan of the whole fleet */
#define AT_ONCE_NS 2000000u /* what a handler does before it becomes one of them */
#define IDLE_NS 200000u     /* a round in less was of those who wait for a job: the next one may wait, too */
#define IDLE_MS 2

struct item {
	struct item *next;
	struct api_request *rq;
	const struct api_steps *how;
	void *state;
	bool is_complete; /* finish is still to come, in an iteration of its own */
};
struct steps {
	struct api *api;
	struct loop_timer *timer;
	struct item *first, **last;
	size_t count;
	bool is_ended;
};

static struct item *pop(struct steps *s)
{
	struct item *i = s->first;
	s->first = i->next;
	if (s->first == NULL)
		s->last = &s->first;
	return i;
}

static void push(struct steps *s, struct item *i)
{
	i->next = NULL;
	*s->last = i;
	s->last = &i->next;
}

/* Answers with what finish says, or with the error. */
static void end(struct steps *s, struct item *i, enum err e)
{
	struct api_request *rq = i->rq;
	s->count--;
	if (e == ERR_OK)
		api_finish_work(rq, i->how->finish, i->state);
	else
		api_finish(rq, e);
	i->how->free(i->state);
	free(i);
}

static void step(struct steps *s, struct item *i, const struct timebox *box)
{
	struct api_request *rq = i->rq;
	bool is_left = rq->gone || http_is_hung_up(rq->http);
	enum err e = is_left ? ERR_UNAVAILABLE : ERR_OK;
	loop_mark(s->api->loop, rq->route->path);
	rq->call.now_ms = clock_wall_ms();
	if (!is_left && !i->is_complete) {
		e = i->how->step(rq, i->state, box, &i->is_complete);
		if (e == ERR_OK) {
			push(s, i);
			return;
		}
	}
	end(s, i, e);
}

static void on_timer(void *ctx)
{
	struct steps *s = ctx;
	const struct timebox box = timebox_begin(TIMEBOX_NS), idle = timebox_begin(IDLE_NS);
	size_t left = s->count; /* each once */
	do
		step(s, pop(s), &box);
	while (--left > 0 && s->first != NULL && !timebox_is_over(&box));
	if (s->first != NULL)
		loop_timer_start(s->timer, timebox_is_over(&idle) ? 0 : IDLE_MS, 0);
}

enum err api_in_steps(struct api_request *rq, const struct api_steps *how, void *state)
{
	struct steps *s = rq->api->steps;
	const struct timebox box = timebox_begin(AT_ONCE_NS);
	bool is_done = false;
	enum err e = ERR_OK;
	if (s->first == NULL)
		e = how->step(rq, state, &box, &is_done);
	if (e == ERR_OK && is_done)
		e = how->finish(rq, state);
	else if (e == ERR_OK && s->is_ended)
		e = fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "the server is stopping");
	else if (e == ERR_OK && s->count == STEPS_MAX)
		e = fault_set(rq->call.fault, ERR_TOO_MANY, "", "%d long requests are being worked on: try again", STEPS_MAX);
	if (e != ERR_OK || is_done) {
		how->free(state);
		return e;
	}
	struct item *i = malloc(sizeof *i);
	if (i == NULL)
		abort();
	*i = (struct item){.rq = rq, .how = how, .state = state};
	push(s, i);
	s->count++;
	rq->deferred = true;
	loop_timer_start(s->timer, 0, 0);
	return ERR_OK;
}

struct steps *steps_new(struct api *api)
{
	struct steps *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->api = api;
	s->timer = loop_timer_new(api->loop, on_timer, s);
	s->last = &s->first;
	return s;
}

void steps_end(struct steps *s)
{
	s->is_ended = true;
	loop_timer_stop(s->timer);
	while (s->first != NULL) {
		struct item *i = pop(s);
		end(s, i, fault_set(i->rq->call.fault, ERR_UNAVAILABLE, "", "the server is stopping"));
	}
}

void steps_free(struct steps *s)
{
	steps_end(s);
	loop_timer_free(s->timer);
	free(s);
}
