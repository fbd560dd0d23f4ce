#include "agent/offload.h"

#include <assert.h>
#include <string.h>

#include "agent/inside.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define SHARE_ONE 10000u
#define HOUR_MS 3600000u
#define DAY_MS 86400000u
#define COUNT_MAX 2147483647u

/* --- the policy --- */

enum budget { PER_HOUR, PER_DAY, BYTES_PER_HOUR, BYTES_PER_DAY, BUDGETS };

/* As the server says it. */
struct policy {
	uint16_t margin, audit;
	int64_t battery, rssi, rate, rev;
	int64_t budget[BUDGETS]; /* at most one is there */
	struct agent_slice link, endpoint;
};
static const struct agent_member members[] = {
	{"margin", AGENT_MEMBER_SHARE, true, offsetof(struct policy, margin), 0},
	{"audit", AGENT_MEMBER_SHARE, false, offsetof(struct policy, audit), 0},
	{"link", AGENT_MEMBER_TEXT, false, offsetof(struct policy, link), 0},
	{"battery", AGENT_MEMBER_COUNT, false, offsetof(struct policy, battery), 0},
	{"rssi", AGENT_MEMBER_INT, false, offsetof(struct policy, rssi), 0},
	{"rate", AGENT_MEMBER_COUNT, false, offsetof(struct policy, rate), 0},
	{"per_hour", AGENT_MEMBER_COUNT, false, offsetof(struct policy, budget[PER_HOUR]), 0},
	{"per_day", AGENT_MEMBER_COUNT, false, offsetof(struct policy, budget[PER_DAY]), 0},
	{"bytes_per_hour", AGENT_MEMBER_COUNT, false, offsetof(struct policy, budget[BYTES_PER_HOUR]), 0},
	{"bytes_per_day", AGENT_MEMBER_COUNT, false, offsetof(struct policy, budget[BYTES_PER_DAY]), 0},
	{"endpoint", AGENT_MEMBER_TEXT, true, offsetof(struct policy, endpoint), 0},
	{"rev", AGENT_MEMBER_COUNT, true, offsetof(struct policy, rev), 0},
};

/* A link that this library does not know is one that no device has: it holds everything back. */
static uint8_t link_of(struct agent_slice name)
{
	if (!name.text || agent_slice_equals(name, "metered"))
		return AGENT_LINK_METERED;
	if (agent_slice_equals(name, "bad"))
		return AGENT_LINK_BAD;
	return agent_slice_equals(name, "good") ? AGENT_LINK_GOOD : AGENT_LINK_GOOD + 1;
}

static bool read_policy(struct agent_slice text, struct policy *p, struct agent_offload *o)
{
	memset(p, 0, sizeof(*p));
	p->rssi = AGENT_ANY_RSSI;
	for (unsigned i = 0; i < BUDGETS; i++)
		p->budget[i] = -1;
	if (agent_json_bind(text, members, ROWS(members), p) || memchr(p->endpoint.text, '\\', p->endpoint.len))
		return false;
	if (p->battery > 100 || p->rssi < INT16_MIN || p->rssi > 0 || p->rate > UINT32_MAX)
		return false;
	int64_t budget = 60;
	o->unit = PER_HOUR;
	for (uint8_t i = 0; i < BUDGETS; i++)
		if (p->budget[i] >= 0) {
			budget = p->budget[i];
			o->unit = i;
		}
	o->margin = p->margin;
	o->audit = p->audit;
	o->link_least = link_of(p->link);
	o->battery_least = (uint8_t)p->battery;
	o->rssi_least = (int16_t)p->rssi;
	o->rate_least = (uint32_t)p->rate;
	o->budget = budget > (int64_t)COUNT_MAX ? COUNT_MAX : (uint32_t)budget;
	return true;
}

void agent_offload_told(struct agent_offload *o)
{
	memset(&o->counts, 0, sizeof(o->counts));
}

static struct agent_offload *find(const struct agent *a, const char *model, size_t len)
{
	for (unsigned i = 0; i < a->config->offload_count; i++) {
		struct agent_offload *o = &a->config->offloads[i];
		if (strlen(o->model) == len && memcmp(o->model, model, len) == 0)
			return o;
	}
	return NULL;
}

static void drop(struct agent *a, struct agent_offload *o)
{
	if (a->ports->offload_changed)
		a->ports->offload_changed(a->host, o->model, NULL, 0);
	memset(o, 0, sizeof(*o));
}

/* The budget that is left stays with the model; what was counted under another margin is of no use to the server. */
static void take_model(struct agent *a, const char *model, size_t len, struct agent_slice text)
{
	struct policy p;
	struct agent_offload next, *o = find(a, model, len);
	if (!agent_is_name(model, len, AGENT_NAME_MAX))
		return;
	if (!o)
		o = find(a, "", 0);
	if (!o)
		return;
	next = *o;
	if (!read_policy(text, &p, &next)) {
		agent_tell(a, AGENT_EVENT_RETRY, "malformed offload");
		return;
	}
	memcpy(next.model, model, len);
	next.model[len] = '\0';
	if (next.rev != p.rev)
		agent_offload_told(&next);
	next.rev = p.rev;
	next.is_named = true;
	while (next.random == 0)
		a->ports->random(a->host, &next.random, sizeof(next.random));
	*o = next;
	if (a->ports->offload_changed)
		a->ports->offload_changed(a->host, o->model, p.endpoint.text, p.endpoint.len);
}

void agent_offload_take(struct agent *a, struct agent_slice offload)
{
	struct agent_names names;
	struct agent_slice name, value;
	for (unsigned i = 0; i < a->config->offload_count; i++)
		a->config->offloads[i].is_named = false;
	agent_names_open(&names, offload);
	while (agent_names_next(&names, &name, &value))
		take_model(a, name.text, name.len, value);
	for (unsigned i = 0; i < a->config->offload_count; i++)
		if (a->config->offloads[i].model[0] && !a->config->offloads[i].is_named)
			drop(a, &a->config->offloads[i]);
}

/* --- one inference --- */

/* The bucket holds as much as an hour or a day has, and begins full. */
static void refill(struct agent_offload *o, uint32_t now_ms)
{
	uint32_t passed = now_ms - o->last_ms, window = o->unit == PER_DAY || o->unit == BYTES_PER_DAY ? DAY_MS : HOUR_MS;
	if (!o->is_started) {
		o->tokens = o->budget;
	} else {
		uint64_t parts = (uint64_t)o->parts + (uint64_t)(passed > window ? window : passed) * o->budget;
		uint64_t whole = parts / window + o->tokens;
		o->parts = (uint32_t)(parts % window);
		o->tokens = whole > o->budget ? o->budget : (uint32_t)whole;
	}
	o->is_started = true;
	o->last_ms = now_ms;
}

static bool is_audit(struct agent_offload *o)
{
	o->random ^= o->random << 13;
	o->random ^= o->random >> 17;
	o->random ^= o->random << 5;
	return o->random % SHARE_ONE < o->audit;
}

/* What the device does not know it does not have. */
static bool has_link(const struct agent_offload *o, const struct agent_offload_now *now)
{
	if (now->link == AGENT_LINK_NONE || now->link < o->link_least)
		return false;
	if (o->rssi_least != AGENT_ANY_RSSI && (now->rssi_dbm == AGENT_ANY_RSSI || now->rssi_dbm < o->rssi_least))
		return false;
	return now->rate_kbps >= o->rate_least;
}

static enum agent_offload_verdict decide(struct agent_offload *o, uint32_t margin, const struct agent_offload_now *now,
                                         uint32_t now_ms)
{
	bool is_hard = margin < o->margin;
	uint32_t price = o->unit >= BYTES_PER_HOUR ? now->size_bytes : 1;
	refill(o, now_ms);
	if (!is_hard && !is_audit(o))
		return AGENT_OFFLOAD_LOCAL;
	if (!has_link(o, now))
		return is_hard ? AGENT_OFFLOAD_NO_LINK : AGENT_OFFLOAD_LOCAL;
	if (now->battery_percent < o->battery_least)
		return is_hard ? AGENT_OFFLOAD_NO_BATTERY : AGENT_OFFLOAD_LOCAL;
	if (o->tokens == 0 || o->tokens < price)
		return is_hard ? AGENT_OFFLOAD_NO_BUDGET : AGENT_OFFLOAD_LOCAL;
	o->tokens -= price;
	return is_hard ? AGENT_OFFLOAD_HARD : AGENT_OFFLOAD_AUDIT;
}

enum agent_offload_verdict agent_offload_decide(struct agent *a, const char *model, uint32_t margin,
                                                const struct agent_offload_now *now)
{
	struct agent_offload *o = model[0] ? find(a, model, strlen(model)) : NULL;
	if (!o)
		return AGENT_OFFLOAD_LOCAL;
	enum agent_offload_verdict v = decide(o, margin, now, (uint32_t)agent_now_ms(a));
	if (o->counts.inferences == COUNT_MAX) /* nobody took them for so long: no more, so that they stay true to each other */
		return v;
	o->counts.inferences++;
	o->counts.sent += v == AGENT_OFFLOAD_HARD;
	o->counts.blocked += v > AGENT_OFFLOAD_AUDIT;
	return v;
}

void agent_offload_answered(struct agent *a, const char *model, enum agent_offload_verdict verdict, uint32_t margin,
                            bool agreed, double cost)
{
	struct agent_offload *o = model[0] ? find(a, model, strlen(model)) : NULL;
	if (!o || !(cost >= 0 && cost <= 1e9))
		return;
	bool is_hard = verdict == AGENT_OFFLOAD_HARD;
	/* one that was sent under the policy before */
	if (verdict > AGENT_OFFLOAD_AUDIT || (is_hard ? o->counts.answered >= o->counts.sent : verdict != AGENT_OFFLOAD_AUDIT))
		return;
	if (!is_hard && o->counts.audited >= o->counts.inferences - o->counts.sent - o->counts.blocked)
		return;
	unsigned bin = margin < SHARE_ONE ? margin * AGENT_OFFLOAD_BINS / SHARE_ONE : AGENT_OFFLOAD_BINS - 1;
	uint16_t *bins = is_hard ? o->counts.margins : o->counts.sure;
	bins[bin] += bins[bin] < UINT16_MAX;
	o->counts.answered += is_hard;
	o->counts.agreed += is_hard && agreed;
	o->counts.audited += !is_hard;
	o->counts.audit_agreed += !is_hard && agreed;
	o->counts.cost += cost;
}

/* --- telemetry --- */

static void put_bins(struct agent_telemetry *t, const char *name, const uint16_t bins[AGENT_OFFLOAD_BINS])
{
	uint32_t counts[AGENT_OFFLOAD_BINS];
	for (unsigned i = 0; i < AGENT_OFFLOAD_BINS; i++)
		counts[i] = bins[i];
	agent_telemetry_histogram(t, name, counts, AGENT_OFFLOAD_BINS);
}

void agent_telemetry_offload(struct agent_telemetry *t, const char *model)
{
	struct agent_offload *o = model[0] ? find(t->agent, model, strlen(model)) : NULL;
	if (!o)
		return;
	agent_telemetry_number(t, "offload_rev", (double)o->rev);
	if (o->counts.inferences == 0)
		return;
	t->offload = o;
	agent_telemetry_ratio(t, "offload_rate", o->counts.inferences, o->counts.sent);
	if (o->counts.blocked > 0)
		agent_telemetry_ratio(t, "offload_kept", o->counts.inferences, o->counts.blocked);
	if (o->counts.answered > 0) {
		agent_telemetry_ratio(t, "offload_agree", o->counts.answered, o->counts.agreed);
		put_bins(t, "offload_margin", o->counts.margins);
	}
	if (o->counts.audited > 0) {
		agent_telemetry_ratio(t, "offload_audit", o->counts.audited, o->counts.audit_agreed);
		put_bins(t, "offload_sure", o->counts.sure);
	}
	if (o->counts.answered + o->counts.audited > 0)
		agent_telemetry_mean(t, "offload_cost", o->counts.answered + o->counts.audited, o->counts.cost);
}
