/* What a rule makes of a value: pure, and the same for what comes in now and for history (alert_rule_test.c). Kinds of rules. */
#ifndef AVIARY_SERVICE_ALERT_LEVELS_H
#define AVIARY_SERVICE_ALERT_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "core/alert_life.h"

struct alert_rule_row; /* store/alert_store.h */

/* X(NAME, wire name, kind of its alerts, looks at values of reports, remembers a device's past, default clear share) */
#define RULE_KIND_TABLE(X)                                                                                             \
	X(THRESHOLD, "threshold", "metric.threshold", true, false, 1)                                                      \
	X(RATE, "rate", "metric.rate", true, true, 1) /* change a minute */                                                \
	X(ABSENCE, "absence", "metric.absence", true, true, 1)                                                             \
	X(ANOMALY, "anomaly", "metric.anomaly", false, false, ALERT_CLEAR_SHARE)                                           \
	X(SIGNATURE, "signature", "", false, false, 1)                                                                     \
	X(HEALTH, "health", "", false, false, 1)                                                                           \
	X(GATE, "gate", "", false, false, 1)

enum rule_kind {
#define X(name, text, alerts, values, past, clear) RULE_##name,
	RULE_KIND_TABLE(X)
#undef X
	    RULE_KINDS
};
int alert_levels_kind(const char *name); /* -1: none of them */
const char *alert_levels_alert_kind(int kind);
bool alert_levels_of_values(int kind);
bool alert_levels_of_signals(int kind); /* takes over what another room says */
bool alert_levels_remember(int kind);

/* The device's last value. */
struct alert_levels_past {
	double value;
	int64_t at_ms;
	bool has;
};
/* What is compared: the value, or how much it changed in a minute. false: there is nothing to compare with yet. */
bool alert_levels_value(int kind, struct alert_levels_past *past, double value, int64_t at_ms, double *compared);
enum alert_level alert_levels_of(const struct alert_rule_row *r, double value);

/* The kind's own words: "rule: latency_ms of device dev-1 is 80, above 50". */
const char *alert_levels_summary(struct arena *a, const struct alert_rule_row *r, const char *device, double value);

#endif
