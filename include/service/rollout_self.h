/* control: self inside service/rollouts: its rules, and its measuring, which runs in a job (service/self_windows.h). */
#ifndef AVIARY_SERVICE_ROLLOUT_SELF_H
#define AVIARY_SERVICE_ROLLOUT_SELF_H

#include "service/rollout_parts.h"
#include "service/self_windows.h"

/* Whether live stages are judged by their devices' own past. */
bool rollout_is_self(const struct rollout_live *live);
/* L: the planned bake less its warm-up. */
int64_t rollout_self_window_ms(const struct rollout_live *live);
/* How many devices of a stage are judged so, and by how many windows at most. */
void rollout_self_blocks(const struct rollout_live *live, int64_t planned, int64_t *blocks, int64_t *windows);

/* One measuring: made, stepped until it is done, freed. */
struct self_measure;
/* `devices` are row ids, each once, at most SELF_DEVICES_MAX; T is now. */
struct self_measure *self_measure_new(struct call *c, const struct rollout_live *live, const int64_t *devices, size_t count);
/* Hands it to a job, if that has not been done (`at_once`: does it here). *done: NULL as long as it is under way. ERR_*: the log could not be
 * read; the measuring is over, and worth nothing. */
AVIARY_MUST_CHECK enum err self_measure_step(struct call *c, struct self_measure *m, bool at_once, const struct self_job **done);
void self_measure_free(struct self_measure *m); /* at any time; NULL is allowed */

/* ---- rollout_plan.c ---- */
/* What the log has of the `asked` devices of the target: there may be fewer windows than wanted, and devices without any. */
AVIARY_MUST_CHECK enum err rollout_plan_past(struct call *c, struct rollout_plan *p, const struct self_job *past, size_t asked);

#endif
