#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/dedupe.h"

static enum dedupe_result see(struct dedupe *d, const char *boot, int64_t seq)
{
	return dedupe_check_and_set(d, (struct slice){boot, strlen(boot)}, seq);
}

static enum dedupe_result look(const struct dedupe *d, const char *boot, int64_t seq)
{
	return dedupe_check(d, (struct slice){boot, strlen(boot)}, seq);
}

static void each_number_counts_once(void **state)
{
	struct dedupe d = {0};
	(void)state;
	assert_int_equal(see(&d, "a", 1), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 1), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "a", 5), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 3), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 3), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "a", 4), DEDUPE_NEW);
	assert_int_equal(look(&d, "a", 2), DEDUPE_NEW);
	assert_int_equal(look(&d, "a", 2), DEDUPE_NEW); /* looking does not mark */
	assert_int_equal(look(&d, "a", 5), DEDUPE_DUPLICATE);
	assert_int_equal(look(&d, "b", 5), DEDUPE_NEW);
}

static void window_edges(void **state)
{
	struct dedupe d = {0};
	(void)state;
	assert_int_equal(see(&d, "a", 100), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 37), DEDUPE_NEW); /* 63 behind */
	assert_int_equal(see(&d, "a", 37), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "a", 36), DEDUPE_TOO_OLD);
	assert_int_equal(see(&d, "a", 163), DEDUPE_NEW); /* 63 ahead: 100 is the last one still known */
	assert_int_equal(see(&d, "a", 100), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "a", 227), DEDUPE_NEW); /* 64 ahead: nothing is */
	assert_int_equal(see(&d, "a", 164), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 163), DEDUPE_TOO_OLD);
	assert_int_equal(see(&d, "a", INT64_MAX), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", INT64_MAX), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "a", 1), DEDUPE_TOO_OLD);
}

static void two_boots_are_remembered(void **state)
{
	struct dedupe d = {0};
	(void)state;
	assert_int_equal(see(&d, "a", 10), DEDUPE_NEW);
	assert_int_equal(see(&d, "b", 10), DEDUPE_NEW);
	assert_int_equal(see(&d, "a", 10), DEDUPE_DUPLICATE); /* a late one of the boot before */
	assert_int_equal(see(&d, "a", 11), DEDUPE_NEW);
	assert_int_equal(see(&d, "b", 10), DEDUPE_DUPLICATE);
	assert_int_equal(see(&d, "c", 1), DEDUPE_NEW);
	assert_int_equal(see(&d, "b", 10), DEDUPE_DUPLICATE);
	assert_int_equal(look(&d, "a", 10), DEDUPE_NEW); /* forgotten, as the header says */
}

static void ordered(void **state)
{
	struct dedupe d = {0};
	struct slice a = {"a", 1}, b = {"b", 1};
	(void)state;
	assert_int_equal(dedupe_check_and_set_ordered(&d, a, 5), DEDUPE_NEW);
	assert_int_equal(dedupe_check_and_set_ordered(&d, a, 5), DEDUPE_DUPLICATE);
	assert_int_equal(dedupe_check_and_set_ordered(&d, a, 4), DEDUPE_DUPLICATE); /* older words never come late */
	assert_int_equal(dedupe_check_and_set_ordered(&d, a, 6), DEDUPE_NEW);
	assert_int_equal(dedupe_check_and_set_ordered(&d, b, 1), DEDUPE_NEW);
	assert_int_equal(dedupe_check_and_set_ordered(&d, a, 7), DEDUPE_TOO_OLD);
	assert_int_equal(dedupe_check_and_set_ordered(&d, b, 2), DEDUPE_NEW);
}

static void stored_form(void **state)
{
	struct dedupe d = {0}, back;
	uint8_t bytes[DEDUPE_BYTES];
	(void)state;
	see(&d, "a", 0x0102030405);
	see(&d, "b", 3);
	see(&d, "b", 1);
	dedupe_encode(&d, bytes);
	assert_int_equal(bytes[8], 3); /* highest of the newest boot, little-endian */
	assert_int_equal(bytes[16], 5);
	assert_int_equal(bytes[32], 5);
	assert_int_equal(bytes[36], 1);
	dedupe_decode(&back, bytes);
	assert_memory_equal(&d, &back, sizeof d);
}

/* Against a set of all numbers seen. */
static void random_order_agrees_with_a_set(void **state)
{
	struct dedupe d = {0};
	bool seen[4096] = {false};
	int64_t highest = 0;
	uint32_t x = 12345;
	(void)state;
	for (int i = 0; i < 20000; i++) {
		x = x * 1664525 + 1013904223;
		int64_t seq = 1 + i / 8 + (int64_t)(x >> 16) % 90;
		enum dedupe_result want = seen[seq] ? DEDUPE_DUPLICATE : DEDUPE_NEW;
		if (highest - seq >= DEDUPE_WINDOW) want = DEDUPE_TOO_OLD;
		assert_int_equal(see(&d, "boot", seq), want);
		if (want == DEDUPE_NEW) seen[seq] = true;
		if (seq > highest) highest = seq;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_number_counts_once),
		cmocka_unit_test(window_edges),
		cmocka_unit_test(two_boots_are_remembered),
		cmocka_unit_test(ordered),
		cmocka_unit_test(stored_form),
		cmocka_unit_test(random_order_agrees_with_a_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
