/* What boots, the trial run of a new release, its confirmation, and the way back. */
#ifndef AVIARY_AGENT_TRIAL_H
#define AVIARY_AGENT_TRIAL_H

#include "agent/agent.h"

enum agent_self_test { AGENT_SELF_TEST_NONE, AGENT_SELF_TEST_RUNNING, AGENT_SELF_TEST_PASSED, AGENT_SELF_TEST_FAILED };

int agent_trial_target(const struct agent *a); /* the slot that an update goes to: the one that is not active */
bool agent_trial_boot(struct agent *a);        /* false: no memory */
void agent_trial_begin(struct agent *a);       /* from AGENT_INSTALLING: everything is stored and verified */
void agent_trial_poll(struct agent *a);        /* in AGENT_TRIAL */

#endif
