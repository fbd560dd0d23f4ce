/* Open errands in memory: places by device, a queue that says each once, what is over is passed over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "service/errands.h"
#include "service/registry.h"
#include "store/command_store.h"

static struct device_state devices[3] = {{.row = 11, .index = 0}, {.row = 12, .index = 1}, {.row = 13, .index = 5000}};

static uint32_t keep(struct errands *e, int device, int64_t command)
{
	return errands_keep(e, &devices[device], &(struct errand_row){.command = command, .device = devices[device].row, .deadline_at = 100 + command,
		.state = COMMAND_QUEUED});
}

static void each_device_has_its_own(void **state)
{
	(void)state;
	struct errands e = {0};
	assert_int_equal(errands_first(&e, &devices[2]), 0);
	uint32_t a = keep(&e, 0, 1), b = keep(&e, 0, 2), c = keep(&e, 2, 2);
	assert_true(a != b && b != c && a != 0);
	assert_int_equal(errands_find(&e, &devices[0], 1), a);
	assert_int_equal(errands_find(&e, &devices[0], 2), b);
	assert_int_equal(errands_find(&e, &devices[2], 2), c);
	assert_int_equal(errands_find(&e, &devices[2], 1), 0);
	assert_int_equal(errands_find(&e, &devices[1], 2), 0);
	assert_int_equal(errands_find(&e, NULL, 2), 0);
	assert_int_equal(errands_count(&e, &devices[0]), 2);
	assert_int_equal(e.open, 3);
	errands_release(&e, &devices[0], a);
	assert_int_equal(errands_find(&e, &devices[0], 1), 0);
	assert_int_equal(errands_first(&e, &devices[0]), b);
	assert_int_equal(errands_at(&e, a)->device, 0);
	assert_int_equal(keep(&e, 1, 7), a); /* the free place is taken first */
	assert_int_equal(e.pool_used, 3);
	errands_done(&e);
}

static void free_places_are_a_list(void **state)
{
	(void)state;
	struct errands e = {0};
	for (int i = 1; i <= 200; i++)
		keep(&e, 0, i);
	for (int i = 1; i <= 200; i++)
		errands_release(&e, &devices[0], errands_find(&e, &devices[0], i));
	assert_int_equal(e.open, 0);
	assert_int_equal(errands_first(&e, &devices[0]), 0);
	for (int i = 1; i <= 200; i++)
		keep(&e, 1, i);
	assert_int_equal(e.pool_used, 200);
	assert_int_equal(errands_count(&e, &devices[1]), 200);
	errands_clear(&e);
	assert_int_equal(e.open, 0);
	assert_int_equal(errands_first(&e, &devices[1]), 0);
	assert_int_equal(errands_next_ready(&e), 0);
	errands_done(&e);
}

static void cancelling_one_command_is_nothing_to_others(void **state)
{
	(void)state;
	struct errands e = {0};
	uint32_t a = keep(&e, 0, 1), b = keep(&e, 1, 1), c = keep(&e, 1, 2);
	errands_cancel(&e, 1);
	assert_int_equal(errands_at(&e, a)->deadline_ms, 0);
	assert_int_equal(errands_at(&e, b)->deadline_ms, 0);
	assert_int_equal(errands_at(&e, c)->deadline_ms, 102);
	errands_done(&e);
}

static void ready_ones_in_order_and_once(void **state)
{
	(void)state;
	struct errands e = {0};
	uint32_t a = keep(&e, 0, 1), b = keep(&e, 1, 1), c = keep(&e, 2, 1);
	errands_make_ready(&e, b);
	errands_make_ready(&e, a);
	errands_make_ready(&e, b); /* it keeps its place */
	errands_make_ready(&e, c);
	assert_int_equal(errands_next_ready(&e), b);
	errands_release(&e, &devices[0], a); /* over meanwhile */
	assert_int_equal(errands_next_ready(&e), c);
	assert_int_equal(errands_next_ready(&e), 0);
	errands_make_ready(&e, c); /* again is possible */
	assert_int_equal(errands_next_ready(&e), c);
	for (int i = 0; i < 1000; i++) { /* the queue does not grow with what went through it */
		errands_make_ready(&e, b);
		errands_make_ready(&e, c);
		assert_int_equal(errands_next_ready(&e), b);
		assert_int_equal(errands_next_ready(&e), c);
	}
	assert_in_range(e.ready_room, 1, 128);
	errands_done(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_device_has_its_own),
		cmocka_unit_test(free_places_are_a_list),
		cmocka_unit_test(cancelling_one_command_is_nothing_to_others),
		cmocka_unit_test(ready_ones_in_order_and_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
