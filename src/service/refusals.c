#include "service/refusals.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/str.h"
#include "service/alerts.h"
#include "service/registry.h"
#include "service/unit.h"

#define KIND "device.refused"
#define TOLD_A_UNIT 64

struct refusal {
	int64_t device, count;
	enum ingest_refusal reason;
	char detail[sizeof((struct ingest_sample *)0)->detail];
};

struct refusals {
	struct refusal ring[REFUSALS_QUEUE];
	size_t first, count;
};

struct refusals *refusals_new(void)
{
	struct refusals *r = calloc(1, sizeof *r);
	if (r == NULL)
		abort();
	return r;
}

void refusals_free(struct refusals *r)
{
	free(r);
}

void refusals_note(struct refusals *r, struct refusal_note *note, int64_t device, enum ingest_refusal reason, const char *detail, bool at_once,
	int64_t now_ms)
{
	if (note->count == 0 || now_ms < note->since_ms || now_ms - note->since_ms >= REFUSALS_WINDOW_MS) { /* or the clock went back */
		note->since_ms = now_ms;
		note->count = 0;
	}
	note->count++;
	if (note->count < REFUSALS_LEAST && !at_once)
		return;
	if ((note->told_ms != 0 && now_ms >= note->told_ms && now_ms - note->told_ms < REFUSALS_AGAIN_MS) || r->count == REFUSALS_QUEUE)
		return;
	note->told_ms = now_ms;
	struct refusal *to = &r->ring[(r->first + r->count++) % REFUSALS_QUEUE];
	*to = (struct refusal){.device = device, .count = note->count, .reason = reason};
	(void)str_copy(to->detail, sizeof to->detail, detail);
}

static enum err tell(struct call *c, const struct refusal *f, struct buf *data)
{
	static const struct alert_policy policy = {.stale_ms = REFUSALS_STALE_MS, .is_damped = true};
	const struct device_state *d = registry_by_row(c->s->registry, f->device);
	if (d == NULL) /* deleted meanwhile */
		return ERR_OK;
	const char *reason = ingest_refusal_name(f->reason);
	buf_clear(data);
	json_open_object(data);
	json_str(data, "reason", reason);
	json_str(data, "detail", f->detail);
	json_int(data, "refused", f->count);
	json_close_object(data);
	return alert_signal(c, &(struct alert_signal){.kind = KIND, .resource = arena_printf(c->arena, "devices/%s", d->id), .severity = ALERT_WARNING,
		.level = ALERT_LEVEL_OVER, .value = (double)f->count, .expected = 0, .score = NAN, .policy = &policy, .data = buf_cstr(data),
		.summary = arena_printf(c->arena, "%lld messages or reports of %s were refused within a day, the last one (%s): %s", (long long)f->count, d->id,
			reason, f->detail)});
}

static enum err tell_some(struct call *c, const struct refusals *r, size_t count)
{
	struct buf data = BUF_INIT;
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = tell(c, &r->ring[(r->first + i) % REFUSALS_QUEUE], &data);
	buf_done(&data);
	return e;
}

enum err refusals_tick(struct call *c, struct refusals *r, const struct timebox *box, bool *more)
{
	enum err e = ERR_OK;
	while (r->count > 0 && e == ERR_OK && !timebox_is_over(box)) {
		size_t count = r->count < TOLD_A_UNIT ? r->count : TOLD_A_UNIT;
		e = unit_begin(c->s, c->fault);
		if (e == ERR_OK)
			e = unit_end(c->s, tell_some(c, r, count), c->fault);
		if (e == ERR_FULL || e == ERR_UNAVAILABLE)
			break; /* again later */
		r->first = (r->first + count) % REFUSALS_QUEUE;
		r->count -= count;
	}
	*more = *more || r->count > 0;
	return e;
}
