/* Fills a state directory with a fleet, as if it had reported for a day: what a benchmark of the daemon starts from.
 *
 *   seed_fleet STATE_DIR DEVICES [REPORTS]
 *
 * Everything goes through the services as messages of docs/protocol.md: each device enrols with what it runs and sends REPORTS (default 4)
 * telemetry reports, spread over the last 20 hours, so that it has a baseline. Devices are "dev-0" and so on, in two hardware classes and
 * four regions, and run release "kws-1.0.0". STATE_DIR must be new. Models and releases are made by the benchmark over REST. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/clock.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/call.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/groups.h"
#include "service/ingest.h"
#include "service/outbox.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/telemetry.h"
#include "service/unit.h"
#include "store/db.h"
#include "store/migration.h"

#define COMMIT_EVERY 5000
#define BATCH_REPORTS 20000
#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)
#define CAPABILITIES 50           /* different ones of the fleet */
#define ROUND_MS INT64_C(31000) /* more than [storage] checkpoint: device states are due */
#define FLEET_EVENTS_MAX 100000

struct seed {
	struct services s;
	struct access_limits access;
	struct catalog_limits catalog;
	struct ingest_limits ingest;
	struct telemetry_options telemetry;
	struct arena *arena;
	struct fault fault;
	char token[ACCESS_TOKEN_SIZE];
	int64_t now_ms; /* of what happens next */
};

static void must(struct seed *x, enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "seed_fleet: %s: %s %s %s\n", what, err_name(e), x->fault.pointer, x->fault.detail);
	exit(1);
}

static struct call call_of(struct seed *x)
{
	arena_reset(x->arena);
	return (struct call){.s = &x->s, .arena = x->arena, .fault = &x->fault, .who = &principal_server, .now_ms = x->now_ms};
}

/* The end of a tick; nobody is there to be told. */
static void commit(struct seed *x)
{
	int64_t device;
	must(x, units_commit(&x->s, &x->fault), "commit");
	outbox_committed(x->s.outbox);
	while (outbox_next_device(x->s.outbox, &device)) {}
}

static void open_services(struct seed *x, const char *dir)
{
	char path[1100];
	static const char *const inside[] = {"", "/keys", "/blobs", "/uploads", "/backup"};
	struct services *s = &x->s;
	struct fault *f = &x->fault;
	for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
		snprintf(path, sizeof path, "%s%s", dir, inside[i]);
		if (mkdir(path, 0700) != 0 && i > 0) {
			perror(path);
			exit(1);
		}
	}
	s->state_dir = dir;
	snprintf(path, sizeof path, "%s/fleet.db", dir);
	must(x, db_open(path, migrations_fleet, false, &s->db, f), path);
	snprintf(path, sizeof path, "%s/telemetry.db", dir);
	telemetry_options_init(&x->telemetry);
	x->telemetry.path = path;
	s->telemetry = telemetry_open(&x->telemetry, x->now_ms, f);
	must(x, s->telemetry != NULL ? ERR_OK : ERR_UNAVAILABLE, path);
	x->access = (struct access_limits){FLEET_EVENTS_MAX, 400 * DAY_MS, 10000000};
	x->catalog = catalog_limits_default;
	ingest_limits_init(&x->ingest);
	x->ingest.reports_per_second = x->ingest.commands_per_second = 0;
	s->limits = &x->ingest;
	s->units = units_new();
	s->outbox = outbox_new();
	must(x, access_open(s, &x->access, &s->access, f), "access");
	must(x, catalog_open(s->db, dir, &x->catalog, &s->catalog, f), "catalog");
	must(x, compats_open(s, NULL, &s->compats, f), "compats");
	must(x, registry_open(s, &s->registry, f), "registry");
	must(x, groups_open(s, &s->groups, f), "groups");
	must(x, (s->alerts = alerts_open(s, f)) != NULL ? ERR_OK : ERR_UNAVAILABLE, "alerts");
	must(x, (s->rollouts = rollouts_open(s, f)) != NULL ? ERR_OK : ERR_UNAVAILABLE, "rollouts");
	must(x, (s->ingest = ingest_open(s, f)) != NULL ? ERR_OK : ERR_UNAVAILABLE, "ingest");
	commit(x);
}

static void close_services(struct seed *x)
{
	struct services *s = &x->s;
	ingest_close(s->ingest);
	rollouts_close(s->rollouts);
	alerts_close(s->alerts);
	groups_close(s->groups);
	registry_close(s->registry);
	compats_close(s->compats);
	catalog_close(s->catalog);
	access_close(s->access);
	telemetry_close(s->telemetry);
	outbox_free(s->outbox);
	units_free(s->units);
	db_close(s->db);
}

static void make_token(struct seed *x)
{
	struct call c = call_of(x);
	struct token_row row = {.name = "seed", .kind = "enrolment", .role = "enrol", .uses_left = -1};
	must(x, unit_begin(&x->s, &x->fault), "token");
	must(x, unit_end(&x->s, access_create_token(&c, &row, x->token), &x->fault), "token");
	commit(x);
}

static void enrol(struct seed *x, long devices)
{
	static const char *const regions[] = {"eu", "us", "ap", "af"};
	char id[32], text[800];
	for (long i = 0; i < devices; i++) {
		struct call c = call_of(x);
		snprintf(id, sizeof id, "dev-%ld", i);
		int len = snprintf(text, sizeof text,
			"{\"boot\":\"b0\",\"seq\":1,\"enrol\":{\"token\":\"%s\",\"secret_sha256\":\"%064lx\",\"name\":\"Device %ld\",\"hardware\":\"%s\","
			"\"attributes\":{\"region\":\"%s\"}},\"running\":{\"release\":\"kws-1.0.0\",\"counter\":1,\"models\":{\"kws\":\"1.0.0\"}},"
			"\"capabilities\":{\"runtime\":\"tflm\",\"ops\":[\"RELU@1\"],\"slot_bytes\":1048576,\"arena_bytes\":%ld,\"input\":{\"type\":\"any\"}}}",
			x->token, i, i, i % 2 ? "esp32" : "esp32s3", regions[i / 2 % 4], 65536 + i % CAPABILITIES * 1024);
		must(x, ingest_report(&c, id, text, (size_t)len), "report");
		if (i % COMMIT_EVERY == COMMIT_EVERY - 1)
			commit(x);
	}
	commit(x);
	if (registry_size(x->s.registry) != (size_t)devices) {
		fprintf(stderr, "seed_fleet: %zu devices, not %ld\n", registry_size(x->s.registry), devices);
		exit(1);
	}
}

/* The open batch, and device states whose turn it is. */
static bool write_batch(struct seed *x)
{
	struct call c = call_of(x);
	struct telemetry_batch *b = telemetry_seal(x->s.telemetry, x->now_ms);
	if (b == NULL)
		return false;
	must(x, telemetry_write(b, &x->fault), "telemetry");
	telemetry_settle(&c, b);
	return true;
}

static void report(struct seed *x, long devices, long reports)
{
	char id[32], text[300];
	int64_t end_ms = x->now_ms;
	uint64_t dice = 1;
	for (long r = 0; r < reports; r++) {
		int64_t round_ms = end_ms - 20 * HOUR_MS + r * 20 * HOUR_MS / reports;
		for (long i = 0; i < devices; i++) {
			dice = dice * 6364136223846793005u + 1442695040888963407u;
			x->now_ms = round_ms + i * 60000 / devices;
			struct call c = call_of(x);
			snprintf(id, sizeof id, "dev-%ld", i);
			int len = snprintf(text, sizeof text,
				"{\"boot\":\"b0\",\"seq\":%ld,\"model\":\"kws\",\"version\":\"1.0.0\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%d}}}",
				r + 1, 40 + (int)(i % 5) + (int)(dice >> 33) % 5);
			ingest_telemetry(&c, id, text, (size_t)len);
			if (telemetry_pending(x->s.telemetry) >= BATCH_REPORTS)
				write_batch(x);
		}
		write_batch(x);
	}
	x->now_ms = end_ms;
}

/* Device states and roll-ups, so that the daemon that opens this has nothing of it to do. */
static void settle(struct seed *x)
{
	bool more = true;
	x->now_ms += ROUND_MS;
	while (write_batch(x)) {}
	while (more)
		must(x, telemetry_maintain(x->s.telemetry, x->now_ms, &more, &x->fault), "maintain");
	struct call c = call_of(x);
	must(x, registry_flush(&c, 0), "presence");
	commit(x);
}

int main(int argc, char **argv)
{
	struct seed x = {.now_ms = clock_wall_ms() - 2 * ROUND_MS};
	long devices = argc > 2 ? strtol(argv[2], NULL, 10) : 0, reports = argc > 3 ? strtol(argv[3], NULL, 10) : 4;
	if (argc < 3 || devices < 1 || reports < 0) {
		fprintf(stderr, "usage: seed_fleet STATE_DIR DEVICES [REPORTS]\n");
		return 2;
	}
	int64_t start_ms = clock_mono_ms();
	x.arena = arena_new(1u << 20);
	open_services(&x, argv[1]);
	make_token(&x);
	enrol(&x, devices);
	int64_t enrolled_ms = clock_mono_ms();
	report(&x, devices, reports);
	int64_t reported_ms = clock_mono_ms();
	settle(&x);
	close_services(&x);
	arena_free(x.arena);
	printf("%ld devices: enrolled in %.1f s, %ld reports each in %.1f s, the rest %.1f s\n", devices, (double)(enrolled_ms - start_ms) / 1e3,
	       reports, (double)(reported_ms - enrolled_ms) / 1e3, (double)(clock_mono_ms() - reported_ms) / 1e3);
	return 0;
}
