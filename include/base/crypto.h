/* SHA-256, Ed25519, sealed secrets, random bytes, hex and base64, constant-time comparison. OpenSSL underneath, seen nowhere else. */
#ifndef AVIARY_BASE_CRYPTO_H
#define AVIARY_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SHA256_BYTES 32
#define SHA256_HEX 65 /* with NUL */
#define ED25519_KEY_BYTES 32
#define ED25519_SIGNATURE_BYTES 64

void crypto_random(void *out, size_t len); /* aborts when the system has no randomness */
void crypto_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES]);
void crypto_sha256_hex(const void *data, size_t len, char out[SHA256_HEX]);

void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[SHA256_BYTES]); /* RFC 2104 */

struct sha256; /* incremental */
struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *h, const void *data, size_t len);
void sha256_final(struct sha256 *h, uint8_t out[SHA256_BYTES]); /* h may not be updated after */
void sha256_free(struct sha256 *h);

/* The digests that file formats and protocols ask for, of one pass over the bytes. SHA-1 and MD5 are for clients that know nothing better. */
struct file_digests {
	uint8_t sha256[SHA256_BYTES];
	char sha1[41], md5[33]; /* hex, lower case */
};
struct file_digest;
struct file_digest *file_digest_new(void);
void file_digest_update(struct file_digest *h, const void *data, size_t len);
void file_digest_final(struct file_digest *h, struct file_digests *out); /* h may not be updated after */
void file_digest_free(struct file_digest *h); /* NULL is allowed */

/* A secret that is kept where others may look: AES-256-GCM with a random nonce. out has len + CRYPTO_SEAL_BYTES. */
#define CRYPTO_SEAL_KEY_BYTES 32
#define CRYPTO_SEAL_BYTES 28
void crypto_seal(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], const void *data, size_t len, uint8_t *out);
/* False when it was not sealed with this key, or was changed. out has len - CRYPTO_SEAL_BYTES. */
bool crypto_open(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], const void *sealed, size_t len, uint8_t *out);

void ed25519_public(const uint8_t secret[ED25519_KEY_BYTES], uint8_t public_key[ED25519_KEY_BYTES]);
/* Signature over domain, one zero byte, data. The secret is the 32-byte RFC 8032 seed. */
void ed25519_sign(const uint8_t secret[ED25519_KEY_BYTES], const char *domain, const void *data, size_t len,
                  uint8_t signature[ED25519_SIGNATURE_BYTES]);
bool ed25519_verify(const uint8_t public_key[ED25519_KEY_BYTES], const char *domain, const void *data, size_t len,
                    const uint8_t signature[ED25519_SIGNATURE_BYTES]);

void hex_encode(const void *data, size_t len, char *out); /* lower case; out has 2*len+1 bytes */
bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t out_len); /* exact length, either case */
/* Standard alphabet with padding (RFC 4648 section 4). */
size_t base64_encoded_len(size_t len);
void base64_encode(const void *data, size_t len, char *out); /* NUL-terminated */
bool base64_decode(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *out_len);
bool crypto_equal(const void *a, const void *b, size_t len); /* time independent of the content */

#endif
