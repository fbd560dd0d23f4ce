#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What fails here is memory or the library itself, never input. */
static void must(int ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "crypto: %s failed\n", what);
	abort();
}

void crypto_random(void *out, size_t len)
{
	must(len <= 0x7FFFFFFF && RAND_bytes(out, (int)len) == 1, "random");
}

/* Looked up once: OpenSSL 3 otherwise searches its providers at every call. */
static EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
	sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
	must(sha256_md != NULL, "sha256");
}

void crypto_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	pthread_once(&sha256_once, fetch_sha256);
	must(EVP_Digest(data, len, out, NULL, sha256_md, NULL), "sha256");
}

void crypto_sha256_hex(const void *data, size_t len, char out[SHA256_HEX])
{
	uint8_t digest[SHA256_BYTES];
	crypto_sha256(data, len, digest);
	hex_encode(digest, sizeof digest, out);
}

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *h = malloc(sizeof *h);
	must(h != NULL, "memory");
	pthread_once(&sha256_once, fetch_sha256);
	h->ctx = EVP_MD_CTX_new();
	must(h->ctx != NULL && EVP_DigestInit_ex2(h->ctx, sha256_md, NULL), "sha256");
	return h;
}

void sha256_update(struct sha256 *h, const void *data, size_t len)
{
	must(EVP_DigestUpdate(h->ctx, data, len), "sha256");
}

void sha256_final(struct sha256 *h, uint8_t out[SHA256_BYTES])
{
	must(EVP_DigestFinal_ex(h->ctx, out, NULL), "sha256");
}

void sha256_free(struct sha256 *h)
{
	if (h == NULL) return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

/* ---- several digests of one pass ---- */

struct file_digest {
	EVP_MD_CTX *sha1, *md5;
	struct sha256 *sha256;
};

static EVP_MD_CTX *digest_begin(const EVP_MD *md)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL), "digest");
	return ctx;
}

struct file_digest *file_digest_new(void)
{
	struct file_digest *h = malloc(sizeof *h);
	must(h != NULL, "memory");
	*h = (struct file_digest){digest_begin(EVP_sha1()), digest_begin(EVP_md5()), sha256_new()};
	return h;
}

void file_digest_update(struct file_digest *h, const void *data, size_t len)
{
	sha256_update(h->sha256, data, len);
	must(EVP_DigestUpdate(h->sha1, data, len) && EVP_DigestUpdate(h->md5, data, len), "digest");
}

void file_digest_final(struct file_digest *h, struct file_digests *out)
{
	uint8_t sha1[20], md5[16];
	sha256_final(h->sha256, out->sha256);
	must(EVP_DigestFinal_ex(h->sha1, sha1, NULL) && EVP_DigestFinal_ex(h->md5, md5, NULL), "digest");
	hex_encode(sha1, sizeof sha1, out->sha1);
	hex_encode(md5, sizeof md5, out->md5);
}

void file_digest_free(struct file_digest *h)
{
	if (h == NULL) return;
	EVP_MD_CTX_free(h->sha1);
	EVP_MD_CTX_free(h->md5);
	sha256_free(h->sha256);
	free(h);
}

/* ---- sealing: nonce, text, tag ---- */

#define SEAL_NONCE 12
#define SEAL_TAG 16

static EVP_CIPHER *seal_cipher;
static pthread_once_t seal_once = PTHREAD_ONCE_INIT;

static void fetch_cipher(void)
{
	seal_cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	must(seal_cipher != NULL, "aes-256-gcm");
}

void crypto_seal(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], const void *data, size_t len, uint8_t *out)
{
	int n;
	pthread_once(&seal_once, fetch_cipher);
	crypto_random(out, SEAL_NONCE);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	must(ctx != NULL && len < 1 << 20 && EVP_EncryptInit_ex2(ctx, seal_cipher, key, out, NULL) &&
	     EVP_EncryptUpdate(ctx, out + SEAL_NONCE, &n, data, (int)len) && EVP_EncryptFinal_ex(ctx, out + SEAL_NONCE + n, &n) &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, out + SEAL_NONCE + len), "seal");
	EVP_CIPHER_CTX_free(ctx);
}

bool crypto_open(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], const void *sealed, size_t len, uint8_t *out)
{
	const uint8_t *in = sealed;
	int n = 0;
	if (len < CRYPTO_SEAL_BYTES || len > 1 << 20) return false;
	size_t text = len - CRYPTO_SEAL_BYTES;
	uint8_t tag[SEAL_TAG];
	memcpy(tag, in + SEAL_NONCE + text, sizeof tag);
	pthread_once(&seal_once, fetch_cipher);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	must(ctx != NULL && EVP_DecryptInit_ex2(ctx, seal_cipher, key, in, NULL) &&
	     EVP_DecryptUpdate(ctx, out, &n, in + SEAL_NONCE, (int)text) && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag), "open");
	bool is_good = EVP_DecryptFinal_ex(ctx, out + n, &n) > 0;
	EVP_CIPHER_CTX_free(ctx);
	return is_good;
}

static EVP_PKEY *secret_key(const uint8_t secret[ED25519_KEY_BYTES])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, ED25519_KEY_BYTES);
	must(key != NULL, "ed25519 key");
	return key;
}

void ed25519_public(const uint8_t secret[ED25519_KEY_BYTES], uint8_t public_key[ED25519_KEY_BYTES])
{
	size_t len = ED25519_KEY_BYTES;
	EVP_PKEY *key = secret_key(secret);
	must(EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 && len == ED25519_KEY_BYTES, "ed25519 key");
	EVP_PKEY_free(key);
}

/* domain, a zero byte, data: one message for the one-shot interface. Ed25519 reads its message twice, so it cannot be
 * streamed. */
static uint8_t *join_message(const char *domain, const void *data, size_t len, size_t *message_len)
{
	size_t domain_len = strlen(domain) + 1;
	uint8_t *message = malloc(domain_len + len);
	must(message != NULL, "memory");
	memcpy(message, domain, domain_len);
	if (len > 0) memcpy(message + domain_len, data, len);
	*message_len = domain_len + len;
	return message;
}

void ed25519_sign(const uint8_t secret[ED25519_KEY_BYTES], const char *domain, const void *data, size_t len,
                  uint8_t signature[ED25519_SIGNATURE_BYTES])
{
	size_t message_len, signature_len = ED25519_SIGNATURE_BYTES;
	uint8_t *message = join_message(domain, data, len, &message_len);
	EVP_PKEY *key = secret_key(secret);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
	         EVP_DigestSign(ctx, signature, &signature_len, message, message_len) == 1,
	     "ed25519 sign");
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	free(message);
}

bool ed25519_verify(const uint8_t public_key[ED25519_KEY_BYTES], const char *domain, const void *data, size_t len,
                    const uint8_t signature[ED25519_SIGNATURE_BYTES])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, ED25519_KEY_BYTES);
	if (key == NULL) return false;
	size_t message_len;
	uint8_t *message = join_message(domain, data, len, &message_len);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(ctx != NULL, "memory");
	bool good = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	            EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_BYTES, message, message_len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	free(message);
	return good;
}

void hex_encode(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;
	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t out_len)
{
	if (text_len % 2 != 0 || text_len / 2 != out_len) return false;
	for (size_t i = 0; i < out_len; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0) return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded_len(size_t len)
{
	return (len + 2) / 3 * 4;
}

void base64_encode(const void *data, size_t len, char *out)
{
	const uint8_t *in = data;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
		*out++ = base64_alphabet[group >> 18];
		*out++ = base64_alphabet[group >> 12 & 63];
		*out++ = left > 1 ? base64_alphabet[group >> 6 & 63] : '=';
		*out++ = left > 2 ? base64_alphabet[group & 63] : '=';
	}
	*out = '\0';
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Canonical only: the bits that padding leaves over must be zero, so that one value has one text. */
bool base64_decode(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *out_len)
{
	if (text_len % 4 != 0) return false;
	size_t padding = 0;
	while (padding < 2 && padding < text_len && text[text_len - 1 - padding] == '=') padding++;
	size_t len = text_len / 4 * 3 - padding, done = 0;
	if (len > out_size) return false;
	for (size_t i = 0; i < text_len; i += 4) {
		uint32_t group = 0;
		for (size_t k = i; k < i + 4; k++) {
			int value = k >= text_len - padding ? 0 : base64_value(text[k]);
			if (value < 0) return false;
			group = group << 6 | (uint32_t)value;
		}
		for (int shift = 16; shift >= 0; shift -= 8) {
			uint8_t byte = (uint8_t)(group >> shift);
			if (done < len) out[done++] = byte;
			else if (byte != 0) return false;
		}
	}
	*out_len = len;
	return true;
}

void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	unsigned n = 0;
	if (HMAC(EVP_sha256(), key, (int)key_len, data, len, out, &n) == NULL || n != SHA256_BYTES) abort();
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
