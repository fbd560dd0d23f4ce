/* The one HTTP request that an agent has at a time: the desired document, or bytes of an artifact. */
#ifndef AVIARY_AGENT_REQUEST_H
#define AVIARY_AGENT_REQUEST_H

#include "agent/agent.h"

enum agent_request { AGENT_REQUEST_NONE, AGENT_REQUEST_DOCUMENT, AGENT_REQUEST_ARTIFACT };

void agent_request_poll(struct agent *a); /* gives up a silent one, starts what is wanted */
void agent_request_drop(struct agent *a); /* cancels it, if any */
/* The next request waits: longer with each failure in a row. */
void agent_request_failed(struct agent *a, const char *why);
int64_t agent_request_deadline_ms(const struct agent *a);

#endif
