/* How long a rollout of a large fleet holds the loop, phase by phase: the longest piece, and what all of them take together.
 *
 *   begin_pieces [DEVICES]   100000 by default; a canary stage of 2000 judged blocks, then everybody
 *
 * Real stores and services on a temporary directory, and jobs run in between, as if on their thread. A piece is one call of rollouts_tick; the
 * commit after it is shown beside it. Times are of this thread's processor: what a machine with nothing else to do would show. */
#include <time.h>

#include "../unit/service/rollout_world.h"

#include "base/clock.h"
#include "service/offload.h"

#define STAGES ",\"stages\":[{\"count\":2000},{\"percent\":100}],\"soak_ms\":3600000,\"timeout_ms\":36000000," \
	"\"gates\":[{\"metric\":\"silence\"}],\"judge\":{\"controls_max\":9,\"hard_stop\":{\"silent\":0}}"

static struct kept {
	struct offload offload; /* first */
	void (*work)(void *arg), (*done)(void *arg);
	void *arg;
} port;

static enum err keep(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	(void)ctx;
	if (port.arg)
		return ERR_UNAVAILABLE;
	port.work = work;
	port.done = done;
	port.arg = arg;
	return ERR_OK;
}

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The job of the last tick, off the loop: its work is nobody's piece, its end is. */
static double run_job(void)
{
	if (!port.arg)
		return 0;
	void *arg = port.arg;
	port.work(arg);
	port.arg = NULL;
	double from = cpu_ms();
	port.done(arg);
	return cpu_ms() - from;
}

static void forget_outbox(struct rig *r)
{
	int64_t row;
	while (outbox_next_device(r->f.w.s.outbox, &row))
		;
}

static int over_5, over_20;

static bool piece(struct rig *r, double *longest, double *longest_commit, double *sum)
{
	bool more;
	double job = run_job(), from = cpu_ms();
	rig_must(r, rollouts_tick(rig_call(r), &more));
	double tick = cpu_ms() - from + job;
	from = cpu_ms();
	rig_commit(r);
	double commit = cpu_ms() - from;
	*longest = tick > *longest ? tick : *longest;
	*longest_commit = commit > *longest_commit ? commit : *longest_commit;
	*sum += tick + commit;
	over_5 += tick > 8;
	over_20 += tick + commit > 20;
	forget_outbox(r);
	return more || port.arg;
}

static void measure(struct rig *r, const char *what, bool (*is_over)(struct rig *r))
{
	double longest = 0, commit = 0, sum = 0;
	long pieces = 0;
	over_5 = over_20 = 0;
	do {
		if (!piece(r, &longest, &commit, &sum)) {
			if (is_over(r))
				break;
			r->f.w.c.now_ms += 100;
		}
		pieces++;
	} while (pieces % 64 || !is_over(r));
	printf("%-28s %7ld pieces, longest %6.2f ms, longest commit %6.2f ms, over 8 ms %3d, with commit over 20 ms %3d, together %7.2f s\n", what,
		pieces, longest, commit, over_5, over_20, sum / 1e3);
	fflush(stdout);
}

static bool canary_runs(struct rig *r)
{
	return strcmp(rig_rows(r).stages[0].status, "scheduled") != 0;
}

static bool last_runs(struct rig *r)
{
	return strcmp(rig_rows(r).stages[1].status, "scheduled") != 0;
}

static bool none_waits(struct rig *r)
{
	return rig_count(r, DEPLOYMENT_WAITING) == 0;
}

static bool all_go_back(struct rig *r)
{
	return rig_count(r, DEPLOYMENT_OFFERED) == 0 && rig_count(r, DEPLOYMENT_SUCCEEDED) == 0;
}

static bool is_stopped(struct rig *r)
{
	return strcmp(rig_status(r), "reverted") == 0;
}

static bool is_gone(struct rig *r)
{
	struct rollout_rows x;
	return rollout_load(rig_call(r), r->rollout, &x) == ERR_NOT_FOUND;
}

/* Whoever has something on offer says that it is done. */
static void everybody_answers(struct rig *r)
{
	uint32_t at = 0;
	size_t said = 0;
	struct device_state *d;
	while ((d = registry_each(r->f.w.s.registry, &at)) != NULL) {
		struct desired_target t;
		rig_must(r, rollouts_desired(rig_call(r), d->row, &t));
		if (t.has_deployment)
			rig_must(r, rollouts_on_progress(rig_call(r), d->row, t.deployment, t.attempt, "succeeded", 100, ""));
		if (++said % 200 == 0)
			rig_commit(r);
		forget_outbox(r);
	}
	rig_commit(r);
}

static void make_fleet(struct rig *r, size_t count)
{
	uint32_t runs = registry_release_number(r->f.w.s.registry, OLD);
	for (size_t i = 0; i < count; i++) {
		char id[24];
		snprintf(id, sizeof id, "m-%zu", i);
		struct device_spec spec = {.id = id, .hardware = i % 2 ? "esp32s3" : "rk3588"};
		enum upsert did;
		DO(&r->f.w, registry_upsert(rig_call(r), &spec, &did));
		struct device_state *d = registry_find(r->f.w.s.registry, id);
		registry_set_online(r->f.w.s.registry, d, true, r->f.w.c.now_ms);
		d->release = runs;
		if (i % 1000 == 999)
			rig_commit(r);
	}
	rig_commit(r);
	forget_outbox(r);
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? (size_t)atol(argv[1]) : 100000;
	void *state;
	rig_setup(&state);
	struct rig *r = state;
	port.offload = (struct offload){keep, NULL};
	make_fleet(r, count);
	printf("%zu devices\n", count);
	rig_create(r, GOOD, STAGES);
	r->f.w.s.offload = &port.offload;
	measure(r, "the canary stage begins", canary_runs);
	measure(r, "2000 canaries are offered", none_waits);
	everybody_answers(r);
	assert_int_equal(rig_act(r, ROLLOUT_DO_PROMOTE), ERR_OK);
	r->f.w.c.now_ms += 3601000;
	measure(r, "the judge looks", canary_runs);
	assert_int_equal(rig_act(r, ROLLOUT_DO_PROMOTE), ERR_OK);
	measure(r, "the last stage begins", last_runs);
	measure(r, "everybody is offered", none_waits);
	assert_int_equal(rig_act(r, ROLLOUT_DO_REVERT), ERR_OK);
	measure(r, "everybody goes back", all_go_back);
	everybody_answers(r);
	measure(r, "the rollout ends", is_stopped);
	DO(&r->f.w, rollouts_delete(rig_call(r), r->rollout));
	rig_commit(r);
	measure(r, "it is deleted", is_gone);
	rig_teardown(&state);
	return 0;
}
