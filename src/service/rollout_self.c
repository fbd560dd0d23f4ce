#include "service/rollout_self.h"

#include <stdlib.h>
#include <string.h>

#include "service/offload.h"

bool rollout_is_self(const struct rollout_live *live)
{
	return strcmp(live->spec.judge.control, "self") == 0;
}

int64_t rollout_self_window_ms(const struct rollout_live *live)
{
	const struct rollout_request *q = &live->spec;
	int64_t bake_ms = q->soak_ms > q->judge.min_bake_ms ? q->soak_ms : q->judge.min_bake_ms;
	return bake_ms > q->judge.warmup_ms ? bake_ms - q->judge.warmup_ms : 1; /* the request's check refuses the latter */
}

void rollout_self_blocks(const struct rollout_live *live, int64_t planned, int64_t *blocks, int64_t *windows)
{
	*blocks = planned < SELF_DEVICES_MAX ? planned : SELF_DEVICES_MAX;
	int64_t room = *blocks > 0 ? SELF_WINDOWS_MAX / *blocks : 0;
	*windows = room < live->spec.judge.controls_max ? room : live->spec.judge.controls_max;
}

/* ---- measuring ---- */

struct self_measure {
	struct self_job *job;
	bool is_submitted, is_done, is_abandoned;
};

struct self_measure *self_measure_new(struct call *c, const struct rollout_live *live, const int64_t *devices, size_t count)
{
	struct self_measure *m = calloc(1, sizeof *m);
	if (!m)
		abort();
	struct self_question q = {.gates = live->gates, .gate_count = live->gate_count, .at_ms = c->now_ms,
		.length_ms = rollout_self_window_ms(live), .windows = (uint32_t)live->spec.judge.controls_max, .devices = devices,
		.device_count = count};
	m->job = self_job_new(c, &q);
	return m;
}

static void work(void *arg)
{
	struct self_measure *m = arg;
	self_job_work(m->job);
}

static void done(void *arg)
{
	struct self_measure *m = arg;
	m->is_done = true;
	if (m->is_abandoned)
		self_measure_free(m);
}

enum err self_measure_step(struct call *c, struct self_measure *m, bool at_once, const struct self_job **out)
{
	*out = NULL;
	if (!m->is_submitted) {
		m->is_submitted = true; /* before: without a port it is done within the call */
		enum err e = offload_submit(at_once ? NULL : c->s->offload, work, done, m);
		m->is_submitted = !e;
		if (e)
			return e == ERR_UNAVAILABLE ? ERR_OK : e; /* no room: the next step tries again */
	}
	if (!m->is_done)
		return ERR_OK;
	enum err e = self_job_error(m->job, c->fault);
	*out = e ? NULL : m->job;
	return e;
}

void self_measure_free(struct self_measure *m)
{
	if (!m)
		return;
	if (m->is_submitted && !m->is_done) {
		m->is_abandoned = true; /* its job frees it */
		return;
	}
	self_job_free(m->job);
	free(m);
}
