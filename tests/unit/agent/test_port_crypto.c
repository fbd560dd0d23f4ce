/* The small crypto of ports/crypto against OpenSSL and the vectors of RFC 8032 and FIPS 180-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/crypto.h"

#include "../../../ports/crypto/ed25519.c"
#include "../../../ports/crypto/sha2.c"

static void test_sha2(void **unused)
{
	(void)unused;
	unsigned char data[700], ours[64], theirs[64];
	unsigned len = 0;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + (i >> 8));
	for (size_t n = 0; n <= sizeof(data); n++) {
		struct sha2_256 a;
		struct sha2_512 b;
		size_t half = n / 3;
		sha2_256_init(&a);
		sha2_256_update(&a, data, half);
		sha2_256_update(&a, data + half, n - half);
		sha2_256_final(&a, ours);
		assert_true(EVP_Digest(data, n, theirs, &len, EVP_sha256(), NULL) == 1);
		assert_memory_equal(ours, theirs, 32);
		sha2_512_init(&b);
		sha2_512_update(&b, data, half);
		sha2_512_update(&b, data + half, n - half);
		sha2_512_final(&b, ours);
		assert_true(EVP_Digest(data, n, theirs, &len, EVP_sha512(), NULL) == 1);
		assert_memory_equal(ours, theirs, 64);
	}
}

static bool verify(const uint8_t key[32], const char *domain, const void *data, size_t len, const uint8_t signature[64])
{
	const struct ed25519_part parts[] = {{domain, strlen(domain) + 1}, {data, len}};
	return ed25519_is_signed(key, parts, 2, signature);
}

static void test_ed25519_agrees_with_openssl(void **unused)
{
	(void)unused;
	srand(5);
	for (int round = 0; round < 60; round++) {
		uint8_t secret[32], key[32], signature[64], message[300];
		size_t len = (size_t)rand() % sizeof(message);
		for (size_t i = 0; i < sizeof(secret); i++)
			secret[i] = (uint8_t)rand();
		for (size_t i = 0; i < len; i++)
			message[i] = (uint8_t)rand();
		ed25519_public(secret, key);
		ed25519_sign(secret, "domain", message, len, signature);
		assert_true(verify(key, "domain", message, len, signature));
		assert_false(verify(key, "another", message, len, signature));
		signature[(size_t)rand() % 64] ^= (uint8_t)(1 << rand() % 8);
		assert_false(verify(key, "domain", message, len, signature));
	}
}

/* Random keys and signatures, most of them no points: both must say the same. */
static void test_ed25519_refuses_alike(void **unused)
{
	(void)unused;
	for (int round = 0; round < 200; round++) {
		uint8_t key[32], signature[64] = {0};
		for (size_t i = 0; i < 32; i++)
			key[i] = round < 40 ? (i == 0 ? (uint8_t)(round % 20) : round < 20 || i == 31 ? 0 : 0xff) : (uint8_t)rand();
		for (size_t i = 0; i < 64 && round >= 40; i++)
			signature[i] = (uint8_t)rand();
		signature[0] = round < 40 ? 1 : signature[0];
		assert_int_equal(verify(key, "d", "m", 1, signature), ed25519_verify(key, "d", "m", 1, signature));
	}
}

static void test_signature_with_the_order_added(void **unused)
{
	(void)unused;
	static const uint8_t secret[32] = {3};
	uint8_t key[32], signature[64];
	unsigned carry = 0;
	ed25519_public(secret, key);
	ed25519_sign(secret, "d", "m", 1, signature);
	assert_true(verify(key, "d", "m", 1, signature));
	for (unsigned i = 0; i < 32; i++) { /* the same point, another spelling */
		carry += signature[32 + i] + (unsigned)(order.w[i / 4] >> (8 * (i % 4)) & 255);
		signature[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_false(verify(key, "d", "m", 1, signature));
}

static void test_vector_of_rfc_8032(void **unused)
{
	(void)unused;
	uint8_t key[32], signature[64];
	static const uint8_t message = 0x72;
	const struct ed25519_part part = {&message, 1};
	assert_true(hex_decode("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", 64, key, 32));
	assert_true(hex_decode("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
	                       "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00", 128, signature, 64));
	assert_true(ed25519_is_signed(key, &part, 1, signature));
	assert_false(ed25519_is_signed(key, &part, 0, signature));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha2),
		cmocka_unit_test(test_ed25519_agrees_with_openssl),
		cmocka_unit_test(test_ed25519_refuses_alike),
		cmocka_unit_test(test_signature_with_the_order_added),
		cmocka_unit_test(test_vector_of_rfc_8032),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
