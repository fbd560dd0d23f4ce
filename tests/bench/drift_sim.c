/* Fleet drift on simulated cohorts: null and power, as in docs/detect.md, "Fleet drift".
 *
 * drift_sim [--hours N] [--seed S]     N: null hours of each kind of fleet (20,000 by default: two minutes or so)
 *
 * Exits 1 when a bar is missed: 1 % of mass on all devices and 2 % on 30 % of them found within the first hour in
 * every trial, no alarm in any null hour.
 */
#include <time.h>

#include "drift_fleet.h"

static struct fleet *fleet, *warm;
static uint64_t seed = 20260101;
static unsigned null_hours = 20000;
static int missed;

static void bar(bool met, const char *what)
{
	printf("    %s: %s\n", met ? "met" : "MISSED", what);
	missed += !met;
}

struct null_figures {
	unsigned hours, alarms;
	double t2_sum, t2_max, threshold_sum, nearest, psi_sum;
};

static void null_run(const struct fleet_config *c, uint64_t run, unsigned hours, struct null_figures *n)
{
	fleet_init(fleet, c, seed + run);
	for (unsigned i = 0; i < FLEET_WARM_H; i++) fleet_hour(fleet, NULL);
	for (unsigned i = 0; i < hours; i++) {
		struct drift_result r = fleet_hour(fleet, NULL);
		n->hours++;
		n->alarms += r.is_over;
		n->t2_sum += (double)r.t2;
		n->t2_max = fmax(n->t2_max, (double)r.t2);
		n->threshold_sum += (double)r.threshold;
		n->nearest = fmax(n->nearest, (double)r.t2 / (double)r.threshold);
		n->psi_sum += (double)r.psi;
	}
}

static const struct {
	const char *name;
	struct fleet_config c;
	double share; /* of null_hours */
} fleets[] = {
	{"plain, 1000 devices, 10 classes", {1000, 10, 400, 0.15, 0.7, 0.1, 0.15, 0}, 1},
	{"shared shocks in one direction", {1000, 10, 400, 0.15, 0.7, 0.1, 0.15, 0.05}, 0.25},
	{"rare classes, 16 of them", {300, 16, 60, 0.6, 0.5, 0.15, 0.1, 0}, 0.5},
	{"two classes, 100 devices", {100, 2, 40, 2.5, 0.5, 0.15, 0.1, 0}, 2},
};

static void table_null(void)
{
	printf("null: no fault\n  fleet                             cohort-hours  alarms  mean T2  max T2  threshold  nearest  PSI\n");
	unsigned alarms = 0;
	for (unsigned i = 0; i < sizeof fleets / sizeof fleets[0]; i++) {
		struct null_figures n = {0};
		unsigned hours = (unsigned)(null_hours * fleets[i].share), piece = 2000;
		for (unsigned run = 0; n.hours < hours; run++)
			null_run(&fleets[i].c, 1000 * i + run, hours - n.hours < piece ? hours - n.hours : piece, &n);
		printf("  %-32s  %12u  %6u  %7.1f  %6.1f  %9.1f  %7.2f  %.4f\n", fleets[i].name, n.hours, n.alarms, n.t2_sum / n.hours,
			n.t2_max, n.threshold_sum / n.hours, n.nearest, n.psi_sum / n.hours);
		alarms += n.alarms;
	}
	bar(alarms == 0, "no alarm without a fault (<= 1e-6 a cohort-hour by the threshold)");
}

struct power {
	struct fleet_fault fault;
	bool is_bar;
	unsigned found[24];
	double t2, psi, kl;
};

static void power_run(struct power *p, unsigned trial)
{
	struct fleet_fault fault = p->fault;
	bool is_found = false;
	fault.from = trial % fleet->c.classes;
	for (unsigned k = 0; k < 24; k++) {
		struct drift_result r = fleet_hour(fleet, &fault);
		is_found = is_found || r.is_over;
		p->found[k] += is_found;
		if (k > 0)
			continue;
		p->t2 += (double)r.t2;
		p->psi += (double)r.psi;
		p->kl += (double)r.kl;
	}
}

static void table_power(const char *what, const struct fleet_config *c, unsigned trials, bool has_bars)
{
	struct power powers[] = {
		{.fault = {0, 0, 0}}, {.fault = {0.0025, 1, 0}}, {.fault = {0.005, 1, 0}}, {.fault = {0.01, 1, 0}, .is_bar = true},
		{.fault = {0.02, 1, 0}}, {.fault = {0.05, 1, 0}}, {.fault = {0.1, 1, 0}}, {.fault = {0.01, 0.3, 0}},
		{.fault = {0.02, 0.3, 0}, .is_bar = true}, {.fault = {0.05, 0.1, 0}},
	};
	const unsigned rows = sizeof powers / sizeof powers[0];
	printf("power, %s: mass moved from one class to the next, %u trials each\n", what, trials);
	printf("  mass     devices  in hour 1  within 3 h  within 24 h  mean T2 of hour 1  PSI     KL\n");
	for (unsigned t = 0; t < trials; t++) {
		fleet_init(warm, c, seed + 77777 + t);
		for (unsigned k = 0; k < FLEET_WARM_H + 5 * t; k++) fleet_hour(warm, NULL);
		for (unsigned i = 0; i < rows; i++) {
			*fleet = *warm;
			power_run(&powers[i], t);
		}
	}
	for (unsigned i = 0; i < rows; i++) {
		const struct power *p = &powers[i];
		printf("  %5.2f %%  %4.0f %%  %7.0f %%  %8.0f %%  %9.0f %%  %17.1f  %.4f  %.4f\n", p->fault.mass * 100, p->fault.devices * 100,
			100.0 * p->found[0] / trials, 100.0 * p->found[2] / trials, 100.0 * p->found[23] / trials, p->t2 / trials,
			p->psi / trials, p->kl / trials);
		if (p->is_bar && has_bars)
			bar(p->found[0] == trials, "found within the first hour, every time");
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--hours") == 0)
			null_hours = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
	}
	static struct fleet fleets_room[2];
	fleet = &fleets_room[0];
	warm = &fleets_room[1];
	printf("state: %zu bytes a device, %zu a cohort\n", sizeof(struct drift_device), sizeof(struct drift));
	clock_t start = clock();
	unsigned trials = null_hours >= 10000 ? 20 : 5;
	struct fleet_config restless = fleet_plain;
	restless.wander = 0.2;
	table_power("1000 devices, 400 inferences an hour", &fleet_plain, trials, true);
	table_power("the same, devices twice as restless", &restless, trials, false);
	table_null();
	printf("%.0f s\n", (double)(clock() - start) / CLOCKS_PER_SEC);
	return missed ? 1 : 0;
}
