/* The paging layer on the simulated fleet of docs/detect.md: realised false alerts, detection, delay.
 *
 * detect_sim [--devices N] [--failing N] [--contaminating N] [--learn DAYS] [--days DAYS] [--budget B]
 *     [--thresholds] SEED...
 *
 * Exits 1 when a bar is missed (checked at 100,000 device-days and above).
 */
#include <stdio.h>

#include "core/hardstop.h"
#include "detect_fleet.h"

#define BAR_FALSE 1.0   /* alerts in 1000 device-days */
#define BAR_FOUND 0.95
#define BAR_DELAY_H 1.0
#define BAR_DEVICE_DAYS 100000

static const bool fault_is_abrupt[FLEET_FAULTS] = {[FAULT_CORRUPTED] = true, [FAULT_CONSTANT] = true,
	[FAULT_THROTTLE] = true, [FAULT_BATTERY] = true, [FAULT_ERRORS] = true, [FAULT_REBOOTS] = true};

static double share_upper(uint32_t hits, uint32_t runs)
{
	return hardstop_rate_upper(hits, runs, 0.975);
}

static bool print_rate(const char *name, uint32_t count, double device_days)
{
	double low = count - 1.96 * sqrt(count + 0.25) > 0 ? count + 0.5 - 1.96 * sqrt(count + 0.25) : 0;
	double high = count + 2.42 + 1.96 * sqrt(count + 0.75); /* Poisson, approximately, on the safe side */
	printf("%-34s%10u%12.3f  [%.3f, %.3f]\n", name, count, 1000 * count / device_days, 1000 * fmax(low, 0) / device_days,
		1000 * high / device_days);
	return 1000 * count / device_days <= BAR_FALSE;
}

static int print_false(const struct fleet_outcome *o)
{
	static const char *const naive[FLEET_NAIVE] = {"|z| > 3", "|z| > 4", "|z| > 6"};
	printf("\n%-34s%10s%12s  95 %% limits\n", "rule", "alerts", "/1000 d-d");
	for (int i = 0; i < FLEET_NAIVE; i++)
		print_rate(naive[i], o->naive[i], o->device_days);
	int missed = !print_rate("the budget", o->alerts, o->device_days);
	print_rate("  device-days with an alert", o->alert_days, o->device_days);
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		if (o->by_statistic[s] > 0)
			printf("    %-30s%10u\n", watch_statistic_name((enum watch_statistic)s), o->by_statistic[s]);
	}
	if (o->by_rule > 0)
		printf("    %-30s%10u\n", "explicit rules", o->by_rule);
	return missed;
}

static int print_faults(const struct fleet_outcome *o)
{
	int missed = 0;
	printf("\n%-20s%14s%22s%26s\n", "fault", "found", "95 % limits", "mean delay h, 95 % limits");
	for (int k = 0; k < FLEET_FAULTS; k++) {
		uint32_t n = o->trials[k], hits = o->found[k];
		double mean = o->delay_h[k] / hits, sd = sqrt(fmax(o->delay_square[k] / hits - mean * mean, 0));
		if (n == 0)
			continue;
		printf("%-20s%7u/%-6u    [%6.2f %%, %6.2f %%]%10.2f [%.2f, %.2f]\n", fleet_fault_names[k], hits, n,
			100 * (1 - share_upper(n - hits, n)), 100 * share_upper(hits, n), mean, mean - 1.96 * sd / sqrt(hits),
			mean + 1.96 * sd / sqrt(hits));
		missed += hits < BAR_FOUND * n || (fault_is_abrupt[k] && !(mean <= BAR_DELAY_H));
	}
	return missed;
}

/* The value that a tenth of the device-days exceeds. */
static double body_of(const struct fleet_outcome *o, int s)
{
	float left = budget_device_days(&o->budget, (enum watch_statistic)s) / 10;
	for (unsigned i = LOGBINS - 1; i > 0; i--) {
		if ((left -= o->budget.bins[s][i]) <= 0)
			return (double)logbin_middle(i);
	}
	return 0;
}

static void print_thresholds(const struct fleet_outcome *o)
{
	printf("\n%-26s%12s%12s%12s%12s  %s\n", "statistic", "threshold", "90 % below", "shipped", "device-days", "source");
	for (int s = 0; s < WATCH_STATISTICS; s++) {
		printf("%-26s%12.2f%12.2f%12.2f%12.0f  %s\n", watch_statistic_name((enum watch_statistic)s), (double)o->threshold[s],
			body_of(o, s), (double)budget_shipped((enum watch_statistic)s),
			(double)budget_device_days(&o->budget, (enum watch_statistic)s), budget_source_name(o->budget.source[s]));
	}
}

int main(int argc, char **argv)
{
	static struct fleet_outcome outcome;
	struct fleet_options o = {.devices = 4000, .failing = 80, .contaminating = 4, .learn_days = 12, .days = 10,
		.budget = BUDGET_DEFAULT};
	bool want_thresholds = false;
	uint64_t seeds[32] = {0};
	int count = 0, missed;
	for (int i = 1; i < argc; i++) {
		uint32_t value = i + 1 < argc ? (uint32_t)strtoul(argv[i + 1], NULL, 10) : 0;
		if (strcmp(argv[i], "--devices") == 0)
			o.devices = value, i++;
		else if (strcmp(argv[i], "--failing") == 0)
			o.failing = value, i++;
		else if (strcmp(argv[i], "--contaminating") == 0)
			o.contaminating = value, i++;
		else if (strcmp(argv[i], "--learn") == 0)
			o.learn_days = value, i++;
		else if (strcmp(argv[i], "--days") == 0)
			o.days = value, i++;
		else if (strcmp(argv[i], "--budget") == 0)
			o.budget = i + 1 < argc ? strtof(argv[i + 1], NULL) : 0, i++;
		else if (strcmp(argv[i], "--thresholds") == 0)
			want_thresholds = true;
		else if (count < 32)
			seeds[count++] = strtoull(argv[i], NULL, 10);
	}
	if (o.days < 3 || o.learn_days < 1 || !(o.budget > 0)) {
		fprintf(stderr, "detect_sim: at least 3 days, one to learn, a budget above 0\n");
		return 2;
	}
	for (int i = 0; i < count; i++) {
		uint32_t before = outcome.alerts;
		o.seed = seeds[i];
		fleet_run(&o, &outcome);
		printf("seed %llu: %.3f false alerts in 1000 device-days\n", (unsigned long long)o.seed,
			1000.0 * (outcome.alerts - before) / ((double)o.devices * o.days));
		fflush(stdout);
	}
	printf("%.0f fault-free device-days, budget %g a device-day\n", outcome.device_days, (double)o.budget);
	missed = print_false(&outcome);
	missed += print_faults(&outcome);
	if (want_thresholds)
		print_thresholds(&outcome);
	if (outcome.device_days < BAR_DEVICE_DAYS)
		return 0;
	printf("\nbar 5 (at most %.1f, each kind %.0f %%, abrupt ones within %.0f h): %s\n", BAR_FALSE,
		100 * BAR_FOUND, BAR_DELAY_H, missed == 0 ? "met" : "MISSED");
	return missed > 0;
}
