#include "service/rollout_cohort.h"

#include <assert.h>

#include "service/registry.h"
#include "service/rollout_parts.h"

#define PAGE 1000
#define ARENA_BYTES (16u << 20)

struct visit {
	struct call *c;
	enum err (*fn)(void *ctx, struct device_state *d);
	void *ctx;
};

static enum err visit(const struct visit *v, int64_t device)
{
	struct device_state *d = registry_by_row(v->c->s->registry, device);
	return d != NULL ? v->fn(v->ctx, d) : ERR_OK;
}

static enum err each_control(const struct visit *v, int64_t rollout, int64_t stage, struct arena *a)
{
	struct block_row *rows;
	size_t count = 0;
	enum err e = block_list(v->c->s->rollouts->store, rollout, stage, &rows, &count, a, v->c->fault);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		if (!rows[i].is_canary)
			e = visit(v, rows[i].device);
	}
	return e;
}

static enum err each_deployment(const struct visit *v, int64_t rollout, int64_t stage, bool canaries, struct arena *a)
{
	int64_t after = 0;
	for (;;) {
		struct deployment_row *rows;
		size_t count = 0;
		arena_reset(a);
		enum err e = deployment_page(v->c->s->rollouts->deployments, rollout, stage, DEPLOYMENT_STATUS_COUNT, after, PAGE, &rows, &count, a, v->c->fault);
		for (size_t i = 0; i < count && e == ERR_OK; i++) {
			if (!canaries || rows[i].is_canary)
				e = visit(v, rows[i].device);
		}
		if (e != ERR_OK || count < PAGE)
			return e;
		after = rows[count - 1].id;
	}
}

enum err rollout_cohort_each(struct call *c, int64_t rollout, int64_t stage, enum rollout_cohort cohort,
	enum err (*fn)(void *ctx, struct device_state *d), void *ctx)
{
	assert(cohort != COHORT_CONTROL || stage >= 0);
	const struct visit v = {c, fn, ctx};
	struct arena *a = arena_new(ARENA_BYTES);
	struct rollout_row row;
	enum err e = rollout_get(c->s->rollouts->store, rollout, &row, a, c->fault);
	if (e == ERR_OK && cohort == COHORT_CONTROL)
		e = each_control(&v, rollout, stage, a);
	else if (e == ERR_OK)
		e = each_deployment(&v, rollout, stage, cohort == COHORT_CANARY, a);
	arena_free(a);
	return e;
}
