/* A device without a network: storage in RAM, and a server that is an array. It is the smallest host of the agent core, the thing to
 * start a port from: replace one port after the other by what the device has. Used by the Cortex-M firmware and the Zephyr sample. */
#ifndef AVIARY_PORTS_DEMO_H
#define AVIARY_PORTS_DEMO_H

#include <stdbool.h>

/* Refuses a forged release, installs a signed one, confirms it, and starts again into it. `say` gets lines without their end.
 * False when anything of it went otherwise. */
bool demo_run(void (*say)(const char *line));

#endif
