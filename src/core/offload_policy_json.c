#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/jpull.h"
#include "core/offload_policy.h"

static const char *const link_names[] = {"none", "bad", "metered", "good"};
static const char *const unit_names[] = {"per_hour", "per_day", "bytes_per_hour", "bytes_per_day"};

const char *offload_link_name(enum offload_link l)
{
	return l <= OFFLOAD_LINK_GOOD ? link_names[l] : "";
}

const char *offload_unit_name(enum offload_unit u)
{
	return u <= OFFLOAD_BYTES_PER_DAY ? unit_names[u] : "";
}

static bool read_share(struct jp *p, uint16_t *out)
{
	double v;
	if (jp_next(p) != JP_NUMBER || !jp_double(p, &v) || v < 0 || v > 1) return false;
	*out = (uint16_t)lround(v * OFFLOAD_ONE);
	return true;
}

static bool read_int(struct jp *p, int64_t most, int64_t *out)
{
	return jp_next(p) == JP_NUMBER && jp_int(p, out) && *out >= 0 && *out <= most;
}

static bool read_margin(struct jp *p, struct offload_policy *out)
{
	return read_share(p, &out->rule.margin);
}

static bool read_audit(struct jp *p, struct offload_policy *out)
{
	return read_share(p, &out->rule.audit);
}

/* "none" asks for no link at all: nothing would ever be sent by intent; it is not a choice. */
static bool read_link(struct jp *p, struct offload_policy *out)
{
	if (jp_next(p) != JP_STRING) return false;
	for (uint8_t l = OFFLOAD_LINK_BAD; l <= OFFLOAD_LINK_GOOD; l++) {
		if (!jp_is(p, link_names[l])) continue;
		out->rule.link_least = l;
		return true;
	}
	return false;
}

static bool read_battery(struct jp *p, struct offload_policy *out)
{
	int64_t v;
	if (!read_int(p, 100, &v)) return false;
	out->rule.battery_least = (uint8_t)v;
	return true;
}

static bool read_rssi(struct jp *p, struct offload_policy *out)
{
	int64_t v;
	if (jp_next(p) != JP_NUMBER || !jp_int(p, &v) || v < -150 || v > 0) return false;
	out->rule.rssi_least = (int16_t)v;
	return true;
}

static bool read_rate(struct jp *p, struct offload_policy *out)
{
	int64_t v;
	if (!read_int(p, 1000000000, &v)) return false;
	out->rule.rate_least = (uint32_t)v;
	return true;
}

/* `most` keeps the refill's product within 64 bits. */
static bool read_budget(struct jp *p, enum offload_unit unit, int64_t most, struct offload_policy *out)
{
	int64_t v;
	if (!read_int(p, most, &v)) return false;
	out->rule.unit = (uint8_t)unit;
	out->rule.budget = (uint32_t)v;
	return true;
}

static bool read_per_hour(struct jp *p, struct offload_policy *out)
{
	return read_budget(p, OFFLOAD_PER_HOUR, 1000000, out);
}

static bool read_per_day(struct jp *p, struct offload_policy *out)
{
	return read_budget(p, OFFLOAD_PER_DAY, 1000000, out);
}

static bool read_bytes_per_hour(struct jp *p, struct offload_policy *out)
{
	return read_budget(p, OFFLOAD_BYTES_PER_HOUR, 2000000000, out);
}

static bool read_bytes_per_day(struct jp *p, struct offload_policy *out)
{
	return read_budget(p, OFFLOAD_BYTES_PER_DAY, 2000000000, out);
}

static bool read_endpoint(struct jp *p, struct offload_policy *out)
{
	static const char scheme[] = "https://";
	int n = jp_next(p) == JP_STRING ? jp_unescape(p, out->endpoint, sizeof out->endpoint) : -1;
	if (n <= (int)strlen(scheme) || strncmp(out->endpoint, scheme, strlen(scheme)) != 0) return false;
	for (int i = 0; i < n; i++)
		if (out->endpoint[i] <= ' ' || out->endpoint[i] > '~') return false;
	return true;
}

static bool read_rev(struct jp *p, struct offload_policy *out)
{
	return read_int(p, INT64_C(1) << 53, &out->rev);
}

static const struct {
	const char *name;
	bool (*read)(struct jp *p, struct offload_policy *out);
	bool is_required;
	const char *expected;
} members[] = {
	{"margin", read_margin, true, "a number from 0 to 1"},
	{"audit", read_audit, false, "a number from 0 to 1"},
	{"link", read_link, false, "bad, metered or good"},
	{"battery", read_battery, false, "a percentage, an integer from 0 to 100"},
	{"rssi", read_rssi, false, "an integer from -150 to 0, dBm"},
	{"rate", read_rate, false, "an integer from 0, kbit/s"},
	{"per_hour", read_per_hour, false, "an integer from 0 to 1000000"},
	{"per_day", read_per_day, false, "an integer from 0 to 1000000"},
	{"bytes_per_hour", read_bytes_per_hour, false, "an integer from 0 to 2000000000"},
	{"bytes_per_day", read_bytes_per_day, false, "an integer from 0 to 2000000000"},
	{"endpoint", read_endpoint, true, "a URL that begins with https://, at most 255 bytes"},
	{"rev", read_rev, false, "an integer from 0"},
};
#define MEMBERS (sizeof members / sizeof members[0])

static enum err refuse(const struct jp *p, const char *pointer, const char *expected, struct fault *f)
{
	if (p->error != NULL) return fault_set(f, ERR_BAD_REQUEST, "", "not JSON: %s at byte %zu", p->error, p->at);
	return fault_set(f, ERR_INVALID, pointer, "expected %s", expected);
}

static unsigned count_budgets(unsigned seen)
{
	unsigned count = 0;
	for (size_t i = 0; i < MEMBERS; i++)
		for (unsigned u = 0; u <= OFFLOAD_BYTES_PER_DAY; u++)
			count += (seen >> i & 1) && strcmp(members[i].name, unit_names[u]) == 0;
	return count;
}

static enum err read_members(struct jp *p, struct offload_policy *out, struct fault *f)
{
	unsigned seen = 0;
	enum jp_event event;
	while ((event = jp_next(p)) == JP_KEY) {
		char pointer[32];
		size_t i = 0;
		while (i < MEMBERS && !jp_is(p, members[i].name)) i++;
		if (i == MEMBERS) return fault_set(f, ERR_INVALID, "", "unknown member");
		snprintf(pointer, sizeof pointer, "/%s", members[i].name);
		if (seen >> i & 1) return fault_set(f, ERR_INVALID, pointer, "the member occurs twice");
		seen |= 1u << i;
		if (!members[i].read(p, out)) return refuse(p, pointer, members[i].expected, f);
	}
	if (event != JP_OBJECT_END) return refuse(p, "", "a member", f);
	if (count_budgets(seen) > 1) return fault_set(f, ERR_INVALID, "", "one budget is wanted, not several");
	for (size_t i = 0; i < MEMBERS; i++)
		if (members[i].is_required && !(seen >> i & 1))
			return fault_set(f, ERR_INVALID, "", "%s is required", members[i].name);
	return ERR_OK;
}

enum err offload_policy_parse(struct offload_policy *p, const char *text, size_t len, struct fault *f)
{
	struct jp jp;
	*p = (struct offload_policy){.rule = {.link_least = OFFLOAD_LINK_METERED, .rssi_least = OFFLOAD_ANY_RSSI, .budget = 60}};
	if (len > OFFLOAD_POLICY_BYTES) return fault_set(f, ERR_TOO_LARGE, "", "at most %d bytes", OFFLOAD_POLICY_BYTES);
	jp_init(&jp, text, len);
	if (jp_next(&jp) != JP_OBJECT) return refuse(&jp, "", "an object", f);
	enum err e = read_members(&jp, p, f);
	return e == ERR_OK && jp_next(&jp) != JP_END ? refuse(&jp, "", "the end", f) : e;
}

void offload_policy_print(const struct offload_policy *p, struct buf *out)
{
	json_open_object(out);
	json_num(out, "margin", p->rule.margin / (double)OFFLOAD_ONE);
	json_num(out, "audit", p->rule.audit / (double)OFFLOAD_ONE);
	json_str(out, "link", offload_link_name((enum offload_link)p->rule.link_least));
	json_int(out, "battery", p->rule.battery_least);
	if (p->rule.rssi_least != OFFLOAD_ANY_RSSI) json_int(out, "rssi", p->rule.rssi_least);
	if (p->rule.rate_least > 0) json_int(out, "rate", p->rule.rate_least);
	json_int(out, offload_unit_name((enum offload_unit)p->rule.unit), p->rule.budget);
	json_str(out, "endpoint", p->endpoint);
	json_int(out, "rev", p->rev);
	json_close_object(out);
}
