#include "core/novelty.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(struct novelty_level) == 56, "sixteen bytes and forty counters");
_Static_assert(sizeof(struct novelty_compact) == 56, "eight of them are seven cache lines");
_Static_assert(sizeof(struct novelty_full) == 192 && offsetof(struct novelty_full, season) == 128, "three cache lines");

/* One set of constants a form for all series (chosen on the Numenta Anomaly Benchmark; docs/detect.md has the held-out
 * figures). A program that searches for others includes this file with NOVELTY_TUNABLE defined as nothing. */
struct constants {
	float growth;          /* of the range, by which one sample may widen it */
	float growth_residual;
	float pad;             /* of the range, added beyond a sample that widens it */
	uint32_t growth_free;  /* samples before which it may widen it at will */
	float neighbour;       /* weight of the bins beside */
	float pseudo;          /* pseudo-count of a bin */
	float level_unit;      /* scores that mean "an event" */
	float residual_unit;
	float smooth;          /* of the residual */
	float season_rate;     /* of an hour's mean, a day */
	float cry_wolf;        /* off the score for each earlier event */
	float forgive;         /* of these events, forgotten with each sample */
	float hold_share;      /* of the samples: no second event so soon after one */
	float hold_min, hold_max;
};
#ifndef NOVELTY_TUNABLE
#define NOVELTY_TUNABLE const
#endif
static NOVELTY_TUNABLE struct constants full_form = {
	.growth = 0.353f, .growth_residual = 0.58f, .pad = 0.0122f, .growth_free = 200, .neighbour = 0.42f, .pseudo = 0.029f,
	.level_unit = 7.6f, .residual_unit = 8.16f, .smooth = 0.0266f, .season_rate = 0.11f, .cry_wolf = 0.0097f,
	.forgive = 0.00017f, .hold_share = 0.0306f, .hold_min = 10, .hold_max = 2400,
};
static NOVELTY_TUNABLE struct constants compact_form = {
	.growth = 0.245f, .pad = 0.0152f, .growth_free = 154, .neighbour = 0.385f, .pseudo = 0.0281f, .level_unit = 7.59f,
	.cry_wolf = 0.0213f, .forgive = 0.000153f, .hold_share = 0.0396f, .hold_min = 4.4f, .hold_max = 820,
};
#define MAGNITUDE_MAX 1e30f     /* larger values count as this: ranges must not overflow */
#define WIDTH_MIN 1e-30f
#define SILENT_UNTIL 11u      /* no score from fewer samples */
#define SEASON_NONE 0xffffu
#define SEASON_STEPS 65534.0f

/* ---- counters of a byte: exact below 16, then eight steps an octave, counted with probability 1/step ---- */

struct counter {
	float value;
	uint32_t odds; /* counted where the coin has none of these bits; the last code is never counted on */
};
#define EXACT4(v) {(v), 0}, {(v) + 1, 0}, {(v) + 2, 0}, {(v) + 3, 0}
#define STEP(m, o) {(float)((uint64_t)(m) << (o)), (1u << (o)) - 1}
#define STEPS7(o) STEP(8, o), STEP(9, o), STEP(10, o), STEP(11, o), STEP(12, o), STEP(13, o), STEP(14, o)
#define OCTAVE(o) STEPS7(o), STEP(15, o)
#define OCTAVES5(o) OCTAVE(o), OCTAVE((o) + 1), OCTAVE((o) + 2), OCTAVE((o) + 3), OCTAVE((o) + 4)
static const struct counter counters[256] = {
	EXACT4(0), EXACT4(4), EXACT4(8), EXACT4(12),
	OCTAVES5(1), OCTAVES5(6), OCTAVES5(11), OCTAVES5(16), OCTAVES5(21),
	OCTAVE(26), OCTAVE(27), OCTAVE(28), OCTAVE(29), STEPS7(30), {15.0f * (1u << 30), UINT32_MAX},
};

static uint8_t counter_code(float value) /* the nearest below or at */
{
	if (value < 16)
		return (uint8_t)(value + 0.5f);
	int exponent;
	float mantissa = frexpf(value, &exponent); /* [0.5, 1) * 2^exponent, exponent >= 5 */
	unsigned code = 16u + (unsigned)(exponent - 5) * 8u + (unsigned)(mantissa * 16) - 8u;
	return (uint8_t)(code < 255 ? code : 255);
}

/* A coin that depends on the number of samples only: the same series gives the same counters. 0 for n = 0 only. */
static inline uint32_t coin(uint32_t n)
{
	uint32_t h = n * 2654435769u;
	h ^= h >> 15;
	h *= 2246822519u;
	return h ^ h >> 13;
}

/* Without the branches and calls that fminf and fmaxf are where NaN must be minded: there is none here. */
static inline float lesser(float a, float b)
{
	return a < b ? a : b;
}

static inline float greater(float a, float b)
{
	return a > b ? a : b;
}

/* Natural logarithm of a positive, normal number: exponent and a polynomial of the mantissa, to within 2e-4. */
static inline float fast_ln(float v)
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
		sums[to] += counters[bins[i]].value;
	}
	for (int i = 0; i < NOVELTY_BINS; i++)
		bins[i] = counter_code(sums[i]);
}

/* Widens the range to hold x, once it has a past only by a share of it; returns x as far as it is in the range. */
__attribute__((noinline, cold))
static float widen(uint8_t bins[NOVELTY_BINS], float *lo, float *hi, float x, bool has_past, float growth, float pad)
{
	float width = *hi - *lo;
	if (has_past && width > 0)
		x = lesser(greater(x, *lo - growth * width), *hi + growth * width);
	float new_lo = x < *lo ? x - pad * width : *lo, new_hi = x > *hi ? x + pad * width : *hi;
	if (!(new_hi - new_lo > WIDTH_MIN))
		return lesser(greater(x, *lo), *hi);
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

/* How empty the place of x, which is in [lo, hi], is before it is counted there: n + K a over this, logarithm to be taken. */
static inline float crowd(uint8_t bins[NOVELTY_BINS], float lo, float hi, float x, uint32_t toss, const struct constants *k)
{
	float share = (x - lo) / (hi - lo);
	unsigned q = share < 1 ? (unsigned)(int)(NOVELTY_BINS * share) : hi > lo ? NOVELTY_BINS - 1u : 0;
	const struct counter *here = &counters[bins[q]];
	float left = q > 0 ? counters[bins[q - 1]].value : 0, right = q + 1 < NOVELTY_BINS ? counters[bins[q + 1]].value : 0;
	bins[q] = (uint8_t)(bins[q] + ((toss & here->odds) == 0));
	return here->value + k->neighbour * (left + right) + k->pseudo;
}

static void halve(uint8_t bins[NOVELTY_BINS])
{
	for (int i = 0; i < NOVELTY_BINS; i++)
		bins[i] = counter_code(counters[bins[i]].value / 2);
}

/* ---- events ---- */

void novelty_wait(struct novelty_level *s, uint16_t elapsed)
{
	uint32_t timer = (uint32_t)s->timer + elapsed;
	s->timer = (uint16_t)(timer < UINT16_MAX ? timer : UINT16_MAX);
}

/* Turns a raw score (1 = an event) into what is told, and counts the sample. */
static inline struct novelty_result conclude(struct novelty_level *s, float raw, struct novelty_pace pace, const struct constants *k)
{
	struct novelty_result r = {0, false, false};
	if (s->events > 0 && (float)(coin(~s->n) >> 8) * 0x1p-24f < k->forgive * (float)s->events)
		s->events--;
	raw /= 1 + k->cry_wolf * ((float)s->events / 256);
	bool is_over = s->n >= SILENT_UNTIL && raw >= 1;
	novelty_wait(s, pace.elapsed);
	if (is_over) {
		float hold = pace.hold > 0 ? pace.hold : lesser(greater(k->hold_share * (float)s->n, k->hold_min), k->hold_max);
		r.is_event = (float)s->timer > hold || s->events == 0;
		s->timer = 0;
		if (r.is_event && s->events < UINT16_MAX - 256)
			s->events = (uint16_t)(s->events + 256);
	}
	if (s->n >= SILENT_UNTIL)
		r.score = r.is_event ? 1 - 0.5f / raw : 0.49f * lesser(greater(raw, 0), 1);
	s->n++;
	return r;
}

static void age_level(struct novelty_level *s)
{
	halve(s->bins);
	s->n /= 2;
	s->events = (uint16_t)(s->events / 2);
}

/* x as far as it is in the range, which it may have widened. */
static inline float level_inside(struct novelty_level *s, float x, const struct constants *k)
{
	if (s->n == 0 && s->lo == 0 && s->hi == 0)
		s->lo = s->hi = x;
	return x >= s->lo && x <= s->hi ? x : widen(s->bins, &s->lo, &s->hi, x, s->n > k->growth_free, k->growth, k->pad);
}

static inline float bounded(float x)
{
	return lesser(greater(x, -MAGNITUDE_MAX), MAGNITUDE_MAX);
}

struct novelty_result novelty_update_compact(struct novelty_compact *state, float x, struct novelty_pace pace)
{
	const struct constants *k = &compact_form;
	struct novelty_level *s = &state->level;
	if (!isfinite(x))
		return (struct novelty_result){0, false, true};
	float inside = level_inside(s, bounded(x), k);
	float c = crowd(s->bins, s->lo, s->hi, inside, coin(s->n), k);
	float raw = fast_ln(((float)s->n + NOVELTY_BINS * k->pseudo) / c) * (1 / k->level_unit);
	struct novelty_result r = conclude(s, raw, pace, k);
	if (pace.n_max > 0 && s->n >= pace.n_max)
		age_level(s);
	return r;
}

/* ---- the season ---- */

static float season_value(const struct novelty_full *s, unsigned hour, float lo, float hi)
{
	return s->season[hour] == SEASON_NONE ? NAN : lo + (float)s->season[hour] / SEASON_STEPS * (hi - lo);
}

static void season_store(struct novelty_full *s, unsigned hour, float value)
{
	float width = s->level.hi - s->level.lo;
	float share = width > 0 ? (value - s->level.lo) / width : 0;
	s->season[hour] = (uint16_t)(lesser(greater(share, 0), 1) * SEASON_STEPS + 0.5f);
}

/* The range has changed: the means stay what they were. */
__attribute__((noinline, cold))
static void season_rescale(struct novelty_full *s, float old_lo, float old_hi)
{
	for (unsigned h = 0; h < NOVELTY_HOURS; h++) {
		if (s->season[h] != SEASON_NONE)
			season_store(s, h, season_value(s, h, old_lo, old_hi));
	}
}

__attribute__((noinline))
static void season_next_hour(struct novelty_full *s, unsigned hour, const struct constants *k)
{
	unsigned before = s->hour - 1u;
	if (s->hour > 0 && s->hour_count > 0) {
		float hour_mean = s->hour_sum / s->hour_count, old = season_value(s, before, s->level.lo, s->level.hi);
		float rate = greater(k->season_rate, 1 / ((float)s->days + 1));
		season_store(s, before, isnan(old) ? hour_mean : old + rate * (hour_mean - old));
	}
	if (s->hour > 0 && hour < before && s->days < UINT8_MAX)
		s->days++;
	s->hour = (uint8_t)(hour + 1);
	s->hour_sum = 0;
	s->hour_count = 0;
	s->expected = season_value(s, hour, s->level.lo, s->level.hi);
}

/* Smooths what x differs from its hour's mean by, and learns x. Returns it as far as it is in the range. */
static inline float residual_inside(struct novelty_full *s, float x, const struct constants *k)
{
	uint32_t n = s->level.n;
	if (n == 0)
		s->mean = x;
	float r = x - (isnan(s->expected) ? s->mean : s->expected), share = 1 / (float)(n + 1);
	r = s->residual += (r - s->residual) * greater(share, k->smooth);
	s->mean += (x - s->mean) * share;
	if (s->hour_count < UINT16_MAX) {
		s->hour_sum += x;
		s->hour_count++;
	}
	if (r >= s->residual_lo && r <= s->residual_hi)
		return r;
	return widen(s->residual_bins, &s->residual_lo, &s->residual_hi, r, n > k->growth_free, k->growth_residual, k->pad);
}

static void age_full(struct novelty_full *s)
{
	age_level(&s->level);
	halve(s->residual_bins);
}

struct novelty_result novelty_update_full(struct novelty_full *state, float x, unsigned hour, struct novelty_pace pace)
{
	const struct constants *k = &full_form;
	struct novelty_level *s = &state->level;
	assert(hour < NOVELTY_HOURS);
	if (!isfinite(x))
		return (struct novelty_result){0, false, true};
	if (s->n == 0 && state->hour == 0)
		memset(state->season, 0xff, sizeof state->season);
	float lo = s->lo, hi = s->hi, inside = level_inside(s, bounded(x), k);
	if (s->lo != lo || s->hi != hi)
		season_rescale(state, lo, hi);
	if (state->hour != hour + 1)
		season_next_hour(state, hour, k);
	uint32_t toss = coin(s->n);
	float residual = residual_inside(state, inside, k), samples = (float)s->n + NOVELTY_BINS * k->pseudo;
	float level_crowd = crowd(s->bins, s->lo, s->hi, inside, toss, k);
	float residual_crowd = crowd(state->residual_bins, state->residual_lo, state->residual_hi, residual, toss, k);
	float level = fast_ln(samples / level_crowd) * (1 / k->level_unit);
	float unexpected = fast_ln(samples / residual_crowd) * (1 / k->residual_unit);
	struct novelty_result r = conclude(s, greater(level, unexpected), pace, k);
	if (pace.n_max > 0 && s->n >= pace.n_max)
		age_full(state);
	return r;
}

void novelty_set_range(struct novelty_level *s, float lo, float hi)
{
	assert(s->n == 0 && lo < hi);
	s->lo = lo;
	s->hi = hi;
}

void novelty_prefetch_compact(const struct novelty_compact *states, unsigned count)
{
	const char *first = (const char *)states;
	for (size_t at = 0; at < count * sizeof *states; at += 64)
		__builtin_prefetch(first + at, 1);
}

void novelty_prefetch_full(const struct novelty_full *states, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		__builtin_prefetch(&states[i], 1);
		__builtin_prefetch(&states[i].residual, 1);
	}
}
