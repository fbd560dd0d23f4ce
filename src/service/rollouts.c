#include "service/rollouts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "core/prng.h"
#include "core/rsql.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/groups.h"
#include "service/modules.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_judged.h"
#include "service/rollout_parts.h"
#include "service/rollout_self.h"
#include "service/unit.h"
#include "store/silence_store.h"

/* Plans and specs are small; a thousand blocks of ten with baselines are a few hundred KiB. */
#define LIVE_ARENA_BYTES (1 << 20)
#define PLAN_ARENA_BYTES (1 << 20)
#define RETRY_PAGE 32 /* rows read at once, of which a piece may do only some */
#define PURGE_PAGE 32

static void mark_active(void *ctx, int64_t device, int64_t deployment, int64_t rollout)
{
	struct rollouts *r = ctx;
	struct device_state *d = registry_by_row(r->s->registry, device);
	(void)rollout;
	if (d)
		d->deployment = deployment;
}

static void live_free(struct rollout_live *live)
{
	rollout_begin_free(live);
	rollout_judged_free(live);
	arena_free(live->arena);
	free(live);
}

static void forget_progress(struct rollout_live *live)
{
	rollout_begin_free(live);
	live->freed_after = 0;
	live->retry.turn = 0;
	live->retry.after = 0;
	live->wrote = 0;
}

/* A unit was rolled back: what came since the last commit may be of it, a rollout too, whose number will be given again. */
static void on_undone(void *ctx)
{
	struct rollouts *r = ctx;
	for (struct rollout_live **at = &r->live; *at;) {
		struct rollout_live *live = *at;
		if (!live->is_durable) {
			*at = live->next;
			live_free(live);
			continue;
		}
		if (live->wrote >= unit_undone_from(r->s)) /* walks that have written begin anew */
			forget_progress(live);
		rollout_judged_undone(live);
		rollout_let_go_undone(live);
		live->last_reason = ROLLOUT_REASON_NONE; /* its words may not have been written */
		at = &live->next;
	}
}

static void on_committed(void *ctx)
{
	struct rollouts *r = ctx;
	for (struct rollout_live *live = r->live; live; live = live->next) {
		live->is_durable = true;
		rollout_judged_committed(live);
	}
}

static void on_lost(void *ctx)
{
	rollouts_reload(ctx);
}

struct rollouts *rollouts_open(struct services *s, struct fault *f)
{
	struct rollouts *r = calloc(1, sizeof *r);
	if (!r)
		abort();
	r->s = s;
	r->turn = -1;
	r->piece_ns = TIMEBOX_NS;
	r->small_draw = ROLLOUT_SMALL_DRAW;
	r->small_cells = JUDGED_SMALL_CELLS;
	enum err e = rollout_store_open(s->db, &r->store, f);
	if (!e)
		e = deployment_store_open(s->db, &r->deployments, f);
	if (!e)
		e = self_store_open(s->db, &r->self, f);
	if (!e)
		e = silence_history_open(s, &r->silence, f);
	if (!e)
		e = deployment_active_each(r->deployments, mark_active, r, f);
	if (!e) {
		units_listen(s->units,
			(struct unit_listener){.committed = on_committed, .undone = on_undone, .lost = on_lost, .ctx = r});
		return r;
	}
	rollouts_close(r);
	return NULL;
}

void rollouts_reload(struct rollouts *r)
{
	while (r->live) {
		struct rollout_live *next = r->live->next;
		live_free(r->live);
		r->live = next;
	}
}

void rollouts_close(struct rollouts *r)
{
	if (!r)
		return;
	rollouts_reload(r);
	rollout_store_close(r->store);
	deployment_store_close(r->deployments);
	self_store_close(r->self);
	silence_history_close(r->silence);
	free(r->workspace);
	free(r);
}

void rollout_live_forget(struct rollouts *r, int64_t id)
{
	for (struct rollout_live **at = &r->live; *at; at = &(*at)->next)
		if ((*at)->id == id) {
			struct rollout_live *gone = *at;
			*at = gone->next;
			live_free(gone);
			return;
		}
}

void *rollout_workspace(struct rollouts *r, size_t bytes)
{
	if (bytes > r->workspace_bytes) {
		free(r->workspace);
		r->workspace = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
		if (!r->workspace)
			abort();
		r->workspace_bytes = bytes;
	}
	return r->workspace;
}

const char *rollout_resource(struct call *c, int64_t id)
{
	return arena_printf(c->arena, "rollouts/%lld", (long long)id);
}

static uint8_t days_of(const struct json_strs *days)
{
	static const char *names[7] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
	uint8_t mask = 0;
	for (size_t i = 0; i < days->count; i++)
		for (int day = 0; day < 7; day++)
			if (strcmp(days->items[i], names[day]) == 0)
				mask |= (uint8_t)(1u << day);
	return days->count ? mask : WINDOW_EVERY_DAY;
}

static int minute_of(const char *text) /* -1: not HH:MM */
{
	for (int i = 0; i < 5; i++)
		if (i == 2 ? text[i] != ':' : (text[i] < '0' || text[i] > '9'))
			return -1;
	int hour = (text[0] - '0') * 10 + text[1] - '0', minute = (text[3] - '0') * 10 + text[4] - '0';
	return hour < 24 && minute < 60 ? hour * 60 + minute : -1;
}

static enum err live_windows(struct rollout_live *live, struct fault *f)
{
	const struct rollout_window_request *in = live->spec.windows.items;
	for (size_t i = 0; i < live->spec.windows.count; i++) {
		char at[32];
		snprintf(at, sizeof at, "/windows/%zu", i);
		int start = minute_of(in[i].start);
		struct window *w = &live->windows[i];
		*w = (struct window){.days = days_of(&in[i].days),
			.start_minute = (uint16_t)(start < 0 ? 0 : start),
			.duration_minutes = (uint16_t)(in[i].duration_ms / 60000),
			.utc_offset_minutes = (int16_t)in[i].utc_offset_min};
		if (start < 0 || !window_is_valid(w))
			return fault_set(f, ERR_INVALID, at, "needs days of mon..sun, a start as HH:MM, and a duration of at most a week");
	}
	live->window_count = live->spec.windows.count;
	return ERR_OK;
}

static enum err live_rate(struct rollout_live *live, struct fault *f)
{
	const struct rollout_request *q = &live->spec;
	if (q->rate.exponential.base_per_minute > 0)
		live->rate = (struct rate_config){.base_per_minute = (double)q->rate.exponential.base_per_minute,
			.increment_factor = q->rate.exponential.factor,
			.maximum_per_minute = (double)q->rate.exponential.max_per_minute,
			.criterion = RATE_BY_SUCCEEDED,
			.increase_every = (uint32_t)q->rate.exponential.increase_after_succeeded};
	else
		live->rate = (struct rate_config){.base_per_minute = (double)q->rate.per_minute, .increment_factor = 1, .criterion = RATE_CONSTANT};
	if (!rate_is_valid(&live->rate))
		return fault_set(f, ERR_INVALID, "/rate", "not a rate: factor 1 to 5, max_per_minute at least base_per_minute, at most 1000000 a minute");
	return ERR_OK;
}

static enum err live_derive(struct rollout_live *live, struct fault *f)
{
	live->gate_count = rollout_request_gates(&live->spec, live->gates);
	rollout_pair_gates(live);
	rollout_let_go_undone(live);
	enum err e = live_windows(live, f);
	return e ? e : live_rate(live, f);
}

/* Of rollouts from before there was a history: none, which means the default. */
static enum err load_silence(struct call *c, struct rollout_live *live)
{
	struct silence_store *store = silence_history_store(c->s->rollouts->silence);
	enum err e = silence_rate_get(store, live->id, &live->silence.rate, &live->silence.days, c->fault);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err live_get(struct call *c, const struct rollout_row *row, struct rollout_live **out)
{
	struct rollouts *r = c->s->rollouts;
	for (struct rollout_live *live = r->live; live; live = live->next)
		if (live->id == row->id) {
			*out = live;
			return ERR_OK;
		}
	struct rollout_live *live = calloc(1, sizeof *live);
	if (!live)
		abort();
	live->id = row->id;
	live->arena = arena_new(LIVE_ARENA_BYTES);
	enum err e = rollout_request_read(row->spec, &live->spec, live->arena, c->fault);
	if (!e)
		e = live_derive(live, c->fault);
	if (!e)
		e = load_silence(c, live);
	if (e) {
		live_free(live);
		return ERR_INTERNAL;
	}
	live->next = r->live;
	r->live = live;
	*out = live;
	return ERR_OK;
}

enum err rollout_load(struct call *c, int64_t id, struct rollout_rows *out)
{
	struct rollouts *r = c->s->rollouts;
	*out = (struct rollout_rows){0};
	enum err e = rollout_get(r->store, id, &out->row, c->arena, c->fault);
	if (!e)
		e = stage_list(r->store, id, &out->stages, &out->stage_count, c->arena, c->fault);
	if (!e)
		e = live_get(c, &out->row, &out->live);
	if (e)
		return e;
	bool is_known = rollout_status_parse(out->row.status, &out->status);
	assert(is_known);
	return ERR_OK;
}

enum err rollout_open(struct call *c, int64_t id, struct rollout_rows *out)
{
	enum err e = rollout_load(c, id, out);
	return e || !out->row.deleted_at ? e : fault_set(c->fault, ERR_NOT_FOUND, "", "no rollout %lld", (long long)id);
}

static enum err resolve_alerts(struct call *c, int64_t rollout, enum rollout_status from, enum rollout_status to)
{
	enum err e = ERR_OK;
	if (from == ROLLOUT_PAUSED && to != ROLLOUT_PAUSED)
		e = alert_resolve(c, "rollout.paused", rollout_resource(c, rollout));
	return e || !rollout_status_is_final(to) ? e : alert_resolve(c, "gate.verdict", rollout_resource(c, rollout));
}

enum err rollout_set_status(struct call *c, struct rollout_rows *x, enum rollout_status to, const char *reason)
{
	struct rollouts *r = c->s->rollouts;
	enum rollout_status from = x->status;
	if (from != to)
		rollout_move(&x->status, to);
	x->row.status = rollout_status_text(to);
	x->row.reason = arena_strdup(c->arena, reason);
	if (to == ROLLOUT_STARTING && !x->row.started_at)
		x->row.started_at = c->now_ms;
	if (rollout_status_is_final(to)) {
		x->row.ended_at = c->now_ms;
		observe_unfollow(c, x->row.id);
		rollout_judged_free(x->live);
	}
	enum err e = resolve_alerts(c, x->row.id, from, to);
	if (!e)
		e = rollout_update(r->store, &x->row, c->fault);
	if (e || from == to)
		return e;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", x->row.id);
	json_str(&b, "from", rollout_status_text(from));
	json_str(&b, "status", x->row.status);
	json_str(&b, "reason", reason);
	json_close_object(&b);
	e = event_append(c, "rollout.status", rollout_resource(c, x->row.id), buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* ---- creating ---- */

static enum err check_release(struct call *c, const struct rollout_request *q, struct release_row *release)
{
	enum err e = releases_find(c, q->release, release);
	if (e == ERR_NOT_FOUND || (!e && release->deleted_at))
		return fault_set(c->fault, ERR_INVALID, "/release", "there is no release of this name");
	if (!e && release->is_draft) /* a set of hawkBit's Management API: now its content is fixed */
		e = modules_lock(c, release->id);
	if (e)
		return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
	int64_t reverted = 0;
	e = rollout_reverted_of(c->s->rollouts->store, release->id, &reverted, c->fault);
	if (!e && reverted)
		return fault_set(c->fault, ERR_CONFLICT, "/release",
			"rollout %lld of this release was reverted; a reverted release is not offered again, make a new one", (long long)reverted);
	return e;
}

static enum err check_target(struct call *c, const struct rollout_request *q, int64_t *group)
{
	enum err e = registry_check_filter(c, q->filter);
	if (e)
		return fault_set(c->fault, ERR_INVALID, "/filter", "%.200s", arena_strdup(c->arena, c->fault->detail));
	*group = 0;
	if (!q->group)
		return ERR_OK;
	struct group_row row;
	e = groups_look_up(c, 0, q->group, &row);
	if (e == ERR_NOT_FOUND)
		return fault_set(c->fault, ERR_INVALID, "/group", "there is no group of this name");
	*group = e ? 0 : row.id;
	return e;
}

static enum err insert_rows(struct call *c, const struct rollout_live *live, const struct release_row *release, int64_t group, int64_t total,
	const struct planned_stage *stages, size_t count, enum guarantee guarantee, int64_t *id)
{
	struct rollouts *r = c->s->rollouts;
	struct buf spec = BUF_INIT;
	rollout_request_write(&live->spec, &spec);
	struct rollout_row row = {.name = live->spec.name,
		.release = release->id,
		.target_filter = live->spec.filter,
		.device_group = group,
		.status = rollout_status_text(live->spec.approval ? ROLLOUT_WAITING_FOR_APPROVAL : ROLLOUT_READY),
		.reason = live->spec.approval ? "waits for somebody else's approval" : "ready to be started",
		.spec = buf_cstr(&spec),
		.guarantee = guarantee_name(guarantee),
		.created_by = c->who->name,
		.target = total,
		.created_at = c->now_ms};
	crypto_random(row.seed, sizeof row.seed);
	prng_commit(row.seed, row.seed_sha256);
	enum err e = rollout_insert(r->store, &row, id, c->fault);
	buf_done(&spec);
	if (!e)
		e = silence_rate_insert(silence_history_store(r->silence), *id, live->silence.rate, live->silence.days, c->fault);
	for (size_t i = 0; i < count && !e; i++) {
		struct stage_row stage = {.rollout = *id,
			.stage = (int64_t)i,
			.name = stages[i].name,
			.status = stage_status_text(STAGE_SCHEDULED),
			.planned = stages[i].planned,
			.is_shadow = stages[i].is_shadow};
		e = stage_insert(r->store, &stage, c->fault);
	}
	return e;
}

struct rollout_planning {
	struct arena *arena;
	struct rollout_live live; /* not stored yet; its spec's texts are the caller's */
	struct release_row release;
	int64_t group;
	bool is_dry;
	struct rollout_scan *scan;
	bool is_scanned;
	struct rollout_plan plan;
	struct self_measure *past; /* control: self */
	size_t past_asked;
	bool has_past;
};

static enum err plan_check(struct call *c, struct rollout_planning *p, const struct rollout_request *q)
{
	p->live = (struct rollout_live){.spec = *q, .arena = p->arena};
	enum err e = rollout_request_check(&p->live.spec, p->arena, c->fault);
	if (!e)
		e = live_derive(&p->live, c->fault);
	if (!e)
		e = check_release(c, &p->live.spec, &p->release);
	if (!e)
		e = check_target(c, &p->live.spec, &p->group);
	if (!e)
		e = silence_history_rate(c, c->s->rollouts->silence, &p->live.silence);
	if (!e)
		e = rollout_scan_new(c, &p->live, p->release.id, p->group, &p->scan);
	if (!e)
		rollout_scan_count_only(p->scan);
	return e;
}

enum err rollouts_plan_new(struct call *c, const struct rollout_request *q, bool dry_run, struct rollout_planning **out)
{
	struct rollout_planning *p = calloc(1, sizeof *p);
	if (!p)
		abort();
	p->arena = arena_new(PLAN_ARENA_BYTES);
	p->is_dry = dry_run;
	struct call own = *c; /* outlives this call */
	own.arena = p->arena;
	enum err e = plan_check(&own, p, q);
	if (e)
		rollouts_plan_free(p);
	*out = e ? NULL : p;
	return e;
}

static void ask_past(struct call *c, struct rollout_planning *p)
{
	int64_t devices[SELF_DEVICES_MAX];
	size_t stride = p->plan.targets->count / SELF_DEVICES_MAX + 1;
	for (size_t i = 0; i < p->plan.targets->count && p->past_asked < SELF_DEVICES_MAX; i += stride)
		devices[p->past_asked++] = p->plan.targets->devices[i].device;
	p->past = self_measure_new(c, &p->live, devices, p->past_asked);
}

/* How much of a past the devices have: from the log, in a job; at once where nobody waits for the loop. */
static enum err measure_past(struct call *c, struct rollout_planning *p, const struct timebox *box, bool *is_done)
{
	const struct self_job *job;
	if (!rollout_is_self(&p->live) || p->has_past)
		return ERR_OK;
	*is_done = false;
	if (!p->past)
		ask_past(c, p);
	enum err e = self_measure_step(c, p->past, box->end_ns == UINT64_MAX, &job);
	if (e || !job)
		return e;
	*is_done = p->has_past = true;
	return rollout_plan_past(c, &p->plan, job, p->past_asked);
}

enum err rollouts_plan_step(struct call *c, struct rollout_planning *p, const struct timebox *box, bool *is_done)
{
	*is_done = false;
	if (!p->is_scanned) {
		enum err e = rollout_scan_step(c, p->scan, box, &p->is_scanned);
		if (!e && p->is_scanned)
			e = rollout_plan_begin(c, &p->live, rollout_scan_targets(p->scan), &p->plan);
		if (e || timebox_is_over(box))
			return e;
	}
	if (p->is_scanned)
		*is_done = rollout_plan_step(c, &p->plan, box);
	enum err e = *is_done ? measure_past(c, p, box, is_done) : ERR_OK;
	return !e && *is_done ? rollout_plan_settle(c, &p->live, &p->plan) : e;
}

/* Whom the plan is about may have gone since it began. */
static enum err plan_check_again(struct call *c, const struct rollout_planning *p)
{
	struct release_row release;
	int64_t group = 0;
	enum err e = check_release(c, &p->live.spec, &release);
	if (!e)
		e = check_target(c, &p->live.spec, &group);
	if (!e && (release.id != p->release.id || group != p->group))
		e = fault_set(c->fault, ERR_CONFLICT, "", "the release or the group was made anew while the rollout was planned: try again");
	return e;
}

static enum err store(struct call *c, struct rollout_planning *p, struct buf *out, int64_t *id)
{
	struct rollout_rows x;
	const struct rollout_request *q = &p->live.spec;
	enum err e = plan_check_again(c, p);
	if (!e)
		e = insert_rows(c, &p->live, &p->release, p->group, (int64_t)p->plan.targets->count, p->plan.stages, p->plan.stage_count,
			p->plan.guarantee, id);
	if (!e)
		e = rollout_load(c, *id, &x);
	if (!e && q->start && !q->approval)
		e = rollout_set_status(c, &x, ROLLOUT_STARTING, "started with its creation");
	size_t from = out->len;
	if (!e) {
		rollout_write(c, &x, out);
		e = audit_append(c, "rollout.create", rollout_resource(c, *id), NULL, buf_cstr(out) + from);
	}
	if (e)
		rollout_live_forget(c->s->rollouts, *id); /* the number will be given again */
	return e;
}

enum err rollouts_plan_finish(struct call *c, struct rollout_planning *p, struct buf *out, int64_t *id)
{
	*id = 0;
	size_t from = out->len;
	rollout_plan_write(&p->plan, out);
	if (p->is_dry)
		return ERR_OK;
	buf_reserve(out, 1);
	out->len = from;
	return store(c, p, out, id);
}

void rollouts_plan_free(struct rollout_planning *p)
{
	if (!p)
		return;
	self_measure_free(p->past);
	rollout_scan_free(p->scan);
	arena_free(p->arena);
	free(p);
}

enum err rollouts_create(struct call *c, const struct rollout_request *q, bool dry_run, struct buf *out, int64_t *id)
{
	struct rollout_planning *p;
	const struct timebox never = {UINT64_MAX};
	bool is_done = false;
	*id = 0;
	enum err e = rollouts_plan_new(c, q, dry_run, &p);
	while (!e && !is_done)
		e = rollouts_plan_step(c, p, &never, &is_done);
	if (!e)
		e = rollouts_plan_finish(c, p, out, id);
	rollouts_plan_free(p);
	return e;
}

/* ---- acting ---- */

/* Failed and timed out deployments wait for another try; of a rollout that is taken back, reverts that failed are attempted anew. */
static enum err retry_one(struct call *c, struct rollout_rows *x, struct deployment_row *d)
{
	bool is_free;
	if (d->ended_at > x->row.retry_at) /* its next attempt has failed already */
		return ERR_OK;
	if (d->state == DEPLOYMENT_REVERT_FAILED)
		return deployment_retry_revert(c, x->live, d);
	if (d->kind == DEPLOYMENT_SHADOW && strcmp(x->stages[d->stage].status, stage_status_text(STAGE_FINISHED)) == 0)
		return ERR_OK; /* it was compared without this one, and is over */
	enum err e = deployment_rejoin(c, d, &is_free);
	if (e || !is_free)
		return e; /* in another rollout by now */
	d->attempt++;
	return deployment_set(c, d, DEPLOYMENT_WAITING, "retried by an operator");
}

static enum err retry_in_state(struct call *c, struct rollout_rows *x, int64_t stage, enum deployment_status state, struct rollout_piece *p)
{
	struct rollout_live *live = x->live;
	for (;;) {
		struct deployment_row *rows;
		size_t count;
		enum err e = deployment_in_state_after(c->s->rollouts->deployments, x->row.id, stage, state, live->retry.after, RETRY_PAGE, &rows,
			&count, c->arena, c->fault);
		for (size_t n = 0; n < count && !e; n++) {
			if (rollout_piece_is_over(p))
				return ERR_OK;
			e = retry_one(c, x, &rows[n]);
			live->retry.after = rows[n].id;
			live->wrote = unit_newest(c->s);
		}
		if (e || count < RETRY_PAGE)
			return e;
	}
}

enum err rollout_retry_some(struct call *c, struct rollout_rows *x, struct rollout_piece *p)
{
	static const enum deployment_status installs[] = {DEPLOYMENT_FAILED, DEPLOYMENT_TIMED_OUT}, reverts[] = {DEPLOYMENT_REVERT_FAILED};
	struct rollout_live *live = x->live;
	bool is_revert = x->status == ROLLOUT_REVERTING || x->status == ROLLOUT_REVERTED;
	for (size_t turns = x->stage_count * (is_revert ? 1 : 2); live->retry.turn < turns; live->retry.turn++) {
		size_t state = live->retry.turn / x->stage_count;
		enum err e = retry_in_state(c, x, (int64_t)(live->retry.turn % x->stage_count), is_revert ? reverts[state] : installs[state], p);
		if (e || p->more)
			return e;
		live->retry.after = 0;
	}
	live->retry.turn = 0;
	x->row.retry_at = 0;
	return ERR_OK;
}

/* The first piece at once, so that small ones are done with the request. */
static enum err retry_failed(struct call *c, struct rollout_rows *x)
{
	struct rollout_piece piece = {.box = timebox_begin(c->s->rollouts->piece_ns)};
	bool is_revert = x->status == ROLLOUT_REVERTING || x->status == ROLLOUT_REVERTED;
	for (size_t i = 0; !is_revert && i < x->stage_count; i++) {
		x->stages[i].error_floor = 0; /* the errors that were seen are gone */
		enum err e = stage_update(c->s->rollouts->store, &x->stages[i], c->fault);
		if (e)
			return e;
	}
	x->row.retry_at = c->now_ms;
	x->live->retry.turn = 0;
	x->live->retry.after = 0;
	return rollout_retry_some(c, x, &piece);
}

static enum err check_approver(struct call *c, const struct rollout_rows *x)
{
	if (strcmp(c->who->name, x->row.created_by) == 0)
		return fault_set(c->fault, ERR_FORBIDDEN, "", "an approval has to come from somebody else than %s, who made the rollout", x->row.created_by);
	return ERR_OK;
}

/* Stages that the judge has not passed count as passed: a person takes the responsibility, and the audit log says who. */
static enum err promote(struct call *c, struct rollout_rows *x)
{
	for (size_t i = 0; i < x->stage_count; i++) {
		struct stage_row *s = &x->stages[i];
		enum stage_status status;
		if (!stage_status_parse(s->status, &status) || (status != STAGE_RUNNING && status != STAGE_BAKING))
			continue;
		s->verdict = verdict_name(VERDICT_PASS);
		s->held = false;
		enum err e = stage_update(c->s->rollouts->store, s, c->fault);
		if (!e)
			e = alerts_release_stage(c, x->row.id, s->stage);
		if (e)
			return e;
	}
	return alert_resolve(c, "gate.verdict", rollout_resource(c, x->row.id));
}

/* What sends the release to more devices: not after another rollout of it was taken back. */
static enum err check_not_reverted(struct call *c, const struct rollout_rows *x, enum rollout_command command)
{
	int64_t reverted = 0;
	bool goes_on = command == ROLLOUT_DO_START || command == ROLLOUT_DO_RESUME || command == ROLLOUT_DO_PROMOTE ||
		(command == ROLLOUT_DO_RETRY && x->status != ROLLOUT_REVERTING && x->status != ROLLOUT_REVERTED);
	enum err e = goes_on ? rollout_reverted_of(c->s->rollouts->store, x->row.release, &reverted, c->fault) : ERR_OK;
	if (e || !reverted)
		return e;
	return fault_set(c->fault, ERR_CONFLICT, "", "rollout %lld of the release %s was reverted; a reverted release is not offered again",
		(long long)reverted, x->row.release_name);
}

/* The goal of the action is already reached: repeating it is no error. */
static bool is_there(enum rollout_command command, enum rollout_status s)
{
	switch (command) {
	case ROLLOUT_DO_START: return s == ROLLOUT_STARTING || s == ROLLOUT_RUNNING;
	case ROLLOUT_DO_PAUSE: return s == ROLLOUT_PAUSED;
	case ROLLOUT_DO_RESUME: return s == ROLLOUT_RUNNING;
	case ROLLOUT_DO_ABORT: return s == ROLLOUT_STOPPING || s == ROLLOUT_STOPPED;
	case ROLLOUT_DO_REVERT: return s == ROLLOUT_REVERTING || s == ROLLOUT_REVERTED;
	case ROLLOUT_DO_APPROVE: return s == ROLLOUT_READY;
	case ROLLOUT_DO_PLAN:
	case ROLLOUT_DO_RETRY:
	case ROLLOUT_DO_PROMOTE:
	case ROLLOUT_COMMAND_COUNT: break;
	}
	return false;
}

static enum err act(struct call *c, struct rollout_rows *x, enum rollout_command command, enum rollout_status to)
{
	enum err e = check_not_reverted(c, x, command);
	if (e)
		return e;
	if (command == ROLLOUT_DO_APPROVE) {
		e = check_approver(c, x);
		x->row.approved_by = c->who->name;
	} else if (command == ROLLOUT_DO_RETRY) {
		e = retry_failed(c, x);
	} else if (command == ROLLOUT_DO_PROMOTE) {
		e = promote(c, x);
	}
	if (!e)
		e = rollout_set_status(c, x, to, arena_printf(c->arena, "%s by %s", rollout_command_text(command), c->who->name));
	return e;
}

enum err rollouts_act(struct call *c, int64_t id, enum rollout_command command, struct buf *out)
{
	struct rollout_rows x;
	enum err e = rollout_open(c, id, &x);
	if (e)
		return e;
	size_t from = out->len;
	enum rollout_status to = x.status;
	if (!is_there(command, x.status)) {
		if (!rollout_command_allowed(command, x.status, x.live->spec.approval, &to))
			return fault_set(c->fault, ERR_CONFLICT, "", "%s is not possible while the rollout is %s", rollout_command_text(command), x.row.status);
		const char *before = x.row.status;
		e = act(c, &x, command, to);
		if (!e)
			e = audit_append(c, arena_printf(c->arena, "rollout.%s", rollout_command_text(command)), rollout_resource(c, id),
				arena_printf(c->arena, "{\"status\":\"%s\"}", before), arena_printf(c->arena, "{\"status\":\"%s\"}", x.row.status));
	}
	if (!e)
		e = rollout_load(c, id, &x);
	if (e)
		return e;
	buf_reserve(out, 1);
	out->len = from;
	rollout_write(c, &x, out);
	return ERR_OK;
}

enum err rollouts_delete(struct call *c, int64_t id)
{
	struct rollout_rows x;
	enum err e = rollout_open(c, id, &x);
	if (e)
		return e;
	bool never_started = x.status == ROLLOUT_READY || x.status == ROLLOUT_WAITING_FOR_APPROVAL || x.status == ROLLOUT_CREATING;
	if (!rollout_status_is_final(x.status) && !never_started)
		return fault_set(c->fault, ERR_CONFLICT, "", "the rollout is %s: abort or revert it first", x.row.status);
	struct buf before = BUF_INIT;
	rollout_write(c, &x, &before);
	e = audit_append(c, "rollout.delete", rollout_resource(c, id), buf_cstr(&before), NULL);
	buf_done(&before);
	if (!e)
		e = rollout_hide(c->s->rollouts->store, id, c->now_ms, c->fault);
	if (!e)
		rollout_live_forget(c->s->rollouts, id);
	return e;
}

enum err rollout_purge_some(struct call *c, int64_t id, struct rollout_piece *p)
{
	struct rollouts *r = c->s->rollouts;
	for (bool is_empty = false; !is_empty;) {
		enum err e = rollout_purge(r->store, id, -1, PURGE_PAGE, &is_empty, c->fault);
		if (e || (!is_empty && rollout_piece_is_over(p)))
			return e;
	}
	for (size_t count = PURGE_PAGE; count == PURGE_PAGE;) {
		struct deployment_row *rows;
		enum err e = deployment_page(r->deployments, id, -1, DEPLOYMENT_STATUS_COUNT, 0, PURGE_PAGE, &rows, &count, c->arena, c->fault);
		for (size_t i = 0; i < count && !e; i++) {
			if (rollout_piece_is_over(p))
				return ERR_OK;
			e = rollout_remove_deployment(c, &rows[i]);
		}
		if (e)
			return e;
	}
	enum err e = rollout_delete(r->store, id, c->fault);
	rollout_live_forget(r, id); /* a device may have asked for its document meanwhile */
	return e;
}
