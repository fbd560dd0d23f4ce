/* What openapi.json says of the replies under /api/v1/rollouts. The services write these documents by hand (rollout_view.c,
 * rollout_plan.c, rollout_judge.c); tests/e2e/test_openapi.py holds the two together. */
#ifndef AVIARY_API_ROLLOUT_REPLIES_H
#define AVIARY_API_ROLLOUT_REPLIES_H

#include "base/json.h"

extern const struct field rollout_reply_fields[];
extern const struct field stage_reply_fields[];
extern const struct field deployment_reply_fields[];
extern const struct field look_reply_fields[];
extern const struct field block_reply_fields[];
extern const struct field happening_reply_fields[];
extern const struct field compat_row_fields[]; /* also of releases */
extern const struct field plan_reply_fields[]; /* of dryRun */

#endif
