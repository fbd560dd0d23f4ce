/* What time brings to a class: another margin, alerts. */
#include <math.h>
#include <string.h>

#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/offloading_inside.h"

#define SHARE(v) ((double)(v) / OFFLOAD_ONE)

const char *offloading_resource(struct call *c, const struct policy *p, const struct offload_class *k)
{
	return arena_printf(c->arena, "models/%s/offload/%s/%s", p->row.name, k->hardware, k->version);
}

struct offload_bounds offloading_bounds(const struct policy *p)
{
	return (struct offload_bounds){p->row.rate_max, p->row.agreement_min, p->row.agreement_max, p->row.cost_max};
}

/* ---- margins ---- */

static enum err tell(struct call *c, const struct policy *p, const struct offload_class *k, uint16_t before)
{
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_str(&data, "hardware", k->hardware);
	json_str(&data, "version", k->version);
	json_num(&data, "margin", SHARE(k->margin));
	json_num(&data, "before", SHARE(before));
	json_str(&data, "why", offload_fit_why_name(k->why));
	json_close_object(&data);
	enum err e = event_append(c, "offload.fitted", arena_printf(c->arena, "models/%s", p->row.name), buf_cstr(&data));
	buf_done(&data);
	return e;
}

/* With another margin the figures begin anew, under a number of their own: what devices report of the one before says nothing of this one. */
static enum err change(struct call *c, struct policy *p, struct offload_class *k, uint16_t margin)
{
	struct offloading *o = c->s->offloading;
	uint16_t before = k->margin;
	int64_t rev;
	enum err e = counter_next(c, "offload_rev", &rev);
	if (e != ERR_OK)
		return e;
	k->margin = margin;
	k->rev = rev;
	k->rev_at = k->faded_at = c->now_ms;
	k->fits++;
	k->changed = ++o->generation;
	memset(&k->stats, 0, sizeof k->stats);
	metric_add(METER_OFFLOAD_FITS, 1);
	e = offloading_write(c, k);
	return e == ERR_OK ? tell(c, p, k, before) : e;
}

enum err offloading_fit(struct call *c, struct policy *p, struct offload_class *k)
{
	const struct offload_target target = {p->row.target, p->row.cost_max};
	struct offload_fit fit;
	int64_t since = k->fitted_at > k->rev_at ? k->fitted_at : k->rev_at;
	if (c->now_ms - since < p->row.fit_every_ms && c->now_ms >= since)
		return ERR_OK;
	offload_fit(&k->stats, k->margin, &target, &fit);
	k->fitted_at = c->now_ms;
	k->why = fit.why;
	return fit.margin != k->margin ? change(c, p, k, fit.margin) : offloading_write(c, k); /* so that the next one comes no sooner after a kill */
}

/* ---- bounds ---- */

struct bound {
	const char *kind;
	enum offload_watch seen;
	const char *is_beyond; /* in words */
	double value, bound;
};

static enum err signal(struct call *c, const struct policy *p, const struct offload_class *k, const struct bound *b)
{
	const char *resource = offloading_resource(c, p, k);
	bool is_open = alert_is_open(c->s->alerts, b->kind, resource);
	if (b->seen == OFFLOAD_FEW || is_open == (b->seen == OFFLOAD_BREACH))
		return ERR_OK;
	if (is_open)
		return alert_resolve(c, b->kind, resource);
	struct buf data = BUF_INIT;
	json_open_object(&data);
	json_str(&data, "model", p->row.name);
	json_str(&data, "hardware", k->hardware);
	json_str(&data, "version", k->version);
	json_num(&data, "value", b->value);
	json_num(&data, "bound", b->bound);
	json_num(&data, "margin", SHARE(k->margin));
	json_close_object(&data);
	enum err e = alert_raise(c, b->kind, resource, ALERT_WARNING, arena_printf(c->arena, "%s %s on %s: %s (%.4g, bound %.4g)", p->row.name,
		k->version, k->hardware, b->is_beyond, b->value, b->bound), buf_cstr(&data));
	buf_done(&data);
	return e;
}

enum err offloading_watch(struct call *c, const struct policy *p, const struct offload_class *k)
{
	const struct offload_bounds bounds = offloading_bounds(p);
	struct offload_seen s;
	offload_watch(&k->stats, &bounds, &s);
	/* Rate and cost follow the margin: a fit has its chance first. */
	bool is_early = k->fitted_at <= k->rev_at;
	struct bound rows[] = {
		{"offload.rate", is_early && s.rate == OFFLOAD_BREACH ? OFFLOAD_FEW : s.rate, "more inferences are sent than allowed", s.rate_is, bounds.rate_max},
		{"offload.agreement", s.agreement, "the endpoint disagrees where the device is sure", s.agreement_is, bounds.agreement_min},
		{"offload.cost", is_early && s.cost == OFFLOAD_BREACH ? OFFLOAD_FEW : s.cost, "an inference costs more than allowed", s.cost_is, bounds.cost_max},
	};
	if (s.agreement != OFFLOAD_BREACH && s.needless == OFFLOAD_BREACH)
		rows[1] = (struct bound){"offload.agreement", s.needless, "the endpoint says what the device would have said", s.needless_is,
			bounds.agreement_max};
	else if (s.agreement == OFFLOAD_FINE && s.needless == OFFLOAD_FEW)
		rows[1].seen = OFFLOAD_FEW;
	enum err e = ERR_OK;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0] && e == ERR_OK; i++)
		e = signal(c, p, k, &rows[i]);
	return e;
}

enum err offloading_unwatch(struct call *c, const struct policy *p, const struct offload_class *k)
{
	static const char *const kinds[] = {"offload.rate", "offload.agreement", "offload.cost"};
	enum err e = ERR_OK;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && e == ERR_OK; i++)
		e = signal(c, p, k, &(struct bound){.kind = kinds[i], .seen = OFFLOAD_FINE});
	return e;
}
