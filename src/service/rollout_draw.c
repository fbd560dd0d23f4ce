/* A cohort is drawn, off the loop: blocks by the rollout's seed, and who else gets the release in the stage. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/cohort.h"
#include "service/rollout_parts.h"

static void *must(void *p)
{
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

static int by_number(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static bool has(const int64_t *sorted, size_t count, int64_t device)
{
	return count && bsearch(&device, sorted, count, sizeof device, by_number);
}

/* ---- blocks by the seed ---- */

/* Canaries before controls in each block: a deployment is written before anything else of its block. */
static void canaries_first(struct draw_job *j)
{
	struct cohort_member *sorted = must(malloc((j->member_count + 1) * sizeof *sorted));
	for (size_t from = 0, to, out = 0; from < j->member_count; from = to) {
		for (to = from; to < j->member_count && j->members[to].block == j->members[from].block; to++)
			if (j->members[to].is_canary)
				sorted[out++] = j->members[to];
		for (size_t i = from; i < to; i++)
			if (!j->members[i].is_canary)
				sorted[out++] = j->members[i];
	}
	free(j->members);
	j->members = sorted;
}

static void draw_blocks(struct draw_job *j)
{
	size_t eligible = 0;
	struct cohort_device *devices = must(malloc((j->count + 1) * sizeof *devices));
	uint32_t *places = must(malloc((j->count + 1) * sizeof *places));
	for (size_t i = 0; i < j->count; i++) {
		const struct plan_device *p = &j->devices[i];
		if (!p->is_eligible || has(j->taken, j->taken_count, p->device))
			continue;
		places[eligible] = (uint32_t)i;
		devices[eligible++] = (struct cohort_device){
			.key = (uint64_t)p->device, .unit = p->unit, .stratum = p->stratum, .baseline = p->baseline};
	}
	struct cohort_request q = {.seed = j->seed, .rollout = j->label, .wave = j->wave, .canaries = (uint32_t)j->blocks,
		.controls_max = (uint32_t)j->controls};
	size_t bytes = cohort_workspace_bytes(eligible);
	void *workspace = must(malloc(bytes));
	j->members = must(malloc((eligible + 1) * sizeof *j->members));
	j->result = cohort_draw(&q, devices, eligible, j->members, &j->member_count, &j->plan, workspace, bytes);
	if (j->result)
		j->member_count = 0;
	for (size_t i = 0; i < j->member_count; i++)
		j->members[i].device = places[j->members[i].device];
	free(workspace);
	free(places);
	free(devices);
	canaries_first(j);
}

/* ---- canaries by hand ---- */

static struct cohort_member member_of(const struct draw_job *j, size_t place, uint32_t block, bool is_canary)
{
	const struct plan_device *p = &j->devices[place];
	return (struct cohort_member){.key = (uint64_t)p->device, .device = (uint32_t)place, .block = block, .stratum = p->stratum,
		.is_canary = is_canary};
}

/* One block for each that can be judged, with controls as they come: this is said to be no proof (guarantee: none). */
static void draw_named(struct draw_job *j, bool *is_chosen)
{
	for (size_t i = 0; i < j->count; i++)
		if (has(j->named, j->named_count, j->devices[i].device)) {
			is_chosen[i] = true;
			j->named_found++;
		}
	size_t controls = j->named_found ? (j->count - j->named_found) / j->named_found : 0;
	controls = controls > (size_t)j->controls_max ? (size_t)j->controls_max : controls;
	j->members = must(calloc(j->named_found * (controls + 1) + 1, sizeof *j->members));
	size_t next = 0;
	for (size_t i = 0; i < j->count && controls && j->blocks; i++) {
		if (!is_chosen[i] || !j->devices[i].is_eligible)
			continue;
		size_t taken = 0, from = j->member_count;
		j->members[j->member_count++] = member_of(j, i, j->plan.blocks, true);
		for (; next < j->count && taken < controls; next++)
			if (!is_chosen[next] && j->devices[next].is_eligible) {
				j->members[j->member_count++] = member_of(j, next, j->plan.blocks, false);
				taken++;
			}
		if (!taken) {
			j->member_count = from;
			break;
		}
		j->plan.blocks++;
	}
	j->plan.controls = (uint32_t)controls;
}

/* ---- who else ---- */

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
static void choose_rest(struct draw_job *j, bool *is_chosen, const bool *is_member, int64_t canaries)
{
	struct prng_order order;
	size_t free_count = 0;
	prng_order_init(&order, j->seed, j->label, j->wave);
	struct ranked *ranked = must(malloc((j->count + 1) * sizeof *ranked));
	for (size_t i = 0; i < j->count; i++)
		if (!is_member[i] && !is_chosen[i])
			ranked[free_count++] = (struct ranked){prng_order_rank(&order, (uint64_t)j->devices[i].device), (uint32_t)i};
	size_t room = j->want > canaries ? (size_t)(j->want - canaries) : 0;
	if (room < free_count)
		qsort(ranked, free_count, sizeof *ranked, by_rank);
	for (size_t i = 0; i < free_count && i < room; i++)
		is_chosen[ranked[i].place] = true;
	free(ranked);
}

/* Control self: a device is a block, whoever it is; where not all can be judged, or get the release, the seed decides. */
static void draw_self(struct draw_job *j, bool *is_chosen)
{
	struct prng_order order;
	struct ranked *ranked = must(malloc((j->count + 1) * sizeof *ranked));
	size_t able = 0;
	prng_order_init(&order, j->seed, j->label, j->wave);
	for (size_t i = 0; i < j->count; i++) {
		bool is_named = has(j->named, j->named_count, j->devices[i].device);
		is_chosen[i] = is_named;
		j->named_found += is_named;
		if (j->devices[i].is_eligible && (is_named || !j->named_count))
			ranked[able++] = (struct ranked){prng_order_rank(&order, (uint64_t)j->devices[i].device), (uint32_t)i};
	}
	qsort(ranked, able, sizeof *ranked, by_rank);
	j->members = must(malloc((able + 1) * sizeof *j->members));
	for (size_t i = 0; i < able && (int64_t)i < j->blocks; i++)
		j->members[j->member_count++] = member_of(j, ranked[i].place, (uint32_t)i, true);
	j->plan.blocks = (uint32_t)j->member_count;
	free(ranked);
}

void draw_run(void *job)
{
	struct draw_job *j = job;
	bool *is_chosen = must(calloc(j->count + 1, sizeof *is_chosen)), *is_member = must(calloc(j->count + 1, sizeof *is_member));
	if (j->named_count > 0) /* qsort wants an array even for nothing */
		qsort(j->named, j->named_count, sizeof *j->named, by_number);
	if (j->taken_count > 0)
		qsort(j->taken, j->taken_count, sizeof *j->taken, by_number);
	if (j->is_shadow) {
		j->members = must(malloc(((size_t)j->want + 1) * sizeof *j->members));
		j->member_count = rollout_shadow_choose(j->seed, j->label, (int64_t)j->wave - 1, rollout_scan_targets(j->scan), j->want, j->members,
			&j->plan.blocks);
	} else if (j->is_self) {
		draw_self(j, is_chosen);
	} else if (j->named_count) {
		draw_named(j, is_chosen);
	} else if (j->blocks) {
		draw_blocks(j);
	}
	int64_t canaries = 0;
	for (size_t i = 0; i < j->member_count; i++) {
		is_member[j->members[i].device] = true;
		canaries += j->members[i].is_canary;
	}
	if (j->is_filled && !(j->is_canary_stage && j->plan.blocks && !j->is_self))
		choose_rest(j, is_chosen, is_member, canaries);
	j->chosen = must(malloc((j->count + 1) * sizeof *j->chosen));
	for (size_t i = 0; i < j->count; i++)
		if (is_chosen[i] && !is_member[i])
			j->chosen[j->chosen_count++] = (uint32_t)i;
	free(is_chosen);
	free(is_member);
}

void draw_free(struct draw_job *job)
{
	if (!job)
		return;
	if (!job->owner)
		rollout_scan_free(job->scan);
	free(job->named);
	free(job->taken);
	free(job->members);
	free(job->chosen);
	free(job);
}
