/* A release that runs beside the one in use: from the other slot, acting on nothing.
 *
 * It comes into the slot as any deployment does (deployment.h), but sealed for a shadow, so that nothing ever boots it. No
 * policy about what it measures: that is the host's.
 */
#ifndef AVIARY_AGENT_SHADOW_H
#define AVIARY_AGENT_SHADOW_H

#include "agent/agent.h"

bool agent_shadow_is_possible(const struct agent *a); /* the host gives the ports */
void agent_shadow_boot(struct agent *a);              /* one that ran before the restart goes on, from the next poll on */
void agent_shadow_begin(struct agent *a);             /* from AGENT_INSTALLING: everything is stored and verified */
/* The document does not have it any more: it ends, if it runs, and is over. */
void agent_shadow_let_go(struct agent *a);
int64_t agent_shadow_poll(struct agent *a); /* in AGENT_IDLE; returns when it wants to be called again */

#endif
