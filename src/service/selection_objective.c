/* What a release wants of its variants, as JSON in a request and in a row. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "service/selection_inside.h"

#define YEAR_MS 31536000000.0
#define IN_WEIGHTS(member) .offset = offsetof(struct selection_objective, weights.member) - offsetof(struct selection_objective, weights)

static const struct field weight_fields[] = {
	{.name = "latency", .type = FIELD_NUM, IN_WEIGHTS(latency), .max = 1000, .flags = FIELD_OMIT_ZERO,
	 .doc = "of the 95th percentile"},
	{.name = "energy", .type = FIELD_NUM, IN_WEIGHTS(energy), .max = 1000, .flags = FIELD_OMIT_ZERO,
	 .doc = "of an inference"},
	{.name = "size", .type = FIELD_NUM, IN_WEIGHTS(size), .max = 1000, .flags = FIELD_OMIT_ZERO,
	 .doc = "of the artifact"},
	{.name = NULL},
};
#define AT(member) .offset = offsetof(struct selection_transfer, member)
static const struct field transfer_fields[] = {
	{.name = "small_bytes", .type = FIELD_INT, AT(small_bytes), .max = 1e15, .flags = FIELD_OMIT_ZERO, .doc = "up to so many bytes go at once in any case"},
	{.name = "metered_links", .type = FIELD_STRS, AT(metered_links), .max = 16, .flags = FIELD_OMIT_ZERO,
	 .doc = "links (capability link) over which bytes cost"},
	{.name = "budget_bytes", .type = FIELD_INT, AT(budget_bytes), .max = 1e15, .flags = FIELD_OMIT_ZERO,
	 .doc = "that a device may get over such a link on a day (UTC); absent: no bound"},
	{.name = "window_from", .type = FIELD_STR, AT(window_from), .min = 5, .max = 5, .doc = "HH:MM, UTC: larger transfers begin in this window only"},
	{.name = "window_until", .type = FIELD_STR, AT(window_until), .min = 5, .max = 5, .doc = "HH:MM, UTC; may be of the next day"},
	{.name = "waits_for_link", .type = FIELD_BOOL, AT(waits_for_link), .flags = FIELD_OMIT_ZERO, .doc = "not while the link is bad"},
	{.name = "waits_for_battery", .type = FIELD_BOOL, AT(waits_for_battery), .flags = FIELD_OMIT_ZERO, .doc = "not while the battery is low"},
	{.name = NULL},
};
#undef AT
#define AT(member) .offset = offsetof(struct selection_objective, member)
const struct field selection_objective_fields[] = {
	{.name = "min_quality", .type = FIELD_NUM, AT(min_quality), .max = 1e6, .flags = FIELD_OMIT_ZERO,
	 .doc = "least quality; an unknown one is not enough. Absent: any"},
	{.name = "quality", .type = FIELD_ENUM, AT(quality), .choices = "accuracy top1 auc",
	 .doc = "which figure is meant; absent: the first that there is. What devices report is a share of right answers, and no auc"},
	{.name = "order", .type = FIELD_STRS, AT(order), .max = 3, .flags = FIELD_OMIT_ZERO,
	 .doc = "what counts first: latency (95th percentile), energy, size; all three in this order when absent"},
	{.name = "weights", .type = FIELD_OBJECT, AT(weights), .fields = weight_fields,
	 .doc = "instead of an order: exponents of a product of the costs"},
	{.name = "max_latency_ms", .type = FIELD_NUM, AT(max_latency_ms), .max = 1e12, .flags = FIELD_OMIT_ZERO, .doc = "slower ones do not serve; absent: no bound"},
	{.name = "max_energy_uj", .type = FIELD_NUM, AT(max_energy_uj), .max = 1e15, .flags = FIELD_OMIT_ZERO, .doc = "hungrier ones do not serve"},
	{.name = "wish_latency_ms", .type = FIELD_NUM, AT(wish_latency_ms), .max = 1e12, .flags = FIELD_OMIT_ZERO,
	 .doc = "devices whose best is slower are served poorly, and reported"},
	{.name = "wish_energy_uj", .type = FIELD_NUM, AT(wish_energy_uj), .max = 1e15, .flags = FIELD_OMIT_ZERO, .doc = "likewise"},
	{.name = "gain", .type = FIELD_NUM, AT(gain), .max = 0.99, .doc = "share of the cost that another variant must save; 0.1 when absent"},
	{.name = "dwell_ms", .type = FIELD_INT, AT(dwell_ms), .max = YEAR_MS, .doc = "that an installed variant stays at least; a day when absent"},
	{.name = "follows_link", .type = FIELD_BOOL, AT(follows_link), .flags = FIELD_OMIT_ZERO, .doc = "on a bad link the smallest counts first"},
	{.name = "follows_battery", .type = FIELD_BOOL, AT(follows_battery), .flags = FIELD_OMIT_ZERO, .doc = "on a low battery energy counts first"},
	{.name = "transfer", .type = FIELD_OBJECT, AT(transfer), .fields = transfer_fields, .doc = "when the bytes go; absent: at once"},
	{.name = NULL},
};

void selection_objective_init(struct selection_objective *o)
{
	struct select_objective plain;
	select_objective_init(&plain);
	*o = (struct selection_objective){.gain = plain.gain_min, .dwell_ms = plain.dwell_ms};
}

static double or_none(double v)
{
	return v > 0 ? v : NAN;
}

static bool is_time(const char *text)
{
	unsigned h, m;
	char after;
	return sscanf(text, "%2u:%2u%c", &h, &m, &after) == 2 && strlen(text) == 5 && h < 24 && m < 60;
}

static enum err read_order(const struct selection_objective *o, struct select_objective *out, struct fault *f)
{
	if (o->order.count > 0)
		out->order_count = (unsigned)o->order.count;
	for (size_t i = 0; i < o->order.count; i++) {
		char pointer[48];
		snprintf(pointer, sizeof pointer, "/objective/order/%zu", i);
		if (!select_cost_from_name((struct slice){o->order.items[i], strlen(o->order.items[i])}, &out->order[i]))
			return fault_set(f, ERR_INVALID, pointer, "latency, energy or size is expected");
		for (size_t k = 0; k < i; k++)
			if (out->order[k] == out->order[i])
				return fault_set(f, ERR_INVALID, pointer, "%s comes twice", o->order.items[i]);
	}
	return ERR_OK;
}

static enum err convert(const struct selection_objective *o, struct select_objective *out, struct fault *f)
{
	select_objective_init(out);
	out->quality_min = or_none(o->min_quality);
	out->latency_max_ms = or_none(o->max_latency_ms);
	out->energy_max_uj = or_none(o->max_energy_uj);
	out->latency_wish_ms = or_none(o->wish_latency_ms);
	out->energy_wish_uj = or_none(o->wish_energy_uj);
	out->gain_min = o->gain;
	out->dwell_ms = o->dwell_ms;
	out->follows_link = o->follows_link;
	out->follows_battery = o->follows_battery;
	out->weights[SELECT_LATENCY] = o->weights.latency;
	out->weights[SELECT_ENERGY] = o->weights.energy;
	out->weights[SELECT_SIZE] = o->weights.size;
	out->is_weighted = o->weights.latency > 0 || o->weights.energy > 0 || o->weights.size > 0;
	if (out->is_weighted && o->order.count > 0)
		return fault_set(f, ERR_INVALID, "/objective/weights", "an order or weights, not both");
	const struct selection_transfer *t = &o->transfer;
	if ((t->window_from == NULL) != (t->window_until == NULL))
		return fault_set(f, ERR_INVALID, "/objective/transfer", "window_from and window_until go together");
	if (t->window_from != NULL && (!is_time(t->window_from) || !is_time(t->window_until)))
		return fault_set(f, ERR_INVALID, "/objective/transfer", "a window is HH:MM to HH:MM, UTC");
	return read_order(o, out, f);
}

enum err selection_set_objective(struct call *c, int64_t release, const struct selection_objective *o)
{
	struct select_objective checked;
	struct buf b = BUF_INIT;
	enum err e = convert(o, &checked, c->fault);
	if (e != ERR_OK)
		return e;
	json_encode(selection_objective_fields, o, &b);
	e = objective_set(c->s->selection->store, release, buf_cstr(&b), c->fault);
	buf_done(&b);
	return e;
}

enum err selection_get_objective(struct call *c, int64_t release, const char **json)
{
	*json = NULL;
	return c->s->selection != NULL ? objective_get(c->s->selection->store, release, json, c->arena, c->fault) : ERR_OK;
}

/* Of the enumeration, as a literal: groups outlive the call. */
static const char *quality_literal(const char *text)
{
	static const char *const all[] = {"accuracy", "top1", "auc"};
	for (size_t i = 0; text != NULL && i < sizeof all / sizeof all[0]; i++)
		if (strcmp(all[i], text) == 0)
			return all[i];
	return NULL;
}

enum err selection_read_objective(struct call *c, int64_t release, struct select_objective *out, const char **quality,
	struct selection_transfer *transfer, bool *has_one)
{
	const char *text;
	struct json *root = NULL;
	struct selection_objective o;
	selection_objective_init(&o);
	enum err e = selection_get_objective(c, release, &text);
	*has_one = e == ERR_OK && text != NULL;
	if (*has_one)
		e = json_parse(text, strlen(text), &root, c->fault);
	if (*has_one && e == ERR_OK)
		e = json_bind(selection_objective_fields, root, &o, c->arena, c->fault);
	json_free(root);
	if (e == ERR_OK)
		e = convert(&o, out, c->fault);
	*quality = quality_literal(o.quality);
	if (transfer != NULL)
		*transfer = o.transfer;
	return e;
}
