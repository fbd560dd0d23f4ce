/* Ed25519 verification (RFC 8032, 5.1.7, without the cofactor) for devices without a crypto library: small, C99. It handles public
 * values only, so its time may depend on them; it cannot sign. */
#ifndef AVIARY_PORTS_ED25519_H
#define AVIARY_PORTS_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message in parts, so that a domain needs no copy of what follows it. */
struct ed25519_part {
	const void *data;
	size_t len;
};
bool ed25519_is_signed(const uint8_t public_key[32], const struct ed25519_part *parts, size_t count, const uint8_t signature[64]);

#endif
