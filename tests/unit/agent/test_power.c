/* Power is cut at every write k of a life with two updates, a fall-back and a release in shadow, for all k: after each cut the device runs
 * a whole, verified release, and in the end everything is as if nothing had happened. */
#include "world.h"

#define HOUR 3600000

enum { STEPS = 5, SHADOW_STEP = 3 };

/* A server that wants one release after the other and tries again what failed. Steps: install, install (its trial
 * fails on attempt 1), revert, a release with firmware in shadow, its install. */
struct plan {
	int step, attempt;
};

static const int plan_releases[STEPS] = {0, 1, 2, 3, 3};

static bool last_report_says(const struct world *w, const char *id, int attempt, const char *state)
{
	char want[160];
	snprintf(want, sizeof(want), "\"deployment\":{\"id\":\"%s\",\"attempt\":%d,\"state\":\"%s\"", id, attempt, state);
	return strstr(w->last_report, want) != NULL;
}

static void offer(struct world *w, const struct plan *p)
{
	char id[16];
	snprintf(id, sizeof(id), "d-%d", p->step);
	w->self_test_fails_on = p->step == 1 && p->attempt == 1 ? "kws-2" : NULL;
	const struct test_release *r = &w->releases[plan_releases[p->step]];
	if (p->step == SHADOW_STEP)
		w_offer_shadow(w, id, p->attempt, &w->releases[plan_releases[p->step - 1]], r);
	else
		w_offer(w, id, p->attempt, r);
	w_hint(w);
}

/* Runs until the plan is done or the power is cut. */
static bool follow(struct world *w, struct plan *p)
{
	while (p->step < STEPS) {
		char id[16];
		snprintf(id, sizeof(id), "d-%d", p->step);
		w_run(w, HOUR);
		if (w->is_dead)
			return false;
		w_assert_whole(w);
		if (last_report_says(w, id, p->attempt, "succeeded")) {
			bool is_shadow = p->step == SHADOW_STEP;
			const struct test_release *r = &w->releases[plan_releases[is_shadow ? p->step - 1 : p->step]];
			assert_true(w_is_running(w, r));
			assert_int_equal(w->agent.record.floor, r->counter);
			assert_int_equal(w->shadow_slot, is_shadow ? 1 - agent_running_slot(&w->agent) : -1);
			p->step++;
			p->attempt = 1;
		} else {
			assert_true(last_report_says(w, id, p->attempt, "failed"));
			assert_true(++p->attempt <= 4);
		}
		if (p->step < STEPS)
			offer(w, p);
	}
	return true;
}

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
	print_message("%d writes in a life, %d lives with one cut\n", writes, lives);
	assert_true(writes > 60);
}

static void test_cut_twice(void **unused)
{
	(void)unused;
	int writes = live(7, 0, 0), lives = 0;
	for (int k = 1; k <= writes; k += 3)
		for (int again = 1; again <= 12; again += 1 + k % 3, lives++)
			live((uint64_t)(k * 100 + again), k, again);
	print_message("%d lives with two cuts\n", lives);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_write),
		cmocka_unit_test(test_cut_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
