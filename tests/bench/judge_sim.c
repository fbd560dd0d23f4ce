/* The judge against its competitors on the simulated fleet of docs/judge.md: tables 6a to 6d, non-inferiority,
 * shadow runs, cost of a look.
 *
 * judge_sim [--scale F] [--seed S] [TABLE...]      tables: 6a 6b 6c 6d ni scale strata shadow cost; all by default
 *
 * `--scale 0.1` makes a tenth of the runs. Exits 1 when a bar of docs/judge.md is missed (checked at scale 0.5 and
 * above).
 */
#include <time.h>

#include "core/exact_tail.h"
#include "core/hardstop.h"
#include "judge_fleet.h"
#include "judge_peers.h"

static double scale = 1;
static uint64_t seed = 20260101;
static int missed;

static int runs_of(int full) {
	int runs = (int)(full * scale);
	return runs < 20 ? 20 : runs;
}

static void bar(bool met, const char *what) {
	if (scale < 0.5)
		return;
	printf("    %s: %s\n", met ? "met" : "MISSED", what);
	missed += !met;
}

/* ---- figures with their uncertainty ---- */

static double upper_limit(int hits, int runs) {
	return hardstop_rate_upper((uint64_t)hits, (uint64_t)runs, 0.975);
}

static void print_rate(int hits, int runs) {
	printf("%6.2f %% [%.2f, %.2f]", 100.0 * hits / runs, 100 * (1 - upper_limit(runs - hits, runs)),
		100 * upper_limit(hits, runs));
}

static int compare_counts(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Median with the order statistics that hold it with 95 %, 90th percentile, share that was found. INT64_MAX = not
 * found. */
static int64_t print_median(int64_t *found, int runs) {
	qsort(found, (size_t)runs, sizeof *found, compare_counts);
	int half = (int)(0.98 * sqrt(runs)) + 1, low = runs / 2 - half, high = runs / 2 + half, hits = 0;
	while (hits < runs && found[hits] != INT64_MAX)
		hits++;
	int64_t median = found[runs / 2];
	if (median == INT64_MAX)
		printf("     -");
	else
		printf("%6ld [%ld, %ld]", (long)median, (long)found[low < 0 ? 0 : low], high < hits ? (long)found[high] : -1L);
	if (found[runs * 9 / 10] != INT64_MAX)
		printf(" (%ld)", (long)found[runs * 9 / 10]);
	if (hits < runs)
		printf(" %.1f %%", 100.0 * hits / runs);
	return median;
}

/* ---- the competitors, fed by the fleet's reports ---- */

enum { PEER_ABSOLUTE, PEER_RELATIVE, PEER_FLAGGER, PEER_KAYENTA, PEER_Z, PEER_Z_BONFERRONI, PEER_GROWTHBOOK, PEER_T,
	PEER_GROWTHBOOK_DEVICES,
	PEERS };
static const char *const peer_names[PEERS] = {
	"absolute threshold 2 pp / 10 % v. baseline",
	"relative threshold 2 pp / 10 % v. control",
	"Flagger, 5 failed interval checks",
	"Kayenta-like Mann-Whitney (98 %, tolerance .25)",
	"repeated z-test .01",
	"repeated z-test .01/1000",
	"GrowthBook anytime-valid on reports",
	"device-level t-test .01, repeated",
	"GrowthBook on device means + baseline",
};

#define PEEK 64          /* reports between two peeks: 1000 a wave */
#define PEER_MIN 20      /* canary reports before a rule on reports may speak */
#define PEER_DEVICES 5   /* canary devices before a rule on devices may */
#define PEER_POINTS 10   /* intervals before Kayenta is asked */
#define SERIES_MAX 256

struct peers {
	int64_t stop[PEERS]; /* canary reports, or INT64_MAX */
	int left;
	struct moments all[2][2];      /* [metric][canary] */
	struct moments interval[2][2]; /* of the running interval */
	double baseline[2];            /* canaries' */
	double series[2][2][SERIES_MAX];
	size_t points;
	int failed_checks;
	bool started;
};

static void peers_begin(struct peers *p) {
	memset(p, 0, sizeof *p);
	for (int i = 0; i < PEERS; i++)
		p->stop[i] = INT64_MAX;
	p->left = PEERS;
}

static void peer_stops(struct peers *p, int peer, bool stops, const struct fleet *f) {
	if (!stops || p->stop[peer] != INT64_MAX)
		return;
	p->stop[peer] = f->canary_reports;
	p->left--;
}

/* Harm-positive difference of the newest figures to a reference: [0] accuracy, [1] ln p95. */
static double harm_of(int metric, double canary, double reference) {
	return metric == 0 ? reference - canary : canary - reference;
}

static bool is_beyond(const struct moments canary[2], const double reference[2]) {
	return harm_of(0, moments_mean(&canary[0]), reference[0]) > 0.02 ||
		harm_of(1, moments_mean(&canary[1]), reference[1]) > log(1.1);
}

static void device_moments(const struct fleet *f, int metric, struct moments out[2]) {
	memset(out, 0, 2 * sizeof *out);
	for (uint32_t i = 0; i < f->count; i++) {
		const struct fleet_device *d = &f->devices[i];
		double n = (double)d->reports;
		if (d->reports == 0)
			continue;
		double y = metric == 0 ? d->base_k / (FLEET_BASELINE * FLEET_INFERENCES) - d->k / (n * FLEET_INFERENCES)
							   : d->latency_sum / n - d->base_latency / FLEET_BASELINE;
		moments_add(&out[d->is_canary], y);
	}
}

static void peek_at_devices(struct peers *p, const struct fleet *f) {
	static const double z = 2.3263478740408408; /* .01 */
	bool t_stops = false, growthbook_stops = false;
	for (int metric = 0; metric < 2; metric++) {
		struct moments m[2];
		device_moments(f, metric, m);
		if (m[1].n < PEER_DEVICES || m[0].n < PEER_DEVICES)
			return;
		t_stops |= z_statistic(&m[0], &m[1]) > t_critical(z, t_degrees(&m[0], &m[1]));
		growthbook_stops |= growthbook_interval(&m[0], &m[1], 0.005, f->count, false).low > 0;
	}
	peer_stops(p, PEER_T, t_stops, f);
	peer_stops(p, PEER_GROWTHBOOK_DEVICES, growthbook_stops, f);
}

static void peek_at_reports(struct peers *p, const struct fleet *f) {
	static const double z = 2.3263478740408408, z_bonferroni = 4.2648907939228247; /* .01 and .00001 */
	const struct moments canary[2] = {p->all[0][1], p->all[1][1]};
	const double control[2] = {moments_mean(&p->all[0][0]), moments_mean(&p->all[1][0])};
	peer_stops(p, PEER_ABSOLUTE, is_beyond(canary, p->baseline), f);
	peer_stops(p, PEER_RELATIVE, is_beyond(canary, control), f);
	for (int metric = 0; metric < 2; metric++) {
		double sign = metric == 0 ? -1 : 1, statistic = sign * z_statistic(&p->all[metric][0], &p->all[metric][1]);
		peer_stops(p, PEER_Z, statistic > z, f);
		peer_stops(p, PEER_Z_BONFERRONI, statistic > z_bonferroni, f);
		struct interval i = growthbook_interval(&p->all[metric][0], &p->all[metric][1], 0.005, 5000, false);
		peer_stops(p, PEER_GROWTHBOOK, (metric == 0 ? -i.high : i.low) > 0, f);
	}
}

static void peers_report(void *ctx, const struct fleet *f, const struct fleet_device *d) {
	struct peers *p = ctx;
	for (int i = 0; i < 2; i++) {
		moments_add(&p->all[i][d->is_canary], d->value[i]);
		moments_add(&p->interval[i][d->is_canary], d->value[i]);
	}
	if (!p->started) {
		p->started = true;
		for (uint32_t i = 0; i < f->count; i++) {
			if (!f->devices[i].is_canary)
				continue;
			p->baseline[0] += f->devices[i].base_k / (FLEET_BASELINE * FLEET_INFERENCES) / f->o->blocks;
			p->baseline[1] += f->devices[i].base_latency / FLEET_BASELINE / f->o->blocks;
		}
	}
	if (f->reports % PEEK != 0 || p->left == 0)
		return;
	if (p->all[0][1].n >= PEER_MIN && p->all[0][0].n >= PEER_MIN)
		peek_at_reports(p, f);
	if (p->stop[PEER_T] == INT64_MAX || p->stop[PEER_GROWTHBOOK_DEVICES] == INT64_MAX)
		peek_at_devices(p, f);
}

static bool kayenta_stops(const struct peers *p, int metric) {
	double control[SERIES_MAX], canary[SERIES_MAX];
	memcpy(control, p->series[metric][0], p->points * sizeof *control);
	memcpy(canary, p->series[metric][1], p->points * sizeof *canary);
	qsort(control, p->points, sizeof *control, peers_compare);
	qsort(canary, p->points, sizeof *canary, peers_compare);
	double z = wilcoxon_z(canary, p->points, control, p->points, 0);
	if ((metric == 0 ? -z : z) < 2.3) /* then zero is inside a 98 % interval */
		return false;
	struct interval i = mann_whitney(control, p->points, canary, p->points, 0.98);
	return kayenta_classify(&i, 0.25, metric == 1, metric == 0) != KAYENTA_PASS;
}

static void peers_interval(void *ctx, const struct fleet *f) {
	struct peers *p = ctx;
	bool whole = p->interval[0][0].n > 0 && p->interval[0][1].n > 0 && p->points < SERIES_MAX;
	const struct moments canary[2] = {p->interval[0][1], p->interval[1][1]};
	if (whole) {
		p->failed_checks += canary[0].n >= PEER_MIN && is_beyond(canary, p->baseline);
		peer_stops(p, PEER_FLAGGER, p->failed_checks >= 5, f);
		for (int i = 0; i < 2; i++)
			for (int arm = 0; arm < 2; arm++)
				p->series[i][arm][p->points] = moments_mean(&p->interval[i][arm]);
		p->points++;
	}
	if (whole && p->points >= PEER_POINTS && p->stop[PEER_KAYENTA] == INT64_MAX)
		peer_stops(p, PEER_KAYENTA, kayenta_stops(p, 0) || kayenta_stops(p, 1), f);
	memset(p->interval, 0, sizeof p->interval);
}

static bool peers_done(void *ctx) {
	return ((struct peers *)ctx)->left == 0;
}

/* ---- runs ---- */

static const struct fleet_options full_bill = {.blocks = 50, .controls = 9, .alpha = 0.01, .waves = 2, .weight = 0.15};

static const struct harm {
	const char *name;
	double accuracy, latency, bar; /* median of "full bill" in docs/judge.md */
} harms[] = {
	{"acc -1 %", 0.01, 0, 630},
	{"acc -2 %", 0.02, 0, 133},
	{"acc -5 %", 0.05, 0, 25},
	{"p95 +10 %", 0, 0.0953101798, 48},
	{"p95 +25 %", 0, 0.2231435513, 11},
};
#define HARMS (sizeof harms / sizeof *harms)

struct tally {
	int runs, reverts, passes, holds;
	int64_t *found; /* canary reports until the revert */
	double *intervals;
};

static struct tally run_many(struct fleet_options o, int runs, uint64_t first_seed) {
	struct tally t = {.runs = runs, .found = fleet_alloc((size_t)runs, sizeof(int64_t))};
	struct fleet f;
	fleet_init(&f, &o);
	for (int i = 0; i < runs; i++) {
		struct fleet_outcome out = fleet_run(&f, first_seed + (uint64_t)i, NULL);
		t.found[i] = out.reverted ? out.canary_reports : INT64_MAX;
		t.reverts += out.reverted;
		t.passes += out.verdict == VERDICT_PASS;
		t.holds += out.held;
	}
	fleet_done(&f);
	return t;
}

/* All of them on the same runs. */
static void run_with_peers(struct fleet_options o, int runs, uint64_t first_seed, int64_t **found) {
	struct fleet f;
	struct peers p;
	const struct fleet_hook hook = {peers_report, peers_interval, peers_done, &p};
	fleet_init(&f, &o);
	for (int i = 0; i < runs; i++) {
		peers_begin(&p);
		(void)fleet_run(&f, first_seed + (uint64_t)i, &hook);
		for (int peer = 0; peer < PEERS; peer++)
			found[peer][i] = p.stop[peer];
	}
	fleet_done(&f);
}

static int64_t **alloc_found(int runs) {
	int64_t **found = fleet_alloc(PEERS, sizeof *found);
	for (int i = 0; i < PEERS; i++)
		found[i] = fleet_alloc((size_t)runs, sizeof **found);
	return found;
}

static void free_found(int64_t **found) {
	for (int i = 0; i < PEERS; i++)
		free(found[i]);
	free(found);
}

static int count_found(const int64_t *found, int runs) {
	int hits = 0;
	for (int i = 0; i < runs; i++)
		hits += found[i] != INT64_MAX;
	return hits;
}

/* ---- tables ---- */

static void aa_row(const char *name, struct fleet_options o, int runs, double alpha) {
	struct tally t = run_many(o, runs, seed);
	printf("  %-52s", name);
	print_rate(t.reverts, runs);
	printf("   pass %.1f %%, held %.1f %%\n", 100.0 * t.passes / runs, 100.0 * t.holds / runs);
	fflush(stdout);
	if (alpha > 0)
		bar(hardstop_rate_upper((uint64_t)t.reverts, (uint64_t)runs, 0.95) <= alpha, "upper 95 % limit at most alpha");
	free(t.found);
}

static void table_6a(void) {
	int runs = runs_of(8000), peer_runs = runs_of(1000);
	printf("6a. False reverts, nothing wrong with the version [95 %% limits]; %d runs of the judge, %d of the others\n", runs, peer_runs);
	struct fleet_options o = full_bill;
	aa_row("judge, alpha .01 as shipped", o, runs, 0.01);
	o.waves = 1;
	o.weight = 0.5;
	aa_row("judge, alpha .01, all spent on this wave", o, runs, 0.01);
	o.alpha = 0.05;
	aa_row("judge, alpha .05, all spent on this wave", o, runs, 0.05);
	o = full_bill;
	o.iid = true;
	aa_row("judge, alpha .01 as shipped, iid reports", o, runs / 4, 0);
	int64_t **real = alloc_found(peer_runs), **iid = alloc_found(peer_runs);
	run_with_peers(full_bill, peer_runs, seed, real);
	run_with_peers(o, peer_runs, seed, iid);
	printf("  %-52s%-26s%s\n", "", "realistic fleet", "iid reports");
	for (int peer = 0; peer < PEERS; peer++) {
		printf("  %-52s", peer_names[peer]);
		print_rate(count_found(real[peer], peer_runs), peer_runs);
		print_rate(count_found(iid[peer], peer_runs), peer_runs);
		printf("\n");
	}
	free_found(real);
	free_found(iid);
}

static void table_6b(void) {
	int runs = runs_of(4000), peer_runs = runs_of(1000);
	printf("6b. Canary device-reports until the revert: median [95 %% limits] (90th percentile) share found if below 100 %%; %d runs\n"
		   "    of the judge, %d of the others\n",
		runs, peer_runs);
	for (size_t h = 0; h < HARMS; h++) {
		struct fleet_options o = full_bill;
		o.accuracy_drop = harms[h].accuracy;
		o.latency_rise = harms[h].latency;
		int64_t **found = alloc_found(peer_runs);
		run_with_peers(o, peer_runs, seed, found);
		struct tally t = run_many(o, runs, seed);
		printf("  %s\n    %-50s", harms[h].name, "judge, full bill (half of alpha .01, six metrics)");
		int64_t median = print_median(t.found, runs);
		printf("\n");
		free(t.found);
		bar((double)median <= 1.15 * harms[h].bar, "median within +15 % of docs/judge.md");
		o.waves = 1;
		o.weight = 0.5;
		t = run_many(o, runs, seed);
		printf("    %-50s", "judge, the bill of two metrics, all of alpha");
		print_median(t.found, runs);
		free(t.found);
		for (int peer = 0; peer < PEERS; peer++) {
			printf("\n    %-50s", peer_names[peer]);
			print_median(found[peer], peer_runs);
		}
		printf("\n");
		fflush(stdout);
		free_found(found);
	}
}

static void table_6c(void) {
	static const uint32_t shapes[][2] = {{5, 19}, {10, 9}, {20, 9}, {50, 9}, {100, 4}, {200, 1}};
	int runs = runs_of(500);
	printf("6c. Other shapes, full bill: median [95 %% limits] (90th percentile) share found; A/A: reverts, PASS; %d runs\n", runs);
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		struct fleet_options o = full_bill;
		o.blocks = shapes[s][0];
		o.controls = shapes[s][1];
		struct tally t = run_many(o, runs, seed);
		printf("  %u x %u\n    A/A        ", o.blocks, o.controls);
		print_rate(t.reverts, runs);
		printf("   PASS %.1f %%\n", 100.0 * t.passes / runs);
		free(t.found);
		for (size_t h = 0; h < HARMS; h++) {
			o.accuracy_drop = harms[h].accuracy;
			o.latency_rise = harms[h].latency;
			t = run_many(o, runs, seed);
			printf("    %-10s ", harms[h].name);
			print_median(t.found, runs);
			printf("\n");
			free(t.found);
		}
		fflush(stdout);
	}
}

/* Nothing is reverted or held on the way: the bound must hold by itself. */
static void ni_row(const char *name, int metric, bool exact, int runs) {
	struct fleet_options o = full_bill;
	o.accuracy_drop = metric == 0 ? 0.02 : 0;
	o.latency_rise = metric == 1 ? judge_margin_percent(10) : 0;
	o.alpha = 1e-200;
	o.never_hold = true;
	o.exact_harm = exact;
	struct tally t = run_many(o, runs, seed);
	printf("  %-38s", name);
	print_rate(t.passes, runs);
	printf("\n");
	fflush(stdout);
	if (exact)
		bar(upper_limit(t.passes, runs) <= 0.07, "upper 95 % limit at most beta + 2 points");
	free(t.found);
}

static void table_ni(void) {
	int runs = runs_of(8000);
	printf("NI. Canaries harmed by exactly the non-inferiority margin that PASS (beta 5 %%) [95 %% limits]; %d runs\n", runs);
	ni_row("accuracy -2 pp, ni_margin 2 pp", 0, true, runs);
	ni_row("p95 +10 %, ni_margin 10 %", 1, true, runs);
	ni_row("the same, where shares end at 1", 0, false, runs / 4);
	ni_row("the same, where reports are clipped", 1, false, runs / 4);
	runs = runs_of(1000);
	printf("    With margins (0.5 pp / 5 %%); %d runs\n", runs);
	static const struct harm rows[] = {{"harm = margins", 0.005, 0.0487901642, 0}, {"acc -1 %", 0.01, 0, 0},
		{"acc -2 %", 0.02, 0, 0},
		{"p95 +10 %", 0, 0.0953101798, 0}, {"p95 +25 %", 0, 0.2231435513, 0}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fleet_options o = full_bill;
		o.accuracy_margin = 0.005;
		o.latency_margin = judge_margin_percent(5);
		o.accuracy_drop = rows[i].accuracy;
		o.latency_rise = rows[i].latency;
		struct tally t = run_many(o, runs, seed);
		printf("  with margins, %-16s", rows[i].name);
		print_rate(t.reverts, runs);
		printf("  ");
		print_median(t.found, runs);
		printf("\n");
		free(t.found);
	}
}

/* Harm to one hardware class of two, five points of accuracy of one of five: found sooner with per_stratum, harm to all a little later. */
static void table_strata(void) {
	int runs = runs_of(500);
	printf("Strata, full bill: median [95 %% limits] (90th percentile) share found; %d runs\n", runs);
	static const struct {
		const char *name;
		uint32_t strata;
		bool one;
		double drop;
	} rows[] = {{"acc -2 % of all, 2 classes", 2, false, 0.02}, {"acc -2 % of one of 2", 2, true, 0.02}, {"acc -5 % of one of 5", 5, true, 0.05}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		printf("  %-28s", rows[i].name);
		for (int alone = 0; alone < 2; alone++) {
			struct fleet_options o = full_bill;
			o.strata = rows[i].strata;
			o.one_stratum = rows[i].one;
			o.per_stratum = alone;
			o.accuracy_drop = rows[i].drop;
			struct tally t = run_many(o, runs, seed);
			printf("   %s ", alone ? "per_stratum" : "pooled");
			print_median(t.found, runs);
			free(t.found);
		}
		printf("\n");
		fflush(stdout);
	}
}

/* What it costs that the bound holds for any harm up to the margins: scales from the baselines, and nothing left to later looks. */
static void table_scale(void) {
	int runs = runs_of(2000);
	printf("Scale from baselines, full bill: median [95 %% limits] (90th percentile) share found; %d runs\n", runs);
	struct fleet_options o = full_bill;
	o.bounded = true;
	aa_row("A/A, alpha .01 as shipped", o, runs, 0.01);
	for (size_t h = 0; h < HARMS; h++) {
		o.accuracy_drop = harms[h].accuracy;
		o.latency_rise = harms[h].latency;
		struct tally t = run_many(o, runs, seed);
		printf("  %-10s ", harms[h].name);
		print_median(t.found, runs);
		printf("   (bar where the scale is the look's: %.0f)\n", 1.15 * harms[h].bar);
		fflush(stdout);
		free(t.found);
	}
	o.accuracy_margin = 0.005;
	o.latency_margin = judge_margin_percent(5);
	o.accuracy_drop = 0.005;
	o.latency_rise = judge_margin_percent(5);
	o.exact_harm = true;
	aa_row("harm of just the margins", o, runs, 0.01);
}

static void table_shadow(void) {
	int runs = runs_of(1000);
	printf("Shadow runs: 50 devices, both versions on the same inputs, no device exposed: median [95 %% limits] (90th percentile); %d runs\n",
		runs);
	struct fleet_options o = full_bill;
	o.shadow = true;
	struct tally t = run_many(o, runs, seed);
	printf("  A/A        ");
	print_rate(t.reverts, runs);
	printf("   PASS %.1f %%\n", 100.0 * t.passes / runs);
	free(t.found);
	for (size_t h = 0; h < HARMS; h++) {
		o.accuracy_drop = harms[h].accuracy;
		o.latency_rise = harms[h].latency;
		t = run_many(o, runs, seed);
		printf("  %-10s ", harms[h].name);
		print_median(t.found, runs);
		printf("   exposed devices' reports: 0 (with a canary: %.0f)\n", harms[h].bar);
		free(t.found);
	}
}

/* ---- bricks ---- */

enum { STOP_JUDGE, STOP_HARD, STOP_AWS, STOP_HAWKBIT, STOPS };
static const char *const stop_names[STOPS] = {"judge alone", "judge with its default hard stop",
	"AWS style 10 %, min 10",
	"hawkBit style 10 % of group"};

struct bricks {
	uint32_t blocks, controls;
	double p0, bricked;
};

struct brick_run {
	struct judge_row *rows;
	struct judge_cell *cells;
	bool *silent;
	void *workspace;
	size_t workspace_bytes;
	struct judge_config config;
	struct judge_gate gate;
};

static void brick_run_init(struct brick_run *b, const struct bricks *o) {
	size_t count = (size_t)o->blocks * (o->controls + 1);
	b->rows = fleet_alloc(count, sizeof *b->rows);
	b->cells = fleet_alloc(count, sizeof *b->cells);
	b->silent = fleet_alloc(count, sizeof *b->silent);
	b->workspace_bytes = judge_workspace_bytes(count, 1);
	b->workspace = fleet_alloc(1, b->workspace_bytes);
	judge_gate_init(&b->gate, "silence", METRIC_SILENCE);
	b->gate.weight = 0.2;
	judge_config_init(&b->config);
	b->config.waves = 2;
	b->config.blocks = o->blocks;
	b->config.controls = o->controls;
	b->config.silence_rate = o->p0;
	b->config.gates = &b->gate;
	b->config.gate_count = 1;
}

static void brick_run_done(struct brick_run *b) {
	free(b->rows);
	free(b->cells);
	free(b->silent);
	free(b->workspace);
}

static bool brick_look(struct brick_run *b, struct judge_state *s, size_t rows, uint32_t hard_stop) {
	struct judge_result r;
	b->config.hard_stop_silent = hard_stop;
	if (judge_look(&b->config, s, b->rows, b->cells, rows, false, &r, b->workspace, b->workspace_bytes, NULL))
		abort();
	return r.verdict == VERDICT_REVERT;
}

/* One canary (and its block) is enrolled a step and its fate is known at the next; after the last the wave goes on
 * for 128 steps. */
static void brick_wave(struct brick_run *b, const struct bricks *o, struct rng *g, int64_t stop[STOPS]) {
	struct judge_state alone = {0}, hard = {0};
	size_t size = o->controls + 1, rows = 0;
	int64_t reports = 0;
	uint32_t enrolled = 0, failed = 0;
	int left = STOPS;
	for (int i = 0; i < STOPS; i++)
		stop[i] = INT64_MAX;
	for (uint32_t step = 0; step < o->blocks + FLEET_WAVE && left > 0; step++) {
		if (enrolled < o->blocks) {
			for (size_t i = 0; i < size; i++, rows++) {
				b->rows[rows] = (struct judge_row){.device = rows + 1, .block = enrolled, .is_canary = i == 0};
				b->silent[rows] = rng_uniform(g) < o->p0 || (i == 0 && rng_uniform(g) < o->bricked);
			}
			failed += b->silent[rows - size];
			enrolled++;
		}
		for (size_t i = 0; i < rows; i++) {
			b->rows[i].reports += !b->silent[i];
			reports += !b->silent[i];
			b->cells[i].window = (struct metric_point){1, 1, b->silent[i]};
		}
		const bool now[STOPS] = {
			[STOP_JUDGE] = stop[STOP_JUDGE] == INT64_MAX && judge_is_look_due(&b->config, &alone, reports) &&
				brick_look(b, &alone, rows, 0),
			[STOP_HARD] = stop[STOP_HARD] == INT64_MAX && brick_look(b, &hard, rows, JUDGE_HARD_STOP_AUTO),
			[STOP_AWS] = enrolled >= 10 && 10 * failed >= enrolled,
			[STOP_HAWKBIT] = 10 * failed >= o->blocks,
		};
		for (int i = 0; i < STOPS; i++) {
			if (now[i] && stop[i] == INT64_MAX) {
				stop[i] = enrolled;
				left--;
			}
		}
	}
}

/* Why no rule can be asked for more: what stopping by the tenth canary costs at least in false stops. */
static void print_least_price(const struct bricks *o, const int *by_ten, int runs) {
	double q = o->p0 + (1 - o->p0) * o->bricked;
	printf("    stopped by the 10th canary: judge %.0f %%, AWS style %.0f %% (at %.2f %% false stops by then); any rule on who is silent that does so with\n"
		   "    probability 1/2 has at least %.2f %%\n", 100.0 * by_ten[STOP_HARD] / runs, 100.0 * by_ten[STOP_AWS] / runs,
		100 * hardstop_price(10, o->p0, 1), 100 * hardstop_least_price(10, o->p0, q, 0.5));
}

static void brick_bars(const struct bricks *o, const struct brick_run *b, const int *hits, const int64_t *median, int runs) {
	if (o->bricked == 0) {
		double price = judge_hard_stop(&b->config, 0).price, alone = b->config.alpha * 0.5 * b->gate.weight;
		printf("    price of the hard stop in this wave: %.2f %%\n", 100 * price);
		bar(1 - upper_limit(runs - hits[STOP_HARD], runs) <= price + alone,
			"no more false stops than the hard stop's price and the gate's part of alpha");
		bar(hits[STOP_HARD] < hits[STOP_AWS], "fewer false stops than 10 %, min 10");
	} else if (hardstop_least_price(10, o->p0, o->p0 + (1 - o->p0) * o->bricked, 0.5) <= b->config.hard_stop_price / 2) {
		bar(median[STOP_HARD] < median[STOP_AWS] && hits[STOP_HARD] >= hits[STOP_AWS] - runs / 50, "faster than 10 %, min 10");
	}
}

static void brick_row(const struct bricks *o, uint64_t row_seed, int runs) {
	struct brick_run b;
	struct rng g;
	int64_t stop[STOPS], *found[STOPS], median[STOPS];
	int hits[STOPS], by_ten[STOPS] = {0};
	rng_seed(&g, row_seed);
	brick_run_init(&b, o);
	for (int k = 0; k < STOPS; k++)
		found[k] = fleet_alloc((size_t)runs, sizeof **found);
	for (int run = 0; run < runs; run++) {
		brick_wave(&b, o, &g, stop);
		for (int k = 0; k < STOPS; k++) {
			found[k][run] = stop[k];
			by_ten[k] += stop[k] <= 10;
		}
	}
	printf("  %u x %u, p0 %.1f %%, bricks %.0f %%\n", o->blocks, o->controls, 100 * o->p0, 100 * o->bricked);
	for (int k = 0; k < STOPS; k++) {
		hits[k] = count_found(found[k], runs);
		printf("    %-34s", stop_names[k]);
		print_rate(hits[k], runs);
		qsort(found[k], (size_t)runs, sizeof **found, compare_counts);
		median[k] = hits[k] > 0 ? found[k][hits[k] / 2] : INT64_MAX;
		int half = (int)(0.98 * sqrt(hits[k])) + 1, low = hits[k] / 2 - half, high = hits[k] / 2 + half;
		if (hits[k] > 0)
			printf(" / %ld [%ld, %ld]", (long)median[k], (long)found[k][low < 0 ? 0 : low], (long)found[k][high < hits[k] ? high : hits[k] - 1]);
		printf("\n");
		free(found[k]);
	}
	if (o->bricked > 0)
		print_least_price(o, by_ten, runs);
	b.config.hard_stop_silent = JUDGE_HARD_STOP_AUTO;
	brick_bars(o, &b, hits, median, runs);
	fflush(stdout);
	brick_run_done(&b);
}

static void table_6d(void) {
	static const struct bricks rows[] = {{50, 99, 0.002, 0}, {50, 99, 0.002, 0.1}, {50, 99, 0.002, 0.2},
		{50, 99, 0.002, 0.5}, {50, 99, 0.01, 0}, {50, 99, 0.01, 0.1}, {50, 99, 0.01, 0.2}, {50, 99, 0.01, 0.5}, {50, 9, 0.02, 0},
		{50, 9, 0.02, 0.2}, {50, 9, 0.05, 0}};
	int runs = runs_of(1000);
	printf("6d. Bricks: share of runs that stop [95 %% limits] / median canaries enrolled at the stop; %d runs\n", runs);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		brick_row(&rows[i], seed + i, runs);
}

/* ---- cost ---- */

static double now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double cost_of_tail(uint32_t blocks, uint32_t size) {
	size_t members = (size_t)blocks * size, bytes = exact_tail_workspace_bytes(blocks, 64);
	int32_t *x = fleet_alloc(members, sizeof *x);
	uint32_t *sizes = fleet_alloc(blocks, sizeof *sizes);
	void *workspace = fleet_alloc(1, bytes);
	struct rng g;
	rng_seed(&g, seed);
	for (size_t i = 0; i < members; i++)
		x[i] = (int32_t)lrint(fmax(-32, fmin(32, 8 * rng_normal(&g))));
	for (uint32_t b = 0; b < blocks; b++)
		sizes[b] = size;
	int rounds = members > 20000 ? 5 : 50;
	double best = INFINITY;
	for (int i = 0; i < rounds; i++) {
		struct exact_tail t;
		double start = now_ms();
		exact_tail(x, sizes, blocks, (int64_t)(8 * sqrt(blocks)), &t, workspace, bytes);
		best = fmin(best, now_ms() - start);
	}
	free(x);
	free(sizes);
	free(workspace);
	return best;
}

static double cost_of_look(uint32_t blocks, uint32_t controls) {
	struct fleet_options o = full_bill;
	struct fleet f;
	o.blocks = blocks;
	o.controls = controls;
	fleet_init(&f, &o);
	fleet_begin(&f, seed);
	for (uint32_t i = 0; i < f.count; i++) {
		struct fleet_device *d = &f.devices[i];
		for (; d->reports < 20; d->reports++) {
			fleet_report(&f, d, false);
			d->k += d->value[0] * FLEET_INFERENCES;
			d->latency_sum += d->value[1];
		}
	}
	double best = INFINITY;
	for (int i = 0; i < 20; i++) {
		f.state = (struct judge_state){0};
		double start = now_ms();
		fleet_look(&f, false);
		best = fmin(best, now_ms() - start);
	}
	fleet_done(&f);
	return best;
}

static void table_cost(void) {
	printf("Cost (best of several, one core)\n");
	double small = cost_of_tail(50, 10), large = cost_of_tail(512, 10);
	printf("  exact p: 50 x 10 %.3f ms, 50 x 100 %.3f ms, 512 x 10 %.2f ms; Chernoff 1000 x 10 %.2f ms, 2000 x 100 %.2f ms\n", small,
		cost_of_tail(50, 100), large, cost_of_tail(1000, 10), cost_of_tail(2000, 100));
	printf("  a whole look of two gates with non-inferiority: 50 x 10 %.3f ms, 512 x 10 %.2f ms, 2000 x 10 %.1f ms\n",
		cost_of_look(50, 9),
		cost_of_look(512, 9), cost_of_look(2000, 9));
	bar(small < 0.15, "50 blocks of 10 under 0.15 ms");
	bar(large < 10, "512 blocks of 10 under 10 ms");
}

static const struct table {
	const char *name;
	void (*print)(void);
} tables[] = {
	{"cost", table_cost}, {"6a", table_6a}, {"6b", table_6b}, {"6c", table_6c}, {"6d", table_6d}, {"ni", table_ni},
		{"scale", table_scale}, {"strata", table_strata}, {"shadow", table_shadow},
};

int main(int argc, char **argv) {
	bool any = false;
	for (int i = 1; i < argc; i++) {
		bool known = false;
		if (i + 1 < argc && strcmp(argv[i], "--scale") == 0) {
			scale = atof(argv[++i]);
			continue;
		}
		if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
			seed = strtoull(argv[++i], NULL, 10);
			continue;
		}
		for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
			if (strcmp(argv[i], tables[t].name) == 0) {
				tables[t].print();
				known = any = true;
			}
		}
		if (!known) {
			fprintf(stderr, "usage: judge_sim [--scale F] [--seed S] [cost|6a|6b|6c|6d|ni|scale|strata|shadow...]\n");
			return 2;
		}
	}
	for (size_t t = 0; t < sizeof tables / sizeof *tables && !any; t++)
		tables[t].print();
	if (missed > 0)
		printf("%d bars missed\n", missed);
	return missed > 0;
}
