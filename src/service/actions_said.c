/* What devices and operators say about an action, and what the rollouts do to it: offers and withdrawals. */
#include <assert.h>
#include <string.h>

#include "base/str.h"
#include "service/access.h"
#include "service/actions_inside.h"
#include "service/alerts.h"

/* ---- entries ---- */

/* At most DDI_MESSAGE_BYTES, whole characters. */
static void put_message(struct buf *b, const char *text)
{
	size_t len = strlen(text);
	if (len > DDI_MESSAGE_BYTES)
		for (len = DDI_MESSAGE_BYTES; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			;
	json_put_strn(b, text, len);
}

static const char *messages_of(struct call *c, const char *before, const struct action_feedback *fb, const char *after)
{
	struct buf b = BUF_INIT;
	json_open_array(&b);
	if (before)
		put_message(&b, before);
	for (size_t i = 0; fb && i < fb->details.count; i++)
		put_message(&b, fb->details.items[i]);
	if (fb && fb->has_code)
		put_message(&b, arena_printf(c->arena, "Device reported status code: %lld", (long long)fb->code));
	if (after)
		put_message(&b, after);
	json_close_array(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err action_note(struct call *c, int64_t deployment, int64_t action, enum action_status status, const char *before,
	const struct action_feedback *fb, const char *after)
{
	struct note_row row = {.deployment = deployment, .action = action, .at = c->now_ms, .status = status, .has_code = fb && fb->has_code,
		.code = fb ? fb->code : 0, .messages = messages_of(c, before, fb, after)};
	return note_insert(c->s->actions->store, &row, c->fault);
}

static enum err check_quota(struct call *c, int64_t action, const struct action_feedback *fb)
{
	int64_t count = 0;
	enum err e = note_count(c->s->actions->store, action, &count, c->fault);
	if (!e && count >= DDI_NOTES_MAX)
		e = fault_set(c->fault, ERR_TOO_MANY, "", "the action has %d status entries, which is as many as one may have", DDI_NOTES_MAX);
	if (!e && fb->details.count > DDI_MESSAGES_MAX)
		e = fault_set(c->fault, ERR_TOO_MANY, "", "an entry has at most %d messages", DDI_MESSAGES_MAX);
	return e;
}

/* ---- for rollouts ---- */

static struct device_state *ddi_device(struct call *c, int64_t device)
{
	struct device_state *d = c->s->actions ? registry_by_row(c->s->registry, device) : NULL;
	return d && d->is_ddi ? d : NULL;
}

static enum err next_number(struct call *c, int64_t *action)
{
	enum err e = ERR_OK;
	do
		e = counter_next(c, "action", action);
	while (!e && *action <= INT32_MAX && !ddi_is_action(*action));
	if (!e && *action > INT32_MAX)
		e = fault_set(c->fault, ERR_FULL, "", "all action numbers that clients understand are used up");
	return e;
}

enum err actions_offered(struct call *c, const struct rollout_live *live, struct deployment_row *d, int64_t release, bool is_revert)
{
	struct device_state *device = ddi_device(c, d->device);
	struct auto_confirm confirms = {.is_active = false};
	if (!device)
		return ERR_OK;
	enum err e = next_number(c, &d->action);
	if (!e && !is_revert && live->spec.delivery.confirm)
		e = actions_auto_confirm(c, device, &confirms);
	if (e)
		return e;
	bool waits = !is_revert && live->spec.delivery.confirm && !confirms.is_active;
	d->confirm = waits ? 1 : 0;
	d->is_closed = false;
	const char *text = arena_printf(c->arena, DDI_SERVER_PREFIX "%s by rollout %lld%s", is_revert ? "Return to this release" : "Assignment",
		(long long)live->id, waits ? ". Waiting for the confirmation by the device." : "");
	struct note_row row = {.deployment = d->id, .action = d->action, .at = c->now_ms, .status = waits ? ACTION_WAIT_FOR_CONFIRMATION : ACTION_RUNNING,
		.messages = messages_of(c, text, NULL, NULL), .release = release, .is_revert = is_revert};
	ddi_changed(c, device);
	return note_insert(c->s->actions->store, &row, c->fault);
}

enum err actions_withdrawn(struct call *c, struct deployment_row *d, const char *why)
{
	struct device_state *device = ddi_device(c, d->device);
	if (!device || !d->action || d->is_closed || d->cancelling == d->action)
		return ERR_OK;
	ddi_changed(c, device);
	if (d->cancelling != 0 || d->confirm == 1) { /* the device has never seen it, or has not begun */
		d->confirm = 0;
		if (d->cancelling < 0)
			d->cancelling = -d->cancelling; /* asked once more */
		return action_note(c, d->id, d->action, ACTION_CANCELED, arena_printf(c->arena, DDI_SERVER_PREFIX "Cancelled: %s", why), NULL, NULL);
	}
	d->cancelling = d->action;
	return action_note(c, d->id, d->action, ACTION_CANCELING, arena_printf(c->arena, DDI_SERVER_PREFIX "Cancellation requested: %s", why), NULL, NULL);
}

/* ---- what devices say ---- */

static const char *resource_of(struct call *c, const struct device_state *d)
{
	return arena_printf(c->arena, "devices/%s", d->id);
}

static enum err heard_from(struct call *c, struct device_state *d)
{
	struct ddi_state *st = ddi_state_of(c->s->actions, d);
	st->downloads = 0;
	if (!st->has_alert)
		return ERR_OK;
	st->has_alert = false;
	return alert_resolve(c, "device.redownloads", resource_of(c, d));
}

static enum err write_row(struct call *c, struct deployment_row *d)
{
	d->updated_at = c->now_ms;
	return deployment_update(c->s->rollouts->deployments, d, d->state, c->fault);
}

static const char *reason_of(struct call *c, const struct action_feedback *fb, const char *standard)
{
	return fb->details.count ? arena_strndup(c->arena, fb->details.items[0], strnlen(fb->details.items[0], DDI_MESSAGE_BYTES)) : standard;
}

static bool is_returning(enum deployment_status s)
{
	return s == DEPLOYMENT_REVERTING || s == DEPLOYMENT_REVERT_FAILED;
}

/* An attempt that was to be cancelled came to its end by itself: the device has been faster. What it says of the release is true. */
static enum err finish_former(struct call *c, struct action_here *h, const struct ddi_meaning *m, const char *reason)
{
	struct deployment_row *d = &h->d;
	d->cancelling = 0;
	bool is_same_way = h->row.is_revert == is_returning(d->state);
	if (m->report != REPORT_SUCCEEDED || !is_same_way || d->state == DEPLOYMENT_SUCCEEDED)
		return write_row(c, d);
	enum err e = ERR_OK;
	if (d->state == DEPLOYMENT_WAITING) { /* its next attempt had not begun: that one is this one */
		deployment_move(&d->state, DEPLOYMENT_OFFERED);
		e = deployment_update(c->s->rollouts->deployments, d, DEPLOYMENT_WAITING, c->fault);
	} else if (d->action != h->row.action && deployment_is_on_offer(d->state)) {
		e = action_note(c, d->id, d->action, ACTION_CANCELED, DDI_SERVER_PREFIX "Cancelled: the attempt before it has succeeded", NULL, NULL);
	}
	d->is_closed = true;
	if (!e)
		e = write_row(c, d);
	return e ? e : deployment_on_action(c, d, REPORT_SUCCEEDED, 100, reason);
}

static int64_t percent_of(const struct action_feedback *fb, int64_t standard)
{
	if (fb->of <= 0 || fb->done < 0)
		return standard;
	return fb->done >= fb->of ? 100 : (int64_t)(100.0 * (double)fb->done / (double)fb->of);
}

static enum err present_said(struct call *c, struct action_here *h, const struct ddi_meaning *m, const struct action_feedback *fb, const char *reason)
{
	struct deployment_row *d = &h->d;
	enum report_state report = m->report;
	enum err e = ERR_OK;
	if (m->is_final) {
		d->is_closed = true;
		if (is_returning(d->state) && report == REPORT_CANCELLED)
			report = REPORT_FAILED; /* it has to go back all the same */
		if (d->cancelling == h->row.action || d->cancelling == -h->row.action) {
			d->cancelling = 0;
			e = write_row(c, d);
		}
	}
	if (e || report == REPORT_STATE_COUNT)
		return e;
	return deployment_on_action(c, d, report, percent_of(fb, d->progress), report == REPORT_SUCCEEDED ? "" : reason);
}

/* A clock that was never set, or runs ahead, tells nothing. */
static int64_t device_time(struct call *c, const struct action_feedback *fb)
{
	return fb->at > INT64_C(1420070400000) && fb->at <= c->now_ms + 86400000 ? fb->at : c->now_ms;
}

enum err actions_feedback(struct call *c, struct device_state *d, int64_t action, const struct action_feedback *fb)
{
	struct action_here h;
	struct ddi_meaning m;
	enum err e = action_load(c, d, action, &h);
	if (!e && h.is_waiting)
		e = fault_set(c->fault, ERR_NOT_FOUND, "", "the action waits for a confirmation");
	if (!e && !h.is_active)
		e = fault_set(c->fault, ERR_GONE, "", "the action is over");
	if (!e)
		e = check_quota(c, action, fb);
	if (e)
		return e;
	enum delivery_type type = action_type(&h);
	ddi_on_feedback(fb->execution, fb->finished, type, &m);
	e = action_note(c, h.row.deployment, action, m.status, fb->details.count ? NULL : m.message, fb, NULL);
	if (!e)
		e = heard_from(c, d);
	const char *reason = reason_of(c, fb, m.message);
	bool has_installed = m.is_final && m.report == REPORT_SUCCEEDED && type != DELIVERY_DOWNLOADONLY;
	if (!e && has_installed) /* before the rollout hears of it: what comes next may depend on what runs */
		e = ddi_installed(c, d, h.row.release, action, device_time(c, fb));
	if (!e && m.is_final && m.report == REPORT_SUCCEEDED)
		e = actions_request_attributes(c, d);
	if (!e && h.is_present)
		e = present_said(c, &h, &m, fb, reason);
	else if (!e && m.is_final)
		e = finish_former(c, &h, &m, reason);
	if (m.is_final)
		ddi_changed(c, d);
	return e;
}

/* ---- cancelling ---- */

enum err actions_cancel_read(struct call *c, struct device_state *d, int64_t action)
{
	struct action_here h;
	enum err e = action_load(c, d, action, &h);
	if (!e && !h.is_cancelling)
		e = fault_set(c->fault, ERR_NOT_FOUND, "", "the action is not to be cancelled");
	if (e)
		return e;
	struct note_row last;
	e = note_last(c->s->actions->store, action, &last, c->arena, c->fault);
	if (e || last.status == ACTION_RETRIEVED) /* a device that asks again and again fills no books */
		return e;
	return action_note(c, h.row.deployment, action, ACTION_RETRIEVED, DDI_SERVER_PREFIX "Target retrieved cancel action and should start now the cancellation.",
		NULL, NULL);
}

static enum err cancelled(struct call *c, struct action_here *h, struct device_state *device, const char *reason)
{
	struct deployment_row *d = &h->d;
	d->cancelling = 0;
	ddi_changed(c, device);
	enum err e = write_row(c, d);
	if (e || !h->is_present)
		return e;
	d->is_closed = true;
	return deployment_on_action(c, d, is_returning(d->state) ? REPORT_FAILED : REPORT_CANCELLED, d->progress, reason);
}

/* It goes on: to its end where it is still wanted, else as long as nothing comes after it. */
static enum err refused(struct call *c, struct action_here *h, struct device_state *device)
{
	h->d.cancelling = h->is_present ? 0 : -h->row.action;
	ddi_changed(c, device);
	return write_row(c, &h->d);
}

enum err actions_cancel_feedback(struct call *c, struct device_state *d, int64_t action, const struct action_feedback *fb)
{
	struct action_here h;
	struct action_view view;
	struct ddi_cancel_meaning m;
	enum err e = action_load(c, d, action, &h);
	if (!e)
		e = actions_get(c, d, action, &view);
	if (!e && view.status != ACTION_CANCELING && view.status != ACTION_CANCELED)
		e = fault_set(c->fault, ERR_METHOD, "", "the action is not to be cancelled");
	if (!e)
		e = check_quota(c, action, fb);
	if (e)
		return e;
	ddi_on_cancel_feedback(fb->execution, fb->finished, &m);
	if (!h.is_cancelling) /* it is over: said again */
		m.status = ACTION_CANCELED;
	e = action_note(c, h.row.deployment, action, m.status, m.before, fb, m.after);
	if (!e)
		e = heard_from(c, d);
	if (e || !h.is_cancelling)
		return e;
	if (m.effect == DDI_CANCEL_DONE)
		return cancelled(c, &h, d, reason_of(c, fb, "cancelled"));
	return m.effect == DDI_CANCEL_REFUSED ? refused(c, &h, d) : ERR_OK;
}

static enum err audit_action(struct call *c, const char *what, const struct device_state *d, int64_t action)
{
	return audit_append(c, what, resource_of(c, d), NULL, arena_printf(c->arena, "{\"action\":%lld}", (long long)action));
}

enum err actions_cancel(struct call *c, struct device_state *d, int64_t action, bool force)
{
	struct action_here h;
	enum err e = action_load(c, d, action, &h);
	if (!e && (!h.is_active || (h.is_cancelling && !force)))
		e = fault_set(c->fault, ERR_METHOD, "", h.is_active ? "the action is being cancelled already" : "the action is over");
	if (!e && h.is_present && h.row.is_revert)
		e = fault_set(c->fault, ERR_METHOD, "", "the device is on its way back to its previous release: stop or retry the rollout instead");
	if (!e)
		e = audit_action(c, force ? "action.quit" : "action.cancel", d, action);
	if (e)
		return e;
	if (force || h.is_waiting) {
		e = action_note(c, h.row.deployment, action, ACTION_CANCELED, DDI_SERVER_PREFIX "Cancelled by an operator.", NULL, NULL);
		return e ? e : cancelled(c, &h, d, "cancelled by an operator");
	}
	e = action_note(c, h.row.deployment, action, ACTION_CANCELING, DDI_SERVER_PREFIX "Cancellation requested by an operator.", NULL, NULL);
	h.d.cancelling = action;
	ddi_changed(c, d);
	return e ? e : write_row(c, &h.d);
}

enum err actions_force(struct call *c, struct device_state *d, int64_t action)
{
	struct action_here h;
	enum err e = action_load(c, d, action, &h);
	if (!e && (!h.is_active || h.is_cancelling))
		e = fault_set(c->fault, ERR_METHOD, "", "the action is over, or is being cancelled");
	if (e || action_type(&h) == DELIVERY_FORCED)
		return e;
	return fault_set(c->fault, ERR_CONFLICT, "", "how a rollout is delivered is one for all of its devices, and does not change");
}

/* ---- confirming ---- */

static enum err begin_confirmed(struct call *c, struct action_here *h)
{
	struct deployment_row *d = &h->d;
	d->confirm = 2;
	d->offered_at = c->now_ms;
	d->deadline_at = c->now_ms + h->spec->timeout_ms;
	return write_row(c, d);
}

enum err actions_confirm(struct call *c, struct device_state *d, int64_t action, bool is_confirmed, const struct action_feedback *fb)
{
	struct action_here h;
	enum err e = action_load(c, d, action, &h);
	if (!e && !h.is_active)
		e = fault_set(c->fault, ERR_GONE, "", "the action is over");
	if (!e && !h.is_waiting)
		e = fault_set(c->fault, ERR_NOT_FOUND, "", "the action waits for no confirmation");
	if (!e)
		e = check_quota(c, action, fb);
	if (e)
		return e;
	e = action_note(c, h.row.deployment, action, is_confirmed ? ACTION_RUNNING : ACTION_WAIT_FOR_CONFIRMATION,
		is_confirmed ? DDI_SERVER_PREFIX "Target confirmed action." : DDI_SERVER_PREFIX "Target rejected action.", fb, NULL);
	if (e || !is_confirmed)
		return e;
	ddi_changed(c, d);
	return begin_confirmed(c, &h);
}

/* ---- downloads ---- */

enum err actions_downloading(struct call *c, struct device_state *d, int64_t action, const char *uri)
{
	struct action_here h;
	struct ddi_state *st = ddi_state_of(c->s->actions, d);
	int64_t count = 0;
	enum err e = action_load(c, d, action, &h);
	if (e)
		return e;
	if (st->downloads_of != action)
		st->downloads = 0;
	st->downloads_of = action;
	st->downloads++;
	e = note_count(c->s->actions->store, action, &count, c->fault);
	if (!e && uri && count < DDI_NOTES_MAX) /* a download is served where the books are full, too */
		e = action_note(c, h.row.deployment, action, ACTION_DOWNLOAD,
			arena_printf(c->arena, DDI_SERVER_PREFIX "Target downloads %s", uri), NULL, NULL);
	if (!e && h.is_present)
		e = deployment_on_action(c, &h.d, REPORT_DOWNLOADING, h.d.progress, NULL);
	if (e || st->has_alert || st->downloads <= c->s->actions->options->downloads_max)
		return e;
	st->has_alert = true;
	return alert_raise(c, "device.redownloads", resource_of(c, d), ALERT_WARNING,
		arena_printf(c->arena, "%s downloads the same files again and again and says nothing: %lld times", d->id, (long long)st->downloads),
		arena_printf(c->arena, "{\"rollout\":%lld,\"action\":%lld}", (long long)h.row.rollout, (long long)action));
}
