/* Silent devices: each is looked at by its own habits, some of the fleet a second. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/silence.h"
#include "service/alerts_inside.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/unit.h"

#define SWEEP_LEAST 5000   /* devices looked at a second; larger fleets in SWEEP_SECONDS */
#define SWEEP_SECONDS 20
#define CHANGES_MAX 1000   /* alerts raised or resolved in a piece: more wait for the next one, at once */
#define INTERVAL_MS 60000  /* of a device whose gaps are not known yet */
#define RESOURCE_PREFIX ALERT_DEVICE_PREFIX

static void make_room(struct alerts *a, size_t room)
{
	if (room <= a->silent_room)
		return;
	room += room / 2 + 64;
	a->silent = realloc(a->silent, room);
	if (a->silent == NULL)
		abort();
	memset(a->silent + a->silent_room, 0, room - a->silent_room);
	a->silent_room = room;
}

void alerts_restore_silent(struct alerts *a, const struct alert_row *row)
{
	const struct device_state *d = registry_find(a->s->registry, row->resource + strlen(RESOURCE_PREFIX));
	make_room(a, registry_span(a->s->registry));
	if (d != NULL)
		a->silent[d->index] = 1;
}

/* Silence counts only while the server could have heard: since its start, or since the broker came back. */
static bool is_silent(struct call *c, const struct device_state *d, struct silence_habit *h, int64_t *limit_ms)
{
	if (!observe_habit(c, d->row, h))
		return false; /* it never spoke: nothing to miss */
	int64_t interval_ms = c->s->report_interval_ms > 0 ? c->s->report_interval_ms : h->gap8_ms > 8000 ? h->gap8_ms / 8 : h->gap8_ms > 0 ? 1000 : INTERVAL_MS;
	int64_t listening_ms = c->s->alerts->listening_ms; /* where the clock was set back, from then on */
	int64_t from_ms = h->last_ms > listening_ms && h->last_ms <= c->now_ms ? h->last_ms : listening_ms;
	*limit_ms = silence_limit_ms(h, interval_ms);
	return c->now_ms - from_ms > *limit_ms;
}

static enum err raise(struct call *c, const struct device_state *d, const struct silence_habit *h, int64_t limit_ms)
{
	char since[32];
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_int(&data, "last_report_at", h->last_ms);
	json_int(&data, "limit_ms", limit_ms);
	json_close_object(&data);
	clock_format(h->last_ms, since, sizeof since);
	enum err e = alert_raise(c, ALERT_KIND_SILENT, arena_printf(c->arena, RESOURCE_PREFIX "%s", d->id), ALERT_WARNING,
	                         arena_printf(c->arena, "device %s has sent no telemetry since %s", d->id, since), buf_cstr(&data));
	buf_done(&data);
	return e;
}

struct change {
	uint32_t index;
	bool is_silent;
};

static enum err sweep(struct call *c, const struct timebox *box, struct change *changes, size_t *count, bool *more)
{
	struct alerts *a = c->s->alerts;
	size_t share = registry_size(c->s->registry) / SWEEP_SECONDS, most = share > SWEEP_LEAST ? share : SWEEP_LEAST;
	for (size_t looked = 0; looked < most; looked++) {
		struct silence_habit h;
		if (*count == CHANGES_MAX || (*count > 0 && timebox_is_over(box))) { /* only what is written takes long */
			*more = true;
			return ERR_OK;
		}
		int64_t limit_ms = 0;
		if (looked % 1024 == 1023 && timebox_is_over(box))
			return ERR_OK;
		const struct device_state *d = registry_each(c->s->registry, &a->sweep_at);
		if (d == NULL) { /* round */
			a->sweep_at = 0;
			return ERR_OK;
		}
		bool silent = is_silent(c, d, &h, &limit_ms);
		if (silent == (a->silent[d->index] != 0))
			continue;
		enum err e = silent ? raise(c, d, &h, limit_ms) : alert_resolve(c, ALERT_KIND_SILENT, arena_printf(c->arena, RESOURCE_PREFIX "%s", d->id));
		if (e != ERR_OK)
			return e;
		changes[(*count)++] = (struct change){d->index, silent};
	}
	return ERR_OK;
}

int64_t alerts_listening_since(const struct call *c)
{
	const struct alerts *a = c->s->alerts;
	if (metric_get(METER_MQTT_CONNECTED) == 0)
		return c->now_ms;
	return a == NULL || a->listening_ms > c->now_ms ? 0 : a->listening_ms;
}

enum err alerts_sweep_silent(struct call *c, const struct timebox *box, bool *more)
{
	struct alerts *a = c->s->alerts;
	struct change changes[CHANGES_MAX];
	size_t count = 0;
	bool is_back = c->now_ms < a->swept_ms - ALERT_CLOCK_BACK_MS;
	a->swept_ms = c->now_ms;
	if (metric_get(METER_MQTT_CONNECTED) == 0 || a->listening_ms == 0 || a->listening_ms > c->now_ms || is_back) {
		a->listening_ms = c->now_ms;
		return ERR_OK;
	}
	make_room(a, registry_span(c->s->registry));
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, sweep(c, box, changes, &count, more), c->fault);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		a->silent[changes[i].index] = changes[i].is_silent;
	return e;
}
