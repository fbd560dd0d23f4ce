/* The parts of aviaryctl model that are not requests. */
#ifndef AVIARYCTL_MODEL_H
#define AVIARYCTL_MODEL_H

#include "command.h"

enum result model_inspect(struct ctl *c);

#endif
