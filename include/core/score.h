/* From two windows of one device to one number: how much worse it has become (harm-positive).
 *
 * ratio and mean: window less baseline, or the reverse where up is good; logmean and quantile: ln(window/baseline),
 * likewise; events: min(count, 3); silence: 0 or 1. The device's own baseline takes out what it brings along
 * (difference in differences).
 */
#ifndef AVIARY_CORE_SCORE_H
#define AVIARY_CORE_SCORE_H

#include <stdbool.h>

#include "core/accum.h"

#define SCORE_EVENTS_MAX 3

struct score_spec {
	enum metric_kind kind;
	bool worse_down; /* a smaller value is harm */
};

/* Kinds whose score is the count itself: no baseline, no standardisation, no margin. */
bool score_is_count(enum metric_kind kind);
/* Whether the points are possible values of the kind: finite, counts not negative, ratios within 0..1. */
bool score_is_valid(enum metric_kind kind, const struct metric_point *baseline, const struct metric_point *window);
/* False where there is no data (no reports, no baseline, or a logarithm of something not positive). Points must be
 * valid. */
bool score_of(const struct score_spec *spec, const struct metric_point *baseline, const struct metric_point *window,
	double *y);

#endif
