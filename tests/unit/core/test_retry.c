#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/retry.h"

static void doubles_up_to_the_cap(void **state)
{
	(void)state;
	static const int64_t want[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(retry_delay_ms(i, 1000, 30000, 0), want[i]);
		assert_int_equal(retry_delay_ms(i, 1000, 30000, (uint64_t)want[i] / 2), want[i] - want[i] / 2);
	}
	assert_int_equal(retry_delay_ms(0, 1, 1, UINT64_MAX), 1);
	assert_int_equal(retry_delay_ms(UINT32_MAX, 1, INT64_MAX, 0), INT64_MAX);
	assert_int_equal(retry_delay_ms(62, 1, INT64_MAX, 0), INT64_C(1) << 62);
	assert_int_equal(retry_delay_ms(5, 7, 7, 0), 7);
}

static void jitter_fills_the_upper_half(void **state)
{
	int64_t low = INT64_MAX, high = 0;
	(void)state;
	for (uint64_t r = 0; r < 5000; r++) {
		int64_t d = retry_delay_ms(1, 1000, 60000, r * 2654435761u);
		assert_in_range(d, 1000, 2000);
		low = d < low ? d : low;
		high = d > high ? d : high;
	}
	assert_true(low < 1010 && high > 1990);
}

static void spread(void **state)
{
	(void)state;
	assert_int_equal(retry_spread_ms(1000, 0, 77), 1000);
	assert_int_equal(retry_spread_ms(1000, 10, 0), 900);
	assert_int_equal(retry_spread_ms(1000, 10, 200), 1100);
	assert_int_equal(retry_spread_ms(1000, 10, 201), 900);
	assert_int_equal(retry_spread_ms(0, 100, 5), 0);
	assert_int_equal(retry_spread_ms(1000, 100, 2000), 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubles_up_to_the_cap),
		cmocka_unit_test(jitter_fills_the_upper_half),
		cmocka_unit_test(spread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
