/* What a plan settles before the rollout is stored: scales that are fixed in advance, and whether canaries could reach their controls. Both go
 * into the spec, so that they are what they were after a restart. */
#include <math.h>

#include "service/registry.h"
#include "service/rollout_parts.h"

#define SHARED_SAMPLE 200 /* devices asked for what they share: a few milliseconds */

/* Attributes by which operators say that devices stand in one place or speak through one another. */
static const char *const sharing[] = {"gateway", "site"};

static enum err fix_scales(struct call *c, struct rollout_live *live, const struct rollout_plan *p)
{
	struct rollout_gate_request *gates = live->spec.gates.items;
	for (uint32_t i = 0; i < live->gate_count; i++) {
		if (!rollout_gate_has_baseline(&live->gates[i]) || gates[i].scale > 0)
			continue;
		if (!(p->spreads[i].sigma > 0))
			return fault_set(c->fault, ERR_INVALID, "/judge/scale",
				"baseline needs the spread of %s, and too few devices of the target have a baseline of it, or all have the same", live->gates[i].name);
		gates[i].scale = p->spreads[i].sigma;
		live->gates[i].fixed_scale = gates[i].scale;
	}
	return ERR_OK;
}

static enum err shares(struct call *c, int64_t device, bool *out)
{
	const struct device_state *d = registry_by_row(c->s->registry, device);
	for (size_t i = 0; d && !*out && i < sizeof sharing / sizeof sharing[0]; i++) {
		const char *value;
		enum err e = registry_attribute(c, d, sharing[i], &value);
		if (!e && value && value[0])
			e = registry_attribute_is_shared(c, sharing[i], value, out);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err find_interference(struct call *c, struct rollout_live *live, const struct rollout_targets *t)
{
	size_t stride = t->count / SHARED_SAMPLE + 1;
	for (size_t i = 0; i < t->count && !live->spec.judge.interference; i += stride) {
		enum err e = shares(c, t->devices[i].device, &live->spec.judge.interference);
		if (e)
			return e;
	}
	return ERR_OK;
}

enum err rollout_plan_settle(struct call *c, struct rollout_live *live, const struct rollout_plan *p)
{
	enum err e = rollout_scale_is_fixed(&live->spec) ? fix_scales(c, live, p) : ERR_OK;
	bool is_open = live->gate_count > 0 && live->spec.judge.controls && !live->spec.unit_attribute;
	return e || !is_open ? e : find_interference(c, live, p->targets);
}
