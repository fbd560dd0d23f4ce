/* One deployment: how it moves, what its device should run, what its device says. */
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/actions.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "service/selection.h"
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

static enum err leave(struct call *c, int64_t device)
{
	deployment_set_active(c, device, 0);
	return deployment_deactivate(c->s->rollouts->deployments, device, c->fault);
}

/* Of a rollout that has ended: what came late is over, so that the device may take part in another one. */
static enum err leave_when_over(struct call *c, enum rollout_status status, const struct deployment_row *d)
{
	int64_t active = 0;
	struct deployment_store *store = c->s->rollouts->deployments;
	if (!rollout_status_is_final(status) || deployment_status_class(d->state) != DEPLOYMENT_DONE)
		return ERR_OK;
	enum err e = deployment_active_of(store, d->device, &active, c->fault);
	return e || active != d->id ? e : leave(c, d->device);
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
	if (d->kind == DEPLOYMENT_INSTALL)
		count_state(d->state);
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", d->rollout);
	json_int(&b, "deployment", d->id);
	json_str(&b, "device", device_name(c, d->device));
	json_str(&b, "kind", deployment_kind_text(d->kind));
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

/* A shadow is in the document for as long as it should run. */
static bool is_shadow_on(enum deployment_status s)
{
	return deployment_status_class(s) == DEPLOYMENT_ACTIVE || s == DEPLOYMENT_SUCCEEDED;
}

/* Whether the desired document reads differently in the two states. */
static bool document_differs(enum deployment_kind kind, enum deployment_status a, enum deployment_status b)
{
	if (kind == DEPLOYMENT_SHADOW)
		return is_shadow_on(a) != is_shadow_on(b);
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
	enum err e = ERR_OK;
	if (before != to && !deployment_can_move(before, to))
		return ERR_OK;
	if (is_on_offer(before) && !is_on_offer(to))
		e = actions_withdrawn(c, d, reason ? reason : "");
	if (e)
		return e;
	deployment_move(&d->state, to);
	if (reason)
		d->reason = reason;
	if (deployment_status_class(to) != DEPLOYMENT_ACTIVE)
		d->deadline_at = 0;
	d->ended_at = deployment_status_class(to) == DEPLOYMENT_DONE ? c->now_ms : 0;
	e = write_state(c, d, before);
	return e || !document_differs(d->kind, before, to) ? e : tell_device(c, d);
}

static int64_t running_counter(struct call *c, int64_t device)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	return d ? d->running_counter : 0;
}

static bool is_ddi(struct call *c, int64_t device)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	return d && d->is_ddi;
}

/* The manifest that a device is handed: signed at or after everything that it can have confirmed. */
static enum err choose_manifest(struct call *c, struct deployment_row *d, int64_t release, int64_t above)
{
	int64_t least = running_counter(c, d->device);
	if (is_ddi(c, d->device))
		return ERR_OK; /* it knows nothing of manifests */
	return releases_manifest_for(c, release, least > above ? least : above, &d->counter);
}

enum err deployment_exclude(struct call *c, struct rollout_live *live, struct deployment_row *d, const char *why)
{
	const char *device = device_name(c, d->device), *reason = arena_printf(c->arena, "it cannot run the release: %s", why);
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_int(&b, "rollout", d->rollout);
	json_int(&b, "deployment", d->id);
	json_str(&b, "device", device);
	json_str(&b, "reason", reason);
	json_close_object(&b);
	enum err e = deployment_set(c, d, DEPLOYMENT_CANCELLED, reason);
	if (!e)
		e = event_append(c, "deployment.excluded", rollout_resource(c, d->rollout), buf_cstr(&b));
	buf_done(&b);
	if (!e)
		e = rollout_part_is_over(c, live, d);
	const struct device_state *at = registry_by_row(c->s->registry, d->device);
	return e || !at || at->deployment != d->id ? e : leave(c, d->device);
}

/* Whether the device can run what its rollout is about; a revert, and what it runs already, is never asked. */
static enum err may_run(struct call *c, const struct deployment_row *d, int64_t release, bool *may, const char **why)
{
	const struct device_state *at = registry_by_row(c->s->registry, d->device);
	*may = true;
	return at && d->kind != DEPLOYMENT_SHAM ? compats_may_run(c, release, at, may, why) : ERR_OK;
}

/* What has not begun to run yet can still be left undone. */
static bool is_on_its_way(enum deployment_status s)
{
	return s == DEPLOYMENT_OFFERED || s == DEPLOYMENT_DOWNLOADING || s == DEPLOYMENT_INSTALLING;
}

enum err rollouts_recheck_device(struct call *c, int64_t device)
{
	const struct device_state *at = registry_by_row(c->s->registry, device);
	struct deployment_row d;
	struct rollout_rows x;
	const char *why;
	bool may;
	if (!at || !at->deployment || !c->s->rollouts)
		return ERR_OK;
	enum err e = deployment_get(c->s->rollouts->deployments, at->deployment, &d, c->arena, c->fault);
	if (e || !is_on_its_way(d.state))
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	e = rollout_load(c, d.rollout, &x);
	if (!e)
		e = may_run(c, &d, x.row.release, &may, &why);
	return e || may ? e : deployment_exclude(c, x.live, &d, why);
}

/* Which variants it gets, and whether now. Where not, that is noted, and *is_offered is false. */
static enum err choose_variants(struct call *c, struct rollout_live *live, struct deployment_row *d, int64_t release, bool *is_offered)
{
	enum selection_outcome outcome;
	enum err e = selection_offer(c, d, release, &outcome);
	*is_offered = !e && outcome == SELECTION_GO;
	if (e || *is_offered)
		return e;
	return outcome == SELECTION_WAIT ? write_state(c, d, d->state) : deployment_exclude(c, live, d, d->reason);
}

enum err deployment_offer(struct call *c, struct rollout_live *live, struct deployment_row *d)
{
	struct rollout_row row;
	const char *why;
	bool may = true, is_chosen = false;
	enum err e = rollout_get(c->s->rollouts->store, d->rollout, &row, c->arena, c->fault);
	if (!e)
		e = may_run(c, d, row.release, &may, &why);
	if (e || !may) /* it could when the stage was drawn */
		return e ? e : deployment_exclude(c, live, d, why);
	e = choose_variants(c, live, d, row.release, &is_chosen);
	if (e || !is_chosen)
		return e;
	if (d->kind == DEPLOYMENT_SHAM) /* a manifest that it does not have, or it would say that it runs it already */
		e = choose_manifest(c, d, d->prev_release, running_counter(c, d->device) + 1);
	else
		e = choose_manifest(c, d, row.release, 0);
	if (e)
		return e;
	enum deployment_status before = d->state;
	e = actions_offered(c, live, d, row.release, false);
	if (e)
		return e;
	deployment_move(&d->state, DEPLOYMENT_OFFERED);
	d->offered_at = c->now_ms;
	d->deadline_at = d->confirm == 1 ? 0 : c->now_ms + live->spec.timeout_ms;
	d->ended_at = 0;
	d->progress = 0;
	d->reason = "";
	e = write_state(c, d, before);
	if (!e)
		e = tell_device(c, d);
	return e ? e : rollout_offer_shams(c, live, d);
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
	struct manifest_row newest = {.counter = 0};
	enum err e = rollout_get(c->s->rollouts->store, d->rollout, &row, c->arena, c->fault);
	if (!e && !is_ddi(c, d->device))
		e = releases_newest_manifest(c, row.release, &newest);
	if (!e && is_on_offer(before))
		e = actions_withdrawn(c, d, "the device is to go back to its previous release");
	if (!e)
		e = actions_offered(c, live, d, d->prev_release, true);
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
	enum err e = deployment_newest_install(c->s->rollouts->deployments, d->device, &newest, c->arena, c->fault);
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

enum err deployment_let_go(struct call *c, struct deployment_row *d, bool is_revert)
{
	const struct device_state *device = registry_by_row(c->s->registry, d->device);
	enum deployment_status before = d->state;
	bool is_active = device && device->deployment == d->id, ends = is_revert && d->kind == DEPLOYMENT_SHADOW;
	bool tells = is_active && d->kind == DEPLOYMENT_SHADOW && before == DEPLOYMENT_SUCCEEDED;
	enum err e = ERR_OK;
	if (is_active)
		e = leave(c, d->device);
	if (!e && (deployment_status_class(before) != DEPLOYMENT_DONE || (ends && before == DEPLOYMENT_TIMED_OUT)))
		e = deployment_set(c, d, DEPLOYMENT_CANCELLED, is_revert ? "the rollout is taken back" : "its stage is over");
	if (!e && ends && before == DEPLOYMENT_SUCCEEDED) { /* nothing of it stays on the device: no way back is needed */
		deployment_move(&d->state, DEPLOYMENT_REVERTING);
		deployment_move(&d->state, DEPLOYMENT_REVERTED);
		d->reason = "it ran in shadow, and runs no more";
		e = write_state(c, d, before);
	}
	return e || !tells ? e : tell_device(c, d);
}

enum err deployment_take_back(struct call *c, struct rollout_live *live, struct deployment_row *d)
{
	enum deployment_status to, before = d->state;
	bool is_elsewhere;
	if (d->kind != DEPLOYMENT_INSTALL)
		return deployment_let_go(c, d, true);
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
	if (may_retry(status) && d->attempt <= live->spec.retries && d->kind != DEPLOYMENT_SHAM) {
		d->attempt++;
		return deployment_set(c, d, DEPLOYMENT_WAITING, reason);
	}
	if (d->kind != DEPLOYMENT_SHAM) /* it runs what it ran, and that nothing else came of it is what is compared */
		e = alert_install_failed(c, device_name(c, d->device), d->rollout,
			d->kind == DEPLOYMENT_SHADOW ? arena_printf(c->arena, "in shadow: %s", reason) : reason);
	return e ? e : rollout_part_is_over(c, live, d);
}

enum err deployment_timed_out(struct call *c, struct rollout_rows *x, struct deployment_row *d)
{
	const char *reason = arena_printf(c->arena, "nothing final was heard within %lld ms", (long long)x->live->spec.timeout_ms);
	if (d->state == DEPLOYMENT_REVERTING) {
		enum err e = revert_missed(c, x->live, d, reason);
		return e ? e : leave_when_over(c, x->status, d);
	}
	if (d->cancelling != 0 && d->cancelling == d->action) { /* it was to stop, and says nothing */
		enum err e = deployment_set(c, d, DEPLOYMENT_CANCELLED, "cancelled by an operator");
		return e ? e : rollout_part_is_over(c, x->live, d);
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
	bool moves = d->kind == DEPLOYMENT_SHADOW ? deployment_on_shadow_report(before, said, &to) : deployment_on_report(before, said, &to);
	if (!moves) {
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
	if (!e && to == DEPLOYMENT_SUCCEEDED && d->kind == DEPLOYMENT_INSTALL)
		e = selection_installed(c, d->device, x.row.release, d->parts);
	if (!e && to == DEPLOYMENT_REVERTED)
		e = selection_installed(c, d->device, d->prev_release, d->prev_parts);
	if (!e && to == DEPLOYMENT_SUCCEEDED)
		e = rollout_part_is_over(c, x.live, d);
	bool came_too_late = to == DEPLOYMENT_SUCCEEDED && (x.status == ROLLOUT_REVERTING || x.status == ROLLOUT_REVERTED);
	if (!e && came_too_late)
		e = deployment_take_back(c, x.live, d);
	if (!e && to == DEPLOYMENT_REVERTED)
		e = alert_resolve(c, "deployment.revert_failed", arena_printf(c->arena, "devices/%s", device_name(c, d->device)));
	return e ? e : leave_when_over(c, x.status, d);
}

enum err deployment_on_action(struct call *c, struct deployment_row *d, enum report_state said, int64_t progress, const char *reason)
{
	return on_progress(c, d, said, progress < 0 ? 0 : progress > 100 ? 100 : progress, reason ? reason : "");
}

bool deployment_is_on_offer(enum deployment_status s)
{
	return is_on_offer(s);
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
	const struct device_state *at = registry_by_row(c->s->registry, device);
	if (d.kind != DEPLOYMENT_INSTALL && (!at || at->deployment != d.id))
		return ERR_OK; /* it was let go: nothing that comes of it counts any more */
	return on_progress(c, &d, said, progress < 0 ? 0 : progress > 100 ? 100 : progress, reason ? reason : "");
}

/* ---- what a device should run ---- */

/* Beside what it runs; nothing else is to be done. */
static enum err desired_shadow(struct call *c, const struct deployment_row *d, int64_t release, struct desired_target *out)
{
	struct rollout_rows x;
	enum err e = rollout_load(c, d->rollout, &x);
	if (e)
		return e;
	out->shadow.release = release;
	out->shadow.parts = d->parts;
	out->shadow.counter = d->counter;
	out->shadow.deployment = d->id;
	out->shadow.attempt = (int)d->attempt;
	out->shadow.timeout_ms = x.live->spec.timeout_ms;
	return ERR_OK;
}

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
	bool is_new = d.kind == DEPLOYMENT_INSTALL && !is_revert && (is_on_offer(d.state) || d.state == DEPLOYMENT_SUCCEEDED);
	out->release = is_new ? row.release : d.prev_release;
	out->parts = is_new ? d.parts : d.prev_parts;
	if (d.kind == DEPLOYMENT_SHADOW) {
		e = active && is_shadow_on(d.state) ? desired_shadow(c, &d, row.release, out) : ERR_OK;
		if (e)
			return e;
	} else if (is_on_offer(d.state)) {
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

/* ---- one rollout gives way to another ---- */

static enum err find_other(struct call *c, const struct rollout_live *live, const struct device_state *d, struct deployment_row *out, bool *yields)
{
	enum err e = deployment_get(c->s->rollouts->deployments, d->deployment, out, c->arena, c->fault);
	*yields = !e && out->rollout != live->id && out->state != DEPLOYMENT_REVERTING && out->state != DEPLOYMENT_REVERT_FAILED;
	return e;
}

bool deployment_is_free(struct call *c, const struct rollout_live *live, const struct device_state *d)
{
	struct deployment_row other;
	bool yields = false;
	if (!d->deployment || !live->spec.delivery.supersede)
		return !d->deployment;
	return find_other(c, live, d, &other, &yields) == ERR_OK && yields;
}

enum err deployment_supersede(struct call *c, const struct rollout_live *live, const struct device_state *d)
{
	struct deployment_row other;
	struct rollout_rows x;
	bool yields;
	if (!d || !d->deployment)
		return ERR_OK;
	enum err e = find_other(c, live, d, &other, &yields);
	if (e || !yields)
		return e;
	if (other.kind != DEPLOYMENT_INSTALL)
		return deployment_let_go(c, &other, false);
	if (deployment_status_class(other.state) != DEPLOYMENT_DONE) {
		e = deployment_set(c, &other, DEPLOYMENT_CANCELLED, arena_printf(c->arena, "rollout %lld takes the device", (long long)live->id));
		if (!e)
			e = rollout_load(c, other.rollout, &x);
		if (!e)
			e = rollout_part_is_over(c, x.live, &other);
	}
	return e ? e : leave(c, d->row);
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
	struct deployment_row d = {0};
	int64_t active = 0, block = -1;
	enum err e = deployment_active_of(r->deployments, device, &active, c->fault);
	if (e)
		return e;
	if (active) {
		e = deployment_get(r->deployments, active, &d, c->arena, c->fault);
		if (e)
			return e;
		buf_printf(what, "its deployment %lld in rollout %lld (%s) was cancelled", (long long)d.id, (long long)d.rollout,
			deployment_status_text(d.state));
		e = deployment_deactivate(r->deployments, device, c->fault);
		if (e)
			return e;
	}
	if (active && d.kind == DEPLOYMENT_SHAM && block_of_member(r->store, d.rollout, d.stage, device, &block, c->fault))
		block = -1;
	rollout_judged_forget_device(c, device);
	e = block_forget_device(r->store, device, c->fault);
	if (!e)
		e = deployment_forget_device(r->deployments, device, c->fault);
	return e || block < 0 ? e : rollout_control_left(c, d.rollout, d.stage, block);
}
