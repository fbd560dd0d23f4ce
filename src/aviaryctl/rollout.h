/* The parts of aviaryctl rollout that are more than one request. */
#ifndef AVIARYCTL_ROLLOUT_H
#define AVIARYCTL_ROLLOUT_H

#include <stdio.h>

#include "command.h"

enum result rollout_watch(struct ctl *c);
enum result rollout_explain(struct ctl *c);

struct reply;
/* Follows the rollout to its end: RESULT_UNDONE when it is reverted or stopped, RESULT_TIMEOUT when --timeout passes
 * first. */
enum result rollout_follow(struct ctl *c, const char *id);
void plan_print(const struct ctl *c, const struct json *plan);

#endif
