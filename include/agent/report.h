/* Reports to the server: numbered (boot, seq), repeated with the same bytes until acknowledged. */
#ifndef AVIARY_AGENT_REPORT_H
#define AVIARY_AGENT_REPORT_H

#include "agent/agent.h"

void agent_report_soon(struct agent *a);                  /* something final or new happened: with the next poll */
void agent_report_later(struct agent *a, int64_t pause_ms); /* progress: not before pause_ms after the last report */
void agent_report_acknowledge(struct agent *a, const char *boot, int64_t seq);
void agent_report_poll(struct agent *a);
int64_t agent_report_deadline_ms(const struct agent *a);
unsigned agent_report_progress(const struct agent *a); /* 0..100 of the deployment's bytes */

#endif
