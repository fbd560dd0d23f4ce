#include "core/score.h"

#include <math.h>

bool score_is_count(enum metric_kind kind) {
	return kind == METRIC_EVENT || kind == METRIC_SILENCE;
}

static bool is_possible(enum metric_kind kind, const struct metric_point *p) {
	if (p->reports < 0 || p->n < 0)
		return false;
	if (p->reports == 0)
		return true; /* no data: the value is not read */
	if (!isfinite(p->value))
		return false;
	if (kind == METRIC_RATIO || kind == METRIC_SILENCE)
		return p->value >= 0 && p->value <= 1;
	return kind != METRIC_EVENT || p->value >= 0;
}

bool score_is_valid(enum metric_kind kind, const struct metric_point *baseline, const struct metric_point *window) {
	return is_possible(kind, baseline) && is_possible(kind, window);
}

bool score_of(const struct score_spec *spec, const struct metric_point *baseline, const struct metric_point *window,
	double *y) {
	if (window->reports == 0)
		return false;
	if (score_is_count(spec->kind)) {
		*y = fmin(floor(window->value), SCORE_EVENTS_MAX);
		return true;
	}
	if (baseline->reports == 0)
		return false;
	double before = baseline->value, after = window->value;
	if (spec->kind == METRIC_LOGMEAN || spec->kind == METRIC_QUANTILE) {
		if (!(before > 0 && after > 0))
			return false;
		before = log(before);
		after = log(after);
	}
	*y = spec->worse_down ? before - after : after - before;
	return true;
}
