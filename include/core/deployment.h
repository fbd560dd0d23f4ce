/* The states of a deployment (one device's part in a rollout) and the moves between them: one table, one function that
 * moves. */
#ifndef AVIARY_CORE_DEPLOYMENT_H
#define AVIARY_CORE_DEPLOYMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/report.h"

/* X(NAME, text, class) */
#define DEPLOYMENT_STATUS_TABLE(X)                                                                                     \
	X(WAITING, "waiting", DEPLOYMENT_NOT_BEGUN)       /* planned, the device has not been told */                  \
	X(OFFERED, "offered", DEPLOYMENT_ACTIVE)          /* in the desired document */                                \
	X(DOWNLOADING, "downloading", DEPLOYMENT_ACTIVE)                                                               \
	X(INSTALLING, "installing", DEPLOYMENT_ACTIVE)                                                                 \
	X(TRIAL, "trial", DEPLOYMENT_ACTIVE)              /* the new release runs, not confirmed */                    \
	X(SUCCEEDED, "succeeded", DEPLOYMENT_DONE)        /* confirmed */                                              \
	X(FAILED, "failed", DEPLOYMENT_DONE)              /* refused or fell back: the old release runs */             \
	X(TIMED_OUT, "timed_out", DEPLOYMENT_DONE)        /* nothing final heard: what runs is not known */            \
	X(CANCELLED, "cancelled", DEPLOYMENT_DONE)                                                                     \
	X(REVERTING, "reverting", DEPLOYMENT_ACTIVE)      /* the previous release is desired again */                  \
	X(REVERTED, "reverted", DEPLOYMENT_DONE)                                                                       \
	X(REVERT_FAILED, "revert_failed", DEPLOYMENT_DONE) /* in time; a late success still counts */ \
	X(NOT_REVERTIBLE, "not_revertible", DEPLOYMENT_DONE) /* no earlier release is known: an alert */

enum deployment_class { DEPLOYMENT_NOT_BEGUN, DEPLOYMENT_ACTIVE, DEPLOYMENT_DONE };

enum deployment_status {
#define X(name, text, class) DEPLOYMENT_##name,
	DEPLOYMENT_STATUS_TABLE(X)
#undef X
	    DEPLOYMENT_STATUS_COUNT
};

/* What a deployment does to its device. X(NAME, text) */
#define DEPLOYMENT_KIND_TABLE(X)                                                                                       \
	X(INSTALL, "install") /* the release of the rollout, from now on */                                            \
	X(SHADOW, "shadow")   /* that release beside the device's own, without acting on it, while the stage is open */ \
	X(SHAM, "sham")       /* a control installs what it runs: it has no part in counts and success */

enum deployment_kind {
#define X(name, text) DEPLOYMENT_##name,
	DEPLOYMENT_KIND_TABLE(X)
#undef X
	    DEPLOYMENT_KIND_COUNT
};
const char *deployment_kind_text(enum deployment_kind k);
bool deployment_kind_parse(const char *text, enum deployment_kind *out);

const char *deployment_status_text(enum deployment_status s);
bool deployment_status_parse(const char *text, enum deployment_status *out);
enum deployment_class deployment_status_class(enum deployment_status s);

bool deployment_can_move(enum deployment_status from, enum deployment_status to);
/* Moves, asserting that the table allows it: check deployment_can_move first where the cause is input. */
void deployment_move(enum deployment_status *status, enum deployment_status to);

/* What a device's own word means for its deployment: true and *to when it moves, false when it changes nothing
 * (repeated, late, or not allowed from here). For a reverting deployment `succeeded` means reverted and `failed` or
 * `rejected` revert_failed. */
bool deployment_on_report(enum deployment_status from, enum report_state said, enum deployment_status *to);
/* The same of a shadow: one that succeeded runs, and may fail later. */
bool deployment_on_shadow_report(enum deployment_status from, enum report_state said, enum deployment_status *to);

/* What a revert does to a deployment: waiting is cancelled; what may run the new release goes back (reverting), or is
 * not_revertible when has_previous is false; what certainly runs the old one (failed, cancelled, reverted) stays. True
 * when it moves. */
bool deployment_on_revert(enum deployment_status from, bool has_previous, enum deployment_status *to);

#endif
