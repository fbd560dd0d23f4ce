/* Assignments: hawkBit's way to give a distribution set to devices, as rollouts of ours. One stage, everyone at once, no gates, no hard stop,
 * nothing is taken back by itself; a device that is busy is cancelled there and taken (delivery.supersede).
 */
#ifndef AVIARY_SERVICE_ASSIGNMENTS_H
#define AVIARY_SERVICE_ASSIGNMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "service/rollout_spec.h"
#include "store/module_store.h"

#define ASSIGNMENT_DEVICES_MAX 10000 /* of one request; they become the members of a group */

struct delivery_input {
	const char *type;     /* NULL: forced */
	int64_t forced_at, weight; /* weight < 0: the default */
	bool has_confirm, confirm;
	const char *schedule, *duration, *timezone; /* NULL: none */
};

/* Makes the request over exactly these devices (by id). Writes: a number for its name, and a static group where they are too many for a filter. */
AVIARY_MUST_CHECK enum err assignments_request(struct call *c, const struct set_row *set, const char *const *devices, size_t count,
	const struct delivery_input *how, struct rollout_request *out);
/* The part of a request that says how devices are told; the default of confirm is a setting. */
void assignments_deliver(struct call *c, const struct delivery_input *how, struct rollout_request *out);

#endif
