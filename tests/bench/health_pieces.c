/* How long health checks and commands hold the loop over a large fleet, and how much memory they take.
 *
 *   health_pieces [DEVICES]   1000000 by default
 *
 * Real stores and services on a temporary directory. A piece is one call of a tick, ten a second of an invented clock; the commit after it is
 * beside it. Times are of this thread's processor: what a machine with nothing else to do would show. Ends with 1 where a piece holds the
 * loop for more than 20 ms. */
#include <malloc.h>
#include <time.h>

#include "../unit/service/health_world.h"

#define PIECE_MOST_MS 20.0
#define MAKE_ROWS 5000
#define BATCH 500 /* reports of one durable batch */
#define PERIOD_MS (6 * INT64_C(3600000))

static int too_long;

/* Hooks before and behind those of health: what is between them is its share of a batch. */
static double hook_began, hook_took;

struct phase {
	const char *name;
	double longest, longest_commit, sum;
	int64_t pieces, longest_at;
};

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void must(struct fleet *t, enum err e)
{
	if (e != ERR_OK) {
		fprintf(stderr, "%s %s\n", t->w.fault.pointer, t->w.fault.detail);
		exit(1);
	}
}

static void note(struct phase *p, double tick_ms, double commit_ms)
{
	p->longest_at = tick_ms > p->longest ? p->pieces : p->longest_at;
	p->longest = tick_ms > p->longest ? tick_ms : p->longest;
	p->longest_commit = commit_ms > p->longest_commit ? commit_ms : p->longest_commit;
	p->sum += tick_ms;
	p->pieces++;
}

static void show(const struct phase *p)
{
	printf("%-34s longest piece %6.2f ms (number %lld), mean %7.4f ms, longest commit %6.2f ms, %lld pieces\n", p->name, p->longest, (long long)p->longest_at,
	       p->pieces > 0 ? p->sum / (double)p->pieces : 0, p->longest_commit, (long long)p->pieces);
	fflush(stdout);
	too_long += p->longest > PIECE_MOST_MS;
}

static void commit(struct fleet *t)
{
	must(t, units_commit(&t->w.s, &t->w.fault));
	arena_reset(t->w.c.arena);
}

/* Each room's tick is a piece: the loop may do something else between them. */
static void piece(struct fleet *t, struct phase *commands, struct phase *health, int64_t passed_ms)
{
	t->w.c.now_ms += passed_ms;
	double from = cpu_ms();
	must(t, commands_tick(&t->w.c));
	double middle = cpu_ms();
	must(t, health_tick(&t->w.c));
	double to = cpu_ms();
	commit(t);
	double end = cpu_ms();
	note(commands, middle - from, end - to);
	note(health, to - middle, end - to);
}

static void before_health(struct call *c, void *ctx)
{
	(void)c, (void)ctx;
	hook_began = cpu_ms();
}

static void behind_health(struct call *c, void *ctx)
{
	(void)c, (void)ctx;
	hook_took = cpu_ms() - hook_began;
}

static void make_fleet(struct fleet *t, int devices)
{
	char id[32];
	for (int i = 0; i < devices; i++) {
		struct device_spec spec = {.id = id, .hardware = "esp32"};
		struct device_state *d;
		if (i % MAKE_ROWS == 0)
			must(t, unit_begin(&t->w.s, &t->w.fault));
		snprintf(id, sizeof id, "dev-%07d", i);
		must(t, registry_create(&t->w.c, &spec, &d));
		registry_set_online(t->w.s.registry, d, true, t->w.c.now_ms);
		if (i % MAKE_ROWS == MAKE_ROWS - 1 || i == devices - 1) {
			must(t, unit_end(&t->w.s, ERR_OK, &t->w.fault));
			commit(t);
		}
	}
}

static int64_t make_check(struct fleet *t, struct health_spec s)
{
	int64_t id;
	s.hardware = s.model = s.filter = "";
	s.metric = s.metric != NULL ? s.metric : "";
	s.op = s.op != NULL ? s.op : "";
	s.severity = "warning";
	s.hot_c = 60, s.battery_low = 0.2, s.rssi_bad = -85, s.timeout_ms = 600000;
	must(t, unit_begin(&t->w.s, &t->w.fault));
	must(t, health_create(&t->w.c, &s, &id));
	must(t, unit_end(&t->w.s, ERR_OK, &t->w.fault));
	commit(t);
	return id;
}

/* What the broker would be given is answered at once: so many failures in a thousand. */
static int64_t answer_all(struct fleet *t, struct phase *p, int failing)
{
	int64_t id, row, answers = 0;
	while (commands_next(t->w.s.commands, &id, &row)) {
		char json[120];
		const struct device_state *d = registry_by_row(t->w.s.registry, row);
		int n = snprintf(json, sizeof json, "{\"id\":%lld,\"state\":\"done\",\"value\":%d}", (long long)id, row % 1000 < failing ? 1 : 1000);
		commands_delivered(t->w.s.commands, id, row);
		double from = cpu_ms();
		must(t, ingest_answer(&t->w.c, d->id, json, (size_t)n));
		note(p, cpu_ms() - from, 0);
		if (++answers % 100 == 0)
			arena_reset(t->w.c.arena);
	}
	return answers;
}

static void run_schedule(struct fleet *t, int devices)
{
	struct phase found = {.name = "a run: devices are found"}, told = {.name = "a run: devices are told"}, health = {.name = "health.tick beside it"},
		answers = {.name = "an answer (each)"};
	make_check(t, (struct health_spec){.name = "room", .kind = "storage", .op = "lt", .threshold = 100, .every_ms = PERIOD_MS});
	int64_t begun = t->w.c.now_ms, first = 0, answered = 0;
	piece(t, &found, &health, 100);
	while (answered == 0) {
		piece(t, &found, &health, 100);
		answered = answer_all(t, &answers, 1);
	}
	first = t->w.c.now_ms;
	int wanted = devices < 100000 ? devices : 100000;
	while (answered < wanted) {
		piece(t, &told, &health, 100);
		answered += answer_all(t, &answers, 1);
	}
	show(&found);
	show(&told);
	show(&answers);
	show(&health);
	double seconds = (double)(t->w.c.now_ms - first) / 1000;
	printf("found after %.1f s; told at %.1f a second, wanted %.1f\n", (double)(first - begun) / 1000, (double)answered / seconds,
	       (double)devices * 1000 / (double)(PERIOD_MS / 2));
}

/* Each device reports once, a tenth of a second for a batch. */
static void run_reports(struct fleet *t, int devices, const char *name, const char *tick_name, double latency)
{
	struct phase reports = {.name = name}, share = {.name = "  of it health"}, health = {.name = tick_name}, commands = {.name = "commands.tick"};
	static int seq;
	seq++;
	for (int i = 0; i < devices; i += BATCH) {
		for (int k = i; k < i + BATCH && k < devices; k++) {
			char id[32], json[200];
			snprintf(id, sizeof id, "dev-%07d", k);
			snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"model\":\"m\",\"version\":\"1.0.0\",\"metrics\":{\"latency_ms\":%g,\"temperature_c\":20}}",
			         seq, latency);
			fleet_telemetry(t, id, json);
			arena_reset(t->w.c.arena);
		}
		struct telemetry_batch *b = telemetry_seal(t->w.s.telemetry, t->w.c.now_ms);
		must(t, telemetry_write(b, &t->w.fault));
		double from = cpu_ms();
		telemetry_settle(&t->w.c, b);
		note(&reports, cpu_ms() - from, 0);
		note(&share, hook_took, 0);
		piece(t, &commands, &health, 100);
	}
	show(&reports);
	too_long -= reports.longest > PIECE_MOST_MS; /* of telemetry, which has a bench of its own */
	show(&share);
	show(&health);
}

static double megabytes(void)
{
	struct mallinfo2 m = mallinfo2();
	return (double)(m.uordblks + m.hblkhd) / 1048576;
}

int main(int argc, char **argv)
{
	int devices = argc > 1 ? atoi(argv[1]) : 1000000;
	void *state = NULL;
	fleet_setup(&state);
	struct fleet *t = state;
	arena_free(t->w.c.arena);
	t->w.c.arena = arena_new(256u << 20);
	observe_on_reports(t->w.s.telemetry, before_health, NULL);
	start(t);
	observe_on_reports(t->w.s.telemetry, behind_health, NULL);
	make_fleet(t, devices);
	db_checkpoint_elsewhere(t->w.s.db); /* as the daemon does: checkpoints are a job's */
	double before = megabytes();
	make_check(t, (struct health_spec){.name = "slow", .kind = "limit", .metric = "latency_ms", .op = "gt", .threshold = 50});
	run_reports(t, devices, "500 reports that pass, settled", "health.tick, counts into rows", 10);
	int64_t state_bytes = health_state_bytes(t->w.s.health);
	printf("one check over %d devices: %.1f MB of states (%.0f bytes a device); everything together grew by %.1f MB\n", devices,
	       (double)state_bytes / 1048576, (double)state_bytes / devices, megabytes() - before);
	run_reports(t, devices < 100000 ? devices : 100000, "500 reports that fail, settled", "health.tick, alerts of all of them", 90);
	struct phase rest = {.name = "health.tick, a million in order"}, commands = {.name = "commands.tick"};
	for (int i = 0; i < 3000; i++)
		piece(t, &commands, &rest, 100);
	show(&rest);
	run_schedule(t, devices);
	stop(t);
	fleet_teardown(&state);
	printf(too_long > 0 ? "%d phases hold the loop for more than %.0f ms\n" : "no piece above the limit\n", too_long, PIECE_MOST_MS);
	return too_long > 0;
}
