/* A stage begins: blocks are drawn with the rollout's seed, baselines are frozen, deployments are written. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cohort.h"
#include "service/access.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"

struct draw {
	struct call *c;
	struct rollout_rows *x;
	struct stage_row *stage;
	struct rollout_targets targets;
	bool *is_member; /* of a block, by place in targets */
	bool *is_chosen; /* gets the release in this stage */
	struct cohort_member *members;
	size_t member_count;
	struct cohort_plan plan;
};

static bool is_last_stage(const struct draw *w)
{
	return (size_t)w->stage->stage + 1 == w->x->stage_count;
}

/* How many devices the stage is to take now: the last one takes everybody who is left. */
static int64_t wanted(const struct draw *w)
{
	int64_t count = (int64_t)w->targets.count;
	return is_last_stage(w) || w->stage->planned > count ? count : w->stage->planned;
}

static bool is_named(const struct draw *w)
{
	return w->x->live->spec.devices.count > 0 && w->stage->stage == 0;
}

static enum err draw_blocks(struct draw *w, int64_t blocks, int64_t controls)
{
	struct call *c = w->c;
	size_t eligible = 0;
	struct cohort_device *devices = arena_array(c->arena, w->targets.count + 1, sizeof *devices);
	uint32_t *places = arena_array(c->arena, w->targets.count + 1, sizeof *places);
	for (size_t i = 0; i < w->targets.count; i++) {
		const struct plan_device *p = &w->targets.devices[i];
		if (!p->is_eligible)
			continue;
		places[eligible] = (uint32_t)i;
		devices[eligible++] = (struct cohort_device){
			.key = (uint64_t)p->device, .unit = p->unit, .stratum = p->stratum, .baseline = p->baseline};
	}
	struct cohort_request q = {.seed = w->x->row.seed,
		.rollout = arena_printf(c->arena, "%lld", (long long)w->x->row.id),
		.wave = (uint32_t)w->stage->stage + 1,
		.canaries = (uint32_t)blocks,
		.controls_max = (uint32_t)controls};
	w->members = arena_array(c->arena, eligible + 1, sizeof *w->members);
	size_t bytes = cohort_workspace_bytes(eligible);
	enum err e = cohort_draw(&q, devices, eligible, w->members, &w->member_count, &w->plan, rollout_workspace(c->s->rollouts, bytes), bytes);
	if (e)
		return fault_set(c->fault, ERR_INTERNAL, "", "the draw of stage %lld refused its input", (long long)w->stage->stage);
	for (size_t i = 0; i < w->member_count; i++) {
		uint32_t place = places[w->members[i].device];
		w->is_member[place] = true;
		w->is_chosen[place] = w->members[i].is_canary;
		w->members[i].device = place;
	}
	return ERR_OK;
}

/* Canaries named by hand: one block of everybody who is there, which is said to be no proof (guarantee: none). */
static enum err draw_named(struct draw *w, bool *is_ready, char *reason, size_t reason_size)
{
	const struct rollout_request *q = &w->x->live->spec;
	size_t named = 0;
	for (size_t i = 0; i < w->targets.count; i++)
		for (size_t k = 0; k < q->devices.count; k++)
			if (strcmp(registry_by_row(w->c->s->registry, w->targets.devices[i].device)->id, q->devices.items[k]) == 0) {
				w->is_chosen[i] = true;
				named++;
			}
	if (!named) {
		*is_ready = false;
		snprintf(reason, reason_size, "waits for one of the %zu named devices to be able to take part", q->devices.count);
		return ERR_OK;
	}
	size_t controls = w->targets.count > named ? (w->targets.count - named) / named : 0;
	controls = controls > (size_t)q->judge.controls_max ? (size_t)q->judge.controls_max : controls;
	w->members = arena_array(w->c->arena, named * (controls + 1) + 1, sizeof *w->members);
	if (!controls || !w->x->live->gate_count)
		return ERR_OK;
	uint32_t block = 0;
	size_t next = 0;
	for (size_t i = 0; i < w->targets.count; i++) {
		if (!w->is_chosen[i] || !w->targets.devices[i].is_eligible)
			continue;
		size_t taken = 0, from = w->member_count;
		w->members[w->member_count++] = (struct cohort_member){.device = (uint32_t)i, .block = block, .is_canary = true};
		for (; next < w->targets.count && taken < controls; next++)
			if (!w->is_chosen[next] && w->targets.devices[next].is_eligible) {
				w->members[w->member_count++] = (struct cohort_member){.device = (uint32_t)next, .block = block};
				taken++;
			}
		if (!taken) {
			w->member_count = from;
			break;
		}
		block++;
	}
	for (size_t i = 0; i < w->member_count; i++) {
		w->is_member[w->members[i].device] = true;
		w->members[i].key = (uint64_t)w->targets.devices[w->members[i].device].device;
		w->members[i].stratum = w->targets.devices[w->members[i].device].stratum;
	}
	w->plan.blocks = block;
	w->plan.controls = (uint32_t)controls;
	return ERR_OK;
}

struct ranked {
	uint64_t rank;
	uint32_t place;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Fills the stage up with devices outside the blocks, in an order that the seed decides. */
static void choose_rest(struct draw *w, int64_t want)
{
	int64_t chosen = 0;
	size_t free_count = 0;
	struct prng_order order;
	prng_order_init(&order, w->x->row.seed, arena_printf(w->c->arena, "%lld", (long long)w->x->row.id), (uint32_t)w->stage->stage + 1);
	struct ranked *free_devices = arena_array(w->c->arena, w->targets.count + 1, sizeof *free_devices);
	for (size_t i = 0; i < w->targets.count; i++) {
		chosen += w->is_chosen[i];
		if (!w->is_member[i] && !w->is_chosen[i])
			free_devices[free_count++] =
				(struct ranked){prng_order_rank(&order, (uint64_t)w->targets.devices[i].device), (uint32_t)i};
	}
	if (chosen >= want)
		return;
	qsort(free_devices, free_count, sizeof *free_devices, by_rank);
	for (size_t i = 0; i < free_count && chosen < want; i++, chosen++)
		w->is_chosen[free_devices[i].place] = true;
}

static enum err previous_release(struct call *c, const struct device_state *d, int64_t *release)
{
	struct release_row row;
	*release = 0;
	const char *name = registry_text(c->s->registry, d->release);
	if (!name[0])
		return ERR_OK;
	enum err e = releases_find(c, name, &row);
	if (e == ERR_NOT_FOUND)
		return ERR_OK; /* it runs something that this server never had */
	*release = e ? 0 : row.id;
	return e;
}

static enum err write_deployment(struct call *c, struct rollout_rows *x, int64_t stage, const struct plan_device *p, bool is_canary)
{
	struct deployment_row d = {.rollout = x->row.id,
		.stage = stage,
		.device = p->device,
		.is_canary = is_canary,
		.state = DEPLOYMENT_WAITING,
		.attempt = 1,
		.updated_at = c->now_ms};
	enum err e = previous_release(c, registry_by_row(c->s->registry, p->device), &d.prev_release);
	if (!e)
		e = deployment_insert(c->s->rollouts->deployments, &d, c->fault);
	if (!e)
		e = deployment_activate(c->s->rollouts->deployments, d.device, d.id, c->fault);
	if (!e)
		deployment_set_active(c, d.device, d.id);
	return e;
}

static enum err freeze_baselines(struct call *c, const struct rollout_rows *x, int64_t stage, int64_t device)
{
	for (uint32_t g = 0; g < x->live->gate_count; g++) {
		const struct judge_gate *gate = &x->live->gates[g];
		struct metric_accum a;
		struct ddsketch s;
		if (gate->kind == METRIC_EVENT || gate->kind == METRIC_SILENCE || !observe_baseline(c, device, gate->name, &a, &s))
			continue;
		uint8_t bytes[ACCUM_ENCODED_MAX];
		size_t len = accum_encode(&a, gate->kind == METRIC_QUANTILE ? &s : NULL, bytes);
		enum err e = baseline_insert(c->s->rollouts->store, x->row.id, stage, device, g, bytes, len, c->fault);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err write_blocks(struct draw *w)
{
	for (size_t i = 0; i < w->member_count; i++) {
		struct block_row row = {
			.device = (int64_t)w->members[i].key, .block = w->members[i].block, .is_canary = w->members[i].is_canary};
		if (!is_named(w)) /* by hand they were not drawn by units */
			row.unit = (int64_t)w->targets.devices[w->members[i].device].unit;
		enum err e = block_insert(w->c->s->rollouts->store, w->x->row.id, w->stage->stage, &row, w->c->fault);
		if (!e)
			e = freeze_baselines(w->c, w->x, w->stage->stage, row.device);
		if (e)
			return e;
	}
	w->stage->blocks = w->plan.blocks;
	w->stage->controls = w->plan.controls;
	w->stage->is_judged = w->plan.blocks > 0;
	return ERR_OK;
}

static enum err note_draw(struct draw *w, int64_t chosen)
{
	struct call *c = w->c;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", w->x->row.id);
	json_int(&b, "stage", w->stage->stage);
	json_str(&b, "name", w->stage->name);
	json_int(&b, "devices", chosen);
	json_int(&b, "blocks", w->plan.blocks);
	json_int(&b, "controls", (int64_t)w->member_count - (int64_t)w->plan.blocks);
	json_bool(&b, "judged", w->plan.blocks > 0);
	json_int(&b, "without_baseline", w->targets.no_baseline);
	json_close_object(&b);
	enum err e = event_append(c, "rollout.draw", rollout_resource(c, w->x->row.id), buf_cstr(&b));
	buf_done(&b);
	return e;
}

static enum err write_stage(struct draw *w)
{
	int64_t chosen = 0;
	enum err e = ERR_OK;
	for (size_t i = 0; i < w->targets.count && !e; i++) {
		if (!w->is_chosen[i])
			continue;
		chosen++;
		e = write_deployment(w->c, w->x, w->stage->stage, &w->targets.devices[i], w->is_member[i] || w->stage->stage == 0);
	}
	if (!e)
		e = write_blocks(w);
	return e ? e : note_draw(w, chosen);
}

/* Fewest blocks with which the judge could ever revert, over all gates. */
static int64_t blocks_needed(const struct rollout_live *live, size_t stages, int64_t stage, int64_t blocks, int64_t controls)
{
	struct judge_config config;
	struct judge_plan plan;
	rollout_judge_config(live, stages, stage, blocks, controls, &config);
	judge_plan(&config, NULL, &plan);
	int64_t need = 1;
	for (uint32_t i = 0; i < live->gate_count; i++)
		need = plan.gates[i].n_min > need ? plan.gates[i].n_min : need;
	return need;
}

static enum err draw_judged(struct draw *w, int64_t want, bool *is_ready, char *reason, size_t reason_size)
{
	const struct rollout_live *live = w->x->live;
	int64_t eligible = 0, blocks, controls, stage = w->stage->stage;
	for (size_t i = 0; i < w->targets.count; i++)
		eligible += w->targets.devices[i].is_eligible;
	rollout_plan_blocks(live, want, (int64_t)w->targets.count, eligible, &blocks, &controls);
	bool is_holdback = (size_t)stage >= live->spec.stages.count;
	if (is_holdback || (stage > 0 && (want == (int64_t)w->targets.count)))
		return ERR_OK; /* nobody is left to compare with: planned so, and the stage says that it is not judged */
	int64_t need = blocks_needed(live, live->spec.stages.count, stage, blocks ? blocks : 1, controls ? controls : 1);
	int64_t most, of_most;
	rollout_plan_blocks(live, want, (int64_t)w->targets.count, (int64_t)w->targets.count, &most, &of_most);
	if (stage > 0 && most < blocks_needed(live, live->spec.stages.count, stage, most ? most : 1, of_most ? of_most : 1))
		return ERR_OK; /* too few are left for any proof, whoever comes online */
	if (blocks < need) {
		*is_ready = false;
		snprintf(reason, reason_size, "waits for devices that are online with a baseline of every gate: %lld of %zu are, "
			"%lld blocks of a canary and its controls need more", (long long)eligible, w->targets.count, (long long)need);
		return ERR_OK;
	}
	return draw_blocks(w, blocks, controls);
}

enum err rollout_draw_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, bool *is_ready, char *reason, size_t reason_size)
{
	struct draw w = {.c = c, .x = x, .stage = stage};
	*is_ready = true;
	reason[0] = '\0';
	enum err e = rollout_targets(c, x->live, x->row.release, x->row.device_group, &w.targets);
	if (e)
		return e;
	w.is_member = arena_array(c->arena, w.targets.count + 1, sizeof *w.is_member);
	w.is_chosen = arena_array(c->arena, w.targets.count + 1, sizeof *w.is_chosen);
	int64_t want = wanted(&w);
	if (is_named(&w))
		e = draw_named(&w, is_ready, reason, reason_size);
	else if (x->live->gate_count && want > 0)
		e = draw_judged(&w, want, is_ready, reason, reason_size);
	if (e || !*is_ready)
		return e;
	bool only_drawn = stage->stage == 0 && w.plan.blocks > 0;
	if (!is_named(&w) && !only_drawn)
		choose_rest(&w, want);
	return write_stage(&w);
}

enum err rollout_join_late(struct call *c, struct rollout_rows *x, struct stage_row *stage)
{
	struct rollout_targets targets;
	enum err e = rollout_targets(c, x->live, x->row.release, x->row.device_group, &targets);
	for (size_t i = 0; i < targets.count && !e; i++) {
		bool exists = false;
		e = deployment_exists(c->s->rollouts->deployments, x->row.id, targets.devices[i].device, &exists, c->fault);
		if (!e && !exists)
			e = write_deployment(c, x, stage->stage, &targets.devices[i], false);
	}
	return e;
}
