/* Deployments that stand aside: releases in shadow, which run beside a device's own, and shams, with which controls install what they run. */
#include <stdlib.h>
#include <string.h>

#include "core/prng.h"
#include "service/registry.h"
#include "service/rollout_parts.h"

#define LET_GO_PIECE 200 /* rows read at once */

bool rollout_is_shadow(const struct rollout_live *live, int64_t stage)
{
	const struct rollout_stage_request *stages = live->spec.stages.items;
	return stage >= 0 && (size_t)stage < live->spec.stages.count && strcmp(stages[stage].mode, "shadow") == 0;
}

int64_t rollout_first_live(const struct rollout_live *live)
{
	int64_t stage = 0;
	while (rollout_is_shadow(live, stage))
		stage++;
	return stage;
}

/* ---- gates of pairs ---- */

void rollout_pair_gates(struct rollout_live *live)
{
	live->pair_gate_count = 0;
	for (uint32_t i = 0; i < live->gate_count; i++)
		if (live->gates[i].kind != METRIC_SILENCE) {
			live->pair_places[live->pair_gate_count] = (uint8_t)i;
			live->pair_gates[live->pair_gate_count] = live->gates[i];
			live->pair_gates[live->pair_gate_count++].fixed_scale = 0; /* that of unpaired scores is no pair's */
		}
	judge_gates_normalise(live->pair_gates, live->pair_gate_count);
}

const struct judge_gate *rollout_stage_gates(const struct rollout_live *live, int64_t stage, uint32_t *count)
{
	bool is_shadow = rollout_is_shadow(live, stage);
	*count = is_shadow ? live->pair_gate_count : live->gate_count;
	return is_shadow ? live->pair_gates : live->gates;
}

uint32_t rollout_gate_place(const struct rollout_live *live, int64_t stage, uint32_t gate)
{
	return rollout_is_shadow(live, stage) ? live->pair_places[gate] : gate;
}

/* ---- who runs it in shadow ---- */

struct ranked {
	uint64_t rank; /* or unit */
	uint32_t place;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

int64_t rollout_shadow_size(int64_t planned, int64_t able)
{
	int64_t size = planned < able ? planned : able;
	return size < ROLLOUT_BLOCKS_MAX ? size : ROLLOUT_BLOCKS_MAX;
}

size_t rollout_shadow_choose(const uint8_t seed[32], const char *rollout, int64_t stage, const struct rollout_targets *targets, int64_t planned,
	struct cohort_member *out, uint32_t *blocks)
{
	struct prng_order order;
	size_t able = 0, count;
	prng_order_init(&order, seed, rollout, (uint32_t)stage + 1);
	struct ranked *ranked = calloc(targets->count + 1, sizeof *ranked);
	if (!ranked)
		abort();
	for (size_t i = 0; i < targets->count; i++)
		if (targets->devices[i].can_shadow)
			ranked[able++] = (struct ranked){prng_order_rank(&order, (uint64_t)targets->devices[i].device), (uint32_t)i};
	qsort(ranked, able, sizeof *ranked, by_rank);
	count = (size_t)rollout_shadow_size(planned, (int64_t)able);
	for (size_t i = 0; i < count; i++)
		ranked[i].rank = targets->devices[ranked[i].place].unit;
	qsort(ranked, count, sizeof *ranked, by_rank);
	*blocks = 0;
	for (size_t i = 0; i < count; i++) {
		const struct plan_device *p = &targets->devices[ranked[i].place];
		bool same_unit = i > 0 && p->unit && p->unit == ranked[i - 1].rank; /* they share fate: one block, and one member of it */
		*blocks += !same_unit;
		out[i] = (struct cohort_member){.device = ranked[i].place, .key = (uint64_t)p->device, .stratum = p->stratum, .block = *blocks - 1,
			.is_canary = true};
	}
	free(ranked);
	return count;
}

/* ---- shams ---- */

enum err rollout_offer_shams(struct call *c, struct rollout_live *live, const struct deployment_row *canary)
{
	struct rollouts *r = c->s->rollouts;
	struct deployment_row *rows;
	size_t count = 0;
	int64_t block;
	if (!live->spec.judge.sham || !canary->is_canary || canary->kind != DEPLOYMENT_INSTALL)
		return ERR_OK;
	enum err e = block_of_canary(r->store, canary->rollout, canary->stage, canary->device, &block, c->fault);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	e = deployment_shams_of_block(r->deployments, canary->rollout, canary->stage, block, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; i < count && !e; i++)
		e = deployment_offer(c, live, &rows[i]);
	rate_take(&live->rate, &live->rate_state, (uint32_t)count); /* they are downloads like others */
	live->notified += (uint32_t)count;
	return e;
}

/* Of a control that left, or installed: its canary may be done already. */
static enum err start_block_of(struct call *c, struct rollout_live *live, int64_t rollout, int64_t stage, int64_t block)
{
	struct rollouts *r = c->s->rollouts;
	int64_t unfinished, device = 0;
	struct deployment_row canary = {.rollout = rollout, .stage = stage, .is_canary = true};
	enum err e = deployment_unfinished_of_block(r->deployments, rollout, stage, block, &unfinished, c->fault);
	if (e || unfinished)
		return e;
	e = block_canary(r->store, rollout, stage, block, &device, c->fault);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	canary.device = device;
	return rollout_start_block(c, live, &canary);
}

enum err rollout_part_is_over(struct call *c, struct rollout_live *live, const struct deployment_row *d)
{
	int64_t block;
	if (d->kind == DEPLOYMENT_SHADOW || !live->spec.judge.sham)
		return rollout_start_block(c, live, d);
	enum err e = block_of_member(c->s->rollouts->store, d->rollout, d->stage, d->device, &block, c->fault);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	return start_block_of(c, live, d->rollout, d->stage, block);
}

enum err rollout_control_left(struct call *c, int64_t rollout, int64_t stage, int64_t block)
{
	struct rollout_rows x;
	enum err e = rollout_load(c, rollout, &x);
	return e || !x.live->spec.judge.sham ? e : start_block_of(c, x.live, rollout, stage, block);
}

/* ---- letting go ---- */

static bool is_over(const struct rollout_rows *x, const struct stage_row *stage)
{
	enum stage_status s;
	bool ends = x->status == ROLLOUT_STOPPING || x->status == ROLLOUT_REVERTING || rollout_status_is_final(x->status);
	return ends || (stage_status_parse(stage->status, &s) && (s == STAGE_FINISHED || s == STAGE_CANCELLED || s == STAGE_REVERTED));
}

static enum err let_go_stage(struct call *c, struct rollout_rows *x, int64_t stage, const struct timebox *box, bool *is_done)
{
	struct rollout_live *live = x->live;
	*is_done = false;
	while (!*is_done) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_aside(c->s->rollouts->deployments, x->row.id, stage, live->let_go_after, LET_GO_PIECE, &rows, &count, c->arena,
			c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			e = deployment_let_go(c, &rows[i], false);
			live->let_go_after = rows[i].device;
			if (!e && timebox_is_over(box))
				return ERR_OK;
		}
		if (e)
			return e;
		*is_done = count < LET_GO_PIECE;
	}
	return ERR_OK;
}

enum err rollout_let_go(struct call *c, struct rollout_rows *x, const struct timebox *box, bool *is_done)
{
	struct rollout_live *live = x->live;
	*is_done = true;
	for (size_t i = 0; i < x->stage_count; i++) {
		struct stage_row *stage = &x->stages[i];
		bool has_aside = stage->is_shadow || (live->spec.judge.sham && stage->is_judged);
		if (!has_aside || live->let_go_stages >> i & 1 || !is_over(x, stage))
			continue;
		if (live->let_go_stage != (int64_t)i) {
			live->let_go_stage = (int64_t)i;
			live->let_go_after = 0;
		}
		enum err e = let_go_stage(c, x, (int64_t)i, box, is_done);
		if (e || !*is_done)
			return e;
		live->let_go_stages |= 1u << i;
	}
	return ERR_OK;
}

void rollout_let_go_undone(struct rollout_live *live)
{
	live->let_go_stages = 0;
	live->let_go_stage = -1; /* from the beginning: who is let go already has nothing left to do */
}
