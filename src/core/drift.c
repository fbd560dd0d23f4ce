#include "core/drift.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/tails.h"

_Static_assert(sizeof(struct drift_device) == 68, "a device's part");
_Static_assert(sizeof(struct drift) < 12288, "a cohort's part");
_Static_assert(DRIFT_CLASSES == WATCH_CLASS_KEPT, "reports are folded once");
_Static_assert(WATCH_STATISTICS <= 32, "results have a bit for each");

#define SHARE_UNIT 65535.0
#define COUNT_MAX 1e12f
#define MEMORY_H 336        /* hours: of baselines, of rates, of T2's own moments */
#define WANDER_H 168        /* hours: of the cohort's own variance */
#define DAYS_MAX 14         /* of an hour-of-day mean */
#define DEVICE_HOURS_MIN 24 /* of a device before it counts: a baseline of part of a day has that part's bias */
#define DEVICE_HOURS_MAX 1023u
#define HOUR_CODES 65535u
#define PAST 1000u          /* hours: what seems further back than this is a device that was away for years */
#define DAYS_MIN 3          /* of an hour of the day before it is judged */
#define TESTED_MIN 72       /* T2s before one may page */
#define COUNTED_MIN 24      /* hours of a statistic's rate before it may page */
#define LEARN_OVER 0.05     /* of the usual rates, while over: a drift is not swallowed ... */
#define OVER_MAX 168        /* ... for a week; then it is the new normal, in two */
#define T2_CLIP 20.0        /* of T2 against its mean: 1 in 100,000 even when all of it is one direction */
#define CLIP 9.0            /* of squares against their mean: one bad hour is not a variance */
#define COUNT_FLOOR 36.0    /* expected events of a class: with fewer, a count is not normal far out */
#define SHARE_MIN 0.01      /* of a cohort: a smaller rise is nobody's alert, however certain */
#define BEYOND_MIN 5u
#define SPREAD_MAX 100.0
#define SHARE_FLOOR 1e-4

/* ---- a device ---- */

/* In [0, 1), from what is at hand: rounding that is right on average, and the same for the same input. */
static double dither(uint32_t a, uint32_t b)
{
	uint32_t h = a * 2654435769u ^ (b + 0x7f4a7c15u) * 2246822519u;
	h ^= h >> 15;
	h *= 2654435761u;
	h ^= h >> 13;
	h *= 3266489917u;
	return (double)(h ^ h >> 16) * 0x1p-32;
}

static uint16_t hour_code(uint32_t hour)
{
	return (uint16_t)(hour % HOUR_CODES + 1);
}

static void device_empty(struct drift_device *d, uint32_t hour)
{
	d->hour = hour_code(hour);
	d->shift = 0;
	memset(d->counts, 0, sizeof d->counts);
}

static void device_halve(struct drift_device *d)
{
	for (unsigned i = 0; i < DRIFT_CLASSES; i++)
		d->counts[i] = (uint16_t)((d->counts[i] + (d->shift + i) % 2) / 2); /* odd ones up and down in turns */
	d->shift = (d->shift + 1u) & 63;
}

bool drift_device_add(struct drift_device *d, uint32_t hour, const float *counts, unsigned class_count)
{
	uint32_t passed = d->hour != 0 ? (hour_code(hour) + HOUR_CODES - d->hour) % HOUR_CODES : 1;
	if (class_count == 0 || class_count > DRIFT_CLASSES || hour == 0 || passed > HOUR_CODES - PAST)
		return false;
	for (unsigned i = 0; i < class_count; i++)
		if (!(counts[i] >= 0 && counts[i] <= COUNT_MAX))
			return false;
	if (passed > 0)
		device_empty(d, hour);
	for (unsigned i = 0; i < class_count; i++) {
		double more = ldexp(counts[i], -d->shift);
		while (d->counts[i] + more > 65534) {
			device_halve(d);
			more /= 2;
		}
		uint32_t bits;
		memcpy(&bits, &counts[i], sizeof bits);
		double whole = floor(more);
		d->counts[i] = (uint16_t)(d->counts[i] + whole + (dither(bits + i, hour ^ d->counts[i]) < more - whole));
	}
	return true;
}

static double learning(const struct drift *c)
{
	return c->over > 0 && c->over < OVER_MAX ? LEARN_OVER : 1;
}

static uint16_t count_up(uint16_t n)
{
	return n < UINT16_MAX ? (uint16_t)(n + 1) : n;
}

static void baseline_learn(struct drift_device *d, uint32_t hour, unsigned i, double target, double rate)
{
	double b = d->baseline[i] + rate * (fmin(fmax(target, 0), 1) * SHARE_UNIT - d->baseline[i]);
	double whole = floor(b);
	d->baseline[i] = (uint16_t)(whole + (dither(hour * DRIFT_CLASSES + i, d->counts[i] * 65536u + d->baseline[i]) < b - whole));
}

void drift_device_date(struct drift_device *d, uint32_t hour, uint32_t to)
{
	if (d->hour == hour_code(hour))
		d->hour = hour_code(to);
}

bool drift_device_close(struct drift_device *d, const struct drift *c, struct drift_hour *h)
{
	if (d->hour == 0 || d->hour != hour_code(h->hour))
		return false;
	double total = 0;
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) total += d->counts[i];
	bool is_counted = false;
	if (ldexp(total, d->shift) >= DRIFT_COUNT_MIN) {
		unsigned hod = h->hour % DRIFT_HOURS;
		is_counted = d->hours >= DEVICE_HOURS_MIN;
		double rate = learning(c) * fmax(1.0 / (d->hours + 1), 1.0 / MEMORY_H);
		for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
			double usual = c->days[hod] > 0 ? (double)c->common[hod][i] : 0, p = d->counts[i] / total;
			double x = p - d->baseline[i] / SHARE_UNIT - usual;
			if (is_counted) {
				h->sum[i] += x;
				h->square[i] += x * x;
			}
			h->counts[i] += ldexp(d->counts[i], d->shift);
			baseline_learn(d, h->hour, i, p - usual, rate);
		}
		if (is_counted) {
			h->devices++;
			h->inverse += 1 / ldexp(total, d->shift);
		}
		d->hours = d->hours < DEVICE_HOURS_MAX ? (d->hours + 1u) & DEVICE_HOURS_MAX : DEVICE_HOURS_MAX;
	}
	/* closed: nothing more is taken for this hour, as the next one has begun */
	device_empty(d, h->hour + 1);
	return is_counted;
}

void drift_merge(struct drift_hour *h, const struct drift_hour *more)
{
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
		h->sum[i] += more->sum[i];
		h->square[i] += more->square[i];
		h->counts[i] += more->counts[i];
	}
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
		h->beyond[s] += more->beyond[s];
		h->present[s] += more->present[s];
	}
	h->devices += more->devices;
	h->inverse += more->inverse;
}

void drift_count(struct drift_hour *h, enum watch_statistic s, bool is_beyond)
{
	assert((unsigned)s < WATCH_STATISTICS);
	h->present[s]++;
	h->beyond[s] += is_beyond;
}

/* ---- histograms, for display ---- */

enum divergence { PSI, KL };

static float diverge(const double *p, const double *q, unsigned count, enum divergence kind)
{
	double p_sum = 0, q_sum = 0, sum = 0;
	for (unsigned i = 0; i < count; i++) {
		p_sum += p[i];
		q_sum += q[i];
	}
	if (!(p_sum > 0 && q_sum > 0))
		return NAN;
	for (unsigned i = 0; i < count; i++) {
		double a = fmax(p[i] / p_sum, SHARE_FLOOR), b = fmax(q[i] / q_sum, SHARE_FLOOR);
		sum += (kind == PSI ? a - b : a) * log(a / b);
	}
	return (float)sum;
}

float drift_psi(const double *p, const double *q, unsigned count)
{
	return diverge(p, q, count, PSI);
}

float drift_kl(const double *p, const double *q, unsigned count)
{
	return diverge(p, q, count, KL);
}

static void pooled_roll(struct drift *c, const struct drift_hour *h, struct drift_result *out)
{
	double total = 0, before[DRIFT_CLASSES], rate = learning(c) * fmax(1.0 / (c->pooled_hours + 1.0), 1.0 / MEMORY_H);
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
		before[i] = (double)c->pooled[i];
		total += h->counts[i];
		if (h->counts[i] > 0)
			c->classes |= (uint16_t)(1u << i);
	}
	out->classes = (unsigned)__builtin_popcount(c->classes);
	out->psi = drift_psi(h->counts, before, DRIFT_CLASSES);
	out->kl = drift_kl(h->counts, before, DRIFT_CLASSES);
	if (total == 0)
		return;
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) c->pooled[i] = (float)(before[i] + rate * (h->counts[i] / total - before[i]));
	c->pooled_hours = count_up(c->pooled_hours);
}

/* ---- classes: T2 ---- */

/* An hour-of-day mean is one of so many days; then one with a memory of DAYS_MAX, as good as one of 2 DAYS_MAX - 1. */
static unsigned days_worth(unsigned days)
{
	return days < DAYS_MAX ? days : 2 * DAYS_MAX - 1;
}

/* Variance of the mean difference of a class: what is seen across devices in this very hour (and that the hour of the
 * day is known from a few days only), what the cohort's mean did in other hours, and what counting costs. */
static double variance_of(const struct drift *c, const struct drift_hour *h, unsigned i, unsigned days)
{
	double n = h->devices, mean = h->sum[i] / n;
	double across = fmax(h->square[i] / n - mean * mean, 0) / (n - 1);
	double inferences = n * n / h->inverse; /* as many as if every device had the same */
	double floor = fmax((double)c->pooled[i] * inferences, COUNT_FLOOR) / (inferences * inferences);
	return fmax(fmax(across, (double)c->wander[i]) * (1 + 1.0 / days), floor);
}

/* Sums of correlated squares are not chi-square: what devices share can put all of T2 into one direction. Two moments
 * of the cohort's own T2 give scale and degrees of freedom (Satterthwaite 1946); never below the plain quantile. */
static double threshold_of(const struct drift *c, unsigned classes)
{
	double plain = tails_chi2_quantile(DRIFT_NULL_RATE, classes - 1);
	double mean = (double)c->t2_mean, variance = (double)c->t2_square - mean * mean;
	if (c->tested >= TESTED_MIN && variance > 2 * mean && mean > 0)
		plain = fmax(plain, variance / (2 * mean) * tails_chi2_quantile(DRIFT_NULL_RATE, fmax(2 * mean * mean / variance, 0.5)));
	return plain * DRIFT_MARGIN;
}

/* What drifts says nothing about how T2 spreads without drift. */
static void t2_learn(struct drift *c, double t2, unsigned classes)
{
	if (c->over > 0 && c->over < OVER_MAX)
		return;
	double rate = fmax(1.0 / (c->tested + 1.0), 1.0 / MEMORY_H), x = fmin(t2, T2_CLIP * (classes - 1));
	c->t2_mean += (float)(rate * (x - (double)c->t2_mean));
	c->t2_square += (float)(rate * (x * x - (double)c->t2_square));
	c->tested = count_up(c->tested);
}

static void classes_test(struct drift *c, const struct drift_hour *h, struct drift_result *out)
{
	unsigned hod = h->hour % DRIFT_HOURS, days = c->days[hod];
	if (h->devices < DRIFT_DEVICES_MIN || days < DAYS_MIN || out->classes < 2)
		return;
	double t2 = 0;
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
		double mean = h->sum[i] / h->devices;
		t2 += mean * mean / variance_of(c, h, i, days_worth(days));
	}
	t2 *= (out->classes - 1.0) / out->classes;
	double threshold = threshold_of(c, out->classes);
	out->t2 = (float)t2;
	out->threshold = (float)threshold;
	out->is_warm = c->tested >= TESTED_MIN;
	out->is_over = out->is_warm && t2 > threshold;
	c->over = out->is_over ? count_up(c->over) : 0;
	t2_learn(c, t2, out->classes);
}

static void classes_learn(struct drift *c, const struct drift_hour *h, double slow)
{
	unsigned hod = h->hour % DRIFT_HOURS;
	if (h->devices < 2)
		return;
	double rate = slow * fmax(1.0 / (c->days[hod] + 1), 1.0 / DAYS_MAX);
	/* the first days' differences are mostly those of young baselines */
	bool is_settled = c->days[hod] >= DAYS_MIN - 1;
	double wander_rate = slow * fmax(1.0 / (c->hours + 1.0), 1.0 / WANDER_H);
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
		double mean = h->sum[i] / h->devices, wander = (double)c->wander[i];
		if (is_settled) {
			/* less what the mean of so many days adds */
			double square = mean * mean / (1 + 1.0 / days_worth(c->days[hod]));
			if (c->hours >= TESTED_MIN)
				square = fmin(square, CLIP * fmax(wander, 1e-12));
			c->wander[i] += (float)(wander_rate * (square - wander));
		}
		c->common[hod][i] += (float)(rate * mean);
	}
	if (is_settled)
		c->hours = count_up(c->hours);
	if (c->days[hod] < UINT8_MAX)
		c->days[hod]++;
}

/* ---- metrics: shares of devices ---- */

static void share_test(struct drift *c, const struct drift_hour *h, unsigned s, struct drift_result *out)
{
	double n = h->present[s], x = h->beyond[s];
	if (n == 0)
		return;
	double usual = ((double)c->beyond[s] + 0.5) / ((double)c->present[s] + 100), spread = fmax((double)c->spread[s], 1);
	bool is_known = c->counted[s] >= COUNTED_MIN;
	out->share[s] = (float)(x / n);
	if (is_known) {
		out->usual[s] = (float)usual;
		/* devices that go together count as fewer devices */
		out->p[s] = (float)tails_binomial(n / spread, x / spread, usual);
	}
	bool is_over = is_known && h->beyond[s] >= BEYOND_MIN && x / n >= usual + SHARE_MIN &&
		       (double)out->p[s] <= DRIFT_NULL_RATE / WATCH_STATISTICS;
	if (is_over)
		out->metrics |= 1u << s;
	double slow = is_over ? LEARN_OVER : 1, keep = 1 - slow / MEMORY_H;
	double excess = (x - n * usual) * (x - n * usual) / (n * usual * (1 - usual));
	if (is_known) {
		double rate = slow * fmax(1.0 / (c->counted[s] - COUNTED_MIN + 1.0), 1.0 / MEMORY_H);
		c->spread[s] += (float)(rate * (fmin(excess, SPREAD_MAX) - (double)c->spread[s]));
	}
	c->beyond[s] = (float)(keep * (double)c->beyond[s] + slow * x);
	c->present[s] = (float)(keep * (double)c->present[s] + slow * n);
	c->counted[s] = count_up(c->counted[s]);
}

void drift_roll(struct drift *c, const struct drift_hour *h, struct drift_result *out)
{
	*out = (struct drift_result){.hour = h->hour, .devices = h->devices, .t2 = NAN, .threshold = NAN};
	pooled_roll(c, h, out);
	for (unsigned i = 0; i < DRIFT_CLASSES; i++) {
		out->shift[i] = h->devices > 0 ? (float)(h->sum[i] / h->devices) : 0;
		if (out->shift[i] > out->shift[out->class_up])
			out->class_up = i;
		if (out->shift[i] < out->shift[out->class_down])
			out->class_down = i;
	}
	classes_test(c, h, out);
	classes_learn(c, h, learning(c));
	for (unsigned s = 0; s < WATCH_STATISTICS; s++) {
		out->share[s] = out->usual[s] = NAN;
		out->p[s] = 1;
		share_test(c, h, s, out);
	}
}

static bool all_within(const float *x, unsigned count, float low, float high)
{
	for (unsigned i = 0; i < count; i++)
		if (!(x[i] >= low && x[i] <= high))
			return false;
	return true;
}

bool drift_is_valid(const struct drift *c)
{
	return all_within(c->common[0], DRIFT_HOURS * DRIFT_CLASSES, -2, 2) && all_within(c->wander, DRIFT_CLASSES, 0, 4) &&
	       all_within(c->pooled, DRIFT_CLASSES, 0, 1.001f) && all_within(&c->t2_mean, 1, 0, 1e30f) &&
	       all_within(&c->t2_square, 1, 0, 1e30f) && all_within(c->beyond, WATCH_STATISTICS, 0, 1e30f) &&
	       all_within(c->present, WATCH_STATISTICS, 0, 1e30f) && all_within(c->spread, WATCH_STATISTICS, 0, 2 * (float)SPREAD_MAX);
}
