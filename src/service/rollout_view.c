/* Rollouts as the API shows them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "service/alerts.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"

static void put_time(struct buf *out, const char *key, int64_t ms)
{
	if (ms)
		json_int(out, key, ms);
}

static void write_counts(const uint32_t counts[DEPLOYMENT_STATUS_COUNT], struct buf *out)
{
	json_key(out, "deployments");
	json_open_object(out);
	for (int i = 0; i < DEPLOYMENT_STATUS_COUNT; i++)
		if (counts[i])
			json_int(out, deployment_status_text((enum deployment_status)i), counts[i]);
	json_close_object(out);
}

static void write_stage(struct call *c, const struct stage_row *s, struct buf *out, uint32_t sums[DEPLOYMENT_STATUS_COUNT])
{
	uint32_t counts[DEPLOYMENT_STATUS_COUNT] = {0};
	if (deployment_counts(c->s->rollouts->deployments, s->rollout, s->stage, counts, NULL))
		memset(counts, 0, sizeof counts); /* a read that fails shows no counts; the row itself is still true */
	json_open_object(out);
	json_int(out, "stage", s->stage);
	json_str(out, "name", s->name);
	json_str(out, "mode", s->is_shadow ? "shadow" : "live");
	json_str(out, "status", s->status);
	json_int(out, "planned", s->planned);
	json_bool(out, "judged", s->is_judged);
	json_int(out, "blocks", s->blocks);
	json_int(out, "controls_per_block", s->controls);
	int64_t alert = 0;
	if (alerts_hold_stage(c, s->rollout, s->stage, &alert) || s->ended_at || strcmp(s->verdict, "revert") == 0)
		alert = 0;
	json_str(out, "verdict", alert ? verdict_name(VERDICT_HOLD) : s->is_judged ? s->verdict : "none");
	json_int(out, "looks", s->look);
	json_int(out, "extensions", s->extension);
	json_bool(out, "held", s->held || alert);
	if (alert)
		json_int(out, "held_by", alert);
	put_time(out, "started_at", s->started_at);
	put_time(out, "baking_at", s->baking_at);
	put_time(out, "ended_at", s->ended_at);
	write_counts(counts, out);
	json_close_object(out);
	for (int i = 0; sums && i < DEPLOYMENT_STATUS_COUNT; i++)
		sums[i] += counts[i];
}

void rollout_write(struct call *c, const struct rollout_rows *x, struct buf *out)
{
	const struct rollout_row *r = &x->row;
	uint32_t sums[DEPLOYMENT_STATUS_COUNT] = {0};
	char hex[SHA256_HEX];
	json_open_object(out);
	json_int(out, "id", r->id);
	json_str(out, "name", r->name);
	json_str(out, "release", r->release_name);
	json_str(out, "status", r->status);
	json_str(out, "reason", r->reason);
	json_str(out, "filter", r->target_filter);
	json_int(out, "target", r->target);
	json_str(out, "guarantee", r->guarantee);
	hex_encode(r->seed_sha256, 32, hex);
	json_str(out, "seed_sha256", hex);
	if (r->started_at && x->stage_count && x->stages[0].started_at) { /* the draw is made: the seed may be seen */
		hex_encode(r->seed, 32, hex);
		json_str(out, "seed", hex);
	}
	json_str(out, "created_by", r->created_by);
	if (r->approved_by)
		json_str(out, "approved_by", r->approved_by);
	put_time(out, "created_at", r->created_at);
	put_time(out, "started_at", r->started_at);
	put_time(out, "ended_at", r->ended_at);
	json_int(out, "revision", r->revision);
	json_key(out, "stages");
	json_open_array(out);
	for (size_t i = 0; i < x->stage_count; i++)
		write_stage(c, &x->stages[i], out, sums);
	json_close_array(out);
	write_counts(sums, out);
	json_raw(out, "spec", r->spec);
	json_close_object(out);
}

enum err rollouts_show(struct call *c, int64_t id, struct buf *out, int64_t *revision)
{
	struct rollout_rows x;
	enum err e = rollout_open(c, id, &x);
	if (e)
		return e;
	*revision = x.row.revision;
	rollout_write(c, &x, out);
	return ERR_OK;
}

enum err rollouts_list(struct call *c, const char *status, int64_t after, int64_t limit, struct buf *out, int64_t *next)
{
	struct rollout_row *rows;
	size_t count;
	enum rollout_status known;
	if (status && !rollout_status_parse(status, &known))
		return fault_set(c->fault, ERR_BAD_REQUEST, "/status", "no such status");
	enum err e = rollout_page(c->s->rollouts->store, status, after, limit + 1, &rows, &count, c->arena, c->fault);
	*next = 0;
	for (size_t i = 0; i < count && !e; i++) {
		if ((int64_t)i == limit) {
			*next = rows[i - 1].id;
			break;
		}
		struct rollout_rows x = {.row = rows[i]}; /* without its plan in memory: a list may name thousands */
		e = stage_list(c->s->rollouts->store, rows[i].id, &x.stages, &x.stage_count, c->arena, c->fault);
		if (!e)
			rollout_write(c, &x, out);
	}
	return e;
}

enum err rollouts_stages(struct call *c, int64_t id, struct buf *out)
{
	struct rollout_rows x;
	enum err e = rollout_open(c, id, &x);
	for (size_t i = 0; !e && i < x.stage_count; i++)
		write_stage(c, &x.stages[i], out, NULL);
	return e;
}

static void write_deployment(struct call *c, const struct deployment_row *d, struct buf *out)
{
	const struct device_state *device = registry_by_row(c->s->registry, d->device);
	struct release_row release;
	json_open_object(out);
	json_int(out, "id", d->id);
	json_str(out, "device", device ? device->id : "");
	json_int(out, "stage", d->stage);
	json_str(out, "kind", deployment_kind_text(d->kind));
	json_str(out, "role", d->is_canary ? "canary" : d->kind == DEPLOYMENT_SHAM ? "control" : "wave");
	json_str(out, "state", deployment_status_text(d->state));
	json_int(out, "attempt", d->attempt);
	json_int(out, "progress", d->progress);
	json_str(out, "reason", d->reason);
	if (d->prev_release && !releases_get(c, d->prev_release, &release))
		json_str(out, "previous_release", release.name);
	put_time(out, "offered_at", d->offered_at);
	put_time(out, "deadline_at", d->deadline_at);
	put_time(out, "ended_at", d->ended_at);
	put_time(out, "updated_at", d->updated_at);
	json_close_object(out);
}

enum err rollouts_deployments(struct call *c, int64_t id, const char *state, int64_t stage, int64_t after, int64_t limit, struct buf *out,
	int64_t *next)
{
	struct rollout_rows x;
	struct deployment_row *rows;
	size_t count;
	enum deployment_status s = DEPLOYMENT_STATUS_COUNT;
	*next = 0;
	if (state && !deployment_status_parse(state, &s))
		return fault_set(c->fault, ERR_BAD_REQUEST, "/state", "no such state");
	enum err e = rollout_open(c, id, &x);
	if (!e)
		e = deployment_page(c->s->rollouts->deployments, id, stage, s, after, limit + 1, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; !e && i < count; i++) {
		if ((int64_t)i == limit) {
			*next = rows[i - 1].id;
			break;
		}
		write_deployment(c, &rows[i], out);
	}
	return e;
}

enum err rollouts_verdicts(struct call *c, int64_t id, struct buf *out)
{
	struct rollout_rows x;
	struct look_row *rows;
	size_t count;
	enum err e = rollout_open(c, id, &x);
	if (!e)
		e = look_list(c->s->rollouts->store, id, &rows, &count, c->arena, c->fault);
	for (size_t i = 0; !e && i < count; i++) {
		const struct look_row *l = &rows[i];
		json_open_object(out);
		json_int(out, "stage", l->stage);
		json_int(out, "look", l->look);
		json_int(out, "gate", l->gate);
		json_int(out, "at", l->at);
		json_int(out, "reports", l->reports);
		json_int(out, "blocks", l->blocks);
		json_int(out, "devices", l->devices);
		json_int(out, "statistic", l->statistic);
		json_num(out, "p", l->p);
		json_num(out, "p_ni", l->p_ni);
		json_num(out, "alpha_look", l->alpha_look);
		json_num(out, "alpha_spent", l->spent);
		json_str(out, "verdict", l->verdict);
		json_raw(out, "data", l->data);
		json_close_object(out);
	}
	return e;
}

static void write_member(struct call *c, const struct block_row *row, struct buf *out)
{
	const struct device_state *device = registry_by_row(c->s->registry, row->device);
	json_open_object(out);
	json_int(out, "block", row->block);
	json_str(out, "device", device ? device->id : "");
	json_bool(out, "canary", row->is_canary);
	put_time(out, "t0", row->t0);
	json_close_object(out);
}

enum err rollouts_blocks(struct call *c, int64_t id, int64_t stage, const char *cursor, int64_t limit, struct buf *out, const char **next)
{
	struct rollout_rows x;
	size_t count = 0;
	long long block = -1, device = -1;
	*next = NULL;
	if (cursor && sscanf(cursor, "%lld;%lld", &block, &device) != 2)
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "the cursor is broken");
	struct block_row *rows = arena_array(c->arena, (size_t)limit, sizeof *rows);
	enum err e = rollout_open(c, id, &x);
	if (!e)
		e = block_page(c->s->rollouts->store, id, stage, block, device, rows, (size_t)limit, &count, c->fault);
	for (size_t i = 0; !e && i < count; i++)
		write_member(c, &rows[i], out);
	if (!e && count == (size_t)limit)
		*next = arena_printf(c->arena, "%lld;%lld", (long long)rows[count - 1].block, (long long)rows[count - 1].device);
	return e;
}
