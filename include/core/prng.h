/* Randomness that can be audited: every draw is a function of a secret seed and of what is drawn.
 *
 * The server commits to SHA-256(seed) in the rollout's row before the draw and publishes the seed after it, so that
 * anyone can draw the cohort again (cohort.h). Counter mode over SHA-256 with rejection, so that a draw is exactly
 * uniform. This is not the source of keys or tokens (base/crypto.h crypto_random is), nor the generator of
 * simulations.
 */
#ifndef AVIARY_CORE_PRNG_H
#define AVIARY_CORE_PRNG_H

#include <stddef.h>
#include <stdint.h>

#define PRNG_SEED_BYTES 32

/* What is published before the draw: SHA-256 of the seed. */
void prng_commit(const uint8_t seed[PRNG_SEED_BYTES], uint8_t commit[32]);

/* uniform(seed, rollout, wave, block): an integer in [0, bound), bound >= 1, every value with equal probability. First
 * 8 bytes, big-endian, of SHA-256("aviary-draw-1" NUL seed rollout NUL wave block try), the numbers as 4 bytes
 * big-endian; `try` counts from 0 and is raised while the 8 bytes are not below the largest multiple of bound. */
uint32_t prng_uniform(const uint8_t seed[PRNG_SEED_BYTES], const char *rollout, uint32_t wave, uint32_t block,
	uint32_t bound);

/* A fast keyed permutation order (SipHash-2-4, Aumasson and Bernstein 2012), for shuffling ties and for choosing which
 * devices of a large pool enter blocks. The key is derived from the seed once. */
struct prng_order {
	uint64_t k0, k1;
};
void prng_order_init(struct prng_order *o, const uint8_t seed[PRNG_SEED_BYTES], const char *rollout, uint32_t wave);
uint64_t prng_order_rank(const struct prng_order *o, uint64_t key);

#endif
