/* A stage begins, in pieces: who can take part (scan), who is drawn (a job off the loop), their rows. The same machinery draws further blocks
 * for an extended bake, and has devices that appeared late join the last stage.
 *
 * In memory is only how far it has come. Until its last piece the stage is scheduled in the database; what it has written by then is taken
 * away before it is begun anew. The scan and the draw saw the fleet as it was: each device is looked at again when its row is written. That
 * depends on the device alone, not on its coin, so that leaving one out leaves the others' coins fair. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/access.h"
#include "service/observe.h"
#include "service/offload.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "service/rollout_self.h"
#include "service/unit.h"

#define PAGE 32               /* rows read or deleted at once */
#define COUNT_PAGE 2000       /* devices of a scan, in memory */
#define AGAIN_MS 5000         /* after a scan that led to nothing */
#define AGAIN_TIMES 20        /* and so many times as long as it took */

enum kind { STAGE, JOIN, EXTEND };
enum phase { CLEAN, MEMBERS, SCAN, COUNT, DRAW, DRAWING, PAST, WRITE, COMPLETE };

struct stage_begin {
	enum kind kind;
	enum phase phase;
	int64_t stage;
	bool is_shadow;
	uint64_t busy_ns;
	struct rollout_scan *scan; /* the job's as long as that is under way and nobody waits for it */
	struct draw_job *job;
	bool is_drawn;
	int64_t need; /* blocks, or the stage waits; 0: it is not judged */
	/* CLEAN, COUNT */
	size_t at;
	int64_t eligible;
	/* MEMBERS: of the blocks that the stage has */
	int64_t *taken;
	size_t taken_count, taken_room;
	int64_t after_block, after_device, next_block, blocks_there, controls_there;
	/* PAST: control self */
	struct self_measure *measure;
	const struct self_job *past; /* its own, when it is done */
	uint32_t *past_places;       /* of members, in the question */
	int64_t without_past;
	/* WRITE */
	size_t next_member, next_chosen, block_end;
	bool skips_block;
	int64_t canaries_here, controls_here; /* of the block that is being written */
	int64_t blocks, controls, devices;    /* written */
	uint32_t release_text, known_text;
	int64_t known_release;
};

/* ---- its life ---- */

static struct stage_begin *begin_new(struct rollout_live *live, enum kind kind, const struct stage_row *stage)
{
	rollout_begin_free(live);
	struct stage_begin *b = calloc(1, sizeof *b);
	if (!b)
		abort();
	b->kind = kind;
	b->stage = stage->stage;
	b->is_shadow = rollout_is_shadow(live, stage->stage);
	b->phase = kind == STAGE ? CLEAN : kind == EXTEND ? MEMBERS : SCAN;
	b->after_block = b->after_device = -1;
	live->begin = b;
	return b;
}

void rollout_begin_free(struct rollout_live *live)
{
	struct stage_begin *b = live->begin;
	if (!b)
		return;
	live->begin = NULL;
	if (b->job && !b->is_drawn) {
		b->job->owner = NULL; /* its end frees it, and the scan */
	} else {
		draw_free(b->job);
		rollout_scan_free(b->scan);
	}
	self_measure_free(b->measure);
	free(b->past_places);
	free(b->taken);
	free(b);
}

bool rollout_begin_is_open(const struct rollout_live *live, int64_t stage)
{
	const struct stage_begin *b = live->begin;
	return b && b->kind == STAGE && b->stage == stage && b->phase != COMPLETE;
}

static bool is_last(const struct rollout_rows *x, int64_t stage)
{
	return (size_t)stage + 1 == x->stage_count;
}

static bool is_open(const struct stage_row *stage)
{
	return strcmp(stage->status, "running") == 0 || strcmp(stage->status, "baking") == 0;
}

/* An extension's blocks are drawn whether or not the stage is held and whoever else of it still waits, or the course of what is judged would
 * depend on what was seen (docs/judge.md); hold: all stops them, as it stops all canaries. */
static bool wants_blocks(const struct rollout_rows *x, const struct stage_row *stage)
{
	const struct rollout_request *q = &x->live->spec;
	bool is_drawn_so = q->devices.count == 0 || stage->stage != rollout_first_live(x->live);
	bool is_held = strcmp(stage->verdict, "hold") == 0 && strcmp(q->judge.hold, "all") == 0;
	bool is_undecided = strcmp(stage->verdict, "continue") == 0 || strcmp(stage->verdict, "hold") == 0;
	return is_open(stage) && stage->is_judged && stage->controls > 0 && is_drawn_so && stage->extension > stage->extension_drawn && is_undecided &&
		!is_held && !rollout_is_shadow(x->live, stage->stage);
}

void rollout_begin_settle(struct rollout_rows *x)
{
	const struct stage_begin *b = x->live->begin;
	if (!b)
		return;
	const struct stage_row *stage = &x->stages[b->stage];
	bool goes_on = x->status == ROLLOUT_RUNNING && (b->kind == STAGE ? strcmp(stage->status, "scheduled") == 0
		: b->kind == JOIN ? is_open(stage) : wants_blocks(x, stage));
	if (!goes_on)
		rollout_begin_free(x->live);
}

/* ---- what was left behind ---- */

enum err rollout_remove_deployment(struct call *c, const struct deployment_row *d)
{
	const struct device_state *device = registry_by_row(c->s->registry, d->device);
	if (device && device->deployment == d->id)
		deployment_set_active(c, d->device, 0);
	return deployment_remove(c->s->rollouts->deployments, d, c->fault);
}

/* Rows of a stage that has not begun. The deployments last: they are what a look at the counts finds. */
static enum err clean(struct call *c, struct rollout_rows *x, int64_t stage, struct rollout_piece *p)
{
	struct rollouts *r = c->s->rollouts;
	for (bool is_empty = false; !is_empty;) {
		enum err e = rollout_purge(r->store, x->row.id, stage, PAGE, &is_empty, c->fault);
		x->live->wrote = unit_newest(c->s);
		if (e || (!is_empty && rollout_piece_is_over(p)))
			return e;
	}
	for (size_t count = PAGE; count == PAGE;) {
		struct deployment_row *rows;
		enum err e = deployment_of_stage(r->deployments, x->row.id, stage, PAGE, &rows, &count, c->arena, c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			if (rollout_piece_is_over(p))
				return ERR_OK;
			e = rollout_remove_deployment(c, &rows[i]);
		}
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err clean_unbegun(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	for (size_t i = 0; i < x->stage_count; i++) {
		uint32_t counts[DEPLOYMENT_STATUS_COUNT], sum = 0;
		if (x->stages[i].started_at)
			continue;
		enum err e = deployment_counts(c->s->rollouts->deployments, x->row.id, (int64_t)i, counts, c->fault);
		for (int s = 0; s < DEPLOYMENT_STATUS_COUNT && !e; s++)
			sum += counts[s];
		if (!e && sum)
			e = clean(c, x, (int64_t)i, p);
		if (e || p->more)
			return e;
	}
	return ERR_OK;
}

/* ---- who ---- */

/* Members of the blocks that there are: they are not drawn again. */
static enum err list_members(struct call *c, const struct rollout_rows *x, struct stage_begin *b, struct rollout_piece *p, bool *is_done)
{
	for (size_t count = PAGE; count == PAGE;) {
		struct block_row rows[PAGE];
		if (rollout_piece_is_over(p))
			return ERR_OK;
		enum err e = block_page(c->s->rollouts->store, x->row.id, b->stage, b->after_block, b->after_device, rows, PAGE, &count, c->fault);
		if (e)
			return e;
		if (b->taken_count + count > b->taken_room) {
			b->taken_room = b->taken_room ? b->taken_room * 2 : 1024;
			b->taken = realloc(b->taken, b->taken_room * sizeof *b->taken);
			if (!b->taken)
				abort();
		}
		for (size_t i = 0; i < count; i++) {
			b->blocks_there += rows[i].block != b->after_block;
			b->controls_there += !rows[i].is_canary;
			b->taken[b->taken_count++] = rows[i].device;
			b->after_block = rows[i].block;
			b->after_device = rows[i].device;
		}
	}
	b->next_block = b->after_block + 1;
	*is_done = true;
	return ERR_OK;
}

static enum err scan(struct call *c, struct rollout_rows *x, struct stage_begin *b, struct rollout_piece *p, bool *is_done)
{
	enum err e = b->scan ? ERR_OK : rollout_scan_new(c, x->live, x->row.release, x->row.device_group, &b->scan);
	if (!e)
		e = rollout_scan_step(c, b->scan, &p->box, is_done);
	p->done++;
	p->more = p->more || (!e && !*is_done);
	return e;
}

static void count_eligible(struct stage_begin *b, struct rollout_piece *p, bool *is_done)
{
	const struct rollout_targets *t = rollout_scan_targets(b->scan);
	while (b->at < t->count) {
		if (rollout_piece_is_over(p))
			return;
		for (size_t end = b->at + COUNT_PAGE < t->count ? b->at + COUNT_PAGE : t->count; b->at < end; b->at++)
			b->eligible += t->devices[b->at].is_eligible;
	}
	*is_done = true;
}

/* ---- how many ---- */

static bool is_named(const struct rollout_rows *x, int64_t stage)
{
	return x->live->spec.devices.count > 0 && stage == rollout_first_live(x->live);
}

static void plan_shadow(const struct rollout_rows *x, struct stage_begin *b, struct draw_job *j, char *reason, size_t reason_size)
{
	const struct rollout_targets *t = rollout_scan_targets(b->scan);
	int64_t blocks = rollout_shadow_size(x->stages[b->stage].planned, t->shadow_ready);
	j->is_shadow = true;
	j->want = blocks;
	b->need = rollout_blocks_needed(x->live, x->live->spec.stages.count, b->stage, blocks ? blocks : 1, 0);
	if (blocks < b->need)
		snprintf(reason, reason_size, "waits for devices that are online and can run a release in shadow: %lld are, the judge needs %lld",
			(long long)t->shadow_ready, (long long)b->need);
}

static void plan_judged(const struct rollout_rows *x, struct stage_begin *b, struct draw_job *j, char *reason, size_t reason_size)
{
	const struct rollout_live *live = x->live;
	const struct rollout_targets *t = rollout_scan_targets(b->scan);
	int64_t blocks, controls, most, of_most, stage = b->stage, count = (int64_t)t->count;
	size_t stages = live->spec.stages.count;
	bool is_first = stage == rollout_first_live(live), is_holdback = (size_t)stage >= stages;
	if (is_holdback || (!is_first && j->want == count && !rollout_is_self(live)))
		return; /* nobody is left to compare with: planned so, and the stage says that it is not judged */
	rollout_plan_blocks(live, j->want, count, b->eligible, &blocks, &controls);
	rollout_plan_blocks(live, j->want, count, count, &most, &of_most);
	if (!is_first && most < rollout_blocks_needed(live, stages, stage, most ? most : 1, of_most ? of_most : 1))
		return; /* too few are left for any proof, whoever comes online */
	b->need = rollout_blocks_needed(live, stages, stage, blocks ? blocks : 1, controls ? controls : 1);
	j->blocks = blocks;
	j->controls = controls;
	j->is_self = rollout_is_self(live);
	if (blocks < b->need)
		snprintf(reason, reason_size, "waits for devices that are online with a baseline of every gate: %lld of %zu are, "
			"%lld blocks of a canary and its controls need more", (long long)b->eligible, t->count, (long long)b->need);
}

/* As many blocks again as the stage began with, of those who are in none. */
static void plan_extension(const struct rollout_rows *x, const struct stage_begin *b, struct draw_job *j)
{
	const struct stage_row *stage = &x->stages[b->stage];
	int64_t there = b->blocks_there > stage->blocks ? b->blocks_there - stage->blocks : 0; /* an interrupted one goes on */
	int64_t want = stage->blocks * stage->extension - there, count = (int64_t)rollout_scan_targets(b->scan)->count;
	int64_t room = ROLLOUT_MEMBERS_MAX - (int64_t)b->taken_count;
	if (want * 2 > room)
		want = room / 2;
	if (want <= 0)
		return;
	rollout_plan_blocks(x->live, want, count - b->controls_there, b->eligible - b->controls_there, &j->blocks, &j->controls);
	if (j->controls > stage->controls)
		j->controls = stage->controls;
	if (j->blocks && j->controls > room / j->blocks - 1)
		j->controls = room / j->blocks - 1;
}

static void plan_named(struct call *c, const struct rollout_rows *x, struct draw_job *j)
{
	const struct rollout_request *q = &x->live->spec;
	j->named = calloc(q->devices.count, sizeof *j->named);
	if (!j->named)
		abort();
	for (size_t i = 0; i < q->devices.count; i++) {
		const struct device_state *d = registry_find(c->s->registry, q->devices.items[i]);
		if (d)
			j->named[j->named_count++] = d->row;
	}
	j->controls_max = q->judge.controls_max;
	j->blocks = x->live->gate_count > 0;
}

/* Ready to be drawn, or `reason` says what is missing. */
static void plan(struct call *c, const struct rollout_rows *x, struct stage_begin *b, char *reason, size_t reason_size)
{
	const struct stage_row *stage = &x->stages[b->stage];
	const struct rollout_targets *t = rollout_scan_targets(b->scan);
	struct draw_job *j = b->job = calloc(1, sizeof *j);
	if (!j)
		abort();
	b->is_drawn = true; /* nobody else has it yet */
	*j = (struct draw_job){.owner = b, .scan = b->scan, .devices = t->devices, .count = t->count, .wave = (uint32_t)b->stage + 1};
	memcpy(j->seed, x->row.seed, sizeof j->seed);
	snprintf(j->label, sizeof j->label, "%lld", (long long)x->row.id);
	j->want = is_last(x, b->stage) || stage->planned > (int64_t)t->count ? (int64_t)t->count : stage->planned;
	if (b->kind == EXTEND) { /* other coins than those of the blocks before */
		snprintf(j->label, sizeof j->label, "%lld/%lld", (long long)x->row.id, (long long)b->next_block);
		plan_extension(x, b, j);
		j->taken = b->taken;
		j->taken_count = b->taken_count;
		b->taken = NULL;
	} else if (b->is_shadow) {
		plan_shadow(x, b, j, reason, reason_size);
	} else if (is_named(x, b->stage)) {
		plan_named(c, x, j);
		j->is_self = rollout_is_self(x->live);
		j->blocks = j->is_self ? SELF_DEVICES_MAX : j->blocks;
		if (!j->named_count)
			snprintf(reason, reason_size, "waits for one of the %zu named devices to be able to take part", x->live->spec.devices.count);
	} else {
		if (x->live->gate_count && j->want > 0)
			plan_judged(x, b, j, reason, reason_size);
		j->is_filled = true;
		j->is_canary_stage = b->stage == rollout_first_live(x->live);
	}
}

static void on_drawn(void *arg)
{
	struct draw_job *j = arg;
	if (j->owner)
		j->owner->is_drawn = true;
	else
		draw_free(j);
}

static enum err submit(struct call *c, struct stage_begin *b)
{
	if (b->job->count <= c->s->rollouts->small_draw) {
		draw_run(b->job);
		return ERR_OK;
	}
	b->is_drawn = false;
	enum err e = offload_submit(c->s->offload, draw_run, on_drawn, b->job);
	b->is_drawn = b->is_drawn || e; /* nobody has taken it */
	return e;
}

/* ---- rows ---- */

/* By name, and most devices run the same. */
static enum err previous_release(struct call *c, struct stage_begin *b, const struct device_state *d, int64_t *release)
{
	struct release_row row;
	*release = 0;
	const char *name = registry_text(c->s->registry, d->release);
	if (!name[0])
		return ERR_OK;
	if (b->known_text != d->release) {
		enum err e = releases_find(c, name, &row);
		if (e && e != ERR_NOT_FOUND)
			return e;
		b->known_text = d->release;
		b->known_release = e ? 0 : row.id; /* 0: it runs something that this server never had */
	}
	*release = b->known_release;
	return ERR_OK;
}

static enum err write_deployment(struct call *c, struct rollout_rows *x, struct stage_begin *b, int64_t device, enum deployment_kind kind,
	bool is_canary)
{
	struct deployment_row d = {.rollout = x->row.id,
		.stage = b->stage,
		.device = device,
		.kind = kind,
		.is_canary = is_canary,
		.state = DEPLOYMENT_WAITING,
		.attempt = 1,
		.updated_at = c->now_ms};
	enum err e = previous_release(c, b, registry_by_row(c->s->registry, device), &d.prev_release);
	if (!e && x->live->spec.delivery.supersede)
		e = deployment_supersede(c, x->live, registry_by_row(c->s->registry, device));
	if (e || (kind == DEPLOYMENT_SHAM && !d.prev_release))
		return e; /* what it runs cannot be signed here */
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
		bool is_sketch = gate->kind == METRIC_QUANTILE;
		if (!rollout_gate_has_baseline(gate) || !observe_baseline(c, device, gate->name, &a, is_sketch ? &s : NULL))
			continue;
		uint8_t bytes[ACCUM_ENCODED_MAX];
		size_t len = accum_encode(&a, is_sketch ? &s : NULL, bytes);
		enum err e = baseline_insert(c->s->rollouts->store, x->row.id, stage, device, g, bytes, len, c->fault);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err freeze_past(struct call *c, const struct rollout_rows *x, struct stage_begin *b, size_t member)
{
	size_t place = b->past_places[member];
	b->controls_here += self_job_windows(b->past, place);
	return self_job_write(b->past, c->s->rollouts->self, x->row.id, b->stage, place, c->fault);
}

/* As the scan saw it: there, free, and not on the release. */
static bool can_take_part(struct call *c, const struct rollout_live *live, const struct stage_begin *b, int64_t device)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	return d && deployment_is_free(c, live, d) && (!b->release_text || d->release != b->release_text);
}

static bool is_ddi(struct call *c, int64_t device)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	return d && d->is_ddi;
}

static enum err write_member(struct call *c, struct rollout_rows *x, struct stage_begin *b, const struct cohort_member *m)
{
	enum err e = ERR_OK;
	int64_t device = (int64_t)m->key;
	if (m->is_canary)
		e = write_deployment(c, x, b, device, b->is_shadow ? DEPLOYMENT_SHADOW : DEPLOYMENT_INSTALL, true);
	else if (x->live->spec.judge.sham && !is_ddi(c, device)) /* those would install whatever they are told */
		e = write_deployment(c, x, b, device, DEPLOYMENT_SHAM, false);
	struct block_row row = {.device = device, .block = b->next_block + m->block, .stratum = m->stratum, .is_canary = m->is_canary};
	if (!is_named(x, b->stage)) /* by hand they were not drawn by units */
		row.unit = (int64_t)b->job->devices[m->device].unit;
	if (!e)
		e = block_insert(c->s->rollouts->store, x->row.id, b->stage, &row, c->fault);
	if (!e && !b->is_shadow) /* pairs need none */
		e = freeze_baselines(c, x, b->stage, device);
	if (!e && b->past)
		e = freeze_past(c, x, b, (size_t)(m - b->job->members));
	b->canaries_here += m->is_canary;
	b->controls_here += !m->is_canary;
	b->devices += m->is_canary;
	return e;
}

static bool is_whole(const struct stage_begin *b, int64_t canaries, int64_t controls)
{
	return canaries > 0 && (controls > 0 || b->is_shadow || b->past);
}

/* At the first member of a block: would enough of it be left? */
static void enter_block(struct call *c, const struct rollout_live *live, struct stage_begin *b)
{
	const struct draw_job *j = b->job;
	int64_t canaries = 0, controls = 0;
	size_t end = b->next_member;
	for (; end < j->member_count && j->members[end].block == j->members[b->next_member].block; end++) {
		bool counts = can_take_part(c, live, b, (int64_t)j->members[end].key);
		canaries += counts && j->members[end].is_canary;
		controls += counts && !j->members[end].is_canary;
	}
	b->block_end = end;
	b->skips_block = !is_whole(b, canaries, controls);
	b->canaries_here = b->controls_here = 0;
}

static enum err write_blocks(struct call *c, struct rollout_rows *x, struct stage_begin *b, struct rollout_piece *p)
{
	const struct draw_job *j = b->job;
	while (b->next_member < j->member_count) {
		if (rollout_piece_is_over(p))
			return ERR_OK;
		if (b->next_member == b->block_end)
			enter_block(c, x->live, b);
		if (b->skips_block) {
			b->next_member = b->block_end;
			continue;
		}
		const struct cohort_member *m = &j->members[b->next_member++];
		enum err e = can_take_part(c, x->live, b, (int64_t)m->key) ? write_member(c, x, b, m) : ERR_OK;
		x->live->wrote = unit_newest(c->s);
		if (e)
			return e;
		if (b->next_member == b->block_end) {
			b->blocks += is_whole(b, b->canaries_here, b->controls_here); /* others are left out of every look */
			b->controls += b->controls_here;
		}
	}
	return ERR_OK;
}

static enum err write_others(struct call *c, struct rollout_rows *x, struct stage_begin *b, struct rollout_piece *p)
{
	const struct rollout_targets *t = rollout_scan_targets(b->scan);
	size_t count = b->kind == JOIN ? t->count : b->job->chosen_count;
	for (; b->next_chosen < count; b->next_chosen++) {
		if (rollout_piece_is_over(p))
			return ERR_OK;
		int64_t device = t->devices[b->kind == JOIN ? b->next_chosen : b->job->chosen[b->next_chosen]].device;
		bool exists = !can_take_part(c, x->live, b, device);
		enum err e = exists || b->kind != JOIN ? ERR_OK
			: deployment_exists(c->s->rollouts->deployments, x->row.id, device, &exists, c->fault);
		if (!e && !exists)
			e = write_deployment(c, x, b, device, DEPLOYMENT_INSTALL, b->kind == STAGE && b->stage == rollout_first_live(x->live));
		b->devices += !exists;
		x->live->wrote = unit_newest(c->s);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err write_rows(struct call *c, struct rollout_rows *x, struct stage_begin *b, struct rollout_piece *p, bool *is_done)
{
	b->release_text = registry_release_number(c->s->registry, x->row.release_name);
	enum err e = b->job ? write_blocks(c, x, b, p) : ERR_OK;
	if (!e && !p->more)
		e = write_others(c, x, b, p);
	*is_done = !e && !p->more;
	return e;
}

/* ---- their own past ---- */

static void ask_past(struct call *c, const struct rollout_rows *x, struct stage_begin *b)
{
	int64_t devices[SELF_DEVICES_MAX];
	const struct draw_job *j = b->job;
	for (size_t i = 0; i < j->member_count; i++)
		devices[i] = (int64_t)j->members[i].key;
	b->measure = self_measure_new(c, x->live, devices, j->member_count);
}

/* Who has no earlier window gets the release like all others, but is in no block. */
static void keep_those_with(struct stage_begin *b)
{
	struct draw_job *j = b->job;
	uint32_t kept = 0;
	b->past_places = calloc(j->member_count + 1, sizeof *b->past_places);
	if (!b->past_places)
		abort();
	for (size_t i = 0; i < j->member_count; i++) {
		if (!self_job_windows(b->past, i)) {
			j->chosen[j->chosen_count++] = j->members[i].device;
			continue;
		}
		b->past_places[kept] = (uint32_t)i;
		j->members[kept] = j->members[i];
		j->members[kept].block = kept;
		kept++;
	}
	b->without_past = (int64_t)j->member_count - kept;
	j->member_count = j->plan.blocks = kept;
}

static enum err measure_past(struct call *c, const struct rollout_rows *x, struct stage_begin *b, char *reason, size_t reason_size, bool *is_done)
{
	struct draw_job *j = b->job;
	size_t with;
	*is_done = !j->is_self || j->member_count == 0;
	if (*is_done)
		return ERR_OK;
	if (!b->measure)
		ask_past(c, x, b);
	enum err e = self_measure_step(c, b->measure, false, &b->past);
	if (e || !b->past)
		return e;
	*is_done = true;
	j->plan.controls = self_job_typical(b->past, &with);
	keep_those_with(b);
	if (is_named(x, b->stage))
		return ERR_OK; /* whoever chose them takes what there is */
	b->need = rollout_blocks_needed(x->live, x->live->spec.stages.count, b->stage, with ? (int64_t)with : 1, j->plan.controls ? j->plan.controls : 1);
	if ((int64_t)with < b->need)
		snprintf(reason, reason_size, "waits for a longer past of its devices: %zu of %lld have earlier windows of %lld ms, typically %u; %lld have to",
			with, (long long)(with + (size_t)b->without_past), (long long)rollout_self_window_ms(x->live), j->plan.controls, (long long)b->need);
	return ERR_OK;
}

/* ---- from phase to phase ---- */

static enum phase after(const struct stage_begin *b, enum phase done)
{
	return b->kind == JOIN && done == SCAN ? WRITE : done + 1;
}

static enum err draw(struct call *c, struct rollout_rows *x, struct stage_begin *b, char *reason, size_t reason_size, bool *is_done)
{
	enum err e = ERR_OK;
	if (!b->job)
		plan(c, x, b, reason, reason_size);
	if (!reason[0])
		e = submit(c, b);
	*is_done = !e;
	return e == ERR_UNAVAILABLE ? ERR_OK : e; /* no room: with the next tick */
}

static enum err check_draw(struct call *c, const struct rollout_rows *x, struct stage_begin *b, char *reason, size_t reason_size)
{
	const struct draw_job *j = b->job;
	if (j->result)
		return fault_set(c->fault, ERR_INTERNAL, "", "the draw of stage %lld refused its input", (long long)b->stage);
	if (is_named(x, b->stage) && b->kind == STAGE && !j->named_found)
		snprintf(reason, reason_size, "waits for one of the %zu named devices to be able to take part", x->live->spec.devices.count);
	return ERR_OK;
}

/* As far as the piece goes. `reason` is set when it cannot be now. */
static enum err advance(struct call *c, struct rollout_rows *x, struct rollout_piece *p, char *reason, size_t reason_size)
{
	struct stage_begin *b = x->live->begin;
	uint64_t from_ns = clock_mono_ns();
	enum err e = ERR_OK;
	bool is_done = true;
	reason[0] = '\0';
	while (!e && is_done && !reason[0] && !p->more && b->phase != COMPLETE) {
		is_done = false;
		switch (b->phase) {
		case CLEAN:
			e = clean(c, x, b->stage, p);
			is_done = !p->more;
			break;
		case MEMBERS: e = list_members(c, x, b, p, &is_done); break;
		case SCAN: e = scan(c, x, b, p, &is_done); break;
		case COUNT: count_eligible(b, p, &is_done); break;
		case DRAW: e = draw(c, x, b, reason, reason_size, &is_done); break;
		case DRAWING:
			is_done = b->is_drawn;
			e = is_done ? check_draw(c, x, b, reason, reason_size) : ERR_OK;
			break;
		case PAST: e = measure_past(c, x, b, reason, reason_size, &is_done); break;
		case WRITE: e = write_rows(c, x, b, p, &is_done); break;
		case COMPLETE: break;
		}
		if (!e && is_done && !reason[0])
			b->phase = after(b, b->phase);
	}
	b->busy_ns += clock_mono_ns() - from_ns;
	if (!e && b->phase == COMPLETE && b->blocks < b->need)
		snprintf(reason, reason_size, "of the devices that were drawn too many have left meanwhile: %lld blocks, %lld are needed",
			(long long)b->blocks, (long long)b->need);
	return e;
}

/* ---- a stage ---- */

static int64_t again_at(struct call *c, const struct stage_begin *b)
{
	int64_t pause_ms = (int64_t)(b->busy_ns / 1000000) * AGAIN_TIMES;
	return c->now_ms + (pause_ms > AGAIN_MS ? pause_ms : AGAIN_MS);
}

static enum err note_draw(struct call *c, const struct rollout_rows *x, const struct stage_row *stage, const struct stage_begin *e_of)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", x->row.id);
	json_int(&b, "stage", stage->stage);
	json_str(&b, "name", stage->name);
	if (e_of->kind == EXTEND) {
		json_int(&b, "extension", stage->extension);
		json_int(&b, "first_block", e_of->next_block);
	}
	json_int(&b, "devices", e_of->devices);
	json_int(&b, "blocks", e_of->blocks);
	json_int(&b, "controls", e_of->controls);
	json_bool(&b, "judged", e_of->blocks > 0);
	json_int(&b, "without_baseline", rollout_scan_targets(e_of->scan)->no_baseline);
	if (e_of->past)
		json_int(&b, "without_windows", e_of->without_past);
	json_close_object(&b);
	enum err e = event_append(c, "rollout.draw", rollout_resource(c, x->row.id), buf_cstr(&b));
	buf_done(&b);
	return e;
}

enum err rollout_begin_stage(struct call *c, struct rollout_rows *x, struct stage_row *stage, struct rollout_piece *p, enum begun *begun,
	char *reason, size_t reason_size)
{
	struct rollout_live *live = x->live;
	if (!live->begin || live->begin->kind != STAGE || live->begin->stage != stage->stage)
		begin_new(live, STAGE, stage);
	*begun = BEGUN_PARTLY;
	enum err e = advance(c, x, p, reason, reason_size);
	struct stage_begin *b = live->begin;
	if (!e && reason[0]) {
		*begun = BEGUN_NOT;
		live->begin_at_ms = again_at(c, b);
		rollout_begin_free(live);
	}
	if (e || reason[0] || b->phase != COMPLETE)
		return e;
	*begun = BEGUN;
	stage->blocks = b->blocks;
	stage->controls = b->job->plan.controls;
	stage->is_judged = b->blocks > 0;
	e = note_draw(c, x, stage, b);
	live->join_at_ms = c->now_ms + AGAIN_MS;
	live->begin_at_ms = 0;
	rollout_begin_free(live);
	return e;
}

/* ---- later ---- */

static enum err finish_extension(struct call *c, struct rollout_rows *x, struct stage_begin *b)
{
	struct stage_row *stage = &x->stages[b->stage];
	stage->extension_drawn = stage->extension;
	enum err e = stage_update(c->s->rollouts->store, stage, c->fault);
	if (!e)
		e = note_draw(c, x, stage, b);
	rollout_judged_free(x->live); /* the next look reads them all */
	return e;
}

static enum err go_on(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	char reason[200];
	struct rollout_live *live = x->live;
	enum err e = advance(c, x, p, reason, sizeof reason);
	struct stage_begin *b = live->begin;
	if (!e && reason[0]) {
		live->begin_at_ms = again_at(c, b);
		rollout_begin_free(live);
		return strcmp(reason, x->row.reason) == 0 ? ERR_OK : rollout_set_status(c, x, x->status, reason);
	}
	if (e || b->phase != COMPLETE)
		return e;
	if (b->kind == STAGE) {
		p->more = true; /* the next decision begins it */
		return ERR_OK;
	}
	if (b->kind == EXTEND)
		e = finish_extension(c, x, b);
	live->join_at_ms = again_at(c, b);
	rollout_begin_free(live);
	return e;
}

enum err rollout_begin_step(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	struct rollout_live *live = x->live;
	if (!live->begin) {
		enum err e = clean_unbegun(c, x, p);
		if (e || p->more)
			return e;
	}
	for (size_t i = 0; i < x->stage_count && !live->begin && x->status == ROLLOUT_RUNNING; i++) {
		struct stage_row *stage = &x->stages[i];
		if (wants_blocks(x, stage))
			begin_new(live, EXTEND, stage);
		else if (is_open(stage) && is_last(x, stage->stage) && c->now_ms >= live->join_at_ms)
			begin_new(live, JOIN, stage);
	}
	return live->begin ? go_on(c, x, p) : ERR_OK;
}
