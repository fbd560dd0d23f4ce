#include "service/alert_levels.h"

#include <math.h>
#include <string.h>

#include "store/alert_store.h"

static const struct {
	const char *name, *alerts;
	bool of_values, remembers;
	double clear;
} kinds[RULE_KINDS] = {
#define X(name, text, alerts, values, past, clear) [RULE_##name] = {text, alerts, values, past, clear},
	RULE_KIND_TABLE(X)
#undef X
};

int alert_levels_kind(const char *name)
{
	for (int i = 0; i < RULE_KINDS; i++) {
		if (strcmp(kinds[i].name, name) == 0)
			return i;
	}
	return -1;
}

const char *alert_levels_alert_kind(int kind)
{
	return kinds[kind].alerts;
}

bool alert_levels_of_values(int kind)
{
	return kind >= 0 && kinds[kind].of_values;
}

bool alert_levels_of_signals(int kind)
{
	return kind >= 0 && kinds[kind].alerts[0] == '\0';
}

bool alert_levels_remember(int kind)
{
	return kind >= 0 && kinds[kind].remembers;
}

bool alert_levels_value(int kind, struct alert_levels_past *past, double value, int64_t at_ms, double *compared)
{
	struct alert_levels_past before = *past;
	*compared = value;
	if (!alert_levels_remember(kind))
		return true;
	if (before.has && at_ms < before.at_ms - ALERT_CLOCK_BACK_MS)
		before.has = false; /* the clock was set back: it begins anew */
	if (before.has && at_ms < before.at_ms)
		return false; /* out of order */
	if (kind == RULE_RATE && before.has && at_ms == before.at_ms)
		return false;
	*past = (struct alert_levels_past){value, at_ms, true};
	if (kind != RULE_RATE)
		return true;
	*compared = before.has ? (value - before.value) / ((double)(at_ms - before.at_ms) / 60000) : NAN;
	return isfinite(*compared);
}

enum alert_level alert_levels_of(const struct alert_rule_row *r, double value)
{
	int kind = alert_levels_kind(r->kind);
	double sign = r->op[0] == 'g' ? 1 : -1, fire = r->threshold;
	double clear = isfinite(r->clear) ? r->clear : kind >= 0 ? kinds[kind].clear * fire : fire;
	if (sign * value > sign * fire)
		return ALERT_LEVEL_OVER;
	return sign * value > sign * clear ? ALERT_LEVEL_BETWEEN : ALERT_LEVEL_UNDER;
}

/* ---- texts ---- */

const char *alert_levels_summary(struct arena *a, const struct alert_rule_row *r, const char *device, double value)
{
	const char *side = r->op[0] == 'g' ? "above" : "below";
	switch (alert_levels_kind(r->kind)) {
	case RULE_RATE:
		return arena_printf(a, "%s: %s of device %s changes by %g a minute, %s %g", r->name, r->metric, device, value, side, r->threshold);
	case RULE_ABSENCE:
		return arena_printf(a, "%s: device %s reports no %s for %lld s", r->name, device, r->metric, (long long)(r->for_ms / 1000));
	case RULE_ANOMALY:
		return arena_printf(a, "%s: %s of device %s is unusual, score %.3f above %g", r->name, r->metric[0] ? r->metric : "a metric", device, value,
			r->threshold);
	default:
		return arena_printf(a, "%s: %s of device %s is %g, %s %g", r->name, r->metric, device, value, side, r->threshold);
	}
}
