/* Bar 5 of docs/detect.md in short form, with fixed seeds, through the code that the daemon runs; `make bench-detect`
 * is the long form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../bench/detect_fleet.h"

static void test_few_false_alerts_and_every_fault(void **state)
{
	(void)state;
	static struct fleet_outcome out;
	const struct fleet_options o = {.devices = 500, .failing = 6, .learn_days = 7, .days = 4, .seed = 9001,
		.budget = BUDGET_DEFAULT};
	fleet_run(&o, &out);
	/* 2000 device-days: 1 is the aim, 2 the budget; more than 9 of 2 has a chance of 5 in 100,000 */
	assert_int_equal((int)out.device_days, 2000);
	assert_in_range(out.alerts, 0, 9);
	assert_true(out.naive[2] > 100 * out.alerts); /* |z| > 6 */
	for (int k = 0; k < FLEET_FAULTS; k++) {
		assert_int_equal(out.trials[k], 6);
		assert_in_range(out.found[k], k == FAULT_RAMP ? 4 : 5, 6);
	}
	for (int k = FAULT_CORRUPTED; k <= FAULT_REBOOTS; k++)
		assert_true(out.delay_h[k] / out.found[k] < 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_false_alerts_and_every_fault)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
