#include "core/budget.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

_Static_assert(sizeof(struct budget) <= 21000, "a cohort's state");

#define DAY_MEMORY 0.9f
#define AIM 0.5f               /* of the budget: the rest is for what the histogram does not know */
#define TAIL_SHARE_MAX 0.03f
#define TAIL_SHARE_MIN 0.005f
#define TAIL_DAYS 250.0f       /* device-days that a tail is fitted to, at least */
#define EMPIRICAL_COUNT 10.0f  /* device-days beyond a threshold that need no fit */
#define XI_MIN (-0.3f)
#define XI_MAX 0.5f
#define BODY 0.9f              /* quantile that compares a small cohort with its parent */
#define SCALE_MAX 3.0f
#define CAP_SHARE 0.9f         /* of a statistic's own cap: a threshold must be within its reach */
#define COMMON_SLOT_S 900u
#define COMMON_MIN 30u         /* reports in a slot */
#define COMMON_CLIP 8.0f

/* Thresholds and 90 % quantiles of the fleet of tests/bench/detect_fleet.h at B = 1e-3 (make bench-detect prints them),
 * and what no cohort goes below. */
static const struct {
	float threshold, body, least, cap;
} shipped[WATCH_STATISTICS] = {
#define SPIKE(metric, threshold, body) [WATCH_SPIKE(WATCH_##metric)] = {threshold, body, 4, 127}
#define CUSUM(metric, threshold, body) [WATCH_CUSUM(WATCH_##metric)] = {threshold, body, 8, WATCH_CUSUM_CAP}
	SPIKE(LATENCY, 33, 4.4f), SPIKE(ENERGY, 31, 3.9f), SPIKE(TEMPERATURE, 17, 2.9f), SPIKE(BATTERY, 8, 2.4f),
	SPIKE(RSSI, 19, 3.4f), SPIKE(MEMORY, 33, 3.8f), SPIKE(CONFIDENCE, 18, 3.7f), SPIKE(ACCURACY, 4, 2.3f),
	CUSUM(LATENCY, 53, 14), CUSUM(ENERGY, 26, 11), CUSUM(TEMPERATURE, 200, 26), CUSUM(BATTERY, 36, 4.6f),
	CUSUM(RSSI, 155, 39), CUSUM(MEMORY, 85, 23), CUSUM(CONFIDENCE, 23, 9.2f), CUSUM(ACCURACY, 50, 5.9f),
#undef SPIKE
#undef CUSUM
	[WATCH_ERRORS_BURST] = {12, 3.3f, 6, 3500}, [WATCH_ERRORS_CUSUM] = {17, 5.9f, 6, WATCH_CUSUM_CAP},
	[WATCH_CLASSES] = {47, 3.6f, 4, 3500}, [WATCH_DISPERSION] = {0.5f, 0.16f, 0.5f, 6.9f},
};

const char *budget_source_name(enum budget_source s)
{
	static const char *const names[] = {"shipped", "parent", "scaled", "tail", "empirical"};
	assert((unsigned)s <= BUDGET_EMPIRICAL);
	return names[s];
}

float budget_shipped(enum watch_statistic s)
{
	assert((unsigned)s < WATCH_STATISTICS);
	return shipped[s].threshold;
}

float budget_device_days(const struct budget *b, enum watch_statistic s)
{
	float sum = 0;
	for (int i = 0; i < LOGBINS; i++)
		sum += b->bins[s][i];
	return sum;
}

void budget_add_day(struct budget *b, const float maxima[WATCH_STATISTICS], bool is_firing)
{
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		float v = maxima[s];
		if (isnan(v))
			continue;
		if (!is_firing)
			b->bins[s][logbin_of(v)] += 1;
		else if (b->threshold[s] > 0 && v > b->threshold[s])
			b->firing[s] += 1;
	}
}

/* ---- quantiles ---- */

/* The value that a share `above` of the device-days exceeds, evenly within a bin. */
static float quantile_above(const float *bins, float total, float above)
{
	float left = above * total;
	for (int i = LOGBINS - 1; i > 0; i--) {
		if (bins[i] > 0 && bins[i] >= left)
			return logbin_low((unsigned)i + 1) - left / bins[i] * (logbin_low((unsigned)i + 1) - logbin_low((unsigned)i));
		left -= bins[i];
	}
	return 0;
}

/* Exceedances of u: their number, mean, and mean times the share above (probability-weighted moments; Hosking and
 * Wallis 1987). */
struct tail {
	float count, a0, a1;
};

static struct tail tail_of(const float *bins, unsigned first)
{
	struct tail t = {0, 0, 0};
	float u = logbin_low(first);
	for (unsigned i = LOGBINS - 1; i >= first; i--) { /* t.count: above this bin */
		float y = logbin_middle(i) - u, width = logbin_low(i + 1) - logbin_low(i);
		t.a0 += bins[i] * y;
		t.a1 += bins[i] * (y * (t.count + bins[i] / 2) - width * bins[i] / 12); /* evenly within a bin */
		t.count += bins[i];
	}
	if (t.count > 0) {
		t.a0 /= t.count;
		t.a1 /= t.count * t.count;
	}
	return t;
}

static float tail_quantile(const float *bins, float total, float above)
{
	float share = fminf(fmaxf(TAIL_DAYS / total, TAIL_SHARE_MIN), TAIL_SHARE_MAX), count = 0;
	unsigned first = LOGBINS;
	while (first > 1 && count < share * total)
		count += bins[--first];
	struct tail t = tail_of(bins, first);
	float u = logbin_low(first), gap = t.a0 - 2 * t.a1, xi, scale;
	if (!(t.count > 0) || first == 1)
		return 0;
	xi = gap > 0 ? 2 - t.a0 / gap : XI_MAX;
	xi = fminf(fmaxf(xi, XI_MIN), XI_MAX);
	scale = t.a0 * (1 - xi);
	float reach = t.count / total / above; /* > 1: how far beyond u */
	if (!(reach > 1))
		return u;
	return u + scale * (fabsf(xi) < 1e-3f ? logf(reach) : (powf(reach, xi) - 1) / xi);
}

/* ---- thresholds ---- */

static float body_of(const struct budget *b, int s, float total)
{
	return quantile_above(b->bins[s], total, 1 - BODY);
}

static float from_parent(const struct budget *b, const struct budget *parent, int s, float total, uint8_t *source)
{
	bool has_parent = parent != NULL && parent->threshold[s] > 0;
	float theirs = has_parent ? parent->threshold[s] : shipped[s].threshold, body = shipped[s].body;
	*source = has_parent ? BUDGET_PARENT : BUDGET_SHIPPED;
	if (has_parent)
		body = body_of(parent, s, budget_device_days(parent, (enum watch_statistic)s));
	if (total < BUDGET_SOME_DAYS || !(body > 0))
		return theirs;
	float scale = body_of(b, s, total) / body;
	*source = BUDGET_SCALED;
	return theirs * fminf(fmaxf(scale, 1 / SCALE_MAX), SCALE_MAX);
}

/* Firing device-days count as at the threshold, but no more of them than a calibrated threshold lets through: these
 * may be false alarms, and leaving them out would cut the tail off a little more every day; the others are faults. */
static void settle_firing(struct budget *b, int s, float above)
{
	float expected = above * budget_device_days(b, (enum watch_statistic)s) - b->settled[s];
	float count = fmaxf(fminf(b->firing[s], expected), 0);
	b->bins[s][logbin_of(b->threshold[s])] += count;
	b->settled[s] = (b->settled[s] + count) * DAY_MEMORY;
	b->firing[s] = 0;
}

static float calibrate(const struct budget *b, const struct budget *parent, int s, float above, uint8_t *source)
{
	float total = budget_device_days(b, (enum watch_statistic)s), t;
	if (total < BUDGET_OWN_DAYS) {
		t = from_parent(b, parent, s, total, source);
	} else if (total * above >= EMPIRICAL_COUNT) {
		t = quantile_above(b->bins[s], total, above);
		*source = BUDGET_EMPIRICAL;
	} else {
		t = tail_quantile(b->bins[s], total, above);
		*source = BUDGET_TAIL;
	}
	return fminf(fmaxf(t, shipped[s].least), CAP_SHARE * shipped[s].cap);
}

void budget_roll(struct budget *b, const struct budget *parent, uint32_t day, float per_device_day)
{
	assert(per_device_day > 0 && per_device_day <= 1);
	float known = 0;
	if (day <= b->day && b->day != 0)
		return;
	b->day = day;
	for (int s = 0; s < WATCH_STATISTICS; s++)
		known += budget_device_days(b, (enum watch_statistic)s) > 0;
	if (known == 0)
		return;
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		float above = AIM * per_device_day / known;
		settle_firing(b, s, above);
		b->threshold[s] = calibrate(b, parent, s, above, &b->source[s]);
		for (int i = 0; i < LOGBINS; i++)
			b->bins[s][i] *= DAY_MEMORY;
	}
}

float budget_threshold(const struct budget *b, const struct budget *parent, enum watch_statistic s)
{
	assert((unsigned)s < WATCH_STATISTICS);
	if (b->threshold[s] > 0)
		return b->threshold[s];
	return parent != NULL && parent->threshold[s] > 0 ? parent->threshold[s] : shipped[s].threshold;
}

/* ---- common mode ---- */

void budget_add_report(struct budget *b, uint32_t at_s, const float z[WATCH_METRICS])
{
	uint32_t slot = at_s / COMMON_SLOT_S;
	if (slot > b->common_slot) {
		bool is_next = slot == b->common_slot + 1;
		for (int m = 0; m < WATCH_METRICS; m++) {
			bool is_known = is_next && b->common_count[m] >= COMMON_MIN;
			b->common[m] = is_known ? b->common_sum[m] / (float)b->common_count[m] : 0;
			b->common_sum[m] = 0;
			b->common_count[m] = 0;
		}
		b->common_slot = slot;
	}
	for (int m = 0; m < WATCH_METRICS; m++) {
		if (!watch_has_common_mode(m) || isnan(z[m]))
			continue;
		b->common_sum[m] += fminf(fmaxf(z[m] + b->common[m], -COMMON_CLIP), COMMON_CLIP);
		b->common_count[m]++;
	}
}

void budget_peers(const struct budget *b, const struct budget *parent, struct watch_peers *out)
{
	for (int m = 0; m < WATCH_METRICS; m++) {
		out->common[m] = b->common[m];
		out->slow_above[m] = budget_threshold(b, parent, WATCH_CUSUM(m)) / 2;
	}
}
