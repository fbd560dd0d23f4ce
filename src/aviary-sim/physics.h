/* What a simulated device measures: pure functions of its seed, its class, the model version it runs, and the time.
 *
 * Device accuracies N(0.92, 0.03) with slow AR(1) drift, log-normal latencies with device effect, drift and rare spikes, energy, temperature,
 * battery and link: repeated measures that resemble each other, as real fleets have them (docs/simulator.md has the figures).
 */
#ifndef AVIARY_SIM_PHYSICS_H
#define AVIARY_SIM_PHYSICS_H

#include <stdbool.h>
#include <stdint.h>

#define PHYSICS_INFERENCES 50  /* labelled inferences a report */
#define PHYSICS_LATENCIES 20   /* latency samples a report */
#define PHYSICS_CLASSES 10

struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *r); /* splitmix64 */
double rng_uniform(struct rng *r); /* [0, 1) */
double rng_normal(struct rng *r);
uint64_t seed_mix(uint64_t seed, const char *text); /* another stream for each text */

struct hardware_profile {
	const char *name;
	double latency_ms, energy_mj, temperature_c;
	bool has_shadow; /* room and time for a second release beside its own */
	double hardness; /* share of inferences below a margin x: x to this power */
};
const struct hardware_profile *hardware_profile(const char *name); /* a default one for unknown names */

/* What a model version does to its device. Zeroed memory is no effect, but factors of 0 count as 1. */
struct model_effect {
	double accuracy, latency_factor, energy_factor, temperature, crash; /* crash: expected events a report */
};

struct physics {
	struct rng rng;
	const struct hardware_profile *hardware;
	double accuracy, accuracy_drift, latency_ln, latency_drift, temperature, battery, rssi;
};
void physics_init(struct physics *p, uint64_t seed, const struct hardware_profile *hardware);

struct measurement {
	uint32_t correct; /* of PHYSICS_INFERENCES */
	double latency_ms[PHYSICS_LATENCIES];
	double energy_mj; /* sum over the inferences */
	double confidence; /* sum over the inferences */
	double temperature_c, battery, rssi_dbm;
	uint32_t classes[PHYSICS_CLASSES];
	uint32_t crashes;
};
/* The same state of *p and another effect: another version over the same inputs. */
void physics_measure(struct physics *p, const struct model_effect *e, int64_t wall_ms, struct measurement *m);

#endif
