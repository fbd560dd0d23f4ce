/* Spreading over a fleet: in order or at random, at its rate, waiting where there is no room, each device once. */
#include "registry_world.h"

#include "service/command_spread.h"

#define FLEET 60

static int64_t told[4 * FLEET], ended;
static int told_count, room;
static bool all_are_old;

static bool has_room(struct call *c)
{
	(void)c;
	return told_count < room;
}

static enum err tell(struct call *c, int64_t command, int64_t timeout_ms, struct device_state *d, bool *is_new)
{
	(void)c, (void)command;
	assert_int_equal(timeout_ms, 777);
	told[told_count++] = d->row;
	*is_new = !all_are_old;
	return ERR_OK;
}

static enum err end(struct call *c, int64_t command)
{
	(void)c;
	ended = command;
	return ERR_OK;
}
static const struct spread_port port = {has_room, tell, end};

static void begin(struct world *w)
{
	char id[16];
	for (int i = 0; i < FLEET; i++) {
		snprintf(id, sizeof id, "dev-%02d", i);
		world_device(w, id, i % 2 == 0 ? "even" : "odd");
	}
	told_count = 0;
	room = 4 * FLEET;
	ended = 0;
	all_are_old = false;
}

static void find(struct world *w, struct spreads *s)
{
	int64_t gone;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(spreads_look(&w->c, s, &gone), ERR_OK);
		assert_int_equal(gone, 0);
	}
}

static void pass(struct world *w, struct spreads *s, int64_t ms)
{
	w->c.now_ms += ms;
	assert_int_equal(spreads_tell(&w->c, s, &port), ERR_OK);
}

static struct command_row row_of(int64_t id, const char *filter)
{
	return (struct command_row){.id = id, .filter = filter, .rate = 10, .timeout_ms = 777};
}

static void at_its_rate_in_the_order_of_the_fleet(void **state)
{
	struct world *w = *state;
	struct spreads s = {.count = 0};
	struct command_row row = row_of(7, "");
	begin(w);
	spreads_begin(&s, &row, w->c.now_ms);
	pass(w, &s, 1000); /* nobody is found yet */
	assert_int_equal(told_count, 0);
	find(w, &s);
	pass(w, &s, 0);
	assert_int_equal(told_count, 1);
	pass(w, &s, 500);
	assert_int_equal(told_count, 6);
	pass(w, &s, 60000); /* a pause is no credit for more than a second */
	assert_int_equal(told_count, 16);
	pass(w, &s, -60000); /* nor is a clock that goes back a debt */
	pass(w, &s, 1000);
	assert_int_equal(told_count, 26);
	for (int i = 1; i < told_count; i++)
		assert_true(told[i] > told[i - 1]);
	all_are_old = true; /* those cost no turn */
	pass(w, &s, 100);
	assert_int_equal(told_count, FLEET);
	assert_int_equal(ended, 7);
	assert_int_equal(s.count, 0);
	spreads_clear(&s);
}

static void at_random_over_its_time(void **state)
{
	struct world *w = *state;
	struct spreads s = {.count = 0};
	struct command_row row = row_of(8, "");
	begin(w);
	row.spread_ms = 30000; /* 60 devices: two a second */
	spreads_begin(&s, &row, w->c.now_ms);
	find(w, &s);
	for (int i = 0; i < 10; i++)
		pass(w, &s, 1000);
	assert_in_range(told_count, 19, 21);
	for (int i = 0; i < 21; i++)
		pass(w, &s, 1000);
	assert_int_equal(told_count, FLEET);
	int ascending = 0, in_place = 0;
	for (int i = 0; i < FLEET; i++) {
		ascending += i > 0 && told[i] > told[i - 1];
		for (int k = 0; k < i; k++)
			assert_true(told[k] != told[i]);
		in_place += told[i] == i + 1;
	}
	assert_in_range(ascending, 18, 42);
	assert_in_range(in_place, 0, 6);
	spreads_clear(&s);
}

static void without_room_it_waits_and_loses_nobody(void **state)
{
	struct world *w = *state;
	struct spreads s = {.count = 0};
	struct command_row row = row_of(9, "hardware==odd");
	begin(w);
	row.rate = COMMAND_RATE_MAX;
	room = 11;
	spreads_begin(&s, &row, w->c.now_ms);
	find(w, &s);
	pass(w, &s, 1000);
	pass(w, &s, 1000);
	assert_int_equal(told_count, 11);
	room = 100;
	pass(w, &s, 1000);
	assert_int_equal(told_count, FLEET / 2);
	for (int i = 0; i < told_count; i++)
		assert_int_equal(told[i] % 2, 0); /* dev-01 is the second row */
	spreads_clear(&s);
}

static void each_is_stopped_by_its_number(void **state)
{
	struct world *w = *state;
	struct spreads s = {.count = 0};
	struct command_row a = row_of(1, ""), b = row_of(2, ""), lost = row_of(3, "");
	int64_t gone = 0;
	begin(w);
	b.health_check = 5;
	spreads_begin(&s, &a, w->c.now_ms);
	spreads_begin(&s, &b, w->c.now_ms);
	assert_true(spreads_have_check(&s, 5));
	assert_false(spreads_have_check(&s, 6));
	spreads_stop(&s, 1);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.items[0].row.id, 2);
	spreads_stop(&s, 2);
	assert_false(spreads_have_check(&s, 5));
	lost.group = 99; /* a group that is no more */
	spreads_begin(&s, &lost, w->c.now_ms);
	for (int i = 0; gone == 0 && i < 50; i++)
		assert_int_equal(spreads_look(&w->c, &s, &gone), ERR_OK);
	assert_int_equal(gone, 3);
	spreads_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(at_its_rate_in_the_order_of_the_fleet, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(at_random_over_its_time, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(without_room_it_waits_and_loses_nobody, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(each_is_stopped_by_its_number, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
