/* What simulated devices say that they can do: by class of hardware, as such boards would. */
#ifndef AVIARY_SIM_CAPABILITIES_H
#define AVIARY_SIM_CAPABILITIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

/* Members for a report, without braces. `over`: what --capabilities says, by class ("*": of every class that is not named), NULL: nothing; its
 * members replace ours, null takes one away. free() it. NULL: longer than a report has room for. */
char *capabilities_of(const char *hardware, const struct json *over);

#endif
