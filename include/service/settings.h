/* Settings that operators change while the server runs: what hawkBit keeps in its tenant configuration (polling, how DDI devices
 * authenticate). One table, one row a key, with its type, bounds and default; values live in fleet.db and are mirrored in memory, so that a
 * poll reads them without SQL.
 *
 * What it is not: aviaryd.conf, which gives the defaults where it has a word for them and can only be changed by who owns the machine.
 *
 * Rolled-back work: it listens to service/unit.h and reads the rows again when something was changed; listeners are told then, too.
 */
#ifndef AVIARY_SERVICE_SETTINGS_H
#define AVIARY_SERVICE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"

/* X(enumerator, key, type, default, doc). `HH:mm:ss` durations are kept as text. */
#define SETTINGS_TABLE(X)                                                                                                              \
	X(POLLING_TIME, "pollingTime", POLLING, "00:05:00", "time between polls of DDI devices: interval[~NN%][, <RSQL> -> interval[~NN%] ...]") \
	X(POLLING_OVERDUE, "pollingOverdueTime", DURATION, "00:05:00", "a device that has not polled for its interval and this is overdue")  \
	X(POLLING_MIN, "minPollingTime", DURATION, "00:00:30", "shortest interval that may be set, and that a maintenance window may bring") \
	X(POLLING_MAX, "maxPollingTime", DURATION, "23:59:59", "longest interval that may be set")                                         \
	X(MAINTENANCE_POLLS, "maintenanceWindowPollCount", COUNT, "3", "polls before a maintenance window opens")                           \
	X(TARGET_TOKEN, "authentication.targettoken.enabled", FLAG, "true", "devices may authenticate by their own token")                 \
	X(GATEWAY_TOKEN, "authentication.gatewaytoken.enabled", FLAG, "false", "gateways may authenticate for any device, and register new ones") \
	X(GATEWAY_KEY, "authentication.gatewaytoken.key", SECRET, "", "the token of gateways")                                             \
	X(HEADER, "authentication.header.enabled", FLAG, "false", "trusted proxies may authenticate devices by their certificates")        \
	X(HEADER_AUTHORITY, "authentication.header.authority", TEXT, "", "hashes of the issuers of such certificates, separated by commas") \
	X(CONFIRMATION, "user.confirmation.flow.enabled", FLAG, "false", "assignments wait for a confirmation unless they say otherwise")  \
	X(APPROVAL, "rollout.approval.enabled", FLAG, "false", "rollouts of the Management API wait for an approval")

enum setting {
#define X(name, key, type, standard, doc) SETTING_##name,
	SETTINGS_TABLE(X)
#undef X
	SETTINGS
};
enum setting_type { SETTING_IS_POLLING, SETTING_IS_DURATION, SETTING_IS_COUNT, SETTING_IS_FLAG, SETTING_IS_TEXT, SETTING_IS_SECRET };

#define SETTING_VALUE_MAX 2048 /* bytes; overrides by RSQL are long */
#define SETTING_LISTENERS_MAX 4

struct settings;

/* `standard`: the program's own defaults by setting, NULL entries (or NULL) keep the table's. Copied; a broken one is ERR_INVALID. */
AVIARY_MUST_CHECK enum err settings_open(struct services *s, const char *const standard[SETTINGS], struct settings **out, struct fault *f);
void settings_close(struct settings *st); /* NULL is allowed */

/* ---- reading: memory only. `st` may be NULL (tests without it): the table's defaults. ---- */
const char *settings_text(const struct settings *st, enum setting which); /* valid until the setting changes */
bool settings_flag(const struct settings *st, enum setting which);
int64_t settings_int(const struct settings *st, enum setting which);      /* of a COUNT */
int64_t settings_ms(const struct settings *st, enum setting which);       /* of a DURATION */
bool settings_is_set(const struct settings *st, enum setting which);      /* by an operator; else it is the default */
const char *settings_key(enum setting which);
enum setting_type settings_type(enum setting which);
const char *settings_doc(enum setting which);
bool settings_find(const char *key, enum setting *which);

/* "HH:mm:ss", 0 to 23:59:59 (pollingTime's intervals are checked against min and max on top). */
bool settings_parse_duration(const char *text, int64_t *ms);
/* "interval[~NN%]" at the beginning of `text`, which may go on with ',': how far it reaches in *end. */
bool settings_parse_interval(const char *text, size_t len, int64_t *ms, int *jitter_percent);

/* ---- writing ---- */
/* ERR_BAD_REQUEST with a reason for a value that the setting may not have. NULL: back to the default. Audited (a secret without its value). */
AVIARY_MUST_CHECK enum err settings_set(struct call *c, enum setting which, const char *value);
/* `fn` hears of each change, after it is in memory; also when a change was undone (`which` is SETTINGS then: any). */
void settings_listen(struct settings *st, void (*fn)(void *ctx, enum setting which), void *ctx);

#endif
