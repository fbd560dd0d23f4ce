/* Alerts: a condition that somebody should know of, from when it begins to when it ends. Loop thread; rows are in fleet.db.
 *
 * One alert fires at a time for a (kind, resource, rule). Raising it again updates its summary and data without a new event; it is resolved
 * by whoever sees the condition end. Everything that changes goes into table `event`.
 */
#ifndef AVIARY_SERVICE_ALERTS_H
#define AVIARY_SERVICE_ALERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "service/call.h"

struct alerts;

AVIARY_MUST_CHECK struct alerts *alerts_open(struct services *s, struct fault *f); /* NULL on failure; after registry and telemetry */
void alerts_close(struct alerts *a);

enum alert_severity { ALERT_INFO, ALERT_WARNING, ALERT_CRITICAL };

/* kind: 'device.silent' 'install.failed' 'gate.verdict' 'metric.threshold' 'deployment.not_revertible' ...; resource: 'devices/dev-1'
 * 'rollouts/7'; `data` a JSON object as text, NULL for {}. Call inside a unit of work (db_begin). */
AVIARY_MUST_CHECK enum err alert_raise(struct call *c, const char *kind, const char *resource, enum alert_severity severity, const char *summary,
	const char *data);
/* Resolves it if it fires; nothing happens otherwise. */
AVIARY_MUST_CHECK enum err alert_resolve(struct call *c, const char *kind, const char *resource);
/* Convenience of the rollout service. */
AVIARY_MUST_CHECK enum err alert_install_failed(struct call *c, const char *device_id, int64_t rollout, const char *reason);
/* A device is deleted: its alerts are resolved. */
AVIARY_MUST_CHECK enum err alerts_forget_device(struct call *c, const char *device_id);

/* Since when devices could be heard: nobody is silent for longer. 0: always. */
int64_t alerts_listening_since(const struct call *c);

/* Time passes (about once a second): silent devices, rules whose for_ms has run out. In its own unit of work. */
AVIARY_MUST_CHECK enum err alerts_tick(struct call *c);

/* ---- operators ---- */
struct alert_filter {
	const char *status;   /* "firing" "resolved" or NULL */
	const char *kind;     /* or NULL */
	const char *severity; /* or NULL */
	const char *resource; /* or NULL */
	int64_t after;        /* id to continue below; 0 = newest */
	int64_t limit;
};
/* Items newest first, as JSON objects; *next = 0 at the end. */
AVIARY_MUST_CHECK enum err alerts_list(struct call *c, const struct alert_filter *q, struct buf *out, int64_t *next);
AVIARY_MUST_CHECK enum err alerts_show(struct call *c, int64_t id, struct buf *out);
AVIARY_MUST_CHECK enum err alerts_acknowledge(struct call *c, int64_t id, struct buf *out); /* again: no change */
int64_t alerts_firing(const struct alerts *a); /* how many, for /metrics and /stats */

struct alert_rule {
	int64_t id;
	const char *name, *metric, *op, *filter, *severity; /* op "gt" or "lt" */
	double threshold;
	int64_t for_ms;
	int64_t revision, created_at, updated_at;
};
AVIARY_MUST_CHECK enum err alert_rule_create(struct call *c, const struct alert_rule *r, int64_t *id);
AVIARY_MUST_CHECK enum err alert_rule_show(struct call *c, int64_t id, struct alert_rule *out); /* texts in c->arena */
/* Replaces what may change (all but id); `revision` is the one that the caller compared with If-Match. */
AVIARY_MUST_CHECK enum err alert_rule_update(struct call *c, const struct alert_rule *r);
AVIARY_MUST_CHECK enum err alert_rule_delete(struct call *c, int64_t id); /* its alerts are resolved */
AVIARY_MUST_CHECK enum err alert_rules_list(struct call *c, int64_t after, int64_t limit, struct alert_rule **items, size_t *count);

#endif
