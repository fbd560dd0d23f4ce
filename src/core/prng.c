#include "core/prng.h"

#include <assert.h>
#include <string.h>

#include "base/crypto.h"

#define DRAW_DOMAIN "aviary-draw-1"
#define ORDER_DOMAIN "aviary-order-1"
#define ROLLOUT_MAX 128

static void put_u32(uint8_t **at, uint32_t v) {
	for (int shift = 24; shift >= 0; shift -= 8)
		*(*at)++ = (uint8_t)(v >> shift);
}

static uint64_t get_u64(const uint8_t *in) {
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | in[i];
	return v;
}

/* SHA-256 over domain NUL seed rollout NUL and three numbers. */
static void derive(const char *domain, const uint8_t seed[PRNG_SEED_BYTES], const char *rollout,
	const uint32_t numbers[3],
	uint8_t out[SHA256_BYTES]) {
	size_t rollout_len = strlen(rollout);
	assert(rollout_len <= ROLLOUT_MAX);
	uint8_t message[sizeof ORDER_DOMAIN + PRNG_SEED_BYTES + ROLLOUT_MAX + 1 + 12], *at = message;
	memcpy(at, domain, strlen(domain) + 1);
	at += strlen(domain) + 1;
	memcpy(at, seed, PRNG_SEED_BYTES);
	at += PRNG_SEED_BYTES;
	memcpy(at, rollout, rollout_len + 1);
	at += rollout_len + 1;
	for (int i = 0; i < 3; i++)
		put_u32(&at, numbers[i]);
	crypto_sha256(message, (size_t)(at - message), out);
}

void prng_commit(const uint8_t seed[PRNG_SEED_BYTES], uint8_t commit[32]) {
	crypto_sha256(seed, PRNG_SEED_BYTES, commit);
}

uint32_t prng_uniform(const uint8_t seed[PRNG_SEED_BYTES], const char *rollout, uint32_t wave, uint32_t block,
	uint32_t bound) {
	assert(bound >= 1);
	uint64_t beyond = UINT64_MAX - (UINT64_MAX % bound + 1) % bound; /* last value of the largest multiple */
	for (uint32_t try = 0;; try++) {
		uint8_t digest[SHA256_BYTES];
		derive(DRAW_DOMAIN, seed, rollout, (const uint32_t[3]){wave, block, try}, digest);
		uint64_t v = get_u64(digest);
		if (v <= beyond)
			return (uint32_t)(v % bound);
	}
}

void prng_order_init(struct prng_order *o, const uint8_t seed[PRNG_SEED_BYTES], const char *rollout, uint32_t wave) {
	uint8_t digest[SHA256_BYTES];
	derive(ORDER_DOMAIN, seed, rollout, (const uint32_t[3]){wave, 0, 0}, digest);
	o->k0 = get_u64(digest);
	o->k1 = get_u64(digest + 8);
}

static uint64_t rotate(uint64_t v, int bits) {
	return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 of the key's 8 bytes, little-endian. */
uint64_t prng_order_rank(const struct prng_order *o, uint64_t key) {
	uint64_t v[4] = {o->k0 ^ 0x736f6d6570736575, o->k1 ^ 0x646f72616e646f6d, o->k0 ^ 0x6c7967656e657261,
		o->k1 ^ 0x7465646279746573};
	const uint64_t words[2] = {key, (uint64_t)8 << 56};
	for (int w = 0; w < 2; w++) {
		v[3] ^= words[w];
		sip_round(v);
		sip_round(v);
		v[0] ^= words[w];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
