/* SHA-256 and SHA-512 (FIPS 180-4) for devices without a crypto library: small, C99, no table but the constants. A device
 * with an accelerator, mbed TLS or PSA uses that in its ports instead. */
#ifndef AVIARY_PORTS_SHA2_H
#define AVIARY_PORTS_SHA2_H

#include <stddef.h>
#include <stdint.h>

struct sha2_256 {
	uint64_t len; /* bytes so far */
	uint32_t h[8];
	uint8_t block[64];
};
void sha2_256_init(struct sha2_256 *s);
void sha2_256_update(struct sha2_256 *s, const void *data, size_t len);
void sha2_256_final(struct sha2_256 *s, uint8_t out[32]);

struct sha2_512 {
	uint64_t len;
	uint64_t h[8];
	uint8_t block[128];
};
void sha2_512_init(struct sha2_512 *s);
void sha2_512_update(struct sha2_512 *s, const void *data, size_t len);
void sha2_512_final(struct sha2_512 *s, uint8_t out[64]);

#endif
