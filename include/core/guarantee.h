/* What the judge's numbers are worth, said aloud: the plan and every verdict carry one of these. Never a silent
 * downgrade. */
#ifndef AVIARY_CORE_GUARANTEE_H
#define AVIARY_CORE_GUARANTEE_H

#include <stdbool.h>

/* X(name, wire text, sentence); the first that applies, from the bottom up, is the one told */
#define GUARANTEE_TABLE(X)                                                                                             \
	X(EXACT, "exact",                                                                                                  \
	  "The canary was drawn at random with a committed seed: a harmless rollout is reverted with at most the "         \
	  "probability alpha. Only canaries installed anything, so an effect of installing as such counts as harm.")       \
	X(SHAM, "exact (sham installs)",                                                                                   \
	  "The canary was drawn at random with a committed seed and controls re-installed their version: a harmless "      \
	  "rollout is reverted with at most the probability alpha.")                                                       \
	X(HOLD, "exact until a hold",                                                                                      \
	  "The canary was drawn at random with a committed seed, but a suspicion also stops canaries that were drawn and " \
	  "have not begun: a harmless rollout is reverted without having been held before with at most the probability "   \
	  "alpha; after a hold that bound is not proved.")                                                                 \
	X(INTERFERENCE, "conditional on no interference",                                                                  \
	  "Canaries and controls share gateways or sites and no unit key was given: what one does may reach the other.")   \
	X(SHADOW, "conditional on exchangeable pairs",                                                                     \
	  "Both versions saw the same inputs on the same device; the bound holds if equal versions could be swapped.")     \
	X(STATIONARITY, "conditional on stationarity",                                                                     \
	  "There are no control devices: each canary is compared with its own past, and a change of the world counts "     \
	  "as harm.")                                                                                                      \
	X(NAMED, "none (non-random cohort)",                                                                               \
	  "The canaries were named by hand, not drawn: differences between devices may look like harm of the version.")    \
	X(NO_CONTROL, "none (no control)", "There is nothing to compare with: only the hard stop and thresholds act.")

enum guarantee {
#define X(name, wire, text) GUARANTEE_##name,
	GUARANTEE_TABLE(X)
#undef X
	    GUARANTEE_COUNT
};

const char *guarantee_name(enum guarantee g); /* wire text */
const char *guarantee_text(enum guarantee g); /* a sentence */
bool guarantee_is_exact(enum guarantee g);    /* EXACT and SHAM */

#endif
