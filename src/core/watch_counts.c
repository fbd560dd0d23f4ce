/* What is counted rather than measured: errors, boots, classes, and outputs that do not differ. */
#include <math.h>

#include "core/watch_inside.h"

#define RATE_MEMORY 0.9995f    /* of the errors' rate */
#define PRIOR_ERRORS 0.5f      /* gamma prior: one error in a hundred, weak */
#define PRIOR_EXPOSURE 50.0f
#define RECENT 0.8f            /* memory of five reports */
#define LN_3 1.0986123f
#define CLASS_SHORT 0.12f
#define CLASS_LONG 0.001f
#define CLASS_FLOOR 1e-3f      /* least share of a class that the past is believed to have */
#define CLASS_SETTLED 24u
#define CLASS_USUAL_MIN 1e-4f
#define SD_SHORT 0.25f
#define SD_LONG 0.001f
#define SD_RATIO_MIN 1e-3f
#define OUTPUT_STEPS 1e5f      /* confidences that differ by less are the same */
#define COUNT_MAX 1e6f

/* Rate by its gamma posterior; a burst against it, and a CUSUM for three times the rate. */
void watch_count_errors(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	if (!r->has_counts)
		return;
	if (!(r->errors >= 0 && r->errors <= COUNT_MAX && r->inferences >= 0 && r->inferences <= COUNT_MAX)) {
		out->refused |= WATCH_REFUSED_COUNTS;
		watch_saturate(&w->refused_values);
		return;
	}
	float exposure = r->inferences > 0 ? r->inferences : 1;
	float mu = (w->errors + PRIOR_ERRORS) / (w->exposure + PRIOR_EXPOSURE) * exposure;
	bool is_warm = w->counts_seen >= WATCH_WARM_REPORTS, is_high = w->errors_cusum > WATCH_SLOW_ABOVE;
	w->errors_now = RECENT * w->errors_now + r->errors;
	w->expected_now = RECENT * w->expected_now + mu;
	float now = w->errors_now, expected = w->expected_now;
	if (is_warm) {
		w->errors_cusum = fminf(fmaxf(w->errors_cusum + r->errors * LN_3 - 2 * mu, 0), WATCH_CUSUM_CAP);
		out->statistic[WATCH_ERRORS_BURST] = now > expected ? now * logf(now / expected) - now + expected : 0;
		out->statistic[WATCH_ERRORS_CUSUM] = w->errors_cusum;
	}
	float believed = is_warm ? fminf(r->errors, mu + 4 * sqrtf(mu) + 1) : r->errors;
	float rate = is_high ? WATCH_SLOW : 1, memory = 1 - (1 - RATE_MEMORY) * rate;
	w->errors = memory * w->errors + rate * believed;
	w->exposure = memory * w->exposure + rate * exposure;
	watch_saturate(&w->counts_seen);
}

void watch_count_boots(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	unsigned in_hour = r->boots < WATCH_BOOTS_LOOP ? r->boots : WATCH_BOOTS_LOOP;
	for (int i = 0; i < 2; i++)
		in_hour += w->boot_at[i] != 0 && r->at_s - w->boot_at[i] < WATCH_BOOTS_WINDOW_S;
	for (unsigned i = 0; i < 2 && i < r->boots; i++) {
		w->boot_at[1] = w->boot_at[0];
		w->boot_at[0] = r->at_s;
	}
	out->boots_in_hour = (uint8_t)(in_hour < WATCH_BOOTS_LOOP ? in_hour : WATCH_BOOTS_LOOP);
}

/* Shares of 16 bits take small steps only now and then: rounds by a fraction that runs evenly through [0, 1). */
static uint16_t share_toward(uint16_t share, float target, float rate, unsigned seen)
{
	float dither = (float)((seen * 40503u) & 0xffffu) * 0x1p-16f;
	float v = (float)share + rate * (target * 65535 - (float)share) + dither;
	return (uint16_t)(v < 65535 ? v : 65535);
}

static bool classes_sum(const struct watch_report *r, float *sum)
{
	*sum = 0;
	if (r->class_count > WATCH_CLASS_KEPT)
		return false;
	for (unsigned i = 0; i < r->class_count; i++) {
		if (!(r->class_counts[i] >= 0 && r->class_counts[i] <= COUNT_MAX))
			return false;
		*sum += r->class_counts[i];
	}
	return true;
}

/* Kullback-Leibler distance of the short histogram from the long one, over its own mean. */
void watch_count_classes(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	float sum, distance = 0;
	if (r->class_count == 0)
		return;
	if (!classes_sum(r, &sum)) {
		out->refused |= WATCH_REFUSED_CLASSES;
		watch_saturate(&w->refused_values);
		return;
	}
	if (!(sum > 0))
		return;
	unsigned n = w->classes_seen;
	for (unsigned i = 0; i < WATCH_CLASS_KEPT; i++) {
		float target = i < r->class_count ? r->class_counts[i] / sum : 0;
		w->class_short[i] = share_toward(w->class_short[i], target, watch_rate(n, CLASS_SHORT), n);
		float p = (float)w->class_short[i] / 65535, q = (float)w->class_long[i] / 65535;
		if (n >= CLASS_SETTLED && p > 0)
			distance += p * logf(p / (q > CLASS_FLOOR ? q : CLASS_FLOOR)) - p + (q > CLASS_FLOOR ? q : CLASS_FLOOR);
		else if (n >= CLASS_SETTLED)
			distance += q;
	}
	float usual = fmaxf(w->class_usual, CLASS_USUAL_MIN), ratio = distance / usual;
	float rate = n >= WATCH_WARM_REPORTS && ratio > WATCH_SLOW_ABOVE ? WATCH_SLOW : 1;
	for (unsigned i = 0; i < WATCH_CLASS_KEPT; i++) {
		float target = i < r->class_count ? r->class_counts[i] / sum : 0;
		w->class_long[i] = share_toward(w->class_long[i], target, rate * watch_rate(n, CLASS_LONG), n);
	}
	if (n >= CLASS_SETTLED) {
		float believed = n < WATCH_WARM_REPORTS ? distance : fminf(distance, 4 * usual);
		w->class_usual += rate * watch_rate((n - CLASS_SETTLED) / 2, CLASS_LONG) * (believed - w->class_usual);
	}
	if (n >= WATCH_WARM_REPORTS)
		out->statistic[WATCH_CLASSES] = ratio;
	watch_saturate(&w->classes_seen);
}

static void count_identical(struct watch *w, const struct watch_report *r)
{
	float confidence = r->value[WATCH_CONFIDENCE];
	if (!r->has[WATCH_CONFIDENCE] || !(confidence >= 0 && confidence <= 1))
		return;
	uint32_t output = 1 + (uint32_t)(confidence * OUTPUT_STEPS + 0.5f);
	w->identical = (uint8_t)(output != w->output ? 1 : w->identical + (w->identical < UINT8_MAX));
	w->output = output;
}

/* Outputs of a model that is stuck do not differ, neither within a report nor from report to report. */
void watch_count_outputs(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	count_identical(w, r);
	/* a confidence that always was the same says nothing */
	if (w->series[WATCH_CONFIDENCE].spread > watch_facts[WATCH_CONFIDENCE].resolution)
		out->identical = w->identical;
	float sd = r->confidence_sd;
	if (!(sd >= 0 && sd <= 1))
		return;
	unsigned n = w->sd_seen;
	w->sd_short += watch_rate(n, SD_SHORT) * (sd - w->sd_short);
	if (n >= WATCH_WARM_REPORTS && w->sd_usual > 0)
		out->statistic[WATCH_DISPERSION] = fmaxf(logf(w->sd_usual / fmaxf(w->sd_short, SD_RATIO_MIN * w->sd_usual)), 0);
	float rate = n >= WATCH_WARM_REPORTS && w->sd_short < w->sd_usual / 2 ? WATCH_SLOW : 1;
	w->sd_usual += rate * watch_rate(n, SD_LONG) * (sd - w->sd_usual);
	watch_saturate(&w->sd_seen);
}
