/* What is counted rather than measured: errors, boots, classes, and outputs that do not differ. */
#include <math.h>

#pragma GCC optimize("O3", "no-trapping-math") /* loops over classes become vector operations */

#include "core/watch_inside.h"

#define RATE_MEMORY 0.9995f    /* of the errors' rate */
#define PRIOR_ERRORS 0.5f      /* gamma prior: one error in a hundred, weak */
#define PRIOR_EXPOSURE 50.0f
#define RECENT 0.8f            /* memory of five reports */
#define LN_3 1.0986123f
#define CLASS_SHORT 0.12f
#define CLASS_LONG 0.001f
#define CLASS_FLOOR 1e-3f      /* least share of a class that is believed */
#define CLASS_SETTLED 24u
#define CLASS_USUAL_MIN 1e-4f
#define SD_SHORT 0.25f
#define SD_LONG 0.001f
#define SD_RATIO_MIN 1e-3f
#define OUTPUT_STEPS 65530.0f  /* confidences that differ by less are the same */
#define COUNT_MAX 1e6f

/* Rate by its gamma posterior; a burst against it, and a CUSUM for three times the rate. */
WATCH_WIDE void watch_count_errors(struct watch *w, const struct watch_report *r, struct watch_result *out)
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
	bool is_warm = w->counts_seen >= WATCH_WARM_REPORTS, is_high;
	float now = RECENT * watch_unpack(w->errors_now, WATCH_COUNT_LEAST) + r->errors;
	float expected = RECENT * watch_unpack(w->expected_now, WATCH_COUNT_LEAST) + mu, cusum = (float)w->errors_cusum / WATCH_CUSUM_STEPS;
	is_high = cusum > WATCH_SLOW_ABOVE;
	w->errors_now = watch_pack(now, WATCH_COUNT_LEAST, WATCH_ROUND);
	w->expected_now = watch_pack(expected, WATCH_COUNT_LEAST, WATCH_ROUND);
	if (is_warm) {
		cusum = watch_min(watch_max(cusum + r->errors * LN_3 - 2 * mu, 0), WATCH_CUSUM_CAP);
		w->errors_cusum = (uint16_t)(int)(cusum * WATCH_CUSUM_STEPS + (float)(int)watch_dither(r->at_s) * 0x1p-12f);
		out->statistic[WATCH_ERRORS_BURST] = now > expected ? now * watch_ln(now / expected) - now + expected : 0;
		out->statistic[WATCH_ERRORS_CUSUM] = cusum;
	}
	float believed = is_warm ? watch_min(r->errors, mu + 4 * sqrtf(mu) + 1) : r->errors;
	float rate = is_high ? WATCH_SLOW : 1, memory = 1 - (1 - RATE_MEMORY) * rate;
	w->errors = memory * w->errors + rate * believed;
	w->exposure = memory * w->exposure + rate * exposure;
	watch_saturate(&w->counts_seen);
}

/* Times of boots are kept as low bits: nobody asks for them after the window, when watch_update forgets them. */
void watch_count_boots(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	unsigned in_hour = r->boots < WATCH_BOOTS_LOOP ? r->boots : WATCH_BOOTS_LOOP;
	for (int i = 0; i < 2; i++) {
		bool is_recent = (uint16_t)(r->at_s - w->boot_at[i]) < WATCH_BOOTS_WINDOW_S;
		w->boot_at[i] = (uint16_t)(is_recent ? w->boot_at[i] : 0);
		in_hour += w->boot_at[i] != 0;
	}
	for (unsigned i = 0; i < 2 && i < r->boots; i++) {
		w->boot_at[1] = w->boot_at[0];
		w->boot_at[0] = (uint16_t)(r->at_s | 1);
	}
	out->boots_in_hour = (uint8_t)(in_hour < WATCH_BOOTS_LOOP ? in_hour : WATCH_BOOTS_LOOP);
}

/* Shares of 16 bits take small steps only now and then: rounds by a fraction that runs evenly through [0, 1). */
static void shares_toward(uint16_t *shares, const float *target, float rate, uint32_t chance)
{
	float dither = (float)(int)(chance & 0xffffu) * 0x1p-16f;
	for (int i = 0; i < WATCH_CLASS_KEPT; i++) {
		float v = (float)(int)shares[i] + rate * (target[i] - (float)(int)shares[i]) + dither;
		shares[i] = (uint16_t)(int)watch_min(v, 65535);
	}
}

/* In four lanes, so that it is a vector operation. */
static float sum_of(const float *v)
{
	float lane[4];
	for (int i = 0; i < 4; i++)
		lane[i] = (v[i] + v[i + 4]) + (v[i + 8] + v[i + 12]);
	return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

/* The report's shares in 1/65535; false: none, or refused. */
static bool take_classes(struct watch *w, const struct watch_report *r, float *share, struct watch_result *out)
{
	int good = r->class_count <= WATCH_CLASS_KEPT;
	for (int i = 0; i < WATCH_CLASS_KEPT; i++)
		share[i] = i < (int)r->class_count ? r->class_counts[i] : 0;
	for (int i = 0; i < WATCH_CLASS_KEPT; i++)
		good &= (share[i] >= 0) & (share[i] <= COUNT_MAX);
	if (!good) {
		out->refused |= WATCH_REFUSED_CLASSES;
		watch_saturate(&w->refused_values);
		return false;
	}
	float sum = sum_of(share), scale = sum > 0 ? 65535 / sum : 0;
	for (int i = 0; i < WATCH_CLASS_KEPT; i++)
		share[i] *= scale;
	return sum > 0;
}

/* sum p ln(p/q) - p + q, shares at least CLASS_FLOOR. */
static float class_distance(const uint16_t *now, const uint16_t *past)
{
	float part[WATCH_CLASS_KEPT];
	for (int i = 0; i < WATCH_CLASS_KEPT; i++) {
		float p = watch_max((float)(int)now[i] * (1 / 65535.0f), CLASS_FLOOR);
		float q = watch_max((float)(int)past[i] * (1 / 65535.0f), CLASS_FLOOR);
		part[i] = p * watch_ln(p / q) - p + q;
	}
	return sum_of(part);
}

/* Kullback-Leibler distance of the short histogram from the long one, over its own mean. */
WATCH_WIDE void watch_count_classes(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	float share[WATCH_CLASS_KEPT];
	unsigned n = w->classes_seen;
	uint32_t chance = watch_chance(r->at_s);
	if (r->class_count == 0 || !take_classes(w, r, share, out))
		return;
	bool is_warm = n >= WATCH_WARM_REPORTS;
	shares_toward(w->class_short, share, watch_rate(n, CLASS_SHORT), chance);
	float distance = watch_max(class_distance(w->class_short, w->class_long), 0);
	float usual = watch_unpack(w->class_usual, WATCH_SMALL_LEAST), learned = usual;
	usual = watch_max(usual, CLASS_USUAL_MIN);
	float ratio = distance / usual;
	float rate = is_warm && ratio > WATCH_SLOW_ABOVE ? WATCH_SLOW : 1;
	shares_toward(w->class_long, share, rate * watch_rate(n, CLASS_LONG), chance);
	if (n >= CLASS_SETTLED) {
		float believed = is_warm ? watch_min(distance, 4 * usual) : distance;
		learned += rate * watch_rate((n - CLASS_SETTLED) / 2, CLASS_LONG) * (believed - learned);
		w->class_usual = watch_pack(learned, WATCH_SMALL_LEAST, chance >> 20);
	}
	if (is_warm)
		out->statistic[WATCH_CLASSES] = ratio;
	watch_saturate(&w->classes_seen);
}

static void count_identical(struct watch *w, const struct watch_report *r)
{
	float confidence = r->value[WATCH_CONFIDENCE];
	if (!r->has[WATCH_CONFIDENCE] || !(confidence >= 0 && confidence <= 1))
		return;
	uint16_t output = (uint16_t)(1 + (uint32_t)(confidence * OUTPUT_STEPS + 0.5f));
	w->identical = (uint8_t)(output != w->output ? 1 : w->identical + (w->identical < UINT8_MAX));
	w->output = output;
}

/* Outputs of a model that is stuck do not differ, neither within a report nor from report to report. */
WATCH_WIDE void watch_count_outputs(struct watch *w, const struct watch_report *r, struct watch_result *out)
{
	count_identical(w, r);
	/* a confidence that always was the same says nothing */
	if (watch_unpack(w->spread[WATCH_CONFIDENCE], WATCH_SMALL_LEAST) > watch_resolution[WATCH_CONFIDENCE])
		out->identical = w->identical;
	float sd = r->confidence_sd;
	if (!(sd >= 0 && sd <= 1))
		return;
	unsigned n = w->sd_seen;
	float now = watch_unpack(w->sd_short, WATCH_SMALL_LEAST);
	now += watch_rate(n, SD_SHORT) * (sd - now);
	w->sd_short = watch_pack(now, WATCH_SMALL_LEAST, WATCH_ROUND);
	float least = SD_RATIO_MIN * w->sd_usual;
	if (n >= WATCH_WARM_REPORTS && w->sd_usual > 0)
		out->statistic[WATCH_DISPERSION] = watch_max(watch_ln(w->sd_usual / watch_max(now, least)), 0);
	float rate = n >= WATCH_WARM_REPORTS && now < w->sd_usual / 2 ? WATCH_SLOW : 1;
	w->sd_usual += rate * watch_rate(n, SD_LONG) * (sd - w->sd_usual);
	watch_saturate(&w->sd_seen);
}
