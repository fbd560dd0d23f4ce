/* Sizes as the target's compiler sees them, read with nm by measure.py; nothing of it is ever linked. */
#include "agent/agent.h"

extern char size_of_agent[sizeof(struct agent)], size_of_memory[AGENT_MEMORY_BYTES];
char size_of_agent[sizeof(struct agent)], size_of_memory[AGENT_MEMORY_BYTES];
