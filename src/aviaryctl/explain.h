/* Which variant a device gets and why, and what the fleet says about the variants of a version. */
#ifndef AVIARYCTL_EXPLAIN_H
#define AVIARYCTL_EXPLAIN_H

#include "command.h"

enum result device_explain(struct ctl *c);
enum result device_override(struct ctl *c);
enum result device_end_override(struct ctl *c);
enum result version_report(struct ctl *c);

#endif
