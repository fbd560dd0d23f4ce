#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/crypto.h"

/* FIPS 180-2, appendix B. */
static void sha256_vectors(void **state)
{
	(void)state;
	char hex[SHA256_HEX];
	crypto_sha256_hex("", 0, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	crypto_sha256_hex("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	uint8_t digest[SHA256_BYTES];
	char block[1000];
	memset(block, 'a', sizeof block);
	struct sha256 *h = sha256_new();
	for (int i = 0; i < 1000; i++) sha256_update(h, block, sizeof block);
	sha256_final(h, digest);
	sha256_free(h);
	sha256_free(NULL);
	hex_encode(digest, sizeof digest, hex);
	assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* RFC 8032 section 7.1. Its messages have no domain before them, so only the key pairs can be taken from there. */
static void ed25519_keys(void **state)
{
	(void)state;
	static const char *const vectors[][2] = {
	    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
	    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
	     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"},
	    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"}};
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		uint8_t secret[32], public_key[32];
		char hex[65];
		assert_true(hex_decode(vectors[i][0], 64, secret, 32));
		ed25519_public(secret, public_key);
		hex_encode(public_key, 32, hex);
		assert_string_equal(hex, vectors[i][1]);
	}
}

/* Key of RFC 8032 TEST 1; made by hand-joined bytes and Python's cryptography: Ed25519 is deterministic. */
static void ed25519_signature_of_another_library(void **state)
{
	(void)state;
	uint8_t secret[32], signature[64];
	char hex[129];
	assert_true(hex_decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", 64, secret, 32));
	ed25519_sign(secret, "aviary-manifest-v1", "{}", 2, signature);
	hex_encode(signature, 64, hex);
	assert_string_equal(hex,
	                    "10f1b612df87c5b3f66a52685c214fc6538ccfdeaef43951120a49e454423d8f"
	                         "0a96d5b29097672659e46f1c99fd5cc71139ba629b37d08447d45e28ea0a3e04");
}

static void ed25519_refuses_what_was_changed(void **state)
{
	(void)state;
	uint8_t secret[32], public_key[32], other[32], signature[64];
	crypto_random(secret, sizeof secret);
	ed25519_public(secret, public_key);
	ed25519_sign(secret, "d", "message", 7, signature);
	assert_true(ed25519_verify(public_key, "d", "message", 7, signature));
	assert_false(ed25519_verify(public_key, "e", "message", 7, signature));
	assert_false(ed25519_verify(public_key, "d", "massage", 7, signature));
	assert_false(ed25519_verify(public_key, "d", "message", 6, signature));
	assert_false(ed25519_verify(public_key, "", "d\0message", 9, signature));
	for (int i = 0; i < 64; i++) {
		signature[i] ^= 1;
		assert_false(ed25519_verify(public_key, "d", "message", 7, signature));
		signature[i] ^= 1;
	}
	crypto_random(secret, sizeof secret);
	ed25519_public(secret, other);
	assert_false(ed25519_verify(other, "d", "message", 7, signature));
	ed25519_sign(secret, "d", NULL, 0, signature);
	assert_true(ed25519_verify(other, "d", NULL, 0, signature));
}

static void hex(void **state)
{
	(void)state;
	uint8_t out[3];
	char text[7];
	assert_true(hex_decode("00aBfF", 6, out, 3));
	assert_memory_equal(out, "\x00\xab\xff", 3);
	hex_encode(out, 3, text);
	assert_string_equal(text, "00abff");
	assert_false(hex_decode("00aBf", 5, out, 2));
	assert_false(hex_decode("00aBfg", 6, out, 3));
	assert_false(hex_decode("00aBff", 6, out, 2));
	assert_true(hex_decode("", 0, out, 0));
}

/* RFC 4648 section 10. */
static void base64(void **state)
{
	(void)state;
	static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
	                                         {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
	uint8_t out[8];
	char text[16];
	size_t len;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		size_t n = strlen(vectors[i][0]);
		base64_encode(vectors[i][0], n, text);
		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(base64_encoded_len(n), strlen(text));
		assert_true(base64_decode(text, strlen(text), out, n, &len));
		assert_int_equal(len, n);
		assert_memory_equal(out, vectors[i][0], n);
		if (n > 0) assert_false(base64_decode(text, strlen(text), out, n - 1, &len));
	}
	static const char *const bad[] = {"Zg=", "Zg", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9-", "=Zg=",
	                                  "Zm9vZ"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(base64_decode(bad[i], strlen(bad[i]), out, sizeof out, &len));
}

static void random_and_equal(void **state)
{
	(void)state;
	uint8_t a[32] = {0}, b[32] = {0};
	crypto_random(a, sizeof a);
	crypto_random(b, sizeof b);
	assert_false(crypto_equal(a, b, sizeof a));
	memcpy(b, a, sizeof a);
	assert_true(crypto_equal(a, b, sizeof a));
	assert_true(crypto_equal(a, b, 0));
}

/* RFC 4231, test cases 1, 2 and 6. */
static void hmac_is_that_of_the_rfc(void **state)
{
	(void)state;
	uint8_t key[131], mac[SHA256_BYTES];
	char hex[SHA256_HEX];
	memset(key, 0x0b, 20);
	crypto_hmac_sha256(key, 20, "Hi There", 8, mac);
	hex_encode(mac, sizeof mac, hex);
	assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	hex_encode(mac, sizeof mac, hex);
	assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	crypto_hmac_sha256(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
	hex_encode(mac, sizeof mac, hex);
	assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_file_digests(void **state)
{
	struct file_digest *h = file_digest_new();
	struct file_digests d;
	char hex[SHA256_HEX];
	(void)state;
	file_digest_update(h, "a", 1);
	file_digest_update(h, "bc", 2);
	file_digest_final(h, &d);
	file_digest_free(h);
	file_digest_free(NULL);
	hex_encode(d.sha256, sizeof d.sha256, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(d.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"); /* FIPS 180-2, RFC 1321 */
	assert_string_equal(d.md5, "900150983cd24fb0d6963f7d28e17f72");
}

static void test_sealed(void **state)
{
	uint8_t key[CRYPTO_SEAL_KEY_BYTES] = {1, 2, 3}, other[CRYPTO_SEAL_KEY_BYTES] = {1, 2, 4};
	uint8_t sealed[5 + CRYPTO_SEAL_BYTES], again[5 + CRYPTO_SEAL_BYTES], text[5];
	(void)state;
	crypto_seal(key, "token", 5, sealed);
	crypto_seal(key, "token", 5, again);
	assert_memory_not_equal(sealed, again, sizeof sealed);
	assert_true(crypto_open(key, sealed, sizeof sealed, text));
	assert_memory_equal(text, "token", 5);
	assert_false(crypto_open(other, sealed, sizeof sealed, text));
	assert_false(crypto_open(key, sealed, sizeof sealed - 1, text));
	assert_false(crypto_open(key, sealed, CRYPTO_SEAL_BYTES - 1, text));
	for (size_t i = 0; i < sizeof sealed; i++) {
		sealed[i] ^= 1;
		assert_false(crypto_open(key, sealed, sizeof sealed, text));
		sealed[i] ^= 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_is_that_of_the_rfc),
	    cmocka_unit_test(sha256_vectors), cmocka_unit_test(ed25519_keys),
	    cmocka_unit_test(ed25519_signature_of_another_library), cmocka_unit_test(ed25519_refuses_what_was_changed),
	    cmocka_unit_test(hex), cmocka_unit_test(base64), cmocka_unit_test(random_and_equal), cmocka_unit_test(test_file_digests), cmocka_unit_test(test_sealed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
