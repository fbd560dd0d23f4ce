/* One deployment: how it moves, what its device should run, what its device says. */
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "store/db.h"

void deployment_set_active(struct call *c, int64_t device, int64_t deployment)
{
	struct device_state *d = registry_by_row(c->s->registry, device);
	if (!d || d->deployment == deployment)
		return;
	registry_touch(c->s->registry, d);
	d->deployment = deployment;
}

enum err deployment_rejoin(struct call *c, const struct deployment_row *d, bool *is_free)
{
	int64_t active = 0;
	struct deployment_store *store = c->s->rollouts->deployments;
	enum err e = deployment_active_of(store, d->device, &active, c->fault);
	*is_free = !e && (active == 0 || active == d->id);
	if (e || active)
		return e;
	e = deployment_activate(store, d->device, d->id, c->fault);
	if (!e)
		deployment_set_active(c, d->device, d->id);
	return e;
}

/* Of a rollout that has ended: what came late is over, so that the device may take part in another one. */
static enum err leave_when_over(struct call *c, enum rollout_status status, const struct deployment_row *d)
{
	int64_t active = 0;
	struct deployment_store *store = c->s->rollouts->deployments;
	if (!rollout_status_is_final(status) || deployment_status_class(d->state) != DEPLOYMENT_DONE)
		return ERR_OK;
	enum err e = deployment_active_of(store, d->device, &active, c->fault);
	if (e || active != d->id)
		return e;
	deployment_set_active(c, d->device, 0);
	return deployment_deactivate(store, d->device, c->fault);
}

static const char *device_name(struct call *c, int64_t device)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	return d ? d->id : "?";
}

static void count_state(enum deployment_status state)
{
	switch (state) {
	case DEPLOYMENT_OFFERED:
		metric_add(METER_DEPLOYMENTS_OFFERED, 1);
		break;
	case DEPLOYMENT_SUCCEEDED:
		metric_add(METER_DEPLOYMENTS_SUCCEEDED, 1);
		break;
	case DEPLOYMENT_FAILED:
		metric_add(METER_DEPLOYMENTS_FAILED, 1);
		break;
	case DEPLOYMENT_TIMED_OUT:
		metric_add(METER_DEPLOYMENTS_TIMED_OUT, 1);
		break;
	case DEPLOYMENT_REVERTED:
		metric_add(METER_DEPLOYMENTS_REVERTED, 1);
		break;
	default: /* on the way */
		break;
	}
}

static enum err note_state(struct call *c, const struct deployment_row *d)
{
	count_state(d->state);
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", d->rollout);
	json_int(&b, "deployment", d->id);
	json_str(&b, "device", device_name(c, d->device));
	json_str(&b, "state", deployment_status_text(d->state));
	json_int(&b, "attempt", d->attempt);
	json_str(&b, "reason", d->reason);
	json_close_object(&b);
	enum err e = event_append(c, "deployment.state", rollout_resource(c, d->rollout), buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* A revert stays on offer after people were told that it failed: a device that was away for a month goes back when it returns. */
static bool is_revert_on_offer(enum deployment_status s)
{
	return s == DEPLOYMENT_REVERTING || s == DEPLOYMENT_REVERT_FAILED;
}

static bool is_on_offer(enum deployment_status s)
{
	return deployment_status_class(s) == DEPLOYMENT_ACTIVE || is_revert_on_offer(s);
}

/* Whether the desired document reads differently in the two states. */
static bool document_differs(enum deployment_status a, enum deployment_status b)
{
	return is_on_offer(a) != is_on_offer(b) || is_revert_on_offer(a) != is_revert_on_offer(b);
}

static enum err write_state(struct call *c, struct deployment_row *d, enum deployment_status before)
{
	d->updated_at = c->now_ms;
	enum err e = deployment_update(c->s->rollouts->deployments, d, before, c->fault);
	if (!e && (before != d->state || deployment_status_class(d->state) == DEPLOYMENT_DONE))
		e = note_state(c, d);
	return e;
}

static enum err tell_device(struct call *c, const struct deployment_row *d)
{
	struct device_state *device = registry_by_row(c->s->registry, d->device);
	return device ? registry_bump_desired(c, device) : ERR_OK;
}

enum err deployment_set(struct call *c, struct deployment_row *d, enum deployment_status to, const char *reason)
{
	enum deployment_status before = d->state;
	if (before != to && !deployment_can_move(before, to))
		return ERR_OK;
	deployment_move(&d->state, to);
	if (reason)
		d->reason = reason;
	if (deployment_status_class(to) != DEPLOYMENT_ACTIVE)
		d->deadline_at = 0;
	d->ended_at = deployment_status_class(to) == DEPLOYMENT_DONE ? c->now_ms : 0;
	enum err e = write_state(c, d, before);
	return e || !document_differs(before, to) ? e : tell_device(c, d);
}

/* The manifest that a device is handed: signed at or after everything that it can have confirmed. */
static enum err choose_manifest(struct call *c, struct deployment_row *d, int64_t release, int64_t above)
{
	const struct device_state *device = registry_by_row(c->s->registry, d->device);
	int64_t least = device ? device->running_counter : 0;
	return releases_manifest_for(c, release, least > above ? least : above, &d->counter);
}

enum err deployment_offer(struct call *c, struct rollout_live *live, struct deployment_row *d)
{
	struct rollout_row row;
	enum err e = rollout_get(c->s->rollouts->store, d->rollout, &row, c->arena, c->fault);
	if (!e)
		e = choose_manifest(c, d, row.release, 0);
	if (e)
		return e;
	enum deployment_status before = d->state;
	deployment_move(&d->state, DEPLOYMENT_OFFERED);
	d->offered_at = c->now_ms;
	d->deadline_at = c->now_ms + live->spec.timeout_ms;
	d->ended_at = 0;
	d->progress = 0;
	d->reason = "";
	e = write_state(c, d, before);
	return e ? e : tell_device(c, d);
}

/* ---- going back ---- */

static enum err not_revertible(struct call *c, struct deployment_row *d, const char *why)
{
	const char *device = device_name(c, d->device);
	enum err e = deployment_set(c, d, DEPLOYMENT_NOT_REVERTIBLE, why);
	return e ? e : alert_raise(c, "deployment.not_revertible", arena_printf(c->arena, "devices/%s", device), ALERT_CRITICAL,
		arena_printf(c->arena, "%s cannot go back: %s", device, why),
		arena_printf(c->arena, "{\"rollout\":%lld,\"deployment\":%lld}", (long long)d->rollout, (long long)d->id));
}

/* Offers the previous release, in a manifest above everything that was signed for the bad one: the device may have confirmed any
 * of these without us knowing yet. */
static enum err offer_revert(struct call *c, struct rollout_live *live, struct deployment_row *d, enum deployment_status before)
{
	struct rollout_row row;
	struct manifest_row newest;
	enum err e = rollout_get(c->s->rollouts->store, d->rollout, &row, c->arena, c->fault);
	if (!e)
		e = releases_newest_manifest(c, row.release, &newest);
	if (!e)
		e = choose_manifest(c, d, d->prev_release, newest.counter);
	if (e)
		return e;
	d->attempt++;
	d->reverts++;
	d->offered_at = c->now_ms;
	d->deadline_at = c->now_ms + live->spec.timeout_ms;
	d->ended_at = 0;
	d->progress = 0;
	e = write_state(c, d, before);
	return e ? e : tell_device(c, d);
}

/* A later rollout has the device, or has changed what it runs: sending it back from here would undo that one. Else it takes part. */
static enum err has_gone_on(struct call *c, const struct deployment_row *d, bool *is_elsewhere)
{
	struct deployment_row newest;
	bool is_free = false;
	*is_elsewhere = false;
	enum err e = deployment_newest(c->s->rollouts->deployments, d->device, &newest, c->arena, c->fault);
	if (e)
		return e;
	bool still_here = newest.id == d->id || newest.state == DEPLOYMENT_FAILED || newest.state == DEPLOYMENT_CANCELLED ||
		newest.state == DEPLOYMENT_REVERTED;
	if (still_here)
		e = deployment_rejoin(c, d, &is_free);
	*is_elsewhere = !is_free;
	return e;
}

enum err deployment_retry_revert(struct call *c, struct rollout_live *live, struct deployment_row *d)
{
	enum deployment_status before = d->state;
	bool is_elsewhere;
	enum err e = has_gone_on(c, d, &is_elsewhere);
	if (e || is_elsewhere)
		return e;
	deployment_move(&d->state, DEPLOYMENT_REVERTING);
	d->reverts = 0;
	return offer_revert(c, live, d, before);
}

enum err deployment_take_back(struct call *c, struct rollout_live *live, struct deployment_row *d)
{
	enum deployment_status to, before = d->state;
	bool is_elsewhere;
	if (!deployment_on_revert(before, d->prev_release != 0, &to))
		return ERR_OK;
	if (to == DEPLOYMENT_NOT_REVERTIBLE)
		return not_revertible(c, d, "no earlier release of it is known here");
	if (to != DEPLOYMENT_REVERTING)
		return deployment_set(c, d, to, "rollout reverted before it was offered");
	enum err e = has_gone_on(c, d, &is_elsewhere);
	if (e)
		return e;
	if (is_elsewhere)
		return not_revertible(c, d, "it has gone on to another rollout");
	deployment_move(&d->state, to);
	d->reason = "";
	d->reverts = 0;
	return offer_revert(c, live, d, before);
}

static enum err revert_missed(struct call *c, struct rollout_live *live, struct deployment_row *d, const char *reason)
{
	if (d->reverts < ROLLOUT_REVERTS_MAX) {
		d->reason = reason;
		return offer_revert(c, live, d, d->state);
	}
	enum err e = deployment_set(c, d, DEPLOYMENT_REVERT_FAILED, reason);
	if (e)
		return e;
	const char *device = device_name(c, d->device);
	return alert_raise(c, "deployment.revert_failed", arena_printf(c->arena, "devices/%s", device), ALERT_CRITICAL,
		arena_printf(c->arena, "%s did not go back to its previous release in %d attempts", device, ROLLOUT_REVERTS_MAX),
		arena_printf(c->arena, "{\"rollout\":%lld,\"deployment\":%lld}", (long long)d->rollout, (long long)d->id));
}

/* ---- attempts that end badly ---- */

static bool may_retry(enum rollout_status s)
{
	return s == ROLLOUT_RUNNING || s == ROLLOUT_PAUSED || s == ROLLOUT_STARTING;
}

/* The attempt is over without success: another one waits its turn, or it stays failed. */
static enum err attempt_over(struct call *c, struct rollout_live *live, enum rollout_status status, struct deployment_row *d,
	enum deployment_status to, const char *reason)
{
	enum err e = deployment_set(c, d, to, reason);
	if (e)
		return e;
	if (may_retry(status) && d->attempt <= live->spec.retries) {
		d->attempt++;
		return deployment_set(c, d, DEPLOYMENT_WAITING, reason);
	}
	e = alert_install_failed(c, device_name(c, d->device), d->rollout, reason);
	return e ? e : rollout_start_block(c, live, d);
}

enum err deployment_timed_out(struct call *c, struct rollout_rows *x, struct deployment_row *d)
{
	const char *reason = arena_printf(c->arena, "nothing final was heard within %lld ms", (long long)x->live->spec.timeout_ms);
	if (d->state == DEPLOYMENT_REVERTING) {
		enum err e = revert_missed(c, x->live, d, reason);
		return e ? e : leave_when_over(c, x->status, d);
	}
	return attempt_over(c, x->live, x->status, d, DEPLOYMENT_TIMED_OUT, reason);
}

/* ---- what a device says ---- */

static bool said_state(const char *text, enum report_state *out)
{
	for (int i = 0; i < REPORT_STATE_COUNT; i++)
		if (strcmp(report_state_text((enum report_state)i), text) == 0) {
			*out = (enum report_state)i;
			return true;
		}
	return false;
}

static enum err on_progress(struct call *c, struct deployment_row *d, enum report_state said, int64_t progress, const char *reason)
{
	struct rollout_rows x;
	enum err e = rollout_load(c, d->rollout, &x);
	if (e)
		return e;
	enum deployment_status to, before = d->state;
	bool ended_badly = said == REPORT_FAILED || said == REPORT_REJECTED;
	if (before == DEPLOYMENT_REVERTING && ended_badly) {
		e = revert_missed(c, x.live, d, reason);
		return e ? e : leave_when_over(c, x.status, d);
	}
	if (!deployment_on_report(before, said, &to)) {
		if (progress == d->progress || deployment_status_class(before) != DEPLOYMENT_ACTIVE)
			return ERR_OK;
		d->progress = progress; /* no event: a thousand devices tell a hundred steps each */
		d->updated_at = c->now_ms;
		return deployment_update(c->s->rollouts->deployments, d, before, c->fault);
	}
	d->progress = said == REPORT_SUCCEEDED ? 100 : progress;
	if (to == DEPLOYMENT_FAILED)
		return attempt_over(c, x.live, x.status, d, to, reason);
	e = deployment_set(c, d, to, reason ? reason : "");
	if (!e && to == DEPLOYMENT_SUCCEEDED)
		e = alert_resolve(c, "install.failed", arena_printf(c->arena, "devices/%s", device_name(c, d->device)));
	if (!e && to == DEPLOYMENT_SUCCEEDED)
		e = rollout_start_block(c, x.live, d);
	bool came_too_late = to == DEPLOYMENT_SUCCEEDED && (x.status == ROLLOUT_REVERTING || x.status == ROLLOUT_REVERTED);
	if (!e && came_too_late)
		e = deployment_take_back(c, x.live, d);
	if (!e && to == DEPLOYMENT_REVERTED)
		e = alert_resolve(c, "deployment.revert_failed", arena_printf(c->arena, "devices/%s", device_name(c, d->device)));
	return e ? e : leave_when_over(c, x.status, d);
}

enum err rollouts_on_progress(struct call *c, int64_t device, int64_t deployment, int64_t attempt, const char *state, int64_t progress,
	const char *reason)
{
	struct deployment_row d;
	enum report_state said;
	enum err e = deployment_get(c->s->rollouts->deployments, deployment, &d, c->arena, c->fault);
	if (e == ERR_NOT_FOUND)
		return ERR_OK; /* of a rollout that was deleted */
	if (e || d.device != device || d.attempt != attempt || !said_state(state, &said))
		return e;
	return on_progress(c, &d, said, progress < 0 ? 0 : progress > 100 ? 100 : progress, reason ? reason : "");
}

/* ---- what a device should run ---- */

enum err rollouts_desired(struct call *c, int64_t device, struct desired_target *out)
{
	*out = (struct desired_target){0};
	struct deployment_row d;
	int64_t active = 0;
	struct deployment_store *store = c->s->rollouts->deployments;
	enum err e = deployment_active_of(store, device, &active, c->fault); /* may be one of an earlier rollout that is taken back */
	if (!e)
		e = active ? deployment_get(store, active, &d, c->arena, c->fault) : deployment_newest(store, device, &d, c->arena, c->fault);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (e)
		return e;
	struct rollout_row row;
	e = rollout_get(c->s->rollouts->store, d.rollout, &row, c->arena, c->fault);
	if (e)
		return e;
	bool is_revert = is_revert_on_offer(d.state);
	bool is_new = !is_revert && (is_on_offer(d.state) || d.state == DEPLOYMENT_SUCCEEDED);
	out->release = is_new ? row.release : d.prev_release;
	if (is_on_offer(d.state)) {
		struct rollout_rows x;
		e = rollout_load(c, d.rollout, &x);
		if (e)
			return e;
		out->has_deployment = true;
		out->deployment = d.id;
		out->attempt = (int)d.attempt;
		out->action = is_revert ? "revert" : "install";
		out->timeout_ms = x.live->spec.timeout_ms;
		out->counter = d.counter;
		return ERR_OK;
	}
	if (!out->release)
		return ERR_OK;
	struct manifest_row newest;
	e = releases_newest_manifest(c, out->release, &newest);
	out->counter = e ? 0 : newest.counter;
	return e;
}

enum err rollouts_of_device(struct call *c, int64_t device, int64_t *rollout)
{
	struct rollouts *r = c->s->rollouts;
	int64_t deployment = 0;
	struct deployment_row d;
	*rollout = 0;
	enum err e = deployment_active_of(r->deployments, device, &deployment, c->fault);
	if (e || !deployment)
		return e;
	e = deployment_get(r->deployments, deployment, &d, c->arena, c->fault);
	*rollout = e ? 0 : d.rollout;
	return e;
}

enum err rollouts_forget_device(struct call *c, int64_t device, struct buf *what)
{
	struct rollouts *r = c->s->rollouts;
	int64_t active = 0;
	enum err e = deployment_active_of(r->deployments, device, &active, c->fault);
	if (e)
		return e;
	if (active) {
		struct deployment_row d;
		e = deployment_get(r->deployments, active, &d, c->arena, c->fault);
		if (e)
			return e;
		buf_printf(what, "its deployment %lld in rollout %lld (%s) was cancelled", (long long)d.id, (long long)d.rollout,
			deployment_status_text(d.state));
		e = deployment_deactivate(r->deployments, device, c->fault);
		if (e)
			return e;
	}
	rollout_judged_forget_device(c, device);
	e = block_forget_device(r->store, device, c->fault);
	return e ? e : deployment_forget_device(r->deployments, device, c->fault);
}
