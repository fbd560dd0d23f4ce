/* Commands of the server (docs/protocol.md, "/command"): carried out one after the other, answered, and answered again when they come again.
 *
 * The last AGENT_COMMANDS numbers and their answers are in memory only: after a restart a command may be carried out a second time, which
 * every kind must bear.
 */
#ifndef AVIARY_AGENT_COMMAND_H
#define AVIARY_AGENT_COMMAND_H

#include "agent/agent.h"

void agent_command_poll(struct agent *a);
int64_t agent_command_deadline_ms(const struct agent *a);

#endif
