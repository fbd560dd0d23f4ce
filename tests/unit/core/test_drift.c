/* Fleet drift: power and null on the bench's own fleet (short form, fixed seeds), shares of devices, and what bad input gets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../bench/drift_fleet.h"

static struct fleet *world, *warm; /* a plain fleet after ten days */

static int warm_up(void **state)
{
	(void)state;
	world = malloc(sizeof *world);
	warm = malloc(sizeof *warm);
	assert_true(world && warm);
	fleet_init(warm, &fleet_plain, 7);
	for (unsigned i = 0; i < FLEET_WARM_H; i++) assert_false(fleet_hour(warm, NULL).is_over);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	free(world);
	free(warm);
	return 0;
}

static void a_hundredth_of_the_mass_is_found_within_the_hour(void **state)
{
	(void)state;
	for (unsigned from = 0; from < 10; from++) {
		struct fleet_fault all = {0.01, 1, from}, some = {0.02, 0.3, from};
		*world = *warm;
		world->rng += from;
		struct drift_result r = fleet_hour(world, &all);
		assert_true(r.is_over && r.is_warm && r.psi < 0.1f); /* and PSI sees nothing */
		assert_int_equal(r.class_down, from);
		assert_int_equal(r.class_up, (from + 1) % 10);
		assert_true(r.shift[from] < -0.006f && r.shift[from] > -0.014f);
		*world = *warm;
		world->rng += from;
		r = fleet_hour(world, &some);
		assert_true(r.is_over);
	}
}

static void nothing_is_found_where_nothing_is(void **state)
{
	(void)state;
	double sum = 0;
	const unsigned hours = 150;
	*world = *warm;
	for (unsigned i = 0; i < hours; i++) {
		struct drift_result r = fleet_hour(world, NULL);
		assert_false(r.is_over);
		assert_int_equal(r.devices, 1000);
		assert_int_equal(r.classes, 10);
		assert_true(fabsf(r.threshold - 51.5f) < 6);
		sum += (double)r.t2;
	}
	assert_true(sum / hours > 7.4 && sum / hours < 8.9); /* ten classes have nine degrees of freedom, and variances are on the safe side */
}

/* What all devices share puts T2 into one direction: the cohort's own history makes the threshold wider. */
static void shocks_that_devices_share_raise_the_threshold(void **state)
{
	(void)state;
	const struct fleet_config c = {150, 10, 400, 0.15, 0.7, 0.1, 0.15, 0.1};
	float highest = 0, plain = 0;
	fleet_init(world, &c, 3);
	for (unsigned i = 0; i < FLEET_WARM_H + 600; i++) {
		struct drift_result r = fleet_hour(world, NULL);
		assert_false(r.is_over);
		if (r.is_warm && r.t2 > highest)
			highest = r.t2;
		plain = fmaxf(plain, r.threshold);
	}
	assert_true(highest > 51.5f && plain > 100); /* a plain quantile would have fired */
}

static void a_drift_is_not_swallowed(void **state)
{
	(void)state;
	const struct fleet_fault fault = {0.02, 1, 2};
	*world = *warm;
	for (unsigned i = 0; i < 96; i++) assert_true(fleet_hour(world, &fault).is_over);
	for (unsigned i = 0; i < 24; i++) assert_false(fleet_hour(world, NULL).is_over); /* and leaves no trace */
}

static void the_young_are_silent(void **state)
{
	(void)state;
	const struct fleet_config few = {DRIFT_DEVICES_MIN - 1, 4, 400, 0.1, 0.5, 0.1, 0.1, 0};
	const struct fleet_fault fault = {0.2, 1, 0};
	struct fleet_config enough = few;
	fleet_init(world, &few, 5);
	for (unsigned i = 0; i < FLEET_WARM_H; i++) fleet_hour(world, NULL);
	struct drift_result r = fleet_hour(world, &fault);
	assert_true(isnan(r.t2) && !r.is_over && r.psi > 0.1f); /* for display all the same */
	enough.devices = 2 * DRIFT_DEVICES_MIN;
	fleet_init(world, &enough, 5);
	for (unsigned i = 0; i < 120; i++) fleet_hour(world, NULL);
	r = fleet_hour(world, &fault);
	assert_true(!r.is_over && !r.is_warm && r.t2 > r.threshold);
}

/* ---- shares ---- */

static struct drift_result share_hour(struct drift *c, uint32_t hour, unsigned devices, unsigned beyond)
{
	struct drift_result r;
	struct drift_hour h = {.hour = hour};
	for (unsigned i = 0; i < devices; i++) drift_count(&h, WATCH_ERRORS_CUSUM, i < beyond);
	drift_roll(c, &h, &r);
	return r;
}

static void more_devices_than_usual_beyond_half(void **state)
{
	(void)state;
	struct drift c = {0}, kept;
	for (uint32_t h = 1; h <= 200; h++) {
		struct drift_result r = share_hour(&c, h, 1000, 8 + h % 5);
		assert_int_equal(r.metrics, 0);
	}
	kept = c;
	struct drift_result r = share_hour(&c, 201, 1000, 15); /* could be chance */
	assert_int_equal(r.metrics, 0);
	assert_true(fabsf(r.usual[WATCH_ERRORS_CUSUM] - 0.01f) < 0.001f && fabsf(r.share[WATCH_ERRORS_CUSUM] - 0.015f) < 1e-6f);
	assert_true(isnan(r.share[WATCH_CLASSES]) && r.p[WATCH_CLASSES] == 1);
	c = kept;
	r = share_hour(&c, 201, 1000, 40);
	assert_int_equal(r.metrics, 1u << WATCH_ERRORS_CUSUM);
	assert_true(r.p[WATCH_ERRORS_CUSUM] < 1e-9f);
	for (uint32_t h = 202; h < 250; h++) assert_true(share_hour(&c, h, 1000, 40).metrics != 0); /* not swallowed */
	c = kept;
	r = share_hour(&c, 201, 200000, 2600); /* certain, and of no consequence */
	assert_true(r.metrics == 0 && r.p[WATCH_ERRORS_CUSUM] < 1e-9f);
	c = kept;
	assert_int_equal(share_hour(&c, 201, 4, 4).metrics, 0); /* four devices are no fleet */
}

/* Devices that go together (weather, a gateway) are not so many coins. */
static void shares_that_swing_are_given_room(void **state)
{
	(void)state;
	struct drift c = {0};
	for (uint32_t h = 1; h <= 400; h++) {
		struct drift_result r = share_hour(&c, h, 1000, h % 7 == 0 ? 60 : 5);
		if (h > 48)
			assert_int_equal(r.metrics, 0);
	}
	assert_true(share_hour(&c, 401, 1000, 600).metrics != 0);
}

static void a_day_must_be_known(void **state)
{
	(void)state;
	struct drift c = {0};
	for (uint32_t h = 1; h <= 24; h++) {
		struct drift_result r = share_hour(&c, h, 1000, h == 20 ? 900 : 1);
		assert_true(r.metrics == 0 && isnan(r.usual[WATCH_ERRORS_CUSUM]));
	}
}

/* ---- devices and bad input ---- */

static void bad_counts_change_nothing(void **state)
{
	(void)state;
	struct drift_device d = {0}, before;
	const float good[3] = {10, 20, 30}, bad[][3] = {{1, NAN, 2}, {INFINITY, 1, 1}, {-1, 5, 5}, {1e13f, 0, 0}};
	const float many[DRIFT_CLASSES + 1] = {1};
	assert_true(drift_device_add(&d, 100, good, 3));
	before = d;
	for (unsigned i = 0; i < 4; i++) assert_false(drift_device_add(&d, 101, bad[i], 3));
	assert_false(drift_device_add(&d, 101, good, 0));
	assert_false(drift_device_add(&d, 101, many, DRIFT_CLASSES + 1));
	assert_false(drift_device_add(&d, 99, good, 3)); /* an hour that is over */
	assert_false(drift_device_add(&d, 0, good, 3));
	assert_memory_equal(&d, &before, sizeof d);
	assert_true(d.counts[0] == 10 && d.counts[1] == 20 && d.counts[2] == 30);
}

static void large_counts_keep_their_shares(void **state)
{
	(void)state;
	struct drift_device d = {.hours = 100, .baseline = {6554, 19661, 39321}};
	struct drift c = {0};
	struct drift_hour h = {.hour = 100};
	const float counts[3] = {1001, 3003, 6006};
	for (unsigned i = 0; i < 1000; i++) assert_true(drift_device_add(&d, 100, counts, 3));
	assert_true(d.shift > 0);
	assert_true(drift_device_close(&d, &c, &h));
	assert_true(fabs(h.counts[2] / 6006e3 - 1) < 0.01);
	for (unsigned i = 0; i < 3; i++) assert_true(fabs(h.sum[i]) < 1e-3);
	const float huge[2] = {1e12f, 1};
	assert_true(drift_device_add(&d, 101, huge, 2));
}

static void a_device_closes_once(void **state)
{
	(void)state;
	struct drift_device d = {0};
	struct drift c = {0};
	const float counts[2] = {30, 70}, few[2] = {3, 7};
	for (uint32_t hour = 1; hour <= 30; hour++) {
		struct drift_hour h = {.hour = hour};
		assert_true(drift_device_add(&d, hour, counts, 2));
		assert_int_equal(drift_device_close(&d, &c, &h), hour > 24); /* the first day teaches */
		assert_false(drift_device_close(&d, &c, &h));
		assert_false(drift_device_add(&d, hour, counts, 2)); /* too late */
		assert_int_equal(h.devices, hour > 24);
		assert_true(h.counts[1] == 70);
	}
	assert_true(abs(d.baseline[0] - 19660) < 3);
	struct drift_hour h = {.hour = 40};
	assert_false(drift_device_close(&d, &c, &h)); /* it has nothing of that hour */
	assert_true(drift_device_add(&d, 40, few, 2));
	assert_false(drift_device_close(&d, &c, &h)); /* too few */
	assert_int_equal(h.devices, 0);
}

/* A sixteenth of a step is not lost to rounding: baselines follow small, lasting differences. */
static void baselines_move_by_less_than_a_step(void **state)
{
	(void)state;
	struct drift_device d = {.hours = 1000, .baseline = {32768, 32767}};
	struct drift c = {0};
	for (uint32_t hour = 1; hour <= 3000; hour++) {
		const float counts[2] = {5005, 4995}; /* 33 steps away, of which one in 336 is a tenth */
		struct drift_hour h = {.hour = hour};
		drift_device_add(&d, hour, counts, 2);
		drift_device_close(&d, &c, &h);
	}
	assert_true(abs(d.baseline[0] - 32800) < 14);
}

static void stored_bytes_are_checked(void **state)
{
	(void)state;
	struct drift c = warm->drift;
	assert_true(drift_is_valid(&c));
	assert_true(drift_is_valid(&(struct drift){0}));
	float *const places[] = {&c.common[3][4], &c.wander[2], &c.pooled[1], &c.t2_mean, &c.t2_square, &c.beyond[0], &c.present[1], &c.spread[2]};
	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		float kept = *places[i];
		*places[i] = NAN;
		assert_false(drift_is_valid(&c));
		*places[i] = -3;
		assert_false(drift_is_valid(&c));
		*places[i] = kept;
	}
	/* the state is its bytes: what is read back goes on as if nothing had been */
	*world = *warm;
	struct drift_result a = fleet_hour(world, NULL);
	unsigned char bytes[sizeof(struct drift)];
	memcpy(bytes, &warm->drift, sizeof bytes);
	*world = *warm;
	memset(&world->drift, 0xff, sizeof world->drift);
	memcpy(&world->drift, bytes, sizeof bytes);
	struct drift_result b = fleet_hour(world, NULL);
	assert_true(a.t2 == b.t2 && a.threshold == b.threshold);
}

static void divergences(void **state)
{
	(void)state;
	const double p[3] = {50, 30, 20}, q[3] = {5, 3, 2}, moved[3] = {40, 40, 20}, none[3] = {0}, gone[3] = {0, 80, 20};
	assert_true(fabsf(drift_psi(p, q, 3)) < 1e-6f && fabsf(drift_kl(p, q, 3)) < 1e-6f);
	assert_true(fabs((double)drift_psi(p, moved, 3) - (0.1 * log(5 / 4.0) - 0.1 * log(3 / 4.0))) < 1e-6);
	assert_true(fabs((double)drift_kl(p, moved, 3) - (0.5 * log(5 / 4.0) + 0.3 * log(3 / 4.0))) < 1e-6);
	assert_true(isfinite(drift_psi(p, gone, 3)) && drift_psi(p, gone, 3) > 1);
	assert_true(isnan(drift_psi(p, none, 3)) && isnan(drift_kl(none, p, 3)));
	struct drift c = {0};
	struct drift_hour h = {.hour = 5};
	struct drift_result r;
	drift_roll(&c, &h, &r); /* an hour without anything */
	assert_true(isnan(r.psi) && isnan(r.kl) && isnan(r.t2) && !r.is_over && r.metrics == 0);
	assert_true(drift_is_valid(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundredth_of_the_mass_is_found_within_the_hour),
		cmocka_unit_test(nothing_is_found_where_nothing_is),
		cmocka_unit_test(shocks_that_devices_share_raise_the_threshold),
		cmocka_unit_test(a_drift_is_not_swallowed),
		cmocka_unit_test(the_young_are_silent),
		cmocka_unit_test(more_devices_than_usual_beyond_half),
		cmocka_unit_test(shares_that_swing_are_given_room),
		cmocka_unit_test(a_day_must_be_known),
		cmocka_unit_test(bad_counts_change_nothing),
		cmocka_unit_test(large_counts_keep_their_shares),
		cmocka_unit_test(a_device_closes_once),
		cmocka_unit_test(baselines_move_by_less_than_a_step),
		cmocka_unit_test(stored_bytes_are_checked),
		cmocka_unit_test(divergences),
	};
	return cmocka_run_group_tests(tests, warm_up, clean_up);
}
