/* An operator's endpoint, and the inferences that a device may send there: both simulated, within the process. */
#ifndef AVIARY_SIM_ENDPOINT_H
#define AVIARY_SIM_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent.h"
#include "physics.h"

struct endpoint {
	double right;        /* share of right answers */
	double cost;         /* mean of one, in the operator's unit */
	uint32_t size_bytes; /* of what is sent */
};
#define ENDPOINT_STANDARD {.right = 0.97, .cost = 0.002, .size_bytes = 1960}
bool endpoint_parse(struct endpoint *e, const char *text); /* "0.97/0.002/1960"; the last two may be left out */

struct endpoint_tally {
	uint64_t sent, kept;
};
/* The inferences of one report: each is looked at by the agent; what it sends is answered. Nothing happens without a policy. */
void endpoint_infer(const struct endpoint *e, struct agent *a, struct rng *rng, const struct physics *p, const struct measurement *m, const char *model,
	struct endpoint_tally *tally);

#endif
