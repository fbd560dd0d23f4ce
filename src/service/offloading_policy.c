/* What operators set and see, and what devices are told. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/offloading_inside.h"
#include "service/registry.h"
#include "service/releases.h"

#define SHARE(v) ((double)(v) / OFFLOAD_ONE)
#define FIT_LEAST_MS 1000
#define FIT_MOST_MS ((int64_t)30 * 86400000)

/* ---- setting ---- */

void offload_input_init(struct offload_input *in)
{
	*in = (struct offload_input){.target_rate = NAN, .margin = 0.1, .audit = 0.01, .link = "metered", .budget = 60, .budget_unit = "per_hour",
		.fit_every_ms = 600000, .rate_max = NAN, .agreement_min = NAN, .agreement_max = NAN, .cost_max = NAN};
}

static int64_t in_steps(double share)
{
	return (int64_t)lround(share * OFFLOAD_ONE);
}

/* What devices would be told; what the document's reader refuses is no policy. */
static void make_policy(const struct offload_policy_row *row, uint16_t margin, int64_t rev, struct offload_policy *out)
{
	*out = (struct offload_policy){.rule = {.margin = margin, .audit = (uint16_t)row->audit, .battery_least = (uint8_t)row->battery,
		.rssi_least = row->has_rssi ? (int16_t)row->rssi : OFFLOAD_ANY_RSSI, .rate_least = (uint32_t)row->rate, .unit = (uint8_t)row->unit,
		.budget = (uint32_t)row->budget}, .rev = rev};
	for (uint8_t l = OFFLOAD_LINK_BAD; l <= OFFLOAD_LINK_GOOD; l++)
		if (strcmp(offload_link_name((enum offload_link)l), row->link) == 0)
			out->rule.link_least = l;
	size_t len = strlen(row->endpoint);
	memcpy(out->endpoint, row->endpoint, len < sizeof out->endpoint ? len + 1 : 0);
}

static enum err check_endpoint(const char *endpoint, struct fault *f)
{
	static const char scheme[] = "https://";
	size_t len = endpoint != NULL ? strlen(endpoint) : 0;
	bool is_url = len > sizeof scheme - 1 && len < OFFLOAD_ENDPOINT_BYTES && strncmp(endpoint, scheme, sizeof scheme - 1) == 0;
	for (size_t i = 0; is_url && i < len; i++)
		is_url = endpoint[i] > ' ' && endpoint[i] <= '~' && endpoint[i] != '"' && endpoint[i] != '\\';
	if (!is_url)
		return fault_set(f, ERR_INVALID, "/endpoint", "a URL that begins with https:// is wanted, at most %d bytes", OFFLOAD_ENDPOINT_BYTES - 1);
	return ERR_OK;
}

static enum err take_input(const struct offload_input *in, struct offload_policy_row *row, struct fault *f)
{
	int unit = OFFLOAD_PER_HOUR;
	enum err e = check_endpoint(in->endpoint, f);
	if (e != ERR_OK)
		return e;
	if (!(in->target_rate >= 0 && in->target_rate <= 1))
		return fault_set(f, ERR_INVALID, "/target_rate", "a number from 0 to 1 is wanted");
	while (unit <= OFFLOAD_BYTES_PER_DAY && strcmp(offload_unit_name((enum offload_unit)unit), in->budget_unit) != 0)
		unit++;
	if (unit > OFFLOAD_BYTES_PER_DAY)
		return fault_set(f, ERR_INVALID, "/budget_unit", "per_hour, per_day, bytes_per_hour or bytes_per_day is wanted");
	if (in->budget > (unit >= OFFLOAD_BYTES_PER_HOUR ? 2000000000 : 1000000))
		return fault_set(f, ERR_INVALID, "/budget", "at most 1000000 inferences, or 2000000000 bytes");
	if (in->fit_every_ms < FIT_LEAST_MS || in->fit_every_ms > FIT_MOST_MS)
		return fault_set(f, ERR_INVALID, "/fit_every_ms", "from a second to 30 days");
	row->endpoint = in->endpoint;
	row->link = in->link;
	row->target = in->target_rate;
	row->margin = in_steps(in->margin);
	row->audit = in_steps(in->audit);
	row->has_rssi = in->has_rssi;
	row->rssi = in->rssi_dbm;
	row->rate = in->rate_kbps;
	row->battery = in->battery_percent;
	row->unit = unit;
	row->budget = in->budget;
	row->fit_every_ms = in->fit_every_ms;
	row->rate_max = in->rate_max;
	row->agreement_min = in->agreement_min;
	row->agreement_max = in->agreement_max;
	row->cost_max = in->cost_max;
	return ERR_OK;
}

static void put_optional(struct buf *out, const char *key, double v)
{
	if (!isnan(v))
		json_num(out, key, v);
}

/* Members of an open object. */
static void put_policy(const struct offload_policy_row *row, struct buf *out)
{
	json_str(out, "model", row->name);
	json_str(out, "endpoint", row->endpoint);
	json_num(out, "target_rate", row->target);
	json_num(out, "margin", SHARE(row->margin));
	json_num(out, "audit", SHARE(row->audit));
	json_str(out, "link", row->link);
	if (row->has_rssi)
		json_int(out, "rssi_dbm", row->rssi);
	json_int(out, "rate_kbps", row->rate);
	json_int(out, "battery_percent", row->battery);
	json_int(out, "budget", row->budget);
	json_str(out, "budget_unit", offload_unit_name((enum offload_unit)row->unit));
	json_int(out, "fit_every_ms", row->fit_every_ms);
	put_optional(out, "rate_max", row->rate_max);
	put_optional(out, "agreement_min", row->agreement_min);
	put_optional(out, "agreement_max", row->agreement_max);
	put_optional(out, "cost_max", row->cost_max);
}

static const char *policy_text(struct call *c, const struct offload_policy_row *row)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	put_policy(row, &b);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* Each class keeps its margin and begins to count anew, with a number of its own: the rule around the margin is another one. */
static enum err renew_classes(struct call *c, int64_t model)
{
	struct offloading *o = c->s->offloading;
	enum err e = ERR_OK;
	for (size_t i = 0; i < o->class_count && e == ERR_OK; i++) {
		struct offload_class *k = o->classes[i];
		if (k->model != model)
			continue;
		struct offload_class next = *k;
		e = counter_next(c, "offload_rev", &next.rev);
		next.rev_at = next.fitted_at = next.faded_at = c->now_ms;
		next.why = OFFLOAD_FIT_WAIT;
		memset(&next.stats, 0, sizeof next.stats);
		if (e == ERR_OK)
			e = offloading_write(c, &next);
	}
	return e;
}

/* Rows first; memory follows them (offloading_refresh), so that what is undone is undone there, too. */
enum err offloading_set(struct call *c, const char *model, const struct offload_input *in)
{
	struct offloading *o = c->s->offloading;
	struct model_row m;
	struct offload_policy_row row = {.created_at = c->now_ms, .updated_at = c->now_ms};
	const char *before = NULL;
	enum err e = catalog_find_model(c, model, &m);
	if (e == ERR_OK && strcmp(m.kind, "model") != 0)
		e = fault_set(c->fault, ERR_INVALID, "", "%s is firmware: only models are offloaded", model);
	if (e == ERR_OK)
		e = take_input(in, &row, c->fault);
	if (e == ERR_OK)
		e = offloading_refresh(o, c->fault);
	if (e != ERR_OK)
		return e;
	const struct policy *old = offloading_policy_of(o, m.id);
	if (old == NULL && o->policy_count == OFFLOADING_POLICIES_MAX)
		return fault_set(c->fault, ERR_CONFLICT, "", "there are %d policies, no more are possible", OFFLOADING_POLICIES_MAX);
	row.model = m.id;
	row.name = m.name;
	row.revision = old != NULL ? old->row.revision + 1 : 1;
	row.created_at = old != NULL ? old->row.created_at : c->now_ms;
	before = old != NULL ? policy_text(c, &old->row) : NULL;
	e = counter_next(c, "offload_rev", &row.rev);
	if (e == ERR_OK)
		e = offloading_write_all(c);
	if (e == ERR_OK)
		e = offload_put_policy(o->store, &row, c->fault);
	if (e == ERR_OK)
		e = renew_classes(c, m.id);
	if (e == ERR_OK)
		e = audit_append(c, "offload.set", arena_printf(c->arena, "models/%s", m.name), before, policy_text(c, &row));
	if (e == ERR_OK)
		e = event_append(c, "offload.set", arena_printf(c->arena, "models/%s", m.name), policy_text(c, &row));
	return e == ERR_OK ? offloading_refresh(o, c->fault) : e;
}

static enum err find(struct call *c, const char *model, struct policy **out)
{
	enum err e = offloading_refresh(c->s->offloading, c->fault);
	if (e != ERR_OK)
		return e;
	*out = offloading_policy(c->s->offloading, model);
	return *out != NULL ? ERR_OK : fault_set(c->fault, ERR_NOT_FOUND, "", "model %s has no policy of offloading", model);
}

enum err offloading_remove(struct call *c, const char *model)
{
	struct offloading *o = c->s->offloading;
	struct policy *p = NULL;
	enum err e = find(c, model, &p);
	for (size_t i = 0; e == ERR_OK && i < o->class_count; i++)
		if (o->classes[i]->model == p->row.model)
			e = offloading_unwatch(c, p, o->classes[i]);
	if (e == ERR_OK)
		e = offload_remove_policy(o->store, p->row.model, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "offload.remove", arena_printf(c->arena, "models/%s", model), policy_text(c, &p->row), NULL);
	if (e == ERR_OK)
		e = event_append(c, "offload.remove", arena_printf(c->arena, "models/%s", model), "{}");
	return e == ERR_OK ? offloading_refresh(o, c->fault) : e;
}

/* ---- showing ---- */

static uint64_t total(const uint64_t bins[OFFLOAD_BINS])
{
	uint64_t n = 0;
	for (unsigned i = 0; i < OFFLOAD_BINS; i++)
		n += bins[i];
	return n;
}

static void put_share(struct buf *out, const char *key, uint64_t part, uint64_t whole)
{
	if (whole > 0)
		json_num(out, key, (double)part / (double)whole);
}

static void put_figures(const struct offload_stats *s, struct buf *out)
{
	uint64_t sent = total(s->sent), audited = total(s->audited), all = s->inferences;
	json_int(out, "inferences", (int64_t)all);
	json_int(out, "sent", (int64_t)sent);
	json_int(out, "kept", (int64_t)s->blocked);
	json_int(out, "audited", (int64_t)audited);
	put_share(out, "hard_rate", sent + s->blocked, all);
	put_share(out, "rate", sent, all);
	put_share(out, "kept_rate", s->blocked, all);
	put_share(out, "agreement", total(s->agreed), sent);
	put_share(out, "sure_agreement", total(s->audit_agreed), audited);
	json_num(out, "cost", s->cost);
	if (all > 0)
		json_num(out, "cost_per_inference", s->cost / (double)all);
	if (sent + audited > 0)
		json_num(out, "cost_per_sent", s->cost / (double)(sent + audited));
}

static void put_class(struct call *c, const struct policy *p, const struct offload_class *k, struct buf *out)
{
	static const char *const kinds[] = {"offload.rate", "offload.agreement", "offload.cost"};
	json_open_object(out);
	json_str(out, "hardware", k->hardware);
	json_str(out, "version", k->version);
	json_num(out, "margin", SHARE(k->margin));
	json_int(out, "rev", k->rev);
	json_int(out, "since", k->rev_at);
	json_int(out, "fits", k->fits);
	json_int(out, "fitted_at", k->fitted_at);
	json_str(out, "why", offload_fit_why_name(k->why));
	put_figures(&k->stats, out);
	json_key(out, "alerts");
	json_open_array(out);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (c->s->alerts != NULL && alert_is_open(c->s->alerts, kinds[i], offloading_resource(c, p, k)))
			json_put_str(out, kinds[i]);
	json_close_array(out);
	json_close_object(out);
}

static int by_name(const struct offload_class *a, const struct offload_class *b)
{
	int order = strcmp(a->hardware, b->hardware);
	return order != 0 ? order : strcmp(a->version, b->version);
}

/* The one that comes next after `last` (NULL: the first) of the model's classes. */
static const struct offload_class *next_class(const struct offloading *o, int64_t model, const struct offload_class *last)
{
	const struct offload_class *best = NULL;
	for (size_t i = 0; i < o->class_count; i++) {
		const struct offload_class *k = o->classes[i];
		if (k->model == model && (last == NULL || by_name(k, last) > 0) && (best == NULL || by_name(k, best) < 0))
			best = k;
	}
	return best;
}

enum err offloading_show(struct call *c, const char *model, struct buf *out, int64_t *revision)
{
	struct policy *p = NULL;
	enum err e = find(c, model, &p);
	if (e != ERR_OK)
		return e;
	*revision = p->row.revision;
	json_open_object(out);
	put_policy(&p->row, out);
	json_int(out, "revision", p->row.revision);
	json_int(out, "created_at", p->row.created_at);
	json_int(out, "updated_at", p->row.updated_at);
	json_key(out, "classes");
	json_open_array(out);
	const struct offload_class *k = NULL;
	while ((k = next_class(c->s->offloading, p->row.model, k)) != NULL)
		put_class(c, p, k, out);
	json_close_array(out);
	json_close_object(out);
	return ERR_OK;
}

/* ---- devices ---- */

struct document {
	struct offloading *o;
	const char *hardware;
	struct buf *out;
	bool is_open;
};

static void put_model(struct document *doc, const char *model, const char *version)
{
	struct offload_policy told;
	const struct policy *p = offloading_policy(doc->o, model);
	if (p == NULL)
		return;
	const struct offload_class *k = offloading_class(doc->o, p->row.model, doc->hardware, version);
	make_policy(&p->row, k != NULL ? k->margin : (uint16_t)p->row.margin, k != NULL ? k->rev : p->row.rev, &told);
	if (!doc->is_open)
		json_open_object(doc->out);
	doc->is_open = true;
	json_key(doc->out, model);
	offload_policy_print(&told, doc->out);
}

static enum err put_release(struct call *c, struct document *doc, int64_t release)
{
	struct component_row *components = NULL;
	size_t count = 0;
	enum err e = releases_components(c, release, &components, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		put_model(doc, components[i].model, components[i].version_text);
	return e;
}

static enum err put_reported(struct call *c, struct document *doc, const struct device_state *d)
{
	const char *text = NULL;
	int64_t revision;
	struct json *root = NULL;
	enum err e = registry_twin(c, d, TWIN_REPORTED, &text, &revision);
	if (e == ERR_OK)
		e = json_parse(text, strlen(text), &root, c->fault);
	if (e != ERR_OK)
		return e;
	const struct json *models = json_get(json_get(root, "running"), "models");
	for (const struct json *m = json_first(models); m != NULL; m = json_next(m))
		if (json_text(m) != NULL)
			put_model(doc, json_name(m), json_text(m));
	json_free(root);
	return ERR_OK;
}

enum err offloading_put_document(struct call *c, const struct device_state *d, int64_t release, struct buf *out)
{
	struct offloading *o = c->s->offloading;
	if (o == NULL || o->policy_count == 0)
		return ERR_OK;
	struct document doc = {.o = o, .hardware = registry_text(c->s->registry, d->hardware), .out = out};
	enum err e = release != 0 ? put_release(c, &doc, release) : put_reported(c, &doc, d);
	if (doc.is_open)
		json_close_object(out);
	return e;
}
