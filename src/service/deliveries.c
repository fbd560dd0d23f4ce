/* What is on its way: who may be sent what now, and how it went. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "service/access.h"
#include "service/metrics.h"
#include "service/notify_inside.h"
#include "service/unit.h"

#define EXPIRE_ROWS 500

static struct delivery shown(const struct delivery_row *d)
{
	return (struct delivery){.id = d->id, .receiver = d->receiver, .seq = d->seq, .created_at = d->created_at, .expires_at = d->expires_at,
		.next_at = d->next_at, .attempts = d->attempts, .done_at = d->done_at, .reply = d->reply, .key = d->key, .group = d->group_key,
		.status = d->status, .subject = d->subject, .body = d->body, .error = d->error};
}

/* ---- circuits ---- */

static struct seat *find_seat(struct notify *n, int64_t receiver)
{
	for (size_t i = 0; i < n->seat_count; i++) {
		if (n->seats[i].receiver == receiver)
			return &n->seats[i];
	}
	return NULL;
}

/* NULL: all are taken by receivers that were deleted with something under way; it ends soon. */
struct seat *notify_seat(struct notify *n, int64_t receiver)
{
	struct seat *s = find_seat(n, receiver);
	if (s != NULL)
		return s;
	if (n->seat_count < RECEIVERS_MAX) {
		s = &n->seats[n->seat_count++];
	} else {
		struct receiver_row row;
		struct fault f;
		struct arena *a = arena_new(1 << 20);
		for (size_t i = 0; s == NULL && i < n->seat_count; i++) {
			if (n->seats[i].circuit.running == 0 && receiver_get(n->store, n->seats[i].receiver, a, &row, &f) == ERR_NOT_FOUND)
				s = &n->seats[i];
		}
		arena_free(a);
	}
	if (s != NULL)
		*s = (struct seat){.receiver = receiver};
	return s;
}

static bool is_under_way(const struct notify *n, const struct delivery_row *d)
{
	for (size_t i = 0; i < n->flight_count; i++) {
		if (n->flights[i].delivery == d->id || strcmp(n->flights[i].key, d->key) == 0)
			return true;
	}
	return false;
}

/* ---- taking ---- */

static enum err take_of(struct call *c, struct receiver *r, size_t limit, struct delivery *items, struct receiver **receivers, size_t *count)
{
	struct notify *n = c->s->notify;
	struct seat *seat = notify_seat(n, r->id);
	unsigned room = seat != NULL ? notify_circuit_room(&seat->circuit, c->now_ms) : 0;
	struct delivery_row *rows;
	size_t found;
	if (room == 0)
		return ERR_OK;
	/* As many are under way at most, and are found again. */
	enum err e = delivery_due(n->store, r->id, c->now_ms, NOTIFY_CIRCUIT_PARALLEL + room, c->arena, &rows, &found, c->fault);
	for (size_t i = 0; e == ERR_OK && i < found && room > 0 && *count < limit; i++) {
		if (n->flight_count == FLIGHTS_MAX || is_under_way(n, &rows[i]))
			continue;
		struct flight *flight = &n->flights[n->flight_count++];
		*flight = (struct flight){.delivery = rows[i].id, .receiver = r->id};
		(void)str_copy(flight->key, sizeof flight->key, rows[i].key);
		notify_circuit_begin(&seat->circuit);
		room--;
		receivers[*count] = r;
		items[(*count)++] = shown(&rows[i]);
	}
	return e;
}

enum err deliveries_take(struct call *c, size_t limit, struct delivery **items, struct receiver **receivers, size_t *count)
{
	struct receiver *all, **of;
	size_t receiver_count;
	*count = 0;
	*items = arena_array(c->arena, limit, sizeof **items);
	enum err e = receivers_all(c, &all, &receiver_count);
	of = arena_array(c->arena, limit, sizeof *of);
	for (size_t i = 0; e == ERR_OK && i < receiver_count; i++) {
		if (all[i].is_enabled)
			e = take_of(c, &all[i], limit, *items, of, count);
	}
	*receivers = arena_array(c->arena, *count, sizeof **receivers);
	for (size_t i = 0; i < *count; i++)
		(*receivers)[i] = *of[i];
	return e;
}

/* ---- how it went ---- */

static bool land(struct notify *n, int64_t delivery, int64_t *receiver)
{
	for (size_t i = 0; i < n->flight_count; i++) {
		if (n->flights[i].delivery != delivery)
			continue;
		*receiver = n->flights[i].receiver;
		n->flights[i] = n->flights[--n->flight_count];
		return true;
	}
	return false;
}

static void judge(struct delivery_row *d, const struct delivery_outcome *o, int64_t now_ms)
{
	d->attempts++;
	d->reply = o->reply;
	d->error = o->error != NULL ? o->error : "";
	d->status = "pending";
	if (o->outcome == NOTIFY_DELIVERED)
		d->status = "sent";
	else if (o->outcome == NOTIFY_REFUSED || now_ms >= d->expires_at)
		d->status = "dead";
	else
		d->next_at = now_ms + notify_retry_ms(d->attempts, o->retry_after_ms, o->random);
	d->done_at = strcmp(d->status, "pending") != 0 ? now_ms : 0;
	metric_add(o->outcome == NOTIFY_DELIVERED ? METER_DELIVERIES_SENT : METER_DELIVERIES_FAILED, 1);
}

static enum err write_outcome(struct call *c, int64_t id, const struct delivery_outcome *o)
{
	struct notify *n = c->s->notify;
	struct delivery_row d;
	int64_t expired = 0;
	enum err e = delivery_get(n->store, id, c->arena, &d, c->fault);
	if (e == ERR_NOT_FOUND) /* its receiver was deleted meanwhile */
		return ERR_OK;
	if (e != ERR_OK)
		return e;
	judge(&d, o, c->now_ms);
	e = delivery_update(n->store, &d, c->fault);
	/* Others that waited behind the failing receiver for as long were not tried by themselves: one attempt speaks for all. */
	if (e == ERR_OK && o->outcome == NOTIFY_RETRY)
		e = delivery_expire(n->store, d.receiver, c->now_ms, EXPIRE_ROWS, &expired, c->fault);
	return e;
}

enum err delivery_ended(struct call *c, int64_t id, const struct delivery_outcome *o)
{
	struct notify *n = c->s->notify;
	int64_t receiver;
	if (!land(n, id, &receiver))
		return ERR_OK;
	struct seat *seat = find_seat(n, receiver);
	if (seat != NULL)
		notify_circuit_end(&seat->circuit, o->outcome, o->retry_after_ms, o->random, c->now_ms);
	enum err e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, write_outcome(c, id, o), c->fault) : e;
}

/* ---- operators ---- */

enum err deliveries_list(struct call *c, int64_t receiver, const char *status, int64_t before, int64_t limit, struct delivery **items, size_t *count)
{
	struct delivery_row *rows;
	enum err e = delivery_page(c->s->notify->store, receiver, status, before, limit, c->arena, &rows, count, c->fault);
	*items = e == ERR_OK ? arena_array(c->arena, *count, sizeof **items) : NULL;
	for (size_t i = 0; e == ERR_OK && i < *count; i++)
		(*items)[i] = shown(&rows[i]);
	return e;
}

enum err delivery_show(struct call *c, int64_t id, struct delivery *out)
{
	struct delivery_row row;
	enum err e = delivery_get(c->s->notify->store, id, c->arena, &row, c->fault);
	if (e == ERR_OK)
		*out = shown(&row);
	return e;
}

enum err delivery_resend(struct call *c, int64_t id)
{
	struct notify *n = c->s->notify;
	struct delivery_row d;
	enum err e = delivery_get(n->store, id, c->arena, &d, c->fault);
	if (e == ERR_OK && strcmp(d.status, "dead") != 0)
		e = fault_set(c->fault, ERR_CONFLICT, "", "the delivery is %s: only dead ones are sent again", d.status);
	if (e != ERR_OK)
		return e;
	d.status = "pending";
	d.attempts = d.done_at = 0;
	d.next_at = c->now_ms;
	d.expires_at = c->now_ms + NOTIFY_GIVE_UP_MS;
	e = delivery_update(n->store, &d, c->fault);
	return e == ERR_OK ? audit_append(c, "delivery.resend", arena_printf(c->arena, "deliveries/%lld", (long long)id), NULL, NULL) : e;
}
