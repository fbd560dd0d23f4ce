/* What selecting costs in the service: a fleet with 40 classes of hardware and 50 kinds of capabilities, a release with six variants. A
 * third of the devices run one of them already. Told: processor time of the survey over the fleet, its longest piece, and of an offer.
 *
 *   selection_fleet [DEVICES]     1,000,000; fails above 2 s of processor time for a million
 */
#include "../unit/service/selection_world.h"

#include <time.h>

#include "service/compats.h"
#include "service/timebox.h"

#define HARDWARE 40
#define CAPABILITIES 50
#define COMMIT_EVERY 5000
#define OFFERS 2000
#define BAR_S 2.0 /* for a million */

static const struct piece six[] = {{"*", "a", NULL, 4000}, {"*", "b", NULL, 6000}, {"*", "c", NULL, 9000}, {"*", "d", NULL, 12000},
	{"*", "e", NULL, 20000}, {"*", "f", NULL, 30000}};

static double cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void publish(struct rig *r)
{
	struct buf table = BUF_INIT, out = BUF_INIT;
	uint64_t dice = 7;
	buf_str(&table, "hardware,model,variant,latency_ms,energy_uj,accuracy\n");
	for (int h = 0; h < HARDWARE; h++)
		for (int v = 0; v < 6; v++) {
			dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			buf_printf(&table, "hw-%d,kws,%c,%d,%d,0.%d\n", h, 'a' + v, 5 + (int)(dice >> 40) % 100, 100 + (int)(dice >> 33) % 1000, 80 + v * 2);
		}
	struct profile_import in = {.text = buf_cstr(&table), .len = table.len};
	IN_UNIT(r, profiles_import(rig_call(r), &in, &out));
	buf_done(&table);
	buf_done(&out);
	rig_commit(r);
}

static void add_device(struct rig *r, long i, int64_t release, const char *parts)
{
	char id[24], hardware[16], report[200];
	snprintf(id, sizeof id, "dev-%ld", i);
	snprintf(hardware, sizeof hardware, "hw-%ld", i % HARDWARE);
	struct device_spec spec = {.id = id, .hardware = hardware};
	struct device_state *d;
	IN_UNIT(r, registry_create(rig_call(r), &spec, &d));
	int len = snprintf(report, sizeof report, "{\"boot\":\"b\",\"seq\":1,\"capabilities\":{\"runtime\":\"tflm\",\"arena_bytes\":%ld,\"slot_bytes\":1000000}}",
		65536 + i / 7 % CAPABILITIES * 1024);
	rig_must(r, ingest_report(rig_call(r), id, report, (size_t)len));
	if (parts != NULL)
		IN_UNIT(r, selection_installed(rig_call(r), d->row, release, parts));
	if (i % COMMIT_EVERY == COMMIT_EVERY - 1) {
		world_commit(&r->f.w);
		int64_t device;
		while (outbox_next_device(r->f.w.s.outbox, &device)) {}
	}
	arena_reset(r->f.w.c.arena);
}

static void make_fleet(struct rig *r, long devices, int64_t release)
{
	char parts[6][40];
	struct call *c = rig_call(r);
	struct model_row m;
	struct version_row v;
	struct artifact_row *rows;
	size_t count;
	rig_must(r, catalog_find_model(c, "kws", &m));
	rig_must(r, catalog_find_version(c, &m, "2.0.0", &v));
	rig_must(r, catalog_list_artifacts(c, &v, &rows, &count));
	for (size_t i = 0; i < 6; i++)
		snprintf(parts[i], sizeof parts[i], "%lld:%lld", (long long)v.id, (long long)rows[i].id);
	for (long i = 0; i < devices; i++)
		add_device(r, i, release, i % 3 == 0 ? parts[i / 3 % 6] : NULL);
	world_commit(&r->f.w);
}

int main(int argc, char **argv)
{
	long devices = argc > 1 ? strtol(argv[1], NULL, 10) : 1000000;
	void *state;
	struct selection_survey *s;
	struct buf out = BUF_INIT;
	bool is_done = false;
	uint64_t longest_ns = 0, pieces = 0;
	rig_setup(&state);
	struct rig *r = state;
	rig_must(r, compats_open(&r->f.w.s, NULL, &r->f.w.s.compats, &r->f.w.fault));
	choice_open(r);
	int64_t release = make_release(r, "six", "2.0.0", six, 6, NULL);
	publish(r);
	make_fleet(r, devices, release);
	r->f.w.c.now_ms += INT64_C(172800000);

	double start_s = cpu_s();
	rig_must(r, selection_survey_new(rig_call(r), "kws", "2.0.0", "six", &s));
	while (!is_done) {
		struct timebox box = timebox_begin(TIMEBOX_NS);
		uint64_t from_ns = clock_mono_ns();
		rig_must(r, selection_survey_step(rig_call(r), s, &box, &is_done));
		uint64_t took_ns = clock_mono_ns() - from_ns;
		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
		pieces++;
	}
	rig_must(r, selection_survey_write(rig_call(r), s, &out));
	double survey_s = cpu_s() - start_s;
	selection_survey_free(s);

	start_s = cpu_s();
	for (long i = 0; i < OFFERS; i++) {
		struct deployment_row d = {.kind = DEPLOYMENT_INSTALL};
		enum selection_outcome outcome;
		char id[24];
		snprintf(id, sizeof id, "dev-%ld", i * 7 % devices);
		d.device = device_of(r, id)->row;
		rig_must(r, selection_offer(rig_call(r), &d, release, &outcome));
		arena_reset(r->f.w.c.arena);
	}
	double offer_us = (cpu_s() - start_s) * 1e6 / OFFERS, bar_s = BAR_S * (double)devices / 1e6 + 0.05;
	printf("selection: %ld devices, 6 variants, %d classes of hardware\n", devices, HARDWARE);
	printf("  survey of the fleet   %.3f s of processor time (%.0f ns a device), %llu pieces, the longest %.1f ms\n", survey_s,
	       survey_s * 1e9 / (double)devices, (unsigned long long)pieces, (double)longest_ns / 1e6);
	printf("  a choice at an offer  %.0f us\n", offer_us);
	printf("  bar %.2f s: %s\n", bar_s, survey_s < bar_s ? "passed" : "failed");
	buf_done(&out);
	choice_close(r);
	compats_close(r->f.w.s.compats);
	r->f.w.s.compats = NULL;
	rig_teardown(&state);
	return survey_s < bar_s ? 0 : 1;
}
