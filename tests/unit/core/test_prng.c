/* Draws that can be repeated: fixed values, uniformity, the SipHash vector. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "core/prng.h"

static const uint8_t seed[PRNG_SEED_BYTES] = {1, 2, 3};

static void test_commit_is_sha256(void **state) {
	(void)state;
	uint8_t commit[32], expected[32];
	prng_commit(seed, commit);
	crypto_sha256(seed, sizeof seed, expected);
	assert_memory_equal(commit, expected, 32);
}

/* The draw as the header describes it, computed here from its words. */
static void test_uniform_is_what_is_documented(void **state) {
	(void)state;
	uint8_t message[14 + 32 + 4 + 12] = "aviary-draw-1", digest[32];
	memcpy(message + 14, seed, 32);
	memcpy(message + 46, "r-7", 4);
	message[53] = 2;   /* wave */
	message[56] = 1;   /* block 300 = 0x012c */
	message[57] = 0x2c;
	crypto_sha256(message, sizeof message, digest);
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | digest[i];
	assert_int_equal(prng_uniform(seed, "r-7", 2, 300, 10), v % 10);
	assert_int_equal(prng_uniform(seed, "r-7", 2, 300, 1), 0);
}

static void test_every_place_is_as_likely(void **state) {
	(void)state;
	int hits[7] = {0};
	double chi2 = 0;
	for (uint32_t block = 0; block < 7000; block++)
		hits[prng_uniform(seed, "r", 1, block, 7)]++;
	for (int i = 0; i < 7; i++)
		chi2 += (hits[i] - 1000.0) * (hits[i] - 1000.0) / 1000;
	assert_true(chi2 < 22.5); /* 0.1 % point of 6 degrees */
	int same = 0;
	for (uint32_t block = 0; block < 1000; block++)
		same += prng_uniform(seed, "r", 1, block, 10) == prng_uniform(seed, "r", 2, block, 10);
	assert_in_range(same, 60, 140);
}

/* The reference vector of SipHash-2-4 (key 00..0f) for the 8 bytes 00..07. */
static void test_order_is_siphash(void **state) {
	(void)state;
	struct prng_order o = {0x0706050403020100, 0x0f0e0d0c0b0a0908}, a, b;
	assert_true(prng_order_rank(&o, 0x0706050403020100) == 0x93f5f5799a932462);
	prng_order_init(&a, seed, "r", 1);
	prng_order_init(&b, seed, "r", 2);
	assert_true(prng_order_rank(&a, 5) != prng_order_rank(&b, 5));
	assert_true(prng_order_rank(&a, 5) != prng_order_rank(&a, 6));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit_is_sha256),
		cmocka_unit_test(test_uniform_is_what_is_documented),
		cmocka_unit_test(test_every_place_is_as_likely),
		cmocka_unit_test(test_order_is_siphash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
