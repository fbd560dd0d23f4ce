/* How long a look at a large stage holds the loop: the longest piece, the pieces' sum, and the job beside it.
 *
 *   look_pieces [BLOCKS [CONTROLS]]   2000 and 50 by default; six gates, one a quantile, one silence
 *
 * Real stores and services on a temporary directory; a piece is one call of rollout_judge_stage with the timebox of a tick. The commits
 * between pieces are not counted.
 */
#include <time.h>

#include "../unit/service/rollout_world.h"

#include "base/clock.h"
#include "service/offload.h"
#include "service/rollout_judged.h"

#define GATES                                                                                                            \
	",\"gates\":[{\"metric\":\"accuracy\"},{\"metric\":\"energy_mj\",\"kind\":\"mean\"},{\"metric\":\"confidence\",\"kind\":\"mean\"},"        \
	"{\"metric\":\"latency_ms\"},{\"metric\":\"crash\"},{\"metric\":\"silence\"}],\"soak_ms\":3600000,"                       \
	"\"judge\":{\"alpha\":0.2,\"reports_planned\":64,\"controls_max\":3},\"stages\":[{\"percent\":20},{\"percent\":100}]"
#define METRICS                                                                                                          \
	"\"accuracy\":{\"n\":50,\"k\":%d},\"energy_mj\":{\"n\":50,\"sum\":%d},\"confidence\":{\"n\":50,\"sum\":%d},"             \
	"\"latency_ms\":{\"sketch\":{\"%d\":3,\"%d\":14,\"%d\":3}}"

static struct kept {
	struct offload offload;
	void (*work)(void *arg), (*done)(void *arg);
	void *arg;
} port;

static enum err keep(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	(void)ctx;
	port.work = work;
	port.done = done;
	port.arg = arg;
	return ERR_OK;
}

static double ms_since(uint64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / 1e6;
}

/* Of this thread alone: what a piece takes on a machine with nothing else to do. */
static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void report(struct rig *r, const char *id, int64_t seq, unsigned i)
{
	char json[600];
	int at = 180 + (int)(i * 7919u % 60);
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"metrics\":{" METRICS "}}", (long long)seq, 40 + (int)(i % 10),
		100 + (int)(i % 37), 40 + (int)(i % 5), at, at + 5, at + 40);
	fleet_telemetry(&r->f, id, json);
}

static void everybody_reports(struct rig *r, unsigned count, int64_t seq)
{
	char id[24];
	for (unsigned i = 0; i < count; i++) {
		snprintf(id, sizeof id, "m-%u", i);
		report(r, id, seq, i);
		if (i % 5000 == 4999)
			fleet_settle(&r->f);
	}
	if (telemetry_pending(r->f.w.s.telemetry) > 0)
		fleet_settle(&r->f);
}

/* The stage as if it had been drawn with so many members. */
static void enlarge(struct rig *r, unsigned blocks, unsigned controls)
{
	struct rollouts *rs = r->f.w.s.rollouts;
	struct rollout_rows x = rig_rows(r);
	struct stage_row *stage = &x.stages[0];
	unsigned member = 0;
	char id[24];
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	for (unsigned b = 0; b < blocks; b++) {
		for (unsigned m = 0; m <= controls; m++, member++) {
			snprintf(id, sizeof id, "m-%u", member);
			struct device_state *d = registry_find(r->f.w.s.registry, id);
			struct block_row row = {.device = d->row, .block = 1000 + b, .is_canary = m == 0};
			rig_must(r, block_insert(rs->store, r->rollout, 0, &row, &r->f.w.fault));
			observe_follow(rig_call(r), r->rollout, 0, d->row, r->f.w.c.now_ms); /* as they are after a restart */
			for (uint32_t g = 0; g < x.live->gate_count; g++) {
				struct metric_accum a;
				struct ddsketch s;
				uint8_t bytes[ACCUM_ENCODED_MAX];
				if (!observe_baseline(rig_call(r), d->row, x.live->gates[g].name, &a, &s))
					continue;
				size_t len = accum_encode(&a, x.live->gates[g].kind == METRIC_QUANTILE ? &s : NULL, bytes);
				rig_must(r, baseline_insert(rs->store, r->rollout, 0, d->row, g, bytes, len, &r->f.w.fault));
			}
		}
		bool is_new;
		rig_must(r, block_start(rs->store, r->rollout, 0, 1000 + b, r->f.w.c.now_ms, 0, &is_new, &r->f.w.fault));
	}
	stage->blocks = blocks;
	stage->controls = controls;
	rig_must(r, stage_update(rs->store, stage, &r->f.w.fault));
	rig_must(r, unit_end(&r->f.w.s, ERR_OK, &r->f.w.fault));
	rig_commit(r);
	rollout_judged_free(x.live);
}

struct pieces {
	int count;
	double longest_ms, longest_cpu_ms, sum_ms;
};

static void piece(struct rig *r, struct pieces *p)
{
	struct rollout_rows x = rig_rows(r);
	struct rollout_piece box = {.box = timebox_begin(r->f.w.s.rollouts->piece_ns)};
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	uint64_t start_ns = clock_mono_ns();
	double cpu = cpu_ms();
	enum err e = rollout_judge_stage(rig_call(r), &x, &x.stages[0], &box);
	double ms = ms_since(start_ns);
	cpu = cpu_ms() - cpu;
	rig_must(r, unit_end(&r->f.w.s, e, &r->f.w.fault));
	rig_commit(r);
	p->count++;
	p->sum_ms += ms;
	p->longest_cpu_ms = cpu > p->longest_cpu_ms ? cpu : p->longest_cpu_ms;
	p->longest_ms = ms > p->longest_ms ? ms : p->longest_ms;
}

static void say(const char *what, const struct pieces *p)
{
	printf("%-8s %5d pieces, longest %6.2f ms (%5.2f of the processor), sum %8.1f ms\n", what, p->count, p->longest_ms,
		p->longest_cpu_ms, p->sum_ms);
}

int main(int argc, char **argv)
{
	unsigned blocks = argc > 1 ? (unsigned)atoi(argv[1]) : 2000, controls = argc > 2 ? (unsigned)atoi(argv[2]) : 50;
	unsigned members = blocks * (controls + 1);
	void *state;
	char id[24];
	if (rig_setup(&state) != 0)
		return 1;
	struct rig *r = state;
	rig_devices(r, 40);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	for (unsigned i = 0; i < members; i++) {
		snprintf(id, sizeof id, "m-%u", i);
		struct device_spec spec = {.id = id, .hardware = "esp32s3"};
		struct device_state *d;
		rig_must(r, registry_create(rig_call(r), &spec, &d));
		registry_set_online(r->f.w.s.registry, d, true, r->f.w.c.now_ms);
		if (i % 1000 == 0)
			arena_reset(r->f.w.c.arena);
	}
	rig_must(r, unit_end(&r->f.w.s, ERR_OK, &r->f.w.fault));
	rig_commit(r);
	for (int i = 1; i <= 4; i++) {
		for (size_t k = 0; k < r->devices; k++)
			report(r, r->agents[k].id, i, (unsigned)k);
		everybody_reports(r, members, i);
		r->f.w.c.now_ms += STEP_MS;
	}
	r->f.w.s.offload = NULL;
	struct rollout_rows x;
	rig_create(r, GOOD, ",\"filter\":\"id==dev-*\"" GATES);
	rig_tick(r);
	rig_commit(r);
	x = rig_rows(r);
	if (strcmp(x.stages[0].status, "running") != 0)
		fail_msg("the stage is %s: %s", x.stages[0].status, x.row.reason);
	enlarge(r, blocks, controls);
	r->f.w.s.offload = &port.offload;
	port.offload = (struct offload){keep, NULL};
	struct pieces load = {0}, look = {0}, apply = {0};
	do
		piece(r, &load);
	while (rig_rows(r).live->judged->step != JUDGED_READY);
	for (int i = 5; i <= 6; i++) {
		r->f.w.c.now_ms += STEP_MS;
		everybody_reports(r, members, i);
	}
	while (port.arg == NULL)
		piece(r, &look);
	uint64_t start_ns = clock_mono_ns();
	port.work(port.arg);
	double job_ms = ms_since(start_ns);
	port.done(port.arg);
	int64_t before = rig_rows(r).stages[0].look;
	piece(r, &apply);
	printf("%u blocks of 1 + %u, %u members, 6 gates\n", blocks, controls, members);
	say("load", &load);
	say("gather", &look);
	say("write", &apply);
	printf("job      %.1f ms; look %lld: %s\n", job_ms, (long long)rig_rows(r).stages[0].look, rig_rows(r).stages[0].verdict);
	if (rig_rows(r).stages[0].look <= before)
		fail_msg("no look was written");
	return rig_teardown(&state);
}
