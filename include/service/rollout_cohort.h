/* The devices of a rollout, for questions about their telemetry: who was deployed to, who was a canary, who a control. */
#ifndef AVIARY_SERVICE_ROLLOUT_COHORT_H
#define AVIARY_SERVICE_ROLLOUT_COHORT_H

#include <stdint.h>

#include "base/err.h"
#include "service/call.h"

struct device_state;

/* COHORT_CONTROL is of one stage: its stage must be given (>= 0); the others take -1 for all stages. */
enum rollout_cohort { COHORT_DEPLOYED, COHORT_CANARY, COHORT_CONTROL };

/* Calls `fn` for each; an error of `fn` ends it and is passed on. Devices that were deleted are left out. ERR_NOT_FOUND: no such rollout. */
AVIARY_MUST_CHECK enum err rollout_cohort_each(struct call *c, int64_t rollout, int64_t stage, enum rollout_cohort cohort,
	enum err (*fn)(void *ctx, struct device_state *d), void *ctx);

#endif
