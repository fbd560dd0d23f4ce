/* When the judge looks, and the ledger of alpha over waves and looks.
 *
 * Looks are scheduled on label-blind counts alone (reports of all block members), at N_k = 2(r+1) * 1.5^(k-1).
 * Every look brings its share of the wave's budget. What a look could not spend, because it was not executed or because
 * no draw of the canaries could have reached it with these data, is left to later ones: all of that is label-blind.
 */
#ifndef AVIARY_CORE_LOOKS_H
#define AVIARY_CORE_LOOKS_H

#include <stdint.h>

#define LOOKS_MAX 80

/* K: scheduled looks for `blocks` blocks whose devices send `reports_planned` reports each, at least 1. */
uint32_t looks_planned(uint32_t blocks, int64_t reports_planned);
/* N_k: reports of all members of blocks of r+1 at which look k (from 1) is due; saturates at INT64_MAX. */
int64_t looks_reports_at(uint32_t k, uint32_t controls);
/* The last look that is due with so many reports; 0 = none. */
uint32_t looks_due(int64_t reports, uint32_t controls);
/* v_k: 0.9/K for the scheduled looks, 0.1/(j(j+1)) for extension look K+j. Sums to 1 over all k. */
double looks_share(uint32_t k, uint32_t planned);
/* v_1 + ... + v_k: what may be spent up to and with look k. */
double looks_share_until(uint32_t k, uint32_t planned);
/* W_w: half for the first wave, the other half shared by the others; a single wave has all. wave from 1. */
double looks_wave_share(uint32_t wave, uint32_t waves);
/* Share of beta at the bake end after `extension` extensions of at most `extensions_max`: halves each time, sums to
 * 1. */
double looks_beta_share(uint32_t extension, uint32_t extensions_max);

#endif
