/* The simulated cohort of docs/detect.md, "Fleet drift", judged by the very code that the daemon runs (core/drift.h).
 *
 * One header, so that the bench (drift_sim.c) and the short form in the unit tests (test_drift.c) are the same program.
 * Each device has its own class shares (log-normal around the cohort's), which wander hour by hour (AR(1) in logits);
 * the cohort shares the time of day and, where asked, shocks of its own. An hour is a multinomial draw.
 */
#ifndef AVIARY_BENCH_DRIFT_FLEET_H
#define AVIARY_BENCH_DRIFT_FLEET_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/drift.h"

#define FLEET_DEVICES_MAX 1000
#define FLEET_WARM_H 240 /* ten days */

struct fleet_config {
	unsigned devices, classes, inferences; /* a device-hour */
	double skew;     /* share of class c is proportional to exp(-skew c) */
	double variety;  /* sd of a device's own logits around the cohort's */
	double wander;   /* sd of a device's hourly logits, AR(1) of 0.8 */
	double daily;    /* amplitude of the common daily cycle in logits */
	double shocks;   /* sd of hourly logits common to all, AR(1) of 0.5, along one direction */
};

/* What wanders adds two fifths to the variance that counting alone has. */
static const struct fleet_config fleet_plain = {1000, 10, 400, 0.15, 0.7, 0.1, 0.15, 0};

struct fleet {
	struct fleet_config c;
	uint64_t rng;
	uint32_t hour;
	double shock, shock_direction[DRIFT_CLASSES], phase[DRIFT_CLASSES];
	double logit[FLEET_DEVICES_MAX][DRIFT_CLASSES], walk[FLEET_DEVICES_MAX][DRIFT_CLASSES];
	struct drift_device device[FLEET_DEVICES_MAX];
	struct drift drift;
};

/* A share `mass` of all outputs moves from one class to the next on a share `devices` of the devices. */
struct fleet_fault {
	double mass, devices;
	unsigned from;
};

/* ---- random numbers: splitmix64 ---- */

static inline double fleet_uniform(struct fleet *f) /* (0, 1) */
{
	uint64_t z = f->rng += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return ((double)((z ^ z >> 31) >> 12) + 0.5) * 0x1p-52;
}

static inline double fleet_normal(struct fleet *f)
{
	return sqrt(-2 * log(fleet_uniform(f))) * cos(6.283185307179586 * fleet_uniform(f));
}

/* Twelve uniforms' worth from one draw of bits: enough for what only has to wander. */
static inline double fleet_rough(struct fleet *f)
{
	uint64_t bits = (uint64_t)(fleet_uniform(f) * 0x1p52);
	double sum = 0;
	for (int i = 0; i < 4; i++, bits >>= 13) sum += (double)(bits & 8191);
	return (sum / 8192 - 2) * 1.7320508;
}

static inline double fleet_stirling(double k) /* ln k! less Stirling's first terms */
{
	static const double table[] = {0.0810614667953272, 0.0413406959554093, 0.0276779256849983, 0.0207906721037651, 0.0166446911898212,
		0.0138761288230707, 0.0118967099458918, 0.0104112652619721, 0.00925546218271273, 0.00833056343336287};
	if (k < 10)
		return table[(int)k];
	double k1 = (k + 1) * (k + 1);
	return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / k1) / k1) / (k + 1);
}

/* Binomial (n, p), p <= 1/2: by inversion where np < 10, else transformed rejection (Hoermann 1993, BTRS). */
static inline unsigned fleet_binomial_half(struct fleet *f, unsigned n, double p)
{
	double q = 1 - p, np = n * p;
	if (np < 10) {
		double term = pow(q, n), u = fleet_uniform(f);
		unsigned k = 0;
		while (u > term && k < n) {
			u -= term;
			k++;
			term *= p / q * (n - k + 1) / k;
		}
		return k;
	}
	double sd = sqrt(np * q), b = 1.15 + 2.53 * sd, a = -0.0873 + 0.0248 * b + 0.01 * p, centre = np + 0.5;
	double accept = 0.92 - 4.2 / b, alpha = (2.83 + 5.1 / b) * sd, odds = p / q, m = floor((n + 1) * p);
	for (;;) {
		double u = fleet_uniform(f) - 0.5, v = fleet_uniform(f), us = 0.5 - fabs(u);
		double k = floor((2 * a / us + b) * u + centre);
		if (us >= 0.07 && v <= accept)
			return (unsigned)k;
		if (k < 0 || k > n)
			continue;
		double bound = (m + 0.5) * log((m + 1) / (odds * (n - m + 1))) + (n + 1) * log((n - m + 1) / (n - k + 1)) +
			       (k + 0.5) * log(odds * (n - k + 1) / (k + 1)) + fleet_stirling(m) + fleet_stirling(n - m) -
			       fleet_stirling(k) - fleet_stirling(n - k);
		if (log(v * alpha / (a / (us * us) + b)) <= bound)
			return (unsigned)k;
	}
}

static inline unsigned fleet_binomial(struct fleet *f, unsigned n, double p)
{
	if (n == 0 || p <= 0)
		return 0;
	return p > 0.5 ? n - (p >= 1 ? 0 : fleet_binomial_half(f, n, 1 - p)) : fleet_binomial_half(f, n, p);
}

/* ---- the cohort ---- */

static inline void fleet_init(struct fleet *f, const struct fleet_config *c, uint64_t seed)
{
	memset(f, 0, sizeof *f);
	f->c = *c;
	f->rng = seed * 0x9e3779b97f4a7c15 + 1;
	f->hour = 1000;
	for (unsigned i = 0; i < c->classes; i++) {
		f->phase[i] = 6.283185307179586 * fleet_uniform(f);
		f->shock_direction[i] = fleet_normal(f);
		for (unsigned d = 0; d < c->devices; d++) f->logit[d][i] = -c->skew * i + c->variety * fleet_normal(f);
	}
}

static inline void fleet_device_hour(struct fleet *f, unsigned d, const double *common, const struct fleet_fault *fault)
{
	double p[DRIFT_CLASSES], sum = 0;
	float counts[DRIFT_CLASSES];
	for (unsigned i = 0; i < f->c.classes; i++) {
		f->walk[d][i] = 0.8 * f->walk[d][i] + 0.6 * f->c.wander * fleet_rough(f);
		sum += p[i] = exp(f->logit[d][i] + f->walk[d][i] + common[i]);
	}
	for (unsigned i = 0; i < f->c.classes; i++) p[i] /= sum;
	if (fault && d < fault->devices * f->c.devices) {
		double moved = fmin(fault->mass, p[fault->from]);
		p[fault->from] -= moved;
		p[(fault->from + 1) % f->c.classes] += moved;
	}
	unsigned left = f->c.inferences;
	double rest = 1;
	for (unsigned i = 0; i < f->c.classes; i++) {
		unsigned k = i + 1 == f->c.classes ? left : fleet_binomial(f, left, fmin(p[i] / rest, 1));
		counts[i] = (float)k;
		left -= k;
		rest = fmax(rest - p[i], 1e-12);
	}
	drift_device_add(&f->device[d], f->hour, counts, f->c.classes);
}

/* One hour of the whole cohort. fault: NULL for none. */
static inline struct drift_result fleet_hour(struct fleet *f, const struct fleet_fault *fault)
{
	double common[DRIFT_CLASSES];
	struct drift_result result;
	f->shock = 0.5 * f->shock + 0.866 * f->c.shocks * fleet_normal(f);
	for (unsigned i = 0; i < f->c.classes; i++)
		common[i] = f->c.daily * sin(6.283185307179586 * f->hour / 24 + f->phase[i]) + f->shock * f->shock_direction[i];
	struct drift_hour h = {.hour = f->hour};
	for (unsigned d = 0; d < f->c.devices; d++) {
		fleet_device_hour(f, d, common, fault);
		drift_device_close(&f->device[d], &f->drift, &h);
	}
	drift_roll(&f->drift, &h, &result);
	f->hour++;
	return result;
}

#endif
