/* The member `offload` of a desired document: which inferences of a model may go to an operator's endpoint. Inside the library; what hosts
 * call is in agent.h. Sends nothing: that is the host's. */
#ifndef AVIARY_AGENT_OFFLOAD_H
#define AVIARY_AGENT_OFFLOAD_H

#include "agent/agent.h"
#include "agent/json.h"

/* Takes over what a document says; text NULL: nothing is offloaded any more. What it says of models that find no place in
 * agent_config.offloads is passed over. */
void agent_offload_take(struct agent *a, struct agent_slice offload);
/* The report that holds these figures was sent. */
void agent_offload_told(struct agent_offload *o);

#endif
