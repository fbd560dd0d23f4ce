/* The blocks of a judged stage in memory: loaded in pieces, and kept true while blocks begin, devices go, and units are undone. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/alerts.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/rollout_judged.h"
#include "service/rollout_self.h"

#define PAGE 500                   /* members read in one go: a millisecond */
#define BRICKS_A_TICK 256          /* deployments looked at for silence */
#define DEFAULT_INTERVAL_MS 60000

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void orphan(struct look_task *t)
{
	if (t && t->is_submitted && !t->is_done)
		t->judged = NULL; /* its job frees it */
	else
		look_free(t);
}

static void drop_looks(struct judged_stage *j)
{
	orphan(j->look);
	orphan(j->peek);
	j->look = j->peek = NULL;
	j->changes++;
}

void rollout_judged_free(struct rollout_live *live)
{
	struct judged_stage *j = live->judged;
	live->judged = NULL;
	if (!j)
		return;
	drop_looks(j);
	self_past_free(j->past);
	free(j->rows);
	free(j->cells);
	free(j->t0);
	free(j->silent_since);
	free(j->canaries);
	free(j->started);
	free(j);
}

void rollout_judged_committed(struct rollout_live *live)
{
	struct judged_stage *j = live->judged;
	if (!j)
		return;
	j->is_durable = true;
	j->has_lost = false;
	if (!j->is_doubtful)
		j->started_count = 0;
}

void rollout_judged_undone(struct rollout_live *live)
{
	struct judged_stage *j = live->judged;
	if (!j)
		return;
	if (!j->is_durable || j->has_lost)
		rollout_judged_free(live);
	else if (j->started_count > 0) {
		j->is_doubtful = true;
		drop_looks(j);
	}
}

/* ---- members ---- */

bool judged_is_small(const struct rollouts *r, const struct rollout_live *live, size_t rows)
{
	return rows * (live->gate_count ? live->gate_count : 1) <= r->small_cells;
}

/* First row of the block, and one past its last. */
static size_t block_rows(const struct judged_stage *j, int64_t block, size_t *end)
{
	size_t low = 0, high = j->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if ((int64_t)j->rows[mid].block < block)
			low = mid + 1;
		else
			high = mid;
	}
	for (*end = low; *end < j->count && (int64_t)j->rows[*end].block == block; ++*end)
		;
	return low;
}

static void make_room(struct judged_stage *j, size_t more)
{
	if (j->count + more <= j->room)
		return;
	j->room = (j->count + more) * 2;
	j->rows = must(realloc(j->rows, j->room * sizeof *j->rows));
	j->t0 = must(realloc(j->t0, j->room * sizeof *j->t0));
	j->silent_since = must(realloc(j->silent_since, j->room * sizeof *j->silent_since));
}

static void add_member(struct judged_stage *j, const struct block_row *row)
{
	j->rows[j->count] = (struct judge_row){.device = (uint64_t)row->device, .block = (uint32_t)row->block, .unit = (uint64_t)row->unit,
		.stratum = (uint32_t)row->stratum, .is_canary = row->is_canary};
	j->t0[j->count] = row->t0;
	j->silent_since[j->count] = row->silent_since ? row->silent_since : row->t0;
	j->count++;
}

static void forget_row(struct call *c, const struct rollout_live *live, struct judged_stage *j, size_t row)
{
	if (j->t0[row] != 0 && j->t0[row] != JUDGED_GONE)
		observe_unfollow_device(c, live->id, j->stage, (int64_t)j->rows[row].device);
	j->t0[row] = JUDGED_GONE;
}

/* Members were deleted: a block that has lost its canary, or all controls, compares nothing. */
static void keep_if_whole(struct call *c, const struct rollout_live *live, struct judged_stage *j, size_t from, size_t to)
{
	size_t canaries = 0, controls = 0;
	for (size_t i = from; i < to; i++) {
		bool is_here = j->t0[i] != JUDGED_GONE;
		canaries += is_here && j->rows[i].is_canary;
		controls += is_here && !j->rows[i].is_canary;
	}
	if (canaries && (controls || j->is_paired))
		return;
	for (size_t i = from; i < to; i++)
		forget_row(c, live, j, i);
}

static int by_device(const void *a, const void *b)
{
	const struct canary *x = a, *y = b;
	return x->device < y->device ? -1 : x->device > y->device;
}

static void members_are_complete(struct call *c, const struct rollout_live *live, struct judged_stage *j)
{
	size_t canaries = 0;
	for (size_t from = 0, to; from < j->count; from = to) {
		for (to = from; to < j->count && j->rows[to].block == j->rows[from].block; to++)
			canaries += j->rows[to].is_canary;
		keep_if_whole(c, live, j, from, to);
	}
	j->canaries = must(calloc(canaries + 1, sizeof *j->canaries));
	for (size_t i = 0; i < j->count; i++)
		if (j->rows[i].is_canary)
			j->canaries[j->canary_count++] = (struct canary){(int64_t)j->rows[i].device, (uint32_t)i};
	qsort(j->canaries, j->canary_count, sizeof *j->canaries, by_device);
	j->cells = must(calloc(j->count * live->gate_count + 1, sizeof *j->cells));
	j->step = JUDGED_BASELINES;
}

size_t judged_canary(const struct judged_stage *j, int64_t device)
{
	struct canary key = {.device = device};
	const struct canary *found = j->canary_count ? bsearch(&key, j->canaries, j->canary_count, sizeof key, by_device) : NULL;
	return found ? found->row : j->count;
}

static enum err load_page(struct call *c, const struct rollout_live *live, struct judged_stage *j)
{
	struct block_row *page = arena_array(c->arena, PAGE, sizeof *page);
	size_t count;
	enum err e = block_page(c->s->rollouts->store, live->id, j->stage, j->last_block, j->last_device, page, PAGE, &count, c->fault);
	if (e)
		return e;
	make_room(j, count + 1);
	for (size_t i = 0; i < count; i++)
		add_member(j, &page[i]);
	if (count > 0) {
		j->last_block = page[count - 1].block;
		j->last_device = page[count - 1].device;
	}
	if (count < PAGE)
		members_are_complete(c, live, j);
	return ERR_OK;
}

/* ---- baselines ---- */

/* Of the device of the next row. */
static enum err load_past(struct call *c, const struct rollout_live *live, struct judged_stage *j)
{
	bool is_gone = j->t0[j->done] == JUDGED_GONE;
	if (!j->past)
		j->past = self_past_new(live->gates, live->gate_count);
	assert(self_past_devices(j->past) == j->done);
	return self_past_read(j->past, c->s->rollouts->self, live->id, j->stage, is_gone ? 0 : (int64_t)j->rows[j->done].device, c->fault);
}

struct fill {
	const struct rollout_live *live;
	struct judge_cell *cells; /* of one row */
};

static void fill_baseline(void *ctx, int64_t device, int64_t gate, const void *accum, size_t len)
{
	struct fill *x = ctx;
	struct metric_accum a;
	struct ddsketch s;
	(void)device;
	if (gate < 0 || gate >= x->live->gate_count)
		return;
	const struct judge_gate *g = &x->live->gates[gate];
	bool has_sketch = g->kind == METRIC_QUANTILE;
	if (accum_decode(&a, has_sketch ? &s : NULL, accum, len) == ERR_OK)
		x->cells[gate].baseline = accum_point(&a, g->kind, has_sketch ? &s : NULL, g->quantile);
}

/* In shadow only what both versions measured over the same inputs counts. */
static void follow(struct call *c, const struct rollout_live *live, int64_t stage, int64_t device, int64_t t0)
{
	if (rollout_is_shadow(live, stage))
		observe_follow_pairs(c, live->id, stage, device, t0);
	else
		observe_follow(c, live->id, stage, device, t0);
}

static bool is_followed(struct call *c, const struct rollout_live *live, const struct judged_stage *j, size_t row)
{
	return j->t0[row] <= 0 || observe_is_followed(c, live->id, j->stage, (int64_t)j->rows[row].device, j->t0[row]);
}

/* Windows that came back with the server, or were followed all the time, are there. Others there are only where the server was killed soon after
 * blocks began: their past is read from the log, of all together, so that it is read once. */
static void follow_all(struct call *c, const struct rollout_live *live, struct judged_stage *j)
{
	for (size_t i = 0; j->has_unfollowed && i < j->count; i++)
		if (!is_followed(c, live, j, i))
			follow(c, live, j->stage, (int64_t)j->rows[i].device, j->t0[i]);
	j->step = JUDGED_READY;
}

static enum err load_piece(struct call *c, const struct rollout_live *live, struct judged_stage *j)
{
	if (j->step == JUDGED_NEW)
		j->step = JUDGED_MEMBERS;
	if (j->step == JUDGED_MEMBERS)
		return load_page(c, live, j);
	if (j->done == j->count) {
		follow_all(c, live, j);
		return ERR_OK;
	}
	struct fill fill = {live, &j->cells[j->done * live->gate_count]};
	enum err e = ERR_OK;
	if (j->t0[j->done] != JUDGED_GONE)
		e = baseline_each_of(c->s->rollouts->store, live->id, j->stage, (int64_t)j->rows[j->done].device, fill_baseline, &fill, c->fault);
	j->has_unfollowed |= !is_followed(c, live, j, j->done);
	if (!e && j->is_self)
		e = load_past(c, live, j);
	j->done += !e;
	return e;
}

/* ---- loading ---- */

static enum err read_started_again(struct call *c, struct rollout_live *live, struct judged_stage *j)
{
	for (size_t i = 0; i < j->started_count; i++) {
		int64_t t0, silent_since;
		enum err e = block_started(c->s->rollouts->store, live->id, j->stage, j->started[i], &t0, &silent_since, c->fault);
		if (e)
			return e;
		size_t end;
		for (size_t row = block_rows(j, j->started[i], &end); row < end; row++) {
			if (j->t0[row] == JUDGED_GONE || j->t0[row] == t0)
				continue;
			observe_unfollow_device(c, live->id, j->stage, (int64_t)j->rows[row].device);
			j->t0[row] = t0;
			j->silent_since[row] = silent_since ? silent_since : t0;
			if (t0)
				follow(c, live, j->stage, (int64_t)j->rows[row].device, t0);
		}
	}
	j->is_doubtful = false;
	return ERR_OK;
}

enum err judged_load(struct call *c, struct rollout_rows *x, const struct stage_row *stage, struct judged_stage **out,
	struct rollout_piece *p, bool *is_ready)
{
	struct rollout_live *live = x->live;
	if (live->judged && live->judged->stage != stage->stage)
		rollout_judged_free(live);
	struct judged_stage *j = live->judged;
	if (!j) {
		struct judge_config config;
		rollout_judge_config(live, live->spec.stages.count, stage->stage, stage->blocks, stage->controls, &config);
		j = live->judged = must(calloc(1, sizeof *j));
		j->stage = stage->stage;
		j->is_paired = config.mode != JUDGE_COHORT;
		j->is_self = config.mode == JUDGE_SELF;
		j->last_block = -1;
	}
	*out = j;
	*is_ready = false;
	/* What is read over several ticks has to be there for good: rows of a stage that has just begun may be undone. */
	bool is_small = judged_is_small(c->s->rollouts, live, (size_t)stage->blocks * (size_t)(stage->controls + 1));
	if (j->step != JUDGED_READY && !is_small && !j->is_durable) {
		p->more = true;
		return ERR_OK;
	}
	enum err e = ERR_OK;
	while (j->step != JUDGED_READY && !e && (is_small || !rollout_piece_is_over(p)))
		e = load_piece(c, live, j);
	if (!e && j->step == JUDGED_READY && j->is_doubtful)
		e = read_started_again(c, live, j);
	*is_ready = !e && j->step == JUDGED_READY;
	return e;
}

/* ---- blocks begin ---- */

static void note_started(struct judged_stage *j, int64_t block)
{
	if (j->started_count == j->started_room) {
		j->started_room = j->started_room * 2 + 16;
		j->started = must(realloc(j->started, j->started_room * sizeof *j->started));
	}
	j->started[j->started_count++] = block;
}

/* Of one block, whatever the stage's size. */
static enum err start_block(struct call *c, struct rollout_live *live, const struct deployment_row *d, int64_t block, int64_t t0, int64_t silent_since)
{
	bool is_new = false;
	enum err e = block_start(c->s->rollouts->store, d->rollout, d->stage, block, t0, silent_since, &is_new, c->fault);
	struct judged_stage *j = live->judged;
	if (e || !is_new || !j || j->stage != d->stage)
		return e;
	note_started(j, block);
	size_t end;
	for (size_t row = block_rows(j, block, &end); row < end; row++) {
		if (j->t0[row] == JUDGED_GONE)
			continue;
		j->t0[row] = t0;
		j->silent_since[row] = silent_since ? silent_since : t0;
		follow(c, live, d->stage, (int64_t)j->rows[row].device, t0);
	}
	return ERR_OK;
}

static enum err start_block_of(struct call *c, struct rollout_live *live, const struct deployment_row *d, int64_t silent_since)
{
	int64_t block;
	enum err e = block_of_canary(c->s->rollouts->store, d->rollout, d->stage, d->device, &block, c->fault);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	return start_block(c, live, d, block, c->now_ms + live->spec.judge.warmup_ms, silent_since);
}

enum err rollout_start_block(struct call *c, struct rollout_live *live, const struct deployment_row *d)
{
	return start_block_of(c, live, d, 0);
}

void rollout_judged_forget_device(struct call *c, int64_t device)
{
	for (struct rollout_live *live = c->s->rollouts->live; live; live = live->next) {
		struct judged_stage *j = live->judged;
		size_t row = 0;
		while (j && row < j->count && j->rows[row].device != (uint64_t)device)
			row++;
		if (!j || row == j->count)
			continue;
		size_t end, from = block_rows(j, j->rows[row].block, &end);
		forget_row(c, live, j, row);
		if (j->step != JUDGED_NEW && j->step != JUDGED_MEMBERS) /* else all blocks are looked at when the last member is there */
			keep_if_whole(c, live, j, from, end);
		j->has_lost = true;
		drop_looks(j);
	}
}

/* ---- silence ---- */

/* Nobody is silent for a time in which the server itself could not hear. */
bool judged_is_silent(struct call *c, int64_t device, int64_t since_ms)
{
	struct silence_habit habit = {0};
	(void)observe_habit(c, device, &habit); /* one that never reported counts from since_ms */
	const struct device_state *d = registry_by_row(c->s->registry, device);
	int64_t interval = habit.gap8_ms / 8, listening_ms = alerts_listening_since(c);
	struct silence_facts facts = {.now_ms = c->now_ms,
		.interval_ms = interval > 0 ? interval : DEFAULT_INTERVAL_MS,
		.since_ms = since_ms > listening_ms ? since_ms : listening_ms,
		.offline_ms = d && !d->online ? d->last_seen_ms : 0};
	return silence_is_silent(&habit, &facts);
}

static int64_t last_heard(struct call *c, const struct deployment_row *d)
{
	struct silence_habit habit;
	int64_t last_ms = observe_habit(c, d->device, &habit) ? habit.last_ms : 0;
	return last_ms > d->updated_at ? last_ms : d->updated_at;
}

/* It said that it took the release: since then it should be heard, by its own habits. */
static enum err start_if_silent(struct call *c, struct rollout_live *live, const struct judged_stage *j, const struct deployment_row *d)
{
	bool has_answered = d->state != DEPLOYMENT_OFFERED || d->updated_at > d->offered_at; /* "accepted" is no state of its own */
	size_t row = judged_canary(j, d->device);
	if (!has_answered || row == j->count || j->t0[row] != 0 || !judged_is_silent(c, d->device, d->updated_at))
		return ERR_OK;
	return start_block_of(c, live, d, last_heard(c, d));
}

enum err judged_start_bricks(struct call *c, struct rollout_rows *x, const struct stage_row *stage, struct judged_stage *j)
{
	static const enum deployment_status on_the_way[] = {DEPLOYMENT_OFFERED, DEPLOYMENT_DOWNLOADING, DEPLOYMENT_INSTALLING, DEPLOYMENT_TRIAL};
	const int states = (int)(sizeof on_the_way / sizeof *on_the_way);
	size_t left = BRICKS_A_TICK;
	for (int i = 0; i <= states && left > 0; i++) { /* one more: the first one may have been begun in the middle */
		struct deployment_row *rows;
		size_t count, asked = left;
		enum err e = deployment_page(c->s->rollouts->deployments, x->row.id, stage->stage, on_the_way[j->brick_state], j->brick_after,
			(int64_t)asked, &rows, &count, c->arena, c->fault);
		for (size_t k = 0; k < count && !e; k++)
			e = start_if_silent(c, x->live, j, &rows[k]);
		if (e)
			return e;
		left -= count;
		j->brick_after = count > 0 ? rows[count - 1].id : j->brick_after;
		if (count == asked)
			return ERR_OK;
		j->brick_after = 0;
		j->brick_state = (j->brick_state + 1) % states;
	}
	return ERR_OK;
}
