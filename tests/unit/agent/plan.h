/* A life that holds every step of the device side: a server that wants one release after the other, and tries again what failed.
 * Steps: install, install (its trial fails on attempt 1), revert, a release with firmware in shadow, its install; the switches from the revert on take a restart. */
#ifndef TESTS_UNIT_AGENT_PLAN_H
#define TESTS_UNIT_AGENT_PLAN_H

#include "world.h"

#define HOUR 3600000

enum { STEPS = 5, SHADOW_STEP = 3 };

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
	w->activation_reboots = p->step >= 2; /* as with a boot loader: the trial begins with a start */
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
			if (!last_report_says(w, id, p->attempt, "failed"))
				fail_msg("step %d attempt %d: %s", p->step, p->attempt, w->last_report);
			assert_true(++p->attempt <= 4);
		}
		if (p->step < STEPS)
			offer(w, p);
	}
	return true;
}

#endif
