/* Power is cut at every write k of a life with two updates, a fall-back and a release in shadow, for all k: after each cut the device runs
 * a whole, verified release, and in the end everything is as if nothing had happened. */
#include "plan.h"

static void assert_good_after_cut(struct world *w, uint64_t floor_before)
{
	struct agent_inspection seen;
	struct world *copy = malloc(sizeof(*copy)); /* looking must not change anything */
	memcpy(copy, w, sizeof(*copy));
	assert_true(agent_init(&copy->agent, &copy->config, &w_ports, copy));
	assert_true(agent_inspect(&copy->agent, &seen));
	assert_true(seen.is_verified);
	assert_false(seen.is_damaged);
	assert_true(seen.has_state || !w->has_saved); /* one copy is always whole */
	assert_true(seen.floor >= floor_before); /* what was confirmed stays confirmed */
	assert_int_equal(copy->writes, w->writes);
	free(copy);
}

/* Cuts at write k, and after the next start again at write `again` (0: not again). Returns how many writes the whole
 * took. */
static int live(uint64_t seed, int k, int again)
{
	struct world *w = w_new(seed);
	struct plan p = {0, 1};
	w->cut_at = k;
	w_power_up(w);
	offer(w, &p);
	while (!w->is_dead && !follow(w, &p)) {
		assert_true(w->is_dead);
	}
	while (w->is_dead) {
		uint64_t floor = w->agent.record.floor < 6 ? 0 : 5;
		w_power_off(w);
		assert_good_after_cut(w, floor);
		w->cut_at = again ? w->writes + again : 0;
		again = 0;
		w_power_up(w);
		if (!w->is_dead)
			w_assert_whole(w);
		if (!w->is_dead && p.step == SHADOW_STEP) /* the shadow never runs, whatever is left of it */
			assert_true(strcmp(agent_running(&w->agent)->name, "kws-1") == 0 && w->agent.record.floor == 7);
		(void)follow(w, &p);
	}
	assert_int_equal(p.step, STEPS);
	w_assert_whole(w);
	assert_true(w_is_running(w, &w->releases[3]));
	assert_int_equal(w->wrong_hashes, 0); /* the record never said more than was stored */
	int writes = w->writes;
	w_free(w);
	return writes;
}

static void test_cut_at_every_write(void **unused)
{
	(void)unused;
	int writes = live(7, 0, 0), lives = 0;
	for (int k = 1; k <= writes; k++)
		for (uint64_t seed = 1; seed <= 3; seed++, lives++)
			live(seed * 1000 + (uint64_t)k, k, 0);
	print_message("power-cut exhaustion, storage without files: %d cut points, %d crash states tried, devices lost 0\n", writes, lives);
	assert_true(writes > 60);
}

static void test_cut_twice(void **unused)
{
	(void)unused;
	int writes = live(7, 0, 0), lives = 0;
	for (int k = 1; k <= writes; k += 3)
		for (int again = 1; again <= 12; again += 1 + k % 3, lives++)
			live((uint64_t)(k * 100 + again), k, again);
	print_message("power-cut exhaustion, storage without files: %d devices were cut a second time, devices lost 0\n", lives);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_write),
		cmocka_unit_test(test_cut_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
