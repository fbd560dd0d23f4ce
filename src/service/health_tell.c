/* What a health check says of a device, in words and as a level: the signal that an alert is made of. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "service/health_inside.h"
#include "service/registry.h"

#define STALE_LEAST_MS ((int64_t)86400000)
#define STALE_PERIODS 3

const char *health_describe(struct call *c, const struct health_check *k, const struct health_state *st, const char *detail)
{
	if (detail != NULL)
		return detail;
	if (!k->is_limit || !st->has_value)
		return NULL;
	bool is_high = k->row.op[0] == 'g';
	const char *how = st->passed ? is_high ? "not above" : "not below" : is_high ? "above" : "below";
	return arena_printf(c->arena, "%s is %g, %s %g", k->row.metric, (double)st->value, how, k->row.threshold);
}

static enum alert_severity severity_of(const struct health_check *k)
{
	char first = k->row.severity[0];
	return k->is_hash ? ALERT_CRITICAL : first == 'i' ? ALERT_INFO : first == 'w' ? ALERT_WARNING : ALERT_CRITICAL;
}

static const char *evidence(struct call *c, const struct health_check *k, const struct health_state *st)
{
	const struct cohort_name *n = health_cohort(c->s->health, st->cohort);
	struct health_judgement j = health_judge_state(k, st, st->cell);
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "check", k->row.name);
	json_str(&b, "cell", health_cell_name(st->cell));
	json_str(&b, "hardware", n->hardware);
	json_str(&b, "model", n->model);
	json_str(&b, "version", n->version);
	if (st->has_value)
		json_num(&b, "value", (double)st->value);
	json_num(&b, "rate", j.rate);
	json_num(&b, "cohort_rate", j.cohort_rate);
	json_num(&b, "p", j.p);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* A limit has its window to be patient, the others their period: a failure fires at once, a pass resolves at once, and what flaps stays longer each
 * time. Where results stop coming the alert ends as one without data; but stored bytes do not heal, and nobody promised another result of a check that
 * is run on demand. */
static struct alert_policy policy_of(const struct health_check *k)
{
	int64_t periods = STALE_PERIODS * k->row.every_ms;
	bool times_out = k->is_excusable && (k->is_limit || periods > 0);
	return (struct alert_policy){.stale_ms = !times_out ? 0 : periods > STALE_LEAST_MS ? periods : STALE_LEAST_MS, .is_damped = true};
}

static const char *kind_of(struct call *c, const struct health_check *k)
{
	return k->is_hash ? HEALTH_HASH_CAUSE : arena_printf(c->arena, "health.%s", k->row.name);
}

/* A cause is one alert, whichever check found it: it is over when none of them finds it any more. */
static bool is_found_by_another(const struct health *h, const struct health_check *k, const struct device_state *d)
{
	for (size_t i = 0; k->is_hash && i < h->count; i++) {
		const struct health_check *other = h->checks[i];
		const struct health_state *st = other != k && other->is_hash && !other->row.is_deleted ? health_state_find(other, d) : NULL;
		if (st != NULL && st->wants)
			return true;
	}
	return false;
}

static bool is_open(struct call *c, const struct health_check *k, const struct device_state *d)
{
	return alert_is_open(c->s->alerts, kind_of(c, k), arena_printf(c->arena, "devices/%s", d->id));
}

/* For the storm guard: as many of the cohort as were heard in one cell, so that the registry is not asked, which takes long in a large fleet. */
static uint32_t cohort_devices(const struct health_check *k, const struct health_state *st)
{
	int64_t most = 1;
	for (int i = 0; st->cohort < k->cells_room && i < HEALTH_CELLS; i++)
		most = k->cells[st->cohort][i].sums.devices > most ? k->cells[st->cohort][i].sums.devices : most;
	return (uint32_t)most;
}

bool health_has_news(const struct health_state *st)
{
	return st->level == ALERT_LEVEL_OVER || st->is_open || st->is_forced;
}

bool health_is_untold(struct call *c, const struct health_check *k, const struct health_state *st)
{
	int64_t stale_ms = policy_of(k).stale_ms;
	bool is_over = st->level == ALERT_LEVEL_OVER && (stale_ms == 0 || c->now_ms - st->at_ms < stale_ms);
	const struct device_state *d = is_over ? registry_by_row(c->s->registry, st->device) : NULL;
	return d != NULL && !is_open(c, k, d);
}

enum err health_tell(struct call *c, const struct health_check *k, struct health_state *st, const struct device_state *d, const char *detail)
{
	struct alert_policy policy = policy_of(k);
	bool is_over = st->level == ALERT_LEVEL_OVER, has_detail = detail != NULL && detail[0] != '\0';
	struct alert_signal s = {.kind = kind_of(c, k), .check = k->row.name, .resource = arena_printf(c->arena, "devices/%s", d->id),
		.severity = severity_of(k), .level = (enum alert_level)st->level, .value = st->has_value ? (double)st->value : NAN,
		.expected = k->row.op[0] != '\0' ? k->row.threshold : NAN, .score = NAN, .policy = &policy, .cohort_devices = cohort_devices(k, st)};
	if (st->level == ALERT_LEVEL_UNDER && is_found_by_another(c->s->health, k, d))
		return ERR_OK;
	if (is_over) {
		s.summary = arena_printf(c->arena, "check %s failed on device %s%s%s", k->row.name, d->id, has_detail ? ": " : "", has_detail ? detail : "");
		s.data = evidence(c, k, st);
	}
	enum err e = alert_signal(c, &s);
	if (e == ERR_OK)
		st->is_open = is_open(c, k, d);
	return e;
}

enum err health_tell_end(struct call *c, const struct health_check *k, const struct device_state *d)
{
	if (!is_open(c, k, d) || is_found_by_another(c->s->health, k, d))
		return ERR_OK;
	return alert_signal(c, &(struct alert_signal){.kind = kind_of(c, k), .check = k->row.name, .resource = arena_printf(c->arena, "devices/%s", d->id),
		.severity = severity_of(k), .level = ALERT_LEVEL_UNDER, .value = NAN, .expected = NAN, .score = NAN, .policy = &(struct alert_policy){0}});
}

/* An alert that is open outlives a restart; how long it has been quiet does not, so it is told again. */
void health_recall(struct health *h, const struct health_check *k, struct health_state *st, const struct device_state *d)
{
	struct call c = {.s = h->s, .arena = h->arena};
	st->is_open = is_open(&c, k, d);
	st->level = st->wants ? ALERT_LEVEL_OVER : st->passed ? ALERT_LEVEL_UNDER : ALERT_LEVEL_BETWEEN;
}
