/* Carrying out one deployment up to the switch: check, prepare the inactive slot, copy or download, verify.
 *
 * Every destructive step on the inactive slot is announced in the state record first, so a cut leaves the record
 * telling less than is stored, never more. The slot in use is only read.
 */
#ifndef AVIARY_AGENT_DEPLOYMENT_H
#define AVIARY_AGENT_DEPLOYMENT_H

#include "agent/agent.h"
#include "agent/json.h"

/* A new desired document; `text` is overwritten (the manifest is decoded in place), `room` is scratch. */
void agent_deployment_take(struct agent *a, struct agent_slice text, struct agent_release *room);
void agent_deployment_work(struct agent *a); /* one slice of what the state wants; sets work_at_ms */
bool agent_deployment_is_late(const struct agent *a);
int64_t agent_deployment_deadline_ms(const struct agent *a); /* INT64_MAX: none */
/* Ends it before any switch; the reason may be NULL. Final states only. */
void agent_deployment_finish(struct agent *a, enum agent_deployment state, const char *reason);

/* From the request. answer: the first byte that comes; false: stop. data: false: stop. */
bool agent_deployment_answer(struct agent *a, uint64_t first_byte);
bool agent_deployment_data(struct agent *a, const void *data, size_t len);
void agent_deployment_end_of_data(struct agent *a, bool complete);

#endif
