/* Notices into groups, groups into deliveries. */
#include "service/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "service/access.h"
#include "service/metrics.h"
#include "service/notify_inside.h"
#include "service/timebox.h"
#include "service/unit.h"

#define TAKE_ROWS 100   /* notices in one unit */
#define FORGET_ROWS 500
#define CLOCK_BACK_MS 60000
#define HASTEN_ROWS 200
#define RETAIN_EVERY_MS 10000
#define RETAIN_ROWS 250
#define FIGURES_EVERY_MS 5000
#define KEEP_SENT_MS ((int64_t)7 * 86400000)
#define KEEP_DEAD_MS ((int64_t)30 * 86400000)
#define KEEP_TRACK_MS ((int64_t)30 * 86400000)

struct notify *notify_open(struct services *s, struct fault *f)
{
	struct notify *n = calloc(1, sizeof *n);
	if (n == NULL)
		abort();
	n->s = s;
	enum err e = notify_store_open(s->db, &n->store, f);
	if (e == ERR_OK)
		e = alert_store_open(s->db, &n->alerts, f);
	if (e != ERR_OK) {
		notify_close(n);
		return NULL;
	}
	return n;
}

void notify_close(struct notify *n)
{
	if (n == NULL)
		return;
	notify_store_close(n->store);
	alert_store_close(n->alerts);
	free(n);
}

/* ---- notices into groups ---- */

/* Of a track that begins: the same receiver and group at another time has another key, as its numbers begin anew. */
static const char *new_key(struct call *c, int64_t receiver, const char *group)
{
	char hex[SHA256_HEX];
	const char *text = arena_printf(c->arena, "%lld|%lld|%s", (long long)receiver, (long long)c->now_ms, group);
	crypto_sha256_hex(text, strlen(text), hex);
	return arena_strndup(c->arena, hex, 24);
}

static enum err note_change(struct call *c, const struct receiver *r, const char *group)
{
	struct notify *n = c->s->notify;
	struct track_row t;
	bool found;
	enum err e = track_get(n->store, r->id, group, c->arena, &t, &found, c->fault);
	if (e != ERR_OK || (found && t.state.first_ms != 0))
		return e;
	if (!found)
		t = (struct track_row){.receiver = r->id, .group_key = group, .key = new_key(c, r->id, group)};
	notify_note_change(&t.state, c->now_ms);
	t.due_ms = notify_due_ms(&r->timing, &t.state, c->now_ms);
	t.touched_ms = c->now_ms;
	return track_put(n->store, &t, c->fault);
}

static enum err take_notice(struct call *c, const struct notice_row *notice, const struct receiver *receivers, size_t count)
{
	struct notify *n = c->s->notify;
	struct alert_row row;
	int64_t change;
	bool is_wanted = false;
	enum err e = alert_get(n->alerts, notice->alert, c->arena, &row, c->fault);
	if (e == ERR_OK)
		e = counter_next(c, "notify_change", &change);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (!receivers[i].is_enabled || !receiver_wants(c, &receivers[i], &row))
			continue;
		is_wanted = true;
		e = note_change(c, &receivers[i], notice->group_key);
	}
	if (e == ERR_OK && is_wanted)
		e = member_put(n->store, notice->group_key, notice->alert, strcmp(notice->transition, "resolved") != 0, change, c->fault);
	return e == ERR_OK ? notice_delete(n->alerts, notice->id, c->fault) : e;
}

static enum err take_notices(struct call *c, const struct timebox *box, size_t *taken)
{
	struct notify *n = c->s->notify;
	struct notice_row *notices;
	struct receiver *receivers;
	size_t count, receiver_count;
	*taken = 0;
	enum err e = notice_page(n->alerts, 0, TAKE_ROWS, c->arena, &notices, &count, c->fault);
	if (e != ERR_OK || count == 0)
		return e;
	e = receivers_all(c, &receivers, &receiver_count);
	if (e == ERR_OK)
		e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; e == ERR_OK && i < count && (i == 0 || !timebox_is_over(box)); i++, (*taken)++)
		e = take_notice(c, &notices[i], receivers, receiver_count);
	return unit_end(c->s, e, c->fault);
}

/* ---- groups into deliveries ---- */

/* What a look finds: the alerts to be listed, and figures. */
struct look {
	struct telling t;
	struct alert_row *alerts;
	size_t changed;
	bool waits;
	bool has_more_changes; /* than one look takes: the next one goes on behind `last` */
	int64_t last;          /* change that was looked at last */
};

/* A member of the group as it is now; news: it changed since this receiver was told of it. */
static enum err look_at(struct call *c, const struct track_row *t, const struct member_row *m, bool is_news, struct look *l)
{
	struct notify *n = c->s->notify;
	struct alert_row *row = &l->alerts[l->t.count];
	struct alert_fate fate;
	enum err e = alert_get(n->alerts, m->alert, c->arena, row, c->fault);
	if (e == ERR_OK)
		e = alert_fate(c, m->alert, &fate);
	if (e != ERR_OK || !receiver_wants(c, l->t.receiver, row))
		return e;
	bool is_muted = fate.silenced_by != 0 || fate.inhibited_by != 0;
	if (is_muted && !m->is_muted)
		e = member_set_muted(n->store, t->group_key, m->alert, c->fault);
	if (is_muted) {
		l->t.silenced += fate.silenced_by != 0;
		l->t.inhibited += fate.silenced_by == 0;
		l->waits = true;
		return e;
	}
	if (!m->is_firing && m->is_muted && !m->is_told) /* nobody heard of it, so nobody waits for its end */
		return ERR_OK;
	if (m->is_firing && m->is_muted) { /* heard again: news for everybody */
		int64_t change;
		e = counter_next(c, "notify_change", &change);
		if (e == ERR_OK)
			e = member_set_heard(n->store, t->group_key, m->alert, change, c->fault);
		is_news = true;
	}
	l->changed += is_news;
	l->t.firing += m->is_firing;
	l->t.resolved += !m->is_firing;
	l->t.count++;
	return e;
}

static enum err look_at_all(struct call *c, const struct track_row *t, struct look *l)
{
	struct notify *n = c->s->notify;
	struct member_row *rows, *old;
	size_t count, old_count = 0;
	enum err e = member_changed(n->store, t->group_key, t->told_change, RECEIVER_ALERTS + 1, c->arena, &rows, &count, c->fault);
	if (e == ERR_OK && count <= RECEIVER_ALERTS)
		e = member_firing(n->store, t->group_key, t->told_change, (int64_t)(RECEIVER_ALERTS + 1 - count), c->arena, &old, &old_count, c->fault);
	l->alerts = arena_array(c->arena, RECEIVER_ALERTS + 1, sizeof *l->alerts);
	l->t.alerts = l->alerts;
	l->t.has_more = count + old_count > RECEIVER_ALERTS;
	l->has_more_changes = count > RECEIVER_ALERTS;
	if (l->has_more_changes)
		l->last = rows[RECEIVER_ALERTS - 1].change;
	for (size_t i = 0; e == ERR_OK && i < count && i < RECEIVER_ALERTS; i++)
		e = look_at(c, t, &rows[i], true, l);
	for (size_t i = 0; e == ERR_OK && i < old_count && count + i < RECEIVER_ALERTS; i++)
		e = look_at(c, t, &old[i], false, l);
	return e;
}

static enum err write_delivery(struct call *c, const struct telling *t)
{
	struct notify *n = c->s->notify;
	struct delivery_row d = {.receiver = t->receiver->id, .key = t->key, .seq = t->seq, .group_key = t->group, .created_at = c->now_ms,
		.expires_at = c->now_ms + NOTIFY_GIVE_UP_MS, .next_at = c->now_ms};
	notify_write(c->arena, t, &d.subject, &d.body);
	enum err e = delivery_insert(n->store, &d, c->fault);
	for (size_t i = 0; e == ERR_OK && i < t->count; i++) {
		if (t->alerts[i].resolved_at == 0)
			e = member_set_told(n->store, t->group, t->alerts[i].id, c->fault);
	}
	metric_add(METER_NOTIFICATIONS, e == ERR_OK);
	return e;
}

static enum err look(struct call *c, struct track_row *t, const struct receiver *r)
{
	struct notify *n = c->s->notify;
	struct look l = {.t = {.receiver = r, .group = t->group_key, .key = t->key, .at_ms = c->now_ms}};
	l.last = t->told_change;
	enum err e = look_at_all(c, t, &l);
	if (e == ERR_OK && !l.has_more_changes)
		e = member_last_change(n->store, t->group_key, &l.last, c->fault);
	if (e != ERR_OK)
		return e;
	enum notify_move move = notify_look(&r->timing, &t->state, l.changed > 0, l.t.firing > 0 || l.t.has_more, l.waits, c->now_ms);
	t->told_change = l.last > t->told_change ? l.last : t->told_change;
	l.t.seq = t->state.seq;
	l.t.fires = t->state.was_firing;
	if (move == NOTIFY_TELL)
		e = write_delivery(c, &l.t);
	if (l.has_more_changes)
		notify_note_change(&t->state, c->now_ms);
	t->due_ms = l.has_more_changes && move == NOTIFY_NOTHING ? c->now_ms : notify_due_ms(&r->timing, &t->state, c->now_ms);
	t->touched_ms = c->now_ms;
	if (e == ERR_OK)
		e = track_put(n->store, t, c->fault);
	return e == ERR_OK ? member_forget(n->store, t->group_key, FORGET_ROWS, c->fault) : e;
}

/* Where the receiver was told as often as it wants to be, the group waits for its turn: what changes until then is told with the rest of it. */
static enum err wait_for_turn(struct call *c, struct track_row *t, const struct receiver *r, bool *waits)
{
	struct notify *n = c->s->notify;
	struct seat *seat = r->per_minute > 0 ? notify_seat(n, r->id) : NULL;
	int64_t nth = 0;
	*waits = false;
	if (seat == NULL)
		return ERR_OK;
	enum err e = delivery_nth(n->store, r->id, r->per_minute, &nth, c->fault);
	int64_t turn = notify_rate_turn_ms(r->per_minute, nth, &seat->slot_ms, c->now_ms);
	*waits = e == ERR_OK && turn > c->now_ms;
	if (!*waits)
		return e;
	t->due_ms = turn;
	metric_add(METER_NOTIFICATIONS_DELAYED, 1);
	e = receiver_add_delayed(n->store, r->id, c->fault);
	return e == ERR_OK ? track_put(n->store, t, c->fault) : e;
}

/* One track whose time has come; *found: there was one. */
static enum err step_track(struct call *c, bool *found)
{
	struct notify *n = c->s->notify;
	struct track_row t;
	struct receiver r;
	enum err e = track_due(n->store, c->now_ms, c->arena, &t, found, c->fault);
	if (e != ERR_OK || !*found)
		return e;
	e = receiver_show(c, t.receiver, &r);
	if (e == ERR_OK)
		e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	if (r.is_enabled) {
		bool waits;
		e = wait_for_turn(c, &t, &r, &waits);
		if (e == ERR_OK && !waits)
			e = look(c, &t, &r);
	} else { /* nobody is told; it begins anew when it is enabled and something changes */
		t.state.first_ms = 0;
		t.state.was_firing = t.state.is_waiting = false;
		t.due_ms = NOTIFY_NEVER;
		e = track_put(n->store, &t, c->fault);
	}
	return unit_end(c->s, e, c->fault);
}

/* ---- a clock that was set back ---- */

/* A group waits as it would if it had been touched now. */
static enum err bring_back_track(struct call *c, bool *found)
{
	struct notify *n = c->s->notify;
	struct track_row t;
	struct receiver r;
	enum err e = track_ahead(n->store, c->now_ms + CLOCK_BACK_MS, c->arena, &t, found, c->fault);
	if (e == ERR_OK && *found)
		e = receiver_show(c, t.receiver, &r);
	if (e != ERR_OK || !*found)
		return e;
	t.due_ms = notify_due_ms(&r.timing, &t.state, c->now_ms);
	t.touched_ms = c->now_ms;
	return track_put(n->store, &t, c->fault);
}

/* Deliveries of the next receiver; those that the first row count leaves are taken the next time. */
static enum err bring_back_deliveries(struct call *c)
{
	struct notify *n = c->s->notify;
	struct receiver *all;
	size_t count, at = 0;
	int64_t changed;
	enum err e = receivers_all(c, &all, &count);
	while (e == ERR_OK && at < count && all[at].id <= n->behind_after)
		at++;
	if (e != ERR_OK || at == count) {
		n->is_behind = e != ERR_OK;
		return e;
	}
	const struct delivery_haste h = {.receiver = all[at].id, .now_ms = c->now_ms, .latest_ms = c->now_ms + NOTIFY_RETRY_CAP_MS,
		.expires_ms = c->now_ms + NOTIFY_GIVE_UP_MS, .all = n->is_set_back};
	e = delivery_hasten(n->store, &h, HASTEN_ROWS, &changed, c->fault);
	if (e == ERR_OK && changed < HASTEN_ROWS)
		n->behind_after = all[at].id;
	return e;
}

static void note_clock(struct notify *n, int64_t now_ms)
{
	bool is_back = n->clock_ms != 0 && now_ms < n->clock_ms - CLOCK_BACK_MS;
	if (n->clock_ms == 0 || is_back) { /* at the start nobody knows: what cannot wait so long was of another time */
		n->is_behind = true;
		n->is_set_back = is_back;
		n->behind_after = 0;
	}
	for (size_t i = 0; is_back && i < n->seat_count; i++)
		n->seats[i].circuit.closed_until_ms = n->seats[i].slot_ms = 0;
	n->clock_ms = now_ms;
}

static enum err follow_clock(struct call *c, const struct timebox *box)
{
	struct notify *n = c->s->notify;
	note_clock(n, c->now_ms);
	if (!n->is_behind)
		return ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	do {
		bool found;
		e = bring_back_track(c, &found);
		if (e == ERR_OK && !found)
			e = bring_back_deliveries(c);
	} while (e == ERR_OK && n->is_behind && !timebox_is_over(box));
	return unit_end(c->s, e, c->fault);
}

/* ---- time ---- */

static enum err retain(struct call *c)
{
	struct notify *n = c->s->notify;
	if (c->now_ms < n->retain_at_ms && n->retain_at_ms < c->now_ms + 2 * RETAIN_EVERY_MS)
		return ERR_OK;
	n->retain_at_ms = c->now_ms + RETAIN_EVERY_MS;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	e = delivery_retain(n->store, "sent", c->now_ms - KEEP_SENT_MS, RETAIN_ROWS, c->fault);
	if (e == ERR_OK)
		e = delivery_retain(n->store, "dead", c->now_ms - KEEP_DEAD_MS, RETAIN_ROWS, c->fault);
	if (e == ERR_OK)
		e = track_retain(n->store, c->now_ms - KEEP_TRACK_MS, RETAIN_ROWS, c->fault);
	return unit_end(c->s, e, c->fault);
}

static enum err set_figures(struct call *c)
{
	struct notify *n = c->s->notify;
	int64_t pending = 0, dead = 0;
	if (c->now_ms < n->figures_at_ms && n->figures_at_ms < c->now_ms + 2 * FIGURES_EVERY_MS)
		return ERR_OK;
	n->figures_at_ms = c->now_ms + FIGURES_EVERY_MS;
	enum err e = delivery_count(n->store, "pending", &pending, c->fault);
	if (e == ERR_OK)
		e = delivery_count(n->store, "dead", &dead, c->fault);
	metric_set(METER_DELIVERIES_PENDING, pending);
	metric_set(METER_DELIVERIES_DEAD, dead);
	int64_t failing = 0;
	for (size_t i = 0; i < n->seat_count; i++)
		failing += notify_circuit_is_open(&n->seats[i].circuit);
	metric_set(METER_RECEIVERS_FAILING, failing);
	return e;
}

enum err notify_tick(struct call *c, bool *more)
{
	struct timebox box = timebox_begin(TIMEBOX_NS);
	size_t taken = 0;
	bool found = true;
	enum err e = follow_clock(c, &box);
	*more = c->s->notify->is_behind;
	if (e == ERR_OK)
		e = take_notices(c, &box, &taken);
	*more = *more || taken > 0;
	while (e == ERR_OK && found && !timebox_is_over(&box))
		e = step_track(c, &found);
	*more = *more || found;
	if (e == ERR_OK)
		e = set_figures(c);
	return e == ERR_OK ? retain(c) : e;
}

enum err receiver_test(struct call *c, int64_t id, int64_t *delivery)
{
	struct receiver r;
	enum err e = receiver_show(c, id, &r);
	if (e != ERR_OK)
		return e;
	struct telling t = {.receiver = &r, .group = "test", .key = new_key(c, id, "test"), .seq = 1, .at_ms = c->now_ms, .is_test = true};
	struct delivery_row d = {.receiver = id, .key = t.key, .seq = 1, .group_key = t.group, .created_at = c->now_ms,
		.expires_at = c->now_ms + NOTIFY_GIVE_UP_MS, .next_at = c->now_ms};
	notify_write(c->arena, &t, &d.subject, &d.body);
	e = delivery_insert(c->s->notify->store, &d, c->fault);
	*delivery = d.id;
	return e;
}
