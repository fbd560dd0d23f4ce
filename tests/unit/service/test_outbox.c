/* service/outbox: wishes are merged, a refused unit and a failed commit give theirs back, what was committed stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "service/outbox.h"

static int setup(void **state)
{
	*state = outbox_new();
	return 0;
}

static int teardown(void **state)
{
	outbox_free(*state);
	return 0;
}

static void wishes_are_merged_and_keep_their_order(void **state)
{
	struct outbox *o = *state;
	int64_t device;
	outbox_tell_device(o, 5);
	outbox_tell_device(o, 3);
	outbox_tell_device(o, 5);
	assert_int_equal(outbox_waiting(o), 2);
	assert_true(outbox_next_device(o, &device));
	assert_int_equal(device, 5);
	outbox_tell_device(o, 5); /* it was taken: a new wish */
	assert_true(outbox_next_device(o, &device));
	assert_int_equal(device, 3);
	assert_true(outbox_next_device(o, &device));
	assert_int_equal(device, 5);
	assert_false(outbox_next_device(o, &device));
	assert_true(outbox_is_empty(o));
}

static void a_refused_unit_takes_only_its_own_back(void **state)
{
	struct outbox *o = *state;
	char id[65];
	int64_t device;
	outbox_tell_device(o, 1);
	outbox_note_event(o, 10);
	struct outbox_mark mark = outbox_mark(o);
	outbox_tell_device(o, 1); /* merged: belongs to the first */
	outbox_tell_device(o, 2);
	outbox_clear_retained(o, "gone");
	outbox_note_event(o, 11);
	outbox_undo(o, mark);
	assert_int_equal(outbox_last_event(o), 10);
	assert_false(outbox_next_clear(o, id));
	outbox_tell_device(o, 2); /* is not believed to wait */
	assert_true(outbox_next_device(o, &device) && device == 1);
	assert_true(outbox_next_device(o, &device) && device == 2);
	assert_false(outbox_next_device(o, &device));
}

static void a_failed_commit_drops_what_came_since_the_last(void **state)
{
	struct outbox *o = *state;
	char id[65];
	int64_t device;
	outbox_tell_device(o, 1);
	outbox_clear_retained(o, "dev-a");
	outbox_committed(o);
	outbox_tell_device(o, 2);
	outbox_clear_retained(o, "dev-b");
	outbox_note_event(o, 7);
	outbox_drop(o);
	assert_int_equal(outbox_last_event(o), 0);
	assert_true(outbox_next_device(o, &device) && device == 1);
	assert_false(outbox_next_device(o, &device));
	assert_true(outbox_next_clear(o, id));
	assert_string_equal(id, "dev-a");
	assert_false(outbox_next_clear(o, id));
}

/* Against a plain model: random wishes, takings, commits and drops. */
static void it_equals_its_model(void **state)
{
	struct outbox *o = *state;
	enum { DEVICES = 200 };
	int64_t queue[DEVICES + 1], device;
	size_t count = 0, committed = 0;
	srand(7);
	for (int step = 0; step < 200000; step++) {
		int what = rand() % 16;
		if (what < 9) {
			int64_t d = rand() % DEVICES + 1;
			size_t i = 0;
			while (i < count && queue[i] != d)
				i++;
			if (i == count)
				queue[count++] = d;
			outbox_tell_device(o, d);
		} else if (what < 14) {
			bool has = outbox_next_device(o, &device);
			assert_int_equal(has, count > 0);
			if (!has)
				continue;
			assert_int_equal(device, queue[0]);
			for (size_t i = 1; i < count; i++)
				queue[i - 1] = queue[i];
			count--;
			committed -= committed > 0;
		} else if (what == 14) {
			outbox_committed(o);
			committed = count;
		} else {
			outbox_drop(o);
			count = committed;
		}
		assert_int_equal(outbox_waiting(o), count);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(wishes_are_merged_and_keep_their_order), T(a_refused_unit_takes_only_its_own_back),
			T(a_failed_commit_drops_what_came_since_the_last),
		T(it_equals_its_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
