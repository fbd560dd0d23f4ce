/* Drawing a canary: strata, blocks of neighbours, one canary in each block by a committed seed.
 *
 * This is the statistics: the coin that is tossed here is the only randomness that the judge relies on. Devices of a
 * stratum are sorted by their baseline of the priority metric and cut into blocks of r+1 neighbours; in each block one
 * unit is drawn to be the canary, the others are its controls. The result depends on the set of devices and the seed,
 * not on the order in which they are given. Who is eligible (online now, on the old version, has a baseline) is the
 * caller's to decide.
 */
#ifndef AVIARY_CORE_COHORT_H
#define AVIARY_CORE_COHORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/prng.h"

#define COHORT_CONTROLS_MAX 99
#define COHORT_DEVICES_MAX 4000000
#define COHORT_STRATA_MAX 65536

struct cohort_device {
	uint64_t key;      /* stable identity of the device (its row id); unique */
	uint64_t unit;     /* devices that share fate (one gateway) have the same unit; 0 = a unit of its own */
	uint32_t stratum;  /* hardware x region, numbered by the caller */
	double baseline;   /* of the priority metric, any unit; not finite = no baseline: not eligible, counted */
};

struct cohort_request {
	const uint8_t *seed;   /* PRNG_SEED_BYTES */
	const char *rollout;   /* id text */
	uint32_t wave;         /* from 1 */
	uint32_t canaries;     /* units wanted, >= 1 */
	uint32_t controls_max; /* at most COHORT_CONTROLS_MAX; 0 = that */
};

struct cohort_member {
	uint64_t key;
	uint32_t device;  /* index into the devices given */
	uint32_t block;   /* from 0 */
	uint32_t stratum;
	bool is_canary;
};

struct cohort_plan {
	uint32_t blocks;          /* = canary units drawn */
	uint32_t controls;        /* r: control units in each block; 0 = nothing could be drawn */
	uint32_t canary_devices;  /* devices of canary units (= blocks without unit keys) */
	uint32_t control_devices;
	uint32_t pool_units;      /* eligible units */
	uint32_t left_over;       /* eligible devices that are in no block */
	uint32_t no_baseline;     /* devices refused for it */
	uint32_t mixed_units;     /* units whose devices are of several strata; they take their smallest */
	uint32_t strata;          /* with at least one eligible unit */
	uint32_t strata_uncovered; /* of those, without any block */
	uint32_t short_of;        /* canaries wanted and not drawn */
};

size_t cohort_workspace_bytes(size_t device_count);
/* Writes at most device_count members, ordered by block and inside it by place. r is the largest number up to
 * controls_max with which enough blocks exist, at least 1; where the strata's remainders cost blocks, r gives way
 * before canaries do. Blocks are shared among strata in proportion to their units. ERR_INVALID: no canary wanted, a
 * key twice, too many devices. An empty plan (blocks = 0) is not an error. */
AVIARY_MUST_CHECK enum err cohort_draw(const struct cohort_request *q, const struct cohort_device *devices,
	size_t device_count, struct cohort_member *members, size_t *member_count, struct cohort_plan *plan, void *workspace,
	size_t workspace_bytes);

#endif
