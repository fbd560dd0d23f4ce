/* Help for people, from the tables. */
#ifndef AVIARYCTL_HELP_H
#define AVIARYCTL_HELP_H

#include <stdio.h>

#include "command.h"

void help_overview(FILE *out);
void help_print(const struct ctl *c); /* of the group and command that were named */

#endif
