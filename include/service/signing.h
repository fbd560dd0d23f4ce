/* The server's release key: Ed25519, made at first start, kept in <state>/keys/release.key (0600, the seed in hex).
 *
 * release.pub beside it holds the public key in base64, for people who provision devices; the key file is what counts.
 * What a signature covers: docs/protocol.md, "The manifest".
 */
#ifndef AVIARY_SERVICE_SIGNING_H
#define AVIARY_SERVICE_SIGNING_H

#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/err.h"

#define SIGNING_DOMAIN "aviary-manifest-v1"
#define SIGNING_KEY_ID 17 /* with NUL */

struct signing;

/* Reads or makes the key. ERR_INVALID: the file is there and is not a key; it is never overwritten. ERR_FORBIDDEN: others may read it. */
AVIARY_MUST_CHECK enum err signing_open(const char *state_dir, struct signing **out, struct fault *f);
void signing_close(struct signing *s); /* wipes the key; NULL is allowed */
const uint8_t *signing_public_key(const struct signing *s); /* ED25519_KEY_BYTES */
const char *signing_key_id(const struct signing *s);        /* first 16 hex digits of SHA-256 of the public key */
/* What tokens of DDI devices are sealed with (crypto_seal): keys/target.key, made and read like the other one. */
const uint8_t *signing_target_key(const struct signing *s);
void signing_sign(const struct signing *s, const void *data, size_t len, uint8_t signature[ED25519_SIGNATURE_BYTES]);

#endif
