/* Alerts that hold a stage: what a canary shows stops its stage from going on, until it is over. */
#include <string.h>

#include "core/deployment.h"
#include "service/alerts_inside.h"
#include "service/registry.h"
#include "service/rollout_parts.h"
#include "service/unit.h"

/* Of a device; a rule's own `holds` comes on top. */
bool alerts_is_holding(const char *kind, const char *resource)
{
	static const char *const causes[] = {"model_hash_mismatch", "model_corrupt", "model_drift"};
	if (strncmp(resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0)
		return false;
	for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
		if (alerts_kind_is(kind, causes[i]))
			return true;
	}
	return false;
}

/* Only of a canary that was offered the release: what fired before is nothing that the release did. */
enum err alerts_hold(struct call *c, const struct alert_row *row)
{
	struct deployment_row d;
	if (c->s->rollouts == NULL || strncmp(row->resource, ALERT_DEVICE_PREFIX, strlen(ALERT_DEVICE_PREFIX)) != 0)
		return ERR_OK;
	const struct device_state *device = registry_find(c->s->registry, row->resource + strlen(ALERT_DEVICE_PREFIX));
	if (device == NULL || device->deployment == 0)
		return ERR_OK;
	enum err e = deployment_get(c->s->rollouts->deployments, device->deployment, &d, c->arena, c->fault);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (e != ERR_OK || !d.is_canary || d.offered_at == 0)
		return e;
	return hold_insert(c->s->alerts->store, d.rollout, d.stage, row->id, c->fault);
}

enum err alerts_hold_stage(struct call *c, int64_t rollout, int64_t stage, int64_t *alert)
{
	*alert = 0;
	if (c->s->alerts == NULL)
		return ERR_OK;
	return hold_of_stage(c->s->alerts->store, rollout, stage, alert, c->fault);
}
