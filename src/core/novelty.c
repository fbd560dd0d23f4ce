#include "core/novelty.h"

#include <assert.h>
#include <math.h>
#include <string.h>

_Static_assert(sizeof(struct novelty_level) == 56, "sixteen bytes and forty counters");
_Static_assert(sizeof(struct novelty_compact) == 64, "a cache line");
_Static_assert(sizeof(struct novelty_full) == 192, "three cache lines");

/* One set of constants for all series (chosen on the Numenta Anomaly Benchmark; docs/detect.md has the held-out figures). */
#ifndef NOVELTY_TUNING
#define GROWTH 0.353f          /* of the range, by which one sample may widen it */
#define GROWTH_RESIDUAL 0.58f
#define PAD 0.0122f             /* of the range, added beyond a sample that widens it */
#define GROWTH_FREE 200u      /* samples before which it may widen it at will */
#define NEIGHBOUR 0.42f      /* weight of the bins beside */
#define PSEUDO 0.029f         /* pseudo-count of a bin */
#define LEVEL_UNIT 7.6f      /* scores that mean "an event" */
#define RESIDUAL_UNIT 8.16f
#define SMOOTH 0.0266f   /* of the residual */
#define SEASON_RATE 0.11f     /* of an hour's mean, a day */
#define CRY_WOLF 0.0097f        /* off the score for each earlier event */
#define FORGIVE 0.00017f       /* of these events, forgotten with each sample */
#define HOLD_SHARE 0.0306f     /* of the samples: no second event so soon after one */
#define HOLD_MIN 10.0f
#define HOLD_MAX 2400.0f
#endif
#define MAGNITUDE_MAX 1e30f     /* larger values count as this: ranges must not overflow */
#define WIDTH_MIN 1e-30f
#define SILENT_UNTIL 11u      /* no score from fewer samples */
#define SEASON_NONE 0xffffu
#define SEASON_STEPS 65534.0f

/* ---- counters of a byte: exact below 16, then eight steps an octave, counted with probability 1/step ---- */

static uint32_t counter_step(uint8_t code)
{
	return code < 16 ? 1u : 2u << ((code - 16u) >> 3);
}

static float counter_value(uint8_t code)
{
	if (code < 16)
		return code;
	return (float)((uint64_t)(8u + ((code - 16u) & 7u)) << (((code - 16u) >> 3) + 1));
}

static uint8_t counter_code(float value) /* the nearest below or at */
{
	if (value < 16)
		return (uint8_t)(value + 0.5f);
	int exponent;
	float mantissa = frexpf(value, &exponent); /* [0.5, 1) * 2^exponent, exponent >= 5 */
	unsigned code = 16u + (unsigned)(exponent - 5) * 8u + (unsigned)(mantissa * 16) - 8u;
	return (uint8_t)(code < 255 ? code : 255);
}

/* A coin that depends on the number of samples only: the same series gives the same counters. */
static uint32_t coin(uint32_t n)
{
	uint32_t h = n * 2654435769u;
	h ^= h >> 15;
	h *= 2246822519u;
	return h ^ h >> 13;
}

static void counter_add(uint8_t *code, uint32_t n)
{
	if (*code < 255 && (coin(n) & (counter_step(*code) - 1)) == 0)
		++*code;
}

/* Natural logarithm of a positive, normal number: exponent and a polynomial of the mantissa, to within 2e-4. */
static float fast_ln(float v)
{
	uint32_t bits;
	memcpy(&bits, &v, sizeof bits);
	float exponent = (float)((int32_t)(bits >> 23) - 127);
	bits = (bits & 0x7fffffu) | 0x3f800000u;
	float m;
	memcpy(&m, &bits, sizeof m);
	float t = m - 1;
	float ln_m = t * (0.99949556f + t * (-0.49190896f + t * (0.28947478f + t * (-0.13606275f + t * 0.03215845f))));
	return exponent * 0.69314718f + ln_m;
}

/* ---- histograms ---- */

static void remap(uint8_t bins[NOVELTY_BINS], float lo, float hi, float new_lo, float new_hi)
{
	float sums[NOVELTY_BINS] = {0};
	float width = (hi - lo) / NOVELTY_BINS, scale = NOVELTY_BINS / (new_hi - new_lo);
	for (int i = 0; i < NOVELTY_BINS; i++) {
		if (bins[i] == 0)
			continue;
		int to = (int)((lo + ((float)i + 0.5f) * width - new_lo) * scale);
		to = to < 0 ? 0 : to >= NOVELTY_BINS ? NOVELTY_BINS - 1 : to;
		sums[to] += counter_value(bins[i]);
	}
	for (int i = 0; i < NOVELTY_BINS; i++)
		bins[i] = counter_code(sums[i]);
}

/* Widens the range to hold x, later only by a share of it; returns x as far as it is in the range. */
static float widen(uint8_t bins[NOVELTY_BINS], float *lo, float *hi, float x, uint32_t n, float growth)
{
	if (x >= *lo && x <= *hi)
		return x;
	float width = *hi - *lo;
	if (n > GROWTH_FREE && width > 0)
		x = fminf(fmaxf(x, *lo - growth * width), *hi + growth * width);
	float new_lo = x < *lo ? x - PAD * width : *lo, new_hi = x > *hi ? x + PAD * width : *hi;
	if (!(new_hi - new_lo > WIDTH_MIN))
		return fminf(fmaxf(x, *lo), *hi);
	if (width > 0)
		remap(bins, *lo, *hi, new_lo, new_hi);
	else if (bins[0] != 0) { /* so far the same value again and again */
		uint8_t count = bins[0];
		int at = (int)(NOVELTY_BINS * (*lo - new_lo) / (new_hi - new_lo));
		bins[0] = 0;
		bins[at < NOVELTY_BINS ? at : NOVELTY_BINS - 1] = count;
	}
	*lo = new_lo;
	*hi = new_hi;
	return x;
}

static int bin_of(float lo, float hi, float x)
{
	if (!(hi > lo))
		return 0;
	int q = (int)(NOVELTY_BINS * ((x - lo) / (hi - lo)));
	return q < 0 ? 0 : q >= NOVELTY_BINS ? NOVELTY_BINS - 1 : q;
}

/* How empty the place of x is, before it is counted there. */
static float surprise(uint8_t bins[NOVELTY_BINS], int q, uint32_t n)
{
	float c = counter_value(bins[q]);
	float beside = (q > 0 ? counter_value(bins[q - 1]) : 0) + (q + 1 < NOVELTY_BINS ? counter_value(bins[q + 1]) : 0);
	float s = fast_ln(((float)n + NOVELTY_BINS * PSEUDO) / (c + NEIGHBOUR * beside + PSEUDO));
	counter_add(&bins[q], n);
	return s;
}

static void halve(uint8_t bins[NOVELTY_BINS])
{
	for (int i = 0; i < NOVELTY_BINS; i++)
		bins[i] = counter_code(counter_value(bins[i]) / 2);
}

/* ---- events ---- */

/* Turns a raw score (1 = an event) into what is told, and counts the sample. */
static struct novelty_result conclude(struct novelty_level *s, float raw)
{
	struct novelty_result r = {0, false, false};
	if ((float)(coin(~s->n) >> 8) * 0x1p-24f < FORGIVE * (float)s->events)
		s->events--;
	raw /= 1 + CRY_WOLF * ((float)s->events / 256);
	float hold = fminf(fmaxf(HOLD_SHARE * (float)s->n, HOLD_MIN), HOLD_MAX);
	bool is_over = s->n >= SILENT_UNTIL && raw >= 1;
	if (s->timer < UINT16_MAX)
		s->timer++;
	if (is_over) {
		r.is_event = (float)s->timer > hold || s->events == 0;
		s->timer = 0;
	}
	if (r.is_event && s->events < UINT16_MAX - 256)
		s->events = (uint16_t)(s->events + 256);
	if (s->n >= SILENT_UNTIL)
		r.score = r.is_event ? 1 - 0.5f / raw : 0.49f * fminf(fmaxf(raw, 0), 1);
	s->n++;
	return r;
}

static void age_level(struct novelty_level *s)
{
	halve(s->bins);
	s->n /= 2;
	s->events = (uint16_t)(s->events / 2);
}

static float level_surprise(struct novelty_level *s, float x, float *inside)
{
	if (s->n == 0 && s->lo == 0 && s->hi == 0)
		s->lo = s->hi = x;
	*inside = widen(s->bins, &s->lo, &s->hi, x, s->n, GROWTH);
	return surprise(s->bins, bin_of(s->lo, s->hi, *inside), s->n);
}

struct novelty_result novelty_update_compact(struct novelty_compact *s, float x, uint32_t n_max)
{
	float inside;
	if (!isfinite(x))
		return (struct novelty_result){0, false, true};
	x = fminf(fmaxf(x, -MAGNITUDE_MAX), MAGNITUDE_MAX);
	float raw = level_surprise(&s->level, x, &inside) / LEVEL_UNIT;
	struct novelty_result r = conclude(&s->level, raw);
	if (n_max > 0 && s->level.n >= n_max)
		age_level(&s->level);
	return r;
}

/* ---- the season ---- */

static float season_value(const struct novelty_full *s, unsigned hour)
{
	float width = s->level.hi - s->level.lo;
	return s->season[hour] == SEASON_NONE ? s->mean : s->level.lo + (float)s->season[hour] / SEASON_STEPS * width;
}

static void season_store(struct novelty_full *s, unsigned hour, float value)
{
	float width = s->level.hi - s->level.lo;
	float share = width > 0 ? (value - s->level.lo) / width : 0;
	s->season[hour] = (uint16_t)(fminf(fmaxf(share, 0), 1) * SEASON_STEPS + 0.5f);
}

/* The range has changed: the means stay what they were. */
static void season_rescale(struct novelty_full *s, float old_lo, float old_hi)
{
	for (unsigned h = 0; h < NOVELTY_HOURS; h++) {
		if (s->season[h] != SEASON_NONE)
			season_store(s, h, old_lo + (float)s->season[h] / SEASON_STEPS * (old_hi - old_lo));
	}
}

static void season_next_hour(struct novelty_full *s, unsigned hour)
{
	unsigned before = s->hour - 1u;
	if (s->hour > 0 && before != hour && s->hour_count > 0) {
		float hour_mean = s->hour_sum / s->hour_count, old = season_value(s, before);
		float rate = fmaxf(SEASON_RATE, 1 / ((float)s->days + 1));
		season_store(s, before, s->season[before] == SEASON_NONE ? hour_mean : old + rate * (hour_mean - old));
	}
	if (s->hour > 0 && before == hour)
		return;
	if (s->hour > 0 && hour < before && s->days < UINT8_MAX)
		s->days++;
	s->hour = (uint8_t)(hour + 1);
	s->hour_sum = 0;
	s->hour_count = 0;
}

static void season_count(struct novelty_full *s, float x)
{
	s->mean += (x - s->mean) / (float)(s->level.n + 1);
	if (s->hour_count < UINT16_MAX) {
		s->hour_sum += x;
		s->hour_count++;
	}
}

static float residual_surprise(struct novelty_full *s, float x, unsigned hour)
{
	uint32_t n = s->level.n;
	if (n == 0)
		s->mean = x;
	float r = x - season_value(s, hour);
	s->residual += (r - s->residual) * fmaxf(1 / (float)(n + 1), SMOOTH);
	float inside = widen(s->residual_bins, &s->residual_lo, &s->residual_hi, s->residual, n, GROWTH_RESIDUAL);
	return surprise(s->residual_bins, bin_of(s->residual_lo, s->residual_hi, inside), n);
}

static void age_full(struct novelty_full *s)
{
	age_level(&s->level);
	halve(s->residual_bins);
}

struct novelty_result novelty_update_full(struct novelty_full *s, float x, unsigned hour, uint32_t n_max)
{
	assert(hour < NOVELTY_HOURS);
	if (!isfinite(x))
		return (struct novelty_result){0, false, true};
	x = fminf(fmaxf(x, -MAGNITUDE_MAX), MAGNITUDE_MAX);
	if (s->level.n == 0 && s->hour == 0)
		memset(s->season, 0xff, sizeof s->season);
	float lo = s->level.lo, hi = s->level.hi, inside;
	float level = level_surprise(&s->level, x, &inside) / LEVEL_UNIT;
	if (s->level.lo != lo || s->level.hi != hi)
		season_rescale(s, lo, hi);
	season_next_hour(s, hour);
	float residual = residual_surprise(s, inside, hour) / RESIDUAL_UNIT;
	season_count(s, inside);
	struct novelty_result r = conclude(&s->level, fmaxf(level, residual));
	if (n_max > 0 && s->level.n >= n_max)
		age_full(s);
	return r;
}

void novelty_set_range(struct novelty_level *s, float lo, float hi)
{
	assert(s->n == 0 && lo < hi);
	s->lo = lo;
	s->hi = hi;
}

void novelty_prefetch(const void *states, uint32_t bytes)
{
	const char *at = states;
	for (uint32_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(at + i, 1);
}
