#include "core/cohort.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/order.h"

/* What is drawn: a device, or all devices that share fate. */
struct unit {
	double baseline; /* mean of its devices */
	uint64_t rank;   /* random order by the seed */
	uint32_t stratum;
	uint32_t first, count; /* its devices: index[first .. first+count-1] */
};

struct stratum {
	uint32_t first, count; /* its units: by_unit[first .. first+count-1], in random order */
	uint32_t blocks;
	double remainder; /* of its proportional share of blocks */
};

struct draw {
	const struct cohort_request *q;
	const struct cohort_device *devices;
	struct cohort_plan *plan;
	uint32_t *index, *scratch; /* eligible devices, unit after unit */
	uint32_t eligible;
	struct unit *units;
	uint32_t *by_unit;
	uint32_t unit_count;
	struct stratum *strata;
	uint32_t *by_remainder;
	uint32_t stratum_count;
};

static size_t aligned(size_t bytes) {
	return (bytes + 15) & ~(size_t)15;
}

size_t cohort_workspace_bytes(size_t device_count) {
	size_t strata = device_count < COHORT_STRATA_MAX ? device_count : COHORT_STRATA_MAX;
	return 3 * aligned(device_count * sizeof(uint32_t)) + aligned(device_count * sizeof(struct unit)) +
		aligned(strata * sizeof(struct stratum)) + aligned(strata * sizeof(uint32_t)) + 16;
}

static void *take(uintptr_t *at, size_t bytes) {
	void *taken = (void *)*at;
	*at += aligned(bytes);
	return taken;
}

static void draw_init(struct draw *d, size_t device_count, void *workspace, size_t workspace_bytes) {
	assert(workspace_bytes >= cohort_workspace_bytes(device_count));
	size_t strata = device_count < COHORT_STRATA_MAX ? device_count : COHORT_STRATA_MAX;
	uintptr_t at = ((uintptr_t)workspace + 15) & ~(uintptr_t)15;
	d->index = take(&at, device_count * sizeof(uint32_t));
	d->scratch = take(&at, device_count * sizeof(uint32_t));
	d->by_unit = take(&at, device_count * sizeof(uint32_t));
	d->units = take(&at, device_count * sizeof(struct unit));
	d->strata = take(&at, strata * sizeof(struct stratum));
	d->by_remainder = take(&at, strata * sizeof(uint32_t));
}

/* ---- devices to units ---- */

static bool device_before(const void *ctx, uint32_t a, uint32_t b) {
	const struct cohort_device *devices = ctx, *x = &devices[a], *y = &devices[b];
	return x->unit != y->unit ? x->unit < y->unit : x->key < y->key;
}

static enum err group_units(struct draw *d, size_t device_count) {
	struct prng_order order;
	prng_order_init(&order, d->q->seed, d->q->rollout, d->q->wave);
	for (size_t i = 0; i < device_count; i++)
		if (isfinite(d->devices[i].baseline))
			d->index[d->eligible++] = (uint32_t)i;
	d->plan->no_baseline = (uint32_t)device_count - d->eligible;
	order_sort(d->index, d->scratch, d->eligible, device_before, d->devices);
	for (uint32_t i = 0, end; i < d->eligible; i = end) {
		const struct cohort_device *head = &d->devices[d->index[i]];
		struct unit *u = &d->units[d->unit_count];
		bool mixed = false;
		*u = (struct unit){.stratum = head->stratum, .first = i};
		for (end = i; end < d->eligible; end++) {
			const struct cohort_device *x = &d->devices[d->index[end]];
			if (end > i && x->unit == head->unit && x->key == d->devices[d->index[end - 1]].key)
				return ERR_INVALID;
			if (end > i && (x->unit == 0 || x->unit != head->unit))
				break;
			mixed |= x->stratum != head->stratum;
			u->stratum = x->stratum < u->stratum ? x->stratum : u->stratum;
			u->baseline += x->baseline;
		}
		u->count = end - i;
		u->baseline /= u->count;
		/* twice for shared units, so that unit 5 and device 5 have nothing in common */
		u->rank = prng_order_rank(&order, head->unit != 0 ? prng_order_rank(&order, head->unit) : head->key);
		d->plan->mixed_units += mixed;
		d->by_unit[d->unit_count] = d->unit_count;
		d->unit_count++;
	}
	d->plan->pool_units = d->unit_count;
	return ERR_OK;
}

/* ---- units to strata ---- */

static bool unit_before_by_stratum(const void *ctx, uint32_t a, uint32_t b) {
	const struct unit *units = ctx, *x = &units[a], *y = &units[b];
	return x->stratum != y->stratum ? x->stratum < y->stratum : x->rank < y->rank;
}

static enum err group_strata(struct draw *d) {
	order_sort(d->by_unit, d->scratch, d->unit_count, unit_before_by_stratum, d->units);
	for (uint32_t i = 0; i < d->unit_count; i++) {
		if (i == 0 || d->units[d->by_unit[i]].stratum != d->units[d->by_unit[i - 1]].stratum) {
			if (d->stratum_count == COHORT_STRATA_MAX)
				return ERR_TOO_LARGE;
			d->strata[d->stratum_count++] = (struct stratum){.first = i};
		}
		d->strata[d->stratum_count - 1].count++;
	}
	d->plan->strata = d->stratum_count;
	return ERR_OK;
}

static uint32_t blocks_possible(const struct draw *d, uint32_t controls) {
	uint32_t blocks = 0;
	for (uint32_t s = 0; s < d->stratum_count; s++)
		blocks += d->strata[s].count / (controls + 1);
	return blocks;
}

static uint32_t choose_controls(const struct draw *d) {
	uint32_t most = d->q->controls_max, wanted = d->q->canaries;
	if (most == 0 || most > COHORT_CONTROLS_MAX)
		most = COHORT_CONTROLS_MAX;
	uint32_t share = d->unit_count / wanted, controls = share > most ? most : share > 2 ? share - 1 : 1;
	while (controls > 1 && blocks_possible(d, controls) < wanted)
		controls--;
	return controls;
}

static bool stratum_before(const void *ctx, uint32_t a, uint32_t b) {
	const struct stratum *strata = ctx;
	return strata[a].remainder > strata[b].remainder;
}

/* Blocks by strata in proportion to their units (largest remainders first), none beyond what a stratum can form. */
static void share_blocks(struct draw *d, uint32_t blocks, uint32_t controls) {
	uint32_t given = 0;
	for (uint32_t s = 0; s < d->stratum_count; s++) {
		struct stratum *x = &d->strata[s];
		uint64_t part = (uint64_t)blocks * x->count;
		x->blocks = (uint32_t)(part / d->unit_count);
		if (x->blocks > x->count / (controls + 1))
			x->blocks = x->count / (controls + 1);
		x->remainder = (double)(part - (uint64_t)x->blocks * d->unit_count);
		given += x->blocks;
		d->by_remainder[s] = s;
	}
	order_sort(d->by_remainder, d->scratch, d->stratum_count, stratum_before, d->strata);
	while (given < blocks) { /* at least one stratum has room: blocks is not above what all can form */
		for (uint32_t i = 0; i < d->stratum_count && given < blocks; i++) {
			struct stratum *x = &d->strata[d->by_remainder[i]];
			if (x->blocks < x->count / (controls + 1)) {
				x->blocks++;
				given++;
			}
		}
	}
}

/* ---- strata to blocks ---- */

static bool unit_before_by_baseline(const void *ctx, uint32_t a, uint32_t b) {
	const struct unit *units = ctx, *x = &units[a], *y = &units[b];
	return x->baseline != y->baseline ? x->baseline < y->baseline : x->rank < y->rank;
}

static size_t put_unit(const struct draw *d, const struct unit *u, uint32_t block, bool is_canary,
	struct cohort_member *out) {
	for (uint32_t i = 0; i < u->count; i++) {
		uint32_t device = d->index[u->first + i];
		out[i] = (struct cohort_member){
			.key = d->devices[device].key,
			.device = device,
			.block = block,
			.stratum = u->stratum,
			.is_canary = is_canary,
		};
	}
	if (is_canary)
		d->plan->canary_devices += u->count;
	else
		d->plan->control_devices += u->count;
	return u->count;
}

static size_t cut_blocks(struct draw *d, uint32_t controls, struct cohort_member *out) {
	size_t at = 0;
	uint32_t block = 0;
	for (uint32_t s = 0; s < d->stratum_count; s++) {
		const struct stratum *x = &d->strata[s];
		uint32_t *chosen = d->by_unit + x->first;
		order_sort(chosen, d->scratch, (size_t)x->blocks * (controls + 1), unit_before_by_baseline, d->units);
		for (uint32_t b = 0; b < x->blocks; b++, block++) {
			uint32_t canary = prng_uniform(d->q->seed, d->q->rollout, d->q->wave, block, controls + 1);
			for (uint32_t i = 0; i <= controls; i++)
				at += put_unit(d, &d->units[chosen[b * (controls + 1) + i]], block, i == canary, out + at);
		}
		d->plan->strata_uncovered += x->blocks == 0;
	}
	return at;
}

enum err cohort_draw(const struct cohort_request *q, const struct cohort_device *devices, size_t device_count,
	struct cohort_member *members, size_t *member_count, struct cohort_plan *plan, void *workspace,
	size_t workspace_bytes) {
	struct draw d = {.q = q, .devices = devices, .plan = plan};
	*plan = (struct cohort_plan){.short_of = q->canaries};
	*member_count = 0;
	if (q->canaries < 1)
		return ERR_INVALID;
	if (device_count > COHORT_DEVICES_MAX)
		return ERR_TOO_LARGE;
	draw_init(&d, device_count, workspace, workspace_bytes);
	enum err e = group_units(&d, device_count);
	if (!e)
		e = group_strata(&d);
	if (e)
		return e;
	uint32_t controls = choose_controls(&d), possible = blocks_possible(&d, controls);
	plan->blocks = possible < q->canaries ? possible : q->canaries;
	plan->controls = plan->blocks > 0 ? controls : 0;
	plan->short_of = q->canaries - plan->blocks;
	share_blocks(&d, plan->blocks, controls);
	*member_count = cut_blocks(&d, controls, members);
	plan->left_over = d.eligible - (uint32_t)*member_count;
	return ERR_OK;
}
