/* The table of ports: disk, clock, crypto, transport and hooks of a struct host. */
#ifndef AVIARY_AGENT_PROGRAM_PORTS_H
#define AVIARY_AGENT_PROGRAM_PORTS_H

#include "agent/agent.h"
#include "host.h"

extern const struct agent_ports host_ports;

enum { EXIT_REBOOT = 10 }; /* the service manager restarts the program into the other release */

void host_kick(struct host *h); /* agent_poll soon, from the loop */
/* Ends what runs on behalf of the agent: transfer and self-test. */
void host_drop_work(struct host *h);

#endif
