/* Varints: one form a number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/varint.h"

static void test_round_trip(void **state) {
	(void)state;
	static const int64_t values[] = {0, 1, 127, 128, 300, 16383, 16384, INT32_MAX, INT64_MAX};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		uint8_t bytes[VARINT_MAX];
		size_t len = varint_put(bytes, values[i]);
		assert_in_range(len, 1, VARINT_MAX);
		const uint8_t *at = bytes;
		int64_t v = -1;
		assert_true(varint_get(&at, bytes + len, &v));
		assert_true(v == values[i] && at == bytes + len);
		at = bytes;
		assert_false(varint_get(&at, bytes + len - 1, &v)); /* cut */
	}
}

static void test_other_forms_are_refused(void **state) {
	(void)state;
	static const uint8_t longer[] = {0x80, 0x00}, huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
	const uint8_t *at = longer;
	int64_t v;
	assert_false(varint_get(&at, longer + sizeof longer, &v));
	at = huge;
	assert_false(varint_get(&at, huge + sizeof huge, &v));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_other_forms_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
