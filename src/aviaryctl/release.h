/* The parts of aviaryctl release that have files of their own. */
#ifndef AVIARYCTL_RELEASE_H
#define AVIARYCTL_RELEASE_H

#include "command.h"

enum result release_check(struct ctl *c);

#endif
