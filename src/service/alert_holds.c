/* Alerts that hold a stage: what a canary shows stops its stage from going on, until it is over. */
#include <stdio.h>
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

/* Only of a canary that was offered the release: what fired before is nothing that the release did. Where nobody judges, the first stage's
 * devices are the canaries. */
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
	if (e != ERR_OK || d.kind == DEPLOYMENT_SHAM || d.offered_at == 0 || (!d.is_canary && d.stage > 0))
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

enum err alerts_release_stage(struct call *c, int64_t rollout, int64_t stage)
{
	if (c->s->alerts == NULL)
		return ERR_OK;
	alerts_touch(c->s->alerts);
	return hold_release(c->s->alerts->store, rollout, stage, c->fault);
}

void alert_sentence(struct call *c, int64_t id, char *out, size_t size)
{
	struct alert_row row;
	struct fault f;
	if (alert_get(c->s->alerts->store, id, c->arena, &row, &f) != ERR_OK)
		snprintf(out, size, "alert %lld holds the stage", (long long)id);
	else
		snprintf(out, size, "alert %lld (%.64s of %.80s) holds the stage: %.200s", (long long)id, row.kind, row.resource, row.summary);
}
