#include "physics.h"

#include <math.h>
#include <string.h>

#define DAY_MS 86400000.0

uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

double rng_uniform(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *r)
{
	double u = 1 - rng_uniform(r), v = rng_uniform(r);
	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

uint64_t seed_mix(uint64_t seed, const char *text)
{
	uint64_t h = seed ^ 14695981039346656037u;
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211u;
	struct rng r = {h};
	return rng_next(&r);
}

static const struct hardware_profile profiles[] = {
	{"esp32s3", 42, 9, 38, true, 0.7},
	{"nrf52", 95, 4, 31, false, 0.6},
	{"jetson", 6, 55, 47, true, 2},
};

const struct hardware_profile *hardware_profile(const char *name)
{
	static const struct hardware_profile other = {"", 30, 10, 35, true, 1};
	for (unsigned i = 0; i < sizeof profiles / sizeof *profiles; i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return &other;
}

void physics_init(struct physics *p, uint64_t seed, const struct hardware_profile *hardware)
{
	*p = (struct physics){.rng = {seed}, .hardware = hardware};
	p->accuracy = 0.92 + 0.03 * rng_normal(&p->rng);
	p->latency_ln = log(hardware->latency_ms) + 0.30 * rng_normal(&p->rng);
	p->temperature = hardware->temperature_c + 4 * rng_normal(&p->rng);
	p->battery = 0.4 + 0.6 * rng_uniform(&p->rng);
	p->rssi = -60 + 8 * rng_normal(&p->rng);
}

static double clamp(double v, double low, double high)
{
	return v < low ? low : v > high ? high : v;
}

/* A stationary AR(1) step with the given standard deviation. */
static double drift(struct rng *r, double value, double phi, double sd)
{
	return phi * value + sd * sqrt(1 - phi * phi) * rng_normal(r);
}

static double factor(double f)
{
	return f > 0 ? f : 1;
}

static void measure_latency(struct physics *p, const struct model_effect *e, double day, struct measurement *m)
{
	p->latency_drift = drift(&p->rng, p->latency_drift, 0.97, 0.06);
	double base = p->latency_ln + p->latency_drift + 0.04 * day + log(factor(e->latency_factor));
	for (int i = 0; i < PHYSICS_LATENCIES; i++) {
		double spike = rng_uniform(&p->rng) < 0.02 ? -0.7 * log(1 - rng_uniform(&p->rng)) : 0;
		m->latency_ms[i] = exp(base + 0.08 * rng_normal(&p->rng) + spike);
	}
}

void physics_measure(struct physics *p, const struct model_effect *e, int64_t wall_ms, struct measurement *m)
{
	double day = sin(2 * M_PI * (double)wall_ms / DAY_MS);
	memset(m, 0, sizeof *m);
	p->accuracy_drift = drift(&p->rng, p->accuracy_drift, 0.97, 0.012);
	double accuracy = clamp(p->accuracy + p->accuracy_drift + 0.008 * day + e->accuracy, 0, 1);
	for (int i = 0; i < PHYSICS_INFERENCES; i++) {
		bool is_correct = rng_uniform(&p->rng) < accuracy;
		m->correct += is_correct;
		m->confidence += clamp((is_correct ? 0.88 : 0.55) + 0.08 * rng_normal(&p->rng), 0, 1);
		m->classes[(uint32_t)(rng_uniform(&p->rng) * rng_uniform(&p->rng) * PHYSICS_CLASSES)]++;
	}
	measure_latency(p, e, day, m);
	m->energy_mj = PHYSICS_INFERENCES * p->hardware->energy_mj * factor(e->energy_factor) * exp(0.05 * rng_normal(&p->rng));
	m->temperature_c = p->temperature + 3 * day + 0.4 * rng_normal(&p->rng) + e->temperature;
	p->battery = clamp(p->battery - 0.0001, 0.05, 1);
	m->battery = p->battery;
	m->rssi_dbm = p->rssi + 2 * rng_normal(&p->rng);
	m->crashes = (uint32_t)(e->crash > 0 && rng_uniform(&p->rng) < e->crash);
}
